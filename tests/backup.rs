//! `gatepost backup` and `gatepost restore`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use gatepost_services::store::{Files, Storage};

const PASSPHRASE: &str = "seven tall birches";

/// A configuration with a state directory, of one test's own.
struct Office {
    directory: PathBuf,
}

impl Office {
    /// An office with nothing but room.
    fn new(name: &str) -> Self {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory of the test's");
        Self { directory }
    }

    fn text(&self) -> String {
        let state = self.directory.join("state");
        format!("# ours\n[system]\nstate_dir = {state:?}\n[[users]]\nname = 'anna'\n")
    }

    /// An office with a user who has a password.
    fn furnished(name: &str) -> Self {
        let office = Self::new(name);
        fs::write(office.config(), office.text()).expect("it can be written");
        let set = office.run(&["passwd", "anna", "--stdin"], "blue harbour 47");
        assert!(set.status.success(), "{}", told(&set));
        office
    }

    fn config(&self) -> PathBuf {
        self.directory.join("office.toml")
    }

    fn password(&self) -> Option<Vec<u8>> {
        fs::read(self.directory.join("state/passwords/anna.json")).ok()
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gatepost"))
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        // A command that refuses its arguments does not read.
        _ = writeln!(child.stdin.take().expect("it is piped"), "{input}");
        child.wait_with_output().expect("it ends")
    }

    fn back_up(&self, file: &Path) -> Output {
        self.run(&["backup", "--stdin", "-o", &file.display().to_string()], PASSPHRASE)
    }

    fn restore(&self, file: &Path, passphrase: &str) -> Output {
        self.run(&["restore", "--stdin", &file.display().to_string()], passphrase)
    }
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[test]
fn what_is_lost_comes_back() {
    let office = Office::furnished("backup-whole");
    let (file, password) = (office.directory.join("office.backup"), office.password());
    let made = office.back_up(&file);
    assert!(made.status.success() && made.stdout.is_empty(), "{}", told(&made));
    assert!(told(&made).contains("files are in the backup; mail is not"), "{}", told(&made));
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    let backup = fs::read(&file).expect("it is there");
    assert!(!backup.windows(4).any(|part| part == b"anna"), "it is encrypted");
    let piped = office.run(&["backup", "--stdin", "-o", "-"], PASSPHRASE);
    assert!(piped.stdout.starts_with(b"gatepost backup 1\n"), "{}", told(&piped));

    fs::remove_dir_all(office.directory.join("state")).expect("it is there");
    fs::remove_file(office.config()).expect("it is there");
    let checked = office.run(&["restore", "--check", "--stdin", &file.display().to_string()], PASSPHRASE);
    assert!(checked.status.success(), "{}", told(&checked));
    assert!(String::from_utf8_lossy(&checked.stdout).contains(" can be restored\n"), "{checked:?}");
    assert!(!office.config().exists() && office.password().is_none(), "it was only checked");

    let restored = office.restore(&file, PASSPHRASE);
    assert!(restored.status.success(), "{}", told(&restored));
    assert!(String::from_utf8_lossy(&restored.stdout).contains("are restored; start the gateway\n"));
    assert_eq!(fs::read_to_string(office.config()).expect("it is back"), office.text());
    assert_eq!(office.password(), password);
}

#[test]
fn what_cannot_be_restored_changes_nothing() {
    let office = Office::furnished("backup-refused");
    let file = office.directory.join("office.backup");
    assert!(office.back_up(&file).status.success());
    let backup = fs::read(&file).expect("it is there");
    let set = office.run(&["passwd", "anna", "--stdin"], "red harbour 48");
    assert!(set.status.success(), "{}", told(&set));
    fs::write(office.config(), office.text() + "# later\n").expect("it can be written");
    let (password, text) = (office.password(), fs::read_to_string(office.config()).ok());
    let refused = |what: &[u8], passphrase: &str, why: &str| {
        let other = office.directory.join("other.backup");
        fs::write(&other, what).expect("it can be written");
        let output = office.restore(&other, passphrase);
        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        assert!(told(&output).starts_with("gatepost: nothing is restored: "), "{}", told(&output));
        assert!(told(&output).contains(why), "{}", told(&output));
        assert_eq!(
            (office.password(), fs::read_to_string(office.config()).ok()),
            (password.clone(), text.clone())
        );
    };
    refused(&backup, "seven tall birch", "the passphrase is wrong");
    refused(&backup[..backup.len() - 1], PASSPHRASE, "the file is damaged");
    refused(&backup[..30], PASSPHRASE, "it is damaged");
    refused(b"PK\x03\x04", PASSPHRASE, "it is no backup of Gatepost's");
    let mut newer = backup.clone();
    newer["gatepost backup ".len()] = b'2';
    refused(&newer, PASSPHRASE, "it was made by a newer version");
    {
        let gateway = Files::open(&office.directory.join("state")).expect("nobody else has it");
        refused(&backup, PASSPHRASE, "in use by another gateway; stop the gateway");
        assert!(gateway.read("restore-under-way").expect("it can be read").is_none());
    }
    assert!(office.restore(&file, PASSPHRASE).status.success());
    assert_eq!(fs::read_to_string(office.config()).expect("it is back"), office.text());
    assert_ne!(office.password(), password);
}

#[test]
fn a_weak_passphrase_is_refused_and_the_former_backup_stays() {
    let office = Office::furnished("backup-weak");
    let file = office.directory.join("office.backup");
    fs::write(&file, "the former").expect("it can be written");
    for (passphrase, why) in
        [("short", "less than 10 characters"), ("gatepost2026", "a name"), ("", "it is empty")]
    {
        let output = office.run(&["backup", "--stdin", "-o", &file.display().to_string()], passphrase);
        assert_eq!(output.status.code(), Some(1), "{passphrase}");
        assert!(
            told(&output).starts_with("gatepost: no backup is made: ") && told(&output).contains(why),
            "{}",
            told(&output)
        );
    }
    let nowhere = office.run(&["backup", "--stdin", "-o", "/proc/none/backup"], PASSPHRASE);
    assert!(
        told(&nowhere).contains("/proc/none/backup: ") && !nowhere.status.success(),
        "{}",
        told(&nowhere)
    );
    assert_eq!(fs::read(&file).expect("it is there"), b"the former");
}
