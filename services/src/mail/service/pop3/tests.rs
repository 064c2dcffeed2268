//! POP3 over a wire, with the store behind it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{OfficePop3, Opening};
use crate::mail::pop3::server::IDLE_TIMEOUT;
use crate::mail::service::Settings;
use crate::mail::service::overview::MailboxList;
use crate::mail::service::remote::NoRemote;
use crate::mail::service::tests::lab::*;
use crate::mail::smtp::Role;
use crate::mail::store::{Accept, Change, Delivery, JUNK, UIDS_MAX};
use crate::service::{Instance, Service};
use crate::tls::Tls;

const PASSWORD: &str = "blue harbour 47";

fn on(port: u16, on_outside: bool) -> Settings {
    Settings { port, on_outside, plaintext_login: true, ..settings() }
}

/// The office with port 25, and POP3 in clear beside it.
struct Pop3 {
    lab: Lab,
    service: OfficePop3,
    instance: Rc<dyn Instance>,
}

impl Pop3 {
    async fn start() -> Self {
        let lab = Lab::smtp().await;
        lab.set_password("anna", PASSWORD);
        let service = OfficePop3::new(Opening::Clear, Rc::clone(&lab.state));
        let instance = lab.start_beside(&service, on(110, false)).await;
        Self { lab, service, instance }
    }

    async fn deliver(&self, message: &str) {
        let taken = self.lab.stranger().await.mail("", &["anna@office.example"], message).await;
        assert!(taken.starts_with("250"), "{taken}");
    }

    /// Puts `count` messages straight into a folder of Anna's; without a name it is the inbox.
    async fn put(&self, folder: Option<&str>, count: usize) {
        let opened = self.lab.state.opened().expect("it is open");
        let mailbox = opened.mailbox_of(&user("anna")).await.unwrap();
        let mut deliveries = [Delivery { mailbox, ..Delivery::default() }];
        if let Some(folder) = folder {
            opened.file(&mut deliveries, folder).await;
        }
        let accept = Accept { deliveries: deliveries.to_vec(), ..Accept::default() };
        for at_once in vec![(); count].chunks(4000) {
            let changes = at_once.iter().map(|()| Change::Accept(accept.clone(), b"a: b\r\n".to_vec()));
            assert!(opened.store.change_all(changes).await.iter().all(Result::is_ok));
        }
    }

    /// A client that has received the greeting.
    async fn dial(&self) -> Client {
        let mut client = self.lab.raw(PC1, LAN, 110);
        assert_eq!(client.line().await, "+OK smtp.office.example POP3\r\n");
        client
    }

    /// Anna, logged in.
    async fn anna(&self) -> Client {
        let mut client = self.dial().await;
        logs_in(&mut client, "+OK").await;
        client
    }

    fn count(&self, counter: &str) -> u64 {
        let counters = Service::<super::super::tests::wire::Wire>::counters(&self.service);
        counters.into_iter().find(|(name, _)| *name == counter).expect(counter).1
    }
}

async fn says(client: &mut Client, line: &str) -> String {
    client.send(format!("{line}\r\n")).await;
    client.line().await
}

async fn logs_in(client: &mut Client, expected: &str) {
    assert!(says(client, "USER anna@office.example").await.starts_with("+OK"));
    let said = says(client, &format!("PASS {PASSWORD}")).await;
    assert!(said.starts_with(expected), "{said}");
}

/// What follows the first line of a reply, without the dot at its end.
async fn rest(client: &mut Client) -> String {
    let mut said = String::new();
    loop {
        match client.line().await.as_str() {
            ".\r\n" => return said,
            "" => panic!("it breaks off: {said}"),
            line => said += line,
        }
    }
}

#[test]
fn what_came_in_is_fetched_as_it_is_stored_and_deleted_by_quit() {
    simulate(async {
        let office = Pop3::start().await;
        office.deliver("a: 1\r\n\r\n..one\r\n").await;
        let long = format!("a: 2\r\n\r\n{}", line_of_x().repeat(6000));
        office.deliver(&long).await;
        let stored = office.lab.inbox("anna").await;
        let mut anna = office.anna().await;
        let octets = stored[0].len() + stored[1].len();
        assert_eq!(says(&mut anna, "STAT").await, format!("+OK 2 {octets}\r\n"));
        for (number, stored) in (1..).zip(&stored) {
            assert_eq!(
                says(&mut anna, &format!("RETR {number}")).await,
                format!("+OK {} octets\r\n", stored.len())
            );
            assert_eq!(rest(&mut anna).await.replace("\r\n..", "\r\n."), *stored);
        }
        assert!(says(&mut anna, "TOP 2 1").await.starts_with("+OK"));
        assert!(rest(&mut anna).await.ends_with(&format!("\r\n\r\n{}", line_of_x())));
        // The next session has the messages that arrive meanwhile.
        office.deliver("a: 3\r\n").await;
        assert!(says(&mut anna, "LIST 3").await.starts_with("-ERR"));
        assert!(says(&mut anna, "DELE 1").await.starts_with("+OK"));
        assert_eq!(says(&mut anna, "QUIT").await, "+OK bye\r\n");
        assert!(anna.is_closed().await);
        assert_eq!(office.lab.inbox("anna").await[0], stored[1]);
        assert_eq!((office.count("messages"), office.count("messages_deleted")), (3, 1));
    });
}

fn line_of_x() -> String {
    "x".repeat(70) + "\r\n"
}

/// RFC 1939, section 5: A maildrop is the inbox alone, and its messages are numbered from 1 whatever other folders hold.
#[test]
fn rfc1939_5_a_maildrop_is_the_inbox_alone() {
    simulate(async {
        let office = Pop3::start().await;
        for folder in [Some(JUNK), None, Some("Bills"), None] {
            office.put(folder, 1).await;
        }
        let mut anna = office.anna().await;
        assert_eq!(says(&mut anna, "STAT").await, "+OK 2 12\r\n");
        assert!(says(&mut anna, "UIDL 1").await.ends_with(".2\r\n"));
        assert!(says(&mut anna, "UIDL 2").await.ends_with(".4\r\n"));
        assert!(says(&mut anna, "RETR 3").await.starts_with("-ERR"));
        assert!(says(&mut anna, "DELE 2").await.starts_with("+OK"));
        says(&mut anna, "QUIT").await;
        assert_eq!(office.lab.inbox("anna").await.len(), 3, "all folders together");
    });
}

/// RFC 1939, section 6: All that is marked goes, also more than one change of the store takes.
#[test]
fn rfc1939_6_all_that_is_marked_goes() {
    simulate(async {
        let office = Pop3::start().await;
        office.put(None, UIDS_MAX + 2).await;
        let mut anna = office.anna().await;
        let numbers: Vec<_> = (1..=UIDS_MAX + 2).filter(|number| *number != 2).collect();
        for together in numbers.chunks(500) {
            anna.send(together.iter().map(|number| format!("DELE {number}\r\n")).collect::<String>()).await;
            for _ in together {
                assert!(anna.line().await.starts_with("+OK"));
            }
        }
        assert_eq!(says(&mut anna, "QUIT").await, "+OK bye\r\n");
        logs_in(&mut office.dial().await, "+OK 1 messages").await;
        assert_eq!(office.count("messages_deleted"), UIDS_MAX as u64 + 1);
    });
}

/// RFC 1939, section 7: A message has the same name in every session, also after a start.
#[test]
fn rfc1939_7_a_message_has_the_same_name_in_every_session_also_after_a_start() {
    simulate(async {
        let office = Pop3::start().await;
        for number in 1..=3 {
            office.deliver(&format!("a: {number}\r\n")).await;
        }
        let mut anna = office.anna().await;
        says(&mut anna, "UIDL").await;
        let names = rest(&mut anna).await;
        says(&mut anna, "DELE 1").await;
        says(&mut anna, "QUIT").await;
        let disk = Arc::clone(&office.lab.disk);
        office.instance.stop().await;
        office.lab.stop().await;
        drop(office);
        let lab = Lab::start(&disk, Role::Mx, settings()).await;
        let service = OfficePop3::new(Opening::Clear, Rc::clone(&lab.state));
        let instance = lab.start_beside(&service, on(110, false)).await;
        let office = Pop3 { lab, service, instance };
        let mut anna = office.anna().await;
        says(&mut anna, "UIDL").await;
        let kept: Vec<_> =
            names.lines().skip(1).map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
        let again = rest(&mut anna).await;
        let again: Vec<_> = again.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
        assert_eq!(again, kept);
    });
}

/// RFC 1939, section 8: An inbox is locked by one session until the session's end, however it ends.
#[test]
fn rfc1939_8_an_inbox_is_one_sessions_alone() {
    simulate(async {
        let office = Pop3::start().await;
        office.deliver("a: b\r\n").await;
        let mut first = office.anna().await;
        let mut second = office.dial().await;
        logs_in(&mut second, "-ERR [IN-USE]").await;
        assert!(says(&mut first, "DELE 1").await.starts_with("+OK"));
        assert!(says(&mut first, "QUIT").await.starts_with("+OK"));
        // It is free when QUIT is answered.
        logs_in(&mut second, "+OK 0 messages").await;
        office.deliver("a: b\r\n").await;
        drop(second);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut third = office.anna().await;
        assert!(says(&mut third, "DELE 1").await.starts_with("+OK"));
        assert_eq!(third.line().await, "", "it keeps silent for too long");
        let mut fourth = office.dial().await;
        logs_in(&mut fourth, "+OK 1 messages").await;
        assert_eq!((office.lab.inbox("anna").await.len(), office.count("mailbox_in_use")), (1, 1));
        assert_eq!(office.count("connections_lost"), 1);
    });
}

#[test]
fn a_client_that_reads_nothing_is_left_and_its_inbox_is_free() {
    simulate(async {
        let office = Pop3::start().await;
        office.deliver(&format!("a: b\r\n\r\n{}", line_of_x().repeat(2000))).await;
        let mut deaf = office.anna().await;
        deaf.send("RETR 1\r\n").await;
        tokio::time::sleep(crate::mail::service::WRITE_TIMEOUT + Duration::from_secs(1)).await;
        assert!(crate::mail::service::WRITE_TIMEOUT < IDLE_TIMEOUT);
        office.anna().await;
        assert_eq!(office.count("connections_lost"), 1);
    });
}

#[test]
fn a_service_that_stops_sends_its_clients_away_and_deletes_nothing() {
    simulate(async {
        let office = Pop3::start().await;
        office.deliver("a: b\r\n").await;
        let mut anna = office.anna().await;
        assert!(says(&mut anna, "DELE 1").await.starts_with("+OK"));
        tokio::join!(office.instance.stop(), async {
            assert!(anna.line().await.starts_with("-ERR [SYS/TEMP]"));
            assert_eq!(anna.line().await, "");
        });
        assert_eq!(office.lab.inbox("anna").await.len(), 1);
    });
}

#[test]
fn a_damaged_message_keeps_nobody_from_the_others() {
    simulate(async {
        let office = Pop3::start().await;
        let long = format!("a: 1\r\n\r\n{}", line_of_x().repeat(6000));
        office.deliver(&long).await;
        office.deliver("a: 2\r\n").await;
        let names = office.lab.disk.names();
        let body = names.iter().find(|name| name.starts_with("mail/bodies/")).expect("a file of its own");
        office.lab.disk.damage(body, |octets| octets[100_000] ^= 1);
        let mut anna = office.anna().await;
        assert!(says(&mut anna, "RETR 1").await.starts_with("-ERR [SYS/PERM]"));
        assert!(says(&mut anna, "RETR 2").await.starts_with("+OK"));
        assert!(rest(&mut anna).await.ends_with("a: 2\r\n"));
        assert_eq!(office.count("messages_unreadable"), 1);
    });
}

async fn with_tls(opening: Opening, port: u16) -> (Lab, Tls, Rc<dyn Instance>) {
    let (lab, tls) = Lab::new(&Arc::default(), Role::Mx, Rc::new(NoRemote)).with_tls();
    lab.go_over_to(settings()).await;
    lab.set_password("anna", PASSWORD);
    let service = OfficePop3::new(opening, Rc::clone(&lab.state));
    let instance = lab.start_beside(&service, on(port, true)).await;
    (lab, tls, instance)
}

/// RFC 2595, section 4: Under STLS a user logs in; what comes behind it in clear ends the connection.
#[test]
fn rfc2595_4_under_stls_a_user_logs_in() {
    simulate(async {
        let (lab, tls, _instance) = with_tls(Opening::Clear, 110).await;
        let mut client = lab.raw(STRANGER, WAN, 110);
        client.line().await;
        assert!(says(&mut client, "USER anna").await.starts_with("-ERR a login needs TLS"));
        assert!(says(&mut client, "STLS").await.starts_with("+OK"));
        let mut client = client.secured(&tls).await.unwrap();
        logs_in(&mut client, "+OK").await;
        assert!(says(&mut client, "QUIT").await.starts_with("+OK"));
        let mut client = lab.raw(STRANGER, WAN, 110);
        client.line().await;
        client.send("STLS\r\nCAPA\r\n").await;
        assert!(client.line().await.starts_with("+OK"));
        client.secured(&tls).await.map(|_| ()).expect_err("the connection ends");
    });
}

/// RFC 8314, section 3.2: On port 995 TLS comes before the greeting.
#[test]
fn rfc8314_3_2_on_port_995_tls_comes_before_the_greeting() {
    simulate(async {
        let (lab, tls, instance) = with_tls(Opening::Tls, 995).await;
        assert!(instance.listens().iter().all(|listening| listening.local.port() == 995));
        let mut client = lab.raw(STRANGER, WAN, 995).secured(&tls).await.unwrap();
        assert!(client.line().await.starts_with("+OK smtp.office.example "));
        logs_in(&mut client, "+OK").await;
    });
}

#[test]
fn the_standing_of_each_mailbox_tells_its_folders_and_who_is_at_it() {
    simulate(async {
        let office = Pop3::start().await;
        office.put(None, 2).await;
        office.put(Some(JUNK), 1).await;
        let of = |list: &MailboxList, name: &str| {
            list.mailboxes.iter().find(|mailbox| mailbox.name == name).expect(name).clone()
        };
        let list = office.lab.state.mailboxes().await.expect("it is open");
        let names: Vec<_> = list.mailboxes.iter().map(|mailbox| mailbox.name.as_str()).collect();
        assert!(names.is_sorted() && names.len() == list.total && list.total > 1, "{names:?}");
        let anna = of(&list, "anna");
        let folders: Vec<_> =
            anna.folders.iter().map(|of| (of.name.as_str(), of.messages, of.octets)).collect();
        assert_eq!(folders, [("INBOX", 2, 12), (JUNK, 1, 6)]);
        assert_eq!((anna.messages, anna.octets, anna.newest, anna.is_held), (3, 18, Some(0), false));
        assert_eq!(of(&list, "berta").newest, None);
        let mut client = office.anna().await;
        let list = office.lab.state.mailboxes().await.expect("it is open");
        assert_eq!((of(&list, "anna").is_held, of(&list, "berta").is_held), (true, false));
        assert!(says(&mut client, "QUIT").await.starts_with("+OK"));
        let bounded = office.lab.state.mailboxes_within(2).await.expect("it is open");
        assert_eq!((bounded.total, bounded.mailboxes.len()), (list.total, 1), "anna's two folders");
        assert!(!of(&bounded, "anna").is_held);
    });
}
