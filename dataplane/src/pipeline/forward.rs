//! The forwarding stage: routes packets that are neither from nor for the gateway.

use gatepost_ground::wire::ipv4::{AddressKind, Header};
use gatepost_ground::{Frame, Role};

use super::Dataplane;
use super::context::{Call, Context};
use super::nat_action::NatDirection;
use super::packet::decrement_ttl;
use crate::config::Mode;
use crate::drop_reason::DropReason;
use crate::explain::{Observer, Rule, Run, Step};
use crate::icmp_error::IcmpError;
use crate::ingress::Ingress;
use crate::verdict::Verdict;

impl<M: Run> Dataplane<M> {
    /// Forwards a packet that came from an interface of this `role` and is not for the gateway.
    #[inline]
    pub(super) fn forward(
        &mut self,
        cx: &mut Context<'_, '_>,
        role: Role,
        header: &Header,
        frame: &mut Frame,
    ) -> Verdict {
        if self.config.mode == Mode::LanOnly {
            self.observer.note(|| Step::Rule(Rule::Mode));
            return Verdict::Drop(DropReason::Ipv4NotForUs);
        }
        if !AddressKind::of(header.destination).may_be_forwarded() {
            return Verdict::Drop(DropReason::Martian);
        }
        if role == Role::Outside
            && self.config.mode.translates()
            && self.networks.is_inside(header.destination)
        {
            self.observer.note(|| Step::Rule(Rule::Mode));
            return Verdict::Drop(DropReason::LanNotReachable);
        }
        let Some(route) = self.routes.lookup(header.destination) else {
            self.reject(cx.call, cx.ingress, header, frame, IcmpError::NetUnreachable);
            return Verdict::Drop(DropReason::NoRoute);
        };
        self.observer.note(|| Step::route(header.destination, route));
        // The gateway forwards nothing from one outside interface to another: the office is no transit network.
        if (role, route.role) == (Role::Outside, Role::Outside) {
            return Verdict::Drop(DropReason::Ipv4NotForUs);
        }
        if route.role == Role::Outside {
            self.clamp_mss(route.interface, header, frame);
        }
        if route.role == Role::Outside && self.config.mode.translates() {
            return self.nat(cx, NatDirection::Outbound, header, frame);
        }
        let mtu = self.facts.of(route.interface).mtu;
        if let Err(reason) = self.check_hop(cx.call, cx.ingress, mtu, header, frame) {
            return Verdict::Drop(reason);
        }
        decrement_ttl(frame);
        self.egress(cx.call, route, header.destination, frame)
    }

    /// Checks that a packet that came in by `ingress` may make the hop to a link with this `mtu`, in octets;
    /// otherwise its sender gets an ICMP error. The check must come before any translation, as the error quotes the
    /// packet as its sender knows it.
    #[inline(always)]
    pub(super) fn check_hop(
        &mut self,
        call: &mut Call<'_>,
        ingress: Ingress,
        mtu: u16,
        header: &Header,
        frame: &Frame,
    ) -> Result<(), DropReason> {
        let is_too_long = || header.dont_fragment && frame.packet_len_max() > usize::from(mtu);
        if header.source.is_link_local() || header.ttl <= 1 || is_too_long() {
            return Err(self.refuse_hop(call, ingress, mtu, header, frame));
        }
        Ok(())
    }

    /// The reason why a packet may not make a hop. Sends the ICMP error to its sender.
    #[cold]
    #[inline(never)]
    fn refuse_hop(
        &mut self,
        call: &mut Call<'_>,
        ingress: Ingress,
        mtu: u16,
        header: &Header,
        frame: &Frame,
    ) -> DropReason {
        // RFC 3927, section 7
        if header.source.is_link_local() {
            return DropReason::Martian;
        }
        if header.ttl <= 1 {
            self.reject(call, ingress, header, frame, IcmpError::TtlExceeded);
            return DropReason::TtlExpired;
        }
        self.reject(call, ingress, header, frame, IcmpError::FragmentationNeeded { mtu });
        DropReason::MtuExceeded
    }
}
