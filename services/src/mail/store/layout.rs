//! The files of the store.
//!
//! ```text
//! mail/segments/00000001-9f86d081884c7d65   records, in the order of the numbers; behind the number the marker
//! mail/bodies/2cf24dba5fb0a30e              a body that is too large for a record
//! mail/checkpoint                           what the records before some place say, put together
//! mail/reserve                              room for deletions on a full disk
//! ```
//!
//! Files of other names are left alone.

use super::content::BodyName;
use super::record::Marker;

/// The directory of the segments.
pub const SEGMENTS: &str = "mail/segments";
/// The file of the checkpoint.
pub const CHECKPOINT: &str = "mail/checkpoint";
/// A checkpoint that is not complete.
pub(super) const NEW_CHECKPOINT: &str = "mail/checkpoint.new";
/// The directory of the large bodies.
pub const BODIES: &str = "mail/bodies";
/// A file that is removed to make room for deletions when the disk is full.
pub(super) const RESERVE: &str = "mail/reserve";

/// The file of a segment.
pub(super) fn segment_file(number: u32, marker: Marker) -> String {
    format!("{SEGMENTS}/{number:08}-{:016x}", u64::from_be_bytes(marker.0))
}

/// The number and the marker of the segment with this file name.
pub fn parse_segment(name: &str) -> Option<(u32, Marker)> {
    let (number, marker) = name.split_once('-')?;
    let (number, marker) = (number.parse().ok()?, u64::from_str_radix(marker, 16).ok()?);
    let marker = Marker(marker.to_be_bytes());
    (segment_file(number, marker).strip_prefix(SEGMENTS)?.strip_prefix('/')? == name)
        .then_some((number, marker))
}

/// The number of the segment in this file.
pub(super) fn segment_number(file: &str) -> Option<u32> {
    let name = file.strip_prefix(SEGMENTS)?.strip_prefix('/')?;
    parse_segment(name).map(|(number, _)| number)
}

/// The file of a large body.
pub fn body_file(name: BodyName) -> String {
    format!("{BODIES}/{:016x}", name.0)
}

/// The large body with this file name.
pub(super) fn parse_body(name: &str) -> Option<BodyName> {
    let body = BodyName(u64::from_str_radix(name, 16).ok()?);
    (body_file(body).strip_prefix(BODIES)?.strip_prefix('/')? == name).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::checked_name;

    #[test]
    fn names_are_read_as_they_are_written_and_others_are_nobodys() {
        let marker = Marker([0, 1, 2, 3, 4, 5, 6, 255]);
        let segment = segment_file(7, marker);
        assert_eq!(segment, "mail/segments/00000007-00010203040506ff");
        assert!(checked_name(&segment).is_ok());
        assert_eq!(parse_segment("00000007-00010203040506ff"), Some((7, marker)));
        assert_eq!(parse_body("00000000000000ff"), Some(BodyName(255)));
        for other in ["", "7-00010203040506ff", "00000007-00010203040506FF", "00000007", "x-1", "00000007-1"]
        {
            assert_eq!(parse_segment(other), None, "{other}");
        }
        for other in ["", "ff", "00000000000000fg", "00000000000000ff.new", "+0000000000000ff"] {
            assert_eq!(parse_body(other), None, "{other}");
        }
    }
}
