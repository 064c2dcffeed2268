//! VLAN tags on real TAP devices: bridged, priority tags, and their limits.

use std::net::Ipv4Addr;

use crate::harness::programs::pings;
use crate::harness::{Background, Directory, ISP, LAN, Namespace, Office, eventually};

/// Runs the script `vlan.py`, whose commands stand at its beginning.
struct Script {
    directory: Directory,
}

impl Script {
    fn new() -> Self {
        let directory = Directory::new();
        std::fs::write(directory.join("vlan.py"), include_str!("vlan.py")).expect("it can be written");
        Self { directory }
    }

    fn line(&self, command: &str) -> String {
        format!("/usr/bin/python3 {} {command}", self.directory.join("vlan.py").display())
    }

    /// Starts a command, and waits until it says that it has begun.
    fn start(&self, namespace: &Namespace, command: &str) -> Background {
        let mut process = namespace.spawn(&self.line(command));
        assert!(process.hear().ends_with("ing"), "{command} does not begin");
        process
    }
}

#[test]
fn the_gateway_reads_vlan_0_and_no_other() {
    let office = Office::new(1, "");
    let script = Script::new();
    let answered = office.pc(1).sh(&script.line(&format!("ping {LAN} 10 4095 0")));
    assert_eq!(answered, "0\n");
    let drops = office.gateway().drops();
    assert_eq!(drops.get("vlan-tagged"), Some(&2), "{drops:?}");
    office.gateway().assert_accounts(&["vlan-tagged"]);
}

#[test]
fn a_super_frame_of_a_vlan_crosses_the_switch_with_its_tag() {
    let office = Office::with_drivers(&["auto", "plain", "auto"], 3, "");
    let script = Script::new();
    for (receiver, frames) in [(3, "5054 \n"), (2, "1054 1054 1054 1054 1054 \n")] {
        for vid in [5, 4094] {
            let mut heard = script.start(office.pc(receiver), &format!("hear {vid} 5000"));
            let mac = format!("02:00:00:00:01:{receiver:02x}");
            office.pc(1).sh(&script.line(&format!("send {mac} {vid} 5000")));
            assert_eq!(heard.hear() + " \n", frames, "at pc{receiver}");
        }
    }
    office.gateway().assert_accounts(&[]);
}

#[test]
fn a_flood_of_super_frames_of_a_vlan_starves_nobody_and_is_accounted_for() {
    let office = Office::new(2, "");
    let script = Script::new();
    let flood = script.start(office.pc(1), "flood 5");
    let answered = office.pc(2).sh(&format!("ping -n -q -c 20 -i 0.05 -W 5 {LAN}"));
    assert!(answered.contains("20 received"), "{answered}");
    drop(flood);
    let ports = office.gateway().show("counters")["ports"].clone();
    let refused = ports.as_array().expect("a list").iter().filter_map(|port| port["refused"].as_u64());
    assert_eq!(refused.sum::<u64>(), 0, "{ports}");
    let flooded = office.gateway().show("counters")["flooded"].as_u64();
    assert!(flooded > Some(100), "{flooded:?}");
    office.gateway().assert_accounts(&["port-backpressure"]);
}

#[test]
fn a_provider_whose_frames_have_a_priority_gives_an_address() {
    let office = Office::new(1, "wan.address = 'dhcp'");
    let script = Script::new();
    let address = Ipv4Addr::new(203, 0, 113, 77);
    let _provider = script.start(&office.internet, &format!("dhcp {address}"));
    eventually("the WAN address", || {
        let status = office.gateway().show("status");
        (status["wan"]["address"].as_str()? == format!("{address}/24")).then_some(())
    });
    assert!(pings(office.pc(1), "", ISP));
}
