//! The administrator's reports and commands about mail at run time.

use std::io::Write;
use std::process::{Output, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::postfix::Postfix;
use crate::harness::programs::name_server;
use crate::harness::{ISP, LAN, Namespace, Office, SERVER, Setup, eventually, gatepost, run};

const SETTINGS: &str = "users = [{ name = 'anna', quota = '1 MiB' }, { name = 'bert' }]\n\
                        mail.plaintext_login = 'lan'\nmail.disk_reserve = '1 MiB'";
const PASSWORD: &str = "blue harbour 47";

/// Sends a message as a program of the LAN does.
fn send(pc: &Namespace, sender: &str, recipient: &str, subject: &str) {
    pc.sh(&format!(
        "swaks --server {LAN} --ehlo pc1 --from {sender} --to {recipient} --header 'Subject: {subject}'"
    ));
}

#[test]
fn the_mailboxes_are_shown_with_folders_quota_and_lock() {
    let rules = "mail.rules = [{ user = 'anna', header = 'Subject', contains = 'list', folder = 'Lists' }]";
    let office = Office::new(1, &format!("{SETTINGS}\n{rules}"));
    let (gateway, pc) = (office.gateway(), office.pc(1));
    gateway.setup().set_password("anna", PASSWORD);
    send(pc, "bert@office.example", "anna@office.example", "one");
    send(pc, "bert@office.example", "anna@office.example", "of a list");
    let mut client = pc.spawn(&format!("socat - TCP:{LAN}:110,crlf"));
    client.hear();
    for line in ["USER anna", &format!("PASS {PASSWORD}")] {
        client.say(line);
        let said = client.hear();
        assert!(said.starts_with("+OK"), "{said}");
    }
    let shown = gateway.show("mailboxes");
    assert_eq!(shown["total"], 2, "{shown}");
    let [anna, bert] = [&shown["mailboxes"][0], &shown["mailboxes"][1]];
    assert_eq!((&anna["user"], &bert["user"]), (&"anna".into(), &"bert".into()), "{shown}");
    assert_eq!(
        (&anna["messages"], &anna["quota"], &anna["used_percent"]),
        (&2.into(), &(1 << 20).into(), &0.into())
    );
    let folders = anna["folders"].as_array().expect("a list");
    let folders: Vec<_> = folders.iter().map(|of| (of["folder"].as_str(), of["messages"].as_u64())).collect();
    assert_eq!(folders, [(Some("INBOX"), Some(1)), (Some("Lists"), Some(1))]);
    assert!(anna["newest"].as_u64() > Some(1_700_000_000) && bert["newest"].is_null(), "{shown}");
    assert_eq!((&anna["pop3_locked"], &bert["pop3_locked"]), (&true.into(), &false.into()), "{shown}");
    let text = gateway.show_text("mailboxes");
    assert!(text.lines().any(|line| line.starts_with("anna ") && line.ends_with("locked")), "{text}");
    assert!(text.lines().any(|line| line.trim_start().starts_with("Lists ")), "{text}");
    client.say("QUIT");
    client.hear();
    eventually("the session's end", || {
        (gateway.show("mailboxes")["mailboxes"][0]["pop3_locked"] == false).then_some(())
    });
}

#[test]
fn without_mail_the_gateway_says_so() {
    let office = Office::new(1, "");
    let setup = office.gateway().setup();
    for what in ["queue", "mail", "mailboxes"] {
        let asked =
            gatepost(&["show", what, "--json", "--config"]).arg(setup.config()).output().expect("it runs");
        let told: Value = serde_json::from_slice(&asked.stdout).expect("valid JSON");
        let why = told["errors"][0].as_str().expect("a sentence");
        assert!(why.starts_with("mail is off: there is nobody to have any; write a user"), "{why}");
        assert_eq!(
            (asked.status.code(), String::from_utf8_lossy(&asked.stderr)),
            (Some(69), format!("gatepost: {why}\n").into())
        );
    }
    let refused = deliver(setup, &["anna"], b"a: b\n");
    assert_eq!(refused.status.code(), Some(69), "{refused:?}");
}

#[test]
fn programs_of_this_machine_hand_mail_in_whichever_ports_are_served() {
    let ports = "mail.ports = { smtp = 0, submission = 0, submissions = 0 }";
    let office = Office::new(1, &format!("{SETTINGS}\n{ports}"));
    let setup = office.gateway().setup();
    let taken = deliver(setup, &["anna"], b"Subject: backup\n\n");
    assert!(taken.status.success(), "{taken:?}");
    assert!(setup.inbox("anna").contains("\nSubject: backup\n"));
}

/// The output of `gatepost mail trace` as JSON.
fn traced(setup: &Setup, name: &str) -> Value {
    let mut trace = gatepost(&["mail", "trace", name, "--json", "--config"]);
    serde_json::from_str(&run(trace.arg(setup.config()))).expect("valid JSON")
}

/// The copies of the first message of a trace, by their recipients.
fn copies(trace: &Value) -> Vec<(&str, &Value)> {
    let recipients = trace["messages"][0]["recipients"].as_array().expect("a list").iter();
    let copies = recipients.flat_map(|recipient| recipient["copies"].as_array().expect("a list"));
    copies.map(|copy| (copy["recipient"].as_str().expect("an address"), copy)).collect()
}

#[test]
fn a_trace_tells_where_each_copy_is() {
    let alias = "mail.aliases = [{ name = 'all', members = ['anna', 'bob@far.example', 'carl@far.example', \
                 'nobody@far.example'] }]";
    let mut office = Office::new(1, &format!("{SETTINGS}\ndns.upstream = ['{ISP}']\n{alias}"));
    let (gateway, pc) = (office.gateway(), office.pc(1));
    gateway.setup().set_password("anna", PASSWORD);
    let _names = name_server(
        &office.internet,
        &format!(
            "--mx-host=far.example,mx.far.example,10 --host-record=mx.far.example,{SERVER} --local=/example/"
        ),
    );
    let postfix = Postfix::start(&office.internet, SERVER, "far.example", &["bob", "carl"], "");
    postfix.refuse("carl@far.example 450 4.7.1 greylisted\n");
    let said = pc.sh(&format!(
        "swaks --server {LAN}:587 --ehlo pc1 --auth PLAIN --auth-user anna --auth-password '{PASSWORD}' \
         --from anna@office.example --to all@office.example --header 'Message-Id: <lunch@pc1>'"
    ));
    let taken = said.lines().find_map(|line| line.split_once(" taken as ")).expect("it is taken").1.trim();
    let trace = eventually("what Postfix says of each", || {
        let trace = traced(gateway.setup(), "<lunch@pc1>");
        let copies = copies(&trace);
        let is_over = |state: &Value| ["delivered", "bounced"].iter().any(|over| state == over);
        let said = copies.iter().filter(|(_, copy)| is_over(&copy["state"]) || copy["tries"] == 1);
        (said.count() == 3).then_some(trace)
    });
    let message = &trace["messages"][0];
    for (key, value) in [
        ("taken_as", taken),
        ("message_id", "lunch@pc1"),
        ("origin", "smtp"),
        ("source", "192.168.1.101"),
        ("helo", "pc1"),
        ("login", "anna"),
        ("return_path", "anna@office.example"),
    ] {
        assert_eq!(message[key], value, "{key}: {message}");
    }
    assert_eq!(message["recipients"][0]["asked"], "all@office.example");
    assert_eq!(message["recipients"][0]["resolved"][0]["what"], "alias");
    let copies = copies(&trace);
    let copy = |recipient: &str| {
        let mut copies = copies.iter().filter(|(of, _)| *of == recipient);
        copies.next().unwrap_or_else(|| panic!("{recipient}: {trace}")).1
    };
    let anna = copy("anna@office.example");
    assert_eq!((&anna["state"], &anna["folder"]), (&"mailbox".into(), &"INBOX".into()), "{anna}");
    let bob = copy("bob@far.example");
    assert!(
        bob["state"] == "delivered" && bob["reply"].as_str().is_some_and(|reply| reply.starts_with("250 "))
    );
    assert!(bob["time"].as_u64() > Some(1_700_000_000), "{bob}");
    let carl = copy("carl@far.example");
    assert!(
        carl["state"] == "queued" && carl["reply"].as_str().is_some_and(|reply| reply.contains("greylisted"))
    );
    let nobody = copy("nobody@far.example");
    let notice = traced(gateway.setup(), &nobody["notice"].to_string());
    assert_eq!(
        (&notice["messages"][0]["origin"], &notice["messages"][0]["return_path"]),
        (&"local".into(), &"".into())
    );

    // By all of its names, also for people, and after the gateway has ended.
    let id = message["id"].to_string();
    assert_eq!(traced(gateway.setup(), taken)["messages"][0]["id"].to_string(), id);
    assert_eq!(
        traced(gateway.setup(), carl["id"].as_str().expect("a text"))["messages"][0]["id"].to_string(),
        id
    );
    pc.sh(&format!(
        "/usr/bin/python3 -c '\nimport poplib\np = poplib.POP3(\"{LAN}\")\np.user(\"anna\")\n\
         p.pass_(\"{PASSWORD}\")\np.dele(1)\np.quit()'"
    ));
    let (_, setup) = office.stop(Signal::SIGTERM);
    let mut trace = gatepost(&["mail", "trace", &id, "--config"]);
    let text = run(trace.arg(setup.config()));
    for line in [
        "  for all@office.example",
        "      all@office.example: an alias for",
        "    anna@office.example: deleted from the mailbox anna, where it was number 1, by POP3 or mail.keep_days",
    ] {
        assert!(text.lines().any(|of| of == line), "{line}: {text}");
    }
    let mut unknown = gatepost(&["mail", "trace", "<nothing@pc1>", "--config"]);
    let unknown = unknown.arg(setup.config()).output().expect("it runs");
    let told = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.status.code() == Some(1) && told.contains("nothing is known of <nothing@pc1>"), "{told}");
}

/// Submits `message` by `gatepost mail deliver`.
fn deliver(setup: &Setup, arguments: &[&str], message: &[u8]) -> Output {
    let mut command = gatepost(&["mail", "deliver", "--config"]);
    command.arg(setup.config()).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("it runs");
    let mut stdin = process.stdin.take().expect("it is piped");
    // It may have ended before it has read all.
    _ = stdin.write_all(message);
    drop(stdin);
    process.wait_with_output().expect("it ends")
}

#[test]
fn a_message_on_standard_input_goes_the_way_of_mail() {
    let settings = "mail.max_message = '1 MiB'\nmail.aliases = [{ name = 'all', members = ['anna', 'bert'] }]\n\
                    mail.rules = [{ user = 'bert', header = 'Subject', contains = 'backup', folder = 'Reports' }]";
    let mut office = Office::new(1, &format!("{SETTINGS}\ndns.upstream = ['{ISP}']\n{settings}"));
    let _names = name_server(
        &office.internet,
        &format!(
            "--mx-host=far.example,mx.far.example,10 --host-record=mx.far.example,{SERVER} --local=/example/"
        ),
    );
    let postfix = Postfix::start(&office.internet, SERVER, "far.example", &["bob"], "");
    let (gateway, setup) = (office.gateway(), office.gateway().setup());
    let message = format!("Subject: backup\n\n.\n{}", "all is well\n".repeat(50_000));
    let taken = deliver(setup, &["all", "bob@far.example"], message.as_bytes());
    let said = String::from_utf8_lossy(&taken.stdout).into_owned();
    assert!(taken.status.success() && said.starts_with("250 2.6.0 taken as "), "{taken:?}");
    let id = said.trim().rsplit(' ').next().expect("a name").to_owned();
    eventually("the message at Postfix", || (postfix.mailbox("bob").len() == 1).then_some(()));
    let bob = &postfix.mailbox("bob")[0];
    assert!(bob.starts_with("Return-Path: <postmaster@office.example>\n"), "{bob}");
    assert!(bob.contains("\nDKIM-Signature: ") && bob.contains("\n.\nall is well\n"), "{bob}");
    assert_eq!(bob.lines().filter(|line| *line == "all is well").count(), 50_000);
    let anna = setup.inbox("anna");
    for line in ["From: postmaster@office.example", "X-Original-To: all@office.example", "."] {
        assert!(anna.lines().any(|of| of == line), "{line}: {anna}");
    }
    assert!(anna.contains("\nDate: ") && anna.contains("\nMessage-ID: <"), "{anna}");
    let trace = traced(setup, &id);
    assert_eq!(trace["messages"][0]["source"], "127.0.0.1");
    let folders: Vec<_> = copies(&trace).iter().map(|(_, copy)| copy["folder"].as_str()).collect();
    assert_eq!(folders, [Some("INBOX"), Some("Reports"), None], "{trace}");

    let refused = |arguments: &[&str], message: &[u8], code: i32, words: &str| {
        let refused = deliver(setup, arguments, message);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(code) && told.contains(words), "{arguments:?}: {refused:?}");
    };
    refused(&["nobody"], b"a: b\n", 67, "nobody@office.example does not have the message: 550 5.1.1 ");
    refused(&["anna"], &vec![b'x'; 2 << 20], 65, "more than 1 MiB");
    let round = "Received: x\n".repeat(200);
    refused(&["anna"], round.as_bytes(), 65, "anna@office.example does not have the message: 554 5.4.6 ");
    refused(&["anna"], b"a: b\n\nc\rd\n", 65, "a CR that is no line's end");
    refused(&["anna@[192.168.1.77]"], b"a: b\n", 67, "anna@[192.168.1.77] does not have the message: 550 ");
    refused(&["a b"], b"a: b\n", 67, "write a name");
    refused(&["--from", "a b", "anna"], b"a: b\n", 64, "write a name");
    refused(&[], b"a: b\n", 64, "RECIPIENT");
    let from = deliver(setup, &["--from", "bert", "--json", "anna"], b"Subject: json\n\n");
    let told: Value = serde_json::from_slice(&from.stdout).expect("valid JSON");
    assert_eq!(
        (&told["recipients"][0]["recipient"], &told["recipients"][0]["taken"]),
        (&"anna@office.example".into(), &true.into())
    );
    assert!(setup.inbox("anna").contains("\nFrom: bert@office.example\n"));
    assert_eq!(gateway.show("queue")["total"], 0);
    let (_, setup) = office.stop(Signal::SIGTERM);
    let later = deliver(&setup, &["anna"], b"a: b\n");
    assert_eq!(later.status.code(), Some(75), "{later:?}");
}
