//! More than one interface of a role: policy reads roles, and each interface keeps what is its own.

mod common;

use std::time::Duration;

use common::*;
use gatepost_dataplane::config::{Config, Link, Mode};
use gatepost_dataplane::{DropReason, Ingress, LocalClass, Verdict};
use gatepost_ground::wire::Protocol;
use gatepost_ground::{InterfaceId, MacAddr, Role};

const GUESTS: InterfaceId = InterfaceId(2);
const GATEWAY_GUESTS: std::net::Ipv4Addr = std::net::Ipv4Addr::new(192, 168, 2, 1);
const GUEST: Host =
    Host { port: LAN1, mac: MacAddr([2, 0, 0, 0, 3, 30]), address: std::net::Ipv4Addr::new(192, 168, 2, 30) };

/// The office of the other tests, in which the second port of the LAN leads to guests.
fn config_with_guests(mode: Mode) -> Config {
    let mut config = config(mode);
    config.ports[usize::from(LAN1.0)] = GUESTS;
    let guests = interface("guests", Role::Inside, GATEWAY_LAN_MAC, Some("192.168.2.1/24"), None);
    config.interfaces.push(guests).expect("room");
    config
}

/// A gateway to which all hosts are known.
fn bench(mode: Mode) -> Bench {
    let mut bench = Bench::cold(config_with_guests(mode));
    for (host, gateway) in [(ALICE, GATEWAY_LAN), (GUEST, GATEWAY_GUESTS), (ISP, GATEWAY_WAN)] {
        let reply = bench.send(host.port, &arp_request(host, gateway));
        assert_eq!((reply.one().port, reply.one().destination_mac()), (host.port, host.mac));
    }
    bench
}

#[test]
fn hosts_of_every_inside_interface_share_the_external_address() {
    let mut bench = bench(Mode::NatDmz);
    for host in [ALICE, GUEST] {
        let out = bench.send(host.port, &udp(host, 5000, SERVER.address, 53, b"query"));
        assert_eq!((out.one().port, out.one().ip().source()), (WAN, GATEWAY_WAN));
        let port = out.one().ip().source_port();
        let back = bench.send(WAN, &udp(SERVER, 53, GATEWAY_WAN, port, b"answer"));
        assert_eq!((back.one().port, back.one().destination_mac()), (host.port, host.mac));
        assert_eq!(back.one().ip().destination(), host.address);
    }
}

#[test]
fn a_forward_leads_to_an_inside_host_of_any_interface() {
    let mut config = config_with_guests(Mode::NatDmz);
    config.firewall.v4.forwards = vec![forward(Protocol::UDP, 80..=80, GUEST, 8080)];
    let mut bench = Bench::cold(config);
    bench.send(LAN1, &arp_request(GUEST, GATEWAY_GUESTS));
    let out = bench.send(WAN, &udp(STRANGER, 4000, GATEWAY_WAN, 80, b"request"));
    assert_eq!((out.one().port, out.one().destination_mac()), (LAN1, GUEST.mac));
    assert_eq!(out.one().ip().endpoints(), "198.51.100.66:4000 > 192.168.2.30:8080");
}

#[test]
fn one_inside_network_is_routed_to_another_and_not_translated() {
    let mut bench = bench(Mode::NatDmz);
    let out = bench.send(LAN0, &udp(ALICE, 5000, GUEST.address, 53, b"query"));
    assert_eq!((out.one().port, out.one().destination_mac()), (LAN1, GUEST.mac));
    assert_eq!(out.one().ip().endpoints(), "192.168.1.10:5000 > 192.168.2.30:53");
}

#[test]
fn no_network_of_the_inside_is_reached_from_outside() {
    let mut bench = bench(Mode::NatDmz);
    for address in [ALICE.address, GUEST.address, GATEWAY_GUESTS] {
        bench
            .send(WAN, &udp(STRANGER, 4000, address, 53, b"query"))
            .assert_silently_dropped(DropReason::LanNotReachable);
    }
}

/// RFC 2827, section 3: A source address belongs to the interface that its packet comes in by.
#[test]
fn rfc2827_3_a_source_address_belongs_to_the_interface_that_its_packet_comes_in_by() {
    let mut bench = bench(Mode::NatDmz);
    for (port, from) in [(LAN0, GUEST), (LAN1, ALICE), (WAN, Host { port: WAN, ..GUEST })] {
        let forged = udp(Host { port, ..from }, 5000, SERVER.address, 53, b"query");
        bench.send(port, &forged).assert_silently_dropped(DropReason::SpoofedSource);
    }
}

/// RFC 1812, section 4.3.2.4: An error comes from the interface that it leaves by.
#[test]
fn rfc1812_4_3_2_4_an_error_comes_from_the_interface_of_its_receiver() {
    for mode in [Mode::NatDmz, Mode::Router] {
        let mut bench = bench(mode);
        for (host, gateway) in [(ALICE, GATEWAY_LAN), (GUEST, GATEWAY_GUESTS)] {
            let mut packet = udp(host, 5000, SERVER.address, 53, b"query");
            set_ttl(&mut packet, 1);
            let error = bench.send(host.port, &packet);
            error.assert_dropped(DropReason::TtlExpired);
            assert_eq!((error.one().port, error.one().ip().icmp()), (host.port, (11, 0)));
            assert_eq!((error.one().ip().source(), error.one().ip().destination()), (gateway, host.address));
        }
    }
}

#[test]
fn one_interface_uses_up_no_errors_of_another() {
    let mut bench = bench(Mode::Router);
    let expiring = |host| {
        let mut packet = udp(host, 5000, SERVER.address, 53, b"query");
        set_ttl(&mut packet, 1);
        packet
    };
    let told = (0..10_000).filter(|_| !bench.send(LAN1, &expiring(GUEST)).sent.is_empty()).count();
    assert!(told < 10_000, "errors are limited");
    assert_eq!(bench.send(LAN0, &expiring(ALICE)).one().ip().icmp(), (11, 0));
}

#[test]
fn clients_of_every_inside_interface_reach_the_dhcp_server() {
    let mut bench = bench(Mode::NatDmz);
    let nobody = |host: Host| Host { address: std::net::Ipv4Addr::UNSPECIFIED, ..host };
    for host in [ALICE, GUEST] {
        let mut discover = udp(nobody(host), 68, std::net::Ipv4Addr::BROADCAST, 67, &[1; 300]);
        discover[..6].copy_from_slice(&MacAddr::BROADCAST.0);
        let verdict = bench.send(host.port, &discover).verdict;
        assert_eq!(verdict, Verdict::Local(LocalClass::DhcpServer), "{host:?}");
    }
    // A client with a lease sends its request to the gateway's address, or to its network's broadcast address.
    for (host, own, network) in
        [(ALICE, GATEWAY_LAN, [192, 168, 1, 255]), (GUEST, GATEWAY_GUESTS, [192, 168, 2, 255])]
    {
        for to in [own, network.into()] {
            let verdict = bench.send(host.port, &udp(host, 68, to, 67, &[1; 300])).verdict;
            assert_eq!(verdict, Verdict::Local(LocalClass::DhcpServer), "{to}");
        }
    }
}

#[test]
fn no_station_has_a_hardware_address_of_the_gateways() {
    let mut config = config_with_guests(Mode::NatDmz);
    let mac = MacAddr([2, 0, 0, 0, 3, 7]);
    config.interfaces[GUESTS.index()].link = Link::Ethernet { mac };
    let mut bench = Bench::cold(config);
    for (port, own) in [(LAN0, mac), (LAN1, GATEWAY_LAN_MAC), (WAN, mac)] {
        let forged = arp_request(Host { mac: own, ..ALICE }, GATEWAY_LAN);
        bench.send(port, &forged).assert_silently_dropped(DropReason::SourceMacInvalid);
    }
}

#[test]
fn the_wan_may_have_the_hardware_address_of_a_host_of_the_lan() {
    let mut config = config_with_guests(Mode::NatDmz);
    config.interfaces[WAN_SIDE.index()].link = Link::Ethernet { mac: ALICE.mac };
    let mut bench = Bench::with_config(config);
    let query = bench.send(LAN0, &udp(ALICE, 5000, SERVER.address, 53, b"query"));
    assert_eq!(query.one().port, WAN);
    let forged = arp_request(Host { mac: ALICE.mac, ..ISP }, GATEWAY_WAN);
    bench.send(WAN, &forged).assert_silently_dropped(DropReason::SourceMacInvalid);
}

/// The widest inside interface decides whether there is anything to clamp.
#[test]
fn the_mss_is_clamped_for_the_interface_that_carries_more_than_the_wan() {
    let mut config = config_with_guests(Mode::NatDmz);
    config.interfaces[GUESTS.index()].mtu = 1300;
    config.interfaces[WAN_SIDE.index()].mtu = 1400;
    let mut bench = Bench::with_config(config);
    let out = bench.send(LAN0, &syn(ALICE, 5000, SERVER.address, 80, "S", 1460));
    assert_eq!(mss_of(out.one().ip()), 1360);
}

/// A hairpinned packet fits the smallest MTU of the inside interfaces, whichever host gets it.
#[test]
fn a_packet_to_the_wan_address_fits_every_inside_interface() {
    let mut config = config_with_guests(Mode::NatDmz);
    config.interfaces[GUESTS.index()].mtu = 1300;
    config.firewall.v4.forwards = vec![forward(Protocol::UDP, 80..=80, GUEST, 8080)];
    let mut bench = Bench::with_config(config);
    bench.send(LAN1, &arp_request(GUEST, GATEWAY_GUESTS));
    let mut packet = udp(ALICE, 5000, GATEWAY_WAN, 80, &[7; 1350]);
    set_dont_fragment(&mut packet, true);
    let refused = bench.send(LAN0, &packet);
    refused.assert_dropped(DropReason::MtuExceeded);
    assert_eq!((refused.one().port, refused.one().ip().icmp()), (LAN0, (3, 4)));
    assert_eq!(refused.one().ip().payload()[6..8], 1300_u16.to_be_bytes());
}

#[test]
fn an_interface_comes_and_goes_with_the_configuration() {
    let mut bench = Bench::new(Mode::NatDmz);
    bench.configure(|config| *config = config_with_guests(Mode::NatDmz));
    let announced = bench.pass(Duration::from_secs(5));
    assert!(announced.iter().any(|sent| sent.port == LAN1 && !sent.is_ipv4()), "{announced:?}");
    bench.send(LAN1, &arp_request(GUEST, GATEWAY_GUESTS)).one();
    bench.hosts_answer(false);
    let unknown = Host { address: [192, 168, 2, 99].into(), ..GUEST };
    let held = bench.send(LAN0, &udp(ALICE, 5000, unknown.address, 53, b"query"));
    assert_eq!(held.verdict, Verdict::Hold);

    bench.configure(|config| *config = common::config(Mode::NatDmz));
    assert_eq!(bench.dataplane.counters().held, 0);
    assert!(bench.dataplane.neighbors(bench.now).all(|neighbor| neighbor.interface != GUESTS));
    assert_eq!(bench.dataplane.stations(bench.now).filter(|station| station.mac == GUEST.mac).count(), 0);
    // A frame of the gateway's own that was on its way meanwhile.
    let raw = arp_request(ALICE, GUEST.address);
    bench.process(Ingress::RawFrame(GUESTS), &raw).assert_dropped(DropReason::PortDown);
}
