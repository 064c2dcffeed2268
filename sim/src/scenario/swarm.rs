//! The random office: everything is picked by the seed.
//!
//! It has two phases. In the first, faults come and go while the checkers watch. Then all faults end, and
//! within [`SETTLING`] of simulated time everything must work again: every PC has an address, and has
//! looked up a name and fetched a page since. A seed leaves many features out, on purpose: bugs hide
//! where one fault covers up for another.

use std::ops::RangeInclusive;
use std::time::Duration;

use gatepost_dataplane::Instant;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::action::{
    Action, attack, calm, clock_jumps, dhcp_silent, disk, dns, link, partition, port_scan, power_back,
    power_cut, power_cut_while_writing, provider, renumber, replug, reunite,
};
use super::office::{Office, dhcp, fixed, office};
use crate::machine::attacker::Shot;
use crate::machine::internet::{DnsMood, ProviderMood};
use crate::world::disk::DiskMood;
use crate::world::link::{Direction, Link, cut, perfect};

/// Simulated time after the last fault until everything must work.
pub const SETTLING: Duration = Duration::from_secs(240);
/// How long a swarm run takes unless asked otherwise.
pub const LASTING_SECS: u64 = 600;
/// The farthest that the time of day jumps, in seconds: an hour and a bit, more than leases last, and years,
/// as where a clock is set that nobody ever had.
const JUMPS_SECS_MAX: [i64; 3] = [60, 4_000, 1_000_000_000];
/// The writes after which the power can fail: those of a minute or so.
const WRITES_MAX: u32 = 30;
/// A minute of faults, and the time to settle.
pub const LASTING_SECS_MIN: u64 = 60 + SETTLING.as_secs();
/// The quiet time before the first fault.
const OPENING_SECS: u64 = 10;
/// The longest time that a fault lasts.
const FAULT_SECS_MAX: u64 = 40;
/// The MTU of a cable that is too small, and nobody knows.
const MTUS: RangeInclusive<u16> = 576..=1_499;
/// The longest leases of a provider that may renumber: they end within the time to settle.
const RENUMBERING_LEASE_SECS_MAX: u32 = 120;

/// The office of `seed`, whose last [`SETTLING`] of all the time it lasts is calm.
pub fn office_of(seed: u64, lasting: Duration) -> Office {
    let calm_at = lasting.saturating_sub(SETTLING);
    let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed);
    let set_up = SetUp::pick(&mut rng);
    let has_internet = set_up.mode != "lan-only";
    let since = Instant::ZERO + calm_at;
    let office = Picker { rng, calm_at_secs: calm_at.as_secs(), set_up }
        .pick()
        .at(calm_at, calm())
        .expect("every PC has an address", |account| account.every_pc(|diary| diary.address.is_some()));
    if has_internet {
        office.expect("every PC has fetched a page since the faults ended", move |account| {
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at > since))
        })
    } else {
        office.expect("every PC has looked up a colleague since the faults ended", move |account| {
            account.every_pc(|diary| diary.last_colleague_at.is_some_and(|at| at > since))
        })
    }
}

/// What faults depend on.
struct SetUp {
    pcs: usize,
    lan_ports: usize,
    mode: &'static str,
    is_dhcp: bool,
    isp_lease_secs: u32,
}

impl SetUp {
    fn pick(rng: &mut StdRng) -> Self {
        let modes = ["nat-dmz", "nat-dmz", "nat", "router", "lan-only"];
        let mode = pick_of(rng, &modes);
        Self {
            pcs: pick_of(rng, &[3, 5, 10, 20, 50]),
            lan_ports: rng.random_range(1..=3),
            mode,
            is_dhcp: mode == "router" || rng.random_ratio(3, 4),
            isp_lease_secs: pick_of(rng, &[60, 120, 3_600]),
        }
    }

    fn has_wan(&self) -> bool {
        self.mode != "lan-only"
    }

    /// A customer notices when its lease ends, and not before.
    fn can_renumber(&self) -> bool {
        self.is_dhcp && self.isp_lease_secs <= RENUMBERING_LEASE_SECS_MAX
    }
}

/// Rolls the dice.
struct Picker {
    rng: StdRng,
    calm_at_secs: u64,
    set_up: SetUp,
}

impl Picker {
    fn pick(&mut self) -> Office {
        let SetUp { pcs, lan_ports, mode, is_dhcp, isp_lease_secs } = self.set_up;
        let has_wan = self.set_up.has_wan();
        let mut office = office()
            .pcs(pcs)
            .lan_ports(lan_ports)
            .mode(mode)
            .wan(if is_dhcp { dhcp() } else { fixed() })
            .chatting(if has_wan { self.rng.random_range(0..=3) } else { 0 })
            .lease_secs(pick_of(&mut self.rng, &[60, 120, 600, 3_600]))
            .isp_lease_secs(isp_lease_secs)
            .wan_mtu(pick_of(&mut self.rng, &[1_500, 1_500, 1_492, 1_400, 576]))
            .arriving_within(Duration::from_secs(self.rng.random_range(1..=60)))
            .visiting_every(Some(Duration::from_secs(self.rng.random_range(4..=20))));
        for name in ["lan", "pcs"].into_iter().chain(has_wan.then_some("wan")) {
            if self.rng.random_ratio(1, 2) {
                office = office.link(name, self.poor_link());
            }
        }
        if self.rng.random_ratio(2, 3) {
            office = self.power_cuts(office);
        }
        if self.rng.random_ratio(1, 4) {
            for _ in 0..self.rng.random_range(1..=2) {
                let most = pick_of(&mut self.rng, &JUMPS_SECS_MAX);
                office = office.at(self.fault_time(), clock_jumps(self.rng.random_range(-most..=most)));
            }
        }
        for _ in 0..self.rng.random_range(0..=6) {
            office = if has_wan && self.rng.random() { self.wan_fault(office) } else { self.fault(office) };
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
            let nth = self.rng.random_range(1..=WRITES_MAX);
            let cut = pick_of(&mut self.rng, &[power_cut(), power_cut_while_writing(nth)]);
            office = office.at(begins, cut).at(ends, power_back());
            secs = ends.as_secs() + 1;
        }
        office
    }

    /// What can happen in the office.
    fn fault(&mut self, office: Office) -> Office {
        let lan_ports = self.set_up.lan_ports;
        match self.rng.random_range(0..4) {
            0 => {
                let moods =
                    [DiskMood::Full, DiskMood::WriteProtected, DiskMood::LosesWrites, DiskMood::Unreadable];
                let mood = pick_of(&mut self.rng, &moods);
                self.for_a_while(office, disk(mood), disk(DiskMood::Sound))
            }
            1 => {
                let port = format!("lan{}", self.rng.random_range(0..lan_ports));
                let pc = self.pc();
                let name = pick_of(&mut self.rng, &["lan", &port, "pcs", &pc]);
                let broken = self.broken_link();
                self.for_a_while(office, link(name, broken), link(name, perfect()))
            }
            2 => {
                let port = format!("lan{}", self.rng.random_range(0..lan_ports));
                let machine = self.pc();
                office.at(self.fault_time(), replug(&machine, &port))
            }
            _ => {
                let apart: Vec<_> =
                    (0..self.rng.random_range(1..=self.set_up.pcs)).map(|_| self.pc()).collect();
                self.for_a_while(office, partition(apart), reunite())
            }
        }
    }

    /// What can happen outside.
    fn wan_fault(&mut self, office: Office) -> Office {
        match self.rng.random_range(0..7) {
            0 => {
                let mood = self.dns_mood();
                self.for_a_while(office, dns(mood), dns(DnsMood::Truthful))
            }
            1 => self.for_a_while(office, dhcp_silent(true), dhcp_silent(false)),
            2 if self.set_up.can_renumber() => office.at(self.fault_time(), renumber("192.0.2.0/24")),
            3 => {
                let mood = pick_of(&mut self.rng, &[ProviderMood::Gone, ProviderMood::NotForwarding]);
                self.for_a_while(office, provider(mood), provider(ProviderMood::Up))
            }
            4 => {
                let name = pick_of(&mut self.rng, &["wan", "internet"]);
                let broken = self.broken_link();
                self.for_a_while(office, link(name, broken), link(name, perfect()))
            }
            5 => office.at(self.fault_time(), port_scan(200)),
            _ => office.at(self.fault_time(), attack((0..100).map(|_| Shot::Udp(self.rng.random())))),
        }
    }

    fn for_a_while(&mut self, office: Office, fault: Action, remedy: Action) -> Office {
        let begins = self.fault_time();
        let ends = begins + Duration::from_secs(self.rng.random_range(1..=FAULT_SECS_MAX));
        office.at(begins, fault).at(ends.min(Duration::from_secs(self.calm_at_secs)), remedy)
    }

    fn fault_time(&mut self) -> Duration {
        let last_secs = self.calm_at_secs.max(OPENING_SECS + 1) - 1;
        Duration::from_millis(self.rng.random_range(OPENING_SECS * 1_000..=last_secs * 1_000))
    }

    fn pc(&mut self) -> String {
        format!("pc-{}", self.rng.random_range(0..self.set_up.pcs))
    }

    fn dns_mood(&mut self) -> DnsMood {
        let slow = DnsMood::Slow(Duration::from_millis(self.rng.random_range(100..8_000)));
        pick_of(&mut self.rng, &[DnsMood::Silent, slow, DnsMood::Garbage, DnsMood::Forged])
    }

    /// A cable that carries nothing in a direction or two, nothing long, or little.
    fn broken_link(&mut self) -> Link {
        let one_way = |direction| perfect().cut_one_way(direction);
        let mtu = self.rng.random_range(MTUS);
        let broken = [
            cut(),
            one_way(Direction::Outward),
            one_way(Direction::Inward),
            perfect().mtu(mtu),
            perfect().loss_in_bursts(0.05, 30.0),
        ];
        pick_of(&mut self.rng, &broken)
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
        if self.rng.random_ratio(1, 8) {
            link = link.mtu(self.rng.random_range(MTUS));
        }
        if self.rng.random_ratio(1, 6) {
            link = link.rate(self.rng.random_range(500..10_000), self.rng.random_range(20..200));
        }
        link
    }
}

fn pick_of<T: Clone>(rng: &mut StdRng, choices: &[T]) -> T {
    choices.choose(rng).expect("there is a choice").clone()
}
