//! The office's name service as a [`Service`](crate::service::Service).
//!
//! An instance binds the gateway's addresses while it is prepared, and follows their changes. Its counters continue
//! those of its predecessors. A replaced instance still answers the queries that it has received.
//!
//! The gateway's other services use the [`Resolver`] that it publishes, even if the service for clients is disabled.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::{Rc, Weak};

use gatepost_ground::Role;
use gatepost_ground::wire::Protocol;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};
use ipnet::IpNet;
use tracing::warn;

use super::config::{Config, ForwardZone, PORT, StaticRecord, at_port};
use super::events::DnsEvent;
use super::inspection::{CacheContent, Inspected, Inspection, LocalZones, ServerState};
use super::resolver::{Answerer, Resolver};
use super::service::Service;
use super::stats::Stats;
use crate::addresses::{Addresses, Subscription};
use crate::events::Events;
use crate::lan_hosts::LocalNames;
use crate::net::Net;
use crate::service::{self, Host, Instance, Kind, Listening, LocalFuture, Off, OnWan, State, Unprepared};

/// The static description of the service.
pub const KIND: Kind = Kind {
    name: "dns",
    ports: &[(Protocol::TCP, PORT), (Protocol::UDP, PORT)],
    on_wan: OnWan::ByDefault,
    is_limited_by_network: true,
    has_logins: false,
    about: "The name service",
    counters: Stats::GLOSSARY,
};

/// The service's part of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether clients are served.
    pub enabled: bool,
    /// The office's domain, with or without a trailing dot.
    pub domain: String,
    /// The gateway's own name in it, a single label.
    pub hostname: String,
    /// As [`Config::services`].
    pub services: Vec<StaticRecord>,
    /// As [`Config::records`].
    pub records: Vec<StaticRecord>,
    /// The upstream servers.
    pub upstreams: Upstreams,
    /// As [`Config::trust_ad`].
    pub trust_ad: bool,
    /// As [`Config::mixed_case`].
    pub mixed_case: bool,
    /// As [`Config::rebinding_filter`].
    pub rebinding_filter: bool,
    /// As [`Config::private_answers_from`].
    pub private_answers_from: Vec<String>,
    /// The zones that are forwarded, each with the addresses of its servers.
    pub forwards: Vec<(String, Vec<IpAddr>)>,
    /// Whether the service listens on the outside, too.
    pub on_outside: bool,
}

/// The choice of upstream servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstreams {
    /// None: stand-alone.
    Nobody,
    /// The IPv4 servers from the provider's DHCP.
    Offered,
    /// Configured servers.
    Set(Vec<IpAddr>),
}

impl Upstreams {
    /// The upstream servers while the gateway has `addresses`.
    pub fn at(&self, addresses: &Addresses) -> Vec<IpAddr> {
        match self {
            Self::Nobody => Vec::new(),
            Self::Offered => addresses.offered_name_servers().filter(IpAddr::is_ipv4).collect(),
            Self::Set(servers) => servers.clone(),
        }
    }
}

/// The office's DNS service over all configurations.
#[derive(Default)]
pub struct OfficeDns {
    totals: Rc<RefCell<Totals>>,
    inspection: Inspection,
    events: Events<DnsEvent>,
}

impl OfficeDns {
    /// The queries that clients make.
    pub fn events(&self) -> Events<DnsEvent> {
        self.events.clone()
    }

    /// Access to what the running service shows of itself.
    pub fn inspection(&self) -> Inspection {
        self.inspection.clone()
    }
}

/// The sum of the instances' counters.
#[derive(Default)]
struct Totals {
    /// The counters of dropped instances.
    before: Stats,
    /// The existing instances, the latest last.
    instances: Vec<Weak<dyn Counting>>,
}

trait Counting {
    fn stats(&self) -> Stats;
}

impl<N: Net> service::Service<N> for OfficeDns {
    type Settings = Settings;

    fn kind(&self) -> &'static Kind {
        &KIND
    }

    fn prepare<'a>(
        &'a self,
        settings: Settings,
        host: &'a Host<N>,
    ) -> LocalFuture<'a, Result<Rc<dyn Instance>, Unprepared>> {
        Box::pin(async move {
            let has_lan = host.addresses.borrow().ipv4(Role::Inside).next().is_some();
            if !settings.enabled && !has_lan {
                return Ok(Rc::new(Off) as Rc<dyn Instance>);
            }
            let instance = OfficeInstance::prepare(settings, host, self).await?;
            host.publish_resolver(Resolver::new(instance.clone()));
            Ok(instance as Rc<dyn Instance>)
        })
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let totals = self.totals.borrow();
        let mut sum = totals.before.clone();
        for instance in totals.instances.iter().filter_map(Weak::upgrade) {
            sum.cached_records = 0;
            sum += &instance.stats();
        }
        sum.iter().collect()
    }
}

/// The DNS service with one configuration.
struct OfficeInstance<N: Net> {
    dns: Service<N>,
    settings: Settings,
    addresses: Subscription,
    totals: Rc<RefCell<Totals>>,
    inspection: Inspection,
    /// The addresses that are applied.
    followed: RefCell<Rc<Addresses>>,
    /// The error of binding new addresses.
    trouble: RefCell<Option<String>>,
    this: Weak<Self>,
}

impl<N: Net> OfficeInstance<N> {
    async fn prepare(
        settings: Settings,
        host: &Host<N>,
        service: &OfficeDns,
    ) -> Result<Rc<Self>, Unprepared> {
        let mut addresses = host.addresses.clone();
        let now = Rc::clone(&addresses.borrow_and_update());
        let Some(config) = config(&settings, &now) else {
            return Err(Unprepared::without_address(KIND.name));
        };
        let config = Config { texts: host.texts.clone(), ..config };
        let names: Rc<dyn LocalNames> = host.lan_hosts();
        let dns = Service::new(host.net.clone(), Rc::clone(&host.clock), host.rng(), config, names).map_err(
            |error| Unprepared {
                service: KIND.name,
                why: error.to_string(),
                remedy: "correct [system] and [dns]".to_owned(),
            },
        )?;
        dns.set_events(service.events());
        for local in wanted(&settings, &now) {
            let told = |error| Unprepared::not_listening(KIND.name, local, &error, "see the log");
            dns.listen(local).await.map_err(told)?;
        }
        Ok(Rc::new_cyclic(|this| Self {
            dns,
            settings,
            addresses,
            totals: Rc::clone(&service.totals),
            inspection: service.inspection(),
            followed: RefCell::new(now),
            trouble: RefCell::default(),
            this: Weak::clone(this),
        }))
    }

    /// Applies `new` addresses.
    async fn follow(&self, new: Rc<Addresses>) {
        let old = self.followed.replace(Rc::clone(&new));
        if own_outside(&new) != own_outside(&old) {
            self.dns.set_wan_addresses(own_outside(&new));
        }
        let (wanted, bound) = (wanted(&self.settings, &new), self.dns.listens());
        for gone in bound.difference(&wanted) {
            self.dns.stop_listening(*gone).await;
        }
        let mut trouble = None;
        for local in wanted.difference(&bound) {
            if let Err(error) = self.dns.listen(*local).await {
                let what = format!("no name service on {local}: {error}");
                warn!("{what}");
                trouble = Some(what);
            }
        }
        *self.trouble.borrow_mut() = trouble;
        let servers = [&old, &new].map(|addresses| servers(&self.settings, addresses));
        if servers[0] != servers[1] {
            let [_, new] = servers;
            self.dns.set_upstreams(new);
        }
    }
}

/// The gateway's own addresses on the outside: those of its first interface with IPv4 there.
fn own_outside(addresses: &Addresses) -> Vec<IpAddr> {
    addresses.ipv4(Role::Outside).next().map(|network| network.addr().into()).into_iter().collect()
}

/// The sockets to listen on with `settings` while the gateway has `addresses`.
fn wanted(settings: &Settings, addresses: &Addresses) -> BTreeSet<SocketAddr> {
    if settings.enabled { addresses.places(&[PORT], settings.on_outside) } else { BTreeSet::new() }
}

fn servers(settings: &Settings, addresses: &Addresses) -> Vec<SocketAddr> {
    settings.upstreams.at(addresses).into_iter().map(at_port).collect()
}

fn forward_zone((zone, servers): &(String, Vec<IpAddr>)) -> ForwardZone {
    ForwardZone { zone: zone.clone(), servers: servers.iter().copied().map(at_port).collect() }
}

/// The server's configuration; `None` without a LAN.
fn config(settings: &Settings, addresses: &Addresses) -> Option<Config> {
    let mut lans = addresses.all_ipv4(Role::Inside);
    let lan = lans.next()?;
    Some(Config {
        further_lans: lans.collect(),
        wan: own_outside(addresses),
        services: settings.services.clone(),
        records: settings.records.clone(),
        use_upstream: settings.upstreams != Upstreams::Nobody,
        upstreams: servers(settings, addresses),
        trust_ad: settings.trust_ad,
        mixed_case: settings.mixed_case,
        recursion_for: addresses.all_ipv4(Role::Inside).map(|lan| IpNet::V4(lan.trunc())).collect(),
        rebinding_filter: settings.rebinding_filter,
        private_answers_from: settings.private_answers_from.clone(),
        forwards: settings.forwards.iter().map(forward_zone).collect(),
        ..Config::new(&settings.domain, &settings.hostname, lan)
    })
}

impl<N: Net> Answerer for OfficeInstance<N> {
    fn ask(&self, name: Name, record_type: RecordType) -> LocalFuture<'_, Option<Message>> {
        self.dns.ask(name, record_type)
    }

    fn ask_world(&self, name: Name, record_type: RecordType) -> LocalFuture<'_, Option<Message>> {
        self.dns.ask_world(name, record_type)
    }
}

impl<N: Net> Inspected for OfficeInstance<N> {
    fn zones(&self) -> LocalZones {
        self.dns.zones()
    }

    fn cache(&self, max: usize) -> CacheContent {
        self.dns.cache(max)
    }

    fn name_of(&self, address: Ipv4Addr) -> Option<Name> {
        self.dns.name_of(address)
    }

    fn servers(&self) -> Vec<ServerState> {
        self.dns.servers()
    }

    fn flush(&self, zone: Option<&Name>) -> usize {
        self.dns.flush(zone)
    }
}

impl<N: Net> Counting for OfficeInstance<N> {
    fn stats(&self) -> Stats {
        self.dns.stats()
    }
}

impl<N: Net> Instance for OfficeInstance<N> {
    fn activate(&self) {
        let this: Weak<dyn Counting> = self.this.clone();
        self.totals.borrow_mut().instances.push(this);
        self.inspection.set(self.this.clone());
    }

    fn run(&self) -> LocalFuture<'static, ()> {
        let Some(this) = self.this.upgrade() else { return Box::pin(std::future::pending()) };
        let mut addresses = self.addresses.clone();
        Box::pin(async move {
            while addresses.changed().await.is_ok() {
                let new = Rc::clone(&addresses.borrow_and_update());
                this.follow(new).await;
            }
            // The publisher is gone: another configuration is in force.
            std::future::pending::<()>().await;
        })
    }

    fn state(&self) -> State {
        if !self.settings.enabled {
            return State::Off;
        }
        self.trouble.borrow().clone().map_or(State::Running, State::Impaired)
    }

    fn listens(&self) -> Vec<Listening> {
        let protocols = [Protocol::UDP, Protocol::TCP];
        let at = |local| protocols.map(|protocol| Listening { protocol, local });
        self.dns.listens().into_iter().flat_map(at).collect()
    }

    fn stop(&self) -> LocalFuture<'static, ()> {
        let this = self.this.upgrade();
        Box::pin(async move {
            if let Some(this) = this {
                this.dns.finish().await;
            }
        })
    }
}

impl<N: Net> Drop for OfficeInstance<N> {
    /// Adds its counters to the sum, if it was ever activated.
    fn drop(&mut self) {
        let mut totals = self.totals.borrow_mut();
        let this: *const Self = self;
        let before = totals.instances.len();
        totals.instances.retain(|instance| instance.as_ptr().cast::<Self>() != this);
        if totals.instances.len() < before {
            totals.before += &Stats { cached_records: 0, ..self.dns.stats() };
        }
    }
}
