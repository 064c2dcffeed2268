//! Quotas: what one source may take of the shared resources, so that no machine exhausts the pool.
//!
//! | shared | share | beyond it |
//! | --- | --- | --- |
//! | leases | of one source MAC 16, or a quarter of a pool that is smaller than 64; of a relay agent half of the pool | no further address; silence |
//! | leases | of one port of several three quarters of the pool | no further address; silence |
//! | open offers | as many as leases; [`OFFERS_MAX`](super::offers::OFFERS_MAX) in all | the source's oldest, or the oldest of the sender with the most, is evicted |
//! | probes before offers | [`PROBED_MAX`](super::unoffered::PROBED_MAX) in all | the sender with the most is offered further ones unprobed; another's takes the place of its oldest |
//! | answers to probes before offers | of one MAC for as many addresses as leases | not believed |
//! | quarantines | of one source MAC [`SOURCE_QUARANTINES_MAX`], without those where another machine answered for the address | its DECLINE ends its lease, without a quarantine |
//! | quarantines | of all a quarter of the pool | the one that ends first is ended by a DECLINE; after a probe before an offer the address is only passed over |
//!
//! Renewals and reserved addresses are exempt: known clients take precedence over new ones.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use gatepost_ground::{MacAddr, PortId};

use super::leases::LEASES_MAX;

/// The most leases of clients behind one MAC: a bridge that replaces MACs by its own, or a machine with many client
/// identifiers.
const SOURCE_LEASES_MAX: usize = 16;
/// A source's share of even the smallest pool.
const SOURCE_LEASES_MIN: usize = 4;
/// The most quarantined addresses of one source MAC. An address for which another machine has answered counts for that
/// machine.
pub const SOURCE_QUARANTINES_MAX: usize = 4;

/// The duration of a quarantine after another host has been seen to use the address.
pub const QUARANTINE_SECS: u32 = 3600;
/// The duration while less than half of the pool is free.
const QUARANTINE_SCARCE_SECS: u32 = 600;
/// The duration while less than a quarter is free, or if the DECLINE is the only evidence of a conflict.
pub const QUARANTINE_SHORT_SECS: u32 = 60;

/// The origin of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The source in its Ethernet header.
    pub mac: MacAddr,
    /// The port that received it, if known.
    pub port: Option<PortId>,
}

impl From<MacAddr> for Origin {
    fn from(mac: MacAddr) -> Self {
        Self { mac, port: None }
    }
}

impl Origin {
    /// Whether both may be one sender, by what a sender can forge least: the port if it is known, else the MAC.
    pub(super) fn is_with(&self, other: &Self) -> bool {
        match (self.port, other.port) {
            (Some(one), Some(other)) => one == other,
            _ => self.mac == other.mac,
        }
    }
}

/// The sender that occurs most in `origins`, and how often.
pub(super) fn busiest(origins: impl Iterator<Item = Origin>) -> Option<(Origin, usize)> {
    let mut counts = BTreeMap::<_, (Origin, usize)>::new();
    for origin in origins {
        // A sender is identified by its port, or else by its MAC: see `Origin::is_with`.
        let sender = (origin.port, origin.port.is_none().then_some(origin.mac));
        counts.entry(sender).or_insert((origin, 0)).1 += 1;
    }
    counts.into_values().max_by_key(|(_, count)| *count)
}

/// The number of addresses in a pool.
pub(super) fn pool_len(pool: &RangeInclusive<Ipv4Addr>) -> usize {
    let (start, end) = (u32::from(*pool.start()), u32::from(*pool.end()));
    end.checked_sub(start).and_then(|len| usize::try_from(len).ok()).map_or(0, |len| len.saturating_add(1))
}

/// The share of clients behind one MAC; of those behind a relay agent if `is_relay`.
pub(super) fn of_source(pool: &RangeInclusive<Ipv4Addr>, is_relay: bool) -> usize {
    let len = pool_len(pool);
    if is_relay {
        (len / 2).max(SOURCE_LEASES_MIN)
    } else {
        (len / 4).clamp(SOURCE_LEASES_MIN, SOURCE_LEASES_MAX)
    }
}

/// The share of clients behind one of `ports` ports.
pub(super) fn of_port(pool: &RangeInclusive<Ipv4Addr>, ports: usize) -> usize {
    let len = pool_len(pool);
    if ports > 1 { (len - len / 4).max(SOURCE_LEASES_MIN) } else { usize::MAX }
}

/// The most quarantines in a pool.
pub(super) fn quarantines(pool: &RangeInclusive<Ipv4Addr>) -> usize {
    (pool_len(pool) / 4).max(1)
}

/// The duration of a quarantine in seconds, while `free` addresses of `pool` are free.
pub(super) fn quarantine_secs(pool: &RangeInclusive<Ipv4Addr>, free: usize) -> u32 {
    match pool_len(pool) {
        len if free >= len / 2 => QUARANTINE_SECS,
        len if free >= len / 4 => QUARANTINE_SCARCE_SECS,
        _ => QUARANTINE_SHORT_SECS,
    }
}

/// The ports that last received frames of the clients with leases, known since the start.
#[derive(Debug, Default)]
pub(super) struct Ports {
    by_address: BTreeMap<Ipv4Addr, PortId>,
    by_port: BTreeMap<PortId, BTreeSet<Ipv4Addr>>,
}

impl Ports {
    /// Records that `port` received a frame of the client of `address`.
    pub fn note(&mut self, address: Ipv4Addr, port: PortId) {
        self.forget(address);
        if self.by_address.len() >= LEASES_MAX
            && let Some(first) = self.by_address.keys().next().copied()
        {
            self.forget(first);
        }
        self.by_address.insert(address, port);
        self.by_port.entry(port).or_default().insert(address);
    }

    /// The port of the client of `address`.
    pub fn of(&self, address: Ipv4Addr) -> Option<PortId> {
        self.by_address.get(&address).copied()
    }

    /// Whether `port` has at least `share` addresses that satisfy `is_taken`. Others are removed.
    pub fn has_share(&mut self, port: PortId, share: usize, is_taken: impl Fn(Ipv4Addr) -> bool) -> bool {
        let len = |ports: &Self| ports.by_port.get(&port).map_or(0, BTreeSet::len);
        if len(self) >= share {
            let free = self.by_port.get(&port).into_iter().flatten().filter(|address| !is_taken(**address));
            let free: Vec<_> = free.copied().collect();
            free.into_iter().for_each(|address| self.forget(address));
        }
        len(self) >= share
    }

    fn forget(&mut self, address: Ipv4Addr) {
        if let Some(port) = self.by_address.remove(&address)
            && let Some(addresses) = self.by_port.get_mut(&port)
        {
            addresses.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(len: u32) -> RangeInclusive<Ipv4Addr> {
        Ipv4Addr::from(1)..=Ipv4Addr::from(len)
    }

    #[test]
    fn shares_follow_the_pool() {
        let shares =
            [1, 5, 40, 100, 60_000].map(|len| (of_source(&pool(len), false), of_source(&pool(len), true)));
        assert_eq!(shares, [(4, 4), (4, 4), (10, 20), (16, 50), (16, 30_000)]);
        assert_eq!([1, 2, 100].map(|len| quarantines(&pool(len))), [1, 1, 25]);
        assert_eq!(
            [of_port(&pool(100), 1), of_port(&pool(100), 3), of_port(&pool(3), 2)],
            [usize::MAX, 75, 4]
        );
        assert_eq!([50, 49, 25, 24].map(|free| quarantine_secs(&pool(100), free)), [3600, 600, 600, 60]);
        assert_eq!(pool_len(&(Ipv4Addr::from(2)..=Ipv4Addr::from(1))), 0);
    }

    #[test]
    fn a_port_has_what_is_taken_and_an_address_one_port() {
        let mut ports = Ports::default();
        let [one, other] = [PortId(1), PortId(2)];
        (0..10).for_each(|number| ports.note(Ipv4Addr::from(number), one));
        ports.note(Ipv4Addr::from(3), other);
        assert_eq!([2, 3].map(|number| ports.of(Ipv4Addr::from(number))), [Some(one), Some(other)]);
        assert!(ports.has_share(one, 9, |_| true) && !ports.has_share(one, 10, |_| true));
        assert!(!ports.has_share(one, 9, |address| u32::from(address) > 0));
        assert_eq!(ports.of(Ipv4Addr::from(0)), None);
        assert!(!ports.has_share(PortId(3), 1, |_| true));
    }
}
