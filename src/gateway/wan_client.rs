//! The DHCP client on the WAN. It outlives the services around it, so that a reload keeps the lease.

use std::cell::RefCell;
use std::rc::Rc;

use gatepost_dataplane::config::Mode;
use gatepost_ground::Instant;
use gatepost_services::dhcp::client::{self, Event, Taken};
pub use gatepost_services::dhcp::client::{Lease, Route};
use gatepost_services::dhcp::inbox::{self, inbox};
use gatepost_services::dhcp::service::{self, LeaseFile, Port};
use gatepost_services::watch;
use rand::rngs::StdRng;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::failure::{TaskEnd, first_ended};
use super::identity::Identity;
use super::resources::Resources;
use crate::config::{Config, WanAddress};

/// The file that keeps the WAN's address over a restart.
pub(super) const WAN_LEASE_FILE: &str = "wan-lease.json";

/// A lease, and since when.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The lease as its server told it last.
    pub lease: Lease,
    /// When the client got its address.
    pub since: Instant,
}

/// A running client.
pub struct WanClient {
    settings: client::Config,
    /// The inbox for the client's frames.
    pub frames: inbox::Sender,
    /// The client's current lease.
    pub leases: watch::Receiver<Option<Lease>>,
    /// The current lease, and since when the client has its address.
    pub standing: Rc<RefCell<Option<Standing>>>,
    /// Why there is no lease, as far as servers have given a reason.
    pub problem: Rc<RefCell<Option<String>>>,
    /// Makes the client release its lease and end.
    release: oneshot::Sender<()>,
    /// The client's task, which ends when this is dropped. The lease stays then.
    task: JoinSet<()>,
}

impl WanClient {
    /// The client for `config`: `current` if it fits. `None` if the configuration needs no DHCP client. If the lease of
    /// `current` is of no use to the new client, it is released: not while `config` waits for its confirmation, as the
    /// lease is needed again if it is undone; but at once if it overlaps the LAN. (RFC 4787, REQ-7)
    pub fn for_config(
        config: &Config,
        resources: &Resources,
        rng: StdRng,
        current: Option<Self>,
    ) -> Option<Self> {
        let settings = settings(config, resources.identity);
        match current {
            Some(current) if settings.as_ref().is_some_and(|new| current.fits(new)) => {
                settings.iter().for_each(|new| current.settings.taken.follow(&new.taken));
                return Some(current);
            }
            Some(current) if !settings.as_ref().is_some_and(|new| current.leases_to(new)) => {
                let overlaps = current.overlaps(&taken(config));
                if !config.is_unconfirmed || overlaps {
                    current.release();
                }
            }
            _ => {}
        }
        settings.map(|settings| Self::start(settings, resources, rng))
    }

    /// Whether a client with the settings `new` can have this one's lease.
    fn leases_to(&self, new: &client::Config) -> bool {
        new.is_same_client(&self.settings) && !self.overlaps(&new.taken)
    }

    /// Whether the lease overlaps the networks `taken`.
    fn overlaps(&self, taken: &Taken) -> bool {
        self.leases.borrow().as_ref().is_some_and(|lease| lease.overlaps(taken))
    }

    /// Releases the lease, and ends the client.
    fn release(mut self) {
        // The task has ended before if there is no receiver.
        _ = self.release.send(());
        self.task.detach_all();
    }

    /// Whether this client goes on under `config`.
    pub fn serves(&self, config: &Config, resources: &Resources) -> bool {
        settings(config, resources.identity).is_some_and(|settings| self.fits(&settings))
    }

    /// Whether this client fits the settings `new`. Another network of the LAN does not matter to a client with a lease
    /// apart from it, so that flows through the WAN survive a change of the LAN's address.
    fn fits(&self, new: &client::Config) -> bool {
        let lease = self.leases.borrow();
        let keeps_lease = lease.as_ref().is_some_and(|lease| lease.suits(&new.taken));
        let taken = if keeps_lease { self.settings.taken.clone() } else { new.taken.clone() };
        client::Config { taken, ..new.clone() } == self.settings
    }

    fn start(settings: client::Config, resources: &Resources, rng: StdRng) -> Self {
        let (sender, leases) = watch::channel(None);
        let memory = LeaseFile { disk: resources.disk.clone(), file: WAN_LEASE_FILE };
        let (frames, received) = inbox();
        let link = Rc::clone(&resources.link);
        let transmit = move |frame: &[u8]| link.emit_frame(Config::WAN, frame);
        let port = Port { mac: settings.mac, frames: received, transmit };
        let clock = Rc::clone(&resources.clock);
        let problem = Rc::new(RefCell::new(None));
        let shown = Rc::clone(&problem);
        let standing = Rc::new(RefCell::new(None::<Standing>));
        let (stands, time) = (Rc::clone(&standing), Rc::clone(&clock));
        let on_event = move |event| match event {
            Event::Configured(lease) => {
                let same = stands.borrow().clone().filter(|former| former.lease.address == lease.address);
                let since = same.map_or_else(|| time.now(), |former| former.since);
                *stands.borrow_mut() = Some(Standing { lease: lease.clone(), since });
                sender.send_replace(Some(lease));
            }
            Event::Lost => {
                *stands.borrow_mut() = None;
                sender.send_replace(None);
            }
            Event::Remarked(remark) if remark.reason.is_refusal() => warn!("WAN: {remark}"),
            Event::Remarked(remark) => info!("WAN: {remark}"),
            Event::Refused(refusal) => *shown.borrow_mut() = refusal.map(|refusal| refusal.to_string()),
        };
        let mut task = JoinSet::new();
        let parts = (settings.clone(), rng);
        let (release, released) = oneshot::channel();
        let stop = async {
            // An error means that this is dropped, and then the task ends at once.
            _ = released.await;
        };
        task.spawn_local(service::run_client(parts, Some(memory), port, clock, on_event, stop));
        Self { settings, frames, leases, standing, problem, release, task }
    }

    /// Waits until the client has ended by itself, which it should not, and returns how.
    pub async fn ended(&mut self) -> TaskEnd {
        first_ended(&mut self.task).await
    }
}

/// The damage in the content of the lease file, if there is any.
pub fn lease_damage(content: &[u8]) -> Option<String> {
    LeaseFile::damage(content)
}

/// The networks that the lease must not overlap.
fn taken(config: &Config) -> Taken {
    Taken::new(config.lan.addresses().map(|lan| lan.trunc()).collect())
}

fn settings(config: &Config, identity: Identity) -> Option<client::Config> {
    let is_wanted = config.mode != Mode::LanOnly && config.wan.address == WanAddress::Leased;
    is_wanted.then(|| client::Config {
        client_id: config.wan.dhcp_client.client_id.clone(),
        vendor_class: config.wan.dhcp_client.vendor_class.clone(),
        request_options: config.wan.dhcp_client.request_options.clone(),
        hostname: Some(config.system.hostname.clone()),
        taken: taken(config),
        ..client::Config::new(identity.wan_of(config))
    })
}
