//! The program under test.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{Directory, look_for, run};

/// The program under test.
pub fn gatepost(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    command.args(arguments);
    command
}

/// The files of a gateway: a directory with its configuration, state, control socket and log.
#[derive(Debug)]
pub struct Setup {
    directory: Directory,
}

impl Setup {
    /// With the lines of `settings`, in which tables are written as dotted keys.
    pub fn new(settings: &str) -> Self {
        let setup = Self { directory: Directory::new() };
        let directory = &setup.directory;
        let system = format!(
            "system.state_dir = '{}'\nsystem.control_socket = '{}'\n",
            directory.join("state").display(),
            directory.join("control.sock").display(),
        );
        // Last, so that the line numbers of errors do not depend on it.
        let workers = match settings.contains("system.workers") {
            true => String::new(),
            false => format!("system.workers = {}", crate::profile().workers),
        };
        fs::write(setup.config(), format!("{system}{settings}\n{workers}\n")).expect("it can be written");
        setup
    }

    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.directory.join("gatepost.toml")
    }

    /// Replaces `old`, which exists, by `new` in the configuration.
    pub fn edit(&self, old: &str, new: &str) {
        let text = fs::read_to_string(self.config()).expect("it is there");
        assert!(text.contains(old), "{text}");
        fs::write(self.config(), text.replace(old, new)).expect("it can be written");
    }

    /// Gives `user` a password, as `gatepost passwd` does.
    pub fn set_password(&self, user: &str, password: &str) {
        let mut command = gatepost(&["passwd", user, "--stdin", "--config"]);
        let mut process = command.arg(self.config()).stdin(Stdio::piped()).spawn().expect("it runs");
        let mut stdin = process.stdin.take().expect("it is piped");
        writeln!(stdin, "{password}").expect("it reads");
        drop(stdin);
        assert!(process.wait().expect("it ends").success());
    }

    /// The messages of a mailbox, as `gatepost mail export` writes them.
    pub fn inbox(&self, user: &str) -> String {
        let mbox = self.directory.join(&format!("{user}.mbox"));
        _ = fs::remove_file(&mbox);
        let mut export = gatepost(&["mail", "export", user, "--mbox"]);
        run(export.arg(&mbox).arg("--config").arg(self.config()));
        fs::read_to_string(mbox).expect("it is written")
    }

    /// Whether the configuration asks for one worker.
    fn has_one_worker(&self) -> bool {
        let text = fs::read_to_string(self.config()).expect("it is there");
        text.lines().any(|line| line == "system.workers = 1")
    }

    /// The directory.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// `gatepost run`.
    pub fn command(&self) -> Command {
        let mut command = gatepost(&["run", "--config"]);
        command.arg(self.config());
        command
    }
}

/// `gatepost run`, stopped when dropped.
#[derive(Debug)]
pub struct Gateway {
    process: Child,
    /// `None` after it was passed on.
    setup: Option<Setup>,
}

impl Gateway {
    /// Starts a gateway and waits until it is ready.
    pub fn start(setup: Setup) -> Self {
        let command = setup.command();
        Self::start_by(command, setup)
    }

    /// The same by a command of one's own.
    pub fn start_by(mut command: Command, setup: Setup) -> Self {
        let log = File::options().append(true).create(true).open(setup.directory.join("log"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.expect("the log can be written"));
        let mut process = command.spawn().expect("gatepost runs");
        let stdout = process.stdout.take().expect("it is piped");
        let gateway = Self { process, setup: Some(setup) };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("gatepost's output can be read");
        assert_eq!(line, "ready\n", "gatepost did not become ready");
        gateway
    }

    /// The output of `gatepost show WHAT --json`.
    pub fn show(&self, what: &str) -> Value {
        let text = run(gatepost(&["show", what, "--json", "--config"]).arg(self.setup().config()));
        serde_json::from_str(&text).expect("valid JSON")
    }

    /// The output of `gatepost show WHAT`.
    pub fn show_text(&self, what: &str) -> String {
        run(gatepost(&["show", what, "--config"]).arg(self.setup().config()))
    }

    /// The output of `gatepost flush NAME`; of all names if `name` is empty.
    pub fn flush(&self, name: &str) -> String {
        let mut command = gatepost(&["flush", "--config"]);
        command.arg(self.setup().config()).args((!name.is_empty()).then_some(name));
        run(&mut command)
    }

    /// The drop reasons so far, with their counts.
    pub fn drops(&self) -> BTreeMap<String, u64> {
        let report = self.show("drops");
        let drops = report["drops"].as_array().expect("a list").iter();
        let counted = drops.map(|drop| {
            let reason = drop["reason"].as_str().expect("a name").to_owned();
            (reason, drop["count"].as_u64().expect("a number"))
        });
        counted.filter(|(_, count)| *count > 0).collect()
    }

    /// Asserts that every frame is accounted for, and that none was dropped except for the given reasons.
    #[track_caller]
    pub fn assert_accounts(&self, reasons: &[&str]) {
        let counters = self.show("counters");
        let count = |key: &str| counters[key].as_u64().expect("a number");
        let fates = ["transmitted", "flooded", "local", "consumed", "held", "dropped", "handed_over"];
        let came = count("received") + count("taken_over");
        assert_eq!(came, fates.into_iter().map(count).sum::<u64>(), "{counters}");
        assert!(!self.setup().has_one_worker() || count("handed_over") == 0, "{counters}");
        let drops = self.drops();
        assert!(drops.keys().all(|reason| reasons.contains(&reason.as_str())), "{drops:?}");
    }

    /// `gatepost reload`.
    pub fn reload(&self) -> Output {
        gatepost(&["reload", "--config"]).arg(self.setup().config()).output().expect("it runs")
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id().cast_signed()), signal).expect("it can be signalled");
    }

    /// Its log.
    pub fn log(&self) -> String {
        self.setup().directory.read("log")
    }

    /// Its files.
    pub fn setup(&self) -> &Setup {
        self.setup.as_ref().expect("it is handed on only at the end")
    }

    /// Ends it with `signal`; returns its exit status and its files.
    pub fn end(mut self, signal: Signal) -> (ExitStatus, Setup) {
        let status = self.signal_and_wait(signal);
        (status, self.setup.take().expect("it is handed on once"))
    }

    fn signal_and_wait(&mut self, signal: Signal) -> ExitStatus {
        if let Some(status) = self.process.try_wait().expect("it can be waited for") {
            return status;
        }
        self.signal(signal);
        look_for(|| self.process.try_wait().expect("it can be waited for")).unwrap_or_else(|| {
            self.kill();
            panic!("the gateway did not obey {signal}");
        })
    }

    /// Ends it by force, and shows its log.
    fn kill(&mut self) {
        if let Some(setup) = &self.setup {
            eprintln!("the gateway's log:\n{}", setup.directory.read("log"));
        }
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.setup.is_none() {
            return;
        }
        if thread::panicking() {
            self.kill();
        } else {
            assert!(self.signal_and_wait(Signal::SIGTERM).success(), "the gateway did not stop in order");
        }
    }
}
