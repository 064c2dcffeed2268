//! The interface of the gateway's services, and the environment that each gets.
//!
//! A [`Service`] lives as long as the gateway and owns the state that survives a reload, such as its counters. For each
//! configuration it prepares an [`Instance`]. Preparing can fail, and has no visible effect until
//! [`Instance::activate`]:
//!
//! ```text
//!   new configuration ──▶ prepare every service ──▶ activate all ──▶ stop the former instances
//!                              │ one fails
//!                              └──▶ drop what was prepared; the former instances serve as before
//! ```
//!
//! To add a service: a folder with its state machine, its settings and its `Service`; an entry in the gateway's list;
//! its section of the configuration.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use gatepost_ground::wire::Protocol;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::addresses::Subscription;
use crate::clock::Clock;
use crate::crypto::tls::KeySource;
use crate::dns::published::PublishedTexts;
use crate::dns::resolver::Resolver;
use crate::lan_hosts::LanHosts;
use crate::net::Net;
use crate::store::{Disk, Storage};
pub use crate::task::LocalFuture;
use crate::tls::Tls;
use crate::work::Work;

/// The static description of a service.
#[derive(Debug)]
pub struct Kind {
    /// Its name in the configuration, reports and errors.
    pub name: &'static str,
    /// The ports that it listens on.
    pub ports: &'static [(Protocol, u16)],
    /// Whether the WAN may use it.
    pub on_wan: OnWan,
    /// Whether a client's source address identifies its network, so that networks can be admitted or denied.
    pub is_limited_by_network: bool,
    /// Whether every client has to log in.
    pub has_logins: bool,
    /// What the service's counters count, in a few words.
    pub about: &'static str,
    /// Its counters, each with its description.
    pub counters: &'static [(&'static str, &'static str)],
}

/// Whether the WAN may use a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnWan {
    /// The service is for the LAN alone.
    Never,
    /// Only if the configuration lists the service.
    WhenListed,
    /// If the configuration lists the service, or lists none and the mode leaves the WAN open.
    ByDefault,
}

/// A service of the gateway, alive as long as the gateway.
pub trait Service<N: Net> {
    /// The service's part of the configuration.
    type Settings: 'static;

    /// The static description of the service.
    fn kind(&self) -> &'static Kind;

    /// Builds an instance for `settings`, which serves no client yet: it binds the ports, and has no visible effect.
    /// Bindings through a staged [`Net`] are inactive until all services are prepared. A disabled service prepares an
    /// instance, too, in [`State::Off`].
    ///
    /// # Errors
    ///
    /// The service cannot run with `settings`.
    fn prepare<'a>(
        &'a self,
        settings: Self::Settings,
        host: &'a Host<N>,
    ) -> LocalFuture<'a, Result<Rc<dyn Instance>, Unprepared>>;

    /// The counters' values since the gateway started, in the order of [`Kind::counters`].
    fn counters(&self) -> Vec<(&'static str, u64)>;
}

/// A service that runs with one configuration.
pub trait Instance {
    /// Starts to serve; the network's bindings are active. The former instance still runs and will be stopped.
    fn activate(&self);

    /// The service's own work, which returns only if the service breaks down. The caller runs it from
    /// [`Instance::activate`] until [`Instance::stop`] is done.
    fn run(&self) -> LocalFuture<'static, ()>;

    /// The instance's state.
    fn state(&self) -> State;

    /// A remark for reports on a service without a problem.
    fn note(&self) -> Option<String> {
        None
    }

    /// The addresses and ports where it listens now.
    fn listens(&self) -> Vec<Listening>;

    /// Accepts nothing new, and finishes the work in progress within a bounded time.
    fn stop(&self) -> LocalFuture<'static, ()>;
}

/// A disabled service.
pub struct Off;

impl Instance for Off {
    fn activate(&self) {}

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

/// The state of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is disabled.
    Off,
    /// It serves without a problem.
    Running,
    /// It serves with this problem.
    Impaired(String),
}

impl State {
    /// Its name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Running => "running",
            Self::Impaired(_) => "impaired",
        }
    }
}

/// An address and port where a service listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listening {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The address and the port.
    pub local: SocketAddr,
}

/// Why a service cannot run with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unprepared {
    /// The service.
    pub service: &'static str,
    /// The problem.
    pub why: String,
    /// The remedy for the user.
    pub remedy: String,
}

impl Unprepared {
    /// The error of a service for the LAN when the gateway has no address there.
    pub fn without_address(service: &'static str) -> Self {
        let (why, remedy) = ("there is no address on the LAN".to_owned(), "write lan.address".to_owned());
        Self { service, why, remedy }
    }

    /// The error of a service that cannot listen on `local`.
    pub fn not_listening(service: &'static str, local: SocketAddr, error: &io::Error, remedy: &str) -> Self {
        Self { service, why: format!("it cannot listen on {local}: {error}"), remedy: remedy.to_owned() }
    }
}

impl fmt::Display for Unprepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.service, self.why)
    }
}

impl std::error::Error for Unprepared {}

/// The environment of services.
pub struct Host<N: Net> {
    /// The network. Bindings made while services are prepared are inactive until all services are prepared.
    pub net: N,
    /// Persistent storage.
    pub disk: Disk,
    /// The same storage for jobs, which may block.
    pub storage: Arc<dyn Storage>,
    /// The executor of long jobs.
    pub work: Rc<dyn Work>,
    /// The time.
    pub clock: Rc<dyn Clock>,
    /// The addresses of the gateway's interfaces; while services are prepared, those of the new configuration.
    pub addresses: Subscription,
    /// The source of the keys that services generate.
    pub keys: KeySource,
    /// TXT records that services publish at any time, and the DNS server answers.
    pub texts: PublishedTexts,
    /// TLS, if the gateway will have a certificate when the services are activated.
    pub tls: Option<Rc<Tls>>,
    rng: RefCell<StdRng>,
    lan_hosts: RefCell<Rc<dyn LanHosts>>,
    resolver: RefCell<Resolver>,
}

impl<N: Net> Host<N> {
    /// A host without TLS and without LAN hosts. `disk` is `storage` run by `work`. All randomness comes from `rng`,
    /// except for keys, which come from the operating system.
    pub fn new(
        net: N,
        (storage, disk): (Arc<dyn Storage>, Disk),
        work: Rc<dyn Work>,
        clock: Rc<dyn Clock>,
        addresses: Subscription,
        rng: StdRng,
    ) -> Self {
        let lan_hosts: Rc<dyn LanHosts> = Rc::new(());
        let (rng, lan_hosts) = (RefCell::new(rng), RefCell::new(lan_hosts));
        let resolver = RefCell::new(Resolver::none());
        let (keys, texts) = (KeySource::System, PublishedTexts::default());
        Self { net, disk, storage, work, clock, addresses, keys, texts, tls: None, rng, lan_hosts, resolver }
    }

    /// The same host with another source of keys.
    pub fn with_keys(self, keys: KeySource) -> Self {
        Self { keys, ..self }
    }

    /// The same host with TLS.
    pub fn with_tls(self, tls: Rc<Tls>) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// A random generator for one service.
    pub fn rng(&self) -> StdRng {
        StdRng::from_rng(&mut *self.rng.borrow_mut())
    }

    /// The LAN's hosts that an earlier service has published.
    pub fn lan_hosts(&self) -> Rc<dyn LanHosts> {
        Rc::clone(&self.lan_hosts.borrow())
    }

    /// Publishes the LAN's hosts to the services that are prepared later, and to dataplane and reports once all are
    /// prepared.
    pub fn publish_lan_hosts(&self, hosts: Rc<dyn LanHosts>) {
        *self.lan_hosts.borrow_mut() = hosts;
    }

    /// The resolver that an earlier service has published. It answers once all services are activated.
    pub fn resolver(&self) -> Resolver {
        self.resolver.borrow().clone()
    }

    /// Publishes the resolver to the services that are prepared later.
    pub fn publish_resolver(&self, resolver: Resolver) {
        *self.resolver.borrow_mut() = resolver;
    }
}
