//! A gateway in memory, with everybody next to it known, and the clock that is held to it.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use gatepost_dataplane::config::{
    Bounded, Config, Filtering, Firewall, Gateways, Inspection, Interface, Link, Mode, Nat,
};
use gatepost_dataplane::{Batch, Dataplane, Ingress, Shard};
use gatepost_ground::wire::tcp::Flags;
use gatepost_ground::{Instant, InterfaceId, MacAddr, PortId, Role};
use ipnet::Ipv4Net;

use crate::frames::{Connection, Frames, Prepared, greetings, isp};

pub const LAN_PORTS: [PortId; 2] = [PortId(0), PortId(1)];
pub const WAN: PortId = PortId(2);
pub const GATEWAY_LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
pub const GATEWAY_WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
pub const GATEWAY_LAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 1]);
pub const GATEWAY_WAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 2, 1]);
pub const FLOWS_MAX: u32 = 1 << 22;

/// The least frames between two looks at the clock, so that looking costs a nanosecond each.
const ROUND_MIN: usize = 32;
/// Simulated: a million packets a second.
const PACKET_TIME: Duration = Duration::from_micros(1);
/// Often enough for neighbours to stay known.
const GREETING_INTERVAL: Duration = Duration::from_secs(10);
/// More than a connection that is not answered lasts.
const NEWCOMERS_GONE: Duration = Duration::from_secs(245);
/// How often newcomers may go before established connections would: they last 7,440 s.
const GENERATIONS_MAX: u32 = 25;
const FRAME_CAPACITY: usize = 128;

pub fn config(mode: Mode) -> Config {
    let interface = |name: &str, role, mac, address, gateway| Interface {
        name: name.to_owned(),
        role,
        link: Link::Ethernet { mac },
        addresses: Some(Ipv4Net::new_assert(address, 24).into()).into(),
        gateway: Gateways { v4: gateway, v6: None },
        routes: Bounded::new(),
        mtu: 1500,
    };
    Config {
        mode,
        ports: [0, 0, 1].map(InterfaceId).to_vec(),
        vlans: Bounded::new(),
        interfaces: [
            interface("lan", Role::Inside, GATEWAY_LAN_MAC, GATEWAY_LAN, None),
            interface("wan", Role::Outside, GATEWAY_WAN_MAC, GATEWAY_WAN, Some(isp())),
        ]
        .into(),
        firewall: Firewall { stealth: true, ..Firewall::default() },
        nat: Nat {
            filtering: Filtering::AddressAndPortDependent,
            flows_max: FLOWS_MAX,
            flows_per_host_max: FLOWS_MAX,
        },
        inspection: Inspection::default(),
    }
}

/// A gateway, and batches for a round of any.
pub struct Office {
    dataplane: Dataplane,
    now: Instant,
    greeted: Instant,
    batches: Vec<Batch>,
    connections: usize,
    newcomers: usize,
    generations: u32,
}

impl Office {
    /// A gateway of `mode` with so many TCP connections established.
    pub fn new(mode: Mode, connections: usize) -> Self {
        let now = Instant::from_secs(1_000);
        let mut office = Self {
            dataplane: Dataplane::new(Arc::new(config(mode)), Shard::SOLE, [7; 32], now),
            now,
            greeted: now,
            batches: (0..ROUND_MIN).map(|_| Batch::new(FRAME_CAPACITY)).collect(),
            connections,
            newcomers: 0,
            generations: 0,
        };
        office.greet();
        let connection = Connection::established;
        office.send((0..connections).map(|n| connection(n).out(Flags::SYN)));
        office.send((0..connections).map(|n| connection(n).back(GATEWAY_WAN, Flags::SYN | Flags::ACK)));
        office.send((0..connections).map(|n| connection(n).out(Flags::ACK)));
        office.assert_nothing_dropped();
        office
    }

    /// The time that the gateway takes for the next `packets` of `frames`, in batches of `batch_len`.
    pub fn time(&mut self, packets: u64, batch_len: usize, frames: &mut Frames) -> Duration {
        self.time_rounds(packets, batch_len, |office, _| {
            for batch in office.round(batch_len) {
                refill(batch, batch_len, || *frames.next());
            }
        })
    }

    /// As [`Office::time`], for packets that are dropped.
    pub fn time_drops(&mut self, packets: u64, batch_len: usize, frames: &mut Frames) -> Duration {
        let mut handed_in = 0;
        let before = self.dataplane.counters().drops.total();
        let total = self.time_whole_rounds(packets, batch_len, |office, len| {
            handed_in += len as u64;
            for batch in office.round(batch_len) {
                refill(batch, batch_len, || *frames.next());
            }
        });
        assert_eq!(self.dataplane.counters().drops.total() - before, handed_in);
        total
    }

    /// As [`Office::time`], for packets that each open a connection.
    pub fn time_newcomers(&mut self, packets: u64, batch_len: usize) -> Duration {
        let mut newcomers = self.newcomers;
        // Not so many that the table is of another size then.
        let newcomers_max = self.connections.min(Connection::NEWCOMERS_MAX);
        let total = self.time_rounds(packets, batch_len, |office, len| {
            if newcomers + len > newcomers_max {
                office.newcomers_go();
                newcomers = 0;
            }
            for batch in office.round(batch_len) {
                refill(batch, batch_len, || {
                    newcomers += 1;
                    Connection::newcomer(newcomers - 1).out(Flags::SYN)
                });
            }
        });
        self.newcomers = newcomers;
        total
    }

    /// As [`Office::time_whole_rounds`]. No packet may be dropped.
    fn time_rounds(
        &mut self,
        packets: u64,
        batch_len: usize,
        fill: impl FnMut(&mut Self, usize),
    ) -> Duration {
        let total = self.time_whole_rounds(packets, batch_len, fill);
        self.assert_nothing_dropped();
        total
    }

    /// Whole rounds only; the time is that of `packets` of them. `fill` fills the batches of a round, and
    /// gets the number of frames for that.
    fn time_whole_rounds(
        &mut self,
        packets: u64,
        batch_len: usize,
        mut fill: impl FnMut(&mut Self, usize),
    ) -> Duration {
        let round_len = batch_len.max(ROUND_MIN);
        let rounds = packets.div_ceil(round_len as u64);
        let mut total = Duration::ZERO;
        for _ in 0..rounds {
            fill(self, round_len);
            total += self.time_round(batch_len);
            self.pass(PACKET_TIME * round_len as u32);
        }
        total.mul_f64(packets as f64 / (rounds * round_len as u64) as f64)
    }

    #[expect(clippy::disallowed_methods, reason = "a benchmark takes the time")]
    fn time_round(&mut self, batch_len: usize) -> Duration {
        let start = std::time::Instant::now();
        for batch in &mut self.batches[..batches_in_round(batch_len)] {
            self.dataplane.process(self.now, batch);
        }
        start.elapsed()
    }

    /// Lets time pass, and everybody stay known.
    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        if self.now.since(self.greeted) < GREETING_INTERVAL {
            return;
        }
        let batch = &mut self.batches[0];
        while self.dataplane.poll_timeout().is_some_and(|due| due <= self.now) {
            batch.clear();
            self.dataplane.handle_timeout(self.now, batch);
        }
        self.greet();
    }

    fn round(&mut self, batch_len: usize) -> &mut [Batch] {
        &mut self.batches[..batches_in_round(batch_len)]
    }

    fn greet(&mut self) {
        self.send(greetings());
        self.greeted = self.now;
    }

    /// Lets the newcomers' flows end, but not the others.
    fn newcomers_go(&mut self) {
        self.pass(NEWCOMERS_GONE);
        self.generations += 1;
        if self.generations == GENERATIONS_MAX {
            self.generations = 0;
            self.send((0..self.connections).map(|n| Connection::established(n).out(Flags::ACK)));
        }
    }

    fn send(&mut self, frames: impl Iterator<Item = Prepared>) {
        let mut frames = frames.peekable();
        while frames.peek().is_some() {
            let batch = &mut self.batches[0];
            batch.clear();
            frames.by_ref().take(Batch::FRAMES_MAX).for_each(|frame| receive(batch, &frame));
            self.dataplane.process(self.now, batch);
        }
    }

    fn assert_nothing_dropped(&self) {
        let counters = self.dataplane.counters();
        assert_eq!((counters.drops.total(), counters.held), (0, 0), "{counters:?}");
    }
}

fn batches_in_round(batch_len: usize) -> usize {
    batch_len.max(ROUND_MIN) / batch_len
}

fn refill(batch: &mut Batch, len: usize, mut frame: impl FnMut() -> Prepared) {
    batch.clear();
    for _ in 0..len {
        receive(batch, &frame());
    }
}

fn receive(batch: &mut Batch, frame: &Prepared) {
    let copy = |buffer: &mut [u8]| {
        buffer[..frame.bytes.len()].copy_from_slice(&frame.bytes);
        Ok::<_, Infallible>(frame.bytes.len())
    };
    let Ok(is_taken) = batch.receive(Ingress::Port(frame.port), copy);
    assert!(is_taken, "there is room for what is sent at once");
}
