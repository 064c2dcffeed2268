//! Whether the world delivers mail for our domains here.
//!
//! A classical mistake: the public MX record of a configured domain leads to another server, so mail from outside never
//! arrives, while mail from here to the domain stays here. The local zone has only what is configured; so the upstream
//! servers are queried, when the WAN is up and every six hours, and the addresses of the MX hosts are compared with the
//! WAN's.
//!
//! There is no warning where the answer is unknown: if the upstream servers do not answer, or do not have the domain,
//! so that nobody outside can write to it; and if the WAN's address is private, since the server may have a public one
//! elsewhere.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use gatepost_ground::Role as Side;
use tracing::{info, warn};

use super::driver::Active;
use crate::clock::sleep_until;
use crate::dns::name::is_within;
use crate::dns::resolver::{MailExchange, NoAnswer, Resolver};
use crate::dns::special::is_private;
use crate::mail::mx::HOSTS_MAX;
use crate::mail::service::directory::MailDomain;
use crate::net::Net;
use crate::wait::first_of;

/// The interval of queries.
pub const EVERY: Duration = Duration::from_secs(6 * 3600);
/// How long it is to the next question if there was no answer.
pub const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// The most domains that are queried.
pub const DOMAINS_MAX: usize = 64;

/// Where the world delivers mail for a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Here.
    Here,
    /// To these servers, none of which is this one.
    Elsewhere(Vec<String>),
    /// To no known server.
    Nowhere,
    /// There is no answer now.
    Unknown,
}

/// The domains of the office that outsiders may write to: all but the names of the gateway itself in the first.
pub(super) fn domains_to_ask(domains: &[MailDomain]) -> Vec<&str> {
    let Some(office) = domains.first() else { return Vec::new() };
    let is_host = |domain: &&MailDomain| {
        let is_below = domain.name != office.name && is_within(&domain.name, &office.name);
        domain.same_as.as_deref() == Some(office.name.as_str()) && is_below
    };
    let asked = domains.iter().filter(|domain| !is_host(domain));
    asked.map(|domain| domain.name.as_str()).take(DOMAINS_MAX).collect()
}

/// Where the world delivers mail for `domain`; `own` are the addresses of this server outside.
pub(super) async fn find(resolver: &Resolver, domain: &str, own: &BTreeSet<IpAddr>) -> Finding {
    let mut hosts = match resolver.mail_exchanges(domain).await {
        Ok(hosts) => hosts,
        // RFC 5321, section 5.1: without MX the domain's own address counts.
        Err(NoAnswer::NoData) => vec![MailExchange { preference: 0, host: domain.to_owned() }],
        Err(NoAnswer::NoName) => return Finding::Nowhere,
        Err(NoAnswer::Unavailable) => return Finding::Unknown,
    };
    hosts.sort();
    // RFC 7505: a null MX accepts no mail.
    hosts.retain(|mx| !mx.host.is_empty());
    let mut elsewhere = Vec::new();
    for MailExchange { host, .. } in hosts.into_iter().take(HOSTS_MAX) {
        match resolver.addresses(&host).await {
            Ok(addresses) if addresses.iter().any(|address| own.contains(address)) => return Finding::Here,
            Ok(_) => elsewhere.push(host),
            Err(NoAnswer::Unavailable) => return Finding::Unknown,
            Err(NoAnswer::NoName | NoAnswer::NoData) => {}
        }
    }
    if elsewhere.is_empty() { Finding::Nowhere } else { Finding::Elsewhere(elsewhere) }
}

/// The warning for a domain.
pub(super) fn told(domain: &str, servers: &[String]) -> String {
    format!(
        "the world delivers {domain} to {}; poll it, or set the MX, or do not claim the domain",
        servers.join(", ")
    )
}

impl<N: Net> Active<N> {
    /// The addresses at which the internet reaches this server; empty if they are unknown.
    fn public_addresses(&self) -> BTreeSet<IpAddr> {
        let addresses = self.addresses.borrow();
        let outside = addresses.of(Side::Outside).flat_map(|interface| interface.addresses.clone());
        outside.map(|network| network.addr()).filter(|address| !is_private(*address)).collect()
    }

    /// Queries the public MX records of local domains periodically, and sets `world` to the problem. It never returns.
    /// With a common mailbox, remote servers are expected.
    pub(super) async fn watch_world(&self) {
        if self.settings.has_common_mailbox {
            return;
        }
        let resolver = self.resolver.of_world();
        let mut addresses = self.addresses.clone();
        loop {
            let own = self.public_addresses();
            let mut next = None;
            if !own.is_empty() {
                let (mut wrong, mut is_unknown) = (Vec::new(), false);
                for domain in domains_to_ask(&self.settings.mail.domains) {
                    match find(&resolver, domain, &own).await {
                        Finding::Elsewhere(servers) => wrong.push(told(domain, &servers)),
                        Finding::Unknown => is_unknown = true,
                        Finding::Here | Finding::Nowhere => {}
                    }
                }
                // Without an answer the former result stays.
                if !is_unknown || !wrong.is_empty() {
                    self.tell_of_world((!wrong.is_empty()).then(|| wrong.join("; ")));
                }
                next = Some(self.clock.now() + if is_unknown { AGAIN_AFTER } else { EVERY });
            }
            let changed = async {
                while addresses.changed().await.is_ok() {
                    if self.public_addresses() != own {
                        return;
                    }
                }
                // The publisher is gone: another configuration is in force.
                std::future::pending::<()>().await;
            };
            first_of(changed, sleep_until(&*self.clock, next)).await;
        }
    }

    fn tell_of_world(&self, wrong: Option<String>) {
        let before = self.world.replace(wrong.clone());
        match wrong {
            Some(wrong) if before.as_ref() != Some(&wrong) => warn!("{wrong}"),
            None if before.is_some() => info!("the world delivers mail for our domains here"),
            _ => {}
        }
    }
}
