//! The round-trip time and the retransmission time-out (RFC 6298).

use std::time::Duration;

/// The time-out before anything was measured. (RFC 6298, section 2.1)
const RTO_INITIAL: Duration = Duration::from_secs(1);
/// The least time-out. RFC 6298, section 2.4 wants a second, which slows a transfer over a lossy path down; Linux uses
/// this (`TCP_RTO_MIN`).
const RTO_MIN: Duration = Duration::from_millis(200);
/// The longest time-out. (RFC 6298, section 2.5)
const RTO_MAX: Duration = Duration::from_secs(60);
/// The most doublings: [`RTO_MIN`] doubled nine times exceeds [`RTO_MAX`], so more have no effect.
const BACKOFF_MAX: u32 = 9;

/// The round-trip times of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rtt {
    smoothed: Option<Duration>,
    variation: Duration,
    least: Option<Duration>,
    backoff: u32,
}

impl Rtt {
    /// Takes a measurement into account. It must not be of a segment that was sent twice. (RFC 6298, section 3)
    pub(super) fn measured(&mut self, rtt: Duration) {
        // RFC 6298, section 2.2; RFC 6298, section 2.3
        let (smoothed, variation) = match self.smoothed {
            None => (rtt, rtt / 2),
            Some(smoothed) => {
                let variation = (self.variation * 3 + smoothed.abs_diff(rtt)) / 4;
                ((smoothed * 7 + rtt) / 8, variation)
            }
        };
        (self.smoothed, self.variation) = (Some(smoothed), variation);
        self.least = Some(self.least.map_or(rtt, |least| least.min(rtt)));
    }

    /// The smoothed round-trip time.
    pub(super) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The least that was measured.
    pub(super) fn least(&self) -> Option<Duration> {
        self.least
    }

    /// How long to wait for an acknowledgement.
    pub(super) fn timeout(&self) -> Duration {
        let base = match self.smoothed {
            None => RTO_INITIAL,
            Some(smoothed) => (smoothed + self.variation * 4).clamp(RTO_MIN, RTO_MAX),
        };
        (base * (1 << self.backoff)).min(RTO_MAX)
    }

    /// Doubles the time-out, as it has passed. (RFC 6298, section 5.5)
    pub(super) fn back_off(&mut self) {
        self.backoff = (self.backoff + 1).min(BACKOFF_MAX);
    }

    /// Something new was acknowledged.
    pub(super) fn progressed(&mut self) {
        self.backoff = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// RFC 6298, section 2: The time-out follows the smoothed time and its variation.
    #[test]
    fn rfc6298_2_the_time_out_follows_the_smoothed_time_and_its_variation() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(), ms(1000));
        rtt.measured(ms(100));
        assert_eq!((rtt.smoothed(), rtt.timeout()), (Some(ms(100)), ms(300)));
        rtt.measured(ms(180));
        assert_eq!(rtt.smoothed(), Some(ms(110)));
        assert_eq!(rtt.timeout(), ms(110) + Duration::from_micros(57_500) * 4);
        assert_eq!(rtt.least(), Some(ms(100)));
    }

    /// RFC 6298, section 5.5: The time-out doubles up to a maximum.
    #[test]
    fn rfc6298_5_5_the_time_out_doubles_up_to_a_maximum() {
        let mut rtt = Rtt::default();
        let timeouts: Vec<u64> = (0..8)
            .map(|_| {
                let timeout = rtt.timeout().as_secs();
                rtt.back_off();
                timeout
            })
            .collect();
        assert_eq!(timeouts, [1, 2, 4, 8, 16, 32, 60, 60]);
        rtt.progressed();
        assert_eq!(rtt.timeout().as_secs(), 1);
    }

    #[test]
    fn a_path_that_is_quick_is_not_timed_out_at_once() {
        let mut rtt = Rtt::default();
        (0..20).for_each(|_| rtt.measured(ms(1)));
        assert_eq!(rtt.timeout(), RTO_MIN);
    }
}
