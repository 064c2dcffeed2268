//! The right time of day by the machine's steady time: what is known of it, and what is told.
//!
//! What is known jumps with each measurement. What is told ([`Course`]) goes over to it at [`SLEW_PPB`], and neither
//! stands still nor goes back. It jumps only at the start, and later if the sources have been farther away than
//! [`STEP`] for [`STEP_OUT`]; until then it goes on as before, and its error tells of the difference.

use std::collections::VecDeque;
use std::time::Duration;

use super::Reading;
use super::sample::{Nanos, RATE_PPB_MAX, Rate, SECOND, WANDER_PPB, nanos};
use crate::clock::{LeapSecond, UnixTime, WallTime};

/// How fast what is told goes over to what is known, in parts per 10^9: as fast as adjtime(3) does.
pub const SLEW_PPB: Nanos = 500_000;

/// The longest way that what is told goes over slowly (STEPT). // RFC 5905, section 11.3
pub const STEP: Nanos = 128_000_000;

/// For how long sources must be farther away than that (WATCH). // RFC 5905, section 11.3
pub const STEP_OUT: Duration = Duration::from_secs(300);

/// A time with a larger error than that is of no use, a source's and ours. RFC 5905 has 1 s (MAXDIST), ntpd and chrony
/// are more patient with slow lines.
pub const ERROR_MAX: Nanos = 1_500_000_000;

/// The measurements that the rate is found from.
const ANCHORS_MAX: usize = 8;

/// The shortest time between two of them.
const ANCHOR_SPACING: Duration = Duration::from_secs(32);

/// The longest time that the rate is found over: temperatures change.
const ANCHOR_AGE_MAX: Duration = Duration::from_secs(4_096);

/// Who stands for all sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The stratum of whoever follows it.
    pub stratum: u8,
    /// The address of the source.
    pub reference_id: [u8; 4],
    /// The time on the way to the root and back.
    pub root_delay: Nanos,
    /// The leap second that is announced.
    pub leap: Option<LeapSecond>,
}

/// What sources agree on at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// The steady time.
    pub at: Duration,
    /// By how much the right time is ahead of that.
    pub offset: Nanos,
    /// The most by which the offset may be wrong.
    pub error: Nanos,
    /// Who stands for all sources.
    pub origin: Origin,
}

/// The time that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// What is known, and since when.
    known: Measurement,
    /// When sources were last asked about it.
    measured_at: Duration,
    /// The oscillator's rate.
    rate: Rate,
    /// By how much what is told was behind what is known then.
    behind: Nanos,
    /// Whether it stays behind: it is too much to go over slowly, and not sure yet.
    is_held: bool,
}

impl Course {
    fn age(&self, steady: Duration) -> Nanos {
        nanos(steady.saturating_sub(self.known.at))
    }

    /// By how much the right time is ahead of steady time, as far as is known.
    fn known_at(&self, steady: Duration) -> Nanos {
        self.known.offset + self.rate.gain(self.age(steady))
    }

    fn behind_at(&self, steady: Duration) -> Nanos {
        if self.is_held {
            return self.behind;
        }
        let way = self.age(steady) * SLEW_PPB / SECOND;
        self.behind.signum() * (self.behind.abs() - way).max(0)
    }

    /// The most by which what is known may be wrong.
    fn doubt_at(&self, steady: Duration) -> Nanos {
        self.known.error + self.rate.doubt(self.age(steady))
    }

    /// By how much the time that is told is ahead of steady time.
    pub fn offset_at(&self, steady: Duration) -> Nanos {
        self.known_at(steady) - self.behind_at(steady)
    }

    /// By how much the time that is told is ahead of the kernel's.
    pub fn ahead_of_kernel(&self, reading: &Reading) -> Nanos {
        self.offset_at(reading.steady) - reading.kernel_offset()
    }

    /// The time of day that is told.
    pub fn time_at(&self, steady: Duration) -> WallTime {
        wall(nanos(steady) + self.offset_at(steady))
    }

    /// The most by which the time that is told may be wrong, if a majority of the sources is right.
    pub fn error_at(&self, steady: Duration) -> Nanos {
        self.doubt_at(steady) + self.behind_at(steady).abs()
    }

    /// Whether the time that is told is of use.
    pub fn is_good_at(&self, steady: Duration) -> bool {
        self.error_at(steady) < ERROR_MAX
    }

    /// Who stands for all sources.
    pub fn origin(&self) -> Origin {
        self.known.origin
    }

    /// The time of day when sources were last asked, as it is told.
    pub fn measured(&self) -> WallTime {
        self.time_at(self.measured_at)
    }

    /// The oscillator's rate.
    pub fn rate(&self) -> Rate {
        self.rate
    }
}

/// The time of day so many nanoseconds after 1970 began.
fn wall(nanos: Nanos) -> WallTime {
    let nanos = nanos.max(0);
    WallTime {
        secs: UnixTime(u64::try_from(nanos / SECOND).unwrap_or(u64::MAX)),
        nanos: u32::try_from(nanos % SECOND).unwrap_or(0),
    }
}

/// What a measurement has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// What is told goes over to what is known, if it differs.
    Slewed,
    /// What is told is too far away, and is left there for now.
    Held,
    /// What is told has jumped, ahead or back, by so many nanoseconds.
    Stepped(Nanos),
}

/// Follows measurements.
#[derive(Clone, Debug, Default)]
pub struct Follower {
    course: Option<Course>,
    /// Measurements that are some time apart: steady time, offset, error.
    anchors: VecDeque<(Duration, Nanos, Nanos)>,
    /// Since when what is told is held.
    held_since: Option<Duration>,
}

impl Follower {
    /// The time to tell, once there was a measurement.
    pub fn course(&self) -> Option<&Course> {
        self.course.as_ref()
    }

    /// The oscillator's rate as far as it is known.
    pub fn rate(&self) -> Rate {
        self.course.map_or(Rate::UNKNOWN, |course| course.rate)
    }

    /// Takes a measurement in. `told` is what was told so far without a course: by how much the kernel's time is ahead
    /// of steady time.
    pub fn follow(&mut self, measurement: Measurement, told: Nanos) -> Change {
        let at = measurement.at;
        let told = self.course.map_or(told, |course| course.offset_at(at));
        let rate = self.measure_rate(&measurement);
        let known = match self.course {
            // What was known before is more certain than what has been measured, and does not contradict it.
            Some(course) if course.doubt_at(at) < measurement.error && self.is_confirmed(&measurement) => {
                let (offset, error) = (course.known_at(at), course.doubt_at(at));
                Measurement { offset, error, ..measurement }
            }
            _ => measurement,
        };
        let behind = known.offset - told;
        let (behind, is_held, change) = match (self.course, self.held_since) {
            _ if behind.abs() <= STEP => (behind, false, Change::Slewed),
            (Some(_), None) => (behind, true, Change::Held),
            (Some(_), Some(since)) if at.saturating_sub(since) < STEP_OUT => (behind, true, Change::Held),
            _ => (0, false, Change::Stepped(behind)),
        };
        self.held_since = is_held.then(|| self.held_since.unwrap_or(at));
        self.course = Some(Course { known, measured_at: at, rate, behind, is_held });
        change
    }

    /// Whether the measurement and what is known have a time in common that both think possible.
    fn is_confirmed(&self, measurement: &Measurement) -> bool {
        self.course.is_none_or(|course| {
            let apart = (measurement.offset - course.known_at(measurement.at)).abs();
            apart <= measurement.error + course.doubt_at(measurement.at)
        })
    }

    /// The rate by the measurements up to this one. Each is right within its error, so the two that are most certain
    /// for the time between them say within which bounds the rate has been.
    fn measure_rate(&mut self, measurement: &Measurement) -> Rate {
        let Measurement { at, offset, error, .. } = *measurement;
        if !self.is_confirmed(measurement) {
            // The oscillator, or what the sources say, is not what it was.
            self.anchors.clear();
            self.anchors.push_back((at, offset, error));
            return Rate { skew_ppb: RATE_PPB_MAX, ..self.rate() };
        }
        let bounds = self.anchors.iter().filter_map(|(since, before, doubt)| {
            let span = nanos(at.saturating_sub(*since));
            let ppb = (offset - before).checked_mul(SECOND)?.checked_div(span)?;
            let skew_ppb = (error + doubt).checked_mul(SECOND)?.checked_div(span)? + WANDER_PPB;
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

    /// The anchor between the oldest and the latest whose neighbours are nearest to each other.
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
    fn the_first_measurement_steps_if_the_kernel_is_far_away_and_slews_else() {
        let mut follower = Follower::default();
        assert_eq!(follower.follow(measured(10, 500 * SECOND, MS), 0), Change::Stepped(500 * SECOND));
        let course = follower.course().expect("it was measured");
        assert_eq!(course.time_at(secs(10)), WallTime { secs: UnixTime(510), nanos: 0 });
        assert_eq!(course.error_at(secs(10)), MS + 1);
        let mut follower = Follower::default();
        assert_eq!(follower.follow(measured(10, 100 * MS, MS), 0), Change::Slewed);
        let course = follower.course().expect("it was measured");
        assert_eq!(course.offset_at(secs(10)), 0);
        assert_eq!(course.offset_at(secs(110)), 50 * MS);
        assert_eq!(course.offset_at(secs(210)), 100 * MS);
        assert_eq!(
            course.error_at(secs(110)),
            MS + 50 * MS + 50 * MS + 1,
            "half is left, and the rate is unknown"
        );
    }

    /// RFC 5905, section 11.3: A large difference is followed when it has lasted.
    #[test]
    fn rfc5905_11_3_a_large_difference_is_told_as_an_error_and_followed_when_it_has_lasted() {
        let mut follower = Follower::default();
        follower.follow(measured(0, 0, MS), 0);
        assert_eq!(follower.follow(measured(64, 2 * SECOND, MS), 0), Change::Held);
        let course = follower.course().expect("it was measured");
        assert_eq!(course.offset_at(secs(100)), course.offset_at(secs(64)), "nothing moves");
        assert!(!course.is_good_at(secs(64)));
        assert_eq!(follower.follow(measured(300, 2 * SECOND, MS), 0), Change::Held);
        assert!(matches!(follower.follow(measured(364, 2 * SECOND, MS), 0), Change::Stepped(_)));
        assert!(follower.course().is_some_and(|course| course.is_good_at(secs(364))));
        // A spike does not last.
        follower.follow(measured(400, 9 * SECOND, MS), 0);
        assert_eq!(follower.follow(measured(500, 2 * SECOND, MS), 0), Change::Slewed);
    }

    #[test]
    fn the_rate_is_found_and_its_doubt_shrinks() {
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
        let course = follower.course().expect("it was measured");
        assert!(course.error_at(secs(66)) < 10 * MS, "{course:?}");
    }

    proptest! {
        #[test]
        fn what_is_told_is_within_its_error_and_never_goes_back_slowly(
            drift in -480_000..480_000_i128,
            kernel in -300 * MS..300 * MS,
            measurements in prop::collection::vec((1..200_u64, 0..40_i128, -100..=100_i128), 1..40),
        ) {
            let (mut follower, mut at) = (Follower::default(), 0);
            let right = |millis: u64| Nanos::from(millis) * drift / 1_000 + 1_000 * SECOND;
            for (wait, error, wrong) in measurements {
                let before = follower.course().copied();
                for step in 0..=wait {
                    let now = at + step * 1_000;
                    if let Some(course) = &before {
                        let steady = Duration::from_millis(now);
                        let off = (course.offset_at(steady) - right(now)).abs();
                        prop_assert!(off <= course.error_at(steady), "{off} at {now}: {course:?}");
                        let later = Duration::from_millis(now + 1);
                        prop_assert!(course.time_at(later) > course.time_at(steady));
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
                    let course = follower.course().expect("it was measured");
                    prop_assert_eq!(course.time_at(measurement.at), before.time_at(measurement.at));
                }
            }
        }
    }
}
