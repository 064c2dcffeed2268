//! The resources that the services share.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use gatepost_dataplane::config as dataplane;
use gatepost_services::clock::Clock;
use gatepost_services::net::stack::Stack;
use gatepost_services::store::{Disk, Storage};
use gatepost_services::work::Work;

use super::bindings::SharedBindings;
use super::current::Current;
use super::identity::Identity;
use super::link::HostLink;
use super::services::list::List;
use super::tls::GatewayTls;
use crate::admin::AdminPages;

/// The resources that the services share.
pub(super) struct Resources {
    pub identity: Identity,
    pub clock: Rc<dyn Clock>,
    /// The storage that survives a restart, for jobs off the thread.
    pub storage: Arc<dyn Storage>,
    /// The same storage, with asynchronous access.
    pub disk: Disk,
    /// Runs jobs that take long.
    pub work: Rc<dyn Work>,
    /// The link to the workers.
    pub link: Rc<HostLink>,
    /// The gateway's own TCP and UDP.
    pub stack: Stack,
    /// The services, whether they serve or not.
    pub list: Rc<List>,
    /// The pages of the administration.
    pub pages: Rc<AdminPages>,
    /// TLS for the services that speak it.
    pub tls: GatewayTls,
    /// The dataplane's configuration; swapped in whole.
    pub plan: Arc<ArcSwap<dataplane::Config>>,
    /// The leases and reservations of LAN addresses; swapped in whole.
    pub bindings: SharedBindings,
    /// Wakes the workers to take it in.
    pub wake_workers: Arc<dyn Fn() + Send + Sync>,
    pub current: Rc<RefCell<Current>>,
}
