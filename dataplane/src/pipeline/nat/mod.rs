//! The NAT stage: packets that cross the WAN address, translated by their flow or by a new flow.
//!
//! ```text
//!  LAN ─────▶ Outbound ────┐
//!  stack ───▶ OutboundOwn ─┤            yes
//!  LAN ─────▶ HairpinOut ──┼──▶ flow? ───────▶ track ───▶ rewrite ──▶ egress, or host stack
//!  WAN ─────▶ Inbound ─────┤      │                          ▲ │
//!        ┌──▶ HairpinIn ───┘   no │                          │ │
//!        │                        ▼                          │ │
//!        │        service, forward, mapping, default? ──▶ open │ from HairpinOut, or back there
//!        │                        │ none                       │
//!        │                        ▼                            │
//!        │                   unsolicited                       │
//!        └─────────────────────────────────────────────────────┘
//! ```
//!
//! A packet that one LAN host sends to another at the WAN address goes out and comes in again: see `hairpin`.
//!
//! Checks that end with an ICMP error to the sender come before the rewriting, as the error quotes the packet as the
//! sender knows it. They also come before a flow is opened, so that a rejected packet leaves no state behind. A
//! packet with a wrong transport checksum is dropped before its flow is looked up, so that no damaged or carelessly
//! forged packet changes a flow. The checksum of a fragmented packet cannot be verified here; the receiver verifies
//! it after reassembly.

mod open;
mod reject;

use core::net::Ipv4Addr;

use gatepost_ground::wire::Protocol;
use gatepost_ground::wire::ipv4::{Header, HeaderMut};
use gatepost_ground::{Frame, InterfaceId, Offload, Role};

use super::Dataplane;
use super::context::{Call, Context};
use super::nat_action::{Arrival, Hop, NatAction, NatDirection, Rewrite};
use super::packet::{self, Content};
use crate::drop_reason::DropReason;
use crate::explain::{Observer, Run, Step};
use crate::flow::{Egress, Packet};
use crate::handoff::{Handoff, HandoffStage, Origin};
use crate::ingress::Ingress;
use crate::key::{Direction, Endpoint, FlowKey};
use crate::nat::rewrite::{self, Coverage, Translation};
use crate::verdict::{LocalClass, Verdict};

impl<M: Run> Dataplane<M> {
    /// Translates a packet that crosses the WAN address in `direction`.
    #[inline]
    pub(in crate::pipeline) fn nat(
        &mut self,
        cx: &mut Context<'_, '_>,
        direction: NatDirection,
        header: &Header,
        frame: &mut Frame,
    ) -> Verdict {
        if !self.shard.is_sole()
            && let Some(verdict) = self.steer(cx, direction, header, frame)
        {
            return verdict;
        }
        if header.is_fragment() {
            return self.nat_fragment(cx, direction, header, frame);
        }
        match packet::content(header, frame) {
            Ok(Content::Conversation(key, packet)) => {
                if let Err(reason) = packet::verify_checksum(header, frame) {
                    return Verdict::Drop(reason);
                }
                match self.decide(
                    cx,
                    Arrival { direction, ingress: cx.ingress, header, frame },
                    &key,
                    &packet,
                ) {
                    NatAction::Pass(rewrite) => {
                        self.observer.note(|| Step::Nat {
                            protocol: key.protocol,
                            before: [key.source, key.destination],
                            after: [rewrite.translation.source, rewrite.translation.destination],
                        });
                        self.pass(cx, direction, &rewrite, header, frame)
                    }
                    NatAction::Local => self.local_input(cx, header, frame),
                    NatAction::Drop(reason) => Verdict::Drop(reason),
                    NatAction::Ask(worker) => cx.hand_over(worker, HandoffStage::HairpinQuery),
                }
            }
            Ok(Content::Error) => self.nat_error(cx, direction, header, frame),
            // The host stack itself sends a LAN host "protocol unreachable".
            Err(DropReason::ProtocolUnsupported) if direction == NatDirection::HairpinOut => {
                Verdict::Local(LocalClass::Stack)
            }
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// Decides what NAT does with a first fragment and with all further fragments of its packet.
    pub(in crate::pipeline) fn decide_first_fragment(
        &mut self,
        cx: &mut Context<'_, '_>,
        arrival: Arrival<'_>,
    ) -> NatAction {
        match packet::content(arrival.header, arrival.frame) {
            Ok(Content::Conversation(key, packet)) => self.decide(cx, arrival, &key, &packet),
            // NAT does not translate fragmented ICMP errors: a router's error has at most 576 octets, which links
            // carry unfragmented. (RFC 1812, section 4.3.2.3)
            Ok(Content::Error) => NatAction::Drop(DropReason::FragmentInvalid),
            Err(reason) => NatAction::Drop(reason),
        }
    }

    /// Rewrites a packet and sends it on.
    #[inline]
    pub(in crate::pipeline) fn pass(
        &mut self,
        cx: &mut Context<'_, '_>,
        direction: NatDirection,
        rewrite: &Rewrite,
        header: &Header,
        frame: &mut Frame,
    ) -> Verdict {
        let coverage = match frame.offload() {
            Offload::None | Offload::Verified => Coverage::Whole,
            Offload::Checksum(_) | Offload::Segmentation(_) => Coverage::PseudoHeader,
        };
        let packet = frame.packet_mut();
        rewrite::packet(packet, header, coverage, &rewrite.translation);
        cx.is_rewritten = true;
        if let (Some(id), Ok(mut ip)) = (rewrite.identification, HeaderMut::new(packet)) {
            ip.set_id(id);
        }
        let destination = rewrite.translation.destination;
        self.send_translated(cx, direction, rewrite.hop, header.protocol, destination, frame)
    }

    /// Sends a rewritten packet of `protocol` to `destination`.
    #[inline]
    pub(in crate::pipeline) fn send_translated(
        &mut self,
        cx: &mut Context<'_, '_>,
        direction: NatDirection,
        hop: Hop,
        protocol: Protocol,
        destination: Endpoint,
        frame: &mut Frame,
    ) -> Verdict {
        let route = match hop {
            Hop::To(route) => route,
            Hop::Stack => return Verdict::Local(LocalClass::Stack),
            // A packet that has come in does not go out again: no host outside sends from an inside address.
            Hop::Hairpin if direction == NatDirection::HairpinIn => {
                return Verdict::Drop(DropReason::FlowAmbiguous);
            }
            Hop::Hairpin => return self.hairpin(cx, protocol, destination.port, frame),
        };
        if direction != NatDirection::OutboundOwn {
            packet::decrement_ttl(frame);
        }
        self.egress(cx.call, route, destination.address, frame)
    }

    /// The next hop of a packet that leaves with the addresses `source` and `destination`, or why the packet may not
    /// leave.
    #[inline]
    pub(in crate::pipeline) fn route_out(
        &mut self,
        call: &mut Call<'_>,
        arrival: Arrival<'_>,
        egress: Egress,
        [source, destination]: [Ipv4Addr; 2],
    ) -> Result<Hop, DropReason> {
        let hop = match egress {
            Egress::Stack => return Ok(Hop::Stack),
            Egress::Hairpin => Hop::Hairpin,
            Egress::To(_) => {
                let route = self.route_from(source, destination).ok_or(DropReason::NoRoute)?;
                self.observer.note(|| Step::route(destination, route));
                Hop::To(route)
            }
        };
        self.check_route(call, arrival, hop)?;
        Ok(hop)
    }

    /// Checks the time to live and the size of a packet for its next hop. A packet from or to the host stack makes no
    /// hop.
    #[inline]
    pub(in crate::pipeline) fn check_route(
        &mut self,
        call: &mut Call<'_>,
        arrival: Arrival<'_>,
        hop: Hop,
    ) -> Result<(), DropReason> {
        let mtu = match hop {
            Hop::To(route) => self.facts.of(route.interface).mtu,
            // A hairpinned packet makes one hop, from the inside to the inside.
            Hop::Hairpin => self.facts.inside_mtu_min(),
            Hop::Stack => return Ok(()),
        };
        if arrival.direction.is_from_gateway() {
            return Ok(());
        }
        self.check_hop(call, arrival.ingress, mtu, arrival.header, arrival.frame)
    }

    /// The interface that received a packet in `direction`; `None` if the gateway itself sent the packet.
    pub(in crate::pipeline) fn entered_by(
        &self,
        direction: NatDirection,
        ingress: Ingress,
    ) -> Option<InterfaceId> {
        if direction.is_from_gateway() { None } else { self.ingress_interface(ingress) }
    }

    /// The interface that received a frame; `None` for a frame of the gateway itself.
    pub(in crate::pipeline) fn ingress_interface(&self, ingress: Ingress) -> Option<InterfaceId> {
        match ingress {
            Ingress::Port(port)
            | Ingress::ArpCopy(port)
            | Ingress::HandedOver(Handoff { origin: Origin::Port(port), .. }) => {
                self.config.interface_of(port)
            }
            Ingress::Stack | Ingress::RawFrame(_) | Ingress::HandedOver(_) => None,
        }
    }

    /// Decides what NAT does with a packet, by its flow or by a flow that the packet opens.
    #[inline]
    fn decide(
        &mut self,
        cx: &mut Context<'_, '_>,
        arrival: Arrival<'_>,
        key: &FlowKey,
        packet: &Packet,
    ) -> NatAction {
        debug_assert!(
            cx.key_hash.is_none_or(|hash| hash == self.flows.hash(key)),
            "the prefetched hash is that of this packet's key"
        );
        let hash = cx.key_hash.unwrap_or_else(|| self.flows.hash(key));
        let Some((id, direction)) = self.flows.lookup_hashed(hash, key) else {
            return self.decide_new(cx, arrival, key, packet);
        };
        let flow = self.flows.flow(id);
        self.observer.note(|| Step::Flow {
            original: flow.key(Direction::Original),
            reply: flow.key(Direction::Reply),
            state: flow.state(),
            direction,
        });
        let (translation, egress) = (flow.translation(direction), flow.egress(direction));
        let addresses = [translation.source.address, translation.destination.address];
        let hop = match self.route_out(cx.call, arrival, egress, addresses) {
            Ok(hop) => hop,
            Err(reason) => return NatAction::Drop(reason),
        };
        match self.flows.track(cx.call.now, id, direction, packet) {
            Ok(()) => self.rewrite_of(translation, hop, arrival),
            Err(error) => NatAction::Drop(error.into()),
        }
    }

    /// The action that rewrites a packet of a flow.
    ///
    /// Many hosts behind one address may choose the same identification, and a receiver would mix their
    /// fragments. So a packet that may be fragmented gets an identification from the gateway.
    /// (RFC 6864, section 5.3.1)
    #[inline]
    fn rewrite_of(&mut self, translation: Translation, hop: Hop, arrival: Arrival<'_>) -> NatAction {
        let Arrival { header, frame, .. } = arrival;
        let leaves_gateway = match hop {
            Hop::To(route) => route.role == Role::Outside,
            Hop::Hairpin => true,
            Hop::Stack => false,
        };
        let is_shared = leaves_gateway && (!header.dont_fragment || header.is_fragment());
        // The segments of a super-frame have consecutive identifications.
        let identification = is_shared.then(|| self.identifications.take(frame.segments().len()));
        NatAction::Pass(Rewrite { translation, hop, identification })
    }
}
