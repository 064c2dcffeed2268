//! What goes wrong, and when.

use std::net::Ipv4Addr;
use std::time::Duration;

use rand::RngExt;

use super::{Picker, World};
use crate::machine::asker::ASKING_PORTS;
use crate::machine::attacker::Shot;
use crate::machine::internet::ProviderMood;
use crate::machine::pc::mac_of;
use crate::machine::spoofer::Trick;
use crate::scenario::action::{
    Action, attack, clock_jumps, dhcp_silent, disk, link, partition, port_scan, power_back, power_cut,
    power_cut_while_replacing, power_cut_while_writing, provider, reload, reload_refused, renumber, replug,
    reunite, sleep, spoof, wake,
};
use crate::scenario::office::Office;
use crate::world::disk::{DiskMood, ReplaceStep};
use crate::world::link::perfect;

/// The quiet time before the first fault.
const OPENING_SECS: u64 = 10;
/// The longest time that a fault lasts.
const FAULT_SECS_MAX: u64 = 40;
/// The farthest that the time of day jumps, in seconds: less than leases last, more, and years, as where a
/// clock is set that nobody ever had.
const JUMPS_SECS_MAX: [i64; 3] = [60, 4_000, 1_000_000_000];
/// The writes after which the power can fail: those of a minute or so.
const WRITES_MAX: u32 = 30;
/// How often an attacker fires.
const SHOTS: usize = 400;
/// How often an intruder comes.
const INTRUSIONS: usize = 4;
/// How many tricks a spoofer plays.
const TRICKS: usize = 40;

impl Picker {
    /// Power cuts, a clock that jumps, and up to six faults of other kinds.
    pub(super) fn faults(&mut self, mut office: Office, world: &World) -> Office {
        if self.rng.random_ratio(2, 3) {
            office = self.power_cuts(office);
        }
        if self.rng.random_ratio(1, 4) {
            for _ in 0..self.rng.random_range(1..=2) {
                let most = self.pick_of(&JUMPS_SECS_MAX);
                office = office.at(self.fault_time(), clock_jumps(self.rng.random_range(-most..=most)));
            }
        }
        for _ in 0..self.rng.random_range(0..=6) {
            let is_outside = world.has_wan && self.rng.random();
            office = if is_outside { self.wan_fault(office, world) } else { self.lan_fault(office, world) };
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
            let step = ReplaceStep::ALL[nth as usize % ReplaceStep::ALL.len()];
            let cuts = [power_cut(), power_cut_while_writing(nth), power_cut_while_replacing(step)];
            let cut = self.pick_of(&cuts);
            office = office.at(begins, cut).at(ends, power_back());
            secs = ends.as_secs() + 1;
        }
        office
    }

    /// What can happen in the office.
    fn lan_fault(&mut self, office: Office, world: &World) -> Office {
        match self.rng.random_range(0..6) {
            0 => {
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
            1 => {
                let port = format!("lan{}", self.rng.random_range(0..world.lan_ports));
                let pc = self.pc(world.pcs);
                let name = self.pick_of(&["lan", &port, "pcs", &pc]);
                let broken = self.broken_link();
                self.for_a_while(office, link(name, broken), link(name, perfect()))
            }
            2 => {
                let port = format!("lan{}", self.rng.random_range(0..world.lan_ports));
                let machine = self.pc(world.pcs);
                office.at(self.fault_time(), replug(&machine, &port))
            }
            3 => office.at(self.fault_time(), spoof(self.tricks(world.pcs))),
            4 => {
                let pc = self.pc(world.pcs);
                self.for_a_while(office, sleep(&pc), wake(&pc))
            }
            _ => {
                let apart: Vec<_> =
                    (0..self.rng.random_range(1..=world.pcs)).map(|_| self.pc(world.pcs)).collect();
                self.for_a_while(office, partition(apart), reunite())
            }
        }
    }

    /// What can happen outside.
    fn wan_fault(&mut self, office: Office, world: &World) -> Office {
        match self.rng.random_range(0..7) {
            0 => {
                let (begins, ends) = self.fault_times();
                self.names(office, begins, ends)
            }
            1 => self.for_a_while(office, dhcp_silent(true), dhcp_silent(false)),
            2 if world.can_renumber => office.at(self.fault_time(), renumber("192.0.2.0/24")),
            3 => {
                let mood = self.pick_of(&[ProviderMood::Gone, ProviderMood::NotForwarding]);
                self.for_a_while(office, provider(mood), provider(ProviderMood::Up))
            }
            4 => {
                let name = self.pick_of(&["wan", "internet"]);
                let broken = self.broken_link();
                self.for_a_while(office, link(name, broken), link(name, perfect()))
            }
            5 => office.at(self.fault_time(), port_scan(200)),
            _ => {
                let shots: Vec<_> = (0..SHOTS).map(|_| self.shot()).collect();
                office.at(self.fault_time(), attack(shots))
            }
        }
    }

    /// Somebody on the WAN who has seen the ports that the office asks from, and comes again and again.
    pub(super) fn intruder(&mut self, mut office: Office, world: &World) -> Office {
        if !world.has_wan || !self.rng.random_ratio(1, 2) {
            return office;
        }
        for _ in 0..INTRUSIONS {
            let shots = ASKING_PORTS.flat_map(|port| [Shot::Udp(port), Shot::Syn(port)]);
            office = office.at(self.fault_time(), attack(shots));
        }
        office
    }

    /// Other rules for a while, and files that cannot be taken.
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
        let (begins, ends) = self.fault_times();
        office.at(begins, fault).at(ends, remedy)
    }

    /// When a fault begins and ends.
    fn fault_times(&mut self) -> (Duration, Duration) {
        let begins = self.fault_time();
        let ends = begins + Duration::from_secs(self.rng.random_range(1..=FAULT_SECS_MAX));
        (begins, ends.min(Duration::from_secs(self.calm_at_secs)))
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

    pub(super) fn fault_time(&mut self) -> Duration {
        let last_secs = self.calm_at_secs.max(OPENING_SECS + 1) - 1;
        Duration::from_millis(self.rng.random_range(OPENING_SECS * 1_000..=last_secs * 1_000))
    }
}
