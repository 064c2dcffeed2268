//! `[firewall]`, `[nat]`, and the dataplane's configuration.

use super::*;

const LAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const WAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

#[test]
fn firewall_services_and_dmz_host() {
    let config = accepted("firewall.wan_services = ['dns']\nfirewall.dmz_host = '192.168.1.30'");
    assert_eq!(config.firewall.wan_services, Some(vec!["dns"]));
    assert_eq!(config.firewall.dmz_host, Some(ip("192.168.1.30")));
    assert_mistakes(
        "firewall.wan_services = ['dns', 'smtp', ▸'http']",
        &["\"http\" comes with the web server, which this version does not have yet; remove it, \
           or write \"dns\", \"ntp\", \"smtp\", \"submission\" or \"pop3s\""],
    );
    assert_mistakes(
        "firewall.dmz_host = ▸'192.168.1.1'",
        &["192.168.1.1 is the gateway itself; write another host of the LAN 192.168.1.0/24"],
    );
    assert_mistakes(
        "firewall.dmz_host = ▸'192.168.1.255'",
        &["192.168.1.255 is no host of the LAN 192.168.1.0/24; \
           write an address from 192.168.1.1 to 192.168.1.254"],
    );
}

#[test]
fn forward_is_a_rule_for_each_protocol() {
    let config = accepted(
        "[[firewall.forwards]]\nname = 'game'\nprotocol = 'tcp+udp'\nwan_port = '8000-8010'\n\
         to = '192.168.1.20:9000'\nfrom = ['198.51.100.0/24']",
    );
    let rule = |protocol| dataplane::Forward {
        protocol,
        wan_ports: 8000..=8010,
        to: ip("192.168.1.20"),
        to_port: 9000,
        from: vec![net("198.51.100.0/24")],
    };
    let rules = vec![rule(Protocol::TCP), rule(Protocol::UDP)];
    assert_eq!(config.firewall.forwards, [Forward { name: "game".into(), rules }]);
}

#[test]
fn forward_leads_to_a_lan_host() {
    let forward = |key: &str| format!("[[firewall.forwards]]\nwan_port = '80'\n{key}");
    assert_mistakes(
        "▸▸[[firewall.forwards]]",
        &[
            "the forward has no wan_port; write wan_port = \"8443\"",
            "the forward has no to; write to = \"192.168.1.20:443\"",
        ],
    );
    assert_mistakes(
        &forward("to = ▸'10.0.0.1:80'"),
        &["10.0.0.1 is not in the LAN 192.168.1.0/24; write an address from 192.168.1.1 to 192.168.1.254"],
    );
    assert_mistakes(
        &forward("to = ▸'192.168.1.1:80'"),
        &["192.168.1.1 is the gateway itself; write another host of the LAN 192.168.1.0/24"],
    );
    assert_mistakes(
        &forward("to = ▸'192.168.1.20'"),
        &["\"192.168.1.20\" has no port; write an address and a port such as \"192.168.1.20:443\""],
    );
    assert_mistakes(
        &forward("to = ▸'192.168.1.20:0'"),
        &["\"0\" is no port; write one from 1 to 65535, such as \"192.168.1.20:443\""],
    );
    assert_mistakes(
        &forward("to = '192.168.1.20:80'\nfrom = ▸[]"),
        &["nobody may use the forward; write [\"0.0.0.0/0\"] for all"],
    );
    assert_mistakes(
        &forward("to = '192.168.1.20:80'\nfrom = [▸'198.51.100.7', ▸'198.51.100.7/24', ▸'all']"),
        &[
            "\"198.51.100.7\" has no prefix length; write \"198.51.100.7/32\" for this one address",
            "\"198.51.100.7/24\" names a host in a network; write \"198.51.100.0/24\"",
            "\"all\" is no IPv4 network; write one such as \"203.0.113.0/24\", or \"0.0.0.0/0\" for all",
        ],
    );
}

#[test]
fn forward_s_ports_are_ports() {
    let forward = |port: &str, to: &str| format!("[[firewall.forwards]]\nwan_port = {port}\nto = {to}");
    let remedy = "write one from 1 to 65535 such as \"8443\", or a range such as \"8000-8010\"";
    for wrong in ["0", "65536", "http", "-1", "+80", "1-2-3", ""] {
        assert_mistakes(
            &forward(&format!("▸'{wrong}'"), "'192.168.1.20:80'"),
            &[&format!("\"{wrong}\" is no port or range of ports; {remedy}")],
        );
    }
    assert_mistakes(
        &forward("▸8443", "'192.168.1.20:80'"),
        &["an integer instead of a text in quotes; write \"8443\""],
    );
    assert_mistakes(
        &forward("▸'8010-8000'", "'192.168.1.20:80'"),
        &["the range \"8010-8000\" is empty; write \"8000-8010\""],
    );
    accepted(&forward("'8000-8010'", "'192.168.1.20:65525'"));
    assert_mistakes(
        &forward("'8000-8010'", "▸'192.168.1.20:65526'"),
        &["the last of 11 ports from 65526 on is above 65535; write a first port up to 65525"],
    );
}

#[test]
fn wan_port_belongs_to_one_forward_or_service() {
    let two = |first: &str, second: &str| {
        format!(
            "[[firewall.forwards]]\nname = 'a'\nto = '192.168.1.20:80'\n{first}\n\
             [[firewall.forwards]]\nname = 'b'\nto = '192.168.1.21:80'\n{second}"
        )
    };
    assert_mistakes(
        &two("wan_port = '80-90'", "protocol = 'tcp+udp'\nwan_port = ▸'90-99'"),
        &[
            "the forward takes ports that \"a\" has already (first in line 4, column 12); write others, or another \"from\"",
        ],
    );
    accepted(&two("wan_port = '80'", "wan_port = '80'\nprotocol = 'udp'"));
    accepted(&two(
        "wan_port = '80'\nfrom = ['198.51.100.0/24']",
        "wan_port = '80'\nfrom = ['203.0.113.0/24']",
    ));
    assert_mistakes(
        "firewall.wan_services = ['dns']\n\
         [[firewall.forwards]]\nprotocol = 'udp'\nwan_port = ▸'50-60'\nto = '192.168.1.20:50'",
        &["the forward takes the port of a service in firewall.wan_services; \
           write another port, or remove the service"],
    );
}

#[test]
fn flow_limits() {
    let nat = accepted("nat.max_flows = 100\nnat.filtering = 'endpoint-independent'").nat;
    assert_eq!((nat.flows_max, nat.flows_per_host_max), (100, 100));
    assert_eq!(nat.filtering, Filtering::EndpointIndependent);
    assert_mistakes(
        "[nat]\nmax_flows = 100\nmax_flows_per_host = ▸101",
        &["one host may have 101 flows, but all together only 100; write at most 100, or a higher max_flows"],
    );
    assert_mistakes("nat.max_flows = ▸0", &["0 is out of range; write an integer from 1 to 16777216"]);
    assert_mistakes(
        "nat.max_flows = ▸0x1000001",
        &["0x1000001 is out of range; write an integer from 1 to 16777216"],
    );
}

#[test]
fn dataplane_is_told_ports_forwards_and_services() {
    let config = accepted(
        "firewall.wan_services = ['dns']\nlan.ports = [{ tap = 'a' }, { tap = 'b' }]\n\
         [[firewall.forwards]]\nprotocol = 'tcp+udp'\nwan_port = '80'\nto = '192.168.1.20:80'",
    );
    let leased = (net("198.51.100.9/24"), ip("198.51.100.1"));
    let told = config.dataplane(LAN_MAC, WAN_MAC, Some(leased.0), Some(leased.1));
    assert_eq!(told.ports, [Config::LAN, Config::LAN, Config::WAN]);
    let (lan, wan) = (told.interface(Config::LAN), told.interface(Config::WAN));
    assert_eq!((lan.mac(), wan.mac()), (LAN_MAC, WAN_MAC));
    assert_eq!((lan.nets::<Ipv4Addr>().next(), lan.gateway.v4), (Some(net("192.168.1.1/24")), None));
    assert_eq!((wan.nets::<Ipv4Addr>().next(), wan.gateway.v4), (Some(leased.0), Some(leased.1)));
    let dns = |protocol| WanService::for_all(protocol, 53);
    assert_eq!(told.firewall.v4.wan_services, [dns(Protocol::TCP), dns(Protocol::UDP)]);
    let protocols: Vec<_> = told.firewall.v4.forwards.iter().map(|forward| forward.protocol).collect();
    assert_eq!(protocols, [Protocol::TCP, Protocol::UDP]);
}

#[test]
fn dataplane_takes_a_static_address_before_a_leased_one() {
    let config = accepted("[wan]\naddress = '203.0.113.10/24'\ngateway = '203.0.113.1'");
    let told = config.dataplane(LAN_MAC, WAN_MAC, Some(net("198.51.100.9/24")), None);
    let wan = told.interface(Config::WAN);
    assert_eq!(
        (wan.nets::<Ipv4Addr>().next(), wan.gateway.v4),
        (Some(net("203.0.113.10/24")), Some(ip("203.0.113.1")))
    );
}

#[test]
fn dataplane_of_lan_only_has_no_wan() {
    let config = accepted("network.mode = 'lan-only'\nlan.gateway = '192.168.1.254'");
    let told = config.dataplane(LAN_MAC, WAN_MAC, Some(net("198.51.100.9/24")), Some(ip("198.51.100.1")));
    assert_eq!(told.ports, [Config::LAN]);
    let wan = told.interface(Config::WAN);
    assert_eq!((wan.nets::<Ipv4Addr>().next(), wan.gateway.v4), (None, None));
    assert_eq!(told.interface(Config::LAN).gateway.v4, Some(ip("192.168.1.254")));
}

#[test]
fn settings_that_decide_about_packets_know_their_lines() {
    let text = "
[network]
mode = 'nat'

[firewall]
stealth = false
dmz_host = '192.168.1.9'

[[firewall.forwards]]
name = 'camera'
wan_port = '8443'
to = '192.168.1.20:443'

[access]
ntp = { from = ['lan'] }
";
    let config = Config::parse("office.toml", text).expect("a valid configuration");
    let lines = [
        (Decisive::Mode, Some(3)),
        (Decisive::Stealth, Some(6)),
        (Decisive::DmzHost, Some(7)),
        (Decisive::Forward(0), Some(11)),
        (Decisive::Access("ntp"), Some(15)),
        (Decisive::WanServices, None),
    ];
    for (setting, line) in lines {
        assert_eq!(config.places.of(setting), line.map(|line| format!("office.toml:{line}")), "{setting:?}");
    }
    let moved = Config::parse("office.toml", &format!("\n{text}")).expect("a valid configuration");
    assert_eq!(moved, config, "a setting that is written elsewhere is the same one");
}
