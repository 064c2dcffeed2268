//! The indexes of segments.

use crate::scenario::office::Office;
use crate::world::segment::SegmentId;

/// The segment at a port of the office's switch.
pub(super) fn lan_segment(port: usize) -> SegmentId {
    SegmentId(u8::try_from(port).expect("validated"))
}

/// The segment between the gateway and the provider.
pub(super) fn wan_segment(office: &Office) -> SegmentId {
    lan_segment(office.lan_ports)
}

/// The segment of machines whose switch has lost its uplink.
pub(super) fn apart_segment(office: &Office) -> SegmentId {
    lan_segment(office.lan_ports + 1)
}

/// What captures call the segments, in the order of their numbers.
pub(super) fn names(office: &Office) -> Vec<String> {
    (0..office.lan_ports)
        .map(|port| format!("lan{port}"))
        .chain(["wan", "apart"].map(str::to_owned))
        .collect()
}
