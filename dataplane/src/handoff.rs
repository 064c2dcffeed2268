//! Frames that one worker's dataplane hands to another's.

use gatepost_ground::PortId;

use crate::icmp_error::IcmpError;

/// Where a handed-over frame entered the gateway, and what the receiving worker is to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handoff {
    pub(crate) origin: Origin,
    pub(crate) stage: HandoffStage,
}

impl Handoff {
    /// The port that the frame was read from, if the worker that gets it is the first to look at it and has it as it
    /// was read.
    pub fn unchanged_from(self) -> Option<PortId> {
        match (self.origin, self.stage) {
            (Origin::Port(port), HandoffStage::ToOwner | HandoffStage::FragmentToOwner) => Some(port),
            _ => None,
        }
    }
}

/// Where a frame entered the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The frame was read from a port.
    Port(PortId),
    /// The gateway's own host stack sent the packet.
    Stack,
}

/// Why a frame is at this worker: the frame entered here, or another worker handed it over for this step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandoffStage {
    /// The frame entered the gateway at this worker. No other worker has seen it.
    Direct,
    /// The frame is unchanged, and the receiving worker owns its packet.
    ToOwner,
    /// The frame is an unchanged fragment, and the receiving worker owns its packet.
    FragmentToOwner,
    /// A LAN host sent the packet to the WAN address. The receiving worker owns the destination port, and knows
    /// whether a LAN host has it.
    HairpinQuery,
    /// The answer to [`HandoffStage::HairpinQuery`]: a LAN host has the destination port.
    HairpinYes,
    /// The answer to [`HandoffStage::HairpinQuery`]: no LAN host has the destination port.
    HairpinNo,
    /// The outbound half of a hairpin is done: the packet now comes in at the WAN address.
    HairpinIn,
    /// The frame is the beginning of a hairpinned packet that could not be delivered. The receiving worker sends the
    /// error to the packet's sender.
    ErrorBack(DeliveryError),
}

/// Why the inbound half of a hairpin could not deliver a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryError {
    /// The next hop does not answer ARP.
    Unreachable,
    /// There is no room for the packet's flow.
    NoRoom,
}

impl From<DeliveryError> for IcmpError {
    fn from(error: DeliveryError) -> Self {
        match error {
            DeliveryError::Unreachable => Self::HostUnreachable,
            DeliveryError::NoRoom => Self::AdministrativelyProhibited, // RFC 5508, REQ-8
        }
    }
}
