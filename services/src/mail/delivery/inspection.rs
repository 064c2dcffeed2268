//! The administrator's view of the queue, and changes to it.

use std::collections::BTreeMap;
use std::fmt;
use std::num::ParseIntError;
use std::rc::Rc;
use std::str::FromStr;

use super::driver::{Active, DeliveryDriver};
use crate::mail::queue::DELETED;
use crate::mail::queue::schedule::Now;
use crate::mail::service::state::Opened;
use crate::mail::store::{Change, Done, Progress, QueueId, RECIPIENTS_MAX, Sequence, StoreError, Unreadable};
use crate::net::Net;

/// The most entries that are listed.
pub const LISTED_MAX: usize = 1000;
/// The most octets of records that are read for a list: later entries are not listed. The first always is.
pub const LISTED_OCTETS_MAX: u64 = 64 << 20;

/// An entry of the queue: one recipient of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The entry.
    pub id: QueueId,
    /// The return path; empty for notices.
    pub sender: String,
    /// The recipient's address.
    pub recipient: String,
    /// Since when the message is here, in seconds.
    pub age_secs: u64,
    /// Its length in octets.
    pub size: u64,
    /// Its tries, when it is due, whether it is held, and the last reply.
    pub progress: Progress,
    /// The seconds until its next try; `None` while it is held.
    pub next_try_secs: Option<u64>,
    /// Whether it is being sent now.
    pub is_under_way: bool,
}

/// The listed part of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// The store's problem.
    pub problem: Option<String>,
    /// How many entries there are.
    pub total: usize,
    /// The first of them by number, which are the oldest.
    pub entries: Vec<Listed>,
}

/// An administrator's action on entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// They are not tried until they are released.
    Hold,
    /// They are tried at once.
    Release,
    /// Delete them without a notice.
    Delete,
}

/// Entries of the queue: all of a message, or one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    message: Sequence,
    recipient: Option<u16>,
}

impl FromStr for Selection {
    type Err = ParseIntError;

    /// Reads `MESSAGE` or `MESSAGE.RECIPIENT`, as lists have it.
    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let (message, recipient) = match text.split_once('.') {
            Some((message, recipient)) => (message, Some(recipient.parse()?)),
            None => (text, None),
        };
        Ok(Self { message: message.parse()?, recipient })
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.recipient {
            Some(recipient) => QueueId { message: self.message, recipient }.fmt(f),
            None => self.message.fmt(f),
        }
    }
}

/// The outcome of an [`Action`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The entries that are as they should be now.
    pub changed: Vec<QueueId>,
    /// Those of which nothing was changed, as they are being sent now.
    pub under_way: Vec<QueueId>,
    /// Those that cannot be sent, as their address cannot be read: they stay held.
    pub unreadable: Vec<QueueId>,
}

/// Why the queue is not listed or changed.
#[derive(Debug)]
pub enum Unchanged {
    /// No mail leaves by this configuration.
    Off,
    /// The queue is not loaded yet.
    NotReady,
    /// There is no such entry.
    NoEntry(Selection),
    /// The store has rejected the change.
    Refused(StoreError),
}

impl fmt::Display for Unchanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("mail is switched off"),
            Self::NotReady => f.write_str("the mail store is not read yet"),
            Self::NoEntry(selection) => write!(f, "no message {selection} waits in the queue"),
            Self::Refused(refused) => write!(f, "it cannot be stored: {refused}"),
        }
    }
}

impl std::error::Error for Unchanged {}

impl<N: Net> DeliveryDriver<N> {
    /// Lists the queue.
    ///
    /// # Errors
    ///
    /// The queue is not loaded.
    pub async fn list(&self) -> Result<List, Unchanged> {
        self.list_within(LISTED_MAX, LISTED_OCTETS_MAX).await
    }

    /// The same with other bounds.
    pub(super) async fn list_within(&self, entries_max: usize, octets_max: u64) -> Result<List, Unchanged> {
        let (active, opened) = self.at_hand()?;
        let entries: Vec<_> = opened.store.look(|state| {
            let entries = state.queue().take(entries_max);
            entries.map(|(id, entry)| (id, entry.clone())).collect()
        });
        let total = opened.store.look(|state| state.queue().count());
        // Recipients of a message share its record.
        let mut messages = BTreeMap::new();
        let mut octets = 0_u64;
        let mut listed = Vec::new();
        for (id, entry) in entries {
            let (sender, accepted, size) = match messages.get(&id.message) {
                Some(known) => known,
                None => {
                    octets = octets.saturating_add(entry.place.len.into());
                    if octets > octets_max && !messages.is_empty() {
                        break;
                    }
                    let read = match opened.unless_silent(opened.store.read_queued(id)).await {
                        Some(Ok(message)) => {
                            (message.accept.return_path, Some(message.accept.time), message.body.len())
                        }
                        Some(Err(Unreadable::Gone)) => continue,
                        // It is in the queue all the same, and can be deleted.
                        Some(Err(Unreadable::Damaged | Unreadable::Io(_))) | None => (String::new(), None, 0),
                    };
                    messages.entry(id.message).or_insert(read)
                }
            };
            let now = Now::of(&*active.clock);
            let due = self.with_queue(|queue| queue.secs_to_due(now, id)).unwrap_or(0);
            listed.push(Listed {
                id,
                sender: sender.clone(),
                recipient: entry.recipient,
                age_secs: accepted.map_or(0, |accepted| now.time.0.saturating_sub(accepted)),
                size: *size,
                next_try_secs: (!entry.progress.is_held).then_some(due),
                is_under_way: self.with_queue(|queue| queue.is_under_way(id)).unwrap_or(false),
                progress: entry.progress,
            });
        }
        let problem = active.state.trouble(active.clock.now());
        Ok(List { problem, total, entries: listed })
    }

    /// Does `action` to the entries of `selection`. It is stored when this returns.
    ///
    /// # Errors
    ///
    /// Nothing was changed, or not all: the store accepts no changes now.
    pub async fn change(&self, action: Action, selection: Selection) -> Result<Changed, Unchanged> {
        let (active, opened) = self.at_hand()?;
        let Selection { message, recipient } = selection;
        let all = (0..=u16::MAX).take(RECIPIENTS_MAX).filter(|one| recipient.is_none_or(|only| only == *one));
        let all = all.map(|recipient| QueueId { message, recipient });
        let ids: Vec<_> = opened.store.look(|state| all.filter(|id| state.queued(*id).is_some()).collect());
        if ids.is_empty() {
            return Err(Unchanged::NoEntry(selection));
        }
        let mut outcome = Changed::default();
        let (mut changed, mut jobs, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        for id in ids {
            let is_under_way = self.with_queue(|queue| queue.is_under_way(id)).unwrap_or(false);
            let change = self.with_queue(|queue| match action {
                Action::Hold => queue.hold(Now::of(&*active.clock), id, true),
                Action::Release => queue.hold(Now::of(&*active.clock), id, false),
                Action::Delete => queue.delete(id),
            });
            match (change.flatten(), action) {
                (Some((job, change)), _) => {
                    changed.push(id);
                    jobs.push(job);
                    changes.push(change);
                }
                // The queue does not contain an entry whose address cannot be read. The store holds it.
                (None, Action::Delete) if !is_under_way => {
                    changed.push(id);
                    changes.push(Change::Done(Done::new(id, DELETED.to_owned())));
                }
                (None, Action::Hold) if !is_under_way => outcome.changed.push(id),
                (None, Action::Release) if !is_under_way => outcome.unreadable.push(id),
                (None, _) => outcome.under_way.push(id),
            }
        }
        let stored = opened.store.change_all(changes).await;
        self.follow(&active, changed.iter().copied());
        for job in jobs {
            self.with_queue(|queue| queue.settled(Now::of(&*active.clock), job));
        }
        self.wake();
        for (id, stored) in changed.into_iter().zip(stored) {
            match stored {
                // A finished entry needs no further change.
                Ok(_) | Err(StoreError::NoEntry(_)) => outcome.changed.push(id),
                Err(refused) => return Err(Unchanged::Refused(refused)),
            }
        }
        Ok(outcome)
    }

    fn at_hand(&self) -> Result<(Rc<Active<N>>, Rc<Opened>), Unchanged> {
        let active = self.active().ok_or(Unchanged::Off)?;
        let opened = active.state.opened().ok_or(Unchanged::NotReady)?;
        self.with_queue(|_| ()).ok_or(Unchanged::NotReady)?;
        Ok((active, opened))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_or_one_of_its_recipients_is_selected_by_number() {
        for text in ["12", "12.0", "18446744073709551615.65535"] {
            assert_eq!(text.parse::<Selection>().map(|selection| selection.to_string()), Ok(text.to_owned()));
        }
        for text in ["", ".", "12.", ".0", "12.0.0", "12.65536", "-1", "a"] {
            assert!(text.parse::<Selection>().is_err(), "{text}");
        }
    }
}
