//! Neighbours settle: ARP resolution ends with an answer, or after three requests.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use gatepost::config::Config;
use gatepost::control::report::Neighbor;
use gatepost_ground::Instant;

use super::{Checker, Snapshot};

/// Three requests, a second apart. (like `mcast_solicit` and `retrans_time_ms` of Linux; RFC 1122, section 2.3.2.1,
/// names no numbers)
const ASKING: Duration = Duration::from_secs(3);
/// Twice the time from an event to the report that shows it.
const SLACK: Duration = Duration::from_secs(2);
/// With several workers and a silent neighbour, one worker's requests begin before another's end, again and again.
const WORKERS_IN_TURN_MAX: u8 = 2;

/// Records since when the gateway has asked for each neighbour.
pub struct NeighborsSettle {
    workers: u8,
    since: BTreeMap<(String, IpAddr), (String, Instant)>,
}

impl NeighborsSettle {
    /// For the workers of `config`: each sends requests of its own.
    pub fn new(config: &Config) -> Self {
        Self { workers: config.system.workers, since: BTreeMap::new() }
    }

    fn is_asked_for(&self, neighbor: &Neighbor) -> bool {
        match neighbor.state.as_str() {
            "probe" => true,
            "incomplete" => self.workers <= WORKERS_IN_TURN_MAX,
            _ => false,
        }
    }
}

impl Checker for NeighborsSettle {
    fn name(&self) -> &'static str {
        "neighbors-settle"
    }

    fn promise(&self) -> &'static str {
        "ARP resolution of a neighbour ends with an answer, or after three requests"
    }

    fn on_boot(&mut self) {
        self.since.clear();
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let asked_for = snapshot.neighbors.neighbors.iter().filter(|neighbor| self.is_asked_for(neighbor));
        let since = asked_for.map(|neighbor| {
            let key = (neighbor.segment.clone(), neighbor.address);
            let before = self.since.get(&key).filter(|(state, _)| *state == neighbor.state).cloned();
            (key, before.unwrap_or_else(|| (neighbor.state.clone(), snapshot.now)))
        });
        self.since = since.collect();
        let longest = ASKING * u32::from(self.workers) + SLACK;
        let stuck = self.since.iter().find(|(_, (_, since))| snapshot.now.since(*since) > longest);
        match stuck {
            Some(((segment, address), (state, since))) => {
                Err(format!("{address} of the {segment} is {state} since {since}"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{config, snapshot};

    fn reported(checker: &mut NeighborsSettle, secs: u64, state: &str) -> bool {
        let mut snapshot = snapshot(secs);
        snapshot.neighbors.neighbors.push(Neighbor {
            segment: "lan".to_owned(),
            address: IpAddr::from([192, 168, 1, 9]),
            mac: None,
            state: state.to_owned(),
            held: 0,
        });
        checker.on_snapshot(&snapshot).is_err()
    }

    fn with_workers(workers: u8) -> NeighborsSettle {
        let mut config = config();
        config.system.workers = workers;
        NeighborsSettle::new(&config)
    }

    #[test]
    fn who_is_asked_for_all_the_time_is_told() {
        for state in ["incomplete", "probe"] {
            let mut checker = with_workers(1);
            assert!(!(1..=6).any(|secs| reported(&mut checker, secs, state)), "{state}");
            assert!(reported(&mut checker, 7, state), "{state}");
        }
    }

    #[test]
    fn who_has_answered_or_was_given_up_or_forgotten_is_not() {
        let mut checker = with_workers(1);
        for secs in 1..=60 {
            let state = if secs % 5 == 0 { "unreachable" } else { "incomplete" };
            assert!(!reported(&mut checker, secs, state), "{secs}");
        }
        checker.on_boot();
        assert!(!(61..=66).any(|secs| reported(&mut checker, secs, "incomplete")));
        let mut checker = with_workers(1);
        assert!(!(1..=60).any(|secs| reported(&mut checker, secs, "reachable")));
    }

    #[test]
    fn each_of_several_workers_asks() {
        let mut checker = with_workers(2);
        assert!(
            !(1..=9).any(|secs| reported(&mut checker, secs, "incomplete"))
                && reported(&mut checker, 10, "incomplete")
        );
        let mut checker = with_workers(4);
        assert!(!(1..=60).any(|secs| reported(&mut checker, secs, "incomplete")));
        assert!(
            !(61..=75).any(|secs| reported(&mut checker, secs, "probe"))
                && reported(&mut checker, 76, "probe")
        );
    }
}
