//! Flows from outside, of all protocols: how many each remote address may have, and which is recycled first when room
//! is needed.
//!
//! This module tracks the flows that a host outside has opened, to a forward, to a service of the gateway or through
//! a mapping whose filter admits the host. The packets seen decide the state of such a flow:
//!
//! ```text
//!              the inside answers              the outside continues
//!   Embryonic ────────────────────▶ Answered ──────────────▶ Assured       UDP
//!   Embryonic ──────────────────────────────────────────────▶ Assured      TCP, when it is established
//!   Embryonic, Assured ─────────────▶ Answered                            TCP, when it is closed or reset
//! ```
//!
//! A flow with a forged source address never gets past `Embryonic`. All flows but the `Assured` ones are in one
//! queue, in the order in which they entered it, and are recycled from its old end. So a flood from many sources
//! leaves an honest client the time that the flood takes to fill the whole queue, and a flood from one source is
//! stopped earlier: a source may have [`HalfOpen::embryonic_each_max`] unanswered flows and
//! [`HalfOpen::assured_each_max`] that are `Assured`. A flow beyond the latter stays `Answered`, and works until its
//! room is needed.
//!
//! The inbound half of a hairpin (`Quota::Hairpin`) is no flow from outside, and no source is counted for it: an inside
//! host opened it, by an outbound half that counts against the host. But the outbound half may be recycled, and the
//! inbound half, perhaps in another shard, does not notice. So the inbound halves that are unanswered or over are in
//! a queue of their own, [`HalfOpen::hairpins_max`] at most: for the next one the oldest is recycled. No flood from
//! outside takes their place.
//!
//! Sources are counted in [`BUCKETS`] buckets by a keyed hash. Two sources that share a bucket share the limits.

use core::hash::Hash;

use ahash::RandomState;

use crate::table::list::{Links, List};
use crate::table::memory::{Memory, Own, Shadow, ShadowCells};

/// How far a flow from outside has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InboundState {
    /// Not a flow from outside: the inside opened it, and it must not be recycled.
    None,
    /// Not a flow from outside: the inbound half of a hairpin, which may be recycled for another one.
    Hairpin,
    /// Not a flow from outside: the inside opened it, and it may be recycled. See `holders`.
    Pending,
    /// The inside has not answered, or the TCP connection is not established.
    Embryonic,
    /// The inside has answered, or the connection is over: the flow may be recycled at little harm.
    Answered,
    /// The outside has received the answer and continued, so its address is not forged: the flow is not recycled.
    Assured,
}

/// The queue of the flows from outside that may be recycled, and the counts of each source.
pub(super) struct HalfOpen<M: Memory = Own> {
    /// The queue's links, by the flow's number.
    links: Links<M>,
    /// The flows that may be recycled, the oldest first.
    queue: List,
    /// The inbound halves of hairpins that may be recycled, the oldest first.
    hairpins: List,
    embryonic: Buckets<M>,
    assured: Buckets<M>,
    hasher: RandomState,
    flows_max: u32,
    flows_per_host_max: u32,
}

/// For each bucket of sources, the number of flows in one state.
struct Buckets<M: Memory = Own>(M::Cells<u16>);

/// A power of two.
const BUCKETS: usize = 1 << 14;

/// The most unanswered flows of one source, in the largest table.
const EMBRYONIC_EACH_MAX: u32 = 256;

impl HalfOpen {
    /// No flows, and no room.
    pub(super) fn new(hasher: RandomState) -> Self {
        Self {
            links: Links::new(),
            queue: List::EMPTY,
            hairpins: List::EMPTY,
            embryonic: Buckets(vec![0; BUCKETS]),
            assured: Buckets(vec![0; BUCKETS]),
            hasher,
            flows_max: 0,
            flows_per_host_max: 0,
        }
    }

    /// Sets the table's limits, from which the limits of this module follow.
    pub(super) fn configure(&mut self, flows_max: u32, flows_per_host_max: u32) {
        self.flows_max = flows_max;
        self.flows_per_host_max = flows_per_host_max;
        self.links.reserve(flows_max as usize);
    }

    /// A shadow of the queues and counts.
    pub(super) fn shadow(&self) -> HalfOpen<Shadow<'_>> {
        let Self { ref links, queue, hairpins, ref embryonic, ref assured, ref hasher, .. } = *self;
        HalfOpen {
            links: links.shadow(),
            queue,
            hairpins,
            embryonic: Buckets(ShadowCells::of(&embryonic.0)),
            assured: Buckets(ShadowCells::of(&assured.0)),
            hasher: hasher.clone(),
            flows_max: self.flows_max,
            flows_per_host_max: self.flows_per_host_max,
        }
    }
}

impl<M: Memory> HalfOpen<M> {
    /// The most flows in the queue: a quarter of the table.
    pub(super) fn queued_max(&self) -> u32 {
        (self.flows_max / 4).max(1)
    }

    /// The most inbound halves of hairpins in their queue: an eighth of the table.
    pub(super) fn hairpins_max(&self) -> u32 {
        (self.flows_max / 8).max(1)
    }

    /// The most unanswered flows of one source.
    pub(super) fn embryonic_each_max(&self) -> u32 {
        (self.queued_max() / 4).clamp(1, EMBRYONIC_EACH_MAX)
    }

    /// The most assured flows of one source: an eighth of the limit of flows to one host.
    pub(super) fn assured_each_max(&self) -> u32 {
        (self.flows_per_host_max / 8).clamp(1, u32::from(u16::MAX))
    }

    /// Whether `source` may open another flow.
    pub(super) fn admits(&self, source: impl Hash) -> bool {
        u32::from(self.embryonic.0[self.bucket(source)]) < self.embryonic_each_max()
    }

    /// Adds the new flow `id` from `source`.
    pub(super) fn arrive(&mut self, id: u32, source: impl Hash) {
        let bucket = self.bucket(source);
        self.embryonic.0[bucket] = self.embryonic.0[bucket].saturating_add(1);
        self.links.push(&mut self.queue, id);
    }

    /// Adds the new inbound half `id` of a hairpin.
    pub(super) fn arrive_hairpin(&mut self, id: u32) {
        self.links.push(&mut self.hairpins, id);
    }

    /// Removes the flow `id` from `source`, which was in `state`.
    pub(super) fn leave(&mut self, id: u32, source: impl Hash, state: InboundState) {
        self.discount(source, state);
        match state {
            InboundState::Embryonic | InboundState::Answered => self.links.remove(&mut self.queue, id),
            InboundState::Hairpin => self.links.remove(&mut self.hairpins, id),
            InboundState::None | InboundState::Pending | InboundState::Assured => {}
        }
    }

    /// Moves the flow `id` from `source` from `state` to `wanted`, as far as the source's limit allows. Returns the
    /// flow's new state.
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
            (InboundState::Hairpin, _) => self.links.remove(&mut self.hairpins, id),
            (_, InboundState::Hairpin) => self.links.push(&mut self.hairpins, id),
            _ => {}
        }
        becomes
    }

    /// The flow that is recycled first if room is needed.
    pub(super) fn oldest(&self) -> Option<u32> {
        self.queue.first()
    }

    /// The inbound half of a hairpin that is recycled for another one, if there are so many.
    pub(super) fn hairpin_beyond(&self) -> Option<u32> {
        self.hairpins.first().filter(|_| self.hairpins.len() >= self.hairpins_max())
    }

    /// The flows from outside that may be recycled, the oldest first.
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
            InboundState::None | InboundState::Hairpin | InboundState::Pending | InboundState::Answered => {
                return;
            }
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
