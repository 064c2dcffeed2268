//! Sign-in, sessions and forms, as octets under TLS.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::{InterfaceId, Role as Side};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::instance::AdminInstance;
use super::seats::Guest;
use super::site::AdminSite;
use super::*;
use crate::addresses::{Addresses, InterfaceAddresses, Publisher};
use crate::http::form::Form;
use crate::http::testing::{CANONICAL, Lab, Simulated, request, simulate};
use crate::http::{
    BODY_OCTETS_MAX, Body, End, GROWING_TIME_MAX, Method, Request, Response, Site, StatusCode, header,
};
use crate::net::kernel::Kernel;
use crate::store::{Memory, Storage};
use crate::users::limit::Limits;
use crate::users::password::Prepared;
use crate::users::verifier::{Cost, Verifiers};
use crate::users::{Role, passwords};
use crate::work::AtOnce;

mod first_run;

const PASSWORD: &str = "blue harbour 47";

thread_local! {
    /// The forms that have done, in a test's thread, what takes a while.
    static SLOW_DONE: Cell<u32> = const { Cell::new(0) };
}

/// Pages that say what they were told.
struct Plain;

impl Pages for Plain {
    fn file(&self, request: &Request) -> Option<Response> {
        (request.path == "/style.css").then(|| Response::text(StatusCode::OK, "style"))
    }

    fn sign_in(&self, visit: Visit<'_>, state: &SignIn) -> Response {
        Response::text(StatusCode::OK, &format!("{state:?} {}", visit.visitor.is_some()))
    }

    fn page<'a>(&'a self, visit: Visit<'a>, visitor: &'a Visitor) -> LocalFuture<'a, Option<Response>> {
        Box::pin(async move {
            let Visitor { user, form_token, sessions, .. } = visitor;
            let sessions: Vec<_> = sessions.iter().map(|it| format!("{}:{}", it.number, it.user)).collect();
            let line = format!("page of {} token={form_token} sessions={}", user.name, sessions.join(","));
            match visit.request.path.as_str() {
                path if ["/", OWN].contains(&path) => Some(Response::text(StatusCode::OK, &line)),
                "/events" => Some(Response::events(async |mut events| {
                    events.send("hello", "you").await;
                    std::future::pending::<()>().await;
                })),
                "/download" => Some(Response {
                    body: Body::download(async |mut writer| {
                        writer.send("a part").await;
                        std::future::pending().await
                    }),
                    ..Response::text(StatusCode::OK, "")
                }),
                _ => None,
            }
        })
    }

    fn code(&self, _: Visit<'_>, refusal: Option<Refusal>) -> Response {
        Response::text(StatusCode::OK, &format!("code please: {refusal:?}"))
    }

    fn setup<'a>(
        &'a self,
        visit: Visit<'a>,
        installer: &'a Installer,
        form: Option<&'a Form>,
    ) -> LocalFuture<'a, SetupAnswer> {
        Box::pin(async move {
            match form.and_then(|form| form.get("owner")) {
                Some(owner) => {
                    SetupAnswer::Owned { owner: owner.to_owned(), page: Response::see_other("/check") }
                }
                None => {
                    let Installer { session, form_token } = installer;
                    let line = format!("wizard {session} at {} token={form_token} ", visit.request.path);
                    SetupAnswer::Page(Response::text(StatusCode::OK, &line))
                }
            }
        })
    }

    fn forgotten(&self, _: Visit<'_>, state: &Forgotten) -> Response {
        Response::text(StatusCode::OK, &format!("{state:?}"))
    }

    fn password_refused<'a>(
        &'a self,
        _: Visit<'a>,
        visitor: &'a Visitor,
        fault: PasswordFault,
    ) -> LocalFuture<'a, Response> {
        Box::pin(async move { Response::text(StatusCode::OK, &format!("{} {fault:?}", visitor.user.name)) })
    }

    fn set_password<'a>(
        &'a self,
        _: Visit<'a>,
        user: &'a User,
        form: &'a Form,
    ) -> LocalFuture<'a, Result<(), String>> {
        let password = form.get("password").unwrap_or_default();
        let result = if password == "weak" { Err("it is weak".to_owned()) } else { Ok(()) };
        Box::pin(async move { result.map(|()| tracing::info!("{} gets a password", user.name)) })
    }

    fn enter(&self, _: Visit<'_>, ticket: &str) -> Response {
        Response::text(StatusCode::OK, &format!("enter with {ticket}"))
    }

    fn submit<'a>(
        &'a self,
        visit: Visit<'a>,
        visitor: &'a Visitor,
        form: &'a Form,
    ) -> LocalFuture<'a, Option<Response>> {
        Box::pin(async move {
            if form.get("value") == Some("slow") {
                sleep(Duration::from_secs(1)).await;
                SLOW_DONE.set(SLOW_DONE.get() + 1);
            }
            let line = format!("{} sets {:?}", visitor.user.name, form.get("value"));
            (visit.request.path == "/").then(|| Response::text(StatusCode::OK, &line))
        })
    }

    fn upload_octets_max(&self, path: &str) -> Option<usize> {
        (path == "/").then_some(UPLOAD_OCTETS_MAX)
    }

    fn failure(&self, _: Visit<'_>, failure: Failure) -> Response {
        Response::text(StatusCode::FORBIDDEN, &format!("{failure:?}"))
    }
}

/// The room that the site has for a file at `/`.
const UPLOAD_OCTETS_MAX: usize = 3 * BODY_OCTETS_MAX;

fn user(name: &str, role: Role) -> User {
    User { name: name.to_owned(), full_name: String::new(), role, quota: 1 << 20 }
}

/// Olga owns, Vera views, Ute is a user, and all have the same password, except for Otto, who has none.
fn people() -> Vec<User> {
    [("olga", Role::Owner), ("vera", Role::Viewer), ("ute", Role::User), ("otto", Role::Owner)]
        .map(|(name, role)| user(name, role))
        .to_vec()
}

fn set_password(storage: &dyn Storage, name: &str, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let verifiers = Verifiers::of(&Prepared::new(PASSWORD).expect("a password"), Cost::LEAST, &mut rng);
    let file = verifiers.expect("cost").to_file().expect("a file");
    storage.replace(&passwords::file_of(name), &file).expect("room");
}

fn site(users: Vec<User>, clock: &Rc<dyn crate::clock::Clock>) -> Rc<AdminSite> {
    let storage = Arc::new(Memory::default());
    let rng = StdRng::seed_from_u64(1);
    for name in ["olga", "vera", "ute"] {
        set_password(&*storage, name, 1);
    }
    let inside = InterfaceAddresses {
        id: InterfaceId(0),
        name: "lan",
        role: Side::Inside,
        addresses: vec!["192.168.1.1/24".parse().expect("a network")],
        gateways: Vec::new(),
        routes: Vec::new(),
        name_servers: Vec::new(),
    };
    let addresses = Publisher::new(Addresses { interfaces: vec![inside] }).subscribe();
    let logins = Rc::new(OfficeLogins::new(Cost::LEAST));
    logins.set_users(&users, &[]);
    let tls = Rc::new(crate::tls::testing::pair(clock).0);
    Rc::new(AdminSite {
        state: Rc::clone(&OfficeAdmin::new(Rc::new(Plain), logins).state),
        settings: Settings {
            enabled: true,
            ports: vec![465],
            moves_to: Some(CANONICAL.to_owned()),
            names: vec!["admin.office.example".to_owned()],
            users,
            domains: Vec::new(),
        },
        tls,
        clock: Rc::clone(clock),
        addresses,
        storage,
        work: Rc::new(AtOnce),
        rng: RefCell::new(rng),
    })
}

fn lab() -> Lab<AdminSite> {
    lab_of(people())
}

fn lab_of(users: Vec<User>) -> Lab<AdminSite> {
    let clock = Simulated::clock();
    Lab::new(site(users, &clock), clock)
}

/// A request of a browser's; `None` for no field.
#[derive(Clone, Default)]
struct Browser {
    cookie: Option<String>,
    origin: Option<String>,
}

impl Browser {
    fn new() -> Self {
        Self { cookie: None, origin: Some(format!("https://{CANONICAL}")) }
    }

    fn fields(&self) -> String {
        let cookie = self.cookie.iter().map(|cookie| format!("Cookie: a=b; {cookie}\r\n"));
        let origin = self.origin.iter().map(|origin| format!("Origin: {origin}\r\n"));
        cookie.chain(origin).collect()
    }

    async fn get(&self, lab: &Lab<impl Site>, path: &str) -> String {
        let fields = self.fields();
        lab.ask(&format!("GET {path} HTTP/1.1\r\nHost: {CANONICAL}\r\n{fields}Connection: close\r\n\r\n"))
            .await
    }

    async fn post(&self, lab: &Lab<impl Site>, path: &str, form: &str) -> String {
        let fields = self.fields();
        lab.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: {CANONICAL}\r\n{fields}Content-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\n{form}",
            form.len()
        ))
        .await
    }

    /// Signs in, and keeps the cookie.
    async fn sign_in(&mut self, lab: &Lab<impl Site>, name: &str, password: &str) -> String {
        let form = format!("name={name}&password={}", password.replace(' ', "+"));
        let answer = self.post(lab, SIGN_IN, &form).await;
        if let Some((_, cookie)) = answer.split_once("set-cookie: ") {
            self.cookie = cookie.split_once(';').map(|(cookie, _)| cookie.to_owned());
        }
        answer
    }

    /// The token of its session's forms.
    async fn token(&self, lab: &Lab<impl Site>) -> String {
        let page = self.get(lab, "/").await;
        let (_, token) = page.split_once("token=").expect("a page");
        token.split(' ').next().expect("a token").to_owned()
    }
}

async fn signed_in(lab: &Lab<impl Site>, name: &str) -> Browser {
    let mut browser = Browser::new();
    let answer = browser.sign_in(lab, name, PASSWORD).await;
    assert!(answer.starts_with("HTTP/1.1 303") && answer.contains("location: /\r\n"), "{answer}");
    browser
}

#[test]
fn a_viewer_signs_in_sees_the_pages_and_signs_out() {
    simulate(async {
        let lab = lab();
        let stranger = Browser::new();
        for path in ["/", "/clients", "/none"] {
            assert!(stranger.get(&lab, path).await.contains("location: /sign-in\r\n"));
        }
        assert!(stranger.get(&lab, "/style.css").await.ends_with("style\n"));
        assert!(stranger.get(&lab, SIGN_IN).await.contains("refusal: None, is_first_run: false"));
        let mut browser = Browser::new();
        let answer = browser.sign_in(&lab, "vera", PASSWORD).await;
        let cookie = answer.lines().find(|line| line.starts_with("set-cookie")).expect("a cookie");
        assert!(cookie.starts_with("set-cookie: __Host-session=") && cookie.ends_with("; Max-Age=43200"));
        assert!(
            ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"].iter().all(|it| cookie.contains(it)),
            "{cookie}"
        );
        assert!(browser.get(&lab, "/").await.contains("page of vera"));
        assert!(browser.get(&lab, "/none").await.contains("NotFound"));
        let token = browser.token(&lab).await;
        let answer = browser.post(&lab, SIGN_OUT, &format!("token={token}")).await;
        assert!(answer.contains("location: /sign-in\r\n") && answer.contains("Max-Age=0"), "{answer}");
        assert!(browser.get(&lab, "/").await.contains("location: /sign-in\r\n"));
    });
}

#[test]
fn a_login_rotates_the_session() {
    simulate(async {
        let lab = lab();
        let before = signed_in(&lab, "vera").await;
        let mut browser = before.clone();
        browser.sign_in(&lab, "vera", PASSWORD).await;
        assert_ne!(browser.cookie, before.cookie);
        assert!(before.get(&lab, "/").await.contains("/sign-in"), "the former session is over");
        assert!(browser.get(&lab, "/").await.contains("sessions=2:vera\n"));
        // A cookie that somebody else has set is no session.
        let mut fixed = Browser { cookie: Some("__Host-session=fixed".to_owned()), ..Browser::new() };
        assert!(fixed.get(&lab, "/").await.contains("/sign-in"));
        fixed.sign_in(&lab, "vera", PASSWORD).await;
        assert_ne!(fixed.cookie.as_deref(), Some("__Host-session=fixed"));
        sleep(SESSION_TIME_MAX).await;
        assert!(browser.get(&lab, "/").await.contains("/sign-in"), "12 hours are over");
    });
}

#[test]
fn wrong_logins_are_refused_and_limited() {
    simulate(async {
        let lab = lab();
        let mut browser = Browser::new();
        for (name, password) in [("vera", "wrong"), ("nobody", PASSWORD), ("otto", PASSWORD), ("", "")] {
            let answer = browser.sign_in(&lab, name, password).await;
            assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("Some(Wrong)"), "{answer}");
            assert_eq!(browser.cookie, None);
        }
        for number in 0..Limits::default().user.burst {
            browser.sign_in(&lab, "vera", &format!("wrong {number}")).await;
        }
        let answer = browser.sign_in(&lab, "vera", PASSWORD).await;
        assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
        let told = answer.split_once("retry-after: ").and_then(|(_, rest)| rest.split_once('\r'));
        let told: u64 = told.expect("a time").0.parse().expect("seconds");
        let (_, wait) = answer.split_once("TooMany(").expect("a time");
        let whole: f64 = wait.split_once("s)").expect("seconds").0.parse().expect("seconds");
        assert!(told as f64 > whole, "{answer}");
        let stats = lab.site.state.stats.borrow().clone();
        assert!(stats.logins_failed >= 10 && stats.logins_limited >= 1, "{stats:?}");
        sleep(Duration::from_secs(3600)).await;
        signed_in(&lab, "vera").await;
    });
}

#[test]
fn a_page_s_form_is_for_those_who_may_change_something() {
    simulate(async {
        let mut people = people();
        people.push(user("otto", Role::Operator));
        people.retain(|user| user.name != "otto" || user.role == Role::Operator);
        let lab = lab_of(people);
        set_password(&*lab.site.storage, "otto", 1);
        for (name, expected) in
            [("olga", "olga sets Some(\"a b\")"), ("otto", "otto sets Some(\"a b\")"), ("vera", "ReadOnly")]
        {
            let browser = signed_in(&lab, name).await;
            let token = browser.token(&lab).await;
            let answer = browser.post(&lab, "/", &format!("token={token}&value=a+b")).await;
            assert!(answer.ends_with(&format!("{expected}\n")), "{name}: {answer}");
            let stale = browser.post(&lab, "/", "value=a+b").await;
            assert!(stale.ends_with("StaleForm\n"), "{name}: {stale}");
        }
        assert_eq!(lab.site.state.stats.borrow().forms_refused, 4);
        let browser = signed_in(&lab, "olga").await;
        let token = browser.token(&lab).await;
        assert!(browser.post(&lab, "/none", &format!("token={token}")).await.ends_with("NotFound\n"));
    });
}

#[test]
fn a_ticket_signs_in_once_at_the_new_address() {
    simulate(async {
        let lab = lab();
        let stranger = Browser::new();
        assert!(stranger.get(&lab, MOVE).await.contains("location: /sign-in\r\n"));
        let browser = signed_in(&lab, "olga").await;
        let ticket = async || {
            let answer = browser.get(&lab, MOVE).await;
            let way = format!("location: https://{CANONICAL}/enter?ticket=");
            let (_, rest) = answer.split_once(&way).unwrap_or_else(|| panic!("{answer}"));
            rest.split_once('\r').expect("its end").0.to_owned()
        };
        let first = ticket().await;
        let page = stranger.get(&lab, &format!("/enter?ticket={first}")).await;
        assert!(page.ends_with(&format!("enter with {first}\n")) && !page.contains("set-cookie"), "{page}");
        let foreign = Browser { origin: Some("https://evil.example".to_owned()), cookie: None };
        assert!(foreign.post(&lab, ENTER, &format!("ticket={first}")).await.contains("ForeignForm"));
        let entered = stranger.post(&lab, ENTER, &format!("ticket={first}")).await;
        assert!(entered.contains("location: /\r\n") && entered.contains("SameSite=Strict"), "{entered}");
        let again = stranger.post(&lab, ENTER, &format!("ticket={first}")).await;
        assert!(again.contains("location: /sign-in\r\n") && !again.contains("set-cookie"), "{again}");
        assert!(
            browser.get(&lab, "/").await.contains("sessions=2:olga,1:olga"),
            "the former session goes on"
        );
        let late = ticket().await;
        sleep(TICKET_TIME_MAX).await;
        assert!(stranger.post(&lab, ENTER, &format!("ticket={late}")).await.contains("/sign-in\r\n"));
        let orphan = ticket().await;
        let token = browser.token(&lab).await;
        browser.post(&lab, SIGN_OUT, &format!("token={token}")).await;
        assert!(stranger.post(&lab, ENTER, &format!("ticket={orphan}")).await.contains("/sign-in\r\n"));
        assert!(stranger.post(&lab, ENTER, "").await.ends_with("BrokenForm\n"));
    });
}

#[test]
fn without_a_new_address_there_is_no_way_to_it() {
    simulate(async {
        let clock = Simulated::clock();
        let mut site = site(people(), &clock);
        Rc::get_mut(&mut site).expect("nobody else has it").settings.moves_to = None;
        let lab = Lab::new(site, clock);
        let browser = signed_in(&lab, "olga").await;
        assert!(browser.get(&lab, MOVE).await.contains("location: /\r\n"));
    });
}

#[test]
fn only_an_owner_may_send_a_file_and_one_at_a_time() {
    simulate(async {
        let lab = lab();
        let (olga, vera) = (signed_in(&lab, "olga").await, signed_in(&lab, "vera").await);
        let body = |token: &str, len: usize| {
            let fields = format!("token={token}&value=x&file=");
            let rest = len - fields.len();
            fields + &"x".repeat(rest)
        };
        let token = olga.token(&lab).await;
        let whole = olga.post(&lab, "/", &body(&token, UPLOAD_OCTETS_MAX)).await;
        assert!(whole.contains("olga sets Some(\"x\")"), "{whole}");
        let answers = [
            olga.post(&lab, "/", &body(&token, UPLOAD_OCTETS_MAX + 1)).await,
            olga.post(&lab, "/other", &body(&token, BODY_OCTETS_MAX + 1)).await,
            vera.post(&lab, "/", &body(&vera.token(&lab).await, BODY_OCTETS_MAX + 1)).await,
            Browser::new().post(&lab, "/", &body("x", BODY_OCTETS_MAX + 1)).await,
        ];
        for answer in answers {
            assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        }
        let held = lab.site.room(&Request { method: Method::POST, ..with_cookie(&olga) });
        assert_eq!(held.octets_max, UPLOAD_OCTETS_MAX);
        let second = olga.post(&lab, "/", &body(&token, BODY_OCTETS_MAX + 1)).await;
        assert!(second.starts_with("HTTP/1.1 413 "), "the room is taken: {second}");
        drop(held);
        let third = olga.post(&lab, "/", &body(&token, BODY_OCTETS_MAX + 1)).await;
        assert!(third.contains("olga sets"), "{third}");
    });
}

/// A request to `/` with the cookie of `browser`.
fn with_cookie(browser: &Browser) -> Request {
    let mut request = request("GET", "/");
    let cookie = browser.cookie.clone().expect("a session");
    request.fields.insert(header::COOKIE, cookie.parse().expect("a value"));
    request
}

#[test]
fn forms_from_elsewhere_or_without_the_token_do_nothing() {
    simulate(async {
        let lab = lab();
        let browser = signed_in(&lab, "vera").await;
        let token = browser.token(&lab).await;
        for origin in
            [None, Some("https://evil.example"), Some("null"), Some("http://admin.office.example:465")]
        {
            let forged = Browser { origin: origin.map(str::to_owned), ..browser.clone() };
            for path in [SIGN_OUT, SIGN_IN] {
                let form = format!("token={token}&name=vera&password=x");
                assert!(forged.post(&lab, path, &form).await.contains("ForeignForm"), "{origin:?}");
            }
        }
        let other = signed_in(&lab, "vera").await.token(&lab).await;
        for form in
            ["", "token=", "token=x", &format!("token={other}"), &format!("token={token}&token={token}")]
        {
            assert!(browser.post(&lab, SIGN_OUT, form).await.contains("StaleForm"), "{form}");
        }
        assert!(browser.post(&lab, SIGN_OUT, "token=%zz").await.contains("BrokenForm"));
        assert!(browser.get(&lab, SIGN_OUT).await.contains("NotFound"), "a link signs nobody out");
        assert!(browser.get(&lab, "/").await.contains("page of vera"), "the session goes on");
        assert!(browser.post(&lab, SIGN_IN, "name=vera").await.contains("BrokenForm"));
        assert!(browser.post(&lab, END_SESSION, &format!("token={token}")).await.contains("BrokenForm"));
        assert_eq!(lab.site.state.stats.borrow().forms_refused, 16);
        // A browser that was given the name with its final dot sends it so.
        let dotted = Browser { origin: Some("https://admin.office.example.:465".to_owned()), ..browser };
        assert!(dotted.post(&lab, SIGN_OUT, &format!("token={token}")).await.contains("location: /sign-in"));
    });
}

#[test]
fn a_user_has_one_page_and_sets_the_own_password() {
    simulate(async {
        let lab = lab();
        let mut ute = signed_in(&lab, "ute").await;
        for path in ["/", "/clients", SESSIONS, "/none"] {
            assert!(ute.get(&lab, path).await.contains("location: /me\r\n"), "{path}");
        }
        let page = ute.get(&lab, OWN).await;
        assert!(page.contains("page of ute") && page.contains("sessions=1:ute\n"), "{page}");
        let (_, token) = page.split_once("token=").expect("a page");
        let token = token.split(' ').next().expect("a token").to_owned();
        let form = |fields: &str| format!("token={token}&{fields}");
        assert!(ute.post(&lab, "/", &form("value=x")).await.contains("ReadOnly"));
        let set = async |former: &str, new: &str| {
            ute.post(&lab, OWN, &form(&format!("former={former}&password={new}&again={new}"))).await
        };
        let wrong = set("wrong", "new").await;
        assert!(wrong.starts_with("HTTP/1.1 403") && wrong.contains("ute Former(Wrong)"), "{wrong}");
        let weak = set("blue+harbour+47", "weak").await;
        assert!(weak.starts_with("HTTP/1.1 422") && weak.contains("ute New("), "{weak}");
        let done = set("blue+harbour+47", "new").await;
        assert!(done.contains("location: /me\r\n") && done.contains("__Host-session="), "{done}");
        for number in 0..Limits::default().user.burst {
            set(&format!("wrong{number}"), "new").await;
        }
        let cookie =
            done.split_once("set-cookie: ").and_then(|(_, rest)| rest.split_once(';')).expect("a session").0;
        ute.cookie = Some(cookie.to_owned());
        assert!(ute.get(&lab, OWN).await.contains("page of ute"), "the session goes on");
        // Whoever loses the role keeps the own page, and that alone.
        let vera = signed_in(&lab, "vera").await;
        let after = after_reload(&lab, vec![user("vera", Role::User)]);
        assert!(vera.get(&after, "/").await.contains("location: /me\r\n"));
    });
}

#[test]
fn owners_end_every_session_and_others_their_own() {
    simulate(async {
        let lab = lab();
        let (olga, vera) = (signed_in(&lab, "olga").await, signed_in(&lab, "vera").await);
        let again = signed_in(&lab, "vera").await;
        assert!(olga.get(&lab, "/").await.contains("sessions=3:vera,2:vera,1:olga"));
        assert!(vera.get(&lab, "/").await.contains("sessions=3:vera,2:vera\n"));
        let end = async |browser: &Browser, number: u64| {
            let token = browser.token(&lab).await;
            browser.post(&lab, END_SESSION, &format!("token={token}&session={number}")).await
        };
        assert!(end(&vera, 1).await.contains("location: /sessions\r\n"));
        assert!(olga.get(&lab, "/").await.contains("page of olga"), "it is not Vera's");
        end(&vera, 3).await;
        assert!(again.get(&lab, "/").await.contains("/sign-in"));
        end(&olga, 2).await;
        assert!(vera.get(&lab, "/").await.contains("/sign-in"));
    });
}

/// The administration with other users, in force.
fn after_reload(lab: &Lab<AdminSite>, users: Vec<User>) -> Lab<AdminSite> {
    let clock = Rc::clone(&lab.conditions.clock);
    let mut site = Rc::into_inner(site(users, &clock)).expect("one");
    site.state = Rc::clone(&lab.site.state);
    site.storage = Arc::clone(&lab.site.storage);
    let after = Lab::new(Rc::new(site), clock);
    let (site, conditions) = (Rc::clone(&after.site), after.conditions.clone());
    let instance = AdminInstance::of(site, conditions, crate::watch::Sender::new(false), Kernel);
    instance.activate();
    after
}

#[test]
fn a_removed_user_s_session_is_over_and_does_not_return_with_the_name() {
    simulate(async {
        let lab = lab();
        let (vera, olga) = (signed_in(&lab, "vera").await, signed_in(&lab, "olga").await);
        let without = after_reload(&lab, vec![user("olga", Role::Owner)]);
        let again = after_reload(&without, people());
        assert!(vera.get(&again, "/").await.contains("/sign-in"));
        assert!(olga.get(&again, "/").await.contains("page of olga"));
        signed_in(&again, "vera").await;
    });
}

#[test]
fn a_session_ends_with_its_password() {
    simulate(async {
        let lab = lab();
        let (vera, other) = (signed_in(&lab, "vera").await, signed_in(&lab, "vera").await);
        let olga = signed_in(&lab, "olga").await;
        sleep(Duration::from_secs(5)).await;
        assert!(vera.get(&lab, "/").await.contains("page of vera"), "the password is the same");
        set_password(&*lab.site.storage, "vera", 2);
        sleep(Duration::from_secs(5)).await;
        assert!(vera.get(&lab, "/").await.contains("/sign-in"));
        assert!(!olga.get(&lab, "/").await.contains(":vera"), "her other one, too");
        assert!(other.get(&lab, "/").await.contains("/sign-in"));
        let vera = signed_in(&lab, "vera").await;
        sleep(Duration::from_secs(5)).await;
        assert!(vera.get(&lab, "/").await.contains("page of vera"));
        // A disk that fails, or a damaged file, ends no session.
        lab.site.storage.replace(&passwords::file_of("vera"), b"damaged").expect("room");
        sleep(Duration::from_secs(5)).await;
        assert!(vera.get(&lab, "/").await.contains("page of vera"));
        lab.site.storage.remove(&passwords::file_of("vera")).expect("it goes");
        assert!(vera.get(&lab, "/").await.contains("/sign-in"), "there is no password");
    });
}

/// A connection of the browser's on which the head of this path and the beginning of its body have come.
async fn stream(browser: &Browser, lab: &Lab<Guest>, path: &str) -> Streaming {
    let (mut stream, task) = lab.connect_tls().await;
    let fields = browser.fields();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {CANONICAL}\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.expect("room");
    stream.flush().await.expect("it goes");
    let mut head = vec![0; 4096];
    let count = stream.read(&mut head).await.expect("a head");
    let head = String::from_utf8_lossy(&head[..count]).into_owned();
    let rest = tokio::task::spawn_local(async move {
        let mut rest = Vec::new();
        _ = stream.read_to_end(&mut rest).await;
        String::from_utf8_lossy(&rest).into_owned()
    });
    Streaming { head, rest, task }
}

struct Streaming {
    head: String,
    rest: JoinHandle<String>,
    task: JoinHandle<End>,
}

/// The administration as its listeners serve it.
fn guests() -> Lab<Guest> {
    let lab = lab();
    let seat = lab.site.state.seats.take([192, 168, 1, 50].into(), true).expect("a seat").0;
    let guest = Guest { site: Rc::clone(&lab.site), seat: Rc::new(seat) };
    Lab { site: Rc::new(guest), conditions: lab.conditions, client: lab.client, finish: lab.finish }
}

#[test]
fn what_grows_ends_with_its_session() {
    simulate(async {
        let lab = guests();
        let (vera, olga) = (signed_in(&lab, "vera").await, signed_in(&lab, "olga").await);
        let (events, download) =
            (stream(&vera, &lab, "/events").await, stream(&vera, &lab, "/download").await);
        assert!(events.head.starts_with("HTTP/1.1 200") && download.head.starts_with("HTTP/1.1 200"));
        let began = tokio::time::Instant::now();
        let token = olga.token(&lab).await;
        olga.post(&lab, END_SESSION, &format!("token={token}&session=1")).await;
        assert_eq!(download.task.await.expect("it ends"), End::Lost, "no part is taken for the whole");
        assert_eq!(began.elapsed(), Duration::ZERO);
        let heard = events.head + &events.rest.await.expect("the rest");
        assert!(heard.contains("data: you") && heard.ends_with("0\r\n\r\n"), "{heard}");
        // Neither outlives its user's password.
        let vera = signed_in(&lab, "vera").await;
        let events = stream(&vera, &lab, "/events").await;
        set_password(&*lab.site.site.storage, "vera", 2);
        assert!(events.rest.await.expect("the rest").ends_with("0\r\n\r\n"));
        assert!(began.elapsed() < Duration::from_secs(180));
        let lasting = stream(&olga, &lab, "/events").await;
        lasting.rest.await.expect("the rest");
        assert!(began.elapsed() >= GROWING_TIME_MAX);
    });
}

#[test]
fn what_a_form_has_begun_goes_on_without_its_browser() {
    simulate(async {
        let lab = guests();
        let olga = signed_in(&lab, "olga").await;
        let form = format!("token={}&value=slow", olga.token(&lab).await);
        let (mut stream, task) = lab.connect_tls().await;
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {CANONICAL}\r\n{}Content-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
            olga.fields(),
            form.len()
        );
        stream.write_all(request.as_bytes()).await.expect("room");
        stream.flush().await.expect("it goes");
        sleep(Duration::from_millis(100)).await;
        drop(stream);
        task.await.expect("the connection ends");
        assert_eq!(SLOW_DONE.get(), 0);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(SLOW_DONE.get(), 1, "half a change is none");
    });
}

#[test]
fn a_session_has_so_many_answers_that_grow() {
    simulate(async {
        let lab = guests();
        let (vera, olga) = (signed_in(&lab, "vera").await, signed_in(&lab, "olga").await);
        let mut streams = Vec::new();
        for _ in 0..STREAMS_OF_SESSION_MAX {
            streams.push(stream(&vera, &lab, "/events").await);
        }
        assert!(streams.iter().all(|stream| stream.head.starts_with("HTTP/1.1 200")));
        assert!(stream(&vera, &lab, "/events").await.head.starts_with("HTTP/1.1 204"));
        assert!(stream(&vera, &lab, "/download").await.head.starts_with("HTTP/1.1 429"));
        assert!(stream(&olga, &lab, "/events").await.head.starts_with("HTTP/1.1 200"));
        let stats = lab.site.site.state.stats.borrow().clone();
        assert_eq!((stats.streams, stats.streams_refused), (5, 2));
        // The place of one that is gone is free.
        let gone = streams.pop().expect("one");
        gone.rest.abort();
        gone.task.await.expect("it ends");
        assert!(stream(&vera, &lab, "/events").await.head.starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn logins_are_logged_with_known_names_alone_and_so_many_lines() {
    let (lines, ()) = crate::test_log::Log::of(|| {
        simulate(async {
            let lab = lab();
            signed_in(&lab, "vera").await;
            Browser::new().sign_in(&lab, "Vera", "wrong").await;
            Browser::new().sign_in(&lab, "my+secret%0a", "wrong").await;
            for _ in 0..100 {
                signed_in(&lab, "olga").await;
            }
        });
    });
    let of = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(of("vera has signed in to the administration from 192.168.1.50"), 1, "{lines:?}");
    assert_eq!(of("a login of vera to the administration from 192.168.1.50 was wrong"), 1, "{lines:?}");
    assert_eq!(of("a login of an unknown user to"), 1, "{lines:?}");
    assert_eq!((of("secret"), of("has signed in")), (0, 20), "{lines:?}");
}

#[test]
fn addresses_and_names_of_the_gateway_are_the_site_s() {
    simulate(async {
        let lab = lab();
        let called = |name: &str| crate::http::Site::is_called(&*lab.site, name);
        assert!(called("admin.office.example") && called("192.168.1.1"));
        assert!(!called("192.168.1.2") && !called("office.example") && !called("") && !called("127.0.0.1"));
    });
}
