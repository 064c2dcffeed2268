//! The memory of the tables: their own, or a copy-on-write shadow of another table's.
//!
//! A table is generic over its [`Memory`]. The packet path uses [`Own`]: the cells are a `Vec`, and the compiler makes
//! the code of a `Vec` of them. An explanation of a packet uses a [`Shadow`]: it reads the cells of the tables in use,
//! and keeps those that it writes to itself. So the same code decides on an explained packet and on a real one, the
//! borrow checker proves that an explanation changes nothing, and no large table is copied.

use core::marker::PhantomData;
use core::ops::{Index, IndexMut};
use std::collections::BTreeMap;

/// Where the cells of tables are.
pub trait Memory {
    /// The cells of one table.
    type Cells<T: Clone + 'static>: Cells<T>;
}

/// The numbered cells of a table.
pub trait Cells<T: 'static>: Index<usize, Output = T> + IndexMut<usize> {
    /// The number of cells.
    fn len(&self) -> usize;

    /// The cell `at`, if there is one.
    fn get(&self, at: usize) -> Option<&T>;

    /// The cell `at`, to be written, if there is one.
    fn get_mut(&mut self, at: usize) -> Option<&mut T>;

    /// Adds a cell at the end.
    fn push(&mut self, value: T);

    /// Adds cells with `value` until there are `len`.
    fn extend_to(&mut self, len: usize, value: T);

    /// All cells in order.
    fn iter(&self) -> impl DoubleEndedIterator<Item = &T>;
}

/// Memory of the table's own.
#[derive(Debug)]
pub struct Own;

impl Memory for Own {
    type Cells<T: Clone + 'static> = Vec<T>;
}

impl<T: Clone + 'static> Cells<T> for Vec<T> {
    #[inline]
    fn len(&self) -> usize {
        self.len()
    }

    #[inline]
    fn get(&self, at: usize) -> Option<&T> {
        self.as_slice().get(at)
    }

    #[inline]
    fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.as_mut_slice().get_mut(at)
    }

    #[inline]
    fn push(&mut self, value: T) {
        self.push(value);
    }

    #[inline]
    fn extend_to(&mut self, len: usize, value: T) {
        self.resize(len, value);
    }

    #[inline]
    fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.as_slice().iter()
    }
}

/// The memory of another table, which stays as it is.
#[derive(Debug)]
pub struct Shadow<'a>(PhantomData<&'a ()>);

impl<'a> Memory for Shadow<'a> {
    type Cells<T: Clone + 'static> = ShadowCells<'a, T>;
}

/// Cells of another table, and those that were written here. One packet writes a few dozen.
#[derive(Debug)]
pub struct ShadowCells<'a, T> {
    below: &'a [T],
    written: BTreeMap<usize, T>,
    len: usize,
}

impl<'a, T> ShadowCells<'a, T> {
    /// A shadow of `below` that nothing has written to.
    pub(crate) fn of(below: &'a [T]) -> Self {
        Self { below, written: BTreeMap::new(), len: below.len() }
    }
}

impl<T> Index<usize> for ShadowCells<'_, T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        self.written.get(&at).unwrap_or_else(|| &self.below[at])
    }
}

impl<T: Clone> IndexMut<usize> for ShadowCells<'_, T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        let Self { below, written, .. } = self;
        written.entry(at).or_insert_with(|| below[at].clone())
    }
}

impl<T: Clone + 'static> Cells<T> for ShadowCells<'_, T> {
    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, at: usize) -> Option<&T> {
        (at < self.len).then(|| &self[at])
    }

    fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        (at < self.len).then(|| &mut self[at])
    }

    fn push(&mut self, value: T) {
        self.written.insert(self.len, value);
        self.len += 1;
    }

    fn extend_to(&mut self, len: usize, value: T) {
        while self.len < len {
            self.push(value.clone());
        }
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        (0..self.len).map(|at| &self[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shadow_keeps_what_it_writes_to_itself() {
        let below = vec![1, 2, 3];
        let mut shadow = ShadowCells::of(&below);
        shadow[1] = 20;
        *shadow.get_mut(2).expect("a cell") += 27;
        shadow.push(4);
        shadow.extend_to(6, 5);
        *shadow.get_mut(5).expect("a cell") = 6;
        assert_eq!(shadow.iter().copied().collect::<Vec<_>>(), [1, 20, 30, 4, 5, 6]);
        assert_eq!((shadow.len(), shadow.get(5), shadow.get(6)), (6, Some(&6), None));
        assert_eq!(shadow.get_mut(6), None);
        assert_eq!(below, [1, 2, 3]);
    }
}
