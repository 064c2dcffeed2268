//! The queue of messages for other servers.
//!
//! The mail store is authoritative: it has an entry for each recipient, with its progress. A [`Queue`] is built from it
//! at startup, and schedules the entries; it has no store, resolver or connection.
//!
//! ```text
//!   insert, remove ──▶ Queue ──▶ next_job ──▶ servers are searched, the message is read and sent
//!                        ▲                                   │ reports
//!                        └── insert, remove ◀── the store ◀── settle ──▶ changes and notices
//! ```
//!
//! A [`Job`] is one message for recipients with one [`NextHop`]. Its outcome is a [`Settlement`]: the queue's driver
//! stores it, repeatedly until that succeeds, [inserts](Queue::insert) or [removes](Queue::remove) the entries as
//! stored, and calls [`Queue::settled`]. Until then the recipients are not tried again, so that a full disk duplicates
//! no message. No job begins before the store has shown that it accepts changes.
//!
//! | entry | outcome |
//! | --- | --- |
//! | delivered | removed; with a notice, if the sender requested one and the server does not send it |
//! | failed | over, by the notice to the sender, which ends it in the record that accepts the notice |
//! | deferred | tried [again](schedule::wait); given up like a failure after the tries of [five days](schedule::GIVE_UP_TRIES) |
//! | deferred for want of connectivity | as if it had not been tried |
//! | waiting for [four hours](schedule::WARN_AFTER) | its sender is warned once, also if nothing is tried |
//! | held | not tried until it is released |
//!
//! A next hop has a few jobs at a time, and only one while its servers are unreachable, followed by a pause. In that
//! pause a server that did not answer [`DEAD_AFTER`] times is not contacted: all entries that are due get the outcome
//! of the last try. So a dead server takes no more than its share, and a returning one is not flooded. Next hops are
//! served round-robin.
//!
//! A server that stops responding within a message has up to ten minutes after its end (RFC 5321, section 4.5.3.2.6).
//! While all jobs of a next hop are [stuck](Queue::stuck) so, a further one tests whether another connection works.
//!
//! All timers use the monotonic clock. The store has times of day: an entry that is due later than its tries and its
//! last reply allow was stored when the clock was wrong, and is due at once. An entry that was not tried yet is due at
//! once, whatever the stored time.

pub mod connection;
mod options;
pub mod schedule;
mod settle;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use gatepost_ground::Instant;

pub use self::options::Options;
use self::schedule::{Now, Outages, WARN_AFTER, longest_wait};
pub use self::settle::{PendingNotice, Settlement};
pub use self::stored::{
    Contents, StoredMessage, forwarded, is_refused_for_now, joined, remote, remote_of_ours,
};
use super::address::{Mailbox, ReversePath};
use super::mx::{Host, NextHop, Routes, Server};
use super::smtp::client::{Report, Scope, Status};
use super::store::{Attempt, Change, Done, Progress, QueueId};
use crate::clock::UnixTime;
use crate::dns::special::is_private;

/// The most jobs at a time that connect to servers.
pub const JOBS_MAX: usize = 50;
/// The most jobs at a time whose results are known without a try.
pub const KNOWN_JOBS_MAX: usize = 5;
/// The most jobs of one next hop at a time, but for one more while all are stuck.
pub const HOP_JOBS_MAX: usize = 5;
/// The most recipients of a job. (RFC 5321, section 4.5.3.1.8)
pub const JOB_RECIPIENTS_MAX: usize = 100;
/// How many jobs in a row reached no server of a next hop when further entries are not tried in the pause.
pub const DEAD_AFTER: u32 = 3;
/// How long a next hop rests behind a job that reached no server, times how often that was so in a row.
const PAUSE: Duration = Duration::from_secs(10);
/// The longest rest. An entry of which nothing was stored waits so long, too.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The text for an entry that the administrator has deleted.
pub const DELETED: &str = "deleted by the administrator";

/// The number of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId(u64);

/// A message that is to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// The next hop.
    pub next_hop: NextHop,
    /// Its recipients; all are entries of one message, and sent on by the same address if they are.
    pub recipients: Vec<Recipient>,
    /// The outcome, if it is known without contacting a server: pass it to [`Queue::settle`].
    pub known: Option<Vec<DeliveryResult>>,
}

/// A recipient of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The entry.
    pub id: QueueId,
    /// The address.
    pub address: Mailbox,
    /// The sender's options.
    pub options: Options,
}

/// The properties of a job's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its return path.
    pub sender: ReversePath,
    /// When it was accepted.
    pub accepted: UnixTime,
}

/// The outcome of a job for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryResult {
    /// The outcome.
    pub report: Report,
    /// The server that gave it, if there was one.
    pub server: Option<String>,
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    entries: BTreeMap<QueueId, Entry>,
    hops: BTreeMap<NextHop, HopState>,
    jobs: BTreeMap<JobId, JobState>,
    /// Waiting entries whose sender was not warned, by the time of the warning.
    unwarned: BTreeSet<(Instant, QueueId)>,
    next_job: u64,
    /// The next hop of the last job; the next one in order is served first.
    last: Option<NextHop>,
    outages: Outages,
}

#[derive(Debug)]
struct Entry {
    next_hop: NextHop,
    address: Mailbox,
    options: Options,
    progress: Progress,
    due: Instant,
    /// The time since which this process has it, or at which it was released.
    since: Instant,
    warn_at: Instant,
    /// The tries of this process.
    tries_here: u32,
    /// The job that tries or changes this entry, if there is one.
    job: Option<JobId>,
    /// Whether the outcome of that job is stored.
    is_stored: bool,
}

#[derive(Debug)]
struct JobState {
    next_hop: NextHop,
    entries: Vec<QueueId>,
    kind: Kind,
    /// Whether its server has stopped responding.
    is_stuck: bool,
}

/// The kind of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It connects to servers.
    Send,
    /// Its servers are known not to answer.
    Dead,
    /// It warns the sender, and tries nothing.
    Warn,
    /// The administrator changes an entry.
    Change,
}

/// The state of a next hop.
#[derive(Debug, Default)]
struct HopState {
    /// Entries that are in no job and not held, by when they are due.
    waiting: BTreeSet<(Instant, QueueId)>,
    /// Jobs that connect, and how many of them are stuck.
    jobs: usize,
    stuck: usize,
    /// Jobs in a row that reached no server.
    failures: u32,
    rests_until: Instant,
    /// The outcome of the last of them.
    failure: Option<DeliveryResult>,
}

impl HopState {
    /// Whether no entry uses this next hop.
    fn is_idle(&self) -> bool {
        self.jobs == 0 && self.waiting.is_empty()
    }

    /// Discards what was learned of its servers.
    fn answers_perhaps(&mut self) {
        (self.failures, self.rests_until, self.failure) = (0, Instant::ZERO, None);
    }

    fn has_place(&self) -> bool {
        let usual = if self.failures == 0 { HOP_JOBS_MAX } else { 1 };
        self.jobs < usual || self.jobs == self.stuck && self.jobs <= HOP_JOBS_MAX
    }

    /// When its next job may connect; `None` if that depends on others.
    fn due(&self) -> Option<Instant> {
        let (due, _) = self.waiting.first().filter(|_| self.has_place())?;
        Some(self.rests_until.max(*due))
    }

    /// When the next entry gets the outcome of the last try; `None` if entries are tried.
    fn known_due(&self, now: Instant) -> Option<Instant> {
        let is_dead = self.failures >= DEAD_AFTER && now < self.rests_until;
        let (due, _) = self.waiting.first().filter(|_| is_dead)?;
        (*due < self.rests_until).then_some(*due)
    }
}

impl Queue {
    /// An empty queue without connectivity: see [`Queue::set_connectivity`].
    pub fn new(now: Now) -> Self {
        let mut outages = Outages::default();
        outages.set(now.instant, false);
        Self {
            entries: BTreeMap::new(),
            hops: BTreeMap::new(),
            jobs: BTreeMap::new(),
            unwarned: BTreeSet::new(),
            next_job: 0,
            last: None,
            outages,
        }
    }

    /// Inserts or updates an entry from the store. A job in progress with it continues. An entry whose address is
    /// invalid is not inserted: the returned change holds it in the store, where the administrator sees it.
    pub fn insert(
        &mut self,
        now: Now,
        routes: &Routes,
        id: QueueId,
        recipient: &str,
        options: &str,
        progress: &Progress,
    ) -> Option<Change> {
        let Ok(address) = Mailbox::parse(recipient) else {
            let reply = "the address cannot be read".to_owned();
            let held = Progress { is_held: true, reply, ..progress.clone() };
            return (!progress.is_held).then_some(Change::Attempt(Attempt { entry: id, progress: held }));
        };
        self.forget(id);
        let before = self.entries.remove(&id);
        let job = before.as_ref().and_then(|entry| entry.job);
        let known = before.as_ref().filter(|entry| !entry.progress.is_held || progress.is_held);
        // A warning does not change when an entry is due, whatever the clock is now.
        let is_warning = job.and_then(|job| self.jobs.get(&job)).is_some_and(|job| job.kind == Kind::Warn);
        let longest = longest_wait(progress.tries, &progress.reply);
        let by_clock = || now.instant_of(UnixTime(progress.due), longest);
        let entry = Entry {
            next_hop: routes.next_hop(&address.domain),
            address,
            options: Options::parse(options),
            due: before.as_ref().filter(|_| is_warning).map_or_else(by_clock, |entry| entry.due),
            since: known.map_or(now.instant, |entry| entry.since),
            warn_at: known.map_or(now.instant + Duration::from_secs(WARN_AFTER), |entry| entry.warn_at),
            tries_here: known.map_or(0, |entry| entry.tries_here),
            progress: progress.clone(),
            job,
            is_stored: true,
        };
        self.entries.insert(id, entry);
        self.wait(id);
        if let Some(entry) = before {
            self.clean(&entry.next_hop);
        }
        None
    }

    /// Removes a finished entry.
    pub fn remove(&mut self, id: QueueId) {
        self.forget(id);
        if let Some(entry) = self.entries.remove(&id) {
            self.clean(&entry.next_hop);
        }
    }

    /// Replaces the routes.
    pub fn reroute(&mut self, routes: &Routes) {
        let ids: Vec<_> = self.entries.keys().copied().collect();
        for id in ids {
            self.forget(id);
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.next_hop = routes.next_hop(&entry.address.domain);
            }
            self.wait(id);
        }
        self.hops.retain(|_, state| !state.is_idle());
    }

    /// Sets whether the internet is reachable. Servers of the LAN are tried in any case.
    pub fn set_connectivity(&mut self, now: Now, is_way_out: bool) {
        if is_way_out && !self.outages.is_over() {
            // What was learned of servers before is outdated.
            for state in self.hops.values_mut() {
                state.answers_perhaps();
            }
        }
        self.outages.set(now.instant, is_way_out);
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether an entry is in a job.
    pub fn is_under_way(&self, id: QueueId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.job.is_some())
    }

    /// The seconds until an entry is due. An unknown one is due as soon as it is inserted.
    pub fn secs_to_due(&self, now: Now, id: QueueId) -> u64 {
        self.entries.get(&id).map_or(0, |entry| entry.due.since(now.instant).as_secs())
    }

    /// The next job that is due, if there is room for it.
    pub fn next_job(&mut self, now: Now) -> Option<Job> {
        self.next_known(now.instant).or_else(|| self.next_to_send(now.instant))
    }

    /// When the next job is due; `None` if another event has to happen before.
    pub fn due(&self, now: Now) -> Option<Instant> {
        let open = || self.hops.iter().filter(|(hop, _)| self.is_open(hop)).map(|(_, state)| state);
        let send = self.has_place_to_send().then(|| open().filter_map(HopState::due).min());
        let known = self.has_place_for_known().then(|| {
            let dead = open().filter_map(|state| state.known_due(now.instant)).min();
            let warning = self.unwarned.first().map(|(at, _)| *at);
            dead.into_iter().chain(warning).min()
        });
        send.into_iter().chain(known).flatten().min()
    }

    fn has_place_to_send(&self) -> bool {
        self.jobs.values().filter(|job| job.kind == Kind::Send).count() < JOBS_MAX
    }

    fn has_place_for_known(&self) -> bool {
        let known = self.jobs.values().filter(|job| matches!(job.kind, Kind::Dead | Kind::Warn));
        known.count() < KNOWN_JOBS_MAX
    }

    fn next_to_send(&mut self, now: Instant) -> Option<Job> {
        if !self.has_place_to_send() {
            return None;
        }
        let is_due = |(hop, state): &(&NextHop, &HopState)| {
            state.due().is_some_and(|due| due <= now) && self.is_open(hop)
        };
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut turns = self.hops.range::<NextHop, _>((after, Bound::Unbounded)).chain(&self.hops);
        let (hop, state) = turns.find(is_due)?;
        let (hop, first) = (hop.clone(), state.waiting.first()?.1);
        let job = self.take(Kind::Send, first, |entry| entry.due <= now);
        self.hops.entry(hop.clone()).or_default().jobs += 1;
        self.last = Some(hop);
        Some(job)
    }

    /// A job with a known outcome: a warning, or one for a next hop that does not answer.
    fn next_known(&mut self, now: Instant) -> Option<Job> {
        if !self.has_place_for_known() {
            return None;
        }
        if let Some((_, first)) = self.unwarned.first().filter(|(at, _)| *at <= now) {
            let mut job =
                self.take(Kind::Warn, *first, |entry| !entry.progress.is_warned && entry.warn_at <= now);
            let result = |recipient: &Recipient| self.standing(recipient.id);
            job.known = Some(job.recipients.iter().map(result).collect());
            return Some(job);
        }
        let is_due = |(hop, state): &(&NextHop, &HopState)| {
            state.known_due(now).is_some_and(|due| due <= now) && self.is_open(hop)
        };
        let (_, state) = self.hops.iter().find(is_due)?;
        let (first, failure) = (state.waiting.first()?.1, state.failure.clone()?);
        let mut job = self.take(Kind::Dead, first, |entry| entry.due <= now);
        job.known = Some(vec![failure; job.recipients.len()]);
        Some(job)
    }

    /// The outcome that waiting entries have.
    fn standing(&self, id: QueueId) -> DeliveryResult {
        let text = match self.entries.get(&id) {
            Some(entry) if !self.is_open(&entry.next_hop) => "there is no connection to the internet",
            Some(entry) if !entry.progress.reply.is_empty() => &entry.progress.reply,
            _ => "it has not been tried yet",
        };
        let report = Report::deferred(Status::new(4, 4, 0), text, Scope::Envelope);
        DeliveryResult { report, server: None }
    }

    /// Moves the entries of a message with the next hop of its entry `first` and the same forwarding address, for which
    /// `is_meant` holds, into a job.
    fn take(&mut self, kind: Kind, first: QueueId, is_meant: impl Fn(&Entry) -> bool) -> Job {
        let id = JobId(self.next_job);
        self.next_job += 1;
        let of_message = QueueId { recipient: 0, ..first }..=QueueId { recipient: u16::MAX, ..first };
        let next_hop = self.entries.get(&first).map(|entry| entry.next_hop.clone());
        let next_hop = next_hop.unwrap_or(NextHop::Domain(String::new()));
        let forwarded_by = self.entries.get(&first).and_then(|entry| entry.options.forwarded_by.clone());
        let is_of_job = |(_, entry): &(&QueueId, &Entry)| {
            entry.next_hop == next_hop
                && entry.options.forwarded_by == forwarded_by
                && entry.job.is_none()
                && !entry.progress.is_held
                && is_meant(entry)
        };
        let ids = self.entries.range(of_message).filter(is_of_job).map(|(id, _)| *id);
        let entries: Vec<_> = ids.take(JOB_RECIPIENTS_MAX).collect();
        let mut recipients = Vec::new();
        for entry_id in &entries {
            self.begin(*entry_id, id);
            if let Some(Entry { address, options, .. }) = self.entries.get(entry_id) {
                let (address, options) = (address.clone(), options.clone());
                recipients.push(Recipient { id: *entry_id, address, options });
            }
        }
        self.jobs.insert(id, JobState { next_hop: next_hop.clone(), entries, kind, is_stuck: false });
        Job { id, next_hop, recipients, known: None }
    }

    fn begin(&mut self, id: QueueId, job: JobId) {
        self.forget(id);
        if let Some(entry) = self.entries.get_mut(&id) {
            (entry.job, entry.is_stored) = (Some(job), false);
        }
    }

    /// Records that the server of a job has stopped responding after its greeting.
    pub fn stuck(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id).filter(|job| job.kind == Kind::Send && !job.is_stuck)
            && let Some(state) = self.hops.get_mut(&job.next_hop)
        {
            job.is_stuck = true;
            state.stuck += 1;
        }
    }

    /// Records that the outcome of a job is stored, and that the entries have been [inserted](Queue::insert) or
    /// [removed](Queue::remove). Other entries wait as before, and a little longer if they were tried.
    pub fn settled(&mut self, now: Now, id: JobId) {
        let Some(JobState { next_hop, entries, kind, is_stuck }) = self.jobs.remove(&id) else { return };
        if let Some(state) = self.hops.get_mut(&next_hop).filter(|_| kind == Kind::Send) {
            state.jobs = state.jobs.saturating_sub(1);
            state.stuck = state.stuck.saturating_sub(is_stuck.into());
        }
        for entry_id in entries {
            let entry = self.entries.get_mut(&entry_id).filter(|entry| entry.job == Some(id));
            let Some(entry) = entry else { continue };
            entry.job = None;
            if !entry.is_stored && kind != Kind::Change {
                let later = now.instant + PAUSE_MAX;
                let field = if kind == Kind::Warn { &mut entry.warn_at } else { &mut entry.due };
                *field = later.max(*field);
            }
            self.wait(entry_id);
        }
        self.clean(&next_hop);
    }

    /// Holds an entry, or releases it: then it is tried at once, also if its next hop did not answer. The caller stores
    /// the returned change, inserts the entry, and settles the job; until then the entry is not tried. `None` if there
    /// is no such entry, or a job has it.
    pub fn hold(&mut self, now: Now, id: QueueId, is_held: bool) -> Option<(JobId, Change)> {
        let entry = self.entries.get(&id)?;
        let due = if is_held { entry.progress.due } else { entry.progress.due.min(now.time.0) };
        let progress = Progress { is_held, due, ..entry.progress.clone() };
        let next_hop = entry.next_hop.clone();
        let job = self.change(id)?;
        if let Some(state) = self.hops.get_mut(&next_hop).filter(|_| !is_held) {
            state.answers_perhaps();
        }
        Some((job, Change::Attempt(Attempt { entry: id, progress })))
    }

    /// Deletes an entry without a notice to its sender, in the manner of [`Queue::hold`]. The entry is to be removed.
    pub fn delete(&mut self, id: QueueId) -> Option<(JobId, Change)> {
        Some((self.change(id)?, Change::Done(Done::new(id, DELETED.to_owned()))))
    }

    /// The job in which the administrator changes an entry.
    fn change(&mut self, id: QueueId) -> Option<JobId> {
        let entry = self.entries.get(&id).filter(|entry| entry.job.is_none())?;
        let job = JobId(self.next_job);
        self.next_job += 1;
        let next_hop = entry.next_hop.clone();
        let state = JobState { next_hop, entries: vec![id], kind: Kind::Change, is_stuck: false };
        self.begin(id, job);
        self.jobs.insert(job, state);
        Some(job)
    }

    /// Whether a next hop may be reachable. A route's server may be on the LAN: its name is looked up, and if it is not
    /// there that is [no try](Queue::has_connectivity_to).
    fn is_open(&self, next_hop: &NextHop) -> bool {
        let is_named = matches!(
            next_hop,
            NextHop::Server { server: Server { host: Host::Name(_), .. }, is_smarthost: false }
        );
        is_named || self.has_connectivity_to(next_hop)
    }

    /// Whether a next hop has connectivity: only then a failure is a try.
    fn has_connectivity_to(&self, next_hop: &NextHop) -> bool {
        let is_near = match next_hop {
            NextHop::Server { server, is_smarthost: false } => {
                matches!(server.host, Host::Address(address) if is_private(address))
            }
            _ => false,
        };
        is_near || self.outages.is_over()
    }

    /// Has an entry wait, unless it is held or in a job.
    fn wait(&mut self, id: QueueId) {
        if let Some(entry) = self.entries.get(&id)
            && entry.job.is_none()
            && !entry.progress.is_held
        {
            self.hops.entry(entry.next_hop.clone()).or_default().waiting.insert((entry.due, id));
            if !entry.progress.is_warned {
                self.unwarned.insert((entry.warn_at, id));
            }
        }
    }

    /// Has an entry wait no more.
    fn forget(&mut self, id: QueueId) {
        if let Some(entry) = self.entries.get(&id) {
            self.unwarned.remove(&(entry.warn_at, id));
            if let Some(state) = self.hops.get_mut(&entry.next_hop) {
                state.waiting.remove(&(entry.due, id));
            }
        }
    }

    /// Removes a next hop without entries.
    fn clean(&mut self, next_hop: &NextHop) {
        if self.hops.get(next_hop).is_some_and(HopState::is_idle) {
            self.hops.remove(next_hop);
        }
    }
}
