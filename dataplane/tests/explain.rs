//! Explanations tell the stages of a packet and change nothing; the log tells why a packet was dropped. That an
//! explanation agrees with what becomes of the packet is checked for every batch of every test (`common/team.rs`).

mod common;

use common::*;
use gatepost_dataplane::config::{Config, Mode};
use gatepost_dataplane::explain::{Rule, Step};
use gatepost_dataplane::flow::{FlowError, State};
use gatepost_dataplane::key::Endpoint;
use gatepost_dataplane::{DropReason, Ingress, Verdict};
use gatepost_ground::Frame;
use gatepost_ground::wire::Protocol;

const WEB: u16 = 80;

fn forwarding() -> Config {
    let mut config = config(Mode::NatDmz);
    config.firewall.stealth = true;
    config.firewall.v4.forwards =
        vec![forward(Protocol::UDP, 53..=53, BOB, 53), forward(Protocol::TCP, 8000..=8010, ALICE, WEB)];
    config.firewall.v4.forwards[0].from = vec!["198.51.100.64/26".parse().expect("a network")];
    config
}

fn endpoint(host: Host, port: u16) -> Endpoint {
    Endpoint::new(host.address, port)
}

fn nat(before: [Endpoint; 2], after: [Endpoint; 2]) -> Step {
    Step::Nat { protocol: Protocol::TCP, before, after }
}

fn gateway(port: u16) -> Endpoint {
    Endpoint::new(GATEWAY_WAN, port)
}

#[test]
fn a_packet_to_the_internet_is_explained_stage_by_stage() {
    let mut bench = Bench::with_config(forwarding());
    let syn = tcp(ALICE, 5000, SERVER.address, WEB, "S", 1, 0);
    let (verdict, steps) = bench.explain(LAN0, &syn);
    assert_eq!(verdict, Verdict::Transmit(WAN));
    let [entered, route, opened, translated, next_hop] = steps[..] else { panic!("{steps:?}") };
    assert_eq!(entered, Step::Entered { interface: LAN_SIDE, port: LAN0 });
    let router = Some(ISP.address);
    assert_eq!(route, Step::Route { destination: SERVER.address, interface: WAN_SIDE, gateway: router });
    let Step::Opened { original, reply } = opened else { panic!("{opened:?}") };
    assert_eq!((original.source, reply.destination), (endpoint(ALICE, 5000), gateway(5000)));
    let server = endpoint(SERVER, WEB);
    assert_eq!(translated, nat([endpoint(ALICE, 5000), server], [gateway(5000), server]));
    let mac = Some(ISP.mac);
    assert_eq!(next_hop, Step::NextHop { interface: WAN_SIDE, address: ISP.address, mac });
    assert_eq!(bench.dataplane.flows_len(), 0, "an explanation opens none");

    bench.send(LAN0, &syn);
    let (_, steps) = bench.explain(WAN, &tcp(SERVER, WEB, GATEWAY_WAN, 5000, "SA", 1, 2));
    let flow = steps.iter().find_map(|step| match step {
        Step::Flow { state, .. } => Some(*state),
        _ => None,
    });
    assert!(matches!(flow, Some(State::Tcp(_))), "{steps:?}");
}

#[test]
fn the_rule_that_decides_is_named() {
    let bench = Bench::with_config(forwarding());
    let cases = [
        (tcp(SERVER, 5000, GATEWAY_WAN, 8001, "S", 1, 0), Rule::Forward(1), None),
        (udp(STRANGER, 5000, GATEWAY_WAN, 53, b"?"), Rule::Forward(0), None),
        (udp(SERVER, 5000, GATEWAY_WAN, 53, b"?"), Rule::Forward(0), Some(DropReason::ForwardSourceDenied)),
        (tcp(SERVER, 5000, GATEWAY_WAN, 22, "S", 1, 0), Rule::Nothing, Some(DropReason::Unsolicited)),
        (tcp(SERVER, 5000, GATEWAY_LAN, 22, "S", 1, 0), Rule::Mode, Some(DropReason::LanNotReachable)),
        (tcp(SERVER, 5000, ALICE.address, 22, "S", 1, 0), Rule::Mode, Some(DropReason::LanNotReachable)),
        (echo_request(SERVER, GATEWAY_WAN, 7, 1), Rule::Stealth, Some(DropReason::Unsolicited)),
    ];
    for (packet, rule, reason) in cases {
        let (verdict, steps) = bench.explain(WAN, &packet);
        let rules: Vec<_> = steps.iter().filter(|step| matches!(step, Step::Rule(_))).collect();
        assert_eq!(rules, [&Step::Rule(rule)], "{steps:?}");
        match reason {
            Some(reason) => assert_eq!(verdict, Verdict::Drop(reason)),
            None => assert!(!matches!(verdict, Verdict::Drop(_)), "{verdict:?}"),
        }
    }
    let mut with_default = forwarding();
    with_default.firewall.v4.dmz_host = Some(BOB.address);
    let bench = Bench::with_config(with_default);
    let (_, steps) = bench.explain(WAN, &tcp(SERVER, 5000, GATEWAY_WAN, 22, "S", 1, 0));
    assert!(steps.contains(&Step::Rule(Rule::DefaultHost)), "{steps:?}");
}

#[test]
fn a_hairpin_is_explained_with_both_halves() {
    let bench = Bench::with_config(forwarding());
    let (verdict, steps) = bench.explain(LAN1, &tcp(BOB, 5000, GATEWAY_WAN, 8000, "S", 1, 0));
    assert_eq!(verdict, Verdict::Transmit(LAN0));
    let halves: Vec<_> = steps.split(|step| *step == Step::Hairpin).collect();
    let [out, back] = halves[..] else { panic!("{steps:?}") };
    assert!(out.contains(&Step::Rule(Rule::Forward(1))), "{steps:?}");
    assert!(out.contains(&nat([endpoint(BOB, 5000), gateway(8000)], [gateway(5000), gateway(8000)])));
    assert!(back.contains(&nat([gateway(5000), gateway(8000)], [gateway(5000), endpoint(ALICE, WEB)])));
}

#[test]
fn what_opens_no_flow_is_told_with_its_reason() {
    let mut config = forwarding();
    config.nat.flows_per_host_max = 4;
    let mut bench = Bench::with_config(config);
    for port in 5000..5004 {
        let out = bench.send(LAN0, &udp(ALICE, port, SERVER.address, 53, b"?"));
        assert_eq!(out.verdict, Verdict::Transmit(WAN));
        bench.send(WAN, &udp(SERVER, 53, GATEWAY_WAN, port, b"!"));
    }
    let (verdict, steps) = bench.explain(LAN0, &udp(ALICE, 6000, SERVER.address, 53, b"?"));
    assert_eq!(verdict, Verdict::Drop(DropReason::FlowHostLimit));
    assert!(steps.contains(&Step::Refused(FlowError::HostLimit)), "{steps:?}");
}

#[test]
fn drops_are_remembered_with_rule_and_ends() {
    let mut bench = Bench::with_config(forwarding());
    bench.send(WAN, &udp(SERVER, 5000, GATEWAY_WAN, 53, b"?"));
    bench.send(WAN, &tcp(SERVER, 5001, GATEWAY_WAN, 22, "S", 1, 0));
    let drops = bench.dataplane.drops();
    let [denied, unsolicited] = drops[..] else { panic!("{drops:?}") };
    assert_eq!((denied.reason, denied.rule), (DropReason::ForwardSourceDenied, Some(Rule::Forward(0))));
    assert_eq!((denied.interface, denied.station), (Some(WAN_SIDE), Some(SERVER.mac)));
    let packet = denied.packet.expect("IPv4");
    assert_eq!((packet.source, packet.destination), (endpoint(SERVER, 5000), gateway(53)));
    assert_eq!((unsolicited.reason, unsolicited.rule), (DropReason::Unsolicited, None));
    bench.configure(|config| config.firewall.v4.forwards.clear());
    assert_eq!(bench.dataplane.drops()[0].rule, None, "its number means another rule now");
}

#[test]
fn a_drop_after_nat_is_remembered_as_its_sender_sent_it() {
    let mut bench = Bench::cold(forwarding());
    bench.hosts_answer(false);
    let sent = bench.send(LAN0, &tcp(ALICE, 5000, SERVER.address, WEB, "S", 1, 0));
    assert_eq!(sent.verdict, Verdict::Hold);
    for _ in 0..10 {
        bench.pass(std::time::Duration::from_secs(1));
    }
    let drops = bench.dataplane.drops();
    let [drop] = drops[..] else { panic!("{drops:?}") };
    assert_eq!(drop.reason, DropReason::NeighborUnreachable);
    let packet = drop.packet.expect("IPv4");
    assert_eq!((packet.source, packet.destination), (endpoint(ALICE, 5000), endpoint(SERVER, WEB)));
}

#[test]
fn what_cannot_be_carried_out_is_remembered_too() {
    let mut bench = Bench::new(Mode::NatDmz);
    let query = udp(ALICE, 5000, SERVER.address, 53, b"?");
    let bridged = udp(ALICE, 5000, BOB.address, 53, b"?");
    let cases = [
        // The frame that is lost is routed: its packet is translated, and its link header the gateway's.
        (query, None, endpoint(SERVER, 53)),
        (bridged, Some(ALICE.mac), endpoint(BOB, 53)),
    ];
    for (number, (frame, station, destination)) in cases.into_iter().enumerate() {
        let mut frame = frame;
        if station.is_some() {
            frame[..6].copy_from_slice(&BOB.mac.0);
        }
        let sent = bench.send(LAN0, &frame);
        let on_the_wire = &sent.one().bytes;
        let mut lost = Frame::with_capacity(on_the_wire.len());
        lost.buffer_mut().copy_from_slice(on_the_wire);
        lost.set_len(on_the_wire.len());
        bench.now = bench.now + std::time::Duration::from_secs(1);
        let slot = Some((Ingress::Port(LAN0), &lost));
        bench.dataplane.undeliverable(bench.now, sent.verdict, DropReason::PortBackpressure, slot);
        bench.dataplane.undeliverable(bench.now, Verdict::Hold, DropReason::PortBackpressure, slot);
        let drops = bench.dataplane.drops();
        let drop = drops.get(number).expect("it is remembered");
        assert_eq!(drops.len(), number + 1);
        assert_eq!((drop.at, drop.reason), (bench.now, DropReason::PortBackpressure));
        assert_eq!((drop.interface, drop.station), (Some(LAN_SIDE), station));
        let packet = drop.packet.expect("IPv4");
        assert_eq!((packet.source, packet.destination), (endpoint(ALICE, 5000), destination));
    }
    let sent = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"?"));
    bench.dataplane.undeliverable(bench.now, sent.verdict, DropReason::PortDown, None);
    let last = bench.dataplane.drops()[2];
    assert_eq!((last.reason, last.interface, last.packet), (DropReason::PortDown, None, None));
}

#[test]
fn a_drop_by_a_new_configuration_has_its_time() {
    let mut bench = Bench::cold(forwarding());
    bench.hosts_answer(false);
    let sent = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"?"));
    assert_eq!(sent.verdict, Verdict::Hold);
    bench.now = bench.now + std::time::Duration::from_millis(500);
    bench.configure(|config| {
        config.interfaces[WAN_SIDE.index()].addresses = Default::default();
    });
    let drops = bench.dataplane.drops();
    let [drop] = drops[..] else { panic!("{drops:?}") };
    assert_eq!((drop.at, drop.reason), (bench.now, DropReason::Reconfigured));
}

#[test]
fn a_hairpin_drop_is_remembered_as_its_sender_sent_it() {
    // With one worker: another one cannot undo what the sender's worker has done.
    let mut bench = Bench::with_workers(1, 1, config(Mode::NatDmz));
    bench.send(LAN1, &udp(BOB, 6000, SERVER.address, 3478, b"stun")).one();
    // The client gets another port than its own, and the inbound half finds that the server has not called it.
    bench.send(LAN1, &udp(BOB, 5000, SERVER.address, 3478, b"stun")).one();
    let filtered = bench.send(LAN0, &udp(ALICE, 5000, GATEWAY_WAN, 6000, b"there"));
    assert_eq!(filtered.verdict, Verdict::Drop(DropReason::Filtered));
    let drops = bench.dataplane.drops();
    let [drop] = drops[..] else { panic!("{drops:?}") };
    let packet = drop.packet.expect("IPv4");
    assert_eq!((packet.source, packet.destination), (endpoint(ALICE, 5000), gateway(6000)));
}

#[test]
fn what_the_gateway_itself_cannot_send_is_remembered_as_it_sent_it() {
    let mut bench = Bench::new(Mode::NatDmz);
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"?")).one();
    let own = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN };
    let mut long = udp(own, 5000, SERVER.address, 53, &[7; 1600]);
    set_dont_fragment(&mut long, true);
    assert_eq!(bench.host_sends(&long).verdict, Verdict::Drop(DropReason::MtuExceeded));
    let drops = bench.dataplane.drops();
    let [drop] = drops[..] else { panic!("{drops:?}") };
    let packet = drop.packet.expect("IPv4");
    assert_eq!((packet.source, packet.destination), (gateway(5000), endpoint(SERVER, 53)));
}

#[test]
fn the_gateways_own_packets_are_explained_too() {
    let bench = Bench::new(Mode::NatDmz);
    let own = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN };
    let query = udp(own, 5000, SERVER.address, 53, b"?");
    let (verdict, steps) = bench.explain_from(Ingress::Stack, &query);
    assert_eq!(verdict, Verdict::Transmit(WAN));
    assert!(steps.iter().any(|step| matches!(step, Step::Opened { .. })), "{steps:?}");
}
