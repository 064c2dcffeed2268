//! The firewall's policy: pure decisions on the configuration, for packets of any address family.
//!
//! Packets of a flow never get here: the flow table admitted the flow when it was opened. A packet that arrives at
//! the WAN address without a flow is matched, in this order, with the gateway's own services, the forwards, the NAT
//! mappings (which the flow table knows) and the default host. A packet without a match is unsolicited, and
//! [`syn_reject`] has the answer to unsolicited SYNs. [`policy`] applies a configuration to the flow table.

pub mod policy;
pub mod syn_reject;

use core::net::Ipv4Addr;

use gatepost_ground::wire::Protocol;

use crate::config::{Config, Forward, InboundRules, Mode, WanService};
use crate::explain::Rule;
use crate::key::{Address, Endpoint};

/// The rule that matches a packet which arrived at the WAN address without a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InboundMatch<A = Ipv4Addr> {
    /// One of the gateway's own services.
    Service,
    /// A service of the gateway that does not admit this source.
    ServiceDenied,
    /// A LAN host, by a forward.
    Forward(Endpoint<A>),
    /// A forward that does not admit this source.
    ForwardDenied,
    /// Neither a service nor a forward.
    None,
}

/// Matches a packet from `source` on the WAN to `port` of the WAN address.
///
/// A service comes before every forward. The first forward that admits the source wins; it is denied only if forwards
/// of that port exist and none admits it.
pub fn match_inbound<A: Address>(
    rules: &InboundRules<A>,
    protocol: Protocol,
    port: u16,
    source: A,
) -> InboundMatch<A> {
    decide_inbound(rules, protocol, port, source).0
}

/// As [`match_inbound`], with the service or the forward that has decided: the last forward that denied the source, if
/// all have.
pub fn decide_inbound<A: Address>(
    rules: &InboundRules<A>,
    protocol: Protocol,
    port: u16,
    source: A,
) -> (InboundMatch<A>, Option<Rule>) {
    if let Some((index, service)) = wan_service(rules, protocol, port) {
        let is_admitted = service.from.iter().any(|net| source.is_in(net));
        let found = if is_admitted { InboundMatch::Service } else { InboundMatch::ServiceDenied };
        return (found, Some(Rule::Service(index as u16)));
    }
    let mut found = (InboundMatch::None, None);
    for (index, forward) in forwards_of(rules, protocol, port) {
        let rule = Some(Rule::Forward(index as u16));
        if forward.from.iter().any(|net| source.is_in(net)) {
            return (InboundMatch::Forward(target(forward, port)), rule);
        }
        found = (InboundMatch::ForwardDenied, rule);
    }
    found
}

/// The LAN host that other LAN hosts reach at `port` of the WAN address; a forward's sources do not limit LAN hosts.
pub fn hairpin_target<A: Address>(
    rules: &InboundRules<A>,
    protocol: Protocol,
    port: u16,
) -> Option<Endpoint<A>> {
    hairpin_forward(rules, protocol, port).map(|(target, _)| target)
}

/// As [`hairpin_target`], with the forward.
pub fn hairpin_forward<A: Address>(
    rules: &InboundRules<A>,
    protocol: Protocol,
    port: u16,
) -> Option<(Endpoint<A>, Rule)> {
    let first = forwards_of(rules, protocol, port).next();
    first.map(|(index, forward)| (target(forward, port), Rule::Forward(index as u16)))
}

/// The external port of a forward to a LAN host's port, if there is one. Packets that the host sends from its port
/// get this external port, so that replies come from the port that was addressed.
pub fn external_port<A: Address>(
    rules: &InboundRules<A>,
    protocol: Protocol,
    inside: Endpoint<A>,
) -> Option<u16> {
    let mut forwards = rules.forwards.iter().filter(|f| f.protocol == protocol && f.to == inside.address);
    forwards.find_map(|forward| {
        let offset = inside.port.checked_sub(forward.to_port)?;
        let external = forward.wan_ports.start().checked_add(offset)?;
        forward.wan_ports.contains(&external).then_some(external)
    })
}

/// Whether the WAN may use a service of the gateway at `port`.
pub fn is_wan_service<A: Address>(rules: &InboundRules<A>, protocol: Protocol, port: u16) -> bool {
    wan_service(rules, protocol, port).is_some()
}

fn wan_service<A: Address>(
    rules: &InboundRules<A>,
    protocol: Protocol,
    port: u16,
) -> Option<(usize, &WanService<A>)> {
    let mut services = rules.wan_services.iter().enumerate();
    services.find(|(_, service)| service.protocol == protocol && service.port == port)
}

/// Whether the gateway sends no echo replies, TCP resets and ICMP errors to the outside, except "fragmentation needed".
pub fn is_stealthy(config: &Config) -> bool {
    config.mode == Mode::NatDmz && config.firewall.stealth
}

fn forwards_of<A: Address>(
    rules: &InboundRules<A>,
    protocol: Protocol,
    port: u16,
) -> impl Iterator<Item = (usize, &Forward<A>)> {
    let forwards = rules.forwards.iter().enumerate();
    forwards.filter(move |(_, f)| f.protocol == protocol && f.wan_ports.contains(&port))
}

/// The target of a forward that contains `port`. A range that would run past port 65535 ends there.
pub(crate) fn target<A: Address>(forward: &Forward<A>, port: u16) -> Endpoint<A> {
    let offset = port - forward.wan_ports.start();
    Endpoint::new(forward.to, forward.to_port.saturating_add(offset))
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use ipnet::Ipv6Net;

    use super::*;
    use crate::config::{Family, Firewall};
    use crate::key::testing::v6;

    const CAMERA: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
    const STRANGER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
    const FRIEND: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

    fn forward(ports: core::ops::RangeInclusive<u16>, to_port: u16, from: &str) -> Forward {
        Forward {
            protocol: Protocol::TCP,
            wan_ports: ports,
            to: CAMERA,
            to_port,
            from: vec![from.parse().expect("a network")],
        }
    }

    fn rules() -> InboundRules {
        InboundRules {
            wan_services: vec![WanService::for_all(Protocol::TCP, 25)],
            forwards: vec![
                forward(25..=25, 2525, "0.0.0.0/0"),
                forward(8000..=8010, 80, "203.0.113.0/24"),
                forward(8005..=8005, 9000, "0.0.0.0/0"),
            ],
            dmz_host: None,
        }
    }

    fn to_camera(port: u16) -> InboundMatch {
        InboundMatch::Forward(Endpoint::new(CAMERA, port))
    }

    #[test]
    fn a_service_admits_whom_it_names_and_is_no_forwards_for_others() {
        let mut rules = rules();
        rules.wan_services[0].from = vec!["203.0.113.0/24".parse().expect("a network")];
        assert_eq!(match_inbound(&rules, Protocol::TCP, 25, FRIEND), InboundMatch::Service);
        assert_eq!(match_inbound(&rules, Protocol::TCP, 25, STRANGER), InboundMatch::ServiceDenied);
    }

    #[test]
    fn a_service_comes_before_a_forward() {
        assert_eq!(match_inbound(&rules(), Protocol::TCP, 25, STRANGER), InboundMatch::Service);
        assert_eq!(match_inbound(&rules(), Protocol::UDP, 25, STRANGER), InboundMatch::None);
    }

    #[test]
    fn a_range_keeps_its_order() {
        assert_eq!(match_inbound(&rules(), Protocol::TCP, 8000, FRIEND), to_camera(80));
        assert_eq!(match_inbound(&rules(), Protocol::TCP, 8010, FRIEND), to_camera(90));
        assert_eq!(match_inbound(&rules(), Protocol::TCP, 8011, FRIEND), InboundMatch::None);
    }

    #[test]
    fn the_first_forward_that_admits_the_source_wins() {
        assert_eq!(match_inbound(&rules(), Protocol::TCP, 8005, FRIEND), to_camera(85));
        assert_eq!(match_inbound(&rules(), Protocol::TCP, 8005, STRANGER), to_camera(9000));
        assert_eq!(match_inbound(&rules(), Protocol::TCP, 8004, STRANGER), InboundMatch::ForwardDenied);
    }

    #[test]
    fn from_the_lan_every_forward_is_open() {
        let target = hairpin_target(&rules(), Protocol::TCP, 8004);
        assert_eq!(target, Some(Endpoint::new(CAMERA, 84)));
        assert_eq!(hairpin_target(&rules(), Protocol::UDP, 8004), None);
    }

    #[test]
    fn a_forward_is_known_from_inside_too() {
        let port = |protocol, host, port| external_port(&rules(), protocol, Endpoint::new(host, port));
        assert_eq!(port(Protocol::TCP, CAMERA, 80), Some(8000));
        assert_eq!(port(Protocol::TCP, CAMERA, 90), Some(8010));
        assert_eq!(port(Protocol::TCP, CAMERA, 91), None);
        assert_eq!(port(Protocol::TCP, CAMERA, 79), None);
        assert_eq!(port(Protocol::UDP, CAMERA, 80), None);
        assert_eq!(port(Protocol::TCP, STRANGER, 80), None);
    }

    #[test]
    fn packets_of_ipv6_are_claimed_by_what_is_open_to_ipv6() {
        let camera = v6(7, 20);
        let (friend, stranger) = (v6(9, 9), v6(8, 8));
        let everybody = Ipv6Net::default();
        let friends = Ipv6Net::new_assert(v6(9, 0), 64);
        let forward = |port, to_port, from| Forward {
            protocol: Protocol::TCP,
            wan_ports: port..=port + 10,
            to: camera,
            to_port,
            from: vec![from],
        };
        let v6 = InboundRules {
            wan_services: vec![WanService { from: vec![friends], ..WanService::for_all(Protocol::TCP, 25) }],
            forwards: vec![forward(8000, 80, friends), forward(8005, 9000, everybody)],
            dmz_host: None,
        };
        let firewall = Firewall { stealth: true, v4: rules(), v6 };
        let v6 = Ipv6Addr::inbound_rules(&firewall);
        let match_inbound = |port, source| match_inbound(v6, Protocol::TCP, port, source);
        let to_camera = |port| InboundMatch::Forward(Endpoint::new(camera, port));
        assert_eq!(
            (match_inbound(25, friend), match_inbound(25, stranger)),
            (InboundMatch::Service, InboundMatch::ServiceDenied)
        );
        assert_eq!(
            (match_inbound(8010, friend), match_inbound(8010, stranger)),
            (to_camera(90), to_camera(9005))
        );
        assert_eq!(
            (match_inbound(8004, stranger), match_inbound(8016, friend)),
            (InboundMatch::ForwardDenied, InboundMatch::None)
        );
        assert_eq!(hairpin_target(v6, Protocol::TCP, 8004), Some(Endpoint::new(camera, 84)));
        assert_eq!(external_port(v6, Protocol::TCP, Endpoint::new(camera, 84)), Some(8004));
        assert!(is_wan_service(v6, Protocol::TCP, 25) && !is_wan_service(v6, Protocol::UDP, 25));
        // A port that is open to one family is closed to the other.
        let v4 = Ipv4Addr::inbound_rules(&firewall);
        assert_eq!(super::match_inbound(v4, Protocol::TCP, 8015, FRIEND), InboundMatch::None);
        assert_eq!(super::match_inbound(v4, Protocol::TCP, 25, STRANGER), InboundMatch::Service);
    }

    #[test]
    fn a_range_past_the_last_port_does_not_wrap() {
        let rules = InboundRules {
            forwards: vec![forward(1..=65535, 65535, "0.0.0.0/0")],
            ..InboundRules::default()
        };
        assert_eq!(match_inbound(&rules, Protocol::TCP, 65535, STRANGER), to_camera(65535));
    }
}
