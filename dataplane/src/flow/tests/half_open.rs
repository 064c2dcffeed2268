//! Floods of flows from outside: the limits of each source, and the room that is left to others.

use super::*;

const SERVER: Endpoint = Endpoint::new(Ipv4Addr::new(192, 168, 1, 20), 80);

/// A table with room for 16 flows from outside that are not assured. A source may have 4 embryonic and 4 assured ones.
fn table_of_64() -> FlowTable {
    table()
}

fn forwarded_from(source: u8, port: u16) -> NewFlow {
    forwarded(remote(source, port), wan(80), SERVER)
}

fn open_inbound(table: &mut FlowTable, new: NewFlow, packet: &Packet) -> Result<FlowId, FlowError> {
    table.open(at(0), &new, EGRESS, packet)
}

/// A connection that is shaken hands on.
fn enter(table: &mut FlowTable, source: u8, port: u16) -> FlowId {
    let id = open(table, 0, forwarded_from(source, port), &SYN);
    track(table, 0, id, Reply, &SYN_ACK);
    track(table, 0, id, Original, &ACK);
    id
}

fn is_open(table: &FlowTable, source: u8, port: u16) -> bool {
    let key = FlowKey { protocol: Protocol::TCP, source: remote(source, port), destination: wan(80) };
    table.lookup(&key).is_some()
}

#[test]
fn a_flood_of_syns_from_one_source_is_refused_and_another_gets_in() {
    let mut table = table_of_64();
    let opened =
        (0..1000).filter(|port| open_inbound(&mut table, forwarded_from(1, *port), &SYN).is_ok()).count();
    assert_eq!(opened, 4);
    assert_eq!(open_inbound(&mut table, forwarded_from(1, 2000), &SYN), Err(FlowError::RemoteLimit));
    enter(&mut table, 2, 1);
    assert!(is_open(&table, 2, 1));
}

#[test]
fn a_flood_of_datagrams_from_one_source_is_refused_until_they_are_answered() {
    let mut table = table_of_64();
    let ids: Vec<_> = (0..4).map(|port| open(&mut table, 0, forwarded_from(1, port), &UDP)).collect();
    assert_eq!(open_inbound(&mut table, forwarded_from(1, 9), &UDP), Err(FlowError::RemoteLimit));
    track(&mut table, 0, ids[0], Reply, &UDP);
    assert!(open_inbound(&mut table, forwarded_from(1, 9), &UDP).is_ok());
}

#[test]
fn a_resolver_with_a_port_for_every_question_is_never_refused() {
    let mut table = table_of_64();
    for port in 0..1000 {
        let id = open(&mut table, 0, forwarded_from(1, port), &UDP);
        track(&mut table, 0, id, Reply, &UDP);
    }
    assert_eq!(table.len(), 16);
}

#[test]
fn a_flood_from_everywhere_recycles_the_oldest_half_open_first() {
    let mut table = table_of_64();
    enter(&mut table, 200, 1);
    for source in 0..16 {
        open(&mut table, 0, forwarded_from(source, 1), &SYN);
    }
    assert!(is_open(&table, 0, 1));
    for source in 16..20 {
        open(&mut table, 0, forwarded_from(source, 1), &SYN);
        assert!(!is_open(&table, source - 16, 1) && is_open(&table, source - 15, 1));
    }
    assert!(is_open(&table, 200, 1), "who is in the middle of something goes on");
    assert_eq!(table.recycled(), 4);
    assert_eq!(table.len(), 17);
}

#[test]
fn who_shakes_hands_in_time_is_kept_through_a_flood() {
    let mut table = table_of_64();
    for round in 0..10 {
        let id = open(&mut table, 0, forwarded_from(100 + round, 1), &SYN);
        for source in 0..15 {
            let _ = open_inbound(&mut table, forwarded_from(source, 1000 + u16::from(round)), &SYN);
        }
        track(&mut table, 0, id, Reply, &SYN_ACK);
        track(&mut table, 0, id, Original, &ACK);
    }
    assert!((0..10).all(|round| is_open(&table, 100 + round, 1)));
}

#[test]
fn a_full_table_recycles_for_the_inside_too() {
    let mut table = table_with(&Nat { flows_max: 8, ..nat(AddressAndPortDependent) });
    for port in 1..=6 {
        converse(&mut table, 0, outbound(pc(2, port), remote(9, 443)));
    }
    open(&mut table, 0, forwarded_from(1, 1), &SYN);
    open(&mut table, 0, forwarded_from(2, 1), &SYN);
    converse(&mut table, 0, outbound(pc(3, 1), remote(9, 443)));
    assert!(!is_open(&table, 1, 1) && is_open(&table, 2, 1));
    converse(&mut table, 0, outbound(pc(3, 2), remote(9, 443)));
    let more = outbound(pc(3, 3), remote(9, 443));
    assert_eq!(
        open_inbound(&mut table, more, &UDP),
        Err(FlowError::TableFull),
        "nothing of the inside's own ends that is answered"
    );
    assert_eq!(table.recycled(), 2);
}

#[test]
fn a_flood_to_a_hosts_port_leaves_it_its_own_flows() {
    let mut table = table_with(&Nat { flows_per_host_max: 2, ..nat(AddressAndPortDependent) });
    open(&mut table, 0, forwarded_from(1, 1), &SYN);
    let second = enter(&mut table, 2, 1);
    open(&mut table, 0, forwarded_from(3, 1), &SYN);
    assert!(!is_open(&table, 1, 1), "the oldest half-open one to this host");
    track(&mut table, 0, second, Original, &ACK);
    enter(&mut table, 4, 1);
    assert_eq!(open_inbound(&mut table, forwarded_from(5, 1), &SYN), Err(FlowError::HostLimit));
    open(&mut table, 0, outbound(pc(20, 1), remote(1, 443)), &UDP);
    open(&mut table, 0, outbound(pc(20, 2), remote(1, 443)), &UDP);
    table.remove(second);
    open(&mut table, 0, forwarded_from(5, 1), &SYN);
}

#[test]
fn one_source_cannot_keep_all_that_a_host_may_have() {
    let mut table = table_of_64();
    for port in 0..40 {
        enter(&mut table, 1, port);
    }
    let kept = (0..40).filter(|port| is_open(&table, 1, *port)).count();
    assert_eq!(kept, 4 + 16, "those above its share stand in the queue");
    for source in 2..18 {
        open(&mut table, 0, forwarded_from(source, 1), &SYN);
    }
    assert_eq!((0..40).filter(|port| is_open(&table, 1, *port)).count(), 4);
}

#[test]
fn what_is_over_can_be_recycled() {
    let mut table = table_of_64();
    let id = enter(&mut table, 1, 1);
    track(&mut table, 0, id, Original, &FIN);
    track(&mut table, 0, id, Reply, &FIN);
    for source in 2..19 {
        open(&mut table, 0, forwarded_from(source, 1), &SYN);
    }
    assert!(!is_open(&table, 1, 1));
}

#[test]
fn a_mapping_does_not_end_with_the_flow_that_makes_room_for_its_next() {
    let mut table = table_with(&Nat { flows_max: 2, ..nat(EndpointIndependent) });
    let own = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    open(&mut table, 0, outbound(pc(3, 1), remote(1, 443)), &UDP);
    table.remove(own);
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let first =
        table.lookup(&FlowKey { protocol: Protocol::UDP, source: pc(3, 1), destination: remote(1, 443) });
    table.remove(first.unwrap().0);
    let inbound = open_to_port(&mut table, 1, remote(2, 1), 5000, &UDP).unwrap();
    table.remove(
        table
            .lookup(&FlowKey { protocol: Protocol::UDP, source: pc(2, 5000), destination: remote(1, 443) })
            .unwrap()
            .0,
    );
    open(&mut table, 1, outbound(pc(4, 1), remote(1, 443)), &UDP);
    assert_eq!(table.flow(inbound).mapping(Reply), table.mapping_by_external(Protocol::UDP, wan(5000)));
    let next = open_to_port(&mut table, 1, remote(3, 1), 5000, &UDP).unwrap();
    assert_eq!(external_port(&table, next), 1);
    assert_eq!((table.len(), table.mappings_len()), (2, 2));
}

#[test]
fn a_refused_visitor_changes_nothing() {
    let mut table = table_of_64();
    for port in 0..4 {
        open(&mut table, 0, forwarded_from(1, port), &SYN);
    }
    let before: Vec<_> = table.flows().map(|(id, flow)| (id, flow.expires())).collect();
    assert_eq!(table.open(at(5), &forwarded_from(1, 9), EGRESS, &SYN), Err(FlowError::RemoteLimit));
    assert_eq!(table.flows().map(|(id, flow)| (id, flow.expires())).collect::<Vec<_>>(), before);
}
