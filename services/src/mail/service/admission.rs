//! How much of the mail services one client gets: connections at a time, and messages a minute.
//!
//! A source is an IPv4 address, or the /64 of an IPv6 address. Half of all connections are for the LAN alone, so that a
//! flood from outside does not exclude the office. In the other half no source excludes one with fewer connections.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::{Instant, RateLimit};
use tokio::sync::Notify;

use crate::users::limit::source_of;

/// Connections at a time, of all mail services together.
pub const CONNECTIONS_MAX: usize = 1000;

/// Connections at a time that come from outside of the LAN.
pub const WAN_CONNECTIONS_MAX: usize = 500;

/// The most sources whose messages are counted. With one more, the least recently active one is removed.
pub const SOURCES_MAX: usize = 8192;

/// All connections of the mail services.
#[derive(Debug, Default)]
pub struct Connections {
    all: RefCell<Admissions>,
}

#[derive(Debug, Default)]
struct Admissions {
    by_number: BTreeMap<u64, Connection>,
    by_source: BTreeMap<IpAddr, usize>,
    from_wan: usize,
    next: u64,
}

#[derive(Debug)]
struct Connection {
    source: IpAddr,
    is_lan: bool,
    activity: Rc<Activity>,
}

/// The activity of a connection.
#[derive(Debug)]
struct Activity {
    /// Whether it waits for its client.
    is_idle: Cell<bool>,
    /// Whether a message is being received.
    has_message: Cell<bool>,
    /// When its client last made progress towards a message.
    progressed: Cell<Instant>,
    /// Notified when the connection must close.
    leaves: Notify,
}

/// The admission of a connection, until this is dropped.
#[derive(Debug)]
pub struct Admitted {
    connections: Rc<Connections>,
    number: u64,
    activity: Rc<Activity>,
}

impl Connections {
    /// Admits a connection from `peer`, whose source may have `share` at a time; `None` if there are too many.
    ///
    /// If the limit for the outside is reached, an idle connection is closed for one of a source with fewer: of the
    /// source with the most, one without a message, with the least recent progress.
    pub fn admit(
        self: &Rc<Self>,
        now: Instant,
        peer: IpAddr,
        is_lan: bool,
        share: usize,
    ) -> Option<Admitted> {
        let source = source_of(peer);
        let mut all = self.all.borrow_mut();
        let own = all.of(source);
        if own >= share {
            return None;
        }
        if !is_lan && all.from_wan >= WAN_CONNECTIONS_MAX {
            let leaves = all.least_useful().filter(|(_, count)| *count > own)?.0;
            all.remove(leaves)?.activity.leaves.notify_one();
        }
        if all.by_number.len() >= CONNECTIONS_MAX {
            return None;
        }
        let activity = Rc::new(Activity {
            is_idle: Cell::new(false),
            has_message: Cell::new(false),
            progressed: Cell::new(now),
            leaves: Notify::new(),
        });
        let number = all.next;
        all.next += 1;
        all.by_number.insert(number, Connection { source, is_lan, activity: Rc::clone(&activity) });
        *all.by_source.entry(source).or_default() += 1;
        all.from_wan += usize::from(!is_lan);
        Some(Admitted { connections: Rc::clone(self), number, activity })
    }

    /// How many there are, and how many of them are from outside.
    pub fn count(&self) -> (usize, usize) {
        let all = self.all.borrow();
        (all.by_number.len(), all.from_wan)
    }
}

impl Admissions {
    fn of(&self, source: IpAddr) -> usize {
        self.by_source.get(&source).copied().unwrap_or(0)
    }

    /// The connection from outside that is to leave first, and how many its source has.
    fn least_useful(&self) -> Option<(u64, usize)> {
        let idle = self
            .by_number
            .iter()
            .filter(|(_, connection)| !connection.is_lan && connection.activity.is_idle.get());
        let ranked = idle.map(|(number, Connection { source, activity, .. })| {
            let rank = (Reverse(self.of(*source)), activity.has_message.get(), activity.progressed.get());
            (rank, *number)
        });
        ranked.min().map(|((Reverse(count), ..), number)| (number, count))
    }

    fn remove(&mut self, number: u64) -> Option<Connection> {
        let connection = self.by_number.remove(&number)?;
        self.from_wan -= usize::from(!connection.is_lan);
        if let Some(own) = self.by_source.get_mut(&connection.source) {
            *own -= 1;
            if *own == 0 {
                self.by_source.remove(&connection.source);
            }
        }
        Some(connection)
    }
}

impl Admitted {
    /// Records that the connection waits for its client, within a message or not.
    pub fn waits(&self, has_message: bool) {
        self.activity.is_idle.set(true);
        self.activity.has_message.set(has_message);
    }

    /// Records that it does not wait any more.
    pub fn works(&self) {
        self.activity.is_idle.set(false);
    }

    /// Records progress towards a message.
    pub fn progresses(&self, now: Instant) {
        self.activity.progressed.set(now);
    }

    /// Waits until the connection has to leave at once, for another one. It only has to while it [waits](Self::waits).
    pub async fn leaves(&self) {
        self.activity.leaves.notified().await;
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        // One that had to leave for another is not there any more.
        _ = self.connections.all.borrow_mut().remove(self.number);
    }
}

/// The messages that sources send.
#[derive(Debug)]
pub struct Rates {
    a_minute: u32,
    each: RateLimit,
    /// Each source's limit, and the sequence number of its last message.
    sources: BTreeMap<IpAddr, (RateLimit, u64)>,
    by_use: BTreeSet<(u64, IpAddr)>,
    used: u64,
}

impl Rates {
    /// Each source may send so many messages a minute, at least one.
    pub fn new(a_minute: u32) -> Self {
        let a_minute = a_minute.max(1);
        let each = RateLimit::once_in(Duration::from_secs(60) / a_minute, a_minute);
        Self { a_minute, each, sources: BTreeMap::new(), by_use: BTreeSet::new(), used: 0 }
    }

    /// Sets the messages a minute for each source. A changed value resets all counts.
    pub fn set(&mut self, a_minute: u32) {
        if self.a_minute != a_minute.max(1) {
            *self = Self::new(a_minute);
        }
    }

    /// Whether `peer` may send a message now; it counts if so.
    pub fn admit(&mut self, now: Instant, peer: IpAddr) -> bool {
        let source = source_of(peer);
        self.used += 1;
        let mut limit = match self.sources.remove(&source) {
            Some((limit, used)) => {
                self.by_use.remove(&(used, source));
                limit
            }
            None => {
                if self.sources.len() >= SOURCES_MAX
                    && let Some((_, longest_unused)) = self.by_use.pop_first()
                {
                    self.sources.remove(&longest_unused);
                }
                self.each
            }
        };
        let admits = limit.admit(now);
        self.sources.insert(source, (limit, self.used));
        self.by_use.insert((self.used, source));
        admits
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    const NOW: Instant = Instant::from_secs(1000);

    fn host(number: usize) -> IpAddr {
        Ipv6Addr::from_bits((0x2001_0db8 << 96) | ((number as u128) << 64) | 1).into()
    }

    #[test]
    fn a_source_has_a_share_of_connections_and_what_ends_makes_room() {
        let connections = Rc::new(Connections::default());
        let admit = |peer: IpAddr| connections.admit(NOW, peer, true, 3);
        let held: Vec<_> = (0..3).map(|_| admit(host(1)).unwrap()).collect();
        let neighbour: IpAddr = "2001:db8:0:1::2".parse().unwrap();
        assert!(admit(neighbour).is_none(), "the same network");
        let _other = admit(host(2)).unwrap();
        drop(held);
        assert!(admit(neighbour).is_some());
        assert_eq!(connections.all.borrow().by_source.len(), 1, "nothing is kept of who is gone");
    }

    #[test]
    fn a_flood_from_outside_leaves_the_lan_its_half() {
        let connections = Rc::new(Connections::default());
        let held: Vec<_> = (0..CONNECTIONS_MAX)
            .map_while(|number| connections.admit(NOW, host(number), false, 20))
            .collect();
        assert_eq!(held.len(), WAN_CONNECTIONS_MAX);
        let lan: IpAddr = [192, 168, 1, 10].into();
        let inside: Vec<_> =
            (0..CONNECTIONS_MAX).map_while(|_| connections.admit(NOW, lan, true, CONNECTIONS_MAX)).collect();
        assert_eq!(inside.len(), CONNECTIONS_MAX - WAN_CONNECTIONS_MAX);
    }

    #[test]
    fn a_source_that_has_many_leaves_room_for_one_that_has_fewer() {
        let connections = Rc::new(Connections::default());
        let admit = |source| connections.admit(NOW, host(source), false, 20);
        let held: Vec<_> = (0..WAN_CONNECTIONS_MAX).map(|number| admit(number / 20).unwrap()).collect();
        assert!(admit(100).is_none(), "all of them are at work");
        let has_left = |number: u64| !connections.all.borrow().by_number.contains_key(&number);
        held[5].waits(true);
        held[6].waits(false);
        held[7].waits(false);
        held[6].progresses(NOW + Duration::from_secs(1));
        let first = admit(100).unwrap();
        assert!(has_left(7), "it was of no use for longest");
        let _second = admit(100).unwrap();
        assert!(has_left(6) && !has_left(5), "one without a message leaves first");
        held[21].waits(false);
        let _third = admit(100).unwrap();
        assert!(has_left(21) && !has_left(5), "its source has more");
        held[5].works();
        assert!(admit(100).is_none());
        held[5].waits(true);
        let more: Vec<_> = (0..20).map_while(|_| admit(100)).collect();
        assert_eq!((more.len(), has_left(5)), (1, true));
        first.waits(false);
        assert!(admit(100).is_none() && admit(99).is_some(), "a source takes nothing of one that has fewer");
        let all = connections.all.borrow();
        assert_eq!((all.from_wan, all.by_number.len()), (WAN_CONNECTIONS_MAX - 1, WAN_CONNECTIONS_MAX - 1));
    }

    #[test]
    fn messages_are_limited_by_source_and_the_longest_unused_is_forgotten() {
        let at = |millis: u64| Instant::from_millis(1_000_000 + millis);
        let mut rates = Rates::new(100);
        let sent = (0..200).filter(|_| rates.admit(at(0), host(1))).count();
        assert_eq!(sent, 100);
        assert!(rates.admit(at(0), host(2)));
        assert!(!rates.admit(at(599), host(1)) && rates.admit(at(600), host(1)));
        for number in 3..SOURCES_MAX + 3 {
            assert!(rates.admit(at(600), host(number)));
        }
        assert_eq!((rates.sources.len(), rates.by_use.len()), (SOURCES_MAX, SOURCES_MAX));
        assert!(!rates.sources.contains_key(&source_of(host(1))));
    }
}
