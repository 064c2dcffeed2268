//! A provider's DHCP server that fails for a while.

use std::time::Duration;

use rand::RngExt;

use super::faults::RENUMBERING_LEASE_SECS_MAX;
use super::{Picker, World};
use crate::machine::internet::{DhcpMood, LeaseForm};
use crate::scenario::action::{dhcp_of_provider, lease_form};
use crate::scenario::office::Office;

/// The time by which the server is silent for longer than a lease lasts, at most.
const BEYOND_LEASE_SECS_MAX: u32 = 30;
/// The longest pause of a DHCP client without an address. (RFC 2131, section 4.1)
const DHCP_PATIENCE_SECS: u64 = 64;

impl Picker {
    /// T1 and T2 in the ACKs of the provider.
    pub(super) fn provider_times(&mut self, office: Office, world: &World) -> Office {
        let Some(lease_secs) = world.isp_lease_secs.filter(|_| self.rng.random_ratio(1, 3)) else {
            return office;
        };
        let renew_secs = self.rng.random_range(lease_secs / 4..lease_secs / 2);
        office.isp_times_secs(renew_secs, self.rng.random_range(renew_secs + 5..lease_secs - 5))
    }

    /// The form of the provider's leases. One without a lease time lasts too long for a provider that renumbers or
    /// moves its customers.
    pub(super) fn lease_form(&mut self, office: Office, world: &World) -> Office {
        let Some(lease_secs) = world.isp_lease_secs.filter(|_| self.rng.random_ratio(1, 3)) else {
            return office;
        };
        let form = if lease_secs > RENUMBERING_LEASE_SECS_MAX && self.rng.random() {
            LeaseForm::WithoutTime
        } else {
            self.pick_of(&[LeaseForm::SingleAddress, LeaseForm::RoutesOnly])
        };
        office.at(Duration::ZERO, lease_form(form))
    }

    /// A server that is silent for a while, or, where leases are short, for longer than one lasts; or that refuses to
    /// prolong leases or gives other addresses for as long.
    pub(super) fn provider_dhcp(&mut self, office: Office, world: &World) -> Office {
        let lease_secs = world.isp_lease_secs.unwrap_or(u32::MAX);
        let is_brief = lease_secs > RENUMBERING_LEASE_SECS_MAX || self.rng.random_ratio(1, 4);
        let (mood, (begins, ends)) = if is_brief {
            (DhcpMood::Silent, self.fault_times(self.calm_before(DHCP_PATIENCE_SECS)))
        } else {
            let mood = self.pick_of(&[DhcpMood::Silent, DhcpMood::Refusing, DhcpMood::MovingClients]);
            let lasts_secs = lease_secs + self.rng.random_range(1..=BEYOND_LEASE_SECS_MAX);
            let begins = self.fault_time();
            let ends = begins + Duration::from_secs(lasts_secs.into());
            (mood, (begins, ends.min(Duration::from_secs(self.calm_at_secs))))
        };
        office.at(begins, dhcp_of_provider(mood)).at(ends, dhcp_of_provider(DhcpMood::Willing))
    }
}
