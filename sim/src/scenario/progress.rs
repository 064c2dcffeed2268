//! The progress of a run.

use std::ops::ControlFlow;
use std::time::Duration;

/// The progress of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How long the office has run, in its own time.
    pub simulated: Duration,
    /// How long it will run in all.
    pub lasting: Duration,
    /// Machines, the gateway included.
    pub hosts: usize,
    /// Frames on all segments.
    pub frames: u64,
    /// The events so far: faults, and their ends.
    pub events: usize,
}

/// Gets the progress of a run once a simulated second, and can end the run. A watcher does not change the run.
pub type Watch<'a> = &'a mut dyn FnMut(&Progress) -> ControlFlow<()>;
