//! Cables that are worse than they should be.

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::Picker;
use crate::scenario::action::{Action, link};
use crate::scenario::office::Office;
use crate::world::link::{Direction, Link, cut, perfect};

impl Picker {
    /// Poor cables from the beginning on.
    pub(super) fn links(&mut self, mut office: Office) -> Office {
        for name in ["lan", "wan", "pcs"] {
            if self.rng.random_ratio(1, 2) {
                office = office.link(name, self.poor_link());
            }
        }
        office
    }

    /// A cable that is cut, perhaps one way only.
    pub(super) fn cut_link(&mut self, pcs: usize) -> Action {
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
