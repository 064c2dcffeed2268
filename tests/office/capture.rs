//! `gatepost capture`: what tshark reads in it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::programs::{WebServer, curl};
use crate::harness::{Office, SERVER, WAN, eventually, gatepost, run};

/// The fields of the frames in a capture that match, a line each.
fn tshark(path: &Path, filter: &str, fields: &[&str]) -> String {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(path).args(["-Y", filter, "-T", "fields"]);
    fields.iter().for_each(|field| _ = command.args(["-e", field]));
    run(&mut command)
}

#[test]
fn a_capture_has_both_sides_of_a_connection_and_why_a_packet_was_dropped() {
    let office = Office::new(1, "");
    let gateway = office.gateway();
    let _page = WebServer::start(&office.internet, 80);
    let path = gateway.setup().directory().path().join("office.pcapng");
    let mut command = gatepost(&["capture", "--filter", "tcp and (port 80 or port 81)", "-o"]);
    command.arg(&path).arg("--config").arg(gateway.setup().config()).stderr(Stdio::piped());
    let mut capture = command.spawn().expect("it runs");
    // It has begun once the file has its first block, which comes before any frame.
    let begun = |path: &Path| fs::metadata(path).is_ok_and(|file| file.len() > 0);
    eventually("the capture begins", || begun(&path).then_some(()));
    assert_eq!(curl(office.pc(1), "", (SERVER, 80)), Ok(WAN));
    assert!(curl(&office.internet, "-m 1", (WAN, 81)).is_err());
    kill(Pid::from_raw(capture.id().cast_signed()), Signal::SIGINT).expect("it can be signalled");
    let mut said = String::new();
    BufReader::new(capture.stderr.take().expect("a pipe")).read_line(&mut said).expect("text");
    assert_eq!(capture.wait().expect("it ends").code(), Some(0), "{said}");
    assert!(said.contains("office.pcapng has ") && !said.contains("lost"), "{said}");

    let syn = "tcp.flags.syn == 1 and tcp.flags.ack == 0 and tcp.dstport == 80";
    let ways = tshark(&path, syn, &["frame.interface_name", "ip.src"]);
    let pc = Office::address(1);
    assert_eq!(ways.lines().collect::<Vec<_>>(), [format!("lan\t{pc}"), format!("wan\t{WAN}")]);
    let comments = tshark(&path, "tcp.dstport == 81", &["frame.comment"]);
    assert!(comments.lines().all(|line| line.starts_with("dropped, unsolicited: ")), "{comments}");
    assert!(!comments.is_empty());
}

#[test]
fn a_capture_goes_through_a_pipe_and_ends_by_itself() {
    let office = Office::new(1, "");
    let gateway = office.gateway();
    let mut command = gatepost(&["capture", "--secs", "1", "--interface", "wan", "-o", "-", "--config"]);
    let output = command.arg(gateway.setup().config()).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("stdout has "), "{said}");
    let path = gateway.setup().directory().path().join("piped.pcapng");
    fs::write(&path, &output.stdout).expect("room");
    // The section, two interfaces, and their statistics are there whether or not a frame has come.
    let described = run(Command::new("capinfos").arg("-I").arg(&path));
    assert!(described.contains("Name = lan") && described.contains("Name = wan"), "{described}");
    let mut wrong = gatepost(&["capture", "--filter", "port", "-o", "-", "--config"]);
    let output = wrong.arg(gateway.setup().config()).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("--filter is not understood"), "{said}");
}
