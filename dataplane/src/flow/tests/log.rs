//! Those who watch the table learn of flows that begin and end.

use super::*;
use crate::flow::log::WATCHED_FOR;

/// The changes since the last call, each with the source port of its flow.
fn told(table: &mut FlowTable, secs: u64, from: &mut u64) -> Vec<(u16, FlowChange)> {
    let FlowEvents { first, events } = table.watch(at(secs), *from, 100);
    assert_eq!(first, *from);
    *from = first + events.len() as u64;
    events.iter().map(|event| (event.original.source.port, event.change)).collect()
}

fn ended(port: u16, end: FlowEnd) -> (u16, FlowChange) {
    (port, FlowChange::Ended(end))
}

fn opened(port: u16) -> (u16, FlowChange) {
    (port, FlowChange::Opened)
}

#[test]
fn each_end_is_told_once_with_its_reason() {
    let (mut table, mut from) = (table(), 0);
    assert!(told(&mut table, 0, &mut from).is_empty());
    let web = |port| outbound(pc(2, port), remote(1, 443));
    let connect = |table: &mut FlowTable, port| {
        let id = open(table, 0, web(port), &SYN);
        track(table, 0, id, Reply, &SYN_ACK);
        track(table, 0, id, Original, &ACK);
        id
    };
    let (closed, reset) = (connect(&mut table, 1000), connect(&mut table, 1002));
    open(&mut table, 0, web(1004), &UDP);
    converse(&mut table, 0, web(1006));
    open(&mut table, 0, web(1008), &SYN);
    track(&mut table, 0, closed, Reply, &FIN);
    track(&mut table, 0, closed, Original, &FIN);
    track(&mut table, 0, reset, Original, &RST);
    let removed = connect(&mut table, 1010);
    table.remove(removed);
    let at_once = [
        opened(1000),
        opened(1002),
        opened(1004),
        opened(1006),
        opened(1008),
        ended(1000, FlowEnd::Closed),
        ended(1002, FlowEnd::Reset(Original)),
        opened(1010),
        ended(1010, FlowEnd::Removed),
    ];
    assert_eq!(told(&mut table, 1, &mut from), at_once);
    for secs in 2..400 {
        table.begin(at(secs));
        expire(&mut table, secs);
        if secs % 20 == 0 {
            table.watch(at(secs), from, 0);
        }
    }
    let later = told(&mut table, 400, &mut from);
    let expected =
        [ended(1008, FlowEnd::Unanswered), ended(1006, FlowEnd::Idle), ended(1004, FlowEnd::Unanswered)];
    assert_eq!(later, expected, "connections that are over were told");
}

#[test]
fn a_log_lasts_as_long_as_somebody_asks_and_is_bounded() {
    let mut table =
        table_with(&Nat { flows_max: 20_000, flows_per_host_max: 20_000, ..nat(EndpointIndependent) });
    let converse_all = |table: &mut FlowTable, hosts: RangeInclusive<u8>| {
        for host in hosts {
            for port in 0..50 {
                converse(table, 0, outbound(pc(host, 2 * port + 1024), remote(1, 443)));
            }
        }
    };
    converse_all(&mut table, 1..=1);
    assert_eq!(table.watch(at(0), 0, 10), FlowEvents { first: 0, events: Vec::new() }, "nobody had asked");
    converse_all(&mut table, 2..=255);
    let part = table.watch(at(1), 0, 10);
    assert_eq!(part.first, 254 * 50 - FLOW_EVENTS_MAX as u64);
    assert_eq!(part.events.len(), 10);
    table.begin(at(1) + WATCHED_FOR);
    let end = table.watch(at(40), 0, 10);
    assert_eq!(end, FlowEvents { first: 254 * 50, events: Vec::new() }, "it has ended meanwhile");
}
