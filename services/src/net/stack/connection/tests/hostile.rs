//! Peers that do what no peer should: single attacks with explicit times.

use super::transcripts::{ALL, PEERS, established, segment};
use super::*;

/// The right edge of the window that a connection last offered.
fn edge_of(segments: &[Outgoing], shift: u8) -> Option<i64> {
    let header = &segments.last()?.header;
    let told = position_of(PEERS, header.ack_number?.0 as u32, 0);
    Some(told + (i64::from(header.window_len) << shift))
}

/// A window that is rounded up to its scale at each acknowledgement moves on by itself.
#[test]
fn a_service_that_never_reads_has_no_more_than_its_buffer_filled() {
    let mut connection = established(ALL);
    let (mut now, mut position, mut edge) = (100, 1, 1 + 60_000);
    for _ in 0..4000 {
        let room = usize::try_from(edge - position).expect("in the window");
        // As much as leaves the least remainder of the scale.
        let len = if room > 1000 { 1000 } else { room.min(31) };
        let octets = vec![1; len];
        connection.receive(at(now), &segment(position, 1, &octets));
        position += len as i64;
        now += 50;
        edge = edge_of(&connection.sent(at(now)), connection.own_shift).unwrap_or(edge).max(position);
    }
    let missing = connection.window_limit.checked_sub(connection.unread());
    assert!(missing.is_some_and(|missing| missing < 32), "{missing:?}");
    // What is read makes room again, and the peer hears of it.
    connection.read_now(at(now), &mut [0; 60_000]);
    let edge = edge_of(&connection.sent(at(now)), connection.own_shift).expect("a window");
    assert!(edge - position > 59_000, "{edge} {position}");
}
