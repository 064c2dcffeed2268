//! Every rule of the configuration: accepted files, and the errors of others.
//!
//! In the texts, `▸` is right before each place of an expected mistake.

mod access;
mod dhcp_parameters;
mod firewall;
mod interfaces;
mod mail;
mod polled;
mod services;
mod users;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use gatepost_dataplane::config as dataplane;
use gatepost_dataplane::config::{Filtering, Mode, WanService};
use gatepost_ground::MacAddr;
use gatepost_ground::wire::Protocol;
use proptest::prelude::*;

use super::*;

const EXAMPLE: &str = include_str!("../../../gatepost.example.toml");

/// The configuration that `text` says.
fn accepted(text: &str) -> Config {
    Config::parse("t.toml", text).unwrap_or_else(|mistakes| {
        panic!("{text}\n{}", mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// Asserts that exactly `expected` is wrong with `marked`, each at its mark.
#[track_caller]
fn assert_mistakes(marked: &str, expected: &[&str]) {
    let mistakes = Config::parse("t.toml", &marked.replace('▸', "")).expect_err("mistakes");
    let mistakes: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(mistakes, placed(marked, expected, ""));
}

/// The errors at the marks.
#[track_caller]
fn placed(marked: &str, told: &[&str], severity: &str) -> Vec<String> {
    let mut places = Vec::new();
    for (line, text) in (1..).zip(marked.split('\n')) {
        let pieces: Vec<_> = text.split('▸').map(|piece| piece.chars().count()).collect();
        for end in 1..pieces.len() {
            places.push((line, pieces[..end].iter().sum::<usize>() + 1));
        }
    }
    assert_eq!(places.len(), told.len(), "as many marks as messages");
    let placed = |((line, column), told): (&(usize, usize), &&str)| {
        format!("t.toml:{line}:{column}: {severity}{told}")
    };
    places.iter().zip(told).map(placed).collect()
}

/// Asserts that `marked` is accepted, with exactly the warnings `expected`, each at its mark.
#[track_caller]
fn assert_warnings(marked: &str, expected: &[&str]) {
    let (_, warnings) = validate::parse("t.toml", &marked.replace('▸', "")).expect("no mistakes");
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, placed(marked, expected, "warning: "));
}

/// The example file with the examples in it in force.
fn full_example() -> String {
    let in_force = |line: &str| match line.strip_prefix('#') {
        Some(code) if code.starts_with(|c: char| !c.is_whitespace()) => format!("{code}\n"),
        _ => format!("{line}\n"),
    };
    EXAMPLE.lines().map(in_force).collect()
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

#[test]
fn default_is_what_the_documentation_says() {
    let config = Config::default();
    assert_eq!(config.system.hostname, "gatepost");
    assert_eq!(config.system.domain, "office.example");
    assert_eq!(config.system.state_dir, PathBuf::from("/var/lib/gatepost"));
    assert_eq!(config.system.control_socket, PathBuf::from("/run/gatepost.sock"));
    assert_eq!(config.system.workers, 1);
    assert_eq!(config.mode, Mode::NatDmz);
    assert_eq!(config.lan.address, net("192.168.1.1/24"));
    assert_eq!(config.lan.gateway, None);
    let port = |tap: &str| PortSpec { tap: tap.into(), netns: None, driver: Driver::Auto, persist: true };
    assert_eq!(config.lan.ports, [port("gp-lan0")]);
    assert_eq!(config.wan.ports, [port("gp-wan0")]);
    assert_eq!(config.wan.address, WanAddress::Leased);
    assert_eq!(config.wan.mtu, 1500);
    assert!(config.firewall.stealth);
    assert_eq!(config.firewall.wan_services, None);
    assert_eq!(config.firewall.dmz_host, None);
    assert_eq!(config.firewall.forwards, []);
    assert_eq!(config.nat.filtering, Filtering::AddressAndPortDependent);
    assert_eq!(config.nat.flows_max, 262_144);
    assert_eq!(config.nat.flows_per_host_max, 16_384);
    assert!(config.services.dhcp.enabled && config.services.dhcp.authoritative);
    assert_eq!(config.services.dhcp.pool, (ip("192.168.1.1"), ip("192.168.1.100")));
    assert_eq!(config.services.dhcp.lease_secs, 86_400);
    assert_eq!(config.services.dhcp.parameters, gatepost_services::dhcp::server::Parameters::default());
    assert_eq!(config.services.dhcp.reservations, []);
    assert!(config.services.dns.enabled && config.services.dns.use_upstream);
    assert_eq!(config.services.dns.upstream, [] as [Ipv4Addr; 0]);
    assert_eq!(config.services.dns.records, []);
}

#[test]
fn example_shows_the_defaults() {
    assert_eq!(accepted(EXAMPLE), Config::default());
}

#[test]
fn example_s_examples_are_accepted() {
    let config = accepted(&full_example());
    let camera = dataplane::Forward {
        protocol: Protocol::TCP,
        wan_ports: 8443..=8443,
        to: ip("192.168.1.20"),
        to_port: 443,
        from: vec![net("0.0.0.0/0")],
    };
    assert_eq!(config.firewall.forwards, [Forward { name: "camera".into(), rules: vec![camera] }]);
    let printer = Reservation {
        hostname: Some("printer".into()),
        clients: vec![ReservedFor::Mac(MacAddr([2, 0, 0, 0, 0, 0x20]))],
        address: ip("192.168.1.20"),
        parameters: gatepost_services::dhcp::server::Parameters::default(),
    };
    assert_eq!(config.services.dhcp.reservations, [printer]);
    let nas = Record { name: "nas".into(), value: RecordValue::Address(ip("192.168.1.40").into()) };
    assert_eq!(config.services.dns.records, [nas]);
    assert_eq!((config.users.len(), config.users[0].full_name.as_str()), (1, "Alice Example"));
}

#[test]
fn mistake_prints_with_file_line_and_column() {
    let mistakes = Config::parse("office.toml", "# first\n\n[lan]\n  adress = \"192.168.1.1/24\"\n");
    let told: Vec<_> = mistakes.unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(told, ["office.toml:4:3: unknown key \"adress\" in [lan]; write \"address\""]);
}

#[test]
fn all_mistakes_are_told_at_once() {
    assert_mistakes(
        "[lan]\n▸adress = '192.168.1.1/24'\nports = ▸[]\n[wan]\nmtu = ▸'1500'\n[▸vpn]\n",
        &[
            "unknown key \"adress\" in [lan]; write \"address\"",
            "there is no port; write at least one, such as [{ tap = \"gp-lan0\" }]",
            "a text instead of an integer; write 1500",
            "unknown key \"vpn\" in the file; remove it, or write \"system\", \"network\", \"lan\", \"wan\", \
             \"firewall\", \"nat\", \"users\", \"dhcp\", \"dns\", \"ntp\", \"admin\", \"mail\", \"tls\" or \"access\"",
        ],
    );
}

#[test]
fn syntax_error_is_told_with_the_remedy() {
    for unquoted in ["nat", "tcp", "192.168.1.1/24", "8000-8010", "02:00:00:00:00:20"] {
        let told = format!("{unquoted} is no value; write \"{unquoted}\"");
        assert_mistakes(&format!("network.mode = ▸{unquoted} # comment"), &[&told]);
        assert_mistakes(&format!("dns.upstream = [▸{unquoted}]"), &[&told]);
    }
    assert_mistakes("[lan▸\naddress = 'x'", &["unclosed table; write `]`"]);
    assert_mistakes(
        "wan.mtu = 1500\nwan.▸mtu = 1400",
        &["mtu was set before (first in line 1, column 5); write it only once"],
    );
}

#[test]
fn wrong_type_is_told_with_the_value_in_the_right_one() {
    assert_mistakes("system.hostname = ▸7", &["an integer instead of a text in quotes; write \"7\""]);
    assert_mistakes("dns.enabled = ▸'false'", &["a text instead of true or false; write false"]);
    assert_mistakes("dns.enabled = ▸1", &["an integer instead of true or false; write true or false"]);
    assert_mistakes("wan.mtu = ▸1.5", &["a decimal number instead of an integer; write an integer"]);
    assert_mistakes(
        "dns.upstream = ▸'192.0.2.53'",
        &["a text instead of a list in brackets; write [\"192.0.2.53\"]"],
    );
    assert_mistakes("lan = ▸true", &["true or false instead of a table; write a table"]);
    assert_mistakes("dhcp.reservations = [▸1]", &["an integer instead of a table; write a table"]);
}

#[test]
fn system_names_and_paths() {
    let config = accepted(
        "[system]\nhostname = 'gw-1'\ndomain = 'lan'\nstate_dir = '/state'\ncontrol_socket = '/tmp/gp.sock'",
    );
    assert_eq!((config.system.hostname.as_str(), config.system.domain.as_str()), ("gw-1", "lan"));
    assert_mistakes(
        "system.hostname = ▸'gw.office.example'",
        &["\"gw.office.example\" is more than one label; write \"gw\"; the domain is system.domain"],
    );
    let label = "is no label of a name; write 1 to 63 letters, digits and hyphens, no hyphen first or last";
    assert_mistakes("system.hostname = ▸''", &[&format!("\"\" {label}")]);
    assert_mistakes("system.hostname = ▸'-gw'", &[&format!("\"-gw\" {label}")]);
    assert_mistakes("system.domain = ▸'büro.example'", &[&format!("\"büro\" {label}")]);
    assert_mistakes(
        "system.domain = ▸'office.example.'",
        &["\"office.example.\" ends with a dot; write \"office.example\""],
    );
    let domain = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(56)].join(".");
    assert_mistakes(
        &format!("system.domain = ▸'{domain}'"),
        &[&format!(
            "the gateway's name gatepost.{domain} has more than 253 octets; write a shorter domain or hostname"
        )],
    );
    assert_mistakes("system.state_dir = ▸''", &["\"\" is no path; write one such as \"/var/lib/gatepost\""]);
    let long = format!("/{}", "s".repeat(107));
    assert_mistakes(
        &format!("system.control_socket = ▸'{long}'"),
        &[&format!(
            "\"{long}\" is no path of a socket; write one of 1 to 107 octets, such as \"/run/gatepost.sock\""
        )],
    );
}

#[test]
fn there_are_one_to_sixteen_workers() {
    for count in 1..=16 {
        assert_eq!(accepted(&format!("system.workers = {count}")).system.workers, count);
    }
    for count in ["0", "17", "4294967297"] {
        let told = format!("{count} is out of range; write an integer from 1 to 16");
        assert_mistakes(&format!("system.workers = ▸{count}"), &[&told]);
    }
}

#[test]
fn mode_is_one_of_four() {
    assert_eq!(accepted("network.mode = 'router'").mode, Mode::Router);
    assert_mistakes("network.mode = ▸'nat-dmx'", &["\"nat-dmx\" is not possible here; write \"nat-dmz\""]);
    assert_mistakes(
        "network.mode = ▸'bridge'",
        &["\"bridge\" is not possible here; write \"lan-only\", \"router\", \"nat\" or \"nat-dmz\""],
    );
}

#[test]
fn wrong_lan_brings_no_errors_that_only_follow() {
    assert_mistakes(
        "lan.address = ▸'10.0.0.1'\ndhcp.pool = '10.0.0.2-10.0.0.9'\nlan.gateway = '10.0.0.7'\n\
         firewall.dmz_host = '10.0.0.8'",
        &["\"10.0.0.1\" has no prefix length; write \"10.0.0.1/24\""],
    );
}

#[test]
fn features_of_later_versions_can_only_be_off() {
    assert_eq!(accepted("mail.enabled = false\nipv6.mode = 'off'"), Config::default());
    assert_mistakes("[admin]\nconfirm_secs = ▸9", &["9 is out of range; write an integer from 10 to 86400"]);
    assert_mistakes(
        "[wan]\n▸vlan = 7\n▸[ipv6]\nmode = 'on'\n▸[[networks]]\nname = 'guest'\n[[networks]]\n▸[web]",
        &[
            "\"vlan\" in [wan] comes with VLANs, which this version does not have yet; remove it",
            "[ipv6] comes with IPv6, which this version does not have yet; \
             remove the section, or write only mode = \"off\"",
            "[[networks]] comes with further networks, which this version does not have yet; remove it",
            "[web] comes with the web server, which this version does not have yet; remove it",
        ],
    );
}

#[test]
fn the_stratum_without_a_source_is_up_to_fifteen() {
    let ntp = accepted("").services.ntp;
    assert_eq!((ntp.enabled, ntp.local_stratum), (true, 10));
    assert_eq!(accepted("ntp.local_stratum = 0").services.ntp.local_stratum, 0);
    for stratum in ["16", "-1"] {
        let told = format!("{stratum} is out of range; write an integer from 0 to 15");
        assert_mistakes(&format!("ntp.local_stratum = ▸{stratum}"), &[&told]);
    }
}

#[test]
fn time_servers_are_addresses_and_names() {
    let servers = accepted("ntp.servers = ['198.51.100.123', 'pool.ntp.example']").services.ntp.servers;
    assert_eq!(
        servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["198.51.100.123", "pool.ntp.example"]
    );
    assert_eq!(accepted("").services.ntp.servers, []);
    assert_mistakes(
        "ntp.servers = [▸'192.168.1.1', ▸'not a name']",
        &[
            "192.168.1.1 is the gateway itself, which would ask itself; write the address of another time server",
            "\"not a name\" is no time server; write an IPv4 address or a name such as \"pool.ntp.org\"",
        ],
    );
    let told = "\"set_clock\" in [ntp] comes with keeping the kernel's clock, which this version does not have yet; remove it";
    assert_mistakes("ntp.▸set_clock = true", &[told]);
}

#[test]
fn what_stands_twice_names_the_first_place() {
    assert_mistakes(
        "[lan]\naddress = '10.0.0.1/24'\n[wan]\naddress = 'dhcp'\n▸address = 'dhcp'\n[▸lan]",
        &[
            "address was set before (first in line 4, column 1); write it only once",
            "lan was set before (first in line 1, column 1); write it only once",
        ],
    );
}

#[test]
fn paths_do_not_depend_on_where_the_gateway_is_started() {
    assert_mistakes(
        "[system]\nstate_dir = ▸'state'\ncontrol_socket = ▸'./gatepost.sock'",
        &[
            "\"state\" depends on where the gateway is started; \
             write an absolute path such as \"/var/lib/gatepost\"",
            "\"./gatepost.sock\" depends on where the gateway is started; \
             write an absolute path such as \"/run/gatepost.sock\"",
        ],
    );
}

#[test]
fn what_the_mode_ignores_is_warned_of() {
    let forward = "[[firewall.forwards]]\nname = 'web'\nwan_port = ▸'80'\nto = '192.168.1.20:80'";
    for mode in ["router", "lan-only"] {
        assert_warnings(
            &format!("network.mode = '{mode}'\nfirewall.dmz_host = ▸'192.168.1.30'\n{forward}"),
            &[
                &format!(
                    "in mode \"{mode}\" there is no default host; \
                     remove it, or write mode = \"nat\" or \"nat-dmz\""
                ),
                &format!(
                    "in mode \"{mode}\" the forward \"web\" does nothing; \
                     remove it, or write mode = \"nat\" or \"nat-dmz\""
                ),
            ],
        );
    }
    assert_warnings(
        "network.mode = 'lan-only'\nwan.address = ▸'203.0.113.9/24'\nfirewall.wan_services = ▸['dns']",
        &[
            "in mode \"lan-only\" there is no WAN; remove the address, or write another mode",
            "in mode \"lan-only\" there is no WAN to serve; remove it, or write another mode",
        ],
    );
    assert_warnings(
        "lan.gateway = ▸'192.168.1.254'",
        &["in mode \"nat-dmz\" DHCP clients get the gateway itself, not this; \
           write \"\", or mode = \"lan-only\""],
    );
    assert_warnings(
        "dns.use_upstream = false\ndns.upstream = ▸['203.0.113.53']\ndhcp.enabled = false\n\
         [[dhcp.reservations]]\nmac = '02:00:00:00:00:20'\naddress = ▸'192.168.1.20'",
        &[
            "nobody asks these servers: dns.use_upstream is false; write use_upstream = true, or remove them",
            "nobody hands out what is reserved: dhcp.enabled is false; write enabled = true, or remove it",
        ],
    );
    assert_warnings(EXAMPLE, &[]);
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        let _ = Config::parse("t.toml", &text);
    }

    #[test]
    fn no_mutation_of_the_example_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut octets = full_example().into_bytes();
        for (place, octet) in changes {
            let place = place.index(octets.len());
            octets[place] = octet;
        }
        let _ = Config::parse("t.toml", &String::from_utf8_lossy(&octets));
    }

    #[test]
    fn no_value_panics(
        line in any::<prop::sample::Index>(),
        value in prop_oneof![
            "[-0-9./:a-f]{0,24}".prop_map(|text| format!("'{text}'")),
            any::<i64>().prop_map(|number| number.to_string()),
            Just("[[], {}, 1979-05-27, 1e9]".to_owned()),
            Just("inf".to_owned()),
        ],
    ) {
        let example = full_example();
        let mut lines: Vec<_> = example.lines().map(str::to_owned).collect();
        let keys: Vec<_> = (0..lines.len()).filter(|line| lines[*line].contains(" = ")).collect();
        let line = keys[line.index(keys.len())];
        let key = lines[line].split(" = ").next().unwrap_or_default().to_owned();
        lines[line] = format!("{key} = {value}");
        let text = lines.join("\n");
        if let Err(mistakes) = Config::parse("t.toml", &text) {
            let line_count = text.split('\n').count();
            prop_assert!(mistakes.iter().all(|mistake| (1..=line_count).contains(&mistake.line)));
        }
    }
}
