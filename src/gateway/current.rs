//! What the gateway goes by at this moment.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;

use gatepost_services::clock::Clock;
use gatepost_services::dhcp::server::leases::Leases;
use gatepost_services::store::Storage;

use crate::config::Config;

/// What a reload or the provider can change. Those who serve and those who report share it.
pub struct Current {
    /// The settings.
    pub config: Rc<Config>,
    /// The DHCP server's, if there is one.
    pub leases: Option<SharedLeases>,
    /// The name servers that the gateway asks.
    pub dns_upstreams: Vec<Ipv4Addr>,
}

/// The lease table: the DHCP server alone changes it.
pub type SharedLeases = Rc<RefCell<Leases>>;

/// The leases that `config` needs, as the disk has them.
pub fn open_leases(config: &Config, storage: &Arc<dyn Storage>, clock: &dyn Clock) -> Option<SharedLeases> {
    let open = || Leases::open(Arc::clone(storage), clock.now(), clock.unix_time());
    config.dhcp.enabled.then(|| Rc::new(RefCell::new(open())))
}
