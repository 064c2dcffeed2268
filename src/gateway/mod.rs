//! The assembled gateway: running dataplanes and the services behind them.
//!
//! ```text
//!   ports ◀──▶ Workers: dataplanes ◀── link: two rings ──▶ Services: host stack, DHCP, DNS
//!              ▲   ▲   ▲   │                                │        │
//!              └───│───│───┘ inboxes                        │        │
//!                  │   └──────── configuration ─────────────┘        │
//!                  └─────────── queries and commands ──────── Inspector: `gatepost show`; Commander
//! ```
//!
//! This module knows no device, thread or clock: its caller provides them and drives the workers and the services. In
//! production an event loop of [`crate::port`] drives each [`Worker`] on a thread of its own; in simulation all run
//! in one simulated host.
//!
//! The services own the configuration: when the WAN's address changes (`addresses`), or the administrator asks for a
//! [`reload`], they swap in a new one, which each worker takes over before its next batch.

mod addresses;
mod bindings;
pub mod capture;
pub mod command;
mod current;
mod dispatch;
mod drops;
pub mod events;
mod explain;
mod failure;
mod flows;
mod generation;
pub mod handover;
pub mod identity;
pub mod inspector;
mod link;
mod look;
mod mail;
mod names;
mod polled;
pub mod ports;
mod probe;
pub mod query;
pub mod reload;
pub mod requests;
mod resources;
mod ring;
pub mod services;
pub mod state;
mod tap;
mod tls;
pub(crate) mod traffic;
pub mod wakeup;
mod wan_client;
pub mod worker;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use crossbeam::channel;
use gatepost_dataplane::Dataplane;
use gatepost_services::addresses::Publisher;
use gatepost_services::clock::Clock;
use gatepost_services::crypto::tls::KeySource;
use gatepost_services::own_time::OwnTime;
use gatepost_services::store::{Disk, Monitored, Storage};
use gatepost_services::users::setter::PasswordSetter;
use gatepost_services::users::verifier::Cost;
use gatepost_services::work::Work;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;

use crate::admin::AdminPages;
use crate::config::Config;
use crate::device::Port;
use bindings::SharedBindings;
use command::Commander;
use current::Current;
use handover::{Handover, Wake};
use identity::Identity;
use inspector::Inspector;
use link::link;
use ports::Ports;
use reload::Reloader;
use requests::Requests;
use resources::Resources;
use services::Services;
use services::list::List;
use tls::GatewayTls;
use worker::{Worker, WorkerChannels};

/// The environment that the gateway's caller provides.
pub struct Environment {
    /// The time.
    pub clock: Rc<dyn Clock>,
    /// The storage that survives a restart.
    pub storage: Arc<dyn Storage>,
    /// Runs jobs that take long, so that the services need not wait.
    pub work: Rc<dyn Work>,
    /// The source of all randomness, except for the keys of TLS.
    pub rng: StdRng,
    /// The source of the keys of TLS.
    pub keys: KeySource,
    /// Makes the driver of the worker with this number call [`Worker::turn`] soon.
    pub wake_worker: Wake,
}

/// Builds a gateway with `ports`, in the order of [`Config::ports`]. Each port has a name, and a device for each of
/// the configuration's workers.
pub fn build<P: Port>(
    config: Config,
    ports: impl IntoIterator<Item = (String, Vec<P>)>,
    environment: Environment,
) -> (Vec<Worker<P>>, Services) {
    let Environment { clock, storage, work, mut rng, keys, wake_worker } = environment;
    let own_time = Rc::new(OwnTime::new(clock));
    let clock: Rc<dyn Clock> = Rc::clone(&own_time) as _;
    let monitored = Arc::new(Monitored::new(storage));
    let storage: Arc<dyn Storage> = Arc::clone(&monitored) as _;
    // Blocking is harmless, as no task runs yet.
    let identity = Identity::load_or_make(&*storage, &mut rng);
    let disk = Disk::new(Arc::clone(&storage), Rc::clone(&work));
    let first = addresses::addresses(&config, None);
    let plan = Arc::new(addresses::plan(&config, identity, &first));
    let frame_capacity = plan.frame_len_max();
    let wake = Arc::clone(&wake_worker);
    let (to_host, from_host, host_link) = link(frame_capacity, move || wake(TAKES_HOST_OUTPUT));
    let (seed, now) = (rng.random(), clock.now());
    let swapped = Arc::new(ArcSwap::new(Arc::clone(&plan)));
    let bindings = SharedBindings::default();
    let count = config.system.workers;
    let (mut workers, mut queues, mut from_host) = (Vec::new(), Vec::new(), Some(from_host));
    let handovers = Handover::for_workers(count, frame_capacity, &wake_worker);
    for (ports, handover) in Ports::for_workers(count, ports).into_iter().zip(handovers) {
        let dataplane = Dataplane::new(Arc::clone(&plan), handover.shard(), seed, now);
        let (asking, asked) = channel::bounded(requests::REQUESTS_MAX);
        queues.push(asking);
        let (to_host, from_host, config) = (to_host.clone(), from_host.take(), Arc::clone(&swapped));
        let bindings = Arc::clone(&bindings);
        let channels = WorkerChannels { handover, to_host, from_host, config, bindings, requests: asked };
        workers.push(Worker::new(dataplane, ports, channels, frame_capacity));
    }
    let wake_workers: Arc<dyn Fn() + Send + Sync> = Arc::new(move || (0..count).for_each(&*wake_worker));
    let requests = Requests { queues, wake_workers: Arc::clone(&wake_workers) };
    let link = Rc::new(host_link);
    let stack = services::stack(&plan, &link, &clock, StdRng::from_rng(&mut rng));
    let pages = Rc::new(AdminPages::default());
    let list = Rc::new(List::new(identity, &link, own_time, Rc::clone(&pages) as _));
    let current = Rc::new(RefCell::new(Current {
        config: Rc::new(config),
        addresses: Publisher::new(first).subscribe(),
        lan_hosts: Rc::new(()),
        instances: Vec::new(),
        wan_problem: None,
        wan_standing: None,
        tls: None,
    }));
    let inspector = Rc::new(Inspector {
        current: Rc::clone(&current),
        list: Rc::clone(&list),
        stack: stack.clone(),
        plan: Arc::clone(&swapped),
        began: clock.now(),
        disk: monitored,
        clock: Rc::clone(&clock),
        requests: requests.clone(),
        traffic: traffic::SharedMeter::default(),
    });
    let passwords =
        PasswordSetter::new(Arc::clone(&storage), Rc::clone(&work), Cost::FULL, StdRng::from_rng(&mut rng));
    pages.show(Rc::downgrade(&inspector));
    pages.set_passwords_by(passwords);
    let commander = Commander { requests };
    let resources = Resources {
        identity,
        clock,
        storage,
        disk,
        work,
        link,
        stack,
        list,
        pages: Rc::clone(&pages),
        tls: GatewayTls::new(keys),
        plan: swapped,
        bindings,
        wake_workers,
        current,
    };
    let (requests, reloads) = mpsc::channel(reload::RELOADS_MAX);
    let reloader = Reloader { requests };
    (workers, Services { resources, inspector, commander, pages, reloader, reloads, rng })
}

/// The worker that takes the frames which the host stack emits.
const TAKES_HOST_OUTPUT: u8 = 0;

#[cfg(test)]
pub(crate) mod tests;
