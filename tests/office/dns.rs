//! DNS queries by dig; the provider's name server is dnsmasq.

use std::net::Ipv4Addr;

use crate::harness::programs::{dig, name_server};
use crate::harness::{DOMAIN, ISP, LAN, Namespace, Office, SERVER, WAN};

/// The output of dig for a whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: String,
    pub flags: Vec<String>,
    pub answers: Vec<String>,
    pub authority: Vec<String>,
}

impl Answer {
    /// Asks `server` with dig, by UDP unless its `options` say otherwise.
    fn from(client: &Namespace, server: Ipv4Addr, options: &str) -> Self {
        Self::read(&client.sh(&format!("dig @{server} +time=3 +tries=2 {options}")))
    }

    /// Reads an answer in the output of dig or kdig.
    pub fn read(text: &str) -> Self {
        let after = |start: &str| text.split_once(start).map(|(_, rest)| rest).unwrap_or_default();
        let until = |rest: &str, end: &[char]| rest.split(end).next().unwrap_or_default().to_owned();
        let section = |name: &str| {
            let lines = after(&format!(";; {name} SECTION:\n")).lines();
            lines.take_while(|line| !line.is_empty()).map(|line| line.replace('\t', " ")).collect()
        };
        Self {
            status: until(after("status: "), &[',', ';']),
            flags: until(after("lags: "), &[';']).split_whitespace().map(str::to_owned).collect(),
            answers: section("ANSWER"),
            authority: section("AUTHORITY"),
        }
    }

    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|set| set == flag)
    }
}

/// Asks the gateway from the first PC.
pub fn ask(office: &Office, options: &str) -> Answer {
    Answer::from(office.pc(1), LAN, options)
}

#[test]
fn a_reserved_name_is_there_before_its_lease_and_with_it() {
    let office = Office::new(
        1,
        "dhcp.reservations = [
        { hostname = 'Anna', mac = '02:00:00:00:01:01', address = '192.168.1.20' }]",
    );
    let line = "busybox udhcpc -f -q -n -i eth0 -t 10 -T 1 -A 1 -s /bin/true 2>&1";
    assert_is_named(&office, "aNNa", "192.168.1.20");
    office.pc(1).sh(line);
    assert_is_named(&office, "aNNa", "192.168.1.20");
}

/// Asserts that a name of the office and an address lead to each other, over both transports.
#[track_caller]
fn assert_is_named(office: &Office, label: &str, address: &str) {
    for transport in ["+notcp", "+tcp"] {
        let forward = ask(office, &format!("{transport} {label}.{DOMAIN}"));
        assert_eq!(forward.status, "NOERROR", "{forward:?}");
        assert!(forward.has_flag("aa"), "{forward:?}");
        assert!(
            forward.answers.iter().any(|record| record.ends_with(&format!("A {address}"))),
            "{forward:?}"
        );
        let reverse = ask(office, &format!("{transport} -x {address}"));
        let name = format!("PTR {}.{DOMAIN}.", label.to_lowercase());
        assert!(reverse.answers.iter().any(|record| record.ends_with(&name)), "{reverse:?}");
    }
}

#[test]
fn built_in_names_are_known() {
    let office = Office::new(1, "system.hostname = 'gate'");
    let (lan, wan) = (LAN.to_string(), WAN.to_string());
    for name in ["gate", "lan", "corp", "admin"] {
        assert_eq!(dig(office.pc(1), &format!("{name}.{DOMAIN}")), lan, "{name}");
    }
    for name in ["www", "wan"] {
        assert_eq!(dig(office.pc(1), &format!("{name}.{DOMAIN}")), wan, "{name}");
    }
    for name in ["smtp", "pop"] {
        let answer = dig(office.pc(1), &format!("{name}.{DOMAIN}"));
        let mut addresses: Vec<_> = answer.lines().collect();
        addresses.sort_unstable();
        assert_eq!(addresses, [&lan, &wan], "{name}");
    }
    assert_eq!(dig(office.pc(1), &format!("{DOMAIN} MX")), format!("10 smtp.{DOMAIN}."));
    assert_eq!(dig(office.pc(1), &format!("-x {LAN}")), format!("gate.{DOMAIN}."));
}

#[test]
fn what_the_office_does_not_have_does_not_exist() {
    let office = Office::new(1, "");
    // RFC 2308: with the zone's SOA. No upstream server is queried; none would answer.
    for question in [format!("nobody.{DOMAIN}"), "-x 192.168.1.250".to_owned()] {
        let answer = ask(&office, &question);
        assert_eq!(answer.status, "NXDOMAIN", "{answer:?}");
        assert!(answer.has_flag("aa"), "{answer:?}");
        assert!(answer.authority.iter().any(|record| record.contains(" SOA ")), "{answer:?}");
    }
    let no_data = ask(&office, &format!("lan.{DOMAIN} AAAA"));
    assert_eq!((no_data.status.as_str(), no_data.answers.len()), ("NOERROR", 0), "{no_data:?}");
    assert!(no_data.authority.iter().any(|record| record.contains(" SOA ")), "{no_data:?}");
}

#[test]
fn other_names_are_asked_at_the_providers() {
    let office = Office::new(1, &format!("dns.upstream = ['{ISP}']"));
    let records = format!(
        "--host-record=web.example,{SERVER} --cname=alias.example,web.example \
         --address=/rebinding.example/192.168.1.40 --local=/nowhere.example/"
    );
    let server = name_server(&office.internet, &records);
    for transport in ["+notcp", "+tcp"] {
        let answer = ask(&office, &format!("{transport} web.example"));
        assert_eq!(answer.status, "NOERROR", "{answer:?}");
        assert!(answer.answers[0].ends_with(&format!("A {SERVER}")), "{answer:?}");
        assert!(answer.has_flag("ra") && !answer.has_flag("aa"), "{answer:?}");
    }
    assert_eq!(dig(office.pc(1), "alias.example"), format!("web.example.\n{SERVER}"));
    assert_eq!(ask(&office, "nowhere.example").status, "NXDOMAIN");
    // A name of the outside must not lead to the inside.
    assert!(!dig(office.pc(1), "rebinding.example").contains("192.168.1.40"));
    // An answer is cached for its TTL.
    drop(server);
    assert_eq!(dig(office.pc(1), "alias.example"), format!("web.example.\n{SERVER}"));
}

#[test]
fn the_secondary_server_is_asked_when_the_primary_is_silent() {
    let office = Office::new(1, &format!("dns.upstream = ['203.0.113.53', '{ISP}']"));
    let _server = name_server(&office.internet, &format!("--host-record=web.example,{SERVER}"));
    assert_eq!(dig(office.pc(1), "web.example"), SERVER.to_string());
}

#[test]
fn a_provider_that_is_silent_is_a_failure_and_no_denial() {
    let office = Office::new(1, "dns.upstream = ['203.0.113.53']");
    // RFC 2308, section 7: SERVFAIL, so that the client retries later. RFC 9520: it is cached.
    for _ in 0..2 {
        assert_eq!(ask(&office, "+timeout=15 web.example").status, "SERVFAIL");
    }
    // The office's own names do not wait for upstream servers.
    assert_eq!(dig(office.pc(1), &format!("lan.{DOMAIN}")), LAN.to_string());
}

#[test]
fn what_a_datagram_does_not_hold_is_truncated_and_asked_by_tcp() {
    let office = Office::new(1, &format!("dns.upstream = ['{ISP}']"));
    let texts = |name: &str, count: usize| -> String {
        (0..count).map(|n| format!(" --txt-record={name},{n:02}{}", "x".repeat(198))).collect()
    };
    let _server = name_server(&office.internet, &(texts("medium.example", 4) + &texts("large.example", 20)));
    let count = |options: &str| {
        let answer = ask(&office, options);
        assert_eq!(answer.status, "NOERROR", "{answer:?}");
        (answer.has_flag("tc"), answer.answers.len())
    };
    assert_eq!(count("+bufsize=1232 +ignore medium.example TXT"), (false, 4));
    assert!(count("+bufsize=512 +ignore medium.example TXT").0);
    assert!(count("+noedns +ignore medium.example TXT").0);
    assert!(count("+bufsize=1232 +ignore large.example TXT").0);
    for by_tcp in ["+bufsize=1232 large.example TXT", "+tcp large.example TXT", "+noedns large.example TXT"] {
        assert_eq!(count(by_tcp), (false, 20), "{by_tcp}");
    }
}

#[test]
fn static_records_are_answered_with_authority() {
    let office = Office::new(
        1,
        "dns.records = [
            { name = 'nas', type = 'A', value = '192.168.1.40' },
            { name = 'files', type = 'CNAME', value = 'nas' },
            { name = 'www', type = 'A', value = '198.51.100.7' },
            { name = 'lists', type = 'MX', value = '5 nas' },
            { name = 'note', type = 'TXT', value = 'a text; with a semicolon' },
            { name = 'other.example.', type = 'A', value = '198.51.100.8' },
        ]",
    );
    for (question, expected) in [
        ("nas.office.example", "192.168.1.40"),
        ("files.office.example", "nas.office.example.\n192.168.1.40"),
        ("www.office.example", "198.51.100.7"),
        ("lists.office.example MX", "5 nas.office.example."),
        ("note.office.example TXT", "\"a text; with a semicolon\""),
        ("other.example", "198.51.100.8"),
        ("-x 192.168.1.40", "nas.office.example."),
    ] {
        assert_eq!(dig(office.pc(1), question), expected, "{question}");
        assert!(ask(&office, question).has_flag("aa"), "{question}");
    }
}

#[test]
fn stand_alone_nothing_is_asked_outside() {
    let office = Office::new(1, &format!("dns.use_upstream = false\ndns.upstream = ['{ISP}']"));
    let _server = name_server(&office.internet, &format!("--host-record=web.example,{SERVER}"));
    assert_eq!(dig(office.pc(1), &format!("lan.{DOMAIN}")), LAN.to_string());
    let answer = ask(&office, "web.example");
    assert_eq!(answer.status, "NXDOMAIN", "{answer:?}");
    assert!(answer.has_flag("aa"), "{answer:?}");
    assert!(answer.authority.iter().any(|record| record.contains(" SOA ")), "{answer:?}");
}

#[test]
fn a_lan_host_asks_at_the_wan_address_as_well() {
    let office = Office::new(1, "");
    for transport in ["+notcp", "+tcp"] {
        let answer = Answer::from(office.pc(1), WAN, &format!("{transport} wan.{DOMAIN}"));
        assert!(answer.answers.iter().any(|record| record.ends_with(&WAN.to_string())), "{answer:?}");
        assert!(!office.internet.succeeds(&format!("dig @{WAN} +time=1 +tries=1 {transport} wan.{DOMAIN}")));
    }
}

#[test]
fn the_wan_is_answered_only_where_it_may_ask() {
    let question = format!("www.{DOMAIN}");
    let closed = Office::new(1, "");
    assert!(!closed.internet.succeeds(&format!("dig @{WAN} +time=1 +tries=1 {question}")));
    drop(closed);

    let open = Office::new(1, &format!("firewall.wan_services = ['dns']\ndns.upstream = ['{ISP}']"));
    let _server = name_server(&open.internet, &format!("--host-record=web.example,{SERVER}"));
    for transport in ["+notcp", "+tcp"] {
        let answer = Answer::from(&open.internet, WAN, &format!("{transport} {question}"));
        assert!(answer.answers.iter().any(|record| record.ends_with(&WAN.to_string())), "{answer:?}");
        assert!(answer.has_flag("aa"), "{answer:?}");
        // For its own zone only: there is no recursion for clients outside.
        let recursive = Answer::from(&open.internet, WAN, &format!("{transport} web.example"));
        assert_eq!(recursive.status, "REFUSED", "{recursive:?}");
    }
}

#[test]
fn zones_cache_and_servers_are_shown_and_the_cache_is_emptied() {
    let office = Office::new(
        1,
        &format!(
            "dns.upstream = ['{ISP}', '203.0.113.53']\n\
             dhcp.reservations = [{{ hostname = 'anna', mac = '02:00:00:00:01:01', address = '192.168.1.20' }}]"
        ),
    );
    let address_of = |web: &str| name_server(&office.internet, &format!("--address=/web.example/{web}"));
    let server = address_of("198.51.100.7");
    assert_eq!(dig(office.pc(1), "web.example"), "198.51.100.7");
    assert_eq!(dig(office.pc(1), "www.web.example"), "198.51.100.7");

    let zone = office.gateway().show("zone");
    let has = |name: &str, data: &str, origin: &str| {
        let records = zone["records"].as_array().expect("a list");
        records.iter().any(|it| {
            (&it["name"], &it["data"], &it["origin"]) == (&name.into(), &data.into(), &origin.into())
        })
    };
    assert!(has(&format!("anna.{DOMAIN}."), "192.168.1.20", "host"), "{zone}");
    assert!(has("20.1.168.192.in-addr.arpa.", &format!("anna.{DOMAIN}."), "host"), "{zone}");
    assert!(has(&format!("lan.{DOMAIN}."), &LAN.to_string(), "configuration"), "{zone}");

    let cache = office.gateway().show("cache");
    assert_eq!(cache["total"], 2, "{cache}");
    let first = &cache["answers"][0];
    assert_eq!(
        (&first["name"], &first["type"], &first["records"]),
        (&"web.example.".into(), &"A".into(), &1.into())
    );
    let dns = office.gateway().show("dns");
    assert_eq!(
        (&dns["servers"][0]["state"], &dns["servers"][0]["edns"]),
        (&"up".into(), &"supported".into()),
        "{dns}"
    );
    assert!(office.gateway().show_text("dns").contains("2 cached answers"), "{dns}");

    drop(server);
    let _server = address_of("198.51.100.8");
    assert_eq!(dig(office.pc(1), "web.example"), "198.51.100.7", "cached");
    assert_eq!(office.gateway().flush("WWW.web.example"), "1 answer removed from the DNS cache\n");
    assert_eq!(dig(office.pc(1), "www.web.example"), "198.51.100.8");
    assert_eq!(dig(office.pc(1), "web.example"), "198.51.100.7");
    assert_eq!(office.gateway().flush(""), "2 answers removed from the DNS cache\n");
    assert_eq!(dig(office.pc(1), "web.example"), "198.51.100.8");
}
