//! `[lan]` and `[wan]`.

use super::*;

#[test]
fn lan_address_is_a_host_s() {
    assert_eq!(accepted("lan.address = '10.1.2.3/8'").lan.address, net("10.1.2.3/8"));
    assert_mistakes(
        "lan.address = ▸'192.168.1.1'",
        &["\"192.168.1.1\" has no prefix length; write \"192.168.1.1/24\""],
    );
    assert_mistakes(
        "lan.address = ▸'192.168.1.256/24'",
        &[
            "\"192.168.1.256/24\" is no IPv4 address with a prefix length; write one such as \"192.168.1.1/24\"",
        ],
    );
    for reserved in ["192.168.1.0/24", "192.168.1.255/24"] {
        assert_mistakes(
            &format!("lan.address = ▸'{reserved}'"),
            &[&format!("\"{reserved}\" is no address of a host; write a host's, such as \"192.168.1.1/24\"")],
        );
    }
    assert_mistakes(
        "lan.address = ▸'127.0.0.1/8'",
        &["\"127.0.0.1/8\" is no address of a host; write a host's, such as \"192.168.1.1/8\""],
    );
    assert_mistakes(
        "lan.address = ▸'192.168.1.1/31'",
        &["a prefix length of 31 is out of range; write one from 8 to 30"],
    );
}

#[test]
fn a_public_lan_is_warned_of_where_it_is_translated() {
    for (lan, network) in [("203.0.113.1/24", "203.0.113.0/24"), ("172.16.0.1/11", "172.0.0.0/11")] {
        assert_warnings(
            &format!("lan.address = ▸'{lan}'"),
            &[&format!(
                "the LAN {network} is a public network, whose owners it cuts off; \
                 write a private one such as \"192.168.1.1/24\" or \"10.0.0.1/24\" (RFC 1918)"
            )],
        );
        assert_warnings(&format!("network.mode = 'router'\nlan.address = '{lan}'"), &[]);
    }
    for lan in ["10.0.0.1/8", "172.31.0.1/24", "192.168.9.1/24", "100.64.0.1/24"] {
        assert_warnings(&format!("lan.address = '{lan}'"), &[]);
    }
}

#[test]
fn a_static_wan_without_a_gateway_is_warned_of() {
    assert_warnings(
        "wan.address = ▸'203.0.113.10/24'",
        &["without a gateway nothing beyond 203.0.113.0/24 can be reached; \
           write the provider's router, such as gateway = \"203.0.113.1\""],
    );
    assert_warnings("wan.address = '203.0.113.10/24'\nwan.gateway = '203.0.113.1'", &[]);
}

#[test]
fn lan_gateway_is_in_the_lan() {
    assert_eq!(accepted("lan.gateway = '192.168.1.254'").lan.gateway, Some(ip("192.168.1.254")));
    assert_mistakes(
        "lan.gateway = ▸'192.168.2.254'",
        &[
            "192.168.2.254 is not in the LAN 192.168.1.0/24; write an address from 192.168.1.1 to 192.168.1.254",
        ],
    );
    assert_mistakes(
        "network.mode = 'lan-only'\nlan.gateway = ▸'192.168.1.1'",
        &["192.168.1.1 is gatepost itself, which routes nothing in lan-only mode; \
           write the address of the LAN's router, or \"\""],
    );
}

#[test]
fn wan_is_dhcp_or_static() {
    let config = accepted("[wan]\naddress = '203.0.113.10/24'\ngateway = '203.0.113.1'\nmtu = 9000");
    let expected = WanAddress::Static { address: net("203.0.113.10/24"), gateway: Some(ip("203.0.113.1")) };
    assert_eq!((config.wan.address, config.wan.mtu), (expected, 9000));
    assert_mistakes(
        "[wan]\naddress = '203.0.113.10/24'\ngateway = ▸'203.0.114.1'",
        &["203.0.114.1 is not in the WAN 203.0.113.0/24; write an address from 203.0.113.1 to 203.0.113.254"],
    );
    assert_mistakes(
        "[wan]\naddress = '203.0.113.10/24'\ngateway = ▸'203.0.113.10'",
        &["203.0.113.10 is the gateway's own address; write the address of the provider's router"],
    );
    assert_mistakes(
        "wan.gateway = ▸'203.0.113.1'",
        &["wan.gateway is set, but wan.address is \"dhcp\"; write \"\", or a static wan.address"],
    );
    for mtu in [575, 9217, -1, i64::MAX] {
        assert_mistakes(
            &format!("wan.mtu = ▸{mtu}"),
            &[&format!("{mtu} is out of range; write an integer from 576 to 9216")],
        );
    }
}

#[test]
fn point_to_point_wan_has_two_hosts() {
    accepted("[wan]\naddress = '203.0.113.0/31'\ngateway = '203.0.113.1'");
}

#[test]
fn a_single_wan_address_has_a_router_anywhere_but_in_the_lan() {
    let config = accepted("[wan]\naddress = '203.0.113.10/32'\ngateway = '100.64.0.1'");
    let expected = WanAddress::Static { address: net("203.0.113.10/32"), gateway: Some(ip("100.64.0.1")) };
    assert_eq!(config.wan.address, expected);
    assert_mistakes(
        "[wan]\naddress = '203.0.113.10/32'\ngateway = ▸'203.0.113.10'",
        &["203.0.113.10 is the gateway's own address; write the address of the provider's router"],
    );
    assert_mistakes(
        "[wan]\naddress = '203.0.113.10/32'\ngateway = ▸'192.168.1.254'",
        &["192.168.1.254 is in the LAN 192.168.1.0/24; \
           write the address of the provider's router, or another lan.address"],
    );
    assert_warnings(
        "wan.address = ▸'203.0.113.10/32'",
        &["without a gateway nothing beyond 203.0.113.10/32 can be reached; \
           write the provider's router, which may be any address beside a prefix of 32"],
    );
}

#[test]
fn a_provider_knows_its_customer_by_mac_client_id_and_vendor_class() {
    let config = accepted(
        "[wan]\nmac = '02:00:5e:00:00:01'\nclient_id = '01:02:00:5E:00:00:01'\nvendor_class = 'sagem v2'\n\
         request_options = [125, 90]",
    );
    assert_eq!(config.wan.mac, Some(MacAddr([2, 0, 0x5e, 0, 0, 1])));
    let expected = WanDhcp {
        client_id: Some(vec![1, 2, 0, 0x5e, 0, 0, 1]),
        vendor_class: Some("sagem v2".to_owned()),
        request_options: vec![125, 90],
    };
    assert_eq!(config.wan.dhcp_client, expected);
    let text = accepted("wan.client_id = 'customer@isp|secret'").wan.dhcp_client.client_id;
    assert_eq!(text.as_deref(), Some(&b"customer@isp|secret"[..]));
    let nothing = "[wan]\nmac = ''\nclient_id = ''\nvendor_class = ''\nrequest_options = []";
    assert_eq!((accepted(nothing).wan.mac, accepted(nothing).wan.dhcp_client), (None, WanDhcp::default()));

    let long = "x".repeat(256);
    for (mistake, told) in [
        (
            "mac = ▸'01:00:5e:00:00:01'",
            "\"01:00:5e:00:00:01\" is no hardware address of a host; \
                                        write one such as \"02:00:00:00:00:20\"",
        ),
        ("client_id = ▸'7'", "\"7\" has 1 octets; write 2 to 255, such as \"01:02:00:00:00:00:20\""),
        (
            "client_id = ▸'é1'",
            "\"é1\" is no client identifier: it has characters other than printable ASCII; \
                              write it as the provider names it",
        ),
        (
            "vendor_class = ▸'ä'",
            "\"ä\" is no vendor class: it has characters other than printable ASCII; \
                               write it as the provider names it",
        ),
        (&format!("vendor_class = ▸'{long}'"), "the vendor class has 256 octets; write at most 255"),
        ("request_options = [▸0]", "0 is out of range; write an integer from 1 to 254"),
        ("request_options = [▸255]", "255 is out of range; write an integer from 1 to 254"),
        ("request_options = [125, ▸125]", "option 125 is requested twice; remove one of them"),
    ] {
        assert_mistakes(&format!("[wan]\n{mistake}"), &[told]);
    }
    assert_warnings(
        "[wan]\naddress = '203.0.113.10/24'\ngateway = '203.0.113.1'\nvendor_class = ▸'sagem'",
        &["wan.vendor_class is for the provider's DHCP server, and wan.address is static; \
           remove it, or write address = \"dhcp\""],
    );
    let fixed = "[wan]\naddress = '203.0.113.10/24'\ngateway = '203.0.113.1'\nmac = '02:00:5e:00:00:01'";
    assert_warnings(fixed, &[]);
}

/// RFC 4787, REQ-7: Static WAN does not overlap the LAN.
#[test]
fn rfc4787_req7_static_wan_does_not_overlap_the_lan() {
    assert_mistakes(
        "wan.address = ▸'192.168.1.77/16'",
        &["the WAN 192.168.0.0/16 and the LAN 192.168.1.0/24 overlap; \
           write another lan.address, such as \"10.0.0.1/24\""],
    );
    accepted("wan.address = '192.168.1.77/16'\nnetwork.mode = 'lan-only'");
}

#[test]
fn ports_name_their_devices() {
    let config =
        accepted("lan.ports = [{ tap = 'eth0', netns = 'pc1' }, { tap = 'eth0', driver = 'plain' }]");
    let netns = Some(Netns::Name("pc1".into()));
    let in_namespace = PortSpec { tap: "eth0".into(), netns, driver: Driver::Auto, persist: false };
    let here = PortSpec { tap: "eth0".into(), netns: None, driver: Driver::Plain, persist: true };
    assert_eq!(config.lan.ports, [in_namespace, here]);
    let config = accepted("lan.ports = [{ tap = 'eth0', driver = 'offload' }]");
    assert_eq!(config.lan.ports[0].driver, Driver::Offload);
    let remedy = "write 1 to 15 letters, digits, \"-\", \"_\" or \".\"";
    for (tap, what) in [
        ("", "the device name \"\" has 0 octets"),
        ("sixteen-letters-", "the device name \"sixteen-letters-\" has 16 octets"),
        ("a/b", "\"a/b\" is no device name"),
        ("tap%d", "\"tap%d\" is no device name"),
        ("a b", "\"a b\" is no device name"),
        ("..", "\"..\" is no device name"),
    ] {
        assert_mistakes(&format!("lan.ports = [{{ tap = ▸'{tap}' }}]"), &[&format!("{what}; {remedy}")]);
    }
    assert_mistakes("lan.ports = [▸{}]", &["the port has no tap; write tap = \"gp-lan0\""]);
    assert_mistakes(
        "lan.ports = [{ tap = 'a', netns = ▸'../x' }]",
        &["\"../x\" is no network namespace; write a name that \"ip netns list\" shows, \
           an absolute path or a process id, or leave netns out"],
    );
    assert_mistakes(
        "lan.ports = [{ tap = 'a', ▸name = 'b' }]",
        &[
            "unknown key \"name\" in the port; remove it, or write \"tap\", \"netns\", \"driver\" or \"persist\"",
        ],
    );
}

#[test]
fn namespaces_are_named_by_name_path_or_process() {
    let netns = |written: &str| {
        let config = accepted(&format!("lan.ports = [{{ tap = 'a', netns = {written} }}]"));
        let netns = config.lan.ports[0].netns.clone().expect("it was written");
        (netns.path().display().to_string(), netns)
    };
    assert_eq!(netns("'pc1'"), ("/run/netns/pc1".into(), Netns::Name("pc1".into())));
    assert_eq!(netns("'/run/user/1/ns'"), ("/run/user/1/ns".into(), Netns::Path("/run/user/1/ns".into())));
    assert_eq!(netns("'4711'"), ("/proc/4711/ns/net".into(), Netns::Pid(4711)));
    assert_eq!(netns("4711"), ("/proc/4711/ns/net".into(), Netns::Pid(4711)));
    assert_mistakes(
        "lan.ports = [{ tap = 'a', netns = ▸0 }]",
        &["0 is out of range; write an integer from 1 to 4194304"],
    );
}

#[test]
fn ports_in_our_own_namespace_stay_unless_told_otherwise() {
    let persist = |keys: &str| accepted(&format!("lan.ports = [{{ tap = 'a'{keys} }}]")).lan.ports[0].persist;
    assert!(persist("") && persist(", netns = 'x', persist = true"));
    assert!(!persist(", netns = 'x'") && !persist(", persist = false"));
}

#[test]
fn device_is_one_port_s_in_its_namespace() {
    assert_mistakes(
        "lan.ports = [{ tap = 'a' }]\nwan.ports = [▸{ tap = 'a' }]",
        &["two ports here are called \"a\" (first in line 1, column 14); write another tap or netns"],
    );
    assert_mistakes(
        "lan.ports = [{ tap = 'a', netns = 'x' }, ▸{ tap = 'a', netns = 'x' }]",
        &["two ports in netns x are called \"a\" (first in line 1, column 14); write another tap or netns"],
    );
    assert_mistakes(
        "lan.ports = [▸{ tap = 'gp-wan0' }]",
        &["two ports here are called \"gp-wan0\"; write another tap or netns"],
    );
    accepted("network.mode = 'lan-only'\nlan.ports = [{ tap = 'gp-wan0' }]");
    assert_mistakes(
        "lan.ports = [▸{}]\nwan.ports = [{ tap = 'gp-lan0' }]",
        &["the port has no tap; write tap = \"gp-lan0\""],
    );
}

#[test]
fn ports_are_at_most_64_in_all() {
    let list = |prefix: &str, count: usize| -> String {
        (0..count).map(|index| format!("{{ tap = '{prefix}{index}' }}, ")).collect()
    };
    assert_eq!(accepted(&format!("lan.ports = [{}]", list("a", 63))).ports().count(), 64);
    assert_mistakes(
        &format!("lan.ports = [{}]\nwan.ports = [▸{{ tap = 'b' }}]", list("a", 64)),
        &["LAN and WAN have too many ports together; write at most 64"],
    );
    assert_mistakes(
        &format!("lan.ports = [{}▸{{ tap = 'b' }}]", list("a", 64)),
        &["the list is too long; write at most 64"],
    );
}

#[test]
fn what_is_inspected_between_lan_ports() {
    let ports = "lan.ports = [{ tap = 'a' }, { tap = 'b' }]\n";
    let config = accepted(&format!("{ports}lan.inspect_arp = true\nlan.dhcp_snooping = true"));
    assert!(config.lan.inspect_arp && config.lan.dhcp_snooping);
    assert!(!accepted("").lan.inspect_arp && !accepted("").lan.dhcp_snooping);
    assert_mistakes("lan.inspect_arp = ▸'on'", &["a text instead of true or false; write true or false"]);
    for key in ["inspect_arp", "dhcp_snooping"] {
        assert_warnings(
            &format!("lan.{key} = ▸true"),
            &[&format!(
                "{key} is for what crosses from one LAN port to another, and there is one; add ports, or remove it"
            )],
        );
        assert_warnings(&format!("lan.{key} = false"), &[]);
    }
    assert_warnings(
        &format!("{ports}dhcp.enabled = false\nlan.dhcp_snooping = ▸true"),
        &["dhcp_snooping leaves the gateway as the only DHCP server, and dhcp.enabled is false; \
           write dhcp.enabled = true, or remove it"],
    );
}
