//! The frame of a record, and the scanner that finds records in a segment, damaged or not.
//!
//! | octets | content |
//! | --- | --- |
//! | 0..8 | the segment's [`Marker`] |
//! | 8 | version of the format |
//! | 9 | kind |
//! | 10 | [`FIRST`], [`COPY`] |
//! | 11 | 0 |
//! | 12..16 | length of the text |
//! | 16..20 | length of the body |
//! | 20..28 | sequence number |
//! | 28..32 | CRC-32 of text and body |
//! | 32..36 | CRC-32 of the octets 0..32 |
//! | then | the text, and the body |
//!
//! Numbers are little-endian. These 36 octets have the same form in every version, so that a program can distinguish a
//! newer record from a damaged one.
//!
//! After damage, the next record begins at the next marker. A marker is random for each segment and part of its file's
//! name: a mail whose octets look like a record is never taken for one, as its sender would have to guess the marker;
//! nor are octets of another segment that a file system left behind.

use std::ops::Range;

/// The version of the format that this program writes.
pub const VERSION: u8 = 1;
/// Octets before the text.
pub const FRAME_LEN: usize = 36;
/// The longest text, in octets.
pub const TEXT_OCTETS_MAX: usize = 1 << 20;
/// The longest body in a record, in octets. A longer one is a file of its own.
pub const BODY_OCTETS_MAX: usize = 256 << 10;
/// The longest record, in octets.
pub const RECORD_OCTETS_MAX: usize = FRAME_LEN + TEXT_OCTETS_MAX + BODY_OCTETS_MAX;

/// Set in the first record of a batch: all before it in the segment was synced.
pub const FIRST: u8 = 1;
/// Set in a record that repeats a fact: it replaces the record with its number.
pub const COPY: u8 = 2;

/// The first octets of each record of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marker(pub [u8; 8]);

/// The head of a record, before its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The version of the format.
    pub version: u8,
    /// The kind of the record's content.
    pub kind: u8,
    /// [`FIRST`] and [`COPY`].
    pub flags: u8,
    /// The sequence number.
    pub sequence: u64,
    text_len: u32,
    body_len: u32,
    checksum: u32,
}

impl Frame {
    /// The head at the beginning of `octets`, if its checksum is right.
    fn parse(marker: Marker, octets: &[u8]) -> Option<Self> {
        let octets = octets.first_chunk::<FRAME_LEN>()?;
        if octets[..8] != marker.0 || number(octets, 32) != crc32fast::hash(&octets[..32]) {
            return None;
        }
        let sequence = u64::from(number(octets, 20)) | u64::from(number(octets, 24)) << 32;
        Some(Self {
            version: octets[8],
            kind: octets[9],
            flags: octets[10],
            sequence,
            text_len: number(octets, 12),
            body_len: number(octets, 16),
            checksum: number(octets, 28),
        })
    }

    /// The length of the whole record.
    #[expect(clippy::len_without_is_empty, reason = "no record is empty")]
    pub fn len(&self) -> usize {
        FRAME_LEN + self.text_len as usize + self.body_len as usize
    }

    /// The length of the body.
    pub fn body_len(&self) -> u32 {
        self.body_len
    }

    fn is_possible(&self) -> bool {
        self.text_len as usize <= TEXT_OCTETS_MAX && self.body_len as usize <= BODY_OCTETS_MAX
    }

    fn text(&self) -> Range<usize> {
        FRAME_LEN..FRAME_LEN + self.text_len as usize
    }
}

fn number(octets: &[u8; FRAME_LEN], at: usize) -> u32 {
    u32::from_le_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
}

/// Encodes a record of a segment with `marker`.
///
/// `text` is at most [`TEXT_OCTETS_MAX`] long and `body` at most [`BODY_OCTETS_MAX`]; longer ones would be read as
/// damage.
pub fn encode(marker: Marker, kind: u8, flags: u8, sequence: u64, text: &[u8], body: &[u8]) -> Vec<u8> {
    debug_assert!(text.len() <= TEXT_OCTETS_MAX && body.len() <= BODY_OCTETS_MAX);
    let mut octets = Vec::with_capacity(FRAME_LEN + text.len() + body.len());
    octets.extend_from_slice(&marker.0);
    octets.extend_from_slice(&[VERSION, kind, flags, 0]);
    let len = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes();
    octets.extend_from_slice(&len(text));
    octets.extend_from_slice(&len(body));
    octets.extend_from_slice(&sequence.to_le_bytes());
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(text);
    checksum.update(body);
    octets.extend_from_slice(&checksum.finalize().to_le_bytes());
    let of_frame = crc32fast::hash(&octets);
    octets.extend_from_slice(&of_frame.to_le_bytes());
    octets.extend_from_slice(text);
    octets.extend_from_slice(body);
    octets
}

/// Decodes `octets`, a whole record: its head, its text and its body. `None` if they are anything else.
pub fn decode(marker: Marker, octets: &[u8]) -> Option<(Frame, &[u8], &[u8])> {
    let frame = Frame::parse(marker, octets)?;
    let is_whole = frame.version == VERSION && frame.is_possible() && frame.len() == octets.len();
    if !is_whole || crc32fast::hash(&octets[FRAME_LEN..]) != frame.checksum {
        return None;
    }
    Some((frame, &octets[frame.text()], &octets[frame.text().end..]))
}

/// Whether `octets` begin like a record of a segment with `marker`.
pub(super) fn is_frame(marker: Marker, octets: &[u8]) -> bool {
    Frame::parse(marker, octets).is_some()
}

/// An event of a [`Scanner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A record, at this offset of the file. Its octets are [`Scanner::record`] until the next step.
    Record(u64, Frame),
    /// A whole frame of a newer version of the format.
    Newer {
        /// The offset in the file.
        offset: u64,
        /// Its version.
        version: u8,
    },
    /// Octets that are no record.
    Damage {
        /// The offset in the file.
        offset: u64,
        /// How many there are.
        len: u64,
    },
    /// The file is to be read from this offset on and [fed](Scanner::feed).
    More(u64),
    /// The file is read.
    End,
}

/// Finds the records in a file that is fed to it in parts. It holds at most two parts and one record.
#[derive(Debug)]
pub struct Scanner {
    marker: Marker,
    buffer: Vec<u8>,
    /// The offset of the buffer in the file.
    base: u64,
    at: usize,
    damaged_from: Option<u64>,
    record: Range<usize>,
    is_all: bool,
}

impl Scanner {
    /// Scans from `offset` on a file whose records begin with `marker`.
    pub fn new(marker: Marker, offset: u64) -> Self {
        Self {
            marker,
            buffer: Vec::new(),
            base: offset,
            at: 0,
            damaged_from: None,
            record: 0..0,
            is_all: false,
        }
    }

    /// Adds the file's octets from the position of the last [`Step::More`] on; none at the end of the file.
    pub fn feed(&mut self, octets: &[u8]) {
        self.is_all = octets.is_empty();
        self.buffer.drain(..self.at);
        // An offset in memory fits.
        self.base += self.at as u64;
        self.at = 0;
        self.record = 0..0;
        self.buffer.extend_from_slice(octets);
    }

    /// The octets of the last record: the whole, as [`decode`] accepts it.
    pub fn record(&self) -> &[u8] {
        &self.buffer[self.record.clone()]
    }

    /// The next event.
    pub fn step(&mut self) -> Step {
        loop {
            let rest = &self.buffer[self.at..];
            if rest.len() < FRAME_LEN && !self.is_all {
                return self.more();
            }
            if rest.is_empty() {
                return self.damage().unwrap_or(Step::End);
            }
            match Frame::parse(self.marker, rest) {
                Some(frame) if frame.version > VERSION => {
                    if let Some(damage) = self.damage() {
                        return damage;
                    }
                    let offset = self.offset();
                    self.at += FRAME_LEN;
                    return Step::Newer { offset, version: frame.version };
                }
                Some(frame) if frame.version == VERSION && frame.is_possible() => {
                    if rest.len() < frame.len() && !self.is_all {
                        return self.more();
                    }
                    if rest.get(..frame.len()).and_then(|octets| decode(self.marker, octets)).is_some() {
                        if let Some(damage) = self.damage() {
                            return damage;
                        }
                        let offset = self.offset();
                        self.record = self.at..self.at + frame.len();
                        self.at += frame.len();
                        return Step::Record(offset, frame);
                    }
                    self.skip();
                }
                Some(_) | None => self.skip(),
            }
        }
    }

    fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    fn more(&self) -> Step {
        Step::More(self.base + self.buffer.len() as u64)
    }

    /// The skipped octets, if there are any.
    fn damage(&mut self) -> Option<Step> {
        let offset = self.damaged_from.take()?;
        Some(Step::Damage { offset, len: self.offset() - offset })
    }

    /// Skips octets that are no record, up to a possible beginning of one.
    fn skip(&mut self) {
        self.damaged_from.get_or_insert(self.base + self.at as u64);
        let rest = &self.buffer[self.at..];
        let first = self.marker.0[0];
        let begins = |at: usize| {
            let octets = &rest[at..rest.len().min(at + self.marker.0.len())];
            self.marker.0.starts_with(octets)
        };
        let mut next = 1;
        while next < rest.len() {
            let Some(found) = rest[next..].iter().position(|octet| *octet == first) else {
                next = rest.len();
                break;
            };
            next += found;
            if begins(next) {
                break;
            }
            next += 1;
        }
        self.at += next.min(rest.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARKER: Marker = Marker(*b"\x11\x22\x33\x44\x55\x66\x77\x88");

    /// Everything that is found in `file`, fed in parts of `part` octets.
    fn scan(file: &[u8], part: usize) -> Vec<(Step, Vec<u8>)> {
        let mut scanner = Scanner::new(MARKER, 0);
        let mut found = Vec::new();
        loop {
            match scanner.step() {
                Step::More(offset) => {
                    let from = usize::try_from(offset).unwrap();
                    scanner.feed(&file[from..file.len().min(from + part)]);
                }
                Step::End => return found,
                step => {
                    let octets = if matches!(step, Step::Record(..)) { scanner.record() } else { &[] };
                    found.push((step, octets.to_vec()));
                }
            }
        }
    }

    fn records(file: &[u8]) -> Vec<u64> {
        let sequence = |(step, _): (Step, Vec<u8>)| match step {
            Step::Record(_, frame) => Some(frame.sequence),
            _ => None,
        };
        scan(file, 1000).into_iter().filter_map(sequence).collect()
    }

    fn three() -> Vec<Vec<u8>> {
        let record = |number: u64, body: &[u8]| encode(MARKER, 2, FIRST, number, b"a line\n", body);
        vec![record(1, b"first"), record(2, b""), record(3, &[&[0x11; 300][..], &[0]].concat())]
    }

    #[test]
    fn records_are_found_in_parts_of_any_size() {
        let file = three().concat();
        for part in 1..file.len() + 1 {
            let found = scan(&file, part);
            let octets: Vec<_> = found.iter().map(|(_, octets)| octets.clone()).collect();
            assert_eq!(octets, three(), "{part}");
        }
        let first = &three()[0];
        let (frame, text, body) = decode(MARKER, first).unwrap();
        assert_eq!((frame.kind, frame.flags, frame.sequence), (2, FIRST, 1));
        assert_eq!((text, body), (&b"a line\n"[..], &b"first"[..]));
    }

    #[test]
    fn damage_costs_the_records_that_it_touches() {
        let lens: Vec<_> = three().iter().map(Vec::len).collect();
        let file = three().concat();
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x40;
            let touched = if at < lens[0] { 1 } else { 2 + u64::from(at >= lens[0] + lens[1]) };
            let expected: Vec<_> = (1..=3).filter(|number| *number != touched).collect();
            assert_eq!(records(&damaged), expected, "octet {at}");
            let from = lens.iter().take(usize::try_from(touched).unwrap() - 1).sum::<usize>();
            let damage = scan(&damaged, 64)
                .into_iter()
                .find(|(step, _)| matches!(step, Step::Damage { .. }))
                .unwrap()
                .0;
            let len = lens[usize::try_from(touched).unwrap() - 1];
            assert_eq!(damage, Step::Damage { offset: from as u64, len: len as u64 }, "octet {at}");
        }
    }

    #[test]
    fn a_torn_record_with_another_behind_it_costs_only_itself() {
        let [first, _, third] = &three()[..] else { unreachable!() };
        for cut in 1..third.len() {
            let file = [&third[..cut], first].concat();
            assert_eq!(records(&file), [1], "{cut}");
        }
        assert_eq!(records(&[first.as_slice(), &[0; 100]].concat()), [1]);
    }

    #[test]
    fn a_record_within_a_body_is_found_only_by_who_knows_the_marker() {
        let forged = encode(Marker(*b"guessed!"), 2, FIRST, 9, b"", b"");
        let mut file = encode(MARKER, 2, FIRST, 1, b"", &forged);
        file.extend(encode(MARKER, 2, FIRST, 2, b"", b""));
        file[40] ^= 1;
        assert_eq!(records(&file), [2]);
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut newer = three()[1].clone();
        newer[8] = VERSION + 1;
        let of_frame = crc32fast::hash(&newer[..32]).to_le_bytes();
        newer[32..36].copy_from_slice(&of_frame);
        let file = [&three()[0], &newer, &three()[2]].map(Vec::as_slice).concat();
        let steps: Vec<_> = scan(&file, 50).into_iter().map(|(step, _)| step).collect();
        let offset = three()[0].len() as u64;
        assert!(steps.contains(&Step::Newer { offset, version: VERSION + 1 }), "{steps:?}");
        assert_eq!(records(&file), [1, 3]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::cases(256)))]

        #[test]
        fn any_octets_are_scanned_and_all_of_them_are_accounted_for(
            octets in proptest::collection::vec(prop_oneof![Just(0x11_u8), Just(0x22), any::<u8>()], 0..600),
            cut in 0_usize..500,
            part in 1_usize..700,
        ) {
            let good = three().concat();
            let file = [&good[..cut.min(good.len())], &octets, &good].concat();
            let mut at = 0;
            for (step, found) in scan(&file, part) {
                match step {
                    Step::Record(offset, frame) => {
                        prop_assert_eq!(offset, at);
                        prop_assert!(decode(MARKER, &found).is_some());
                        at += frame.len() as u64;
                    }
                    Step::Damage { offset, len } => {
                        prop_assert_eq!(offset, at);
                        at += len;
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            prop_assert_eq!(at, file.len() as u64);
            prop_assert!(records(&file).ends_with(&[1, 2, 3]));
        }
    }
}
