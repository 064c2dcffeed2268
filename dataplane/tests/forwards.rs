//! Packets from the WAN without a flow: services, forwards, the default host.

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::*;
use gatepost_dataplane::config::{Config, Mode, WanService};
use gatepost_dataplane::{DropReason, Verdict};
use gatepost_ground::wire::Protocol;

fn office() -> Config {
    let mut config = config(Mode::NatDmz);
    config.firewall.stealth = true;
    config.firewall.v4.forwards = vec![
        forward(Protocol::TCP, 8443..=8443, ALICE, 443),
        forward(Protocol::UDP, 9000..=9010, BOB, 19_000),
    ];
    config.firewall.v4.wan_services = vec![WanService::for_all(Protocol::TCP, 25)];
    config
}

#[test]
fn a_forward_translates_both_ways() {
    let mut bench = Bench::with_config(office());
    let syn = bench.send(WAN, &tcp(STRANGER, 7000, GATEWAY_WAN, 8443, "S", 1, 0));
    assert_eq!(syn.one().ip().endpoints(), "198.51.100.66:7000 > 192.168.1.10:443");
    assert_eq!((syn.one().port, syn.one().destination_mac()), (LAN0, ALICE.mac));
    let answer = bench.send(LAN0, &tcp(ALICE, 443, STRANGER.address, 7000, "SA", 9, 2));
    assert_eq!(answer.one().ip().endpoints(), "203.0.113.10:8443 > 198.51.100.66:7000");
    bench.send(WAN, &tcp(STRANGER, 7000, GATEWAY_WAN, 8443, "A", 2, 10)).one();
}

#[test]
fn a_range_is_forwarded_in_order() {
    let mut bench = Bench::with_config(office());
    for (port, inside) in [(9000, 19_000), (9007, 19_007), (9010, 19_010)] {
        let outcome = bench.send(WAN, &udp(STRANGER, 7000, GATEWAY_WAN, port, b"x"));
        assert_eq!(outcome.one().ip().endpoints(), format!("198.51.100.66:7000 > 192.168.1.20:{inside}"));
        let answer = bench.send(LAN1, &udp(BOB, inside, STRANGER.address, 7000, b"y"));
        assert_eq!(answer.one().ip().endpoints(), format!("203.0.113.10:{port} > 198.51.100.66:7000"));
    }
    bench
        .send(WAN, &udp(STRANGER, 7000, GATEWAY_WAN, 9011, b"x"))
        .assert_silently_dropped(DropReason::Unsolicited);
}

#[test]
fn a_forward_admits_only_its_sources() {
    let mut config = office();
    config.firewall.v4.forwards[0].from = vec!["198.51.100.0/26".parse().unwrap()];
    let mut bench = Bench::with_config(config);
    bench
        .send(WAN, &tcp(STRANGER, 7000, GATEWAY_WAN, 8443, "S", 1, 0))
        .assert_silently_dropped(DropReason::ForwardSourceDenied);
    bench.send(WAN, &tcp(SERVER, 7000, GATEWAY_WAN, 8443, "S", 1, 0)).one();
}

#[test]
fn a_forwarded_port_is_given_to_nobody_else() {
    let mut bench = Bench::with_config(office());
    let outcome = bench.send(LAN1, &tcp(BOB, 8443, SERVER.address, 80, "S", 1, 0));
    assert_ne!(outcome.one().ip().source_port(), 8443);
    let outcome = bench.send(LAN1, &tcp(BOB, 25, SERVER.address, 80, "S", 1, 0));
    assert_ne!(outcome.one().ip().source_port(), 25);
}

#[test]
fn a_service_of_the_gateway_is_seen_and_answers() {
    let mut bench = Bench::with_config(office());
    let syn = bench.send(WAN, &tcp(STRANGER, 7000, GATEWAY_WAN, 25, "S", 1, 0));
    assert_eq!(syn.verdict, TO_STACK);
    assert_eq!(Ip(&syn.local.unwrap()[14..]).endpoints(), "198.51.100.66:7000 > 203.0.113.10:25");
    let gateway = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN };
    let answer = bench.host_sends(&tcp(gateway, 25, STRANGER.address, 7000, "SA", 9, 2));
    assert_eq!(answer.one().ip().endpoints(), "203.0.113.10:25 > 198.51.100.66:7000");
    assert_eq!((answer.one().source_mac(), answer.one().destination_mac()), (GATEWAY_WAN_MAC, ISP.mac));
    bench
        .send(WAN, &tcp(STRANGER, 7000, GATEWAY_WAN, 8080, "S", 1, 0))
        .assert_silently_dropped(DropReason::Unsolicited);
}

#[test]
fn a_flood_to_a_service_leaves_the_gateway_its_own_queries() {
    let mut config = office();
    config.nat.flows_per_host_max = 8;
    let mut bench = Bench::with_config(config);
    let visits = (0..20).map(|n| tcp(STRANGER, 7000 + n, GATEWAY_WAN, 25, "S", 1, 0));
    visits.for_each(|syn| assert_eq!(bench.send(WAN, &syn).verdict, TO_STACK));
    assert_eq!(bench.dataplane.flows_len(), 8, "the oldest half-open ones made room");
    let gateway = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN };
    bench.host_sends(&udp(gateway, 50_000, SERVER.address, 53, b"q")).one();
}

#[test]
fn the_default_machine_gets_what_nothing_else_claims() {
    let mut config = office();
    config.firewall.v4.dmz_host = Some(BOB.address);
    let mut bench = Bench::with_config(config);
    let claimed = bench.send(WAN, &tcp(STRANGER, 7000, GATEWAY_WAN, 8443, "S", 1, 0));
    assert_eq!(claimed.one().ip().destination(), ALICE.address);
    let outcome = bench.send(WAN, &tcp(STRANGER, 7000, GATEWAY_WAN, 4242, "S", 1, 0));
    assert_eq!(outcome.one().ip().endpoints(), "198.51.100.66:7000 > 192.168.1.20:4242");
    let answer = bench.send(LAN1, &tcp(BOB, 4242, STRANGER.address, 7000, "SA", 9, 2));
    assert_eq!(answer.one().ip().endpoints(), "203.0.113.10:4242 > 198.51.100.66:7000");
}

#[test]
fn a_policy_change_keeps_what_is_still_allowed_and_ends_the_rest() {
    let mut bench = Bench::with_config(office());
    bench.send(WAN, &udp(STRANGER, 7000, GATEWAY_WAN, 9000, b"x")).one();
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query")).one();
    bench.configure(|config| config.firewall.v4.forwards.clear());
    bench
        .send(WAN, &udp(STRANGER, 7000, GATEWAY_WAN, 9000, b"x"))
        .assert_silently_dropped(DropReason::Unsolicited);
    bench.send(WAN, &udp(SERVER, 53, GATEWAY_WAN, 5000, b"answer")).one();
}

#[test]
fn an_error_about_what_was_forwarded_names_the_forwarded_host_to_nobody() {
    for is_kept in [true, false] {
        let mut config = Config { mode: Mode::Nat, ..office() };
        config.firewall.stealth = false;
        let mut bench = Bench::cold(config);
        bench.send(WAN, &arp_request(ISP, GATEWAY_WAN));
        let held = bench.send(WAN, &tcp(STRANGER, 80, GATEWAY_WAN, 8443, "S", 1, 0));
        assert_eq!(held.verdict, Verdict::Hold, "the host is not known yet");
        if !is_kept {
            bench.configure(|config| config.firewall.v4.forwards.clear());
        }
        let sent = bench.pass(Duration::from_secs(5));
        let errors: Vec<_> = sent.iter().filter(|sent| sent.port == WAN && sent.is_ipv4()).collect();
        assert_eq!(errors.len(), usize::from(is_kept), "without its flow it cannot be what it was");
        assert!(errors.iter().all(|error| error.ip().quoted().destination() == GATEWAY_WAN));
    }
}

#[test]
fn a_forwarded_host_is_seen_at_the_same_port_when_it_calls() {
    let mut bench = Bench::with_config(office());
    let call = bench.send(LAN1, &udp(BOB, 19_007, SERVER.address, 5060, b"x"));
    assert_eq!(call.one().ip().endpoints(), "203.0.113.10:9007 > 198.51.100.7:5060");
    let answer = bench.send(WAN, &udp(SERVER, 5060, GATEWAY_WAN, 9007, b"y"));
    assert_eq!(answer.one().ip().endpoints(), "198.51.100.7:5060 > 192.168.1.20:19007");
}

/// A host on the WAN behind the provider's router.
fn somebody(number: u32) -> Host {
    Host { address: Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 1).to_bits() + number), ..STRANGER }
}

/// Whether a visitor shakes hands with the forward's server, and its data arrives.
fn visits(bench: &mut Bench, visitor: Host, port: u16) -> bool {
    let syn = bench.send(WAN, &tcp(visitor, port, GATEWAY_WAN, 8443, "S", 1, 0));
    bench.send(LAN0, &tcp(ALICE, 443, visitor.address, port, "SA", 9, 2));
    let heard = bench.send(WAN, &tcp(visitor, port, GATEWAY_WAN, 8443, "PA", 2, 10));
    !syn.sent.is_empty() && !heard.sent.is_empty()
}

#[test]
fn a_flood_of_syns_through_a_forward_starves_nobody() {
    let mut bench = Bench::with_config(office());
    assert!(visits(&mut bench, SERVER, 7000));
    for port in 1..=1000 {
        bench.send(WAN, &tcp(STRANGER, port, GATEWAY_WAN, 8443, "S", 1, 0));
    }
    assert!(bench.drops(DropReason::FlowRemoteLimit) > 900, "one source is limited");
    assert!(visits(&mut bench, SERVER, 7001));
    for number in 0..5000 {
        bench.send(WAN, &tcp(somebody(number), 7000, GATEWAY_WAN, 8443, "S", 1, 0));
    }
    assert!(visits(&mut bench, SERVER, 7002), "and all of them in all");
    let recycled = bench.dataplane.counters().flows_recycled;
    assert!((4000..5000).contains(&recycled), "{recycled}");
    for port in 7000..=7002 {
        let data = tcp(SERVER, port, GATEWAY_WAN, 8443, "PA", 6, 10);
        assert!(!bench.send(WAN, &data).sent.is_empty(), "who was there is there");
    }
    bench.send(LAN1, &udp(BOB, 5000, SERVER.address, 53, b"?")).one();
    assert!(bench.dataplane.flows_len() <= 512);
}

#[test]
fn a_flood_of_datagrams_to_the_gateways_service_starves_nobody() {
    let mut config = office();
    config.firewall.v4.wan_services = vec![WanService::for_all(Protocol::UDP, 53)];
    let mut bench = Bench::with_config(config);
    let gateway = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN };
    for port in 1..=1000 {
        bench.send(WAN, &udp(STRANGER, port, GATEWAY_WAN, 53, b"?"));
    }
    for number in 0..5000 {
        bench.send(WAN, &udp(somebody(number), 53, GATEWAY_WAN, 53, b"?"));
    }
    assert!(bench.drops(DropReason::FlowRemoteLimit) > 900);
    // An honest resolver uses a new source port for each query.
    for port in 1..=1000 {
        assert_eq!(bench.send(WAN, &udp(SERVER, port, GATEWAY_WAN, 53, b"?")).verdict, TO_STACK);
        bench.host_sends(&udp(gateway, 53, SERVER.address, port, b"!")).one();
    }
    bench.host_sends(&udp(gateway, 5353, ISP.address, 53, b"?"));
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"?")).one();
}

#[test]
fn a_service_is_shown_to_those_that_it_admits_and_to_nobody_else() {
    let mut config = office();
    let mut service = WanService::for_all(Protocol::UDP, 53);
    config.firewall.v4.dmz_host = Some(ALICE.address);
    config.firewall.v4.wan_services = vec![service.clone()];
    let mut bench = Bench::with_config(config);
    let gateway = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN };
    assert_eq!(bench.send(WAN, &udp(STRANGER, 5000, GATEWAY_WAN, 53, b"?")).verdict, TO_STACK);

    service.from = vec![ipnet::Ipv4Net::from(SERVER.address)];
    bench.configure(|config| config.firewall.v4.wan_services = vec![service]);
    assert_eq!(bench.send(WAN, &udp(SERVER, 5000, GATEWAY_WAN, 53, b"?")).verdict, TO_STACK);
    bench.host_sends(&udp(gateway, 53, SERVER.address, 5000, b"!")).one();
    // Neither the flow from before nor the default host lets it in.
    for port in [5000, 5001] {
        bench.send(WAN, &udp(STRANGER, port, GATEWAY_WAN, 53, b"?"));
    }
    assert_eq!(bench.drops(DropReason::ServiceSourceDenied), 2);
}

#[test]
fn an_infected_pc_that_sends_from_one_port_leaves_others_room() {
    let mut bench = Bench::with_config(office());
    for port in 1..=2000 {
        bench.send(LAN0, &tcp(ALICE, 40_000, SERVER.address, port, "S", 1, 0));
    }
    assert_eq!(bench.dataplane.flows_len(), 512, "its newest have taken the place of its oldest");
    bench.send(LAN1, &udp(BOB, 40_000, SERVER.address, 53, b"?")).one();
    assert!(visits(&mut bench, STRANGER, 7000));
}

#[test]
fn an_infected_pc_takes_only_its_own_share() {
    let mut bench = Bench::with_config(office());
    for port in 1..=2000 {
        bench.send(LAN0, &tcp(ALICE, 40_000 + port, SERVER.address, port, "S", 1, 0));
    }
    // Workers notify each other by sixteenths of their shares.
    let slack = 512 / 16 * (usize::from(workers()) - 1) / usize::from(workers());
    let flows = bench.dataplane.flows_len();
    assert!((512..=512 + slack).contains(&flows), "{flows}");
    bench.send(LAN1, &udp(BOB, 5000, SERVER.address, 53, b"?")).one();
    assert!(visits(&mut bench, STRANGER, 7000));
}
