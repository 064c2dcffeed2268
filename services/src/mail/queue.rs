//! The queue of messages for other servers.
//!
//! The truth is in the mail store: an entry for each recipient, and what became of it. A [`Queue`] is made of it at the start,
//! and decides which entries are tried when; it knows no store, no resolver and no connection.
//!
//! ```text
//!   insert, remove ──▶ Queue ──▶ next_job ──▶ servers are searched, the message is read and sent
//!                        ▲                                   │ reports
//!                        └── insert, remove ◀── the store ◀── settle ──▶ changes and notices
//! ```
//!
//! A [`Job`] is one message for recipients of one [`Way`]. What comes of it is a [`Settlement`]: whoever drives the queue has
//! it stored, and again until it is, and then says so by [`Queue::settled`]. Until then the recipients are not tried again, so
//! a full disk has no message sent twice. A notice ends the queue entries that it tells of in the record that accepts it:
//! neither is there without the other after a crash.
//!
//! | entry | what becomes of it |
//! | --- | --- |
//! | delivered | over; a notice, if the sender asked for one and the server does not send it |
//! | failed | over, by the notice to the sender |
//! | deferred | tried [again](schedule::next_try); a warning after [`schedule::WARN_AFTER`]; given up after [`schedule::GIVE_UP_AFTER`] as if it had failed |
//! | deferred as there is no way out | as if it had not been tried |
//! | held | not tried until it is released |
//!
//! Each way has a few jobs at a time, and one while its servers cannot be reached, with a pause behind it. So a server that
//! answers nobody takes no more than its share, and one that comes back is not overrun. Ways take turns.

pub mod connection;
mod options;
pub mod schedule;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

pub use self::options::Options;
use self::schedule::{GIVE_UP_AFTER, Outages, TRIES_MIN, WARN_AFTER, next_try};
pub use self::stored::{StoredMessage, remote};
use super::address::{Mailbox, ReversePath};
use super::bounce::{Action, Notice, Told};
use super::mx::{Host, Routes, Way};
use super::smtp::client::{Outcome, Report, Scope};
use super::store::{Attempt, Change, Done, Progress, QueueId};
use crate::clock::UnixTime;
use crate::dns::special::is_private;

/// The most jobs at a time.
pub const JOBS_MAX: usize = 50;
/// The most jobs of one way at a time.
pub const WAY_JOBS_MAX: usize = 5;
/// The most recipients of a job. // RFC 5321, section 4.5.3.1.8
pub const JOB_RECIPIENTS_MAX: usize = 100;
/// How long a way rests behind a job that reached no server, in seconds, times how often that was so in a row.
const PAUSE: u64 = 10;
/// The longest rest, in seconds.
const PAUSE_MAX: u64 = 60;

/// The number of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId(u64);

/// A message that is to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Where it goes.
    pub way: Way,
    /// Its recipients; all are entries of one message.
    pub recipients: Vec<Recipient>,
}

/// A recipient of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The entry.
    pub id: QueueId,
    /// The address.
    pub address: Mailbox,
    /// What the sender asked for.
    pub options: Options,
}

/// What is known of a job's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its return path.
    pub sender: ReversePath,
    /// When it was accepted.
    pub accepted: UnixTime,
}

/// What came of a job for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The outcome.
    pub report: Report,
    /// The server that it came of, if there was one.
    pub server: Option<String>,
}

/// What is to be stored of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Changes of the store.
    pub changes: Vec<Change>,
    /// Messages to the sender, each with the entries that are over by it: it is accepted with them as what it ends. If nobody
    /// takes it, the entries are to be ended by [`Done`] alone.
    pub notices: Vec<(Notice, Vec<QueueId>)>,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    entries: BTreeMap<QueueId, Entry>,
    ways: BTreeMap<Way, State>,
    jobs: BTreeMap<JobId, (Way, Vec<QueueId>)>,
    next_job: u64,
    /// The way that the last job was given for; the next in order is asked first.
    last: Option<Way>,
    outages: Outages,
}

#[derive(Debug)]
struct Entry {
    way: Way,
    address: Mailbox,
    options: Options,
    progress: Progress,
    /// The job that tries this entry, if there is one.
    job: Option<JobId>,
}

/// How a way stands.
#[derive(Debug, Default)]
struct State {
    /// Entries that are in no job and not held, by when they are due.
    waiting: BTreeSet<(u64, QueueId)>,
    jobs: usize,
    /// Jobs in a row that reached no server.
    failures: u32,
    rests_until: u64,
}

impl State {
    /// Whether nothing goes or waits to go by this way.
    fn is_idle(&self) -> bool {
        self.jobs == 0 && self.waiting.is_empty()
    }
}

impl State {
    fn has_place(&self) -> bool {
        self.jobs < if self.failures == 0 { WAY_JOBS_MAX } else { 1 }
    }

    /// When its next job may begin; `None` if that depends on others.
    fn due(&self) -> Option<u64> {
        let (due, _) = self.waiting.first().filter(|_| self.has_place())?;
        Some(self.rests_until.max(*due))
    }
}

impl Queue {
    /// Takes an entry as the store has it now; one that is there already gets its progress. What a job does with it goes on.
    /// An address that cannot be read, as a record is damaged, is passed over.
    pub fn insert(
        &mut self,
        routes: &Routes,
        id: QueueId,
        recipient: &str,
        options: &str,
        progress: &Progress,
    ) {
        let Ok(address) = Mailbox::parse(recipient) else { return };
        let job = self.entries.get(&id).and_then(|entry| entry.job);
        self.forget(id);
        let way = routes.way(&address.domain);
        let options = Options::parse(options);
        let entry = Entry { way, address, options, progress: progress.clone(), job };
        self.entries.insert(id, entry);
        self.wait(id);
    }

    /// Forgets an entry that is over.
    pub fn remove(&mut self, id: QueueId) {
        self.forget(id);
        if let Some(entry) = self.entries.remove(&id) {
            self.clean(&entry.way);
        }
    }

    /// Takes other routes.
    pub fn reroute(&mut self, routes: &Routes) {
        let ids: Vec<_> = self.entries.keys().copied().collect();
        for id in ids {
            self.forget(id);
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.way = routes.way(&entry.address.domain);
            }
            self.wait(id);
        }
        self.ways.retain(|_, state| !state.is_idle());
    }

    /// There is a way out to the world from now on, or none. Servers of the LAN are served in any case.
    pub fn set_way_out(&mut self, now: UnixTime, is_way_out: bool) {
        if is_way_out && !self.outages.is_over() {
            // What was learned of servers before says nothing now.
            for state in self.ways.values_mut() {
                (state.failures, state.rests_until) = (0, 0);
            }
        }
        self.outages.set(now, is_way_out);
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

    /// The next job that is due, if there is place for it.
    pub fn next_job(&mut self, now: UnixTime) -> Option<Job> {
        if self.jobs.len() >= JOBS_MAX {
            return None;
        }
        let is_due =
            |(way, state): &(&Way, &State)| state.due().is_some_and(|due| due <= now.0) && self.is_open(way);
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut turns = self.ways.range::<Way, _>((after, Bound::Unbounded)).chain(&self.ways);
        let way = turns.find(is_due).map(|(way, _)| way.clone())?;
        let (_, first) = *self.ways.get(&way)?.waiting.first()?;
        let id = JobId(self.next_job);
        self.next_job += 1;
        let of_message = QueueId { recipient: 0, ..first }..=QueueId { recipient: u16::MAX, ..first };
        let is_of_job = |(_, entry): &(&QueueId, &Entry)| {
            entry.way == way && entry.job.is_none() && !entry.progress.is_held && entry.progress.due <= now.0
        };
        let ids: Vec<_> = self.entries.range(of_message).filter(is_of_job).map(|(id, _)| *id).collect();
        let ids = &ids[..ids.len().min(JOB_RECIPIENTS_MAX)];
        let mut recipients = Vec::new();
        for entry_id in ids {
            self.forget(*entry_id);
            if let Some(entry) = self.entries.get_mut(entry_id) {
                entry.job = Some(id);
                let (address, options) = (entry.address.clone(), entry.options.clone());
                recipients.push(Recipient { id: *entry_id, address, options });
            }
        }
        self.ways.entry(way.clone()).or_default().jobs += 1;
        self.jobs.insert(id, (way.clone(), ids.to_vec()));
        self.last = Some(way.clone());
        Some(Job { id, way, recipients })
    }

    /// When the next job is due; `None` if something else has to happen before.
    pub fn due(&self) -> Option<UnixTime> {
        if self.jobs.len() >= JOBS_MAX {
            return None;
        }
        self.ways
            .iter()
            .filter(|(way, _)| self.is_open(way))
            .filter_map(|(_, state)| state.due())
            .min()
            .map(UnixTime)
    }

    /// What is to be stored of what came of a job, for each of its recipients in their order.
    pub fn settle(&mut self, now: UnixTime, id: JobId, message: &Message, results: &[Tried]) -> Settlement {
        let Some((way, ids)) = self.jobs.get(&id) else { return Settlement::default() };
        let has_reached_none = results.iter().all(|result| {
            result.report.outcome == Outcome::Deferred && result.report.scope != Scope::Envelope
        });
        let has_no_way_out = has_reached_none && !self.is_open(way);
        if let Some(state) = self.ways.get_mut(way) {
            state.failures =
                if has_reached_none && !has_no_way_out { state.failures.saturating_add(1) } else { 0 };
            let pause = PAUSE.saturating_mul(u64::from(state.failures)).min(PAUSE_MAX);
            state.rests_until = if state.failures == 0 { 0 } else { now.0.saturating_add(pause) };
        }
        let mut settlement = Settlement::default();
        if has_no_way_out {
            return settlement;
        }
        let age = now.0.saturating_sub(message.accepted.0);
        let time_out = self.outages.way_out_since(message.accepted, now);
        let mut told: BTreeMap<Action, Vec<(QueueId, Told)>> = BTreeMap::new();
        let mut first = None;
        for (id, result) in ids.iter().zip(results) {
            let Some(entry) = self.entries.get(id) else { continue };
            first = first.or(Some(entry));
            let report = &result.report;
            let progress = &entry.progress;
            let tries = progress.tries.saturating_add(1);
            let is_given_up = time_out >= GIVE_UP_AFTER && tries >= TRIES_MIN;
            let is_wanted = |action: Action| action.is_wanted(&entry.options.rcpt);
            let action = match report.outcome {
                Outcome::Delivered => (!report.is_dsn_passed_on).then_some(Action::Relayed),
                Outcome::Failed => Some(Action::Failed),
                Outcome::Deferred if is_given_up => Some(Action::Failed),
                Outcome::Deferred => (age >= WARN_AFTER && !progress.is_warned).then_some(Action::Delayed),
            };
            let action = action.filter(|action| is_wanted(*action) && message.sender != ReversePath::Null);
            if report.outcome == Outcome::Deferred && !is_given_up {
                let due = if report.is_one_too_many { now } else { next_try(now, tries, &report.text) };
                // A further transaction for those who were too many for the first is no further try.
                let tries = if report.is_one_too_many { progress.tries } else { tries };
                let is_warned = progress.is_warned || action.is_some();
                let progress =
                    Progress { tries, due: due.0, is_warned, reply: report.text.clone(), ..progress.clone() };
                settlement.changes.push(Change::Attempt(Attempt { entry: *id, progress }));
            } else if action.is_none() {
                settlement.changes.push(Change::Done(Done { entry: *id, reply: report.text.clone() }));
            }
            if let Some(action) = action {
                let tell = Told {
                    recipient: entry.address.clone(),
                    orcpt: entry.options.rcpt.orcpt.clone(),
                    report: report.clone(),
                    server: result.server.clone(),
                };
                told.entry(action).or_default().push((*id, tell));
            }
        }
        let Some(first) = first else { return settlement };
        for (action, told) in told {
            let (ids, told) = told.into_iter().unzip();
            let Options { ret, envid, .. } = first.options.clone();
            let Some(notice) = Notice::of(&message.sender, action, told, ret, envid, message.accepted) else {
                continue;
            };
            let (until, ends) = match action {
                Action::Delayed => {
                    let left = GIVE_UP_AFTER.saturating_sub(time_out);
                    (Some(UnixTime(now.0.saturating_add(left))), Vec::new())
                }
                Action::Failed | Action::Relayed => (None, ids),
            };
            settlement.notices.push((Notice { until, ..notice }, ends));
        }
        settlement
    }

    /// Takes note that what came of a job is stored, and that the entries are [inserted](Queue::insert) as they are now, or
    /// [removed](Queue::remove). Without either, as when the job did not come about, they wait as before.
    pub fn settled(&mut self, id: JobId) {
        let Some((way, ids)) = self.jobs.remove(&id) else { return };
        if let Some(state) = self.ways.get_mut(&way) {
            state.jobs = state.jobs.saturating_sub(1);
        }
        for entry_id in ids {
            if let Some(entry) = self.entries.get_mut(&entry_id).filter(|entry| entry.job == Some(id)) {
                entry.job = None;
                self.wait(entry_id);
            }
        }
        self.clean(&way);
    }

    /// The change that holds an entry, or releases it: then it is tried at once. `None` if there is no such entry, or it is in a
    /// job, which would overwrite it.
    pub fn hold(&self, now: UnixTime, id: QueueId, is_held: bool) -> Option<Change> {
        let entry = self.entries.get(&id).filter(|entry| entry.job.is_none())?;
        let due = if is_held { entry.progress.due } else { entry.progress.due.min(now.0) };
        let progress = Progress { is_held, due, ..entry.progress.clone() };
        Some(Change::Attempt(Attempt { entry: id, progress }))
    }

    /// The change that deletes an entry without a word to its sender. `None` as with [`Queue::hold`].
    pub fn delete(&self, id: QueueId) -> Option<Change> {
        self.entries.get(&id).filter(|entry| entry.job.is_none())?;
        Some(Change::Done(Done { entry: id, reply: "deleted by the administrator".to_owned() }))
    }

    /// Whether a way can be used now.
    fn is_open(&self, way: &Way) -> bool {
        let is_near = match way {
            Way::Server { server, is_smarthost: false } => {
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
            self.ways.entry(entry.way.clone()).or_default().waiting.insert((entry.progress.due, id));
        }
    }

    /// Has an entry wait no more.
    fn forget(&mut self, id: QueueId) {
        if let Some(entry) = self.entries.get(&id)
            && let Some(state) = self.ways.get_mut(&entry.way)
        {
            state.waiting.remove(&(entry.progress.due, id));
        }
    }

    /// Forgets a way that nothing goes.
    fn clean(&mut self, way: &Way) {
        if self.ways.get(way).is_some_and(State::is_idle) {
            self.ways.remove(way);
        }
    }
}
