//! `gatepost passwd`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The result of a run of the program.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// A configuration with a state directory, of one test's own.
struct Office {
    directory: PathBuf,
}

impl Office {
    fn new(name: &str) -> Self {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory of the test's");
        let state = directory.join("state");
        let text =
            format!("[system]\nstate_dir = {state:?}\n[[users]]\nname = 'anna'\n[[users]]\nname = 'berta'\n");
        fs::write(directory.join("office.toml"), text).expect("it can be written");
        Self { directory }
    }

    fn config(&self) -> String {
        self.directory.join("office.toml").display().to_string()
    }

    fn kept(&self, user: &str) -> Option<String> {
        fs::read_to_string(self.directory.join(format!("state/passwords/{user}.json"))).ok()
    }

    /// Sets the password of `user` from a line of stdin.
    fn passwd(&self, user: &str, input: &[u8]) -> Outcome {
        run(
            Command::new(env!("CARGO_BIN_EXE_gatepost")).args([
                "passwd",
                user,
                "--stdin",
                "--config",
                &self.config(),
            ]),
            input,
        )
    }

    fn check_state(&self) -> Outcome {
        run(Command::new(env!("CARGO_BIN_EXE_gatepost")).args(["check", "--state", &self.config()]), b"")
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.directory);
    }
}

fn run(command: &mut Command, input: &[u8]) -> Outcome {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("it starts");
    // A program that has said no does not read.
    _ = child.stdin.take().expect("a pipe").write_all(input);
    let output = child.wait_with_output().expect("it ends");
    let text = |octets| String::from_utf8(octets).expect("UTF-8");
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn a_password_is_kept_as_verifiers_and_can_be_changed() {
    let office = Office::new("passwd-kept");
    let told = office.passwd("anna", b"blue harbour 47\n");
    let done = |user: &str| Outcome {
        code: Some(0),
        stdout: format!("the password of {user} is set\n"),
        stderr: String::new(),
    };
    assert_eq!(told, done("anna"));
    let first = office.kept("anna").expect("it is kept");
    assert!(first.contains("\"memory_kib\":19456") && first.contains("scram_sha_256"), "{first}");
    assert!(!first.contains("harbour"));
    let file = office.directory.join("state/passwords/anna.json");
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);

    assert_eq!(office.passwd("anna", b"blue harbour 47\n"), done("anna"));
    assert_ne!(office.kept("anna").as_ref(), Some(&first), "salts are new");
    assert_eq!(office.passwd("berta", b"red harbour 48"), done("berta"));

    assert_eq!(office.check_state().code, Some(0));
    fs::write(&file, first.replace("19456", "19457")).expect("it can be written");
    let told = office.check_state();
    assert_eq!(told.code, Some(1));
    assert!(told.stdout.contains("state/passwords/anna.json: its checksum is wrong"), "{told:?}");
}

#[test]
fn what_is_wrong_is_told_and_the_former_password_stays() {
    let office = Office::new("passwd-refused");
    office.passwd("anna", b"blue harbour 47\n");
    let before = office.kept("anna");
    assert!(before.is_some());
    for (input, reason) in [
        (&b""[..], "nothing came by stdin"),
        (b"\n", "it is empty"),
        (b"changeme123\n", "everybody tries first"),
        (b"blue\0harbour 47\n", "control character"),
        (b"blue\xff harbour 47\n", "not UTF-8"),
        (&[b'x'; 70_000], "more than 1024 octets"),
    ] {
        let told = office.passwd("anna", input);
        assert_eq!((told.code, told.stdout.as_str()), (Some(1), ""), "{told:?}");
        assert!(told.stderr.starts_with("gatepost: the password is not set: "), "{told:?}");
        assert!(told.stderr.contains(reason) && told.stderr.lines().count() == 1, "{told:?}");
    }
    assert_eq!(office.kept("anna"), before);
    let told = office.passwd("clara", b"blue harbour 47\n");
    let expected = format!(
        "gatepost: there is no user \"clara\" in {}: it knows anna, berta; \
         write [[users]] with that name there, or name another\n",
        office.config()
    );
    assert_eq!((told.code, told.stderr), (Some(2), expected));
    let told = office.passwd("../anna", b"blue harbour 47\n");
    assert_eq!(told.code, Some(2));
}

#[test]
fn a_state_directory_that_cannot_be_written_is_told() {
    let office = Office::new("passwd-unwritable");
    fs::write(office.directory.join("state"), "a file").expect("it can be written");
    let told = office.passwd("anna", b"blue harbour 47\n");
    assert_eq!(told.code, Some(1));
    assert!(told.stderr.contains("state/passwords/anna.json: "), "{told:?}");
}

/// `setsid` leaves the process without a terminal; `script` gives it one.
#[test]
fn it_asks_twice_on_a_terminal_without_showing_what_is_typed() {
    let office = Office::new("passwd-terminal");
    let program = env!("CARGO_BIN_EXE_gatepost");
    let without = run(
        Command::new("setsid").args(["-w", program, "passwd", "anna", "--config", &office.config()]),
        b"",
    );
    assert_eq!(without.code, Some(1));
    assert!(
        without.stderr.contains("no terminal") && without.stderr.contains("write --stdin"),
        "{without:?}"
    );
    let on_terminal = |typed: &[u8]| {
        let shell = format!("'{program}' passwd anna --config '{}'", office.config());
        run(Command::new("script").args(["-q", "-e", "-c", &shell, "/dev/null"]), typed)
    };
    let differ = on_terminal(b"blue harbour 47\nblue harbour 48\n");
    assert_eq!(differ.code, Some(1));
    assert!(differ.stdout.contains("the two differ") && office.kept("anna").is_none(), "{differ:?}");
    let same = on_terminal(b"blue harbour 47\nblue harbour 47\n");
    assert_eq!(same.code, Some(0), "{same:?}");
    assert!(same.stdout.contains("New password of anna: ") && same.stdout.contains("The same again: "));
    assert!(office.kept("anna").is_some());
}
