//! NAT behaviour for UDP. (RFC 4787)

use super::*;

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
        knock(&mut table, secs, remote((2 + secs / 10) as u8, 1000), 5000, &UDP).unwrap();
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
    assert_eq!(table.len(), 1);
    assert_eq!(table.quotas.count(Quota { host: pc(2, 0).address, is_opener: false }), 0);
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
