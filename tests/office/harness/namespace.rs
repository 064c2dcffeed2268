//! Network namespaces, and foreign programs in them.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{self, Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::run;

/// A name that no other namespace or directory of any test run has.
pub fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A network namespace. On drop it is removed, and its processes are ended.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace with its loopback up and without IPv6, whose own packets would be counted.
    pub fn new(role: &str) -> Self {
        let namespace = Self { name: format!("gp{}-{role}", unique()) };
        namespace.make();
        namespace
    }

    fn make(&self) {
        run(Command::new("ip").args(["netns", "add", &self.name]));
        self.sh("for scope in all default; do echo 1 >/proc/sys/net/ipv6/conf/$scope/disable_ipv6; done
                 ip link set lo up");
    }

    /// Removes the namespace and makes another of the same name.
    pub fn renew(&self) {
        self.remove();
        self.make();
    }

    fn remove(&self) {
        for pid in self.processes() {
            _ = kill(pid, Signal::SIGKILL);
        }
        _ = Command::new("ip").args(["netns", "del", &self.name]).status();
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

    /// Runs a shell line that must succeed and returns its output.
    #[track_caller]
    pub fn sh(&self, line: &str) -> String {
        run(self.command("sh").args(["-ec", line]))
    }

    /// Runs a shell line that may fail.
    pub fn try_sh(&self, line: &str) -> Output {
        self.command("sh").args(["-c", line]).output().expect("ip netns exec runs")
    }

    /// Whether a shell line succeeds.
    pub fn succeeds(&self, line: &str) -> bool {
        self.try_sh(line).status.success()
    }

    /// Starts a program in the background, and a conversation with it by its standard streams.
    pub fn spawn(&self, line: &str) -> Background {
        // `exec`, so that the process is the program itself and can be signalled.
        let mut command = self.command("sh");
        command.args(["-c", &format!("exec {line}")]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("ip netns exec runs");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Background { child, input, output }
    }

    /// Does something in a thread that is in the namespace: a socket made there stays there.
    pub fn enter<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.name)).expect("the namespace has a name");
        let enter = move || {
            setns(file, CloneFlags::CLONE_NEWNET).expect("root can enter a namespace");
            action()
        };
        thread::scope(|scope| scope.spawn(enter).join()).expect("the action does not panic")
    }

    fn processes(&self) -> Vec<Pid> {
        let listed = Command::new("ip").args(["netns", "pids", &self.name]).output();
        let text = listed.map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A program in the background, ended when dropped.
#[derive(Debug)]
pub struct Background {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Background {
    /// Writes a line to it.
    pub fn say(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).expect("the program still listens");
    }

    /// Reads a line from it, without its end; empty when there are no more.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the program writes text");
        line.trim_end().to_owned()
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("it can be signalled");
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
