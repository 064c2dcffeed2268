//! NAT for TCP, requirement by requirement. (RFC 5382; RFC 7857)

mod common;

use std::time::Duration;

use common::*;
use gatepost_dataplane::DropReason;
use gatepost_dataplane::config::{Filtering, Mode};

const MINUTE: Duration = Duration::from_secs(60);

/// One connection between a LAN host and a WAN host, as seen from both ends.
struct Connection {
    inside: Host,
    inside_port: u16,
    outside: Host,
    outside_port: u16,
    /// The inside host's port as the WAN sees it.
    external_port: u16,
}

impl Connection {
    fn new(inside: Host, inside_port: u16, outside: Host, outside_port: u16) -> Self {
        Self { inside, inside_port, outside, outside_port, external_port: inside_port }
    }

    fn out(&self, bench: &mut Bench, flags: &str, seq: u32, ack: u32) -> Outcome {
        let segment =
            tcp(self.inside, self.inside_port, self.outside.address, self.outside_port, flags, seq, ack);
        bench.send(self.inside.port, &segment)
    }

    fn back(&self, bench: &mut Bench, flags: &str, seq: u32, ack: u32) -> Outcome {
        let segment = tcp(self.outside, self.outside_port, GATEWAY_WAN, self.external_port, flags, seq, ack);
        bench.send(WAN, &segment)
    }

    /// Three segments.
    #[track_caller]
    fn establish(&mut self, bench: &mut Bench) {
        self.external_port = self.out(bench, "S", 1000, 0).one().ip().source_port();
        let back = self.back(bench, "SA", 5000, 1001);
        let expected = format!(
            "{}:{} > {}:{}",
            self.outside.address, self.outside_port, self.inside.address, self.inside_port
        );
        assert_eq!(back.one().ip().endpoints(), expected);
        self.out(bench, "A", 1001, 5001).one();
    }

    fn is_open(&self, bench: &mut Bench) -> bool {
        !self.back(bench, "A", 5001, 1001).sent.is_empty()
    }
}

fn established(bench: &mut Bench) -> Connection {
    let mut connection = Connection::new(ALICE, 40_000, SERVER, 80);
    connection.establish(bench);
    connection
}

#[test]
fn a_connection_opens_carries_data_and_closes() {
    let mut bench = Bench::new(Mode::NatDmz);
    let connection = established(&mut bench);
    connection.out(&mut bench, "PA", 1001, 5001).one();
    connection.back(&mut bench, "PA", 5001, 1005).one();
    connection.out(&mut bench, "FA", 1005, 5005).one();
    connection.back(&mut bench, "FA", 5005, 1006).one();
    connection.out(&mut bench, "A", 1006, 5006).one();
    bench.pass(Duration::from_secs(5 * 60));
    assert_eq!(bench.dataplane.flows().count(), 0);
}

/// RFC 5382, REQ-1: Mapping is endpoint independent.
#[test]
fn rfc5382_req1_mapping_is_endpoint_independent() {
    let mut bench = Bench::new(Mode::NatDmz);
    Connection::new(BOB, 40_000, SERVER, 80).establish(&mut bench);
    let mut first = Connection::new(ALICE, 40_000, SERVER, 80);
    first.establish(&mut bench);
    let mut second = Connection::new(ALICE, 40_000, STRANGER, 443);
    second.establish(&mut bench);
    assert_ne!(first.external_port, 40_000);
    assert_eq!(first.external_port, second.external_port);
}

/// RFC 5382, REQ-2: Simultaneous open.
#[test]
fn rfc5382_req2_simultaneous_open() {
    let mut bench = Bench::new(Mode::NatDmz);
    let connection = Connection::new(ALICE, 40_000, SERVER, 40_001);
    connection.out(&mut bench, "S", 1000, 0).one();
    connection.back(&mut bench, "S", 5000, 0).one();
    connection.out(&mut bench, "SA", 1000, 5001).one();
    connection.back(&mut bench, "SA", 5000, 1001).one();
    connection.out(&mut bench, "A", 1001, 5001).one();
    bench.pass(MINUTE * 100);
    assert!(connection.is_open(&mut bench));
}

/// RFC 5382, REQ-3: Filtering is selectable.
#[test]
fn rfc5382_req3_filtering_is_selectable() {
    for (filtering, anybody) in
        [(Filtering::EndpointIndependent, true), (Filtering::AddressAndPortDependent, false)]
    {
        let mut config = config(Mode::NatDmz);
        config.nat.filtering = filtering;
        let mut bench = Bench::with_config(config);
        established(&mut bench);
        let outcome = bench.send(WAN, &tcp(STRANGER, 7, GATEWAY_WAN, 40_000, "S", 1, 0));
        assert_eq!(!outcome.sent.is_empty(), anybody, "{filtering:?}");
    }
}

/// RFC 5382, REQ-4: An unsolicited SYN is refused after six seconds.
#[test]
fn rfc5382_req4_an_unsolicited_syn_is_refused_after_six_seconds() {
    let mut bench = Bench::new(Mode::Nat);
    let syn = tcp(STRANGER, 7000, GATEWAY_WAN, 22, "S", 1, 0);
    bench.send(WAN, &syn).assert_silently_dropped(DropReason::Unsolicited);
    assert_eq!(bench.pass(Duration::from_millis(5_999)), []);
    let sent = bench.pass(Duration::from_millis(1));
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].port, sent[0].destination_mac()), (WAN, ISP.mac));
    assert_eq!(sent[0].ip().icmp(), (3, 3));
    assert_eq!((sent[0].ip().source(), sent[0].ip().destination()), (GATEWAY_WAN, STRANGER.address));
    assert_eq!(sent[0].ip().quoted().endpoints(), "198.51.100.66:7000 > 203.0.113.10:22");
}

/// RFC 5382, REQ-4: A SYN that the mapping's filter drops is refused in the same way.
#[test]
fn rfc5382_req4_a_syn_that_the_filter_keeps_out_is_refused_alike() {
    let mut bench = Bench::new(Mode::Nat);
    let connection = established(&mut bench);
    let port = connection.external_port;
    let syn = tcp(STRANGER, 7000, GATEWAY_WAN, port, "S", 1, 0);
    bench.send(WAN, &syn).assert_silently_dropped(DropReason::Filtered);
    let sent = bench.pass(Duration::from_secs(6));
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].ip().icmp(), sent[0].ip().destination()), ((3, 3), STRANGER.address));
}

/// RFC 5382, REQ-4: No refusal if the connection comes about.
#[test]
fn rfc5382_req4_no_refusal_if_the_connection_comes_about() {
    let mut bench = Bench::new(Mode::Nat);
    let connection = Connection::new(ALICE, 40_000, SERVER, 40_001);
    connection.back(&mut bench, "S", 5000, 0).assert_silently_dropped(DropReason::Unsolicited);
    bench.pass(Duration::from_secs(1));
    connection.out(&mut bench, "S", 1000, 0).one();
    assert_eq!(bench.pass(Duration::from_secs(10)), []);
}

/// RFC 5382, REQ-4: Stealth never answers.
#[test]
fn rfc5382_req4_stealth_never_answers() {
    let mut config = config(Mode::NatDmz);
    config.firewall.stealth = true;
    let mut bench = Bench::with_config(config);
    bench
        .send(WAN, &tcp(STRANGER, 7000, GATEWAY_WAN, 22, "S", 1, 0))
        .assert_silently_dropped(DropReason::Unsolicited);
    assert_eq!(bench.pass(Duration::from_secs(60)).iter().filter(|sent| sent.port == WAN).count(), 0);
}

/// RFC 5382, REQ-5: An established connection lives two hours and four minutes.
#[test]
fn rfc5382_req5_an_established_connection_lives_two_hours_and_four_minutes() {
    let mut bench = Bench::new(Mode::NatDmz);
    let connection = established(&mut bench);
    bench.pass(MINUTE * 124 - Duration::from_secs(1));
    assert!(connection.is_open(&mut bench));
    bench.pass(MINUTE * 60 * 6);
    assert!(!connection.is_open(&mut bench));
}

/// RFC 5382, REQ-5: A half open connection is given up after four minutes.
#[test]
fn rfc5382_req5_a_half_open_connection_is_given_up_after_four_minutes() {
    let mut bench = Bench::new(Mode::NatDmz);
    let connection = Connection::new(ALICE, 40_000, SERVER, 80);
    connection.out(&mut bench, "S", 1000, 0).one();
    bench.pass(Duration::from_secs(239));
    connection.back(&mut bench, "SA", 5000, 1001).one();
    bench.pass(MINUTE * 10);
    assert_eq!(bench.dataplane.flows().count(), 0);
}

/// RFC 7857, section 2.2: The state stays four minutes after a reset.
#[test]
fn rfc7857_section_2_2_the_state_stays_four_minutes_after_a_reset() {
    let mut bench = Bench::new(Mode::NatDmz);
    let connection = established(&mut bench);
    connection.back(&mut bench, "RA", 5001, 1001).one();
    bench.pass(Duration::from_secs(239));
    assert_eq!(bench.dataplane.flows().count(), 1);
    bench.pass(Duration::from_secs(30));
    assert_eq!(bench.dataplane.flows().count(), 0);
}

/// RFC 5961, section 3: A blind attacker neither resets nor injects.
#[test]
fn rfc5961_a_blind_attacker_neither_resets_nor_injects() {
    let mut bench = Bench::new(Mode::NatDmz);
    let connection = established(&mut bench);
    for seq in (0..u32::MAX - 100_000_000).step_by(100_000_000) {
        let seq = seq + 1_000_000;
        for flags in ["R", "RA", "PA", "FA", "SA"] {
            connection
                .back(&mut bench, flags, seq, seq)
                .assert_silently_dropped(DropReason::TcpSequenceInvalid);
        }
        // It goes through, is challenged, and changes nothing.
        connection.back(&mut bench, "S", seq, 0).one();
    }
    // An acknowledgment of what was never sent gives it away too.
    connection.back(&mut bench, "PA", 5001, 900_000).assert_silently_dropped(DropReason::TcpSequenceInvalid);
    // RFC 5961, section 3.2: in the window, but not the next octet.
    connection.back(&mut bench, "R", 5002, 0).one();
    bench.pass(MINUTE * 123);
    assert!(connection.is_open(&mut bench));
}

/// RFC 5961, section 3: The next octets RST resets.
#[test]
fn rfc5961_the_next_octets_rst_resets() {
    let mut bench = Bench::new(Mode::NatDmz);
    let connection = established(&mut bench);
    connection.back(&mut bench, "R", 5001, 0).one();
    bench.pass(MINUTE * 5);
    assert_eq!(bench.dataplane.flows().count(), 0);
}

#[test]
fn a_connection_carries_many_windows_and_wraps_around() {
    let mut bench = Bench::new(Mode::NatDmz);
    let mut connection = Connection::new(ALICE, 40_000, SERVER, 80);
    connection.external_port = connection.out(&mut bench, "S", u32::MAX - 3, 0).one().ip().source_port();
    connection.back(&mut bench, "SA", u32::MAX, u32::MAX - 2).one();
    connection.out(&mut bench, "A", u32::MAX - 2, 0).one();
    for round in 0..20_000u32 {
        let (seq, ack) = ((u32::MAX - 2).wrapping_add(4 * round), 4 * round);
        connection.out(&mut bench, "PA", seq, ack).one();
        connection.back(&mut bench, "PA", ack, seq.wrapping_add(4)).one();
    }
}

#[test]
fn a_port_is_used_again_after_an_end_that_was_not_seen() {
    let mut bench = Bench::new(Mode::NatDmz);
    let connection = established(&mut bench);
    // The client has crashed; the server has no memory of the connection.
    connection.out(&mut bench, "S", 900_000, 0).one();
    connection.back(&mut bench, "SA", 3_000_000, 900_001).one();
    connection.out(&mut bench, "PA", 900_001, 3_000_001).one();
    connection.back(&mut bench, "PA", 3_000_001, 900_005).one();
}

/// RFC 9293, section 3.5.1: A half open connection is found out.
#[test]
fn rfc9293_3_5_1_a_half_open_connection_is_found_out() {
    let mut bench = Bench::new(Mode::NatDmz);
    let connection = established(&mut bench);
    // The client has crashed, and the server remembers.
    connection.out(&mut bench, "S", 900_000, 0).one();
    connection.back(&mut bench, "A", 5001, 1001).one();
    connection.out(&mut bench, "R", 1001, 0).one();
    connection.out(&mut bench, "S", 900_000, 0).one();
    connection.back(&mut bench, "SA", 3_000_000, 900_001).one();
    connection.out(&mut bench, "A", 900_001, 3_000_001).one();
}

/// RFC 7857, section 2.1: Opening and closing have timers of their own.
#[test]
fn rfc7857_section_2_1_opening_and_closing_have_timers_of_their_own() {
    let mut bench = Bench::new(Mode::NatDmz);
    let opening = Connection::new(ALICE, 40_001, SERVER, 80);
    opening.out(&mut bench, "S", 1000, 0).one();
    let connection = established(&mut bench);
    connection.out(&mut bench, "FA", 1001, 5001).one();
    bench.pass(MINUTE * 5);
    assert_eq!(bench.dataplane.flows().count(), 1, "half-closed is neither");
    connection.back(&mut bench, "FA", 5001, 1002);
    bench.pass(Duration::from_secs(239));
    assert_eq!(bench.dataplane.flows().count(), 1);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.dataplane.flows().count(), 0);
}

/// RFC 5382, REQ-7: Two connections never share a port.
#[test]
fn rfc5382_req7_two_connections_never_share_a_port() {
    let mut bench = Bench::new(Mode::NatDmz);
    let mut alices = Connection::new(ALICE, 40_000, SERVER, 80);
    alices.establish(&mut bench);
    let mut bobs = Connection::new(BOB, 40_000, SERVER, 80);
    bobs.establish(&mut bench);
    assert_ne!(alices.external_port, bobs.external_port);
    assert!(alices.is_open(&mut bench) && bobs.is_open(&mut bench));
}

#[test]
fn a_segment_out_of_nowhere_opens_nothing() {
    let mut bench = Bench::new(Mode::NatDmz);
    bench
        .send(WAN, &tcp(STRANGER, 7000, GATEWAY_WAN, 40_000, "A", 1, 1))
        .assert_dropped(DropReason::Unsolicited);
    bench
        .send(LAN0, &tcp(ALICE, 40_000, SERVER.address, 80, "A", 1, 1))
        .assert_dropped(DropReason::TcpStateInvalid);
    assert_eq!(bench.dataplane.flows().count(), 0);
}

#[test]
fn the_mss_is_clamped_to_a_smaller_wan() {
    let mut config = config(Mode::NatDmz);
    config.interfaces[WAN_SIDE.index()].mtu = 1492;
    let mut bench = Bench::with_config(config);
    let out = bench.send(LAN0, &syn(ALICE, 40_000, SERVER.address, 80, "S", 1460));
    assert_eq!(mss_of(out.one().ip()), 1452);
    let back = bench.send(WAN, &syn(SERVER, 80, GATEWAY_WAN, 40_000, "SA", 1460));
    assert_eq!(mss_of(back.one().ip()), 1452);
    let small = bench.send(LAN0, &syn(ALICE, 40_001, SERVER.address, 80, "S", 536));
    assert_eq!(mss_of(small.one().ip()), 536, "never raised");
}

#[test]
fn the_mss_of_the_gateways_own_connections_is_clamped_too() {
    let mut config = config(Mode::NatDmz);
    config.interfaces[WAN_SIDE.index()].mtu = 1492;
    let mut bench = Bench::with_config(config);
    let gateway = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN };
    let out = bench.host_sends(&syn(gateway, 40_000, SERVER.address, 80, "S", 1460));
    assert_eq!(mss_of(out.one().ip()), 1452);
    let back = bench.send(WAN, &syn(SERVER, 80, GATEWAY_WAN, 40_000, "SA", 1460));
    assert_eq!(mss_of(Ip(&back.local.expect("for the host")[14..])), 1452);
}

#[test]
fn more_unsolicited_syns_than_can_be_remembered_are_not_answered() {
    let mut bench = Bench::new(Mode::Nat);
    for port in 0..300 {
        bench.send(WAN, &tcp(STRANGER, 7000 + port, GATEWAY_WAN, 22, "S", 1, 0));
    }
    assert_eq!(bench.dataplane.counters().made_suppressed, 300 - 256);
    let refusals = bench.pass(Duration::from_secs(10)).len();
    assert!((1..=256).contains(&refusals), "limited by rate: {refusals}");
}
