//! Frames on all ports, packets of the host's and time, through a whole dataplane.
//!
//! The input is a choice of configuration, and steps: each a kind, a port, a time span and what the
//! kind needs. Frames between which no time passes are one batch. Conversations come about because a
//! step can answer what left the gateway last. The simulation's checkers watch the ports; what leaves
//! something to do passes them as the frames that are to be made of it.

#![no_main]

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::num::NonZero;
use std::sync::Arc;

use etherparse::PacketBuilder;
use gatepost::config::{Config, Forward, WanAddress};
use gatepost_dataplane::batch::Slot;
use gatepost_dataplane::config::{Filtering, Mode, Nat, self as told};
use gatepost_dataplane::{Batch, Dataplane, Ingress, LocalClass, Shard, Verdict};
use gatepost_fuzz::office::{GATEWAY_LAN, GATEWAY_LAN_MAC, GATEWAY_WAN, GATEWAY_WAN_MAC};
use gatepost_fuzz::oracle::Oracle;
use gatepost_fuzz::{Input, PACKET, has_right_checksums, repair};
use gatepost_sim::checkers::{Side, Way};
use ipnet::Ipv4Net;
use libfuzzer_sys::fuzz_target;
use gatepost_ground::offload::{GsoSegment as WireFrame, GsoSegments, PartialChecksum, SegmentKind, Segmentation};
use gatepost_ground::wire::checksum::Sum;
use gatepost_ground::wire::icmpv4::{HeaderMut, Type};
use gatepost_ground::wire::ipv4::Header;
use gatepost_ground::wire::{Protocol, arp, ethernet};
use gatepost_ground::{Instant, InterfaceId, MacAddr, Offload, PortId, PortSet, Role};

const PORTS: u8 = 3;
/// The longest frame without anything left to do, in octets.
const FRAME_LEN: usize = 2048;
/// The most data that is added to make a super-frame, in octets.
const SUPER_DATA_MAX: usize = 8_000;
const WAN: PortId = PortId(2);
/// One host on each port.
const HOST_MACS: [MacAddr; PORTS as usize] =
    [MacAddr([2, 0, 0, 0, 1, 10]), MacAddr([2, 0, 0, 0, 1, 20]), MacAddr([2, 0, 0, 0, 2, 2])];
/// Whom packets are from and for: a host on each port, the gateway, servers outside, and nobody.
const ADDRESSES: [Ipv4Addr; 8] = [
    Ipv4Addr::new(192, 168, 1, 10),
    Ipv4Addr::new(192, 168, 1, 20),
    Ipv4Addr::new(203, 0, 113, 1),
    GATEWAY_LAN,
    GATEWAY_WAN,
    Ipv4Addr::new(198, 51, 100, 7),
    Ipv4Addr::new(198, 51, 100, 66),
    Ipv4Addr::new(192, 168, 1, 99),
];
/// Few enough for flows to meet: services, forwards and ports of clients.
const TRANSPORT_PORTS: [u16; 8] = [53, 67, 68, 443, 5060, 8000, 8001, 40_000];

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    BATCH.with_borrow_mut(|batch| {
        let mut office = Office::new(&config(input.u8()));
        while !input.is_empty() {
            office.step(batch, &mut input);
        }
        office.flush(batch);
        office.oracle.report(office.now, &office.dataplane);
    });
});

thread_local! {
    /// It takes long to make, and nothing stays in it.
    static BATCH: RefCell<Batch> = RefCell::new(Batch::new(FRAME_LEN));
}

/// A frame as it came.
#[derive(Clone, Copy)]
struct Arrival {
    /// Whether it could be what was said of it.
    is_sound: bool,
    /// Whether no checksum in it was wrong.
    is_right: bool,
}

struct Office {
    dataplane: Dataplane,
    oracle: Oracle,
    /// Each frame received in the batch, as it came.
    arrivals: Vec<Arrival>,
    /// Whether a checksum that was left to be made came out wrong, which nobody can see before.
    is_damaged: bool,
    now: Instant,
    /// What left by each port last.
    last_sent: [Vec<u8>; PORTS as usize],
}

impl Office {
    fn new(config: &Config) -> Self {
        let now = Instant::from_secs(1);
        Self {
            dataplane: Dataplane::new(dataplane_config(config), Shard::SOLE, [7; 32], now),
            oracle: Oracle::new(config),
            arrivals: Vec::new(),
            is_damaged: false,
            now,
            last_sent: Default::default(),
        }
    }

    fn step(&mut self, batch: &mut Batch, input: &mut Input<'_>) {
        let (kind, port) = (input.u8(), PortId(input.u8() % PORTS));
        let micros = input.micros();
        if micros > 0 || batch.is_full() {
            self.flush(batch);
            self.pass(batch, micros);
        }
        let on_wire = Ingress::Port(port);
        let mut offload = Offload::None;
        let (ingress, frame) = match kind % 14 {
            0 => (on_wire, input.chunk().to_vec()),
            1 => (on_wire, repaired(input.chunk())),
            2 => (Ingress::Stack, of_host(input.chunk())),
            3 => (Ingress::RawFrame(self.interface(port)), input.chunk().to_vec()),
            4..6 => (on_wire, built(input, port)),
            6 => (Ingress::Stack, built(input, port)),
            7 => (on_wire, self.arp(port, input)),
            8 | 9 => (on_wire, self.answer(port, input)),
            10 => (on_wire, self.error(port, input)),
            11 => {
                self.flush(batch);
                return self.configure(&config(input.u8()));
            }
            12 => {
                let (frame, said) = super_frame(input, port);
                offload = said;
                (on_wire, frame)
            }
            _ => {
                let frame = repaired(input.chunk());
                offload = claim(input, &frame);
                (on_wire, frame)
            }
        };
        self.receive(batch, ingress, &frame, offload);
    }

    /// Lets time pass. Timers that are due again and again are waited for now and then only.
    fn pass(&mut self, batch: &mut Batch, micros: u64) {
        let end = Instant::from_micros(self.now.as_micros() + micros);
        for _ in 0..TIMEOUTS_MAX {
            let Some(due) = self.dataplane.poll_timeout().filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            self.dataplane.handle_timeout(self.now, batch);
            let next = self.dataplane.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "a timer does not move: {next:?}");
            self.check(batch);
        }
        self.now = end;
    }

    fn receive(&mut self, batch: &mut Batch, ingress: Ingress, frame: &[u8], offload: Offload) {
        if ingress == Ingress::Stack && is_from_wan_to_lan(frame) {
            return; // The host stack has an address of its own for each segment.
        }
        // Only a device that makes super-frames takes what is longer than usual.
        let frame = if offload == Offload::None { &frame[..frame.len().min(FRAME_LEN)] } else { frame };
        let copy = |buffer: &mut [u8], rest: &mut [u8]| {
            let (first, second) = frame.split_at(frame.len().min(buffer.len()));
            buffer[..first.len()].copy_from_slice(first);
            rest[..second.len()].copy_from_slice(second);
            Ok::<_, Infallible>((frame.len(), offload))
        };
        let Ok(is_taken) = batch.receive_offloaded(ingress, copy);
        assert!(is_taken, "there is room for one more");
        let wire = on_the_wire(GsoSegments::new(frame, offload));
        let is_right = wire.iter().all(|frame| has_right_checksums(frame));
        self.arrivals.push(Arrival { is_sound: !wire.is_empty(), is_right });
        self.is_damaged |= offload != Offload::None && !is_right;
        for frame in &wire {
            if let Ingress::Port(port) = ingress
                && let Some(side) = self.side(port)
            {
                self.oracle.passes(self.now, Way::In, side, frame);
            } else {
                self.oracle.is_sent_by_host(frame);
            }
        }
    }

    fn flush(&mut self, batch: &mut Batch) {
        self.dataplane.process(self.now, batch);
        self.check(batch);
    }

    fn configure(&mut self, config: &Config) {
        self.oracle.report(self.now, &self.dataplane);
        self.dataplane.configure(self.now, dataplane_config(config));
        self.oracle.configure(config);
    }

    /// Checks everything that came of the last call, and clears the batch.
    fn check(&mut self, batch: &mut Batch) {
        assert!(self.dataplane.counters().balances(), "{:?}", self.dataplane.counters());
        let flows = self.dataplane.flows_len();
        assert!(flows <= FLOWS_MAX as usize, "{flows} flows");
        let arrivals = std::mem::take(&mut self.arrivals);
        let (received, released) = batch.slots().split_at(arrivals.len());
        for (slot, arrival) in received.iter().zip(arrivals) {
            self.check_received(slot, arrival);
        }
        released.iter().for_each(|slot| self.check_released(slot));
        for (ports, frame) in batch.output().iter() {
            on_the_wire(frame.segments()).iter().for_each(|frame| self.send(ports, frame));
        }
        batch.clear();
    }

    fn check_received(&mut self, slot: &Slot, arrival: Arrival) {
        let is_dropped = matches!(slot.verdict, Verdict::Drop(_));
        assert!(arrival.is_sound || is_dropped, "what cannot be went on");
        let ports = match slot.verdict {
            Verdict::Transmit(port) => PortSet::only(port),
            Verdict::Flood { ports, .. } => ports,
            Verdict::Local(_)
            | Verdict::Consumed
            | Verdict::Hold
            | Verdict::Drop(_)
            | Verdict::HandOver(_) => {
                return;
            }
            Verdict::Pending => panic!("no verdict"),
        };
        let wire = on_the_wire(slot.frame.segments());
        assert!(!wire.is_empty(), "what goes out is what is said of it");
        wire.iter().for_each(|bytes| self.check_sent(slot, ports, bytes, arrival.is_right));
    }

    /// A frame of a packet that was received leaves by `ports`.
    fn check_sent(&mut self, slot: &Slot, ports: PortSet, bytes: &[u8], was_right: bool) {
        if let Ingress::RawFrame(_) = slot.ingress {
            // Whoever sends whole frames answers for what is in them.
            return self.remember(ports, bytes);
        }
        let header = ethernet::Header::parse(bytes).expect("what goes out is a frame");
        if let Ingress::Port(origin) = slot.ingress {
            let is_routed = header.source == GATEWAY_LAN_MAC || header.source == GATEWAY_WAN_MAC;
            assert!(is_routed || !ports.contains(origin), "back to where it came from");
        }
        assert!(!was_right || has_right_checksums(bytes), "a checksum was spoilt");
        self.send(ports, bytes);
    }

    /// A fragment that waited for its first and is for the host stack, which puts it together.
    fn check_released(&self, slot: &Slot) {
        assert_eq!(slot.verdict, Verdict::Local(LocalClass::Stack));
        assert!(matches!(slot.ingress, Ingress::Port(_)), "the host stack's own came back");
        let packet = slot.frame.bytes().get(PACKET..).expect("what was held is a frame");
        let header = Header::parse(packet).expect("what was held is a packet");
        assert!(header.is_fragment() && !header.has_transport_header(), "{header} had nothing to wait for");
        let addresses = self.dataplane.config().interfaces.iter().flat_map(|interface| interface.nets::<Ipv4Addr>());
        let is_own = addresses.into_iter().any(|net| net.addr() == header.destination);
        assert!(is_own, "{header} is for somebody else");
    }

    /// A frame leaves by `ports`.
    fn send(&mut self, ports: PortSet, frame: &[u8]) {
        assert!(!ports.is_empty());
        let mut sides: Vec<_> = ports.iter().filter_map(|port| self.side(port)).collect();
        sides.dedup();
        assert_eq!(sides.len(), 1, "a frame leaves by ports of one interface");
        if sides == [Side::Wan] && self.dataplane.config().mode.translates() {
            let header = ethernet::Header::parse(frame).expect("what goes out is a frame");
            assert_eq!(header.source, GATEWAY_WAN_MAC);
            assert!(self.is_damaged || has_right_checksums(frame), "NAT lets nothing damaged through");
        }
        self.oracle.passes(self.now, Way::Out, sides[0], frame);
        self.remember(ports, frame);
    }

    fn remember(&mut self, ports: PortSet, frame: &[u8]) {
        ports.iter().for_each(|port| frame.clone_into(&mut self.last_sent[usize::from(port.0)]));
    }

    fn interface(&self, port: PortId) -> InterfaceId {
        self.dataplane.config().interface_of(port).unwrap_or(InterfaceId(0))
    }

    /// The side of the gateway that `port` is on.
    fn side(&self, port: PortId) -> Option<Side> {
        let config = self.dataplane.config();
        Some(match config.interface(config.interface_of(port)?).role {
            Role::Inside => Side::Lan,
            Role::Outside => Side::Wan,
        })
    }

    fn gateway_mac(&self, port: PortId) -> MacAddr {
        self.dataplane.config().interface(self.interface(port)).mac()
    }

    /// The host of `port` asks for somebody, or answers.
    fn arp(&self, port: PortId, input: &mut Input<'_>) -> Vec<u8> {
        let (is_request, sender, target) = (input.u8() & 1 == 0, address(input.u8()), address(input.u8()));
        let request = arp::Packet::request(HOST_MACS[usize::from(port.0)], sender, target);
        if is_request {
            return request.to_frame(MacAddr::BROADCAST).to_vec();
        }
        let own = arp::Packet::request(self.gateway_mac(port), target, sender);
        own.reply(request.sender_mac).to_frame(self.gateway_mac(port)).to_vec()
    }

    /// The host of `port` answers what it got last.
    fn answer(&self, port: PortId, input: &mut Input<'_>) -> Vec<u8> {
        let flags = input.u8();
        let mut frame = self.last_sent[usize::from(port.0)].clone();
        let Ok(got) = ethernet::Header::parse(&frame) else { return frame };
        let own_mac = HOST_MACS[usize::from(port.0)];
        if let Ok(request) = arp::Packet::parse(&frame[PACKET..]) {
            return request.reply(own_mac).to_frame(got.source).to_vec();
        }
        let header = ethernet::Header { destination: got.source, source: own_mac, ..got };
        header.write(&mut frame).expect("it has a header");
        reverse(&mut frame[PACKET..], flags);
        repaired(&frame)
    }

    /// Somebody tells the sender of what `port` got last that it did not arrive.
    fn error(&self, port: PortId, input: &mut Input<'_>) -> Vec<u8> {
        let (from, kind, code, rest) = (address(input.u8()), input.u8(), input.u8(), input.u16());
        let quoted_len = usize::from(input.u8()) + 20;
        let packet = self.last_sent[usize::from(port.0)].get(PACKET..).unwrap_or_default();
        let Ok(header) = Header::parse(packet) else { return Vec::new() };
        let kind = [Type::DESTINATION_UNREACHABLE, Type::TIME_EXCEEDED, Type::PARAMETER_PROBLEM, Type(kind)]
            [usize::from(kind & 3)];
        let [high, low] = rest.to_be_bytes();
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(HOST_MACS[usize::from(port.0)].0, self.gateway_mac(port).0)
            .ipv4(from.octets(), header.source.octets(), 64)
            .icmpv4_raw(kind.0, code, [0, 0, high, low])
            .write(&mut frame, &packet[..packet.len().min(quoted_len)])
            .expect("it fits");
        frame
    }
}

/// Makes a packet the answer to itself. What is too short for that is left as it is.
fn reverse(packet: &mut [u8], flags: u8) {
    let Ok(header) = Header::parse(packet) else { return };
    packet[12..16].copy_from_slice(&header.destination.octets());
    packet[16..20].copy_from_slice(&header.source.octets());
    packet[8] = 64;
    let payload = header.payload_mut(packet);
    match header.protocol {
        Protocol::ICMP if payload.first() == Some(&Type::ECHO_REQUEST.0) => {
            if let Ok(mut message) = HeaderMut::new(payload) {
                message.set_kind(Type::ECHO_REPLY);
            }
        }
        Protocol::TCP if payload.len() >= 20 => {
            payload[..4].rotate_left(2);
            payload[4..12].rotate_left(4);
            payload[13] = flags;
        }
        Protocol::UDP if payload.len() >= 8 => payload[..4].rotate_left(2),
        _ => {}
    }
}

/// A packet from one of the addresses to another, as the host of `port` sends it to the gateway.
fn built(input: &mut Input<'_>, port: PortId) -> Vec<u8> {
    let to_mac = if port == WAN { GATEWAY_WAN_MAC } else { GATEWAY_LAN_MAC };
    let (from, to, ports) = (input.u8(), address(input.u8()), input.u8());
    let (from_port, to_port) = (transport_port(ports), transport_port(ports >> 4));
    let (protocol, flags, ttl) = (input.u8(), input.u8(), input.u8());
    let payload = vec![0x5a; usize::from(input.u16() % 1472)];
    let ip = PacketBuilder::ethernet2(HOST_MACS[usize::from(port.0)].0, to_mac.0).ipv4(
        address(from).octets(),
        to.octets(),
        ttl,
    );
    let mut frame = Vec::new();
    match protocol % 4 {
        0 => ip.udp(from_port, to_port).write(&mut frame, &payload),
        1 => ip.tcp(from_port, to_port, 1, 64_000).write(&mut frame, &payload[..payload.len().min(1460)]),
        2 => ip.icmpv4_echo_request(from_port, 1).write(&mut frame, &payload),
        _ => ip.icmpv4_echo_reply(to_port, 1).write(&mut frame, &payload),
    }
    .expect("it fits");
    if protocol % 4 == 1 {
        frame[PACKET + Header::LEN_MIN + 13] = flags;
    }
    // Fragments: of the packet's payload, whose first octets are a transport header or are not.
    let fragmentation = (u16::from(protocol >> 5) << 13) | (u16::from(protocol >> 2 & 7) * 8);
    frame[PACKET + 6..PACKET + 8].copy_from_slice(&fragmentation.to_be_bytes());
    repaired(&frame)
}

/// As [`built`], a TCP segment or UDP datagram that may be long, with its checksum and its segments left to be
/// made: as a host's operating system hands it to a device.
fn super_frame(input: &mut Input<'_>, port: PortId) -> (Vec<u8>, Offload) {
    let (len, size) = (usize::from(input.u16()) % SUPER_DATA_MAX, u16::from(input.u8()) * 8);
    let mut frame = built(input, port);
    let Ok(header) = Header::parse(&frame[PACKET..]) else { return (frame, Offload::None) };
    let (kind, offset) = match header.protocol {
        Protocol::TCP => (SegmentKind::Tcp, 16),
        Protocol::UDP => (SegmentKind::Udp, 6),
        _ => return (frame, Offload::None),
    };
    frame.resize(frame.len() + len, 0xa5);
    let total_len = (frame.len() - PACKET) as u16;
    frame[PACKET + 2..PACKET + 4].copy_from_slice(&total_len.to_be_bytes());
    let mut frame = repaired(&frame);
    let start = PACKET + usize::from(header.header_len);
    let payload_len = (frame.len() - start) as u16;
    let sum = !Sum::default()
        .add_pseudo_header(header.source, header.destination, header.protocol, payload_len)
        .checksum();
    frame[start + offset..start + offset + 2].copy_from_slice(&sum.to_be_bytes());
    let checksum = PartialChecksum { start: start as u16, offset: offset as u16 };
    let offload = match NonZero::new(size) {
        Some(size) => Offload::Segmentation(Segmentation { kind, size, checksum }),
        None => Offload::Checksum(checksum),
    };
    (frame, offload)
}

/// What a host says of a frame, true or not.
fn claim(input: &mut Input<'_>, frame: &[u8]) -> Offload {
    let (choice, checksum) = (input.u8(), PartialChecksum { start: input.u16(), offset: input.u16() });
    let size = NonZero::new(input.u16());
    let kind = if choice & 4 == 0 { SegmentKind::Tcp } else { SegmentKind::Udp };
    match (choice & 3, size) {
        (0, _) => Offload::Checksum(checksum),
        (1 | 2, Some(size)) => Offload::Segmentation(Segmentation { kind, size, checksum }),
        // A device is believed that it has verified a checksum.
        _ if has_right_checksums(frame) => Offload::Verified,
        _ => Offload::None,
    }
}

/// What goes over the wire.
fn on_the_wire(segments: GsoSegments<'_>) -> Vec<Vec<u8>> {
    let write = |segment: WireFrame<'_>| {
        let mut frame = vec![0; segment.len()];
        segment.write(&mut frame).expect("it fits");
        frame
    };
    segments.map(write).collect()
}

fn address(choice: u8) -> Ipv4Addr {
    ADDRESSES[usize::from(choice) % ADDRESSES.len()]
}

fn transport_port(choice: u8) -> u16 {
    TRANSPORT_PORTS[usize::from(choice) % TRANSPORT_PORTS.len()]
}

/// A frame as the host stack sends it: whatever the rest of its Ethernet header is, it is IPv4.
fn of_host(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if let Some(ether_type) = frame.get_mut(12..PACKET) {
        ether_type.copy_from_slice(&ethernet::EtherType::IPV4.0.to_be_bytes());
    }
    repair(&mut frame);
    frame
}

fn repaired(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    repair(&mut frame);
    frame
}

/// Whether the packet in `frame` has the gateway's WAN address and goes to the LAN.
fn is_from_wan_to_lan(frame: &[u8]) -> bool {
    let packet = frame.get(PACKET..).unwrap_or_default();
    let lan = Ipv4Net::new_assert(GATEWAY_LAN, 24);
    Header::parse(packet).is_ok_and(|ip| ip.source == GATEWAY_WAN && lan.contains(&ip.destination))
}

/// More timers than an office has; those of neighbours who do not answer come again and again.
const TIMEOUTS_MAX: usize = 32;
const FLOWS_MAX: u32 = 16;

fn config(choice: u8) -> Config {
    let mode = [Mode::NatDmz, Mode::Nat, Mode::Router, Mode::LanOnly][usize::from(choice & 3)];
    let filtering =
        [Filtering::AddressAndPortDependent, Filtering::AddressDependent, Filtering::EndpointIndependent];
    let everybody = vec![Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)];
    let forward = |protocol, wan_ports, to, to_port| Forward {
        name: String::new(),
        rules: vec![told::Forward { protocol, wan_ports, to, to_port, from: everybody.clone() }],
    };
    let mut config = DEFAULT.with(Config::clone);
    config.mode = mode;
    config.lan.address = Ipv4Net::new_assert(GATEWAY_LAN, 24);
    config.lan.ports = vec![config.lan.ports[0].clone(); 2];
    if choice & 4 == 0 {
        let address = Ipv4Net::new_assert(GATEWAY_WAN, 24);
        config.wan.address = WanAddress::Static { address, gateway: Some(ADDRESSES[2]) };
    }
    config.wan.mtu = if choice & 8 == 0 { 1500 } else { 576 };
    config.firewall.stealth = choice & 16 == 0;
    config.firewall.wan_services = Some(vec!["dns"]);
    config.firewall.forwards = vec![
        forward(Protocol::TCP, 443..=443, ADDRESSES[0], 443),
        forward(Protocol::UDP, 8000..=8001, ADDRESSES[1], 5060),
    ];
    config.firewall.dmz_host = (choice & 32 != 0).then_some(ADDRESSES[1]);
    let filtering = filtering[usize::from(choice >> 6) % filtering.len()];
    config.nat = Nat { filtering, flows_max: FLOWS_MAX, flows_per_host_max: FLOWS_MAX / 2 };
    config
}

thread_local! {
    static DEFAULT: Config = Config::default();
}

fn dataplane_config(config: &Config) -> Arc<told::Config> {
    Arc::new(config.dataplane(GATEWAY_LAN_MAC, GATEWAY_WAN_MAC, None, None))
}
