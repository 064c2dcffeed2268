//! The first run, and a forgotten password: what the pages do for somebody who has a code.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use gatepost_ground::Role as Side;
use ipnet::IpNet;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::pages::{Forgotten, ForgottenFault, PasswordFault, Refusal, SetupAnswer, Visit, Visitor};
use super::setup::{Code, Installer, SETUP_TIME_MAX};
use super::site::AdminSite;
use super::{FORGOTTEN, FORMER_PASSWORD, OWN, SETUP, SIGN_IN, State};
use crate::http::form::Form;
use crate::http::header::SET_COOKIE;
use crate::http::{Host, Request, Response, StatusCode};
use crate::store::Storage;
use crate::users::logins::Outcome;
use crate::users::{Role, User, passwords};
use crate::work::{self, Work};

/// The cookie of whoever has entered the code of the first run, as that of a session.
const COOKIE: &str = "__Host-setup";

/// The most log lines about wrong codes, in each [`LOG_INTERVAL`](crate::log_limit::LOG_INTERVAL).
const CODES_LOGGED_MAX: u32 = 20;

/// The codes of a running gateway, for whoever may ask on its machine.
#[derive(Clone)]
pub struct Codes {
    pub(super) state: Rc<State>,
}

/// A code that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskedCode {
    /// It leads to the wizard, as there is no owner.
    FirstRun {
        /// The code.
        code: Code,
        /// Where to enter it.
        site: String,
    },
    /// It allows a new password of an owner.
    Password {
        /// The code.
        code: Code,
        /// Where to enter it.
        site: String,
    },
}

impl Codes {
    /// The code of the first run with its site, if there is one: to be printed at the start.
    pub fn first(&self) -> Option<(Code, String)> {
        let site = self.state.current.borrow().upgrade()?;
        let code = self.state.setup.borrow().first().cloned()?;
        Some((code, site.place()))
    }

    /// The code of the first run, or else a new one for a password; `None` while there are no pages.
    pub async fn ask(&self) -> Option<AskedCode> {
        let site = self.state.current.borrow().upgrade()?;
        let place = site.place();
        if site.awaits_owner().await {
            let code = self.state.setup.borrow().first().cloned()?;
            return Some(AskedCode::FirstRun { code, site: place });
        }
        let code = self.state.setup.borrow_mut().ask_reset(site.clock.now(), &mut *site.rng.borrow_mut());
        tracing::info!("somebody on this machine has asked for a code by which an owner sets a new password");
        Some(AskedCode::Password { code, site: place + FORGOTTEN })
    }
}

/// Whether an owner among `users` has a password. A file that cannot be read may be one's.
pub(super) async fn is_owned(users: &[User], storage: &Arc<dyn Storage>, work: &dyn Work) -> bool {
    let owners = users.iter().filter(|user| user.role == Role::Owner);
    let owners: Vec<_> = owners.map(|user| user.name.clone()).collect();
    let storage = Arc::clone(storage);
    let has_password = move |name: &String| !matches!(passwords::read(&*storage, name), Ok(None));
    work::run(work, move || owners.iter().any(has_password)).await.unwrap_or(true)
}

impl AdminSite {
    /// The URL of the pages, by an address: names need not be known yet.
    pub(super) fn place(&self) -> String {
        let addresses = self.addresses.borrow();
        let mut own = addresses.of(Side::Inside).flat_map(|inside| &inside.addresses).map(IpNet::addr);
        let name = own.find(IpAddr::is_ipv4).map(|address| address.to_string());
        let name = name.or_else(|| self.settings.names.first().cloned()).unwrap_or_default();
        format!("https://{}", Host { name, port: self.settings.ports.first().copied() })
    }

    /// Tells the code of the first run in the log.
    pub(super) fn announce_code(&self) {
        if let Some(code) = self.state.setup.borrow().first() {
            let place = self.place();
            tracing::info!("nobody owns this gateway yet: open {place} and enter the code {code}");
        }
    }

    /// Whether the first run goes on: the gateway has begun without an owner who has a password, and there is none.
    pub(super) async fn awaits_owner(&self) -> bool {
        if self.state.setup.borrow().first().is_none() {
            return false;
        }
        let is_owned = is_owned(&self.settings.users, &self.storage, &*self.work).await;
        if is_owned {
            self.state.setup.borrow_mut().is_owned();
        }
        !is_owned
    }

    /// Whoever has entered the code of the first run with this browser.
    pub(super) fn installer(&self, request: &Request) -> Option<Installer> {
        let token = request.cookie(COOKIE)?;
        self.state.setup.borrow().installer(self.clock.now(), token).cloned()
    }

    /// A page of the first run, or what its form does.
    pub(super) async fn first_run(&self, visit: Visit<'_>, form: Option<&Form>) -> Response {
        if !self.awaits_owner().await {
            return Response::see_other(SIGN_IN);
        }
        match (self.installer(visit.request), form) {
            (Some(installer), form) => match self.state.pages.setup(visit, &installer, form).await {
                SetupAnswer::Page(page) => page,
                SetupAnswer::Owned { owner, page } => self.owned(visit, &owner, page).await,
            },
            (None, Some(form)) if visit.request.path == SETUP => self.enter_code(visit, form).await,
            (None, _) => self.state.pages.code(visit, None),
        }
    }

    async fn enter_code(&self, visit: Visit<'_>, form: &Form) -> Response {
        let peer = visit.request.peer;
        let entered = form.get("code").unwrap_or_default();
        let enter = || {
            let mut rng = self.rng.borrow_mut();
            self.state.setup.borrow_mut().enter(self.clock.now(), entered, &mut *rng)
        };
        match self.try_code(peer, enter).await {
            Ok(token) => {
                tracing::info!("the first run has begun from {peer}");
                let age = SETUP_TIME_MAX.as_secs();
                let cookie =
                    format!("{COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={age}");
                Response::see_other(SETUP).with(SET_COOKIE, &cookie)
            }
            Err(refusal) => self.refused(self.state.pages.code(visit, Some(refusal)), refusal),
        }
    }

    /// What `look` makes of a code from `peer`, if it is right; `look` is not called if too many were wrong.
    async fn try_code<T>(&self, peer: IpAddr, look: impl FnOnce() -> Option<T>) -> Result<T, Refusal> {
        let mut rng = StdRng::from_rng(&mut *self.rng.borrow_mut());
        let logins = self.state.logins.open(&self.storage, &self.work, &self.clock, &mut rng).await;
        let logins = logins.map_err(|_| Refusal::Unavailable)?;
        if let Err(too_many) = logins.begin_code(peer) {
            self.state.count(|stats| stats.logins_limited += 1);
            return Err(Refusal::TooMany(too_many.wait));
        }
        if let Some(found) = look() {
            logins.code_was_right(peer);
            return Ok(found);
        }
        self.state.count(|stats| stats.logins_failed += 1);
        if self.state.logs.borrow_mut().failed.allows(self.clock.now(), CODES_LOGGED_MAX) {
            tracing::info!("a code that {peer} has entered in the administration was wrong");
        }
        Err(Refusal::Wrong)
    }

    /// There is an owner by the wizard: the first run is over, and a session of the owner's begins.
    async fn owned(&self, visit: Visit<'_>, owner: &str, page: Response) -> Response {
        self.state.setup.borrow_mut().is_owned();
        tracing::info!("{owner} owns this gateway since the first run from {}", visit.request.peer);
        let gone = format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
        self.with_session(visit, owner, page.with(SET_COOKIE, &gone)).await
    }

    /// `page` with a session of `user`, whose password was just set.
    async fn with_session(&self, visit: Visit<'_>, user: &str, page: Response) -> Response {
        let (storage, name) = (Arc::clone(&self.storage), user.to_owned());
        match work::run(&*self.work, move || passwords::read(&*storage, &name)).await {
            Ok(Ok(Some(verifiers))) => {
                page.with(SET_COOKIE, &self.begin(visit.request, user, verifiers.mark()))
            }
            // Whoever has just entered the password signs in by hand.
            _ => page,
        }
    }

    /// Sets another password of the visitor's, who has to know the one in force.
    pub(super) async fn own_password(&self, visit: Visit<'_>, visitor: &Visitor, form: &Form) -> Response {
        let (peer, user) = (visit.request.peer, &visitor.user);
        let former = form.get(FORMER_PASSWORD).unwrap_or_default();
        let fault = match self.login(peer, user.name.clone(), former.to_owned()).await.outcome {
            Outcome::Accepted { .. } => match self.state.pages.set_password(visit, user, form).await {
                Ok(()) => {
                    tracing::info!("{} has set another password of the own, from {peer}", user.name);
                    return self.with_session(visit, &user.name, Response::see_other(OWN)).await;
                }
                Err(why) => PasswordFault::New(why),
            },
            Outcome::Refused => PasswordFault::Former(Refusal::Wrong),
            Outcome::TooMany(too_many) => PasswordFault::Former(Refusal::TooMany(too_many.wait)),
            Outcome::Unavailable => PasswordFault::Former(Refusal::Unavailable),
        };
        let page = self.state.pages.password_refused(visit, visitor, fault.clone()).await;
        match fault {
            PasswordFault::Former(refusal) => self.refused(page, refusal),
            PasswordFault::New(_) => unprocessed(page),
        }
    }

    /// The page about a forgotten password, or the answer to its form.
    pub(super) async fn forgotten(&self, visit: Visit<'_>, form: Option<&Form>) -> Response {
        let Some(form) = form else { return self.state.pages.forgotten(visit, &Forgotten::default()) };
        let (entered, name) = (form.get("code").unwrap_or_default(), form.get("name").unwrap_or_default());
        let look = || self.state.setup.borrow().is_reset(self.clock.now(), entered).then_some(());
        let refused = |fault| {
            let state = Forgotten { name: name.to_owned(), fault: Some(fault) };
            self.state.pages.forgotten(visit, &state)
        };
        if let Err(refusal) = self.try_code(visit.request.peer, look).await {
            return self.refused(refused(ForgottenFault::Code(refusal)), refusal);
        }
        let mut owners = self.settings.users.iter().filter(|user| user.role == Role::Owner);
        let Some(owner) = owners.find(|owner| owner.name == name) else {
            return unprocessed(refused(ForgottenFault::NoOwner));
        };
        match self.state.pages.set_password(visit, owner, form).await {
            Ok(()) => {
                self.state.setup.borrow_mut().reset_is_used();
                tracing::info!("{name} has a new password by a code, from {}", visit.request.peer);
                Response::see_other(SIGN_IN)
            }
            Err(why) => unprocessed(refused(ForgottenFault::Password(why))),
        }
    }
}

/// A page with a form whose fault is told in it.
fn unprocessed(mut page: Response) -> Response {
    page.status = StatusCode::UNPROCESSABLE_ENTITY;
    page
}
