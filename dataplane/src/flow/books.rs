//! The books that a flow stands in from its beginning to its end: index, timers, limits, queues, mappings.

use gatepost_ground::Instant;

use super::entry::{Flow, Quota};
use super::lookup::reference;
use super::table::{FlowId, FlowTable};
use super::visitors::Visit;
use crate::config::Filtering;
use crate::key::{Address, Direction};
use crate::nat::mapping::space_of;
use crate::table::timer::Tick;

impl<A: Address> FlowTable<A> {
    /// Sees to it that the other shards hear how many flows count against `quota`, if that is worth it.
    fn tell_count(&mut self, quota: Quota<A>) {
        if !self.shard.is_sole() && !matches!(quota, Quota::Hairpin(_)) {
            self.shares.changed(quota, self.count(quota), self.limit_of(quota));
        }
    }

    /// Enters a flow that was [admitted](FlowTable::admit).
    pub(super) fn insert(&mut self, now: Instant, flow: Flow<A>, quota: Quota<A>) -> FlowId {
        let (keys, mappings, expires) = (flow.keys, flow.mappings, flow.expires);
        let visitor = (flow.visit == Visit::HalfOpen).then(|| flow.opener());
        if let Some(oldest) = self.visitors.oldest().filter(|_| visitor.is_some() && self.visitors.is_full())
        {
            self.remove(FlowId(oldest));
            self.recycled += 1;
        }
        if self.is_empty() {
            self.wheel.skip_to(Tick::at(now));
        }
        let id = FlowId(self.flows.insert(flow));
        for (key, direction) in keys.iter().zip(Direction::BOTH) {
            self.index.insert(self.hash(key).0, reference(id, direction));
        }
        self.wheel.arm(id.0, expires);
        match quota {
            Quota::Client(source) => {
                let holder = self.holders.arrive(source, space_of(keys[0].protocol), id.0);
                self.flows[id.0].holder = Some(holder);
            }
            Quota::Server(_) | Quota::Hairpin(_) => self.quotas.add(quota),
        }
        self.tell_count(quota);
        visitor.into_iter().for_each(|source| self.visitors.arrive(id.0, source));
        mappings.into_iter().flatten().for_each(|mapping| self.mappings.acquire(mapping));
        id
    }

    /// Takes out a flow whose timer is disarmed.
    pub(super) fn forget(&mut self, id: FlowId) {
        let flow = self.flows.remove(id.0);
        for (key, direction) in flow.keys.iter().zip(Direction::BOTH) {
            self.index.remove(self.hash(key).0, reference(id, direction));
        }
        let quota = self.quota_of(&flow);
        if let Some(holder) = flow.holder {
            let space = space_of(flow.keys[0].protocol);
            self.holders.leave(holder, space, id.0, flow.visit == Visit::Pending);
        } else {
            self.quotas.subtract(quota);
            self.visitors.leave(id.0, flow.opener(), flow.visit);
        }
        self.tell_count(quota);
        if self.nat.filtering == Filtering::AddressDependent {
            let permissions = Direction::BOTH.into_iter().filter_map(|direction| flow.permission(direction));
            permissions.for_each(|permission| self.permissions.subtract(permission));
        }
        flow.mappings.into_iter().flatten().for_each(|mapping| self.mappings.release(mapping));
    }
}
