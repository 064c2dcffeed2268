//! Lists of numbered entries: an entry joins at the end and leaves from anywhere, in constant time.
//!
//! The numbers are those of a [`Slab`](super::slab::Slab). An entry is in one list of a set of lists at a
//! time, so that the set needs one pair of links for each entry, however many lists there are.

use super::memory::{Cells, Memory, Own, Shadow, ShadowCells};

/// The links of all entries of a set of lists. Memory that no entry has used yet is not resident.
pub(crate) struct Links<M: Memory = Own>(M::Cells<Link>);

#[derive(Clone, Copy)]
struct Link {
    previous: u32,
    next: u32,
}

/// One list: its ends and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct List {
    first: u32,
    last: u32,
    len: u32,
}

const NONE: u32 = u32::MAX;

impl Links {
    /// The octets of an entry.
    pub(crate) const ENTRY_OCTETS: usize = size_of::<Link>();

    /// No links, and no room.
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// Makes room for entries numbered below `entries_max`.
    pub(crate) fn reserve(&mut self, entries_max: usize) {
        self.0.reserve_exact(entries_max.saturating_sub(self.0.len()));
    }

    /// A shadow of the links.
    pub(crate) fn shadow(&self) -> Links<Shadow<'_>> {
        Links(ShadowCells::of(&self.0))
    }
}

impl<M: Memory> Links<M> {
    /// Appends the entry `id`, which is in no list of the set, to `list`.
    pub(crate) fn push(&mut self, list: &mut List, id: u32) {
        let link = Link { previous: list.last, next: NONE };
        if let Some(place) = self.0.get_mut(id as usize) {
            *place = link;
        } else {
            self.0.extend_to(id as usize + 1, link);
        }
        match self.0.get_mut(list.last as usize) {
            Some(last) => last.next = id,
            None => list.first = id,
        }
        list.last = id;
        list.len += 1;
    }

    /// Takes the entry `id` out of `list`, which it is in.
    pub(crate) fn remove(&mut self, list: &mut List, id: u32) {
        let Link { previous, next } = self.0[id as usize];
        match self.0.get_mut(previous as usize) {
            Some(link) => link.next = next,
            None => list.first = next,
        }
        match self.0.get_mut(next as usize) {
            Some(link) => link.previous = previous,
            None => list.last = previous,
        }
        list.len -= 1;
    }

    /// The entries of `list`, in the order in which they joined.
    pub(crate) fn iter(&self, list: &List) -> impl Iterator<Item = u32> {
        core::iter::successors(list.first(), |id| {
            Some(self.0[*id as usize].next).filter(|next| *next != NONE)
        })
    }
}

impl List {
    /// The list without entries.
    pub(crate) const EMPTY: Self = Self { first: NONE, last: NONE, len: 0 };

    /// The entry that joined first.
    pub(crate) fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_vectors(steps in prop::collection::vec((0u32..20, 0usize..3), 0..200)) {
            let mut links = Links::new();
            links.reserve(20);
            let mut lists = [List::EMPTY; 3];
            let mut model: [Vec<u32>; 3] = Default::default();
            for (id, to) in steps {
                if let Some(from) = model.iter().position(|ids| ids.contains(&id)) {
                    links.remove(&mut lists[from], id);
                    model[from].retain(|other| *other != id);
                }
                links.push(&mut lists[to], id);
                model[to].push(id);
                for (list, ids) in lists.iter().zip(&model) {
                    prop_assert_eq!(&links.iter(list).collect::<Vec<_>>(), ids);
                    prop_assert_eq!((list.first(), list.len() as usize), (ids.first().copied(), ids.len()));
                }
            }
        }
    }
}
