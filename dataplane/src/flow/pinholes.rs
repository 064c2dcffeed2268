//! Pinholes: mappings that take in what comes from outside for a time, whether the inside has sent or not.
//!
//! Who speaks for an inside host asks for one: its own request by PCP (RFC 6887), or the gateway that has read in a
//! call's signalling where its voice will come from. A pinhole is one user more of the mapping of its inside
//! endpoint, which therefore keeps its external port, and has an end: unless it is asked for again before, it
//! closes by itself, so that nobody who has gone away leaves the office open. Flows that came in by it go on by their
//! own timers.
//!
//! There are [`PINHOLES_MAX`] of a shard, [`PINHOLES_PER_HOST_MAX`] of them of one host, and none is closed to make
//! room for another. Ports that the reserve keeps for hosts with few flows are not given to pinholes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gatepost_ground::Instant;
use gatepost_ground::wire::Protocol;

use super::error::FlowError;
use super::eviction::ReserveAccess;
use super::table::FlowTable;
use crate::key::{Address, Endpoint};
use crate::nat::mapping::Mappings;
use crate::nat::{Mapping, MappingId};
use crate::table::timer::Tick;

/// How many pinholes there can be at a time, of one shard.
pub const PINHOLES_MAX: usize = 1024;
/// How many of them one inside host can have.
pub const PINHOLES_PER_HOST_MAX: usize = 128;
/// A pinhole is asked for again after this time at the latest. (RFC 6887, section 15: a day at most)
pub const LIFETIME_MAX: Duration = Duration::from_hours(24);

/// What is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinhole<A = core::net::Ipv4Addr> {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Who is to be reached.
    pub inside: Endpoint<A>,
    /// At which external address.
    pub external: A,
    /// From where; `None`: from anywhere.
    pub remote: Option<A>,
}

/// What was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<A = core::net::Ipv4Addr> {
    /// Where the outside reaches the inside endpoint.
    pub external: Endpoint<A>,
    /// Until when.
    pub until: Instant,
}

/// The pinholes of a flow table.
pub(super) struct Pinholes<A> {
    by_mapping: BTreeMap<MappingId, Open<A>>,
    /// By their ends.
    due: BTreeSet<(Tick, MappingId)>,
    /// How many there can be, in all and of one host.
    pub(super) limits: [usize; 2],
}

struct Open<A> {
    host: A,
    remote: Option<A>,
    until: Tick,
}

impl<A: Address> Pinholes<A> {
    /// None.
    pub(super) fn new() -> Self {
        let limits = [PINHOLES_MAX, PINHOLES_PER_HOST_MAX];
        Self { by_mapping: BTreeMap::new(), due: BTreeSet::new(), limits }
    }

    /// Whether one of them lets `remote` through to the mapping.
    pub(super) fn admit(&self, now: Instant, mapping: MappingId, remote: A) -> bool {
        self.by_mapping.get(&mapping).is_some_and(|open| {
            open.until > Tick::at(now) && open.remote.is_none_or(|admitted| admitted == remote)
        })
    }

    /// When the next of them ends.
    pub(super) fn next_end(&self) -> Option<Tick> {
        self.due.first().map(|(end, _)| *end)
    }

    fn has_room(&self, host: A) -> Result<(), FlowError> {
        let [all_max, of_host_max] = self.limits;
        if self.by_mapping.len() >= all_max {
            return Err(FlowError::TableFull);
        }
        let of_host = self.by_mapping.values().filter(|open| open.host == host).count();
        if of_host < of_host_max { Ok(()) } else { Err(FlowError::HostLimit) }
    }

    /// Whether there was none for the mapping yet.
    fn put(&mut self, mapping: MappingId, open: Open<A>) -> bool {
        let was_open = self.take(mapping);
        self.due.insert((open.until, mapping));
        self.by_mapping.insert(mapping, open);
        !was_open
    }

    /// Whether there was one for the mapping.
    fn take(&mut self, mapping: MappingId) -> bool {
        let former = self.by_mapping.remove(&mapping);
        former.is_some_and(|former| self.due.remove(&(former.until, mapping)))
    }

    /// Takes out the mapping whose pinhole ends next, if that is due. Each call takes one out of the ends, so calling it
    /// until there is none comes to an end.
    fn take_due(&mut self, now: Tick) -> Option<MappingId> {
        self.next_end().filter(|end| *end <= now)?;
        let (_, mapping) = self.due.pop_first()?;
        let former = self.by_mapping.remove(&mapping);
        debug_assert!(former.is_some(), "a pinhole that has ended is not due");
        former.map(|_| mapping)
    }
}

impl<A: Address> FlowTable<A> {
    /// Opens `pinhole` for `lifetime`, at most [`LIFETIME_MAX`], or, where it is open, from now on as it says and for
    /// `lifetime`. The caller has seen that it is for this shard and for somebody inside.
    ///
    /// # Errors
    ///
    /// [`FlowError::TableFull`] and [`FlowError::HostLimit`] if there are as many as there may be,
    /// [`FlowError::PortsExhausted`] and [`FlowError::NoAddress`] as for flows.
    pub fn open_pinhole(
        &mut self,
        now: Instant,
        pinhole: &Pinhole<A>,
        lifetime: Duration,
    ) -> Result<Opened<A>, FlowError> {
        let Pinhole { protocol, inside, external, remote } = *pinhole;
        let secs = lifetime.min(LIFETIME_MAX).as_secs() as u32;
        let access = ReserveAccess::Common;
        let leaves = |ports| access.reserved_ports(ports);
        let mapping = self.mappings.find_or_create(protocol, inside, external, leaves)?;
        if !self.pinholes.by_mapping.contains_key(&mapping)
            && let Err(error) = self.pinholes.has_room(inside.address)
        {
            self.mappings.remove_if_unused(mapping);
            return Err(error);
        }
        let until = Tick::after(now, secs);
        if self.pinholes.put(mapping, Open { host: inside.address, remote, until }) {
            self.mappings.acquire(mapping);
        }
        Ok(Opened { external: self.mappings[mapping].external, until: until.instant() })
    }

    /// Closes the pinholes of an inside endpoint, at whichever external address. Says whether there was one.
    pub fn close_pinholes_of(&mut self, protocol: Protocol, inside: Endpoint<A>) -> bool {
        let before = self.pinholes_len();
        self.close_pinholes_where(|mapping| (mapping.protocol, mapping.inside) == (protocol, inside));
        self.pinholes_len() < before
    }

    /// Closes the pinholes of mappings for which `is_ended` says so.
    pub fn close_pinholes_where(&mut self, is_ended: impl Fn(&Mapping<A>) -> bool) {
        self.end_pinholes_where(|mappings, mapping| is_ended(&mappings[mapping]));
    }

    /// How many pinholes there are.
    pub fn pinholes_len(&self) -> usize {
        self.pinholes.by_mapping.len()
    }

    /// Closes those that are due.
    pub(super) fn expire_pinholes(&mut self, now: Tick) {
        while let Some(mapping) = self.pinholes.take_due(now) {
            self.mappings.release(mapping);
        }
    }

    /// Closes the pinholes whose mappings have a port that no mapping may have any more.
    pub(super) fn end_reserved_pinholes(&mut self) {
        self.end_pinholes_where(Mappings::is_reserved);
    }

    fn end_pinholes_where(&mut self, is_ended: impl Fn(&Mappings<A>, MappingId) -> bool) {
        let open: Vec<_> = self.pinholes.by_mapping.keys().copied().collect();
        for mapping in open {
            if is_ended(&self.mappings, mapping) {
                self.end_pinhole(mapping);
            }
        }
    }

    fn end_pinhole(&mut self, mapping: MappingId) {
        if self.pinholes.take(mapping) {
            self.mappings.release(mapping);
        }
    }
}
