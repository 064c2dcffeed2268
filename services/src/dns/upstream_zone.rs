//! The zone to which a public name is accounted, and the zones with failing servers.
//!
//! The cuts of zones are known only to their servers, and the owners of domains only to the frequently changed public
//! suffix list. The rule here is fixed and needs neither: the last two labels, or the last three below a country's
//! registry (`shop.co.uk`). Reverse names are accounted to their /16 or /32.
//!
//! A zone is *failing* after [`FAILURES_MIN`] consecutive exchanges without an answer while other names were answered,
//! until one of its names is answered, or until [`MEMORY`] has passed since the last failure.

use std::collections::BTreeMap;
use std::time::Duration;

use gatepost_ground::Instant;

use super::name::NameKey;

/// The consecutive failures after which a zone is failing.
pub const FAILURES_MIN: u32 = 3;

/// How long the last failure of a zone is remembered: the maximum of RFC 9520, section 3.2.
pub const MEMORY: Duration = Duration::from_secs(300);

/// The most zones. With one more, the one that failed least recently is removed.
pub const ZONES_MAX: usize = 1_024;

/// A zone, as the key of its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UpstreamZone(Vec<u8>);

impl UpstreamZone {
    /// The zone of `name`.
    pub fn of(name: &NameKey) -> Self {
        let mut labels = name.labels();
        let count = match (labels.next(), labels.next()) {
            // A /16 of IPv4, a /32 of IPv6.
            (Some(b"arpa"), Some(b"in-addr")) => 4,
            (Some(b"arpa"), Some(b"ip6")) => 10,
            // `co.uk`, `com.au`, `ac.jp`
            (Some(top), Some(second)) if top.len() == 2 && second.len() <= 3 => 3,
            _ => 2,
        };
        let zone = name.zones().take(count + 1).last();
        Self(zone.unwrap_or_default().to_vec())
    }
}

/// The failing zones.
#[derive(Default)]
pub struct FailingZones(BTreeMap<UpstreamZone, Failures>);

struct Failures {
    in_a_row: u32,
    last: Instant,
}

impl FailingZones {
    /// Whether `zone` is failing.
    pub fn contains(&self, now: Instant, zone: &UpstreamZone) -> bool {
        self.0
            .get(zone)
            .is_some_and(|failures| failures.in_a_row >= FAILURES_MIN && now < failures.last + MEMORY)
    }

    /// Records a failed exchange for a name of `zone`.
    pub fn note_failure(&mut self, now: Instant, zone: &UpstreamZone) {
        if let Some(failures) = self.0.get_mut(zone) {
            let before = if now < failures.last + MEMORY { failures.in_a_row } else { 0 };
            *failures = Failures { in_a_row: before.saturating_add(1), last: now };
            return;
        }
        if self.0.len() >= ZONES_MAX {
            let oldest = self.0.iter().min_by_key(|(_, failures)| failures.last);
            if let Some(oldest) = oldest.map(|(zone, _)| zone.clone()) {
                self.0.remove(&oldest);
            }
        }
        self.0.insert(zone.clone(), Failures { in_a_row: 1, last: now });
    }

    /// Records an answer for a name of `zone`.
    pub fn note_answer(&mut self, zone: &UpstreamZone) {
        self.0.remove(zone);
    }

    /// Removes all zones, as the upstream servers have changed.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::name;
    use super::*;

    fn zone(text: &str) -> UpstreamZone {
        UpstreamZone::of(&NameKey::new(&name(text)))
    }

    fn at(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    #[test]
    fn a_name_counts_under_its_registered_domain() {
        for (owner, domain) in [
            ("a.b.shop.example.", "SHOP.example."),
            ("shop.example.", "shop.example."),
            ("example.", "example."),
            (".", "."),
            ("www.shop.de.", "shop.de."),
            ("www.shop.co.uk.", "shop.co.uk."),
            ("a.www.shop.com.au.", "shop.com.au."),
            ("7.100.51.198.in-addr.arpa.", "9.9.51.198.in-addr.arpa."),
        ] {
            assert_eq!(zone(owner), zone(domain), "{owner}");
        }
        assert_ne!(zone("www.shop.co.uk."), zone("www.other.co.uk."));
        assert_ne!(zone("1.2.51.198.in-addr.arpa."), zone("1.2.52.198.in-addr.arpa."));
        let six = |last: char| zone(&format!("1.2.{last}.b.d.0.1.0.0.2.ip6.arpa."));
        assert_eq!(six('a'), zone("3.a.b.d.0.1.0.0.2.ip6.arpa."));
        assert_ne!(six('a'), six('b'));
    }

    #[test]
    fn a_zone_fails_after_some_failures_until_a_name_is_answered() {
        let (mut failing, shop) = (FailingZones::default(), zone("shop.example."));
        for _ in 0..FAILURES_MIN {
            assert!(!failing.contains(at(10), &shop));
            failing.note_failure(at(10), &shop);
        }
        assert!(failing.contains(at(10), &shop));
        assert!(!failing.contains(at(10), &zone("other.example.")));
        failing.note_answer(&shop);
        assert!(!failing.contains(at(10), &shop));
    }

    /// RFC 9520, section 3.2: A failure of a zone is cached for five minutes at most.
    #[test]
    fn rfc9520_a_zone_is_not_held_to_fail_for_longer_than_five_minutes() {
        let (mut failing, shop) = (FailingZones::default(), zone("shop.example."));
        for _ in 0..FAILURES_MIN {
            failing.note_failure(at(10), &shop);
        }
        assert!(failing.contains(at(309), &shop));
        assert!(!failing.contains(at(310), &shop));
        failing.note_failure(at(311), &shop);
        assert!(!failing.contains(at(311), &shop), "it begins anew");
    }

    #[test]
    fn when_the_table_is_full_the_zone_that_failed_longest_ago_is_forgotten() {
        let mut failing = FailingZones::default();
        let fail = |failing: &mut FailingZones, n: usize, secs: u64| {
            let shop = zone(&format!("shop{n}.example."));
            (0..FAILURES_MIN).for_each(|_| failing.note_failure(at(secs), &shop));
            shop
        };
        let oldest = fail(&mut failing, 0, 1);
        for n in 1..ZONES_MAX {
            fail(&mut failing, n, 2);
        }
        assert!(failing.contains(at(3), &oldest));
        let newest = fail(&mut failing, ZONES_MAX, 3);
        assert_eq!(failing.0.len(), ZONES_MAX);
        assert!(!failing.contains(at(3), &oldest) && failing.contains(at(3), &newest));
        failing.clear();
        assert!(!failing.contains(at(3), &newest));
    }
}
