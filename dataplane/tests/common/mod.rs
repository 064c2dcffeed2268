//! A gateway on a bench: two LAN ports, one WAN port, and hosts that speak through a second codec
//! (`etherparse`), so that a mistake in the dataplane's own cannot cancel itself out.

#![allow(dead_code, reason = "each test file uses its own part of the bench")]
#![expect(clippy::unwrap_used, reason = "a test that cannot build its frames fails")]

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TcpHeader, TransportSlice};
use gatepost_dataplane::config::{Config, Filtering, Firewall, Forward, Interface, Mode, Nat, Segment};
use gatepost_dataplane::wire::ipv4::Protocol;
use gatepost_dataplane::{Batch, Dataplane, DropReason, Ingress, Instant, MacAddr, PortId, PortSet, Verdict};

pub const LAN0: PortId = PortId(0);
pub const LAN1: PortId = PortId(1);
pub const WAN: PortId = PortId(2);

pub const GATEWAY_LAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 1]);
pub const GATEWAY_WAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 2, 1]);
pub const GATEWAY_LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
pub const GATEWAY_WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

/// A host on one of the segments.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    pub port: PortId,
    pub mac: MacAddr,
    pub address: Ipv4Addr,
}

pub const ALICE: Host =
    Host { port: LAN0, mac: MacAddr([2, 0, 0, 0, 1, 10]), address: Ipv4Addr::new(192, 168, 1, 10) };
pub const BOB: Host =
    Host { port: LAN1, mac: MacAddr([2, 0, 0, 0, 1, 20]), address: Ipv4Addr::new(192, 168, 1, 20) };
/// The provider's router, and what is behind it.
pub const ISP: Host =
    Host { port: WAN, mac: MacAddr([2, 0, 0, 0, 2, 2]), address: Ipv4Addr::new(203, 0, 113, 1) };
pub const SERVER: Host =
    Host { port: WAN, mac: MacAddr([2, 0, 0, 0, 2, 2]), address: Ipv4Addr::new(198, 51, 100, 7) };
pub const STRANGER: Host =
    Host { port: WAN, mac: MacAddr([2, 0, 0, 0, 2, 2]), address: Ipv4Addr::new(198, 51, 100, 66) };

/// The office of these tests.
pub fn config(mode: Mode) -> Config {
    Config {
        mode,
        ports: if mode == Mode::LanOnly {
            vec![Segment::Lan, Segment::Lan]
        } else {
            vec![Segment::Lan, Segment::Lan, Segment::Wan]
        },
        lan: Interface {
            mac: GATEWAY_LAN_MAC,
            address: Some("192.168.1.1/24".parse().unwrap()),
            gateway: None,
            mtu: 1500,
        },
        wan: Interface {
            mac: GATEWAY_WAN_MAC,
            address: (mode != Mode::LanOnly).then(|| "203.0.113.10/24".parse().unwrap()),
            gateway: (mode != Mode::LanOnly).then_some(ISP.address),
            mtu: 1500,
        },
        firewall: Firewall::default(),
        nat: Nat { filtering: Filtering::AddressAndPortDependent, flows_max: 1024, flows_per_host_max: 512 },
    }
}

pub fn forward(protocol: Protocol, ports: std::ops::RangeInclusive<u16>, to: Host, to_port: u16) -> Forward {
    Forward { protocol, wan_ports: ports, to: to.address, to_port, from: vec!["0.0.0.0/0".parse().unwrap()] }
}

/// A frame that left the gateway by a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub port: PortId,
    pub bytes: Vec<u8>,
}

/// What became of one frame handed in.
#[derive(Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    /// Everything that left, the frame itself first, then what was made.
    pub sent: Vec<Sent>,
    /// What the host stack got.
    pub local: Option<Vec<u8>>,
}

impl Outcome {
    /// The one frame that left; the one IPv4 packet, if a question for a neighbour left with it.
    #[track_caller]
    pub fn one(&self) -> &Sent {
        let mut packets = self.sent.iter().filter(|sent| sent.is_ipv4());
        match (packets.next(), packets.next(), &self.sent[..]) {
            (Some(packet), None, _) => packet,
            (None, None, [frame]) => frame,
            _ => panic!("one frame expected: {:?} {:?}", self.verdict, self.sent),
        }
    }

    #[track_caller]
    pub fn assert_dropped(&self, reason: DropReason) {
        assert_eq!(self.verdict, Verdict::Drop(reason));
    }

    /// Dropped, and nobody was told.
    #[track_caller]
    pub fn assert_silently_dropped(&self, reason: DropReason) {
        self.assert_dropped(reason);
        assert_eq!(self.sent, []);
    }
}

pub struct Bench {
    pub dataplane: Dataplane,
    pub now: Instant,
    batch: Batch,
    /// Whether the hosts answer ARP.
    hosts_answer: bool,
}

impl Bench {
    /// A gateway of `mode` that knows its neighbours, who answer it.
    pub fn new(mode: Mode) -> Self {
        Self::with_config(config(mode))
    }

    pub fn with_config(config: Config) -> Self {
        let mut bench = Self::cold(config);
        for host in [ALICE, BOB, ISP] {
            if bench.dataplane.config().segment(host.port).is_some() {
                let gateway = if host.port == WAN { GATEWAY_WAN } else { GATEWAY_LAN };
                bench.send(host.port, &arp_request(host, gateway));
            }
        }
        bench.hosts_answer = true;
        bench
    }

    /// A gateway that has heard nothing yet, and whose questions nobody answers.
    pub fn cold(config: Config) -> Self {
        let now = Instant::from_secs(1_000);
        let dataplane = Dataplane::new(Arc::new(config), [7; 32], now);
        let mut bench = Self { dataplane, now, batch: Batch::new(2048), hosts_answer: false };
        // The gateway announces itself.
        bench.pass(Duration::from_secs(5));
        bench
    }

    pub fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = self.dataplane.config().clone();
        change(&mut config);
        self.dataplane.configure(self.now, Arc::new(config));
    }

    pub fn send(&mut self, port: PortId, frame: &[u8]) -> Outcome {
        self.process(Ingress::Port(port), frame)
    }

    /// An IPv4 packet of the gateway's own, given as a frame whose Ethernet header is meaningless.
    pub fn host_sends(&mut self, frame: &[u8]) -> Outcome {
        self.process(Ingress::Host, frame)
    }

    pub fn process(&mut self, ingress: Ingress, frame: &[u8]) -> Outcome {
        let outcome = self.process_unverified(ingress, frame);
        for frame in &outcome.sent {
            // What is bridged is not looked into.
            if frame.source_mac() == GATEWAY_LAN_MAC || frame.source_mac() == GATEWAY_WAN_MAC {
                frame.verify();
            }
        }
        outcome
    }

    /// For frames whose faults go through unmended.
    pub fn send_unverified(&mut self, port: PortId, frame: &[u8]) -> Outcome {
        self.process_unverified(Ingress::Port(port), frame)
    }

    pub fn process_unverified(&mut self, ingress: Ingress, frame: &[u8]) -> Outcome {
        self.batch.clear();
        let copy = |buffer: &mut [u8]| {
            buffer[..frame.len()].copy_from_slice(frame);
            Ok::<_, Infallible>(frame.len())
        };
        assert!(self.batch.receive(ingress, copy).unwrap());
        self.dataplane.process(self.now, &mut self.batch);
        assert!(self.dataplane.counters().balances());

        let slot = &self.batch.slots()[0];
        let bytes = slot.frame.bytes().to_vec();
        let (ports, is_local) = match slot.verdict {
            Verdict::Transmit(port) => (PortSet::only(port), false),
            Verdict::Flood { ports, local } => (ports, local),
            Verdict::Local => (PortSet::EMPTY, true),
            Verdict::Consumed | Verdict::Hold | Verdict::Drop(_) => (PortSet::EMPTY, false),
            Verdict::Pending => panic!("a frame without a verdict"),
        };
        let verdict = slot.verdict;
        let mut sent: Vec<_> = ports.iter().map(|port| Sent { port, bytes: bytes.clone() }).collect();
        let made = self.outputs();
        let answers = self.answer(&made);
        sent.extend(made);
        sent.extend(answers);
        Outcome { verdict, sent, local: is_local.then_some(bytes) }
    }

    /// Processes many frames as one batch, and returns their verdicts and what was made.
    pub fn send_batch(&mut self, port: PortId, frames: &[Vec<u8>]) -> (Vec<Verdict>, Vec<Sent>) {
        self.batch.clear();
        for frame in frames {
            let copy = |buffer: &mut [u8]| {
                buffer[..frame.len()].copy_from_slice(frame);
                Ok::<_, Infallible>(frame.len())
            };
            assert!(self.batch.receive(Ingress::Port(port), copy).unwrap());
        }
        self.dataplane.process(self.now, &mut self.batch);
        let verdicts = self.batch.slots().iter().map(|slot| slot.verdict).collect();
        (verdicts, self.outputs())
    }

    /// Lets time pass, timer by timer, and returns what was sent meanwhile.
    pub fn pass(&mut self, time: Duration) -> Vec<Sent> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while let Some(due) = self.dataplane.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            sent.extend(self.timeouts());
            let next = self.dataplane.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "a timer does not move: {next:?}");
        }
        self.now = end;
        sent
    }

    fn timeouts(&mut self) -> Vec<Sent> {
        self.batch.clear();
        self.dataplane.handle_timeout(self.now, &mut self.batch);
        assert!(self.dataplane.counters().balances());
        let mut sent = self.outputs();
        let answers = self.answer(&sent);
        sent.extend(answers);
        sent.iter().for_each(Sent::verify);
        sent
    }

    /// Lets the hosts answer the gateway's ARP requests, and returns what that lets go.
    fn answer(&mut self, made: &[Sent]) -> Vec<Sent> {
        let mut released = Vec::new();
        if !self.hosts_answer {
            return released;
        }
        for host in [ALICE, BOB, ISP] {
            let asks = |sent: &&Sent| {
                let arp = &sent.bytes[12..];
                sent.port == host.port
                    && arp[..2] == [8, 6]
                    && arp[9] == 1
                    && arp[26..30] == host.address.octets()
            };
            if let Some(request) = made.iter().find(asks) {
                let arp = &request.bytes[14..];
                let gateway = Ipv4Addr::new(arp[14], arp[15], arp[16], arp[17]);
                let reply = arp_reply(host, request.source_mac(), gateway);
                released.extend(self.send(host.port, &reply).sent);
            }
        }
        released
    }

    fn outputs(&self) -> Vec<Sent> {
        let frames = self.batch.output().iter();
        frames
            .flat_map(|(ports, frame)| {
                let bytes = frame.bytes().to_vec();
                ports.iter().map(move |port| Sent { port, bytes: bytes.clone() })
            })
            .collect()
    }

    pub fn drops(&self, reason: DropReason) -> u64 {
        self.dataplane.counters().drops[reason]
    }
}

/// The destination's MAC for a packet from `from`: the gateway's on that segment.
fn gateway_mac(from: Host) -> MacAddr {
    if from.port == WAN { GATEWAY_WAN_MAC } else { GATEWAY_LAN_MAC }
}

fn packet(from: Host, to: Ipv4Addr) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ethernet2(from.mac.0, gateway_mac(from).0).ipv4(from.address.octets(), to.octets(), 64)
}

pub fn udp(from: Host, from_port: u16, to: Ipv4Addr, to_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet(from, to).udp(from_port, to_port).write(&mut bytes, payload).unwrap();
    bytes
}

/// TCP segments of one direction, with flags as letters: `S`, `A`, `F`, `R`, `P`.
pub fn tcp(
    from: Host,
    from_port: u16,
    to: Ipv4Addr,
    to_port: u16,
    flags: &str,
    seq: u32,
    ack: u32,
) -> Vec<u8> {
    let mut header = TcpHeader::new(from_port, to_port, seq, 64_000);
    header.syn = flags.contains('S');
    header.ack = flags.contains('A');
    header.fin = flags.contains('F');
    header.rst = flags.contains('R');
    header.psh = flags.contains('P');
    header.acknowledgment_number = ack;
    tcp_with_header(from, to, header)
}

/// Carries four octets of data if PSH is set.
pub fn tcp_with_header(from: Host, to: Ipv4Addr, header: TcpHeader) -> Vec<u8> {
    let payload: &[u8] = if header.psh { b"data" } else { b"" };
    let mut bytes = Vec::new();
    packet(from, to).tcp_header(header).write(&mut bytes, payload).unwrap();
    bytes
}

pub fn echo_request(from: Host, to: Ipv4Addr, id: u16, seq: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet(from, to).icmpv4_echo_request(id, seq).write(&mut bytes, b"ping").unwrap();
    bytes
}

pub fn echo_reply(from: Host, to: Ipv4Addr, id: u16, seq: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet(from, to).icmpv4_echo_reply(id, seq).write(&mut bytes, b"ping").unwrap();
    bytes
}

/// An ICMP error by `from` to `to` about `about`, an IPv4 packet.
pub fn icmp_error(from: Host, to: Ipv4Addr, kind: u8, code: u8, rest: u32, about: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet(from, to).icmpv4_raw(kind, code, rest.to_be_bytes()).write(&mut bytes, about).unwrap();
    bytes
}

pub fn arp_request(from: Host, target: Ipv4Addr) -> Vec<u8> {
    arp(1, from, MacAddr::ZERO, target, MacAddr::BROADCAST)
}

pub fn arp_reply(from: Host, to_mac: MacAddr, to: Ipv4Addr) -> Vec<u8> {
    arp(2, from, to_mac, to, to_mac)
}

pub fn arp(operation: u16, from: Host, target_mac: MacAddr, target: Ipv4Addr, to: MacAddr) -> Vec<u8> {
    let mut bytes = Vec::new();
    let packet = etherparse::ArpPacket::new(
        etherparse::ArpHardwareId::ETHERNET,
        etherparse::EtherType::IPV4,
        etherparse::ArpOperation(operation),
        &from.mac.0,
        &from.address.octets(),
        &target_mac.0,
        &target.octets(),
    )
    .unwrap();
    PacketBuilder::ethernet2(from.mac.0, to.0).arp(packet).write(&mut bytes).unwrap();
    bytes
}

impl Sent {
    /// Checks lengths and every checksum.
    #[track_caller]
    pub fn verify(&self) {
        let packet = SlicedPacket::from_ethernet(&self.bytes).expect("what the gateway sends can be parsed");
        let Some(NetSlice::Ipv4(ip)) = &packet.net else { return };
        let header = ip.header();
        assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum(), "IPv4 checksum");
        if header.is_fragmenting_payload() {
            return;
        }
        match &packet.transport {
            Some(TransportSlice::Udp(udp)) if udp.checksum() != 0 => {
                let (source, destination) = (header.source(), header.destination());
                let expected =
                    udp.to_header().calc_checksum_ipv4_raw(source, destination, udp.payload()).unwrap();
                assert_eq!(udp.checksum(), expected, "UDP checksum");
            }
            Some(TransportSlice::Tcp(tcp)) => {
                let expected = tcp.calc_checksum_ipv4(header.source(), header.destination()).unwrap();
                assert_eq!(tcp.checksum(), expected, "TCP checksum");
            }
            Some(TransportSlice::Icmpv4(_)) => self.ip().verify_icmp(),
            _ => {}
        }
    }

    pub fn is_ipv4(&self) -> bool {
        self.bytes[12..14] == [8, 0]
    }

    pub fn source_mac(&self) -> MacAddr {
        MacAddr(self.bytes[6..12].try_into().unwrap())
    }

    pub fn destination_mac(&self) -> MacAddr {
        MacAddr(self.bytes[..6].try_into().unwrap())
    }

    /// The IPv4 packet.
    #[track_caller]
    pub fn ip(&self) -> Ip<'_> {
        Ip(&self.bytes[14..])
    }
}

/// An IPv4 packet, possibly cut: what an ICMP error quotes.
#[derive(Clone, Copy, Debug)]
pub struct Ip<'a>(pub &'a [u8]);

impl<'a> Ip<'a> {
    fn u16_at(&self, offset: usize) -> u16 {
        u16::from_be_bytes([self.0[offset], self.0[offset + 1]])
    }

    pub fn header_len(&self) -> usize {
        usize::from(self.0[0] & 15) * 4
    }

    pub fn ttl(&self) -> u8 {
        self.0[8]
    }

    pub fn source(&self) -> Ipv4Addr {
        Ipv4Addr::new(self.0[12], self.0[13], self.0[14], self.0[15])
    }

    pub fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::new(self.0[16], self.0[17], self.0[18], self.0[19])
    }

    /// What follows the header.
    pub fn payload(&self) -> &'a [u8] {
        &self.0[self.header_len()..]
    }

    pub fn source_port(&self) -> u16 {
        self.u16_at(self.header_len())
    }

    pub fn destination_port(&self) -> u16 {
        self.u16_at(self.header_len() + 2)
    }

    /// `address:port > address:port`, as people write it.
    pub fn endpoints(&self) -> String {
        let (source, destination) = (self.source(), self.destination());
        format!("{source}:{} > {destination}:{}", self.source_port(), self.destination_port())
    }

    /// The type and code of an ICMP message.
    pub fn icmp(&self) -> (u8, u8) {
        assert_eq!(self.0[9], 1, "not ICMP");
        (self.payload()[0], self.payload()[1])
    }

    /// The identifier of an ICMP query.
    pub fn icmp_id(&self) -> u16 {
        self.u16_at(self.header_len() + 4)
    }

    /// The packet that an ICMP error quotes.
    pub fn quoted(&self) -> Ip<'a> {
        Ip(&self.payload()[8..])
    }

    /// Checks the checksum of the header, as of a quoted packet.
    #[track_caller]
    pub fn verify_header(&self) {
        assert_eq!(sum(&self.0[..self.header_len()]), 0xffff, "IPv4 checksum");
    }

    /// Checks the checksum of a quoted datagram that is whole.
    #[track_caller]
    pub fn verify_udp(&self) {
        let len = self.u16_at(2);
        let segment = &self.0[self.header_len()..usize::from(len)];
        let pseudo = [&self.0[12..20], &[0, 17], &(segment.len() as u16).to_be_bytes()].concat();
        assert_eq!(sum(&[&pseudo, segment].concat()), 0xffff, "UDP checksum");
    }

    /// Checks the checksum of a quoted ICMP message that is whole.
    #[track_caller]
    pub fn verify_icmp(&self) {
        assert_eq!(self.payload_sum(), 0xffff, "ICMP checksum");
    }

    fn payload_sum(&self) -> u16 {
        let len = usize::from(self.u16_at(2));
        sum(&self.0[self.header_len()..len])
    }
}

/// The one's complement sum of 16-bit words. // RFC 1071
fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// Changes a frame's IPv4 header and puts its checksum right again.
fn change_header(frame: &mut [u8], change: impl FnOnce(&mut [u8])) {
    let header_len = usize::from(frame[14] & 15) * 4;
    let header = &mut frame[14..14 + header_len];
    change(header);
    header[10..12].fill(0);
    let checksum = !sum(header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

pub fn set_ttl(frame: &mut [u8], ttl: u8) {
    change_header(frame, |header| header[8] = ttl);
}

pub fn set_protocol(frame: &mut [u8], protocol: u8) {
    change_header(frame, |header| header[9] = protocol);
}

pub fn set_dont_fragment(frame: &mut [u8], dont: bool) {
    change_header(frame, |header| header[6] = u8::from(dont) << 6);
}

/// Makes a frame a fragment that begins `offset` octets into its packet.
pub fn set_fragment(frame: &mut [u8], offset: u16, more: bool) {
    let field = (offset / 8) | (u16::from(more) << 13);
    change_header(frame, |header| header[6..8].copy_from_slice(&field.to_be_bytes()));
}

pub fn set_identification(frame: &mut [u8], identification: u16) {
    change_header(frame, |header| header[4..6].copy_from_slice(&identification.to_be_bytes()));
}

/// Puts an IPv4 header's checksum right, if there is room for a header.
pub fn mend_header(frame: &mut [u8]) {
    let is_whole = frame.len() > 14 && frame.len() >= 14 + usize::from(frame[14] & 15) * 4;
    if is_whole && frame[14] & 15 >= 5 {
        change_header(frame, |_| ());
    }
}

/// An IPv4 packet without options, with `options` (whole words) put in.
pub fn with_ip_options(packet: &[u8], options: &[u8]) -> Vec<u8> {
    let mut frame = [&[0; 14], &packet[..20], options, &packet[20..]].concat();
    let len = u16::try_from(frame.len() - 14).unwrap();
    frame[14] = 0x45 + u8::try_from(options.len() / 4).unwrap();
    change_header(&mut frame, |header| header[2..4].copy_from_slice(&len.to_be_bytes()));
    frame.split_off(14)
}

/// Cuts a frame's packet into fragments of `size` octets of payload each, a multiple of eight.
pub fn fragment(frame: &[u8], identification: u16, size: usize) -> Vec<Vec<u8>> {
    let payload = &frame[34..];
    let count = payload.len().div_ceil(size);
    let cut = |(i, part): (usize, &[u8])| {
        let mut fragment = [&frame[..34], part].concat();
        let len = u16::try_from(20 + part.len()).unwrap();
        change_header(&mut fragment, |header| header[2..4].copy_from_slice(&len.to_be_bytes()));
        set_fragment(&mut fragment, u16::try_from(i * size).unwrap(), i + 1 < count);
        set_identification(&mut fragment, identification);
        fragment
    };
    payload.chunks(size).enumerate().map(cut).collect()
}

/// The frame whose fragments these are, in any order.
#[track_caller]
pub fn reassemble(fragments: &[Sent]) -> Vec<u8> {
    let offset = |sent: &Sent| usize::from(u16::from_be_bytes([sent.bytes[20], sent.bytes[21]]) & 0x1fff) * 8;
    let id = |sent: &Sent| [sent.bytes[18], sent.bytes[19]];
    let mut fragments: Vec<_> = fragments.iter().collect();
    fragments.sort_by_key(|sent| offset(sent));
    let mut whole = fragments[0].bytes[..34].to_vec();
    for fragment in &fragments {
        assert_eq!(id(fragment), id(fragments[0]), "of one packet");
        assert_eq!(offset(fragment), whole.len() - 34, "no gap and no overlap");
        whole.extend(fragment.ip().payload());
    }
    let len = u16::try_from(whole.len() - 14).unwrap();
    change_header(&mut whole, |header| {
        header[2..4].copy_from_slice(&len.to_be_bytes());
        header[6..8].fill(0);
    });
    whole
}
