//! VLANs that lead to interfaces: their frames enter without the tag, and what leaves there leaves by the number that
//! the VLAN has among the ports. (IEEE 802.1Q)

mod common;

use std::net::Ipv4Addr;

use common::*;
use gatepost_dataplane::config::{Bounded, Config, Mode, VlanPort};
use gatepost_dataplane::{DropReason, LocalClass, Verdict};
use gatepost_ground::offload::PartialChecksum;
use gatepost_ground::wire::Protocol;
use gatepost_ground::wire::vlan::VlanId;
use gatepost_ground::{InterfaceId, MacAddr, Offload, PortId, PortSet, Role};

const GUESTS: InterfaceId = InterfaceId(2);
const GATEWAY_GUESTS: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 1);
const VID: u16 = 10;
/// The port numbers of the VLANs of both LAN ports, after the three ports of the configuration.
const GUESTS0: PortId = PortId(3);
const GUESTS1: PortId = PortId(4);
/// A guest behind each LAN port; both with tags.
const GUEST: Host =
    Host { port: LAN0, mac: MacAddr([2, 0, 0, 0, 3, 30]), address: Ipv4Addr::new(192, 168, 2, 30) };
const OTHER: Host =
    Host { port: LAN1, mac: MacAddr([2, 0, 0, 0, 3, 40]), address: Ipv4Addr::new(192, 168, 2, 40) };

fn vlan(port: PortId, vid: u16) -> VlanPort {
    VlanPort { port, vid: VlanId::new(vid).expect("a VLAN"), interface: GUESTS }
}

/// The office of the other tests, with guests in a VLAN of both LAN ports. One port has another number for it.
fn config_with_vlan(mode: Mode) -> Config {
    let mut config = config(mode);
    let guests = interface("guests", Role::Inside, GATEWAY_LAN_MAC, Some("192.168.2.1/24"), None);
    config.interfaces.push(guests).expect("room");
    config.vlans = [vlan(LAN0, VID), vlan(LAN1, 20)].into();
    config
}

fn guests_frame(frame: &[u8]) -> Vec<u8> {
    tagged(frame, VID)
}

fn bench(mode: Mode) -> Bench {
    let mut bench = Bench::with_config(config_with_vlan(mode));
    bench.send(LAN0, &guests_frame(&arp_request(GUEST, GATEWAY_GUESTS)));
    bench
}

#[test]
fn a_guest_asks_for_the_gateway_and_is_answered_in_the_vlan() {
    let mut bench = Bench::with_config(config_with_vlan(Mode::NatDmz));
    let asked = bench.send(LAN0, &guests_frame(&arp_request(GUEST, GATEWAY_GUESTS)));
    let reply = asked.sent.iter().find(|sent| sent.port == GUESTS0).expect("a reply");
    assert_eq!(reply.destination_mac(), GUEST.mac);
    // The question goes on to the guests behind the other port, and to no other hosts.
    let others: Vec<_> = asked.sent.iter().map(|sent| sent.port).filter(|port| *port != GUESTS0).collect();
    assert_eq!(others, [GUESTS1]);
    assert!(bench.dataplane.neighbors(bench.now).any(|neighbor| neighbor.interface == GUESTS));
    // Without the tag it is another network.
    bench
        .send(LAN0, &arp_request(GUEST, GATEWAY_LAN))
        .sent
        .iter()
        .for_each(|sent| assert_ne!(sent.port, GUESTS1));
}

#[test]
fn what_guests_send_is_translated_and_comes_back() {
    let mut bench = bench(Mode::NatDmz);
    let out = bench.send(LAN0, &guests_frame(&udp(GUEST, 5000, SERVER.address, 53, b"query")));
    assert_eq!((out.one().port, out.one().ip().source()), (WAN, GATEWAY_WAN));
    let back = bench.send(WAN, &udp(SERVER, 53, GATEWAY_WAN, 5000, b"answer"));
    assert_eq!((back.one().port, back.one().destination_mac()), (GUESTS0, GUEST.mac));
    let ping = bench.send(LAN0, &guests_frame(&echo_request(GUEST, GATEWAY_GUESTS, 1, 1)));
    assert_eq!((ping.one().port, ping.one().ip().source()), (GUESTS0, GATEWAY_GUESTS));
}

#[test]
fn guests_are_bridged_among_the_ports_of_their_vlan() {
    let mut bench = bench(Mode::NatDmz);
    let hello = bench.send(LAN1, &tagged(&udp(OTHER, 1, GUEST.address, 2, b"?")[..], 20));
    // The helper's frames are for the gateway; the other guest is routed to the guest.
    assert_eq!((hello.one().port, hello.one().destination_mac()), (GUESTS0, GUEST.mac));
    let mut frame = udp(OTHER, 1, GUEST.address, 2, b"?");
    frame[..6].copy_from_slice(&GUEST.mac.0);
    let bridged = bench.send(LAN1, &tagged(&frame, 20));
    assert_eq!((bridged.verdict, bridged.one().bytes.clone()), (Verdict::Transmit(GUESTS0), frame));
}

#[test]
fn a_source_of_one_network_is_none_of_the_other() {
    let mut bench = bench(Mode::NatDmz);
    let out = udp(GUEST, 5000, SERVER.address, 53, b"query");
    bench.send(LAN0, &out).assert_silently_dropped(DropReason::SpoofedSource);
    let out = udp(ALICE, 5000, SERVER.address, 53, b"query");
    bench.send(LAN0, &guests_frame(&out)).assert_silently_dropped(DropReason::SpoofedSource);
}

#[test]
fn a_tag_that_leads_nowhere_is_bridged_as_before() {
    let mut bench = bench(Mode::NatDmz);
    let mut broadcast = udp(GUEST, 5000, SERVER.address, 53, b"query");
    broadcast[..6].copy_from_slice(&MacAddr::BROADCAST.0);
    // Of the other port, this is the VLAN; of this port it is none.
    let foreign = tagged(&broadcast, 20);
    let flooded = bench.send(LAN0, &foreign);
    assert_eq!(flooded.verdict, Verdict::Flood { ports: PortSet::only(LAN1), local: None });
    assert_eq!(flooded.one().bytes, foreign);
    // On the WAN it leads nowhere either.
    let on_wan = tagged(&echo_request(ISP, GATEWAY_WAN, 1, 1), VID);
    bench.send(WAN, &on_wan).assert_silently_dropped(DropReason::VlanTagged);
}

#[test]
fn a_priority_tag_before_the_tag_is_no_obstacle_and_a_second_vlan_is_not_read() {
    let mut bench = bench(Mode::NatDmz);
    let ping = echo_request(GUEST, GATEWAY_GUESTS, 1, 1);
    assert_eq!(bench.send(LAN0, &tagged(&guests_frame(&ping), 0)).one().port, GUESTS0);
    assert_eq!(bench.send(LAN0, &guests_frame(&tagged(&ping, 0))).one().port, GUESTS0);
    bench.send(LAN0, &guests_frame(&tagged(&ping, 7))).assert_silently_dropped(DropReason::VlanTagged);
    // The VLAN of the port, but inside another.
    bench.send(LAN0, &tagged(&guests_frame(&ping), 7)).assert_silently_dropped(DropReason::VlanTagged);
}

#[test]
fn a_port_may_take_tagged_frames_only() {
    let mut config = config_with_vlan(Mode::NatDmz);
    config.ports[usize::from(LAN0.0)] = InterfaceId(200);
    let mut bench = Bench::cold(config);
    bench.send(LAN0, &guests_frame(&arp_request(GUEST, GATEWAY_GUESTS))).sent.first().expect("a reply");
    bench.send(LAN0, &arp_request(ALICE, GATEWAY_LAN)).assert_silently_dropped(DropReason::VlanNotAllowed);
    let foreign = tagged(&arp_request(GUEST, GATEWAY_GUESTS), 11);
    bench.send(LAN0, &foreign).assert_silently_dropped(DropReason::VlanNotAllowed);
}

/// The hardware type of an untagged ARP frame is at the place of a tag's VLAN id.
#[test]
fn a_frame_without_a_tag_enters_by_no_vlan() {
    let mut config = config_with_vlan(Mode::NatDmz);
    config.ports[usize::from(LAN0.0)] = InterfaceId(200);
    config.vlans = [vlan(LAN0, 1)].into();
    let mut bench = Bench::cold(config);
    bench.send(LAN0, &arp_request(GUEST, GATEWAY_GUESTS)).assert_silently_dropped(DropReason::VlanNotAllowed);
    bench.send(LAN0, &tagged(&arp_request(GUEST, GATEWAY_GUESTS), 1)).sent.first().expect("a reply");
}

#[test]
fn of_several_interfaces_that_a_vlan_is_said_to_lead_to_the_first_counts() {
    let mut config = config_with_vlan(Mode::NatDmz);
    config.vlans = [vlan(LAN0, VID), VlanPort { interface: LAN_SIDE, ..vlan(LAN0, VID) }].into();
    let mut bench = Bench::cold(config);
    bench.send(LAN0, &guests_frame(&arp_request(GUEST, GATEWAY_GUESTS)));
    let learnt: Vec<_> = bench.dataplane.neighbors(bench.now).map(|neighbor| neighbor.interface).collect();
    assert_eq!(learnt, [GUESTS]);
}

#[test]
fn a_guest_is_told_of_an_error_in_the_vlan() {
    let mut bench = bench(Mode::NatDmz);
    let mut packet = udp(GUEST, 5000, SERVER.address, 53, b"query");
    set_ttl(&mut packet, 1);
    let error = bench.send(LAN0, &guests_frame(&packet));
    error.assert_dropped(DropReason::TtlExpired);
    assert_eq!((error.one().port, error.one().ip().icmp()), (GUESTS0, (11, 0)));
    assert_eq!(error.one().ip().source(), GATEWAY_GUESTS);
}

#[test]
fn a_guest_in_an_unknown_connection_is_reset_in_the_vlan() {
    let mut bench = bench(Mode::Nat);
    let stray = tcp(GUEST, 40_000, SERVER.address, 80, "PA", 5_000, 77_001);
    let outcome = bench.send(LAN0, &guests_frame(&stray));
    assert_eq!((outcome.one().port, outcome.one().destination_mac()), (GUESTS0, GUEST.mac));
    assert_eq!(outcome.one().ip().endpoints(), "198.51.100.7:80 > 192.168.2.30:40000");
}

#[test]
fn the_dhcp_server_is_told_the_vlan_that_a_client_is_in() {
    let mut bench = bench(Mode::NatDmz);
    let nobody = Host { address: Ipv4Addr::UNSPECIFIED, ..GUEST };
    let mut discover = udp(nobody, 68, Ipv4Addr::BROADCAST, 67, &[1; 300]);
    discover[..6].copy_from_slice(&MacAddr::BROADCAST.0);
    let heard = bench.send(LAN0, &guests_frame(&discover));
    let expected = Verdict::Flood { ports: PortSet::only(GUESTS1), local: Some(LocalClass::DhcpServer) };
    assert_eq!(heard.verdict, expected);
    assert_eq!(heard.local, Some(discover));
}

#[test]
fn forwards_and_fragments_reach_a_host_of_a_vlan() {
    let mut config = config_with_vlan(Mode::NatDmz);
    config.firewall.v4.forwards = vec![forward(Protocol::UDP, 80..=80, GUEST, 8080)];
    let mut bench = Bench::with_config(config);
    bench.send(LAN0, &guests_frame(&arp_request(GUEST, GATEWAY_GUESTS)));
    let asked = bench.send(WAN, &udp(STRANGER, 4000, GATEWAY_WAN, 80, b"request"));
    assert_eq!(
        (asked.one().port, asked.one().ip().endpoints()),
        (GUESTS0, "198.51.100.66:4000 > 192.168.2.30:8080".to_owned())
    );
    let pieces = fragment(&udp(GUEST, 8080, STRANGER.address, 4000, &[9; 1200]), 3, 504);
    assert_eq!(bench.send(LAN0, &guests_frame(&pieces[1])).verdict, Verdict::Hold);
    let sent = bench.send(LAN0, &guests_frame(&pieces[0])).sent;
    assert!(sent.len() == 2 && sent.iter().all(|sent| sent.port == WAN && sent.ip().source() == GATEWAY_WAN));
}

#[test]
fn what_is_left_to_do_moves_with_the_tag() {
    let mut bench = bench(Mode::NatDmz);
    let packet = guests_frame(&udp(GUEST, 5000, SERVER.address, 53, b"?"));
    let offload = |start| Offload::Checksum(PartialChecksum { start, offset: 6 });
    bench.send_offloaded(LAN0, &packet, offload(17)).assert_silently_dropped(DropReason::OffloadInvalid);
    assert_eq!(bench.send_offloaded(LAN0, &packet, offload(38)).verdict, Verdict::Transmit(WAN));
}

#[test]
fn a_vlan_that_goes_leaves_its_stations_behind() {
    let mut bench = bench(Mode::NatDmz);
    assert!(bench.dataplane.stations(bench.now).any(|station| station.port == GUESTS0));
    // The number is another VLAN's now.
    bench.configure(|config| config.vlans = [vlan(LAN1, 20)].into());
    assert!(bench.dataplane.stations(bench.now).all(|station| station.mac != GUEST.mac));
    let ping = guests_frame(&echo_request(GUEST, GATEWAY_GUESTS, 1, 1));
    bench.send(LAN0, &ping).assert_silently_dropped(DropReason::VlanTagged);
    bench.configure(|config| config.vlans.clear());
    assert!(
        bench.dataplane.stations(bench.now).all(|station| station.mac != GUEST.mac || station.port == LAN0)
    );
}

#[test]
fn a_vlan_without_a_number_or_an_interface_leads_nowhere() {
    let mut config = config_with_vlan(Mode::NatDmz);
    let many = (1..=64).map(|vid| vlan(LAN0, vid)).collect::<Vec<_>>();
    config.vlans = Bounded::try_from(many).expect("no more than there may be");
    config.vlans[0].interface = InterfaceId(9);
    assert_eq!(config.vlan_ports().count(), 60, "three ports and 61 VLANs, one of which leads nowhere");
    let mut bench = Bench::cold(config);
    for (vid, is_read) in [(1, false), (2, true), (61, true), (62, false), (64, false)] {
        let asked = bench.send(LAN0, &tagged(&arp_request(GUEST, GATEWAY_GUESTS), vid));
        assert_eq!(
            asked.verdict == Verdict::Flood { ports: PortSet::only(LAN1), local: None },
            !is_read,
            "{vid}"
        );
    }
}
