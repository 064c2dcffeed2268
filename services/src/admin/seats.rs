//! The connections, and which of them ends for a newcomer when every place is taken.
//!
//! A few addresses of one host can take every place. So that they lock out nobody, the newcomer gets the place of the
//! oldest connection that does nothing for a signed-in user, of the source that has the most connections.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use super::site::AdminSite;
use super::{CONNECTIONS_MAX, CONNECTIONS_OUTSIDE_MAX, CONNECTIONS_PER_SOURCE_MAX, streams};
use crate::http::{Checked, Method, Request, Response, Room, Site, StatusCode};
use crate::places::{Place, Places, PlacesMax};
use crate::users::limit::source_of;
use crate::watch;

/// All connections.
pub(super) struct Seats {
    places: Rc<Places>,
    /// By their numbers: the oldest first.
    taken: RefCell<BTreeMap<u64, Taken>>,
    last: Cell<u64>,
}

/// A connection that has a place.
struct Taken {
    source: (IpAddr, bool),
    /// Whether its last request came from a session, or a request is being answered.
    is_needed: Cell<bool>,
    ended: watch::Sender<bool>,
    _place: Place,
}

/// The place of a connection, released on drop.
pub(super) struct Seat {
    seats: Rc<Seats>,
    number: u64,
    ended: watch::Receiver<bool>,
}

impl Seats {
    /// Seats of which none is taken.
    pub fn new() -> Self {
        let places = PlacesMax {
            all: CONNECTIONS_MAX,
            outside: CONNECTIONS_OUTSIDE_MAX,
            source: CONNECTIONS_PER_SOURCE_MAX,
        };
        Self { places: Rc::new(Places::new(places)), taken: RefCell::default(), last: Cell::new(0) }
    }

    /// A seat for a connection from `peer`, and whether another connection has to end for it. `None` if the source has
    /// its share, or all seats are taken and needed.
    pub fn take(self: &Rc<Self>, peer: IpAddr, is_lan: bool) -> Option<(Seat, bool)> {
        let (place, is_other_ended) = match self.places.take(peer, is_lan) {
            Some(place) => (place, false),
            None => {
                self.end_one((source_of(peer), is_lan));
                (self.places.take(peer, is_lan)?, true)
            }
        };
        let number = self.last.get() + 1;
        self.last.set(number);
        let sender = watch::Sender::new(false);
        let seat = Seat { seats: Rc::clone(self), number, ended: sender.subscribe() };
        let source = (source_of(peer), is_lan);
        let taken = Taken { source, is_needed: Cell::new(false), ended: sender, _place: place };
        self.taken.borrow_mut().insert(number, taken);
        Some((seat, is_other_ended))
    }

    /// Ends a connection for one of `newcomer`, unless that has its share. Only the LAN displaces the LAN.
    fn end_one(&self, newcomer: (IpAddr, bool)) {
        let mut taken = self.taken.borrow_mut();
        let mut counts: BTreeMap<(IpAddr, bool), usize> = BTreeMap::new();
        for other in taken.values() {
            *counts.entry(other.source).or_default() += 1;
        }
        let count = |source| counts.get(&source).copied().unwrap_or(0);
        if count(newcomer) >= CONNECTIONS_PER_SOURCE_MAX {
            return;
        }
        let may_end = |other: &Taken| !other.is_needed.get() && (newcomer.1 || !other.source.1);
        let candidates = taken.iter().filter(|(_, other)| may_end(other));
        let chosen =
            candidates.max_by_key(|(number, other)| (count(other.source), std::cmp::Reverse(**number)));
        let Some(number) = chosen.map(|(number, _)| *number) else { return };
        if let Some(other) = taken.remove(&number) {
            other.ended.send_replace(true);
        }
    }
}

impl Seat {
    /// Returns once the seat is another connection's.
    pub async fn lost(&self) {
        self.ended.clone().raised().await;
    }

    fn set_needed(&self, is_needed: bool) {
        if let Some(taken) = self.seats.taken.borrow().get(&self.number) {
            taken.is_needed.set(is_needed);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken.borrow_mut().remove(&self.number);
    }
}

/// The administration for one connection.
pub(super) struct Guest {
    pub site: Rc<AdminSite>,
    pub seat: Rc<Seat>,
}

impl Site for Guest {
    fn is_called(&self, name: &str) -> bool {
        self.site.is_called(name)
    }

    fn canonical(&self) -> String {
        self.site.canonical()
    }

    fn room(&self, request: &Request) -> Room {
        self.site.room(request)
    }

    async fn answer(&self, request: Request) -> Response {
        let session = self.site.session_number(&request);
        self.seat.set_needed(true);
        let response = if request.method == Method::POST {
            // A change goes on to its end although the browser is gone, and keeps the connection's place until then.
            let (site, seat) = (Rc::clone(&self.site), Rc::clone(&self.seat));
            let answering = async move {
                let _seat = seat;
                site.answer(request).await
            };
            let answer = tokio::task::spawn_local(answering).await;
            answer.unwrap_or_else(|_| {
                Response::text(StatusCode::INTERNAL_SERVER_ERROR, "It has failed; see the log.")
            })
        } else {
            self.site.answer(request).await
        };
        self.seat.set_needed(session.is_some());
        match session {
            Some(session) => streams::bounded(&self.site, session, response),
            None => response,
        }
    }

    fn count(&self, checked: Checked) {
        self.site.count(checked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u8) -> IpAddr {
        IpAddr::from([192, 168, 1, number])
    }

    /// All places, taken by six addresses: the last has fewer.
    fn crowd(seats: &Rc<Seats>) -> Vec<Seat> {
        let sources =
            (0..CONNECTIONS_MAX).map(|number| host(10 + (number / CONNECTIONS_PER_SOURCE_MAX) as u8));
        sources.filter_map(|source| seats.take(source, true)).map(|(seat, _)| seat).collect()
    }

    fn is_lost(seat: &Seat) -> bool {
        *seat.ended.clone().borrow_and_update()
    }

    #[test]
    fn six_addresses_of_one_host_lock_nobody_out() {
        let seats = Rc::new(Seats::new());
        let crowd = crowd(&seats);
        assert_eq!(crowd.len(), CONNECTIONS_MAX);
        // The oldest connection of each is of use.
        crowd[0].set_needed(true);
        let (owner, is_other_ended) = seats.take(host(200), true).expect("a seat");
        assert!(is_other_ended && is_lost(&crowd[1]), "the oldest without a session");
        assert_eq!(crowd.iter().filter(|seat| is_lost(seat)).count(), 1);
        // Another host of the crowd's displaces the crowd, not the owner.
        for _ in 0..20 {
            let (seat, _) = seats.take(host(201), true).expect("a seat");
            drop(seat);
        }
        assert!(!is_lost(&owner) && !is_lost(&crowd[0]));
        drop((owner, crowd));
        assert!(seats.taken.borrow().is_empty());
        assert!(seats.take(host(10), true).is_some_and(|(_, is_other_ended)| !is_other_ended));
    }

    #[test]
    fn who_has_the_share_and_who_is_outside_displaces_nobody_on_the_lan() {
        let seats = Rc::new(Seats::new());
        let crowd = crowd(&seats);
        assert!(seats.take(host(10), true).is_none(), "it has its share");
        assert!(seats.take(IpAddr::from([10, 0, 0, 1]), false).is_none());
        crowd.iter().for_each(|seat| seat.set_needed(true));
        assert!(seats.take(host(200), true).is_none(), "all are of use");
        assert!(!crowd.iter().any(is_lost));
    }
}
