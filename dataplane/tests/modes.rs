//! The modes: what the gateway forwards and answers in each, and what stealth hides.

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::*;
use gatepost_dataplane::config::Mode;
use gatepost_dataplane::{DropReason, LocalClass, Verdict};
use gatepost_ground::wire::Protocol;
use gatepost_ground::{MacAddr, PortSet};

const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const BROADCAST: Ipv4Addr = Ipv4Addr::BROADCAST;

fn broadcast_udp(from: Host, from_port: u16, to: Ipv4Addr, to_port: u16) -> Vec<u8> {
    let mut frame = udp(from, from_port, to, to_port, &[0; 300]);
    frame[..6].copy_from_slice(&MacAddr::BROADCAST.0);
    frame
}

#[test]
fn dhcp_from_the_lan_is_for_the_host_in_every_mode() {
    for mode in [Mode::LanOnly, Mode::Router, Mode::Nat, Mode::NatDmz] {
        let mut bench = Bench::new(mode);
        let nobody = Host { address: NOBODY, ..ALICE };
        let discover = bench.send(LAN0, &broadcast_udp(nobody, 68, BROADCAST, 67));
        assert_eq!(
            discover.verdict,
            Verdict::Flood { ports: PortSet::only(LAN1), local: Some(LocalClass::DhcpServer) }
        );
        let offer_of_another = bench.send(LAN0, &broadcast_udp(ALICE, 67, BROADCAST, 68));
        assert_eq!(offer_of_another.verdict, discover.verdict);
        let renew = bench.send(LAN0, &udp(ALICE, 68, GATEWAY_LAN, 67, b"renew"));
        assert_eq!(renew.verdict, Verdict::Local(LocalClass::DhcpServer));
    }
}

#[test]
fn dhcp_to_all_hosts_of_the_lan_is_for_the_server_and_what_is_no_dhcp_is_not() {
    let mut bench = Bench::new(Mode::NatDmz);
    let to_server = Some(LocalClass::DhcpServer);
    for all_hosts in [Ipv4Addr::new(192, 168, 1, 255), Ipv4Addr::new(192, 168, 1, 0)] {
        let inform = bench.send(LAN0, &broadcast_udp(ALICE, 68, all_hosts, 67));
        assert_eq!(inform.verdict, Verdict::Flood { ports: PortSet::only(LAN1), local: to_server });
    }
    let other_port = bench.send(LAN0, &broadcast_udp(ALICE, 68, Ipv4Addr::new(192, 168, 1, 255), 68));
    assert_eq!(other_port.verdict, Verdict::Flood { ports: PortSet::only(LAN1), local: None });
    for fragment in fragment(&udp(ALICE, 68, GATEWAY_LAN, 67, &[0; 1000]), 1, 512) {
        assert_eq!(bench.send(LAN0, &fragment).verdict, TO_STACK);
    }
}

#[test]
fn a_dhcp_client_on_the_wan_hears_its_server_before_it_has_an_address() {
    for mode in [Mode::Router, Mode::Nat, Mode::NatDmz] {
        let mut config = config(mode);
        config.interfaces[WAN_SIDE.index()].addresses.clear();
        config.interfaces[WAN_SIDE.index()].gateway.v4 = None;
        config.firewall.stealth = true;
        let mut bench = Bench::with_config(config);
        let offer = bench.send(WAN, &broadcast_udp(ISP, 67, BROADCAST, 68));
        assert_eq!(offer.verdict, Verdict::Local(LocalClass::DhcpClient));
        let offer = bench.send(WAN, &udp(ISP, 67, Ipv4Addr::new(203, 0, 113, 55), 68, b"offer"));
        assert_eq!(offer.verdict, Verdict::Local(LocalClass::DhcpClient));
    }
}

#[test]
fn a_dhcp_server_on_the_wan_hears_nothing_from_us_and_we_nothing_from_clients_there() {
    let mut bench = Bench::new(Mode::NatDmz);
    let nobody = Host { address: NOBODY, ..ISP };
    let outcome = bench.send(WAN, &broadcast_udp(nobody, 68, BROADCAST, 67));
    assert!(matches!(outcome.verdict, Verdict::Drop(_)), "{:?}", outcome.verdict);
}

#[test]
fn pings_of_the_lan_address_are_answered_in_every_mode() {
    for mode in [Mode::LanOnly, Mode::Router, Mode::Nat, Mode::NatDmz] {
        let mut bench = Bench::new(mode);
        let outcome = bench.send(LAN0, &echo_request(ALICE, GATEWAY_LAN, 7, 1));
        let reply = outcome.one();
        assert_eq!(
            (reply.port, reply.destination_mac(), reply.source_mac()),
            (LAN0, ALICE.mac, GATEWAY_LAN_MAC)
        );
        assert_eq!((reply.ip().source(), reply.ip().destination()), (GATEWAY_LAN, ALICE.address));
        assert_eq!((reply.ip().icmp(), reply.ip().icmp_id()), ((0, 0), 7));
        assert_eq!(&reply.ip().payload()[8..], b"ping");
    }
}

#[test]
fn pings_of_the_wan_address_are_answered_except_in_stealth() {
    for (mode, stealth, answered) in [
        (Mode::Router, true, true),
        (Mode::Nat, true, true),
        (Mode::NatDmz, false, true),
        (Mode::NatDmz, true, false),
    ] {
        let mut config = config(mode);
        config.firewall.stealth = stealth;
        let mut bench = Bench::with_config(config);
        let outcome = bench.send(WAN, &echo_request(STRANGER, GATEWAY_WAN, 7, 1));
        if answered {
            assert_eq!(outcome.one().ip().icmp(), (0, 0), "{mode:?}");
            assert_eq!(outcome.one().destination_mac(), ISP.mac);
        } else {
            outcome.assert_silently_dropped(DropReason::Unsolicited);
        }
    }
}

/// RFC 1812, section 4.3.2.8: Nobody gets more echo replies than a few.
#[test]
fn rfc1812_4_3_2_8_nobody_gets_more_echo_replies_than_a_few() {
    let mut bench = Bench::new(Mode::NatDmz);
    let mut answered = |port, from, to| {
        let answers = |bench: &mut Bench| bench.send(port, &echo_request(from, to, 7, 1)).sent.len();
        (0..200).map(|_| answers(&mut bench)).sum::<usize>()
    };
    let to_victim = answered(WAN, STRANGER, GATEWAY_WAN);
    assert!((1..=50).contains(&to_victim), "{to_victim}");
    assert!(answered(WAN, SERVER, GATEWAY_WAN) > 0, "another's are its own");
    assert_eq!(answered(LAN0, ALICE, GATEWAY_LAN), 200, "on the LAN nobody is limited");
    assert!(bench.drops(DropReason::EchoLimited) >= 300);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.send(WAN, &echo_request(STRANGER, GATEWAY_WAN, 7, 1)).one().ip().icmp(), (0, 0));
}

#[test]
fn the_lan_reaches_the_gateways_services() {
    for mode in [Mode::LanOnly, Mode::Router, Mode::Nat, Mode::NatDmz] {
        let mut bench = Bench::new(mode);
        assert_eq!(bench.send(LAN0, &udp(ALICE, 5000, GATEWAY_LAN, 53, b"q")).verdict, TO_STACK);
        let syn = tcp(ALICE, 40_000, GATEWAY_LAN, 8080, "S", 1, 0);
        assert_eq!(bench.send(LAN0, &syn).verdict, TO_STACK);
        let gateway = Host { port: LAN0, mac: GATEWAY_LAN_MAC, address: GATEWAY_LAN };
        let answer = bench.host_sends(&udp(gateway, 53, ALICE.address, 5000, b"a"));
        assert_eq!(answer.verdict, Verdict::Transmit(LAN0));
        assert_eq!(answer.one().destination_mac(), ALICE.mac);
        assert_eq!(answer.one().ip().endpoints(), "192.168.1.1:53 > 192.168.1.10:5000");
    }
}

#[test]
fn lan_only_does_not_forward() {
    let mut bench = Bench::new(Mode::LanOnly);
    bench
        .send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"))
        .assert_silently_dropped(DropReason::Ipv4NotForUs);
    assert_eq!(bench.dataplane.flows().count(), 0);
}

#[test]
fn a_lan_only_host_uses_its_gateway() {
    let mut config = config(Mode::LanOnly);
    config.interfaces[LAN_SIDE.index()].gateway.v4 = Some(BOB.address);
    let mut bench = Bench::with_config(config);
    let gateway = Host { port: LAN0, mac: GATEWAY_LAN_MAC, address: GATEWAY_LAN };
    let query = bench.host_sends(&udp(gateway, 5000, SERVER.address, 53, b"q"));
    assert_eq!((query.one().port, query.one().destination_mac()), (LAN1, BOB.mac));
    let answer = udp(Host { address: SERVER.address, ..BOB }, 53, GATEWAY_LAN, 5000, b"a");
    assert_eq!(bench.send(LAN1, &answer).verdict, TO_STACK);
}

#[test]
fn behind_nat_the_lan_cannot_be_addressed_from_the_wan() {
    for mode in [Mode::Nat, Mode::NatDmz] {
        let mut bench = Bench::new(mode);
        for target in [ALICE.address, GATEWAY_LAN] {
            bench
                .send(WAN, &udp(STRANGER, 5000, target, 53, b"x"))
                .assert_silently_dropped(DropReason::LanNotReachable);
            bench
                .send(WAN, &echo_request(STRANGER, target, 7, 1))
                .assert_silently_dropped(DropReason::LanNotReachable);
        }
    }
}

#[test]
fn unsolicited_datagrams_are_refused_unless_stealth_forbids() {
    for (mode, stealth, refused) in
        [(Mode::Nat, true, true), (Mode::NatDmz, false, true), (Mode::NatDmz, true, false)]
    {
        let mut config = config(mode);
        config.firewall.stealth = stealth;
        let mut bench = Bench::with_config(config);
        let outcome = bench.send(WAN, &udp(STRANGER, 5000, GATEWAY_WAN, 161, b"x"));
        outcome.assert_dropped(DropReason::Unsolicited);
        if refused {
            assert_eq!(outcome.one().ip().icmp(), (3, 3));
            assert_eq!(outcome.one().ip().quoted().endpoints(), "198.51.100.66:5000 > 203.0.113.10:161");
        } else {
            assert_eq!(outcome.sent, []);
        }
    }
}

#[test]
fn a_flood_of_unsolicited_datagrams_makes_no_flood_of_refusals() {
    let mut bench = Bench::new(Mode::Nat);
    let refusals: usize = (0..1000)
        .map(|port| bench.send(WAN, &udp(STRANGER, 5000, GATEWAY_WAN, 10_000 + port, b"x")).sent.len())
        .sum();
    assert!((1..300).contains(&refusals), "{refusals} refusals");
    assert_eq!(bench.dataplane.counters().made_suppressed, 1000 - u64::try_from(refusals).unwrap());
}

#[test]
fn the_gateways_own_queries_share_the_wan_with_nat() {
    let mut bench = Bench::new(Mode::NatDmz);
    let gateway = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN };
    // The port is free, so the query leaves from it, and the answer is for the host stack.
    let query = bench.host_sends(&udp(gateway, 50_000, SERVER.address, 53, b"q"));
    assert_eq!(query.one().ip().endpoints(), "203.0.113.10:50000 > 198.51.100.7:53");
    assert_eq!(query.one().ip().ttl(), 64, "the gateway's own packets are not forwarded");
    let answer = bench.send(WAN, &udp(SERVER, 53, GATEWAY_WAN, 50_000, b"a"));
    assert_eq!(answer.verdict, TO_STACK);
    // A LAN host has it: the gateway gets another on the WAN, and its own back.
    bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query")).one();
    let query = bench.host_sends(&udp(gateway, 5000, SERVER.address, 53, b"q"));
    let port = query.one().ip().source_port();
    assert_ne!(port, 5000);
    let answer = bench.send(WAN, &udp(SERVER, 53, GATEWAY_WAN, port, b"a"));
    assert_eq!(answer.verdict, TO_STACK);
    assert_eq!(Ip(&answer.local.unwrap()[14..]).endpoints(), "198.51.100.7:53 > 203.0.113.10:5000");
}

#[test]
fn without_a_wan_address_nothing_goes_out() {
    let mut config = config(Mode::NatDmz);
    config.interfaces[WAN_SIDE.index()].addresses.clear();
    config.interfaces[WAN_SIDE.index()].gateway.v4 = None;
    let mut bench = Bench::with_config(config);
    let outcome = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    assert!(matches!(outcome.verdict, Verdict::Drop(DropReason::NoRoute | DropReason::NoAddress)));
    let nobody = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: NOBODY };
    let outcome = bench.host_sends(&udp(nobody, 5000, SERVER.address, 53, b"query"));
    assert!(matches!(outcome.verdict, Verdict::Drop(DropReason::NoRoute | DropReason::NoAddress)));
}

/// RFC 4787, REQ-7: A WAN inside the lans subnet is noticed.
#[test]
fn rfc4787_req7_a_wan_inside_the_lans_subnet_is_noticed() {
    let mut config = config(Mode::NatDmz);
    config.interfaces[WAN_SIDE.index()].addresses = Some("192.168.1.77/24".parse().unwrap()).into();
    config.interfaces[WAN_SIDE.index()].gateway.v4 = Some("192.168.1.254".parse().unwrap());
    let mut bench = Bench::with_config(config);
    // The LAN goes on among itself and with the gateway; nothing of it leaks to the WAN.
    bench.send(LAN0, &echo_request(ALICE, GATEWAY_LAN, 7, 1)).one();
    let outcome = bench.send(LAN0, &udp(ALICE, 5000, BOB.address, 53, b"x"));
    assert!(outcome.sent.iter().all(|sent| sent.port != WAN));
}

#[test]
fn what_nat_cannot_translate_is_dropped() {
    let mut bench = Bench::new(Mode::NatDmz);
    let mut gre = udp(ALICE, 5000, SERVER.address, 53, b"query");
    set_protocol(&mut gre, 47);
    bench.send(LAN0, &gre).assert_dropped(DropReason::ProtocolUnsupported);
}

#[test]
fn martians_and_liars_are_dropped_on_every_side() {
    let mut bench = Bench::new(Mode::NatDmz);
    let as_source = |host: Host, address: [u8; 4]| Host { address: address.into(), ..host };
    for address in [[127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255], [0, 0, 0, 0], [240, 1, 1, 1]] {
        for host in [ALICE, ISP] {
            bench
                .send(host.port, &udp(as_source(host, address), 5000, GATEWAY_WAN, 53, b"x"))
                .assert_silently_dropped(DropReason::Martian);
        }
    }
    for address in [[127, 0, 0, 1], [0, 0, 0, 0], [240, 1, 1, 1]] {
        bench
            .send(LAN0, &udp(ALICE, 5000, address.into(), 53, b"x"))
            .assert_silently_dropped(DropReason::Martian);
    }
    // A source that lives on the other side, or is our own.
    for (host, address) in [
        (ALICE, SERVER.address),
        (ALICE, GATEWAY_LAN),
        (ALICE, GATEWAY_WAN),
        (ISP, ALICE.address),
        (ISP, GATEWAY_LAN),
        (ISP, GATEWAY_WAN),
    ] {
        bench
            .send(host.port, &udp(as_source(host, address.octets()), 5000, GATEWAY_WAN, 53, b"x"))
            .assert_silently_dropped(DropReason::SpoofedSource);
    }
}

#[test]
fn broadcasts_are_not_forwarded_and_not_answered() {
    let mut bench = Bench::new(Mode::Router);
    let wans = [Ipv4Addr::new(203, 0, 113, 255), Ipv4Addr::new(203, 0, 113, 0)];
    for target in [wans[0], wans[1], Ipv4Addr::new(224, 0, 0, 251), BROADCAST] {
        bench
            .send(LAN0, &udp(ALICE, 5000, target, 53, b"x"))
            .assert_silently_dropped(DropReason::BroadcastNotForwarded);
    }
    let mut smurf = echo_request(STRANGER, Ipv4Addr::new(203, 0, 113, 255), 7, 1);
    smurf[..6].copy_from_slice(&MacAddr::BROADCAST.0);
    bench.send(WAN, &smurf).assert_silently_dropped(DropReason::BroadcastNotForwarded);
    let mut unicast_in_broadcast = echo_request(STRANGER, GATEWAY_WAN, 7, 1);
    unicast_in_broadcast[..6].copy_from_slice(&MacAddr::BROADCAST.0);
    bench.send(WAN, &unicast_in_broadcast).assert_silently_dropped(DropReason::BroadcastNotForwarded);
}

#[test]
fn a_damaged_ping_is_not_answered() {
    let mut bench = Bench::new(Mode::NatDmz);
    let mut ping = echo_request(ALICE, GATEWAY_LAN, 7, 1);
    ping[42] ^= 1;
    bench.send(LAN0, &ping).assert_silently_dropped(DropReason::IcmpChecksum);
}

#[test]
fn the_port_of_a_dhcp_client_is_given_to_nobody() {
    let mut bench = Bench::new(Mode::NatDmz);
    let outcome = bench.send(LAN0, &udp(ALICE, 68, SERVER.address, 53, b"query"));
    assert_ne!(outcome.one().ip().source_port(), 68);
}

#[test]
fn padding_of_short_frames_is_not_forwarded() {
    let mut bench = Bench::new(Mode::NatDmz);
    let frame = udp(ALICE, 5000, SERVER.address, 53, b"q");
    let mut padded = frame.clone();
    padded.resize(60, 0xee);
    let outcome = bench.send(LAN0, &padded);
    assert_eq!(outcome.one().bytes.len(), frame.len());
}

#[test]
fn stealth_hides_whether_a_forwards_host_is_there() {
    for (stealth, told) in [(false, 1), (true, 0)] {
        let mut config = config(Mode::NatDmz);
        config.firewall.stealth = stealth;
        config.firewall.v4.forwards = vec![forward(Protocol::UDP, 9000..=9000, BOB, 9000)];
        let mut bench = Bench::cold(config);
        bench.send(WAN, &arp_request(ISP, GATEWAY_WAN));
        let outcome = bench.send(WAN, &udp(STRANGER, 5000, GATEWAY_WAN, 9000, b"x"));
        assert_eq!(outcome.verdict, Verdict::Hold);
        let sent = bench.pass(Duration::from_secs(10));
        let errors: Vec<_> = sent.iter().filter(|sent| sent.port == WAN).collect();
        assert_eq!(errors.len(), told);
        if let [error] = errors[..] {
            assert_eq!(error.ip().icmp(), (3, 1));
            assert_eq!(error.ip().quoted().endpoints(), "198.51.100.66:5000 > 203.0.113.10:9000");
        }
    }
}
