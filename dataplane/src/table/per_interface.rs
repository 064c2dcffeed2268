//! One value for each interface.

use core::ops::{Index, IndexMut};

use gatepost_ground::InterfaceId;

/// A table with a value for every interface that a gateway can have, so that a look-up cannot fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PerInterface<T>([T; InterfaceId::COUNT_MAX]);

impl<T> PerInterface<T> {
    /// A table of `value` of each interface.
    pub(crate) fn from_fn(mut value: impl FnMut(InterfaceId) -> T) -> Self {
        Self(core::array::from_fn(|index| value(InterfaceId(index as u8))))
    }

    /// All values, by their interfaces' numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

impl<T> Index<InterfaceId> for PerInterface<T> {
    type Output = T;

    #[inline]
    fn index(&self, id: InterfaceId) -> &T {
        &self.0[id.index() % InterfaceId::COUNT_MAX]
    }
}

impl<T> IndexMut<InterfaceId> for PerInterface<T> {
    #[inline]
    fn index_mut(&mut self, id: InterfaceId) -> &mut T {
        &mut self.0[id.index() % InterfaceId::COUNT_MAX]
    }
}
