//! An office with its mail services, and clients, on paused time: a test reads like a transcript.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::{Instant, InterfaceId, Role as Side};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use super::wire::Wire;
use crate::addresses::{Addresses, InterfaceAddresses, Publisher};
use crate::clock::{Clock, UnixTime};
use crate::crypto::tls::KeySource;
use crate::mail::rules::{Action, Rule, Rules, When};
use crate::mail::service::aliases::Aliases;
use crate::mail::service::directory::MailDomain;
use crate::mail::service::office::OfficeMail;
use crate::mail::service::remote::{NoRemote, Remote};
use crate::mail::service::state::MailState;
use crate::mail::service::{Authenticity, KeepDays, RelayFrom, Settings, Shares, Stats};
use crate::mail::smtp::Role;
use crate::mail::store::tests::disk::FakeDisk;
use crate::mail::store::{self, MailStore};
use crate::net::Stream;
use crate::service::{Host, Instance, Service, State, Unprepared};
use crate::store::{Disk, Storage};
use crate::tls::{HandshakeError, Peer, Tls, testing};
use crate::users::office::OfficeLogins;
use crate::users::password::Prepared;
use crate::users::verifier::{Cost, Verifiers};
use crate::users::{self, User, passwords};
use crate::watch;
use crate::work::{AtOnce, Job, Work};

/// 2024-02-29, at noon or so.
pub const NOW: u64 = 1_709_210_096;
pub const PC1: &str = "192.168.1.10";
pub const STRANGER: &str = "8.8.4.4";
pub const LAN: &str = "192.168.1.1";
pub const WAN: &str = "203.0.113.10";

/// Runs `test` in simulated time, which passes when everybody waits.
pub fn simulate<T>(test: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let bounded = async {
        tokio::time::timeout(Duration::from_secs(30 * 24 * 3600), test).await.expect("the test ends")
    };
    LocalSet::new().block_on(&runtime, bounded)
}

struct Paused(tokio::time::Instant);

impl Clock for Paused {
    fn now(&self) -> Instant {
        Instant::from_secs(1000) + self.0.elapsed()
    }

    fn unix_time(&self) -> UnixTime {
        UnixTime(NOW + self.0.elapsed().as_secs())
    }
}

pub fn user(name: &str) -> User {
    User { name: name.to_owned(), full_name: String::new(), role: users::Role::User, quota: 1 << 20 }
}

/// A rule for all: what has `text` in the field `header` is filed in `folder`.
pub fn filing(header: &str, text: &str, folder: &str) -> Rules {
    let when = When { header: Some(header.to_owned()), contains: Some(text.to_owned()), ..When::default() };
    let rule = Rule { user: None, when, action: Action::File(folder.to_owned()) };
    Rules { all: vec![rule], ..Rules::default() }
}

pub fn domain(name: &str, users: Option<&[&str]>) -> MailDomain {
    let users = users.map(|users| users.iter().copied().map(str::to_owned).collect());
    MailDomain { name: name.to_owned(), users, same_as: None }
}

/// Anna and Berta of `office.example`, on port 25.
pub fn settings() -> Settings {
    Settings {
        enabled: true,
        port: 25,
        tls_port: 465,
        on_outside: true,
        hostname: "smtp.office.example".to_owned(),
        domain: "office.example".to_owned(),
        domains: vec![domain("office.example", None), domain("smtp.office.example", None)],
        users: vec![user("anna"), user("berta")],
        aliases: Aliases::default(),
        message_octets_max: 25 << 20,
        judges: Vec::new(),
        relay_from: RelayFrom { lan: true, networks: Vec::new() },
        plaintext_login: false,
        disk_reserve: 128 << 20,
        authenticity: Authenticity::Report,
        shares: Shares::default(),
        rules: Rules::default(),
        keep_days: KeepDays::default(),
    }
}

pub fn addresses(lan: &str, wan: &[&str]) -> Addresses {
    let interface = |number, name, role, addresses: Vec<&str>| InterfaceAddresses {
        id: InterfaceId(number),
        name,
        role,
        addresses: addresses.iter().map(|address| format!("{address}/24").parse().unwrap()).collect(),
        gateways: Vec::new(),
        routes: Vec::new(),
        name_servers: Vec::new(),
    };
    let interfaces =
        vec![interface(0, "lan", Side::Inside, vec![lan]), interface(1, "wan", Side::Outside, wan.to_vec())];
    Addresses { interfaces }
}

/// An instance, and the task that runs it.
type Running = (Rc<dyn Instance>, JoinHandle<()>);

/// Runs jobs at once while it is open.
pub struct Gate(watch::Sender<bool>);

impl Gate {
    pub fn set_open(&self, is_open: bool) {
        self.0.send_replace(is_open);
    }
}

impl Work for Gate {
    fn start(&self, job: Job) -> Pin<Box<dyn Future<Output = ()>>> {
        if *self.0.borrow() {
            return AtOnce.start(job);
        }
        let mut gate = self.0.subscribe();
        Box::pin(async move {
            _ = gate.wait_for(|is_open| *is_open).await;
            job();
        })
    }
}

/// A gateway from its start to its end.
pub struct Lab {
    pub wire: Wire,
    pub disk: Arc<FakeDisk>,
    pub gate: Rc<Gate>,
    pub state: Rc<MailState>,
    pub service: OfficeMail,
    pub publisher: Publisher,
    pub host: Host<Wire>,
    running: RefCell<Option<Running>>,
}

impl Lab {
    /// The service of `role`, before any configuration.
    pub fn new(disk: &Arc<FakeDisk>, role: Role, remote: Rc<dyn Remote>) -> Self {
        let clock: Rc<dyn Clock> = Rc::new(Paused(tokio::time::Instant::now()));
        let (wire, gate) = (Wire::default(), Rc::new(Gate(watch::Sender::new(true))));
        let work = Rc::clone(&gate) as Rc<dyn Work>;
        let storage = Arc::clone(disk) as Arc<dyn Storage>;
        let publisher = Publisher::new(addresses(LAN, &[WAN]));
        let disks = (Arc::clone(&storage), Disk::new(storage, Rc::clone(&work)));
        let rng = StdRng::seed_from_u64(1);
        let host = Host::new(wire.clone(), disks, work, clock, publisher.subscribe(), rng);
        let host = host.with_keys(KeySource::Seed);
        let state =
            Rc::new(MailState::new(store::Settings::default(), Rc::new(OfficeLogins::new(Cost::LEAST))));
        let service = OfficeMail::new(role, Rc::clone(&state), remote);
        let running = RefCell::default();
        Self { wire, disk: Arc::clone(disk), gate, state, service, publisher, host, running }
    }

    /// A running service of `role`.
    pub async fn start(disk: &Arc<FakeDisk>, role: Role, settings: Settings) -> Self {
        let lab = Self::new(disk, role, Rc::new(NoRemote));
        lab.go_over_to(settings).await;
        lab
    }

    /// A running service on port 25, with an empty disk.
    pub async fn smtp() -> Self {
        Self::start(&Arc::default(), Role::Mx, settings()).await
    }

    /// The same with TLS, and a client's TLS that trusts it.
    pub fn with_tls(self) -> (Self, Tls) {
        let (server, client) = testing::pair(&self.host.clock);
        (Self { host: self.host.with_tls(Rc::new(server)), ..self }, client)
    }

    pub async fn prepare(&self, settings: Settings) -> Result<Rc<dyn Instance>, Unprepared> {
        Service::<Wire>::prepare(&self.service, settings, &self.host).await
    }

    /// Puts `settings` in force, as a start or a reload does. What served before is stopped beside it.
    pub async fn go_over_to(&self, settings: Settings) {
        self.put_in_force(settings).await;
        self.state.when_opened().await.store.ready().await;
    }

    /// The same, whether the store is open or not.
    pub async fn put_in_force(&self, settings: Settings) {
        let instance = self.prepare(settings).await.unwrap_or_else(|error| panic!("{error}"));
        instance.activate();
        let running = spawn_local(instance.run());
        let former = self.running.borrow_mut().replace((instance, running));
        if let Some((former, running)) = former {
            spawn_local(async move {
                former.stop().await;
                running.abort();
            });
        }
    }

    /// Puts another service in force beside it.
    pub async fn start_beside<S: Service<Wire>>(
        &self,
        service: &S,
        settings: S::Settings,
    ) -> Rc<dyn Instance> {
        let instance = service.prepare(settings, &self.host).await;
        let instance = instance.unwrap_or_else(|error| panic!("{error}"));
        instance.activate();
        spawn_local(instance.run());
        instance
    }

    /// Stops the service, and waits until it has.
    pub async fn stop(&self) {
        let (instance, running) = self.running.borrow_mut().take().expect("it runs");
        instance.stop().await;
        running.abort();
    }

    pub fn instance(&self) -> Rc<dyn Instance> {
        Rc::clone(&self.running.borrow().as_ref().expect("it runs").0)
    }

    /// Why the service is impaired.
    pub fn impaired(&self) -> String {
        match self.instance().state() {
            State::Impaired(why) => why,
            other => format!("{other:?}"),
        }
    }

    pub fn store(&self) -> MailStore {
        self.state.opened().expect("it is open").store.clone()
    }

    pub fn count(&self, counter: &str) -> u64 {
        let counters = Service::<Wire>::counters(&self.service);
        assert_eq!(counters.len(), Stats::GLOSSARY.len());
        counters.into_iter().find(|(name, _)| *name == counter).expect(counter).1
    }

    pub fn set_password(&self, user: &str, password: &str) {
        let password = Prepared::new(password).unwrap();
        let verifiers = Verifiers::of(&password, Cost::LEAST, &mut StdRng::seed_from_u64(2)).unwrap();
        self.disk.replace(&passwords::file_of(user), &verifiers.to_file().unwrap()).unwrap();
    }

    /// A connection from `source` to `to`, whose greeting has come.
    pub async fn dial(&self, source: &str, to: &str, port: u16) -> Client {
        let mut client = self.raw(source, to, port);
        let greeting = client.reply().await;
        assert!(greeting.starts_with("220 smtp.office.example "), "{greeting}");
        client
    }

    /// A connection from `source` of which nothing is read yet.
    pub fn raw(&self, source: &str, to: &str, port: u16) -> Client {
        let at = |address: &str, port| SocketAddr::new(address.parse::<IpAddr>().unwrap(), port);
        let stream = self.wire.dial(at(source, 40_000), at(to, port));
        let stream = stream.unwrap_or_else(|| panic!("nobody listens at {to}"));
        Client::over(stream)
    }

    /// A client on the LAN that has said EHLO on port 25.
    pub async fn pc(&self) -> Client {
        let mut client = self.dial(PC1, LAN, 25).await;
        client.dialogue(&[("EHLO pc1", "250-smtp.office.example")]).await;
        client
    }

    /// A client outside that has said EHLO on port 25.
    pub async fn stranger(&self) -> Client {
        let mut client = self.dial(STRANGER, WAN, 25).await;
        client.dialogue(&[("EHLO mx.elsewhere.example", "250-smtp.office.example")]).await;
        client
    }

    /// The names of the folders that the messages of a mailbox lie in.
    pub fn folders(&self, name: &str) -> Vec<String> {
        self.store().look(|state| {
            let Some(mailbox) = state.mailbox_named(name) else { return Vec::new() };
            let folder = |at: u16| mailbox.state().folders[usize::from(at)].clone();
            mailbox.entries().iter().map(|entry| folder(entry.folder.0)).collect()
        })
    }

    /// The messages of a mailbox, whole.
    pub async fn inbox(&self, name: &str) -> Vec<String> {
        let store = self.store();
        let found = store.look(|state| {
            let mailbox = state.mailbox_named(name)?;
            let uids: Vec<_> = mailbox.entries().iter().map(|entry| entry.uid).collect();
            Some((mailbox.state().id, uids))
        });
        let Some((id, uids)) = found else { return Vec::new() };
        let mut messages = Vec::new();
        for uid in uids {
            let message = store.read(id, uid).await.unwrap();
            let mut octets = message.prefix.clone();
            let before = octets.len();
            while ((octets.len() - before) as u64) < message.body.len() {
                let offset = (octets.len() - before) as u64;
                octets.extend(store.read_body_part(&message.body, offset, 1 << 20).await.unwrap());
            }
            messages.push(String::from_utf8(octets).unwrap());
        }
        messages
    }
}

pub struct Client {
    stream: Box<dyn Stream>,
    came: Vec<u8>,
}

impl Client {
    pub fn over(stream: impl Stream) -> Self {
        Self { stream: Box::new(stream), came: Vec::new() }
    }

    pub async fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Goes on under TLS.
    pub async fn secured(self, tls: &Tls) -> Result<Self, HandshakeError> {
        assert!(self.came.is_empty(), "what came in clear");
        let stream = tls.connect(self.stream, Peer::Named("smtp.office.example")).await?;
        Ok(Self { stream: Box::new(stream), ..self })
    }

    /// The next reply, of one line or several; empty at the end of the connection.
    pub async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            while let Some(end) = self.came.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<_> = self.came.drain(..end + 2).collect();
                reply += std::str::from_utf8(&line).unwrap();
                if line[3] == b' ' {
                    return reply;
                }
            }
            if self.stream.read_buf(&mut self.came).await.unwrap() == 0 {
                assert!(self.came.is_empty(), "{:?}", self.came);
                return reply;
            }
        }
    }

    /// The next line; empty at the end of the connection.
    pub async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.came.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<_> = self.came.drain(..end + 2).collect();
                return String::from_utf8(line).unwrap();
            }
            if self.stream.read_buf(&mut self.came).await.unwrap() == 0 {
                assert!(self.came.is_empty(), "{:?}", self.came);
                return String::new();
            }
        }
    }

    pub async fn say(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n")).await;
        self.reply().await
    }

    /// Sends lines, each of which must be answered by a reply with the given beginning.
    pub async fn dialogue(&mut self, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            let reply = self.say(line).await;
            assert!(reply.starts_with(expected), "{line:?}: {reply:?}, not {expected:?}");
        }
    }

    /// Sends a message, and returns what is said to it in the end, or to the first thing that is refused.
    pub async fn mail(&mut self, from: &str, recipients: &[&str], message: &str) -> String {
        let mut lines = vec![(format!("MAIL FROM:<{from}>"), "250")];
        lines.extend(recipients.iter().map(|recipient| (format!("RCPT TO:<{recipient}>"), "250")));
        lines.push(("DATA".to_owned(), "354"));
        for (line, expected) in lines {
            let reply = self.say(&line).await;
            if !reply.starts_with(expected) {
                return reply;
            }
        }
        self.send(message).await;
        self.say(".").await
    }

    /// Whether the server has closed the connection with nothing but an alert of TLS.
    pub async fn ends_with_alert(&mut self) -> bool {
        let mut octets = Vec::new();
        self.stream.read_to_end(&mut octets).await.is_ok() && octets.first() == Some(&21)
    }

    /// Whether the server has closed the connection, and said nothing more.
    pub async fn is_closed(&mut self) -> bool {
        self.reply().await.is_empty()
    }
}
