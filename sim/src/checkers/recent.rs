//! Recent observations, by key.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use gatepost_ground::Instant;

/// The longest time for which a packet waits in the gateway for a neighbour.
pub const WAIT_MAX: Duration = Duration::from_secs(4);

/// Values by key, each for a time, in a bounded table.
pub struct Recent<K, V> {
    age_max: Duration,
    len_max: usize,
    by_key: BTreeMap<K, Vec<(Instant, V)>>,
    /// The times of the values, the earliest first.
    order: VecDeque<(Instant, K)>,
    /// The time of the latest value that was removed for want of room.
    pushed_out: Option<Instant>,
}

impl<K: Ord + Copy, V> Recent<K, V> {
    /// An empty table. Each value stays for `age_max`, as long as there are no more than `len_max`.
    pub fn new(age_max: Duration, len_max: usize) -> Self {
        Self { age_max, len_max, by_key: BTreeMap::new(), order: VecDeque::new(), pushed_out: None }
    }

    /// Adds a value that is seen at `now`, no earlier than those before it.
    pub fn push(&mut self, now: Instant, key: K, value: V) {
        while let Some((at, _)) = self.order.front().copied() {
            let is_old = at + self.age_max < now;
            if !is_old && self.order.len() < self.len_max {
                break;
            }
            self.forget_first(at);
            if !is_old {
                self.pushed_out = Some(at);
            }
        }
        self.order.push_back((now, key));
        self.by_key.entry(key).or_default().push((now, value));
    }

    fn forget_first(&mut self, at: Instant) {
        let Some((_, key)) = self.order.pop_front() else { return };
        if let Some(alike) = self.by_key.get_mut(&key) {
            alike.retain(|(seen_at, _)| *seen_at > at);
            if alike.is_empty() {
                self.by_key.remove(&key);
            }
        }
    }

    /// The values with this key.
    pub fn alike(&self, key: &K) -> impl Iterator<Item = &V> {
        self.by_key.get(key).into_iter().flatten().map(|(_, value)| value)
    }

    /// Whether the table still has all values of the last `age_max` before `now`.
    pub fn is_complete(&self, now: Instant) -> bool {
        self.pushed_out.is_none_or(|at| at + self.age_max < now)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::new(self.age_max, self.len_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_with_age_and_for_want_of_room() {
        let at = Instant::from_secs;
        let mut recent = Recent::new(Duration::from_secs(4), 3);
        for secs in [1, 2, 3] {
            recent.push(at(secs), secs % 2, secs);
        }
        assert_eq!((recent.alike(&1).count(), recent.alike(&0).count()), (2, 1));
        recent.push(at(6), 0, 6);
        assert_eq!(recent.alike(&1).collect::<Vec<_>>(), [&3]);
        assert!(recent.is_complete(at(6)));
        recent.push(at(6), 0, 7);
        assert_eq!(recent.alike(&0).collect::<Vec<_>>(), [&6, &7]);
        assert!(!recent.is_complete(at(6)) && recent.is_complete(at(7)));
    }
}
