//! The forwarding stage: packets that are neither from nor for the gateway.

use gatepost_ground::wire::ipv4::{AddressKind, Header};
use gatepost_ground::{Frame, Segment};

use super::Dataplane;
use super::context::{Call, Context};
use super::packet::take_hop;
use super::way::Way;
use crate::config::Mode;
use crate::drop_reason::DropReason;
use crate::icmp_error::IcmpError;
use crate::verdict::Verdict;

impl Dataplane {
    /// A packet from `segment` for somebody else.
    #[inline]
    pub(super) fn forward(
        &mut self,
        cx: &mut Context<'_, '_>,
        segment: Segment,
        header: &Header,
        frame: &mut Frame,
    ) -> Verdict {
        if self.config.mode == Mode::LanOnly {
            return Verdict::Drop(DropReason::Ipv4NotForUs);
        }
        if !AddressKind::of(header.destination).may_be_forwarded() {
            return Verdict::Drop(DropReason::Martian);
        }
        if segment == Segment::Wan
            && self.config.mode.translates()
            && self.networks.on(Segment::Lan).contains(header.destination)
        {
            return Verdict::Drop(DropReason::LanNotReachable);
        }
        let Some(route) = self.routes.lookup(header.destination) else {
            self.reject(cx.call, segment, header, frame, IcmpError::NetUnreachable);
            return Verdict::Drop(DropReason::NoRoute);
        };
        // The office is nobody's way from one place on the internet to another.
        if (segment, route.segment) == (Segment::Wan, Segment::Wan) {
            return Verdict::Drop(DropReason::Ipv4NotForUs);
        }
        if route.segment == Segment::Wan {
            self.clamp_mss(header, frame);
        }
        if route.segment == Segment::Wan && self.config.mode.translates() {
            return self.nat(cx, Way::Output, header, frame);
        }
        if let Err(reason) = self.check_hop(cx.call, segment, route.segment, header, frame) {
            return Verdict::Drop(reason);
        }
        take_hop(frame);
        self.egress(cx.call, route, header.destination, frame)
    }

    /// Whether a packet may make the hop from `segment` to `next`; if not, its sender is told. It must
    /// come before any translation, as the sender knows the packet as it was.
    #[inline]
    pub(super) fn check_hop(
        &mut self,
        call: &mut Call<'_>,
        segment: Segment,
        next: Segment,
        header: &Header,
        frame: &Frame,
    ) -> Result<(), DropReason> {
        // RFC 3927 section 7
        if header.source.is_link_local() {
            return Err(DropReason::Martian);
        }
        if header.ttl <= 1 {
            self.reject(call, segment, header, frame, IcmpError::TtlExceeded);
            return Err(DropReason::TtlExpired);
        }
        let mtu = self.config.interface(next).mtu;
        let is_too_long = frame.packet_len_max() > usize::from(mtu);
        if is_too_long && header.dont_fragment {
            self.reject(call, segment, header, frame, IcmpError::FragmentationNeeded { mtu });
            return Err(DropReason::MtuExceeded);
        }
        Ok(())
    }
}
