//! Frames balance: nothing disappears unexplained.

use super::{Checker, Snapshot};

/// Compares the gateway's counters with each other.
pub struct FramesBalance;

impl Checker for FramesBalance {
    fn name(&self) -> &'static str {
        "frames-balance"
    }

    fn promise(&self) -> &'static str {
        "frames received and taken over = transmitted + flooded + local + consumed + held + dropped + handed over, \
         at every moment"
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let counters = &snapshot.counters;
        let accounted = counters.transmitted
            + counters.flooded
            + counters.local
            + counters.consumed
            + counters.held
            + counters.dropped
            + counters.handed_over;
        let came = counters.received + counters.taken_over;
        if came != accounted {
            return Err(format!("{came} frames came, {accounted} accounted for: {counters:?}"));
        }
        if counters.taken_over > counters.handed_over {
            return Err(format!("workers took over more than others handed over: {counters:?}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::snapshot;

    #[test]
    fn a_frame_that_is_nowhere_or_twice_is_told() {
        let mut checker = FramesBalance;
        let mut told = |received, dropped, [handed_over, taken_over]: [u64; 2]| {
            let mut snapshot = snapshot(1);
            snapshot.counters.handed_over = handed_over;
            snapshot.counters.taken_over = taken_over;
            snapshot.counters.received = received;
            snapshot.counters.transmitted = 3;
            snapshot.counters.dropped = dropped;
            checker.on_snapshot(&snapshot).is_err()
        };
        assert!(!told(5, 2, [0, 0]));
        assert!(told(6, 2, [0, 0]));
        assert!(told(5, 3, [0, 0]));
        assert!(!told(5, 2, [7, 7]) && !told(6, 2, [7, 6]));
        assert!(told(5, 2, [7, 6]));
        assert!(told(4, 2, [6, 7]), "out of nothing");
    }
}
