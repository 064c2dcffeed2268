//! The gateway as the client of a provider's DHCP server, busybox's udhcpd.

use std::fs;
use std::net::Ipv4Addr;

use crate::harness::programs::{
    WebServer, assert_echoes, curl, dig, echo_client, echo_server, wait_for_listener,
};
use crate::harness::{Background, Directory, ISP, Office, SERVER, eventually};

/// A provider's DHCP server on `eth0` of the internet. It gives out one address.
pub struct Provider {
    _process: Background,
    directory: Directory,
}

impl Provider {
    fn start(office: &Office, address: Ipv4Addr, lease_secs: u32) -> Self {
        let options = format!("option subnet 255.255.255.0\noption router {ISP}\n");
        Self::with_options(office, address, lease_secs, &options)
    }

    /// The same whose network and routes are these `options`.
    pub fn with_options(office: &Office, address: Ipv4Addr, lease_secs: u32, options: &str) -> Self {
        let directory = Directory::new();
        let home = directory.path().display();
        let config = format!(
            "interface eth0\nstart {address}\nend {address}\nmin_lease 1\nmax_leases 1\nauto_time 1\n\
             lease_file {home}/leases\npidfile {home}/pid\n\
             option lease {lease_secs}\n{options}option dns {ISP}\noption domain isp.example\n"
        );
        fs::write(directory.join("conf"), config).expect("it can be written");
        fs::write(directory.join("leases"), "").expect("it can be written");
        let log = directory.join("log");
        let line = format!("busybox udhcpd -f -I {ISP} {home}/conf >{} 2>&1", log.display());
        let process = office.internet.spawn(&line);
        wait_for_listener(&office.internet, "udp", 67);
        Self { _process: process, directory }
    }

    /// How often it gave out or renewed an address.
    fn acks(&self) -> usize {
        self.directory.read("log").matches("sending ACK").count()
    }
}

/// The gateway's WAN address, once it has one.
pub fn wan_address(office: &Office) -> Option<String> {
    office.gateway().show("status")["wan"]["address"].as_str().map(str::to_owned)
}

/// Waits for a WAN address in a /24.
pub fn wait_for_wan_address(office: &Office, address: Ipv4Addr) {
    let expected = format!("{address}/24");
    eventually(&format!("the WAN address {expected}"), || (wan_address(office)? == expected).then_some(()));
}

#[test]
fn the_provider_gives_address_router_and_name_server() {
    let office = Office::new(1, "wan.address = 'dhcp'");
    let _server = WebServer::start(&office.internet, 80);
    assert_eq!(wan_address(&office), None);
    assert!(curl(office.pc(1), "", (SERVER, 80)).is_err());

    let address = Ipv4Addr::new(203, 0, 113, 77);
    let _provider = Provider::start(&office, address, 3600);
    wait_for_wan_address(&office, address);
    assert_eq!(curl(office.pc(1), "", (SERVER, 80)), Ok(address));
    let status = office.gateway().show("status");
    assert_eq!(status["wan"]["gateway"], ISP.to_string(), "{status}");
    assert_eq!(status["wan"]["configured_by"], "dhcp", "{status}");
    assert_eq!(status["dns_upstream"][0], ISP.to_string(), "{status}");
    // The built-in names follow.
    assert_eq!(dig(office.pc(1), "wan.office.example"), address.to_string());
}

#[test]
fn the_lease_is_renewed_and_connections_stay() {
    let office = Office::new(1, "wan.address = 'dhcp'");
    let address = Ipv4Addr::new(203, 0, 113, 77);
    let provider = Provider::start(&office, address, 4);
    wait_for_wan_address(&office, address);
    let _server = echo_server(&office.internet, 7000);
    let (mut connection, _) = echo_client(office.pc(1), "", (SERVER, 7000));
    eventually("two renewals", || (provider.acks() >= 3).then_some(()));
    assert_eq!(wan_address(&office), Some(format!("{address}/24")));
    assert_echoes(&mut connection, "still here");
}

#[test]
fn the_provider_changes_the_address() {
    let office = Office::new(1, "wan.address = 'dhcp'");
    let _server = WebServer::start(&office.internet, 80);
    let [first, second] = [77, 78].map(|host| Ipv4Addr::new(203, 0, 113, host));
    let provider = Provider::start(&office, first, 4);
    wait_for_wan_address(&office, first);
    assert_eq!(curl(office.pc(1), "", (SERVER, 80)), Ok(first));
    drop(provider);
    let _provider = Provider::start(&office, second, 4);
    wait_for_wan_address(&office, second);
    assert_eq!(curl(office.pc(1), "", (SERVER, 80)), Ok(second));
    assert_eq!(dig(office.pc(1), "www.office.example"), second.to_string());
}

#[test]
fn what_depends_on_the_address_follows_its_change() {
    let settings = "wan.address = 'dhcp'\nfirewall.wan_services = ['dns']\nfirewall.stealth = false\n\
                    firewall.forwards = [{ wan_port = '7001', to = '192.168.1.101:7001' }]";
    let office = Office::new(1, settings);
    let [first, second] = [77, 78].map(|host| Ipv4Addr::new(203, 0, 113, host));
    let provider = Provider::start(&office, first, 4);
    wait_for_wan_address(&office, first);
    let _servers =
        [(&office.internet, 7000), (office.pc(1), 7001)].map(|(host, port)| echo_server(host, port));
    let (mut out, seen_as) = echo_client(office.pc(1), "", (SERVER, 7000));
    assert!(seen_as.starts_with(&first.to_string()), "{seen_as}");
    let (mut into, _) = echo_client(&office.internet, "", (first, 7001));
    assert_echoes(&mut into, "before");

    drop(provider);
    let _provider = Provider::start(&office, second, 4);
    wait_for_wan_address(&office, second);
    out.say("anybody?");
    assert_eq!(out.hear(), "", "the connection has ended");
    assert!(office.gateway().show("counters")["tcp_resets_made"].as_u64() > Some(0), "by a reset");
    let (mut into, _) = echo_client(&office.internet, "", (second, 7001));
    assert_echoes(&mut into, "after");
    let ask = |question: &str| {
        office.internet.sh(&format!("dig @{second} +time=3 +tries=2 +short {question}")).trim_end().to_owned()
    };
    assert_eq!(ask("office.example MX"), "10 smtp.office.example.");
    // It is at the gateway's LAN address, too.
    let exchange = ask("smtp.office.example");
    assert!(exchange.contains(&second.to_string()) && !exchange.contains(&first.to_string()), "{exchange}");
    assert_eq!(dig(office.pc(1), "wan.office.example"), second.to_string());
    assert!(
        !office.internet.succeeds(&format!("ping -n -c 1 -W 1 {first}")),
        "nobody has the former address"
    );
}

#[test]
fn without_a_provider_the_lease_ends() {
    let office = Office::new(1, "wan.address = 'dhcp'");
    let address = Ipv4Addr::new(203, 0, 113, 77);
    let provider = Provider::start(&office, address, 4);
    wait_for_wan_address(&office, address);
    drop(provider);
    eventually("the end of the lease", || wan_address(&office).is_none().then_some(()));
    assert!(!office.pc(1).succeeds(&format!("ping -n -c 1 -W 1 {SERVER}")));
}
