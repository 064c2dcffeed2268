//! The services of one configuration. A reload prepares new services, swaps them in, and stops the old ones.

use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatepost_services::addresses::{Addresses, Publisher};
use gatepost_services::net::stack::{AccessRule, Stack};
use gatepost_services::service::{Host, Instance, Kind, LocalFuture, Unprepared};
use gatepost_services::store::Topic;
use gatepost_services::wait::all_of;
use ipnet::{IpNet, Ipv4Net};
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::addresses::{AddressBook, addresses};
use super::bindings;
use super::current::Current;
use super::failure::{TaskEnd, first_ended};
use super::look::Look;
use super::resources::Resources;
use super::tls::Kept;
use super::wan_client::{Lease, WanClient};
use crate::config::Config;

/// The timeout of a service's stop; longer than any exchange of DNS.
pub const STOP_WITHIN: Duration = Duration::from_secs(30);

/// How long all services together may take when the gateway ends.
pub const CUT_SHORT_AFTER: Duration = Duration::from_millis(500);

/// The prepared services of one configuration, before they serve. They have no visible effect yet.
pub struct Prepared {
    config: Rc<Config>,
    /// The stack on which the services are bound.
    staged: Stack,
    publisher: Publisher,
    host: Host<Stack>,
    /// The certificate and the trusted authorities, if a service uses TLS.
    tls: Option<Kept>,
    /// The look of the administration's pages.
    look: Look,
    instances: Vec<Rc<dyn Instance>>,
}

impl Prepared {
    /// Prepares the services of `config`, on the provider's `lease`.
    ///
    /// # Errors
    ///
    /// A service cannot use `config`.
    pub async fn new(
        config: Rc<Config>,
        lease: Option<&Lease>,
        resources: &Resources,
        rng: StdRng,
    ) -> Result<Self, Unprepared> {
        let addresses: Addresses = addresses(&config, lease);
        let staged = resources.stack.stage(&addresses.for_host_stack());
        let publisher = Publisher::new(addresses);
        let storage = (Arc::clone(&resources.storage), resources.disk.clone());
        let (work, clock) = (Rc::clone(&resources.work), Rc::clone(&resources.clock));
        let host = Host::new(staged.clone(), storage, work, clock, publisher.subscribe(), rng);
        let (host, tls) = resources.tls.prepare(&config, resources, host).await?;
        let look = Look::prepare(&config, resources).await;
        let mut instances = Vec::new();
        for entry in resources.list.entries() {
            instances.push(entry.prepare(&config, &host).await?);
        }
        Ok(Self { config, staged, publisher, host, tls, look, instances })
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Puts the configuration in force as a whole; this cannot fail. The old services get nothing new from now on,
    /// and must be [stopped](Generation::stop). The addresses follow the leases of `wan_client`.
    pub fn activate(self, resources: &Resources, wan_client: Option<&WanClient>) -> Generation {
        let Self { config, staged, publisher, host, tls: kept, look, instances } = self;
        let subscription = publisher.subscribe();
        let book = AddressBook {
            config: Rc::clone(&config),
            identity: resources.identity,
            plan: resources.plan.clone(),
            wake_workers: resources.wake_workers.clone(),
            stack: resources.stack.clone(),
            publisher,
        };
        resources.list.set_wan_client(wan_client.map(|client| client.frames.clone()));
        let mut leases = wan_client.map(|client| client.leases.clone());
        // The lease may have changed since the services were prepared.
        book.apply(leases.as_mut().and_then(|leases| leases.borrow_and_update().clone()).as_ref());
        resources.stack.set_access(access_rules(&config));
        staged.activate();
        let lan_hosts = host.lan_hosts();
        bindings::follow(&resources.bindings, &*lan_hosts);
        let wan_problem = wan_client.map(|client| Rc::clone(&client.problem));
        let wan_standing = wan_client.map(|client| Rc::clone(&client.standing));
        *resources.current.borrow_mut() = Current {
            config: Rc::clone(&config),
            addresses: subscription,
            lan_hosts,
            instances: instances.clone(),
            wan_problem,
            wan_standing,
            tls: host.tls.clone(),
        };
        let mut following = JoinSet::new();
        if let Some(tls) = &host.tls {
            tls.set_addresses(host.addresses.clone());
        }
        resources.tls.activated(kept.as_ref(), config.is_unconfirmed);
        match kept {
            Some(Kept { certificate, trust }) => {
                certificate.activate();
                trust.activate();
                following.spawn_local(certificate.run());
                following.spawn_local(trust.run());
            }
            // The problem of a former certificate is over.
            None => {
                resources.disk.report(Topic::Certificate, None);
                resources.disk.report(Topic::Authorities, None);
            }
        }
        look.activate(resources);
        let mut tasks = JoinSet::new();
        for instance in &instances {
            instance.activate();
            tasks.spawn_local(instance.run());
        }
        if let Some(mut leases) = leases {
            following.spawn_local(async move {
                while leases.changed().await.is_ok() {
                    let lease = leases.borrow_and_update().clone();
                    book.apply(lease.as_ref());
                }
                pending::<()>().await;
            });
        } else {
            // It is published for as long as the services go by it.
            following.spawn_local(async move {
                let _book = book;
                pending::<()>().await;
            });
        }
        Generation { instances, tasks, following }
    }
}

/// The access rules of `config` for the host stack.
fn access_rules(config: &Config) -> Vec<AccessRule> {
    let of_service = |(kind, from): (&'static Kind, &[Ipv4Net])| {
        let from: Vec<IpNet> = from.iter().copied().map(IpNet::V4).collect();
        config.services.ports_of(kind).into_iter().map(move |(protocol, port)| AccessRule {
            protocol,
            port,
            from: from.clone(),
        })
    };
    config.limited_services().flat_map(of_service).collect()
}

/// Running services.
pub struct Generation {
    instances: Vec<Rc<dyn Instance>>,
    tasks: JoinSet<()>,
    /// Follows the provider's lease, and renews the certificate.
    following: JoinSet<()>,
}

impl Generation {
    /// Waits until a service ends by itself, which none should, and returns how.
    pub async fn ended(&mut self) -> TaskEnd {
        first_ended(&mut self.tasks).await
    }

    /// Leaves the addresses to the next generation, at once.
    pub fn leave_addresses(&mut self) {
        self.following.abort_all();
    }

    /// Stops the services when the gateway ends, without waiting for peers.
    pub async fn cut_short(self) {
        // A client without an answer retransmits, to another gateway or to this one after its restart.
        _ = timeout(CUT_SHORT_AFTER, self.stop()).await;
    }

    /// Stops the services, the last of the list first, concurrently, so that none accepts new work while another one
    /// finishes. Each has [`STOP_WITHIN`] to finish.
    pub async fn stop(mut self) {
        self.leave_addresses();
        // A service that takes longer is cut off.
        let stopping = self.instances.iter().rev().map(|instance| -> LocalFuture<'static, ()> {
            let stopped = timeout(STOP_WITHIN, instance.stop());
            Box::pin(async { _ = stopped.await })
        });
        all_of(stopping.collect()).await;
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_are_open_to_both_networks_of_the_lan_and_their_port_is_no_concern_if_they_are_off() {
        let config = |text: &str| Config::parse("test", text).expect("a valid configuration");
        let sources = |config: &Config| {
            let rules = access_rules(config);
            let pages = rules.into_iter().find(|rule| rule.port == 8080)?;
            Some(pages.from.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(sources(&config("")), Some(vec!["192.168.1.0/24".to_owned()]));
        let former = "192.168.1.1/24".parse().expect("a network");
        let moved = config("lan.address = '10.1.2.3/24'").until_confirmed(former);
        assert_eq!(sources(&moved), Some(vec!["10.1.2.0/24".to_owned(), "192.168.1.0/24".to_owned()]));
        let other = "admin.enabled = false\nusers = [{ name = 'anna' }]\nmail.ports.smtp = 8080";
        assert_eq!(sources(&config(other)), None, "another service has the port");
    }
}
