//! What one exchange with a source shows, and the filter that takes the best of the last eight. (RFC 5905, section 10)
//!
//! The client measures in the machine's steady time, which nobody steps. An offset is by how much the right time of day
//! is ahead of it, so samples stay comparable whatever becomes of the time that is told.

use std::collections::VecDeque;
use std::time::Duration;

/// Nanoseconds, of which differences may be negative.
pub type Nanos = i128;

/// A second.
pub const SECOND: Nanos = 1_000_000_000;

/// The samples that a filter keeps (NSTAGE). // RFC 5905, section 7.2
pub const SAMPLES_MAX: usize = 8;

/// The most by which an oscillator gains or loses, in parts per 10^9: what Linux can correct, and more than any crystal
/// of a machine that works.
pub const RATE_PPB_MAX: Nanos = 500_000;

/// By how much the rate of an oscillator may differ from what was measured shortly before, in parts per 10^9 (PHI).
// RFC 5905, section 7.2
pub const WANDER_PPB: Nanos = 15_000;

/// `span` in nanoseconds.
pub fn nanos(span: Duration) -> Nanos {
    Nanos::try_from(span.as_nanos()).unwrap_or(Nanos::MAX)
}

/// How fast the machine's oscillator is, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How much the right time gains on steady time, in parts per 10^9.
    pub ppb: Nanos,
    /// The most by which that may be wrong, in parts per 10^9.
    pub skew_ppb: Nanos,
}

impl Rate {
    /// The rate of an oscillator that was not measured yet.
    pub const UNKNOWN: Self = Self { ppb: 0, skew_ppb: RATE_PPB_MAX };

    /// What the right time gains in `span`.
    pub fn gain(self, span: Nanos) -> Nanos {
        span.saturating_mul(self.ppb) / SECOND
    }

    /// The most by which that is wrong, rounded up.
    pub fn doubt(self, span: Nanos) -> Nanos {
        span.saturating_mul(self.skew_ppb) / SECOND + 1
    }
}

/// What one exchange with a source shows of the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The steady time of the exchange's end.
    pub at: Duration,
    /// By how much the source's time is ahead of steady time.
    pub offset: Nanos,
    /// The time on the way, there and back.
    pub delay: Nanos,
    /// The most by which the offset may be wrong beside half of the delay.
    pub dispersion: Nanos,
}

impl Sample {
    /// The same at a later time, of a clock of that rate.
    pub fn aged(self, at: Duration, rate: Rate) -> Self {
        let age = nanos(at.saturating_sub(self.at));
        let (offset, dispersion) = (self.offset + rate.gain(age), self.dispersion + rate.doubt(age));
        Self { at: at.max(self.at), offset, dispersion, ..self }
    }

    /// The most by which the offset may differ from the source's.
    pub fn distance(&self) -> Nanos {
        self.delay / 2 + self.dispersion
    }
}

/// The latest samples of one source.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    samples: VecDeque<Sample>,
}

impl Filter {
    /// Takes a sample in. The oldest makes room for it.
    pub fn push(&mut self, sample: Sample) {
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// Forgets what was measured.
    pub fn clear(&mut self) {
        self.samples.clear();
    }

    /// The best sample at `at`, and the jitter: the root mean square of the others' offsets from it. `None` without
    /// samples.
    ///
    /// RFC 5905, section 10, sorts by delay. Here the distance decides, in which a sample's age counts: of an
    /// oscillator whose rate is unknown an old sample tells little, however short its way was.
    pub fn best(&self, at: Duration, rate: Rate) -> Option<(Sample, Nanos)> {
        let aged = || self.samples.iter().map(|sample| sample.aged(at, rate));
        // Of equals the latest.
        let best = aged().rev().min_by_key(Sample::distance)?;
        let squares: Nanos = aged().map(|sample| square(sample.offset - best.offset)).sum();
        let others = Nanos::try_from(self.samples.len()).unwrap_or(1) - 1;
        Some((best, (squares / others.max(1)).isqrt()))
    }
}

/// The square; of what is longer than some hours, that of some hours, so that sums do not overflow.
pub fn square(span: Nanos) -> Nanos {
    let span = span.clamp(-10_000 * SECOND, 10_000 * SECOND);
    span * span
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Rate = Rate { ppb: 0, skew_ppb: WANDER_PPB };

    fn sample(secs: u64, offset: Nanos, delay: Nanos) -> Sample {
        Sample { at: Duration::from_secs(secs), offset, delay, dispersion: 1_000 }
    }

    fn filter(samples: &[Sample]) -> Filter {
        let mut filter = Filter::default();
        samples.iter().for_each(|sample| filter.push(*sample));
        filter
    }

    /// RFC 5905, section 10: The sample of the shortest way is taken, and the jitter is that of the others.
    #[test]
    fn rfc5905_10_the_shortest_way_is_the_best() {
        let ms = 1_000_000;
        let filter = filter(&[sample(0, 0, 40 * ms), sample(1, 5 * ms, 20 * ms), sample(2, 9 * ms, 90 * ms)]);
        let (best, jitter) = filter.best(Duration::from_secs(2), KNOWN).expect("there are samples");
        assert_eq!((best.offset, best.delay), (5 * ms, 20 * ms));
        // The root of half of 5² and 4².
        assert_eq!(jitter, 4_527_692);
        assert_eq!(best.dispersion, 1_000 + 15_000 + 1, "a second has passed");
    }

    /// RFC 5905, section 10: The filter has eight samples, and the dispersion of each grows with its age.
    #[test]
    fn rfc5905_10_old_samples_leave_and_count_less() {
        let mut samples = vec![sample(0, 77, 10)];
        samples.extend((1..=8).map(|secs| sample(secs, 5, 1_000)));
        assert_eq!(
            filter(&samples[..8]).best(Duration::from_secs(8), KNOWN).map(|(best, _)| best.offset),
            Some(5)
        );
        let same = [sample(0, 1, 1_000), sample(8, 2, 1_000)];
        assert_eq!(filter(&same).best(Duration::from_secs(8), KNOWN).map(|(best, _)| best.offset), Some(2));
        let clock = Rate { ppb: 100_000, skew_ppb: 1 };
        let (best, _) = filter(&samples).best(Duration::from_secs(8), clock).expect("there are samples");
        assert_eq!(best.at, Duration::from_secs(8));
        assert_eq!(
            filter(&[sample(0, 0, 10)]).best(Duration::from_secs(10), clock).map(|(best, _)| best.offset),
            Some(1_000_000)
        );
        assert_eq!(Filter::default().best(Duration::ZERO, clock), None);
    }
}
