//! A rate limit for each of many keys, such as the addresses of clients.

use std::collections::BTreeMap;

use gatepost_ground::{Instant, RateLimit};

/// The most keys that are tracked. When one more comes, all limits start afresh.
pub(crate) const COUNTED_MAX: usize = 4096;

/// The same limit for each key.
#[derive(Debug)]
pub(crate) struct Limits<K> {
    of_each: RateLimit,
    by_key: BTreeMap<K, RateLimit>,
}

impl<K: Ord> Limits<K> {
    /// Limits with all tokens available.
    pub fn new(of_each: RateLimit) -> Self {
        Self { of_each, by_key: BTreeMap::new() }
    }

    /// Takes a token of `key`, if one is left.
    pub fn admit(&mut self, now: Instant, key: K) -> bool {
        if self.by_key.len() >= COUNTED_MAX && !self.by_key.contains_key(&key) {
            self.by_key.clear();
        }
        self.by_key.entry(key).or_insert(self.of_each).admit(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_limit_and_the_table_is_bounded() {
        let mut limits = Limits::new(RateLimit::new(1, 3));
        let now = Instant::from_secs(1000);
        assert_eq!([7; 4].map(|key| limits.admit(now, key)), [true, true, true, false]);
        assert!(limits.admit(now, 8), "another key's");
        let admitted = (0..100_000).filter(|key| limits.admit(now, *key)).count();
        assert!(admitted >= 99_999 && limits.by_key.len() <= COUNTED_MAX);
    }
}
