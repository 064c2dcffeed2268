//! Mail that rspamd and clamd scan, on a PC of the office, before the gateway replies.

use std::fs;

use crate::harness::programs::wait_for_listener;
use crate::harness::{Background, Directory, LAN, Office, WAN, run};

const RSPAMD: u16 = 11333;
const CLAMD: u16 = 3310;

/// What `GTUBE` is without its first letter: with X it is to be rejected, with Y to be marked.
const GTUBE: &str = "JS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";
/// What the one signature of the test's clamd finds.
const VIRUS: &str = "Gatepost's harmless virus";

const SEND: &str = r#"
import smtplib, sys
server, gtube, virus = sys.argv[1:]
client = smtplib.SMTP(server)

def send(subject, text):
    head = f"From: a@far.example\r\nTo: anna@office.example\r\nDate: Sun, 1 Nov 2026 10:00:00 +0000\r\n"
    message = head + f"Message-ID: <{subject}@far.example>\r\nSubject: {subject}\r\n\r\n{text}\r\n"
    try:
        client.sendmail("a@far.example", ["anna@office.example"], message)
        print(subject, 250)
    except smtplib.SMTPDataError as error:
        print(subject, error.smtp_code)

send("good", "hello")
send("long", "hello\r\n" * 100000)
send("spam", "X" + gtube)
send("marked", "Y" + gtube)
send("virus", virus)
client.quit()
"#;

fn rspamd(office: &Office, directory: &Directory) -> Background {
    let (file, home) = (directory.join("rspamd.conf"), directory.path().display());
    // The whole list of top-level domains takes rspamd half a minute to read.
    fs::write(directory.join("domains"), "example\n").expect("a file");
    let content = format!(
        "options {{ pidfile = \"{home}/rspamd.pid\"; tempdir = \"{home}\"; hs_cache_dir = \"{home}\"; filters = \"\";\n\
           url_tld = \"{home}/domains\"; enable_test_patterns = true; dns {{ nameserver = [\"{LAN}\"]; }} }}\n\
         logging {{ type = \"console\"; level = \"warning\"; }}\n\
         actions {{ reject = 15; add_header = 6; greylist = 4; }}\n\
         worker \"normal\" {{ bind_socket = \"*:{RSPAMD}\"; count = 1; }}\n"
    );
    fs::write(&file, content).expect("a file");
    office.pc(1).spawn(&format!("rspamd -f -i -u root -g root -c {} 2>&1", file.display()))
}

fn clamd(office: &Office, directory: &Directory) -> Background {
    let (file, home) = (directory.join("clamd.conf"), directory.path().display());
    let signature: String = VIRUS.bytes().map(|octet| format!("{octet:02x}")).collect();
    fs::create_dir(directory.join("signatures")).expect("a directory");
    fs::write(directory.join("signatures/test.ndb"), format!("Test:0:*:{signature}\n")).expect("a file");
    let content = format!(
        "Foreground yes\nTCPSocket {CLAMD}\nDatabaseDirectory {home}/signatures\nUser root\nLogFile {home}/clamd.log\n"
    );
    fs::write(&file, content).expect("a file");
    office.pc(1).spawn(&format!("clamd -c {} 2>&1", file.display()))
}

#[test]
fn rspamd_and_clamd_have_mail_marked_and_refused() {
    let pc = Office::address(1);
    let office = Office::new(
        1,
        &format!(
            "users = [{{ name = 'anna' }}]\nmail.disk_reserve = '1 MiB'\nfirewall.wan_services = ['smtp']\n\
             mail.judge = ['http://{pc}:{RSPAMD}', 'clamd://{pc}:{CLAMD}']"
        ),
    );
    let directory = Directory::new();
    let script = directory.join("send.py");
    fs::write(&script, SEND).expect("a file");
    let send = || {
        let mut send = office.internet.command("/usr/bin/python3");
        run(send.arg(&script).arg(WAN.to_string()).args([GTUBE, VIRUS]))
    };
    // No judge answers: mail is accepted, with a header field that says so.
    assert_eq!(send(), "good 250\nlong 250\nspam 250\nmarked 250\nvirus 250\n");
    let setup = office.gateway().setup();
    assert_eq!(setup.inbox("anna").matches("X-Gatepost-Judge: ").count(), 10, "{}", setup.inbox("anna"));

    let _judges = (rspamd(&office, &directory), clamd(&office, &directory));
    wait_for_listener(office.pc(1), "tcp", RSPAMD);
    wait_for_listener(office.pc(1), "tcp", CLAMD);
    assert_eq!(send(), "good 250\nlong 250\nspam 550\nmarked 250\nvirus 550\n");
    let inbox = setup.inbox("anna");
    assert_eq!(inbox.matches("X-Gatepost-Judge: ").count(), 10, "{inbox}");
    let of = |subject: &str| {
        let end = inbox.rfind(&format!("Subject: {subject}\n")).expect("it is there");
        let start = inbox[..end].rfind("Return-Path: ").expect("a message");
        &inbox[start..end]
    };
    assert!(of("good").contains("X-Spam-Status: No") && of("long").contains("X-Spam-Status: No"), "{inbox}");
    assert!(
        of("marked").contains("X-Spam-Status: Yes") && of("marked").contains("X-Spam-Flag: YES"),
        "{inbox}"
    );
}
