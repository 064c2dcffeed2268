//! A user of the office who fetches mail by POP3 and deletes some of it, or leaves it on the server and fetches
//! messages with a new UIDL, and sometimes disconnects without QUIT.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rustls::{ClientConnection, Error};
use smoltcp::iface::SocketHandle;

use super::fetch::{Closing, connect};
use super::post::SharedPost;
use super::stack::{Stack, turn};
use super::tls::{Channel, TlsClient};
use super::{Machine, Record};
use crate::machine::identity::Identity;

const POP3_PORT: u16 = 110;
const POP3S_PORT: u16 = 995;
/// The name that the gateway has to prove.
const SERVER: &str = "pop.office.example";
/// How long a session may take, before it is given up.
const SESSION_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest reply that is read, in octets.
const REPLY_OCTETS_MAX: usize = 2 << 20;
/// The most messages that are fetched in a session.
const MESSAGES_MAX: usize = 8;

/// The handling of fetched messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Some of it is deleted, and all is fetched again that is there.
    Deletes,
    /// The user leaves it on the server, and recognises it by its unique-id the next time. (RFC 1939, section 7)
    Leaves,
}

/// A POP3 client. (RFC 1939)
pub struct Fetcher {
    user: &'static str,
    password: &'static str,
    habit: Habit,
    /// The UIDLs of fetched messages that were left on the server.
    known: BTreeSet<String>,
    pause_max: Duration,
    /// `None`: all sessions are in clear.
    tls: Option<TlsClient>,
    stack: Stack,
    rng: StdRng,
    server: Ipv4Addr,
    post: SharedPost,
    closing: Closing,
    session: Option<Session>,
    next_at: Instant,
    due: Option<Instant>,
    account: FetchAccount,
}

/// The outcomes of a client's sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchAccount {
    /// Messages that came whole.
    pub fetched: u64,
    /// Messages that are gone, as QUIT was answered.
    pub deleted: u64,
    /// Sessions that went as they should under TLS.
    pub encrypted: u64,
    /// Sessions that ended before they should.
    pub failed: u64,
    /// When the latest session went as it should.
    pub last_well_at: Option<Instant>,
}

impl fmt::Display for FetchAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fetched, deleted, encrypted, failed, .. } = self;
        write!(
            f,
            "{fetched} fetched, {deleted} deleted, {encrypted} sessions under TLS, {failed} sessions failed"
        )
    }
}

/// How a session begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// On port 110, in clear.
    Clear,
    /// On port 110, with STLS. (RFC 2595)
    Stls,
    /// On port 995. (RFC 8314, section 3.2)
    Pop3s,
    /// On port 110, with STLS and the user's name in clear behind it, which the gateway must not use (CVE-2011-0411).
    Injecting,
}

impl Way {
    const ALL: [Self; 4] = [Self::Clear, Self::Stls, Self::Pop3s, Self::Injecting];
}

/// The command of the next reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Connect,
    Stls,
    /// The password after a user name that was injected in clear.
    Injected,
    User,
    Password,
    List,
    Retrieve,
    Delete,
    Quit,
}

/// A message of the listing: its number in the session, and its name for ever.
struct Listed {
    number: String,
    name: String,
    uid: u32,
}

struct Session {
    handle: SocketHandle,
    channel: Channel,
    /// The client's side of TLS, until it begins.
    tls: Option<ClientConnection>,
    /// Whether the user's name is sent in clear behind STLS.
    injects: bool,
    step: Step,
    /// Those that are to be fetched; the first is the one at hand.
    listed: VecDeque<Listed>,
    /// Those that are marked.
    marked: Vec<u32>,
    hangs_up: bool,
    /// Whether something was not fetched that is new: there was too much for one session, or it was refused.
    leaves_some: bool,
    unsent: Vec<u8>,
    got: Vec<u8>,
    began: Instant,
    until: Instant,
}

/// How a session ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// As it should: QUIT was answered, or the client has hung up.
    Well,
    Failed,
}

impl Fetcher {
    /// The user `identity` on the LAN, who fetches with pauses up to `pause_max`, with `tls` sometimes under TLS.
    /// `post` records it.
    pub fn new(
        identity: &Identity,
        (user, password): (&'static str, &'static str),
        habit: Habit,
        pause_max: Duration,
        tls: Option<TlsClient>,
        post: &SharedPost,
    ) -> Self {
        let mut rng = StdRng::seed_from_u64(identity.seed);
        let stack = Stack::of(identity, rng.random());
        Self {
            user,
            password,
            habit,
            known: BTreeSet::new(),
            pause_max,
            tls,
            stack,
            rng,
            server: identity.router,
            post: Rc::clone(post),
            closing: Closing::default(),
            session: None,
            next_at: Instant::ZERO,
            due: Some(Instant::ZERO),
            account: FetchAccount::default(),
        }
    }

    fn work(&mut self, now: Instant) {
        if self.session.is_some() {
            let Some(end) = self.go_on(now) else { return };
            let Some(session) = self.session.take() else { return };
            if end == End::Well {
                self.account.last_well_at = Some(now);
                self.account.encrypted += u64::from(session.channel.is_encrypted());
            } else {
                self.account.failed += 1;
            }
            if session.step == Step::Quit && end == End::Well {
                self.closing.close(&mut self.stack, session.handle, now);
            } else {
                self.closing.abort(&mut self.stack, session.handle, now);
            }
            let pause = u64::try_from(self.pause_max.as_millis()).unwrap_or(u64::MAX);
            self.next_at = now + Duration::from_millis(self.rng.random_range(0..pause));
        }
        if self.next_at <= now {
            self.next_at = now + self.pause_max;
            let (way, mut tls) = self.choose_way(now);
            let server = (self.server, if way == Way::Pop3s { POP3S_PORT } else { POP3_PORT });
            let Some(handle) = connect(&mut self.stack, &mut self.rng, server) else { return };
            let mut channel = Channel::default();
            if let Some(tls) = tls.take_if(|_| way == Way::Pop3s) {
                channel.begin(tls);
            }
            self.session = Some(Session {
                handle,
                channel,
                tls,
                injects: way == Way::Injecting,
                step: Step::Connect,
                listed: VecDeque::new(),
                marked: Vec::new(),
                hangs_up: self.rng.random_ratio(1, 3),
                leaves_some: false,
                unsent: Vec::new(),
                got: Vec::new(),
                began: now,
                until: now + SESSION_TIMEOUT,
            });
        }
    }

    /// How the next session begins, and the client's side of TLS for that.
    fn choose_way(&mut self, now: Instant) -> (Way, Option<ClientConnection>) {
        let Some(tls) = &mut self.tls else { return (Way::Clear, None) };
        let way = *Way::ALL.choose(&mut self.rng).expect("there are some");
        let tls = if way == Way::Clear { None } else { tls.connect(SERVER, now) };
        if tls.is_some() { (way, tls) } else { (Way::Clear, None) }
    }

    /// How the session ended, once it has.
    fn go_on(&mut self, now: Instant) -> Option<End> {
        let session = self.session.as_mut()?;
        let socket = self.stack.tcp(session.handle);
        let broken = session.channel.receive_from(socket, &mut session.got, REPLY_OCTETS_MAX).err();
        if let Some(Error::InvalidCertificate(why)) = &broken {
            self.post.borrow_mut().fault(format!("{} does not believe the gateway: {why}", self.user));
        }
        while let Some((is_well, content)) = self.session.as_mut()?.next_reply() {
            if let Some(end) = self.take_reply(is_well, &content) {
                return Some(end);
            }
        }
        let session = self.session.as_mut()?;
        let socket = self.stack.tcp(session.handle);
        session.channel.say(&std::mem::take(&mut session.unsent));
        if socket.can_send() && !session.channel.unsent().is_empty() {
            session.channel.send_to(socket);
        }
        let is_over = !socket.is_open()
            || broken.is_some()
            || session.until <= now
            || !socket.may_recv() && session.step != Step::Connect;
        is_over.then_some(End::Failed)
    }

    fn take_reply(&mut self, is_well: bool, content: &[u8]) -> Option<End> {
        let session = self.session.as_mut()?;
        if !is_well && session.step != Step::Retrieve {
            return Some(End::Failed);
        }
        match session.step {
            Step::Connect if session.tls.is_some() && session.injects => {
                session.say(Step::Stls, &format!("STLS\r\nUSER {}", self.user));
            }
            Step::Connect if session.tls.is_some() => session.say(Step::Stls, "STLS"),
            Step::Connect | Step::Stls => {
                if let Some(tls) = session.tls.take() {
                    session.channel.begin(tls);
                }
                if session.injects {
                    session.say(Step::Injected, &format!("PASS {}", self.password));
                } else {
                    session.say(Step::User, &format!("USER {}", self.user));
                }
            }
            Step::Injected => {
                let what =
                    format!("{} has said the name of its user in clear, and is known under TLS", self.user);
                self.post.borrow_mut().fault(what);
                return Some(End::Failed);
            }
            Step::User => session.say(Step::Password, &format!("PASS {}", self.password)),
            Step::Password => session.say(Step::List, "UIDL"),
            Step::List => {
                let text = String::from_utf8_lossy(content);
                let listed: Vec<_> = text.lines().filter_map(listed_in).collect();
                self.post.borrow_mut().list(self.user, listed.iter().map(|listed| listed.uid));
                if self.habit == Habit::Leaves {
                    let new = listed.into_iter().filter(|listed| !self.known.contains(&listed.name));
                    session.listed = new.collect();
                    session.leaves_some = session.listed.len() > MESSAGES_MAX;
                    session.listed.truncate(MESSAGES_MAX);
                    return self.fetch_next();
                }
                // The latest, or from some other message on: a mailbox whose latest message is gone must not reuse its
                // number.
                let last = listed.len().saturating_sub(MESSAGES_MAX);
                let from = if self.rng.random() { last } else { self.rng.random_range(0..=last) };
                session.listed = listed.into_iter().skip(from).take(MESSAGES_MAX).collect();
                return self.fetch_next();
            }
            Step::Retrieve => {
                if is_well {
                    self.account.fetched += 1;
                    if let Some(Listed { number, name, uid }) = session.listed.front() {
                        self.post.borrow_mut().fetch(self.user, *uid, content);
                        if self.habit == Habit::Leaves {
                            self.known.insert(name.clone());
                            self.post.borrow_mut().keep(self.user, content);
                        } else if self.rng.random() {
                            session.marked.push(*uid);
                            let line = format!("DELE {number}");
                            session.say(Step::Delete, &line);
                            return None;
                        }
                    }
                }
                session.leaves_some |= !is_well;
                session.listed.pop_front();
                return self.fetch_next();
            }
            Step::Delete => {
                session.listed.pop_front();
                return self.fetch_next();
            }
            Step::Quit => {
                self.account.deleted += session.marked.len() as u64;
                self.post.borrow_mut().deleted(self.user, &session.marked);
                if self.habit == Habit::Leaves && !session.leaves_some {
                    self.post.borrow_mut().catch_up(self.user, session.began);
                }
                return Some(End::Well);
            }
        }
        None
    }

    /// Fetches the next message. Nothing is deleted without QUIT. (RFC 1939, section 6)
    fn fetch_next(&mut self) -> Option<End> {
        let session = self.session.as_mut()?;
        match session.listed.front() {
            Some(Listed { number, .. }) => {
                let line = format!("RETR {number}");
                session.say(Step::Retrieve, &line);
                None
            }
            None if session.hangs_up => Some(End::Well),
            None => {
                self.post.borrow_mut().quit(self.user, &session.marked);
                session.say(Step::Quit, "QUIT");
                None
            }
        }
    }
}

impl Session {
    /// The first complete reply in `got`, which is removed: whether it is `+OK`, and the lines after it, without
    /// dot-stuffing.
    fn next_reply(&mut self) -> Option<(bool, Vec<u8>)> {
        const END: &[u8] = b"\r\n.\r\n";
        let first = self.got.windows(2).position(|at| at == b"\r\n")?;
        let is_well = self.got.starts_with(b"+OK");
        if !is_well || !matches!(self.step, Step::List | Step::Retrieve) {
            self.got.drain(..first + 2);
            return Some((is_well, Vec::new()));
        }
        let len = self.got[first..].windows(END.len()).position(|at| at == END)?;
        let stuffed: Vec<u8> = self.got.drain(..first + len + END.len()).collect();
        let mut content = Vec::new();
        for line in stuffed[first + 2..first + len + 2].split_inclusive(|octet| *octet == b'\n') {
            content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        Some((true, content))
    }

    fn say(&mut self, step: Step, line: &str) {
        self.unsent.extend_from_slice(line.as_bytes());
        self.unsent.extend_from_slice(b"\r\n");
        self.step = step;
    }
}

/// A line of the listing: `3 1700000000.17`, a number and the UIDL.
fn listed_in(line: &str) -> Option<Listed> {
    let (number, name) = line.split_once(' ')?;
    let (_, uid) = name.split_once('.')?;
    Some(Listed { number: number.to_owned(), name: name.to_owned(), uid: uid.parse().ok()? })
}

impl Machine for Fetcher {
    fn mac(&self) -> MacAddr {
        self.stack.mac()
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        self.stack.handle_frame(frame);
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        turn(self, now, transmit, |it| &mut it.stack, |it| it.work(now));
        self.closing.forget(&mut self.stack, now);
        let until = self.session.as_ref().map_or(self.next_at, |session| session.until);
        self.due = [Some(until), self.closing.poll_timeout(), self.stack.poll_timeout(now)]
            .into_iter()
            .flatten()
            .min();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// A [`FetchAccount`].
    fn record(&self) -> Arc<dyn Record> {
        Arc::new(self.account)
    }
}
