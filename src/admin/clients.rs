//! The office's devices.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use maud::{Markup, html};

use super::layout::{badge, nothing, table};
use super::texts::{Texts, fill};
use super::words::{ago, octets, span};
use super::{Scene, Unavailable};
use crate::control::report::{Flows, Lease, Leases, Neighbor, Neighbors};
use crate::traffic::report::{Octets, Traffic};

/// The most devices on the page; `gatepost show leases` has all.
pub const SHOWN_MAX: usize = 1000;

/// The most former devices on the page.
pub const FORMER_SHOWN_MAX: usize = 50;

/// A device heard this many seconds ago or less is there now.
const NOW_SECS: u64 = 60;

/// The content, from the reports of `gatepost show leases`, `neighbors`, `flows` and `traffic`.
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    let (leases, neighbors) = (scene.inspector.leases().await?, scene.inspector.neighbors().await?);
    let flows = scene.inspector.flows().await?;
    Ok(of(scene.texts, &leases, &neighbors, &Uses::of(&flows, &scene.inspector.traffic())))
}

/// The content that tells these reports.
pub fn of(texts: &Texts, leases: &Leases, neighbors: &Neighbors, uses: &Uses) -> Markup {
    let words = &texts.clients;
    let by_hand = without_lease(leases, neighbors);
    let header = [
        &words.name,
        &words.address,
        &words.connections,
        &words.traffic,
        &words.seen,
        &words.lease_until,
        &words.maker,
        &words.hardware,
    ]
    .map(String::as_str);
    let leased = leases.leases.iter().map(|lease| leased(texts, lease, uses));
    let stations = &neighbors.stations;
    let ages: BTreeMap<_, _> =
        stations.iter().map(|station| (station.mac.as_str(), station.age_secs)).collect();
    let unleased = by_hand.iter().map(|neighbor| unleased(texts, neighbor, &ages, uses));
    let rows: Vec<_> = leased.chain(unleased).take(SHOWN_MAX).collect();
    let left = leases.leases.len() + by_hand.len() - rows.len();
    html! {
        p .lead { (words.lead) }
        section .card {
            @if rows.is_empty() { p { (words.none) } } @else { (table(&words.title, header, &rows)) }
            @if left > 0 { p { (fill(&words.more, &[("n", &left.to_string())])) } }
        }
        @if !leases.former.is_empty() { (former(texts, &leases.former)) }
    }
}

fn leased(texts: &Texts, lease: &Lease, uses: &Uses) -> [Markup; 8] {
    let words = &texts.clients;
    [
        name(texts, lease),
        html! { (lease.address) },
        html! { (uses.connections(texts, lease.address.into())) },
        uses.traffic(texts, lease.address.into()),
        seen(texts, Some(lease.last_seen_secs)),
        html! { (span(texts, lease.expires_in_secs)) },
        html! {
            @match &lease.maker {
                Some(maker) => (maker),
                None if lease.locally_administered => (words.private_address),
                None => (nothing(texts)),
            }
        },
        html! { code { (lease.mac) } },
    ]
}

/// A machine with an address of its own. `ages` says how long ago each hardware address was heard, in seconds.
fn unleased(texts: &Texts, neighbor: &Neighbor, ages: &BTreeMap<&str, u64>, uses: &Uses) -> [Markup; 8] {
    let words = &texts.clients;
    let mac = neighbor.mac.as_deref().unwrap_or_default();
    [
        html! { (words.unnamed) },
        html! { (neighbor.address) },
        html! { (uses.connections(texts, neighbor.address)) },
        uses.traffic(texts, neighbor.address),
        seen(texts, ages.get(mac).copied()),
        html! { (words.no_lease) },
        nothing(texts),
        html! { code { (mac) } },
    ]
}

fn name(texts: &Texts, lease: &Lease) -> Markup {
    html! { strong { (lease.hostname.as_deref().unwrap_or(&texts.clients.unnamed)) } }
}

fn seen(texts: &Texts, secs: Option<u64>) -> Markup {
    match secs {
        Some(secs) if secs <= NOW_SECS => badge("good", &texts.clients.now),
        Some(secs) => html! { (ago(texts, secs)) },
        None => nothing(texts),
    }
}

fn former(texts: &Texts, former: &[Lease]) -> Markup {
    let words = &texts.clients;
    let header =
        [&words.name, &words.address, &words.ended, &words.seen, &words.hardware].map(String::as_str);
    let rows: Vec<_> = former
        .iter()
        .take(FORMER_SHOWN_MAX)
        .map(|lease| {
            let end = match lease.state.as_str() {
                "released" => &words.released,
                "quarantined" => &words.quarantined,
                _ => &words.expired,
            };
            [
                name(texts, lease),
                html! { (lease.address) },
                html! { (end) },
                html! { (ago(texts, lease.last_seen_secs)) },
                html! { code { (lease.mac) } },
            ]
        })
        .collect();
    let left = former.len() - rows.len();
    html! {
        section .card {
            h2 { (words.former) }
            p { (words.former_about) }
            (table(&words.former, header, &rows))
            @if left > 0 { p { (fill(&words.more, &[("n", &left.to_string())])) } }
        }
    }
}

/// The machines on the LAN that the gateway knows, and whose addresses are not leased.
fn without_lease<'a>(leases: &Leases, neighbors: &'a Neighbors) -> Vec<&'a Neighbor> {
    let leased: BTreeSet<_> = leases.leases.iter().map(|lease| IpAddr::V4(lease.address)).collect();
    let is_shown = |neighbor: &&Neighbor| {
        neighbor.segment == "lan"
            && neighbor.mac.is_some()
            && neighbor.state != "unreachable"
            && !leased.contains(&neighbor.address)
    };
    neighbors.neighbors.iter().filter(is_shown).collect()
}

/// How many connections each machine has, and its traffic of a day.
pub struct Uses {
    by_address: BTreeMap<IpAddr, usize>,
    /// Whether the report has all.
    is_complete: bool,
    traffic: BTreeMap<IpAddr, Octets>,
}

impl Uses {
    /// What these reports tell.
    pub fn of(flows: &Flows, traffic: &Traffic) -> Self {
        let mut by_address = BTreeMap::new();
        let host = |endpoint: &str| endpoint.parse::<SocketAddr>().ok().map(|endpoint| endpoint.ip());
        for flow in &flows.flows {
            let ends: BTreeSet<_> =
                [&flow.client, &flow.server].into_iter().filter_map(|end| host(end)).collect();
            for end in ends {
                *by_address.entry(end).or_default() += 1;
            }
        }
        let traffic = traffic.hosts.iter().map(|host| (host.address, host.day)).collect();
        Self { by_address, is_complete: flows.flows.len() == flows.total, traffic }
    }

    fn traffic(&self, texts: &Texts, address: IpAddr) -> Markup {
        let Some(day) = self.traffic.get(&address) else { return nothing(texts) };
        let (received, sent) = (octets(texts, day.received), octets(texts, day.sent));
        html! { (fill(&texts.clients.of_day, &[("received", &received), ("sent", &sent)])) }
    }

    fn connections(&self, texts: &Texts, address: IpAddr) -> String {
        let count = self.by_address.get(&address).copied().unwrap_or(0).to_string();
        if self.is_complete { count } else { fill(&texts.clients.at_least, &[("n", &count)]) }
    }
}
