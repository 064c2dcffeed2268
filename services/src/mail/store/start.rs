//! Reading the log.
//!
//! Records are applied in the order of their segments. Those of the last batch of a segment, and of the first batch of
//! the next, are held back until a further batch follows: only that proves that they were synced, and the first batch
//! of a segment can abort the last of the one before. Records still held at the end of the log may be in the page cache
//! only, even if they can be read: the store writes them once more before it relies on them.
//!
//! Nothing is written here.

use std::collections::{BTreeMap, BTreeSet};
use std::{io, mem};

use nix::errno::Errno;

use super::checkpoint;
use super::content::{BodyName, Content, MailboxId, QueueId, Sequence};
use super::layout::{
    BODIES, CHECKPOINT, RESERVE, SEGMENTS, body_file, parse_body, parse_segment, segment_file,
};
use super::log::{Logged, SegmentFile};
use super::mailbox::{Entry, Mailbox, Place};
use super::message::{Message, Unreadable, read_message};
use super::record::{COPY, FIRST, FRAME_LEN, Scanner, Step, decode, is_frame};
use super::report::{Damage, Report};
use super::state::{KnownDamage, State};
use crate::store::Storage;

/// Octets of a segment that are read at a time.
pub(super) const PART_OCTETS: usize = 2 << 20;
/// The block size for reading around unreadable parts.
const BLOCK_OCTETS: usize = 4 << 10;
/// The octets that may have followed a position, if that is unknown: a segment.
const BEHIND_OCTETS: u64 = 64 << 20;
/// A record that may not be durable, or has to be written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Uncertain {
    /// Where it can be read.
    pub place: Place,
    pub sequence: Sequence,
    pub content: Content,
    pub body: Vec<u8>,
}

/// The loaded state.
#[derive(Debug)]
pub struct Recovered {
    pub(super) state: State,
    pub(super) files: BTreeMap<u32, SegmentFile>,
    pub(super) uncertain: Vec<Uncertain>,
    pub(super) reserve_len: u64,
    /// Files of large bodies that surely nothing names.
    pub(super) orphans: Vec<BodyName>,
    /// The segment at which the checkpoint on the disk ends.
    pub(super) checkpoint: Option<u32>,
    pub(super) report: Report,
}

impl Recovered {
    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The damage found.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The message of `entry` in the mailbox `id`, read from the storage that all was read from.
    ///
    /// # Errors
    ///
    /// Why it cannot be read; [`Unreadable::Gone`] if a running gateway has moved or removed it meanwhile.
    pub fn message(&self, disk: &dyn Storage, id: MailboxId, entry: &Entry) -> Result<Message, Unreadable> {
        let number = entry.place.segment;
        let file = self.files.get(&number).ok_or(Unreadable::Gone)?;
        read_message(disk, &(segment_file(number, file.marker), file.marker), id, entry)
    }

    /// The message of the queue entry `id`, in the same way.
    ///
    /// # Errors
    ///
    /// Why it cannot be read; [`Unreadable::Gone`] also if it is not in the queue.
    pub fn queued(&self, disk: &dyn Storage, id: QueueId) -> Result<Message, Unreadable> {
        let place = self.state.queued(id).ok_or(Unreadable::Gone)?.place;
        let file = self.files.get(&place.segment).ok_or(Unreadable::Gone)?;
        let name = segment_file(place.segment, file.marker);
        let octets = disk.read_at(&name, place.offset, place.len as usize)?;
        Message::parse_queued(file.marker, &octets.ok_or(Unreadable::Gone)?, id)
    }

    /// Records the damage for later starts.
    fn keep_harm(&mut self) {
        self.state.known_damage.damaged.extend(self.report.damaged());
        if self.report.is_damaged() {
            self.keep_bodies();
        }
    }

    /// Keeps unreferenced files of large bodies from being removed.
    fn keep_bodies(&mut self) {
        self.state.known_damage.kept.extend(self.orphans.drain(..));
    }
}

/// Loads the checkpoint and the log after it; all of the log without a usable checkpoint. Damage is reported, and loses
/// only the damaged records.
///
/// # Errors
///
/// An error of the storage.
pub fn recover(disk: &dyn Storage) -> io::Result<Recovered> {
    let loaded = load(disk)?;
    let Listed { files, twice } = segment_files(disk)?;
    let mut recovered = match loaded {
        Some((state, position)) => {
            let is_in_place = is_in_place(disk, &files, &state, position)?;
            // The checkpoint has no content of a segment that was missing.
            let is_back = state.known_damage.missing.iter().any(|number| files.contains_key(number));
            if is_in_place && !is_back {
                recover_from(disk, files, state, Some(position), Some(position.0))?
            } else {
                let cut = missing_before(&files, position);
                let known = State::harmed(state.known_damage.clone());
                let mut recovered = recover_from(disk, files, known, None, Some(position.0))?;
                recovered.state.take_numbers(&state);
                if let Some(cut) = cut {
                    recovered.state.skip_lost(BEHIND_OCTETS);
                    recovered.report.add_cut(cut);
                }
                recovered.report.is_checkpoint_damaged = !is_in_place;
                // The log may have lost the records that refer to them.
                recovered.keep_bodies();
                recovered
            }
        }
        None => {
            let mut recovered = recover_from(disk, files, State::default(), None, None)?;
            recovered.report.is_checkpoint_damaged = disk.len(CHECKPOINT)?.is_some();
            recovered
        }
    };
    recovered.report.segments_twice = twice;
    recovered.keep_harm();
    Ok(recovered)
}

/// The checkpoint's state, with the log after it even if they do not match, and the position between them. The report
/// lists damage before that position. `None` without a readable checkpoint.
pub(super) fn recover_known(disk: &dyn Storage) -> io::Result<Option<(Recovered, (u32, u64))>> {
    // Records that move meanwhile are in the log after the checkpoint.
    let Some((state, position)) = load(disk)? else { return Ok(None) };
    let Listed { files, .. } = segment_files(disk)?;
    let cut = missing_before(&files, position);
    let mut known = recover_from(disk, files, state, Some(position), Some(position.0))?;
    known.report.damages = cut.into_iter().collect();
    Ok(Some((known, position)))
}

/// A checkpoint's state, and the position in the log up to which it goes.
type Loaded = (State, (u32, u64));

fn load(disk: &dyn Storage) -> io::Result<Option<Loaded>> {
    match checkpoint::load(disk) {
        Ok(loaded) => Ok(Some(loaded)),
        Err(None) => Ok(None),
        Err(Some(error)) => Err(error),
    }
}

/// The missing octets of a segment before the position where a checkpoint ends.
fn missing_before(files: &BTreeMap<u32, SegmentFile>, (number, offset): (u32, u64)) -> Option<Damage> {
    let SegmentFile { marker, len } = *files.get(&number)?;
    let file = segment_file(number, marker);
    (len < offset).then(|| Damage { file, offset: len, len: offset - len, is_at_end: false })
}

/// Reads all of the log, and so finds damage where [`recover`] trusts the checkpoint.
///
/// # Errors
///
/// An error of the storage.
pub fn recover_all(disk: &dyn Storage) -> io::Result<Recovered> {
    let Listed { files, twice } = segment_files(disk)?;
    let mut recovered = recover_from(disk, files, State::default(), None, None)?;
    recovered.report.segments_twice = twice;
    Ok(recovered)
}

/// The octets read; none if the medium is unreadable. Other errors may be temporary.
pub(super) fn if_readable(read: io::Result<Option<Vec<u8>>>) -> io::Result<Option<Vec<u8>>> {
    let is_of_medium = |error: &io::Error| {
        let errno = error.raw_os_error().map(Errno::from_raw);
        matches!(errno, Some(Errno::EIO | Errno::EBADMSG | Errno::ENODATA | Errno::EUCLEAN))
    };
    match read {
        Err(error) if is_of_medium(&error) => Ok(None),
        read => read,
    }
}

/// The segments that there are.
struct Listed {
    files: BTreeMap<u32, SegmentFile>,
    /// Files with the number of another one, such as one from a backup. They are not read.
    twice: Vec<String>,
}

fn segment_files(disk: &dyn Storage) -> io::Result<Listed> {
    let (mut files, mut twice) = (BTreeMap::new(), Vec::new());
    for name in disk.list(SEGMENTS)? {
        if let Some((number, marker)) = parse_segment(&name) {
            let len = disk.len(&segment_file(number, marker))?.unwrap_or(0);
            if let Some(SegmentFile { marker, .. }) = files.insert(number, SegmentFile { marker, len }) {
                twice.push(segment_file(number, marker));
            }
        }
    }
    Ok(Listed { files, twice })
}

/// Whether the last record of each segment in the checkpoint is at its offset: if not, octets were inserted or removed,
/// and all other offsets are wrong, too. And whether a record begins, or the file ends, where the checkpoint ends, or
/// only a torn append follows.
fn is_in_place(
    disk: &dyn Storage,
    files: &BTreeMap<u32, SegmentFile>,
    state: &State,
    position: (u32, u64),
) -> io::Result<bool> {
    let is_at = |number: u32, file: &SegmentFile, offset| {
        let octets = if_readable(disk.read_at(&segment_file(number, file.marker), offset, FRAME_LEN))?;
        io::Result::Ok(is_frame(file.marker, &octets.unwrap_or_default()))
    };
    if let Some(file) = files.get(&position.0)
        && file.len != position.1
        && !is_at(position.0, file, position.1)?
        && !is_torn(disk, &segment_file(position.0, file.marker), *file, position.1)?
    {
        return Ok(false);
    }
    let mut last: BTreeMap<u32, u64> = BTreeMap::new();
    let delivered = state.mailboxes.values().flat_map(Mailbox::entries).map(|entry| entry.place);
    for Place { segment, offset, .. } in delivered.chain(state.queue.values().map(|entry| entry.place)) {
        let last = last.entry(segment).or_default();
        *last = offset.max(*last);
    }
    for (number, offset) in last {
        // If a segment is gone, the log after the checkpoint has its needed records.
        let Some(file) = files.get(&number) else { continue };
        if !is_at(number, file, offset)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the octets from `offset` on in a segment are a torn append or one batch: no record begins after its first
/// octet.
fn is_torn(disk: &dyn Storage, name: &str, file: SegmentFile, offset: u64) -> io::Result<bool> {
    let marker = file.marker.0;
    let mut at = offset + 1;
    while at < file.len {
        let Some(part) = if_readable(disk.read_at(name, at, PART_OCTETS))? else { return Ok(false) };
        if part.windows(marker.len()).any(|octets| octets == marker) {
            return Ok(false);
        }
        if part.len() < PART_OCTETS {
            break;
        }
        // A marker may lie across the parts' border.
        at += (part.len() - marker.len() + 1) as u64;
    }
    Ok(offset < file.len)
}

/// Reads the log after the position up to which `state` goes; all of it without one. No segment with a number from
/// `uncompacted` on was removed by compaction.
fn recover_from(
    disk: &dyn Storage,
    mut files: BTreeMap<u32, SegmentFile>,
    state: State,
    place: Option<(u32, u64)>,
    uncompacted: Option<u32>,
) -> io::Result<Recovered> {
    let from = place.unwrap_or_default();
    let replay = Replay { state, ..Replay::default() };
    let mut reader = Reader { disk, replay, report: Report::default(), is_unreadable: false };
    let mut known_len: Option<(u32, u64)> = None;
    // Whether each segment was read that another one refers to.
    let mut is_whole = true;
    let mut missing = BTreeSet::new();
    let numbers: Vec<_> = files.keys().copied().collect();
    for number in numbers.into_iter().filter(|number| *number >= from.0) {
        let offset = if number == from.0 { from.1 } else { 0 };
        let Some(file) = files.get_mut(&number) else { continue };
        let (previous, confirmed) = reader.read_segment(number, *file, offset)?;
        is_whole &= previous.map(|(of, _)| of) == known_len.map(|(last, _)| last);
        // Later octets may be gone after the next power cut.
        file.len = confirmed;
        reader.replay.state.confirm(number, confirmed);
        if let Some((of, len)) = previous {
            let state = &mut reader.replay.state;
            if let Some(file) = files.get(&of) {
                let file = segment_file(of, file.marker);
                state.confirm(of, len);
                reader.report.confirm(&file, len);
                if let Some((_, found)) = known_len.filter(|(last, found)| *last == of && *found < len) {
                    state.skip_lost(len - found);
                    reader.report.add(Damage { file, offset: found, len: len - found, is_at_end: false });
                }
            } else if len > 0 && uncompacted.is_some_and(|from| of >= from) {
                // One in which nothing was synced may have been discarded.
                state.skip_lost(len);
                missing.insert(of);
            }
        }
        known_len = Some((number, disk.len(&segment_file(number, files[&number].marker))?.unwrap_or(0)));
    }
    let Reader { mut replay, mut report, .. } = reader;
    let is_gone = from.1 > 0 && !files.contains_key(&from.0);
    if is_gone {
        missing.insert(from.0);
        replay.held.push(Held::Lost(BEHIND_OCTETS));
    }
    let held = replay.flush();
    let mut state = replay.state;
    let uncertain = read_uncertain(disk, &files, &state, held)?;
    let KnownDamage { mut damaged, missing: known_missing, kept } = mem::take(&mut state.known_damage);
    missing.extend(known_missing);
    let is_gone = |number: &u32| !files.contains_key(number);
    // The report is newer for segments that were just read.
    damaged.retain(|number| !is_gone(number) && (*number, 0) < from);
    missing.retain(is_gone);
    let in_use = state.segments.iter().filter(|(_, segment)| segment.live > 0).map(|(number, _)| *number);
    let in_use = in_use.filter(is_gone).chain(missing.iter().copied()).collect::<BTreeSet<_>>();
    report.segments_missing = in_use.into_iter().collect();
    report.segments_damaged = damaged.iter().copied().collect();
    let gone: Vec<_> = state.segments.keys().copied().filter(is_gone).collect();
    gone.into_iter().for_each(|number| state.remove_segment(number));
    let bodies: BTreeMap<_, _> = state.bodies.iter().map(|(sequence, body)| (body.name, *sequence)).collect();
    let unnamed = disk.list(BODIES)?.into_iter().filter_map(|name| parse_body(&name));
    let unnamed = unnamed.filter(|name| !bodies.contains_key(name));
    // Without a checkpoint, a missing segment may have referred to them.
    let are_known = place.is_some() || is_whole;
    let (kept, orphans): (Vec<_>, Vec<_>) = unnamed.partition(|name| !are_known || kept.contains(name));
    state.known_damage = KnownDamage { damaged, missing, kept: kept.into_iter().collect() };
    for (name, sequence) in &bodies {
        if disk.len(&body_file(*name))?.is_none() {
            report.bodies_missing.push(*sequence);
        }
    }
    state.unused.clear();
    let reserve_len = disk.len(RESERVE)?.unwrap_or(0);
    let checkpoint = place.map(|(segment, _)| segment);
    Ok(Recovered { state, files, uncertain, reserve_len, orphans, checkpoint, report })
}

/// The octets of the held records at the end of the log.
fn read_uncertain(
    disk: &dyn Storage,
    files: &BTreeMap<u32, SegmentFile>,
    state: &State,
    held: Vec<Logged>,
) -> io::Result<Vec<Uncertain>> {
    let mut by_number: BTreeMap<(Option<MailboxId>, Sequence), Uncertain> = BTreeMap::new();
    for Logged { sequence, place, content, .. } in held {
        let key = match &content {
            Content::Start(_) => continue,
            Content::Mailbox(mailbox) => (Some(mailbox.id), 0),
            _ => (None, sequence),
        };
        let Some(file) = files.get(&place.segment) else { continue };
        let name = segment_file(place.segment, file.marker);
        let octets = if_readable(disk.read_at(&name, place.offset, place.len as usize))?.unwrap_or_default();
        let Some((_, _, body)) = decode(file.marker, &octets) else { continue };
        by_number.insert(key, Uncertain { place, sequence, content, body: body.to_vec() });
    }
    let mut uncertain: Vec<_> = by_number.into_values().collect();
    uncertain.sort_by_key(|record| record.sequence);
    for Uncertain { content, .. } in &mut uncertain {
        if let Content::Mailbox(mailbox) = content
            && let Some(known) = state.mailboxes.get(&mailbox.id)
        {
            *mailbox = known.state.clone();
        }
    }
    Ok(uncertain)
}

/// Records in the order of the log, some of them held back.
#[derive(Default)]
struct Replay {
    state: State,
    held: Vec<Held>,
    abort: Vec<(u32, u64)>,
}

enum Held {
    Record(Box<Logged>),
    Lost(u64),
}

impl Replay {
    fn push(&mut self, record: Logged) {
        if let Content::Abort(abort) = &record.content {
            self.abort.extend(&abort.from);
        }
        // Its number counts as used even if it is invalid.
        self.state.next_sequence = self.state.next_sequence.max(record.sequence.saturating_add(1));
        self.held.push(Held::Record(Box::new(record)));
    }

    /// Applies the held records, and returns them.
    fn flush(&mut self) -> Vec<Logged> {
        let mut applied = Vec::new();
        for held in self.held.drain(..) {
            match held {
                Held::Lost(len) => self.state.skip_lost(len),
                Held::Record(record) => {
                    let Place { segment, offset, .. } = record.place;
                    if !self.abort.iter().any(|(aborted, from)| *aborted == segment && *from <= offset) {
                        self.state.apply(&record);
                        applied.push(*record);
                    }
                }
            }
        }
        self.abort.clear();
        applied
    }
}

struct Reader<'a> {
    disk: &'a dyn Storage,
    replay: Replay,
    report: Report,
    /// Whether a part of the segment is unreadable.
    is_unreadable: bool,
}

impl Reader<'_> {
    /// Reads a segment. Returns the reference to its predecessor in its start, and the offset up to which it was
    /// certainly synced.
    fn read_segment(
        &mut self,
        number: u32,
        file: SegmentFile,
        from: u64,
    ) -> io::Result<(Option<(u32, u64)>, u64)> {
        let name = segment_file(number, file.marker);
        let mut scanner = Scanner::new(file.marker, from);
        self.is_unreadable = false;
        let (mut previous, mut confirmed) = (None, from);
        // All before was synced.
        let mut batches = u32::from(from > 0);
        let mut last: Option<(Sequence, bool)> = None;
        loop {
            match scanner.step() {
                Step::More(offset) => {
                    let octets = self.read_part(&name, offset)?;
                    scanner.feed(&octets);
                }
                Step::End => return Ok((previous, confirmed)),
                Step::Newer { version, .. } => self.report.newer = Some(version),
                Step::Damage { offset, len } => {
                    self.report.add(Damage {
                        file: name.clone(),
                        offset,
                        len,
                        is_at_end: offset + len >= file.len && !self.is_unreadable,
                    });
                    self.replay.held.push(Held::Lost(len));
                }
                Step::Record(offset, frame) => {
                    self.report.records += 1;
                    // A record's length fits.
                    let place = Place { segment: number, len: frame.len() as u32, offset };
                    let decoded = decode(file.marker, scanner.record())
                        .and_then(|(_, text, _)| Content::decode(frame.kind, text).ok());
                    let Some(content) = decoded else {
                        if Content::is_known(frame.kind) {
                            let len = u64::from(place.len);
                            self.report.add(Damage { file: name.clone(), offset, len, is_at_end: false });
                            self.replay.held.push(Held::Lost(len));
                            let next = &mut self.replay.state.next_sequence;
                            *next = frame.sequence.saturating_add(1).max(*next);
                        } else {
                            self.report.newer.get_or_insert(0);
                        }
                        continue;
                    };
                    let is_copy = frame.flags & COPY != 0;
                    if let Some((before, false)) = last
                        && !is_copy
                    {
                        self.report.records_missing +=
                            frame.sequence.saturating_sub(before.saturating_add(1));
                    }
                    last = Some((frame.sequence, is_copy));
                    if frame.flags & FIRST != 0 {
                        batches += 1;
                        if batches > 1 {
                            self.replay.flush();
                            confirmed = offset;
                        }
                    }
                    if let Content::Start(start) = &content {
                        previous = start.previous;
                    }
                    let body_len = frame.body_len();
                    self.replay.push(Logged { sequence: frame.sequence, is_copy, place, body_len, content });
                }
            }
        }
    }

    /// Reads a part of a file. Unreadable blocks are zeros.
    fn read_part(&mut self, name: &str, offset: u64) -> io::Result<Vec<u8>> {
        let of_file = self.disk.len(name)?.unwrap_or(0).saturating_sub(offset);
        let len = usize::try_from(of_file).unwrap_or(PART_OCTETS).min(PART_OCTETS);
        let read = if_readable(self.disk.read_at(name, offset, PART_OCTETS))?;
        if read.is_some() || len == 0 {
            return Ok(read.unwrap_or_default());
        }
        self.is_unreadable = true;
        let mut octets = vec![0; len];
        for (number, block) in octets.chunks_mut(BLOCK_OCTETS).enumerate() {
            let at = offset + (number * BLOCK_OCTETS) as u64;
            if let Some(read) = if_readable(self.disk.read_at(name, at, block.len()))? {
                block[..read.len()].copy_from_slice(&read);
            }
        }
        Ok(octets)
    }
}
