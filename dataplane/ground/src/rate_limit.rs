//! Rate limits of the gateway's answers: token buckets.

use core::time::Duration;

use crate::time::Instant;

/// A token bucket: admits a number per second and, after a pause, a burst. (RFC 1812, section 4.3.2.8)
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    interval: Duration,
    burst: Duration,
    /// When the bucket is full again.
    full_at: Instant,
}

impl RateLimit {
    /// The usual limit of ICMP errors: 1000 per second, 50 at once.
    pub const ICMP_ERRORS: Self = Self::new(1000, 50);

    /// A full bucket that `per_sec` tokens a second flow into and that holds `burst` tokens; either is
    /// at least one.
    pub const fn new(per_sec: u32, burst: u32) -> Self {
        let per_sec = if per_sec == 0 { 1 } else { per_sec };
        Self::once_in(Duration::from_micros(1_000_000 / per_sec as u64), burst)
    }

    /// A full bucket that one token flows into in each `interval` and that holds `burst` tokens, at least one.
    pub const fn once_in(interval: Duration, burst: u32) -> Self {
        Self { interval, burst: interval.saturating_mul(burst.saturating_sub(1)), full_at: Instant::ZERO }
    }

    /// One of `count` equal parts of this limit. Each part is a bucket of its own and holds at least one token.
    pub fn divided(self, count: u8) -> Self {
        let interval = self.interval.saturating_mul(count.into());
        let burst = self.burst.saturating_sub(interval.saturating_sub(self.interval));
        Self { interval, burst, ..self }
    }

    /// Takes a token, if there is one.
    pub fn admit(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now);
        let admits = full_at.since(now) <= self.burst;
        if admits {
            self.full_at = full_at + self.interval;
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1812, section 4.3.2.8: Errors are limited.
    #[test]
    fn rfc1812_4_3_2_8_errors_are_limited() {
        let mut limit = RateLimit::new(10, 3);
        let at = |millis: u64| Instant::from_millis(5000 + millis);
        let admitted = [at(0); 5].map(|now| limit.admit(now));
        assert_eq!(admitted, [true, true, true, false, false]);
        assert!(!limit.admit(at(99)));
        assert!(limit.admit(at(100)));
        assert!(!limit.admit(at(199)));
        let admitted = [at(10_000); 4].map(|now| limit.admit(now));
        assert_eq!(admitted, [true, true, true, false], "a pause fills no more than the bucket");
    }

    #[test]
    fn a_limit_is_divided() {
        let parts = [RateLimit::new(1000, 50).divided(4); 4];
        let admitted = |millis: u64, mut part: RateLimit| {
            (0..).take_while(|_| part.admit(Instant::from_millis(5000 + millis))).count()
        };
        assert_eq!(parts.map(|part| admitted(0, part)), [12; 4]);
        let mut part = parts[0];
        while part.admit(Instant::from_millis(5000)) {}
        assert_eq!(admitted(8, part), 2);
        assert_eq!(admitted(0, RateLimit::new(10, 3).divided(16)), 1);
    }
}
