//! The parts of a configuration that exist for each address family.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Firewall, InboundRules};
use crate::key::Address;

/// The default routers of an interface, by family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gateways {
    /// The router for IPv4.
    pub v4: Option<Ipv4Addr>,
    /// The router for IPv6; it has no effect yet.
    pub v6: Option<Ipv6Addr>,
}

/// An address family with a part of the configuration: code that is generic over the family finds that part by this
/// trait.
pub trait Family: Address {
    /// `address`, if it is of this family.
    fn of_ip(address: IpAddr) -> Option<Self>;

    /// The router of this family.
    fn gateway(gateways: &Gateways) -> Option<Self>;

    /// The inbound rules of this family.
    fn inbound_rules(firewall: &Firewall) -> &InboundRules<Self>;
}

impl Family for Ipv4Addr {
    fn of_ip(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }

    fn gateway(gateways: &Gateways) -> Option<Self> {
        gateways.v4
    }

    fn inbound_rules(firewall: &Firewall) -> &InboundRules {
        &firewall.v4
    }
}

impl Family for Ipv6Addr {
    fn of_ip(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }
    }

    fn gateway(gateways: &Gateways) -> Option<Self> {
        gateways.v6
    }

    fn inbound_rules(firewall: &Firewall) -> &InboundRules<Self> {
        &firewall.v6
    }
}
