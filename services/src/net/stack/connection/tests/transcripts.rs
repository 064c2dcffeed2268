//! One mechanism each, with explicit times.

use super::*;

/// The peer's initial sequence number, and the gateway's.
pub(super) const PEERS: u32 = 5000;
pub(super) const OURS: u32 = u32::MAX - 2;

/// The options of a peer that has all.
pub(super) const ALL: Options = Options {
    segment_size: Some(1000),
    window_shift: Some(2),
    is_sack_permitted: true,
    blocks: [None; 3],
    timestamps: Some((100, 0)),
};

/// A peer that has none of them.
const NONE: Options = Options {
    segment_size: Some(1000),
    window_shift: None,
    is_sack_permitted: false,
    blocks: [None; 3],
    timestamps: None,
};

pub(super) fn syn(options: Options) -> Fields<'static> {
    Fields { sequence: PEERS, is_syn: true, window: 60_000, options, ..Fields::default() }
}

/// A segment of the peer's at position `start` that acknowledges everything before `acknowledged`.
pub(super) fn segment(start: i64, acknowledged: i64, payload: &[u8]) -> Fields<'_> {
    Fields {
        sequence: number_at(PEERS, start),
        acknowledgement: Some(number_at(OURS, acknowledged)),
        window: 60_000,
        payload,
        ..Fields::default()
    }
}

/// A segment at position `start` with the peer's timestamp `value`.
pub(super) fn stamped(start: i64, value: u32, payload: &[u8]) -> Fields<'_> {
    let mut fields = segment(start, 1, payload);
    fields.options.timestamps = Some((value, 77));
    fields
}

/// An acknowledgement with blocks.
fn blocks(acknowledged: i64, blocks: &[(i64, i64)]) -> Fields<'static> {
    let mut fields = segment(1, acknowledged, &[]);
    for (place, (start, end)) in fields.options.blocks.iter_mut().zip(blocks) {
        *place = Some((number_at(OURS, *start), number_at(OURS, *end)));
    }
    fields
}

/// An established connection at 100 ms, whose handshake took so long; without timestamps, so that segments have 1000
/// octets.
pub(super) fn established(options: Options) -> Connection {
    let options = Options { timestamps: None, ..options };
    let mut connection = Connection::accept(at(0), &syn(options), beginning(OURS), &SETTINGS);
    assert_eq!(connection.sent(at(0)).len(), 1);
    assert_eq!(connection.receive(at(100), &segment(1, 1, &[])), Reaction::Done);
    assert_eq!(connection.state(), State::Established);
    connection
}

/// The positions of what it sends at `now`, with the numbers of octets.
fn sent(connection: &mut Connection, now: u64) -> Vec<(i64, usize)> {
    let own = connection.next;
    let sent = connection.sent(at(now));
    let position = |segment: &Outgoing| position_of(OURS, segment.header.seq_number.0 as u32, own);
    sent.iter().map(|segment| (position(segment), segment.payload.len())).collect()
}

/// The last acknowledgement among what it sends at `now`, as a position of the peer's.
pub(super) fn acknowledged(connection: &mut Connection, now: u64) -> Option<i64> {
    let number = connection.sent(at(now)).last()?.header.ack_number?;
    Some(position_of(PEERS, number.0 as u32, 0))
}

/// RFC 9293, section 3.5: A handshake is answered with what the peer offered.
#[test]
fn rfc9293_3_5_a_handshake_is_answered_with_what_the_peer_offered() {
    let mut connection = Connection::accept(at(9), &syn(ALL), beginning(OURS), &SETTINGS);
    let answer = connection.poll(at(9)).expect("SYN and ACK").header;
    assert_eq!((answer.control, answer.seq_number.0 as u32), (TcpControl::Syn, OURS));
    assert_eq!(answer.ack_number.map(|number| number.0 as u32), Some(PEERS + 1));
    assert_eq!(
        (answer.max_seg_size, answer.window_scale, answer.sack_permitted),
        (Some(1000), Some(5), true)
    );
    let stamp = answer.timestamp.expect("timestamps");
    assert_eq!((stamp.tsval, stamp.tsecr), (9 + 77, 100));
    assert_eq!((answer.window_len, connection.segment_size), (65_535, 988));

    let mut plain = Connection::accept(at(9), &syn(NONE), beginning(OURS), &SETTINGS);
    let answer = plain.poll(at(9)).expect("SYN and ACK").header;
    assert_eq!((answer.window_scale, answer.sack_permitted, answer.timestamp), (None, false, None));
    assert_eq!(plain.segment_size, 1000);
}

/// RFC 9293, MUST-15: A peer that names no segment size gets 536 octets.
#[test]
fn rfc9293_must15_a_peer_that_names_no_segment_size_gets_536_octets() {
    let options = Options { segment_size: None, ..NONE };
    let connection = Connection::accept(at(0), &syn(options), beginning(OURS), &SETTINGS);
    assert_eq!(connection.segment_size, 536);
    let options = Options { segment_size: Some(1), ..ALL };
    let connection = Connection::accept(at(0), &syn(options), beginning(OURS), &SETTINGS);
    assert_eq!(connection.segment_size, u64::from(SEGMENT_SIZE_MIN - TIMESTAMPS_LEN));
}

/// RFC 9293, MUST-10: Both can begin at once.
#[test]
fn rfc9293_must10_both_can_begin_at_once() {
    let mut connection = Connection::connect(at(0), beginning(OURS), &SETTINGS);
    assert_eq!(connection.sent(at(0)).len(), 1);
    assert_eq!(connection.receive(at(10), &syn(NONE)), Reaction::Done);
    assert_eq!(connection.state(), State::SynReceived);
    let answer = connection.sent(at(10));
    assert_eq!((answer.len(), answer[0].header.control), (1, TcpControl::Syn));
    assert!(answer[0].header.ack_number.is_some());
    let theirs = Fields { is_syn: true, ..segment(0, 1, &[]) };
    assert_eq!(connection.receive(at(20), &theirs), Reaction::Done);
    assert_eq!(connection.state(), State::Established);
    assert_eq!(acknowledged(&mut connection, 20), Some(1));
}

/// RFC 6298, section 5: A SYN is repeated after one second and then after twice as long.
#[test]
fn rfc6298_5_a_syn_is_repeated_after_one_second_and_then_after_twice_as_long() {
    let mut connection = Connection::connect(at(0), beginning(OURS), &SETTINGS);
    let mut times = Vec::new();
    let mut now = at(0);
    for _ in 0..4 {
        assert_eq!(connection.sent(now).len(), 1);
        times.push(now.as_secs());
        now = connection.deadline().expect("a timer");
    }
    assert_eq!(times, [0, 1, 3, 7]);
    // RFC 5681, section 3.1: after that the window is one segment.
    let answer = Fields { acknowledgement: Some(number_at(OURS, 1)), ..syn(NONE) };
    connection.receive(at(7100), &answer);
    assert_eq!((connection.state(), connection.congestion.window()), (State::Established, 1000));
}

/// RFC 9293, section 3.10.7.3: Before there is a peer only the right acknowledgement counts.
#[test]
fn rfc9293_3_10_7_3_before_there_is_a_peer_only_the_right_acknowledgement_counts() {
    let mut connection = Connection::connect(at(0), beginning(OURS), &SETTINGS);
    connection.sent(at(0));
    let reset = |acknowledged| Fields { is_reset: true, ..segment(0, acknowledged, &[]) };
    assert_eq!(connection.receive(at(1), &segment(0, 2, &[])), Reaction::Refuse);
    assert_eq!(connection.receive(at(1), &reset(2)), Reaction::Done);
    let bare = Fields { acknowledgement: None, ..reset(1) };
    assert_eq!(connection.receive(at(1), &bare), Reaction::Done);
    assert_eq!(connection.state(), State::SynSent);
    assert_eq!(connection.receive(at(1), &reset(1)), Reaction::Done);
    assert_eq!((connection.state(), connection.sent(at(1)).len()), (State::Closed, 0));
}

/// RFC 9293, section 3.8.6.3: A lone segment is acknowledged within half a second and every second one at once.
#[test]
fn rfc9293_3_8_6_3_a_lone_segment_is_acknowledged_within_half_a_second_and_every_second_one_at_once() {
    let mut connection = established(ALL);
    connection.receive(at(200), &segment(1, 1, &[1; 1000]));
    assert_eq!(acknowledged(&mut connection, 200), None);
    assert_eq!(connection.deadline(), Some(at(240)));
    assert_eq!(acknowledged(&mut connection, 240), Some(1001));
    connection.receive(at(300), &segment(1001, 1, &[1; 1000]));
    connection.receive(at(300), &segment(2001, 1, &[1; 1000]));
    assert_eq!(acknowledged(&mut connection, 300), Some(3001));
}

/// RFC 2018, section 4: Data beyond a gap is acknowledged by SACK at once.
#[test]
fn rfc2018_4_what_is_ahead_of_a_gap_is_told_at_once() {
    let mut connection = established(ALL);
    connection.write_now(&[7; 1000]);
    connection.receive(at(200), &segment(1001, 1, &[1; 500]));
    let sent = connection.sent(at(200));
    let block = Some((number_at(PEERS, 1001), number_at(PEERS, 1501)));
    assert_eq!((sent[0].header.sack_ranges[0], sent[0].payload.len()), (block, 0));
    assert_eq!(sent[1].payload.len(), 1000, "octets follow it, without options that would not fit");
    assert_eq!(sent[1].header.sack_ranges, [None; 3]);
    connection.receive(at(210), &segment(1, 1, &[1; 1000]));
    assert_eq!(acknowledged(&mut connection, 210), Some(1501));
}

/// RFC 2883, section 4: Duplicate data is reported by D-SACK.
#[test]
fn rfc2883_4_what_arrives_twice_is_told() {
    let mut connection = established(ALL);
    for _ in 0..2 {
        connection.receive(at(200), &segment(1, 1, &[1; 500]));
    }
    let header = &connection.sent(at(200))[0].header;
    assert_eq!(header.sack_ranges[0], Some((number_at(PEERS, 1), number_at(PEERS, 501))));
    connection.receive(at(210), &segment(501, 1, &[1; 500]));
    connection.receive(at(210), &segment(1001, 1, &[1; 2000]));
    assert_eq!(connection.sent(at(210))[0].header.sack_ranges, [None; 3], "once");
}

/// RFC 6928, section 2: The initial window is ten segments, and acknowledgements open it.
#[test]
fn rfc6928_ten_segments_go_out_at_first_and_what_is_acknowledged_lets_more_follow() {
    let mut connection = established(ALL);
    connection.write_now(&[7; 40_000]);
    let first: Vec<(i64, usize)> = (0..10).map(|number| (1 + number * 1000, 1000)).collect();
    assert_eq!(sent(&mut connection, 100), first);
    connection.receive(at(200), &segment(1, 2001, &[]));
    assert_eq!(sent(&mut connection, 200).len(), 4, "slow start: twice what arrived");
}

/// RFC 8985, section 6.2: The third arrival beyond a loss has it sent again at once.
#[test]
fn rfc8985_6_2_the_third_arrival_beyond_a_loss_has_it_sent_again_at_once() {
    let mut connection = established(ALL);
    connection.write_now(&[7; 40_000]);
    sent(&mut connection, 100);
    connection.receive(at(200), &blocks(1, &[(1001, 2001)]));
    connection.receive(at(200), &blocks(1, &[(1001, 3001)]));
    // RFC 3042: what has left the path makes room for something new.
    assert_eq!(sent(&mut connection, 200).first(), Some(&(10_001, 1000)));
    connection.receive(at(201), &blocks(1, &[(1001, 4001)]));
    assert_eq!(sent(&mut connection, 201).first(), Some(&(1, 1000)));
    assert!(matches!(connection.phase, Phase::Recovery(_)));
    let window = connection.congestion.window();
    // The rest of the same congestion takes nothing more from the window.
    connection.receive(at(202), &blocks(1, &[(1001, 4001), (5001, 9001)]));
    assert_eq!(sent(&mut connection, 202).first(), Some(&(4001, 1000)));
    assert_eq!(connection.congestion.window(), window);
    let end = connection.next;
    connection.receive(at(300), &segment(1, end, &[]));
    assert_eq!(connection.phase, Phase::Open);
}

/// RFC 6582, section 3.2: Without SACK three repetitions make a loss and a partial acknowledgement the next.
#[test]
fn rfc6582_3_2_without_sack_three_repetitions_make_a_loss_and_a_partial_acknowledgement_the_next() {
    let mut connection = established(NONE);
    connection.write_now(&[7; 10_000]);
    assert_eq!(sent(&mut connection, 100).len(), 10);
    for _ in 0..2 {
        connection.receive(at(200), &segment(1, 1, &[]));
    }
    assert_eq!(sent(&mut connection, 200), []);
    connection.receive(at(200), &segment(1, 1, &[]));
    assert_eq!(sent(&mut connection, 200), [(1, 1000)]);
    connection.receive(at(300), &segment(1, 3001, &[]));
    assert_eq!(sent(&mut connection, 300), [(3001, 1000)]);
    connection.receive(at(400), &segment(1, 10_001, &[]));
    assert_eq!((connection.phase, sent(&mut connection, 400)), (Phase::Open, vec![]));
}

/// RFC 8985, section 7: A lost tail is probed before the time-out.
#[test]
fn rfc8985_7_a_lost_tail_is_probed_before_the_time_out() {
    let mut connection = established(ALL);
    connection.write_now(&[7; 3000]);
    assert_eq!(sent(&mut connection, 100).len(), 3);
    let probe = connection.deadline().expect("a timer");
    assert_eq!(probe, at(100 + 200), "two round-trip times");
    assert_eq!(sent(&mut connection, 300), [(2001, 1000)]);
    // The answer shows that the others were lost, before any time-out.
    connection.receive(at(400), &blocks(1, &[(2001, 3001)]));
    assert_eq!(sent(&mut connection, 400), [(1, 1000), (1001, 1000)]);
}

/// RFC 8985, section 7.4: A probe that repaired a loss is a sign of congestion.
#[test]
fn rfc8985_7_4_a_probe_that_repaired_a_loss_is_a_sign_of_congestion() {
    for (is_twice, is_less) in [(false, true), (true, false)] {
        let mut connection = established(ALL);
        connection.write_now(&[7; 3000]);
        sent(&mut connection, 100);
        assert_eq!(sent(&mut connection, 300), [(2001, 1000)]);
        let window = connection.congestion.window();
        if is_twice {
            connection.receive(at(390), &blocks(3001, &[(2001, 3001)]));
        }
        connection.receive(at(400), &segment(1, 3001, &[]));
        connection.write_now(&[7; 100]);
        assert_eq!(sent(&mut connection, 400).len(), 1);
        connection.receive(at(500), &segment(1, 3101, &[]));
        assert_eq!(connection.congestion.window() < window, is_less, "{is_twice}");
    }
}

/// RFC 6298, section 5.4: After the time-out all is sent again from one segment on.
#[test]
fn rfc6298_5_4_after_the_time_out_all_is_sent_again_from_one_segment_on() {
    let mut connection = established(NONE);
    connection.write_now(&[7; 4000]);
    assert_eq!(sent(&mut connection, 100).len(), 4);
    let timeout = connection.deadline().expect("a timer");
    assert_eq!(timeout, at(100 + 300));
    assert_eq!(sent(&mut connection, 400), [(1, 1000)]);
    assert_eq!(connection.deadline(), Some(at(400 + 600)), "twice as long");
    connection.receive(at(500), &segment(1, 1001, &[]));
    assert_eq!(sent(&mut connection, 500), [(1001, 1000), (2001, 1000)]);
}

/// RFC 9293, section 3.8.6.1: A zero window is probed, at growing intervals.
#[test]
fn rfc9293_3_8_6_1_a_window_without_room_is_asked_about_and_the_questions_become_rarer() {
    let mut connection = established(NONE);
    connection.receive(at(100), &Fields { window: 0, ..segment(1, 1, &[]) });
    connection.write_now(&[7; 4000]);
    assert_eq!(sent(&mut connection, 100), []);
    let mut asked = Vec::new();
    for _ in 0..4 {
        let now = connection.deadline().expect("a timer").as_millis();
        assert_eq!(sent(&mut connection, now), [(0, 0)], "before the window, so that it is answered");
        connection.receive(at(now), &Fields { window: 0, ..segment(1, 1, &[]) });
        assert_eq!(sent(&mut connection, now), []);
        asked.push(now);
    }
    assert_eq!(asked, [400, 1000, 2200, 4600]);
    connection.receive(at(4700), &segment(1, 1, &[]));
    assert_eq!(sent(&mut connection, 4700).len(), 4);
}

/// RFC 9293, section 3.8.6.2.1: Little is sent only if that is all, or half of the window.
#[test]
fn rfc9293_3_8_6_2_1_little_is_sent_only_if_that_is_all_or_half_of_the_window() {
    let mut connection = established(NONE);
    connection.receive(at(100), &Fields { window: 300, ..segment(1, 1, &[]) });
    connection.write_now(&[7; 4000]);
    assert_eq!(sent(&mut connection, 100), []);
    let now = connection.deadline().expect("a timer").as_millis();
    assert_eq!(sent(&mut connection, now), [(1, 300)], "after a while");
}

/// RFC 9293, section 3.8.6.2.2: The window never shrinks and opens by a segment at least.
#[test]
fn rfc9293_3_8_6_2_2_the_window_never_shrinks_and_opens_by_a_segment_at_least() {
    let mut connection = established(NONE);
    let mut edge = 0;
    for number in 0..65 {
        connection.receive(at(200), &segment(1 + number * 1000, 1, &[1; 1000]));
        for segment in connection.sent(at(200)) {
            let told = position_of(PEERS, segment.header.ack_number.expect("always").0 as u32, 0);
            let new = told + i64::from(segment.header.window_len);
            assert!(new >= edge);
            edge = new;
        }
    }
    assert_eq!(edge, 1 + 65_535);
    let mut octets = [0; 500];
    connection.read_now(at(200), &mut octets);
    assert_eq!(acknowledged(&mut connection, 200), None, "too little to tell of");
    connection.read_now(at(200), &mut octets);
    assert_eq!(acknowledged(&mut connection, 200), Some(65_001));
}

/// The window doubles with what the service reads in a round-trip time, up to its maximum.
#[test]
fn the_receive_window_grows_with_a_service_that_reads() {
    let mut connection = established(ALL);
    let mut position = 1;
    let mut now = 100;
    for _ in 0..30 {
        now += 100;
        for _ in 0..connection.own_edge.saturating_sub(position) / 1000 {
            connection.receive(at(now), &segment(position, 1, &[1; 1000]));
            position += 1000;
        }
        while matches!(connection.read_now(at(now), &mut [0; 4096]), Read::Octets(_)) {}
        connection.sent(at(now));
    }
    assert_eq!(connection.window_limit, SETTINGS.buffer_len_max);
    assert_eq!(connection.memory(), 0, "what is read needs no memory");
    let mut idle = established(ALL);
    idle.receive(at(200), &segment(1, 1, &[1; 100]));
    idle.read_now(at(400), &mut [0; 100]);
    assert_eq!(idle.window_limit, 64 * 1024);
}

#[test]
fn while_the_stack_is_full_a_connection_keeps_little_and_recovers() {
    let mut connection = established(ALL);
    connection.set_pressed(true);
    assert_eq!(connection.write_now(&[7; 10_000]), PRESSED_LEN);
    for number in 0..4 {
        assert_eq!(connection.receive(at(200), &segment(1 + number * 1000, 1, &[1; 1000])), Reaction::Done);
    }
    assert_eq!(connection.receive(at(200), &segment(4001, 1, &[1; 1000])), Reaction::NoRoom);
    assert_eq!(connection.receive(at(200), &segment(9001, 1, &[1; 100])), Reaction::NoRoom);
    assert_eq!(connection.unread(), 4000);
    connection.read_now(at(200), &mut [0; 4000]);
    assert_eq!(connection.receive(at(300), &segment(4001, 1, &[1; 1000])), Reaction::Done);
    connection.set_pressed(false);
    assert_eq!(connection.write_now(&[7; 10_000]), 10_000);
}

/// RFC 5961, section 3.2: Only a reset at the very place ends a connection.
#[test]
fn rfc5961_3_2_only_a_reset_at_the_very_place_ends_a_connection() {
    let mut connection = established(ALL);
    let reset = |start| Fields { is_reset: true, ..segment(start, 1, &[]) };
    connection.receive(at(200), &reset(-1));
    assert_eq!(acknowledged(&mut connection, 200), None);
    connection.receive(at(200), &reset(2));
    assert_eq!(acknowledged(&mut connection, 200), Some(1));
    assert_eq!(connection.state(), State::Established);
    connection.receive(at(200), &reset(1));
    assert_eq!(connection.state(), State::Closed);
}

/// RFC 5961, section 4.2: A SYN and a wild acknowledgement are challenged, and not too often.
#[test]
fn rfc5961_4_2_a_syn_and_a_wild_acknowledgement_are_challenged_and_not_too_often() {
    let mut connection = established(ALL);
    connection.receive(at(200), &syn(ALL));
    assert_eq!(acknowledged(&mut connection, 200), Some(1));
    for (now, acknowledged_position) in [(300, 99), (400, -300_000)] {
        connection.receive(at(now), &segment(1, acknowledged_position, b"forged"));
        assert_eq!((connection.unread(), connection.acknowledged), (0, 1));
        connection.sent(at(now));
    }
    for now in 401..700 {
        connection.receive(at(now), &syn(ALL));
    }
    assert_eq!(connection.sent(at(699)).len(), 0);
    connection.receive(at(700), &syn(ALL));
    assert_eq!(connection.sent(at(700)).len(), 1);
}

/// RFC 7323, section 5.3: A segment with an old timestamp is acknowledged and dropped.
#[test]
fn rfc7323_5_3_a_segment_with_an_old_timestamp_is_acknowledged_and_dropped() {
    let mut connection = Connection::accept(at(0), &syn(ALL), beginning(OURS), &SETTINGS);
    connection.sent(at(0));
    connection.receive(at(100), &stamped(1, 150, b"new"));
    assert_eq!(connection.unread(), 3);
    connection.receive(at(200), &stamped(4, 149, b"old"));
    assert_eq!((connection.unread(), acknowledged(&mut connection, 200)), (3, Some(4)));
    // After 24 days the peer's clock has gone around.
    let later = at(200) + Duration::from_secs(25 * 24 * 3600);
    connection.receive(later, &stamped(4, 149, b"now"));
    assert_eq!(connection.unread(), 6);
}

/// RFC 9293, section 3.6: Either end closes by itself.
#[test]
fn rfc9293_3_6_either_end_closes_by_itself() {
    let mut connection = established(ALL);
    connection.write_now(b"last");
    connection.close();
    assert_eq!(connection.state(), State::FinWait1);
    let sent = connection.sent(at(200));
    assert_eq!(
        (sent.len(), sent[0].header.control, &sent[0].payload[..]),
        (1, TcpControl::Fin, &b"last"[..])
    );
    connection.receive(at(300), &segment(1, 6, b"still here"));
    assert_eq!((connection.state(), connection.unread()), (State::FinWait2, 10));
    connection.receive(at(400), &Fields { is_fin: true, ..segment(11, 6, &[]) });
    assert_eq!((connection.state(), acknowledged(&mut connection, 400)), (State::TimeWait, Some(12)));
    connection.receive(at(500), &Fields { is_fin: true, ..segment(11, 6, &[]) });
    assert_eq!(acknowledged(&mut connection, 500), Some(12), "its acknowledgement was lost");
    let mut octets = [0; 20];
    assert_eq!(connection.read_now(at(600), &mut octets), Read::Octets(10));
    assert_eq!(connection.read_now(at(600), &mut octets), Read::Finished);

    let mut connection = established(ALL);
    connection.receive(at(200), &Fields { is_fin: true, ..segment(1, 1, b"bye") });
    assert_eq!((connection.state(), acknowledged(&mut connection, 200)), (State::CloseWait, Some(5)));
    connection.write_now(b"answer");
    connection.close();
    assert_eq!((connection.state(), connection.sent(at(200)).len()), (State::LastAck, 1));
    connection.receive(at(300), &segment(5, 8, &[]));
    assert_eq!(connection.state(), State::Closed);
}

#[test]
fn both_can_close_at_once() {
    let mut connection = established(ALL);
    connection.close();
    assert_eq!(connection.sent(at(200)).len(), 1);
    connection.receive(at(210), &Fields { is_fin: true, ..segment(1, 1, &[]) });
    assert_eq!(connection.state(), State::Closing);
    connection.receive(at(300), &segment(2, 2, &[]));
    assert_eq!(connection.state(), State::TimeWait);
}

#[test]
fn a_fin_ahead_of_a_gap_counts_once_the_gap_is_closed() {
    let mut connection = established(ALL);
    connection.receive(at(200), &Fields { is_fin: true, ..segment(4, 1, b"def") });
    assert_eq!(connection.state(), State::Established);
    connection.receive(at(210), &segment(1, 1, b"abc"));
    assert_eq!((connection.state(), acknowledged(&mut connection, 210)), (State::CloseWait, Some(8)));
}

/// RFC 9293, section 3.6.1: A newer SYN takes the place of a connection in TIME-WAIT.
#[test]
fn rfc9293_3_6_1_a_newer_syn_takes_the_place_of_a_connection_in_time_wait() {
    let mut connection = established(ALL);
    connection.close();
    connection.sent(at(200));
    connection.receive(at(300), &Fields { is_fin: true, ..segment(1, 2, &[]) });
    assert_eq!(connection.state(), State::TimeWait);
    let newer = |sequence| Fields { sequence, ..syn(NONE) };
    assert!(connection.gives_way_to(&newer(number_at(PEERS, 3))));
    assert!(!connection.gives_way_to(&newer(number_at(PEERS, 1))));
    assert!(!established(ALL).gives_way_to(&newer(number_at(PEERS, 3))));
}

/// RFC 9293, section 3.8.4: An idle peer gets keep-alives, and one acknowledgement keeps the connection open.
#[test]
fn rfc9293_3_8_4_an_idle_peer_is_asked_and_its_answer_is_enough() {
    let mut connection = established(ALL);
    let asks_at = at(100) + SETTINGS.keep_alive;
    assert_eq!(connection.deadline(), Some(asks_at));
    let question = connection.sent(asks_at);
    assert_eq!((question.len(), question[0].header.seq_number.0 as u32), (1, OURS));
    assert_eq!(connection.deadline(), Some(asks_at + SETTINGS.keep_alive));
    let mut asked = established(ALL);
    asked.receive(at(200), &segment(0, 1, &[]));
    assert_eq!(acknowledged(&mut asked, 200), Some(1));
}

#[test]
fn an_abort_is_a_reset_at_the_right_place() {
    let mut connection = established(ALL);
    connection.write_now(&[7; 3000]);
    sent(&mut connection, 100);
    connection.abort();
    let reset = connection.sent(at(200));
    assert_eq!((reset.len(), reset[0].header.control), (1, TcpControl::Rst));
    assert_eq!(reset[0].header.seq_number.0 as u32, number_at(OURS, 3001));
    assert_eq!((connection.is_over(), connection.memory()), (true, 0));
    let mut unanswered = Connection::connect(at(0), beginning(OURS), &SETTINGS);
    unanswered.sent(at(0));
    unanswered.abort();
    assert!(unanswered.is_over());
}

/// RFC 5681, section 4.1: After a pause longer than the time-out ten segments begin again.
#[test]
fn rfc5681_4_1_after_a_pause_longer_than_the_time_out_ten_segments_begin_again() {
    let mut connection = established(ALL);
    connection.write_now(&[7; 20_000]);
    let mut now = 100;
    while !connection.board.is_empty() || connection.has_unacknowledged() {
        sent(&mut connection, now);
        now += 100;
        let end = connection.next;
        connection.receive(at(now), &segment(1, end, &[]));
    }
    assert_eq!(connection.congestion.window(), 30_000);
    // What it acknowledges meanwhile is no use of the window.
    connection.receive(at(now + 500), &segment(1, 20_001, b"question"));
    sent(&mut connection, now + 600);
    connection.write_now(&[7; 60_000]);
    assert_eq!(sent(&mut connection, now + 700).len(), 10);
}
