//! The hosts' addresses and names for captures.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::machine::internet::Internet;
use crate::scenario::members::{ATTACKER, VISITOR};
use crate::scenario::office::{ATTACKER_HOST, Office, PROVIDER_HOST, VISITOR_HOST};

/// Hosts that have an address in the beginning.
pub(super) fn in_the_beginning(office: &Office, internet: &Internet) -> Vec<(Ipv4Addr, String)> {
    let mut names = vec![(office.gateway_address(), "gateway".to_owned())];
    names.extend(internet.hosts());
    let own = (0..office.own_machines.len()).map(|number| office.identity(number, 0));
    names.extend(own.map(|own| (own.address.addr(), own.name)));
    names.extend(on_wan(office.isp_network, office.wan_address()));
    names
}

/// Hosts of the provider's `network`, where the gateway has the address `gateway`.
pub(super) fn on_wan(network: Ipv4Net, gateway: Ipv4Addr) -> [(Ipv4Addr, String); 4] {
    let host = |number| host_of(network, number).addr();
    [
        (gateway, "gateway-wan".to_owned()),
        (host(PROVIDER_HOST), "provider".to_owned()),
        (host(ATTACKER_HOST), ATTACKER.to_owned()),
        (host(VISITOR_HOST), VISITOR.to_owned()),
    ]
}

/// A host of a network, with its prefix.
pub(super) fn host_of(network: Ipv4Net, number: u32) -> Ipv4Net {
    let address = Ipv4Addr::from_bits(network.network().to_bits() + number);
    Ipv4Net::new(address, network.prefix_len()).expect("a network's own prefix")
}
