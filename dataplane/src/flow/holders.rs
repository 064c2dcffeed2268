//! Flows that the inside opened: the machine that each counts against, and the order in which they are recycled.
//!
//! # The source of a flow
//!
//! A sender can write any source address into a packet. So a flow counts against its [`Source`]: the gateway; a
//! station, which is a hardware address behind a port at an address that ARP knows it to have; or the unverified
//! senders of a bridge port, which are all other senders behind the port together. A machine that forges addresses
//! shares one quota with all unverified senders, however many addresses it forges. A machine that also forges another
//! machine's hardware address counts separately if it is behind another bridge port; behind the same one it counts as
//! the other machine.
//!
//! # Which flow is recycled
//!
//! A source with flows is a holder. Two kinds of flows are not recycled: an established TCP connection, and a UDP or
//! ICMP query flow of which a reply was seen (conntrack: SEEN_REPLY). Every other flow is pending: it is unanswered, or
//! its connection is over. A pending flow is in the queue of its holder and its protocol:
//!
//! ```text
//!             established, or a reply seen
//!   pending ───────────────────────────▶ not recycled
//!      ▲                                    │ closed, or reset
//!      └────────────────────────────────────┘ at the end of the queue
//! ```
//!
//! When room is needed, the oldest pending flow of the holder with the most pending flows is recycled. "The most" is
//! exact to a factor of two, so that the holder is found without a search: holders are listed by the number of binary
//! digits of their queues' lengths.
//!
//! A new flow's source does not take from a holder that has fewer pending flows than the source: then the source's
//! own oldest pending flow is recycled. The source's other flows do not count here.
//!
//! The pending flows of a holder may share so few mappings that none of them frees a port. So the flows of the next
//! holders are examined for a port, too.
//!
//! # Limits
//!
//! [`Holders::STATIONS_MAX`] stations are distinguished. A further station counts as an unverified sender of its
//! port.

use core::num::{NonZeroU16, NonZeroU32};

use ahash::RandomState;
use gatepost_ground::{MacAddr, PortId};

use crate::table::index::Index;
use crate::table::list::{Links, List};
use crate::table::memory::{Memory, Own, Shadow};
use crate::table::slab::Slab;

/// The inside machine that opens a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The gateway itself.
    Gateway,
    /// The station with this hardware address behind this port, which ARP knows to have the flow's inside address.
    Station(MacAddr, PortId),
    /// Any sender behind this port that ARP does not know to have the flow's inside address.
    Unverified(PortId),
}

impl Source {
    /// A unique number for each source. Hashing one word takes a third of the time that hashing its parts takes.
    const fn to_bits(self) -> u64 {
        match self {
            Self::Gateway => 0,
            Self::Station(MacAddr([a, b, c, d, e, f]), PortId(port)) => {
                u64::from_be_bytes([1, port, a, b, c, d, e, f])
            }
            Self::Unverified(PortId(port)) => u64::from_be_bytes([2, port, 0, 0, 0, 0, 0, 0]),
        }
    }
}

/// A holder's number. It is valid while the holder has a flow, and is reused then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HolderId(NonZeroU16);

/// The port spaces that are counted separately: TCP ports, UDP ports, and the identifiers of ICMP queries.
pub(super) const SPACES: usize = 3;

/// All sources with flows.
pub(super) struct Holders<M: Memory = Own> {
    holders: Slab<Holder, M>,
    index: Index<M>,
    hasher: RandomState,
    /// The queues' links, by flow.
    pending: Links<M>,
    /// For each space, the holders with pending flows, by the number of binary digits of their queue's length.
    ranks: [Ranks<M>; SPACES],
}

#[derive(Clone)]
struct Holder {
    source: Source,
    /// The number of flows of each space.
    flows: [u32; SPACES],
    /// The pending flows of each space, the oldest first.
    queues: [List; SPACES],
}

/// The counts that decide whether a holder's flow is recycled.
#[derive(Clone, Copy, Default)]
struct Count {
    flows: u32,
    pending: u32,
}

struct Ranks<M: Memory = Own> {
    links: Links<M>,
    lists: [List; RANKS],
}

/// The most holders whose flows are examined for a port.
const CANDIDATES_MAX: usize = 8;

/// The number of ranks: the binary digits that a queue's length can have, and zero.
const RANKS: usize = u32::BITS as usize + 1;

impl Holders {
    /// The most stations that are distinguished, besides the gateway and the unverified senders of each port.
    pub(super) const STATIONS_MAX: usize = 4096;

    const HOLDERS_MAX: usize = Self::STATIONS_MAX + PortId::COUNT_MAX + 1;

    /// No holders, and no room for flows.
    pub(super) fn new(hasher: RandomState) -> Self {
        let (mut holders, mut index) = (Slab::new(), Index::new());
        holders.reserve(Self::HOLDERS_MAX);
        index.reserve(Self::HOLDERS_MAX);
        let ranks = || {
            let mut links = Links::new();
            links.reserve(Self::HOLDERS_MAX);
            Ranks { links, lists: [List::EMPTY; RANKS] }
        };
        Self { holders, index, hasher, pending: Links::new(), ranks: [ranks(), ranks(), ranks()] }
    }

    /// Makes room for flows numbered below `flows_max`.
    pub(super) fn reserve(&mut self, flows_max: usize) {
        self.pending.reserve(flows_max);
    }

    /// A shadow of the holders.
    pub(super) fn shadow(&self) -> Holders<Shadow<'_>> {
        Holders {
            holders: self.holders.shadow(),
            index: self.index.shadow(),
            hasher: self.hasher.clone(),
            pending: self.pending.shadow(),
            ranks: self
                .ranks
                .each_ref()
                .map(|Ranks { links, lists }| Ranks { links: links.shadow(), lists: *lists }),
        }
    }
}

impl<M: Memory> Holders<M> {
    /// The source that a flow of `source` counts against: the unverified senders of its port if there is no room for
    /// another station.
    pub(super) fn resolve(&self, source: Source) -> Source {
        match source {
            Source::Station(_, port)
                if self.holders.len() >= Holders::STATIONS_MAX && self.find(source).is_none() =>
            {
                Source::Unverified(port)
            }
            _ => source,
        }
    }

    /// The number of flows that count against `source`.
    pub(super) fn count(&self, source: Source) -> u32 {
        self.find(source).map_or(0, |id| self.holders[id.slot()].flows.iter().sum())
    }

    /// The number of flows of `space` that count against `source`.
    pub(super) fn count_in(&self, source: Source, space: usize) -> u32 {
        self.find(source).map_or(0, |id| self.holders[id.slot()].flows[space])
    }

    /// The source of a holder.
    pub(super) fn source(&self, id: HolderId) -> Source {
        self.holders[id.slot()].source
    }

    /// Adds a new flow of `source`, which is [resolved](Holders::resolve). The flow is pending.
    pub(super) fn arrive(&mut self, source: Source, space: usize, flow: u32) -> HolderId {
        let id = self.find(source).unwrap_or_else(|| self.insert(source));
        self.holders[id.slot()].flows[space] += 1;
        self.enqueue(id, space, flow);
        id
    }

    /// Removes a flow that ends.
    pub(super) fn leave(&mut self, id: HolderId, space: usize, flow: u32, is_pending: bool) {
        if is_pending {
            self.dequeue(id, space, flow);
        }
        let holder = &mut self.holders[id.slot()];
        holder.flows[space] -= 1;
        if holder.flows == [0; SPACES] {
            let source = holder.source;
            self.holders.remove(id.slot());
            self.index.remove(self.hash(source), id.value());
        }
    }

    /// Puts a flow that is now pending at the end of its queue.
    pub(super) fn enqueue(&mut self, id: HolderId, space: usize, flow: u32) {
        let queue = &mut self.holders[id.slot()].queues[space];
        let before = rank(queue.len());
        self.pending.push(queue, flow);
        let after = rank(queue.len());
        self.ranks[space].change(id, before, after);
    }

    /// Removes a flow that is no longer pending from its queue.
    pub(super) fn dequeue(&mut self, id: HolderId, space: usize, flow: u32) {
        let queue = &mut self.holders[id.slot()].queues[space];
        let before = rank(queue.len());
        self.pending.remove(queue, flow);
        let after = rank(queue.len());
        self.ranks[space].change(id, before, after);
    }

    /// The holders whose pending flows of `space` may be recycled for a new flow of `source`, in order: those with
    /// the most pending flows, none of which has fewer than `source`; `source` itself if there are none. A holder
    /// with fewer than `least` flows is not among them.
    pub(super) fn candidates(
        &self,
        source: Source,
        space: usize,
        least: u32,
    ) -> [Option<HolderId>; CANDIDATES_MAX] {
        let count = |id: HolderId| {
            let holder = &self.holders[id.slot()];
            Count { flows: holder.flows[space], pending: holder.queues[space].len() }
        };
        let ranked = self.most_pending(space).take(CANDIDATES_MAX);
        let mut candidates = [None; CANDIDATES_MAX];
        let found = self.candidates_of(ranked, self.find(source), least, count);
        candidates.iter_mut().zip(found).for_each(|(place, id)| *place = Some(id));
        candidates
    }

    /// A holder's pending flows of `space`, the oldest first.
    pub(super) fn pending(&self, id: HolderId, space: usize) -> impl Iterator<Item = u32> {
        self.pending.iter(&self.holders[id.slot()].queues[space])
    }

    /// The oldest pending flow of any space that may be recycled for a new flow of `source`, by the same rule.
    /// `source` is `None` for a flow that counts against no source.
    pub(super) fn oldest_for(&self, source: Option<Source>, least: u32) -> Option<u32> {
        let count = |id: HolderId| {
            let Holder { flows, queues, .. } = &self.holders[id.slot()];
            Count { flows: flows.iter().sum(), pending: queues.iter().map(List::len).sum() }
        };
        let most = (0..SPACES).filter_map(|space| self.most_pending(space).next());
        let most = most.max_by_key(|id| self.longest_queue(*id).len());
        let own = source.and_then(|source| self.find(source));
        let candidate = self.candidates_of(most.into_iter(), own, least, count).next()?;
        self.longest_queue(candidate).first()
    }

    /// The pending flows of `source` itself in `space`, the oldest first.
    pub(super) fn pending_of(&self, source: Source, space: usize) -> impl Iterator<Item = u32> {
        self.find(source).into_iter().flat_map(move |id| self.pending(id, space))
    }

    /// The oldest pending flow of `source` itself.
    pub(super) fn oldest_of(&self, source: Source) -> Option<u32> {
        self.longest_queue(self.find(source)?).first()
    }

    /// The holders whose flows may be recycled, out of `ranked` (the holders with the most pending flows, in the
    /// order of their ranks) and the new flow's `own` holder: `own` only if no other holder qualifies and `own` has
    /// at least `least` pending flows. The flows of `own` that are not pending do not count.
    fn candidates_of(
        &self,
        ranked: impl Iterator<Item = HolderId>,
        own: Option<HolderId>,
        least: u32,
        count: impl Fn(HolderId) -> Count,
    ) -> impl Iterator<Item = HolderId> {
        let own_count = own.map_or(Count::default(), &count);
        let gives = move |id: &HolderId| {
            let Count { flows, pending } = count(*id);
            own != Some(*id) && flows >= least && pending >= own_count.pending
        };
        let mut others = ranked.filter(gives).peekable();
        let own = own.filter(|_| own_count.pending >= least && others.peek().is_none());
        others.chain(own)
    }

    fn longest_queue(&self, id: HolderId) -> &List {
        let [first, others @ ..] = &self.holders[id.slot()].queues;
        others.iter().fold(first, |longest, queue| if queue.len() > longest.len() { queue } else { longest })
    }

    /// The holders with pending flows of `space`, by falling rank.
    fn most_pending(&self, space: usize) -> impl Iterator<Item = HolderId> {
        let Ranks { links, lists } = &self.ranks[space];
        lists.iter().rev().flat_map(|list| links.iter(list)).map(HolderId::new)
    }

    fn insert(&mut self, source: Source) -> HolderId {
        let slot = self.holders.insert(Holder { source, flows: [0; SPACES], queues: [List::EMPTY; SPACES] });
        let id = HolderId::new(slot);
        self.index.insert(self.hash(source), id.value());
        id
    }

    fn find(&self, source: Source) -> Option<HolderId> {
        let is_it = |value: NonZeroU32| self.holders[value.get() - 1].source == source;
        let found = self.index.find(self.hash(source), is_it)?;
        Some(HolderId::new(found.get() - 1))
    }

    fn hash(&self, source: Source) -> u32 {
        self.hasher.hash_one(source.to_bits()) as u32
    }
}

impl HolderId {
    fn new(slot: u32) -> Self {
        Self(NonZeroU16::MIN.saturating_add(slot as u16))
    }

    fn slot(self) -> u32 {
        u32::from(self.0.get()) - 1
    }

    fn value(self) -> NonZeroU32 {
        NonZeroU32::MIN.saturating_add(self.slot())
    }
}

// A holder's number has 16 bits.
const _: () = assert!(Holders::HOLDERS_MAX < 1 << 16);

impl<M: Memory> Ranks<M> {
    /// Moves the holder `id` from one rank to another.
    #[inline]
    fn change(&mut self, id: HolderId, before: usize, after: usize) {
        if before == after {
            return;
        }
        if before > 0 {
            self.links.remove(&mut self.lists[before], id.slot());
        }
        if after > 0 {
            self.links.push(&mut self.lists[after], id.slot());
        }
    }
}

fn rank(len: u32) -> usize {
    (u32::BITS - len.leading_zeros()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: PortId = PortId(0);

    fn holders() -> Holders {
        let mut holders = Holders::new(RandomState::with_seeds(1, 2, 3, 4));
        holders.reserve(10_000);
        holders
    }

    fn station(number: u16) -> Source {
        let [a, b] = number.to_be_bytes();
        Source::Station(MacAddr([2, 0, 0, 0, a, b]), PORT)
    }

    fn pending(holders: &Holders, source: Source) -> Vec<u32> {
        let candidate = holders.candidates(source, 0, 0)[0];
        candidate.into_iter().flat_map(|candidate| holders.pending(candidate, 0)).collect()
    }

    #[test]
    fn the_holder_with_the_most_pending_flows_gives_its_oldest() {
        let mut holders = holders();
        let busy: Vec<_> = (0..8).map(|flow| holders.arrive(station(1), 0, flow)).collect();
        holders.arrive(station(2), 0, 8);
        assert_eq!(pending(&holders, station(3)), [0, 1, 2, 3, 4, 5, 6, 7]);
        for flow in 0..7 {
            holders.dequeue(busy[0], 0, flow);
        }
        assert_eq!(pending(&holders, station(3)).len(), 1, "either has one");
        holders.leave(busy[0], 0, 7, true);
        assert_eq!(pending(&holders, station(3)), [8]);
        holders.enqueue(busy[0], 0, 3);
        holders.enqueue(busy[0], 0, 1);
        assert_eq!(pending(&holders, station(3)), [3, 1], "what is over has joined at the end");
    }

    #[test]
    fn who_has_more_takes_from_itself_and_who_has_few_gives_none() {
        let mut holders = holders();
        (0..3).for_each(|flow| _ = holders.arrive(station(1), 0, flow));
        (4..9).for_each(|flow| _ = holders.arrive(station(2), 0, flow));
        assert_eq!(pending(&holders, station(2)), [4, 5, 6, 7, 8]);
        assert_eq!(holders.oldest_for(Some(station(2)), 0), Some(4));
        for newcomer in [station(1), station(3)] {
            assert_eq!(holders.oldest_for(Some(newcomer), 5), Some(4));
            assert_eq!(holders.oldest_for(Some(newcomer), 6), None);
        }
    }

    #[test]
    fn a_newcomer_s_answered_flows_do_not_keep_it_from_taking() {
        let mut holders = holders();
        let busy = holders.arrive(station(1), 0, 0);
        (1..5).for_each(|flow| assert_eq!(holders.arrive(station(1), 0, flow), busy));
        (0..5).for_each(|flow| holders.dequeue(busy, 0, flow));
        (5..8).for_each(|flow| _ = holders.arrive(station(2), 0, flow));
        assert_eq!(pending(&holders, station(1)), [5, 6, 7]);
        assert_eq!(holders.oldest_for(Some(station(1)), 0), Some(5));
        assert_eq!(holders.oldest_for(Some(station(1)), 3), Some(5));
        assert_eq!(holders.oldest_for(Some(station(1)), 4), None, "who has answered ones only gives none");
    }

    #[test]
    fn holders_give_in_the_order_of_their_ranks_and_a_newcomer_that_has_most_itself() {
        let mut holders = holders();
        let mut flow = 0;
        for (number, count) in [(1, 1), (2, 2), (3, 9), (4, 4), (5, 3)] {
            for _ in 0..count {
                holders.arrive(station(number), 0, flow);
                flow += 1;
            }
        }
        let candidates = |newcomer, least| {
            let candidates = holders.candidates(station(newcomer), 0, least);
            candidates.into_iter().flatten().map(|id| holders.source(id)).collect::<Vec<_>>()
        };
        assert_eq!(candidates(6, 0), [3, 4, 2, 5, 1].map(station));
        assert_eq!(candidates(6, 3), [3, 4, 5].map(station));
        assert_eq!(candidates(5, 0), [3, 4].map(station));
        assert_eq!(candidates(3, 0), [station(3)]);
    }

    #[test]
    fn spaces_are_apart_and_the_table_has_them_all() {
        let mut holders = holders();
        (0..4).for_each(|flow| _ = holders.arrive(station(1), 0, flow));
        (4..10).for_each(|flow| _ = holders.arrive(station(1), 1, flow));
        holders.arrive(station(2), 2, 10);
        assert_eq!(holders.candidates(station(3), 1, 0)[0].map(|id| holders.source(id)), Some(station(1)));
        assert_eq!(holders.candidates(station(3), 2, 0)[0].map(|id| holders.source(id)), Some(station(2)));
        assert_eq!(holders.oldest_for(None, 10), Some(4));
        assert_eq!(holders.oldest_of(station(1)), Some(4));
        assert_eq!((holders.count(station(1)), holders.count_in(station(1), 1)), (10, 6));
    }

    #[test]
    fn stations_beyond_the_most_are_strangers_of_their_port() {
        let mut holders = holders();
        let last = Holders::STATIONS_MAX as u16;
        let ids: Vec<_> = (0..last).map(|at| holders.arrive(station(at), 0, at.into())).collect();
        assert_eq!(holders.resolve(station(0)), station(0));
        assert_eq!(holders.resolve(station(last)), Source::Unverified(PORT));
        assert_eq!(holders.resolve(Source::Gateway), Source::Gateway);
        for (at, source) in
            (0..64).map(|port| Source::Unverified(PortId(port))).chain([Source::Gateway]).enumerate()
        {
            holders.arrive(source, 0, u32::from(last) + at as u32);
        }
        holders.leave(ids[7], 0, 7, true);
        (0..66).for_each(|at| holders.leave(ids[100 + at], 0, 100 + at as u32, true));
        assert_eq!(holders.resolve(station(last)), station(last), "who has nothing takes no place");
    }
}
