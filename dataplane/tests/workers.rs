//! A gateway with several workers is to its hosts what one with a single worker is, whichever of them gets a
//! frame.

mod common;

use std::time::Duration;

use common::*;
use gatepost_dataplane::DropReason;
use gatepost_dataplane::config::{Config, Filtering, Mode, WanService};
use gatepost_ground::PortId;
use gatepost_ground::wire::Protocol;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Udp,
    Tcp(&'static str),
    Echo,
}

#[derive(Clone, Debug)]
enum Step {
    /// A LAN host, or the gateway's own, sends to the internet, the WAN address or the LAN.
    Out { from: usize, port: u16, to: usize, to_port: u16, kind: Kind },
    /// Somebody on the internet sends to the WAN address.
    In { from: usize, port: u16, to_port: u16, kind: Kind },
    /// Whoever got a packet last answers it.
    Answer,
    /// The host answers with an ICMP error.
    Object { code: u8 },
    /// A datagram in fragments that come in this order.
    Fragments { outwards: bool, port: u16, to: usize, to_port: u16, order: [usize; 3] },
    /// Time goes on.
    Wait { millis: u64 },
    /// Other forwards are configured.
    Forward { which: usize },
}

/// The ports of either LAN host: each its own, so that all are preserved.
const PORTS: [u16; 2] = [5000, 6000];
const GATEWAY: Host = Host { port: WAN, mac: GATEWAY_WAN_MAC, address: GATEWAY_WAN };
const REMOTES: [Host; 3] = [SERVER, STRANGER, ISP];

/// A gateway, and what its hosts see of it.
struct Office {
    bench: Bench,
    last: Option<Sent>,
    forwards: usize,
}

fn forwards(which: usize) -> Vec<gatepost_dataplane::config::Forward> {
    let mut contested =
        [forward(Protocol::UDP, 8003..=8003, ALICE, 7), forward(Protocol::UDP, 8003..=8003, BOB, 5)];
    contested[0].from = vec!["198.51.100.0/26".parse().expect("a network")];
    contested[1].from = vec!["198.51.100.64/26".parse().expect("a network")];
    let several = vec![
        forward(Protocol::UDP, 8000..=8001, BOB, 6003),
        forward(Protocol::UDP, 8002..=8002, BOB, 6003),
        forward(Protocol::TCP, 8000..=8002, ALICE, 80),
    ];
    match which {
        0 => Vec::new(),
        1 => several,
        _ => [several, contested.to_vec()].concat(),
    }
}

impl Office {
    fn new(workers: u8, lot: u64, config: &Config, which: usize) -> Self {
        let mut config = config.clone();
        config.firewall.v4.forwards = forwards(which);
        Self { bench: Bench::with_workers(workers, lot, config), last: None, forwards: which }
    }

    /// Takes a step, and returns what the hosts and the host stack got, in no order.
    fn step(&mut self, step: &Step) -> Vec<(PortId, Vec<u8>)> {
        let mut seen = Vec::new();
        match *step {
            Step::Out { from, port, to, to_port, kind } => {
                let (host, to) = (self.client(from), self.destination(to));
                let port = PORTS.get(from).map_or(port, |first| first + port % 8);
                self.send(&mut seen, from >= 2, host, &packet(host, port, to, to_port, kind));
            }
            Step::In { from, port, to_port, kind } => {
                let host = REMOTES[from];
                self.send(&mut seen, false, host, &packet(host, port, GATEWAY_WAN, to_port, kind));
            }
            Step::Answer => {
                if let Some((host, frame)) = self.last.clone().and_then(|last| answer(&last)) {
                    self.send(&mut seen, host.mac == GATEWAY_WAN_MAC, host, &frame);
                }
            }
            Step::Object { code } => {
                if let Some(last) = self.last.clone().filter(|last| last.ip().0[9] != 1) {
                    let host = owner(&last);
                    let error = icmp_error(host, last.ip().source(), 3, code, 0, last.ip().0);
                    self.send(&mut seen, host.mac == GATEWAY_WAN_MAC, host, &error);
                }
            }
            Step::Fragments { outwards, port, to, to_port, order } => {
                let (host, port, to) = if outwards {
                    (BOB, PORTS[1] + port % 8, self.destination(to))
                } else {
                    (SERVER, port, GATEWAY_WAN)
                };
                let whole = udp(host, port, to, to_port, &[7; 1400]);
                let identification = port.wrapping_mul(31).wrapping_add(to_port);
                let fragments = fragment(&whole, identification, 504);
                for at in order {
                    self.send(&mut seen, false, host, &fragments[at]);
                }
            }
            Step::Wait { millis } => {
                let sent = self.bench.pass(Duration::from_millis(millis));
                self.note(&mut seen, sent);
            }
            Step::Forward { which } => {
                self.forwards = which;
                self.bench.configure(|config| config.firewall.v4.forwards = forwards(which));
            }
        }
        let sent = self.bench.pass(Duration::from_millis(20));
        self.note(&mut seen, sent);
        seen.sort();
        seen
    }

    fn client(&self, from: usize) -> Host {
        [ALICE, BOB, GATEWAY][from]
    }

    fn destination(&self, to: usize) -> std::net::Ipv4Addr {
        [SERVER.address, STRANGER.address, ISP.address, GATEWAY_WAN, GATEWAY_LAN][to]
    }

    fn send(&mut self, seen: &mut Vec<(PortId, Vec<u8>)>, by_host: bool, host: Host, frame: &[u8]) {
        let outcome = if by_host { self.bench.host_sends(frame) } else { self.bench.send(host.port, frame) };
        // The frames that the host's frame released, and the frame itself.
        let delivered: Vec<_> = self.bench.delivered().map(<[u8]>::to_vec).collect();
        seen.extend(delivered.iter().map(|bytes| (HOST_STACK, comparable(bytes))));
        if let Some(bytes) = delivered.into_iter().next_back().filter(|bytes| bytes[12..14] == [8, 0]) {
            self.last = Some(Sent { port: HOST_STACK, bytes });
        }
        self.note(seen, outcome.sent);
    }

    fn note(&mut self, seen: &mut Vec<(PortId, Vec<u8>)>, sent: Vec<Sent>) {
        for sent in sent.into_iter().filter(Sent::is_ipv4) {
            // A flooded frame is seen by others, too.
            if [ALICE, BOB, ISP]
                .iter()
                .any(|host| host.mac == sent.destination_mac() && host.port == sent.port)
            {
                seen.push((sent.port, comparable(&sent.bytes)));
                self.last = Some(sent);
            }
        }
    }
}

/// Stands for the host stack's port.
const HOST_STACK: PortId = PortId(63);

fn packet(host: Host, port: u16, to: std::net::Ipv4Addr, to_port: u16, kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Udp => udp(host, port, to, to_port, b"hello"),
        Kind::Tcp(flags) => tcp(host, port, to, to_port, flags, 1000, 2000),
        Kind::Echo => echo_request(host, to, port, 1),
    }
}

/// The host that got a frame.
fn owner(sent: &Sent) -> Host {
    let address = sent.ip().destination();
    let known = [ALICE, BOB, SERVER, STRANGER, ISP].into_iter().find(|host| host.address == address);
    known.unwrap_or(Host { address, ..GATEWAY })
}

/// The answer of the host that got a packet.
fn answer(sent: &Sent) -> Option<(Host, Vec<u8>)> {
    let (host, ip) = (owner(sent), sent.ip());
    let (to, payload) = (ip.source(), ip.payload());
    if payload.len() < 8 {
        return None;
    }
    let (from_port, to_port) = (ip.destination_port(), ip.source_port());
    let u32_at = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four"));
    let frame = match ip.0[9] {
        17 => udp(host, from_port, to, to_port, b"and hello"),
        6 => {
            let (seq, ack, flags) = (u32_at(4), u32_at(8), payload[13]);
            let len = u32::try_from(payload.len() - 20).expect("short")
                + u32::from(flags & 1)
                + u32::from(flags >> 1 & 1);
            let answer = match flags & 0x17 {
                0x02 => "SA",
                0x01 | 0x11 => "FA",
                0x04 | 0x14 => return None,
                _ => "PA",
            };
            tcp(
                host,
                from_port,
                to,
                to_port,
                answer,
                if answer == "SA" { 5000 } else { ack },
                seq.wrapping_add(len),
            )
        }
        1 if payload[0] == 8 => echo_reply(host, to, ip.icmp_id(), 1),
        _ => return None,
    };
    Some((host, frame))
}

/// Which port a mapping gets in the stead of its own may differ.
fn forget_ports(bytes: &mut [u8], ip: usize) {
    let is_known = |port: u16| {
        port < 5000
            || [5000..5008, 6000..6008, 7000..7002, 8000..8005, 20_000..20_004]
                .iter()
                .any(|own| own.contains(&port))
    };
    let checksum_at = match bytes.get(ip + 9) {
        Some(6) => 16,
        Some(17) => 6,
        _ => return,
    };
    let is_first = bytes.get(ip + 6..ip + 8).is_some_and(|field| field[0] & 0x1f == 0 && field[1] == 0);
    for at in [ip + 20, ip + 22] {
        let Some(port) = bytes.get_mut(at..at + 2).filter(|_| is_first) else { return };
        if !is_known(u16::from_be_bytes([port[0], port[1]])) {
            port.fill(0);
            bytes.iter_mut().skip(ip + 20 + checksum_at).take(2).for_each(|byte| *byte = 0);
        }
    }
}

/// A frame without what may differ: identifications, ports that were in use already, and the checksums over
/// them.
fn comparable(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let forget = |bytes: &mut [u8], ip: usize| {
        for at in [ip + 4, ip + 5, ip + 10, ip + 11] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = 0;
            }
        }
    };
    forget(&mut bytes, 14);
    forget_ports(&mut bytes, 14);
    let is_error = bytes.get(23) == Some(&1) && matches!(bytes.get(34), Some(3 | 11));
    if is_error {
        forget(&mut bytes, 42);
        forget_ports(&mut bytes, 42);
        bytes[36..38].fill(0);
    }
    bytes
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Udp),
        4 => prop::sample::select(vec!["S", "S", "S", "A", "PA", "FA", "R", "RA", "SA"]).prop_map(Kind::Tcp),
        1 => Just(Kind::Echo),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let external = || {
        prop_oneof![
            3 => (0u16..8).prop_map(|at| PORTS[0] + at),
            3 => (0u16..8).prop_map(|at| PORTS[1] + at),
            3 => 8000u16..8005,
            1 => 20_000u16..20_004,
            1 => prop::sample::select(vec![25u16, 53, 7000, 7001]),
        ]
    };
    let remote = || prop::sample::select(vec![80u16, 443, 3478, 3479]);
    let to_port = || prop_oneof![remote(), external()];
    let order = Just([0, 1, 2]).prop_shuffle();
    let step = prop_oneof![
        6 => (0usize..3, prop_oneof![0u16..8, 7000u16..7002], 0usize..5, to_port(), kind())
            .prop_map(|(from, port, to, to_port, kind)| Step::Out {
                from,
                port: if from == 2 { 7000 + port % 2 } else { port },
                // The gateway does not send to itself.
                to: if from == 2 { to % 3 } else { to },
                to_port,
                kind,
            }),
        4 => (0usize..3, remote(), external(), kind())
            .prop_map(|(from, port, to_port, kind)| Step::In { from, port, to_port, kind }),
        8 => Just(Step::Answer),
        1 => (0u8..4).prop_map(|code| Step::Object { code }),
        2 => (any::<bool>(), remote(), prop::sample::select(vec![0usize, 3]), to_port(), order).prop_map(
            |(outwards, port, to, to_port, order)| {
                let to_port = if outwards || to_port >= 5000 { to_port } else { 5000 };
                Step::Fragments { outwards, port, to, to_port, order }
            }
        ),
        1 => prop::sample::select(vec![100u64, 3_000, 7_000, 61_000, 310_000])
            .prop_map(|millis| Step::Wait { millis }),
        1 => (0usize..3).prop_map(|which| Step::Forward { which }),
    ];
    prop::collection::vec(step, 1..60)
}

fn office() -> impl Strategy<Value = (Config, usize)> {
    let filtering = prop::sample::select(vec![
        Filtering::EndpointIndependent,
        Filtering::AddressDependent,
        Filtering::AddressAndPortDependent,
    ]);
    (filtering, any::<bool>(), any::<bool>(), 0usize..3).prop_map(|(filtering, has_dmz, stealth, which)| {
        let mut config = config(Mode::NatDmz);
        config.nat.filtering = filtering;
        config.firewall.stealth = stealth;
        config.firewall.v4.dmz_host = has_dmz.then_some(BOB.address);
        config.firewall.v4.wan_services =
            vec![WanService::for_all(Protocol::TCP, 25), WanService::for_all(Protocol::UDP, 53)];
        (config, which)
    })
}

proptest! {
    #![proptest_config(cases(96))]
    #[test]
    fn hosts_see_the_same_of_any_number_of_workers(
        (config, which) in office(),
        steps in steps(),
        workers in prop::sample::select(vec![2u8, 3, 4, 16]),
        lot: u64,
    ) {
        let mut sole = Office::new(1, lot, &config, which);
        let mut team = Office::new(workers, lot, &config, which);
        for (at, step) in steps.iter().enumerate() {
            let (expected, found) = (sole.step(step), team.step(step));
            prop_assert_eq!(found, expected, "step {}: {:?}", at, step);
            let (sole, team) = (sole.bench.dataplane.counters(), team.bench.dataplane.counters());
            prop_assert_eq!(team.drops[DropReason::WorkerChanged], 0);
            prop_assert_eq!((team.local, team.held, team.drops), (sole.local, sole.held, sole.drops));
        }
    }
}
