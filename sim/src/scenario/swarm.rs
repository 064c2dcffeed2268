//! The random office: everything is picked by the seed.
//!
//! It has two phases. In the first, faults come and go while the checkers watch. Then all faults end, and
//! within [`SETTLING`] of simulated time everything must work again: every PC has an address, and has
//! looked up a name and fetched a page since. A seed leaves many features out, on purpose: bugs hide
//! where one fault covers up for another.

use std::time::Duration;

use gatepost_dataplane::Instant;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::action::{
    Action, attack, calm, clock_jumps, dhcp_silent, disk_full, dns, link, port_scan, power_back, power_cut,
    renumber, replug,
};
use super::office::{Office, dhcp, fixed, office};
use crate::machine::attacker::Shot;
use crate::machine::internet::DnsMood;
use crate::world::link::{Direction, Link, cut, perfect};

/// Simulated time after the last fault until everything must work.
pub const SETTLING: Duration = Duration::from_secs(240);
/// How long a swarm run takes unless asked otherwise.
pub const LASTING_SECS: u64 = 600;
/// A minute of faults, and the time to settle.
pub const LASTING_SECS_MIN: u64 = 60 + SETTLING.as_secs();
/// The quiet time before the first fault.
const OPENING_SECS: u64 = 10;
/// The longest time that a fault lasts.
const FAULT_SECS_MAX: u64 = 40;
/// The longest leases of a provider that may renumber: they end within the time to settle.
const RENUMBERING_LEASE_SECS_MAX: u32 = 120;

/// The office of `seed`, whose last [`SETTLING`] of all the time it lasts is calm.
pub fn office_of(seed: u64, lasting: Duration) -> Office {
    let calm_at = lasting.saturating_sub(SETTLING);
    Picker { rng: StdRng::seed_from_u64(seed ^ 0x5eed), calm_at_secs: calm_at.as_secs() }
        .pick()
        .at(calm_at, calm())
        .expect("every PC has an address", |account| account.every_pc(|diary| diary.address.is_some()))
        .expect("every PC has fetched a page since the faults ended", move |account| {
            let since = Instant::ZERO + calm_at;
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at > since))
        })
}

/// Rolls the dice.
struct Picker {
    rng: StdRng,
    calm_at_secs: u64,
}

impl Picker {
    fn pick(&mut self) -> Office {
        let pcs = *[3, 5, 10, 20, 50].choose(&mut self.rng).expect("not empty");
        let lan_ports = self.rng.random_range(1..=3);
        let mode = *["nat-dmz", "nat-dmz", "nat", "router"].choose(&mut self.rng).expect("not empty");
        let is_dhcp = mode == "router" || self.rng.random_ratio(3, 4);
        let isp_lease_secs = *[60, 120, 3_600].choose(&mut self.rng).expect("not empty");
        let mut office = office()
            .pcs(pcs)
            .lan_ports(lan_ports)
            .mode(mode)
            .wan(if is_dhcp { dhcp() } else { fixed() })
            .chatting(self.rng.random_range(0..=3))
            .lease_secs(*[60, 120, 600, 3_600].choose(&mut self.rng).expect("not empty"))
            .isp_lease_secs(isp_lease_secs)
            .arriving_within(Duration::from_secs(self.rng.random_range(1..=60)))
            .visiting_every(Some(Duration::from_secs(self.rng.random_range(4..=20))));
        for name in ["lan", "wan", "pcs"] {
            if self.rng.random_ratio(1, 2) {
                office = office.link(name, self.poor_link());
            }
        }
        if self.rng.random_ratio(2, 3) {
            office = self.power_cuts(office);
        } else if self.rng.random_ratio(1, 4) {
            let by = Duration::from_secs(self.rng.random_range(1..100_000));
            office = office.at(self.fault_time(), clock_jumps(by));
        }
        for _ in 0..self.rng.random_range(0..=6) {
            // A customer notices when its lease ends, and not before.
            let can_renumber = is_dhcp && isp_lease_secs <= RENUMBERING_LEASE_SECS_MAX;
            office = self.fault(office, can_renumber, pcs, lan_ports);
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

    fn fault(&mut self, office: Office, can_renumber: bool, pcs: usize, lan_ports: usize) -> Office {
        let begins = self.fault_time();
        let ends = begins + Duration::from_secs(self.rng.random_range(1..=FAULT_SECS_MAX));
        let ends = ends.min(Duration::from_secs(self.calm_at_secs));
        let for_a_while = |office: Office, fault, remedy| office.at(begins, fault).at(ends, remedy);
        match self.rng.random_range(0..8) {
            0 => for_a_while(office, dns(self.dns_mood()), dns(DnsMood::Truthful)),
            1 => for_a_while(office, dhcp_silent(true), dhcp_silent(false)),
            2 if can_renumber => office.at(begins, renumber("192.0.2.0/24")),
            3 => for_a_while(office, disk_full(true), disk_full(false)),
            4 => for_a_while(office, self.cut_link(pcs), link("lan", perfect())),
            5 => {
                let machine = format!("pc-{}", self.rng.random_range(0..pcs));
                office.at(begins, replug(&machine, &format!("lan{}", self.rng.random_range(0..lan_ports))))
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

    fn cut_link(&mut self, pcs: usize) -> Action {
        let pc = format!("pc-{}", self.rng.random_range(0..pcs));
        let name = *["lan", "lan0", "wan", "pcs", pc.as_str()].choose(&mut self.rng).expect("not empty");
        let one_way = |direction| perfect().cut_one_way(direction);
        let broken = [cut(), one_way(Direction::Outward), one_way(Direction::Inward)];
        link(name, broken.choose(&mut self.rng).expect("not empty").clone())
    }

    /// Each defect is there or not, and if so between hardly and badly.
    fn poor_link(&mut self) -> Link {
        let mut link = perfect();
        if self.rng.random_ratio(1, 2) {
            link = link.loss(self.rng.random_range(0.0..0.1));
        }
        if self.rng.random_ratio(1, 4) {
            link = link.loss_in_bursts(self.rng.random_range(0.0..0.005), self.rng.random_range(2.0..20.0));
        }
        if self.rng.random_ratio(1, 4) {
            link = link.duplicate(self.rng.random_range(0.0..0.1));
        }
        if self.rng.random_ratio(1, 4) {
            link = link.reorder(self.rng.random_range(0.0..0.1));
        }
        if self.rng.random_ratio(1, 6) {
            link = link.corrupt(self.rng.random_range(0.0..0.02));
        }
        if self.rng.random_ratio(1, 2) {
            link = link.delay_ms(self.rng.random_range(0..50)).jitter_ms(self.rng.random_range(0..20));
        }
        if self.rng.random_ratio(1, 6) {
            link = link.rate(self.rng.random_range(500..10_000), self.rng.random_range(20..200));
        }
        link
    }
}
