//! POP3 as [`Service`]s of the gateway: port 110, and port 995 with implicit TLS.
//!
//! An inbox is open in one session at a time, over all ports and configurations. (RFC 1939, section 8)

mod backend;
mod stats;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;

use gatepost_ground::Instant;
use gatepost_ground::wire::Protocol;
use rand::rngs::StdRng;

use self::backend::Backend;
pub use self::stats::Stats;
use super::connection::{Dialogue, Wanted};
use super::listeners::{Counted, Server, ServerInstance};
use super::settings::Settings;
use super::state::MailState;
use crate::addresses::Subscription;
use crate::clock::Clock;
use crate::mail::pop3::server::{Action, Ask, Output, Policy, Session};
use crate::mail::smtp;
use crate::mail::store::MailboxId;
use crate::net::Net;
use crate::service::{Host, Instance, Kind, LocalFuture, Off, OnWan, Service, Unprepared};
use crate::tls::Tls;
use crate::watch;

/// The static description of POP3 on port 110, which is for the LAN.
pub const POP3: Kind = Kind {
    name: "pop3",
    ports: &[(Protocol::TCP, 110)],
    on_wan: OnWan::Never,
    is_limited_by_network: true,
    has_logins: true,
    about: "Users fetch their mail",
    counters: Stats::GLOSSARY,
};

/// The static description of POP3 with implicit TLS. (RFC 8314, section 3.2)
pub const POP3S: Kind = Kind {
    name: "pop3s",
    ports: &[(Protocol::TCP, 995)],
    on_wan: OnWan::ByDefault,
    about: "Users fetch their mail, under TLS",
    ..POP3
};

/// The beginning of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// In clear, with STLS.
    Clear,
    /// With TLS.
    Tls,
}

/// POP3 on one of its ports, over all configurations.
pub struct OfficePop3 {
    opening: Opening,
    state: Rc<MailState>,
    stats: Rc<RefCell<Stats>>,
}

impl OfficePop3 {
    /// The service with this beginning of connections, which shares `state` with the other mail services.
    pub fn new(opening: Opening, state: Rc<MailState>) -> Self {
        Self { opening, state, stats: Rc::default() }
    }

    fn of_opening(&self) -> &'static Kind {
        match self.opening {
            Opening::Clear => &POP3,
            Opening::Tls => &POP3S,
        }
    }

    async fn prepare<N: Net>(
        &self,
        settings: Settings,
        host: &Host<N>,
    ) -> Result<Rc<dyn Instance>, Unprepared> {
        let shared = Rc::new(Shared {
            opening: self.opening,
            state: Rc::clone(&self.state),
            tls: host.tls.clone(),
            stats: Rc::clone(&self.stats),
            clock: Rc::clone(&host.clock),
            rng: RefCell::new(host.rng()),
            addresses: host.addresses.clone(),
            finishing: watch::Sender::new(false),
            settings,
        });
        Ok(ServerInstance::prepare(self.of_opening().name, shared, host).await?)
    }
}

impl<N: Net> Service<N> for OfficePop3 {
    type Settings = Settings;

    fn kind(&self) -> &'static Kind {
        self.of_opening()
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
            self.prepare(settings, host).await
        })
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.stats.borrow().iter().collect()
    }
}

/// The state that the connections of one service with one configuration share.
struct Shared {
    settings: Settings,
    opening: Opening,
    state: Rc<MailState>,
    tls: Option<Rc<Tls>>,
    stats: Rc<RefCell<Stats>>,
    clock: Rc<dyn Clock>,
    rng: RefCell<StdRng>,
    addresses: Subscription,
    finishing: watch::Sender<bool>,
}

impl Server for Shared {
    type Dialogue = Conversation;

    const TOO_MANY_CONNECTIONS: &'static [u8] = b"-ERR [SYS/TEMP] too many connections; try again later\r\n";

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn state(&self) -> &Rc<MailState> {
        &self.state
    }

    fn clock(&self) -> &Rc<dyn Clock> {
        &self.clock
    }

    fn tls(&self) -> Option<&Rc<Tls>> {
        self.tls.as_ref()
    }

    fn addresses(&self) -> &Subscription {
        &self.addresses
    }

    fn finish(&self) -> &watch::Sender<bool> {
        &self.finishing
    }

    fn port(&self) -> Option<u16> {
        (self.opening == Opening::Clear).then_some(self.settings.port)
    }

    fn tls_port(&self) -> Option<u16> {
        (self.opening == Opening::Tls && self.tls.is_some()).then_some(self.settings.port)
    }

    fn count(&self, what: Counted) {
        let mut stats = self.stats.borrow_mut();
        match what {
            Counted::Served => stats.connections += 1,
            Counted::Refused => stats.connections_refused += 1,
            Counted::Lost => stats.connections_lost += 1,
        }
    }

    fn dialogue(this: &Rc<Self>, peer: IpAddr, is_encrypted: bool) -> Conversation {
        let tls = match &this.tls {
            _ if is_encrypted => smtp::Tls::Active,
            Some(_) => smtp::Tls::Available,
            None => smtp::Tls::Unavailable,
        };
        let settings = &this.settings;
        let plaintext_login = settings.plaintext_login && this.is_lan(peer);
        let policy = Policy { hostname: settings.hostname.clone(), tls, plaintext_login };
        let session = Session::new(this.clock.now(), policy);
        Conversation { session, backend: Backend::new(Rc::clone(this), peer) }
    }
}

/// A POP3 session and its backend.
struct Conversation {
    session: Session,
    backend: Backend,
}

impl Dialogue for Conversation {
    type Ask = Ask;

    const LEAVES: &'static [u8] = b"-ERR [SYS/TEMP] too many connections; try again later\r\n";

    fn receive(&mut self, now: Instant, octets: &[u8]) -> usize {
        self.session.receive(now, octets)
    }

    fn is_listening(&self) -> bool {
        self.session.is_listening()
    }

    fn poll(&mut self, now: Instant) -> Option<Wanted<Ask>> {
        loop {
            return Some(match self.session.poll_output(now)? {
                Output::Reply(octets) => Wanted::Reply(octets),
                Output::Ask(ask) => Wanted::Ask(ask),
                Output::Action(Action::Forget) => {
                    self.backend.forget();
                    continue;
                }
                Output::Action(Action::StartTls) => Wanted::StartTls,
                Output::Action(Action::Close) => {
                    // A client that reconnects at once finds the inbox unlocked.
                    self.backend.let_go();
                    Wanted::Close
                }
            });
        }
    }

    fn takes_long(ask: &Ask) -> bool {
        matches!(ask, Ask::Authenticate(_) | Ask::Update(_))
    }

    async fn answer(&mut self, ask: Ask) {
        let answer = self.backend.answer(ask).await;
        self.session.answer(self.backend.now(), answer);
    }

    fn is_engaged(&self) -> bool {
        self.session.has_inbox()
    }

    fn deadline(&self) -> Option<Instant> {
        self.session.deadline()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.session.handle_timeout(now);
    }

    fn tls_started(&mut self, now: Instant) {
        self.session.tls_started(now);
    }

    fn stop(&mut self, now: Instant) {
        self.session.stop(now);
    }

    fn lost(&mut self, _: Instant) {
        self.session.lost();
        self.backend.let_go();
    }
}

/// The inboxes that sessions have: not more than there are connections.
#[derive(Debug, Default)]
pub(super) struct OpenInboxes(RefCell<BTreeSet<MailboxId>>);

/// That a session has an inbox, until this is dropped.
#[derive(Debug)]
struct HeldInbox {
    all: Rc<OpenInboxes>,
    id: MailboxId,
}

impl OpenInboxes {
    /// Whether a session has the inbox of `id`.
    pub fn is_held(&self, id: MailboxId) -> bool {
        self.0.borrow().contains(&id)
    }

    /// Locks the inbox of `id` for one session; `None` if another has it.
    fn hold(self: &Rc<Self>, id: MailboxId) -> Option<HeldInbox> {
        self.0.borrow_mut().insert(id).then(|| HeldInbox { all: Rc::clone(self), id })
    }
}

impl Drop for HeldInbox {
    fn drop(&mut self) {
        self.all.0.borrow_mut().remove(&self.id);
    }
}
