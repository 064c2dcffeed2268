//! `gatepost lab`, as root and as an ordinary user; what it leaves behind is nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Directory, eventually, gatepost};

/// An unprivileged user, by custom `nobody`.
const NOBODY: u32 = 65_534;

/// What of the machine a lab may not change.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    mounts: Vec<String>,
    namespaces: Vec<String>,
    devices: String,
    resolv_conf: Option<String>,
}

impl Machine {
    /// As it is now, without what other tests make meanwhile.
    fn look() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("it is there");
        let mounts = mounts.lines().filter(|line| !line.contains("/run/netns")).map(str::to_owned).collect();
        let named = fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let named = named.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut namespaces: Vec<_> = named.filter(|name| !name.starts_with("gp")).collect();
        namespaces.sort_unstable();
        let devices = crate::harness::run(Command::new("ip").args(["-brief", "link"]));
        Self { mounts, namespaces, devices, resolv_conf: fs::read_to_string("/etc/resolv.conf").ok() }
    }
}

/// A place for a lab: it tells the lab's processes by their `TMPDIR`.
struct Place {
    directory: Directory,
    before: Machine,
}

impl Place {
    fn new() -> Self {
        let directory = Directory::new();
        chown(directory.path(), Some(NOBODY), Some(NOBODY)).expect("root gives it away");
        Self { directory, before: Machine::look() }
    }

    fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("TMPDIR", self.directory.path()).stdin(Stdio::null())
    }

    /// Asserts that the lab has left nothing behind.
    fn assert_untouched(&self) {
        eventually("the end of the lab's processes", || self.processes().is_empty().then_some(()));
        let left = fs::read_dir(self.directory.path()).expect("it is there").count();
        assert_eq!(left, 0, "files in {:?}", self.directory);
        assert_eq!(Machine::look(), self.before);
    }

    fn processes(&self) -> Vec<String> {
        let mark = format!("TMPDIR={}\0", self.directory.path().display());
        let is_marked = |pid: &String| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environ| environ.windows(mark.len()).any(|window| window == mark.as_bytes()))
        };
        let entries = fs::read_dir("/proc").expect("it is there").flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.parse::<u32>().is_ok()).filter(is_marked).collect()
    }
}

/// Asserts that a lab had every mark set.
fn assert_passed(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}{log}", output.status);
    assert!(!text.contains('✗'), "{text}");
    for check in ["lease", "name", "ping", "web", "forward", "hairpin", "stealth"] {
        assert!(text.contains(&format!("✓ {check}")), "no {check}: {text}");
    }
}

#[test]
fn every_mark_is_set_as_root() {
    let place = Place::new();
    let output = place.prepare(&mut gatepost(&["lab", "--check"])).output().expect("it runs");
    assert_passed(&output);
    place.assert_untouched();
}

#[test]
fn every_mark_is_set_as_an_ordinary_user() {
    let program = Directory::new();
    chown(program.path(), Some(NOBODY), Some(NOBODY)).expect("root gives it away");
    let gatepost = program.join("gatepost");
    fs::copy(env!("CARGO_BIN_EXE_gatepost"), &gatepost).expect("it can be copied to where nobody reaches it");
    let place = Place::new();
    // The machine's own /dev/net/tun may be open to root only.
    let open_tun = "mount -t tmpfs -o mode=755 tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200";
    let become_nobody = format!("exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups");
    let as_nobody = |command: &str| {
        let line = format!("{open_tun} && {become_nobody} {command}");
        let mut unshare = Command::new("unshare");
        unshare.args(["-m", "sh", "-c", &line]);
        unshare
    };
    let output = place.prepare(&mut as_nobody(&format!("{} lab --check", gatepost.display()))).output();
    let output = output.expect("it runs");
    if as_nobody("unshare -Urn true").output().expect("it runs").status.success() {
        assert_passed(&output);
    } else {
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("user namespace") && message.contains("as root"), "{message}");
    }
    place.assert_untouched();
}

#[test]
fn a_lab_that_stays_open_ends_with_a_signal() {
    let place = Place::new();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut command = gatepost(&["lab", "--hosts", "1"]);
        let mut lab = place.prepare(&mut command).stdout(Stdio::piped()).spawn().expect("it runs");
        let output = BufReader::new(lab.stdout.take().expect("it is piped"));
        let shown: Vec<_> = output
            .lines()
            .map(|line| line.expect("it is text"))
            .take_while(|line| !line.contains("gateway's drops"))
            .collect();
        kill(Pid::from_raw(lab.id().cast_signed()), signal).expect("it can be signalled");
        let status = eventually("the end of the lab", || lab.try_wait().expect("it can be waited for"));
        assert!(status.success(), "{status}\n{shown:#?}");
        assert!(shown.iter().any(|line| line.contains("a shell on pc1")), "{shown:#?}");
        place.assert_untouched();
    }
}

#[test]
fn a_lab_that_is_killed_leaves_nothing() {
    let place = Place::new();
    let mut command = gatepost(&["lab", "--hosts", "1"]);
    let mut lab = place.prepare(&mut command).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut output = BufReader::new(lab.stdout.take().expect("it is piped")).lines();
    let is_first_mark = |line: Result<String, _>| line.expect("it is text").contains('✓');
    assert!(output.any(is_first_mark), "no mark");
    lab.kill().expect("it can be killed");
    lab.wait().expect("it can be waited for");
    place.assert_untouched();
}

#[test]
fn a_lab_runs_on_a_configuration_of_ones_own() {
    let place = Place::new();
    let config = Directory::new();
    let path = config.join("gatepost.toml");
    fs::write(&path, "[network]\nmode = 'router'\n").expect("it can be written");
    let mut command = gatepost(&["lab", "--check", "--hosts", "2", "--config"]);
    let output = place.prepare(command.arg(&path)).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("✓ web") && !text.contains("hairpin"), "{text}");
    place.assert_untouched();
}
