//! The sources of frames.

use gatepost_ground::{InterfaceId, PortId};

use crate::handoff::{Handoff, Origin};

/// The source of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// Read from a port.
    Port(PortId),
    /// An IPv4 packet of the gateway's own host stack. Its Ethernet header is not yet set; the
    /// dataplane routes it.
    Stack,
    /// A whole Ethernet frame of the gateway itself for an interface, such as DHCP; the dataplane only finds the port.
    RawFrame(InterfaceId),
    /// Handed over by another worker's dataplane; never seen after
    /// [`process`](crate::Dataplane::process), but with [`Verdict::HandOver`](crate::Verdict::HandOver).
    HandedOver(Handoff),
    /// A copy of an ARP frame that another worker read from this port, to learn from.
    ArpCopy(PortId),
}

impl From<Origin> for Ingress {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Port(port) => Self::Port(port),
            Origin::Stack => Self::Stack,
        }
    }
}

impl From<Handoff> for Ingress {
    fn from(handoff: Handoff) -> Self {
        Self::HandedOver(handoff)
    }
}

// Every frame has one.
const _: () = assert!(size_of::<Ingress>() <= 4);
