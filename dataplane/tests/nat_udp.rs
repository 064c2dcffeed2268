//! NAT for UDP, requirement by requirement. (RFC 4787)

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::*;
use gatepost_dataplane::DropReason;
use gatepost_dataplane::config::{Filtering, Mode};
use gatepost_ground::MacAddr;
use gatepost_ground::wire::Protocol;

/// Sends a datagram outwards and returns the port that it got on the WAN address.
#[track_caller]
fn open(bench: &mut Bench, from: Host, port: u16, to: Host, to_port: u16) -> u16 {
    let outcome = bench.send(from.port, &udp(from, port, to.address, to_port, b"out"));
    let sent = outcome.one();
    assert_eq!((sent.port, sent.ip().source()), (WAN, GATEWAY_WAN));
    assert_eq!((sent.ip().destination(), sent.ip().destination_port()), (to.address, to_port));
    sent.ip().source_port()
}

/// Whether a datagram from the WAN to `port` of the WAN address reaches `inside`.
fn reaches(bench: &mut Bench, from: Host, from_port: u16, port: u16, inside: (Host, u16)) -> bool {
    let outcome = bench.send(WAN, &udp(from, from_port, GATEWAY_WAN, port, b"in"));
    let Some(sent) = outcome.sent.iter().find(|sent| sent.port == inside.0.port && sent.is_ipv4()) else {
        return false;
    };
    let expected = format!("{}:{from_port} > {}:{}", from.address, inside.0.address, inside.1);
    assert_eq!(sent.ip().endpoints(), expected);
    assert_eq!(sent.destination_mac(), inside.0.mac);
    assert_eq!(sent.source_mac(), GATEWAY_LAN_MAC);
    true
}

#[test]
fn a_query_goes_out_and_its_answer_comes_back() {
    let mut bench = Bench::new(Mode::NatDmz);
    let outcome = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    let sent = outcome.one();
    assert_eq!(sent.ip().endpoints(), "203.0.113.10:5000 > 198.51.100.7:53");
    assert_eq!(sent.ip().ttl(), 63);
    assert_eq!((sent.source_mac(), sent.destination_mac()), (GATEWAY_WAN_MAC, ISP.mac));
    assert!(reaches(&mut bench, SERVER, 53, 5000, (ALICE, 5000)));
}

/// RFC 4787, REQ-1: Mapping is endpoint independent.
#[test]
fn rfc4787_req1_mapping_is_endpoint_independent() {
    let mut bench = Bench::new(Mode::NatDmz);
    open(&mut bench, BOB, 5000, SERVER, 53);
    let first = open(&mut bench, ALICE, 5000, SERVER, 53);
    assert_eq!(open(&mut bench, ALICE, 5000, SERVER, 54), first);
    assert_eq!(open(&mut bench, ALICE, 5000, STRANGER, 53), first);
    assert_eq!(open(&mut bench, ALICE, 5000, ISP, 123), first);
}

/// RFC 4787, REQ-3: Ports are preserved where free and never overloaded.
#[test]
fn rfc4787_req3_ports_are_preserved_where_free_and_never_overloaded() {
    let mut bench = Bench::new(Mode::NatDmz);
    assert_eq!(open(&mut bench, ALICE, 5000, SERVER, 53), 5000);
    // Bob's is another, even towards another server.
    let bobs = open(&mut bench, BOB, 5000, STRANGER, 53);
    assert_ne!(bobs, 5000);
    assert!(reaches(&mut bench, SERVER, 53, 5000, (ALICE, 5000)));
    assert!(reaches(&mut bench, STRANGER, 53, bobs, (BOB, 5000)));
}

/// RFC 4787, REQ-3a: Low ports stay low and high ports high.
#[test]
fn rfc4787_req3a_low_ports_stay_low_and_high_ports_high() {
    let mut bench = Bench::new(Mode::NatDmz);
    for port in [123, 1023, 1024, 65535] {
        assert_eq!(open(&mut bench, ALICE, port, SERVER, 53), port);
        let other = open(&mut bench, BOB, port, SERVER, 53);
        assert_ne!(other, port);
        assert_eq!(other < 1024, port < 1024, "{port} became {other}");
    }
}

/// RFC 4787, REQ-4: The external port has the parity of the inside port.
#[test]
fn rfc4787_req4_parity_is_kept() {
    let mut bench = Bench::new(Mode::NatDmz);
    for port in 5000..5020 {
        assert_eq!(open(&mut bench, ALICE, port, SERVER, 53), port);
        assert_eq!(open(&mut bench, BOB, port, SERVER, 53) % 2, port % 2);
    }
}

/// RFC 4787, REQ-5: A mapping lives five minutes.
#[test]
fn rfc4787_req5_a_mapping_lives_five_minutes() {
    let mut bench = Bench::new(Mode::NatDmz);
    open(&mut bench, ALICE, 5000, SERVER, 4000);
    assert!(reaches(&mut bench, SERVER, 4000, 5000, (ALICE, 5000)));
    open(&mut bench, ALICE, 5000, SERVER, 4000);
    bench.pass(Duration::from_secs(299));
    assert!(reaches(&mut bench, SERVER, 4000, 5000, (ALICE, 5000)));
    bench.pass(Duration::from_secs(302));
    assert!(!reaches(&mut bench, SERVER, 4000, 5000, (ALICE, 5000)));
    assert_eq!(bench.dataplane.flows().count(), 0);
}

/// RFC 4787, REQ-6: Outbound refreshes and inbound alone does not.
#[test]
fn rfc4787_req6_outbound_refreshes_and_inbound_alone_does_not() {
    let mut bench = Bench::new(Mode::NatDmz);
    open(&mut bench, ALICE, 5000, SERVER, 4000);
    for _ in 0..5 {
        bench.pass(Duration::from_secs(200));
        open(&mut bench, ALICE, 5000, SERVER, 4000);
    }
    assert!(reaches(&mut bench, SERVER, 4000, 5000, (ALICE, 5000)));
    let alive = (0..10)
        .filter(|_| {
            bench.pass(Duration::from_secs(100));
            reaches(&mut bench, SERVER, 4000, 5000, (ALICE, 5000))
        })
        .count();
    assert!(alive < 4, "a flood from outside holds the mapping");
}

/// RFC 4787, REQ-8: Filtering is selectable.
#[test]
fn rfc4787_req8_filtering_is_selectable() {
    for (filtering, same_address, anybody) in [
        (Filtering::EndpointIndependent, true, true),
        (Filtering::AddressDependent, true, false),
        (Filtering::AddressAndPortDependent, false, false),
    ] {
        let mut config = config(Mode::NatDmz);
        config.nat.filtering = filtering;
        let mut bench = Bench::with_config(config);
        open(&mut bench, ALICE, 5000, SERVER, 4000);
        assert!(reaches(&mut bench, SERVER, 4000, 5000, (ALICE, 5000)));
        assert_eq!(reaches(&mut bench, SERVER, 4001, 5000, (ALICE, 5000)), same_address, "{filtering:?}");
        assert_eq!(reaches(&mut bench, STRANGER, 4000, 5000, (ALICE, 5000)), anybody, "{filtering:?}");
    }
}

#[test]
fn what_filtering_refuses_is_counted_and_opens_nothing() {
    let mut bench = Bench::new(Mode::NatDmz);
    open(&mut bench, ALICE, 5000, SERVER, 4000);
    let flows = bench.dataplane.flows().count();
    bench
        .send(WAN, &udp(STRANGER, 4000, GATEWAY_WAN, 5000, b"in"))
        .assert_silently_dropped(DropReason::Filtered);
    bench.send(WAN, &udp(STRANGER, 4000, GATEWAY_WAN, 5001, b"in")).assert_dropped(DropReason::Unsolicited);
    assert_eq!(bench.dataplane.flows().count(), flows);
    // The port that was knocked at is not reserved.
    assert_eq!(open(&mut bench, BOB, 5001, SERVER, 4000), 5001);
}

/// RFC 4787, REQ-11: The same contention has the same outcome.
#[test]
fn rfc4787_req11_the_same_contention_has_the_same_outcome() {
    let run = || {
        let mut bench = Bench::new(Mode::NatDmz);
        (0..50)
            .flat_map(|i| {
                let port = 6000 + i % 5;
                [open(&mut bench, ALICE, port, SERVER, 53), open(&mut bench, BOB, port, SERVER, 53)]
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_datagram_without_a_checksum_stays_without() {
    let mut bench = Bench::new(Mode::NatDmz);
    let mut datagram = udp(ALICE, 5000, SERVER.address, 53, b"query");
    datagram[40..42].fill(0);
    let outcome = bench.send(LAN0, &datagram);
    assert_eq!(outcome.one().bytes[40..42], [0, 0]);
    let mut answer = udp(SERVER, 53, GATEWAY_WAN, 5000, b"answer");
    answer[40..42].fill(0);
    let outcome = bench.send(WAN, &answer);
    assert_eq!(outcome.one().bytes[40..42], [0, 0]);
}

#[test]
fn two_hosts_reach_one_server_port_at_the_same_time() {
    let mut bench = Bench::new(Mode::NatDmz);
    let alices = open(&mut bench, ALICE, 40_000, SERVER, 443);
    let bobs = open(&mut bench, BOB, 40_000, SERVER, 443);
    assert!(reaches(&mut bench, SERVER, 443, alices, (ALICE, 40_000)));
    assert!(reaches(&mut bench, SERVER, 443, bobs, (BOB, 40_000)));
}

/// RFC 5508, REQ-8: A host over its limit gets an ICMP error.
#[test]
fn rfc5508_req8_a_host_over_its_limit_is_refused_and_told() {
    let mut config = config(Mode::NatDmz);
    config.nat.flows_per_host_max = 10;
    let mut bench = Bench::with_config(config);
    for port in 5000..5010 {
        let external = open(&mut bench, ALICE, port, SERVER, 53);
        assert!(reaches(&mut bench, SERVER, 53, external, (ALICE, port)));
    }
    let refused = bench.send(LAN0, &udp(ALICE, 5010, SERVER.address, 53, b"query"));
    refused.assert_dropped(DropReason::FlowHostLimit);
    // RFC 5508, REQ-8
    assert_eq!(refused.one().ip().icmp(), (3, 13));
    assert_eq!(refused.one().ip().quoted().endpoints(), "192.168.1.10:5010 > 198.51.100.7:53");
    open(&mut bench, BOB, 5010, SERVER, 53);
    assert!(reaches(&mut bench, SERVER, 53, 5000, (ALICE, 5000)));
}

/// RFC 5508, REQ-8: A full table rejects new flows with an ICMP error, and keeps its flows.
#[test]
fn rfc5508_req8_a_full_table_refuses_tells_and_keeps_what_it_has() {
    let mut config = config(Mode::NatDmz);
    config.nat.flows_max = 16;
    let mut bench = Bench::with_config(config);
    for port in 5000..5008 {
        for (host, port) in [(ALICE, port), (BOB, port + 8)] {
            let external = open(&mut bench, host, port, SERVER, 53);
            assert!(reaches(&mut bench, SERVER, 53, external, (host, port)), "what is answered stays");
        }
    }
    let carol = Host { mac: MacAddr([2, 0, 0, 0, 1, 30]), address: Ipv4Addr::new(192, 168, 1, 30), ..ALICE };
    bench.send(carol.port, &arp_request(carol, GATEWAY_LAN));
    let refused = bench.send(carol.port, &udp(carol, 5000, SERVER.address, 53, b"query"));
    refused.assert_dropped(DropReason::FlowTableFull);
    assert_eq!(refused.one().ip().icmp(), (3, 13));
    assert!(reaches(&mut bench, SERVER, 53, 5000, (ALICE, 5000)));
}

/// RFC 5508, REQ-8: Exhausted ports cause an ICMP error.
#[test]
fn rfc5508_req8_exhausted_ports_are_told() {
    let mut config = config(Mode::NatDmz);
    config.firewall.v4.forwards = vec![forward(Protocol::UDP, 1..=65535, BOB, 1)];
    let mut bench = Bench::with_config(config);
    let refused = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    refused.assert_dropped(DropReason::PortsExhausted);
    assert_eq!(refused.one().ip().icmp(), (3, 13));
}

/// RFC 4787, REQ-2: All of a hosts mappings have one address.
#[test]
fn rfc4787_req2_all_of_a_hosts_mappings_have_one_address() {
    let mut bench = Bench::new(Mode::NatDmz);
    for (port, to) in [(5000, SERVER), (5001, STRANGER), (5002, ISP)] {
        let sent = bench.send(LAN0, &udp(ALICE, port, to.address, 53, b"query"));
        assert_eq!(sent.one().ip().source(), GATEWAY_WAN);
    }
    let sent = bench.send(LAN0, &tcp(ALICE, 5000, SERVER.address, 80, "S", 1, 0));
    assert_eq!(sent.one().ip().source(), GATEWAY_WAN);
    let sent = bench.send(LAN0, &echo_request(ALICE, SERVER.address, 7, 1));
    assert_eq!(sent.one().ip().source(), GATEWAY_WAN);
}

/// RFC 4787, REQ-10: What a datagram says is not touched.
#[test]
fn rfc4787_req10_what_a_datagram_says_is_not_touched() {
    let mut bench = Bench::new(Mode::NatDmz);
    let says = b"INVITE sip:bob@198.51.100.7 SIP/2.0\r\nContact: <sip:alice@192.168.1.10:5060>\r\n";
    let sent = bench.send(LAN0, &udp(ALICE, 5060, SERVER.address, 5060, says));
    assert_eq!(&sent.one().ip().payload()[8..], says);
    let sent = bench.send(LAN0, &udp(ALICE, 69, SERVER.address, 69, b"\0\x01file\0octet\0"));
    assert_eq!(&sent.one().ip().payload()[8..], b"\0\x01file\0octet\0");
    // The server's answer from another port, which an application gateway would let in.
    bench
        .send(WAN, &udp(SERVER, 50_000, GATEWAY_WAN, 69, b"\0\x03data"))
        .assert_silently_dropped(DropReason::Filtered);
}
