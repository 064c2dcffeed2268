use super::Direction::{Original, Reply};
use super::*;

mod honest;

const SYN: Flags = Flags::SYN;
const ACK: Flags = Flags::ACK;
const RST: Flags = Flags(Flags::RST.0 | Flags::ACK.0);
const SYN_ACK: Flags = Flags(Flags::SYN.0 | Flags::ACK.0);
const FIN: Flags = Flags(Flags::FIN.0 | Flags::ACK.0);

/// The client is inside.
const INSIDE: Direction = Original;

/// Both sides' first number in [`small_talk`]: so that a segment is right from either.
const ISN: u32 = 99;

/// A segment of a connection on which both sides begin with [`ISN`] and say nothing.
fn segment(flags: Flags) -> TcpSegment {
    let sequence = if flags.contains(Flags::SYN) { ISN } else { ISN + 1 };
    TcpSegment { flags, sequence, acknowledgment: ISN + 1, window: 64_000, ..TcpSegment::default() }
}

fn follow(segments: &[(Direction, TcpSegment)]) -> Result<Connection, Invalid> {
    let mut connection = Connection::NEW;
    for (direction, segment) in segments {
        connection.track(*direction, segment, INSIDE)?;
    }
    Ok(connection)
}

fn small_talk(segments: &[(Direction, Flags)]) -> Result<Connection, Invalid> {
    let segments: Vec<_> = segments.iter().map(|(direction, flags)| (*direction, segment(*flags))).collect();
    follow(&segments)
}

fn phase(segments: &[(Direction, Flags)]) -> Option<Phase> {
    small_talk(segments).ok().map(|connection| connection.phase())
}

const HANDSHAKE: [(Direction, Flags); 3] = [(Original, SYN), (Reply, SYN_ACK), (Original, ACK)];

fn and_then(segments: &[(Direction, Flags)]) -> Option<Phase> {
    phase(&[&HANDSHAKE, segments].concat())
}

#[test]
fn a_connection_is_established_when_both_have_acknowledged() {
    assert_eq!(phase(&HANDSHAKE[..1]), Some(Phase::Opening));
    assert_eq!(phase(&HANDSHAKE[..2]), Some(Phase::Opening));
    assert_eq!(phase(&HANDSHAKE), Some(Phase::Established));
}

/// RFC 5382, REQ-2: Simultaneous open in every order.
#[test]
fn rfc5382_req2_simultaneous_open_in_every_order() {
    let orders = [
        [(Original, SYN), (Reply, SYN), (Original, SYN_ACK), (Reply, SYN_ACK)],
        [(Original, SYN), (Reply, SYN), (Reply, SYN_ACK), (Original, SYN_ACK)],
        [(Original, SYN), (Reply, SYN), (Original, ACK), (Reply, ACK)],
    ];
    for order in orders {
        assert_eq!(phase(&order), Some(Phase::Established));
    }
}

#[test]
fn a_connection_closes_when_both_have_sent_fin_in_either_order() {
    assert_eq!(and_then(&[(Reply, FIN)]), Some(Phase::Established));
    for order in [[Original, Reply], [Reply, Original]] {
        let [first, second] = order;
        assert_eq!(and_then(&[(first, FIN), (second, FIN)]), Some(Phase::Closing));
        assert_eq!(and_then(&[(first, FIN), (second, FIN), (first, ACK)]), Some(Phase::Closing));
    }
}

#[test]
fn a_fin_before_the_last_ack_of_the_handshake_counts() {
    let segments = [(Original, SYN), (Reply, SYN_ACK), (Reply, FIN), (Original, ACK), (Original, FIN)];
    assert_eq!(phase(&segments), Some(Phase::Closing));
}

#[test]
fn an_rst_resets_from_every_phase_and_anything_else_revives() {
    assert_eq!(phase(&[(Original, SYN), (Reply, RST)]), Some(Phase::Reset));
    assert_eq!(and_then(&[(Reply, RST)]), Some(Phase::Reset));
    assert_eq!(and_then(&[(Reply, RST), (Original, ACK)]), Some(Phase::Established));
    let closed = [(Original, FIN), (Reply, FIN), (Reply, RST)];
    assert_eq!(and_then(&closed), Some(Phase::Reset));
}

#[test]
fn a_syn_starts_anew_only_after_the_end() {
    assert_eq!(and_then(&[(Original, SYN)]), Some(Phase::Established));
    for last in [(Reply, FIN), (Reply, RST)] {
        for from in Direction::BOTH {
            assert_eq!(and_then(&[(Original, FIN), last, (from, SYN)]), Some(Phase::Opening));
        }
    }
}

#[test]
fn an_old_connections_other_end_may_answer_a_syn_with_an_ack() {
    let old = TcpSegment { sequence: 7_000_000, acknowledgment: 8_000_000, ..segment(ACK) };
    let rst = TcpSegment { sequence: 8_000_000, ..segment(Flags::RST) };
    let segments = [(Original, segment(SYN)), (Reply, old), (Original, rst), (Original, segment(SYN))];
    let connection = follow(&segments).unwrap();
    assert_eq!(connection.phase(), Phase::Opening);
    assert!(
        follow(&[&segments[..], &[(Reply, segment(SYN_ACK)), (Original, segment(ACK))]].concat()).is_ok()
    );
}

#[test]
fn nobody_puts_data_where_a_syn_waits_for_its_answer() {
    let blind = TcpSegment { sequence: 7_000_000, acknowledgment: 8_000_000, ..segment(ACK) };
    for data in [TcpSegment { data_len: 1, ..blind }, TcpSegment { is_fragmented: true, ..blind }] {
        assert_eq!(follow(&[(Original, segment(SYN)), (Reply, data)]), Err(Invalid::State));
    }
}

#[test]
fn what_fits_no_state_is_invalid() {
    for segments in [[(Original, SYN), (Original, ACK)], [(Original, SYN), (Original, SYN_ACK)]] {
        assert_eq!(small_talk(&segments), Err(Invalid::State));
    }
    assert_eq!(small_talk(&[(Original, SYN), (Reply, FIN)]), Err(Invalid::State));
    assert_eq!(small_talk(&[&HANDSHAKE[..], &[(Original, Flags(0))]].concat()), Err(Invalid::State));
}

#[test]
fn outside_the_established_phase_only_the_inside_restarts_the_timer() {
    let timer = |segments: &[(Direction, Flags)], direction, flags| {
        small_talk(segments).unwrap().track(direction, &segment(flags), INSIDE).unwrap()
    };
    assert_eq!(timer(&HANDSHAKE[..1], Original, SYN), Timer::Restart);
    assert_eq!(timer(&HANDSHAKE[..1], Reply, SYN_ACK), Timer::Keep);
    assert_eq!(timer(&HANDSHAKE, Reply, ACK), Timer::Restart);
    assert_eq!(timer(&HANDSHAKE, Reply, RST), Timer::Restart);
    assert_eq!(timer(&HANDSHAKE, Reply, SYN), Timer::Keep);
    assert_eq!(timer(&[(Reply, SYN)], Original, RST), Timer::Shorten);
    let closing = [&HANDSHAKE[..], &[(Original, FIN), (Reply, FIN)]].concat();
    assert_eq!(timer(&closing, Reply, FIN), Timer::Keep);
    assert_eq!(timer(&closing, Original, ACK), Timer::Restart);
}

/// A connection between a client that begins at 1,000 and a server that begins at 5,000, which have each
/// sent and acknowledged 100 octets and take 1,000 more.
fn conversation() -> Connection {
    conversation_from(1_000, 5_000)
}

fn conversation_from(client: u32, server: u32) -> Connection {
    let numbered = |flags, sequence: u32, acknowledgment: u32, data_len| TcpSegment {
        flags,
        sequence,
        acknowledgment,
        window: 1_000,
        data_len,
        ..TcpSegment::default()
    };
    follow(&[
        (Original, numbered(SYN, client, 0, 0)),
        (Reply, numbered(SYN_ACK, server, client.wrapping_add(1), 0)),
        (Original, numbered(ACK, client.wrapping_add(1), server.wrapping_add(1), 100)),
        (Reply, numbered(ACK, server.wrapping_add(1), client.wrapping_add(101), 100)),
        (Original, numbered(ACK, client.wrapping_add(101), server.wrapping_add(101), 0)),
    ])
    .unwrap()
}

/// The effect of a segment of the server on [`conversation`].
fn answer(flags: Flags, sequence: u32, acknowledgment: u32, data_len: u16) -> Result<Timer, Invalid> {
    let window = 1_000;
    let segment = TcpSegment { flags, sequence, acknowledgment, window, data_len, ..TcpSegment::default() };
    let mut connection = conversation();
    let before = connection;
    let result = connection.track(Reply, &segment, INSIDE);
    assert!(result.is_ok() || connection == before, "what is refused changes nothing");
    result
}

#[test]
fn data_must_lie_in_the_window_or_repeat_what_was_in_it() {
    assert_eq!(answer(ACK, 5_101, 1_101, 100), Ok(Timer::Restart));
    assert_eq!(answer(ACK, 6_101, 1_101, 1), Ok(Timer::Restart), "a probe of a full window");
    assert_eq!(answer(ACK, 6_102, 1_101, 0), Ok(Timer::Restart), "after a probe that was lost");
    assert_eq!(answer(ACK, 6_103, 1_101, 1), Err(Invalid::Sequence));
    assert_eq!(answer(ACK, 5_001, 1_101, 100), Ok(Timer::Restart), "a repetition");
    assert_eq!(answer(ACK, 5_100, 1_101, 0), Ok(Timer::Restart), "a keep-alive");
    assert_eq!(answer(ACK, 4_100, 1_101, 0), Ok(Timer::Restart));
    assert_eq!(answer(ACK, 4_099, 1_101, 0), Err(Invalid::Sequence));
    assert_eq!(answer(ACK, 5_101u32.wrapping_add(1 << 31), 1_101, 10), Err(Invalid::Sequence));
}

/// RFC 5961, section 5: An acknowledgment must be of what was sent lately.
#[test]
fn rfc5961_section_5_an_acknowledgment_must_be_of_what_was_sent_lately() {
    assert_eq!(answer(ACK, 5_101, 1_102, 10), Err(Invalid::Sequence), "never sent");
    assert_eq!(answer(ACK, 5_101, 101, 10), Ok(Timer::Restart), "late by a window");
    assert_eq!(answer(ACK, 5_101, 100, 10), Ok(Timer::Restart), "late by a window and a FIN beyond it");
    assert_eq!(answer(ACK, 5_101, 99, 10), Err(Invalid::Sequence));
    assert_eq!(answer(FIN, 5_101, 1_102, 0), Err(Invalid::Sequence));
}

/// RFC 5961, section 3: Only an RST with the right number resets.
#[test]
fn rfc5961_section_3_2_only_an_rst_with_the_right_number_resets() {
    let after = |sequence| {
        let mut connection = conversation();
        let rst = TcpSegment { flags: Flags::RST, sequence, ..TcpSegment::default() };
        connection.track(Reply, &rst, INSIDE).map(|timer| (timer, connection.phase()))
    };
    assert_eq!(after(5_101), Ok((Timer::Restart, Phase::Reset)));
    for challenged in [5_102, 6_101] {
        assert_eq!(after(challenged), Ok((Timer::Keep, Phase::Established)), "{challenged}");
    }
    for blind in [5_100, 6_102, 0, u32::MAX] {
        assert_eq!(after(blind), Err(Invalid::Sequence), "{blind}");
    }
}

#[test]
fn an_rst_with_the_number_of_its_fin_resets() {
    let mut connection = conversation();
    let fin = TcpSegment { sequence: 5_101, acknowledgment: 1_101, ..segment(FIN) };
    let heard = TcpSegment { sequence: 1_101, acknowledgment: 5_102, ..segment(ACK) };
    connection.track(Reply, &fin, INSIDE).unwrap();
    connection.track(Original, &heard, INSIDE).unwrap();
    let rst = TcpSegment { flags: Flags::RST, sequence: 5_101, ..TcpSegment::default() };
    connection.track(Reply, &rst, INSIDE).unwrap();
    assert_eq!(connection.phase(), Phase::Reset);
}

#[test]
fn an_rst_may_tell_of_what_was_lost_behind_us() {
    let mut connection = conversation();
    let data =
        TcpSegment { flags: ACK, sequence: 5_101, acknowledgment: 1_101, data_len: 500, ..segment(ACK) };
    connection.track(Reply, &data, INSIDE).unwrap();
    for sequence in [5_101, 5_601] {
        let mut connection = connection;
        let rst = TcpSegment { flags: Flags::RST, sequence, ..TcpSegment::default() };
        connection.track(Reply, &rst, INSIDE).unwrap();
        assert_eq!(connection.phase(), Phase::Reset, "{sequence}");
    }
}

/// RFC 9293, section 3.10.7.3: An RST refuses only the SYN that it acknowledges.
#[test]
fn rfc9293_3_10_7_3_an_rst_refuses_only_the_syn_that_it_acknowledges() {
    let syn = [(Original, segment(SYN))];
    let refuse = |flags, acknowledgment| {
        let rst = TcpSegment { flags, sequence: 0, acknowledgment, ..TcpSegment::default() };
        follow(&[&syn[..], &[(Reply, rst)]].concat()).map(|connection| connection.phase())
    };
    assert_eq!(refuse(RST, ISN + 1), Ok(Phase::Reset));
    for (flags, acknowledgment) in [(RST, ISN), (RST, ISN + 2), (Flags::RST, ISN + 1)] {
        assert_eq!(refuse(flags, acknowledgment), Err(Invalid::Sequence));
    }
}

#[test]
fn a_syn_ack_must_acknowledge_the_syn() {
    for acknowledgment in [ISN, ISN + 2, 0] {
        let forged = TcpSegment { acknowledgment, ..segment(SYN_ACK) };
        assert_eq!(follow(&[(Original, segment(SYN)), (Reply, forged)]), Err(Invalid::Sequence));
    }
}

#[test]
fn a_syn_may_be_repeated_and_its_answer_too() {
    let handshake = [(Original, SYN), (Original, SYN), (Reply, SYN_ACK), (Original, SYN), (Reply, SYN_ACK)];
    assert_eq!(
        phase(&[&handshake[..], &[(Original, ACK), (Reply, SYN_ACK)]].concat()),
        Some(Phase::Established)
    );
    // The client tries anew before it has an answer.
    let anew = TcpSegment { sequence: 70_000, ..segment(SYN) };
    let answer = TcpSegment { acknowledgment: 70_001, ..segment(SYN_ACK) };
    assert!(follow(&[(Original, segment(SYN)), (Original, anew), (Reply, answer)]).is_ok());
}

#[test]
fn data_in_a_syn_may_be_acknowledged_or_not() {
    let syn = TcpSegment { data_len: 50, ..segment(SYN) };
    for acknowledgment in [ISN + 1, ISN + 51] {
        let answer = TcpSegment { acknowledgment, ..segment(SYN_ACK) };
        assert!(follow(&[(Original, syn), (Reply, answer)]).is_ok(), "{acknowledgment}");
    }
}

/// RFC 5961, section 4: A SYN into an established connection changes nothing.
#[test]
fn rfc5961_section_4_a_syn_into_an_established_connection_changes_nothing() {
    let mut connection = conversation();
    let syn = TcpSegment { flags: SYN, sequence: 70_000, window: 1_000, ..TcpSegment::default() };
    for direction in Direction::BOTH {
        assert_eq!(connection.track(direction, &syn, INSIDE), Ok(Timer::Keep));
    }
    assert_eq!(connection.phase(), Phase::Established);
    let data = TcpSegment { flags: ACK, sequence: 5_101, acknowledgment: 1_101, ..segment(ACK) };
    assert_eq!(connection.track(Reply, &data, INSIDE), Ok(Timer::Restart));
}

#[test]
fn ports_can_be_used_again_though_the_end_of_their_connection_was_not_seen() {
    for scale in [None, Some(7)] {
        let mut connection = conversation();
        let syn = TcpSegment { flags: SYN, sequence: 70_000, scale, window: 500, ..TcpSegment::default() };
        connection.track(Original, &syn, INSIDE).unwrap();
        let forged = TcpSegment { flags: SYN_ACK, sequence: 90_000, acknowledgment: 70_002, scale, ..syn };
        assert_eq!(connection.track(Reply, &forged, INSIDE), Err(Invalid::Sequence));
        let answer = TcpSegment { acknowledgment: 70_001, ..forged };
        connection.track(Reply, &answer, INSIDE).unwrap();
        assert_eq!(connection.phase(), Phase::Opening);
        let ack = TcpSegment { flags: ACK, sequence: 70_001, acknowledgment: 90_001, ..segment(ACK) };
        connection.track(Original, &ack, INSIDE).unwrap();
        assert_eq!(connection.phase(), Phase::Established);
        assert_eq!(connection.scale, [scale.unwrap_or(NO_SCALE); 2]);
    }
}

/// RFC 7323, section 2.2: Windows are scaled if both offer it.
#[test]
fn rfc7323_windows_are_scaled_if_both_offer_it() {
    let permitted = |scales: [Option<u8>; 2]| {
        let syn = TcpSegment { window: 60_000, scale: scales[0], ..segment(SYN) };
        let answer = TcpSegment { window: 60_000, scale: scales[1], ..segment(SYN_ACK) };
        let ack = TcpSegment { window: 50_000, ..segment(ACK) };
        let connection = follow(&[(Original, syn), (Reply, answer), (Original, ack)]).unwrap();
        connection.limit[Reply as usize] - connection.end[Reply as usize]
    };
    assert_eq!(permitted([None, None]), 60_000);
    assert_eq!(permitted([Some(7), None]), 60_032, "rounded up to what it can say");
    assert_eq!(permitted([None, Some(7)]), 60_000);
    assert_eq!(permitted([Some(7), Some(3)]), 50_000 << 7);
    assert_eq!(permitted([Some(14), Some(0)]), 50_000 << 14);
}

#[test]
fn a_first_fragment_leaves_open_how_much_follows() {
    let mut connection = conversation();
    let first = TcpSegment {
        sequence: 5_101,
        acknowledgment: 1_101,
        data_len: 100,
        is_fragmented: true,
        ..segment(ACK)
    };
    connection.track(Reply, &first, INSIDE).unwrap();
    let ack = TcpSegment { sequence: 1_101, acknowledgment: 6_101, ..segment(ACK) };
    assert_eq!(connection.track(Original, &ack, INSIDE), Ok(Timer::Restart));
    let more = TcpSegment { acknowledgment: 6_101 + 65_536, ..ack };
    assert_eq!(connection.track(Original, &more, INSIDE), Err(Invalid::Sequence));
}

#[test]
fn numbers_wrap_around() {
    for client in [u32::MAX - 100, u32::MAX - 1, u32::MAX, 1 << 31] {
        let server = client.wrapping_add(77);
        let connection = conversation_from(client, server);
        assert_eq!(connection.phase(), Phase::Established);
        for (sequence, is_fit) in [(101, true), (1_102, true), (1_103, false)] {
            let sequence = server.wrapping_add(sequence);
            let acknowledgment = client.wrapping_add(101);
            let data = TcpSegment { sequence, acknowledgment, data_len: 1, ..segment(ACK) };
            assert_eq!(connection.clone().track(Reply, &data, INSIDE).is_ok(), is_fit, "{client} {sequence}");
        }
    }
}

#[test]
fn the_window_scale_is_read_from_a_syn_alone() {
    let mut bytes = [0; 24];
    bytes[12] = 0x60;
    bytes[20..24].copy_from_slice(&[3, 3, 20, 0]);
    for (flags, scale) in [(SYN, Some(SCALE_MAX)), (SYN_ACK, Some(SCALE_MAX)), (ACK, None)] {
        bytes[13] = flags.0;
        let header = Header::parse(&bytes).unwrap();
        assert_eq!(TcpSegment::of(&header, &bytes, false).scale, scale);
    }
    bytes[13] = SYN.0;
    bytes[20..24].copy_from_slice(&[3, 4, 7, 0]);
    assert_eq!(TcpSegment::of(&Header::parse(&bytes).unwrap(), &bytes, false).scale, None);
}
