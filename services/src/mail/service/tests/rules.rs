//! What rules of persons make of messages.

use std::sync::Arc;
use std::time::Duration;

use super::lab::*;
use crate::mail::address::Mailbox;
use crate::mail::rules::{Action, Rule, Rules, When};
use crate::mail::service::Settings;
use crate::mail::service::aliases::{Alias, Aliases};
use crate::mail::service::directory::Directory;
use crate::mail::smtp::Role;
use crate::mail::store::tests::disk::Loss;
use crate::mail::trace::{CopyState, NoName, Trace, trace};

const MESSAGE: &str = "From: carl@b.example\r\nTo: anna@office.example\r\nSubject: Lunch\r\n\
    Message-ID: <1@b.example>\r\n\r\nAt noon?\r\n";

fn rule(user: &str, subject: &str, action: Action) -> Rule {
    let when =
        When { header: Some("Subject".to_owned()), contains: Some(subject.to_owned()), ..When::default() };
    Rule { user: Some(user.to_owned()), when, action }
}

fn forward(to: &str, keeps: bool) -> Action {
    Action::Forward { to: Mailbox::parse(to).unwrap(), keeps }
}

fn with(all: Vec<Rule>) -> Settings {
    Settings { rules: Rules { all, ..Rules::default() }, ..settings() }
}

async fn start(all: Vec<Rule>) -> Lab {
    Lab::start(&Arc::default(), Role::Mx, with(all)).await
}

#[test]
fn a_message_is_filed_discarded_or_left_as_the_persons_rules_say() {
    simulate(async {
        let file = Action::File("Meals".to_owned());
        let lab = start(vec![rule("anna", "lunch", file), rule("berta", "LUNCH", Action::Discard)]).await;
        let mut client = lab.stranger().await;
        let both = ["anna@office.example", "berta@office.example"];
        assert!(client.mail("carl@b.example", &both, MESSAGE).await.starts_with("250"));
        assert_eq!((lab.folders("anna"), lab.folders("berta")), (vec!["Meals".to_owned()], vec![]));
        let other = MESSAGE.replace("Lunch", "Dinner");
        assert!(client.mail("carl@b.example", &both, &other).await.starts_with("250"));
        assert_eq!(lab.folders("anna"), ["Meals", "INBOX"]);
        assert_eq!(lab.folders("berta"), ["INBOX"]);
        // Nothing of it is stored, and its sender gets the usual reply.
        let taken = client.mail("carl@b.example", &["berta@office.example"], MESSAGE).await;
        assert!(taken.starts_with("250 2.6.0 taken as "), "{taken}");
        assert_eq!((lab.count("messages"), lab.count("messages_discarded")), (3, 2));
        lab.disk.cut_power(Loss::All);
        let again = Lab::start(&lab.disk, Role::Mx, settings()).await;
        assert_eq!((again.folders("anna"), again.folders("berta").len()), (lab.folders("anna"), 1));
    });
}

#[test]
fn a_message_goes_on_to_a_colleague_and_stays_or_not() {
    simulate(async {
        let lab = start(vec![rule("anna", "lunch", forward("berta@office.example", false))]).await;
        let mut client = lab.stranger().await;
        assert!(client.mail("carl@b.example", &["anna@office.example"], MESSAGE).await.starts_with("250"));
        assert_eq!(lab.inbox("anna").await.len(), 0);
        let inbox = lab.inbox("berta").await;
        let head = "Return-Path: <carl@b.example>\r\nDelivered-To: berta@office.example\r\n\
            X-Original-To: anna@office.example\r\n";
        assert!(inbox.len() == 1 && inbox[0].starts_with(head), "{inbox:?}");
        lab.go_over_to(with(vec![rule("anna", "lunch", forward("berta@office.example", true))])).await;
        let mut client = lab.stranger().await;
        assert!(client.mail("carl@b.example", &["anna@office.example"], MESSAGE).await.starts_with("250"));
        assert_eq!((lab.inbox("anna").await.len(), lab.inbox("berta").await.len()), (1, 2));
    });
}

#[test]
fn two_who_send_each_other_all_mail_on_make_no_loop_and_lose_none() {
    simulate(async {
        let lab = start(vec![
            rule("anna", "lunch", forward("berta@office.example", false)),
            rule("berta", "lunch", forward("anna@office.example", false)),
        ])
        .await;
        let mut client = lab.stranger().await;
        assert!(client.mail("carl@b.example", &["anna@office.example"], MESSAGE).await.starts_with("250"));
        assert_eq!((lab.inbox("anna").await.len(), lab.inbox("berta").await.len()), (0, 1));
        let both = ["anna@office.example", "berta@office.example"];
        assert!(client.mail("carl@b.example", &both, MESSAGE).await.starts_with("250"));
        assert_eq!((lab.inbox("anna").await.len(), lab.inbox("berta").await.len()), (1, 2));
    });
}

#[test]
fn what_cannot_go_on_stays() {
    simulate(async {
        let mut settings = with(vec![
            rule("anna", "lunch", forward("berta@office.example", false)),
            rule("anna", "dinner", forward("carl@elsewhere.example", false)),
            rule("anna", "supper", forward("nobody@office.example", false)),
        ]);
        settings.users[1].quota = 1 << 10;
        let lab = Lab::start(&Arc::default(), Role::Mx, settings).await;
        let mut client = lab.stranger().await;
        let long = format!("{MESSAGE}{}", "x\r\n".repeat(1000));
        for (message, in_inbox) in [
            (long, 1),
            // There is no address outside.
            (MESSAGE.replace("Lunch", "Dinner"), 2),
            (MESSAGE.replace("Lunch", "Supper"), 3),
            // It has been here before.
            (format!("Delivered-To: Anna+x@office.example\r\n{MESSAGE}"), 4),
        ] {
            let taken = client.mail("c@b.example", &["anna@office.example"], &message).await;
            assert!(taken.starts_with("250"), "{taken}");
            assert_eq!(lab.inbox("anna").await.len(), in_inbox, "{message}");
        }
        assert_eq!((lab.inbox("berta").await.len(), lab.count("messages_forwarded")), (0, 0));
    });
}

fn away() -> Settings {
    let vacations = [("anna".to_owned(), "I am away until Monday.".to_owned())].into();
    Settings { rules: Rules { vacations, ..Rules::default() }, ..settings() }
}

/// RFC 3834, section 2: A sender is answered once in seven days, whatever happens to the gateway meanwhile.
#[test]
fn rfc3834_2_an_answer_is_remembered_over_a_power_cut() {
    simulate(async {
        let lab = Lab::start(&Arc::default(), Role::Mx, away()).await;
        let mut client = lab.pc().await;
        let anna = ["anna@office.example"];
        assert!(client.mail("berta@office.example", &anna, MESSAGE).await.starts_with("250"));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let inbox = lab.inbox("berta").await;
        assert_eq!(inbox.len(), 1);
        assert!(
            inbox[0].starts_with("Return-Path: <>\r\nDelivered-To: berta@office.example\r\n"),
            "{}",
            inbox[0]
        );
        for part in [
            "\r\nSubject: Auto: Lunch\r\n",
            "\r\nIn-Reply-To: <1@b.example>\r\n",
            "\r\n\r\nI am away until Monday.\r\n",
        ] {
            assert!(inbox[0].contains(part), "{}", inbox[0]);
        }
        lab.disk.cut_power(Loss::All);
        let again = Lab::start(&lab.disk, Role::Mx, away()).await;
        let mut client = again.pc().await;
        for (wait, answers) in [(0, 1), (6 * 24, 1), (24, 2), (1, 2)] {
            tokio::time::sleep(Duration::from_secs(wait * 3600)).await;
            client = again.pc().await;
            assert!(client.mail("berta@office.example", &anna, MESSAGE).await.starts_with("250"));
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(again.inbox("berta").await.len(), answers, "{wait}");
        }
        drop(client);
        assert_eq!((lab.count("vacation_answers"), again.count("vacation_answers")), (1, 1));
        assert_eq!(again.inbox("anna").await.len(), 5);
    });
}

#[test]
fn nobody_is_answered_who_did_not_write_to_the_person() {
    simulate(async {
        let lab = Lab::start(&Arc::default(), Role::Mx, away()).await;
        let mut client = lab.pc().await;
        for (sender, message) in [
            ("berta@office.example", format!("List-Id: <a.b>\r\n{MESSAGE}")),
            ("berta@office.example", format!("Auto-Submitted: auto-replied\r\n{MESSAGE}")),
            ("berta@office.example", MESSAGE.replace("To: anna", "To: all")),
            ("", MESSAGE.to_owned()),
            ("nobody@office.example", MESSAGE.to_owned()),
            ("anna@office.example", MESSAGE.to_owned()),
        ] {
            let taken = client.mail(sender, &["anna@office.example"], &message).await;
            assert!(taken.starts_with("250"), "{taken}");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((lab.inbox("anna").await.len(), lab.inbox("berta").await.len()), (6, 0));
        assert_eq!(lab.count("vacation_answers"), 0);
    });
}

/// RFC 3834, section 2: Only messages to an address of the user's own are answered.
#[test]
fn rfc3834_2_only_the_persons_own_addresses_are_answered_for() {
    simulate(async {
        let address = |text: &str| Mailbox::parse(text).unwrap();
        let alias = |name: &str, members: &[&str]| Alias {
            address: address(name),
            members: members.iter().copied().map(address).collect(),
        };
        let all = vec![
            // A copy goes to the archive, and the user gets the message as before.
            alias("anna@office.example", &["anna@office.example", "archive@b.example"]),
            alias("sales@office.example", &["anna@office.example"]),
            alias("carl@office.example", &["anna@office.example"]),
            alias("staff@office.example", &["anna@office.example", "berta@office.example"]),
            alias("berta@shop.example", &["anna@office.example"]),
        ];
        let aliases = Aliases { all, catch_all: Some(address("anna@office.example")) };
        let domains = vec![domain("office.example", None), domain("shop.example", Some(&["anna", "carl"]))];
        let mut settings = Settings { aliases, domains, ..away() };
        settings.users.push(user("carl"));
        let directory = Directory::new(&settings.users, &settings.domains, &settings.aliases);
        for (to, is_own) in [
            ("anna@office.example", true),
            ("ANNA+x@shop.example", true),
            ("sales@office.example", true),
            // Another person's name, wherever its mail goes now.
            ("carl@office.example", false),
            ("carl@shop.example", false),
            ("berta@shop.example", false),
            // The first user gets the owners' mail, and here also mail for unknown addresses.
            ("postmaster@office.example", false),
            ("nobody@office.example", false),
            ("staff@office.example", false),
            ("anna@b.example", false),
        ] {
            assert_eq!(directory.is_own(&address(to), "anna"), is_own, "{to}");
        }
        // The archive is on a remote server, and there is no address outside.
        settings.aliases.all.remove(0);
        let lab = Lab::start(&Arc::default(), Role::Mx, settings).await;
        let mut client = lab.pc().await;
        for (name, answers) in [("nobody", 0), ("admin", 0), ("carl", 0), ("staff", 0), ("sales", 1)] {
            let to = format!("{name}@office.example");
            let message = MESSAGE.replace("anna@office.example", &to);
            assert!(client.mail("berta@office.example", &[&to], &message).await.starts_with("250"));
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(lab.count("vacation_answers"), answers, "{to}");
        }
    });
}

#[test]
fn of_two_messages_at_once_one_is_answered() {
    simulate(async {
        let lab = Lab::start(&Arc::default(), Role::Mx, away()).await;
        let (mut one, mut two) = (lab.pc().await, lab.pc().await);
        let anna = ["anna@office.example"];
        let (first, second) = tokio::join!(
            one.mail("berta@office.example", &anna, MESSAGE),
            two.mail("berta@office.example", &anna, MESSAGE)
        );
        assert!(first.starts_with("250") && second.starts_with("250"), "{first}{second}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((lab.inbox("anna").await.len(), lab.inbox("berta").await.len()), (2, 1));
    });
}

/// What is known of the messages that are called `name`, as soon as what was sent before this is stored.
async fn traced(lab: &Lab, name: &str) -> Trace {
    let mut pc = lab.pc().await;
    assert!(pc.mail("", &["berta@office.example"], "Subject: other\r\n\r\n").await.starts_with("250"));
    trace(&*lab.disk, &name.parse().unwrap_or_else(|NoName| panic!("{name}"))).unwrap()
}

#[test]
fn what_rules_did_with_a_message_is_known_of_it() {
    simulate(async {
        let file = rule("anna", "lunch", Action::File("Meals".to_owned()));
        let on = rule("anna", "lunch", forward("nobody@office.example", true));
        let lab = start(vec![on, file, rule("berta", "lunch", Action::Discard)]).await;
        let mut client = lab.stranger().await;
        let both = ["anna@office.example", "berta@office.example"];
        assert!(client.mail("carl@b.example", &both, MESSAGE).await.starts_with("250"));
        let found = traced(&lab, "<1@b.example>").await;
        let [message] = &found.messages[..] else { panic!("{found:?}") };
        let told = "anna: a rule could not send it on to nobody@office.example: nobody has mail for that address; \
            anna: a rule put it into Meals; berta: a rule discarded it";
        assert_eq!(message.rules, [told]);
        let fates: Vec<_> = message.copies.iter().map(|copy| &copy.fate).collect();
        assert_eq!(
            fates,
            [&CopyState::Here { mailbox: "anna".to_owned(), folder: "Meals".to_owned(), uid: 1 }]
        );

        let discarded = MESSAGE.replace("<1@", "<2@");
        let taken = client.mail("carl@b.example", &["berta@office.example"], &discarded).await;
        let id = taken.trim_end().rsplit(' ').next().unwrap().to_owned();
        let told = format!(
            "from 8.8.4.4 mx.elsewhere.example as {id}, return path <carl@b.example>, Message-ID <2@b.example>; \
             berta: a rule discarded it"
        );
        // The outcome was known before the sender got its reply.
        let found = trace(&*lab.disk, &id.parse().unwrap_or_else(|NoName| panic!("{id}"))).unwrap();
        assert_eq!(found.discarded, std::slice::from_ref(&told));
        for name in ["2@b.example", &id] {
            let found = traced(&lab, name).await;
            assert_eq!((found.messages.len(), &found.discarded[..]), (0, &[told.clone()][..]), "{name}");
        }
        lab.disk.cut_power(Loss::All);
        let again = Lab::start(&lab.disk, Role::Mx, settings()).await;
        assert_eq!(traced(&again, "2@b.example").await.discarded, [told]);
    });
}
