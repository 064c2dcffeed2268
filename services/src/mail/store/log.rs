//! Batches of records, and the segments that they are appended to.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use super::content::{Content, Sequence, Start};
use super::layout::segment_file;
use super::mailbox::Place;
use super::record::{self, COPY, FIRST, Marker};

/// A record, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Logged {
    pub sequence: Sequence,
    pub is_copy: bool,
    pub place: Place,
    pub body_len: u32,
    pub content: Content,
}

/// A segment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentFile {
    pub marker: Marker,
    /// The octets that are known to be synced; for a loaded segment all that it holds.
    pub len: u64,
}

/// The segments, the last of which accepts records until it is closed.
#[derive(Debug)]
pub(super) struct Segments {
    pub files: BTreeMap<u32, SegmentFile>,
    /// The one that accepts records.
    open: Option<u32>,
    next_number: u32,
}

impl Segments {
    /// Segments of before the start. They take no more records. New ones have numbers from `number_min` on, at least.
    pub fn new(files: BTreeMap<u32, SegmentFile>, number_min: u32) -> Self {
        let next_number = files.keys().next_back().map_or(1, |last| last.saturating_add(1)).max(number_min);
        Self { files, open: None, next_number }
    }

    /// The file of a segment.
    pub fn file(&self, number: u32) -> Option<String> {
        self.files.get(&number).map(|file| segment_file(number, file.marker))
    }

    /// The segment that accepts records, if it holds any.
    pub fn open(&self) -> Option<u32> {
        self.open.filter(|number| self.files.get(number).is_some_and(|file| file.len > 0))
    }

    /// Up to where everything is durable.
    pub fn end(&self) -> (u32, u64) {
        let open = self.open.and_then(|number| Some((number, self.files.get(&number)?.len)));
        open.unwrap_or((self.next_number, 0))
    }

    /// Closes the open segment.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Begins a batch: in the open segment unless that holds `octets_max`, else in a new one.
    pub fn begin_batch(&mut self, octets_max: u64, rng: &mut StdRng) -> Batch {
        let open = self.open.and_then(|number| Some((number, *self.files.get(&number)?)));
        if let Some((segment, file)) = open
            && file.len < octets_max
        {
            return Batch::new(segment, file.marker, file.len, None);
        }
        let previous = self.files.iter().next_back().map(|(number, file)| (*number, file.len));
        let mut marker = Marker::default();
        rng.fill_bytes(&mut marker.0);
        let segment = self.next_number;
        self.next_number = segment.saturating_add(1);
        self.open = Some(segment);
        self.files.insert(segment, SegmentFile { marker, len: 0 });
        Batch::new(segment, marker, 0, Some(Start { previous }))
    }

    /// A batch is durable.
    pub fn extend(&mut self, batch: &Batch) {
        if let Some(file) = self.files.get_mut(&batch.segment) {
            file.len += batch.len();
        }
    }
}

/// A name for a file that is to be made.
pub(super) fn random_name(rng: &mut StdRng) -> u64 {
    rng.random()
}

/// Records that are appended in one go and synced together.
#[derive(Debug)]
pub(super) struct Batch {
    pub segment: u32,
    /// The content of a new segment's first record.
    pub start: Option<Start>,
    pub octets: Vec<u8>,
    pub records: Vec<Logged>,
    marker: Marker,
    offset: u64,
    len: u64,
}

impl Batch {
    fn new(segment: u32, marker: Marker, offset: u64, start: Option<Start>) -> Self {
        Self { segment, start, octets: Vec::new(), records: Vec::new(), marker, offset, len: 0 }
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The octets of all its records.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Adds a record.
    pub fn add(&mut self, sequence: Sequence, is_copy: bool, content: Content, body: &[u8]) {
        let (kind, text) = content.encode();
        let first = if self.records.is_empty() { FIRST } else { 0 };
        let copy = if is_copy { COPY } else { 0 };
        let octets = record::encode(self.marker, kind, first | copy, sequence, &text, body);
        // Lengths are bounded by the longest record.
        let (len, body_len) = (octets.len() as u32, body.len() as u32);
        let offset = self.offset + self.len;
        self.len += u64::from(len);
        let place = Place { segment: self.segment, len, offset };
        self.records.push(Logged { sequence, is_copy, place, body_len, content });
        self.octets.extend(octets);
    }
}

/// Whether a record with `content` is short enough.
pub(super) fn fits(content: &Content, body: &[u8]) -> bool {
    content.encode().1.len() <= record::TEXT_OCTETS_MAX && body.len() <= record::BODY_OCTETS_MAX
}
