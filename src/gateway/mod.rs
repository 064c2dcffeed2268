//! The gateway put together: a dataplane at work and the services behind it.
//!
//! ```text
//!   ports ◀──▶ Worker: dataplane ◀── link: two rings ──▶ Services: host stack, DHCP, DNS
//!                    ▲    ▲                                 │        │
//!                    │    └──────── configuration ──────────┘        │
//!                    └───────────────── queries ──────────── Inspector: `gatepost show`
//! ```
//!
//! Nothing here knows a device, a thread or a clock: whoever runs the gateway hands those in and drives
//! both halves, each where it likes. In production the event loop of [`crate::port`] drives the
//! [`Worker`] on a thread of its own; in simulation both halves run in one simulated host.
//!
//! The services own the configuration: when the WAN's address changes, or the administrator asks for a
//! [`reload`], they swap in a new one, which the worker takes over before its next batch.

mod current;
mod dispatch;
mod generation;
pub mod identity;
pub mod inspector;
pub mod ports;
pub mod query;
pub mod reload;
pub mod services;
mod settings;
mod uplink;
mod wan_client;
pub mod worker;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use crossbeam::channel;
use gatepost_dataplane::config::Segment;
use gatepost_dataplane::wire::ethernet::Header;
use gatepost_dataplane::{Dataplane, Shard};
use gatepost_services::clock::Clock;
use gatepost_services::link::link;
use gatepost_services::store::Disk;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::error::Error;
use crate::port::Port;
use current::Current;
use identity::Identity;
use inspector::Inspector;
use ports::Ports;
use reload::Reloader;
use services::{Resources, Services};
use worker::Worker;

/// What the gateway gets from whoever runs it.
pub struct Environment {
    /// The time.
    pub clock: Rc<dyn Clock>,
    /// What survives a restart.
    pub disk: Rc<dyn Disk>,
    /// All its randomness.
    pub rng: StdRng,
    /// Makes whoever drives the worker call [`Worker::turn`] soon.
    pub wake_worker: Arc<dyn Fn() + Send + Sync>,
}

/// Puts a gateway together over `ports`, each with its name, in the order of [`Config::ports`].
///
/// # Errors
///
/// The disk refuses, or a service cannot use its settings.
pub fn build<P: Port>(
    config: Config,
    ports: impl IntoIterator<Item = (String, P)>,
    environment: Environment,
) -> Result<(Worker<P>, Services), Error> {
    let Environment { clock, disk, mut rng, wake_worker } = environment;
    let identity = Identity::load_or_make(&*disk, &mut rng).map_err(|error| {
        Error::failed("cannot keep the gateway's hardware addresses", error, SEE_TO_STATE_DIR)
    })?;
    let leases = current::open_leases(&config, &disk, &*clock)?;
    let plan = Arc::new(config.dataplane(identity.lan, identity.wan, None, None));
    let mtu_max = [Segment::Lan, Segment::Wan].map(|segment| plan.interface(segment).mtu).into_iter().max();
    let frame_capacity = FRAME_OVERHEAD + usize::from(mtu_max.unwrap_or_default());
    let dataplane = Dataplane::new(Arc::clone(&plan), Shard::SOLE, rng.random(), clock.now());
    let plan = Arc::new(ArcSwap::new(plan));
    let wake = Arc::clone(&wake_worker);
    let (worker_link, host_link) = link(frame_capacity, move || wake());
    let (asking, asked) = channel::bounded(query::QUERIES_MAX);
    let worker =
        Worker::new(dataplane, Ports::new(ports), worker_link, Arc::clone(&plan), asked, frame_capacity);
    let current = Current { config: Rc::new(config), leases, dns_upstreams: Vec::new() };
    let current = Rc::new(RefCell::new(current));
    let inspector = Inspector {
        current: Rc::clone(&current),
        plan: Arc::clone(&plan),
        began: clock.now(),
        clock: Rc::clone(&clock),
        queries: asking,
        wake_worker: Arc::clone(&wake_worker),
    };
    let resources = Resources { identity, clock, disk, link: Rc::new(host_link), plan, wake_worker, current };
    let (requests, reloads) = mpsc::channel(reload::RELOADS_MAX);
    let reloader = Reloader { requests };
    Ok((worker, Services { resources, inspector, reloader, reloads, rng }))
}

const SEE_TO_STATE_DIR: &str = "see to the files in system.state_dir";

/// The Ethernet header, and a VLAN tag so that a tagged frame is recognised whole. // IEEE 802.1Q
const FRAME_OVERHEAD: usize = Header::LEN + 4;

#[cfg(test)]
mod tests;
