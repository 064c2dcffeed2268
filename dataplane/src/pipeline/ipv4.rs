//! The IPv4 stage: drops packets that are malformed or have impossible addresses, and passes the others to the local,
//! forwarding or NAT stage.

use core::net::Ipv4Addr;

use gatepost_ground::offload::PartialChecksum;
use gatepost_ground::wire::ipv4::{AddressKind, Header};
use gatepost_ground::wire::{Protocol, ethernet, tcp, udp};
use gatepost_ground::{Frame, InterfaceId, Offload, Role};

use super::Dataplane;
use super::context::Context;
use super::link::Cast;
use super::nat_action::NatDirection;
use super::network::AddressFacts;
use super::packet::reason;
use crate::config::Mode;
use crate::drop_reason::DropReason;
use crate::explain::{Observer, Rule, Run, Step};
use crate::verdict::{LocalClass, Verdict};

impl<M: Run> Dataplane<M> {
    /// Takes a frame that carries IPv4 from `interface`, which has this `role`.
    #[inline]
    pub(super) fn ipv4_input(
        &mut self,
        cx: &mut Context<'_, '_>,
        (interface, role): (InterfaceId, Role),
        cast: Cast,
        frame: &mut Frame,
    ) -> Verdict {
        // The header is not moved out of `parsed`, as each copy of a header costs some nanoseconds.
        let parsed = Header::parse(frame.packet());
        let header = match &parsed {
            Ok(header) if header.source_routed => return Verdict::Drop(DropReason::SourceRouted),
            Ok(header) => header,
            Err(malformed) => return Verdict::Drop(reason(*malformed)),
        };
        // DHCP comes before the check of addresses, as a DHCP client has no address yet.
        if let Some(class) = self.dhcp_class((interface, role), cast, header, frame) {
            return Verdict::Local(class);
        }
        let own_role = match self.check_addresses((interface, role), cast, header) {
            Ok(destination) => destination.own,
            Err(reason) => return Verdict::Drop(reason),
        };
        // Ethernet's padding is not part of the packet. Only the gateway gets this frame, so the frame may be
        // changed: `Cast::Group` does not pass the check of addresses.
        frame.set_packet_len(header.total_len.into());
        if frame.offload() != Offload::None
            && let Err(reason) = settle_checksum(header, frame)
        {
            return Verdict::Drop(reason);
        }
        if role == Role::Outside {
            self.clamp_mss(interface, header, frame);
        }

        if own_role.is_some() && role == Role::Inside && self.is_forged(cx, header, frame) {
            return Verdict::Drop(DropReason::SpoofedSource);
        }
        match (role, own_role) {
            (_, None) => self.forward(cx, role, header, frame),
            (Role::Outside, Some(Role::Inside)) if self.config.mode.translates() => {
                self.observer.note(|| Step::Rule(Rule::Mode));
                Verdict::Drop(DropReason::LanNotReachable)
            }
            (Role::Outside, Some(Role::Outside)) if self.config.mode.translates() => {
                self.nat(cx, NatDirection::Inbound, header, frame)
            }
            (Role::Inside, Some(Role::Outside)) if self.config.mode.translates() => {
                self.nat(cx, NatDirection::HairpinOut, header, frame)
            }
            (_, Some(_)) => self.local_input(cx, header, frame),
        }
    }

    /// The part of the gateway that a DHCP message is for: the server for a message from a client inside or a broadcast
    /// answer of another server there, the client for a message from a server outside; `None` for any other packet. A
    /// server may send an offer to the offered address, which the gateway does not have yet. (RFC 2131, section 4.1)
    fn dhcp_class(
        &self,
        (interface, role): (InterfaceId, Role),
        cast: Cast,
        header: &Header,
        frame: &Frame,
    ) -> Option<LocalClass> {
        const SERVER_PORT: u16 = 67;
        const CLIENT_PORT: u16 = 68;
        if header.protocol != Protocol::UDP || header.is_fragment() {
            return None;
        }
        let datagram = udp::Header::parse(header.payload(frame.packet())).ok()?;
        let is_reply = (datagram.source_port, datagram.destination_port) == (SERVER_PORT, CLIENT_PORT);
        let is_ours = || {
            header.destination == Ipv4Addr::BROADCAST
                || self.networks.on(interface).iter().any(|network| {
                    network.is_broadcast(header.destination) || network.own_address() == header.destination
                })
        };
        match role {
            Role::Inside => {
                // The server reports other servers, so their broadcast answers go to it, too.
                let is_for_server = datagram.destination_port == SERVER_PORT;
                ((is_for_server || is_reply) && is_ours()).then_some(LocalClass::DhcpServer)
            }
            Role::Outside => {
                let is_offered =
                    cast == Cast::Unicast && AddressKind::of(header.destination) == AddressKind::Unicast;
                (is_reply && (is_ours() || is_offered)).then_some(LocalClass::DhcpClient)
            }
        }
    }

    /// Lowers the maximum segment size in a SYN to what the outside interface `outside` carries, if the inside
    /// carries more. SYNs are clamped where they enter from outside and where they leave to it, for the office's
    /// hosts and the host stack alike.
    #[inline]
    pub(super) fn clamp_mss(&self, outside: InterfaceId, header: &Header, frame: &mut Frame) {
        let mtu = self.facts.of(outside).mtu;
        if mtu >= self.facts.inside_mtu_max()
            || header.protocol != Protocol::TCP
            || !header.has_transport_header()
        {
            return;
        }
        let segment = tcp::Header::parse(header.payload(frame.packet()));
        if segment.is_ok_and(|header| header.flags.contains(tcp::Flags::SYN)) {
            frame.complete_checksum();
            let segment = header.payload_mut(frame.packet_mut());
            // A segment that parses can be clamped.
            let _ = tcp::clamp_mss(segment, mtu.saturating_sub(TCP_IP_HEADERS_LEN));
        }
    }

    /// Checks the source and destination of a packet from `interface`. Returns what is known of the destination.
    #[inline]
    fn check_addresses(
        &self,
        (interface, role): (InterfaceId, Role),
        cast: Cast,
        header: &Header,
    ) -> Result<AddressFacts, DropReason> {
        let source = self.networks.address_facts(header.source);
        if !AddressKind::of(header.source).may_be_source() || source.is_broadcast {
            return Err(DropReason::Martian);
        }
        // RFC 2827, section 3
        let is_source_plausible = match role {
            // In LAN-only mode the gateway is an ordinary host, which gets packets from anywhere through the LAN's
            // router.
            Role::Inside => {
                self.config.mode == Mode::LanOnly || self.networks.is_on_inside(interface, header.source)
            }
            Role::Outside => !self.networks.is_inside(header.source),
        };
        if !is_source_plausible || source.own.is_some() {
            return Err(DropReason::SpoofedSource);
        }
        let destination = self.networks.address_facts(header.destination);
        match AddressKind::of(header.destination) {
            AddressKind::Multicast | AddressKind::LimitedBroadcast => Err(DropReason::BroadcastNotForwarded),
            kind if !kind.may_be_destination() => Err(DropReason::Martian),
            // RFC 1122, section 3.3.6: a broadcast frame carries no packet for one host.
            _ if cast == Cast::Group || destination.is_broadcast => Err(DropReason::BroadcastNotForwarded),
            _ => Ok(destination),
        }
    }

    /// Whether a packet for an address of the gateway has the source address of a LAN host with a lease or a
    /// reservation, but was sent by another machine. The gateway's services limit each source address, so a forged
    /// source would use up the limit of the host. Packets that the gateway forwards are not checked.
    fn is_forged(&self, cx: &Context<'_, '_>, header: &Header, frame: &Frame) -> bool {
        ethernet::Header::parse(frame.bytes())
            .is_ok_and(|link| !self.bindings.may_send(cx.call.now, header.source, link.source))
    }
}

/// The octets of an IPv4 and a TCP header without options, which the MSS does not include. (RFC 9293, section 3.7.1)
const TCP_IP_HEADERS_LEN: u16 = 40;

/// Completes the partial checksum of a frame, unless it is the transport checksum of an unfragmented packet, which
/// the following stages handle. Fails if the offload does not fit the packet, which may be shorter than the frame was
/// when its offload was checked.
fn settle_checksum(header: &Header, frame: &mut Frame) -> Result<(), DropReason> {
    if !frame.offload().fits(frame.bytes()) {
        return Err(DropReason::OffloadInvalid);
    }
    let start = frame.link_len() + usize::from(header.header_len);
    let is_transports = frame.offload().checksum() == PartialChecksum::of_transport(header.protocol, start);
    if header.is_fragment() || !is_transports {
        frame.complete_checksum();
    }
    Ok(())
}
