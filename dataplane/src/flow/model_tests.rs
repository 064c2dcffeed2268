//! The table against a model: lists that are searched from end to end, with the rules written out.

mod eviction;
mod pinholes;

use core::net::Ipv4Addr;
use core::ops::RangeInclusive;
use std::collections::BTreeMap;

use gatepost_ground::Instant;
use gatepost_ground::wire::Protocol;
use gatepost_ground::wire::tcp::Flags;
use gatepost_ground::{MacAddr, PortId, Role};
use proptest::prelude::*;

use self::pinholes::{Ask, ModelPinhole, asks};
use super::half_open::InboundState;
use super::tcp::Phase;
use super::*;
use crate::config::{Filtering, Nat};
use crate::key::{Direction, Endpoint, FlowKey};
use crate::nat::MappingId;
use crate::nat::mapping::space_of;
use crate::shard::Shard;

/// The external addresses that the gateway may have, and which of them it has, to choose from.
const WANS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(203, 0, 113, 10), Ipv4Addr::new(203, 0, 113, 77), Ipv4Addr::new(192, 0, 2, 1)];
const EXTERNALS: [&[Ipv4Addr]; 4] = [&[WANS[0]], &[WANS[1]], &[WANS[0], WANS[2]], &WANS];
const EGRESS: [Egress; 2] = [Egress::To(Role::Outside), Egress::To(Role::Inside)];
/// Flows in all and of a host, to choose from.
const LIMITS: [(usize, usize); 3] = [(10, 5), (4, 2), (40, 8)];
/// The limit of assured flows of one source outside, which follows from each of these limits.
const ASSURED_EACH_MAX: usize = 1;
/// Ports that belong to forwards and services, to choose from: the preferred ports of some clients, two more, and
/// all but a few.
const RESERVED: [&[RangeInclusive<u16>]; 3] =
    [&[2000..=2003], &[5000..=5001], &[1..=999, 1001..=4999, 5008..=65535]];

#[derive(Clone, Debug)]
enum Step {
    /// A packet from the inside to a remote endpoint, by way of one of the external addresses.
    Send { protocol: Protocol, client: Endpoint, remote: Endpoint, wan: usize },
    /// A packet from a remote endpoint to the port of one of the mappings.
    Inbound { mapping: usize, remote: Endpoint },
    /// A packet from the inside to the external port of one of the mappings: out, and in again.
    Hairpin { client: Endpoint, mapping: usize },
    /// A packet of one of the flows; if it is of TCP, with these flags.
    Packet { flow: usize, direction: Direction, flags: Flags },
    /// One flow is ended.
    Remove { flow: usize },
    /// Time goes on.
    Wait { secs: u64 },
    /// Other limits and another filter are configured.
    Configure { filtering: Filtering, limits: (usize, usize) },
    /// The gateway gets external addresses, maybe some that it has.
    Renumber { wans: &'static [Ipv4Addr] },
    /// Other ports belong to forwards and services.
    Reserve { ports: &'static [RangeInclusive<u16>] },
    /// A command for pinholes.
    Pinhole(Ask),
}

/// The key of a mapping for a protocol: an inside endpoint and an external address.
type Inside = (Endpoint, Ipv4Addr);

struct ModelFlow {
    keys: [FlowKey; 2],
    /// Each direction's sender, if it has a mapping.
    mapped: [Option<Inside>; 2],
    sent: [bool; 2],
    deadline: u64,
    tcp: ModelTcp,
    inbound_state: InboundState,
    /// The order in which it entered the queue of recyclable flows.
    queued_at: u64,
    /// The machine that opened the flow, if one on the inside did.
    source: Option<Source>,
}

type Quota = super::entry::Quota<Ipv4Addr>;

/// The flags that the model has seen of each side of a TCP connection.
#[derive(Clone, Copy, Default)]
struct ModelTcp {
    syn: [bool; 2],
    acked: [bool; 2],
    fin: [bool; 2],
    reset: bool,
}

struct ModelMapping {
    external: Endpoint,
    held_until: u64,
}

struct Model {
    flows: Vec<ModelFlow>,
    mappings: BTreeMap<(Protocol, Inside), ModelMapping>,
    pinholes: BTreeMap<(Protocol, Inside), ModelPinhole>,
    filtering: Filtering,
    limits: (usize, usize),
    wans: &'static [Ipv4Addr],
    reserved: &'static [RangeInclusive<u16>],
    now: u64,
    /// How many have come into the queue.
    queued: u64,
}

fn timeout(protocol: Protocol) -> u64 {
    match protocol {
        Protocol::TCP => 240,
        Protocol::UDP => 300,
        _ => 60,
    }
}

/// Both sides of a connection begin with the number 99.
fn packet(protocol: Protocol, flags: Flags) -> Packet {
    let sequence = if flags.contains(Flags::SYN) { 99 } else { 100 };
    let segment = tcp::TcpSegment {
        flags,
        sequence,
        acknowledgment: 100,
        window: 64_000,
        ..tcp::TcpSegment::default()
    };
    let transport = match protocol {
        Protocol::TCP => Transport::Tcp(segment),
        Protocol::UDP => Transport::Udp,
        _ => Transport::IcmpQuery,
    };
    Packet { transport, octets: 50 }
}

impl ModelTcp {
    fn phase(&self) -> Phase {
        let both = |facts: [bool; 2]| facts == [true, true];
        match () {
            () if self.reset => Phase::Reset,
            () if both(self.fin) => Phase::Closing,
            () if both(self.syn) && both(self.acked) => Phase::Established,
            () => Phase::Opening,
        }
    }

    /// The flags seen after another segment of the side `way`, or `None` if the segment is passed on without a
    /// change.
    fn with(mut self, way: usize, flags: Flags) -> Result<Option<Self>, FlowError> {
        let has = |flag| flags.contains(flag);
        if has(Flags::RST) {
            if !self.syn[way] && !has(Flags::ACK) {
                return Err(FlowError::TcpSequence);
            }
            // It is at the end of what was sent, or has the number of the FIN there.
            return Ok(Some(Self { reset: true, ..self }));
        }
        if has(Flags::SYN) && !has(Flags::ACK) {
            match self.phase() {
                Phase::Established => return Ok(None),
                Phase::Closing | Phase::Reset => self = Self::default(),
                Phase::Opening => {}
            }
            self.syn[way] = true;
            return Ok(Some(self));
        }
        let answers = self.syn[1 - way];
        if !has(Flags::ACK) || !answers {
            return Err(FlowError::TcpState);
        }
        if !has(Flags::SYN) && !self.syn[way] {
            // A bare ACK to a SYN is answered with RST; it says nothing of the connection.
            return if has(Flags::FIN) { Err(FlowError::TcpState) } else { Ok(None) };
        }
        self.syn[way] |= has(Flags::SYN);
        self.acked[way] = true;
        self.fin[way] |= has(Flags::FIN);
        self.reset = false;
        Ok(Some(self))
    }
}

impl Model {
    fn mapping_at(&self, number: usize) -> Option<(Protocol, Inside)> {
        self.mappings.keys().nth(number % self.mappings.len().max(1)).copied()
    }

    fn find(&self, key: &FlowKey) -> Option<(usize, Direction)> {
        let position = |way: usize| self.flows.iter().position(|flow| flow.keys[way] == *key);
        position(0).map(|at| (at, Direction::Original)).or(position(1).map(|at| (at, Direction::Reply)))
    }

    /// The limit that a flow counts against.
    fn quota(&self, flow: &ModelFlow) -> Quota {
        let [original, reply] = flow.keys.map(|key| key.source.address);
        match flow.source {
            Some(source) => Quota::Client(source),
            None if self.wans.contains(&original) => Quota::Hairpin(original),
            None => Quota::Server(reply),
        }
    }

    fn admits(&self, (protocol, inside): (Protocol, Inside), from: Ipv4Addr) -> bool {
        if self.is_let_in((protocol, inside), from) {
            return true;
        }
        let has_sent = |flow: &ModelFlow, way: usize| {
            let is_mapping = flow.mapped[way] == Some(inside) && flow.keys[0].protocol == protocol;
            is_mapping && flow.sent[way] && flow.keys[way].destination.address == from
        };
        protocol != Protocol::ICMP
            && self.mappings[&(protocol, inside)].held_until > self.now
            && match self.filtering {
                Filtering::EndpointIndependent => true,
                Filtering::AddressDependent => {
                    self.flows.iter().any(|flow| has_sent(flow, 0) || has_sent(flow, 1))
                }
                Filtering::AddressAndPortDependent => false,
            }
    }

    /// The limits that a new flow meets, if it leaves so much room.
    fn limit(&self, quota: Quota, leaves: usize) -> Result<(), FlowError> {
        let (flows_max, flows_per_host_max) = self.limits;
        let limit = match quota {
            Quota::Client(Source::Unverified(_)) => (flows_per_host_max / 4).max(1),
            Quota::Client(_) | Quota::Server(_) => flows_per_host_max,
            Quota::Hairpin(_) => flows_max,
        };
        let flows = self.flows.iter().filter(|flow| self.quota(flow) == quota).count();
        match () {
            () if flows >= limit => Err(FlowError::HostLimit),
            () if self.flows.len() + leaves >= flows_max => Err(FlowError::TableFull),
            () => Ok(()),
        }
    }

    /// A packet of a flow: updates the traffic, and the timers that it refreshes.
    fn packet(&mut self, at: usize, direction: Direction, flags: Flags) -> Result<(), FlowError> {
        let (flow, way) = (&mut self.flows[at], direction as usize);
        let protocol = flow.keys[0].protocol;
        let inside = flow.mapped[way];
        let mut holds = inside.is_some();
        let mut deadline = if holds { self.now + timeout(protocol) } else { flow.deadline };
        let was_established = flow.tcp.phase() == Phase::Established;
        if protocol == Protocol::TCP {
            let before = flow.tcp.phase();
            let understood = flow.tcp.with(way, flags)?;
            flow.tcp = understood.unwrap_or(flow.tcp);
            let phase = flow.tcp.phase();
            let wanted = (0..2).any(|way| flow.mapped[way].is_some() && flow.tcp.syn[way]);
            let restarts = match phase {
                _ if understood.is_none() => false,
                Phase::Established => true,
                Phase::Opening => holds,
                Phase::Closing => holds || before != phase,
                Phase::Reset => before != phase && wanted,
            };
            let secs = if phase == Phase::Established { 7440 } else { 240 };
            deadline = match phase {
                _ if restarts => self.now + secs,
                Phase::Reset if before != phase => flow.deadline.min(self.now + secs),
                _ => flow.deadline,
            };
            holds &= restarts && phase != Phase::Reset;
        }
        flow.deadline = deadline;
        flow.sent[way] = true;
        if was_established {
            let (protocol, mapped) = (self.flows[at].keys[0].protocol, self.flows[at].mapped);
            self.shorten(protocol, mapped);
        }
        if let Some(inside) = inside.filter(|_| holds) {
            let mapping = self.mappings.get_mut(&(protocol, inside)).unwrap();
            mapping.held_until = mapping.held_until.max(deadline);
        }
        match self.quota(&self.flows[at]) {
            Quota::Client(_) => self.pend(at, direction, InboundState::Pending),
            Quota::Hairpin(_) => self.pend(at, direction, InboundState::Hairpin),
            Quota::Server(_) => self.advance_inbound(at, direction),
        }
        Ok(())
    }

    /// Of a mapping without established connections, those that are opening or closing alone hold the port.
    fn shorten(&mut self, protocol: Protocol, mapped: [Option<Inside>; 2]) {
        let mapped = mapped.into_iter().flatten().next();
        let is_established = |flow: &ModelFlow| {
            let is_its = flow.keys[0].protocol == protocol && flow.mapped.contains(&mapped);
            is_its && flow.tcp.phase() == Phase::Established
        };
        if let Some(inside) = mapped.filter(|_| !self.flows.iter().any(is_established)) {
            // It has ended with its last flow otherwise.
            if let Some(mapping) = self.mappings.get_mut(&(protocol, inside)) {
                mapping.held_until = mapping.held_until.min(self.now + 240);
            }
        }
    }

    /// Whether a flow of the inside, or the inbound half of a hairpin, is `pending` after a packet.
    fn pend(&mut self, at: usize, direction: Direction, pending: InboundState) {
        let flow = &mut self.flows[at];
        let is_pending = match flow.keys[0].protocol {
            Protocol::TCP => flow.tcp.phase() != Phase::Established,
            _ => flow.inbound_state == pending && direction == Direction::Original,
        };
        if is_pending && flow.inbound_state != pending {
            self.queued += 1;
            flow.queued_at = self.queued;
        }
        flow.inbound_state = if is_pending { pending } else { InboundState::None };
    }

    /// Updates the state of a flow from outside after a packet.
    fn advance_inbound(&mut self, at: usize, direction: Direction) {
        let flow = &self.flows[at];
        let inbound_state = flow.inbound_state;
        let is_tcp = flow.keys[0].protocol == Protocol::TCP;
        let wanted = match (inbound_state, flow.tcp.phase(), direction) {
            (_, Phase::Established, _) if is_tcp => InboundState::Assured,
            (_, Phase::Closing | Phase::Reset, _) if is_tcp => InboundState::Answered,
            (InboundState::Embryonic, _, Direction::Reply) if !is_tcp => InboundState::Answered,
            (InboundState::Answered, _, Direction::Original) if !is_tcp => InboundState::Assured,
            _ => inbound_state,
        };
        let is_full =
            self.inbound_count(flow.keys[0].source.address, InboundState::Assured) >= ASSURED_EACH_MAX;
        let becomes = if wanted == InboundState::Assured && inbound_state != wanted && is_full {
            InboundState::Answered
        } else {
            wanted
        };
        if inbound_state == InboundState::Assured && becomes != inbound_state {
            self.queued += 1;
            self.flows[at].queued_at = self.queued;
        }
        self.flows[at].inbound_state = becomes;
    }

    /// The flows from outside that can be recycled, the oldest first.
    fn queue(&self) -> Vec<usize> {
        self.queue_of(&[InboundState::Embryonic, InboundState::Answered])
    }

    /// The inbound halves of hairpins that can be recycled, the oldest first.
    fn hairpins(&self) -> Vec<usize> {
        self.queue_of(&[InboundState::Hairpin])
    }

    fn queue_of(&self, states: &[InboundState]) -> Vec<usize> {
        let is_queued = |at: &usize| states.contains(&self.flows[*at].inbound_state);
        let mut queue: Vec<_> = (0..self.flows.len()).filter(is_queued).collect();
        queue.sort_by_key(|at| self.flows[*at].queued_at);
        queue
    }

    /// The most unanswered flows of one source outside.
    fn embryonic_each_max(&self) -> usize {
        (self.limits.0 / 16).max(1)
    }

    fn inbound_count(&self, source: Ipv4Addr, state: InboundState) -> usize {
        let is_one = |flow: &&ModelFlow| flow.inbound_state == state && flow.keys[0].source.address == source;
        self.flows.iter().filter(is_one).count()
    }

    /// As [`Model::end`], but the mapping of `server` stays.
    fn end_but(&mut self, server: Option<(Protocol, Inside)>, is_over: impl Fn(usize) -> bool) {
        let kept = server.and_then(|server| Some((server, self.mappings.remove(&server)?)));
        self.end(|at, _| is_over(at));
        self.mappings.extend(kept);
    }

    fn end(&mut self, is_over: impl Fn(usize, &ModelFlow) -> bool) {
        let mut at = 0..;
        self.flows.retain(|flow| !is_over(at.next().unwrap(), flow));
        let Self { flows, pinholes, .. } = self;
        self.mappings.retain(|(protocol, inside), _| {
            let uses =
                |flow: &ModelFlow| flow.keys[0].protocol == *protocol && flow.mapped.contains(&Some(*inside));
            flows.iter().any(uses) || pinholes.contains_key(&(*protocol, *inside))
        });
    }
}

/// The table and its model, stepping together.
struct Pair {
    table: FlowTable,
    model: Model,
}

impl Pair {
    fn new(filtering: Filtering) -> Self {
        let mut table = FlowTable::new(&nat(filtering, LIMITS[0]), Timeouts::default(), Shard::SOLE, [3; 32]);
        table.set_external_addresses(Instant::ZERO, EXTERNALS[0]);
        let model = Model {
            flows: Vec::new(),
            mappings: BTreeMap::new(),
            pinholes: BTreeMap::new(),
            filtering,
            limits: LIMITS[0],
            wans: EXTERNALS[0],
            reserved: &[],
            now: 0,
            queued: 0,
        };
        let mut pair = Self { table, model };
        pair.limit_pinholes();
        pair.step(Step::Reserve { ports: RESERVED[0] });
        pair
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send { protocol, client, remote, wan } => {
                let external = self.model.wans[wan % self.model.wans.len()];
                let remote = if protocol == Protocol::ICMP { Endpoint { port: 0, ..remote } } else { remote };
                let source = source_of(client);
                let mapped = Client::Mapped { inside: client, external };
                let new = NewFlow::Outbound { client: mapped, remote, source };
                self.arrive(FlowKey { protocol, source: client, destination: remote }, &new);
            }
            Step::Inbound { mapping, remote } => {
                let Some((protocol, inside)) = self.model.mapping_at(mapping) else { return };
                let (id, external) = self.mapping(protocol, inside);
                let new = NewFlow::Inbound { remote, server: Server::Mapped(id) };
                let key = FlowKey { protocol, source: remote, destination: external };
                self.arrive(key, &new);
            }
            Step::Hairpin { client, mapping } => {
                let Some((protocol, inside)) = self.model.mapping_at(mapping) else { return };
                let (_, external) = self.mapping(protocol, inside);
                let source = source_of(client);
                let mapped = Client::Mapped { inside: client, external: external.address };
                let new = NewFlow::Outbound { client: mapped, remote: external, source };
                let client_mapping = (client, external.address);
                self.arrive(FlowKey { protocol, source: client, destination: external }, &new);
                // The way out may have ended the other's mapping, or given it another port.
                let is_there = |inside, external: Option<Endpoint>| {
                    let mapping = self.model.mappings.get(&(protocol, inside));
                    mapping
                        .is_some_and(|mapping| external.is_none_or(|external| mapping.external == external))
                };
                if !is_there(client_mapping, None) || !is_there(inside, Some(external)) {
                    return;
                }
                let (id, _) = self.mapping(protocol, inside);
                let (_, remote) = self.mapping(protocol, client_mapping);
                let new = NewFlow::Inbound { remote, server: Server::Mapped(id) };
                self.arrive(FlowKey { protocol, source: remote, destination: external }, &new);
            }
            Step::Packet { flow, direction, flags } => {
                let Some(at) = flow.checked_rem(self.model.flows.len()) else { return };
                let key = self.model.flows[at].keys[direction as usize];
                let (id, found) = self.table.lookup(&key).expect("the model's flow");
                let packet = packet(key.protocol, flags);
                let result = self.table.track(Instant::from_secs(self.model.now), id, found, &packet);
                assert_eq!(result, self.model.packet(at, found, flags));
            }
            Step::Remove { flow } => {
                let Some(at) = flow.checked_rem(self.model.flows.len()) else { return };
                let ModelFlow { keys: [key, _], ref tcp, mapped, .. } = self.model.flows[at];
                let was_established = tcp.phase() == Phase::Established;
                let now = Instant::from_secs(self.model.now);
                self.table.remove_where(now, |flow| flow.key(Direction::Original) == key);
                self.model.end(|number, _| number == at);
                if was_established {
                    self.model.shorten(key.protocol, mapped);
                }
            }
            Step::Wait { secs } => {
                self.model.now += secs;
                let now = Instant::from_secs(self.model.now);
                while self.table.poll_timeout().is_some_and(|due| due <= now) {
                    self.table.handle_timeout(now);
                }
                let now = self.model.now;
                self.model.end(|_, flow| flow.deadline <= now);
                self.model.close_where(|_, pinhole| pinhole.until <= now);
            }
            Step::Configure { filtering, limits } => {
                self.table.configure(&nat(filtering, limits));
                self.model.filtering = filtering;
                self.model.limits = limits;
            }
            Step::Renumber { wans } => {
                self.table.set_external_addresses(Instant::from_secs(self.model.now), wans);
                let gone: Vec<_> = self.model.wans.iter().filter(|wan| !wans.contains(wan)).collect();
                self.model
                    .end(|_, flow| flow.keys.iter().any(|key| gone.contains(&&key.destination.address)));
                self.model.close_where(|(_, (_, wan)), _| gone.contains(&wan));
                self.model.wans = wans;
            }
            Step::Reserve { ports } => {
                for protocol in [Protocol::TCP, Protocol::UDP, Protocol::ICMP] {
                    self.table.set_reserved_ports(protocol, ports.iter().cloned());
                }
                let externals: BTreeMap<_, _> =
                    self.model.mappings.iter().map(|(key, mapping)| (*key, mapping.external.port)).collect();
                self.model.end(|_, flow| {
                    let mut mapped = flow.mapped.into_iter().flatten();
                    mapped.any(|inside| has(ports, externals[&(flow.keys[0].protocol, inside)]))
                });
                self.model.close_where(|mapping, _| has(ports, externals[mapping]));
                self.model.reserved = ports;
            }
            Step::Pinhole(ask) => self.ask(ask),
        }
    }

    fn mapping(&self, protocol: Protocol, inside: Inside) -> (MappingId, Endpoint) {
        let external = self.model.mappings[&(protocol, inside)].external;
        (self.table.mapping_by_external(protocol, external).expect("the model's mapping"), external)
    }

    /// A packet with `key`: of a flow, or for a new one.
    fn arrive(&mut self, key: FlowKey, new: &NewFlow) {
        let now = Instant::from_secs(self.model.now);
        if let Some((at, direction)) = self.model.find(&key) {
            let (id, found) = self.table.lookup(&key).expect("the model's flow");
            assert!(found == direction || key == self.table.flow(id).key(direction));
            let flags = if found == Direction::Original { Flags::SYN } else { Flags::SYN | Flags::ACK };
            let result = self.table.track(now, id, found, &packet(key.protocol, flags));
            assert_eq!(result, self.model.packet(at, found, flags));
            return;
        }
        assert_eq!(self.table.lookup(&key), None);
        let result = self.table.open(now, new, EGRESS, &packet(key.protocol, Flags::SYN));
        assert_eq!(result.map(|_| ()), self.model_open(key, new));
    }

    fn model_open(&mut self, key: FlowKey, new: &NewFlow) -> Result<(), FlowError> {
        let (client, server) = match *new {
            NewFlow::Outbound { client: Client::Mapped { inside, external }, .. } => {
                (Some((inside, external)), None)
            }
            NewFlow::Inbound { .. } => (None, self.owner(&key)),
            _ => unreachable!("the steps open no other flows"),
        };
        let source = match *new {
            NewFlow::Outbound { source, .. } => Some(source),
            NewFlow::Inbound { .. } => None,
        };
        let quota = match source {
            Some(source) => Quota::Client(source),
            None if self.model.wans.contains(&key.source.address) => Quota::Hairpin(key.source.address),
            None => Quota::Server(server.unwrap().0.address),
        };
        let mapped = server.map(|server| (key.protocol, server));
        let mut gone = core::mem::take(&mut self.table.evicted);
        let admitted = self.model_admit(&key, client, mapped, quota, &mut gone);
        assert!(gone.is_empty(), "{gone:?} have given way too");
        if admitted.is_err() {
            self.model.end(|_, _| false); // its mapping, if that was all that used it
        }
        admitted?;
        if let Some((inside, _)) = server
            && self.model.find(&FlowKey { source: inside, destination: key.source, ..key }).is_some()
        {
            // The remote reaches the host at another address already, so the flow of the host's replies would be
            // ambiguous.
            return Err(FlowError::Ambiguous);
        }
        let mut deadline = self.model.now + timeout(key.protocol);
        let client_external = match client {
            Some(client) => self.model_map(key.protocol, client),
            None => {
                let mapping = &self.model.mappings[&(key.protocol, server.unwrap())];
                // RFC 4787, REQ-6: only packets from the inside and pinholes hold a mapping.
                if mapped.is_none_or(|mapped| !self.model.is_let_in(mapped, key.source.address)) {
                    deadline = deadline.min(mapping.held_until);
                }
                key.source
            }
        };
        let inbound_state = match quota {
            Quota::Server(_) => InboundState::Embryonic,
            Quota::Client(_) => InboundState::Pending,
            Quota::Hairpin(_) => InboundState::Hairpin,
        };
        let hairpins = self.model.hairpins();
        if inbound_state == InboundState::Hairpin && hairpins.len() >= (self.model.limits.0 / 8).max(1) {
            self.model.end_but(mapped, |at| at == hairpins[0]);
        }
        let queue = self.model.queue();
        if inbound_state == InboundState::Embryonic && queue.len() >= (self.model.limits.0 / 4).max(1) {
            self.model.end_but(mapped, |at| at == queue[0]);
        }
        self.model.queued += 1;
        let reply_source = server.map_or(key.destination, |(inside, _)| inside);
        let reply = FlowKey { protocol: key.protocol, source: reply_source, destination: client_external };
        self.model.flows.push(ModelFlow {
            keys: [key, reply],
            mapped: [client, server],
            sent: [false; 2],
            deadline,
            tcp: ModelTcp::default(),
            inbound_state,
            queued_at: self.model.queued,
            source,
        });
        self.model.packet(self.model.flows.len() - 1, Direction::Original, Flags::SYN)
    }

    fn owner(&self, key: &FlowKey) -> Option<Inside> {
        let mut mappings = self.model.mappings.iter();
        let owned = mappings.find(|((protocol, _), mapping)| {
            *protocol == key.protocol && mapping.external == key.destination
        });
        owned.map(|((_, inside), _)| *inside)
    }

    /// The external endpoint of `client`: the one that it has, or the one that the table has just chosen,
    /// which must be one that it may choose.
    fn model_map(&mut self, protocol: Protocol, (client, wan): Inside) -> Endpoint {
        if let Some(mapping) = self.model.mappings.get(&(protocol, (client, wan))) {
            return mapping.external;
        }
        let flow = self.table.flows().find(|(_, flow)| {
            let key = flow.key(Direction::Original);
            let is_by_wan = flow.key(Direction::Reply).destination.address == wan;
            key.protocol == protocol && key.source == client && is_by_wan
        });
        let external = flow.expect("the flow that was opened").1.key(Direction::Reply).destination;
        self.model_map_to(protocol, (client, wan), external)
    }

    /// As [`Pair::model_map`]: the table has chosen `external` if `client` has none yet.
    fn model_map_to(&mut self, protocol: Protocol, (client, wan): Inside, external: Endpoint) -> Endpoint {
        if let Some(mapping) = self.model.mappings.get(&(protocol, (client, wan))) {
            return mapping.external;
        }
        let taken = |port: u16| {
            let mut mappings = self.model.mappings.iter();
            has(self.model.reserved, port)
                || mappings.any(|((other, _), mapping)| {
                    *other == protocol && mapping.external == Endpoint::new(wan, port)
                })
        };
        assert_eq!(external.address, wan);
        assert!(!taken(external.port), "no port is overloaded");
        assert!(external.port == client.port || taken(client.port), "a free port is preserved");
        let is_alike = |port: u16| (port % 2, port < 1024) == (client.port % 2, client.port < 1024);
        let is_none_left = || (1..=u16::MAX).all(|port| !is_alike(port) || taken(port));
        assert!(is_alike(external.port) || is_none_left());
        self.model.mappings.insert((protocol, (client, wan)), ModelMapping { external, held_until: 0 });
        external
    }

    fn compare(&self) {
        self.compare_pinholes();
        let (table, model) = (&self.table, &self.model);
        assert_eq!((table.len(), table.mappings_len()), (model.flows.len(), model.mappings.len()));
        for expected in &model.flows {
            let (id, _) = table.lookup(&expected.keys[0]).expect("the model's flow");
            let flow = table.flow(id);
            assert_eq!(Direction::BOTH.map(|direction| flow.key(direction)), expected.keys);
            assert_eq!(flow.expires(), Instant::from_secs(expected.deadline));
            assert_eq!(table.lookup(&expected.keys[1]).map(|(found, _)| found), Some(id));
        }
        for ((protocol, inside), expected) in &model.mappings {
            let id = table.mapping_by_external(*protocol, expected.external).expect("the mapping");
            let mapping = table.mapping(id);
            assert_eq!((mapping.inside, mapping.external), (inside.0, expected.external));
            assert_eq!(expected.external.address, inside.1);
            assert_eq!(mapping.held_until.instant(), Instant::from_secs(expected.held_until));
        }
    }
}

fn nat(filtering: Filtering, (flows_max, flows_per_host_max): (usize, usize)) -> Nat {
    Nat { filtering, flows_max: flows_max as u32, flows_per_host_max: flows_per_host_max as u32 }
}

/// Two of the hosts are known to ARP, and two are unverified senders.
fn source_of(client: Endpoint) -> Source {
    match client.address.octets() {
        [_, _, _, host @ 2..=3] => Source::Station(MacAddr([2, 0, 0, 0, 0, host]), PortId(0)),
        _ => Source::Unverified(PortId(0)),
    }
}

fn has(ranges: &[RangeInclusive<u16>], port: u16) -> bool {
    ranges.iter().any(|range| range.contains(&port))
}

fn filtering() -> impl Strategy<Value = Filtering> {
    prop::sample::select(vec![
        Filtering::EndpointIndependent,
        Filtering::AddressDependent,
        Filtering::AddressAndPortDependent,
    ])
}

/// Segments that usually open and end connections, and only those that reach the table.
fn flags() -> impl Strategy<Value = Flags> {
    let sensible =
        [Flags::SYN, Flags::SYN | Flags::ACK, Flags::ACK, Flags::ACK, Flags::FIN | Flags::ACK, Flags::RST];
    prop_oneof![12 => prop::sample::select(sensible.to_vec()), 1 => (0..64_u8).prop_map(Flags)]
        .prop_filter("no such segment", |flags| flags.is_possible())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let protocol = || prop::sample::select(vec![Protocol::UDP, Protocol::UDP, Protocol::TCP, Protocol::ICMP]);
    let client = || {
        (2u8..6, prop::sample::select(vec![1000u16, 5000, 5000, 2000]))
            .prop_map(|(host, port)| Endpoint::new(Ipv4Addr::new(192, 168, 1, host), port))
            .boxed()
    };
    let remote =
        || (1u8..3, 1u16..3).prop_map(|(host, port)| Endpoint::new(Ipv4Addr::new(198, 51, 100, host), port));
    let direction = prop::sample::select(Direction::BOTH.to_vec());
    let step = prop_oneof![
        4 => (protocol(), client(), remote(), any::<usize>())
            .prop_map(|(protocol, client, remote, wan)| Step::Send { protocol, client, remote, wan }),
        3 => (any::<usize>(), remote()).prop_map(|(mapping, remote)| Step::Inbound { mapping, remote }),
        2 => (client(), any::<usize>()).prop_map(|(client, mapping)| Step::Hairpin { client, mapping }),
        8 => (any::<usize>(), direction, flags())
            .prop_map(|(flow, direction, flags)| Step::Packet { flow, direction, flags }),
        1 => any::<usize>().prop_map(|flow| Step::Remove { flow }),
        3 => (1u64..130).prop_map(|secs| Step::Wait { secs }),
        1 => (filtering(), prop::sample::select(LIMITS.to_vec()))
            .prop_map(|(filtering, limits)| Step::Configure { filtering, limits }),
        1 => prop::sample::select(EXTERNALS.to_vec()).prop_map(|wans| Step::Renumber { wans }),
        1 => prop::sample::select(RESERVED.to_vec()).prop_map(|ports| Step::Reserve { ports }),
        3 => asks(client, remote()).prop_map(Step::Pinhole),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #[test]
    fn agrees_with_the_model(
        filtering in filtering(),
        steps in steps(),
    ) {
        let mut pair = Pair::new(filtering);
        for step in steps {
            pair.step(step);
            pair.compare();
        }
        pair.step(Step::Wait { secs: LIFETIME_MAX.as_secs() });
        prop_assert!(pair.table.is_empty() && pair.table.mappings_len() == 0);
        prop_assert_eq!(pair.table.poll_timeout(), None);
    }
}
