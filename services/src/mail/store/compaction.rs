//! The part of a segment that is still needed.
//!
//! A segment of which little is needed is read from begin to end. Each record is evaluated when the next batch is made,
//! so that nothing else changes in between: its valid facts are written again, in their current state; so are ends of
//! facts that another segment still states; then the file is removed. A record whose fact another one states is
//! dropped. Notes, which state no fact, are copied as long as they are recent, for traces.

use std::mem;

use super::change::PROBE;
use super::content::{Accept, Content, Done, Expunge, Flags, Origin, QueueId, Sequence, SetFlags, Uidls};
use super::log::Logged;
use super::state::{Fact, State};

/// The longest note that is copied, in octets.
pub const NOTE_OCTETS_MAX: usize = 4 << 10;
/// The number of later records after which a note is not copied.
pub const NOTES_KEPT: Sequence = 50_000;

/// A record to be written because its original is removed.
pub(super) struct Needed {
    /// `None` for a new number.
    pub sequence: Option<Sequence>,
    pub content: Content,
}

impl From<Content> for Needed {
    fn from(content: Content) -> Self {
        Self { sequence: None, content }
    }
}

/// How many facts `content` refers to, each of which is looked up.
pub(super) fn facts(content: &Content) -> usize {
    match content {
        Content::Accept(accept) => accept.deliveries.len() + accept.remotes.len() + accept.ends.len(),
        Content::Expunge(expunge) => expunge.uids.len(),
        Content::Flags(set) => set.uids.len(),
        Content::Seen(uidls) | Content::Forget(uidls) => uidls.uidls.len(),
        Content::Start(_)
        | Content::Mailbox(_)
        | Content::Abort(_)
        | Content::Note(_)
        | Content::Attempt(_)
        | Content::Done(_) => 1,
    }
}

/// The record to write so that the record `logged` can be removed.
pub(super) fn needed(state: &State, logged: &Logged) -> Vec<Needed> {
    let segment = logged.place.segment;
    match &logged.content {
        Content::Start(_) | Content::Mailbox(_) | Content::Abort(_) => Vec::new(),
        Content::Note(note) => {
            let is_recent = state.next_sequence.saturating_sub(logged.sequence) <= NOTES_KEPT;
            let is_kept = is_recent && note.len() <= NOTE_OCTETS_MAX && note != PROBE;
            let copy = || Needed { sequence: Some(logged.sequence), content: Content::Note(note.clone()) };
            is_kept.then(copy).into_iter().collect()
        }
        Content::Accept(accept) => of_accept(state, logged, accept),
        Content::Attempt(attempt) => {
            // A copy of the message in a later segment states it, too.
            let holds = state
                .queued(attempt.entry)
                .is_some_and(|entry| entry.place.segment < segment && entry.progress == attempt.progress);
            holds.then(|| Content::Attempt(attempt.clone()).into()).into_iter().collect()
        }
        Content::Done(done) => {
            let is_needed = is_queue_ghost(state, segment, done.entry);
            is_needed.then(|| Content::Done(done.clone()).into()).into_iter().collect()
        }
        Content::Expunge(Expunge { mailbox, uids }) => {
            let Some(known) = state.mailbox(*mailbox) else { return Vec::new() };
            let is_needed = |uid: &u32| {
                known.entry(*uid).is_none()
                    && state.is_ghost_elsewhere(segment, &Fact::Delivery(*mailbox, *uid))
            };
            let uids: Vec<_> = uids.iter().copied().filter(is_needed).collect();
            if uids.is_empty() {
                return Vec::new();
            }
            vec![Content::Expunge(Expunge { mailbox: *mailbox, uids }).into()]
        }
        Content::Flags(set) => {
            let Some(known) = state.mailbox(set.mailbox) else { return Vec::new() };
            let modseq = if set.modseq == 0 { logged.sequence } else { set.modseq };
            let holds = |uid: &u32| {
                known
                    .entry(*uid)
                    .is_some_and(|entry| entry.modseq == modseq && entry.place.segment != segment)
            };
            let uids: Vec<_> = set.uids.iter().copied().filter(holds).collect();
            if uids.is_empty() {
                return Vec::new();
            }
            let flags: Flags = set.flags;
            vec![Content::Flags(SetFlags { mailbox: set.mailbox, uids, flags, modseq }).into()]
        }
        Content::Seen(Uidls { account, uidls }) => {
            let holds = |uidl: &String| state.seen.get(&(account.clone(), uidl.clone())) == Some(&segment);
            some_uidls(account, uidls, holds).map(|uidls| Content::Seen(uidls).into()).into_iter().collect()
        }
        Content::Forget(Uidls { account, uidls }) => {
            let is_needed = |uidl: &String| {
                !state.is_seen(account, uidl)
                    && state.is_ghost_elsewhere(segment, &Fact::Seen(account.clone(), uidl.clone()))
            };
            some_uidls(account, uidls, is_needed)
                .map(|uidls| Content::Forget(uidls).into())
                .into_iter()
                .collect()
        }
    }
}

fn of_accept(state: &State, logged: &Logged, accept: &Accept) -> Vec<Needed> {
    let place = logged.place;
    let mut copy = Accept { ends: Vec::new(), ..accept.clone() };
    copy.deliveries.retain_mut(|delivery| {
        let entry = state.mailbox(delivery.mailbox).and_then(|mailbox| mailbox.entry(delivery.uid));
        let Some(entry) = entry.filter(|entry| entry.place == place) else { return false };
        (delivery.flags, delivery.modseq) = (entry.flags, entry.modseq);
        true
    });
    copy.remotes.retain_mut(|remote| {
        let id = QueueId { message: logged.sequence, recipient: remote.number };
        let Some(entry) = state.queued(id).filter(|entry| entry.place == place) else { return false };
        remote.progress = entry.progress.clone();
        true
    });
    let mut all = Vec::new();
    let is_needed = !copy.deliveries.is_empty() || !copy.remotes.is_empty();
    if let Origin::Polled { account, uidl } = &mut copy.origin {
        let key = (account.clone(), mem::take(uidl));
        // A copy that states the fetch could survive a power cut without the later record that ends it.
        if let Some(holder) = state.seen.get(&key) {
            if is_needed {
                *uidl = key.1;
            } else if *holder == place.segment {
                all.push(Content::Seen(Uidls { account: key.0, uidls: vec![key.1] }).into());
            }
        }
    }
    if is_needed {
        all.push(Needed { sequence: Some(logged.sequence), content: Content::Accept(copy) });
    }
    for entry in &accept.ends {
        if is_queue_ghost(state, place.segment, *entry) {
            all.push(Content::Done(Done::new(*entry, String::new())).into());
        }
    }
    all
}

fn is_queue_ghost(state: &State, segment: u32, entry: QueueId) -> bool {
    state.queued(entry).is_none() && state.is_ghost_elsewhere(segment, &Fact::Queued(entry))
}

fn some_uidls(account: &str, uidls: &[String], wanted: impl Fn(&String) -> bool) -> Option<Uidls> {
    let uidls: Vec<_> = uidls.iter().filter(|uidl| wanted(uidl)).cloned().collect();
    (!uidls.is_empty()).then(|| Uidls { account: account.to_owned(), uidls })
}
