//! Tables are bounded: none exceeds its named maximum. Each worker has its own neighbours, stations and held frames;
//! flows have a common limit.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use gatepost::config::Config;
use gatepost_dataplane::bridge::Bridge;
use gatepost_dataplane::fragment::FragmentTracker;
use gatepost_dataplane::neighbor::NeighborTable;

use super::lan::Lan;
use super::{Checker, Snapshot};

/// One on each side of the gateway.
const BRIDGES: usize = 2;
/// Frames that wait for neighbours, and for first fragments.
const HELD_MAX: usize = NeighborTable::HELD_MAX as usize + FragmentTracker::<()>::HELD_MAX as usize;

/// The flows that a PC opens before the other workers know of the last one: a DNS query, and a page.
const FLOWS_UNDER_WAY: usize = 2;

/// Compares the sizes that the gateway reports with its limits.
pub struct TablesBounded {
    lan: Lan,
    workers: usize,
    flows: Limit,
    flows_per_host: Limit,
    lan_ports: usize,
    /// The ports behind which each station was heard since the gateway booted.
    places: BTreeMap<String, BTreeSet<String>>,
    leases_max: usize,
}

/// A limit that can be lowered below the current number: the entries may stay, and none is added.
#[derive(Clone, Copy, Debug)]
struct Limit {
    configured: usize,
    allowed: usize,
}

impl Limit {
    fn new(configured: usize) -> Self {
        Self { configured, allowed: configured }
    }

    fn configure(&mut self, configured: usize) {
        *self = Self { configured, allowed: self.allowed.max(configured) };
    }

    /// Checks the current number.
    fn see(&mut self, len: usize) {
        self.allowed = self.allowed.min(len).max(self.configured);
    }
}

impl TablesBounded {
    /// For the limits of `config`.
    pub fn new(config: &Config) -> Self {
        let (first, last) = config.services.dhcp.pool;
        let pool = (last.to_bits() - first.to_bits()) as usize + 1;
        let [flows_max, flows_per_host_max] = flows_max(config);
        Self {
            lan: Lan::of(config),
            workers: config.system.workers.into(),
            flows: Limit::new(flows_max),
            flows_per_host: Limit::new(flows_per_host_max),
            lan_ports: config.lan.ports.len(),
            places: BTreeMap::new(),
            leases_max: pool + config.services.dhcp.reservations.len(),
        }
    }
}

/// The part of a host's limit that the unverified senders behind a port share.
const STRANGERS_PART: usize = 4;

/// The most flows in all, of which workers have equal parts, and the most of one host.
fn flows_max(config: &Config) -> [usize; 2] {
    let workers = usize::from(config.system.workers);
    let in_all = (config.nat.flows_max as usize).next_multiple_of(workers);
    [in_all, flows_per_host_max(config.nat.flows_per_host_max, workers)]
}

/// The most flows of a host: its limit, and those that other workers have not announced yet, each a sixteenth of its
/// share and the notices on their way.
fn flows_per_host_max(limit: u32, workers: usize) -> usize {
    let share = limit as usize / workers;
    limit as usize + (workers - 1) * ((share / 16).max(1) + FLOWS_UNDER_WAY)
}

impl TablesBounded {
    /// The most flows with one inside address: a station has its limit behind each port where its frames arrived, and
    /// while ARP does not know the address, or another machine claims it, its flows count as those of unverified
    /// senders.
    fn flows_of_an_address_max(&self) -> usize {
        let each = self.flows_per_host.allowed;
        let places = self.places.values().map(BTreeSet::len).max().unwrap_or(1);
        each * places + (each / STRANGERS_PART).max(1) * self.lan_ports
    }
}

impl Checker for TablesBounded {
    fn name(&self) -> &'static str {
        "tables-bounded"
    }

    fn promise(&self) -> &'static str {
        "flows, flows per host, leases, neighbours, stations and frames held stay within their maxima"
    }

    fn on_boot(&mut self) {
        self.flows.see(0);
        self.flows_per_host.see(0);
        self.places.clear();
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.follow(config);
        let [flows_max, flows_per_host_max] = flows_max(config);
        self.flows.configure(flows_max);
        self.flows_per_host.configure(flows_per_host_max);
    }

    fn on_configure(&mut self, config: &Config) {
        self.on_reload(config);
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let mut per_host = BTreeMap::<&str, usize>::new();
        for flow in snapshot.flows.iter().flat_map(|flows| &flows.flows) {
            let host = flow.client.rsplit_once(':').map_or(flow.client.as_str(), |(host, _)| host);
            if host.parse().is_ok_and(|host: Ipv4Addr| self.lan.contains(&host)) {
                *per_host.entry(host).or_default() += 1;
            }
        }
        for station in &snapshot.neighbors.stations {
            self.places.entry(station.mac.clone()).or_default().insert(station.port.clone());
        }
        let held_each = snapshot.neighbors.neighbors.iter().map(|neighbor| neighbor.held).max();
        let held = usize::try_from(snapshot.counters.frames.held).unwrap_or(usize::MAX);
        let most_of_a_host = per_host.into_values().max().unwrap_or(0);
        for (table, len, len_max) in [
            ("flows", snapshot.status.flows, self.flows.allowed),
            ("flows of a host", most_of_a_host, self.flows_of_an_address_max()),
            ("leases", snapshot.status.leases, self.leases_max),
            ("neighbours", snapshot.neighbors.neighbors.len(), self.workers * NeighborTable::NEIGHBORS_MAX),
            ("stations", snapshot.neighbors.stations.len(), self.workers * BRIDGES * Bridge::STATIONS_MAX),
            (
                "frames waiting for a neighbour",
                held_each.unwrap_or(0),
                self.workers * NeighborTable::HELD_EACH_MAX,
            ),
            ("frames held", held, self.workers * HELD_MAX),
        ] {
            if len > len_max {
                return Err(format!("{len} {table}, and {len_max} are the maximum"));
            }
        }
        self.flows.see(snapshot.status.flows);
        if snapshot.flows.is_some() {
            self.flows_per_host.see(most_of_a_host);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gatepost::control::report::{Flows, Neighbor, Neighbors, Station};

    use super::*;
    use crate::checkers::testing::{flow, snapshot};

    /// Whether the checker reports an empty report after `grow`.
    fn reported(grow: impl FnOnce(&mut Snapshot)) -> bool {
        told_with(1, grow)
    }

    /// The same for a number of workers.
    fn told_with(workers: u8, grow: impl FnOnce(&mut Snapshot)) -> bool {
        let text = format!(
            "system.workers = {workers}\nnat.max_flows = 5\nnat.max_flows_per_host = 2\n\
             dhcp.pool = '192.168.1.2-192.168.1.4'"
        );
        let config = Config::parse("a test", &text).expect("a valid configuration");
        let mut snapshot = snapshot(1);
        grow(&mut snapshot);
        TablesBounded::new(&config).on_snapshot(&snapshot).is_err()
    }

    #[test]
    fn what_there_is_may_stay_when_a_limit_is_lowered_and_nothing_is_added() {
        let config = |max: u32| Config::parse("a test", &format!("nat.max_flows = {max}")).expect("valid");
        let mut checker = TablesBounded::new(&config(50));
        let reported = |checker: &mut TablesBounded, flows| {
            let mut snapshot = snapshot(1);
            snapshot.status.flows = flows;
            checker.on_snapshot(&snapshot).is_err()
        };
        checker.on_reload(&config(5));
        checker.on_configure(&config(5));
        assert!(!reported(&mut checker, 40) && reported(&mut checker, 41));
        assert!(!reported(&mut checker, 4) && reported(&mut checker, 6));
        checker.on_configure(&config(50));
        checker.on_configure(&config(5));
        checker.on_boot();
        assert!(reported(&mut checker, 6), "a reboot leaves nothing");
    }

    #[test]
    fn each_table_is_told_when_it_is_too_long() {
        assert!(!reported(|_| ()));
        assert!(!reported(|snapshot| snapshot.status.flows = 5));
        assert!(reported(|snapshot| snapshot.status.flows = 6));
        assert!(!reported(|snapshot| snapshot.status.leases = 3));
        assert!(reported(|snapshot| snapshot.status.leases = 4));
        let flow = |port| flow(&format!("192.168.1.9:{port}"), "203.0.113.9:1", "198.51.100.1:53");
        let flows = |count| {
            let flows: Vec<_> = (0..count).map(flow).collect();
            Some(Flows { total: flows.len(), flows })
        };
        // One for each of the ports, of a stranger.
        let flows_max = 2 + Config::default().lan.ports.len();
        assert!(!reported(|snapshot| snapshot.flows = flows(flows_max)));
        assert!(reported(|snapshot| snapshot.flows = flows(flows_max + 1)));
        assert!(reported(|snapshot| snapshot.neighbors = neighbors(NeighborTable::NEIGHBORS_MAX + 1, 0)));
        assert!(reported(|snapshot| snapshot.neighbors = neighbors(0, Bridge::STATIONS_MAX * 2 + 1)));
        assert!(!reported(|snapshot| snapshot.neighbors = neighbors(NeighborTable::NEIGHBORS_MAX, 1)));
        assert!(reported(|snapshot| snapshot.counters.frames.held = HELD_MAX as u64 + 1));
    }

    #[test]
    fn what_each_worker_has_may_be_there_so_many_times() {
        assert_eq!(
            [(2, 1), (1024, 1), (1024, 2)].map(|(limit, workers)| flows_per_host_max(limit, workers)),
            [2, 1024, 1058]
        );
        assert!(!told_with(3, |snapshot| snapshot.status.flows = 6));
        assert!(told_with(3, |snapshot| snapshot.status.flows = 7));
        assert!(!told_with(3, |snapshot| snapshot.counters.frames.held = 3 * HELD_MAX as u64));
        assert!(told_with(3, |snapshot| snapshot.counters.frames.held = 3 * HELD_MAX as u64 + 1));
        let held = |each| {
            let mut known = neighbors(1, 0);
            known.neighbors[0].held = each;
            known
        };
        assert!(!told_with(2, |snapshot| snapshot.neighbors = held(2 * NeighborTable::HELD_EACH_MAX)));
        assert!(told_with(2, |snapshot| snapshot.neighbors = held(2 * NeighborTable::HELD_EACH_MAX + 1)));
        let others = Bridge::STATIONS_MAX * BRIDGES * 2;
        assert!(!told_with(2, |snapshot| snapshot.neighbors = neighbors(0, others)));
        assert!(told_with(2, |snapshot| snapshot.neighbors = neighbors(0, others + 1)));
    }

    fn neighbors(neighbors: usize, stations: usize) -> Neighbors {
        let neighbor = Neighbor {
            segment: "lan".to_owned(),
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            mac: None,
            state: "stale".to_owned(),
            held: 0,
        };
        let station = Station { mac: String::new(), port: "lan0".to_owned(), age_secs: 0 };
        Neighbors { neighbors: vec![neighbor; neighbors], stations: vec![station; stations] }
    }
}
