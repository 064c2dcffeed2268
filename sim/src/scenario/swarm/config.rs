//! The office and its gateway's configuration.

use std::ops::Range;
use std::time::Duration;

use rand::RngExt;

use super::{Picker, World};
use crate::scenario::office::{Office, dhcp, fixed, office};

/// Flows that limit a busy host and still let it go on.
const HOST_FLOWS: Range<u32> = 20..40;

impl Picker {
    /// Hosts, mode, leases and load.
    pub(super) fn config(&mut self) -> (Office, World) {
        let pcs = self.pick_of(&[3, 5, 10, 20, 50]);
        let lan_ports = self.rng.random_range(1..=3);
        let mode = self.pick_of(&["nat-dmz", "nat-dmz", "nat", "router", "lan-only"]);
        let has_wan = mode != "lan-only";
        let is_dhcp = mode == "router" || self.rng.random_ratio(3, 4);
        let isp_lease_secs = self.pick_of(&[60, 120, 3_600]);
        let office = office()
            .pcs(pcs)
            .lan_ports(lan_ports)
            .mode(mode)
            .wan(if is_dhcp { dhcp() } else { fixed() })
            .chatting(if has_wan { self.rng.random_range(0..=3) } else { 0 })
            .asking(if has_wan { self.rng.random_range(0..=3) } else { 0 })
            .lease_secs(self.pick_of(&[60, 120, 600, 3_600]))
            .isp_lease_secs(isp_lease_secs)
            .wan_mtu(self.pick_of(&[1_500, 1_500, 1_492, 1_400, 576]))
            .arriving_within(Duration::from_secs(self.rng.random_range(1..=60)))
            .visiting_every(Some(Duration::from_secs(self.rng.random_range(4..=20))));
        let (office, nat_rules) = self.rules(office, pcs, mode);
        let isp_lease_secs = (has_wan && is_dhcp).then_some(isp_lease_secs);
        let lease_secs = office.lease_secs;
        let has_forward = office.has_forward();
        (office, World { pcs, lan_ports, has_wan, isp_lease_secs, has_forward, lease_secs, nat_rules })
    }

    /// A printer, servers of the office's, how strict the NAT's filter is, and what a host may take of it.
    fn rules(&mut self, mut office: Office, pcs: usize, mode: &str) -> (Office, Option<String>) {
        if self.rng.random_ratio(1, 3) {
            office = office.printer(&self.pc(pcs));
        }
        if !mode.starts_with("nat") {
            return (office, None);
        }
        if self.rng.random_ratio(1, 3) {
            let pc = self.pc(pcs);
            office = office.forwarded(&pc, self.rng.random_range(1..=u16::MAX));
            office = office.hairpinning(self.rng.random_range(0..=2));
        }
        if self.rng.random_ratio(1, 5) {
            office = office.dmz_host(&self.pc(pcs));
        }
        let nat = self.nat_rules();
        (office.config(&nat), Some(nat))
    }

    /// How strict the NAT's filter is, and what a host may take of it.
    pub(super) fn nat_rules(&mut self) -> String {
        let filtering =
            self.pick_of(&["address-and-port-dependent", "address-dependent", "endpoint-independent"]);
        let mut nat = format!("[nat]\nfiltering = '{filtering}'\n");
        if self.rng.random_ratio(1, 4) {
            nat += &format!("max_flows_per_host = {}\n", self.rng.random_range(HOST_FLOWS));
        }
        nat
    }
}
