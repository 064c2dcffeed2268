//! VLAN tags: what is bridged with them, what is read without them, and what ends here. (IEEE 802.1Q, 802.1ad)

mod common;

use common::*;
use gatepost_dataplane::config::{Config, Mode};
use gatepost_dataplane::{DropReason, Verdict};
use gatepost_ground::offload::PartialChecksum;
use gatepost_ground::{MacAddr, Offload, PortSet};

/// A frame in a protocol that the gateway does not speak.
fn frame(from: MacAddr, to: MacAddr) -> Vec<u8> {
    [&to.0[..], &from.0[..], &[0x88, 0xb5], &[7; 46]].concat()
}

#[test]
fn a_frame_of_a_vlan_is_bridged_with_its_tags() {
    let mut bench = Bench::cold(config(Mode::NatDmz));
    for vids in [&[10][..], &[2048], &[4095], &[10, 20], &[0x0fff, 0, 7]] {
        let tags = |frame: Vec<u8>| vids.iter().fold(frame, |frame, vid| tagged(&frame, *vid));
        let broadcast = tags(frame(ALICE.mac, MacAddr::BROADCAST));
        let flooded = bench.send(LAN0, &broadcast);
        assert_eq!(flooded.verdict, Verdict::Flood { ports: PortSet::only(LAN1), local: None });
        assert_eq!(flooded.one().bytes, broadcast);
        // The tagged frame has made its sender known.
        let answer = tags(frame(BOB.mac, ALICE.mac));
        let bridged = bench.send(LAN1, &answer);
        assert_eq!(bridged.verdict, Verdict::Transmit(LAN0), "{vids:?}");
        assert_eq!(bridged.one().bytes, answer);
    }
    assert_eq!(bench.drops(DropReason::VlanTagged), 0);
}

#[test]
fn the_longest_packet_fits_with_two_tags_in_a_usual_buffer() {
    let config = config(Mode::NatDmz);
    let long = [frame(ALICE.mac, BOB.mac), vec![7; 1500 - 46]].concat();
    assert_eq!(tagged(&tagged(&long, 1), 2).len(), config.frame_len_max());
}

#[test]
fn a_frame_of_a_vlan_for_the_gateway_is_dropped() {
    let mut bench = Bench::new(Mode::NatDmz);
    for vid in (0..12).map(|bit| 1 << bit) {
        let ping = tagged(&echo_request(ALICE, GATEWAY_LAN, 1, 1), vid);
        bench.send(LAN0, &ping).assert_silently_dropped(DropReason::VlanTagged);
    }
    let datagram = tagged(&udp(ALICE, 5000, SERVER.address, 53, b"?"), 10);
    bench.send(LAN0, &datagram).assert_silently_dropped(DropReason::VlanTagged);
    // A group on the WAN, and the gateway on a segment with one port: there are no others.
    let group = tagged(&frame(ISP.mac, MacAddr::BROADCAST), 10);
    bench.send(WAN, &group).assert_silently_dropped(DropReason::VlanTagged);
    bench.send(WAN, &tagged(&frame(ISP.mac, BOB.mac), 10)).assert_silently_dropped(DropReason::MacNotForUs);
    let spanning_tree = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0]);
    let group = tagged(&frame(ALICE.mac, spanning_tree), 10);
    bench.send(LAN0, &group).assert_silently_dropped(DropReason::ReservedGroupAddress);
}

#[test]
fn what_a_vlan_broadcasts_is_bridged_and_not_read() {
    let mut bench = Bench::cold(config(Mode::NatDmz));
    let asked = bench.send(LAN0, &tagged(&arp_request(ALICE, GATEWAY_LAN), 10));
    assert_eq!(asked.verdict, Verdict::Flood { ports: PortSet::only(LAN1), local: None });
    assert_eq!(asked.sent.len(), 1, "nobody answers: {:?}", asked.sent);
    assert_eq!(bench.dataplane.neighbors(bench.now).count(), 0);
}

#[test]
fn vlan_0_is_the_untagged_network() {
    for tags in 1..=2 {
        let priority = |frame: &[u8]| (0..tags).fold(frame.to_vec(), |frame, _| tagged(&frame, 0));
        let (mut bench, mut untagged) = (Bench::new(Mode::NatDmz), Bench::new(Mode::NatDmz));
        let mut discover = udp(ALICE, 68, [255; 4].into(), 67, &[0; 300]);
        discover[..6].copy_from_slice(&MacAddr::BROADCAST.0);
        for (port, frame) in [
            (LAN0, echo_request(ALICE, GATEWAY_LAN, 1, 1)),
            (LAN0, arp_request(ALICE, GATEWAY_LAN)),
            (LAN0, udp(ALICE, 5000, SERVER.address, 53, b"out")),
            (WAN, udp(SERVER, 53, GATEWAY_WAN, 5000, b"back")),
            (WAN, udp(STRANGER, 53, GATEWAY_WAN, 5000, b"unasked")),
            (LAN0, discover),
            (LAN1, frame(BOB.mac, ALICE.mac)),
        ] {
            let outcome = bench.send(port, &priority(&frame));
            let expected = untagged.send(port, &frame);
            assert_eq!(outcome.verdict, expected.verdict);
            assert_eq!((outcome.sent, outcome.local), (expected.sent, expected.local));
        }
    }
}

#[test]
fn a_client_on_the_wan_hears_a_server_that_tags_with_vlan_0() {
    let mut config: Config = config(Mode::Nat);
    config.interfaces[WAN_SIDE.index()].addresses.clear();
    config.interfaces[WAN_SIDE.index()].gateway.v4 = None;
    let mut bench = Bench::with_config(config);
    let offer = udp(ISP, 67, [203, 0, 113, 55].into(), 68, b"offer");
    let outcome = bench.send(WAN, &tagged(&offer, 0));
    assert_eq!(outcome.local, Some(offer));
    assert_eq!(bench.dataplane.config().interface_of(WAN), Some(WAN_SIDE));
}

#[test]
fn a_frame_that_ends_in_its_tags_goes_nowhere() {
    let mut bench = Bench::new(Mode::NatDmz);
    let short = tagged(&tagged(&frame(ALICE.mac, BOB.mac), 0), 0);
    for len in 14..=21 {
        bench.send(LAN0, &short[..len]).assert_silently_dropped(DropReason::FrameTruncated);
    }
}

#[test]
fn a_frame_of_a_vlan_that_is_not_what_is_said_of_it_is_refused() {
    let mut bench = Bench::new(Mode::NatDmz);
    let datagram = tagged(&udp(ALICE, 5000, BOB.address, 53, b"?"), 10);
    let to_bob = [&BOB.mac.0[..], &datagram[6..]].concat();
    let offload = |start| Offload::Checksum(PartialChecksum { start, offset: 6 });
    bench.send_offloaded(LAN0, &to_bob, offload(1400)).assert_silently_dropped(DropReason::OffloadInvalid);
    assert_eq!(bench.send_offloaded(LAN0, &to_bob, offload(38)).verdict, Verdict::Transmit(LAN1));
}

#[test]
fn a_checksum_that_begins_in_a_tag_of_vlan_0_is_refused() {
    let mut bench = Bench::new(Mode::NatDmz);
    let packet = tagged(&udp(ALICE, 5000, SERVER.address, 53, b"?"), 0);
    let offload = |start| Offload::Checksum(PartialChecksum { start, offset: 6 });
    let outcome = bench.send_offloaded(LAN0, &packet, offload(17));
    outcome.assert_silently_dropped(DropReason::OffloadInvalid);
    assert_eq!(bench.send_offloaded(LAN0, &packet, offload(38)).verdict, Verdict::Transmit(WAN));
}
