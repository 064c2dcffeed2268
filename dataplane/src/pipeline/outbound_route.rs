//! Routes that depend on the source: a provider accepts only packets from its own addresses (RFC 2827, section 3), so a
//! packet with the gateway's address on one outside interface leaves by that interface.

use core::net::Ipv4Addr;

use gatepost_ground::Role;

use super::Dataplane;
use super::network::Networks;
use crate::explain::Run;
use crate::key::Address;
use crate::route::{Route, Routes};

impl<M: Run> Dataplane<M> {
    /// The route to `destination` of a packet that leaves with the address `source`.
    #[inline]
    pub(super) fn route_from(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Option<Route> {
        route_from(&self.routes, &self.networks, source, destination)
    }

    /// As [`Dataplane::route_from`], for a packet of the host stack, which may still get another source: if there is
    /// no route by the interface with its source, the packet takes the route to its destination.
    #[inline]
    pub(super) fn route_of_host(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Option<Route> {
        self.route_from(source, destination).or_else(|| self.routes.lookup(destination))
    }
}

/// The route to `destination` of a packet that leaves with the address `source`, which is in one of `networks` or is
/// a host's behind them.
#[inline]
fn route_from<A: Address>(
    routes: &Routes<A>,
    networks: &Networks<A>,
    source: A,
    destination: A,
) -> Option<Route<A>> {
    let route = routes.lookup(destination)?;
    if route.role == Role::Outside && networks.has_several_outside() {
        return route_by_source(routes, networks, route, source, destination);
    }
    Some(route)
}

#[cold]
#[inline(never)]
fn route_by_source<A: Address>(
    routes: &Routes<A>,
    networks: &Networks<A>,
    route: Route<A>,
    source: A,
    destination: A,
) -> Option<Route<A>> {
    match networks.outside_of(source) {
        Some(interface) if interface != route.interface => routes.lookup_by(interface, destination),
        _ => Some(route),
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use gatepost_ground::InterfaceId;

    use super::*;
    use crate::config::testing::config_of_both_families;
    use crate::key::testing::v6;

    #[test]
    fn the_source_decides_between_two_providers_of_ipv6() {
        let config = config_of_both_families();
        let (routes, networks) = (Routes::<Ipv6Addr>::of_config(&config), Networks::of_config(&config));
        let interface = |source| {
            route_from(&routes, &networks, source, v6(0xff, 1)).map(|route| (route.interface, route.gateway))
        };
        let (first, second) = ((InterfaceId(1), Some(v6(1, 1))), (InterfaceId(2), Some(v6(2, 1))));
        assert_eq!(interface(v6(1, 0x10)), Some(first));
        assert_eq!(interface(v6(2, 0x10)), Some(second));
        assert_eq!(interface(v6(7, 20)), Some(first), "an inside host's address says nothing");
    }
}
