//! Administrators who try changes of the configuration and do not keep them.

use std::time::Duration;

use rand::RngExt;

use super::Picker;
use crate::machine::administrator::Then;
use crate::scenario::catalog::administrator::{NEAR, POOL, change, to_near};
use crate::scenario::office::Office;

/// The longest time for a confirmation.
const WITHIN_SECS_MAX: u64 = 40;

impl Picker {
    /// In some offices changes of the LAN's address that are left to their deadline, or undone. What is confirmed would
    /// leave hosts with long leases without a router until they renew.
    pub(super) fn administrators(&mut self, office: Office) -> Office {
        if !self.rng.random_ratio(1, 6) || office.mail.is_some() || office.has_reloads() {
            return office;
        }
        let mut office = office.config(POOL).administered();
        for _ in 0..self.rng.random_range(1..=3) {
            let at = self.rng.random_range(20..self.calm_at_secs - WITHIN_SECS_MAX);
            let within = Some(Duration::from_secs(self.rng.random_range(5..=WITHIN_SECS_MAX)));
            let then = self.pick_of(&[Then::Leave, Then::Leave, Then::Undo]);
            let lan = self.pick_of(&NEAR[..2]);
            office = office.at(Duration::from_secs(at), change(to_near(lan, within, then)));
        }
        office
    }
}
