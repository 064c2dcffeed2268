//! Forged ARP on the wire: no station loses its packets to another that claims its address.

use std::fs;

use serde_json::Value;

use crate::harness::programs::pings;
use crate::harness::{Background, Directory, ISP, Namespace, Office, SERVER, eventually};

/// Claims an address for `02:00:00:00:66:66`, by every kind of ARP packet in turn, until it is killed. Its arguments
/// are the address, the gateway's address and its hardware address on the same network.
const FORGER: &str = r#"
import socket, sys, time
address, gateway, gateway_mac = sys.argv[1:]
mac, broadcast = bytes.fromhex("020000006666"), b"\xff" * 6
to_mac = bytes.fromhex(gateway_mac.replace(":", ""))
ip, gw = socket.inet_aton(address), socket.inet_aton(gateway)
def arp(operation, to, target_mac, target):
    packet = b"\0\1\x08\0\6\4" + operation.to_bytes(2, "big") + mac + ip + target_mac + target
    return to + mac + b"\x08\6" + packet
claims = [arp(1, broadcast, bytes(6), ip), arp(2, broadcast, bytes(6), ip), arp(2, to_mac, to_mac, gw),
          arp(1, to_mac, bytes(6), gw)]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
for round in range(1 << 30):
    for claim in claims:
        s.send(claim)
    if round == 0:
        print("forging", flush=True)
    time.sleep(0.01)
"#;

/// Starts forging claims to `address` in `namespace`; returns once the first are out.
fn forge(
    office: &Office,
    directory: &Directory,
    namespace: &Namespace,
    side: &str,
    address: &str,
) -> Background {
    let script = directory.join("forger.py");
    fs::write(&script, FORGER).expect("it can be written");
    let status = office.gateway().show("status");
    let (own, mac) = (text(&status[side]["address"]), text(&status[side]["mac"]));
    let own = own.split('/').next().unwrap_or_default();
    let line = format!("/usr/bin/python3 {} {address} {own} {mac}", script.display());
    let mut forger = namespace.spawn(&line);
    assert_eq!(forger.hear(), "forging");
    forger
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn counter(office: &Office, name: &str) -> u64 {
    office.gateway().show("counters")[name].as_u64().expect("a number")
}

/// The hardware address of `address` in the gateway's neighbour table.
fn known_mac(office: &Office, address: &str) -> Option<String> {
    let report = office.gateway().show("neighbors");
    let neighbors = report["neighbors"].as_array().expect("a list");
    neighbors.iter().find(|neighbor| neighbor["address"] == address)?["mac"].as_str().map(str::to_owned)
}

/// Asserts that each of many pings is answered.
#[track_caller]
fn assert_pinging(from: &Namespace) {
    let report = from.sh(&format!("ping -n -c 40 -i 0.05 -W 2 {SERVER}"));
    assert!(report.contains("40 received"), "{report}");
}

#[test]
fn forged_arp_about_a_pc_takes_nothing_from_it() {
    let office = Office::new(2, "");
    let (directory, victim) = (Directory::new(), Office::address(1).to_string());
    assert!(pings(office.pc(1), "", SERVER));
    let _forger = forge(&office, &directory, office.pc(2), "lan", &victim);
    assert_pinging(office.pc(1));
    assert_eq!(known_mac(&office, &victim).as_deref(), Some("02:00:00:00:01:01"));
    assert!(counter(&office, "neighbor_claims_refused") > 0);
    assert_eq!(counter(&office, "neighbor_changes"), 0);
    assert!(office.gateway().log().contains("02:00:00:00:66:66 claims 192.168.1.101"));
}

#[test]
fn forged_arp_about_the_next_hop_takes_nothing_from_it() {
    let office = Office::new(1, "");
    let (directory, next_hop) = (Directory::new(), ISP.to_string());
    assert!(pings(office.pc(1), "", SERVER));
    let _forger = forge(&office, &directory, &office.internet, "wan", &next_hop);
    assert_pinging(office.pc(1));
    assert_eq!(known_mac(&office, &next_hop).as_deref(), Some("02:00:00:00:02:01"));
    assert!(counter(&office, "neighbor_claims_refused") > 0);
}

#[test]
fn a_pc_whose_card_was_replaced_is_found_again() {
    let office = Office::new(1, "");
    assert!(pings(office.pc(1), "", SERVER));
    office.pc(1).sh("ip link set eth0 down
         ip link set eth0 address 02:00:00:00:01:99 up
         ip route add default via 192.168.1.1");
    assert!(pings(office.pc(1), "", SERVER));
    let address = Office::address(1).to_string();
    eventually("the gateway to know the new card", || {
        known_mac(&office, &address).filter(|mac| mac == "02:00:00:00:01:99")
    });
    assert_eq!(counter(&office, "neighbor_changes"), 1);
    assert!(office.gateway().log().contains("has moved from 02:00:00:00:01:01 to 02:00:00:00:01:99"));
}

#[test]
fn nobody_takes_the_reserved_address_of_a_pc_that_sleeps() {
    let victim = Office::address(1).to_string();
    let office = Office::new(
        2,
        &format!(
            "dhcp.reservations = [{{ hostname = 'desk', mac = '02:00:00:00:01:01', address = '{victim}' }}]"
        ),
    );
    assert!(pings(office.pc(1), "", SERVER));
    office.pc(1).sh("ip link set eth0 down");
    let directory = Directory::new();
    let _forger = forge(&office, &directory, office.pc(2), "lan", &victim);
    eventually("the claims to be refused", || {
        (counter(&office, "neighbor_claims_refused") >= 100).then_some(())
    });
    assert_eq!(known_mac(&office, &victim).as_deref(), Some("02:00:00:00:01:01"));
    assert_eq!(counter(&office, "neighbor_changes"), 0);
}

#[test]
fn inspected_arp_deceives_no_pc_about_another() {
    let victim = Office::address(1).to_string();
    let office = Office::new(
        3,
        &format!(
            "lan.inspect_arp = true
             dhcp.reservations = [{{ hostname = 'desk', mac = '02:00:00:00:01:01', address = '{victim}' }}]"
        ),
    );
    assert!(pings(office.pc(3), "", Office::address(1)));
    let directory = Directory::new();
    let _forger = forge(&office, &directory, office.pc(2), "lan", &victim);
    let report = office.pc(3).sh(&format!("ping -n -c 40 -i 0.05 -W 2 {victim}"));
    assert!(report.contains("40 received"), "{report}");
    assert!(office.pc(3).sh(&format!("ip neigh show {victim}")).contains("02:00:00:00:01:01"));
    assert!(office.gateway().drops()["arp-inspection"] > 0);
}

#[test]
fn another_dhcp_server_is_kept_from_the_pcs() {
    let office = Office::new(2, "lan.dhcp_snooping = true");
    office.pc(2).sh(
        "/usr/bin/python3 -c \"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); s.bind(('', 67))
s.sendto(bytes([2]) * 240, ('255.255.255.255', 68)); s.sendto(bytes([2]) * 240, ('192.168.1.101', 68))\"",
    );
    eventually("both to be dropped", || {
        (office.gateway().drops().get("dhcp-server-foreign") == Some(&2)).then_some(())
    });
}
