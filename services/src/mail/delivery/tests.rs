//! An office that sends to servers elsewhere, on paused time.

mod administration;
mod forwarding;
mod world;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, MX};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::*;
use crate::dns::published::PublishedTexts;
use crate::dns::resolver::{Answerer, Resolver};
use crate::mail::address::Mailbox;
use crate::mail::mx::{Host as MxHost, Server as MxServer};
use crate::mail::queue::HOP_JOBS_MAX;
use crate::mail::queue::connection::STUCK_AFTER;
use crate::mail::sasl::Password;
use crate::mail::secret::Secret;
use crate::mail::service;
use crate::mail::service::aliases::Alias;
use crate::mail::service::tests::lab::{self, LAN, Lab, PC1, STRANGER, WAN, addresses, simulate};
use crate::mail::service::tests::wire::Wire;
use crate::mail::signing::{FILE, keys_in, signing_domains};
use crate::mail::smtp::Role;
use crate::mail::store::tests::disk::FakeDisk;
use crate::net::{Listener, Net};
use crate::service::{Instance, LocalFuture, Service, State};
use crate::store::Storage;

const MAIL: &str = "Subject: Lunch\r\n\r\nAt noon?\r\n";
const MX1: &str = "198.51.100.1";
const MX2: &str = "198.51.100.2";

/// The names of the world: `NAME MX`, and `NAME A`.
struct World(BTreeMap<&'static str, &'static str>);

impl Answerer for World {
    fn ask(&self, name: Name, record_type: RecordType) -> LocalFuture<'_, Option<Message>> {
        let mut response = Message::response(0, OpCode::Query);
        let text = name.to_ascii();
        let text = text.trim_end_matches('.');
        let is_there = self.0.keys().any(|key| key.split(' ').next() == Some(text));
        response.metadata.response_code =
            if is_there { ResponseCode::NoError } else { ResponseCode::NXDomain };
        let found = self.0.get(format!("{text} {record_type}").as_str()).copied();
        for data in found.into_iter().flat_map(|found| found.split(", ")) {
            let data = match data.split_once(' ') {
                Some((preference, host)) => {
                    RData::MX(MX::new(preference.parse().unwrap(), Name::from_ascii(host).unwrap()))
                }
                None => RData::A(A(data.parse().unwrap())),
            };
            response.add_answer(Record::from_rdata(name.clone(), 60, data));
        }
        Box::pin(std::future::ready(Some(response)))
    }

    fn ask_world(&self, name: Name, record_type: RecordType) -> LocalFuture<'_, Option<Message>> {
        self.ask(name, record_type)
    }
}

fn world() -> World {
    World(BTreeMap::from([
        ("far.example MX", "10 mx1.far.example., 20 mx2.far.example."),
        ("mx1.far.example A", MX1),
        ("mx2.far.example A", MX2),
        ("null.example MX", "0 ."),
        ("inside.example MX", "10 mx.inside.example."),
        ("mx.inside.example A", "10.0.0.5"),
    ]))
}

/// A server elsewhere.
#[derive(Default)]
struct Server {
    /// What it answers to commands that begin so, each once; else what it should.
    said: RefCell<VecDeque<(&'static str, &'static str)>>,
    /// The commands that came.
    commands: RefCell<Vec<String>>,
    /// The messages that it has taken.
    taken: RefCell<Vec<String>>,
    connections: Cell<usize>,
    /// Lets it answer what it was to answer by `held`: as it should.
    goes_on: Notify,
}

impl Server {
    async fn start(wire: &Wire, at: &str) -> Rc<Self> {
        let server = Rc::new(Self::default());
        let listener = wire.listen(format!("{at}:25").parse().unwrap()).await.unwrap();
        let this = Rc::clone(&server);
        spawn_local(async move {
            while let Ok(stream) = listener.accept().await {
                this.connections.set(this.connections.get() + 1);
                let this = Rc::clone(&this);
                spawn_local(async move { this.serve(BufReader::new(stream)).await });
            }
        });
        server
    }

    /// Answers the next command that begins with `command` so.
    fn say(&self, command: &'static str, reply: &'static str) {
        self.said.borrow_mut().push_back((command, reply));
    }

    fn reply(&self, command: &str, usual: &str) -> String {
        let mut said = self.said.borrow_mut();
        let at = said.iter().position(|(of, _)| command.starts_with(of));
        at.and_then(|at| said.remove(at)).map_or(usual, |(_, reply)| reply).to_owned()
    }

    async fn serve(&self, mut stream: BufReader<impl crate::net::Stream>) {
        let mut line = "GREETING".to_owned();
        let mut recipients = 0;
        loop {
            let usual = match line.split([' ', ':', '\r']).next().unwrap_or_default() {
                "GREETING" => "220 mx.far.example",
                "EHLO" => "250-mx.far.example\r\n250 PIPELINING",
                "DATA" if recipients == 0 => "554 5.5.1 no valid recipients",
                "DATA" => "354 go on",
                "QUIT" => "221 bye",
                _ => "250 2.0.0 fine",
            };
            let mut reply = self.reply(&line, usual);
            if reply == "held" {
                self.goes_on.notified().await;
                reply = usual.to_owned();
            }
            if reply == "gone" {
                return;
            }
            let (before, reply) = match reply.strip_suffix("\r\nsilent") {
                Some(before) => (before.to_owned() + "\r\n", "silent".to_owned()),
                None => (String::new(), reply),
            };
            _ = stream.write_all(before.as_bytes()).await;
            if reply == "silent" {
                let mut rest = Vec::new();
                _ = stream.read_to_end(&mut rest).await;
                let rest = String::from_utf8_lossy(&rest);
                self.commands.borrow_mut().extend(rest.lines().map(str::to_owned));
                return;
            }
            match line.get(..4) {
                Some("MAIL") => recipients = 0,
                Some("RCPT") if reply.starts_with('2') => recipients += 1,
                _ => {}
            }
            _ = stream.write_all(format!("{reply}\r\n").as_bytes()).await;
            _ = stream.flush().await;
            if reply.starts_with("354") {
                let mut message = String::new();
                while !message.ends_with("\r\n.\r\n") {
                    if stream.read_line(&mut message).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let end = self.reply("END", "250 2.0.0 taken");
                if end.starts_with('2') || end == "gone" {
                    self.taken.borrow_mut().push(message);
                }
                if end == "gone" {
                    return;
                }
                if end == "silent" {
                    _ = stream.read_to_end(&mut Vec::new()).await;
                    return;
                }
                _ = stream.write_all(format!("{end}\r\n").as_bytes()).await;
                _ = stream.flush().await;
            }
            line.clear();
            if reply.starts_with("221") || stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                _ = stream.read_to_end(&mut Vec::new()).await;
                return;
            }
            self.commands.borrow_mut().push(line.trim_end().to_owned());
        }
    }

    fn taken(&self) -> usize {
        self.taken.borrow().len()
    }
}

fn settings() -> Settings {
    Settings {
        mail: lab::settings(),
        smarthost: None,
        login: None,
        routes: BTreeMap::new(),
        has_common_mailbox: false,
        may_leave: true,
    }
}

/// A gateway with port 25 and a way out.
struct Office {
    lab: Lab,
    driver: Rc<DeliveryDriver<Wire>>,
    delivery: OfficeDelivery<Wire>,
}

impl Office {
    async fn start(disk: &Arc<FakeDisk>, settings: Settings) -> Self {
        Self::start_in(disk, settings, |lab| lab).await
    }

    /// A gateway with TLS.
    async fn start_with_tls(disk: &Arc<FakeDisk>, settings: Settings) -> Self {
        Self::start_in(disk, settings, |lab| lab.with_tls().0).await
    }

    async fn start_in(disk: &Arc<FakeDisk>, settings: Settings, make: impl FnOnce(Lab) -> Lab) -> Self {
        let driver = Rc::new(DeliveryDriver::new());
        let lab = make(Lab::new(disk, Role::Mx, Rc::clone(&driver) as _));
        lab.host.publish_resolver(Resolver::new(Rc::new(world())));
        let delivery = OfficeDelivery::new(Rc::clone(&lab.state), Rc::clone(&driver));
        let office = Self { lab, driver, delivery };
        office.lab.go_over_to(settings.mail.clone()).await;
        office.send_by(settings).await;
        // The queue is read in a task of its own.
        sleep(Duration::from_secs(1)).await;
        office
    }

    async fn send_by(&self, settings: Settings) -> Rc<dyn Instance> {
        let prepared = Service::<Wire>::prepare(&self.delivery, settings, &self.lab.host).await;
        let instance = prepared.unwrap_or_else(|error| panic!("{error}"));
        instance.activate();
        spawn_local(instance.run());
        instance
    }

    async fn mail(&self, from: &str, to: &[&str]) -> String {
        self.lab.pc().await.mail(from, to, MAIL).await
    }

    /// Has a message sent, and the disk fail before what comes of it is stored. The server that takes it.
    async fn send_and_fail_to_sync(&self) -> Rc<Server> {
        let mx1 = Server::start(&self.lab.wire, MX1).await;
        mx1.say("EHLO", "held");
        assert!(self.mail(ANNA, &[BOB]).await.starts_with("250"));
        sleep(Duration::from_secs(1)).await;
        self.lab.disk.fail_to_sync(true);
        mx1.goes_on.notify_one();
        mx1
    }

    /// Waits until the queue is empty and nothing is under way.
    async fn until_empty(&self) {
        while self.driver.stats().queued > 0 {
            sleep(Duration::from_secs(1)).await;
        }
    }
}

const ANNA: &str = "anna@office.example";
const BOB: &str = "bob@far.example";

#[test]
fn a_message_leaves_by_the_preferred_server_or_the_next_one() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        assert!(office.mail(ANNA, &["bob@far.example", "berta@office.example"]).await.starts_with("250"));
        // No server answers yet.
        sleep(Duration::from_secs(60)).await;
        assert_eq!(office.driver.stats().queued, 1);
        let mx2 = Server::start(&office.lab.wire, MX2).await;
        office.until_empty().await;
        assert_eq!(mx2.taken(), 1);
        let taken = mx2.taken.borrow()[0].clone();
        assert!(taken.contains("\r\nReceived: ") && taken.contains("At noon?"), "{taken}");
        let commands = mx2.commands.borrow().clone();
        assert_eq!(commands[0], "EHLO smtp.office.example");
        assert_eq!(commands[1], "MAIL FROM:<anna@office.example>");
        assert_eq!(commands[2], "RCPT TO:<bob@far.example>");
        assert_eq!(commands.last().map(String::as_str), Some("QUIT"));
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        assert!(office.mail(ANNA, &[BOB]).await.starts_with("250"));
        office.until_empty().await;
        assert_eq!((mx1.taken(), mx2.taken()), (1, 1));
        assert_eq!(office.driver.stats().delivered, 2);
        assert_eq!(office.lab.inbox("berta").await.len(), 1);
    });
}

#[test]
fn what_is_stored_when_its_client_is_gone_is_sent_all_the_same() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        let mut client = office.lab.pc().await;
        let asks = [("MAIL FROM:<anna@office.example>", "250"), ("RCPT TO:<bob@far.example>", "250")];
        client.dialogue(&asks).await;
        client.dialogue(&[("DATA", "354")]).await;
        client.send(MAIL).await;
        sleep(Duration::from_secs(1)).await;
        // The disk takes longer than any timeout.
        office.lab.gate.set_open(false);
        assert_eq!(client.say(".").await, "", "the connection ends without an answer");
        office.lab.gate.set_open(true);
        sleep(Duration::from_secs(60)).await;
        assert_eq!((mx1.taken(), office.driver.stats().queued), (1, 0));
    });
}

#[test]
fn a_domain_whose_servers_have_private_addresses_waits_and_the_queue_says_why() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        assert!(office.mail(ANNA, &["bob@inside.example"]).await.starts_with("250"));
        sleep(Duration::from_secs(60)).await;
        let list = office.driver.list().await.unwrap();
        let why = "the mail servers of inside.example have addresses of no public server";
        assert_eq!(list.entries.iter().map(|entry| entry.progress.reply.as_str()).collect::<Vec<_>>(), [why]);
        assert!(office.lab.inbox("anna").await.is_empty(), "nobody is told that it failed");
    });
}

#[test]
fn greylisting_is_waited_for() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        mx1.say("RCPT", "450 4.7.1 greylisted, try again later");
        assert!(office.mail(ANNA, &[BOB]).await.starts_with("250"));
        sleep(Duration::from_secs(60)).await;
        assert_eq!((mx1.connections.get(), mx1.taken()), (1, 0), "no other server is asked instead");
        office.until_empty().await;
        assert_eq!((mx1.connections.get(), mx1.taken()), (2, 1));
        assert!(office.lab.inbox("anna").await.is_empty(), "nobody was told");
    });
}

#[test]
fn messages_whose_outcome_nobody_tells_hold_up_no_other() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        for _ in 0..HOP_JOBS_MAX {
            mx1.say("END", "silent");
            assert!(office.mail(ANNA, &[BOB]).await.starts_with("250"));
        }
        for _ in 0..3 {
            assert!(office.mail(ANNA, &[BOB]).await.starts_with("250"));
        }
        sleep(STUCK_AFTER + Duration::from_secs(10)).await;
        assert_eq!((mx1.taken(), office.driver.stats().queued), (3, HOP_JOBS_MAX as u64));
        office.until_empty().await;
        assert_eq!(mx1.taken(), HOP_JOBS_MAX + 3);
    });
}

#[test]
fn what_cannot_be_delivered_is_told_the_sender() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        mx1.say("RCPT TO:<nobody", "550 5.1.1 no such user");
        assert!(office.mail(ANNA, &["nobody@far.example", BOB]).await.starts_with("250"));
        office.until_empty().await;
        assert_eq!(mx1.taken(), 1);
        let inbox = office.lab.inbox("anna").await;
        assert_eq!(inbox.len(), 1);
        assert!(inbox[0].starts_with("Return-Path: <>\r\n"), "{}", inbox[0]);
        assert!(inbox[0].contains("550 5.1.1 no such user") && inbox[0].contains("At noon?"), "{}", inbox[0]);
        assert!(!inbox[0].contains(BOB), "{}", inbox[0]);
        // A domain that accepts no mail, and one that does not exist. (RFC 7505, section 3)
        for recipient in ["a@null.example", "a@nowhere.example"] {
            assert!(office.mail("berta@office.example", &[recipient]).await.starts_with("250"));
        }
        office.until_empty().await;
        let inbox = office.lab.inbox("berta").await.concat();
        assert!(inbox.contains("null.example takes no mail"), "{inbox}");
        assert!(inbox.contains("there is no domain nowhere.example"), "{inbox}");
        // The report about a message without a sender goes to the postmaster: the first user.
        mx1.say("RCPT", "550 5.1.1 no such user");
        assert!(office.mail("", &[BOB]).await.starts_with("250"));
        office.until_empty().await;
        assert_eq!(office.lab.inbox("anna").await.len(), 2);
        assert_eq!(office.driver.stats().notices_to_postmaster, 1);
    });
}

#[test]
fn a_notice_to_a_full_mailbox_is_the_postmasters_in_the_end_or_ends_with_none() {
    simulate(async {
        for (of_postmaster, told) in [(1 << 20, 1), (100, 0)] {
            let mut settings = settings();
            let [anna, berta] = &mut settings.mail.users[..] else { panic!("there are two") };
            anna.quota = 100;
            (berta.role, berta.quota) = (crate::users::Role::Owner, of_postmaster);
            let office = Office::start(&Arc::default(), settings).await;
            let mx1 = Server::start(&office.lab.wire, MX1).await;
            (0..100).for_each(|_| mx1.say("RCPT", "550 5.1.1 no such user"));
            assert!(office.mail(ANNA, &[BOB]).await.starts_with("250"));
            sleep(Duration::from_secs(4 * 24 * 3600)).await;
            assert_eq!(office.driver.stats().queued, 1, "there may be room again");
            sleep(Duration::from_secs(2 * 24 * 3600)).await;
            let inboxes = (office.lab.inbox("anna").await.len(), office.lab.inbox("berta").await.len());
            assert_eq!((office.driver.stats().queued, inboxes), (0, (0, told)));
            assert_eq!(office.driver.stats().notices_to_postmaster, told as u64);
        }
    });
}

#[test]
fn a_sender_elsewhere_is_told_by_the_queue() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        assert!(office.mail(BOB, &["a@null.example"]).await.starts_with("250"));
        office.until_empty().await;
        assert_eq!(mx1.commands.borrow()[1], "MAIL FROM:<>");
        assert!(mx1.taken.borrow()[0].contains("null.example takes no mail"));
    });
}

#[test]
fn what_became_of_a_message_is_stored_before_the_server_answers_quit() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        mx1.say("QUIT", "silent");
        assert!(office.mail(ANNA, &[BOB]).await.starts_with("250"));
        sleep(Duration::from_secs(1)).await;
        assert_eq!((mx1.taken(), office.lab.store().look(|state| state.queue().count())), (1, 0));
    });
}

#[test]
fn a_server_that_has_taken_a_message_is_left_when_that_is_stored_also_if_others_go_elsewhere() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let (mx1, mx2) =
            (Server::start(&office.lab.wire, MX1).await, Server::start(&office.lab.wire, MX2).await);
        mx2.say("GREETING", "held");
        mx2.say("EHLO", "250-mx.far.example\r\n250 SMTPUTF8");
        let mut client = office.lab.pc().await;
        // Only the second server accepts an address outside ASCII.
        let asks = [
            ("MAIL FROM:<anna@office.example> SMTPUTF8", "250"),
            ("RCPT TO:<bob@far.example>", "250"),
            ("RCPT TO:<b\u{e4}rbel@far.example>", "250"),
            ("DATA", "354"),
        ];
        client.dialogue(&asks).await;
        client.send(MAIL).await;
        assert!(client.say(".").await.starts_with("250"));
        sleep(Duration::from_secs(1)).await;
        let has_quit = |server: &Server| server.commands.borrow().iter().any(|command| command == "QUIT");
        let is_queued = || office.lab.store().look(|state| state.queue().count()) > 0;
        assert!(mx1.taken() == 1 && is_queued() && !has_quit(&mx1));
        mx2.goes_on.notify_one();
        office.until_empty().await;
        assert!(mx2.taken() == 1 && has_quit(&mx1) && has_quit(&mx2));
    });
}

#[test]
fn a_gateway_that_stops_leaves_the_servers_and_that_is_no_try() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let instance = office.send_by(settings()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        mx1.say("EHLO", "250 mx.far.example");
        mx1.say("MAIL", "silent");
        assert!(office.mail(ANNA, &[BOB]).await.starts_with("250"));
        sleep(Duration::from_secs(1)).await;
        instance.stop().await;
        assert_eq!(mx1.commands.borrow().last().map(String::as_str), Some("QUIT"));
        let progress = office.lab.store().look(|state| state.queue().next().unwrap().1.progress.clone());
        assert_eq!((progress.tries, progress.reply.as_str()), (0, ""));
        office.send_by(settings()).await;
        office.until_empty().await;
        assert_eq!(mx1.taken(), 1);
    });
}

/// RFC 3461, section 5.2.3: A sender who requests it gets a DSN for delivery to a local mailbox.
#[test]
fn rfc3461_5_2_3_a_sender_who_asks_is_told_of_a_mailbox_here() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let mut client = office.lab.pc().await;
        let asks = [
            ("MAIL FROM:<anna@office.example> ENVID=QQ314159", "250"),
            ("RCPT TO:<berta@office.example> NOTIFY=SUCCESS ORCPT=rfc822;b@x.example", "250"),
            ("DATA", "354"),
        ];
        client.dialogue(&asks).await;
        client.send(MAIL).await;
        assert!(client.say(".").await.starts_with("250"));
        sleep(Duration::from_secs(1)).await;
        assert_eq!((office.lab.inbox("berta").await.len(), office.driver.stats().notices), (1, 1));
        let inbox = office.lab.inbox("anna").await;
        for part in [
            "Subject: Your message was delivered\r\n",
            "Original-Envelope-Id: QQ314159\r\n",
            "Original-Recipient: rfc822; b@x.example\r\nFinal-Recipient: rfc822; berta@office.example\r\nAction: delivered\r\n",
            "Subject: Lunch\r\n",
        ] {
            assert!(inbox.len() == 1 && inbox[0].contains(part), "{part}: {inbox:?}");
        }
    });
}

/// RFC 3461, section 5.2.2: A sender who requests it gets a DSN "relayed" if the next server sends none.
#[test]
fn rfc3461_5_2_2_a_sender_who_asks_is_told_of_a_server_that_does_not_report() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        for (ehlo, told) in [("250-mx.far.example\r\n250 DSN", 0), ("250 mx.far.example", 1)] {
            mx1.say("EHLO", ehlo);
            let mut client = office.lab.pc().await;
            let asks = [
                ("MAIL FROM:<anna@office.example> RET=HDRS ENVID=E1", "250"),
                ("RCPT TO:<bob@far.example> NOTIFY=SUCCESS,FAILURE", "250"),
                ("DATA", "354"),
            ];
            client.dialogue(&asks).await;
            client.send(MAIL).await;
            assert!(client.say(".").await.starts_with("250"));
            office.until_empty().await;
            sleep(Duration::from_secs(1)).await;
            assert_eq!(office.lab.inbox("anna").await.len(), told, "{ehlo}");
        }
        let commands = mx1.commands.borrow().join("\n");
        assert!(commands.contains("MAIL FROM:<anna@office.example> RET=HDRS ENVID=E1\n"), "{commands}");
        assert!(commands.contains("RCPT TO:<bob@far.example> NOTIFY=SUCCESS,FAILURE\n"), "{commands}");
        let inbox = office.lab.inbox("anna").await.concat();
        assert!(
            inbox.contains("Action: relayed\r\n") && inbox.contains("Original-Envelope-Id: E1\r\n"),
            "{inbox}"
        );
    });
}

#[test]
fn without_a_way_out_mail_waits_and_no_try_is_counted() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        office.lab.publisher.publish(addresses(LAN, &[]));
        sleep(Duration::from_secs(1)).await;
        assert!(office.mail(ANNA, &[BOB]).await.starts_with("250"));
        sleep(Duration::from_secs(2 * 3600)).await;
        assert_eq!((mx1.connections.get(), office.driver.stats().queued), (0, 1));
        let tries = office.lab.store().look(|state| state.queue().next().unwrap().1.progress.tries);
        assert_eq!(tries, 0);
        office.lab.publisher.publish(addresses(LAN, &[WAN]));
        office.until_empty().await;
        assert_eq!(mx1.taken(), 1);
    });
}

#[test]
fn what_is_queued_is_sent_once_after_the_gateway_was_killed() {
    simulate(async {
        let before = Office::start(&Arc::default(), settings()).await;
        let mx1 = Server::start(&before.lab.wire, MX1).await;
        mx1.say("RCPT TO:<carl", "450 4.2.0 later");
        assert!(before.mail(ANNA, &[BOB, "carl@far.example"]).await.starts_with("250"));
        while before.driver.stats().queued > 1 {
            sleep(Duration::from_secs(1)).await;
        }
        let disk = Arc::new(before.lab.disk.fork());
        let after = Office::start(&disk, settings()).await;
        let mx1 = Server::start(&after.lab.wire, MX1).await;
        after.until_empty().await;
        assert_eq!(mx1.taken(), 1);
        let commands = mx1.commands.borrow().concat();
        assert!(commands.contains("carl@far.example") && !commands.contains(BOB), "{commands}");
    });
}

#[test]
fn an_outcome_that_the_disk_does_not_take_is_kept_later_and_nothing_is_sent_twice() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let mx1 = office.send_and_fail_to_sync().await;
        sleep(Duration::from_secs(3600)).await;
        assert_eq!((mx1.taken(), office.driver.stats().queued), (1, 1));
        office.lab.disk.fail_to_sync(false);
        office.until_empty().await;
        assert_eq!(mx1.taken(), 1);
        assert!(office.driver.stats().kept_late > 0);
    });
}

#[test]
fn nothing_is_sent_while_the_store_takes_no_outcome_and_that_is_no_try() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let instance = office.send_by(settings()).await;
        office.lab.publisher.publish(addresses(LAN, &[]));
        sleep(Duration::from_secs(1)).await;
        assert!(office.mail(ANNA, &[BOB]).await.starts_with("250"));
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        office.lab.disk.fail_to_sync(true);
        office.lab.publisher.publish(addresses(LAN, &[WAN]));
        sleep(Duration::from_secs(3600)).await;
        assert_eq!((mx1.connections.get(), mx1.taken(), office.driver.stats().queued), (0, 0, 1));
        let told =
            |state| matches!(state, State::Impaired(why) if why.starts_with("no mail leaves, as what"));
        assert!(told(instance.state()));
        // After any crash: the message is delivered nowhere yet.
        let tries = |lab: &Lab| lab.store().look(|state| state.queue().next().unwrap().1.progress.tries);
        assert_eq!(tries(&office.lab), 0);
        office.lab.disk.fail_to_sync(false);
        office.until_empty().await;
        assert_eq!((mx1.taken(), office.driver.stats().kept_late), (1, 0));
        assert!(!told(instance.state()));
    });
}

#[test]
fn nothing_is_sent_by_a_disk_without_room_for_what_comes_of_it() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        office.lab.publisher.publish(addresses(LAN, &[]));
        sleep(Duration::from_secs(1)).await;
        assert!(office.mail(ANNA, &[BOB]).await.starts_with("250"));
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        // The store would keep an outcome in the reserve.
        office.lab.disk.remove("mail/reserve").unwrap();
        office.lab.disk.set_room(Some(0));
        office.lab.publisher.publish(addresses(LAN, &[WAN]));
        sleep(Duration::from_secs(3600)).await;
        assert_eq!((mx1.connections.get(), office.driver.stats().queued), (0, 1));
        office.lab.disk.set_room(None);
        office.until_empty().await;
        assert_eq!(mx1.taken(), 1);
    });
}

#[test]
fn a_reply_that_is_lost_is_counted_and_no_other_server_is_sent_a_copy_at_once() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        let mx2 = Server::start(&office.lab.wire, MX2).await;
        mx1.say("END", "gone");
        assert!(office.mail(ANNA, &[BOB]).await.starts_with("250"));
        sleep(Duration::from_secs(60)).await;
        assert_eq!((mx1.taken(), mx2.taken()), (1, 0));
        assert_eq!(office.driver.stats().perhaps_delivered, 1);
        office.until_empty().await;
        assert_eq!((mx1.taken(), mx2.taken()), (2, 0), "the one copy that SMTP cannot exclude");
    });
}

fn server(address: &str) -> MxServer {
    MxServer { host: MxHost::Address(address.parse().unwrap()), port: 25 }
}

#[test]
fn in_a_lan_of_its_own_mail_leaves_by_routes_only() {
    simulate(async {
        let routes = BTreeMap::from([("old.example".to_owned(), server("192.168.1.40"))]);
        let office =
            Office::start(&Arc::default(), Settings { routes, may_leave: false, ..settings() }).await;
        office.lab.publisher.publish(addresses(LAN, &[]));
        let old = Server::start(&office.lab.wire, "192.168.1.40").await;
        assert_eq!(office.mail(ANNA, &[BOB]).await, "550 5.7.1 this server has no way to other domains\r\n");
        assert!(office.mail(ANNA, &["a@[192.168.1.40]"]).await.starts_with("550 5.7.1 "));
        assert!(office.mail(ANNA, &["a@old.example"]).await.starts_with("250"));
        office.until_empty().await;
        assert_eq!(old.taken(), 1);
    });
}

#[test]
fn a_password_is_not_sent_in_clear() {
    simulate(async {
        let password = Secret::Known(Password("a password of the office".to_owned()));
        let login = Some(Login { user: "office".to_owned(), password });
        let smarthost = Some(server(MX2));
        let office = Office::start(&Arc::default(), Settings { smarthost, login, ..settings() }).await;
        let smarthost = Server::start(&office.lab.wire, MX2).await;
        smarthost.say("EHLO", "250-smarthost.isp.example\r\n250 AUTH PLAIN LOGIN");
        assert!(office.mail(ANNA, &[BOB]).await.starts_with("250"));
        sleep(Duration::from_secs(60)).await;
        assert_eq!((smarthost.connections.get(), smarthost.taken()), (1, 0));
        assert!(!smarthost.commands.borrow().iter().any(|command| command.starts_with("AUTH")));
        assert_eq!(office.driver.stats().queued, 1);
        // The service's state shows the reason.
        let trouble = office.driver.active().unwrap().trouble.borrow().clone().unwrap_or_default();
        assert!(
            trouble.contains("no mail leaves by the smarthost") && trouble.contains("no TLS"),
            "{trouble}"
        );
    });
}

/// RFC 7435, section 3: If the TLS handshake with a server fails, mail goes in clear, at once and for a day.
#[test]
fn rfc7435_3_a_server_whose_tls_is_silent_gets_mail_in_clear_and_is_remembered_a_day() {
    simulate(async {
        const OFFER: &str = "250-mx.far.example\r\n250 STARTTLS";
        let office = Office::start_with_tls(&Arc::default(), settings()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        let send = async |is_tls_tried: bool, refused: &'static str| {
            mx1.said.borrow_mut().clear();
            mx1.commands.borrow_mut().clear();
            mx1.say(refused, "451 5.7.3 STARTTLS is required to send mail");
            (0..3).for_each(|_| mx1.say("EHLO", OFFER));
            mx1.say("STARTTLS", "220 go on\r\nsilent");
            assert!(office.mail(ANNA, &[BOB]).await.starts_with("250"));
            office.until_empty().await;
            let is_tried = mx1.commands.borrow().iter().any(|command| command == "STARTTLS");
            assert_eq!(is_tried, is_tls_tried);
        };
        send(true, "nothing").await;
        assert_eq!((mx1.taken(), mx1.connections.get()), (1, 2), "it is the same try");
        assert_eq!(office.driver.stats().deferred, 0);
        office.send_by(settings()).await;
        send(false, "nothing").await;
        // One that wants TLS by now is asked for it by the next try.
        send(true, "MAIL").await;
        assert_eq!((mx1.taken(), mx1.connections.get()), (3, 6));
        sleep(super::without_tls::REMEMBERED).await;
        send(true, "nothing").await;
        assert_eq!((mx1.taken(), mx1.connections.get()), (4, 8));
    });
}

/// RFC 5321, section 6.1: If the smarthost rejects the null sender, the postmaster gets the notice instead.
#[test]
fn rfc5321_6_1_what_a_smarthost_does_not_take_from_the_null_sender_is_the_postmasters() {
    simulate(async {
        let office =
            Office::start(&Arc::default(), Settings { smarthost: Some(server(MX2)), ..settings() }).await;
        let smarthost = Server::start(&office.lab.wire, MX2).await;
        smarthost.say("RCPT TO:<bob", "550 5.1.1 no such user");
        smarthost.say("MAIL FROM:<>", "550 5.7.1 null sender refused");
        assert!(office.mail("carl@elsewhere.example", &[BOB]).await.starts_with("250"));
        office.until_empty().await;
        let inbox = office.lab.inbox("anna").await;
        assert_eq!(inbox.len(), 1, "the first user is the postmaster");
        assert!(inbox[0].contains("null sender refused") && inbox[0].contains("550 5.1.1"), "{}", inbox[0]);
        assert_eq!((smarthost.taken(), office.driver.stats().notices_to_postmaster), (0, 1));
    });
}

#[test]
fn a_password_that_cannot_be_read_is_the_administrators_to_mend_and_mail_waits() {
    simulate(async {
        let password = Secret::File("/nonexistent/isp.secret".into());
        let login = Some(Login { user: "office".to_owned(), password });
        let smarthost = Some(server(MX2));
        let office = Office::start(&Arc::default(), Settings { smarthost, login, ..settings() }).await;
        let smarthost = Server::start(&office.lab.wire, MX2).await;
        assert!(office.mail(ANNA, &[BOB]).await.starts_with("250"));
        sleep(Duration::from_secs(60)).await;
        assert_eq!((smarthost.connections.get(), office.driver.stats().queued), (0, 1));
        let trouble = office.driver.active().unwrap().trouble.borrow().clone().unwrap_or_default();
        assert!(trouble.contains("/nonexistent/isp.secret cannot be read"), "{trouble}");
        let reply = office.driver.list().await.unwrap().entries[0].progress.reply.clone();
        assert_eq!(reply, "this server has no password for the smarthost");
    });
}

#[test]
fn another_configuration_sends_on_and_none_waits() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let (mx1, mx2) =
            (Server::start(&office.lab.wire, MX1).await, Server::start(&office.lab.wire, MX2).await);
        mx1.say("RCPT", "451 4.3.0 later");
        assert!(office.mail(ANNA, &[BOB]).await.starts_with("250"));
        sleep(Duration::from_secs(1)).await;
        office.send_by(Settings { smarthost: Some(server(MX2)), ..settings() }).await;
        office.until_empty().await;
        assert_eq!((mx1.taken(), mx2.taken()), (0, 1));
        let mut off = settings();
        off.mail = service::Settings { enabled: false, ..off.mail };
        office.send_by(off).await;
        assert_eq!(office.driver.stats().delivered, 1);
    });
}

/// What the server `mx` gets of a message from `source` that `author` is said to have written.
async fn sent(office: &Office, mx: &Server, source: &str, to: &str, author: &str) -> String {
    mx.say("EHLO", "250-mx.far.example\r\n250 SIZE");
    mx.commands.borrow_mut().clear();
    let mail = format!("From: {author}\r\nSubject: Lunch\r\n\r\nAt noon?\r\n\r\n");
    let mut client = if source == PC1 { office.lab.pc().await } else { office.lab.stranger().await };
    let reply = client.mail("x@elsewhere.example", &[to], &mail).await;
    assert!(reply.starts_with("250"), "{reply}");
    office.until_empty().await;
    let taken = mx.taken.borrow_mut().pop().expect("it came");
    let taken = taken.strip_suffix(".\r\n").unwrap().to_owned();
    let size = mx.commands.borrow().iter().find_map(|line| line.split_once(" SIZE=")?.1.parse().ok());
    assert_eq!(size, Some(taken.len()), "{taken}");
    taken
}

/// RFC 6376, section 5: Mail of the office is signed, and what strangers send is not.
#[test]
fn rfc6376_5_mail_of_the_office_is_signed_and_what_strangers_send_is_not() {
    simulate(async {
        let mut settings = settings();
        let member = Mailbox::parse(BOB).unwrap();
        let address = Mailbox::parse("away@office.example").unwrap();
        settings.mail.aliases.all.push(Alias { address, members: vec![member] });
        let office = Office::start(&Arc::default(), settings).await;
        let mx = Server::start(&office.lab.wire, MX1).await;
        let signed = sent(&office, &mx, PC1, BOB, "Anna <anna@office.example>").await;
        assert!(signed.starts_with("DKIM-Signature: v=1; a=ed25519-sha256;"), "{signed}");
        assert!(
            signed.contains("d=office.example; s=ed25519-") && signed.contains("\r\nReceived: "),
            "{signed}"
        );
        let elsewhere = sent(&office, &mx, PC1, BOB, "anna@elsewhere.example").await;
        assert!(elsewhere.starts_with("Received: "), "{elsewhere}");
        // An alias forwards a stranger's message with a sender of the office.
        let forged = sent(&office, &mx, STRANGER, "away@office.example", ANNA).await;
        assert!(forged.starts_with("Delivered-To: ") && !forged.contains("DKIM-Signature"), "{forged}");
        let own = sent(&office, &mx, PC1, "away@office.example", ANNA).await;
        assert!(own.starts_with("DKIM-Signature: "), "{own}");
        assert_eq!((office.driver.stats().signed, office.driver.stats().not_signed), (2, 0));
    });
}

#[test]
fn a_notice_to_a_sender_elsewhere_is_signed() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let mx1 = Server::start(&office.lab.wire, MX1).await;
        assert!(office.mail(BOB, &["a@null.example"]).await.starts_with("250"));
        office.until_empty().await;
        let notice = mx1.taken.borrow()[0].clone();
        assert!(notice.starts_with("DKIM-Signature: ") && notice.contains("d=office.example"), "{notice}");
    });
}

#[test]
fn the_keys_are_published_for_each_domain_and_by_each_configuration() {
    simulate(async {
        let office = Office::start(&Arc::default(), settings()).await;
        let keys = keys_in(&office.lab.disk.read(FILE).unwrap().expect("they are kept")).unwrap();
        let expected = PublishedTexts::default();
        let domains = signing_domains(&settings().domains);
        assert!(domains.len() > 1, "{domains:?}");
        expected.set(keys.records(&domains).map(|record| (record.name, record.text)));
        assert_eq!(office.lab.host.texts, expected);
        office.lab.host.texts.set([]);
        office.send_by(settings()).await;
        assert_eq!(office.lab.host.texts, expected);
    });
}

#[test]
fn without_keys_mail_leaves_unsigned_and_is_counted() {
    simulate(async {
        let disk = Arc::<FakeDisk>::default();
        disk.write(FILE, b"2 damaged").unwrap();
        for number in 1..=8 {
            let name = if number == 1 { String::new() } else { format!("-{number}") };
            disk.write(&format!("{FILE}.damaged{name}"), &[number]).unwrap();
        }
        let office = Office::start(&disk, settings()).await;
        let mx = Server::start(&office.lab.wire, MX1).await;
        let unsigned = sent(&office, &mx, PC1, BOB, ANNA).await;
        assert!(unsigned.starts_with("Received: "), "{unsigned}");
        assert_eq!((office.driver.stats().signed, office.driver.stats().not_signed), (0, 1));
    });
}
