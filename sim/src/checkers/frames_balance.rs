//! Frames balance: every frame is accounted for.

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
        let frames = &counters.frames;
        let accounted = frames.transmitted
            + frames.flooded
            + frames.local
            + frames.consumed
            + frames.held
            + counters.dropped
            + frames.handed_over;
        let came = frames.received + frames.taken_over;
        if came != accounted {
            return Err(format!("{came} frames came, {accounted} accounted for: {counters:?}"));
        }
        if frames.taken_over > frames.handed_over {
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
        let mut reported = |received, dropped, [handed_over, taken_over]: [u64; 2]| {
            let mut snapshot = snapshot(1);
            snapshot.counters.frames.handed_over = handed_over;
            snapshot.counters.frames.taken_over = taken_over;
            snapshot.counters.frames.received = received;
            snapshot.counters.frames.transmitted = 3;
            snapshot.counters.dropped = dropped;
            checker.on_snapshot(&snapshot).is_err()
        };
        assert!(!reported(5, 2, [0, 0]));
        assert!(reported(6, 2, [0, 0]));
        assert!(reported(5, 3, [0, 0]));
        assert!(!reported(5, 2, [7, 7]) && !reported(6, 2, [7, 6]));
        assert!(reported(5, 2, [7, 6]));
        assert!(reported(4, 2, [6, 7]), "out of nothing");
    }
}
