//! Mail that addresses here send on to others elsewhere.

use super::*;
use crate::mail::address::Mailbox;
use crate::mail::rules::{Action, Rule, Rules, When};
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
fn who_is_named_beside_an_alias_or_twice_has_the_message_once() {
    simulate(async {
        let office = Office::start(&Arc::default(), with_aliases()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        for (taken, recipients) in
            [["sales@office.example", BOB], [BOB, "sales@office.example"], [BOB, BOB]].iter().enumerate()
        {
            assert!(office.mail(ANNA, recipients).await.starts_with("250"));
            office.until_empty().await;
            assert_eq!(mx1.taken(), taken + 1, "{recipients:?}");
            let commands = mx1.commands.borrow().join("\n");
            assert_eq!(commands.matches("RCPT TO:").count(), taken + 1, "{commands}");
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

        // With the key of the state directory, also after a restart.
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
        assert_eq!((office.lab.inbox("anna").await.len(), office.driver.stats().queued), (1, 0));
        // Whoever is no forwarder has it: it may be sent on by hand.
        assert!(stranger.mail(&path, &[ANNA], &sent).await.starts_with("250"));
        assert_eq!(office.lab.inbox("anna").await.len(), 2);
    });
}

#[test]
fn a_notice_of_what_was_sent_on_names_the_address_that_the_sender_knows() {
    simulate(async {
        let office = Office::start(&Arc::default(), with_aliases()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        mx1.say("RCPT TO:<bob", "550 5.1.1 no such user");
        let mut stranger = office.lab.stranger().await;
        assert!(stranger.mail("carl@far.example", &["sales@office.example"], MAIL).await.starts_with("250"));
        office.until_empty().await;
        let notice = mx1.taken.borrow()[0].clone();
        for part in [
            "\r\n    <sales@office.example>, sent on to <bob@far.example>\r\n",
            "\r\nOriginal-Recipient: rfc822; sales@office.example\r\nFinal-Recipient: rfc822; bob@far.example\r\n",
        ] {
            assert!(notice.contains(part), "{notice}");
        }
        // A server that reports itself gets a report, too.
        mx1.say("EHLO", "250-mx.far.example\r\n250 DSN");
        assert!(stranger.mail("carl@far.example", &["sales@office.example"], MAIL).await.starts_with("250"));
        office.until_empty().await;
        let commands = mx1.commands.borrow().join("\n");
        assert!(
            commands.contains("RCPT TO:<bob@far.example> ORCPT=rfc822;sales@office.example\n"),
            "{commands}"
        );
    });
}

#[test]
fn a_notice_of_what_came_by_a_return_path_of_the_office_goes_to_the_sender_in_it() {
    simulate(async {
        let office = Office::start(&Arc::default(), with_aliases()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        let mut stranger = office.lab.stranger().await;
        assert!(stranger.mail("carl@far.example", &["sales@office.example"], MAIL).await.starts_with("250"));
        office.until_empty().await;
        // Bob's server sends it on to another address here, which sends it on to him.
        let path = return_path(&mx1);
        mx1.say("RCPT TO:<bob", "550 5.1.1 no such user");
        assert!(stranger.mail(&path, &["sales@office.example"], MAIL).await.starts_with("250"));
        office.until_empty().await;
        let commands = mx1.commands.borrow().join("\n");
        assert!(commands.contains("MAIL FROM:<>\nRCPT TO:<carl@far.example>\n"), "{commands}");
        let notice = mx1.taken.borrow()[1].clone();
        assert!(notice.contains("\r\nTo: <carl@far.example>\r\n"), "{notice}");
        assert_eq!(office.driver.stats().notices_to_postmaster, 0);
    });
}

fn with_rules(rules: Rules, keep_days: &[(&str, u32)]) -> Settings {
    let keep_days = keep_days.iter().map(|(name, days)| ((*name).to_owned(), *days)).collect();
    Settings { mail: service::Settings { rules, keep_days, ..lab::settings() }, ..settings() }
}

fn rule(when: When, action: Action) -> Rule {
    Rule { user: Some("anna".to_owned()), when, action }
}

#[test]
fn a_persons_rule_sends_mail_on_by_the_queue_and_not_a_second_time() {
    simulate(async {
        let to = Mailbox::parse(BOB).unwrap();
        let all = vec![rule(When::default(), Action::Forward { to, keeps: false })];
        let rules = Rules { all, ..Rules::default() };
        let office = Office::start(&Arc::default(), with_rules(rules, &[])).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        let mut stranger = office.lab.stranger().await;
        assert!(stranger.mail("carl@b.example", &[ANNA], MAIL).await.starts_with("250"));
        office.until_empty().await;
        let path = return_path(&mx1);
        assert!(path.ends_with("=b.example=carl@office.example"), "{path}");
        let sent = mx1.taken.borrow()[0].trim_end_matches(".\r\n").to_owned();
        assert!(sent.starts_with("Delivered-To: anna@office.example\r\n"), "{sent}");
        assert_eq!(office.lab.inbox("anna").await.len(), 0);
        // Bob sends all of his on to Anna.
        assert!(stranger.mail(&path, &[ANNA], &sent).await.starts_with("250"));
        office.until_empty().await;
        assert_eq!((mx1.taken(), office.lab.inbox("anna").await.len()), (1, 1));
    });
}

/// Sends Anna a message with these parameters of RCPT, which her rule forwards to Bob. Returns the lines that Bob's
/// server got from the gateway.
async fn sent_on_by_a_rule(keeps: bool, parameters: &str, refuses: bool) -> (Office, String) {
    let to = Mailbox::parse(BOB).unwrap();
    let all = vec![rule(When::default(), Action::Forward { to, keeps })];
    let rules = Rules { all, ..Rules::default() };
    let office = Office::start(&Arc::default(), with_rules(rules, &[])).await;
    let mx1 = Server::start(&office.lab.wire, MX1).await;
    mx1.say("EHLO", "250-mx.far.example\r\n250 DSN");
    if refuses {
        mx1.say("RCPT TO:<bob", "550 5.1.1 no such user");
    }
    let mut client = office.lab.pc().await;
    client
        .dialogue(&[
            ("MAIL FROM:<carl@far.example>", "250"),
            (&format!("RCPT TO:<{ANNA}>{parameters}"), "250"),
            ("DATA", "354"),
            (&format!("{MAIL}."), "250"),
        ])
        .await;
    office.until_empty().await;
    let commands = mx1.commands.borrow().join("\n");
    (office, commands)
}

/// RFC 3461, section 4.1: A sender with NOTIFY=NEVER gets no DSN, not even for a message that a user's rule forwarded.
#[test]
fn rfc3461_4_1_who_wants_to_be_told_nothing_is_told_nothing_of_what_a_rule_sent_on() {
    simulate(async {
        let (_, commands) = sent_on_by_a_rule(false, " NOTIFY=NEVER", true).await;
        assert!(commands.contains("RCPT TO:<bob@far.example> NOTIFY=NEVER"), "{commands}");
        assert!(!commands.contains("MAIL FROM:<>"), "{commands}");
        let (_, commands) = sent_on_by_a_rule(false, "", true).await;
        assert!(commands.contains("MAIL FROM:<>"), "{commands}");
    });
}

/// RFC 3461, section 5.2.7.3: Of a copy that stays here, and not of one that goes on beside it, success is reported.
#[test]
fn rfc3461_5_2_7_3_success_is_asked_for_where_the_only_copy_goes() {
    simulate(async {
        let asked = " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a@x.example";
        for (keeps, expected) in [(false, "NOTIFY=SUCCESS,FAILURE"), (true, "NOTIFY=FAILURE")] {
            let (_, commands) = sent_on_by_a_rule(keeps, asked, false).await;
            let expected = format!("RCPT TO:<bob@far.example> {expected} ORCPT=rfc822;a@x.example\n");
            assert!(commands.contains(&expected), "{commands}");
        }
    });
}

#[test]
fn who_is_named_twice_is_silent_only_if_that_is_asked_for_both_times() {
    simulate(async {
        let office = Office::start(&Arc::default(), with_aliases()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        mx1.say("EHLO", "250-mx.far.example\r\n250 DSN");
        let mut client = office.lab.pc().await;
        client
            .dialogue(&[
                (&format!("MAIL FROM:<{ANNA}>"), "250"),
                (&format!("RCPT TO:<{BOB}> NOTIFY=NEVER"), "250"),
                ("RCPT TO:<sales@office.example> NOTIFY=DELAY", "250"),
                ("DATA", "354"),
                (&format!("{MAIL}."), "250"),
            ])
            .await;
        office.until_empty().await;
        let commands = mx1.commands.borrow().join("\n");
        assert!(commands.contains("RCPT TO:<bob@far.example> NOTIFY=DELAY"), "{commands}");
    });
}

/// RFC 3834, section 3.3: The answer goes to the return path, and comes from the null one.
#[test]
fn rfc3834_3_3_an_answer_goes_to_the_return_path_from_the_null_one() {
    simulate(async {
        let vacations = [("anna".to_owned(), "Back on Monday.".to_owned())].into();
        let rules = Rules { vacations, ..Rules::default() };
        let office = Office::start(&Arc::default(), with_rules(rules, &[])).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        let mut stranger = office.lab.stranger().await;
        let mail = format!("From: other@c.example\r\nTo: {ANNA}\r\n{MAIL}");
        for _ in 0..2 {
            assert!(stranger.mail("carl@far.example", &[ANNA], &mail).await.starts_with("250"));
            sleep(Duration::from_secs(1)).await;
            office.until_empty().await;
        }
        let commands = mx1.commands.borrow().join("\n");
        assert!(commands.contains("MAIL FROM:<>\nRCPT TO:<carl@far.example>\n"), "{commands}");
        assert_eq!((mx1.taken(), office.lab.inbox("anna").await.len()), (1, 2));
        let answer = mx1.taken.borrow()[0].clone();
        assert!(
            answer.contains("Auto-Submitted: auto-replied\r\n") && answer.contains("Back on Monday."),
            "{answer}"
        );
    });
}

#[test]
fn mail_that_is_older_than_its_folder_keeps_it_is_gone_and_stays_away() {
    simulate(async {
        let junk =
            When { header: Some("Subject".to_owned()), contains: Some("win".to_owned()), ..When::default() };
        let rules = Rules { all: vec![rule(junk, Action::File("Junk".to_owned()))], ..Rules::default() };
        let settings = || with_rules(rules.clone(), &[("inbox", 10), ("junk", 1)]);
        let disk = Arc::<FakeDisk>::default();
        let office = Office::start(&disk, settings()).await;
        for message in [MAIL, "Subject: You win\r\n\r\nx\r\n"] {
            assert!(
                office.lab.stranger().await.mail("carl@b.example", &[ANNA], message).await.starts_with("250")
            );
        }
        let count = async |hours: u64| {
            sleep(Duration::from_secs(hours * 3600)).await;
            office.lab.inbox("anna").await.len()
        };
        assert_eq!((count(23).await, count(3).await), (2, 1));
        assert_eq!((count(9 * 24 - 4).await, count(24).await), (1, 0));
        let again = Office::start(&Arc::new(disk.fork()), settings()).await;
        assert_eq!(again.lab.inbox("anna").await.len(), 0);
    });
}
