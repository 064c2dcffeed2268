//! The services' half of a gateway, on one thread: the host stack and the DHCP client for as long as the
//! gateway runs, the others until a [`reload`] starts new ones.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use gatepost_dataplane::config::{self as dataplane, Mode};
use gatepost_ground::InterfaceId;
use gatepost_services::clock::Clock;
use gatepost_services::dhcp::inbox::{self, inbox};
use gatepost_services::dhcp::service::Port;
use gatepost_services::dns;
use gatepost_services::net::stack::{Stack, StackConfig};
use gatepost_services::race::race;
use gatepost_services::store::{Disk, Storage};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use super::bindings::SharedBindings;
use super::current::{Current, open_leases};
use super::generation::{Generation, Prepared};
use super::identity::Identity;
use super::inspector::Inspector;
use super::link::HostLink;
use super::reload::{self, ReloadError, Reloader, Request};
use super::service_counters::ServiceCounters;
use super::wan_client::WanClient;
use crate::config::Config;
use crate::error::Error;

/// Where a DHCP task gets its frames from.
pub(super) type Frames = inbox::Sender;

/// The services, ready to run.
pub struct Services {
    pub(super) resources: Resources,
    pub(super) inspector: Inspector,
    pub(super) reloader: Reloader,
    pub(super) reloads: mpsc::Receiver<Request>,
    pub(super) rng: StdRng,
}

/// What the services work with.
pub(super) struct Resources {
    pub identity: Identity,
    pub clock: Rc<dyn Clock>,
    /// What survives a restart.
    pub storage: Arc<dyn Storage>,
    /// The same, awaited.
    pub disk: Disk,
    /// The way to the worker and back.
    pub link: Rc<HostLink>,
    /// The dataplane's configuration; swapped in whole.
    pub plan: Arc<ArcSwap<dataplane::Config>>,
    /// Who holds which address of the LAN; swapped in whole.
    pub bindings: SharedBindings,
    /// Makes the workers look at it.
    pub wake_workers: Arc<dyn Fn() + Send + Sync>,
    pub current: Rc<RefCell<Current>>,
    /// Where those who count are told of.
    pub counters: Rc<ServiceCounters>,
}

/// Why the services do not run, or no longer.
#[derive(Debug)]
pub enum ServicesError {
    /// The name service cannot use its settings.
    DnsUnusable(dns::ConfigError),
    /// The name service cannot listen on the LAN.
    DnsNotListening(io::Error),
    /// A task ended that should run as long as the gateway.
    BrokenDown(TaskEnd),
}

/// How a task ended by itself.
#[derive(Debug)]
pub enum TaskEnd {
    /// It returned.
    Returned,
    /// It panicked, or was cancelled.
    Failed(JoinError),
}

impl fmt::Display for TaskEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returned => f.write_str("it ended"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl From<ServicesError> for Error {
    fn from(error: ServicesError) -> Self {
        match error {
            ServicesError::DnsUnusable(error) => {
                Self::failed("cannot serve names", error, "correct [system] and [dns]")
            }
            ServicesError::DnsNotListening(error) => {
                Self::failed("cannot serve names on the LAN", error, "see the log")
            }
            ServicesError::BrokenDown(end) => Self::failed("a service broke down", end, "see the log"),
        }
    }
}

impl From<dns::ConfigError> for ServicesError {
    fn from(error: dns::ConfigError) -> Self {
        Self::DnsUnusable(error)
    }
}

impl Services {
    /// Tells about the running gateway.
    pub fn inspector(&self) -> Inspector {
        self.inspector.clone()
    }

    /// Changes the running gateway's configuration.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Runs the services until `stop` is ready; calls `ready` as soon as each of them answers. It must be
    /// called in a [`tokio::task::LocalSet`].
    ///
    /// # Errors
    ///
    /// A service cannot use its settings, or breaks down.
    pub async fn run(
        mut self,
        ready: impl FnOnce(),
        stop: impl Future<Output = ()>,
    ) -> Result<(), ServicesError> {
        let mut stop = pin!(stop);
        let mut stack_task = JoinSet::new();
        let stack = self.start_stack(&mut stack_task);
        let prepared = {
            let current = self.resources.current.borrow();
            let (config, leases) = (Rc::clone(&current.config), current.leases.clone());
            let rng = StdRng::from_rng(&mut self.rng);
            Prepared::new(config, leases, &self.resources, &stack, rng)?
        };
        let (mut wan_client, mut generation) = self.go_over_to(prepared, &stack, None).await?;
        ready();
        loop {
            match self.next(stop.as_mut(), &mut stack_task, wan_client.as_mut(), &mut generation).await {
                Happening::Stop => return Ok(()),
                Happening::BrokenDown(end) => return Err(ServicesError::BrokenDown(end)),
                Happening::Reload(Request { config, answer }) => {
                    let outcome = match self.prepare(*config, &stack) {
                        Ok(prepared) => {
                            generation.end().await;
                            (wan_client, generation) = self.go_over_to(prepared, &stack, wan_client).await?;
                            Ok(())
                        }
                        Err(error) => Err(error),
                    };
                    // Who has gone away need not be told.
                    _ = answer.send(outcome);
                }
            }
        }
    }

    /// Waits for whatever happens first.
    async fn next(
        &mut self,
        stop: Pin<&mut impl Future<Output = ()>>,
        stack: &mut JoinSet<()>,
        wan_client: Option<&mut WanClient>,
        generation: &mut Generation,
    ) -> Happening {
        let stopped = async {
            stop.await;
            Happening::Stop
        };
        let asked = async {
            match self.reloads.recv().await {
                Some(request) => Happening::Reload(request),
                None => std::future::pending().await,
            }
        };
        let client_ended = async {
            match wan_client {
                Some(client) => client.ended().await,
                None => std::future::pending().await,
            }
        };
        let broken_down = async {
            Happening::BrokenDown(race(first_ended(stack), race(client_ended, generation.ended())).await)
        };
        race(stopped, race(asked, broken_down)).await
    }

    /// Makes what `config` needs, or says why it cannot be taken.
    fn prepare(&mut self, config: Config, stack: &Stack) -> Result<Prepared, ReloadError> {
        let current = self.resources.current.borrow();
        reload::check(&current.config, &config)?;
        let leases = match &current.leases {
            Some(leases) if config.dhcp.enabled => Some(Rc::clone(leases)),
            _ => open_leases(&config, &self.resources.storage, &*self.resources.clock),
        };
        let rng = StdRng::from_rng(&mut self.rng);
        Ok(Prepared::new(Rc::new(config), leases, &self.resources, stack, rng)?)
    }

    async fn go_over_to(
        &mut self,
        prepared: Prepared,
        stack: &Stack,
        wan_client: Option<WanClient>,
    ) -> Result<(Option<WanClient>, Generation), ServicesError> {
        let (config, leases) = (Rc::clone(&prepared.config), prepared.leases.clone());
        let rng = StdRng::from_rng(&mut self.rng);
        let wan_client = WanClient::for_config(&config, &self.resources, rng, wan_client);
        *self.resources.current.borrow_mut() = Current { config, leases, dns_upstreams: Vec::new() };
        Generation::start(prepared, &self.resources, stack, wan_client.as_ref())
            .await
            .map(|generation| (wan_client, generation))
            .map_err(ServicesError::DnsNotListening)
    }

    fn start_stack(&mut self, task: &mut JoinSet<()>) -> Stack {
        let plan = self.resources.plan.load();
        let mtu = match plan.mode {
            Mode::LanOnly => plan.interface(Config::LAN).mtu,
            Mode::Router | Mode::Nat | Mode::NatDmz => {
                plan.interfaces.iter().map(|i| i.mtu).min().unwrap_or(0)
            }
        };
        let settings = StackConfig { mtu: mtu.into(), ..StackConfig::default() };
        let link = Rc::clone(&self.resources.link);
        let emit = move |packet: &[u8]| link.emit_packet(packet);
        let rng = StdRng::from_rng(&mut self.rng);
        let stack = Stack::new(settings, Rc::clone(&self.resources.clock), rng, emit);
        let running = stack.clone();
        task.spawn_local(async move { running.run().await });
        self.resources.counters.stack_began(&stack);
        stack
    }
}

enum Happening {
    Stop,
    Reload(Request),
    BrokenDown(TaskEnd),
}

impl Resources {
    /// A way to send and receive whole frames on `interface`.
    pub fn port(&self, interface: InterfaceId) -> (Frames, Port<impl Fn(&[u8]) -> bool + use<>>) {
        let mac = if interface == Config::LAN { self.identity.lan } else { self.identity.wan };
        let (sender, frames) = inbox();
        let link = Rc::clone(&self.link);
        let transmit = move |frame: &[u8]| link.emit_frame(interface, frame);
        (sender, Port { mac, frames, transmit })
    }
}

/// Waits until one of `tasks` has ended, and says how; for ever if there is none.
pub(super) async fn first_ended(tasks: &mut JoinSet<()>) -> TaskEnd {
    match tasks.join_next().await {
        Some(Ok(())) => TaskEnd::Returned,
        Some(Err(error)) => TaskEnd::Failed(error),
        None => std::future::pending().await,
    }
}
