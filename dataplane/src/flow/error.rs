//! Why the flow table refuses a packet.

use super::tcp;
use crate::drop_reason::DropReason;
use crate::nat::mapping::MappingError;

/// Why a packet opens no flow, or is none of its flow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowError {
    /// There are as many flows as there may be, and none gives way.
    TableFull,
    /// The inside host, or the strangers of its port, have opened as many flows as they may; or as many were
    /// opened to it.
    HostLimit,
    /// The source outside has as many flows open that nobody has answered as it may.
    SourceLimit,
    /// No external port is free that the newcomer may have, and no flow gives way.
    PortsExhausted,
    /// There is no such external address.
    NoAddress,
    /// Its packets or replies could not be told from those of another flow.
    Ambiguous,
    /// The mapping's filter does not admit the sender.
    Filtered,
    /// The segment fits no state of the TCP connection, or opens none.
    TcpState,
    /// The segment's sequence or acknowledgment number is not one that its receiver could take.
    TcpSequence,
    /// The ICMP reply answers no query.
    Unasked,
}

impl From<FlowError> for DropReason {
    fn from(error: FlowError) -> Self {
        match error {
            FlowError::TableFull => Self::FlowTableFull,
            FlowError::HostLimit => Self::FlowHostLimit,
            FlowError::SourceLimit => Self::FlowSourceLimit,
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
