//! Packets across the WAN address, as the stages speak of them: the way that a packet takes, and what becomes of it.

use gatepost_ground::wire::ipv4::Header;
use gatepost_ground::{Frame, Role};

use crate::drop_reason::DropReason;
use crate::flow::Egress;
use crate::ingress::Ingress;
use crate::nat::rewrite::Translation;
use crate::route::Route;

/// The way a packet takes across the WAN address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NatDirection {
    /// From the LAN to the WAN.
    Output,
    /// From the gateway's own host stack to the WAN.
    HostOutput,
    /// From the WAN to the WAN address.
    Input,
    /// From the LAN to the WAN address.
    Hairpin,
    /// From the WAN address to itself: a packet that took [`NatDirection::Hairpin`] before.
    HairpinInput,
}

impl NatDirection {
    /// Where what goes back to the sender goes.
    pub(super) fn back(self) -> Egress {
        match self {
            Self::Output | Self::Hairpin => Egress::To(Role::Inside),
            Self::Input => Egress::To(Role::Outside),
            Self::HostOutput => Egress::Host,
            Self::HairpinInput => Egress::External,
        }
    }

    /// Whether it is the gateway itself that sends the packet, and no interface by which it came in.
    pub(super) fn is_from_gateway(self) -> bool {
        matches!(self, Self::HostOutput | Self::HairpinInput)
    }
}

/// A packet that something is to be decided about. It is as it came.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) direction: NatDirection,
    pub(super) ingress: Ingress,
    pub(super) header: &'a Header,
    pub(super) frame: &'a Frame,
}

/// What is to become of a packet, and of the other fragments of the same.
#[derive(Clone, Copy, Debug)]
pub(super) enum NatAction {
    /// It is rewritten, and goes on.
    Pass(Rewrite),
    /// It is for the gateway, as it is.
    Local,
    /// It goes no further.
    Drop(DropReason),
    /// Another worker knows whether it is for the gateway.
    Ask(u8),
}

/// Where a rewritten packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// Out.
    To(Route),
    /// To the host stack.
    Host,
    /// To the WAN address, and in again.
    External,
}

/// How a packet is rewritten and where it goes then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rewrite {
    pub(super) translation: Translation,
    pub(super) hop: Hop,
    /// The identification that it gets, if it does not keep its own.
    pub(super) identification: Option<u16>,
}
