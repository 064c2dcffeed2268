//! A provider's DHCP server that is of no use for a while.

use std::time::Duration;

use rand::RngExt;

use super::faults::RENUMBERING_LEASE_SECS_MAX;
use super::{Picker, World};
use crate::machine::internet::DhcpMood;
use crate::scenario::action::dhcp_of_provider;
use crate::scenario::office::Office;

/// The time by which the server is silent for longer than a lease lasts, at most.
const BEYOND_LEASE_SECS_MAX: u32 = 30;

impl Picker {
    /// T1 and T2 that the provider tells, and a server that is silent for longer than a lease, refuses to prolong
    /// leases or gives other addresses.
    pub(super) fn provider_dhcp(&mut self, mut office: Office, world: &World) -> Office {
        let Some(lease_secs) = world.isp_lease_secs else { return office };
        if self.rng.random_ratio(1, 3) {
            let renew_secs = self.rng.random_range(lease_secs / 4..lease_secs / 2);
            office = office.isp_times_secs(renew_secs, self.rng.random_range(renew_secs + 5..lease_secs - 5));
        }
        if lease_secs > RENUMBERING_LEASE_SECS_MAX || !self.rng.random_ratio(1, 3) {
            return office;
        }
        let mood =
            self.pick_of(&[DhcpMood::Silent, DhcpMood::Silent, DhcpMood::Refusing, DhcpMood::MovingClients]);
        let lasts_secs = lease_secs + self.rng.random_range(1..=BEYOND_LEASE_SECS_MAX);
        let begins = self.fault_time();
        let ends =
            (begins + Duration::from_secs(lasts_secs.into())).min(Duration::from_secs(self.calm_at_secs));
        office.at(begins, dhcp_of_provider(mood)).at(ends, dhcp_of_provider(DhcpMood::Willing))
    }
}
