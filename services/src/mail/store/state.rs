//! The state that results from the records.
//!
//! [`State::apply`] applies records in the order of the log: at the start those that are read, later those that are
//! durable. So the state after a start is the same as before.
//!
//! # Removable records
//!
//! Mailboxes, deliveries, queue entries, and fetched messages are facts. For each, the state has the record that states
//! it. A segment can also hold records whose facts are no longer true, or that another record repeats: its *ghosts*. As
//! long as a fact is another segment's ghost, the record that ended it has to stay; else reading all segments would
//! restore the fact.

use std::collections::BTreeSet;
use std::collections::btree_map::{self, BTreeMap};
use std::ops::Bound;

use super::content::{
    Accept, Body, BodyName, Content, Delivery, Expunge, MailboxId, MailboxState, Origin, Progress, QueueId,
    Remote, Sequence, SetFlags, Uid, Uidls,
};
use super::log::Logged;
use super::mailbox::{Entry, Mailbox, Place};
use super::record::FRAME_LEN;

/// A fact that a record states.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fact {
    Delivery(MailboxId, Uid),
    Queued(QueueId),
    Seen(String, String),
}

/// A message that is to be delivered to another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    /// The recipient's address.
    pub recipient: String,
    /// The sender's DSN options.
    pub options: String,
    /// The progress.
    pub progress: Progress,
    /// The record of the message.
    pub place: Place,
    pub(super) share: u32,
}

/// A large body, and how many facts need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LargeBody {
    pub name: BodyName,
    pub users: u32,
}

/// The properties of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Segment {
    /// Octets of records that are needed.
    pub live: u64,
    pub ghosts: BTreeSet<Fact>,
    /// Segments in which this one's first record aborts records.
    pub aborts_in: Vec<u32>,
    /// The octets of the file that are known to have been synced. Damage among them is not a torn append.
    pub synced: u64,
}

/// The known damage. Checkpoints include it, so that a start which reads only the end of the log knows what an earlier
/// one found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KnownDamage {
    /// Segments that are damaged.
    pub damaged: BTreeSet<u32>,
    /// Missing segments with unknown content.
    pub missing: BTreeSet<u32>,
    /// Unreferenced files of large bodies that lost records may have referred to.
    pub kept: BTreeSet<BodyName>,
}

/// The state.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(super) mailboxes: BTreeMap<MailboxId, Mailbox>,
    pub(super) names: BTreeMap<String, MailboxId>,
    pub(super) queue: BTreeMap<QueueId, QueueEntry>,
    /// By account and UIDL: the segment that states it.
    pub(super) seen: BTreeMap<(String, String), u32>,
    pub(super) bodies: BTreeMap<Sequence, LargeBody>,
    pub(super) segments: BTreeMap<u32, Segment>,
    /// Of how many segments each fact is a ghost.
    ghosts: BTreeMap<Fact, u32>,
    /// Bodies that nothing needs any more.
    pub(super) unused: Vec<BodyName>,
    pub(super) known_damage: KnownDamage,
    pub(super) next_sequence: Sequence,
    pub(super) next_mailbox: u32,
    pub(super) last_uid_validity: u32,
}

impl State {
    /// The initial state for a log with this known damage.
    pub(super) fn harmed(known_damage: KnownDamage) -> Self {
        Self { known_damage, ..Self::default() }
    }

    /// The mailboxes that there are.
    pub fn mailboxes(&self) -> impl Iterator<Item = &Mailbox> {
        self.mailboxes.values().filter(|mailbox| !mailbox.state.is_removed)
    }

    /// A mailbox; `None` if it does not exist any more.
    pub fn mailbox(&self, id: MailboxId) -> Option<&Mailbox> {
        self.mailboxes.get(&id).filter(|mailbox| !mailbox.state.is_removed)
    }

    /// The mailbox of that name.
    pub fn mailbox_named(&self, name: &str) -> Option<&Mailbox> {
        self.mailbox(*self.names.get(name)?)
    }

    /// The queue of remote deliveries.
    pub fn queue(&self) -> impl Iterator<Item = (QueueId, &QueueEntry)> {
        self.queue.iter().map(|(id, entry)| (*id, entry))
    }

    /// The same of messages that were accepted after that one.
    pub fn queue_after(&self, message: Sequence) -> impl Iterator<Item = (QueueId, &QueueEntry)> {
        let last = QueueId { message, recipient: u16::MAX };
        let later = self.queue.range((Bound::Excluded(last), Bound::Unbounded));
        later.map(|(id, entry)| (*id, entry))
    }

    /// An entry of the queue.
    pub fn queued(&self, id: QueueId) -> Option<&QueueEntry> {
        self.queue.get(&id)
    }

    /// Whether the message that `account` calls `uidl` was fetched.
    pub fn is_seen(&self, account: &str, uidl: &str) -> bool {
        self.seen.contains_key(&(account.to_owned(), uidl.to_owned()))
    }

    /// Whether a segment is damaged, or missing with unknown content.
    pub fn is_damaged(&self) -> bool {
        !self.known_damage.damaged.is_empty() || !self.known_damage.missing.is_empty()
    }

    /// The messages of `account` that were fetched.
    pub fn seen<'a>(&'a self, account: &'a str) -> impl Iterator<Item = &'a str> {
        let first = (account.to_owned(), String::new());
        let of_account = move |((of, _), _): &(&(String, String), &u32)| of == account;
        self.seen.range(first..).take_while(of_account).map(|((_, uidl), _)| uidl.as_str())
    }

    /// Applies a record.
    pub(super) fn apply(&mut self, record: &Logged) {
        let Logged { sequence, place, body_len, ref content, .. } = *record;
        self.next_sequence = self.next_sequence.max(sequence.saturating_add(1));
        self.segments.entry(place.segment).or_default();
        match content {
            Content::Start(_) | Content::Note(_) => {}
            Content::Accept(accept) => self.accept(sequence, place, body_len, accept),
            Content::Attempt(attempt) => {
                if let Some(entry) = self.queue.get_mut(&attempt.entry) {
                    entry.progress = attempt.progress.clone();
                }
            }
            Content::Done(done) => self.finish(done.entry),
            Content::Expunge(Expunge { mailbox, uids }) => self.expunge(*mailbox, uids),
            Content::Flags(set) => self.set_flags(sequence, set),
            Content::Mailbox(state) => self.set_mailbox(state),
            Content::Seen(Uidls { account, uidls }) => {
                uidls.iter().for_each(|uidl| self.see(place.segment, account, uidl));
            }
            Content::Forget(Uidls { account, uidls }) => {
                uidls.iter().for_each(|uidl| self.forget(account, uidl));
            }
            Content::Abort(abort) => {
                let segment = self.segments.entry(place.segment).or_default();
                segment.aborts_in.extend(abort.from.iter().map(|(segment, _)| *segment));
            }
        }
    }

    /// Handles lost octets of the log. Numbers that they may have assigned are not reused.
    pub(super) fn skip_lost(&mut self, octets: u64) {
        /// The shortest line that assigns a number.
        const LINE_LEN_MIN: u64 = 16;
        let numbers = |len: u64| octets / len + 1;
        let capped = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        self.next_sequence = self.next_sequence.saturating_add(numbers(FRAME_LEN as u64));
        self.next_mailbox = self.next_mailbox.saturating_add(capped(numbers(FRAME_LEN as u64)));
        for mailbox in self.mailboxes.values_mut() {
            let next = &mut mailbox.state.uid_next;
            *next = next.saturating_add(capped(numbers(LINE_LEN_MIN)));
        }
    }

    /// Marks all numbers in `known`, a former state, as used, and adds mailboxes that are missing.
    pub(super) fn take_numbers(&mut self, known: &Self) {
        self.next_sequence = self.next_sequence.max(known.next_sequence);
        self.next_mailbox = self.next_mailbox.max(known.next_mailbox);
        self.last_uid_validity = self.last_uid_validity.max(known.last_uid_validity);
        for (id, state) in known.mailboxes.iter().map(|(id, mailbox)| (id, &mailbox.state)) {
            if !self.mailboxes.contains_key(id) && !self.names.contains_key(&state.name) {
                self.set_mailbox(state);
            }
            if let Some(mailbox) = self.mailboxes.get_mut(id) {
                mailbox.state.uid_next = mailbox.state.uid_next.max(state.uid_next);
            }
        }
    }

    fn accept(&mut self, sequence: Sequence, place: Place, body_len: u32, accept: &Accept) {
        let count = accept.deliveries.len() + accept.remotes.len();
        let share = place.len / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let mut users = 0;
        let body_len = match accept.body {
            Body::Inline => u64::from(body_len),
            Body::File { len, .. } => len,
        };
        for delivery in &accept.deliveries {
            let Delivery { mailbox, uid, folder, flags, modseq, ref prefix, .. } = *delivery;
            let entry = Entry {
                uid,
                flags,
                folder,
                message: sequence,
                modseq: if modseq == 0 { sequence } else { modseq },
                time: accept.time,
                size: body_len.saturating_add(prefix.len() as u64),
                place,
                share,
                arrived: u32::try_from(accept.arrived()).unwrap_or(u32::MAX),
            };
            let mailbox_of = self.mailbox_or_unknown(mailbox);
            if mailbox_of.state.is_removed {
                continue;
            }
            users += 1;
            let former = mailbox_of.insert(entry);
            self.add_live(place.segment, share);
            if let Some(former) = former {
                self.supersede(former.place, former.share, place, Fact::Delivery(mailbox, uid));
            }
        }
        for remote in &accept.remotes {
            let Remote { number, ref recipient, ref options, ref progress } = *remote;
            let id = QueueId { message: sequence, recipient: number };
            let entry = QueueEntry {
                recipient: recipient.clone(),
                options: options.clone(),
                progress: progress.clone(),
                place,
                share,
            };
            users += 1;
            let former = self.queue.insert(id, entry);
            self.add_live(place.segment, share);
            if let Some(former) = former {
                self.supersede(former.place, former.share, place, Fact::Queued(id));
            }
        }
        if let Body::File { name, .. } = accept.body {
            if users > 0 {
                self.bodies.insert(sequence, LargeBody { name, users });
            } else {
                self.unused.push(name);
            }
        }
        if let Origin::Polled { account, uidl } = &accept.origin
            && !uidl.is_empty()
        {
            self.see(place.segment, account, uidl);
        }
        accept.ends.iter().for_each(|entry| self.finish(*entry));
    }

    /// The mailbox `id`; one without a record, because of damage, gets a name that says so.
    fn mailbox_or_unknown(&mut self, id: MailboxId) -> &mut Mailbox {
        if !self.mailboxes.contains_key(&id) {
            let name = format!("lost-{}", id.0);
            self.set_mailbox(&MailboxState {
                id,
                name,
                uid_validity: self.last_uid_validity.saturating_add(1),
                folders: vec!["INBOX".to_owned()],
                ..MailboxState::default()
            });
        }
        self.mailboxes.entry(id).or_default()
    }

    pub(super) fn set_mailbox(&mut self, state: &MailboxState) {
        self.next_mailbox = self.next_mailbox.max(state.id.0.saturating_add(1));
        self.last_uid_validity = self.last_uid_validity.max(state.uid_validity);
        let mailbox = self.mailboxes.entry(state.id).or_insert_with(|| Mailbox::new(state.clone()));
        if self.names.get(&mailbox.state.name) == Some(&state.id) {
            self.names.remove(&mailbox.state.name);
        }
        let uid_next = mailbox.state.uid_next.max(state.uid_next).max(1);
        mailbox.state = MailboxState { uid_next, ..state.clone() };
        if state.is_removed {
            let uids: Vec<_> = mailbox.entries().iter().map(|entry| entry.uid).collect();
            self.expunge(state.id, &uids);
        } else {
            self.names.insert(state.name.clone(), state.id);
        }
    }

    fn expunge(&mut self, id: MailboxId, uids: &[Uid]) {
        let Some(mailbox) = self.mailboxes.get_mut(&id) else { return };
        for entry in mailbox.remove(uids) {
            self.end(entry.message, entry.place.segment, entry.share, Fact::Delivery(id, entry.uid));
        }
    }

    fn finish(&mut self, id: QueueId) {
        if let Some(entry) = self.queue.remove(&id) {
            self.end(id.message, entry.place.segment, entry.share, Fact::Queued(id));
        }
    }

    fn set_flags(&mut self, sequence: Sequence, set: &SetFlags) {
        let Some(mailbox) = self.mailboxes.get_mut(&set.mailbox) else { return };
        for uid in &set.uids {
            if let Some(entry) = mailbox.entry_mut(*uid) {
                entry.flags = set.flags;
                entry.modseq = if set.modseq == 0 { sequence } else { set.modseq };
            }
        }
    }

    fn see(&mut self, segment: u32, account: &str, uidl: &str) {
        let key = (account.to_owned(), uidl.to_owned());
        if let Some(former) = self.seen.insert(key.clone(), segment)
            && former != segment
        {
            self.add_ghost(former, Fact::Seen(key.0, key.1));
        }
    }

    fn forget(&mut self, account: &str, uidl: &str) {
        let key = (account.to_owned(), uidl.to_owned());
        if let Some(segment) = self.seen.remove(&key) {
            self.add_ghost(segment, Fact::Seen(key.0, key.1));
        }
    }

    /// A fact of a message is no longer true.
    fn end(&mut self, message: Sequence, segment: u32, share: u32, fact: Fact) {
        self.remove_live(segment, share);
        self.add_ghost(segment, fact);
        if let Some(body) = self.bodies.get_mut(&message) {
            body.users = body.users.saturating_sub(1);
            if body.users == 0 {
                self.unused.push(body.name);
                self.bodies.remove(&message);
            }
        }
    }

    /// Records that another record states a fact.
    fn supersede(&mut self, former: Place, share: u32, now: Place, fact: Fact) {
        self.remove_live(former.segment, share);
        if former.segment != now.segment {
            self.add_ghost(former.segment, fact);
        }
    }

    /// Recounts the needed records of each segment and the references to each large body.
    pub(super) fn recount(&mut self) {
        self.segments.values_mut().for_each(|segment| segment.live = 0);
        self.bodies.values_mut().for_each(|body| body.users = 0);
        let entries = self.mailboxes.values().flat_map(Mailbox::entries);
        let deliveries = entries.map(|entry| (entry.message, entry.place, entry.share));
        let queued = self.queue.iter().map(|(id, entry)| (id.message, entry.place, entry.share));
        for (message, place, share) in deliveries.chain(queued) {
            self.segments.entry(place.segment).or_default().live += u64::from(share);
            if let Some(body) = self.bodies.get_mut(&message) {
                body.users += 1;
            }
        }
        self.bodies.retain(|_, body| body.users > 0);
    }

    fn add_live(&mut self, segment: u32, share: u32) {
        self.segments.entry(segment).or_default().live += u64::from(share);
    }

    fn remove_live(&mut self, segment: u32, share: u32) {
        let segment = self.segments.entry(segment).or_default();
        segment.live = segment.live.saturating_sub(u64::from(share));
    }

    pub(super) fn add_ghost(&mut self, segment: u32, fact: Fact) {
        if self.segments.entry(segment).or_default().ghosts.insert(fact.clone()) {
            *self.ghosts.entry(fact).or_default() += 1;
        }
    }

    /// How many facts are ghosts, about.
    pub(super) fn ghosts_len(&self) -> usize {
        self.ghosts.len()
    }

    /// Handles the removal of a segment.
    pub(super) fn remove_segment(&mut self, number: u32) {
        for fact in self.segments.remove(&number).unwrap_or_default().ghosts {
            if let btree_map::Entry::Occupied(mut count) = self.ghosts.entry(fact) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }

    /// So many octets of a segment's file are durable.
    pub(super) fn confirm(&mut self, number: u32, synced: u64) {
        let segment = self.segments.entry(number).or_default();
        segment.synced = segment.synced.max(synced);
    }

    /// Whether a segment other than `segment` still states `fact`, which is not true, or may do so: an earlier one that
    /// is unreadable now may become readable later.
    pub(super) fn is_ghost_elsewhere(&self, segment: u32, fact: &Fact) -> bool {
        let KnownDamage { damaged, missing, .. } = &self.known_damage;
        if damaged.iter().chain(missing).any(|number| *number < segment) {
            return true;
        }
        let count = self.ghosts.get(fact).copied().unwrap_or(0);
        let is_own = self.segments.get(&segment).is_some_and(|own| own.ghosts.contains(fact));
        count > u32::from(is_own)
    }

    /// Whether only that segment states a fact.
    pub(super) fn is_needed(&self, segment: u32) -> bool {
        self.segments.get(&segment).is_some_and(|segment| segment.live > 0)
            || self.seen.values().any(|holder| *holder == segment)
    }
}
