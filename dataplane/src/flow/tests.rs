//! The table's behaviour by requirement, with explicit times.

use std::collections::BTreeSet;

use super::*;
use crate::config::Segment;
use crate::wire::checksum::Sum;
use crate::wire::tcp::Flags;

const WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const EGRESS: [Egress; 2] = [Egress::Segment(Segment::Wan), Egress::Segment(Segment::Lan)];
const UDP: Packet = Packet { transport: Transport::Udp, octets: 100 };
const QUERY: Packet = Packet { transport: Transport::IcmpQuery, octets: 84 };
const SYN: Packet = tcp(Flags::SYN);
const RST: Packet = tcp(Flags::RST);
const ACK: Packet = tcp(Flags::ACK);
const SYN_ACK: Packet = tcp(Flags(Flags::SYN.0 | Flags::ACK.0));
const FIN: Packet = tcp(Flags(Flags::FIN.0 | Flags::ACK.0));

use Direction::{Original, Reply};
use Filtering::{AddressAndPortDependent, AddressDependent, EndpointIndependent};

const fn tcp(flags: Flags) -> Packet {
    Packet { transport: Transport::Tcp(flags), octets: 40 }
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
    let mut table = FlowTable::new(nat, Timeouts::default(), [1; 32]);
    table.set_external_address(Some(WAN));
    table
}

fn table() -> FlowTable {
    table_with(&nat(AddressAndPortDependent))
}

fn outbound(client: Endpoint, remote: Endpoint) -> NewFlow {
    NewFlow::Outbound { client: Client::Mapped(client), remote }
}

fn forwarded(remote: Endpoint, external: Endpoint, inside: Endpoint) -> NewFlow {
    NewFlow::Inbound { remote, server: Server::Static(Binding { inside, external }) }
}

fn open(table: &mut FlowTable, secs: u64, new: NewFlow, packet: &Packet) -> FlowId {
    table.open(at(secs), &new, EGRESS, packet).unwrap()
}

/// What arrives from outside for a mapping: a new flow if it is let in.
fn knock(
    table: &mut FlowTable,
    secs: u64,
    from: Endpoint,
    port: u16,
    packet: &Packet,
) -> Result<FlowId, Refused> {
    let mapping = table.mapping_by_external(packet.transport.protocol(), port).expect("a mapping");
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

// What a flow is.

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

// RFC 4787.

#[test]
fn rfc4787_req1_one_inside_endpoint_has_one_external_endpoint() {
    let mut table = table();
    open(&mut table, 0, outbound(pc(3, 5000), remote(1, 1)), &UDP);
    let first = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let second = open(&mut table, 0, outbound(pc(2, 5000), remote(2, 53)), &UDP);
    assert_eq!(external_port(&table, first), external_port(&table, second));
    assert_eq!(table.mappings_len(), 2);
}

#[test]
fn rfc7857_section_5_mappings_of_two_protocols_are_apart() {
    let mut table = table();
    let udp = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let tcp = open(&mut table, 0, outbound(pc(3, 5000), remote(1, 443)), &SYN);
    assert_eq!((external_port(&table, udp), external_port(&table, tcp)), (5000, 5000));
    assert_eq!(table.mappings_len(), 2);
}

#[test]
fn rfc4787_req3_two_hosts_never_share_an_external_port() {
    let mut table = table();
    let ports: BTreeSet<_> = (2..40).map(|host| mapped_port(&mut table, pc(host, 5000))).collect();
    assert_eq!(ports.len(), 38);
}

#[test]
fn rfc4787_req5_udp_lives_five_minutes_and_never_less() {
    let mut table = table();
    let start = Instant::from_millis(500);
    let id = table.open(start, &outbound(pc(2, 5000), remote(1, 443)), EGRESS, &UDP).unwrap();
    let key = key(&table, id, Reply);
    table.handle_timeout(Instant::from_millis(300_499));
    assert!(table.lookup(&key).is_some());
    assert!(lives(&mut table, 300, &key));
    assert!(!lives(&mut table, 301, &key));
    assert_eq!((table.len(), table.mappings_len(), table.poll_timeout()), (0, 0, None));
}

#[test]
fn rfc4787_req6_outbound_refreshes_every_flow_it_goes_through() {
    let mut table = table();
    let id = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let key = key(&table, id, Reply);
    for secs in [299, 598, 897] {
        assert!(lives(&mut table, secs, &key));
        track(&mut table, secs, id, Original, &UDP);
    }
    assert!(lives(&mut table, 1196, &key));
    assert!(!lives(&mut table, 1197, &key));
}

#[test]
fn rfc4787_req6_inbound_does_not_refresh() {
    let mut table = table();
    let id = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let key = key(&table, id, Reply);
    for secs in 1..300 {
        track(&mut table, secs, id, Reply, &UDP);
    }
    assert!(!lives(&mut table, 300, &key));
}

#[test]
fn rfc4787_req6_a_flow_from_outside_does_not_prolong_the_mapping() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    for secs in (0..300).step_by(10) {
        knock(&mut table, secs, remote(2, 1000 + secs as u16), 5000, &UDP).unwrap();
    }
    expire(&mut table, 299);
    assert_eq!(table.mappings_len(), 1);
    expire(&mut table, 300);
    assert_eq!((table.len(), table.mappings_len()), (0, 0));
}

#[test]
fn rfc4787_req6_an_answer_to_a_flow_from_outside_prolongs_the_mapping() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let inbound = knock(&mut table, 200, remote(2, 1000), 5000, &UDP).unwrap();
    track(&mut table, 250, inbound, Reply, &UDP);
    expire(&mut table, 549);
    assert_eq!((table.len(), table.mappings_len()), (1, 1));
    assert!(knock(&mut table, 549, remote(3, 1000), 5000, &UDP).is_ok());
    expire(&mut table, 550);
    assert_eq!((table.len(), table.mappings_len()), (0, 0));
}

#[test]
fn rfc4787_req8_endpoint_independent_filtering_admits_anybody() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let id = knock(&mut table, 1, remote(9, 9), 5000, &UDP).unwrap();
    assert_eq!(table.flow(id).translation(Original).destination, pc(2, 5000));
}

#[test]
fn rfc4787_req8_address_dependent_filtering_admits_an_address_that_was_sent_to() {
    let mut table = table_with(&nat(AddressDependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    open(&mut table, 0, outbound(pc(3, 6000), remote(9, 443)), &UDP);
    assert_eq!(knock(&mut table, 1, remote(9, 443), 5000, &UDP), Err(Refused::Filtered));
    let inbound = knock(&mut table, 100, remote(1, 9), 5000, &UDP).unwrap();
    let key = key(&table, inbound, Original);
    assert!(lives(&mut table, 299, &key), "as long as the mapping");
    assert!(!lives(&mut table, 300, &key));
}

#[test]
fn rfc4787_req8_only_what_the_inside_sends_opens_the_filter_for_an_address() {
    let mut table = table_with(&nat(AddressDependent));
    let keeper = open(&mut table, 0, outbound(pc(2, 5000), remote(2, 53)), &UDP);
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    track(&mut table, 200, keeper, Original, &UDP);
    let silent = knock(&mut table, 250, remote(1, 1), 5000, &UDP).unwrap();
    expire(&mut table, 300);
    assert_eq!(table.flow(silent).state(), State::Udp);
    assert_eq!(knock(&mut table, 300, remote(1, 2), 5000, &UDP), Err(Refused::Filtered));
    track(&mut table, 301, silent, Reply, &UDP);
    assert!(knock(&mut table, 302, remote(1, 2), 5000, &UDP).is_ok());
}

#[test]
fn rfc4787_req8_address_and_port_dependent_filtering_admits_only_flows() {
    let mut table = table();
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    assert_eq!(knock(&mut table, 1, remote(1, 444), 5000, &UDP), Err(Refused::Filtered));
}

#[test]
fn a_refused_packet_reserves_and_refreshes_nothing() {
    let mut table = table();
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    knock(&mut table, 299, remote(2, 9), 5000, &UDP).unwrap_err();
    assert_eq!((table.len(), table.hosts.count(pc(2, 0).address)), (1, 1));
    expire(&mut table, 300);
    assert_eq!((table.len(), table.mappings_len()), (0, 0));
}

#[test]
fn filtering_can_be_changed_while_flows_go_on() {
    let mut table = table();
    let id = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    table.configure(&nat(AddressDependent));
    knock(&mut table, 1, remote(1, 9), 5000, &UDP).unwrap();
    knock(&mut table, 1, remote(2, 9), 5000, &UDP).unwrap_err();
    table.remove(id);
    knock(&mut table, 1, remote(1, 10), 5000, &UDP).unwrap_err();
    table.configure(&nat(EndpointIndependent));
    knock(&mut table, 1, remote(2, 9), 5000, &UDP).unwrap();
}

#[test]
fn rfc4787_req9a_hairpin_source_is_external() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let server = Server::Mapped(table.mapping_by_external(Protocol::UDP, 5000).unwrap());
    let client = Client::Mapped(pc(3, 7000));
    let id = open(&mut table, 0, NewFlow::Hairpin { client, server }, &UDP);
    let there = table.flow(id).translation(Original);
    assert_eq!((there.source, there.destination), (wan(7000), pc(2, 5000)));
    let back = FlowKey { protocol: Protocol::UDP, source: pc(2, 5000), destination: wan(7000) };
    assert_eq!(table.lookup(&back), Some((id, Reply)));
    let here = table.flow(id).translation(Reply);
    assert_eq!((here.source, here.destination), (wan(5000), pc(3, 7000)));
}

#[test]
fn rfc4787_req9_two_hosts_meet_by_sending_to_each_other_whatever_the_filter() {
    for filtering in [AddressDependent, AddressAndPortDependent] {
        let mut table = table_with(&nat(filtering));
        open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
        open(&mut table, 0, outbound(pc(3, 7000), remote(1, 443)), &UDP);
        let server = Server::Mapped(table.mapping_by_external(Protocol::UDP, 5000).unwrap());
        let new = NewFlow::Hairpin { client: Client::Mapped(pc(3, 7000)), server };
        assert_eq!(table.open(at(1), &new, EGRESS, &UDP), Err(Refused::Filtered));
        let out = FlowKey { protocol: Protocol::UDP, source: pc(3, 7000), destination: wan(5000) };
        let (id, _) = table.lookup(&out).expect("the client's half is open");
        assert_eq!(table.track(at(2), id, Original, &UDP), Err(Refused::Filtered));
        assert_eq!(table.flow(id).traffic(Original).packets, 0);
        track(&mut table, 3, id, Reply, &UDP);
        track(&mut table, 4, id, Original, &UDP);
    }
}

#[test]
fn rfc4787_req9_a_host_reaches_itself_by_its_external_endpoint() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let server = Server::Mapped(table.mapping_by_external(Protocol::UDP, 5000).unwrap());
    let id = open(&mut table, 0, NewFlow::Hairpin { client: Client::Mapped(pc(2, 5000)), server }, &UDP);
    let key = key(&table, id, Original);
    assert_eq!(key, table.flow(id).key(Reply));
    let translation = table.flow(id).translation(Original);
    assert_eq!((translation.source, translation.destination), (wan(5000), pc(2, 5000)));
    assert_eq!(table.lookup(&key).unwrap().0, id);
    expire(&mut table, 300);
    assert_eq!((table.len(), table.mappings_len()), (0, 0));
}

#[test]
fn rfc4787_req9_hairpin_to_a_forward_needs_no_admission() {
    let mut table = table();
    let binding = Binding { inside: pc(20, 443), external: wan(8443) };
    let new = NewFlow::Hairpin { client: Client::Mapped(pc(2, 5000)), server: Server::Static(binding) };
    let id = open(&mut table, 0, new, &SYN);
    let there = table.flow(id).translation(Original);
    assert_eq!((there.source, there.destination), (wan(5000), pc(20, 443)));
}

#[test]
fn hairpin_packets_of_the_client_do_not_hold_the_servers_mapping_open_to_others() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let server = Server::Mapped(table.mapping_by_external(Protocol::UDP, 5000).unwrap());
    let id = open(&mut table, 0, NewFlow::Hairpin { client: Client::Mapped(pc(3, 7000)), server }, &UDP);
    track(&mut table, 200, id, Original, &UDP);
    expire(&mut table, 300);
    assert_eq!(knock(&mut table, 300, remote(2, 1), 5000, &UDP), Err(Refused::Filtered));
    assert!(knock(&mut table, 300, remote(2, 1), 7000, &UDP).is_ok());
}

#[test]
fn rfc4787_req11_the_same_packets_get_the_same_ports() {
    let run = || {
        let mut table = table();
        (2..30).map(|host| mapped_port(&mut table, pc(host, 5000))).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

// RFC 5382 and 7857.

/// An established connection from the inside, opened at 0.
fn established(table: &mut FlowTable) -> (FlowId, FlowKey) {
    let id = open(table, 0, outbound(pc(2, 5000), remote(1, 443)), &SYN);
    track(table, 0, id, Reply, &SYN_ACK);
    track(table, 0, id, Original, &ACK);
    (id, key(table, id, Original))
}

#[test]
fn rfc5382_req1_tcp_mappings_are_endpoint_independent() {
    let mut table = table();
    open(&mut table, 0, outbound(pc(3, 5000), remote(1, 443)), &SYN);
    let first = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &SYN);
    let second = open(&mut table, 0, outbound(pc(2, 5000), remote(2, 80)), &SYN);
    assert_eq!(external_port(&table, first), external_port(&table, second));
}

#[test]
fn rfc5382_req2_simultaneous_open() {
    let mut table = table();
    let id = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &SYN);
    track(&mut table, 0, id, Reply, &SYN);
    track(&mut table, 0, id, Original, &SYN_ACK);
    assert_eq!(table.flow(id).state(), State::Tcp(tcp::Phase::Opening));
    track(&mut table, 0, id, Reply, &SYN_ACK);
    assert_eq!(table.flow(id).state(), State::Tcp(tcp::Phase::Established));
}

#[test]
fn rfc5382_req3_a_syn_from_outside_is_admitted_as_the_filter_says() {
    let mut open_table = table_with(&nat(EndpointIndependent));
    open(&mut open_table, 0, outbound(pc(2, 5000), remote(1, 443)), &SYN);
    assert!(knock(&mut open_table, 1, remote(2, 1), 5000, &SYN).is_ok());
    let mut closed = table();
    open(&mut closed, 0, outbound(pc(2, 5000), remote(1, 443)), &SYN);
    assert_eq!(knock(&mut closed, 1, remote(2, 1), 5000, &SYN), Err(Refused::Filtered));
}

#[test]
fn rfc5382_req5_established_lives_two_hours_four_minutes() {
    let mut table = table();
    let (id, key) = established(&mut table);
    assert!(lives(&mut table, 7439, &key));
    track(&mut table, 7439, id, Reply, &ACK);
    assert!(lives(&mut table, 7439 + 7439, &key), "either side keeps it");
    assert!(!lives(&mut table, 7439 + 7440, &key));
}

#[test]
fn rfc5382_req5_opening_lives_four_minutes() {
    let mut table = table();
    let id = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &SYN);
    let key = key(&table, id, Original);
    track(&mut table, 10, id, Original, &SYN);
    track(&mut table, 100, id, Reply, &SYN_ACK);
    assert!(lives(&mut table, 249, &key));
    assert!(!lives(&mut table, 250, &key), "what comes from outside refreshes no opening");
}

#[test]
fn rfc5382_req5_closing_lives_four_minutes() {
    let mut table = table();
    let (id, key) = established(&mut table);
    track(&mut table, 10, id, Original, &FIN);
    assert!(lives(&mut table, 7000, &key), "half-closed is established");
    track(&mut table, 7000, id, Reply, &FIN);
    track(&mut table, 7001, id, Original, &ACK);
    track(&mut table, 7100, id, Reply, &FIN);
    assert_eq!(table.flow(id).state(), State::Tcp(tcp::Phase::Closing));
    assert!(lives(&mut table, 7240, &key));
    assert!(!lives(&mut table, 7241, &key));
}

#[test]
fn rfc7857_section_2_2_after_an_rst_the_state_stays_four_minutes() {
    let mut table = table();
    let (id, key) = established(&mut table);
    track(&mut table, 10, id, Reply, &RST);
    track(&mut table, 100, id, Reply, &RST);
    assert_eq!(table.flow(id).state(), State::Tcp(tcp::Phase::Reset));
    assert!(lives(&mut table, 249, &key));
    assert!(!lives(&mut table, 250, &key));

    let refused = open(&mut table, 300, outbound(pc(2, 5001), remote(1, 443)), &SYN);
    let key = self::key(&table, refused, Original);
    track(&mut table, 310, refused, Reply, &RST);
    assert!(lives(&mut table, 549, &key));
    assert!(!lives(&mut table, 550, &key));
}

#[test]
fn a_forged_rst_does_not_end_a_connection_that_goes_on() {
    let mut table = table();
    let (id, key) = established(&mut table);
    track(&mut table, 10, id, Reply, &RST);
    track(&mut table, 20, id, Original, &ACK);
    assert_eq!(table.flow(id).state(), State::Tcp(tcp::Phase::Established));
    assert!(lives(&mut table, 7459, &key));
    assert!(!lives(&mut table, 7460, &key));
}

#[test]
fn rfc7857_section_7_1_an_rst_in_answer_does_not_refresh() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &SYN);
    for secs in (1..240).step_by(20) {
        let id = knock(&mut table, secs, remote(2, secs as u16), 5000, &SYN).unwrap();
        track(&mut table, secs, id, Reply, &RST);
    }
    expire(&mut table, 239);
    assert_eq!(table.mappings_len(), 1);
    expire(&mut table, 240);
    assert_eq!((table.len(), table.mappings_len()), (0, 0));
}

#[test]
fn an_outsider_alone_keeps_no_connection_open() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &SYN);
    let id = knock(&mut table, 1, remote(2, 1), 5000, &SYN).unwrap();
    for secs in 2..240 {
        track(&mut table, secs, id, Original, if secs % 2 == 0 { &RST } else { &SYN });
    }
    expire(&mut table, 240);
    assert_eq!((table.len(), table.mappings_len()), (0, 0));
}

#[test]
fn a_server_that_answers_a_flood_of_syns_holds_nothing_for_hours() {
    let mut table = table();
    let id = open(&mut table, 0, forwarded(remote(1, 6000), wan(80), pc(20, 80)), &SYN);
    let key = key(&table, id, Original);
    track(&mut table, 1, id, Reply, &SYN_ACK);
    assert!(!lives(&mut table, 241, &key));
}

#[test]
fn a_new_syn_reuses_the_ports_of_a_connection_that_is_closing() {
    let mut table = table();
    let (id, key) = established(&mut table);
    track(&mut table, 10, id, Reply, &FIN);
    track(&mut table, 10, id, Original, &FIN);
    track(&mut table, 20, id, Original, &SYN);
    assert_eq!(table.flow(id).state(), State::Tcp(tcp::Phase::Opening));
    track(&mut table, 20, id, Reply, &SYN_ACK);
    track(&mut table, 20, id, Original, &ACK);
    assert!(lives(&mut table, 7459, &key));
}

#[test]
fn only_a_syn_opens_a_connection() {
    let mut table = table();
    for packet in [ACK, FIN, RST, SYN_ACK] {
        let new = outbound(pc(2, 5000), remote(1, 443));
        assert_eq!(table.open(at(0), &new, EGRESS, &packet), Err(Refused::TcpState));
    }
    assert_eq!((table.len(), table.mappings_len()), (0, 0));
}

#[test]
fn a_segment_that_fits_no_state_changes_nothing() {
    let mut table = table();
    let id = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &SYN);
    let before = format!("{:?}", table.flow(id));
    assert_eq!(table.track(at(1), id, Original, &FIN), Err(Refused::TcpState));
    assert_eq!(format!("{:?}", table.flow(id)), before);
}

// RFC 5508.

#[test]
fn rfc5508_req1_query_mappings_are_endpoint_independent_and_exclusive() {
    let mut table = table();
    let first = open(&mut table, 0, outbound(pc(2, 77), remote(1, 0)), &QUERY);
    let second = open(&mut table, 0, outbound(pc(2, 77), remote(2, 0)), &QUERY);
    let other = open(&mut table, 0, outbound(pc(3, 77), remote(1, 0)), &QUERY);
    assert_eq!((external_port(&table, first), external_port(&table, second)), (77, 77));
    assert_ne!(external_port(&table, other), 77);
}

#[test]
fn rfc5508_req2_queries_live_a_minute() {
    let mut table = table();
    let id = open(&mut table, 0, outbound(pc(2, 77), remote(1, 0)), &QUERY);
    let key = key(&table, id, Reply);
    track(&mut table, 30, id, Original, &QUERY);
    track(&mut table, 80, id, Reply, &QUERY);
    assert!(lives(&mut table, 89, &key));
    assert!(!lives(&mut table, 90, &key));
}

#[test]
fn two_hosts_that_ping_each_other_with_one_identifier_have_two_flows() {
    let mut table = table();
    let out = open(&mut table, 0, outbound(wan(77), remote(1, 0)), &QUERY);
    let server = Binding { inside: wan(0), external: wan(0) };
    let new = NewFlow::Inbound { remote: remote(1, 77), server: Server::Static(server) };
    let back = open(&mut table, 0, new, &QUERY);
    assert_ne!(out, back);
}

#[test]
fn no_query_is_let_in_to_a_mapping() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 77), remote(1, 0)), &QUERY);
    assert_eq!(knock(&mut table, 0, remote(2, 0), 77, &QUERY), Err(Refused::Filtered));
}

// Limits and changes.

#[test]
fn a_full_table_refuses_what_is_new_and_keeps_what_is_there() {
    let mut table = table_with(&Nat { flows_max: 2, ..nat(AddressAndPortDependent) });
    let kept = open(&mut table, 0, outbound(pc(2, 1), remote(1, 443)), &UDP);
    open(&mut table, 0, outbound(pc(3, 2), remote(1, 443)), &UDP);
    let new = outbound(pc(4, 3), remote(1, 443));
    assert_eq!(table.open(at(0), &new, EGRESS, &UDP), Err(Refused::TableFull));
    assert_eq!(table.mappings_len(), 2);
    track(&mut table, 1, kept, Original, &UDP);
    table.remove(kept);
    assert!(table.open(at(1), &new, EGRESS, &UDP).is_ok());
}

#[test]
fn one_host_cannot_take_the_table_from_others() {
    let mut table = table_with(&Nat { flows_per_host_max: 2, ..nat(AddressAndPortDependent) });
    let first = open(&mut table, 0, outbound(pc(2, 1), remote(1, 443)), &UDP);
    open(&mut table, 0, forwarded(remote(1, 9), wan(80), pc(2, 80)), &SYN);
    let new = outbound(pc(2, 2), remote(1, 443));
    assert_eq!(table.open(at(0), &new, EGRESS, &UDP), Err(Refused::HostLimit));
    open(&mut table, 0, outbound(pc(3, 1), remote(1, 443)), &UDP);
    table.remove(first);
    assert!(table.open(at(1), &new, EGRESS, &UDP).is_ok());
}

#[test]
fn limits_can_be_raised_and_lowered_while_flows_go_on() {
    let limited = |flows_max| Nat { flows_max, flows_per_host_max: 4096, ..nat(AddressAndPortDependent) };
    let mut table = table_with(&limited(4));
    table.configure(&limited(3000));
    for port in 1..=3000 {
        open(&mut table, 0, outbound(pc(2, port), remote(1, 443)), &UDP);
    }
    table.configure(&limited(1));
    assert_eq!(table.len(), 3000);
    let new = outbound(pc(2, 5000), remote(1, 443));
    assert_eq!(table.open(at(0), &new, EGRESS, &UDP), Err(Refused::TableFull));
    assert!(table.flows().all(|(id, flow)| table.lookup(&flow.key(Reply)) == Some((id, Reply))));
}

#[test]
fn without_an_external_address_nothing_is_mapped() {
    let mut table = FlowTable::new(&nat(AddressAndPortDependent), Timeouts::default(), [1; 32]);
    let new = outbound(pc(2, 5000), remote(1, 443));
    assert_eq!(table.open(at(0), &new, EGRESS, &UDP), Err(Refused::NoAddress));
}

#[test]
fn a_new_external_address_ends_what_went_through_the_old_one() {
    let mut table = table();
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    open(&mut table, 0, forwarded(remote(1, 6000), wan(8443), pc(20, 443)), &SYN);
    let elsewhere = Ipv4Addr::new(192, 0, 2, 1);
    let routed = Binding { inside: pc(4, 1), external: pc(4, 1) };
    let untouched = NewFlow::Outbound { client: Client::Static(routed), remote: remote(1, 2) };
    open(&mut table, 0, untouched, &UDP);
    table.set_external_address(Some(WAN));
    assert_eq!(table.len(), 3);
    table.set_external_address(Some(elsewhere));
    assert_eq!((table.len(), table.mappings_len()), (1, 0));
    let id = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    assert_eq!(key(&table, id, Reply).destination, Endpoint::new(elsewhere, 5000));
}

#[test]
fn a_port_that_becomes_reserved_is_taken_from_its_mapping() {
    let mut table = table();
    open(&mut table, 0, outbound(pc(2, 8443), remote(1, 443)), &SYN);
    open(&mut table, 0, outbound(pc(2, 8443), remote(1, 443)), &UDP);
    table.set_reserved_ports(Protocol::TCP, [8443..=8443].into_iter());
    assert_eq!(table.mapping_by_external(Protocol::TCP, 8443), None);
    assert_eq!(table.len(), 1);
    let id = open(&mut table, 0, outbound(pc(2, 8443), remote(1, 443)), &SYN);
    assert_ne!(external_port(&table, id), 8443);
}

#[test]
fn exhausted_ports_refuse_a_new_mapping_and_serve_an_old_one() {
    let mut table = table();
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    table.set_reserved_ports(Protocol::UDP, [0..=4999, 5001..=65535].into_iter());
    let new = outbound(pc(3, 5000), remote(1, 443));
    assert_eq!(table.open(at(0), &new, EGRESS, &UDP), Err(Refused::PortsExhausted));
    open(&mut table, 0, outbound(pc(2, 5000), remote(2, 443)), &UDP);
}

#[test]
fn what_could_not_be_told_apart_is_refused_and_leaves_nothing() {
    let mut table = table();
    open(&mut table, 0, forwarded(remote(1, 6000), wan(8443), pc(20, 443)), &SYN);
    let same_target = forwarded(remote(1, 6000), wan(9443), pc(20, 443));
    assert_eq!(table.open(at(0), &same_target, EGRESS, &SYN), Err(Refused::Ambiguous));
    let answer = outbound(pc(20, 443), remote(1, 6000));
    assert_eq!(table.open(at(0), &answer, EGRESS, &SYN), Err(Refused::Ambiguous));
    assert_eq!((table.len(), table.mappings_len()), (1, 0));
}

#[test]
fn timeouts_are_handled_in_bounded_steps() {
    let flows = FlowTable::<Ipv4Addr>::EXPIRIES_MAX as u32 * 2;
    let mut table =
        table_with(&Nat { flows_max: flows, flows_per_host_max: flows, ..nat(EndpointIndependent) });
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
fn flows_can_be_ended_by_what_they_are() {
    let mut table = table();
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let kept = open(&mut table, 0, outbound(pc(3, 6000), remote(1, 443)), &UDP);
    table.remove_where(|flow| flow.host() == pc(2, 0).address);
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
