//! Port numbers: which are taken, and a random one that is not.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use rand::RngExt;
use rand::rngs::StdRng;

/// RFC 6056 section 3.2.
const FIRST: u16 = 1024;

/// A random port for which `is_free`; `None` if there is none (RFC 6056 section 3.3.1).
pub(super) fn choose_port(rng: &mut StdRng, is_free: impl Fn(u16) -> bool) -> Option<u16> {
    let start = rng.random_range(FIRST..=u16::MAX);
    (start..=u16::MAX).chain(FIRST..start).find(|port| is_free(*port))
}

/// Whether somebody in `bound` has `port` on `address`; the unspecified address means every one.
pub(super) fn is_taken<T>(bound: &BTreeMap<(u16, Ipv4Addr), T>, port: u16, address: Ipv4Addr) -> bool {
    if address.is_unspecified() {
        let all = (port, Ipv4Addr::UNSPECIFIED)..=(port, Ipv4Addr::BROADCAST);
        bound.range(all).next().is_some()
    } else {
        bound.contains_key(&(port, address)) || bound.contains_key(&(port, Ipv4Addr::UNSPECIFIED))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    /// RFC 6056: Ports are spread over the whole range.
    #[test]
    fn rfc6056_ports_are_spread_over_the_whole_range() {
        let mut rng = StdRng::seed_from_u64(7);
        let ports: BTreeSet<u16> = (0..200).filter_map(|_| choose_port(&mut rng, |_| true)).collect();
        assert!(ports.len() > 190);
        assert!(ports.first() < Some(&5_000) && ports.last() > Some(&60_000));
        assert!(ports.iter().all(|port| *port >= FIRST));
    }

    #[test]
    fn the_last_free_port_is_found_and_a_full_range_is_no_port() {
        let mut rng = StdRng::seed_from_u64(7);
        for free in [FIRST, 4_711, u16::MAX] {
            assert_eq!(choose_port(&mut rng, |port| port == free), Some(free));
        }
        assert_eq!(choose_port(&mut rng, |_| false), None);
    }

    #[test]
    fn the_unspecified_address_means_every_one() {
        let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let one = BTreeMap::from([((53, a), ())]);
        assert!(is_taken(&one, 53, a) && is_taken(&one, 53, Ipv4Addr::UNSPECIFIED));
        assert!(!is_taken(&one, 53, b) && !is_taken(&one, 54, Ipv4Addr::UNSPECIFIED));
        let every = BTreeMap::from([((53, Ipv4Addr::UNSPECIFIED), ())]);
        assert!(is_taken(&every, 53, a) && is_taken(&every, 53, Ipv4Addr::UNSPECIFIED));
    }
}
