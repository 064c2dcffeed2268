//! Much at a time: iperf3 through NAT, both ways. What arrives is asserted, never how fast.

use serde_json::Value;

use crate::harness::programs::wait_for_listener;
use crate::harness::{Background, Namespace, Office, SERVER};

/// What may be dropped in a rush: what waits where a port or the other end is slow.
const OVERLOAD: &[&str] = &["port-backpressure", "port-down"];

fn iperf3_server(office: &Office) -> Background {
    let server = office.internet.spawn(&format!("iperf3 --server --bind {SERVER} >/dev/null"));
    wait_for_listener(&office.internet, "tcp", 5201);
    server
}

/// Runs iperf3 against a server and returns its report, which is without error.
fn iperf3(client: &Namespace, options: &str) -> Value {
    let text = client.sh(&format!("timeout 30 iperf3 --json --time 1 --connect-timeout 5000 {options}"));
    let report: Value = serde_json::from_str(&text).expect("valid JSON");
    assert!(report.get("error").is_none(), "{report}");
    report
}

#[test]
fn tcp_passes_both_ways() {
    let office = Office::new(1, "");
    let _server = iperf3_server(&office);
    for direction in ["", "--reverse", "--bidir"] {
        let report = iperf3(office.pc(1), &format!("--client {SERVER} --parallel 2 {direction}"));
        let received = &report["end"]["sum_received"]["bytes"];
        assert!(received.as_u64().is_some_and(|octets| octets > 0), "{direction}: {received}");
    }
    office.gateway().assert_accounts(OVERLOAD);
}

#[test]
fn udp_passes_both_ways() {
    let office = Office::new(1, "");
    let _server = iperf3_server(&office);
    // Datagrams of 4000 octets are fragmented by the clients.
    for options in ["", "--reverse", "--length 4000", "--length 4000 --reverse"] {
        let report = iperf3(office.pc(1), &format!("--client {SERVER} --udp --bitrate 4M {options}"));
        let sum = &report["end"]["sum"];
        let count = |key: &str| sum[key].as_u64().expect("a number");
        assert!(count("bytes") > 0 && count("lost_packets") < count("packets"), "{options}: {sum}");
    }
    office.gateway().assert_accounts(OVERLOAD);
}
