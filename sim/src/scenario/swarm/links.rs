//! Bad cables.

use std::ops::RangeInclusive;

use rand::RngExt;

use super::{Picker, World};
use crate::scenario::office::Office;
use crate::world::link::{Direction, Link, LostKind, cut, perfect};

/// The MTU of a cable that is too small, unknown to the hosts and routers.
const MTUS: RangeInclusive<u16> = 576..=1_499;

impl Picker {
    /// Poor cables from the beginning on.
    pub(super) fn links(&mut self, mut office: Office, world: &World) -> Office {
        for name in ["lan", "pcs"].into_iter().chain(world.has_wan.then_some("wan")) {
            if self.rng.random_ratio(1, 2) {
                office = office.link(name, self.poor_link());
            }
        }
        office
    }

    /// A provider that carries much more down than up, instead of what rates the cable has otherwise.
    pub(super) fn adsl(&mut self, office: Office, world: &World) -> Office {
        if !world.has_wan || !self.rng.random_ratio(1, 4) {
            return office;
        }
        let (down, up) = self.pick_of(&[(16_000, 1_000), (6_000, 500), (2_000, 200)]);
        let link = office.link_of("wan", "wan").rates(down, up, self.rng.random_range(20..200));
        office.link("wan", link)
    }

    /// A provider that carries all packets but those of a kind.
    pub(super) fn losing_a_kind(&mut self) -> Link {
        perfect().losing(self.pick_of(&LostKind::ALL))
    }

    /// Switches that tag frames with VLAN 0, from the beginning on, besides other defects of the cables.
    pub(super) fn priority_tags(&mut self, mut office: Office, world: &World) -> Office {
        for name in ["lan", "wan"].into_iter().filter(|name| *name == "lan" || world.has_wan) {
            if self.rng.random_ratio(1, 5) {
                let link = office.link_of(name, name).priority_tagged();
                office = office.link(name, link);
            }
        }
        office
    }

    /// A cable that carries nothing in a direction or two, nothing long, or little.
    pub(super) fn broken_link(&mut self) -> Link {
        let one_way = |direction| perfect().cut_one_way(direction);
        let mtu = self.rng.random_range(MTUS);
        self.pick_of(&[
            cut(),
            one_way(Direction::Outward),
            one_way(Direction::Inward),
            perfect().mtu(mtu),
            perfect().loss_in_bursts(0.05, 30.0),
        ])
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
