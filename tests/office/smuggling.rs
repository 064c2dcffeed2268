//! Smuggled messages: each arrives as one, or is rejected.

use std::collections::BTreeSet;
use std::fs;

use crate::harness::programs::{name_server, wait_for_listener_at};
use crate::harness::{Directory, ISP, LAN, Namespace, Office, SERVER, WAN, eventually};

const SETTINGS: &str = "users = [{ name = 'anna' }]\nmail.plaintext_login = 'lan'\nmail.disk_reserve = '1 MiB'\n\
                        firewall.wan_services = ['smtp']\nmail.limits.wan_messages_per_minute = 1000";
const PASSWORD: &str = "blue harbour 47";
/// Ends, each behind the text of a line and behind the end of one.
const CASES: usize = 32;

/// The script `smuggling.py`, whose commands stand at its beginning.
struct Smuggler(Directory);

/// A message that was sent: its sender, and the codes of the replies behind its octets.
struct Sent {
    sender: String,
    codes: Vec<u16>,
}

impl Sent {
    fn of(line: &str) -> Self {
        let mut words = line.split(' ');
        let sender = words.next().unwrap_or_default().to_owned();
        Self { sender, codes: words.map(|code| code.parse().expect("a code")).collect() }
    }

    /// Whether its end is one that all servers know, so that two messages came.
    fn is_clear(&self) -> bool {
        self.sender.starts_with("clear-") && self.sender.contains("-data-")
    }

    fn is_taken(&self) -> bool {
        self.codes.first() == Some(&250)
    }
}

impl Smuggler {
    fn new() -> Self {
        let directory = Directory::new();
        fs::write(directory.join("smuggling.py"), include_str!("smuggling.py")).expect("it can be written");
        Self(directory)
    }

    fn command(&self, command: &str) -> String {
        format!("/usr/bin/python3 {} {command}", self.0.join("smuggling.py").display())
    }

    /// Sends `to` one message for each end, by DATA and by BDAT, and looks at the replies.
    fn send(&self, from: &Namespace, server: &str, to: &str) -> Vec<Sent> {
        let login = if server.ends_with(" 587") { format!(" anna '{PASSWORD}'") } else { String::new() };
        let mut all = Vec::new();
        for way in ["data", "bdat"] {
            let told = from.sh(&self.command(&format!("send {server} {way} {to}{login}")));
            let sent: Vec<_> = told.lines().map(Sent::of).collect();
            assert_eq!(sent.len(), CASES, "{told}");
            all.extend(sent);
        }
        for Sent { sender, codes } in all.iter().filter(|sent| !sent.is_clear()) {
            let one = codes.first().is_some_and(|code| *code == 250 || (500..600).contains(code));
            assert!(one && matches!(codes[1..], [] | [221]), "{sender} by {server}: {codes:?}");
        }
        // Without this nothing would be seen of a second message.
        let clear = all.iter().filter(|sent| sent.is_clear());
        clear.for_each(|sent| assert_eq!(sent.codes, [250, 250, 250, 354, 250, 221], "{}", sent.sender));
        all
    }
}

/// The senders of the messages that are to arrive, in order.
fn expected(all: &[Sent]) -> Vec<String> {
    let mut senders = Vec::new();
    for sent in all.iter().filter(|sent| sent.is_taken()) {
        senders.push(sent.sender.clone());
        if sent.is_clear() {
            senders.push(format!("inner-{}", sent.sender));
        }
    }
    senders.sort();
    senders
}

#[test]
fn what_hides_in_a_message_from_outside_from_the_lan_or_from_a_user_is_no_message() {
    let office = Office::new(1, SETTINGS);
    let setup = office.gateway().setup();
    setup.set_password("anna", PASSWORD);
    let smuggler = Smuggler::new();
    let mut all = smuggler.send(&office.internet, &format!("{WAN} 25"), "anna@office.example");
    let is_odd = |sent: &&Sent| !sent.sender.starts_with("clear-");
    assert!(!all.iter().filter(is_odd).any(Sent::is_taken), "from outside all is refused");
    for port in [25, 587] {
        all.extend(smuggler.send(office.pc(1), &format!("{LAN} {port}"), "anna@office.example"));
    }
    let inbox = setup.inbox("anna");
    let mut senders: Vec<_> = inbox
        .lines()
        .filter_map(|line| line.strip_prefix("Return-Path: <")?.strip_suffix('>').map(str::to_owned))
        .collect();
    senders.sort();
    assert_eq!(senders, expected(&all));
}

#[test]
fn what_hides_in_a_message_is_no_message_where_the_gateway_sends_it() {
    let office = Office::new(1, &format!("{SETTINGS}\ndns.upstream = ['{ISP}']"));
    office.gateway().setup().set_password("anna", PASSWORD);
    let records = format!("--mx-host=far.example,mx.far.example,10 --host-record=mx.far.example,{SERVER}");
    let _names = name_server(&office.internet, &format!("{records} --local=/example/"));
    let (smuggler, taken) = (Smuggler::new(), Directory::new());
    let sink = format!("sink {SERVER} {}", taken.path().display());
    let _sink = office.internet.spawn(&smuggler.command(&sink));
    wait_for_listener_at(&office.internet, SERVER, 25);
    let mut all = Vec::new();
    for port in [25, 587] {
        all.extend(smuggler.send(office.pc(1), &format!("{LAN} {port}"), "bob@far.example"));
    }
    let expected: BTreeSet<_> = expected(&all).into_iter().collect();
    eventually("all that was taken", || (office.gateway().show("queue")["total"] == 0).then_some(()));
    let mut senders = BTreeSet::new();
    for file in fs::read_dir(taken.path()).expect("it is there") {
        let file = file.expect("an entry");
        let message = fs::read(file.path()).expect("a file");
        let text = String::from_utf8_lossy(&message).into_owned();
        // Without a bare CR or LF, and with two dots where a line begins with one, no server finds an end in it.
        let rest = text.replace("\r\n", "");
        assert!(!rest.contains(['\r', '\n', '\0']) && !text.contains("\n.\r\n"), "{text:?}");
        assert!(text.lines().all(|line| !line.starts_with('.') || line.starts_with("..")), "{text:?}");
        senders.insert(file.file_name().into_string().expect("UTF-8"));
    }
    assert_eq!(senders, expected);
}
