//! The table's behaviour with explicit times; that which an RFC requires is in files of its own.

mod eviction;
mod half_open;
mod log;
mod rfc4787;
mod rfc5382;
mod rfc5508;

use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::RangeInclusive;
use std::collections::BTreeSet;

use gatepost_ground::Instant;
use gatepost_ground::wire::Protocol;
use gatepost_ground::wire::checksum::{Delta, Sum};
use gatepost_ground::wire::tcp::Flags;
use gatepost_ground::{MacAddr, PortId, Role};

use super::entry::Quota;
use super::*;
use crate::config::{Filtering, Nat};
use crate::key::testing::v6;
use crate::key::{Address, Direction, Endpoint, FlowKey};
use crate::nat::rewrite::Translation;
use crate::shard::Shard;

const WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const EGRESS: [Egress; 2] = [Egress::To(Role::Outside), Egress::To(Role::Inside)];
const UDP: Packet = Packet { transport: Transport::Udp, octets: 100 };
const QUERY: Packet = Packet { transport: Transport::IcmpQuery, octets: 84 };
// Both sides begin at 99, so that each of these is right from either.
const SYN: Packet = tcp(Flags::SYN, 99);
const RST: Packet = tcp(Flags(Flags::RST.0 | Flags::ACK.0), 100);
const ACK: Packet = tcp(Flags::ACK, 100);
const SYN_ACK: Packet = tcp(Flags(Flags::SYN.0 | Flags::ACK.0), 99);
const FIN: Packet = tcp(Flags(Flags::FIN.0 | Flags::ACK.0), 100);

use Direction::{Original, Reply};
use Filtering::{AddressAndPortDependent, AddressDependent, EndpointIndependent};

const fn tcp(flags: Flags, sequence: u32) -> Packet {
    let segment = tcp::TcpSegment {
        flags,
        sequence,
        acknowledgment: 100,
        window: 64_000,
        data_len: 0,
        scale: None,
        is_fragmented: false,
    };
    Packet { transport: Transport::Tcp(segment), octets: 40 }
}

/// Has each flow's other side answer by UDP.
fn answer_all(table: &mut FlowTable) {
    let ids: Vec<_> = table.flows().map(|(id, _)| id).collect();
    ids.into_iter().for_each(|id| track(table, 0, id, Reply, &UDP));
}

fn at(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

fn pc(host: u8, port: u16) -> Endpoint {
    Endpoint::new(Ipv4Addr::new(192, 168, 1, host), port)
}

fn remote(host: u8, port: u16) -> Endpoint {
    Endpoint::new(Ipv4Addr::new(198, 51, 100, host), port)
}

fn wan(port: u16) -> Endpoint {
    Endpoint::new(WAN, port)
}

fn nat(filtering: Filtering) -> Nat {
    Nat { filtering, flows_max: 64, flows_per_host_max: 32 }
}

fn table_with(nat: &Nat) -> FlowTable {
    let mut table = FlowTable::new(nat, Timeouts::default(), Shard::SOLE, [1; 32]);
    table.set_external_addresses(at(0), &[WAN]);
    table
}

fn table() -> FlowTable {
    table_with(&nat(AddressAndPortDependent))
}

fn outbound(client: Endpoint, remote: Endpoint) -> NewFlow {
    outbound_of(station(client.address), client, remote)
}

fn outbound_of(source: Source, client: Endpoint, remote: Endpoint) -> NewFlow {
    NewFlow::Outbound { client: Client::Mapped { inside: client, external: WAN }, remote, source }
}

fn outbound_by(external: Ipv4Addr, inside: Endpoint, remote: Endpoint) -> NewFlow {
    let client = Client::Mapped { inside, external };
    NewFlow::Outbound { client, remote, source: station(inside.address) }
}

/// The machine that has an inside address.
fn station(address: Ipv4Addr) -> Source {
    let [_, _, c, d] = address.octets();
    if address == WAN { Source::Gateway } else { Source::Station(MacAddr([2, 0, 0, 0, c, d]), PortId(0)) }
}

fn forwarded(remote: Endpoint, external: Endpoint, inside: Endpoint) -> NewFlow {
    NewFlow::Inbound { remote, server: Server::Static(StaticMapping { inside, external }) }
}

fn open(table: &mut FlowTable, secs: u64, new: NewFlow, packet: &Packet) -> FlowId {
    table.open(at(secs), &new, EGRESS, packet).unwrap()
}

/// A flow of UDP that is answered.
fn converse(table: &mut FlowTable, secs: u64, new: NewFlow) -> FlowId {
    let id = open(table, secs, new, &UDP);
    track(table, secs, id, Reply, &UDP);
    id
}

/// Opens a flow for a packet from outside to a mapping, if the filter admits it.
fn open_to_port(
    table: &mut FlowTable,
    secs: u64,
    from: Endpoint,
    port: u16,
    packet: &Packet,
) -> Result<FlowId, FlowError> {
    let mapping = table.mapping_by_external(packet.transport.protocol(), wan(port)).expect("a mapping");
    let server = Server::Mapped(mapping);
    table.open(at(secs), &NewFlow::Inbound { remote: from, server }, EGRESS, packet)
}

fn track(table: &mut FlowTable, secs: u64, id: FlowId, direction: Direction, packet: &Packet) {
    table.track(at(secs), id, direction, packet).unwrap();
}

/// Whether `flow` is there at `secs`, after whatever is due then.
fn lives(table: &mut FlowTable, secs: u64, key: &FlowKey) -> bool {
    expire(table, secs);
    table.lookup(key).is_some()
}

fn expire(table: &mut FlowTable, secs: u64) {
    while table.poll_timeout().is_some_and(|due| due <= at(secs)) {
        table.handle_timeout(at(secs));
    }
}

/// The key by which the flow's packets of `direction` arrive.
fn key(table: &FlowTable, id: FlowId, direction: Direction) -> FlowKey {
    table.flow(id).key(direction)
}

fn external_port(table: &FlowTable, id: FlowId) -> u16 {
    key(table, id, Reply).destination.port
}

/// The external port that `client` gets for UDP.
fn mapped_port(table: &mut FlowTable, client: Endpoint) -> u16 {
    let id = open(table, 0, outbound(client, remote(1, 443)), &UDP);
    external_port(table, id)
}

#[test]
fn a_flow_is_found_by_both_keys_and_translated_to_the_reverse_of_the_other() {
    let mut table = table();
    let id = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let out = FlowKey { protocol: Protocol::UDP, source: pc(2, 5000), destination: remote(1, 443) };
    let back = FlowKey { protocol: Protocol::UDP, source: remote(1, 443), destination: wan(5000) };
    assert_eq!(table.lookup(&out), Some((id, Original)));
    assert_eq!(table.lookup(&back), Some((id, Reply)));
    assert_eq!(table.lookup(&back.reversed()), None);
    let flow = table.flow(id);
    let there = flow.translation(Original);
    assert_eq!((there.source, there.destination), (wan(5000), remote(1, 443)));
    let here = flow.translation(Reply);
    assert_eq!((here.source, here.destination), (remote(1, 443), pc(2, 5000)));
    assert_eq!(flow.egress(Original), EGRESS[0]);
    assert_eq!(flow.state(), State::Udp);
    assert_eq!(flow.host(), pc(2, 0).address);
    assert_eq!(flow.expires(), at(300));
}

#[test]
fn deltas_turn_the_checksum_of_what_came_into_that_of_what_goes() {
    let mut table = table();
    open(&mut table, 0, outbound(pc(9, 5000), remote(1, 80)), &SYN);
    open(&mut table, 0, outbound(pc(9, 77), remote(1, 0)), &QUERY);
    let sum = |key: FlowKey, addresses: bool, ports: bool| {
        let mut sum = Sum::default().add_u16(0x1234);
        for end in [key.source, key.destination] {
            sum = if addresses { sum.add_addr(end.address) } else { sum };
            sum = if ports { sum.add_u16(end.port) } else { sum };
        }
        sum.checksum()
    };
    for (client, packet) in [(pc(2, 5000), SYN), (pc(3, 77), QUERY)] {
        let is_query = packet == QUERY;
        let id = open(&mut table, 0, outbound(client, remote(1, if is_query { 0 } else { 80 })), &packet);
        let flow = table.flow(id);
        for direction in Direction::BOTH {
            let (before, after) = (flow.key(direction), flow.key(direction.opposite()).reversed());
            let translation = flow.translation(direction);
            assert_eq!(translation.ip_delta.apply(sum(before, true, false)), sum(after, true, false));
            let transport = translation.transport_delta.apply(sum(before, !is_query, true));
            assert_eq!(transport, sum(after, !is_query, true), "ICMP's covers no addresses");
        }
    }
}

#[test]
fn packets_and_octets_are_counted_for_each_direction() {
    let mut table = table();
    let id = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    track(&mut table, 1, id, Original, &UDP);
    track(&mut table, 1, id, Reply, &Packet { octets: 1500, ..UDP });
    let flow = table.flow(id);
    assert_eq!(flow.traffic(Original), Traffic { packets: 2, octets: 200 });
    assert_eq!(flow.traffic(Reply), Traffic { packets: 1, octets: 1500 });
}

#[test]
fn a_forward_serves_by_its_own_port_and_needs_no_mapping() {
    let mut table = table();
    let id = open(&mut table, 0, forwarded(remote(1, 6000), wan(8443), pc(20, 443)), &SYN);
    let flow = table.flow(id);
    let there = flow.translation(Original);
    assert_eq!((there.source, there.destination), (remote(1, 6000), pc(20, 443)));
    let here = flow.translation(Reply);
    assert_eq!((here.source, here.destination), (wan(8443), remote(1, 6000)));
    assert_eq!(flow.host(), pc(20, 0).address);
    assert_eq!(table.mappings_len(), 0);
}

#[test]
fn the_gateways_own_connection_and_a_hosts_never_share_a_port() {
    let mut table = table();
    let gateway = open(&mut table, 0, outbound(wan(5000), remote(1, 53)), &UDP);
    let host = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 53)), &UDP);
    assert_eq!(external_port(&table, gateway), 5000);
    assert_ne!(external_port(&table, host), 5000);
}

#[test]
fn a_full_table_refuses_what_is_new_and_keeps_what_is_there() {
    let mut table = table_with(&Nat { flows_max: 2, ..nat(AddressAndPortDependent) });
    let kept = converse(&mut table, 0, outbound(pc(2, 1), remote(1, 443)));
    converse(&mut table, 0, outbound(pc(3, 2), remote(1, 443)));
    let new = outbound(pc(4, 3), remote(1, 443));
    assert_eq!(table.open(at(0), &new, EGRESS, &UDP), Err(FlowError::TableFull));
    assert_eq!(table.mappings_len(), 2);
    track(&mut table, 1, kept, Original, &UDP);
    table.remove(kept);
    assert!(table.open(at(1), &new, EGRESS, &UDP).is_ok());
}

#[test]
fn one_host_cannot_take_the_table_from_others() {
    let mut table = table_with(&Nat { flows_per_host_max: 2, ..nat(AddressAndPortDependent) });
    let first = converse(&mut table, 0, outbound(pc(2, 1), remote(1, 443)));
    converse(&mut table, 0, outbound(pc(2, 2), remote(1, 443)));
    let new = outbound(pc(2, 3), remote(1, 443));
    assert_eq!(table.open(at(0), &new, EGRESS, &UDP), Err(FlowError::HostLimit));
    open(&mut table, 0, outbound(pc(3, 1), remote(1, 443)), &UDP);
    table.remove(first);
    assert!(table.open(at(1), &new, EGRESS, &UDP).is_ok());
}

#[test]
fn the_gateway_opens_flows_for_all_hosts_and_not_for_the_whole_table() {
    let mut table = table_with(&Nat { flows_per_host_max: 2, ..nat(AddressAndPortDependent) });
    for port in 1..=16 {
        converse(&mut table, 0, outbound(wan(port), remote(1, 53)));
    }
    let new = outbound(wan(17), remote(1, 53));
    assert_eq!(table.open(at(0), &new, EGRESS, &UDP), Err(FlowError::HostLimit));
    open(&mut table, 0, outbound(pc(2, 1), remote(1, 443)), &UDP);
}

#[test]
fn limits_can_be_raised_and_lowered_while_flows_go_on() {
    let limited = |flows_max| Nat { flows_max, flows_per_host_max: 4096, ..nat(AddressAndPortDependent) };
    let mut table = table_with(&limited(4));
    table.configure(&limited(3100));
    for port in 1..=3000 {
        converse(&mut table, 0, outbound(pc(2, port), remote(1, port)));
    }
    table.configure(&Nat { filtering: AddressDependent, ..limited(1) });
    assert_eq!(table.len(), 3000);
    let new = outbound(pc(2, 5000), remote(1, 443));
    assert_eq!(table.open(at(0), &new, EGRESS, &UDP), Err(FlowError::TableFull));
    assert!(table.flows().all(|(id, flow)| table.lookup(&flow.key(Reply)) == Some((id, Reply))));
}

#[test]
fn without_an_external_address_nothing_is_mapped() {
    let mut table = FlowTable::new(&nat(AddressAndPortDependent), Timeouts::default(), Shard::SOLE, [1; 32]);
    let new = outbound(pc(2, 5000), remote(1, 443));
    assert_eq!(table.open(at(0), &new, EGRESS, &UDP), Err(FlowError::NoAddress));
}

#[test]
fn a_new_external_address_ends_what_went_through_the_old_one() {
    let mut table = table();
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    open(&mut table, 0, forwarded(remote(1, 6000), wan(8443), pc(20, 443)), &SYN);
    let elsewhere = Ipv4Addr::new(192, 0, 2, 1);
    let routed = StaticMapping { inside: pc(4, 1), external: pc(4, 1) };
    let (client, source) = (Client::Static(routed), station(pc(4, 0).address));
    let untouched = NewFlow::Outbound { client, remote: remote(1, 2), source };
    open(&mut table, 0, untouched, &UDP);
    table.set_external_addresses(at(0), &[WAN]);
    assert_eq!(table.len(), 3);
    table.set_external_addresses(at(0), &[elsewhere]);
    assert_eq!((table.len(), table.mappings_len()), (1, 0));
    let new = outbound(pc(2, 5000), remote(1, 443));
    assert_eq!(table.open(at(0), &new, EGRESS, &UDP), Err(FlowError::NoAddress));
    let id = open(&mut table, 0, outbound_by(elsewhere, pc(2, 5000), remote(1, 443)), &UDP);
    assert_eq!(key(&table, id, Reply).destination, Endpoint::new(elsewhere, 5000));
}

#[test]
fn each_external_address_has_mappings_and_ports_of_its_own() {
    let other = Ipv4Addr::new(192, 0, 2, 1);
    let mut table = table();
    table.set_external_addresses(at(0), &[WAN, other]);
    for external in [WAN, other] {
        let id =
            open(&mut table, 0, outbound_by(external, pc(2, 5000), remote(external.octets()[0], 443)), &UDP);
        assert_eq!(key(&table, id, Reply).destination, Endpoint::new(external, 5000));
        let mapping = table.mapping_by_external(Protocol::UDP, Endpoint::new(external, 5000));
        assert_eq!(table.flow(id).mapping(Original), mapping);
    }
    assert_eq!(table.mappings_len(), 2);
    // Which one goes makes no difference to the other.
    table.set_external_addresses(at(0), &[other]);
    assert_eq!((table.len(), table.mappings_len()), (1, 1));
    assert_eq!(
        table.flows().next().map(|(_, flow)| flow.key(Reply).destination),
        Some(Endpoint::new(other, 5000))
    );
    assert_eq!(table.mapping_by_external(Protocol::UDP, wan(5000)), None);
}

/// One table for each family, and the same code: with mappings, and of flows that are only tracked.
#[test]
fn flows_of_another_family_are_tracked_and_mapped_alike() {
    let mut table =
        FlowTable::<Ipv6Addr>::new(&nat(AddressDependent), Timeouts::default(), Shard::SOLE, [1; 32]);
    let (host, external, server) = (v6(1, 2), v6(9, 9), v6(7, 7));
    table.set_external_addresses(at(0), &[external]);
    let (inside, remote) = (Endpoint::new(host, 5000), Endpoint::new(server, 443));
    let binding = StaticMapping { inside, external: inside };
    let clients = [
        (Client::Static(binding), inside),
        (Client::Mapped { inside, external }, Endpoint::new(external, 5000)),
    ];
    for (client, seen_as) in clients {
        let new = NewFlow::Outbound { client, remote, source: Source::Unverified(PortId(0)) };
        let id = table.open(at(0), &new, EGRESS, &UDP).unwrap();
        let original = FlowKey { protocol: Protocol::UDP, source: inside, destination: remote };
        let reply = FlowKey { protocol: Protocol::UDP, source: remote, destination: seen_as };
        assert_eq!(table.lookup(&original), Some((id, Original)));
        assert_eq!(table.lookup(&reply), Some((id, Reply)));
        let Translation { source, destination, ip_delta, .. } = table.flow(id).translation(Original);
        assert_eq!((source, destination), (seen_as, remote));
        let is_tracked_only = seen_as == inside;
        let delta = Ipv6Addr::replace(Delta::NONE, host, seen_as.address);
        assert_eq!(ip_delta, if is_tracked_only { Delta::NONE } else { delta });
        assert_eq!(table.flow(id).nat.is_none(), is_tracked_only);
        table.track(at(0), id, Reply, &UDP).unwrap();
        table.remove(id);
    }
    assert_eq!((table.len(), table.mappings_len()), (0, 0));
}

#[test]
fn a_flow_has_a_translation_only_if_an_end_of_it_is_seen_otherwise_or_mapped() {
    let mut table = table_with(&nat(EndpointIndependent));
    let flows = [
        (forwarded(remote(1, 9), wan(22), wan(22)), true),
        (forwarded(remote(1, 9), wan(80), pc(2, 80)), false),
        (outbound(wan(5000), remote(1, 443)), false),
        (outbound(pc(2, 5001), remote(1, 443)), false),
    ];
    for (new, is_tracked_only) in flows {
        let id = open(&mut table, 0, new, &UDP);
        let flow = table.flow(id);
        assert_eq!(flow.nat.is_none(), is_tracked_only, "{new:?}");
        let is_mapped = Direction::BOTH.map(|direction| flow.mapping(direction).is_some());
        assert_eq!(is_mapped, [matches!(new, NewFlow::Outbound { .. }), false]);
        let back = flow.key(Reply);
        let there = flow.translation(Original);
        assert_eq!((there.source, there.destination), (back.destination, back.source));
        assert_eq!(table.lookup(&back), Some((id, Reply)));
    }
    let service =
        table.lookup(&FlowKey { protocol: Protocol::UDP, source: remote(1, 9), destination: wan(22) });
    let (id, _) = service.unwrap();
    assert_eq!(table.flow(id).key(Reply), table.flow(id).key(Original).reversed());

    let port = mapped_port(&mut table, pc(2, 5002));
    let id = open_to_port(&mut table, 0, remote(3, 3), port, &UDP).expect("anybody is let in");
    let is_mapped = Direction::BOTH.map(|direction| table.flow(id).mapping(direction).is_some());
    assert_eq!(is_mapped, [false, true]);
}

#[test]
fn the_whole_table_is_there_for_flows_of_either_kind() {
    let room = 64;
    let mut table = table_with(&Nat { flows_per_host_max: room.into(), ..nat(AddressAndPortDependent) });
    let by_port = |inside, port| {
        let client = Client::Static(StaticMapping { inside, external: wan(1) });
        NewFlow::Outbound { client, remote: remote(1, port), source: Source::Gateway }
    };
    for inside in [wan(1), pc(2, 1), wan(1)] {
        for port in 1..=room {
            converse(&mut table, 0, by_port(inside, port));
        }
        let refused = table.open(at(0), &by_port(inside, room + 1), EGRESS, &UDP);
        assert_eq!((refused, table.len(), table.recycled()), (Err(FlowError::HostLimit), room.into(), 0));
        let flows: Vec<_> = table.flows().map(|(id, flow)| (id, flow.key(Reply))).collect();
        for (id, key) in flows {
            assert_eq!(table.lookup(&key), Some((id, Reply)));
            assert_eq!(table.flow(id).nat.is_none(), inside == wan(1));
            table.remove(id);
        }
        assert_eq!(table.flows.end(), room.into(), "numbers are used again");
    }
}

#[test]
fn flows_of_both_kinds_share_the_bounds_of_the_table() {
    let room = 64;
    let limits = Nat { flows_max: room.into(), flows_per_host_max: 1024, filtering: AddressAndPortDependent };
    let mut table = table_with(&limits);
    let by_port = |inside, port| {
        let client = Client::Static(StaticMapping { inside, external: wan(1) });
        NewFlow::Outbound { client, remote: remote(1, port), source: Source::Gateway }
    };
    let (tracked, translated) = (wan(1), pc(2, 1));
    for tracked_of_three in 0..=3 {
        let secs = 1000 * u64::from(tracked_of_three);
        let inside = |port: u16| if port % 3 < tracked_of_three { tracked } else { translated };
        for port in 1..=room {
            converse(&mut table, secs, by_port(inside(port), port));
        }
        for kind in [tracked, translated] {
            let refused = table.open(at(secs), &by_port(kind, room + 1), EGRESS, &UDP);
            assert_eq!((refused, table.len()), (Err(FlowError::TableFull), room.into()));
        }
        // Each makes room for one of the other kind, which gets its number.
        for port in 1..=room {
            let key =
                |inside| FlowKey { protocol: Protocol::UDP, source: inside, destination: remote(1, port) };
            let (id, _) = table.lookup(&key(inside(port))).expect("it is open");
            let number = table.flow(id).entry.number;
            table.remove(id);
            let other = if inside(port) == tracked { translated } else { tracked };
            let id = converse(&mut table, secs, by_port(other, port));
            assert_eq!(
                (table.flow(id).entry.number, table.lookup(&key(other))),
                (number, Some((id, Original)))
            );
            assert_eq!(table.numbered(number).map(|flow| flow.key(Original)), Some(key(other)));
        }
        assert_eq!((table.len(), table.flows.end()), (room.into(), u32::from(room)));
        expire(&mut table, secs + 999);
        assert_eq!(table.len(), 0);
    }
}

#[test]
fn what_is_reserved_is_so_on_every_external_address() {
    let other = Ipv4Addr::new(192, 0, 2, 1);
    let mut table = table();
    table.set_reserved_ports(Protocol::UDP, [5000..=5000].into_iter());
    table.set_external_addresses(at(0), &[WAN, other]);
    for external in [WAN, other] {
        let id =
            open(&mut table, 0, outbound_by(external, pc(2, 5000), remote(external.octets()[0], 443)), &UDP);
        assert_ne!(external_port(&table, id), 5000);
    }
}

#[test]
fn no_more_external_addresses_are_taken_than_there_may_be() {
    let address = |last: usize| Ipv4Addr::new(192, 0, 2, last as u8);
    let addresses: Vec<_> = (0..=FlowTable::<Ipv4Addr>::EXTERNALS_MAX).map(address).collect();
    let mut table = table();
    table.set_external_addresses(at(0), &addresses);
    assert_eq!(
        table.external_addresses().collect::<Vec<_>>(),
        addresses[..FlowTable::<Ipv4Addr>::EXTERNALS_MAX]
    );
    let beyond = outbound_by(addresses[FlowTable::<Ipv4Addr>::EXTERNALS_MAX], pc(2, 5000), remote(1, 443));
    assert_eq!(table.open(at(0), &beyond, EGRESS, &UDP), Err(FlowError::NoAddress));
}

#[test]
fn only_flows_of_the_address_in_question_give_way_for_its_ports() {
    let other = Ipv4Addr::new(192, 0, 2, 1);
    let mut table = table();
    table.set_external_addresses(at(0), &[WAN, other]);
    table.set_reserved_ports(Protocol::UDP, [0..=4999, 5001..=65535].into_iter());
    let elsewhere = open(&mut table, 0, outbound_by(other, pc(2, 5000), remote(1, 443)), &UDP);
    let elsewhere = key(&table, elsewhere, Original);
    let here = open(&mut table, 0, outbound(pc(2, 5000), remote(2, 443)), &UDP);
    let here = key(&table, here, Original);
    open(&mut table, 1, outbound(pc(3, 5000), remote(1, 443)), &UDP);
    assert!(table.lookup(&elsewhere).is_some() && table.lookup(&here).is_none());
}

#[test]
fn a_port_that_becomes_reserved_is_taken_from_its_mapping() {
    let mut table = table();
    open(&mut table, 0, outbound(pc(2, 8443), remote(1, 443)), &SYN);
    open(&mut table, 0, outbound(pc(2, 8443), remote(1, 443)), &UDP);
    table.set_reserved_ports(Protocol::TCP, [8443..=8443].into_iter());
    assert_eq!(table.mapping_by_external(Protocol::TCP, wan(8443)), None);
    assert_eq!(table.len(), 1);
    let id = open(&mut table, 0, outbound(pc(2, 8443), remote(1, 443)), &SYN);
    assert_ne!(external_port(&table, id), 8443);
}

#[test]
fn exhausted_ports_refuse_a_new_mapping_and_serve_an_old_one() {
    let mut table = table();
    converse(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)));
    table.set_reserved_ports(Protocol::UDP, [0..=4999, 5001..=65535].into_iter());
    let new = outbound(pc(3, 5000), remote(1, 443));
    assert_eq!(table.open(at(0), &new, EGRESS, &UDP), Err(FlowError::PortsExhausted));
    open(&mut table, 0, outbound(pc(2, 5000), remote(2, 443)), &UDP);
}

#[test]
fn what_could_not_be_told_apart_is_refused_and_leaves_nothing() {
    let mut table = table();
    open(&mut table, 0, forwarded(remote(1, 6000), wan(8443), pc(20, 443)), &SYN);
    let same_target = forwarded(remote(1, 6000), wan(9443), pc(20, 443));
    assert_eq!(table.open(at(0), &same_target, EGRESS, &SYN), Err(FlowError::Ambiguous));
    let answer = outbound(pc(20, 443), remote(1, 6000));
    assert_eq!(table.open(at(0), &answer, EGRESS, &SYN), Err(FlowError::Ambiguous));
    assert_eq!((table.len(), table.mappings_len()), (1, 0));
}

#[test]
fn a_new_mapping_evades_the_default_machines_flow_to_the_same_remote() {
    let mut table = table();
    // The default host gets what arrives at any port; none is reserved for it.
    open(&mut table, 0, forwarded(remote(1, 6000), wan(5000), pc(30, 5000)), &UDP);
    let id = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 6000)), &UDP);
    let port = external_port(&table, id);
    assert!(port != 5000 && port.is_multiple_of(2) && port >= 1024, "{port}");
    assert_eq!(table.mapping_by_external(Protocol::UDP, wan(5000)), None, "the port is free again");
    // A mapping that is in use keeps its port, as it must be the same for all. (RFC 4787, REQ-1)
    open(&mut table, 0, outbound(pc(3, 5002), remote(2, 1)), &UDP);
    open(&mut table, 0, forwarded(remote(1, 6000), wan(5002), pc(30, 5002)), &UDP);
    let new = outbound(pc(3, 5002), remote(1, 6000));
    assert_eq!(table.open(at(0), &new, EGRESS, &UDP), Err(FlowError::Ambiguous));
}

#[test]
fn timeouts_are_handled_in_bounded_steps() {
    let flows = FlowTable::<Ipv4Addr>::EXPIRIES_MAX as u32 * 2;
    let mut table =
        table_with(&Nat { flows_max: 2 * flows, flows_per_host_max: flows, ..nat(EndpointIndependent) });
    for port in 1..=flows as u16 {
        open(&mut table, 0, outbound(pc(2, port), remote(1, 443)), &UDP);
    }
    table.handle_timeout(at(1000));
    assert_eq!(table.len(), FlowTable::<Ipv4Addr>::EXPIRIES_MAX);
    assert!(table.poll_timeout().unwrap() <= at(1000));
    table.handle_timeout(at(1000));
    assert_eq!((table.len(), table.poll_timeout()), (0, None));
}

#[test]
fn a_long_silence_makes_no_timer_early() {
    let mut table = table();
    open(&mut table, 10_000_000, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    assert_eq!(table.poll_timeout(), Some(at(10_000_300)));
}

#[test]
fn flows_can_be_ended_by_what_they_are() {
    let mut table = table();
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let kept = open(&mut table, 0, outbound(pc(3, 6000), remote(1, 443)), &UDP);
    table.remove_where(at(0), |flow| flow.host() == pc(2, 0).address);
    assert_eq!(table.flows().map(|(id, _)| id).collect::<Vec<_>>(), [kept]);
    assert_eq!(table.mappings_len(), 1);
    expire(&mut table, 1000);
    assert!(table.is_empty());
}

#[test]
fn announced_look_ups_find_the_same() {
    let mut table = table();
    let id = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    for key in [key(&table, id, Reply), key(&table, id, Reply).reversed()] {
        let hash = table.hash(&key);
        table.prefetch(hash);
        table.prefetch_flow(hash);
        assert_eq!(table.lookup_hashed(hash, &key), table.lookup(&key));
    }
}
