//! Mail that addresses here send on to others elsewhere.

use super::*;
use crate::mail::address::Mailbox;
use crate::mail::service::aliases::{Alias, Aliases};

/// `sales` leads to Bob at `far.example` and to Anna, and `all` to `sales`.
fn with_aliases() -> Settings {
    let mailbox = |text: &str| Mailbox::parse(text).unwrap();
    let alias = |name: &str, members: &[&str]| Alias {
        address: mailbox(name),
        members: members.iter().copied().map(mailbox).collect(),
    };
    let sales = alias("sales@office.example", &[BOB, ANNA]);
    let all = vec![sales, alias("all@office.example", &["sales@office.example"])];
    let aliases = Aliases { all, catch_all: None };
    Settings { mail: service::Settings { aliases, ..lab::settings() }, ..settings() }
}

/// The return path of the last message that the server was sent.
fn return_path(server: &Server) -> String {
    let commands = server.commands.borrow();
    let last = commands.iter().rev().find_map(|command| command.strip_prefix("MAIL FROM:<")).unwrap();
    last.split('>').next().unwrap().to_owned()
}

#[test]
fn what_strangers_send_to_an_alias_leaves_with_a_return_path_of_the_office() {
    simulate(async {
        let office = Office::start(&Arc::default(), with_aliases()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        let taken = office.lab.stranger().await.mail("carl@b.example", &["All@office.example"], MAIL).await;
        assert!(taken.starts_with("250"), "{taken}");
        office.until_empty().await;
        let path = return_path(&mx1);
        let is_rewritten = path.starts_with("SRS0=") && path.ends_with("=b.example=carl@office.example");
        assert!(is_rewritten, "{path}");
        let sent = mx1.taken.borrow()[0].clone();
        assert!(sent.starts_with("Delivered-To: all@office.example\r\nReceived: from "), "{sent}");
        let inbox = office.lab.inbox("anna").await;
        assert!(inbox[0].starts_with("Return-Path: <carl@b.example>\r\n"), "{}", inbox[0]);
        for (sender, recipients) in [
            (ANNA, &["sales@office.example"][..]),
            ("", &["sales@office.example"][..]),
            // The LAN sends this itself.
            ("carl@b.example", &[BOB][..]),
        ] {
            assert!(office.mail(sender, recipients).await.starts_with("250"));
            office.until_empty().await;
            assert_eq!(return_path(&mx1), sender);
        }
    });
}

#[test]
fn what_goes_to_one_server_by_itself_and_by_an_alias_has_a_return_path_each() {
    simulate(async {
        let office = Office::start(&Arc::default(), with_aliases()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        let recipients = ["carl@far.example", "sales@office.example"];
        assert!(office.mail("dora@b.example", &recipients).await.starts_with("250"));
        office.until_empty().await;
        let commands = mx1.commands.borrow().join("\n");
        assert!(
            commands.contains("MAIL FROM:<dora@b.example>\nRCPT TO:<carl@far.example>\nDATA"),
            "{commands}"
        );
        assert!(commands.contains("=dora@office.example>\nRCPT TO:<bob@far.example>\nDATA"), "{commands}");
        assert_eq!(mx1.taken(), 2);
    });
}

#[test]
fn a_report_of_failure_finds_its_way_back_to_the_sender() {
    simulate(async {
        let disk = Arc::<FakeDisk>::default();
        let office = Office::start(&disk, with_aliases()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        let mut stranger = office.lab.stranger().await;
        assert!(stranger.mail("carl@far.example", &["sales@office.example"], MAIL).await.starts_with("250"));
        office.until_empty().await;
        let path = return_path(&mx1);
        drop(office);

        // By the key of the state directory, after a start too.
        let office = Office::start(&Arc::new(disk.fork()), with_aliases()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        let mut stranger = office.lab.stranger().await;
        let taken = stranger.mail("", &[&path.to_lowercase()], MAIL).await;
        assert!(taken.starts_with("250"), "{taken}");
        office.until_empty().await;
        let commands = mx1.commands.borrow().join("\n");
        assert!(commands.contains("MAIL FROM:<>\nRCPT TO:<carl@far.example>\n"), "{commands}");

        let refused = stranger.mail("mallory@b.example", &[&path], MAIL).await;
        assert!(refused.starts_with("550 5.7.1 only reports of failure"), "{refused}");
        stranger.dialogue(&[("RSET", "250")]).await;
        let forged = path.replace("far.example", "near.example");
        let refused = stranger.mail("", &[&forged], MAIL).await;
        assert!(refused.starts_with("550 5.7.1 this address was not made here"), "{refused}");
        let too_long = path.replace("carl", &"c".repeat(300));
        stranger.dialogue(&[(&format!("RCPT TO:<{too_long}>"), "501")]).await;
        drop(stranger);
        sleep(Duration::from_secs(22 * 24 * 3600)).await;
        let refused = office.lab.stranger().await.mail("", &[&path], MAIL).await;
        assert!(refused.starts_with("550 5.7.1 this address has expired"), "{refused}");
        assert_eq!(mx1.taken(), 1);
    });
}

#[test]
fn a_return_path_that_would_be_too_long_is_told_when_the_recipient_is_named() {
    simulate(async {
        let office = Office::start(&Arc::default(), with_aliases()).await;
        let sender = format!("{}@b.example", "x".repeat(230));
        let mut stranger = office.lab.stranger().await;
        let refused = stranger.mail(&sender, &["sales@office.example"], MAIL).await;
        assert!(refused.starts_with("550 5.7.1 the sender's address is too long"), "{refused}");
        stranger.dialogue(&[("RSET", "250")]).await;
        assert!(stranger.mail(&sender, &[ANNA], MAIL).await.starts_with("250"));
        assert_eq!(office.lab.inbox("anna").await.len(), 1);
    });
}

#[test]
fn what_comes_back_to_the_address_that_sent_it_on_is_refused_and_nobody_has_it_again() {
    simulate(async {
        let office = Office::start(&Arc::default(), with_aliases()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        let mut stranger = office.lab.stranger().await;
        assert!(stranger.mail("carl@b.example", &["sales@office.example"], MAIL).await.starts_with("250"));
        office.until_empty().await;
        let sent = mx1.taken.borrow()[0].trim_end_matches(".\r\n").to_owned();
        let path = return_path(&mx1);
        let round = stranger.mail("list@c.example", &["SALES+x@office.example"], &sent).await;
        assert_eq!(round, "554 5.4.6 the message goes round in a loop\r\n");
        assert_eq!((office.lab.inbox("anna").await.len(), office.way_out.stats().queued), (1, 0));
        // Whoever is no forwarder has it: it may be sent on by hand.
        assert!(stranger.mail(&path, &[ANNA], &sent).await.starts_with("250"));
        assert_eq!(office.lab.inbox("anna").await.len(), 2);
    });
}
