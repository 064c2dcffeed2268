//! TCP connections of LAN hosts that no flow knows: they are older than the gateway's last start, or were idle for
//! longer than their flow lived. (RFC 9293, section 3.10.7.1)

mod common;

use std::time::Duration;

use common::*;
use etherparse::TcpHeaderSlice;
use gatepost_dataplane::DropReason;
use gatepost_dataplane::binding::Binding;
use gatepost_dataplane::config::{Filtering, Mode};
use gatepost_ground::PortId;
use gatepost_ground::wire::Protocol;

const ACK: u32 = 77_001;

/// A segment in the midst of a connection from `host` to the server on the WAN.
fn stray(host: Host, flags: &str) -> Vec<u8> {
    tcp(host, 40_000, SERVER.address, 80, flags, 5_000, ACK)
}

/// The one frame that the gateway made is a reset of the connection between `host` and `remote`, out of `port`.
#[track_caller]
fn assert_reset(outcome: &Outcome, port: PortId, host: Host, remote: &str) {
    outcome.assert_dropped(DropReason::TcpStateInvalid);
    let sent = outcome.one();
    assert_eq!((sent.port, sent.source_mac(), sent.destination_mac()), (port, GATEWAY_LAN_MAC, host.mac));
    let ip = sent.ip();
    assert_eq!(ip.endpoints(), format!("{remote} > {}:40000", host.address));
    let reset = TcpHeaderSlice::from_slice(ip.payload()).expect("a segment");
    assert_eq!(
        (reset.sequence_number(), reset.slice()[13]),
        (ACK, 0x04),
        "RST alone, with the number waited for"
    );
    assert_eq!(ip.payload().len(), 20);
}

/// RFC 9293, section 3.10.7.1: A segment of an unknown connection is answered by a reset that its sender takes.
#[test]
fn rfc9293_3_10_7_1_a_segment_of_an_unknown_connection_is_answered_by_a_reset_that_its_sender_takes() {
    for mode in [Mode::Nat, Mode::NatDmz] {
        let mut bench = Bench::new(mode);
        for flags in ["A", "PA", "FA", "SA"] {
            assert_reset(&bench.send(LAN0, &stray(ALICE, flags)), LAN0, ALICE, "198.51.100.7:80");
        }
        assert_eq!(bench.dataplane.counters().tcp_resets_made, 4);
        assert_eq!(bench.dataplane.flows_len(), 0);
        // The host connects anew, from the same port.
        bench.send(LAN0, &tcp(ALICE, 40_000, SERVER.address, 80, "S", 1, 0)).one();
    }
}

/// RFC 9293, section 3.5.2: A reset is never answered.
#[test]
fn rfc9293_3_5_2_a_reset_is_never_answered() {
    let mut bench = Bench::new(Mode::Nat);
    for flags in ["R", "RA"] {
        bench.send(LAN0, &stray(ALICE, flags)).assert_silently_dropped(DropReason::TcpStateInvalid);
    }
}

#[test]
fn a_host_that_is_no_known_neighbour_yet_is_told_where_its_segment_came_from() {
    let mut bench = Bench::cold(config(Mode::Nat));
    bench.send(WAN, &arp_request(ISP, GATEWAY_WAN));
    assert_reset(&bench.send(LAN0, &stray(ALICE, "PA")), LAN0, ALICE, "198.51.100.7:80");
}

#[test]
fn nobody_on_the_wan_is_told() {
    let mut config = config(Mode::Nat);
    config.nat.filtering = Filtering::EndpointIndependent;
    config.firewall.v4.forwards = vec![forward(Protocol::TCP, 80..=80, ALICE, 80)];
    let mut bench = Bench::with_config(config);
    bench.send(LAN0, &tcp(ALICE, 40_000, SERVER.address, 80, "S", 1, 0)).one();
    for (port, reason) in [
        (80, DropReason::TcpStateInvalid),
        (40_000, DropReason::TcpStateInvalid),
        (7, DropReason::Unsolicited),
    ] {
        let segment = tcp(STRANGER, 7_000, GATEWAY_WAN, port, "PA", 5_000, ACK);
        bench.send(WAN, &segment).assert_silently_dropped(reason);
    }
    assert_eq!(bench.pass(Duration::from_secs(10)), []);
    assert_eq!(bench.dataplane.counters().tcp_resets_made, 0);
}

#[test]
fn a_segment_that_fits_no_state_of_a_flow_is_not_answered() {
    let mut bench = Bench::new(Mode::Nat);
    bench.send(LAN0, &tcp(ALICE, 40_000, SERVER.address, 80, "S", 1, 0)).one();
    bench.send(LAN0, &stray(ALICE, "PA")).assert_silently_dropped(DropReason::TcpStateInvalid);
}

#[test]
fn a_forward_reached_by_the_wan_address_is_reset_towards_the_client() {
    let mut config = config(Mode::Nat);
    config.firewall.v4.forwards = vec![forward(Protocol::TCP, 80..=80, BOB, 80)];
    let mut bench = Bench::with_config(config);
    let segment = tcp(ALICE, 40_000, GATEWAY_WAN, 80, "PA", 5_000, ACK);
    assert_reset(&bench.send(LAN0, &segment), LAN0, ALICE, "203.0.113.10:80");
    // A segment of the server to the WAN address is for the host stack, which resets it.
    let answer = tcp(BOB, 80, GATEWAY_WAN, 7_000, "PA", 5_000, ACK);
    assert_eq!(bench.send(LAN1, &answer).verdict, TO_STACK);
}

#[test]
fn a_source_that_is_leased_to_another_machine_is_not_answered() {
    let mut bench = Bench::new(Mode::Nat);
    let until = bench.now + Duration::from_secs(3_600);
    let lease = Binding { ip: ALICE.address, mac: ALICE.mac, source: ALICE.mac, until };
    bench.dataplane.set_bindings(bench.now, [lease].into_iter().collect());
    let forger = Host { address: ALICE.address, ..BOB };
    bench.send(LAN1, &stray(forger, "PA")).assert_silently_dropped(DropReason::TcpStateInvalid);
    assert_reset(&bench.send(LAN0, &stray(ALICE, "PA")), LAN0, ALICE, "198.51.100.7:80");
    // A source of no network of the LAN's is refused before.
    let stranger = Host { address: STRANGER.address, ..BOB };
    bench.send(LAN1, &stray(stranger, "PA")).assert_silently_dropped(DropReason::SpoofedSource);
}

#[test]
fn a_damaged_segment_is_not_answered() {
    let mut bench = Bench::new(Mode::Nat);
    let mut segment = stray(ALICE, "PA");
    *segment.last_mut().expect("data") ^= 1;
    bench.send(LAN0, &segment).assert_silently_dropped(DropReason::TcpChecksum);
}

#[test]
fn of_a_segment_in_fragments_the_first_is_answered_once() {
    let mut bench = Bench::new(Mode::Nat);
    let mut segment = stray(ALICE, "PA");
    segment.resize(segment.len() + 100, 0);
    let len = u16::try_from(segment.len() - 14).expect("short");
    change_header(&mut segment, |header| {
        header[2..4].copy_from_slice(&len.to_be_bytes());
        header[6] = 0;
    });
    let pieces = fragment(&segment, 7, 48);
    assert!(pieces.len() > 2);
    for order in [0, 1] {
        let mut sent = Vec::new();
        for piece in if order == 0 { pieces.clone() } else { pieces.iter().rev().cloned().collect() } {
            sent.extend(bench.send(LAN0, &piece).sent);
        }
        assert_eq!(sent.len(), 1, "{order}");
        assert_eq!((sent[0].port, sent[0].destination_mac()), (LAN0, ALICE.mac));
        bench.pass(Duration::from_secs(60));
    }
}

#[test]
fn resets_are_limited_by_rate() {
    let mut bench = Bench::new(Mode::Nat);
    let sent = (0..1_000).map(|_| bench.send(LAN0, &stray(ALICE, "A")).sent.len()).sum::<usize>();
    assert!((1..=100).contains(&sent), "{sent}");
    let counters = bench.dataplane.counters();
    assert_eq!((counters.tcp_resets_made, counters.made_suppressed), (sent as u64, 1_000 - sent as u64));
}

#[test]
fn without_translation_a_segment_goes_its_way() {
    let mut bench = Bench::new(Mode::Router);
    assert_eq!(bench.send(LAN0, &stray(ALICE, "PA")).one().port, WAN);
    let mut bench = Bench::new(Mode::LanOnly);
    bench.send(LAN0, &stray(ALICE, "PA")).assert_silently_dropped(DropReason::Ipv4NotForUs);
}

#[test]
fn a_flow_that_was_idle_for_too_long_is_an_unknown_connection() {
    let mut bench = Bench::new(Mode::Nat);
    bench.send(LAN0, &tcp(ALICE, 40_000, SERVER.address, 80, "S", 4_999, 0)).one();
    bench.send(WAN, &tcp(SERVER, 80, GATEWAY_WAN, 40_000, "SA", ACK - 1, 5_000)).one();
    bench.send(LAN0, &stray(ALICE, "A")).one();
    bench.pass(Duration::from_secs(7_500));
    assert_reset(&bench.send(LAN0, &stray(ALICE, "PA")), LAN0, ALICE, "198.51.100.7:80");
}
