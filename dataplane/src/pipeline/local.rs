//! Packets for the gateway itself, and packets that its host stack sends.

use gatepost_ground::wire::ipv4::{AddressKind, Header};
use gatepost_ground::wire::{Protocol, checksum, icmpv4};
use gatepost_ground::{Frame, Role};

use super::Dataplane;
use super::context::Context;
use super::nat_action::NatDirection;
use super::packet;
use crate::config::Mode;
use crate::drop_reason::DropReason;
use crate::explain::{Observer, Run, Step};
use crate::verdict::{LocalClass, Verdict};

impl<M: Run> Dataplane<M> {
    /// Takes a packet for an address of the gateway. An unfragmented echo request is answered here, in place; every
    /// other packet goes to the host stack.
    pub(super) fn local_input(
        &mut self,
        cx: &mut Context<'_, '_>,
        header: &Header,
        frame: &mut Frame,
    ) -> Verdict {
        if header.is_fragment() || !packet::is_echo_request(header, frame) {
            return Verdict::Local(LocalClass::Stack);
        }
        let packet = frame.packet_mut();
        if !checksum::is_valid(header.payload(packet)) {
            return Verdict::Drop(DropReason::IcmpChecksum);
        }
        let Some(route) = self.route_of_host(header.destination, header.source) else {
            return Verdict::Drop(DropReason::NoRoute);
        };
        self.observer.note(|| Step::route(header.source, route));
        // The source may be forged outside. Inside, `spoofed-source` drops forged ones.
        if route.role == Role::Outside && !self.echo_limit.admit(cx.call.now, header.source) {
            return Verdict::Drop(DropReason::EchoLimited);
        }
        if icmpv4::make_echo_reply(packet, header).is_err() {
            return Verdict::Drop(DropReason::TransportMalformed);
        }
        self.egress(cx.call, route, header.source, frame)
    }

    /// Takes a packet that the host stack sends.
    ///
    /// Where the gateway translates, the host stack is one more inside host on the way to the WAN: it shares the
    /// ports of the WAN address with the LAN, and gets another port if its own is in use.
    pub(super) fn host_packet(&mut self, cx: &mut Context<'_, '_>, frame: &mut Frame) -> Verdict {
        let header = match packet::parse(frame) {
            Ok(header) => header,
            Err(reason) => return Verdict::Drop(reason),
        };
        frame.set_packet_len(header.total_len.into());
        match AddressKind::of(header.destination) {
            _ if self.networks.is_broadcast(header.destination) => {
                return Verdict::Drop(DropReason::BroadcastNotForwarded);
            }
            AddressKind::Multicast | AddressKind::LimitedBroadcast => {
                return Verdict::Drop(DropReason::BroadcastNotForwarded);
            }
            AddressKind::Unicast if self.networks.own_role(header.destination).is_none() => {}
            _ => return Verdict::Drop(DropReason::Martian),
        }
        let Some(route) = self.route_of_host(header.source, header.destination) else {
            let is_waiting = self.config.mode != Mode::LanOnly && self.networks.externals().next().is_none();
            return Verdict::Drop(if is_waiting { DropReason::NoAddress } else { DropReason::NoRoute });
        };
        self.observer.note(|| Step::route(header.destination, route));
        if self.networks.own_role(header.source).is_none() {
            return Verdict::Drop(DropReason::SpoofedSource);
        }
        if route.role == Role::Outside {
            self.clamp_mss(route.interface, &header, frame);
        }
        // Of the ICMP messages from the WAN address only echo replies are long enough to be fragmented. They belong
        // to no flow.
        let is_echo_reply = header.protocol == Protocol::ICMP
            && header.is_fragment()
            && self.networks.own_role(header.source) == Some(Role::Outside);
        if route.role == Role::Outside && self.config.mode.translates() && !is_echo_reply {
            self.nat(cx, NatDirection::OutboundOwn, &header, frame)
        } else {
            self.egress(cx.call, route, header.destination, frame)
        }
    }
}
