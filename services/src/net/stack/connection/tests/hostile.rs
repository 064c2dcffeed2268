//! Peers that do what no peer should: single attacks with explicit times, and arbitrary segments in every state.

use proptest::prelude::*;

use super::super::scoreboard::SEGMENTS_MAX;
use super::transcripts::{ALL, OURS, PEERS, acknowledged, established, segment, stamped, syn};
use super::*;
use crate::cases;

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
    // Reading makes room again, and the connection announces it to the peer.
    connection.read_now(at(now), &mut [0; 60_000]);
    let edge = edge_of(&connection.sent(at(now)), connection.own_shift).expect("a window");
    assert!(edge - position > 59_000, "{edge} {position}");
}

/// RFC 7323, section 5.2: A reset is not too old, whatever its timestamp.
#[test]
fn rfc7323_5_2_a_reset_is_not_too_old_whatever_its_timestamp() {
    let mut connection = Connection::accept(at(0), &syn(ALL), beginning(OURS), &SETTINGS);
    connection.sent(at(0));
    connection.receive(at(100), &stamped(1, 150, b""));
    connection.receive(at(200), &Fields { is_reset: true, ..stamped(1, 149, b"") });
    assert_eq!(connection.state(), State::Closed);
}

/// RFC 7323, section 5.5: After 24 days the peers next timestamp counts.
#[test]
fn rfc7323_5_5_after_24_days_the_peers_next_timestamp_counts() {
    let mut connection = Connection::accept(at(0), &syn(ALL), beginning(OURS), &SETTINGS);
    connection.sent(at(0));
    connection.receive(at(100), &stamped(1, 150, b""));
    let later = at(200) + Duration::from_secs(25 * 24 * 3600);
    let new = 150_u32.wrapping_sub(100_000);
    connection.receive(later, &Fields { is_fin: true, ..stamped(1, new, b"now") });
    let answer = connection.sent(later);
    let echoed = answer[0].header.timestamp.map(|stamp| stamp.tsecr);
    assert_eq!((connection.state(), echoed), (State::CloseWait, Some(new)));
    // From here on, segments with an earlier timestamp are dropped.
    connection.receive(later, &stamped(5, new.wrapping_sub(1), b""));
    assert_eq!(acknowledged(&mut connection, later.as_millis()), Some(5));
}

/// RFC 9293, section 3.10.7.4: A new SYN from the peer of a handshake is answered by an acknowledgement.
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

/// An event of a connection.
#[derive(Clone, Debug)]
enum Step {
    Segment(Received),
    /// The service does something.
    Read(usize),
    Write(usize),
    Close,
    Abort,
    Press(bool),
    /// Time passes, in milliseconds.
    Wait(u64),
    /// Time passes up to the next deadline.
    WaitForDeadline,
}

/// A place in the sequence numbers.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The number that a well-behaved peer would use, plus this offset.
    Near(i64),
    /// The last acceptable number, plus this offset.
    Edge(i64),
    Anywhere(u32),
}

#[derive(Clone, Debug)]
struct Received {
    start: Place,
    acknowledged: Option<Place>,
    /// FIN, SYN, RST
    flags: (bool, bool, bool),
    window: u16,
    len: usize,
    /// The difference of the timestamp to the last one.
    timestamp: Option<i32>,
    blocks: [Option<(Place, u32)>; 3],
}

fn any_place() -> impl Strategy<Value = Place> {
    prop_oneof![
        6 => Just(Place::Near(0)),
        2 => (-3000..3000_i64).prop_map(Place::Near),
        3 => (-2000..3_i64).prop_map(Place::Edge),
        1 => any::<u32>().prop_map(Place::Anywhere),
    ]
}

fn any_received() -> impl Strategy<Value = Received> {
    let flags = (prop::bool::weighted(0.05), prop::bool::weighted(0.03), prop::bool::weighted(0.02));
    let window = prop_oneof![4 => Just(u16::MAX), 2 => any::<u16>(), 1 => 0..3_u16];
    let len = prop_oneof![2 => Just(0_usize), 2 => 1..40_usize, 2 => Just(1000_usize), 1 => 0..20_000_usize];
    let timestamp = prop::option::weighted(0.7, prop_oneof![4 => 0..50_i32, 1 => any::<i32>()]);
    let block = prop::option::weighted(0.3, (any_place(), prop_oneof![Just(1000_u32), any::<u32>()]));
    let acknowledged = prop::option::weighted(0.95, any_place());
    (any_place(), acknowledged, flags, window, len, timestamp, prop::array::uniform3(block)).prop_map(
        |(start, acknowledged, flags, window, len, timestamp, blocks)| Received {
            start,
            acknowledged,
            flags,
            window,
            len,
            timestamp,
            blocks,
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => any_received().prop_map(Step::Segment),
        3 => (1..70_000_usize).prop_map(Step::Read),
        3 => (1..70_000_usize).prop_map(Step::Write),
        1 => Just(Step::Close),
        1 => prop::bool::weighted(0.1).prop_map(|is_abort| if is_abort { Step::Abort } else { Step::Close }),
        1 => any::<bool>().prop_map(Step::Press),
        4 => prop_oneof![8 => 0..500_u64, 1 => 0..3_000_000_000_u64].prop_map(Step::Wait),
        3 => Just(Step::WaitForDeadline),
    ]
}

/// How a connection begins, and what the peer's SYN has.
#[derive(Clone, Copy, Debug)]
enum Start {
    Connect,
    Accept,
    Cookie,
}

fn any_options() -> impl Strategy<Value = Options> {
    let size = prop::option::of(prop_oneof![1..70_u16, Just(1000), Just(u16::MAX)]);
    let shift = prop::option::of(0..=255_u8);
    (size, shift, any::<bool>(), prop::option::of(any::<u32>())).prop_map(
        |(segment_size, window_shift, is_sack_permitted, timestamp)| Options {
            segment_size,
            window_shift,
            is_sack_permitted,
            blocks: [None; 3],
            timestamps: timestamp.map(|value| (value, 0)),
        },
    )
}

impl Connection {
    fn receive_arbitrary(&mut self, now: Instant, received: &Received, octets: &[u8]) {
        let place = |place, initial, near: i64, edge: i64| match place {
            Place::Near(beside) => number_at(initial, near + beside),
            Place::Edge(beside) => number_at(initial, edge + beside),
            Place::Anywhere(number) => number,
        };
        let ours = |at| place(at, self.own_initial, self.acknowledged, self.next);
        let last = self.timestamps.map_or(0, |timestamps| timestamps.peer);
        let (is_fin, is_syn, is_reset) = received.flags;
        // A peer of which nothing is known says SYN.
        let is_syn = is_syn || self.state() == State::SynSent;
        let fields = Fields {
            sequence: place(received.start, self.peer_initial, self.received_next(), self.own_edge),
            acknowledgement: received.acknowledged.map(ours),
            is_syn,
            is_fin,
            is_reset,
            window: received.window,
            options: Options {
                segment_size: Some(received.window),
                timestamps: received.timestamp.map(|ahead| (last.wrapping_add(ahead as u32), 0)),
                blocks: received.blocks.map(|block| {
                    let (start, len) = block?;
                    Some((ours(start), ours(start).wrapping_add(len)))
                }),
                ..ALL
            },
            payload: &octets[..received.len],
        };
        self.receive(now, &fields);
    }

    /// What holds whatever the peer does.
    fn check(&mut self, now: Instant) -> usize {
        let sent = self.sent(now).len();
        assert!(sent < 1000, "a storm of segments");
        assert!(self.deadline().is_none_or(|at| at > now), "a timer that never stops: {:?}", self.timers);
        let most = self.settings.buffer_len_max;
        assert!(self.window_limit <= most);
        assert!(self.unread() <= self.window_limit, "{} unread of {}", self.unread(), self.window_limit);
        assert!(self.received.capacity() <= 4 * most + 4096, "{} received", self.received.capacity());
        assert!(self.send.capacity() <= 2 * most + 4096, "{} to send", self.send.capacity());
        assert!(self.board.len() <= SEGMENTS_MAX);
        assert!(self.acknowledged <= self.next && self.next <= self.send.end() + 1);
        let is_waiting = !self.board.is_empty() && self.state() != State::Closed;
        assert!(!is_waiting || self.timers.retransmit.is_some(), "nothing would be sent again");
        sent
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(100)))]

    /// Whatever arrives in whatever state: no panic, no storm, no timer that spins or is missing, and no more memory
    /// than the buffers may have. A peer that falls silent gets little, and an abort ends it all.
    #[test]
    fn arbitrary_segments_do_no_harm(
        start in prop_oneof![Just(Start::Connect), Just(Start::Accept), Just(Start::Cookie)],
        options in any_options(),
        (window, buffer) in (any::<u16>(), prop_oneof![200..5000_usize, Just(1 << 20)]),
        (own, peers) in (any::<u32>(), any::<u32>()),
        steps in prop::collection::vec(any_step(), 1..80),
    ) {
        let settings = Settings { buffer_len_max: buffer, ..SETTINGS };
        let mut now = Instant::from_secs(1);
        let syn = Fields { sequence: peers, is_syn: true, window, options, ..Fields::default() };
        let mut connection = match start {
            Start::Connect => Connection::connect(now, beginning(own), &settings),
            Start::Accept => Connection::accept(now, &syn, beginning(own), &settings),
            Start::Cookie => Connection::accepted(now, &syn, beginning(own), &settings),
        };
        let octets = vec![7; 70_000];
        connection.check(now);
        for step in &steps {
            match step {
                Step::Segment(received) => connection.receive_arbitrary(now, received, &octets),
                Step::Read(len) => _ = connection.read_now(now, &mut vec![0; *len]),
                Step::Write(len) => _ = with_context(|context| connection.write(&octets[..*len], context)),
                Step::Close => connection.close(),
                Step::Abort => connection.abort(),
                Step::Press(is_pressed) => connection.set_pressed(*is_pressed),
                Step::Wait(millis) => now = now + ms(*millis),
                Step::WaitForDeadline => now = connection.deadline().unwrap_or(now).max(now),
            }
            connection.check(now);
        }
        let silent_since = now;
        // A window of one segment can be many small ones.
        let most = 150 + 80 * connection.board.len();
        let mut sent = 0;
        while let Some(at) = connection.deadline()
            && at.since(silent_since) < Duration::from_secs(3600)
        {
            now = at;
            sent += connection.check(now);
        }
        prop_assert!(sent < most, "{sent} segments to nobody");
        connection.abort();
        connection.sent(now);
        prop_assert!(connection.is_over() || connection.state() == State::Closed);
        connection.discard_unread();
        prop_assert_eq!((connection.memory(), connection.deadline()), (0, None));
    }
}
