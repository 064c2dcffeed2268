//! Fragments through NAT and to the gateway. (RFC 4787, REQ-14; RFC 6864)

mod common;

use std::time::Duration;

use common::*;
use gatepost_dataplane::config::Mode;
use gatepost_dataplane::{DropReason, Verdict};

/// A datagram of Alice's in three fragments.
fn outbound(identification: u16) -> Vec<Vec<u8>> {
    fragment(&udp(ALICE, 5000, SERVER.address, 4000, &[9; 1400]), identification, 504)
}

fn inbound(identification: u16) -> Vec<Vec<u8>> {
    fragment(&udp(SERVER, 4000, GATEWAY_WAN, 5000, &[9; 1400]), identification, 504)
}

#[track_caller]
fn verify_whole(fragments: &[Sent], endpoints: &str) {
    assert_eq!(fragments.len(), 3);
    let whole = Sent { port: fragments[0].port, bytes: reassemble(fragments) };
    whole.verify();
    assert_eq!(whole.ip().endpoints(), endpoints);
}

/// RFC 4787, REQ-14: Fragments in order are translated.
#[test]
fn rfc4787_req14_fragments_in_order_are_translated() {
    let mut bench = Bench::new(Mode::NatDmz);
    bench.send(LAN1, &udp(BOB, 5000, SERVER.address, 4000, b"first")).one();
    let sent: Vec<_> = outbound(1).iter().map(|frame| bench.send(LAN0, frame).one().clone()).collect();
    let port = sent[0].ip().source_port();
    assert_ne!(port, 5000);
    verify_whole(&sent, &format!("203.0.113.10:{port} > 198.51.100.7:4000"));
}

/// RFC 4787, REQ-14: Fragments out of order are translated.
#[test]
fn rfc4787_req14_fragments_out_of_order_are_translated() {
    let mut bench = Bench::new(Mode::NatDmz);
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 4000, b"first")).one();
    for order in [[0, 2, 1], [1, 0, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let fragments = inbound(order[0] as u16 * 16 + order[1] as u16);
        let mut sent = Vec::new();
        for index in order {
            sent.extend(bench.send(WAN, &fragments[index]).sent);
        }
        verify_whole(&sent, "198.51.100.7:4000 > 192.168.1.10:5000");
        assert_eq!(bench.dataplane.counters().held, 0);
    }
}

#[test]
fn two_packets_with_fragments_in_between_each_other() {
    let mut bench = Bench::new(Mode::NatDmz);
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 4000, b"first")).one();
    let (one, two) = (inbound(1), inbound(2));
    let mut sent = [Vec::new(), Vec::new()];
    for index in [1, 0, 2] {
        sent[0].extend(bench.send(WAN, &one[index]).sent);
        sent[1].extend(bench.send(WAN, &two[index]).sent);
    }
    for sent in &sent {
        verify_whole(sent, "198.51.100.7:4000 > 192.168.1.10:5000");
    }
}

/// RFC 6864, section 4.3: A packet whose sender repeats its identification keeps one when out of order.
#[test]
fn rfc6864_a_packet_whose_sender_repeats_its_identification_keeps_one_when_out_of_order() {
    let mut bench = Bench::new(Mode::NatDmz);
    let mut send = |order: [usize; 3]| {
        let fragments = outbound(7);
        let sent: Vec<_> = order.iter().flat_map(|index| bench.send(LAN0, &fragments[*index]).sent).collect();
        let identifications: Vec<_> = sent.iter().map(|sent| sent.ip().identification()).collect();
        assert!(identifications.iter().all(|id| *id == identifications[0]), "{identifications:?}");
        verify_whole(&sent, "203.0.113.10:5000 > 198.51.100.7:4000");
        bench.pass(Duration::from_secs(1));
        identifications[0]
    };
    let first = send([0, 1, 2]);
    assert_eq!(send([1, 0, 2]), first, "what overtook the first has what the packet before got");
    assert_eq!(send([2, 1, 0]), first);
    bench.pass(Duration::from_secs(15));
    let fragments = outbound(7);
    assert_ne!(bench.send(LAN0, &fragments[0]).one().ip().identification(), first, "it is forgotten");
}

#[test]
fn fragments_whose_first_is_refused_are_refused() {
    let mut bench = Bench::new(Mode::NatDmz);
    for (index, frame) in inbound(1).iter().enumerate() {
        let outcome = bench.send(WAN, frame);
        assert!(matches!(outcome.verdict, Verdict::Drop(_)), "fragment {index}: {:?}", outcome.verdict);
        assert!(outcome.sent.iter().all(|sent| sent.port == WAN));
    }
}

#[test]
fn fragments_whose_first_never_comes_are_given_up() {
    let mut bench = Bench::new(Mode::NatDmz);
    let outcome = bench.send(WAN, &inbound(1)[1]);
    assert_eq!(outcome.verdict, Verdict::Hold);
    bench.pass(Duration::from_secs(120));
    assert_eq!(bench.dataplane.counters().held, 0);
    assert_eq!(bench.drops(DropReason::FragmentInvalid), 1);
}

/// RFC 4787, REQ-14a: A flood of fragments is bounded.
#[test]
fn rfc4787_req14_a_flood_of_fragments_is_bounded() {
    let mut bench = Bench::new(Mode::NatDmz);
    let workers = u16::from(workers());
    for identification in 0..5_000 * workers {
        bench.send(WAN, &inbound(identification)[1]);
    }
    assert!(bench.dataplane.counters().held < 1_000 * u64::from(workers));
    assert!(
        bench.drops(DropReason::FragmentTableFull) + bench.drops(DropReason::FragmentInvalid)
            > 4_000 * u64::from(workers)
    );
    // Fragments of an open flow pass once the flood is over.
    bench.pass(Duration::from_secs(120));
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 4000, b"first")).one();
    let fragments = inbound(9_999);
    let sent: Vec<_> = fragments.iter().map(|frame| bench.send(WAN, frame).one().clone()).collect();
    verify_whole(&sent, "198.51.100.7:4000 > 192.168.1.10:5000");
}

#[test]
fn fragments_to_the_gateway_are_for_its_host() {
    for mode in [Mode::LanOnly, Mode::Router, Mode::Nat] {
        let mut bench = Bench::new(mode);
        for frame in fragment(&udp(ALICE, 5000, GATEWAY_LAN, 53, &[9; 1400]), 1, 504) {
            assert_eq!(bench.send(LAN0, &frame).verdict, TO_STACK);
        }
    }
}

/// RFC 1812, section 4.3.3.6: Echo in fragments is between the WAN and the gateways host.
#[test]
fn rfc1812_4_3_3_6_echo_in_fragments_is_between_the_wan_and_the_gateways_host() {
    let request = icmp_error(SERVER, GATEWAY_WAN, 8, 0, 7 << 16, &[9; 1400]);
    let mut bench = Bench::new(Mode::Nat);
    for frame in fragment(&request, 1, 504) {
        assert_eq!(bench.send(WAN, &frame).verdict, TO_STACK);
    }
    let gateway = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN };
    let reply = icmp_error(gateway, SERVER.address, 0, 0, 7 << 16, &[9; 1400]);
    for frame in fragment(&reply, 1, 504) {
        bench.host_sends(&frame).one();
    }
    assert_eq!(bench.dataplane.flows().count(), 0);

    let mut stealthy = Bench::new(Mode::NatDmz);
    stealthy.configure(|config| config.firewall.stealth = true);
    for frame in fragment(&request, 1, 504) {
        stealthy.send(WAN, &frame).assert_silently_dropped(DropReason::Unsolicited);
    }
}

#[test]
fn the_hosts_fragments_leave_the_wan_with_no_address_of_the_lans() {
    let mut bench = Bench::new(Mode::NatDmz);
    let gateway = Host { port: LAN0, mac: GATEWAY_LAN_MAC, address: GATEWAY_LAN };
    let request = icmp_error(gateway, SERVER.address, 8, 0, 7 << 16, &[9; 1400]);
    let sent: Vec<_> =
        fragment(&request, 1, 504).iter().flat_map(|frame| bench.host_sends(frame).sent).collect();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|sent| sent.ip().source() == GATEWAY_WAN), "{sent:?}");
}

#[test]
fn the_gateways_own_fragmented_answers_reach_its_host() {
    let mut bench = Bench::new(Mode::NatDmz);
    let gateway = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN };
    bench.host_sends(&udp(gateway, 5000, SERVER.address, 4000, b"q")).one();
    for frame in inbound(1) {
        assert_eq!(bench.send(WAN, &frame).verdict, TO_STACK);
    }
}

#[test]
fn fragments_for_the_gateway_may_overtake_the_first() {
    let mut bench = Bench::new(Mode::NatDmz);
    let gateway = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN };
    bench.host_sends(&udp(gateway, 5000, SERVER.address, 4000, b"q")).one();
    let fragments = inbound(1);
    for late in [2, 1] {
        assert_eq!(bench.send(WAN, &fragments[late]).verdict, Verdict::Hold);
    }
    assert_eq!(bench.send(WAN, &fragments[0]).verdict, TO_STACK);
    let delivered: Vec<_> =
        bench.delivered().map(|bytes| Sent { port: WAN, bytes: bytes.to_vec() }).collect();
    verify_whole(&delivered, "198.51.100.7:4000 > 203.0.113.10:5000");
    assert_eq!((bench.dataplane.counters().held, bench.dataplane.counters().local), (0, 3));
}

#[test]
fn a_router_forwards_fragments_as_they_come() {
    let mut bench = Bench::new(Mode::Router);
    for index in [2, 0, 1] {
        bench.send(LAN0, &outbound(1)[index]).one();
    }
}

/// RFC 6864, section 5.3.1: Identifications of two hosts do not collide.
#[test]
fn rfc6864_5_3_1_identifications_of_two_hosts_do_not_collide() {
    let mut bench = Bench::new(Mode::NatDmz);
    let bobs = fragment(&udp(BOB, 6000, SERVER.address, 4000, &[9; 1400]), 1, 504);
    let id = |sent: &Sent| [sent.bytes[18], sent.bytes[19]];
    let alices_first = bench.send(LAN0, &outbound(1)[0]).one().clone();
    let bobs_first = bench.send(LAN1, &bobs[0]).one().clone();
    assert_ne!(id(&alices_first), id(&bobs_first));
    let alices_second = bench.send(LAN0, &outbound(1)[1]).one().clone();
    assert_eq!(id(&alices_first), id(&alices_second));
}

/// RFC 1858, section 3.2: Fragments that hide ports are dropped.
#[test]
fn rfc1858_fragments_that_hide_ports_are_dropped() {
    let mut bench = Bench::new(Mode::NatDmz);
    let syn = tcp(ALICE, 40_000, SERVER.address, 80, "S", 1, 0);
    for tiny in fragment(&syn, 1, 8) {
        bench.send(LAN0, &tiny).assert_silently_dropped(DropReason::FragmentInvalid);
    }
    assert_eq!(bench.dataplane.flows().count(), 0);
}

#[test]
fn fragments_from_the_lan_to_the_gateways_wan_address_are_for_its_host() {
    let mut bench = Bench::new(Mode::NatDmz);
    for frame in fragment(&udp(ALICE, 5000, GATEWAY_WAN, 53, &[9; 1400]), 1, 504) {
        assert_eq!(bench.send(LAN0, &frame).verdict, TO_STACK);
    }
}
