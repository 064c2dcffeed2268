//! The time that the gateway serves, as an offset from the machine's steady time.
//!
//! Each measurement replaces the client's estimate of the time at once. The served time ([`ServedTime`]) is slewed
//! towards the estimate at [`SLEW_PPB`], and never stops or goes back. It is stepped only at the start, and later if
//! the estimate has differed from it by more than [`STEP`] for [`STEP_OUT`]; until then it keeps the difference, which
//! is part of its error.

use std::collections::VecDeque;
use std::time::Duration;

use super::Reading;
use super::sample::{Nanos, RATE_PPB_MAX, Rate, SECOND, WANDER_PPB, nanos};
use crate::clock::{LeapSecond, UnixTime, WallTime};

/// The slew rate of the served time, in parts per 10^9: that of adjtime(3).
pub const SLEW_PPB: Nanos = 500_000;

/// The largest offset that is slewed; a larger one is stepped (STEPT). // RFC 5905, section 11.3
pub const STEP: Nanos = 128_000_000;

/// For how long a larger offset has to last before it is stepped: the stepout threshold of ntpd 4.2.8. RFC 5905,
/// section 11.3, has 900 s (WATCH).
pub const STEP_OUT: Duration = Duration::from_secs(300);

/// The root distance from which a source is not selected, and the served time counts as unsynchronised. RFC 5905,
/// section 7.2, has 1 s (MAXDIST); ntpd has 1.5 s, and chrony 3 s.
pub const ERROR_MAX: Nanos = 1_500_000_000;

/// The largest number of earlier measurements from which the rate is estimated.
const ANCHORS_MAX: usize = 8;

/// The shortest time between two of these measurements.
const ANCHOR_SPACING: Duration = Duration::from_secs(32);

/// The largest age of the oldest of them: the oscillator's temperature changes.
const ANCHOR_AGE_MAX: Duration = Duration::from_secs(4_096);

/// The fields of the served time that come from the system peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The gateway's own stratum: one more than the peer's.
    pub stratum: u8,
    /// The peer's address.
    pub reference_id: [u8; 4],
    /// The round-trip delay to the root.
    pub root_delay: Nanos,
    /// The leap second that is announced.
    pub leap: Option<LeapSecond>,
}

/// The time that a majority of the sources agrees on, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// The steady time.
    pub at: Duration,
    /// The right time minus steady time.
    pub offset: Nanos,
    /// The bound of the offset's error.
    pub error: Nanos,
    /// The fields of the system peer.
    pub origin: Origin,
}

/// The served time, between two measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedTime {
    /// The estimate, as of its measurement.
    estimate: Measurement,
    /// The steady time of the last measurement, which may have confirmed an earlier estimate.
    measured_at: Duration,
    /// The oscillator's rate.
    rate: Rate,
    /// The estimate minus the served time, at the measurement.
    behind: Nanos,
    /// Whether the difference is kept: it is too large to be slewed, and has not lasted for [`STEP_OUT`].
    is_held: bool,
}

impl ServedTime {
    fn age(&self, steady: Duration) -> Nanos {
        nanos(steady.saturating_sub(self.estimate.at))
    }

    /// The estimated time minus steady time.
    fn estimate_at(&self, steady: Duration) -> Nanos {
        self.estimate.offset + self.rate.gain(self.age(steady))
    }

    fn behind_at(&self, steady: Duration) -> Nanos {
        if self.is_held {
            return self.behind;
        }
        let slewed = self.age(steady) * SLEW_PPB / SECOND;
        self.behind.signum() * (self.behind.abs() - slewed).max(0)
    }

    /// The bound of the estimate's error.
    fn estimate_error_at(&self, steady: Duration) -> Nanos {
        self.estimate.error + self.rate.uncertainty(self.age(steady))
    }

    /// The served time minus steady time.
    pub fn offset_at(&self, steady: Duration) -> Nanos {
        self.estimate_at(steady) - self.behind_at(steady)
    }

    /// The served time minus the kernel's.
    pub fn ahead_of_kernel(&self, reading: &Reading) -> Nanos {
        self.offset_at(reading.steady) - reading.kernel_offset()
    }

    /// The served time of day.
    pub fn time_at(&self, steady: Duration) -> WallTime {
        wall(nanos(steady) + self.offset_at(steady))
    }

    /// The bound of the served time's error, if a majority of the sources is right.
    pub fn error_at(&self, steady: Duration) -> Nanos {
        self.estimate_error_at(steady) + self.behind_at(steady).abs()
    }

    /// Whether the served time counts as synchronised: its error is below [`ERROR_MAX`].
    pub fn is_good_at(&self, steady: Duration) -> bool {
        self.error_at(steady) < ERROR_MAX
    }

    /// The fields of the system peer.
    pub fn origin(&self) -> Origin {
        self.estimate.origin
    }

    /// The served time of day of the last measurement.
    pub fn measured(&self) -> WallTime {
        self.time_at(self.measured_at)
    }

    /// The oscillator's rate.
    pub fn rate(&self) -> Rate {
        self.rate
    }
}

/// The time of day that is `nanos` after 1970-01-01.
fn wall(nanos: Nanos) -> WallTime {
    let nanos = nanos.max(0);
    WallTime {
        secs: UnixTime(u64::try_from(nanos / SECOND).unwrap_or(u64::MAX)),
        nanos: u32::try_from(nanos % SECOND).unwrap_or(0),
    }
}

/// The effect of a measurement on the served time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The served time is slewed towards the estimate.
    Slewed,
    /// The difference is too large to be slewed, and is kept until it has lasted for [`STEP_OUT`].
    Held,
    /// The served time was stepped by so many nanoseconds, forward or (negative) back.
    Stepped(Nanos),
}

/// Computes the served time from measurements.
#[derive(Clone, Debug, Default)]
pub struct Follower {
    served: Option<ServedTime>,
    /// Earlier measurements, at least [`ANCHOR_SPACING`] apart: steady time, offset, error.
    anchors: VecDeque<(Duration, Nanos, Nanos)>,
    /// Since when a difference is held.
    held_since: Option<Duration>,
}

impl Follower {
    /// The served time; `None` before the first measurement.
    pub fn served_time(&self) -> Option<&ServedTime> {
        self.served.as_ref()
    }

    /// The estimated rate of the oscillator.
    pub fn rate(&self) -> Rate {
        self.served.map_or(Rate::UNKNOWN, |served| served.rate)
    }

    /// Handles a measurement. `kernel` is the kernel's time minus steady time: the gateway serves the kernel's time
    /// before the first measurement.
    pub fn follow(&mut self, measurement: Measurement, kernel: Nanos) -> Change {
        let at = measurement.at;
        let offset_before = self.served.map_or(kernel, |served| served.offset_at(at));
        let rate = self.measure_rate(&measurement);
        let estimate = match self.served {
            // The former estimate has the smaller error, and the measurement does not contradict it.
            Some(served)
                if served.estimate_error_at(at) < measurement.error && self.is_confirmed(&measurement) =>
            {
                let (offset, error) = (served.estimate_at(at), served.estimate_error_at(at));
                Measurement { offset, error, ..measurement }
            }
            _ => measurement,
        };
        let behind = estimate.offset - offset_before;
        let (behind, is_held, change) = match (self.served, self.held_since) {
            _ if behind.abs() <= STEP => (behind, false, Change::Slewed),
            (Some(_), None) => (behind, true, Change::Held),
            (Some(_), Some(since)) if at.saturating_sub(since) < STEP_OUT => (behind, true, Change::Held),
            _ => (0, false, Change::Stepped(behind)),
        };
        self.held_since = is_held.then(|| self.held_since.unwrap_or(at));
        self.served = Some(ServedTime { estimate, measured_at: at, rate, behind, is_held });
        change
    }

    /// Whether the measurement and the estimate agree within their errors.
    fn is_confirmed(&self, measurement: &Measurement) -> bool {
        self.served.is_none_or(|served| {
            let apart = (measurement.offset - served.estimate_at(measurement.at)).abs();
            apart <= measurement.error + served.estimate_error_at(measurement.at)
        })
    }

    /// The rate from the measurements up to this one. Each is right within its error, so a pair bounds the rate of the
    /// time between them; the pair with the closest bounds decides.
    fn measure_rate(&mut self, measurement: &Measurement) -> Rate {
        let Measurement { at, offset, error, .. } = *measurement;
        if !self.is_confirmed(measurement) {
            // The oscillator's rate or the sources' time has changed: earlier measurements say nothing about the rate.
            self.anchors.clear();
            self.anchors.push_back((at, offset, error));
            return Rate { skew_ppb: RATE_PPB_MAX, ..self.rate() };
        }
        let bounds = self.anchors.iter().filter_map(|(since, before, error_before)| {
            let span = nanos(at.saturating_sub(*since));
            let ppb = (offset - before).checked_mul(SECOND)?.checked_div(span)?;
            let skew_ppb = (error + error_before).checked_mul(SECOND)?.checked_div(span)? + WANDER_PPB;
            Some(Rate { ppb: ppb.clamp(-RATE_PPB_MAX, RATE_PPB_MAX), skew_ppb })
        });
        let best = bounds.min_by_key(|rate| rate.skew_ppb).filter(|rate| rate.skew_ppb < RATE_PPB_MAX);
        let age = |anchor: &(Duration, Nanos, Nanos)| at.saturating_sub(anchor.0);
        if self.anchors.back().is_none_or(|latest| age(latest) >= ANCHOR_SPACING) {
            if self.anchors.len() >= ANCHORS_MAX {
                let is_old = self.anchors.front().is_some_and(|oldest| age(oldest) > ANCHOR_AGE_MAX);
                let spare = if is_old { Some(0) } else { self.densest() };
                spare.and_then(|index| self.anchors.remove(index));
            }
            self.anchors.push_back((at, offset, error));
        }
        best.unwrap_or(self.rate())
    }

    /// The index of the anchor between the oldest and the latest whose neighbours are closest together in time.
    fn densest(&self) -> Option<usize> {
        let times: Vec<_> = self.anchors.iter().map(|(at, ..)| *at).collect();
        let gaps = times.windows(3).map(|three| three[2].saturating_sub(three[0]));
        gaps.enumerate().min_by_key(|(_, gap)| *gap).map(|(index, _)| index + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Nanos = 1_000_000;
    const ORIGIN: Origin = Origin { stratum: 3, reference_id: [192, 0, 2, 1], root_delay: 0, leap: None };

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn measured(at: u64, offset: Nanos, error: Nanos) -> Measurement {
        Measurement { at: secs(at), offset, error, origin: ORIGIN }
    }

    #[test]
    fn the_first_measurement_steps_a_large_offset_and_slews_a_small_one() {
        let mut follower = Follower::default();
        assert_eq!(follower.follow(measured(10, 500 * SECOND, MS), 0), Change::Stepped(500 * SECOND));
        let served = follower.served_time().expect("it was measured");
        assert_eq!(served.time_at(secs(10)), WallTime { secs: UnixTime(510), nanos: 0 });
        assert_eq!(served.error_at(secs(10)), MS + 1);
        let mut follower = Follower::default();
        assert_eq!(follower.follow(measured(10, 100 * MS, MS), 0), Change::Slewed);
        let served = follower.served_time().expect("it was measured");
        assert_eq!(served.offset_at(secs(10)), 0);
        assert_eq!(served.offset_at(secs(110)), 50 * MS);
        assert_eq!(served.offset_at(secs(210)), 100 * MS);
        assert_eq!(
            served.error_at(secs(110)),
            MS + 50 * MS + 50 * MS + 1,
            "half is left, and the rate is unknown"
        );
    }

    /// RFC 5905, section 11.3: A large offset adds to the error, and is stepped when it has lasted.
    #[test]
    fn rfc5905_11_3_a_large_offset_adds_to_the_error_and_is_stepped_when_it_has_lasted() {
        let mut follower = Follower::default();
        follower.follow(measured(0, 0, MS), 0);
        assert_eq!(follower.follow(measured(64, 2 * SECOND, MS), 0), Change::Held);
        let served = follower.served_time().expect("it was measured");
        assert_eq!(served.offset_at(secs(100)), served.offset_at(secs(64)), "nothing moves");
        assert!(!served.is_good_at(secs(64)));
        assert_eq!(follower.follow(measured(300, 2 * SECOND, MS), 0), Change::Held);
        assert!(matches!(follower.follow(measured(364, 2 * SECOND, MS), 0), Change::Stepped(_)));
        assert!(follower.served_time().is_some_and(|served| served.is_good_at(secs(364))));
        // A spike does not last.
        follower.follow(measured(400, 9 * SECOND, MS), 0);
        assert_eq!(follower.follow(measured(500, 2 * SECOND, MS), 0), Change::Slewed);
    }

    #[test]
    fn the_rate_is_estimated_and_its_error_shrinks() {
        let mut follower = Follower::default();
        let mut skews = Vec::new();
        for number in 0..8 {
            // The oscillator loses 200 ppm.
            let at = number * 64;
            follower.follow(measured(at, Nanos::from(at) * 200_000, 5 * MS), 0);
            skews.push(follower.rate().skew_ppb);
        }
        assert_eq!(follower.rate().ppb, 200_000);
        assert_eq!(skews[0], RATE_PPB_MAX);
        assert!(skews.is_sorted_by(|a, b| a >= b), "{skews:?}");
        assert!(skews[7] < 40_000, "{skews:?}");
    }

    #[test]
    fn a_poor_measurement_does_not_spoil_a_good_one() {
        let mut follower = Follower::default();
        follower.follow(measured(0, 0, MS), 0);
        follower.follow(measured(64, 0, MS), 0);
        follower.follow(measured(66, 90 * MS, 400 * MS), 0);
        let served = follower.served_time().expect("it was measured");
        assert!(served.error_at(secs(66)) < 10 * MS, "{served:?}");
    }

    proptest! {
        #[test]
        fn the_served_time_is_right_within_its_error_and_is_never_slewed_backwards(
            drift in -480_000..480_000_i128,
            kernel in -300 * MS..300 * MS,
            measurements in prop::collection::vec((1..200_u64, 0..40_i128, -100..=100_i128), 1..40),
        ) {
            let (mut follower, mut at) = (Follower::default(), 0);
            let right = |millis: u64| Nanos::from(millis) * drift / 1_000 + 1_000 * SECOND;
            for (wait, error, wrong) in measurements {
                let before = follower.served_time().copied();
                for step in 0..=wait {
                    let now = at + step * 1_000;
                    if let Some(served) = &before {
                        let steady = Duration::from_millis(now);
                        let off = (served.offset_at(steady) - right(now)).abs();
                        prop_assert!(off <= served.error_at(steady), "{off} at {now}: {served:?}");
                        let later = Duration::from_millis(now + 1);
                        prop_assert!(served.time_at(later) > served.time_at(steady));
                    }
                }
                at += wait * 1_000;
                let error = error * MS + 1_000;
                let measurement = Measurement {
                    at: Duration::from_millis(at),
                    offset: right(at) + error * wrong / 100,
                    error,
                    origin: ORIGIN,
                };
                let change = follower.follow(measurement, 1_000 * SECOND + kernel);
                if let (Some(before), Change::Slewed | Change::Held) = (before, change) {
                    let served = follower.served_time().expect("it was measured");
                    prop_assert_eq!(served.time_at(measurement.at), before.time_at(measurement.at));
                }
            }
        }
    }
}
