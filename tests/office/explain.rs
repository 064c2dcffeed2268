//! `gatepost explain`, `show drops --recent` and `watch`: what is explained is what happens.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::programs::{WebServer, curl};
use crate::harness::{DOMAIN, Gateway, ISP, LAN, Office, SERVER, WAN, gatepost};

const CAMERA: &str = "firewall.forwards = [{ name = 'camera', wan_port = '8443', to = '192.168.1.101:443' }]";

/// The exit code and the report of an explanation.
fn explain(gateway: &Gateway, from: Ipv4Addr, to: &str) -> (Option<i32>, Value) {
    let mut command = gatepost(&["explain", "--json", "--from", &from.to_string(), "--to", to, "--config"]);
    let output = command.arg(gateway.setup().config()).output().expect("it runs");
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("valid JSON"))
}

/// The first stage of this name.
fn stage<'a>(report: &'a Value, name: &str) -> &'a Value {
    let mut stages = report["stages"].as_array().expect("a list").iter();
    stages.find(|stage| stage["stage"] == name).unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

#[test]
fn packets_do_what_was_explained() {
    let office = Office::new(1, CAMERA);
    let gateway = office.gateway();
    let _camera = WebServer::start(office.pc(1), 443);
    let _page = WebServer::start(&office.internet, 80);
    let pc = Office::address(1);

    // From the LAN to the internet: translated.
    let (code, report) = explain(gateway, pc, &format!("{SERVER}:80/tcp"));
    assert_eq!((code, &report["passes"]), (Some(0), &true.into()), "{report:#}");
    assert_eq!(stage(&report, "interface")["interface"], "lan");
    assert_eq!(stage(&report, "route")["interface"], "wan");
    let after = stage(&report, "nat")["after"][0].as_str().expect("an endpoint");
    assert!(after.starts_with(&format!("{WAN}:")), "{report:#}");
    assert_eq!(curl(office.pc(1), "", (SERVER, 80)), Ok(WAN));

    // From the WAN to a forward, which the file's line names.
    let (code, report) = explain(gateway, ISP, &format!("{WAN}:8443/tcp"));
    assert_eq!((code, &report["passes"]), (Some(0), &true.into()), "{report:#}");
    let rule = stage(&report, "rule");
    assert_eq!(rule["rule"], "the forward \"camera\"");
    let (file, line) = rule["place"].as_str().and_then(|place| place.rsplit_once(':')).expect("a place");
    let written = fs::read_to_string(file).expect("the configuration");
    let line = written.lines().nth(line.parse::<usize>().expect("a number") - 1).expect("a line");
    assert!(line.contains("8443"), "{line}");
    assert_eq!(stage(&report, "nat")["after"][1], format!("{pc}:443"));
    assert_eq!(curl(&office.internet, "", (WAN, 8443)), Ok(ISP));

    // From the WAN to a closed port.
    let (code, report) = explain(gateway, ISP, &format!("{WAN}:81/tcp"));
    assert_eq!((code, report["reason"].as_str()), (Some(1), Some("unsolicited")), "{report:#}");
    gateway.assert_accounts(&[]);
    assert!(curl(&office.internet, "-m 1", (WAN, 81)).is_err());
    gateway.assert_accounts(&["unsolicited"]);
    let mut command = gatepost(&["show", "drops", "--recent", "--json", "--config"]);
    let output = command.arg(gateway.setup().config()).output().expect("it runs");
    let recent: Value = serde_json::from_slice(&output.stdout).expect("valid JSON");
    let drop = &recent["drops"][0];
    assert_eq!((&drop["reason"], &drop["interface"]), (&"unsolicited".into(), &"wan".into()), "{recent:#}");
    assert_eq!(drop["destination"], format!("{WAN}:81"));
}

#[test]
fn the_exit_code_says_who_did_not_answer() {
    let office = Office::new(1, "");
    let gateway = office.gateway();
    let code = |arguments: &[&str]| {
        let mut command = gatepost(&[&["explain"], arguments, &["--config"]].concat());
        let output = command.arg(gateway.setup().config()).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (wrong, said) = code(&["--from", "192.168.1.101", "--to", "192.0.2.1:80"]);
    assert!(wrong == Some(2) && said.contains("it has no protocol"), "{said}");
    let (alone, said) = code(&["--from", "192.168.1.101"]);
    assert!(alone == Some(2), "{said}");
    let (no_name, said) = code(&["--from", "192.168.1.101", "--to", "nobody.invalid:80/tcp"]);
    assert!(no_name == Some(2) && said.contains("there is no such name"), "{said}");
    let mut nobody = gatepost(&["explain", "--from", "192.168.1.1", "--to", "192.0.2.1/icmp", "--config"]);
    let elsewhere = gateway.setup().directory().path().join("elsewhere.toml");
    fs::write(&elsewhere, "system.control_socket = '/nonexistent/gatepost.sock'").expect("room");
    assert_eq!(nobody.arg(&elsewhere).output().expect("it runs").status.code(), Some(3));
}

/// The first event of `gatepost watch what` for which `is_wanted` is true, while `cause` is repeated: the watcher sees
/// what happens once it has begun.
fn watched(office: &Office, what: &str, cause: impl Fn(), is_wanted: impl Fn(&Value) -> bool) -> Value {
    let mut command = gatepost(&["watch", what, "--json", "--config"]);
    command.arg(office.gateway().setup().config()).stdout(Stdio::piped());
    let mut watcher = command.spawn().expect("it runs");
    let lines = BufReader::new(watcher.stdout.take().expect("a pipe")).lines();
    let (seen, events) = mpsc::channel();
    let reader = thread::spawn(move || {
        lines.map_while(Result::ok).try_for_each(|line| seen.send(line)).ok();
    });
    let event = (0..20).find_map(|_| {
        cause();
        let parsed = |line: String| serde_json::from_str(&line).expect("valid JSON");
        let first = events.recv_timeout(Duration::from_secs(1)).ok().map(parsed);
        first.into_iter().chain(events.try_iter().map(parsed)).find(&is_wanted)
    });
    watcher.kill().expect("it runs");
    watcher.wait().expect("it ends");
    reader.join().expect("no panic");
    event.unwrap_or_else(|| panic!("no such event of {what}"))
}

#[test]
fn a_watcher_sees_a_packet_dropped_and_why() {
    let office = Office::new(1, "");
    let cause = || assert!(curl(&office.internet, "-m 1", (WAN, 81)).is_err());
    let event = watched(&office, "drops", cause, |event| event["drop"]["destination"] == format!("{WAN}:81"));
    let drop = &event["drop"];
    assert_eq!((&drop["reason"], &drop["protocol"]), (&"unsolicited".into(), &"tcp".into()), "{event:#}");
}

#[test]
fn a_watcher_sees_names_addresses_and_flows() {
    let office = Office::new(1, "");
    let _page = WebServer::start(&office.internet, 80);
    let pc = Office::address(1);
    let ask = || _ = office.pc(1).sh(&format!("dig @{LAN} +time=1 +tries=1 gatepost.{DOMAIN} || true"));
    let event = watched(&office, "dns", ask, |event| event["dns"]["client"] == pc.to_string());
    let dns = &event["dns"];
    assert_eq!(
        (&dns["name"], &dns["type"]),
        (&format!("gatepost.{DOMAIN}").into(), &"A".into()),
        "{event:#}"
    );
    assert_eq!((&dns["source"], &dns["code"]), (&"zone".into(), &"NOERROR".into()), "{event:#}");

    let fetch = || assert_eq!(curl(office.pc(1), "", (SERVER, 80)), Ok(WAN));
    let event = watched(&office, "flows", fetch, |event| event["flow"]["event"] == "ended");
    let flow = &event["flow"];
    assert_eq!((&flow["destination"], &flow["protocol"]), (&format!("{SERVER}:80").into(), &"tcp".into()));
    assert!(flow["octets_received"].as_u64().is_some_and(|octets| octets > 100), "{event:#}");

    let lease = || _ = office.pc(1).sh("busybox udhcpc -f -q -n -i eth0 -t 10 -T 1 -A 1 -s /bin/true 2>&1");
    let event = watched(&office, "dhcp", lease, |event| event["dhcp"]["event"] == "ACK");
    let reason = event["dhcp"]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("leased, for "), "{event:#}");

    let mut off = gatepost(&["watch", "mail", "--config"]);
    let output = off.arg(office.gateway().setup().config()).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("mail"), "{said}");
}
