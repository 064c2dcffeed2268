use std::rc::Rc;
use std::sync::Arc;

use super::*;
use crate::clock::UnixTime;
use crate::mail::address::{ForwardPath, Mailbox};
use crate::mail::queue::{forwarded, remote};
use crate::mail::service::Settings;
use crate::mail::service::aliases::{Alias, Aliases};
use crate::mail::service::remote::{Delivered, Remote as ToOthers};
use crate::mail::service::tests::lab::{self, Lab, simulate};
use crate::mail::smtp::server::{Recipient, Sender};
use crate::mail::smtp::{Rejection, Role};
use crate::mail::store::{Attempt, Change, Expunge, RETRY_INTERVAL, StoreError, Stored};

const TEXT: &[u8] = b"Received: x\r\nMessage-ID: <m@pc1>\r\nSubject: x\r\n\r\nMessage-ID: <body@pc1>\r\n";

fn wanted(text: &str) -> Wanted {
    text.parse().unwrap_or_else(|NoName| panic!("{text}"))
}

fn traced(lab: &Lab, text: &str) -> Trace {
    trace(&*lab.disk, &wanted(text)).unwrap()
}

#[test]
fn a_message_is_called_by_any_of_its_names() {
    for (text, expected) in [
        ("12", Wanted::Number(12)),
        ("12.0", Wanted::Entry(QueueId { message: 12, recipient: 0 })),
        ("12.65535", Wanted::Entry(QueueId { message: 12, recipient: 65_535 })),
        ("65e07d30.0123456789ABCDEF", Wanted::Taken("65e07d30.0123456789abcdef".to_owned())),
        ("1.0000000000000001", Wanted::Taken("1.0000000000000001".to_owned())),
        ("<a.b@pc1>", Wanted::MessageId("a.b@pc1".to_owned())),
        ("a.b@pc1", Wanted::MessageId("a.b@pc1".to_owned())),
        ("<12>", Wanted::MessageId("12".to_owned())),
    ] {
        assert_eq!(wanted(text), expected, "{text}");
    }
    for text in ["", "<>", "anna", "12.", "12.65536", "-1", "12.0.0", ".0123456789abcdef"] {
        assert_eq!(text.parse::<Wanted>(), Err(NoName), "{text}");
    }
}

#[test]
fn who_handed_a_message_in_is_read_as_it_was_written() {
    for (helo, user) in [("pc1", None), ("PC as seen by ANNA", Some("anna")), ("", None)] {
        let handed = Handed {
            peer: "192.168.1.10".to_owned(),
            helo: helo.to_owned(),
            id: "1.2".to_owned(),
            user: user.map(str::to_owned),
        };
        assert_eq!(Handed::parse(&handed.to_string()), Some(handed));
    }
    assert_eq!(Handed::parse("a notice of this server"), None);
}

async fn change(lab: &Lab, change: Change) -> Stored {
    lab.store().change(change).await.unwrap()
}

/// A message that goes to Anna alone.
async fn for_anna(lab: &Lab) -> Accept {
    let anna = lab.state.opened().unwrap().mailbox_of(&lab::user("anna")).await.unwrap();
    let deliveries = vec![Delivery { mailbox: anna, ..Delivery::default() }];
    Accept { deliveries, ..Accept::default() }
}

#[test]
fn each_copy_is_where_it_is_or_has_what_became_of_it() {
    simulate(async {
        let lab = Lab::smtp().await;
        let opened = lab.state.opened().unwrap();
        let anna = opened.mailbox_of(&lab::user("anna")).await.unwrap();
        let berta = opened.mailbox_of(&lab::user("berta")).await.unwrap();
        let prefix = |user: &str| format!("Delivered-To: {user}@x\r\nX-Original-To: all@x\r\n").into_bytes();
        let delivery = |mailbox, user| Delivery { mailbox, prefix: prefix(user), ..Delivery::default() };
        let now = lab.host.clock.unix_time();
        let of =
            |to: &str| remote(&Mailbox::parse(to).unwrap(), &Default::default(), &Default::default(), now);
        let by = Mailbox::parse("all@x").unwrap();
        let remotes = [forwarded(of("a@far"), &by), of("b@far"), of("c@far"), of("d@far"), of("e@far")];
        let accept = Accept {
            time: 7,
            source: "192.168.1.10 pc1 as 1.0123456789abcdef by anna".to_owned(),
            return_path: "anna@x".to_owned(),
            results: "spf=pass".to_owned(),
            deliveries: vec![delivery(anna, "anna"), delivery(berta, "berta")],
            remotes: remotes.to_vec(),
            ..Accept::default()
        };
        let stored = change(&lab, Change::Accept(accept, TEXT.to_vec())).await;
        let id = stored.sequence.unwrap();
        let entry = |recipient| QueueId { message: id, recipient };
        change(&lab, Change::Note(note(id, &["anna: a rule".to_owned()]).unwrap())).await;
        change(&lab, Change::Expunge(Expunge { mailbox: berta, uids: vec![1] })).await;
        change(&lab, Change::Done(Done::new(entry(0), "250 as 4".to_owned()))).await;
        let progress = Progress { tries: 2, reply: "450 later".to_owned(), ..Progress::default() };
        change(&lab, Change::Attempt(Attempt { entry: entry(1), progress: progress.clone() })).await;
        change(&lab, Change::Done(Done::new(entry(3), DELETED.to_owned()))).await;
        change(&lab, Change::Done(Done::new(entry(4), "550 no".to_owned()))).await;
        let notice = Accept {
            ends: vec![entry(2)],
            deliveries: vec![delivery(anna, "anna")],
            origin: Origin::Local,
            ..Accept::default()
        };
        let notice = change(&lab, Change::Accept(notice, b"a: b\r\n".to_vec())).await.sequence.unwrap();

        let found = traced(&lab, &id.to_string());
        let [message] = &found.messages[..] else { panic!("{found:?}") };
        let accepted = message.accepted.as_ref().unwrap();
        assert_eq!((accepted.time, accepted.size), (7, TEXT.len() as u64));
        assert_eq!(accepted.message_id.as_deref(), Some("m@pc1"));
        assert_eq!((accepted.return_path.as_str(), accepted.results.as_str()), ("anna@x", "spf=pass"));
        let done =
            |recipient, reply: &str| Done { time: now.0, ..Done::new(entry(recipient), reply.to_owned()) };
        let fates: Vec<_> = message.copies.iter().map(|copy| copy.fate.clone()).collect();
        let expected = [
            CopyState::Here { mailbox: "anna".to_owned(), folder: "INBOX".to_owned(), uid: 1 },
            CopyState::Deleted { mailbox: "berta".to_owned(), uid: 1 },
            CopyState::Delivered(done(0, "250 as 4")),
            CopyState::Queued(entry(1), progress),
            CopyState::Bounced(entry(2), notice),
            CopyState::Cancelled(done(3, DELETED)),
            CopyState::Failed(done(4, "550 no")),
        ];
        assert_eq!(fates, expected);
        let asked = message.copies.iter().map(|copy| (copy.asked.as_deref(), copy.recipient.as_deref()));
        let asked: Vec<_> = asked.take(4).collect();
        let all = Some("all@x");
        let expected = [
            (all, Some("anna@x")),
            (all, Some("berta@x")),
            (all, Some("a@far")),
            (Some("b@far"), Some("b@far")),
        ];
        assert_eq!(asked, expected);
        assert_eq!(message.rules, ["anna: a rule"]);
        assert!(!found.is_cut && !found.is_damaged && found.discarded.is_empty());
        for name in [format!("{id}.3"), "1.0123456789abcdef".to_owned(), "<m@pc1>".to_owned()] {
            assert_eq!(traced(&lab, &name), found, "{name}");
        }
        let no_entry = format!("{id}.5");
        for unknown in ["<body@pc1>", "1.0123456789abcdee", "4711", &no_entry, "4711.0"] {
            assert_eq!(traced(&lab, unknown), Trace::default(), "{unknown}");
        }
        change(&lab, Change::RemoveMailbox(anna)).await;
        assert_eq!(traced(&lab, "m@pc1").messages[0].copies[0].fate, CopyState::MailboxRemoved);
    });
}

/// A way to all domains.
struct Everywhere;

impl ToOthers for Everywhere {
    fn route(&self, sender: &Sender, recipient: &Recipient) -> Result<Remote, Rejection> {
        let ForwardPath::Mailbox(mailbox) = &recipient.path else { return Err(Rejection::BadRecipient) };
        Ok(remote(mailbox, &sender.parameters, &recipient.parameters, UnixTime(7)))
    }

    fn has_reports(&self) -> bool {
        false
    }

    fn delivered(&self, _: Delivered) {}
}

#[test]
fn each_address_that_the_sender_named_is_told_also_if_an_alias_leads_to_the_same() {
    simulate(async {
        let mailbox = |text: &str| Mailbox::parse(text).unwrap();
        let members =
            ["anna@office.example", "berta@office.example", "bob@far.example"].map(mailbox).to_vec();
        let all = vec![Alias { address: mailbox("all@office.example"), members }];
        let aliases = Aliases { all, catch_all: None };
        let lab = Lab::new(&Arc::default(), Role::Mx, Rc::new(Everywhere));
        lab.go_over_to(Settings { aliases, ..lab::settings() }).await;
        let named = ["all@office.example", "bob@far.example", "anna@office.example", "anna@office.example"];
        let taken = lab.pc().await.mail("carl@b.example", &named, "Message-ID: <all@pc1>\r\n\r\n").await;
        assert!(taken.starts_with("250"), "{taken}");
        let found = traced(&lab, "<all@pc1>");
        let copies = found.messages[0].copies.iter();
        let copies = copies.map(|copy| (copy.asked.as_deref().unwrap(), copy.recipient.as_deref().unwrap()));
        let expected = [
            ("all@office.example", "anna@office.example"),
            ("anna@office.example", "anna@office.example"),
            ("all@office.example", "berta@office.example"),
            ("all@office.example", "bob@far.example"),
            ("bob@far.example", "bob@far.example"),
        ];
        assert_eq!(copies.collect::<Vec<_>>(), expected);
    });
}

#[test]
fn what_rules_discarded_has_a_name_only_if_it_had_one() {
    let acts = ["anna: a rule discarded it".to_owned()];
    for fields in [&[][..], &[("message-id".to_owned(), " ".to_owned())]] {
        let told = discarded("1.2", "a client", "", fields, &acts);
        assert_eq!(told, "of 1.2: from a client, return path <>; anna: a rule discarded it");
    }
}

#[test]
fn a_message_that_was_refused_in_the_end_is_none() {
    simulate(async {
        let lab = Lab::smtp().await;
        let accept = for_anna(&lab).await;
        lab.disk.fail_to_sync(true);
        let store = lab.store();
        let mends = async {
            while store.trouble().is_none() {
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            lab.disk.fail_to_sync(false);
        };
        let (refused, ()) = tokio::join!(store.change(Change::Accept(accept.clone(), TEXT.to_vec())), mends);
        assert!(matches!(refused, Err(StoreError::Disk(_))), "{refused:?}");
        let other = b"Message-ID: <other@pc1>\r\n\r\n".to_vec();
        change(&lab, Change::Accept(accept, other)).await;
        assert_eq!(traced(&lab, "m@pc1"), Trace::default());
        assert_eq!(traced(&lab, "other@pc1").messages.len(), 1);
    });
}

#[test]
fn of_very_many_messages_some_are_told() {
    simulate(async {
        let lab = Lab::smtp().await;
        let accept = for_anna(&lab).await;
        for _ in 0..=MESSAGES_MAX {
            change(&lab, Change::Accept(accept.clone(), TEXT.to_vec())).await;
        }
        let found = traced(&lab, "m@pc1");
        assert_eq!((found.messages.len(), found.is_cut), (MESSAGES_MAX, true));
    });
}

#[test]
fn what_stands_before_the_record_that_has_the_name_is_told() {
    simulate(async {
        let lab = Lab::smtp().await;
        let accept = Change::Accept(for_anna(&lab).await, TEXT.to_vec());
        let first = change(&lab, Change::Note("something else".to_owned())).await.sequence.unwrap();
        // Compaction writes a message's record anew, behind others that speak of it.
        let rules = note(first + 2, &["anna: a rule".to_owned()]).unwrap();
        change(&lab, Change::Note(rules)).await;
        let id = change(&lab, accept).await.sequence.unwrap();
        assert_eq!(id, first + 2);
        for name in [&id.to_string(), "m@pc1"] {
            assert_eq!(traced(&lab, name).messages[0].rules, ["anna: a rule"], "{name}");
        }
    });
}

#[test]
fn what_rules_discarded_is_found_by_its_own_message_id() {
    simulate(async {
        let lab = Lab::smtp().await;
        let fields = [("message-id".to_owned(), "<m@pc1>".to_owned())];
        for _ in 0..=MESSAGES_MAX {
            let acts = vec!["anna: discarded for <b@pc1>".to_owned()];
            let text = discarded("1.0123456789abcdef", "a client", "anna@pc1", &fields, &acts);
            change(&lab, Change::Note(text)).await;
        }
        let found = traced(&lab, "<m@pc1>");
        assert_eq!((found.discarded.len(), found.is_cut), (MESSAGES_MAX, true));
        for other in ["anna@pc1", "b@pc1", "m@pc"] {
            assert_eq!(traced(&lab, other), Trace::default(), "{other}");
        }
    });
}
