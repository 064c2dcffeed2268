//! What becomes of messages.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::lab::*;
use crate::mail::service::ANSWER_TIMEOUT;
use crate::mail::smtp::{Role, TARPIT_STEP};
use crate::mail::store::tests::disk::Loss;

const MESSAGE: &str =
    "From: a@b.example\r\nDate: x\r\nMessage-ID: <1@b.example>\r\nSubject: s\r\n\r\nbody\r\n";

/// RFC 5321, section 6.1: The reply that a message is taken comes when nothing can lose it any more.
#[test]
fn rfc5321_6_1_a_message_that_was_taken_is_there_after_a_power_cut() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.stranger().await;
        let taken =
            client.mail("a@b.example", &["anna@office.example", "berta@office.example"], MESSAGE).await;
        assert!(taken.starts_with("250 2.6.0 taken as "), "{taken}");
        lab.disk.cut_power(Loss::All);
        let again = Lab::start(&lab.disk, Role::Mx, settings()).await;
        let id = taken["250 2.6.0 taken as ".len()..].trim_end();
        for name in ["anna", "berta"] {
            assert_eq!(
                again.inbox(name).await,
                [format!(
                    "Return-Path: <a@b.example>\r\n\
                     Delivered-To: {name}@office.example\r\n\
                     X-Original-To: {name}@office.example\r\n\
                     Authentication-Results: smtp.office.example;\r\n\
                     \tdmarc=temperror header.from=b.example;\r\n\
                     \tspf=temperror smtp.mailfrom=b.example;\r\n\
                     \tdkim=none\r\n\
                     Received: from mx.elsewhere.example ([8.8.4.4])\r\n\
                     \tby smtp.office.example with ESMTP id {id};\r\n\
                     \tThu, 29 Feb 2024 12:34:56 +0000\r\n{MESSAGE}"
                )]
            );
        }
        assert_eq!((lab.count("messages"), lab.count("recipients")), (1, 2));
    });
}

#[test]
fn a_message_that_the_disk_does_not_keep_is_refused_and_nowhere() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.stranger().await;
        let mail = |subject: &str| MESSAGE.replace("Subject: s", &format!("Subject: {subject}"));
        assert!(client.mail("", &["anna@office.example"], &mail("one")).await.starts_with("250"));
        lab.disk.fail_to_sync(true);
        let mends = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            lab.disk.fail_to_sync(false);
        };
        let two = mail("two");
        let (refused, ()) = tokio::join!(client.mail("", &["anna@office.example"], &two), mends);
        assert!(refused.starts_with("451 4.3.0"), "{refused}");
        assert!(client.mail("", &["anna@office.example"], &mail("three")).await.starts_with("250"));
        lab.disk.cut_power(Loss::All);
        let again = Lab::start(&lab.disk, Role::Mx, settings()).await;
        let inbox = again.inbox("anna").await;
        assert_eq!(inbox.len(), 2);
        assert!(inbox[0].contains("Subject: one") && inbox[1].contains("Subject: three"));
        assert_eq!(lab.count("messages_refused"), 1);
    });
}

#[test]
fn a_client_is_told_nothing_while_it_is_unknown_whether_its_message_is_kept() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.stranger().await;
        client.dialogue(&[("RSET", "250")]).await;
        lab.disk.fail_to_sync(true);
        let began = tokio::time::Instant::now();
        let said = client.mail("", &["anna@office.example"], MESSAGE).await;
        assert_eq!((said.as_str(), began.elapsed()), ("", ANSWER_TIMEOUT), "the connection ends");
        assert_eq!((lab.count("connections_lost"), lab.count("messages")), (1, 0));
    });
}

/// RFC 6409, section 8: A message from the office's own programs gets what it lacks, and one from outside stays as it is.
#[test]
fn rfc6409_8_a_message_from_the_office_gets_what_it_lacks_and_one_from_outside_stays_as_it_is() {
    simulate(async {
        let lab = Lab::smtp().await;
        let bare = "Subject: scan\r\n\r\npage\r\n";
        let taken = lab.pc().await.mail("scanner@office.example", &["anna@office.example"], bare).await;
        assert!(taken.starts_with("250"), "{taken}");
        let from_outside = lab.stranger().await.mail("a@b.example", &["berta@office.example"], bare).await;
        assert!(from_outside.starts_with("250"), "{from_outside}");
        let id = taken["250 2.6.0 taken as ".len()..].trim_end();
        let completed = format!(
            "Subject: scan\r\nDate: Thu, 29 Feb 2024 12:34:56 +0000\r\nMessage-ID: <{id}@smtp.office.example>\r\n\
             From: scanner@office.example\r\n\r\npage\r\n"
        );
        assert!(lab.inbox("anna").await[0].ends_with(&format!("+0000\r\n{completed}")));
        assert!(lab.inbox("berta").await[0].ends_with(&format!("+0000\r\n{bare}")));
    });
}

#[test]
fn a_long_message_streams_to_a_file_and_comes_back_whole() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.stranger().await;
        let lines: String = (0..50_000).map(|number| format!("..{number:0>70}\r\n")).collect();
        let taken = client.mail("a@b.example", &["anna@office.example"], &format!("{MESSAGE}{lines}")).await;
        assert!(taken.starts_with("552 5.2.2"), "it is longer than the quota: {taken}");
        assert_eq!(lab.inbox("anna").await.len(), 0);
        lab.go_over_to(large()).await;
        let mut client = lab.stranger().await;
        let taken = client.mail("a@b.example", &["anna@office.example"], &format!("{MESSAGE}{lines}")).await;
        assert!(taken.starts_with("250"), "{taken}");
        let unstuffed = lines.replace("..", ".");
        assert!(lab.inbox("anna").await[0].ends_with(&format!("{MESSAGE}{unstuffed}")));
        assert_eq!(lab.disk.names().iter().filter(|name| name.starts_with("mail/bodies")).count(), 1);
    });
}

#[test]
fn a_header_of_a_megabyte_comes_back_whole_and_nothing_is_added_to_it() {
    simulate(async {
        let lab = Lab::start(&Arc::default(), Role::Mx, large()).await;
        let long = format!("X-Long: {}\r\n", "x".repeat(100 << 10));
        let header = format!("Subject: Gr\u{fc}\u{df}e\r\n{long}{}", "X-Many: y\r\n".repeat(100_000));
        let last =
            "Date: Thu, 29 Feb 2024 12:00:00 +0000\r\nMessage-ID: <1@b.example>\r\nFrom: a@b.example\r\n";
        let message = format!("{header}{last}\r\nAt noon?\r\n");
        for (client, user) in [(lab.stranger().await, "anna"), (lab.pc().await, "berta")] {
            let (mut client, to) = (client, format!("{user}@office.example"));
            let taken = client.mail("a@b.example", &[&to], &message).await;
            assert!(taken.starts_with("250"), "{taken}");
            assert!(lab.inbox(user).await[0].ends_with(&format!("\r\n{message}")), "{user}");
        }
    });
}

fn large() -> crate::mail::service::Settings {
    let mut settings = settings();
    settings.users.iter_mut().for_each(|user| user.quota = 1 << 30);
    settings
}

/// RFC 2920, section 3.2: A message whose commands are pipelined in one segment is accepted like any other.
#[test]
fn rfc2920_3_2_commands_that_come_in_one_portion_are_answered_in_order() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.dial(STRANGER, WAN, 25).await;
        client
            .send(format!(
                "EHLO a.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<nobody@office.example>\r\n\
                 RCPT TO:<anna@office.example>\r\nDATA\r\n{MESSAGE}.\r\nMAIL FROM:<>\r\n\
                 RCPT TO:<anna@office.example>\r\nBDAT {} LAST\r\n{MESSAGE}QUIT\r\n",
                MESSAGE.len()
            ))
            .await;
        for expected in
            ["250-smtp", "250", "550", "250", "354", "250 2.6.0", "250", "250", "250 2.6.0", "221"]
        {
            let reply = client.reply().await;
            assert!(reply.starts_with(expected), "{reply:?}, not {expected}");
        }
        assert!(client.is_closed().await);
        assert_eq!(lab.inbox("anna").await.len(), 2);
    });
}

#[test]
fn replies_to_commands_that_come_together_go_together() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.pc().await;
        let before = lab.wire.writes();
        let recipients = "RCPT TO:<anna@office.example>\r\n".repeat(50);
        client.send(format!("MAIL FROM:<a@b.example>\r\n{recipients}DATA\r\n")).await;
        for _ in 0..51 {
            assert!(client.reply().await.starts_with("250"));
        }
        assert!(client.reply().await.starts_with("354"));
        assert_eq!(lab.wire.writes() - before, 1);
        client.send(format!("{MESSAGE}.\r\n")).await;
        assert!(client.reply().await.starts_with("250 2.6.0"));
        // More than wait for each other go on their way meanwhile.
        let before = lab.wire.writes();
        client.send("NOOP\r\n".repeat(600)).await;
        for _ in 0..600 {
            assert!(client.reply().await.starts_with("250"));
        }
        assert!((2..20).contains(&(lab.wire.writes() - before)));
    });
}

#[test]
fn nothing_is_read_while_a_reply_is_held_back() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.stranger().await;
        for _ in 0..3 {
            client.dialogue(&[("FOO", "500")]).await;
        }
        let began = tokio::time::Instant::now();
        client.send("FOO\r\n").await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        // That is more than what can be under way.
        client.send(format!("NOOP {}\r\n", "x".repeat(1000)).repeat(6)).await;
        assert!(began.elapsed() >= TARPIT_STEP, "{:?}", began.elapsed());
        assert!(client.reply().await.starts_with("500"));
        for _ in 0..6 {
            assert!(client.reply().await.starts_with("250"));
        }
    });
}

#[test]
fn a_message_whose_client_goes_is_nowhere_and_holds_no_room() {
    simulate(async {
        let lab = Lab::smtp().await;
        let half = "x".repeat(700_000);
        for _ in 0..3 {
            let mut client = lab.stranger().await;
            client
                .dialogue(&[
                    ("MAIL FROM:<a@b.example> SIZE=700000", "250"),
                    ("RCPT TO:<anna@office.example>", "250"),
                    ("DATA", "354"),
                ])
                .await;
            client.send(&half).await;
            drop(client);
            // The server has to notice it.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!((lab.count("connections_lost"), lab.count("messages_refused")), (3, 3));
        assert_eq!(lab.inbox("anna").await.len(), 0);
        assert_eq!(lab.disk.names().iter().filter(|name| name.starts_with("mail/bodies")).count(), 0);
    });
}

/// RFC 2033, section 4.2: By LMTP each recipient has a reply of its own.
#[test]
fn rfc2033_4_2_by_lmtp_each_recipient_has_a_reply_of_its_own() {
    simulate(async {
        let lmtp = crate::mail::service::Settings { port: 2424, on_outside: false, ..settings() };
        let lab = Lab::start(&Arc::default(), Role::Lmtp, lmtp).await;
        let mut client = lab.dial(PC1, LAN, 2424).await;
        client
            .dialogue(&[
                ("LHLO server", "250-smtp.office.example"),
                ("MAIL FROM:<a@b.example>", "250"),
                ("RCPT TO:<anna@office.example>", "250"),
                ("RCPT TO:<nobody@office.example>", "550"),
                ("RCPT TO:<berta@office.example>", "250"),
                ("RCPT TO:<c@elsewhere.example>", "550 5.7.1"),
                ("DATA", "354"),
            ])
            .await;
        client.send(format!("{MESSAGE}.\r\n")).await;
        for _ in 0..2 {
            let reply = client.reply().await;
            assert!(reply.starts_with("250"), "{reply}");
        }
        client.dialogue(&[("QUIT", "221")]).await;
        let inboxes = [lab.inbox("anna").await, lab.inbox("berta").await];
        assert!(inboxes.iter().all(|inbox| inbox.len() == 1 && inbox[0].ends_with(MESSAGE)), "{inboxes:?}");
    });
}

#[test]
fn nothing_is_opened_where_there_is_no_mail() {
    simulate(async {
        let lab = Lab::new(&Arc::default(), Role::Mx, Rc::new(crate::mail::service::remote::NoRemote));
        let off = crate::mail::service::Settings { enabled: false, ..settings() };
        let instance = lab.prepare(off).await.unwrap();
        assert_eq!(instance.state(), crate::service::State::Off);
        assert!(lab.state.opened().is_none() && lab.disk.names().is_empty());
    });
}
