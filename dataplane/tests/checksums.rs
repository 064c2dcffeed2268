//! Transport checksums: NAT verifies them before anything else that a packet could do.

mod common;

use common::*;
use gatepost_dataplane::config::Mode;
use gatepost_dataplane::{DropReason, Verdict};
use gatepost_ground::offload::PartialChecksum;
use gatepost_ground::{Offload, PortId};

const TRANSPORT: usize = 34;

/// Damages the last octet of a frame's payload.
fn damaged(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    *frame.last_mut().expect("it has one") ^= 0x10;
    frame
}

/// Packets of every protocol, from either side, that the gateway drops if they are damaged.
fn packets() -> Vec<(PortId, Vec<u8>, DropReason)> {
    use DropReason::{IcmpChecksum, TcpChecksum, UdpChecksum};
    vec![
        (LAN0, tcp(ALICE, 40_000, SERVER.address, 80, "S", 1, 0), TcpChecksum),
        (WAN, tcp(STRANGER, 4000, GATEWAY_WAN, 80, "S", 1, 0), TcpChecksum),
        (LAN0, udp(ALICE, 5000, SERVER.address, 53, b"query"), UdpChecksum),
        (LAN0, udp(ALICE, 5000, SERVER.address, 53, b"odd"), UdpChecksum),
        (LAN0, udp(ALICE, 5000, GATEWAY_WAN, 8000, b"hairpin"), UdpChecksum),
        (LAN0, echo_request(ALICE, SERVER.address, 7, 1), IcmpChecksum),
        (WAN, echo_request(STRANGER, GATEWAY_WAN, 7, 1), IcmpChecksum),
        (WAN, echo_reply(SERVER, GATEWAY_WAN, 7, 1), IcmpChecksum),
    ]
}

#[test]
fn a_damaged_packet_is_dropped_and_opens_nothing() {
    let mut bench = Bench::new(Mode::Nat);
    for (port, frame, reason) in packets() {
        bench.send(port, &damaged(&frame)).assert_silently_dropped(reason);
        assert_eq!(bench.dataplane.flows_len(), 0);
    }
}

/// RFC 9293, section 3.1: A damaged segment neither resets nor speaks.
#[test]
fn rfc9293_3_1_a_damaged_segment_neither_resets_nor_speaks() {
    let mut bench = Bench::new(Mode::Nat);
    bench.send(LAN0, &tcp(ALICE, 40_000, SERVER.address, 80, "S", 1000, 0)).one();
    bench.send(WAN, &tcp(SERVER, 80, GATEWAY_WAN, 40_000, "SA", 5000, 1001)).one();
    bench.send(LAN0, &tcp(ALICE, 40_000, SERVER.address, 80, "A", 1001, 5001)).one();
    let before: Vec<_> = bench.dataplane.flows().collect();
    for flags in ["R", "RA", "FA", "PA", "A", "S", "SA"] {
        let inbound = damaged(&tcp(SERVER, 80, GATEWAY_WAN, 40_000, flags, 5001, 1001));
        bench.send(WAN, &inbound).assert_silently_dropped(DropReason::TcpChecksum);
        let outbound = damaged(&tcp(ALICE, 40_000, SERVER.address, 80, flags, 1001, 5001));
        bench.send(LAN0, &outbound).assert_silently_dropped(DropReason::TcpChecksum);
    }
    assert_eq!(bench.dataplane.flows().collect::<Vec<_>>(), before);
}

#[test]
fn what_a_device_has_verified_or_is_to_make_is_not_verified_again() {
    for (port, frame, _) in packets().into_iter().filter(|(port, ..)| *port == LAN0) {
        let mut bench = Bench::new(Mode::Nat);
        let frame = damaged(&frame);
        let verdict = bench.send_offloaded(port, &frame, Offload::Verified).verdict;
        assert!(matches!(verdict, Verdict::Transmit(_) | Verdict::Local(_)), "{verdict:?}");
    }
    let mut frame = tcp(ALICE, 40_000, SERVER.address, 80, "S", 1, 0);
    let checksum = PartialChecksum { start: TRANSPORT as u16, offset: 16 };
    // Sum of the pseudo-header: addresses, protocol and length.
    let pseudo = [&frame[26..34], &[0, 6], &20u16.to_be_bytes()].concat();
    let at = TRANSPORT + 16;
    frame[at..at + 2].copy_from_slice(&sum(&pseudo).to_be_bytes());
    let mut bench = Bench::new(Mode::Nat);
    bench.send_offloaded(LAN0, &frame, Offload::Checksum(checksum)).one().verify();
}

/// RFC 768: A datagram without a checksum has none that is wrong.
#[test]
fn rfc768_a_datagram_without_a_checksum_has_none_that_is_wrong() {
    let mut bench = Bench::new(Mode::Nat);
    let mut datagram = udp(ALICE, 5000, SERVER.address, 53, b"query");
    datagram[TRANSPORT + 6..TRANSPORT + 8].fill(0);
    assert_eq!(bench.send(LAN0, &damaged(&datagram)).one().bytes[40..42], [0, 0]);
}

#[test]
fn fragments_are_for_who_puts_them_together_to_verify() {
    let mut bench = Bench::new(Mode::Nat);
    let datagram = damaged(&udp(ALICE, 5000, SERVER.address, 53, &[9; 1400]));
    for piece in fragment(&datagram, 1, 504) {
        bench.send(LAN0, &piece).one();
    }
}

#[test]
fn a_mere_router_leaves_transport_alone() {
    let mut bench = Bench::new(Mode::Router);
    let datagram = damaged(&udp(ALICE, 5000, SERVER.address, 53, b"query"));
    assert_eq!(bench.send_unverified(LAN0, &datagram).one().bytes[34..], datagram[34..]);
}
