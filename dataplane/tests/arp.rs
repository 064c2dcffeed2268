//! ARP as neighbours see it. (RFC 826; RFC 5227)

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::*;
use gatepost_dataplane::alert::Alert;
use gatepost_dataplane::config::Mode;
use gatepost_dataplane::neighbor::Claim;
use gatepost_dataplane::{DropReason, LocalClass, Verdict};
use gatepost_ground::MacAddr;

/// The operation of an ARP frame, and its sender's and its target's protocol address.
fn fields(frame: &Sent) -> (u16, Ipv4Addr, Ipv4Addr) {
    let arp = &frame.bytes[14..];
    let address = |at: usize| Ipv4Addr::new(arp[at], arp[at + 1], arp[at + 2], arp[at + 3]);
    (u16::from_be_bytes([arp[6], arp[7]]), address(14), address(24))
}

#[test]
fn a_request_for_our_address_is_answered() {
    let mut bench = Bench::cold(config(Mode::NatDmz));
    let outcome = bench.send(LAN0, &arp_request(ALICE, GATEWAY_LAN));
    let reply = outcome.sent.iter().find(|sent| sent.port == LAN0).expect("a reply");
    assert_eq!(reply.bytes, pad(arp_reply_of_gateway(ALICE), reply.bytes.len()));
    let flooded = outcome.sent.iter().filter(|sent| sent.port == LAN1).count();
    assert_eq!(flooded, 1, "the request itself goes on to the other port");
}

fn arp_reply_of_gateway(to: Host) -> Vec<u8> {
    let (mac, address) =
        if to.port == WAN { (GATEWAY_WAN_MAC, GATEWAY_WAN) } else { (GATEWAY_LAN_MAC, GATEWAY_LAN) };
    arp_reply(Host { port: to.port, mac, address }, to.mac, to.address)
}

fn pad(mut frame: Vec<u8>, len: usize) -> Vec<u8> {
    frame.resize(len, 0);
    frame
}

#[test]
fn a_unicast_request_is_answered_too() {
    let mut bench = Bench::new(Mode::NatDmz);
    let outcome = bench.send(WAN, &arp(1, ISP, GATEWAY_WAN_MAC, GATEWAY_WAN, GATEWAY_WAN_MAC));
    let reply = outcome.one();
    assert_eq!(reply.port, WAN);
    assert_eq!(reply.bytes, pad(arp_reply_of_gateway(ISP), reply.bytes.len()));
}

#[test]
fn no_other_address_is_answered_for() {
    let mut bench = Bench::new(Mode::Router);
    for (host, target) in [
        (ISP, GATEWAY_LAN),
        (ISP, ALICE.address),
        (ISP, SERVER.address),
        (ALICE, GATEWAY_WAN),
        (ALICE, BOB.address),
    ] {
        let outcome = bench.send(host.port, &arp_request(host, target));
        assert!(outcome.sent.iter().all(|sent| sent.port != host.port), "{target} asked by {host:?}");
    }
}

/// RFC 5227, section 2.1.1: A probe for our address is answered, and one for another is not.
#[test]
fn rfc5227_a_probe_for_our_address_is_answered_and_one_for_another_is_not() {
    let mut bench = Bench::new(Mode::NatDmz);
    let prober = Host { address: Ipv4Addr::UNSPECIFIED, ..ALICE };
    let defended = bench.send(LAN0, &arp_request(prober, GATEWAY_LAN));
    assert!(defended.sent.iter().any(|sent| sent.port == LAN0));
    let silent = bench.send(LAN0, &arp_request(prober, BOB.address));
    assert!(silent.sent.iter().all(|sent| sent.port == LAN1));
}

#[test]
fn our_addresses_are_announced_when_they_are_set_and_when_they_change() {
    let mut bench = Bench::cold(config(Mode::NatDmz));
    bench.configure(|config| {
        config.interfaces[WAN_SIDE.index()].addresses = Some("203.0.113.77/24".parse().unwrap()).into();
    });
    let announcements = bench.pass(Duration::from_secs(10));
    let wan: Vec<_> = announcements.iter().filter(|sent| sent.port == WAN).map(fields).collect();
    assert!(!wan.is_empty());
    assert!(wan.iter().all(|(op, sender, target)| *op == 1
        && sender == target
        && *sender == Ipv4Addr::new(203, 0, 113, 77)));
}

/// RFC 5227, section 2.4: A conflicting claim is defended once.
#[test]
fn rfc5227_2_4_a_conflicting_claim_is_defended_once() {
    let mut bench = Bench::new(Mode::NatDmz);
    let thief = Host { address: GATEWAY_LAN, ..ALICE };
    let claim = arp(1, thief, MacAddr::ZERO, GATEWAY_LAN, MacAddr::BROADCAST);
    let defence = bench.send(LAN0, &claim);
    let answer = defence.sent.iter().find(|sent| sent.port == LAN0).expect("a defence");
    assert_eq!(fields(answer).1, GATEWAY_LAN);
    for _ in 0..100 {
        let again = bench.send(LAN0, &claim);
        assert!(again.sent.iter().all(|sent| sent.port != LAN0), "a storm");
    }
    assert_eq!(bench.dataplane.counters().address_conflicts, 101);
    let claim =
        Claim { interface: LAN_SIDE, ip: GATEWAY_LAN.into(), known: GATEWAY_LAN_MAC, claimant: ALICE.mac };
    let alerts = bench.dataplane.alerts();
    assert!(alerts.contains(&Alert::AddressConflict(claim)) && alerts.len() <= 20, "{alerts:?}");
    let at_wan = arp(1, Host { address: GATEWAY_WAN, ..ISP }, MacAddr::ZERO, GATEWAY_WAN, MacAddr::BROADCAST);
    bench.send(WAN, &at_wan).assert_dropped(DropReason::ArpConflict);
    // Nobody took the address over: what the thief claimed was not learnt.
    assert!(bench.dataplane.neighbors(bench.now).all(|neighbor| neighbor.ip != GATEWAY_LAN));
}

#[test]
fn arp_that_is_none_is_dropped() {
    let mut bench = Bench::new(Mode::NatDmz);
    let mut request = arp(1, ISP, GATEWAY_WAN_MAC, GATEWAY_WAN, GATEWAY_WAN_MAC);
    request[15] = 6;
    bench.send(WAN, &request).assert_silently_dropped(DropReason::ArpMalformed);
    bench.send(WAN, &request[..30]).assert_silently_dropped(DropReason::ArpMalformed);
    let mut liar = arp(1, ISP, GATEWAY_WAN_MAC, GATEWAY_WAN, GATEWAY_WAN_MAC);
    liar[22..28].copy_from_slice(&MacAddr::BROADCAST.0);
    bench.send(WAN, &liar).assert_silently_dropped(DropReason::ArpMalformed);
}

#[test]
fn a_packet_waits_for_its_neighbour_and_goes_out_when_it_answers() {
    let mut bench = Bench::cold(config(Mode::NatDmz));
    bench.send(LAN0, &arp_request(ALICE, GATEWAY_LAN));
    let outcome = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    assert_eq!(outcome.verdict, Verdict::Hold);
    let question = outcome.one();
    assert_eq!((question.port, question.destination_mac()), (WAN, MacAddr::BROADCAST));
    assert_eq!(fields(question), (1, GATEWAY_WAN, ISP.address));

    let answered = bench.send(WAN, &arp_reply(ISP, GATEWAY_WAN_MAC, GATEWAY_WAN));
    assert_eq!(answered.verdict, Verdict::Consumed);
    let released = answered.one();
    released.verify();
    assert_eq!(released.destination_mac(), ISP.mac);
    assert_eq!(released.source_mac(), GATEWAY_WAN_MAC);
    assert_eq!(released.ip().endpoints(), "203.0.113.10:5000 > 198.51.100.7:53");
    assert_eq!(bench.dataplane.counters().held, 0);
}

#[test]
fn a_neighbour_that_never_answers_is_asked_a_few_times_and_its_packets_are_dropped() {
    let mut bench = Bench::cold(config(Mode::NatDmz));
    bench.send(LAN0, &arp_request(ALICE, GATEWAY_LAN));
    bench.pass(Duration::from_secs(10));
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    let sent = bench.pass(Duration::from_secs(30));
    let requests = sent.iter().filter(|sent| sent.port == WAN).count();
    assert!((1..=5).contains(&requests), "{requests} requests");
    assert_eq!(bench.dataplane.counters().held, 0);
    assert_eq!(bench.drops(DropReason::NeighborUnreachable), 1);
    let error = sent.iter().find(|sent| sent.port == LAN0).expect("the sender is told");
    assert_eq!(error.ip().icmp(), (3, 1));
    assert_eq!(
        error.ip().quoted().endpoints(),
        "192.168.1.10:5000 > 198.51.100.7:53",
        "as its sender knows it"
    );
}

#[test]
fn a_flood_of_requests_makes_no_flood_of_questions() {
    let mut bench = Bench::cold(config(Mode::NatDmz));
    bench.send(LAN0, &arp_request(ALICE, GATEWAY_LAN));
    let questions: usize = (0..200)
        .map(|i| bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 1000 + i, b"query")).sent.len())
        .sum();
    assert_eq!(questions, 1);
    assert!(bench.drops(DropReason::NeighborQueueFull) > 0);
}

#[test]
fn a_sender_of_another_network_is_answered_but_not_learnt() {
    let mut bench = Bench::new(Mode::NatDmz);
    let foreigner = Host { address: Ipv4Addr::new(10, 0, 0, 5), ..ISP };
    bench
        .send(WAN, &arp(2, foreigner, GATEWAY_WAN_MAC, GATEWAY_WAN, GATEWAY_WAN_MAC))
        .assert_silently_dropped(DropReason::SpoofedSource);
    let answered = bench.send(WAN, &arp(1, foreigner, GATEWAY_WAN_MAC, GATEWAY_WAN, GATEWAY_WAN_MAC));
    assert_eq!(answered.sent.len(), 1);
    let group = Host { address: Ipv4Addr::new(224, 0, 0, 1), ..ISP };
    bench.send(WAN, &arp_request(group, GATEWAY_WAN)).assert_silently_dropped(DropReason::SpoofedSource);
    assert!(bench.dataplane.neighbors(bench.now).all(|neighbor| neighbor.ip != foreigner.address));
}

#[test]
fn an_address_of_the_other_segment_is_not_answered() {
    let mut bench = Bench::new(Mode::NatDmz);
    let spoofers = [Host { address: ALICE.address, ..ISP }, Host { address: ISP.address, ..ALICE }];
    for (spoofer, own) in spoofers.into_iter().zip([GATEWAY_WAN, GATEWAY_LAN]) {
        let outcome = bench.send(spoofer.port, &arp_request(spoofer, own));
        assert!(outcome.sent.iter().all(|sent| sent.port != spoofer.port), "{spoofer:?} is answered");
    }
}

#[test]
fn a_packet_that_waited_is_cut_for_a_smaller_link() {
    let mut config = config(Mode::NatDmz);
    config.interfaces[WAN_SIDE.index()].mtu = 576;
    let mut bench = Bench::cold(config);
    bench.send(LAN0, &arp_request(ALICE, GATEWAY_LAN));
    let mut packet = udp(ALICE, 5000, SERVER.address, 53, &[7; 1472]);
    set_dont_fragment(&mut packet, false);
    assert_eq!(bench.send(LAN0, &packet).verdict, Verdict::Hold);
    let answered = bench.send(WAN, &arp_reply(ISP, GATEWAY_WAN_MAC, GATEWAY_WAN));
    assert_eq!(answered.sent.len(), 3);
    Sent { port: WAN, bytes: reassemble(&answered.sent) }.verify();
    assert_eq!(bench.dataplane.counters().held, 0);
}

/// RFC 5227, section 2.1.1: A probing host learns which host has its offered address.
#[test]
fn rfc5227_s2_1_1_the_host_hears_who_has_the_address_that_it_is_offered() {
    let mut config = config(Mode::NatDmz);
    config.interfaces[WAN_SIDE.index()].addresses.clear();
    let mut bench = Bench::cold(config);
    let offered = Host { address: [203, 0, 113, 77].into(), ..ISP };
    let outcome = bench.send(WAN, &arp_reply(offered, GATEWAY_WAN_MAC, [0, 0, 0, 0].into()));
    assert_eq!(outcome.verdict, Verdict::Local(LocalClass::DhcpClientProbe));
}
