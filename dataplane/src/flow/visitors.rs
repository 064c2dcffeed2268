//! Flows from outside: how many each source may have, and which goes first when room is needed.
//!
//! Everything here is about flows that somebody outside opened, to a forward, to a service of the
//! gateway's or through a mapping whose filter admits him. What he proved decides what he is:
//!
//! ```text
//!              the inside answers              he goes on
//!   HalfOpen ────────────────────▶ Answered ──────────────▶ Kept       UDP
//!   HalfOpen ──────────────────────────────────────────────▶ Kept      TCP, when it is established
//!   HalfOpen, Kept ──────────────▶ Answered                            TCP, when it is closed or reset
//! ```
//!
//! Whoever forges his address gets no further than `HalfOpen`. All but `Kept` stand in one queue, in the
//! order in which they came into it, and are recycled from its old end. So a flood from everywhere leaves
//! an honest opener the time in which it fills the whole queue, and a flood from one place is stopped
//! before: a source may have [`Visitors::half_open_each_max`] flows that nobody answers, and
//! [`Visitors::kept_each_max`] that are `Kept`; what is above that stays `Answered`, and works until
//! others need its room.
//!
//! Sources are counted in [`BUCKETS`] buckets by a keyed hash. Two that share a bucket share the limits.

use core::hash::Hash;

use ahash::RandomState;

use crate::table::list::{Links, List};

/// What a flow from outside has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    /// It is none: the inside opened it, and it is not to be recycled.
    None,
    /// It is none: the inside opened it, and it can be recycled. See `holders`.
    Pending,
    /// The inside has not answered, or the TCP connection is not established.
    HalfOpen,
    /// The inside has answered, or the connection is over: nobody would miss it much.
    Answered,
    /// The outside has received the answer, and goes on.
    Kept,
}

/// The queue of those that can be recycled, and the counts of all.
pub(super) struct Visitors {
    /// By flow.
    links: Links,
    /// Those that can be recycled, the oldest first.
    queue: List,
    half_open: Buckets,
    kept: Buckets,
    hasher: RandomState,
    flows_max: u32,
    flows_per_host_max: u32,
}

/// How many flows of the sources that share a bucket are in one state.
struct Buckets(Vec<u16>);

/// A power of two.
const BUCKETS: usize = 1 << 14;

/// The most flows that one source may have unanswered, in the largest table.
const HALF_OPEN_EACH_MAX: u32 = 256;

impl Visitors {
    /// Nobody, and no room.
    pub(super) fn new(hasher: RandomState) -> Self {
        Self {
            links: Links::new(),
            queue: List::EMPTY,
            half_open: Buckets(vec![0; BUCKETS]),
            kept: Buckets(vec![0; BUCKETS]),
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
    pub(super) fn half_open_each_max(&self) -> u32 {
        (self.queued_max() / 4).clamp(1, HALF_OPEN_EACH_MAX)
    }

    /// The most flows of one source that are kept: an eighth of what may be opened to one host.
    pub(super) fn kept_each_max(&self) -> u32 {
        (self.flows_per_host_max / 8).clamp(1, u32::from(u16::MAX))
    }

    /// Whether `source` may open one more flow.
    pub(super) fn admits(&self, source: impl Hash) -> bool {
        u32::from(self.half_open.0[self.bucket(source)]) < self.half_open_each_max()
    }

    /// A flow from `source` begins.
    pub(super) fn arrive(&mut self, id: u32, source: impl Hash) {
        let bucket = self.bucket(source);
        self.half_open.0[bucket] = self.half_open.0[bucket].saturating_add(1);
        self.links.push(&mut self.queue, id);
    }

    /// The flow `id` from `source`, which was `visit`, is done with.
    pub(super) fn leave(&mut self, id: u32, source: impl Hash, visit: Visit) {
        self.discount(source, visit);
        if matches!(visit, Visit::HalfOpen | Visit::Answered) {
            self.links.remove(&mut self.queue, id);
        }
    }

    /// The flow `id` from `source`, which was `visit`, deserves to be `wanted`; what it becomes.
    pub(super) fn advance(&mut self, id: u32, source: impl Hash, visit: Visit, wanted: Visit) -> Visit {
        let bucket = self.bucket(&source);
        let is_full = u32::from(self.kept.0[bucket]) >= self.kept_each_max();
        let becomes = if wanted == Visit::Kept && is_full { Visit::Answered } else { wanted };
        if becomes == visit {
            return visit;
        }
        self.discount(source, visit);
        match (visit, becomes) {
            (Visit::Kept, _) => self.links.push(&mut self.queue, id),
            (_, Visit::Kept) => {
                self.kept.0[bucket] += 1;
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

    fn discount(&mut self, source: impl Hash, visit: Visit) {
        let bucket = self.bucket(source);
        let buckets = match visit {
            Visit::HalfOpen => &mut self.half_open,
            Visit::Kept => &mut self.kept,
            Visit::None | Visit::Pending | Visit::Answered => return,
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

    fn visitors() -> Visitors {
        let mut visitors = Visitors::new(RandomState::with_seeds(1, 2, 3, 4));
        visitors.configure(64, 32);
        visitors
    }

    fn queue(visitors: &Visitors) -> Vec<u32> {
        visitors.queue().collect()
    }

    #[test]
    fn the_queue_is_in_the_order_of_arrival() {
        let mut visitors = visitors();
        for id in [5, 2, 9, 0] {
            visitors.arrive(id, 1);
        }
        assert_eq!((queue(&visitors), visitors.oldest()), (vec![5, 2, 9, 0], Some(5)));
        visitors.leave(2, 1, Visit::HalfOpen);
        visitors.leave(0, 1, Visit::HalfOpen);
        visitors.arrive(7, 1);
        visitors.leave(5, 1, Visit::HalfOpen);
        assert_eq!(queue(&visitors), [9, 7]);
        visitors.leave(9, 1, Visit::HalfOpen);
        visitors.leave(7, 1, Visit::HalfOpen);
        assert_eq!((queue(&visitors), visitors.oldest()), (vec![], None));
    }

    #[test]
    fn a_source_has_so_many_half_open_and_others_have_theirs() {
        let mut visitors = visitors();
        let limit = visitors.half_open_each_max();
        for id in 0..limit {
            assert!(visitors.admits(1));
            visitors.arrive(id, 1);
        }
        assert!(!visitors.admits(1) && visitors.admits(2));
        visitors.advance(0, 1, Visit::HalfOpen, Visit::Answered);
        assert!(visitors.admits(1));
    }

    #[test]
    fn what_is_kept_is_not_in_the_queue_and_a_source_keeps_so_many() {
        let mut visitors = visitors();
        let limit = visitors.kept_each_max();
        for id in 0..=limit {
            visitors.arrive(id, 1);
            let became = visitors.advance(id, 1, Visit::HalfOpen, Visit::Kept);
            assert_eq!(became, if id < limit { Visit::Kept } else { Visit::Answered });
        }
        assert_eq!(queue(&visitors), [limit]);
        assert_eq!(visitors.advance(0, 1, Visit::Kept, Visit::Answered), Visit::Answered);
        assert_eq!(queue(&visitors), [limit, 0], "it is the newest again");
        assert_eq!(visitors.advance(limit, 1, Visit::Answered, Visit::Kept), Visit::Kept);
    }

    #[test]
    fn the_limits_follow_from_the_tables() {
        let mut visitors = visitors();
        for (flows, each_host, limits) in
            [(262_144, 16_384, (65_536, 256, 2_048)), (64, 32, (16, 4, 4)), (1, 1, (1, 1, 1))]
        {
            visitors.configure(flows, each_host);
            let found = (visitors.queued_max(), visitors.half_open_each_max(), visitors.kept_each_max());
            assert_eq!(found, limits);
        }
    }
}
