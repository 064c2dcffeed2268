//! When an account is polled, and its last outcomes.

use std::time::Duration;

use gatepost_ground::Instant;

/// The longest interval after repeated failures, unless the account's own is longer.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// The time after a start within which accounts are polled first.
pub const FIRST_WITHIN: Duration = Duration::from_secs(10);
/// The delay of a poll that continues an incomplete one.
const AT_ONCE: Duration = Duration::from_secs(1);
/// The failures beyond which the interval does not grow.
const DOUBLINGS_MAX: u32 = 16;

/// The outcome of a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All was fetched that there is to be fetched; `is_more`: as much as one connection fetches.
    Fetched {
        /// Whether there is more.
        is_more: bool,
    },
    /// It was not fetched, for a reason that ends by itself.
    Later(String),
    /// It was not fetched, and may never be.
    Failed(String),
    /// The server is not reachable, so it was not contacted.
    Unreachable,
}

/// When an account is polled next, and its last outcomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// When it is polled next.
    pub due: Instant,
    /// The failed polls since the last success.
    pub failures: u32,
    /// Whether the next poll waits for connectivity.
    pub waits_for_connectivity: bool,
    /// When it was last fetched completely.
    pub last_success: Option<Instant>,
    /// The last failure and its reason.
    pub last_failure: Option<(Instant, String)>,
    /// Whether that was the last completed poll.
    is_failing: bool,
}

impl Schedule {
    /// An account without history. `dice`: random, from 0 to 999.
    pub fn new(now: Instant, dice: u32) -> Self {
        let due = now + FIRST_WITHIN * dice.min(999) / 1000;
        Self {
            due,
            failures: 0,
            waits_for_connectivity: false,
            last_success: None,
            last_failure: None,
            is_failing: false,
        }
    }

    /// Polls it soon, as its settings have changed.
    pub fn hasten(&mut self, now: Instant, dice: u32) {
        let first = Self::new(now, dice);
        (self.due, self.failures, self.waits_for_connectivity) = (self.due.min(first.due), 0, false);
    }

    /// The reason why it is not fetched, if the last poll failed.
    pub fn trouble(&self) -> Option<&str> {
        let (_, why) = self.last_failure.as_ref().filter(|_| self.is_failing)?;
        Some(why)
    }

    /// Records the outcome of a poll of an account with the interval `every`. `dice`: random, from 0 to 999, so that
    /// accounts do not synchronise.
    pub fn looked(&mut self, now: Instant, every: Duration, outcome: &Outcome, dice: u32) {
        self.waits_for_connectivity = *outcome == Outcome::Unreachable;
        let wait = match outcome {
            Outcome::Fetched { is_more } => {
                (self.failures, self.last_success, self.is_failing) = (0, Some(now), false);
                if *is_more { AT_ONCE } else { every }
            }
            Outcome::Later(why) => {
                (self.last_failure, self.is_failing) = (Some((now, why.clone())), true);
                every
            }
            Outcome::Failed(why) => {
                (self.last_failure, self.is_failing) = (Some((now, why.clone())), true);
                let longest = LONGEST_WAIT.max(every);
                let wait = every.saturating_mul(1 << self.failures.min(DOUBLINGS_MAX)).min(longest);
                self.failures = self.failures.saturating_add(1);
                wait
            }
            Outcome::Unreachable => every,
        };
        // Between nine and eleven tenths.
        self.due = now + wait.saturating_mul(9000 + 2 * dice.min(999)) / 10_000;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(300);
    const NOW: Instant = Instant::from_secs(1000);

    fn wait(schedule: &Schedule) -> u64 {
        schedule.due.since(NOW).as_secs()
    }

    fn failed() -> Outcome {
        Outcome::Failed("refused".to_owned())
    }

    #[test]
    fn failures_double_the_wait_up_to_an_hour_and_a_success_ends_that() {
        let mut schedule = Schedule::new(NOW, 500);
        assert_eq!(wait(&schedule), 5);
        let waits: Vec<_> = (0..40)
            .map(|_| {
                schedule.looked(NOW, EVERY, &failed(), 500);
                wait(&schedule)
            })
            .collect();
        assert_eq!(waits[..6], [300, 600, 1200, 2400, 3600, 3600]);
        assert_eq!(waits[39], 3600);
        assert_eq!(schedule.trouble(), Some("refused"));
        schedule.looked(NOW + EVERY, EVERY, &Outcome::Fetched { is_more: false }, 500);
        assert_eq!((schedule.failures, schedule.trouble()), (0, None));
        // An account that is polled once a day is not polled more often after failures.
        schedule.looked(NOW, 24 * LONGEST_WAIT, &failed(), 500);
        assert_eq!(wait(&schedule), 24 * 3600);
    }

    #[test]
    fn what_ends_by_itself_is_looked_at_as_ever() {
        let mut schedule = Schedule::new(NOW, 0);
        for outcome in [Outcome::Later("in use".to_owned()), Outcome::Unreachable] {
            for _ in 0..3 {
                schedule.looked(NOW, EVERY, &outcome, 500);
                assert_eq!((wait(&schedule), schedule.failures), (300, 0), "{outcome:?}");
            }
        }
        assert!(schedule.waits_for_connectivity && schedule.trouble() == Some("in use"));
        schedule.looked(NOW, EVERY, &Outcome::Fetched { is_more: true }, 500);
        assert_eq!((wait(&schedule), schedule.waits_for_connectivity), (1, false));
    }

    #[test]
    fn accounts_do_not_keep_step() {
        let mut schedule = Schedule::new(NOW, 0);
        assert_eq!((wait(&schedule), wait(&Schedule::new(NOW, 999))), (0, 9));
        for (dice, expected) in [(0, 270), (500, 300), (999, 329), (u32::MAX, 329)] {
            schedule.looked(NOW, EVERY, &Outcome::Fetched { is_more: false }, dice);
            assert_eq!(wait(&schedule), expected);
        }
        schedule.hasten(NOW, 500);
        assert_eq!(wait(&schedule), 5);
        schedule.hasten(NOW, 999);
        assert_eq!(wait(&schedule), 5, "it is not put off");
    }
}
