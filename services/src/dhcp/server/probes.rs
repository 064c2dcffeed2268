//! ARP probes under way: an address is probed several times, until a host answers or the last probe times out.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::Instant;

/// The probes of an address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// Their number; the first is sent at once.
    pub probes: u8,
    /// The interval between two, and the timeout of the last.
    pub interval: Duration,
}

/// The addresses that are probed, each with the reason `T`.
#[derive(Debug)]
pub(super) struct Probes<T> {
    schedule: Schedule,
    by_address: BTreeMap<Ipv4Addr, Probed<T>>,
}

#[derive(Debug)]
struct Probed<T> {
    reason: T,
    probes_left: u8,
    due: Instant,
}

/// An action that is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due<T> {
    /// Probe the address.
    Probe(Ipv4Addr),
    /// No host has answered for the address.
    Silence(Ipv4Addr, T),
}

impl<T> Probes<T> {
    /// No address is probed.
    pub fn new(schedule: Schedule) -> Self {
        Self { schedule, by_address: BTreeMap::new() }
    }

    /// Starts to probe `address`, unless it is probed already; then the first reason stays.
    pub fn begin(&mut self, now: Instant, address: Ipv4Addr, reason: T) {
        let probes_left = self.schedule.probes;
        self.by_address.entry(address).or_insert(Probed { reason, probes_left, due: now });
    }

    /// Whether `address` is probed.
    pub fn is_pending(&self, address: Ipv4Addr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// The number of addresses that are probed.
    pub fn len(&self) -> usize {
        self.by_address.len()
    }

    /// The reasons, in the order of the addresses.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.by_address.values().map(|probed| &probed.reason)
    }

    /// The reason why `address` is probed.
    pub fn reason_mut(&mut self, address: Ipv4Addr) -> Option<&mut T> {
        self.by_address.get_mut(&address).map(|probed| &mut probed.reason)
    }

    /// Ends the probes of the addresses whose reasons `keep` does not accept.
    pub fn retain(&mut self, mut keep: impl FnMut(Ipv4Addr, &T) -> bool) {
        self.by_address.retain(|address, probed| keep(*address, &probed.reason));
    }

    /// Ends the probes of `address`; returns their reason, if it was probed.
    pub fn end(&mut self, address: Ipv4Addr) -> Option<T> {
        self.by_address.remove(&address).map(|probed| probed.reason)
    }

    /// Ends the probes of the first address whose reason satisfies `is_it`; returns the reason.
    pub fn end_of(&mut self, is_it: impl Fn(&T) -> bool) -> Option<T> {
        let (address, _) = self.by_address.iter().find(|(_, probed)| is_it(&probed.reason))?;
        self.end(*address)
    }

    /// When [`Probes::due`] has its next action.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.by_address.values().map(|probed| probed.due).min()
    }

    /// An action that is due at `now`; `None` if there is no more.
    pub fn due(&mut self, now: Instant) -> Option<Due<T>> {
        let (address, probed) = self.by_address.iter_mut().find(|(_, probed)| probed.due <= now)?;
        let address = *address;
        if probed.probes_left > 0 {
            probed.probes_left -= 1;
            probed.due = now + self.schedule.interval;
            return Some(Due::Probe(address));
        }
        self.end(address).map(|reason| Due::Silence(address, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_probed_three_times_and_then_silent() {
        let interval = Duration::from_millis(300);
        let mut probes = Probes::new(Schedule { probes: 3, interval });
        let (start, address) = (Instant::from_secs(10), Ipv4Addr::from(7));
        probes.begin(start, address, 1);
        probes.begin(start, address, 2);
        for number in 0..3 {
            let now = start + interval * number;
            assert_eq!(probes.poll_timeout(), Some(now));
            assert_eq!([probes.due(now), probes.due(now)], [Some(Due::Probe(address)), None]);
        }
        assert!(probes.is_pending(address));
        let end = start + interval * 3;
        assert_eq!(probes.due(end), Some(Due::Silence(address, 1)), "the first reason counts");
        assert_eq!((probes.due(end), probes.poll_timeout(), probes.len()), (None, None, 0));
    }
}
