//! The faults and their times.

use std::iter;
use std::net::Ipv4Addr;
use std::time::Duration;

use rand::RngExt;

use super::{Picker, World};
use crate::machine::asker::ASKING_PORTS;
use crate::machine::attacker::{Forgery, Shot, blind};
use crate::machine::internet::ProviderMood;
use crate::machine::pc::mac_of;
use crate::machine::spoofer::Trick;
use crate::scenario::action::{
    Action, attack, clock_jumps, disk, link, partition, port_scan, power_back, power_cut,
    power_cut_while_replacing, power_cut_while_writing, provider, reload, reload_refused, renumber, replug,
    reunite, sleep, spoof, wake,
};
use crate::scenario::office::Office;
use crate::world::disk::{DiskMood, ReplaceStep};
use crate::world::link::perfect;

/// The quiet time before the first fault.
const OPENING_SECS: u64 = 10;
/// The quiet time behind the last attack.
const QUIET_END_SECS: u64 = 60;
/// Faults that are not rare.
const FAULTS_MAX: usize = 6;
/// How often a rare fault happens that a seed has.
const RARE_FAULTS_MAX: usize = 3;
/// The longest leases of a provider that may renumber: its customer notices in time.
pub(super) const RENUMBERING_LEASE_SECS_MAX: u32 = 120;
/// The longest time that a fault lasts.
const FAULT_SECS_MAX: u64 = 40;
/// The farthest that the time of day jumps, in seconds: less than leases last, more, and years, as when a
/// clock is set for the first time.
const JUMPS_SECS_MAX: [i64; 3] = [60, 4_000, 1_000_000_000];
/// The writes after which the power can fail: those of a minute or so.
const WRITES_MAX: u32 = 30;
/// How often an attacker fires.
const SHOTS: usize = 400;
/// How often an intruder comes.
const INTRUSIONS: usize = 4;
/// How many tricks a spoofer plays.
const TRICKS: usize = 40;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Disk,
    LanLink,
    Replug,
    Spoofer,
    Sleep,
    Partition,
    Names,
    ProviderDhcp,
    Renumbering,
    Provider,
    WanLink,
    Scan,
    Shots,
    Forgeries,
    LostKind,
    ForwardGone,
    ClockJump,
}

impl Fault {
    const ALL: [Self; 17] = [
        Self::Disk,
        Self::LanLink,
        Self::Replug,
        Self::Spoofer,
        Self::Sleep,
        Self::Partition,
        Self::Names,
        Self::ProviderDhcp,
        Self::Renumbering,
        Self::Provider,
        Self::WanLink,
        Self::Scan,
        Self::Shots,
        Self::Forgeries,
        Self::LostKind,
        Self::ForwardGone,
        Self::ClockJump,
    ];

    /// Those that few offices can have, or that few of a seed's dice lead to.
    const RARE: [Self; 9] = [
        Self::ProviderDhcp,
        Self::Renumbering,
        Self::Provider,
        Self::Replug,
        Self::Names,
        Self::Forgeries,
        Self::LostKind,
        Self::ForwardGone,
        Self::ClockJump,
    ];

    fn can_be(self, world: &World) -> bool {
        match self {
            Self::Disk
            | Self::LanLink
            | Self::Replug
            | Self::Spoofer
            | Self::Sleep
            | Self::Partition
            | Self::ClockJump => true,
            Self::Names
            | Self::Provider
            | Self::WanLink
            | Self::Scan
            | Self::Shots
            | Self::Forgeries
            | Self::LostKind => world.has_wan,
            Self::ForwardGone => world.has_forward,
            Self::ProviderDhcp => world.isp_lease_secs.is_some(),
            Self::Renumbering => world.isp_lease_secs.is_some_and(|secs| secs <= RENUMBERING_LEASE_SECS_MAX),
        }
    }
}

impl Picker {
    /// Power cuts, and faults of other kinds: one or two rare kinds for certain, and some of at most three other ones.
    /// A seed leaves out most kinds and has much of few, since one fault hides another.
    pub(super) fn faults(&mut self, mut office: Office, world: &World) -> Office {
        if self.rng.random_ratio(2, 3) {
            office = self.power_cuts(office);
        }
        let can_be =
            |faults: &[Fault]| faults.iter().copied().filter(|it| it.can_be(world)).collect::<Vec<_>>();
        let (all, rare) = (can_be(&Fault::ALL), can_be(&Fault::RARE));
        let kinds: Vec<_> = (0..self.rng.random_range(1..=3)).map(|_| self.pick_of(&all)).collect();
        let mut faults: Vec<_> =
            (0..self.rng.random_range(0..=FAULTS_MAX)).map(|_| self.pick_of(&kinds)).collect();
        for _ in 0..self.rng.random_range(1..=2) {
            let fault = self.pick_of(&rare);
            faults.extend(iter::repeat_n(fault, self.rng.random_range(1..=RARE_FAULTS_MAX)));
        }
        faults.into_iter().fold(office, |office, fault| self.fault(office, world, fault))
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
            let step = ReplaceStep::ALL[nth as usize % ReplaceStep::ALL.len()];
            let cuts = [power_cut(), power_cut_while_writing(nth), power_cut_while_replacing(step)];
            let cut = self.pick_of(&cuts);
            office = office.at(begins, cut).at(ends, power_back());
            secs = ends.as_secs() + 1;
        }
        office
    }

    fn fault(&mut self, office: Office, world: &World, fault: Fault) -> Office {
        match fault {
            Fault::Disk => {
                let moods = [
                    DiskMood::Slow,
                    DiskMood::Full,
                    DiskMood::WriteProtected,
                    DiskMood::LosesWrites,
                    DiskMood::Unreadable,
                ];
                let mood = self.pick_of(&moods);
                self.for_a_while(office, disk(mood), disk(DiskMood::Sound))
            }
            Fault::LanLink => {
                let port = format!("lan{}", self.rng.random_range(0..world.lan_ports));
                let pc = self.pc(world.pcs);
                let name = self.pick_of(&["lan", &port, "pcs", &pc]);
                let broken = self.broken_link();
                self.for_a_while(office, link(name, broken), link(name, perfect()))
            }
            Fault::Replug => {
                let port = format!("lan{}", self.rng.random_range(0..world.lan_ports));
                let machine = self.pc(world.pcs);
                office.at(self.fault_time(), replug(&machine, &port))
            }
            Fault::Spoofer => office.at(self.fault_time(), spoof(self.tricks(world.pcs))),
            Fault::Sleep => {
                let pc = self.pc(world.pcs);
                self.for_a_while(office, sleep(&pc), wake(&pc))
            }
            Fault::Partition => {
                let apart: Vec<_> =
                    (0..self.rng.random_range(1..=world.pcs)).map(|_| self.pc(world.pcs)).collect();
                self.for_a_while(office, partition(apart), reunite())
            }
            Fault::Names => {
                let (begins, ends) = self.fault_times(self.calm_at_secs);
                self.names(office, begins, ends)
            }
            Fault::ProviderDhcp => self.provider_dhcp(office, world),
            Fault::Renumbering => {
                // A customer notices when its lease ends, and not before.
                let latest = self.calm_before(world.isp_lease_secs.unwrap_or(0).into());
                office.at(self.time_before(latest), renumber("192.0.2.0/24"))
            }
            Fault::Provider => {
                let mood = self.pick_of(&[ProviderMood::Gone, ProviderMood::NotForwarding]);
                self.for_a_while(office, provider(mood), provider(ProviderMood::Up))
            }
            Fault::WanLink => {
                let name = self.pick_of(&["wan", "internet"]);
                let broken = self.broken_link();
                self.for_a_while(office, link(name, broken), link(name, perfect()))
            }
            Fault::Scan => office.at(self.attack_time(), port_scan(200)),
            Fault::Shots => {
                let shots: Vec<_> = (0..SHOTS).map(|_| self.shot()).collect();
                office.at(self.attack_time(), attack(shots))
            }
            Fault::Forgeries => {
                let kind = self.pick_of(&Forgery::ALL);
                office.at(self.attack_time(), attack(blind(kind)))
            }
            Fault::LostKind => {
                let broken = self.losing_a_kind();
                self.for_a_while(office, link("wan", broken), link("wan", perfect()))
            }
            Fault::ForwardGone => {
                let rules = world.nat_rules.as_deref().unwrap_or_default();
                self.for_a_while(office, reload(rules, false), reload(rules, true))
            }
            Fault::ClockJump => {
                let most = self.pick_of(&JUMPS_SECS_MAX);
                office.at(self.fault_time(), clock_jumps(self.rng.random_range(-most..=most)))
            }
        }
    }

    /// An attacker on the WAN who has seen the source ports of the office, and repeats the attack.
    pub(super) fn intruder(&mut self, mut office: Office, world: &World) -> Office {
        if !world.has_wan || !self.rng.random_ratio(1, 2) {
            return office;
        }
        for _ in 0..INTRUSIONS {
            let shots = ASKING_PORTS.flat_map(|port| [Shot::Udp(port), Shot::Syn(port)]);
            office = office.at(self.attack_time(), attack(shots));
        }
        office
    }

    /// Other rules for a while, and configurations that are rejected.
    pub(super) fn reloads(&mut self, mut office: Office, world: &World) -> Office {
        let Some(rules) = world.nat_rules.as_ref().filter(|_| self.rng.random_ratio(1, 3)) else {
            return office;
        };
        for _ in 0..self.rng.random_range(1..=2) {
            let others = reload(&self.nat_rules(), self.rng.random());
            office = self.for_a_while(office, others, reload(rules, true));
        }
        if self.rng.random() { office.at(self.fault_time(), reload_refused()) } else { office }
    }

    fn for_a_while(&mut self, office: Office, fault: Action, remedy: Action) -> Office {
        let (begins, ends) = self.fault_times(self.calm_at_secs);
        office.at(begins, fault).at(ends, remedy)
    }

    /// When a fault begins and ends that is over at `latest_secs`.
    pub(super) fn fault_times(&mut self, latest_secs: u64) -> (Duration, Duration) {
        let begins = self.time_before(latest_secs);
        let ends = begins + Duration::from_secs(self.rng.random_range(1..=FAULT_SECS_MAX));
        (begins, ends.min(Duration::from_secs(latest_secs)))
    }

    /// At a port that a connection of a PC's may be seen with.
    fn shot(&mut self) -> Shot {
        let port = self.rng.random_range(49_152..=u16::MAX);
        if self.rng.random() { Shot::Syn(port) } else { Shot::Udp(port) }
    }

    fn tricks(&mut self, pcs: usize) -> Vec<Trick> {
        let lan = |host: u8| Ipv4Addr::new(192, 168, 1, host);
        let trick = |_| {
            let address = match self.rng.random_range(0..4) {
                0 => lan(1),
                1 => Ipv4Addr::from_bits(self.rng.random()),
                _ => lan(self.rng.random()),
            };
            match self.rng.random_range(0..5) {
                0 if address.octets()[3].is_multiple_of(2) => Trick::Poison(address),
                0 => Trick::Claim(address),
                1 => Trick::Take(lan(self.rng.random_range(2..=254))),
                2 => Trick::SendAs(address),
                3 => Trick::AskSilent(address),
                _ => Trick::Borrow(mac_of(self.rng.random_range(0..pcs))),
            }
        };
        (0..TRICKS).map(trick).collect()
    }

    /// When a fault happens from which everybody recovers within [`SETTLING`](super::SETTLING).
    pub(super) fn fault_time(&mut self) -> Duration {
        self.time_before(self.calm_at_secs)
    }

    /// The time of an event from which no host has to recover.
    fn attack_time(&mut self) -> Duration {
        self.time_before(self.ends_at_secs.saturating_sub(QUIET_END_SECS))
    }

    /// The latest time of a fault that needs `secs` more than others until everybody has recovered.
    pub(super) fn calm_before(&self, secs: u64) -> u64 {
        self.calm_at_secs.saturating_sub(secs).max(OPENING_SECS + 1)
    }

    pub(super) fn time_before(&mut self, secs: u64) -> Duration {
        let last_secs = secs.max(OPENING_SECS + 1) - 1;
        Duration::from_millis(self.rng.random_range(OPENING_SECS * 1_000..=last_secs * 1_000))
    }
}
