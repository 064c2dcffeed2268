//! The flow table: stateful inspection and NAT44 in one entry.
//!
//! # What a flow is
//!
//! A [`Flow`] is a conversation between two endpoints, as the gateway sees it from both sides: the key
//! of its packets in the [original](Direction::Original) direction, that of the packet that opened it,
//! and the key of its [replies](Direction::Reply) as they arrive. A packet of one direction is rewritten
//! to the reverse of the other's key. This one rule serves everything, without a case for each:
//!
//! | [`NewFlow`]                | original key               | reply key                  |
//! |----------------------------|----------------------------|----------------------------|
//! | outbound, by a mapping     | inside → remote            | remote → external          |
//! | inbound, to a mapping      | remote → external          | inside → remote            |
//! | inbound, by a forward      | remote → external          | inside → remote            |
//! | inbound, gateway's service | remote → external          | external → remote          |
//!
//! Hairpin is outbound, then inbound: a packet of an inside host to the external address leaves by a flow to
//! there, and comes in again by another, as from outside, whose remote is the first host's external endpoint.
//! So two inside hosts are to each other what they are to everybody, filter and holes punched included.
//! What comes in so is no stranger's: its sender's limit has counted it on the way out. (RFC 4787 REQ-9)
//!
//! The gateway itself is an inside host whose address is the external one: its own connections go
//! through a mapping like everybody's, so no two hosts ever share an external port.
//!
//! # Who owns what
//!
//! Both keys of a flow stand in one hash index that leads to its entry and direction. The entries lie
//! in a slab, the timers in a wheel by the same number. The [mappings](Mapping) own the external ports
//! and are owned by the flows that use them.
//!
//! # What a flow goes through
//!
//! [`FlowTable::lookup`] finds the flow of a packet; [`FlowTable::open`] makes one on a miss, if the
//! limits, the free ports and the filter allow it, and otherwise changes nothing; [`FlowTable::track`]
//! takes every further packet: it checks it against the [state of the connection](tcp), counts it and
//! restarts the idle timer. Who may restart it:
//!
//! | flow               | timeout | restarted by                          |
//! |--------------------|---------|---------------------------------------|
//! | UDP                | 300 s   | the inside (RFC 4787 REQ-6)           |
//! | ICMP query         | 60 s    | the inside                            |
//! | TCP opening        | 240 s   | the inside                            |
//! | TCP established    | 7440 s  | both: the inside has agreed to it     |
//! | TCP closing        | 240 s   | the inside                            |
//! | TCP reset          | 240 s   | nobody                                |
//!
//! Time is kept in whole seconds. A flow is over up to a second after its deadline and never before;
//! until [`FlowTable::handle_timeout`] has taken it out, it lives. ICMP errors are looked up and
//! rewritten, but not tracked: they neither end nor prolong anything (RFC 4787 REQ-12, RFC 5382
//! REQ-10, RFC 5508 REQ-6).
//!
//! # Limits
//!
//! | what                                               | limit                                   | when it is reached           |
//! |----------------------------------------------------|-----------------------------------------|------------------------------|
//! | flows in all                                       | `flows_max`, divided among the shards   | recycled, else `TableFull`   |
//! | flows that one station on the inside opened        | `flows_per_host_max`, in all shards     | `HostLimit`                  |
//! | flows that the strangers of a port opened          | `flows_per_host_max` / 4, in all shards | recycled, else `HostLimit`   |
//! | flows that the gateway opened                      | `flows_max` / 4, if that is more        | `HostLimit`                  |
//! | flows that were opened to an inside host           | `flows_per_host_max`                    | recycled, else `HostLimit`   |
//! | flows from outside that are not kept               | `flows_max` / 4                         | recycled                     |
//! | of one source, those that nobody answered          | a quarter of that, 256 at most          | `SourceLimit`                |
//! | of one source, those that are kept                 | `flows_per_host_max` / 8                | they can be recycled         |
//! | external ports of each protocol                    | those that are not reserved             | recycled, `PortsExhausted`   |
//! | timers looked at in [`FlowTable::handle_timeout`]  | [`FlowTable::EXPIRIES_MAX`]             | it wants to be called again  |
//!
//! Of several shards, one host has no more than half of the room; see `shares` for how they tell each other
//! of a host. What one source outside may have, it may have of each.
//!
//! A flow of the inside counts against its [`Source`], a machine, as an address can be forged. Three kinds of
//! flows give way to others:
//!
//! - from outside, those that have proved nothing or are over, the oldest first (`visitors`);
//! - from the inside, those that nobody has answered or that are over, the oldest of the machine with the most
//!   of them first (`holders`), and only for the inside;
//! - to a host's limit, those of the same host or of the same strangers.
//!
//! A part of the ports and of the table is a reserve for machines that have few flows and for the gateway
//! (`room`). Nothing else is ever ended to make room: what was answered goes on, and what is new is
//! [refused](Refused). So a flood from outside takes nothing from the inside, a flood from one machine nothing
//! from the others, and a flood to a port that a host shows leaves it its own connections.
//!
//! Memory for all of it is taken at the start, but touched only by use; nothing is allocated per packet or
//! flow. A flow is an entry of 116 octets, and with its place in the index, its timer, its links and a mapping
//! of its own takes 208.
//!
//! # What it does not do
//!
//! It parses and rewrites no packet, and knows no policy (who asks has decided). Fragments other than the
//! first carry no ports and cannot be looked up here.

mod books;
mod entry;
mod holders;
mod huge_pages;
pub(crate) mod index;
pub(crate) mod key;
mod list;
mod open;
mod prefetch;
pub(crate) mod room;
mod shares;
pub(crate) mod slab;
pub(crate) mod tally;
pub mod tcp;
pub(crate) mod timer;
mod visitors;

use core::net::Ipv4Addr;
use core::num::NonZeroU32;
use core::ops::RangeInclusive;

use ahash::RandomState;
use gatepost_ground::Instant;
use gatepost_ground::wire::Protocol;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub use self::entry::{Egress, Flow, Packet, State, Traffic, Translation, Transport};
pub use self::holders::Source;
pub use self::key::{Address, Direction, Endpoint, FlowKey};
pub use self::open::{Binding, Client, NewFlow, Server};

pub(crate) use self::entry::Quota;
use self::holders::Holders;
use self::index::Index;
use self::list::Links;
use self::shares::Shares;
use self::slab::Slab;
use self::tally::Tally;
use self::tcp::Timer;
use self::timer::{Tick, Wheel};
use self::visitors::{Visit, Visitors};
use crate::config::{Filtering, Nat};
use crate::drop_reason::DropReason;
use crate::nat::mapping::{Mappings, Unmapped, space_of};
use crate::nat::{Mapping, MappingId, Timeouts};
use crate::shard::{HostFlows, Shard};

/// A flow's number. It is valid until the flow ends, then used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(u32);

/// The hash of a [`FlowKey`], by one table's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(u32);

/// Why a packet opens no flow, or is none of its flow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There are as many flows as there may be, and none gives way.
    TableFull,
    /// The inside host, or the strangers of its port, have opened as many flows as they may; or as many were
    /// opened to it.
    HostLimit,
    /// The source outside has as many flows open that nobody has answered as it may.
    SourceLimit,
    /// No external port is free that the newcomer may have, and no flow gives way.
    PortsExhausted,
    /// There is no external address.
    NoAddress,
    /// Its packets or replies could not be told from those of another flow.
    Ambiguous,
    /// The mapping's filter does not admit the sender.
    Filtered,
    /// The segment fits no state of the TCP connection, or opens none.
    TcpState,
    /// The segment's sequence or acknowledgment number is not one that its receiver could take.
    TcpSequence,
    /// The ICMP reply answers no query.
    Unasked,
}

impl From<Refused> for DropReason {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TableFull => Self::FlowTableFull,
            Refused::HostLimit => Self::FlowHostLimit,
            Refused::SourceLimit => Self::FlowSourceLimit,
            Refused::PortsExhausted => Self::PortsExhausted,
            Refused::NoAddress => Self::NoAddress,
            Refused::Ambiguous => Self::FlowAmbiguous,
            Refused::Filtered => Self::Filtered,
            Refused::TcpState => Self::TcpStateInvalid,
            Refused::TcpSequence => Self::TcpSequenceInvalid,
            Refused::Unasked => Self::IcmpUnrelated,
        }
    }
}

/// The flow table, with the mappings and ports that its flows use.
pub struct FlowTable<A = Ipv4Addr> {
    flows: Slab<Flow<A>>,
    /// Both keys of every flow.
    index: Index,
    hasher: RandomState,
    wheel: Wheel,
    mappings: Mappings<A>,
    /// To which addresses the inside endpoint of a mapping has sent; kept only while the filter asks.
    permissions: Tally<(MappingId, A)>,
    /// The limits that flows from outside count against.
    quotas: Tally<Quota<A>>,
    /// Those that flows of the inside count against.
    holders: Holders,
    shares: Shares<A>,
    visitors: Visitors,
    shard: Shard,
    timeouts: Timeouts,
    nat: Nat,
    /// This shard's part of [`Nat::flows_max`].
    flows_max: u32,
    /// How many made room for others.
    recycled: u64,
    /// The keys of those that made room for the last newcomers, in their order.
    #[cfg(test)]
    given_way: Vec<[FlowKey<A>; 2]>,
}

impl<A: Address> FlowTable<A> {
    /// The most flows that a table can be configured for.
    pub const FLOWS_MAX: u32 = 1 << 24;

    /// The most timers that one [`FlowTable::handle_timeout`] looks at.
    pub const EXPIRIES_MAX: usize = 1024;

    /// The empty table of `shard`, without an external address. The secret `seed` decides hashes and ports.
    pub fn new(nat: &Nat, timeouts: Timeouts, shard: Shard, seed: [u8; 32]) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let mut word = || rng.next_u64();
        let hasher = RandomState::with_seeds(word(), word(), word(), word());
        let mut table = Self {
            flows: Slab::new(),
            index: Index::new(),
            wheel: Wheel::new(),
            mappings: Mappings::new(shard, hasher.clone(), rng),
            permissions: Tally::new(hasher.clone()),
            quotas: Tally::new(hasher.clone()),
            holders: Holders::new(hasher.clone()),
            shares: Shares::new(shard, hasher.clone()),
            visitors: Visitors::new(hasher.clone()),
            hasher,
            shard,
            timeouts,
            nat: *nat,
            flows_max: 0,
            recycled: 0,
            #[cfg(test)]
            given_way: Vec::new(),
        };
        table.configure(nat);
        table
    }

    /// Changes limits and filtering. Flows above a new limit stay. Memory grows here, if it must.
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
        self.visitors.configure(self.flows_max, nat.flows_per_host_max);
        self.permissions.clear();
        if nat.filtering == Filtering::AddressDependent {
            self.permissions.reserve(2 * flows_max.max(self.len()));
            for (_, flow) in self.flows.iter() {
                for permission in Direction::BOTH.into_iter().filter_map(|way| flow.permission(way)) {
                    self.permissions.add(permission);
                }
            }
        }
    }

    /// The address of new mappings, if there is one.
    pub fn external_address(&self) -> Option<A> {
        self.mappings.external()
    }

    /// Changes the address of new mappings. If it is another, all flows through the old one end.
    pub fn set_external_address(&mut self, address: Option<A>) {
        if let Some(old) = self.external_address().filter(|old| Some(*old) != address) {
            self.remove_where(|flow| flow.is_seen_as(old));
        }
        self.mappings.set_external(address);
    }

    /// Sets the external ports of `protocol` that belong to services and forwards. Mappings that have
    /// one of them end, with their flows.
    pub fn set_reserved_ports(
        &mut self,
        protocol: Protocol,
        ports: impl Iterator<Item = RangeInclusive<u16>>,
    ) {
        self.mappings.set_reserved(protocol, ports);
        for id in 0..self.flows.end() {
            let mut mappings =
                self.flows.get(id).map_or([None; 2], |flow| flow.mappings).into_iter().flatten();
            if mappings.any(|mapping| self.mappings.is_reserved(mapping)) {
                self.remove(FlowId(id));
            }
        }
    }

    /// The hash of `key`, for the searches below.
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
            self.flows[id.0].keys[direction as usize] == *key
        })?;
        Some(resolve(found))
    }

    /// Announces a look-up of `hash`. For a batch: call it for all, then [`FlowTable::prefetch_flow`]
    /// for all, then look up each.
    #[inline]
    pub fn prefetch(&self, hash: KeyHash) {
        self.index.prefetch(hash.0);
    }

    /// Announces a look-up of `hash` that [`FlowTable::prefetch`] was called for.
    #[inline]
    pub fn prefetch_flow(&self, hash: KeyHash) {
        if let Some(found) = self.index.candidate(hash.0) {
            self.flows.prefetch(resolve(found).0.0);
        }
    }

    /// The flow `id`.
    ///
    /// # Panics
    ///
    /// If it has ended.
    #[inline]
    pub fn flow(&self, id: FlowId) -> &Flow<A> {
        &self.flows[id.0]
    }

    /// All flows, with the least number first.
    pub fn flows(&self) -> impl Iterator<Item = (FlowId, &Flow<A>)> {
        self.flows.iter().map(|(id, flow)| (FlowId(id), flow))
    }

    /// How many flows have made room for others so far.
    pub fn recycled(&self) -> u64 {
        self.recycled
    }

    /// How many flows there are.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there is no flow.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The mapping that owns a port of the external address, if one does.
    pub fn mapping_by_external(&self, protocol: Protocol, port: u16) -> Option<MappingId> {
        self.mappings.by_external(protocol, port)
    }

    /// The mapping `id`.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn mapping(&self, id: MappingId) -> &Mapping<A> {
        &self.mappings[id]
    }

    /// How many mappings there are.
    pub fn mappings_len(&self) -> usize {
        self.mappings.len()
    }

    /// Opens a flow for `packet`, its first, for which [`FlowTable::lookup`] found none. The packets of
    /// each direction will go where `egress` says.
    ///
    /// # Errors
    ///
    /// Why the packet must be dropped; nothing has changed then, unless a flow that can be recycled made
    /// room for one that is refused for another reason.
    pub fn open(
        &mut self,
        now: Instant,
        new: &NewFlow<A>,
        egress: [Egress; 2],
        packet: &Packet,
    ) -> Result<FlowId, Refused> {
        let server = new.mapped_server();
        // It must not end with a flow that makes room for this one.
        server.into_iter().for_each(|mapping| self.mappings.acquire(mapping));
        let inserted = self.admit(now, new, egress, packet.transport);
        server.into_iter().for_each(|mapping| self.mappings.release(mapping));
        let id = inserted?;
        self.track(now, id, Direction::Original, packet)?;
        Ok(id)
    }

    /// Takes a packet of `direction` of the flow `id`, which was just looked up.
    ///
    /// # Errors
    ///
    /// Why the packet must be dropped: [`Refused::TcpState`] or [`Refused::TcpSequence`] if a segment
    /// is none of the connection's.
    #[inline]
    pub fn track(
        &mut self,
        now: Instant,
        id: FlowId,
        direction: Direction,
        packet: &Packet,
    ) -> Result<(), Refused> {
        let flow = &mut self.flows[id.0];
        let way = direction as usize;
        let from_inside = flow.inside[way];
        let mut is_over = false;
        let (timer, timeout_secs, holds_mapping) = match packet.transport {
            Transport::Tcp(segment) => {
                let timer = flow.tcp.next(direction, &segment, flow.inside)?;
                let phase = flow.tcp.phase();
                is_over = matches!(phase, tcp::Phase::Closing | tcp::Phase::Reset);
                // RFC 7857 section 7.1: an RST refreshes no mapping.
                let holds = timer == Timer::Restart && from_inside && phase != tcp::Phase::Reset;
                (timer, self.timeouts.tcp_secs(phase), holds)
            }
            // RFC 4787 REQ-6: only the inside refreshes.
            _ if !from_inside => (Timer::Keep, 0, false),
            Transport::Udp => (Timer::Restart, self.timeouts.udp_secs, true),
            Transport::IcmpQuery | Transport::IcmpReply => {
                (Timer::Restart, self.timeouts.icmp_query_secs, true)
            }
        };
        let deadline = match timer {
            Timer::Keep => flow.expires,
            Timer::Restart => Tick::after(now, timeout_secs),
            Timer::Shorten => flow.expires.min(Tick::after(now, timeout_secs)),
        };
        if deadline < flow.expires {
            self.wheel.hasten(id.0, deadline);
        }
        flow.expires = deadline;
        // Once a second is enough.
        if holds_mapping && flow.held != deadline {
            flow.held = deadline;
            if let Some(mapping) = flow.mappings[way] {
                self.mappings.hold(mapping, deadline);
            }
        }
        let is_first = !flow.traffic[way].has_counted();
        flow.traffic[way].count(packet.octets);
        if is_first && self.nat.filtering == Filtering::AddressDependent {
            flow.permission(direction).into_iter().for_each(|permission| self.permissions.add(permission));
        }
        // A conversation that goes on is not looked at again until it is over.
        if flow.visit != Visit::None || is_over {
            if flow.holder.is_some() {
                self.advance(id, direction);
            } else {
                let wanted = flow.visit_after(direction);
                if wanted != flow.visit {
                    flow.visit = self.visitors.advance(id.0, flow.opener(), flow.visit, wanted);
                }
            }
        }
        Ok(())
    }

    /// Sees whether a flow that the inside opened is pending after a packet of `direction`.
    fn advance(&mut self, id: FlowId, direction: Direction) {
        let flow = &mut self.flows[id.0];
        let Some(holder) = flow.holder else { return };
        let (visit, space) = (flow.pending_after(direction), space_of(flow.keys[0].protocol));
        match (core::mem::replace(&mut flow.visit, visit), visit) {
            (Visit::Pending, Visit::None) => self.holders.dequeue(holder, space, id.0),
            (Visit::None, Visit::Pending) => self.holders.enqueue(holder, space, id.0),
            _ => {}
        }
    }

    /// Ends the flow `id`.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn remove(&mut self, id: FlowId) {
        self.wheel.disarm(id.0);
        self.forget(id);
    }

    /// Ends the flows for which `is_ended` says so. It looks at all: this is for changes of configuration.
    pub fn remove_where(&mut self, mut is_ended: impl FnMut(&Flow<A>) -> bool) {
        for id in 0..self.flows.end() {
            if self.flows.get(id).is_some_and(&mut is_ended) {
                self.remove(FlowId(id));
            }
        }
    }

    /// When [`FlowTable::handle_timeout`] wants to be called; `None` while there is no flow.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wheel.next().map(Tick::instant)
    }

    /// Ends flows that are due. It does a bounded amount of work; if that was not enough,
    /// [`FlowTable::poll_timeout`] is not in the future.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = Tick::at(now);
        for _ in 0..Self::EXPIRIES_MAX {
            let Some(id) = self.wheel.expire(now) else { return };
            let Some(expires) = self.flows.get(id).map(|flow| flow.expires) else {
                debug_assert!(false, "a flow that has ended has no timer");
                continue;
            };
            if expires <= now {
                self.forget(FlowId(id));
            } else {
                self.wheel.arm(id, expires);
            }
        }
    }

    /// What the other shards are to be told next: how many flows a host has here.
    pub(crate) fn pop_notice(&mut self) -> Option<HostFlows<A>> {
        let Self { shares, quotas, holders, .. } = self;
        shares.pop(|quota| open::count(holders, quotas, quota))
    }

    /// Takes in how many flows a host has in the shard `from`.
    pub(crate) fn hear(&mut self, from: u8, flows: HostFlows<A>) {
        self.shares.hear(from, flows);
    }
}

impl From<tcp::Invalid> for Refused {
    fn from(invalid: tcp::Invalid) -> Self {
        match invalid {
            tcp::Invalid::State => Self::TcpState,
            tcp::Invalid::Sequence => Self::TcpSequence,
        }
    }
}

impl From<Unmapped> for Refused {
    fn from(unmapped: Unmapped) -> Self {
        match unmapped {
            Unmapped::NoAddress => Self::NoAddress,
            Unmapped::PortsExhausted => Self::PortsExhausted,
        }
    }
}

// A flow with a mapping of its own takes at most 208 octets, all told.
const _: () = assert!(
    Slab::<Flow>::ENTRY_OCTETS + 2 * Index::ENTRY_OCTETS + Wheel::TIMER_OCTETS + Links::ENTRY_OCTETS // the flow
        + Slab::<Mapping>::ENTRY_OCTETS + Index::ENTRY_OCTETS // the mapping
        <= 208
);
const _: () = assert!(Slab::<Flow>::ENTRY_OCTETS == 116);

/// What the index keeps of a key: its flow and direction, and never 0.
fn reference(id: FlowId, direction: Direction) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(id.0 << 1 | direction as u32)
}

#[inline]
fn resolve(reference: NonZeroU32) -> (FlowId, Direction) {
    let bits = reference.get() - 1;
    (FlowId(bits >> 1), if bits & 1 == 0 { Direction::Original } else { Direction::Reply })
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
