//! Packets that belong to no flow: where they go, and the flows that they open.

use core::net::Ipv4Addr;

use gatepost_ground::Role;
use gatepost_ground::wire::{Protocol, ethernet};

use crate::drop_reason::DropReason;
use crate::explain::{Observer, Rule, Run, Step};
use crate::firewall::{self, InboundMatch};
use crate::flow::{Client, Egress, NewFlow, Packet, Server, Source, StaticMapping};
use crate::ingress::Ingress;
use crate::key::{Direction, Endpoint, FlowKey};
use crate::pipeline::Dataplane;
use crate::pipeline::context::{Call, Context};
use crate::pipeline::hairpin::HairpinTarget;
use crate::pipeline::nat_action::{Arrival, NatAction, NatDirection};
use crate::pipeline::packet;

impl<M: Run> Dataplane<M> {
    /// Decides what NAT does with a packet that belongs to no flow.
    pub(super) fn decide_new(
        &mut self,
        cx: &mut Context<'_, '_>,
        arrival: Arrival<'_>,
        key: &FlowKey,
        packet: &Packet,
    ) -> NatAction {
        let (new, egress) = match arrival.direction {
            NatDirection::Outbound | NatDirection::OutboundOwn => match self.outbound(cx, arrival, key) {
                Some(new) => (new, Egress::To(Role::Outside)),
                None => return NatAction::Drop(DropReason::NoAddress),
            },
            NatDirection::Inbound => match self.server_for_input(arrival, key) {
                Ok((server, egress)) => (NewFlow::Inbound { remote: key.source, server }, egress),
                Err(action) => {
                    if matches!(action, NatAction::Drop(DropReason::Unsolicited)) {
                        self.answer_unsolicited(cx.call, arrival, packet);
                    }
                    return action;
                }
            },
            NatDirection::HairpinOut => match self.resolve_hairpin(cx.stage, arrival, key) {
                HairpinTarget::Inside => match self.outbound(cx, arrival, key) {
                    Some(new) => (new, Egress::Hairpin),
                    None => return NatAction::Drop(DropReason::NoAddress),
                },
                HairpinTarget::Gateway => return NatAction::Local,
                HairpinTarget::Ask(worker) => return NatAction::Ask(worker),
            },
            NatDirection::HairpinIn => match self.hairpin_server(key) {
                Some(server) => (NewFlow::Inbound { remote: key.source, server }, Egress::To(Role::Inside)),
                None => return NatAction::Drop(DropReason::Unsolicited),
            },
        };
        self.open_flow(cx.call, arrival, &new, egress, packet)
    }

    /// The server that a packet from the WAN is for, and the egress of its flow; else what NAT does with the packet.
    fn server_for_input(
        &mut self,
        arrival: Arrival<'_>,
        key: &FlowKey,
    ) -> Result<(Server, Egress), NatAction> {
        if packet::is_echo_request(arrival.header, arrival.frame) {
            let is_silent = firewall::is_stealthy(&self.config);
            self.observer.note(|| Step::Rule(Rule::Stealth));
            return Err(if is_silent { NatAction::Drop(DropReason::Unsolicited) } else { NatAction::Local });
        }
        let (remote, external) = (key.source.address, key.destination);
        let (found, rule) =
            firewall::decide_inbound(&self.config.firewall.v4, key.protocol, external.port, remote);
        rule.into_iter().for_each(|rule| self.observer.note(|| Step::Rule(rule)));
        match found {
            InboundMatch::Service => Ok((Server::static_mapping(external, external), Egress::Stack)),
            InboundMatch::Forward(target) => {
                Ok((Server::static_mapping(target, external), Egress::To(Role::Inside)))
            }
            InboundMatch::ServiceDenied => Err(NatAction::Drop(DropReason::ServiceSourceDenied)),
            InboundMatch::ForwardDenied => Err(NatAction::Drop(DropReason::ForwardSourceDenied)),
            InboundMatch::None => {
                let found = self.mapped_or_default(key);
                self.observer.note(|| Step::Rule(rule_of(found.as_ref())));
                found.ok_or(NatAction::Drop(DropReason::Unsolicited))
            }
        }
    }

    /// Opens a flow for its first packet. Packets of the original direction leave by `egress`.
    fn open_flow(
        &mut self,
        call: &mut Call<'_>,
        arrival: Arrival<'_>,
        new: &NewFlow,
        egress: Egress,
        packet: &Packet,
    ) -> NatAction {
        let addresses = match new {
            NewFlow::Outbound { client, remote, .. } => [client.external_address(), remote.address],
            NewFlow::Inbound { remote, server } => [remote.address, self.flows.server_host(server)],
        };
        let hop = match self.route_out(call, arrival, egress, addresses) {
            Ok(hop) => hop,
            Err(reason) => return NatAction::Drop(reason),
        };
        let opened = self.flows.open(call.now, new, [egress, arrival.direction.back()], packet);
        self.counters.flows_recycled = self.flows.recycled();
        match opened {
            Ok(id) => {
                let flow = self.flows.flow(id);
                self.observer.note(|| Step::Opened {
                    original: flow.key(Direction::Original),
                    reply: flow.key(Direction::Reply),
                });
                let translation = flow.translation(Direction::Original);
                self.rewrite_of(translation, hop, arrival)
            }
            Err(error) => {
                self.observer.note(|| Step::Refused(error));
                self.answer_flow_error(call, arrival, packet, error);
                NatAction::Drop(error.into())
            }
        }
    }

    /// The flow that a packet from the inside with `key` opens; `None` if there is no external address for it.
    fn outbound(&self, cx: &Context<'_, '_>, arrival: Arrival<'_>, key: &FlowKey) -> Option<NewFlow> {
        let external = self.external_for(arrival.direction, key)?;
        let (client, source) = (self.client(arrival.direction, external, key), self.source(cx, arrival));
        Some(NewFlow::Outbound { client, remote: key.destination, source })
    }

    /// The external address of a packet from the inside with `key`: the address of the interface by which the packet
    /// leaves, or of the interface that has the packet's destination.
    #[inline]
    fn external_for(&self, direction: NatDirection, key: &FlowKey) -> Option<Ipv4Addr> {
        let (source, destination) = (key.source.address, key.destination.address);
        let interface = match direction {
            NatDirection::HairpinOut => self.networks.outside_of(destination)?,
            NatDirection::OutboundOwn => self.route_of_host(source, destination)?.interface,
            NatDirection::Outbound | NatDirection::Inbound | NatDirection::HairpinIn => {
                self.routes.lookup(destination)?.interface
            }
        };
        self.networks.external_of(interface)
    }

    /// The machine that sent a packet from the inside.
    fn source(&self, cx: &Context<'_, '_>, Arrival { header, frame, .. }: Arrival<'_>) -> Source {
        let (Ingress::Port(port), Ok(link)) = (cx.ingress, ethernet::Header::parse(frame.bytes())) else {
            return Source::Gateway;
        };
        let known = self
            .config
            .interface_of(port)
            .and_then(|interface| self.neighbors.last_known(cx.call.now, interface, header.source));
        if known == Some(link.source) { Source::Station(link.source, port) } else { Source::Unverified(port) }
    }

    /// The client of a flow that a packet with `key` opens at the address `external`. If a forward or a service makes
    /// the source port reachable from outside, the client keeps that external port; else it has a mapping.
    #[inline]
    fn client(&self, direction: NatDirection, external: Ipv4Addr, key: &FlowKey) -> Client {
        let rules = &self.config.firewall.v4;
        let is_own =
            direction == NatDirection::OutboundOwn && self.networks.outside_of(key.source.address).is_some();
        let port = if is_own {
            Some(key.source.port).filter(|port| firewall::is_wan_service(rules, key.protocol, *port))
        } else {
            firewall::external_port(rules, key.protocol, key.source)
        };
        port.map_or(Client::Mapped { inside: key.source, external }, |port| {
            Client::Static(StaticMapping { inside: key.source, external: Endpoint::new(external, port) })
        })
    }

    /// The server of a packet with `key` that neither a service nor a forward matches: the owner of a mapping, else
    /// the default host.
    pub(in crate::pipeline) fn mapped_or_default(&self, key: &FlowKey) -> Option<(Server, Egress)> {
        if let Some(id) = self.flows.mapping_by_external(key.protocol, key.destination) {
            let is_host = self.networks.own_role(self.flows.mapping(id).inside.address).is_some();
            let to = if is_host { Egress::Stack } else { Egress::To(Role::Inside) };
            return Some((Server::Mapped(id), to));
        }
        let host = self.config.firewall.v4.dmz_host.filter(|_| key.protocol != Protocol::ICMP)?;
        let target = Endpoint::new(host, key.destination.port);
        Some((Server::static_mapping(target, key.destination), Egress::To(Role::Inside)))
    }
}

/// The rule by which a packet is for this server.
fn rule_of(server: Option<&(Server, Egress)>) -> Rule {
    match server {
        Some((Server::Mapped(_), _)) => Rule::Mapping,
        Some((Server::Static(_), _)) => Rule::DefaultHost,
        None => Rule::Nothing,
    }
}
