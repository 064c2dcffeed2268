//! What dataplanes tell one another.

use gatepost_ground::{InterfaceId, MacAddr, PortId};

use crate::flow::HostFlows;

/// What one dataplane tells all the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// How many flows an inside host has here.
    HostFlows(HostFlows),
    /// A station was heard.
    Station {
        /// On this interface.
        interface: InterfaceId,
        /// Its address.
        mac: MacAddr,
        /// Behind this port.
        port: PortId,
    },
}
