//! A machine on the LAN that means no good: it says that others' addresses are its own, sends in their name,
//! or has taken an address of the pool by hand. Its frames are made by etherparse.

use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use etherparse::{ArpEthIpv4Packet, ArpOperation, ArpPacket, EtherType, Ethernet2Header, PacketBuilder};
use gatepost_ground::{Instant, MacAddr};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};

use super::Machine;
use super::internet::{CHAT_ADDRESS, DNS_PORT, SILENT_ZONE};
use crate::packet::{Content, Packet};

/// Its hardware address.
pub const MAC: MacAddr = MacAddr([0x02, 0x00, 0x5e, 0x66, 0x66, 0x77]);
/// Time between two tricks.
const TRICK_INTERVAL: Duration = Duration::from_millis(100);
/// The most answers under way; further ones are not given.
const REPLIES_MAX: usize = 64;
const TTL: u8 = 64;
/// How many names one trick asks for.
const NAMES_AT_ONCE: u64 = 10;

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// Tells everybody once that an address is its own.
    Claim(Ipv4Addr),
    /// Tells the gateway alone that an address is its own, by an answer that nobody asked for.
    Poison(Ipv4Addr),
    /// Has an address by hand from now on: tells everybody, and answers for it.
    Take(Ipv4Addr),
    /// Sends a datagram to the internet in the name of an address.
    SendAs(Ipv4Addr),
    /// Sends a frame under another machine's hardware address.
    Borrow(MacAddr),
    /// Asks the gateway in the name of an address for ten names of a zone whose servers are silent.
    AskSilent(Ipv4Addr),
}

/// The spoofer.
pub struct Spoofer {
    tricks: VecDeque<Trick>,
    taken: BTreeSet<Ipv4Addr>,
    gateway_address: Ipv4Addr,
    gateway: Option<MacAddr>,
    replies: Vec<Vec<u8>>,
    next_at: Instant,
    played: u64,
}

impl Spoofer {
    /// A spoofer on the LAN of the gateway with this address, which means no good yet.
    pub fn new(gateway_address: Ipv4Addr) -> Self {
        Self {
            tricks: VecDeque::new(),
            taken: BTreeSet::new(),
            gateway_address,
            gateway: None,
            replies: Vec::new(),
            next_at: Instant::ZERO,
            played: 0,
        }
    }

    /// Plays `tricks` from now on, one after the other.
    pub fn play(&mut self, tricks: impl IntoIterator<Item = Trick>) {
        self.tricks.extend(tricks);
    }

    /// Gives everything up.
    pub fn stop(&mut self) {
        self.tricks.clear();
        self.taken.clear();
    }

    /// Tricks played.
    pub fn played(&self) -> u64 {
        self.played
    }

    fn play_one(&mut self, trick: Trick, gateway: MacAddr, transmit: &mut dyn FnMut(Vec<u8>)) {
        let frame = match trick {
            Trick::Claim(address) => claim(address),
            Trick::Poison(address) => arp(ArpOperation::REPLY, address, gateway, self.gateway_address),
            Trick::Take(address) => {
                self.taken.insert(address);
                claim(address)
            }
            Trick::SendAs(address) => {
                let ip = PacketBuilder::ethernet2(MAC.0, gateway.0);
                datagram(ip.ipv4(address.octets(), CHAT_ADDRESS.octets(), TTL), self.played)
            }
            Trick::Borrow(mac) => {
                let ip = PacketBuilder::ethernet2(mac.0, gateway.0);
                datagram(ip.ipv4([0; 4], self.gateway_address.octets(), TTL), self.played)
            }
            Trick::AskSilent(address) => {
                let names = (0..NAMES_AT_ONCE).map(|n| format!("n{}-{n}.{SILENT_ZONE}", self.played));
                let gateway = (gateway, self.gateway_address);
                return names.for_each(|name| transmit(question(address, gateway, &name)));
            }
        };
        transmit(frame);
    }
}

impl Machine for Spoofer {
    fn mac(&self) -> MacAddr {
        MAC
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        let Some(Packet { source_mac, content: Content::Arp { sender, target, is_request }, .. }) =
            Packet::parse(&frame)
        else {
            return;
        };
        if sender == self.gateway_address {
            self.gateway = Some(source_mac);
        }
        if is_request && self.taken.contains(&target) && self.replies.len() < REPLIES_MAX {
            self.replies.push(arp(ArpOperation::REPLY, target, source_mac, sender));
        }
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        self.replies.drain(..).for_each(&mut *transmit);
        if self.tricks.is_empty() || self.next_at > now {
            return;
        }
        self.next_at = now + TRICK_INTERVAL;
        let Some(gateway) = self.gateway else {
            return transmit(arp(
                ArpOperation::REQUEST,
                Ipv4Addr::UNSPECIFIED,
                MacAddr::ZERO,
                self.gateway_address,
            ));
        };
        if let Some(trick) = self.tricks.pop_front() {
            self.play_one(trick, gateway, transmit);
            self.played += 1;
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (!self.tricks.is_empty()).then_some(self.next_at)
    }
}

fn claim(address: Ipv4Addr) -> Vec<u8> {
    arp(ArpOperation::REQUEST, address, MacAddr::ZERO, address)
}

fn arp(operation: ArpOperation, sender: Ipv4Addr, target_mac: MacAddr, target: Ipv4Addr) -> Vec<u8> {
    let destination = if operation == ArpOperation::REQUEST { MacAddr::BROADCAST } else { target_mac };
    let header = Ethernet2Header { source: MAC.0, destination: destination.0, ether_type: EtherType::ARP };
    let arp = ArpEthIpv4Packet {
        operation,
        sender_mac: MAC.0,
        sender_ipv4: sender.octets(),
        target_mac: target_mac.0,
        target_ipv4: target.octets(),
    };
    let mut frame = header.to_bytes().to_vec();
    frame.extend_from_slice(&ArpPacket::from(arp).to_bytes());
    frame
}

/// A question about `name` from `address` to the gateway, by its hardware address and its address.
fn question(address: Ipv4Addr, gateway: (MacAddr, Ipv4Addr), name: &str) -> Vec<u8> {
    let name = Name::from_ascii(name).expect("a name of letters and digits");
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, RecordType::A));
    let message = message.to_vec().expect("a short message");
    let ip = PacketBuilder::ethernet2(MAC.0, gateway.0.0).ipv4(address.octets(), gateway.1.octets(), TTL);
    let mut frame = Vec::new();
    ip.udp(666, DNS_PORT).write(&mut frame, &message).expect("a vector takes everything");
    frame
}

fn datagram(ip: etherparse::PacketBuilderStep<etherparse::IpHeaders>, number: u64) -> Vec<u8> {
    let mut frame = Vec::new();
    ip.udp(666, 7).write(&mut frame, &number.to_be_bytes()).expect("a vector takes everything");
    frame
}
