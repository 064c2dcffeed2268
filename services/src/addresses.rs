//! The addresses of the gateway's interfaces, published as one state.
//!
//! The gateway publishes a whole [`Addresses`]: the configured addresses, and those from the provider's DHCP server.
//! Services [subscribe](Subscription) and read the latest state; states in between may be skipped.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use crate::watch;
use gatepost_ground::{InterfaceId, Role};
use ipnet::{IpNet, Ipv4Net};

/// Whether two networks share an address.
pub fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// The addresses of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceAddresses {
    /// The interface's number in the dataplane.
    pub id: InterfaceId,
    /// The interface's name in the configuration.
    pub name: &'static str,
    /// The interface's role: inside or outside.
    pub role: Role,
    /// The gateway's own addresses there, each with the network's prefix; the preferred first.
    pub addresses: Vec<IpNet>,
    /// The next hops beyond the networks, at most one of each family.
    pub gateways: Vec<IpAddr>,
    /// Further networks that are reached by the interface, each with its router; `None`: its hosts are neighbours.
    pub routes: Vec<(IpNet, Option<IpAddr>)>,
    /// The name servers that came with the addresses.
    pub name_servers: Vec<IpAddr>,
}

impl InterfaceAddresses {
    /// The preferred IPv4 address with its network.
    pub fn ipv4(&self) -> Option<Ipv4Net> {
        self.addresses.iter().find_map(|address| match address {
            IpNet::V4(address) => Some(*address),
            IpNet::V6(_) => None,
        })
    }

    /// The next hop for IPv4.
    pub fn ipv4_gateway(&self) -> Option<Ipv4Addr> {
        self.gateways.iter().find_map(|gateway| match gateway {
            IpAddr::V4(gateway) => Some(*gateway),
            IpAddr::V6(_) => None,
        })
    }
}

/// The addresses of all interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// The interfaces, by their numbers.
    pub interfaces: Vec<InterfaceAddresses>,
}

impl Addresses {
    /// The interface with the number `id`.
    pub fn interface(&self, id: InterfaceId) -> Option<&InterfaceAddresses> {
        self.interfaces.iter().find(|interface| interface.id == id)
    }

    /// The interfaces of `role`.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &InterfaceAddresses> {
        self.interfaces.iter().filter(move |interface| interface.role == role)
    }

    /// The IPv4 addresses of the interfaces of `role`, one each.
    pub fn ipv4(&self, role: Role) -> impl Iterator<Item = Ipv4Net> {
        self.of(role).filter_map(InterfaceAddresses::ipv4)
    }

    /// All IPv4 addresses of the interfaces of `role`, the preferred one of each interface first.
    pub fn all_ipv4(&self, role: Role) -> impl Iterator<Item = Ipv4Net> {
        let addresses = self.of(role).flat_map(|interface| &interface.addresses);
        addresses.filter_map(|address| match address {
            IpNet::V4(address) => Some(*address),
            IpNet::V6(_) => None,
        })
    }

    /// The addresses and ports at which a service of `ports` listens: those of the inside's IPv4 addresses and, if it
    /// is `on_outside`, of the outside's.
    pub fn places(&self, ports: &[u16], on_outside: bool) -> BTreeSet<SocketAddr> {
        let outside = self.all_ipv4(Role::Outside).filter(|_| on_outside);
        let networks = self.all_ipv4(Role::Inside).chain(outside);
        let at = |network: Ipv4Net| ports.iter().map(move |port| SocketAddr::from((network.addr(), *port)));
        networks.flat_map(at).collect()
    }

    /// All addresses in the order that the host stack needs: for a destination without a network of its own the stack
    /// uses the last address of the family, so those of the outside come last, and of each interface the preferred.
    pub fn for_host_stack(&self) -> Vec<IpNet> {
        let interfaces = self.of(Role::Inside).chain(self.of(Role::Outside));
        interfaces.flat_map(|interface| interface.addresses.iter().rev().copied()).collect()
    }

    /// Whether `address` is in a network of the inside. The dataplane has verified that a packet with this source came
    /// from there.
    pub fn is_inside(&self, address: IpAddr) -> bool {
        self.of(Role::Inside).flat_map(|inside| &inside.addresses).any(|network| network.contains(&address))
    }

    /// Whether `address` is one of the gateway's own, on either side.
    pub fn is_own(&self, address: IpAddr) -> bool {
        let addresses = self.interfaces.iter().flat_map(|interface| &interface.addresses);
        addresses.into_iter().any(|network| network.addr() == address)
    }

    /// The name servers that the outside offers.
    pub fn offered_name_servers(&self) -> impl Iterator<Item = IpAddr> {
        self.of(Role::Outside).flat_map(|interface| &interface.name_servers).copied()
    }
}

/// A receiver of the current addresses and of their changes.
pub type Subscription = watch::Receiver<Rc<Addresses>>;

/// Publishes addresses. Subscribers get no more updates once the publisher is dropped.
pub struct Publisher {
    sender: watch::Sender<Rc<Addresses>>,
}

impl Publisher {
    /// Publishes `first`.
    pub fn new(first: Addresses) -> Self {
        Self { sender: watch::Sender::new(Rc::new(first)) }
    }

    /// A receiver of the addresses.
    pub fn subscribe(&self) -> Subscription {
        self.sender.subscribe()
    }

    /// The state that was published last.
    pub fn current(&self) -> Rc<Addresses> {
        Rc::clone(&self.sender.borrow())
    }

    /// Publishes `new` and returns `true`, unless it equals the state that was published last.
    pub fn publish(&self, new: Addresses) -> bool {
        self.sender.send_if_modified(|current| {
            let is_news = **current != new;
            if is_news {
                *current = Rc::new(new);
            }
            is_news
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::first_of;

    fn interface(id: u8, role: Role, addresses: &[&str]) -> InterfaceAddresses {
        InterfaceAddresses {
            id: InterfaceId(id),
            name: "name",
            role,
            addresses: addresses.iter().map(|text| text.parse().expect("a network")).collect(),
            gateways: vec!["fe80::1".parse().expect("an address"), Ipv4Addr::new(203, 0, 113, 1).into()],
            routes: Vec::new(),
            name_servers: vec![
                "2001:db8::53".parse().expect("an address"),
                Ipv4Addr::new(198, 51, 100, id).into(),
            ],
        }
    }

    /// RFC 4787, REQ-7: Networks overlap when one holds the other.
    #[test]
    fn rfc4787_req7_networks_overlap_when_one_holds_the_other() {
        let net = |text: &str| text.parse::<Ipv4Net>().expect("a network");
        for (a, b, expected) in [
            ("192.168.1.77/24", "192.168.1.1/24", true),
            ("192.168.0.5/16", "192.168.1.1/24", true),
            ("192.168.1.200/30", "192.168.1.1/24", true),
            ("192.168.2.5/24", "192.168.1.1/24", false),
            ("203.0.113.9/24", "192.168.1.1/24", false),
        ] {
            assert_eq!(overlap(net(a), net(b)), expected, "{a} {b}");
            assert_eq!(overlap(net(b), net(a)), expected, "{b} {a}");
        }
    }

    #[test]
    fn the_outside_comes_last_and_offers_name_servers() {
        let outside = interface(0, Role::Outside, &["2001:db8::1/64", "203.0.113.10/24", "203.0.113.11/24"]);
        let inside = interface(1, Role::Inside, &["192.168.1.1/24", "10.0.0.1/24"]);
        let addresses = Addresses { interfaces: vec![outside, inside] };
        let networks: Vec<_> = addresses.for_host_stack().iter().map(ToString::to_string).collect();
        let expected =
            ["10.0.0.1/24", "192.168.1.1/24", "203.0.113.11/24", "203.0.113.10/24", "2001:db8::1/64"];
        assert_eq!(networks, expected);
        let places = |on_outside| addresses.places(&[53], on_outside).len();
        assert_eq!((places(false), places(true)), (2, 4));
        let offered: Vec<_> = addresses.offered_name_servers().map(|server| server.to_string()).collect();
        assert_eq!(offered, ["2001:db8::53", "198.51.100.0"]);
        let gateway = addresses.interfaces[0].ipv4_gateway();
        assert_eq!(gateway, Some(Ipv4Addr::new(203, 0, 113, 1)));
        assert_eq!(addresses.interface(InterfaceId(1)).map(|interface| interface.role), Some(Role::Inside));
    }

    #[tokio::test]
    async fn subscribers_are_told_of_news_only() {
        let publisher = Publisher::new(Addresses::default());
        let mut subscription = publisher.subscribe();
        assert!(!publisher.publish(Addresses::default()));
        let told = async |subscription: &mut Subscription| {
            first_of(async { subscription.changed().await.is_ok() }, std::future::ready(false)).await
        };
        assert!(!told(&mut subscription).await);
        let new = Addresses { interfaces: vec![interface(0, Role::Inside, &["10.0.0.1/8"])] };
        assert!(publisher.publish(new.clone()));
        assert!(told(&mut subscription).await);
        assert_eq!((&**subscription.borrow_and_update(), &*publisher.current()), (&new, &new));
    }
}
