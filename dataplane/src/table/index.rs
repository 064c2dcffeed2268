//! A hash index: from a key's hash to the number of an entry in another table.
//!
//! Open addressing with linear probing in slots of eight octets: 32 bits of the hash and 32 bits of
//! the entry's number. The stored hash settles nearly every comparison without a look at the entry,
//! and gives a slot's home position, so that removal shifts the rest of its run back and leaves no tombstone:
//! a table that has seen a billion removals probes like a new one. Memory comes zeroed from the
//! allocator and is not resident before it is used.
//!
//! The hashes must be keyed with a secret: then no peer can send packets that collide.

use core::num::NonZeroU32;

use super::memory::{Cells, Memory, Own, Shadow, ShadowCells};
use super::{huge_pages, prefetch};

/// The index. It holds a bounded number of entries and never allocates between calls of
/// [`Index::reserve`].
pub(crate) struct Index<M: Memory = Own> {
    /// `hash << 32 | value`; 0 is an empty slot. A power of two of them.
    slots: M::Cells<u64>,
    len: usize,
}

impl Index {
    /// The octets of an entry at most: two slots.
    pub(crate) const ENTRY_OCTETS: usize = 2 * size_of::<u64>();

    /// An index without room.
    pub(crate) fn new() -> Self {
        Self { slots: vec![0; slots_for(0)], len: 0 }
    }

    /// Makes room for `entries_max` entries in all, moving what is there.
    pub(crate) fn reserve(&mut self, entries_max: usize) {
        if slots_for(entries_max) <= self.slots.len() {
            return;
        }
        let mut grown = vec![0; slots_for(entries_max)];
        huge_pages::advise(&mut grown);
        for slot in core::mem::replace(&mut self.slots, grown) {
            if slot != 0 {
                self.place(slot);
            }
        }
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self) {
        self.slots.fill(0);
        self.len = 0;
    }

    /// A shadow of the index.
    pub(crate) fn shadow(&self) -> Index<Shadow<'_>> {
        Index { slots: ShadowCells::of(&self.slots), len: self.len }
    }
}

impl<M: Memory> Index<M> {
    /// The value stored under `hash` for which `is_match` is true.
    #[inline]
    pub(crate) fn find(&self, hash: u32, mut is_match: impl FnMut(NonZeroU32) -> bool) -> Option<NonZeroU32> {
        let mut at = self.home(hash);
        loop {
            let slot = self.slots[at];
            let value = NonZeroU32::new(slot as u32)?;
            if hash_of(slot) == hash && is_match(value) {
                return Some(value);
            }
            at = self.after(at);
        }
    }

    /// The first value stored under `hash`, which is nearly always the right one.
    #[inline]
    pub(crate) fn candidate(&self, hash: u32) -> Option<NonZeroU32> {
        self.find(hash, |_| true)
    }

    /// Prefetches the slot where the search for `hash` begins.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u32) {
        prefetch::read(&self.slots[self.home(hash)]);
    }

    /// Stores `value` under `hash`. The same pair may be stored more than once.
    ///
    /// # Panics
    ///
    /// If there is no room: the caller bounds its entries.
    pub(crate) fn insert(&mut self, hash: u32, value: NonZeroU32) {
        assert!(self.len < self.slots.len() * LOAD_MAX.0 / LOAD_MAX.1, "an index holds what it was made for");
        self.place(u64::from(hash) << 32 | u64::from(value.get()));
        self.len += 1;
    }

    /// Removes `value` under `hash`.
    ///
    /// # Panics
    ///
    /// If it is not there.
    pub(crate) fn remove(&mut self, hash: u32, value: NonZeroU32) {
        let wanted = u64::from(hash) << 32 | u64::from(value.get());
        let mut hole = self.home(hash);
        while self.slots[hole] != wanted {
            assert!(self.slots[hole] != 0, "only what is in an index is removed");
            hole = self.after(hole);
        }
        let mut at = self.after(hole);
        while self.slots[at] != 0 {
            // A slot may move back into the hole unless its home lies between the two.
            let home = self.home(hash_of(self.slots[at]));
            if self.distance(home, at) >= self.distance(hole, at) {
                self.slots[hole] = self.slots[at];
                hole = at;
            }
            at = self.after(at);
        }
        self.slots[hole] = 0;
        self.len -= 1;
    }

    fn place(&mut self, slot: u64) {
        let mut at = self.home(hash_of(slot));
        while self.slots[at] != 0 {
            at = self.after(at);
        }
        self.slots[at] = slot;
    }

    #[inline]
    fn home(&self, hash: u32) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }

    #[inline]
    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.slots.len() - 1)
    }
}

/// The highest load: 3 of 4 slots. Linear probing then reads 2.5 slots for a hit on average.
const LOAD_MAX: (usize, usize) = (3, 4);

fn slots_for(entries_max: usize) -> usize {
    (entries_max * LOAD_MAX.1).div_ceil(LOAD_MAX.0).max(4).next_power_of_two()
}

#[inline]
const fn hash_of(slot: u64) -> u32 {
    (slot >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn value(value: u32) -> NonZeroU32 {
        NonZeroU32::new(value).unwrap()
    }

    fn with_room(entries_max: usize) -> Index {
        let mut index = Index::new();
        index.reserve(entries_max);
        index
    }

    fn contains(index: &Index, hash: u32, wanted: u32) -> bool {
        index.find(hash, |found| found.get() == wanted).is_some()
    }

    #[test]
    fn a_run_that_wraps_around_is_closed_after_a_removal() {
        let mut index = with_room(6);
        let last = index.slots.len() as u32 - 1;
        for number in 1..=5 {
            index.insert(last, value(number));
        }
        index.insert(0, value(6));
        index.remove(last, value(1));
        for number in 2..=5 {
            assert!(contains(&index, last, number));
        }
        assert!(contains(&index, 0, 6));
        assert!(!contains(&index, last, 1));
    }

    #[test]
    fn removal_leaves_no_trace() {
        let mut index = with_room(64);
        for round in 0..100_000u32 {
            let hash = round.wrapping_mul(0x9e37_79b9);
            index.insert(hash, value(round + 1));
            index.remove(hash, value(round + 1));
        }
        assert!(index.slots.iter().all(|slot| *slot == 0));
    }

    #[test]
    fn growing_keeps_what_is_there() {
        let mut index = with_room(3);
        for number in 1..=3 {
            index.insert(number << 20, value(number));
        }
        index.reserve(1000);
        for number in 4..=1000 {
            index.insert(number << 20, value(number));
        }
        assert!((1..=1000).all(|number| contains(&index, number << 20, number)));
    }

    #[test]
    #[should_panic(expected = "holds what it was made for")]
    fn more_than_it_was_made_for_is_a_broken_invariant() {
        let mut index = with_room(3);
        for number in 1..=4 {
            index.insert(0, value(number));
        }
    }

    proptest! {
        /// Few homes, so that every run collides, wraps and is torn apart in the middle.
        #[test]
        fn agrees_with_a_set_under_adversarial_removals(
            steps in prop::collection::vec((0u32..8, 1u32..30, any::<bool>()), 0..400),
        ) {
            let mut index = with_room(48);
            let mut model = BTreeSet::new();
            for (home, number, spread) in steps {
                let hash = if spread { home * 7 } else { 60 + (home & 3) } | home << 20;
                if model.remove(&(hash, number)) {
                    index.remove(hash, value(number));
                } else if model.len() < 48 {
                    model.insert((hash, number));
                    index.insert(hash, value(number));
                }
                prop_assert_eq!(index.len, model.len());
                for (hash, number) in &model {
                    prop_assert!(contains(&index, *hash, *number));
                }
            }
            let used = index.slots.iter().filter(|slot| **slot != 0).count();
            prop_assert_eq!(used, model.len());
        }
    }
}
