//! The office's mail services as [`Service`](crate::service::Service)s: port 25, submission, LMTP.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use gatepost_ground::Instant;
use gatepost_ground::wire::Protocol;

use super::backend::Backend;
use super::connection::{Dialogue, Wanted};
use super::directory::Directory;
use super::listeners::{Counted, Server, ServerInstance};
use super::relay_test::find_open_relay;
use super::remote::Remote;
use super::settings::Settings;
use super::shared::Shared;
use super::state::MailState;
use super::stats::Stats;
use crate::addresses::Subscription;
use crate::clock::Clock;
use crate::mail::judge::Judges;
use crate::mail::smtp::server::{Action, Ask, Output, Session};
use crate::mail::smtp::{Policy, Role};
use crate::net::Net;
use crate::service::{self, Host, Instance, Kind, LocalFuture, Off, OnWan, Unprepared};
use crate::tls::Tls;
use crate::watch;

/// The static description of port 25.
pub const SMTP: Kind = Kind {
    name: "smtp",
    ports: &[(Protocol::TCP, 25)],
    on_wan: OnWan::ByDefault,
    is_limited_by_network: true,
    has_logins: false,
    about: "Mail from other servers, and from programs on the LAN",
    counters: Stats::GLOSSARY,
};

/// The static description of submission by users, with STARTTLS and with implicit TLS. (RFC 6409; RFC 8314, section
/// 3.3)
pub const SUBMISSION: Kind = Kind {
    name: "submission",
    ports: &[(Protocol::TCP, 587), (Protocol::TCP, 465)],
    has_logins: true,
    about: "Mail that users send",
    ..SMTP
};

/// The static description of LMTP, which has no default port. (RFC 2033)
pub const LMTP: Kind = Kind {
    name: "lmtp",
    ports: &[],
    on_wan: OnWan::Never,
    about: "Mail from other servers, by LMTP",
    ..SMTP
};

/// One of the office's mail services, over all configurations.
pub struct OfficeMail {
    role: Role,
    state: Rc<MailState>,
    remote: Rc<dyn Remote>,
    stats: Rc<RefCell<Stats>>,
}

impl OfficeMail {
    /// The service of `role`, which shares `state` with the others. Messages for other domains go to `remote`.
    pub fn new(role: Role, state: Rc<MailState>, remote: Rc<dyn Remote>) -> Self {
        Self { role, state, remote, stats: Rc::default() }
    }

    fn of_role(&self) -> &'static Kind {
        match self.role {
            Role::Mx => &SMTP,
            Role::Submission => &SUBMISSION,
            Role::Lmtp => &LMTP,
        }
    }

    async fn prepare<N: Net>(
        &self,
        settings: Settings,
        host: &Host<N>,
    ) -> Result<Rc<ServerInstance<N, Shared>>, Unprepared> {
        let service = self.of_role().name;
        let unprepared = |why: String, remedy: &str| Unprepared { service, why, remedy: remedy.to_owned() };
        let shared = Rc::new(Shared {
            role: self.role,
            directory: Directory::new(&settings.users, &settings.domains, &settings.aliases),
            state: Rc::clone(&self.state),
            remote: Rc::clone(&self.remote),
            judges: Judges::new(settings.judges.clone(), host.net.clone(), host.resolver()),
            tls: host.tls.clone(),
            stats: Rc::clone(&self.stats),
            clock: Rc::clone(&host.clock),
            rng: RefCell::new(host.rng()),
            addresses: host.addresses.clone(),
            lan_hosts: host.lan_hosts(),
            resolver: host.resolver(),
            finishing: watch::Sender::new(false),
            settings,
        });
        if let Some(open) = find_open_relay(&shared) {
            return Err(unprepared(open, "name smaller networks in mail.relay_from"));
        }
        ServerInstance::prepare(service, shared, host).await
    }
}

impl<N: Net> service::Service<N> for OfficeMail {
    type Settings = Settings;

    fn kind(&self) -> &'static Kind {
        self.of_role()
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
            Ok(self.prepare(settings, host).await? as Rc<dyn Instance>)
        })
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.stats.borrow().iter().collect()
    }
}

impl Server for Shared {
    type Dialogue = Conversation;

    const TOO_MANY_CONNECTIONS: &'static [u8] = b"421 4.7.0 too many connections; try again later\r\n";

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
        Some(self.settings.port).filter(|port| *port != 0)
    }

    fn tls_port(&self) -> Option<u16> {
        let port = Some(self.settings.tls_port).filter(|port| *port != 0);
        port.filter(|_| self.role == Role::Submission && self.tls.is_some())
    }

    fn count(&self, what: Counted) {
        let mut stats = self.stats.borrow_mut();
        match what {
            Counted::Served => stats.connections += 1,
            Counted::Refused => stats.connections_refused += 1,
            Counted::Lost => stats.connections_lost += 1,
        }
    }

    fn activated(this: &Rc<Self>) {
        if this.role == Role::Mx {
            this.state.take_from_here_by(this);
        }
    }

    fn dialogue(this: &Rc<Self>, peer: IpAddr, is_encrypted: bool) -> Conversation {
        Conversation::new(this, this.policy(peer, is_encrypted))
    }
}

/// An SMTP session and its backend.
pub(super) struct Conversation {
    clock: Rc<dyn Clock>,
    session: Session,
    backend: Backend,
}

impl Conversation {
    /// One with a client that is to be treated so.
    pub fn new(shared: &Rc<Shared>, policy: Policy) -> Self {
        let backend = Backend::new(Rc::clone(shared), policy.peer, policy.is_lan);
        let session = Session::new(shared.clock.now(), policy);
        Self { clock: Rc::clone(&shared.clock), session, backend }
    }
}

impl Dialogue for Conversation {
    type Ask = Ask;

    const LEAVES: &'static [u8] = b"421 4.3.2 too many connections; try again later\r\n";

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
                Output::Action(Action::Abort) => {
                    self.backend.abort();
                    continue;
                }
                Output::Action(Action::StartTls) => Wanted::StartTls,
                Output::Action(Action::Close) => Wanted::Close,
            });
        }
    }

    fn takes_long(ask: &Ask) -> bool {
        matches!(ask, Ask::Chunk(_) | Ask::Commit | Ask::Authenticate(_))
    }

    async fn answer(&mut self, ask: Ask) {
        let answer = self.backend.answer(&self.session, ask).await;
        self.session.answer(self.clock.now(), answer);
    }

    fn is_engaged(&self) -> bool {
        self.backend.has_message()
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

    fn lost(&mut self, now: Instant) {
        self.session.lost(now);
        while self.poll(now).is_some() {}
    }
}
