//! What the services are told: the mode and the settings, in each service's own terms.

use std::net::{Ipv4Addr, SocketAddr};

use gatepost_dataplane::config::Mode;
use gatepost_services::{dhcp, dns};
use ipnet::IpNet;

use crate::config::Config;

/// What the DHCP server of the LAN is told.
///
/// The gateway hands out itself as router and name server, but in [`Mode::LanOnly`], where it is a host
/// like others, what the administrator has set.
pub fn dhcp_server(config: &Config) -> dhcp::server::Config {
    let own = config.lan.address.addr();
    let is_lan_only = config.mode == Mode::LanOnly;
    let dns_servers = match &config.dns.upstream {
        upstream if !upstream.is_empty() && (is_lan_only || !config.dns.enabled) => upstream.clone(),
        _ if config.dns.enabled => vec![own],
        _ => Vec::new(),
    };
    dhcp::server::Config {
        server_address: own,
        prefix: config.lan.address.trunc(),
        pool: config.dhcp.pool.0..=config.dhcp.pool.1,
        lease_secs: config.dhcp.lease_secs,
        authoritative: config.dhcp.authoritative,
        router: if is_lan_only { config.lan.gateway } else { Some(own) },
        dns_servers,
        domain: config.system.domain.clone(),
        ntp_servers: Vec::new(),
        mtu: None,
        ports: config.ports().filter(|(interface, _)| *interface == Config::LAN).count(),
        reservations: config.dhcp.reservations.clone(),
    }
}

/// What the name service is told, before the WAN has an address.
pub fn dns(config: &Config) -> dns::Config {
    dns::Config {
        domain: config.system.domain.clone(),
        hostname: config.system.hostname.clone(),
        lan: config.lan.address,
        wan: None,
        records: config.dns.records.clone(),
        use_upstream: config.dns.use_upstream,
        upstreams: dns_upstreams(config, &[]).iter().copied().map(dns_server).collect(),
        recursion_for: vec![IpNet::V4(config.lan.address.trunc())],
        // A host on a LAN that others run asks their name server, which knows the LAN's private names.
        rebinding_filter: config.mode != Mode::LanOnly,
    }
}

/// Whom the name service asks: those that the administrator has set, or else those that the provider
/// offers.
pub fn dns_upstreams<'a>(config: &'a Config, offered: &'a [Ipv4Addr]) -> &'a [Ipv4Addr] {
    match &config.dns.upstream[..] {
        _ if !config.dns.enabled || !config.dns.use_upstream => &[],
        [] => offered,
        set => set,
    }
}

/// Name service at `address`.
pub fn dns_server(address: Ipv4Addr) -> SocketAddr {
    const PORT: u16 = 53;
    SocketAddr::from((address, PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROVIDERS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 53);

    fn config(text: &str) -> Config {
        Config::parse("test", text).expect("a valid configuration")
    }

    #[test]
    fn the_gateway_hands_out_itself() {
        let settings = dhcp_server(&config(""));
        let own = Ipv4Addr::new(192, 168, 1, 1);
        assert_eq!((settings.router, &settings.dns_servers[..]), (Some(own), &[own][..]));
        assert_eq!(settings.prefix.to_string(), "192.168.1.0/24");
    }

    #[test]
    fn lan_only_hands_out_what_was_set() {
        let text =
            "network.mode = 'lan-only'\nlan.gateway = '192.168.1.254'\ndns.upstream = ['192.168.1.253']";
        let settings = dhcp_server(&config(text));
        assert_eq!(settings.router, Some(Ipv4Addr::new(192, 168, 1, 254)));
        assert_eq!(settings.dns_servers, [Ipv4Addr::new(192, 168, 1, 253)]);
        assert!(!dns(&config(text)).rebinding_filter);
    }

    #[test]
    fn without_name_service_clients_are_told_of_the_upstream_servers() {
        let settings = dhcp_server(&config("dns.enabled = false\ndns.upstream = ['203.0.113.53']"));
        assert_eq!(settings.dns_servers, [Ipv4Addr::new(203, 0, 113, 53)]);
    }

    #[test]
    fn the_administrators_name_servers_stay() {
        let set = config("dns.upstream = ['203.0.113.53']");
        assert_eq!(dns_upstreams(&set, &[PROVIDERS]), [Ipv4Addr::new(203, 0, 113, 53)]);
        assert_eq!(dns_upstreams(&config(""), &[PROVIDERS]), [PROVIDERS]);
        assert!(dns_upstreams(&config("dns.use_upstream = false"), &[PROVIDERS]).is_empty());
    }
}
