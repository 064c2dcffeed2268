//! Captures of the simulation in Wireshark's eyes: every segment is an interface, and nothing is malformed
//! or has a wrong checksum unless the simulation makes it so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Duration;

use etherparse::PacketBuilder;
use gatepost_sim::scenario::{Office, catalog, frame, office, sleep, wake};

/// What must not be in a capture. An ICMP error quotes the beginning of a segment, and the checksum of all of
/// it.
const WRONG: &str = "_ws.malformed || ip.checksum.status == \"Bad\" || icmp.checksum.status == \"Bad\" \
                     || (!icmp && (udp.checksum.status == \"Bad\" || tcp.checksum.status == \"Bad\"))";

/// The attacker's: its knocks are no messages of the protocols whose ports they go to.
const KNOCKS: &str = "udp.port == 31337";

/// Requests for the time, which PCs cut short now and then. The gateway must not answer these.
const NTP_REQUESTS: &str = "udp.dstport == 123";

/// A capture that is removed again.
struct Capture(PathBuf);

impl Capture {
    fn of(scenario: &str, seed: u64) -> Self {
        Self::of_some_minutes(scenario, seed, None).0
    }

    /// A capture, and what the run was like.
    fn of_some_minutes(scenario: &str, seed: u64, lasting: Option<Duration>) -> (Self, String) {
        let name = format!("{scenario}-{seed}-{}.pcapng", process::id());
        let capture = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        let office = catalog::CATALOG
            .find(scenario)
            .expect("a scenario")
            .office(seed, lasting)
            .expect("it is long enough");
        let outcome = office.run(scenario, seed, Some(&capture.0)).expect("it can be built");
        assert!(outcome.passed(), "{outcome}");
        (capture, outcome.options)
    }

    /// What tshark prints with checksums validated, line by line.
    fn tshark(&self, arguments: &[&str]) -> Vec<String> {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(&self.0);
        for protocol in ["ip", "tcp", "udp"] {
            command.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
        }
        // The pages there are octets of a pattern and no HTTP, in which tshark would find fault with some.
        command.args(["-d", "tcp.port==80,data"]);
        // Of segments that are sent again with other borders tshark cannot put together what mail servers are sent.
        command.args(["-o", "smtp.desegment_lines:FALSE", "-o", "smtp.desegment_data:FALSE"]);
        let output = command.args(arguments).output().expect("tshark is installed by `./dev setup`");
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.0);
    }
}

/// A capture of an office of this test's own.
fn capture_of(name: &str, office: Office) -> Capture {
    let capture =
        Capture(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.pcapng", process::id())));
    let outcome = office.run(name, 1, Some(&capture.0)).expect("it can be built");
    assert!(outcome.passed(), "{outcome}");
    capture
}

#[track_caller]
fn is_flawless(scenario: &str, seed: u64, interfaces: &[&str]) {
    let capture = Capture::of(scenario, seed);
    assert_eq!(capture.tshark(&["-Y", WRONG]), [""; 0], "{scenario} {seed}");
    let mut seen = capture.tshark(&["-T", "fields", "-e", "frame.interface_name"]);
    assert!(seen.len() > 500, "{scenario} {seed}: {} frames", seen.len());
    seen.sort();
    seen.dedup();
    assert_eq!(seen, interfaces, "{scenario} {seed}");
}

#[test]
fn every_segment_is_an_interface_and_nothing_is_malformed_when_a_laptop_moves() {
    is_flawless("laptop-moves", 1, &["lan0", "lan1", "lan2", "wan"]);
}

#[test]
fn nothing_is_malformed_when_a_link_loses_frames() {
    is_flawless("through-nat", 2, &["lan0", "wan"]);
}

#[test]
fn nothing_is_malformed_when_the_power_is_cut() {
    is_flawless("power-cut", 3, &["lan0", "wan"]);
}

#[test]
fn nothing_is_malformed_when_the_provider_renumbers() {
    is_flawless("renumbering", 4, &["lan0", "wan"]);
}

#[test]
fn nothing_is_malformed_in_a_swarm_but_what_the_attacker_fires_and_what_is_garbled_on_purpose() {
    let mut flawless = 0;
    for seed in 1..=10 {
        let (capture, options) = Capture::of_some_minutes("swarm", seed, Some(Duration::from_secs(300)));
        let bits_flip = options.split("corrupt: ").skip(1).any(|rest| !rest.starts_with("0.0,"));
        if bits_flip || options.contains("Garbage") {
            continue;
        }
        let filter = format!("({WRONG}) && !({KNOCKS}) && !({NTP_REQUESTS})");
        assert_eq!(capture.tshark(&["-Y", &filter]), [""; 0], "seed {seed}: {options}");
        flawless += 1;
    }
    assert!(flawless >= 3, "hardly any seed leaves its frames as they are");
}

#[test]
fn a_wrong_bit_shows() {
    let capture = Capture::of("through-nat", 5);
    let mut bytes = fs::read(&capture.0).expect("it was written");
    let needle = b"\x06office\x07example";
    let at = bytes
        .windows(needle.len())
        .position(|window| window == needle)
        .expect("somebody looks up a colleague");
    bytes[at + 1] ^= 1;
    fs::write(&capture.0, bytes).expect("it can be written");
    assert_eq!(capture.tshark(&["-Y", WRONG]).len(), 1);
}

#[test]
fn hosts_have_names_and_what_happens_is_told_at_its_frame() {
    let mut by_hand = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0x77], [0xff; 6])
        .ipv4([192, 168, 1, 77], [192, 168, 1, 255], 64)
        .udp(4_444, 4_444)
        .write(&mut by_hand, b"hello")
        .expect("memory takes it");
    let office = office()
        .pcs(2)
        .at(Duration::from_secs(40), wake("pc-1"))
        .at(Duration::from_secs(30), sleep("pc-1"))
        .at(Duration::from_secs(20), frame("pc-0", by_hand))
        .visiting_every(Some(Duration::from_secs(2)));
    let capture = capture_of("by-hand", office);
    let fields =
        ["-T", "fields", "-e", "frame.time_epoch", "-e", "frame.interface_name", "-e", "frame.comment"];
    let by_hand = capture.tshark(&[&["-Y", "udp.port == 4444"], &fields[..]].concat());
    assert_eq!(by_hand.len(), 1, "{by_hand:?}");
    let [time, interface, comment] = by_hand[0].split('\t').collect::<Vec<_>>()[..] else {
        panic!("{by_hand:?}")
    };
    assert!(time.starts_with("20.00"), "{time}");
    assert_eq!((interface, comment), ("lan0", "pc-0 sends a frame of 47 octets"));
    let comments = capture.tshark(&["-Y", "frame.comment", "-T", "fields", "-e", "frame.comment"]);
    let expected = ["pc-0 sends a frame of 47 octets", "pc-1 goes to sleep", "pc-1 wakes up"];
    assert_eq!(comments, expected);
    // One pass through the file: a name stands before the first frame that needs it.
    let hosts = capture.tshark(&["-N", "n", "-Y", "tcp", "-T", "fields", "-e", "ip.src_host"]);
    for name in ["pc-0", "pc-1", "gateway-wan"] {
        assert!(hosts.iter().any(|host| host == name), "no {name}");
    }
    assert!(hosts.iter().any(|host| host.starts_with("web-")), "no web server");
    assert!(!hosts.iter().any(|host| host.starts_with("192.168.1.")), "a PC without a name");
}
