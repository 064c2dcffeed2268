//! Collects the reports of [`crate::control`] from a running gateway.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use gatepost_dataplane::config::{self as dataplane, Mode};
use gatepost_dataplane::flow::tcp::Phase;
use gatepost_dataplane::{Counters as Counted, DropReason, FlowInfo, bridge, flow, neighbor};
use gatepost_ground::{Instant, InterfaceId, MacAddr};
use gatepost_services::clock::Clock;
use gatepost_services::lan_hosts::LeasedHost;
use gatepost_services::net::stack::Stack;
use gatepost_services::service::{self, State};
use gatepost_services::store::Monitored;
use gatepost_services::tls::authority::fingerprint;
use serde::Serialize;
use serde_json::Value;

use super::current::Current;
use super::ports::PortStatus;
use super::query::{CountersAnswer, Query};
use super::requests::{RequestError, Requests};
use super::services::list::{self, List};
use super::traffic::SharedMeter;
use crate::config::{Config, WanAddress};
use crate::control::report::{
    Counters, Drop, Drops, Flow, Flows, Interface, Lease, Leases, Listening, Log, Neighbor, Neighbors, Port,
    Service, Services, Station, Status, WanLease,
};
use crate::control::{ReportError, What};
use crate::device::LinkState;
use crate::recent_log::RECENT;

/// The time of day that the gateway serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServedTime {
    /// In milliseconds since 1970.
    pub unix_millis: u64,
    /// Whether it follows a source of time.
    pub is_synchronised: bool,
    /// The most by which it may be wrong, in milliseconds, if that is known.
    pub error_max_millis: Option<u64>,
}

/// The certificate that the services present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServersCertificate {
    /// Whether the office's own authority has signed it.
    pub is_own: bool,
    /// Its end, in seconds since 1970.
    pub not_after: u64,
    /// The time until then, in seconds; 0 if it is over.
    pub lasts_secs: u64,
}

/// Queries the workers and the services. Clones query the same gateway.
#[derive(Clone)]
pub struct Inspector {
    pub(super) current: Rc<RefCell<Current>>,
    pub(super) list: Rc<List>,
    pub(super) stack: Stack,
    pub(super) plan: Arc<ArcSwap<dataplane::Config>>,
    pub(super) clock: Rc<dyn Clock>,
    pub(super) began: Instant,
    pub(super) disk: Arc<Monitored>,
    pub(super) requests: Requests,
    pub(super) traffic: SharedMeter,
}

impl Inspector {
    /// The report `what`.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub async fn report(&self, what: What) -> Result<Value, ReportError> {
        match what {
            What::Status => value(&self.status().await?),
            What::Leases => value(&self.leases().await?),
            What::Flows => value(&self.flows().await?),
            What::Traffic => value(&self.traffic()),
            What::Neighbors => value(&self.neighbors().await?),
            What::Counters => value(&self.counters().await?),
            What::Drops => value(&self.drops().await?),
            What::Services => value(&self.services()),
            What::Zone => value(&self.zone()?),
            What::Cache => value(&self.cache()?),
            What::NameServers => value(&self.name_servers()?),
            What::Queue => value(&self.mail_queue().await?),
            What::Mailboxes => value(&self.mailboxes().await?),
            What::Mail => value(&self.mail_report()),
            What::Log => value(&self.log()),
        }
    }

    /// `show status`.
    pub(crate) async fn status(&self) -> Result<Status, ReportError> {
        let CountersAnswer { ports, .. } = self.requests.put(Query::Counters).await?;
        let flows = self.requests.put(|reply| Query::Flows(0, reply)).await?.total;
        let plan = self.plan.load();
        let config = self.config();
        let wan_by = match config.wan.address {
            WanAddress::Leased => "dhcp",
            WanAddress::Static { .. } => "static",
        };
        let wan = || {
            let standing = self.current.borrow().wan_standing.as_ref().and_then(|it| it.borrow().clone());
            let since_secs = standing.as_ref().map(|it| self.clock.now().since(it.since).as_secs());
            let lease = standing.map(|it| WanLease {
                server: it.lease.server,
                lease_secs: it.lease.lease_secs,
                name_servers: it.lease.dns_servers,
                domain: it.lease.domain,
            });
            Interface { since_secs, lease, ..interface(plan.interface(Config::WAN), wan_by) }
        };
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: config.system.hostname.clone(),
            domain: config.system.domain.clone(),
            mode: config.mode.name().to_owned(),
            uptime_secs: self.uptime_secs(),
            lan: interface(plan.interface(Config::LAN), "static"),
            wan: (config.mode != Mode::LanOnly).then(wan),
            dns_upstream: list::name_servers(&config, &self.current.borrow().addresses.borrow()),
            flows,
            leases: self.current.borrow().lan_hosts.leases().len(),
            unconfirmed: None,
            ports: self.ports(ports),
            problems: self.disk.problems(),
            service_problems: self.service_problems(),
        })
    }

    /// Seconds since the gateway began to run.
    pub(crate) fn uptime_secs(&self) -> u64 {
        self.clock.now().since(self.began).as_secs()
    }

    /// The time of day that the gateway serves.
    pub(crate) fn time(&self) -> ServedTime {
        let discipline = self.clock.discipline();
        let is_synchronised = discipline.is_synchronised;
        // A whole millisecond more: it is wrong by no more than that.
        let error_max = u64::try_from(discipline.error_max.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        ServedTime {
            unix_millis: self.clock.wall_time().millis(),
            is_synchronised,
            error_max_millis: is_synchronised.then_some(error_max),
        }
    }

    /// The certificate of the services; `None` if no service uses TLS.
    pub(crate) fn certificate(&self) -> Option<ServersCertificate> {
        let current = self.current.borrow();
        let tls = current.tls.as_ref()?;
        let not_after = tls.not_after()?.0;
        let lasts_secs = not_after.saturating_sub(self.clock.unix_time().0);
        Some(ServersCertificate { is_own: tls.has_own_authority(), not_after, lasts_secs })
    }

    /// `show log`.
    pub(crate) fn log(&self) -> Log {
        Log { lines: RECENT.lines() }
    }

    /// `show leases`.
    pub(crate) async fn leases(&self) -> Result<Leases, ReportError> {
        let stations = self.requests.put(Query::Neighbors).await?.stations;
        let heard: BTreeMap<_, _> = stations.iter().map(|(_, station)| (station.mac, station.age)).collect();
        let lease = |host: LeasedHost| Lease {
            address: host.address,
            mac: host.mac.to_string(),
            maker: maker(host.mac),
            locally_administered: host.mac.is_locally_administered(),
            hostname: host.hostname,
            client_id: host.client_id.as_deref().map(hexadecimal),
            state: host.state.name().to_owned(),
            age_secs: host.age.as_secs(),
            expires_in_secs: host.remaining.as_secs(),
            last_seen_secs: heard.get(&host.mac).copied().unwrap_or(host.age).min(host.age).as_secs(),
        };
        let current = self.current.borrow();
        Ok(Leases {
            leases: current.lan_hosts.leases().into_iter().map(lease).collect(),
            former: current.lan_hosts.former_leases(Leases::FORMER_MAX).into_iter().map(lease).collect(),
        })
    }

    /// `show services`.
    pub(crate) fn services(&self) -> Services {
        let current = self.current.borrow();
        let mut instances = current.instances.iter();
        let service = |entry: &dyn list::Entry| {
            let instance = instances.next();
            let state = instance.map_or(State::Off, |instance| instance.state());
            let listens = instance.map_or_else(Vec::new, |instance| instance.listens());
            let listening = |listening: service::Listening| Listening {
                protocol: listening.protocol.to_string().to_lowercase(),
                address: listening.local.ip(),
                port: listening.local.port(),
            };
            Service {
                name: entry.kind().name.to_owned(),
                state: state.name().to_owned(),
                problem: match state {
                    State::Impaired(problem) => Some(problem),
                    State::Off | State::Running => None,
                },
                note: instance.and_then(|instance| instance.note()),
                listens: listens.into_iter().map(listening).collect(),
                counters: entry
                    .counters()
                    .into_iter()
                    .map(|(name, count)| (name.to_owned(), count))
                    .collect(),
            }
        };
        Services { services: self.list.entries().map(service).collect() }
    }

    /// The problems of the services and of the WAN's DHCP client; a problem of several services once.
    fn service_problems(&self) -> Vec<String> {
        let mut all: Vec<(String, String)> = Vec::new();
        for Service { name, problem, .. } in self.services().services {
            let Some(problem) = problem else { continue };
            match all.iter_mut().find(|(_, known)| *known == problem) {
                Some((names, _)) => *names += &format!(", {name}"),
                None => all.push((name, problem)),
            }
        }
        let current = self.current.borrow();
        let wan = current.wan_problem.as_ref().and_then(|problem| problem.borrow().clone());
        let wan = wan.map(|problem| ("wan".to_owned(), problem));
        all.into_iter().chain(wan).map(|(names, problem)| format!("{names}: {problem}")).collect()
    }

    /// `show flows`.
    pub(crate) async fn flows(&self) -> Result<Flows, ReportError> {
        let answer = self.requests.put(|reply| Query::Flows(Flows::SHOWN_MAX, reply)).await?;
        let (now, total) = (self.clock.now(), answer.total);
        let shown = answer.fair_part(Flows::SHOWN_MAX);
        Ok(Flows { total, flows: shown.iter().map(|info| flow(info, now)).collect() })
    }

    /// `show neighbors`.
    pub(crate) async fn neighbors(&self) -> Result<Neighbors, ReportError> {
        let answer = self.requests.put(Query::Neighbors).await?;
        let ports: Vec<_> = self.config().ports().map(|(_, port)| port.to_string()).collect();
        let neighbor = |neighbor: &neighbor::Neighbor| Neighbor {
            segment: Config::interface_name(neighbor.interface).to_owned(),
            address: neighbor.ip,
            mac: neighbor.mac.map(|mac| mac.to_string()),
            state: neighbor_state(neighbor.state).to_owned(),
            held: neighbor.held,
        };
        let plan = self.plan.load();
        let station = |(_, station): &(InterfaceId, bridge::Station)| {
            let port = plan.vlan_of(station.port).map_or(station.port, |vlan| vlan.port);
            Station {
                mac: station.mac.to_string(),
                port: ports.get(usize::from(port.0)).cloned().unwrap_or_default(),
                age_secs: station.age.as_secs(),
            }
        };
        Ok(Neighbors {
            neighbors: answer.neighbors.iter().map(neighbor).collect(),
            stations: answer.stations.iter().map(station).collect(),
        })
    }

    async fn counters(&self) -> Result<Counters, ReportError> {
        let CountersAnswer { counters: counted, ports } = self.requests.put(Query::Counters).await?;
        Ok(Counters {
            host_stack: self.stack.counters(),
            services: self
                .services()
                .services
                .into_iter()
                .map(|service| (service.name, service.counters))
                .collect(),
            ..counters(&counted, self.ports(ports))
        })
    }

    async fn drops(&self) -> Result<Drops, ReportError> {
        let CountersAnswer { counters, .. } = self.requests.put(Query::Counters).await?;
        let drop = |(reason, count): (DropReason, u64)| Drop {
            reason: reason.name().to_owned(),
            count,
            meaning: reason.meaning().to_owned(),
        };
        Ok(Drops { total: counters.drops.total(), drops: counters.drops.iter().map(drop).collect() })
    }

    /// The number of workers.
    pub(super) fn workers(&self) -> usize {
        self.requests.queues.len()
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> Rc<Config> {
        Rc::clone(&self.current.borrow().config)
    }

    /// The SHA-256 fingerprint of the certificate of the office's own authority; `None` if it has not signed the
    /// services' certificate.
    pub(crate) fn authority_fingerprint(&self) -> Option<String> {
        fingerprint(&self.current.borrow().tls.as_ref()?.own_authority()?)
    }

    fn ports(&self, ports: Vec<PortStatus>) -> Vec<Port> {
        let port = |((interface, _), status): ((InterfaceId, _), PortStatus)| Port {
            name: status.name,
            segment: Config::interface_name(interface).to_owned(),
            up: status.state != LinkState::Down,
            state: status.state.name().to_owned(),
            received: status.counters.received,
            transmitted: status.counters.transmitted,
            backpressure: status.counters.backpressure,
            down: status.counters.down,
            refused: status.counters.refused,
        };
        self.config().ports().zip(ports).map(port).collect()
    }
}

impl From<RequestError> for ReportError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::TooMany => Self::TooManyAsk,
            RequestError::Stopping => Self::Stopping,
        }
    }
}

/// The organisation to which the IEEE assigned the prefix of `mac`.
fn maker(mac: MacAddr) -> Option<String> {
    oui_data::lookup(&mac.to_string()).map(|entry| entry.organization().to_owned())
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
}

fn value(report: &impl Serialize) -> Result<Value, ReportError> {
    serde_json::to_value(report).map_err(ReportError::Unprintable)
}

fn interface(interface: &dataplane::Interface, configured_by: &str) -> Interface {
    Interface {
        mac: interface.mac().to_string(),
        address: interface.addresses.first().copied(),
        gateway: interface.gateway.v4.map(IpAddr::V4),
        configured_by: configured_by.to_owned(),
        since_secs: None,
        lease: None,
    }
}

/// The report of the dataplane's counters, without those of services.
pub fn counters(counted: &Counted, ports: Vec<Port>) -> Counters {
    Counters { frames: counted.clone(), dropped: counted.drops.total(), ports, ..Counters::default() }
}

/// The report of a flow at `now`.
pub fn flow(info: &FlowInfo, now: Instant) -> Flow {
    let [sent, received] = info.traffic;
    Flow {
        protocol: info.original.protocol.to_string().to_lowercase(),
        client: info.original.source.to_string(),
        destination: info.original.destination.to_string(),
        server: info.reply.source.to_string(),
        client_seen_as: info.reply.destination.to_string(),
        state: flow_state(info.state).to_owned(),
        packets_sent: sent.packets,
        packets_received: received.packets,
        octets_sent: sent.octets,
        octets_received: received.octets,
        expires_in_secs: info.expires.since(now).as_secs(),
    }
}

/// The state of a flow in reports.
pub(super) fn flow_state(state: flow::State) -> &'static str {
    match state {
        flow::State::Udp | flow::State::IcmpQuery => "open",
        flow::State::Tcp(Phase::Opening) => "opening",
        flow::State::Tcp(Phase::Established) => "established",
        flow::State::Tcp(Phase::Closing) => "closing",
        flow::State::Tcp(Phase::Reset) => "reset",
    }
}

fn neighbor_state(state: neighbor::State) -> &'static str {
    match state {
        neighbor::State::Incomplete => "incomplete",
        neighbor::State::Reachable => "reachable",
        neighbor::State::Stale => "stale",
        neighbor::State::Probe => "probe",
        neighbor::State::Contested => "contested",
        neighbor::State::Unreachable => "unreachable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_assigned_prefix_names_the_maker() {
        let made_by = |octets| maker(MacAddr(octets));
        assert_eq!(made_by([0, 0, 0, 1, 2, 3]).as_deref(), Some("XEROX CORPORATION"));
        // 70:B3:D5 is the registry's own, and divided into blocks of 4,096 addresses.
        let block = made_by([0x70, 0xb3, 0xd5, 0x7e, 0x40, 1]).expect("assigned");
        assert!(!block.contains("IEEE"), "{block}");
        assert_eq!(made_by([2, 0, 0, 0, 0, 1]), None, "locally administered");
    }
}
