//! The random office: the seed determines everything.
//!
//! A run has two phases. In the first, faults come and go while the checkers watch. Then all faults end, and within
//! [`SETTLING`] of simulated time everything must work again: every PC has an address, and has resolved a name and
//! fetched a page since, or a colleague's name where there is no internet. A seed leaves many features out, on purpose:
//! bugs hide where one fault covers up for another.

mod administrators;
mod browsers;
mod config;
mod faults;
mod floods;
mod links;
mod mail;
mod names;
mod provider;
mod time;
mod zones;

use std::time::Duration;

use gatepost_ground::Instant;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::action::calm;
use super::office::Office;

/// Simulated time after the last fault until everything must work.
pub const SETTLING: Duration = Duration::from_secs(120);
/// How long a swarm run takes unless asked otherwise.
pub const LASTING_SECS: u64 = 600;
/// The most probers: so few that each finds room for its flows.
const PROBERS_MAX: usize = 3;
/// Three minutes of faults, and the time to settle.
pub const LASTING_SECS_MIN: u64 = 180 + SETTLING.as_secs();

/// The office of `seed`, whose last [`SETTLING`] of all the time it lasts is calm.
pub fn office_of(seed: u64, lasting: Duration) -> Office {
    let calm_at = lasting.saturating_sub(SETTLING);
    let since = Instant::ZERO + calm_at;
    let picker = Picker {
        rng: StdRng::seed_from_u64(seed ^ 0x5eed),
        calm_at_secs: calm_at.as_secs(),
        ends_at_secs: lasting.as_secs(),
    };
    let (office, world) = picker.pick();
    let office = zones::expect_zones(mail::expect_mail(office, since), since)
        .at(calm_at, calm())
        .expect("every PC has an address", |account| account.every_pc(|diary| diary.address.is_some()));
    let office = office
        .expect("every prober has found the way, and was answered in full, since the faults ended", {
            move |account| account.every_prober(|record| record.has_succeeded_since(since))
        });
    if world.has_wan {
        office.expect("every PC has fetched a page since the faults ended", move |account| {
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at > since))
        })
    } else {
        office.expect("every PC has looked up a colleague since the faults ended", move |account| {
            account.every_pc(|diary| diary.last_colleague_at.is_some_and(|at| at > since))
        })
    }
}

/// Rolls the dice.
struct Picker {
    rng: StdRng,
    calm_at_secs: u64,
    ends_at_secs: u64,
}

impl Picker {
    fn pick(mut self) -> (Office, World) {
        let (office, world) = self.config();
        let office = self.links(office, &world);
        let office = self.faults(office, &world);
        let office = self.reloads(office, &world);
        // Picked last, as every addition is, so that the rest of a seed's office stays the same.
        let office = if self.rng.random_ratio(1, 3) { office.super_frames() } else { office };
        let office = self.intruder(office, &world);
        let office = self.liars(office, &world);
        let office = office.workers(self.pick_of(&[1, 2, 4]));
        let office = self.priority_tags(office, &world);
        let office = self.floods(office, &world);
        let office = self.mail(office, &world);
        let office = self.probers(office, &world);
        let office = self.provider_times(office, &world);
        let office = self.adsl(office, &world);
        let office = self.time(office, &world);
        let office = self.time_servers(office, &world);
        let office = self.lease_form(office, &world);
        let office = self.zones(office, &world);
        let office = self.administrators(office);
        (self.browsers(office), world)
    }

    /// Hosts that look at the way to the internet themselves.
    fn probers(&mut self, office: Office, world: &World) -> Office {
        let count =
            if world.has_wan && self.rng.random() { self.rng.random_range(1..=PROBERS_MAX) } else { 0 };
        office.probing(count)
    }

    fn pc(&mut self, pcs: usize) -> String {
        format!("pc-{}", self.rng.random_range(0..pcs))
    }

    fn pick_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices.choose(&mut self.rng).expect("there is a choice").clone()
    }
}

/// What later picks have to know of earlier ones.
struct World {
    pcs: usize,
    lan_ports: usize,
    has_wan: bool,
    /// How long the provider's leases are, if the gateway has one.
    isp_lease_secs: Option<u32>,
    /// Whether a PC serves the world by a forward.
    has_forward: bool,
    /// How long leases of the office are.
    lease_secs: u32,
    /// What the file says of NAT, where there is any.
    nat_rules: Option<String>,
}

#[cfg(test)]
mod tests;
