//! The log of flows that are opened and that end, for those who watch it.
//!
//! While nobody watches, there is no log, and opening and ending a flow cost one check more; a packet of an established
//! flow costs nothing more. A watcher asks again and again; once nobody has asked for [`WATCHED_FOR`], the log ends.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::VecDeque;

use gatepost_ground::Instant;

use super::entry::{Flow, State, Traffic};
use super::tcp::Phase;
use crate::key::{Address, Direction, FlowKey};
use crate::shard::Shard;

/// The most events that the workers of a gateway remember together.
pub const FLOW_EVENTS_MAX: usize = 8_192;

/// How long a log lasts after the last question.
pub const WATCHED_FOR: Duration = Duration::from_secs(30);

/// The beginning or the end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowEvent<A = Ipv4Addr> {
    /// When.
    pub at: Instant,
    /// What has become of it.
    pub change: FlowChange,
    /// The key of packets in the direction of the flow's first packet, as they arrive.
    pub original: FlowKey<A>,
    /// The key of the replies, as they arrive.
    pub reply: FlowKey<A>,
    /// The traffic so far, in the original and the reply direction.
    pub traffic: [Traffic; 2],
}

/// What has become of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowChange {
    /// It is opened, or opened again.
    Opened,
    /// It has ended.
    Ended(FlowEnd),
}

/// Why a flow has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowEnd {
    /// Both ends have closed the connection.
    Closed,
    /// The sender of this direction resets the connection.
    Reset(Direction),
    /// Nothing has refreshed it for its timeout.
    Idle,
    /// Nothing has answered it for its timeout.
    Unanswered,
    /// A new flow needed its place.
    Recycled,
    /// The configuration does not allow it any more, its address is gone, or the administrator has ended it.
    Removed,
}

/// A part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowEvents<A = Ipv4Addr> {
    /// The number of the first event in the part; events before it that the reader has not seen are lost.
    pub first: u64,
    /// The events, the oldest first.
    pub events: Vec<FlowEvent<A>>,
}

/// The log of one table.
#[derive(Debug)]
pub(super) struct FlowLog<A> {
    events: VecDeque<FlowEvent<A>>,
    capacity: usize,
    /// The number of events so far.
    total: u64,
    /// Until when somebody watches; `None` if nobody does.
    watched_until: Option<Instant>,
    /// The time of the call in which flows begin and end now.
    now: Instant,
}

impl<A: Address> FlowLog<A> {
    /// The log of one table of `shard`.
    pub fn new(shard: Shard) -> Self {
        let capacity = FLOW_EVENTS_MAX / usize::from(shard.count());
        Self { events: VecDeque::new(), capacity, total: 0, watched_until: None, now: Instant::ZERO }
    }

    /// Notes the time of a call.
    #[inline]
    pub fn begin(&mut self, now: Instant) {
        self.now = now;
        if self.watched_until.is_some_and(|until| until <= now) {
            self.watched_until = None;
            self.events = VecDeque::new();
        }
    }

    /// At most `count_max` events from the number `from` on, or from the oldest that is remembered. From now on events
    /// are remembered for [`WATCHED_FOR`].
    pub fn watch(&mut self, now: Instant, from: u64, count_max: usize) -> FlowEvents<A> {
        self.begin(now);
        self.watched_until = Some(now + WATCHED_FOR);
        let oldest = self.total - self.events.len() as u64;
        let first = from.clamp(oldest, self.total);
        let skipped = (first - oldest) as usize;
        FlowEvents { first, events: self.events.iter().skip(skipped).take(count_max).copied().collect() }
    }

    /// Notes that `flow` is opened.
    #[inline]
    pub fn opened(&mut self, flow: &Flow<'_, A>) {
        if self.watched_until.is_some() {
            self.push(FlowChange::Opened, flow);
        }
    }

    /// Notes that `flow` ends. The end of a connection that is over was noted before.
    #[inline]
    pub fn ended(&mut self, end: FlowEnd, flow: &Flow<'_, A>) {
        if self.watched_until.is_none() {
            return;
        }
        let end = match flow.state() {
            State::Tcp(Phase::Closing | Phase::Reset) => return,
            State::Tcp(Phase::Opening) if end == FlowEnd::Idle => FlowEnd::Unanswered,
            _ if end == FlowEnd::Idle && flow.traffic(Direction::Reply).packets == 0 => FlowEnd::Unanswered,
            _ => end,
        };
        self.push(FlowChange::Ended(end), flow);
    }

    /// Notes that a segment of `direction` has changed the state of a connection, which it had `before`.
    #[inline]
    pub fn changed(&mut self, before: Phase, direction: Direction, flow: &Flow<'_, A>) {
        if self.watched_until.is_none() {
            return;
        }
        let is_over = |phase| matches!(phase, Phase::Closing | Phase::Reset);
        match flow.state() {
            State::Tcp(Phase::Closing) if !is_over(before) => {
                self.push(FlowChange::Ended(FlowEnd::Closed), flow);
            }
            State::Tcp(Phase::Reset) if !is_over(before) => {
                self.push(FlowChange::Ended(FlowEnd::Reset(direction)), flow);
            }
            State::Tcp(Phase::Opening | Phase::Established) if is_over(before) => {
                self.push(FlowChange::Opened, flow);
            }
            _ => {}
        }
    }

    #[cold]
    fn push(&mut self, change: FlowChange, flow: &Flow<'_, A>) {
        if self.events.len() >= self.capacity {
            self.events.pop_front();
        }
        self.events.push_back(FlowEvent {
            at: self.now,
            change,
            original: flow.key(Direction::Original),
            reply: flow.key(Direction::Reply),
            traffic: Direction::BOTH.map(|direction| flow.traffic(direction)),
        });
        self.total += 1;
    }
}
