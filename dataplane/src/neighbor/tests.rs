use core::net::Ipv6Addr;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::key::testing::v6;

pub(super) const NOW: Instant = Instant::from_secs(1000);
pub(super) const US: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(super) const OUR_IP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
pub(super) const LAN: InterfaceId = InterfaceId(0);
pub(super) const WAN: InterfaceId = InterfaceId(1);

/// What happened, with frames by their first octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Request(Ipv4Addr, Option<MacAddr>),
    Release(MacAddr, u8),
    Expired(Ipv4Addr, u8),
    Moved(MacAddr, MacAddr),
    Refused(MacAddr, MacAddr),
}

#[test]
fn neighbours_of_another_family_are_known_alike() {
    let mut table = NeighborTable::<Ipv6Addr>::new([1, 2, 3, 4], 64);
    let host = v6(1, 20);
    assert_eq!(table.resolve(NOW, LAN, host, &mut frame(7)), Resolution::Held);
    let mut asked = Vec::new();
    table.handle_timeout(NOW, &mut |event| {
        if let Event::SendRequest { interface, ip, unicast_to } = event {
            asked.push((interface, ip, unicast_to));
        }
    });
    assert_eq!(asked, [(LAN, host, None)]);
    let mut released = Vec::new();
    let context = ArpContext { is_for_us: true, ..ArpContext::default() };
    table.learn(NOW, LAN, (host, mac(1)), false, context, &mut |event| {
        if let Event::Release { mac, frame, .. } = event {
            released.push((mac, frame.bytes()[0]));
        }
    });
    assert_eq!(released, [(mac(1), 7)]);
    assert_eq!((table.lookup(NOW, LAN, host), table.lookup(NOW, WAN, host)), (Some(mac(1)), None));
    let known: Vec<_> = table.neighbors(NOW).map(|neighbor| (neighbor.interface, neighbor.ip)).collect();
    assert_eq!(known, [(LAN, host)]);
    table.forget(|interface, ip| (interface, ip) == (LAN, host), &mut |_| ());
    assert_eq!(table.neighbors(NOW).count(), 0);
}

fn seen(event: &Event<'_>) -> Seen {
    match event {
        Event::SendRequest { ip, unicast_to, .. } => Seen::Request(*ip, *unicast_to),
        Event::Release { mac, frame, .. } => Seen::Release(*mac, frame.bytes()[0]),
        Event::Expired { ip, frame, .. } => Seen::Expired(*ip, frame.bytes()[0]),
        Event::Moved(claim) => Seen::Moved(claim.known, claim.claimant),
        Event::ClaimRefused(claim) => Seen::Refused(claim.known, claim.claimant),
    }
}

pub(super) fn table() -> NeighborTable {
    NeighborTable::new([1, 2, 3, 4], 64)
}

pub(super) fn secs(secs: u64) -> Instant {
    NOW + Duration::from_secs(secs)
}

pub(super) fn mac(number: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, number])
}

pub(super) fn frame(octet: u8) -> Frame {
    let mut frame = Frame::with_capacity(64);
    frame.buffer_mut()[0] = octet;
    frame.set_len(1);
    frame
}

pub(super) fn resolve(table: &mut NeighborTable, now: Instant, ip: Ipv4Addr) -> Resolution {
    table.resolve(now, LAN, ip, &mut frame(1))
}

pub(super) fn timeout(table: &mut NeighborTable, now: Instant) -> Vec<Seen> {
    let mut events = Vec::new();
    table.handle_timeout(now, &mut |event| events.push(seen(&event)));
    events
}

/// A reply to the gateway from `ip` at `mac`.
pub(super) fn reply(table: &mut NeighborTable, now: Instant, ip: Ipv4Addr, mac: MacAddr) -> Vec<Seen> {
    hear(table, now, &arp::Packet::request(US, OUR_IP, ip).reply(mac), true)
}

pub(super) fn hear(
    table: &mut NeighborTable,
    now: Instant,
    packet: &arp::Packet,
    is_for_us: bool,
) -> Vec<Seen> {
    hear_as(table, now, packet, ArpContext { is_for_us, ..ArpContext::default() })
}

pub(super) fn hear_as(
    table: &mut NeighborTable,
    now: Instant,
    packet: &arp::Packet,
    context: ArpContext,
) -> Vec<Seen> {
    let mut events = Vec::new();
    table.handle_arp(now, LAN, packet, context, &mut |event| events.push(seen(&event)));
    events
}

pub(super) fn state(table: &NeighborTable, now: Instant, ip: Ipv4Addr) -> Option<State> {
    table.neighbors(now).find(|neighbor| neighbor.ip == ip).map(|neighbor| neighbor.state)
}

pub(super) fn nth(n: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + u32::from(n))
}

#[test]
fn a_held_frame_goes_out_when_its_neighbour_answers() {
    let mut table = table();
    let mut first = frame(1);
    assert_eq!(table.resolve(NOW, LAN, HOST, &mut first), Resolution::Held);
    assert!(first.bytes().is_empty(), "the table left an empty buffer");
    assert_eq!(table.resolve(NOW, LAN, HOST, &mut frame(2)), Resolution::Held);
    assert_eq!(table.poll_timeout(), Some(NOW));
    assert_eq!(timeout(&mut table, NOW), [Seen::Request(HOST, None)]);
    assert_eq!(timeout(&mut table, NOW), [], "asked once a second, however many frames wait");

    assert_eq!(table.lookup(NOW, LAN, HOST), None);
    let events = reply(&mut table, NOW, HOST, mac(20));
    assert_eq!(events, [Seen::Release(mac(20), 1), Seen::Release(mac(20), 2)]);
    assert_eq!(table.lookup(NOW, LAN, HOST), Some(mac(20)));
    assert_eq!(table.lookup(NOW, WAN, HOST), None, "the other interface is another world");
    assert_eq!(resolve(&mut table, NOW, HOST), Resolution::Known(mac(20)));
    assert_eq!(timeout(&mut table, secs(1)), []);
    assert_eq!(table.poll_timeout(), None);
}

/// RFC 1122, section 2.3.2.1: A dead neighbour gets one request a second, and then none for a time.
#[test]
fn rfc1122_2_3_2_1_a_dead_neighbour_is_asked_once_a_second_and_then_left_alone() {
    let mut table = table();
    assert_eq!(resolve(&mut table, NOW, HOST), Resolution::Held);
    for second in 0..3 {
        assert_eq!(table.poll_timeout(), Some(secs(second)));
        assert_eq!(timeout(&mut table, secs(second)), [Seen::Request(HOST, None)]);
    }
    assert_eq!(timeout(&mut table, secs(3)), [Seen::Expired(HOST, 1)]);
    assert_eq!(table.poll_timeout(), None);
    for second in 3..8 {
        assert_eq!(resolve(&mut table, secs(second), HOST), Resolution::Unreachable);
        assert_eq!(timeout(&mut table, secs(second)), []);
    }
    assert_eq!(resolve(&mut table, secs(8), HOST), Resolution::Held);
    assert_eq!(timeout(&mut table, secs(8)), [Seen::Request(HOST, None)]);
}

/// RFC 1122, section 2.3.2.1: A stale neighbour is polled by unicast and used meanwhile.
#[test]
fn rfc1122_2_3_2_1_a_stale_neighbour_is_polled_by_unicast_and_used_meanwhile() {
    let mut table = table();
    resolve(&mut table, NOW, HOST);
    reply(&mut table, NOW, HOST, mac(20));
    assert_eq!(table.lookup(secs(59), LAN, HOST), Some(mac(20)));
    assert_eq!(table.lookup(secs(60), LAN, HOST), None);
    assert_eq!(state(&table, secs(60), HOST), Some(State::Stale));
    assert_eq!(timeout(&mut table, secs(60)), [], "who is not used is not asked");

    assert_eq!(resolve(&mut table, secs(61), HOST), Resolution::Known(mac(20)));
    assert_eq!(table.lookup(secs(61), LAN, HOST), Some(mac(20)));
    assert_eq!(timeout(&mut table, secs(61)), [Seen::Request(HOST, Some(mac(20)))]);
    reply(&mut table, secs(61), HOST, mac(20));
    assert_eq!(state(&table, secs(61), HOST), Some(State::Reachable));
}

#[test]
fn a_neighbour_that_does_not_answer_a_poll_is_asked_for_by_broadcast() {
    let mut table = table();
    resolve(&mut table, NOW, HOST);
    reply(&mut table, NOW, HOST, mac(20));
    resolve(&mut table, secs(60), HOST);
    for second in 60..63 {
        assert_eq!(timeout(&mut table, secs(second)), [Seen::Request(HOST, Some(mac(20)))]);
    }
    assert_eq!(timeout(&mut table, secs(63)), []);
    assert_eq!(state(&table, secs(63), HOST), None);
    assert_eq!(table.lookup(secs(63), LAN, HOST), None);
    assert_eq!(resolve(&mut table, secs(63), HOST), Resolution::Held);
    assert_eq!(timeout(&mut table, secs(63)), [Seen::Request(HOST, None)]);
}

/// RFC 826: A request to the gateway makes its sender a known neighbour.
#[test]
fn rfc826_a_request_to_the_gateway_tells_where_the_asker_is() {
    let mut table = table();
    let request = arp::Packet::request(mac(20), HOST, OUR_IP);
    assert_eq!(hear(&mut table, NOW, &request, true), []);
    assert_eq!(table.lookup(NOW, LAN, HOST), Some(mac(20)));
}

/// RFC 826: An unsolicited ARP packet changes only a known neighbour.
#[test]
fn rfc826_what_was_not_asked_for_changes_only_what_is_known() {
    let mut table = table();
    assert_eq!(hear(&mut table, NOW, &arp::Packet::announcement(mac(20), HOST), false), []);
    assert_eq!(reply(&mut table, NOW, HOST, mac(20)), [], "an answer to no question");
    assert_eq!(hear(&mut table, NOW, &arp::Packet::request(mac(20), HOST, nth(9)), false), []);
    assert_eq!(table.neighbors(NOW).count(), 0);

    resolve(&mut table, NOW, HOST);
    reply(&mut table, NOW, HOST, mac(20));
    assert_eq!(hear(&mut table, NOW, &arp::Packet::announcement(mac(20), HOST), false), []);
    assert_eq!(table.lookup(NOW, LAN, HOST), Some(mac(20)), "it says what was known");
}

/// RFC 5227, section 2.1.1: A probe changes no entry.
#[test]
fn rfc5227_2_1_1_a_probe_tells_nothing() {
    let mut table = table();
    hear(&mut table, NOW, &arp::Packet::request(mac(20), Ipv4Addr::UNSPECIFIED, OUR_IP), true);
    assert_eq!(table.neighbors(NOW).count(), 0);
}

#[test]
fn a_dead_neighbour_that_announces_itself_is_alive() {
    let mut table = table();
    resolve(&mut table, NOW, HOST);
    reply(&mut table, NOW, HOST, mac(20));
    // It answers neither the poll nor, from 64 s on, the broadcasts.
    for second in 60..=67 {
        resolve(&mut table, secs(second), HOST);
        timeout(&mut table, secs(second));
    }
    assert_eq!(resolve(&mut table, secs(67), HOST), Resolution::Unreachable);
    hear(&mut table, secs(67), &arp::Packet::announcement(mac(20), HOST), false);
    assert_eq!(resolve(&mut table, secs(67), HOST), Resolution::Known(mac(20)));
}

#[test]
fn a_full_queue_refuses_further_frames() {
    let mut table = table();
    for _ in 0..NeighborTable::HELD_EACH_MAX {
        assert_eq!(resolve(&mut table, NOW, HOST), Resolution::Held);
    }
    let mut refused = frame(7);
    assert_eq!(table.resolve(NOW, LAN, HOST, &mut refused), Resolution::QueueFull);
    assert_eq!(refused.bytes(), [7]);
    assert_eq!(reply(&mut table, NOW, HOST, mac(20)).len(), NeighborTable::HELD_EACH_MAX);
}

#[test]
fn a_full_pool_refuses_frames_but_asks() {
    let mut table = table();
    for n in 0..NeighborTable::HELD_MAX {
        assert_eq!(resolve(&mut table, NOW, nth(n)), Resolution::Held);
    }
    assert_eq!(resolve(&mut table, NOW, HOST), Resolution::QueueFull);
    assert!(timeout(&mut table, NOW).contains(&Seen::Request(HOST, None)));
    reply(&mut table, NOW, HOST, mac(20));
    assert_eq!(resolve(&mut table, NOW, HOST), Resolution::Known(mac(20)));
}

#[test]
fn a_scan_does_not_displace_the_way_to_the_router() {
    let mut table = table();
    resolve(&mut table, NOW, HOST);
    reply(&mut table, NOW, HOST, mac(20));
    for n in 0..20_000 {
        let now = NOW + Duration::from_millis(u64::from(n) * 2);
        resolve(&mut table, now, nth(n));
        if n.is_multiple_of(50) {
            timeout(&mut table, now);
        }
        if table.lookup(now, LAN, HOST).is_none() {
            assert_eq!(resolve(&mut table, now, HOST), Resolution::Known(mac(20)));
        }
    }
    let mut listed = table.timer_list.clone();
    listed.sort_unstable();
    listed.dedup();
    assert_eq!(
        listed.len(),
        table.timer_list.len(),
        "every place is listed once, so that the list is bounded"
    );
}

#[test]
fn a_full_table_recycles_who_was_used_longest_ago() {
    let mut table = table();
    for n in 0..20_000 {
        let now = NOW + Duration::from_micros(n.into());
        assert_eq!(hear(&mut table, now, &arp::Packet::request(mac(1), nth(n), OUR_IP), true), []);
    }
    let now = NOW + Duration::from_millis(20);
    assert_eq!(table.neighbors(now).count(), NeighborTable::NEIGHBORS_MAX);
    assert_eq!(table.lookup(now, LAN, nth(0)), None);
    assert_eq!(table.lookup(now, LAN, nth(19_999)), Some(mac(1)));
}

#[test]
fn a_full_set_of_neighbours_with_frames_admits_no_other() {
    let mut table = table();
    let index = |n: u16, table: &NeighborTable| table.index(nth(n).on(LAN));
    let target = index(0, &table);
    let mut same_set = (0..=u16::MAX).filter(|n| index(*n, &table) == target).collect::<Vec<_>>().into_iter();
    for n in same_set.by_ref().take(WAYS) {
        assert_eq!(resolve(&mut table, NOW, nth(n)), Resolution::Held);
    }
    let ninth = same_set.next().expect("thousands share a set");
    assert_eq!(resolve(&mut table, NOW, nth(ninth)), Resolution::TableFull);
    (0..4).for_each(|second| drop(timeout(&mut table, secs(second))));
    assert_eq!(resolve(&mut table, secs(4), nth(ninth)), Resolution::Held, "the unreachable made room");
}

#[test]
fn a_segment_that_changed_is_forgotten() {
    let mut table = table();
    resolve(&mut table, NOW, HOST);
    table.resolve(NOW, WAN, HOST, &mut frame(2));
    let mut events = Vec::new();
    table.forget(|interface, _| interface == LAN, &mut |event| events.push(seen(&event)));
    assert_eq!(events, [Seen::Expired(HOST, 1)]);
    let left: Vec<_> = table.neighbors(NOW).collect();
    let wan = Neighbor { interface: WAN, ip: HOST, mac: None, state: State::Incomplete, held: 1 };
    assert_eq!(left, [wan]);
    assert_eq!(timeout(&mut table, NOW), [Seen::Request(HOST, None)], "of the WAN alone");
}

proptest! {
    /// With events in any order, every held frame comes out once, and a neighbour gets at most one request a second.
    #[test]
    fn every_held_frame_comes_out_once(
        steps in prop::collection::vec((0u8..4, 0u16..12, 0u64..2_500), 1..300)
    ) {
        let mut table = table();
        let mut now = NOW;
        let (mut held, mut out) = (0, 0);
        let mut asked = BTreeMap::new();
        for (action, host, millis) in steps {
            now = now + Duration::from_millis(millis);
            let events = match action {
                0 | 1 => {
                    held += usize::from(resolve(&mut table, now, nth(host)) == Resolution::Held);
                    timeout(&mut table, now)
                }
                2 => reply(&mut table, now, nth(host), mac(host as u8)),
                _ => timeout(&mut table, now),
            };
            for event in events {
                match event {
                    Seen::Request(ip, _) => {
                        let last = asked.insert(ip, now);
                        let is_too_soon = last.is_some_and(|last| now.since(last) < NeighborTable::RETRANSMISSION);
                        prop_assert!(!is_too_soon, "{} at {}", ip, now);
                    }
                    Seen::Release(..) | Seen::Expired(..) => out += 1,
                    Seen::Moved(..) | Seen::Refused(..) => prop_assert!(false, "nobody claims anything"),
                }
            }
        }
        let waiting: usize = table.neighbors(now).map(|neighbor| neighbor.held).sum();
        prop_assert_eq!(held, out + waiting);
        for _ in 0..4 {
            now = now + NeighborTable::RETRANSMISSION;
            out += timeout(&mut table, now).iter().filter(|event| !matches!(event, Seen::Request(..))).count();
        }
        prop_assert_eq!(held, out);
        prop_assert_eq!(table.poll_timeout(), None);
    }
}
