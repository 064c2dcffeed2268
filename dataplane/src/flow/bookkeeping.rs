//! The records that a flow has from its beginning to its end: index, timers, quotas, queues, mappings.

use gatepost_ground::Instant;

use super::entry::{Quota, Record};
use super::half_open::InboundState;
use super::log::FlowEnd;
use super::lookup::{KeyHash, reference};
use super::store::FlowId;
use super::table::FlowTable;
use super::tcp::Phase;
use crate::config::Filtering;
use crate::key::{Address, Direction};
use crate::nat::mapping::space_of;
use crate::table::memory::Memory;
use crate::table::timer::Tick;

impl<A: Address, M: Memory> FlowTable<A, M> {
    /// Queues a notice to the other shards of the number of flows that count against `quota`, if it has changed enough.
    fn announce_count(&mut self, quota: Quota<A>) {
        if !self.shard.is_sole() && !matches!(quota, Quota::Hairpin(_)) {
            self.host_quota_sync.changed(quota, self.count(quota), self.limit_of(quota));
        }
    }

    /// Adds a flow that was [admitted](FlowTable::admit), with the hashes of its keys.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        record: Record<A>,
        hashes: [KeyHash; 2],
        quota: Quota<A>,
    ) -> FlowId {
        let (flow, expires) = (record.flow(), record.entry.expires);
        let mapping = flow.mapping(record.entry.inside);
        let inbound_source =
            (record.entry.inbound_state == InboundState::Embryonic).then(|| record.entry.opener());
        if let Some(oldest) =
            self.half_open.oldest().filter(|_| inbound_source.is_some() && self.half_open.is_full())
        {
            self.end_numbered(oldest, FlowEnd::Recycled);
            self.recycled += 1;
        }
        let is_hairpin = record.entry.inbound_state == InboundState::Hairpin;
        if let Some(oldest) = self.half_open.hairpin_beyond().filter(|_| is_hairpin) {
            self.end_numbered(oldest, FlowEnd::Recycled);
            self.recycled += 1;
        }
        if self.is_empty() {
            self.wheel.skip_to(Tick::at(now));
        }
        let id = self.flows.insert(record);
        let (entry, _) = self.flows.get_mut(id);
        let number = entry.number;
        if let Quota::Client(source) = quota {
            entry.holder = Some(self.holders.arrive(source, space_of(entry.key.protocol), number));
        } else {
            self.quotas.add(quota);
        }
        for (hash, direction) in hashes.into_iter().zip(Direction::BOTH) {
            self.index.insert(hash.0, reference(id, direction));
        }
        self.wheel.arm(number, expires);
        self.announce_count(quota);
        inbound_source.into_iter().for_each(|source| self.half_open.arrive(number, source));
        if is_hairpin {
            self.half_open.arrive_hairpin(number);
        }
        mapping.into_iter().for_each(|mapping| self.mappings.acquire(mapping));
        self.log.opened(&self.flows.get(id));
        id
    }

    /// Removes a flow whose timer is disarmed.
    pub(super) fn forget(&mut self, id: FlowId, why: FlowEnd) {
        let record = self.flows.remove(id);
        let (flow, entry) = (record.flow(), &record.entry);
        self.log.ended(why, &flow);
        for direction in Direction::BOTH {
            self.index.remove(self.hash(&flow.key(direction)).0, reference(id, direction));
        }
        let quota = self.quota_of(&flow);
        if let Some(holder) = entry.holder {
            let space = space_of(entry.key.protocol);
            self.holders.leave(holder, space, entry.number, entry.inbound_state == InboundState::Pending);
        } else {
            self.quotas.subtract(quota);
            self.half_open.leave(entry.number, entry.opener(), entry.inbound_state);
        }
        self.announce_count(quota);
        if self.nat.filtering == Filtering::AddressDependent {
            flow.permission().into_iter().for_each(|permission| self.permissions.subtract(permission));
        }
        if let Some(mapping) = flow.mapping(entry.inside) {
            if entry.tcp.phase() == Phase::Established {
                self.mappings.disconnect(mapping);
            }
            self.mappings.release(mapping);
        }
    }
}
