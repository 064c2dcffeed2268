//! The modes without NAT.

use crate::harness::programs::{WebServer, curl, dig, pings};
use crate::harness::{DOMAIN, LAN, Office, SERVER, WAN};

#[test]
fn a_router_shows_the_lan_as_it_is() {
    let office = Office::new(1, "network.mode = 'router'");
    office.internet.sh(&format!("ip route add 192.168.1.0/24 via {WAN}"));
    let pc = Office::address(1);
    let _outside = WebServer::start(&office.internet, 80);
    let _inside = WebServer::start(office.pc(1), 80);
    assert_eq!(curl(office.pc(1), "", (SERVER, 80)), Ok(pc));
    assert_eq!(curl(&office.internet, &format!("--interface {SERVER}"), (pc, 80)), Ok(SERVER));
    for target in [WAN, LAN, pc] {
        assert!(pings(&office.internet, "", target), "{target}");
    }
    office.internet.sh(&format!("ping -n -c 1 -W 2 -s 4000 {pc}"));
    assert_eq!(office.gateway().show("flows")["total"], 0);
    office.gateway().assert_accounts(&[]);
}

#[test]
fn a_routers_own_names_are_for_the_lan() {
    let office = Office::new(1, "network.mode = 'router'");
    assert_eq!(dig(office.pc(1), &format!("wan.{DOMAIN}")), WAN.to_string());
    assert_eq!(dig(office.pc(1), &format!("lan.{DOMAIN}")), LAN.to_string());
}

#[test]
fn a_router_says_what_it_cannot_carry() {
    let office = Office::new(1, "network.mode = 'router'\nwan.mtu = 1400");
    office.internet.sh(&format!("ip route add 192.168.1.0/24 via {WAN}"));
    let said = |options: &str, what: &str| {
        let output = office.pc(1).try_sh(&format!("ping -n -c 1 -W 2 {options} {SERVER}"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(what), "{options}: {text}");
    };
    said("-t 1", &format!("From {LAN} icmp_seq=1 Time to live exceeded"));
    said("-M do -s 1373", "Frag needed and DF set (mtu = 1400)");
    office.gateway().assert_accounts(&["ttl-expired", "mtu-exceeded"]);
}

#[test]
fn a_lan_only_gateway_is_no_way_to_anywhere() {
    let office = Office::new(2, "network.mode = 'lan-only'");
    assert_eq!(dig(office.pc(1), &format!("lan.{DOMAIN}")), LAN.to_string());
    assert!(pings(office.pc(1), "", LAN));
    // The LAN is still one.
    assert!(pings(office.pc(1), "", Office::address(2)));
    assert!(!office.pc(1).succeeds(&format!("ping -n -c 1 -W 1 {SERVER}")));
    office.gateway().assert_accounts(&["ipv4-not-for-us"]);
    assert!(office.gateway().show("status")["wan"].is_null());
}
