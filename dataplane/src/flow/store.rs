//! The memory of flows: tracked flows and translated flows are stored apart.
//!
//! A flow that is only tracked (to a service of the gateway, or of an address family without translation) is an
//! [`Entry`]. A translated flow has its [`Nat`] directly behind its entry. So a tracked flow takes no room for a
//! translation, and a packet of a translated flow touches no other memory.
//!
//! All flows share one numbering, which timers and queues use. Numbers are reused, so that they stay small.

use super::entry::{Entry, Flow, Nat, Record};
use crate::key::{Address, Direction, FlowKey};
use crate::table::memory::{Memory, Own, Shadow};
use crate::table::slab::Slab;

/// Where a flow is stored. The value is valid until the flow ends, and is reused then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(
    /// The index among the flows of its kind, and in the last bit whether the flow is translated.
    pub(super) u32,
);

/// A translated flow.
#[derive(Clone)]
struct Translated<A> {
    entry: Entry<A>,
    nat: Nat<A>,
}

/// The flows of a table.
pub(super) struct Store<A: Address, M: Memory = Own> {
    tracked: Slab<Entry<A>, M>,
    translated: Slab<Translated<A>, M>,
    /// The flows by their numbers.
    numbered: Slab<FlowId, M>,
}

impl FlowId {
    #[inline]
    fn tracked(place: u32) -> Self {
        Self(place << 1)
    }

    #[inline]
    fn translated(place: u32) -> Self {
        Self(place << 1 | 1)
    }

    #[inline]
    fn place(self) -> u32 {
        self.0 >> 1
    }

    #[inline]
    fn is_translated(self) -> bool {
        self.0 & 1 != 0
    }
}

impl<A: Address> Store<A> {
    /// The octets of a flow that is only tracked.
    pub(super) const TRACKED_OCTETS: usize = Slab::<Entry<A>>::ENTRY_OCTETS + Slab::<FlowId>::ENTRY_OCTETS;

    /// The octets of a translated flow.
    pub(super) const TRANSLATED_OCTETS: usize =
        Slab::<Translated<A>>::ENTRY_OCTETS + Slab::<FlowId>::ENTRY_OCTETS;

    /// No flows, and no room.
    pub(super) fn new() -> Self {
        Self { tracked: Slab::new(), translated: Slab::new(), numbered: Slab::new() }
    }

    /// Makes room for `flows_max` flows in all, of either kind.
    pub(super) fn reserve(&mut self, flows_max: usize) {
        self.tracked.reserve(flows_max);
        self.translated.reserve(flows_max);
        self.numbered.reserve(flows_max);
    }

    /// A shadow of the flows.
    pub(super) fn shadow(&self) -> Store<A, Shadow<'_>> {
        Store {
            tracked: self.tracked.shadow(),
            translated: self.translated.shadow(),
            numbered: self.numbered.shadow(),
        }
    }
}

impl<A: Address, M: Memory> Store<A, M> {
    /// Adds a flow and gives it a number.
    ///
    /// # Panics
    ///
    /// If there is no room: the caller bounds its flows.
    #[inline]
    pub(super) fn insert(&mut self, record: Record<A>) -> FlowId {
        let Record { entry, nat } = record;
        let id = match nat {
            None => FlowId::tracked(self.tracked.insert(entry)),
            Some(nat) => FlowId::translated(self.translated.insert(Translated { entry, nat })),
        };
        let number = self.numbered.insert(id);
        self.get_mut(id).0.number = number;
        id
    }

    /// Removes the flow `id`.
    ///
    /// # Panics
    ///
    /// If it has ended.
    #[inline]
    pub(super) fn remove(&mut self, id: FlowId) -> Record<A> {
        let record = if id.is_translated() {
            let Translated { entry, nat } = self.translated.remove(id.place());
            Record { entry, nat: Some(nat) }
        } else {
            Record { entry: self.tracked.remove(id.place()), nat: None }
        };
        self.numbered.remove(record.entry.number);
        record
    }

    /// The flow `id`.
    ///
    /// # Panics
    ///
    /// If it has ended.
    #[inline]
    pub(super) fn get(&self, id: FlowId) -> Flow<'_, A> {
        if id.is_translated() {
            let Translated { entry, nat } = &self.translated[id.place()];
            Flow { entry, nat: Some(nat) }
        } else {
            Flow { entry: &self.tracked[id.place()], nat: None }
        }
    }

    /// The flow `id`, mutably.
    ///
    /// # Panics
    ///
    /// If it has ended.
    #[inline]
    pub(super) fn get_mut(&mut self, id: FlowId) -> (&mut Entry<A>, Option<&mut Nat<A>>) {
        if id.is_translated() {
            let Translated { entry, nat } = &mut self.translated[id.place()];
            (entry, Some(nat))
        } else {
            (&mut self.tracked[id.place()], None)
        }
    }

    /// Whether the packets of `direction` of the flow `id` have this `key`.
    #[inline]
    pub(super) fn has_key(&self, id: FlowId, direction: Direction, key: &FlowKey<A>) -> bool {
        self.get(id).key(direction) == *key
    }

    /// Prefetches the flow `id`.
    #[inline]
    pub(super) fn prefetch(&self, id: FlowId) {
        if id.is_translated() {
            self.translated.prefetch(id.place());
        } else {
            self.tracked.prefetch(id.place());
        }
    }

    /// The flow with this number, if it exists.
    pub(super) fn numbered(&self, number: u32) -> Option<FlowId> {
        self.numbered.get(number).copied()
    }

    /// One more than the greatest number ever used.
    pub(super) fn end(&self) -> u32 {
        self.numbered.end()
    }

    /// All flows, in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (FlowId, Flow<'_, A>)> {
        self.numbered.iter().map(|(_, id)| (*id, self.get(*id)))
    }

    /// The number of flows.
    pub(super) fn len(&self) -> usize {
        self.numbered.len()
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn a_flow_that_is_only_tracked_has_one_key_and_no_translation() {
        const NUMBER: usize = 8;
        let short = (Store::<Ipv4Addr>::TRACKED_OCTETS, Store::<Ipv4Addr>::TRANSLATED_OCTETS);
        let long = (Store::<Ipv6Addr>::TRACKED_OCTETS, Store::<Ipv6Addr>::TRANSLATED_OCTETS);
        assert_eq!(short, (88 + NUMBER, 108 + NUMBER));
        assert_eq!(long, (112 + NUMBER, 144 + NUMBER));
        assert_eq!(long.0 - short.0, size_of::<FlowKey<Ipv6Addr>>() - size_of::<FlowKey>());
    }
}
