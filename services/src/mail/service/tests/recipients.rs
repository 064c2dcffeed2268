//! The permitted senders and recipients.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use data_encoding::BASE64;

use super::lab::*;
use crate::mail::address::Mailbox;
use crate::mail::rules::{Action, Rule, Rules, When};
use crate::mail::service::aliases::{Alias, Aliases};
use crate::mail::service::remote::{Delivered, NoRemote, Remote};
use crate::mail::service::{RelayFrom, Settings};
use crate::mail::smtp::server::{Recipient, Sender};
use crate::mail::smtp::{OriginalRecipient, Rejection, Role};
use crate::mail::store;

#[test]
fn strangers_send_to_the_office_and_nowhere_else() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.stranger().await;
        client.dialogue(&[("MAIL FROM:<a@b.example>", "250")]).await;
        for (recipient, expected) in [
            ("anna@office.example", "250"),
            ("ANNA+x@smtp.office.example", "250"),
            ("anna@[203.0.113.10]", "250"),
            ("nobody@office.example", "550 5.1.1"),
            ("c@elsewhere.example", "550 5.7.1"),
            ("c%elsewhere.example@office.example", "553 5.1.3"),
            ("@office.example:c@elsewhere.example", "550 5.7.1"),
            ("c@[198.51.100.1]", "550 5.7.1"),
            ("postmaster", "250"),
            ("abuse@office.example", "250"),
        ] {
            client.dialogue(&[(&format!("RCPT TO:<{recipient}>"), expected)]).await;
        }
        assert_eq!((lab.count("recipients_refused"), lab.count("relaying_refused")), (2, 3));
    });
}

#[test]
fn a_mailbox_gets_a_message_once_however_often_it_is_named() {
    simulate(async {
        let lab = Lab::smtp().await;
        let recipients = ["anna+a@office.example", "anna@office.example", "postmaster"];
        let taken = lab.stranger().await.mail("", &recipients, "a: b\r\n\r\nc\r\n").await;
        assert!(taken.starts_with("250"), "{taken}");
        let inbox = lab.inbox("anna").await;
        assert_eq!(inbox.len(), 1);
        let head = "Return-Path: <>\r\nDelivered-To: anna@office.example\r\nX-Original-To: anna+a@office.example\r\n";
        assert!(inbox[0].starts_with(head), "{}", inbox[0]);
    });
}

#[test]
fn without_a_way_out_the_lan_is_told_so() {
    simulate(async {
        let lab = Lab::smtp().await;
        let refused = lab.pc().await.mail("anna@office.example", &["c@elsewhere.example"], "").await;
        assert_eq!(refused, "550 5.7.1 this server delivers to its own mailboxes only\r\n");
    });
}

/// A way out that takes all but one domain.
#[derive(Default)]
struct DeliveryDriver {
    delivered: RefCell<Vec<Delivered>>,
}

impl Remote for DeliveryDriver {
    fn route(&self, sender: &Sender, recipient: &Recipient) -> Result<store::Remote, Rejection> {
        let recipient = recipient.path.to_string();
        if recipient.contains("null.example") {
            return Err(Rejection::DomainTakesNoMail);
        }
        Ok(store::Remote { recipient, options: sender.path.to_string(), ..store::Remote::default() })
    }

    fn has_reports(&self) -> bool {
        true
    }

    fn delivered(&self, delivered: Delivered) {
        self.delivered.borrow_mut().push(delivered);
    }
}

#[test]
fn what_the_lan_sends_to_other_domains_is_queued_with_the_message() {
    simulate(async {
        let driver = Rc::new(DeliveryDriver::default());
        let lab = Lab::new(&Arc::default(), Role::Mx, Rc::clone(&driver) as _);
        lab.go_over_to(settings()).await;
        let mut client = lab.pc().await;
        let recipients = ["c@elsewhere.example", "berta@office.example", "d@elsewhere.example"];
        let taken = client.mail("anna@office.example", &recipients, "a: b\r\n\r\nc\r\n").await;
        assert!(taken.starts_with("250"), "{taken}");
        let queue: Vec<_> =
            lab.store().look(|state| state.queue().map(|(_, entry)| entry.recipient.clone()).collect());
        assert_eq!(queue, ["<c@elsewhere.example>", "<d@elsewhere.example>"]);
        assert_eq!(lab.inbox("berta").await.len(), 1);
        let refused = client.mail("anna@office.example", &["c@null.example"], "").await;
        assert!(refused.starts_with("556 5.1.10"), "{refused}");
        client.dialogue(&[("RSET", "250")]).await;
        let local = client.mail("anna@office.example", &["berta@office.example"], "a: b\r\n").await;
        assert!(local.starts_with("250"), "{local}");
        assert_eq!(lab.store().look(|state| state.queue().count()), 2, "nothing of that goes out");
        let mut stranger = lab.stranger().await;
        let refused = stranger.mail("anna@office.example", &["c@elsewhere.example"], "").await;
        assert!(refused.starts_with("550 5.7.1 no mail"), "{refused}");
    });
}

#[test]
fn reports_are_offered_where_somebody_makes_them() {
    simulate(async {
        for (remote, is_offered) in
            [(Rc::new(NoRemote) as Rc<dyn Remote>, false), (Rc::new(DeliveryDriver::default()), true)]
        {
            let lab = Lab::new(&Arc::default(), Role::Mx, remote);
            lab.go_over_to(settings()).await;
            let extensions = lab.dial(PC1, LAN, 25).await.say("EHLO pc1").await;
            assert_eq!(extensions.contains("-DSN\r\n"), is_offered, "{extensions}");
            assert!(extensions.contains("-SIZE "), "{extensions}");
        }
    });
}

#[test]
fn networks_that_may_relay_do() {
    simulate(async {
        let networks = vec!["198.51.100.0/24".parse().unwrap()];
        let settings = Settings { relay_from: RelayFrom { lan: false, networks }, ..settings() };
        let lab = Lab::new(&Arc::default(), Role::Mx, Rc::new(DeliveryDriver::default()));
        lab.go_over_to(settings).await;
        for (source, expected) in [("198.51.100.7", "250"), ("198.51.101.7", "550"), (PC1, "550")] {
            let mut client = lab.dial(source, if source == PC1 { LAN } else { WAN }, 25).await;
            client.dialogue(&[("EHLO a.example", "250"), ("MAIL FROM:<>", "250")]).await;
            client.dialogue(&[("RCPT TO:<c@elsewhere.example>", expected)]).await;
        }
    });
}

#[test]
fn a_configuration_that_makes_an_open_relay_is_refused_and_the_former_goes_on() {
    simulate(async {
        let lab = Lab::smtp().await;
        let relay_from = |network: &str| RelayFrom { lan: true, networks: vec![network.parse().unwrap()] };
        for network in [
            "0.0.0.0/0",
            "80.0.0.0/8",
            "128.0.0.0/1",
            "::/0",
            "2a01:4f8::/32",
            "84.0.0.0/8",
            "93.192.0.0/19",
            "10.0.0.0/7",
            "2003:e000::/39",
            "62.75.9.0/24",
        ] {
            let settings = Settings { relay_from: relay_from(network), ..settings() };
            let refused = lab.prepare(settings).await.map(|_| ()).unwrap_err();
            assert!(refused.why.contains("could send to other domains"), "{network}: {refused}");
            assert_eq!(refused.remedy, "name smaller networks in mail.relay_from");
        }
        let taken = lab.stranger().await.mail("", &["anna@office.example"], "a: b\r\n").await;
        assert!(taken.starts_with("250"), "{taken}");
        for network in
            ["198.51.100.0/24", "10.0.0.0/8", "fd00::/8", "62.75.0.0/24", "93.192.0.0/20", "2003:e000::/40"]
        {
            let settings = Settings { relay_from: relay_from(network), ..settings() };
            assert!(lab.prepare(settings).await.is_ok(), "{network}");
        }
    });
}

#[test]
fn by_lmtp_nobody_sends_to_other_domains_whoever_may_relay() {
    simulate(async {
        // One of the strangers that are played is there.
        let networks = vec!["62.75.9.0/24".parse().unwrap()];
        let relay_from = RelayFrom { lan: true, networks };
        let lab = Lab::new(&Arc::default(), Role::Lmtp, Rc::new(DeliveryDriver::default()));
        lab.go_over_to(Settings { port: 2424, on_outside: false, relay_from, ..settings() }).await;
        let mut client = lab.dial(PC1, LAN, 2424).await;
        client.dialogue(&[("LHLO server", "250"), ("MAIL FROM:<>", "250")]).await;
        client.dialogue(&[("RCPT TO:<c@elsewhere.example>", "550 5.7.1 no mail")]).await;
    });
}

/// Aliases of `office.example`, each with its members.
fn aliases(all: &[(&str, &[&str])]) -> Aliases {
    let mailbox = |text: &str| Mailbox::parse(text).unwrap();
    let alias = |(name, members): &(&str, &[&str])| Alias {
        address: mailbox(name),
        members: members.iter().copied().map(mailbox).collect(),
    };
    Aliases { all: all.iter().map(alias).collect(), catch_all: None }
}

#[test]
fn what_strangers_send_to_an_alias_is_one_message_for_its_members_here_and_elsewhere() {
    simulate(async {
        let driver = Rc::new(DeliveryDriver::default());
        let lab = Lab::new(&Arc::default(), Role::Mx, Rc::clone(&driver) as _);
        let sales = ["anna@office.example", "c@elsewhere.example"];
        let all = ["sales@office.example", "berta@office.example", "anna@office.example"];
        let aliases = aliases(&[("sales@office.example", &sales), ("all@office.example", &all)]);
        lab.go_over_to(Settings { aliases, ..settings() }).await;
        let recipients = ["all@office.example", "sales@office.example", "anna@office.example"];
        let taken = lab.stranger().await.mail("a@b.example", &recipients, "a: b\r\n\r\nc\r\n").await;
        assert!(taken.starts_with("250"), "{taken}");
        for name in ["anna", "berta"] {
            let inbox = lab.inbox(name).await;
            assert_eq!(inbox.len(), 1, "{name}");
            assert!(inbox[0].contains("\r\nX-Original-To: all@office.example\r\n"), "{}", inbox[0]);
        }
        let queue: Vec<_> =
            lab.store().look(|state| state.queue().map(|(_, entry)| entry.recipient.clone()).collect());
        assert_eq!(queue, ["<c@elsewhere.example>"]);
        assert_eq!((lab.count("messages"), lab.count("recipients")), (1, 3));
    });
}

#[test]
fn by_lmtp_nothing_goes_elsewhere_by_an_alias_that_is_refused_as_a_member_here_is_full() {
    simulate(async {
        let lab = Lab::new(&Arc::default(), Role::Lmtp, Rc::new(DeliveryDriver::default()));
        let aliases = aliases(&[
            ("sales@office.example", &["anna@office.example", "c@elsewhere.example"]),
            ("press@office.example", &["berta@office.example", "d@elsewhere.example"]),
        ]);
        let mut settings = Settings { aliases, port: 2424, on_outside: false, ..settings() };
        settings.users[0].quota = 100 << 10;
        lab.go_over_to(settings).await;
        let mut client = lab.dial(PC1, LAN, 2424).await;
        client.dialogue(&[("LHLO server", "250")]).await;
        let long = format!("a: b\r\n\r\n{}\r\n", "x".repeat(200_000));
        let recipients = ["sales@office.example", "press@office.example"];
        // Not even an empty mailbox of Anna's would have room.
        assert!(client.mail("a@b.example", &recipients, &long).await.starts_with("552 5.2.2"));
        assert!(client.reply().await.starts_with("250"));
        let queue: Vec<_> =
            lab.store().look(|state| state.queue().map(|(_, entry)| entry.recipient.clone()).collect());
        assert_eq!(queue, ["<d@elsewhere.example>"]);
        assert_eq!((lab.inbox("anna").await.len(), lab.inbox("berta").await.len()), (0, 1));
    });
}

#[test]
fn an_alias_with_a_member_that_cannot_be_reached_is_refused_and_nobody_has_it() {
    simulate(async {
        let lab = Lab::new(&Arc::default(), Role::Mx, Rc::new(DeliveryDriver::default()));
        let aliases = aliases(&[("sales@office.example", &["anna@office.example", "c@null.example"])]);
        lab.go_over_to(Settings { aliases, ..settings() }).await;
        let recipients = ["berta@office.example", "sales@office.example"];
        let mut client = lab.stranger().await;
        let refused = client.mail("a@b.example", &recipients, "").await;
        assert!(refused.starts_with("556 5.1.10"), "{refused}");
        client.dialogue(&[("DATA", "354")]).await;
        client.send("a: b\r\n\r\nc\r\n").await;
        client.dialogue(&[(".", "250")]).await;
        assert_eq!((lab.inbox("anna").await.len(), lab.inbox("berta").await.len()), (0, 1));
    });
}

#[test]
fn a_user_sends_with_the_address_of_an_alias_that_leads_to_the_user() {
    simulate(async {
        let aliases = aliases(&[
            ("sales@office.example", &["anna@office.example"]),
            ("press@office.example", &["berta@office.example"]),
        ]);
        let settings = Settings { aliases, plaintext_login: true, port: 587, ..settings() };
        let lab = Lab::start(&Arc::default(), Role::Submission, settings).await;
        lab.set_password("anna", "four words of anna's own");
        let mut client = lab.dial(PC1, LAN, 587).await;
        let plain = BASE64.encode(b"\0anna\0four words of anna's own");
        client
            .dialogue(&[
                ("EHLO pc1", "250"),
                (&format!("AUTH PLAIN {plain}"), "235"),
                ("MAIL FROM:<press@office.example>", "550 5.7.1"),
                ("MAIL FROM:<sales@office.example>", "250"),
            ])
            .await;
    });
}

/// RFC 3461, section 4.1: A requested DSN reports the local mailboxes that have the message, and no others.
#[test]
fn rfc3461_4_1_who_asked_is_told_of_mailboxes_here() {
    simulate(async {
        let driver = Rc::new(DeliveryDriver::default());
        let lab = Lab::new(&Arc::default(), Role::Mx, Rc::clone(&driver) as _);
        lab.go_over_to(settings()).await;
        let mut client = lab.pc().await;
        let hello = client.say("EHLO pc1").await;
        assert!(hello.contains("250-DSN\r\n") || hello.contains("250 DSN\r\n"), "{hello}");
        let asks = [
            ("MAIL FROM:<carl@far.example> ENVID=QQ314159", "250"),
            ("RCPT TO:<anna@office.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@x.example", "250"),
            ("RCPT TO:<berta@office.example> NOTIFY=NEVER", "250"),
            ("DATA", "354"),
        ];
        client.dialogue(&asks).await;
        client.send("Subject: Lunch\r\n\r\nAt noon?\r\n").await;
        assert!(client.say(".").await.starts_with("250"));
        let delivered = driver.delivered.take();
        assert_eq!(delivered.len(), 1);
        assert_eq!(delivered[0].sender.to_string(), "carl@far.example");
        let orcpt = OriginalRecipient { address_type: "rfc822".into(), address: "a@x.example".into() };
        let anna = Mailbox::parse("anna@office.example").unwrap();
        assert_eq!(delivered[0].recipients, [(anna, Some(orcpt))]);
        assert_eq!(delivered[0].envid.as_deref(), Some("QQ314159"));
        assert_eq!(delivered[0].header, b"Subject: Lunch\r\n");
        // A notice has no sender to notify, and strangers could have anyone notified.
        let asks = [
            ("MAIL FROM:<>", "250"),
            ("RCPT TO:<anna@office.example> NOTIFY=SUCCESS", "250"),
            ("DATA", "354"),
        ];
        client.dialogue(&asks).await;
        assert!(client.say(".").await.starts_with("250"));
        let mut stranger = lab.stranger().await;
        let hello = stranger.say("EHLO mx.far.example").await;
        assert!(!hello.contains("DSN"), "{hello}");
        let asks = [
            ("MAIL FROM:<carl@far.example>", "250"),
            ("RCPT TO:<anna@office.example> NOTIFY=SUCCESS", "250"),
            ("DATA", "354"),
        ];
        stranger.dialogue(&asks).await;
        assert!(stranger.say(".").await.starts_with("250"));
        assert_eq!((driver.delivered.take(), lab.inbox("anna").await.len()), (Vec::new(), 3));
    });
}

/// RFC 3461, section 5.2.3: Delivered is what lies in the recipient's mailbox, and not what a rule keeps from there.
#[test]
fn rfc3461_5_2_3_who_asked_is_told_of_no_mailbox_from_which_a_rule_keeps_the_message() {
    simulate(async {
        let forward = |to: &str, keeps| Action::Forward { to: Mailbox::parse(to).unwrap(), keeps };
        for (action, is_told) in [
            (Action::Discard, false),
            (forward("berta@office.example", false), false),
            (forward("c@elsewhere.example", false), false),
            (forward("c@elsewhere.example", true), true),
            (forward("c@null.example", false), true),
            (Action::File("Junk".to_owned()), true),
        ] {
            let driver = Rc::new(DeliveryDriver::default());
            let lab = Lab::new(&Arc::default(), Role::Mx, Rc::clone(&driver) as _);
            let rule = Rule { user: Some("anna".to_owned()), when: When::default(), action: action.clone() };
            let rules = Rules { all: vec![rule], ..Rules::default() };
            lab.go_over_to(Settings { rules, ..settings() }).await;
            let mut client = lab.pc().await;
            let asks = [
                ("MAIL FROM:<carl@far.example>", "250"),
                ("RCPT TO:<anna@office.example> NOTIFY=SUCCESS", "250"),
                ("DATA", "354"),
            ];
            client.dialogue(&asks).await;
            client.send("Subject: Lunch\r\n\r\nAt noon?\r\n").await;
            assert!(client.say(".").await.starts_with("250"));
            let is_in_mailbox = lab.inbox("anna").await.len() == 1;
            let told = !driver.delivered.take().is_empty();
            assert_eq!((is_in_mailbox, told), (is_told, is_told), "{action:?}");
        }
    });
}
