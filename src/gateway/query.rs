//! Questions to a worker, answered between two batches.

use gatepost_dataplane::{Counters, Dataplane, Instant};
use tokio::sync::oneshot;

use super::ports::{PortStatus, Ports};
use crate::port::Port;

/// Questions that may wait for a worker.
pub const QUERIES_MAX: usize = 16;

/// A question, with the place for its answer.
#[derive(Debug)]
pub enum Query {
    /// What happened to the frames, and at each port.
    Counters(oneshot::Sender<(Counters, Vec<PortStatus>)>),
}

impl Query {
    /// Answers it; whoever has stopped waiting is not told.
    pub(super) fn answer<P: Port>(self, now: Instant, dataplane: &Dataplane, ports: &Ports<P>) {
        match self {
            Self::Counters(reply) => _ = reply.send((dataplane.counters().clone(), ports.status())),
        }
    }
}
