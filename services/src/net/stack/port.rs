//! Port numbers: those in use, and the choice of a random free one.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rand::RngExt;
use rand::rngs::StdRng;

use super::addresses::wildcard;

/// RFC 6056, section 3.2.
const FIRST: u16 = 1024;

/// A random port for which `is_free`; `None` if there is none (RFC 6056, section 3.3.1).
pub(super) fn choose_port(rng: &mut StdRng, is_free: impl Fn(u16) -> bool) -> Option<u16> {
    let start = rng.random_range(FIRST..=u16::MAX);
    (start..=u16::MAX).chain(FIRST..start).find(|port| is_free(*port))
}

/// Whether a socket in `bound` has `port` on `address`; the unspecified address means all of its family.
pub(super) fn is_taken<T>(bound: &BTreeMap<(u16, IpAddr), T>, port: u16, address: IpAddr) -> bool {
    let wildcard = wildcard(address);
    if address == wildcard {
        let last: IpAddr = match address {
            IpAddr::V4(_) => Ipv4Addr::from_bits(u32::MAX).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(u128::MAX).into(),
        };
        bound.range((port, wildcard)..=(port, last)).next().is_some()
    } else {
        bound.contains_key(&(port, address)) || bound.contains_key(&(port, wildcard))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    /// RFC 6056, section 3.2: Ports are spread over the whole range.
    #[test]
    fn rfc6056_3_2_ports_are_spread_over_the_whole_range() {
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
    fn the_unspecified_address_means_every_one_of_its_family() {
        let families: [[IpAddr; 3]; 2] = [
            [[0; 4].into(), [10, 0, 0, 1].into(), [255; 4].into()],
            [Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into(), Ipv6Addr::from_bits(u128::MAX).into()],
        ];
        for ([wildcard, a, b], [other_wildcard, other, _]) in
            [(families[0], families[1]), (families[1], families[0])]
        {
            for bound in [a, b] {
                let one = BTreeMap::from([((53, bound), ())]);
                assert!(is_taken(&one, 53, bound) && is_taken(&one, 53, wildcard));
                assert!(!is_taken(&one, 54, wildcard) && !is_taken(&one, 53, other_wildcard));
            }
            assert!(!is_taken(&BTreeMap::from([((53, a), ())]), 53, b));
            let all = BTreeMap::from([((53, wildcard), ())]);
            assert!(is_taken(&all, 53, a) && is_taken(&all, 53, wildcard));
            assert!(!is_taken(&all, 53, other) && !is_taken(&all, 53, other_wildcard));
        }
    }
}
