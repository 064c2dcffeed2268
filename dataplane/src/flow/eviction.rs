//! Eviction: how far a new flow may use the reserves, and which flows are recycled for it.
//!
//! All machines share the table and the ports of each protocol of an external address. When one of them is full but
//! for its reserve, these steps are tried in turn:
//!
//! 1. A flow is recycled: for the table, the oldest flow from outside that is not assured (`half_open`); then, for a
//!    new flow from the inside, a pending flow of the inside (`holders`) whose holder has at least its floor.
//! 2. A machine with fewer flows than its floor uses the reserve, except the gateway's part. The gateway uses all of
//!    it.
//! 3. A pending flow of any holder is recycled.
//!
//! So no flood takes the last room, whether its flows are answered or not; a host gets its floor unless there are
//! very many hosts; and the gateway's own queries have ports when the inside hosts have used up theirs.
//!
//! A source at its own limit takes from itself only: its oldest connection that is over is recycled for the new one,
//! else its oldest pending flow. A connection that is over stays pending for four minutes (RFC 7857, section 2.1), in
//! which a host that connects often would otherwise be refused although it uses next to nothing. It goes first, as an
//! answer to an unanswered flow may still be under way.
//!
//! A flow frees a port only if no other flow uses its mapping. [`EXAMINED_MAX`] flows of a holder are examined for
//! one that frees its port. If there is none, all examined flows end, as they would be examined in vain for the next
//! new flow too, and the next holder's flows are examined
//! ([`Holders::candidates`](super::holders::Holders::candidates)).

use gatepost_ground::wire::Protocol;

use super::entry::Quota;
use super::error::FlowError;
use super::holders::{HolderId, Source};
use super::log::FlowEnd;
use super::new::NewFlow;
use super::table::FlowTable;
use crate::key::{Address, Direction};
use crate::nat::mapping::space_of;
use crate::table::memory::Memory;

/// How far a new flow may use the reserve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ReserveAccess {
    /// The new flow uses none of the reserve.
    #[default]
    Common,
    /// The new flow uses the reserve except the gateway's part.
    Floor,
    /// The new flow uses the whole reserve.
    All,
}

impl ReserveAccess {
    /// The number of ports that must stay free, of `len`.
    pub(super) fn kept_free_ports(self, len: u32) -> u32 {
        self.kept_free(len / PORTS_RESERVE_PART, len / PORTS_GATEWAY_PART)
    }

    /// The number of flows for which a table for `len` flows must keep room.
    pub(super) fn kept_free_flows(self, len: u32) -> u32 {
        self.kept_free(len / FLOWS_RESERVE_PART, len / FLOWS_GATEWAY_PART)
    }

    fn kept_free(self, reserve: u32, gateway: u32) -> u32 {
        match self {
            Self::Common => reserve,
            Self::Floor => gateway,
            Self::All => 0,
        }
    }
}

/// The reserve of each protocol's ports, and the gateway's part of it, as divisors of the number of ports.
const PORTS_RESERVE_PART: u32 = 8;
const PORTS_GATEWAY_PART: u32 = 32;
/// The reserve of the table and the gateway's part of it. One host's limit is a smaller part of the table than of the
/// ports.
const FLOWS_RESERVE_PART: u32 = 32;
const FLOWS_GATEWAY_PART: u32 = 128;
/// A host's floor, of all its flows and of each protocol's: a part of its limit, and this number at most. A web page
/// with all its parts takes fewer than a hundred flows.
const FLOOR_PART: u32 = 4;
const FLOOR_MAX: u32 = 256;
/// The most flows examined for one that can be recycled. If a host is flooded, the flood's flows fill the queue.
const EXAMINED_MAX: usize = 64;
/// The most flows of a source at its own limit that are examined for a connection that is over: a flood's new flows
/// cost little more each than to be refused.
const OWN_EXAMINED_MAX: usize = 16;

/// The last step tried for a new flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum SearchStep {
    #[default]
    Nothing,
    /// Recycling a flow of a holder above its floor, of the largest first.
    AboveFloor,
    /// The reserve.
    Reserve,
    /// Recycling a flow of any holder.
    Any,
}

/// The state of a new flow's search, in the table or among the ports.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room {
    pub(super) access: ReserveAccess,
    tried: SearchStep,
}

/// The state of a new flow's search for room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Search {
    pub(super) flows: Room,
    pub(super) ports: Room,
    has_recycled_own: bool,
}

impl<A: Address, M: Memory> FlowTable<A, M> {
    /// Makes room for a flow of `protocol` that was rejected with `error`. Returns whether another attempt is
    /// worthwhile: there are at most three each for the table and the ports, and one for a limit.
    pub(super) fn evict_for(
        &mut self,
        new: &NewFlow<A>,
        protocol: Protocol,
        error: FlowError,
        search: &mut Search,
    ) -> bool {
        let (quota, floor) = (self.quota(new), self.floor());
        match error {
            FlowError::HostLimit if !search.has_recycled_own => {
                search.has_recycled_own = true;
                self.recycle_own(quota)
            }
            FlowError::TableFull => {
                let access = self.reserve_access(quota, |table, source| table.holders.count(source));
                search.flows.advance(access, floor, |least| self.recycle_any(quota, least))
            }
            FlowError::PortsExhausted => {
                let Quota::Client(source) = quota else { return false };
                let space = space_of(protocol);
                let access =
                    self.reserve_access(quota, |table, source| table.holders.count_in(source, space));
                let Some(external) = new.mapped_client() else { return false };
                let recycle = |least| self.recycle_port(source, (protocol, external), least);
                search.ports.advance(access, floor, recycle)
            }
            _ => false,
        }
    }

    /// The access to the reserve of a new flow whose source has this number of `flows`.
    fn reserve_access(&self, quota: Quota<A>, flows: impl Fn(&Self, Source) -> u32) -> ReserveAccess {
        match quota {
            Quota::Client(Source::Gateway) => ReserveAccess::All,
            Quota::Client(source) if flows(self, source) < self.floor() => ReserveAccess::Floor,
            // The outbound half of the hairpin was entitled to it.
            Quota::Hairpin(_) => ReserveAccess::Floor,
            Quota::Client(_) | Quota::Server(_) => ReserveAccess::Common,
        }
    }

    /// This shard's part of a host's floor.
    fn floor(&self) -> u32 {
        let floor = (self.nat.flows_per_host_max / FLOOR_PART).min(FLOOR_MAX);
        (floor / u32::from(self.shard.count())).max(1)
    }

    /// Recycles the oldest flow that counts against `quota` itself: of the inbound flows of a host, the oldest among
    /// the first of the queue; of the flows that a source opened, the oldest connection that is over, among the first
    /// of the queue, else the oldest pending flow. A source keeps its established connections and its answered UDP and
    /// ICMP query flows, and is refused when it has no others.
    fn recycle_own(&mut self, quota: Quota<A>) -> bool {
        let found = match quota {
            Quota::Server(_) => {
                let mut queue = self.half_open.queue().take(EXAMINED_MAX);
                queue.find(|number| self.numbered(*number).is_some_and(|flow| self.quota_of(&flow) == quota))
            }
            Quota::Client(source) => {
                let is_over = |number: &u32| self.numbered(*number).is_some_and(|flow| flow.is_over());
                let mut queue =
                    self.holders.pending_of(source, space_of(Protocol::TCP)).take(OWN_EXAMINED_MAX);
                queue.find(is_over).or_else(|| self.holders.oldest_of(source))
            }
            Quota::Hairpin(_) => None,
        };
        self.recycle(found)
    }

    /// Recycles a flow to make room in the table: the oldest flow from outside that is not assured, or for the inside
    /// a pending flow of a holder with at least `least` flows. Recycles none while a lowered limit leaves the table
    /// more than full, as one flow would not make room.
    fn recycle_any(&mut self, quota: Quota<A>, least: u32) -> bool {
        if self.flows.len() > self.flows_max as usize {
            return false;
        }
        let found = self.half_open.oldest().or_else(|| match quota {
            Quota::Client(source) => self.holders.oldest_for(Some(source), least),
            Quota::Hairpin(_) => self.holders.oldest_for(None, least),
            Quota::Server(_) => None,
        });
        self.recycle(found)
    }

    /// Recycles flows of holders with at least `least` flows until a port of the protocol and external address
    /// `ports` is free for `source`.
    fn recycle_port(&mut self, source: Source, ports: (Protocol, A), least: u32) -> bool {
        let space = space_of(ports.0);
        let candidates = self.holders.candidates(source, space, least);
        candidates.into_iter().flatten().any(|candidate| self.recycle_port_of(candidate, ports))
    }

    /// Recycles flows of the holder `candidate` until a port of the protocol and external address `ports` is free.
    fn recycle_port_of(&mut self, candidate: HolderId, (protocol, external): (Protocol, A)) -> bool {
        let mapping = |number: u32| self.numbered(number)?.mapping(Direction::Original);
        let is_elsewhere = |number: &u32| {
            mapping(*number).is_some_and(|mapping| self.mappings[mapping].external.address != external)
        };
        let mut pending = [None; EXAMINED_MAX];
        let oldest = self.holders.pending(candidate, space_of(protocol)).take(EXAMINED_MAX);
        let of_address = oldest.filter(|number| !is_elsewhere(number));
        pending.iter_mut().zip(of_address).for_each(|(place, number)| *place = Some(number));
        let frees_port =
            |number: &u32| mapping(*number).is_some_and(|mapping| self.mappings.has_one_user(mapping));
        if let Some(number) = pending.into_iter().flatten().find(frees_port) {
            return self.recycle(Some(number));
        }
        let before = self.mappings.free_ports(protocol, external);
        pending.into_iter().for_each(|number| _ = self.recycle(number));
        self.mappings.free_ports(protocol, external) > before
    }

    fn recycle(&mut self, found: Option<u32>) -> bool {
        let Some(number) = found else { return false };
        #[cfg(test)]
        if let Some(flow) = self.numbered(number) {
            self.evicted.push(Direction::BOTH.map(|direction| flow.key(direction)));
        }
        self.end_numbered(number, FlowEnd::Recycled);
        self.recycled += 1;
        true
    }
}

impl Room {
    /// Takes the next step, and those after it while a step does not help. Whether one did.
    fn advance(&mut self, access: ReserveAccess, floor: u32, mut recycle: impl FnMut(u32) -> bool) -> bool {
        while self.tried < SearchStep::Any {
            let (tried, access) = match self.tried {
                SearchStep::Nothing => (SearchStep::AboveFloor, recycle(floor).then_some(ReserveAccess::All)),
                SearchStep::AboveFloor => {
                    (SearchStep::Reserve, Some(access).filter(|access| *access > self.access))
                }
                SearchStep::Reserve | SearchStep::Any => {
                    (SearchStep::Any, recycle(0).then_some(ReserveAccess::All))
                }
            };
            *self = Self { tried, access: access.unwrap_or(self.access) };
            if access.is_some() {
                return true;
            }
        }
        false
    }
}
