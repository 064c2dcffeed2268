//! Several addresses of one interface: the gateway is a host of each of its networks.

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::*;
use gatepost_dataplane::config::{Config, Mode};
use gatepost_dataplane::neighbor::State;
use gatepost_dataplane::{DropReason, Verdict};
use gatepost_ground::MacAddr;

/// The gateway's second address on the LAN, and a host of its network behind Alice's port.
const SECOND_LAN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const CAROL: Host =
    Host { port: LAN0, mac: MacAddr([2, 0, 0, 0, 1, 30]), address: Ipv4Addr::new(10, 0, 0, 30) };

fn config_with_second_address(mode: Mode) -> Config {
    let mut config = config(mode);
    let lan = &mut config.interfaces[LAN_SIDE.index()];
    lan.addresses.push("10.0.0.1/24".parse().expect("a network")).expect("room");
    config
}

/// A gateway to which the hosts of all networks are known.
fn bench(mode: Mode) -> Bench {
    let mut bench = Bench::with_config(config_with_second_address(mode));
    bench.send(LAN0, &arp_request(CAROL, SECOND_LAN));
    bench
}

/// The sender's protocol address of an ARP frame.
fn arp_sender(frame: &Sent) -> Ipv4Addr {
    Ipv4Addr::from_octets(*frame.bytes[28..].first_chunk().expect("a whole packet"))
}

#[test]
fn each_address_is_announced() {
    let mut bench = Bench::new(Mode::NatDmz);
    bench.configure(|config| *config = config_with_second_address(Mode::NatDmz));
    let announced = bench.pass(Duration::from_secs(10));
    let on_lan: Vec<_> = announced.iter().filter(|sent| sent.port == LAN0).map(arp_sender).collect();
    assert_eq!(on_lan, [SECOND_LAN; 2], "the new one, and not again the one that stayed");
}

#[test]
fn each_address_is_answered_for_in_its_own_network() {
    let mut bench = Bench::cold(config_with_second_address(Mode::NatDmz));
    for (host, own) in [(ALICE, GATEWAY_LAN), (CAROL, SECOND_LAN)] {
        let outcome = bench.send(host.port, &arp_request(host, own));
        let reply = outcome.sent.iter().find(|sent| sent.port == host.port).expect("a reply");
        assert_eq!((arp_sender(reply), reply.destination_mac()), (own, host.mac));
        assert!(bench.dataplane.neighbors(bench.now).any(|neighbor| neighbor.ip == host.address));
    }
}

/// RFC 5227, section 2.4: A conflict about one address is no answer to one about another.
#[test]
fn rfc5227_2_4_each_address_is_defended() {
    let mut bench = bench(Mode::NatDmz);
    for own in [GATEWAY_LAN, SECOND_LAN] {
        let claim = arp(1, Host { address: own, ..ALICE }, MacAddr::ZERO, own, MacAddr::BROADCAST);
        let defence = bench.send(LAN0, &claim);
        assert_eq!(
            defence.sent.iter().filter(|sent| sent.port == LAN0).map(arp_sender).collect::<Vec<_>>(),
            [own]
        );
        let again = bench.send(LAN0, &claim);
        assert!(again.sent.iter().all(|sent| sent.port != LAN0), "a storm");
    }
    assert_eq!(bench.dataplane.counters().address_conflicts, 4);
}

#[test]
fn hosts_of_each_network_are_asked_from_the_address_in_it() {
    let mut bench = Bench::new(Mode::NatDmz);
    bench.configure(|config| *config = config_with_second_address(Mode::NatDmz));
    bench.hosts_answer(false);
    let held = bench.send(LAN1, &udp(BOB, 5000, CAROL.address, 53, b"query"));
    assert_eq!(held.verdict, Verdict::Hold);
    assert!(held.sent.iter().all(|sent| arp_sender(sent) == SECOND_LAN), "{:?}", held.sent);
}

#[test]
fn hosts_of_each_network_are_routed_and_translated() {
    let mut bench = bench(Mode::NatDmz);
    let inside = bench.send(LAN1, &udp(BOB, 5000, CAROL.address, 53, b"query"));
    assert_eq!((inside.one().port, inside.one().destination_mac()), (LAN0, CAROL.mac));
    assert_eq!(inside.one().ip().endpoints(), "192.168.1.20:5000 > 10.0.0.30:53");
    let out = bench.send(LAN0, &udp(CAROL, 5000, SERVER.address, 53, b"query"));
    assert_eq!((out.one().port, out.one().ip().source()), (WAN, GATEWAY_WAN));
    let ping = bench.send(LAN0, &echo_request(CAROL, SECOND_LAN, 1, 1));
    assert_eq!((ping.one().ip().source(), ping.one().ip().destination()), (SECOND_LAN, CAROL.address));
}

/// RFC 1812, section 4.3.2.4: An error comes from the address in its receiver's network.
#[test]
fn rfc1812_4_3_2_4_an_error_comes_from_the_address_in_its_receivers_network() {
    for mode in [Mode::NatDmz, Mode::Router] {
        let mut bench = bench(mode);
        for (host, own) in [(ALICE, GATEWAY_LAN), (CAROL, SECOND_LAN)] {
            let mut packet = udp(host, 5000, SERVER.address, 53, b"query");
            set_ttl(&mut packet, 1);
            let error = bench.send(host.port, &packet);
            error.assert_dropped(DropReason::TtlExpired);
            assert_eq!((error.one().ip().source(), error.one().ip().destination()), (own, host.address));
        }
    }
}

/// RFC 1812, section 5.3.5: What is for all hosts of a network is not passed on, whichever network it is.
#[test]
fn rfc1812_5_3_5_a_broadcast_of_each_network_stays_there() {
    let mut bench = bench(Mode::Router);
    for address in [[192, 168, 1, 255], [10, 0, 0, 255], [10, 0, 0, 0]] {
        let packet = udp(STRANGER, 5000, address.into(), 53, b"all");
        bench.send(WAN, &packet).assert_silently_dropped(DropReason::BroadcastNotForwarded);
    }
}

/// RFC 2827, section 3: No network of the inside is where a packet from outside comes from.
#[test]
fn rfc2827_3_no_network_of_the_inside_is_a_source_outside() {
    let mut bench = bench(Mode::NatDmz);
    for from in [ALICE, CAROL] {
        let forged = udp(Host { port: WAN, ..from }, 5000, GATEWAY_WAN, 53, b"query");
        bench.send(WAN, &forged).assert_silently_dropped(DropReason::SpoofedSource);
    }
}

#[test]
fn an_address_that_goes_takes_its_own_neighbours_and_flows_along() {
    let mut bench = bench(Mode::NatDmz);
    for host in [ALICE, CAROL] {
        bench.send(host.port, &udp(host, 5000, SERVER.address, 53, b"query")).one();
    }
    bench.configure(|config| *config = common::config(Mode::NatDmz));
    let known = |host: Host| {
        bench.dataplane.neighbors(bench.now).any(|of| of.ip == host.address && of.state == State::Reachable)
    };
    assert!(known(ALICE) && !known(CAROL));
    let sources: Vec<_> = bench.dataplane.flows().map(|flow| flow.original.source.address).collect();
    assert_eq!(sources, [ALICE.address]);
}
