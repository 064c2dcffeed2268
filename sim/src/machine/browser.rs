//! A browser on the LAN, with an address of its own, whose user signs in to the administration and looks around.
//!
//! It does what a browser does without scripts: TLS with the certificate checked against the office's own authority,
//! cookies, redirections, links and forms with their hidden fields. Its user follows links, mistypes the password, signs
//! out, ends sessions, and is one of several people. Now and then it asks as somebody else would: without the cookie,
//! with that of a session that has ended, in clear, and by forms without the token or of another site. Whoever loses the
//! gateway looks for it at all of its addresses.

mod moving;
pub mod page;
pub mod sight;

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};
use gatepost_services::admin::OWN;
use ipnet::Ipv4Net;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rustls::Error;
use smoltcp::iface::SocketHandle;

use self::moving::Moving;
use self::page::{ANSWER_OCTETS_MAX, Answer, Form, Page};
use self::sight::{Account, Aim, Ask, Seen, SharedSight};
use super::fetch::{Closing, connect};
use super::identity::Identity;
use super::stack::{Stack, turn};
use super::tls::{Channel, TlsClient};
use super::{Machine, Record};

/// The port of the administration.
const PORT: u16 = 8080;
/// The name that the gateway has to prove.
const SERVER: &str = "admin.office.example";
/// The session's cookie.
const COOKIE: &str = "__Host-session";
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The pauses between two steps, in milliseconds.
const PAUSE_MILLIS: RangeInclusive<u64> = 200..=3_000;
/// How far from a listed number of a session a guessed one is, at most.
const GUESS: u64 = 3;
/// Where nobody is signed in.
const SIGN_IN: &str = "/sign-in";
/// Where changes of the configuration are applied.
const CHANGES: &str = "/changes";
/// The page with the LAN's address.
const NETWORK: &str = "/network";

/// The browser.
pub struct Browser {
    name: String,
    stack: Stack,
    rng: StdRng,
    /// The gateway's possible addresses, each with the browser's own address for it, and the number of the one in use.
    places: Vec<(Ipv4Addr, Ipv4Net)>,
    place: usize,
    people: &'static [Account],
    password: &'static str,
    tls: TlsClient,
    sight: SharedSight,
    closing: Closing,
    asking: Option<Asking>,
    cookie: Option<String>,
    /// The cookie of the last session that has ended.
    former: Option<String>,
    page: Page,
    /// Where the last answer leads to.
    next: Option<String>,
    next_at: Instant,
    due: Option<Instant>,
    /// Whether the user moves the LAN to another address now and then, and the move under way.
    moves: bool,
    moving: Option<Moving>,
    record: Browsing,
}

/// What has become of a browser's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Browsing {
    /// Pages that were told.
    pub pages: u64,
    /// Sessions that began.
    pub signed_in: u64,
    /// Logins that were refused.
    pub refused: u64,
    /// Requests without an answer.
    pub lost: u64,
    /// Changes of the LAN's address that were kept.
    pub kept: u64,
    /// Changes of it that were undone, or left to their deadline.
    pub left: u64,
    /// When the latest page came.
    pub last_page_at: Option<Instant>,
}

/// A request on its way.
struct Asking {
    handle: SocketHandle,
    channel: Channel,
    ask: Ask,
    /// Whether the answer changes what the browser knows, unlike a stranger's.
    is_own: bool,
    heard: Vec<u8>,
    until: Instant,
}

/// A step of the user's.
struct Step {
    path: String,
    cookie: Option<String>,
    aim: Aim,
    /// The form's body and the origin that it comes from; `None`: a GET.
    form: Option<(String, String)>,
    is_own: bool,
}

impl Step {
    fn read(path: &str, cookie: Option<String>) -> Self {
        Self { path: path.to_owned(), cookie, aim: Aim::Reads, form: None, is_own: true }
    }

    fn of_stranger(self) -> Self {
        Self { is_own: false, ..self }
    }

    /// The octets of the request.
    fn request(&self) -> String {
        let method = if self.form.is_some() { "POST" } else { "GET" };
        let mut text = format!("{method} {} HTTP/1.1\r\nHost: {SERVER}:{PORT}\r\n", self.path);
        if let Some(cookie) = &self.cookie {
            _ = write!(text, "Cookie: {COOKIE}={cookie}\r\n");
        }
        match &self.form {
            Some((body, origin)) => {
                _ = write!(
                    text,
                    "Origin: {origin}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                );
            }
            None => text += "\r\n",
        }
        text
    }
}

/// The origin of the administration's own pages.
fn own_origin() -> String {
    format!("https://{SERVER}:{PORT}")
}

/// The body of a form with these fields; all values are made of letters that need no escape, but for spaces.
fn body_of(fields: &[(String, String)]) -> String {
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| format!("{name}={}", value.replace(' ', "+"))).collect();
    fields.join("&")
}

/// The settings of a browser.
pub struct Manners {
    /// The people who use it.
    pub people: &'static [Account],
    /// The password of all of them.
    pub password: &'static str,
    /// The gateway's addresses, of which one is in force.
    pub gateways: Vec<Ipv4Net>,
    /// Whether those who may change the LAN's address to another of them do so.
    pub moves: bool,
}

impl Browser {
    /// The browser that `identity` names. `sight` records what it sees.
    pub fn new(identity: &Identity, manners: &Manners, tls: TlsClient, sight: SharedSight) -> Self {
        let mut rng = StdRng::seed_from_u64(identity.seed);
        let stack = Stack::of(identity, rng.random());
        // The same host number in each of the networks.
        let host = identity.address.addr().to_bits() & 0xff;
        let place = |gateway: &Ipv4Net| {
            let network = Ipv4Net::new(gateway.addr(), 24).expect("a prefix").network().to_bits();
            let own = if gateway.contains(&identity.address.addr()) {
                identity.address.addr()
            } else {
                Ipv4Addr::from_bits(network | host)
            };
            (gateway.addr(), Ipv4Net::new(own, gateway.prefix_len()).expect("the gateway's own prefix"))
        };
        Self {
            name: identity.name.clone(),
            stack,
            rng,
            places: manners.gateways.iter().map(place).collect(),
            place: 0,
            people: manners.people,
            password: manners.password,
            tls,
            sight,
            closing: Closing::default(),
            asking: None,
            cookie: None,
            former: None,
            page: Page::default(),
            next: None,
            next_at: Instant::ZERO,
            due: Some(Instant::ZERO),
            moves: manners.moves,
            moving: None,
            record: Browsing::default(),
        }
    }

    fn see(&self, seen: Seen) {
        self.sight.borrow_mut().push_back((self.name.clone(), seen));
    }

    fn work(&mut self, now: Instant) {
        if let Some(asking) = &mut self.asking {
            let Some(end) = asking.work(&mut self.stack, now) else { return };
            let asking = self.asking.take().expect("it asks");
            self.end(asking, end, now);
        }
        if self.asking.is_none() && self.next_at <= now {
            let step = self.choose();
            self.ask(&step, now);
        }
    }

    /// What the user does next.
    fn choose(&mut self) -> Step {
        if let Some(path) = self.next.take() {
            return Step::read(&path, self.cookie.clone());
        }
        let is_form = |form: &Form| form.action == SIGN_IN;
        let Some(cookie) = self.cookie.clone() else {
            return match self.page.forms().iter().any(is_form) {
                true => self.sign_in(),
                false => Step::read("/", None),
            };
        };
        if let Some(step) = self.go_on_moving(&cookie).or_else(|| self.move_lan(&cookie)) {
            return step;
        }
        let forms = self.page.forms();
        let form = |path: &str| forms.iter().filter(|form| form.action == path).collect::<Vec<_>>();
        let (outs, ends) = (form("/sign-out"), form("/sessions/end"));
        let own = own_origin();
        match self.rng.random_range(0..100) {
            0..8 if !outs.is_empty() => Step {
                path: outs[0].action.clone(),
                cookie: Some(cookie),
                aim: Aim::SignsOut,
                form: Some((body_of(&outs[0].fields), own)),
                is_own: true,
            },
            8..28 if !ends.is_empty() => {
                let form = ends.choose(&mut self.rng).expect("there are some");
                let mut fields = form.fields.clone();
                let mut number = 0_u64;
                for (_, value) in fields.iter_mut().filter(|(name, _)| name == "session") {
                    number = value.parse().unwrap_or_default();
                    if self.rng.random_bool(0.5) {
                        // One that need not be listed, as that of the other browser.
                        number = self
                            .rng
                            .random_range(number.saturating_sub(GUESS)..=number.saturating_add(GUESS));
                    }
                    *value = number.to_string();
                }
                Step {
                    path: form.action.clone(),
                    cookie: Some(cookie),
                    aim: Aim::Ends(number),
                    form: Some((body_of(&fields), own)),
                    is_own: true,
                }
            }
            28..36 if !outs.is_empty() => {
                let (token, origin) = match self.rng.random_bool(0.5) {
                    true => (body_of(&[("token".to_owned(), "A".repeat(43))]), own),
                    false => (body_of(&outs[0].fields), "https://elsewhere.example".to_owned()),
                };
                let form = Some((token, origin));
                Step {
                    path: outs[0].action.clone(),
                    cookie: Some(cookie),
                    aim: Aim::Forges,
                    form,
                    is_own: false,
                }
            }
            // Whoever may change something could do so here.
            36..40 if !outs.is_empty() && self.may_only_look() => {
                let mut fields = outs[0].fields.clone();
                fields.push(("do".to_owned(), "apply".to_owned()));
                let form = Some((body_of(&fields), own));
                Step {
                    path: CHANGES.to_owned(),
                    cookie: Some(cookie),
                    aim: Aim::Meddles,
                    form,
                    is_own: false,
                }
            }
            40..46 => {
                let former = self.former.clone().filter(|_| self.rng.random_bool(0.7));
                Step::read(self.link(), former).of_stranger()
            }
            46..49 => Step { aim: Aim::ReadsInClear, ..Step::read(self.link(), None).of_stranger() },
            // Somebody else takes the seat, and may leave the session.
            49..51 => self.sign_in(),
            _ => Step::read(self.link(), Some(cookie)),
        }
    }

    /// Whether the page is one of a user who may change nothing of the gateway.
    fn may_only_look(&self) -> bool {
        self.page.visitor().is_some_and(|(_, role)| role == "viewer" || role == "user")
    }

    /// A link of the page, or the first page; or, for somebody who has no link to them, any of the pages.
    fn link(&mut self) -> &'static str {
        const PAGES: [&str; 7] = ["/", "/clients", "/services", NETWORK, CHANGES, "/sessions", OWN];
        if self.page.visitor().is_some_and(|(_, role)| role == "user") {
            return PAGES.choose(&mut self.rng).expect("there are some");
        }
        let links = self.page.links();
        let known: Vec<_> = PAGES.into_iter().filter(|page| links.contains(page)).collect();
        known.choose(&mut self.rng).copied().unwrap_or("/")
    }

    fn sign_in(&mut self) -> Step {
        let account = *self.people.choose(&mut self.rng).expect("there are some");
        let is_right = !self.rng.random_ratio(1, 6);
        let password = if is_right { self.password } else { "a wrong one" };
        let fields = [("name", account.user), ("password", password)];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Step {
            path: SIGN_IN.to_owned(),
            cookie: self.cookie.clone(),
            aim: Aim::SignsIn(account, is_right),
            form: Some((body_of(&fields), own_origin())),
            is_own: true,
        }
    }

    fn ask(&mut self, step: &Step, now: Instant) {
        self.next_at = now + Duration::from_millis(self.rng.random_range(PAUSE_MILLIS));
        let mut channel = Channel::default();
        if step.aim != Aim::ReadsInClear {
            // Without a certificate to check by, nobody types a password.
            let Some(tls) = self.tls.connect(SERVER, now) else { return };
            channel.begin(tls);
        }
        let (gateway, own) = self.places[self.place];
        self.stack.set_address(Some((own.addr(), own.prefix_len())));
        self.stack.set_router(Some(gateway));
        let Some(handle) = connect(&mut self.stack, &mut self.rng, (gateway, PORT)) else { return };
        channel.say(step.request().as_bytes());
        let ask = Ask { path: step.path.clone(), cookie: step.cookie.clone(), aim: step.aim };
        self.see(Seen::Asks(ask.clone()));
        let until = now + ANSWER_TIMEOUT;
        self.asking = Some(Asking { handle, channel, ask, is_own: step.is_own, heard: Vec::new(), until });
    }

    fn end(&mut self, asking: Asking, end: End, now: Instant) {
        let answer = match end {
            End::Answered(answer) => {
                self.closing.close(&mut self.stack, asking.handle, now);
                answer
            }
            End::Disbelieved(why) => {
                self.see(Seen::Disbelieves(why));
                return self.lose(asking.handle, now);
            }
            End::Lost => return self.lose(asking.handle, now),
        };
        self.see(Seen::Told(answer.clone()));
        if !asking.is_own {
            return;
        }
        match asking.ask.aim {
            Aim::SignsIn(..) if answer.status == 303 => self.record.signed_in += 1,
            Aim::SignsIn(..) => self.record.refused += 1,
            _ if answer.status == 200 => {
                self.record.pages += 1;
                self.record.last_page_at = Some(now);
            }
            _ => {}
        }
        self.end_stage(asking.ask.aim, answer.status);
        if let Some(cookie) = answer.cookie {
            self.former = self.cookie.take().or(self.former.take());
            self.cookie = Some(cookie).filter(|cookie| !cookie.is_empty());
        }
        self.next = answer.location;
        if self.next.as_deref() == Some(SIGN_IN) && self.cookie.is_some() {
            // The session is over.
            self.former = self.cookie.take();
        }
        self.page = answer.page;
        if self.next.is_some() {
            self.next_at = now;
        }
    }

    /// No answer came: the gateway may have moved.
    fn lose(&mut self, handle: SocketHandle, now: Instant) {
        self.closing.abort(&mut self.stack, handle, now);
        self.see(Seen::Lost);
        self.record.lost += 1;
        self.moving = None;
        self.place = (self.place + 1) % self.places.len();
    }
}

/// How a request ended.
enum End {
    Answered(Answer),
    Disbelieved(String),
    Lost,
}

impl Asking {
    /// How it ended, once it has.
    fn work(&mut self, stack: &mut Stack, now: Instant) -> Option<End> {
        let socket = stack.tcp(self.handle);
        let broken = self.channel.receive_from(socket, &mut self.heard, ANSWER_OCTETS_MAX).err();
        if let Some(Error::InvalidCertificate(why)) = broken {
            return Some(End::Disbelieved(why.to_string()));
        }
        if let Some(answer) = Answer::of(&self.heard, COOKIE) {
            return Some(End::Answered(answer));
        }
        let socket = stack.tcp(self.handle);
        if socket.can_send() {
            self.channel.send_to(socket);
        }
        let is_over = !socket.is_open() || broken.is_some() || self.until <= now;
        is_over.then_some(End::Lost)
    }
}

impl Machine for Browser {
    fn mac(&self) -> MacAddr {
        self.stack.mac()
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        self.stack.handle_frame(frame);
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        turn(self, now, transmit, |it| &mut it.stack, |it| it.work(now));
        self.closing.forget(&mut self.stack, now);
        let until = self.asking.as_ref().map_or(self.next_at, |asking| asking.until);
        let timeouts = [Some(until), self.closing.poll_timeout(), self.stack.poll_timeout(now)];
        self.due = timeouts.into_iter().flatten().min();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// A [`Browsing`].
    fn record(&self) -> Arc<dyn Record> {
        Arc::new(self.record)
    }
}
