//! A gateway whose state directory is damaged, read-only or full, and a configuration that cannot be read.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use crate::harness::programs::{dig, pings};
use crate::harness::{Gateway, ISP, Office, Setup, eventually, gatepost};

/// Asks for an address by DHCP, which must say `hostname`; prints the lease's time if it gets one.
pub fn lease(office: &Office, number: usize, hostname: &str) -> Option<u32> {
    let client =
        format!("busybox udhcpc -f -i eth0 -n -q -t 3 -T 1 -x hostname:{hostname} -s /bin/true 2>&1 || true");
    let told = office.pc(number).sh(&client);
    let (_, time) = told.split_once("lease time ")?;
    time.lines().next()?.trim().parse().ok()
}

fn problems(gateway: &Gateway) -> Vec<String> {
    let status = gateway.show("status");
    let problems = status["problems"].as_array().expect("a list").iter();
    problems.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// `gatepost run` behind `mount`, shell commands in a mount namespace of its own that know the state directory as `$1`.
fn command_behind(setup: &Setup, mount: &str) -> Command {
    let run = setup.command();
    let mut command = Command::new("unshare");
    let script = format!("{mount}\nshift; exec \"$@\"");
    command.args(["-m", "sh", "-ec", &script, "sh"]).arg(setup.directory().join("state"));
    command.arg(run.get_program()).args(run.get_args());
    command
}

fn start_behind(office: &mut Office, setup: Setup, mount: &str) {
    let command = command_behind(&setup, mount);
    office.start_by(command, setup);
}

fn check_state(setup: &Setup) -> (Option<i32>, String) {
    let output = gatepost(&["check", "--state"]).arg(setup.config()).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_damaged_journal_is_set_aside_and_everything_else_goes_on() {
    let mut office = Office::bare(2, "");
    assert_eq!((lease(&office, 1, "anna"), lease(&office, 2, "berta")), (Some(86_400), Some(86_400)));
    let (_, setup) = office.stop(Signal::SIGTERM);
    assert_eq!(check_state(&setup).0, Some(0));
    let journal = setup.directory().join("state/dhcp-leases.jsonl");
    flip_digit(&journal);
    let damaged = fs::read(&journal).expect("it is there");
    let (code, told) = check_state(&setup);
    assert_eq!(code, Some(1));
    assert!(told.contains("dhcp-leases.jsonl: line 1: its checksum is wrong"), "{told}");

    office.start(setup);
    let told = problems(office.gateway());
    assert!(told.len() == 1 && told[0].contains("dhcp-leases.jsonl is damaged: line 1"), "{told:?}");
    assert!(office.gateway().show_text("status").contains("problem: dhcp-leases.jsonl"));
    assert!(office.gateway().log().contains("is damaged"));
    let copy = office.gateway().setup().directory().join("state/dhcp-leases.jsonl.damaged");
    assert_eq!(fs::read(copy).expect("it is set aside"), damaged);
    let leases = office.gateway().show("leases");
    assert_eq!(leases["leases"].as_array().map(Vec::len), Some(1), "{leases}");
    assert_eq!((lease(&office, 1, "anna"), lease(&office, 2, "berta")), (Some(86_400), Some(86_400)));
    office.give_static_address(1);
    assert!(pings(office.pc(1), "", ISP));
}

/// Changes a digit in the middle of the first line.
fn flip_digit(path: &Path) {
    let content = fs::read(path).expect("it is there");
    let middle = content.iter().position(|byte| *byte == b'\n').expect("a line") / 2;
    let at = (middle..content.len()).find(|at| content[*at].is_ascii_digit()).expect("a digit");
    let file = fs::File::options().write(true).open(path).expect("it can be written");
    file.write_at(&[content[at] ^ 1], at as u64).expect("it can be written");
}

#[test]
fn on_a_read_only_state_directory_it_routes_and_known_clients_keep_what_they_have() {
    let mut office = Office::bare(2, "");
    assert_eq!(lease(&office, 1, "anna"), Some(86_400));
    let mac = |office: &Office| office.gateway().show("status")["lan"]["mac"].clone();
    let before = mac(&office);
    let (_, setup) = office.stop(Signal::SIGTERM);
    start_behind(&mut office, setup, "mount --bind \"$1\" \"$1\"; mount -o remount,bind,ro \"$1\"");
    assert_eq!(mac(&office), before);
    assert!(lease(&office, 1, "anna").is_some_and(|secs| secs < 86_400), "the rest of its lease");
    assert_eq!(lease(&office, 2, "berta"), None, "nothing can be kept for a new one");
    let told = problems(office.gateway());
    assert!(told.len() == 1 && told[0].contains("dhcp-leases.jsonl cannot be written: "), "{told:?}");
    office.give_static_addresses();
    assert!(pings(office.pc(2), "", ISP));
    assert!(!dig(office.pc(2), "anna.office.example").is_empty());
}

#[test]
fn without_a_state_directory_it_routes_and_leases_come_with_it() {
    let mut office = Office::bare(1, "admin.enabled = false");
    let (_, setup) = office.stop(Signal::SIGTERM);
    fs::remove_dir_all(setup.directory().join("state")).expect("it is there");
    fs::write(setup.directory().join("state"), "a file").expect("it can be written");
    office.start(setup);
    office.give_static_addresses();
    assert!(pings(office.pc(1), "", ISP));
    let told = problems(office.gateway());
    assert!(told.len() == 2 && told.iter().all(|problem| problem.contains("cannot be read")), "{told:?}");
    assert_eq!(lease(&office, 1, "anna"), None);
    // The leases are tried to be read again once in ten seconds.
    let state = office.gateway().setup().directory().join("state");
    fs::remove_file(&state).expect("it is there");
    assert_eq!(eventually("a lease", || lease(&office, 1, "anna")), 86_400);
    let told = problems(office.gateway());
    assert!(told.len() == 1 && told[0].contains("identity.json cannot be read"), "{told:?}");
    assert!(state.join("dhcp-leases.jsonl").exists());
}

#[test]
fn on_a_full_disk_known_clients_renew() {
    let mut office = Office::bare(2, "");
    let (_, setup) = office.stop(Signal::SIGTERM);
    start_behind(&mut office, setup, "mount -t tmpfs -o size=512k tmpfs \"$1\"");
    assert_eq!(lease(&office, 1, "anna"), Some(86_400));
    let gateway = office.gateway();
    let state = gateway.setup().directory().join("state");
    let filler = format!("/proc/{}/root{}/filler", gateway.id(), state.display());
    fs::write(&filler, vec![b'x'; 1 << 20]).expect_err("it is full");
    // More than fits the rest of the journal's last block.
    for _ in 0..40 {
        assert_eq!(lease(&office, 1, "anna"), Some(86_400));
    }
    // What the reserve has given up is taken, too.
    fs::write(format!("{filler}-2"), vec![b'x'; 1 << 20]).expect_err("it is full");
    assert_eq!(lease(&office, 2, "berta"), None, "the reserve is for those who are known");
    let told = problems(gateway);
    assert!(told.len() == 1 && told[0].contains("dhcp-leases.jsonl cannot be written: "), "{told:?}");
    assert!(lease(&office, 1, "anna").is_some());
    fs::remove_file(format!("{filler}-2")).expect("it is there");
    fs::remove_file(filler).expect("it is there");
    // A newcomer's lease is tried on a full disk once in ten seconds.
    assert_eq!(eventually("a lease of a newcomer", || lease(&office, 2, "berta")), 86_400);
    assert_eq!(problems(gateway), Vec::<String>::new());
}

#[test]
fn a_configuration_that_blocks_stops_nothing() {
    let office = Office::new(1, "");
    let config = office.gateway().setup().config();
    let kept = fs::read(&config).expect("it is there");
    fs::remove_file(&config).expect("it is there");
    mkfifo(&config, Mode::S_IRUSR | Mode::S_IWUSR).expect("a FIFO can be made");
    office.gateway().signal(Signal::SIGHUP);
    eventually("a refusal", || office.gateway().log().contains("it is not a regular file").then_some(()));
    assert_eq!(dig(office.pc(1), "gatepost.office.example"), "192.168.1.1");
    fs::remove_file(&config).expect("it is there");
    fs::write(&config, kept).expect("it can be written");
    assert!(office.gateway().reload().status.success());
}
