//! The rate limits of echo replies: to one address, and to all addresses together. (RFC 1812, section 4.3.2.8)
//!
//! The source of an echo request can be forged, so that the replies go to a victim. RFC 1812 requires a limit for
//! errors; RFC 4443, section 2.4, describes the token bucket that the gateway uses for errors and echo replies.
//!
//! The buckets of addresses of both families are in a table of fixed size; a keyed hash of the address picks the
//! bucket. Addresses that share a bucket share its rate, and no host outside can tell which addresses do. An IPv6 /64
//! network counts as one address, as every host in it can have any number of addresses.

use core::net::IpAddr;

use ahash::RandomState;

use crate::rate_limit::RateLimit;
use crate::time::Instant;

/// Limits echo replies by destination and in all.
#[derive(Clone, Debug)]
pub struct EchoLimit {
    all: RateLimit,
    destinations: Box<[RateLimit]>,
    hasher: RandomState,
}

impl EchoLimit {
    /// Replies to one address per second. A path test with `ping -i 0.02` gets all of its replies.
    pub const PER_DESTINATION: u32 = 50;
    /// Replies to one address that may go out at once after a pause.
    pub const PER_DESTINATION_BURST: u32 = 50;
    /// Replies to all addresses per second.
    pub const PER_SEC: u32 = 1000;
    /// Replies to all addresses that may go out at once after a pause.
    pub const BURST: u32 = 500;
    /// The number of buckets for addresses.
    pub const BUCKETS: usize = 1024;

    /// One of `parts` equal parts of the limit for all addresses, with full buckets. Each part has the whole limit
    /// for one address. The secret `seed` keys the hash.
    pub fn new(seed: [u8; 32], parts: u8) -> Self {
        let word = |at: usize| (0..8).fold(0, |word, byte| word << 8 | u64::from(seed[at * 8 + byte]));
        // All requests from one address may come to one worker, which then has to answer them all.
        let of_one = RateLimit::new(Self::PER_DESTINATION, Self::PER_DESTINATION_BURST);
        Self {
            all: RateLimit::new(Self::PER_SEC, Self::BURST).divided(parts),
            destinations: vec![of_one; Self::BUCKETS].into(),
            hasher: RandomState::with_seeds(word(0), word(1), word(2), word(3)),
        }
    }

    /// Whether a reply to `destination` may be sent now. If so, counts the reply.
    pub fn admit(&mut self, now: Instant, destination: impl Into<IpAddr>) -> bool {
        let hash = match destination.into() {
            IpAddr::V4(address) => self.hasher.hash_one(address.to_bits()),
            IpAddr::V6(address) => self.hasher.hash_one((address.to_bits() >> 64) as u64),
        };
        let bucket = hash as usize % Self::BUCKETS;
        self.destinations[bucket].admit(now) && self.all.admit(now)
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const VICTIM: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

    fn limit(parts: u8) -> EchoLimit {
        EchoLimit::new([7; 32], parts)
    }

    #[test]
    fn one_destination_gets_its_rate_and_others_theirs() {
        let mut limit = limit(1);
        let mut admitted = |secs, destination: u32, count: u32| {
            let now = Instant::from_secs(secs);
            (0..count).filter(|_| limit.admit(now, Ipv4Addr::from_bits(destination))).count()
        };
        assert_eq!(admitted(10, VICTIM.to_bits(), 1000), 50);
        assert_eq!(admitted(10, 1, 10), 10, "another's");
        assert_eq!(admitted(11, VICTIM.to_bits(), 1000), 50);
        assert_eq!(admitted(100, VICTIM.to_bits(), 1000), 50, "a pause fills no more than the bucket");
    }

    #[test]
    fn all_together_get_no_more_than_the_rate_of_all() {
        let mut limit = limit(1);
        let mut admitted =
            |now| (0..100_000_u32).filter(|host| limit.admit(now, Ipv4Addr::from_bits(*host))).count();
        assert_eq!(admitted(Instant::from_secs(10)), 500);
        assert_eq!(admitted(Instant::from_millis(10_100)), 100);
    }

    #[test]
    fn several_parts_share_the_rate_of_all_and_each_has_that_of_an_address() {
        let now = Instant::from_secs(10);
        let mut parts = [limit(4), limit(4), limit(4), limit(4)];
        assert_eq!((0..1000).filter(|_| parts[0].admit(now, VICTIM)).count(), 50);
        let hosts = |part: &mut EchoLimit| {
            (0..10_000_u32).filter(|host| part.admit(now, Ipv4Addr::from_bits(*host))).count()
        };
        let admitted: usize = parts.iter_mut().map(hosts).sum();
        assert_eq!(50 + admitted, EchoLimit::BURST as usize);
    }

    #[test]
    fn which_addresses_share_a_bucket_depends_on_the_secret() {
        let shares_with_victim = |seed: u8| {
            let (mut limit, now) = (EchoLimit::new([seed; 32], 1), Instant::from_secs(10));
            while limit.admit(now, VICTIM) {}
            let hosts = (0..400_u32).map(Ipv4Addr::from_bits);
            hosts.filter(|host| !limit.admit(now, *host)).collect::<Vec<_>>()
        };
        assert_eq!(shares_with_victim(7), shares_with_victim(7));
        assert_ne!(shares_with_victim(7), shares_with_victim(8));
    }

    #[test]
    fn a_network_of_ipv6_gets_the_rate_of_one_destination() {
        let now = Instant::from_secs(1);
        let address = |network, host| Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, host);
        let mut limit = limit(1);
        let mut admitted =
            |network| (0..400).filter(|host| limit.admit(now, address(network, *host))).count();
        assert_eq!(admitted(7), EchoLimit::PER_DESTINATION_BURST as usize);
        assert_eq!(admitted(8), EchoLimit::PER_DESTINATION_BURST as usize);
        assert!(limit.admit(now, VICTIM), "the other family's have theirs");
    }
}
