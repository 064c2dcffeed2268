//! Why the flow table refuses a packet.

use super::tcp;
use crate::drop_reason::DropReason;
use crate::nat::mapping::Unmapped;

/// Why a packet opens no flow, or is none of its flow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
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

impl From<Refused> for DropReason {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TableFull => Self::FlowTableFull,
            Refused::HostLimit => Self::FlowHostLimit,
            Refused::SourceLimit => Self::FlowSourceLimit,
            Refused::PortsExhausted => Self::PortsExhausted,
            Refused::NoAddress => Self::NoAddress,
            Refused::Ambiguous => Self::FlowAmbiguous,
            Refused::Filtered => Self::Filtered,
            Refused::TcpState => Self::TcpStateInvalid,
            Refused::TcpSequence => Self::TcpSequenceInvalid,
            Refused::Unasked => Self::IcmpUnrelated,
        }
    }
}

impl From<tcp::Invalid> for Refused {
    fn from(invalid: tcp::Invalid) -> Self {
        match invalid {
            tcp::Invalid::State => Self::TcpState,
            tcp::Invalid::Sequence => Self::TcpSequence,
        }
    }
}

impl From<Unmapped> for Refused {
    fn from(unmapped: Unmapped) -> Self {
        match unmapped {
            Unmapped::NoAddress => Self::NoAddress,
            Unmapped::PortsExhausted => Self::PortsExhausted,
        }
    }
}
