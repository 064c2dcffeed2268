//! The firewall's policy: pure decisions on the configuration.
//!
//! A packet that belongs to a flow is never asked about here; the flow table admitted it when it
//! opened. What arrives at the WAN address without a flow is claimed, in this order, by one of the
//! gateway's own services, by a forward, by a NAT mapping (which the flow table knows), or by the
//! default machine. What nobody claims is unsolicited, and [`refusal`] says how it is answered.
//! [`policy`] tells the flow table what a configuration means for it.

pub mod policy;
pub mod refusal;

use core::net::Ipv4Addr;

use gatepost_ground::wire::Protocol;

use crate::config::{Config, Firewall, Forward, Mode, WanService};
use crate::key::Endpoint;

/// Who claims a packet that arrived at the WAN address without a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// One of the gateway's own services.
    Service,
    /// One of the gateway's own services that does not admit this source.
    ServiceDenied,
    /// A LAN host, by a forward.
    Forward(Endpoint),
    /// A forward that does not admit this source.
    ForwardDenied,
    /// Neither a service nor a forward.
    Unclaimed,
}

/// Who claims a packet from `source` on the WAN to `port` of the WAN address.
///
/// A service comes before every forward. The first forward that admits the source wins; it is denied only if forwards of that port exist
/// and none admits it.
pub fn claim(firewall: &Firewall, protocol: Protocol, port: u16, source: Ipv4Addr) -> Claim {
    if let Some(service) = wan_service(firewall, protocol, port) {
        let is_admitted = service.from.iter().any(|net| net.contains(&source));
        return if is_admitted { Claim::Service } else { Claim::ServiceDenied };
    }
    let mut claim = Claim::Unclaimed;
    for forward in forwards_of(firewall, protocol, port) {
        if forward.from.iter().any(|net| net.contains(&source)) {
            return Claim::Forward(target(forward, port));
        }
        claim = Claim::ForwardDenied;
    }
    claim
}

/// The LAN host that a LAN host reaches at `port` of the WAN address; sources are not limited.
pub fn hairpin_target(firewall: &Firewall, protocol: Protocol, port: u16) -> Option<Endpoint> {
    forwards_of(firewall, protocol, port).next().map(|forward| target(forward, port))
}

/// The port of the WAN address behind which a LAN host's port stands by a forward, if it does. What the
/// host sends from there is seen to come from the port at which it is asked.
pub fn external_port(firewall: &Firewall, protocol: Protocol, inside: Endpoint) -> Option<u16> {
    let mut forwards = firewall.forwards.iter().filter(|f| f.protocol == protocol && f.to == inside.address);
    forwards.find_map(|forward| {
        let offset = inside.port.checked_sub(forward.to_port)?;
        let external = forward.wan_ports.start().checked_add(offset)?;
        forward.wan_ports.contains(&external).then_some(external)
    })
}

/// Whether `port` is one of the gateway's own that the WAN may use.
pub fn is_wan_service(firewall: &Firewall, protocol: Protocol, port: u16) -> bool {
    wan_service(firewall, protocol, port).is_some()
}

fn wan_service(firewall: &Firewall, protocol: Protocol, port: u16) -> Option<&WanService> {
    firewall.wan_services.iter().find(|service| service.protocol == protocol && service.port == port)
}

/// Whether the WAN side stays silent where it need not speak: pings, and refusals of what is
/// unsolicited.
pub fn is_stealthy(config: &Config) -> bool {
    config.mode == Mode::NatDmz && config.firewall.stealth
}

fn forwards_of(firewall: &Firewall, protocol: Protocol, port: u16) -> impl Iterator<Item = &Forward> {
    firewall.forwards.iter().filter(move |f| f.protocol == protocol && f.wan_ports.contains(&port))
}

/// The target of a forward that contains `port`. A range that would run past port 65535 ends there.
pub(crate) fn target(forward: &Forward, port: u16) -> Endpoint {
    let offset = port - forward.wan_ports.start();
    Endpoint::new(forward.to, forward.to_port.saturating_add(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn firewall() -> Firewall {
        Firewall {
            stealth: true,
            wan_services: vec![WanService::for_all(Protocol::TCP, 25)],
            forwards: vec![
                forward(25..=25, 2525, "0.0.0.0/0"),
                forward(8000..=8010, 80, "203.0.113.0/24"),
                forward(8005..=8005, 9000, "0.0.0.0/0"),
            ],
            dmz_host: None,
        }
    }

    fn to_camera(port: u16) -> Claim {
        Claim::Forward(Endpoint::new(CAMERA, port))
    }

    #[test]
    fn a_service_admits_whom_it_names_and_is_no_forwards_for_others() {
        let mut firewall = firewall();
        firewall.wan_services[0].from = vec!["203.0.113.0/24".parse().expect("a network")];
        assert_eq!(claim(&firewall, Protocol::TCP, 25, FRIEND), Claim::Service);
        assert_eq!(claim(&firewall, Protocol::TCP, 25, STRANGER), Claim::ServiceDenied);
    }

    #[test]
    fn a_service_comes_before_a_forward() {
        assert_eq!(claim(&firewall(), Protocol::TCP, 25, STRANGER), Claim::Service);
        assert_eq!(claim(&firewall(), Protocol::UDP, 25, STRANGER), Claim::Unclaimed);
    }

    #[test]
    fn a_range_keeps_its_order() {
        assert_eq!(claim(&firewall(), Protocol::TCP, 8000, FRIEND), to_camera(80));
        assert_eq!(claim(&firewall(), Protocol::TCP, 8010, FRIEND), to_camera(90));
        assert_eq!(claim(&firewall(), Protocol::TCP, 8011, FRIEND), Claim::Unclaimed);
    }

    #[test]
    fn the_first_forward_that_admits_the_source_wins() {
        assert_eq!(claim(&firewall(), Protocol::TCP, 8005, FRIEND), to_camera(85));
        assert_eq!(claim(&firewall(), Protocol::TCP, 8005, STRANGER), to_camera(9000));
        assert_eq!(claim(&firewall(), Protocol::TCP, 8004, STRANGER), Claim::ForwardDenied);
    }

    #[test]
    fn from_the_lan_every_forward_is_open() {
        let target = hairpin_target(&firewall(), Protocol::TCP, 8004);
        assert_eq!(target, Some(Endpoint::new(CAMERA, 84)));
        assert_eq!(hairpin_target(&firewall(), Protocol::UDP, 8004), None);
    }

    #[test]
    fn a_forward_is_known_from_inside_too() {
        let port = |protocol, host, port| external_port(&firewall(), protocol, Endpoint::new(host, port));
        assert_eq!(port(Protocol::TCP, CAMERA, 80), Some(8000));
        assert_eq!(port(Protocol::TCP, CAMERA, 90), Some(8010));
        assert_eq!(port(Protocol::TCP, CAMERA, 91), None);
        assert_eq!(port(Protocol::TCP, CAMERA, 79), None);
        assert_eq!(port(Protocol::UDP, CAMERA, 80), None);
        assert_eq!(port(Protocol::TCP, STRANGER, 80), None);
    }

    #[test]
    fn a_range_past_the_last_port_does_not_wrap() {
        let firewall =
            Firewall { forwards: vec![forward(1..=65535, 65535, "0.0.0.0/0")], ..Firewall::default() };
        assert_eq!(claim(&firewall, Protocol::TCP, 65535, STRANGER), to_camera(65535));
    }
}
