//! Limits of failed logins for each source, and for each user and network.
//!
//! A login is charged when it begins and credited when it succeeds, so that concurrent tries do not bypass the limit.
//! Charges expire with time: see [`Limits`].
//!
//! A user has no limit over all networks: with one, anybody who knows the user's name could lock the user out. As it
//! is, an attacker locks out only clients in the attacker's own network; from other networks the user still logs in.
//! Private addresses are counted one by one, as the office is one network: a guest locks out nobody at a desk. An
//! attacker with many networks has few tries in each, against passwords that are not easily guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use gatepost_ground::Instant;

/// The most sources, and users with a network, that are tracked; with more, the one whose failures expire first is
/// dropped.
pub const COUNTED_MAX: usize = 8192;

/// The longest user name, in octets. (RFC 5321, section 4.5.3.1.1)
const USER_OCTETS_MAX: usize = 64;

/// The prefix of one IPv6 source: a host has the remaining bits. (RFC 7421)
const SOURCE_BITS_V6: u32 = 64;
/// The prefixes of a network of public addresses, for IPv4 and IPv6.
const NETWORK_BITS: (u32, u32) = (24, 48);
/// The prefixes of a network of private addresses. (RFC 1918; RFC 4193)
const PRIVATE_BITS: (u32, u32) = (32, SOURCE_BITS_V6);

/// A token bucket of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The failures that may come at once.
    pub burst: u32,
    /// The time in which one failure expires.
    pub one_in: Duration,
}

/// The two limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For one source, with any user name.
    pub source: Limit,
    /// For one user from one network.
    pub user: Limit,
}

impl Default for Limits {
    /// Several people behind one address may have forgotten their passwords.
    fn default() -> Self {
        let one_in = Duration::from_secs(60);
        Self { source: Limit { burst: 30, one_in }, user: Limit { burst: 10, one_in } }
    }
}

/// Recent failures.
#[derive(Debug, Default)]
pub struct Failures {
    limits: Limits,
    /// When all failures of a key have expired.
    worn_off: BTreeMap<Counted, Instant>,
    /// The same in the order of time.
    by_time: BTreeSet<(Instant, Counted)>,
}

/// The keys by which failures are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Counted {
    Source(IpAddr),
    User(String, IpAddr),
}

/// There were too many failures; the next login is allowed after `wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// The time to wait.
    pub wait: Duration,
}

impl Failures {
    /// No failures yet, counted by `limits`.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Charges a login of `user`, which need not exist, from `source`.
    ///
    /// # Errors
    ///
    /// The login must be rejected without a check; it is not charged.
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

    /// Reverts the charge of [`Failures::begin`]: the login succeeded, or could not be checked.
    pub fn credit(&mut self, now: Instant, source: IpAddr, user: &str) {
        for (counted, limit) in self.counted(source, user) {
            if let Some(until) = self.worn_off.get(&counted).copied() {
                self.set(now, counted, until - limit.one_in);
            }
        }
    }

    fn counted(&self, source: IpAddr, user: &str) -> [(Counted, Limit); 2] {
        let source = source.to_canonical();
        // Names that cannot be users' share one key, so that no name takes much memory.
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

    /// The time until a further failure is allowed.
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

/// The source of `peer`: its IPv4 address, or its IPv6 /64.
pub(crate) fn source_of(peer: IpAddr) -> IpAddr {
    prefix(peer.to_canonical(), PRIVATE_BITS)
}

/// The prefix of `address`, of the length for its family.
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

    /// How many of `count` failing logins at one time are checked.
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
