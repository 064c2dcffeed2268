//! Several outside interfaces: each translates to its own address, and what belongs to one goes with it.

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::*;
use gatepost_dataplane::config::{Config, Mode};
use gatepost_dataplane::flow::{FlowError, Pinhole};
use gatepost_dataplane::key::Endpoint;
use gatepost_dataplane::{DropReason, PinholeError, Verdict};
use gatepost_ground::wire::Protocol;
use gatepost_ground::{InterfaceId, MacAddr, PortId, Role};

const DSL: PortId = PortId(3);
const DSL_SIDE: InterfaceId = InterfaceId(2);
const GATEWAY_DSL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// The second provider's router, a host of its network, and one far away that comes in by it.
const DSL_ISP: Host =
    Host { port: DSL, mac: MacAddr([2, 0, 0, 0, 4, 2]), address: Ipv4Addr::new(192, 0, 2, 1) };
const DSL_SERVER: Host = Host { address: Ipv4Addr::new(192, 0, 2, 77), ..DSL_ISP };
const DSL_STRANGER: Host = Host { address: STRANGER.address, ..DSL_ISP };

/// The office of the other tests, with a second provider. The first one's is the way to most of the internet.
fn config_with_dsl(mode: Mode) -> Config {
    let mut config = config(mode);
    config.ports.push(DSL_SIDE);
    let dsl = interface("dsl", Role::Outside, GATEWAY_LAN_MAC, Some("192.0.2.10/24"), Some(DSL_ISP.address));
    config.interfaces.push(dsl).expect("room");
    config.firewall.v4.forwards = vec![forward(Protocol::UDP, 80..=80, BOB, 8080)];
    config
}

fn bench_of(mode: Mode) -> Bench {
    let mut bench = Bench::with_config(config_with_dsl(mode));
    for host in [DSL_ISP, DSL_SERVER] {
        bench.send(DSL, &arp_request(host, GATEWAY_DSL)).one();
    }
    bench
}

fn bench() -> Bench {
    bench_of(Mode::NatDmz)
}

/// The port by which the one frame left, and its endpoints.
#[track_caller]
fn left(outcome: &Outcome) -> (PortId, String) {
    outcome.one().verify();
    (outcome.one().port, outcome.one().ip().endpoints())
}

#[test]
fn the_interface_by_which_a_packet_leaves_decides_its_address() {
    let mut bench = bench();
    let out = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    assert_eq!(left(&out), (WAN, "203.0.113.10:5000 > 198.51.100.7:53".to_owned()));
    let out = bench.send(LAN0, &udp(ALICE, 5000, DSL_SERVER.address, 53, b"query"));
    assert_eq!(left(&out), (DSL, "192.0.2.10:5000 > 192.0.2.77:53".to_owned()), "each has ports of its own");
    let back = bench.send(DSL, &udp(DSL_SERVER, 53, GATEWAY_DSL, 5000, b"answer"));
    assert_eq!(left(&back), (LAN0, "192.0.2.77:53 > 192.168.1.10:5000".to_owned()));
    let back = bench.send(WAN, &udp(SERVER, 53, GATEWAY_WAN, 5000, b"answer"));
    assert_eq!(left(&back), (LAN0, "198.51.100.7:53 > 192.168.1.10:5000".to_owned()));
}

/// RFC 4787, REQ-2: What a host sends by one interface comes from one address.
#[test]
fn rfc4787_req2_what_a_host_sends_by_one_interface_comes_from_one_address() {
    let mut bench = bench();
    for port in 6000..6050 {
        for (server, port_out, own) in [(SERVER, WAN, GATEWAY_WAN), (DSL_SERVER, DSL, GATEWAY_DSL)] {
            let out = bench.send(LAN0, &udp(ALICE, port, server.address, 53, b"query"));
            assert_eq!((out.one().port, out.one().ip().source()), (port_out, own));
        }
    }
}

#[test]
fn two_hosts_have_the_same_port_of_different_addresses() {
    let mut bench = bench();
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    let out = bench.send(LAN1, &udp(BOB, 5000, DSL_SERVER.address, 53, b"query"));
    assert_eq!(left(&out), (DSL, "192.0.2.10:5000 > 192.0.2.77:53".to_owned()));
    let out = bench.send(LAN1, &udp(BOB, 5000, SERVER.address, 53, b"query"));
    assert_ne!(out.one().ip().source_port(), 5000, "Alice has that one");
}

#[test]
fn a_mapping_is_of_its_own_address_only() {
    let mut bench = bench();
    bench.configure(|config| {
        config.nat.filtering = gatepost_dataplane::config::Filtering::EndpointIndependent;
    });
    bench.send(LAN0, &udp(ALICE, 5000, DSL_SERVER.address, 53, b"query"));
    let knock = bench.send(DSL, &udp(DSL_STRANGER, 7000, GATEWAY_DSL, 5000, b"hello"));
    assert_eq!(left(&knock), (LAN0, "198.51.100.66:7000 > 192.168.1.10:5000".to_owned()));
    let knock = bench.send(WAN, &udp(STRANGER, 7000, GATEWAY_WAN, 5000, b"hello"));
    knock.assert_dropped(DropReason::Unsolicited);
}

#[test]
fn what_came_in_by_one_interface_is_answered_by_it() {
    let mut bench = bench();
    let asked = bench.send(DSL, &udp(DSL_STRANGER, 4000, GATEWAY_DSL, 80, b"request"));
    assert_eq!(left(&asked), (LAN1, "198.51.100.66:4000 > 192.168.1.20:8080".to_owned()));
    let answer = bench.send(LAN1, &udp(BOB, 8080, STRANGER.address, 4000, b"answer"));
    assert_eq!(left(&answer), (DSL, "192.0.2.10:80 > 198.51.100.66:4000".to_owned()));
    assert_eq!(answer.one().destination_mac(), DSL_ISP.mac);
    // The same host by the other way is another conversation, and answered there.
    let asked = bench.send(WAN, &udp(STRANGER, 4001, GATEWAY_WAN, 80, b"request"));
    assert_eq!(left(&asked), (LAN1, "198.51.100.66:4001 > 192.168.1.20:8080".to_owned()));
    let answer = bench.send(LAN1, &udp(BOB, 8080, STRANGER.address, 4001, b"answer"));
    assert_eq!(left(&answer), (WAN, "203.0.113.10:80 > 198.51.100.66:4001".to_owned()));
}

/// RFC 4787, REQ-9a: A host that is reached at one of several external addresses sees the other at the same.
#[test]
fn rfc4787_req9a_hairpin_at_each_address() {
    for own in [GATEWAY_WAN, GATEWAY_DSL] {
        let mut bench = bench();
        let asked = bench.send(LAN0, &udp(ALICE, 5000, own, 80, b"request"));
        assert_eq!(left(&asked), (LAN1, format!("{own}:5000 > 192.168.1.20:8080")));
        let answer = bench.send(LAN1, &udp(BOB, 8080, own, 5000, b"answer"));
        assert_eq!(left(&answer), (LAN0, format!("{own}:80 > 192.168.1.10:5000")));
    }
}

#[test]
fn the_gateways_own_leave_by_the_interface_that_has_their_address() {
    let mut bench = bench();
    for (own, port) in [(GATEWAY_WAN, WAN), (GATEWAY_DSL, DSL)] {
        let from = Host { port, mac: MacAddr::ZERO, address: own };
        let out = bench.host_sends(&udp(from, 6000, SERVER.address, 53, b"query"));
        assert_eq!(left(&out), (port, format!("{own}:6000 > 198.51.100.7:53")));
        let back = bench.send(port, &udp(Host { port, ..SERVER }, 53, own, 6000, b"answer"));
        assert_eq!(back.verdict, TO_STACK);
    }
    let ping = bench_of(Mode::Nat).send(DSL, &echo_request(DSL_STRANGER, GATEWAY_DSL, 1, 1));
    assert_eq!((ping.one().port, ping.one().ip().source()), (DSL, GATEWAY_DSL));
}

/// RFC 1812, section 4.3.2.4: An error leaves by the interface that its packet came in by.
#[test]
fn rfc1812_4_3_2_4_an_error_leaves_by_the_interface_that_its_packet_came_in_by() {
    let mut bench = bench_of(Mode::Nat);
    let refused = bench.send(DSL, &udp(DSL_STRANGER, 4000, GATEWAY_DSL, 9, b"?"));
    refused.assert_dropped(DropReason::Unsolicited);
    assert_eq!((refused.one().port, refused.one().ip().icmp()), (DSL, (3, 3)));
    assert_eq!(refused.one().ip().source(), GATEWAY_DSL);
    // A SYN is refused later.
    bench.send(DSL, &tcp(DSL_STRANGER, 4000, GATEWAY_DSL, 9, "S", 1, 0));
    let sent = bench.pass(Duration::from_secs(7));
    let error = sent.iter().find(|sent| sent.is_ipv4()).expect("a refusal");
    assert_eq!((error.port, error.ip().source(), error.ip().icmp()), (DSL, GATEWAY_DSL, (3, 3)));
}

/// RFC 5508, REQ-4: An error about a packet that left by any interface reaches its sender.
#[test]
fn rfc5508_req4_an_error_comes_back_by_each_interface() {
    let mut bench = bench();
    for (server, router, own) in [(SERVER, ISP, GATEWAY_WAN), (DSL_SERVER, DSL_ISP, GATEWAY_DSL)] {
        let out = bench.send(LAN0, &udp(ALICE, 5000, server.address, 53, b"query"));
        let error = icmp_error(router, own, 3, 1, 0, &out.one().bytes[14..]);
        let told = bench.send(router.port, &error);
        assert_eq!((told.one().port, told.one().ip().destination()), (LAN0, ALICE.address));
        assert_eq!(
            told.one().ip().quoted().endpoints(),
            format!("192.168.1.10:5000 > {}:53", server.address)
        );
    }
}

#[test]
fn an_address_that_changes_ends_its_own_flows_and_mappings_only() {
    let mut bench = bench();
    for server in [SERVER, DSL_SERVER] {
        bench.send(LAN0, &udp(ALICE, 5000, server.address, 53, b"query")).one();
    }
    bench.send(DSL, &udp(DSL_STRANGER, 4000, GATEWAY_DSL, 80, b"request")).one();
    bench.send(LAN0, &udp(ALICE, 6000, GATEWAY_DSL, 80, b"hairpin")).one();
    bench.send(LAN0, &udp(ALICE, 6000, GATEWAY_WAN, 80, b"hairpin")).one();
    let of_dsl = bench.dataplane.flows_len() - 3;
    bench.configure(|config| {
        config.interfaces[WAN_SIDE.index()].addresses = Some("203.0.113.77/24".parse().expect("one")).into();
    });
    assert_eq!(bench.dataplane.flows_len(), of_dsl);
    let addresses = bench.dataplane.flows().flat_map(|flow| [flow.original, flow.reply]);
    assert!(addresses.into_iter().all(|key| key.destination.address != GATEWAY_WAN));
    let back = bench.send(DSL, &udp(DSL_SERVER, 53, GATEWAY_DSL, 5000, b"answer"));
    assert_eq!(left(&back), (LAN0, "192.0.2.77:53 > 192.168.1.10:5000".to_owned()));
    let answer = bench.send(LAN1, &udp(BOB, 8080, STRANGER.address, 4000, b"answer"));
    assert_eq!(left(&answer), (DSL, "192.0.2.10:80 > 198.51.100.66:4000".to_owned()));
    bench.send(WAN, &udp(SERVER, 53, GATEWAY_WAN, 5000, b"x")).assert_dropped(DropReason::Ipv4NotForUs);
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    let flows: Vec<_> = bench.dataplane.flows().map(|flow| flow.reply.destination.to_string()).collect();
    assert!(flows.contains(&"203.0.113.77:5000".to_owned()), "{flows:?}");
}

#[test]
fn without_one_provider_new_flows_leave_by_the_other() {
    let mut bench = bench();
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query")).one();
    bench.configure(|config| config.interfaces[WAN_SIDE.index()].addresses.clear());
    assert_eq!(bench.dataplane.flows_len(), 0);
    let out = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    assert_eq!(left(&out), (DSL, "192.0.2.10:5000 > 198.51.100.7:53".to_owned()));
    // An interface that is gone altogether takes what is left.
    bench.configure(|config| *config = common::config(Mode::NatDmz));
    assert_eq!(bench.dataplane.flows_len(), 0);
}

/// A packet of the gateway's own may leave by another interface, with that interface's address.
#[test]
fn the_gateways_own_leave_by_another_interface_if_that_of_their_address_leads_nowhere() {
    let mut bench = bench();
    bench.configure(|config| config.interfaces[WAN_SIDE.index()].gateway.v4 = None);
    let gateway = Host { port: WAN, mac: MacAddr::ZERO, address: GATEWAY_WAN };
    let out = bench.host_sends(&udp(gateway, 6000, SERVER.address, 53, b"query"));
    assert_eq!(left(&out), (DSL, "192.0.2.10:6000 > 198.51.100.7:53".to_owned()));
}

#[test]
fn of_several_addresses_the_inside_is_seen_at_that_in_the_routers_network() {
    let mut config = config_with_dsl(Mode::NatDmz);
    let addresses = ["198.18.0.9/24", "203.0.113.10/24"].map(|address| address.parse().expect("a network"));
    config.interfaces[WAN_SIDE.index()].addresses = addresses.into();
    let mut bench = Bench::with_config(config);
    let out = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    assert_eq!(left(&out), (WAN, "203.0.113.10:5000 > 198.51.100.7:53".to_owned()));
}

/// The MSS is clamped to the MTU of the interface that the connection uses, whichever side opens it.
#[test]
fn the_mss_is_clamped_to_the_interface_that_the_connection_goes_by() {
    let mut config = config_with_dsl(Mode::NatDmz);
    config.interfaces[DSL_SIDE.index()].mtu = 1400;
    config.firewall.v4.forwards = vec![forward(Protocol::TCP, 80..=80, BOB, 8080)];
    let mut bench = Bench::with_config(config);
    for host in [DSL_ISP, DSL_SERVER] {
        bench.send(DSL, &arp_request(host, GATEWAY_DSL)).one();
    }
    for (own, server, router, mss) in
        [(GATEWAY_WAN, SERVER, STRANGER, 1460), (GATEWAY_DSL, DSL_SERVER, DSL_STRANGER, 1360)]
    {
        let out = bench.send(LAN0, &syn(ALICE, 5000, server.address, 80, "S", 1460));
        assert_eq!((out.one().port, mss_of(out.one().ip())), (server.port, mss));
        let asked = bench.send(router.port, &syn(router, 4000 + mss, own, 80, "S", 1460));
        assert_eq!((asked.one().port, mss_of(asked.one().ip())), (LAN1, mss));
        // Most of the internet is behind the first provider; the address leads to the second.
        let gateway = Host { port: router.port, mac: MacAddr::ZERO, address: own };
        let out = bench.host_sends(&syn(gateway, 6000, SERVER.address, 80, "S", 1460));
        assert_eq!((out.one().port, mss_of(out.one().ip())), (router.port, mss));
    }
}

#[test]
fn who_asks_at_any_address_hears_that_the_host_behind_it_does_not_answer() {
    for own in [GATEWAY_WAN, GATEWAY_DSL] {
        let mut config = config_with_dsl(Mode::NatDmz);
        let nobody = Host { address: Ipv4Addr::new(192, 168, 1, 99), ..BOB };
        config.firewall.v4.forwards = vec![forward(Protocol::UDP, 80..=80, nobody, 8080)];
        let mut bench = Bench::with_config(config);
        bench.send(LAN0, &udp(ALICE, 5000, own, 80, b"request"));
        let sent = bench.pass(Duration::from_secs(30));
        let error = sent.iter().find(|sent| sent.is_ipv4()).expect("the sender is told");
        assert_eq!((error.port, error.ip().icmp()), (LAN0, (3, 1)));
        assert_eq!(error.ip().quoted().endpoints(), format!("192.168.1.10:5000 > {own}:80"));
    }
}

/// Packets of a flow whose external address has no route do not leave by another interface: a provider drops sources
/// that are not of its network.
#[test]
fn a_flow_does_not_move_to_another_interface() {
    let mut bench = bench();
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query")).one();
    bench.configure(|config| config.interfaces[WAN_SIDE.index()].gateway.v4 = None);
    let query = udp(ALICE, 5000, SERVER.address, 53, b"query");
    bench.send(LAN0, &query).assert_silently_dropped(DropReason::NoRoute);
}

#[test]
fn the_office_is_no_way_from_one_provider_to_another() {
    for mode in [Mode::NatDmz, Mode::Router] {
        let mut bench = bench_of(mode);
        let transit = udp(SERVER, 4000, DSL_SERVER.address, 53, b"query");
        bench.send(WAN, &transit).assert_silently_dropped(DropReason::Ipv4NotForUs);
    }
}

#[test]
fn fragments_of_one_packet_leave_by_one_interface() {
    let mut bench = bench();
    let pieces = fragment(&udp(ALICE, 5000, DSL_SERVER.address, 53, &[7; 1200]), 9, 504);
    assert_eq!(bench.send(LAN0, &pieces[1]).verdict, Verdict::Hold);
    let sent = bench.send(LAN0, &pieces[0]).sent;
    assert!(sent.len() == 2 && sent.iter().all(|sent| sent.port == DSL && sent.ip().source() == GATEWAY_DSL));
}

#[test]
fn a_pinhole_is_at_one_address_and_goes_with_it() {
    let mut bench = bench();
    let now = bench.now;
    let inside = Endpoint::new(ALICE.address, 5060);
    let open = |bench: &mut Bench, external| {
        let pinhole = Pinhole { protocol: Protocol::UDP, inside, external, remote: None };
        bench.dataplane.open_pinhole(now, &pinhole, Duration::from_mins(1))
    };
    let knocks = |bench: &mut Bench| {
        let by_wan = bench.send(WAN, &udp(STRANGER, 7000, GATEWAY_WAN, 5060, b"voice")).verdict;
        let by_dsl = bench.send(DSL, &udp(DSL_SERVER, 7000, GATEWAY_DSL, 5060, b"voice")).verdict;
        [by_wan, by_dsl]
    };
    let unsolicited = Verdict::Drop(DropReason::Unsolicited);
    open(&mut bench, GATEWAY_DSL).expect("there is room");
    assert_eq!(knocks(&mut bench), [unsolicited, Verdict::Transmit(LAN0)]);
    open(&mut bench, GATEWAY_WAN).expect("there is room");
    assert_eq!(knocks(&mut bench), [Verdict::Transmit(LAN0); 2]);
    bench.configure(|config| config.interfaces[DSL_SIDE.index()].addresses.clear());
    let no_address = Err(PinholeError::Flow(FlowError::NoAddress));
    assert_eq!(open(&mut bench, GATEWAY_DSL), no_address);
    assert_eq!(
        bench.send(WAN, &udp(SERVER, 7000, GATEWAY_WAN, 5060, b"voice")).verdict,
        Verdict::Transmit(LAN0)
    );
}
