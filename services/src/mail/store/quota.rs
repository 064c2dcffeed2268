//! Room in mailboxes that is promised to messages on their way in.
//!
//! A recipient is accepted before the message comes. So what the message may take is reserved when its recipient is
//! named, and grows with the octets that come beyond what was announced. What mailboxes hold and what is reserved together never
//! exceed a quota: of two messages that come at the same time and have room for one, one is refused before it is sent.

use std::collections::BTreeMap;

use super::change::Refused;
use super::content::MailboxId;
use super::mailbox::Mailbox;
use super::store::Store;

/// The most reservations.
pub const RESERVATIONS_MAX: usize = 65_536;

/// Room that is promised until it is [released](Store::release).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReservationId(u64);

/// All room that is promised.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    all: BTreeMap<ReservationId, (MailboxId, u64)>,
    /// Their sums, which no mailbox without a quota can make overflow.
    of_mailboxes: BTreeMap<MailboxId, u128>,
    next: u64,
}

impl Reservations {
    fn of(&self, mailbox: MailboxId) -> u128 {
        self.of_mailboxes.get(&mailbox).copied().unwrap_or(0)
    }

    fn set(&mut self, id: ReservationId, mailbox: MailboxId, octets: u64) {
        let before = self.all.insert(id, (mailbox, octets)).map_or(0, |(_, octets)| octets);
        let sum = self.of_mailboxes.entry(mailbox).or_default();
        *sum = *sum - u128::from(before) + u128::from(octets);
    }
}

impl Mailbox {
    /// Whether it holds nine tenths of its quota or more, so that its owner should be told.
    pub fn is_nearly_full(&self) -> bool {
        is_nearly_full(self.used(), self.state().quota)
    }
}

/// Whether `used` octets are nine tenths of `quota` or more.
pub(super) fn is_nearly_full(used: u64, quota: u64) -> bool {
    quota > 0 && used >= quota - quota / 10
}

impl Store {
    /// Reserves room for a message of `octets` in a mailbox; a message whose size is not known has none at first.
    ///
    /// # Errors
    ///
    /// [`Refused::NoMailbox`], [`Refused::MailboxFull`], or [`Refused::Busy`] if there are [`RESERVATIONS_MAX`].
    pub fn reserve(&mut self, mailbox: MailboxId, octets: u64) -> Result<ReservationId, Refused> {
        self.check_room(mailbox, octets)?;
        let reservations = &mut self.reservations;
        if reservations.all.len() >= RESERVATIONS_MAX {
            return Err(Refused::Busy);
        }
        let id = ReservationId(reservations.next);
        reservations.next += 1;
        reservations.set(id, mailbox, octets);
        Ok(id)
    }

    /// Has a reservation be for `octets` at least.
    ///
    /// # Errors
    ///
    /// As [`Store::reserve`]; the reservation is as it was then. There is no such reservation: [`Refused::NoDraft`].
    pub fn grow(&mut self, id: ReservationId, octets: u64) -> Result<(), Refused> {
        let (mailbox, before) = *self.reservations.all.get(&id).ok_or(Refused::NoDraft)?;
        if octets > before {
            self.check_room(mailbox, octets - before)?;
            self.reservations.set(id, mailbox, octets);
        }
        Ok(())
    }

    /// Gives a reservation back, once the message is stored or refused.
    pub fn release(&mut self, id: ReservationId) {
        if let Some((mailbox, octets)) = self.reservations.all.remove(&id)
            && let Some(sum) = self.reservations.of_mailboxes.get_mut(&mailbox)
        {
            *sum -= u128::from(octets);
            if *sum == 0 {
                self.reservations.of_mailboxes.remove(&mailbox);
            }
        }
    }

    /// Whether there is room for a message of that size in a mailbox beside all that is reserved. A full mailbox has
    /// none for an empty one either.
    ///
    /// # Errors
    ///
    /// [`Refused::NoMailbox`], or [`Refused::MailboxFull`].
    pub fn check_room(&self, id: MailboxId, octets: u64) -> Result<(), Refused> {
        let mailbox = self.state.mailbox(id).ok_or(Refused::NoMailbox(id))?;
        let quota = u128::from(mailbox.state().quota);
        let taken = u128::from(mailbox.used()) + self.reservations.of(id);
        let is_full = taken >= quota || taken + u128::from(octets) > quota;
        if quota > 0 && is_full { Err(Refused::MailboxFull(id)) } else { Ok(()) }
    }
}
