//! What the administrator is told of mail, and does with it, while the gateway runs.

use crate::harness::{LAN, Namespace, Office};

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
    crate::harness::eventually("the session's end", || {
        (gateway.show("mailboxes")["mailboxes"][0]["pop3_locked"] == false).then_some(())
    });
}
