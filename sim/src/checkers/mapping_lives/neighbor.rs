//! The hosts of the LAN that the gateway has to resolve by ARP.

use std::time::Duration;

use gatepost_dataplane::neighbor::NeighborTable;
use gatepost_ground::Instant;

/// From the last question to a neighbour who does not answer until he is asked for anew.
const SILENCE: Duration =
    NeighborTable::RETRANSMISSION.checked_add(NeighborTable::UNREACHABLE).expect("some seconds");

/// When the gateway asked for a neighbour, and when that spoke.
#[derive(Clone, Copy, Default)]
pub struct Neighbor {
    pub asked_at: Option<Instant>,
    pub heard_at: Option<Instant>,
}

impl Neighbor {
    /// Whether the gateway has asked for it and got no answer yet.
    pub fn is_sought(&self) -> bool {
        self.asked_at.is_some() && self.asked_at >= self.heard_at
    }

    /// Whether the gateway asks for it at `now`, or has just done so in vain and asks no more for a while.
    /// Packets for it come back as unreachable then.
    pub fn is_silent(&self, now: Instant) -> bool {
        self.is_sought() && self.asked_at.is_some_and(|asked| now <= asked + SILENCE)
    }
}
