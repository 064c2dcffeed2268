//! One machine that opens flows under many addresses leaves the others, and the gateway, theirs.

mod common;

use std::net::IpAddr;

use common::*;
use gatepost_dataplane::config::{Config, Mode};
use gatepost_dataplane::{DropReason, Verdict};
use gatepost_ground::MacAddr;
use gatepost_ground::wire::Protocol;

/// Few external ports, as most belong to a forward: 1,536 of each protocol.
fn office() -> Config {
    let mut config = config(Mode::NatDmz);
    config.nat.flows_max = 65_536;
    config.nat.flows_per_host_max = 2_048;
    config.firewall.v4.forwards =
        [Protocol::TCP, Protocol::UDP].map(|protocol| forward(protocol, 1_024..=63_999, BOB, 1_024)).to_vec();
    config
}

/// One of the addresses that a machine at Bob's port forges.
fn forged(number: u8) -> Host {
    let [.., last] = BOB.mac.0;
    Host {
        port: LAN1,
        mac: MacAddr([2, 0, 0, 9, number, last]),
        address: std::net::Ipv4Addr::new(192, 168, 1, 200 + number),
    }
}

/// A SYN and a datagram of each of the ports, from each of six forged addresses.
fn flood(bench: &mut Bench, ports: std::ops::Range<u16>) {
    let packets = |port| {
        (0..6).flat_map(move |number| {
            let host = forged(number);
            [tcp(host, port, SERVER.address, 80, "S", 1, 0), udp(host, port, SERVER.address, 53, b"flood")]
        })
    };
    let frames: Vec<_> = ports.flat_map(packets).collect();
    for frames in frames.chunks(240) {
        bench.send_batch(LAN1, frames);
    }
}

/// Whether a host gets a connection, and a datagram and its answer through.
fn gets_through(bench: &mut Bench, host: Host, port: u16) -> bool {
    let out = bench.send(host.port, &tcp(host, port, SERVER.address, 443, "S", 1, 0));
    let Verdict::Transmit(WAN) = out.verdict else { return false };
    let external = out.one().ip().source_port();
    let back = bench.send(WAN, &tcp(SERVER, 443, GATEWAY_WAN, external, "SA", 9, 2));
    let established = bench.send(host.port, &tcp(host, port, SERVER.address, 443, "A", 2, 10));
    let question = bench.send(host.port, &udp(host, port, SERVER.address, 4_000, b"?"));
    let Verdict::Transmit(WAN) = question.verdict else { return false };
    let external = question.one().ip().source_port();
    let answer = bench.send(WAN, &udp(SERVER, 4_000, GATEWAY_WAN, external, b"!"));
    let is_back = |verdict| verdict == Verdict::Transmit(host.port);
    is_back(back.verdict) && is_back(answer.verdict) && established.verdict == Verdict::Transmit(WAN)
}

/// Asserts that a host at another port, one at the flooder's and the gateway open 100 of 100 while it floods.
fn assert_starves_nobody(bench: &mut Bench) {
    let gateway = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN };
    for port in 0..100 {
        flood(bench, 30_000 + port * 4..30_004 + port * 4);
        assert!(gets_through(bench, ALICE, 40_000 + port), "{port}: {:?}", bench.dataplane.counters().drops);
        assert!(gets_through(bench, BOB, 50_000 + port), "{port} of the same port");
        let query = bench.host_sends(&udp(gateway, 20_000 + port, SERVER.address, 53, b"q"));
        assert_eq!(query.verdict, Verdict::Transmit(WAN));
    }
    assert_eq!(bench.drops(DropReason::PortsExhausted), 0, "a flood takes its own place");
}

#[test]
fn forged_addresses_of_one_port_starve_nobody() {
    let mut bench = Bench::with_config(office());
    flood(&mut bench, 10_000..10_500);
    assert_starves_nobody(&mut bench);
    let is_stranger = |source| matches!(source, IpAddr::V4(source) if source.octets()[3] >= 200);
    let strangers = bench.dataplane.flows().filter(|flow| is_stranger(flow.original.source.address));
    assert!(strangers.count() <= 512, "a quarter of a host's limit");
}

#[test]
fn forged_addresses_that_ask_for_the_gateway_first_starve_nobody() {
    let mut bench = Bench::with_config(office());
    (0..6).for_each(|number| _ = bench.send(LAN1, &arp_request(forged(number), GATEWAY_LAN)));
    flood(&mut bench, 10_000..10_500);
    assert_starves_nobody(&mut bench);
    assert!(bench.dataplane.counters().flows_recycled > 0);
}

#[test]
fn answered_flows_of_a_host_leave_the_reserve_to_others_and_the_gateway() {
    let mut bench = Bench::with_config(office());
    let opened = (10_000..11_536).filter(|port| {
        let question = bench.send(LAN0, &udp(ALICE, *port, SERVER.address, 4_000, b"?"));
        let Verdict::Transmit(WAN) = question.verdict else { return false };
        let external = question.one().ip().source_port();
        let answer = bench.send(WAN, &udp(SERVER, 4_000, GATEWAY_WAN, external, b"!"));
        assert_eq!(answer.verdict, Verdict::Transmit(LAN0));
        true
    });
    assert_eq!(opened.count(), 1_536 - 1_536 / 8);
    assert_eq!(bench.drops(DropReason::PortsExhausted), 1_536 / 8);
    assert!((0..100).all(|port| gets_through(&mut bench, BOB, 50_000 + port)));
    let gateway = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN };
    for port in 0..40 {
        let query = bench.host_sends(&udp(gateway, 20_000 + port, SERVER.address, 53, b"q"));
        assert_eq!(query.verdict, Verdict::Transmit(WAN));
    }
}

#[test]
fn who_sends_under_a_hosts_addresses_from_another_port_does_not_use_up_its_limit() {
    let mut config = office();
    config.nat.flows_per_host_max = 160;
    let mut bench = Bench::with_config(config);
    for port in 0..400 {
        let forged = Host { port: LAN1, ..ALICE };
        bench.send(LAN1, &tcp(forged, 10_000 + port, SERVER.address, 80, "S", 1, 0));
    }
    assert!((0..40).all(|port| gets_through(&mut bench, ALICE, 40_000 + port)));
}
