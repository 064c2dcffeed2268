//! Floods of handshakes that never end, and of connections without a service: other peers still connect.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::packets::{ACK, FIN, PEER, RST, Raw, SYN, alone, next_segment};
use super::tcp::serve_echo;
use super::*;

const SYN_ACK: u8 = SYN | ACK;

/// A SYN of the flood, from a port and an address of its own.
fn forged_syn(number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    syn(4000).packet([10, 9, high, low], A)
}

fn syn(from_port: u16) -> Raw {
    Raw { ports: (from_port, 7), flags: SYN, window: 4000, ..Raw::default() }
}

/// The segment that ends the handshake of `syn`, if the gateway's initial sequence number is `sequence`.
fn next(syn: &Raw, sequence: u32) -> Raw {
    let (sequence, acknowledgement) = (syn.sequence.wrapping_add(1), sequence.wrapping_add(1));
    Raw { sequence, acknowledgement, flags: ACK, options: Vec::new(), ..syn.clone() }
}

/// Loses what is on its way to the peers.
fn clear(wire: &Wire) {
    wire.packets.borrow_mut().clear();
}

/// Loses all that will be on its way to the peers.
fn drain(wire: &Wire) {
    let wire = wire.clone();
    spawn_local(async move {
        loop {
            clear(&wire);
            wire.arrived.notified().await;
        }
    });
}

/// Has all places for handshakes taken by what came just now.
async fn overwhelm(stack: &Stack, wire: &Wire) {
    for number in 0..u16::try_from(HALF_OPEN_MAX).expect("few") {
        stack.handle_packet(&forged_syn(number));
    }
    // The wire does not take all the answers at once.
    for _ in 0..10 {
        sleep(Duration::from_millis(1)).await;
        clear(wire);
    }
    assert_eq!(stack.counters().half_open, HALF_OPEN_MAX as u64);
}

/// A hundred connections from A to B, one after the other, each of which sends and gets back; before each
/// come `syns`.
async fn serve_a_hundred_beside(impairment: Impairment, syns: impl Fn(u16) -> Vec<u8>) -> StackCounters {
    let pair = Pair::new(StackConfig::default(), 4987, impairment);
    serve_echo(&pair.b).await;
    for connection in 0..100_u16 {
        for number in 0..50 {
            pair.b.handle_packet(&syns(connection * 50 + number));
        }
        // The flood has filled the outbox, too, which all sockets share.
        sleep(Duration::from_millis(250)).await;
        let mut stream = pair.a.connect(at(B, 7)).await.expect("connect");
        let sent = octets(5000, connection.into());
        stream.write_all(&sent).await.expect("write");
        let mut received = vec![0; sent.len()];
        stream.read_exact(&mut received).await.expect("read");
        assert_eq!(received, sent);
    }
    pair.b.counters()
}

#[test]
fn half_open_connections_of_one_source_keep_nobody_out() {
    simulate(async {
        let from_one = |number: u16| syn(1024 + number).packet([192, 168, 1, 66], B);
        let counters = serve_a_hundred_beside(Impairment::default(), from_one).await;
        assert_eq!(counters.half_open, HALF_OPEN_PER_SOURCE_MAX as u64);
        assert!(counters.syn_cookies_sent > 4900 && counters.syns_dropped_backlog_full == 0, "{counters:?}");
    });
}

/// RFC 4987, section 3.6: Half-open connections of forged sources keep no client out.
#[test]
fn rfc4987_half_open_connections_of_forged_sources_keep_nobody_out() {
    simulate(async {
        let from_many = |number: u16| {
            let [high, low] = number.to_be_bytes();
            syn(4000).packet([10, 9, high, low], B)
        };
        for impairment in [
            Impairment::default(),
            Impairment { loss: 2, duplication: 2, delay_max: Duration::from_millis(30) },
        ] {
            let counters = serve_a_hundred_beside(impairment, from_many).await;
            assert!(counters.half_open <= HALF_OPEN_MAX as u64, "{counters:?}");
            assert!(counters.syn_cookies_accepted > 0 && counters.half_open_recycled > 0, "{counters:?}");
        }
    });
}

#[test]
fn the_oldest_handshake_makes_room_once_it_has_had_its_time() {
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        let _listener = stack.listen(on(7)).await.expect("listen");
        overwhelm(&stack, &wire).await;
        sleep(HANDSHAKE_GRACE - Duration::from_millis(11)).await;
        stack.handle_packet(&forged_syn(5000));
        let counters = stack.counters();
        assert_eq!((counters.half_open_recycled, counters.syn_cookies_sent), (0, 1));
        sleep(Duration::from_millis(2)).await;
        clear(&wire);
        stack.handle_packet(&forged_syn(5001));
        let counters = stack.counters();
        assert_eq!((counters.half_open_recycled, counters.syn_cookies_sent), (1, 1));
        assert_eq!(counters.half_open, HALF_OPEN_MAX as u64);
    });
}

#[test]
fn a_repeated_syn_gets_no_more_time() {
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        let _listener = stack.listen(on(7)).await.expect("listen");
        for _ in 0..12 {
            stack.handle_packet(&syn(4000).packet(PEER, A));
            clear(&wire);
            assert_eq!(stack.counters().half_open, 1);
            sleep(Duration::from_secs(5)).await;
        }
        sleep(Duration::from_secs(1)).await;
        assert_eq!((stack.counters().half_open, stack.counters().connections), (0, 0));
    });
}

/// RFC 4987, section 3.6: The acknowledgement of a cookie makes a connection like any other.
#[test]
fn rfc4987_the_acknowledgement_of_a_cookie_makes_a_connection_like_any_other() {
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        let listener = stack.listen(on(7)).await.expect("listen");
        overwhelm(&stack, &wire).await;
        // Its maximum segment size is 600, and the next that a cookie can say is 536.
        let syn = Raw { sequence: u32::MAX, options: vec![2, 4, 2, 88], ..syn(4001) };
        stack.handle_packet(&syn.packet(PEER, A));
        let (flags, sequence, acknowledgement) = next_segment(&wire).await.expect("an answer");
        assert_eq!((flags, acknowledgement), (SYN_ACK, 0));
        let first = Raw { data: b"hello".to_vec(), ..next(&syn, sequence) };
        stack.handle_packet(&first.packet(PEER, A));
        assert_eq!(stack.counters().syn_cookies_accepted, 1);
        let mut stream = listener.accept().await.expect("accept");
        assert_eq!(stream.peer_addr(), at(PEER, 4001));
        let mut received = [0; 5];
        stream.read_exact(&mut received).await.expect("read");
        assert_eq!(&received, b"hello");
        stream.write_all(&[b'Z'; 1000]).await.expect("write");
        drop(stream);
        // The acknowledgement of what came, and then the data and the end, in the numbers after the cookie.
        let mut sent = Vec::new();
        while let Some((flags, at, acknowledgement)) = next_segment(&wire).await {
            assert_eq!((acknowledgement, flags & (ACK | RST)), (5, ACK));
            sent.push(at.wrapping_sub(sequence).wrapping_sub(1));
        }
        assert!(sent.contains(&0) && sent.contains(&536), "{sent:?}");
        // The end is acknowledged, and the peer's own comes: nothing is left.
        let last =
            Raw { sequence: 5, acknowledgement: sequence.wrapping_add(1002), flags: ACK | FIN, ..first };
        stack.handle_packet(&Raw { data: Vec::new(), ..last }.packet(PEER, A));
        drain(&wire);
        sleep(Duration::from_secs(100)).await;
        assert_eq!(stack.counters().connections, 0);
    });
}

#[test]
fn nobody_guesses_a_cookie_or_uses_an_old_one() {
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        let _listener = stack.listen(on(7)).await.expect("listen");
        let send = |segment: &Raw| stack.handle_packet(&segment.packet(PEER, A));
        send(&next(&syn(4001), 7));
        assert!(matches!(next_segment(&wire).await, Some((RST, 8, _))), "no cookie was sent");
        overwhelm(&stack, &wire).await;
        send(&syn(4001));
        let (_, sequence, _) = next_segment(&wire).await.expect("an answer");
        let right = next(&syn(4001), sequence);
        send(&Raw { acknowledgement: right.acknowledgement.wrapping_add(1), ..right.clone() });
        send(&Raw { sequence: right.sequence + 1, ..right.clone() });
        send(&Raw { ports: (4002, 7), ..right.clone() });
        assert_eq!(next_segment(&wire).await, None, "the one that fits may be about to come");
        assert_eq!(stack.counters().syn_cookies_refused, 3);
        send(&Raw { flags: RST, ..right.clone() });
        assert_eq!(stack.counters().resets_ignored, 1);
        drain(&wire);
        sleep(Duration::from_secs(61)).await;
        send(&right);
        let counters = stack.counters();
        assert_eq!((counters.syn_cookies_accepted, counters.segments_unwanted), (0, 2));
    });
}

#[test]
fn a_cookie_is_good_beside_the_place_that_a_repeated_syn_has_got() {
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        let listener = stack.listen(on(7)).await.expect("listen");
        overwhelm(&stack, &wire).await;
        stack.handle_packet(&syn(4001).packet(PEER, A));
        let (_, sequence, _) = next_segment(&wire).await.expect("a cookie");
        sleep(HANDSHAKE_GRACE).await;
        stack.handle_packet(&syn(4001).packet(PEER, A));
        assert_eq!(stack.counters().half_open_recycled, 1);
        stack.handle_packet(&next(&syn(4001), sequence).packet(PEER, A));
        assert_eq!(listener.accept().await.expect("accept").peer_addr(), at(PEER, 4001));
        assert_eq!(stack.counters().half_open, HALF_OPEN_MAX as u64 - 1);
    });
}

/// Begins and ends a handshake from `source` and returns the gateway's initial sequence number.
async fn handshake(stack: &Stack, wire: &Wire, source: [u8; 4], port: u16) -> Option<u32> {
    clear(wire);
    stack.handle_packet(&syn(port).packet(source, A));
    let (_, sequence, _) = next_segment(wire).await?;
    stack.handle_packet(&next(&syn(port), sequence).packet(source, A));
    sleep(Duration::from_millis(1)).await;
    Some(sequence)
}

#[test]
fn a_cookie_that_finds_the_backlog_full_is_good_later() {
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        let listener = stack.listen(on(7)).await.expect("listen");
        for port in 0..u16::try_from(HALF_OPEN_PER_SOURCE_MAX).expect("few") {
            stack.handle_packet(&syn(5000 + port).packet(PEER, A));
        }
        sleep(Duration::from_millis(1)).await;
        clear(&wire);
        stack.handle_packet(&syn(4001).packet(PEER, A));
        let (_, sequence, _) = next_segment(&wire).await.expect("a cookie");
        for number in 0..BACKLOG_MAX {
            let source = [10, 9, 0, u8::try_from(number).expect("few")];
            handshake(&stack, &wire, source, 4000).await.expect("an answer");
        }
        let first = next(&syn(4001), sequence).packet(PEER, A);
        stack.handle_packet(&first);
        let counters = stack.counters();
        assert_eq!((counters.syn_cookies_accepted, counters.syns_dropped_backlog_full), (0, 1));
        let _accepted = listener.accept().await.expect("accept");
        stack.handle_packet(&first);
        assert_eq!(stack.counters().syn_cookies_accepted, 1);
    });
}

#[test]
fn a_full_table_has_a_share_for_each_source_and_a_reserve_for_the_gateway() {
    simulate(async {
        let (stack, wire) = alone(StackConfig { connections_max: 16, ..StackConfig::default() });
        let listener = stack.listen(on(7)).await.expect("listen");
        let (greedy, modest, late) = ([10, 9, 0, 1], [10, 9, 0, 2], [10, 9, 0, 3]);
        for port in 0..8 {
            handshake(&stack, &wire, greedy, 4000 + port).await.expect("it has its share");
        }
        assert_eq!(handshake(&stack, &wire, greedy, 4008).await, None);
        assert_eq!(stack.counters().syns_dropped_source_share, 1);
        for port in 0..6 {
            handshake(&stack, &wire, modest, 4000 + port).await.expect("there is room");
        }
        assert_eq!(handshake(&stack, &wire, late, 4000).await, None);
        assert_eq!(stack.counters().syns_dropped_connections_full, 1);
        let connecting = stack.clone();
        spawn_local(async move { connecting.connect(at(PEER, 7)).await.map(|_| ()) });
        sleep(Duration::from_millis(1)).await;
        assert_eq!(stack.counters().connections, 15);
        // The peer of a connection that its service has closed does not close it.
        drop(listener.accept().await.expect("accept"));
        sleep(Duration::from_millis(1)).await;
        assert_eq!(stack.counters().connections, 15);
        handshake(&stack, &wire, late, 4001).await.expect("there is room");
        let counters = stack.counters();
        assert_eq!((counters.connections, counters.orphans_recycled), (15, 1));
        // A recycled connection no longer counts against its source.
        assert_eq!(handshake(&stack, &wire, greedy, 4009).await, None);
        assert_eq!(stack.counters().syns_dropped_source_share, 1);
    });
}

#[test]
fn a_syn_beyond_its_source_s_share_takes_no_place_of_another_s_handshake() {
    simulate(async {
        let config = StackConfig { connections_max: 4 * BACKLOG_MAX, ..StackConfig::default() };
        let (stack, wire) = alone(config);
        let listener = stack.listen(on(7)).await.expect("listen");
        let greedy = [10, 8, 0, 1];
        for port in 0..u16::try_from(BACKLOG_MAX).expect("few") {
            handshake(&stack, &wire, greedy, 4000 + port).await.expect("it has its share");
        }
        let _accepted = listener.accept().await.expect("accept");
        overwhelm(&stack, &wire).await;
        sleep(HANDSHAKE_GRACE).await;
        clear(&wire);
        stack.handle_packet(&syn(5000).packet(greedy, A));
        let counters = stack.counters();
        assert_eq!((counters.syns_dropped_source_share, counters.half_open_recycled), (1, 0));
        assert_eq!(counters.half_open, HALF_OPEN_MAX as u64);
    });
}

/// RFC 4987, section 3.6: What the peer's timestamp brings back of its options is used.
#[test]
fn rfc4987_3_6_what_the_peers_timestamp_brings_back_of_its_options_is_used() {
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        let listener = stack.listen(on(7)).await.expect("listen");
        overwhelm(&stack, &wire).await;
        let offered = vec![2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0];
        let syn = Raw { options: offered, ..syn(4001) };
        stack.handle_packet(&syn.packet(PEER, A));
        sleep(Duration::from_millis(20)).await;
        let answer = wire.take().expect("an answer");
        let answer = packet::Packet::parse(&answer).expect("well-formed");
        let answer = segment::Segment::parse(&answer).expect("well-formed").fields();
        assert_eq!((answer.options.window_shift, answer.options.is_sack_permitted), (Some(5), true));
        let (echo, peers) = answer.options.timestamps.expect("timestamps");
        assert_eq!(peers, 9);
        // A window of 400 in units of 128, and an echo.
        let stamps = [&[1, 1, 8, 10, 0, 0, 0, 10][..], &echo.to_be_bytes()].concat();
        let first = Raw { window: 400, options: stamps, ..next(&syn, answer.sequence) };
        stack.handle_packet(&first.packet(PEER, A));
        assert_eq!(stack.counters().syn_cookies_accepted, 1);
        let mut stream = listener.accept().await.expect("accept");
        stream.write_all(&[b'Z'; 14_000]).await.expect("write");
        sleep(Duration::from_millis(20)).await;
        let mut sent = 0;
        while let Some(packet) = wire.take() {
            let packet = packet::Packet::parse(&packet).expect("well-formed");
            let fields = segment::Segment::parse(&packet).expect("well-formed").fields();
            let (value, peers) = fields.options.timestamps.expect("timestamps");
            assert!(value.wrapping_sub(echo) < 1000 && peers == 10, "the clock goes on from the echo");
            sent += fields.payload.len();
        }
        assert_eq!(sent, 14_000, "far more than 400 octets");
    });
}
