//! The networks that the gateway is connected to, as every packet asks for them.

use core::net::Ipv4Addr;
use core::ops::Range;

use gatepost_ground::{InterfaceId, MacAddr, Role};
use ipnet::Ipv4Net;

use crate::config::{Config, Interface, Mode};
use crate::table::per_interface::PerInterface;

/// The networks on all interfaces, and what packets ask of the interfaces themselves.
#[derive(Clone, Debug)]
pub(super) struct Networks {
    /// Those of the inside come first, and those of one interface stand together: as many as fit into the places.
    all: Box<[Network]>,
    inside: Box<[Network]>,
    /// Where the networks of each interface stand in `all`.
    places: PerInterface<Range<u8>>,
    facts: PerInterface<Facts>,
    /// The gateway's own addresses and those that stand for all hosts of a network.
    special: Box<[(Ipv4Addr, Place)]>,
    special_marks: Marks,
    /// The gateway's hardware addresses.
    macs: Box<[MacAddr]>,
    mac_marks: Marks,
    /// As what the inside is seen by each outside interface.
    externals: PerInterface<Option<Ipv4Addr>>,
    has_several_outside: bool,
    inside_mtus: Range<u16>,
}

/// The last six bits of a few addresses. Most addresses are none of them, and need not be compared with each.
#[derive(Clone, Copy, Debug, Default)]
struct Marks(u64);

impl Marks {
    fn of(addresses: impl Iterator<Item = u8>) -> Self {
        Self(addresses.fold(0, |marks, last| marks | 1 << (last & 63)))
    }

    #[inline]
    fn may_have(self, last: u8) -> bool {
        self.0 >> (last & 63) & 1 != 0
    }
}

/// What packets ask of an interface.
#[derive(Clone, Copy, Debug)]
// A power of two is quicker to find.
#[repr(align(16))]
pub(super) struct Facts {
    /// What the interface is to the policy.
    pub(super) role: Role,
    /// The gateway's hardware address there.
    pub(super) mac: MacAddr,
    /// The largest packet that it carries, in octets.
    pub(super) mtu: u16,
}

/// Where an address stands among the gateway's networks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// If it is the gateway's own, the role of its interface.
    pub(super) own: Option<Role>,
    /// Whether it stands for all hosts of a network.
    pub(super) is_broadcast: bool,
}

const _: () = assert!(InterfaceId::COUNT_MAX * Interface::ADDRESSES_MAX <= u8::MAX as usize);

impl Networks {
    pub(super) fn of_config(config: &Config) -> Self {
        let mut all = Vec::new();
        let mut places = PerInterface::from_fn(|_| 0..0);
        // The places without an interface are never asked for.
        let mut facts = PerInterface::from_fn(|_| Facts { role: Role::Outside, mac: MacAddr::ZERO, mtu: 0 });
        let outside = config.interfaces_of(Role::Outside);
        for (id, interface) in config.interfaces_of(Role::Inside).chain(outside) {
            let counts = config.mode != Mode::LanOnly || interface.role == Role::Inside;
            let start = all.len() as u8;
            let addresses = interface.ipv4().filter(|_| counts);
            all.extend(addresses.map(|net| Network::of_address(net, id, interface.role)));
            places[id] = start..all.len() as u8;
            facts[id] = Facts { role: interface.role, mac: interface.mac(), mtu: interface.mtu };
        }
        let mtus = || config.interfaces_of(Role::Inside).map(|(_, interface)| interface.mtu);
        let place = |address| Place {
            own: all.iter().find(|network: &&Network| network.own == address).map(|network| network.role),
            is_broadcast: all.iter().any(|network| network.is_broadcast(address)),
        };
        let special: Box<[_]> =
            all.iter().flat_map(Network::special).map(|address| (address, place(address))).collect();
        let macs: Box<[_]> = config.interfaces.iter().map(Interface::mac).collect();
        Self {
            externals: PerInterface::from_fn(|id| external(config, &all, id)),
            has_several_outside: has_several_outside(&all),
            inside: all.iter().filter(|network| network.role == Role::Inside).copied().collect(),
            special_marks: Marks::of(special.iter().map(|(address, _)| address.octets()[3])),
            special,
            all: all.into_boxed_slice(),
            places,
            facts,
            mac_marks: Marks::of(macs.iter().map(|mac| mac.0[5])),
            macs,
            inside_mtus: mtus().min().unwrap_or(0)..mtus().max().unwrap_or(0),
        }
    }

    /// What packets ask of the interface `id`.
    #[inline]
    pub(super) fn facts(&self, id: InterfaceId) -> &Facts {
        &self.facts[id]
    }

    /// Whether `mac` is one of the gateway's.
    #[inline]
    pub(super) fn is_own_mac(&self, mac: MacAddr) -> bool {
        self.mac_marks.may_have(mac.0[5]) && self.macs.contains(&mac)
    }

    /// The gateway's networks on the interface `id`.
    #[inline]
    pub(super) fn on(&self, id: InterfaceId) -> &[Network] {
        let Range { start, end } = self.places[id];
        self.all.get(usize::from(start)..usize::from(end)).unwrap_or(&[])
    }

    /// All networks, those of the inside first.
    pub(super) fn all(&self) -> &[Network] {
        &self.all
    }

    /// The network on the interface `id` from which the gateway speaks to the neighbour `address`: the one that has the
    /// neighbour, else the first. `None` if the gateway has no address there.
    pub(super) fn towards(&self, id: InterfaceId, address: Ipv4Addr) -> Option<&Network> {
        let networks = self.on(id);
        networks.iter().find(|network| network.contains(address)).or(networks.first())
    }

    /// Whether `address` stands for the gateway, or for all hosts of a network.
    #[inline]
    pub(super) fn place(&self, address: Ipv4Addr) -> Place {
        if !self.special_marks.may_have(address.octets()[3]) {
            return Place::default();
        }
        self.special
            .iter()
            .find(|(special, _)| *special == address)
            .map_or(Place::default(), |(_, place)| *place)
    }

    /// Whether the inside interface `id` has a network with `address`.
    #[inline]
    pub(super) fn is_on_inside(&self, id: InterfaceId, address: Ipv4Addr) -> bool {
        self.inside.iter().any(|network| network.contains(address) && network.interface == id)
    }

    /// Whether a network of the inside has `address`.
    #[inline]
    pub(super) fn is_inside(&self, address: Ipv4Addr) -> bool {
        self.inside.iter().any(|network| network.contains(address))
    }

    /// Whether one of the networks has `address`.
    pub(super) fn is_near(&self, address: Ipv4Addr) -> bool {
        self.all.iter().any(|network| network.contains(address))
    }

    /// The role of the interface on which `address` is the gateway's own.
    #[inline]
    pub(super) fn own_role(&self, address: Ipv4Addr) -> Option<Role> {
        self.place(address).own
    }

    /// The address that the inside shares on its way out by the interface `id`; `None` while there is none.
    #[inline]
    pub(super) fn external_of(&self, id: InterfaceId) -> Option<Ipv4Addr> {
        self.externals[id]
    }

    /// The addresses that the inside shares, one for each outside interface that has any.
    pub(super) fn externals(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.externals.iter().flatten().copied()
    }

    /// Whether the gateway has addresses on more than one outside interface.
    #[inline]
    pub(super) fn has_several_outside(&self) -> bool {
        self.has_several_outside
    }

    /// The outside interface on which `address` is the gateway's own.
    pub(super) fn outside_of(&self, address: Ipv4Addr) -> Option<InterfaceId> {
        let mut outside = self.all.iter().filter(|network| network.role == Role::Outside);
        outside.find(|network| network.own == address).map(|network| network.interface)
    }

    /// Whether `address` stands for all hosts of one of the networks.
    #[inline]
    pub(super) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        self.place(address).is_broadcast
    }

    /// The smallest and the largest MTU of the inside.
    #[inline]
    pub(super) fn inside_mtus(&self) -> Range<u16> {
        self.inside_mtus.clone()
    }
}

/// As what the inside is seen by the interface `id`, if that is outside: the gateway's address in the network of its
/// router, else its first.
fn external(config: &Config, all: &[Network], id: InterfaceId) -> Option<Ipv4Addr> {
    let gateway = config.interfaces.get(id.index())?.gateway;
    let outside = || all.iter().filter(|network| network.interface == id && network.role == Role::Outside);
    let nearest = gateway.and_then(|gateway| outside().find(|network| network.contains(gateway)));
    nearest.or(outside().next()).map(Network::own)
}

fn has_several_outside(all: &[Network]) -> bool {
    let mut outside = all.iter().filter(|network| network.role == Role::Outside).map(Network::interface);
    outside.next().is_some_and(|first| outside.any(|other| other != first))
}

/// A network on one interface, by one of the gateway's addresses there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    own: Ipv4Addr,
    network: u32,
    mask: u32,
    /// Whether it has addresses that stand for all its hosts: a network of two or one has none. // RFC 3021
    has_broadcasts: bool,
    interface: InterfaceId,
    role: Role,
}

impl Network {
    fn of_address(net: Ipv4Net, interface: InterfaceId, role: Role) -> Self {
        Self {
            own: net.addr(),
            network: net.network().to_bits(),
            mask: net.netmask().to_bits(),
            has_broadcasts: net.prefix_len() < 31,
            interface,
            role,
        }
    }

    /// The addresses in the network that no host of it has, at most.
    fn special(&self) -> [Ipv4Addr; 3] {
        [self.own, Ipv4Addr::from_bits(self.network), Ipv4Addr::from_bits(self.network | !self.mask)]
    }

    /// The gateway's own address there.
    #[inline]
    pub(super) fn own(&self) -> Ipv4Addr {
        self.own
    }

    /// The interface that leads to it.
    pub(super) fn interface(&self) -> InterfaceId {
        self.interface
    }

    #[inline]
    pub(super) fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask == self.network
    }

    /// Whether `address` stands for all its hosts, in today's form or that of old.
    /// // RFC 1812 section 4.2.3.1
    #[inline]
    pub(super) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        let host = address.to_bits() & !self.mask;
        self.contains(address) && self.has_broadcasts && (host == 0 || host == !self.mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::of_address(text.parse().expect("a network"), InterfaceId(0), Role::Inside)
    }

    fn address(text: &str) -> Ipv4Addr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_network_knows_its_own() {
        let network = network("192.168.1.1/24");
        assert_eq!(network.own(), address("192.168.1.1"));
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

    /// RFC 3021: A network of two has no broadcast.
    #[test]
    fn rfc3021_a_network_of_two_has_no_broadcast() {
        for text in ["10.0.0.0", "10.0.0.1"] {
            assert!(!network("10.0.0.0/31").is_broadcast(address(text)));
        }
        assert!(network("10.0.0.1/32").contains(address("10.0.0.1")));
        assert!(!network("10.0.0.1/32").contains(address("10.0.0.2")));
    }
}
