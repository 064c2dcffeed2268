//! Tables are bounded: none grows past its named maximum.

use std::collections::BTreeMap;

use gatepost::config::Config;
use gatepost_dataplane::bridge::Bridge;
use gatepost_dataplane::neighbor::NeighborTable;

use super::{Checker, Snapshot};

/// Compares the sizes that the gateway reports with its limits.
pub struct TablesBounded {
    flows_max: usize,
    flows_per_host_max: usize,
    leases_max: usize,
}

impl TablesBounded {
    /// For the limits of `config`.
    pub fn new(config: &Config) -> Self {
        let (first, last) = config.dhcp.pool;
        let pool = (last.to_bits() - first.to_bits()) as usize + 1;
        Self {
            flows_max: config.nat.flows_max as usize,
            flows_per_host_max: config.nat.flows_per_host_max as usize,
            leases_max: pool + config.dhcp.reservations.len(),
        }
    }
}

impl Checker for TablesBounded {
    fn name(&self) -> &'static str {
        "tables-bounded"
    }

    fn promise(&self) -> &'static str {
        "flows, flows per host, leases, neighbours and stations stay within their maxima"
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let mut per_host = BTreeMap::<&str, usize>::new();
        for flow in snapshot.flows.iter().flat_map(|flows| &flows.flows) {
            let host = flow.client.rsplit_once(':').map_or(flow.client.as_str(), |(host, _)| host);
            *per_host.entry(host).or_default() += 1;
        }
        for (table, len, len_max) in [
            ("flows", snapshot.status.flows, self.flows_max),
            ("flows of a host", per_host.into_values().max().unwrap_or(0), self.flows_per_host_max),
            ("leases", snapshot.status.leases, self.leases_max),
            ("neighbours", snapshot.neighbors.neighbors.len(), NeighborTable::NEIGHBORS_MAX),
            ("stations", snapshot.neighbors.stations.len(), Bridge::STATIONS_MAX),
        ] {
            if len > len_max {
                return Err(format!("{len} {table}, and {len_max} are the maximum"));
            }
        }
        Ok(())
    }
}
