//! Floods: one machine on the LAN requests more than its share.

use std::net::Ipv4Addr;

use rand::RngExt;

use super::{Picker, World};
use crate::machine::spoofer::Trick;
use crate::scenario::action::spoof;
use crate::scenario::office::Office;

/// The number of tricks in one flood, ten a second. With a new lease for each client the pool is not used up.
const TRICKS: usize = 12;
/// The most PCs that ask over TCP.
const ASKING_BY_TCP_MAX: usize = 3;
/// The longest lease time of an office with an attacker that releases other hosts' leases.
const ROBBED_LEASE_SECS_MAX: u32 = 120;
/// The farthest from the first port of one trick to that of the next.
const PORTS_STEP_MAX: u16 = 16;

impl Picker {
    /// A flood or two, and PCs whose DNS queries over TCP have to be answered meanwhile.
    pub(super) fn floods(&mut self, mut office: Office, world: &World) -> Office {
        if self.rng.random_ratio(1, 3) {
            office = office.asking_by_tcp(self.rng.random_range(1..=world.pcs.min(ASKING_BY_TCP_MAX)));
        }
        if !self.rng.random_ratio(1, 3) {
            return office;
        }
        // A host whose lease an attacker has released notices when it renews, half the lease time later.
        let latest = self.calm_before(u64::from(world.lease_secs.min(ROBBED_LEASE_SECS_MAX) / 2));
        for _ in 0..self.rng.random_range(1..=2) {
            let flood = self.flood(world);
            office = office.at(self.time_before(latest), spoof(flood));
        }
        office
    }

    fn flood(&mut self, world: &World) -> Vec<Trick> {
        let own = lan(self.rng.random_range(240..=254));
        let (port, step) = (self.rng.random(), self.rng.random_range(1..=PORTS_STEP_MAX));
        match self.rng.random_range(0..4) {
            0 => {
                let names = [own, lan(self.rng.random_range(2..=60))];
                let begins = names.map(Trick::OpenHalf).into_iter().cycle();
                std::iter::once(Trick::Take(own)).chain(begins).take(TRICKS).collect()
            }
            1 => {
                let opens = std::iter::repeat_n(Trick::HoldOpen(own), TRICKS);
                std::iter::once(Trick::Take(own)).chain(opens).collect()
            }
            2 if world.has_wan => {
                let ports = std::iter::successors(Some(port), |port: &u16| Some(port.wrapping_add(step)));
                let opens =
                    ports.map(|port| Trick::OpenFlows { address: own, port, step: 2 * PORTS_STEP_MAX });
                opens.take(TRICKS / 2).collect()
            }
            _ => {
                let borrows = self.rng.random::<bool>() && world.lease_secs <= ROBBED_LEASE_SECS_MAX;
                let gives_up = Trick::GiveUpOthers { borrows };
                std::iter::repeat_n(Trick::AskForAddresses, TRICKS / 2).chain([gives_up; 2]).collect()
            }
        }
    }
}

/// A host of the LAN's default network.
fn lan(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, host)
}
