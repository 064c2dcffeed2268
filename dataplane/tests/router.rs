//! Plain routing, by the router's requirements. (RFC 1812)

mod common;

use common::*;
use gatepost_dataplane::config::Mode;
use gatepost_dataplane::{Batch, DropReason, Output, Verdict};
use gatepost_ground::wire::Protocol;

#[test]
fn packets_cross_unchanged_but_for_the_ttl() {
    let mut bench = Bench::new(Mode::Router);
    let there = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    assert_eq!(there.one().ip().endpoints(), "192.168.1.10:5000 > 198.51.100.7:53");
    assert_eq!(there.one().ip().ttl(), 63);
    assert_eq!((there.one().port, there.one().destination_mac()), (WAN, ISP.mac));
    let back = bench.send(WAN, &tcp(STRANGER, 53, ALICE.address, 5000, "S", 1, 0));
    assert_eq!((back.one().port, back.one().destination_mac()), (LAN0, ALICE.mac));
    assert_eq!(bench.dataplane.flows().count(), 0, "a router has no state");
}

#[test]
fn a_host_on_the_wan_segment_is_a_neighbour() {
    let mut bench = Bench::new(Mode::Router);
    let neighbor =
        Host { address: [203, 0, 113, 99].into(), mac: "02:00:00:00:02:99".parse().unwrap(), port: WAN };
    bench.send(WAN, &arp_request(neighbor, GATEWAY_WAN));
    let outcome = bench.send(LAN0, &udp(ALICE, 5000, neighbor.address, 53, b"query"));
    assert_eq!(outcome.one().destination_mac(), neighbor.mac);
}

#[test]
fn everything_to_the_gateways_addresses_is_the_hosts() {
    let mut bench = Bench::new(Mode::Router);
    for (host, address) in [(ALICE, GATEWAY_WAN), (STRANGER, GATEWAY_WAN), (STRANGER, GATEWAY_LAN)] {
        let outcome = bench.send(host.port, &tcp(host, 40_000, address, 9, "S", 1, 0));
        assert_eq!(outcome.verdict, TO_STACK, "{address}");
    }
}

/// RFC 1812, section 5.3.1: TTL expires with an error from the interface it leaves by.
#[test]
fn rfc1812_ttl_expires_with_an_error_from_the_interface_it_leaves_by() {
    for (mode, from, target, source) in [
        (Mode::Router, ALICE, SERVER.address, GATEWAY_LAN),
        (Mode::Nat, ALICE, SERVER.address, GATEWAY_LAN),
        (Mode::Router, STRANGER, ALICE.address, GATEWAY_WAN),
    ] {
        let mut bench = Bench::new(mode);
        let mut packet = udp(from, 5000, target, 53, b"query");
        set_ttl(&mut packet, 1);
        let outcome = bench.send(from.port, &packet);
        outcome.assert_dropped(DropReason::TtlExpired);
        let error = outcome.one();
        assert_eq!((error.port, error.ip().icmp()), (from.port, (11, 0)));
        assert_eq!((error.ip().source(), error.ip().destination()), (source, from.address));
        assert_eq!(error.ip().quoted().0, &packet[14..]);
        assert_eq!(bench.dataplane.flows().count(), 0);
    }
}

/// RFC 1812, section 4.3.2.7: No error about an error a broadcast or a later fragment.
#[test]
fn rfc1812_no_error_about_an_error_a_broadcast_or_a_later_fragment() {
    let mut bench = Bench::new(Mode::Router);
    let mut about_error = icmp_error(ALICE, SERVER.address, 3, 3, 0, &[0x45; 28]);
    set_ttl(&mut about_error, 1);
    bench.send(LAN0, &about_error).assert_silently_dropped(DropReason::TtlExpired);
    let mut later_fragment = udp(ALICE, 5000, SERVER.address, 53, b"query");
    set_fragment(&mut later_fragment, 1480, false);
    set_ttl(&mut later_fragment, 1);
    bench.send(LAN0, &later_fragment).assert_silently_dropped(DropReason::TtlExpired);
}

/// RFC 1812, section 5.2.2: A wrong header checksum is dropped.
#[test]
fn rfc1812_a_wrong_header_checksum_is_dropped() {
    let mut bench = Bench::new(Mode::Router);
    let mut packet = udp(ALICE, 5000, SERVER.address, 53, b"query");
    packet[24] ^= 1;
    bench.send(LAN0, &packet).assert_silently_dropped(DropReason::Ipv4Checksum);
}

/// RFC 1812, section 5.2.7.1: A packet without a route gets "network unreachable".
#[test]
fn rfc1812_no_route_is_told() {
    let mut config = config(Mode::Router);
    config.interfaces[WAN_SIDE.index()].gateway.v4 = None;
    let mut bench = Bench::with_config(config);
    let outcome = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    outcome.assert_dropped(DropReason::NoRoute);
    assert_eq!(outcome.one().ip().icmp(), (3, 0));
}

/// RFC 1812, section 5.2.4.1: Source routes are refused.
#[test]
fn rfc1812_source_routes_are_refused() {
    let mut bench = Bench::new(Mode::Router);
    let packet = udp(ALICE, 5000, SERVER.address, 53, b"query");
    for option in [131, 137] {
        let routed = with_ip_options(&packet[14..], &[option, 7, 4, 1, 2, 3, 4, 0]);
        let frame = [&packet[..14], &routed].concat();
        bench.send(LAN0, &frame).assert_silently_dropped(DropReason::SourceRouted);
    }
}

/// RFC 3927, section 7: Link local hosts stay on their link.
#[test]
fn rfc3927_section_7_link_local_hosts_stay_on_their_link() {
    let neighbor = Host { address: [169, 254, 1, 1].into(), ..ISP };
    for mode in [Mode::Router, Mode::Nat] {
        let mut config = config(mode);
        config.firewall.v4.forwards = vec![forward(Protocol::UDP, 9000..=9000, ALICE, 9000)];
        let mut bench = Bench::with_config(config);
        let target = if mode == Mode::Router { ALICE.address } else { GATEWAY_WAN };
        bench
            .send(WAN, &udp(neighbor, 5000, target, 9000, b"x"))
            .assert_silently_dropped(DropReason::Martian);
        assert_eq!(bench.dataplane.flows().count(), 0);
    }
}

/// RFC 4787, REQ-13: A packet with DF that is too big gets "fragmentation needed".
#[test]
fn rfc4787_req13_too_big_and_not_to_be_fragmented_is_told() {
    for mode in [Mode::Router, Mode::Nat] {
        let mut config = config(mode);
        config.interfaces[WAN_SIDE.index()].mtu = 1400;
        let mut bench = Bench::with_config(config);
        let mut packet = udp(ALICE, 5000, SERVER.address, 53, &[7; 1472]);
        set_dont_fragment(&mut packet, true);
        let outcome = bench.send(LAN0, &packet);
        outcome.assert_dropped(DropReason::MtuExceeded);
        let ip = outcome.one().ip();
        assert_eq!(ip.icmp(), (3, 4));
        assert_eq!(ip.payload()[4..8], 1400u32.to_be_bytes());
        assert_eq!(ip.quoted().endpoints(), "192.168.1.10:5000 > 198.51.100.7:53");
    }
}

/// RFC 4787, REQ-13: Too big is fragmented where it may be.
/// RFC 1812, section 5.2.6: Too big is fragmented where it may be.
#[test]
fn rfc4787_req13_and_rfc1812_5_2_6_too_big_is_fragmented_where_it_may_be() {
    for mode in [Mode::Router, Mode::Nat] {
        let mut config = config(mode);
        config.interfaces[WAN_SIDE.index()].mtu = 576;
        let mut bench = Bench::with_config(config);
        let mut packet = udp(ALICE, 5000, SERVER.address, 53, &[7; 1472]);
        set_dont_fragment(&mut packet, false);
        let outcome = bench.send(LAN0, &packet);
        assert_eq!(outcome.sent.len(), 3);
        assert!(outcome.sent.iter().all(|sent| sent.bytes.len() <= 14 + 576 && sent.port == WAN));
        let whole = Sent { port: WAN, bytes: reassemble(&outcome.sent) };
        assert_eq!(whole.ip().payload()[8..], [7; 1472]);
        whole.verify();
    }
}

#[test]
fn what_cannot_be_made_for_want_of_room_is_counted() {
    let mut config = config(Mode::Router);
    config.interfaces[WAN_SIDE.index()].mtu = 576;
    let mut bench = Bench::with_config(config);
    let mut packet = udp(ALICE, 5000, SERVER.address, 53, &[7; 1472]);
    set_dont_fragment(&mut packet, false);
    let (verdicts, made) = bench.send_batch(LAN0, &vec![packet; Batch::FRAMES_MAX]);
    // All pieces of a packet, or none.
    let cut = Output::FRAMES_MAX / 3;
    assert_eq!(made.len(), cut * 3);
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Consumed).count(), cut);
    assert_eq!(bench.drops(DropReason::OutputFull), (Batch::FRAMES_MAX - cut) as u64);
}

#[test]
fn a_caller_that_cannot_deliver_says_so() {
    let mut bench = Bench::new(Mode::Router);
    let outcome = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    bench.dataplane.undeliverable(bench.now, outcome.verdict, DropReason::PortBackpressure, None);
    assert_eq!(bench.drops(DropReason::PortBackpressure), 1);
    assert!(bench.dataplane.counters().balances());
}
