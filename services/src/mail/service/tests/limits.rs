//! What a client gets, and what it does not.

use std::time::Duration;

use super::lab::*;
use crate::mail::address::Mailbox;
use crate::mail::service::aliases::Alias;
use crate::mail::service::{Settings, Shares, WRITE_TIMEOUT};
use crate::mail::smtp::{COMMAND_TIMEOUT, Role};
use crate::service::State;

#[test]
fn a_full_mailbox_refuses_its_own_mail_when_its_recipient_is_named() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.stranger().await;
        let long = format!("a: b\r\n\r\n{}\r\n", "x".repeat(700_000));
        assert!(client.mail("", &["anna@office.example"], &long).await.starts_with("250"));
        client
            .dialogue(&[
                ("MAIL FROM:<a@b.example> SIZE=700000", "250"),
                ("RCPT TO:<anna@office.example>", "452 4.2.2"),
                ("RCPT TO:<berta@office.example>", "250"),
                ("RSET", "250"),
                ("MAIL FROM:<a@b.example> SIZE=2000000", "250"),
                ("RCPT TO:<anna@office.example>", "552 5.2.2"),
                ("RSET", "250"),
            ])
            .await;
        assert_eq!((lab.inbox("anna").await.len(), lab.inbox("berta").await.len()), (1, 0));
    });
}

#[test]
fn a_mailbox_that_is_full_in_the_midst_of_a_message_refuses_it_for_all_by_smtp() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.stranger().await;
        let long = format!("a: b\r\n\r\n{}\r\n", "x".repeat(700_000));
        assert!(client.mail("", &["anna@office.example"], &long).await.starts_with("250"));
        let both = ["anna@office.example", "berta@office.example"];
        let grown = client.mail("", &both, &long).await;
        assert!(grown.starts_with("452 4.2.2"), "{grown}");
        assert_eq!((lab.inbox("anna").await.len(), lab.inbox("berta").await.len()), (1, 0));
        // The server accepts no message for which a mailbox has no room in any case.
        let rest = format!("a: b\r\n\r\n{}\r\n", "x".repeat(300_000));
        assert!(client.mail("", &["anna@office.example"], &rest).await.starts_with("250"));
        assert!(client.mail("", &["anna@office.example"], "").await.starts_with("452 4.2.2"));
        client.dialogue(&[("RCPT TO:<berta@office.example>", "250"), ("RSET", "250")]).await;
        client.dialogue(&[("MAIL FROM:<> SIZE=1000", "250"), ("RCPT TO:<anna@office.example>", "250")]).await;
    });
}

#[test]
fn by_lmtp_a_full_mailbox_keeps_a_message_from_nobody_else() {
    simulate(async {
        let lmtp = Settings { port: 2424, on_outside: false, ..settings() };
        let lab = Lab::start(&std::sync::Arc::default(), Role::Lmtp, lmtp).await;
        let mut client = lab.dial(PC1, LAN, 2424).await;
        client.dialogue(&[("LHLO server", "250-smtp.office.example")]).await;
        let long = format!("a: b\r\n\r\n{}\r\n", "x".repeat(700_000));
        assert!(client.mail("", &["anna@office.example"], &long).await.starts_with("250"));
        let recipients = ["berta@office.example", "anna@office.example", "berta+b@office.example"];
        assert!(client.mail("", &recipients, &long).await.starts_with("250"));
        assert!(client.reply().await.starts_with("452 4.2.2"), "anna's mailbox is full");
        assert!(client.reply().await.starts_with("250"));
        assert_eq!((lab.inbox("anna").await.len(), lab.inbox("berta").await.len()), (1, 1));
        assert!(lab.inbox("berta").await[0].ends_with(&long));
        assert!(client.mail("", &recipients[..2], &long).await.starts_with("452 4.2.2"), "both are full");
        assert!(client.reply().await.starts_with("452 4.2.2"));
        client.dialogue(&[("NOOP", "250")]).await;
    });
}

#[test]
fn what_is_announced_and_does_not_come_takes_no_room_from_others() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut silent = Vec::new();
        for number in 0..50 {
            let mut client = lab.dial(&format!("8.8.5.{number}"), WAN, 25).await;
            client.dialogue(&[("EHLO a.example", "250"), ("MAIL FROM:<> SIZE=600000", "250")]).await;
            client.dialogue(&[("RCPT TO:<anna@office.example>", "250"), ("DATA", "354")]).await;
            silent.push(client);
        }
        let long = format!("a: b\r\n\r\n{}\r\n", "x".repeat(600_000));
        let mut client = lab.stranger().await;
        client
            .dialogue(&[
                ("MAIL FROM:<> SIZE=600000", "250"),
                ("RCPT TO:<anna@office.example>", "250"),
                ("DATA", "354"),
            ])
            .await;
        client.send(&long).await;
        client.dialogue(&[(".", "250")]).await;
        silent[0].send(&long).await;
        assert!(silent[0].say(".").await.starts_with("452 4.2.2"), "the quota holds");
        assert_eq!(lab.inbox("anna").await.len(), 1);
    });
}

/// `staff` leads to Anna and Berta; Anna's mailbox has 1 MiB, of which 700,000 octets are taken, and the others' are
/// larger.
async fn with_a_member_that_is_nearly_full(role: Role) -> Lab {
    let address = |name: &str| Mailbox::parse(&format!("{name}@office.example")).unwrap();
    let staff = Alias { address: address("staff"), members: vec![address("anna"), address("berta")] };
    let mut settings = settings();
    settings.aliases.all.push(staff);
    settings.users.push(user("carl"));
    settings.users[1..].iter_mut().for_each(|user| user.quota = 100 << 20);
    let is_lmtp = role == Role::Lmtp;
    let settings = if is_lmtp { Settings { port: 2424, on_outside: false, ..settings } } else { settings };
    let lab = Lab::start(&std::sync::Arc::default(), role, settings).await;
    let mut client = if is_lmtp { lmtp(&lab).await } else { lab.pc().await };
    assert!(client.mail("", &["anna@office.example"], &long(700_000)).await.starts_with("250"));
    lab
}

async fn lmtp(lab: &Lab) -> Client {
    let mut client = lab.dial(PC1, LAN, 2424).await;
    client.dialogue(&[("LHLO server", "250-smtp.office.example")]).await;
    client
}

fn long(octets: usize) -> String {
    format!("a: b\r\n\r\n{}\r\n", "x".repeat(octets))
}

async fn counts(lab: &Lab) -> [usize; 3] {
    [lab.inbox("anna").await.len(), lab.inbox("berta").await.len(), lab.inbox("carl").await.len()]
}

#[test]
fn an_alias_is_taken_if_all_of_its_members_have_room_so_nobodys_copy_is_lost() {
    simulate(async {
        let lab = with_a_member_that_is_nearly_full(Role::Mx).await;
        let mut client = lab.stranger().await;
        let announced = ("MAIL FROM:<a@b.example> SIZE=500000", "250");
        client
            .dialogue(&[
                announced,
                ("RCPT TO:<staff@office.example>", "452 4.2.2"),
                ("RCPT TO:<carl@office.example>", "250"),
                ("DATA", "354"),
            ])
            .await;
        client.send(long(500_000)).await;
        client.dialogue(&[(".", "250")]).await;
        assert_eq!(counts(&lab).await, [1, 0, 1], "Berta has no copy of what comes again");
        // A message without an announced size is rejected at its end.
        let both = ["carl@office.example", "staff@office.example"];
        let grown = client.mail("a@b.example", &both, &long(500_000)).await;
        assert!(grown.starts_with("452 4.2.2"), "{grown}");
        assert_eq!(counts(&lab).await, [1, 0, 1]);
        assert!(client.mail("a@b.example", &both, &long(1000)).await.starts_with("250"));
        assert_eq!(counts(&lab).await, [2, 1, 2]);
    });
}

#[test]
fn by_lmtp_an_alias_with_a_full_member_is_refused_and_its_other_members_have_no_copy() {
    simulate(async {
        let lab = with_a_member_that_is_nearly_full(Role::Lmtp).await;
        let mut client = lmtp(&lab).await;
        let recipients = ["staff@office.example", "carl@office.example"];
        assert!(client.mail("", &recipients, &long(500_000)).await.starts_with("452 4.2.2"));
        assert!(client.reply().await.starts_with("250"));
        assert_eq!(counts(&lab).await, [1, 0, 1]);
        // A recipient who is also named directly gets it.
        let recipients = ["staff@office.example", "berta@office.example"];
        assert!(client.mail("", &recipients, &long(500_000)).await.starts_with("452 4.2.2"));
        assert!(client.reply().await.starts_with("250"));
        assert_eq!(counts(&lab).await, [1, 1, 1]);
    });
}

#[test]
fn of_several_owners_those_with_room_get_what_is_for_the_postmaster() {
    simulate(async {
        let mut settings = settings();
        settings.users.iter_mut().for_each(|user| user.role = crate::users::Role::Owner);
        let lab = Lab::start(&std::sync::Arc::default(), Role::Mx, settings).await;
        let mut client = lab.stranger().await;
        let long = format!("a: b\r\n\r\n{}\r\n", "x".repeat(700_000));
        for (anna, berta) in [(1, 0), (1, 1), (1, 2)] {
            let to = if berta == 0 { "anna@office.example" } else { "postmaster@office.example" };
            client
                .dialogue(&[("MAIL FROM:<> SIZE=300000", "250"), (&format!("RCPT TO:<{to}>"), "250")])
                .await;
            client.dialogue(&[("DATA", "354")]).await;
            let octets = if berta == 0 { &long } else { "a: b\r\n\r\nc\r\n" };
            client.send(octets).await;
            client.dialogue(&[(".", "250")]).await;
            assert_eq!(lab.inbox("berta").await.len(), berta);
            assert!(lab.inbox("anna").await.len() >= anna);
        }
    });
}

/// RFC 5321, section 4.5.3.1.9: Without room on the disk a message is refused before it comes, for a time.
#[test]
fn rfc5321_4_5_3_1_9_without_room_a_message_is_refused_before_it_comes() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.stranger().await;
        client.dialogue(&[("MAIL FROM:<>", "250"), ("RSET", "250")]).await;
        lab.disk.set_room(Some((128 << 20) + 1000));
        tokio::time::sleep(Duration::from_secs(5)).await;
        client
            .dialogue(&[
                ("MAIL FROM:<> SIZE=1001", "452 4.3.1"),
                ("MAIL FROM:<> SIZE=1000", "250"),
                ("RSET", "250"),
            ])
            .await;
        lab.disk.set_room(Some(1 << 20));
        client.dialogue(&[("MAIL FROM:<>", "250"), ("RSET", "250")]).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        client.dialogue(&[("MAIL FROM:<>", "452 4.3.1")]).await;
        lab.disk.set_room(None);
        tokio::time::sleep(Duration::from_secs(5)).await;
        client.dialogue(&[("MAIL FROM:<>", "250")]).await;
    });
}

#[test]
fn strangers_send_so_many_messages_a_minute_and_the_lan_any_number() {
    simulate(async {
        let shares = Shares { wan_messages_a_minute: 6, ..Shares::default() };
        let settings = Settings { shares, ..settings() };
        let role = Role::Mx;
        let lab = Lab::start(&std::sync::Arc::default(), role, settings.clone()).await;
        let (mut stranger, mut pc) = (lab.stranger().await, lab.pc().await);
        for sent in 0..20 {
            let said = stranger.mail("", &["anna@office.example"], "a: b\r\n").await;
            assert!(said.starts_with(if sent < 6 { "250" } else { "450 4.7.1" }), "{said}");
            let said = pc.mail("", &["berta@office.example"], "a: b\r\n").await;
            assert!(said.starts_with("250"), "{said}");
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        let mut other_connection = lab.stranger().await;
        assert!(other_connection.mail("", &["anna@office.example"], "a: b\r\n").await.starts_with("250"));
        assert_eq!((lab.inbox("anna").await.len(), lab.count("rate_limited")), (7, 14));
        let changed = Settings { message_octets_max: 1 << 20, ..settings.clone() };
        lab.go_over_to(changed).await;
        let said = lab.stranger().await.mail("", &["anna@office.example"], "").await;
        assert!(said.starts_with("450 4.7.1"), "a reload forgets nothing: {said}");
        lab.go_over_to(Settings { shares: Shares::default(), ..settings }).await;
        let said = lab.stranger().await.mail("", &["anna@office.example"], "a: b\r\n").await;
        assert!(said.starts_with("250"), "{said}");
    });
}

#[test]
fn a_source_has_its_share_of_connections_and_who_leaves_makes_room() {
    simulate(async {
        let lab = Lab::smtp().await;
        for (source, to, share) in [(STRANGER, WAN, 20), (PC1, LAN, 200)] {
            let mut clients = Vec::new();
            for _ in 0..share {
                clients.push(lab.dial(source, to, 25).await);
            }
            let mut refused = lab.raw(source, to, 25);
            assert_eq!(refused.reply().await, "421 4.7.0 too many connections; try again later\r\n");
            assert!(refused.is_closed().await);
            clients[0].dialogue(&[("QUIT", "221")]).await;
            assert!(clients[0].is_closed().await);
            lab.dial(source, to, 25).await;
        }
        lab.dial("8.8.4.5", WAN, 25).await;
        assert_eq!((lab.count("connections"), lab.count("connections_refused")), (223, 2));
    });
}

/// RFC 5321, section 4.5.3.2.7: A client that says nothing for five minutes is sent away.
#[test]
fn rfc5321_4_5_3_2_7_a_client_that_says_nothing_is_sent_away() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.stranger().await;
        let began = tokio::time::Instant::now();
        assert!(client.reply().await.starts_with("421 4.4.2"));
        assert!(client.is_closed().await);
        assert_eq!(began.elapsed(), COMMAND_TIMEOUT);
        assert_eq!(lab.count("connections_lost"), 0, "it was closed in order");
    });
}

#[test]
fn a_client_that_takes_no_replies_is_given_up() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.pc().await;
        let began = tokio::time::Instant::now();
        // The replies are more than what can be under way.
        client.send("NOOP\r\n".repeat(600)).await;
        while lab.count("connections_lost") == 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let waited = began.elapsed();
        assert!(waited >= WRITE_TIMEOUT && waited < WRITE_TIMEOUT * 2, "{waited:?}");
    });
}

#[test]
fn a_message_longer_than_is_taken_is_refused() {
    simulate(async {
        let settings = Settings { message_octets_max: 100_000, ..settings() };
        let lab = Lab::start(&std::sync::Arc::default(), Role::Mx, settings).await;
        let mut client = lab.stranger().await;
        client.dialogue(&[("MAIL FROM:<> SIZE=100001", "552 5.3.4")]).await;
        let long = format!("a: b\r\n\r\n{}\r\n", "x".repeat(100_000));
        assert!(client.mail("", &["anna@office.example"], &long).await.starts_with("552 5.3.4"));
        assert!(client.mail("", &["anna@office.example"], "a: b\r\n").await.starts_with("250"));
        assert_eq!((lab.inbox("anna").await.len(), lab.count("messages_refused")), (1, 1));
    });
}

#[test]
fn a_flood_from_a_few_sources_keeps_no_other_server_out() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut flood = Vec::new();
        for number in 0..500 {
            flood.push(lab.dial(&format!("8.8.5.{}", number / 20), WAN, 25).await);
            if number == 0 {
                // The next ones are of no use for less long.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        flood[0].dialogue(&[("NOOP", "250")]).await;
        let mut client = lab.stranger().await;
        assert!(client.mail("", &["anna@office.example"], "a: b\r\n").await.starts_with("250"));
        assert_eq!(flood[0].reply().await, "421 4.3.2 too many connections; try again later\r\n");
        assert!(flood[0].is_closed().await);
        flood[1].dialogue(&[("NOOP", "250")]).await;
        assert!(lab.raw("8.8.5.24", WAN, 25).reply().await.starts_with("421 4.7.0"));
        assert_eq!((lab.count("connections"), lab.count("connections_refused")), (501, 2));
    });
}

#[test]
fn slow_strangers_leave_the_office_its_files_and_are_sent_away() {
    simulate(async {
        let mut settings = settings();
        settings.users.iter_mut().for_each(|user| user.quota = 1 << 30);
        let lab = Lab::start(&std::sync::Arc::default(), Role::Mx, settings).await;
        let part = format!("a: b\r\n\r\n{}\r\n", "x".repeat(400_000));
        let begin: &[_] =
            &[("MAIL FROM:<>", "250"), ("RCPT TO:<anna@office.example>", "250"), ("DATA", "354")];
        let mut slow = Vec::new();
        for number in 0..256 {
            let mut client = lab.dial(&format!("8.8.5.{}", number / 20), WAN, 25).await;
            client.dialogue(&[("EHLO a.example", "250")]).await;
            client.dialogue(begin).await;
            client.send(&part).await;
            slow.push(client);
        }
        let mut pc = lab.pc().await;
        assert!(pc.mail("", &["anna@office.example"], &part).await.starts_with("250"));
        let began = tokio::time::Instant::now();
        let mut client = slow.swap_remove(0);
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            client.send("x".repeat(1022) + "\r\n").await;
        }
        let said = client.reply().await;
        assert!(said.starts_with("421 4.4.2"), "{said}");
        assert!(began.elapsed() < Duration::from_secs(600));
    });
}

#[test]
fn a_disk_with_less_room_than_is_to_be_left_is_told_of() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.stranger().await;
        client.dialogue(&[("MAIL FROM:<>", "250"), ("RCPT TO:<anna@office.example>", "250")]).await;
        assert_eq!(lab.instance().state(), State::Running);
        lab.disk.set_room(Some(1 << 20));
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(lab.impaired(), "no mail is taken: the disk has less room than mail.disk_reserve");
        client.dialogue(&[("DATA", "354")]).await;
        client.send("a: b\r\n").await;
        client.dialogue(&[(".", "452 4.3.1")]).await;
        lab.disk.set_room(None);
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(lab.instance().state(), State::Running);
    });
}

#[test]
fn a_message_with_too_many_recipients_can_come_again_with_fewer() {
    use crate::mail::service::backend::refusal;
    use crate::mail::smtp::Rejection;
    use crate::mail::store::StoreError;
    let refused = refusal(&StoreError::TooMuch("octets of a record"));
    assert!(matches!(refused, Rejection::Policy { is_temporary: true, .. }), "{refused:?}");
}

#[test]
fn whose_mailbox_is_nearly_full_is_told_by_mail_once_a_day() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.stranger().await;
        let long = format!("a: b\r\n\r\n{}\r\n", "x".repeat(950_000));
        for is_told in [true, false, true] {
            assert!(client.mail("", &["anna@office.example"], &long).await.starts_with("250"));
            tokio::time::sleep(Duration::from_secs(1)).await;
            let inbox = lab.inbox("anna").await;
            let notices: Vec<_> = inbox
                .iter()
                .filter(|mail| mail.contains("Subject: Your mailbox is nearly full\r\n"))
                .collect();
            assert_eq!((inbox.len(), notices.len()), (1 + usize::from(is_told), usize::from(is_told)));
            if let Some(notice) = notices.first() {
                assert!(
                    notice.starts_with("Return-Path: <>\r\nDelivered-To: anna@office.example\r\n"),
                    "{notice}"
                );
                assert!(notice.contains("\r\nAuto-Submitted: auto-generated\r\n"), "{notice}");
                assert!(notice.contains(" KiB, which is 90 % of\r\nthe 1 MiB that"), "{notice}");
            }
            assert!(client.mail("", &["anna@office.example"], "a: b\r\n").await.starts_with("250"));
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(lab.inbox("anna").await.len(), inbox.len() + 1, "once");
            let store = lab.store();
            let all = store.look(|state| {
                let mailbox = state.mailbox_named("anna").unwrap();
                let uids = mailbox.entries().iter().map(|entry| entry.uid).collect();
                crate::mail::store::Expunge { mailbox: mailbox.state().id, uids }
            });
            store.change(crate::mail::store::Change::Expunge(all)).await.unwrap();
            if !is_told {
                tokio::time::sleep(crate::mail::service::QUOTA_TOLD_EVERY).await;
                client = lab.stranger().await;
            }
        }
    });
}

#[test]
fn octets_that_come_take_room_from_the_next_message_before_the_disk_is_asked_again() {
    simulate(async {
        let lab = Lab::smtp().await;
        lab.disk.set_room(Some((128 << 20) + 1_500_000));
        tokio::time::sleep(Duration::from_secs(61)).await;
        let mut client = lab.stranger().await;
        let long = format!("a: b\r\n\r\n{}\r\n", "x".repeat(700_000));
        let began = tokio::time::Instant::now();
        client.dialogue(&[("MAIL FROM:<> SIZE=1000000", "250"), ("RSET", "250")]).await;
        assert!(client.mail("", &["anna@office.example"], &long).await.starts_with("250"));
        client.dialogue(&[("MAIL FROM:<> SIZE=1000000", "452 4.3.1")]).await;
        assert!(began.elapsed() < Duration::from_secs(5), "it is not asked again");
    });
}
