//! Finding a packet's flow by its key.

use core::num::NonZeroU32;

use super::store::FlowId;
use super::table::FlowTable;
use crate::key::{Address, Direction, FlowKey};
use crate::table::memory::Memory;

/// The hash of a [`FlowKey`] with one table's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(pub(super) u32);

impl<A: Address, M: Memory> FlowTable<A, M> {
    /// The hash of `key`, for the look-ups below.
    #[inline]
    pub fn hash(&self, key: &FlowKey<A>) -> KeyHash {
        KeyHash(self.hasher.hash_one(key) as u32)
    }

    /// The flow that packets with `key` belong to, and their direction.
    #[inline]
    pub fn lookup(&self, key: &FlowKey<A>) -> Option<(FlowId, Direction)> {
        self.lookup_hashed(self.hash(key), key)
    }

    /// As [`FlowTable::lookup`], with the hash of `key` known.
    #[inline]
    pub fn lookup_hashed(&self, hash: KeyHash, key: &FlowKey<A>) -> Option<(FlowId, Direction)> {
        let found = self.index.find(hash.0, |reference| {
            let (id, direction) = resolve(reference);
            self.flows.has_key(id, direction, key)
        })?;
        Some(resolve(found))
    }

    /// Prefetches the index for a look-up of `hash`. For a batch: call this for all hashes, then
    /// [`FlowTable::prefetch_flow`] for all, then look up each.
    #[inline]
    pub fn prefetch(&self, hash: KeyHash) {
        self.index.prefetch(hash.0);
    }

    /// Prefetches the flow for a look-up of `hash`, for which [`FlowTable::prefetch`] was called before.
    #[inline]
    pub fn prefetch_flow(&self, hash: KeyHash) {
        if let Some(found) = self.index.candidate(hash.0) {
            self.flows.prefetch(resolve(found).0);
        }
    }
}

/// The index's value for a key: its flow and direction, never 0.
pub(super) fn reference(id: FlowId, direction: Direction) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(id.0 << 1 | direction as u32)
}

#[inline]
fn resolve(reference: NonZeroU32) -> (FlowId, Direction) {
    let bits = reference.get() - 1;
    (FlowId(bits >> 1), if bits & 1 == 0 { Direction::Original } else { Direction::Reply })
}
