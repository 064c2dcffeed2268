//! `gatepost mail`: messages come in as files and go out as the same files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use serde_json::Value;

/// A state directory and files of a test's own.
struct Office {
    directory: PathBuf,
    config: String,
}

impl Office {
    fn new(name: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mail-{name}"));
        _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory");
        let config = directory.join("gatepost.toml");
        let state = directory.join("state");
        let users = "[[users]]\nname = 'anna'\n[[users]]\nname = 'bert'\nquota = '1 MiB'\n";
        let text = format!("[system]\nstate_dir = '{}'\n{users}", state.display());
        fs::write(&config, text).expect("a file");
        Self { config: config.to_str().expect("UTF-8").to_owned(), directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Runs `gatepost mail` with these arguments.
    fn mail(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
        command.current_dir(&self.directory).arg("mail").args(arguments).args(["--config", &self.config]);
        Outcome::of(&command.output().expect("it starts"))
    }

    /// Runs it with `--json`, to its end, and returns its output.
    fn json(&self, arguments: &[&str]) -> Value {
        let outcome = self.mail(&[arguments, &["--json"]].concat());
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        serde_json::from_str(&outcome.stdout).expect("JSON")
    }

    /// The only segment's file, below the state directory.
    fn segment(&self) -> String {
        let all = fs::read_dir(self.path("state/mail/segments")).expect("it is there");
        let mut names: Vec<_> = all.map(|file| file.expect("an entry").file_name()).collect();
        names.sort_unstable();
        format!("mail/segments/{}", names[0].to_str().expect("UTF-8"))
    }
}

#[derive(Debug)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn of(output: &Output) -> Self {
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).expect("UTF-8");
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// A message in a file of a Maildir: the octets, and when it was accepted.
type Message = (Vec<u8>, u64);

/// Writes a message as another program does.
fn put(path: &Path, octets: &[u8], time: u64) {
    fs::create_dir_all(path.parent().expect("a directory")).expect("it is made");
    fs::write(path, octets).expect("a file");
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(time);
    File::options().write(true).open(path).and_then(|file| file.set_modified(changed)).expect("a time");
}

/// All messages of a Maildir: by the folder's directory, `cur` or `new`, and the flags; sorted.
fn messages(root: &Path) -> BTreeMap<(String, String, String), Vec<Message>> {
    let mut all: BTreeMap<_, Vec<Message>> = BTreeMap::new();
    let folders = fs::read_dir(root).expect("it is there").map(|entry| entry.expect("an entry").file_name());
    let folders = folders.map(|name| name.into_string().expect("UTF-8")).filter(|name| name.starts_with('.'));
    for folder in folders.chain([String::new()]) {
        for sub in ["cur", "new", "tmp"] {
            let Ok(files) = fs::read_dir(root.join(&folder).join(sub)) else { continue };
            for file in files {
                let file = file.expect("an entry");
                let name = file.file_name().into_string().expect("UTF-8");
                let flags = name.split_once(":2,").map_or("", |(_, flags)| flags).to_owned();
                let changed = file.metadata().and_then(|metadata| metadata.modified()).expect("a time");
                let secs = changed.duration_since(SystemTime::UNIX_EPOCH).expect("later").as_secs();
                let message = (fs::read(file.path()).expect("a file"), secs);
                all.entry((folder.clone(), sub.to_owned(), flags)).or_default().push(message);
            }
        }
    }
    all.values_mut().for_each(|messages| messages.sort());
    all
}

/// A Maildir with all that one can have, a message too large for a record among it.
fn maildir(office: &Office) -> PathBuf {
    let root = office.path("Maildir");
    put(&root.join("cur/1.a.host:2,S"), b"Subject: one\n\nFrom here\n>From there\n", 1_000_000_000);
    put(&root.join("cur/2.b.host:2,DFRST"), b"Subject: two\n\nno end", 1_000_000_001);
    put(&root.join("new/3.c.host"), b"Subject: three\n\n\xff\0\n", 1_000_000_002);
    let large: Vec<u8> =
        b"Subject: large\n\n".iter().copied().chain(b"0123456789abcde\n".repeat(50_000)).collect();
    put(&root.join(".Sent/cur/4.d.host:2,R"), &large, 1_000_000_003);
    put(&root.join(".B&APw-ro.Alt/new/5.e.host"), b"Subject: one\n\nFrom here\n>From there\n", 1_000_000_004);
    fs::create_dir_all(root.join(".Empty/cur")).expect("it is made");
    root
}

#[test]
fn a_maildir_comes_back_with_octets_flags_folders_and_times() {
    let office = Office::new("maildir");
    let root = maildir(&office);
    let imported = office.json(&["import", "anna", "Maildir"]);
    assert_eq!((imported["imported"].as_u64(), imported["already_there"].as_u64()), (Some(5), Some(0)));
    let exported = office.json(&["export", "anna", "--maildir", "out"]);
    assert_eq!((exported["exported"].as_u64(), exported["unchanged"].as_u64()), (Some(5), Some(0)));
    assert_eq!(messages(&office.path("out")), messages(&root));
    assert!(office.path("out/.Empty/cur").is_dir());

    let again = office.json(&["import", "anna", "Maildir"]);
    assert_eq!((again["imported"].as_u64(), again["already_there"].as_u64()), (Some(0), Some(5)));
    let again = office.json(&["export", "anna", "--maildir", "out"]);
    assert_eq!((again["exported"].as_u64(), again["unchanged"].as_u64()), (Some(0), Some(5)));
    assert_eq!(messages(&office.path("out")), messages(&root));
}

#[test]
fn an_mbox_comes_back_and_so_do_flags_and_folders() {
    let office = Office::new("mbox");
    let root = maildir(&office);
    office.json(&["import", "anna", "Maildir"]);
    office.json(&["export", "anna", "--mbox", "anna.mbox"]);
    let text = String::from_utf8_lossy(&fs::read(office.path("anna.mbox")).expect("a file")).into_owned();
    let start = "From MAILER-DAEMON Sun Sep  9 01:46:40 2001\nStatus: RO\nX-Status: \nX-Folder: INBOX\n\
                 Subject: one\n\n>From here\n>>From there\n\nFrom MAILER-DAEMON ";
    assert!(text.starts_with(start), "{}", &text[..200]);
    let imported = office.json(&["import", "bert", "anna.mbox"]);
    assert_eq!(imported["imported"].as_u64(), Some(5));
    office.json(&["export", "bert", "--maildir", "out"]);
    let mut expected = messages(&root);
    let unended =
        &mut expected.get_mut(&(String::new(), "cur".to_owned(), "DFRST".to_owned())).expect("it")[0].0;
    unended.push(b'\n');
    assert_eq!(messages(&office.path("out")), expected, "an mbox ends each line");
    let again = office.json(&["import", "bert", "anna.mbox"]);
    assert_eq!((again["imported"].as_u64(), again["already_there"].as_u64()), (Some(0), Some(5)));

    let outcome = office.mail(&["export", "anna", "--mbox", "anna.mbox"]);
    assert_eq!(outcome.code, Some(1), "what is there is not overwritten: {}", outcome.stderr);
}

#[test]
fn one_message_is_imported_and_told_in_words() {
    let office = Office::new("message");
    put(&office.path("a.eml"), b"Subject: one\r\n\r\nFrom here\r\n", 1_000_000_000);
    let told = office.mail(&["import", "anna", "a.eml"]);
    assert_eq!(
        (told.code, told.stdout.as_str(), told.stderr.as_str()),
        (Some(0), "anna: 1 message imported\n", "")
    );
    let told = office.mail(&["import", "anna", "a.eml"]);
    assert_eq!(told.stdout, "anna: 0 messages imported, 1 was there already\n");
    let told = office.mail(&["export", "anna", "--maildir", "out"]);
    assert_eq!((told.code, told.stdout.as_str()), (Some(0), "out: 1 message exported\n"));
    let key = (String::new(), "new".to_owned(), String::new());
    let out = messages(&office.path("out"));
    assert_eq!(out[&key], [(b"Subject: one\n\nFrom here\n".to_vec(), 1_000_000_000)]);
    let told = office.mail(&["check"]);
    let sums = "mail: 1 message, 27 B, in 1 mailbox; 0 in the queue\n";
    assert_eq!((told.code, told.stdout.as_str()), (Some(0), sums));
}

#[test]
fn messages_are_listed_searched_and_shown() {
    let office = Office::new("reading");
    maildir(&office);
    let price = b"From: =?utf-8?q?Zo=C3=AB?= <z@b.example>\nSubject: offer\nContent-Transfer-Encoding: base64\n\nUHJlaXM6IDE3IFRhbGVy\n";
    put(&office.path("offer"), price, 1_500_000_000);
    office.json(&["import", "anna", "Maildir"]);
    office.json(&["import", "anna", "offer"]);
    let listed = office.json(&["list", "anna"]);
    let messages = listed["messages"].as_array().expect("a list");
    let uid_of = |subject: &str| {
        let found = messages.iter().find(|message| message["subject"] == subject);
        found.expect(subject)["uid"].to_string()
    };
    let two = messages.iter().find(|message| message["subject"] == "two").expect("it is listed");
    assert_eq!((&two["received"], &two["folder"]), (&1_000_000_001.into(), &"INBOX".into()));
    let flags = ["seen", "answered", "flagged", "deleted", "draft"];
    assert_eq!(two["flags"], Value::from(&flags[..]), "{listed}");
    assert!(messages.iter().any(|message| message["folder"] != "INBOX"), "{listed}");
    let table = office.mail(&["list", "anna"]);
    assert_eq!(table.stdout.lines().count(), messages.len() + 1);
    assert!(table.stdout.contains("Fri Jul 14 02:40:00 2017") && table.stdout.contains("Zoë <z@b.example>"));

    let found = |text: &str| {
        let found = office.json(&["search", "anna", text])["messages"].clone();
        let subjects = found.as_array().expect("a list").iter().map(|message| message["subject"].clone());
        subjects.collect::<Vec<_>>()
    };
    assert_eq!(found("17 taler"), ["offer"]);
    assert_eq!(found("from THERE"), ["one", "one"], "in two folders");
    assert_eq!(found("UHJlaXM"), [] as [&str; 0]);

    let shown = office.mail(&["show", "anna", &uid_of("offer")]);
    assert_eq!(shown.stdout.replace("\r\n", "\n").as_bytes(), price);
    let shown = office.json(&["show", "anna", &uid_of("offer")]);
    assert_eq!((&shown["text"], &shown["mailbox"]), (&"Preis: 17 Taler".into(), &"anna".into()));
    let outcome = office.mail(&["show", "anna", "77"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("write a number that `gatepost mail list` has"), "{}", outcome.stderr);
    let outcome = office.mail(&["show", "anna", "x"]);
    assert!(
        outcome.stderr.contains("\"x\" is no number of a message; see `gatepost mail show --help`"),
        "{outcome:?}"
    );
    let outcome = office.mail(&["list", "claire"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("there is no such mailbox, but anna; name one"), "{}", outcome.stderr);
}

/// The commands that need mail.
const OF_MAIL: [&[&str]; 9] = [
    &["aliases", "anna"],
    &["list", "anna"],
    &["show", "anna", "1"],
    &["search", "anna", "x"],
    &["trace", "1"],
    &["deliver", "anna"],
    &["poll"],
    &["queue"],
    &["queue", "hold", "1"],
];

#[test]
fn without_mail_all_commands_that_need_it_say_the_same() {
    let office = Office::new("off");
    for (text, why) in [
        (
            "",
            "there is nobody to have any; write a user, such as [[users]] with name = \"alice\", and leave mail.enabled out",
        ),
        (
            "users = [{ name = 'anna' }]\nmail.enabled = false\n",
            "mail.enabled is false; write mail.enabled = true",
        ),
    ] {
        let state = office.path("state");
        fs::write(
            &office.config,
            format!("{text}[system]\nstate_dir = '{0}'\ncontrol_socket = '{0}.sock'\n", state.display()),
        )
        .expect("a file");
        for command in OF_MAIL {
            let told = office.mail(command);
            let expected = format!("mail is off: {why}");
            assert_eq!((told.code, told.stdout.as_str()), (Some(69), ""), "{command:?}");
            assert_eq!(told.stderr, format!("gatepost: {expected}\n"), "{command:?}");
            let told = office.mail(&[command, &["--json"]].concat());
            let report: Value = serde_json::from_str(&told.stdout).expect("JSON");
            assert_eq!((told.code, &report["errors"][0]), (Some(69), &expected.into()), "{command:?}");
        }
    }
}

#[test]
fn a_recipient_that_is_no_text_is_wrong_usage() {
    let mut deliver = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    let outcome =
        deliver.args(["mail", "deliver"]).arg(OsStr::from_bytes(b"\xff")).output().expect("it starts");
    let told = Outcome::of(&outcome);
    assert_eq!(told.code, Some(64), "as sendmail says: {}", told.stderr);
    assert!(told.stderr.contains("gatepost mail deliver --help"), "{}", told.stderr);
}

/// What is left of mail that was switched off can still be read.
#[test]
fn the_mail_of_a_store_is_read_though_mail_is_off() {
    let office = Office::new("left");
    put(&office.path("one.eml"), b"Subject: left\n\nit is here\n", 1);
    office.mail(&["import", "anna", "one.eml"]);
    let state = office.path("state");
    let off = format!("mail.enabled = false\n[system]\nstate_dir = '{}'\n", state.display());
    fs::write(&office.config, off).expect("a file");
    assert_eq!(office.mail(&["list", "anna"]).code, Some(0));
    assert!(office.mail(&["show", "anna", "1"]).stdout.contains("it is here"));
    assert_eq!(office.mail(&["aliases", "anna"]).code, Some(69));
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_imported() {
    let office = Office::new("unreadable");
    put(&office.path("Maildir/new/1.a"), b"Subject: one\n", 1);
    put(&office.path("Maildir/new/2.b"), b"", 1);
    fs::create_dir_all(office.path("Maildir/new/3.c")).expect("a directory");
    put(&office.path("Maildir/new/4.d"), b"Subject: four\n", 1);
    let told = office.mail(&["import", "anna", "Maildir"]);
    assert_eq!(told.stderr, "gatepost: Maildir/new/3.c is not imported: it is no file, or a link to one\n");
    let sums = "anna: 2 messages imported, 1 empty one left out\n";
    assert_eq!((told.code, told.stdout.as_str()), (Some(1), sums));
}

#[test]
fn what_the_files_have_twice_is_imported_twice_and_strange_folders_are_told() {
    let office = Office::new("twice");
    for file in ["cur/1.a:2,S", "new/2.b", "Drafts/cur/3.c", "..x/new/4.d"] {
        put(&office.path("Maildir").join(file), b"Subject: one\n", 1);
    }
    let told = office.mail(&["import", "anna", "Maildir"]);
    let strange = |name: &str| {
        format!(
            "gatepost: Maildir/{name} is not imported: the name of a folder's directory begins with one dot\n"
        )
    };
    assert_eq!(told.stderr, strange("..x") + &strange("Drafts"));
    assert_eq!((told.code, told.stdout.as_str()), (Some(1), "anna: 2 messages imported\n"));
    let again = office.mail(&["import", "anna", "Maildir"]);
    assert_eq!(again.stdout, "anna: 0 messages imported, 2 were there already\n");
    put(&office.path("Maildir/new/5.e"), b"Subject: one\n", 1);
    let again = office.mail(&["import", "anna", "Maildir"]);
    assert_eq!(again.stdout, "anna: 1 message imported, 2 were there already\n");
}

#[test]
fn wrong_arguments_are_told_with_the_remedy() {
    let office = Office::new("wrong");
    fs::create_dir(office.path("plain")).expect("a directory");
    fs::write(office.path("plain/file"), "").expect("a file");
    let told = |arguments: &[&str]| {
        let outcome = office.mail(arguments);
        assert_eq!(outcome.stdout, "", "{arguments:?}");
        (outcome.code, outcome.stderr)
    };
    let failed = |text: &str| (Some(1), format!("gatepost: {text}\n"));
    let remedy = "name a Maildir, an mbox or a file with a message";
    assert_eq!(
        told(&["import", "anna", "plain"]),
        failed(&format!("cannot import plain: a directory without cur and new is no Maildir; {remedy}"))
    );
    assert_eq!(
        told(&["import", "anna", "plain/file"]),
        failed(&format!("cannot import plain/file: it is empty; {remedy}"))
    );
    let (code, stderr) = told(&["import", "Anna Müller", "plain"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.starts_with("gatepost: there is no user \"Anna Müller\" in "), "{stderr}");
    assert!(stderr.contains(": it knows anna, bert; "), "{stderr}");
    assert_eq!(
        told(&["export", "anna", "--mbox", "x"]),
        failed("cannot export the mailbox anna: there is no mailbox yet; name one that there is")
    );
    assert_eq!(
        told(&["export", "anna", "--maildir", "plain"]),
        failed("cannot export to plain: it is no Maildir, and not empty; name a new file or directory")
    );
    assert_eq!(told(&["export", "anna"]).0, Some(2));
    assert_eq!(told(&["import", "anna"]).0, Some(2));
}

#[test]
fn a_store_in_use_is_not_written_to_and_can_be_looked_at() {
    let office = Office::new("in-use");
    put(&office.path("a.eml"), b"Subject: one\n", 1);
    office.json(&["import", "anna", "a.eml"]);
    let lock = File::open(office.path("state")).expect("a directory");
    lock.lock().expect("nobody has it");
    let told = office.mail(&["import", "anna", "a.eml"]);
    let why = format!(
        "gatepost: cannot use the state directory {}: in use by another gateway; stop the gateway, or wait for another import, and import then\n",
        office.path("state").display()
    );
    assert_eq!((told.code, told.stdout.as_str(), told.stderr), (Some(1), "", why));
    assert_eq!(office.mail(&["check"]).code, Some(0));
    assert_eq!(office.json(&["export", "anna", "--mbox", "x"])["exported"].as_u64(), Some(1));
}

/// Changes an octet of the file at an offset.
fn flip(path: &Path, offset: usize) {
    let mut octets = fs::read(path).expect("a file");
    octets[offset] ^= 1;
    fs::write(path, octets).expect("it is written");
}

#[test]
fn a_damaged_record_is_told_with_its_place_and_the_rest_is_exported() {
    let office = Office::new("damaged");
    for number in 1..=3 {
        put(
            &office.path(&format!("Maildir/new/{number}.a")),
            format!("Subject: mail {number}\n").as_bytes(),
            1,
        );
    }
    office.json(&["import", "anna", "Maildir"]);
    let segment = office.segment();
    let path = office.path("state").join(&segment);
    let octets = fs::read(&path).expect("a file");
    let at = octets.windows(6).position(|window| window == b"mail 2").expect("it is there");
    flip(&path, at);
    let before = fs::read(&path).expect("a file");

    let told = office.mail(&["check"]);
    let mut lines = told.stdout.lines();
    let line = lines.next().expect("a line");
    assert!(line.starts_with(&format!("{}: ", path.display())), "{line}");
    assert!(line.ends_with(" are no records; what they said is lost, the rest is not"), "{line}");
    let sums = "mail: 2 messages, 34 B, in 1 mailbox; 0 in the queue";
    assert_eq!((told.code, lines.collect::<Vec<_>>()), (Some(1), vec![sums]));
    let json: Value = serde_json::from_str(&office.mail(&["check", "--json"]).stdout).expect("JSON");
    let damage = &json["segments"][0];
    assert_eq!((damage["file"].as_str(), damage["is_at_end"].as_bool()), (Some(&*segment), Some(false)));
    let (offset, len) =
        (damage["offset"].as_u64().expect("a number"), damage["octets"].as_u64().expect("one"));
    assert!((offset..offset + len).contains(&(at as u64)), "{damage}");
    assert_eq!(json["messages"].as_u64(), Some(2));
    assert_eq!(office.json(&["export", "anna", "--maildir", "out"])["exported"].as_u64(), Some(2));
    assert_eq!(fs::read(&path).expect("a file"), before, "nothing is changed");

    let program = env!("CARGO_BIN_EXE_gatepost");
    let output =
        Command::new(program).args(["check", "--state", &office.config]).output().expect("it starts");
    let state = Outcome::of(&output);
    assert_eq!((state.code, state.stdout.lines().last()), (Some(1), Some(line)), "the same words");
}

#[test]
fn a_damaged_large_body_is_told_and_not_exported() {
    let office = Office::new("damaged-body");
    maildir(&office);
    office.json(&["import", "anna", "Maildir"]);
    let body = fs::read_dir(office.path("state/mail/bodies")).expect("it").next().expect("one").expect("it");
    flip(&body.path(), 500_000);
    let told = office.mail(&["check"]);
    let line = format!("{}: it is not what was written; it is the body of message ", body.path().display());
    assert!(told.stdout.starts_with(&line), "{}", told.stdout);
    assert_eq!(told.code, Some(1));
    for target in [["--maildir", "out"], ["--mbox", "out.mbox"]] {
        let told = office.mail(&[&["export", "anna"], &target[..]].concat());
        assert_eq!((told.code, told.stdout), (Some(1), format!("{}: 4 messages exported\n", target[1])));
        assert!(told.stderr.contains(" is not exported: the message is damaged; see "), "{}", told.stderr);
    }
    let mut whole = messages(&office.path("Maildir"));
    whole.remove(&(".Sent".to_owned(), "cur".to_owned(), "R".to_owned()));
    assert_eq!(messages(&office.path("out")), whole);
    assert_eq!(office.json(&["import", "bert", "out.mbox"])["imported"].as_u64(), Some(4));
    assert_eq!(office.json(&["import", "anna", "Maildir"])["imported"].as_u64(), Some(1), "it is replaced");
}

#[test]
fn what_has_no_room_is_told_and_imported_once_there_is_room() {
    let office = Office::new("quota");
    for number in 1..=3 {
        let text = format!("Subject: {number}\n\n{}", "0123456789abcde\n".repeat(25_000));
        put(&office.path(&format!("Maildir/new/{number}.a")), text.as_bytes(), 1);
    }
    let told = office.mail(&["import", "bert", "Maildir"]);
    assert_eq!((told.code, told.stdout.as_str()), (Some(1), "bert: 2 messages imported\n"));
    let why = "gatepost: cannot import Maildir: the mailbox is full; \
               make room and import again: what was imported is not imported twice\n";
    assert_eq!(told.stderr, why);
    assert_eq!(office.json(&["import", "anna", "Maildir"])["imported"].as_u64(), Some(3));
    let config = fs::read_to_string(&office.config).expect("it is there");
    fs::write(&office.config, config.replace("1 MiB", "2 MiB")).expect("it is written");
    let told = office.json(&["import", "bert", "Maildir"]);
    assert_eq!((told["imported"].as_u64(), told["already_there"].as_u64()), (Some(1), Some(2)));
}
