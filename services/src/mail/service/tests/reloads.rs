//! Other configurations and other addresses.

use std::time::Duration;

use super::lab::*;
use crate::mail::service::Settings;
use crate::service::State;

#[test]
fn who_is_in_the_midst_of_a_message_finishes_it_before_the_service_stops() {
    simulate(async {
        let lab = Lab::smtp().await;
        let (mut idle, mut busy) = (lab.pc().await, lab.pc().await);
        busy.dialogue(&[
            ("MAIL FROM:<anna@office.example>", "250"),
            ("RCPT TO:<berta@office.example>", "250"),
            ("DATA", "354"),
        ])
        .await;
        let stop = lab.stop();
        let clients = async {
            assert!(idle.reply().await.starts_with("421 4.3.2"));
            assert!(idle.is_closed().await);
            assert!(
                lab.wire.dial("192.168.1.9:1".parse().unwrap(), "192.168.1.1:25".parse().unwrap()).is_none()
            );
            busy.send("a: b\r\n\r\nc\r\n").await;
            assert!(busy.say(".").await.starts_with("250"));
            assert!(busy.reply().await.starts_with("421 4.3.2"));
            assert!(busy.is_closed().await);
        };
        tokio::join!(stop, clients);
        assert_eq!(lab.inbox("berta").await.len(), 1);
    });
}

#[test]
fn users_come_and_go_with_the_configuration_and_mail_stays() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mail = "a: b\r\n\r\nc\r\n";
        assert!(lab.stranger().await.mail("", &["anna@office.example"], mail).await.starts_with("250"));
        let mut carl = user("carl");
        carl.quota = 1 << 21;
        lab.go_over_to(Settings { users: vec![user("berta"), carl], ..settings() }).await;
        let mut client = lab.stranger().await;
        client
            .dialogue(&[
                ("MAIL FROM:<>", "250"),
                ("RCPT TO:<anna@office.example>", "550 5.1.1"),
                ("RCPT TO:<carl@office.example>", "250"),
                ("RSET", "250"),
            ])
            .await;
        assert_eq!(lab.inbox("anna").await.len(), 1, "what is there stays");
        let mut anna = user("anna");
        anna.quota = 100;
        lab.go_over_to(Settings { users: vec![anna], ..settings() }).await;
        let mut client = lab.stranger().await;
        client.dialogue(&[("MAIL FROM:<>", "250"), ("RCPT TO:<anna@office.example>", "452 4.2.2")]).await;
        assert_eq!(lab.inbox("anna").await.len(), 1);
    });
}

#[test]
fn each_user_has_a_mailbox_before_any_mail_comes() {
    simulate(async {
        let lab = Lab::smtp().await;
        // The first client comes once the service has had its turn.
        let _client = lab.pc().await;
        let names: Vec<_> =
            lab.store().look(|state| state.mailboxes().map(|mailbox| mailbox.state().name.clone()).collect());
        assert_eq!(names, ["anna", "berta"]);
    });
}

#[test]
fn it_listens_where_the_gateway_has_addresses() {
    simulate(async {
        let lab = Lab::smtp().await;
        let listens = || {
            let listens = lab.instance().listens();
            listens.iter().map(|listening| listening.local.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(listens(), ["192.168.1.1:25", "203.0.113.10:25"]);
        let mut client = lab.stranger().await;
        lab.publisher.publish(addresses(LAN, &["203.0.113.99"]));
        assert!(client.is_closed().await, "its address is gone");
        let mut client = lab.dial(STRANGER, "203.0.113.99", 25).await;
        client.dialogue(&[("EHLO a.example", "250")]).await;
        assert!(client.mail("", &["anna@[203.0.113.99]"], "a: b\r\n").await.starts_with("250"));
        assert_eq!(listens(), ["192.168.1.1:25", "203.0.113.99:25"]);
        assert_eq!(lab.instance().state(), State::Running);
        lab.publisher.publish(addresses(LAN, &[]));
        assert!(client.is_closed().await);
        assert_eq!(listens(), ["192.168.1.1:25"]);
        lab.go_over_to(Settings { on_outside: false, ..settings() }).await;
        lab.publisher.publish(addresses(LAN, &[WAN]));
        let _client = lab.pc().await;
        assert_eq!(listens(), ["192.168.1.1:25"]);
    });
}

#[test]
fn a_store_that_takes_no_mail_impairs_the_service_until_it_does() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.stranger().await;
        lab.disk.fail_to_sync(true);
        let fails = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            let why = lab.impaired();
            lab.disk.fail_to_sync(false);
            why
        };
        let (said, why) = tokio::join!(client.mail("", &["anna@office.example"], "a: b\r\n"), fails);
        assert!(said.starts_with("451"), "{said}");
        assert!(why.starts_with("no mail is taken: the disk failed: "), "{why}");
        assert!(client.mail("", &["anna@office.example"], "a: b\r\n").await.starts_with("250"));
        assert_eq!(lab.instance().state(), State::Running);
    });
}

#[test]
fn a_store_that_is_damaged_impairs_the_service() {
    simulate(async {
        let lab = Lab::smtp().await;
        for _ in 0..2 {
            let mut client = lab.stranger().await;
            assert!(client.mail("", &["anna@office.example"], "a: b\r\n").await.starts_with("250"));
        }
        let log =
            lab.disk.names().into_iter().find(|name| name.starts_with("mail/segments")).expect("a segment");
        lab.disk.damage(&log, |octets| {
            let at = octets.len() / 2;
            octets[at] ^= 1;
        });
        let again =
            Lab::start(&std::sync::Arc::new(lab.disk.fork()), crate::mail::smtp::Role::Mx, settings()).await;
        let why = again.impaired();
        assert!(why.starts_with("the mail store is damaged; "), "{why}");
    });
}

#[test]
fn a_listener_that_fails_impairs_the_service_and_is_not_named_any_more() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.pc().await;
        lab.wire.fail("203.0.113.10:25".parse().unwrap());
        client.dialogue(&[("NOOP", "250")]).await;
        assert_eq!(lab.impaired(), "no mail service on 203.0.113.10:25: the network has failed");
        let listens = lab.instance().listens();
        let listens: Vec<_> = listens.iter().map(|listening| listening.local.to_string()).collect();
        assert_eq!(listens, ["192.168.1.1:25"]);
        client.dialogue(&[("NOOP", "250")]).await;
    });
}

#[test]
fn a_listener_that_has_failed_is_bound_again_when_the_addresses_change() {
    simulate(async {
        let lab = Lab::smtp().await;
        let mut client = lab.pc().await;
        lab.wire.fail("192.168.1.1:25".parse().unwrap());
        client.dialogue(&[("NOOP", "250")]).await;
        assert_eq!(lab.impaired(), "no mail service on 192.168.1.1:25: the network has failed");
        lab.publisher.publish(addresses(LAN, &["203.0.113.99"]));
        tokio::time::sleep(Duration::from_secs(1)).await;
        lab.pc().await.dialogue(&[("NOOP", "250")]).await;
        assert_eq!(lab.instance().state(), State::Running);
    });
}
