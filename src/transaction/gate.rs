//! What decides between the replacement of the file and the deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const OPEN: u8 = 0;
const PASSED: u8 = 1;
const CLOSED: u8 = 2;

/// A gate that is passed or closed, whatever comes first. Its clones are one gate.
///
/// The job that replaces the file passes it just before the rename, on a thread of its own. The deadline closes it. So a
/// job that hangs before the rename can neither delay the deadline nor replace the file after it.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<AtomicU8>);

impl Gate {
    /// Passes the gate. Returns whether it was open: it cannot be closed any more then.
    pub fn pass(&self) -> bool {
        self.turn_to(PASSED)
    }

    /// Closes the gate. Returns whether it was open: nobody passes it any more then.
    pub fn close(&self) -> bool {
        self.turn_to(CLOSED)
    }

    fn turn_to(&self, state: u8) -> bool {
        self.0.compare_exchange(OPEN, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_first_decides() {
        let (job, deadline) = (Gate::default(), Gate::default());
        assert!(job.pass() && !job.clone().close());
        assert!(deadline.clone().close() && !deadline.pass());
    }
}
