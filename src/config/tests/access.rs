//! `firewall.wan_services` and `[access]`: the sources that may use the gateway's own services.

use super::*;

fn open_to_wan(text: &str) -> Vec<&'static str> {
    accepted(text).wan_services().map(|kind| kind.name).collect()
}

#[test]
fn without_a_list_the_mode_says_what_the_wan_may_use() {
    let in_mode = |mode: &str, more: &str| open_to_wan(&format!("network.mode = '{mode}'\n{more}"));
    assert_eq!(in_mode("nat-dmz", ""), [] as [&str; 0]);
    assert_eq!(in_mode("lan-only", ""), [] as [&str; 0]);
    for mode in ["nat", "router"] {
        assert_eq!(in_mode(mode, ""), ["dns"]);
        assert_eq!(
            in_mode(mode, "firewall.wan_services = []"),
            [] as [&str; 0],
            "a list counts in every mode"
        );
        assert_eq!(in_mode(mode, "dns.enabled = false"), [] as [&str; 0]);
    }
    assert_eq!(in_mode("nat-dmz", "firewall.wan_services = ['dns']"), ["dns"]);
    // What was forwarded before there was a service of this port stays forwarded.
    let forward = "[[firewall.forwards]]\nwan_port = '50-60'\nto = '192.168.1.20:50'";
    assert_eq!(in_mode("nat", forward), [] as [&str; 0]);
    assert_eq!(in_mode("router", forward), ["dns"], "it forwards nothing");
}

#[test]
fn access_names_networks_and_the_dataplane_is_told() {
    let config = accepted(
        "firewall.wan_services = ['dns']\nlan.address = '10.1.2.3/24'\n\
         access.dns = { from = ['lan', '198.51.100.0/24', '203.0.113.9/32'] }",
    );
    let from = ["10.1.2.0/24", "198.51.100.0/24", "203.0.113.9/32"].map(net);
    assert_eq!(config.access.to("dns"), Some(&from[..]));
    let told = config.dataplane(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]), None, None);
    assert!(told.firewall.v4.wan_services.iter().all(|service| service.from == from));
    assert_eq!(told.firewall.v4.wan_services.len(), 2);
    accepted("access.pop3s = { from = ['any'], password = true }");
    assert_eq!(accepted("access.dns.from = ['any']").access.to("dns"), Some(&[net("0.0.0.0/0")][..]));
    assert_eq!(accepted("").access.to("dns"), None);
}

#[test]
fn a_former_network_of_the_lan_is_admitted_where_the_lan_is() {
    let text = "lan.address = '10.1.2.3/24'\naccess.dns.from = ['198.51.100.0/24', 'lan']\n\
                access.ntp.from = ['10.1.2.0/24']";
    let config = accepted(text).until_confirmed(net("192.168.1.1/24"));
    let former = ["198.51.100.0/24", "10.1.2.0/24", "192.168.1.0/24"].map(net);
    assert_eq!(config.lan.former_address, Some(net("192.168.1.1/24")));
    assert_eq!(config.access.to("dns"), Some(&former[..]));
    assert_eq!(
        config.access.to("ntp"),
        Some(&former[1..2]),
        "a network that is written is no more than that"
    );
    assert_eq!(config.access.to("pop3"), None);
    let present = accepted(text);
    let waiting = present.clone().until_confirmed(present.lan.address);
    assert_eq!(waiting, Config { is_unconfirmed: true, ..present });
}

#[test]
fn the_pages_are_for_the_lan_alone_and_for_the_former_one() {
    let admitted = |config: &Config| config.access.to("admin").map(<[_]>::to_vec);
    assert_eq!(admitted(&accepted("")), Some(vec![net("192.168.1.0/24")]));
    let moved = accepted("lan.address = '10.1.2.3/24'").until_confirmed(net("192.168.1.1/24"));
    assert_eq!(admitted(&moved), Some(vec![net("10.1.2.0/24"), net("192.168.1.0/24")]));
    for mode in ["lan-only", "nat", "nat-dmz"] {
        accepted(&format!("network.mode = '{mode}'\naccess.admin.from = ['198.51.100.0/24']"));
    }
    accepted("network.mode = 'router'\naccess.admin.from = ['lan', '192.168.1.64/26']");
    accepted("network.mode = 'router'\naccess.dns.from = ['any']");
}

#[test]
fn a_service_that_is_off_limits_nothing() {
    let limited = |text: &str| {
        let config = accepted(text);
        config.limited_services().map(|(kind, _)| kind.name).collect::<Vec<_>>()
    };
    let text = "access.dns.from = ['lan']";
    assert_eq!(limited(text), ["dns", "admin"]);
    assert_eq!(limited(&format!("admin.enabled = false\n{text}")), ["dns"]);
    assert_eq!(limited(&format!("dns.enabled = false\nadmin.enabled = false\n{text}")), [] as [&str; 0]);
}

#[test]
fn access_that_cannot_be_is_told() {
    for (text, told) in [
        (
            "network.mode = 'router'\naccess.admin.from = ['lan', ▸'198.51.100.0/24']",
            "in mode \"router\" the WAN would reach the administration from 198.51.100.0/24; \
             write \"lan\", or networks of the LAN's alone",
        ),
        (
            "network.mode = 'router'\naccess.admin.from = [▸'any']",
            "in mode \"router\" the WAN would reach the administration from 0.0.0.0/0; \
             write \"lan\", or networks of the LAN's alone",
        ),
        (
            "access.http = ▸{ from = ['lan'] }",
            "\"http\" comes with the web server, which this version does not have yet; remove it, \
             or write \"dns\", \"ntp\", \"smtp\", \"submission\", \"lmtp\", \"pop3\", \"pop3s\" or \"admin\"",
        ),
        (
            "[access]\n▸gopher = { from = ['lan'] }",
            "unknown key \"gopher\" in [access]; remove it, \
             or write \"dns\", \"ntp\", \"smtp\", \"submission\", \"lmtp\", \"pop3\", \"pop3s\" or \"admin\"",
        ),
        (
            "access.dhcp = ▸{ from = ['lan'] }",
            "\"dhcp\" cannot be limited: its clients have no address yet; remove it",
        ),
        (
            "access.dns = { from = ['lan'], password = ▸true }",
            "\"dns\" takes clients without a password; remove it",
        ),
        (
            "access.pop3s = { from = ['any'], password = ▸false }",
            "\"pop3s\" asks everybody for a password; remove it",
        ),
        (
            "access.dns = { from = ▸[] }",
            "nobody may use \"dns\"; write [\"any\"] for all, or dns.enabled = false",
        ),
        (
            "access.smtp = { from = ▸[] }",
            "nobody may use \"smtp\"; write [\"any\"] for all, or mail.ports.smtp = 0",
        ),
        (
            "access.submission = { from = ▸[] }",
            "nobody may use \"submission\"; write [\"any\"] for all, or mail.ports.submission = 0 and mail.ports.submissions = 0",
        ),
        (
            "access.dns = { from = [▸'wan'] }",
            "\"wan\" is no network; write \"lan\", \"any\", or a network such as \"198.51.100.0/24\"",
        ),
        (
            "access.dns = ▸{}",
            "the access to \"dns\" has no from; write from = [\"lan\", \"198.51.100.0/24\"]",
        ),
    ] {
        assert_mistakes(text, &[told]);
    }
    let others = "remove it, or write \"dns\", \"ntp\", \"smtp\", \"submission\" or \"pop3s\"";
    for name in ["dhcp", "lmtp", "pop3"] {
        assert_mistakes(
            &format!("firewall.wan_services = [▸'{name}']"),
            &[&format!("there is no service \"{name}\" for the WAN; {others}")],
        );
    }
}
