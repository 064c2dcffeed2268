//! The ARP stage: answers requests for the gateway's addresses, and learns neighbours from the senders of ARP.

use core::net::Ipv4Addr;

use gatepost_ground::wire::arp::{Operation, Packet};
use gatepost_ground::wire::ipv4::AddressKind;
use gatepost_ground::{Frame, Instant, InterfaceId, MacAddr, Role};

use super::Dataplane;
use super::context::Context;
use super::egress::{NeighborEvents, send_arp};
use crate::alert::Alert;
use crate::config::Interface;
use crate::drop_reason::DropReason;
use crate::explain::Run;
use crate::ingress::Ingress;
use crate::neighbor::{ArpContext, Claim};
use crate::verdict::{LocalClass, Verdict};

impl<M: Run> Dataplane<M> {
    /// Takes a frame that carries ARP from the interface `id`. The frame must not be changed, as other ports and the
    /// other workers may get it too. All workers learn from it; the worker that received it answers, and the first
    /// worker defends the gateway's addresses.
    pub(super) fn arp_input(&mut self, cx: &mut Context<'_, '_>, id: InterfaceId, frame: &Frame) -> Verdict {
        let Ok(packet) = Packet::parse(frame.packet()) else {
            return Verdict::Drop(DropReason::ArpMalformed);
        };
        let interface = self.config.interface(id);
        let networks = self.networks.on(id);
        if networks.is_empty() {
            // The DHCP client on the outside probes the offered address. // RFC 5227, section 2.1.1
            return match interface.role {
                Role::Outside => Verdict::Local(LocalClass::DhcpClientProbe),
                Role::Inside => Verdict::Drop(DropReason::NoAddress),
            };
        }
        if packet.sender_mac == interface.mac() {
            return Verdict::Drop(DropReason::ArpConflict);
        }
        let is_first = !matches!(cx.ingress, Ingress::ArpCopy(_));
        let is_own = |address| networks.iter().any(|network| network.own_address() == address);
        if is_own(packet.sender_ip) {
            let own = packet.sender_ip;
            self.copy_to_others(cx);
            if is_first {
                let known = interface.mac();
                let claim = Claim { interface: id, ip: own.into(), known, claimant: packet.sender_mac };
                self.alerts.raise(cx.call.now, Alert::AddressConflict(claim));
                self.counters.address_conflicts += 1;
            }
            self.defend(cx.call, id, own);
            return Verdict::Drop(DropReason::ArpConflict);
        }
        if interface.role == Role::Inside && packet.answers_probe_of(interface.mac()) {
            // The packet answers the DHCP server, which probes an address before it offers it, or after a DECLINE.
            return Verdict::Local(LocalClass::DhcpServer);
        }
        let is_for_us = is_own(packet.target_ip);
        let is_asked = is_for_us && packet.operation == Operation::Request;
        let is_on_link = packet.is_probe() || self.is_neighbor(id, packet.sender_ip);
        let is_answered = is_asked && (is_on_link || self.is_off_link(packet.sender_ip));
        if !is_on_link && !is_answered {
            return Verdict::Drop(DropReason::SpoofedSource);
        }

        if is_on_link {
            self.copy_to_others(cx);
        }
        let reply = packet.reply(interface.mac());
        // A reply to a request of another worker finds no entry here, and the table creates entries for requests only.
        // So with several workers, every packet for the gateway counts as a request.
        let counts_as_request = is_for_us && !self.shard.is_sole();
        let operation = if counts_as_request { Operation::Request } else { packet.operation };
        let packet = Packet { operation, ..packet };
        let holder = self.holder(cx.call.now, interface.role, &packet);
        let context = ArpContext { is_for_us, is_copy: !is_first, holder };
        let Self { config, networks, counters, drops, flows, links, neighbors, unreachable, alerts, .. } =
            self;
        let mut events =
            NeighborEvents { config, networks, counters, drops, flows, links, unreachable, alerts };
        // A router with addresses in several networks may ask from any of them. The request is answered, and nothing
        // is learnt from it.
        if is_on_link {
            neighbors.handle_arp(cx.call.now, id, &packet, context, &mut |event| {
                events.handle(cx.call, event);
            });
        }
        if is_answered && is_first {
            send_arp(counters, links, cx.call, id, &reply, packet.sender_mac);
        }
        Verdict::Consumed
    }

    /// The hardware address to which a lease or a reservation gives the sender's address; `None` without one. `None`
    /// also for a packet from the bridge through which the holder requested the lease: its claim is verified by ARP
    /// requests to the holder.
    fn holder(&self, now: Instant, role: Role, packet: &Packet) -> Option<MacAddr> {
        let (ip, sender) = (packet.sender_ip, packet.sender_mac);
        let holder = self.bindings.holder(now, ip).filter(|_| role == Role::Inside)?;
        (holder == sender || !self.bindings.may_send(now, ip, sender)).then_some(holder)
    }

    /// Lets the other workers learn from the current frame, unless the frame is a copy from one of them.
    fn copy_to_others(&self, cx: &mut Context<'_, '_>) {
        let is_copied = !self.shard.is_sole() && !matches!(cx.ingress, Ingress::ArpCopy(_));
        cx.copy_to_others |= is_copied;
        cx.involves_others |= is_copied;
    }

    /// Whether `address` may belong to a station on the interface: an address in one of its networks, or that of its
    /// router or of a neighbour by one of its routes if that is in none of them. A network's broadcast address does not.
    fn is_neighbor(&self, interface: InterfaceId, address: Ipv4Addr) -> bool {
        let Interface { gateway, routes, .. } = self.config.interface(interface);
        self.networks.may_be_host(interface, address)
            || gateway.v4 == Some(address)
            || routes.iter().any(|route| route.has_neighbor(address.into()))
    }

    /// Whether `address` may belong to a host outside the gateway's networks.
    fn is_off_link(&self, address: Ipv4Addr) -> bool {
        AddressKind::of(address) == AddressKind::Unicast && !self.networks.is_on_link(address)
    }
}
