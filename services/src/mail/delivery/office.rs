//! Delivery to other servers as one of the gateway's services.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use gatepost_ground::Role as Side;

use super::driver::{Active, DeliveryDriver};
use super::stats::Stats;
use crate::dns::published::PublishedTexts;
use crate::mail::mx::Server;
use crate::mail::secret::Secret;
use crate::mail::service;
use crate::mail::service::directory::Directory;
use crate::mail::service::state::{MailState, Opener};
use crate::mail::signing::{Keeping, KeyKeeper, Keys, signing_domains};
use crate::net::Net;
use crate::service::{Host, Instance, Kind, Listening, LocalFuture, Off, OnWan, Service, State, Unprepared};
use crate::watch;

/// The static description of the service.
pub const KIND: Kind = Kind {
    name: "delivery",
    ports: &[],
    on_wan: OnWan::Never,
    is_limited_by_network: false,
    has_logins: false,
    about: "Mail to other servers",
    counters: Stats::GLOSSARY,
};

/// The service's part of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The part of all mail services: the office's domains and users.
    pub mail: service::Settings,
    /// The server for all other domains; without one each domain's own servers are searched.
    pub smarthost: Option<Server>,
    /// The credentials for the smarthost.
    pub login: Option<Login>,
    /// The servers of domains, by the domains' names in lower case.
    pub routes: BTreeMap<String, Server>,
    /// Whether a common mailbox is polled, to which the MX records of local domains may lead.
    pub has_common_mailbox: bool,
    /// Whether servers of any domain can be reached.
    pub may_leave: bool,
}

/// A user of another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user name at the server.
    pub user: String,
    /// The password.
    pub password: Secret,
}

impl std::ops::Deref for Settings {
    type Target = service::Settings;

    fn deref(&self) -> &service::Settings {
        &self.mail
    }
}

/// The service over all configurations.
pub struct OfficeDelivery<N: Net> {
    state: Rc<MailState>,
    driver: Rc<DeliveryDriver<N>>,
    keeper: Rc<KeyKeeper>,
}

impl<N: Net> OfficeDelivery<N> {
    /// The service that sends the entries of `driver` from the store of `state`.
    pub fn new(state: Rc<MailState>, driver: Rc<DeliveryDriver<N>>) -> Self {
        Self { state, driver, keeper: Rc::default() }
    }
}

impl<N: Net> Service<N> for OfficeDelivery<N> {
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
            if !settings.enabled {
                return Ok(Rc::new(Off) as Rc<dyn Instance>);
            }
            if host.addresses.borrow().ipv4(Side::Inside).next().is_none() {
                return Err(Unprepared::without_address(KIND.name));
            }
            let active = Rc::new(Active {
                directory: Directory::new(&settings.users, &settings.domains, &settings.aliases),
                domains: signing_domains(&settings.domains),
                keeper: Rc::clone(&self.keeper),
                settings,
                net: host.net.clone(),
                clock: Rc::clone(&host.clock),
                work: Rc::clone(&host.work),
                resolver: host.resolver(),
                tls: host.tls.clone(),
                state: Rc::clone(&self.state),
                rng: RefCell::new(host.rng()),
                addresses: host.addresses.clone(),
                stats: self.driver.shared_stats(),
                without_tls: self.driver.without_tls(),
                stopping: watch::Sender::new(false),
                trouble: RefCell::default(),
                world: RefCell::default(),
            });
            let driver = Rc::clone(&self.driver);
            let keeping = Keeping {
                disk: host.disk.clone(),
                work: Rc::clone(&host.work),
                from: host.keys,
                rng: RefCell::new(host.rng()),
            };
            let texts = host.texts.clone();
            let opener = RefCell::new(Some(Opener::of(host)));
            let instance = Rc::new_cyclic(|this| OfficeInstance {
                active,
                driver,
                opener,
                keeping,
                texts,
                this: Weak::clone(this),
            });
            Ok(instance as Rc<dyn Instance>)
        })
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.driver.stats().iter().collect()
    }
}

/// The service with one configuration.
struct OfficeInstance<N: Net> {
    active: Rc<Active<N>>,
    driver: Rc<DeliveryDriver<N>>,
    /// The parameters for opening the store, until it is open.
    opener: RefCell<Option<Opener>>,
    keeping: Keeping,
    /// Where the keys that sign are published.
    texts: PublishedTexts,
    this: Weak<Self>,
}

impl<N: Net> OfficeInstance<N> {
    fn publish(&self, keys: &Keys) {
        let records = keys.records(&self.active.domains);
        self.texts.set(records.map(|record| (record.name, record.text)));
    }
}

impl<N: Net> Instance for OfficeInstance<N> {
    fn activate(&self) {
        if let Some(opener) = self.opener.take() {
            self.active.state.open(opener);
        }
        if let Some(keys) = self.active.keeper.keys() {
            self.publish(&keys);
        }
        self.driver.set(&self.active);
    }

    fn run(&self) -> LocalFuture<'static, ()> {
        let Some(this) = self.this.upgrade() else { return Box::pin(std::future::pending()) };
        let mut addresses = this.active.addresses.clone();
        Box::pin(async move {
            let keeping = async { this.publish(&*this.active.keeper.keep(&this.keeping).await) };
            let following = async {
                while addresses.changed().await.is_ok() {
                    this.driver.reroute(&this.active);
                }
                // The publisher is gone: another configuration is in force.
                std::future::pending::<()>().await;
            };
            let Active { state, settings, clock, .. } = &*this.active;
            let expiring = service::expire(state, &settings.keep_days, &**clock);
            tokio::join!(keeping, following, expiring, this.active.watch_world());
        })
    }

    fn state(&self) -> State {
        let Active { state, clock, .. } = &*self.active;
        let trouble = self.driver.trouble(state).or_else(|| state.trouble(clock.now()));
        let trouble = trouble.or_else(|| self.active.trouble.borrow().clone());
        let trouble = trouble.or_else(|| self.active.world.borrow().clone());
        trouble.map_or(State::Running, State::Impaired)
    }

    fn listens(&self) -> Vec<Listening> {
        Vec::new()
    }

    fn stop(&self) -> LocalFuture<'static, ()> {
        let this = self.this.upgrade();
        Box::pin(async move {
            if let Some(this) = this {
                this.driver.unset(&this.active).await;
            }
        })
    }
}
