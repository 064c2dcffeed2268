//! What most values are told apart from a few by, without being compared with each of them.

/// The last six bits of a few values.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OctetFilter(u64);

impl OctetFilter {
    /// Those of values that end in these octets.
    pub(crate) fn of(values: impl Iterator<Item = u8>) -> Self {
        Self(values.fold(0, |marks, last| marks | 1 << (last & 63)))
    }

    /// Whether a value that ends in the octet `last` may be one of them.
    #[inline]
    pub(crate) fn may_have(self, last: u8) -> bool {
        self.0 >> (last & 63) & 1 != 0
    }
}
