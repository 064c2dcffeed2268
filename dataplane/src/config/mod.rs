//! The configuration of a dataplane: ports, addresses, policy. Its builder validates it, and it is swapped in as a
//! whole.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::RangeInclusive;

use gatepost_ground::wire::vlan::{Tag, VlanId};
use gatepost_ground::wire::{Protocol, ethernet};
use gatepost_ground::{InterfaceId, MacAddr, PortId, PortSet, Role};
use ipnet::IpNet;

use crate::key::Address;

mod bounded;
mod family;

pub use bounded::{Bounded, Full};
pub use family::{Family, Gateways};

/// The whole configuration of a [`Dataplane`](crate::Dataplane).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The gateway's mode.
    pub mode: Mode,
    /// The interface of each port's untagged frames, indexed by [`PortId`]; at most [`PortId::COUNT_MAX`] ports. For
    /// a port that takes tagged frames only, an interface that does not exist.
    pub ports: Vec<InterfaceId>,
    /// The VLANs of ports that lead to interfaces. Frames of a VLAN that is not listed are bridged among the ports of
    /// the port's interface. Each listed VLAN counts as a port of its own, numbered after `ports`: see
    /// [`Config::vlan_ports`].
    pub vlans: Bounded<VlanPort, { PortId::COUNT_MAX }>,
    /// The gateway's interfaces, indexed by [`InterfaceId`]. In [`Mode::LanOnly`], interfaces with [`Role::Outside`]
    /// have no ports, and their addresses are ignored.
    pub interfaces: Bounded<Interface, { InterfaceId::COUNT_MAX }>,
    /// The firewall's settings.
    pub firewall: Firewall,
    /// The settings of flow tracking and translation.
    pub nat: Nat,
    /// The inspection of frames between LAN ports.
    pub inspection: Inspection,
}

impl Config {
    /// The interface `id`, which must exist.
    #[inline]
    pub fn interface(&self, id: InterfaceId) -> &Interface {
        &self.interfaces[id.index()]
    }

    /// All interfaces with their numbers.
    pub fn interfaces(&self) -> impl DoubleEndedIterator<Item = (InterfaceId, &Interface)> + Clone {
        self.interfaces.iter().enumerate().map(|(index, interface)| (InterfaceId(index as u8), interface))
    }

    /// The interfaces of one role.
    pub fn interfaces_of(&self, role: Role) -> impl Iterator<Item = (InterfaceId, &Interface)> + Clone {
        self.interfaces().filter(move |(_, interface)| interface.role == role)
    }

    /// The interface that `port` leads to; `None` for a port or an interface that does not exist.
    #[inline]
    pub fn interface_of(&self, port: PortId) -> Option<InterfaceId> {
        let untagged = self.ports.get(usize::from(port.0)).copied();
        let id = untagged.or_else(|| self.vlan_of(port).map(|vlan| vlan.interface));
        id.filter(|id| id.index() < self.interfaces.len() && usize::from(port.0) < PortId::COUNT_MAX)
    }

    /// The VLANs of ports, each with its own port number. VLANs without a number below [`PortId::COUNT_MAX`] and
    /// VLANs of an interface that does not exist are left out.
    pub fn vlan_ports(&self) -> impl DoubleEndedIterator<Item = (PortId, &VlanPort)> {
        let numbers = (0..PortId::COUNT_MAX).skip(self.ports.len()).map(|number| PortId(number as u8));
        numbers.zip(self.vlans.iter()).filter(|(_, vlan)| vlan.interface.index() < self.interfaces.len())
    }

    /// The VLAN whose port number is `port`; `None` if `port` is a port itself or does not exist.
    pub fn vlan_of(&self, port: PortId) -> Option<&VlanPort> {
        self.vlans.get(usize::from(port.0).checked_sub(self.ports.len())?)
    }

    /// The longest frame on any interface, its VLAN tags included, in octets.
    pub fn frame_len_max(&self) -> usize {
        let mtu = self.interfaces.iter().map(|interface| interface.mtu).max().unwrap_or(0);
        ethernet::Header::LEN + Tag::COUNT_MAX * Tag::LEN + usize::from(mtu)
    }

    /// All ports that lead to the interface `id`, and VLANs by their numbers.
    pub fn ports_of(&self, id: InterfaceId) -> PortSet {
        let ports = (0..PortId::COUNT_MAX).map(|port| PortId(port as u8));
        ports.filter(|port| self.interface_of(*port) == Some(id)).collect()
    }
}

/// The gateway's mode: how it connects its networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The gateway is an ordinary LAN host with services: no routing, NAT or firewall.
    LanOnly,
    /// Plain routing between LAN and WAN, firewall and NAT off.
    Router,
    /// The LAN is closed to the WAN and shares the WAN address.
    Nat,
    /// As `Nat`, and the WAN reaches only the listed services of the gateway, which is silent otherwise unless
    /// [`Firewall::stealth`] is off. The mode has nothing to do with [`InboundRules::dmz_host`].
    NatDmz,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 4] = [Self::LanOnly, Self::Router, Self::Nat, Self::NatDmz];

    /// The mode's name, as configuration and reports have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LanOnly => "lan-only",
            Self::Router => "router",
            Self::Nat => "nat",
            Self::NatDmz => "nat-dmz",
        }
    }

    /// Whether the LAN hides behind the WAN address.
    pub const fn translates(self) -> bool {
        matches!(self, Self::Nat | Self::NatDmz)
    }
}

/// The inspection of frames between LAN ports; off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Drops ARP that contradicts leases and reservations, or claims the gateway's address.
    pub arp: bool,
    /// Drops the messages of DHCP servers.
    pub dhcp: bool,
}

/// The gateway's presence on one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The name, as configuration and reports have it.
    pub name: String,
    /// The interface's role in the policy.
    pub role: Role,
    /// The link that carries the interface's packets.
    pub link: Link,
    /// The gateway's addresses, each with the prefix of its network; none while the DHCP client has no lease. The
    /// first address of a family is the default choice. IPv6 addresses have no effect yet.
    ///
    /// On an outside interface of a gateway that translates, one of them is the external address of the inside: the
    /// address in the network of `gateway`, else the first.
    pub addresses: Bounded<IpNet, { Interface::ADDRESSES_MAX }>,
    /// The default router of each family. It has no effect without an address of its family on the interface.
    pub gateway: Gateways,
    /// Further routes by the interface. Those of a family have no effect without an address of it on the interface.
    pub routes: Bounded<StaticRoute, { Interface::ROUTES_MAX }>,
    /// The largest IP packet that the interface carries, in octets, 576 to 65535.
    pub mtu: u16,
}

impl Interface {
    /// The most addresses of one interface.
    pub const ADDRESSES_MAX: usize = 8;
    /// The most further routes of one interface. Every packet searches them.
    pub const ROUTES_MAX: usize = 16;

    /// The addresses of one family, each with the prefix of its network.
    pub fn nets<A: Address>(&self) -> impl Iterator<Item = A::Net> + Clone {
        self.addresses.iter().filter_map(|net| A::of_net(*net))
    }

    /// The gateway's hardware address on the interface.
    #[inline]
    pub const fn mac(&self) -> MacAddr {
        match self.link {
            Link::Ethernet { mac } => mac,
        }
    }
}

/// A route to a network that is neither connected nor reached by the interface's default router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticRoute {
    /// The network.
    pub to: IpNet,
    /// The router, a neighbour on the interface whether or not it is in one of the interface's networks. `None`: the
    /// hosts of the network are neighbours themselves.
    pub router: Option<IpAddr>,
}

impl StaticRoute {
    /// Whether the route makes `address` a neighbour.
    pub(crate) fn has_neighbor(&self, address: IpAddr) -> bool {
        self.router.map_or_else(|| self.to.contains(&address), |router| router == address)
    }
}

/// A VLAN of a port: frames that come in by the port with this tag belong to the interface, and frames that the
/// interface sends there get the tag. A received tag's priority is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanPort {
    /// The port.
    pub port: PortId,
    /// The VLAN that the outer tag names.
    pub vid: VlanId,
    /// The interface that the VLAN leads to.
    pub interface: InterfaceId,
}

/// The link of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// One switched Ethernet behind all ports that lead to the interface.
    Ethernet {
        /// The gateway's hardware address.
        mac: MacAddr,
    },
}

/// The firewall's settings. They have an effect in [`Mode::Nat`] and [`Mode::NatDmz`] only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    /// [`Mode::NatDmz`]: the gateway sends no echo replies, TCP resets and ICMP errors to the outside, except
    /// "fragmentation needed", which path MTU discovery needs.
    pub stealth: bool,
    /// The inbound rules for IPv4.
    pub v4: InboundRules<Ipv4Addr>,
    /// The inbound rules for IPv6; they have no effect yet. No packet changes its family, so the rules of one family
    /// lead to hosts of that family only.
    pub v6: InboundRules<Ipv6Addr>,
}

/// The inbound rules of one address family: the packets from the WAN that the firewall admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundRules<A: Address = Ipv4Addr> {
    /// The gateway's own services that the WAN may use.
    pub wan_services: Vec<WanService<A>>,
    /// The forwards to LAN hosts; the first match wins.
    pub forwards: Vec<Forward<A>>,
    /// The default host ("DMZ host" in many routers): the LAN host that gets packets that match neither a service nor a
    /// forward nor a mapping.
    pub dmz_host: Option<A>,
}

impl<A: Address> Default for InboundRules<A> {
    /// Nothing.
    fn default() -> Self {
        Self { wan_services: Vec::new(), forwards: Vec::new(), dmz_host: None }
    }
}

/// A port of one of the gateway's own services that the WAN may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WanService<A: Address = Ipv4Addr> {
    /// [`Protocol::TCP`] or [`Protocol::UDP`].
    pub protocol: Protocol,
    /// The port on the WAN address.
    pub port: u16,
    /// The networks that may use the service.
    pub from: Vec<A::Net>,
}

impl<A: Address> WanService<A> {
    /// A port that any host may use.
    pub fn for_all(protocol: Protocol, port: u16) -> Self {
        Self { protocol, port, from: vec![A::Net::default()] }
    }
}

/// A forward: a port or a range of ports of the WAN address that leads to a LAN host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward<A: Address = Ipv4Addr> {
    /// [`Protocol::TCP`] or [`Protocol::UDP`].
    pub protocol: Protocol,
    /// The ports on the WAN address.
    pub wan_ports: RangeInclusive<u16>,
    /// The LAN host.
    pub to: A,
    /// The LAN host's port for the first of `wan_ports`; the others follow in order.
    pub to_port: u16,
    /// The networks on the WAN that may use the forward; LAN hosts always may (hairpin).
    pub from: Vec<A::Net>,
}

/// The settings of flow tracking and translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat {
    /// The filtering of mappings.
    pub filtering: Filtering,
    /// The most flows at one time.
    pub flows_max: u32,
    /// The most flows at one time that one inside host, the gateway included, has opened; and also the most that were
    /// opened to it from outside. A host is a [`Source`](crate::flow::Source).
    pub flows_per_host_max: u32,
}

/// The filtering behaviour of a NAT mapping: the remotes whose packets it admits. (RFC 4787, section 5)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtering {
    /// Any remote.
    EndpointIndependent,
    /// Remote addresses that the LAN host has sent to.
    AddressDependent,
    /// Remote addresses and ports that the LAN host has sent to.
    AddressAndPortDependent,
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::key::testing::v6;

    /// An inside and an outside interface with a port each, and no addresses.
    pub(crate) fn config(mode: Mode) -> Config {
        let interface = |name: &str, role, number| Interface {
            name: name.to_owned(),
            role,
            link: Link::Ethernet { mac: MacAddr([2, 0, 0, 0, 0, number]) },
            addresses: Bounded::new(),
            gateway: Gateways::default(),
            routes: Bounded::new(),
            mtu: 1500,
        };
        Config {
            mode,
            ports: vec![InterfaceId(0), InterfaceId(1)],
            vlans: Bounded::new(),
            interfaces: [interface("lan", Role::Inside, 1), interface("wan", Role::Outside, 2)].into(),
            firewall: Firewall::default(),
            nat: Nat { filtering: Filtering::AddressAndPortDependent, flows_max: 16, flows_per_host_max: 16 },
            inspection: Inspection::default(),
        }
    }

    /// A router with an address of each family inside, and of IPv6 outside, by two providers. Their routers are those
    /// of IPv6 and, where there is no address of it, of IPv4.
    pub(crate) fn config_of_both_families() -> Config {
        let nets = |texts: &[&str]| -> Vec<IpNet> {
            texts.iter().map(|text| text.parse().expect("a network")).collect()
        };
        let mut config = config(Mode::Router);
        let mut second = config.interfaces[1].clone();
        second.name = "wan2".to_owned();
        config.interfaces.push(second).expect("room");
        let addresses = [
            &["192.168.1.1/24", "2001:db8:7::1/64"][..],
            &["2001:db8:1::10/64", "2001:db8:3::10/127"],
            &["2001:db8:2::10/64"],
        ];
        let routers = [None, Some(1), Some(2)];
        for (interface, (addresses, router)) in
            config.interfaces.iter_mut().zip(addresses.into_iter().zip(routers))
        {
            interface.addresses = nets(addresses).try_into().expect("few");
            let v4 = router.map(|_| Ipv4Addr::new(203, 0, 113, 1));
            interface.gateway = Gateways { v4, v6: router.map(|number| v6(number, 1)) };
        }
        config
    }
}
