//! `gatepost lab`, as root and as an ordinary user; it leaves nothing behind.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::chown;
use std::process::{Child, Command, Output, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Directory, eventually, gatepost};

/// An unprivileged user, by custom `nobody`.
const NOBODY: u32 = 65_534;

/// The state of the machine that a lab must not change.
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

/// A place for a lab, which recognises the lab's processes by their `TMPDIR`.
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

/// What a lab that stays up has written until it is up.
fn shown_until_up(lab: &mut Child) -> Vec<String> {
    let output = BufReader::new(lab.stdout.take().expect("it is piped"));
    let lines = output.lines().map(|line| line.expect("it is text"));
    lines.take_while(|line| !line.contains("stays up")).collect()
}

/// Asserts that a lab had every mark set.
fn assert_passed(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}{log}", output.status);
    assert!(!text.contains('✗'), "{text}");
    for check in ["lease", "name", "ping", "web", "forward", "hairpin", "stealth", "mail", "speed"] {
        assert!(text.contains(&format!("✓ {check}")), "no {check}: {text}");
    }
    assert_eq!(text.matches("✓ mail ").count(), 3, "inside, out and back: {text}");
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
        let shown = shown_until_up(&mut lab);
        kill(Pid::from_raw(lab.id().cast_signed()), signal).expect("it can be signalled");
        let status = eventually("the end of the lab", || lab.try_wait().expect("it can be waited for"));
        assert!(status.success(), "{status}\n{shown:#?}");
        let hints = ["lab on pc1 ", "lab show leases", "lab send pc1 echo@", "lab fetch pc1", "lab speed"];
        assert!(hints.iter().all(|hint| shown.iter().any(|line| line.contains(hint))), "{shown:#?}");
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
    let check = |config: &str| {
        fs::write(&path, config).expect("it can be written");
        let mut command = gatepost(&["lab", "--check", "--hosts", "2", "--config"]);
        let output = place.prepare(command.arg(&path)).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    let text = check("[network]\nmode = 'router'\n");
    assert!(text.contains("✓ web") && !text.contains("hairpin") && !text.contains("mail"), "{text}");
    // People alone make mail; without the internet it stays in the office.
    let people = "[[users]]\nname = 'anna'\n[mail]\ndisk_reserve = '1 MiB'\n";
    for (mode, mails) in [("router", 3), ("lan-only", 1)] {
        let text = check(&format!("{people}[network]\nmode = '{mode}'\n"));
        assert_eq!(text.matches("✓ mail ").count(), mails, "{text}");
    }
    place.assert_untouched();
}

#[test]
fn a_lab_that_is_up_is_used_from_another_terminal() {
    let place = Place::new();
    let mut command = gatepost(&["lab", "--hosts", "2"]);
    let mut lab = place.prepare(&mut command).stdout(Stdio::piped()).spawn().expect("it runs");
    shown_until_up(&mut lab);
    // Other tests have labs of their own.
    let pid = lab.id().to_string();
    let ask = |arguments: &[&str]| {
        let [what, rest @ ..] = arguments else { panic!("nothing is asked") };
        place.prepare(&mut gatepost(&["lab", what, "--pid", &pid])).args(rest).output().expect("it runs")
    };
    let said = |arguments: &[&str]| {
        let output = ask(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(said(&["show", "leases"]).contains("pc2"));
    let leases: serde_json::Value = serde_json::from_str(&said(&["show", "leases", "--json"])).expect("JSON");
    assert_eq!(leases["leases"].as_array().map(Vec::len), Some(2), "{leases}");
    assert_eq!(said(&["on", "pc2", "hostname"]), "pc2\n");
    assert_eq!(
        said(&["on", "pc1", "curl", "-sS", "www.example.net"]),
        "This is internet. You are 203.0.113.10.\n"
    );
    let speed = said(&["speed", "pc2", "--secs", "1"]);
    assert!(speed.starts_with("pc2 downloads at ") && speed.contains("bit/s and uploads at "), "{speed}");

    assert_eq!(said(&["fetch", "pc2"]), "There is no mail for bob@office.example.\n");
    let sent = "pc2 has sent a mail from bob@office.example to echo@example.net: \"A mail from pc2\"\n";
    assert_eq!(said(&["send", "pc2", "echo@example.net"]), sent);
    let mail = eventually("the mail that comes back", || {
        Some(said(&["fetch", "pc2"])).filter(|mail| !mail.starts_with("There is no mail"))
    });
    let seen = ["From: bob@office.example\n", "To: echo@example.net\n", "\nReceived: from smtp.example.net "];
    assert!(seen.iter().all(|seen| mail.contains(seen)), "{mail}");
    let refused = ask(&["send", "pc1", "nobody@office.example"]);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!((refused.status.code(), message.contains("550 5.1.1")), (Some(1), true), "{message}");

    assert_eq!(ask(&["on", "pc1", "false"]).status.code(), Some(1));
    for mistake in [&["on", "pc9"], &["speed", "internet"], &["show", "nothing"]] {
        assert_eq!(ask(mistake).status.code(), Some(2), "{mistake:?}");
    }
    kill(Pid::from_raw(lab.id().cast_signed()), Signal::SIGTERM).expect("it can be signalled");
    eventually("the end of the lab", || lab.try_wait().expect("it can be waited for"));
    let gone = ask(&["show", "leases"]);
    let message = String::from_utf8_lossy(&gone.stderr);
    assert_eq!((gone.status.code(), message.contains("no lab of yours")), (Some(1), true), "{message}");
    place.assert_untouched();
}

/// A terminal of 80 by 24 characters with a lab on it.
struct Terminal {
    lab: Child,
    screen: File,
    written: String,
}

impl Terminal {
    fn start(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("the system has terminals");
        let stream = || Stdio::from(pty.slave.try_clone().expect("it can be shared"));
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_gatepost"), "lab"]).args(arguments);
        place.prepare(&mut command).stdin(stream()).stdout(stream()).stderr(stream());
        command.env("TERM", "xterm").env_remove("NO_COLOR").envs(variables.iter().copied());
        let lab = command.spawn().expect("it runs");
        Self { lab, screen: pty.master.into(), written: String::new() }
    }

    /// Reads on; says whether there was more before the end.
    fn read(&mut self) -> bool {
        let mut ready = [PollFd::new(self.screen.as_fd(), PollFlags::POLLIN)];
        let events = poll(&mut ready, PollTimeout::from(30_000_u16)).expect("it can be waited for");
        assert_eq!(events, 1, "nothing more is written: {:?}", self.written);
        let mut buffer = [0; 4096];
        // Linux gives EIO when the last process has left the terminal.
        let len = self.screen.read(&mut buffer).unwrap_or(0);
        self.written += &String::from_utf8_lossy(&buffer[..len]);
        len > 0
    }

    /// Waits for a page that contains `text`; its lines without what sets colours.
    fn page_with(&mut self, text: &str) -> Vec<String> {
        loop {
            let whole = self.written.rsplit_once("\x1b[J").map_or("", |(whole, _)| whole);
            let page = whole.rsplit_once("\x1b[H").map_or("", |(_, page)| page);
            if page.contains(text) {
                return page.split("\x1b[K").map(plain).filter(|line| !line.is_empty()).collect();
            }
            assert!(self.read(), "{:?}", self.written);
        }
    }

    fn press(&mut self, key: u8) {
        self.screen.write_all(&[key]).expect("the terminal takes keys");
    }

    /// Everything written until the end of the lab, which is one in order.
    fn end(mut self) -> String {
        while self.read() {}
        let status = eventually("the end of the lab", || self.lab.try_wait().expect("it can be waited for"));
        assert!(status.success(), "{status}: {:?}", self.written);
        self.written
    }
}

/// A line without colours and ends of lines.
fn plain(line: &str) -> String {
    let mut pieces = line.split("\x1b[");
    let first = pieces.next().unwrap_or_default().to_owned();
    let text = pieces.fold(first, |text, piece| text + piece.split_once('m').map_or("", |(_, rest)| rest));
    text.trim_matches(['\r', '\n']).to_owned()
}

#[test]
fn all_of_it_is_on_one_page_of_80_by_24_and_q_ends_it() {
    let place = Place::new();
    let mut terminal = Terminal::start(&place, &[], &[]);
    let page = terminal.page_with("keys:");
    assert!(page.len() <= 24 && page.iter().all(|line| line.chars().count() <= 80), "{page:#?}");
    for expected in [
        "An office of 3 PCs",
        "✓ lease",
        "✓ speed",
        "lab on pc1",
        "lab show leases",
        "bit/s",
        "internet",
        "q quit",
    ] {
        assert!(page.iter().any(|line| line.contains(expected)), "no {expected}: {page:#?}");
    }
    assert!(terminal.written.contains("\x1b[32m✓"), "no colours: {:?}", terminal.written);
    terminal.press(b'c');
    let page = terminal.page_with("transmitted");
    assert!(page.len() <= 24, "{page:#?}");
    terminal.press(b's');
    terminal.page_with("pc1 downloads, then uploads");
    terminal.press(b'q');
    terminal.end();
    place.assert_untouched();
}

#[test]
fn no_colours_are_written_where_nobody_wants_them() {
    let place = Place::new();
    let shown = Terminal::start(&place, &["--check", "--hosts", "1"], &[("NO_COLOR", "1")]).end();
    assert!(shown.contains("✓ speed") && !shown.contains('\x1b'), "{shown:?}");
    let shown = Terminal::start(&place, &["--check", "--hosts", "1"], &[("TERM", "dumb")]).end();
    assert!(shown.contains("✓ speed") && !shown.contains('\x1b'), "{shown:?}");
    place.assert_untouched();
}

#[test]
fn a_capture_has_every_host_with_its_name() {
    let place = Place::new();
    let directory = Directory::new();
    let path = directory.join("lab.pcapng");
    let mut command = gatepost(&["lab", "--check", "--hosts", "2", "--capture"]);
    let output = place.prepare(command.arg(&path)).output().expect("it runs");
    assert_passed(&output);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains(&format!("{} has ", path.display())), "{shown}");
    let tshark =
        |arguments: &[&str]| crate::harness::run(Command::new("tshark").arg("-r").arg(&path).args(arguments));
    let acknowledged = tshark(&["-Y", "dhcp.option.dhcp == 5", "-T", "fields", "-e", "frame.interface_name"]);
    for host in ["pc1", "pc2", "internet"] {
        assert!(acknowledged.lines().any(|line| line == host), "{host}: {acknowledged}");
    }
    // Twice through the file: the names stand at its end.
    let web = tshark(&[
        "-2",
        "-N",
        "n",
        "-Y",
        "http.response",
        "-T",
        "fields",
        "-e",
        "ip.dst_host",
        "-e",
        "ip.src_host",
    ]);
    assert!(web.lines().any(|line| line == "pc1\twww.example.net"), "{web}");
    assert!(web.lines().any(|line| line == "gatepost-wan\twww.example.net"), "{web}");
    place.assert_untouched();
}

#[test]
fn a_capture_that_cannot_be_written_is_an_error_before_anything_is_built() {
    let place = Place::new();
    let mut command = gatepost(&["lab", "--check", "--capture", "/nonexistent/lab.pcapng"]);
    let output = place.prepare(&mut command).output().expect("it runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.starts_with("gatepost: cannot capture to /nonexistent/lab.pcapng: "), "{message}");
    assert!(output.stdout.is_empty(), "{output:?}");
}
