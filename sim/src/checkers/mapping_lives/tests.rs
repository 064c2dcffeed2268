//! Violations that the checker must report, and sound behaviour that it must not.

use super::*;
use crate::checkers::testing::{
    acknowledgement, arp, at, config, flow, numbered, packet, passage, segment, udp,
};
use crate::packet::Packet;

const PC: &str = "192.168.1.9";
const OTHER_PC: &str = "192.168.1.8";
const WAN: &str = "203.0.113.100";
const SERVER: &str = "198.51.100.7";

struct Office {
    checker: MappingLives,
    content: u64,
}

impl Office {
    fn new() -> Self {
        Self { checker: MappingLives::new(&config()), content: 0 }
    }

    fn pass(&mut self, secs: u64, way: Way, side: Side, packet: Packet) -> Result<(), String> {
        self.checker.on_passage(&passage(secs, way, side, &numbered(packet, self.content)))
    }

    /// A packet from `pc` leaves the gateway from `port`.
    fn out(&mut self, secs: u64, pc: &str, port: u16, transport: Transport) -> Result<(), String> {
        self.content += 1;
        self.pass(secs, Way::In, Side::Lan, packet(pc, SERVER, transport.clone()))?;
        self.pass(secs, Way::Out, Side::Wan, packet(WAN, SERVER, from(transport, port)))?;
        self.checker.suspicion.take().map_or(Ok(()), Err)
    }

    fn arrives(&mut self, secs: u64, port: u16, transport: Transport) {
        self.content += 1;
        let mut packet = packet(SERVER, WAN, to(transport, port));
        packet.destination_mac = packet.source_mac;
        self.pass(secs, Way::In, Side::Wan, packet).unwrap();
    }

    /// A packet from the server to `port` reaches the PC.
    fn back(&mut self, secs: u64, port: u16, transport: Transport) -> Result<(), String> {
        self.arrives(secs, port, transport.clone());
        self.pass(secs, Way::Out, Side::Lan, packet(SERVER, PC, to(transport, 1_000)))
    }

    fn lost(&mut self, secs: u64) -> Result<(), String> {
        self.lost_though(secs, false)
    }

    /// As [`Office::lost`], where flows have made room for others or not.
    fn lost_though(&mut self, secs: u64, has_recycled: bool) -> Result<(), String> {
        let now = Instant::from_secs(secs) + WAIT_MAX + Duration::from_secs(1);
        self.checker.check_entering(now, has_recycled)
    }
}

fn query() -> Transport {
    udp(1_000, 7, Vec::new())
}

fn answer() -> Transport {
    udp(7, 1_000, Vec::new())
}

fn from(mut transport: Transport, port: u16) -> Transport {
    if let Transport::Udp { source_port, .. } | Transport::Tcp { source_port, .. } = &mut transport {
        *source_port = port;
    }
    transport
}

fn to(mut transport: Transport, port: u16) -> Transport {
    if let Transport::Udp { destination_port, .. } | Transport::Tcp { destination_port, .. } = &mut transport
    {
        *destination_port = port;
    }
    transport
}

fn established(office: &mut Office) {
    office.out(0, PC, 1_000, segment(1_000, 80, "S")).unwrap();
    office.back(0, 1_000, segment(80, 1_000, "SA")).unwrap();
    office.out(0, PC, 1_000, segment(1_000, 80, "A")).unwrap();
}

#[test]
fn what_nobody_has_answered_may_have_made_room_for_others() {
    let mut office = Office::new();
    office.out(0, PC, 1_000, query()).unwrap();
    office.arrives(1, 1_000, answer());
    assert_eq!(office.lost_though(1, true), Ok(()));
    office.arrives(2, 1_000, answer());
    assert_eq!(office.lost_though(2, true), Ok(()), "the first one has not reached the inside either");
    office.arrives(3, 1_000, answer());
    assert!(office.lost_though(3, false).unwrap_err().contains("does not reach"));
    office.back(4, 1_000, answer()).unwrap();
    office.arrives(5, 1_000, answer());
    assert!(office.lost_though(5, true).unwrap_err().contains("does not reach"), "now it is answered");
}

#[test]
fn another_endpoint_of_what_nobody_has_answered_is_told_with_the_next_report() {
    let reported = |is_answered: bool, flows_recycled: u64| {
        let mut office = Office::new();
        office.out(0, PC, 1_000, query()).unwrap();
        if is_answered {
            office.back(1, 1_000, answer()).unwrap();
        }
        let report = |recycled| {
            let mut snapshot = crate::checkers::testing::snapshot(2);
            snapshot.counters.frames.flows_recycled = recycled;
            snapshot
        };
        office.content += 1;
        office.pass(2, Way::In, Side::Lan, packet(PC, SERVER, query())).unwrap();
        let passed = office.pass(2, Way::Out, Side::Wan, packet(WAN, SERVER, from(query(), 2_000)));
        passed.and_then(|()| office.checker.on_snapshot(&report(flows_recycled))).is_err()
    };
    assert!(reported(true, 0) && reported(true, 1) && reported(false, 0));
    assert!(!reported(false, 1));
}

/// The flow has made room before the answer arrived, which the gateway dropped.
#[test]
fn an_answer_that_comes_too_late_does_not_keep_the_endpoint() {
    let reported = |flows_recycled: u64| {
        let mut office = Office::new();
        office.out(0, PC, 1_000, query()).unwrap();
        office.arrives(1, 1_000, answer());
        office.content += 1;
        office.pass(2, Way::In, Side::Lan, packet(PC, SERVER, query())).unwrap();
        office.pass(2, Way::Out, Side::Wan, packet(WAN, SERVER, from(query(), 2_000))).unwrap();
        let mut report = crate::checkers::testing::snapshot(2);
        report.counters.frames.flows_recycled = flows_recycled;
        office.checker.on_snapshot(&report).is_err()
    };
    assert!(reported(0) && !reported(1));
}

#[test]
fn an_answer_within_the_life_must_come_through_and_later_must_not() {
    let mut office = Office::new();
    office.out(0, PC, 1_000, query()).unwrap();
    assert_eq!(office.back(299, 1_000, answer()), Ok(()));
    assert_eq!(office.lost(299), Ok(()));
    office.arrives(299, 1_000, answer());
    assert!(office.lost(299).unwrap_err().contains("does not reach"));
    assert!(office.back(304, 1_000, answer()).unwrap_err().contains("was to end"));
}

#[test]
fn a_host_that_does_not_answer_the_gateway_need_not_be_reached() {
    let mut office = Office::new();
    office.out(0, PC, 1_000, query()).unwrap();
    office.arrives(10, 1_000, answer());
    let question = arp("192.168.1.1", PC, true);
    office.checker.on_passage(&passage(10, Way::Out, Side::Lan, &question)).unwrap();
    assert_eq!(office.lost(10), Ok(()));
}

#[test]
fn who_answers_for_an_address_that_is_anothers_need_not_be_reached() {
    let MacAddr(own) = packet(PC, SERVER, query()).source_mac;
    for (client, is_anothers) in [(None, false), (Some(own), false), (Some([2, 0, 0, 0, 0, 99]), true)] {
        let mut office = Office::new();
        if let Some(client) = client {
            let lease = acknowledgement(&client, PC, 60);
            office.checker.on_passage(&passage(0, Way::Out, Side::Lan, &lease)).unwrap();
        }
        office.out(0, PC, 1_000, query()).unwrap();
        office.arrives(10, 1_000, answer());
        let [question, told] = [arp("192.168.1.1", PC, true), arp(PC, "192.168.1.1", false)];
        office.checker.on_passage(&passage(10, Way::Out, Side::Lan, &question)).unwrap();
        office.checker.on_passage(&passage(11, Way::In, Side::Lan, &told)).unwrap();
        assert_eq!(office.lost(10).is_ok(), is_anothers, "{client:?}");
    }
}

#[test]
fn a_host_that_has_just_not_answered_is_not_sought_for_every_packet() {
    let mut office = Office::new();
    office.out(0, PC, 1_000, query()).unwrap();
    let question = arp("192.168.1.1", PC, true);
    office.checker.on_passage(&passage(10, Way::Out, Side::Lan, &question)).unwrap();
    office.arrives(15, 1_000, answer());
    // It is found when the gateway asks for it again.
    office.checker.on_passage(&passage(17, Way::Out, Side::Lan, &question)).unwrap();
    office.checker.on_passage(&passage(18, Way::In, Side::Lan, &arp(PC, "192.168.1.1", false))).unwrap();
    assert_eq!(office.lost(15), Ok(()));
    office.arrives(19, 1_000, answer());
    assert!(office.lost(19).is_err());
}

#[test]
fn a_segment_that_is_overtaken_need_not_arrive_and_a_datagram_must() {
    let mut office = Office::new();
    established(&mut office);
    office.arrives(100, 1_000, segment(80, 1_000, "A"));
    office.back(102, 1_000, segment(80, 1_000, "A")).unwrap();
    assert_eq!(office.lost(100), Ok(()));
    office.arrives(110, 1_000, segment(80, 1_000, "A"));
    assert!(office.lost(110).is_err(), "the other one came too long before it");
    let mut office = Office::new();
    office.out(0, PC, 1_000, query()).unwrap();
    office.arrives(100, 1_000, answer());
    office.back(102, 1_000, answer()).unwrap();
    assert!(office.lost(100).is_err());
}

#[test]
fn nobody_outside_brings_back_a_connection_that_is_over() {
    let mut office = Office::new();
    established(&mut office);
    office.back(1, 1_000, segment(80, 1_000, "FA")).unwrap();
    office.out(1, PC, 1_000, segment(1_000, 80, "FA")).unwrap();
    // A reset gives it the transitory life once more; nobody gets it after that.
    office.arrives(2, 1_000, segment(80, 1_000, "R"));
    // The default host connects from the same port outside, which is its own too.
    office.arrives(300, 1_000, segment(80, 1_000, "SA"));
    office.arrives(301, 1_000, segment(80, 1_000, "A"));
    assert_eq!(office.lost(301), Ok(()));
}

#[test]
fn a_forward_that_goes_takes_its_connections_along() {
    let forwarding = "[[firewall.forwards]]\nwan_port = '1000'\nto = '192.168.1.9:1000'\nprotocol = 'tcp'";
    let forwarding = Config::parse("a test", forwarding).expect("valid");
    let mut office = Office::new();
    office.checker.on_configure(&forwarding);
    established(&mut office);
    office.arrives(100, 1_000, segment(80, 1_000, "A"));
    office.checker.on_configure(&forwarding);
    assert!(office.lost(100).is_err(), "it is the same forward");
    office.arrives(110, 1_000, segment(80, 1_000, "A"));
    office.checker.on_reload(&config());
    office.arrives(110, 1_000, segment(80, 1_000, "A"));
    assert_eq!(office.lost(110), Ok(()));
    assert_eq!(office.out(111, PC, 2_000, segment(1_000, 80, "S")), Ok(()), "and its port");
}

#[test]
fn inbound_traffic_prolongs_nothing_and_outbound_does() {
    let mut office = Office::new();
    office.out(0, PC, 1_000, query()).unwrap();
    office.back(200, 1_000, answer()).unwrap();
    assert!(office.back(400, 1_000, answer()).is_err());
    office.out(410, PC, 1_000, query()).unwrap();
    assert_eq!(office.back(700, 1_000, answer()), Ok(()));
}

#[test]
fn an_endpoint_keeps_its_mapping_and_nobody_else_gets_it() {
    let mut office = Office::new();
    office.out(0, PC, 1_000, query()).unwrap();
    assert!(office.out(100, PC, 2_000, query()).unwrap_err().contains("was to be"));
    let mut office = Office::new();
    office.out(0, PC, 1_000, query()).unwrap();
    assert!(office.out(100, OTHER_PC, 1_000, query()).unwrap_err().contains("stands for"));
    assert_eq!(office.out(301, OTHER_PC, 1_000, query()), Ok(()));
    let mut office = Office::new();
    office.out(0, PC, 1_000, query()).unwrap();
    office.checker.on_boot();
    assert_eq!(office.out(100, PC, 2_000, query()), Ok(()));
}

#[test]
fn a_connection_lives_for_two_hours_and_a_closed_one_for_minutes() {
    let mut office = Office::new();
    established(&mut office);
    office.arrives(7_439, 1_000, segment(80, 1_000, "A"));
    assert!(office.lost(7_439).is_err());
    let mut office = Office::new();
    established(&mut office);
    assert_eq!(office.back(7_000, 1_000, segment(80, 1_000, "A")), Ok(()));
    assert_eq!(office.back(14_000, 1_000, segment(80, 1_000, "A")), Ok(()));
    assert_eq!(office.out(14_001, PC, 1_000, segment(1_000, 80, "FA")), Ok(()));
    assert_eq!(office.back(14_002, 1_000, segment(80, 1_000, "FA")), Ok(()));
    assert!(office.back(14_246, 1_000, segment(80, 1_000, "A")).is_err());
}

/// RFC 5961, section 3.2: the receiver of such a reset challenges it.
#[test]
fn a_reset_at_another_number_than_the_next_need_not_end_a_connection() {
    let flow = Flow {
        protocol: "tcp".to_owned(),
        ..flow("192.168.1.9:1000", "203.0.113.100:1000", "198.51.100.7:80")
    };
    for (side, sequence, may_live_on) in
        [(Side::Lan, 2, false), (Side::Lan, 6, true), (Side::Wan, 2, false), (Side::Wan, 6, true)]
    {
        let mut office = Office::new();
        established(&mut office);
        match side {
            Side::Lan => office.out(20, PC, 1_000, at(sequence, segment(1_000, 80, "R"))).unwrap(),
            Side::Wan => office.arrives(20, 1_000, at(sequence, segment(80, 1_000, "R"))),
        }
        let reported = office.checker.check_reported(&flow, Instant::from_secs(264));
        assert_eq!(reported.is_ok(), may_live_on, "{side:?} {sequence}: {reported:?}");
    }
}

#[test]
fn a_connection_that_is_refused_is_forgotten_in_minutes() {
    let mut office = Office::new();
    office.out(0, PC, 1_000, segment(1_000, 80, "S")).unwrap();
    office.back(1, 1_000, segment(80, 1_000, "RA")).unwrap();
    assert!(office.back(245, 1_000, segment(80, 1_000, "RA")).is_err());
}

#[test]
fn a_hairpin_is_seen_as_to_the_internet_and_never_as_it_is() {
    let mut office = Office::new();
    office.out(0, PC, 1_001, query()).unwrap();
    let mut hairpin = |source, port| {
        office.content += 1;
        office.pass(1, Way::In, Side::Lan, packet(PC, WAN, udp(1_000, 8_000, Vec::new()))).unwrap();
        office.pass(1, Way::Out, Side::Lan, packet(source, OTHER_PC, udp(port, 80, Vec::new())))?;
        office.checker.suspicion.take().map_or(Ok(()), Err)
    };
    assert_eq!(hairpin(WAN, 1_001), Ok(()));
    assert!(hairpin(WAN, 1_000).unwrap_err().contains("was to be"));
    assert!(hairpin(PC, 1_000).unwrap_err().contains("appears unchanged"));
}

#[test]
fn a_flow_that_is_still_reported_after_its_life_is_told() {
    let mut office = Office::new();
    office.out(0, PC, 1_000, query()).unwrap();
    let flow = flow("192.168.1.9:1000", "203.0.113.100:1000", "198.51.100.7:7");
    assert_eq!(office.checker.check_reported(&flow, Instant::from_secs(300)), Ok(()));
    assert!(office.checker.check_reported(&flow, Instant::from_secs(304)).is_err());
    // The provider's router is gone: the packet does not leave.
    office.pass(310, Way::In, Side::Lan, packet(PC, SERVER, query())).unwrap();
    assert_eq!(office.checker.check_reported(&flow, Instant::from_secs(610)), Ok(()));
    assert!(office.checker.check_reported(&flow, Instant::from_secs(614)).is_err());
}

#[test]
fn a_fragment_may_prolong_a_flow_between_its_hosts() {
    let mut office = Office::new();
    office.out(0, PC, 1_000, query()).unwrap();
    office.pass(200, Way::In, Side::Lan, packet(PC, SERVER, Transport::Other)).unwrap();
    let flow = flow("192.168.1.9:1000", "203.0.113.100:1000", "198.51.100.7:7");
    assert_eq!(office.checker.check_reported(&flow, Instant::from_secs(500)), Ok(()));
    assert!(office.checker.check_reported(&flow, Instant::from_secs(504)).is_err());
}

#[test]
fn a_hairpinned_connection_lives_as_its_segments_on_the_lan_say() {
    let mut office = Office::new();
    office.out(0, PC, 1_001, query()).unwrap();
    let asks = |office: &mut Office, secs, flags| {
        office.content += 1;
        office.pass(secs, Way::In, Side::Lan, packet(PC, WAN, segment(1_000, 8_000, flags))).unwrap();
        let onward = packet(WAN, OTHER_PC, segment(1_001, 80, flags));
        office.pass(secs, Way::Out, Side::Lan, onward).unwrap();
    };
    let is_answered = |office: &mut Office, secs, flags| {
        office.content += 1;
        let segment = at(if flags == "SA" { 1 } else { 2 }, segment(8_000, 1_000, flags));
        office.pass(secs, Way::Out, Side::Lan, packet(WAN, PC, segment)).unwrap();
    };
    asks(&mut office, 0, "S");
    is_answered(&mut office, 0, "SA");
    asks(&mut office, 0, "A");
    is_answered(&mut office, 1_000, "R");
    let flow = Flow {
        protocol: "tcp".to_owned(),
        ..flow("192.168.1.9:1000", "203.0.113.100:1001", "203.0.113.100:8000")
    };
    assert_eq!(office.checker.check_reported(&flow, Instant::from_secs(1_243)), Ok(()));
    assert!(office.checker.check_reported(&flow, Instant::from_secs(1_244)).is_err());
}

/// A connection of [`PC`] to port 8000 of the WAN address, which leads to port 80 of [`OTHER_PC`], is established at 0 s.
/// That host sends a reset at `reset_at`, which does not reach the PC.
fn hairpinned(reset_at: Option<u64>) -> Office {
    let mut office = Office::new();
    office.out(0, PC, 1_001, query()).unwrap();
    let mut passes = |source, target, inward, outward| {
        office.content += 1;
        office.pass(0, Way::In, Side::Lan, packet(source, WAN, inward)).unwrap();
        office.pass(0, Way::Out, Side::Lan, packet(WAN, target, outward)).unwrap();
    };
    passes(PC, OTHER_PC, segment(1_000, 8_000, "S"), segment(1_001, 80, "S"));
    passes(OTHER_PC, PC, segment(80, 1_001, "SA"), segment(8_000, 1_000, "SA"));
    passes(PC, OTHER_PC, segment(1_000, 8_000, "A"), segment(1_001, 80, "A"));
    if let Some(secs) = reset_at {
        office.content += 1;
        let reset = at(2, segment(80, 1_001, "R"));
        office.pass(secs, Way::In, Side::Lan, packet(OTHER_PC, WAN, reset)).unwrap();
    }
    office
}

#[test]
fn a_hairpinned_reset_that_does_not_reach_its_host_may_end_the_connection() {
    for (reset_at, may_be_over) in [(Some(100), true), (None, false)] {
        let reused = hairpinned(reset_at).out(400, PC, 1_002, segment(1_000, 80, "S"));
        assert_eq!(reused.is_ok(), may_be_over, "{reused:?}");
    }
}

#[test]
fn a_hairpinned_reset_that_does_not_reach_its_host_may_prolong_the_connection() {
    let flow = Flow {
        protocol: "tcp".to_owned(),
        ..flow("192.168.1.9:1000", "203.0.113.100:1001", "203.0.113.100:8000")
    };
    for (reset_at, may_live_on) in [(Some(7_400), true), (None, false)] {
        let office = hairpinned(reset_at);
        let reported = office.checker.check_reported(&flow, Instant::from_secs(7_600));
        assert_eq!(reported.is_ok(), may_live_on, "{reported:?}");
        assert!(office.checker.check_reported(&flow, Instant::from_secs(7_644)).is_err());
    }
}
