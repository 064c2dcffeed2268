//! The machines that answer ARP probes of addresses that are to be offered.
//!
//! A machine that answers every probe, such as a router with proxy ARP or an attacker, would leave no address to offer.
//! So a machine is believed for as many addresses as it may lease ([`shares::of_source`](super::shares::of_source)): a
//! host with several manually configured addresses, or a bridge that replaces MACs by its own, has no more. Its answers
//! for others are ignored, until it has not answered for one of its addresses for an hour.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::Instant;

use super::shares::{Origin, QUARANTINE_SECS};

/// The most machines that are remembered. When one more answers, the one that has been silent longest is forgotten.
const ANSWERERS_MAX: usize = 256;
/// How long an answer is remembered: as long as the quarantine that it causes.
const REMEMBERED_FOR: Duration = Duration::from_secs(QUARANTINE_SECS as u64);

/// The believed answers of the last hour, by machine. A machine is a MAC at a port: others may forge its MAC.
#[derive(Debug, Default)]
pub(super) struct Answerers {
    by_origin: BTreeMap<Origin, BTreeMap<Ipv4Addr, Instant>>,
}

impl Answerers {
    /// Records that the machine `by` answers for `address`, and returns whether to believe that: it answers for at most
    /// `addresses_max` addresses.
    pub fn believe(&mut self, now: Instant, by: Origin, address: Ipv4Addr, addresses_max: usize) -> bool {
        self.by_origin.retain(|_, addresses| {
            addresses.retain(|_, at| now.since(*at) < REMEMBERED_FOR);
            !addresses.is_empty()
        });
        if self.by_origin.len() >= ANSWERERS_MAX
            && !self.by_origin.contains_key(&by)
            && let Some(silent) = self.longest_silent()
        {
            self.by_origin.remove(&silent);
        }
        let addresses = self.by_origin.entry(by).or_default();
        let is_believed = addresses.len() < addresses_max || addresses.contains_key(&address);
        if is_believed {
            addresses.insert(address, now);
        }
        is_believed
    }

    fn longest_silent(&self) -> Option<Origin> {
        let last = |addresses: &BTreeMap<_, Instant>| addresses.values().max().copied();
        self.by_origin.iter().min_by_key(|(_, addresses)| last(addresses)).map(|(origin, _)| *origin)
    }
}

#[cfg(test)]
mod tests {
    use gatepost_ground::{MacAddr, PortId};

    use super::*;

    const NOW: Instant = Instant::from_secs(1000);

    fn machine(number: u16) -> Origin {
        let [high, low] = number.to_be_bytes();
        Origin { mac: MacAddr([2, 0, 0, 0, high, low]), port: Some(PortId(1)) }
    }

    #[test]
    fn a_machine_is_believed_for_its_share_of_addresses_for_an_hour() {
        let mut answerers = Answerers::default();
        let mut believed = |secs, numbers: std::ops::Range<u32>| {
            let now = NOW + Duration::from_secs(secs);
            numbers.filter(|number| answerers.believe(now, machine(1), Ipv4Addr::from(*number), 4)).count()
        };
        assert_eq!(believed(0, 1..10), 4);
        assert_eq!(believed(3599, 4..6), 1, "one of the four, and another");
        assert_eq!(believed(3600, 5..10), 3, "three were not answered for again");
        let forger = Origin { port: Some(PortId(2)), ..machine(1) };
        for (other, why) in [(machine(2), "another machine"), (forger, "the MAC at another port")] {
            assert!(answerers.believe(NOW, other, Ipv4Addr::from(9), 4), "{why}");
        }
    }

    #[test]
    fn machines_are_bounded_and_the_longest_silent_one_is_forgotten() {
        let mut answerers = Answerers::default();
        let mut at = |number: u16, secs| {
            let now = NOW + Duration::from_secs(secs);
            answerers.believe(now, machine(number), Ipv4Addr::from(u32::from(number)), 1);
            answerers.by_origin.len()
        };
        let last = u16::try_from(ANSWERERS_MAX).unwrap();
        assert_eq!((0..last).map(|number| at(number, u64::from(number))).max(), Some(ANSWERERS_MAX));
        at(0, 300);
        assert_eq!(at(last, 300), ANSWERERS_MAX);
        let known = [0, 1].map(|number| answerers.by_origin.contains_key(&machine(number)));
        assert_eq!(known, [true, false]);
    }
}
