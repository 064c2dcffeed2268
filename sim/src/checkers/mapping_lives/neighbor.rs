//! The hosts of the LAN that the gateway has to resolve by ARP.

use std::time::Duration;

use gatepost_dataplane::neighbor::NeighborTable;
use gatepost_ground::Instant;

/// The time from the last ARP request to a silent neighbour until the gateway resolves it again.
const SILENCE: Duration =
    NeighborTable::RETRANSMISSION.checked_add(NeighborTable::UNREACHABLE).expect("some seconds");

/// When the gateway last sent an ARP request for a neighbour, and when the neighbour last sent ARP.
#[derive(Clone, Copy, Default)]
pub struct Neighbor {
    pub asked_at: Option<Instant>,
    pub heard_at: Option<Instant>,
}

impl Neighbor {
    /// Whether an ARP request for it is unanswered.
    pub fn is_sought(&self) -> bool {
        self.asked_at.is_some() && self.asked_at >= self.heard_at
    }

    /// Whether the gateway resolves it at `now`, or has just failed to and does not retry yet. Packets to it cause
    /// "host unreachable" then.
    pub fn is_silent(&self, now: Instant) -> bool {
        self.is_sought() && self.asked_at.is_some_and(|asked| now <= asked + SILENCE)
    }
}
