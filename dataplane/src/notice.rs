//! Notices between the dataplanes of a gateway.

use gatepost_ground::{InterfaceId, MacAddr, PortId};

use crate::flow::HostFlows;

/// A notice of one dataplane to all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The number of flows that an inside host has in this dataplane.
    HostFlows(HostFlows),
    /// This dataplane has received a frame of a station.
    Station {
        /// The interface that the station is on.
        interface: InterfaceId,
        /// The station's hardware address.
        mac: MacAddr,
        /// The port that the station is behind.
        port: PortId,
    },
}
