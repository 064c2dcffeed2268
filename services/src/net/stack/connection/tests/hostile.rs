//! Peers that do what no peer should: single attacks with explicit times.

use super::transcripts::{ALL, OURS, PEERS, acknowledged, established, segment, syn};
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

/// RFC 7323, section 5.2: A reset is not too old, whatever its timestamp.
#[test]
fn rfc7323_5_2_a_reset_is_not_too_old_whatever_its_timestamp() {
    let mut connection = Connection::accept(at(0), &syn(ALL), beginning(OURS), &SETTINGS);
    connection.sent(at(0));
    let stamped = |value| {
        let mut fields = segment(1, 1, &[]);
        fields.options.timestamps = Some((value, 77));
        fields
    };
    connection.receive(at(100), &stamped(150));
    connection.receive(at(200), &Fields { is_reset: true, ..stamped(149) });
    assert_eq!(connection.state(), State::Closed);
}

/// RFC 7323, section 5.5: After 24 days the peers next timestamp counts.
#[test]
fn rfc7323_5_5_after_24_days_the_peers_next_timestamp_counts() {
    let mut connection = Connection::accept(at(0), &syn(ALL), beginning(OURS), &SETTINGS);
    connection.sent(at(0));
    let stamped = |start, value, payload| {
        let mut fields = segment(start, 1, payload);
        fields.options.timestamps = Some((value, 77));
        fields
    };
    connection.receive(at(100), &stamped(1, 150, b""));
    let later = at(200) + Duration::from_secs(25 * 24 * 3600);
    let new = 150_u32.wrapping_sub(100_000);
    connection.receive(later, &Fields { is_fin: true, ..stamped(1, new, b"now") });
    let answer = connection.sent(later);
    let echoed = answer[0].header.timestamp.map(|stamp| stamp.tsecr);
    assert_eq!((connection.state(), echoed), (State::CloseWait, Some(new)));
    // From here on, that is what stragglers are measured by.
    connection.receive(later, &stamped(5, new.wrapping_sub(1), b""));
    assert_eq!(acknowledged(&mut connection, later.as_millis()), Some(5));
}

/// RFC 9293, section 3.10.7.4: A peer that forgot its handshake hears of it.
#[test]
fn rfc9293_3_10_7_4_a_peer_that_forgot_its_handshake_hears_of_it() {
    let mut connection = Connection::accept(at(0), &syn(ALL), beginning(OURS), &SETTINGS);
    assert_eq!(connection.sent(at(0)).len(), 1);
    let anew = Fields { sequence: PEERS.wrapping_add(1 << 30), ..syn(ALL) };
    connection.receive(at(10), &anew);
    let answer = connection.sent(at(10));
    assert_eq!((answer.len(), answer[0].header.control), (1, TcpControl::None));
    let told = answer[0].header.ack_number.expect("always").0 as u32;
    assert_eq!((told, answer[0].header.seq_number.0 as u32), (PEERS + 1, number_at(OURS, 1)));
    // Not for every one.
    connection.receive(at(20), &anew);
    assert_eq!(connection.sent(at(20)).len(), 0);
    // The peer's answer to that. (RFC 9293, section 3.10.7.3)
    connection.receive(at(30), &Fields { sequence: told, is_reset: true, ..Fields::default() });
    assert_eq!(connection.state(), State::Closed);
}

/// RFC 5681, section 4.2: A FIN ahead of a gap is acknowledged at once.
#[test]
fn rfc5681_4_2_a_fin_ahead_of_a_gap_is_acknowledged_at_once() {
    let mut connection = established(ALL);
    connection.receive(at(200), &Fields { is_fin: true, ..segment(4, 1, &[]) });
    assert_eq!(acknowledged(&mut connection, 200), Some(1));
}

/// While the stack's buffers are full, a segment that is larger than what a connection keeps is taken in parts.
#[test]
fn while_the_stack_is_full_a_large_segment_is_taken_in_part() {
    let mut connection = established(ALL);
    connection.set_pressed(true);
    let octets = vec![1; 9000];
    assert_eq!(connection.receive(at(200), &segment(1, 1, &octets)), Reaction::Done);
    assert_eq!(acknowledged(&mut connection, 200), Some(1 + PRESSED_LEN as i64));
    assert_eq!(connection.receive(at(200), &segment(1 + PRESSED_LEN as i64, 1, b"more")), Reaction::NoRoom);
    connection.read_now(at(300), &mut [0; PRESSED_LEN]);
    assert_eq!(connection.receive(at(300), &segment(1, 1, &octets)), Reaction::Done);
    assert_eq!(acknowledged(&mut connection, 300), Some(1 + 2 * PRESSED_LEN as i64));
}
