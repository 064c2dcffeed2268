//! What goes wrong, and when.

use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::{Picker, World};
use crate::machine::attacker::Shot;
use crate::machine::internet::DnsMood;
use crate::scenario::action::{
    attack, clock_jumps, dhcp_silent, disk_full, dns, link, port_scan, power_back, power_cut, renumber,
    replug,
};
use crate::scenario::office::Office;
use crate::world::link::perfect;

/// The quiet time before the first fault.
const OPENING_SECS: u64 = 10;
/// The longest time that a fault lasts.
const FAULT_SECS_MAX: u64 = 40;

impl Picker {
    /// Power cuts or a clock that jumps, and up to six faults of other kinds.
    pub(super) fn faults(&mut self, mut office: Office, world: &World) -> Office {
        if self.rng.random_ratio(2, 3) {
            office = self.power_cuts(office);
        } else if self.rng.random_ratio(1, 4) {
            let by = Duration::from_secs(self.rng.random_range(1..100_000));
            office = office.at(self.fault_time(), clock_jumps(by));
        }
        for _ in 0..self.rng.random_range(0..=6) {
            office = self.fault(office, world);
        }
        office
    }

    fn power_cuts(&mut self, mut office: Office) -> Office {
        // One after the other, each over before the next.
        let mut secs = OPENING_SECS;
        for _ in 0..self.rng.random_range(1..=3) {
            let millis = self.rng.random_range(0..60_000);
            let begins = Duration::from_secs(secs) + Duration::from_millis(millis);
            let ends = begins + Duration::from_secs(self.rng.random_range(1..=20));
            if ends.as_secs() >= self.calm_at_secs {
                break;
            }
            office = office.at(begins, power_cut()).at(ends, power_back());
            secs = ends.as_secs() + 1;
        }
        office
    }

    fn fault(&mut self, office: Office, world: &World) -> Office {
        let begins = self.fault_time();
        let ends = begins + Duration::from_secs(self.rng.random_range(1..=FAULT_SECS_MAX));
        let ends = ends.min(Duration::from_secs(self.calm_at_secs));
        let for_a_while = |office: Office, fault, remedy| office.at(begins, fault).at(ends, remedy);
        match self.rng.random_range(0..8) {
            0 => for_a_while(office, dns(self.dns_mood()), dns(DnsMood::Truthful)),
            1 => for_a_while(office, dhcp_silent(true), dhcp_silent(false)),
            2 if world.can_renumber => office.at(begins, renumber("192.0.2.0/24")),
            3 => for_a_while(office, disk_full(true), disk_full(false)),
            4 => for_a_while(office, self.cut_link(world.pcs), link("lan", perfect())),
            5 => {
                let machine = format!("pc-{}", self.rng.random_range(0..world.pcs));
                let port = format!("lan{}", self.rng.random_range(0..world.lan_ports));
                office.at(begins, replug(&machine, &port))
            }
            6 => office.at(begins, port_scan(200)),
            _ => office.at(begins, attack((0..100).map(|_| Shot::Udp(self.rng.random())))),
        }
    }

    fn fault_time(&mut self) -> Duration {
        let last_secs = self.calm_at_secs.max(OPENING_SECS + 1) - 1;
        Duration::from_millis(self.rng.random_range(OPENING_SECS * 1_000..=last_secs * 1_000))
    }

    fn dns_mood(&mut self) -> DnsMood {
        let slow = DnsMood::Slow(Duration::from_millis(self.rng.random_range(100..8_000)));
        *[DnsMood::Silent, slow, DnsMood::Garbage, DnsMood::Forged].choose(&mut self.rng).expect("not empty")
    }
}
