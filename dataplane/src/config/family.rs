//! What a configuration says of each address family.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{Firewall, InboundRules};
use crate::key::Address;

/// A router of each family, where there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gateways {
    /// The router for IPv4.
    pub v4: Option<Ipv4Addr>,
    /// The router for IPv6; it has no effect yet.
    pub v6: Option<Ipv6Addr>,
}

/// An address of a family that configurations speak of: what is written for any family finds by it what is said of one.
pub trait Family: Address {
    /// The router of this family.
    fn gateway(gateways: &Gateways) -> Option<Self>;

    /// What is open to packets of this family.
    fn inbound_rules(firewall: &Firewall) -> &InboundRules<Self>;
}

impl Family for Ipv4Addr {
    fn gateway(gateways: &Gateways) -> Option<Self> {
        gateways.v4
    }

    fn inbound_rules(firewall: &Firewall) -> &InboundRules {
        &firewall.v4
    }
}

impl Family for Ipv6Addr {
    fn gateway(gateways: &Gateways) -> Option<Self> {
        gateways.v6
    }

    fn inbound_rules(firewall: &Firewall) -> &InboundRules<Self> {
        &firewall.v6
    }
}
