//! A flow as the table stores it.

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

/// The destination of one direction's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    /// Out by an interface of this role.
    To(Role),
    /// To the gateway's own host stack.
    Stack,
    /// To an external address of the gateway, where the packets come in again as if from outside.
    Hairpin,
}

/// The transport of a packet, as far as flow tracking needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A TCP segment.
    Tcp(tcp::TcpSegment),
    /// A UDP datagram.
    Udp,
    /// An ICMP query.
    IcmpQuery,
    /// The reply to an ICMP query.
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

/// A packet, as far as flow tracking needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The transport.
    pub transport: Transport,
    /// The length in octets, from the IP header on.
    pub octets: u16,
}

/// The quota a flow counts against. Inbound flows do not use up the host's outbound quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Quota<A> {
    /// The quota of the inside machine that opened the flow.
    Client(Source),
    /// The quota of the inside host to which the flow was opened from outside.
    Server(A),
    /// The quota of the external address at which an inside host reached another. The outbound half counts against
    /// the first host's own quota.
    Hairpin(A),
}

/// The packets of one direction of a flow, since the flow began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// The number of packets.
    pub packets: u64,
    /// The sum of their lengths in octets, from the IP header on.
    pub octets: u64,
}

/// [`Traffic`] with 48 bits for each counter, which a flow does not live long enough to overflow.
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

    /// Whether a packet has been counted.
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

/// The protocol of a flow, and the state of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// UDP.
    Udp,
    /// ICMP queries of one identifier.
    IcmpQuery,
    /// TCP.
    Tcp(tcp::Phase),
}

/// The part of a flow that every flow has.
#[derive(Clone, Debug)]
pub(super) struct Entry<A> {
    /// The key of packets in the original direction, as they arrive.
    pub(super) key: FlowKey<A>,
    pub(super) expires: Tick,
    /// The flow's number, by which its timer and the queues refer to it.
    pub(super) number: u32,
    /// The direction whose sender is inside. Exactly one end of a flow is inside.
    pub(super) inside: Direction,
    pub(super) inbound_state: InboundState,
    /// The holder that the flow counts against, if the inside opened it.
    pub(super) holder: Option<HolderId>,
    egress: [Egress; 2],
    pub(super) tcp: tcp::Connection,
    pub(super) traffic: [Meter; 2],
}

/// The further part of a translated flow: its inside end has a mapping or another endpoint towards the outside.
#[derive(Clone, Debug)]
pub(super) struct Nat<A> {
    /// The endpoint that replaces the inside end's endpoint in packets of the original direction: the external
    /// endpoint if the inside opened the flow, else the inside endpoint.
    replacement: Endpoint<A>,
    /// The changes to the checksums of the IP header and the transport when a packet of the original direction is
    /// rewritten.
    ip_delta: Delta,
    transport_delta: Delta,
    /// The mapping of the inside end; `None` for a static mapping.
    pub(super) mapping: Option<MappingId>,
    /// The time until which this flow holds the mapping, as last passed to the mapping.
    pub(super) held: Tick,
}

/// A whole flow, before it is stored or after it is removed.
#[derive(Clone, Debug)]
pub(super) struct Record<A> {
    pub(super) entry: Entry<A>,
    /// `None` if the flow is only tracked: its packets are not rewritten.
    pub(super) nat: Option<Nat<A>>,
}

impl<A: Address> Record<A> {
    /// A flow that no packet has used yet. `keys` has the key of each direction's packets as they arrive, `mapping`
    /// belongs to the end that sends the direction `inside`, and `is_hairpin` marks the inbound half of a hairpin.
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
            Direction::Reply if is_hairpin => InboundState::Hairpin,
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
    /// The protocol of the flow, and the state of its connection.
    pub(super) fn state(&self) -> State {
        match self.key.protocol {
            Protocol::TCP => State::Tcp(self.tcp.phase()),
            Protocol::UDP => State::Udp,
            _ => State::IcmpQuery,
        }
    }

    /// The state of a flow that the inside opened, after a packet of `direction` was tracked: `pending` while the flow
    /// is unanswered or its connection is not established.
    pub(super) fn pending_after(&self, direction: Direction, pending: InboundState) -> InboundState {
        match self.state() {
            State::Tcp(tcp::Phase::Established) => InboundState::None,
            State::Tcp(_) => pending,
            _ if direction == Direction::Reply => InboundState::None,
            _ => self.inbound_state,
        }
    }

    /// The state of a flow from outside or of the inbound half of a hairpin, after a packet of `direction` was tracked.
    pub(super) fn inbound_state_after(&self, direction: Direction) -> InboundState {
        match (self.state(), self.inbound_state) {
            (_, InboundState::None | InboundState::Hairpin) => {
                self.pending_after(direction, InboundState::Hairpin)
            }
            (_, InboundState::Pending) => self.inbound_state,
            (State::Tcp(tcp::Phase::Established), _) => InboundState::Assured,
            (State::Tcp(tcp::Phase::Closing | tcp::Phase::Reset), _) => InboundState::Answered,
            (State::Tcp(tcp::Phase::Opening), state) => state,
            (_, InboundState::Embryonic) if direction == Direction::Reply => InboundState::Answered,
            (_, InboundState::Answered) if direction == Direction::Original => InboundState::Assured,
            (_, state) => state,
        }
    }

    /// The address of the end that opened the flow, as the inside sees it.
    pub(super) fn opener(&self) -> A {
        self.key.source.address
    }

    /// The address of the outside end, as packets of the inside end have it.
    fn remote(&self) -> A {
        match self.inside {
            Direction::Original => self.key.destination.address,
            Direction::Reply => self.key.source.address,
        }
    }
}

/// A flow: both directions of a conversation, their translation, and the flow's deadline.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a, A = Ipv4Addr> {
    pub(super) entry: &'a Entry<A>,
    pub(super) nat: Option<&'a Nat<A>>,
}

impl<A: Address> Flow<'_, A> {
    /// The key of the packets of `direction`, as they arrive.
    #[inline]
    pub fn key(&self, direction: Direction) -> FlowKey<A> {
        match direction {
            Direction::Original => self.entry.key,
            Direction::Reply => self.rewritten().reversed(),
        }
    }

    /// The key that packets of the original direction are rewritten to: the reverse of the reply key.
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

    /// The translation of the packets of `direction`: to the reverse of the other direction's key.
    ///
    /// An ICMP error about a packet of the opposite direction has the same translation: the source of its embedded
    /// packet becomes [`Translation::destination`], the destination becomes [`Translation::source`], and the embedded
    /// checksums change by the same deltas.
    #[inline]
    pub fn translation(&self, direction: Direction) -> Translation<A> {
        let (ip_delta, transport_delta) =
            self.nat.map_or((Delta::NONE, Delta::NONE), |nat| (nat.ip_delta, nat.transport_delta));
        match direction {
            Direction::Original => {
                let FlowKey { source, destination, .. } = self.rewritten();
                Translation { source, destination, ip_delta, transport_delta }
            }
            // A reply is rewritten by the inverse of the original direction's translation.
            Direction::Reply => {
                let FlowKey { source, destination, .. } = self.entry.key.reversed();
                let (ip_delta, transport_delta) = (ip_delta.inverse(), transport_delta.inverse());
                Translation { source, destination, ip_delta, transport_delta }
            }
        }
    }

    /// The destination of the packets of `direction`.
    #[inline]
    pub fn egress(&self, direction: Direction) -> Egress {
        self.entry.egress[direction as usize]
    }

    /// The mapping of the end that sends the packets of `direction`; `None` if that end is outside or has a static
    /// mapping.
    pub fn mapping(&self, direction: Direction) -> Option<MappingId> {
        self.nat.filter(|_| direction == self.entry.inside)?.mapping
    }

    /// Whether the sender of `direction` may have sent a packet that an ICMP error quotes with this TCP sequence
    /// number; always, for a packet without one.
    pub fn may_have_sent(&self, direction: Direction, sequence: Option<u32>) -> bool {
        sequence.is_none_or(|sequence| self.entry.tcp.may_have_sent(direction, sequence))
    }

    /// The protocol of the flow, and the state of its connection.
    pub fn state(&self) -> State {
        self.entry.state()
    }

    /// Whether the flow is a connection that both sides have closed, or that was reset.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state(), State::Tcp(tcp::Phase::Closing | tcp::Phase::Reset))
    }

    /// When the flow ends if no packet refreshes it.
    pub fn expires(&self) -> Instant {
        self.entry.expires.instant()
    }

    /// The traffic in `direction` so far.
    pub fn traffic(&self, direction: Direction) -> Traffic {
        self.entry.traffic[direction as usize].read()
    }

    /// The address of the inside end.
    pub fn host(&self) -> A {
        self.key(self.entry.inside).source.address
    }

    /// The quota that an inbound flow counts against.
    pub(super) fn inbound_quota(&self) -> Quota<A> {
        // Of the flows with these states, only hairpins are inbound.
        let is_hairpin = matches!(self.entry.inbound_state, InboundState::None | InboundState::Hairpin);
        if is_hairpin { Quota::Hairpin(self.entry.opener()) } else { Quota::Server(self.host()) }
    }

    /// Whether the flow uses the external address `address`.
    pub(super) fn uses_external(&self, address: A) -> bool {
        Direction::BOTH.iter().any(|direction| self.key(*direction).destination.address == address)
    }

    /// The flow's mapping and its remote address, if the inside has sent to it.
    #[inline]
    pub(super) fn permission(&self) -> Option<(MappingId, A)> {
        let Self { entry, nat } = self;
        let mapping = nat.and_then(|nat| nat.mapping)?;
        entry.traffic[entry.inside as usize].has_counted().then(|| (mapping, entry.remote()))
    }
}

/// The changes to the checksums of IP header and transport when a packet is rewritten from one key to another.
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
