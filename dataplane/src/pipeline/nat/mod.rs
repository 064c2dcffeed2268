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
use crate::flow::{Egress, Packet};
use crate::handoff::{Handoff, HandoffStage, Origin};
use crate::ingress::Ingress;
use crate::key::{Endpoint, FlowKey};
use crate::nat::rewrite::{self, Coverage, Translation};
use crate::verdict::{LocalClass, Verdict};

impl Dataplane {
    /// A packet in `direction` across the WAN address.
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
                    NatAction::Pass(rewrite) => self.pass(cx, direction, &rewrite, header, frame),
                    NatAction::Local => self.local_input(cx, header, frame),
                    NatAction::Drop(reason) => Verdict::Drop(reason),
                    NatAction::Ask(worker) => cx.hand_over(worker, HandoffStage::HairpinQuery),
                }
            }
            Ok(Content::Error) => self.nat_error(cx, direction, header, frame),
            // The host tells a LAN host itself that it does not speak a protocol.
            Err(DropReason::ProtocolUnsupported) if direction == NatDirection::Hairpin => {
                Verdict::Local(LocalClass::Stack)
            }
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// What is to become of a first fragment and of those that follow it.
    pub(in crate::pipeline) fn decide_first_fragment(
        &mut self,
        cx: &mut Context<'_, '_>,
        arrival: Arrival<'_>,
    ) -> NatAction {
        match packet::content(arrival.header, arrival.frame) {
            Ok(Content::Conversation(key, packet)) => self.decide(cx, arrival, &key, &packet),
            // No error is so long that it would have to be fragmented. // RFC 1812, section 4.3.2.3
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
        if let (Some(id), Ok(mut ip)) = (rewrite.identification, HeaderMut::new(packet)) {
            ip.set_id(id);
        }
        let destination = rewrite.translation.destination;
        self.send_translated(cx, direction, rewrite.hop, header.protocol, destination, frame)
    }

    /// Sends a rewritten packet of a conversation in `protocol` to `destination`.
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
            Hop::Host => return Verdict::Local(LocalClass::Stack),
            // Nobody outside sends from an inside address: what comes in does not go out again.
            Hop::External if direction == NatDirection::HairpinInput => {
                return Verdict::Drop(DropReason::FlowAmbiguous);
            }
            Hop::External => return self.hairpin(cx, protocol, destination.port, frame),
        };
        if direction != NatDirection::HostOutput {
            packet::decrement_ttl(frame);
        }
        self.egress(cx.call, route, destination.address, frame)
    }

    /// Where a packet goes that leaves with the addresses `source` and `destination`, if it may.
    #[inline]
    pub(in crate::pipeline) fn route_out(
        &mut self,
        call: &mut Call<'_>,
        arrival: Arrival<'_>,
        egress: Egress,
        [source, destination]: [Ipv4Addr; 2],
    ) -> Result<Hop, DropReason> {
        let hop = match egress {
            Egress::Host => return Ok(Hop::Host),
            Egress::External => Hop::External,
            Egress::To(_) => Hop::To(self.route_from(source, destination).ok_or(DropReason::NoRoute)?),
        };
        self.check_route(call, arrival, hop)?;
        Ok(hop)
    }

    /// Whether a packet may go where it goes: what the host sends or gets makes no hop.
    #[inline]
    pub(in crate::pipeline) fn check_route(
        &mut self,
        call: &mut Call<'_>,
        arrival: Arrival<'_>,
        hop: Hop,
    ) -> Result<(), DropReason> {
        let mtu = match hop {
            Hop::To(route) => self.facts.of(route.interface).mtu,
            // What goes to the WAN address and in again makes one hop, from the inside to the inside.
            Hop::External => self.facts.inside_mtus().start,
            Hop::Host => return Ok(()),
        };
        if arrival.direction.is_from_gateway() {
            return Ok(());
        }
        self.check_hop(call, arrival.ingress, mtu, arrival.header, arrival.frame)
    }

    /// The interface that a packet in `direction` came in by; `None` if it was the gateway itself that sent it.
    pub(in crate::pipeline) fn entered_by(
        &self,
        direction: NatDirection,
        ingress: Ingress,
    ) -> Option<InterfaceId> {
        if direction.is_from_gateway() { None } else { self.ingress_interface(ingress) }
    }

    /// The interface by which a frame came in; `None` if it is of the gateway itself.
    pub(in crate::pipeline) fn ingress_interface(&self, ingress: Ingress) -> Option<InterfaceId> {
        match ingress {
            Ingress::Port(port)
            | Ingress::ArpCopy(port)
            | Ingress::HandedOver(Handoff { origin: Origin::Port(port), .. }) => {
                self.config.interface_of(port)
            }
            Ingress::Host | Ingress::HostRaw(_) | Ingress::HandedOver(_) => None,
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
    ) -> NatAction {
        debug_assert!(cx.key_hash.is_none_or(|hash| hash == self.flows.hash(key)), "of this very packet");
        let hash = cx.key_hash.unwrap_or_else(|| self.flows.hash(key));
        let Some((id, direction)) = self.flows.lookup_hashed(hash, key) else {
            return self.decide_new(cx, arrival, key, packet);
        };
        let flow = self.flows.flow(id);
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

    /// How a packet of a flow is rewritten.
    ///
    /// Behind one address, the identifications of many hosts are told apart by nobody: what may be
    /// fragmented gets one of the gateway's. (RFC 6864, section 5.3.1)
    #[inline]
    fn rewrite_of(&mut self, translation: Translation, hop: Hop, arrival: Arrival<'_>) -> NatAction {
        let Arrival { header, frame, .. } = arrival;
        let leaves = match hop {
            Hop::To(route) => route.role == Role::Outside,
            Hop::External => true,
            Hop::Host => false,
        };
        let is_shared = leaves && (!header.dont_fragment || header.is_fragment());
        // The segments of a super-frame count on from the first.
        let identification = is_shared.then(|| self.identifications.take(frame.segments().len()));
        NatAction::Pass(Rewrite { translation, hop, identification })
    }
}
