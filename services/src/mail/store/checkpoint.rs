//! A checkpoint: the state of all records before a position of the log, so that a start need not read them.
//!
//! It consists of records in a file of its own: a head with the position, then the state in parts, then an end with
//! their number. The state changes while parts are written, so a later part can be newer than an earlier one. As
//! records assert facts, reading those after the position brings all to the same state.
//!
//! A checkpoint with any damage is not used.

use std::io;
use std::ops::Bound::{Excluded, Unbounded};

use super::codec::{self, read_progress, write_progress};
use super::content::{BodyName, Content, Flags, FolderId, MailboxId, QueueId, Sequence, Uid};
use super::layout::CHECKPOINT;
use super::mailbox::{Entry, Place};
use super::record::{self, Marker, Scanner, Step, decode};
use super::start::{PART_OCTETS, if_readable};
use super::state::{Fact, LargeBody, QueueEntry, State};
use super::text::{Lines, Malformed, Values, lines};
use crate::store::Storage;

const MARKER: Marker = Marker(*b"\xf1GPCHECK");
/// Entries of a mailbox in one part.
const ENTRIES_MAX: usize = 4000;
/// Lines of text in one part.
const LINES_MAX: usize = 500;
/// The size of a part's text, in octets.
const TEXT_OCTETS: usize = 256 << 10;
const ENTRY_LEN: usize = 64;
/// The length of an entry by versions that did not write since when its message is here.
const FORMER_ENTRY_LEN: usize = 60;

const HEAD: u8 = 1;
const MAILBOX: u8 = 2;
const FORMER_ENTRIES: u8 = 3;
const QUEUE: u8 = 4;
const SEEN: u8 = 5;
const BODIES: u8 = 6;
const SEGMENTS: u8 = 7;
const GHOSTS: u8 = 8;
const END: u8 = 9;
const ENTRIES: u8 = 10;

/// The next part of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Next {
    Head,
    Mailbox(Option<MailboxId>),
    Entries(MailboxId, Uid),
    Queue(Option<QueueId>),
    Seen(Option<(String, String)>),
    Bodies(Option<Sequence>),
    Kept(Option<BodyName>),
    Segments,
    Ghosts(u32, Option<Fact>),
    End,
}

/// A checkpoint in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Writer {
    /// The segment and the offset in it up to which the log is in it.
    pub position: (u32, u64),
    next: Option<Next>,
    parts: Sequence,
}

impl Writer {
    pub fn new(position: (u32, u64)) -> Self {
        Self { position, next: Some(Next::Head), parts: 0 }
    }

    /// The next part; `None` after the last.
    pub fn part(&mut self, state: &State) -> Option<Vec<u8>> {
        let mut text = Lines::default();
        let mut body = Vec::new();
        let (kind, next) = match self.next.take()? {
            Next::Head => {
                text.line("position").number(self.position.0).number(self.position.1);
                let line = text.line("next").number(state.next_sequence).number(state.next_mailbox);
                _ = line.number(state.last_uid_validity);
                (HEAD, Next::Mailbox(None))
            }
            Next::Mailbox(after) => {
                let range = (after.map_or(Unbounded, Excluded), Unbounded);
                match state.mailboxes.range(range).next() {
                    Some((id, mailbox)) => {
                        let (_, octets) = Content::Mailbox(mailbox.state.clone()).encode();
                        self.next = Some(Next::Entries(*id, 0));
                        return Some(self.encode(MAILBOX, &octets, &[]));
                    }
                    None => (QUEUE, self.queue(state, None, &mut text)),
                }
            }
            Next::Entries(id, from) => {
                let entries = state.mailboxes.get(&id).map_or(&[][..], |mailbox| mailbox.entries());
                let start = entries.partition_point(|entry| entry.uid < from);
                let part = &entries[start..entries.len().min(start + ENTRIES_MAX)];
                part.iter().for_each(|entry| write_entry(&mut body, entry));
                _ = text.line("entries").number(id.0);
                let is_last = start + part.len() == entries.len();
                let next_uid = part.last().map_or(Uid::MAX, |entry| entry.uid.saturating_add(1));
                (ENTRIES, if is_last { Next::Mailbox(Some(id)) } else { Next::Entries(id, next_uid) })
            }
            Next::Queue(after) => (QUEUE, self.queue(state, after, &mut text)),
            Next::Seen(after) => {
                let range = (after.map_or(Unbounded, Excluded), Unbounded);
                let mut last = None;
                for ((account, uidl), segment) in state.seen.range(range).take(LINES_MAX) {
                    _ = text.line("seen").octets(account).octets(uidl).number(segment);
                    last = Some((account.clone(), uidl.clone()));
                    if text.len() >= TEXT_OCTETS {
                        break;
                    }
                }
                (SEEN, if last.is_some() { Next::Seen(last) } else { Next::Bodies(None) })
            }
            Next::Bodies(after) => {
                let mut last = None;
                let range = (after.map_or(Unbounded, Excluded), Unbounded);
                for (sequence, body) in state.bodies.range(range).take(LINES_MAX) {
                    text.line("body").number(sequence).number(body.name.0);
                    last = Some(*sequence);
                }
                (BODIES, if last.is_some() { Next::Bodies(last) } else { Next::Kept(None) })
            }
            Next::Kept(after) => {
                let mut last = None;
                let range = (after.map_or(Unbounded, Excluded), Unbounded);
                for name in state.known_damage.kept.range(range).take(LINES_MAX) {
                    _ = text.line("kept").number(name.0);
                    last = Some(*name);
                }
                (BODIES, if last.is_some() { Next::Kept(last) } else { Next::Segments })
            }
            Next::Segments => {
                for (number, segment) in &state.segments {
                    let mut line = text.line("segment").number(number);
                    for other in &segment.aborts_in {
                        line = line.number(other);
                    }
                    drop(line);
                    if segment.synced > 0 {
                        _ = text.line("synced").number(number).number(segment.synced);
                    }
                }
                state.known_damage.damaged.iter().for_each(|number| _ = text.line("damaged").number(number));
                state.known_damage.missing.iter().for_each(|number| _ = text.line("missing").number(number));
                (SEGMENTS, Next::Ghosts(0, None))
            }
            Next::Ghosts(number, after) => {
                let range = (after.map_or(Unbounded, Excluded), Unbounded);
                let mut last = None;
                if let Some(segment) = state.segments.get(&number) {
                    for fact in segment.ghosts.range(range).take(LINES_MAX) {
                        write_fact(&mut text, number, fact);
                        last = Some(fact.clone());
                        if text.len() >= TEXT_OCTETS {
                            break;
                        }
                    }
                }
                let other = state.segments.range((Excluded(number), Unbounded)).next();
                let next = match (last, other) {
                    (Some(fact), _) => Next::Ghosts(number, Some(fact)),
                    (None, Some((number, _))) => Next::Ghosts(*number, None),
                    (None, None) => Next::End,
                };
                (GHOSTS, next)
            }
            Next::End => return Some(self.encode(END, &[], &[])),
        };
        self.next = Some(next);
        Some(self.encode(kind, &text.into_octets(), &body))
    }

    fn queue(&self, state: &State, after: Option<QueueId>, text: &mut Lines) -> Next {
        let range = (after.map_or(Unbounded, Excluded), Unbounded);
        let mut last = None;
        for (id, entry) in state.queue.range(range).take(LINES_MAX) {
            let line = text.line("queued").number(id.message).number(id.recipient);
            let Place { segment, len, offset } = entry.place;
            let line = line.number(segment).number(len).number(offset).number(entry.share);
            write_progress(line.octets(&entry.recipient).octets(&entry.options), &entry.progress);
            last = Some(*id);
            if text.len() >= TEXT_OCTETS {
                break;
            }
        }
        if last.is_some() { Next::Queue(last) } else { Next::Seen(None) }
    }

    fn encode(&mut self, kind: u8, text: &[u8], body: &[u8]) -> Vec<u8> {
        self.parts += 1;
        record::encode(MARKER, kind, 0, self.parts, text, body)
    }
}

/// About how many octets a checkpoint of `state` has.
pub(super) fn expected_len(state: &State) -> u64 {
    // The most octets of one line or record, except for long names, with a margin.
    const OF_MAILBOX: usize = 512;
    const OF_QUEUE_ENTRY: usize = 512;
    const OF_LINE: usize = 128;
    let entries: usize = state.mailboxes.values().map(|mailbox| mailbox.entries().len()).sum();
    let lines = state.seen.len()
        + state.bodies.len()
        + state.known_damage.kept.len()
        + 2 * state.segments.len()
        + state.ghosts_len();
    // A length in memory fits.
    (entries * ENTRY_LEN
        + state.mailboxes.len() * OF_MAILBOX
        + state.queue.len() * OF_QUEUE_ENTRY
        + lines * OF_LINE) as u64
}

fn write_entry(octets: &mut Vec<u8>, entry: &Entry) {
    octets.extend(entry.uid.to_le_bytes());
    octets.extend(entry.flags.0.to_le_bytes());
    octets.extend(entry.folder.0.to_le_bytes());
    for number in [entry.message, entry.modseq, entry.time, entry.size, entry.place.offset] {
        octets.extend(number.to_le_bytes());
    }
    for number in [entry.place.segment, entry.place.len, entry.share, entry.arrived] {
        octets.extend(number.to_le_bytes());
    }
}

/// The entry that these octets are: [`ENTRY_LEN`], or [`FORMER_ENTRY_LEN`].
fn read_entry(octets: &[u8]) -> Entry {
    let mut rest = octets;
    let mut number = |len: usize| {
        let (head, tail) = rest.split_at(len);
        rest = tail;
        let mut whole = [0; 8];
        whole[..len].copy_from_slice(head);
        u64::from_le_bytes(whole)
    };
    // The octets are as many as each number has.
    let (uid, flags, folder) = (number(4) as u32, Flags(number(2) as u16), FolderId(number(2) as u16));
    let [message, modseq, time, size, offset] = [number(8), number(8), number(8), number(8), number(8)];
    let [segment, len, share] = [number(4) as u32, number(4) as u32, number(4) as u32];
    let is_former = octets.len() == FORMER_ENTRY_LEN;
    let arrived = if is_former { u32::try_from(time).unwrap_or(u32::MAX) } else { number(4) as u32 };
    let place = Place { segment, len, offset };
    Entry { uid, flags, folder, message, modseq, time, size, place, share, arrived }
}

fn write_fact(text: &mut Lines, segment: u32, fact: &Fact) {
    match fact {
        Fact::Delivery(mailbox, uid) => {
            _ = text.line("delivery").number(segment).number(mailbox.0).number(uid);
        }
        Fact::Queued(id) => {
            _ = text.line("queued").number(segment).number(id.message).number(id.recipient);
        }
        Fact::Seen(account, uidl) => {
            _ = text.line("seen").number(segment).octets(account).octets(uidl);
        }
    }
}

/// Loads the checkpoint: the state, and the position in the log up to which it goes.
///
/// `Err(None)` means that there is none, or an unusable one.
///
/// # Errors
///
/// An error of the storage.
pub(super) fn load(disk: &dyn Storage) -> Result<(State, (u32, u64)), Option<io::Error>> {
    let mut scanner = Scanner::new(MARKER, 0);
    let mut reader = Reader::default();
    loop {
        match scanner.step() {
            Step::More(offset) => {
                let part = if_readable(disk.read_at(CHECKPOINT, offset, PART_OCTETS)).map_err(Some)?;
                scanner.feed(&part.unwrap_or_default());
            }
            Step::Record(_, frame) => {
                let (_, text, body) = decode(MARKER, scanner.record()).ok_or(None)?;
                reader.parts += 1;
                if reader.is_over || frame.sequence != reader.parts {
                    return Err(None);
                }
                reader.read(frame.kind, text, body).map_err(|Malformed| None)?;
            }
            Step::End => break,
            Step::Damage { .. } | Step::Newer { .. } => return Err(None),
        }
    }
    let Reader { mut state, position, is_over: true, .. } = reader else { return Err(None) };
    state.recount();
    Ok((state, position.ok_or(None)?))
}

#[derive(Default)]
struct Reader {
    state: State,
    position: Option<(u32, u64)>,
    parts: Sequence,
    is_over: bool,
}

impl Reader {
    fn read(&mut self, kind: u8, text: &[u8], body: &[u8]) -> Result<(), Malformed> {
        if kind == MAILBOX {
            // As the log has it.
            let Content::Mailbox(mailbox) = Content::decode(codec::MAILBOX, text)? else {
                return Err(Malformed);
            };
            self.state.set_mailbox(&mailbox);
            return Ok(());
        }
        self.is_over = kind == END;
        for line in lines(text) {
            let (key, mut values) = line?;
            self.read_line(kind, key, &mut values, body)?;
        }
        Ok(())
    }

    fn read_line(
        &mut self,
        kind: u8,
        key: &str,
        values: &mut Values<'_>,
        body: &[u8],
    ) -> Result<(), Malformed> {
        let state = &mut self.state;
        match (kind, key) {
            (HEAD, "position") => self.position = Some((values.number()?, values.number()?)),
            (HEAD, "next") => {
                state.next_sequence = values.number()?;
                state.next_mailbox = values.number()?;
                state.last_uid_validity = values.number()?;
            }
            (ENTRIES | FORMER_ENTRIES, "entries") => {
                let mailbox = state.mailboxes.get_mut(&MailboxId(values.number()?)).ok_or(Malformed)?;
                let len = if kind == ENTRIES { ENTRY_LEN } else { FORMER_ENTRY_LEN };
                let mut entries = body.chunks_exact(len);
                entries.by_ref().for_each(|entry| _ = mailbox.insert(read_entry(entry)));
                if !entries.remainder().is_empty() {
                    return Err(Malformed);
                }
            }
            (QUEUE, "queued") => {
                let id = QueueId { message: values.number()?, recipient: values.number()? };
                let (segment, len, offset) = (values.number()?, values.number()?, values.number()?);
                let share = values.number()?;
                let (recipient, options) = (values.text()?, values.text()?);
                let progress = read_progress(values)?;
                let place = Place { segment, len, offset };
                state.queue.insert(id, QueueEntry { recipient, options, progress, place, share });
            }
            (SEEN, "seen") => _ = state.seen.insert((values.text()?, values.text()?), values.number()?),
            (BODIES, "body") => {
                let (sequence, name) = (values.number()?, BodyName(values.number()?));
                state.bodies.insert(sequence, LargeBody { name, users: 0 });
            }
            (BODIES, "kept") => _ = state.known_damage.kept.insert(BodyName(values.number()?)),
            (SEGMENTS, "synced") => state.confirm(values.number()?, values.number()?),
            (SEGMENTS, "damaged") => _ = state.known_damage.damaged.insert(values.number()?),
            (SEGMENTS, "missing") => _ = state.known_damage.missing.insert(values.number()?),
            (SEGMENTS, "segment") => {
                let segment = state.segments.entry(values.number()?).or_default();
                while !values.is_empty() {
                    segment.aborts_in.push(values.number()?);
                }
            }
            (GHOSTS, _) => {
                let segment = values.number()?;
                let fact = match key {
                    "delivery" => Fact::Delivery(MailboxId(values.number()?), values.number()?),
                    "queued" => {
                        Fact::Queued(QueueId { message: values.number()?, recipient: values.number()? })
                    }
                    "seen" => Fact::Seen(values.text()?, values.text()?),
                    _ => return Err(Malformed),
                };
                state.add_ghost(segment, fact);
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written_and_by_earlier_versions() {
        let place = Place { segment: 9, len: 10, offset: 8 };
        let (flags, folder) = (Flags(2), FolderId(3));
        let entry = Entry {
            uid: 1,
            flags,
            folder,
            message: 4,
            modseq: 5,
            time: 6,
            size: 7,
            place,
            share: 11,
            arrived: 12,
        };
        let mut octets = Vec::new();
        write_entry(&mut octets, &entry);
        assert_eq!((octets.len(), read_entry(&octets)), (ENTRY_LEN, entry));
        assert_eq!(read_entry(&octets[..FORMER_ENTRY_LEN]), Entry { arrived: 6, ..entry });
    }
}
