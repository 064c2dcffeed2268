//! Verdicts on frames.

use gatepost_ground::{PortId, PortSet};

use crate::drop_reason::DropReason;

/// The part of the gateway that a frame for the gateway itself is for. Only the dataplane decides this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalClass {
    /// The DHCP server: an unfragmented UDP datagram from the LAN to the server's port, sent to the gateway or to all
    /// hosts; another server's broadcast answer to a client; or an ARP packet that answers the server's probe.
    DhcpServer,
    /// The DHCP client: an unfragmented UDP datagram from the WAN, between the ports of servers and clients.
    DhcpClient,
    /// The DHCP client, which probes the address that it is offered: ARP from the WAN while the gateway has no address
    /// there. (RFC 5227, section 2.1.1)
    DhcpClientProbe,
    /// The host stack: any other IPv4 packet for an address of the gateway.
    Stack,
}

/// The verdict on a frame. Every frame of a batch gets exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not decided yet; never seen after [`process`](crate::Dataplane::process).
    Pending,
    /// The frame goes out of one port.
    Transmit(PortId),
    /// The frame goes out of several ports of its interface, and to a part of the gateway itself if `local` names
    /// one.
    Flood {
        /// The ports; never the one that a bridged frame came from.
        ports: PortSet,
        /// The part of the gateway itself that also gets the frame.
        local: Option<LocalClass>,
    },
    /// The frame is for the gateway itself.
    Local(LocalClass),
    /// The dataplane has dealt with the frame: ARP for the gateway, a packet whose fragments are in the
    /// [`Output`](crate::Output), or a quote for which it has sent an ICMP error.
    Consumed,
    /// The frame waits in the dataplane for a neighbour or for the first fragment.
    Hold,
    /// The frame is dropped.
    Drop(DropReason),
    /// The frame belongs to this worker, which gets the frame and the slot's [`Ingress`](crate::Ingress) as they are
    /// now.
    HandOver(u8),
}
