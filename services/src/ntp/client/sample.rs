//! The sample of one exchange with a source, and the clock filter, which picks the best of the last eight (RFC 5905,
//! section 10).
//!
//! The client measures in the machine's steady time, which nothing steps. An offset is the time of day minus steady
//! time, so samples remain comparable when the served time is slewed or stepped.

use std::collections::VecDeque;
use std::time::Duration;

/// Nanoseconds, which may be negative.
pub type Nanos = i128;

/// A second.
pub const SECOND: Nanos = 1_000_000_000;

/// The number of samples of a filter (NSTAGE). // RFC 5905, section 7.2
pub const SAMPLES_MAX: usize = 8;

/// The largest frequency error of an oscillator, in parts per 10^9: the largest that Linux corrects.
pub const RATE_PPB_MAX: Nanos = 500_000;

/// The frequency tolerance: the largest change of an oscillator's rate since its measurement, in parts per 10^9 (PHI).
// RFC 5905, section 7.2
pub const WANDER_PPB: Nanos = 15_000;

/// `span` in nanoseconds.
pub fn nanos(span: Duration) -> Nanos {
    Nanos::try_from(span.as_nanos()).unwrap_or(Nanos::MAX)
}

/// The estimated rate of the machine's oscillator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The rate at which the right time gains on steady time, in parts per 10^9.
    pub ppb: Nanos,
    /// The bound of its error, in parts per 10^9.
    pub skew_ppb: Nanos,
}

impl Rate {
    /// The rate of an oscillator without a measurement.
    pub const UNKNOWN: Self = Self { ppb: 0, skew_ppb: RATE_PPB_MAX };

    /// What the right time gains on steady time in `span`.
    pub fn gain(self, span: Nanos) -> Nanos {
        span.saturating_mul(self.ppb) / SECOND
    }

    /// The bound of that gain's error, rounded up.
    pub fn uncertainty(self, span: Nanos) -> Nanos {
        span.saturating_mul(self.skew_ppb) / SECOND + 1
    }
}

/// The measurement of one exchange with a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The steady time of the exchange's end.
    pub at: Duration,
    /// The source's time minus steady time.
    pub offset: Nanos,
    /// The round-trip delay.
    pub delay: Nanos,
    /// The bound of the offset's error besides half of the delay.
    pub dispersion: Nanos,
}

impl Sample {
    /// The sample as of a later time, by the oscillator's rate.
    pub fn aged(self, at: Duration, rate: Rate) -> Self {
        let age = nanos(at.saturating_sub(self.at));
        let (offset, dispersion) = (self.offset + rate.gain(age), self.dispersion + rate.uncertainty(age));
        Self { at: at.max(self.at), offset, dispersion, ..self }
    }

    /// The bound of the offset's error.
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
    /// Adds a sample, and drops the oldest of more than [`SAMPLES_MAX`].
    pub fn push(&mut self, sample: Sample) {
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// Drops all samples.
    pub fn clear(&mut self) {
        self.samples.clear();
    }

    /// The best sample at `at`, and the jitter: the root mean square of the others' offsets from it. `None` without
    /// samples.
    ///
    /// RFC 5905, section 10, sorts by delay. This filter sorts by distance, which grows with a sample's age: while the
    /// oscillator's rate is unknown, an old sample is worth little even if its delay was short.
    pub fn best(&self, at: Duration, rate: Rate) -> Option<(Sample, Nanos)> {
        let aged = || self.samples.iter().map(|sample| sample.aged(at, rate));
        // The latest, if several are equal.
        let best = aged().rev().min_by_key(Sample::distance)?;
        let squares: Nanos = aged().map(|sample| square(sample.offset - best.offset)).sum();
        let others = Nanos::try_from(self.samples.len()).unwrap_or(1) - 1;
        Some((best, (squares / others.max(1)).isqrt()))
    }
}

/// The square of `span`, which is limited to 10,000 s, so that sums do not overflow.
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

    /// RFC 5905, section 10: The sample with the shortest delay is the best, and the jitter is that of the others.
    #[test]
    fn rfc5905_10_the_shortest_delay_is_the_best() {
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
    fn rfc5905_10_old_samples_are_dropped_and_count_less() {
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
