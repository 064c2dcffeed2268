//! No lost wake-ups: a thread that leaves work for another thread wakes it.

use super::{Checker, Sleeper};

/// Reports every thread that goes to sleep with work left.
pub struct NoLostWakeups;

impl Checker for NoLostWakeups {
    fn name(&self) -> &'static str {
        "no-lost-wakeups"
    }

    fn promise(&self) -> &'static str {
        "no worker sleeps while frames, notices, requests or a configuration wait for it, nor do the services while \
         frames do"
    }

    fn on_oversleeping(&mut self, sleeper: Sleeper) -> Result<(), String> {
        let who = match sleeper {
            Sleeper::Worker(number) => format!("worker {number} sleeps"),
            Sleeper::Services => "the services sleep".to_owned(),
        };
        Err(format!("{who} although work was left, as no thread has woken it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::snapshot;

    #[test]
    fn every_thread_that_oversleeps_is_told() {
        let mut checker = NoLostWakeups;
        assert_eq!(checker.on_snapshot(&snapshot(1)), Ok(()));
        for (sleeper, who) in [(Sleeper::Worker(2), "worker 2 sleeps"), (Sleeper::Services, "services sleep")]
        {
            let told = checker.on_oversleeping(sleeper).expect_err("a promise is broken");
            assert!(told.contains(who), "{told}");
        }
    }
}
