//! The services' half of a gateway, on one thread: host stack, DHCP and DNS, and the tasks that keep them
//! going.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::net::Ipv4Addr;
use std::rc::Rc;

use gatepost_dataplane::MacAddr;
use gatepost_dataplane::config::{Mode, Segment};
use gatepost_services::clock::Clock;
use gatepost_services::dhcp::client::{self, Event};
use gatepost_services::dhcp::server::Server;
use gatepost_services::dhcp::server::leases::Leases;
use gatepost_services::dhcp::service::{self as dhcp_service, Memory, Port};
use gatepost_services::dns::{self, LocalNames};
use gatepost_services::link::HostLink;
use gatepost_services::net::stack::{Stack, StackConfig};
use gatepost_services::race::race;
use gatepost_services::store::Disk;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::dispatch::Dispatcher;
use super::identity::Identity;
use super::inspector::Inspector;
use super::settings;
use super::uplink::Uplink;
use crate::config::WanAddress;
use crate::error::Error;

/// The file that keeps the WAN's address over a restart.
const WAN_LEASE_FILE: &str = "wan-lease.json";

/// Where a DHCP task gets its frames from.
type Frames = mpsc::Sender<Vec<u8>>;

/// The services, ready to run.
pub struct Services {
    pub(super) inspector: Inspector,
    pub(super) identity: Identity,
    pub(super) disk: Rc<dyn Disk>,
    pub(super) link: Rc<HostLink>,
    pub(super) rng: StdRng,
}

impl Services {
    /// Tells about the running gateway.
    pub fn inspector(&self) -> Inspector {
        self.inspector.clone()
    }

    /// Runs the services until `stop` is ready; calls `ready` as soon as each of them answers. It must be
    /// called in a [`tokio::task::LocalSet`].
    ///
    /// # Errors
    ///
    /// A service cannot use its settings, or breaks down.
    pub async fn run(mut self, ready: impl FnOnce(), stop: impl Future<Output = ()>) -> Result<(), Error> {
        let mut tasks = JoinSet::new();
        let stack = self.start_stack(&mut tasks);
        let dhcp_server = self.start_dhcp_server(&mut tasks);
        let (dhcp_client, mut leases) = self.start_dhcp_client(&mut tasks);
        let uplink = self.start_uplink(stack.clone()).await?;
        tasks.spawn_local(async move {
            while leases.changed().await.is_ok() {
                let lease = leases.borrow_and_update().clone();
                uplink.apply(lease.as_ref()).await;
            }
            pending::<()>().await;
        });
        tasks.spawn_local(Dispatcher { link: self.link, stack, dhcp_server, dhcp_client }.run());
        ready();
        let stopped = async {
            stop.await;
            Ok(())
        };
        let broken_down = async {
            let ended = tasks.join_next().await;
            let why = ended.and_then(Result::err).map_or_else(|| "it ended".to_owned(), |e| e.to_string());
            Err(Error::failed("a service broke down", why, "see the log"))
        };
        race(stopped, broken_down).await
    }

    fn start_stack(&mut self, tasks: &mut JoinSet<()>) -> Stack {
        let plan = self.inspector.plan.load();
        let mtu = match plan.mode {
            Mode::LanOnly => plan.lan.mtu,
            Mode::Router | Mode::Nat | Mode::NatDmz => plan.lan.mtu.min(plan.wan.mtu),
        };
        let settings = StackConfig { mtu: mtu.into(), ..StackConfig::default() };
        let link = Rc::clone(&self.link);
        let emit = move |packet: &[u8]| link.emit_packet(packet);
        let stack = Stack::new(settings, Rc::clone(&self.inspector.clock), self.fork_rng(), emit);
        let running = stack.clone();
        tasks.spawn_local(async move { running.run().await });
        stack
    }

    fn start_dhcp_server(&self, tasks: &mut JoinSet<()>) -> Option<Frames> {
        let leases = Rc::clone(self.inspector.leases.as_ref()?);
        let server = Server::new(settings::dhcp_server(&self.inspector.config), leases);
        let (sender, port) = self.port(Segment::Lan, self.identity.lan);
        let clock = Rc::clone(&self.inspector.clock);
        tasks.spawn_local(dhcp_service::serve(Rc::new(RefCell::new(server)), port, clock, pending()));
        Some(sender)
    }

    /// The client on the WAN, if the provider gives the address, and the leases that it gets.
    fn start_dhcp_client(
        &mut self,
        tasks: &mut JoinSet<()>,
    ) -> (Option<Frames>, watch::Receiver<Option<client::Lease>>) {
        let config = &self.inspector.config;
        let (leases, changes) = watch::channel(None);
        if config.mode == Mode::LanOnly || config.wan.address != WanAddress::Dhcp {
            return (None, changes);
        }
        let settings = client::Config {
            mac: self.identity.wan,
            client_id: None,
            hostname: Some(config.system.hostname.clone()),
            broadcast: false,
        };
        let memory = Memory { disk: Rc::clone(&self.disk), file: WAN_LEASE_FILE };
        let (sender, port) = self.port(Segment::Wan, self.identity.wan);
        let clock = Rc::clone(&self.inspector.clock);
        let on_event = move |event| {
            leases.send_replace(match event {
                Event::Configured(lease) => Some(lease),
                Event::Lost => None,
            });
        };
        let rng = self.fork_rng();
        tasks.spawn_local(dhcp_service::run_client(
            (settings, rng),
            Some(memory),
            port,
            clock,
            on_event,
            pending(),
        ));
        (Some(sender), changes)
    }

    /// A way to send and receive whole frames on `segment`.
    fn port(&self, segment: Segment, mac: MacAddr) -> (Frames, Port<impl Fn(&[u8]) -> bool + use<>>) {
        let (sender, frames) = mpsc::channel(dhcp_service::FRAMES_MAX);
        let link = Rc::clone(&self.link);
        let transmit = move |frame: &[u8]| link.emit_frame(segment, frame);
        (sender, Port { mac, frames, transmit })
    }

    /// The name service, and the addresses as far as they are known.
    async fn start_uplink(&mut self, stack: Stack) -> Result<Uplink, Error> {
        let dns = self.name_service(stack.clone())?;
        let Inspector { config, plan, wake_worker, dns_upstreams, .. } = self.inspector.clone();
        let identity = self.identity;
        let uplink = Uplink { config, identity, plan, wake_worker, stack, dns, dns_upstreams };
        let failed = |error| Error::failed("cannot serve names on the LAN", error, "see the log");
        uplink.start().await.map_err(failed)?;
        Ok(uplink)
    }

    fn name_service(&mut self, stack: Stack) -> Result<Option<dns::Service<Stack>>, Error> {
        let Inspector { config, clock, leases, .. } = self.inspector.clone();
        if !config.dns.enabled {
            return Ok(None);
        }
        let names: Rc<dyn LocalNames> = match leases {
            Some(leases) => Rc::new(LeaseNames { leases, clock: Rc::clone(&clock) }),
            None => Rc::new(()),
        };
        dns::Service::new(stack, clock, self.fork_rng(), settings::dns(&config), names)
            .map(Some)
            .map_err(|error| Error::failed("cannot serve names", error, "correct [system] and [dns]"))
    }

    /// A generator of its own for each service, so that none depends on what the others draw.
    fn fork_rng(&mut self) -> StdRng {
        StdRng::from_rng(&mut self.rng)
    }
}

/// The names of those who have an address by DHCP.
struct LeaseNames {
    leases: Rc<RefCell<Leases>>,
    clock: Rc<dyn Clock>,
}

impl LocalNames for LeaseNames {
    fn address(&self, label: &str) -> Option<Ipv4Addr> {
        self.leases.borrow().address_of(label, self.clock.now())
    }

    fn name(&self, address: Ipv4Addr) -> Option<String> {
        self.leases.borrow().name_of(address, self.clock.now()).map(str::to_owned)
    }
}
