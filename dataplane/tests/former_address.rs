//! A change of the LAN's address that may be undone: meanwhile the gateway has the new address and the former one.

mod common;

use std::net::Ipv4Addr;

use common::*;
use gatepost_dataplane::binding::Binding;
use gatepost_dataplane::config::{Inspection, Mode};
use gatepost_dataplane::neighbor::State;
use gatepost_dataplane::{DropReason, Verdict};
use gatepost_ground::wire::Protocol;
use gatepost_ground::{Instant, MacAddr};
use ipnet::IpNet;

const FORMER: &str = "192.168.1.1/24";
const NEW_LAN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// A host of the new network, behind Alice's port.
const CAROL: Host =
    Host { port: LAN0, mac: MacAddr([2, 0, 0, 0, 1, 30]), address: Ipv4Addr::new(10, 0, 0, 30) };
/// What the LAN's address may become, with the gateway's new address: another network, another address of the same
/// network, a larger network, and a smaller one.
const CHANGES: [(&str, Ipv4Addr); 4] = [
    ("10.0.0.1/24", NEW_LAN),
    ("192.168.1.254/24", Ipv4Addr::new(192, 168, 1, 254)),
    ("192.168.0.1/16", Ipv4Addr::new(192, 168, 0, 1)),
    ("192.168.1.2/27", Ipv4Addr::new(192, 168, 1, 2)),
];

/// A gateway with two forwards, to hosts of its network.
fn office() -> Bench {
    let mut config = config(Mode::NatDmz);
    config.firewall.v4.forwards =
        vec![forward(Protocol::TCP, 8443..=8443, ALICE, 443), forward(Protocol::UDP, 9000..=9000, BOB, 9000)];
    Bench::with_config(config)
}

/// Gives the LAN these addresses.
fn set_lan(bench: &mut Bench, addresses: &[&str]) {
    let addresses: Vec<IpNet> = addresses.iter().map(|net| net.parse().expect("a network")).collect();
    bench.configure(|config| {
        config.interfaces[LAN_SIDE.index()].addresses = addresses.try_into().expect("few");
    });
}

/// The sender's protocol address in the gateway's reply to an ARP request of `host` for `own`.
fn arp_answer(bench: &mut Bench, host: Host, own: Ipv4Addr) -> Option<Ipv4Addr> {
    let outcome = bench.send(host.port, &arp_request(host, own));
    let is_reply = |sent: &&Sent| {
        sent.port == host.port && sent.source_mac() == GATEWAY_LAN_MAC && sent.destination_mac() == host.mac
    };
    let reply = outcome.sent.iter().find(is_reply)?;
    Some(Ipv4Addr::from_octets(*reply.bytes[28..].first_chunk().expect("a whole packet")))
}

#[test]
fn both_addresses_are_the_gateways_as_long_as_it_may_be_undone() {
    for (change, new) in CHANGES {
        let mut bench = office();
        set_lan(&mut bench, &[change, FORMER]);
        for own in [GATEWAY_LAN, new] {
            assert_eq!(arp_answer(&mut bench, ALICE, own), Some(own), "{change}");
            let ping = bench.send(LAN0, &echo_request(ALICE, own, 1, 1));
            assert_eq!((ping.one().ip().source(), ping.one().ip().destination()), (own, ALICE.address));
            assert_eq!(bench.send(LAN0, &udp(ALICE, 5000, own, 53, b"query")).verdict, TO_STACK, "{change}");
        }
        set_lan(&mut bench, &[FORMER]);
        assert_eq!(arp_answer(&mut bench, ALICE, GATEWAY_LAN), Some(GATEWAY_LAN), "{change}");
        assert_eq!(arp_answer(&mut bench, ALICE, new), None, "{change}");
    }
}

#[test]
fn flows_of_the_former_network_go_on_through_the_change_and_back() {
    for (change, _) in CHANGES {
        let mut bench = office();
        let out = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
        let external = out.one().ip().endpoints();
        bench.send(WAN, &tcp(STRANGER, 7000, GATEWAY_WAN, 8443, "S", 1, 0)).one();
        bench.send(LAN0, &tcp(ALICE, 443, STRANGER.address, 7000, "SA", 9, 2)).one();
        for addresses in [&[change, FORMER][..], &[FORMER]] {
            set_lan(&mut bench, addresses);
            let again = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
            assert_eq!(again.one().ip().endpoints(), external, "{change}");
            let (_, port) = external
                .split_once(" > ")
                .map_or(("", ""), |(from, _)| from.split_once(':').expect("a port"));
            let port = port.parse().expect("a port");
            let answer = bench.send(WAN, &udp(SERVER, 53, GATEWAY_WAN, port, b"answer"));
            let packet = answer.sent.iter().find(|sent| sent.is_ipv4()).expect("the host answers ARP");
            assert_eq!((packet.destination_mac(), packet.ip().destination()), (ALICE.mac, ALICE.address));
            bench.send(WAN, &tcp(STRANGER, 7000, GATEWAY_WAN, 8443, "A", 2, 10)).one();
        }
    }
}

#[test]
fn hosts_of_the_former_network_are_reached_by_forwards_and_by_each_other_through_them() {
    for (change, _) in CHANGES {
        let mut bench = office();
        set_lan(&mut bench, &[change, FORMER]);
        let syn = bench.send(WAN, &tcp(STRANGER, 7000, GATEWAY_WAN, 8443, "S", 1, 0));
        assert_eq!(syn.one().ip().endpoints(), "198.51.100.66:7000 > 192.168.1.10:443", "{change}");
        let hairpin = bench.send(LAN0, &udp(ALICE, 5000, GATEWAY_WAN, 9000, b"x"));
        let packet = hairpin.sent.iter().find(|sent| sent.is_ipv4()).expect("the host answers ARP");
        assert_eq!((packet.ip().source(), packet.ip().destination()), (GATEWAY_WAN, BOB.address), "{change}");
    }
}

#[test]
fn hosts_of_both_networks_reach_each_other_and_errors_come_from_the_address_that_they_know() {
    let mut bench = office();
    set_lan(&mut bench, &["10.0.0.1/24", FORMER]);
    arp_answer(&mut bench, CAROL, NEW_LAN);
    let across = bench.send(LAN1, &udp(BOB, 5000, CAROL.address, 53, b"query"));
    assert_eq!((across.one().port, across.one().destination_mac()), (LAN0, CAROL.mac));
    for (host, own) in [(BOB, GATEWAY_LAN), (CAROL, NEW_LAN)] {
        let mut packet = udp(host, 5000, SERVER.address, 53, b"query");
        set_ttl(&mut packet, 1);
        let error = bench.send(host.port, &packet);
        assert_eq!((error.one().ip().source(), error.one().ip().destination()), (own, host.address));
    }
    set_lan(&mut bench, &[FORMER]);
    bench
        .send(LAN0, &udp(CAROL, 5000, SERVER.address, 53, b"query"))
        .assert_silently_dropped(DropReason::SpoofedSource);
}

#[test]
fn neighbours_of_a_network_that_stays_are_not_asked_for_again() {
    let mut bench = office();
    bench.hosts_answer(false);
    for (change, _) in CHANGES {
        set_lan(&mut bench, &[FORMER]);
        for host in [ALICE, BOB] {
            arp_answer(&mut bench, host, GATEWAY_LAN);
        }
        set_lan(&mut bench, &[change, FORMER]);
        let reachable = bench.dataplane.neighbors(bench.now).filter(|of| of.state == State::Reachable);
        let known: Vec<_> = reachable.map(|of| of.ip).filter(|ip| *ip != ISP.address).collect();
        assert_eq!(known, [ALICE.address, BOB.address], "{change}");
    }
}

#[test]
fn a_host_of_a_larger_network_is_asked_from_the_address_that_all_hosts_have_on_link() {
    for (change, former, host, own) in [
        ("192.168.0.1/16", "192.168.1.1/24", [192, 168, 1, 77], [192, 168, 1, 1]),
        ("192.168.0.1/16", "192.168.1.1/24", [192, 168, 7, 77], [192, 168, 0, 1]),
        ("192.168.1.1/24", "192.168.0.1/16", [192, 168, 7, 77], [192, 168, 0, 1]),
        ("192.168.1.1/24", "192.168.0.1/16", [192, 168, 1, 77], [192, 168, 1, 1]),
    ] {
        let mut bench = office();
        bench.hosts_answer(false);
        set_lan(&mut bench, &[change, former]);
        let held = bench.send(LAN1, &udp(BOB, 5000, host.into(), 53, b"query"));
        assert_eq!(held.verdict, Verdict::Hold);
        let askers: Vec<_> = held.sent.iter().map(|sent| sent.bytes[28..32].to_vec()).collect();
        assert!(!askers.is_empty() && askers.iter().all(|asker| *asker == own), "{change}: {askers:?}");
    }
}

#[test]
fn inspection_passes_the_leases_of_both_networks() {
    let mut bench = office();
    bench.configure(|config| config.inspection = Inspection { arp: true, dhcp: false });
    set_lan(&mut bench, &["10.0.0.1/24", FORMER]);
    let bindings = [ALICE, CAROL].map(|host| Binding {
        ip: host.address,
        mac: host.mac,
        source: host.mac,
        until: Instant::FAR_FUTURE,
    });
    bench.dataplane.set_bindings(bench.now, bindings.into_iter().collect());
    for (host, own) in [(ALICE, GATEWAY_LAN), (CAROL, NEW_LAN)] {
        assert_eq!(arp_answer(&mut bench, host, own), Some(own));
        let forged = arp_request(Host { port: LAN1, mac: BOB.mac, ..host }, own);
        bench.send(LAN1, &forged).assert_silently_dropped(DropReason::ArpInspection);
    }
}
