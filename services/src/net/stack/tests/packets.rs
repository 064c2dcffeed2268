//! Packets of which no stack would send the like.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IPV4_HEADER_LEN, Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, IpAddress, IpProtocol, Ipv4Repr,
    TcpPacket, UdpPacket, UdpRepr,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::*;
use crate::net::UdpSocket;

pub(super) const PEER: [u8; 4] = B;

/// A stack whose packets stay on the wire.
pub(super) fn alone(config: StackConfig) -> (Stack, Wire) {
    let wire = Wire::default();
    let stack = Stack::new(config, clock(), StdRng::seed_from_u64(1), wire.sink());
    stack.set_addresses(&[network(A)]);
    let driver = stack.clone();
    spawn_local(async move { driver.run().await });
    (stack, wire)
}

fn ipv4(source: [u8; 4], destination: [u8; 4], protocol: IpProtocol, payload: &[u8]) -> Vec<u8> {
    let repr = Ipv4Repr {
        src_addr: source.into(),
        dst_addr: destination.into(),
        next_header: protocol,
        payload_len: payload.len(),
        hop_limit: 64,
    };
    let mut packet = [&[0; IPV4_HEADER_LEN], payload].concat();
    repr.emit(&mut Ipv4Packet::new_unchecked(&mut packet[..]), &ChecksumCapabilities::default());
    packet
}

pub(super) fn udp(source: [u8; 4], destination: [u8; 4], port: u16, data: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0; 8 + data.len()];
    let (source_ip, destination_ip) = (IpAddress::Ipv4(source.into()), IpAddress::Ipv4(destination.into()));
    UdpRepr { src_port: 4000, dst_port: port }.emit(
        &mut UdpPacket::new_unchecked(&mut datagram[..]),
        &source_ip,
        &destination_ip,
        data.len(),
        |payload| payload.copy_from_slice(data),
        &ChecksumCapabilities::default(),
    );
    ipv4(source, destination, IpProtocol::Udp, &datagram)
}

/// The fields of a segment; `flags` are those of octet 13.
#[derive(Clone, Debug, Default)]
pub(super) struct Raw {
    pub(super) ports: (u16, u16),
    pub(super) sequence: u32,
    pub(super) acknowledgement: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
    pub(super) options: Vec<u8>,
    pub(super) data: Vec<u8>,
}

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const ACK: u8 = 0x10;

impl Raw {
    pub(super) fn packet(&self, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let mut options = self.options.clone();
        options.truncate(40);
        options.resize(options.len().next_multiple_of(4), 0);
        let header_len = 20 + options.len();
        let mut segment = Vec::new();
        segment.extend(self.ports.0.to_be_bytes());
        segment.extend(self.ports.1.to_be_bytes());
        segment.extend(self.sequence.to_be_bytes());
        segment.extend(self.acknowledgement.to_be_bytes());
        segment.extend([u8::try_from(header_len / 4 * 16).expect("at most 240"), self.flags]);
        segment.extend(self.window.to_be_bytes());
        segment.extend([0; 4]);
        segment.extend(&options);
        segment.extend(&self.data);
        TcpPacket::new_unchecked(&mut segment[..])
            .fill_checksum(&IpAddress::Ipv4(source.into()), &IpAddress::Ipv4(destination.into()));
        ipv4(source, destination, IpProtocol::Tcp, &segment)
    }
}

/// The flags, sequence and acknowledgement numbers of the next segment on the wire.
pub(super) async fn next_segment(wire: &Wire) -> Option<(u8, u32, u32)> {
    sleep(Duration::from_millis(20)).await;
    let packet = wire.take()?;
    let packet = Ipv4Packet::new_checked(&packet[..]).expect("well-formed");
    assert!(packet.verify_checksum() && packet.next_header() == IpProtocol::Tcp);
    let segment = packet.payload();
    let number = |at: usize| u32::from_be_bytes(segment[at..at + 4].try_into().expect("four"));
    Some((segment[13], number(4), number(8)))
}

#[test]
fn the_peers_connections_are_bounded_over_all_listeners() {
    simulate(async {
        let (stack, _wire) = alone(StackConfig { connections_max: 2, ..StackConfig::default() });
        let _listeners =
            (stack.listen(on(25)).await.expect("listen"), stack.listen(on(26)).await.expect("listen"));
        for port in [25, 26, 25, 26] {
            let syn = Raw { ports: (4000 + port, port), flags: SYN, ..Raw::default() };
            stack.handle_packet(&syn.packet(PEER, A));
            stack.handle_packet(&Raw { ports: (5000 + port, port), ..syn }.packet(PEER, A));
        }
        assert_eq!((stack.counters().connections, stack.counters().syns_dropped_connections_full), (2, 4));
    });
}

/// RFC 9293, section 3.10.7.1: A segment without a connection is answered by a reset, and a reset is not.
#[test]
fn rfc9293_3_10_7_1_a_segment_for_nobody_is_reset_and_a_reset_is_not() {
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        let segment = Raw { ports: (4000, 25), sequence: 7, acknowledgement: 99, ..Raw::default() };
        let send = |flags| stack.handle_packet(&Raw { flags, ..segment.clone() }.packet(PEER, A));
        send(SYN);
        assert_eq!(next_segment(&wire).await, Some((RST | ACK, 0, 8)));
        send(ACK);
        let (flags, sequence, _) = next_segment(&wire).await.expect("a reset");
        assert_eq!((flags, sequence), (RST, 99));
        send(RST);
        assert_eq!(next_segment(&wire).await, None);
        assert_eq!(stack.counters().connections, 0);
    });
}

/// RFC 9293, MUST-57: A SYN to a broadcast address is ignored.
#[test]
fn rfc9293_must57_a_syn_to_a_broadcast_address_is_ignored() {
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        let _listener = stack.listen(on(25)).await.expect("listen");
        let syn = Raw { ports: (4000, 25), flags: SYN, ..Raw::default() };
        stack.handle_packet(&syn.packet(PEER, [192, 168, 1, 255]));
        stack.handle_packet(&syn.packet(PEER, [255; 4]));
        // Nor does a host send from those, or from the gateway's own address.
        for source in [[192, 168, 1, 255], [224, 0, 0, 1], [0; 4], [127, 0, 0, 1], A] {
            stack.handle_packet(&syn.packet(source, A));
        }
        assert_eq!(next_segment(&wire).await, None);
        assert_eq!((stack.counters().connections, stack.counters().packets_not_ours), (0, 7));
    });
}

#[test]
fn a_syn_with_a_wrong_checksum_leaves_nothing_behind() {
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        let _listener = stack.listen(on(25)).await.expect("listen");
        let syn = Raw { ports: (4000, 25), flags: SYN, ..Raw::default() };
        let mut packet = syn.packet(PEER, A);
        packet[IPV4_HEADER_LEN + 16] ^= 1;
        stack.handle_packet(&packet);
        assert_eq!(next_segment(&wire).await, None);
        assert_eq!(stack.counters().connections, 0);
    });
}

/// RFC 1122, section 3.2.2.1: A closed port is unreachable but not for a broadcast.
#[test]
fn rfc1122_3_2_2_1_a_closed_port_is_unreachable_but_not_for_a_broadcast() {
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        stack.handle_packet(&udp(PEER, A, 53, b"anybody?"));
        sleep(Duration::from_millis(1)).await;
        let packet = wire.take().expect("an answer");
        let packet = Ipv4Packet::new_checked(&packet[..]).expect("well-formed");
        assert_eq!((packet.src_addr(), packet.dst_addr()), (Ipv4Addr::from(A), Ipv4Addr::from(PEER)));
        let icmp = Icmpv4Packet::new_checked(packet.payload()).expect("well-formed");
        let repr = Icmpv4Repr::parse(&icmp, &ChecksumCapabilities::default()).expect("well-formed");
        let Icmpv4Repr::DstUnreachable { reason, header, .. } = repr else { panic!("{repr:?}") };
        assert_eq!((reason, header.dst_addr), (Icmpv4DstUnreachable::PortUnreachable, A.into()));

        stack.handle_packet(&udp(PEER, [192, 168, 1, 255], 53, b"anybody?"));
        stack.handle_packet(&udp(PEER, [255; 4], 53, b"anybody?"));
        stack.handle_packet(&udp(PEER, [224, 0, 0, 1], 53, b"anybody?"));
        sleep(Duration::from_millis(1)).await;
        assert_eq!(wire.take(), None);
    });
}

#[test]
fn a_broadcast_reaches_the_socket_on_every_address() {
    simulate(async {
        let (stack, _wire) = alone(StackConfig::default());
        let socket = stack.bind_udp(on(53)).await.expect("bind");
        stack.handle_packet(&udp(PEER, [255; 4], 53, b"hello"));
        let mut buffer = [0; 3];
        assert_eq!(socket.recv_from(&mut buffer).await.expect("a datagram"), (3, at(PEER, 4000)));
        assert_eq!(&buffer, b"hel");
    });
}

#[test]
fn fragments_are_put_together_in_any_order_and_never_beyond_the_longest_packet() {
    simulate(async {
        let (stack, _wire) = alone(StackConfig::default());
        let socket = stack.bind_udp(on(53)).await.expect("bind");
        let data = octets(4000, 9);
        let mut outbox = outbox::Outbox::new(1500, &mut StdRng::seed_from_u64(1));
        outbox.push(udp(PEER, A, 53, &data));
        let mut fragments: Vec<Vec<u8>> = std::iter::from_fn(|| outbox.pop()).collect();
        fragments.reverse();
        // A whole datagram, but for its last fragment, which ends where no packet can.
        for (offset, len) in (0..65_528).step_by(1480).map(|offset| (offset, 1480)).chain([(65_528, 4)]) {
            let mut beyond = ipv4(PEER, A, IpProtocol::Udp, &vec![0; len.min(65_532 - usize::from(offset))]);
            let mut header = Ipv4Packet::new_unchecked(&mut beyond[..]);
            header.set_ident(4711);
            header.set_more_frags(offset != 65_528);
            header.set_frag_offset(offset);
            header.fill_checksum();
            stack.handle_packet(&beyond);
        }
        for fragment in &fragments {
            stack.handle_packet(fragment);
        }
        let mut buffer = [0; 5000];
        let (len, _) = socket.recv_from(&mut buffer).await.expect("a datagram");
        assert_eq!(buffer[..len], data);
    });
}

#[test]
fn a_full_reassembly_drops_new_fragments_until_the_old_expire() {
    simulate(async {
        let (stack, _wire) = alone(StackConfig::default());
        let socket = stack.bind_udp(on(53)).await.expect("bind");
        let mut outbox = outbox::Outbox::new(1500, &mut StdRng::seed_from_u64(1));
        for _ in 0..8 {
            outbox.push(udp(PEER, A, 53, &[0; 2000]));
            stack.handle_packet(&outbox.pop().expect("the first fragment"));
            outbox.pop();
        }
        let mut send_whole = || {
            outbox.push(udp(PEER, A, 53, &[1; 2000]));
            while let Some(fragment) = outbox.pop() {
                stack.handle_packet(&fragment);
            }
        };
        send_whole();
        sleep(Duration::from_secs(16)).await;
        send_whole();
        assert_eq!(socket.recv_from(&mut [0; 2000]).await.expect("one datagram").0, 2000);
        let another = tokio::time::timeout(Duration::from_secs(1), socket.recv_from(&mut [0; 1])).await;
        assert!(another.is_err());
    });
}

#[test]
fn addresses_that_are_too_many_or_of_no_host_are_left_out() {
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        let mut networks = vec![network([224, 0, 0, 1]), network([255; 4]), network([0; 4])];
        networks.extend((1..=20).map(|number| network([10, 0, number, 1])));
        stack.set_addresses(&networks);
        for (number, is_answered) in [(8, true), (9, false)] {
            stack.handle_packet(&udp(PEER, [10, 0, number, 1], 53, b"anybody?"));
            sleep(Duration::from_millis(1)).await;
            assert_eq!(wire.take().is_some(), is_answered, "{number}");
        }
    });
}

/// RFC 1812, section 4.3.3.6: An echo request in fragments is answered.
#[test]
fn rfc1812_4_3_3_6_an_echo_request_in_fragments_is_answered() {
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        let data = octets(4000, 9);
        let request = Icmpv4Repr::EchoRequest { ident: 7, seq_no: 1, data: &data };
        let mut message = vec![0; request.buffer_len()];
        let checksums = ChecksumCapabilities::default();
        request.emit(&mut Icmpv4Packet::new_unchecked(&mut message[..]), &checksums);
        let mut damaged = message.clone();
        damaged[2000] ^= 1;
        for message in [damaged, message] {
            let mut outbox = outbox::Outbox::new(1500, &mut StdRng::seed_from_u64(1));
            outbox.push(ipv4(PEER, A, IpProtocol::Icmp, &message));
            while let Some(fragment) = outbox.pop() {
                stack.handle_packet(&fragment);
            }
        }
        sleep(Duration::from_millis(1)).await;
        let mut reply = Vec::new();
        while let Some(packet) = wire.take() {
            let packet = Ipv4Packet::new_checked(&packet[..]).expect("well-formed");
            assert_eq!((packet.src_addr(), packet.dst_addr()), (Ipv4Addr::from(A), Ipv4Addr::from(PEER)));
            assert_eq!(usize::from(packet.frag_offset()), reply.len());
            reply.extend_from_slice(packet.payload());
        }
        let icmp = Icmpv4Packet::new_checked(&reply[..]).expect("well-formed");
        let expected = Icmpv4Repr::EchoReply { ident: 7, seq_no: 1, data: &data };
        assert_eq!(Icmpv4Repr::parse(&icmp, &checksums).expect("well-formed"), expected);
        // An echo reply gets no answer.
        stack.handle_packet(&ipv4(PEER, A, IpProtocol::Icmp, &reply[..64]));
        sleep(Duration::from_millis(1)).await;
        assert_eq!(wire.take(), None);
    });
}

/// RFC 1812, section 4.3.2.8: Echo replies to fragments are limited.
#[test]
fn rfc1812_4_3_2_8_echo_replies_to_fragments_are_limited() {
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        let request = Icmpv4Repr::EchoRequest { ident: 7, seq_no: 1, data: &[0; 2000] };
        let mut message = vec![0; request.buffer_len()];
        request.emit(&mut Icmpv4Packet::new_unchecked(&mut message[..]), &ChecksumCapabilities::default());
        let mut outbox = outbox::Outbox::new(1500, &mut StdRng::seed_from_u64(1));
        for _ in 0..60 {
            outbox.push(ipv4(PEER, A, IpProtocol::Icmp, &message));
            while let Some(fragment) = outbox.pop() {
                stack.handle_packet(&fragment);
            }
        }
        let counters = stack.counters();
        assert_eq!((counters.packets_reassembled, counters.echo_replies_limited), (60, 10));
        sleep(Duration::from_secs(1)).await;
        wire.packets.borrow_mut().clear();
    });
}

#[test]
fn an_acceptable_reset_after_data_is_read_after_the_data() {
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        let listener = stack.listen(on(25)).await.expect("listen");
        let segment = Raw { ports: (4000, 25), window: 1000, ..Raw::default() };
        stack.handle_packet(&Raw { flags: SYN, ..segment.clone() }.packet(PEER, A));
        let (_, sequence, _) = next_segment(&wire).await.expect("SYN and ACK");
        let next = Raw { sequence: 1, acknowledgement: sequence.wrapping_add(1), flags: ACK, ..segment };
        stack.handle_packet(&Raw { data: b"hello".to_vec(), ..next.clone() }.packet(PEER, A));
        let mut stream = listener.accept().await.expect("accept");
        stack.handle_packet(&Raw { sequence: 6, flags: RST, ..next }.packet(PEER, A));
        let mut received = Vec::new();
        let error = stream.read_to_end(&mut received).await.expect_err("a reset");
        assert_eq!((received.as_slice(), error.kind()), (&b"hello"[..], io::ErrorKind::ConnectionReset));
    });
}

#[test]
fn an_orphan_whose_peer_takes_nothing_is_given_up() {
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        let listener = stack.listen(on(25)).await.expect("listen");
        let segment = Raw { ports: (4000, 25), ..Raw::default() };
        stack.handle_packet(&Raw { flags: SYN, ..segment.clone() }.packet(PEER, A));
        let (_, sequence, _) = next_segment(&wire).await.expect("SYN and ACK");
        let next = Raw { sequence: 1, acknowledgement: sequence.wrapping_add(1), flags: ACK, ..segment };
        stack.handle_packet(&next.packet(PEER, A));
        let mut stream = listener.accept().await.expect("accept");
        stream.write_all(b"last words").await.expect("buffered");
        drop(stream);
        for _ in 0..29 {
            assert_eq!(stack.counters().connections, 1);
            sleep(Duration::from_secs(10)).await;
            wire.packets.borrow_mut().clear();
            stack.handle_packet(&next.packet(PEER, A)); // still no room
        }
        sleep(Duration::from_secs(11)).await;
        assert_eq!(stack.counters().connections, 0);
    });
}

fn any_segment() -> impl Strategy<Value = Raw> {
    let near = prop_oneof![0..40_u32, any::<u32>(), (0..40_u32).prop_map(u32::wrapping_neg)];
    let options = prop::collection::vec(any::<u8>(), 0..40);
    let data = prop::collection::vec(any::<u8>(), 0..60);
    (near.clone(), near, any::<u8>(), any::<u16>(), options, data).prop_map(
        |(sequence, acknowledgement, flags, window, options, data)| Raw {
            ports: (4000, 25),
            sequence,
            acknowledgement,
            // Rarely a reset, which ends the play.
            flags: if flags & 0xc0 == 0 { flags & 0x3f } else { flags & 0x3f & !RST | ACK },
            window,
            options,
            data,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(300)))]

    #[test]
    fn no_octets_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        simulate(async {
            let (stack, _wire) = alone(StackConfig::default());
            stack.handle_packet(&octets);
            sleep(Duration::from_secs(1)).await;
        });
    }

    #[test]
    fn no_payload_panics(
        protocol in any::<u8>(),
        flags_and_offset in any::<u16>(),
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        simulate(async {
            let (stack, _wire) = alone(StackConfig::default());
            let _udp = stack.bind_udp(on(53)).await;
            for protocol in [protocol, 1, 6, 17] {
                let mut packet = ipv4(PEER, A, IpProtocol::from(protocol), &payload);
                packet[6..8].copy_from_slice(&flags_and_offset.to_be_bytes());
                Ipv4Packet::new_unchecked(&mut packet[..]).fill_checksum();
                stack.handle_packet(&packet);
                sleep(Duration::from_secs(1)).await;
            }
        });
    }

    #[test]
    fn no_segments_panic_a_connection(segments in prop::collection::vec(any_segment(), 1..30)) {
        simulate(async {
            let (stack, wire) = alone(StackConfig::default());
            let listener = stack.listen(on(25)).await.expect("listen");
            let syn = Raw { ports: (4000, 25), flags: SYN, window: 4000, ..Raw::default() };
            stack.handle_packet(&syn.packet(PEER, A));
            let (_, ours, _) = next_segment(&wire).await.expect("SYN and ACK");
            spawn_local(async move {
                let (mut reader, mut writer) = tokio::io::split(listener.accept().await.expect("accept"));
                tokio::io::copy(&mut reader, &mut writer).await
            });
            for mut segment in segments {
                // Near what is expected, so that some are accepted.
                segment.sequence = segment.sequence.wrapping_add(1);
                segment.acknowledgement = segment.acknowledgement.wrapping_add(ours);
                stack.handle_packet(&segment.packet(PEER, A));
                sleep(Duration::from_millis(u64::from(segment.window) % 3000)).await;
                wire.packets.borrow_mut().clear();
            }
        });
    }
}
