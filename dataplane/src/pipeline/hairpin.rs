//! Hairpin: LAN hosts that reach one another at the WAN address. (RFC 4787, REQ-9; RFC 5382, REQ-8)
//!
//! | packet                                                                    | source          | destination     |
//! |---------------------------------------------------------------------------|-----------------|-----------------|
//! | as the client sends it                                                    | client          | external port e |
//! | after the client's flow ([`NatDirection::HairpinOut`]), not transmitted   | external port c | external port e |
//! | after the server's flow ([`NatDirection::HairpinIn`]), sent to the server | external port c | server          |
//!
//! The packet goes out to the WAN address by a flow of the client, and comes in again by a flow of the server, so
//! that each host sees the other as the internet sees it. The packet makes one hop; its time to live and its size are
//! checked on the way out. With several workers, the client's worker does the outbound half and the server's worker
//! does the inbound half.
//!
//! A packet whose port no forward, mapping or default host has is for the gateway and stays unchanged. So the first
//! packet of a flow goes out only when it is known that an inside host has the port. All workers know the forwards.
//! For a mapping, the client's worker sends the packet as a query to the worker that owns the port, which returns it.

use gatepost_ground::Frame;
use gatepost_ground::wire::icmpv4::Embedded;
use gatepost_ground::wire::ipv4::Header;
use gatepost_ground::wire::{Protocol, ethernet};

use super::Dataplane;
use super::context::{Call, Context};
use super::nat_action::{Arrival, NatDirection};
use super::packet::{self, Content};
use crate::drop_reason::DropReason;
use crate::explain::{Observer, Run, Step};
use crate::firewall::{self, syn_reject::Quote};
use crate::flow::{Egress, Server};
use crate::handoff::{DeliveryError, Handoff, HandoffStage, Origin};
use crate::key::FlowKey;
use crate::verdict::Verdict;

/// The target of a packet from the LAN to the WAN address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HairpinTarget {
    /// A LAN host.
    Inside,
    /// The gateway itself.
    Gateway,
    /// This worker owns the port: the packet goes there as a query.
    Ask(u8),
}

impl<M: Run> Dataplane<M> {
    /// Lets a packet from the LAN, rewritten and now addressed to `port` of the WAN address, come in again at the
    /// worker that owns the port.
    #[cold]
    pub(super) fn hairpin(
        &mut self,
        cx: &mut Context<'_, '_>,
        protocol: Protocol,
        port: u16,
        frame: &mut Frame,
    ) -> Verdict {
        let owner = self.steering.of_hairpin(&self.config.firewall.v4, protocol, port);
        if owner != self.shard.index() {
            return cx.hand_over(owner, HandoffStage::HairpinIn);
        }
        cx.key_hash = None;
        self.hairpin_input(cx, frame)
    }

    /// The inbound half of a hairpin.
    pub(super) fn hairpin_input(&mut self, cx: &mut Context<'_, '_>, frame: &mut Frame) -> Verdict {
        self.observer.note(|| Step::Hairpin);
        match packet::parse(frame) {
            Ok(header) => self.nat(cx, NatDirection::HairpinIn, &header, frame),
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// The target of the first packet of a flow from the LAN to the WAN address, at this `stage` of its handoff.
    pub(super) fn resolve_hairpin(
        &mut self,
        stage: HandoffStage,
        arrival: Arrival<'_>,
        key: &FlowKey,
    ) -> HairpinTarget {
        let rules = &self.config.firewall.v4;
        let port = key.destination.port;
        if packet::is_echo_request(arrival.header, arrival.frame)
            || firewall::is_wan_service(rules, key.protocol, port)
        {
            return HairpinTarget::Gateway;
        }
        if let Some((_, rule)) = firewall::hairpin_forward(rules, key.protocol, port) {
            self.observer.note(|| Step::Rule(rule));
            return HairpinTarget::Inside;
        }
        match stage {
            HandoffStage::HairpinYes => return HairpinTarget::Inside,
            HandoffStage::HairpinNo => return HairpinTarget::Gateway,
            _ => {}
        }
        let owner = self.shard.of_port(port);
        if owner != self.shard.index() && port != 0 {
            HairpinTarget::Ask(owner)
        } else if self.hairpin_server(key).is_some() {
            HairpinTarget::Inside
        } else {
            HairpinTarget::Gateway
        }
    }

    /// The LAN host that a packet with `key` from the LAN is for; `None` if the packet is for the gateway.
    pub(super) fn hairpin_server(&self, key: &FlowKey) -> Option<Server> {
        let rules = &self.config.firewall.v4;
        if firewall::is_wan_service(rules, key.protocol, key.destination.port) {
            return None;
        }
        match firewall::hairpin_target(rules, key.protocol, key.destination.port) {
            Some(target) => Some(Server::static_mapping(target, key.destination)),
            None => {
                self.mapped_or_default(key).filter(|(_, egress)| *egress != Egress::Stack).map(|(to, _)| to)
            }
        }
    }

    /// Answers the query of the client's worker, whether a LAN host has the destination port.
    pub(super) fn answer_hairpin(
        &mut self,
        cx: &mut Context<'_, '_>,
        direction: NatDirection,
        header: &Header,
        frame: &mut Frame,
    ) -> Verdict {
        let key = match packet::content(header, frame) {
            Ok(Content::Conversation(key, _)) if direction == NatDirection::HairpinOut => key,
            Err(reason) => return Verdict::Drop(reason),
            _ => return Verdict::Drop(DropReason::WorkerChanged),
        };
        let asker = self.steering.of_inside(&self.config.firewall.v4, &key);
        if self.hairpin_server(&key).is_some() {
            cx.hand_over(asker, HandoffStage::HairpinYes)
        } else if header.is_fragment() {
            // The sender's worker holds the other fragments.
            cx.hand_over(asker, HandoffStage::HairpinNo)
        } else {
            self.local_input(cx, header, frame)
        }
    }

    /// The worker that did the outbound half of a hairpinned packet.
    pub(super) fn hairpin_sender(&self, packet: &[u8]) -> Option<u8> {
        let packet = Embedded::of_packet(packet).ok()?;
        let port = packet.source.port();
        Some(self.steering.of_hairpin(&self.config.firewall.v4, packet.header.protocol, port))
    }

    /// Hands the quote of a hairpinned packet to the worker that did its outbound half, which sends
    /// `error` to the packet's sender.
    pub(super) fn return_quote(
        &mut self,
        call: &mut Call<'_>,
        worker: u8,
        quote: &Quote,
        error: DeliveryError,
    ) {
        let ingress = Handoff { origin: Origin::Stack, stage: HandoffStage::ErrorBack(error) }.into();
        let is_made = call.spare.make(ingress, Verdict::HandOver(worker), |buffer| {
            let packet = buffer.get_mut(ethernet::Header::LEN..)?.get_mut(..quote.bytes().len())?;
            packet.copy_from_slice(quote.bytes());
            Some(ethernet::Header::LEN + quote.bytes().len())
        });
        if is_made {
            // The quote is counted as received here, like a packet of the host stack.
            self.counters.count(Verdict::HandOver(worker));
        } else {
            self.counters.made_suppressed += 1;
        }
    }
}
