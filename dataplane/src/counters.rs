//! What happened to the frames: nothing disappears unexplained.

use core::fmt;
use core::ops::Index;

use crate::batch::Verdict;

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal,)+) => {
        /// Why a frame went no further.
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

            /// What the reason means, in a sentence.
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
    /// Carries an 802.1Q or 802.1ad tag; VLANs are not supported yet.
    VlanTagged => "vlan-tagged",
    /// Comes from a multicast or zero MAC address, or from the gateway's own.
    SourceMacInvalid => "source-mac-invalid",
    /// The destination is behind the port the frame came from.
    BridgeSamePort => "bridge-same-port",
    /// The destination MAC is neither the gateway's nor behind another port.
    MacNotForUs => "mac-not-for-us",
    /// Addressed to the gateway in a protocol that it does not speak; IPv6 is one, for now.
    EtherTypeUnsupported => "ethertype-unsupported",
    /// An ARP packet that is none for Ethernet and IPv4, or lies about its sender.
    ArpMalformed => "arp-malformed",
    /// Not a valid IPv4 header: version, lengths or options.
    Ipv4Malformed => "ipv4-malformed",
    /// The IPv4 header's checksum is wrong.
    Ipv4Checksum => "ipv4-checksum",
    /// Asks to be source-routed.
    SourceRouted => "source-routed",
    /// A source or destination address that must not be on a wire.
    Martian => "martian",
    /// The source address does not belong to the segment it came from.
    SpoofedSource => "spoofed-source",
    /// A directed broadcast or multicast that is not forwarded.
    BroadcastNotForwarded => "broadcast-not-forwarded",
    /// An IPv4 packet for somebody else on a gateway that does not route.
    Ipv4NotForUs => "ipv4-not-for-us",
    /// The time to live ended here.
    TtlExpired => "ttl-expired",
    /// No route to the destination.
    NoRoute => "no-route",
    /// Too big for the next link and not to be fragmented.
    MtuExceeded => "mtu-exceeded",
    /// Not a valid TCP, UDP or ICMP header: lengths, flags or checksum.
    TransportMalformed => "transport-malformed",
    /// A transport protocol that NAT cannot translate.
    ProtocolUnsupported => "protocol-unsupported",
    /// A fragment whose first part never came, or that overlaps, or is too small to be honest.
    FragmentInvalid => "fragment-invalid",
    /// Too many packets are being fragmented at once.
    FragmentTableFull => "fragment-table-full",
    /// From the WAN, unasked for, and claimed by no service, forward or default host.
    Unsolicited => "unsolicited",
    /// From the WAN to an open mapping, but from somebody its filtering does not admit.
    Filtered => "filtered",
    /// From the WAN to a forward that does not admit this source.
    ForwardSourceDenied => "forward-source-denied",
    /// From the WAN to an address of the LAN, past the NAT.
    LanNotReachable => "lan-not-reachable",
    /// A TCP segment that fits no state of its flow.
    TcpStateInvalid => "tcp-state-invalid",
    /// An ICMP error about a packet that nobody sent.
    IcmpUnrelated => "icmp-unrelated",
    /// The flow table is full.
    FlowTableFull => "flow-table-full",
    /// One LAN host has as many flows as it may.
    FlowHostLimit => "flow-host-limit",
    /// No external port is free for a new mapping.
    PortsExhausted => "ports-exhausted",
    /// Its packets or their replies could not be told from those of another flow.
    FlowAmbiguous => "flow-ambiguous",
    /// More packets wait for the neighbour than may.
    NeighborQueueFull => "neighbor-queue-full",
    /// The neighbour did not answer ARP.
    NeighborUnreachable => "neighbor-unreachable",
    /// The neighbour table is full.
    NeighborTableFull => "neighbor-table-full",
    /// The gateway has no address on that segment yet.
    NoAddress => "no-address",
    /// More frames were to be made than one batch holds.
    OutputFull => "output-full",
    /// The ring to the host stack is full.
    HostRingFull => "host-ring-full",
    /// The port does not take frames as fast as they come.
    PortBackpressure => "port-backpressure",
    /// The port is gone, or set down.
    PortDown => "port-down",
    /// The port refused the frame, or took only a part of it.
    PortRefused => "port-refused",
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
    /// The frames dropped for any reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.iter().map(|reason| (*reason, self[*reason]))
    }
}

impl Index<DropReason> for Drops {
    type Output = u64;

    fn index(&self, reason: DropReason) -> &u64 {
        &self.0[reason as usize]
    }
}

/// What one dataplane counted since it began.
///
/// For every frame handed in, at every moment:
/// `received = transmitted + flooded + local + consumed + held + drops.total()`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames handed in, the host stack's own included.
    pub received: u64,
    /// Frames that went out of one port.
    pub transmitted: u64,
    /// Frames that went out of several ports of their segment.
    pub flooded: u64,
    /// Frames for the host stack.
    pub local: u64,
    /// Frames that the dataplane answered or learnt from itself, or cut into fragments.
    pub consumed: u64,
    /// Frames that wait at this moment.
    pub held: u64,
    /// Frames dropped, by reason.
    pub drops: Drops,
    /// Frames that the dataplane made: ARP, ICMP errors, fragments.
    pub made: u64,
    /// Frames that it would have made but that were limited by rate or room.
    pub made_suppressed: u64,
    /// ARP packets in which somebody else claimed an address of the gateway's.
    pub address_conflicts: u64,
}

impl Counters {
    /// Counts a received frame and its verdict.
    pub fn count(&mut self, verdict: Verdict) {
        self.received += 1;
        match verdict {
            Verdict::Transmit(_) => self.transmitted += 1,
            Verdict::Flood { .. } => self.flooded += 1,
            Verdict::Local => self.local += 1,
            Verdict::Consumed => self.consumed += 1,
            Verdict::Hold => self.held += 1,
            Verdict::Drop(reason) => self.drops.0[reason as usize] += 1,
            Verdict::Pending => unreachable!("a processed frame has a verdict"),
        }
    }

    /// A held frame went out after all.
    pub fn held_transmitted(&mut self) {
        self.held -= 1;
        self.transmitted += 1;
    }

    /// A held frame was given up.
    pub fn held_dropped(&mut self, reason: DropReason) {
        self.held -= 1;
        self.drops.0[reason as usize] += 1;
    }

    /// The caller could not carry out a counted verdict.
    pub fn undeliverable(&mut self, verdict: Verdict, reason: DropReason) {
        match verdict {
            Verdict::Transmit(_) => self.transmitted -= 1,
            Verdict::Flood { .. } => self.flooded -= 1,
            Verdict::Local => self.local -= 1,
            Verdict::Pending | Verdict::Consumed | Verdict::Hold | Verdict::Drop(_) => return,
        }
        self.drops.0[reason as usize] += 1;
    }

    /// Whether every frame received is accounted for.
    pub fn balances(&self) -> bool {
        self.received
            == self.transmitted + self.flooded + self.local + self.consumed + self.held + self.drops.total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::PortId;

    #[test]
    fn every_verdict_keeps_the_balance() {
        let mut counters = Counters::default();
        for verdict in [
            Verdict::Transmit(PortId(0)),
            Verdict::Local,
            Verdict::Consumed,
            Verdict::Hold,
            Verdict::Hold,
            Verdict::Drop(DropReason::Martian),
        ] {
            counters.count(verdict);
        }
        counters.held_transmitted();
        counters.held_dropped(DropReason::NeighborUnreachable);
        counters.undeliverable(Verdict::Local, DropReason::HostRingFull);
        assert!(counters.balances());
        assert_eq!(counters.drops.total(), 3);
        assert_eq!(counters.drops[DropReason::HostRingFull], 1);
    }

    #[test]
    fn names_are_unique_and_meanings_are_sentences() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::ALL.len());
        assert!(DropReason::ALL.iter().all(|reason| reason.meaning().ends_with('.')));
    }
}
