//! Several workers are one gateway.

use serde_json::Value;

use crate::harness::programs::{assert_echoes, echo_client, echo_server, pings};
use crate::harness::{LAN, Namespace, Office, SERVER, eventually};
use crate::profile;

/// So many that their frames do not all come to their owners by chance.
const CONNECTIONS: usize = 24;

/// As many as the profile has, but several.
fn workers() -> u8 {
    profile().workers.max(2)
}

/// An office with so many workers.
fn office(pcs: usize) -> Office {
    Office::new(pcs, &format!("system.workers = {}", workers()))
}

fn count(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap_or_else(|| panic!("no number {key} in {report}"))
}

/// What the kernel has counted at its end of a port: frames sent to the gateway, and got from it.
fn kernels_count(host: &Namespace) -> [u64; 2] {
    let text = host.sh("ip -s -j link show eth0");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    ["tx", "rx"].map(|way| count(&report[0]["stats64"][way], "packets"))
}

#[test]
fn there_are_as_many_threads_as_workers() {
    let office = office(1);
    let pid = office.gateway().id();
    let mut names: Vec<_> = std::fs::read_dir(format!("/proc/{pid}/task"))
        .expect("it runs")
        .map(|task| std::fs::read_to_string(task.expect("it runs").path().join("comm")).expect("it runs"))
        .filter(|name| name.starts_with("dataplane"))
        .collect();
    names.sort();
    let expected: Vec<_> = (0..workers()).map(|number| format!("dataplane-{number}\n")).collect();
    assert_eq!(names, expected);
}

/// A connection's first frame comes to any queue. Its owner answers, and from then on the kernel gives that one the
/// connection's frames: so connections change their queue while they go on.
#[test]
fn connections_come_to_any_queue_and_go_on() {
    let office = office(2);
    let _server = echo_server(&office.internet, 7000);
    assert!([1, 2].into_iter().all(|pc| pings(office.pc(pc), "", SERVER)));
    let connect = |number| echo_client(office.pc(1 + number % 2), "", (SERVER, 7000)).0;
    let mut connections: Vec<_> = (0..CONNECTIONS).map(connect).collect();
    for word in ["one", "two", "three"] {
        connections.iter_mut().for_each(|connection| assert_echoes(connection, word));
    }
    let counters = office.gateway().show("counters");
    assert!(count(&counters, "handed_over") > 0, "{counters}");
    assert_eq!(count(&counters, "handed_over"), count(&counters, "taken_over"), "{counters}");
    office.gateway().assert_accounts(&[]);
}

#[test]
fn what_is_shown_adds_up_over_all_workers() {
    let office = office(2);
    let _server = echo_server(&office.internet, 7000);
    let connect = |number| echo_client(office.pc(1 + number % 2), "", (SERVER, 7000)).0;
    let mut connections: Vec<_> = (0..CONNECTIONS).map(connect).collect();
    connections.iter_mut().for_each(|connection| assert_echoes(connection, "hello"));

    let flows = office.gateway().show("flows");
    assert_eq!(count(&flows, "total"), CONNECTIONS as u64, "{flows}");
    assert_eq!(flows["flows"].as_array().expect("a list").len(), CONNECTIONS);
    assert_eq!(count(&office.gateway().show("status"), "flows"), CONNECTIONS as u64);

    // Every machine is one, whichever worker knows it.
    let known = office.gateway().show("neighbors");
    for (list, keys) in [("neighbors", ["segment", "address"]), ("stations", ["mac", "port"])] {
        let mut names: Vec<_> = known[list]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| keys.map(|key| one[key].to_string()))
            .collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert!(names.len() == all && all >= 3, "{known}");
    }

    // The kernel has counted the same at its end of each port.
    let hosts = [office.pc(1), office.pc(2), &office.internet];
    eventually("a moment without frames", || {
        let before = hosts.map(kernels_count);
        let report = office.gateway().show("counters");
        let ports = report["ports"].as_array().expect("a list");
        let shown: Vec<_> =
            ports.iter().map(|port| ["received", "transmitted"].map(|key| count(port, key))).collect();
        let is_alike = shown.iter().zip(&before).all(|(shown, counted)| shown == counted);
        (hosts.map(kernels_count) == before && is_alike).then_some(())
    });
    office.gateway().assert_accounts(&[]);
}

/// Whoever finds a port gone, all have it again.
#[test]
fn a_port_that_comes_back_does_so_for_every_worker() {
    let office = office(2);
    let _server = echo_server(&office.internet, 7000);
    for _ in 0..3 {
        assert!(pings(office.pc(1), "", LAN));
        office.pc(1).sh("ip link del eth0");
        eventually("the port to be back", || {
            office.pc(1).succeeds("ip link show up eth0 | grep -q eth0").then_some(())
        });
        office.give_static_address(1);
        let mut connections: Vec<_> =
            (0..CONNECTIONS / 2).map(|_| echo_client(office.pc(1), "", (SERVER, 7000)).0).collect();
        connections.iter_mut().for_each(|connection| assert_echoes(connection, "hello again"));
        let status = office.gateway().show("status");
        assert!(
            status["ports"].as_array().expect("a list").iter().all(|port| port["up"] == true),
            "{status}"
        );
    }
    let log = office.gateway().log();
    let told = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!((told("is gone"), told("is back")), (3, 3), "once each, and not by every worker: {log}");
}

#[test]
fn another_number_of_workers_needs_a_restart() {
    let office = office(1);
    office.gateway().setup().edit(&format!("system.workers = {}", workers()), "system.workers = 5");
    let refused = office.gateway().reload();
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && message.contains("system.workers"), "{message}");
    assert!(message.contains("restart the gateway"), "{message}");
}
