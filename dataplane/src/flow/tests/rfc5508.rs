//! NAT behaviour for ICMP queries. (RFC 5508)

use super::*;

/// RFC 5508, REQ-1: Query mappings are endpoint independent and exclusive.
#[test]
fn rfc5508_req1_query_mappings_are_endpoint_independent_and_exclusive() {
    let mut table = table();
    let first = open(&mut table, 0, outbound(pc(2, 77), remote(1, 0)), &QUERY);
    let second = open(&mut table, 0, outbound(pc(2, 77), remote(2, 0)), &QUERY);
    let other = open(&mut table, 0, outbound(pc(3, 77), remote(1, 0)), &QUERY);
    assert_eq!((external_port(&table, first), external_port(&table, second)), (77, 77));
    assert_ne!(external_port(&table, other), 77);
}

/// RFC 5508, REQ-2: Queries live a minute.
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
    let server = StaticMapping { inside: wan(0), external: wan(0) };
    let new = NewFlow::Inbound { remote: remote(1, 77), server: Server::Static(server) };
    let back = open(&mut table, 0, new, &QUERY);
    assert_ne!(out, back);
}

#[test]
fn no_query_is_let_in_to_a_mapping() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 77), remote(1, 0)), &QUERY);
    assert_eq!(open_to_port(&mut table, 0, remote(2, 0), 77, &QUERY), Err(FlowError::Filtered));
}
