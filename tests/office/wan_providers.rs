//! The gateway as the client of providers of every kind: networks of a single address, routers outside of the network,
//! classless routes, servers that leave out what they must not, servers that know their customer.

use std::fs;
use std::net::Ipv4Addr;

use crate::harness::programs::{WebServer, curl, wait_for_listener};
use crate::harness::{Background, Directory, ISP, Office, SERVER, eventually};
use crate::wan::{Provider, wan_address};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);
/// A router of the provider's outside of every network that the gateway is given.
const ROUTER: &str = "100.64.0.1";

/// A provider whose server is the script `provider.py`.
struct Script {
    process: Background,
    _directory: Directory,
}

impl Script {
    fn start(office: &Office, words: &str) -> Self {
        let directory = Directory::new();
        let script = directory.join("provider.py");
        fs::write(&script, include_str!("provider.py")).expect("it can be written");
        let line = format!("/usr/bin/python3 {} {ADDRESS} {words}", script.display());
        let mut process = office.internet.spawn(&line);
        assert_eq!(process.hear(), "serving");
        Self { process, _directory: directory }
    }

    /// The next message that it gets.
    fn hear(&mut self) -> String {
        self.process.hear()
    }
}

/// An office whose provider has its router at [`ROUTER`], too, and serves pages in the internet.
fn office(settings: &str) -> (Office, WebServer) {
    let office = Office::new(1, settings);
    office.internet.sh(&format!("ip address add {ROUTER}/32 dev lo"));
    let server = WebServer::start(&office.internet, 80);
    (office, server)
}

/// Waits for the WAN's address, and fetches a page by `router`.
fn assert_online(office: &Office, prefix_len: u8, router: &str) {
    let expected = format!("{ADDRESS}/{prefix_len}");
    eventually(&format!("the WAN address {expected}"), || (wan_address(office)? == expected).then_some(()));
    let status = office.gateway().show("status");
    assert_eq!(status["wan"]["gateway"], router, "{status}");
    assert_eq!(curl(office.pc(1), "", (SERVER, 80)), Ok(ADDRESS));
    let neighbors = office.gateway().show("neighbors");
    let found = neighbors["neighbors"].as_array().expect("a list").iter();
    let wan: Vec<_> = found.filter(|neighbor| neighbor["segment"] == "wan").collect();
    assert!(wan.iter().all(|neighbor| neighbor["address"] == router), "by the router alone: {wan:?}");
}

#[test]
fn a_router_outside_of_the_network_is_reached() {
    for (mask, prefix_len) in [("255.255.255.255", 32), ("255.255.255.248", 29)] {
        let (office, _server) = office("wan.address = 'dhcp'");
        let options = format!("option subnet {mask}\noption router {ROUTER}\n");
        let _provider = Provider::with_options(&office, ADDRESS, 3600, &options);
        assert_online(&office, prefix_len, ROUTER);
    }
}

/// RFC 3442: Classless routes are used with and without the router option.
#[test]
fn rfc3442_classless_routes_are_used_with_and_without_the_router_option() {
    for router in ["", "option router 203.0.113.9\n"] {
        let (office, _server) = office("wan.address = 'dhcp'");
        let options = format!(
            "option subnet 255.255.255.255\noption staticroutes {ROUTER}/32 0.0.0.0, 0.0.0.0/0 {ROUTER}, \
             10.0.0.0/8 203.0.113.8\n{router}"
        );
        let _provider = Provider::with_options(&office, ADDRESS, 3600, &options);
        assert_online(&office, 32, ROUTER);
    }
}

/// RFC 3442: A network of its own is reached by its own router.
#[test]
fn rfc3442_a_network_of_its_own_is_reached_by_its_own_router() {
    let (office, _server) = office("wan.address = 'dhcp'");
    office.internet.sh("ip address add 10.9.9.9/32 dev lo; ip address add 100.64.0.2/32 dev lo");
    let options = format!(
        "option subnet 255.255.255.255\noption staticroutes 0.0.0.0/0 {ROUTER}, 10.0.0.0/8 100.64.0.2\n"
    );
    let _provider = Provider::with_options(&office, ADDRESS, 3600, &options);
    assert_online(&office, 32, ROUTER);
    assert_eq!(curl(office.pc(1), "", (Ipv4Addr::new(10, 9, 9, 9), 80)), Ok(ADDRESS));
    let neighbors = office.gateway().show("neighbors").to_string();
    assert!(neighbors.contains("\"100.64.0.2\"") && !neighbors.contains("\"10.9.9.9\""), "{neighbors}");
}

#[test]
fn a_single_static_address_has_a_router_elsewhere() {
    let settings = format!("wan.address = '{ADDRESS}/32'\nwan.gateway = '{ROUTER}'");
    let (office, _server) = office(&settings);
    assert_online(&office, 32, ROUTER);
}

#[test]
fn what_a_server_leaves_out_is_assumed_and_told() {
    for (words, prefix_len, told) in [
        ("without=51", 24, "its lease has no lease time; 3600 s are assumed"),
        ("without=1", 32, "its lease has no network mask; 203.0.113.77/32 is assumed"),
        ("without=51,1,3 routes=2064400001000000000064400001", 32, "3600 s are assumed"),
    ] {
        let (office, _server) = office("wan.address = 'dhcp'");
        let _provider = Script::start(&office, words);
        let router = if words.contains("routes") { ROUTER.to_owned() } else { ISP.to_string() };
        assert_online(&office, prefix_len, &router);
        let log = office.gateway().log();
        assert!(log.contains(told), "{log}");
    }
}

/// dnsmasq as a provider that serves [`ADDRESS`] to a client with this identifier and vendor class, and to no other.
/// It writes what clients send to `log` in the directory.
fn dnsmasq(office: &Office, client_id: &str, vendor_class: &str) -> (Background, Directory) {
    let directory = Directory::new();
    let home = directory.path().display();
    let process = office.internet.spawn(&format!(
        "dnsmasq --keep-in-foreground --user=root --conf-file=/dev/null --pid-file --port=0 --interface=eth0 --log-dhcp \
         --log-facility={home}/log --dhcp-leasefile={home}/leases --dhcp-range={ADDRESS},{ADDRESS},255.255.255.0,1h \
         --dhcp-option=option:router,{ISP} --dhcp-host=id:{client_id},{ADDRESS} --dhcp-ignore=tag:!known \
         --dhcp-vendorclass=set:customer,{vendor_class} --dhcp-ignore=tag:!customer"
    ));
    wait_for_listener(&office.internet, "udp", 67);
    (process, directory)
}

/// RFC 2132, section 9.14: A provider that serves only its customer is told who asks.
#[test]
fn rfc2132_9_14_a_provider_that_serves_only_its_customer_is_told_who_asks() {
    let (office, _server) = office("wan.address = 'dhcp'");
    // That of PC 1, as if the provider had known the PC before.
    let mac = "02:00:00:00:01:01";
    let (_provider, directory) = dnsmasq(&office, "01:02:00:00:00:01:01", "box-3");
    eventually("a refusal", || directory.read("log").contains("ignored").then_some(()));
    let setup = office.gateway().setup();
    setup.edit(
        "wan.address = 'dhcp'",
        &format!(
            "wan.address = 'dhcp'\nwan.mac = '{mac}'\nwan.client_id = '01:{mac}'\nwan.vendor_class = 'box-3'\n\
             wan.request_options = [125, 90]"
        ),
    );
    assert!(office.gateway().reload().status.success());
    assert_online(&office, 24, &ISP.to_string());
    let log = directory.read("log");
    let acknowledged = log.lines().find(|line| line.contains("DHCPACK(eth0)")).expect("an ACK");
    assert!(acknowledged.contains(&format!("{ADDRESS} {mac}")), "{acknowledged}");
    assert!(log.contains("vendor class: box-3"), "{log}");
    let requested: String = log
        .lines()
        .filter_map(|line| line.split_once("requested options:"))
        .map(|(_, options)| options)
        .collect();
    assert!(requested.contains(" 125:") && requested.ends_with(" 90"), "{log}");
    let neighbor = office.internet.sh(&format!("ip neighbor show {ADDRESS} dev eth0"));
    assert!(neighbor.contains(mac), "{neighbor}");
    assert_eq!(office.gateway().show("status")["wan"]["mac"], mac);
}

#[test]
fn answers_with_a_priority_tag_are_taken() {
    let (office, _server) = office("wan.address = 'dhcp'");
    let _provider = Script::start(&office, "vlan0");
    assert_online(&office, 24, &ISP.to_string());
}

/// RFC 4787, REQ-7: A lease in the LAN's network is refused, and the reason told.
#[test]
fn rfc4787_req7_a_lease_in_the_lans_network_is_refused_and_the_reason_told() {
    let (office, _server) = office("wan.address = 'dhcp'\nlan.address = '203.0.113.129/25'");
    let mut provider = Script::start(&office, "");
    // The second DISCOVER comes instead of a REQUEST.
    for _ in 0..2 {
        let heard = provider.hear();
        assert!(heard.starts_with("message 1 "), "{heard}");
    }
    let told = "DHCP server 203.0.113.1: its lease is refused: 203.0.113.77/24 overlaps the LAN \
                203.0.113.128/25; set another lan.address";
    let status = office.gateway().show("status");
    assert_eq!(status["service_problems"][0], format!("wan: {told}"), "{status}");
    assert!(status["wan"]["address"].is_null(), "{status}");
    let log = office.gateway().log();
    assert_eq!(log.matches(told).count(), 1, "once for both: {log}");
}
