//! Any bytes on any port: counted, never a panic, never unexplained.

mod common;

use std::time::Duration;

use common::*;
use gatepost_dataplane::config::{Config, Mode, WanService};
use gatepost_dataplane::{Ingress, Verdict};
use gatepost_ground::wire::Protocol;
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn busy(mode: Mode) -> Config {
    let mut config = config(mode);
    config.firewall.v4.forwards = vec![
        forward(Protocol::TCP, 8443..=8443, ALICE, 443),
        forward(Protocol::UDP, 65_000..=65_535, BOB, 65_500),
    ];
    config.firewall.v4.wan_services = vec![WanService::for_all(Protocol::UDP, 53)];
    config.firewall.v4.dmz_host = (mode == Mode::Nat).then_some(BOB.address);
    config.interfaces[WAN_SIDE.index()].mtu = 1000;
    config
}

/// The turns that a few frames can leave due at one instant: an error about a packet that is given up can need a
/// neighbour, for which the next turn sends a request.
const DUE_TURNS_MAX: usize = 2;

/// All ingresses: the existing ports, the host stack and raw frames.
fn ingresses(mode: Mode) -> Vec<Ingress> {
    let mut ingresses =
        vec![Ingress::Port(LAN0), Ingress::Port(LAN1), Ingress::Stack, Ingress::RawFrame(LAN_SIDE)];
    if mode != Mode::LanOnly {
        ingresses.extend([Ingress::Port(WAN), Ingress::RawFrame(WAN_SIDE)]);
    }
    ingresses
}

/// Frames that get far.
fn valid_frames() -> Vec<Vec<u8>> {
    let query = udp(ALICE, 5000, SERVER.address, 53, b"query");
    let answered = udp(Host { address: GATEWAY_WAN, ..ALICE }, 5000, SERVER.address, 53, b"query");
    let gateway = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN };
    let mut frames = vec![
        query.clone(),
        udp(SERVER, 53, GATEWAY_WAN, 5000, b"answer"),
        udp(SERVER, 53, GATEWAY_WAN, 65_010, b"forwarded"),
        udp(ALICE, 5000, GATEWAY_WAN, 65_010, b"hairpin"),
        udp(gateway, 5000, SERVER.address, 53, b"own"),
        tcp(ALICE, 40_000, SERVER.address, 80, "S", 1, 0),
        tcp(SERVER, 80, GATEWAY_WAN, 40_000, "SA", 9, 2),
        tcp(STRANGER, 80, GATEWAY_WAN, 8443, "S", 9, 2),
        echo_request(ALICE, SERVER.address, 7, 1),
        echo_request(ALICE, GATEWAY_LAN, 7, 1),
        echo_reply(SERVER, GATEWAY_WAN, 7, 1),
        icmp_error(ISP, GATEWAY_WAN, 3, 4, 1400, &answered[14..]),
        icmp_error(ALICE, SERVER.address, 3, 3, 0, &query[14..]),
        arp_request(ALICE, GATEWAY_LAN),
        arp_request(ISP, GATEWAY_WAN),
        arp_reply(ISP, GATEWAY_WAN_MAC, GATEWAY_WAN),
        udp(ALICE, 5000, SERVER.address, 53, &[0; 1400]),
    ];
    frames.extend(fragment(&udp(ALICE, 5000, SERVER.address, 53, &[9; 1400]), 1, 504));
    frames.extend(fragment(&udp(SERVER, 53, GATEWAY_WAN, 5000, &[9; 1400]), 1, 504));
    frames
}

fn modes() -> impl Strategy<Value = Mode> {
    select(vec![Mode::LanOnly, Mode::Router, Mode::Nat, Mode::NatDmz])
}

/// Whatever comes in, the counters balance (the bench checks), and no bridged frame leaves by its own port.
fn survives(mode: Mode, frames: &[(Index, Vec<u8>)]) {
    let mut bench = Bench::with_config(busy(mode));
    let ingresses = ingresses(mode);
    for (ingress, frame) in frames {
        let ingress = *ingress.get(&ingresses);
        let outcome = bench.process_unverified(ingress, frame);
        if let (Verdict::Flood { ports, .. }, Ingress::Port(port)) = (outcome.verdict, ingress) {
            let is_routed = [GATEWAY_LAN_MAC, GATEWAY_WAN_MAC].contains(&outcome.sent[0].source_mac());
            assert!(is_routed || !ports.contains(port));
        }
        bench.pass(Duration::from_millis(300));
    }
    bench.pass(Duration::from_secs(3600 * 24));
    assert_eq!(bench.dataplane.counters().held, 0, "nothing waits for ever");
}

/// From a moment to years.
fn jumps() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0..3_000_u64).prop_map(Duration::from_millis),
        (0..10_000_u64).prop_map(Duration::from_secs),
        (0..100_000_000_u64).prop_map(Duration::from_secs),
    ]
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn however_time_jumps_what_is_due_is_worked_off_in_a_few_turns(
        mode in modes(),
        hosts_answer: bool,
        steps in prop::collection::vec(
            (prop::collection::vec((any::<Index>(), any::<Index>()), 0..20), jumps()), 1..20),
    ) {
        let mut bench = Bench::with_config(busy(mode));
        bench.hosts_answer(hosts_answer);
        let (ingresses, frames) = (ingresses(mode), valid_frames());
        for (received, time) in steps {
            for (ingress, frame) in received {
                let frame: &Vec<u8> = frame.get(&frames);
                bench.process_unverified(*ingress.get(&ingresses), frame);
            }
            let turns = bench.jump(time);
            prop_assert!(turns <= DUE_TURNS_MAX, "{} turns", turns);
        }
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(
        mode in modes(),
        frames in prop::collection::vec((any::<Index>(), prop::collection::vec(any::<u8>(), 0..1600)), 1..40),
    ) {
        survives(mode, &frames);
    }

    #[test]
    fn arbitrary_packets_do_no_harm(
        mode in modes(),
        frames in prop::collection::vec(
            (any::<Index>(), any::<Index>(), prop::collection::vec(any::<u8>(), 0..200)), 1..40),
    ) {
        let heads = valid_frames();
        let frames: Vec<_> = frames
            .into_iter()
            .map(|(ingress, head, tail)| (ingress, [&head.get(&heads)[..34], &tail[..]].concat()))
            .collect();
        survives(mode, &frames);
    }

    #[test]
    fn mutated_frames_do_no_harm(
        mode in modes(),
        frames in prop::collection::vec(
            (
                any::<Index>(),
                any::<Index>(),
                prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
                any::<Index>(),
                any::<bool>(),
                any::<bool>(),
            ),
            1..60,
        ),
    ) {
        let valid = valid_frames();
        let frames: Vec<_> = frames
            .into_iter()
            .map(|(ingress, frame, changes, cut, is_cut, is_mended)| {
                let mut frame = frame.get(&valid).clone();
                for (place, value) in changes {
                    *place.get_mut(&mut frame[12..]) = value;
                }
                if is_mended {
                    mend_header(&mut frame);
                }
                if is_cut {
                    frame.truncate(cut.index(frame.len()));
                }
                (ingress, frame)
            })
            .collect();
        survives(mode, &frames);
    }
}
