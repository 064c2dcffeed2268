//! The reports that `gatepost show` can ask for: their keys in JSON, and their text for people.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use gatepost_dataplane::Counters as Frames;
use gatepost_services::net::stack::StackCounters;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::table::{Table, more, octets, on_one_line, or_dash, span};
use crate::device::LinkState;
use crate::transaction::Window;

/// `show status`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The gateway's host name.
    pub hostname: String,
    /// The office's domain.
    pub domain: String,
    /// `lan-only`, `router`, `nat` or `nat-dmz`.
    pub mode: String,
    /// Seconds since it began to run.
    pub uptime_secs: u64,
    /// The office's side.
    pub lan: Interface,
    /// The internet's side; `null` in `lan-only`.
    pub wan: Option<Interface>,
    /// The DNS servers that it asks, the first choice first.
    pub dns_upstream: Vec<IpAddr>,
    /// The connections through it.
    pub flows: usize,
    /// The number of leases.
    pub leases: usize,
    /// The change of the configuration that waits for its confirmation; `null` if none does.
    #[serde(default)]
    pub unconfirmed: Option<Window>,
    /// Its ports.
    pub ports: Vec<Port>,
    /// The problems of its state directory, a sentence each.
    #[serde(default)]
    pub problems: Vec<String>,
    /// The problems of its services, and of its DHCP client on the WAN, a sentence each.
    #[serde(default)]
    pub service_problems: Vec<String>,
}

/// One of the gateway's two interfaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its hardware address.
    pub mac: String,
    /// Its address with the segment's prefix; `null` while it has none.
    pub address: Option<IpNet>,
    /// The next hop beyond the segment.
    pub gateway: Option<IpAddr>,
    /// `static` or `dhcp`.
    pub configured_by: String,
    /// Seconds since its DHCP client has this address; `null` without one.
    #[serde(default)]
    pub since_secs: Option<u64>,
    /// What the provider's DHCP server has told; `null` without a lease.
    #[serde(default)]
    pub lease: Option<WanLease>,
}

/// The answer of the provider's DHCP server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WanLease {
    /// The server.
    pub server: Ipv4Addr,
    /// How long a grant lasts, in seconds.
    pub lease_secs: u32,
    /// The DNS servers that it offers.
    pub name_servers: Vec<Ipv4Addr>,
    /// The domain that it tells.
    pub domain: Option<String>,
}

/// A port and the frames that passed there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its device, with its network namespace.
    pub name: String,
    /// `lan` or `wan`.
    pub segment: String,
    /// Whether it carries frames.
    pub up: bool,
    /// `up`; `unattached` if the kernel's side has neither bridge nor address, so that frames are lost; `down` if the
    /// port is gone or set down.
    pub state: String,
    /// Frames read from it.
    pub received: u64,
    /// Frames written to it.
    pub transmitted: u64,
    /// Frames not written because its backlog was full.
    pub backpressure: u64,
    /// Frames not written because it was gone or set down.
    pub down: u64,
    /// Frames that it refused.
    pub refused: u64,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, hostname, domain, mode, .. } = self;
        writeln!(f, "{hostname}.{domain}: gatepost {version}, {mode}, up {}", span(self.uptime_secs))?;
        let mut interfaces = Table::new(["segment", "address", "gateway", "mac", "configured by"]);
        for (segment, interface) in [("lan", Some(&self.lan)), ("wan", self.wan.as_ref())] {
            let Some(interface) = interface else { continue };
            interfaces.row([
                segment.to_owned(),
                or_dash(interface.address.as_ref()),
                or_dash(interface.gateway.as_ref()),
                interface.mac.clone(),
                interface.configured_by.clone(),
            ]);
        }
        write!(f, "\n{interfaces}\n{}\n", ports_table(&self.ports))?;
        for port in self.ports.iter().filter(|port| port.state == LinkState::Unattached.name()) {
            let name = &port.name;
            writeln!(
                f,
                "Nobody is attached to {name}: give it to a bridge, `ip link set {name} master BRIDGE`.\n"
            )?;
        }
        let upstream: Vec<_> = self.dns_upstream.iter().map(IpAddr::to_string).collect();
        let upstream = if upstream.is_empty() { "-".to_owned() } else { upstream.join(", ") };
        writeln!(f, "{} flows, {} leases, dns upstream {upstream}", self.flows, self.leases)?;
        self.unconfirmed.iter().try_for_each(|window| write!(f, "{window}"))?;
        let mut problems = self.problems.iter().chain(&self.service_problems);
        problems.try_for_each(|problem| writeln!(f, "problem: {problem}"))
    }
}

fn ports_table(ports: &[Port]) -> Table<8> {
    let header = ["port", "segment", "state", "received", "transmitted", "backpressure", "down", "refused"];
    let mut table = Table::new(header);
    for port in ports {
        table.row([
            port.name.clone(),
            port.segment.clone(),
            port.state.clone(),
            port.received.to_string(),
            port.transmitted.to_string(),
            port.backpressure.to_string(),
            port.down.to_string(),
            port.refused.to_string(),
        ]);
    }
    table
}

/// `show log`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The last lines, the oldest first, each with its time and level.
    pub lines: Vec<String>,
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{}", on_one_line(line)))
    }
}

/// `show leases`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leases {
    /// The leases that have not ended, by address.
    pub leases: Vec<Lease>,
    /// The leases that have ended and the addresses in quarantine, the latest first, up to [`Leases::FORMER_MAX`].
    #[serde(default)]
    pub former: Vec<Lease>,
}

impl Leases {
    /// The most former leases in a report.
    pub const FORMER_MAX: usize = 256;
}

/// A lease, present or former, or a quarantined address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// The hardware address of the lease's client; of a quarantined address, that of the machine that answers for the
    /// address or, if none does, of the client that has declined it.
    pub mac: String,
    /// The organisation to which the IEEE assigned the hardware address's prefix; `null` if it is unknown.
    #[serde(default)]
    pub maker: Option<String>,
    /// Whether the hardware address is locally administered: a phone's random one, or a virtual machine's.
    #[serde(default)]
    pub locally_administered: bool,
    /// The name in the zone.
    pub hostname: Option<String>,
    /// Its client identifier in hexadecimal, where it gave one.
    pub client_id: Option<String>,
    /// `bound`; of former ones `expired`, `released` or `quarantined`.
    #[serde(default)]
    pub state: String,
    /// Seconds since the lease was last granted, renewed, or released, or since the quarantine began.
    #[serde(default)]
    pub age_secs: u64,
    /// Seconds until the lease or the quarantine ends, if not renewed.
    pub expires_in_secs: u64,
    /// Seconds since the last frame from the hardware address or, if the bridge does not know it, `age_secs`.
    #[serde(default)]
    pub last_seen_secs: u64,
}

impl fmt::Display for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["address", "mac", "maker", "hostname", "state", "expires in", "last seen", "client id"];
        let mut table = Table::new(header);
        for lease in self.leases.iter().chain(&self.former) {
            let of_unknown = if lease.locally_administered { "(local)" } else { "-" };
            let expires = (lease.expires_in_secs > 0).then(|| span(lease.expires_in_secs));
            table.row([
                lease.address.to_string(),
                lease.mac.clone(),
                lease.maker.clone().unwrap_or_else(|| of_unknown.to_owned()),
                or_dash(lease.hostname.as_ref()),
                lease.state.clone(),
                or_dash(expires.as_ref()),
                format!("{} ago", span(lease.last_seen_secs)),
                or_dash(lease.client_id.as_ref()),
            ]);
        }
        table.fmt(f)
    }
}

/// `show flows`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    /// How many there are.
    pub total: usize,
    /// Some of them: all, up to [`Flows::SHOWN_MAX`].
    pub flows: Vec<Flow>,
}

impl Flows {
    /// The most flows that one report holds.
    pub const SHOWN_MAX: usize = 10_000;
}

/// A flow through the gateway. Endpoints are an address and a port; ICMP queries have an identifier in place of the
/// client's port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// `tcp`, `udp` or `icmp`.
    pub protocol: String,
    /// The endpoint that opened the flow.
    pub client: String,
    /// The endpoint that the client sends to.
    pub destination: String,
    /// The endpoint that answers; behind a forward it differs from `destination`.
    pub server: String,
    /// The endpoint that the server sends to; behind a NAT it differs from `client`.
    pub client_seen_as: String,
    /// `open` for UDP and ICMP; `opening`, `established`, `closing` or `reset` for TCP.
    pub state: String,
    /// Packets from the client.
    pub packets_sent: u64,
    /// Packets to the client.
    pub packets_received: u64,
    /// Octets from the client, IP headers included.
    pub octets_sent: u64,
    /// Octets to the client, IP headers included.
    pub octets_received: u64,
    /// Seconds until it expires without further packets.
    pub expires_in_secs: u64,
}

impl fmt::Display for Flows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new([
            "protocol",
            "client",
            "seen as",
            "destination",
            "server",
            "state",
            "sent",
            "octets",
            "received",
            "octets",
            "expires in",
        ]);
        for flow in &self.flows {
            table.row([
                flow.protocol.clone(),
                flow.client.clone(),
                flow.client_seen_as.clone(),
                flow.destination.clone(),
                flow.server.clone(),
                flow.state.clone(),
                flow.packets_sent.to_string(),
                octets(flow.octets_sent),
                flow.packets_received.to_string(),
                octets(flow.octets_received),
                span(flow.expires_in_secs),
            ]);
        }
        table.fmt(f)?;
        more(f, self.total, self.flows.len())
    }
}

/// `show neighbors`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbors {
    /// The machines whose hardware address was resolved or observed, by segment and address.
    pub neighbors: Vec<Neighbor>,
    /// The hardware addresses of the frames from each port.
    pub stations: Vec<Station>,
}

/// A machine on a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbor {
    /// `lan` or `wan`.
    pub segment: String,
    /// Its address.
    pub address: IpAddr,
    /// Its hardware address; `null` while it is unknown.
    pub mac: Option<String>,
    /// `incomplete` while it is asked for the first time, `reachable`, `stale`, `probe`, `contested`
    /// while another hardware address claims it, or `unreachable`.
    pub state: String,
    /// Frames that wait for its answer.
    pub held: usize,
}

/// A hardware address behind a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Station {
    /// The hardware address.
    pub mac: String,
    /// The port it is behind.
    pub port: String,
    /// Seconds since its last frame.
    pub age_secs: u64,
}

impl fmt::Display for Neighbors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut neighbors = Table::new(["segment", "address", "mac", "state", "held"]);
        for neighbor in &self.neighbors {
            neighbors.row([
                neighbor.segment.clone(),
                neighbor.address.to_string(),
                or_dash(neighbor.mac.as_ref()),
                neighbor.state.clone(),
                neighbor.held.to_string(),
            ]);
        }
        let mut stations = Table::new(["station", "port", "age"]);
        for station in &self.stations {
            stations.row([station.mac.clone(), station.port.clone(), span(station.age_secs)]);
        }
        write!(f, "{neighbors}\n{stations}")
    }
}

/// `show counters`. Of the frames, `received` and `taken_over` together are the sum of `transmitted`, `flooded`,
/// `local`, `consumed`, `held`, `dropped` and `handed_over`. All workers' are added up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// The frames by fate; these keys are at the top level.
    #[serde(flatten)]
    pub frames: Frames,
    /// Dropped frames; `show drops` has the reasons.
    pub dropped: u64,
    /// The counters of the gateway's own TCP and UDP.
    #[serde(default)]
    pub host_stack: StackCounters,
    /// The counters of each port.
    pub ports: Vec<Port>,
    /// The counters of each service; the services' names are at the top level.
    #[serde(flatten)]
    pub services: BTreeMap<String, Counts>,
}

/// Counters by their names.
pub type Counts = BTreeMap<String, u64>;

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["frames or flows", "count"]);
        for (name, count) in self.frames.iter().chain([("dropped", self.dropped)]) {
            table.row([name.replace('_', "-"), count.to_string()]);
        }
        write!(f, "{table}")?;
        write!(f, "\n{}", counts_table("host stack", self.host_stack.iter()))?;
        for (name, counts) in &self.services {
            let counts = counts.iter().map(|(name, count)| (name.as_str(), *count));
            write!(f, "\n{}", counts_table(name, counts))?;
        }
        write!(f, "\n{}", ports_table(&self.ports))
    }
}

/// Counters that are zero are in JSON only.
fn counts_table<'a>(group: &str, counts: impl Iterator<Item = (&'a str, u64)>) -> Table<2> {
    let mut table = Table::new([group, "count"]);
    for (name, count) in counts.filter(|(_, count)| *count > 0) {
        table.row([name.replace('_', "-"), count.to_string()]);
    }
    table
}

/// `show services`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {
    /// All that this version has, those that are off included.
    pub services: Vec<Service>,
}

/// One of the gateway's own services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name in the configuration.
    pub name: String,
    /// `running`; `impaired` if it serves, but not as it should; `off`.
    pub state: String,
    /// The problem of an impaired service.
    pub problem: Option<String>,
    /// A remark on a service without a problem.
    #[serde(default)]
    pub note: Option<String>,
    /// Where it listens.
    pub listens: Vec<Listening>,
    /// Its counters since the gateway started.
    pub counters: Counts,
}

/// A listening address of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// `udp` or `tcp`.
    pub protocol: String,
    /// The gateway's address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["service", "state", "listens"]);
        for service in &self.services {
            let places = service.listens.iter().map(|Listening { protocol, address, port }| {
                format!("{protocol} {}", SocketAddr::new(*address, *port))
            });
            let listens = places.collect::<Vec<_>>().join(", ");
            let listens = if listens.is_empty() { "-".to_owned() } else { listens };
            table.row([service.name.clone(), service.state.clone(), listens]);
        }
        table.fmt(f)?;
        for service in &self.services {
            for told in service.problem.iter().chain(&service.note) {
                writeln!(f, "{}: {told}", service.name)?;
            }
        }
        for service in
            self.services.iter().filter(|service| service.counters.values().any(|count| *count > 0))
        {
            let counts = service.counters.iter().map(|(name, count)| (name.as_str(), *count));
            write!(f, "\n{}", counts_table(&service.name, counts))?;
        }
        Ok(())
    }
}

/// `show queue`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// The store's problem.
    pub problem: Option<String>,
    /// How many there are.
    pub total: usize,
    /// Some of them, the oldest first: all, up to some bound.
    pub queue: Vec<Queued>,
}

/// A remote recipient without its message yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// The identifier in `mail queue`: the message's number and the recipient's.
    pub id: String,
    /// The message's return path; empty for those of the gateway itself.
    pub sender: String,
    /// The address.
    pub recipient: String,
    /// Seconds since the message was accepted.
    pub age_secs: u64,
    /// The message's length in octets.
    pub size: u64,
    /// How often it was tried.
    pub tries: u32,
    /// Seconds until it is tried next; `null` while it is held.
    pub next_try_secs: Option<u64>,
    /// The last reply of the server, or the last failure.
    pub last_reply: String,
    /// Whether it waits for `mail queue release`.
    pub held: bool,
    /// Whether it is being sent now.
    pub under_way: bool,
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(problem) = &self.problem {
            writeln!(f, "problem: {problem}")?;
        }
        let header = ["id", "sender", "recipient", "size", "age", "tries", "next try", "last reply"];
        let mut table = Table::new(header);
        for queued in &self.queue {
            let next = match queued.next_try_secs {
                _ if queued.under_way => "now".to_owned(),
                Some(secs) => span(secs),
                None => "held".to_owned(),
            };
            table.row([
                queued.id.clone(),
                on_one_line(&format!("<{}>", queued.sender)),
                on_one_line(&queued.recipient),
                octets(queued.size),
                span(queued.age_secs),
                queued.tries.to_string(),
                next,
                on_one_line(or_dash(Some(&queued.last_reply).filter(|reply| !reply.is_empty())).as_str()),
            ]);
        }
        table.fmt(f)?;
        let (shown, total) = (self.queue.len(), self.total);
        if shown < total { writeln!(f, "the oldest {shown} of {total}") } else { Ok(()) }
    }
}

/// `show drops`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// Frames dropped for any reason.
    pub total: u64,
    /// The reasons, those that have not happened included.
    pub drops: Vec<Drop>,
}

/// A reason and how often it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drop {
    /// The reason's name.
    pub reason: String,
    /// Frames dropped for it.
    pub count: u64,
    /// What it means.
    pub meaning: String,
}

impl fmt::Display for Drops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["reason", "count", "meaning"]);
        for drop in self.drops.iter().filter(|drop| drop.count > 0) {
            table.row([drop.reason.clone(), drop.count.to_string(), drop.meaning.clone()]);
        }
        writeln!(f, "{table}{} in all", self.total)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::services::{KINDS, OUTWARD_KINDS};
    use crate::glossary::{CounterGroup, counter_groups};

    #[test]
    fn former_leases_follow_the_present_ones() {
        let lease = |address: Ipv4Addr, maker: Option<&str>, state: &str, expires_in_secs| Lease {
            address,
            mac: "00:00:00:00:00:01".to_owned(),
            maker: maker.map(str::to_owned),
            locally_administered: maker.is_none(),
            hostname: None,
            client_id: None,
            state: state.to_owned(),
            age_secs: 90,
            expires_in_secs,
            last_seen_secs: 5,
        };
        let leases = Leases {
            leases: vec![lease(Ipv4Addr::new(192, 168, 1, 9), Some("XEROX CORPORATION"), "bound", 60)],
            former: vec![lease(Ipv4Addr::new(192, 168, 1, 2), None, "released", 0)],
        };
        let text = leases.to_string();
        let lines: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1][2..], ["XEROX", "CORPORATION", "-", "bound", "1m00s", "5s", "ago", "-"]);
        assert_eq!(lines[2][2..], ["(local)", "-", "released", "-", "5s", "ago", "-"]);
    }

    #[test]
    fn flows_beyond_the_limit_are_counted() {
        let flow = Flow {
            protocol: "tcp".to_owned(),
            client: "192.168.1.10:40000".to_owned(),
            destination: "198.51.100.1:80".to_owned(),
            server: "198.51.100.1:80".to_owned(),
            client_seen_as: "203.0.113.10:40000".to_owned(),
            state: "established".to_owned(),
            packets_sent: 3,
            packets_received: 2,
            octets_sent: 300,
            octets_received: 1_234_567,
            expires_in_secs: 7440,
        };
        let text = Flows { total: 7, flows: vec![flow] }.to_string();
        assert!(text.contains("192.168.1.10:40000"), "{text}");
        assert!(text.ends_with("and 6 more\n"), "{text}");
        assert!(text.contains("300 B") && text.contains("1.1 MiB"), "{text}");
    }

    #[test]
    fn every_counter_is_reported_and_has_a_meaning() {
        let mut counters = Counters { dropped: 7, ..Counters::default() };
        (counters.frames.address_conflicts, counters.host_stack.syn_cookies_sent) = (3, 4);
        for kind in KINDS.into_iter().chain(OUTWARD_KINDS) {
            let counts = kind.counters.iter().zip(5..).map(|((name, _), count)| ((*name).to_owned(), count));
            counters.services.insert(kind.name.to_owned(), counts.collect());
        }
        let report = serde_json::to_value(&counters).expect("plain data");
        for CounterGroup { key, counters, .. } in counter_groups() {
            let keys = key.map_or(&report, |key| &report[key]).as_object().expect("an object");
            let counted: BTreeSet<_> =
                keys.iter().filter(|(_, value)| value.is_u64()).map(|(key, _)| key.as_str()).collect();
            assert_eq!(counted, counters.iter().map(|(name, _)| *name).collect(), "{key:?}");
        }
        assert_eq!(report["address_conflicts"], 3);
        assert_eq!(serde_json::from_value::<Counters>(report).expect("its own"), counters);
        let text = counters.to_string();
        let words: Vec<_> = text.split_whitespace().collect();
        for shown in
            [["address-conflicts", "3"], ["syn-cookies-sent", "4"], ["queries", "5"], ["dropped", "7"]]
        {
            assert!(words.windows(2).any(|pair| pair == shown), "{shown:?}: {text}");
        }
        assert!(!words.contains(&"segments-unwanted") && words.contains(&"held"), "{text}");
    }

    #[test]
    fn services_are_told_with_their_places_and_what_is_wrong() {
        let listens = |protocol: &str| Listening {
            protocol: protocol.to_owned(),
            address: [192, 168, 1, 1].into(),
            port: 53,
        };
        let service = |name: &str, state: &str| Service {
            name: name.to_owned(),
            state: state.to_owned(),
            problem: None,
            note: None,
            listens: Vec::new(),
            counters: Counts::new(),
        };
        let counters = [("queries", 7), ("refused", 0)].map(|(name, count)| (name.to_owned(), count));
        let services = Services {
            services: vec![
                service("dhcp", "off"),
                Service {
                    problem: Some("no name service on 203.0.113.10:53".to_owned()),
                    note: Some("it asks nobody".to_owned()),
                    listens: vec![listens("udp"), listens("tcp")],
                    counters: counters.into(),
                    ..service("dns", "impaired")
                },
            ],
        };
        let text = services.to_string();
        for part in [
            "dhcp     off       -",
            "dns      impaired  udp 192.168.1.1:53, tcp 192.168.1.1:53",
            "dns: no name service on 203.0.113.10:53",
            "dns: it asks nobody",
            "queries",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("refused"), "{text}");
        let report = serde_json::to_value(&services).expect("plain data");
        assert_eq!(report["services"][1]["listens"][0]["port"], 53);
        assert_eq!(serde_json::from_value::<Services>(report).expect("its own"), services);
    }

    #[test]
    fn reasons_that_did_not_happen_are_in_json_only() {
        let drop = |reason: &str, count| Drop { reason: reason.to_owned(), count, meaning: String::new() };
        let drops = Drops { total: 2, drops: vec![drop("martian", 2), drop("no-route", 0)] };
        let text = drops.to_string();
        assert!(text.contains("martian") && !text.contains("no-route"), "{text}");
        assert!(serde_json::to_string(&drops).expect("plain data").contains("no-route"));
    }
}
