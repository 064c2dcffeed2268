//! The traffic over the WAN: now, and of an hour, a day and a month.

use std::rc::Weak;

use gatepost_services::http::Response;
use maud::{Markup, html};
use tokio::time::sleep;

use super::graph::graph;
use super::layout::card;
use super::texts::Texts;
use super::words::rate;
use crate::gateway::inspector::Inspector;
use crate::gateway::traffic::{LIVE_EVERY, Rate};
use crate::traffic::report::Traffic;

/// The path of the events that tell the rates.
pub const LIVE: &str = "/live";

/// The names of these events, which stand at the places that show them.
const RECEIVED: &str = "wan-received";
const SENT: &str = "wan-sent";

/// The part of a page that tells the rates `now`, and the `traffic` so far.
pub fn of(texts: &Texts, now: Rate, traffic: &Traffic) -> Markup {
    let words = &texts.traffic;
    let headings = [&words.hour, &words.day, &words.month];
    card(
        &words.title,
        &html! {
            dl {
                div { dt { (words.receives) } dd data-live=(RECEIVED) { (rate(texts, now.received)) } }
                div { dt { (words.sends) } dd data-live=(SENT) { (rate(texts, now.sent)) } }
            }
            @for (heading, span) in headings.into_iter().zip(&traffic.wan) { (graph(texts, heading, span)) }
        },
    )
}

/// The rates over the WAN, as long as the gateway runs.
pub fn live(texts: &'static Texts, inspector: Weak<Inspector>) -> Response {
    Response::events(async move |mut events| {
        while let Some(inspector) = inspector.upgrade() {
            // If too many ask, the next time has an answer.
            if let Ok(now) = inspector.wan_rate().await {
                events.send(RECEIVED, &rate(texts, now.received)).await;
                events.send(SENT, &rate(texts, now.sent)).await;
            }
            drop(inspector);
            sleep(LIVE_EVERY).await;
        }
    })
}
