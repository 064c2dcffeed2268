//! The NAT stage: packets that cross the WAN address, by their flow or by what opens one.
//!
//! ```text
//!  LAN, host ──▶ nat_output ──┐                       ┌──▶ rewrite ──▶ egress
//!  LAN ────────▶ hairpin ─────┼──▶ flow? ── yes ──────┤
//!  WAN ────────▶ nat_input ───┘      │ no             └──▶ rewrite ──▶ host stack
//!                                    ▼                ▲
//!                      claim, mapping or default ── open
//!                                    │ nobody
//!                                    ▼
//!                                unsolicited
//! ```
//!
//! Checks that end with an ICMP error to the sender come before the rewriting, as the sender knows the
//! packet as it was, and before a flow is opened, so that a refused packet leaves nothing behind.
//! Transport checksums are updated, never verified: a wrong one arrives wrong.

use super::{Context, Dataplane, forward, local};
use crate::batch::{Frame, Verdict};
use crate::config::Segment;
use crate::counters::DropReason;
use crate::firewall::{self, Claim};
use crate::flow::{
    Binding, Client, Direction, Egress, Endpoint, FlowId, FlowKey, NewFlow, Packet, Refused, Server, Transport,
};
use crate::icmp_error::IcmpError;
use crate::nat::rewrite;
use crate::wire::ipv4::{Header, Protocol};
use crate::wire::{Malformed, ethernet, icmpv4, tcp, udp};

/// Who sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A station on a segment.
    Segment(Segment),
    /// The gateway's own host stack.
    Host,
}

impl Origin {
    /// Where what goes back to it goes.
    fn egress(self) -> Egress {
        match self {
            Self::Segment(segment) => Egress::Segment(segment),
            Self::Host => Egress::Host,
        }
    }
}

/// What a packet is to NAT.
enum Content {
    /// Part of a conversation.
    Conversation(FlowKey, Packet),
    /// An ICMP error about a part of one.
    Error,
}

impl Dataplane {
    /// A packet from the LAN, or from the host, for the WAN.
    #[inline]
    pub(super) fn nat_output(
        &mut self,
        cx: &mut Context<'_>,
        origin: Origin,
        header: &Header,
        frame: &mut Frame,
    ) -> Verdict {
        let (key, packet) = match content(header, frame) {
            Ok(Content::Conversation(key, packet)) => (key, packet),
            Ok(Content::Error) => return self.nat_error(cx, origin, header, frame),
            Err(reason) => return Verdict::Drop(reason),
        };
        if let Some((id, direction)) = self.flows.lookup(&key) {
            return self.continue_flow(cx, origin, (id, direction), &packet, header, frame);
        }
        let new = NewFlow::Outbound { client: self.client(key), remote: key.destination };
        let egress = [Egress::Segment(Segment::Wan), origin.egress()];
        self.open_flow(cx, origin, &new, egress, &packet, header, frame)
    }

    /// A packet from the WAN for the WAN address.
    #[inline]
    pub(super) fn nat_input(&mut self, cx: &mut Context<'_>, header: &Header, frame: &mut Frame) -> Verdict {
        let origin = Origin::Segment(Segment::Wan);
        let (key, packet) = match content(header, frame) {
            Ok(Content::Conversation(key, packet)) => (key, packet),
            Ok(Content::Error) => return self.nat_error(cx, origin, header, frame),
            Err(reason) => return Verdict::Drop(reason),
        };
        if let Some((id, direction)) = self.flows.lookup(&key) {
            return self.continue_flow(cx, origin, (id, direction), &packet, header, frame);
        }
        if local::is_echo_request(header, frame) {
            return if firewall::is_stealthy(&self.config) {
                Verdict::Drop(DropReason::Unsolicited)
            } else {
                self.local_input(cx, header, frame)
            };
        }
        let firewall = &self.config.firewall;
        let remote = key.source;
        let (server, to) = match firewall::claim(firewall, key.protocol, key.destination.port, remote.address) {
            Claim::Service => (identity(key.destination), Egress::Host),
            Claim::Forward(target) => (forwarded(target, key.destination), Egress::Segment(Segment::Lan)),
            Claim::ForwardDenied => return Verdict::Drop(DropReason::ForwardSourceDenied),
            Claim::Unclaimed => match self.mapped_or_default(key) {
                Some(claimed) => claimed,
                None => return self.unsolicited(cx, &packet, header, frame),
            },
        };
        let new = NewFlow::Inbound { remote, server };
        self.open_flow(cx, origin, &new, [to, Egress::Segment(Segment::Wan)], &packet, header, frame)
    }

    /// A packet from the LAN for the WAN address: for another LAN host that is reached there, or for
    /// the gateway itself.
    pub(super) fn hairpin(&mut self, cx: &mut Context<'_>, header: &Header, frame: &mut Frame) -> Verdict {
        let origin = Origin::Segment(Segment::Lan);
        let (key, packet) = match content(header, frame) {
            Ok(Content::Conversation(key, packet)) => (key, packet),
            Ok(Content::Error) => return self.nat_error(cx, origin, header, frame),
            Err(DropReason::ProtocolUnsupported) => return Verdict::Local,
            Err(reason) => return Verdict::Drop(reason),
        };
        if let Some((id, direction)) = self.flows.lookup(&key) {
            return self.continue_flow(cx, origin, (id, direction), &packet, header, frame);
        }
        let firewall = &self.config.firewall;
        let port = key.destination.port;
        if local::is_echo_request(header, frame) || firewall::is_wan_service(firewall, key.protocol, port) {
            return self.local_input(cx, header, frame);
        }
        let (server, to) = match firewall::hairpin_target(firewall, key.protocol, port) {
            Some(target) => (forwarded(target, key.destination), Egress::Segment(Segment::Lan)),
            None => match self.mapped_or_default(key) {
                Some(claimed) => claimed,
                None => return self.local_input(cx, header, frame),
            },
        };
        let new = NewFlow::Hairpin { client: self.client(key), server };
        self.open_flow(cx, origin, &new, [to, origin.egress()], &packet, header, frame)
    }

    /// A packet of an open flow.
    #[inline]
    fn continue_flow(
        &mut self,
        cx: &mut Context<'_>,
        origin: Origin,
        (id, direction): (FlowId, Direction),
        packet: &Packet,
        header: &Header,
        frame: &mut Frame,
    ) -> Verdict {
        let flow = self.flows.flow(id);
        let (egress, destination) = (flow.egress(direction), flow.translation(direction).destination);
        if let Err(reason) = self.check_way(cx, origin, egress, destination.address, header, frame) {
            return Verdict::Drop(reason);
        }
        match self.flows.track(cx.now, id, direction, packet) {
            Ok(()) => self.translate(cx, origin, (id, direction), packet, header, frame),
            Err(refused) => Verdict::Drop(refused.into()),
        }
    }

    /// The first packet of a flow.
    #[expect(clippy::too_many_arguments, reason = "a flow and the packet that opens it")]
    fn open_flow(
        &mut self,
        cx: &mut Context<'_>,
        origin: Origin,
        new: &NewFlow,
        egress: [Egress; 2],
        packet: &Packet,
        header: &Header,
        frame: &mut Frame,
    ) -> Verdict {
        let destination = match new {
            NewFlow::Outbound { remote, .. } => remote.address,
            NewFlow::Inbound { server, .. } | NewFlow::Hairpin { server, .. } => match server {
                Server::Mapped(mapping) => self.flows.mapping(*mapping).inside.address,
                Server::Static(binding) => binding.inside.address,
            },
        };
        if let Err(reason) = self.check_way(cx, origin, egress[0], destination, header, frame) {
            return Verdict::Drop(reason);
        }
        match self.flows.open(cx.now, new, egress, packet) {
            Ok(id) => self.translate(cx, origin, (id, Direction::Original), packet, header, frame),
            Err(refused) => {
                self.refuse_flow(cx, origin, refused, header, frame);
                Verdict::Drop(refused.into())
            }
        }
    }

    /// Tells an inside host that it gets no flow. // RFC 5508 REQ-8
    fn refuse_flow(
        &mut self,
        cx: &mut Context<'_>,
        origin: Origin,
        refused: Refused,
        header: &Header,
        frame: &Frame,
    ) {
        let is_limit = matches!(refused, Refused::TableFull | Refused::HostLimit | Refused::PortsExhausted);
        if origin == Origin::Segment(Segment::Lan) && is_limit {
            self.reject(cx, Segment::Lan, header, frame, IcmpError::AdministrativelyProhibited);
        }
    }

    /// Whether a packet may go to `destination`: what the host sends or gets makes no hop.
    #[inline]
    fn check_way(
        &mut self,
        cx: &mut Context<'_>,
        origin: Origin,
        egress: Egress,
        destination: core::net::Ipv4Addr,
        header: &Header,
        frame: &Frame,
    ) -> Result<(), DropReason> {
        match (origin, egress) {
            (Origin::Segment(segment), Egress::Segment(_)) => {
                let route = self.routes.lookup(destination).ok_or(DropReason::NoRoute)?;
                self.check_hop(cx, segment, route, header, frame)
            }
            _ => Ok(()),
        }
    }

    /// Rewrites a packet by its flow and sends it on.
    #[inline]
    fn translate(
        &mut self,
        cx: &mut Context<'_>,
        origin: Origin,
        (id, direction): (FlowId, Direction),
        packet: &Packet,
        header: &Header,
        frame: &mut Frame,
    ) -> Verdict {
        let flow = self.flows.flow(id);
        let (translation, egress) = (flow.translation(direction), flow.egress(direction));
        rewrite::packet(&mut frame.bytes_mut()[ethernet::Header::LEN..], header, &translation);
        self.send_translated(cx, origin, egress, translation.destination.address, header, frame)
    }

    /// Sends a rewritten packet to `destination`.
    #[inline]
    pub(super) fn send_translated(
        &mut self,
        cx: &mut Context<'_>,
        origin: Origin,
        egress: Egress,
        destination: core::net::Ipv4Addr,
        header: &Header,
        frame: &mut Frame,
    ) -> Verdict {
        if egress == Egress::Host {
            return Verdict::Local;
        }
        let Some(route) = self.routes.lookup(destination) else { return Verdict::Drop(DropReason::NoRoute) };
        if let Origin::Segment(segment) = origin {
            forward::take_hop(frame);
            self.clamp_mss(segment, route.segment, header, frame);
        }
        self.egress(cx, route, destination, frame)
    }

    /// Who a packet with `key` is from, for a flow that it opens: one that is seen by the same port as
    /// when it is asked, if it can be asked, else by its mapping.
    fn client(&self, key: FlowKey) -> Client {
        let Some(wan) = self.own_address(Segment::Wan) else { return Client::Mapped(key.source) };
        let firewall = &self.config.firewall;
        let port = if key.source.address == wan {
            Some(key.source.port).filter(|port| firewall::is_wan_service(firewall, key.protocol, *port))
        } else {
            firewall::external_port(firewall, key.protocol, key.source.address, key.source.port)
        };
        port.map_or(Client::Mapped(key.source), |port| {
            Client::Static(Binding { inside: key.source, external: Endpoint::new(wan, port) })
        })
    }

    /// Who gets a packet with `key` that neither a service nor a forward claims.
    fn mapped_or_default(&self, key: FlowKey) -> Option<(Server, Egress)> {
        if let Some(id) = self.flows.mapping_by_external(key.protocol, key.destination.port) {
            let is_host = self.own_segment(self.flows.mapping(id).inside.address).is_some();
            let to = if is_host { Egress::Host } else { Egress::Segment(Segment::Lan) };
            return Some((Server::Mapped(id), to));
        }
        let host = self.config.firewall.dmz_host.filter(|_| key.protocol != Protocol::ICMP)?;
        let target = firewall::Target { address: host, port: key.destination.port };
        Some((forwarded(target, key.destination), Egress::Segment(Segment::Lan)))
    }

    /// What nobody claims.
    fn unsolicited(
        &mut self,
        cx: &mut Context<'_>,
        packet: &Packet,
        header: &Header,
        frame: &Frame,
    ) -> Verdict {
        if !firewall::is_stealthy(&self.config) {
            match packet.transport {
                Transport::Udp => self.reject(cx, Segment::Wan, header, frame, IcmpError::PortUnreachable),
                Transport::Tcp(flags) if flags.is_opening() => {
                    let packet = &frame.bytes()[ethernet::Header::LEN..];
                    if !self.syn_refusals.push(cx.now, packet) {
                        self.counters.made_suppressed += 1;
                    }
                }
                Transport::Tcp(_) | Transport::IcmpQuery => {}
            }
        }
        Verdict::Drop(DropReason::Unsolicited)
    }
}

/// An endpoint that is seen as it is.
fn identity(endpoint: Endpoint) -> Server {
    Server::Static(Binding { inside: endpoint, external: endpoint })
}

/// A LAN host that is seen at `external`.
fn forwarded(target: firewall::Target, external: Endpoint) -> Server {
    Server::Static(Binding { inside: Endpoint::new(target.address, target.port), external })
}

/// What the packet in `frame` is to NAT. It is whole, or a first fragment.
#[inline]
fn content(header: &Header, frame: &Frame) -> Result<Content, DropReason> {
    let payload = header.payload(&frame.bytes()[ethernet::Header::LEN..]);
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
                return Err(DropReason::TransportMalformed);
            }
            (Transport::Tcp(segment.flags), segment.source_port, segment.destination_port)
        }
        Protocol::ICMP => {
            let message = icmpv4::Header::parse(payload).map_err(malformed)?;
            match message.kind {
                kind if kind.is_query() => (Transport::IcmpQuery, message.identifier(), 0),
                kind if kind.is_query_reply() => (Transport::IcmpQuery, 0, message.identifier()),
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
