//! `gatepost run` from start to end. Needs root.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

/// A directory and a configuration whose devices are in our own namespace.
struct Place {
    directory: PathBuf,
}

impl Place {
    /// `tag` makes the devices' names: two letters at most.
    fn new(tag: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("gatepost-run-{tag}-{}", std::process::id()));
        fs::create_dir(&directory).expect("a new directory");
        let place = Self { directory };
        place.configure("gatepost.toml", tag, "state", "sock");
        place
    }

    fn configure(&self, file: &str, tag: &str, state: &str, socket: &str) {
        let (directory, pid) = (self.directory.display(), std::process::id());
        let text = format!(
            "system.state_dir = '{directory}/{state}'\n\
             system.control_socket = '{directory}/{socket}'\n\
             lan.ports = [{{ tap = 'l{tag}{pid}' }}]\n\
             wan.ports = [{{ tap = 'w{tag}{pid}' }}]\n"
        );
        fs::write(self.directory.join(file), text).expect("a writable directory");
    }

    fn command(&self, arguments: &[&str], file: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
        command.args(arguments).arg("--config").arg(self.directory.join(file));
        command
    }

    /// Starts a gateway and waits until it is ready.
    fn run(&self) -> Gateway {
        let mut command = self.command(&["run"], "gatepost.toml");
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program is built");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("text");
        assert_eq!(line, "ready\n");
        Gateway(child)
    }

    fn fail(&self, file: &str) -> String {
        let output = self.command(&["run"], file).output().expect("the program is built");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("text")
    }

    fn show(&self, what: &str) -> Output {
        self.command(&["show", what, "--json"], "gatepost.toml").output().expect("the program is built")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.directory);
    }
}

struct Gateway(Child);

impl Gateway {
    fn end(&mut self, signal: Signal) -> Option<i32> {
        let pid = Pid::from_raw(self.0.id().try_into().expect("a process"));
        kill(pid, signal).expect("it runs");
        self.0.wait().expect("a child").code()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Whether the test can run; says so if not.
fn is_root() -> bool {
    let is_root = Uid::effective().is_root();
    if !is_root {
        eprintln!("skipped: needs root");
    }
    is_root
}

#[test]
fn it_stops_in_order_and_leaves_nothing() {
    if !is_root() {
        return;
    }
    let place = Place::new("a");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut gateway = place.run();
        let status = place.show("status");
        assert!(status.status.success());
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
        assert_eq!(status["mode"], "nat-dmz");
        assert_eq!(status["ports"].as_array().map(Vec::len), Some(2));
        assert_eq!(gateway.end(signal), Some(0));
        assert!(!place.directory.join("sock").exists());
        let device = format!("/sys/class/net/la{}", std::process::id());
        assert!(!fs::exists(device).expect("sysfs"));
    }
    let refused = place.show("status");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("start it with `gatepost run`"));
}

#[test]
fn a_crash_leaves_nothing_in_the_next_starts_way() {
    if !is_root() {
        return;
    }
    let place = Place::new("b");
    let mac = |place: &Place| {
        let status: serde_json::Value = serde_json::from_slice(&place.show("status").stdout).expect("JSON");
        status["wan"]["mac"].as_str().expect("a hardware address").to_owned()
    };
    let mut crashed = place.run();
    let before = mac(&place);
    assert_eq!(crashed.end(Signal::SIGKILL), None);
    assert!(place.directory.join("sock").exists(), "the crash leaves the socket");
    let mut next = place.run();
    assert_eq!(mac(&place), before);
    assert_eq!(next.end(Signal::SIGTERM), Some(0));
}

#[test]
fn a_second_gateway_is_refused_with_the_remedy() {
    if !is_root() {
        return;
    }
    let place = Place::new("c");
    let mut first = place.run();
    assert!(place.fail("gatepost.toml").contains("in use by another gateway; stop it"));
    place.configure("socket.toml", "d", "state2", "sock");
    assert!(place.fail("socket.toml").contains("another gateway answers there; stop it"));
    place.configure("device.toml", "c", "state2", "sock2");
    let message = place.fail("device.toml");
    assert!(message.contains("is taken by another device; end the program that holds it"), "{message}");
    assert!(!place.directory.join("sock2").exists());
    assert_eq!(first.end(Signal::SIGTERM), Some(0));
}
