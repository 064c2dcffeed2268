use std::cell::Cell;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use gatepost_services::clock::UnixTime;
use gatepost_services::store::{Memory, Storage, sealed};
use serde_json::{Value, json};

use super::restore::{Checked, JOURNAL, finish};
use super::{Archive, ENTRIES_MAX};
use crate::config::Config;

const TEXT: &str = "# the office\nusers = [{ name = 'anna' }]\n[mail]\nsmarthost = 'mail.isp.example'\n\
                    smarthost_user = 'office'\nsmarthost_password_file = 'secrets/isp'\n";

/// A folder with a configuration, of one test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gatepost-backup-{test}-{}", std::process::id()));
        _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a free path");
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("gatepost.toml")
    }

    fn text(&self) -> Option<String> {
        fs::read_to_string(self.file()).ok()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// What an office has stored.
fn state() -> Memory {
    let disk = Memory::new();
    let own = sealed::seal(br#"{"lan_mac":"02:00:00:00:00:01","wan_mac":"02:00:00:00:00:02"}"#);
    for (name, content) in [
        ("identity.json", &own[..]),
        ("decoys", &[7; 32]),
        ("passwords/decoys", &[8; 32]),
        ("later/service/file", b"of a service to come"),
        ("mail/segments/1", b"a letter"),
        ("dhcp-reserve", b"...."),
        ("identity.json.damaged-2", b"old"),
        ("passwords/anna.json.new", b"half"),
    ] {
        disk.write(name, content).expect("memory does not fail");
    }
    disk
}

fn gathered(folder: &Folder) -> (Archive, Vec<String>) {
    fs::create_dir_all(folder.0.join("secrets")).expect("a directory");
    fs::write(folder.0.join("secrets/isp"), "blue harbour\n").expect("a file");
    fs::write(folder.file(), TEXT).expect("a file");
    let config = Config::parse(&folder.file().display().to_string(), TEXT).expect("a configuration");
    Archive::gather((&config, TEXT), &folder.0, &state(), UnixTime(1)).expect("it can be read")
}

fn content(archive: &Archive) -> Vec<u8> {
    serde_json::to_vec(archive).expect("JSON")
}

/// The archive of an office after a change, as JSON.
fn forged(folder: &Folder, change: impl FnOnce(&mut Value)) -> String {
    let mut archive = serde_json::to_value(gathered(folder).0).expect("JSON");
    change(&mut archive);
    let content = archive.to_string();
    Checked::new(content.as_bytes(), &folder.file()).expect_err("it is refused").to_string()
}

#[test]
fn another_machine_becomes_the_same_office() {
    let (old, new) = (Folder::new("old"), Folder::new("new"));
    let (archive, left_out) = gathered(&old);
    assert_eq!((left_out, archive.files()), (Vec::new(), 6));
    let disk = Memory::new();
    for name in ["passwords/stranger.json", "mail/segments/9", "tls/own.json"] {
        disk.write(name, b"of this machine").expect("memory does not fail");
    }
    let checked = Checked::new(&content(&archive), &new.file()).expect("it is sound");
    assert_eq!(checked.missing(), [""; 0]);
    assert_eq!((new.text(), disk.list("").expect("names").len()), (None, 3), "nothing is written yet");
    checked.begin(&disk).expect("there is room");
    assert_eq!(finish(&disk, &new.file(), TEXT).map_err(|error| error.to_string()), Ok(true));
    assert_eq!(new.text().as_deref(), Some(TEXT));
    let secret = new.0.join("secrets/isp");
    assert_eq!(fs::read(&secret).expect("it is restored"), b"blue harbour\n");
    assert_eq!(fs::metadata(&secret).expect("it is there").permissions().mode() & 0o777, 0o600);
    assert_eq!(disk.list("").expect("names"), ["decoys", "identity.json", "later", "mail", "passwords"]);
    assert_eq!(disk.list("passwords").expect("names"), ["decoys"], "a user of this machine is gone");
    assert_eq!(disk.read("mail/segments/9").expect("read").expect("mail stays"), b"of this machine");
    for name in ["decoys", "passwords/decoys", "identity.json", "later/service/file"] {
        assert_eq!(disk.read(name).expect("read"), state().read(name).expect("read"), "{name}");
    }
    assert!(!finish(&disk, &new.file(), TEXT).expect("nothing to do"), "once");
}

/// A storage whose power goes at the write with this number.
struct Failing {
    disk: Memory,
    left: Mutex<usize>,
}

impl Failing {
    fn cut(&self) -> io::Result<()> {
        let mut left = self.left.lock().expect("one thread");
        *left = left.checked_sub(1).ok_or(io::ErrorKind::Other)?;
        Ok(())
    }
}

impl Storage for Failing {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.disk.read(name)
    }
    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        self.disk.read_at(name, offset, len)
    }
    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        self.disk.len(name)
    }
    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        self.disk.list(name)
    }
    fn space(&self) -> io::Result<u64> {
        self.disk.space()
    }
    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.cut().and_then(|()| self.disk.write(name, content))
    }
    fn append(&self, name: &str, record: &[u8]) -> io::Result<()> {
        self.cut().and_then(|()| self.disk.append(name, record))
    }
    fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        self.cut().and_then(|()| self.disk.rename(name, to))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.cut().and_then(|()| self.disk.remove(name))
    }
    fn sync(&self, name: &str) -> io::Result<()> {
        self.disk.sync(name)
    }
}

#[test]
fn after_a_power_cut_at_any_write_the_office_is_the_old_or_the_new() {
    const FORMER: &str = "system.hostname = 'former'\n";
    let (old, new) = (Folder::new("cut-old"), Folder::new("cut-new"));
    let (archive, _) = gathered(&old);
    let is_through = Cell::new(false);
    let mut outcomes = [0, 0];
    for left in 0.. {
        _ = fs::remove_dir_all(new.0.join("secrets"));
        fs::write(new.file(), FORMER).expect("a file");
        let disk = Failing { disk: Memory::new(), left: Mutex::new(left) };
        disk.disk.write("decoys", b"of this machine").expect("memory does not fail");
        let checked = Checked::new(&content(&archive), &new.file()).expect("it is sound");
        if checked.begin(&disk).is_ok() {
            is_through.set(finish(&disk, &new.file(), TEXT).is_ok());
        }
        // The next start.
        let (disk, text) = (disk.disk, new.text().expect("the file is whole"));
        finish(&disk, &new.file(), &text).expect("the disk is well again");
        let decoys = disk.read("decoys").expect("read").expect("it is there");
        let is_new = text == TEXT;
        assert_eq!(text, if is_new { TEXT } else { FORMER });
        assert_eq!(decoys, if is_new { &[7; 32][..] } else { b"of this machine" }, "after {left} writes");
        assert_eq!(new.0.join("secrets/isp").exists(), is_new);
        assert_eq!(disk.read("identity.json").expect("read").is_some(), is_new);
        assert!(disk.read(JOURNAL).expect("read").is_none());
        assert!(fs::read_dir(&new.0).expect("names").count() <= 2, "nothing is left beside the file");
        outcomes[usize::from(is_new)] += 1;
        if is_through.get() {
            break;
        }
    }
    assert!(outcomes[0] > 1 && outcomes[1] > 4, "{outcomes:?}");
}

#[test]
fn no_name_in_an_archive_leads_elsewhere() {
    let folder = Folder::new("names");
    for name in [
        "../passwd",
        "/etc/passwd",
        "a/../../b",
        "mail/segments/1",
        "mail",
        JOURNAL,
        ".lock",
        "a/b/c/d/e",
        "",
    ] {
        let told = forged(&folder, |archive| archive["state"][name] = json!(""));
        assert!(told.contains(&format!("{name:?} is no file of the state")), "{told}");
    }
    let folder = Folder::new("names-beside");
    for name in ["../passwd", "/etc/passwd", "gatepost.toml", "secrets/../secrets/isp", "other", ""] {
        let told = forged(&folder, |archive| archive["beside"][name] = json!(""));
        assert!(told.contains(&format!("the configuration names no file {name:?}")), "{told}");
    }
    // A configuration that names a file above its folder does not make it a file of the backup.
    let told = forged(&folder, |archive| {
        archive["configuration"] = json!(TEXT.replace("secrets/isp", "../isp"));
        archive["beside"] = json!({ "../isp": "" });
    });
    assert!(told.contains("the configuration names no file \"../isp\""), "{told}");
}

#[test]
fn a_file_that_is_there_is_never_replaced() {
    let (old, new) = (Folder::new("there-old"), Folder::new("there-new"));
    let archive = content(&gathered(&old).0);
    fs::create_dir_all(new.0.join("secrets")).expect("a directory");
    fs::write(new.0.join("secrets/isp"), "blue harbour\n").expect("a file");
    Checked::new(&archive, &new.file()).expect("it is the same");
    fs::write(new.0.join("secrets/isp"), "another").expect("a file");
    let told = Checked::new(&archive, &new.file()).expect_err("it is another").to_string();
    assert!(
        told.contains("secrets/isp is there already, and is not as in the backup; move it away"),
        "{told}"
    );
    fs::remove_file(new.0.join("secrets/isp")).expect("it is there");
    std::os::unix::fs::symlink("/etc/hostname", new.0.join("secrets/isp")).expect("a link");
    Checked::new(&archive, &new.file()).expect_err("a link may lead elsewhere");
}

#[test]
fn what_is_not_sound_is_refused_whole() {
    let folder = Folder::new("sound");
    for (change, why) in [
        (json!({ "configuration": "[lan]\nadress = 1" }), "adress"),
        (json!({ "state": { "identity.json": "MiAwMDAwMDAwMCBb" } }), "identity.json: "),
        (json!({ "state": { "decoys": "no base64!" } }), "the archive is not understood"),
        (json!({ "later": 1 }), "the archive is not understood"),
    ] {
        let told = forged(&folder, |archive| {
            for (key, value) in change.as_object().expect("keys") {
                archive[key] = value.clone();
            }
        });
        assert!(told.contains(why), "{told}");
    }
    let told = forged(&folder, |archive| {
        archive["state"] =
            (0..=ENTRIES_MAX).map(|n| (format!("f{n}"), json!(""))).collect::<serde_json::Map<_, _>>().into();
    });
    assert!(told.contains("more than 4096 files"), "{told}");
    for content in [&b""[..], b"{}", b"[]", b"\xff"] {
        Checked::new(content, &folder.file()).expect_err("it is no archive");
    }
}

#[test]
fn what_a_backup_does_not_have_is_told() {
    let folder = Folder::new("left-out");
    let text =
        TEXT.replace("secrets/isp", "/etc/gatepost-elsewhere/isp") + "[tls]\nauthorities = 'missing.pem'\n";
    fs::write(folder.file(), &text).expect("a file");
    let config = Config::parse(&folder.file().display().to_string(), &text).expect("a configuration");
    let disk = state();
    disk.write("identity.json", b"2 00000000 {}").expect("memory does not fail");
    let (archive, left_out) =
        Archive::gather((&config, &text), &folder.0, &disk, UnixTime(1)).expect("it can be read");
    assert_eq!(left_out.len(), 3, "{left_out:?}");
    assert!(left_out[0].starts_with("identity.json is left out: its checksum is wrong"), "{left_out:?}");
    assert!(left_out[1].contains("missing.pem is left out: "), "{left_out:?}");
    assert!(left_out[2].contains("/etc/gatepost-elsewhere/isp is left out: it is not in"), "{left_out:?}");
    let checked = Checked::new(&content(&archive), &folder.file()).expect("it is sound");
    assert_eq!(checked.missing().len(), 2, "{:?}", checked.missing());
}

#[test]
fn a_journal_of_another_configuration_is_removed() {
    let folder = Folder::new("journal");
    let disk = Memory::new();
    let checked = Checked::new(&content(&gathered(&folder).0), &folder.file()).expect("it is sound");
    checked.begin(&disk).expect("there is room");
    assert!(!finish(&disk, &folder.file(), "").expect("it is readable"));
    assert_eq!(disk.list("").expect("names"), [""; 0]);
    disk.write(JOURNAL, b"2 00000000 {}").expect("memory does not fail");
    finish(&disk, &folder.file(), "").expect_err("it is damaged");
    assert!(!finish(&Memory::new(), Path::new("x"), "").expect("there is none"));
}
