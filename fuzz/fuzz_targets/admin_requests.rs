//! Octets of a client to the administration, in clear or under TLS: nothing panics, each answer is whole, has the fields
//! that keep a page to itself, and belongs to a request; the site sees the requests that the stream has and no others,
//! none for another host; nothing of a page is told without a session, and to a plain user the own page alone; nobody
//! gets a password without the former one or a code; the gateway has an owner, so there is no first run; and it does not
//! matter how the stream is cut.
//!
//! The input is flags (1: in clear), how the stream is cut, and the stream. Some of its octets, which no request has,
//! stand for what a fuzzer cannot guess: see [`Stream`].

#![no_main]

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use gatepost_fuzz::Input;
use gatepost_fuzz::http::{Answer, Asked, answers, requests};
use gatepost_ground::{Instant, InterfaceId, Role as Side};
use gatepost_services::addresses::{Addresses, InterfaceAddresses, Publisher};
use gatepost_services::admin::{
    AskedCode, FORGOTTEN, FORMER_PASSWORD, Failure, Forgotten, Installer, OWN, OfficeAdmin, Pages, PasswordFault,
    Refusal, Settings, SetupAnswer, SignIn, TOKEN_FIELD, Visit, Visitor,
};
use gatepost_services::clock::{Clock, UnixTime};
use gatepost_services::crypto::signing::KeyKind;
use gatepost_services::crypto::tls::provider_that_repeats;
use gatepost_services::http::form::Form;
use gatepost_services::http::{BODY_OCTETS_MAX, Body, Request, Response, StatusCode};
use gatepost_services::net::{Listener, Net, Stream as Connection, UdpSocket};
use gatepost_services::service::{Host, LocalFuture, Service};
use gatepost_services::store::{Disk, Memory, Storage};
use gatepost_services::tls::authority::{Authority, Names};
use gatepost_services::tls::{Authorities, Peer, Tls};
use gatepost_services::users::office::OfficeLogins;
use gatepost_services::users::password::Prepared;
use gatepost_services::users::passwords::file_of;
use gatepost_services::users::verifier::{Cost, Verifiers};
use gatepost_services::users::{Role, User};
use gatepost_services::work::AtOnce;
use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, yield_now};

/// 2026-11-29T00:00:00Z.
const NOW: UnixTime = UnixTime(1_795_910_400);
const NAME: &str = "admin.office.example";
const HOST: &str = "admin.office.example:8080";
const ADDRESS: [u8; 4] = [192, 168, 1, 1];
const PASSWORD: &str = "blue+harbour+47";
const COOKIE: &str = "__Host-session=";
/// With which a client's handshake begins. (RFC 8446, section 5.1)
const HANDSHAKE: u8 = 22;
/// What the pages tell to those who have signed in.
const SECRET: &str = "of the office";
/// The most octets of a stream: more than any of the limits on a request.
const STREAM_OCTETS_MAX: usize = 64 * 1024;
/// The most octets of a file that the site takes, in place of those of a form.
const UPLOAD_OCTETS_MAX: usize = 2 * BODY_OCTETS_MAX;
/// The path of a page that takes a file.
const CHANGES: &str = "/changes";
/// The most octets that are answered to a request: the pages here are short.
const ANSWER_OCTETS_MAX: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (is_clear, cuts, template) = (input.u8() & 1 != 0, input.chunk(), input.rest());
    let whole = run(template, is_clear, &[]);
    if !cuts.is_empty() {
        let cut = run(template, is_clear, cuts);
        // How soon the end of a stream is found to be no request may depend on how it comes.
        let told = |answers: Vec<Answer>| answers.into_iter().filter(|it| !it.is_bare()).collect::<Vec<_>>();
        let (cut, whole) = (told(cut), told(whole));
        assert!(cut == whole, "cut at {cuts:?} it is answered by {cut:?} and not by {whole:?}");
    }
});

/// Asks an administration of its own, and checks what comes of it.
fn run(template: &[u8], is_clear: bool, cuts: &[u8]) -> Vec<Answer> {
    simulate(async {
        let office = Office::open().await;
        let sessions = office.sign_in().await;
        let stream = Stream::of(template, &sessions, &office.code);
        office.seen.take();
        let said = office.talk(&stream.0, cuts, is_clear).await;
        if is_clear && stream.0.first() == Some(&HANDSHAKE) {
            // What comes back is TLS.
            assert!(office.seen.take().is_empty());
            return Vec::new();
        }
        let asked = requests(&stream.0);
        let answers = answers(&said, &asked);
        let mut judge = Judge::new(&sessions, office.seen.take());
        for (number, answer) in answers.iter().enumerate() {
            let is_last = number + 1 == answers.len();
            match asked.get(number) {
                Some(asked) => judge.answer(asked, answer, is_clear, is_last),
                // The beginning of a request may be enough to refuse it.
                None => assert!(is_last && answer.is_bare(), "an answer to nothing: {answer:?}"),
            }
        }
        assert!(judge.seen.is_empty(), "the site has seen {:?}, which nobody asked", judge.seen);
        let is_over = answers.last().is_some_and(Answer::closes);
        let complete = asked.iter().filter(|asked| asked.is_complete).count();
        assert!(
            answers.len() >= complete || is_over || asked.iter().any(|asked| !asked.is_http_1_1()),
            "{complete} requests have {} answers",
            answers.len()
        );
        answers
    })
}

/// The octets of a client, made of an input by putting in what stands for it:
///
/// | octet | for |
/// | --- | --- |
/// | F1, F2 | the cookies of an owner's session and a viewer's |
/// | F3, F4 | the tokens of their forms |
/// | F5 | the fields Host and Origin |
/// | F9 | a ticket of the owner's |
/// | FA, FB | the cookie of a plain user's session, and the token of its forms |
/// | FC | the code for a password of an owner |
/// | F6 N | 256 N letters |
/// | F7 … F8 | the fields of a form, with the length of what stands between, an empty line, and that |
struct Stream(Vec<u8>);

impl Stream {
    fn of(template: &[u8], sessions: &[Session; 3], code: &str) -> Self {
        let (mut stream, mut rest) = (Vec::new(), template.iter());
        // Where the form under way begins.
        let mut form = None;
        while let Some(octet) = rest.next() {
            match octet {
                0xf1 | 0xf2 => stream.extend(format!("{COOKIE}{}", sessions[usize::from(octet - 0xf1)].cookie).bytes()),
                0xf3 | 0xf4 => stream.extend(sessions[usize::from(octet - 0xf3)].token.bytes()),
                0xf9 => stream.extend(sessions[0].ticket.bytes()),
                0xfa => stream.extend(format!("{COOKIE}{}", sessions[2].cookie).bytes()),
                0xfb => stream.extend(sessions[2].token.bytes()),
                0xfc => stream.extend(code.bytes()),
                0xf5 => stream.extend(format!("Host: {HOST}\r\nOrigin: https://{HOST}\r\n").bytes()),
                0xf6 => {
                    let count = 256 * usize::from(*rest.next().unwrap_or(&0));
                    stream.resize((stream.len() + count).min(STREAM_OCTETS_MAX), b'a');
                }
                0xf7 => form = Some(stream.len()),
                0xf8 => {
                    let Some(begin) = form.take() else { continue };
                    let body = stream.split_off(begin);
                    let kind = "application/x-www-form-urlencoded";
                    let head = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
                    stream.extend(head.bytes().chain(body));
                }
                octet => stream.push(*octet),
            }
        }
        stream.truncate(STREAM_OCTETS_MAX);
        Self(stream)
    }
}

/// What has been seen by the pages: the request, and who has sent it.
#[derive(Debug)]
struct Seen {
    method: String,
    path: String,
    host: String,
    user: Option<String>,
    /// Its body, and the values of some fields: requests with one path are told apart by them.
    body: Vec<u8>,
    fields: [Vec<String>; 3],
}

/// The names of [`Seen::fields`].
const FIELDS: [&str; 3] = ["host", "origin", "cookie"];

impl Seen {
    /// Whether `asked` may be the request.
    fn is(&self, asked: &Asked) -> bool {
        let is_called = (self.method.as_str(), self.path.as_str()) == (asked.method.as_str(), asked.path());
        let mut fields = FIELDS.iter().zip(&self.fields);
        is_called && self.body == asked.body && fields.all(|(name, values)| asked.fields(name).eq(values))
    }
}

/// Compares answers with requests.
struct Judge {
    /// By their cookies, the form tokens of all sessions that may be alive, as far as they are known.
    alive: BTreeMap<String, Option<String>>,
    seen: VecDeque<Seen>,
}

impl Judge {
    fn new(sessions: &[Session; 3], seen: Vec<Seen>) -> Self {
        let alive = sessions.iter().map(|it| (it.cookie.clone(), Some(it.token.clone()))).collect();
        Self { alive, seen: seen.into() }
    }

    fn answer(&mut self, asked: &Asked, answer: &Answer, is_clear: bool, is_last: bool) {
        let Answer { status, body, .. } = answer;
        assert!(is_last || !answer.closes(), "more is answered after the end: {answer:?}");
        assert!(body.len() <= ANSWER_OCTETS_MAX);
        if answer.is_bare() {
            return;
        }
        assert!(is_last || asked.is_complete, "{answer:?} to an incomplete request");
        for (name, part) in [
            ("content-security-policy", "default-src 'none'"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert!(answer.field(name).is_some_and(|value| value.contains(part)), "no {name} in {answer:?}");
        }
        assert_eq!(answer.field("date"), None);
        let is_seen = self.see(asked);
        let tells = String::from_utf8_lossy(body).contains(SECRET);
        if is_clear {
            let location = answer.field("location");
            assert!(!is_seen && !tells && answer.field("set-cookie").is_none());
            assert!(location.is_none_or(|it| it.starts_with("https://") && asked.names_host_of(it)), "{location:?}");
            return;
        }
        let session = self.session(asked);
        assert!(!tells || session.is_some(), "a page without a session: {asked:?}");
        let location = answer.field("location");
        let has_ticket = |location: &str| session.is_some() && location.starts_with(&way_to_enter());
        // There is no way to the first run.
        let is_known = |it: &str| {
            ["/", "/sign-in", "/sessions"].contains(&it) || session.is_some() && it == OWN || has_ticket(it)
        };
        assert!(location.is_none_or(is_known), "{location:?}");
        if asked.method == "HEAD" {
            return;
        }
        if let Some(session) = session.clone()
            && let Some((_, token)) = String::from_utf8_lossy(body).split_once("token=")
        {
            self.alive.insert(session, Some(token.trim().to_owned()));
        }
        let Some(cookie) = answer.field("set-cookie") else { return };
        assert!(
            (*status, asked.method.as_str()) == (303, "POST") && asked.has_origin(),
            "a session begins or ends by {asked:?}"
        );
        assert!(["; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"].iter().all(|it| cookie.contains(it)));
        let value = cookie.strip_prefix(COOKIE).and_then(|rest| rest.split(';').next()).expect("the session's cookie");
        // What is in a form stands in it as it is, unless somebody has escaped its octets.
        let has = |text: &str| String::from_utf8_lossy(&asked.body).contains(text) || asked.body.contains(&b'%');
        match (asked.path(), session) {
            ("/sign-in", former) => {
                assert!(value.len() == 43 && has("name"));
                former.and_then(|former| self.alive.remove(&former));
                self.alive.insert(value.to_owned(), None);
            }
            ("/enter", former) => {
                assert!(value.len() == 43 && has("ticket"));
                former.and_then(|former| self.alive.remove(&former));
                self.alive.insert(value.to_owned(), None);
            }
            ("/sign-out", Some(session)) => {
                assert_eq!(value, "");
                let token = self.alive.remove(&session).flatten();
                assert!(token.is_none_or(|token| has(&token)), "{asked:?}");
            }
            // With another password another session begins.
            (OWN, Some(session)) => {
                assert!(is_seen && value.len() == 43 && has(FORMER_PASSWORD));
                let token = self.alive.remove(&session).flatten();
                assert!(token.is_none_or(|token| has(&token)), "{asked:?}");
                self.alive.insert(value.to_owned(), None);
            }
            _ => panic!("{asked:?} begins or ends a session"),
        }
    }

    /// Whether the pages have seen the request, of which they have to have seen what it is.
    fn see(&mut self, asked: &Asked) -> bool {
        let mut is_seen = false;
        // A GET is seen as one for a file, and then perhaps as one for a page; a POST once.
        while let Some(seen) = self.seen.pop_front_if(|seen| {
            seen.is(asked) && (!is_seen || seen.user.is_some() && asked.method != "POST")
        }) {
            assert!(asked.names_host(&seen.host), "{seen:?} by {asked:?}");
            assert!(seen.user.is_none() || self.session(asked).is_some(), "{seen:?} by {asked:?}");
            assert!(seen.method != "POST" || asked.has_origin(), "a form of another site: {asked:?}");
            is_seen = true;
        }
        is_seen
    }

    /// The cookie of the session that the request may belong to.
    fn session(&self, asked: &Asked) -> Option<String> {
        let cookies = asked.fields("cookie").flat_map(|field| field.split(';')).map(str::trim);
        let cookie = cookies.filter_map(|pair| pair.strip_prefix(COOKIE)).next()?;
        self.alive.contains_key(cookie).then(|| cookie.to_owned())
    }
}

/// A session by its cookie, and the token of its forms.
#[derive(Debug, PartialEq, Eq)]
struct Session {
    cookie: String,
    token: String,
    /// A ticket that signs in once.
    ticket: String,
}

/// The way to the gateway's new address up to the ticket.
fn way_to_enter() -> String {
    format!("https://{HOST}/enter?ticket=")
}

/// The code for a password of an owner, until it is used.
type Unused = Rc<RefCell<Option<String>>>;

/// Pages that say who sees them, and remember what was asked.
struct Plain {
    seen: Rc<RefCell<Vec<Seen>>>,
    code: Unused,
}

impl Plain {
    fn see(&self, request: &Request, visitor: Option<&Visitor>) {
        assert_eq!(request.peer, CLIENT.ip());
        let is_owner = visitor.is_some_and(|visitor| visitor.user.role == Role::Owner);
        let octets_max = if is_owner && request.path == CHANGES { UPLOAD_OCTETS_MAX } else { BODY_OCTETS_MAX };
        assert!(request.body.len() <= octets_max, "{} octets", request.body.len());
        let seen = Seen {
            method: request.method.to_string(),
            path: request.path.clone(),
            host: request.host.to_string(),
            user: visitor.map(|visitor| visitor.user.name.clone()),
            body: request.body.clone(),
            fields: FIELDS.map(|name| {
                let values = request.fields.get_all(name).iter();
                values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
            }),
        };
        self.seen.borrow_mut().push(seen);
    }

    /// Whether `entered` is the code, in any case and with any dashes and spaces.
    fn is_code(&self, entered: &str) -> bool {
        let plain = |text: &str| {
            let kept: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
            kept.to_ascii_uppercase().replace('O', "0").replace(['I', 'L'], "1")
        };
        self.code.borrow().as_ref().is_some_and(|code| plain(code) == plain(entered))
    }
}

/// Whether `form` is of the visitor's own session.
fn is_own(form: &Form, visitor: &Visitor) -> bool {
    form.get(TOKEN_FIELD) == Some(&*visitor.form_token)
}

impl Pages for Plain {
    fn file(&self, request: &Request) -> Option<Response> {
        self.see(request, None);
        (request.path == "/style.css").then(|| Response::text(StatusCode::OK, "style"))
    }

    fn sign_in(&self, visit: Visit<'_>, state: &SignIn) -> Response {
        assert!(!state.is_first_run);
        Response::text(StatusCode::OK, &format!("{} characters, {}", state.name.chars().count(), visit.has_authority))
    }

    fn enter(&self, _: Visit<'_>, ticket: &str) -> Response {
        Response::text(StatusCode::OK, &format!("{} characters", ticket.chars().count()))
    }

    fn code(&self, _: Visit<'_>, _: Option<Refusal>) -> Response {
        panic!("there is an owner")
    }

    fn setup<'a>(&'a self, _: Visit<'a>, _: &'a Installer, _: Option<&'a Form>) -> LocalFuture<'a, SetupAnswer> {
        panic!("there is an owner")
    }

    fn forgotten(&self, _: Visit<'_>, state: &Forgotten) -> Response {
        Response::text(StatusCode::OK, &format!("{} characters, {:?}", state.name.chars().count(), state.fault))
    }

    fn password_refused<'a>(
        &'a self,
        visit: Visit<'a>,
        visitor: &'a Visitor,
        fault: PasswordFault,
    ) -> LocalFuture<'a, Response> {
        Box::pin(async move {
            if let PasswordFault::Former(_) = fault {
                self.see(visit.request, Some(visitor));
            }
            let line = format!("{SECRET} for {}: {fault:?} token={}", visitor.user.name, visitor.form_token);
            Response::text(StatusCode::OK, &line)
        })
    }

    fn set_password<'a>(
        &'a self,
        visit: Visit<'a>,
        user: &'a User,
        form: &'a Form,
    ) -> LocalFuture<'a, Result<(), String>> {
        Box::pin(async move {
            self.see(visit.request, visit.visitor);
            let is_weak = form.get("password") == Some("weak");
            match (visit.request.path.as_str(), visit.visitor) {
                (OWN, Some(visitor)) => {
                    assert!(visitor.user == *user && is_own(form, visitor), "{form:?}");
                    let former = form.get(FORMER_PASSWORD).and_then(|former| Prepared::new(former).ok());
                    assert!(former == Prepared::new(&PASSWORD.replace('+', " ")).ok(), "{form:?}");
                }
                (FORGOTTEN, _) => {
                    assert!(user.role == Role::Owner && form.get("name") == Some(&*user.name), "{form:?}");
                    assert!(form.get("code").is_some_and(|entered| self.is_code(entered)), "{form:?}");
                    self.code.borrow_mut().take_if(|_| !is_weak);
                }
                (path, _) => panic!("a password of {} by a form to {path}", user.name),
            }
            // The one in force stays: others sign in by it.
            if is_weak { Err("it is weak".to_owned()) } else { Ok(()) }
        })
    }

    fn upload_octets_max(&self, path: &str) -> Option<usize> {
        (path == CHANGES).then_some(UPLOAD_OCTETS_MAX)
    }

    fn page<'a>(&'a self, visit: Visit<'a>, visitor: &'a Visitor) -> LocalFuture<'a, Option<Response>> {
        Box::pin(async move {
            self.see(visit.request, Some(visitor));
            let path = visit.request.path.as_str();
            assert!(visitor.user.role != Role::User || path == OWN, "{} sees {path}", visitor.user.name);
            let line = format!("{SECRET} for {}", visitor.user.name);
            match path {
                "/" | OWN => {
                    let line = format!("{line} token={}", visitor.form_token);
                    Some(Response::text(StatusCode::OK, &line))
                }
                "/events" => Some(Response::events(async move |mut events| {
                    events.send("first", &line).await;
                    yield_now().await;
                    events.send("second", &line).await;
                })),
                "/download" => {
                    let body = Body::download(async move |mut writer| {
                        writer.send(line.clone()).await;
                        yield_now().await;
                        writer.send(line).await;
                        Ok(())
                    });
                    Some(Response { body, ..Response::text(StatusCode::OK, "") })
                }
                _ => None,
            }
        })
    }

    fn submit<'a>(
        &'a self,
        visit: Visit<'a>,
        visitor: &'a Visitor,
        form: &'a Form,
    ) -> LocalFuture<'a, Option<Response>> {
        Box::pin(async move {
            self.see(visit.request, Some(visitor));
            let path = visit.request.path.as_str();
            assert!((visitor.may_change() || path == OWN) && is_own(form, visitor));
            assert!(path != OWN || form.get(FORMER_PASSWORD).is_none(), "no page sets a password");
            let line = format!("{SECRET} is changed by {}", visitor.user.name);
            [CHANGES, OWN].contains(&path).then(|| Response::text(StatusCode::OK, &line))
        })
    }

    fn failure(&self, _: Visit<'_>, failure: Failure) -> Response {
        Response::text(StatusCode::FORBIDDEN, &format!("{failure:?}"))
    }
}

/// The administration of an office, at the other end of wires in memory.
struct Office {
    wires: mpsc::UnboundedSender<Wire>,
    client: Tls,
    seen: Rc<RefCell<Vec<Seen>>>,
    /// The code for a password of an owner.
    code: String,
}

const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 168, 1, 50)), 40_000);

impl Office {
    async fn open() -> Self {
        let clock: Rc<dyn Clock> = Rc::new(Simulated(tokio::time::Instant::now()));
        let storage: Arc<dyn Storage> = Arc::new(Memory::new());
        let people = [("olga", Role::Owner), ("vera", Role::Viewer), ("ute", Role::User)];
        let verifiers = MADE.with(|made| made.verifiers.clone());
        for (name, _) in people {
            storage.replace(&file_of(name), &verifiers).expect("memory takes it");
        }
        let user = |(name, role): (&str, _)| User { name: name.into(), full_name: String::new(), role, quota: 0 };
        let inside = InterfaceAddresses {
            id: InterfaceId(0),
            name: "lan",
            role: Side::Inside,
            addresses: vec!["192.168.1.1/24".parse().expect("a network")],
            gateways: Vec::new(),
            routes: Vec::new(),
            name_servers: Vec::new(),
        };
        let addresses = Publisher::new(Addresses { interfaces: vec![inside] });
        let (server, client) = MADE.with(|made| (made.pair)(&clock));
        let seen = Rc::<RefCell<Vec<Seen>>>::default();
        let (wires, accepted) = mpsc::unbounded_channel();
        let wired = Wired(Rc::new(RefCell::new(Some(accepted))));
        let work = Rc::new(AtOnce);
        let disk = Disk::new(Arc::clone(&storage), Rc::clone(&work) as _);
        let rng = StdRng::seed_from_u64(2);
        let host = Host::new(wired, (storage, disk), work, clock, addresses.subscribe(), rng);
        let host = host.with_tls(Rc::new(server));
        let logins = Rc::new(OfficeLogins::new(Cost::LEAST));
        let unused = Unused::default();
        let pages = Plain { seen: Rc::clone(&seen), code: Rc::clone(&unused) };
        let admin = OfficeAdmin::new(Rc::new(pages), logins);
        let settings = Settings {
            enabled: true,
            ports: vec![8080],
            moves_to: Some(HOST.to_owned()),
            names: vec![NAME.to_owned()],
            users: people.map(user).to_vec(),
            domains: Vec::new(),
        };
        let instance = admin.prepare(settings, &host).await.expect("it can listen");
        instance.activate();
        let Some(AskedCode::Password { code, site }) = admin.codes().ask().await else { panic!("there is an owner") };
        assert!(site.ends_with(FORGOTTEN) && admin.codes().first().is_none());
        let code = code.to_string();
        unused.replace(Some(code.clone()));
        tokio::task::spawn_local(async move {
            let _kept = addresses;
            instance.run().await;
        });
        Self { wires, client, seen, code }
    }

    /// The sessions of an owner, of a viewer and of a plain user.
    async fn sign_in(&self) -> [Session; 3] {
        let head = format!("Host: {HOST}\r\nOrigin: https://{HOST}\r\n");
        let mut sessions = Vec::new();
        for name in ["olga", "vera", "ute"] {
            let form = format!("name={name}&password={PASSWORD}");
            let post = format!(
                "POST /sign-in HTTP/1.1\r\n{head}Content-Type: application/x-www-form-urlencoded\r\n\
                 Connection: close\r\nContent-Length: {}\r\n\r\n{form}",
                form.len()
            );
            let said = self.talk(post.as_bytes(), &[], false).await;
            let said = String::from_utf8(said).expect("text");
            let (_, rest) = said.split_once(COOKIE).expect("a session");
            let cookie = rest.split(';').next().expect("a value").to_owned();
            let get = |path, rest| format!("GET {path} HTTP/1.1\r\n{head}Cookie: {COOKIE}{cookie}\r\n{rest}\r\n");
            let both = get(OWN, "") + &get("/move", "Connection: close\r\n");
            let said = String::from_utf8(self.talk(both.as_bytes(), &[], false).await).expect("text");
            let (_, rest) = said.split_once("token=").expect("a page");
            let (token, rest) = rest.split_once('\n').expect("its end");
            let token = token.to_owned();
            let (_, rest) = rest.split_once(&way_to_enter()).expect("a ticket");
            let ticket = rest.split('\r').next().expect("its end").to_owned();
            sessions.push(Session { cookie, token, ticket });
        }
        sessions.try_into().expect("three")
    }

    /// All that is answered to `octets` until the connection ends.
    async fn talk(&self, octets: &[u8], cuts: &[u8], is_clear: bool) -> Vec<u8> {
        let (client, server) = tokio::io::duplex(1 << 14);
        let gateway = SocketAddr::from((ADDRESS, 8080));
        self.wires.send(Wire { pipe: server, local: gateway, peer: CLIENT }).expect("it listens");
        let wire = Wire { pipe: client, local: CLIENT, peer: gateway };
        if is_clear {
            return exchange(wire, octets, cuts).await;
        }
        let stream = self.client.connect(wire, Peer::Named(NAME)).await.expect("a handshake");
        exchange(stream, octets, cuts).await
    }
}

/// Says `octets`, cut so, and returns all that is heard.
async fn exchange(stream: impl Connection, octets: &[u8], cuts: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let says = async {
        let (mut rest, mut cuts) = (octets, cuts.iter());
        while !rest.is_empty() {
            let len = cuts.next().map_or(rest.len(), |cut| usize::from(*cut).clamp(1, rest.len()));
            let (portion, after) = rest.split_at(len);
            // A refused connection may be closed already.
            if writer.write_all(portion).await.is_err() || writer.flush().await.is_err() {
                break;
            }
            rest = after;
            for _ in 0..4 {
                yield_now().await;
            }
        }
    };
    let hears = async {
        let mut heard = Vec::new();
        _ = reader.read_to_end(&mut heard).await;
        heard
    };
    let ((), heard) = tokio::join!(says, hears);
    heard
}

fn simulate<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), test)
}

/// What is made once, as that takes long.
struct Made {
    verifiers: Vec<u8>,
    /// The TLS of a server, and of a client that trusts its authority.
    pair: Box<dyn Fn(&Rc<dyn Clock>) -> (Tls, Tls)>,
}

thread_local! {
    static MADE: Made = Made::new();
}

impl Made {
    fn new() -> Self {
        let rng = &mut StdRng::seed_from_u64(1);
        let password = Prepared::new(&PASSWORD.replace('+', " ")).expect("a password");
        let verifiers = Verifiers::of(&password, Cost::LEAST, rng).expect("the cost is valid");
        let names = Names::new("gatepost", "office.example", [ADDRESS.into()]);
        let made = Authority::make(KeyKind::Ed25519, &names, NOW, rng).expect("names");
        let leaf = made.sign(KeyKind::Ed25519, &names, NOW, rng).expect("its own names");
        let authorities = Authorities::from_pem(made.certificate_pem().as_bytes()).expect("a certificate");
        let provider = provider_that_repeats(StdRng::from_rng(rng));
        let pair = move |clock: &Rc<dyn Clock>| {
            let tls = || Tls::new(Arc::clone(&provider), Rc::clone(clock));
            let (server, client) = (tls(), tls());
            server.set_identity(&leaf.identity(NOW, server.provider()).expect("it is sound"));
            client.set_authorities(&authorities);
            (server, client)
        };
        Self { verifiers: verifiers.to_file().expect("a file"), pair: Box::new(pair) }
    }
}

/// A clock of the runtime's time.
struct Simulated(tokio::time::Instant);

impl Clock for Simulated {
    fn now(&self) -> Instant {
        Instant::from_secs(1000) + self.0.elapsed()
    }

    fn unix_time(&self) -> UnixTime {
        UnixTime(NOW.0 + self.0.elapsed().as_secs())
    }
}

/// A network whose listener accepts the wires that come by a queue.
#[derive(Clone)]
struct Wired(Rc<RefCell<Option<mpsc::UnboundedReceiver<Wire>>>>);

struct Accepting(tokio::sync::Mutex<mpsc::UnboundedReceiver<Wire>>, SocketAddr);

/// There is no UDP.
enum NoUdp {}

impl Net for Wired {
    type Listener = Accepting;
    type Stream = Wire;
    type Udp = NoUdp;

    async fn listen(&self, local: SocketAddr) -> io::Result<Accepting> {
        let wires = self.0.borrow_mut().take().ok_or(io::ErrorKind::AddrInUse)?;
        Ok(Accepting(tokio::sync::Mutex::new(wires), local))
    }

    async fn connect(&self, _: SocketAddr) -> io::Result<Wire> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn bind_udp(&self, _: SocketAddr) -> io::Result<NoUdp> {
        Err(io::ErrorKind::AddrNotAvailable.into())
    }
}

impl Listener for Accepting {
    type Stream = Wire;

    async fn accept(&self) -> io::Result<Wire> {
        self.0.lock().await.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    fn local_addr(&self) -> SocketAddr {
        self.1
    }
}

impl UdpSocket for NoUdp {
    async fn recv_from(&self, _: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match *self {}
    }

    async fn send_to(&self, _: &[u8], _: SocketAddr) -> io::Result<()> {
        match *self {}
    }

    fn local_addr(&self) -> SocketAddr {
        match *self {}
    }
}

/// One end of a connection in memory.
struct Wire {
    pipe: DuplexStream,
    local: SocketAddr,
    peer: SocketAddr,
}

impl Connection for Wire {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}
