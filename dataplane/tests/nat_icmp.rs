//! ICMP through NAT: queries, and errors about translated packets. (RFC 5508)

mod common;

use std::time::Duration;

use common::*;
use gatepost_dataplane::DropReason;
use gatepost_dataplane::config::Mode;
use gatepost_ground::wire::Protocol;

const PORT_UNREACHABLE: (u8, u8) = (3, 3);
const FRAGMENTATION_NEEDED: (u8, u8) = (3, 4);
const TTL_EXPIRED: (u8, u8) = (11, 0);

/// Sends an outbound datagram of Alice's past another host that took her port, so that everything about
/// it changes, and returns it as the WAN saw it.
fn translated_datagram(bench: &mut Bench) -> Vec<u8> {
    bench.send(LAN1, &udp(BOB, 5000, SERVER.address, 53, b"query"));
    let sent = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    assert_ne!(sent.one().ip().source_port(), 5000);
    sent.one().bytes[14..].to_vec()
}

/// RFC 5508, REQ-1: Queries are translated both ways.
#[test]
fn rfc5508_req1_queries_are_translated_both_ways() {
    let mut bench = Bench::new(Mode::NatDmz);
    let alices = bench.send(LAN0, &echo_request(ALICE, SERVER.address, 77, 1));
    let bobs = bench.send(LAN1, &echo_request(BOB, SERVER.address, 77, 1));
    let (alices_id, bobs_id) = (alices.one().ip().icmp_id(), bobs.one().ip().icmp_id());
    assert_eq!(alices_id, 77);
    assert_ne!(bobs_id, 77);
    for (host, id) in [(ALICE, alices_id), (BOB, bobs_id)] {
        let reply = bench.send(WAN, &echo_reply(SERVER, GATEWAY_WAN, id, 1));
        let ip = reply.one().ip();
        assert_eq!((reply.one().port, ip.destination(), ip.icmp_id()), (host.port, host.address, 77));
    }
}

/// RFC 5508, REQ-1: Mapping is endpoint independent.
#[test]
fn rfc5508_req1_mapping_is_endpoint_independent() {
    let mut bench = Bench::new(Mode::NatDmz);
    bench.send(LAN1, &echo_request(BOB, SERVER.address, 77, 1));
    let first = bench.send(LAN0, &echo_request(ALICE, SERVER.address, 77, 1)).one().ip().icmp_id();
    let second = bench.send(LAN0, &echo_request(ALICE, STRANGER.address, 77, 1)).one().ip().icmp_id();
    assert_eq!(first, second);
}

/// RFC 5508, REQ-2: A query lives sixty seconds.
#[test]
fn rfc5508_req2_a_query_lives_sixty_seconds() {
    let mut bench = Bench::new(Mode::NatDmz);
    bench.send(LAN0, &echo_request(ALICE, SERVER.address, 77, 1));
    bench.pass(Duration::from_secs(59));
    bench.send(WAN, &echo_reply(SERVER, GATEWAY_WAN, 77, 1)).one();
    bench.pass(Duration::from_secs(300));
    assert_eq!(bench.dataplane.flows().count(), 0);
    bench.send(WAN, &echo_reply(SERVER, GATEWAY_WAN, 77, 1)).assert_silently_dropped(DropReason::Unsolicited);
}

/// RFC 5508, REQ-4: An error from outside reaches the host with the quoted packet as the host sent it.
#[test]
fn rfc5508_req4_an_error_from_outside_quotes_the_packet_as_its_host_sent_it() {
    let mut bench = Bench::new(Mode::NatDmz);
    let datagram = translated_datagram(&mut bench);
    for (kind, code) in [PORT_UNREACHABLE, FRAGMENTATION_NEEDED, TTL_EXPIRED] {
        let error = icmp_error(ISP, GATEWAY_WAN, kind, code, 1400, &datagram);
        let outcome = bench.send(WAN, &error);
        let ip = outcome.one().ip();
        assert_eq!(outcome.one().destination_mac(), ALICE.mac);
        assert_eq!((ip.source(), ip.destination()), (ISP.address, ALICE.address));
        assert_eq!(ip.icmp(), (kind, code));
        let quoted = ip.quoted();
        assert_eq!(quoted.endpoints(), "192.168.1.10:5000 > 198.51.100.7:53");
        quoted.verify_header();
        quoted.verify_udp();
        assert_eq!(ip.payload()[4..8], 1400u32.to_be_bytes(), "the MTU goes through");
    }
}

/// RFC 5508, REQ-4: Truncated quotes are translated too.
#[test]
fn rfc5508_req4_truncated_quotes_are_translated_too() {
    let mut bench = Bench::new(Mode::NatDmz);
    let datagram = translated_datagram(&mut bench);
    for len in [20 + 8, 20 + 9, datagram.len()] {
        let outcome = bench.send(WAN, &icmp_error(ISP, GATEWAY_WAN, 3, 3, 0, &datagram[..len]));
        assert_eq!(outcome.one().ip().quoted().endpoints(), "192.168.1.10:5000 > 198.51.100.7:53");
        outcome.one().ip().quoted().verify_header();
    }
    // Eight octets past the header are the least. // RFC 792
    bench
        .send(WAN, &icmp_error(ISP, GATEWAY_WAN, 3, 3, 0, &datagram[..20 + 7]))
        .assert_silently_dropped(DropReason::TransportMalformed);
}

/// RFC 5508, REQ-4: A quoted TCP segment may end before its checksum.
#[test]
fn rfc5508_req4_a_quoted_tcp_segment_may_end_before_its_checksum() {
    let mut bench = Bench::new(Mode::NatDmz);
    bench.send(LAN1, &tcp(BOB, 40_000, SERVER.address, 80, "S", 1, 0));
    let sent = bench.send(LAN0, &tcp(ALICE, 40_000, SERVER.address, 80, "S", 1, 0));
    let segment = sent.one().bytes[14..].to_vec();
    for len in [28, 36, 37, 38, 40] {
        let outcome = bench.send(WAN, &icmp_error(ISP, GATEWAY_WAN, 3, 1, 0, &segment[..len]));
        assert_eq!(outcome.one().ip().quoted().endpoints(), "192.168.1.10:40000 > 198.51.100.7:80");
    }
}

/// RFC 5927, section 4.1: An error that quotes a sequence number that its receiver has not sent is dropped.
#[test]
fn rfc5927_4_1_an_error_with_a_guessed_sequence_number_is_dropped() {
    let mut bench = Bench::new(Mode::NatDmz);
    let port = bench.send(LAN0, &tcp(ALICE, 40_000, SERVER.address, 80, "S", 1, 0)).one().ip().source_port();
    bench.send(WAN, &tcp(SERVER, 80, GATEWAY_WAN, port, "SA", 900, 2)).one();
    bench.send(LAN0, &tcp(ALICE, 40_000, SERVER.address, 80, "A", 2, 901)).one();
    let quoting = |sequence| {
        let quoted =
            tcp(Host { address: GATEWAY_WAN, ..ALICE }, port, SERVER.address, 80, "A", sequence, 901);
        icmp_error(ISP, GATEWAY_WAN, 3, 1, 0, &quoted[14..])
    };
    for sent in [1, 2] {
        bench.send(WAN, &quoting(sent)).one();
    }
    for guessed in [3, 1 << 20, u32::MAX / 2] {
        bench.send(WAN, &quoting(guessed)).assert_silently_dropped(DropReason::IcmpUnrelated);
    }
    // A segment in the other direction.
    let quoting = |sequence| {
        let quoted = tcp(SERVER, 80, ALICE.address, 40_000, "A", sequence, 2);
        icmp_error(ALICE, SERVER.address, 3, 1, 0, &quoted[14..])
    };
    bench.send(LAN0, &quoting(900)).one();
    bench.send(LAN0, &quoting(902)).assert_silently_dropped(DropReason::IcmpUnrelated);
}

/// RFC 5508, REQ-3b: Quoted IP options are skipped.
#[test]
fn rfc5508_req3b_quoted_ip_options_are_skipped() {
    let mut bench = Bench::new(Mode::NatDmz);
    let datagram = translated_datagram(&mut bench);
    let with_options = with_ip_options(&datagram, &[1, 1, 1, 0]);
    let outcome = bench.send(WAN, &icmp_error(ISP, GATEWAY_WAN, 3, 3, 0, &with_options));
    let quoted = outcome.one().ip().quoted();
    assert_eq!(quoted.endpoints(), "192.168.1.10:5000 > 198.51.100.7:53");
    quoted.verify_header();
}

/// RFC 5508, REQ-5: An error from inside comes from the WAN address.
#[test]
fn rfc5508_req5_an_error_from_inside_comes_from_the_wan_address() {
    let mut bench = Bench::new(Mode::NatDmz);
    translated_datagram(&mut bench);
    let external = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"again")).one().ip().source_port();
    let answer = bench.send(WAN, &udp(SERVER, 53, GATEWAY_WAN, external, b"answer"));
    let inside = answer.one().bytes[14..].to_vec();
    let outcome = bench.send(LAN0, &icmp_error(ALICE, SERVER.address, 3, 3, 0, &inside));
    let ip = outcome.one().ip();
    assert_eq!((ip.source(), ip.destination()), (GATEWAY_WAN, SERVER.address));
    assert_eq!(ip.quoted().endpoints(), format!("198.51.100.7:53 > 203.0.113.10:{external}"));
    ip.quoted().verify_header();
    ip.quoted().verify_udp();
}

#[test]
fn an_error_about_a_query_finds_who_asked() {
    let mut bench = Bench::new(Mode::NatDmz);
    bench.send(LAN1, &echo_request(BOB, SERVER.address, 77, 1));
    let sent = bench.send(LAN0, &echo_request(ALICE, SERVER.address, 77, 1));
    let query = sent.one().bytes[14..].to_vec();
    let outcome = bench.send(WAN, &icmp_error(ISP, GATEWAY_WAN, 11, 0, 0, &query));
    let ip = outcome.one().ip();
    assert_eq!((ip.destination(), ip.quoted().source()), (ALICE.address, ALICE.address));
    assert_eq!(ip.quoted().icmp_id(), 77);
    ip.quoted().verify_header();
    ip.quoted().verify_icmp();
}

/// RFC 5508, REQ-6: Errors refresh and kill nothing.
/// RFC 4787, REQ-12: Errors refresh and kill nothing.
#[test]
fn rfc5508_req6_and_rfc4787_req12_errors_refresh_and_kill_nothing() {
    let mut bench = Bench::new(Mode::NatDmz);
    let datagram = translated_datagram(&mut bench);
    let external = Ip(&datagram).source_port();
    bench.send(WAN, &icmp_error(ISP, GATEWAY_WAN, 3, 3, 0, &datagram)).one();
    bench.send(WAN, &udp(SERVER, 53, GATEWAY_WAN, external, b"answer")).one();
    let before = bench.dataplane.flows().count();
    for _ in 0..100 {
        bench.pass(Duration::from_secs(10));
        bench.send(WAN, &icmp_error(ISP, GATEWAY_WAN, 3, 3, 0, &datagram));
    }
    assert!(before > 0);
    assert_eq!(bench.dataplane.flows().count(), 0, "errors keep the mapping");
}

/// RFC 7857, section 7.1: Errors from inside refresh nothing.
#[test]
fn rfc7857_section_7_1_errors_from_inside_refresh_nothing() {
    let mut bench = Bench::new(Mode::NatDmz);
    let datagram = translated_datagram(&mut bench);
    let external = Ip(&datagram).source_port();
    let answer = bench.send(WAN, &udp(SERVER, 53, GATEWAY_WAN, external, b"answer"));
    let answer = answer.one().bytes[14..].to_vec();
    for _ in 0..31 {
        bench.pass(Duration::from_secs(10));
        bench.send(LAN0, &icmp_error(ALICE, SERVER.address, 3, 3, 0, &answer));
    }
    assert_eq!(bench.dataplane.flows().count(), 0);
}

/// RFC 5508, REQ-10: The required types pass.
#[test]
fn rfc5508_req10_the_required_types_pass() {
    // RFC 5508, section 7: unreachable, time exceeded and echo must; parameter problem may.
    for (kind, code) in [(3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (3, 13), (11, 0), (11, 1), (12, 0)] {
        let mut bench = Bench::new(Mode::NatDmz);
        let datagram = translated_datagram(&mut bench);
        let error = bench.send(WAN, &icmp_error(ISP, GATEWAY_WAN, kind, code, 0, &datagram));
        assert_eq!(error.one().ip().icmp(), (kind, code));
    }
    let mut bench = Bench::new(Mode::NatDmz);
    let request = bench.send(LAN0, &echo_request(ALICE, SERVER.address, 7, 1));
    assert_eq!(request.one().ip().icmp(), (8, 0));
    let id = request.one().ip().icmp_id();
    let reply = bench.send(WAN, &echo_reply(SERVER, GATEWAY_WAN, id, 1));
    assert_eq!(reply.one().ip().icmp(), (0, 0));
}

/// RFC 5382, REQ-10: An error never ends a connection.
#[test]
fn rfc5382_req10_an_error_never_ends_a_connection() {
    let mut bench = Bench::new(Mode::NatDmz);
    let sent = bench.send(LAN0, &tcp(ALICE, 40_000, SERVER.address, 80, "S", 1, 0));
    let segment = sent.one().bytes[14..].to_vec();
    bench.send(WAN, &tcp(SERVER, 80, GATEWAY_WAN, 40_000, "SA", 9, 2)).one();
    bench.send(LAN0, &tcp(ALICE, 40_000, SERVER.address, 80, "A", 2, 10)).one();
    bench.send(WAN, &icmp_error(ISP, GATEWAY_WAN, 3, 1, 0, &segment)).one();
    bench.pass(Duration::from_secs(3600));
    let data = bench.send(WAN, &tcp(SERVER, 80, GATEWAY_WAN, 40_000, "PA", 10, 2));
    assert!(data.sent.iter().any(|sent| sent.port == LAN0 && sent.is_ipv4()));
}

/// RFC 5508, REQ-7: An error about a hairpinned packet is hairpinned.
#[test]
fn rfc5508_req7_an_error_about_a_hairpinned_packet_is_hairpinned() {
    let mut config = config(Mode::NatDmz);
    config.firewall.v4.forwards = vec![forward(Protocol::UDP, 7000..=7000, BOB, 7)];
    let mut bench = Bench::with_config(config);
    let hairpinned = bench.send(LAN0, &udp(ALICE, 5000, GATEWAY_WAN, 7000, b"knock"));
    assert_eq!(hairpinned.one().ip().endpoints(), "203.0.113.10:5000 > 192.168.1.20:7");
    let packet = hairpinned.one().bytes[14..].to_vec();
    let outcome = bench.send(LAN1, &icmp_error(BOB, GATEWAY_WAN, 3, 3, 0, &packet));
    let ip = outcome.one().ip();
    assert_eq!((outcome.one().destination_mac(), ip.destination()), (ALICE.mac, ALICE.address));
    assert_eq!(ip.source(), GATEWAY_WAN);
    assert_eq!(ip.quoted().endpoints(), "192.168.1.10:5000 > 203.0.113.10:7000");
    ip.quoted().verify_header();
}

#[test]
fn an_error_about_nothing_is_dropped() {
    let mut bench = Bench::new(Mode::NatDmz);
    let never_sent = udp(Host { address: GATEWAY_WAN, ..ALICE }, 5000, SERVER.address, 53, b"query");
    bench
        .send(WAN, &icmp_error(ISP, GATEWAY_WAN, 3, 3, 0, &never_sent[14..]))
        .assert_silently_dropped(DropReason::IcmpUnrelated);
    let not_ours = udp(BOB, 5000, SERVER.address, 53, b"query");
    bench
        .send(WAN, &icmp_error(ISP, GATEWAY_WAN, 3, 3, 0, &not_ours[14..]))
        .assert_silently_dropped(DropReason::IcmpUnrelated);
    bench
        .send(LAN0, &icmp_error(ALICE, SERVER.address, 3, 3, 0, &never_sent[14..]))
        .assert_silently_dropped(DropReason::IcmpUnrelated);
}

/// RFC 5508, REQ-1: A reply to nothing opens nothing.
#[test]
fn rfc5508_req1_a_reply_to_nothing_opens_nothing() {
    let mut bench = Bench::new(Mode::NatDmz);
    bench.send(LAN1, &echo_request(BOB, SERVER.address, 7, 1)).one();
    for target in [STRANGER.address, GATEWAY_WAN] {
        bench.send(LAN0, &echo_reply(ALICE, target, 7, 1)).assert_silently_dropped(DropReason::IcmpUnrelated);
    }
    assert_eq!(bench.dataplane.flows().count(), 1);
}

/// RFC 5508, REQ-3: A wrong ICMP checksum of an error is not passed on.
#[test]
fn rfc5508_req3_a_wrong_icmp_checksum_of_an_error_is_not_passed_on() {
    let mut bench = Bench::new(Mode::NatDmz);
    let datagram = translated_datagram(&mut bench);
    let mut error = icmp_error(ISP, GATEWAY_WAN, 3, 3, 0, &datagram);
    error[36] ^= 1;
    bench.send(WAN, &error).assert_silently_dropped(DropReason::IcmpChecksum);
}

#[test]
fn redirects_and_source_quenches_stay_on_their_link() {
    let mut bench = Bench::new(Mode::NatDmz);
    let datagram = translated_datagram(&mut bench);
    for kind in [4, 5] {
        bench
            .send(WAN, &icmp_error(ISP, GATEWAY_WAN, kind, 0, 0, &datagram))
            .assert_silently_dropped(DropReason::ProtocolUnsupported);
    }
}

#[test]
fn an_error_about_the_gateways_own_packet_is_for_its_host() {
    let mut bench = Bench::new(Mode::NatDmz);
    let gateway = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN };
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query")).one();
    let query = bench.host_sends(&udp(gateway, 5000, SERVER.address, 53, b"q"));
    let query = query.one().bytes[14..].to_vec();
    let outcome = bench.send(WAN, &icmp_error(ISP, GATEWAY_WAN, 3, 3, 0, &query));
    let local = outcome.local.expect("for the host");
    assert_eq!(Ip(&local[14..]).quoted().endpoints(), "203.0.113.10:5000 > 198.51.100.7:53");
}

#[test]
fn an_error_goes_to_nobody_but_the_sender_of_what_it_quotes() {
    let mut bench = Bench::new(Mode::NatDmz);
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query")).one();
    let answer = bench.send(WAN, &udp(SERVER, 53, GATEWAY_WAN, 5000, b"answer"));
    let inside = answer.one().bytes[14..].to_vec();
    bench
        .send(LAN0, &icmp_error(ALICE, STRANGER.address, 3, 3, 0, &inside))
        .assert_silently_dropped(DropReason::IcmpUnrelated);
}
