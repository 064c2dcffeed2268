//! Mail to remote servers: Postfix accepts it.

use std::fs;
use std::process::Output;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::exim::Exim;
use crate::harness::postfix::Postfix;
use crate::harness::programs::{name_server, smtplib, wait_for_listener_at};
use crate::harness::{Background, Gateway, ISP, LAN, Namespace, Office, SERVER, eventually, gatepost};

const SETTINGS: &str = "users = [{ name = 'anna' }]\nmail.disk_reserve = '1 MiB'";

/// A name server at the provider's by which the mail of far.example goes to [`SERVER`], with `more` records.
fn far_example(internet: &Namespace, more: &str) -> Background {
    let records = format!(
        "--mx-host=far.example,mx.far.example,10 --host-record=mx.far.example,{SERVER} --local=/example/"
    );
    name_server(internet, &format!("{records} {more}"))
}

/// Sends a message of `subject` from anna to `recipients`, as a program of the LAN does.
fn send(pc: &Namespace, subject: &str, recipients: &[&str]) {
    let recipients: Vec<_> = recipients.iter().map(|recipient| format!("\"{recipient}\"")).collect();
    pc.sh(&smtplib(&format!(
        "s = smtplib.SMTP(\"{LAN}\")\n\
         s.sendmail(\"anna@office.example\", [{}], \"Subject: {subject}\\r\\n\\r\\n.\\r\\nAt noon?\\r\\n\")\n\
         s.quit()",
        recipients.join(", ")
    )));
}

/// The output of `gatepost show queue --json`, as soon as the gateway has read its mail store.
#[track_caller]
fn shown(gateway: &Gateway) -> Value {
    let output = eventually("the queue", || {
        let shown = gatepost(&["show", "queue", "--json", "--config"]).arg(gateway.setup().config()).output();
        shown.ok().filter(|output| output.status.success())
    });
    serde_json::from_slice(&output.stdout).expect("valid JSON")
}

/// The queue entry for `recipient`, if there is one.
#[track_caller]
fn queued(gateway: &Gateway, recipient: &str) -> Option<Value> {
    let queue = shown(gateway);
    let queue = queue["queue"].as_array().expect("a list");
    queue.iter().find(|queued| queued["recipient"] == recipient).cloned()
}

/// Waits until the last reply for `recipient` has these words.
#[track_caller]
fn until_told(gateway: &Gateway, recipient: &str, words: &str) -> Value {
    eventually(&format!("{words:?} of {recipient}"), || {
        queued(gateway, recipient)
            .filter(|queued| queued["last_reply"].as_str().is_some_and(|reply| reply.contains(words)))
    })
}

/// `gatepost mail queue ACTION ID`
fn queue(gateway: &Gateway, action: &str, id: &str) -> Output {
    let config = gateway.setup().config();
    gatepost(&["mail", "queue", action, id, "--config"]).arg(config).output().expect("it runs")
}

/// Has what is queued for `recipient` tried now.
#[track_caller]
fn release(gateway: &Gateway, recipient: &str) {
    // It may be on its way of itself.
    eventually(&format!("{recipient} is released"), || {
        let queued = queued(gateway, recipient)?;
        queue(gateway, "release", queued["id"].as_str().expect("a text")).status.success().then_some(())
    });
}

/// Waits until nothing is queued.
#[track_caller]
fn until_sent(gateway: &Gateway) {
    eventually("an empty queue", || (shown(gateway)["total"] == 0).then_some(()));
}

#[test]
fn mail_reaches_a_server_elsewhere_once_through_its_refusals_and_a_kill() {
    let mut office = Office::new(1, &format!("{SETTINGS}\ndns.upstream = ['{ISP}']"));
    let _names = far_example(&office.internet, "--dns-rr=null.example,15,000000");
    // Nobody answers there yet.
    send(office.pc(1), "down", &["bob@far.example"]);
    let waiting = until_told(office.gateway(), "bob@far.example", "no connection to mx.far.example");
    assert_eq!((&waiting["sender"], &waiting["held"]), (&"anna@office.example".into(), &false.into()));
    assert!(waiting["size"].as_u64() > Some(0) && waiting["tries"].as_u64() > Some(0), "{waiting}");
    assert!(waiting["next_try_secs"].as_u64().is_some_and(|secs| secs <= 300), "{waiting}");
    let postfix = Postfix::start(&office.internet, SERVER, "far.example", &["bob", "carl"], "");
    release(office.gateway(), "bob@far.example");
    until_sent(office.gateway());
    eventually("the message at Postfix", || (postfix.mailbox("bob").len() == 1).then_some(()));
    let taken = &postfix.mailbox("bob")[0];
    assert!(taken.starts_with("Return-Path: <anna@office.example>\n"), "{taken}");
    assert!(taken.contains("Subject: down\n") && taken.contains("\n.\nAt noon?\n"), "{taken}");
    assert!(taken.contains("from smtp.office.example ("), "it says who it is: {taken}");

    // One message, and something else for each of its recipients.
    postfix.refuse("carl@far.example 450 4.7.1 greylisted\n");
    let recipients =
        ["bob@far.example", "carl@far.example", "nobody@far.example", "a@null.example", "a@nowhere.example"];
    send(office.pc(1), "several", &recipients);
    let waiting = until_told(office.gateway(), "carl@far.example", "450 4.7.1 <carl@far.example>: ");
    assert_eq!(waiting["tries"], 1);
    eventually("only carl's waits", || (office.gateway().show("queue")["total"] == 1).then_some(()));
    let text = office.gateway().show_text("queue");
    assert!(text.contains("carl@far.example") && text.contains("greylisted"), "{text}");
    let inbox = office.gateway().setup().inbox("anna");
    for told in ["550 5.1.1 <nobody@far.example>", "null.example takes no mail", "there is no domain nowhere"]
    {
        assert!(inbox.contains(told), "{told}: {inbox}");
    }
    assert!(inbox.contains("Return-Path: <>\n") && inbox.contains("multipart/report"), "{inbox}");

    // Killed with mail in the queue.
    let (_, setup) = office.stop(Signal::SIGKILL);
    office.start(setup);
    office.give_static_addresses();
    postfix.refuse("");
    release(office.gateway(), "carl@far.example");
    until_sent(office.gateway());
    eventually("carl has it", || (postfix.mailbox("carl").len() == 1).then_some(()));
    assert_eq!(postfix.mailbox("bob").len(), 2, "{}", postfix.log());
    let notices = office.gateway().setup().inbox("anna").matches("Return-Path: <>").count();
    assert_eq!(notices, 3, "one for each domain, and none of what only waited");

    // Held, deleted, and what is not there.
    postfix.refuse("carl@far.example 450 4.7.1 greylisted\n");
    send(office.pc(1), "deleted", &["carl@far.example"]);
    let id = until_told(office.gateway(), "carl@far.example", "greylisted")["id"].clone();
    let id = id.as_str().expect("a text");
    // The outcome of a try is reported a little before the try ends.
    eventually("it is held", || {
        (queue(office.gateway(), "hold", id).stdout == format!("{id}: held\n").as_bytes()).then_some(())
    });
    let waiting = queued(office.gateway(), "carl@far.example").expect("it waits");
    assert!(waiting["held"] == true && waiting["next_try_secs"].is_null(), "{waiting}");
    let message = id.split('.').next().expect("a number");
    let deleted = queue(office.gateway(), "delete", message);
    assert_eq!(String::from_utf8_lossy(&deleted.stdout), format!("{id}: deleted\n"));
    let gone = queue(office.gateway(), "release", id);
    assert_eq!(gone.status.code(), Some(1));
    let told = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert!(told.contains(&format!("no message {id} waits in the queue")), "{told}");
    assert_eq!(office.gateway().show("queue")["total"], 0);
    assert_eq!(postfix.mailbox("carl").len(), 1);
    office.gateway().assert_accounts(&[]);
}

/// Plays a server that has just been connected to, up to where it says nothing to `last`: DATA, or the dot at the end.
fn answer_up_to(server: &mut Background, last: &str) {
    for (reply, command) in [
        ("220 mx.far.example", "EHLO smtp.office.example"),
        ("250 mx.far.example", "MAIL FROM:<anna@office.example>"),
        ("250 go on", "RCPT TO:<bob@far.example>"),
        ("250 go on", "DATA"),
    ] {
        server.say(reply);
        assert_eq!(server.hear(), command);
    }
    if last == "." {
        server.say("354 go on");
        while server.hear() != "." {}
    }
}

/// A gateway is stopped while it waits for the reply to `last`. After its start the message is sent, once.
fn stops_without_the_reply_to(last: &str) {
    let mut office = Office::new(1, &format!("{SETTINGS}\ndns.upstream = ['{ISP}']"));
    let _names = far_example(&office.internet, "");
    let mut server =
        office.internet.spawn(&format!("socat TCP4-LISTEN:{},bind={SERVER},reuseaddr,crlf -", Postfix::PORT));
    wait_for_listener_at(&office.internet, SERVER, Postfix::PORT);
    send(office.pc(1), "slow", &["bob@far.example"]);
    answer_up_to(&mut server, last);
    assert_eq!(queued(office.gateway(), "bob@far.example").expect("it waits")["under_way"], true);
    let (status, setup) = office.stop(Signal::SIGTERM);
    assert!(status.success(), "{status}");
    drop(server);

    let postfix = Postfix::start(&office.internet, SERVER, "far.example", &["bob"], "");
    office.start(setup);
    office.give_static_addresses();
    eventually("the message is sent", || {
        let Some(queued) = queued(office.gateway(), "bob@far.example") else { return Some(()) };
        queue(office.gateway(), "release", queued["id"].as_str().expect("a text"));
        None
    });
    eventually("the message at Postfix", || (!postfix.mailbox("bob").is_empty()).then_some(()));
    let taken = postfix.mailbox("bob");
    assert!(taken.len() == 1 && taken[0].contains("Subject: slow\n"), "{taken:#?}");
    assert_eq!(office.gateway().setup().inbox("anna"), "", "nobody is told of anything");
}

#[test]
fn a_gateway_that_stops_before_a_message_is_sent_sends_it_once_after_its_start() {
    stops_without_the_reply_to("DATA");
}

#[test]
fn a_gateway_that_stops_before_a_message_is_confirmed_sends_it_once_after_its_start() {
    stops_without_the_reply_to(".");
}

#[test]
fn who_asks_for_it_is_told_that_a_message_has_arrived_here_or_was_handed_on() {
    let users = SETTINGS.replace("{ name = 'anna' }", "{ name = 'anna' }, { name = 'bert' }");
    let office = Office::new(1, &format!("{users}\ndns.upstream = ['{ISP}']"));
    let _names = far_example(&office.internet, "");
    // Of reports it knows nothing.
    let settings = "smtpd_discard_ehlo_keywords = dsn";
    let postfix = Postfix::start(&office.internet, SERVER, "far.example", &["bob"], settings);
    let send = |recipient: &str, notify: &str| {
        office.pc(1).sh(&smtplib(&format!(
            "s = smtplib.SMTP(\"{LAN}\")\n\
             s.sendmail(\"anna@office.example\", [\"{recipient}\"], \"Subject: {notify}\\r\\n\\r\\nAt noon?\\r\\n\", \
             [\"RET=HDRS\", \"ENVID=of-{notify}\"], [\"NOTIFY={notify}\"])\ns.quit()"
        )));
    };
    // The report on the last of them comes behind any that the others bring.
    for (recipient, notify) in [
        ("bert@office.example", "NEVER"),
        ("bert@office.example", "FAILURE"),
        ("bob@far.example", "FAILURE"),
        ("bert@office.example", "SUCCESS"),
    ] {
        send(recipient, notify);
        until_sent(office.gateway());
    }
    let setup = office.gateway().setup();
    let reports = |count| {
        let inbox = eventually(&format!("{count} reports"), || {
            Some(setup.inbox("anna")).filter(|inbox| inbox.matches("multipart/report").count() >= count)
        });
        assert_eq!(inbox.matches("\nReturn-Path: <>\n").count(), count, "{inbox}");
        inbox
    };
    let delivered = reports(1);
    for told in [
        "Original-Envelope-Id: of-SUCCESS\n",
        "Final-Recipient: rfc822; bert@office.example\n",
        "Action: delivered\n",
        "Status: 2.1.5\n",
        "Subject: SUCCESS\n",
    ] {
        assert!(delivered.contains(told), "{told}: {delivered}");
    }
    assert!(!delivered.contains("At noon?"), "the header alone was asked for: {delivered}");
    send("bob@far.example", "SUCCESS");
    let relayed = reports(2);
    for told in ["Final-Recipient: rfc822; bob@far.example\n", "Action: relayed\n"] {
        assert!(relayed.contains(told), "{told}: {relayed}");
    }
    eventually("both at Postfix", || (postfix.mailbox("bob").len() == 2).then_some(()));
    assert_eq!(setup.inbox("bert").matches("\nSubject: ").count(), 3);
}

#[test]
fn in_a_lan_of_its_own_a_route_leads_to_a_server_there() {
    let address = Office::address(2);
    let routes = format!("mail.routes = [{{ domain = 'old.example', to = '{address}' }}]");
    let office = Office::new(2, &format!("{SETTINGS}\nnetwork.mode = 'lan-only'\n{routes}"));
    let postfix = Postfix::start(office.pc(2), address, "old.example", &["bob"], "");
    let file = office.gateway().setup().directory().join("message");
    fs::write(&file, format!("Subject: large\r\n\r\n{}", "0123456789\r\n".repeat(60_000))).expect("a file");
    send(office.pc(1), "routed", &["bob@old.example"]);
    office.pc(1).sh(&format!(
        "curl -sS --mail-from anna@office.example --mail-rcpt bob@old.example -T {} smtp://{LAN}/pc1",
        file.display()
    ));
    until_sent(office.gateway());
    eventually("both at Postfix", || (postfix.mailbox("bob").len() == 2).then_some(()));
    let (large, routed): (Vec<_>, Vec<_>) =
        postfix.mailbox("bob").into_iter().partition(|message| message.contains("Subject: large\n"));
    assert_eq!((large.len(), routed.len()), (1, 1));
    assert_eq!(large[0].matches("0123456789\n").count(), 60_000);
    // What no route leads to is refused at once.
    let refused = office.pc(1).try_sh(&format!(
        "curl -sS --mail-from anna@office.example --mail-rcpt bob@far.example -T {} smtp://{LAN}/pc1 2>&1",
        file.display()
    ));
    assert!(String::from_utf8_lossy(&refused.stdout).contains("550"), "{refused:?}");
    let counters = office.gateway().show("services");
    let services = counters["services"].as_array().expect("a list");
    let delivery = services.iter().find(|service| service["name"] == "delivery").expect("it is there");
    assert_eq!(delivery["counters"]["delivered"], 2, "{delivery}");
}

/// What is wrong with the way out.
fn trouble(gateway: &Gateway) -> Option<String> {
    let services = gateway.show("services");
    let delivery = services["services"].as_array().expect("a list").iter();
    let mut delivery = delivery.filter(|service| service["name"] == "delivery");
    Some(delivery.next()?["problem"].as_str()?.to_owned())
}

#[test]
fn a_smarthost_that_proves_its_name_is_logged_in_at_and_no_other() {
    const NAME: &str = "smtp.isp.example";
    let smarthost = "mail.smarthost = 'smtp.isp.example:587'";
    let login = "mail.smarthost_user = 'office'\nmail.smarthost_password_file = 'isp.secret'";
    let office = Office::new(1, &format!("{SETTINGS}\ndns.upstream = ['{ISP}']\n{smarthost}\n{login}"));
    let (gateway, pc) = (office.gateway(), office.pc(1));
    let _names = name_server(&office.internet, &format!("--host-record={NAME},{SERVER} --local=/example/"));
    let exim = Exim::start(&office.internet, SERVER, NAME);
    let taken = |subject: &str| {
        eventually(&format!("{subject} at Exim"), || {
            exim.inbox().contains(&format!("Subject: {subject}\n")).then_some(())
        });
    };
    let told = |words: &str| {
        eventually(&format!("{words:?}"), || trouble(gateway).filter(|trouble| trouble.contains(words)));
    };
    let directory = gateway.setup().directory();
    // Nobody has given it a password, nor an authority.
    send(pc, "first", &["bob@far.example"]);
    told("isp.secret cannot be read");
    fs::write(directory.join("isp.secret"), "wrong\n").expect("a file");
    release(gateway, "bob@far.example");
    told("not trusted");
    fs::write(directory.join("authority.pem"), exim.authority()).expect("a file");
    gateway.setup().edit(smarthost, &format!("tls.authorities = 'authority.pem'\n{smarthost}"));
    assert!(gateway.reload().status.success(), "{}", gateway.log());
    release(gateway, "bob@far.example");
    told("the login was refused: 535");
    assert_eq!(exim.inbox(), "");
    fs::write(directory.join("isp.secret"), format!("{}\n", Exim::PASSWORD)).expect("a file");
    release(gateway, "bob@far.example");
    until_sent(gateway);
    taken("first");
    assert_eq!(trouble(gateway), None);
    // Where TLS comes first.
    gateway.setup().edit("example:587", "example:465");
    assert!(gateway.reload().status.success(), "{}", gateway.log());
    send(pc, "second", &["bob@far.example", "carl@other.example"]);
    until_sent(gateway);
    taken("second");
    assert_eq!(exim.log().matches(" A=plain:office ").count(), 2, "{}", exim.log());
    // A file without an authority is refused, and the one before goes on.
    fs::write(directory.join("authority.pem"), "none\n").expect("a file");
    let refused = gateway.reload();
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && why.contains("authority.pem: there is no authority's certificate"),
        "{why}"
    );
    send(pc, "third", &["bob@far.example"]);
    until_sent(gateway);
    taken("third");
    let log = gateway.log();
    assert!(!log.contains(Exim::PASSWORD), "{log}");
}
