//! The rate limit of log lines that other machines can cause.

use std::time::Duration;

use gatepost_ground::Instant;

/// The interval of repeated log lines, unless another one is given.
pub(crate) const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The rate limit of one kind of log line.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    /// The beginning of the interval, and the lines logged since.
    since: Option<(Instant, u32)>,
}

impl LogLimit {
    /// Whether to log it now: once in each [`LOG_INTERVAL`].
    pub fn is_due(&mut self, now: Instant) -> bool {
        self.allows(now, 1)
    }

    /// Whether to log it now, at most `lines_max` times in each [`LOG_INTERVAL`].
    pub fn allows(&mut self, now: Instant, lines_max: u32) -> bool {
        self.allows_in(now, LOG_INTERVAL, lines_max)
    }

    /// Whether to log it now, at most `lines_max` times in each `interval`.
    pub fn allows_in(&mut self, now: Instant, interval: Duration, lines_max: u32) -> bool {
        let current = self.since.filter(|(since, _)| now.since(*since) < interval);
        let (since, lines) = current.unwrap_or((now, 0));
        let is_allowed = lines < lines_max;
        self.since = Some((since, lines + u32::from(is_allowed)));
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_logged_once_in_a_minute() {
        let mut limit = LogLimit::default();
        let due = [0, 1, 59, 60, 61, 200].map(|secs| limit.is_due(Instant::from_secs(secs)));
        assert_eq!(due, [true, false, false, true, false, true]);
    }

    #[test]
    fn so_many_lines_are_logged_in_an_interval() {
        let mut limit = LogLimit::default();
        let mut allowed = |secs| (0..5).filter(|_| limit.allows(Instant::from_secs(secs), 3)).count();
        assert_eq!([10, 69, 70].map(&mut allowed), [3, 0, 3]);
        let hourly = Duration::from_secs(3600);
        let mut limit = LogLimit::default();
        let due = [0, 60, 3599, 3600].map(|secs| limit.allows_in(Instant::from_secs(secs), hourly, 1));
        assert_eq!(due, [true, false, false, true]);
    }
}
