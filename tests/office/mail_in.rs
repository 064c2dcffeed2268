//! Mail from remote servers: Postfix by DATA, Exim in chunks.

use std::fs;

use crate::harness::exim::Exim;
use crate::harness::postfix::Postfix;
use crate::harness::programs::smtplib;
use crate::harness::{Namespace, Office, SERVER, WAN, eventually};

const SETTINGS: &str = "users = [{ name = 'anna' }, { name = 'bert' }]\nmail.disk_reserve = '1 MiB'\n\
                        firewall.wan_services = ['smtp']";

/// What its lines look like is for servers to see through: dots, octets above 127, and more than a megabyte.
fn body() -> String {
    format!(".\n..two\n. three\nGr\u{fc}\u{df}e\n{}\n.\n", "0123456789 and so on\n".repeat(60_000))
}

/// Hands the message `subject` with that body for the office to the server that Python calls `connect`.
fn hand_over(internet: &Namespace, file: &str, connect: &str, subject: &str, recipients: &str) {
    let text = format!("From: bob@far.example\nSubject: {subject}\n\n{}", body());
    fs::write(file, text.replace('\n', "\r\n")).expect("a file");
    internet.sh(&smtplib(&format!(
        "s = {connect}\ns.ehlo()\n\
         s.sendmail(\"bob@far.example\", {recipients}, open(\"{file}\", \"rb\").read())\ns.quit()"
    )));
}

/// Waits until anna and bert have the message `subject`, once and whole.
fn until_there(office: &Office, subject: &str) {
    let setup = office.gateway().setup();
    for user in ["anna", "bert"] {
        let header = format!("\nSubject: {subject}");
        let inbox = eventually(&format!("{subject} in {user}'s inbox"), || {
            Some(setup.inbox(user)).filter(|inbox| inbox.contains(&header))
        });
        let (head, rest) = inbox.split_once(&header).expect("it is there");
        assert!(!rest.contains(&header), "{subject} comes once");
        let came = rest.split_once("\n\n").expect("a body").1;
        assert!(came.starts_with(&body()), "{subject}: {}", &came[..came.len().min(200)]);
        let ours = head.rsplit("\nReturn-Path: ").next().expect("all of it");
        assert!(ours.contains(" with ESMTPS id "), "it came under TLS: {ours}");
    }
}

#[test]
fn what_other_servers_bring_arrives_once_and_whole_and_is_refused_where_it_is_for_nobody() {
    let office = Office::new(1, SETTINGS);
    let internet = &office.internet;
    let file = office.gateway().setup().directory().join("message").display().to_string();
    // Of the recipients one is refused, and those who are not have the message.
    let settings = format!(
        "relayhost = [{WAN}]\nmynetworks = {SERVER}/32\nsmtp_tls_security_level = may\n\
         smtpd_recipient_restrictions = permit_mynetworks, reject"
    );
    let postfix = Postfix::start(internet, SERVER, "far.example", &["bob"], &settings);
    let recipients = "[\"anna@office.example\", \"nobody@office.example\", \"Bert+x@office.example\"]";
    hand_over(internet, &file, &format!("smtplib.SMTP(\"{SERVER}\")"), "by-data", recipients);
    until_there(&office, "by-data");
    let bounce = eventually("a notice of Postfix's", || postfix.mailbox("bob").into_iter().next());
    assert!(bounce.contains("<nobody@office.example>") && bounce.contains("550 5.1.1"), "{bounce}");
    assert!(!bounce.contains("Final-Recipient: rfc822; anna@"), "{bounce}");

    let exim = Exim::start(internet, SERVER, "mx.other.example");
    let connect =
        format!("smtplib.SMTP(\"{SERVER}\", 587); s.starttls(); s.login(\"office\", \"{}\")", Exim::PASSWORD);
    hand_over(internet, &file, &connect, "by-chunks", "[\"anna@office.example\", \"bert@office.example\"]");
    until_there(&office, "by-chunks");
    let sent = eventually("Exim's word of it", || {
        Some(exim.log()).filter(|log| log.contains("=> anna@office.example"))
    });
    // K: by BDAT.
    assert!(sent.contains(" K ") && sent.contains("250 2.6.0 taken as "), "{sent}");
}
