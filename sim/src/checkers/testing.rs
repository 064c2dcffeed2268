//! Fixtures of the checkers' tests: packets made by hand.

use std::net::Ipv4Addr;

use dhcproto::Encodable;
use dhcproto::v4::{self, DhcpOption};
use gatepost::config::Config;
use gatepost::control::report::{Counters, Flow, Interface, Leases, Neighbors, Services, Status};
use gatepost_ground::{Instant, MacAddr};

use super::{Passage, SegmentId, Side, Snapshot, Way};
use crate::packet::{Content, Ipv4, Packet, Transport};

/// The default configuration: the LAN is 192.168.1.0/24, the mode `nat-dmz`.
pub fn config() -> Config {
    Config::default()
}

pub fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

pub fn packet(source: &str, destination: &str, transport: Transport) -> Packet {
    Packet {
        source_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        destination_mac: MacAddr([2, 0, 0, 0, 0, 2]),
        content: Content::Ipv4(Ipv4 {
            source: ip(source),
            destination: ip(destination),
            ttl: 63,
            transport,
            content: 0,
            beginning: Vec::new(),
        }),
    }
}

pub fn tcp(source_port: u16, destination_port: u16) -> Transport {
    segment(source_port, destination_port, "A")
}

/// A TCP segment with some of the flags S, A, F and R.
pub fn segment(source_port: u16, destination_port: u16, flags: &str) -> Transport {
    let has = |flag| flags.contains(flag);
    Transport::Tcp {
        source_port,
        destination_port,
        sequence: 1,
        acknowledgment: has('A').then_some(1),
        is_opening: has('S') && !has('A'),
        is_accepting: has('S') && has('A'),
        is_closing: has('F'),
        is_reset: has('R'),
        payload: Vec::new(),
        checksum_ok: true,
    }
}

/// The TCP segment with `number` as the number of its first octet.
pub fn at(number: u32, mut segment: Transport) -> Transport {
    if let Transport::Tcp { sequence, .. } = &mut segment {
        *sequence = number;
    }
    segment
}

pub fn arp(sender: &str, target: &str, is_request: bool) -> Packet {
    let content = Content::Arp { sender: ip(sender), target: ip(target), is_request };
    Packet { content, ..packet(sender, target, Transport::Other) }
}

/// A DHCP message of the client `client`.
pub fn dhcp(client: &[u8], kind: v4::MessageType, edit: impl FnOnce(&mut v4::Message)) -> Vec<u8> {
    let mut message = v4::Message::default();
    message.set_chaddr(client);
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    edit(&mut message);
    message.to_vec().expect("a message")
}

/// An ACK of `address` to `client` for `secs`.
pub fn acknowledgement(client: &[u8], address: &str, secs: u32) -> Packet {
    let message = dhcp(client, v4::MessageType::Ack, |message| {
        message.set_yiaddr(ip(address));
        message.opts_mut().insert(DhcpOption::AddressLeaseTime(secs));
    });
    packet("192.168.1.1", "255.255.255.255", udp(67, 68, message))
}

/// The packet with another content.
pub fn numbered(mut packet: Packet, number: u64) -> Packet {
    if let Content::Ipv4(ip) = &mut packet.content {
        ip.content = number;
    }
    packet
}

/// A flow from `client` with the external endpoint `seen_as` to `destination`.
pub fn flow(client: &str, seen_as: &str, destination: &str) -> Flow {
    Flow {
        protocol: "udp".to_owned(),
        client: client.to_owned(),
        destination: destination.to_owned(),
        server: destination.to_owned(),
        client_seen_as: seen_as.to_owned(),
        state: "open".to_owned(),
        packets_sent: 1,
        packets_received: 0,
        octets_sent: 1,
        octets_received: 0,
        expires_in_secs: 1,
    }
}

/// A report at `secs` of a gateway without traffic.
pub fn snapshot(secs: u64) -> Snapshot {
    let interface = |address: &str| Interface {
        mac: "02:00:00:00:00:01".to_owned(),
        address: Some(address.parse().expect("a network")),
        gateway: None,
        configured_by: "static".to_owned(),
        since_secs: None,
        lease: None,
    };
    Snapshot {
        now: Instant::from_secs(secs),
        status: Status {
            problems: Vec::new(),
            service_problems: Vec::new(),
            version: String::new(),
            hostname: "gatepost".to_owned(),
            domain: "office.example".to_owned(),
            mode: "nat".to_owned(),
            uptime_secs: secs,
            lan: interface("192.168.1.1/24"),
            wan: Some(interface("203.0.113.10/24")),
            dns_upstream: Vec::new(),
            flows: 0,
            leases: 0,
            ports: Vec::new(),
            unconfirmed: None,
        },
        counters: Counters::default(),
        leases: Leases { leases: Vec::new(), former: Vec::new() },
        neighbors: Neighbors { neighbors: Vec::new(), stations: Vec::new() },
        services: Services { services: Vec::new() },
        flows: None,
    }
}

pub fn udp(source_port: u16, destination_port: u16, payload: Vec<u8>) -> Transport {
    Transport::Udp { source_port, destination_port, payload, checksum_ok: true }
}

pub fn passage(secs: u64, way: Way, side: Side, packet: &Packet) -> Passage<'_> {
    Passage { now: Instant::from_secs(secs), way, side, segment: SegmentId(0), packet }
}
