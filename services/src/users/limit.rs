//! Failed logins: how many a source has, and how many there are for a user from one network.
//!
//! A login is charged when it begins and credited when it was right, so that many at once do not get past the limit. What
//! is counted is worn off with time: see [`Limits`].
//!
//! There is no limit of a user's failures in all. By such a limit anybody who knows the user's name could keep the user
//! out from anywhere. As it is, an attacker keeps out only those who come from the attacker's own network: from other
//! networks the user logs in as ever. Of private addresses each is counted alone, as the office is one network: a guest
//! keeps nobody out at a desk. What is left to an attacker with many networks is few tries in each, against
//! passwords that are not easily guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use gatepost_ground::Instant;

/// The most sources, and users with a network, that are remembered; with more, the one whose failures are worn off first
/// is forgotten.
pub const COUNTED_MAX: usize = 8192;

/// The longest name, in octets, that can be a user's. // RFC 5321, section 4.5.3.1.1
const USER_OCTETS_MAX: usize = 64;

/// Bits of an IPv6 address that are one source: a host has all of the rest. // RFC 7421
const SOURCE_BITS_V6: u32 = 64;
/// Bits of a public address that are one network.
const NETWORK_BITS: (u32, u32) = (24, 48);
/// Bits of a private address that are one. // RFC 1918, RFC 4193
const PRIVATE_BITS: (u32, u32) = (32, SOURCE_BITS_V6);

/// How many failures there can be, and how they wear off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Failures at once.
    pub burst: u32,
    /// One wears off in this time.
    pub one_in: Duration,
}

/// The two limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one source, whoever it says it is.
    pub source: Limit,
    /// Of one user, from one network.
    pub user: Limit,
}

impl Default for Limits {
    /// An office behind one address has room for several people who have forgotten their passwords.
    fn default() -> Self {
        let one_in = Duration::from_secs(60);
        Self { source: Limit { burst: 30, one_in }, user: Limit { burst: 10, one_in } }
    }
}

/// The failures of late.
#[derive(Debug, Default)]
pub struct Failures {
    limits: Limits,
    /// When the failures of each are worn off.
    worn_off: BTreeMap<Counted, Instant>,
    /// The same, in the order of time.
    by_time: BTreeSet<(Instant, Counted)>,
}

/// For whom failures are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Counted {
    Source(IpAddr),
    User(String, IpAddr),
}

/// There were too many failures; a login is taken again after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// From now on.
    pub wait: Duration,
}

impl Failures {
    /// No failures yet, counted by `limits`.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Charges a login of `user`, who need not exist, from `source`.
    ///
    /// # Errors
    ///
    /// The login is not to be looked at, whether it is right or not; it is not charged then.
    pub fn begin(&mut self, now: Instant, source: IpAddr, user: &str) -> Result<(), TooMany> {
        let all = self.counted(source, user);
        let waits = all.iter().map(|(counted, limit)| self.wait(now, counted, *limit));
        let wait = waits.max().unwrap_or_default();
        if wait > Duration::ZERO {
            return Err(TooMany { wait });
        }
        for (counted, limit) in all {
            let until = self.worn_off.get(&counted).map_or(now, |until| (*until).max(now));
            self.set(now, counted, until + limit.one_in);
        }
        Ok(())
    }

    /// Credits what [`Failures::begin`] has charged: the login was right, or could not be looked at.
    pub fn credit(&mut self, now: Instant, source: IpAddr, user: &str) {
        for (counted, limit) in self.counted(source, user) {
            if let Some(until) = self.worn_off.get(&counted).copied() {
                self.set(now, counted, until - limit.one_in);
            }
        }
    }

    fn counted(&self, source: IpAddr, user: &str) -> [(Counted, Limit); 2] {
        let source = source.to_canonical();
        // Those who cannot be users are one, so that no name takes much memory.
        let user = if user.len() <= USER_OCTETS_MAX { user } else { "" };
        let is_private = match source {
            IpAddr::V4(address) => address.is_private(),
            IpAddr::V6(address) => address.is_unique_local(),
        };
        let bits = if is_private { PRIVATE_BITS } else { NETWORK_BITS };
        let of_user = Counted::User(user.to_owned(), prefix(source, bits));
        let of_source = Counted::Source(source_of(source));
        [(of_source, self.limits.source), (of_user, self.limits.user)]
    }

    /// How long until there is room for a further failure.
    fn wait(&self, now: Instant, counted: &Counted, limit: Limit) -> Duration {
        let until = self.worn_off.get(counted).map_or(Duration::ZERO, |until| until.since(now));
        (until + limit.one_in).saturating_sub(limit.one_in * limit.burst)
    }

    fn set(&mut self, now: Instant, counted: Counted, until: Instant) {
        if let Some(former) = self.worn_off.remove(&counted) {
            self.by_time.remove(&(former, counted.clone()));
        }
        if until <= now {
            return;
        }
        while self.worn_off.len() >= COUNTED_MAX {
            let Some((_, first)) = self.by_time.pop_first() else { break };
            self.worn_off.remove(&first);
        }
        self.by_time.insert((until, counted.clone()));
        self.worn_off.insert(counted, until);
    }
}

/// The source that `peer` counts as: its IPv4 address, or its IPv6 /64.
pub(crate) fn source_of(peer: IpAddr) -> IpAddr {
    prefix(peer.to_canonical(), PRIVATE_BITS)
}

/// The first bits of `address`: as many as there are for its family.
fn prefix(address: IpAddr, (v4, v6): (u32, u32)) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - v4).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - v6).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFICE: &str = "192.168.1.10";
    const ROAD: &str = "198.51.100.7";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(secs: u64) -> Instant {
        Instant::from_secs(1000 + secs)
    }

    /// How many logins are looked at of `count` that fail at one time.
    fn taken(failures: &mut Failures, now: Instant, count: usize, source: &str, user: &str) -> usize {
        (0..count).filter(|_| failures.begin(now, ip(source), user).is_ok()).count()
    }

    #[test]
    fn a_user_s_failures_from_one_network_are_limited_and_wear_off() {
        let mut failures = Failures::default();
        assert_eq!(taken(&mut failures, at(0), 20, ROAD, "anna"), 10);
        assert_eq!(taken(&mut failures, at(0), 1, "198.51.100.8", "anna"), 0, "it is the same network");
        assert_eq!(failures.begin(at(20), ip(ROAD), "anna"), Err(TooMany { wait: Duration::from_secs(40) }));
        assert_eq!(taken(&mut failures, at(60), 5, ROAD, "anna"), 1);
        assert_eq!(taken(&mut failures, at(10_000), 20, ROAD, "anna"), 10, "a pause brings no more");
    }

    #[test]
    fn nobody_in_the_office_keeps_a_user_out_at_another_desk() {
        let mut failures = Failures::default();
        for (guest, desk) in [("192.168.1.66", OFFICE), ("fd00:0:0:1::6", "fd00:0:0:2::1")] {
            assert_eq!(taken(&mut failures, at(0), 20, guest, "anna"), 10);
            assert_eq!(taken(&mut failures, at(0), 1, desk, "anna"), 1);
        }
    }

    #[test]
    fn nobody_keeps_a_user_out_from_elsewhere() {
        let mut failures = Failures::default();
        for network in 0..100 {
            assert_eq!(taken(&mut failures, at(0), 50, &format!("203.0.{network}.1"), "anna"), 10);
        }
        assert_eq!(taken(&mut failures, at(0), 1, OFFICE, "anna"), 1);
    }

    #[test]
    fn a_source_s_failures_are_limited_whoever_it_says_it_is() {
        let mut failures = Failures::default();
        let names = (0..100).map(|number| format!("user{number}"));
        let taken = names.filter(|name| failures.begin(at(0), ip("2001:db8::1"), name).is_ok()).count();
        assert_eq!(taken, 30);
        assert!(failures.begin(at(0), ip("2001:db8::ffff:2"), "berta").is_err(), "a host has the whole /64");
        assert!(failures.begin(at(0), ip("2001:db8:0:1::1"), "berta").is_ok());
    }

    #[test]
    fn an_ipv4_address_in_ipv6_is_the_same_source() {
        let mut failures = Failures::default();
        assert_eq!(taken(&mut failures, at(0), 10, "::ffff:192.168.1.10", "anna"), 10);
        assert_eq!(taken(&mut failures, at(0), 1, OFFICE, "anna"), 0);
    }

    #[test]
    fn right_logins_are_not_counted() {
        let mut failures = Failures::default();
        for _ in 0..1000 {
            assert_eq!(failures.begin(at(0), ip(OFFICE), "anna"), Ok(()));
            failures.credit(at(0), ip(OFFICE), "anna");
        }
        assert!(failures.worn_off.is_empty() && failures.by_time.is_empty());
        assert_eq!(taken(&mut failures, at(0), 20, OFFICE, "anna"), 10, "a login under way is charged");
    }

    #[test]
    fn when_it_is_full_the_one_whose_failures_are_worn_off_first_is_forgotten() {
        let mut failures = Failures::default();
        assert_eq!(taken(&mut failures, at(0), 20, OFFICE, "anna"), 10);
        for number in 0..u32::try_from(COUNTED_MAX).unwrap() {
            let source = Ipv4Addr::from_bits(0x0a00_0000 + number * 256);
            _ = failures.begin(at(1), source.into(), "mallory");
        }
        assert_eq!((failures.worn_off.len(), failures.by_time.len()), (COUNTED_MAX, COUNTED_MAX));
        assert_eq!(taken(&mut failures, at(1), 1, OFFICE, "anna"), 0, "who has most is not forgotten");
        assert_eq!(taken(&mut failures, at(1), 1, "10.0.0.1", "mallory"), 1);
    }

    #[test]
    fn no_name_takes_much_memory() {
        let mut failures = Failures::default();
        let long = "a".repeat(USER_OCTETS_MAX + 1);
        assert_eq!(taken(&mut failures, at(0), 20, OFFICE, &long), 10);
        assert_eq!(taken(&mut failures, at(0), 1, OFFICE, &"b".repeat(100_000)), 0);
    }
}
