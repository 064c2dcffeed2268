//! Inspection of frames between LAN ports, where the administrator has turned it on: drops ARP that contradicts
//! leases and reservations, and frames from DHCP servers other than the gateway's own.
//!
//! The gateway protects its own neighbour table without inspection. Inspection protects the stations from each other,
//! as far as their frames cross the gateway's bridge: stations behind the same port may be connected by another
//! switch, which does not inspect.

use gatepost_ground::wire::arp::Packet;
use gatepost_ground::wire::ethernet::{EtherType, Header};
use gatepost_ground::wire::{Protocol, ipv4};
use gatepost_ground::{Frame, InterfaceId, Role};

use super::Dataplane;
use super::context::Context;
use crate::alert::Alert;
use crate::config::Inspection;
use crate::drop_reason::DropReason;
use crate::explain::Run;
use crate::neighbor::Claim;

impl<M: Run> Dataplane<M> {
    /// The reason to drop a frame that came in by a port of `interface`; `None` if inspection lets it pass.
    #[inline]
    pub(super) fn inspect(
        &mut self,
        cx: &mut Context<'_, '_>,
        interface: InterfaceId,
        header: &Header,
        frame: &Frame,
    ) -> Option<DropReason> {
        let Inspection { arp, dhcp } = self.config.inspection;
        let is_inside = || self.facts.of(interface).role == Role::Inside;
        if (arp || dhcp) && is_inside() { self.inspect_inside(cx, interface, header, frame) } else { None }
    }

    /// A function of its own keeps the code out of the packet path where inspection is off.
    #[inline(never)]
    fn inspect_inside(
        &mut self,
        cx: &mut Context<'_, '_>,
        interface: InterfaceId,
        header: &Header,
        frame: &Frame,
    ) -> Option<DropReason> {
        let Inspection { arp, dhcp } = self.config.inspection;
        match header.ether_type {
            EtherType::ARP if arp => self.inspect_arp(cx, interface, header, frame),
            EtherType::IPV4 if dhcp && is_from_dhcp_server(frame) => Some(DropReason::DhcpServerForeign),
            _ => None,
        }
    }

    /// Checks ARP: its sender must be the frame's source, and must not claim an address that is leased or reserved to
    /// another station or is the gateway's own.
    fn inspect_arp(
        &mut self,
        cx: &mut Context<'_, '_>,
        interface: InterfaceId,
        header: &Header,
        frame: &Frame,
    ) -> Option<DropReason> {
        let Ok(packet) = Packet::parse(frame.packet()) else {
            return Some(DropReason::ArpMalformed);
        };
        if packet.sender_mac != header.source {
            return Some(DropReason::ArpInspection);
        }
        if self.networks.on(interface).iter().any(|network| network.own_address() == packet.sender_ip) {
            // The conflict is counted and the address defended as without inspection.
            self.arp_input(cx, interface, frame);
            return Some(DropReason::ArpInspection);
        }
        let (ip, claimant) = (packet.sender_ip, packet.sender_mac);
        if self.bindings.may_send(cx.call.now, ip, claimant) {
            return None;
        }
        let known = self.bindings.holder(cx.call.now, ip)?;
        self.counters.neighbor_claims_refused += 1;
        let claim = Claim { interface, ip: ip.into(), known, claimant };
        self.alerts.raise(cx.call.now, Alert::NeighborClaimRefused(claim));
        Some(DropReason::ArpInspection)
    }
}

/// Whether a frame carries a message that only a DHCP server sends: a datagram to a client, or a reply to a relay.
/// (RFC 2131, section 4.1; RFC 951, section 3: the operation is 1 for a request and 2 for a reply)
#[inline]
fn is_from_dhcp_server(frame: &Frame) -> bool {
    const SERVER_PORT: u16 = 67;
    const CLIENT_PORT: u16 = 68;
    const REPLY: u8 = 2;
    let packet = frame.packet();
    let Ok(header) = ipv4::Header::parse(packet) else { return false };
    if header.protocol != Protocol::UDP || !header.has_transport_header() {
        return false;
    }
    match *header.payload(packet) {
        [_, _, a, b, ..] if u16::from_be_bytes([a, b]) == CLIENT_PORT => true,
        [_, _, a, b, _, _, _, _, operation, ..] => {
            u16::from_be_bytes([a, b]) == SERVER_PORT && operation == REPLY
        }
        _ => false,
    }
}
