//! The progress of a run.

use std::ops::ControlFlow;
use std::time::Duration;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How long the office has run, in its own time.
    pub simulated: Duration,
    /// How long it will.
    pub lasting: Duration,
    /// Machines, the gateway included.
    pub hosts: usize,
    /// Frames on all segments.
    pub frames: u64,
    /// What has happened to the office so far: faults, and what ends them.
    pub events: usize,
}

/// Told how far a run is, once a simulated second; it can end the run. The run is the same whoever watches.
pub type Watch<'a> = &'a mut dyn FnMut(&Progress) -> ControlFlow<()>;
