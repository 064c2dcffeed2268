//! The table itself: its parts, its configuration, and the end of its flows.

use core::net::Ipv4Addr;
use core::ops::RangeInclusive;

use ahash::RandomState;
use gatepost_ground::Instant;
use gatepost_ground::wire::Protocol;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::entry::{Flow, Quota};
use super::half_open::HalfOpen;
use super::holders::Holders;
use super::host_quota_sync::HostQuotaSync;
use super::log::{FlowEnd, FlowEvents, FlowLog};
use super::pinholes::Pinholes;
use super::store::{FlowId, Store};
use super::tcp::Phase;
use super::timeouts::Timeouts;
use crate::config::{Filtering, Nat};
#[cfg(test)]
use crate::key::FlowKey;
use crate::key::{Address, Endpoint};
use crate::nat::mapping::{EXTERNALS_MAX, Mappings};
use crate::nat::{Mapping, MappingId};
use crate::shard::Shard;
use crate::table::index::Index;
use crate::table::list::Links;
use crate::table::memory::{Memory, Own, Shadow};
use crate::table::slab::Slab;
use crate::table::tally::Tally;
use crate::table::timer::{Tick, Wheel};

/// The flow table, with the mappings and ports that its flows use.
pub struct FlowTable<A: Address = Ipv4Addr, M: Memory = Own> {
    pub(super) flows: Store<A, M>,
    /// Both keys of every flow.
    pub(super) index: Index<M>,
    pub(super) hasher: RandomState,
    pub(super) wheel: Wheel<M>,
    pub(super) mappings: Mappings<A, M>,
    /// The addresses to which the inside endpoint of a mapping has sent; empty without address-dependent filtering.
    pub(super) permissions: Tally<(MappingId, A), M>,
    /// The counts of inbound flows, by quota.
    pub(super) quotas: Tally<Quota<A>, M>,
    /// The counts and queues of the flows that the inside opened.
    pub(super) holders: Holders<M>,
    pub(super) host_quota_sync: HostQuotaSync<A, M>,
    pub(super) half_open: HalfOpen<M>,
    pub(super) pinholes: Pinholes<A>,
    pub(super) shard: Shard,
    pub(super) timeouts: Timeouts,
    pub(super) nat: Nat,
    /// This shard's part of [`Nat::flows_max`].
    pub(super) flows_max: u32,
    /// The number of flows recycled so far.
    pub(super) recycled: u64,
    pub(super) log: FlowLog<A>,
    /// The keys of the flows recycled for the last new flows, in order.
    #[cfg(test)]
    pub(super) evicted: Vec<[FlowKey<A>; 2]>,
}

impl<A: Address> FlowTable<A> {
    /// The most flows that a table can be configured for.
    pub const FLOWS_MAX: u32 = 1 << 24;

    /// The most timers that one [`FlowTable::handle_timeout`] looks at.
    pub const EXPIRIES_MAX: usize = 1024;

    /// The empty table of `shard`, without external addresses. The secret `seed` decides hashes and ports.
    pub fn new(nat: &Nat, timeouts: Timeouts, shard: Shard, seed: [u8; 32]) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let mut word = || rng.next_u64();
        let hasher = RandomState::with_seeds(word(), word(), word(), word());
        let mut table = Self {
            flows: Store::new(),
            index: Index::new(),
            wheel: Wheel::new(),
            mappings: Mappings::new(shard, hasher.clone(), rng),
            permissions: Tally::new(hasher.clone()),
            quotas: Tally::new(hasher.clone()),
            holders: Holders::new(hasher.clone()),
            host_quota_sync: HostQuotaSync::new(shard, hasher.clone()),
            half_open: HalfOpen::new(hasher.clone()),
            pinholes: Pinholes::new(),
            hasher,
            shard,
            timeouts,
            nat: *nat,
            flows_max: 0,
            recycled: 0,
            log: FlowLog::new(shard),
            #[cfg(test)]
            evicted: Vec::new(),
        };
        table.configure(nat);
        table
    }

    /// Changes limits and filtering. Flows above a new limit stay. Only here does the table allocate memory.
    pub fn configure(&mut self, nat: &Nat) {
        self.nat = Nat { flows_max: nat.flows_max.min(Self::FLOWS_MAX), ..*nat };
        self.flows_max = self.nat.flows_max.div_ceil(self.shard.count().into());
        let flows_max = self.flows_max as usize;
        self.flows.reserve(flows_max);
        self.index.reserve(2 * flows_max);
        self.wheel.reserve(flows_max);
        self.mappings.reserve(flows_max);
        self.quotas.reserve(flows_max);
        self.holders.reserve(flows_max);
        self.half_open.configure(self.flows_max, nat.flows_per_host_max);
        self.permissions.clear();
        if nat.filtering == Filtering::AddressDependent {
            self.permissions.reserve(2 * flows_max.max(self.len()));
            for permission in self.flows.iter().filter_map(|(_, flow)| flow.permission()) {
                self.permissions.add(permission);
            }
        }
    }

    /// The most external addresses. Further ones are ignored, and have no mappings.
    pub const EXTERNALS_MAX: usize = EXTERNALS_MAX;

    /// Changes the external addresses at `now`. The flows of a removed address end; those of the others go on.
    pub fn set_external_addresses(&mut self, now: Instant, addresses: &[A]) {
        let gone: Vec<A> = self.external_addresses().filter(|old| !addresses.contains(old)).collect();
        if !gone.is_empty() {
            self.remove_where(now, |flow| gone.iter().any(|old| flow.uses_external(*old)));
            self.close_pinholes_where(|mapping| gone.contains(&mapping.external.address));
        }
        self.mappings.set_externals(addresses);
    }

    /// Sets the ports of `protocol` that belong to services and forwards on every external address. A mapping with
    /// one of these ports ends, and so do its flows.
    pub fn set_reserved_ports(
        &mut self,
        protocol: Protocol,
        ports: impl Iterator<Item = RangeInclusive<u16>>,
    ) {
        self.mappings.set_reserved(protocol, ports);
        for number in 0..self.flows.end() {
            let mapping = self.numbered(number).and_then(|flow| flow.mapping(flow.entry.inside));
            if mapping.is_some_and(|mapping| self.mappings.is_reserved(mapping)) {
                self.end_numbered(number, FlowEnd::Removed);
            }
        }
        self.end_reserved_pinholes();
    }

    /// A shadow of the table: a copy that reads the table's memory, and keeps to itself what it writes.
    pub(crate) fn shadow(&self) -> FlowTable<A, Shadow<'_>> {
        FlowTable {
            flows: self.flows.shadow(),
            index: self.index.shadow(),
            hasher: self.hasher.clone(),
            wheel: self.wheel.shadow(),
            mappings: self.mappings.shadow(),
            permissions: self.permissions.shadow(),
            quotas: self.quotas.shadow(),
            holders: self.holders.shadow(),
            host_quota_sync: self.host_quota_sync.shadow(),
            half_open: self.half_open.shadow(),
            pinholes: self.pinholes.clone(),
            shard: self.shard,
            timeouts: self.timeouts,
            nat: self.nat,
            flows_max: self.flows_max,
            recycled: self.recycled,
            log: FlowLog::new(self.shard),
            #[cfg(test)]
            evicted: self.evicted.clone(),
        }
    }
}

impl<A: Address, M: Memory> FlowTable<A, M> {
    /// The external addresses of mappings.
    pub fn external_addresses(&self) -> impl Iterator<Item = A> {
        self.mappings.externals()
    }

    /// The flow `id`.
    ///
    /// # Panics
    ///
    /// If it has ended.
    #[inline]
    pub fn flow(&self, id: FlowId) -> Flow<'_, A> {
        self.flows.get(id)
    }

    /// All flows, in the order of their numbers.
    pub fn flows(&self) -> impl Iterator<Item = (FlowId, Flow<'_, A>)> {
        self.flows.iter()
    }

    /// The flows of `count_max` numbers, from the number `from` on.
    pub fn flows_from(&self, from: u32, count_max: u32) -> impl Iterator<Item = Flow<'_, A>> {
        (from..self.flows.end().min(from.saturating_add(count_max)))
            .filter_map(|number| self.numbered(number))
    }

    /// One more than the greatest number that a flow ever had.
    pub fn numbers_end(&self) -> u32 {
        self.flows.end()
    }

    /// The number of flows recycled so far.
    pub fn recycled(&self) -> u64 {
        self.recycled
    }

    /// The number of flows.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there is no flow.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The mapping that owns an external endpoint, if there is one.
    pub fn mapping_by_external(&self, protocol: Protocol, external: Endpoint<A>) -> Option<MappingId> {
        self.mappings.by_external(protocol, external)
    }

    /// The mapping `id`.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn mapping(&self, id: MappingId) -> &Mapping<A> {
        &self.mappings[id]
    }

    /// The number of mappings.
    pub fn mappings_len(&self) -> usize {
        self.mappings.len()
    }

    /// Ends the flow `id`.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn remove(&mut self, id: FlowId) {
        self.end(id, FlowEnd::Removed);
    }

    fn end(&mut self, id: FlowId, why: FlowEnd) {
        self.wheel.disarm(self.flows.get(id).entry.number);
        self.forget(id, why);
    }

    /// The flow with this number, if it exists.
    pub(super) fn numbered(&self, number: u32) -> Option<Flow<'_, A>> {
        Some(self.flows.get(self.flows.numbered(number)?))
    }

    /// Ends the flow with this number, if it exists.
    pub(super) fn end_numbered(&mut self, number: u32, why: FlowEnd) {
        if let Some(id) = self.flows.numbered(number) {
            self.end(id, why);
        }
    }
}

impl<A: Address> FlowTable<A> {
    /// Ends the flows for which `is_ended` is true at `now`. It looks at all flows, so it is for changes of
    /// configuration only.
    pub fn remove_where(&mut self, now: Instant, mut is_ended: impl FnMut(&Flow<'_, A>) -> bool) {
        let latest = Tick::after(now, self.timeouts.tcp_transitory_secs());
        for number in 0..self.flows.end() {
            let Some(flow) = self.numbered(number).filter(|flow| is_ended(flow)) else { continue };
            let is_established = flow.entry.tcp.phase() == Phase::Established;
            let connected = flow.mapping(flow.entry.inside).filter(|_| is_established);
            // The mapping outlives the flow until it is shortened.
            connected.into_iter().for_each(|mapping| self.mappings.acquire(mapping));
            self.end_numbered(number, FlowEnd::Removed);
            if let Some(mapping) = connected {
                self.mappings.shorten(mapping, latest);
                self.mappings.release(mapping);
            }
        }
    }

    /// Notes the time of a call, for the log.
    #[inline]
    pub(crate) fn begin(&mut self, now: Instant) {
        self.log.begin(now);
    }

    /// At most `count_max` of the last flows that were opened and that have ended, from the number `from` on. They are
    /// remembered from the first call on, while one follows the other within 30 s.
    pub fn watch(&mut self, now: Instant, from: u64, count_max: usize) -> FlowEvents<A> {
        self.log.watch(now, from, count_max)
    }

    /// When [`FlowTable::handle_timeout`] has to be called; `None` while there is neither flow nor pinhole.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.wheel.next(), self.pinholes.next_end()].into_iter().flatten().min().map(Tick::instant)
    }

    /// Ends flows and pinholes that are due. The work of one call is bounded; if some is left,
    /// [`FlowTable::poll_timeout`] is not in the future.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = Tick::at(now);
        self.expire_pinholes(now);
        for _ in 0..Self::EXPIRIES_MAX {
            let Some(number) = self.wheel.expire(now) else { return };
            let Some(id) = self.flows.numbered(number) else {
                debug_assert!(false, "a flow that has ended has no timer");
                continue;
            };
            let expires = self.flows.get(id).entry.expires;
            if expires <= now {
                self.forget(id, FlowEnd::Idle);
            } else {
                self.wheel.arm(number, expires);
            }
        }
    }
}

// A flow takes at most 208 octets in all, with a mapping of its own.
const _: () = assert!(
    Store::<Ipv4Addr>::TRANSLATED_OCTETS + 2 * Index::ENTRY_OCTETS + Wheel::TIMER_OCTETS + Links::ENTRY_OCTETS // the flow
        + Slab::<Mapping>::ENTRY_OCTETS + Index::ENTRY_OCTETS // the mapping
        <= 208
);
// A flow that is only tracked takes at most 148 octets.
const _: () = assert!(
    Store::<Ipv4Addr>::TRACKED_OCTETS + 2 * Index::ENTRY_OCTETS + Wheel::TIMER_OCTETS + Links::ENTRY_OCTETS
        <= 148
);
