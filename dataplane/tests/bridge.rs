//! The LAN as one switched segment, and what never crosses it.

mod common;

use std::time::Duration;

use common::*;
use gatepost_dataplane::config::Mode;
use gatepost_dataplane::{DropReason, Ingress, Verdict};
use gatepost_ground::{MacAddr, PortSet};

/// A frame in a protocol that the gateway does not speak.
fn frame(from: MacAddr, to: MacAddr) -> Vec<u8> {
    [&to.0[..], &from.0[..], &[0x88, 0xb5], &[0; 46]].concat()
}

#[test]
fn an_unknown_destination_is_flooded_and_a_known_one_is_not() {
    let mut bench = Bench::cold(config(Mode::NatDmz));
    let flooded = bench.send(LAN0, &frame(ALICE.mac, BOB.mac));
    assert_eq!(flooded.verdict, Verdict::Flood { ports: PortSet::only(LAN1), local: None });
    assert_eq!(bench.send(LAN1, &frame(BOB.mac, ALICE.mac)).verdict, Verdict::Transmit(LAN0));
    assert_eq!(bench.send(LAN0, &frame(ALICE.mac, BOB.mac)).verdict, Verdict::Transmit(LAN1));
}

#[test]
fn a_frame_never_returns_to_its_port_of_origin() {
    let mut bench = Bench::new(Mode::NatDmz);
    bench.send(LAN0, &frame(BOB.mac, MacAddr::BROADCAST));
    bench.send(LAN0, &frame(ALICE.mac, BOB.mac)).assert_silently_dropped(DropReason::BridgeSamePort);
}

#[test]
fn a_station_that_moves_is_followed() {
    let mut bench = Bench::new(Mode::NatDmz);
    assert_eq!(bench.send(LAN1, &frame(BOB.mac, ALICE.mac)).verdict, Verdict::Transmit(LAN0));
    bench.send(LAN1, &frame(ALICE.mac, MacAddr::BROADCAST));
    bench.send(LAN1, &frame(BOB.mac, ALICE.mac)).assert_silently_dropped(DropReason::BridgeSamePort);
}

#[test]
fn a_silent_station_is_forgotten_after_300_seconds() {
    let mut bench = Bench::cold(config(Mode::NatDmz));
    bench.send(LAN0, &frame(ALICE.mac, MacAddr::BROADCAST));
    bench.pass(Duration::from_secs(299));
    assert_eq!(bench.send(LAN1, &frame(BOB.mac, ALICE.mac)).verdict, Verdict::Transmit(LAN0));
    bench.pass(Duration::from_secs(2));
    let flooded = bench.send(LAN1, &frame(BOB.mac, ALICE.mac));
    assert_eq!(flooded.verdict, Verdict::Flood { ports: PortSet::only(LAN0), local: None });
}

#[test]
fn broadcasts_stay_on_their_segment() {
    let mut bench = Bench::new(Mode::Router);
    let broadcast = bench.send(LAN0, &frame(ALICE.mac, MacAddr::BROADCAST));
    assert_eq!(broadcast.verdict, Verdict::Flood { ports: PortSet::only(LAN1), local: None });
    bench
        .send(WAN, &frame(ISP.mac, MacAddr::BROADCAST))
        .assert_silently_dropped(DropReason::EtherTypeUnsupported);
}

#[test]
fn segments_are_never_bridged_into_one_another() {
    let mut bench = Bench::new(Mode::Router);
    bench.send(WAN, &frame(ISP.mac, ALICE.mac)).assert_silently_dropped(DropReason::MacNotForUs);
    let unknown = bench.send(LAN0, &frame(ALICE.mac, ISP.mac));
    assert_eq!(unknown.verdict, Verdict::Flood { ports: PortSet::only(LAN1), local: None });
}

#[test]
fn what_is_no_frame_goes_nowhere() {
    let mut bench = Bench::new(Mode::NatDmz);
    bench.send(LAN0, &[0xff; 13]).assert_silently_dropped(DropReason::FrameTruncated);
    bench.send(LAN0, &[]).assert_silently_dropped(DropReason::FrameTruncated);
    for source in [MacAddr::BROADCAST, MacAddr::ZERO, GATEWAY_LAN_MAC] {
        bench.send(LAN0, &frame(source, BOB.mac)).assert_silently_dropped(DropReason::SourceMacInvalid);
    }
    bench
        .send(LAN0, &frame(ALICE.mac, GATEWAY_LAN_MAC))
        .assert_silently_dropped(DropReason::EtherTypeUnsupported);
}

#[test]
fn the_hosts_own_frames_find_their_port() {
    let mut bench = Bench::new(Mode::NatDmz);
    let from_host = |to| frame(GATEWAY_LAN_MAC, to);
    let lan = Ingress::RawFrame(LAN_SIDE);
    assert_eq!(bench.process(lan, &from_host(ALICE.mac)).verdict, Verdict::Transmit(LAN0));
    let both = [LAN0, LAN1].into_iter().collect();
    assert_eq!(
        bench.process(lan, &from_host(MacAddr::BROADCAST)).verdict,
        Verdict::Flood { ports: both, local: None }
    );
    assert_eq!(
        bench.process(Ingress::RawFrame(WAN_SIDE), &from_host(MacAddr::BROADCAST)).verdict,
        Verdict::Transmit(WAN)
    );
}

#[test]
fn the_bridge_table_can_be_shown() {
    let bench = Bench::new(Mode::NatDmz);
    let mut stations: Vec<_> = bench.dataplane.stations(bench.now).map(|s| (s.mac, s.port)).collect();
    stations.sort();
    assert_eq!(stations, [(ALICE.mac, LAN0), (BOB.mac, LAN1), (ISP.mac, WAN)]);
}

#[test]
fn groups_of_one_link_are_not_bridged() {
    let mut bench = Bench::new(Mode::NatDmz);
    let spanning_tree = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0]);
    bench
        .send(LAN0, &frame(ALICE.mac, spanning_tree))
        .assert_silently_dropped(DropReason::ReservedGroupAddress);
}
