//! Several LAN ports are one switched LAN.

use crate::harness::programs::{pings, wait_for_listener};
use crate::harness::{ISP, Office, eventually};

#[test]
fn pcs_talk_to_each_other() {
    let office = Office::new(3, "");
    for from in 1..=3 {
        for to in (1..=3).filter(|to| *to != from) {
            assert!(pings(office.pc(from), "", Office::address(to)), "pc{from} to pc{to}");
        }
    }
    office.pc(1).sh(&format!("ping -n -c 1 -W 2 -s 8000 {}", Office::address(2)));
    let _server = office.pc(2).spawn("iperf3 --server >/dev/null");
    wait_for_listener(office.pc(2), "tcp", 5201);
    for direction in ["", "--reverse"] {
        let line = format!("timeout 30 iperf3 --time 1 --client {} {direction}", Office::address(2));
        office.pc(1).sh(&line);
    }
    let stations = office.gateway().show("neighbors");
    let stations = stations["stations"].as_array().expect("a list");
    for number in 1..=3 {
        let mac = format!("02:00:00:00:01:{number:02x}");
        let behind = stations.iter().find(|station| station["mac"] == mac).expect("the switch knows it");
        let port = behind["port"].as_str().expect("a name");
        assert!(port.contains(office.pc(number).name()), "{port}");
    }
    office.gateway().assert_accounts(&["port-backpressure"]);
}

#[test]
fn what_two_pcs_say_is_not_heard_by_a_third() {
    let office = Office::new(3, "");
    assert!(pings(office.pc(1), "", Office::address(2)));
    let received = || -> u32 {
        let count = office.pc(3).sh("cat /sys/class/net/eth0/statistics/rx_packets");
        count.trim_end().parse().expect("a number")
    };
    let before = received();
    office.pc(1).sh(&format!("ping -n -c 20 -i 0.05 -W 2 {}", Office::address(2)));
    // It receives none of 40 frames, and a few of the gateway's own announcements.
    assert!(received() - before < 10);
}

#[test]
fn a_station_moves_to_another_port() {
    let office = Office::new(3, "");
    assert!(pings(office.pc(1), "", Office::address(3)));
    // The same machine, pulled out at port 1 and plugged in at port 2.
    let address = Office::address(1);
    office.pc(1).sh("ip link set eth0 down");
    office.pc(2).sh(&format!(
        "ip link set eth0 down
         ip address flush dev eth0
         ip link set eth0 address 02:00:00:00:01:01 up
         ip address add {address}/24 dev eth0
         ip route add default via 192.168.1.1"
    ));
    assert!(pings(office.pc(2), "", Office::address(3)));
    assert!(pings(office.pc(3), "", address));
    assert!(pings(office.pc(2), "", ISP));
    eventually("the switch to know the station's new port", || {
        let report = office.gateway().show("neighbors");
        let mut stations = report["stations"].as_array().expect("a list").iter();
        let station = stations.find(|station| station["mac"] == "02:00:00:00:01:01")?;
        station["port"].as_str()?.contains(office.pc(2).name()).then_some(())
    });
}
