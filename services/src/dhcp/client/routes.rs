//! The routes in a server's message: classless ones, or else a router. (RFC 3442; RFC 2132, section 3.5)

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::lease::is_unicast;
use super::remark::Reason;
use crate::dhcp::message::{self, Message, OptionCode};

/// The most routes beside the default route that are used.
pub const ROUTES_MAX: usize = 16;

/// The same as option 121, by the code that was in use before it was assigned.
pub(super) const CLASSLESS_ROUTES_PRIVATE: u8 = 249;

/// A route of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network.
    pub to: Ipv4Net,
    /// The router, a neighbour whether or not it is in the lease's prefix; `None`: the network's hosts are neighbours.
    pub router: Option<Ipv4Addr>,
}

/// All routes of a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Routes {
    /// The router of the default route.
    pub router: Option<Ipv4Addr>,
    /// Further routes, at most [`ROUTES_MAX`].
    pub others: Vec<Route>,
}

impl Routes {
    /// Reads the routes for a client with the address and the prefix `own`. Routes into `taken`, which are networks of
    /// other interfaces, are left out.
    pub fn from_message(
        message: &Message,
        own: Ipv4Net,
        taken: &[Ipv4Net],
        remarks: &mut Vec<Reason>,
    ) -> Self {
        let Some(content) = classless(message) else { return Self::by_router_option(message, own) };
        // RFC 3442: a client that gets both options ignores the router option.
        let Some(all) = parse(content) else {
            remarks.push(Reason::RoutesMalformed);
            return Self::by_router_option(message, own);
        };
        let mut routes = Self::default();
        let mut are_too_many = false;
        for route in all {
            let is_usable = route.router.is_none_or(|router| is_router(own, router));
            let is_default = route.to.prefix_len() == 0;
            if is_default && is_usable && route.router.is_some() {
                routes.router = routes.router.or(route.router);
            } else if is_default || !is_usable || taken.iter().any(|taken| taken.contains(&route.to)) {
                remarks.push(Reason::RouteLeftOut(route));
            } else if routes.others.len() == ROUTES_MAX {
                are_too_many = true;
            } else {
                routes.others.push(route);
            }
        }
        remarks.extend(are_too_many.then_some(Reason::RoutesTooMany));
        routes
    }

    /// The first router in the prefix, else the first one: a neighbour outside of the prefix.
    fn by_router_option(message: &Message, own: Ipv4Net) -> Self {
        let routers = message::addresses_option(message, OptionCode::Router).iter().copied();
        let mut routers = routers.filter(|router| is_router(own, *router));
        let router = routers.clone().find(|router| own.contains(router)).or_else(|| routers.next());
        Self { router, others: Vec::new() }
    }
}

/// The content of the option with classless routes; `None` without one.
fn classless(message: &Message) -> Option<&[u8]> {
    let codes = [OptionCode::ClasslessStaticRoute, OptionCode::from(CLASSLESS_ROUTES_PRIVATE)];
    codes
        .into_iter()
        .find_map(|code| message::raw_option(message, code))
        .filter(|content| !content.is_empty())
}

/// The routes in the content of option 121; `None` if it is malformed.
fn parse(content: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    let mut rest = content;
    while let Some((prefix_len, after)) = rest.split_first() {
        let (significant, after) = after.split_at_checked(usize::from(prefix_len.div_ceil(8)))?;
        let (router, after) = after.split_first_chunk::<4>()?;
        let mut octets = [0; 4];
        octets.get_mut(..significant.len())?.copy_from_slice(significant);
        // RFC 3442: bits of the destination beyond the mask count as 0.
        let to = Ipv4Net::new(octets.into(), *prefix_len).ok()?.trunc();
        let router = Some(Ipv4Addr::from(*router)).filter(|router| !router.is_unspecified());
        routes.push(Route { to, router });
        rest = after;
    }
    Some(routes)
}

fn is_router(own: Ipv4Net, router: Ipv4Addr) -> bool {
    router != own.addr() && is_unicast(router)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::message::{DhcpOption, raw};
    use crate::dhcp::options::Value;

    const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 1);

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn read(own: &str, routers: &[Ipv4Addr], content: Option<Vec<u8>>) -> (Routes, Vec<Reason>) {
        let mut message = Message::default();
        if !routers.is_empty() {
            message.opts_mut().insert(DhcpOption::Router(routers.to_vec()));
        }
        if let Some(content) = content {
            message.opts_mut().insert(raw(OptionCode::ClasslessStaticRoute, content));
        }
        let mut remarks = Vec::new();
        (Routes::from_message(&message, net(own), &[net("192.168.1.1/24")], &mut remarks), remarks)
    }

    fn classless(routes: &[(&str, Ipv4Addr)]) -> Option<Vec<u8>> {
        Some(Value::Routes(routes.iter().map(|(to, via)| (net(to), *via)).collect()).encode())
    }

    #[test]
    fn a_router_in_the_prefix_goes_before_one_outside_of_it() {
        let router = |own, routers: &[Ipv4Addr]| read(own, routers, None).0.router;
        assert_eq!(router("203.0.113.9/24", &[OTHER, ROUTER]), Some(ROUTER));
        assert_eq!(router("203.0.113.9/32", &[OTHER, ROUTER]), Some(OTHER));
        assert_eq!(router("203.0.113.9/32", &[Ipv4Addr::new(203, 0, 113, 9)]), None, "the client itself");
        assert_eq!(router("203.0.113.9/24", &[Ipv4Addr::BROADCAST, Ipv4Addr::UNSPECIFIED]), None);
    }

    /// RFC 3442: Classless routes go before the router option, and stand in for it.
    #[test]
    fn rfc3442_classless_routes_go_before_the_router_option() {
        let none = Ipv4Addr::UNSPECIFIED;
        let host = net("100.64.0.1/32");
        for routers in [&[][..], &[ROUTER]] {
            let content = classless(&[("100.64.0.1/32", none), ("0.0.0.0/0", OTHER), ("10.0.0.0/8", ROUTER)]);
            let (routes, remarks) = read("203.0.113.9/32", routers, content);
            let others =
                [Route { to: host, router: None }, Route { to: net("10.0.0.0/8"), router: Some(ROUTER) }];
            assert_eq!((routes.router, &routes.others[..]), (Some(OTHER), &others[..]));
            assert_eq!(remarks, []);
        }
        let (routes, _) = read("203.0.113.9/24", &[ROUTER], classless(&[("10.0.0.0/8", OTHER)]));
        assert_eq!(routes.router, None, "the router option is ignored");
    }

    /// RFC 3442: Bits beyond the mask are ignored.
    #[test]
    fn rfc3442_bits_beyond_the_mask_are_ignored() {
        let content = vec![9, 10, 0xff, 203, 0, 113, 1];
        let (routes, _) = read("203.0.113.9/24", &[], Some(content));
        assert_eq!(routes.others, [Route { to: net("10.128.0.0/9"), router: Some(ROUTER) }]);
    }

    #[test]
    fn a_malformed_option_is_told_and_the_router_option_is_used() {
        for content in [vec![33, 1, 2, 3, 4, 5, 203, 0, 113, 1], vec![8, 10, 203, 0, 113], vec![24, 10, 0]] {
            let (routes, remarks) = read("203.0.113.9/24", &[ROUTER], Some(content));
            assert_eq!((routes.router, remarks), (Some(ROUTER), vec![Reason::RoutesMalformed]));
        }
    }

    #[test]
    fn routes_into_the_lan_and_too_many_are_left_out() {
        let (routes, remarks) = read(
            "203.0.113.9/24",
            &[],
            classless(&[("192.168.1.128/25", ROUTER), ("192.168.0.0/16", ROUTER), ("0.0.0.0/0", ROUTER)]),
        );
        assert_eq!(routes.others, [Route { to: net("192.168.0.0/16"), router: Some(ROUTER) }]);
        assert_eq!(routes.router, Some(ROUTER));
        let left_out = Route { to: net("192.168.1.128/25"), router: Some(ROUTER) };
        assert_eq!(remarks, [Reason::RouteLeftOut(left_out)]);

        let many: Vec<_> = (0..20).map(|number| format!("10.{number}.0.0/16")).collect();
        let many = many.iter().map(|to| (to.as_str(), ROUTER)).chain([("0.0.0.0/0", OTHER)]);
        let (routes, remarks) = read("203.0.113.9/24", &[], classless(&many.collect::<Vec<_>>()));
        assert_eq!((routes.others.len(), remarks), (ROUTES_MAX, vec![Reason::RoutesTooMany]));
        assert_eq!(routes.router, Some(OTHER), "the default route does not count");
    }

    #[test]
    fn a_default_route_that_cannot_be_used_is_told() {
        for router in ["203.0.113.9", "224.0.0.1", "0.0.0.0"] {
            let router: Ipv4Addr = router.parse().unwrap();
            let (routes, remarks) = read("203.0.113.9/24", &[ROUTER], classless(&[("0.0.0.0/0", router)]));
            let left_out = Route {
                to: net("0.0.0.0/0"),
                router: Some(router).filter(|router| !router.is_unspecified()),
            };
            assert_eq!((routes, remarks), (Routes::default(), vec![Reason::RouteLeftOut(left_out)]));
        }
    }

    #[test]
    fn the_code_in_use_before_121_is_read_if_that_is_absent() {
        let of = |to: &str| classless(&[(to, ROUTER)]).unwrap();
        for (with_121, expected) in [(false, "10.2.0.0/16"), (true, "10.1.0.0/16")] {
            let mut message = Message::default();
            message.opts_mut().insert(raw(OptionCode::from(CLASSLESS_ROUTES_PRIVATE), of("10.2.0.0/16")));
            if with_121 {
                message.opts_mut().insert(raw(OptionCode::ClasslessStaticRoute, of("10.1.0.0/16")));
            }
            let routes = Routes::from_message(&message, net("203.0.113.9/24"), &[], &mut Vec::new());
            assert_eq!(routes.others, [Route { to: net(expected), router: Some(ROUTER) }]);
        }
    }
}
