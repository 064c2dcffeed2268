//! Response rate limiting (RRL): the answers that a network gets without proof that it sent the queries.
//!
//! Over UDP an attacker can forge a victim's address, and have the answers sent there. Clients without recursion, those
//! on the WAN, therefore get a limited number of answers: [`SAME_PER_SECOND`] alike and [`ALL_PER_SECOND`] in all for
//! each network of a /24 (IPv6: /56), by token buckets of one second. Answers are alike if they are for the same
//! existing name, or if they are denials, empty answers or errors, for any name.
//!
//! Every [`SLIP`]-th answer beyond the limit is sent without records and with TC, no longer than its query: a real
//! client then retries over TCP, whose addresses cannot be forged. The others are dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gatepost_ground::Instant;
use hickory_proto::op::ResponseCode;

use super::message::Answer;
use super::name::NameKey;

/// The answers alike for a network each second.
pub const SAME_PER_SECOND: u64 = 10;

/// The answers for a network each second.
pub const ALL_PER_SECOND: u64 = 50;

/// Of the answers beyond the limit, one in this number is sent with TC.
pub const SLIP: u64 = 5;

/// The most buckets. With one more, the least recently used one is removed: a removed network has been queried less
/// often than [`BUCKETS_MAX`] others.
pub const BUCKETS_MAX: usize = 8_192;

/// The decision about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it.
    Send,
    /// Send it without records, with TC.
    Truncate,
    /// Drop it.
    Drop,
}

/// The kind by which answers are alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Records of this name.
    Records(NameKey),
    /// NODATA: the name has no records of the type.
    Empty,
    /// NXDOMAIN: the name does not exist.
    Denial,
    /// An error.
    Error,
}

impl Kind {
    /// The kind of `answer` to a question about `name`.
    pub fn of(name: &NameKey, answer: &Answer) -> Self {
        match answer.code {
            ResponseCode::NoError if answer.answers.is_empty() => Self::Empty,
            ResponseCode::NoError => Self::Records(name.clone()),
            ResponseCode::NXDomain => Self::Denial,
            _ => Self::Error,
        }
    }
}

/// The rate limits.
#[derive(Default)]
pub struct RateLimiter {
    buckets: BTreeMap<Key, Bucket>,
    by_use: BTreeSet<(u64, Key)>,
    used: u64,
}

/// A network, and the kind of answers; `None` is the limit of all answers.
type Key = (IpAddr, Option<Kind>);

struct Bucket {
    /// Millionths of an answer.
    tokens: u64,
    filled: Instant,
    /// The number of answers beyond the limit.
    beyond: u64,
    /// The sequence number of the last use.
    used: u64,
}

const TOKEN: u64 = 1_000_000;

impl RateLimiter {
    /// Decides about an answer of `kind` to `client`, and takes tokens for it.
    pub fn check(&mut self, now: Instant, client: IpAddr, kind: Kind) -> Verdict {
        let network = network_of(client);
        let same = self.take(now, (network, Some(kind)), SAME_PER_SECOND);
        // A dropped answer takes no token of the limit for all answers.
        if same != Verdict::Send { same } else { self.take(now, (network, None), ALL_PER_SECOND) }
    }

    fn take(&mut self, now: Instant, key: Key, per_second: u64) -> Verdict {
        self.used += 1;
        let full = per_second * TOKEN;
        let new = Bucket { tokens: full, filled: now, beyond: 0, used: self.used };
        let mut bucket = match self.buckets.remove(&key) {
            Some(bucket) => {
                self.by_use.remove(&(bucket.used, key.clone()));
                bucket
            }
            None => {
                self.make_room();
                new
            }
        };
        // N tokens a second are N millionths of a token a microsecond.
        let micros = u64::try_from(now.since(bucket.filled).as_micros()).unwrap_or(u64::MAX);
        bucket.tokens = bucket.tokens.saturating_add(micros.saturating_mul(per_second)).min(full);
        bucket.filled = now;
        bucket.used = self.used;
        let verdict = match bucket.tokens.checked_sub(TOKEN) {
            Some(left) => {
                bucket.tokens = left;
                Verdict::Send
            }
            None => {
                bucket.beyond += 1;
                if bucket.beyond.is_multiple_of(SLIP) { Verdict::Truncate } else { Verdict::Drop }
            }
        };
        self.by_use.insert((bucket.used, key.clone()));
        self.buckets.insert(key, bucket);
        verdict
    }

    fn make_room(&mut self) {
        if self.buckets.len() >= BUCKETS_MAX
            && let Some((_, longest_unused)) = self.by_use.pop_first()
        {
            self.buckets.remove(&longest_unused);
        }
    }
}

/// The /24 of an IPv4 address, the /56 of an IPv6 address: the smallest usual assignments.
fn network_of(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (!0 << 8)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (!0 << 72)).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::name;
    use super::*;

    fn records(owner: &str) -> Kind {
        Kind::Records(NameKey::new(&name(owner)))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The numbers of answers that were sent, truncated and dropped.
    fn verdicts(
        limiter: &mut RateLimiter,
        now: Instant,
        answers: u64,
        kind: impl Fn(u64) -> (IpAddr, Kind),
    ) -> [u64; 3] {
        let mut counts = [0; 3];
        for n in 0..answers {
            let (client, kind) = kind(n);
            match limiter.check(now, client, kind) {
                Verdict::Send => counts[0] += 1,
                Verdict::Truncate => counts[1] += 1,
                Verdict::Drop => counts[2] += 1,
            }
        }
        counts
    }

    const START: Instant = Instant::from_secs(100);

    #[test]
    fn a_network_gets_so_many_answers_alike_and_every_fifth_of_the_rest_with_tc() {
        let mut limiter = RateLimiter::default();
        // The whole /24 shares one limit.
        let flood = |n: u64| {
            (IpAddr::from([203, 0, 113, u8::try_from(n % 256).unwrap()]), records("www.office.example."))
        };
        assert_eq!(verdicts(&mut limiter, START, 1_010, flood), [10, 200, 800]);
        let other = |_| (ip("203.0.114.1"), records("www.office.example."));
        assert_eq!(verdicts(&mut limiter, START, 10, other), [10, 0, 0]);
    }

    #[test]
    fn answers_come_back_with_time_and_do_not_pile_up() {
        let mut limiter = RateLimiter::default();
        let flood = |_| (ip("203.0.113.1"), Kind::Denial);
        assert_eq!(verdicts(&mut limiter, START, 20, flood)[0], 10);
        assert_eq!(verdicts(&mut limiter, START + Duration::from_millis(99), 1, flood)[0], 0);
        assert_eq!(verdicts(&mut limiter, START + Duration::from_millis(100), 5, flood)[0], 1);
        assert_eq!(verdicts(&mut limiter, START + Duration::from_secs(3_600), 20, flood)[0], 10);
    }

    #[test]
    fn names_that_do_not_exist_are_alike_and_names_that_do_are_not() {
        let name = NameKey::new(&name("x.office.example."));
        let denial = Answer::code(ResponseCode::NXDomain);
        assert_eq!(Kind::of(&name, &denial), Kind::Denial);
        assert_eq!(Kind::of(&name, &Answer::default()), Kind::Empty);
        assert_eq!(Kind::of(&name, &Answer::code(ResponseCode::Refused)), Kind::Error);
        let mut limiter = RateLimiter::default();
        let every_name = |n: u64| (ip("203.0.113.1"), records(&format!("n{n}.office.example.")));
        assert_eq!(verdicts(&mut limiter, START, 100, every_name), [50, 10, 40], "all answers together");
    }

    #[test]
    fn an_ipv6_network_is_a_56() {
        assert_eq!(network_of(ip("2001:db8:1:2ff::1")), network_of(ip("2001:db8:1:200::2")));
        assert_ne!(network_of(ip("2001:db8:1:2ff::1")), network_of(ip("2001:db8:1:300::1")));
    }

    #[test]
    fn a_full_table_forgets_what_was_used_longest_ago_and_not_the_victim() {
        let mut limiter = RateLimiter::default();
        let victim = |_| (ip("203.0.113.1"), Kind::Denial);
        assert_eq!(verdicts(&mut limiter, START, 10, victim)[0], 10);
        let others = u64::try_from(BUCKETS_MAX).unwrap();
        for n in 0..others {
            let network = Ipv4Addr::from_bits(u32::try_from(n << 8).unwrap());
            limiter.check(START, network.into(), Kind::Error);
            if n % 1_000 == 0 {
                assert_eq!(verdicts(&mut limiter, START, 1, victim)[0], 0, "{n}");
            }
        }
        assert_eq!((limiter.buckets.len(), limiter.by_use.len()), (BUCKETS_MAX, BUCKETS_MAX));
        assert_eq!(verdicts(&mut limiter, START, 1, victim)[0], 0);
        let first = |_| (ip("0.0.0.1"), Kind::Error);
        assert_eq!(verdicts(&mut limiter, START, 11, first)[0], 10, "it was forgotten");
    }
}
