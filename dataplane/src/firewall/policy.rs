//! The policy's effect on the flow table: the ports that no mapping may have, and the flows that a change of
//! configuration ends.

use core::ops::RangeInclusive;

use gatepost_ground::Role;
use gatepost_ground::wire::Protocol;

use super::{InboundMatch, external_port, hairpin_target, match_inbound};
use crate::config::{Config, Family, InboundRules, Interface};
use crate::flow::{Egress, Flow};
use crate::key::{Address, Direction, Endpoint};

/// The port of a DHCP client, which no mapping may have: replies of the provider's DHCP server are for the gateway.
/// (RFC 2131, section 4.1)
const DHCP_CLIENT_PORT: u16 = 68;

/// The ports of the WAN address that belong to services and forwards, and to no mapping.
pub fn reserved_ports<A: Address>(
    rules: &InboundRules<A>,
    protocol: Protocol,
) -> impl Iterator<Item = RangeInclusive<u16>> {
    let services = rules.wan_services.iter().filter(move |service| service.protocol == protocol);
    let forwards = rules.forwards.iter().filter(move |forward| forward.protocol == protocol);
    let dhcp = (protocol == Protocol::UDP).then_some(DHCP_CLIENT_PORT..=DHCP_CLIENT_PORT);
    services
        .map(|service| service.port..=service.port)
        .chain(forwards.map(|forward| forward.wan_ports.clone()))
        .chain(dhcp)
}

/// Whether `config` still allows a flow that was opened before.
pub fn is_allowed<A: Family>(config: &Config, flow: &Flow<'_, A>) -> bool {
    Direction::BOTH.into_iter().all(|direction| is_end_allowed(config, flow, direction))
}

/// Whether the sender of the packets of `direction` may take part in the flow.
fn is_end_allowed<A: Family>(config: &Config, flow: &Flow<'_, A>, direction: Direction) -> bool {
    let rules = A::inbound_rules(&config.firewall);
    let inside = flow.key(direction).source;
    let external = flow.key(direction.opposite()).destination;
    let is_mapped = flow.mapping(direction).is_some();
    match flow.egress(direction.opposite()) {
        Egress::To(Role::Outside) | Egress::Hairpin => true,
        Egress::Stack => {
            let (protocol, outside) = (flow.key(direction).protocol, flow.key(direction.opposite()).source);
            is_own(config, inside.address)
                && (is_mapped
                    || match_inbound(rules, protocol, external.port, outside.address)
                        == InboundMatch::Service)
        }
        Egress::To(Role::Inside) => {
            config
                .interfaces_of(Role::Inside)
                .flat_map(|(_, interface)| interface.nets::<A>())
                .any(|net| inside.address.is_in(&net))
                && (is_mapped || is_admitted(rules, flow, direction, inside, external))
        }
    }
}

fn is_own<A: Address>(config: &Config, address: A) -> bool {
    config.interfaces.iter().flat_map(Interface::nets::<A>).any(|net| A::split_net(net).0 == address)
}

/// Whether the inbound rules let the flow's other end reach the LAN's `inside` at `external`.
fn is_admitted<A: Address>(
    rules: &InboundRules<A>,
    flow: &Flow<'_, A>,
    direction: Direction,
    inside: Endpoint<A>,
    external: Endpoint<A>,
) -> bool {
    let protocol = flow.key(direction).protocol;
    let is_default = rules.dmz_host == Some(inside.address) && inside.port == external.port;
    if direction == Direction::Original {
        return external_port(rules, protocol, inside) == Some(external.port);
    }
    let is_from_wan = flow.egress(Direction::Reply) == Egress::To(Role::Outside);
    let target = if is_from_wan {
        match match_inbound(rules, protocol, external.port, flow.key(Direction::Original).source.address) {
            InboundMatch::Forward(target) => Some(target),
            InboundMatch::None => None,
            InboundMatch::Service | InboundMatch::ServiceDenied | InboundMatch::ForwardDenied => {
                return false;
            }
        }
    } else {
        hairpin_target(rules, protocol, external.port)
    };
    target.map_or(is_default, |target| target == inside)
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use gatepost_ground::Instant;
    use ipnet::Ipv6Net;

    use super::*;
    use crate::config::Forward;
    use crate::config::testing::config_of_both_families;
    use crate::flow::{FlowTable, NewFlow, Packet, Server, Timeouts, Transport};
    use crate::key::testing::v6;
    use crate::shard::Shard;

    const SSH: u16 = 22;

    #[test]
    fn a_flow_of_ipv6_is_allowed_by_what_is_open_to_ipv6() {
        let host = Endpoint::new(v6(7, 20), SSH);
        let forward = |from| Forward {
            protocol: Protocol::TCP,
            wan_ports: SSH..=SSH,
            to: host.address,
            to_port: SSH,
            from: vec![from],
        };
        let mut config = config_of_both_families();
        let mut flows = FlowTable::<Ipv6Addr>::new(&config.nat, Timeouts::default(), Shard::SOLE, [1; 32]);
        let (remote, server) = (Endpoint::new(v6(9, 9), 4000), Server::static_mapping(host, host));
        let packet = Packet { transport: Transport::Udp, octets: 100 };
        let new = NewFlow::Inbound { remote, server };
        let ways = [Egress::To(Role::Inside), Egress::To(Role::Outside)];
        let id = flows.open(Instant::from_secs(1), &new, ways, &packet).expect("room");
        let flow = flows.flow(id);

        assert!(!is_allowed(&config, &flow), "nothing is open");
        let protocol = flow.key(Direction::Original).protocol;
        let mut open = |from| {
            config.firewall.v6.forwards = vec![Forward { protocol, ..forward(from) }];
            is_allowed(&config, &flow)
        };
        assert!(open(Ipv6Net::default()));
        assert!(!open(Ipv6Net::new_assert(v6(8, 0), 64)), "to others only");
        config.firewall.v6.forwards.clear();
        config.firewall.v6.dmz_host = Some(host.address);
        assert!(is_allowed(&config, &flow));
        config.interfaces[0].addresses.clear();
        assert!(!is_allowed(&config, &flow), "the host's network has gone");
    }

    #[test]
    fn the_ports_of_one_family_are_reserved_in_that_family() {
        let mut firewall = crate::config::Firewall::default();
        firewall.v6.wan_services.push(crate::config::WanService::for_all(Protocol::TCP, 25));
        assert_eq!(reserved_ports(&firewall.v6, Protocol::TCP).collect::<Vec<_>>(), [25..=25]);
        assert_eq!(reserved_ports(&firewall.v4, Protocol::TCP).next(), None);
    }
}
