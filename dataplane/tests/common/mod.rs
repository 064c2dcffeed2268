//! A gateway on a bench: two LAN ports, one WAN port, and hosts that speak through a second codec
//! (`etherparse`), so that a mistake in the dataplane's own cannot cancel itself out.

#![allow(dead_code, reason = "each test file uses its own part of the bench")]
#![expect(clippy::unwrap_used, reason = "a test that cannot build its frames fails")]

mod frames;
mod sent;
mod team;

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_dataplane::config::{
    Bounded, Config, Filtering, Firewall, Forward, Gateways, Inspection, Interface, Link, Mode, Nat,
};
use gatepost_dataplane::explain::Step;
use gatepost_dataplane::{DropReason, Ingress, LocalClass, Verdict};
use gatepost_ground::wire::Protocol;
use gatepost_ground::{Frame, Instant, InterfaceId, MacAddr, Offload, PortId, PortSet, Role};
use proptest::test_runner::Config as ProptestConfig;

pub use frames::*;
pub use sent::*;
pub use team::*;

pub const LAN0: PortId = PortId(0);
pub const LAN1: PortId = PortId(1);
pub const WAN: PortId = PortId(2);

pub const GATEWAY_LAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 1]);
pub const GATEWAY_WAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 2, 1]);
/// The interface on the LAN.
pub const LAN_SIDE: InterfaceId = InterfaceId(0);
/// The interface on the WAN.
pub const WAN_SIDE: InterfaceId = InterfaceId(1);
pub const GATEWAY_LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
pub const GATEWAY_WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

/// The most turns that a bench takes at one instant.
const JUMP_TURNS_MAX: usize = 1_000;

/// For the gateway's host stack.
pub const TO_STACK: Verdict = Verdict::Local(LocalClass::Stack);

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

/// As many cases of a property as `full`, or the share of them that PROPTEST_CASES is of proptest's own 256: the
/// tests before a commit try fewer, and a long night may try more.
pub fn cases(full: u32) -> ProptestConfig {
    let own = ProptestConfig::default();
    let share = u64::from(full) * u64::from(own.cases) / 256;
    ProptestConfig { cases: u32::try_from(share.max(1)).unwrap_or(u32::MAX), ..own }
}

/// An interface with the hardware address `mac`. The other interfaces of one gateway may have the same.
pub fn interface(
    name: &str,
    role: Role,
    mac: MacAddr,
    address: Option<&str>,
    gateway: Option<Ipv4Addr>,
) -> Interface {
    let addresses = address.map(|address| address.parse().unwrap()).into();
    let gateway = Gateways { v4: gateway, v6: None };
    let (name, link, routes) = (name.to_owned(), Link::Ethernet { mac }, Bounded::new());
    Interface { name, role, link, addresses, gateway, routes, mtu: 1500 }
}

/// The office of these tests.
pub fn config(mode: Mode) -> Config {
    let has_wan = mode != Mode::LanOnly;
    let router = has_wan.then_some(ISP.address);
    Config {
        mode,
        ports: if has_wan { vec![LAN_SIDE, LAN_SIDE, WAN_SIDE] } else { vec![LAN_SIDE, LAN_SIDE] },
        vlans: Bounded::new(),
        interfaces: [
            interface("lan", Role::Inside, GATEWAY_LAN_MAC, Some("192.168.1.1/24"), None),
            interface("wan", Role::Outside, GATEWAY_WAN_MAC, has_wan.then_some("203.0.113.10/24"), router),
        ]
        .into(),
        firewall: Firewall::default(),
        nat: Nat {
            filtering: Filtering::AddressAndPortDependent,
            flows_max: 1024 * u32::from(workers()),
            flows_per_host_max: 512,
        },
        inspection: Inspection::default(),
    }
}

pub fn forward(protocol: Protocol, ports: std::ops::RangeInclusive<u16>, to: Host, to_port: u16) -> Forward {
    Forward { protocol, wan_ports: ports, to: to.address, to_port, from: vec!["0.0.0.0/0".parse().unwrap()] }
}

/// The outcome of one frame handed in.
#[derive(Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    /// All frames sent, as on the wire: the frame itself first, then those that the gateway made.
    pub sent: Vec<Sent>,
    /// The frame that the host stack got.
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

    /// Asserts that the frame was dropped without an ICMP error.
    #[track_caller]
    pub fn assert_silently_dropped(&self, reason: DropReason) {
        self.assert_dropped(reason);
        assert_eq!(self.sent, []);
    }
}

pub struct Bench {
    pub dataplane: Team,
    pub now: Instant,
    delivered: Vec<Vec<u8>>,
    /// Whether the hosts answer ARP.
    hosts_answer: bool,
}

impl Bench {
    /// A gateway of `mode` that knows its neighbours, which answer its requests.
    pub fn new(mode: Mode) -> Self {
        Self::with_config(config(mode))
    }

    pub fn with_config(config: Config) -> Self {
        Self::cold(config).introduced()
    }

    /// As [`Bench::with_config`], of a gateway with `workers`, of which `lot` draws one for each frame.
    pub fn with_workers(workers: u8, lot: u64, config: Config) -> Self {
        Self::cold_with_workers(workers, lot, config).introduced()
    }

    /// Lets the hosts make themselves known, and answer from now on.
    fn introduced(self) -> Self {
        let mut bench = self;
        for host in [ALICE, BOB, ISP] {
            if bench.dataplane.config().interface_of(host.port).is_some() {
                let gateway = if host.port == WAN { GATEWAY_WAN } else { GATEWAY_LAN };
                bench.send(host.port, &arp_request(host, gateway));
            }
        }
        bench.hosts_answer = true;
        bench
    }

    /// A gateway that knows no neighbours, and whose ARP requests get no answer.
    pub fn cold(config: Config) -> Self {
        Self::cold_with_workers(workers(), 7, config)
    }

    fn cold_with_workers(workers: u8, lot: u64, config: Config) -> Self {
        let now = Instant::from_secs(1_000);
        let dataplane = Team::new(workers, config, lot, now);
        let mut bench = Self { dataplane, now, delivered: Vec::new(), hosts_answer: false };
        // The gateway announces itself.
        bench.pass(Duration::from_secs(5));
        bench
    }

    /// Whether the hosts answer ARP from now on.
    pub fn hosts_answer(&mut self, answer: bool) {
        self.hosts_answer = answer;
    }

    pub fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = self.dataplane.config().clone();
        change(&mut config);
        self.dataplane.configure(self.now, config);
    }

    pub fn send(&mut self, port: PortId, frame: &[u8]) -> Outcome {
        self.process(Ingress::Port(port), frame)
    }

    /// An IPv4 packet of the gateway's own, given as a frame whose Ethernet header is meaningless.
    pub fn host_sends(&mut self, frame: &[u8]) -> Outcome {
        self.process(Ingress::Stack, frame)
    }

    pub fn process(&mut self, ingress: Ingress, frame: &[u8]) -> Outcome {
        let outcome = self.process_unverified(ingress, frame);
        for frame in &outcome.sent {
            // Bridged frames are not verified.
            if frame.source_mac() == GATEWAY_LAN_MAC || frame.source_mac() == GATEWAY_WAN_MAC {
                frame.verify();
            }
        }
        outcome
    }

    /// As `send`, for frames whose faults the gateway passes on.
    pub fn send_unverified(&mut self, port: PortId, frame: &[u8]) -> Outcome {
        self.process_unverified(Ingress::Port(port), frame)
    }

    pub fn process_unverified(&mut self, ingress: Ingress, frame: &[u8]) -> Outcome {
        self.process_offloaded(ingress, frame, Offload::None)
    }

    /// Sends a frame with an offload.
    pub fn send_offloaded(&mut self, port: PortId, frame: &[u8], offload: Offload) -> Outcome {
        self.process_offloaded(Ingress::Port(port), frame, offload)
    }

    fn process_offloaded(&mut self, ingress: Ingress, frame: &[u8], offload: Offload) -> Outcome {
        let (fates, made) = self.dataplane.process(self.now, [(ingress, frame, offload)]);
        self.delivered = self.dataplane.delivered.clone();
        self.dataplane.counters();
        let Fate { verdict, frames } = &fates[0];
        let (ports, is_local) = ports_of(*verdict);
        let mut sent: Vec<_> = sent_by(ports, frames).collect();
        let answers = self.answer(&made);
        sent.extend(made);
        sent.extend(answers);
        Outcome { verdict: *verdict, sent, local: is_local.then(|| frames.concat()) }
    }

    /// What would become of a frame, and the decisions of the stages.
    pub fn explain(&self, port: PortId, frame: &[u8]) -> (Verdict, Vec<Step>) {
        self.explain_from(Ingress::Port(port), frame)
    }

    /// As [`Bench::explain`], for a frame that comes in by `ingress`.
    pub fn explain_from(&self, ingress: Ingress, frame: &[u8]) -> (Verdict, Vec<Step>) {
        self.dataplane.explain(self.now, 0, ingress, frame)
    }

    /// The last frame that the host stack got.
    pub fn delivered(&self) -> impl Iterator<Item = &[u8]> {
        self.delivered.iter().map(|bytes| &bytes[..])
    }

    /// Processes many frames as one batch, and returns their verdicts and what was made.
    pub fn send_batch(&mut self, port: PortId, frames: &[Vec<u8>]) -> (Vec<Verdict>, Vec<Sent>) {
        let received = frames.iter().map(|frame| (Ingress::Port(port), &frame[..], Offload::None));
        let (fates, made) = self.dataplane.process(self.now, received);
        (fates.into_iter().map(|fate| fate.verdict).collect(), made)
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

    /// Lets time go on at once to its end, as for a machine that has slept, and has the gateway work off what is due.
    /// Returns the turns that it took.
    pub fn jump(&mut self, time: Duration) -> usize {
        self.now = self.now + time;
        let is_due = |bench: &Self| bench.dataplane.poll_timeout().is_some_and(|due| due <= bench.now);
        let mut turns = 0;
        while is_due(self) {
            turns += 1;
            assert!(
                turns <= JUMP_TURNS_MAX,
                "what is due stays due since {:?}",
                self.dataplane.poll_timeout()
            );
            self.timeouts();
        }
        turns
    }

    fn timeouts(&mut self) -> Vec<Sent> {
        let mut sent = self.dataplane.handle_timeout(self.now);
        self.dataplane.counters();
        let answers = self.answer(&sent);
        sent.extend(answers);
        sent.iter().for_each(Sent::verify);
        sent
    }

    /// Lets the hosts answer the gateway's ARP requests, and returns the frames that this releases.
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

    pub fn drops(&self, reason: DropReason) -> u64 {
        self.dataplane.counters().drops[reason]
    }
}

/// The frames that a port without offloads sends for a frame.
fn on_the_wire(frame: &Frame) -> Vec<Vec<u8>> {
    let segments = frame.segments();
    segments
        .map(|segment| {
            let mut bytes = vec![0; segment.len()];
            segment.write(&mut bytes).unwrap();
            bytes
        })
        .collect()
}

fn sent_by(ports: PortSet, frames: &[Vec<u8>]) -> impl Iterator<Item = Sent> {
    ports.iter().flat_map(|port| frames.iter().map(move |bytes| Sent { port, bytes: bytes.clone() }))
}
