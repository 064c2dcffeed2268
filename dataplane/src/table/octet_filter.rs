//! A filter that excludes most values from a small set without comparing them with each element.

/// A set of the last six bits of a few values: a Bloom filter with one hash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OctetFilter(u64);

impl OctetFilter {
    /// The filter of values that end in these octets.
    pub(crate) fn of(values: impl Iterator<Item = u8>) -> Self {
        Self(values.fold(0, |marks, last| marks | 1 << (last & 63)))
    }

    /// Whether a value that ends in the octet `last` may be one of them.
    #[inline]
    pub(crate) fn may_have(self, last: u8) -> bool {
        self.0 >> (last & 63) & 1 != 0
    }
}
