//! Who talks to whom: by host, by destination, and each flow, which can be ended.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use gatepost_services::http::form::Form as Sent;
use maud::{Markup, html};

use super::layout::{card, table, token};
use super::texts::{Texts, fill};
use super::words::octets;
use super::{Answer, Scene, Unavailable};
use crate::control::flows::FlowName;
use crate::control::report::{Flow, Flows};

/// The path of the page.
pub const PATH: &str = "/flows";

/// The most flows on the page, and the most hosts and destinations; `gatepost show flows` has more.
pub const SHOWN_MAX: usize = 100;

/// A flow with its ends as the page tells them.
struct Shown<'a> {
    flow: &'a Flow,
    host: IpAddr,
    remote: SocketAddr,
    received: u64,
    sent: u64,
}

/// The sums of several flows.
#[derive(Clone, Copy, Default)]
struct Sum {
    flows: usize,
    received: u64,
    sent: u64,
}

/// The content, from the report of `gatepost show flows`.
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    let flows = scene.inspector.flows().await?;
    let may_end = scene.visitor.may_change().then(|| token(scene.visitor));
    let is_host = |address| scene.inspector.is_host(address);
    Ok(of(scene.texts, &flows, is_host, scene.inspector.names(), may_end.as_ref()))
}

/// Ends the flow that a form names.
pub async fn submit(scene: &Scene<'_>, sent: &Sent) -> Result<Answer, Unavailable> {
    let Some(flow) = sent.get("flow").and_then(|name| name.parse::<FlowName>().ok()) else {
        return Ok(Answer::Broken);
    };
    // It may have ended by itself meanwhile.
    scene.inspector.end_flow(&flow).await?;
    Ok(Answer::SeeOther(PATH.to_owned()))
}

/// The content that tells `flows`. `token` is the field of forms for those who may end one.
pub fn of(
    texts: &Texts,
    flows: &Flows,
    is_host: impl Fn(IpAddr) -> bool,
    name_of: impl Fn(IpAddr) -> Option<String>,
    token: Option<&Markup>,
) -> Markup {
    let words = &texts.flows;
    let mut shown: Vec<_> = flows.flows.iter().filter_map(|flow| Shown::of(flow, &is_host)).collect();
    shown.sort_by_key(|shown| Reverse(shown.received.saturating_add(shown.sent)));
    let by_host = sums(&shown, |shown| shown.host);
    let by_remote = sums(&shown, |shown| shown.remote.ip());
    let end = |address: IpAddr| match name_of(address) {
        Some(name) => html! { strong { (name) } " " small { (address) } },
        None => html! { (address) },
    };
    let rows = |sums: Vec<(IpAddr, Sum)>| -> Vec<[Markup; 4]> {
        let row = |(address, sum): (IpAddr, Sum)| {
            [
                end(address),
                html! { (sum.flows) },
                html! { (octets(texts, sum.received)) },
                html! { (octets(texts, sum.sent)) },
            ]
        };
        sums.into_iter().take(SHOWN_MAX).map(row).collect()
    };
    let header = |first| [first, &words.flows, &words.received, &words.sent].map(String::as_str);
    let each: Vec<_> = shown
        .iter()
        .take(SHOWN_MAX)
        .map(|shown| {
            [
                end(shown.host),
                html! { (end(shown.remote.ip())) " " small { (shown.flow.protocol) " " (shown.remote.port()) } },
                html! { (octets(texts, shown.received)) },
                html! { (octets(texts, shown.sent)) },
                match token {
                    Some(token) => end_button(texts, shown, token),
                    None => html! { (shown.flow.state) },
                },
            ]
        })
        .collect();
    let last = if token.is_some() { &words.end_column } else { &words.state };
    let left = flows.total.saturating_sub(each.len());
    html! {
        p .lead { (words.lead) }
        @if each.is_empty() { (card(&words.hosts, &html! { p { (words.none) } })) } @else {
            (card(&words.hosts, &table(&words.hosts, header(&words.host), &rows(by_host))))
            (card(&words.destinations, &table(&words.destinations, header(&words.destination), &rows(by_remote))))
            section .card {
                h2 { (words.each) }
                (table(
                    &words.each,
                    [&words.host, &words.destination, &words.received, &words.sent, last].map(String::as_str),
                    &each,
                ))
                @if left > 0 { p { (fill(&texts.clients.more, &[("n", &left.to_string())])) } }
            }
        }
    }
}

fn end_button(texts: &Texts, shown: &Shown<'_>, token: &Markup) -> Markup {
    let words = &texts.flows;
    let Flow { protocol, client, destination, .. } = shown.flow;
    let label =
        fill(&words.end, &[("host", &shown.host.to_string()), ("destination", &shown.remote.to_string())]);
    html! {
        form method="post" action=(PATH) {
            (token)
            input type="hidden" name="flow" value={ (protocol) " " (client) " " (destination) };
            button .quiet type="submit" aria-label=(label) { (words.end_short) }
        }
    }
}

/// The sums of flows with the same end, the one with the most octets first.
fn sums(shown: &[Shown<'_>], end: impl Fn(&Shown<'_>) -> IpAddr) -> Vec<(IpAddr, Sum)> {
    let mut sums: BTreeMap<IpAddr, Sum> = BTreeMap::new();
    for shown in shown {
        let sum = sums.entry(end(shown)).or_default();
        sum.flows += 1;
        sum.received = sum.received.saturating_add(shown.received);
        sum.sent = sum.sent.saturating_add(shown.sent);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, sum)| Reverse(sum.received.saturating_add(sum.sent)));
    sums
}

impl<'a> Shown<'a> {
    /// `None` if neither end is a host of the LAN.
    fn of(flow: &'a Flow, is_host: impl Fn(IpAddr) -> bool) -> Option<Self> {
        let end = |end: &str| end.parse::<SocketAddr>().ok();
        let (client, destination, server) = (end(&flow.client)?, end(&flow.destination)?, end(&flow.server)?);
        let (from_client, to_client) = (flow.octets_sent, flow.octets_received);
        if is_host(client.ip()) {
            let host = client.ip();
            return Some(Self { flow, host, remote: destination, received: to_client, sent: from_client });
        }
        let host = Some(server.ip()).filter(|server| is_host(*server))?;
        Some(Self { flow, host, remote: client, received: from_client, sent: to_client })
    }
}
