//! What a running gateway tells of itself: it collects the reports of [`crate::control`].

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use crossbeam::channel::Sender;
use gatepost_dataplane::Instant;
use gatepost_dataplane::config::{self as dataplane, Mode, Segment};
use gatepost_services::clock::Clock;
use gatepost_services::dhcp::server::leases::{self as server, ClientKey};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;

use super::ports::PortStatus;
use super::query::Query;
use crate::config::{Config, WanAddress};
use crate::control::What;
use crate::control::report::{Counters, Drop, Drops, Interface, Lease, Leases, Port, Status};
use crate::control::server::Reporter;

/// Asks the worker and the services. Clones ask the same gateway.
#[derive(Clone)]
pub struct Inspector {
    pub(super) config: Rc<Config>,
    pub(super) plan: Arc<ArcSwap<dataplane::Config>>,
    pub(super) clock: Rc<dyn Clock>,
    pub(super) began: Instant,
    /// The DHCP server's, if there is one.
    pub(super) leases: Option<Rc<RefCell<server::Leases>>>,
    /// The name servers that the gateway asks.
    pub(super) dns_upstreams: Rc<RefCell<Vec<Ipv4Addr>>>,
    pub(super) queries: Sender<Query>,
    pub(super) wake_worker: Arc<dyn Fn() + Send + Sync>,
}

impl Reporter for Inspector {
    async fn report(&self, what: What) -> Result<Value, String> {
        match what {
            What::Status => value(&self.status().await?),
            What::Leases => value(&self.leases()),
            What::Flows => Err("no flows".to_owned()),
            What::Neighbors => Err("no neighbors".to_owned()),
            What::Counters => value(&self.counters().await?),
            What::Drops => value(&self.drops().await?),
        }
    }
}

impl Inspector {
    async fn status(&self) -> Result<Status, String> {
        let (_, ports) = self.ask(Query::Counters).await?;
        let plan = self.plan.load();
        let wan_by = match self.config.wan.address {
            WanAddress::Dhcp => "dhcp",
            WanAddress::Static { .. } => "static",
        };
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: self.config.system.hostname.clone(),
            domain: self.config.system.domain.clone(),
            mode: mode_name(self.config.mode).to_owned(),
            uptime_secs: self.clock.now().since(self.began).as_secs(),
            lan: interface(&plan.lan, "static"),
            wan: (self.config.mode != Mode::LanOnly).then(|| interface(&plan.wan, wan_by)),
            dns_upstream: self.dns_upstreams.borrow().clone(),
            flows: 0,
            leases: self.leases().leases.len(),
            ports: self.ports(ports),
        })
    }

    fn leases(&self) -> Leases {
        let now = self.clock.now();
        let unix_now = self.clock.unix_time();
        let leases = self.leases.as_ref().map(|leases| leases.borrow());
        let active = leases.iter().flat_map(|leases| leases.iter()).filter(|lease| lease.is_active(now));
        let lease = |lease: &server::Lease| Lease {
            address: lease.address,
            mac: lease.mac.to_string(),
            hostname: lease.hostname.clone(),
            client_id: match &lease.client {
                ClientKey::Id(id) => Some(hexadecimal(id)),
                ClientKey::Mac(_) => None,
            },
            expires_in_secs: lease.until.0.saturating_sub(unix_now.0),
        };
        Leases { leases: active.map(lease).collect() }
    }

    async fn counters(&self) -> Result<Counters, String> {
        let (counters, ports) = self.ask(Query::Counters).await?;
        Ok(Counters {
            received: counters.received,
            transmitted: counters.transmitted,
            flooded: counters.flooded,
            local: counters.local,
            consumed: counters.consumed,
            held: counters.held,
            dropped: counters.drops.total(),
            made: counters.made,
            made_suppressed: counters.made_suppressed,
            ports: self.ports(ports),
        })
    }

    async fn drops(&self) -> Result<Drops, String> {
        let (counters, _) = self.ask(Query::Counters).await?;
        let drop = |(reason, count): (gatepost_dataplane::DropReason, u64)| Drop {
            reason: reason.name().to_owned(),
            count,
            meaning: reason.meaning().to_owned(),
        };
        Ok(Drops { total: counters.drops.total(), drops: counters.drops.iter().map(drop).collect() })
    }

    fn ports(&self, ports: Vec<PortStatus>) -> Vec<Port> {
        let port = |((segment, _), status): ((Segment, _), PortStatus)| Port {
            name: status.name,
            segment: segment_name(segment).to_owned(),
            up: status.up,
            received: status.counters.received,
            transmitted: status.counters.transmitted,
            backpressure: status.counters.backpressure,
            down: status.counters.down,
            refused: status.counters.refused,
        };
        self.config.ports().zip(ports).map(port).collect()
    }

    /// Puts a question to the worker.
    async fn ask<T>(&self, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Result<T, String> {
        let (reply, answer) = oneshot::channel();
        self.queries.try_send(query(reply)).map_err(|_| "too many ask at once; ask again".to_owned())?;
        (self.wake_worker)();
        answer.await.map_err(|_| "the gateway is stopping".to_owned())
    }
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
}

fn value(report: &impl Serialize) -> Result<Value, String> {
    serde_json::to_value(report).map_err(|error| error.to_string())
}

fn interface(interface: &dataplane::Interface, configured_by: &str) -> Interface {
    Interface {
        mac: interface.mac.to_string(),
        address: interface.address,
        gateway: interface.gateway,
        configured_by: configured_by.to_owned(),
    }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::LanOnly => "lan-only",
        Mode::Router => "router",
        Mode::Nat => "nat",
        Mode::NatDmz => "nat-dmz",
    }
}

fn segment_name(segment: Segment) -> &'static str {
    match segment {
        Segment::Lan => "lan",
        Segment::Wan => "wan",
    }
}
