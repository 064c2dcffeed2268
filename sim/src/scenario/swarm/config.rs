//! The office and its gateway's configuration.

use std::ops::Range;
use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::{Picker, World};
use crate::scenario::office::{Office, dhcp, fixed, office};

/// The longest leases of a provider that may renumber: they end within the time to settle.
const RENUMBERING_LEASE_SECS_MAX: u32 = 120;
/// Flows that limit a busy host and still let it go on.
const HOST_FLOWS: Range<u32> = 20..40;

impl Picker {
    /// Hosts, mode, leases and load.
    pub(super) fn config(&mut self) -> (Office, World) {
        let pcs = *[3, 5, 10, 20, 50].choose(&mut self.rng).expect("not empty");
        let lan_ports = self.rng.random_range(1..=3);
        let mode = *["nat-dmz", "nat-dmz", "nat", "router"].choose(&mut self.rng).expect("not empty");
        let is_dhcp = mode == "router" || self.rng.random_ratio(3, 4);
        let isp_lease_secs = *[60, 120, 3_600].choose(&mut self.rng).expect("not empty");
        let office = office()
            .pcs(pcs)
            .lan_ports(lan_ports)
            .mode(mode)
            .wan(if is_dhcp { dhcp() } else { fixed() })
            .chatting(self.rng.random_range(0..=3))
            .asking(self.rng.random_range(0..=3))
            .lease_secs(*[60, 120, 600, 3_600].choose(&mut self.rng).expect("not empty"))
            .isp_lease_secs(isp_lease_secs)
            .arriving_within(Duration::from_secs(self.rng.random_range(1..=60)))
            .visiting_every(Some(Duration::from_secs(self.rng.random_range(4..=20))));
        let office = self.rules(office, pcs, mode);
        // A customer notices when its lease ends, and not before.
        let can_renumber = is_dhcp && isp_lease_secs <= RENUMBERING_LEASE_SECS_MAX;
        (office, World { pcs, lan_ports, can_renumber })
    }

    /// A printer, servers of the office's, how strict the NAT's filter is, and what a host may take of it.
    fn rules(&mut self, mut office: Office, pcs: usize, mode: &str) -> Office {
        if self.rng.random_ratio(1, 3) {
            office = office.printer(&format!("pc-{}", self.rng.random_range(0..pcs)));
        }
        if mode == "router" {
            return office;
        }
        if self.rng.random_ratio(1, 3) {
            let pc = format!("pc-{}", self.rng.random_range(0..pcs));
            office = office.forwarded(&pc, self.rng.random_range(1..=u16::MAX));
            office = office.hairpinning(self.rng.random_range(0..=2));
        }
        if self.rng.random_ratio(1, 5) {
            office = office.dmz_host(&format!("pc-{}", self.rng.random_range(0..pcs)));
        }
        let filterings = ["address-and-port-dependent", "address-dependent", "endpoint-independent"];
        let filtering = filterings.choose(&mut self.rng).expect("not empty");
        let mut nat = format!("[nat]\nfiltering = '{filtering}'\n");
        if self.rng.random_ratio(1, 4) {
            nat += &format!("max_flows_per_host = {}\n", self.rng.random_range(HOST_FLOWS));
        }
        office.config(&nat)
    }
}
