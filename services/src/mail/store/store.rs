//! The store: changes in, requests on the disk out, and what became of the changes.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::rngs::StdRng;

use super::change::{Added, Change, Refused, Stored, resolve};
use super::compaction::{self, Needed};
use super::content::{Abort, Accept, Body, BodyName, Content, MailboxId, Sequence, Uid};
use super::draft::{DraftId, Drafts, Ended};
use super::layout::segment_number;
use super::log::{Batch, Logged, Segments, fits, random_name};
use super::quota::{Reservations, is_nearly_full};
use super::request::{Answer, Lane, Request, Task};
use super::start::{Recovered, Uncertain};
use super::state::State;
use super::upkeep::Upkeep;
use super::{DRAFTS_MAX, DRAFTS_MEMORY_MAX, PENDING_MAX, PENDING_OCTETS_MAX, Settings};

/// How long the store waits after the disk has refused what cannot be done without.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// A change that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// The mail store, without its I/O: see [the module](super).
#[derive(Debug)]
pub struct Store {
    pub(super) settings: Settings,
    rng: StdRng,
    pub(super) state: State,
    pub(super) segments: Segments,
    phase: Phase,
    /// Records of before the start that are not known to be durable. They are written once more before anything else.
    uncertain: Vec<Uncertain>,
    /// Records of a segment that is to go. What of them is needed is in the next batch.
    pub(super) leaving: Vec<(Logged, Vec<u8>)>,
    aborting: Option<Aborting>,
    retry_at: Option<Instant>,
    pending: VecDeque<(Ticket, Change)>,
    pending_octets: usize,
    outcomes: VecDeque<(Ticket, Result<Stored, Refused>)>,
    drafts: Drafts,
    next_ticket: u64,
    is_newer: bool,
    pub(super) upkeep: Upkeep,
    pub(super) reservations: Reservations,
}

/// What the log is doing.
#[derive(Debug, Default)]
enum Phase {
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
    /// The reserve is to be given up.
    GiveUpReserve,
    GivingUpReserve,
}

#[derive(Debug)]
struct InFlight {
    batch: Batch,
    purpose: Purpose,
    /// Whether it has what was needed of [`Store::leaving`].
    has_copies: bool,
    /// Who waits for it, and what is told then.
    waiting: Vec<(Ticket, Stored)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Changes,
    /// [`Store::uncertain`]
    Uncertain,
    /// [`Store::aborting`]
    Abort,
}

/// Records that are refused, but may be in the log.
#[derive(Debug, Default)]
struct Aborting {
    abort: Abort,
    /// Who is told once that is durable.
    refused: Vec<(Ticket, Refused)>,
    bodies: Vec<BodyName>,
}

impl Store {
    /// The store as it was read from the disk. `rng` gives files their names.
    pub fn new(settings: Settings, recovered: Recovered, rng: StdRng) -> Self {
        let Recovered { state, files, uncertain, report, reserve_len, orphans, checkpoint } = recovered;
        // What is damaged may have named them.
        let orphans = if report.is_damaged() { Vec::new() } else { orphans };
        let has_reserve = reserve_len >= settings.reserve_octets;
        // What cannot be read now is perhaps read again by somebody who brings the disk to it.
        let damaged = report.damages.iter().filter(|damage| !damage.is_at_end);
        let damaged = damaged.filter_map(|damage| segment_number(&damage.file)).collect();
        let upkeep = Upkeep::new(orphans, has_reserve, checkpoint, damaged);
        Self {
            settings,
            rng,
            state,
            segments: Segments::new(files, checkpoint.unwrap_or(0)),
            phase: Phase::default(),
            uncertain,
            leaving: Vec::new(),
            aborting: None,
            retry_at: None,
            pending: VecDeque::new(),
            pending_octets: 0,
            outcomes: VecDeque::new(),
            drafts: Drafts::new(settings.inline_octets),
            next_ticket: 0,
            is_newer: report.newer.is_some(),
            upkeep,
            reservations: Reservations::default(),
        }
    }

    /// What is stored.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The file of a segment.
    pub fn segment_file(&self, number: u32) -> Option<(String, super::record::Marker)> {
        Some((self.segments.file(number)?, self.segments.files.get(&number)?.marker))
    }

    /// Whether all that is known is durable, or nothing is written as a newer program has written. Until then changes wait, and nobody is to be told of [what is
    /// known](Store::state): it may not be there any more after a power cut.
    pub fn is_ready(&self) -> bool {
        self.uncertain.is_empty() || self.is_newer
    }

    /// Asks for a change. What comes of it [is told](Store::poll_outcome) by the ticket.
    ///
    /// # Errors
    ///
    /// [`Refused::Busy`], [`Refused::Newer`], or the disk is full or fails; other refusals are told later.
    pub fn submit(&mut self, mut change: Change) -> Result<Ticket, Refused> {
        if let Change::Accept(accept, _) = &mut change {
            accept.body = Body::Inline;
        }
        self.admit(change.grows())?;
        let octets = change.len();
        if self.pending.len() >= PENDING_MAX || self.pending_octets + octets > PENDING_OCTETS_MAX {
            return Err(Refused::Busy);
        }
        let ticket = self.ticket();
        self.pending_octets += octets;
        self.pending.push_back((ticket, change));
        Ok(ticket)
    }

    /// Whether the store takes messages now.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub fn takes_messages(&self) -> Result<(), Refused> {
        self.admit(true)
    }

    fn admit(&self, grows: bool) -> Result<(), Refused> {
        if self.is_newer {
            return Err(Refused::Newer);
        }
        if let Some(why) = self.upkeep.trouble().filter(|_| self.retry_at.is_some()) {
            return Err(why);
        }
        if grows && self.upkeep.is_full() { Err(Refused::NoRoom) } else { Ok(()) }
    }

    /// Whether no more messages are taken before some changes are durable.
    fn has_enough(&self) -> bool {
        self.pending.len() >= PENDING_MAX || self.pending_octets >= PENDING_OCTETS_MAX
    }

    pub(super) fn is_newer(&self) -> bool {
        self.is_newer
    }

    fn ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }

    /// Begins a message, whose octets then [come](Store::chunk).
    ///
    /// # Errors
    ///
    /// The store takes no messages, or [`DRAFTS_MAX`] are on their way in, or too much waits for the disk.
    pub fn begin(&mut self) -> Result<DraftId, Refused> {
        self.admit(true)?;
        if self.drafts.all.len() >= DRAFTS_MAX || self.has_enough() {
            return Err(Refused::Busy);
        }
        Ok(self.drafts.begin())
    }

    /// Whether octets of the message are still to be written before it takes more.
    pub fn is_draft_full(&self, id: DraftId) -> bool {
        self.drafts.all.get(&id).is_some_and(|draft| draft.is_full() && draft.failed().is_none())
    }

    /// Takes further octets of a message. While [it is full](Store::is_draft_full) the caller waits before the next.
    ///
    /// # Errors
    ///
    /// The message cannot be stored, or there is no such message.
    pub fn chunk(&mut self, id: DraftId, octets: &[u8]) -> Result<(), Refused> {
        let memory_is_short = self.drafts.memory() + octets.len() > DRAFTS_MEMORY_MAX;
        let draft = self.drafts.all.get_mut(&id).filter(|draft| draft.is_open()).ok_or(Refused::NoDraft)?;
        if let Some(refused) = draft.failed() {
            return Err(refused.clone());
        }
        let rng = &mut self.rng;
        draft.push(octets, || BodyName(random_name(rng)), memory_is_short);
        Ok(())
    }

    /// Accepts a message all of whose octets have come. What comes of it [is told](Store::poll_outcome) by the ticket.
    ///
    /// # Errors
    ///
    /// There is no such message. Or it is refused, as too much waits for the disk or that fails, and given up.
    pub fn commit(&mut self, id: DraftId, accept: Accept) -> Result<Ticket, Refused> {
        if !self.drafts.all.get(&id).is_some_and(super::draft::Draft::is_open) {
            return Err(Refused::NoDraft);
        }
        let admitted = self.admit(true);
        if let Err(refused) =
            admitted.and_then(|()| if self.has_enough() { Err(Refused::Busy) } else { Ok(()) })
        {
            self.give_up(id);
            return Err(refused);
        }
        let ticket = self.ticket();
        if let Some(draft) = self.drafts.all.get_mut(&id) {
            draft.commit(ticket, accept);
        }
        self.settle_drafts();
        Ok(ticket)
    }

    /// Gives up a message that is not committed. There need not be one.
    pub fn give_up(&mut self, id: DraftId) {
        if let Some(draft) = self.drafts.all.get_mut(&id).filter(|draft| draft.is_open()) {
            draft.give_up();
        }
        self.settle_drafts();
    }

    fn settle_drafts(&mut self) {
        while let Some(ended) = self.drafts.take_ended() {
            match ended {
                Ended::Committed(ticket, accept, octets) => {
                    let change = Change::Accept(*accept, octets);
                    self.pending_octets += change.len();
                    self.pending.push_back((ticket, change));
                }
                Ended::Failed(told, file) => {
                    self.state.unused.extend(file);
                    self.outcomes.extend(told.map(|(ticket, refused)| (ticket, Err(refused))));
                }
            }
        }
    }

    /// What became of a change. Each ticket is told of once.
    pub fn poll_outcome(&mut self) -> Option<(Ticket, Result<Stored, Refused>)> {
        self.outcomes.pop_front()
    }

    /// What is to be done with the disk now. Each is done, and [told](Store::handle_done), in any order; of one lane there
    /// is one at a time.
    pub fn poll_request(&mut self, now: Instant) -> Option<Request> {
        loop {
            if let Some(task) = self.poll_log(now) {
                return Some(Request { lane: Lane::Log, task });
            }
            if let Some((id, task)) = self.drafts.poll() {
                return Some(Request { lane: Lane::Draft(id), task });
            }
            if let Some(task) = self.poll_upkeep(now) {
                return Some(Request { lane: Lane::Upkeep, task });
            }
            // What leaves a segment is for the log.
            let is_log_waiting = self.retry_at.is_some_and(|at| now < at);
            if self.leaving.is_empty() || !matches!(self.phase, Phase::Idle) || is_log_waiting {
                return None;
            }
        }
    }

    /// When there will be something to do, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let log = self.retry_at.filter(|_| matches!(self.phase, Phase::Idle));
        log.into_iter().chain(self.upkeep_due()).min()
    }

    /// Takes what became of the request of `lane`.
    pub fn handle_done(&mut self, now: Instant, lane: Lane, done: io::Result<Answer>) {
        match lane {
            Lane::Log => self.log_done(now, done),
            Lane::Upkeep => self.upkeep_done(now, done),
            Lane::Draft(id) => {
                if let Some(draft) = self.drafts.all.get_mut(&id) {
                    draft.handle_done(done.map(|_| ()).map_err(|error| refusal(&error)));
                }
                self.settle_drafts();
            }
        }
    }

    fn poll_log(&mut self, now: Instant) -> Option<Task> {
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
            Phase::GiveUpReserve => {
                let file = super::layout::RESERVE.to_owned();
                (Phase::GivingUpReserve, Some(Task::Remove { file }))
            }
            phase => (phase, None),
        };
        self.phase = phase;
        task
    }

    /// Has what waits appended, if anything does, and the disk is to be tried now.
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
        InFlight { batch, purpose: Purpose::Abort, has_copies: false, waiting: Vec::new() }
    }

    fn uncertain_batch(&mut self) -> InFlight {
        let mut batch = self.begin_batch(None);
        for Uncertain { sequence, content, body } in &self.uncertain {
            batch.add(*sequence, true, content.clone(), body);
        }
        InFlight { batch, purpose: Purpose::Uncertain, has_copies: false, waiting: Vec::new() }
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
                Ok(()) => resolve(&change, &mut self.state, &mut added),
                Err(refused) => Err(refused),
            };
            match resolved {
                Ok((Some(content), mut stored)) => {
                    if flight.is_none() {
                        let batch = self.begin_batch(None);
                        flight = Some(InFlight {
                            batch,
                            purpose: Purpose::Changes,
                            has_copies: false,
                            waiting: Vec::new(),
                        });
                    }
                    let sequence = self.next_sequence();
                    stored.sequence = Some(sequence);
                    if let Some(flight) = &mut flight {
                        flight.batch.add(sequence, false, content, change.body());
                        flight.waiting.push((ticket, stored));
                    }
                }
                Ok((None, stored)) => self.outcomes.push_back((ticket, Ok(stored))),
                Err(refused) => {
                    if let Change::Accept(Accept { body: Body::File { name, .. }, .. }, _) = change {
                        self.state.unused.push(name);
                    }
                    self.outcomes.push_back((ticket, Err(refused)));
                }
            }
            if is_structural {
                break;
            }
        }
        flight
    }

    /// A batch that begins with what is needed of the records that leave, as it is now.
    fn copies_batch(&mut self) -> Option<InFlight> {
        if self.leaving.is_empty() {
            return None;
        }
        let leaving = mem::take(&mut self.leaving);
        let needed = leaving.iter().flat_map(|(logged, body)| {
            compaction::needed(&self.state, logged).into_iter().map(move |needed| (needed, body))
        });
        let all: Vec<_> = needed.collect();
        if all.is_empty() {
            self.upkeep.copies_done(Ok(()));
            return None;
        }
        if !all.iter().all(|(needed, _)| fits(&needed.content, &[])) {
            // It would be read as damage. The segment stays.
            self.upkeep.copies_done(Err(&Refused::TooMuch("octets of a record")));
            return None;
        }
        let mut batch = self.begin_batch(None);
        for (Needed { sequence, content }, body) in all {
            let body = if matches!(content, Content::Accept(_)) { &body[..] } else { &[] };
            let is_copy = sequence.is_some();
            let sequence = sequence.unwrap_or_else(|| self.next_sequence());
            batch.add(sequence, is_copy, content, body);
        }
        Some(InFlight { batch, purpose: Purpose::Changes, has_copies: true, waiting: Vec::new() })
    }

    /// Begins a batch, which `first` comes first in. If it begins a segment, the segment begins with what all mailboxes are.
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

    fn log_done(&mut self, now: Instant, done: io::Result<Answer>) {
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
            (Phase::GivingUpReserve, _) => self.upkeep.reserve_given_up(now),
            (phase, _) => self.phase = phase,
        }
    }

    fn durable(&mut self, flight: InFlight) {
        let InFlight { batch, purpose, has_copies, waiting } = flight;
        self.segments.extend(&batch);
        for record in &batch.records {
            self.state.apply(record);
        }
        self.upkeep.log_grew(batch.len());
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

    /// A batch may be in the log, or a part of it, and counts as not there.
    fn failed(&mut self, now: Instant, flight: InFlight, error: &io::Error) {
        let InFlight { batch, purpose, has_copies, waiting } = flight;
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

    fn after_failure(&mut self, now: Instant) {
        if self.upkeep.can_give_up_reserve() {
            self.retry_at = None;
            self.phase = Phase::GiveUpReserve;
        } else if self.retry_at.is_some_and(|at| now < at) {
            // Nothing of it was written.
            let why = self.upkeep.trouble().unwrap_or(Refused::NoRoom);
            for (ticket, change) in mem::take(&mut self.pending) {
                if let Change::Accept(Accept { body: Body::File { name, .. }, .. }, _) = change {
                    self.state.unused.push(name);
                }
                self.outcomes.push_back((ticket, Err(why.clone())));
            }
            self.pending_octets = 0;
        }
    }
}

/// Why something is refused as the disk has refused.
pub(super) fn refusal(error: &io::Error) -> Refused {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refused::NoRoom,
        _ => Refused::Disk(error.to_string()),
    }
}
