//! Flows from outside: how many each source may have, and which goes first when room is needed.
//!
//! Everything here is about flows that somebody outside opened, to a forward, to a service of the
//! gateway's or through a mapping whose filter admits him. What he proved decides what he is:
//!
//! ```text
//!              the inside answers              he goes on
//!   Embryonic ────────────────────▶ Answered ──────────────▶ Assured       UDP
//!   Embryonic ──────────────────────────────────────────────▶ Assured      TCP, when it is established
//!   HalfOpen, Assured ──────────────▶ Answered                            TCP, when it is closed or reset
//! ```
//!
//! Whoever forges his address gets no further than `Embryonic`. All but `Assured` stand in one queue, in the
//! order in which they came into it, and are recycled from its old end. So a flood from everywhere leaves
//! an honest opener the time in which it fills the whole queue, and a flood from one place is stopped
//! before: a source may have [`HalfOpen::embryonic_each_max`] flows that nobody answers, and
//! [`HalfOpen::assured_each_max`] that are `Assured`; what is above that stays `Answered`, and works until
//! others need its room.
//!
//! Sources are counted in [`BUCKETS`] buckets by a keyed hash. Two that share a bucket share the limits.

use core::hash::Hash;

use ahash::RandomState;

use crate::table::list::{Links, List};

/// What a flow from outside has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InboundState {
    /// It is none: the inside opened it, and it is not to be recycled.
    None,
    /// It is none: the inside opened it, and it can be recycled. See `holders`.
    Pending,
    /// The inside has not answered, or the TCP connection is not established.
    Embryonic,
    /// The inside has answered, or the connection is over: nobody would miss it much.
    Answered,
    /// The outside has received the answer, and goes on.
    Assured,
}

/// The queue of those that can be recycled, and the counts of all.
pub(super) struct HalfOpen {
    /// By flow.
    links: Links,
    /// Those that can be recycled, the oldest first.
    queue: List,
    embryonic: Buckets,
    assured: Buckets,
    hasher: RandomState,
    flows_max: u32,
    flows_per_host_max: u32,
}

/// How many flows of the sources that share a bucket are in one state.
struct Buckets(Vec<u16>);

/// A power of two.
const BUCKETS: usize = 1 << 14;

/// The most flows that one source may have unanswered, in the largest table.
const EMBRYONIC_EACH_MAX: u32 = 256;

impl HalfOpen {
    /// Nobody, and no room.
    pub(super) fn new(hasher: RandomState) -> Self {
        Self {
            links: Links::new(),
            queue: List::EMPTY,
            embryonic: Buckets(vec![0; BUCKETS]),
            assured: Buckets(vec![0; BUCKETS]),
            hasher,
            flows_max: 0,
            flows_per_host_max: 0,
        }
    }

    /// Sets the table's limits, from which the visitors' follow.
    pub(super) fn configure(&mut self, flows_max: u32, flows_per_host_max: u32) {
        self.flows_max = flows_max;
        self.flows_per_host_max = flows_per_host_max;
        self.links.reserve(flows_max as usize);
    }

    /// The most that can stand in the queue: a quarter of the table.
    pub(super) fn queued_max(&self) -> u32 {
        (self.flows_max / 4).max(1)
    }

    /// The most flows of one source that nobody has answered.
    pub(super) fn embryonic_each_max(&self) -> u32 {
        (self.queued_max() / 4).clamp(1, EMBRYONIC_EACH_MAX)
    }

    /// The most flows of one source that are kept: an eighth of what may be opened to one host.
    pub(super) fn assured_each_max(&self) -> u32 {
        (self.flows_per_host_max / 8).clamp(1, u32::from(u16::MAX))
    }

    /// Whether `source` may open one more flow.
    pub(super) fn admits(&self, source: impl Hash) -> bool {
        u32::from(self.embryonic.0[self.bucket(source)]) < self.embryonic_each_max()
    }

    /// A flow from `source` begins.
    pub(super) fn arrive(&mut self, id: u32, source: impl Hash) {
        let bucket = self.bucket(source);
        self.embryonic.0[bucket] = self.embryonic.0[bucket].saturating_add(1);
        self.links.push(&mut self.queue, id);
    }

    /// The flow `id` from `source`, which was `state`, is done with.
    pub(super) fn leave(&mut self, id: u32, source: impl Hash, state: InboundState) {
        self.discount(source, state);
        if matches!(state, InboundState::Embryonic | InboundState::Answered) {
            self.links.remove(&mut self.queue, id);
        }
    }

    /// The flow `id` from `source`, which was `state`, deserves to be `wanted`; what it becomes.
    pub(super) fn advance(
        &mut self,
        id: u32,
        source: impl Hash,
        state: InboundState,
        wanted: InboundState,
    ) -> InboundState {
        let bucket = self.bucket(&source);
        let is_full = u32::from(self.assured.0[bucket]) >= self.assured_each_max();
        let becomes =
            if wanted == InboundState::Assured && is_full { InboundState::Answered } else { wanted };
        if becomes == state {
            return state;
        }
        self.discount(source, state);
        match (state, becomes) {
            (InboundState::Assured, _) => self.links.push(&mut self.queue, id),
            (_, InboundState::Assured) => {
                self.assured.0[bucket] += 1;
                self.links.remove(&mut self.queue, id);
            }
            _ => {}
        }
        becomes
    }

    /// The flow that goes first if room is needed.
    pub(super) fn oldest(&self) -> Option<u32> {
        self.queue.first()
    }

    /// Those that can be recycled, the oldest first.
    pub(super) fn queue(&self) -> impl Iterator<Item = u32> {
        self.links.iter(&self.queue)
    }

    /// Whether the queue is full.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= self.queued_max()
    }

    fn discount(&mut self, source: impl Hash, state: InboundState) {
        let bucket = self.bucket(source);
        let buckets = match state {
            InboundState::Embryonic => &mut self.embryonic,
            InboundState::Assured => &mut self.assured,
            InboundState::None | InboundState::Pending | InboundState::Answered => return,
        };
        buckets.0[bucket] = buckets.0[bucket].saturating_sub(1);
    }

    fn bucket(&self, source: impl Hash) -> usize {
        self.hasher.hash_one(source) as usize % BUCKETS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> HalfOpen {
        let mut half_open = HalfOpen::new(RandomState::with_seeds(1, 2, 3, 4));
        half_open.configure(64, 32);
        half_open
    }

    fn queue(half_open: &HalfOpen) -> Vec<u32> {
        half_open.queue().collect()
    }

    #[test]
    fn the_queue_is_in_the_order_of_arrival() {
        let mut half_open = table();
        for id in [5, 2, 9, 0] {
            half_open.arrive(id, 1);
        }
        assert_eq!((queue(&half_open), half_open.oldest()), (vec![5, 2, 9, 0], Some(5)));
        half_open.leave(2, 1, InboundState::Embryonic);
        half_open.leave(0, 1, InboundState::Embryonic);
        half_open.arrive(7, 1);
        half_open.leave(5, 1, InboundState::Embryonic);
        assert_eq!(queue(&half_open), [9, 7]);
        half_open.leave(9, 1, InboundState::Embryonic);
        half_open.leave(7, 1, InboundState::Embryonic);
        assert_eq!((queue(&half_open), half_open.oldest()), (vec![], None));
    }

    #[test]
    fn a_source_has_so_many_half_open_and_others_have_theirs() {
        let mut half_open = table();
        let limit = half_open.embryonic_each_max();
        for id in 0..limit {
            assert!(half_open.admits(1));
            half_open.arrive(id, 1);
        }
        assert!(!half_open.admits(1) && half_open.admits(2));
        half_open.advance(0, 1, InboundState::Embryonic, InboundState::Answered);
        assert!(half_open.admits(1));
    }

    #[test]
    fn what_is_kept_is_not_in_the_queue_and_a_source_keeps_so_many() {
        let mut half_open = table();
        let limit = half_open.assured_each_max();
        for id in 0..=limit {
            half_open.arrive(id, 1);
            let became = half_open.advance(id, 1, InboundState::Embryonic, InboundState::Assured);
            assert_eq!(became, if id < limit { InboundState::Assured } else { InboundState::Answered });
        }
        assert_eq!(queue(&half_open), [limit]);
        assert_eq!(
            half_open.advance(0, 1, InboundState::Assured, InboundState::Answered),
            InboundState::Answered
        );
        assert_eq!(queue(&half_open), [limit, 0], "it is the newest again");
        assert_eq!(
            half_open.advance(limit, 1, InboundState::Answered, InboundState::Assured),
            InboundState::Assured
        );
    }

    #[test]
    fn the_limits_follow_from_the_tables() {
        let mut half_open = table();
        for (flows, each_host, limits) in
            [(262_144, 16_384, (65_536, 256, 2_048)), (64, 32, (16, 4, 4)), (1, 1, (1, 1, 1))]
        {
            half_open.configure(flows, each_host);
            let found =
                (half_open.queued_max(), half_open.embryonic_each_max(), half_open.assured_each_max());
            assert_eq!(found, limits);
        }
    }
}
