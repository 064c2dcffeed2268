//! Entries of one size, found by number.

use core::ops::{Index, IndexMut};

use super::prefetch;

/// A bounded store of entries under small numbers, which are used again after a removal. It
/// allocates only in [`Slab::reserve`]; memory that no entry has used yet is not resident.
pub(crate) struct Slab<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
    capacity: usize,
}

impl<T> Slab<T> {
    /// What an entry takes.
    pub(crate) const ENTRY_OCTETS: usize = size_of::<Option<T>>() + size_of::<u32>();

    /// A store without room.
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new(), capacity: 0 }
    }

    /// Makes room for `capacity` entries in all.
    pub(crate) fn reserve(&mut self, capacity: usize) {
        if capacity > self.capacity {
            self.entries.reserve_exact(capacity - self.entries.len());
            self.free.reserve_exact(capacity - self.free.len());
            self.capacity = capacity;
        }
    }

    /// Stores `entry` under a number that it returns.
    ///
    /// # Panics
    ///
    /// If there is no room: the caller bounds its entries.
    pub(crate) fn insert(&mut self, entry: T) -> u32 {
        if let Some(id) = self.free.pop() {
            self.entries[id as usize] = Some(entry);
            return id;
        }
        assert!(self.entries.len() < self.capacity, "a slab holds what it was made for");
        self.entries.push(Some(entry));
        self.entries.len() as u32 - 1
    }

    /// Takes out the entry `id`.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub(crate) fn remove(&mut self, id: u32) -> T {
        let entry = self.entries[id as usize].take().expect("only what is in a slab is removed");
        self.free.push(id);
        entry
    }

    /// The entry `id`, if there is one.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&T> {
        self.entries.get(id as usize)?.as_ref()
    }

    /// Announces that the entry `id` will be read.
    #[inline]
    pub(crate) fn prefetch(&self, id: u32) {
        prefetch::read(&self.entries[id as usize]);
    }

    /// Removes all entries.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.free.clear();
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// One more than the greatest number that was ever used.
    pub(crate) fn end(&self) -> u32 {
        self.entries.len() as u32
    }

    /// The entries by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.entries).filter_map(|(id, entry)| Some((id, entry.as_ref()?)))
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, id: u32) -> &T {
        self.entries[id as usize].as_ref().expect("a number in use names an entry")
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, id: u32) -> &mut T {
        self.entries[id as usize].as_mut().expect("a number in use names an entry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again() {
        let mut slab = Slab::new();
        slab.reserve(2);
        let a = slab.insert('a');
        let b = slab.insert('b');
        assert_eq!(slab.remove(a), 'a');
        assert_eq!(slab.get(a), None);
        assert_eq!(slab.insert('c'), a);
        assert_eq!((slab[a], slab[b], slab.len(), slab.end()), ('c', 'b', 2, 2));
    }

    #[test]
    fn reserving_makes_room_and_never_takes_it() {
        let mut slab = Slab::new();
        slab.reserve(1);
        slab.insert(1);
        slab.reserve(2);
        slab.reserve(0);
        slab.insert(2);
        assert_eq!(slab.iter().map(|(_, entry)| *entry).collect::<Vec<_>>(), [1, 2]);
    }
}
