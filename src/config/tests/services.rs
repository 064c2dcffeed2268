//! `[dhcp]` and `[dns]`.

use super::*;
use crate::config::services::FormerReach;
use crate::config::services::{Admin, KINDS};

#[test]
fn pool_follows_the_lan() {
    let pool = |lan: &str| accepted(&format!("lan.address = '{lan}'")).services.dhcp.pool;
    assert_eq!(pool("10.0.0.1/8"), (ip("10.0.0.1"), ip("10.0.0.100")));
    assert_eq!(pool("10.1.2.129/25"), (ip("10.1.2.129"), ip("10.1.2.228")));
    assert_eq!(pool("10.1.2.1/29"), (ip("10.1.2.1"), ip("10.1.2.6")));
    assert_eq!(pool("10.1.2.1/30"), (ip("10.1.2.1"), ip("10.1.2.2")));
}

#[test]
fn pool_is_in_the_lan_and_not_empty() {
    let config = accepted("dhcp.pool = '192.168.1.200 - 192.168.1.200'");
    assert_eq!(config.services.dhcp.pool, (ip("192.168.1.200"), ip("192.168.1.200")));
    assert_mistakes(
        "lan.address = '10.0.0.1/24'\ndhcp.pool = ▸'192.168.1.1-192.168.1.100'",
        &["192.168.1.1 is not in the LAN 10.0.0.0/24; write an address from 10.0.0.1 to 10.0.0.254"],
    );
    assert_mistakes(
        "dhcp.pool = ▸'192.168.1.10-192.168.1.255'",
        &["192.168.1.255 is no host of the LAN 192.168.1.0/24; \
           write an address from 192.168.1.1 to 192.168.1.254"],
    );
    assert_mistakes(
        "dhcp.pool = ▸'192.168.1.9-192.168.1.8'",
        &["the pool \"192.168.1.9-192.168.1.8\" is empty; write \"192.168.1.8-192.168.1.9\""],
    );
    assert_mistakes(
        "dhcp.pool = ▸'192.168.1.1-192.168.1.1'",
        &["the pool is empty: its only address is the gateway's own; write \"192.168.1.1-192.168.1.100\""],
    );
    assert_mistakes(
        "dhcp.pool = ▸'192.168.1.9'",
        &["\"192.168.1.9\" is no range of addresses; \
           write the first and the last, such as \"192.168.1.1-192.168.1.100\""],
    );
    assert_mistakes("dhcp.lease_secs = ▸0", &["0 is out of range; write an integer from 1 to 31536000"]);
}

#[test]
fn time_servers_are_hosts_of_any_network() {
    let servers = |text: &str| accepted(text).services.dhcp.parameters.options.get(&42).cloned();
    assert_eq!(servers("dhcp.dns_servers = ['192.168.1.1']"), None);
    let two = "dhcp.ntp_servers = ['192.168.1.1', '203.0.113.123']";
    assert_eq!(servers(two), Some(vec![192, 168, 1, 1, 203, 0, 113, 123]));
    assert_eq!(servers("dhcp.ntp_servers = []"), Some(vec![]));
    assert_mistakes(
        "dhcp.ntp_servers = ['192.168.1.1', ▸'224.0.1.1', ▸'time.example']",
        &[
            "\"224.0.1.1\" is no address of a host; write an IPv4 address such as \"192.168.1.20\"",
            "\"time.example\" is no IPv4 address; write an IPv4 address such as \"192.168.1.20\"",
        ],
    );
    assert_mistakes(
        "dhcp.ntp_servers = ▸'192.168.1.1'",
        &["a text instead of a list in brackets; write [\"192.168.1.1\"]"],
    );
}

#[test]
fn reservation_is_a_lan_host_s() {
    let config = accepted("[[dhcp.reservations]]\nclient_id = '01:0a:Ff'\naddress = '192.168.1.200'");
    assert_eq!(config.services.dhcp.reservations[0].clients, [ReservedFor::ClientId(vec![1, 10, 255])]);
    let reservation = |keys: &str| format!("[[dhcp.reservations]]\n{keys}");
    assert_mistakes(
        &reservation("mac = '02:00:00:00:00:20'\naddress = ▸'192.168.2.20'"),
        &[
            "192.168.2.20 is not in the LAN 192.168.1.0/24; write an address from 192.168.1.1 to 192.168.1.254",
        ],
    );
    assert_mistakes(
        &reservation("mac = '02:00:00:00:00:20'\naddress = ▸'192.168.1.1'"),
        &["192.168.1.1 is the gateway itself; write another host of the LAN 192.168.1.0/24"],
    );
    assert_mistakes(
        &format!(
            "network.mode = 'lan-only'\nlan.gateway = '192.168.1.254'\n{}",
            reservation("mac = '02:00:00:00:00:20'\naddress = ▸'192.168.1.254'")
        ),
        &["192.168.1.254 is the router's, lan.gateway; write another address"],
    );
    assert_mistakes(
        &format!("▸{}", reservation("address = '192.168.1.20'")),
        &["the reservation is for nobody; write mac = \"02:00:00:00:00:20\", or client_id"],
    );
    assert!(accepted("dhcp.ignore_client_id = true").services.dhcp.ignore_client_id);
    assert_mistakes(
        &format!(
            "dhcp.ignore_client_id = true\n{}",
            reservation("client_id = ▸'01:02'\naddress = '192.168.1.20'")
        ),
        &[
            "nobody is known by this: dhcp.ignore_client_id is true; write mac = \"02:00:00:00:00:20\" instead",
        ],
    );
    for mac in ["02-00-00-00-AB-20", "0200.0000.ab20", "02000000AB20", "02:00:00-00:aB:20"] {
        assert_mistakes(
            &reservation(&format!("mac = ▸'{mac}'\naddress = '192.168.1.20'")),
            &[&format!("\"{mac}\" is no hardware address; write \"02:00:00:00:ab:20\"")],
        );
    }
    for mac in ["02:00:00:00:00", "02:00:00:00:00:+1", "02-00-00-00-00-2g"] {
        assert_mistakes(
            &reservation(&format!("mac = ▸'{mac}'\naddress = '192.168.1.20'")),
            &[&format!("\"{mac}\" is no hardware address; write one such as \"02:00:00:00:00:20\"")],
        );
    }
    assert_mistakes(
        &reservation("mac = ▸'ff:ff:ff:ff:ff:ff'\naddress = '192.168.1.20'"),
        &["\"ff:ff:ff:ff:ff:ff\" is no hardware address of a host; write one such as \"02:00:00:00:00:20\""],
    );
    assert_mistakes(
        &reservation("client_id = ▸'01'\naddress = '192.168.1.20'"),
        &["\"01\" is no client identifier; write 2 to 255 octets such as \"01:02:00:00:00:00:20\""],
    );
}

#[test]
fn a_machine_has_several_identifiers() {
    let reservation = |keys: &str| format!("[[dhcp.reservations]]\naddress = '192.168.1.20'\n{keys}");
    let [cable, wifi] = [0x20, 0x21].map(|last| ReservedFor::Mac(MacAddr([2, 0, 0, 0, 0, last])));
    let config = accepted(&reservation(
        "mac = ['02:00:00:00:00:20', '02:00:00:00:00:21']\nclient_id = ['01:02', '03:04']",
    ));
    let ids = [vec![1, 2], vec![3, 4]].map(ReservedFor::ClientId);
    assert_eq!(config.services.dhcp.reservations[0].clients, [&[cable, wifi][..], &ids].concat());
    assert_mistakes(
        &reservation("mac = ['02:00:00:00:00:20', ▸'02:00:00:00:00:20']"),
        &["this is written twice (first in line 3, column 8); remove it"],
    );
    assert_mistakes(
        &reservation("mac = ['02:00:00:00:00:20', ▸'2']"),
        &["\"2\" is no hardware address; write one such as \"02:00:00:00:00:20\""],
    );
    assert_mistakes(
        &format!("▸{}", reservation("mac = []")),
        &["the reservation is for nobody; write mac = \"02:00:00:00:00:20\", or client_id"],
    );
    let other =
        "[[dhcp.reservations]]\naddress = '192.168.1.21'\nmac = ['02:00:00:00:00:22', ▸'02:00:00:00:00:21']";
    assert_mistakes(
        &format!("{}\n{other}", reservation("mac = ['02:00:00:00:00:20', '02:00:00:00:00:21']")),
        &[
            "this host has 192.168.1.20 reserved already (first in line 3, column 29); write another mac or client_id",
        ],
    );
}

#[test]
fn host_and_address_are_reserved_once() {
    assert_mistakes(
        "[[dhcp.reservations]]\nmac = '02:00:00:00:00:20'\naddress = '192.168.1.20'\n\
         [[dhcp.reservations]]\nmac = ▸'02:00:00:00:00:20'\naddress = '192.168.1.21'\n\
         [[dhcp.reservations]]\nclient_id = '01:02'\naddress = ▸'192.168.1.20'",
        &[
            "this host has 192.168.1.20 reserved already (first in line 2, column 7); write another mac or client_id",
            "192.168.1.20 is reserved twice (first in line 3, column 11); write another address, or all of one machine's \
             identifiers in one list",
        ],
    );
    let named = |name: &str, host: u8| {
        format!(
            "[[dhcp.reservations]]\nhostname = {name}\nmac = '02:00:00:00:00:{host:02}'\naddress = '192.168.1.{host}'\n"
        )
    };
    assert_mistakes(
        &[named("'camera'", 20), named("▸'Camera'", 21), named("▸'gatepost'", 22)].concat(),
        &[
            "two hosts are called Camera (first in line 2, column 12); write another hostname",
            "gatepost is the gateway's own name; write another hostname",
        ],
    );
}

#[test]
fn upstream_is_not_the_gateway() {
    assert_mistakes(
        "dns.upstream = [▸'tls://9.9.9.9#dns.example']",
        &["\"tls://9.9.9.9#dns.example\" comes with DNS over TLS, which this version does not have yet; \
           write an IPv4 address such as \"203.0.113.53\""],
    );
    assert_mistakes(
        "dns.upstream = ['203.0.113.53', ▸'192.168.1.1', ▸'::1']",
        &[
            "192.168.1.1 is the gateway itself, which would ask itself; write the address of another name server",
            "\"::1\" is an IPv6 address, which this version does not have; \
             write an IPv4 address such as \"192.168.1.20\"",
        ],
    );
}

#[test]
fn forwarded_zones_have_servers_and_are_not_the_office_s_own() {
    let forward =
        |zone: &str, servers: &str| format!("[[dns.forward]]\nzone = {zone}\nservers = {servers}\n");
    let config = accepted(
        &[forward("'Corp.local.'", "['192.168.1.51']"), forward("'local'", "['10.0.0.1']")].concat(),
    );
    let corp = DnsForward { zone: "corp.local".into(), servers: vec![ip("192.168.1.51")] };
    assert_eq!(config.services.dns.forwards[0], corp);
    assert_eq!(
        accepted("dns.private_answers_from = ['Plex.direct.']").services.dns.private_answers_from,
        ["plex.direct"]
    );
    assert_mistakes(
        &[
            forward("▸'Office.Example'", "['192.168.1.51']"),
            forward("'corp.local'", "▸[]"),
            forward("'corp.local'", "[▸'192.168.1.1']"),
            forward("'ad.example'", "['192.168.1.51']"),
            forward("▸'AD.example.'", "['192.168.1.52']"),
            "▸[[dns.forward]]\nzone = 'corp.local'".to_owned(),
        ]
        .concat(),
        &[
            "office.example is the office's own domain, which the gateway answers itself; \
             write another zone, such as one below it, or another system.domain",
            "nobody answers for corp.local; write servers = [\"192.168.1.51\"], or remove it",
            "192.168.1.1 is the gateway itself, which would ask itself; write the address of another name server",
            "ad.example is forwarded twice (first in line 11, column 8); write all its servers in one",
            "the forwarded zone has no servers; write servers = [\"192.168.1.51\"]",
        ],
    );
}

#[test]
fn delegated_zones_have_servers_and_nothing_else() {
    let record = |name: &str, kind: &str, value: &str| {
        format!("[[dns.records]]\nname = {name}\ntype = '{kind}'\nvalue = '{value}'\n")
    };
    let config = accepted(
        &[
            record("'branch'", "NS", "ns.Branch"),
            record("'branch'", "NS", "ns.elsewhere.example."),
            record("'ns.branch'", "A", "192.168.1.60"),
        ]
        .concat(),
    );
    let values: Vec<_> = config.services.dns.records.into_iter().map(|record| record.value).collect();
    assert_eq!(values[0], RecordValue::NameServer("ns.Branch".into()));
    assert_mistakes(
        &[
            record("▸'office.example.'", "NS", "ns"),
            record("▸'shop.example.'", "NS", "ns"),
            record("▸'*.lab'", "NS", "ns"),
            record("▸'corp'", "NS", "ns"),
            record("▸'far'", "NS", "ns.elsewhere.example."),
            record("▸'branch'", "TXT", "here"),
            record("'branch'", "NS", "ns"),
            record("▸'pc.branch'", "A", "192.168.1.61"),
            record("'ns'", "A", "192.168.1.60"),
            "[[dns.forward]]\nzone = 'corp.office.example'\nservers = ['192.168.1.51']\n".to_owned(),
        ]
        .concat(),
        &[
            "office.example cannot be delegated; \
             write NS for a name below office.example without a zone in dns.forward",
            "shop.example cannot be delegated; \
             write NS for a name below office.example without a zone in dns.forward",
            "*.lab.office.example cannot be delegated; \
             write NS for a name below office.example without a zone in dns.forward",
            "corp.office.example cannot be delegated; \
             write NS for a name below office.example without a zone in dns.forward",
            "no name server of far.office.example has an address; write an A record for one of them",
            "branch.office.example is in the delegated zone branch.office.example (first in line 26, column 8); \
             remove it: the zone's own servers answer for it",
            "pc.branch.office.example is in the delegated zone branch.office.example (first in line 26, column 8); \
             remove it: the zone's own servers answer for it",
        ],
    );
}

#[test]
fn so_many_zones_are_delegated_at_most() {
    let record = |name: &str, kind: &str, value: &str| {
        format!("[[dns.records]]\nname = {name}\ntype = '{kind}'\nvalue = '{value}'\n")
    };
    let delegated = |count: u32| -> String {
        let zones = (1..=count).map(|zone| record(&format!("'zone{zone}'"), "NS", "ns"));
        zones.chain([record("'zone1'", "NS", "ns2"), record("'ns'", "A", "192.168.1.60")]).collect()
    };
    accepted(&delegated(64));
    let marked = delegated(65).replace("'zone65'", "▸'zone65'");
    assert_mistakes(&marked, &["65 zones are delegated; write at most 64"]);
}

#[test]
fn records_of_every_type() {
    let record = |name: &str, kind: &str, value: &str| {
        format!("[[dns.records]]\nname = '{name}'\ntype = '{kind}'\nvalue = '{value}'\n")
    };
    let config = accepted(
        &[
            record("nas", "A", "192.168.1.40"),
            record("files", "CNAME", "nas"),
            record("office.example.", "MX", "10 smtp.isp.example."),
            record("_dmarc", "TXT", "v=DMARC1; p=none"),
            record("_sip._tcp", "SRV", "0 5 5060 pbx"),
            record("*.dev", "AAAA", "2001:db8::40"),
            record("office.example.", "CAA", "128 issue \"ca.example\""),
            record("9.0.168.192.in-addr.arpa.", "PTR", "nas"),
        ]
        .concat(),
    );
    let values: Vec<_> = config.services.dns.records.into_iter().map(|record| record.value).collect();
    assert_eq!(
        values,
        [
            RecordValue::Address(ip("192.168.1.40").into()),
            RecordValue::Alias("nas".into()),
            RecordValue::MailExchange { preference: 10, exchange: "smtp.isp.example.".into() },
            RecordValue::Text("v=DMARC1; p=none".into()),
            RecordValue::Service { priority: 0, weight: 5, port: 5060, target: "pbx".into() },
            RecordValue::Address("2001:db8::40".parse().unwrap()),
            RecordValue::CertificationAuthority {
                is_critical: true,
                tag: "issue".into(),
                value: "ca.example".into(),
            },
            RecordValue::Pointer("nas".into()),
        ]
    );
    let text = "x".repeat(1025);
    assert_mistakes(
        &[
            record("a", "A", "nas").replace("value = ", "value = ▸"),
            record("b", "MX", "smtp").replace("value = ", "value = ▸"),
            record("b", "SRV", "0 5 pbx").replace("value = ", "value = ▸"),
            record("c", "SOA", "nas").replace("type = ", "type = ▸"),
            record("c", "AAAA", "192.168.1.40").replace("value = ", "value = ▸"),
            record("c", "CAA", "1 issue ca.example").replace("value = ", "value = ▸"),
            record("a.*", "A", "192.168.1.40").replace("name = ", "name = ▸"),
            record("d", "TXT", &text).replace("value = ", "value = ▸"),
            record("e..f", "A", "192.168.1.40").replace("name = ", "name = ▸"),
            "▸[[dns.records]]\ntype = 'A'\nvalue = '192.168.1.40'".to_owned(),
        ]
        .concat(),
        &[
            "\"nas\" is no IPv4 address; write an IPv4 address such as \"192.168.1.20\"",
            "\"smtp\" is no preference and host; write both, such as \"10 smtp\"",
            "\"0 5 pbx\" is no priority, weight, port and host; write all four, such as \"0 5 5060 pbx\"",
            "\"SOA\" is not possible here; write \"A\", \"AAAA\", \"CAA\", \"CNAME\", \"MX\", \"NS\", \"PTR\", \"SRV\" or \"TXT\"",
            "\"192.168.1.40\" is no IPv6 address; write one such as \"2001:db8::40\"",
            "\"1 issue ca.example\" is no flags, tag and value; write all three, such as '0 issue \"letsencrypt.org\"'",
            "\"*\" is no label of a name; write 1 to 63 letters, digits and hyphens, no hyphen first or last",
            "the text has 1025 octets; write at most 1024",
            "\"\" is no label of a name; write 1 to 63 letters, digits and hyphens, no hyphen first or last",
            "the record has no name; write name = \"nas\"",
        ],
    );
}

/// RFC 1034, section 3.6.2: Alias is alone at its name.
#[test]
fn rfc1034_3_6_2_alias_is_alone_at_its_name() {
    let record = |name: &str, kind: &str, value: &str| {
        format!("[[dns.records]]\nname = {name}\ntype = '{kind}'\nvalue = '{value}'\n")
    };
    assert_mistakes(
        &[
            record("'nas'", "A", "192.168.1.40"),
            record("▸'NAS.office.example.'", "CNAME", "files"),
            record("▸'nas'", "A", "192.168.1.40"),
            record("▸'office.example.'", "CNAME", "nas"),
        ]
        .concat(),
        &[
            "nas.office.example has a CNAME and another record (first in line 2, column 8); remove one of them",
            "nas.office.example has this record twice (first in line 2, column 8); remove one",
            "the domain itself cannot be a CNAME; write an A record, or another name",
        ],
    );
}

#[test]
fn the_administration_has_a_port_that_is_no_other_service_s_and_is_for_the_lan() {
    let admin = |text: &str| accepted(text).services.admin;
    let former = FormerReach::default();
    let expected = Admin { enabled: true, port: 8080, confirm_secs: 90, theme: None, former: former.clone() };
    assert_eq!(admin(""), expected);
    let theme = Some("/etc/gatepost/theme".into());
    let changed = Admin { enabled: false, port: 8081, confirm_secs: 30, theme, former };
    let text = "admin = { enabled = false, port = 8081, confirm_secs = 30, theme = '/etc/gatepost/theme' }";
    assert_eq!(admin(text), changed);
    assert_eq!(admin("admin.theme = ''").theme, None);
    assert!(accepted("").services.speak_tls() && !accepted("admin.enabled = false").services.speak_tls());
    let kind = KINDS.iter().find(|kind| kind.name == "admin").expect("it is listed");
    assert_eq!(accepted("admin.port = 8081").services.ports_of(kind), [(Protocol::TCP, 8081)]);
    for mode in ["nat", "router"] {
        let open = accepted(&format!("network.mode = '{mode}'"));
        assert!(open.wan_services().all(|kind| kind.name != "admin"));
    }
    assert_mistakes(
        "firewall.wan_services = [▸'admin']",
        &["there is no service \"admin\" for the WAN; remove it, or write \"dns\", \"ntp\", \"smtp\", \
             \"submission\" or \"pop3s\""],
    );
    assert_mistakes("admin.port = ▸53", &["port 53 is that of dns; write another one"]);
    assert_mistakes("admin.port = ▸25", &["port 25 is that of smtp; write another one"]);
    assert_mistakes("mail.ports.lmtp = ▸8080", &["port 8080 is that of admin; write another one"]);
    accepted("admin.enabled = false\nmail.ports.lmtp = 8080");
    assert_mistakes("admin.port = ▸0", &["0 is out of range; write an integer from 1 to 65535"]);
}
