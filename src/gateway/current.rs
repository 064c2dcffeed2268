//! The gateway's current state.

use std::cell::RefCell;
use std::rc::Rc;

use gatepost_services::addresses::Subscription;
use gatepost_services::lan_hosts::LanHosts;
use gatepost_services::service::Instance;
use gatepost_services::tls::Tls;

use super::wan_client::Standing;
use crate::config::Config;

/// The state that a reload or the provider can change, shared by services and reports.
pub struct Current {
    /// The settings.
    pub config: Rc<Config>,
    /// The addresses of the interfaces.
    pub addresses: Subscription,
    /// The LAN's hosts.
    pub lan_hosts: Rc<dyn LanHosts>,
    /// The running services, in the order of the list; none before the first configuration is in force.
    pub instances: Vec<Rc<dyn Instance>>,
    /// Why the WAN has no lease, as far as is known; of the DHCP client, if there is one.
    pub wan_problem: Option<Rc<RefCell<Option<String>>>>,
    /// The lease of the WAN's DHCP client, if there is one.
    pub wan_standing: Option<Rc<RefCell<Option<Standing>>>>,
    /// The TLS of the services, if one uses it.
    pub tls: Option<Rc<Tls>>,
}
