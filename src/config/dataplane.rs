//! The dataplane's part of a configuration.

use std::net::Ipv4Addr;

use gatepost_dataplane::config::{
    self as dataplane, Bounded, Gateways, InboundRules, Interface, Link, Mode, WanService,
};
use gatepost_ground::{InterfaceId, MacAddr, Role};
use gatepost_services::service::Kind;
use ipnet::{IpNet, Ipv4Net};

use super::{Config, PortSpec, WanAddress};

/// The MTU of Ethernet. (RFC 894)
const LAN_MTU: u16 = 1500;

impl Config {
    /// The interface that `[lan]` becomes.
    pub const LAN: InterfaceId = InterfaceId(0);
    /// The interface that `[wan]` becomes.
    pub const WAN: InterfaceId = InterfaceId(1);

    /// The name of the interface `id` in the file and in reports.
    pub fn interface_name(id: InterfaceId) -> &'static str {
        if id == Self::LAN { "lan" } else { "wan" }
    }

    /// The ports to create, each with the interface that it leads to; a port's place here is its
    /// [`PortId`](gatepost_ground::PortId). [`Mode::LanOnly`] has none on the WAN.
    pub fn ports(&self) -> impl Iterator<Item = (InterfaceId, &PortSpec)> {
        let wan = if self.mode == Mode::LanOnly { &[][..] } else { &self.wan.ports };
        let lan = self.lan.ports.iter().map(|port| (Config::LAN, port));
        lan.chain(wan.iter().map(|port| (Config::WAN, port)))
    }

    /// The dataplane's configuration, with these hardware addresses of the interfaces.
    ///
    /// `wan_address` and `wan_gateway` come from the provider's DHCP server, if it has given a lease; a static
    /// [`WanAddress`] has precedence.
    pub fn dataplane(
        &self,
        lan_mac: MacAddr,
        wan_mac: MacAddr,
        wan_address: Option<Ipv4Net>,
        wan_gateway: Option<Ipv4Addr>,
    ) -> dataplane::Config {
        let is_lan_only = self.mode == Mode::LanOnly;
        let (wan_address, wan_gateway) = match self.wan.address {
            _ if is_lan_only => (None, None),
            WanAddress::Static { address, gateway } => (Some(address), gateway),
            WanAddress::Leased => (wan_address, wan_gateway),
        };
        dataplane::Config {
            mode: self.mode,
            ports: self.ports().map(|(interface, _)| interface).collect(),
            vlans: Bounded::new(),
            interfaces: [
                Interface {
                    name: Self::interface_name(Self::LAN).to_owned(),
                    role: Role::Inside,
                    link: Link::Ethernet { mac: lan_mac },
                    addresses: self
                        .lan
                        .addresses()
                        .map(IpNet::V4)
                        .collect::<Vec<_>>()
                        .try_into()
                        .unwrap_or_default(),
                    gateway: Gateways { v4: self.lan.gateway.filter(|_| is_lan_only), v6: None },
                    routes: Bounded::new(),
                    mtu: LAN_MTU,
                },
                Interface {
                    name: Self::interface_name(Self::WAN).to_owned(),
                    role: Role::Outside,
                    link: Link::Ethernet { mac: wan_mac },
                    addresses: wan_address.map(IpNet::V4).into(),
                    gateway: Gateways { v4: wan_gateway, v6: None },
                    routes: Bounded::new(),
                    mtu: self.wan.mtu,
                },
            ]
            .into(),
            firewall: dataplane::Firewall {
                stealth: self.firewall.stealth,
                v4: self.inbound_rules(),
                v6: InboundRules::default(),
            },
            nat: self.nat,
            inspection: dataplane::Inspection { arp: self.lan.inspect_arp, dhcp: self.lan.dhcp_snooping },
        }
    }

    /// The inbound rules for IPv4.
    fn inbound_rules(&self) -> InboundRules {
        InboundRules {
            wan_services: self.wan_services().flat_map(|kind| self.inbound_rules_of(kind)).collect(),
            forwards: self.firewall.forwards.iter().flat_map(|forward| forward.rules.clone()).collect(),
            dmz_host: self.firewall.dmz_host,
        }
    }

    /// The ports of a service on the WAN, with the networks that may use them.
    fn inbound_rules_of(&self, kind: &'static Kind) -> impl Iterator<Item = WanService> {
        let everybody = [Ipv4Net::default()];
        let from = self.access.to(kind.name).unwrap_or(&everybody).to_vec();
        self.services.ports_of(kind).into_iter().map(move |(protocol, port)| WanService {
            protocol,
            port,
            from: from.clone(),
        })
    }
}
