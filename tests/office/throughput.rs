//! Throughput: iperf3 through NAT, in both directions. Arrival is asserted, never the speed.

use std::net::Ipv4Addr;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::UdpGsoSegment;
use serde_json::Value;

use crate::harness::programs::{pings, udp_socket, wait_for_listener};
use crate::harness::{Namespace, Office, SERVER};

/// The drop reasons that are allowed in a rush: backlogs of a port, another worker or the peer.
const OVERLOAD: &[&str] = &["port-backpressure", "port-down", "worker-ring-full"];

/// Runs iperf3 against a server of its own at `address` of `host`, as one that has just served a client may still be
/// busy with that. Returns the client's report, which is without error.
fn iperf3(client: &Namespace, host: &Namespace, address: Ipv4Addr, options: &str) -> Value {
    let _server = host.spawn(&format!("iperf3 --server --one-off --bind {address} >/dev/null"));
    wait_for_listener(host, "tcp", 5201);
    let text = client.sh(&format!(
        "timeout 30 iperf3 --json --time 1 --connect-timeout 5000 --client {address} {options}"
    ));
    let report: Value = serde_json::from_str(&text).expect("valid JSON");
    assert!(report.get("error").is_none(), "{report}");
    report
}

/// Uses TCP in each way, and asserts that data arrive.
fn assert_tcp_passes(client: &Namespace, host: &Namespace, address: Ipv4Addr) {
    for direction in ["", "--reverse", "--bidir"] {
        let report = iperf3(client, host, address, &format!("--parallel 2 {direction}"));
        let received = &report["end"]["sum_received"]["bytes"];
        assert!(received.as_u64().is_some_and(|octets| octets > 0), "{direction}: {received}");
    }
}

#[test]
fn tcp_passes_both_ways() {
    let office = Office::new(1, "");
    assert_tcp_passes(office.pc(1), &office.internet, SERVER);
    office.gateway().assert_accounts(OVERLOAD);
}

/// Super-frames from a port that has them go out in segments by one that has not.
#[test]
fn tcp_passes_between_ports_of_different_drivers() {
    let other = if crate::profile().driver == "plain" { "auto" } else { "plain" };
    let office = Office::with_drivers(&[crate::profile().driver, other], 2, "");
    office.give_static_addresses();
    assert_tcp_passes(office.pc(2), &office.internet, SERVER);
    assert_tcp_passes(office.pc(2), office.pc(1), Office::address(1));
    office.gateway().assert_accounts(OVERLOAD);
}

/// The octets of one call (UDP_SEGMENT) arrive as its datagrams, in their order.
#[test]
fn datagrams_handed_over_in_one_piece_arrive_one_by_one() {
    const SIZE: usize = 1000;
    let office = Office::with_drivers(&[crate::profile().driver, "plain"], 2, "");
    office.give_static_addresses();
    let server = udp_socket(&office.internet, (SERVER, 7000));
    for pc in [1, 2] {
        // What waits for an ARP answer is bounded, and one by one it is more.
        assert!(pings(office.pc(pc), "", SERVER));
        let client = udp_socket(office.pc(pc), (Office::address(pc), 20000));
        setsockopt(&client, UdpGsoSegment, &(SIZE as i32)).expect("Linux 4.18 or newer");
        let data: Vec<u8> = (0..10 * SIZE + 1).map(|at| (at / SIZE) as u8).collect();
        client.send_to(&data, (SERVER, 7000)).expect("it can be sent");
        for expected in data.chunks(SIZE) {
            let mut buffer = [0; 2 * SIZE];
            let (len, _) = server.recv_from(&mut buffer).expect("a datagram comes");
            assert_eq!(&buffer[..len], expected, "from PC {pc}");
        }
    }
    office.gateway().assert_accounts(&[]);
}

#[test]
fn udp_passes_both_ways() {
    let office = Office::new(1, "");
    // Datagrams of 4000 octets are fragmented by the clients.
    for options in ["", "--reverse", "--length 4000", "--length 4000 --reverse"] {
        let options = format!("--udp --bitrate 4M {options}");
        let report = iperf3(office.pc(1), &office.internet, SERVER, &options);
        let sum = &report["end"]["sum"];
        let count = |key: &str| sum[key].as_u64().expect("a number");
        assert!(count("bytes") > 0 && count("lost_packets") < count("packets"), "{options}: {sum}");
    }
    office.gateway().assert_accounts(OVERLOAD);
}
