//! Endpoint-independent mappings. (RFC 4787, REQ-1; RFC 5382, REQ-1; RFC 5508, REQ-1)
//!
//! A mapping binds an inside endpoint to a port of an external address, for one protocol and for all remotes that the
//! inside endpoint talks to from that address. A hash index finds it by its inside endpoint and external address; a
//! table finds it directly by its external endpoint.
//!
//! A mapping lives as long as a flow uses it, and needs no timer of its own:
//!
//! - A packet from the inside refreshes its flow and the mapping alike, so the last flow that the inside uses ends
//!   when the mapping expires (RFC 4787, REQ-6). [`Mapping::held_until`] has that time. Once the last established TCP
//!   connection of the mapping is over, the mapping expires with the connections that are opening or closing.
//! - A flow that was opened from outside through the mapping ends no later than that, unless the inside answers. So a
//!   flood from outside holds no port.
//! - A pinhole uses its mapping for the pinhole's lifetime, whether the inside sends or not.
//! - An expired mapping that a flow still uses (in a hairpin, another inside host keeps its own flow up) admits no new
//!   flows.
//!
//! Each outside interface has one external address with its own ports; there are [`EXTERNALS_MAX`] at most. So an
//! inside host has one external address for everything that it sends by one interface (RFC 4787, REQ-2). The flow
//! table changes the addresses, and first ends the flows and pinholes of those that are removed.

use core::hash::Hash;
use core::net::Ipv4Addr;
use core::num::NonZeroU32;
use core::ops::RangeInclusive;

use ahash::RandomState;
use gatepost_ground::InterfaceId;
use gatepost_ground::wire::Protocol;
use rand::rngs::StdRng;

use super::draws::Draws;
use super::port_allocator::PortAllocator;
use crate::key::{Address, Endpoint};
use crate::shard::Shard;
use crate::table::index::Index;
use crate::table::memory::{Memory, Own, Shadow, ShadowCells};
use crate::table::slab::Slab;
use crate::table::timer::Tick;

/// A mapping's number. It is valid while the mapping lives, and is reused then.
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

/// An inside endpoint and its external endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping<A = Ipv4Addr> {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The endpoint on the inside.
    pub inside: Endpoint<A>,
    /// The endpoint that the outside sees.
    pub external: Endpoint<A>,
    /// The time until which packets from the inside hold the mapping.
    pub(crate) held_until: Tick,
    /// One more than the number of flows and pinholes that use it. It is never zero, so that an `Option` takes no
    /// more room.
    users: NonZeroU32,
    /// The number of those flows that are established TCP connections. A count that
    /// reaches [`u16::MAX`] stays there.
    connections: u16,
}

/// The most external addresses: one for each interface that there can be.
pub(crate) const EXTERNALS_MAX: usize = InterfaceId::COUNT_MAX;

const PORTS: usize = 1 << 16;
const SPACES: usize = 3;

/// Why there is no mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MappingError {
    /// The external address does not exist.
    NoAddress,
    /// No port is free.
    PortsExhausted,
}

/// The mappings and the ports that they own.
pub(crate) struct Mappings<A: Address, M: Memory = Own> {
    mappings: Slab<Mapping<A>, M>,
    by_inside: Index<M>,
    externals: Vec<External<A, M>>,
    /// For each protocol, the allocator that a new external address gets a copy of: no mapping owns a port.
    blank: [PortAllocator; SPACES],
    /// The most flows that may use mappings.
    flows_max: usize,
    hasher: RandomState,
    draws: Draws,
}

/// An external address, with its ports.
struct External<A, M: Memory = Own> {
    address: A,
    spaces: [PortSpace<M>; SPACES],
}

/// The external ports, or query identifiers, of one protocol.
struct PortSpace<M: Memory = Own> {
    allocator: PortAllocator,
    /// The number of the mapping that owns each port.
    owners: M::Cells<Option<NonZeroU32>>,
}

impl<A: Address> External<A> {
    fn new(address: A, blank: &[PortAllocator; SPACES]) -> Self {
        let space = |ports: &PortAllocator| PortSpace { allocator: ports.blank(), owners: vec![None; PORTS] };
        Self { address, spaces: blank.each_ref().map(space) }
    }

    fn shadow<'a>(&'a self) -> External<A, Shadow<'a>> {
        let space = |space: &'a PortSpace| PortSpace {
            allocator: space.allocator.clone(),
            owners: ShadowCells::of(&space.owners),
        };
        External { address: self.address, spaces: self.spaces.each_ref().map(space) }
    }
}

impl<A: Address> Mappings<A> {
    /// No mappings, no external addresses, and no room. New mappings get ports of `shard`.
    pub(crate) fn new(shard: Shard, hasher: RandomState, rng: StdRng) -> Self {
        Self {
            mappings: Slab::new(),
            by_inside: Index::new(),
            externals: Vec::new(),
            blank: core::array::from_fn(|_| PortAllocator::new(shard)),
            flows_max: 0,
            hasher,
            draws: Draws::new(rng),
        }
    }

    /// Makes room for the mappings of `flows_max` flows in all.
    pub(crate) fn reserve(&mut self, flows_max: usize) {
        self.flows_max = flows_max;
        let ports = self.externals.len().max(1) * SPACES * PORTS;
        let mappings_max = (2 * flows_max).min(ports);
        self.mappings.reserve(mappings_max);
        self.by_inside.reserve(mappings_max);
    }

    /// A shadow of the mappings.
    pub(crate) fn shadow(&self) -> Mappings<A, Shadow<'_>> {
        Mappings {
            mappings: self.mappings.shadow(),
            by_inside: self.by_inside.shadow(),
            externals: self.externals.iter().map(External::shadow).collect(),
            blank: self.blank.clone(),
            flows_max: self.flows_max,
            hasher: self.hasher.clone(),
            draws: self.draws.shadow(),
        }
    }

    /// Sets the external addresses, [`EXTERNALS_MAX`] of them at most. There must be no mappings of a removed
    /// address.
    pub(crate) fn set_externals(&mut self, addresses: &[A]) {
        let addresses = &addresses[..addresses.len().min(EXTERNALS_MAX)];
        let is_in_use = |address| self.mappings.iter().any(|(_, of)| of.external.address == address);
        debug_assert!(
            self.externals().all(|address| addresses.contains(&address) || !is_in_use(address)),
            "old mappings are ended first"
        );
        self.externals.retain(|external| addresses.contains(&external.address));
        for address in addresses {
            if self.external(*address).is_none() {
                self.externals.push(External::new(*address, &self.blank));
            }
        }
        self.reserve(self.flows_max);
    }

    /// Sets the ports of `protocol` that no mapping gets, of any external address.
    pub(crate) fn set_reserved(
        &mut self,
        protocol: Protocol,
        ports: impl Iterator<Item = RangeInclusive<u16>>,
    ) {
        let space = space_of(protocol);
        let blank = &mut self.blank[space];
        blank.set_reserved(ports);
        self.externals.iter_mut().for_each(|external| external.spaces[space].allocator.reserve_as(blank));
    }
}

impl<A: Address, M: Memory> Mappings<A, M> {
    /// The external addresses.
    pub(crate) fn externals(&self) -> impl Iterator<Item = A> {
        self.externals.iter().map(|external| external.address)
    }

    fn external(&self, address: A) -> Option<&External<A, M>> {
        self.externals.iter().find(|external| external.address == address)
    }

    /// Whether the mapping has a port that is now reserved.
    pub(crate) fn is_reserved(&self, id: MappingId) -> bool {
        let mapping = &self[id];
        self.blank[space_of(mapping.protocol)].is_reserved(mapping.external.port)
    }

    /// The mapping of an inside endpoint to the address `external`: the existing one, or a new one that nothing uses
    /// yet. `keep_free` gives, for a number of ports, how many of them a new mapping must leave free.
    pub(crate) fn find_or_create(
        &mut self,
        protocol: Protocol,
        inside: Endpoint<A>,
        external: A,
        keep_free: impl FnOnce(u32) -> u32,
    ) -> Result<MappingId, MappingError> {
        let hash = self.hash(protocol, inside);
        let is_match = |value| {
            let mapping = &self[MappingId(value)];
            mapping.inside == inside && mapping.protocol == protocol && mapping.external.address == external
        };
        if let Some(value) = self.by_inside.find(hash, is_match) {
            return Ok(MappingId(value));
        }
        let space = space_mut(&mut self.externals, protocol, external).ok_or(MappingError::NoAddress)?;
        let kept_free = keep_free(space.allocator.len());
        let port = space.allocator.allocate(inside.port, kept_free, &mut self.draws);
        let port = port.ok_or(MappingError::PortsExhausted)?;
        let id = MappingId::new(self.mappings.insert(Mapping {
            protocol,
            inside,
            external: Endpoint::new(external, port),
            held_until: Tick::ZERO,
            users: NonZeroU32::MIN,
            connections: 0,
        }));
        space.owners[usize::from(port)] = Some(id.0);
        self.by_inside.insert(hash, id.0);
        Ok(id)
    }

    /// Whether a single flow uses the mapping.
    pub(crate) fn has_one_user(&self, id: MappingId) -> bool {
        self[id].users.get() == 2
    }

    /// Gives another port to a mapping that no flow uses yet. Returns `false` if a flow uses it or no other port is
    /// free.
    pub(crate) fn move_if_unused(&mut self, id: MappingId) -> bool {
        let mapping = &mut self.mappings[id.slot()];
        if mapping.users > NonZeroU32::MIN {
            return false;
        }
        let address = mapping.external.address;
        let Some(space) = space_mut(&mut self.externals, mapping.protocol, address) else { return false };
        let Some(port) = space.allocator.allocate(mapping.inside.port, 0, &mut self.draws) else {
            return false;
        };
        let old = core::mem::replace(&mut mapping.external.port, port);
        space.owners[usize::from(old)] = None;
        space.owners[usize::from(port)] = Some(id.0);
        space.allocator.release(old);
        true
    }

    /// The number of free ports of `protocol` at the address `external`, without those below 1024.
    pub(crate) fn free_ports(&self, protocol: Protocol, external: A) -> u32 {
        let external = self.external(external);
        external.map_or(0, |external| external.spaces[space_of(protocol)].allocator.free())
    }

    /// The mapping that owns an external endpoint.
    pub(crate) fn by_external(&self, protocol: Protocol, external: Endpoint<A>) -> Option<MappingId> {
        let spaces = &self.external(external.address)?.spaces;
        spaces[space_of(protocol)].owners[usize::from(external.port)].map(MappingId)
    }

    /// Counts one more user of the mapping.
    pub(crate) fn acquire(&mut self, id: MappingId) {
        let users = &mut self.mappings[id.slot()].users;
        *users = users.checked_add(1).expect("no more than there are flows");
    }

    /// Counts one less user of the mapping, and removes it with the last.
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
        if let Some(space) = space_mut(&mut self.externals, mapping.protocol, mapping.external.address) {
            space.owners[usize::from(mapping.external.port)] = None;
            space.allocator.release(mapping.external.port);
        }
        self.by_inside.remove(self.hash(mapping.protocol, mapping.inside), id.0);
    }

    /// Holds the mapping until `tick`, for a packet from the inside.
    pub(crate) fn hold(&mut self, id: MappingId, tick: Tick) {
        let mapping = &mut self.mappings[id.slot()];
        mapping.held_until = mapping.held_until.max(tick);
    }

    /// Counts one more established TCP connection of the mapping.
    pub(crate) fn connect(&mut self, id: MappingId) {
        let connections = &mut self.mappings[id.slot()].connections;
        *connections = connections.saturating_add(1);
    }

    /// Counts one less established TCP connection of the mapping.
    pub(crate) fn disconnect(&mut self, id: MappingId) {
        let connections = &mut self.mappings[id.slot()].connections;
        if *connections < u16::MAX {
            *connections = connections.saturating_sub(1);
        }
    }

    /// Holds the mapping until `tick` at the latest if it has no established TCP connection.
    pub(crate) fn shorten(&mut self, id: MappingId, tick: Tick) {
        let mapping = &mut self.mappings[id.slot()];
        if mapping.connections == 0 {
            mapping.held_until = mapping.held_until.min(tick);
        }
    }

    /// The number of mappings.
    pub(crate) fn len(&self) -> usize {
        self.mappings.len()
    }

    fn hash(&self, protocol: Protocol, inside: Endpoint<A>) -> u32 {
        self.hasher.hash_one((protocol.0, inside)) as u32
    }
}

impl<A: Address, M: Memory> core::ops::Index<MappingId> for Mappings<A, M> {
    type Output = Mapping<A>;

    fn index(&self, id: MappingId) -> &Mapping<A> {
        &self.mappings[id.slot()]
    }
}

/// The ports of `protocol` of the external address `address`.
fn space_mut<A: Address, M: Memory>(
    externals: &mut [External<A, M>],
    protocol: Protocol,
    address: A,
) -> Option<&mut PortSpace<M>> {
    let external = externals.iter_mut().find(|external| external.address == address)?;
    Some(&mut external.spaces[space_of(protocol)])
}

/// The port space of `protocol`: TCP ports, UDP ports, or the identifiers of ICMP queries.
pub(crate) fn space_of(protocol: Protocol) -> usize {
    match protocol {
        Protocol::TCP => 0,
        Protocol::UDP => 1,
        _ => 2,
    }
}
