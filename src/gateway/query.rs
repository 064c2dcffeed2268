//! Queries to the workers. All workers answer each query, between two batches. The copied data is bounded, and so is
//! the delay of frames.

use gatepost_dataplane::bridge::Station;
use gatepost_dataplane::drop_log::DropsPart;
use gatepost_dataplane::explain::Explanation;
use gatepost_dataplane::flow::FlowEvents;
use gatepost_dataplane::neighbor::{Neighbor, State};
use gatepost_dataplane::{Batch, Counters, Dataplane, FlowInfo};
use gatepost_ground::{Instant, InterfaceId};
use tokio::sync::oneshot;

use super::ports::{PortStatus, Ports};
use super::requests::Merge;
use crate::device::Port;

/// A query, with the channel for its answer.
#[derive(Debug)]
pub enum Query {
    /// The counters.
    Counters(oneshot::Sender<CountersAnswer>),
    /// The flows: their number, and at most this number of them.
    Flows(usize, oneshot::Sender<FlowsAnswer>),
    /// A part of the flows.
    FlowsFrom {
        /// From the flow with this number on.
        from: u32,
        /// Those of at most so many numbers.
        count_max: u32,
        /// The channel for the answer.
        reply: oneshot::Sender<FlowsPart>,
    },
    /// The machines on the interfaces' networks.
    Neighbors(oneshot::Sender<NeighborsAnswer>),
    /// The last drops.
    Drops {
        /// From the drop with this number on.
        from: u64,
        /// At most this number of them.
        count_max: usize,
        /// The channel for the answer.
        reply: oneshot::Sender<DropsAnswer>,
    },
    /// The flows that were opened and that have ended. Each such query keeps them remembered for some seconds.
    FlowEvents {
        /// From the event with this number on.
        from: u64,
        /// At most this number of them.
        count_max: usize,
        /// The channel for the answer.
        reply: oneshot::Sender<FlowEventsAnswer>,
    },
    /// What would become of the frame in a batch. The caller provides the batch, so that the worker need not.
    Explain {
        /// The batch.
        batch: Box<Batch>,
        /// The channel for the answer.
        reply: oneshot::Sender<ExplanationAnswer>,
    },
}

/// The last drops of each worker, in the order of the workers.
#[derive(Debug, Default)]
pub struct DropsAnswer {
    /// The drops.
    pub by_worker: Vec<DropsPart>,
}

/// The flows that were opened and have ended, of each worker, in the order of the workers.
#[derive(Debug, Default)]
pub struct FlowEventsAnswer {
    /// The flows.
    pub by_worker: Vec<FlowEvents>,
}

/// One worker's explanation of a frame.
#[derive(Debug)]
pub struct ExplanationAnswer {
    /// The decisions of the stages.
    pub explanation: Explanation,
    /// The batch with the frame, as it would be after the stages, and its verdict.
    pub batch: Box<Batch>,
}

/// The counters.
#[derive(Debug, Default)]
pub struct CountersAnswer {
    /// The counters of frames.
    pub counters: Counters,
    /// The status of each port.
    pub ports: Vec<PortStatus>,
}

/// The flows of all workers.
#[derive(Debug, Default)]
pub struct FlowsAnswer {
    /// Their number.
    pub total: usize,
    /// The flows of each worker, up to the requested number.
    pub by_worker: Vec<Vec<FlowInfo>>,
}

/// A part of the flows of all workers.
#[derive(Debug, Default)]
pub struct FlowsPart {
    /// The flows.
    pub flows: Vec<FlowInfo>,
    /// One more than the greatest number of a flow.
    pub end: u32,
}

impl FlowsAnswer {
    /// At most `count_max` flows, the same number from each worker as far as it has them; the others fill up.
    pub fn fair_part(mut self, count_max: usize) -> Vec<FlowInfo> {
        self.by_worker.sort_by_key(Vec::len);
        let mut part = Vec::new();
        let mut workers_left = self.by_worker.len();
        for flows in self.by_worker {
            let share = (count_max - part.len()) / workers_left;
            part.extend(flows.into_iter().take(share));
            workers_left -= 1;
        }
        part
    }
}

/// The machines on the interfaces' networks.
#[derive(Debug, Default)]
pub struct NeighborsAnswer {
    /// The neighbours.
    pub neighbors: Vec<Neighbor>,
    /// The stations that the bridges know, each with its interface.
    pub stations: Vec<(InterfaceId, Station)>,
}

impl Merge for CountersAnswer {
    fn merge(&mut self, other: Self) {
        self.counters += &other.counters;
        if self.ports.is_empty() {
            self.ports = other.ports;
        } else {
            self.ports.iter_mut().zip(&other.ports).for_each(|(port, other)| port.merge(other));
        }
    }
}

impl Merge for DropsAnswer {
    fn merge(&mut self, other: Self) {
        self.by_worker.extend(other.by_worker);
    }
}

impl Merge for FlowEventsAnswer {
    fn merge(&mut self, other: Self) {
        self.by_worker.extend(other.by_worker);
    }
}

impl Merge for FlowsAnswer {
    fn merge(&mut self, other: Self) {
        self.total += other.total;
        self.by_worker.extend(other.by_worker);
    }
}

impl Merge for FlowsPart {
    fn merge(&mut self, other: Self) {
        self.flows.extend(other.flows);
        self.end = self.end.max(other.end);
    }
}

impl Merge for NeighborsAnswer {
    /// Merges each machine into one entry: that of the worker with the best or the latest knowledge of it. Held frames
    /// are added up.
    fn merge(&mut self, other: Self) {
        let Self { neighbors, stations } = self;
        neighbors.extend(other.neighbors);
        neighbors.sort_by_key(|neighbor| (neighbor.interface, neighbor.ip, state_rank(neighbor.state)));
        neighbors.dedup_by(|also, known| {
            let is_same = (also.interface, also.ip) == (known.interface, known.ip);
            known.held += if is_same { also.held } else { 0 };
            is_same
        });
        stations.extend(other.stations);
        stations.sort_by_key(|(interface, station)| (*interface, station.mac, station.age));
        stations.dedup_by_key(|(interface, station)| (*interface, station.mac));
    }
}

/// The rank of a neighbour's state: the lowest is the best known.
fn state_rank(state: State) -> u8 {
    match state {
        State::Reachable => 0,
        State::Probe => 1,
        State::Stale => 2,
        State::Contested => 3,
        State::Incomplete => 4,
        State::Unreachable => 5,
    }
}

impl Query {
    /// Answers the query. A caller that has stopped waiting gets no answer.
    pub(super) fn answer<P: Port>(self, now: Instant, dataplane: &mut Dataplane, ports: &Ports<P>) {
        match self {
            Self::Counters(reply) => {
                let counters = dataplane.counters().clone();
                _ = reply.send(CountersAnswer { counters, ports: ports.status() });
            }
            Self::Flows(count_max, reply) => {
                let flows = dataplane.flows().take(count_max).collect();
                _ = reply.send(FlowsAnswer { total: dataplane.flows_len(), by_worker: vec![flows] });
            }
            Self::FlowsFrom { from, count_max, reply } => {
                let flows = dataplane.flows_from(from, count_max).collect();
                _ = reply.send(FlowsPart { flows, end: dataplane.flows_end() });
            }
            Self::Drops { from, count_max, reply } => {
                _ = reply.send(DropsAnswer { by_worker: vec![dataplane.drops(from, count_max)] });
            }
            Self::FlowEvents { from, count_max, reply } => {
                let by_worker = vec![dataplane.watch_flows(now, from, count_max)];
                _ = reply.send(FlowEventsAnswer { by_worker });
            }
            Self::Explain { mut batch, reply } => {
                let explanation = dataplane.explain(now, &mut batch);
                _ = reply.send(ExplanationAnswer { explanation, batch });
            }
            Self::Neighbors(reply) => {
                let interface = |station: &Station| dataplane.config().interface_of(station.port);
                let stations =
                    dataplane.stations(now).filter_map(|station| Some((interface(&station)?, station)));
                let neighbors = dataplane.neighbors(now).collect();
                _ = reply.send(NeighborsAnswer { neighbors, stations: stations.collect() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use gatepost_dataplane::flow::{State as FlowState, Traffic};
    use gatepost_dataplane::key::{Endpoint, FlowKey};
    use gatepost_ground::wire::Protocol;
    use gatepost_ground::{MacAddr, PortId};

    use super::super::ports::PortCounters;
    use super::*;
    use crate::device::LinkState;

    fn merged<T: Merge>(answers: impl IntoIterator<Item = T>) -> T {
        answers.into_iter().fold(T::default(), |mut merged, answer| {
            merged.merge(answer);
            merged
        })
    }

    fn neighbor(interface: InterfaceId, host: u8, state: State, held: usize) -> Neighbor {
        Neighbor { interface, ip: IpAddr::from([192, 0, 2, host]), mac: None, state, held }
    }

    fn station(interface: InterfaceId, host: u8, port: u8, age_secs: u64) -> (InterfaceId, Station) {
        let mac = MacAddr([2, 0, 0, 0, 0, host]);
        (interface, Station { mac, port: PortId(port), age: Duration::from_secs(age_secs) })
    }

    #[test]
    fn of_many_flows_each_worker_gives_a_fair_part() {
        let flow = |worker: u8| {
            let end = |host| Endpoint::new(IpAddr::from([192, 0, 2, host]), 1);
            let key = FlowKey { protocol: Protocol::UDP, source: end(worker), destination: end(0) };
            let (state, expires) = (FlowState::Udp, Instant::ZERO);
            FlowInfo { original: key, reply: key, state, expires, traffic: [Traffic::default(); 2] }
        };
        let part_of = |counts: &[usize], count_max| {
            let answers = (0..).zip(counts).map(|(worker, count)| FlowsAnswer {
                total: *count,
                by_worker: vec![vec![flow(worker); (*count).min(count_max)]],
            });
            let answer = merged(answers);
            assert_eq!(answer.total, counts.iter().sum::<usize>());
            let part = answer.fair_part(count_max);
            (0..)
                .zip(counts)
                .map(|(worker, _)| part.iter().filter(|of| **of == flow(worker)).count())
                .collect()
        };
        let expect = |counts: &[usize], count_max, expected: &[usize]| {
            let part: Vec<usize> = part_of(counts, count_max);
            assert_eq!(part, expected, "{counts:?}");
        };
        expect(&[50, 50], 10, &[5, 5]);
        expect(&[50, 2, 50, 0], 10, &[4, 2, 4, 0]);
        expect(&[1, 2, 3], 10, &[1, 2, 3]);
        expect(&[50, 50, 50], 10, &[3, 3, 4]);
        expect(&[50], 0, &[0]);
        expect(&[], 10, &[]);
    }

    #[test]
    fn a_machine_that_several_workers_know_is_one() {
        let answers = [
            NeighborsAnswer {
                neighbors: vec![
                    neighbor(InterfaceId(1), 1, State::Stale, 0),
                    neighbor(InterfaceId(0), 2, State::Reachable, 0),
                ],
                stations: vec![station(InterfaceId(0), 1, 0, 30), station(InterfaceId(1), 1, 3, 5)],
            },
            NeighborsAnswer {
                neighbors: vec![
                    neighbor(InterfaceId(0), 2, State::Incomplete, 3),
                    neighbor(InterfaceId(0), 1, State::Unreachable, 0),
                ],
                stations: vec![station(InterfaceId(0), 1, 1, 20), station(InterfaceId(0), 2, 1, 40)],
            },
            NeighborsAnswer {
                neighbors: vec![neighbor(InterfaceId(0), 2, State::Probe, 2)],
                stations: vec![station(InterfaceId(0), 1, 0, 25)],
            },
        ];
        let NeighborsAnswer { neighbors, stations } = merged(answers);
        let expected = [
            neighbor(InterfaceId(0), 1, State::Unreachable, 0),
            neighbor(InterfaceId(0), 2, State::Reachable, 5),
            neighbor(InterfaceId(1), 1, State::Stale, 0),
        ];
        assert_eq!(neighbors, expected);
        let expected = [
            station(InterfaceId(0), 1, 1, 20),
            station(InterfaceId(0), 2, 1, 40),
            station(InterfaceId(1), 1, 3, 5),
        ];
        assert_eq!(stations, expected);
    }

    #[test]
    fn numbers_add_up_and_a_port_is_as_bad_as_any_has_it() {
        let answer = |received, state| {
            let counters = Counters { received, ..Counters::default() };
            let of_port = PortCounters {
                received,
                octets_received: 10 * received,
                transmitted: 1,
                octets_transmitted: 60,
                backpressure: 2,
                down: 3,
                refused: 4,
            };
            let port = PortStatus { name: "eth0".to_owned(), state, counters: of_port };
            CountersAnswer {
                counters,
                ports: vec![port.clone(), PortStatus { state: LinkState::Up, ..port }],
            }
        };
        let CountersAnswer { counters, ports } = merged([
            answer(10, LinkState::Up),
            answer(20, LinkState::Down),
            answer(30, LinkState::Unattached),
        ]);
        assert_eq!(counters.received, 60);
        let sum = PortCounters {
            received: 60,
            octets_received: 600,
            transmitted: 3,
            octets_transmitted: 180,
            backpressure: 6,
            down: 9,
            refused: 12,
        };
        assert!(ports.iter().all(|port| port.counters == sum));
        assert_eq!(ports.iter().map(|port| port.state).collect::<Vec<_>>(), [LinkState::Down, LinkState::Up]);
    }
}
