//! The routing table: longest-prefix match. (RFC 1812, section 5.2.4)

use core::net::Ipv4Addr;

use gatepost_ground::{InterfaceId, Role};
use ipnet::IpNet;

use crate::config::{Config, Family, Interface, Mode, StaticRoute};
use crate::key::Address;

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<A = Ipv4Addr> {
    /// The interface that the packet leaves on.
    pub interface: InterfaceId,
    /// The role of that interface.
    pub role: Role,
    /// The router that forwards the packet; `None` if the destination is on the interface's own network.
    pub gateway: Option<A>,
}

impl<A: Address> Route<A> {
    /// The address of the next hop of a packet to `destination`.
    #[inline]
    pub fn next_hop(self, destination: A) -> A {
        self.gateway.unwrap_or(destination)
    }
}

/// The routes of one configuration and address family, longest prefix first.
///
/// A gateway has a handful of routes, all from its configuration: a linear search of an array is faster than a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes<A: Address = Ipv4Addr>(Box<[Entry<A>]>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry<A: Address> {
    network: A::Bits,
    mask: A::Bits,
    route: Route<A>,
}

impl<A: Address> Routes<A> {
    /// The table of `routes`. Of several routes with the same prefix, the first counts; routes to networks of another
    /// family are left out.
    pub fn new<N: Into<IpNet>>(routes: impl IntoIterator<Item = (N, Route<A>)>) -> Self {
        let of_family = |(net, route): (N, Route<A>)| Some((A::split_net(A::of_net(net.into())?), route));
        let mut routes: Vec<_> = routes.into_iter().filter_map(of_family).collect();
        routes.sort_by_key(|((_, prefix_len), _)| u8::MAX - prefix_len);
        let entry = |((address, prefix_len), route): ((A, u8), Route<A>)| {
            let mask = A::mask(prefix_len);
            Entry { network: address.bits() & mask, mask, route }
        };
        Self(routes.into_iter().map(entry).collect())
    }

    /// As [`Routes::lookup`], only with routes by `interface`.
    pub fn lookup_by(&self, interface: InterfaceId, destination: A) -> Option<Route<A>> {
        let bits = destination.bits();
        let is_match =
            |entry: &&Entry<A>| bits & entry.mask == entry.network && entry.route.interface == interface;
        self.0.iter().find(is_match).map(|entry| entry.route)
    }

    /// The route with the longest prefix that contains `destination`.
    #[inline]
    pub fn lookup(&self, destination: A) -> Option<Route<A>> {
        let bits = destination.bits();
        self.0.iter().find(|entry| bits & entry.mask == entry.network).map(|entry| entry.route)
    }
}

impl<A: Address> Default for Routes<A> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<A: Family> Routes<A> {
    /// The routes to the gateway's connected networks, those that an interface has besides, and the default routes by
    /// the interfaces' routers. Default routes of outside interfaces come before those of inside interfaces, which have
    /// an effect in [`Mode::LanOnly`] only, where there is no outside.
    pub fn of_config(config: &Config) -> Self {
        let inside = config.interfaces_of(Role::Inside);
        let outside = config.interfaces_of(Role::Outside).filter(|_| config.mode != Mode::LanOnly);
        // Inside networks come first: if the outside has the same network, the office's own hosts stay reachable.
        let connected = inside.clone().chain(outside.clone()).flat_map(connected::<A>);
        let further = inside.clone().chain(outside.clone()).flat_map(further::<A>);
        let defaults = outside.chain(inside).filter_map(default::<A>);
        Self::new(connected.chain(further).chain(defaults))
    }
}

fn connected<A: Family>(
    (id, interface): (InterfaceId, &Interface),
) -> impl Iterator<Item = (A::Net, Route<A>)> {
    let route = Route { interface: id, role: interface.role, gateway: None };
    interface.nets::<A>().map(move |net| (net, route))
}

fn further<A: Family>(
    (id, interface): (InterfaceId, &Interface),
) -> impl Iterator<Item = (A::Net, Route<A>)> {
    let routes = interface.routes.iter().filter(|_| interface.nets::<A>().next().is_some());
    routes.filter_map(move |StaticRoute { to, router }| {
        let gateway = router.and_then(A::of_ip);
        let is_of_family = gateway.is_some() || router.is_none();
        let route = Route { interface: id, role: interface.role, gateway };
        A::of_net(*to).filter(|_| is_of_family).map(|net| (net, route))
    })
}

fn default<A: Family>((id, interface): (InterfaceId, &Interface)) -> Option<(A::Net, Route<A>)> {
    interface.nets::<A>().next()?;
    let gateway = Some(A::gateway(&interface.gateway)?);
    Some((A::Net::default(), Route { interface: id, role: interface.role, gateway }))
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use ipnet::Ipv4Net;
    use proptest::prelude::*;

    use super::*;
    use crate::config::testing;
    use crate::key::testing::v6;

    const LAN: Route = Route { interface: InterfaceId(0), role: Role::Inside, gateway: None };
    const WAN: Route = Route { interface: InterfaceId(1), role: Role::Outside, gateway: None };
    const WAN_GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
    const LAN_GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 254);

    fn addr(text: &str) -> Ipv4Addr {
        text.parse().expect("an address")
    }

    fn config(mode: Mode, lan: &str, wan: Option<&str>) -> Config {
        let mut config = testing::config(mode);
        let addresses = [(Some(lan), LAN_GATEWAY), (wan, WAN_GATEWAY)];
        for (interface, (address, gateway)) in config.interfaces.iter_mut().zip(addresses) {
            interface.addresses = address.map(|text| text.parse().expect("a network")).into();
            interface.gateway.v4 = Some(gateway);
        }
        config
    }

    #[test]
    fn a_gateway_reaches_its_segments_and_the_rest_by_the_wans_gateway() {
        let routes = Routes::of_config(&config(Mode::Nat, "192.168.1.1/24", Some("203.0.113.10/24")));
        assert_eq!(routes.lookup(addr("192.168.1.77")), Some(LAN));
        assert_eq!(routes.lookup(addr("203.0.113.1")), Some(WAN));
        let route = routes.lookup(addr("198.51.100.7")).expect("the default");
        assert_eq!(route, Route { gateway: Some(WAN_GATEWAY), ..WAN });
        assert_eq!(route.next_hop(addr("198.51.100.7")), WAN_GATEWAY);
        assert_eq!(WAN.next_hop(addr("203.0.113.1")), addr("203.0.113.1"));
    }

    #[test]
    fn a_lan_host_reaches_the_rest_by_the_lans_gateway() {
        let routes = Routes::of_config(&config(Mode::LanOnly, "192.168.1.1/24", Some("203.0.113.10/24")));
        let default = Route { gateway: Some(LAN_GATEWAY), ..LAN };
        assert_eq!(routes.lookup(addr("203.0.113.1")), Some(default));
    }

    /// RFC 3442: A classless route goes before the default route, and one without a router is on-link.
    #[test]
    fn rfc3442_a_classless_route_goes_before_the_default_route() {
        let mut config = config(Mode::Nat, "192.168.1.1/24", Some("203.0.113.10/32"));
        let other = addr("100.64.0.1");
        let routes = [("100.64.0.1/32", None), ("10.0.0.0/8", Some(other.into()))];
        config.interfaces[1].routes = routes
            .map(|(to, router)| StaticRoute { to: to.parse().expect("a network"), router })
            .to_vec()
            .try_into()
            .expect("few");
        let next_hop = |config: &Config, to: &str| {
            let route = Routes::<Ipv4Addr>::of_config(config).lookup(addr(to))?;
            Some((route.interface, route.next_hop(addr(to))))
        };
        let wan = InterfaceId(1);
        assert_eq!(next_hop(&config, "10.1.2.3"), Some((wan, other)));
        assert_eq!(next_hop(&config, "100.64.0.1"), Some((wan, other)));
        assert_eq!(next_hop(&config, "198.51.100.7"), Some((wan, WAN_GATEWAY)), "outside of the network");
        assert_eq!(next_hop(&config, "192.168.1.9"), Some((InterfaceId(0), addr("192.168.1.9"))));
        config.interfaces[0].gateway.v4 = None;
        config.interfaces[1].addresses.clear();
        assert_eq!(next_hop(&config, "10.1.2.3"), None, "there is no address to speak from");
    }

    #[test]
    fn without_an_address_there_is_no_way_out() {
        let mut config = config(Mode::Nat, "192.168.1.1/24", None);
        config.interfaces[0].gateway.v4 = None;
        let routes = Routes::of_config(&config);
        assert_eq!(routes.lookup(addr("198.51.100.7")), None);
        assert_eq!(Routes::default().lookup(addr("192.168.1.1")), None);
    }

    /// RFC 4787, REQ-7: The LAN stays in reach if the WAN has its network.
    #[test]
    fn rfc4787_req7_the_lan_stays_in_reach_if_the_wan_has_its_network() {
        let routes = Routes::of_config(&config(Mode::Nat, "192.168.1.1/24", Some("192.168.1.5/24")));
        assert_eq!(routes.lookup(addr("192.168.1.9")), Some(LAN));
    }

    #[test]
    fn routes_of_another_family_are_of_the_same_table() {
        let route =
            |interface| Route { interface: InterfaceId(interface), role: Role::Inside, gateway: None };
        let nets = [("2001:db8::/32", 0), ("192.0.2.0/24", 1), ("2001:db8:7::/48", 2), ("::/0", 3)];
        let nets = nets.map(|(net, number)| (net.parse::<IpNet>().expect("a network"), route(number)));
        let routes = Routes::<Ipv6Addr>::new(nets);
        let interface = |address| routes.lookup(address).map(|route| route.interface.0);
        assert_eq!(interface(v6(7, 1)), Some(2));
        assert_eq!(interface(v6(8, 1)), Some(0));
        assert_eq!(interface(Ipv6Addr::LOCALHOST), Some(3));
        assert_eq!(routes.lookup_by(InterfaceId(0), v6(7, 1)), Some(route(0)));
    }

    #[test]
    fn a_gateway_leads_packets_of_its_family_only() {
        const FAR: Ipv6Addr = v6(0xff, 1);
        let mut config = testing::config_of_both_families();
        let default = |config: &Config| {
            let (short, long) =
                (Routes::<Ipv4Addr>::of_config(config), Routes::<Ipv6Addr>::of_config(config));
            (short.lookup(addr("198.51.100.7")), long.lookup(FAR))
        };
        let by = |interface| Route { interface: InterfaceId(interface), role: Role::Outside, gateway: None };
        // There is a router of IPv4, and no address to speak to it from.
        assert_eq!(default(&config), (None, Some(Route { gateway: Some(v6(1, 1)), ..by(1) })));
        config.interfaces[1].gateway.v6 = None;
        assert_eq!(default(&config), (None, Some(Route { gateway: Some(v6(2, 1)), ..by(2) })));
        config.interfaces[2].addresses.clear();
        config.interfaces[1].addresses.push("203.0.113.10/24".parse().expect("a network")).expect("room");
        assert_eq!(default(&config), (Some(Route { gateway: Some(WAN_GATEWAY), ..WAN }), None));
        let connected = Routes::<Ipv6Addr>::of_config(&config).lookup(v6(1, 7));
        assert_eq!(connected, Some(by(1)));
    }

    proptest! {
        /// RFC 1812, section 5.2.4.3: The longest prefix wins.
        #[test]
        fn rfc1812_5_2_4_3_the_longest_prefix_wins(
            prefixes in prop::collection::vec((0u32..16, 0u8..=32), 0..12),
            host in 0u32..16,
        ) {
            // Few addresses, far apart and close by, so that prefixes overlap.
            let spread = |n: u32| Ipv4Addr::from_bits((n & 0xc) << 28 | n & 3);
            let nets: Vec<_> = prefixes
                .iter()
                .map(|(n, len)| Ipv4Net::new(spread(*n), *len).expect("a prefix"))
                .collect();
            let route = |i: usize| Route { gateway: Some(Ipv4Addr::from_bits(i as u32)), ..LAN };
            let routes = Routes::new(nets.iter().enumerate().map(|(i, net)| (*net, route(i))));
            let destination = spread(host);
            let longest = nets
                .iter()
                .enumerate()
                .filter(|(_, net)| net.contains(&destination))
                .min_by_key(|(i, net)| (32 - net.prefix_len(), *i));
            prop_assert_eq!(routes.lookup(destination), longest.map(|(i, _)| route(i)));
        }
    }
}
