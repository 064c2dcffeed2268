//! The frames between LAN ports that inspection drops (`lan.inspect_arp`, `lan.dhcp_snooping`).

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::*;
use gatepost_dataplane::alert::Alert;
use gatepost_dataplane::binding::Binding;
use gatepost_dataplane::config::{Inspection, Mode};
use gatepost_dataplane::{DropReason, Verdict};
use gatepost_ground::{Instant, MacAddr};

/// A machine at the other port than its victim.
const FORGER: Host = Host { port: LAN1, mac: MacAddr([2, 0, 0, 0, 6, 6]), address: ALICE.address };
/// A second DHCP server on the LAN.
const ROGUE: Host = Host { port: LAN1, mac: FORGER.mac, address: Ipv4Addr::new(192, 168, 1, 66) };

fn bench(inspection: Inspection) -> Bench {
    let mut config = config(Mode::NatDmz);
    config.inspection = inspection;
    let mut bench = Bench::with_config(config);
    let reserved =
        Binding { ip: ALICE.address, mac: ALICE.mac, source: ALICE.mac, until: Instant::FAR_FUTURE };
    bench.dataplane.set_bindings(bench.now, [reserved].into_iter().collect());
    bench
}

const ARP: Inspection = Inspection { arp: true, dhcp: false };
const DHCP: Inspection = Inspection { arp: false, dhcp: true };

/// ARP by `from` with which it claims its address.
fn claims(from: Host) -> [Vec<u8>; 4] {
    [
        arp(1, from, MacAddr::ZERO, from.address, MacAddr::BROADCAST),
        arp_request(from, GATEWAY_LAN),
        // To the victim of a deception alone.
        arp_reply(from, BOB.mac, BOB.address),
        arp_reply(from, ALICE.mac, ALICE.address),
    ]
}

#[test]
fn arp_that_contradicts_a_lease_reaches_nobody() {
    let mut bench = bench(ARP);
    bench.pass(Duration::from_secs(1));
    for claim in claims(FORGER) {
        bench.send(LAN1, &claim).assert_silently_dropped(DropReason::ArpInspection);
    }
    assert_eq!(bench.dataplane.counters().neighbor_claims_refused, 4);
    assert!(matches!(bench.dataplane.alerts()[..], [Alert::NeighborClaimRefused(_), ..]));
    let stations: Vec<_> = bench.dataplane.stations(bench.now).map(|station| station.mac).collect();
    assert!(!stations.contains(&FORGER.mac), "it is not learnt either");
}

#[test]
fn arp_of_a_client_behind_a_bridge_that_translates_hardware_addresses_passes() {
    let mut bench = bench(ARP);
    let bridge = MacAddr([2, 0, 0, 0, 7, 7]);
    let lease = Binding { ip: ALICE.address, mac: ALICE.mac, source: bridge, until: Instant::FAR_FUTURE };
    bench.dataplane.set_bindings(bench.now, [lease].into_iter().collect());
    let reply = arp_reply(Host { mac: bridge, ..ALICE }, BOB.mac, BOB.address);
    assert!(!matches!(bench.send(LAN0, &reply).verdict, Verdict::Drop(_)));
    let claim = arp_reply(FORGER, BOB.mac, BOB.address);
    bench.send(LAN1, &claim).assert_silently_dropped(DropReason::ArpInspection);
}

#[test]
fn nobody_poses_as_the_gateway() {
    let mut bench = bench(ARP);
    for claim in claims(Host { address: GATEWAY_LAN, ..FORGER }) {
        let outcome = bench.send(LAN1, &claim);
        outcome.assert_dropped(DropReason::ArpInspection);
        let all_ours = outcome.sent.iter().all(|sent| sent.source_mac() == GATEWAY_LAN_MAC);
        assert!(all_ours, "the gateway defends its address: {:?}", outcome.sent);
    }
    assert_eq!(bench.dataplane.counters().address_conflicts, 4);
}

#[test]
fn arp_in_another_s_frame_is_dropped() {
    let mut bench = bench(ARP);
    let mut disguised = arp_request(Host { mac: ALICE.mac, ..FORGER }, BOB.address);
    disguised[6..12].copy_from_slice(&FORGER.mac.0);
    bench.send(LAN1, &disguised).assert_silently_dropped(DropReason::ArpInspection);
    bench.send(LAN1, &disguised[..30]).assert_silently_dropped(DropReason::ArpMalformed);
}

#[test]
fn true_arp_probes_and_addresses_without_a_lease_pass() {
    let mut bench = bench(ARP);
    for (from, target) in [(ALICE, BOB.address), (BOB, ALICE.address)] {
        let verdict = bench.send(from.port, &arp_request(from, target)).verdict;
        assert!(matches!(verdict, Verdict::Flood { .. }), "{from:?}: {verdict:?}");
    }
    let probe = Host { address: Ipv4Addr::UNSPECIFIED, ..FORGER };
    assert!(matches!(bench.send(LAN1, &arp_request(probe, ALICE.address)).verdict, Verdict::Flood { .. }));
    assert_eq!(bench.send(LAN1, &arp_reply(BOB, ALICE.mac, ALICE.address)).verdict, Verdict::Transmit(LAN0));
}

#[test]
fn what_is_not_asked_for_is_not_inspected() {
    let mut bench = bench(Inspection::default());
    assert_eq!(bench.send(LAN1, &claims(FORGER)[3]).verdict, Verdict::Transmit(LAN0));
    let offer = udp_to(ROGUE, 67, ALICE, 68, &[2; 240]);
    assert_eq!(bench.send(LAN1, &offer).verdict, Verdict::Transmit(LAN0));
}

/// A datagram from one LAN host to another.
fn udp_to(from: Host, from_port: u16, to: Host, to_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = udp(from, from_port, to.address, to_port, payload);
    frame[..6].copy_from_slice(&to.mac.0);
    frame
}

#[test]
fn another_dhcp_server_is_heard_by_nobody() {
    let mut bench = bench(DHCP);
    let everybody = Host { mac: MacAddr::BROADCAST, address: Ipv4Addr::BROADCAST, ..ALICE };
    for (to, from_port, to_port) in [(everybody, 67, 68), (ALICE, 67, 68), (ALICE, 4011, 68), (ALICE, 67, 67)]
    {
        let answer = udp_to(ROGUE, from_port, to, to_port, &[2; 240]);
        bench.send(LAN1, &answer).assert_silently_dropped(DropReason::DhcpServerForeign);
    }
    let mut first = udp_to(ROGUE, 67, ALICE, 68, &[2; 240]);
    set_fragment(&mut first, 0, true);
    bench.send(LAN1, &first).assert_silently_dropped(DropReason::DhcpServerForeign);

    // Clients' messages and all other frames pass.
    let discover = udp_to(Host { address: Ipv4Addr::UNSPECIFIED, ..BOB }, 68, everybody, 67, &[1; 240]);
    assert!(matches!(bench.send(LAN1, &discover).verdict, Verdict::Flood { .. }));
    assert_eq!(bench.send(LAN1, &udp_to(BOB, 68, ALICE, 67, &[1; 240])).verdict, Verdict::Transmit(LAN0));
    assert_eq!(bench.send(LAN1, &udp_to(BOB, 67, ALICE, 53, &[2; 240])).verdict, Verdict::Transmit(LAN0));
    assert_eq!(bench.send(LAN1, &udp_to(BOB, 67, ALICE, 67, &[])).verdict, Verdict::Transmit(LAN0));
}

#[test]
fn tags_of_vlan_0_take_nothing_past_the_inspection() {
    let mut bench = bench(Inspection { arp: true, dhcp: true });
    let answer = udp_to(ROGUE, 67, ALICE, 68, &[2; 240]);
    let claim = arp_reply(FORGER, ALICE.mac, ALICE.address);
    for (frame, inspected) in [(answer, DropReason::DhcpServerForeign), (claim, DropReason::ArpInspection)] {
        let mut frame = frame;
        for reason in [inspected, inspected, inspected, DropReason::VlanTagged, DropReason::VlanTagged] {
            bench.send(LAN1, &frame).assert_silently_dropped(reason);
            frame = tagged(&frame, 0);
        }
    }
}

#[test]
fn the_provider_s_dhcp_server_is_none_of_the_lan_s() {
    let mut bench = bench(DHCP);
    let answer = udp(ISP, 67, GATEWAY_WAN, 68, &[2; 240]);
    assert!(!matches!(bench.send(WAN, &answer).verdict, Verdict::Drop(DropReason::DhcpServerForeign)));
}
