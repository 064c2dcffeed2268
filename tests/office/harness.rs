//! Namespaces, background programs and gateways that remove themselves.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{self, Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A number that no other namespace or directory of this test run has.
fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A network namespace, removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace with its loopback up.
    pub fn new(role: &str) -> Self {
        let namespace = Self { name: format!("gp{}-{role}", unique()) };
        run(Command::new("ip").args(["netns", "add", &namespace.name]));
        namespace.sh("ip link set lo up");
        namespace
    }

    /// The name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A program to run in the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a shell line that must succeed and returns what it printed.
    pub fn sh(&self, line: &str) -> String {
        run(self.command("sh").args(["-c", line]))
    }

    /// Runs a shell line that may fail.
    pub fn try_sh(&self, line: &str) -> Output {
        self.command("sh").args(["-c", line]).output().expect("ip netns exec runs")
    }

    /// Starts a shell line in the background; it ends when the returned value is dropped.
    pub fn spawn(&self, line: &str) -> Background {
        // `exec`, so that the process is the program itself and can be ended by its id.
        let mut command = self.command("sh");
        command.args(["-c", &format!("exec {line}")]).stdin(Stdio::null());
        Background(command.spawn().expect("ip netns exec runs"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// A program in the background, ended when dropped.
#[derive(Debug)]
pub struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// A directory of the test's own, removed when dropped.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Makes an empty directory.
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("gatepost-test-{}", unique()));
        fs::create_dir(&path).expect("a temporary directory can be made");
        Self(path)
    }

    /// The path of `name` in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// `gatepost run`, stopped when dropped.
#[derive(Debug)]
pub struct Gateway {
    process: Child,
    directory: Directory,
}

impl Gateway {
    /// Starts a gateway on `config` (without `[system]` paths, which are the test's own) and waits until
    /// it is ready.
    pub fn start(config: &str) -> Self {
        Self::start_in(Directory::new(), config)
    }

    /// The same with the directory of an earlier gateway, whose state it takes over.
    pub fn start_in(directory: Directory, config: &str) -> Self {
        let path = directory.join("gatepost.toml");
        let system = format!(
            "[system]\nstate_dir = \"{}\"\ncontrol_socket = \"{}\"\n",
            directory.join("state").display(),
            directory.join("control.sock").display(),
        );
        fs::write(&path, format!("{system}{config}")).expect("the configuration can be written");
        let mut process = gatepost(&["run", "--config"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("gatepost runs");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("gatepost's output can be read");
        assert_eq!(line, "ready\n", "gatepost did not become ready");
        Self { process, directory }
    }

    /// What `gatepost show WHAT --json` prints.
    pub fn show(&self, what: &str) -> Value {
        let text = run(gatepost(&["show", what, "--json", "--config"]).arg(self.directory.join("gatepost.toml")));
        serde_json::from_str(&text).expect("valid JSON")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends it with `signal` and returns its directory, and whether it ended with code 0.
    pub fn end(mut self, signal: Signal) -> (Directory, bool) {
        let success = self.signal_and_wait(signal);
        let directory = std::mem::replace(&mut self.directory, Directory::new());
        (directory, success)
    }

    fn signal_and_wait(&mut self, signal: Signal) -> bool {
        if let Ok(Some(status)) = self.process.try_wait() {
            return status.success();
        }
        let pid = i32::try_from(self.process.id()).expect("a process id fits");
        kill(Pid::from_raw(pid), signal).expect("the gateway can be signalled");
        self.process.wait().expect("the gateway can be waited for").success()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let success = self.signal_and_wait(Signal::SIGTERM);
        assert!(success || std::thread::panicking(), "the gateway did not stop in order");
    }
}

/// The program under test.
pub fn gatepost(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    command.args(arguments);
    command
}

/// Runs a command that must succeed and returns what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} does not run: {e}"));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?} failed: {}\n{stdout}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}
