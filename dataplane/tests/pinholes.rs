//! Pinholes: packets from outside reach a host that has sent none, for the requested lifetime.

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::*;
use gatepost_dataplane::config::{Config, Mode};
use gatepost_dataplane::flow::{
    FlowError, LIFETIME_MAX, Opened, PINHOLES_MAX, PINHOLES_PER_HOST_MAX, Pinhole,
};
use gatepost_dataplane::key::Endpoint;
use gatepost_dataplane::{DropReason, PinholeError};
use gatepost_ground::wire::Protocol;

const MINUTE: Duration = Duration::from_mins(1);
const PHONE: Endpoint = Endpoint { address: ALICE.address, port: 5060 };

fn udp_to(inside: Endpoint) -> Pinhole {
    Pinhole { protocol: Protocol::UDP, inside, external: GATEWAY_WAN, remote: None }
}

#[track_caller]
fn open(bench: &mut Bench, pinhole: &Pinhole) -> Opened {
    let now = bench.now;
    bench.dataplane.open_pinhole(now, pinhole, MINUTE).expect("there is room")
}

/// Sends a datagram from `from` to the port `external` of the WAN address.
fn knock(bench: &mut Bench, from: Host, external: u16) -> Outcome {
    bench.send(WAN, &udp(from, 7000, GATEWAY_WAN, external, b"voice"))
}

#[test]
fn who_has_sent_nothing_is_reached_until_the_end_and_not_after() {
    let mut bench = Bench::new(Mode::NatDmz);
    knock(&mut bench, STRANGER, 5060).assert_dropped(DropReason::Unsolicited);
    let opened = open(&mut bench, &udp_to(PHONE));
    assert_eq!(opened.external, Endpoint::new(GATEWAY_WAN, 5060), "the port is free, so it is kept");
    assert_eq!(opened.until, bench.now + MINUTE);
    let arrived = knock(&mut bench, STRANGER, 5060);
    assert_eq!(arrived.one().ip().endpoints(), "198.51.100.66:7000 > 192.168.1.10:5060");
    let answer = bench.send(LAN0, &udp(ALICE, 5060, STRANGER.address, 7000, b"voice"));
    assert_eq!(answer.one().ip().endpoints(), "203.0.113.10:5060 > 198.51.100.66:7000");
    bench.pass(MINUTE - Duration::from_secs(1));
    assert_eq!(knock(&mut bench, ISP, 5060).one().port, LAN0);
    bench.pass(Duration::from_secs(1));
    // The open flow goes on.
    assert_eq!(knock(&mut bench, STRANGER, 5060).one().port, LAN0);
    knock(&mut bench, SERVER, 5060).assert_dropped(DropReason::Filtered);
    bench.pass(Duration::from_hours(1));
    knock(&mut bench, STRANGER, 5060).assert_dropped(DropReason::Unsolicited);
}

#[test]
fn asked_for_again_it_lasts_longer_and_may_be_for_others() {
    let mut bench = Bench::new(Mode::Nat);
    let first = open(&mut bench, &udp_to(PHONE));
    bench.pass(MINUTE / 2);
    let only_isp = Pinhole { remote: Some(ISP.address), ..udp_to(PHONE) };
    let again = open(&mut bench, &only_isp);
    assert_eq!((again.external, again.until), (first.external, bench.now + MINUTE));
    bench.pass(MINUTE - Duration::from_secs(1));
    assert_eq!(knock(&mut bench, ISP, 5060).one().port, LAN0);
    knock(&mut bench, STRANGER, 5060).assert_dropped(DropReason::Filtered);
}

#[test]
fn closed_it_admits_nobody_new() {
    let mut bench = Bench::new(Mode::NatDmz);
    open(&mut bench, &udp_to(PHONE));
    let now = bench.now;
    assert!(bench.dataplane.close_pinholes(now, Protocol::UDP, PHONE));
    assert!(!bench.dataplane.close_pinholes(now, Protocol::UDP, PHONE));
    knock(&mut bench, STRANGER, 5060).assert_dropped(DropReason::Unsolicited);
}

#[test]
fn that_of_the_other_protocol_stays_open() {
    let mut bench = Bench::new(Mode::NatDmz);
    open(&mut bench, &udp_to(PHONE));
    open(&mut bench, &Pinhole { protocol: Protocol::TCP, ..udp_to(PHONE) });
    let now = bench.now;
    assert!(bench.dataplane.close_pinholes(now, Protocol::TCP, PHONE));
    assert_eq!(knock(&mut bench, STRANGER, 5060).one().port, LAN0);
    assert!(bench.dataplane.close_pinholes(now, Protocol::UDP, PHONE));
}

#[test]
fn one_that_nobody_has_used_ends_too_and_admits_nobody_before_the_timer_says_so() {
    let mut bench = Bench::new(Mode::NatDmz);
    let opened = open(&mut bench, &udp_to(PHONE));
    // Timers are late.
    bench.now = opened.until;
    knock(&mut bench, STRANGER, 5060).assert_dropped(DropReason::Filtered);
    bench.pass(Duration::from_secs(1));
    let now = bench.now;
    assert!(!bench.dataplane.close_pinholes(now, Protocol::UDP, PHONE), "it has ended");
}

#[test]
fn it_lasts_a_day_at_most() {
    let mut bench = Bench::new(Mode::NatDmz);
    let now = bench.now;
    let opened = bench.dataplane.open_pinhole(now, &udp_to(PHONE), LIFETIME_MAX * 2).expect("there is room");
    assert_eq!(opened.until, now + LIFETIME_MAX);
}

#[test]
fn there_are_so_many_in_all_and_none_is_closed_for_another() {
    let mut bench = Bench::new(Mode::NatDmz);
    // Of one worker's, as each has its own room.
    let inside = |number: usize| {
        let (host, port) = (number / PINHOLES_PER_HOST_MAX, number % PINHOLES_PER_HOST_MAX);
        Endpoint::new(Ipv4Addr::new(192, 168, 1, 100 + host as u8), 20_000 + 32 * port as u16)
    };
    let opened: Vec<_> =
        (0..PINHOLES_MAX).map(|number| open(&mut bench, &udp_to(inside(number))).external.port).collect();
    let now = bench.now;
    let one_more = bench.dataplane.open_pinhole(now, &udp_to(inside(PINHOLES_MAX)), MINUTE);
    assert_eq!(one_more, Err(PinholeError::Flow(FlowError::TableFull)));
    for (number, port) in opened.into_iter().enumerate() {
        assert_eq!(open(&mut bench, &udp_to(inside(number))).external.port, port, "it can be prolonged");
    }
}

#[test]
fn a_connection_to_it_is_opened_from_outside() {
    let mut bench = Bench::new(Mode::NatDmz);
    let pinhole = Pinhole { protocol: Protocol::TCP, ..udp_to(Endpoint::new(BOB.address, 8080)) };
    let external = open(&mut bench, &pinhole).external.port;
    let arrived = bench.send(WAN, &tcp(STRANGER, 4000, GATEWAY_WAN, external, "S", 1, 0));
    assert_eq!(arrived.one().ip().endpoints(), "198.51.100.66:4000 > 192.168.1.20:8080");
}

#[test]
fn its_port_is_nobody_elses_and_the_hosts_own_packets_leave_by_it() {
    let mut bench = Bench::new(Mode::NatDmz);
    let first = open(&mut bench, &udp_to(PHONE)).external;
    let second = open(&mut bench, &udp_to(Endpoint::new(BOB.address, 5060))).external;
    assert_ne!(first.port, second.port);
    let sent = bench.send(LAN1, &udp(BOB, 5060, SERVER.address, 5060, b"register"));
    assert_eq!(sent.one().ip().source_port(), second.port);
}

#[test]
fn a_lan_host_reaches_it_by_the_address_that_the_outside_knows() {
    let mut bench = Bench::new(Mode::NatDmz);
    let external = open(&mut bench, &udp_to(PHONE)).external.port;
    let arrived = bench.send(LAN1, &udp(BOB, 9000, GATEWAY_WAN, external, b"voice"));
    let sent =
        arrived.sent.iter().find(|sent| sent.port == LAN0 && sent.is_ipv4()).expect("it comes in again");
    assert_eq!(sent.ip().endpoints(), "203.0.113.10:9000 > 192.168.1.10:5060");
}

#[test]
fn what_cannot_be_opened_is_refused_with_its_reason() {
    let refusal = |config: Config, pinhole: &Pinhole| {
        let mut bench = Bench::with_config(config);
        let now = bench.now;
        bench.dataplane.open_pinhole(now, pinhole, MINUTE).expect_err("it is refused")
    };
    let nat = config(Mode::NatDmz);
    assert_eq!(refusal(config(Mode::Router), &udp_to(PHONE)), PinholeError::NotTranslated);
    for outside in [SERVER.address, GATEWAY_LAN, GATEWAY_WAN, "192.168.1.255".parse().unwrap()] {
        let pinhole = udp_to(Endpoint::new(outside, 5060));
        assert_eq!(refusal(nat.clone(), &pinhole), PinholeError::NotInside, "{outside}");
    }
    assert_eq!(refusal(nat.clone(), &udp_to(Endpoint { port: 0, ..PHONE })), PinholeError::NoPort);
    let echo = Pinhole { protocol: Protocol::ICMP, ..udp_to(PHONE) };
    assert_eq!(refusal(nat.clone(), &echo), PinholeError::NoPort);
    let mut forwarding = nat;
    forwarding.firewall.v4.forwards = vec![forward(Protocol::UDP, 6000..=6000, ALICE, 5060)];
    assert_eq!(refusal(forwarding, &udp_to(PHONE)), PinholeError::Forwarded(6000));
}

#[test]
fn a_host_has_its_share_and_those_that_are_open_stay() {
    let mut bench = Bench::new(Mode::NatDmz);
    // Of one worker's, so that its share is what counts.
    let inside = |number: usize| Endpoint::new(ALICE.address, 20_000 + 32 * number as u16);
    for number in 0..PINHOLES_PER_HOST_MAX {
        open(&mut bench, &udp_to(inside(number)));
    }
    let now = bench.now;
    let one_more = bench.dataplane.open_pinhole(now, &udp_to(inside(PINHOLES_PER_HOST_MAX)), MINUTE);
    assert_eq!(one_more, Err(PinholeError::Flow(FlowError::HostLimit)));
    let external = open(&mut bench, &udp_to(inside(0))).external.port;
    assert_eq!(knock(&mut bench, STRANGER, external).one().port, LAN0);
    open(&mut bench, &udp_to(Endpoint::new(BOB.address, 20_000)));
    // The refused pinhole has taken no port.
    let free = Endpoint { address: BOB.address, ..inside(PINHOLES_PER_HOST_MAX) };
    assert_eq!(open(&mut bench, &udp_to(free)).external.port, free.port);
}

#[test]
fn it_goes_with_the_address_and_with_what_admitted_it() {
    let changes: [fn(&mut Config); 3] = [
        |config| {
            config.interfaces[WAN_SIDE.index()].addresses = Some("203.0.113.11/24".parse().unwrap()).into();
        },
        |config| {
            config.interfaces[LAN_SIDE.index()].addresses = Some("192.168.7.1/24".parse().unwrap()).into();
        },
        |config| config.firewall.v4.forwards = vec![forward(Protocol::UDP, 5060..=5060, BOB, 5060)],
    ];
    for change in changes {
        let mut bench = Bench::new(Mode::NatDmz);
        open(&mut bench, &udp_to(PHONE));
        bench.configure(change);
        let now = bench.now;
        assert!(!bench.dataplane.close_pinholes(now, Protocol::UDP, PHONE), "it is closed already");
    }
}
