//! The mail services of a gateway whose store is not there yet.

use std::sync::Arc;
use std::time::Duration;

use super::lab::*;
use crate::mail::service::remote::NoRemote;
use crate::mail::service::state::{OPEN_AGAIN_AFTER, READY_WITHIN};
use crate::mail::smtp::Role;
use crate::service::State;

async fn start(disk: &Arc<crate::mail::store::tests::disk::FakeDisk>) -> Lab {
    let lab = Lab::new(disk, Role::Mx, std::rc::Rc::new(NoRemote));
    lab.gate.set_open(false);
    lab.put_in_force(settings()).await;
    lab
}

#[test]
fn a_store_that_cannot_be_read_impairs_the_service_and_is_tried_again() {
    simulate(async {
        let disk = Arc::default();
        let lab = Lab::new(&disk, Role::Mx, std::rc::Rc::new(NoRemote));
        disk.fail_to_list(true);
        lab.put_in_force(settings()).await;
        let mut client = lab.stranger().await;
        client.dialogue(&[("MAIL FROM:<>", "451 4.3.0"), ("NOOP", "250")]).await;
        let why = lab.impaired();
        assert!(why.starts_with("no mail is taken: the mail store cannot be read: "), "{why}");
        disk.fail_to_list(false);
        tokio::time::sleep(OPEN_AGAIN_AFTER).await;
        assert!(client.mail("", &["anna@office.example"], "a: b\r\n").await.starts_with("250"));
        assert_eq!((lab.instance().state(), lab.inbox("anna").await.len()), (State::Running, 1));
    });
}

#[test]
fn the_users_of_the_latest_configuration_are_those_once_the_store_is_open() {
    simulate(async {
        let lab = start(&Arc::default()).await;
        let mut settings = settings();
        settings.users.push(user("carl"));
        lab.put_in_force(settings).await;
        lab.gate.set_open(true);
        let opened = lab.state.when_opened().await;
        assert!(opened.logins.user("carl@office.example").is_some());
        assert!(lab.stranger().await.mail("", &["carl@office.example"], "a: b\r\n").await.starts_with("250"));
    });
}

#[test]
fn while_the_store_is_read_clients_wait_a_while_and_are_told_to_come_back() {
    simulate(async {
        let lab = start(&Arc::default()).await;
        assert_eq!((lab.instance().listens().len(), lab.instance().state()), (2, State::Running));
        let mut client = lab.stranger().await;
        let began = tokio::time::Instant::now();
        client.dialogue(&[("MAIL FROM:<>", "451 4.3.0")]).await;
        assert_eq!(began.elapsed(), READY_WITHIN);
        assert_eq!(lab.impaired(), "the mail store is being read; no mail is taken yet");
        let opens = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            lab.gate.set_open(true);
        };
        let (said, ()) = tokio::join!(client.mail("", &["anna@office.example"], "a: b\r\n"), opens);
        assert!(said.starts_with("250"), "{said}");
        assert_eq!(lab.instance().state(), State::Running);
    });
}

#[test]
fn a_configuration_that_is_not_taken_opens_nothing() {
    simulate(async {
        let lab = Lab::new(&Arc::default(), Role::Mx, std::rc::Rc::new(NoRemote));
        let prepared = lab.prepare(settings()).await;
        assert!(prepared.is_ok());
        drop(prepared);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(lab.state.opened().is_none() && lab.disk.names().is_empty());
    });
}
