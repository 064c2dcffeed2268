//! Accounts on a server in memory, whose lines break and whose answers are lost.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use gatepost_ground::Instant;
use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream, duplex};
use tokio::task::spawn_local;

use super::*;
use crate::clock::{Clock, UnixTime};
use crate::mail::poll::Receives;
use crate::mail::poll::account::SETBACK_FIRST;
use crate::mail::pop3::client::Encryption;
use crate::mail::queue::connection::StartTls;
use crate::mail::sasl::Password;
use crate::mail::service::aliases::Aliases;
use crate::mail::service::directory::Directory;
use crate::mail::service::ground::ROOM_LOOKED_AT_EVERY;
use crate::mail::service::tests::lab::{self, Lab, simulate};
use crate::mail::smtp::Role;
use crate::mail::store::tests::disk::FakeDisk;
use crate::service::LocalFuture;
use crate::users::User;
use crate::work::AtOnce;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Paused(tokio::time::Instant);

impl Clock for Paused {
    fn now(&self) -> Instant {
        Instant::from_secs(1000) + self.0.elapsed()
    }

    fn unix_time(&self) -> UnixTime {
        UnixTime(lab::NOW + self.0.elapsed().as_secs())
    }
}

struct NoTls;

impl StartTls for NoTls {
    fn start_tls(&self, _: Box<dyn Stream>) -> LocalFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async { Err(io::Error::other("no common cipher")) })
    }

    fn has_to_prove(&self) -> bool {
        true
    }
}

/// The server of an account, over all connections.
#[derive(Default)]
struct Server {
    /// Names and texts.
    messages: Vec<(String, String)>,
    has_no_uidl: bool,
    /// The connection breaks in the midst of this message.
    breaks_in: Option<&'static str>,
    /// It hands this message out to nobody.
    refuses: Option<&'static str>,
    /// QUIT is answered, and deletes nothing.
    forgets_deletions: bool,
    /// The connection breaks at QUIT, behind which it has deleted, or not.
    loses_quit: Option<bool>,
    /// Sizes that it lists, if they are not true.
    listed_size: Option<u64>,
    commands: Vec<String>,
}

async fn serve(server: Rc<RefCell<Server>>, stream: DuplexStream) {
    let (read, mut write) = tokio::io::split(stream);
    let mut lines = BufReader::new(read).lines();
    _ = write.write_all(b"+OK ready\r\n").await;
    let messages = server.borrow().messages.clone();
    let mut deleted = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        server.borrow_mut().commands.push(line.clone());
        let (word, argument) = line.split_once(' ').unwrap_or((&line, ""));
        let at = argument.split(' ').next().and_then(|number| number.parse::<usize>().ok());
        let message = at.and_then(|number| messages.get(number - 1));
        let listed = |value: &dyn Fn(&(String, String)) -> String| {
            let of_each =
                (1..).zip(&messages).map(|(number, message)| format!("{number} {}\r\n", value(message)));
            format!("+OK\r\n{}.\r\n", of_each.collect::<String>())
        };
        let size = server.borrow().listed_size;
        let is = |of: Option<&str>| message.is_some_and(|(uidl, _)| of == Some(uidl.as_str()));
        let reply = match word {
            "CAPA" => "-ERR\r\n".to_owned(),
            "LIST" => listed(&|(_, text)| size.unwrap_or(text.len() as u64).to_string()),
            "UIDL" if server.borrow().has_no_uidl => "-ERR\r\n".to_owned(),
            "UIDL" => listed(&|(uidl, _)| uidl.clone()),
            "RETR" if is(server.borrow().refuses) => "-ERR it is damaged\r\n".to_owned(),
            "RETR" => {
                let text = &message.unwrap().1;
                let stuffed = text.replace("\r\n.", "\r\n..");
                if is(server.borrow().breaks_in) {
                    _ = write.write_all(format!("+OK\r\n{}", &stuffed[..stuffed.len() / 2]).as_bytes()).await;
                    return;
                }
                format!("+OK\r\n{stuffed}.\r\n")
            }
            "DELE" => {
                deleted.push(message.unwrap().0.clone());
                "+OK\r\n".to_owned()
            }
            "QUIT" => {
                let mut server = server.borrow_mut();
                let (forgets, loses) = (server.forgets_deletions, server.loses_quit);
                if !forgets && loses != Some(false) {
                    server.messages.retain(|(uidl, _)| !deleted.contains(uidl));
                }
                if loses.is_some() {
                    return;
                }
                "+OK\r\n".to_owned()
            }
            _ => "+OK\r\n".to_owned(),
        };
        _ = write.write_all(reply.as_bytes()).await;
        if word == "QUIT" {
            return;
        }
    }
}

/// An office that polls one account.
struct Poller {
    lab: Lab,
    server: Rc<RefCell<Server>>,
    account: Account,
    office: Office,
    setbacks: Setbacks,
    means: Means,
}

fn message(number: usize, header: &str) -> (String, String) {
    (
        format!("m{number}"),
        format!("{}\r\nSubject: {number}\r\n\r\n.dot {number}\r\n", header.replace('|', "\r\n")),
    )
}

fn anna() -> Receives {
    Receives::Person("anna".to_owned())
}

fn everybody() -> Receives {
    Receives::Everybody { otherwise_to: Some("berta".to_owned()), envelope_field: None }
}

impl Poller {
    async fn new(disk: &Arc<FakeDisk>, receives: Receives, messages: Vec<(String, String)>) -> Self {
        let lab = Lab::start(disk, Role::Mx, lab::settings()).await;
        let settings = lab::settings();
        let clock: Rc<dyn Clock> = Rc::new(Paused(tokio::time::Instant::now()));
        let office = Office {
            opened: lab.ground.opened().unwrap(),
            directory: Directory::new(&settings.users, &settings.domains, &settings.aliases),
            hostname: settings.hostname,
            domain: settings.domain,
            message_octets_max: 100_000,
            disk_reserve: settings.disk_reserve,
            clock: Rc::clone(&clock),
        };
        let account = Account {
            server: "pop.isp.example".to_owned(),
            port: 110,
            encryption: Encryption::Never,
            username: "office77".to_owned(),
            password: Password("secret".to_owned()),
            receives,
            every: Duration::from_secs(300),
            leave_days: 0,
        };
        let means = Means { clock, work: Rc::new(AtOnce), tls: Rc::new(NoTls) };
        let server = Rc::new(RefCell::new(Server { messages, ..Server::default() }));
        Self { lab, server, account, office, setbacks: Setbacks::default(), means }
    }

    async fn poll(&mut self) -> Collected {
        let (near, far) = duplex(4096);
        spawn_local(serve(Rc::clone(&self.server), far));
        let (account, office) = (&self.account, &self.office);
        collect(&self.means, Box::new(near), account, office, &mut self.setbacks, [7; NONCE_OCTETS]).await
    }

    /// The subjects of the messages in a mailbox.
    async fn subjects(&self, user: &str) -> Vec<String> {
        let subject = |message: &String| {
            let line = message.lines().find_map(|line| line.strip_prefix("Subject: "));
            line.unwrap_or_default().to_owned()
        };
        self.lab.inbox(user).await.iter().map(subject).collect()
    }

    fn remembered(&self) -> usize {
        self.lab.store().look(|state| state.seen(&self.account.key()).count())
    }

    fn left(&self) -> usize {
        self.server.borrow().messages.len()
    }
}

fn messages(count: usize) -> Vec<(String, String)> {
    (1..=count).map(|number| message(number, "From: far@elsewhere.example")).collect()
}

#[test]
fn what_is_there_is_fetched_kept_and_deleted() {
    simulate(async {
        let text = message(1, "Return-Path: <far@elsewhere.example>|From: far@elsewhere.example");
        let mut poller = Poller::new(&Arc::default(), anna(), vec![text]).await;
        let collected = poller.poll().await;
        assert_eq!((collected.fetched, collected.deleted, &collected.trouble), (1, 1, &None));
        assert_eq!(poller.left(), 0);
        let expected = "Delivered-To: anna@office.example\r\nReceived: from pop.isp.example\r\n\t\
            by smtp.office.example with POP3;\r\n\tThu, 29 Feb 2024 12:34:56 +0000\r\n\
            Return-Path: <far@elsewhere.example>\r\nFrom: far@elsewhere.example\r\nSubject: 1\r\n\r\n.dot 1\r\n";
        assert_eq!(poller.lab.inbox("anna").await, [expected]);
        // It is forgotten by the next listing, which has it no more.
        assert_eq!(poller.remembered(), 1);
        assert_eq!(poller.poll().await, Collected::default());
        assert_eq!((poller.remembered(), poller.subjects("anna").await.len()), (0, 1));
    });
}

#[test]
fn a_line_that_breaks_costs_a_download_and_no_message_twice() {
    simulate(async {
        let disk = Arc::default();
        let mut poller = Poller::new(&disk, anna(), messages(6)).await;
        poller.server.borrow_mut().breaks_in = Some("m4");
        let collected = poller.poll().await;
        assert_eq!((collected.fetched, collected.deleted, collected.failed), (3, 0, 1));
        assert!(matches!(
            collected.trouble,
            Some(Trouble::Server(Failure { kind: FailureKind::Connection, .. }))
        ));
        assert_eq!(poller.left(), 6, "nothing is deleted without QUIT");
        // The broken one is not in the way of the rest.
        let collected = poller.poll().await;
        assert_eq!((collected.fetched, collected.deleted, collected.waiting), (2, 5, 1));
        assert_eq!((poller.left(), &collected.trouble), (1, &None));
        poller.server.borrow_mut().breaks_in = None;
        tokio::time::sleep(SETBACK_FIRST).await;
        assert_eq!(poller.poll().await.fetched, 1);
        assert_eq!((poller.left(), poller.subjects("anna").await.len()), (0, 6));
    });
}

#[test]
fn a_deletion_that_was_acknowledged_and_not_done_delivers_nothing_again() {
    for fault in 0..3 {
        simulate(async {
            let mut poller = Poller::new(&Arc::default(), anna(), messages(3)).await;
            {
                let mut server = poller.server.borrow_mut();
                server.forgets_deletions = fault == 0;
                server.loses_quit = [None, Some(false), Some(true)][fault];
            }
            let collected = poller.poll().await;
            assert_eq!((collected.fetched, collected.trouble), (3, None));
            if fault != 0 {
                assert_eq!(collected.deleted, 0, "nothing is known of it");
            }
            {
                let mut server = poller.server.borrow_mut();
                (server.forgets_deletions, server.loses_quit) = (false, None);
            }
            let collected = poller.poll().await;
            assert_eq!((collected.fetched, poller.left()), (0, 0));
            assert_eq!(poller.subjects("anna").await, ["1", "2", "3"]);
        });
    }
}

#[test]
fn messages_are_left_for_their_days_over_a_start() {
    simulate(async {
        let disk = Arc::default();
        let mut poller = Poller::new(&disk, anna(), messages(2)).await;
        poller.account.leave_days = 2;
        assert_eq!((poller.poll().await.fetched, poller.left()), (2, 2));
        poller.lab.stop().await;
        let left = poller.server.borrow().messages.clone();
        drop(poller);
        let mut poller = Poller::new(&disk, anna(), left).await;
        poller.account.leave_days = 2;
        assert_eq!((poller.poll().await.fetched, poller.left()), (0, 2));
        tokio::time::sleep(2 * DAY).await;
        let collected = poller.poll().await;
        assert_eq!((collected.fetched, collected.deleted, poller.left()), (0, 2, 0));
        assert_eq!(poller.subjects("anna").await, ["1", "2"]);
    });
}

#[test]
fn without_uidl_messages_are_known_by_their_octets_and_cannot_be_left() {
    simulate(async {
        let mut poller = Poller::new(&Arc::default(), anna(), messages(2)).await;
        {
            let mut server = poller.server.borrow_mut();
            (server.has_no_uidl, server.forgets_deletions) = (true, true);
        }
        poller.account.leave_days = 2;
        assert_eq!(poller.poll().await.trouble, Some(Trouble::NeedsNames));
        poller.account.leave_days = 0;
        assert_eq!(poller.poll().await.fetched, 2);
        assert_eq!((poller.poll().await.fetched, poller.remembered()), (0, 2));
        poller.server.borrow_mut().forgets_deletions = false;
        assert_eq!((poller.poll().await.fetched, poller.left()), (0, 0));
        poller.poll().await;
        assert_eq!((poller.remembered(), poller.subjects("anna").await.len()), (0, 2));
    });
}

#[test]
fn a_message_that_is_too_long_stays_and_is_told_of_once() {
    simulate(async {
        let disk = Arc::default();
        let mut all = messages(2);
        all[0].1 += &("x".repeat(100_000) + "\r\n");
        let mut poller = Poller::new(&disk, anna(), all).await;
        let size = poller.server.borrow().messages[0].1.len();
        for _ in 0..2 {
            let collected = poller.poll().await;
            assert_eq!((collected.too_long, &collected.trouble, poller.left()), (1, &None, 1));
        }
        assert_eq!(poller.subjects("anna").await, ["A message is too long to be fetched", "2"]);
        let notice = poller.lab.inbox("anna").await.remove(0);
        assert!(
            notice.contains(&format!("has {size} octets")) && notice.contains("To: anna@office.example\r\n")
        );
        poller.office.message_octets_max = 200_000;
        assert_eq!((poller.poll().await.fetched, poller.left()), (1, 0));
    });
}

#[test]
fn a_message_longer_than_its_server_says_is_given_up() {
    simulate(async {
        let mut all = messages(2);
        all[0].1 += &"x\r\n".repeat(1 << 20);
        let mut poller = Poller::new(&Arc::default(), anna(), all).await;
        poller.server.borrow_mut().listed_size = Some(10);
        let collected = poller.poll().await;
        assert!(matches!(
            collected.trouble,
            Some(Trouble::Server(Failure { kind: FailureKind::Protocol, .. }))
        ));
        assert_eq!(poller.poll().await.fetched, 1, "the other one");
        assert_eq!(poller.subjects("anna").await, ["2"]);
    });
}

#[test]
fn a_message_that_is_refused_or_has_no_room_stops_no_other() {
    simulate(async {
        let mut all = messages(3);
        // Anna's quota is 1 MiB.
        all[1].1 += &("x".repeat(1 << 20) + "\r\n");
        let mut poller = Poller::new(&Arc::default(), anna(), all).await;
        poller.office.message_octets_max = 2 << 20;
        poller.server.borrow_mut().refuses = Some("m1");
        let collected = poller.poll().await;
        assert_eq!((collected.fetched, collected.failed, &collected.trouble), (1, 2, &None));
        assert_eq!((poller.left(), poller.subjects("anna").await), (2, vec!["3".to_owned()]));
        let collected = poller.poll().await;
        assert_eq!((collected.failed, collected.waiting), (0, 2), "not again at once");
        let retrieved =
            |poller: &Poller| poller.server.borrow().commands.iter().filter(|line| *line == "RETR 2").count();
        // That there is no room was known before it was asked for.
        assert_eq!(retrieved(&poller), 0);
    });
}

#[test]
fn a_common_mailbox_is_distributed_and_each_has_one() {
    simulate(async {
        let all = vec![
            message(1, "Envelope-To: anna@office.example|To: anna@office.example, berta@office.example"),
            message(2, "Envelope-To: berta@office.example|To: anna@office.example, berta@office.example"),
            message(3, "To: anna@office.example|Cc: Berta <berta@office.example>"),
            message(4, "To: list@lists.example"),
        ];
        let mut poller = Poller::new(&Arc::default(), everybody(), all).await;
        let collected = poller.poll().await;
        assert_eq!((collected.fetched, poller.left(), &collected.trouble), (4, 0, &None));
        assert_eq!(poller.subjects("anna").await, ["1", "3"]);
        assert_eq!(poller.subjects("berta").await, ["2", "3", "4"]);
        let inbox = poller.lab.inbox("berta").await;
        let begin = "Delivered-To: berta@office.example\r\nX-Original-To: berta@office.example\r\n\
            X-Distributed-By: envelope (Envelope-To)\r\nReceived: ";
        assert!(inbox[0].starts_with(begin), "{}", inbox[0]);
        assert!(
            inbox[2]
                .contains("X-Distributed-By: otherwise; nobody here is named in\r\n\tResent-To: nothing,")
        );
    });
}

#[test]
fn a_full_mailbox_keeps_a_message_for_two_there_and_others_come() {
    simulate(async {
        let all = vec![
            message(1, "To: anna@office.example, berta@office.example"),
            message(2, "To: anna@office.example"),
        ];
        let mut poller = Poller::new(&Arc::default(), everybody(), all).await;
        let users = lab::settings().users.into_iter().map(|user| match user.name.as_str() {
            "berta" => User { quota: 1, ..user },
            _ => user,
        });
        let users = users.collect::<Vec<_>>();
        let domains = lab::settings().domains;
        poller.office.directory = Directory::new(&users, &domains, &Aliases::default());
        let collected = poller.poll().await;
        assert_eq!((collected.fetched, collected.failed, &collected.trouble), (1, 1, &None));
        assert_eq!((poller.left(), poller.subjects("anna").await), (1, vec!["2".to_owned()]));
        // There is room again.
        poller.office.directory = Directory::new(&lab::settings().users, &domains, &Aliases::default());
        tokio::time::sleep(SETBACK_FIRST).await;
        assert_eq!((poller.poll().await.fetched, poller.left()), (1, 0));
        assert_eq!(poller.subjects("anna").await, ["2", "1"]);
        assert_eq!(poller.subjects("berta").await, ["1"]);
    });
}

#[test]
fn a_disk_without_room_ends_the_connection_in_order() {
    simulate(async {
        let mut poller = Poller::new(&Arc::default(), anna(), messages(2)).await;
        poller.lab.disk.set_room(Some(1 << 20));
        // What the disk had at the start is known until then.
        tokio::time::sleep(ROOM_LOOKED_AT_EVERY).await;
        let collected = poller.poll().await;
        assert_eq!(collected.trouble, Some(Trouble::Store(Refused::NoRoom)));
        assert_eq!(poller.server.borrow().commands.last().map(String::as_str), Some("QUIT"));
        assert_eq!((collected.fetched, poller.left()), (0, 2));
    });
}
