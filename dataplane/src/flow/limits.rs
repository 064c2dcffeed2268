//! What flows count against, and how much of it there may be. The module [`flow`](super) has the list.

use super::entry::{Flow, Quota};
use super::holders::{Holders, Source};
use super::host_quota_sync::HostFlows;
use super::new::NewFlow;
use super::table::FlowTable;
use crate::config::Nat;
use crate::key::Address;
use crate::table::tally::Tally;

/// The part of a host's limit that the strangers of a port have together.
const UNVERIFIED_PART: u32 = 4;

impl<A: Address> FlowTable<A> {
    /// Whether no more flows may count against `quota`. Of a shard among several, one host may have no more
    /// than half, so that what it sends from a single port leaves others their room.
    pub(super) fn is_used_up(&self, quota: Quota<A>) -> bool {
        let here = self.count(quota);
        let is_crowded = !self.shard.is_sole()
            && !matches!(quota, Quota::Hairpin(_))
            && here >= (self.flows_max / 2).max(1);
        is_crowded || here.saturating_add(self.host_quota_sync.remote_count(quota)) >= self.limit_of(quota)
    }

    /// How many flows may count against `quota`, in all shards.
    /// The gateway opens flows for all hosts together: it asks for each name from another port.
    pub(super) fn limit_of(&self, quota: Quota<A>) -> u32 {
        let Nat { flows_max, flows_per_host_max, .. } = self.nat;
        match quota {
            Quota::Client(Source::Gateway) => flows_per_host_max.max(flows_max / 4),
            Quota::Client(Source::Station(..)) | Quota::Server(_) => flows_per_host_max,
            Quota::Client(Source::Unverified(_)) => (flows_per_host_max / UNVERIFIED_PART).max(1),
            Quota::Hairpin(_) => flows_max,
        }
    }

    /// How many flows of this shard count against `quota`.
    pub(super) fn count(&self, quota: Quota<A>) -> u32 {
        count(&self.holders, &self.quotas, quota)
    }

    /// What a flow counts against.
    pub(super) fn quota_of(&self, flow: &Flow<'_, A>) -> Quota<A> {
        let holder = flow.entry.holder;
        holder.map_or_else(|| flow.inbound_quota(), |holder| Quota::Client(self.holders.source(holder)))
    }

    /// What a flow will be counted against.
    pub(super) fn quota(&self, new: &NewFlow<A>) -> Quota<A> {
        match *new {
            NewFlow::Outbound { source, .. } => Quota::Client(self.holders.resolve(source)),
            NewFlow::Inbound { remote, .. } if self.is_hairpin(new) => Quota::Hairpin(remote.address),
            NewFlow::Inbound { server, .. } => Quota::Server(self.server_host(&server)),
        }
    }

    /// Whether a flow is an inside host's to another on its way in: its remote is an external address.
    pub(super) fn is_hairpin(&self, new: &NewFlow<A>) -> bool {
        match new {
            NewFlow::Outbound { .. } => false,
            NewFlow::Inbound { remote, .. } => {
                self.external_addresses().any(|external| external == remote.address)
            }
        }
    }

    /// What the other shards are to be told next: how many flows a host has here.
    pub(crate) fn pop_notice(&mut self) -> Option<HostFlows<A>> {
        let Self { host_quota_sync, quotas, holders, .. } = self;
        host_quota_sync.pop(|quota| count(holders, quotas, quota))
    }

    /// Takes in how many flows a host has in the shard `from`.
    pub(crate) fn apply_remote(&mut self, from: u8, flows: HostFlows<A>) {
        self.host_quota_sync.apply_remote(from, flows);
    }
}

/// How many flows count against `quota`.
#[inline]
fn count<A: Address>(holders: &Holders, quotas: &Tally<Quota<A>>, quota: Quota<A>) -> u32 {
    match quota {
        Quota::Client(source) => holders.count(source),
        Quota::Server(_) | Quota::Hairpin(_) => quotas.count(quota),
    }
}
