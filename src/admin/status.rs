//! How the gateway is: its problems, its lines, and its ports.

use maud::{Markup, html};

use super::layout::{badge, card, facts, table};
use super::texts::{Texts, fill};
use super::words::{list, span};
use super::{Scene, Unavailable, traffic};
use crate::control::report::{Interface, Port, Status};
use crate::device::LinkState;

/// The content, from the reports of `gatepost show status` and `traffic`.
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    let Scene { texts, inspector, .. } = scene;
    let status = inspector.status().await?;
    let traffic = match &status.wan {
        Some(_) => Some(traffic::of(texts, inspector.wan_rate().await?, &inspector.traffic())),
        None => None,
    };
    Ok(of(texts, &status, traffic.as_ref()))
}

/// The content that tells `status`, and the traffic of the WAN.
pub fn of(texts: &Texts, status: &Status, traffic: Option<&Markup>) -> Markup {
    let words = &texts.status;
    html! {
        (health(texts, status))
        div .cards {
            @match &status.wan {
                Some(wan) => (card(&words.internet, &line(texts, wan, true))),
                None => (card(&words.internet, &html! { p { (words.lan_only) } })),
            }
            (card(&words.lan, &office(texts, status)))
        }
        @if let Some(traffic) = traffic { (traffic) }
        (card(&words.ports, &ports(texts, &status.ports)))
    }
}

/// The problems, each with what to do, or that there are none.
fn health(texts: &Texts, status: &Status) -> Markup {
    let words = &texts.status;
    let without_address = status.wan.as_ref().is_some_and(|wan| wan.address.is_none());
    let down = status.ports.iter().filter_map(|port| {
        let remedy = match port_state(port) {
            PortState::Up => return None,
            PortState::Unattached => &words.unattached_remedy,
            PortState::Down => &words.down_remedy,
        };
        Some(fill(remedy, &[("port", &port.name)]))
    });
    let own: Vec<_> =
        without_address.then(|| words.no_address_about.clone()).into_iter().chain(down).collect();
    // The gateway words these itself, in its own language.
    let told: Vec<_> = status.problems.iter().chain(&status.service_problems).collect();
    if own.is_empty() && told.is_empty() {
        return html! {
            section .card.fine { h2 { (words.fine) } p { (words.fine_about) } }
        };
    }
    html! {
        section .card.warning {
            h2 { (words.problems) }
            p { (words.problems_about) }
            ul {
                @for problem in own { li { (problem) } }
                @for problem in told { li lang="en" { (problem) } }
            }
        }
    }
}

/// The facts of an interface.
fn line(texts: &Texts, interface: &Interface, is_wan: bool) -> Markup {
    let words = &texts.status;
    let by = if interface.configured_by == "dhcp" { &words.by_dhcp } else { &words.fixed };
    let address = interface.address.map_or_else(
        || words.no_address.clone(),
        |address| if is_wan { format!("{address} ({by})") } else { address.to_string() },
    );
    let mut told = vec![(words.address.as_str(), address)];
    if is_wan {
        told.extend(interface.gateway.map(|gateway| (words.gateway.as_str(), gateway.to_string())));
    }
    if let Some(secs) = interface.since_secs {
        told.push((&words.since, span(texts, secs)));
    }
    let answer = interface.lease.as_ref().map(|lease| {
        let mut answer = vec![
            (words.provider.as_str(), lease.server.to_string()),
            (&words.lease, span(texts, lease.lease_secs.into())),
            (&words.name_servers, list(texts, &lease.name_servers)),
        ];
        answer.extend(lease.domain.clone().map(|domain| (words.domain.as_str(), domain)));
        answer
    });
    html! {
        (facts(&told))
        @if let Some(answer) = answer { h3 { (words.provider_about) } (facts(&answer)) }
    }
}

/// The facts of the office's side and of the gateway itself.
fn office(texts: &Texts, status: &Status) -> Markup {
    let words = &texts.status;
    let mode = match status.mode.as_str() {
        "lan-only" => &words.mode_lan_only,
        "router" => &words.mode_router,
        "nat" => &words.mode_nat,
        _ => &words.mode_nat_dmz,
    };
    html! {
        (line(texts, &status.lan, false))
        (facts(&[
            (&words.clients, status.leases.to_string()),
            (&words.connections, status.flows.to_string()),
            (&words.mode, mode.clone()),
            (&words.name_servers, list(texts, &status.dns_upstream)),
            (&words.running, span(texts, status.uptime_secs)),
            (&words.version, status.version.clone()),
        ]))
    }
}

/// The state of a port.
enum PortState {
    Up,
    Unattached,
    Down,
}

fn port_state(port: &Port) -> PortState {
    match port.state.as_str() {
        state if state == LinkState::Unattached.name() => PortState::Unattached,
        _ if port.up => PortState::Up,
        _ => PortState::Down,
    }
}

fn ports(texts: &Texts, ports: &[Port]) -> Markup {
    let words = &texts.status;
    let header =
        [&words.port, &words.network, &words.state, &words.received, &words.sent].map(String::as_str);
    let rows: Vec<_> = ports
        .iter()
        .map(|port| {
            let (kind, word) = match port_state(port) {
                PortState::Up => ("good", &words.up),
                PortState::Unattached => ("bad", &words.unattached),
                PortState::Down => ("bad", &words.down),
            };
            let network = if port.segment == "wan" { &words.internet } else { &words.lan };
            [
                html! { (port.name) },
                html! { (network) },
                badge(kind, word),
                html! { (port.received) },
                html! { (port.transmitted) },
            ]
        })
        .collect();
    table(&words.ports, header, &rows)
}
