//! Accounts on a server in memory.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::Instant;
use tokio::io::duplex;
use tokio::task::spawn_local;

use super::*;
use crate::clock::{Clock, UnixTime};
use crate::dns::resolver::Resolver;
use crate::events::Events;
use crate::mail::address::Mailbox;
use crate::mail::judge::tests::RSPAMD;
use crate::mail::judge::{self, Address, Judges, Protocol};
use crate::mail::poll::Receives;
use crate::mail::poll::account::SETBACK_FIRST;
use crate::mail::poll::testing::{Server, message, serve};
use crate::mail::pop3::client::Encryption;
use crate::mail::queue::connection::NoTls;
use crate::mail::rules::{Action, Rule, Rules, When};
use crate::mail::sasl::Password;
use crate::mail::sasl::client::NONCE_OCTETS;
use crate::mail::secret::Secret;
use crate::mail::service::aliases::Aliases;
use crate::mail::service::directory::Directory;
use crate::mail::service::remote::NoRemote;
use crate::mail::service::state::ROOM_LOOKED_AT_EVERY;
use crate::mail::service::tests::lab::{self, Lab, simulate};
use crate::mail::smtp::Role;
use crate::mail::store::JUNK;
use crate::mail::store::tests::disk::FakeDisk;
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

/// An office that polls one account.
struct Poller {
    lab: Lab,
    server: Rc<RefCell<Server>>,
    account: Account,
    office: Office,
    setbacks: Setbacks,
    environment: Environment,
}

fn anna() -> Receives {
    Receives::Person("anna".to_owned())
}

fn everybody() -> Receives {
    Receives::Everybody {
        otherwise_to: Some(Mailbox::parse("berta@office.example").unwrap()),
        envelope_field: None,
    }
}

impl Poller {
    async fn new(disk: &Arc<FakeDisk>, receives: Receives, messages: Vec<(String, String)>) -> Self {
        let lab = Lab::start(disk, Role::Mx, lab::settings()).await;
        let settings = lab::settings();
        let clock: Rc<dyn Clock> = Rc::new(Paused(tokio::time::Instant::now()));
        let office = Office {
            events: Events::default(),
            opened: lab.state.opened().unwrap(),
            directory: Directory::new(&settings.users, &settings.domains, &settings.aliases),
            hostname: settings.hostname,
            domain: settings.domain,
            message_octets_max: 100_000,
            disk_reserve: settings.disk_reserve,
            rules: Rules::default(),
            judges: Judges::new(Vec::new(), lab.wire.clone(), Resolver::none()),
            stats: Rc::default(),
            remote: Rc::new(NoRemote),
            clock: Rc::clone(&clock),
        };
        let account = Account {
            server: "pop.isp.example".to_owned(),
            port: 110,
            encryption: Encryption::Never,
            username: "office77".to_owned(),
            password: Secret::Known(Password("secret".to_owned())),
            receives,
            every: Duration::from_secs(300),
            leave_days: 0,
        };
        let environment = Environment { clock, work: Rc::new(AtOnce), tls: Rc::new(NoTls) };
        let server = Rc::new(RefCell::new(Server { messages, ..Server::default() }));
        Self { lab, server, account, office, setbacks: Setbacks::default(), environment }
    }

    /// The outcome of a connection; [`Poller::visit`] has that of each message.
    async fn poll(&mut self) -> Collected {
        Collected { seen: Vec::new(), ..self.visit(false, &|| false).await }
    }

    async fn visit(&mut self, is_dry: bool, has_to_end: &dyn Fn() -> bool) -> Collected {
        let (near, far) = duplex(4096);
        spawn_local(serve(Rc::clone(&self.server), far));
        let (account, office) = (&self.account, &self.office);
        let user = account.username.clone();
        let login = Credentials { user, password: Password("secret".to_owned()), nonce: [7; NONCE_OCTETS] };
        let visit = PollParameters { login, is_dry, has_to_end };
        collect(&self.environment, Box::new(near), account, office, &mut self.setbacks, visit).await
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
        // The next listing does not have it, so the account forgets it.
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
            Some(PollError::Server(Failure { kind: FailureKind::Connection, .. }))
        ));
        assert_eq!(poller.left(), 6, "nothing is deleted without QUIT");
        // The broken message does not delay the rest.
        let collected = poller.poll().await;
        assert_eq!((collected.fetched, collected.deleted, collected.waiting), (2, 5, 1));
        assert_eq!((poller.left(), &collected.trouble), (1, &None));
        poller.server.borrow_mut().breaks_in = None;
        tokio::time::sleep(SETBACK_FIRST).await;
        assert_eq!(poller.poll().await.fetched, 1);
        assert_eq!((poller.left(), poller.subjects("anna").await.len()), (0, 6));
        assert_eq!(poller.setbacks.count(), 0);
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
        assert_eq!(poller.poll().await.trouble, Some(PollError::NeedsNames));
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
            Some(PollError::Server(Failure { kind: FailureKind::Protocol, .. }))
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
        // The collector knew before its request that there is no room.
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
        assert_eq!(collected.trouble, Some(PollError::Store(StoreError::NoRoom)));
        assert_eq!(poller.server.borrow().commands.last().map(String::as_str), Some("QUIT"));
        assert_eq!((collected.fetched, poller.left()), (0, 2));
    });
}

#[test]
fn a_dry_run_tells_what_would_become_of_each_message_and_changes_nothing() {
    simulate(async {
        let mut all = vec![
            message(1, "Envelope-To: anna@office.example|To: berta@office.example"),
            message(2, "To: list@lists.example"),
            message(3, "To: anna@office.example"),
        ];
        all[2].1 += &("x".repeat(100_000) + "\r\n");
        let mut poller = Poller::new(&Arc::default(), everybody(), all).await;
        let told = |collected: &Collected| {
            let of_each = collected.seen.iter().map(|seen| {
                let distributed = seen.distributed.as_ref().map_or(String::new(), |distributed| {
                    let users: Vec<_> = distributed.receivers.iter().map(|to| to.user.as_str()).collect();
                    let field = distributed.field.as_deref().unwrap_or("-");
                    format!(" by {} ({field}) for {}", distributed.rule.name(), users.join(" "))
                });
                let name = seen.uidl.as_deref().unwrap_or_default();
                format!("{name}: {}{distributed}", seen.disposition.name())
            });
            of_each.collect::<Vec<_>>()
        };
        let expected = [
            "m1: fetch by envelope (Envelope-To) for anna",
            "m2: fetch by otherwise (-) for berta",
            "m3: too-long",
        ];
        for _ in 0..2 {
            let collected = poller.visit(true, &|| false).await;
            assert_eq!((told(&collected), &collected.trouble), (expected.map(str::to_owned).to_vec(), &None));
            assert_eq!((collected.fetched, collected.deleted, poller.left()), (0, 0, 3));
        }
        assert_eq!((poller.subjects("anna").await.len(), poller.remembered()), (0, 0));
        let commands = poller.server.borrow().commands.join(" ");
        assert!(!commands.contains("RETR") && !commands.contains("DELE"), "{commands}");
        // The dry run has reported what the real one does.
        assert_eq!(told(&poller.visit(false, &|| false).await), expected);
        assert_eq!(poller.subjects("anna").await, ["1"]);
        poller.server.borrow_mut().has_no_top = true;
        poller.server.borrow_mut().messages.push(message(4, "To: anna@office.example"));
        let collected = poller.visit(true, &|| false).await;
        assert_eq!((told(&collected), collected.failed), (vec!["m4: later".to_owned()], 0));
    });
}

#[test]
fn a_connection_that_has_to_end_keeps_the_message_at_hand_and_deletes_what_is_safe() {
    simulate(async {
        let mut poller = Poller::new(&Arc::default(), anna(), messages(5)).await;
        poller.server.borrow_mut().has_no_uidl = true;
        let asked = std::cell::Cell::new(0);
        let has_to_end = || {
            asked.set(asked.get() + 1);
            asked.get() > 2
        };
        let collected = poller.visit(false, &has_to_end).await;
        assert_eq!((collected.fetched, collected.deleted, collected.is_more), (2, 2, true));
        assert_eq!((poller.left(), &collected.trouble), (3, &None));
        assert_eq!((poller.poll().await.fetched, poller.subjects("anna").await.len()), (3, 5));
    });
}

#[test]
fn a_message_that_nobody_would_get_stays_there() {
    simulate(async {
        let all = vec![message(1, "To: list@lists.example")];
        let mut poller = Poller::new(&Arc::default(), everybody(), all).await;
        let nobody = Mailbox::parse("carl@office.example").unwrap();
        poller.account.receives = Receives::Everybody { otherwise_to: Some(nobody), envelope_field: None };
        let collected = poller.poll().await;
        assert_eq!((collected.fetched, collected.failed, poller.left()), (0, 1, 1));
    });
}

#[test]
fn a_connection_that_has_to_end_forgets_nothing_that_it_has_not_come_to() {
    simulate(async {
        let mut poller = Poller::new(&Arc::default(), anna(), messages(3)).await;
        {
            let mut server = poller.server.borrow_mut();
            (server.has_no_uidl, server.forgets_deletions) = (true, true);
        }
        assert_eq!((poller.poll().await.fetched, poller.remembered()), (3, 3));
        let collected = poller.visit(false, &|| true).await;
        assert_eq!((collected.fetched, collected.is_more, poller.remembered()), (0, true, 3));
        assert_eq!(poller.poll().await.fetched, 0);
        assert_eq!(poller.subjects("anna").await.len(), 3);
    });
}

#[test]
fn lines_that_end_in_lf_alone_are_kept_with_crlf() {
    simulate(async {
        let all = vec![("m1".to_owned(), "To: anna@office.example\nSubject: 1\n\nbody\r\n".to_owned())];
        let mut poller = Poller::new(&Arc::default(), everybody(), all).await;
        assert_eq!(poller.poll().await.fetched, 1);
        let inbox = poller.lab.inbox("anna").await;
        assert!(inbox[0].ends_with("\r\nTo: anna@office.example\r\nSubject: 1\r\n\r\nbody\r\n"), "{inbox:?}");
    });
}

#[test]
fn without_uidl_what_is_gone_is_forgotten_though_others_are_there() {
    simulate(async {
        let mut poller = Poller::new(&Arc::default(), anna(), messages(2)).await;
        {
            let mut server = poller.server.borrow_mut();
            (server.has_no_uidl, server.forgets_deletions) = (true, true);
        }
        assert_eq!((poller.poll().await.fetched, poller.remembered()), (2, 2));
        poller.server.borrow_mut().messages.remove(0);
        assert_eq!((poller.poll().await.fetched, poller.remembered()), (0, 1));
    });
}

#[test]
fn without_uidl_two_messages_that_are_alike_are_one() {
    simulate(async {
        let all = vec![message(1, "To: anna@office.example"); 2];
        let mut poller = Poller::new(&Arc::default(), anna(), all).await;
        poller.server.borrow_mut().has_no_uidl = true;
        let collected = poller.poll().await;
        assert_eq!((collected.fetched, collected.deleted), (1, 2));
        assert_eq!(poller.subjects("anna").await, ["1"]);
    });
}

#[test]
fn who_sent_a_message_is_kept_from_its_return_path() {
    simulate(async {
        let all = vec![message(1, "Return-Path: <far@elsewhere.example>"), message(2, "Return-Path: <>")];
        let mut poller = Poller::new(&Arc::default(), anna(), all).await;
        assert_eq!(poller.poll().await.fetched, 2);
        let store = poller.lab.store();
        let (id, uids) = store.look(|state| {
            let mailbox = state.mailbox_named("anna").unwrap();
            let uids: Vec<_> = mailbox.entries().iter().map(|entry| entry.uid).collect();
            (mailbox.state().id, uids)
        });
        for (uid, expected) in uids.into_iter().zip(["far@elsewhere.example", ""]) {
            assert_eq!(store.read(id, uid).await.unwrap().accept.return_path, expected);
        }
    });
}

#[test]
fn what_is_fetched_is_sorted_by_the_users_rules_and_not_fetched_again() {
    simulate(async {
        let mut poller = Poller::new(&Arc::default(), anna(), messages(3)).await;
        let rule = |subject: &str, action| {
            let contains = Some(subject.to_owned());
            let when = When { header: Some("Subject".to_owned()), contains, ..When::default() };
            Rule { user: Some("anna".to_owned()), when, action }
        };
        let to = Mailbox::parse("berta@office.example").unwrap();
        poller.office.rules.all = vec![
            rule("1", Action::Discard),
            rule("2", Action::File("Second".to_owned())),
            rule("3", Action::Forward { to, keeps: false }),
        ];
        poller.account.leave_days = 7;
        let collected = poller.poll().await;
        assert_eq!((collected.fetched, collected.deleted, poller.left()), (3, 0, 3));
        assert_eq!(poller.subjects("anna").await, ["2"]);
        assert_eq!(poller.subjects("berta").await, ["3"]);
        assert_eq!((poller.remembered(), poller.poll().await.fetched), (3, 0));
        assert_eq!(poller.subjects("anna").await.len() + poller.subjects("berta").await.len(), 2);
    });
}

/// RFC 8601, section 5: What others say in this server's name goes from mail that is fetched, too.
#[test]
fn rfc8601_5_what_others_say_in_this_server_s_name_is_not_fetched() {
    simulate(async {
        let header = "Authentication-Results: smtp.office.example; dmarc=pass|From: far@elsewhere.example|\
                      Authentication-Results: isp.example; spf=pass|Authentication-Results:|\
                      \tSMTP.office.example; dkim=pass";
        let mut poller = Poller::new(&Arc::default(), anna(), vec![message(1, header)]).await;
        assert_eq!(poller.poll().await.fetched, 1);
        let end = ";\r\n\tThu, 29 Feb 2024 12:34:56 +0000\r\nFrom: far@elsewhere.example\r\n\
                   Authentication-Results: isp.example; spf=pass\r\nSubject: 1\r\n\r\n.dot 1\r\n";
        let inbox = poller.lab.inbox("anna").await;
        assert!(inbox.len() == 1 && inbox[0].ends_with(end), "{inbox:?}");
    });
}

#[test]
fn judges_look_at_what_is_fetched_and_what_they_refuse_is_junk() {
    for (action, header, folder) in [
        ("reject", None, JUNK),
        // The server sends it only once.
        ("soft reject", None, "INBOX"),
        (
            "add header",
            Some("X-Spam-Status: Yes, score=1.00 required=2.00\r\nX-Spam-Flag: YES\r\n"),
            "Doubtful",
        ),
        ("no action", Some("X-Spam-Status: No, score=1.00 required=2.00\r\n"), "INBOX"),
    ] {
        simulate(async {
            let text = message(1, "Return-Path: <far@elsewhere.example>|From: far@elsewhere.example");
            let mut poller = Poller::new(&Arc::default(), anna(), vec![text]).await;
            let address =
                Address { protocol: Protocol::Rspamd, host: "192.168.1.40".to_owned(), port: 11_333 };
            poller.office.judges = Judges::new(vec![address], poller.lab.wire.clone(), Resolver::none());
            let spam = When { header: Some("X-Spam-Flag".to_owned()), ..When::default() };
            let file = Action::File("Doubtful".to_owned());
            poller.office.rules.all = vec![Rule { user: None, when: spam, action: file }];
            let body = format!(r#"{{"action":"{action}","score":1,"required_score":2}}"#);
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let came =
                judge::tests::start(&poller.lab.wire, RSPAMD, b".dot 1\r\n", Some(answer.leak())).await;
            assert_eq!(poller.poll().await.fetched, 1, "{action}");
            assert_eq!(poller.lab.folders("anna"), [folder], "{action}");
            let (inbox, came) = (poller.lab.inbox("anna").await, came.borrow().clone());
            let (head, judged) = std::str::from_utf8(&came).unwrap().split_once("\r\n\r\n").unwrap();
            // It is shown as stored; its original server is unknown.
            let prefix = format!("Delivered-To: anna@office.example\r\n{}", header.unwrap_or_default());
            assert_eq!(inbox, [format!("{prefix}{judged}")], "{action}");
            assert!(
                head.contains("\r\nFrom: far@elsewhere.example\r\nRcpt: anna@office.example\r\n"),
                "{head}"
            );
            assert!(!head.contains("\r\nIP:"), "{head}");
            let stats = poller.office.stats.borrow().clone();
            let is_refused = u64::from(folder == JUNK);
            assert_eq!(
                (stats.judged, stats.judged_away, stats.judges_silent),
                (1, is_refused, 0),
                "{action}"
            );
        });
    }
}

/// RFC 3834, section 2: The address of the mailbox that a message was fetched from is the person's, too.
#[test]
fn rfc3834_2_what_was_sent_to_the_address_elsewhere_is_answered() {
    simulate(async {
        for (username, receives, answers) in [
            ("anna@isp.example", anna(), 1),
            ("office77", anna(), 0),
            ("carl@isp.example", anna(), 0),
            ("anna@isp.example", everybody(), 0),
        ] {
            let head =
                "Return-Path: <berta@office.example>\r\nFrom: berta@office.example\r\nTo: Anna@ISP.example";
            let head = match &receives {
                Receives::Person(_) => head.to_owned(),
                // It is for Anna all the same.
                Receives::Everybody { .. } => format!("X-Envelope-To: anna@office.example\r\n{head}"),
            };
            let mut poller = Poller::new(&Arc::default(), receives, vec![message(1, &head)]).await;
            poller.account.username = username.to_owned();
            poller.office.rules.vacations = [("anna".to_owned(), "Back on Monday.".to_owned())].into();
            assert_eq!(poller.poll().await.fetched, 1);
            tokio::time::sleep(Duration::from_secs(1)).await;
            let inboxes = (poller.subjects("anna").await.len(), poller.subjects("berta").await.len());
            assert_eq!(inboxes, (1, answers), "{username}");
        }
    });
}
