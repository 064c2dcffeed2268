//! The office's DHCP server as a [`Service`].
//!
//! The lease table and the server's state survive a reload, which only changes the server's configuration. The former
//! instance still answers the frames in its queue, and the requests that wait for the disk; new frames go to its
//! successor from the activation on.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

use gatepost_ground::wire::Protocol;
use gatepost_ground::{MacAddr, Role};
use ipnet::Ipv4Net;

use super::frame::SERVER_PORT;
use super::hosts::{OfficeHosts, SharedLeases};
use super::inbox::{self, inbox};
use super::intake::{DhcpCounters, Intake};
use super::server::former::UNCONFIRMED_SECS;
use super::server::leases::Leases;
use super::server::{
    Config, DhcpEvent, FormerNetwork, FormerParameters, Match, Parameters, Reservation, Server,
};
use super::service::{Port, serve};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::events::Events;
use crate::net::Net;
use crate::service::{Host, Instance, Kind, Listening, LocalFuture, OnWan, Service, State, Unprepared};
use crate::work::{self, Work};

/// The static description of the service.
pub const KIND: Kind = Kind {
    name: "dhcp",
    ports: &[(Protocol::UDP, SERVER_PORT)],
    on_wan: OnWan::Never,
    is_limited_by_network: false,
    has_logins: false,
    about: "Frames for the DHCP server and client",
    counters: DhcpCounters::GLOSSARY,
};

/// The service's part of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether the service is enabled.
    pub enabled: bool,
    /// The addresses for clients without a reservation.
    pub pool: RangeInclusive<Ipv4Addr>,
    /// The duration of a lease.
    pub lease_secs: u32,
    /// Whether these settings may be undone at any moment: then no lease is longer than [`UNCONFIRMED_SECS`].
    pub is_unconfirmed: bool,
    /// Whether this is the LAN's only server.
    pub authoritative: bool,
    /// Whether clients are identified by their hardware addresses alone.
    pub ignore_client_id: bool,
    /// The clients' router.
    pub router: Advertised<Option<Ipv4Addr>>,
    /// The clients' name servers, the preferred first.
    pub name_servers: Advertised<Vec<Ipv4Addr>>,
    /// The clients' time servers, the preferred first.
    pub time_servers: Advertised<Vec<Ipv4Addr>>,
    /// The clients' domain, without a trailing dot.
    pub domain: String,
    /// Parameters for all clients, which take precedence over the above.
    pub parameters: Parameters,
    /// Parameters for the clients that meet criteria. If several name a parameter, the first is used.
    pub matches: Vec<Match>,
    /// The number of ports of the LAN.
    pub ports: usize,
    /// Reserved addresses; their names exist without a server, too.
    pub reservations: Vec<Reservation>,
}

/// A parameter that clients get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advertised<T> {
    /// The gateway's own address on the LAN.
    Own,
    /// A configured value.
    Other(T),
}

/// Sends a frame to the LAN; `false` if it failed.
pub type Transmit = Rc<dyn Fn(&[u8]) -> bool>;

/// The office's DHCP server over all configurations.
pub struct OfficeDhcp {
    intake: Rc<Intake>,
    mac: MacAddr,
    transmit: Transmit,
    /// The server, running or the last that ran.
    server: SharedServer,
    events: Events<DhcpEvent>,
}

/// The server and its lease table, once there is one.
type SharedServer = Rc<RefCell<Option<(Rc<RefCell<Server>>, SharedLeases)>>>;

impl OfficeDhcp {
    /// A server that receives frames from `intake` and sends by `transmit`. `mac` is the gateway's hardware address on
    /// the LAN.
    pub fn new(intake: Rc<Intake>, mac: MacAddr, transmit: Transmit) -> Self {
        Self { intake, mac, transmit, server: Rc::default(), events: Events::default() }
    }

    /// The server's events.
    pub fn events(&self) -> Events<DhcpEvent> {
        self.events.clone()
    }

    async fn prepare_server<N: Net>(
        &self,
        settings: Settings,
        host: &Host<N>,
    ) -> Result<Rc<dyn Instance>, Unprepared> {
        let (own, former) = {
            let addresses = host.addresses.borrow();
            let mut inside = addresses.all_ipv4(Role::Inside);
            (inside.next(), inside.next())
        };
        let known = self.server.borrow().as_ref().map(|(_, leases)| Rc::clone(leases));
        let leases = match known {
            _ if !settings.enabled => None,
            Some(known) => Some(known),
            None => Some(Rc::new(RefCell::new(read_leases(host).await))),
        };
        let hosts = OfficeHosts::new(leases.clone(), Rc::clone(&host.clock), &settings.reservations);
        host.publish_lan_hosts(Rc::new(hosts));
        let server = match (leases, own) {
            (None, _) => None,
            (Some(leases), Some(own)) => {
                let (sender, frames) = inbox();
                let (sender, frames) = (RefCell::new(Some(sender)), RefCell::new(Some(frames)));
                let config = server_config(settings, own, former);
                Some(Active {
                    config,
                    leases,
                    sender,
                    frames,
                    is_running: Cell::new(false),
                    ended: Notify::new(),
                    number: Cell::new(0),
                })
            }
            (Some(_), None) => return Err(Unprepared::without_address(KIND.name)),
        };
        Ok(Rc::new(OfficeInstance {
            server: Rc::new(server),
            intake: Rc::clone(&self.intake),
            current: Rc::clone(&self.server),
            clock: Rc::clone(&host.clock),
            work: Rc::clone(&host.work),
            mac: self.mac,
            transmit: Rc::clone(&self.transmit),
            events: self.events.clone(),
        }))
    }
}

impl<N: Net> Service<N> for OfficeDhcp {
    type Settings = Settings;

    fn kind(&self) -> &'static Kind {
        &KIND
    }

    fn prepare<'a>(
        &'a self,
        settings: Settings,
        host: &'a Host<N>,
    ) -> LocalFuture<'a, Result<Rc<dyn Instance>, Unprepared>> {
        Box::pin(self.prepare_server(settings, host))
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let server = self.server.borrow();
        let of_server = server.as_ref().map(|(server, _)| server.borrow().counters()).unwrap_or_default();
        let DhcpCounters { unanswered_disk_busy, addresses_in_foreign_use, from_other_servers, .. } =
            of_server;
        let intake = self.intake.counters();
        DhcpCounters { unanswered_disk_busy, addresses_in_foreign_use, from_other_servers, ..intake }
            .iter()
            .collect()
    }
}

/// Loads the leases from the disk, as far as it is readable.
async fn read_leases<N: Net>(host: &Host<N>) -> Leases {
    let mut leases = Leases::unread(Arc::clone(&host.storage), host.clock.now());
    loop {
        let request = leases.poll_request(host.clock.now());
        let Some(request) = request else { return leases };
        let done = work::run(&*host.work, move || request.perform()).await;
        leases.handle_done(host.clock.now(), host.clock.unix_time(), done);
    }
}

/// The server's configuration on a gateway with the address `own` on the LAN, and `former` if a change of that waits for
/// confirmation.
fn server_config(settings: Settings, own: Ipv4Net, former: Option<Ipv4Net>) -> Config {
    let servers = |told: &_, own: Ipv4Net| match told {
        Advertised::Own => vec![own.addr()],
        Advertised::Other(servers) => Vec::clone(servers),
    };
    let router = |own: Ipv4Net| match settings.router {
        Advertised::Own => Some(own.addr()),
        Advertised::Other(router) => router,
    };
    let former = former.map(|former| {
        // The former router is unknown, if it was another machine.
        let is_known = |router: Option<Ipv4Addr>| router.is_none_or(|router| former.contains(&router));
        let parameters =
            Some(router(former)).filter(|router| is_known(*router)).map(|router| FormerParameters {
                router,
                dns_servers: servers(&settings.name_servers, former),
                ntp_servers: servers(&settings.time_servers, former),
            });
        FormerNetwork { server_address: former.addr(), prefix: former.trunc(), parameters }
    });
    let longest = if settings.is_unconfirmed { UNCONFIRMED_SECS } else { u32::MAX };
    Config {
        server_address: own.addr(),
        prefix: own.trunc(),
        pool: settings.pool,
        lease_secs: settings.lease_secs.min(longest),
        authoritative: settings.authoritative,
        ignore_client_id: settings.ignore_client_id,
        router: router(own),
        dns_servers: servers(&settings.name_servers, own),
        domain: settings.domain,
        ntp_servers: servers(&settings.time_servers, own),
        former,
        parameters: settings.parameters,
        matches: settings.matches,
        mtu: None,
        ports: settings.ports,
        reservations: settings.reservations,
    }
}

/// The server with one configuration.
struct OfficeInstance {
    /// `None` if it is disabled.
    server: Rc<Option<Active>>,
    intake: Rc<Intake>,
    /// The slot of the running server.
    current: SharedServer,
    clock: Rc<dyn Clock>,
    work: Rc<dyn Work>,
    mac: MacAddr,
    transmit: Transmit,
    events: Events<DhcpEvent>,
}

struct Active {
    config: Config,
    leases: SharedLeases,
    /// The queue's sending half, for the intake at activation.
    sender: RefCell<Option<inbox::Sender>>,
    /// The queue's receiving half, for the running server.
    frames: RefCell<Option<inbox::Receiver>>,
    /// The server's number at the intake.
    number: Cell<u64>,
    is_running: Cell<bool>,
    /// Notified when the server has answered all frames and gets no more.
    ended: Notify,
}

impl Active {
    /// The server with this configuration applied.
    fn server(&self, current: &SharedServer, events: &Events<DhcpEvent>) -> Rc<RefCell<Server>> {
        let mut current = current.borrow_mut();
        let config = self.config.clone();
        match &*current {
            Some((server, leases)) if Rc::ptr_eq(leases, &self.leases) => {
                server.borrow_mut().set_config(config);
                Rc::clone(server)
            }
            _ => {
                let server = Server::new(config, Rc::clone(&self.leases)).with_events(events.clone());
                let server = Rc::new(RefCell::new(server));
                *current = Some((Rc::clone(&server), Rc::clone(&self.leases)));
                server
            }
        }
    }
}

impl Instance for OfficeInstance {
    fn activate(&self) {
        let active = self.server.as_ref().as_ref();
        // This drops the former instance's sender, so the instance ends once its queue is empty.
        let sender = active.and_then(|active| active.sender.take());
        let number = self.intake.set_server(sender);
        if let Some(active) = active {
            active.number.set(number);
        }
    }

    fn run(&self) -> LocalFuture<'static, ()> {
        let this = Rc::clone(&self.server);
        let active = self.server.as_ref().as_ref();
        let Some((active, frames)) = active.and_then(|active| Some((active, active.frames.take()?))) else {
            return Box::pin(pending());
        };
        active.is_running.set(true);
        let server = active.server(&self.current, &self.events);
        let transmit = Rc::clone(&self.transmit);
        let port = Port { mac: self.mac, frames, transmit: move |frame: &[u8]| transmit(frame) };
        let serving = serve(server, port, Rc::clone(&self.clock), Rc::clone(&self.work), pending());
        Box::pin(async move {
            serving.await;
            if let Some(active) = this.as_ref() {
                active.is_running.set(false);
                active.ended.notify_one();
            }
        })
    }

    fn state(&self) -> State {
        match self.server.as_ref() {
            None => State::Off,
            Some(active) if active.leases.borrow().is_unread() => {
                State::Impaired("the leases cannot be read".to_owned())
            }
            Some(_) => State::Running,
        }
    }

    fn note(&self) -> Option<String> {
        self.server.as_ref().as_ref()?;
        let current = self.current.borrow();
        let (server, _) = current.as_ref()?;
        server.borrow().foreign_servers(self.clock.now())
    }

    fn listens(&self) -> Vec<Listening> {
        let own = |active: &Active| {
            let former = active.config.former.as_ref().map(|former| former.server_address);
            [active.config.server_address].into_iter().chain(former).collect::<BTreeSet<_>>()
        };
        let server = self.server.as_ref().as_ref();
        let at = |own| Listening { protocol: Protocol::UDP, local: SocketAddr::from((own, SERVER_PORT)) };
        server.into_iter().flat_map(own).map(at).collect()
    }

    fn stop(&self) -> LocalFuture<'static, ()> {
        if let Some(active) = self.server.as_ref() {
            self.intake.end_server(active.number.get());
        }
        let this = Rc::clone(&self.server);
        Box::pin(async move {
            if let Some(active) = this.as_ref().as_ref().filter(|active| active.is_running.get()) {
                active.ended.notified().await;
            }
        })
    }
}
