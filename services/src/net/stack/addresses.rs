//! The stack's own addresses, and the choice of a source address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The addresses with their networks, the preferred last. The last one of each family is the source for destinations
/// outside these networks.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    networks: Vec<IpNet>,
}

impl Addresses {
    /// The most addresses; set in `.cargo/config.toml`, for smoltcp fixes it when it is compiled.
    pub(super) const COUNT_MAX: usize = 8;

    /// Takes over the addresses that a host can have, without unspecified, multicast and broadcast ones.
    pub(super) fn new(networks: &[IpNet]) -> Self {
        let is_usable = |network: &&IpNet| {
            let address = network.addr();
            !address.is_unspecified() && is_unicast(address)
        };
        Self { networks: networks.iter().filter(is_usable).take(Self::COUNT_MAX).copied().collect() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = IpNet> {
        self.networks.iter().copied()
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.addr() == address)
    }

    /// Whether `address` is the limited broadcast address or that of an own network; if several networks contain it,
    /// of the last one. IPv6 has none.
    pub(super) fn is_broadcast(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else { return false };
        let mut networks = self.networks.iter().filter_map(|network| match network {
            IpNet::V4(network) => Some(*network),
            IpNet::V6(_) => None,
        });
        let last = networks.rfind(|network| network.contains(&address));
        // A network of one or two addresses has no broadcast address. (RFC 3021, section 2.1)
        address.is_broadcast()
            || last.is_some_and(|network| network.prefix_len() < 31 && network.broadcast() == address)
    }

    /// The source address for packets to `remote`: the own address in its network, else the last of its family.
    pub(super) fn source_for(&self, remote: IpAddr) -> Option<IpAddr> {
        let of_family = |address: &IpAddr| address.is_ipv4() == remote.is_ipv4();
        self.near(remote).or_else(|| self.networks.iter().map(IpNet::addr).rfind(of_family))
    }

    /// The address whose services `remote` may use at `asked` if no socket is bound there: the own address in the
    /// network of `remote`, if `asked` is another own address. `None` for a remote outside the own networks.
    pub(super) fn stands_in_for(&self, asked: IpAddr, remote: IpAddr) -> Option<IpAddr> {
        self.near(remote).filter(|near| *near != asked && self.contains(asked))
    }

    /// The own address in the smallest network of `remote`; of equal ones, in the last.
    fn near(&self, remote: IpAddr) -> Option<IpAddr> {
        let around = self.networks.iter().filter(|network| network.contains(&remote));
        around.max_by_key(|network| network.prefix_len()).map(IpNet::addr)
    }
}

/// Whether `address` is a unicast address. A directed broadcast counts as one, as it depends on the network.
pub(super) fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !(address.is_multicast() || address.is_broadcast()),
        // RFC 4291, section 2.5.5.2: a mapped address represents an IPv4 address, and no packet has it.
        IpAddr::V6(address) => !address.is_multicast() && address.to_ipv4_mapped().is_none(),
    }
}

/// The wildcard address of the family of `address`: `0.0.0.0` (INADDR_ANY) or `::`. A socket that is bound to it
/// receives at every own address of that family.
pub(super) fn wildcard(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[&str]) -> Addresses {
        let parsed: Vec<IpNet> = list.iter().map(|text| text.parse().expect("a network")).collect();
        Addresses::new(&parsed)
    }

    #[test]
    fn the_near_address_speaks_else_the_last() {
        let addresses = networks(&["192.168.1.1/24", "203.0.113.10/24"]);
        let source = |remote: [u8; 4]| addresses.source_for(remote.into());
        assert_eq!(source([192, 168, 1, 77]), Some([192, 168, 1, 1].into()));
        assert_eq!(source([203, 0, 113, 1]), Some([203, 0, 113, 10].into()));
        assert_eq!(source([8, 8, 8, 8]), Some([203, 0, 113, 10].into()));
        assert_eq!(
            networks(&["192.168.1.1/24"]).source_for([8, 8, 8, 8].into()),
            Some([192, 168, 1, 1].into())
        );
        assert_eq!(networks(&[]).source_for([8, 8, 8, 8].into()), None);
    }

    #[test]
    fn an_address_of_the_other_family_never_speaks() {
        let text = |address: Option<IpAddr>| address.map(|address| address.to_string());
        let both = networks(&["192.168.1.1/24", "2001:db8:1::1/64", "2001:db8:2::1/64", "203.0.113.10/24"]);
        let source = |remote: &str| text(both.source_for(remote.parse().expect("an address")));
        assert_eq!(source("2001:db8:1::77").as_deref(), Some("2001:db8:1::1"));
        assert_eq!(source("2001:db8:9::1").as_deref(), Some("2001:db8:2::1"), "a stranger");
        assert_eq!(source("8.8.8.8").as_deref(), Some("203.0.113.10"));
        let stand_in = |asked: &str, remote: &str| {
            text(both.stands_in_for(asked.parse().expect("ours"), remote.parse().expect("an address")))
        };
        assert_eq!(stand_in("2001:db8:2::1", "2001:db8:1::77").as_deref(), Some("2001:db8:1::1"));
        let short = networks(&["192.168.1.1/24"]);
        assert_eq!(short.source_for("2001:db8::1".parse().expect("an address")), None);
    }

    #[test]
    fn the_near_address_stands_in_for_another_own_one_and_for_nothing_else() {
        let addresses = networks(&["192.168.1.1/24", "203.0.113.10/24"]);
        let (lan, wan, host) = ([192, 168, 1, 1], [203, 0, 113, 10], [192, 168, 1, 77]);
        let stand_in = |asked: [u8; 4], remote: [u8; 4]| addresses.stands_in_for(asked.into(), remote.into());
        assert_eq!(stand_in(wan, host), Some(lan.into()));
        assert_eq!(stand_in(lan, host), None, "it is the near one itself");
        assert_eq!(stand_in([255; 4], host), None, "it is no own address");
        assert_eq!(stand_in(wan, [8, 8, 8, 8]), None, "a stranger");
        assert_eq!(stand_in(wan, [203, 0, 113, 1]), None, "a neighbour outside");
    }

    #[test]
    fn of_networks_that_overlap_the_smallest_speaks_and_the_last_is_preferred() {
        let (host, far) = ([192, 168, 1, 77], [192, 168, 7, 77]);
        for (list, near, others) in [
            (["192.168.1.1/24", "192.168.0.1/16"], [192, 168, 1, 1], [192, 168, 0, 1]),
            (["192.168.0.1/16", "192.168.1.1/24"], [192, 168, 1, 1], [192, 168, 0, 1]),
            (["192.168.1.1/24", "192.168.1.254/24"], [192, 168, 1, 254], [192, 168, 1, 254]),
        ] {
            let addresses = networks(&list);
            assert_eq!(addresses.source_for(host.into()), Some(near.into()), "{list:?}");
            assert_eq!(addresses.source_for(far.into()), Some(others.into()), "{list:?}");
        }
        let is_broadcast = |list| networks(list).is_broadcast([192, 168, 1, 255].into());
        assert!(is_broadcast(&["192.168.0.1/16", "192.168.1.1/24"]));
        assert!(!is_broadcast(&["192.168.1.1/24", "192.168.0.1/16"]), "it is a host's");
    }

    /// RFC 3021, section 2.1: A network of two has no broadcast address.
    #[test]
    fn rfc3021_2_1_a_network_of_two_has_no_broadcast_address() {
        let addresses = networks(&["192.168.1.1/24", "203.0.113.10/31"]);
        assert!(addresses.is_broadcast([192, 168, 1, 255].into()));
        assert!(addresses.is_broadcast(Ipv4Addr::BROADCAST.into()));
        assert!(!addresses.is_broadcast([203, 0, 113, 11].into()));
    }

    #[test]
    fn what_is_no_hosts_address_is_left_out_and_their_number_is_bounded() {
        let addresses = networks(&["0.0.0.0/0", "224.0.0.1/4", "255.255.255.255/32", "10.0.0.1/8"]);
        assert_eq!(addresses.iter().count(), 1);
        let addresses = networks(&["::/0", "ff02::1/64", "::ffff:192.168.1.1/128", "2001:db8::1/64"]);
        assert_eq!(addresses.iter().count(), 1);
        let many: Vec<IpNet> = (1..=20).map(|n| IpNet::from(IpAddr::from([10, 0, 0, n]))).collect();
        assert_eq!(Addresses::new(&many).iter().count(), Addresses::COUNT_MAX);
    }
}
