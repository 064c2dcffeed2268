//! The answers to requests: sign-in, sessions, forms, and the way to the pages.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::Role as Side;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::pages::{Failure, Refusal, SessionInfo, SignIn, Visit, Visitor};
use super::sessions::{SESSION_TIME_MAX, Session};
use super::{
    AUTHORITY, END_SESSION, ENTER, FORGOTTEN, FORMER_PASSWORD, MOVE, OWN, SESSIONS, SETUP, SIGN_IN, SIGN_OUT,
    Settings, State, TICKET, TOKEN_FIELD,
};
use crate::addresses::Subscription;
use crate::clock::Clock;
use crate::crypto::{self, Sha256Digest};
use crate::http::form::Form;
use crate::http::header::{CONTENT_DISPOSITION, ORIGIN, RETRY_AFTER, SET_COOKIE};
use crate::http::{BODY_OCTETS_MAX, Checked, Host, Method, Request, Response, Room, Site, StatusCode};
use crate::store::Storage;
use crate::tls::Tls;
use crate::users::logins::Outcome;
use crate::users::{Role, User, passwords};
use crate::wait::first_of;
use crate::work::{self, Work};

/// The session's cookie. A browser takes a cookie of a name with this prefix only under TLS, with `Secure`, with
/// `Path=/` and without `Domain`: no other host can set it. (RFC 6265bis, section 4.1.3.2)
const COOKIE: &str = "__Host-session";

/// How long a session's password is believed to be the one in force; a disk is read to find out.
const PASSWORD_BELIEVED_FOR: Duration = Duration::from_secs(2);

/// The most log lines in each [`LOG_INTERVAL`](crate::log_limit::LOG_INTERVAL): about logins, and as many about wrong
/// ones.
const LOGINS_LOGGED_MAX: u32 = 20;

/// The result of a login.
pub(super) struct Login {
    pub outcome: Outcome,
    /// The user whom the entered name means.
    known: Option<User>,
    /// If it is accepted: the mark of the password.
    mark: Option<Sha256Digest>,
}

/// The administration with one configuration.
pub(super) struct AdminSite {
    pub state: Rc<State>,
    pub settings: Settings,
    pub tls: Rc<Tls>,
    pub clock: Rc<dyn Clock>,
    pub addresses: Subscription,
    pub storage: Arc<dyn Storage>,
    pub work: Rc<dyn Work>,
    pub rng: RefCell<StdRng>,
}

/// Whether `path` is of the first run.
fn is_of_first_run(path: &str) -> bool {
    path.strip_prefix(SETUP).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Site for AdminSite {
    fn is_called(&self, name: &str) -> bool {
        let addresses = self.addresses.borrow();
        let mut own = addresses.of(Side::Inside).flat_map(|inside| &inside.addresses);
        self.settings.names.iter().any(|known| known == name)
            || name.parse::<IpAddr>().is_ok_and(|address| own.any(|network| network.addr() == address))
    }

    fn canonical(&self) -> String {
        let name = self.settings.names.first().cloned().unwrap_or_default();
        Host { name, port: self.settings.ports.first().copied() }.to_string()
    }

    fn room(&self, request: &Request) -> Room {
        let user = self.session(request).and_then(|session| self.user(&session.user));
        let is_owner = user.is_some_and(|user| user.role == Role::Owner);
        let upload_max = self.state.pages.upload_octets_max(&request.path).filter(|_| is_owner);
        match upload_max {
            // One at a time: each takes its room in memory.
            Some(octets_max) if Rc::strong_count(&self.state.upload) == 1 => {
                Room { octets_max, held: Some(Rc::clone(&self.state.upload)) }
            }
            _ => Room::of(BODY_OCTETS_MAX),
        }
    }

    async fn answer(&self, request: Request) -> Response {
        self.state.count(|stats| stats.requests += 1);
        if request.method != Method::POST
            && let Some(file) = self.file(&request)
        {
            return file;
        }
        let visitor = self.visitor(&request).await;
        let visit = self.visit(&request, visitor.as_ref());
        match (&request.method, request.path.as_str()) {
            (&Method::POST, path) => match self.form(&request, visitor.as_ref()) {
                Ok(form) => self.submitted(visit, path, &form).await,
                Err(failure) => self.form_refused(visit, failure),
            },
            (_, SIGN_IN) if visitor.is_none() => {
                let state = SignIn { is_first_run: self.awaits_owner().await, ..SignIn::default() };
                self.state.pages.sign_in(visit, &state)
            }
            (_, SIGN_IN) => Response::see_other("/"),
            (_, FORGOTTEN) => self.forgotten(visit, None).await,
            (_, path) if is_of_first_run(path) => self.first_run(visit, None).await,
            (_, ENTER) => {
                let query = Form::of_query(&request);
                self.state.pages.enter(visit, query.get(TICKET).unwrap_or_default())
            }
            (_, MOVE) if visitor.is_some() => self.moved(&request),
            _ => match &visitor {
                None if self.awaits_owner().await => Response::see_other(SETUP),
                None => Response::see_other(SIGN_IN),
                Some(visitor) if visitor.user.role == Role::User && request.path != OWN => {
                    Response::see_other(OWN)
                }
                Some(visitor) => match self.state.pages.page(visit, visitor).await {
                    Some(page) => page,
                    None => self.state.pages.failure(visit, Failure::NotFound),
                },
            },
        }
    }

    fn count(&self, checked: Checked) {
        self.state.count(|stats| match checked {
            Checked::Redirected => stats.redirected += 1,
            Checked::WrongHost => stats.wrong_host += 1,
            Checked::Refused => stats.requests_refused += 1,
        });
    }
}

impl AdminSite {
    fn visit<'a>(&self, request: &'a Request, visitor: Option<&'a Visitor>) -> Visit<'a> {
        Visit { request, visitor, has_authority: self.tls.has_own_authority() }
    }

    /// The file for everybody at the request's path.
    fn file(&self, request: &Request) -> Option<Response> {
        if request.path != AUTHORITY {
            return self.state.pages.file(request);
        }
        let certificate = self.tls.own_authority()?;
        let response = Response::new(StatusCode::OK, "application/x-x509-ca-cert", certificate);
        Some(response.with(CONTENT_DISPOSITION, "attachment; filename=\"gatepost-authority.crt\""))
    }

    /// Ends the sessions of all who are no users by this configuration: who comes back signs in again.
    pub fn end_strangers(&self) {
        let stays = |name: &str| self.user(name).is_some();
        self.state.sessions.borrow_mut().end_of_users(stays);
    }

    /// The user `name` of the configuration.
    fn user(&self, name: &str) -> Option<&User> {
        self.settings.users.iter().find(|user| user.name == name)
    }

    /// Whether the user `name` has only the own page.
    fn has_one_page(&self, name: &str) -> bool {
        self.user(name).is_some_and(|user| user.role == Role::User)
    }

    /// The user whose session the request belongs to, as long as there is the user, with the password of the login.
    async fn visitor(&self, request: &Request) -> Option<Visitor> {
        let mut session = self.session(request)?;
        let user = self.user(&session.user)?.clone();
        if self.clock.now().since(session.checked) >= PASSWORD_BELIEVED_FOR {
            self.check_password(&session.user).await;
            session = self.session(request)?;
        }
        let now = self.clock.now();
        let is_owner = user.role == Role::Owner;
        let is_shown = |shown: &Session| is_owner || shown.user == session.user;
        let sessions = self.state.sessions.borrow_mut().list(now, is_shown);
        let sessions = sessions.into_iter().map(|shown| SessionInfo {
            number: shown.number,
            user: shown.user,
            source: shown.source,
            age: now.since(shown.began),
            unused: now.since(shown.used),
        });
        let sessions = sessions.collect();
        Some(Visitor { user, session: session.number, form_token: session.form_token, sessions })
    }

    /// Ends the sessions of the user `name` that are of another password than the one in force. A password that cannot
    /// be read, as of a disk that fails, ends none: nobody could sign in to see what is wrong.
    async fn check_password(&self, name: &str) {
        let (began, storage, of_job) = (self.clock.now(), Arc::clone(&self.storage), name.to_owned());
        let read = work::run(&*self.work, move || passwords::read(&*storage, &of_job)).await;
        if let Ok(Ok(verifiers)) = read {
            let mark = verifiers.map(|verifiers| verifiers.mark());
            self.state.sessions.borrow_mut().password_was(began, name, mark);
        }
    }

    /// The number of the session that the request belongs to.
    pub fn session_number(&self, request: &Request) -> Option<u64> {
        self.session(request).map(|session| session.number)
    }

    /// Returns once the session `number` is over. Its password is checked `every` so often.
    pub async fn session_over(&self, number: u64, every: Duration) {
        let ended = self.state.sessions.borrow().ended();
        let find = || {
            let (now, mut sessions) = (self.clock.now(), self.state.sessions.borrow_mut());
            let session = sessions.get(now, number)?;
            Some((session.user.clone(), now.since(session.checked) >= every))
        };
        while let Some((user, is_unchecked)) = find() {
            if is_unchecked {
                self.check_password(&user).await;
            }
            let ended = ended.notified();
            if find().is_some() {
                first_of(ended, sleep(every)).await;
            }
        }
    }

    fn session(&self, request: &Request) -> Option<Session> {
        self.state.sessions.borrow_mut().find(self.clock.now(), request.cookie(COOKIE)?)
    }

    /// The form of `request`, if it comes from a page of this site's and, in a session, of this session's.
    fn form(&self, request: &Request, visitor: Option<&Visitor>) -> Result<Form, Failure> {
        if !request.field(ORIGIN).is_some_and(|origin| request.host.is_origin(origin)) {
            return Err(Failure::ForeignForm);
        }
        let form = Form::of(request).map_err(|_| Failure::BrokenForm)?;
        let wanted = match request.path.as_str() {
            // Whoever signs in has no token yet, or one of an earlier session.
            SIGN_IN | ENTER | FORGOTTEN => None,
            path if is_of_first_run(path) => self.installer(request).map(|installer| installer.form_token),
            _ => visitor.map(|visitor| visitor.form_token.clone()),
        };
        let Some(wanted) = wanted else { return Ok(form) };
        let token = form.get(TOKEN_FIELD).unwrap_or_default();
        if crypto::are_equal(token.as_bytes(), wanted.as_bytes()) {
            Ok(form)
        } else {
            Err(Failure::StaleForm)
        }
    }

    /// The answer to a form that does nothing.
    fn form_refused(&self, visit: Visit<'_>, failure: Failure) -> Response {
        self.state.count(|stats| stats.forms_refused += 1);
        self.state.pages.failure(visit, failure)
    }

    /// Does what a form asks for.
    async fn submitted(&self, visit: Visit<'_>, path: &str, form: &Form) -> Response {
        let may_end = |session: &Session| {
            let visitor = visit.visitor.map(|visitor| &visitor.user);
            visitor.is_some_and(|user| user.role == Role::Owner || user.name == session.user)
        };
        match (path, visit.visitor) {
            (SIGN_IN, _) => self.sign_in(visit, form).await,
            (FORGOTTEN, _) => self.forgotten(visit, Some(form)).await,
            (path, _) if is_of_first_run(path) => self.first_run(visit, Some(form)).await,
            (ENTER, _) => self.enter(visit, form),
            (_, None) => Response::see_other(SIGN_IN),
            (SIGN_OUT, Some(visitor)) => {
                self.state.sessions.borrow_mut().end(visitor.session, may_end);
                let gone = format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
                Response::see_other(SIGN_IN).with(SET_COOKIE, &gone)
            }
            (END_SESSION, Some(_)) => {
                let Some(number) = form.get("session").and_then(|number| number.parse().ok()) else {
                    return self.form_refused(visit, Failure::BrokenForm);
                };
                // It may have ended by itself meanwhile.
                self.state.sessions.borrow_mut().end(number, may_end);
                Response::see_other(SESSIONS)
            }
            (OWN, Some(visitor)) if form.get(FORMER_PASSWORD).is_some() => {
                self.own_password(visit, visitor, form).await
            }
            (_, Some(visitor)) if !visitor.may_change() && path != OWN => {
                self.form_refused(visit, Failure::ReadOnly)
            }
            (_, Some(visitor)) => match self.state.pages.submit(visit, visitor, form).await {
                Some(answer) => answer,
                None => self.state.pages.failure(visit, Failure::NotFound),
            },
        }
    }

    /// Checks name and password, and begins a session in place of the browser's former one.
    async fn sign_in(&self, visit: Visit<'_>, form: &Form) -> Response {
        let (Some(name), Some(password)) = (form.get("name"), form.get("password")) else {
            return self.form_refused(visit, Failure::BrokenForm);
        };
        let peer = visit.request.peer;
        let login = self.login(peer, name.to_owned(), password.to_owned()).await;
        self.log(peer, &login);
        let refusal = match login.outcome {
            Outcome::Accepted { user } => {
                self.state.count(|stats| stats.logins += 1);
                let Some(mark) = login.mark.filter(|_| self.user(&user).is_some()) else {
                    return self.form_refused(visit, Failure::StaleForm);
                };
                let cookie = self.begin(visit.request, &user, mark);
                return Response::see_other("/").with(SET_COOKIE, &cookie);
            }
            Outcome::Refused => {
                self.state.count(|stats| stats.logins_failed += 1);
                Refusal::Wrong
            }
            Outcome::TooMany(too_many) => {
                self.state.count(|stats| stats.logins_limited += 1);
                Refusal::TooMany(too_many.wait)
            }
            Outcome::Unavailable => {
                self.state.count(|stats| stats.logins_failed += 1);
                Refusal::Unavailable
            }
        };
        let state =
            SignIn { name: name.to_owned(), refusal: Some(refusal), is_first_run: self.awaits_owner().await };
        self.refused(self.state.pages.sign_in(visit, &state), refusal)
    }

    /// `page`, which tells `refusal`, with its status.
    pub(super) fn refused(&self, page: Response, refusal: Refusal) -> Response {
        let mut response = page;
        response.status = match refusal {
            Refusal::Wrong => StatusCode::FORBIDDEN,
            Refusal::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        match refusal {
            // A whole second more: what is told is never too early.
            Refusal::TooMany(wait) => {
                response.with(RETRY_AFTER, &wait.as_secs().saturating_add(1).to_string())
            }
            Refusal::Wrong | Refusal::Unavailable => response,
        }
    }

    /// Leads to the address that the gateway has once a change is confirmed, with a ticket for it.
    fn moved(&self, request: &Request) -> Response {
        let session = self.session(request);
        let Some((moves_to, session)) = self.settings.moves_to.as_ref().zip(session) else {
            return Response::see_other("/");
        };
        let mut rng = self.rng.borrow_mut();
        let ticket = self.state.tickets.borrow_mut().issue(self.clock.now(), &session, &mut *rng);
        Response::see_other(&format!("https://{moves_to}{ENTER}?{TICKET}={ticket}"))
    }

    /// Begins a session by a ticket, for the user of the session that has asked for it.
    fn enter(&self, visit: Visit<'_>, form: &Form) -> Response {
        let Some(ticket) = form.get(TICKET) else { return self.form_refused(visit, Failure::BrokenForm) };
        let now = self.clock.now();
        let number = self.state.tickets.borrow_mut().redeem(now, ticket);
        let asked = number.and_then(|number| self.state.sessions.borrow_mut().get(now, number).cloned());
        match asked.filter(|session| self.user(&session.user).is_some()) {
            Some(session) => {
                self.state.count(|stats| stats.logins_by_ticket += 1);
                let cookie = self.begin(visit.request, &session.user, session.mark);
                Response::see_other("/").with(SET_COOKIE, &cookie)
            }
            None => Response::see_other(SIGN_IN),
        }
    }

    /// Logs a login from `peer`, with the name of the user alone: what else was entered may be a password.
    fn log(&self, peer: IpAddr, login: &Login) {
        let (now, mut logs) = (self.clock.now(), self.state.logs.borrow_mut());
        let user = login.known.as_ref().map_or("an unknown user", |user| &user.name);
        match login.outcome {
            Outcome::Accepted { .. } if logs.began.allows(now, LOGINS_LOGGED_MAX) => {
                tracing::info!("{user} has signed in to the administration from {peer}");
            }
            Outcome::Refused if logs.failed.allows(now, LOGINS_LOGGED_MAX) => {
                tracing::info!("a login of {user} to the administration from {peer} was wrong");
            }
            _ => {}
        }
    }

    /// Begins a session of `user` in place of the browser's former one. Returns its cookie.
    pub(super) fn begin(&self, request: &Request, user: &str, mark: Sha256Digest) -> String {
        let former = self.session(request);
        let mut sessions = self.state.sessions.borrow_mut();
        if let Some(former) = former {
            sessions.end(former.number, |_| true);
        }
        let mut rng = self.rng.borrow_mut();
        let mut displaced = 0;
        if self.has_one_page(user) {
            displaced += sessions.make_room_of_users(self.clock.now(), |name| self.has_one_page(name));
        }
        let (token, more_displaced) = sessions.begin(self.clock.now(), (user, mark), request.peer, &mut *rng);
        self.state.count(|stats| stats.sessions_displaced += displaced + more_displaced);
        let age = SESSION_TIME_MAX.as_secs();
        format!("{COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={age}")
    }

    /// Checks a password. The check goes on although the browser is gone: what is dropped would count as a failure.
    pub(super) async fn login(&self, peer: IpAddr, name: String, password: String) -> Login {
        let unavailable = || Login { outcome: Outcome::Unavailable, known: None, mark: None };
        let mut rng = StdRng::from_rng(&mut *self.rng.borrow_mut());
        let (storage, work, clock) = (&self.storage, &self.work, &self.clock);
        match self.state.logins.open(storage, work, clock, &mut rng).await {
            Ok(logins) => {
                let checking = async move {
                    let (outcome, mark) = logins.marked_password(peer, &name, &password).await;
                    Login { outcome, known: logins.user(&name), mark }
                };
                tokio::task::spawn_local(checking).await.unwrap_or_else(|_| unavailable())
            }
            Err(why) => {
                if self.state.logs.borrow_mut().unavailable.is_due(clock.now()) {
                    tracing::warn!("nobody can sign in to the administration: {why}");
                }
                unavailable()
            }
        }
    }
}
