//! The dataplanes of a gateway with several workers, with queues that carry frames and notices between them.
//!
//! A random one of the workers receives each frame. The first frames of a batch are explained before it is processed,
//! of all batches in most tests, and the explanation must be what comes of them: so each test of the packet path is one
//! of explanations, too.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use gatepost_dataplane::alert::Alert;
use gatepost_dataplane::binding::Bindings;
use gatepost_dataplane::bridge::Station;
use gatepost_dataplane::drop_log::Drop;
use gatepost_dataplane::explain::Step;
use gatepost_dataplane::flow::{Opened, Pinhole};
use gatepost_dataplane::key::Endpoint;
use gatepost_dataplane::neighbor::Neighbor;
use gatepost_dataplane::{
    Batch, Config, Counters, Dataplane, DropReason, FlowInfo, Ingress, PinholeError, Shard, Verdict,
};
use gatepost_ground::wire::Protocol;
use gatepost_ground::{Frame, Instant, Offload, PortSet};

use super::{Sent, on_the_wire, sent_by};

/// The number of workers: the crate that runs tests with a team has it in its name.
pub fn workers() -> u8 {
    if env!("CARGO_CRATE_NAME") == "team_of_four" { 4 } else { 1 }
}

pub struct Team {
    workers: Vec<Worker>,
    /// The state of the random choice.
    lot: u64,
    /// The worker that gave the last verdict on a received frame.
    last: usize,
    /// The number of batches so far.
    batches: usize,
    /// The frames that the host stack got in the last run.
    pub delivered: Vec<Vec<u8>>,
}

struct Worker {
    dataplane: Dataplane,
    batch: Batch,
    /// The batch whose frames are explained.
    explained: Batch,
    queue: VecDeque<Item>,
}

/// A frame on its way to a worker.
struct Item {
    ingress: Ingress,
    frame: Frame,
    /// The number of the frame among those handed in; `None` for other frames.
    number: Option<usize>,
}

/// The outcome of one frame that was handed in.
pub struct Fate {
    pub verdict: Verdict,
    /// The sent frames, as they are on the wire.
    pub frames: Vec<Vec<u8>>,
}

impl Team {
    pub fn new(count: u8, config: Config, lot: u64, now: Instant) -> Self {
        let config = Arc::new(config);
        let worker = |index| {
            let shard = Shard::new(index, count).expect("no more than there may be");
            let dataplane = Dataplane::new(Arc::clone(&config), shard, [7; 32], now);
            Worker { dataplane, batch: Batch::new(2048), explained: Batch::new(2048), queue: VecDeque::new() }
        };
        Self {
            workers: (0..count).map(worker).collect(),
            lot: lot | 1,
            last: 0,
            batches: 0,
            delivered: Vec::new(),
        }
    }

    pub fn config(&self) -> &Config {
        self.workers[0].dataplane.config()
    }

    pub fn configure(&mut self, now: Instant, config: Config) {
        let config = Arc::new(config);
        for worker in &mut self.workers {
            worker.dataplane.configure(now, Arc::clone(&config));
        }
    }

    pub fn set_bindings(&mut self, now: Instant, bindings: Bindings) {
        let bindings = Arc::new(bindings);
        for worker in &mut self.workers {
            worker.dataplane.set_bindings(now, Arc::clone(&bindings));
        }
    }

    /// The answer of the worker that owns the inside port.
    pub fn open_pinhole(
        &mut self,
        now: Instant,
        pinhole: &Pinhole,
        lifetime: Duration,
    ) -> Result<Opened, PinholeError> {
        let workers = self.workers.iter_mut();
        let answers: Vec<_> =
            workers.filter_map(|worker| worker.dataplane.open_pinhole(now, pinhole, lifetime)).collect();
        let [answer] = answers[..] else { panic!("one worker answers: {answers:?}") };
        answer
    }

    /// As [`Team::open_pinhole`].
    pub fn close_pinholes(&mut self, now: Instant, protocol: Protocol, inside: Endpoint) -> bool {
        let workers = self.workers.iter_mut();
        let answers: Vec<_> =
            workers.filter_map(|worker| worker.dataplane.close_pinholes(now, protocol, inside)).collect();
        let [answer] = answers[..] else { panic!("one worker answers: {answers:?}") };
        answer
    }

    /// The alerts of all workers.
    pub fn alerts(&mut self) -> Vec<Alert> {
        self.workers
            .iter_mut()
            .flat_map(|worker| std::iter::from_fn(|| worker.dataplane.pop_alert()))
            .collect()
    }

    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for worker in &self.workers {
            assert!(worker.dataplane.counters().balances(), "{:?}", worker.dataplane.counters());
            sum += worker.dataplane.counters();
        }
        assert_eq!(sum.handed_over, sum.taken_over, "nothing is under way");
        let logged: u64 = self.workers.iter().map(|worker| worker.dataplane.drops_end()).sum();
        assert_eq!(logged, sum.drops.total(), "each drop is remembered");
        sum
    }

    pub fn flows(&self) -> impl Iterator<Item = FlowInfo> {
        self.workers.iter().flat_map(|worker| worker.dataplane.flows())
    }

    pub fn flows_len(&self) -> usize {
        self.workers.iter().map(|worker| worker.dataplane.flows_len()).sum()
    }

    /// The stations that one of the workers knows.
    pub fn stations(&self, now: Instant) -> impl Iterator<Item = Station> {
        self.workers[self.workers.len() - 1].dataplane.stations(now)
    }

    /// The neighbours that one of the workers knows.
    pub fn neighbors(&self, now: Instant) -> impl Iterator<Item = Neighbor> {
        self.workers[self.workers.len() - 1].dataplane.neighbors(now)
    }

    pub fn undeliverable(
        &mut self,
        now: Instant,
        verdict: Verdict,
        reason: DropReason,
        slot: Option<(Ingress, &Frame)>,
    ) {
        self.workers[self.last].dataplane.undeliverable(now, verdict, reason, slot);
    }

    /// What the worker with this number would do with a frame.
    pub fn explain(
        &self,
        now: Instant,
        worker: usize,
        ingress: Ingress,
        bytes: &[u8],
    ) -> (Verdict, Vec<Step>) {
        let mut batch = Batch::new(2048);
        let copy = |buffer: &mut [u8]| {
            buffer[..bytes.len()].copy_from_slice(bytes);
            Ok::<_, Infallible>(bytes.len())
        };
        let Ok(is_taken) = batch.receive(ingress, copy);
        assert!(is_taken);
        let steps = self.workers[worker].dataplane.explain(now, &mut batch).steps;
        (batch.slots()[0].verdict, steps)
    }

    /// The drops that the workers remember.
    pub fn drops(&self) -> Vec<Drop> {
        self.workers.iter().flat_map(|worker| worker.dataplane.drops(0, usize::MAX).drops).collect()
    }

    /// Processes frames as one batch of one worker, and whatever comes of them; returns their fates in order,
    /// and what was made.
    pub fn process<'a>(
        &mut self,
        now: Instant,
        received: impl IntoIterator<Item = (Ingress, &'a [u8], Offload)>,
    ) -> (Vec<Fate>, Vec<Sent>) {
        let mut fates = Vec::new();
        let mut worker = None;
        for (ingress, bytes, offload) in received {
            let mut frame = Frame::with_capacity(bytes.len());
            frame.buffer_mut().copy_from_slice(bytes);
            frame.set_len(bytes.len());
            frame.set_offload(offload);
            let is_hosts = !matches!(ingress, Ingress::Port(_));
            let worker = if is_hosts { 0 } else { *worker.get_or_insert_with(|| self.draw()) };
            self.workers[worker].queue.push_back(Item { ingress, frame, number: Some(fates.len()) });
            fates.push(Fate { verdict: Verdict::Pending, frames: Vec::new() });
        }
        let mut made = Vec::new();
        self.delivered.clear();
        self.work(now, &mut fates, &mut made);
        (fates, made)
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.workers.iter().filter_map(|worker| worker.dataplane.poll_timeout()).min()
    }

    /// Does what is due, and returns what was made.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Sent> {
        let mut made = Vec::new();
        self.delivered.clear();
        for at in 0..self.workers.len() {
            let Worker { dataplane, batch, .. } = &mut self.workers[at];
            if dataplane.poll_timeout().is_some_and(|due| due <= now) {
                dataplane.handle_timeout(now, batch);
                self.carry_out(now, at, &[], &mut [], &mut made);
            }
        }
        self.work(now, &mut [], &mut made);
        made
    }

    /// Lets the workers process what waits for them, in any order, until nothing does.
    fn work(&mut self, now: Instant, fates: &mut [Fate], made: &mut Vec<Sent>) {
        while self.workers.iter().any(|worker| !worker.queue.is_empty()) {
            let at = self.draw();
            let explained_max = self.explained_max();
            let Worker { dataplane, batch, explained, queue } = &mut self.workers[at];
            let mut numbers = Vec::new();
            while !batch.is_full()
                && let Some(item) = queue.pop_front()
            {
                let bytes = item.frame.bytes();
                let copy = |buffer: &mut [u8], rest: &mut [u8]| {
                    let (first, second) = bytes.split_at(bytes.len().min(buffer.len()));
                    buffer[..first.len()].copy_from_slice(first);
                    rest[..second.len()].copy_from_slice(second);
                    Ok::<_, Infallible>((bytes.len(), item.frame.offload()))
                };
                for (batch, len_max) in [(&mut *batch, usize::MAX), (&mut *explained, explained_max)] {
                    if batch.len() < len_max {
                        let Ok(is_taken) = batch.receive_offloaded(item.ingress, copy);
                        assert!(is_taken);
                    }
                }
                numbers.push(item.number);
            }
            let explanation = (!explained.is_empty()).then(|| dataplane.explain(now, explained));
            let is_timer_due = dataplane.poll_timeout().is_some_and(|due| due <= now);
            let made_before = dataplane.counters().made;
            dataplane.process(now, batch);
            if let Some(explanation) = explanation {
                assert_explained(explained, batch, numbers.len());
                // A timer that was due makes frames, too.
                if explained.len() == numbers.len() && !is_timer_due {
                    let made_by_packets = dataplane.counters().made - made_before;
                    let requests = assert_only_requests_follow(explained, batch);
                    assert_eq!(explanation.made + requests, made_by_packets, "{:?}", explanation.steps);
                }
            }
            explained.clear();
            self.carry_out(now, at, &numbers, fates, made);
        }
    }

    /// Carries out what is in a worker's batch, and empties it. The first frames have these `numbers`.
    fn carry_out(
        &mut self,
        now: Instant,
        at: usize,
        numbers: &[Option<usize>],
        fates: &mut [Fate],
        made: &mut Vec<Sent>,
    ) {
        let (mut under_way, count) = (Vec::new(), self.workers.len());
        let Worker { dataplane, batch, .. } = &mut self.workers[at];
        for (i, slot) in batch.slots().iter().enumerate() {
            let number = numbers.get(i).copied().flatten();
            if slot.copy_to_others {
                let Ingress::Port(port) = slot.ingress else { panic!("{:?} is told", slot.ingress) };
                for other in (0..count).filter(|other| *other != at) {
                    let ingress = Ingress::ArpCopy(port);
                    under_way.push((other, Item { ingress, frame: slot.frame.clone(), number: None }));
                }
            }
            if let Verdict::HandOver(to) = slot.verdict {
                let item = Item { ingress: slot.ingress, frame: slot.frame.clone(), number };
                under_way.push((usize::from(to), item));
                continue;
            }
            assert!(!matches!(slot.ingress, Ingress::HandedOver(_)));
            if matches!(slot.verdict, Verdict::Local(_)) {
                self.delivered.push(slot.frame.bytes().to_vec());
            }
            if let Some(number) = number {
                fates[number] = Fate { verdict: slot.verdict, frames: on_the_wire(&slot.frame) };
                self.last = at;
            } else {
                let (ports, _) = ports_of(slot.verdict);
                made.extend(sent_by(ports, &on_the_wire(&slot.frame)));
            }
        }
        for (ports, frame) in batch.output().iter() {
            made.extend(sent_by(ports, &on_the_wire(frame)));
        }
        batch.clear();
        let notices: Vec<_> = std::iter::from_fn(|| dataplane.pop_notice()).collect();
        for (to, item) in under_way {
            assert_ne!(to, at, "nobody hands over to himself");
            self.workers[to].queue.push_back(item);
        }
        let from = u8::try_from(at).expect("few workers");
        for (_, worker) in self.workers.iter_mut().enumerate().filter(|(other, _)| *other != at) {
            notices.iter().for_each(|notice| worker.dataplane.apply_notice(now, from, *notice));
        }
    }

    /// The most frames of the next batch that are explained: a flood need not be explained frame by frame.
    fn explained_max(&mut self) -> usize {
        self.batches += 1;
        let is_explained = self.batches < 300 || self.batches.is_multiple_of(67);
        if is_explained { EXPLAINED_MAX } else { 0 }
    }

    fn draw(&mut self) -> usize {
        // xorshift64
        self.lot ^= self.lot << 13;
        self.lot ^= self.lot >> 7;
        self.lot ^= self.lot << 17;
        usize::try_from(self.lot % self.workers.len() as u64).expect("few workers")
    }
}

/// The most frames of a batch that are explained. A frame draws a few of the 64 random numbers that are known ahead.
const EXPLAINED_MAX: usize = 2;

/// Asserts that the frames of the batch `explained` are as the first ones of `processed`, which had `received` frames.
fn assert_explained(explained: &Batch, processed: &Batch, received: usize) {
    let count = received.min(EXPLAINED_MAX);
    if explained.is_empty() {
        return;
    }
    let of_processed = processed.slots()[..count].iter().chain(&processed.slots()[received..]);
    for (explained, processed) in explained.slots().iter().zip(of_processed) {
        assert_eq!(explained.verdict, processed.verdict);
        assert_eq!(explained.frame.bytes(), processed.frame.bytes());
        assert_eq!(explained.ingress, processed.ingress);
        assert_eq!(explained.copy_to_others, processed.copy_to_others);
    }
    let mut processed = processed.output().iter();
    for (ports, frame) in explained.output().iter() {
        let (sent_by, sent) = processed.next().expect("each frame of the explanation is sent");
        assert_eq!((ports, frame.bytes()), (sent_by, sent.bytes()));
    }
}

/// Asserts that `processed` sends the frames of `explained`, of the same frames received, and then only ARP requests
/// for the neighbours that hold frames, which are no part of an explanation. Returns the number of these.
fn assert_only_requests_follow(explained: &Batch, processed: &Batch) -> u64 {
    let requests = processed.output().iter().skip(explained.output().iter().count());
    let is_request = |frame: &Frame| frame.bytes()[12..14] == [8, 6] && frame.bytes()[20..22] == [0, 1];
    requests.inspect(|(_, frame)| assert!(is_request(frame), "{frame:?} is not explained")).count() as u64
}

/// The ports of a verdict, and whether it is for the host stack.
pub fn ports_of(verdict: Verdict) -> (PortSet, bool) {
    match verdict {
        Verdict::Transmit(port) => (PortSet::only(port), false),
        Verdict::Flood { ports, local } => (ports, local.is_some()),
        Verdict::Local(_) => (PortSet::EMPTY, true),
        Verdict::Consumed | Verdict::Hold | Verdict::Drop(_) => (PortSet::EMPTY, false),
        Verdict::Pending | Verdict::HandOver(_) => panic!("a frame without a verdict"),
    }
}
