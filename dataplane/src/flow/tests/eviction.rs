//! Floods from the inside, and what they leave to others.

use super::*;

/// As an office has it.
const OFFICE: Nat =
    Nat { filtering: AddressAndPortDependent, flows_max: 262_144, flows_per_host_max: 16_384 };
const PORTS: usize = 64_512;

fn stranger(port: u8) -> Source {
    Source::Unverified(PortId(port))
}

/// Sends a packet from each of a host's ports, and counts those that get a flow.
fn flood(
    table: &mut FlowTable,
    source: Source,
    host: u8,
    ports: RangeInclusive<u16>,
    packet: &Packet,
) -> usize {
    let open = |port: &u16| {
        let new = outbound_of(source, pc(host, *port), remote(9, 9));
        table.open(at(0), &new, EGRESS, packet).is_ok()
    };
    ports.filter(open).count()
}

/// Opens a connection that both sides have shaken hands for.
fn connect(table: &mut FlowTable, client: Endpoint) -> FlowId {
    let id = open(table, 0, outbound(client, remote(9, 9)), &SYN);
    track(table, 0, id, Reply, &SYN_ACK);
    track(table, 0, id, Original, &ACK);
    id
}

fn is_open(table: &FlowTable, protocol: Protocol, client: Endpoint) -> bool {
    table.lookup(&FlowKey { protocol, source: client, destination: remote(9, 9) }).is_some()
}

fn free_ports(table: &FlowTable) -> usize {
    table.mappings.free_ports(Protocol::UDP, WAN) as usize
}

#[test]
fn forged_addresses_are_strangers_who_share_one_limit_and_take_each_others_place() {
    let mut table = table_with(&OFFICE);
    for host in 200..206 {
        for packet in [&SYN, &UDP] {
            assert_eq!(flood(&mut table, stranger(0), host, 20_001..=35_000, packet), 15_000);
        }
    }
    assert_eq!(table.len(), 16_384 / 4);
    assert!(is_open(&table, Protocol::UDP, pc(205, 35_000)), "the newest has its place");
    assert_eq!(flood(&mut table, stranger(1), 7, 1..=100, &SYN), 100, "those of another port have their own");
    assert!((1..=100).all(|port| is_open(&table, Protocol::TCP, pc(7, port))));
}

#[test]
fn the_oldest_unanswered_flow_of_the_largest_flood_gives_its_port() {
    let mut table = table_with(&OFFICE);
    let quiet = open(&mut table, 0, outbound(pc(2, 30_000), remote(9, 9)), &UDP);
    let answered = converse(&mut table, 0, outbound(pc(3, 1024), remote(9, 9)));
    for host in 10..14 {
        flood(&mut table, station(pc(host, 0).address), host, 1025..=17_000, &UDP);
    }
    assert_eq!(free_ports(&table), PORTS / 8, "the reserve is left");
    let recycled = table.recycled();
    assert!(recycled > 0);
    assert_eq!(flood(&mut table, station(pc(4, 0).address), 4, 3001..=4000, &UDP), 1000);
    assert_eq!(table.recycled(), recycled + 1000);
    assert!(table.flow(quiet).host() == pc(2, 0).address && table.flow(answered).host() == pc(3, 0).address);
}

#[test]
fn answered_flows_leave_a_reserve_for_who_has_few_and_the_last_of_it_for_the_gateway() {
    let mut table = table_with(&Nat { flows_per_host_max: 60_000, ..OFFICE });
    flood(&mut table, station(pc(10, 0).address), 10, 1024..=60_000, &UDP);
    answer_all(&mut table);
    let refused = outbound(pc(10, 62_000), remote(9, 9));
    assert_eq!(table.open(at(0), &refused, EGRESS, &UDP), Err(FlowError::PortsExhausted));
    assert_eq!(free_ports(&table), PORTS / 8);
    // Each machine has its floor. What it opens beyond takes the place of its own.
    let opened: Vec<_> = (20..60)
        .map(|host| flood(&mut table, station(pc(host, 0).address), host, 2000..=2255, &UDP))
        .collect();
    assert!(opened.iter().take(23).all(|opened| *opened == 256), "{opened:?}");
    assert_eq!(free_ports(&table), PORTS / 32);
    answer_all(&mut table);
    let late = outbound(pc(70, 2000), remote(9, 9));
    assert_eq!(table.open(at(0), &late, EGRESS, &UDP), Err(FlowError::PortsExhausted));
    for port in 1..=2016 {
        converse(&mut table, 0, outbound(wan(40_000 + port), remote(9, 53)));
    }
    assert_eq!(free_ports(&table), 0);
    let new = outbound(wan(50_000), remote(9, 53));
    assert_eq!(table.open(at(0), &new, EGRESS, &UDP), Err(FlowError::PortsExhausted));
}

#[test]
fn a_burst_of_a_host_below_its_floor_takes_nothing_from_itself() {
    let mut table = table_with(&Nat { flows_per_host_max: 60_000, ..OFFICE });
    flood(&mut table, station(pc(10, 0).address), 10, 1024..=60_000, &UDP);
    answer_all(&mut table);
    assert_eq!(flood(&mut table, station(pc(2, 0).address), 2, 3001..=3100, &UDP), 100);
    assert!((3001..=3100).all(|port| is_open(&table, Protocol::UDP, pc(2, port))));
}

#[test]
fn flows_that_share_a_mapping_free_no_port_and_do_not_stand_in_the_way_for_long() {
    let mut table = table_with(&OFFICE);
    table.set_reserved_ports(Protocol::UDP, [1..=4999, 5100..=65535].into_iter());
    let flooder = station(pc(10, 0).address);
    for host in 1..=2 {
        for port in 5000..5088 {
            open(&mut table, 0, outbound_of(flooder, pc(10, port), remote(host, 9)), &UDP);
        }
    }
    // The reserve is 12 ports, of which 3 are the gateway's.
    let mut opens =
        |port: u16| table.open(at(0), &outbound(pc(2, 5000 + port), remote(9, 9)), EGRESS, &UDP).is_ok();
    assert!((0..9).all(&mut opens));
    assert!(!opens(9), "the 64 oldest have shared their mappings, and are gone");
    assert!((10..40).all(&mut opens));
}

/// Seven stations have all ports but the reserve, and no answer.
fn unanswered_flood(table: &mut FlowTable) {
    for host in 10..17 {
        assert_eq!(flood(table, station(pc(host, 0).address), host, 2000..=10_063, &UDP), 8064);
    }
    assert_eq!(free_ports(table), PORTS / 8);
}

#[test]
fn a_holder_whose_flows_share_a_mapping_hides_no_flood_behind_it() {
    let mut table = table_with(&OFFICE);
    unanswered_flood(&mut table);
    let decoy = |table: &mut FlowTable, number: u16| {
        let new = outbound_of(station(pc(20, 0).address), pc(20, 1), remote(8, number));
        table.open(at(0), &new, EGRESS, &UDP).is_ok()
    };
    assert!((1..=16_384).all(|number| decoy(&mut table, number)));
    // Small machines have what the reserve has for them.
    for host in 30..54 {
        assert_eq!(flood(&mut table, station(pc(host, 0).address), host, 2000..=2255, &UDP), 256);
    }
    for port in 2001..=2300 {
        assert_eq!(flood(&mut table, station(pc(2, 0).address), 2, port..=port, &UDP), 1, "{port}");
        // The recycled flows are opened again.
        (0..70).for_each(|number| _ = decoy(&mut table, 16_384 + 70 * (port - 2000) + number));
    }
    assert!((2001..=2300).all(|port| is_open(&table, Protocol::UDP, pc(2, port))));
}

#[test]
fn answered_flows_of_a_newcomer_do_not_shut_it_out() {
    let mut table = table_with(&OFFICE);
    let server = station(pc(2, 0).address);
    assert_eq!(flood(&mut table, server, 2, 2001..=2300, &UDP), 300);
    answer_all(&mut table);
    // Each of many machines has fewer flows than the server.
    let opened: usize =
        (20..=255).map(|host| flood(&mut table, station(pc(host, 0).address), host, 2000..=2239, &UDP)).sum();
    assert!(opened > 0 && free_ports(&table) <= PORTS / 8);
    assert_eq!(flood(&mut table, server, 2, 2301..=2400, &UDP), 100);
    assert!((2001..=2400).all(|port| is_open(&table, Protocol::UDP, pc(2, port))));
}

#[test]
fn a_full_table_takes_from_the_largest_flood_of_the_inside() {
    let mut table = table_with(&Nat { flows_max: 256, flows_per_host_max: 200, ..OFFICE });
    let quiet = open(&mut table, 0, outbound(pc(2, 1), remote(9, 9)), &SYN);
    assert_eq!(flood(&mut table, station(pc(10, 0).address), 10, 1..=150, &SYN), 150);
    assert_eq!(flood(&mut table, station(pc(11, 0).address), 11, 1..=150, &UDP), 150);
    assert_eq!(table.len(), 248, "a 32nd part is reserved");
    assert_eq!(flood(&mut table, station(pc(3, 0).address), 3, 1..=40, &SYN), 40);
    assert!((1..=40).all(|port| is_open(&table, Protocol::TCP, pc(3, port))));
    assert_eq!((table.len(), table.flow(quiet).host()), (248, pc(2, 0).address));
    assert_eq!(flood(&mut table, Source::Gateway, 1, 1..=40, &SYN), 40);
    let inbound = forwarded(remote(1, 1), wan(80), pc(20, 80));
    assert_eq!(
        table.open(at(0), &inbound, EGRESS, &SYN),
        Err(FlowError::TableFull),
        "nothing of the inside's ends for the outside"
    );
}

#[test]
fn a_connection_that_is_over_can_give_way_and_one_that_goes_on_cannot() {
    let mut table = table_with(&Nat { flows_max: 4, flows_per_host_max: 4, ..OFFICE });
    let ids: Vec<_> = (1..=4).map(|port| connect(&mut table, pc(2, port))).collect();
    let new = outbound(pc(3, 1), remote(9, 9));
    assert_eq!(table.open(at(0), &new, EGRESS, &SYN), Err(FlowError::TableFull));
    track(&mut table, 0, ids[2], Original, &FIN);
    assert_eq!(table.open(at(0), &new, EGRESS, &SYN), Err(FlowError::TableFull), "half-closed");
    track(&mut table, 0, ids[2], Reply, &FIN);
    open(&mut table, 0, new, &SYN);
    assert!(!is_open(&table, Protocol::TCP, pc(2, 3)) && is_open(&table, Protocol::TCP, pc(3, 1)));
    track(&mut table, 0, ids[0], Reply, &RST);
    open(&mut table, 0, outbound(pc(4, 1), remote(9, 9)), &UDP);
    assert!(!is_open(&table, Protocol::TCP, pc(3, 1)), "the oldest in the queue goes first");
}

#[test]
fn a_host_at_its_limit_takes_from_itself_and_from_nobody_else() {
    let mut table = table_with(&Nat { flows_max: 16, flows_per_host_max: 4, ..OFFICE });
    let others: Vec<_> =
        (1..=4).map(|port| open(&mut table, 0, outbound(pc(3, port), remote(9, 9)), &SYN)).collect();
    assert_eq!(flood(&mut table, station(pc(2, 0).address), 2, 1..=9, &SYN), 9);
    assert_eq!((table.len(), table.recycled()), (8, 5));
    assert!((6..=9).all(|port| is_open(&table, Protocol::TCP, pc(2, port))), "its newest have their place");
    assert!(others.iter().all(|id| table.flow(*id).host() == pc(3, 0).address));
}

#[test]
fn a_host_at_its_limit_loses_an_ended_connection_before_unanswered_flows() {
    let mut table = table_with(&Nat { flows_max: 16, flows_per_host_max: 4, ..OFFICE });
    assert_eq!(flood(&mut table, station(pc(2, 0).address), 2, 1..=2, &UDP), 2);
    open(&mut table, 0, outbound(pc(2, 3), remote(9, 9)), &SYN);
    let ended = connect(&mut table, pc(2, 4));
    track(&mut table, 0, ended, Reply, &RST);
    open(&mut table, 0, outbound(pc(2, 5), remote(9, 9)), &SYN);
    assert!(!is_open(&table, Protocol::TCP, pc(2, 4)) && is_open(&table, Protocol::TCP, pc(2, 3)));
    assert!((1..=2).all(|port| is_open(&table, Protocol::UDP, pc(2, port))));
}

#[test]
fn a_host_at_its_limit_loses_ended_connections_and_keeps_those_that_go_on() {
    let mut table = table_with(&Nat { flows_max: 16, flows_per_host_max: 4, ..OFFICE });
    let ids: Vec<_> = (1..=3).map(|port| connect(&mut table, pc(2, port))).collect();
    converse(&mut table, 0, outbound(pc(2, 4), remote(9, 9)));
    let refused = outbound(pc(2, 5), remote(9, 9));
    for packet in [&SYN, &UDP] {
        assert_eq!(table.open(at(0), &refused, EGRESS, packet), Err(FlowError::HostLimit));
    }
    assert_eq!((table.len(), table.recycled()), (4, 0), "neither connections nor answered UDP give way");
    track(&mut table, 0, ids[1], Original, &FIN);
    track(&mut table, 0, ids[1], Reply, &FIN);
    track(&mut table, 0, ids[0], Reply, &RST);
    for (port, gone) in [(5, 2), (6, 1)] {
        assert!(is_open(&table, Protocol::TCP, pc(2, gone)));
        connect(&mut table, pc(2, port));
        assert!(!is_open(&table, Protocol::TCP, pc(2, gone)), "the one that ended first gives way first");
    }
    assert_eq!(table.open(at(0), &outbound(pc(2, 7), remote(9, 9)), EGRESS, &SYN), Err(FlowError::HostLimit));
    assert!(is_open(&table, Protocol::TCP, pc(2, 3)) && is_open(&table, Protocol::UDP, pc(2, 4)));
}

#[test]
fn each_of_several_shards_keeps_its_part_of_the_reserve() {
    for index in 0..4 {
        let shard = Shard::new(index, 4).unwrap();
        let mut table = FlowTable::new(&OFFICE, Timeouts::default(), shard, [1; 32]);
        table.set_external_addresses(at(0), &[WAN]);
        for host in 10..14 {
            flood(&mut table, station(pc(host, 0).address), host, 1024..=6000, &UDP);
        }
        assert_eq!(free_ports(&table), PORTS / 4 / 8);
        answer_all(&mut table);
        for host in 20..30 {
            assert_eq!(flood(&mut table, station(pc(host, 0).address), host, 1..=64, &UDP), 64);
        }
        assert_eq!(flood(&mut table, Source::Gateway, 1, 3000..=3200, &UDP), 201);
    }
}
