//! Entries of one size, found by number.

use core::ops::{Index, IndexMut};

use super::memory::{Cells, Memory, Own, Shadow, ShadowCells};
use super::{huge_pages, prefetch};

/// A bounded store of entries under small numbers, which are reused after a removal. It allocates only in
/// [`Slab::reserve`]; memory that no entry has used yet is not resident.
pub(crate) struct Slab<T: Clone + 'static, M: Memory = Own> {
    slots: M::Cells<Slot<T>>,
    /// The slot that was freed last, or [`NONE`].
    free: u32,
    len: usize,
    capacity: usize,
}

#[derive(Clone)]
enum Slot<T> {
    Used(T),
    /// The slot that was freed before this one, or [`NONE`].
    Free(u32),
}

const NONE: u32 = u32::MAX;

impl<T: Clone + 'static> Slab<T> {
    /// The octets of an entry.
    pub(crate) const ENTRY_OCTETS: usize = size_of::<Slot<T>>();

    /// A store without room.
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: NONE, len: 0, capacity: 0 }
    }

    /// Makes room for `capacity` entries in all.
    pub(crate) fn reserve(&mut self, capacity: usize) {
        if capacity > self.capacity {
            self.slots.reserve_exact(capacity - self.slots.len());
            huge_pages::advise(&mut self.slots);
            self.capacity = capacity;
        }
    }

    /// Removes all entries.
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.free = NONE;
        self.len = 0;
    }

    /// A shadow of the entries.
    pub(crate) fn shadow(&self) -> Slab<T, Shadow<'_>> {
        let Self { ref slots, free, len, capacity } = *self;
        Slab { slots: ShadowCells::of(slots), free, len, capacity }
    }
}

impl<T: Clone + 'static, M: Memory> Slab<T, M> {
    /// Stores `entry` and returns its number.
    ///
    /// # Panics
    ///
    /// If there is no room: the caller bounds its entries.
    pub(crate) fn insert(&mut self, entry: T) -> u32 {
        self.len += 1;
        if let Some(slot) = self.slots.get_mut(self.free as usize) {
            let id = self.free;
            if let Slot::Free(next) = core::mem::replace(slot, Slot::Used(entry)) {
                self.free = next;
            }
            return id;
        }
        assert!(self.slots.len() < self.capacity, "a slab holds what it was made for");
        self.slots.push(Slot::Used(entry));
        self.slots.len() as u32 - 1
    }

    /// Removes the entry `id`.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub(crate) fn remove(&mut self, id: u32) -> T {
        match core::mem::replace(&mut self.slots[id as usize], Slot::Free(self.free)) {
            Slot::Used(entry) => {
                self.free = id;
                self.len -= 1;
                entry
            }
            Slot::Free(_) => panic!("only what is in a slab is removed"),
        }
    }

    /// The entry `id`, if there is one.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&T> {
        self.slots.get(id as usize)?.entry()
    }

    /// Prefetches the entry `id`.
    #[inline]
    pub(crate) fn prefetch(&self, id: u32) {
        prefetch::read(&self.slots[id as usize]);
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// One more than the greatest number ever used.
    pub(crate) fn end(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The entries by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(self.slots.iter()).filter_map(|(id, slot)| Some((id, slot.entry()?)))
    }
}

impl<T> Slot<T> {
    #[inline]
    fn entry(&self) -> Option<&T> {
        match self {
            Self::Used(entry) => Some(entry),
            Self::Free(_) => None,
        }
    }
}

impl<T: Clone + 'static, M: Memory> Index<u32> for Slab<T, M> {
    type Output = T;

    #[inline]
    fn index(&self, id: u32) -> &T {
        self.slots[id as usize].entry().expect("a number in use names an entry")
    }
}

impl<T: Clone + 'static, M: Memory> IndexMut<u32> for Slab<T, M> {
    #[inline]
    fn index_mut(&mut self, id: u32) -> &mut T {
        match &mut self.slots[id as usize] {
            Slot::Used(entry) => entry,
            Slot::Free(_) => panic!("a number in use names an entry"),
        }
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
