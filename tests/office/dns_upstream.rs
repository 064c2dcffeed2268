//! Upstream servers with faults, a validator behind the gateway, and zones with servers of their own.

use std::fs;

use crate::dns::ask;
use crate::harness::programs::{dig, name_server, name_server_at};
use crate::harness::{Background, Directory, ISP, LAN, Namespace, Office, SERVER};

/// The servers of the script `dns_upstream.py`, by its arguments.
struct Servers {
    /// What the script says first.
    greeting: String,
    directory: Directory,
    _process: Background,
}

impl Servers {
    fn start(namespace: &Namespace, arguments: &str) -> Self {
        let directory = Directory::new();
        let script = directory.join("dns_upstream.py");
        fs::write(&script, include_str!("dns_upstream.py")).expect("it can be written");
        let mut process = namespace.spawn(&format!("/usr/bin/python3 {} {arguments}", script.display()));
        Self { greeting: process.hear(), directory, _process: process }
    }
}

/// The setting that forwards `zone` to `server`.
fn forward(zone: &str, server: &str) -> String {
    format!("{{ zone = '{zone}', servers = ['{server}'] }}")
}

/// RFC 6891, section 7; RFC 8906, section 3.2.
#[test]
fn however_a_server_rejects_edns_names_resolve() {
    let ways = [
        "bare-formerr",
        "bare-refused",
        "formerr",
        "formerr-with-opt",
        "notimp",
        "servfail",
        "badvers",
        "silence",
    ];
    let servers = || ways.iter().enumerate().map(|(number, way)| (format!("203.0.113.{}", 60 + number), way));
    let forwards: Vec<_> =
        servers().map(|(address, way)| forward(&format!("{way}.example"), &address)).collect();
    let office = Office::new(1, &format!("dns.forward = [{}]", forwards.join(", ")));
    let mut arguments = String::new();
    for (address, way) in servers() {
        office.internet.sh(&format!("ip address add {address}/24 dev eth0"));
        arguments += &format!("{address}={way} ");
    }
    let _servers = Servers::start(&office.internet, &arguments);
    for way in ways {
        let answer = ask(&office, &format!("+timeout=10 www.{way}.example"));
        assert_eq!(answer.answers.len(), 1, "{way} {answer:?}");
    }
}

#[test]
fn a_denied_name_denies_no_name_below_it() {
    let office = Office::new(1, &format!("dns.upstream = ['{ISP}']"));
    let _server = Servers::start(&office.internet, &format!("{ISP}=denying"));
    assert_eq!(ask(&office, "_domainkey.example TXT").status, "NXDOMAIN");
    assert_eq!(dig(office.pc(1), "selector._domainkey.example TXT"), "\"key\"");
}

/// RFC 4035, section 3.1.3.3; RFC 6672, section 3.1.
#[test]
fn a_validator_gets_the_proof_of_a_wildcard_and_of_an_alias_by_dname() {
    let office = Office::new(1, &format!("dns.upstream = ['{ISP}']"));
    let servers = Servers::start(&office.internet, &format!("{ISP}=signed"));
    let anchor = servers.directory.join("anchor");
    fs::write(&anchor, &servers.greeting).expect("it can be written");
    // The second time it comes from the cache.
    for name in ["x.wild", "x.d", "x.wild", "x.d"] {
        let delv = format!("delv @{LAN} -a {} +root=signed.example {name}.signed.example", anchor.display());
        let seen = office.pc(1).sh(&delv);
        assert!(seen.contains("; fully validated") && seen.contains(&SERVER.to_string()), "{name} {seen}");
    }
    let answer = ask(&office, "+dnssec x.wild.signed.example");
    let lone = answer.authority.iter().find(|record| record.contains(" RRSIG NS "));
    assert_eq!(lone, None, "NS itself is not passed on");
}

#[test]
fn private_addresses_pass_where_they_are_meant() {
    let settings = format!("dns.upstream = ['{ISP}']\ndns.private_answers_from = ['plex.example']");
    let office = Office::new(1, &settings);
    let _server = name_server(
        &office.internet,
        "--address=/plex.example/192.168.1.50 --address=/blocklist.example/127.0.0.2 \
         --address=/rebinding.example/10.99.0.1",
    );
    assert_eq!(dig(office.pc(1), "192-168-1-50.abc.plex.example"), "192.168.1.50");
    assert_eq!(dig(office.pc(1), "2.0.0.127.blocklist.example"), "127.0.0.2");
    let removed = || office.gateway().show("counters")["dns"]["rebinding_filtered"].as_u64();
    assert_eq!(removed(), Some(0));
    for _ in 0..2 {
        assert_eq!(dig(office.pc(1), "www.rebinding.example"), "");
    }
    assert!(removed() >= Some(1));
    assert_eq!(office.gateway().log().matches("www.rebinding.example").count(), 1);
}

/// An Active Directory's domain controller on the LAN, in an office that asks nobody else.
#[test]
fn forwarded_zones_are_asked_at_their_servers_and_no_other_name_leaves() {
    let controller = Office::address(2);
    let [forest, reverse] =
        ["corp.local", "10.in-addr.arpa"].map(|zone| forward(zone, &controller.to_string()));
    let settings = format!(
        "dns.forward = [{forest}, {reverse}]
         dns.upstream = ['{ISP}']
         dns.use_upstream = false"
    );
    let office = Office::new(2, &settings);
    let records = "--srv-host=_ldap._tcp.corp.local,dc.corp.local,389 --host-record=dc.corp.local,10.20.30.7";
    let _server = name_server_at(office.pc(2), controller, records);
    let _leak = name_server(&office.internet, "--address=/#/198.51.100.99");
    for (question, expected) in [
        ("_ldap._tcp.corp.local SRV", "0 0 389 dc.corp.local."),
        ("dc.corp.local", "10.20.30.7"),
        ("-x 10.20.30.7", "dc.corp.local."),
    ] {
        assert_eq!(dig(office.pc(1), question), expected, "{question}");
    }
    for elsewhere in ["printer.local", "-x 192.168.1.250", "web.example"] {
        let answer = ask(&office, elsewhere);
        assert_eq!((answer.status.as_str(), answer.has_flag("aa")), ("NXDOMAIN", true), "{answer:?}");
    }
}
