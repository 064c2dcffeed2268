//! A host of the office that examines the path to the internet: it traces the routers, looks for the path MTU, and
//! sends fragments. It makes its frames with etherparse, and every prober uses the same ports, of both ranges and
//! parities.
//!
//! It alternates. A trace is datagrams, pings or SYNs with 1, 2 and more hops; a router that does not forward one sends
//! an error. A packet that must not be fragmented is as long as the cable's MTU, and shorter after an error with a
//! next-hop MTU. Fragments go in any order. An error counts if it quotes the sent packet. Now and then it sends a
//! request without waiting, and rejects the answer with an error of its own.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use etherparse::{
    ArpOperation, IcmpEchoHeader, Icmpv4Header, Icmpv4Slice, Icmpv4Type, IpNumber, Ipv4Header,
    Ipv4HeaderSlice, Ipv4Slice, NetSlice, SlicedPacket, TcpHeader, TcpOptionElement, UdpHeader, UdpSlice,
    icmpv4::DestUnreachableHeader,
};
use gatepost_ground::{Instant, MacAddr};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::fragments::{Gatherer, Order, cut, with_payload};
use super::internet::{HOPS, REFLECTOR_ADDRESS, REFLECTOR_PORT};
use super::pc::when;
use super::{Machine, Record, forgery};
use crate::machine::identity::Identity;
use crate::packet::{Content, Packet};

/// Time between two turns.
const TURN_INTERVAL: Duration = Duration::from_secs(3);
/// The gateway, the routers behind it, and the receiver.
const WAY_LEN: u8 = 1 + HOPS + 1;
/// The ports of traces, of the search for the path MTU, and of fragments.
const TRACE_PORT: u16 = 33_001;
const SYN_PORT: u16 = 40_002;
const SIZE_PORT: u16 = 123;
const FRAGMENTS_PORT: u16 = 522;
const PING_ID: u16 = 33_001;
/// It asks from here, and listens no more.
const CLOSED_PORT: u16 = 33_003;
/// The quoted octets of rejected packets, alternating: the minimum of RFC 792, and all.
const QUOTED_LEN_MAX: [usize; 2] = [28, 548];
/// A closed port, as traceroute uses it.
const TRACED_PORT: u16 = 33_434;
/// A SYN with enough hops also finds a closed port, and is not answered.
const SYN_TO_PORT: u16 = 9;
const SYN_SEQUENCE: u32 = 7;
const WINDOW: u16 = 1_024;
/// The longest packet of an Ethernet cable.
const CABLE_MTU: u16 = 1_500;
/// The shortest that a router can ask for. (RFC 791)
const MTU_MIN: u16 = 68;
/// After so many turns it looks for the longest packet anew.
const ANEW_EVERY: u32 = 12;
/// The payload of a fragment.
const PIECE_LEN: usize = 1_480;
const DATAGRAM_LEN: std::ops::RangeInclusive<usize> = 3_000..=4_000;
const PING_LEN: usize = 3_000;
const TTL: u8 = 64;
const IP_LEN: u16 = 20;
const UDP_LEN: u16 = 8;
/// The nonce of each datagram.
const NONCE_LEN: u16 = 8;

/// The prober.
pub struct Prober {
    mac: MacAddr,
    address: Ipv4Addr,
    router: Ipv4Addr,
    router_mac: Option<MacAddr>,
    rng: StdRng,
    next_at: Instant,
    turns: u32,
    /// The hops of this trace that have sent an error.
    heard: BTreeSet<u8>,
    /// The longest packet that may pass, as far as it knows.
    mtu: u16,
    /// The last fragmented datagram.
    in_fragments: Vec<u8>,
    gatherer: Gatherer,
    identification: u16,
    inbox: Vec<Vec<u8>>,
    sent: Vec<Vec<u8>>,
    record: ProberRecord,
}

/// A prober's record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProberRecord {
    /// Traces that found every hop.
    pub traces: u64,
    /// When the latest did.
    pub last_trace_at: Option<Instant>,
    /// Packets as long as passes that were answered.
    pub sizes: u64,
    /// When the latest was.
    pub last_size_at: Option<Instant>,
    /// Packets in fragments that were answered.
    pub fragmented: u64,
    /// When the latest was.
    pub last_fragmented_at: Option<Instant>,
    /// The present path MTU.
    pub mtu: u16,
}

impl ProberRecord {
    /// Whether the latest success of each kind is later than `since`.
    pub fn has_succeeded_since(&self, since: Instant) -> bool {
        let latest = [self.last_trace_at, self.last_size_at, self.last_fragmented_at];
        latest.iter().all(|at| at.is_some_and(|at| at > since))
    }
}

impl fmt::Display for ProberRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} traces, the last {}; {} packets of what passes ({} octets), the last {}; {} in fragments, the last {}",
            self.traces,
            when(self.last_trace_at),
            self.sizes,
            self.mtu,
            when(self.last_size_at),
            self.fragmented,
            when(self.last_fragmented_at),
        )
    }
}

impl Prober {
    /// A prober that is `identity`.
    pub fn new(identity: &Identity) -> Self {
        let mut rng = StdRng::seed_from_u64(identity.seed);
        Self {
            mac: identity.mac,
            address: identity.address.addr(),
            router: identity.router,
            router_mac: None,
            next_at: Instant::ZERO + TURN_INTERVAL.mul_f64(rng.random()),
            identification: rng.random(),
            rng,
            turns: 0,
            heard: BTreeSet::new(),
            mtu: CABLE_MTU,
            in_fragments: Vec::new(),
            gatherer: Gatherer::default(),
            inbox: Vec::new(),
            sent: Vec::new(),
            record: ProberRecord::default(),
        }
    }

    /// The header of a packet to the receiver.
    fn header(&mut self, protocol: IpNumber, ttl: u8) -> Ipv4Header {
        self.identification = self.identification.wrapping_add(1);
        let (source, destination) = (self.address.octets(), REFLECTOR_ADDRESS.octets());
        let header = Ipv4Header::new(0, ttl, protocol, source, destination).expect("it is short");
        Ipv4Header { identification: self.identification, ..header }
    }

    fn send(&mut self, packet: &[u8]) {
        let Some(router_mac) = self.router_mac else { return };
        self.sent.push([&router_mac.0, &self.mac.0, &[8, 0][..], packet].concat());
    }

    fn arp(&mut self, operation: ArpOperation, target_mac: MacAddr, target: Ipv4Addr) {
        self.sent.push(forgery::arp(self.mac, operation, self.address, target_mac, target));
    }

    fn take_turn(&mut self) {
        let turn = self.turns;
        self.turns += 1;
        // It asks again, as another machine may have poisoned its cache.
        self.arp(ArpOperation::REQUEST, MacAddr::ZERO, self.router);
        if turn.is_multiple_of(ANEW_EVERY) {
            self.mtu = CABLE_MTU;
        }
        match turn % 3 {
            0 => self.trace(turn / 3),
            1 => {
                self.ask_and_leave();
                self.try_size();
            }
            _ => self.send_in_fragments(turn / 3),
        }
    }

    fn trace(&mut self, turn: u32) {
        self.heard.clear();
        for ttl in 1..=WAY_LEN {
            let packet = match turn % 3 {
                0 => {
                    let mut payload = vec![0; usize::from(NONCE_LEN) + usize::from(ttl)];
                    self.rng.fill(&mut payload[..]);
                    let header = self.header(IpNumber::UDP, ttl);
                    with_payload(header.clone(), &datagram(&header, TRACE_PORT, TRACED_PORT, &payload))
                }
                1 => {
                    let payload: [u8; 8] = self.rng.random();
                    with_payload(self.header(IpNumber::ICMP, ttl), &ping(ttl.into(), &payload))
                }
                _ => {
                    let header = self.header(IpNumber::TCP, ttl);
                    with_payload(header.clone(), &syn(&header))
                }
            };
            self.send(&packet);
        }
    }

    fn try_size(&mut self) {
        let mut payload = vec![0; usize::from(self.mtu - IP_LEN - UDP_LEN)];
        self.rng.fill(&mut payload[..]);
        let header = self.header(IpNumber::UDP, TTL);
        let packet = with_payload(header.clone(), &datagram(&header, SIZE_PORT, REFLECTOR_PORT, &payload));
        self.send(&packet);
    }

    fn ask_and_leave(&mut self) {
        let content: [u8; 32] = self.rng.random();
        let header = self.header(IpNumber::UDP, TTL);
        let packet = with_payload(header.clone(), &datagram(&header, CLOSED_PORT, REFLECTOR_PORT, &content));
        self.send(&packet);
    }

    /// Sends port unreachable to the sender of a datagram.
    fn refuse(&mut self, ip: &Ipv4Slice<'_>) {
        let quoted_len_max = QUOTED_LEN_MAX[self.turns as usize % QUOTED_LEN_MAX.len()];
        let octets = ip.header().slice().iter().chain(ip.payload().payload);
        let quote: Vec<_> = octets.copied().take(quoted_len_max).collect();
        let kind = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Port);
        let error = [&Icmpv4Header::with_checksum(kind, &quote).to_bytes(), &quote[..]].concat();
        let packet = with_payload(self.header(IpNumber::ICMP, TTL), &error);
        self.send(&packet);
    }

    fn send_in_fragments(&mut self, turn: u32) {
        let is_ping = turn.is_multiple_of(2);
        let len = if is_ping { PING_LEN } else { self.rng.random_range(DATAGRAM_LEN) };
        let mut content = vec![0; len];
        self.rng.fill(&mut content[..]);
        let header = self.header(if is_ping { IpNumber::ICMP } else { IpNumber::UDP }, TTL);
        let payload = if is_ping {
            ping(0, &content)
        } else {
            datagram(&header, FRAGMENTS_PORT, REFLECTOR_PORT, &content)
        };
        self.in_fragments = content;
        let order = *Order::ALL.choose(&mut self.rng).expect("there are orders");
        for piece in cut(&header, &payload, PIECE_LEN, order) {
            self.send(&piece);
        }
    }

    /// A packet for this host.
    fn receive(&mut self, now: Instant, ip: &Ipv4Slice<'_>) {
        let header = ip.header();
        let Some(payload) = self.gatherer.take(ip) else { return };
        match header.protocol() {
            IpNumber::UDP => {
                let Ok(udp) = UdpSlice::from_slice(&payload) else { return };
                let checksum = udp.to_header().calc_checksum_ipv4_raw(
                    header.source(),
                    header.destination(),
                    udp.payload(),
                );
                if checksum == Ok(udp.checksum()) && udp.destination_port() == CLOSED_PORT {
                    self.refuse(ip);
                } else if checksum == Ok(udp.checksum()) {
                    self.answered(now, udp.destination_port(), udp.payload());
                }
            }
            IpNumber::ICMP => {
                let Ok(icmp) = Icmpv4Slice::from_slice(&payload) else { return };
                match icmp.icmp_type() {
                    Icmpv4Type::EchoReply(IcmpEchoHeader { id: PING_ID, seq: 0 }) => {
                        self.answered(now, FRAGMENTS_PORT, icmp.payload());
                    }
                    Icmpv4Type::EchoReply(IcmpEchoHeader { id: PING_ID, seq }) => self.hear(now, seq),
                    _ => self.told(now, icmp.type_u8(), icmp.code_u8(), icmp.bytes5to8(), icmp.payload()),
                }
            }
            _ => {}
        }
    }

    /// Handles an answer to a packet from `port`.
    fn answered(&mut self, now: Instant, port: u16, content: &[u8]) {
        if port == SIZE_PORT {
            self.record.sizes += 1;
            self.record.last_size_at = Some(now);
        } else if port == FRAGMENTS_PORT && content == self.in_fragments {
            self.record.fragmented += 1;
            self.record.last_fragmented_at = Some(now);
        }
    }

    /// Handles an ICMP error of `kind` and `code` with the quote `quote`.
    fn told(&mut self, now: Instant, kind: u8, code: u8, [_, _, high, low]: [u8; 4], quote: &[u8]) {
        let Ok(quoted) = Ipv4HeaderSlice::from_slice(quote) else { return };
        let Some(transport) = quote[quoted.slice().len()..].first_chunk::<8>() else { return };
        if (quoted.source_addr(), quoted.destination_addr()) != (self.address, REFLECTOR_ADDRESS) {
            return;
        }
        let word = |at: usize| u16::from_be_bytes([transport[at], transport[at + 1]]);
        match (kind, code, quoted.protocol(), word(0)) {
            (3, 4, IpNumber::UDP, SIZE_PORT) => {
                let mtu = u16::from_be_bytes([high, low]);
                if (MTU_MIN..self.mtu).contains(&mtu) {
                    self.mtu = mtu;
                    self.record.mtu = mtu;
                    self.try_size();
                }
            }
            (3 | 11, _, IpNumber::UDP, TRACE_PORT) => {
                self.hear(now, word(4).saturating_sub(UDP_LEN + NONCE_LEN));
            }
            (11, _, IpNumber::ICMP, _) if word(4) == PING_ID => self.hear(now, word(6)),
            _ => {}
        }
    }

    /// Records an error from the hop with this number.
    fn hear(&mut self, now: Instant, hop: u16) {
        let Some(hop) = u8::try_from(hop).ok().filter(|hop| (1..=WAY_LEN).contains(hop)) else { return };
        if self.heard.insert(hop) && self.heard.len() == usize::from(WAY_LEN) {
            self.record.traces += 1;
            self.record.last_trace_at = Some(now);
        }
    }
}

fn datagram(header: &Ipv4Header, from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let udp = UdpHeader::with_ipv4_checksum(from, to, header, payload).expect("a datagram is no longer");
    [&udp.to_bytes(), payload].concat()
}

fn ping(seq: u16, payload: &[u8]) -> Vec<u8> {
    let request = Icmpv4Type::EchoRequest(IcmpEchoHeader { id: PING_ID, seq });
    [&Icmpv4Header::with_checksum(request, payload).to_bytes(), payload].concat()
}

fn syn(header: &Ipv4Header) -> Vec<u8> {
    let mut tcp = TcpHeader::new(SYN_PORT, SYN_TO_PORT, SYN_SEQUENCE, WINDOW);
    tcp.syn = true;
    tcp.set_options(&[TcpOptionElement::MaximumSegmentSize(1_460)]).expect("there is room");
    tcp.checksum = tcp.calc_checksum_ipv4(header, &[]).expect("it is short");
    tcp.to_bytes().to_vec()
}

impl Machine for Prober {
    fn mac(&self) -> MacAddr {
        self.mac
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        let Some(packet) = Packet::parse(&frame) else { return };
        match packet.content {
            Content::Arp { sender, target, is_request } => {
                if sender == self.router {
                    self.router_mac = Some(packet.source_mac);
                }
                if is_request && target == self.address {
                    self.arp(ArpOperation::REPLY, packet.source_mac, sender);
                }
            }
            Content::Ipv4(ip) if ip.destination == self.address => self.inbox.push(frame),
            Content::Ipv4(_) | Content::Other => {}
        }
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        for frame in std::mem::take(&mut self.inbox) {
            if let Ok(SlicedPacket { net: Some(NetSlice::Ipv4(ip)), .. }) =
                SlicedPacket::from_ethernet(&frame)
            {
                self.receive(now, &ip);
            }
        }
        if self.next_at <= now {
            self.take_turn();
            self.next_at = now + TURN_INTERVAL;
        }
        self.sent.drain(..).for_each(transmit);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Some(self.next_at)
    }

    /// A [`ProberRecord`].
    fn record(&self) -> Arc<dyn Record> {
        Arc::new(self.record.clone())
    }
}
