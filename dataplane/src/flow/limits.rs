//! The quotas that flows count against. The module [`flow`](super) lists them.

use super::entry::{Flow, Quota};
use super::holders::{Holders, Source};
use super::host_quota_sync::HostFlows;
use super::new::NewFlow;
use super::table::FlowTable;
use crate::config::Nat;
use crate::key::Address;
use crate::table::memory::Memory;
use crate::table::tally::Tally;

/// The part of a host's limit that the unverified senders of a port share.
const UNVERIFIED_PART: u32 = 4;

impl<A: Address, M: Memory> FlowTable<A, M> {
    /// Whether `quota` is used up. With several shards, one host may use at most half of a shard, so that a host that
    /// sends from a single port leaves room for others.
    pub(super) fn is_used_up(&self, quota: Quota<A>) -> bool {
        let here = self.count(quota);
        let is_crowded = !self.shard.is_sole()
            && !matches!(quota, Quota::Hairpin(_))
            && here >= (self.flows_max / 2).max(1);
        is_crowded || here.saturating_add(self.host_quota_sync.remote_count(quota)) >= self.limit_of(quota)
    }

    /// The most flows that may count against `quota`, in all shards. The gateway has a higher limit because it opens
    /// flows for all hosts: it sends each DNS query from another port.
    pub(super) fn limit_of(&self, quota: Quota<A>) -> u32 {
        let Nat { flows_max, flows_per_host_max, .. } = self.nat;
        match quota {
            Quota::Client(Source::Gateway) => flows_per_host_max.max(flows_max / 4),
            Quota::Client(Source::Station(..)) | Quota::Server(_) => flows_per_host_max,
            Quota::Client(Source::Unverified(_)) => (flows_per_host_max / UNVERIFIED_PART).max(1),
            Quota::Hairpin(_) => flows_max,
        }
    }

    /// The number of this shard's flows that count against `quota`.
    pub(super) fn count(&self, quota: Quota<A>) -> u32 {
        count(&self.holders, &self.quotas, quota)
    }

    /// The quota that a flow counts against.
    pub(super) fn quota_of(&self, flow: &Flow<'_, A>) -> Quota<A> {
        let holder = flow.entry.holder;
        holder.map_or_else(|| flow.inbound_quota(), |holder| Quota::Client(self.holders.source(holder)))
    }

    /// The quota that a new flow will count against.
    pub(super) fn quota(&self, new: &NewFlow<A>) -> Quota<A> {
        match *new {
            NewFlow::Outbound { source, .. } => Quota::Client(self.holders.resolve(source)),
            NewFlow::Inbound { remote, .. } if self.is_hairpin(new) => Quota::Hairpin(remote.address),
            NewFlow::Inbound { server, .. } => Quota::Server(self.server_host(&server)),
        }
    }

    /// Whether a new flow is the inbound half of a hairpin: its remote is an external address.
    pub(super) fn is_hairpin(&self, new: &NewFlow<A>) -> bool {
        match new {
            NewFlow::Outbound { .. } => false,
            NewFlow::Inbound { remote, .. } => {
                self.external_addresses().any(|external| external == remote.address)
            }
        }
    }

    /// The next notice for the other shards: the number of flows that a host has in this shard.
    pub(crate) fn pop_notice(&mut self) -> Option<HostFlows<A>> {
        let Self { host_quota_sync, quotas, holders, .. } = self;
        host_quota_sync.pop(|quota| count(holders, quotas, quota))
    }

    /// Takes in the number of flows that a host has in the shard `from`.
    pub(crate) fn apply_remote(&mut self, from: u8, flows: HostFlows<A>) {
        self.host_quota_sync.apply_remote(from, flows);
    }
}

/// The number of flows that count against `quota`.
#[inline]
fn count<A: Address, M: Memory>(holders: &Holders<M>, quotas: &Tally<Quota<A>, M>, quota: Quota<A>) -> u32 {
    match quota {
        Quota::Client(source) => holders.count(source),
        Quota::Server(_) | Quota::Hairpin(_) => quotas.count(quota),
    }
}
