//! The handling of changes when the disk rejects a batch.

use std::collections::BTreeSet;
use std::{io, mem};

use gatepost_ground::Instant;

use super::batches::{InFlight, Phase, Purpose};
use super::change::{Change, StoreError};
use super::content::{Abort, Accept, Body, BodyName, Content};
use super::request::Task;
use super::start::Uncertain;
use super::store::{RETRY_INTERVAL, Store, Ticket};

/// Rejected records that may be in the log.
#[derive(Debug, Default)]
pub(super) struct Aborting {
    pub(super) abort: Abort,
    /// The callers to answer once that is durable.
    pub(super) refused: Vec<(Ticket, StoreError)>,
    pub(super) bodies: Vec<BodyName>,
}
impl Store {
    /// Handles a failed batch: it may be in the log as a whole or in part, and counts as missing.
    pub(super) fn failed(&mut self, now: Instant, flight: InFlight, error: &io::Error) {
        let InFlight { batch, purpose, has_copies, waiting, .. } = flight;
        self.segments.close();
        let why = refusal(error);
        self.upkeep.disk_failed(now, why.clone());
        match purpose {
            Purpose::Changes => {
                if has_copies {
                    self.upkeep.copies_done(Err(&why));
                }
                let aborting = self.aborting.get_or_insert_default();
                aborting.abort.from.push((batch.segment, batch.offset()));
                for record in &batch.records {
                    if !record.is_copy
                        && let Content::Accept(Accept { body: Body::File { name, .. }, .. }) = record.content
                    {
                        aborting.bodies.push(name);
                    }
                }
                aborting.refused.extend(waiting.into_iter().map(|(ticket, _)| (ticket, why.clone())));
            }
            Purpose::Uncertain | Purpose::Abort => self.retry_at = Some(now + RETRY_INTERVAL),
        }
        if batch.start.is_some() {
            self.phase = Phase::Discard(batch.segment);
        } else {
            self.after_failure(now);
        }
    }

    /// The tasks that make uncertain records durable in place, as there is no room to write them elsewhere. The last
    /// task comes first.
    fn rewrite_uncertain(&self) -> Vec<Task> {
        let segments: BTreeSet<_> = self.uncertain.iter().map(|record| record.place.segment).collect();
        let syncs = segments.into_iter().filter_map(|number| self.segments.file(number));
        let syncs = syncs.map(|file| Task::Sync { file });
        let rewrites = self.uncertain.iter().filter_map(|Uncertain { place, .. }| {
            let file = self.segments.file(place.segment)?;
            Some(Task::Rewrite { file, offset: place.offset, len: place.len as usize })
        });
        syncs.chain(rewrites).collect()
    }

    pub(super) fn after_failure(&mut self, now: Instant) {
        if self.upkeep.can_give_up_reserve() {
            self.retry_at = None;
            self.phase = Phase::GiveUpReserve;
        } else if !self.uncertain.is_empty() && self.upkeep.trouble() == Some(StoreError::NoRoom) {
            self.phase = Phase::RewriteUncertain(self.rewrite_uncertain());
        } else if self.retry_at.is_some_and(|at| now < at) {
            // Nothing of it was written.
            let why = self.upkeep.trouble().unwrap_or(StoreError::NoRoom);
            for (ticket, change) in mem::take(&mut self.pending) {
                self.refuse(ticket, &change, why.clone());
            }
            self.pending_octets = 0;
        }
    }

    /// A change of which nothing was written is not made.
    pub(super) fn refuse(&mut self, ticket: Ticket, change: &Change, why: StoreError) {
        if let Change::Accept(Accept { body: Body::File { name, .. }, .. }, _) = change {
            self.state.unused.push(*name);
        }
        self.outcomes.push_back((ticket, Err(why)));
    }
}

/// The rejection for an error of the disk.
pub(super) fn refusal(error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::NoRoom,
        _ => StoreError::Disk(error.to_string()),
    }
}
