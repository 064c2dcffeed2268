//! Why the flow table rejects a packet.

use super::tcp;
use crate::drop_reason::DropReason;
use crate::nat::mapping::MappingError;

/// Why a packet cannot open a flow, or does not fit its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowError {
    /// The table is full, and no flow may be recycled.
    TableFull,
    /// The limit of the inside host is reached, or that of the unverified senders of its port: of flows that it
    /// opened, or of flows that were opened to it.
    HostLimit,
    /// The remote address has reached its limit of unanswered flows.
    RemoteLimit,
    /// No external port is free that the new flow may have, and no flow may be recycled.
    PortsExhausted,
    /// The external address does not exist.
    NoAddress,
    /// The flow's packets or replies could not be distinguished from those of another flow.
    Ambiguous,
    /// The mapping's filter does not admit the sender.
    Filtered,
    /// The segment fits no state of the TCP connection, or cannot open one.
    TcpState,
    /// The segment's sequence or acknowledgment number is outside of the receiver's window.
    TcpSequence,
    /// The ICMP reply answers no query.
    Unasked,
}

impl From<FlowError> for DropReason {
    fn from(error: FlowError) -> Self {
        match error {
            FlowError::TableFull => Self::FlowTableFull,
            FlowError::HostLimit => Self::FlowHostLimit,
            FlowError::RemoteLimit => Self::FlowRemoteLimit,
            FlowError::PortsExhausted => Self::PortsExhausted,
            FlowError::NoAddress => Self::NoAddress,
            FlowError::Ambiguous => Self::FlowAmbiguous,
            FlowError::Filtered => Self::Filtered,
            FlowError::TcpState => Self::TcpStateInvalid,
            FlowError::TcpSequence => Self::TcpSequenceInvalid,
            FlowError::Unasked => Self::IcmpUnrelated,
        }
    }
}

impl From<tcp::Invalid> for FlowError {
    fn from(invalid: tcp::Invalid) -> Self {
        match invalid {
            tcp::Invalid::State => Self::TcpState,
            tcp::Invalid::Sequence => Self::TcpSequence,
        }
    }
}

impl From<MappingError> for FlowError {
    fn from(unmapped: MappingError) -> Self {
        match unmapped {
            MappingError::NoAddress => Self::NoAddress,
            MappingError::PortsExhausted => Self::PortsExhausted,
        }
    }
}
