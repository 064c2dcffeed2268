//! Indexes of the lease table: addresses without an entry, and entries out of use. They find a new client's address
//! without a scan of the pool.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use gatepost_ground::Instant;

use crate::clock::UnixTime;

/// The addresses without an entry, as ranges that neither overlap nor touch.
#[derive(Debug)]
pub(super) struct Gaps {
    /// From the first address of a range to its last.
    ranges: BTreeMap<u32, u32>,
}

impl Default for Gaps {
    fn default() -> Self {
        Self { ranges: BTreeMap::from([(0, u32::MAX)]) }
    }
}

impl Gaps {
    /// Records an entry for `address`.
    pub fn fill(&mut self, address: Ipv4Addr) {
        let address = u32::from(address);
        let Some((&first, &last)) = self.ranges.range(..=address).next_back() else { return };
        if last < address {
            return;
        }
        self.ranges.remove(&first);
        if first < address {
            self.ranges.insert(first, address - 1);
        }
        if address < last {
            self.ranges.insert(address + 1, last);
        }
    }

    /// Records that `address` has no entry.
    pub fn open(&mut self, address: Ipv4Addr) {
        let address = u32::from(address);
        let before = self.ranges.range(..=address).next_back().map(|(first, last)| (*first, *last));
        let first = match before {
            Some((_, last)) if last >= address => return,
            Some((first, last)) if last + 1 == address => first,
            _ => address,
        };
        let after = address.checked_add(1).and_then(|next| self.ranges.remove(&next));
        self.ranges.insert(first, after.unwrap_or(address));
    }

    /// The addresses of `range` without an entry, in order.
    pub fn within(&self, range: &RangeInclusive<Ipv4Addr>) -> impl Iterator<Item = Ipv4Addr> {
        let (start, end) = (u32::from(*range.start()), u32::from(*range.end()));
        let around_start = self.ranges.range(..start).next_back();
        let after = self.ranges.range(start..).take_while(move |(first, _)| **first <= end);
        let gaps = around_start.into_iter().chain(after);
        gaps.flat_map(move |(first, last)| (*first).max(start)..=(*last).min(end)).map(Ipv4Addr::from)
    }
}

/// The entries in the order of expiry.
#[derive(Debug, Default)]
pub(super) struct Ages {
    /// Leases and quarantines that may be running, by their ends in monotonic time.
    running: BTreeSet<(Instant, Ipv4Addr)>,
    /// Expired entries, by the time of day of their expiry.
    ended: BTreeSet<(UnixTime, Ipv4Addr)>,
}

/// When an entry's use ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    /// The entry's address.
    pub address: Ipv4Addr,
    /// The end in monotonic time; `None` if it is out of use already.
    pub expires: Option<Instant>,
    /// The end by the time of day.
    pub until: UnixTime,
}

impl Ages {
    /// Adds an entry.
    pub fn insert(&mut self, entry: Use) {
        match entry.expires {
            Some(expires) => _ = self.running.insert((expires, entry.address)),
            None => _ = self.ended.insert((entry.until, entry.address)),
        }
    }

    /// Removes what was [inserted](Self::insert).
    pub fn remove(&mut self, entry: Use) {
        self.ended.remove(&(entry.until, entry.address));
        if let Some(expires) = entry.expires {
            self.running.remove(&(expires, entry.address));
        }
    }

    /// Moves the entries that have expired by `now`; `until` has their end by the time of day.
    pub fn advance(&mut self, now: Instant, until: impl Fn(Ipv4Addr) -> Option<UnixTime>) {
        while let Some((_, address)) = self.running.first().copied().filter(|(expires, _)| *expires <= now) {
            self.running.pop_first();
            if let Some(until) = until(address) {
                self.ended.insert((until, address));
            }
        }
    }

    /// The addresses out of use at `now`: those that were [moved](Self::advance) in the order of expiry, then the
    /// others.
    pub fn unused(&self, now: Instant) -> (impl Iterator<Item = Ipv4Addr>, impl Iterator<Item = Ipv4Addr>) {
        let not_noted = self.running.range(..=(now, Ipv4Addr::BROADCAST));
        (self.ended.iter().map(|(_, address)| *address), not_noted.map(|(_, address)| *address))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gaps_at_both_ends_of_all_addresses() {
        let mut gaps = Gaps::default();
        let ends = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST];
        for address in ends {
            gaps.fill(address);
            assert_eq!(gaps.within(&(address..=address)).next(), None);
            gaps.open(address);
            gaps.open(address);
            assert_eq!(gaps.within(&(address..=address)).collect::<Vec<_>>(), [address]);
        }
        assert_eq!(gaps.ranges, Gaps::default().ranges);
    }

    proptest! {
        #[test]
        fn gaps_agree_with_a_set(steps in prop::collection::vec((any::<bool>(), 0u32..24), 0..80), start in 0u32..24, len in 0u32..24) {
            let mut gaps = Gaps::default();
            let mut filled = BTreeSet::new();
            for (fills, number) in steps {
                let address = Ipv4Addr::from(number);
                if fills {
                    gaps.fill(address);
                    filled.insert(number);
                } else {
                    gaps.open(address);
                    filled.remove(&number);
                }
                let ranges: Vec<_> = gaps.ranges.iter().map(|(first, last)| (*first, *last)).collect();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", ranges);
            }
            let range = start..=start + len;
            let expected: Vec<_> = range.clone().filter(|number| !filled.contains(number)).map(Ipv4Addr::from).collect();
            let range = Ipv4Addr::from(*range.start())..=Ipv4Addr::from(*range.end());
            prop_assert_eq!(gaps.within(&range).collect::<Vec<_>>(), expected);
        }
    }
}
