//! What the gateway's services have in common, and what each is given.
//!
//! A [`Service`] lives as long as the gateway and has what outlasts a reload, such as its counters. For each
//! configuration it prepares an [`Instance`]. Preparing can fail, and until [`Instance::activate`] nobody notices
//! anything of it:
//!
//! ```text
//!   new configuration ──▶ prepare every service ──▶ activate all ──▶ stop the former instances
//!                              │ one fails
//!                              └──▶ drop what was prepared; the former instances serve as before
//! ```
//!
//! To add a service: a folder with its state machine, its settings and its `Service`; a place in the gateway's list;
//! its section of the file.

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use gatepost_ground::wire::Protocol;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::addresses::Subscription;
use crate::clock::Clock;
use crate::crypto::tls::KeysFrom;
use crate::dns::published::PublishedTexts;
use crate::dns::resolver::Resolver;
use crate::lan_hosts::LanHosts;
use crate::net::Net;
use crate::store::{Disk, Storage};
pub use crate::task::LocalFuture;
use crate::tls::Tls;
use crate::work::Work;

/// What is known of a service whether it runs or not.
#[derive(Debug)]
pub struct Kind {
    /// Its name: in the configuration, in reports, in errors.
    pub name: &'static str,
    /// The ports that it is served on.
    pub ports: &'static [(Protocol, u16)],
    /// Whether the WAN may use it.
    pub on_wan: OnWan,
    /// Whether a source address tells who asks, so that networks can be admitted or not.
    pub is_limited_by_network: bool,
    /// Whether it asks everybody for a password.
    pub has_logins: bool,
    /// What it counts, in a few words.
    pub about: &'static str,
    /// Its counters, each with its meaning.
    pub counters: &'static [(&'static str, &'static str)],
}

/// Whether the WAN may use a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnWan {
    /// It is for the LAN alone.
    Never,
    /// Only if the configuration lists it.
    WhenListed,
    /// If the configuration lists it, or lists none and the mode leaves the WAN open.
    ByDefault,
}

/// A service of the gateway's, for as long as the gateway runs.
pub trait Service<N: Net> {
    /// What a configuration says of it.
    type Settings: 'static;

    /// What is known of it in any case.
    fn kind(&self) -> &'static Kind;

    /// Makes what `settings` ask for, which serves nobody yet: binds what it listens on, and changes nothing that
    /// others see. What it binds through a staged [`Net`] is inactive until all services are prepared. A service
    /// that is switched off prepares an instance, too, in [`State::Off`].
    ///
    /// # Errors
    ///
    /// The service cannot go by `settings`.
    fn prepare<'a>(
        &'a self,
        settings: Self::Settings,
        host: &'a Host<N>,
    ) -> LocalFuture<'a, Result<Rc<dyn Instance>, Unprepared>>;

    /// What it has counted since the gateway began, in the order of [`Kind::counters`].
    fn counters(&self) -> Vec<(&'static str, u64)>;
}

/// A service at work by one configuration.
pub trait Instance {
    /// Begins to serve; the network's bindings are active. The former instance still runs and will be stopped.
    fn activate(&self);

    /// The service's own work, which never ends by itself unless the service breaks down. It is run from
    /// [`Instance::activate`] on until [`Instance::stop`] is done.
    fn run(&self) -> LocalFuture<'static, ()>;

    /// Whether it serves.
    fn state(&self) -> State;

    /// What people want to know of a service that serves as it should.
    fn note(&self) -> Option<String> {
        None
    }

    /// Where it listens now.
    fn listens(&self) -> Vec<Listening>;

    /// Takes nothing new, and finishes within a bounded time what is under way.
    fn stop(&self) -> LocalFuture<'static, ()>;
}

/// A service that is switched off.
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

/// Whether a service serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is switched off.
    Off,
    /// It serves.
    Running,
    /// It serves, but not as it should.
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

/// A place where a service listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listening {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The address and the port.
    pub local: SocketAddr,
}

/// Why a service cannot go by its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unprepared {
    /// The service.
    pub service: &'static str,
    /// What is wrong.
    pub why: String,
    /// What to do about it.
    pub remedy: String,
}

impl Unprepared {
    /// The service is for the LAN, and the gateway has no address there.
    pub fn without_address(service: &'static str) -> Self {
        let (why, remedy) = ("there is no address on the LAN".to_owned(), "write lan.address".to_owned());
        Self { service, why, remedy }
    }
}

impl fmt::Display for Unprepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.service, self.why)
    }
}

impl std::error::Error for Unprepared {}

/// What services are given to work with. What a service needs besides joins here.
pub struct Host<N: Net> {
    /// The network. What is bound through it while services are prepared is inactive until all of them are.
    pub net: N,
    /// What survives a restart.
    pub disk: Disk,
    /// The same for jobs, which may wait for it.
    pub storage: Arc<dyn Storage>,
    /// Who does what takes long.
    pub work: Rc<dyn Work>,
    /// The time.
    pub clock: Rc<dyn Clock>,
    /// The addresses of the gateway's interfaces: those to come, while services are prepared.
    pub addresses: Subscription,
    /// Where the keys come from that services make.
    pub keys: KeysFrom,
    /// TXT records, which services may publish at any time, and the name service answers.
    pub texts: PublishedTexts,
    /// TLS, if there is a certificate to show as soon as the services are activated.
    pub tls: Option<Rc<Tls>>,
    rng: RefCell<StdRng>,
    lan_hosts: RefCell<Rc<dyn LanHosts>>,
    resolver: RefCell<Resolver>,
}

impl<N: Net> Host<N> {
    /// A host without TLS, on whose LAN nobody is known. `disk` is `storage`, by `work`. All randomness comes from `rng`,
    /// but for keys, which come from the operating system.
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
        let (keys, texts) = (KeysFrom::System, PublishedTexts::default());
        Self { net, disk, storage, work, clock, addresses, keys, texts, tls: None, rng, lan_hosts, resolver }
    }

    /// The same with keys from elsewhere.
    pub fn with_keys(self, keys: KeysFrom) -> Self {
        Self { keys, ..self }
    }

    /// The same with TLS.
    pub fn with_tls(self, tls: Rc<Tls>) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Randomness of a service's own.
    pub fn rng(&self) -> StdRng {
        StdRng::from_rng(&mut *self.rng.borrow_mut())
    }

    /// The LAN's hosts, as a service that was prepared before has published them.
    pub fn lan_hosts(&self) -> Rc<dyn LanHosts> {
        Rc::clone(&self.lan_hosts.borrow())
    }

    /// Publishes the LAN's hosts to the services that are prepared later, and to the dataplane and the reports once
    /// all are.
    pub fn publish_lan_hosts(&self, hosts: Rc<dyn LanHosts>) {
        *self.lan_hosts.borrow_mut() = hosts;
    }

    /// Asks the name service, as it was published by a service that was prepared before. It has answers once all services
    /// are activated.
    pub fn resolver(&self) -> Resolver {
        self.resolver.borrow().clone()
    }

    /// Publishes the name service to the services that are prepared later.
    pub fn publish_resolver(&self, resolver: Resolver) {
        *self.resolver.borrow_mut() = resolver;
    }
}
