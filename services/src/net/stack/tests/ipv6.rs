//! IPv6 in the stack's machine, which is of both families, and at its edge, which keeps IPv6 out.

use std::io::ErrorKind;
use std::iter::from_fn;
use std::net::IpAddr;
use std::task::{Context, Waker};

use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IPV4_HEADER_LEN, IPV6_HEADER_LEN, Icmpv6DstUnreachable, Icmpv6Packet, Icmpv6Repr, IpProtocol, TcpRepr,
    UdpPacket,
};

use super::packets::{Raw, SYN, alone};
use super::*;
use crate::net::UdpSocket;
use crate::net::stack::connection::{Read, State};
use crate::net::stack::packet::{Packet, encode};
use crate::net::stack::segment::Segment;
use crate::net::stack::tcp::SocketId;

const OURS: &str = "2001:db8:1::1";
const PEERS: &str = "2001:db8:1::2";
const NOW: Instant = Instant::ZERO;

/// A SYN from port 4000 of the peer's to port 25 of ours, sequence number 7, maximum segment size 1440. The checksum
/// was made by other code.
const SYN_OCTETS: [u8; 64] = [
    0x60, 0x00, 0x00, 0x00, 0x00, 0x18, 0x06, 0x40, // IPv6, TCP, hop limit 64
    0x20, 0x01, 0x0d, 0xb8, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, //
    0x20, 0x01, 0x0d, 0xb8, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, //
    0x0f, 0xa0, 0x00, 0x19, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x60, 0x02, 0xfd, 0x20, //
    0x2f, 0xe3, 0x00, 0x00, 0x02, 0x04, 0x05, 0xa0,
];

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn end(text: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(text), port)
}

/// A machine with an address of either family.
fn machine(address: &str, short: [u8; 4]) -> Engine {
    let mut engine = Engine::new(NOW, StackConfig::default(), StdRng::seed_from_u64(6));
    engine.set_addresses(&[network(short), IpNet::new(ip(address), 64).expect("a prefix length")]);
    engine
}

/// The packets that `engine` has to send now.
fn sent(engine: &mut Engine) -> Vec<Vec<u8>> {
    engine.poll(NOW);
    from_fn(|| engine.ip.outbox.pop()).collect()
}

/// The one segment that `engine` has to send, in a packet of IPv6, as `read` sees it.
fn sent_segment<R>(engine: &mut Engine, read: impl FnOnce(&Segment<'_>) -> R) -> R {
    let packets = sent(engine);
    let [packet] = &packets[..] else { panic!("{} packets", packets.len()) };
    assert_eq!(packet[0] >> 4, 6);
    let packet = Packet::parse(packet).expect("well-formed");
    assert_eq!((packet.source, packet.destination), (ip(OURS), ip(PEERS)));
    read(&Segment::parse(&packet).expect("with a right checksum"))
}

/// Carries packets between the two until neither has any.
fn exchange(one: &mut Engine, other: &mut Engine) {
    loop {
        let (from_one, from_other) = (sent(one), sent(other));
        if from_one.is_empty() && from_other.is_empty() {
            return;
        }
        from_one.iter().for_each(|packet| other.handle_packet(NOW, packet, Origin::Network));
        from_other.iter().for_each(|packet| one.handle_packet(NOW, packet, Origin::Network));
    }
}

fn write(engine: &mut Engine, id: SocketId, octets: &[u8]) {
    let context = Context::from_waker(Waker::noop());
    let written = engine.tcp.serve(id, |socket| socket.connection.write(octets, &context));
    assert_eq!(written.expect("it is open"), octets.len());
    engine.tcp.make_due(id);
}

fn read(engine: &mut Engine, id: SocketId) -> Vec<u8> {
    let (mut octets, context) = ([0; 10_000], Context::from_waker(Waker::noop()));
    match engine.tcp.serve(id, |socket| socket.connection.read(NOW, &mut octets, &context)) {
        Read::Octets(len) => octets[..len].to_vec(),
        _ => Vec::new(),
    }
}

/// A segment of the peer's from `port`.
fn segment(port: u16, header: &TcpRepr<'_>) -> Vec<u8> {
    let (from, to) = (end(PEERS, port), end(OURS, 25));
    segment::packet(from, to, &TcpRepr { src_port: port, dst_port: 25, ..*header })
}

/// RFC 9293, section 3.5: A SYN over IPv6 is answered over IPv6, by a segment size that fits its headers.
#[test]
fn rfc9293_3_5_a_syn_over_ipv6_is_answered_over_ipv6_by_a_segment_size_that_fits_its_headers() {
    let mut engine = machine(OURS, A);
    let (listener, holder) = engine.listen(end("::", 25)).expect("listen");
    engine.handle_packet(NOW, &SYN_OCTETS, Origin::Network);
    let sequence = sent_segment(&mut engine, |answer| {
        let fields = answer.fields();
        assert_eq!((fields.is_syn, fields.acknowledgement), (true, Some(8)));
        assert_eq!(answer.tuple, (end(PEERS, 4000), end(OURS, 25)));
        assert_eq!(fields.options.segment_size, Some(1440));
        fields.sequence
    });
    let acknowledgement = TcpRepr {
        seq_number: smoltcp::wire::TcpSeqNumber(8),
        ack_number: Some(smoltcp::wire::TcpSeqNumber(sequence as i32) + 1),
        ..segment::empty(end(PEERS, 4000), end(OURS, 25))
    };
    engine.handle_packet(NOW, &segment(4000, &acknowledgement), Origin::Network);
    sent(&mut engine);
    let id = engine.tcp.accept(listener, &holder).expect("a connection");
    let socket = engine.tcp.socket(id);
    assert_eq!((socket.tuple(), socket.state()), ((end(OURS, 25), end(PEERS, 4000)), State::Established));
}

/// RFC 8200, section 8.1: A segment over IPv6 with a wrong checksum is dropped.
#[test]
fn rfc8200_8_1_a_segment_over_ipv6_with_a_wrong_checksum_is_dropped() {
    let mut engine = machine(OURS, A);
    let _listener = engine.listen(end("::", 25)).expect("listen");
    // The source, which the pseudo-header covers, and the segment itself.
    for at in [20, IPV6_HEADER_LEN + 5] {
        let mut octets = SYN_OCTETS;
        octets[at] ^= 1;
        engine.handle_packet(NOW, &octets, Origin::Network);
    }
    assert!(sent(&mut engine).is_empty());
    assert_eq!((engine.counters().checksums_wrong, engine.counters().connections), (2, 0));
}

/// RFC 8200, section 8.1: A datagram over IPv6 without a checksum is dropped.
#[test]
fn rfc8200_8_1_a_datagram_over_ipv6_without_a_checksum_is_dropped() {
    let (mut engine, mut peer) = (machine(OURS, A), machine(PEERS, B));
    let (local, holder) = engine.bind_udp(end(OURS, 53)).expect("bind");
    let (from, _holder) = peer.bind_udp(end("::", 4000)).expect("bind");
    assert!(peer.send_udp(from, b"asks", local).expect("send"));
    let mut octets = sent(&mut peer).remove(0);
    UdpPacket::new_unchecked(&mut octets[IPV6_HEADER_LEN..]).set_checksum(0);
    engine.handle_packet(NOW, &octets, Origin::Network);
    assert_eq!(engine.udp.receive_from(local, &holder), None);
    assert_eq!(engine.counters().checksums_wrong, 1);
}

// RFC 1122, section 4.1.3.4
#[test]
fn a_datagram_over_ipv4_needs_no_checksum() {
    let (mut engine, mut peer) = (machine(OURS, A), machine(PEERS, B));
    let (local, holder) = engine.bind_udp(at(A, 53)).expect("bind");
    let (from, _holder) = peer.bind_udp(on(4000)).expect("bind");
    assert!(peer.send_udp(from, b"asks", local).expect("send"));
    let mut octets = sent(&mut peer).remove(0);
    UdpPacket::new_unchecked(&mut octets[IPV4_HEADER_LEN..]).set_checksum(0);
    engine.handle_packet(NOW, &octets, Origin::Network);
    assert_eq!(engine.udp.receive_from(local, &holder), Some((at(B, 4000), b"asks".to_vec())));
}

#[test]
fn two_machines_converse_over_ipv6() {
    let (mut client, mut server) = (machine(OURS, A), machine(PEERS, B));
    let (listener, holder) = server.listen(end(PEERS, 7)).expect("listen");
    let outward = client.connect(NOW, end(PEERS, 7)).expect("connect");
    exchange(&mut client, &mut server);
    let inward = server.tcp.accept(listener, &holder).expect("a connection");
    let (local, remote) = client.tcp.socket(outward).tuple();
    assert_eq!(server.tcp.socket(inward).tuple(), (remote, local));
    let (question, answer) = (octets(5000, 1), octets(7000, 2));
    write(&mut client, outward, &question);
    write(&mut server, inward, &answer);
    exchange(&mut client, &mut server);
    assert!(read(&mut server, inward) == question && read(&mut client, outward) == answer);

    let (asked, asked_holder) = server.bind_udp(end("::", 53)).expect("bind");
    let (asks, asks_holder) = client.bind_udp(end("::", 0)).expect("bind");
    assert!(client.send_udp(asks, b"asks", end(PEERS, 53)).expect("send"));
    exchange(&mut client, &mut server);
    let (from, _) = server.udp.receive_from(asked, &asked_holder).expect("a datagram");
    assert_eq!(from, end(OURS, asks.port()));
    assert!(server.send_udp(asked, b"told", from).expect("send"));
    exchange(&mut client, &mut server);
    let told = client.udp.receive_from(asks, &asks_holder);
    assert_eq!(told, Some((end(PEERS, 53), b"told".to_vec())));
    for engine in [&client, &server] {
        let StackCounters { packets_malformed, checksums_wrong, packets_not_ours, .. } = engine.counters();
        assert_eq!((packets_malformed, checksums_wrong, packets_not_ours), (0, 0, 0));
    }
}

/// RFC 4987, section 3.6: A SYN cookie over IPv6 makes a connection, and is valid for one pair of ends only.
#[test]
fn rfc4987_3_6_a_syn_cookie_over_ipv6_makes_a_connection_and_is_nobody_elses() {
    let mut engine = machine(OURS, A);
    let (listener, holder) = engine.listen(end("::", 25)).expect("listen");
    let number = |number: u32| smoltcp::wire::TcpSeqNumber(number as i32);
    let syn = TcpRepr {
        control: smoltcp::wire::TcpControl::Syn,
        seq_number: number(7),
        max_seg_size: Some(1440),
        ..segment::empty(end(PEERS, 4000), end(OURS, 25))
    };
    for port in 4000..4000 + HALF_OPEN_PER_SOURCE_MAX as u16 {
        engine.handle_packet(NOW, &segment(port, &syn), Origin::Network);
    }
    sent(&mut engine);
    engine.handle_packet(NOW, &segment(5000, &syn), Origin::Network);
    assert_eq!(engine.counters().syn_cookies_sent, 1);
    let cookie = sent_segment(&mut engine, |answer| answer.fields().sequence);
    let acknowledgement = TcpRepr {
        control: smoltcp::wire::TcpControl::None,
        seq_number: number(8),
        ack_number: Some(number(cookie) + 1),
        max_seg_size: None,
        ..syn
    };
    for port in [5001, 5000] {
        engine.handle_packet(NOW, &segment(port, &acknowledgement), Origin::Network);
    }
    let counters = engine.counters();
    assert_eq!((counters.syn_cookies_refused, counters.syn_cookies_accepted), (1, 1));
    let id = engine.tcp.accept(listener, &holder).expect("a connection");
    assert_eq!(engine.tcp.socket(id).tuple(), (end(OURS, 25), end(PEERS, 5000)));
}

/// RFC 4443, section 3.1: A closed port over IPv6 is unreachable, and its connection is reset.
#[test]
fn rfc4443_3_1_a_closed_port_over_ipv6_is_unreachable_and_its_connection_is_reset() {
    let mut engine = machine(OURS, A);
    engine.handle_packet(NOW, &SYN_OCTETS, Origin::Network);
    let reset =
        sent_segment(&mut engine, |answer| (answer.fields().is_reset, answer.fields().acknowledgement));
    assert_eq!(reset, (true, Some(8)));

    let mut peer = machine(PEERS, B);
    let (from, _holder) = peer.bind_udp(end("::", 4000)).expect("bind");
    assert!(peer.send_udp(from, b"anybody?", end(OURS, 53)).expect("send"));
    engine.handle_packet(NOW, &sent(&mut peer)[0], Origin::Network);
    let packets = sent(&mut engine);
    let packet = Packet::parse(&packets[0]).expect("well-formed");
    assert_eq!((packet.protocol, packet.destination), (IpProtocol::Icmpv6, ip(PEERS)));
    let IpAddr::V6(source) = packet.source else { panic!("{}", packet.source) };
    let IpAddr::V6(destination) = packet.destination else { panic!("{}", packet.destination) };
    let icmp = Icmpv6Packet::new_checked(packet.payload).expect("well-formed");
    let repr = Icmpv6Repr::parse(&source, &destination, &icmp, &ChecksumCapabilities::default());
    let Ok(Icmpv6Repr::DstUnreachable { reason, .. }) = repr else { panic!("{repr:?}") };
    assert_eq!(reason, Icmpv6DstUnreachable::PortUnreachable);
    // No error about the error.
    peer.handle_packet(NOW, &packets[0], Origin::Network);
    assert!(sent(&mut peer).is_empty());
    assert_eq!(peer.counters().icmp_ignored, 1);
}

#[test]
fn every_address_means_those_of_one_family() {
    let mut engine = machine(OURS, A);
    let (short, short_holder) = engine.listen(on(25)).expect("listen");
    engine.handle_packet(NOW, &SYN_OCTETS, Origin::Network);
    assert!(sent_segment(&mut engine, |answer| answer.fields().is_reset), "nobody listens over IPv6");
    let (long, long_holder) = engine.listen(end("::", 25)).expect("the port is free there");
    let (mut peer, mut ids) = (machine(PEERS, B), Vec::new());
    for to in [at(A, 25), end(OURS, 25)] {
        ids.push(peer.connect(NOW, to).expect("connect"));
        exchange(&mut peer, &mut engine);
    }
    for (listener, holder, peers) in [(short, short_holder, ids[0]), (long, long_holder, ids[1])] {
        let id = engine.tcp.accept(listener, &holder).expect("a connection");
        let (local, remote) = engine.tcp.socket(id).tuple();
        assert_eq!(peer.tcp.socket(peers).tuple(), (remote, local));
        assert_eq!(engine.tcp.accept(listener, &holder), None);
    }
    let (socket, _holder) = engine.bind_udp(on(53)).expect("bind");
    let error = engine.send_udp(socket, &[1], end(PEERS, 53)).expect_err("the other family");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn what_no_host_has_sends_and_gets_nothing_over_ipv6() {
    let mut engine = machine(OURS, A);
    let _listener = engine.listen(end("::", 25)).expect("listen");
    let header = segment::empty(end(PEERS, 4000), end(OURS, 25));
    let syn = TcpRepr { control: smoltcp::wire::TcpControl::Syn, ..header };
    for source in ["::", "::1", "ff02::1", "::ffff:192.168.1.2", OURS] {
        let packet = segment::packet(end(source, 4000), end(OURS, 25), &syn);
        engine.handle_packet(NOW, &packet, Origin::Network);
    }
    for destination in ["2001:db8:1::3", "ff02::1", "::ffff:192.168.1.1"] {
        let packet = segment::packet(end(PEERS, 4000), end(destination, 25), &syn);
        engine.handle_packet(NOW, &packet, Origin::Network);
        assert!(engine.connect(NOW, end(PEERS, 0)).is_err());
    }
    assert!(sent(&mut engine).is_empty());
    assert_eq!((engine.counters().packets_not_ours, engine.counters().connections), (8, 0));
    for remote in ["::", "::1", "ff02::1", "::ffff:192.168.1.2"] {
        let error = engine.connect(NOW, end(remote, 25)).expect_err("no host");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{remote}");
    }
}

#[test]
fn connections_of_one_family_outlive_a_change_of_the_others_addresses() {
    let (mut client, mut server) = (machine(OURS, A), machine(PEERS, B));
    let ids = [at(B, 7), end(PEERS, 7)].map(|to| {
        server.listen(to).expect("listen");
        client.connect(NOW, to).expect("connect")
    });
    exchange(&mut client, &mut server);
    client.set_addresses(&[network(A)]);
    assert_eq!(client.tcp.socket(ids[0]).error(), None);
    assert_eq!(client.tcp.socket(ids[1]).error(), Some(ErrorKind::ConnectionAborted));
}

#[test]
fn the_edge_keeps_ipv6_out() {
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        stack.set_addresses(&[network(A), IpNet::new(ip(OURS), 64).expect("a prefix length")]);
        let socket = stack.bind_udp(on(53)).await.expect("bind");
        for local in [end("::", 25), end(OURS, 25)] {
            for handle in [stack.clone(), stack.stage(&[])] {
                let listened = handle.listen(local).await.err().expect("no IPv6");
                let bound = handle.bind_udp(local).await.err().expect("no IPv6");
                assert_eq!([listened.kind(), bound.kind()], [ErrorKind::Unsupported; 2]);
                assert_eq!(listened.to_string(), "the gateway speaks IPv4 only");
            }
        }
        let refused = stack.connect(end(PEERS, 25)).await.err().expect("no IPv6");
        let unsent = socket.send_to(&[1], end(PEERS, 53)).await.expect_err("no IPv6");
        assert_eq!([refused.kind(), unsent.kind()], [ErrorKind::Unsupported; 2]);
        let _listener = stack.listen(on(25)).await.expect("listen");
        stack.handle_packet(&SYN_OCTETS);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!((wire.take(), stack.counters().packets_malformed), (None, 1));
        // IPv4 beside it is served.
        stack.handle_packet(&Raw { ports: (4000, 25), flags: SYN, ..Raw::default() }.packet(B, A));
        assert_eq!(stack.counters().connections, 1);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(300)))]

    #[test]
    fn no_packets_of_ipv6_panic_the_machine(
        protocol in any::<u8>(),
        payload in prop::collection::vec(any::<u8>(), 0..200),
        cut in 0..60_usize,
    ) {
        let mut engine = machine(OURS, A);
        let _listener = engine.listen(end("::", 25)).expect("listen");
        let _socket = engine.bind_udp(end("::", 53)).expect("bind");
        for protocol in [protocol, 0, 6, 17, 43, 44, 58, 60] {
            let fill = |octets: &mut [u8]| octets.copy_from_slice(&payload);
            let packet = encode(ip(PEERS), ip(OURS), IpProtocol::from(protocol), payload.len(), fill);
            engine.handle_packet(NOW, &packet, Origin::Network);
            engine.handle_packet(NOW, &packet[..packet.len().min(cut)], Origin::Network);
            sent(&mut engine);
        }
    }
}
