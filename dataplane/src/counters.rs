//! The counters of frames: every frame is accounted for.

use crate::drop_reason::{DropReason, Drops};
use crate::verdict::Verdict;

gatepost_ground::counters! {
/// The counters of one dataplane since its start, or the sums of several.
///
/// For every frame handed in, at every moment: `received + taken_over = transmitted + flooded + local + consumed +
/// held + drops.total() + handed_over`. Summed over the workers of a gateway, `handed_over` is `taken_over` plus the
/// frames that are between workers.
pub struct Counters {
    /// Frames handed in, the host stack's own included.
    pub received: u64,
    /// Frames that other workers handed over.
    pub taken_over: u64,
    /// Frames that went out of one port.
    pub transmitted: u64,
    /// Frames that went out of several ports of their interface.
    pub flooded: u64,
    /// Frames for the gateway itself: for its host stack, its DHCP server or its DHCP client.
    pub local: u64,
    /// Frames that went no further, as the dataplane has dealt with them: ARP for the gateway, packets that were sent
    /// as fragments, quotes of packets about which it sent an ICMP error.
    pub consumed: u64,
    /// Frames that wait at this moment.
    pub held: u64,
    /// Frames handed over to other workers.
    pub handed_over: u64,
    /// Frames that the dataplane made: ARP, ICMP errors, TCP resets, fragments.
    pub made: u64,
    /// Frames that the dataplane did not make because of a rate limit or lack of room.
    pub made_suppressed: u64,
    /// TCP resets that the dataplane made for LAN hosts that sent segments of a connection without a flow. They are
    /// among the frames that the dataplane made.
    pub tcp_resets_made: u64,
    /// Unanswered or ended flows that the dataplane dropped to make room for new ones.
    pub flows_recycled: u64,
    /// ARP packets in which another station claimed an address of the gateway.
    pub address_conflicts: u64,
    /// Known neighbours that have changed their hardware address.
    pub neighbor_changes: u64,
    /// Claims to a neighbour's address by another hardware address that were refused.
    pub neighbor_claims_refused: u64,
    /// Timers, notices, leases, configurations and commands that the dataplane gave up because of an internal fault. A
    /// frame at which a stage fails is not counted here: it is dropped as internal-error.
    pub tasks_given_up: u64,
    #[serde(skip)]
    /// Frames dropped, by reason.
    pub drops: Drops,
}
}

impl Counters {
    /// Counts a received frame and its verdict.
    pub fn count(&mut self, verdict: Verdict) {
        self.received += 1;
        match verdict {
            Verdict::Transmit(_) => self.transmitted += 1,
            Verdict::Flood { .. } => self.flooded += 1,
            Verdict::Local(_) => self.local += 1,
            Verdict::Consumed => self.consumed += 1,
            Verdict::Hold => self.held += 1,
            Verdict::Drop(reason) => self.drops.count(reason),
            Verdict::HandOver(_) => self.handed_over += 1,
            Verdict::Pending => {
                debug_assert!(false, "a processed frame has a verdict");
                self.drops.count(DropReason::InternalError);
            }
        }
    }

    /// Corrects the last count: another worker had handed the frame over.
    pub fn was_taken_over(&mut self) {
        self.received -= 1;
        self.taken_over += 1;
    }

    /// Counts a released frame that went out.
    pub fn held_transmitted(&mut self) {
        self.held -= 1;
        self.transmitted += 1;
    }

    /// Counts a released frame that went to the gateway itself.
    pub fn held_delivered(&mut self) {
        self.held -= 1;
        self.local += 1;
    }

    /// Counts a released frame that went to another worker.
    pub fn held_handed_over(&mut self) {
        self.held -= 1;
        self.handed_over += 1;
    }

    /// Counts a held frame that was dropped.
    pub fn held_dropped(&mut self, reason: DropReason) {
        self.held -= 1;
        self.drops.count(reason);
    }

    /// Counts a frame that the caller dropped for `reason`: it could not carry out a counted verdict, or
    /// ([`Verdict::Pending`]) could not hand the frame in. Returns `false`, and counts nothing, for a verdict that
    /// leaves nothing to carry out.
    pub fn undeliverable(&mut self, verdict: Verdict, reason: DropReason) -> bool {
        match verdict {
            Verdict::Transmit(_) => self.transmitted -= 1,
            Verdict::Flood { .. } => self.flooded -= 1,
            Verdict::Local(_) => self.local -= 1,
            Verdict::HandOver(_) => self.handed_over -= 1,
            Verdict::Pending => self.received += 1,
            Verdict::Consumed | Verdict::Hold | Verdict::Drop(_) => return false,
        }
        self.drops.count(reason);
        true
    }

    /// Whether every frame received is accounted for.
    pub fn balances(&self) -> bool {
        let gone = self.transmitted + self.flooded + self.local + self.consumed + self.handed_over;
        self.received + self.taken_over == gone + self.held + self.drops.total()
    }
}

#[cfg(test)]
mod tests {
    use gatepost_ground::PortId;

    use super::*;
    use crate::verdict::LocalClass;

    #[test]
    fn every_verdict_keeps_the_balance() {
        let mut counters = Counters::default();
        for verdict in [
            Verdict::Transmit(PortId(0)),
            Verdict::Local(LocalClass::Stack),
            Verdict::Consumed,
            Verdict::Hold,
            Verdict::Hold,
            Verdict::Hold,
            Verdict::Drop(DropReason::Martian),
            Verdict::HandOver(1),
            Verdict::HandOver(2),
        ] {
            counters.count(verdict);
        }
        counters.held_transmitted();
        counters.held_delivered();
        counters.held_dropped(DropReason::NeighborUnreachable);
        counters.undeliverable(Verdict::Local(LocalClass::DhcpServer), DropReason::HostRingFull);
        counters.undeliverable(Verdict::HandOver(2), DropReason::WorkerRingFull);
        counters.undeliverable(Verdict::Pending, DropReason::OffloadInvalid);
        counters.count(Verdict::Local(LocalClass::DhcpClientProbe));
        counters.was_taken_over();
        assert!(counters.balances());
        assert_eq!((counters.held, counters.local, counters.drops.total()), (0, 2, 5));
        assert_eq!((counters.received, counters.taken_over, counters.handed_over), (10, 1, 1));
        assert_eq!(counters.drops[DropReason::HostRingFull], 1);
    }

    #[test]
    fn the_sum_of_what_balances_balances() {
        let (mut one, mut other) = (Counters::default(), Counters::default());
        one.count(Verdict::HandOver(1));
        one.count(Verdict::Drop(DropReason::Martian));
        for verdict in [Verdict::Hold, Verdict::Drop(DropReason::Martian)] {
            other.count(verdict);
            other.was_taken_over();
        }
        one += &other;
        assert!(one.balances());
        assert_eq!((one.received, one.taken_over, one.handed_over, one.held), (2, 2, 1, 1));
        assert_eq!(one.drops[DropReason::Martian], 2);
    }
}
