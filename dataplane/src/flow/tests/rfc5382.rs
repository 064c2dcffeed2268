//! NAT behaviour for TCP. (RFC 5382; RFC 7857)

use super::*;

/// An established connection from the inside, opened at 0.
fn established(table: &mut FlowTable) -> (FlowId, FlowKey) {
    let id = open(table, 0, outbound(pc(2, 5000), remote(1, 443)), &SYN);
    track(table, 0, id, Reply, &SYN_ACK);
    track(table, 0, id, Original, &ACK);
    (id, key(table, id, Original))
}

/// RFC 5382, REQ-1: TCP mappings are endpoint independent.
#[test]
fn rfc5382_req1_tcp_mappings_are_endpoint_independent() {
    let mut table = table();
    open(&mut table, 0, outbound(pc(3, 5000), remote(1, 443)), &SYN);
    let first = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &SYN);
    let second = open(&mut table, 0, outbound(pc(2, 5000), remote(2, 80)), &SYN);
    assert_eq!(external_port(&table, first), external_port(&table, second));
}

/// RFC 5382, REQ-2: Simultaneous open.
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

/// RFC 5382, REQ-3: A SYN from outside is admitted as the filter says.
#[test]
fn rfc5382_req3_a_syn_from_outside_is_admitted_as_the_filter_says() {
    let mut open_table = table_with(&nat(EndpointIndependent));
    open(&mut open_table, 0, outbound(pc(2, 5000), remote(1, 443)), &SYN);
    assert!(open_to_port(&mut open_table, 1, remote(2, 1), 5000, &SYN).is_ok());
    let mut closed = table();
    open(&mut closed, 0, outbound(pc(2, 5000), remote(1, 443)), &SYN);
    assert_eq!(open_to_port(&mut closed, 1, remote(2, 1), 5000, &SYN), Err(FlowError::Filtered));
}

/// RFC 5382, REQ-5: Established lives two hours four minutes.
#[test]
fn rfc5382_req5_established_lives_two_hours_four_minutes() {
    let mut table = table();
    let (id, key) = established(&mut table);
    assert!(lives(&mut table, 7439, &key));
    track(&mut table, 7439, id, Reply, &ACK);
    assert!(lives(&mut table, 7439 + 7439, &key), "either side keeps it");
    assert!(!lives(&mut table, 7439 + 7440, &key));
}

/// RFC 5382, REQ-5: Opening lives four minutes.
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

/// RFC 5382, REQ-5: Closing lives four minutes.
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

/// RFC 4787, REQ-6: What comes from outside holds the mapping of a closed connection no longer than the inside did.
#[test]
fn rfc4787_req6_others_do_not_hold_the_mapping_of_a_closed_connection() {
    for closing in [[(Original, &FIN), (Reply, &FIN)], [(Reply, &FIN), (Original, &FIN)]] {
        let mut table = table_with(&nat(EndpointIndependent));
        let (id, _) = established(&mut table);
        let port = external_port(&table, id);
        closing.into_iter().for_each(|(direction, packet)| track(&mut table, 10, id, direction, packet));
        let other = open_to_port(&mut table, 240, remote(2, 1), port, &SYN).expect("the port is held");
        let other = key(&table, other, Original);
        assert!(lives(&mut table, 249, &other));
        assert!(!lives(&mut table, 250, &other));
        assert_eq!(table.mappings_len(), 0);
    }
}

/// RFC 5382, REQ-5: An established connection holds the mapping, whichever other connections close.
#[test]
fn rfc5382_req5_an_established_connection_holds_the_mapping_beside_a_closed_one() {
    let mut table = table_with(&nat(EndpointIndependent));
    let (id, key) = established(&mut table);
    let port = external_port(&table, id);
    let inside = key.source;
    let other = open(&mut table, 0, outbound(inside, remote(2, 443)), &SYN);
    track(&mut table, 0, other, Reply, &SYN_ACK);
    track(&mut table, 0, other, Original, &ACK);
    track(&mut table, 10, other, Original, &FIN);
    track(&mut table, 10, other, Reply, &FIN);
    expire(&mut table, 7_000);
    assert_eq!(table.len(), 1);
    assert!(open_to_port(&mut table, 7_000, remote(3, 1), port, &SYN).is_ok());
}

/// RFC 7857, section 2.2: After an RST the state stays four minutes.
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

/// RFC 7857, section 7.1: An RST in answer does not refresh.
#[test]
fn rfc7857_section_7_1_an_rst_in_answer_does_not_refresh() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &SYN);
    for secs in (1..240).step_by(20) {
        let id = open_to_port(&mut table, secs, remote(2, secs as u16), 5000, &SYN).unwrap();
        track(&mut table, secs, id, Reply, &RST);
    }
    expire(&mut table, 239);
    assert_eq!(table.mappings_len(), 1);
    expire(&mut table, 240);
    assert_eq!((table.len(), table.mappings_len()), (0, 0));
}

/// RFC 7857, section 7.1: An RST from inside does not hold the mapping.
#[test]
fn rfc7857_section_7_1_an_rst_from_inside_does_not_hold_the_mapping() {
    let mut table = table_with(&nat(EndpointIndependent));
    let id = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &SYN);
    track(&mut table, 100, id, Original, &RST);
    expire(&mut table, 240);
    assert_eq!((table.len(), table.mappings_len()), (1, 1), "the connection has its four minutes");
    assert_eq!(open_to_port(&mut table, 240, remote(2, 1), 5000, &SYN), Err(FlowError::Filtered));
}

#[test]
fn a_short_lived_flow_does_not_shorten_what_a_long_one_holds() {
    let mut table = table_with(&nat(EndpointIndependent));
    established(&mut table);
    open(&mut table, 10, outbound(pc(2, 5000), remote(2, 443)), &SYN);
    expire(&mut table, 7000);
    assert!(open_to_port(&mut table, 7000, remote(3, 1), 5000, &SYN).is_ok());
}

#[test]
fn a_connection_that_a_new_configuration_ends_holds_its_mapping_no_longer() {
    let mut table = table_with(&nat(EndpointIndependent));
    let (_, ended) = established(&mut table);
    open(&mut table, 10, outbound(pc(2, 5000), remote(2, 443)), &SYN);
    table.remove_where(at(10), |flow| flow.key(Original) == ended);
    assert_eq!((table.len(), table.mappings_len()), (1, 1));
    assert!(open_to_port(&mut table, 249, remote(3, 1), 5000, &SYN).is_ok());
    assert_eq!(open_to_port(&mut table, 250, remote(3, 2), 5000, &SYN), Err(FlowError::Filtered));
}

#[test]
fn an_outsider_alone_keeps_no_connection_open() {
    let mut table = table_with(&nat(EndpointIndependent));
    open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &SYN);
    let id = open_to_port(&mut table, 1, remote(2, 1), 5000, &SYN).unwrap();
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
        assert_eq!(table.open(at(0), &new, EGRESS, &packet), Err(FlowError::TcpState));
    }
    assert_eq!((table.len(), table.mappings_len()), (0, 0));
}

#[test]
fn a_segment_that_fits_no_state_changes_nothing() {
    let mut table = table();
    let id = open(&mut table, 0, outbound(pc(2, 5000), remote(1, 443)), &SYN);
    let before = format!("{:?}", table.flow(id));
    assert_eq!(table.track(at(1), id, Original, &FIN), Err(FlowError::TcpState));
    assert_eq!(format!("{:?}", table.flow(id)), before);
}
