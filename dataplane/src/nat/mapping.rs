//! Endpoint-independent mappings. (RFC 4787 REQ-1, RFC 5382 REQ-1, RFC 5508 REQ-1)
//!
//! A mapping binds an inside endpoint to a port of the external address, for one protocol and for
//! whomever the inside endpoint talks to. It is found by its inside endpoint through a hash index, and
//! by its external port directly.
//!
//! A mapping lives as long as a flow uses it, and needs no timer of its own:
//!
//! - What the inside sends prolongs its flow and the mapping alike, so the mapping's last such flow
//!   ends when the mapping is due (RFC 4787 REQ-6). [`Mapping::held_until`] keeps that moment.
//! - A flow that an outsider opened through the mapping ends no later than that, until the inside
//!   answers. So a flood from outside holds no port.
//! - A mapping that is due and still in use (hairpin: another inside host keeps its own flow up)
//!   takes in nobody new.
//!
//! There is one external address at a time. Changing it is for the flow table, which first ends what
//! uses the old one.

use core::hash::Hash;
use core::net::Ipv4Addr;
use core::num::NonZeroU32;
use core::ops::RangeInclusive;

use ahash::RandomState;
use gatepost_ground::wire::Protocol;
use rand::rngs::StdRng;

use super::port_allocator::PortAllocator;
use crate::key::{Address, Endpoint};
use crate::shard::Shard;
use crate::table::index::Index;
use crate::table::slab::Slab;
use crate::table::timer::Tick;

/// A mapping's number. It is valid while the mapping lives, then used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MappingId(NonZeroU32);

impl MappingId {
    fn new(slot: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(slot))
    }

    fn slot(self) -> u32 {
        self.0.get() - 1
    }
}

/// An inside endpoint, and how the outside sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping<A = Ipv4Addr> {
    /// For which protocol.
    pub protocol: Protocol,
    /// The endpoint on the inside.
    pub inside: Endpoint<A>,
    /// The endpoint that the outside sees.
    pub external: Endpoint<A>,
    /// Until when what the inside sent holds the mapping.
    pub(crate) held_until: Tick,
    /// One more than the flows that use it: never zero, which leaves room for `Option`.
    users: NonZeroU32,
}

const PORTS: usize = 1 << 16;

/// Why there is no mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmapped {
    /// There is no external address.
    NoAddress,
    /// No port is free.
    PortsExhausted,
}

/// The mappings and the ports that they own.
pub(crate) struct Mappings<A> {
    mappings: Slab<Mapping<A>>,
    by_inside: Index,
    spaces: [PortSpace; 3],
    external: Option<A>,
    hasher: RandomState,
    rng: StdRng,
}

/// The external ports, or query identifiers, of one protocol.
struct PortSpace {
    allocator: PortAllocator,
    /// The number of the mapping that owns each port.
    owners: Vec<Option<NonZeroU32>>,
}

impl<A: Address> Mappings<A> {
    /// No mappings, no external address, and no room. New ones get ports of `shard`.
    pub(crate) fn new(shard: Shard, hasher: RandomState, rng: StdRng) -> Self {
        let space = || PortSpace { allocator: PortAllocator::new(shard), owners: vec![None; PORTS] };
        Self {
            mappings: Slab::new(),
            by_inside: Index::new(),
            spaces: [space(), space(), space()],
            external: None,
            hasher,
            rng,
        }
    }

    /// Makes room for the mappings of `flows_max` flows in all.
    pub(crate) fn reserve(&mut self, flows_max: usize) {
        let mappings_max = (2 * flows_max).min(self.spaces.len() * PORTS);
        self.mappings.reserve(mappings_max);
        self.by_inside.reserve(mappings_max);
    }

    /// The address that new mappings are of.
    pub(crate) fn external(&self) -> Option<A> {
        self.external
    }

    /// Sets the address that new mappings are of. There must be no mappings of the old one.
    pub(crate) fn set_external(&mut self, external: Option<A>) {
        assert!(self.mappings.len() == 0 || self.external == external, "old mappings are ended first");
        self.external = external;
    }

    /// Sets the ports of `protocol` that no mapping gets.
    pub(crate) fn set_reserved(
        &mut self,
        protocol: Protocol,
        ports: impl Iterator<Item = RangeInclusive<u16>>,
    ) {
        self.spaces[space_of(protocol)].allocator.set_reserved(ports);
    }

    /// Whether the mapping has a port that no mapping may have any more.
    pub(crate) fn is_reserved(&self, id: MappingId) -> bool {
        let mapping = &self[id];
        self.spaces[space_of(mapping.protocol)].allocator.is_reserved(mapping.external.port)
    }

    /// The mapping of an inside endpoint: the one that it has, or a new one that nothing uses yet. `leaves` says how
    /// many of so many ports must stay free for others.
    pub(crate) fn find_or_create(
        &mut self,
        protocol: Protocol,
        inside: Endpoint<A>,
        leaves: impl FnOnce(u32) -> u32,
    ) -> Result<MappingId, Unmapped> {
        let hash = self.hash(protocol, inside);
        let is_match = |value| {
            let mapping = &self[MappingId(value)];
            mapping.inside == inside && mapping.protocol == protocol
        };
        if let Some(value) = self.by_inside.find(hash, is_match) {
            return Ok(MappingId(value));
        }
        let address = self.external.ok_or(Unmapped::NoAddress)?;
        let space = &mut self.spaces[space_of(protocol)];
        let leaves = leaves(space.allocator.len());
        let port = space.allocator.allocate(inside.port, leaves, &mut self.rng);
        let port = port.ok_or(Unmapped::PortsExhausted)?;
        let id = MappingId::new(self.mappings.insert(Mapping {
            protocol,
            inside,
            external: Endpoint::new(address, port),
            held_until: Tick::ZERO,
            users: NonZeroU32::MIN,
        }));
        space.owners[usize::from(port)] = Some(id.0);
        self.by_inside.insert(hash, id.0);
        Ok(id)
    }

    /// Whether a single flow uses the mapping.
    pub(crate) fn has_one_user(&self, id: MappingId) -> bool {
        self[id].users.get() == 2
    }

    /// Gives a mapping that no flow uses yet another port; `false` if one does, or no other is free.
    pub(crate) fn move_if_unused(&mut self, id: MappingId) -> bool {
        let mapping = &mut self.mappings[id.slot()];
        let space = &mut self.spaces[space_of(mapping.protocol)];
        if mapping.users > NonZeroU32::MIN {
            return false;
        }
        let Some(port) = space.allocator.allocate(mapping.inside.port, 0, &mut self.rng) else {
            return false;
        };
        let old = core::mem::replace(&mut mapping.external.port, port);
        space.owners[usize::from(old)] = None;
        space.owners[usize::from(port)] = Some(id.0);
        space.allocator.release(old);
        true
    }

    /// How many ports of `protocol` no mapping owns, those below 1024 aside.
    pub(crate) fn free_ports(&self, protocol: Protocol) -> u32 {
        self.spaces[space_of(protocol)].allocator.free()
    }

    /// The mapping that owns an external port.
    pub(crate) fn by_external(&self, protocol: Protocol, port: u16) -> Option<MappingId> {
        self.spaces[space_of(protocol)].owners[usize::from(port)].map(MappingId)
    }

    /// One flow more uses the mapping.
    pub(crate) fn acquire(&mut self, id: MappingId) {
        let users = &mut self.mappings[id.slot()].users;
        *users = users.checked_add(1).expect("no more than there are flows");
    }

    /// One flow less uses the mapping.
    pub(crate) fn release(&mut self, id: MappingId) {
        let users = &mut self.mappings[id.slot()].users;
        *users = NonZeroU32::new(users.get() - 1).expect("a flow uses it");
        self.remove_if_unused(id);
    }

    /// Removes the mapping if no flow uses it.
    pub(crate) fn remove_if_unused(&mut self, id: MappingId) {
        if self[id].users > NonZeroU32::MIN {
            return;
        }
        let mapping = self.mappings.remove(id.slot());
        let space = &mut self.spaces[space_of(mapping.protocol)];
        space.owners[usize::from(mapping.external.port)] = None;
        space.allocator.release(mapping.external.port);
        self.by_inside.remove(self.hash(mapping.protocol, mapping.inside), id.0);
    }

    /// What the inside sent holds the mapping until `tick`.
    pub(crate) fn hold(&mut self, id: MappingId, tick: Tick) {
        let mapping = &mut self.mappings[id.slot()];
        mapping.held_until = mapping.held_until.max(tick);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.mappings.len()
    }

    fn hash(&self, protocol: Protocol, inside: Endpoint<A>) -> u32 {
        self.hasher.hash_one((protocol.0, inside)) as u32
    }
}

impl<A> core::ops::Index<MappingId> for Mappings<A> {
    type Output = Mapping<A>;

    fn index(&self, id: MappingId) -> &Mapping<A> {
        &self.mappings[id.slot()]
    }
}

/// The kind of ports that `protocol` has: TCP's, UDP's, or the identifiers of ICMP queries.
pub(crate) fn space_of(protocol: Protocol) -> usize {
    match protocol {
        Protocol::TCP => 0,
        Protocol::UDP => 1,
        _ => 2,
    }
}
