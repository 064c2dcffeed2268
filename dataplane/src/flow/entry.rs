//! One flow: an entry of the table.

use core::net::Ipv4Addr;

use gatepost_ground::wire::Protocol;
use gatepost_ground::wire::checksum::Delta;
use gatepost_ground::{Instant, Role};

use super::half_open::InboundState;
use super::holders::{HolderId, Source};
use super::tcp;
use crate::key::{Address, Direction, Endpoint, FlowKey};
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
    Tcp(tcp::TcpSegment),
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

/// What the table keeps of every flow.
#[derive(Clone, Debug)]
pub(super) struct Entry<A> {
    /// As the packets arrive that go as the first one did.
    pub(super) key: FlowKey<A>,
    pub(super) expires: Tick,
    /// Its number among all flows, which its timer and its places in queues have.
    pub(super) number: u32,
    /// The direction whose sender is on the inside: of both ends of a flow, one is.
    pub(super) inside: Direction,
    pub(super) inbound_state: InboundState,
    /// Whose flow it is, if the inside opened it.
    pub(super) holder: Option<HolderId>,
    egress: [Egress; 2],
    pub(super) tcp: tcp::Connection,
    pub(super) traffic: [Meter; 2],
}

/// What the table keeps besides of a flow whose inside end the outside sees at another endpoint, or by a mapping.
#[derive(Clone, Debug)]
pub(super) struct Nat<A> {
    /// What original packets get in place of their inside end's endpoint: the external one if the inside opened the
    /// flow, else that on the inside.
    replacement: Endpoint<A>,
    /// What rewriting an original packet does to the checksums of its IP header and transport.
    ip_delta: Delta,
    transport_delta: Delta,
    /// The mapping of the inside end, if it has one.
    pub(super) mapping: Option<MappingId>,
    /// Until when packets hold that mapping: the last that was said to it.
    pub(super) held: Tick,
}

/// A flow on its way into the table or out of it.
#[derive(Clone, Debug)]
pub(super) struct Record<A> {
    pub(super) entry: Entry<A>,
    /// `None` if the flow is only tracked: what its packets are rewritten to is what they are.
    pub(super) nat: Option<Nat<A>>,
}

impl<A: Address> Record<A> {
    /// A flow that no packet has used yet, with its packets' `keys` as those of each direction arrive, and the `mapping`
    /// of the sender of the direction `inside`. One that `is_hairpin` is an inside host's to another, on its way in.
    #[inline]
    pub(super) fn new(
        keys: [FlowKey<A>; 2],
        mapping: Option<MappingId>,
        inside: Direction,
        egress: [Egress; 2],
        expires: Tick,
        is_hairpin: bool,
    ) -> Self {
        let [original, reply] = keys;
        let inbound_state = match inside {
            Direction::Original => InboundState::Pending,
            Direction::Reply if is_hairpin => InboundState::None,
            Direction::Reply => InboundState::Embryonic,
        };
        let entry = Entry {
            key: original,
            expires,
            number: 0,
            inside,
            inbound_state,
            holder: None,
            egress,
            tcp: tcp::Connection::NEW,
            traffic: [Meter::default(); 2],
        };
        let rewritten = reply.reversed();
        let nat = (mapping.is_some() || rewritten != original).then(|| {
            let (ip_delta, transport_delta) = deltas(original, rewritten);
            let replacement = match inside {
                Direction::Original => rewritten.source,
                Direction::Reply => rewritten.destination,
            };
            Nat { replacement, ip_delta, transport_delta, mapping, held: Tick::ZERO }
        });
        Self { entry, nat }
    }

    /// The flow.
    #[inline]
    pub(super) fn flow(&self) -> Flow<'_, A> {
        Flow { entry: &self.entry, nat: self.nat.as_ref() }
    }
}

impl<A: Address> Entry<A> {
    /// What the flow is, and where it stands.
    pub(super) fn state(&self) -> State {
        match self.key.protocol {
            Protocol::TCP => State::Tcp(self.tcp.phase()),
            Protocol::UDP => State::Udp,
            _ => State::IcmpQuery,
        }
    }

    /// What a packet of `direction`, already tracked, shows a flow that the inside opened to be.
    pub(super) fn pending_after(&self, direction: Direction) -> InboundState {
        match self.state() {
            State::Tcp(tcp::Phase::Established) => InboundState::None,
            State::Tcp(_) => InboundState::Pending,
            _ if direction == Direction::Reply => InboundState::None,
            _ => self.inbound_state,
        }
    }

    /// What a packet of `direction`, already tracked, shows a flow from outside to be.
    pub(super) fn inbound_state_after(&self, direction: Direction) -> InboundState {
        match (self.state(), self.inbound_state) {
            (_, InboundState::None | InboundState::Pending) => self.inbound_state,
            (State::Tcp(tcp::Phase::Established), _) => InboundState::Assured,
            (State::Tcp(tcp::Phase::Closing | tcp::Phase::Reset), _) => InboundState::Answered,
            (State::Tcp(tcp::Phase::Opening), state) => state,
            (_, InboundState::Embryonic) if direction == Direction::Reply => InboundState::Answered,
            (_, InboundState::Answered) if direction == Direction::Original => InboundState::Assured,
            (_, state) => state,
        }
    }

    /// Who opened it, as the inside sees it.
    pub(super) fn opener(&self) -> A {
        self.key.source.address
    }

    /// The address of the end that is outside, as the inside end's packets arrive.
    fn remote(&self) -> A {
        match self.inside {
            Direction::Original => self.key.destination.address,
            Direction::Reply => self.key.source.address,
        }
    }
}

/// A flow: both directions of a conversation, how they are translated, and how long it may last.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a, A = Ipv4Addr> {
    pub(super) entry: &'a Entry<A>,
    pub(super) nat: Option<&'a Nat<A>>,
}

impl<A: Address> Flow<'_, A> {
    /// What the packets of `direction` look like when they arrive.
    #[inline]
    pub fn key(&self, direction: Direction) -> FlowKey<A> {
        match direction {
            Direction::Original => self.entry.key,
            Direction::Reply => self.rewritten().reversed(),
        }
    }

    /// What original packets are rewritten to: the reverse of what a reply looks like.
    #[inline]
    fn rewritten(&self) -> FlowKey<A> {
        let mut key = self.entry.key;
        if let Some(nat) = self.nat {
            match self.entry.inside {
                Direction::Original => key.source = nat.replacement,
                Direction::Reply => key.destination = nat.replacement,
            }
        }
        key
    }

    /// How the packets of `direction` are rewritten: to the reverse of what a reply looks like.
    ///
    /// An ICMP error about a packet of the opposite direction is rewritten alike: its embedded packet's
    /// source becomes [`Translation::destination`], its destination [`Translation::source`], and the
    /// embedded checksums change by the same deltas.
    #[inline]
    pub fn translation(&self, direction: Direction) -> Translation<A> {
        let (ip_delta, transport_delta) =
            self.nat.map_or((Delta::NONE, Delta::NONE), |nat| (nat.ip_delta, nat.transport_delta));
        match direction {
            Direction::Original => {
                let FlowKey { source, destination, .. } = self.rewritten();
                Translation { source, destination, ip_delta, transport_delta }
            }
            // A reply is rewritten from what an original packet is rewritten to, to what that was.
            Direction::Reply => {
                let FlowKey { source, destination, .. } = self.entry.key.reversed();
                let (ip_delta, transport_delta) = (ip_delta.inverse(), transport_delta.inverse());
                Translation { source, destination, ip_delta, transport_delta }
            }
        }
    }

    /// Where the packets of `direction` go.
    #[inline]
    pub fn egress(&self, direction: Direction) -> Egress {
        self.entry.egress[direction as usize]
    }

    /// The mapping of who sends the packets of `direction`; `None` if that is outside, or seen at an
    /// endpoint that is its own by configuration.
    pub fn mapping(&self, direction: Direction) -> Option<MappingId> {
        self.nat.filter(|_| direction == self.entry.inside)?.mapping
    }

    /// What the flow is, and where it stands.
    pub fn state(&self) -> State {
        self.entry.state()
    }

    /// When it ends if nothing prolongs it.
    pub fn expires(&self) -> Instant {
        self.entry.expires.instant()
    }

    /// What went in `direction` so far.
    pub fn traffic(&self, direction: Direction) -> Traffic {
        self.entry.traffic[direction as usize].read()
    }

    /// The inside host that the flow is counted for: who opened it, or whom it was opened to.
    pub fn host(&self) -> A {
        self.key(self.entry.inside).source.address
    }

    /// The limit that a flow from outside counts against.
    pub(super) fn inbound_quota(&self) -> Quota<A> {
        // Of those that are no strangers', the inside opened all the others.
        let is_hairpin = self.entry.inbound_state == InboundState::None;
        if is_hairpin { Quota::Hairpin(self.entry.opener()) } else { Quota::Server(self.host()) }
    }

    /// Whether the flow passes through the external address `address`.
    pub(super) fn is_seen_as(&self, address: A) -> bool {
        Direction::BOTH.iter().any(|direction| self.key(*direction).destination.address == address)
    }

    /// A mapping and the address that its inside endpoint has sent to, if it has.
    #[inline]
    pub(super) fn permission(&self) -> Option<(MappingId, A)> {
        let Self { entry, nat } = self;
        let mapping = nat.and_then(|nat| nat.mapping)?;
        entry.traffic[entry.inside as usize].has_counted().then(|| (mapping, entry.remote()))
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
