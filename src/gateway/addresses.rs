//! The only module that publishes the gateway's addresses.
//!
//! The configuration and the lease from the provider's DHCP server give the current addresses. The dataplane's
//! configuration and the host stack get them first, then they are published to subscribers: services and reports. The
//! mere renewal of a lease changes nothing.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use gatepost_dataplane::config::{self as dataplane, Mode, StaticRoute};
use gatepost_ground::Role;
use gatepost_services::addresses::{Addresses, InterfaceAddresses, Publisher};
use gatepost_services::net::stack::Stack;
use ipnet::IpNet;
use tracing::{info, warn};

use super::identity::Identity;
use super::wan_client::{Lease, Route};
use crate::config::{Config, WanAddress};

/// Publishes the addresses of one configuration.
pub struct AddressBook {
    /// The settings.
    pub config: Rc<Config>,
    /// The hardware addresses.
    pub identity: Identity,
    /// The dataplane's configuration; swapped in whole.
    pub plan: Arc<ArcSwap<dataplane::Config>>,
    /// Wakes the workers to take it in.
    pub wake_workers: Arc<dyn Fn() + Send + Sync>,
    /// The host stack.
    pub stack: Stack,
    /// The publisher to which readers subscribe.
    pub publisher: Publisher,
}

impl AddressBook {
    /// Applies `lease`, or the loss of it.
    pub fn apply(&self, lease: Option<&Lease>) {
        let new = addresses(&self.config, lease);
        self.change_plan(&new);
        self.stack.set_addresses(&new.for_host_stack());
        self.publisher.publish(new);
    }

    /// Swaps in the dataplane's configuration with `new` addresses.
    fn change_plan(&self, new: &Addresses) {
        let new = plan(&self.config, self.identity, new);
        let old = self.plan.load_full();
        let wan = |plan: &dataplane::Config| {
            let interface = plan.interface(Config::WAN);
            (interface.nets::<Ipv4Addr>().next(), interface.gateway.v4)
        };
        if wan(&new) != wan(&old) {
            match wan(&new) {
                (Some(address), Some(router)) => info!("WAN address {address}, router {router}"),
                (Some(address), None) => warn!("WAN address {address}, and no router to the internet"),
                (None, _) => warn!("no WAN address any more"),
            }
        }
        if new != *old {
            self.plan.store(Arc::new(new));
            (self.wake_workers)();
        }
    }
}

/// The dataplane's configuration while the gateway has `addresses`.
pub fn plan(config: &Config, identity: Identity, addresses: &Addresses) -> dataplane::Config {
    let wan = addresses.interface(Config::WAN);
    let address = wan.and_then(InterfaceAddresses::ipv4);
    let gateway = wan.and_then(InterfaceAddresses::ipv4_gateway);
    let mut plan = config.dataplane(identity.lan, identity.wan_of(config), address, gateway);
    if let (Some(wan), Some(interface)) = (wan, plan.interfaces.get_mut(Config::WAN.index())) {
        let routes = wan.routes.iter().map(|(to, router)| StaticRoute { to: *to, router: *router });
        interface.routes = routes.collect::<Vec<_>>().try_into().unwrap_or_default();
    }
    plan
}

/// The addresses by `config` and the provider's `lease`; a static address has precedence.
pub fn addresses(config: &Config, lease: Option<&Lease>) -> Addresses {
    let lan = InterfaceAddresses {
        id: Config::LAN,
        name: Config::interface_name(Config::LAN),
        role: Role::Inside,
        addresses: config.lan.addresses().map(IpNet::V4).collect(),
        gateways: config
            .lan
            .gateway
            .filter(|_| config.mode == Mode::LanOnly)
            .map(IpAddr::V4)
            .into_iter()
            .collect(),
        routes: Vec::new(),
        name_servers: Vec::new(),
    };
    let lease = lease.filter(|_| config.mode != Mode::LanOnly);
    let name_servers = lease.iter().flat_map(|lease| &lease.dns_servers).copied().map(IpAddr::V4).collect();
    let (address, gateway) = match config.wan.address {
        _ if config.mode == Mode::LanOnly => (None, None),
        WanAddress::Static { address, gateway } => (Some(address), gateway),
        WanAddress::Leased => (lease.map(|lease| lease.address), lease.and_then(|lease| lease.router)),
    };
    let routes = match config.wan.address {
        WanAddress::Leased => lease.iter().flat_map(|lease| &lease.routes).map(route).collect(),
        WanAddress::Static { .. } => Vec::new(),
    };
    let wan = InterfaceAddresses {
        id: Config::WAN,
        name: Config::interface_name(Config::WAN),
        role: Role::Outside,
        addresses: address.map(IpNet::V4).into_iter().collect(),
        gateways: gateway.map(IpAddr::V4).into_iter().collect(),
        routes,
        name_servers,
    };
    Addresses { interfaces: vec![lan, wan] }
}

fn route(route: &Route) -> (IpNet, Option<IpAddr>) {
    (route.to.into(), route.router.map(IpAddr::V4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, lease: Option<&Lease>) -> (Vec<String>, Vec<IpAddr>, Vec<IpAddr>) {
        let config = Config::parse("test", text).expect("a valid configuration");
        let addresses = addresses(&config, lease);
        let all = addresses.for_host_stack().iter().map(ToString::to_string).collect();
        let gateways = addresses.interface(Config::WAN).map(|wan| wan.gateways.clone()).unwrap_or_default();
        (all, gateways, addresses.offered_name_servers().collect())
    }

    #[test]
    fn a_static_address_goes_before_a_lease() {
        const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
        let lease = |address: &str| Lease {
            address: address.parse().expect("a network"),
            router: Some(ROUTER),
            routes: Vec::new(),
            dns_servers: vec![ROUTER],
            lease_secs: 600,
            domain: None,
            mtu: None,
            server: ROUTER,
        };
        let leased = lease("203.0.113.50/24");
        let lan = "192.168.1.1/24".to_owned();
        let wan = leased.address.to_string();
        assert_eq!(told("", None), (vec![lan.clone()], Vec::new(), Vec::new()));
        assert_eq!(
            told("", Some(&leased)),
            (vec![lan.clone(), wan], vec![ROUTER.into()], vec![ROUTER.into()])
        );
        assert_eq!(told("network.mode = 'lan-only'", Some(&leased)), told("", None));
        let set = "wan.address = '198.51.100.9/24'\nwan.gateway = '198.51.100.1'";
        let gateway = IpAddr::from([198, 51, 100, 1]);
        assert_eq!(told(set, None), (vec![lan, "198.51.100.9/24".to_owned()], vec![gateway], Vec::new()));
    }
}
