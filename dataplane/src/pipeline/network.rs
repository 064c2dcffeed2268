//! The networks that the gateway is connected to, prepared for the questions that every packet asks.

use core::net::Ipv4Addr;
use core::ops::Range;

use gatepost_ground::{InterfaceId, Role};

use crate::config::{Config, Family, Interface, Mode};
use crate::key::{Address, EdgeAddresses};
use crate::table::octet_filter::OctetFilter;
use crate::table::per_interface::PerInterface;

/// The networks of one address family on all interfaces.
#[derive(Clone, Debug)]
pub(super) struct Networks<A: Address = Ipv4Addr> {
    /// All networks. Inside networks come first, and the networks of one interface are contiguous. Their number fits
    /// into the index ranges.
    all: Box<[Network<A>]>,
    inside: Box<[Network<A>]>,
    /// The index range of each interface's networks in `all`.
    ranges: PerInterface<Range<u8>>,
    /// The gateway's own addresses, and the broadcast and anycast addresses of its networks.
    special: Box<[(A, AddressFacts)]>,
    special_filter: OctetFilter,
    /// The external address of the inside on each outside interface.
    externals: PerInterface<Option<A>>,
    has_several_outside: bool,
}

/// The role of an address in the gateway's networks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AddressFacts {
    /// The role of the interface whose own address it is, or whose network's Subnet-Router anycast address (RFC 4291,
    /// section 2.6.1); `None` for any other address.
    pub(super) own: Option<Role>,
    /// Whether it is the broadcast address of a network.
    pub(super) is_broadcast: bool,
}

const _: () = assert!(InterfaceId::COUNT_MAX * Interface::ADDRESSES_MAX <= u8::MAX as usize);

impl<A: Family> Networks<A> {
    pub(super) fn of_config(config: &Config) -> Self {
        let mut all = Vec::new();
        let mut ranges = PerInterface::from_fn(|_| 0..0);
        let outside = config.interfaces_of(Role::Outside).filter(|_| config.mode != Mode::LanOnly);
        for (id, interface) in config.interfaces_of(Role::Inside).chain(outside) {
            let start = all.len() as u8;
            all.extend(interface.nets::<A>().map(|net| Network::of_address(net, id, interface.role)));
            ranges[id] = start..all.len() as u8;
        }
        let facts = |address| AddressFacts {
            own: all.iter().find(|network: &&Network<A>| network.is_own(address)).map(|network| network.role),
            is_broadcast: all
                .chunk_by(|a, b| a.interface == b.interface)
                .any(|on| is_broadcast_of(on, address)),
        };
        let special: Box<[_]> =
            all.iter().flat_map(Network::special).map(|address| (address, facts(address))).collect();
        Self {
            externals: PerInterface::from_fn(|id| external(config, &all, id)),
            has_several_outside: has_several_outside(&all),
            inside: all.iter().filter(|network| network.role == Role::Inside).copied().collect(),
            special_filter: OctetFilter::of(special.iter().map(|(address, _)| address.last_octet())),
            special,
            all: all.into_boxed_slice(),
            ranges,
        }
    }
}

impl<A: Address> Networks<A> {
    /// The gateway's networks on the interface `id`.
    #[inline]
    pub(super) fn on(&self, id: InterfaceId) -> &[Network<A>] {
        let Range { start, end } = self.ranges[id];
        self.all.get(usize::from(start)..usize::from(end)).unwrap_or(&[])
    }

    /// All networks, those of the inside first.
    pub(super) fn all(&self) -> &[Network<A>] {
        &self.all
    }

    /// The network on the interface `id` whose own address the gateway uses towards the neighbour `address`: the
    /// smallest network that contains the neighbour, as its address is on-link for the hosts of larger ones, too; else
    /// the first. `None` if the gateway has no address on the interface.
    pub(super) fn towards(&self, id: InterfaceId, address: A) -> Option<&Network<A>> {
        let networks = self.on(id);
        let around = networks.iter().filter(|network| network.contains(address));
        around.reduce(|best, other| if other.mask > best.mask { other } else { best }).or(networks.first())
    }

    /// Whether a host on the interface `id` can have `address`: it is in one of the networks there, and no broadcast
    /// address.
    pub(super) fn may_be_host(&self, id: InterfaceId, address: A) -> bool {
        let networks = self.on(id);
        networks.iter().any(|network| network.contains(address)) && !is_broadcast_of(networks, address)
    }

    /// The role of `address` in the gateway's networks: an own address, a broadcast address or neither.
    #[inline]
    pub(super) fn address_facts(&self, address: A) -> AddressFacts {
        if !self.special_filter.may_have(address.last_octet()) {
            return AddressFacts::default();
        }
        self.special
            .iter()
            .find(|(special, _)| *special == address)
            .map_or(AddressFacts::default(), |(_, facts)| *facts)
    }

    /// Whether the inside interface `id` has a network with `address`.
    #[inline]
    pub(super) fn is_on_inside(&self, id: InterfaceId, address: A) -> bool {
        self.inside.iter().any(|network| network.contains(address) && network.interface == id)
    }

    /// Whether a network of the inside has `address`.
    #[inline]
    pub(super) fn is_inside(&self, address: A) -> bool {
        self.inside.iter().any(|network| network.contains(address))
    }

    /// Whether `address` is on-link: in one of the networks.
    pub(super) fn is_on_link(&self, address: A) -> bool {
        self.all.iter().any(|network| network.contains(address))
    }

    /// The role of the interface on which `address` is the gateway's own.
    #[inline]
    pub(super) fn own_role(&self, address: A) -> Option<Role> {
        self.address_facts(address).own
    }

    /// The external address that inside hosts share on the interface `id`; `None` while there is none.
    #[inline]
    pub(super) fn external_of(&self, id: InterfaceId) -> Option<A> {
        self.externals[id]
    }

    /// The external addresses that inside hosts share, one for each outside interface with an address.
    pub(super) fn externals(&self) -> impl Iterator<Item = A> {
        self.externals.iter().flatten().copied()
    }

    /// Whether the gateway has addresses on more than one outside interface.
    #[inline]
    pub(super) fn has_several_outside(&self) -> bool {
        self.has_several_outside
    }

    /// The outside interface on which `address` is the gateway's own.
    pub(super) fn outside_of(&self, address: A) -> Option<InterfaceId> {
        let mut outside = self.all.iter().filter(|network| network.role == Role::Outside);
        outside.find(|network| network.own == address).map(|network| network.interface)
    }

    /// Whether `address` is the broadcast address of one of the networks.
    #[inline]
    pub(super) fn is_broadcast(&self, address: A) -> bool {
        self.address_facts(address).is_broadcast
    }
}

/// Whether `address` is a broadcast address on an interface with `networks`, the preferred first. Of networks that share
/// the address the first decides, and an own address is none.
fn is_broadcast_of<A: Address>(networks: &[Network<A>], address: A) -> bool {
    let is_own = networks.iter().any(|network| network.own == address);
    let first = networks.iter().find(|network| network.contains(address));
    !is_own && first.is_some_and(|network| network.is_broadcast(address))
}

/// The external address of the inside on the interface `id`, if that is outside: the gateway's address in the network
/// of the interface's router, else its first address.
fn external<A: Family>(config: &Config, all: &[Network<A>], id: InterfaceId) -> Option<A> {
    let gateway = A::gateway(&config.interfaces.get(id.index())?.gateway);
    let outside = || all.iter().filter(|network| network.interface == id && network.role == Role::Outside);
    let nearest = gateway.and_then(|gateway| outside().find(|network| network.contains(gateway)));
    nearest.or(outside().next()).map(Network::own_address)
}

fn has_several_outside<A: Address>(all: &[Network<A>]) -> bool {
    let mut outside = all.iter().filter(|network| network.role == Role::Outside).map(Network::interface);
    outside.next().is_some_and(|first| outside.any(|other| other != first))
}

/// A network on one interface, with one of the gateway's addresses in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network<A: Address = Ipv4Addr> {
    own: A,
    network: A::Bits,
    mask: A::Bits,
    edges: EdgeAddresses,
    interface: InterfaceId,
    role: Role,
}

impl<A: Address> Network<A> {
    fn of_address(net: A::Net, interface: InterfaceId, role: Role) -> Self {
        let (own, prefix_len) = A::split_net(net);
        let mask = A::mask(prefix_len);
        Self { own, network: own.bits() & mask, mask, edges: A::edges_of(prefix_len), interface, role }
    }

    /// The own address and the two edge addresses of the network, whose meaning [`EdgeAddresses`] decides.
    fn special(&self) -> [A; 3] {
        [self.own, self.first(), self.last()]
    }

    fn first(&self) -> A {
        A::from_bits(self.network)
    }

    fn last(&self) -> A {
        A::from_bits(self.network | !self.mask)
    }

    /// Whether `address` is the gateway's own or the network's Subnet-Router anycast address.
    fn is_own(&self, address: A) -> bool {
        address == self.own || (self.edges == EdgeAddresses::SubnetRouterAnycast && address == self.first())
    }

    /// The gateway's own address in the network.
    #[inline]
    pub(super) fn own_address(&self) -> A {
        self.own
    }

    /// The interface that leads to the network.
    pub(super) fn interface(&self) -> InterfaceId {
        self.interface
    }

    #[inline]
    pub(super) fn contains(&self, address: A) -> bool {
        address.bits() & self.mask == self.network
    }

    /// Whether `address` is a broadcast address of the network, in today's form (all ones) or the old one (all
    /// zeros). (RFC 1812, section 4.2.3.1)
    #[inline]
    pub(super) fn is_broadcast(&self, address: A) -> bool {
        self.edges == EdgeAddresses::Broadcast && (address == self.first() || address == self.last())
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use super::*;
    use crate::config::Gateways;
    use crate::config::testing::{self, config_of_both_families};
    use crate::key::testing::v6;

    fn network(text: &str) -> Network {
        Network::of_address(text.parse().expect("a network"), InterfaceId(0), Role::Inside)
    }

    fn address(text: &str) -> Ipv4Addr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_network_knows_its_own() {
        let network = network("192.168.1.1/24");
        assert_eq!(network.own_address(), address("192.168.1.1"));
        assert!(network.contains(address("192.168.1.200")) && !network.contains(address("192.168.2.1")));
    }

    /// RFC 1812, section 4.2.3.1: A network has a broadcast of today and one of old.
    #[test]
    fn rfc1812_4_2_3_1_a_network_has_a_broadcast_of_today_and_one_of_old() {
        let network = network("192.168.1.1/24");
        for (text, is_broadcast) in [("192.168.1.255", true), ("192.168.1.0", true), ("192.168.1.1", false)] {
            assert_eq!(network.is_broadcast(address(text)), is_broadcast, "{text}");
        }
    }

    /// RFC 3021, section 2.1: A network of two has no broadcast.
    #[test]
    fn rfc3021_2_1_a_network_of_two_has_no_broadcast() {
        for text in ["10.0.0.0", "10.0.0.1"] {
            assert!(!network("10.0.0.0/31").is_broadcast(address(text)));
        }
        assert!(network("10.0.0.1/32").contains(address("10.0.0.1")));
        assert!(!network("10.0.0.1/32").contains(address("10.0.0.2")));
    }

    /// Of networks that overlap, the first decides on broadcast addresses, and the smallest on the gateway's address.
    #[test]
    fn networks_of_one_interface_may_overlap() {
        let id = InterfaceId(0);
        let networks = |nets: [&str; 2]| {
            let mut config = testing::config(Mode::Nat);
            config.interfaces[0].addresses = nets.map(|net| net.parse().expect("a network")).into();
            Networks::<Ipv4Addr>::of_config(&config)
        };
        let own = |networks: &Networks, to| networks.towards(id, address(to)).map(Network::own_address);
        let larger = networks(["192.168.0.1/16", "192.168.1.1/24"]);
        assert_eq!(own(&larger, "192.168.1.20"), Some(address("192.168.1.1")));
        assert_eq!(own(&larger, "192.168.7.20"), Some(address("192.168.0.1")));
        let smaller = networks(["192.168.1.1/24", "192.168.0.1/16"]);
        assert_eq!(own(&smaller, "192.168.1.20"), Some(address("192.168.1.1")));
        for (networks, is_broadcast) in [(&larger, false), (&smaller, true)] {
            let edge = address("192.168.1.255");
            assert_eq!(
                (networks.is_broadcast(edge), networks.may_be_host(id, edge)),
                (is_broadcast, !is_broadcast)
            );
            assert!(networks.is_broadcast(address("192.168.255.255")));
            assert_eq!(networks.own_role(address("192.168.1.1")), Some(Role::Inside));
        }
        let same = networks(["192.168.1.254/24", "192.168.1.1/24"]);
        assert_eq!(own(&same, "192.168.1.20"), Some(address("192.168.1.254")), "the first of equal ones");
        let edge = networks(["192.168.1.1/24", "192.168.1.255/16"]);
        assert_eq!(edge.own_role(address("192.168.1.255")), Some(Role::Inside));
        assert!(!edge.is_broadcast(address("192.168.1.255")), "it is the gateway's");
    }

    #[test]
    fn networks_of_ipv6_stand_beside_those_of_ipv4() {
        let config = config_of_both_families();
        let (v4, networks) =
            (Networks::<Ipv4Addr>::of_config(&config), Networks::<Ipv6Addr>::of_config(&config));
        assert_eq!((v4.all().len(), networks.all().len()), (1, 4));
        assert!(networks.is_inside(v6(7, 20)) && !networks.is_inside(v6(1, 20)));
        assert!(networks.is_on_inside(InterfaceId(0), v6(7, 20)) && networks.is_on_link(v6(2, 20)));
        assert_eq!(networks.own_role(v6(7, 1)), Some(Role::Inside));
        assert_eq!(networks.own_role(v6(2, 0x10)), Some(Role::Outside));
        assert_eq!((networks.own_role(v6(7, 2)), networks.own_role(v6(7, 0x41))), (None, None));
        assert_eq!(networks.outside_of(v6(2, 0x10)), Some(InterfaceId(2)));
        let towards =
            |interface, address| networks.towards(InterfaceId(interface), address).map(Network::own_address);
        assert_eq!(towards(1, v6(3, 0x11)), Some(v6(3, 0x10)));
        assert_eq!(towards(1, v6(9, 9)), Some(v6(1, 0x10)));
        assert!(networks.has_several_outside() && !v4.has_several_outside());
    }

    /// RFC 4291, section 2.6.1: A router is asked by the address of any router of its network.
    #[test]
    fn rfc4291_2_6_1_a_networks_first_address_is_its_routers() {
        let networks = Networks::<Ipv6Addr>::of_config(&config_of_both_families());
        assert_eq!(networks.own_role(v6(7, 0)), Some(Role::Inside));
        assert_eq!(networks.own_role(v6(1, 0)), Some(Role::Outside));
        let last = Ipv6Addr::from_bits(v6(7, 0).to_bits() | u128::from(u64::MAX));
        for address in [v6(7, 0), last] {
            assert!(!networks.is_broadcast(address), "{address}: there are no broadcasts");
        }
        assert_eq!(networks.own_role(last), None);
    }

    /// RFC 6164, section 6: Of two routers in a network of two, each has an address of its own.
    #[test]
    fn rfc6164_6_a_network_of_two_routers_has_no_address_for_both() {
        let config = |own: &str| {
            let mut config = testing::config(Mode::Router);
            config.interfaces[1].addresses = Some(own.parse().expect("a network")).into();
            config
        };
        let own_role = |own| Networks::<Ipv6Addr>::of_config(&config(own)).own_role(v6(3, 0x10));
        assert_eq!(own_role("2001:db8:3::11/127"), None);
        assert_eq!(own_role("2001:db8:3::11/126"), Some(Role::Outside));
    }

    #[test]
    fn in_a_network_of_one_or_two_each_address_is_a_hosts() {
        let mut config = testing::config(Mode::Router);
        let nets = ["203.0.113.10/32", "198.51.100.6/31", "2001:db8:1::10/128", "2001:db8:3::10/127"];
        config.interfaces[1].addresses = nets.map(|net| net.parse().expect("a network")).into();
        let id = InterfaceId(1);
        let v4 = Networks::<Ipv4Addr>::of_config(&config);
        for (to, from) in [("198.51.100.7", "198.51.100.6"), ("203.0.113.11", "203.0.113.10")] {
            assert_eq!(v4.towards(id, address(to)).map(Network::own_address), Some(address(from)));
            assert_eq!((v4.own_role(address(from)), v4.own_role(address(to))), (Some(Role::Outside), None));
            assert!(!v4.is_broadcast(address(to)) && !v4.is_broadcast(address(from)));
        }
        let networks = Networks::<Ipv6Addr>::of_config(&config);
        for network in [3, 1] {
            let (to, from) = (v6(network, 0x11), v6(network, 0x10));
            assert_eq!(networks.towards(id, to).map(Network::own_address), Some(from));
            assert_eq!((networks.own_role(from), networks.own_role(to)), (Some(Role::Outside), None));
        }
        assert!(v4.is_on_link(address("198.51.100.7")) && !v4.is_on_link(address("203.0.113.11")));
        assert!(networks.is_on_link(v6(3, 0x11)) && !networks.is_on_link(v6(1, 0x11)));
    }

    #[test]
    fn each_family_is_seen_at_its_address_in_its_routers_network() {
        let mut config = config_of_both_families();
        let outside = &mut config.interfaces[1];
        let nets = ["203.0.113.10/24", "198.51.100.10/24", "2001:db8:1::10/64", "2001:db8:5::10/64"];
        outside.addresses = nets.map(|net| net.parse().expect("a network")).into();
        outside.gateway = Gateways { v4: Some(address("198.51.100.1")), v6: Some(v6(5, 1)) };
        let of_interface = |config: &Config| {
            let (v4, v6) = (Networks::<Ipv4Addr>::of_config(config), Networks::<Ipv6Addr>::of_config(config));
            (v4.external_of(InterfaceId(1)), v6.external_of(InterfaceId(1)))
        };
        assert_eq!(of_interface(&config), (Some(address("198.51.100.10")), Some(v6(5, 0x10))));
        config.interfaces[1].gateway.v6 = None;
        assert_eq!(of_interface(&config), (Some(address("198.51.100.10")), Some(v6(1, 0x10))));
        assert_eq!(Networks::<Ipv6Addr>::of_config(&config).external_of(InterfaceId(0)), None, "inside");
    }
}
