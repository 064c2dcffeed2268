//! NAT behaviour for UDP. (RFC 4787)

use super::*;

/// RFC 4787, REQ-1: One inside endpoint has one external endpoint.
#[test]
fn rfc4787_req1_one_inside_endpoint_has_one_external_endpoint() {
    let mut table = table();
    open(&mut table, 0, outbound(pc(3, 5000), remote(1, 1)), &UDP);
    let first = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let second = open(&mut table, 0, outbound(pc(2, 5000), remote(2, 53)), &UDP);
    assert_eq!(external_port(&table, first), external_port(&table, second));
    assert_eq!(table.mappings_len(), 2);
}

/// RFC 7857, section 5: Mappings of two protocols are apart.
#[test]
fn rfc7857_section_5_mappings_of_two_protocols_are_apart() {
    let mut table = table();
    let udp = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let tcp = open(&mut table, 0, outbound(pc(3, 5000), remote(1, 443)), &SYN);
    assert_eq!((external_port(&table, udp), external_port(&table, tcp)), (5000, 5000));
    assert_eq!(table.mappings_len(), 2);
}

/// RFC 4787, REQ-3: Two hosts never share an external port.
#[test]
fn rfc4787_req3_two_hosts_never_share_an_external_port() {
    let mut table = table();
    let ports: BTreeSet<_> = (2..40).map(|host| mapped_port(&mut table, pc(host, 5000))).collect();
    assert_eq!(ports.len(), 38);
}

/// RFC 4787, REQ-5: UDP lives five minutes and never less.
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

/// RFC 4787, REQ-6: Outbound refreshes every flow it goes through.
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

/// RFC 4787, REQ-6: Inbound does not refresh.
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

/// RFC 4787, REQ-6: A flow from outside does not prolong the mapping.
#[test]
fn rfc4787_req6_a_flow_from_outside_does_not_prolong_the_mapping() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    for secs in (0..300).step_by(10) {
        open_to_port(&mut table, secs, remote((2 + secs / 10) as u8, 1000), 5000, &UDP).unwrap();
    }
    expire(&mut table, 299);
    assert_eq!(table.mappings_len(), 1);
    expire(&mut table, 300);
    assert_eq!((table.len(), table.mappings_len()), (0, 0));
}

/// RFC 4787, REQ-6: An answer to a flow from outside prolongs the mapping.
#[test]
fn rfc4787_req6_an_answer_to_a_flow_from_outside_prolongs_the_mapping() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let inbound = open_to_port(&mut table, 200, remote(2, 1000), 5000, &UDP).unwrap();
    track(&mut table, 250, inbound, Reply, &UDP);
    expire(&mut table, 549);
    assert_eq!((table.len(), table.mappings_len()), (1, 1));
    assert!(open_to_port(&mut table, 549, remote(3, 1000), 5000, &UDP).is_ok());
    expire(&mut table, 550);
    assert_eq!((table.len(), table.mappings_len()), (0, 0));
}

/// RFC 4787, REQ-8: Endpoint-independent filtering admits every remote.
#[test]
fn rfc4787_req8_endpoint_independent_filtering_admits_anybody() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let id = open_to_port(&mut table, 1, remote(9, 9), 5000, &UDP).unwrap();
    assert_eq!(table.flow(id).translation(Original).destination, pc(2, 5000));
}

/// RFC 4787, REQ-8: Address dependent filtering admits an address that was sent to.
#[test]
fn rfc4787_req8_address_dependent_filtering_admits_an_address_that_was_sent_to() {
    let mut table = table_with(&nat(AddressDependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    open(&mut table, 0, outbound(pc(3, 6000), remote(9, 443)), &UDP);
    assert_eq!(open_to_port(&mut table, 1, remote(9, 443), 5000, &UDP), Err(FlowError::Filtered));
    let inbound = open_to_port(&mut table, 100, remote(1, 9), 5000, &UDP).unwrap();
    let key = key(&table, inbound, Original);
    assert!(lives(&mut table, 299, &key), "as long as the mapping");
    assert!(!lives(&mut table, 300, &key));
}

/// RFC 4787, REQ-8: Only what the inside sends opens the filter for an address.
#[test]
fn rfc4787_req8_only_what_the_inside_sends_opens_the_filter_for_an_address() {
    let mut table = table_with(&nat(AddressDependent));
    let keeper = open(&mut table, 0, outbound(pc(2, 5000), remote(2, 53)), &UDP);
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    track(&mut table, 200, keeper, Original, &UDP);
    let silent = open_to_port(&mut table, 250, remote(1, 1), 5000, &UDP).unwrap();
    expire(&mut table, 300);
    assert_eq!(table.flow(silent).state(), State::Udp);
    assert_eq!(open_to_port(&mut table, 300, remote(1, 2), 5000, &UDP), Err(FlowError::Filtered));
    track(&mut table, 301, silent, Reply, &UDP);
    assert!(open_to_port(&mut table, 302, remote(1, 2), 5000, &UDP).is_ok());
}

/// RFC 4787, REQ-8: Address and port dependent filtering admits only flows.
#[test]
fn rfc4787_req8_address_and_port_dependent_filtering_admits_only_flows() {
    let mut table = table();
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    assert_eq!(open_to_port(&mut table, 1, remote(1, 444), 5000, &UDP), Err(FlowError::Filtered));
}

#[test]
fn a_refused_packet_reserves_and_refreshes_nothing() {
    let mut table = table();
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    open_to_port(&mut table, 299, remote(2, 9), 5000, &UDP).unwrap_err();
    assert_eq!(table.len(), 1);
    assert_eq!(table.quotas.count(Quota::Server(pc(2, 0).address)), 0);
    expire(&mut table, 300);
    assert_eq!((table.len(), table.mappings_len()), (0, 0));
}

#[test]
fn filtering_can_be_changed_while_flows_go_on() {
    let mut table = table();
    let id = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    table.configure(&nat(AddressDependent));
    open_to_port(&mut table, 1, remote(1, 9), 5000, &UDP).unwrap();
    open_to_port(&mut table, 1, remote(2, 9), 5000, &UDP).unwrap_err();
    table.remove(id);
    open_to_port(&mut table, 1, remote(1, 10), 5000, &UDP).unwrap_err();
    table.configure(&nat(EndpointIndependent));
    open_to_port(&mut table, 1, remote(2, 9), 5000, &UDP).unwrap();
}

/// An inside host's packet to the external `port`: out by a flow of its own, if it has none, and in again.
fn hairpin(table: &mut FlowTable, secs: u64, from: Endpoint, port: u16) -> Result<Translation, FlowError> {
    let out = FlowKey { protocol: Protocol::UDP, source: from, destination: wan(port) };
    let seen_from = follow(table, secs, out, |_| outbound(from, wan(port)))?.source;
    let back_in = FlowKey { source: seen_from, ..out };
    follow(table, secs, back_in, |table| {
        let server = Server::Mapped(table.mapping_by_external(Protocol::UDP, wan(port)).expect("a mapping"));
        NewFlow::Inbound { remote: seen_from, server }
    })
}

/// Takes a packet with `key` by its flow, or by the one that it opens.
fn follow(
    table: &mut FlowTable,
    secs: u64,
    key: FlowKey,
    new: impl FnOnce(&FlowTable) -> NewFlow,
) -> Result<Translation, FlowError> {
    let (id, direction) = match table.lookup(&key) {
        Some((id, direction)) => {
            table.track(at(secs), id, direction, &UDP)?;
            (id, direction)
        }
        None => {
            let new = new(table);
            (table.open(at(secs), &new, EGRESS, &UDP)?, Original)
        }
    };
    Ok(table.flow(id).translation(direction))
}

/// RFC 4787, REQ-9a: Hairpin source is external.
#[test]
fn rfc4787_req9a_hairpin_source_is_external() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    let there = hairpin(&mut table, 0, pc(3, 7000), 5000).unwrap();
    assert_eq!((there.source, there.destination), (wan(7000), pc(2, 5000)));
    let here = hairpin(&mut table, 0, pc(2, 5000), 7000).unwrap();
    assert_eq!((here.source, here.destination), (wan(5000), pc(3, 7000)));
}

/// RFC 4787, REQ-9: Two hosts meet by sending to each other whatever the filter.
#[test]
fn rfc4787_req9_two_hosts_meet_by_sending_to_each_other_whatever_the_filter() {
    for filtering in [AddressDependent, AddressAndPortDependent] {
        let mut table = table_with(&nat(filtering));
        open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
        open(&mut table, 0, outbound(pc(3, 7000), remote(1, 443)), &UDP);
        for secs in [1, 2] {
            assert_eq!(hairpin(&mut table, secs, pc(3, 7000), 5000), Err(FlowError::Filtered));
        }
        let met = hairpin(&mut table, 3, pc(2, 5000), 7000).unwrap();
        assert_eq!((met.source, met.destination), (wan(5000), pc(3, 7000)));
        let met = hairpin(&mut table, 4, pc(3, 7000), 5000).unwrap();
        assert_eq!((met.source, met.destination), (wan(7000), pc(2, 5000)));
    }
}

/// RFC 4787, REQ-9: A host reaches itself by its external endpoint.
#[test]
fn rfc4787_req9_a_host_reaches_itself_by_its_external_endpoint() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    for secs in [0, 1] {
        let translation = hairpin(&mut table, secs, pc(2, 5000), 5000).unwrap();
        assert_eq!((translation.source, translation.destination), (wan(5000), pc(2, 5000)));
    }
    expire(&mut table, 301);
    assert_eq!((table.len(), table.mappings_len()), (0, 0));
}

/// RFC 4787, REQ-9: Hairpin to a forward needs no admission.
#[test]
fn rfc4787_req9_hairpin_to_a_forward_needs_no_admission() {
    let mut table = table();
    let out = open(&mut table, 0, outbound(pc(2, 5000), wan(8443)), &SYN);
    let seen_from = table.flow(out).translation(Original).source;
    let id = open(&mut table, 0, forwarded(seen_from, wan(8443), pc(20, 443)), &SYN);
    let there = table.flow(id).translation(Original);
    assert_eq!((there.source, there.destination), (wan(5000), pc(20, 443)));
}

#[test]
fn hairpin_packets_of_the_client_do_not_hold_the_servers_mapping_open_to_others() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    hairpin(&mut table, 0, pc(3, 7000), 5000).unwrap();
    hairpin(&mut table, 200, pc(3, 7000), 5000).unwrap();
    expire(&mut table, 300);
    assert_eq!(table.mapping_by_external(Protocol::UDP, wan(5000)), None);
    assert!(open_to_port(&mut table, 300, remote(2, 1), 7000, &UDP).is_ok());
}

#[test]
fn one_hosts_hairpins_are_limited_as_it_is_and_not_as_strangers_are() {
    let mut table = table_with(&Nat { flows_max: 4096, flows_per_host_max: 600, ..nat(EndpointIndependent) });
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    for port in 0..600 {
        hairpin(&mut table, 0, pc(3, 7000 + port), 5000).unwrap();
    }
    answer_all(&mut table);
    assert_eq!(hairpin(&mut table, 0, pc(3, 9000), 5000), Err(FlowError::HostLimit));
    hairpin(&mut table, 0, pc(4, 9000), 5000).unwrap();
    assert!(
        open_to_port(&mut table, 0, remote(2, 1), 5000, &UDP).is_ok(),
        "others can still call the server"
    );
}

/// Opens a hairpin from each of these ports of `source`, to the external port 5000.
fn hairpins(table: &mut FlowTable, source: Source, ports: RangeInclusive<u16>) {
    for port in ports {
        let from = pc(3, port);
        let id =
            table.open(at(0), &outbound_of(source, from, wan(5000)), EGRESS, &UDP).expect("an outbound half");
        let seen_from = wan(external_port(table, id));
        let server = Server::Mapped(table.mapping_by_external(Protocol::UDP, wan(5000)).expect("a mapping"));
        let inbound = NewFlow::Inbound { remote: seen_from, server };
        table.open(at(0), &inbound, EGRESS, &UDP).expect("an inbound half");
    }
}

#[test]
fn a_flood_of_hairpins_leaves_the_table_to_others() {
    let limits = Nat { flows_max: 256, flows_per_host_max: 64, ..nat(EndpointIndependent) };
    for (source, most) in [(Source::Unverified(PortId(0)), 16), (station(pc(3, 0).address), 64)] {
        let mut table = table_with(&limits);
        open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
        hairpins(&mut table, source, 7000..=7999);
        assert_eq!(table.len(), 1 + most + 256 / 8, "their outbound and their inbound halves");
        hairpin(&mut table, 0, pc(4, 9000), 5000).expect("the oldest gives way");
    }
}

#[test]
fn an_answered_hairpin_is_not_recycled_for_a_flood_of_others() {
    let limits = Nat { flows_max: 256, flows_per_host_max: 64, ..nat(EndpointIndependent) };
    let mut table = table_with(&limits);
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &UDP);
    hairpin(&mut table, 0, pc(4, 9000), 5000).unwrap();
    answer_all(&mut table);
    let answered = table.len();
    hairpins(&mut table, station(pc(3, 0).address), 7000..=7999);
    assert_eq!(table.len(), answered + 64 + 256 / 8);
    let flows = table.len();
    hairpin(&mut table, 1, pc(4, 9000), 5000).unwrap();
    assert_eq!(table.len(), flows, "both halves are there");
}

/// RFC 4787, REQ-11: The same packets get the same ports.
#[test]
fn rfc4787_req11_the_same_packets_get_the_same_ports() {
    let run = || {
        let mut table = table();
        (2..30).map(|host| mapped_port(&mut table, pc(host, 5000))).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
