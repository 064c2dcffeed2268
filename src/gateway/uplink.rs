//! The gateway's address on the WAN, and what has to follow it.
//!
//! A lease of the provider's, or its loss, changes four things together: the dataplane's configuration,
//! the host stack's addresses, the name service's own WAN names, its listeners and upstream servers.
//! Nothing changes where a lease was only renewed. A lease whose network overlaps the LAN is refused:
//! hosts on either side could not be told apart (RFC 4787 REQ-7).

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use gatepost_dataplane::config::{self as dataplane, Mode};
use gatepost_services::dhcp::client::Lease;
use gatepost_services::dns;
use gatepost_services::net::stack::Stack;
use ipnet::Ipv4Net;
use tracing::{info, warn};

use super::current::Current;
use super::identity::Identity;
use super::settings;
use crate::config::{Config, Service, overlap};

/// What follows the WAN address.
pub struct Uplink {
    /// The settings.
    pub config: Rc<Config>,
    /// The hardware addresses.
    pub identity: Identity,
    /// The dataplane's configuration; swapped in whole.
    pub plan: Arc<ArcSwap<dataplane::Config>>,
    /// Makes the workers look at it.
    pub wake_workers: Arc<dyn Fn() + Send + Sync>,
    /// The host stack.
    pub stack: Stack,
    /// The name service, if there is one.
    pub dns: Option<dns::Service<Stack>>,
    /// Where the name servers that the gateway asks are told to those who want to know.
    pub current: Rc<RefCell<Current>>,
}

impl Uplink {
    /// Takes the addresses of the configuration and of `lease`, and serves the LAN.
    ///
    /// # Errors
    ///
    /// The name service cannot listen on the LAN.
    pub async fn start(&self, lease: Option<&Lease>) -> io::Result<()> {
        let lease = lease.filter(|lease| self.accepts(lease));
        self.change_plan(lease);
        self.move_services(None, self.plan.load().interface(Config::WAN).ipv4().next()).await;
        self.ask_upstreams(lease);
        if let Some(dns) = &self.dns {
            dns.listen(settings::dns_server(self.config.lan.address.addr())).await?;
        }
        Ok(())
    }

    /// Goes over to `lease`, or to none.
    pub async fn apply(&self, lease: Option<&Lease>) {
        let lease = lease.filter(|lease| self.accepts(lease));
        let old = self.change_plan(lease);
        let new = self.plan.load().interface(Config::WAN).ipv4().next();
        if new != old {
            self.move_services(old, new).await;
        }
        self.ask_upstreams(lease);
    }

    /// Serves nobody any more. The addresses stay.
    pub async fn stop(&self) {
        if let Some(dns) = &self.dns {
            dns.stop_listening_everywhere().await;
        }
    }

    /// Tells the dataplane what the configuration and `lease` say. Returns the WAN address until now.
    fn change_plan(&self, lease: Option<&Lease>) -> Option<Ipv4Net> {
        let (address, router) = (lease.map(|lease| lease.address), lease.and_then(|lease| lease.router));
        let new = self.config.dataplane(self.identity.lan, self.identity.wan, address, router);
        let old = self.plan.load_full();
        let wan = |plan: &dataplane::Config| {
            let interface = plan.interface(Config::WAN);
            (interface.ipv4().next(), interface.gateway)
        };
        if wan(&new) != wan(&old) {
            match wan(&new) {
                (Some(address), Some(router)) => info!("WAN address {address}, router {router}"),
                (Some(address), None) => warn!("WAN address {address}, and no router to the internet"),
                (None, _) => warn!("no WAN address any more"),
            }
        }
        if new != *old {
            self.plan.store(Arc::new(new));
            (self.wake_workers)();
        }
        old.interface(Config::WAN).ipv4().next()
    }

    /// RFC 4787 REQ-7
    fn accepts(&self, lease: &Lease) -> bool {
        let lan = self.config.lan.address;
        let is_apart = !overlap(lease.address, lan);
        if !is_apart {
            warn!(
                "the provider's lease {} is not used: it overlaps the LAN {}; set another lan.address",
                lease.address,
                lan.trunc()
            );
        }
        is_apart
    }

    /// From the WAN address `old` to `new`.
    async fn move_services(&self, old: Option<Ipv4Net>, new: Option<Ipv4Net>) {
        // The WAN's comes last: the host speaks to strangers from there.
        let addresses: Vec<_> = [self.config.lan.address].into_iter().chain(new).collect();
        self.stack.set_addresses(&addresses);
        let Some(dns) = &self.dns else { return };
        let (old, new) = (old.map(|net| net.addr()), new.map(|net| net.addr()));
        dns.set_wan_address(new);
        if old == new || !self.serves_names_on_wan() {
            return;
        }
        if let Some(old) = old {
            dns.stop_listening(settings::dns_server(old)).await;
        }
        if let Some(new) = new
            && let Err(error) = dns.listen(settings::dns_server(new)).await
        {
            warn!("no name service on the WAN address {new}: {error}");
        }
    }

    /// Asks the servers that the administrator has set, or those that the provider offers.
    fn ask_upstreams(&self, lease: Option<&Lease>) {
        let offered = lease.map_or(&[][..], |lease| &lease.dns_servers);
        let upstreams = settings::dns_upstreams(&self.config, offered);
        if upstreams == self.current.borrow().dns_upstreams {
            return;
        }
        self.current.borrow_mut().dns_upstreams = upstreams.to_vec();
        if let Some(dns) = &self.dns {
            dns.set_upstreams(upstreams.iter().copied().map(settings::dns_server).collect());
        }
    }

    /// Where nothing is translated there is no firewall either, and the WAN is a network like the LAN.
    fn serves_names_on_wan(&self) -> bool {
        self.config.mode == Mode::Router || self.config.firewall.wan_services.contains(&Service::Dns)
    }
}
