//! The slots of the neighbour table, and the timers of the neighbours in them.

use core::time::Duration;

use gatepost_ground::{Instant, InterfaceId, MacAddr};

use super::{Claim, Event, NeighborTable, State};
use crate::hold::{FramePool, FrameQueue};
use crate::key::Address;
use crate::table::memory::Memory;

/// The slots of a set.
pub(super) const WAYS: usize = 8;

/// The slots for neighbours of one hash. The keys fill a cache line.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Set<A: Address> {
    /// The neighbours; the default is a free slot.
    pub(super) keys: [A::OnInterface; WAYS],
    pub(super) entries: [Entry; WAYS],
}

impl<A: Address> Default for Set<A> {
    fn default() -> Self {
        Self { keys: Default::default(), entries: Default::default() }
    }
}

impl<A: Address> Set<A> {
    #[inline]
    pub(super) fn find(&self, key: A::OnInterface) -> Option<usize> {
        self.keys.iter().position(|other| *other == key)
    }

    /// The slot to give to a new neighbour: one without held frames, a free one if possible.
    pub(super) fn eviction_slot(&self) -> Option<usize> {
        let rank = |way: &usize| {
            let entry = &self.entries[*way];
            let rank = match entry.phase {
                _ if self.keys[*way] == A::OnInterface::default() => 0,
                Phase::Unreachable => 1,
                Phase::Incomplete => 2,
                Phase::Known | Phase::Probe | Phase::Doubted | Phase::Contested => 3,
            };
            (rank, entry.used)
        };
        (0..WAYS).filter(|way| self.entries[*way].held.len() == 0).min_by_key(rank)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) mac: MacAddr,
    /// The hardware address that claims a doubted or contested neighbour's address.
    pub(super) claimant: MacAddr,
    pub(super) phase: Phase,
    /// The requests sent in this phase.
    pub(super) requests: u8,
    /// Whether the slot is in [`NeighborTable::asked`].
    pub(super) is_listed: bool,
    /// Whether another worker received the claim, and reports its outcome.
    pub(super) is_copy: bool,
    /// The end of the phase, or the next request.
    pub(super) deadline: Instant,
    /// The earliest time of the next contest.
    pub(super) contest_from: Instant,
    /// When a frame was last resolved for it. [`NeighborTable::lookup`] does not count, as a neighbour in use is
    /// verified once in a while.
    pub(super) used: Instant,
    pub(super) held: FrameQueue,
}

/// The states as they are stored: `Known` is reachable until its deadline, and then stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Incomplete,
    Known,
    Probe,
    /// In use, and contested from the deadline on.
    Doubted,
    Contested,
    Unreachable,
}

impl Phase {
    /// Whether the phase has a timer.
    pub(super) fn is_timed(self) -> bool {
        matches!(self, Self::Incomplete | Self::Probe | Self::Doubted | Self::Contested)
    }
}

impl State {
    /// Whether the neighbour's hardware address is known.
    pub(super) fn has_address(self) -> bool {
        matches!(self, Self::Reachable | Self::Stale | Self::Probe | Self::Contested)
    }
}

impl Entry {
    #[inline]
    pub(super) fn state(&self, now: Instant) -> State {
        match self.phase {
            Phase::Incomplete => State::Incomplete,
            Phase::Known if now < self.deadline => State::Reachable,
            Phase::Known => State::Stale,
            Phase::Probe | Phase::Doubted => State::Probe,
            Phase::Contested => State::Contested,
            Phase::Unreachable => State::Unreachable,
        }
    }

    /// Whether another hardware address claims this neighbour's address.
    pub(super) fn is_claimed(&self) -> bool {
        matches!(self.phase, Phase::Doubted | Phase::Contested)
    }

    /// Whether the entry has no effect any more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.phase == Phase::Unreachable && now >= self.deadline
    }

    pub(super) fn handle_timeout<A: Address, M: Memory>(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        ip: A,
        pool: &mut FramePool<(), M>,
        events: &mut impl FnMut(Event<'_, A>),
    ) {
        if now < self.deadline || !self.phase.is_timed() {
            return;
        }
        if self.phase == Phase::Doubted {
            self.contest(now);
            if now < self.deadline {
                return;
            }
        }
        if self.requests < NeighborTable::REQUESTS_MAX {
            self.requests += 1;
            self.deadline = now + self.retransmission();
            let unicast_to = (self.phase != Phase::Incomplete).then_some(self.mac);
            events(Event::SendRequest { interface, ip, unicast_to });
            return;
        }
        if self.phase == Phase::Contested {
            self.move_to_claimant(now, interface, ip, pool, events);
            return;
        }
        // A neighbour may have moved without ARP: the next frame for it causes a broadcast request.
        let pause = if self.phase == Phase::Probe { Duration::ZERO } else { NeighborTable::UNREACHABLE };
        self.phase = Phase::Unreachable;
        self.deadline = now + pause;
        while let Some((frame, ())) = pool.release(&mut self.held) {
            events(Event::Expired { interface, ip, frame });
        }
    }

    /// Begins to verify that the neighbour is still at its known hardware address.
    pub(super) fn contest(&mut self, now: Instant) {
        self.phase = Phase::Contested;
        self.contest_from = now + NeighborTable::CONTEST_INTERVAL;
        self.requests = self.is_copy.into();
        self.deadline = if self.is_copy { now + self.retransmission() } else { now };
    }

    /// The time between two requests of this phase.
    fn retransmission(&self) -> Duration {
        match self.phase {
            Phase::Contested => NeighborTable::VERIFICATION / NeighborTable::REQUESTS_MAX.into(),
            _ => NeighborTable::RETRANSMISSION,
        }
    }

    /// The neighbour did not answer: its hardware address becomes the claimant's, which is verified when it is next
    /// used.
    fn move_to_claimant<A: Address, M: Memory>(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        ip: A,
        pool: &mut FramePool<(), M>,
        events: &mut impl FnMut(Event<'_, A>),
    ) {
        let (known, claimant) = (self.mac, self.claimant);
        if !self.is_copy {
            events(Event::Moved(Claim { interface, ip, known, claimant }));
        }
        self.mac = claimant;
        self.phase = Phase::Known;
        self.deadline = now;
        while let Some((frame, ())) = pool.release(&mut self.held) {
            events(Event::Release { interface, mac: claimant, frame });
        }
    }
}
