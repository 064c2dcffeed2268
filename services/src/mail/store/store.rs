//! The store as a state machine: changes are inputs; disk requests and outcomes of changes are outputs.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::rngs::StdRng;

use super::batches::Phase;
use super::change::{Change, StoreError, Stored};
use super::content::{Accept, Body, BodyName};
use super::draft::{DraftId, Drafts, Ended, Part};
use super::failure::{Aborting, refusal};
use super::layout::segment_number;
use super::log::{Logged, Segments, random_name};
use super::quota::Reservations;
use super::request::{Answer, Lane, Request};
use super::start::{Recovered, Uncertain};
use super::state::State;
use super::upkeep::Upkeep;
use super::{DRAFTS_MAX, PENDING_MAX, PENDING_OCTETS_MAX, Settings};

/// The interval of retries after the disk has failed.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// A submitted change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// The mail store, without its I/O: see [the module](super).
#[derive(Debug)]
pub struct Store {
    pub(super) settings: Settings,
    pub(super) rng: StdRng,
    pub(super) state: State,
    pub(super) segments: Segments,
    pub(super) phase: Phase,
    /// Loaded records that are not known to be durable. They are written once more before anything else.
    pub(super) uncertain: Vec<Uncertain>,
    /// Records of a segment that is to be removed. The needed ones are in the next batch.
    pub(super) leaving: Vec<(Logged, Vec<u8>)>,
    pub(super) aborting: Option<Aborting>,
    pub(super) retry_at: Option<Instant>,
    pub(super) pending: VecDeque<(Ticket, Change)>,
    pub(super) pending_octets: usize,
    pub(super) outcomes: VecDeque<(Ticket, Result<Stored, StoreError>)>,
    drafts: Drafts,
    next_ticket: u64,
    pub(super) is_newer: bool,
    pub(super) upkeep: Upkeep,
    pub(super) reservations: Reservations,
}

impl Store {
    /// The store with the loaded state. `rng` provides file names.
    pub fn new(settings: Settings, recovered: Recovered, rng: StdRng) -> Self {
        let Recovered { state, files, uncertain, report, reserve_len, orphans, checkpoint } = recovered;
        let has_reserve = reserve_len >= settings.reserve_octets;
        // Unreadable data may become readable on another machine. And the next start could choose the other one of two
        // files.
        let twice = report.segments_twice.iter().filter_map(|file| segment_number(file));
        let left_alone = state.known_damage.damaged.iter().copied().chain(twice).collect();
        let upkeep = Upkeep::new(orphans, has_reserve, checkpoint, left_alone);
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

    /// The stored state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The file of a segment.
    pub fn segment_file(&self, number: u32) -> Option<(String, super::record::Marker)> {
        Some((self.segments.file(number)?, self.segments.files.get(&number)?.marker))
    }

    /// Whether the loaded state is durable, or nothing is written because of a newer program. Until then changes wait,
    /// and the [state](Store::state) must not be shown: it may be gone after a power cut.
    pub fn is_ready(&self) -> bool {
        self.uncertain.is_empty() || self.is_newer
    }

    /// Submits a change. [`Store::poll_outcome`] reports its outcome with the ticket.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`], [`StoreError::Newer`], or the disk is full or fails; other rejections come later.
    pub fn submit(&mut self, mut change: Change) -> Result<Ticket, StoreError> {
        if let Change::Accept(accept, _) = &mut change {
            accept.body = Body::Inline;
        }
        self.admit(change.grows())?;
        let octets = change.len();
        if self.pending.len() >= PENDING_MAX || self.pending_octets + octets > PENDING_OCTETS_MAX {
            return Err(StoreError::Busy);
        }
        let ticket = self.ticket();
        self.pending_octets += octets;
        self.pending.push_back((ticket, change));
        Ok(ticket)
    }

    /// Whether the store accepts messages now.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub fn takes_messages(&self) -> Result<(), StoreError> {
        self.admit(true)
    }

    /// Why the store accepts no messages, or accepted none at the last try.
    pub fn trouble(&self) -> Option<StoreError> {
        if self.is_newer {
            Some(StoreError::Newer)
        } else if self.upkeep.is_full() {
            Some(StoreError::NoRoom)
        } else {
            self.upkeep.trouble()
        }
    }

    pub(super) fn admit(&self, grows: bool) -> Result<(), StoreError> {
        if self.is_newer {
            return Err(StoreError::Newer);
        }
        if let Some(why) = self.upkeep.trouble().filter(|_| self.retry_at.is_some()) {
            return Err(why);
        }
        if grows && self.upkeep.is_full() { Err(StoreError::NoRoom) } else { Ok(()) }
    }

    /// Whether a message is accepted now, besides the pending changes.
    fn admit_message(&self) -> Result<(), StoreError> {
        self.admit(true)?;
        if self.has_enough() { Err(StoreError::Busy) } else { Ok(()) }
    }

    /// Whether no more messages are accepted before some changes are durable.
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

    /// Begins a draft, whose octets then [come](Store::chunk).
    ///
    /// # Errors
    ///
    /// The store accepts no messages, or there are [`DRAFTS_MAX`] drafts, or too much waits for the disk.
    pub fn begin(&mut self) -> Result<DraftId, StoreError> {
        self.begin_from(None)
    }

    /// The same for a message from the source `stranger`. Strangers have no more than three quarters of the files and
    /// of the memory, and one of them no more than [`STRANGERS_LARGE_DRAFTS_MAX`](super::STRANGERS_LARGE_DRAFTS_MAX)
    /// files.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    pub fn begin_from(&mut self, stranger: Option<IpAddr>) -> Result<DraftId, StoreError> {
        self.admit_message()?;
        if self.drafts.all.len() >= DRAFTS_MAX {
            return Err(StoreError::Busy);
        }
        Ok(self.drafts.begin(stranger))
    }

    /// Whether octets of the draft are still to be written before it accepts more.
    pub fn is_draft_full(&self, id: DraftId) -> bool {
        self.drafts.all.get(&id).is_some_and(|draft| draft.is_full() && draft.failed().is_none())
    }

    /// A part of a draft.
    ///
    /// # Errors
    ///
    /// The draft cannot be stored, or does not exist.
    pub(super) fn draft_part(&self, id: DraftId, offset: u64, len: usize) -> Result<Part, StoreError> {
        let draft = self.drafts.all.get(&id).filter(|draft| draft.is_open()).ok_or(StoreError::NoDraft)?;
        draft.failed().map_or_else(|| Ok(draft.part(offset, len)), |refused| Err(refused.clone()))
    }

    /// Adds octets to a draft. While [it is full](Store::is_draft_full) the caller waits before the next.
    ///
    /// # Errors
    ///
    /// The message cannot be stored, or there is no such message. Or it is long, and there are as many of
    /// those as may be: [`LARGE_DRAFTS_MAX`](super::LARGE_DRAFTS_MAX), and fewer of strangers.
    pub fn chunk(&mut self, id: DraftId, octets: &[u8]) -> Result<(), StoreError> {
        let stranger = self.drafts.all.get(&id).and_then(|draft| draft.stranger);
        let memory_is_short = self.drafts.is_memory_short(octets.len(), stranger);
        let has_all_files = self.drafts.has_all_files(stranger);
        let draft =
            self.drafts.all.get_mut(&id).filter(|draft| draft.is_open()).ok_or(StoreError::NoDraft)?;
        if let Some(refused) = draft.failed() {
            return Err(refused.clone());
        }
        if has_all_files && draft.needs_file(octets.len(), memory_is_short) {
            draft.fail(StoreError::Busy);
            return Err(StoreError::Busy);
        }
        let rng = &mut self.rng;
        draft.push(octets, || BodyName(random_name(rng)), memory_is_short);
        Ok(())
    }

    /// Commits a complete draft. [`Store::poll_outcome`] reports its outcome with the ticket.
    ///
    /// # Errors
    ///
    /// There is no such draft. Or it is rejected, as too much waits for the disk or that fails, and aborted.
    pub fn commit(&mut self, id: DraftId, accept: Accept) -> Result<Ticket, StoreError> {
        if !self.drafts.all.get(&id).is_some_and(super::draft::Draft::is_open) {
            return Err(StoreError::NoDraft);
        }
        if let Err(refused) = self.admit_message() {
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

    /// Aborts a draft, if it exists and is not committed.
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

    /// The outcome of a change, once for each ticket.
    pub fn poll_outcome(&mut self) -> Option<(Ticket, Result<Stored, StoreError>)> {
        self.outcomes.pop_front()
    }

    /// The next request to the disk. The outcomes are passed to [`Store::handle_done`] in any order; each lane has one
    /// request at a time.
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
            // The log copies the records that leave a segment.
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

    /// Handles the outcome of the request of `lane`.
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
}
