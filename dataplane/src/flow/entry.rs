//! One flow: an entry of the table.

use core::net::Ipv4Addr;

use gatepost_ground::wire::Protocol;
use gatepost_ground::wire::checksum::Delta;
use gatepost_ground::{Instant, Role};

use super::holders::{HolderId, Source};
use super::tcp;
use super::visitors::Visit;
use crate::key::{Address, Direction, FlowKey};
use crate::nat::MappingId;
use crate::nat::rewrite::Translation;
use crate::table::timer::Tick;

/// Where the packets of one direction of a flow go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    /// Out by an interface of this role.
    To(Role),
    /// To the gateway's own host stack.
    Host,
    /// To an external address, where they come in again as if from outside: hairpin, out and in.
    External,
}

/// What a packet carries, as far as a flow is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A TCP segment.
    Tcp(tcp::Segment),
    /// A UDP datagram.
    Udp,
    /// An ICMP query.
    IcmpQuery,
    /// The reply to one.
    IcmpReply,
}

impl Transport {
    /// The protocol's number in the IP header.
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::Tcp(_) => Protocol::TCP,
            Self::Udp => Protocol::UDP,
            Self::IcmpQuery | Self::IcmpReply => Protocol::ICMP,
        }
    }
}

/// A packet, as far as a flow is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What it carries.
    pub transport: Transport,
    /// Its length from the IP header on.
    pub octets: u16,
}

/// The limit that a flow counts against. Inbound flows do not use up what the host may open itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Quota<A> {
    /// That of the machine on the inside that opened the flow.
    Client(Source),
    /// That of the inside host to which the flow was opened from outside.
    Server(A),
    /// That of the gateway's address, by which an inside host reached another: the limit of that host counts.
    Hairpin(A),
}

/// The packets of one direction of a flow so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many.
    pub packets: u64,
    /// Their lengths from the IP header on.
    pub octets: u64,
}

/// [`Traffic`] in 48 bits each, which a flow does not live long enough to use up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    packets: [u16; 3],
    octets: [u16; 3],
}

impl Meter {
    /// Counts a packet.
    #[inline]
    pub(super) fn count(&mut self, octets: u16) {
        let Traffic { packets, octets: before } = self.read();
        self.packets = split(packets + 1);
        self.octets = split(before + u64::from(octets));
    }

    /// Whether there was a packet.
    #[inline]
    pub(super) fn has_counted(self) -> bool {
        self.packets != [0; 3]
    }

    #[inline]
    fn read(self) -> Traffic {
        Traffic { packets: join(self.packets), octets: join(self.octets) }
    }
}

#[inline]
const fn split(number: u64) -> [u16; 3] {
    [number as u16, (number >> 16) as u16, (number >> 32) as u16]
}

#[inline]
const fn join([low, middle, high]: [u16; 3]) -> u64 {
    low as u64 | (middle as u64) << 16 | (high as u64) << 32
}

/// What a flow is, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// UDP.
    Udp,
    /// ICMP queries of one identifier.
    IcmpQuery,
    /// TCP.
    Tcp(tcp::Phase),
}

/// A flow: both directions of a conversation, how they are translated, and how long it may last.
#[derive(Clone, Debug)]
pub struct Flow<A = Ipv4Addr> {
    /// As the packets of each direction arrive.
    pub(super) keys: [FlowKey<A>; 2],
    /// What rewriting an original packet does to the checksums of its IP header and transport.
    ip_delta: Delta,
    transport_delta: Delta,
    pub(super) expires: Tick,
    /// The mapping of each direction's sender.
    pub(super) mappings: [Option<MappingId>; 2],
    /// Until when packets hold their sender's mapping: the last that was said to it.
    pub(super) held: Tick,
    /// Whether each direction's sender is on the inside.
    pub(super) inside: [bool; 2],
    pub(super) visit: Visit,
    /// Whose flow it is, if the inside opened it.
    pub(super) holder: Option<HolderId>,
    egress: [Egress; 2],
    pub(super) tcp: tcp::Connection,
    pub(super) traffic: [Meter; 2],
}

impl<A: Address> Flow<A> {
    /// A flow that no packet has used yet. One that `is_hairpin` is an inside host's to another, on its way in.
    #[inline]
    pub(super) fn new(
        keys: [FlowKey<A>; 2],
        mappings: [Option<MappingId>; 2],
        inside: [bool; 2],
        egress: [Egress; 2],
        expires: Tick,
        is_hairpin: bool,
    ) -> Self {
        let [original, reply] = keys;
        let (ip_delta, transport_delta) = deltas(original, reply.reversed());
        Self {
            keys,
            ip_delta,
            transport_delta,
            expires,
            mappings,
            held: Tick::ZERO,
            inside,
            visit: match () {
                () if inside[0] => Visit::Pending,
                () if is_hairpin => Visit::None,
                () => Visit::HalfOpen,
            },
            holder: None,
            egress,
            tcp: tcp::Connection::NEW,
            traffic: [Meter::default(); 2],
        }
    }

    /// What the packets of `direction` look like when they arrive.
    #[inline]
    pub fn key(&self, direction: Direction) -> FlowKey<A> {
        self.keys[direction as usize]
    }

    /// How the packets of `direction` are rewritten: to the reverse of what a reply looks like.
    ///
    /// An ICMP error about a packet of the opposite direction is rewritten alike: its embedded packet's
    /// source becomes [`Translation::destination`], its destination [`Translation::source`], and the
    /// embedded checksums change by the same deltas.
    #[inline]
    pub fn translation(&self, direction: Direction) -> Translation<A> {
        let reply = &self.keys[direction.opposite() as usize];
        // A reply is rewritten from what an original packet is rewritten to, to what that was.
        let (ip_delta, transport_delta) = match direction {
            Direction::Original => (self.ip_delta, self.transport_delta),
            Direction::Reply => (self.ip_delta.inverse(), self.transport_delta.inverse()),
        };
        Translation { source: reply.destination, destination: reply.source, ip_delta, transport_delta }
    }

    /// Where the packets of `direction` go.
    #[inline]
    pub fn egress(&self, direction: Direction) -> Egress {
        self.egress[direction as usize]
    }

    /// The mapping of who sends the packets of `direction`; `None` if that is outside, or seen at an
    /// endpoint that is its own by configuration.
    pub fn mapping(&self, direction: Direction) -> Option<MappingId> {
        self.mappings[direction as usize]
    }

    /// What the flow is, and where it stands.
    pub fn state(&self) -> State {
        match self.keys[0].protocol {
            Protocol::TCP => State::Tcp(self.tcp.phase()),
            Protocol::UDP => State::Udp,
            _ => State::IcmpQuery,
        }
    }

    /// When it ends if nothing prolongs it.
    pub fn expires(&self) -> Instant {
        self.expires.instant()
    }

    /// What went in `direction` so far.
    pub fn traffic(&self, direction: Direction) -> Traffic {
        self.traffic[direction as usize].read()
    }

    /// The inside host that the flow is counted for: who opened it, or whom it was opened to.
    pub fn host(&self) -> A {
        let direction = if self.inside[0] { Direction::Original } else { Direction::Reply };
        self.keys[direction as usize].source.address
    }

    /// The limit that a flow from outside counts against.
    pub(super) fn inbound_quota(&self) -> Quota<A> {
        // Of those that are no strangers', the inside opened all the others.
        let is_hairpin = self.visit == Visit::None;
        if is_hairpin { Quota::Hairpin(self.opener()) } else { Quota::Server(self.host()) }
    }

    /// What a packet of `direction`, already tracked, shows a flow that the inside opened to be.
    pub(super) fn pending_after(&self, direction: Direction) -> Visit {
        match self.state() {
            State::Tcp(tcp::Phase::Established) => Visit::None,
            State::Tcp(_) => Visit::Pending,
            _ if direction == Direction::Reply => Visit::None,
            _ => self.visit,
        }
    }

    /// What a packet of `direction`, already tracked, shows a flow from outside to be.
    pub(super) fn visit_after(&self, direction: Direction) -> Visit {
        match (self.state(), self.visit) {
            (_, Visit::None | Visit::Pending) => self.visit,
            (State::Tcp(tcp::Phase::Established), _) => Visit::Kept,
            (State::Tcp(tcp::Phase::Closing | tcp::Phase::Reset), _) => Visit::Answered,
            (State::Tcp(tcp::Phase::Opening), visit) => visit,
            (_, Visit::HalfOpen) if direction == Direction::Reply => Visit::Answered,
            (_, Visit::Answered) if direction == Direction::Original => Visit::Kept,
            (_, visit) => visit,
        }
    }

    /// Who opened it, as the inside sees it.
    pub(super) fn opener(&self) -> A {
        self.keys[0].source.address
    }

    /// Whether the flow passes through the external address `address`.
    pub(super) fn is_seen_as(&self, address: A) -> bool {
        self.keys.iter().any(|key| key.destination.address == address)
    }

    /// A mapping and the address that its inside endpoint has sent to in `direction`, if it has.
    pub(super) fn permission(&self, direction: Direction) -> Option<(MappingId, A)> {
        let at = direction as usize;
        let mapping = self.mappings[at].filter(|_| self.traffic[at].has_counted())?;
        Some((mapping, self.keys[at].destination.address))
    }
}

/// What rewriting a packet from one key to another does to the checksums of its IP header and transport.
#[inline]
fn deltas<A: Address>(from: FlowKey<A>, to: FlowKey<A>) -> (Delta, Delta) {
    let source = A::replace(Delta::NONE, from.source.address, to.source.address);
    let ip = A::replace(source, from.destination.address, to.destination.address);
    // The checksum of ICMP, unlike that of TCP and UDP, covers no addresses. (RFC 792)
    let pseudo_header = if from.protocol == Protocol::ICMP { Delta::NONE } else { ip };
    let transport = pseudo_header
        .replace_u16(from.source.port, to.source.port)
        .replace_u16(from.destination.port, to.destination.port);
    (ip, transport)
}
