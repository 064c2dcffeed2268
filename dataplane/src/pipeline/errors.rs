//! ICMP errors: those that the gateway sends about packets that it drops (`reject_*`), and those that NAT translates.

use core::net::Ipv4Addr;

use gatepost_ground::wire::icmpv4::Embedded;
use gatepost_ground::wire::ipv4::Header;
use gatepost_ground::wire::{Malformed, checksum, ethernet};
use gatepost_ground::{Frame, InterfaceId, Role};

use super::Dataplane;
use super::context::{Call, Context};
use super::nat_action::{Arrival, NatDirection};
use super::network::{Network, Networks};
use crate::drop_log::{self, DroppedPacket};
use crate::drop_reason::DropReason;
use crate::explain::Run;
use crate::firewall::{self, syn_reject::Quote};
use crate::flow::FlowTable;
use crate::handoff::DeliveryError;
use crate::icmp_error::{IcmpError, ORIGINAL_LEN_MAX, may_answer, original_datagram};
use crate::ingress::Ingress;
use crate::nat::{icmp, rewrite};
use crate::table::memory::Memory;
use crate::verdict::{LocalClass, Verdict};

impl<M: Run> Dataplane<M> {
    /// Sends `error` to the sender of the unchanged packet in `frame`, which came in by `ingress`, unless an error
    /// must not be sent or the rate limit is reached.
    pub(super) fn reject(
        &mut self,
        call: &mut Call<'_>,
        ingress: Ingress,
        header: &Header,
        frame: &Frame,
        error: IcmpError,
    ) {
        let Some(interface) = self.ingress_interface(ingress) else { return };
        let mut beginning = [0; ORIGINAL_LEN_MAX];
        self.reject_packet(call, interface, header, original_datagram(frame, &mut beginning), error);
    }

    /// As [`Dataplane::reject`], for the beginning of a packet that came in by the interface `id`.
    pub(super) fn reject_packet(
        &mut self,
        call: &mut Call<'_>,
        id: InterfaceId,
        header: &Header,
        packet: &[u8],
        error: IcmpError,
    ) {
        let interface = self.config.interface(id);
        // Only packets sent to the gateway's own hardware address get this far.
        let is_broadcast = |address| self.networks.is_broadcast(address);
        if !may_answer(interface.mac(), header, packet, is_broadcast) || self.is_secret(interface.role, error)
        {
            return;
        }
        let limit = &mut self.error_limits[id];
        let is_made = limit.admit(call.now) && self.make_error(call, id, header, packet, error);
        if is_made {
            self.counters.made += 1;
        } else {
            self.counters.made_suppressed += 1;
        }
    }

    /// Whether stealth mode suppresses an error to the outside. "Fragmentation needed" is sent even then, for path MTU
    /// discovery.
    fn is_secret(&self, role: Role, error: IcmpError) -> bool {
        role == Role::Outside
            && firewall::is_stealthy(&self.config)
            && !matches!(error, IcmpError::FragmentationNeeded { .. })
    }

    fn make_error(
        &self,
        call: &mut Call<'_>,
        id: InterfaceId,
        header: &Header,
        packet: &[u8],
        error: IcmpError,
    ) -> bool {
        let interface = self.config.interface(id);
        let Some(route) = self.routes.lookup_by(id, header.source) else { return false };
        let next_hop = route.next_hop(header.source);
        // RFC 1812, section 4.3.2.4
        let Some(source) = self.networks.towards(id, next_hop).map(Network::own_address) else {
            return false;
        };
        // The gateway sends no ARP request for an error: the sender's hardware address is known or was known lately.
        let Some(destination) = self.neighbors.last_known(call.now, id, next_hop) else { return false };
        let ethernet =
            ethernet::Header { destination, source: interface.mac(), ether_type: ethernet::EtherType::IPV4 };
        call.output.make(self.links.ports_to(call.now, id, destination), |buffer| {
            ethernet.write(buffer).ok()?;
            let len = error.write(buffer.get_mut(ethernet::Header::LEN..)?, source, packet).ok()?;
            Some(ethernet::Header::LEN + len)
        })
    }

    /// Sends the sender of a packet, which may have been translated, "host unreachable": the next hop does not answer.
    pub(super) fn reject_unreachable(&mut self, call: &mut Call<'_>, quote: &mut Quote) {
        self.reject_untranslated(call, quote, DeliveryError::Unreachable);
    }

    /// Sends `error` to the sender of a packet, which may have been translated. For a hairpinned packet, the worker
    /// that did the outbound half sends it.
    pub(super) fn reject_untranslated(
        &mut self,
        call: &mut Call<'_>,
        quote: &mut Quote,
        error: DeliveryError,
    ) {
        if !is_hairpinned(&self.networks, quote.bytes())
            && undo_translation(&self.flows, quote.bytes_mut()).is_none()
        {
            return;
        }
        if is_hairpinned(&self.networks, quote.bytes()) {
            match self.hairpin_sender(quote.bytes()) {
                Some(worker) if worker == self.shard.index() => self.reject_hairpinned(call, quote, error),
                Some(worker) => self.return_quote(call, worker, quote, error),
                None => {}
            }
            return;
        }
        self.reject_quoted(call, quote, error);
    }

    /// As [`Dataplane::reject_untranslated`], for a hairpinned packet whose outbound half this worker did.
    pub(super) fn reject_hairpinned(&mut self, call: &mut Call<'_>, quote: &mut Quote, error: DeliveryError) {
        if undo_translation(&self.flows, quote.bytes_mut()).is_some() {
            self.reject_quoted(call, quote, error);
        }
    }

    fn reject_quoted(&mut self, call: &mut Call<'_>, quote: &Quote, error: DeliveryError) {
        let Ok(header) = Header::parse_embedded(quote.bytes()) else { return };
        if self.networks.own_role(header.source).is_some() {
            return;
        }
        // A packet from the outside was addressed to the gateway. A quote with a LAN destination means that its flow
        // has ended since: the destination cannot be translated back, and the error would show the LAN host's
        // address.
        let is_inside = |address| self.networks.is_inside(address);
        if self.config.mode.translates() && is_inside(header.destination) && !is_inside(header.source) {
            self.counters.made_suppressed += 1;
        } else {
            self.reject_by_route(call, &header, quote.bytes(), error.into());
        }
    }

    /// As [`Dataplane::reject_packet`], for a packet whose interface is found by the route to its source.
    pub(super) fn reject_by_route(
        &mut self,
        call: &mut Call<'_>,
        header: &Header,
        packet: &[u8],
        error: IcmpError,
    ) {
        match self.route_of_host(header.destination, header.source) {
            Some(route) => self.reject_packet(call, route.interface, header, packet, error),
            None => self.counters.made_suppressed += 1,
        }
    }

    /// Translates an ICMP error that crosses the WAN address in `direction`. (RFC 5508, REQ-3 to REQ-7)
    pub(super) fn nat_error(
        &mut self,
        cx: &mut Context<'_, '_>,
        direction: NatDirection,
        header: &Header,
        frame: &mut Frame,
    ) -> Verdict {
        let message = header.payload(frame.packet());
        if !checksum::is_valid(message) {
            return Verdict::Drop(DropReason::IcmpChecksum);
        }
        let quoted = match Embedded::parse(message) {
            Ok(quoted) if *quoted.source.ip() == header.destination => quoted,
            Ok(_) | Err(Malformed::Unsupported) => return Verdict::Drop(DropReason::IcmpUnrelated),
            Err(_) => return Verdict::Drop(DropReason::TransportMalformed),
        };
        let Some((id, flow_direction)) = self.flows.lookup(&icmp::reply_key(&quoted)) else {
            // Packets that the host stack sends to the LAN belong to no flow.
            let is_for_host = direction == NatDirection::HairpinOut;
            return if is_for_host {
                Verdict::Local(LocalClass::Stack)
            } else {
                Verdict::Drop(DropReason::IcmpUnrelated)
            };
        };
        let flow = self.flows.flow(id);
        if !flow.may_have_sent(flow_direction.opposite(), quoted.sequence) {
            return Verdict::Drop(DropReason::IcmpUnrelated);
        }
        let (translation, egress) = (flow.translation(flow_direction), flow.egress(flow_direction));
        // A router between the inside host and the gateway would give away an inside address as the error's source.
        let is_from_outside = matches!(direction, NatDirection::Inbound | NatDirection::HairpinIn);
        let source = if is_from_outside { header.source } else { translation.source.address };
        let destination = translation.destination;
        let hop = match self.route_out(
            cx.call,
            Arrival { direction, ingress: cx.ingress, header, frame },
            egress,
            [source, destination.address],
        ) {
            Ok(hop) => hop,
            Err(reason) => return Verdict::Drop(reason),
        };
        let packet = frame.packet_mut();
        if icmp::translate(packet, header, &quoted, &translation, source).is_err() {
            return Verdict::Drop(DropReason::TransportMalformed);
        }
        self.send_translated(cx, direction, hop, quoted.header.protocol, destination, frame)
    }
}

/// Whether a packet is in the inbound half of a hairpin: its source and destination are both the gateway's.
fn is_hairpinned(networks: &Networks, packet: &[u8]) -> bool {
    let is_outer = |address| networks.own_role(address) == Some(Role::Outside);
    Header::parse_embedded(packet).is_ok_and(|header| is_outer(header.source) && is_outer(header.destination))
}

/// Restores a packet that may have been translated to what it was when it came in. `None` if its flow cannot be looked
/// up.
pub(super) fn undo_translation<M: Memory>(flows: &FlowTable<Ipv4Addr, M>, packet: &mut [u8]) -> Option<()> {
    if flows.is_empty() {
        return Some(());
    }
    let header = Header::parse_embedded(packet).ok()?;
    let quoted = Embedded::of_packet(packet).ok()?;
    if let Some((id, direction)) = flows.lookup(&icmp::reply_key(&quoted)) {
        rewrite::undo(packet, &header, &flows.flow(id).translation(direction));
    }
    Some(())
}

/// The packet in a dropped `frame`, which may have been translated, as its sender sent it.
pub(super) fn dropped_as_sent<M: Memory>(
    flows: &FlowTable<Ipv4Addr, M>,
    networks: &Networks,
    frame: &Frame,
) -> Option<DroppedPacket> {
    let mut quote = Quote::of_frame(frame);
    let had_inbound_half = !is_hairpinned(networks, quote.bytes());
    undo_translation(flows, quote.bytes_mut())?;
    // The outbound half of a hairpin is undone after the inbound one.
    if had_inbound_half && is_hairpinned(networks, quote.bytes()) {
        undo_translation(flows, quote.bytes_mut())?;
    }
    drop_log::packet(quote.bytes())
}
