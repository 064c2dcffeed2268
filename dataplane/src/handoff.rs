//! Frames on their way from one worker's dataplane to another's.

use gatepost_ground::PortId;

use crate::icmp_error::IcmpError;

/// How a frame came from another dataplane of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handoff {
    pub(crate) origin: Origin,
    pub(crate) stage: HandoffStage,
}

/// Where a frame entered the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// At a port.
    Port(PortId),
    /// From its own host stack.
    Host,
}

/// How far a frame has come on its way through the dataplanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandoffStage {
    /// It has entered here.
    Direct,
    /// It is as it came, and belongs to the one that gets it.
    ToOwner,
    /// It is a fragment as it came, and the one that gets it owns its packet.
    FragmentToOwner,
    /// It is for the WAN address, and the one that gets it knows whether that is a LAN host's port.
    HairpinQuery,
    /// It is for the WAN address, and the port is a LAN host's.
    HairpinYes,
    /// It is for the WAN address, and the port is no LAN host's.
    HairpinNo,
    /// It has gone out to the WAN address, and comes in again.
    HairpinIn,
    /// It is the beginning of such a packet, whose sender is to be told why it got no further.
    ErrorBack(DeliveryError),
}

/// Why a packet that came in again got no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryError {
    /// Its next hop does not answer.
    Unreachable,
    /// There is no room for its flow.
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
