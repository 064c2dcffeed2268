//! Reservations of room in mailboxes for messages being received.
//!
//! A recipient is accepted before the message comes. So the message's room is reserved when its recipient is named, and
//! grows with octets beyond the announced size. A mailbox's content and reservations together never exceed its quota.
//! While strangers have reserved half of the free room, no further one gets any, so that slow messages do not exclude
//! the office's own. If two concurrent messages have room for only one, the other is rejected before it is sent.

use std::collections::BTreeMap;

use super::change::{Change, StoreError, sizes};
use super::content::{MailboxId, Uid};
use super::mailbox::Mailbox;
use super::store::Store;

/// The most reservations.
pub const RESERVATIONS_MAX: usize = 65_536;
/// The most of them that are for messages of strangers'.
pub const STRANGERS_RESERVATIONS_MAX: usize = RESERVATIONS_MAX / 4 * 3;

/// Room that is promised until it is [released](Store::release).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReservationId(u64);

#[derive(Clone, Copy, Debug)]
struct Reservation {
    mailbox: MailboxId,
    octets: u64,
    /// Whether it is for a message of a stranger's.
    is_strange: bool,
}

/// All room that is promised.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    all: BTreeMap<ReservationId, Reservation>,
    /// Their sums, which no mailbox without a quota can make overflow: of all, and of strangers.
    of_mailboxes: BTreeMap<MailboxId, (u128, u128)>,
    /// How many are strangers'.
    strange: usize,
    next: u64,
}

impl Reservations {
    /// The reserved octets of a mailbox, and the strangers' part of them.
    fn of(&self, mailbox: MailboxId) -> (u128, u128) {
        self.of_mailboxes.get(&mailbox).copied().unwrap_or_default()
    }

    /// Sets or, with `None`, releases the reservation `id`.
    fn set(&mut self, id: ReservationId, reservation: Option<Reservation>) {
        let before = match reservation {
            Some(reservation) => self.all.insert(id, reservation),
            None => self.all.remove(&id),
        };
        let Some(Reservation { mailbox, is_strange, .. }) = reservation.or(before) else { return };
        if is_strange {
            self.strange = self.strange + usize::from(reservation.is_some()) - usize::from(before.is_some());
        }
        let octets = |of: Option<Reservation>| of.map_or(0, |of| u128::from(of.octets));
        let moved = |sum: u128| sum - octets(before) + octets(reservation);
        let (all, strange) = self.of(mailbox);
        let sums = (moved(all), if is_strange { moved(strange) } else { strange });
        if sums == (0, 0) {
            self.of_mailboxes.remove(&mailbox);
        } else {
            self.of_mailboxes.insert(mailbox, sums);
        }
    }
}

impl Mailbox {
    /// Whether it holds nine tenths of its quota or more, so that its owner should be warned.
    pub fn is_nearly_full(&self) -> bool {
        is_nearly_full(self.used(), self.state().quota)
    }
}

/// Whether `used` octets are nine tenths of `quota` or more.
pub(super) fn is_nearly_full(used: u64, quota: u64) -> bool {
    quota > 0 && used >= quota - quota / 10
}

impl Store {
    /// Reserves room for a message of `octets` in a mailbox; a message of unknown size has none at first.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoMailbox`], [`StoreError::MailboxFull`], or [`StoreError::Busy`] if there are [`RESERVATIONS_MAX`].
    pub fn reserve(&mut self, mailbox: MailboxId, octets: u64) -> Result<ReservationId, StoreError> {
        self.reserve_for(mailbox, octets, false)
    }

    /// The same for a message of a stranger's, or not.
    ///
    /// # Errors
    ///
    /// As [`Store::reserve`].
    pub fn reserve_for(
        &mut self,
        mailbox: MailboxId,
        octets: u64,
        is_strange: bool,
    ) -> Result<ReservationId, StoreError> {
        self.check_room(mailbox, octets)?;
        if is_strange {
            self.check_share(mailbox, 0)?;
        }
        let reservations = &mut self.reservations;
        let is_share_used = is_strange && reservations.strange >= STRANGERS_RESERVATIONS_MAX;
        if is_share_used || reservations.all.len() >= RESERVATIONS_MAX {
            return Err(StoreError::Busy);
        }
        let id = ReservationId(reservations.next);
        reservations.next += 1;
        reservations.set(id, Some(Reservation { mailbox, octets, is_strange }));
        Ok(id)
    }

    /// Reserves room for all deliveries of `change`, if that accepts a message; the reservations made are in
    /// `reserved`, even after an error.
    ///
    /// # Errors
    ///
    /// As [`Store::reserve`].
    pub(super) fn reserve_whole(
        &mut self,
        change: &Change,
        reserved: &mut Vec<ReservationId>,
    ) -> Result<(), StoreError> {
        let Change::Accept(accept, body) = change else { return Ok(()) };
        for (delivery, octets) in accept.deliveries.iter().zip(sizes(accept, body)) {
            reserved.push(self.reserve(delivery.mailbox, octets)?);
        }
        Ok(())
    }

    /// Grows a reservation to `octets` at least.
    ///
    /// # Errors
    ///
    /// As [`Store::reserve`]; the reservation is unchanged then. There is no such reservation: [`StoreError::NoDraft`].
    pub fn grow(&mut self, id: ReservationId, octets: u64) -> Result<(), StoreError> {
        let before = *self.reservations.all.get(&id).ok_or(StoreError::NoDraft)?;
        if octets > before.octets {
            self.check_room(before.mailbox, octets - before.octets)?;
            if before.is_strange {
                self.check_share(before.mailbox, before.octets)?;
            }
            self.reservations.set(id, Some(Reservation { octets, ..before }));
        }
        Ok(())
    }

    /// Releases a reservation, once the message is stored or rejected.
    pub fn release(&mut self, id: ReservationId) {
        self.reservations.set(id, None);
    }

    /// Releases several.
    pub(super) fn release_all(&mut self, ids: impl IntoIterator<Item = ReservationId>) {
        ids.into_iter().for_each(|id| self.release(id));
    }

    /// Whether a reservation of a stranger for `before` octets may grow: if those of other strangers take at most half
    /// of the free room.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoMailbox`], or [`StoreError::MailboxFull`].
    pub(super) fn check_share(&self, id: MailboxId, before: u64) -> Result<(), StoreError> {
        let mailbox = self.state.mailbox(id).ok_or(StoreError::NoMailbox(id))?;
        let quota = mailbox.state().quota;
        let free = u128::from(quota.saturating_sub(mailbox.used()));
        let others = self.reservations.of(id).1 - u128::from(before);
        if quota > 0 && others * 2 > free { Err(StoreError::MailboxFull(id)) } else { Ok(()) }
    }

    /// Whether a message of that size fits into a mailbox besides all reservations. A full mailbox rejects even an
    /// empty one, and so does one with the most messages.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoMailbox`], or [`StoreError::MailboxFull`].
    pub fn check_room(&self, id: MailboxId, octets: u64) -> Result<(), StoreError> {
        let mailbox = self.state.mailbox(id).ok_or(StoreError::NoMailbox(id))?;
        let quota = u128::from(mailbox.state().quota);
        let taken = u128::from(mailbox.used()) + self.reservations.of(id).0;
        let is_full = quota > 0 && (taken >= quota || taken + u128::from(octets) > quota);
        let has_all = mailbox.entries().len() >= self.settings.messages_max;
        let is_used_up = mailbox.state().uid_next == Uid::MAX;
        if is_full || has_all || is_used_up { Err(StoreError::MailboxFull(id)) } else { Ok(()) }
    }
}
