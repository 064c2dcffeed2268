//! Questions to a worker, answered between two batches. What they copy is bounded, and so is the time that
//! they keep frames waiting.

use gatepost_dataplane::bridge::Station;
use gatepost_dataplane::neighbor::Neighbor;
use gatepost_dataplane::{Counters, Dataplane, FlowInfo, Instant};
use tokio::sync::oneshot;

use super::ports::{PortStatus, Ports};
use crate::port::Port;

/// Questions that may wait for a worker.
pub const QUERIES_MAX: usize = 16;

/// A question, with the place for its answer.
#[derive(Debug)]
pub enum Query {
    /// What happened so far.
    Counters(oneshot::Sender<CountersAnswer>),
    /// The flows there are: their number, and at most so many of them.
    Flows(usize, oneshot::Sender<FlowsAnswer>),
    /// The machines on the segments.
    Neighbors(oneshot::Sender<NeighborsAnswer>),
}

/// What happened so far.
#[derive(Debug)]
pub struct CountersAnswer {
    /// To the frames.
    pub counters: Counters,
    /// At each port.
    pub ports: Vec<PortStatus>,
}

/// The flows there are.
#[derive(Debug)]
pub struct FlowsAnswer {
    /// Their number.
    pub total: usize,
    /// As many of them as were wanted.
    pub flows: Vec<FlowInfo>,
}

/// The machines on the segments.
#[derive(Debug)]
pub struct NeighborsAnswer {
    /// Those spoken to.
    pub neighbors: Vec<Neighbor>,
    /// Those heard by the bridges.
    pub stations: Vec<Station>,
}

impl Query {
    /// Answers it; whoever has stopped waiting is not told.
    pub(super) fn answer<P: Port>(self, now: Instant, dataplane: &Dataplane, ports: &Ports<P>) {
        match self {
            Self::Counters(reply) => {
                let counters = dataplane.counters().clone();
                _ = reply.send(CountersAnswer { counters, ports: ports.status() });
            }
            Self::Flows(count_max, reply) => {
                let flows = dataplane.flows().take(count_max).collect();
                _ = reply.send(FlowsAnswer { total: dataplane.flows_len(), flows });
            }
            Self::Neighbors(reply) => {
                let neighbors = dataplane.neighbors(now).collect();
                _ = reply.send(NeighborsAnswer { neighbors, stations: dataplane.stations(now).collect() });
            }
        }
    }
}
