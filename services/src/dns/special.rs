//! Special-use names and private addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Domains that do not exist in DNS: RFC 6761, sections 6.2 and 6.4, RFC 6762, section 22.1 (`local`), RFC 7686
/// (`onion`), RFC 9476 (`alt`).
pub const ABSENT_ZONES: [&str; 5] = ["test.", "invalid.", "local.", "onion.", "alt."];

/// Domains that exist, are empty and never leave the office: the reverse zones of RFC 6303, section 4, and RFC 7793,
/// and those of RFC 8375 (`home.arpa`), RFC 9665 (`service.arpa`) and RFC 8880 (`ipv4only.arpa`).
pub fn empty_zones() -> impl Iterator<Item = String> {
    const SINGLE: [&str; 18] = [
        "10.in-addr.arpa.",
        "168.192.in-addr.arpa.",
        "0.in-addr.arpa.",
        "127.in-addr.arpa.",
        "254.169.in-addr.arpa.",
        "2.0.192.in-addr.arpa.",
        "100.51.198.in-addr.arpa.",
        "113.0.203.in-addr.arpa.",
        "255.255.255.255.in-addr.arpa.",
        "d.f.ip6.arpa.",
        "8.b.d.0.1.0.0.2.ip6.arpa.",
        "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.",
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.",
        "home.arpa.",
        "service.arpa.",
        "ipv4only.arpa.",
        "170.0.0.192.in-addr.arpa.",
        "171.0.0.192.in-addr.arpa.",
    ];
    let single = SINGLE.into_iter().map(str::to_owned);
    let private = (16..32).map(|octet| format!("{octet}.172.in-addr.arpa."));
    let shared = (64..128).map(|octet| format!("{octet}.100.in-addr.arpa."));
    let link_local = ["8", "9", "a", "b"].into_iter().map(|nibble| format!("{nibble}.e.f.ip6.arpa."));
    single.chain(private).chain(shared).chain(link_local)
}

/// The zone in which every name exists and has no records, since there is no designated resolver (RFC 9462, section 4).
pub const RESOLVER_ZONE: &str = "resolver.arpa.";

/// The name that tells hosts the prefix of a NAT64 (RFC 7050), and its addresses; it has others only behind one (RFC
/// 8880, section 7.1).
pub const IPV4ONLY: (&str, [Ipv4Addr; 2]) =
    ("ipv4only.arpa.", [Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)]);

/// Whether `address` cannot be that of a public name: it is private, link-local, loopback or unspecified. Shared
/// address space (RFC 6598) is excepted, since providers use it for their own services.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => is_private_v6(v6),
    }
}

/// Whether a DNS blocklist answers with `address`: 127.0.0.2 to 127.255.255.255. (RFC 5782, section 2.1)
pub fn is_blocklist_answer(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.is_loopback() && v4 > Ipv4Addr::LOCALHOST)
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    address.is_private() || address.is_loopback() || address.is_link_local() || address.octets()[0] == 0
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    address.is_loopback()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || address.to_ipv4_mapped().is_some_and(is_private_v4)
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Name;

    use super::*;

    #[test]
    fn every_zone_is_a_name() {
        let others = ABSENT_ZONES.into_iter().chain([RESOLVER_ZONE, IPV4ONLY.0]).map(str::to_owned);
        for zone in empty_zones().chain(others) {
            assert!(Name::from_ascii(&zone).unwrap().is_fqdn(), "{zone}");
        }
    }

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        for private in ["10.1.2.3", "172.31.0.1", "192.168.1.1", "127.0.0.1", "169.254.1.1", "0.1.2.3"] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for private in ["::1", "::", "fd00::1", "fe80::1", "::ffff:192.168.1.1", "::ffff:127.0.0.2"] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in ["172.32.0.1", "203.0.113.1", "100.64.0.1", "2001:db8::1", "::ffff:203.0.113.1"] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }

    /// RFC 5782, section 2.1: Blocklists answer with loopback addresses other than that of this host.
    #[test]
    fn rfc5782_2_1_blocklists_answer_with_loopback_addresses_other_than_that_of_this_host() {
        for other in ["127.0.0.0", "127.0.0.1", "128.0.0.0", "10.0.0.2", "::1", "::ffff:127.0.0.2"] {
            assert!(!is_blocklist_answer(other.parse().unwrap()), "{other}");
        }
        for answer in ["127.0.0.2", "127.255.255.255"] {
            assert!(is_blocklist_answer(answer.parse().unwrap()), "{answer}");
        }
    }
}
