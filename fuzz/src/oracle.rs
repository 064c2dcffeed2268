//! The simulation's checkers, for a dataplane without the world around it.

use gatepost::config::Config;
use gatepost::control::report::{Flows, Interface, Leases, Neighbors, Services, Status};
use gatepost::gateway::inspector;
use gatepost_dataplane::Dataplane;
use gatepost_sim::checkers::{self, Checker, Passage, SegmentId, Side, Snapshot, Way};
use gatepost_sim::machine::internet::SharedTree;
use gatepost_sim::packet::{Packet, Transport};
use gatepost_ground::Instant;

/// The promises that a dataplane alone keeps.
const CHECKERS: [&str; 6] =
    [FRAMES_BALANCE, MAPPING_NOT_SHARED, "lan-hidden", NOTHING_UNSOLICITED, CHECKSUMS, "icmp-calm"];
const FRAMES_BALANCE: &str = "frames-balance";
const MAPPING_NOT_SHARED: &str = "mapping-not-shared";
const NOTHING_UNSOLICITED: &str = "nothing-unsolicited";
const CHECKSUMS: &str = "checksums";

/// Watches a dataplane's ports and tables. A broken promise is a panic.
pub struct Oracle {
    checkers: Vec<Box<dyn Checker>>,
    /// What nobody can promise any more after what has happened.
    given_up: Vec<&'static str>,
}

impl Oracle {
    /// Watches a dataplane with this configuration.
    pub fn new(config: &Config) -> Self {
        let mut oracle = Self { checkers: Vec::new(), given_up: Vec::new() };
        oracle.watch(config);
        oracle
    }

    /// The dataplane has got another configuration. Who asked whom before is not known any more.
    pub fn configure(&mut self, config: &Config) {
        self.give_up(NOTHING_UNSOLICITED);
        self.watch(config);
    }

    /// A frame passes a port.
    pub fn passes(&mut self, now: Instant, way: Way, side: Side, frame: &[u8]) {
        // None of these promises depends on the segment.
        let segment = SegmentId(0);
        let Some(packet) = Packet::parse(frame) else { return };
        if way == Way::In && !is_right(&packet) {
            self.give_up(CHECKSUMS);
        }
        // The checker does not read the ports of a first fragment, by which the gateway lets answers in.
        if way == Way::In && packet.ipv4().is_some_and(|ip| ip.transport == Transport::Other) {
            self.give_up(NOTHING_UNSOLICITED);
        }
        let passage = Passage { now, way, side, segment, packet: &packet };
        for checker in &mut self.checkers {
            let kept = checker.on_passage(&passage);
            assert_eq!(kept, Ok(()), "{}: {}", checker.name(), checker.promise());
        }
    }

    /// The host stack sends a frame.
    pub fn is_sent_by_host(&mut self, frame: &[u8]) {
        if Packet::parse(frame).is_some_and(|packet| !is_right(&packet)) {
            self.give_up(CHECKSUMS);
        }
    }

    /// Looks at what the dataplane reports.
    pub fn report(&mut self, now: Instant, dataplane: &Dataplane) {
        let snapshot = snapshot(now, dataplane);
        for checker in &mut self.checkers {
            let kept = checker.on_snapshot(&snapshot);
            assert_eq!(kept, Ok(()), "{}: {}", checker.name(), checker.promise());
        }
    }

    fn watch(&mut self, config: &Config) {
        let is_wanted = |name| CHECKERS.contains(&name) && !self.given_up.contains(&name);
        self.checkers = checkers::for_config(config, &SharedTree::default(), false, false);
        self.checkers.retain(|checker| is_wanted(checker.name()));
    }

    fn give_up(&mut self, promise: &'static str) {
        if !self.given_up.contains(&promise) {
            self.given_up.push(promise);
            self.checkers.retain(|checker| checker.name() != promise);
        }
    }
}

fn is_right(packet: &Packet) -> bool {
    let transport = packet.ipv4().map(|ip| &ip.transport);
    !matches!(
        transport,
        Some(Transport::Tcp { checksum_ok: false, .. } | Transport::Udp { checksum_ok: false, .. })
    )
}

fn snapshot(now: Instant, dataplane: &Dataplane) -> Snapshot {
    let counters = dataplane.counters();
    let flows: Vec<_> = dataplane.flows().map(|info| inspector::flow(&info, now)).collect();
    let nobody = Interface {
        mac: String::new(),
        address: None,
        gateway: None,
        configured_by: String::new(),
        since_secs: None,
        lease: None,
    };
    Snapshot {
        now,
        status: Status {
            problems: Vec::new(),
            service_problems: Vec::new(),
            version: String::new(),
            hostname: String::new(),
            domain: String::new(),
            mode: String::new(),
            uptime_secs: 0,
            lan: nobody,
            wan: None,
            dns_upstream: Vec::new(),
            flows: flows.len(),
            leases: 0,
            ports: Vec::new(),
            unconfirmed: None,
        },
        counters: inspector::counters(counters, Vec::new()),
        leases: Leases { leases: Vec::new(), former: Vec::new() },
        neighbors: Neighbors { neighbors: Vec::new(), stations: Vec::new() },
        services: Services { services: Vec::new() },
        flows: Some(Flows { total: flows.len(), flows }),
    }
}
