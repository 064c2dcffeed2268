//! A timer wheel: finds due timers at a cost that does not depend on the number of timers.
//!
//! One slot per second and a list per slot, linked through the timers' numbers. A timer is armed for a tick; when the
//! tick has come, the timer is returned once and disarmed. The owner keeps the true deadline and arms the timer again
//! if the deadline is later now, so that a packet that refreshes a flow touches no list. An earlier deadline must be
//! armed at once.
//!
//! The wheel spans [`Wheel::SPAN_SECS`]. A timer for later, or one armed while the wheel lags behind, is returned
//! early, and its owner arms it again.

use gatepost_ground::Instant;

use super::huge_pages;
use super::memory::{Cells, Memory, Own, Shadow, ShadowCells};

/// A point in time on the scale of timers, in whole seconds since the origin of [`Instant`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u32);

impl Tick {
    /// The origin.
    pub(crate) const ZERO: Self = Self(0);

    /// The first tick `secs` seconds or more from `now`: a timer is late by up to a second, never early.
    #[inline]
    pub(crate) fn after(now: Instant, secs: u32) -> Self {
        let deadline = now.as_micros().div_ceil(1_000_000).saturating_add(u64::from(secs));
        Self(u32::try_from(deadline).unwrap_or(u32::MAX))
    }

    /// The last tick at or before `now`.
    #[inline]
    pub(crate) fn at(now: Instant) -> Self {
        Self(u32::try_from(now.as_secs()).unwrap_or(u32::MAX))
    }

    /// The tick as an instant.
    pub(crate) fn instant(self) -> Instant {
        Instant::from_secs(u64::from(self.0))
    }
}

/// The wheel.
pub(crate) struct Wheel<M: Memory = Own> {
    /// The first timer of each slot, or [`NONE`].
    heads: M::Cells<u32>,
    /// A bit for each slot that has a timer.
    occupied: [u64; SLOTS / 64],
    nodes: M::Cells<Node>,
    /// No timer is armed for a tick before this one.
    current: u32,
}

#[derive(Clone, Copy)]
struct Node {
    previous: u32,
    next: u32,
    /// The tick that the timer is armed for.
    tick: u32,
}

const SLOTS: usize = 8192;
const NONE: u32 = u32::MAX;

impl Wheel {
    /// The octets of a timer.
    pub(crate) const TIMER_OCTETS: usize = size_of::<Node>();

    /// How far ahead a timer can be armed: longer than the longest default timeout, 7440 s.
    pub(crate) const SPAN_SECS: u32 = SLOTS as u32;

    /// A wheel without timers, nor room for any.
    pub(crate) fn new() -> Self {
        Self { heads: vec![NONE; SLOTS], occupied: [0; SLOTS / 64], nodes: Vec::new(), current: 0 }
    }

    /// Makes room for timers numbered below `timers_max`.
    pub(crate) fn reserve(&mut self, timers_max: usize) {
        self.nodes.reserve_exact(timers_max.saturating_sub(self.nodes.len()));
        huge_pages::advise(&mut self.nodes);
    }

    /// A shadow of the timers.
    pub(crate) fn shadow(&self) -> Wheel<Shadow<'_>> {
        let Self { ref heads, occupied, ref nodes, current } = *self;
        Wheel { heads: ShadowCells::of(heads), occupied, nodes: ShadowCells::of(nodes), current }
    }
}

impl<M: Memory> Wheel<M> {
    /// Lets time go on to `now` while no timer is armed.
    pub(crate) fn skip_to(&mut self, now: Tick) {
        debug_assert_eq!(self.next(), None, "time is skipped only while no timer is armed");
        self.current = self.current.max(now.0);
    }

    /// Arms the disarmed timer `id`.
    pub(crate) fn arm(&mut self, id: u32, at: Tick) {
        let tick = at.0.clamp(self.current, self.current.saturating_add(Wheel::SPAN_SECS - 1));
        let slot = slot_of(tick);
        let next = self.heads[slot];
        let node = Node { previous: NONE, next, tick };
        if let Some(place) = self.nodes.get_mut(id as usize) {
            *place = node;
        } else {
            self.nodes.extend_to(id as usize + 1, node);
        }
        if next != NONE {
            self.nodes[next as usize].previous = id;
        }
        self.heads[slot] = id;
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// Makes the armed timer `id` due at `at`, if that is earlier.
    pub(crate) fn hasten(&mut self, id: u32, at: Tick) {
        if at.0 < self.nodes[id as usize].tick {
            self.disarm(id);
            self.arm(id, at);
        }
    }

    /// Disarms the armed timer `id`.
    pub(crate) fn disarm(&mut self, id: u32) {
        let Node { previous, next, tick } = self.nodes[id as usize];
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        if previous != NONE {
            self.nodes[previous as usize].next = next;
            return;
        }
        let slot = slot_of(tick);
        self.heads[slot] = next;
        if next == NONE {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        }
    }

    /// The next timer that is due at `now`, disarmed.
    pub(crate) fn expire(&mut self, now: Tick) -> Option<u32> {
        let Some(tick) = self.next().filter(|next| *next <= now) else {
            self.current = self.current.max(now.0.saturating_add(1));
            return None;
        };
        self.current = tick.0;
        let id = self.heads[slot_of(tick.0)];
        self.disarm(id);
        Some(id)
    }

    /// When the next timer is due.
    pub(crate) fn next(&self) -> Option<Tick> {
        let start = slot_of(self.current);
        let ahead = |slot: usize| slot.wrapping_sub(start) % SLOTS;
        let from_start = self.occupied[start / 64] & (u64::MAX << (start % 64));
        let first = core::iter::once((start / 64, from_start));
        let words = (start / 64 + 1..=start / 64 + SLOTS / 64).map(|word| word % (SLOTS / 64));
        let (word, bits) =
            first.chain(words.map(|word| (word, self.occupied[word]))).find(|(_, bits)| *bits != 0)?;
        let slot = word * 64 + bits.trailing_zeros() as usize;
        Some(Tick(self.current.saturating_add(ahead(slot) as u32)))
    }
}

const fn slot_of(tick: u32) -> usize {
    tick as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tick_is_never_early() {
        let now = Instant::from_millis(1_500);
        assert_eq!(Tick::after(now, 2), Tick(4));
        assert_eq!(Tick::after(Instant::from_secs(1), 2), Tick(3));
        assert_eq!(Tick::at(now), Tick(1));
        assert_eq!(Tick::after(Instant::FAR_FUTURE, 1), Tick(u32::MAX));
    }

    #[test]
    fn timers_come_in_the_order_of_their_ticks() {
        let mut wheel = Wheel::new();
        wheel.arm(0, Tick(300));
        wheel.arm(1, Tick(60));
        wheel.arm(2, Tick(7440));
        assert_eq!(wheel.next(), Some(Tick(60)));
        assert_eq!(wheel.expire(Tick(59)), None);
        assert_eq!(wheel.expire(Tick(300)), Some(1));
        assert_eq!(wheel.expire(Tick(300)), Some(0));
        assert_eq!(wheel.expire(Tick(300)), None);
        assert_eq!(wheel.next(), Some(Tick(7440)));
    }

    #[test]
    fn a_timer_beyond_the_span_comes_early_rather_than_never() {
        let mut wheel = Wheel::new();
        wheel.arm(0, Tick(100_000));
        assert_eq!(wheel.next(), Some(Tick(Wheel::SPAN_SECS - 1)));
    }

    #[test]
    fn hastening_only_brings_nearer() {
        let mut wheel = Wheel::new();
        wheel.arm(0, Tick(100));
        wheel.hasten(0, Tick(200));
        assert_eq!(wheel.next(), Some(Tick(100)));
        wheel.hasten(0, Tick(50));
        assert_eq!(wheel.next(), Some(Tick(50)));
    }

    proptest! {
        #[test]
        fn however_time_jumps_nothing_stays_due(
            steps in prop::collection::vec((0u32..40, 1u32..40_000, prop_oneof![0u32..3, 0u32..40_000]), 0..100),
        ) {
            let mut wheel = Wheel::new();
            let (mut deadlines, mut now) = (BTreeMap::new(), 0);
            for (id, ahead, jump) in steps {
                let deadline = now + ahead;
                match deadlines.insert(id, deadline) {
                    None => wheel.arm(id, Tick(deadline)),
                    Some(_) => wheel.hasten(id, Tick(deadline)),
                }
                now += jump;
                let mut handed_out = 0;
                while let Some(id) = wheel.expire(Tick(now)) {
                    handed_out += 1;
                    // Each once in each span that has passed.
                    prop_assert!(handed_out <= 40 * (2 + jump / Wheel::SPAN_SECS), "{} stays due", id);
                    if deadlines[&id] <= now {
                        deadlines.remove(&id);
                    } else {
                        wheel.arm(id, Tick(deadlines[&id]));
                    }
                }
                prop_assert!(wheel.next().is_none_or(|next| next > Tick(now)));
                prop_assert!(deadlines.values().all(|deadline| *deadline > now));
            }
        }

        #[test]
        fn agrees_with_a_sorted_map(steps in prop::collection::vec((0u32..40, 0u32..8000, 0u8..4), 0..300)) {
            let mut wheel = Wheel::new();
            let mut model = BTreeMap::new();
            let mut now = 0;
            for (id, ahead, action) in steps {
                if action == 0 {
                    now += ahead / 4;
                    let mut due: Vec<_> = std::iter::from_fn(|| wheel.expire(Tick(now))).collect();
                    let mut expected: Vec<u32> = Vec::new();
                    model.retain(|id, tick| { let keep = *tick > now; if !keep { expected.push(*id); } keep });
                    due.sort_unstable();
                    prop_assert_eq!(due, expected);
                } else if model.remove(&id).is_some() {
                    wheel.disarm(id);
                } else {
                    wheel.arm(id, Tick(now + 1 + ahead));
                    model.insert(id, now + 1 + ahead);
                }
                prop_assert_eq!(wheel.next().map(|tick| tick.0), model.values().min().copied());
            }
        }
    }
}
