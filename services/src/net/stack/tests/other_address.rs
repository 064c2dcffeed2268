//! A LAN host that connects, or sends datagrams, to the gateway's other address.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::super::udp::REPLY_FROM_MAX;
use super::packets::{ACK, RST, Raw, SYN, alone, next_segment, udp};
use super::*;
use crate::net::UdpSocket;

const LAN: [u8; 4] = A;
const WAN: [u8; 4] = [203, 0, 113, 10];
const HOST: [u8; 4] = B;
const NEIGHBOUR: [u8; 4] = [203, 0, 113, 1];
const STRANGER: [u8; 4] = [198, 51, 100, 7];

/// A stack with the addresses of an office's gateway.
fn gateway() -> (Stack, Wire) {
    let (stack, wire) = alone(StackConfig::default());
    stack.set_addresses(&[network(LAN), network(WAN)]);
    (stack, wire)
}

/// The ends of the next packet on the wire, with their ports.
async fn next_ends(wire: &Wire) -> Option<(SocketAddr, SocketAddr)> {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let packet = wire.take()?;
    let packet = Ipv4Packet::new_checked(&packet[..]).expect("well-formed");
    let ports = packet.payload();
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    Some((at(packet.src_addr().octets(), port(0)), at(packet.dst_addr().octets(), port(2))))
}

fn syn(port: u16) -> Raw {
    Raw { ports: (4000, port), flags: SYN, window: 4000, ..Raw::default() }
}

#[test]
fn a_lan_host_is_served_at_the_wan_address_and_answered_from_it() {
    simulate(async {
        let (stack, wire) = gateway();
        let listener = stack.listen(at(LAN, 25)).await.expect("listen");
        stack.handle_packet(&syn(25).packet(HOST, WAN));
        let (flags, sequence, acknowledgement) = next_segment(&wire).await.expect("an answer");
        assert_eq!((flags, acknowledgement), (SYN | ACK, 1));
        let next = Raw { sequence: 1, acknowledgement: sequence.wrapping_add(1), flags: ACK, ..syn(25) };
        stack.handle_packet(&Raw { data: b"hello".to_vec(), ..next }.packet(HOST, WAN));
        let mut stream = listener.accept().await.expect("accept");
        assert_eq!((stream.local_addr(), stream.peer_addr()), (at(WAN, 25), at(HOST, 4000)));
        let mut received = [0; 5];
        stream.read_exact(&mut received).await.expect("read");
        stream.write_all(b"welcome").await.expect("write");
        let ends = (at(WAN, 25), at(HOST, 4000));
        while let Some(sent) = next_ends(&wire).await {
            assert_eq!(sent, ends);
        }
    });
}

#[test]
fn a_datagram_of_a_lan_host_to_the_wan_address_is_answered_from_it() {
    simulate(async {
        let (stack, wire) = gateway();
        let socket = stack.bind_udp(at(LAN, 53)).await.expect("bind");
        for asked in [WAN, LAN, WAN] {
            stack.handle_packet(&udp(HOST, asked, 53, b"who?"));
            let (len, remote) = socket.recv_from(&mut [0; 10]).await.expect("a datagram");
            assert_eq!((len, remote), (4, at(HOST, 4000)));
            socket.send_to(b"me", remote).await.expect("send");
            assert_eq!(next_ends(&wire).await, Some((at(asked, 53), at(HOST, 4000))));
        }
        // A datagram to a peer that has sent none comes from the socket's own address.
        socket.send_to(b"hello", at(HOST, 4001)).await.expect("send");
        assert_eq!(next_ends(&wire).await, Some((at(LAN, 53), at(HOST, 4001))));
    });
}

#[test]
fn nobody_is_answered_from_an_address_that_has_gone() {
    simulate(async {
        let (stack, wire) = gateway();
        let socket = stack.bind_udp(at(LAN, 53)).await.expect("bind");
        stack.handle_packet(&udp(HOST, WAN, 53, b"who?"));
        let (_, remote) = socket.recv_from(&mut [0; 10]).await.expect("a datagram");
        stack.set_addresses(&[network(LAN)]);
        socket.send_to(b"me", remote).await.expect("send");
        assert_eq!(next_ends(&wire).await, Some((at(LAN, 53), at(HOST, 4000))));
    });
}

#[test]
fn of_those_who_ask_at_the_other_address_the_latest_are_remembered() {
    simulate(async {
        let (stack, wire) = gateway();
        let socket = stack.bind_udp(at(LAN, 53)).await.expect("bind");
        let hosts: Vec<_> = (0..=REPLY_FROM_MAX).map(|number| [192, 168, 1, 100 + number as u8]).collect();
        for host in &hosts {
            stack.handle_packet(&udp(*host, WAN, 53, b"who?"));
            socket.recv_from(&mut [0; 10]).await.expect("a datagram");
        }
        for (host, own) in [(hosts[0], LAN), (hosts[1], WAN), (hosts[REPLY_FROM_MAX], WAN)] {
            socket.send_to(b"me", at(host, 4000)).await.expect("send");
            assert_eq!(next_ends(&wire).await, Some((at(own, 53), at(host, 4000))));
        }
    });
}

#[test]
fn whoever_serves_the_wan_address_itself_comes_first() {
    simulate(async {
        let (stack, _wire) = gateway();
        let _inside = stack.bind_udp(at(LAN, 53)).await.expect("bind");
        let outside = stack.bind_udp(at(WAN, 53)).await.expect("bind");
        stack.handle_packet(&udp(HOST, WAN, 53, b"who?"));
        assert_eq!(outside.recv_from(&mut [0; 10]).await.expect("a datagram").0, 4);
    });
}

#[test]
fn nobody_outside_is_served_so() {
    simulate(async {
        let (stack, wire) = gateway();
        let _listener = stack.listen(at(LAN, 25)).await.expect("listen");
        let socket = stack.bind_udp(at(LAN, 53)).await.expect("bind");
        for peer in [NEIGHBOUR, STRANGER] {
            stack.handle_packet(&syn(25).packet(peer, WAN));
            assert_eq!(next_segment(&wire).await.map(|(flags, ..)| flags), Some(RST | ACK));
            stack.handle_packet(&udp(peer, WAN, 53, b"who?"));
            next_ends(&wire).await.expect("an error");
        }
        // Nor is a broadcast.
        stack.handle_packet(&udp(HOST, [203, 0, 113, 255], 53, b"who?"));
        assert!(timeout(Duration::from_secs(1), socket.recv_from(&mut [0; 10])).await.is_err());
        assert_eq!(stack.counters().datagrams_unwanted, 3);
    });
}
