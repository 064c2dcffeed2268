//! The services that go by one configuration. A reload ends them and starts new ones.

use std::cell::RefCell;
use std::future::pending;
use std::io;
use std::rc::Rc;

use gatepost_services::dhcp::server::Server;
use gatepost_services::dhcp::service as dhcp_service;
use gatepost_services::dns;
use gatepost_services::net::stack::Stack;
use rand::rngs::StdRng;
use tokio::task::JoinSet;

use super::bindings;
use super::current::SharedLeases;
use super::dispatch::Dispatcher;
use super::office_names::OfficeNames;
use super::service_counters::ServiceCounters;
use super::services::{Frames, Resources, TaskEnd, first_ended};
use super::settings;
use super::uplink::Uplink;
use super::wan_client::WanClient;
use crate::config::Config;

/// The services of one configuration, before they serve. Making them can fail because of their settings.
pub struct Prepared {
    /// The settings.
    pub config: Rc<Config>,
    /// The DHCP server's, if there is one.
    pub leases: Option<SharedLeases>,
    dns: Option<dns::Service<Stack>>,
}

impl Prepared {
    /// Makes the services of `config`, which do not serve anybody yet.
    ///
    /// # Errors
    ///
    /// The name service cannot use its settings.
    pub fn new(
        config: Rc<Config>,
        leases: Option<SharedLeases>,
        resources: &Resources,
        stack: &Stack,
        rng: StdRng,
    ) -> Result<Self, dns::ConfigError> {
        if !config.dns.enabled {
            return Ok(Self { config, leases, dns: None });
        }
        let clock = &resources.clock;
        let names = OfficeNames::new(leases.clone(), Rc::clone(clock), &config.dhcp.reservations);
        let (names, settings) = (Rc::new(names), settings::dns(&config));
        let dns = dns::Service::new(stack.clone(), Rc::clone(clock), rng, settings, names)?;
        Ok(Self { config, leases, dns: Some(dns) })
    }
}

/// Services at work.
pub struct Generation {
    tasks: JoinSet<()>,
    uplink: Rc<Uplink>,
    counters: Rc<ServiceCounters>,
}

impl Generation {
    /// Starts what was prepared, on the lease that `wan_client` has.
    ///
    /// # Errors
    ///
    /// The name service cannot listen on the LAN.
    pub async fn start(
        prepared: Prepared,
        resources: &Resources,
        stack: &Stack,
        wan_client: Option<&WanClient>,
    ) -> io::Result<Self> {
        let Prepared { config, leases, dns } = prepared;
        let mut tasks = JoinSet::new();
        if leases.is_none() {
            bindings::clear(&resources.bindings);
        }
        let dhcp_server = leases.map(|leases| start_dhcp_server(&config, leases, resources, &mut tasks));
        let uplink = Rc::new(Uplink {
            config,
            identity: resources.identity,
            plan: resources.plan.clone(),
            wake_workers: resources.wake_workers.clone(),
            stack: stack.clone(),
            dns,
            current: Rc::clone(&resources.current),
        });
        let changes = wan_client.map(|client| client.leases.clone());
        let lease = changes.as_ref().and_then(|leases| leases.borrow().clone());
        uplink.start(lease.as_ref()).await?;
        resources.counters.dns_began(&uplink);
        if let Some(mut leases) = changes {
            let uplink = Rc::clone(&uplink);
            // The lease may have changed meanwhile.
            leases.mark_changed();
            tasks.spawn_local(async move {
                while leases.changed().await.is_ok() {
                    let lease = leases.borrow_and_update().clone();
                    uplink.apply(lease.as_ref()).await;
                }
                pending::<()>().await;
            });
        }
        let dispatcher = Dispatcher {
            link: Rc::clone(&resources.link),
            stack: stack.clone(),
            dhcp_server,
            dhcp_client: wan_client.map(|client| client.frames.clone()),
            counters: Rc::clone(&resources.counters),
        };
        tasks.spawn_local(dispatcher.run());
        Ok(Self { tasks, uplink, counters: Rc::clone(&resources.counters) })
    }

    /// Ends them all; their addresses are free then.
    pub async fn end(mut self) {
        self.tasks.shutdown().await;
        self.uplink.stop().await;
        self.counters.dns_ended();
    }

    /// Waits until one has ended by itself, which none should; says how.
    pub async fn ended(&mut self) -> TaskEnd {
        first_ended(&mut self.tasks).await
    }
}

fn start_dhcp_server(
    config: &Config,
    leases: SharedLeases,
    resources: &Resources,
    tasks: &mut JoinSet<()>,
) -> Frames {
    let settings = settings::dhcp_server(config);
    bindings::follow(&resources.bindings, &settings.reservations, &leases, &resources.clock);
    let server = Rc::new(RefCell::new(Server::new(settings, leases)));
    let (frames, port) = resources.port(Config::LAN);
    tasks.spawn_local(dhcp_service::serve(server, port, Rc::clone(&resources.clock), pending()));
    frames
}
