//! The NAT stage: packets that cross the WAN address, by their flow or by what opens one.
//!
//! ```text
//!  LAN ─────▶ Output ──────┐
//!  host ────▶ HostOutput ──┤            yes
//!  LAN ─────▶ Hairpin ─────┼──▶ flow? ───────▶ track ───▶ rewrite ──▶ egress, or host stack
//!  WAN ─────▶ Input ───────┤      │                          ▲ │
//!        ┌──▶ HairpinInput ┘   no │                          │ │
//!        │                        ▼                          │ │
//!        │        service, forward, mapping, default? ──▶ open │ from Hairpin, or back there
//!        │                        │ nobody                     │
//!        │                        ▼                            │
//!        │                   unsolicited                       │
//!        └─────────────────────────────────────────────────────┘
//! ```
//!
//! A packet from one LAN host to another by way of the WAN address goes out and in again: see `hairpin`.
//!
//! Checks that end with an ICMP error to the sender come before the rewriting, as the sender knows the
//! packet as it was, and before a flow is opened, so that a refused packet leaves nothing behind.
//! What has a wrong transport checksum ends before it is looked up, so that no damaged or carelessly
//! forged packet moves a flow. A fragment's cannot be verified; the receiver does when it has all.

use core::net::Ipv4Addr;

use gatepost_ground::wire::ipv4::{Header, HeaderMut};
use gatepost_ground::wire::transport::is_checksum_valid;
use gatepost_ground::wire::{Malformed, Protocol, ethernet, icmpv4, tcp, udp};
use gatepost_ground::{Frame, Offload, Segment};

use super::context::{Call, Context};
use super::hairpin::HairpinClaim;
use super::{Dataplane, forward, local};
use crate::batch::{Ingress, LocalClass, Verdict};
use crate::drop_reason::DropReason;
use crate::firewall::{self, Claim, refusal::Quote};
use crate::flow::{
    self, Binding, Client, Direction, Egress, Endpoint, FlowKey, NewFlow, Packet, Refused, Server, Source,
    Translation, Transport,
};
use crate::icmp_error::IcmpError;
use crate::nat::rewrite::{self, Coverage};
use crate::route::Route;
use crate::shard::{Leg, Refusal};

/// The way a packet takes across the WAN address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the LAN to the WAN.
    Output,
    /// From the gateway's own host stack to the WAN.
    HostOutput,
    /// From the WAN to the WAN address.
    Input,
    /// From the LAN to the WAN address.
    Hairpin,
    /// From the WAN address to itself: a packet that took [`Way::Hairpin`] before.
    HairpinInput,
}

impl Way {
    /// Where what goes back to the sender goes.
    fn back(self) -> Egress {
        match self {
            Self::Output | Self::Hairpin => Egress::Segment(Segment::Lan),
            Self::Input => Egress::Segment(Segment::Wan),
            Self::HostOutput => Egress::Host,
            Self::HairpinInput => Egress::External,
        }
    }

    /// The segment that the packet came from; `None` if it was the gateway itself that sent it.
    pub(super) fn origin(self) -> Option<Segment> {
        match self {
            Self::Output | Self::Hairpin => Some(Segment::Lan),
            Self::Input => Some(Segment::Wan),
            Self::HostOutput | Self::HairpinInput => None,
        }
    }
}

/// A packet that something is to be decided about. It is as it came.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) way: Way,
    pub(super) header: &'a Header,
    pub(super) frame: &'a Frame,
}

/// What is to become of a packet, and of the other fragments of the same.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// It is rewritten, and goes on.
    Pass(Passage),
    /// It is for the gateway, as it is.
    Local,
    /// It goes no further.
    Drop(DropReason),
    /// Another worker knows whether it is for the gateway.
    Ask(u8),
}

/// Where a rewritten packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// Out.
    To(Route),
    /// To the host stack.
    Host,
    /// To the WAN address, and in again.
    External,
}

/// How a packet is rewritten and where it goes then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage {
    pub(super) translation: Translation,
    pub(super) hop: Hop,
    /// The identification that it gets, if it does not keep its own.
    pub(super) identification: Option<u16>,
}

/// What a packet is to NAT.
pub(super) enum Content {
    /// Part of a conversation.
    Conversation(FlowKey, Packet),
    /// An ICMP error about a part of one.
    Error,
}

impl Dataplane {
    /// A packet on its `way` across the WAN address.
    #[inline]
    pub(super) fn nat(
        &mut self,
        cx: &mut Context<'_, '_>,
        way: Way,
        header: &Header,
        frame: &mut Frame,
    ) -> Verdict {
        if !self.shard.is_sole()
            && let Some(verdict) = self.steer(cx, way, header, frame)
        {
            return verdict;
        }
        if header.is_fragment() {
            return self.nat_fragment(cx, way, header, frame);
        }
        match content(header, frame) {
            Ok(Content::Conversation(key, packet)) => {
                if let Err(reason) = verify_checksum(header, frame) {
                    return Verdict::Drop(reason);
                }
                match self.decide(cx, Arrival { way, header, frame }, &key, &packet) {
                    Fate::Pass(passage) => self.pass(cx, way, &passage, header, frame),
                    Fate::Local => self.local_input(cx, header, frame),
                    Fate::Drop(reason) => Verdict::Drop(reason),
                    Fate::Ask(worker) => cx.hand_over(worker, Leg::Asks),
                }
            }
            Ok(Content::Error) => self.nat_error(cx, way, header, frame),
            // The host tells a LAN host itself that it does not speak a protocol.
            Err(DropReason::ProtocolUnsupported) if way == Way::Hairpin => Verdict::Local(LocalClass::Stack),
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// What is to become of a first fragment and of those that follow it.
    pub(super) fn decide_first_fragment(&mut self, cx: &mut Context<'_, '_>, arrival: Arrival<'_>) -> Fate {
        match content(arrival.header, arrival.frame) {
            Ok(Content::Conversation(key, packet)) => self.decide(cx, arrival, &key, &packet),
            // No error is so long that it would have to be fragmented. // RFC 1812 section 4.3.2.3
            Ok(Content::Error) => Fate::Drop(DropReason::FragmentInvalid),
            Err(reason) => Fate::Drop(reason),
        }
    }

    /// Rewrites a packet and sends it on.
    #[inline]
    pub(super) fn pass(
        &mut self,
        cx: &mut Context<'_, '_>,
        way: Way,
        passage: &Passage,
        header: &Header,
        frame: &mut Frame,
    ) -> Verdict {
        let coverage = match frame.offload() {
            Offload::None | Offload::Verified => Coverage::Whole,
            Offload::Checksum(_) | Offload::Segmentation(_) => Coverage::PseudoHeader,
        };
        let packet = frame.packet_mut();
        rewrite::packet(packet, header, coverage, &passage.translation);
        if let (Some(id), Ok(mut ip)) = (passage.identification, HeaderMut::new(packet)) {
            ip.set_id(id);
        }
        let destination = passage.translation.destination;
        self.send_translated(cx, way, passage.hop, header.protocol, destination, frame)
    }

    /// Sends a rewritten packet of a conversation in `protocol` to `destination`.
    #[inline]
    pub(super) fn send_translated(
        &mut self,
        cx: &mut Context<'_, '_>,
        way: Way,
        hop: Hop,
        protocol: Protocol,
        destination: Endpoint,
        frame: &mut Frame,
    ) -> Verdict {
        let route = match hop {
            Hop::To(route) => route,
            Hop::Host => return Verdict::Local(LocalClass::Stack),
            // Nobody outside sends from an inside address: what comes in does not go out again.
            Hop::External if way == Way::HairpinInput => return Verdict::Drop(DropReason::FlowAmbiguous),
            Hop::External => return self.hairpin(cx, protocol, destination.port, frame),
        };
        if way != Way::HostOutput {
            forward::take_hop(frame);
        }
        self.egress(cx.call, route, destination.address, frame)
    }

    /// Where a packet for `destination` goes, if it may.
    #[inline]
    pub(super) fn route_out(
        &mut self,
        call: &mut Call<'_>,
        arrival: Arrival<'_>,
        egress: Egress,
        destination: Ipv4Addr,
    ) -> Result<Hop, DropReason> {
        let hop = match egress {
            Egress::Host => return Ok(Hop::Host),
            Egress::External => Hop::External,
            Egress::Segment(_) => Hop::To(self.routes.lookup(destination).ok_or(DropReason::NoRoute)?),
        };
        self.check_route(call, arrival, hop)?;
        Ok(hop)
    }

    /// Whether a packet may go where it goes: what the host sends or gets makes no hop.
    #[inline]
    pub(super) fn check_route(
        &mut self,
        call: &mut Call<'_>,
        arrival: Arrival<'_>,
        hop: Hop,
    ) -> Result<(), DropReason> {
        let next = match hop {
            Hop::To(route) => route.segment,
            // What goes to the WAN address and in again makes one hop, from the LAN to the LAN.
            Hop::External => Segment::Lan,
            Hop::Host => return Ok(()),
        };
        match arrival.way.origin() {
            Some(segment) => self.check_hop(call, segment, next, arrival.header, arrival.frame),
            None => Ok(()),
        }
    }

    /// What is to become of a packet: what its flow says, or one that it opens.
    #[inline]
    fn decide(
        &mut self,
        cx: &mut Context<'_, '_>,
        arrival: Arrival<'_>,
        key: &FlowKey,
        packet: &Packet,
    ) -> Fate {
        debug_assert!(cx.key_hash.is_none_or(|hash| hash == self.flows.hash(key)), "of this very packet");
        let hash = cx.key_hash.unwrap_or_else(|| self.flows.hash(key));
        let Some((id, direction)) = self.flows.lookup_hashed(hash, key) else {
            return self.decide_new(cx, arrival, key, packet);
        };
        let flow = self.flows.flow(id);
        let (translation, egress) = (flow.translation(direction), flow.egress(direction));
        let hop = match self.route_out(cx.call, arrival, egress, translation.destination.address) {
            Ok(hop) => hop,
            Err(reason) => return Fate::Drop(reason),
        };
        match self.flows.track(cx.call.now, id, direction, packet) {
            Ok(()) => self.passage(translation, hop, arrival),
            Err(refused) => Fate::Drop(refused.into()),
        }
    }

    /// What is to become of a packet that belongs to no flow.
    fn decide_new(
        &mut self,
        cx: &mut Context<'_, '_>,
        arrival: Arrival<'_>,
        key: &FlowKey,
        packet: &Packet,
    ) -> Fate {
        let (new, egress) = match arrival.way {
            Way::Output | Way::HostOutput => (self.outbound(cx, arrival, key), Egress::Segment(Segment::Wan)),
            Way::Input => match self.claim_input(arrival, key) {
                Ok((server, egress)) => (NewFlow::Inbound { remote: key.source, server }, egress),
                Err(fate) => {
                    if matches!(fate, Fate::Drop(DropReason::Unsolicited)) {
                        self.answer_unsolicited(cx.call, arrival, packet);
                    }
                    return fate;
                }
            },
            Way::Hairpin => match self.claim_hairpin(cx.leg, arrival, key) {
                HairpinClaim::Inside => (self.outbound(cx, arrival, key), Egress::External),
                HairpinClaim::Gateway => return Fate::Local,
                HairpinClaim::Ask(worker) => return Fate::Ask(worker),
            },
            Way::HairpinInput => match self.hairpin_server(key) {
                Some(server) => {
                    (NewFlow::Inbound { remote: key.source, server }, Egress::Segment(Segment::Lan))
                }
                None => return Fate::Drop(DropReason::Unsolicited),
            },
        };
        self.open_flow(cx.call, arrival, &new, egress, packet)
    }

    /// Who gets a packet from the WAN, and by which way, or what else is to become of it.
    fn claim_input(&self, arrival: Arrival<'_>, key: &FlowKey) -> Result<(Server, Egress), Fate> {
        if local::is_echo_request(arrival.header, arrival.frame) {
            let is_silent = firewall::is_stealthy(&self.config);
            return Err(if is_silent { Fate::Drop(DropReason::Unsolicited) } else { Fate::Local });
        }
        let (remote, external) = (key.source.address, key.destination);
        match firewall::claim(&self.config.firewall, key.protocol, external.port, remote) {
            Claim::Service => Ok((seen_as(external, external), Egress::Host)),
            Claim::Forward(target) => Ok((seen_as(target, external), Egress::Segment(Segment::Lan))),
            Claim::ForwardDenied => Err(Fate::Drop(DropReason::ForwardSourceDenied)),
            Claim::Unclaimed => self.mapped_or_default(key).ok_or(Fate::Drop(DropReason::Unsolicited)),
        }
    }

    /// Opens a flow for its first packet, the originals of which leave by `egress`.
    fn open_flow(
        &mut self,
        call: &mut Call<'_>,
        arrival: Arrival<'_>,
        new: &NewFlow,
        egress: Egress,
        packet: &Packet,
    ) -> Fate {
        let destination = match new {
            NewFlow::Outbound { remote, .. } => remote.address,
            NewFlow::Inbound { server, .. } => match server {
                Server::Mapped(mapping) => self.flows.mapping(*mapping).inside.address,
                Server::Static(binding) => binding.inside.address,
            },
        };
        let hop = match self.route_out(call, arrival, egress, destination) {
            Ok(hop) => hop,
            Err(reason) => return Fate::Drop(reason),
        };
        let opened = self.flows.open(call.now, new, [egress, arrival.way.back()], packet);
        self.counters.flows_recycled = self.flows.recycled();
        match opened {
            Ok(id) => {
                let translation = self.flows.flow(id).translation(Direction::Original);
                self.passage(translation, hop, arrival)
            }
            Err(refused) => {
                self.answer_refused(call, arrival, packet, refused);
                Fate::Drop(refused.into())
            }
        }
    }

    /// How a packet of a flow is rewritten.
    ///
    /// Behind one address, the identifications of many hosts are told apart by nobody: what may be
    /// fragmented gets one of the gateway's. // RFC 6864 section 5.3.1
    #[inline]
    fn passage(&mut self, translation: Translation, hop: Hop, arrival: Arrival<'_>) -> Fate {
        let Arrival { header, frame, .. } = arrival;
        let leaves = match hop {
            Hop::To(route) => route.segment == Segment::Wan,
            Hop::External => true,
            Hop::Host => false,
        };
        let is_shared = leaves && (!header.dont_fragment || header.is_fragment());
        // The segments of a super-frame count on from the first.
        let identification = is_shared.then(|| self.identifications.take(frame.segments().len()));
        Fate::Pass(Passage { translation, hop, identification })
    }

    /// Tells the sender of a packet that it gets no flow: an inside host that a limit was reached, and
    /// one outside that a port is closed to it. A datagram that the filter keeps out is not answered: it
    /// may just have come before the inside host's own, which lets in the next.
    fn answer_refused(
        &mut self,
        call: &mut Call<'_>,
        arrival: Arrival<'_>,
        packet: &Packet,
        refused: Refused,
    ) {
        match (arrival.way, refused, packet.transport) {
            (
                Way::Output | Way::Hairpin,
                Refused::TableFull | Refused::HostLimit | Refused::PortsExhausted,
                _,
            ) => {
                self.reject(call, Segment::Lan, arrival.header, arrival.frame, Refusal::NoRoom.into());
            }
            (Way::HairpinInput, Refused::TableFull | Refused::HostLimit, _) => {
                self.reject_undone(call, &mut Quote::of_frame(arrival.frame), Refusal::NoRoom);
            }
            // RFC 5382 REQ-4
            (Way::Input, Refused::Filtered, Transport::Tcp(_)) => {
                self.answer_unsolicited(call, arrival, packet);
            }
            _ => {}
        }
    }

    /// Tells a sender on the WAN that nobody wants its packet: at once, but of a SYN only later, and
    /// never in stealth.
    fn answer_unsolicited(&mut self, call: &mut Call<'_>, arrival: Arrival<'_>, packet: &Packet) {
        if firewall::is_stealthy(&self.config) {
            return;
        }
        match packet.transport {
            Transport::Udp => {
                self.reject(call, Segment::Wan, arrival.header, arrival.frame, IcmpError::PortUnreachable);
            }
            Transport::Tcp(segment) if segment.flags.is_opening() => {
                let packet = arrival.frame.packet();
                if !self.syn_refusals.push(call.now, packet) {
                    self.counters.made_suppressed += 1;
                }
            }
            Transport::Tcp(_) | Transport::IcmpQuery | Transport::IcmpReply => {}
        }
    }

    /// The flow that a packet of the inside with `key` opens.
    fn outbound(&self, cx: &Context<'_, '_>, arrival: Arrival<'_>, key: &FlowKey) -> NewFlow {
        let source = self.source(cx, arrival);
        NewFlow::Outbound { client: self.client(key), remote: key.destination, source }
    }

    /// The machine that a packet of the inside is from.
    fn source(&self, cx: &Context<'_, '_>, Arrival { header, frame, .. }: Arrival<'_>) -> Source {
        let (Ingress::Port(port), Ok(link)) = (cx.ingress, ethernet::Header::parse(frame.bytes())) else {
            return Source::Gateway;
        };
        let known = self.neighbors.last_known(cx.call.now, Segment::Lan, header.source);
        if known == Some(link.source) { Source::Station(link.source, port) } else { Source::Stranger(port) }
    }

    /// Who a packet with `key` is from, for a flow that it opens: one that is seen by the same port as
    /// when it is asked, if it can be asked, else by its mapping.
    fn client(&self, key: &FlowKey) -> Client {
        let Some(wan) = self.networks.on(Segment::Wan).own() else { return Client::Mapped(key.source) };
        let firewall = &self.config.firewall;
        let port = if key.source.address == wan {
            Some(key.source.port).filter(|port| firewall::is_wan_service(firewall, key.protocol, *port))
        } else {
            firewall::external_port(firewall, key.protocol, key.source)
        };
        port.map_or(Client::Mapped(key.source), |port| {
            Client::Static(Binding { inside: key.source, external: Endpoint::new(wan, port) })
        })
    }

    /// Who gets a packet with `key` that neither a service nor a forward claims.
    pub(super) fn mapped_or_default(&self, key: &FlowKey) -> Option<(Server, Egress)> {
        if let Some(id) = self.flows.mapping_by_external(key.protocol, key.destination.port) {
            let is_host = self.networks.own_segment(self.flows.mapping(id).inside.address).is_some();
            let to = if is_host { Egress::Host } else { Egress::Segment(Segment::Lan) };
            return Some((Server::Mapped(id), to));
        }
        let host = self.config.firewall.dmz_host.filter(|_| key.protocol != Protocol::ICMP)?;
        let target = Endpoint::new(host, key.destination.port);
        Some((seen_as(target, key.destination), Egress::Segment(Segment::Lan)))
    }
}

/// An inside endpoint that the outside sees at `external`, by configuration.
pub(super) fn seen_as(inside: Endpoint, external: Endpoint) -> Server {
    Server::Static(Binding { inside, external })
}

/// The key of the usual packet: whole, without options, TCP or UDP. For others, and for what turns out
/// to be none, there is none, or one that is not used.
#[inline]
pub(super) fn likely_key(frame: &Frame) -> Option<FlowKey> {
    let bytes: &[u8; 38] = frame.bytes().first_chunk()?;
    let u16_at = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let address = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
    let protocol = Protocol(bytes[23]);
    let is_usual = u16_at(12) == ethernet::EtherType::IPV4.0
        && bytes[14] == 0x45
        && u16_at(20) & 0x3fff == 0
        && matches!(protocol, Protocol::TCP | Protocol::UDP);
    is_usual.then(|| FlowKey {
        protocol,
        source: Endpoint::new(address(26), u16_at(34)),
        destination: Endpoint::new(address(30), u16_at(36)),
    })
}

/// Whether the transport checksum of the whole packet in `frame` is right, unless a network device has
/// seen to that or still has to make it. (RFC 9293 section 3.1, RFC 1122 section 4.1.3.4)
#[inline]
fn verify_checksum(header: &Header, frame: &Frame) -> Result<(), DropReason> {
    let payload = header.payload(frame.packet());
    if frame.offload() != Offload::None || is_checksum_valid(header, payload) {
        return Ok(());
    }
    Err(match header.protocol {
        Protocol::TCP => DropReason::TcpChecksum,
        Protocol::UDP => DropReason::UdpChecksum,
        _ => DropReason::IcmpChecksum,
    })
}

/// What the packet in `frame` is to NAT. It is whole, or a first fragment.
#[inline]
pub(super) fn content(header: &Header, frame: &Frame) -> Result<Content, DropReason> {
    let payload = header.payload(frame.packet());
    let malformed = |_: Malformed| DropReason::TransportMalformed;
    let (transport, source, destination) = match header.protocol {
        Protocol::UDP => {
            let parse = if header.is_fragment() { udp::Header::parse_fragment } else { udp::Header::parse };
            let datagram = parse(payload).map_err(malformed)?;
            (Transport::Udp, datagram.source_port, datagram.destination_port)
        }
        Protocol::TCP => {
            let segment = tcp::Header::parse(payload).map_err(malformed)?;
            if !segment.flags.is_possible() {
                return Err(DropReason::TcpFlagsInvalid);
            }
            if !segment.has_sound_options(payload) {
                return Err(DropReason::TcpOptionsMalformed);
            }
            let (source, destination) = (segment.source_port, segment.destination_port);
            (
                Transport::Tcp(flow::tcp::Segment::of(&segment, payload, header.is_fragment())),
                source,
                destination,
            )
        }
        Protocol::ICMP => {
            let message = icmpv4::Header::parse(payload).map_err(malformed)?;
            match message.kind {
                kind if kind.is_query() => (Transport::IcmpQuery, message.identifier(), 0),
                kind if kind.is_query_reply() => (Transport::IcmpReply, 0, message.identifier()),
                // They mean nothing beyond their link. // RFC 6633, RFC 1812 section 5.2.7.2
                icmpv4::Type::SOURCE_QUENCH | icmpv4::Type::REDIRECT => {
                    return Err(DropReason::ProtocolUnsupported);
                }
                kind if kind.is_error() => return Ok(Content::Error),
                _ => return Err(DropReason::ProtocolUnsupported),
            }
        }
        _ => return Err(DropReason::ProtocolUnsupported),
    };
    let key = FlowKey {
        protocol: header.protocol,
        source: Endpoint::new(header.source, source),
        destination: Endpoint::new(header.destination, destination),
    };
    Ok(Content::Conversation(key, Packet { transport, octets: header.total_len }))
}
