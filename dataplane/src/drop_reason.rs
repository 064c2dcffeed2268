//! Reasons for dropping a frame, and a counter of each.

use core::fmt;
use core::ops::{AddAssign, Index};

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal,)+) => {
        /// The reason why a frame was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl DropReason {
            /// Every reason, in the order of the stages that give them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The reason's stable name, as `gatepost show drops` prints it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The meaning of the reason, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

drop_reasons! {
    /// Shorter than its headers say.
    FrameTruncated => "frame-truncated",
    /// For the gateway itself, in a VLAN (802.1Q, 802.1ad) other than 0; between LAN ports such a frame is bridged.
    /// Also a frame with more than two tags, if the first three are of VLAN 0.
    VlanTagged => "vlan-tagged",
    /// Comes from a multicast or zero MAC address, or from the gateway's own on the same interface or on the LAN.
    SourceMacInvalid => "source-mac-invalid",
    /// The frame's virtio-net header asks for segmentation or for a checksum that the frame's contents do not allow;
    /// or the VLAN tag of such a frame cannot be removed.
    OffloadInvalid => "offload-invalid",
    /// The destination is behind the port the frame came from.
    BridgeSamePort => "bridge-same-port",
    /// The destination MAC is neither the gateway's nor behind another port.
    MacNotForUs => "mac-not-for-us",
    /// To a reserved group address (01-80-C2-00-00-00 to 0F), which no bridge forwards: spanning tree, LACP, LLDP.
    ReservedGroupAddress => "reserved-group-address",
    /// At a port that takes tagged frames only: an untagged frame, or a frame of a VLAN that leads to no interface
    /// (IEEE 802.1Q: ingress filtering).
    VlanNotAllowed => "vlan-not-allowed",
    /// Addressed to the gateway in a protocol that it does not support; IPv6 is one, for now.
    EtherTypeUnsupported => "ethertype-unsupported",
    /// An ARP packet that is not for Ethernet and IPv4, or has an impossible sender.
    ArpMalformed => "arp-malformed",
    /// An ARP packet in which another station gives an IP or MAC address of the gateway as its own (RFC 5227).
    ArpConflict => "arp-conflict",
    /// An ARP packet from a LAN port that claims an address of the gateway's, or one leased or reserved to another; or
    /// whose sender is not the frame's.
    ArpInspection => "arp-inspection",
    /// A DHCP server's message from a LAN port, while the gateway's is the only DHCP server allowed.
    DhcpServerForeign => "dhcp-server-foreign",
    /// Not a valid IPv4 header: version, lengths or options.
    Ipv4Malformed => "ipv4-malformed",
    /// The IPv4 header's checksum is wrong.
    Ipv4Checksum => "ipv4-checksum",
    /// Asks to be source-routed.
    SourceRouted => "source-routed",
    /// A source or destination address that no packet may have (RFC 1812, section 5.3.7).
    Martian => "martian",
    /// The source address does not belong to the interface that the packet came from; or a packet for the gateway
    /// itself whose source address is leased or reserved to another machine of the LAN.
    SpoofedSource => "spoofed-source",
    /// A directed broadcast or multicast that is not forwarded.
    BroadcastNotForwarded => "broadcast-not-forwarded",
    /// An IPv4 packet for another host, on a gateway that does not route it.
    Ipv4NotForUs => "ipv4-not-for-us",
    /// The time to live ended here.
    TtlExpired => "ttl-expired",
    /// No route to the destination.
    NoRoute => "no-route",
    /// Too big for the next link and not to be fragmented.
    MtuExceeded => "mtu-exceeded",
    /// Not a valid TCP, UDP or ICMP header: its length fields do not fit the packet.
    TransportMalformed => "transport-malformed",
    /// The checksum of a TCP segment for NAT is wrong.
    TcpChecksum => "tcp-checksum",
    /// The checksum of a UDP datagram for NAT is wrong; one that has none is taken as it is.
    UdpChecksum => "udp-checksum",
    /// The checksum of an ICMP message is wrong.
    IcmpChecksum => "icmp-checksum",
    /// Control bits that no TCP sets together, or none, as scanners send them.
    TcpFlagsInvalid => "tcp-flags-invalid",
    /// TCP options with a wrong length.
    TcpOptionsMalformed => "tcp-options-malformed",
    /// A transport protocol that NAT cannot translate.
    ProtocolUnsupported => "protocol-unsupported",
    /// A fragment whose packet's first fragment did not arrive in time, that overlaps the transport header or is too
    /// small for it (RFC 1858), or that belongs to an ICMP error.
    FragmentInvalid => "fragment-invalid",
    /// No room to track another fragmented packet, or to hold another fragment that arrived before its packet's first
    /// fragment.
    FragmentTableFull => "fragment-table-full",
    /// From the WAN, without a flow, and for no service, forward, mapping or default host.
    Unsolicited => "unsolicited",
    /// From the WAN to an open mapping, but from a remote that the mapping's filtering does not admit.
    Filtered => "filtered",
    /// From the WAN to one of the gateway's own services that does not admit this source.
    ServiceSourceDenied => "service-source-denied",
    /// From the WAN to a forward that does not admit this source.
    ForwardSourceDenied => "forward-source-denied",
    /// From the WAN to an address of the LAN, past the NAT.
    LanNotReachable => "lan-not-reachable",
    /// A TCP segment that fits no state of its flow; or one that has no flow and opens no connection, for which a LAN
    /// host gets a reset.
    TcpStateInvalid => "tcp-state-invalid",
    /// A TCP segment with sequence or acknowledgment numbers that its receiver could not accept: forged, or far too
    /// late.
    TcpSequenceInvalid => "tcp-sequence-invalid",
    /// An ICMP error or reply that belongs to no flow.
    IcmpUnrelated => "icmp-unrelated",
    /// An echo request beyond the rate of replies to one address, or to all addresses together.
    EchoLimited => "echo-limited",
    /// The flow table has room only for hosts with few flows and for the gateway, and no unanswered or ended flow can
    /// be dropped for the new one.
    FlowTableFull => "flow-table-full",
    /// One inside host has reached its limit of flows that it opened, or of flows that were opened to it; or the
    /// senders behind one bridge port whose source addresses ARP does not confirm have together reached theirs.
    FlowHostLimit => "flow-host-limit",
    /// One remote address on the WAN has reached its limit of unanswered flows.
    FlowRemoteLimit => "flow-remote-limit",
    /// The external ports that are left are for hosts with few flows and for the gateway, and no unanswered or ended
    /// flow can be dropped for the new mapping.
    PortsExhausted => "ports-exhausted",
    /// The new flow's packets or replies could not be distinguished from those of another flow, such as one of the
    /// default host with the same remote at a port that a mapping has.
    FlowAmbiguous => "flow-ambiguous",
    /// Too many packets wait for the neighbour's hardware address.
    NeighborQueueFull => "neighbor-queue-full",
    /// The neighbour did not answer ARP.
    NeighborUnreachable => "neighbor-unreachable",
    /// The frame waited for a neighbour or for its packet's first fragment when a new configuration came into force.
    Reconfigured => "reconfigured",
    /// The neighbour table is full.
    NeighborTableFull => "neighbor-table-full",
    /// The gateway has no address on that interface yet.
    NoAddress => "no-address",
    /// More frames had to be made than one batch holds.
    OutputFull => "output-full",
    /// The ring to the host stack is full, or the frames of this bridge port already take the port's share of it.
    HostRingFull => "host-ring-full",
    /// The frame was between two workers while the configuration changed, and another worker owns it now.
    WorkerChanged => "worker-changed",
    /// The ring to the worker that the packet belongs to is full.
    WorkerRingFull => "worker-ring-full",
    /// The port does not take frames as fast as they come.
    PortBackpressure => "port-backpressure",
    /// The port is gone, or set down.
    PortDown => "port-down",
    /// The port rejected the frame, or took only a part of it.
    PortRefused => "port-refused",
    /// A fault of the gateway itself: an invariant did not hold while it dealt with the frame. The log says more.
    InternalError => "internal-error",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Frames dropped, by reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Default for Drops {
    fn default() -> Self {
        Self([0; DropReason::ALL.len()])
    }
}

impl Drops {
    /// Counts a frame dropped for `reason`.
    pub fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// The frames dropped for any reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.iter().map(|reason| (*reason, self[*reason]))
    }
}

impl AddAssign<&Self> for Drops {
    fn add_assign(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
    }
}

impl Index<DropReason> for Drops {
    type Output = u64;

    fn index(&self, reason: DropReason) -> &u64 {
        &self.0[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_meanings_are_sentences() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::ALL.len());
        assert!(DropReason::ALL.iter().all(|reason| reason.meaning().ends_with('.')));
    }
}
