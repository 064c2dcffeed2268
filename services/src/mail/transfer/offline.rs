//! The store, used by a process of its own while no gateway runs: each step waits for the disk.

use std::collections::BTreeMap;
use std::io;

use gatepost_ground::Instant;
use rand::rngs::StdRng;

use crate::mail::store::{
    Change, Entry, MailboxId, Message, Settings, State, Store, StoreError, Stored, Ticket, Unreadable,
    read_message, recover,
};
use crate::store::Storage;

/// The mail store of a directory without a running gateway.
pub struct OfflineStore<'a> {
    pub(super) store: Store,
    pub(super) disk: &'a dyn Storage,
    now: Instant,
    outcomes: BTreeMap<Ticket, Result<Stored, StoreError>>,
    was_damaged: bool,
}

impl<'a> OfflineStore<'a> {
    /// Loads the store on `disk`. `rng` provides file names.
    ///
    /// # Errors
    ///
    /// An error of the storage.
    pub fn open(disk: &'a dyn Storage, settings: Settings, now: Instant, rng: StdRng) -> io::Result<Self> {
        let recovered = recover(disk)?;
        let was_damaged = recovered.report().is_damaged();
        let store = Store::new(settings, recovered, rng);
        let mut this = Self { store, disk, now, outcomes: BTreeMap::new(), was_damaged };
        this.settle();
        Ok(this)
    }

    /// The stored state.
    pub fn state(&self) -> &State {
        self.store.state()
    }

    /// Whether something was found that cannot be read.
    pub fn was_damaged(&self) -> bool {
        self.was_damaged
    }

    /// Performs one request of the store. Returns whether there was one.
    pub(super) fn step(&mut self) -> bool {
        let Some(request) = self.store.poll_request(self.now) else { return false };
        let done = request.task.perform(self.disk);
        self.store.handle_done(self.now, request.lane, done);
        true
    }

    /// Performs all requests of the store.
    pub fn settle(&mut self) {
        while self.step() {}
        while let Some((ticket, outcome)) = self.store.poll_outcome() {
            self.outcomes.insert(ticket, outcome);
        }
    }

    /// Makes a change, durably.
    ///
    /// # Errors
    ///
    /// Why it is not made.
    pub fn change(&mut self, change: Change) -> Result<Stored, StoreError> {
        let ticket = self.store.submit(change)?;
        self.settle();
        self.outcome(ticket)
    }

    /// The outcome of a change, when all is [settled](OfflineStore::settle).
    ///
    /// # Errors
    ///
    /// Why it is not made.
    pub(super) fn outcome(&mut self, ticket: Ticket) -> Result<Stored, StoreError> {
        let unknown = || Err(StoreError::Disk("it does not take what was written before".to_owned()));
        self.outcomes.remove(&ticket).unwrap_or_else(unknown)
    }

    /// Reads a message.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub(super) fn message(&self, mailbox: MailboxId, entry: &Entry) -> Result<Message, Unreadable> {
        let segment = self.store.segment_file(entry.place.segment).ok_or(Unreadable::Gone)?;
        read_message(self.disk, &segment, mailbox, entry)
    }
}
