//! The work of the log: pending changes become a batch, which is appended, synced, and reported.

use std::{io, mem};

use gatepost_ground::Instant;

use super::change::{Added, StoreError, Stored, resolve};
use super::compaction::{self, Needed};
use super::content::{Content, MailboxId, Sequence, Uid};
use super::failure::Aborting;
use super::layout::RESERVE;
use super::log::{Batch, Logged, fits};
use super::quota::is_nearly_full;
use super::request::{Answer, Task};
use super::start::Uncertain;
use super::store::{Store, Ticket};

/// The state of the log.
#[derive(Debug, Default)]
pub(super) enum Phase {
    #[default]
    Idle,
    /// The batch is to be appended.
    Append(InFlight),
    Appending(InFlight),
    /// The batch is to be synced.
    Sync(InFlight),
    Syncing(InFlight),
    /// A new segment in which nothing is durable is to be removed.
    Discard(u32),
    Discarding(u32),
    /// Uncertain records are rewritten in place by these tasks, the last first.
    RewriteUncertain(Vec<Task>),
    RewritingUncertain(Vec<Task>),
    /// The reserve is to be released.
    GiveUpReserve,
    GivingUpReserve,
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) batch: Batch,
    /// Its octets that repeat other records.
    repeated: u64,
    pub(super) purpose: Purpose,
    /// Whether it has the needed records of [`Store::leaving`].
    pub(super) has_copies: bool,
    /// The waiting callers, with their outcomes.
    pub(super) waiting: Vec<(Ticket, Stored)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Changes,
    /// [`Store::uncertain`]
    Uncertain,
    /// [`Store::aborting`]
    Abort,
}
impl InFlight {
    /// A batch with its first records only.
    fn new(batch: Batch, purpose: Purpose) -> Self {
        let repeated = batch.len();
        Self { batch, repeated, purpose, has_copies: false, waiting: Vec::new() }
    }
}

impl Store {
    pub(super) fn poll_log(&mut self, now: Instant) -> Option<Task> {
        if matches!(self.phase, Phase::Idle) {
            self.form_batch(now);
        }
        let (phase, task) = match mem::take(&mut self.phase) {
            Phase::Append(mut flight) => {
                let file = self.segments.file(flight.batch.segment);
                let octets = mem::take(&mut flight.batch.octets);
                (Phase::Appending(flight), file.map(|file| Task::Append { file, octets }))
            }
            Phase::Sync(flight) => {
                let file = self.segments.file(flight.batch.segment);
                (Phase::Syncing(flight), file.map(|file| Task::Sync { file }))
            }
            Phase::Discard(segment) => match self.segments.file(segment) {
                Some(file) => (Phase::Discarding(segment), Some(Task::Remove { file })),
                None => (Phase::Idle, None),
            },
            Phase::RewriteUncertain(mut tasks) => match tasks.pop() {
                Some(task) => (Phase::RewritingUncertain(tasks), Some(task)),
                None => (Phase::Idle, None),
            },
            Phase::GiveUpReserve => {
                let file = RESERVE.to_owned();
                (Phase::GivingUpReserve, Some(Task::Remove { file }))
            }
            phase => (phase, None),
        };
        self.phase = phase;
        task
    }

    /// Appends the pending changes, if there are any, and the disk is not in a pause.
    fn form_batch(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| now < at) || self.is_newer {
            return;
        }
        self.retry_at = None;
        let flight = if self.aborting.is_some() {
            Some(self.abort_batch())
        } else if !self.uncertain.is_empty() {
            Some(self.uncertain_batch())
        } else {
            self.change_batch()
        };
        if let Some(flight) = flight {
            self.phase = Phase::Append(flight);
        }
    }

    fn abort_batch(&mut self) -> InFlight {
        self.segments.close();
        let abort = self.aborting.as_ref().map(|aborting| aborting.abort.clone());
        let batch = self.begin_batch(abort.map(Content::Abort));
        InFlight::new(batch, Purpose::Abort)
    }

    fn uncertain_batch(&mut self) -> InFlight {
        let mut flight = InFlight::new(self.begin_batch(None), Purpose::Uncertain);
        for Uncertain { sequence, content, body, .. } in &self.uncertain {
            flight.batch.add(*sequence, true, content.clone(), body);
        }
        flight
    }

    fn change_batch(&mut self) -> Option<InFlight> {
        let mut flight = self.copies_batch();
        let mut added = Added::new();
        while let Some((_, change)) = self.pending.front() {
            if let Some(flight) = &flight {
                let is_long = flight.batch.octets.len() + change.len() > self.settings.batch_octets;
                let is_many = flight.batch.records.len() >= self.settings.batch_records;
                if is_long
                    || is_many
                    || change.is_structural() && (!flight.waiting.is_empty() || flight.has_copies)
                {
                    break;
                }
            }
            let is_structural = change.is_structural();
            let Some((ticket, change)) = self.pending.pop_front() else { break };
            self.pending_octets = self.pending_octets.saturating_sub(change.len());
            let resolved = match self.admit(change.grows()) {
                Ok(()) => resolve(&change, &mut self.state, &mut added, &self.settings),
                Err(refused) => Err(refused),
            };
            match resolved {
                Ok((Some(content), mut stored)) => {
                    if flight.is_none() {
                        flight = Some(InFlight::new(self.begin_batch(None), Purpose::Changes));
                    }
                    let sequence = self.next_sequence();
                    stored.sequence = Some(sequence);
                    if let Some(flight) = &mut flight {
                        flight.batch.add(sequence, false, content, change.body());
                        flight.waiting.push((ticket, stored));
                    }
                }
                Ok((None, stored)) => self.outcomes.push_back((ticket, Ok(stored))),
                Err(refused) => self.refuse(ticket, &change, refused),
            }
            // A rejected one leaves no write whose completion would start the others.
            if is_structural && flight.is_some() {
                break;
            }
        }
        flight
    }

    /// A batch that begins with the current state of the records that leave.
    fn copies_batch(&mut self) -> Option<InFlight> {
        if self.leaving.is_empty() {
            return None;
        }
        let leaving = mem::take(&mut self.leaving);
        // On a full disk notes are not copied: they state no facts.
        let is_full = self.upkeep.is_full();
        let leaves = |logged: &Logged| !is_full || !matches!(logged.content, Content::Note(_));
        let needed = leaving.iter().filter(|(logged, _)| leaves(logged)).flat_map(|(logged, body)| {
            compaction::needed(&self.state, logged).into_iter().map(move |needed| (needed, body))
        });
        let all: Vec<_> = needed.collect();
        if all.is_empty() {
            self.upkeep.copies_done(Ok(()));
            return None;
        }
        if !all.iter().all(|(needed, _)| fits(&needed.content, &[])) {
            // It would be read as damage. The segment stays.
            self.upkeep.copies_done(Err(&StoreError::TooMuch("octets of a record")));
            return None;
        }
        let mut flight = InFlight::new(self.begin_batch(None), Purpose::Changes);
        for (Needed { sequence, content }, body) in all {
            let body = if matches!(content, Content::Accept(_)) { &body[..] } else { &[] };
            let is_copy = sequence.is_some();
            let is_live = is_copy && !matches!(content, Content::Note(_));
            let sequence = sequence.unwrap_or_else(|| self.next_sequence());
            let before = flight.batch.len();
            flight.batch.add(sequence, is_copy, content, body);
            if !is_live {
                flight.repeated += flight.batch.len() - before;
            }
        }
        flight.has_copies = true;
        Some(flight)
    }

    /// Begins a batch with `first`. If it begins a segment, it begins with the state of all mailboxes.
    fn begin_batch(&mut self, first: Option<Content>) -> Batch {
        let mut batch = self.segments.begin_batch(self.settings.segment_octets, &mut self.rng);
        let start = batch.start.map(Content::Start);
        let mailboxes = if start.is_some() {
            let states = self.state.mailboxes.values().map(|mailbox| mailbox.state.clone());
            states.map(Content::Mailbox).collect()
        } else {
            Vec::new()
        };
        for content in first.into_iter().chain(start).chain(mailboxes) {
            batch.add(self.next_sequence(), false, content, &[]);
        }
        batch
    }

    fn next_sequence(&mut self) -> Sequence {
        let sequence = self.state.next_sequence.max(1);
        self.state.next_sequence = sequence.saturating_add(1);
        sequence
    }

    pub(super) fn log_done(&mut self, now: Instant, done: io::Result<Answer>) {
        match (mem::take(&mut self.phase), done) {
            (Phase::Appending(flight), Ok(_)) => self.phase = Phase::Sync(flight),
            (Phase::Syncing(flight), Ok(_)) => self.durable(flight),
            (Phase::Appending(flight) | Phase::Syncing(flight), Err(error)) => {
                self.failed(now, flight, &error);
            }
            (Phase::Discarding(segment), done) => {
                if done.is_ok() {
                    self.segments.files.remove(&segment);
                }
                self.after_failure(now);
            }
            (Phase::RewritingUncertain(tasks), Ok(_)) if !tasks.is_empty() => {
                self.phase = Phase::RewriteUncertain(tasks);
            }
            (Phase::RewritingUncertain(_), Ok(_)) => {
                self.uncertain.clear();
                self.retry_at = None;
            }
            (Phase::RewritingUncertain(_), Err(_)) => {}
            (Phase::GivingUpReserve, _) => self.upkeep.reserve_given_up(now),
            (phase, _) => self.phase = phase,
        }
    }

    fn durable(&mut self, flight: InFlight) {
        let InFlight { batch, repeated, purpose, has_copies, waiting } = flight;
        self.segments.extend(&batch);
        for record in &batch.records {
            self.state.apply(record);
        }
        self.state.confirm(batch.segment, batch.offset() + batch.len());
        self.upkeep.log_grew(batch.len());
        self.upkeep.repeated(batch.segment, repeated, batch.len() - repeated);
        if waiting.iter().any(|(_, stored)| stored.mailbox.is_some()) {
            // A new mailbox is in the log only once. A checkpoint repeats it, so that damage loses no name.
            self.upkeep.log_grew(self.settings.checkpoint_octets);
        }
        for (ticket, mut stored) in waiting {
            let mailboxes = stored.uids.iter().filter(|(id, uid)| self.fills(*id, *uid));
            stored.nearly_full = mailboxes.map(|(id, _)| *id).collect();
            self.outcomes.push_back((ticket, Ok(stored)));
        }
        match purpose {
            Purpose::Changes if has_copies => self.upkeep.copies_done(Ok(())),
            Purpose::Changes => {}
            Purpose::Uncertain => {
                self.uncertain.clear();
                // A checkpoint is due, so that the next start need not do it all over.
                self.upkeep.log_grew(self.settings.checkpoint_octets);
            }
            Purpose::Abort => {
                if let Some(Aborting { refused, bodies, .. }) = self.aborting.take() {
                    self.outcomes.extend(refused.into_iter().map(|(ticket, why)| (ticket, Err(why))));
                    self.state.unused.extend(bodies);
                }
            }
        }
    }

    /// Whether a message is the one by which its mailbox holds nine tenths of its quota.
    fn fills(&self, id: MailboxId, uid: Uid) -> bool {
        self.state.mailbox(id).is_some_and(|mailbox| {
            let quota = mailbox.state().quota;
            let later = mailbox.entries().iter().rev().take_while(|entry| entry.uid > uid);
            let after = later.fold(mailbox.used(), |used, entry| used.saturating_sub(entry.size));
            let size = mailbox.entry(uid).map_or(0, |entry| entry.size);
            is_nearly_full(after, quota) && !is_nearly_full(after.saturating_sub(size), quota)
        })
    }
}
