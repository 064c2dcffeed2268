//! The office's mail services as [`Service`](crate::service::Service)s: port 25, submission, LMTP.
//!
//! An instance binds the gateway's addresses while it is prepared, and follows them when they change. One that is replaced
//! lets each of its clients finish the command at hand, a message too, and then sends it away; the store, the logins and
//! what is counted go on.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use gatepost_ground::Role as Side;
use gatepost_ground::wire::Protocol;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, warn};

use super::connection;
use super::desk::Desk;
use super::directory::Directory;
use super::ground::{Ground, Opener};
use super::relay_test::find_open_relay;
use super::remote::Remote;
use super::settings::Settings;
use super::shared::{SUBMISSION_TLS_PORT, Shared};
use super::stats::Stats;
use crate::addresses::{Addresses, Subscription};
use crate::mail::smtp::Role;
use crate::mail::smtp::server::Session;
use crate::net::{Listener, Net, Stream};
use crate::race::race;
use crate::service::{self, Host, Instance, Kind, Listening, LocalFuture, Off, State, Unprepared};
use crate::task::Task;

/// What is known of port 25.
pub const SMTP: Kind = Kind {
    name: "smtp",
    ports: &[(Protocol::TCP, 25)],
    is_public: true,
    is_limited_by_network: true,
    about: "Mail from other servers, and from programs on the LAN",
    counters: Stats::GLOSSARY,
};

/// What is known of the submission of mail by users. // RFC 6409
pub const SUBMISSION: Kind = Kind {
    name: "submission",
    ports: &[(Protocol::TCP, 587), (Protocol::TCP, SUBMISSION_TLS_PORT)],
    about: "Mail that users send",
    ..SMTP
};

/// What is known of LMTP, which has no port of its own. // RFC 2033
pub const LMTP: Kind =
    Kind { name: "lmtp", ports: &[], is_public: false, about: "Mail from other servers, by LMTP", ..SMTP };

/// The reply to a client whose source has its share of connections.
const TOO_MANY_CONNECTIONS: &[u8] = b"421 4.7.0 too many connections; try again later\r\n";

/// One of the office's mail services, over all configurations.
pub struct OfficeMail {
    role: Role,
    ground: Rc<Ground>,
    remote: Rc<dyn Remote>,
    stats: Rc<RefCell<Stats>>,
}

impl OfficeMail {
    /// The service of `role`, which shares `ground` with the others. What is for other domains goes to `remote`.
    pub fn new(role: Role, ground: Rc<Ground>, remote: Rc<dyn Remote>) -> Self {
        Self { role, ground, remote, stats: Rc::default() }
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
    ) -> Result<Rc<OfficeInstance<N>>, Unprepared> {
        let service = self.of_role().name;
        let unprepared = |why: String, remedy: &str| Unprepared { service, why, remedy: remedy.to_owned() };
        let mut addresses = host.addresses.clone();
        let now = Rc::clone(&addresses.borrow_and_update());
        if now.of(Side::Inside).next().is_none() {
            return Err(Unprepared::without_address(service));
        }
        let shared = Rc::new(Shared {
            role: self.role,
            directory: Directory::new(&settings.users, &settings.domains, &settings.aliases),
            ground: Rc::clone(&self.ground),
            remote: Rc::clone(&self.remote),
            tls: host.tls.clone(),
            stats: Rc::clone(&self.stats),
            clock: Rc::clone(&host.clock),
            rng: RefCell::new(host.rng()),
            addresses: host.addresses.clone(),
            lan_hosts: host.lan_hosts(),
            finishing: watch::Sender::new(false),
            settings,
        });
        if let Some(open) = find_open_relay(&shared) {
            return Err(unprepared(open, "name smaller networks in mail.relay_from"));
        }
        let instance = Rc::new_cyclic(|this| OfficeInstance {
            shared,
            net: host.net.clone(),
            opener: RefCell::new(Some(Opener::of(host))),
            listeners: RefCell::default(),
            addresses,
            trouble: RefCell::default(),
            this: Weak::clone(this),
        });
        for local in instance.wanted(&now) {
            let bound = instance.listen(local).await;
            bound.map_err(|error| {
                unprepared(format!("it cannot listen on {local}: {error}"), "see the log")
            })?;
        }
        Ok(instance)
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

/// A mail service by one configuration.
struct OfficeInstance<N: Net> {
    shared: Rc<Shared>,
    net: N,
    /// What the store is opened with, if it has not been before.
    opener: RefCell<Option<Opener>>,
    listeners: RefCell<BTreeMap<SocketAddr, Bound>>,
    addresses: Subscription,
    /// What could not be bound when the addresses changed.
    trouble: RefCell<Option<String>>,
    this: Weak<Self>,
}

/// An address at which clients are taken.
struct Bound {
    task: Task,
    /// Whether the network has taken the address away.
    has_failed: Rc<Cell<bool>>,
}

impl<N: Net> OfficeInstance<N> {
    /// Where it listens while the gateway has `addresses`.
    fn wanted(&self, addresses: &Addresses) -> BTreeSet<SocketAddr> {
        let settings = &self.shared.settings;
        let outside = addresses.ipv4(Side::Outside).filter(|_| settings.on_outside);
        let ports = [Some(settings.port), self.shared.tls_port()];
        let networks = addresses.ipv4(Side::Inside).chain(outside);
        let locals = networks.flat_map(|network| {
            ports.into_iter().flatten().map(move |port| SocketAddr::from((network.addr(), port)))
        });
        locals.collect()
    }

    async fn listen(&self, local: SocketAddr) -> io::Result<()> {
        let listener = self.net.listen(local).await?;
        let has_failed = Rc::default();
        let accepting = accept::<N>(Rc::clone(&self.shared), listener, Rc::clone(&has_failed));
        let bound = Bound { task: Task::spawn(accepting), has_failed };
        self.listeners.borrow_mut().insert(local, bound);
        Ok(())
    }

    /// Goes over to `new` addresses. Connections at one that is gone end.
    async fn follow(&self, new: &Addresses) {
        let wanted = self.wanted(new);
        // One that has failed is tried again.
        self.listeners.borrow_mut().retain(|_, bound| !bound.has_failed.get());
        let bound: BTreeSet<_> = self.listeners.borrow().keys().copied().collect();
        for gone in bound.difference(&wanted) {
            let bound = self.listeners.borrow_mut().remove(gone);
            if let Some(bound) = bound {
                bound.task.end().await;
            }
        }
        let mut trouble = None;
        for local in wanted.difference(&bound) {
            if let Err(error) = self.listen(*local).await {
                let what = format!("no mail service on {local}: {error}");
                warn!("{what}");
                trouble = Some(what);
            }
        }
        *self.trouble.borrow_mut() = trouble;
    }
}

impl<N: Net> Instance for OfficeInstance<N> {
    fn activate(&self) {
        let Settings { users, domains, shares, .. } = &self.shared.settings;
        self.shared.ground.rates.borrow_mut().set(shares.wan_messages_a_minute);
        let of_all = domains.iter().filter(|domain| domain.users.is_none());
        let names: Vec<_> = of_all.map(|domain| domain.name.as_str()).collect();
        self.shared.ground.set_users(users, &names);
        if let Some(opener) = self.opener.borrow_mut().take() {
            self.shared.ground.open(opener);
        }
    }

    fn run(&self) -> LocalFuture<'static, ()> {
        let Some(this) = self.this.upgrade() else { return Box::pin(std::future::pending()) };
        let mut addresses = self.addresses.clone();
        Box::pin(async move {
            let following = async {
                while addresses.changed().await.is_ok() {
                    let new = Rc::clone(&addresses.borrow_and_update());
                    this.follow(&new).await;
                }
            };
            let providing = async {
                let opened = this.shared.ground.when_opened().await;
                opened.provide(this.shared.directory.users()).await;
                opened.watch_room(this.shared.settings.disk_reserve).await;
            };
            tokio::join!(following, providing);
            // Nobody publishes any more: another configuration is in force.
            std::future::pending::<()>().await;
        })
    }

    fn state(&self) -> State {
        let listeners = self.listeners.borrow();
        let failed = listeners.iter().find(|(_, bound)| bound.has_failed.get());
        let failed = failed.map(|(local, _)| format!("no mail service on {local}: the network has failed"));
        let trouble = self
            .shared
            .ground
            .trouble(self.shared.clock.now())
            .or(failed)
            .or_else(|| self.trouble.borrow().clone());
        trouble.map_or(State::Running, State::Impaired)
    }

    fn listens(&self) -> Vec<Listening> {
        let listeners = self.listeners.borrow();
        let serving = listeners.iter().filter(|(_, bound)| !bound.has_failed.get());
        serving.map(|(local, _)| Listening { protocol: Protocol::TCP, local: *local }).collect()
    }

    fn stop(&self) -> LocalFuture<'static, ()> {
        let this = self.this.upgrade();
        Box::pin(async move {
            let Some(this) = this else { return };
            this.shared.finishing.send_replace(true);
            let listeners = std::mem::take(&mut *this.listeners.borrow_mut());
            for bound in listeners.into_values() {
                bound.task.ended().await;
            }
        })
    }
}

/// `stream` when it is time for the greeting: behind the handshake, if the connection begins with one.
async fn begun<S: Stream>(shared: &Shared, stream: S, begins_with_tls: bool) -> io::Result<Box<dyn Stream>> {
    match &shared.tls {
        Some(tls) if begins_with_tls => {
            let stopped = async {
                shared.finishing().await;
                Err(io::Error::from(io::ErrorKind::ConnectionAborted))
            };
            let stream = race(stopped, async { Ok(tls.accept(stream).await?) }).await?;
            Ok(Box::new(stream))
        }
        _ => Ok(Box::new(stream)),
    }
}

/// Takes connections until the service stops, and waits for the last of them to end.
async fn accept<N: Net>(shared: Rc<Shared>, listener: N::Listener, has_failed: Rc<Cell<bool>>) {
    let mut served = JoinSet::new();
    let begins_with_tls = shared.tls_port() == Some(listener.local_addr().port());
    loop {
        let stopped = async {
            shared.finishing().await;
            None
        };
        let mut stream = match race(stopped, async { Some(listener.accept().await) }).await {
            None => break,
            Some(Ok(stream)) => stream,
            Some(Err(error)) => {
                error!("no mail service on {} any more: {error}", listener.local_addr());
                has_failed.set(true);
                break;
            }
        };
        while served.try_join_next().is_some() {}
        let peer = stream.peer_addr().ip().to_canonical();
        let (is_lan, shares) = (shared.is_lan(peer), shared.settings.shares);
        let share = if is_lan { shares.lan_connections } else { shares.wan_connections };
        let Some(admitted) = shared.ground.connections.admit(shared.clock.now(), peer, is_lan, share) else {
            shared.stats.borrow_mut().connections_refused += 1;
            // It is sent to its end if there is room for it, as there is on a new connection; nobody waits for it.
            let told = async { _ = stream.write_all(TOO_MANY_CONNECTIONS).await };
            if !begins_with_tls {
                race(told, std::future::ready(())).await;
            }
            continue;
        };
        shared.stats.borrow_mut().connections += 1;
        let policy = shared.policy(peer, begins_with_tls);
        let desk = Desk::new(Rc::clone(&shared), peer, is_lan);
        let shared = Rc::clone(&shared);
        served.spawn_local(async move {
            if let Ok(stream) = begun(&shared, stream, begins_with_tls).await {
                let session = Session::new(shared.clock.now(), policy);
                connection::serve(shared, stream, session, desk, admitted).await;
            } else {
                shared.stats.borrow_mut().connections_lost += 1;
            }
        });
    }
    drop(listener);
    while served.join_next().await.is_some() {}
}
