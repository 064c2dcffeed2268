//! A client that sends mail to users of the office, and through it to others, one message after the other, and records
//! the replies.

pub(super) mod draft;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use gatepost_ground::{Instant, MacAddr};
use ipnet::Ipv4Net;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rustls::{ClientConnection, Error};
use smoltcp::iface::SocketHandle;

use self::draft::Draft;
use super::fetch::{Closing, connect};
use super::post::{Attempt, End, SharedPost, is_elsewhere};
use super::stack::{Stack, turn};
use super::tls::{Channel, TlsClient};
use super::{Machine, Record};
use crate::machine::identity::Identity;

const SMTP_PORT: u16 = 25;
const SUBMISSION_PORT: u16 = 587;
const SUBMISSIONS_PORT: u16 = 465;
/// The name that the gateway has to prove.
const SERVER: &str = "smtp.office.example";
/// How long a message may take, before it is given up.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// A mailbox is full. (RFC 5321, section 4.2.3)
const NO_ROOM: u16 = 452;
/// The longest reply that is read, in octets.
const REPLY_OCTETS_MAX: usize = 4_096;
/// The most messages of a run.
const MESSAGES_MAX: u64 = 10_000;
/// The most messages that wait to be sent again.
const WAITING_MAX: usize = 50;
/// How often a message is sent, at most.
const TRIES_MAX: u32 = 5;
/// The most recipients of a message.
const RECIPIENTS_MAX: usize = 3;
/// The octets of each segment of a slow sender.
const LITTLE_OCTETS: RangeInclusive<usize> = 10..=200;
/// A longer message would take too long that way.
const LITTLE_MESSAGE_MAX: usize = 20_000;
/// The users for whom machines of the LAN send.
const USERS: [&str; 2] = ["anna@office.example", "berta@office.example"];
/// The pause between two such.
const LITTLE_PAUSE: Duration = Duration::from_millis(3);
/// The longest message that is sent in clear behind STARTTLS: one that a segment holds with its commands.
const INJECTED_MESSAGE_MAX: usize = 1_000;
/// The time in which a faulty gateway would answer a command that it must ignore.
const INJECTED_PATIENCE: Duration = Duration::from_secs(5);

/// An address that mail is sent to.
#[derive(Debug, PartialEq, Eq)]
pub struct Address {
    /// As it is written.
    pub address: &'static str,
    /// The mailboxes that it leads to, or the address itself if it is remote; none if it is unknown.
    pub mailboxes: &'static [&'static str],
}

impl Address {
    fn is_elsewhere(&self) -> bool {
        self.mailboxes.iter().any(|copy| is_elsewhere(copy))
    }
}

/// The messages of a sender, and their frequency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// The recipients.
    pub to: &'static [Address],
    /// The longest pause between two messages.
    pub pause_max: Duration,
    /// One message in so many is long: up to so many octets, and a quarter of that at least.
    pub long: Option<(u32, usize)>,
    /// Whether some of it goes under TLS, in any of the ways that there are, and users fetch so.
    pub has_tls: bool,
}

/// The settings of a sender under TLS.
pub struct Submitting {
    /// The program.
    pub tls: TlsClient,
    /// The password of each user for whom it sends.
    pub password: &'static str,
}

/// The protocol of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// On port 25, in clear.
    Clear,
    /// On port 25, with STARTTLS. (RFC 3207)
    StartTls,
    /// On port 587, with STARTTLS and a login. (RFC 6409)
    Submission,
    /// On port 465, with a login. (RFC 8314, section 3.3)
    Submissions,
    /// On port 25, with STARTTLS and the whole message in clear after it, as an attacker on the path could inject it.
    /// It must not be accepted (CVE-2011-0411).
    Injecting,
}

impl Way {
    /// Those of the LAN, and those from outside.
    const LAN: [Self; 5] =
        [Self::Clear, Self::StartTls, Self::Submission, Self::Submissions, Self::Injecting];
    const OUTSIDE: [Self; 3] = [Self::Clear, Self::StartTls, Self::Injecting];

    fn port(self) -> u16 {
        match self {
            Self::Clear | Self::StartTls | Self::Injecting => SMTP_PORT,
            Self::Submission => SUBMISSION_PORT,
            Self::Submissions => SUBMISSIONS_PORT,
        }
    }

    fn has_login(self) -> bool {
        matches!(self, Self::Submission | Self::Submissions)
    }
}

impl fmt::Display for Habits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, pause_max, long, has_tls } = self;
        write!(f, "mail is sent to {} addresses, with pauses up to {} s", to.len(), pause_max.as_secs_f64())?;
        if let Some((one_in, octets)) = long {
            write!(f, ", one in {one_in} of up to {octets} octets")?;
        }
        if *has_tls { f.write_str(", some under TLS") } else { Ok(()) }
    }
}

/// An SMTP client. Messages that were not accepted are sent again. (RFC 5321)
pub struct Mailer {
    name: String,
    stack: Stack,
    rng: StdRng,
    address: Ipv4Net,
    router: Ipv4Addr,
    server: Ipv4Addr,
    /// The server is the office as it is seen from the WAN.
    is_outside: bool,
    habits: Habits,
    /// `None`: all goes in clear.
    submitting: Option<Submitting>,
    post: SharedPost,
    closing: Closing,
    under_way: Option<UnderWay>,
    /// The messages to send again.
    waiting: VecDeque<Draft>,
    next_at: Instant,
    due: Option<Instant>,
    account: MailAccount,
}

/// The outcomes of a sender's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailAccount {
    /// Messages that were written.
    pub written: u64,
    /// Attempts that were answered by 250.
    pub taken: u64,
    /// Of these, those under TLS.
    pub encrypted: u64,
    /// Attempts that were refused, or did not come so far.
    pub refused: u64,
    /// Attempts whose message was sent, without a reply.
    pub unknown: u64,
    /// When the latest message was accepted.
    pub last_taken_at: Option<Instant>,
    /// When the gateway last settled a message: it accepted it, or rejected each recipient as unknown or full.
    pub last_settled_at: Option<Instant>,
}

impl fmt::Display for MailAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { written, taken, encrypted, refused, unknown, .. } = self;
        write!(
            f,
            "{written} written, {taken} taken, {encrypted} of these under TLS, {refused} refused, {unknown} without a reply"
        )
    }
}

/// The command of the next reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Connect,
    Hello,
    StartTls,
    Login,
    /// None: octets injected in clear must not be answered.
    Injected,
    Sender,
    Recipient(usize),
    Data,
    Message,
}

/// A message on its way.
struct UnderWay {
    handle: SocketHandle,
    channel: Channel,
    /// The client's side of TLS, until it begins.
    tls: Option<ClientConnection>,
    /// The login's command, until it is said.
    login: Option<String>,
    /// Whether all of it is sent in clear behind STARTTLS.
    injects: bool,
    /// Its sender is no host of the office's, which takes no mail for others from there.
    is_outside: bool,
    draft: Draft,
    step: Step,
    /// The recipients that were accepted, those that were rejected temporarily, and those rejected permanently.
    taken: Vec<&'static Address>,
    later: Vec<&'static Address>,
    gone: Vec<&'static Address>,
    /// A recipient was rejected temporarily for another reason than a full mailbox.
    is_put_off: bool,
    /// Once the message goes out.
    attempt: Option<Attempt>,
    /// Octets that the socket has not accepted yet.
    unsent: Vec<u8>,
    /// The most octets that are handed to it at once, and when it gets some again.
    at_once: usize,
    send_at: Instant,
    got: Vec<u8>,
    until: Instant,
}

impl Mailer {
    /// A sender `identity`: on the LAN, or else outside. `post` records the replies.
    pub fn new(
        identity: &Identity,
        habits: Habits,
        submitting: Option<Submitting>,
        is_outside: bool,
        post: &SharedPost,
    ) -> Self {
        let mut rng = StdRng::seed_from_u64(identity.seed);
        let stack = Stack::of(identity, rng.random());
        Self {
            name: identity.name.clone(),
            stack,
            rng,
            address: identity.address,
            router: identity.router,
            server: if is_outside { identity.office } else { identity.router },
            is_outside,
            habits,
            submitting,
            post: Rc::clone(post),
            closing: Closing::default(),
            under_way: None,
            waiting: VecDeque::new(),
            next_at: Instant::ZERO,
            due: Some(Instant::ZERO),
            account: MailAccount::default(),
        }
    }

    fn work(&mut self, now: Instant) {
        if let Some(under_way) = &mut self.under_way {
            let Some(end) = under_way.work(&self.name, &mut self.stack, &self.post, now) else { return };
            let under_way = self.under_way.take().expect("it is under way");
            self.end(under_way, end, now);
            let pause = u64::try_from(self.habits.pause_max.as_millis()).unwrap_or(u64::MAX);
            self.next_at = now + Duration::from_millis(self.rng.random_range(0..pause));
        }
        if self.next_at <= now {
            self.next_at = now + self.habits.pause_max;
            self.begin(now);
        }
    }

    fn begin(&mut self, now: Instant) {
        let Some(draft) = self.next_draft() else { return };
        let (way, mut tls) = self.choose_way(&draft, now);
        let Some(handle) = connect(&mut self.stack, &mut self.rng, (self.server, way.port())) else {
            return self.put_back(draft);
        };
        let mut channel = Channel::default();
        if let Some(tls) = tls.take_if(|_| way == Way::Submissions) {
            channel.begin(tls);
        }
        let login = self.submitting.as_ref().filter(|_| way.has_login()).map(|submitting| {
            let user = draft.from.strip_suffix("@office.example").unwrap_or("anna");
            let plain = format!("\0{user}\0{}", submitting.password);
            format!("AUTH PLAIN {}", BASE64.encode(plain.as_bytes()))
        });
        let is_little = self.rng.random_ratio(1, 4) && draft.wire.len() <= LITTLE_MESSAGE_MAX;
        let at_once = if is_little { self.rng.random_range(LITTLE_OCTETS) } else { usize::MAX };
        self.stack.tcp(handle).set_nagle_enabled(false);
        self.under_way = Some(UnderWay {
            handle,
            channel,
            tls,
            login,
            injects: way == Way::Injecting,
            is_outside: self.is_outside,
            draft,
            step: Step::Connect,
            taken: Vec::new(),
            later: Vec::new(),
            gone: Vec::new(),
            is_put_off: false,
            attempt: None,
            unsent: Vec::new(),
            at_once,
            send_at: now,
            got: Vec::new(),
            until: now + MESSAGE_TIMEOUT,
        });
    }

    /// The protocol of the next submission, and the client's side of TLS for it.
    fn choose_way(&mut self, draft: &Draft, now: Instant) -> (Way, Option<ClientConnection>) {
        let Some(Submitting { tls, .. }) = &mut self.submitting else { return (Way::Clear, None) };
        let ways = if self.is_outside { &Way::OUTSIDE[..] } else { &Way::LAN };
        let drawn = *ways.choose(&mut self.rng).expect("there are some");
        let is_too_long = drawn == Way::Injecting && draft.wire.len() > INJECTED_MESSAGE_MAX;
        let way = if is_too_long { Way::StartTls } else { drawn };
        let tls = if way == Way::Clear { None } else { tls.connect(SERVER, now) };
        if tls.is_some() { (way, tls) } else { (Way::Clear, None) }
    }

    /// A message that waits, or a new one.
    fn next_draft(&mut self) -> Option<Draft> {
        let prefers_old = self.account.written >= MESSAGES_MAX || self.rng.random();
        if let Some(draft) = self.waiting.pop_front_if(|_| prefers_old) {
            return Some(draft);
        }
        if self.account.written >= MESSAGES_MAX {
            return None;
        }
        let long = self.habits.long.filter(|(one_in, _)| self.rng.random_ratio(1, *one_in));
        // A long one goes to several, one of which may have no room for it.
        let is_to_several = long.is_some() || self.rng.random_ratio(1, 3);
        let recipients = if is_to_several { RECIPIENTS_MAX } else { 1 };
        let to: Vec<_> = self.habits.to.sample(&mut self.rng, recipients).collect();
        let octets_min = long.map_or(0, |(_, octets)| self.rng.random_range(octets / 4..=octets));
        // A sender to other domains is one that can get notices.
        let leaves = !self.is_outside && to.iter().any(|to| to.is_elsewhere());
        let user = leaves.then(|| *USERS.choose(&mut self.rng).expect("there are some"));
        let from = user.map_or_else(|| format!("{}@elsewhere.example", self.name), str::to_owned);
        let (draft, letter) = Draft::write(&self.name, from, to, octets_min, &mut self.rng);
        self.post.borrow_mut().write(&draft.mark, letter);
        self.account.written += 1;
        Some(draft)
    }

    fn end(&mut self, under_way: UnderWay, end: End, now: Instant) {
        let UnderWay { handle, channel, mut draft, step, later, gone, attempt, is_put_off, .. } = under_way;
        if end == End::Taken || end == End::Refused && matches!(step, Step::Recipient(_)) && !is_put_off {
            self.account.last_settled_at = Some(now);
        }
        if let Some(attempt) = &attempt {
            self.post.borrow_mut().end(attempt, end);
        }
        draft.to.retain(|to| if end == End::Taken { later.contains(to) } else { !gone.contains(to) });
        match end {
            End::Taken => {
                self.account.taken += 1;
                self.account.encrypted += u64::from(channel.is_encrypted());
                self.account.last_taken_at = Some(now);
                self.closing.close(&mut self.stack, handle, now);
            }
            End::Refused => {
                self.account.refused += 1;
                self.closing.abort(&mut self.stack, handle, now);
            }
            End::Unknown => {
                self.account.unknown += 1;
                self.closing.abort(&mut self.stack, handle, now);
            }
        }
        draft.tries += 1;
        if draft.tries < TRIES_MAX && !draft.to.is_empty() {
            self.put_back(draft);
        }
    }

    /// Has a message wait. Beyond so many one is given up.
    fn put_back(&mut self, draft: Draft) {
        self.waiting.push_back(draft);
        if self.waiting.len() > WAITING_MAX {
            self.waiting.pop_front();
        }
    }
}

/// How the machine `name` greets a server.
fn hello(name: &str) -> String {
    format!("EHLO {name}.elsewhere.example")
}

impl UnderWay {
    /// How it ended, once it has.
    fn work(&mut self, name: &str, stack: &mut Stack, post: &SharedPost, now: Instant) -> Option<End> {
        let socket = stack.tcp(self.handle);
        let broken = self.channel.receive_from(socket, &mut self.got, REPLY_OCTETS_MAX).err();
        if let Some(Error::InvalidCertificate(why)) = &broken {
            post.borrow_mut().fault(format!("{name} does not believe the gateway: {why}"));
        }
        while let Some(code) = next_code(&mut self.got) {
            if let Some(end) = self.take_reply(name, code, post, now) {
                return Some(end);
            }
        }
        let socket = stack.tcp(self.handle);
        if socket.can_send() && self.has_unsent() && self.send_at <= now {
            if self.channel.unsent().is_empty() {
                let len = self.unsent.len().min(self.at_once);
                self.channel.say(&self.unsent[..len]);
                self.unsent.drain(..len);
            }
            self.channel.send_to(socket);
            self.send_at = now + LITTLE_PAUSE;
        }
        let is_over = !socket.is_open()
            || broken.is_some()
            || self.until <= now
            || !socket.may_recv() && self.got.is_empty() && self.step != Step::Connect;
        // A message cannot have been accepted before its last octet was sent.
        let has_gone = self.step == Step::Message && !self.has_unsent();
        is_over.then_some(if has_gone { End::Unknown } else { End::Refused })
    }

    /// Takes a reply; how it ended, if that was it.
    fn take_reply(&mut self, name: &str, code: u16, post: &SharedPost, now: Instant) -> Option<End> {
        let is_well = code
            == match self.step {
                Step::Connect | Step::StartTls => 220,
                Step::Login => 235,
                _ => 250,
            };
        match self.step {
            Step::Connect if is_well => self.say(Step::Hello, &hello(name)),
            Step::Hello if is_well && self.tls.is_some() => {
                self.say(Step::StartTls, "STARTTLS");
                if self.injects {
                    self.inject(name, post, now);
                }
            }
            Step::StartTls if is_well => {
                if let Some(tls) = self.tls.take() {
                    self.channel.begin(tls);
                }
                if self.injects {
                    (self.step, self.until) = (Step::Injected, now + INJECTED_PATIENCE);
                } else {
                    self.say(Step::Hello, &hello(name));
                }
            }
            Step::Injected => {
                let mark = &self.draft.mark;
                let what = format!("{name} has an answer to {mark} under TLS, which it sent in clear before");
                post.borrow_mut().fault(what);
                return Some(End::Refused);
            }
            Step::Hello | Step::Login if is_well => match self.login.take() {
                Some(login) => self.say(Step::Login, &login),
                None => self.say(Step::Sender, &format!("MAIL FROM:<{}>", self.draft.from)),
            },
            Step::Sender if is_well => return self.name_recipient(0),
            Step::Recipient(number) => {
                let to = self.draft.to[number];
                if is_well && to.mailboxes.is_empty() {
                    post.borrow_mut().fault(format!("{} is taken, and there is nobody", to.address));
                }
                if is_well && self.is_outside && to.is_elsewhere() {
                    post.borrow_mut()
                        .fault(format!("{} is taken from outside, and is elsewhere", to.address));
                }
                self.is_put_off |= (400..500).contains(&code) && code != NO_ROOM;
                match code {
                    250 => self.taken.push(to),
                    400..500 => self.later.push(to),
                    _ => self.gone.push(to),
                }
                return self.name_recipient(number + 1);
            }
            Step::Data if code == 354 => {
                self.attempt =
                    Some(post.borrow_mut().begin(&self.draft.mark, mailboxes_of(&self.taken), now));
                self.unsent.extend_from_slice(&self.draft.wire);
                self.step = Step::Message;
            }
            Step::Message if is_well => return Some(End::Taken),
            _ => return Some(End::Refused),
        }
        None
    }

    /// Sends all of the message where TLS is to begin.
    fn inject(&mut self, name: &str, post: &SharedPost, now: Instant) {
        let mut commands = format!("{}\r\nMAIL FROM:<{}>\r\n", hello(name), self.draft.from);
        for to in &self.draft.to {
            commands += &format!("RCPT TO:<{}>\r\n", to.address);
        }
        self.unsent.extend_from_slice(format!("{commands}DATA\r\n").as_bytes());
        self.unsent.extend_from_slice(&self.draft.wire);
        self.at_once = usize::MAX;
        self.attempt = Some(post.borrow_mut().begin(&self.draft.mark, mailboxes_of(&self.draft.to), now));
    }

    /// Names the recipient with this number. After the last one the message follows, if any recipient was accepted.
    fn name_recipient(&mut self, number: usize) -> Option<End> {
        match self.draft.to.get(number) {
            Some(to) => {
                let line = format!("RCPT TO:<{}>", to.address);
                self.say(Step::Recipient(number), &line);
                None
            }
            None if self.taken.is_empty() => Some(End::Refused),
            None => {
                self.say(Step::Data, "DATA");
                None
            }
        }
    }

    fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || !self.channel.unsent().is_empty()
    }

    fn say(&mut self, step: Step, line: &str) {
        self.unsent.extend_from_slice(line.as_bytes());
        self.unsent.extend_from_slice(b"\r\n");
        self.step = step;
    }
}

/// The final mailboxes and remote addresses of these recipients.
fn mailboxes_of(to: &[&Address]) -> BTreeSet<String> {
    to.iter().flat_map(|to| to.mailboxes).map(|name| (*name).to_owned()).collect()
}

/// The code of the first whole reply in `got`, which is removed. (RFC 5321, section 4.2)
fn next_code(got: &mut Vec<u8>) -> Option<u16> {
    let mut from = 0;
    while let Some(len) = got[from..].iter().position(|octet| *octet == b'\n') {
        let line = &got[from..from + len];
        let is_last = line.get(3) != Some(&b'-');
        let code = line.get(..3).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
        from += len + 1;
        if is_last {
            got.drain(..from);
            return Some(code.unwrap_or(0));
        }
    }
    None
}

impl Machine for Mailer {
    fn mac(&self) -> MacAddr {
        self.stack.mac()
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        self.stack.handle_frame(frame);
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        turn(self, now, transmit, |it| &mut it.stack, |it| it.work(now));
        self.closing.forget(&mut self.stack, now);
        let until = self.under_way.as_ref().map_or(self.next_at, |it| {
            if !it.has_unsent() || it.send_at <= now { it.until } else { it.until.min(it.send_at) }
        });
        self.due = [Some(until), self.closing.poll_timeout(), self.stack.poll_timeout(now)]
            .into_iter()
            .flatten()
            .min();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Goes over to the other network as well, as the same host, if it is outside.
    fn on_renumber(&mut self, network: Ipv4Net, office: Ipv4Addr) {
        if !self.is_outside {
            return;
        }
        let before = self.address.network().to_bits();
        let moved = |address: Ipv4Addr| {
            Ipv4Addr::from_bits(network.network().to_bits() + (address.to_bits() - before))
        };
        let (address, router) = (moved(self.address.addr()), moved(self.router));
        self.stack.set_address(Some((address, network.prefix_len())));
        self.stack.set_router(Some(router));
        self.address = Ipv4Net::new(address, network.prefix_len()).expect("a network's own prefix");
        (self.router, self.server) = (router, office);
    }

    /// Sends to the office where it is now, if it sends from outside.
    fn on_office_at(&mut self, office: Ipv4Addr) {
        if self.is_outside {
            self.server = office;
        }
    }

    /// A [`MailAccount`].
    fn record(&self) -> Arc<dyn Record> {
        Arc::new(self.account)
    }
}
