//! The IPv4 stage: what is no honest packet ends here, the rest is for the gateway or beyond it.

use core::net::Ipv4Addr;

use super::link::Cast;
use super::nat::Way;
use super::{Context, Dataplane};
use crate::batch::{Frame, Verdict};
use crate::config::{Mode, Segment};
use crate::counters::DropReason;
use crate::wire::ipv4::{AddressKind, Header, Protocol};
use crate::wire::{Malformed, ethernet, udp};

impl Dataplane {
    /// A frame from `segment` that carries IPv4.
    #[inline]
    pub(super) fn ipv4_input(
        &mut self,
        cx: &mut Context<'_>,
        segment: Segment,
        cast: Cast,
        frame: &mut Frame,
    ) -> Verdict {
        let header = match parse(frame) {
            Ok(header) => header,
            Err(reason) => return Verdict::Drop(reason),
        };
        // Before the addresses: a DHCP client has none yet.
        if self.is_dhcp(segment, cast, &header, frame) {
            return Verdict::Local;
        }
        if let Err(reason) = self.check_addresses(segment, cast, &header) {
            return Verdict::Drop(reason);
        }
        // Ethernet's padding is no part of the packet. The frame is the gateway's alone: `Cast::Group`
        // does not pass the check of addresses.
        frame.set_len(ethernet::Header::LEN + usize::from(header.total_len));

        match (segment, self.own_segment(header.destination)) {
            (_, None) => self.forward(cx, segment, &header, frame),
            (Segment::Wan, Some(Segment::Lan)) if self.config.mode.translates() => {
                Verdict::Drop(DropReason::LanNotReachable)
            }
            (Segment::Wan, Some(Segment::Wan)) if self.config.mode.translates() => {
                self.nat(cx, Way::Input, &header, frame)
            }
            (Segment::Lan, Some(Segment::Wan)) if self.config.mode.translates() => {
                self.nat(cx, Way::Hairpin, &header, frame)
            }
            (_, Some(_)) => self.local_input(cx, &header, frame),
        }
    }

    /// The segment on which `address` is the gateway's own.
    #[inline]
    pub(super) fn own_segment(&self, address: Ipv4Addr) -> Option<Segment> {
        let is_own = |segment: &Segment| self.own_address(*segment) == Some(address);
        [Segment::Lan, Segment::Wan].into_iter().find(is_own)
    }

    /// The gateway's own address on `segment`.
    #[inline]
    pub(super) fn own_address(&self, segment: Segment) -> Option<Ipv4Addr> {
        self.config.interface(segment).address.map(|net| net.addr())
    }

    /// Whether `address` is one of the LAN's.
    #[inline]
    pub(super) fn is_in_lan(&self, address: Ipv4Addr) -> bool {
        self.config.lan.address.is_some_and(|net| net.contains(&address))
    }

    /// Whether a packet is from a DHCP client on the LAN to our server, or the other way on the WAN.
    /// A server may address an offer to the address that it offers, which we do not have yet.
    /// // RFC 2131 section 4.1
    fn is_dhcp(&self, segment: Segment, cast: Cast, header: &Header, frame: &Frame) -> bool {
        const SERVER_PORT: u16 = 67;
        const CLIENT_PORT: u16 = 68;
        if header.protocol != Protocol::UDP || header.is_fragment() {
            return false;
        }
        let packet = &frame.bytes()[ethernet::Header::LEN..];
        let Ok(datagram) = udp::Header::parse(header.payload(packet)) else { return false };
        let is_for_all = header.destination == Ipv4Addr::BROADCAST
            || self
                .config
                .interface(segment)
                .address
                .is_some_and(|net| net.broadcast() == header.destination);
        let is_ours = is_for_all || self.own_address(segment) == Some(header.destination);
        match segment {
            Segment::Lan => datagram.destination_port == SERVER_PORT && is_ours,
            Segment::Wan => {
                let is_offered =
                    cast == Cast::Unicast && AddressKind::of(header.destination) == AddressKind::Unicast;
                (datagram.source_port, datagram.destination_port) == (SERVER_PORT, CLIENT_PORT)
                    && (is_ours || is_offered)
            }
        }
    }

    /// Whether a packet from `segment` may have the addresses that it has.
    #[inline]
    fn check_addresses(&self, segment: Segment, cast: Cast, header: &Header) -> Result<(), DropReason> {
        if !AddressKind::of(header.source).may_be_source() || self.is_directed_broadcast(header.source) {
            return Err(DropReason::Martian);
        }
        if !self.is_source_of(segment, header.source) {
            return Err(DropReason::SpoofedSource);
        }
        match AddressKind::of(header.destination) {
            AddressKind::Multicast | AddressKind::LimitedBroadcast => Err(DropReason::BroadcastNotForwarded),
            kind if !kind.may_be_destination() => Err(DropReason::Martian),
            // RFC 1122 section 3.3.6: a broadcast frame carries no packet for one host.
            _ if cast == Cast::Group || self.is_directed_broadcast(header.destination) => {
                Err(DropReason::BroadcastNotForwarded)
            }
            _ => Ok(()),
        }
    }

    /// Whether packets from `address` may come from `segment`. (BCP 38)
    #[inline]
    fn is_source_of(&self, segment: Segment, address: Ipv4Addr) -> bool {
        let is_segments = match segment {
            // An ordinary host gets packets from anywhere through its LAN's router.
            Segment::Lan => self.config.mode == Mode::LanOnly || self.is_in_lan(address),
            Segment::Wan => !self.is_in_lan(address),
        };
        is_segments && self.own_segment(address).is_none()
    }

    /// Whether `address` is that of all hosts of one of the segments. A prefix of 31 or 32 bits has
    /// none. // RFC 3021
    pub(super) fn is_directed_broadcast(&self, address: Ipv4Addr) -> bool {
        [&self.config.lan, &self.config.wan]
            .into_iter()
            .filter_map(|interface| interface.address)
            .any(|net| net.prefix_len() < 31 && net.broadcast() == address)
    }
}

/// The header of the packet in `frame`.
pub(super) fn parse(frame: &Frame) -> Result<Header, DropReason> {
    let packet = frame.bytes().get(ethernet::Header::LEN..).unwrap_or_default();
    match Header::parse(packet) {
        Ok(header) if header.source_routed => Err(DropReason::SourceRouted),
        Ok(header) => Ok(header),
        Err(Malformed::Checksum) => Err(DropReason::Ipv4Checksum),
        Err(_) => Err(DropReason::Ipv4Malformed),
    }
}
