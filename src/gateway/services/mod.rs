//! The services' half of a gateway, on one thread: the host stack and the DHCP client on the WAN for as long as the
//! gateway runs, and the services of the [`list`] until a [`reload`] replaces them.

pub mod list;

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;

use gatepost_dataplane::config::{self as dataplane, Mode};
use gatepost_services::admin::Codes;
use gatepost_services::clock::Clock;
use gatepost_services::net::stack::{Stack, StackConfig};
use gatepost_services::service::Unprepared;
use gatepost_services::store::Disk;
use gatepost_services::wait::first_of;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::command::Commander;
use super::dispatch::Dispatcher;
use super::failure::first_ended;
pub use super::failure::{ServicesError, TaskEnd};
use super::generation::{Generation, Prepared};
use super::inspector::Inspector;
use super::link::HostLink;
use super::reload::{self, ReloadError, Reloader, Request};
use super::resources::Resources;
use super::wan_client::WanClient;
use crate::admin::AdminPages;
use crate::config::Config;

/// The most old configurations whose services are still finishing; with one more, all of them are cut off.
pub const FORMER_MAX: usize = 4;

/// The services, ready to run.
pub struct Services {
    pub(super) resources: Resources,
    /// The pages of the administration observe it.
    pub(super) inspector: Rc<Inspector>,
    pub(super) commander: Commander,
    pub(super) pages: Rc<AdminPages>,
    pub(super) reloader: Reloader,
    pub(super) reloads: mpsc::Receiver<Request>,
    pub(super) rng: StdRng,
}

impl Services {
    /// The inspector of the running gateway.
    pub fn inspector(&self) -> Inspector {
        Inspector::clone(&self.inspector)
    }

    /// The commander of the running gateway's workers.
    pub fn commander(&self) -> Commander {
        self.commander.clone()
    }

    /// The pages of the administration, which still have to be told what changes the configuration.
    pub fn pages(&self) -> Rc<AdminPages> {
        Rc::clone(&self.pages)
    }

    /// The codes by which somebody at the gateway's machine uses the administration's pages.
    pub fn codes(&self) -> Codes {
        self.resources.list.codes().clone()
    }

    /// The clock of the running gateway.
    pub fn clock(&self) -> Rc<dyn Clock> {
        Rc::clone(&self.resources.clock)
    }

    /// The state directory, shared with the services.
    pub fn disk(&self) -> Disk {
        self.resources.disk.clone()
    }

    /// The reloader of the running gateway.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Runs the services until `stop` is ready, and then stops them; calls `ready` as soon as each of them answers. It
    /// must be called in a [`tokio::task::LocalSet`].
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
        let mut ground = self.start_ground();
        let config = Rc::clone(&self.resources.current.borrow().config);
        let prepared = self.prepare(config, None).await.map_err(ServicesError::Unprepared)?;
        let (mut wan_client, mut generation) = self.activate(prepared, None);
        // The services of old configurations, which finish what they have begun.
        let mut former = JoinSet::new();
        ready();
        loop {
            match self.next(stop.as_mut(), &mut ground, wan_client.as_mut(), &mut generation).await {
                Event::Stop => {
                    generation.cut_short().await;
                    return Ok(());
                }
                Event::BrokenDown(end) => return Err(ServicesError::BrokenDown(end)),
                Event::Reload(Request { config, answer }) => {
                    let outcome = match self.prepare_reload(*config, wan_client.as_ref()).await {
                        Ok(prepared) => {
                            generation.leave_addresses();
                            let (client, new) = self.activate(prepared, wan_client);
                            wan_client = client;
                            retire(&mut former, std::mem::replace(&mut generation, new)).await;
                            Ok(())
                        }
                        Err(error) => Err(error),
                    };
                    // The requester may have gone.
                    _ = answer.send(outcome);
                }
            }
        }
    }

    /// Waits for the first event.
    async fn next(
        &mut self,
        stop: Pin<&mut impl Future<Output = ()>>,
        ground: &mut JoinSet<()>,
        wan_client: Option<&mut WanClient>,
        generation: &mut Generation,
    ) -> Event {
        let stopped = async {
            stop.await;
            Event::Stop
        };
        let asked = async {
            match self.reloads.recv().await {
                Some(request) => Event::Reload(request),
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
            Event::BrokenDown(first_of(first_ended(ground), first_of(client_ended, generation.ended())).await)
        };
        first_of(stopped, first_of(asked, broken_down)).await
    }

    /// Prepares the services of a new configuration, or returns why it is rejected. Nothing has changed then.
    async fn prepare_reload(
        &mut self,
        config: Config,
        wan_client: Option<&WanClient>,
    ) -> Result<Prepared, ReloadError> {
        reload::check(&self.resources.current.borrow().config, &config)?;
        self.prepare(Rc::new(config), wan_client).await.map_err(ReloadError::Unprepared)
    }

    /// Prepares the services of `config`, on the lease of `wan_client` if that client serves `config`, too.
    async fn prepare(
        &mut self,
        config: Rc<Config>,
        wan_client: Option<&WanClient>,
    ) -> Result<Prepared, Unprepared> {
        let rng = StdRng::from_rng(&mut self.rng);
        let client = wan_client.filter(|client| client.serves(&config, &self.resources));
        let lease = client.and_then(|client| client.leases.borrow().clone());
        Prepared::new(config, lease.as_ref(), &self.resources, rng).await
    }

    fn activate(
        &mut self,
        prepared: Prepared,
        wan_client: Option<WanClient>,
    ) -> (Option<WanClient>, Generation) {
        let rng = StdRng::from_rng(&mut self.rng);
        let wan_client = WanClient::for_config(prepared.config(), &self.resources, rng, wan_client);
        let generation = prepared.activate(&self.resources, wan_client.as_ref());
        (wan_client, generation)
    }

    /// Starts the tasks that all services need: the host stack, the dispatcher of delivered frames, the monitor
    /// of the disk, and the reader of traffic.
    fn start_ground(&self) -> JoinSet<()> {
        let Resources { link, stack, list, .. } = &self.resources;
        let mut tasks = JoinSet::new();
        let running = stack.clone();
        tasks.spawn_local(async move { running.run().await });
        let (link, stack, list) = (Rc::clone(link), stack.clone(), Rc::clone(list));
        tasks.spawn_local(Dispatcher { link, stack, list }.run());
        tasks.spawn_local(Rc::clone(&self.inspector).read_traffic());
        let disk = Arc::clone(&self.inspector.disk);
        tasks.spawn_local(async move { disk.watch().await });
        tasks
    }
}

/// Stops `generation` concurrently with the others that are being stopped.
async fn retire(former: &mut JoinSet<()>, generation: Generation) {
    while former.try_join_next().is_some() {}
    if former.len() >= FORMER_MAX {
        former.shutdown().await;
    }
    former.spawn_local(generation.stop());
}

enum Event {
    Stop,
    Reload(Request),
    BrokenDown(TaskEnd),
}

/// The host stack of a gateway whose dataplane has the configuration `plan`. The stack sends by `link`.
pub(super) fn stack(
    plan: &dataplane::Config,
    link: &Rc<HostLink>,
    clock: &Rc<dyn Clock>,
    rng: StdRng,
) -> Stack {
    let mtu = match plan.mode {
        Mode::LanOnly => plan.interface(Config::LAN).mtu,
        Mode::Router | Mode::Nat | Mode::NatDmz => plan.interfaces.iter().map(|i| i.mtu).min().unwrap_or(0),
    };
    let settings = StackConfig { mtu: mtu.into(), ..StackConfig::default() };
    let link = Rc::clone(link);
    Stack::new(settings, Rc::clone(clock), rng, move |packet: &[u8]| link.emit_packet(packet))
}
