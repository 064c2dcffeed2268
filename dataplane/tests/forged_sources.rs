//! Packets for the gateway itself in the name of a LAN host that has a lease.

mod common;

use std::time::Duration;

use common::*;
use gatepost_dataplane::LocalClass;
use gatepost_dataplane::binding::Binding;
use gatepost_dataplane::config::Mode;
use gatepost_dataplane::{DropReason, Verdict};
use gatepost_ground::MacAddr;

const STACK: Verdict = Verdict::Local(LocalClass::Stack);

/// A bench in which ALICE has a lease of an hour, for which a frame from `source` asked.
fn bench_with_a_lease(source: MacAddr) -> Bench {
    let mut bench = Bench::new(Mode::NatDmz);
    let until = bench.now + Duration::from_secs(3_600);
    let lease = Binding { ip: ALICE.address, mac: ALICE.mac, source, until };
    bench.dataplane.set_bindings(bench.now, [lease].into_iter().collect());
    bench
}

#[test]
fn nobody_asks_the_gateway_in_the_name_of_a_host_with_a_lease() {
    let mut bench = bench_with_a_lease(ALICE.mac);
    let forger = Host { address: ALICE.address, ..BOB };
    for gateway in [GATEWAY_LAN, GATEWAY_WAN] {
        let whole = [
            udp(forger, 5000, gateway, 53, b"question"),
            tcp(forger, 5000, gateway, 53, "S", 1, 0),
            echo_request(forger, gateway, 1, 1),
        ];
        let pieces = fragment(&udp(forger, 5000, gateway, 53, &[0; 3_000]), 7, 1_000);
        assert!(pieces.len() > 2);
        for frame in whole.into_iter().chain(pieces) {
            bench.send(LAN1, &frame).assert_silently_dropped(DropReason::SpoofedSource);
        }
    }
    assert_eq!(bench.dataplane.flows_len(), 0);
}

#[test]
fn a_host_with_a_lease_is_served_and_so_is_one_without() {
    const BRIDGE: MacAddr = MacAddr([2, 0, 0, 0, 7, 7]);
    let mut bench = bench_with_a_lease(BRIDGE);
    for host in [ALICE, Host { mac: BRIDGE, ..ALICE }, BOB] {
        for gateway in [GATEWAY_LAN, GATEWAY_WAN] {
            assert_eq!(bench.send(host.port, &udp(host, 5000, gateway, 53, b"question")).verdict, STACK);
        }
        for piece in fragment(&udp(host, 5000, GATEWAY_LAN, 53, &[0; 3_000]), 7, 1_000) {
            assert_eq!(bench.send(host.port, &piece).verdict, STACK);
        }
    }
}

#[test]
fn a_new_card_reaches_dhcp_and_the_internet_and_the_services_once_the_lease_is_its() {
    let mut bench = bench_with_a_lease(ALICE.mac);
    let host = Host { mac: MacAddr([2, 0, 0, 0, 1, 11]), ..ALICE };
    let question = udp(host, 5000, GATEWAY_LAN, 53, b"question");
    bench.send(LAN0, &question).assert_silently_dropped(DropReason::SpoofedSource);
    let renewal = bench.send(LAN0, &udp(host, 68, GATEWAY_LAN, 67, b"renewal"));
    assert_eq!(renewal.verdict, Verdict::Local(LocalClass::DhcpServer));
    let sent = bench.send(LAN0, &udp(host, 5000, SERVER.address, 53, b"question"));
    assert_eq!(sent.one().ip().source(), GATEWAY_WAN);
    // The server gives the lease to the new card.
    let until = bench.now + Duration::from_secs(60);
    let lease = Binding { ip: host.address, mac: host.mac, source: host.mac, until };
    bench.dataplane.set_bindings(bench.now, [lease].into_iter().collect());
    assert_eq!(bench.send(LAN0, &question).verdict, STACK);
    let old_card = udp(ALICE, 5000, GATEWAY_LAN, 53, b"question");
    bench.send(LAN0, &old_card).assert_silently_dropped(DropReason::SpoofedSource);
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.send(LAN0, &old_card).verdict, STACK, "the lease has ended");
}
