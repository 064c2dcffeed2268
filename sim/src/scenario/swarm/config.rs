//! The office and its gateway's configuration.

use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::{Picker, World};
use crate::scenario::office::{Office, dhcp, fixed, office};

/// The longest leases of a provider that may renumber: they end within the time to settle.
const RENUMBERING_LEASE_SECS_MAX: u32 = 120;

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
            .lease_secs(*[60, 120, 600, 3_600].choose(&mut self.rng).expect("not empty"))
            .isp_lease_secs(isp_lease_secs)
            .arriving_within(Duration::from_secs(self.rng.random_range(1..=60)))
            .visiting_every(Some(Duration::from_secs(self.rng.random_range(4..=20))));
        // A customer notices when its lease ends, and not before.
        let can_renumber = is_dhcp && isp_lease_secs <= RENUMBERING_LEASE_SECS_MAX;
        (office, World { pcs, lan_ports, can_renumber })
    }
}
