//! Alerts: events that an administrator should know of. The caller of a dataplane writes them to the log.
//!
//! A peer can cause these events as often as it likes, so each kind has a rate limit, and few alerts wait at a time.
//! The [`Counters`](crate::Counters) also count the events that raise no alert.

use std::collections::VecDeque;

use gatepost_ground::{Instant, RateLimit};

use crate::config::Config;
use crate::neighbor::Claim;

/// An event that an administrator should know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// A neighbour has a new hardware address.
    NeighborMoved(Claim),
    /// A hardware address has claimed a neighbour's address, and the claim was refused.
    NeighborClaimRefused(Claim),
    /// A hardware address has claimed an address of the gateway.
    AddressConflict(Claim),
}

impl Alert {
    /// A sentence without a full stop, in which interfaces have the names that `config` gives them.
    pub fn text(&self, config: &Config) -> String {
        let (Self::NeighborMoved(claim) | Self::NeighborClaimRefused(claim) | Self::AddressConflict(claim)) =
            self;
        let Claim { interface, ip, known, claimant } = claim;
        // An alert can be older than the configuration.
        let interface = config.interfaces.get(interface.index()).map_or("", |interface| &interface.name);
        match self {
            Self::NeighborMoved(_) => format!("{ip} on the {interface} has moved from {known} to {claimant}"),
            Self::NeighborClaimRefused(_) => {
                format!("{claimant} claims {ip} on the {interface}, which is {known}'s: not believed")
            }
            Self::AddressConflict(_) => {
                format!("{claimant} on the {interface} has the gateway's address {ip}, too: give it another")
            }
        }
    }
}

/// The alerts that wait for the log.
#[derive(Clone, Debug)]
pub(crate) struct Alerts {
    waiting: VecDeque<Alert>,
    moves: RateLimit,
    refusals: RateLimit,
    conflicts: RateLimit,
}

impl Alerts {
    /// The most alerts that wait. Further ones are left out.
    pub(crate) const WAITING_MAX: usize = 16;

    pub(crate) fn new() -> Self {
        let limit = RateLimit::new(1, 5);
        let waiting = VecDeque::with_capacity(Self::WAITING_MAX);
        Self { waiting, moves: limit, refusals: limit, conflicts: limit }
    }

    /// Adds `alert`, unless its rate limit is reached.
    pub(crate) fn raise(&mut self, now: Instant, alert: Alert) {
        let limit = match alert {
            Alert::NeighborMoved(_) => &mut self.moves,
            Alert::NeighborClaimRefused(_) => &mut self.refusals,
            Alert::AddressConflict(_) => &mut self.conflicts,
        };
        if self.waiting.len() < Self::WAITING_MAX && limit.admit(now) {
            self.waiting.push_back(alert);
        }
    }

    /// The alert that has waited longest.
    pub(crate) fn pop(&mut self) -> Option<Alert> {
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use gatepost_ground::{InterfaceId, MacAddr};

    use super::*;
    use crate::config::{Mode, testing};

    const CLAIM: Claim = Claim {
        interface: InterfaceId(1),
        ip: core::net::IpAddr::V4(core::net::Ipv4Addr::new(203, 0, 113, 1)),
        known: MacAddr([2, 0, 0, 0, 0, 1]),
        claimant: MacAddr([2, 0, 0, 0, 0, 2]),
    };

    #[test]
    fn each_kind_is_limited_for_itself() {
        let mut alerts = Alerts::new();
        let mut raised = |secs, alert| {
            (0..1000).for_each(|_| alerts.raise(Instant::from_secs(secs), alert));
            core::iter::from_fn(|| alerts.pop()).filter(|raised| *raised == alert).count()
        };
        assert_eq!(raised(1000, Alert::NeighborClaimRefused(CLAIM)), 5);
        assert_eq!(raised(1000, Alert::NeighborMoved(CLAIM)), 5);
        assert_eq!(raised(1000, Alert::AddressConflict(CLAIM)), 5);
        assert_eq!(raised(1002, Alert::NeighborClaimRefused(CLAIM)), 2);
    }

    #[test]
    fn few_wait_at_one_time() {
        let mut alerts = Alerts::new();
        (0..100).for_each(|secs| alerts.raise(Instant::from_secs(1000 + secs), Alert::NeighborMoved(CLAIM)));
        assert_eq!(core::iter::from_fn(|| alerts.pop()).count(), Alerts::WAITING_MAX);
    }

    #[test]
    fn an_alert_names_who_and_where() {
        let config = testing::config(Mode::Nat);
        assert_eq!(
            Alert::NeighborClaimRefused(CLAIM).text(&config),
            "02:00:00:00:00:02 claims 203.0.113.1 on the wan, which is 02:00:00:00:00:01's: not believed"
        );
        assert_eq!(
            Alert::NeighborMoved(CLAIM).text(&config),
            "203.0.113.1 on the wan has moved from 02:00:00:00:00:01 to 02:00:00:00:00:02"
        );
        assert_eq!(
            Alert::AddressConflict(CLAIM).text(&config),
            "02:00:00:00:00:02 on the wan has the gateway's address 203.0.113.1, too: give it another"
        );
    }
}
