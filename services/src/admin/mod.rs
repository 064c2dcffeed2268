//! The administration: pages for those who run the office's gateway.
//!
//! This is the service: its port, sign-in, sessions and the checks of forms. What the pages say and how they look is the
//! gateway's ([`Pages`]), as this crate knows no gateway.
//!
//! | path | method | what |
//! | --- | --- | --- |
//! | `/sign-in` | GET, POST | the form, and a login |
//! | `/sign-out` | POST | ends the session |
//! | `/sessions/end` | POST | ends another session |
//! | `/move` | GET | the way to the gateway's new address, with a ticket that signs in there |
//! | `/enter` | GET, POST | the form for a ticket, and a login by it |
//! | `/authority.crt` | GET | the certificate of the office's own authority |
//! | `/setup` and below | GET, POST | the first run: a code, and the wizard |
//! | `/forgotten` | GET, POST | a new password of an owner, by a code |
//! | `/me` | GET, POST | a user's own page; the one page of users with role `user` |
//! | others | GET | files of [`Pages`] for everybody, pages for viewers |
//! | others | POST | forms of pages, for operators and owners |
//!
//! Only the LAN reaches the port. A form counts if its Origin is the page's own host and, within a session, if it has the
//! session's token; the session's cookie is not sent to or by other sites (SameSite=Strict). A login ends the former
//! session of the same browser. A session ends once its user has another password or is gone.

mod first_run;
mod instance;
mod pages;
mod seats;
mod sessions;
mod setup;
mod site;
mod stats;
mod streams;
#[cfg(test)]
mod tests;
mod tickets;

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use gatepost_ground::wire::Protocol;

use crate::log_limit::LogLimit;
use crate::net::Net;
use crate::service::{Host, Instance, Kind, LocalFuture, Off, OnWan, Service, Unprepared};
use crate::users::User;
use crate::users::office::OfficeLogins;

pub use first_run::{AskedCode, Codes};
pub use pages::{
    Failure, Forgotten, ForgottenFault, Pages, PasswordFault, Refusal, SessionInfo, SetupAnswer, SignIn,
    Visit, Visitor,
};
pub use sessions::{SESSION_TIME_MAX, SESSIONS_MAX, SESSIONS_OF_USER_MAX, SESSIONS_OF_USERS_MAX};
pub use setup::{Code, Installer, RESET_TIME_MAX, SETUP_TIME_MAX};
pub use stats::Stats;
pub use streams::STREAMS_OF_SESSION_MAX;
pub use tickets::{TICKET_TIME_MAX, TICKETS_MAX};

/// The port by default.
pub const PORT: u16 = 8080;

/// The most connections: each of [`SESSIONS_MAX`] may have [`STREAMS_OF_SESSION_MAX`] that wait for events, and 128 are
/// for pages.
pub const CONNECTIONS_MAX: usize = 1152;

/// Of these, the most from networks other than the LAN, which `[access]` may admit.
pub const CONNECTIONS_OUTSIDE_MAX: usize = 64;

/// The most connections of one source; a browser opens six.
pub const CONNECTIONS_PER_SOURCE_MAX: usize = 24;

/// The path of the sign-in form.
pub const SIGN_IN: &str = "/sign-in";
/// The path of the first run; its steps are below.
pub const SETUP: &str = "/setup";
/// The path of the page about a forgotten password.
pub const FORGOTTEN: &str = "/forgotten";
/// The path of the user's own page.
pub const OWN: &str = "/me";
/// The field of forms of the user's own page that has the password in force: such a form sets another one.
pub const FORMER_PASSWORD: &str = "former";
/// The path to which the sign-out form goes.
pub const SIGN_OUT: &str = "/sign-out";
/// The path to which the forms go that end a session; the field `session` has its number.
pub const END_SESSION: &str = "/sessions/end";
/// The path of the page of sessions.
pub const SESSIONS: &str = "/sessions";
/// The path of the own authority's certificate.
pub const AUTHORITY: &str = "/authority.crt";
/// The path of the way to the address that the gateway has once a change is confirmed.
pub const MOVE: &str = "/move";
/// The path at which a browser that comes from the former address signs in by a ticket.
pub const ENTER: &str = "/enter";
/// The field with the ticket, of the query and of the form.
pub const TICKET: &str = "ticket";
/// The field of forms that has the session's token.
pub const TOKEN_FIELD: &str = "token";

/// The static description of the administration.
pub const KIND: Kind = Kind {
    name: "admin",
    ports: &[(Protocol::TCP, PORT)],
    on_wan: OnWan::Never,
    is_limited_by_network: true,
    has_logins: true,
    about: "Pages for those who run the gateway",
    counters: Stats::GLOSSARY,
};

/// The settings of the administration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether it serves.
    pub enabled: bool,
    /// Its ports, at least one, the one to use first.
    pub ports: Vec<u16>,
    /// The address and the port at which it will be once a change is confirmed, if that moves it.
    pub moves_to: Option<String>,
    /// The names by which browsers may call it, in lower case, the one to use first. Its addresses on the LAN count,
    /// too.
    pub names: Vec<String>,
    /// The people of the office.
    pub users: Vec<User>,
    /// The domains that login names may have.
    pub domains: Vec<String>,
}

/// The administration, over all configurations.
pub struct OfficeAdmin {
    state: Rc<State>,
}

/// What survives a reload.
struct State {
    pages: Rc<dyn Pages>,
    logins: Rc<OfficeLogins>,
    sessions: RefCell<sessions::Sessions>,
    setup: RefCell<setup::Setup>,
    /// The administration of the configuration in force.
    current: RefCell<Weak<site::AdminSite>>,
    tickets: RefCell<tickets::Tickets>,
    seats: Rc<seats::Seats>,
    streams: Rc<streams::Streams>,
    /// Held by the request with a large body, if there is one.
    upload: Rc<()>,
    stats: RefCell<Stats>,
    logs: RefCell<Logs>,
}

/// The limits of the log lines that clients can cause.
#[derive(Default)]
struct Logs {
    began: LogLimit,
    failed: LogLimit,
    unavailable: LogLimit,
}

impl State {
    fn count(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.stats.borrow_mut());
    }
}

impl OfficeAdmin {
    /// The administration by `pages`, where users sign in by `logins`.
    pub fn new(pages: Rc<dyn Pages>, logins: Rc<OfficeLogins>) -> Self {
        let state = State {
            pages,
            logins,
            sessions: RefCell::default(),
            setup: RefCell::default(),
            current: RefCell::default(),
            tickets: RefCell::default(),
            seats: Rc::new(seats::Seats::new()),
            streams: Rc::default(),
            upload: Rc::default(),
            stats: RefCell::default(),
            logs: RefCell::default(),
        };
        Self { state: Rc::new(state) }
    }

    /// The codes for whoever is at the gateway's machine.
    pub fn codes(&self) -> Codes {
        Codes { state: Rc::clone(&self.state) }
    }
}

impl<N: Net> Service<N> for OfficeAdmin {
    type Settings = Settings;

    fn kind(&self) -> &'static Kind {
        &KIND
    }

    fn prepare<'a>(
        &'a self,
        settings: Settings,
        host: &'a Host<N>,
    ) -> LocalFuture<'a, Result<Rc<dyn Instance>, Unprepared>> {
        Box::pin(async move {
            if !settings.enabled {
                return Ok(Rc::new(Off) as Rc<dyn Instance>);
            }
            Ok(instance::AdminInstance::prepare(Rc::clone(&self.state), settings, host).await?
                as Rc<dyn Instance>)
        })
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.state.stats.borrow().iter().collect()
    }
}
