//! Pinholes: mappings that admit packets from outside for a time, whether the inside has sent or not (RFC 6887:
//! explicit dynamic mappings, with a filter).
//!
//! A command opens a pinhole for an inside host ([`Dataplane::open_pinhole`](crate::Dataplane::open_pinhole)). PCP (RFC
//! 6887) and SIP are planned senders of such commands. A pinhole is one more user of its inside endpoint's
//! mapping, so that the mapping keeps its external port. A pinhole ends by itself unless it is requested again, so
//! that a host that has gone leaves no port open. Flows that came in through a pinhole go on by their own timers.
//!
//! A shard has at most [`PINHOLES_MAX`] pinholes, [`PINHOLES_PER_HOST_MAX`] of them for one host, and none is closed
//! to make room for another. Pinholes get no ports of the reserve.

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

/// The most pinholes of one shard at a time.
pub const PINHOLES_MAX: usize = 1024;
/// The most pinholes of one inside host at a time.
pub const PINHOLES_PER_HOST_MAX: usize = 128;
/// The longest lifetime of a pinhole before it must be requested again. (RFC 6887, section 15: a day at most)
pub const LIFETIME_MAX: Duration = Duration::from_hours(24);

/// A pinhole to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinhole<A = core::net::Ipv4Addr> {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The inside endpoint that is to be reached.
    pub inside: Endpoint<A>,
    /// The external address at which it is reached.
    pub external: A,
    /// The remote address that is admitted; `None` admits any.
    pub remote: Option<A>,
}

/// An open pinhole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<A = core::net::Ipv4Addr> {
    /// The external endpoint at which the outside reaches the inside endpoint.
    pub external: Endpoint<A>,
    /// When the pinhole ends.
    pub until: Instant,
}

/// The pinholes of a flow table.
#[derive(Clone)]
pub(super) struct Pinholes<A> {
    by_mapping: BTreeMap<MappingId, Open<A>>,
    /// The mappings of pinholes, by the pinholes' ends.
    due: BTreeSet<(Tick, MappingId)>,
    /// The most pinholes, in all and of one host.
    pub(super) limits: [usize; 2],
}

#[derive(Clone)]
struct Open<A> {
    host: A,
    remote: Option<A>,
    until: Tick,
}

impl<A: Address> Pinholes<A> {
    /// No pinholes.
    pub(super) fn new() -> Self {
        let limits = [PINHOLES_MAX, PINHOLES_PER_HOST_MAX];
        Self { by_mapping: BTreeMap::new(), due: BTreeSet::new(), limits }
    }

    /// Whether a pinhole admits `remote` to the mapping.
    pub(super) fn admit(&self, now: Instant, mapping: MappingId, remote: A) -> bool {
        self.by_mapping.get(&mapping).is_some_and(|open| {
            open.until > Tick::at(now) && open.remote.is_none_or(|admitted| admitted == remote)
        })
    }

    /// When the next pinhole ends.
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

    /// Stores the pinhole of a mapping. Returns whether the mapping had none before.
    fn put(&mut self, mapping: MappingId, open: Open<A>) -> bool {
        let was_open = self.take(mapping);
        self.due.insert((open.until, mapping));
        self.by_mapping.insert(mapping, open);
        !was_open
    }

    /// Removes the pinhole of a mapping. Returns whether there was one.
    fn take(&mut self, mapping: MappingId) -> bool {
        let former = self.by_mapping.remove(&mapping);
        former.is_some_and(|former| self.due.remove(&(former.until, mapping)))
    }

    /// Removes the pinhole that ends next, if it is due, and returns its mapping. Each call removes one entry of
    /// `due`, so a loop over it ends.
    fn take_due(&mut self, now: Tick) -> Option<MappingId> {
        self.next_end().filter(|end| *end <= now)?;
        let (_, mapping) = self.due.pop_first()?;
        let former = self.by_mapping.remove(&mapping);
        debug_assert!(former.is_some(), "a pinhole that has ended is not due");
        former.map(|_| mapping)
    }
}

impl<A: Address> FlowTable<A> {
    /// Opens `pinhole` for `lifetime`, at most [`LIFETIME_MAX`]. A pinhole that is open already gets the new remote
    /// and `lifetime`. The caller has checked that this shard owns the inside port and that the host is inside.
    ///
    /// # Errors
    ///
    /// [`FlowError::TableFull`] and [`FlowError::HostLimit`] if a limit of pinholes is reached;
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
        let keep_free = |ports| access.kept_free_ports(ports);
        let mapping = self.mappings.find_or_create(protocol, inside, external, keep_free)?;
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

    /// Closes the pinholes of an inside endpoint at all external addresses. Returns whether there was one.
    pub fn close_pinholes_of(&mut self, protocol: Protocol, inside: Endpoint<A>) -> bool {
        let before = self.pinholes_len();
        self.close_pinholes_where(|mapping| (mapping.protocol, mapping.inside) == (protocol, inside));
        self.pinholes_len() < before
    }

    /// Closes the pinholes of the mappings for which `is_ended` is true.
    pub fn close_pinholes_where(&mut self, is_ended: impl Fn(&Mapping<A>) -> bool) {
        self.end_pinholes_where(|mappings, mapping| is_ended(&mappings[mapping]));
    }

    /// The number of pinholes.
    pub fn pinholes_len(&self) -> usize {
        self.pinholes.by_mapping.len()
    }

    /// Closes the pinholes that are due.
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
