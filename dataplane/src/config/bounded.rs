//! Lists of a configuration that have a maximum.

use core::ops::{Deref, DerefMut};
use core::slice;

/// A list of at most `MAX` values: a longer one cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounded<T, const MAX: usize>(Vec<T>);

/// The list has its maximum number of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl<T, const MAX: usize> Bounded<T, MAX> {
    /// An empty list.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds `value` at the end.
    ///
    /// # Errors
    ///
    /// [`Full`] if there are `MAX` values already; the list is unchanged then.
    pub fn push(&mut self, value: T) -> Result<(), Full> {
        if self.0.len() >= MAX {
            return Err(Full);
        }
        self.0.push(value);
        Ok(())
    }

    /// Takes out all values.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl<T, const MAX: usize> Default for Bounded<T, MAX> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const MAX: usize> Deref for Bounded<T, MAX> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MAX: usize> DerefMut for Bounded<T, MAX> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T, const MAX: usize, const LEN: usize> From<[T; LEN]> for Bounded<T, MAX> {
    fn from(values: [T; LEN]) -> Self {
        const { assert!(LEN <= MAX, "the list cannot have as many values") };
        Self(values.into())
    }
}

impl<T, const MAX: usize> From<Option<T>> for Bounded<T, MAX> {
    fn from(value: Option<T>) -> Self {
        const { assert!(MAX > 0, "the list can have a value") };
        Self(value.into_iter().collect())
    }
}

impl<T, const MAX: usize> TryFrom<Vec<T>> for Bounded<T, MAX> {
    type Error = Full;

    fn try_from(values: Vec<T>) -> Result<Self, Full> {
        if values.len() <= MAX { Ok(Self(values)) } else { Err(Full) }
    }
}

impl<'a, T, const MAX: usize> IntoIterator for &'a Bounded<T, MAX> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> slice::Iter<'a, T> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_takes_no_more_than_it_can_have() {
        let mut list = Bounded::<u8, 2>::from([1]);
        assert_eq!((list.push(2), list.push(3)), (Ok(()), Err(Full)));
        assert_eq!(list[..], [1, 2]);
        assert_eq!(Bounded::try_from(vec![1, 2]), Ok(list));
        assert_eq!(Bounded::<u8, 2>::try_from(vec![1, 2, 3]), Err(Full));
        assert_eq!(Bounded::<u8, 2>::from(None)[..], []);
    }
}
