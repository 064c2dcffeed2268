//! Forwards and the default host, from the WAN and from the LAN itself.

use std::net::{SocketAddrV4, UdpSocket};

use crate::harness::programs::{WebServer, assert_echoes, curl, echo_client, echo_server, udp_socket};
use crate::harness::{ISP, Office, SERVER, WAN};

const CAMERA: &str = "firewall.forwards = [{ name = 'camera', wan_port = '8443', to = '192.168.1.101:443' }]";

#[test]
fn the_internet_reaches_a_forwarded_port_and_no_other() {
    let office = Office::new(1, CAMERA);
    let _camera = [443, 8443, 80].map(|port| WebServer::start(office.pc(1), port));
    // The server sees the client's address.
    assert_eq!(curl(&office.internet, "", (WAN, 8443)), Ok(ISP));
    assert_eq!(curl(&office.internet, &format!("--interface {SERVER}"), (WAN, 8443)), Ok(SERVER));
    for port in [443, 80] {
        assert!(curl(&office.internet, "-m 1", (WAN, port)).is_err(), "port {port}");
    }
    // Nor by its own address, past the NAT.
    office.internet.sh(&format!("ip route add 192.168.1.0/24 via {WAN}"));
    assert!(curl(&office.internet, "-m 1", (Office::address(1), 443)).is_err());
    office.gateway().assert_accounts(&["unsolicited", "lan-not-reachable"]);
}

#[test]
fn the_lan_reaches_a_forwarded_port_by_the_wan_address() {
    let office = Office::new(2, CAMERA);
    let _camera = WebServer::start(office.pc(1), 443);
    // RFC 4787, REQ-9a: the server sees the WAN address, also when it asks itself.
    for pc in [2, 1] {
        assert_eq!(curl(office.pc(pc), "", (WAN, 8443)), Ok(WAN), "pc{pc}");
    }
    office.gateway().assert_accounts(&[]);
}

#[test]
fn a_range_of_ports_leads_to_as_many() {
    let office = Office::new(
        1,
        "firewall.forwards = [{ protocol = 'tcp+udp', wan_port = '8000-8010', to = '192.168.1.101:9000' }]",
    );
    let servers = [9000, 9010].map(|port| (port - 1000, echo_server(office.pc(1), port)));
    for (wan_port, _) in &servers {
        let options = format!(",sourceport={}", 20_000 + wan_port);
        let (mut client, seen_as) = echo_client(&office.internet, &options, (WAN, *wan_port));
        assert_eq!(seen_as, format!("{ISP} {}", 20_000 + wan_port));
        assert_echoes(&mut client, "hello");
    }
    for (wan_port, port) in [(8000, 9000), (8005, 9005), (8010, 9010)] {
        let server = udp_socket(office.pc(1), (Office::address(1), port));
        let client = udp_socket(&office.internet, (ISP, 20_000));
        assert_exchange(&client, &server, SocketAddrV4::new(WAN, wan_port), SocketAddrV4::new(ISP, 20_000));
    }
    assert!(curl(&office.internet, "-m 1", (WAN, 8011)).is_err());
    office.gateway().assert_accounts(&["unsolicited"]);
}

#[test]
fn a_forward_is_for_those_it_names() {
    let office = Office::new(
        2,
        &format!(
            "firewall.forwards = [
                {{ wan_port = '8443', to = '192.168.1.101:443', from = ['{SERVER}/32'] }},
            ]"
        ),
    );
    let _camera = WebServer::start(office.pc(1), 443);
    assert_eq!(curl(&office.internet, &format!("--interface {SERVER}"), (WAN, 8443)), Ok(SERVER));
    assert!(curl(&office.internet, "-m 1", (WAN, 8443)).is_err());
    office.gateway().assert_accounts(&["forward-source-denied"]);
    // The LAN always may.
    assert_eq!(curl(office.pc(2), "", (WAN, 8443)), Ok(WAN));
}

#[test]
fn the_dmz_host_gets_what_nothing_else_claims() {
    let office = Office::new(
        2,
        "firewall.dmz_host = '192.168.1.102'
         firewall.forwards = [{ wan_port = '8443', to = '192.168.1.101:443' }]",
    );
    let _camera = WebServer::start(office.pc(1), 443);
    let _default = echo_server(office.pc(2), 7000);
    assert_eq!(curl(&office.internet, "", (WAN, 8443)), Ok(ISP));
    let (mut client, seen_as) = echo_client(&office.internet, ",sourceport=40000", (WAN, 7000));
    assert_eq!(seen_as, format!("{ISP} 40000"));
    assert_echoes(&mut client, "hello");
    let (mut client, seen_as) = echo_client(office.pc(1), "", (WAN, 7000));
    assert!(seen_as.starts_with(&format!("{WAN} ")), "{seen_as}");
    assert_echoes(&mut client, "hello by the hairpin");

    let server = udp_socket(office.pc(2), (Office::address(2), 5000));
    let client = udp_socket(&office.internet, (ISP, 20_000));
    assert_exchange(&client, &server, SocketAddrV4::new(WAN, 5000), SocketAddrV4::new(ISP, 20_000));
    office.gateway().assert_accounts(&[]);
}

#[test]
fn a_forwarded_datagram_hairpins_to_its_sender() {
    let office = Office::new(
        1,
        "firewall.forwards = [{ protocol = 'udp', wan_port = '5000', to = '192.168.1.101:5001' }]",
    );
    let server = udp_socket(office.pc(1), (Office::address(1), 5001));
    let client = udp_socket(office.pc(1), (Office::address(1), 20_000));
    assert_exchange(&client, &server, SocketAddrV4::new(WAN, 5000), SocketAddrV4::new(WAN, 20_000));
}

#[test]
fn a_forwarded_host_that_was_away_is_reached_as_soon_as_it_is_back() {
    let office = Office::new(1, CAMERA);
    let pc = office.pc(1);
    pc.sh("ip address flush dev eth0");
    assert!(curl(&office.internet, "-m 1", (WAN, 8443)).is_err());
    office.give_static_address(1);
    let _camera = WebServer::start(pc, 443);
    assert_eq!(curl(&office.internet, "-m 15 --retry 5 --retry-connrefused", (WAN, 8443)), Ok(ISP));
}

/// Asserts that a datagram from `client` to `target` reaches `server` as from `seen_as`, and its answer
/// the client.
fn assert_exchange(client: &UdpSocket, server: &UdpSocket, target: SocketAddrV4, seen_as: SocketAddrV4) {
    let mut buffer = [0; 64];
    client.send_to(b"question", target).expect("it can be sent");
    let (len, sender) = server.recv_from(&mut buffer).expect("the question comes");
    assert_eq!((&buffer[..len], sender), (&b"question"[..], seen_as.into()));
    server.send_to(b"answer", sender).expect("it can be sent");
    let (len, sender) = client.recv_from(&mut buffer).expect("the answer comes");
    assert_eq!((&buffer[..len], sender), (&b"answer"[..], target.into()));
}
