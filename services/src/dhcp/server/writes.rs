//! Rate limits of a sender's changes of leases.
//!
//! Each change is synced to the disk before it is answered, and all clients share the disk. So changes are limited by
//! what a sender can forge least:
//!
//! | change | limit | beyond it |
//! | --- | --- | --- |
//! | renewal, or an address that is reserved for the client | of one address 64, then one in 10 s | the client is told the rest of its lease, which is on disk; a reservation for some minutes |
//! | any other | of one source MAC 256, then 2 a second; a relay agent has the limit of its port | silence, and nothing changes |
//! | any other | of one port 512, then 16 a second | the same |
//!
//! Changes of known leases do not count against MAC or port: they are served beside a flood behind the same port. An
//! unwritten renewal follows a written one closely, so the client gets nearly the whole time.

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr, PortId, RateLimit};

use super::shares::Origin;
use crate::limits::Limits;

/// Changes of one address: more than a client needs that its user restarts again and again.
const OF_ADDRESS: RateLimit = RateLimit::once_in(Duration::from_secs(10), 64);
/// Other changes by one source MAC.
const OF_SOURCE: RateLimit = RateLimit::new(2, 256);
/// Other changes by one port: a whole office that starts at once, twice.
const OF_PORT: RateLimit = RateLimit::new(16, 512);

/// The rate limits. When more addresses, or source MACs, come than can be tracked, these limits start afresh: the
/// port's limit still holds, and a sender has no more leases than its share.
#[derive(Debug)]
pub(super) struct Writes {
    of_address: Limits<Ipv4Addr>,
    of_source: Limits<MacAddr>,
    of_port: Limits<Option<PortId>>,
}

impl Writes {
    /// Limits with all tokens available.
    pub fn new() -> Self {
        Self {
            of_address: Limits::new(OF_ADDRESS),
            of_source: Limits::new(OF_SOURCE),
            of_port: Limits::new(OF_PORT),
        }
    }

    /// Takes a token for a lease of `address` to the client that has it, or for which it is reserved; `false` if there
    /// is none.
    pub fn admit_known(&mut self, now: Instant, address: Ipv4Addr) -> bool {
        self.of_address.admit(now, address)
    }

    /// Takes a token for another change by a message from `origin`, relayed or not; `false` if there is none.
    pub fn admit(&mut self, now: Instant, origin: Origin, is_relayed: bool) -> bool {
        (is_relayed || self.of_source.admit(now, origin.mac)) && self.of_port.admit(now, origin.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_secs(1000);

    fn mac(number: u32) -> MacAddr {
        let [a, b, c, d] = number.to_be_bytes();
        MacAddr([2, 0, a, b, c, d])
    }

    fn at(number: u32, port: u8) -> Origin {
        Origin { mac: mac(number), port: Some(PortId(port)) }
    }

    #[test]
    fn an_address_a_source_and_a_port_have_their_limits() {
        let mut writes = Writes::new();
        let mut renewals = |secs| {
            let now = NOW + Duration::from_secs(secs);
            (0..1000).filter(|_| writes.admit_known(now, Ipv4Addr::from(7))).count()
        };
        assert_eq!([0, 9, 10, 40].map(&mut renewals), [64, 0, 1, 3]);
        let mut writes = Writes::new();
        let mut changes = |numbers: core::ops::Range<u32>, port| {
            numbers.filter(|number| writes.admit(NOW, at(number / 1000, port), false)).count()
        };
        assert_eq!(changes(0..1000, 1), 256, "of one MAC");
        assert_eq!(changes(1000..10_000, 1), 256, "the rest of its port");
        assert_eq!(changes(10_000..11_000, 2), 256, "another port");
        assert!(
            !writes.admit(NOW, at(10, 2), false) && writes.admit(NOW, at(10, 2), true),
            "by a relay agent"
        );
    }

    #[test]
    fn forged_sources_are_bounded_by_their_port() {
        let mut writes = Writes::new();
        let admitted = (0..100_000).filter(|number| writes.admit(NOW, at(*number, 1), false)).count();
        assert_eq!(admitted, 512);
        assert!(writes.admit(NOW, at(1, 2), false));
    }
}
