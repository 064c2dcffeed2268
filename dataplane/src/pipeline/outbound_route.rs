//! Routes of packets whose source has a say in where they leave: a provider takes packets from its own addresses only
//! (BCP 38), so what has the gateway's address on one outside interface leaves by that one.

use core::net::Ipv4Addr;

use gatepost_ground::Role;

use super::Dataplane;
use crate::route::Route;

impl Dataplane {
    /// The way to `destination` of a packet that leaves with the address `source`.
    #[inline]
    pub(super) fn route_from(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Option<Route> {
        let route = self.routes.lookup(destination)?;
        if route.role == Role::Outside && self.networks.has_several_outside() {
            return self.route_by_source(route, source, destination);
        }
        Some(route)
    }

    /// As [`Dataplane::route_from`], of a packet of the gateway's own, which may still get another address: it leaves as
    /// any other does if there is no way by the interface that has its source.
    #[inline]
    pub(super) fn route_of_host(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Option<Route> {
        self.route_from(source, destination).or_else(|| self.routes.lookup(destination))
    }

    #[cold]
    #[inline(never)]
    fn route_by_source(&self, route: Route, source: Ipv4Addr, destination: Ipv4Addr) -> Option<Route> {
        match self.networks.outside_of(source) {
            Some(interface) if interface != route.interface => self.routes.lookup_by(interface, destination),
            _ => Some(route),
        }
    }
}
