//! A configuration swapped in whole while packets flow.

mod common;

use std::time::Duration;

use common::*;
use gatepost_dataplane::config::{Link, Mode};
use gatepost_dataplane::{DropReason, Verdict};
use gatepost_ground::MacAddr;
use gatepost_ground::wire::Protocol;

const OTHER_WAN: std::net::Ipv4Addr = std::net::Ipv4Addr::new(203, 0, 113, 77);

/// A bench with one flow of Alice's.
fn bench_with_flow() -> Bench {
    let mut bench = Bench::new(Mode::NatDmz);
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query")).one();
    assert_eq!(bench.dataplane.flows().count(), 1);
    bench
}

#[test]
fn the_same_configuration_again_changes_nothing() {
    let mut bench = bench_with_flow();
    bench.configure(|_| ());
    let answer = bench.send(WAN, &udp(SERVER, 53, GATEWAY_WAN, 5000, b"answer"));
    assert_eq!(answer.one().ip().destination(), ALICE.address);
    assert_eq!(bench.pass(Duration::from_secs(10)), [], "nothing new to announce");
}

#[test]
fn another_hardware_address_is_announced() {
    let mut bench = bench_with_flow();
    let mac = MacAddr([2, 0, 0, 0, 9, 9]);
    bench.configure(|config| config.interfaces[WAN_SIDE.index()].link = Link::Ethernet { mac });
    let announced = bench.pass(Duration::from_secs(10));
    let from: Vec<_> = announced.iter().map(|sent| (sent.port, sent.source_mac())).collect();
    assert_eq!(from, [(WAN, mac); 2], "and not those of the LAN");
}

#[test]
fn another_wan_address_ends_the_flows_of_the_old_one() {
    let mut bench = bench_with_flow();
    bench.configure(|config| {
        config.interfaces[WAN_SIDE.index()].addresses =
            Some("203.0.113.77/24".parse().expect("a network")).into();
    });
    assert_eq!(bench.dataplane.flows().count(), 0);
    bench
        .send(WAN, &udp(SERVER, 53, GATEWAY_WAN, 5000, b"answer"))
        .assert_silently_dropped(DropReason::Ipv4NotForUs);
    // The gateway sends new requests for neighbours of the old network.
    let outcome = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    assert_eq!(outcome.verdict, Verdict::Hold);
    assert_eq!(outcome.one().ip().source(), OTHER_WAN);
}

#[test]
fn a_wan_address_that_is_lost_takes_the_flows_with_it() {
    let mut bench = bench_with_flow();
    bench.configure(|config| {
        config.interfaces[WAN_SIDE.index()].addresses.clear();
        config.interfaces[WAN_SIDE.index()].gateway.v4 = None;
    });
    assert_eq!(bench.dataplane.flows().count(), 0);
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query")).assert_dropped(DropReason::NoRoute);
}

#[test]
fn another_lan_ends_the_flows_of_its_hosts() {
    let mut bench = bench_with_flow();
    bench.configure(|config| {
        config.interfaces[LAN_SIDE.index()].addresses =
            Some("10.0.0.1/24".parse().expect("a network")).into();
    });
    assert_eq!(bench.dataplane.flows().count(), 0);
}

#[test]
fn a_gateway_that_becomes_a_router_forgets_its_flows() {
    let mut bench = bench_with_flow();
    bench.configure(|config| config.mode = Mode::Router);
    assert_eq!(bench.dataplane.flows().count(), 0);
    let outcome = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    assert_eq!(outcome.one().ip().source(), ALICE.address);
}

#[test]
fn the_default_machine_that_is_none_any_more_loses_what_it_had() {
    let mut config = config(Mode::NatDmz);
    config.firewall.v4.dmz_host = Some(BOB.address);
    let mut bench = Bench::with_config(config);
    bench.send(WAN, &udp(STRANGER, 7000, GATEWAY_WAN, 4242, b"x")).one();
    bench.configure(|config| config.firewall.v4.dmz_host = Some(ALICE.address));
    let outcome = bench.send(WAN, &udp(STRANGER, 7000, GATEWAY_WAN, 4242, b"x"));
    assert_eq!(outcome.one().ip().destination(), ALICE.address);
}

#[test]
fn frames_that_wait_on_a_network_that_is_left_are_given_up() {
    let mut bench = Bench::cold(config(Mode::NatDmz));
    bench.send(LAN0, &arp_request(ALICE, GATEWAY_LAN));
    let held = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    assert_eq!(held.verdict, Verdict::Hold);
    let fragments = fragment(&udp(SERVER, 4000, GATEWAY_WAN, 5000, &[9; 1400]), 1, 504);
    assert_eq!(bench.send(WAN, &fragments[1]).verdict, Verdict::Hold);
    bench.configure(|config| config.interfaces[WAN_SIDE.index()].addresses.clear());
    assert_eq!(bench.dataplane.counters().held, 0);
    assert_eq!(bench.drops(DropReason::Reconfigured), 2);
    assert!(bench.dataplane.counters().balances());
}

#[test]
fn a_syn_that_waits_for_its_refusal_is_forgotten() {
    let mut bench = Bench::new(Mode::Nat);
    let syn = tcp(STRANGER, 7000, GATEWAY_WAN, 22, "S", 1, 0);
    bench.send(WAN, &syn).assert_silently_dropped(DropReason::Unsolicited);
    bench.configure(|config| config.firewall.v4.forwards = vec![forward(Protocol::TCP, 22..=22, BOB, 22)]);
    assert_eq!(bench.pass(Duration::from_secs(10)), []);
}

#[test]
fn frames_of_a_greater_mtu_wait_too() {
    let mut config = config(Mode::Router);
    config.interfaces[LAN_SIDE.index()].mtu = 576;
    config.interfaces[WAN_SIDE.index()].mtu = 576;
    let mut bench = Bench::cold(config);
    bench.send(LAN0, &arp_request(ALICE, GATEWAY_LAN));
    let long = udp(ALICE, 5000, SERVER.address, 53, &[7; 1400]);
    bench.configure(|config| config.interfaces[WAN_SIDE.index()].mtu = 1500);
    assert_eq!(bench.send(LAN0, &long).verdict, Verdict::Hold);
    let released = bench.send(WAN, &arp_reply(ISP, GATEWAY_WAN_MAC, GATEWAY_WAN));
    assert_eq!(released.one().bytes.len(), long.len());
}

#[test]
fn a_port_that_changes_sides_leaves_its_stations_behind() {
    let mut bench = Bench::new(Mode::NatDmz);
    assert!(bench.dataplane.stations(bench.now).any(|station| station.port == LAN1));
    bench.configure(|config| config.ports[1] = WAN_SIDE);
    assert!(bench.dataplane.stations(bench.now).all(|station| station.port != LAN1));
}
