//! Reloads of a running gateway, with active clients.

use nix::sys::signal::Signal;

use crate::harness::programs::{WebServer, assert_echoes, curl, dig, echo_client, echo_server};
use crate::harness::{Gateway, ISP, Office, SERVER, WAN, eventually};

const FORWARD: &str = "firewall.forwards = [{ wan_port = '7000', to = '192.168.1.101:7000' }]";
const OTHER_FORWARD: &str = "firewall.forwards = [{ wan_port = '7001', to = '192.168.1.101:7000' }]";

#[test]
fn what_is_still_allowed_goes_on_and_what_is_forbidden_ends() {
    let office = Office::new(1, FORWARD);
    let _servers = [&office.internet, office.pc(1)].map(|host| echo_server(host, 7000));
    let (mut out, _) = echo_client(office.pc(1), "", (SERVER, 7000));
    let (mut into, seen_as) = echo_client(&office.internet, "", (WAN, 7000));
    assert!(seen_as.starts_with(&ISP.to_string()), "{seen_as}");
    assert_echoes(&mut into, "before");

    office.gateway().setup().edit(FORWARD, OTHER_FORWARD);
    reload(office.gateway());
    assert_echoes(&mut out, "still here");
    into.say("anybody?");
    eventually("an unsolicited packet", || office.gateway().drops().get("unsolicited").map(drop));
    let (mut into, _) = echo_client(&office.internet, "", (WAN, 7001));
    assert_echoes(&mut into, "after");
}

#[test]
fn a_hangup_reloads_names_and_addresses_and_keeps_leases() {
    let office = Office::bare(1, "dns.records = []");
    let lease_address =
        "busybox udhcpc -i eth0 -n -q -t 10 -T 1 -s /bin/true 2>&1 | grep -o 'lease of [0-9.]*'";
    let before = office.pc(1).sh(lease_address);
    office.give_static_address(1);
    assert_eq!(dig(office.pc(1), "nas.office.example"), "");

    let records =
        "dns.records = [{ name = 'nas', type = 'A', value = '192.168.1.9' }]\ndhcp.lease_secs = 600";
    office.gateway().setup().edit("dns.records = []", records);
    office.gateway().signal(Signal::SIGHUP);
    eventually("the reload", || office.gateway().log().contains("is in force").then_some(()));
    assert_eq!(dig(office.pc(1), "nas.office.example"), "192.168.1.9");
    let lease = &office.gateway().show("leases")["leases"][0];
    assert!(before.contains(lease["address"].as_str().expect("an address")), "{before}: {lease}");
    assert_eq!(office.pc(1).sh(lease_address), before);
    let renewed = &office.gateway().show("leases")["leases"][0];
    assert!(renewed["expires_in_secs"].as_u64().is_some_and(|secs| secs <= 600), "{renewed}");
}

#[test]
fn after_a_change_of_network_its_former_leases_are_neither_shown_nor_named() {
    let office = Office::bare(1, "lan.address = '192.168.1.1/24'\ndhcp.pool = '192.168.1.50-192.168.1.60'");
    office.pc(1).sh("busybox udhcpc -i eth0 -n -q -t 10 -T 1 -x hostname:anna -s /bin/true");
    let shown = || office.gateway().show("leases")["leases"].as_array().expect("a list").len();
    assert_eq!(shown(), 1);
    office.gateway().setup().edit("192.168.1.", "192.168.7.");
    office.gateway().signal(Signal::SIGHUP);
    eventually("the reload", || office.gateway().log().contains("is in force").then_some(()));
    assert_eq!(shown(), 0);
    office.pc(1).sh("ip address add 192.168.7.9/24 dev eth0; ip route add default via 192.168.7.1");
    let ask = |name: &str| office.pc(1).sh(&format!("dig +short +time=2 @192.168.7.1 {name}.office.example"));
    assert_eq!(ask("gatepost").trim_end(), "192.168.7.1");
    assert_eq!(ask("anna"), "");
}

#[test]
fn a_wrong_file_changes_nothing() {
    let office = Office::new(1, FORWARD);
    let _server = WebServer::start(office.pc(1), 7000);
    let setup = office.gateway().setup();
    setup.edit(FORWARD, "firewall.forwards = [{ wan_port = 'many', to = '192.168.1.101:7000' }]");
    let told = refused(office.gateway());
    assert!(told.contains("gatepost.toml:") && told.contains("\"many\" is no port"), "{told}");
    office.gateway().signal(Signal::SIGHUP);
    eventually("a refusal", || office.gateway().log().contains("nothing has changed").then_some(()));
    assert_eq!(curl(&office.internet, "", (WAN, 7000)), Ok(ISP));
}

#[test]
fn what_needs_a_restart_is_told_and_nothing_of_the_file_is_taken() {
    let office = Office::new(1, FORWARD);
    let _server = WebServer::start(office.pc(1), 7000);
    office.gateway().setup().edit(FORWARD, &format!("{OTHER_FORWARD}\nwan.mtu = 1400"));
    let output = office.gateway().reload();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("wan.mtu cannot change") && told.contains("restart"), "{told}");
    assert_eq!(curl(&office.internet, "", (WAN, 7000)), Ok(ISP));
}

#[test]
fn the_lan_and_its_services_move_to_another_network() {
    let office = Office::bare(1, "lan.address = '192.168.1.1/24'");
    office.gateway().setup().edit("lan.address = '192.168.1.1/24'", "lan.address = '10.1.0.1/16'");
    reload(office.gateway());
    let got = office
        .pc(1)
        .sh("busybox udhcpc -i eth0 -n -q -t 10 -T 1 -s /bin/true 2>&1 | grep -o 'lease of [0-9.]*'");
    assert!(got.starts_with("lease of 10.1."), "{got}");
    office.pc(1).sh("ip address add 10.1.9.9/16 dev eth0");
    let asked = office.pc(1).sh("dig @10.1.0.1 +short gatepost.office.example");
    assert_eq!(asked.trim_end(), "10.1.0.1");
}

#[track_caller]
fn reload(gateway: &Gateway) {
    let output = gateway.reload();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("is in force"), "{output:?}");
}

/// The output of a reload that is rejected for mistakes in the file.
#[track_caller]
fn refused(gateway: &Gateway) -> String {
    let output = gateway.reload();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    told
}
