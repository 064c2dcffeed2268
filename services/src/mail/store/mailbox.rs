//! The index of a mailbox: its messages and their positions.

use super::content::{Flags, FolderId, MailboxState, Sequence, Uid};

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The segment.
    pub segment: u32,
    /// The length of the record.
    pub len: u32,
    /// Its offset in the segment.
    pub offset: u64,
}

/// A message in a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the mailbox.
    pub uid: Uid,
    /// Its flags.
    pub flags: Flags,
    /// Its folder.
    pub folder: FolderId,
    /// The message, by the number of the record that accepted it.
    pub message: Sequence,
    /// The number of the record that last changed the entry. (RFC 7162)
    pub modseq: Sequence,
    /// When it was accepted, in seconds since 1970.
    pub time: u64,
    /// Its length as it is read, in octets: the delivery's own header lines, and the message.
    pub size: u64,
    /// The record that it is in.
    pub place: Place,
    /// The part of the record's octets that live because of this entry.
    pub(super) share: u32,
    /// Since when it is here, in seconds since 1970, which this counts until 2106.
    pub arrived: u32,
}

// 64 octets an entry: a mailbox of 100,000 messages has 6.4 MB.
const _: () = assert!(size_of::<Entry>() == 64);

/// A mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    pub(super) state: MailboxState,
    entries: Vec<Entry>,
    used: u64,
}

impl Mailbox {
    pub(super) fn new(state: MailboxState) -> Self {
        Self { state, entries: Vec::new(), used: 0 }
    }

    /// All that it is, but for its messages.
    pub fn state(&self) -> &MailboxState {
        &self.state
    }

    /// Its messages, by their numbers.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The message of that number.
    pub fn entry(&self, uid: Uid) -> Option<&Entry> {
        self.find(uid).ok().map(|at| &self.entries[at])
    }

    /// The octets of all its messages.
    pub fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn entry_mut(&mut self, uid: Uid) -> Option<&mut Entry> {
        self.find(uid).ok().map(|at| &mut self.entries[at])
    }

    fn find(&self, uid: Uid) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&uid, |entry| entry.uid)
    }

    /// Adds an entry; returns the one of its number that was there.
    pub(super) fn insert(&mut self, entry: Entry) -> Option<Entry> {
        self.state.uid_next = self.state.uid_next.max(entry.uid.saturating_add(1));
        self.used = self.used.saturating_add(entry.size);
        match self.find(entry.uid) {
            Ok(at) => {
                let former = std::mem::replace(&mut self.entries[at], entry);
                self.used = self.used.saturating_sub(former.size);
                Some(former)
            }
            Err(at) => {
                self.entries.insert(at, entry);
                None
            }
        }
    }

    /// Removes the entries that exist among these.
    pub(super) fn remove(&mut self, uids: &[Uid]) -> Vec<Entry> {
        let mut wanted = uids.to_vec();
        wanted.sort_unstable();
        let Some(first) = wanted.first().map(|uid| self.find(*uid).unwrap_or_else(|at| at)) else {
            return Vec::new();
        };
        let mut removed = Vec::new();
        let kept = self.entries.split_off(first).into_iter().filter(|entry| {
            let is_removed = wanted.binary_search(&entry.uid).is_ok();
            if is_removed {
                removed.push(*entry);
            }
            !is_removed
        });
        let kept: Vec<_> = kept.collect();
        self.entries.extend(kept);
        for entry in &removed {
            self.used = self.used.saturating_sub(entry.size);
        }
        removed
    }
}
