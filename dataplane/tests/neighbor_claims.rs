//! Forged ARP: a host that claims a neighbour's address does not get its packets.

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::*;
use gatepost_dataplane::Verdict;
use gatepost_dataplane::alert::Alert;
use gatepost_dataplane::binding::{Binding, Bindings};
use gatepost_dataplane::config::Mode;
use gatepost_dataplane::neighbor::Claim;
use gatepost_ground::{Instant, MacAddr};

/// A machine at the port of `victim` that says that it has its address.
fn thief(victim: Host) -> Host {
    Host { mac: MacAddr([2, 0, 0, 0, 6, 6]), ..victim }
}

fn gateway_of(host: Host) -> (MacAddr, Ipv4Addr) {
    if host.port == WAN { (GATEWAY_WAN_MAC, GATEWAY_WAN) } else { (GATEWAY_LAN_MAC, GATEWAY_LAN) }
}

/// Every kind of ARP packet with which `victim`'s address can be claimed.
fn forgeries(victim: Host) -> Vec<Vec<u8>> {
    let (forger, (gateway_mac, gateway)) = (thief(victim), gateway_of(victim));
    vec![
        arp(1, forger, MacAddr::ZERO, victim.address, MacAddr::BROADCAST),
        arp(2, forger, MacAddr::ZERO, victim.address, MacAddr::BROADCAST),
        arp_request(forger, gateway),
        arp_reply(forger, gateway_mac, gateway),
        arp(1, forger, gateway_mac, gateway, gateway_mac),
    ]
}

/// A packet for `victim` that the gateway has to send on.
fn packet_for(bench: &mut Bench, victim: Host) -> Outcome {
    if victim.port == WAN {
        bench.send(LAN1, &udp(BOB, 5000, SERVER.address, 53, b"query"))
    } else {
        bench.host_sends(&udp(
            Host { address: GATEWAY_LAN, mac: GATEWAY_LAN_MAC, port: LAN0 },
            53,
            victim.address,
            5000,
            b"answer",
        ))
    }
}

#[test]
fn a_forged_claim_takes_no_packet_from_a_neighbour_that_answers() {
    for victim in [ALICE, ISP] {
        for (number, forgery) in forgeries(victim).iter().enumerate() {
            let mut bench = Bench::new(Mode::NatDmz);
            bench.pass(Duration::from_secs(2));
            bench.send(victim.port, forgery);
            for _ in 0..3 {
                let outcome = packet_for(&mut bench, victim);
                assert_eq!(outcome.one().destination_mac(), victim.mac, "forgery {number} of {victim:?}");
            }
            let counters = bench.dataplane.counters();
            assert_eq!((counters.neighbor_changes, counters.neighbor_claims_refused), (0, 1));
            let claim = Claim {
                interface: if victim.port == WAN { WAN_SIDE } else { LAN_SIDE },
                ip: victim.address.into(),
                known: victim.mac,
                claimant: thief(victim).mac,
            };
            assert_eq!(bench.dataplane.alerts(), [Alert::NeighborClaimRefused(claim)]);
        }
    }
}

#[test]
fn the_known_address_is_asked_at_once_and_by_unicast() {
    let mut bench = Bench::new(Mode::NatDmz);
    let claimed = bench.send(WAN, &arp_request(thief(ISP), GATEWAY_WAN));
    let (gateway_mac, probe) =
        (GATEWAY_WAN_MAC, Host { mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN, port: WAN });
    let asked: Vec<_> = claimed.sent.iter().filter(|sent| sent.destination_mac() == ISP.mac).collect();
    assert_eq!(asked.len(), 1, "{:?}", claimed.sent);
    let expected = arp(1, probe, MacAddr::ZERO, ISP.address, ISP.mac);
    assert_eq!((asked[0].source_mac(), &asked[0].bytes[..42]), (gateway_mac, &expected[..42]));
}

#[test]
fn a_neighbour_whose_card_was_replaced_is_found_again_with_what_waited_for_it() {
    for victim in [ALICE, ISP] {
        let mut bench = Bench::new(Mode::NatDmz);
        // From here on the old card is silent, and the new one answers.
        bench.hosts_answer(false);
        let (_, gateway) = gateway_of(victim);
        bench.send(victim.port, &arp_request(thief(victim), gateway));
        assert_eq!(packet_for(&mut bench, victim).verdict, Verdict::Hold);
        let sent = bench.pass(Duration::from_millis(300));
        let released: Vec<_> = sent.iter().filter(|sent| sent.is_ipv4()).collect();
        assert_eq!(released.len(), 1, "{sent:?}");
        assert_eq!(released[0].destination_mac(), thief(victim).mac);
        assert_eq!(packet_for(&mut bench, victim).one().destination_mac(), thief(victim).mac);
        let counters = bench.dataplane.counters();
        assert_eq!((counters.neighbor_changes, counters.neighbor_claims_refused, counters.held), (1, 0, 0));
    }
}

#[test]
fn a_lease_decides_without_asking() {
    let mut bench = Bench::new(Mode::NatDmz);
    let until = bench.now + Duration::from_secs(60);
    let lease = |mac, until| -> Bindings {
        [Binding { ip: ALICE.address, mac, source: mac, until }].into_iter().collect()
    };
    bench.dataplane.set_bindings(bench.now, lease(ALICE.mac, until));
    for forgery in forgeries(ALICE) {
        let claimed = bench.send(ALICE.port, &forgery);
        assert!(claimed.sent.iter().all(|sent| sent.destination_mac() != ALICE.mac), "{:?}", claimed.sent);
        assert_eq!(packet_for(&mut bench, ALICE).one().destination_mac(), ALICE.mac);
    }
    // The lease goes to another machine, to which packets go at once.
    bench.dataplane.set_bindings(bench.now, lease(thief(ALICE).mac, until));
    assert_eq!(packet_for(&mut bench, ALICE).one().destination_mac(), thief(ALICE).mac);
    // The last refused claim is ALICE's, whose reply answers the request that follows the packet.
    assert_eq!(bench.dataplane.counters().neighbor_claims_refused, 6);
    assert_eq!(bench.dataplane.counters().neighbor_changes, 1);
}

#[test]
fn a_client_behind_a_bridge_that_translates_hardware_addresses_is_reached_through_it() {
    let mut bench = Bench::cold(config(Mode::NatDmz));
    bench.hosts_answer(false);
    let bridged = thief(ALICE);
    let until = bench.now + Duration::from_secs(60);
    let lease = Binding { ip: ALICE.address, mac: ALICE.mac, source: bridged.mac, until };
    bench.dataplane.set_bindings(bench.now, [lease].into_iter().collect());
    bench.send(ALICE.port, &arp_request(bridged, GATEWAY_LAN));
    assert_eq!(packet_for(&mut bench, ALICE).one().destination_mac(), bridged.mac);
    bench.dataplane.set_bindings(bench.now, [lease].into_iter().collect());
    assert_eq!(packet_for(&mut bench, ALICE).one().destination_mac(), bridged.mac);
    // Nobody else is believed, and the client itself is, at once.
    bench.send(ALICE.port, &arp_request(Host { mac: BOB.mac, ..ALICE }, GATEWAY_LAN));
    assert_eq!(packet_for(&mut bench, ALICE).one().destination_mac(), bridged.mac);
    bench.send(ALICE.port, &arp_request(ALICE, GATEWAY_LAN));
    assert_eq!(packet_for(&mut bench, ALICE).one().destination_mac(), ALICE.mac);
    let counters = bench.dataplane.counters();
    assert_eq!((counters.neighbor_changes, counters.neighbor_claims_refused), (1, 1));
}

#[test]
fn who_asks_for_another_s_lease_does_not_get_its_packets() {
    let mut bench = Bench::new(Mode::NatDmz);
    let until = bench.now + Duration::from_secs(60);
    let lease = Binding { ip: ALICE.address, mac: ALICE.mac, source: thief(ALICE).mac, until };
    bench.dataplane.set_bindings(bench.now, [lease].into_iter().collect());
    assert_eq!(packet_for(&mut bench, ALICE).one().destination_mac(), ALICE.mac);
    bench.send(ALICE.port, &arp_request(thief(ALICE), GATEWAY_LAN));
    assert_eq!(packet_for(&mut bench, ALICE).one().destination_mac(), ALICE.mac);
    assert_eq!(bench.dataplane.counters().neighbor_claims_refused, 1);
}

#[test]
fn a_lease_that_has_ended_decides_nothing() {
    let mut bench = Bench::new(Mode::NatDmz);
    let mac = thief(ALICE).mac;
    let ended = Binding { ip: ALICE.address, mac, source: mac, until: Instant::from_secs(1) };
    bench.dataplane.set_bindings(bench.now, [ended].into_iter().collect());
    bench.send(ALICE.port, &arp_request(ALICE, GATEWAY_LAN));
    assert_eq!(packet_for(&mut bench, ALICE).one().destination_mac(), ALICE.mac);
    assert_eq!(bench.dataplane.counters().neighbor_claims_refused, 0);
}

#[test]
fn what_is_leased_on_the_lan_says_nothing_of_the_wan() {
    let mut bench = Bench::new(Mode::NatDmz);
    let lease = Binding { ip: ISP.address, mac: ALICE.mac, source: ALICE.mac, until: Instant::FAR_FUTURE };
    bench.dataplane.set_bindings(bench.now, [lease].into_iter().collect());
    bench.send(WAN, &arp_request(ISP, GATEWAY_WAN));
    assert_eq!(bench.dataplane.counters().neighbor_claims_refused, 0);
}
