//! The damage found while loading the store.

use std::collections::BTreeSet;

use super::content::Sequence;
use super::layout::segment_number;

/// The most damages that are listed one by one.
pub const DAMAGES_MAX: usize = 1000;

/// The damage found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Octets that are no valid records, by segment and offset; at most [`DAMAGES_MAX`].
    pub damages: Vec<Damage>,
    /// Damages that are not in the list.
    pub more_damages: u64,
    /// Missing record numbers between two others of a segment.
    pub records_missing: u64,
    /// The version of records from a newer program; 0 if it is the same and only their kind is newer.
    pub newer: Option<u8>,
    /// Large bodies that are missing or shorter than they were, by the messages.
    pub bodies_missing: Vec<Sequence>,
    /// The records that were read.
    pub records: u64,
    /// Whether there is a checkpoint that cannot be used, or that does not fit the log.
    pub is_checkpoint_damaged: bool,
    /// Segments that are missing, with messages that were in them.
    pub segments_missing: Vec<u32>,
    /// Segments that were not read, as the checkpoint has their content, and that it says are damaged.
    pub segments_damaged: Vec<u32>,
    /// Files that are not read, as another one has the number of their segment.
    pub segments_twice: Vec<String>,
    /// Where the damages are that are not in the list.
    pub(super) more_in: BTreeSet<u32>,
}

/// A stretch of a segment that cannot be read as records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// The offset.
    pub offset: u64,
    /// How many octets; those that are missing at the end of the file included.
    pub len: u64,
    /// Whether it is at the end of the file, as after a torn append, and not known to have been synced.
    pub is_at_end: bool,
}

impl Report {
    /// Whether records may be lost that were durable: not only the end of an append that was cut short.
    pub fn is_damaged(&self) -> bool {
        self.more_damages > 0
            || self.damages.iter().any(|damage| !damage.is_at_end)
            || !self.bodies_missing.is_empty()
            || !self.segments_missing.is_empty()
            || !self.segments_damaged.is_empty()
            || !self.segments_twice.is_empty()
    }

    /// The segments in which something is damaged, but for appends that were cut short.
    pub(super) fn damaged(&self) -> impl Iterator<Item = u32> {
        let listed = self.damages.iter().filter(|damage| !damage.is_at_end);
        let listed = listed.filter_map(|damage| segment_number(&damage.file));
        listed.chain(self.more_in.iter().copied())
    }

    /// Of the file the first `len` octets were synced.
    pub(super) fn confirm(&mut self, file: &str, len: u64) {
        for damage in &mut self.damages {
            damage.is_at_end &= damage.file != file || damage.offset >= len;
        }
    }

    /// Adds damage from a checkpoint, unless it was found in the log, too.
    pub(super) fn add_cut(&mut self, cut: Damage) {
        let is_it = |damage: &Damage| (&damage.file, damage.offset) == (&cut.file, cut.offset);
        if !self.damages.iter().any(is_it) {
            self.add(cut);
        }
    }

    pub(super) fn add(&mut self, damage: Damage) {
        if self.damages.len() < DAMAGES_MAX {
            self.damages.push(damage);
        } else {
            self.more_damages += 1;
            self.more_in.extend(segment_number(&damage.file));
        }
    }
}
