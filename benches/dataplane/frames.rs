//! Frames prepared ahead, so that making them costs nothing when time is taken.

use std::net::Ipv4Addr;

use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, PacketBuilder, TcpHeader};
use gatepost_ground::wire::tcp::Flags;
use gatepost_ground::{MacAddr, PortId};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::office::{GATEWAY_LAN, GATEWAY_LAN_MAC, GATEWAY_WAN, GATEWAY_WAN_MAC, LAN_PORTS, WAN};

/// Hosts on the LAN, half of them behind each port.
pub const HOSTS: usize = 16;
/// Ports that the hosts connect from, each by one host only, so that it is free on the WAN address.
const CLIENT_PORTS: usize = 16_384;
const CLIENT_PORT_FIRST: u16 = 10_000;
const NEWCOMER_PORT_FIRST: u16 = 30_000;
const HTTPS: u16 = 443;
const ISP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const ISP_MAC: MacAddr = MacAddr([2, 0, 0, 0, 2, 2]);

/// The shortest frame, without FCS.
const FRAME_LEN: usize = 60;

/// A frame as a port receives it.
#[derive(Clone, Copy)]
pub struct Prepared {
    pub port: PortId,
    pub bytes: [u8; FRAME_LEN],
}

impl Prepared {
    fn new(port: PortId, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = Vec::with_capacity(FRAME_LEN);
        write(&mut bytes);
        bytes.resize(FRAME_LEN, 0);
        Self { port, bytes: bytes.try_into().expect("a short frame") }
    }
}

/// Prepared frames, over and over.
pub struct Frames {
    prepared: Vec<Prepared>,
    next: usize,
}

impl Frames {
    /// `prepared` in random order.
    pub fn shuffled(mut prepared: Vec<Prepared>) -> Self {
        shuffle(&mut prepared);
        Self { prepared, next: 0 }
    }

    pub fn next(&mut self) -> &Prepared {
        let at = self.next;
        self.next = (at + 1) % self.prepared.len();
        &self.prepared[at]
    }
}

/// Puts `items` into an order that is random, and always the same.
pub fn shuffle<T>(items: &mut [T]) {
    items.shuffle(&mut StdRng::seed_from_u64(7));
}

/// A connection from a LAN host to a server on the internet.
#[derive(Clone, Copy)]
pub struct Connection {
    pub host: usize,
    pub host_port: u16,
    pub server: Ipv4Addr,
}

impl Connection {
    /// The connection `number` of those that are there from the beginning.
    pub fn established(number: usize) -> Self {
        Self::numbered(number, CLIENT_PORT_FIRST)
    }

    /// The connection `number` of those that are opened meanwhile, at most [`Self::NEWCOMERS_MAX`].
    pub fn newcomer(number: usize) -> Self {
        Self::numbered(number, NEWCOMER_PORT_FIRST)
    }

    /// How many newcomers find a port of their own.
    pub const NEWCOMERS_MAX: usize = CLIENT_PORTS;

    fn numbered(number: usize, port_first: u16) -> Self {
        let server =
            Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 1).to_bits() + (number / CLIENT_PORTS) as u32);
        let host_port = port_first + (number % CLIENT_PORTS) as u16;
        Self { host: number % HOSTS, host_port, server }
    }

    /// A segment from the host.
    pub fn out(self, flags: Flags) -> Prepared {
        let macs = (host_mac(self.host), GATEWAY_LAN_MAC);
        segment(host_port(self.host), macs, (host(self.host), self.host_port), (self.server, HTTPS), flags)
    }

    /// A segment from the server, to the port of `to` that it knows the host by.
    pub fn back(self, to: Ipv4Addr, flags: Flags) -> Prepared {
        segment(WAN, (ISP_MAC, GATEWAY_WAN_MAC), (self.server, HTTPS), (to, self.host_port), flags)
    }
}

/// The address of a LAN host.
pub fn host(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, 10 + number as u8)
}

/// A segment from one LAN host to another behind the other port.
pub fn between_hosts(from: usize) -> Prepared {
    let to = (from + 1) % HOSTS;
    let macs = (host_mac(from), host_mac(to));
    segment(host_port(from), macs, (host(from), 1), (host(to), 2), Flags::ACK)
}

/// Everybody next to the gateway asks for it, and is known then.
pub fn greetings() -> impl Iterator<Item = Prepared> {
    let hosts = (0..HOSTS).map(|n| question(host_port(n), host_mac(n), host(n), GATEWAY_LAN));
    hosts.chain([question(WAN, ISP_MAC, ISP, GATEWAY_WAN)])
}

/// The provider's router.
pub const fn isp() -> Ipv4Addr {
    ISP
}

pub fn host_mac(number: usize) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, 10 + number as u8])
}

fn host_port(number: usize) -> PortId {
    LAN_PORTS[number % LAN_PORTS.len()]
}

fn segment(
    port: PortId,
    (from_mac, to_mac): (MacAddr, MacAddr),
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
    flags: Flags,
) -> Prepared {
    let mut tcp = TcpHeader::new(from.1, to.1, 1, 64_000);
    tcp.syn = flags.contains(Flags::SYN);
    tcp.ack = flags.contains(Flags::ACK);
    // Both ends begin at 0, and say nothing.
    tcp.sequence_number = u32::from(!tcp.syn);
    tcp.acknowledgment_number = u32::from(tcp.ack);
    let packet = PacketBuilder::ethernet2(from_mac.0, to_mac.0).ipv4(from.0.octets(), to.0.octets(), 64);
    Prepared::new(port, |bytes| packet.tcp_header(tcp).write(bytes, &[]).expect("it fits"))
}

fn question(port: PortId, mac: MacAddr, from: Ipv4Addr, target: Ipv4Addr) -> Prepared {
    let (hardware, protocol) = (ArpHardwareId::ETHERNET, EtherType::IPV4);
    let (sender, unknown, target) = (from.octets(), MacAddr::ZERO.0, target.octets());
    let arp = ArpPacket::new(hardware, protocol, ArpOperation::REQUEST, &mac.0, &sender, &unknown, &target)
        .expect("lengths of Ethernet and IPv4");
    let packet = PacketBuilder::ethernet2(mac.0, MacAddr::BROADCAST.0).arp(arp);
    Prepared::new(port, |bytes| packet.write(bytes).expect("it fits"))
}
