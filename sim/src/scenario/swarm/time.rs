//! The PCs' NTP requests, and the faults of the gateway's clock.

use std::time::Duration;

use gatepost_ground::Instant;
use gatepost_services::clock::LeapSecond;
use rand::RngExt;

use super::{Picker, World};
use crate::machine::internet::TimeMood;
use crate::scenario::action::{clock_disciplined, clock_drifts};
use crate::scenario::catalog::time::time_servers;
use crate::scenario::office::Office;

/// The most PCs that ask for the time.
const ASKING_MAX: usize = 4;
/// The fastest drift of a clock, in parts per million, is that of a bad crystal in the cold.
const DRIFT_PPM_MAX: i32 = 200;
/// The largest error of a disciplined clock, in microseconds.
const AHEAD_MICROS_MAX: i32 = 50_000;
/// The largest additional delay of the path back from a time server.
const SLOW_BACK_MILLIS_MAX: u64 = 150;
/// The number of changes of the clock's discipline.
const CHANGES_MAX: usize = 4;

impl Picker {
    /// In half of the offices some PCs ask for the time, sometimes one of them too often, from a clock that drifts and
    /// is disciplined for a while.
    pub(super) fn time(&mut self, office: Office, world: &World) -> Office {
        if self.rng.random() {
            return office;
        }
        let asking = self.rng.random_range(1..=world.pcs.min(ASKING_MAX));
        let hurried = usize::from(self.rng.random_ratio(1, 4));
        let mut office = office.asking_time(asking).in_a_hurry(hurried);
        for _ in 0..self.rng.random_range(0..=CHANGES_MAX) {
            let action = if self.rng.random() {
                clock_drifts(self.rng.random_range(-DRIFT_PPM_MAX..=DRIFT_PPM_MAX))
            } else {
                let leap = [None, None, Some(LeapSecond::Inserted), Some(LeapSecond::Deleted)];
                let ahead = self.rng.random_range(-AHEAD_MICROS_MAX..=AHEAD_MICROS_MAX);
                clock_disciplined(ahead, self.pick_of(&leap))
            };
            office = office.at(self.fault_time(), action);
        }
        office
    }

    /// In a third of the offices with a provider the gateway asks time servers, of which one may have a wrong time; the
    /// paths are asymmetric, and one server may be silent until the faults end.
    pub(super) fn time_servers(&mut self, office: Office, world: &World) -> Office {
        if !world.has_wan || !self.rng.random_ratio(1, 3) {
            return office;
        }
        let mut moods = [(); 4].map(|()| TimeMood {
            slow_back: Duration::from_millis(self.rng.random_range(0..=SLOW_BACK_MILLIS_MAX)),
            is_forged: self.rng.random(),
            ..TimeMood::default()
        });
        if self.rng.random() {
            // More than the root distances of the others, so that the client can detect it.
            moods[0].wrong_millis = self.rng.random_range(2_000..100_000) * self.pick_of(&[1, -1]);
        }
        if self.rng.random() {
            moods[1].silent_from = Some(Instant::from_secs(self.rng.random_range(0..self.calm_at_secs)));
        }
        time_servers(office, moods)
    }
}
