//! The history in the log: records stay in it until their segment is compacted.
//!
//! A gateway may be running. A segment that it removes meanwhile is not needed, as a later one has its needed records.

use std::collections::BTreeMap;
use std::io;

use super::content::{Content, Sequence};
use super::layout::{SEGMENTS, parse_segment, segment_file};
use super::record::{Marker, Scanner, Step, decode};
use super::start::{PART_OCTETS, if_readable};
use crate::store::Storage;

/// The most that is picked of one history.
pub const PICKED_MAX: usize = 100_000;

/// A record of the log.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its number.
    pub sequence: Sequence,
    /// Its content.
    pub content: &'a Content,
    /// Its body.
    pub body: &'a [u8],
}

/// The result of reading the log.
#[derive(Clone, Debug)]
pub struct History<T> {
    /// In the order of the log.
    pub picked: Vec<T>,
    /// Whether there was more than [`PICKED_MAX`], which is not picked.
    pub is_cut: bool,
}

/// Reads all of the log, and collects the results of `pick` for its records. The results for invalid records are
/// dropped. Damage loses only the damaged records; an unreadable part, the rest of its segment.
///
/// # Errors
///
/// An error of the storage.
pub fn history<T>(
    disk: &dyn Storage,
    mut pick: impl FnMut(Record<'_>) -> Option<T>,
) -> io::Result<History<T>> {
    let mut picked: Vec<((u32, u64), T)> = Vec::new();
    let mut aborted: Vec<(u32, u64)> = Vec::new();
    let mut is_cut = false;
    let mut read_to = 0;
    // Segments that are created meanwhile are read, too.
    while let Some((number, marker)) = next_segment(disk, read_to)? {
        read_to = number;
        each_record(disk, (number, marker), |offset, record| {
            if let Content::Abort(abort) = record.content {
                aborted.extend(&abort.from);
            }
            if let Some(of_record) = pick(record) {
                match picked.len() < PICKED_MAX {
                    true => picked.push(((number, offset), of_record)),
                    false => is_cut = true,
                }
            }
        })?;
    }
    let holds = |(segment, offset): (u32, u64)| {
        !aborted.iter().any(|(aborted, from)| *aborted == segment && *from <= offset)
    };
    let picked = picked.into_iter().filter(|(place, _)| holds(*place)).map(|(_, picked)| picked).collect();
    Ok(History { picked, is_cut })
}

/// The first segment behind the one of that number.
fn next_segment(disk: &dyn Storage, after: u32) -> io::Result<Option<(u32, Marker)>> {
    let segments: BTreeMap<_, _> =
        disk.list(SEGMENTS)?.iter().filter_map(|name| parse_segment(name)).collect();
    Ok(segments.into_iter().find(|(number, _)| *number > after))
}

/// Passes each record of a segment to `visit`, with its offset.
fn each_record(
    disk: &dyn Storage,
    (number, marker): (u32, Marker),
    mut visit: impl FnMut(u64, Record<'_>),
) -> io::Result<()> {
    let name = segment_file(number, marker);
    let mut scanner = Scanner::new(marker, 0);
    loop {
        match scanner.step() {
            Step::More(offset) => {
                let octets = if_readable(disk.read_at(&name, offset, PART_OCTETS))?;
                scanner.feed(&octets.unwrap_or_default());
            }
            Step::Record(offset, frame) => {
                let Some((_, text, body)) = decode(marker, scanner.record()) else { continue };
                if let Ok(content) = Content::decode(frame.kind, text) {
                    visit(offset, Record { sequence: frame.sequence, content: &content, body });
                }
            }
            Step::Newer { .. } | Step::Damage { .. } => {}
            Step::End => return Ok(()),
        }
    }
}
