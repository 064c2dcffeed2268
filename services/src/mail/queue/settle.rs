//! The storage of a job's outcome.

use std::collections::BTreeMap;

use super::schedule::{GIVE_UP_AFTER, GIVE_UP_TRIES, Now, TRIES_MIN, WARN_AFTER, time_left, wait};
use super::{
    DEAD_AFTER, DeliveryResult, Entry, JobId, Kind, Message, Options, PAUSE, PAUSE_MAX, Queue,
    is_refused_for_now,
};
use crate::clock::UnixTime;
use crate::mail::address::ReversePath;
use crate::mail::bounce::{Action, Notice, RecipientStatus};
use crate::mail::smtp::client::{Outcome, Report, Scope};
use crate::mail::store::{Attempt, Change, Done, Progress, QueueId, StoreError, Unreadable};

/// The changes to store for a job. They come first and together: they record delivered recipients, so that a crash
/// duplicates no message. A change that the store rejects because the entry does not exist counts as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Changes of the store.
    pub changes: Vec<Change>,
    /// Notices about the outcome.
    pub notices: Vec<PendingNotice>,
}

/// A notice that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingNotice {
    /// The notice. If the store rejects it permanently, it goes to the local postmaster's mailbox, with the same
    /// `ends`; without a postmaster, these are ended by [`Done`] and a log line.
    pub notice: Notice,
    /// Entries that failed. They are over by the record that accepts the notice.
    pub ends: Vec<QueueId>,
    /// The changes to store instead if the notice is [rejected temporarily](super::is_refused_for_now): the entries are
    /// tried again.
    pub postponed: Vec<Change>,
    /// Whether the entries have no tries left: then a full mailbox rejects the notice permanently.
    pub is_last: bool,
}

impl PendingNotice {
    /// Whether the entries are tried again because the notice was rejected so.
    pub fn is_put_off(&self, refused: &StoreError) -> bool {
        is_refused_for_now(refused) && !(self.is_last && matches!(refused, StoreError::MailboxFull(_)))
    }
}

/// A notice in the making for some of a job's recipients.
#[derive(Default)]
struct Telling {
    ids: Vec<QueueId>,
    recipients: Vec<RecipientStatus>,
    postponed: Vec<Change>,
    /// Whether one of them has not had all of its tries.
    has_tries_left: bool,
    /// For how many seconds it is tried on.
    time_left: u64,
}

impl Entry {
    /// Whether the message is given up if it is deferred by one more try; `time_here` is the number of seconds with
    /// connectivity in this process.
    fn is_given_up(&self, tries: u32, time_here: u64) -> bool {
        // Times of day do not count, as the clock may have been wrong. The last case is a process that always ends
        // early.
        let is_time_over = tries >= GIVE_UP_TRIES || time_here >= GIVE_UP_AFTER;
        is_time_over && self.tries_here >= TRIES_MIN || tries >= 2 * GIVE_UP_TRIES
    }
}

/// Whether a result means that no server could be contacted.
fn is_unreachable(result: &DeliveryResult) -> bool {
    result.report.outcome == Outcome::Deferred && matches!(result.report.scope, Scope::Host | Scope::Tls)
}

impl Queue {
    /// The settlement of a job, given the results of its recipients in order.
    pub fn settle(
        &mut self,
        now: Now,
        id: JobId,
        message: &Message,
        results: &[DeliveryResult],
    ) -> Settlement {
        let Some(job) = self.jobs.get(&id) else { return Settlement::default() };
        let (next_hop, ids, kind) = (job.next_hop.clone(), job.entries.clone(), job.kind);
        debug_assert_eq!(ids.len(), results.len(), "each recipient has a result");
        if kind == Kind::Send {
            let has_reached_none = results.iter().all(is_unreachable);
            let is_cut_off = has_reached_none && !self.has_connectivity_to(&next_hop);
            if let Some(state) = self.hops.get_mut(&next_hop) {
                let is_failure = has_reached_none && !is_cut_off;
                state.failures = if is_failure { state.failures.saturating_add(1) } else { 0 };
                let growing = PAUSE.saturating_mul(state.failures).min(PAUSE_MAX);
                // Of entries that this side could not send nothing is stored, so only the next hop's rest puts them
                // off.
                let pause = if is_cut_off { PAUSE_MAX } else { growing };
                state.rests_until = now.instant + pause;
                state.failure = results.first().filter(|_| state.failures >= DEAD_AFTER).cloned();
            }
            if is_cut_off {
                return Settlement::default();
            }
        }
        let mut settlement = Settlement::default();
        let mut tellings = BTreeMap::<Action, Telling>::new();
        let mut first = None;
        for (id, result) in ids.iter().zip(results) {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            first.get_or_insert_with(|| entry.options.clone());
            let report = &result.report;
            let progress = entry.progress.clone();
            let time_here = self.outages.connected_since(entry.since, now.instant);
            // A warning is no try, nor is a further transaction for recipients beyond the server's limit.
            let is_try = kind != Kind::Warn && !report.is_one_too_many;
            let tries = progress.tries.saturating_add(u32::from(is_try));
            entry.tries_here = entry.tries_here.saturating_add(u32::from(is_try));
            let is_deferred = report.outcome == Outcome::Deferred;
            let has_tries_left = !entry.is_given_up(tries, time_here);
            let is_given_up = is_deferred && is_try && !has_tries_left;
            let age = now.time.0.saturating_sub(message.accepted.0).max(now.secs_since(entry.since));
            let is_late = kind == Kind::Warn || is_try && age >= WARN_AFTER;
            let action = match report.outcome {
                Outcome::Delivered => (!report.is_dsn_passed_on).then_some(Action::Relayed),
                Outcome::Failed => Some(Action::Failed),
                Outcome::Deferred if is_given_up => Some(Action::Failed),
                Outcome::Deferred => (is_late && !progress.is_warned).then_some(Action::Delayed),
            };
            let has_sender = message.sender != ReversePath::Null;
            let is_told = |action: &Action| {
                (has_sender || *action == Action::Failed) && action.is_wanted(&entry.options.rcpt)
            };
            let action = action.filter(is_told);
            let wait = if report.is_one_too_many { 0 } else { wait(tries, &report.text) };
            let later = Progress {
                tries,
                due: now.time.0.saturating_add(wait),
                is_warned: progress.is_warned || is_late && is_deferred,
                reply: report.text.clone(),
                ..progress.clone()
            };
            let attempt = |progress| Change::Attempt(Attempt { entry: *id, progress });
            let change = match report.outcome {
                Outcome::Deferred if kind == Kind::Warn => {
                    Some(attempt(Progress { is_warned: true, ..progress }))
                }
                Outcome::Deferred if !is_given_up => Some(attempt(later.clone())),
                Outcome::Failed | Outcome::Deferred if action.is_some() => None,
                _ => Some(Change::Done(Done::new(*id, report.text.clone()))),
            };
            if let Some(action) = action {
                let telling = tellings.entry(action).or_default();
                let left = time_left(tries).min(GIVE_UP_AFTER.saturating_sub(time_here));
                telling.time_left = telling.time_left.max(left);
                telling.recipients.push(entry.status(report, result.server.clone()));
                if change.is_none() {
                    telling.ids.push(*id);
                    telling.has_tries_left |= has_tries_left;
                    telling.postponed.push(attempt(later));
                }
            }
            settlement.changes.extend(change);
        }
        let Options { ret, envid, .. } = first.unwrap_or_default();
        for (action, telling) in tellings {
            let Telling { ids, recipients, postponed, has_tries_left, time_left } = telling;
            let notice =
                Notice::of(&message.sender, action, recipients, ret, envid.clone(), message.accepted);
            let until = (action == Action::Delayed).then(|| UnixTime(now.time.0.saturating_add(time_left)));
            // A notice that ends no entry has no fallback.
            let is_last = !ids.is_empty() && !has_tries_left;
            let pending =
                |notice| PendingNotice { notice: Notice { until, ..notice }, ends: ids, postponed, is_last };
            settlement.notices.extend(notice.map(pending));
        }
        settlement
    }

    /// The settlement of a job whose message cannot be read. A damaged one is held for the administrator; one that is
    /// missing in the store waits until it is [removed](Queue::remove).
    pub fn unreadable(&self, now: Now, id: JobId, error: &Unreadable) -> Settlement {
        let ids = self.jobs.get(&id).map(|job| job.entries.as_slice()).unwrap_or_default();
        let change = |id: &QueueId| {
            let progress = self.entries.get(id)?.progress.clone();
            let progress = match error {
                Unreadable::Gone => return None,
                Unreadable::Damaged => Progress { is_held: true, reply: error.to_string(), ..progress },
                Unreadable::Io(_) => {
                    let reply = "the message cannot be read now".to_owned();
                    let due = now.time.0.saturating_add(wait(1, ""));
                    Progress { due, reply, ..progress }
                }
            };
            Some(Change::Attempt(Attempt { entry: *id, progress }))
        };
        Settlement { changes: ids.iter().filter_map(change).collect(), notices: Vec::new() }
    }
}

impl Entry {
    fn status(&self, report: &Report, server: Option<String>) -> RecipientStatus {
        RecipientStatus {
            recipient: self.address.clone(),
            orcpt: self.options.original(),
            forwarded_by: self.options.forwarded_by.clone(),
            report: report.clone(),
            server,
        }
    }
}
