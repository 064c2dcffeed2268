//! The office's time server as a [`Service`](crate::service::Service).
//!
//! The time client asks the servers of the configuration in force; its findings outlast a reload.
//!
//! An instance binds the gateway's addresses while it is prepared, and follows them when they change. The counters and
//! the rate limits outlast it. An instance that is replaced answers the requests that it has read; its successor
//! answers those that wait at a socket.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use gatepost_ground::Role;
use gatepost_ground::wire::Protocol;
use tracing::warn;

use super::asking::{Asking, Source};
use super::client::sample::SECOND;
use super::codec::PORT;
use super::server::{Arrival, Server};
use super::stats::Stats;
use super::timekeeper::Timekeeper;
use crate::addresses::{Addresses, Subscription};
use crate::clock::Clock;
use crate::net::{Net, UdpSocket};
use crate::own_time::OwnTime;
use crate::service::{self, Host, Instance, Kind, Listening, LocalFuture, OnWan, State, Unprepared};
use crate::task::Task;
use crate::wait::first_of;
use crate::watch;

/// The service, independent of its configuration.
pub const KIND: Kind = Kind {
    name: "ntp",
    ports: &[(Protocol::UDP, PORT)],
    on_wan: OnWan::WhenListed,
    is_limited_by_network: true,
    has_logins: false,
    about: "The time server and the time client",
    counters: Stats::GLOSSARY,
};

/// The longest request: one with the extension fields of Network Time Security (RFC 8915) has about 1,000 octets.
const DATAGRAM_OCTETS_MAX: usize = 2_048;

/// The configuration of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether the server is on.
    pub enabled: bool,
    /// The stratum while no daemon disciplines the machine's clock, up to 15; 0: answers say that it is unsynchronised.
    pub local_stratum: u8,
    /// Whether the service listens on the outside, too.
    pub on_outside: bool,
    /// The time servers that the client asks while no daemon disciplines the machine's clock.
    pub sources: Vec<Source>,
}

/// The time server and the time client, which outlive their configurations.
pub struct OfficeNtp {
    /// Made when the service is first prepared.
    server: RefCell<Option<Rc<RefCell<Server>>>>,
    timekeeper: Timekeeper,
    asking: Rc<RefCell<Option<Task>>>,
}

impl OfficeNtp {
    /// The service whose client measures `own_time`, which the server sends if it is the services' clock.
    pub fn new(own_time: Rc<OwnTime>) -> Self {
        Self { server: RefCell::default(), timekeeper: Timekeeper::new(own_time), asking: Rc::default() }
    }
}

/// The client of one configuration.
struct OfficeClient<N: Net> {
    /// The client's task before its start; `None` if there are no sources.
    next: RefCell<Option<Asking<N>>>,
    timekeeper: Timekeeper,
    /// The running client task, of this configuration or another.
    asking: Rc<RefCell<Option<Task>>>,
}

impl<N: Net> OfficeClient<N> {
    /// Replaces the client task of the former configuration.
    fn begin(&self) {
        let next = self.next.take();
        if next.is_none() {
            let mut client = self.timekeeper.client_mut();
            let now = self.timekeeper.machine().now();
            client.set_sources(now, &[]);
            client.restart(now);
        }
        *self.asking.borrow_mut() = next.map(|next| Task::spawn(next.run()));
    }
}

/// The service of a configuration without the server.
struct Silent<N: Net>(OfficeClient<N>);

impl<N: Net> Instance for Silent<N> {
    fn activate(&self) {
        self.0.begin();
    }

    fn run(&self) -> LocalFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn state(&self) -> State {
        State::Off
    }

    fn listens(&self) -> Vec<Listening> {
        Vec::new()
    }

    fn stop(&self) -> LocalFuture<'static, ()> {
        Box::pin(async {})
    }
}

impl<N: Net> service::Service<N> for OfficeNtp {
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
            let has_sources = settings.enabled && !settings.sources.is_empty();
            let asking = has_sources.then(|| Asking {
                net: host.net.clone(),
                timekeeper: self.timekeeper.clone(),
                sources: settings.sources.clone(),
                resolver: host.resolver(),
                addresses: host.addresses.clone(),
                rng: host.rng(),
            });
            let client = OfficeClient {
                next: RefCell::new(asking),
                timekeeper: self.timekeeper.clone(),
                asking: Rc::clone(&self.asking),
            };
            if !settings.enabled {
                return Ok(Rc::new(Silent(client)) as Rc<dyn Instance>);
            }
            let new = || Rc::new(RefCell::new(Server::new(host.clock.now())));
            let server = Rc::clone(self.server.borrow_mut().get_or_insert_with(new));
            Ok(OfficeInstance::prepare(settings, host, server, client).await? as Rc<dyn Instance>)
        })
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let of_server =
            self.server.borrow().as_ref().map(|server| server.borrow().stats()).unwrap_or_default();
        let of_client = self.timekeeper.client().stats();
        // Each counts what the other does not.
        of_server
            .iter()
            .zip(of_client.iter())
            .map(|((name, served), (_, asked))| (name, served + asked))
            .collect()
    }
}

/// The time server of one configuration.
struct OfficeInstance<N: Net> {
    net: N,
    shared: Rc<Shared>,
    client: OfficeClient<N>,
    on_outside: bool,
    addresses: Subscription,
    listeners: RefCell<BTreeMap<SocketAddr, Task>>,
    /// The last failure to bind a changed address.
    trouble: RefCell<Option<String>>,
    this: Weak<Self>,
}

/// The state that the tasks of an instance share.
struct Shared {
    server: Rc<RefCell<Server>>,
    clock: Rc<dyn Clock>,
    addresses: Subscription,
    local_stratum: u8,
    /// Whether the tasks read no more requests.
    finishing: watch::Sender<bool>,
}

impl<N: Net> OfficeInstance<N> {
    async fn prepare(
        settings: Settings,
        host: &Host<N>,
        server: Rc<RefCell<Server>>,
        client: OfficeClient<N>,
    ) -> Result<Rc<Self>, Unprepared> {
        let mut addresses = host.addresses.clone();
        let now = Rc::clone(&addresses.borrow_and_update());
        if now.ipv4(Role::Inside).next().is_none() {
            return Err(Unprepared::without_address(KIND.name));
        }
        let Settings { local_stratum, on_outside, .. } = settings;
        let (clock, finishing) = (Rc::clone(&host.clock), watch::Sender::new(false));
        let instance = Rc::new_cyclic(|this| Self {
            net: host.net.clone(),
            shared: Rc::new(Shared { server, clock, addresses: addresses.clone(), local_stratum, finishing }),
            client,
            on_outside,
            addresses,
            listeners: RefCell::default(),
            trouble: RefCell::default(),
            this: Weak::clone(this),
        });
        for local in now.places(&[PORT], on_outside) {
            let told = |error| Unprepared::not_listening(KIND.name, local, &error, "see the log");
            instance.listen(local).await.map_err(told)?;
        }
        Ok(instance)
    }

    async fn listen(&self, local: SocketAddr) -> io::Result<()> {
        let socket = self.net.bind_udp(local).await?;
        let task = Task::spawn(serve(Rc::clone(&self.shared), socket));
        self.listeners.borrow_mut().insert(local, task);
        Ok(())
    }

    /// Binds the `new` addresses, and releases those that are gone.
    async fn follow(&self, new: &Addresses) {
        let wanted = new.places(&[PORT], self.on_outside);
        // A failed listener is bound again.
        let mut listeners = self.listeners.take();
        let gone: Vec<_> =
            listeners.extract_if(.., |local, task| !wanted.contains(local) || task.is_over()).collect();
        *self.listeners.borrow_mut() = listeners;
        for (_, task) in gone {
            task.end().await;
        }
        let mut trouble = None;
        for local in wanted {
            if self.listeners.borrow().contains_key(&local) {
                continue;
            }
            if let Err(error) = self.listen(local).await {
                let what = format!("no time server on {local}: {error}");
                warn!("{what}");
                trouble = Some(what);
            }
        }
        *self.trouble.borrow_mut() = trouble;
    }
}

/// Answers the requests at `socket`, until the instance finishes or the socket fails.
async fn serve<U: UdpSocket>(shared: Rc<Shared>, socket: U) {
    let Shared { server, clock, addresses, local_stratum, finishing } = &*shared;
    let mut finishing = finishing.subscribe();
    let mut buffer = [0; DATAGRAM_OCTETS_MAX];
    loop {
        let finished = async {
            finishing.raised().await;
            None
        };
        let received = async { socket.recv_from(&mut buffer).await.ok() };
        let Some((len, source)) = first_of(finished, received).await else { return };
        let arrival = Arrival {
            time: clock.wall_time(),
            now: clock.now(),
            discipline: clock.discipline(),
            source: source.ip(),
            is_inside: addresses.borrow().is_inside(source.ip()),
            datagram: &buffer[..len],
        };
        let reply = server.borrow_mut().handle(*local_stratum, &arrival);
        let Some(reply) = reply else { continue };
        let octets = reply.octets_at(clock.now());
        if socket.send_to(&octets, source).await.is_err() {
            server.borrow_mut().note_lost_reply();
        }
    }
}

impl<N: Net> Instance for OfficeInstance<N> {
    fn activate(&self) {
        self.client.begin();
    }

    fn run(&self) -> LocalFuture<'static, ()> {
        let Some(this) = self.this.upgrade() else { return Box::pin(std::future::pending()) };
        let mut addresses = self.addresses.clone();
        Box::pin(async move {
            while addresses.changed().await.is_ok() {
                let new = Rc::clone(&addresses.borrow_and_update());
                this.follow(&new).await;
            }
            // The publisher has ended: another configuration is in force.
            std::future::pending::<()>().await;
        })
    }

    fn state(&self) -> State {
        let listeners = self.listeners.borrow();
        let failed = listeners.iter().find(|(_, task)| task.is_over());
        let failed = failed.map(|(local, _)| format!("no time server on {local}: the network has failed"));
        failed.or_else(|| self.trouble.borrow().clone()).map_or(State::Running, State::Impaired)
    }

    fn note(&self) -> Option<String> {
        let Shared { clock, local_stratum, .. } = &*self.shared;
        let (discipline, timekeeper) = (clock.discipline(), &self.client.timekeeper);
        let (client, kernel) = (timekeeper.client(), timekeeper.reading());
        let agreeing = client.agreeing();
        if let (Some(served), Some(peer), Some(_)) = (client.served_time(), client.peer(), discipline.source)
        {
            let error = discipline.error_max.as_millis() + 1;
            let ahead = served.ahead_of_kernel(&kernel);
            let direction = if ahead > 0 { "behind" } else { "ahead" };
            let (secs, millis) = (ahead.abs() / SECOND, ahead.abs() % SECOND / (SECOND / 1_000));
            return Some(format!(
                "synchronised to {peer}: {agreeing}, within {error} ms; \
                 the kernel's clock, which no daemon disciplines, is {secs}.{millis:03} s {direction}"
            ));
        }
        if discipline.is_synchronised {
            return None;
        }
        let answers = match local_stratum {
            0 => "answers say so".to_owned(),
            stratum => format!("answers have stratum {stratum}"),
        };
        let sources = if agreeing.sources > 0 { format!(", {agreeing}") } else { String::new() };
        Some(format!("unsynchronised: no daemon disciplines this machine's clock{sources}, and {answers}"))
    }

    fn listens(&self) -> Vec<Listening> {
        let listeners = self.listeners.borrow();
        let serving = listeners.iter().filter(|(_, task)| !task.is_over());
        serving.map(|(local, _)| Listening { protocol: Protocol::UDP, local: *local }).collect()
    }

    fn stop(&self) -> LocalFuture<'static, ()> {
        self.shared.finishing.send_replace(true);
        let listeners = self.listeners.take();
        Box::pin(async move {
            for task in listeners.into_values() {
                task.ended().await;
            }
        })
    }
}
