//! The flows that inside hosts have in the other shards, so that a host's limit holds over all shards.
//!
//! Each shard sends the others its number of flows of a host as soon as that differs from the last number sent by a
//! sixteenth of the shard's part of the limit, or becomes zero. So a host exceeds its limit by a sixteenth at most,
//! and by the flows that it opens while a notice is under way.
//!
//! [`HostQuotaSync::HOSTS_MAX`] hosts are known, counted separately as clients and as servers; of further hosts,
//! every shard counts only its own flows. A host whose number has to be sent waits in a queue once, however often the
//! number changes meanwhile. So the queue is bounded, and no change is lost however long the notices cannot be sent.

use core::hash::Hash;
use core::net::Ipv4Addr;
use core::num::NonZeroU32;
use std::collections::VecDeque;

use ahash::RandomState;

use super::entry::Quota;
use crate::shard::Shard;
use crate::table::index::Index;
use crate::table::memory::{Memory, Own, Shadow};
use crate::table::slab::Slab;

/// A notice between shards: the number of one shard's flows that count against one limit of an inside host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostFlows<A = Ipv4Addr> {
    pub(crate) quota: Quota<A>,
    pub(crate) count: u32,
}

/// The numbers of flows that this shard and the others have sent each other.
pub(super) struct HostQuotaSync<A: Copy + 'static, M: Memory = Own> {
    shard: Shard,
    hosts: Slab<Host<A>, M>,
    index: Index<M>,
    /// The hosts whose number is still to be sent to the other shards, each once.
    pending: VecDeque<u32>,
    hasher: RandomState,
}

#[derive(Clone)]
struct Host<A> {
    quota: Quota<A>,
    /// The number that each other shard sent last.
    remote_counts: [u32; Shard::COUNT_MAX as usize],
    /// The number that this shard sent last.
    announced: u32,
    is_pending: bool,
}

impl<A: Copy + Eq + Hash + 'static> HostQuotaSync<A> {
    /// The most hosts that are known, counted separately as clients and as servers.
    pub(super) const HOSTS_MAX: usize = 4096;

    /// The state of `shard` before any notice.
    pub(super) fn new(shard: Shard, hasher: RandomState) -> Self {
        let hosts_max = if shard.is_sole() { 0 } else { Self::HOSTS_MAX };
        let (mut hosts, mut index) = (Slab::new(), Index::new());
        hosts.reserve(hosts_max);
        index.reserve(hosts_max);
        Self { shard, hosts, index, pending: VecDeque::with_capacity(hosts_max), hasher }
    }

    /// A shadow of the numbers.
    pub(super) fn shadow(&self) -> HostQuotaSync<A, Shadow<'_>> {
        HostQuotaSync {
            shard: self.shard,
            hosts: self.hosts.shadow(),
            index: self.index.shadow(),
            pending: self.pending.clone(),
            hasher: self.hasher.clone(),
        }
    }
}

impl<A: Copy + Eq + Hash + 'static, M: Memory> HostQuotaSync<A, M> {
    /// The number of flows that count against `quota` in the other shards.
    pub(super) fn remote_count(&self, quota: Quota<A>) -> u32 {
        if self.shard.is_sole() {
            return 0;
        }
        self.find(quota).map_or(0, |id| {
            self.hosts[id].remote_counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
        })
    }

    /// Notes that `count` flows of this shard now count against `quota`, which has `limit` in all shards.
    pub(super) fn changed(&mut self, quota: Quota<A>, count: u32, limit: u32) {
        if self.shard.is_sole() {
            return;
        }
        let found = self.find(quota);
        let announced = found.map_or(0, |id| self.hosts[id].announced);
        let step = (limit / u32::from(self.shard.count()) / 16).max(1);
        if count.abs_diff(announced) < step && (count > 0 || announced == 0) {
            return;
        }
        let Some(id) = found.or_else(|| self.insert(quota)) else { return };
        if !self.hosts[id].is_pending {
            self.hosts[id].is_pending = true;
            self.pending.push_back(id);
        }
    }

    /// The next notice for the other shards; `count` gives this shard's current number.
    pub(super) fn pop(&mut self, count: impl FnOnce(Quota<A>) -> u32) -> Option<HostFlows<A>> {
        let id = self.pending.pop_front()?;
        let host = &mut self.hosts[id];
        let news = HostFlows { quota: host.quota, count: count(host.quota) };
        (host.announced, host.is_pending) = (news.count, false);
        self.forget_if_idle(id);
        Some(news)
    }

    /// Takes in a notice of the shard `from`.
    pub(super) fn apply_remote(&mut self, from: u8, HostFlows { quota, count }: HostFlows<A>) {
        let Some(id) = self.find(quota).or_else(|| (count > 0).then(|| self.insert(quota)).flatten()) else {
            return;
        };
        if let Some(remote_counts) = self.hosts[id].remote_counts.get_mut(usize::from(from)) {
            *remote_counts = count;
        }
        self.forget_if_idle(id);
    }

    fn insert(&mut self, quota: Quota<A>) -> Option<u32> {
        if self.hosts.len() == HostQuotaSync::<A>::HOSTS_MAX {
            return None;
        }
        let id = self.hosts.insert(Host {
            quota,
            remote_counts: [0; Shard::COUNT_MAX as usize],
            announced: 0,
            is_pending: false,
        });
        self.index.insert(self.hash(quota), NonZeroU32::MIN.saturating_add(id));
        Some(id)
    }

    fn forget_if_idle(&mut self, id: u32) {
        let host = &self.hosts[id];
        if host.announced == 0 && !host.is_pending && host.remote_counts.iter().all(|count| *count == 0) {
            let quota = host.quota;
            self.hosts.remove(id);
            self.index.remove(self.hash(quota), NonZeroU32::MIN.saturating_add(id));
        }
    }

    fn find(&self, quota: Quota<A>) -> Option<u32> {
        let found = self.index.find(self.hash(quota), |value| self.hosts[value.get() - 1].quota == quota)?;
        Some(found.get() - 1)
    }

    fn hash(&self, quota: Quota<A>) -> u32 {
        self.hasher.hash_one(quota) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sync(index: u8) -> HostQuotaSync<u32> {
        let shard = Shard::new(index, 2).expect("one of two");
        HostQuotaSync::new(shard, RandomState::with_seeds(1, 2, 3, 4))
    }

    fn host_quota(host: u32) -> Quota<u32> {
        Quota::Server(host)
    }

    #[test]
    fn others_are_told_by_sixteenths_and_of_the_end() {
        let mut sync = sync(0);
        let mut announced = Vec::new();
        for count in (1..=20).chain((0..20).rev()) {
            sync.changed(host_quota(7), count, 256);
            announced.extend(sync.pop(|_| count).map(|news| news.count));
        }
        assert_eq!(announced, [8, 16, 8, 0]);
        assert_eq!(sync.hosts.len(), 0, "who has nothing takes no room");
    }

    #[test]
    fn a_host_waits_once_and_is_told_of_as_it_is_then() {
        let mut sync = sync(0);
        for count in 1..=100 {
            sync.changed(host_quota(7), count, 16);
        }
        assert_eq!(sync.pop(|_| 60).map(|news| news.count), Some(60));
        assert_eq!(sync.pop(|_| 60), None);
        sync.changed(host_quota(7), 61, 16);
        assert_eq!(sync.pop(|_| 0).map(|news| news.count), Some(0));
        assert_eq!(sync.hosts.len(), 0);
    }

    #[test]
    fn what_others_have_is_known_until_they_have_nothing() {
        let mut sync = sync(0);
        sync.apply_remote(1, HostFlows { quota: host_quota(7), count: 5 });
        assert_eq!((sync.remote_count(host_quota(7)), sync.remote_count(host_quota(8))), (5, 0));
        sync.apply_remote(1, HostFlows { quota: host_quota(7), count: 3 });
        sync.apply_remote(9, HostFlows { quota: host_quota(7), count: 4 });
        assert_eq!(sync.remote_count(host_quota(7)), 7);
        sync.apply_remote(1, HostFlows { quota: host_quota(7), count: 0 });
        sync.apply_remote(9, HostFlows { quota: host_quota(7), count: 0 });
        assert_eq!((sync.remote_count(host_quota(7)), sync.hosts.len()), (0, 0));
        sync.apply_remote(200, HostFlows { quota: host_quota(7), count: 4 });
        assert_eq!(sync.remote_count(host_quota(7)), 0, "there is no such shard");
    }

    #[test]
    fn hosts_beyond_the_most_are_not_known() {
        let mut sync = sync(0);
        for host in 0..HostQuotaSync::<u32>::HOSTS_MAX as u32 {
            sync.apply_remote(1, HostFlows { quota: host_quota(host), count: 5 });
        }
        sync.apply_remote(1, HostFlows { quota: host_quota(u32::MAX), count: 5 });
        sync.changed(host_quota(u32::MAX), 5, 16);
        assert_eq!((sync.remote_count(host_quota(u32::MAX)), sync.pop(|_| 5)), (0, None));
        sync.changed(host_quota(0), 1, 16);
        assert_eq!(sync.pop(|_| 1), Some(HostFlows { quota: host_quota(0), count: 1 }));
    }

    #[test]
    fn alone_nobody_is_told() {
        let mut sync = HostQuotaSync::new(Shard::SOLE, RandomState::with_seeds(1, 2, 3, 4));
        sync.changed(host_quota(7), 100, 16);
        assert_eq!((sync.remote_count(host_quota(7)), sync.pop(|_| 100)), (0, None));
    }
}
