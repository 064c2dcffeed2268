//! What the policy means for the flow table: the ports it must not give away, and the flows that a
//! change of configuration ends.

use core::net::Ipv4Addr;
use core::ops::RangeInclusive;

use gatepost_ground::Role;
use gatepost_ground::wire::Protocol;

use super::{Claim, claim, external_port, hairpin_target};
use crate::config::{Config, Firewall, Interface};
use crate::flow::{Egress, Flow};
use crate::key::{Direction, Endpoint};

/// The port of a DHCP client, whose server's answers never belong to anybody else. // RFC 2131
const DHCP_CLIENT_PORT: u16 = 68;

/// The ports of the WAN address that belong to services and forwards, and to no mapping.
pub fn reserved_ports(firewall: &Firewall, protocol: Protocol) -> impl Iterator<Item = RangeInclusive<u16>> {
    let services = firewall.wan_services.iter().filter(move |service| service.protocol == protocol);
    let forwards = firewall.forwards.iter().filter(move |forward| forward.protocol == protocol);
    let dhcp = (protocol == Protocol::UDP).then_some(DHCP_CLIENT_PORT..=DHCP_CLIENT_PORT);
    services
        .map(|service| service.port..=service.port)
        .chain(forwards.map(|forward| forward.wan_ports.clone()))
        .chain(dhcp)
}

/// Whether `config` would let a flow be opened that was opened before.
pub fn is_allowed(config: &Config, flow: &Flow) -> bool {
    Direction::BOTH.into_iter().all(|direction| is_end_allowed(config, flow, direction))
}

/// Whether the sender of the packets of `direction` may take part in the flow.
fn is_end_allowed(config: &Config, flow: &Flow, direction: Direction) -> bool {
    let inside = flow.key(direction).source;
    let external = flow.key(direction.opposite()).destination;
    let is_mapped = flow.mapping(direction).is_some();
    match flow.egress(direction.opposite()) {
        Egress::To(Role::Outside) | Egress::External => true,
        Egress::Host => {
            let (protocol, outside) = (flow.key(direction).protocol, flow.key(direction.opposite()).source);
            is_own(config, inside.address)
                && (is_mapped
                    || claim(&config.firewall, protocol, external.port, outside.address) == Claim::Service)
        }
        Egress::To(Role::Inside) => {
            config
                .interfaces_of(Role::Inside)
                .flat_map(|(_, interface)| interface.ipv4())
                .any(|net| net.contains(&inside.address))
                && (is_mapped || is_bound(&config.firewall, flow, direction, inside, external))
        }
    }
}

fn is_own(config: &Config, address: Ipv4Addr) -> bool {
    config.interfaces.iter().flat_map(Interface::ipv4).any(|net| net.addr() == address)
}

/// Whether the firewall shows the LAN's `inside` to the flow's other end at `external`.
fn is_bound(
    firewall: &Firewall,
    flow: &Flow,
    direction: Direction,
    inside: Endpoint,
    external: Endpoint,
) -> bool {
    let protocol = flow.key(direction).protocol;
    let is_default = firewall.dmz_host == Some(inside.address) && inside.port == external.port;
    if direction == Direction::Original {
        return external_port(firewall, protocol, inside) == Some(external.port);
    }
    let is_from_wan = flow.egress(Direction::Reply) == Egress::To(Role::Outside);
    let target = if is_from_wan {
        match claim(firewall, protocol, external.port, flow.key(Direction::Original).source.address) {
            Claim::Forward(target) => Some(target),
            Claim::Unclaimed => None,
            Claim::Service | Claim::ServiceDenied | Claim::ForwardDenied => return false,
        }
    } else {
        hairpin_target(firewall, protocol, external.port)
    };
    target.map_or(is_default, |target| target == inside)
}
