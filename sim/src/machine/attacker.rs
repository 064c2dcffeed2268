//! An attacker on the WAN: it scans the gateway's ports, sends packets with forged LAN addresses or to LAN addresses,
//! and injects segments into other hosts' connections, of which it knows everything but the sequence numbers. It makes
//! its frames with etherparse.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::{ArpOperation, Icmpv4Type, PacketBuilder};
use gatepost_ground::{Instant, MacAddr};

use super::internet::{CHAT_ADDRESS, CHAT_PORT, DNS_PORT, RESOLVER_ADDRESSES};
use super::{Machine, Record, forgery};
use crate::packet::{Content, Packet, Transport};

/// Time between two shots.
const SHOT_INTERVAL: Duration = Duration::from_millis(2);
/// Time between two questions for the victim's hardware address.
const ARP_INTERVAL: Duration = Duration::from_secs(1);
const MAC: MacAddr = MacAddr([0x02, 0x00, 0x5e, 0x66, 0x66, 0x66]);
const SOURCE_PORT: u16 = 31_337;
const TTL: u8 = 64;
/// The time to live of a segment that claims to be another's, by which it is known wherever it gets.
pub const FORGED_TTL: u8 = 99;

/// A packet to fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shot {
    /// A SYN to the victim's port.
    Syn(u16),
    /// A datagram to the victim's port.
    Udp(u16),
    /// A ping to the victim.
    Ping,
    /// A datagram past the NAT to a LAN address.
    ToLan(Ipv4Addr),
    /// A datagram that claims to come from a LAN address.
    FromLan(Ipv4Addr),
    /// An unsolicited ARP reply: an address is the attacker's.
    Poison(Ipv4Addr),
    /// A packet to the victim's port that claims to come from a server that the victim talks to.
    Forged {
        /// The server and its port.
        server: (Ipv4Addr, u16),
        /// The victim's port.
        port: u16,
        /// A guess at the sequence numbers, which only an observer of the packets knows.
        guess: u32,
        /// The kind.
        forgery: Forgery,
    },
}

/// The forgeries of a blind attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// A RST with a guessed sequence number.
    Reset,
    /// Data with guessed numbers.
    Data,
    /// The opening of a connection that is there.
    Opening,
    /// An ICMP error about a segment of the victim's, with a guessed sequence number.
    Unreachable,
    /// An answer of a name server's with a guessed identifier.
    Answer,
}

impl Forgery {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::Reset, Self::Data, Self::Opening, Self::Unreachable, Self::Answer];

    /// The victim's peer.
    fn server(self) -> (Ipv4Addr, u16) {
        match self {
            Self::Answer => (RESOLVER_ADDRESSES[0], DNS_PORT),
            _ => (CHAT_ADDRESS, CHAT_PORT),
        }
    }
}

/// A forgery for every port that a conversation may be seen with, and some guess for each.
pub fn blind(forgery: Forgery) -> impl Iterator<Item = Shot> {
    (49_152..=u16::MAX).map(move |port| Shot::Forged {
        server: forgery.server(),
        port,
        guess: u32::from(port).wrapping_mul(0x9e37_79b1),
        forgery,
    })
}

/// The attacker.
pub struct Attacker {
    address: Ipv4Addr,
    victim: Option<(Ipv4Addr, Option<MacAddr>)>,
    shots: VecDeque<Shot>,
    next_at: Instant,
    replies: Vec<Vec<u8>>,
    record: AttackRecord,
}

/// The attacker's record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttackRecord {
    /// Packets fired.
    pub fired: u64,
    /// Packets that came back, of any kind but ARP.
    pub answers: u64,
    /// Ports that accepted a connection.
    pub open_ports: Vec<u16>,
}

impl Attacker {
    /// An attacker at `address` that does nothing yet.
    pub fn new(address: Ipv4Addr) -> Self {
        Self {
            address,
            victim: None,
            shots: VecDeque::new(),
            next_at: Instant::ZERO,
            replies: Vec::new(),
            record: AttackRecord::default(),
        }
    }

    /// Fires `shots` at `victim`, from now on.
    pub fn attack(&mut self, victim: Ipv4Addr, shots: impl IntoIterator<Item = Shot>) {
        self.victim = Some((victim, None));
        self.shots.extend(shots);
    }

    fn packet(&self, shot: Shot, victim: Ipv4Addr, victim_mac: MacAddr) -> Vec<u8> {
        if let Shot::Poison(address) = shot {
            return forgery::arp(MAC, ArpOperation::REPLY, address, victim_mac, victim);
        }
        let mut frame = Vec::new();
        let own = self.address.octets();
        let (source, destination) = match shot {
            Shot::Syn(_) | Shot::Udp(_) | Shot::Ping | Shot::Poison(_) => (own, victim.octets()),
            Shot::ToLan(address) => (own, address.octets()),
            Shot::FromLan(address) | Shot::Forged { server: (address, _), .. } => {
                (address.octets(), victim.octets())
            }
        };
        let ttl = if matches!(shot, Shot::Forged { .. }) { FORGED_TTL } else { TTL };
        let ip = PacketBuilder::ethernet2(MAC.0, victim_mac.0).ipv4(source, destination, ttl);
        let written = match shot {
            Shot::Syn(port) => ip.tcp(SOURCE_PORT, port, 1, 1_024).syn().write(&mut frame, &[]),
            Shot::Udp(port) => ip.udp(SOURCE_PORT, port).write(&mut frame, b"knock"),
            Shot::Ping | Shot::Poison(_) => ip.icmpv4_echo_request(666, 1).write(&mut frame, b"knock"),
            Shot::ToLan(_) | Shot::FromLan(_) => ip.udp(SOURCE_PORT, 137).write(&mut frame, b"knock"),
            Shot::Forged { server: (server, from_port), port, guess, forgery } => match forgery {
                Forgery::Reset => ip.tcp(from_port, port, guess, 0).rst().write(&mut frame, &[]),
                Forgery::Data => {
                    ip.tcp(from_port, port, guess, 1_024).ack(guess).psh().write(&mut frame, b"a forged line")
                }
                Forgery::Opening => ip.tcp(from_port, port, guess, 1_024).syn().write(&mut frame, &[]),
                Forgery::Unreachable => {
                    let error = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Port);
                    let quote = quote(victim, port, (server, from_port), guess);
                    ip.icmpv4(error).write(&mut frame, &quote)
                }
                Forgery::Answer => {
                    let answer = forgery::dns_answer(guess as u16, self.address);
                    ip.udp(from_port, port).write(&mut frame, &answer)
                }
            },
        };
        written.expect("a vector takes everything");
        frame
    }

    fn arp(&self, operation: ArpOperation, target_mac: MacAddr, target: Ipv4Addr) -> Vec<u8> {
        forgery::arp(MAC, operation, self.address, target_mac, target)
    }
}

/// The quote in an ICMP error of a segment from the victim's port to a server.
fn quote(victim: Ipv4Addr, port: u16, (server, to_port): (Ipv4Addr, u16), sequence: u32) -> Vec<u8> {
    let mut packet = Vec::new();
    let segment =
        PacketBuilder::ipv4(victim.octets(), server.octets(), TTL).tcp(port, to_port, sequence, 1_024);
    segment.ack(sequence).write(&mut packet, &[]).expect("a vector takes everything");
    packet
}

impl Machine for Attacker {
    fn mac(&self) -> MacAddr {
        MAC
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        let Some(packet) = Packet::parse(&frame) else { return };
        match packet.content {
            Content::Arp { sender, target, is_request } => {
                if let Some((victim, mac)) = &mut self.victim
                    && *victim == sender
                {
                    *mac = Some(packet.source_mac);
                }
                if is_request && target == self.address {
                    self.replies.push(self.arp(ArpOperation::REPLY, packet.source_mac, sender));
                }
            }
            Content::Ipv4(ip) if ip.destination == self.address => {
                self.record.answers += 1;
                if let Transport::Tcp { source_port, is_reset: false, .. } = ip.transport {
                    self.record.open_ports.push(source_port);
                }
            }
            Content::Ipv4(_) | Content::Other => {}
        }
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        self.replies.drain(..).for_each(&mut *transmit);
        if self.shots.is_empty() || self.next_at > now {
            return;
        }
        match self.victim {
            None => {}
            Some((victim, None)) => {
                transmit(self.arp(ArpOperation::REQUEST, MacAddr::ZERO, victim));
                self.next_at = now + ARP_INTERVAL;
            }
            Some((victim, Some(mac))) => {
                if let Some(shot) = self.shots.pop_front() {
                    transmit(self.packet(shot, victim, mac));
                    self.record.fired += 1;
                }
                self.next_at = now + SHOT_INTERVAL;
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (!self.shots.is_empty()).then_some(self.next_at)
    }

    /// An [`AttackRecord`].
    fn record(&self) -> Arc<dyn Record> {
        Arc::new(self.record.clone())
    }
}
