//! Counts by key, such as the number of flows of an inside host.

use core::hash::Hash;
use core::num::NonZeroU32;

use ahash::RandomState;

use super::index::Index;
use super::memory::{Memory, Own, Shadow};
use super::slab::Slab;

/// A bounded number of keys with their counts. A key exists while its count is above zero.
pub(crate) struct Tally<K: Copy + 'static, M: Memory = Own> {
    entries: Slab<Entry<K>, M>,
    index: Index<M>,
    hasher: RandomState,
}

#[derive(Clone)]
struct Entry<K> {
    key: K,
    count: u32,
}

impl<K: Copy + Eq + Hash + 'static> Tally<K> {
    /// An empty tally without room.
    pub(crate) fn new(hasher: RandomState) -> Self {
        Self { entries: Slab::new(), index: Index::new(), hasher }
    }

    /// Makes room for `keys_max` keys in all.
    pub(crate) fn reserve(&mut self, keys_max: usize) {
        self.entries.reserve(keys_max);
        self.index.reserve(keys_max);
    }

    /// Removes all keys.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.index.clear();
    }

    /// A shadow of the counts.
    pub(crate) fn shadow(&self) -> Tally<K, Shadow<'_>> {
        Tally { entries: self.entries.shadow(), index: self.index.shadow(), hasher: self.hasher.clone() }
    }
}

impl<K: Copy + Eq + Hash + 'static, M: Memory> Tally<K, M> {
    /// The count of `key`.
    pub(crate) fn count(&self, key: K) -> u32 {
        self.find(self.hash(key), key).map_or(0, |value| self.entries[value.get() - 1].count)
    }

    /// Counts one more of `key`.
    pub(crate) fn add(&mut self, key: K) {
        let hash = self.hash(key);
        if let Some(value) = self.find(hash, key) {
            self.entries[value.get() - 1].count += 1;
        } else {
            let id = self.entries.insert(Entry { key, count: 1 });
            self.index.insert(hash, NonZeroU32::MIN.saturating_add(id));
        }
    }

    /// Counts one less of `key`.
    ///
    /// # Panics
    ///
    /// If none is counted.
    pub(crate) fn subtract(&mut self, key: K) {
        let hash = self.hash(key);
        let value = self.find(hash, key).expect("what is no longer counted was counted");
        let entry = &mut self.entries[value.get() - 1];
        entry.count -= 1;
        if entry.count == 0 {
            self.entries.remove(value.get() - 1);
            self.index.remove(hash, value);
        }
    }

    fn find(&self, hash: u32, key: K) -> Option<NonZeroU32> {
        self.index.find(hash, |value| self.entries[value.get() - 1].key == key)
    }

    fn hash(&self, key: K) -> u32 {
        self.hasher.hash_one(key) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_a_count_takes_no_room() {
        let mut tally = Tally::new(RandomState::with_seeds(1, 2, 3, 4));
        tally.reserve(1);
        for key in 0..100 {
            tally.add(key);
            tally.add(key);
            assert_eq!((tally.count(key), tally.count(key + 1)), (2, 0));
            tally.subtract(key);
            tally.subtract(key);
            assert_eq!(tally.count(key), 0);
        }
    }
}
