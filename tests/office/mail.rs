//! Mail from real clients: accepted messages are in the inboxes, also after the gateway was killed.

use std::fs;

use nix::sys::signal::Signal;

use crate::harness::programs::smtplib;
use crate::harness::{LAN, Office, WAN, eventually};

const SETTINGS: &str = "users = [{ name = 'anna' }, { name = 'bert' }]\n\
                        mail.plaintext_login = 'lan'\nmail.ports.lmtp = 2424\nmail.disk_reserve = '1 MiB'\n\
                        firewall.wan_services = ['smtp']";
const PASSWORD: &str = "blue harbour 47";

fn subjects(inbox: &str) -> Vec<&str> {
    inbox.lines().filter_map(|line| line.strip_prefix("Subject: ")).collect()
}

#[test]
fn what_real_clients_send_is_in_the_inboxes_after_the_gateway_was_killed() {
    let mut office = Office::new(2, SETTINGS);
    let setup = office.gateway().setup();
    setup.set_password("anna", PASSWORD);
    let file = setup.directory().join("message");
    fs::write(&file, "From: curl@pc1\r\nSubject: curl\r\n\r\n.\r\n..two\r\n").expect("a file");
    let file = file.display();
    let pc = office.pc(1);
    pc.sh(&smtplib(&format!(
        "s = smtplib.SMTP(\"{LAN}\")\n\
         s.sendmail(\"a@b.example\", [\"anna@office.example\", \"Bert+x@office.example\"], \
         \"Subject: smtplib\\r\\n\\r\\n.\\r\\nFrom here\\r\\n\")\n\
         try:\n    s.sendmail(\"a@b.example\", [\"c@office.example\"], \"x\")\n    raise SystemExit(1)\n\
         except smtplib.SMTPRecipientsRefused as e:\n    assert e.recipients[\"c@office.example\"][0] == 550\n\
         s.quit()"
    )));
    pc.sh(&format!(
        "curl -sS --mail-from a@b.example --mail-rcpt anna@office.example -T {file} smtp://{LAN}/pc1"
    ));
    pc.sh(&format!(
        "swaks --server {LAN} --from a@b.example --to anna@office.example --header 'Subject: swaks'"
    ));
    pc.sh(&format!(
        "printf 'Subject: msmtp\n\nhello\n' | timeout 20 msmtp --host={LAN} --port=587 --auth=scram-sha-256 --user=anna \
         --passwordeval=\"echo '{PASSWORD}'\" --from=anna@office.example bert@office.example"
    ));
    pc.sh(&smtplib(&format!(
        "s = smtplib.SMTP(\"{LAN}\", 587)\n\
         s.login(\"anna@office.example\", \"{PASSWORD}\")\n\
         s.sendmail(\"anna@office.example\", [\"bert@office.example\"], \"Subject: submitted\\r\\n\\r\\nx\\r\\n\")\n\
         s.quit()"
    )));
    pc.sh(&format!(
        "curl -sS --user 'anna:{PASSWORD}' --mail-from anna@office.example --mail-rcpt bert@office.example -T {file} \
         smtp://{LAN}:587/pc1"
    ));
    pc.sh(&smtplib(&format!(
        "s = smtplib.LMTP(\"{LAN}\", 2424)\n\
         s.sendmail(\"a@b.example\", [\"anna@office.example\", \"bert@office.example\"], \
         \"Subject: lmtp\\r\\n\\r\\nx\\r\\n\" + \"y\" * 70 + (\"\\r\\n\" + \"y\" * 70) * 10000)\n\
         s.quit()"
    )));
    office.internet.sh(&smtplib(&format!(
        "s = smtplib.SMTP(\"{WAN}\")\n\
         s.sendmail(\"a@b.example\", [\"anna@office.example\"], \"Subject: outside\\r\\n\\r\\nx\\r\\n\")\n\
         s.quit()"
    )));
    let services = office.gateway().show("services");
    let mut counters = services["services"].as_array().expect("a list").iter();
    let mut taken = |name: &str| {
        let service = counters.find(|service| service["name"] == name).expect("a service");
        service["counters"]["messages"].as_u64().expect("a counter")
    };
    assert_eq!(["smtp", "submission", "lmtp"].map(&mut taken), [4, 3, 1], "{services}");

    let (_, setup) = office.stop(Signal::SIGKILL);
    let (anna, bert) = (setup.inbox("anna"), setup.inbox("bert"));
    assert_eq!(subjects(&anna), ["smtplib", "curl", "swaks", "lmtp", "outside"], "{anna}");
    assert_eq!(subjects(&bert), ["smtplib", "msmtp", "submitted", "curl", "lmtp"], "{bert}");
    assert!(
        anna.contains("\n.\n..two\n") && anna.contains("\nX-Original-To: anna@office.example\n"),
        "{anna}"
    );
    assert!(bert.contains("\nX-Original-To: Bert+x@office.example\n") && bert.contains(" with ESMTPA id "));
    assert_eq!(anna.matches("\nDate: ").count(), 3, "what the LAN sends over SMTP is completed: {anna}");
    office.start(setup);
    assert_eq!(subjects(&office.gateway().setup().inbox("anna")).len(), 5);
}

#[test]
fn a_scanner_of_open_relays_finds_none() {
    // On the LAN, where refusals are not held back.
    let office = Office::new(1, &format!("{SETTINGS}\nmail.relay_from = []"));
    let found = office.pc(1).sh(&format!("nmap -Pn -n -p 25 --script smtp-open-relay {LAN}"));
    assert!(found.contains("25/tcp open") && found.contains("all tests failed"), "{found}");
    assert_eq!(subjects(&office.gateway().setup().inbox("anna")), [] as [&str; 0]);
}

#[test]
fn a_configuration_that_makes_an_open_relay_is_not_taken() {
    let office = Office::new(1, &format!("{SETTINGS}\nmail.relay_from = ['lan']"));
    office.gateway().setup().edit("['lan']", "['0.0.0.0/0']");
    let refused = office.gateway().reload();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("could send to other domains"), "{told}");
    assert!(told.contains("write smaller networks"), "{told}");
    office.pc(1).sh(&format!("printf 'QUIT\\r\\n' | socat -t5 - TCP:{LAN}:25 | grep '^221 '"));
}

#[test]
fn an_alias_of_aliases_reaches_its_members_and_who_is_away_answers_once() {
    let settings = SETTINGS.replace("{ name = 'bert' }", "{ name = 'bert', vacation = 'Back on Monday.' }");
    let mut office = Office::new(
        1,
        &format!(
            "{settings}\nmail.aliases = [{{ name = 'all', members = ['team', 'anna'] }}, \
             {{ name = 'team', members = ['bert'] }}]\n\
             mail.rules = [{{ user = 'anna', header = 'Subject', contains = 'plain', discard = true }}]"
        ),
    );
    let send = |recipient: &str, subject: &str| {
        office.pc(1).sh(&smtplib(&format!(
            "s = smtplib.SMTP(\"{LAN}\")\n\
             s.sendmail(\"anna@office.example\", [\"{recipient}@office.example\"], \
             \"To: {recipient}@office.example\\r\\nSubject: {subject}\\r\\n\\r\\nx\\r\\n\")\n\
             s.quit()"
        )));
    };
    send("all", "plain");
    send("all", "lunch");
    send("bert", "one");
    let setup = office.gateway().setup();
    let inbox = eventually("an answer", || {
        let inbox = setup.inbox("anna");
        inbox.contains("Subject: Auto: ").then_some(inbox)
    });
    assert_eq!(subjects(&inbox), ["lunch", "Auto: one"], "{inbox}");
    assert!(
        inbox.contains("Auto-Submitted: auto-replied\n") && inbox.contains("\nBack on Monday.\n"),
        "{inbox}"
    );
    send("bert", "two");
    send("bert+x", "three");
    assert_eq!(subjects(&setup.inbox("bert")), ["plain", "lunch", "one", "two", "three"]);
    let (_, setup) = office.stop(Signal::SIGKILL);
    assert_eq!(subjects(&setup.inbox("anna")), ["lunch", "Auto: one"]);
}

#[test]
fn submission_is_where_the_configuration_says() {
    let office =
        Office::new(1, &format!("{SETTINGS}\nmail.ports.submission = 0\nmail.ports.submissions = 4650"));
    let setup = office.gateway().setup();
    setup.set_password("anna", PASSWORD);
    office.pc(1).sh(&smtplib(&format!(
        "import ssl\ns = smtplib.SMTP_SSL(\"{LAN}\", 4650, context=ssl._create_unverified_context())\n\
         s.login(\"anna\", \"{PASSWORD}\")\n\
         s.sendmail(\"anna@office.example\", [\"bert@office.example\"], \"Subject: moved\\r\\n\\r\\nx\\r\\n\")\n\
         s.quit()"
    )));
    assert_eq!(subjects(&setup.inbox("bert")), ["moved"]);
    for port in [465, 587] {
        assert!(
            !office.pc(1).succeeds(&format!("socat -u OPEN:/dev/null TCP:{LAN}:{port},connect-timeout=5"))
        );
    }
}
