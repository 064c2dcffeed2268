//! The faults of the internet's names.

use std::ops::RangeInclusive;
use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::{Picker, World};
use crate::machine::internet::{DnsMood, SITES, Tree, authorities};
use crate::scenario::action::{dns_of, name_moves};
use crate::scenario::office::Office;

/// How long liars lie.
const LYING_SECS: RangeInclusive<u64> = 30..=120;

impl Picker {
    /// From `begins` to `ends` name servers are bad, or a name moves meanwhile, or both.
    pub(super) fn names(&mut self, mut office: Office, begins: Duration, ends: Duration) -> Office {
        if self.rng.random_ratio(2, 3) {
            for _ in 0..self.rng.random_range(1..=3) {
                let (servers, mood) = (self.name_servers(), self.dns_mood());
                office =
                    office.at(begins, dns_of(&servers, mood)).at(ends, dns_of(&servers, DnsMood::Truthful));
            }
        }
        let names: Vec<_> = (0..SITES).map(|site| format!("site-{site}.example")).collect();
        let name = names.choose(&mut self.rng).expect("not empty");
        if Tree::new().can_move(name) {
            office.at(begins + (ends - begins) / 2, name_moves(name))
        } else {
            office
        }
    }

    /// The provider's resolvers lie, or an attacker forges their answers, from the beginning on: later the gateway has
    /// the names in its cache and sends few queries.
    pub(super) fn liars(&mut self, office: Office, world: &World) -> Office {
        if !world.has_wan || !self.rng.random_ratio(1, 4) {
            return office;
        }
        let ends = Duration::from_secs(self.rng.random_range(LYING_SECS))
            .min(Duration::from_secs(self.calm_at_secs));
        let mood = self.pick_of(&[
            DnsMood::Forged,
            DnsMood::Forged,
            DnsMood::Misplaced,
            DnsMood::Poisoned,
            DnsMood::Rebinding,
        ]);
        office.at(Duration::ZERO, dns_of("resolvers", mood)).at(ends, dns_of("resolvers", DnsMood::Truthful))
    }

    fn name_servers(&mut self) -> String {
        let all: Vec<_> =
            authorities().chain(["resolver-0", "resolver-1", "resolvers", "resolvers"]).collect();
        (*all.choose(&mut self.rng).expect("not empty")).to_owned()
    }

    fn dns_mood(&mut self) -> DnsMood {
        let slow = Duration::from_millis(self.rng.random_range(100..8_000));
        *DnsMood::bad(slow).choose(&mut self.rng).expect("not empty")
    }
}
