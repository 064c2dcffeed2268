//! Drafts: messages being received.
//!
//! A message is in memory while it fits in a record. A longer one is written to a file of its own, part by part, and
//! that is synced before the record that refers to it is appended. The next start removes files without a record.

use std::collections::BTreeMap;
use std::mem;
use std::net::IpAddr;

use super::change::StoreError;
use super::content::{Accept, Body, BodyName};
use super::layout::body_file;
use super::record;
use super::request::Task;
use super::store::Ticket;
use super::{DRAFTS_MEMORY_MAX, LARGE_DRAFTS_MAX, STRANGERS_LARGE_DRAFTS_MAX};
use crate::store::part_of;

/// A message being received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DraftId(pub u64);

/// All of them.
#[derive(Debug)]
pub(super) struct Drafts {
    pub all: BTreeMap<DraftId, Draft>,
    next: u64,
    /// A longer message, in octets, gets a file, and that so many at a time.
    inline_octets: usize,
}

#[derive(Debug, Default)]
pub(super) struct Draft {
    inline_octets: usize,
    /// Its source, if it is a stranger.
    pub stranger: Option<IpAddr>,
    buffer: Vec<u8>,
    file: Option<File>,
    /// Octets that are being appended to the file.
    appending: usize,
    /// Whether its octets move from memory to the file now, as all messages together take too much.
    spills: bool,
    /// The envelope to commit with, once it is complete.
    commit: Option<(Ticket, Accept)>,
    failed: Option<StoreError>,
    is_given_up: bool,
    /// Whether a request is in progress.
    is_busy: bool,
}

#[derive(Debug)]
struct File {
    name: BodyName,
    len: u64,
    checksum: crc32fast::Hasher,
    is_syncing: bool,
    is_synced: bool,
}

/// A part of a message being received.
pub(super) enum Part {
    /// These octets of it; none at its end.
    Octets(Vec<u8>),
    /// At most so many octets of its file, at the offset in the message.
    InFile(BodyName, usize),
    /// They are being written.
    UnderWay,
}

/// The end of a draft.
pub(super) enum Ended {
    /// It is complete; the octets in the file are durable.
    Committed(Ticket, Box<Accept>, Vec<u8>),
    /// It cannot be stored. The file, if there is one, is to be removed.
    Failed(Option<(Ticket, StoreError)>, Option<BodyName>),
}

/// The share of `all` for strangers.
const fn of_strangers(all: usize) -> usize {
    all / 4 * 3
}

impl Drafts {
    pub fn new(inline_octets: usize) -> Self {
        Self { all: BTreeMap::new(), next: 0, inline_octets: inline_octets.min(record::BODY_OCTETS_MAX) }
    }

    pub fn begin(&mut self, stranger: Option<IpAddr>) -> DraftId {
        let id = DraftId(self.next);
        self.next += 1;
        self.all.insert(id, Draft { inline_octets: self.inline_octets, stranger, ..Draft::default() });
        id
    }

    /// Whether no further one of `stranger`, or of the office, can have a file.
    pub fn has_all_files(&self, stranger: Option<IpAddr>) -> bool {
        let large = self.all.values().filter(|draft| draft.file.is_some());
        let of = |wanted: fn(&Draft, Option<IpAddr>) -> bool| {
            large.clone().filter(|draft| wanted(draft, stranger)).count()
        };
        let is_share_used = || {
            of(|draft, _| draft.stranger.is_some()) >= of_strangers(LARGE_DRAFTS_MAX)
                || of(|draft, stranger| draft.stranger == stranger) >= STRANGERS_LARGE_DRAFTS_MAX
        };
        of(|_, _| true) >= LARGE_DRAFTS_MAX || stranger.is_some() && is_share_used()
    }

    /// Whether there is no memory for so many octets more of `stranger`, or of the office.
    pub fn is_memory_short(&self, octets: usize, stranger: Option<IpAddr>) -> bool {
        let memory = |draft: &Draft| draft.buffer.len() + draft.appending;
        let all: usize = self.all.values().map(memory).sum();
        let strange = self.all.values().filter(|draft| draft.stranger.is_some());
        all + octets > DRAFTS_MEMORY_MAX
            || stranger.is_some()
                && strange.map(memory).sum::<usize>() + octets > of_strangers(DRAFTS_MEMORY_MAX)
    }

    /// The next request for a draft without one in progress.
    pub fn poll(&mut self) -> Option<(DraftId, Task)> {
        self.all.iter_mut().find_map(|(id, draft)| Some((*id, draft.poll()?)))
    }

    /// Takes a draft that has ended.
    pub fn take_ended(&mut self) -> Option<Ended> {
        let id = self.all.iter().find(|(_, draft)| draft.is_ended()).map(|(id, _)| *id)?;
        Some(self.all.remove(&id)?.end())
    }
}

impl Draft {
    /// Whether it accepts more octets now.
    pub fn is_open(&self) -> bool {
        self.commit.is_none() && !self.is_given_up
    }

    /// Whether accepted octets are still to be written.
    pub fn is_full(&self) -> bool {
        self.file.is_some() && self.is_to_be_appended()
    }

    fn is_to_be_appended(&self) -> bool {
        let is_enough = self.buffer.len() >= self.inline_octets;
        is_enough || (self.spills || self.commit.is_some()) && !self.buffer.is_empty()
    }

    pub fn failed(&self) -> Option<&StoreError> {
        self.failed.as_ref()
    }

    /// Adds octets; `name` is for the file, if one is needed, also because `memory_is_short`.
    pub fn push(&mut self, octets: &[u8], name: impl FnOnce() -> BodyName, memory_is_short: bool) {
        self.buffer.extend_from_slice(octets);
        self.spills = memory_is_short;
        if self.needs_file(0, memory_is_short) {
            let checksum = crc32fast::Hasher::new();
            self.file = Some(File { name: name(), len: 0, checksum, is_syncing: false, is_synced: false });
        }
    }

    /// Whether it gets a file with so many octets more.
    pub fn needs_file(&self, octets: usize, memory_is_short: bool) -> bool {
        self.file.is_none() && (self.buffer.len() + octets > self.inline_octets || memory_is_short)
    }

    /// At most `len` of the octets so far, from `offset` on.
    pub fn part(&self, offset: u64, len: usize) -> Part {
        let of_file = self.file.as_ref().map_or(0, |file| file.len);
        let Some(in_memory) = offset.checked_sub(of_file) else {
            // The written octets, which are more than one part may have.
            let written = (of_file - self.appending as u64).saturating_sub(offset);
            return match &self.file {
                Some(file) if written > 0 => {
                    Part::InFile(file.name, usize::try_from(written).unwrap_or(len).min(len))
                }
                _ => Part::UnderWay,
            };
        };
        Part::Octets(part_of(&self.buffer, in_memory, len))
    }

    pub fn fail(&mut self, refused: StoreError) {
        self.failed = Some(refused);
    }

    pub fn commit(&mut self, ticket: Ticket, accept: Accept) {
        self.commit = Some((ticket, accept));
    }

    pub fn give_up(&mut self) {
        self.is_given_up = true;
    }

    fn poll(&mut self) -> Option<Task> {
        let is_to_be_appended = self.is_to_be_appended();
        let file =
            self.file.as_mut().filter(|_| !self.is_busy && self.failed.is_none() && !self.is_given_up)?;
        let task = if is_to_be_appended {
            let octets = mem::take(&mut self.buffer);
            self.appending = octets.len();
            file.len += octets.len() as u64;
            file.checksum.update(&octets);
            Task::Append { file: body_file(file.name), octets }
        } else if self.commit.is_some() && !file.is_synced {
            file.is_syncing = true;
            Task::Sync { file: body_file(file.name) }
        } else {
            return None;
        };
        self.is_busy = true;
        Some(task)
    }

    /// Handles a completed request: octets are in the file, or all of them are durable.
    pub fn handle_done(&mut self, done: Result<(), StoreError>) {
        (self.is_busy, self.appending) = (false, 0);
        match done {
            Err(refused) => self.failed = Some(refused),
            Ok(()) => {
                if let Some(file) = self.file.as_mut().filter(|file| file.is_syncing) {
                    file.is_synced = true;
                }
            }
        }
    }

    fn is_ended(&self) -> bool {
        let is_over = self.is_given_up || self.failed.is_some() && self.commit.is_some();
        let is_whole = self.commit.is_some() && self.file.as_ref().is_none_or(|file| file.is_synced);
        !self.is_busy && (is_over || is_whole)
    }

    fn end(self) -> Ended {
        let name = self.file.as_ref().map(|file| file.name);
        match (self.commit, self.failed) {
            (commit, Some(refused)) => Ended::Failed(commit.map(|(ticket, _)| (ticket, refused)), name),
            (Some((ticket, mut accept)), None) if !self.is_given_up => {
                accept.body = match self.file {
                    Some(file) => {
                        Body::File { name: file.name, len: file.len, checksum: file.checksum.finalize() }
                    }
                    None => Body::Inline,
                };
                Ended::Committed(ticket, Box::new(accept), self.buffer)
            }
            _ => Ended::Failed(None, name),
        }
    }
}
