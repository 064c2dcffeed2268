//! LAN hosts that reach one another, and the gateway, by the WAN address. (RFC 4787, REQ-9; RFC 5382, REQ-8)

mod common;

use common::*;
use gatepost_dataplane::config::{Filtering, Mode, WanService};
use gatepost_ground::wire::Protocol;

/// RFC 4787, REQ-9a: Hairpin source is external.
#[test]
fn rfc4787_req9a_hairpin_source_is_external() {
    let mut config = config(Mode::NatDmz);
    config.firewall.v4.forwards = vec![forward(Protocol::UDP, 7000..=7000, BOB, 7)];
    let mut bench = Bench::with_config(config);
    let there = bench.send(LAN0, &udp(ALICE, 5000, GATEWAY_WAN, 7000, b"there"));
    assert_eq!(there.one().ip().endpoints(), "203.0.113.10:5000 > 192.168.1.20:7");
    assert_eq!(there.one().port, LAN1);
    let back = bench.send(LAN1, &udp(BOB, 7, GATEWAY_WAN, 5000, b"back"));
    assert_eq!(back.one().ip().endpoints(), "203.0.113.10:7000 > 192.168.1.10:5000");
    assert_eq!(back.one().port, LAN0);
}

/// RFC 4787, REQ-9: Two mappings reach each other.
#[test]
fn rfc4787_req9_two_mappings_reach_each_other() {
    let mut config = config(Mode::NatDmz);
    config.nat.filtering = Filtering::EndpointIndependent;
    let mut bench = Bench::with_config(config);
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 3478, b"stun")).one();
    bench.send(LAN1, &udp(BOB, 6000, SERVER.address, 3478, b"stun")).one();
    let there = bench.send(LAN0, &udp(ALICE, 5000, GATEWAY_WAN, 6000, b"there"));
    assert_eq!(there.one().ip().endpoints(), "203.0.113.10:5000 > 192.168.1.20:6000");
    let back = bench.send(LAN1, &udp(BOB, 6000, GATEWAY_WAN, 5000, b"back"));
    assert_eq!(back.one().ip().endpoints(), "203.0.113.10:6000 > 192.168.1.10:5000");
}

/// RFC 4787, REQ-9: Every inside host reaches every forward and mapping.
#[test]
fn rfc4787_req9_every_inside_host_reaches_every_forward_and_mapping() {
    let mut config = config(Mode::NatDmz);
    config.nat.filtering = Filtering::EndpointIndependent;
    config.firewall.v4.forwards =
        vec![forward(Protocol::UDP, 7000..=7000, ALICE, 7), forward(Protocol::UDP, 7001..=7001, BOB, 7)];
    let mut bench = Bench::with_config(config);
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 3478, b"stun")).one();
    bench.send(LAN1, &udp(BOB, 5001, SERVER.address, 3478, b"stun")).one();
    let targets = [(7000, ALICE, 7), (7001, BOB, 7), (5000, ALICE, 5000), (5001, BOB, 5001)];
    for (client, port) in [(ALICE, 6000), (BOB, 6001)] {
        for (external, target, inside) in targets {
            let there = bench.send(client.port, &udp(client, port, GATEWAY_WAN, external, b"there"));
            let expected = format!("203.0.113.10:{port} > {}:{inside}", target.address);
            assert_eq!((there.one().ip().endpoints(), there.one().port), (expected, target.port));
            let back = bench.send(target.port, &udp(target, inside, GATEWAY_WAN, port, b"back"));
            let expected = format!("203.0.113.10:{external} > {}:{port}", client.address);
            assert_eq!((back.one().ip().endpoints(), back.one().port), (expected, client.port));
        }
    }
}

/// RFC 5382, REQ-8: TCP connections hairpin.
#[test]
fn rfc5382_req8_tcp_connections_hairpin() {
    let mut config = config(Mode::NatDmz);
    config.firewall.v4.forwards = vec![forward(Protocol::TCP, 8443..=8443, BOB, 443)];
    let mut bench = Bench::with_config(config);
    let syn = bench.send(LAN0, &tcp(ALICE, 40_000, GATEWAY_WAN, 8443, "S", 1, 0));
    assert_eq!(syn.one().ip().endpoints(), "203.0.113.10:40000 > 192.168.1.20:443");
    let syn_ack = bench.send(LAN1, &tcp(BOB, 443, GATEWAY_WAN, 40_000, "SA", 9, 2));
    assert_eq!(syn_ack.one().ip().endpoints(), "203.0.113.10:8443 > 192.168.1.10:40000");
    bench.send(LAN0, &tcp(ALICE, 40_000, GATEWAY_WAN, 8443, "A", 2, 10)).one();
    let data = bench.send(LAN1, &tcp(BOB, 443, GATEWAY_WAN, 40_000, "PA", 10, 2));
    assert_eq!(data.one().ip().endpoints(), "203.0.113.10:8443 > 192.168.1.10:40000");
}

#[test]
fn a_host_reaches_itself_by_the_wan_address() {
    let mut config = config(Mode::NatDmz);
    config.firewall.v4.forwards = vec![forward(Protocol::UDP, 7000..=7000, ALICE, 7)];
    let mut bench = Bench::with_config(config);
    let there = bench.send(LAN0, &udp(ALICE, 5000, GATEWAY_WAN, 7000, b"there"));
    assert_eq!(there.one().ip().endpoints(), "203.0.113.10:5000 > 192.168.1.10:7");
    assert_eq!(there.one().port, LAN0);
    let back = bench.send(LAN0, &udp(ALICE, 7, GATEWAY_WAN, 5000, b"back"));
    assert_eq!(back.one().ip().endpoints(), "203.0.113.10:7000 > 192.168.1.10:5000");
}

#[test]
fn the_default_machine_is_reached_from_inside_too() {
    let mut config = config(Mode::NatDmz);
    config.firewall.v4.dmz_host = Some(BOB.address);
    let mut bench = Bench::with_config(config);
    let there = bench.send(LAN0, &udp(ALICE, 5000, GATEWAY_WAN, 7000, b"there"));
    assert_eq!(there.one().ip().endpoints(), "203.0.113.10:5000 > 192.168.1.20:7000");
}

#[test]
fn what_no_forward_claims_is_for_the_gateway() {
    let mut bench = Bench::new(Mode::NatDmz);
    let outcome = bench.send(LAN0, &udp(ALICE, 5000, GATEWAY_WAN, 53, b"query"));
    assert_eq!(outcome.verdict, TO_STACK);
    let ping = bench.send(LAN0, &echo_request(ALICE, GATEWAY_WAN, 1, 1));
    assert_eq!(ping.one().ip().icmp(), (0, 0));
}

#[test]
fn an_error_about_what_the_gateway_sent_is_for_its_host() {
    let mut bench = Bench::new(Mode::NatDmz);
    let gateway = Host { port: LAN0, mac: GATEWAY_LAN_MAC, address: GATEWAY_WAN };
    bench.send(LAN0, &udp(ALICE, 5000, GATEWAY_WAN, 53, b"query"));
    let answer = bench.host_sends(&udp(gateway, 53, ALICE.address, 5000, b"answer"));
    let packet = answer.one().bytes[14..].to_vec();
    let error = bench.send(LAN0, &icmp_error(ALICE, GATEWAY_WAN, 3, 3, 0, &packet));
    assert_eq!(error.verdict, TO_STACK);
}

#[test]
fn a_service_comes_before_a_forward_from_inside_too() {
    let mut config = config(Mode::NatDmz);
    config.firewall.v4.wan_services = vec![WanService::for_all(Protocol::UDP, 53)];
    config.firewall.v4.forwards = vec![forward(Protocol::UDP, 50..=60, BOB, 50)];
    let mut bench = Bench::with_config(config);
    let outcome = bench.send(LAN0, &udp(ALICE, 5000, GATEWAY_WAN, 53, b"query"));
    assert_eq!(outcome.verdict, TO_STACK);
    let outcome = bench.send(LAN0, &udp(ALICE, 5000, GATEWAY_WAN, 54, b"query"));
    assert_eq!(outcome.one().ip().destination(), BOB.address);
}

#[test]
fn a_client_port_of_the_gateway_is_no_way_to_hairpin() {
    let mut config = config(Mode::NatDmz);
    config.nat.filtering = Filtering::EndpointIndependent;
    let mut bench = Bench::with_config(config);
    let gateway = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN };
    bench.host_sends(&udp(gateway, 6000, SERVER.address, 53, b"q")).one();
    let outcome = bench.send(LAN0, &udp(ALICE, 5000, GATEWAY_WAN, 6000, b"x"));
    assert_eq!(outcome.verdict, TO_STACK);
    assert_eq!(Ip(&outcome.local.expect("for the host")[14..]).source(), ALICE.address, "untranslated");
}
