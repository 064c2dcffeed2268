//! The types that the NAT stages share: the direction in which a packet crosses the WAN address, and the action that
//! NAT takes on the packet.

use gatepost_ground::wire::ipv4::Header;
use gatepost_ground::{Frame, Role};

use crate::drop_reason::DropReason;
use crate::flow::Egress;
use crate::ingress::Ingress;
use crate::nat::rewrite::Translation;
use crate::route::Route;

/// The direction in which a packet crosses the WAN address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NatDirection {
    /// From the LAN to the WAN.
    Outbound,
    /// From the gateway's own host stack to the WAN.
    OutboundOwn,
    /// From the WAN to the WAN address.
    Inbound,
    /// From the LAN to the WAN address.
    HairpinOut,
    /// From the WAN address to itself: the inbound half of a packet whose outbound half was
    /// [`NatDirection::HairpinOut`].
    HairpinIn,
}

impl NatDirection {
    /// Where replies to the packet's sender go.
    pub(super) fn back(self) -> Egress {
        match self {
            Self::Outbound | Self::HairpinOut => Egress::To(Role::Inside),
            Self::Inbound => Egress::To(Role::Outside),
            Self::OutboundOwn => Egress::Stack,
            Self::HairpinIn => Egress::Hairpin,
        }
    }

    /// Whether the gateway itself sends the packet, so that no interface received it.
    pub(super) fn is_from_gateway(self) -> bool {
        matches!(self, Self::OutboundOwn | Self::HairpinIn)
    }
}

/// A packet that NAT has not decided about yet. The packet is unchanged.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) direction: NatDirection,
    pub(super) ingress: Ingress,
    pub(super) header: &'a Header,
    pub(super) frame: &'a Frame,
}

/// What NAT does with a packet and with all further fragments of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum NatAction {
    /// Rewrite the packet and send it on.
    Pass(Rewrite),
    /// Deliver the unchanged packet to the gateway itself.
    Local,
    /// Drop the packet.
    Drop(DropReason),
    /// Ask this worker, which owns the destination port, whether the packet is for the gateway.
    Ask(u8),
}

/// Where a rewritten packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// Out by this route.
    To(Route),
    /// To the host stack.
    Stack,
    /// To the WAN address, where the packet comes in again.
    Hairpin,
}

/// How a packet is rewritten, and where the rewritten packet goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rewrite {
    pub(super) translation: Translation,
    pub(super) hop: Hop,
    /// The IPv4 identification that the packet gets; `None` if the packet keeps its own.
    pub(super) identification: Option<u16>,
}
