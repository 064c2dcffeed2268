//! Frames balance: nothing disappears unexplained.

use super::{Checker, Snapshot};

/// Compares the gateway's counters with each other.
pub struct FramesBalance;

impl Checker for FramesBalance {
    fn name(&self) -> &'static str {
        "frames-balance"
    }

    fn promise(&self) -> &'static str {
        "frames received = transmitted + flooded + local + consumed + held + dropped, at every moment"
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let counters = &snapshot.counters;
        let accounted = counters.transmitted
            + counters.flooded
            + counters.local
            + counters.consumed
            + counters.held
            + counters.dropped;
        if counters.received == accounted {
            return Ok(());
        }
        Err(format!("{} frames received, {accounted} accounted for: {counters:?}", counters.received))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::snapshot;

    #[test]
    fn a_frame_that_is_nowhere_or_twice_is_told() {
        let mut checker = FramesBalance;
        let mut told = |received, dropped| {
            let mut snapshot = snapshot(1);
            snapshot.counters.received = received;
            snapshot.counters.transmitted = 3;
            snapshot.counters.dropped = dropped;
            checker.on_snapshot(&snapshot).is_err()
        };
        assert!(!told(5, 2));
        assert!(told(6, 2));
        assert!(told(5, 3));
    }
}
