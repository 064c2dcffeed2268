//! The time: what the gateway knows of it, and the settings of the time service.

use gatepost_services::clock::WallTime;
use gatepost_services::http::form::Form as Sent;
use maud::{Markup, html};

use super::form::{self, Field, Form, Group, Place};
use super::layout::{badge, card};
use super::{Answer, Scene, Unavailable};

/// The settings.
pub const FORM: Form = Form {
    path: "/time",
    place: Place::Tables,
    groups: &[Group {
        name: "ntp",
        fields: &[
            Field::switch("ntp.enabled"),
            Field::lines("ntp.servers"),
            Field::number("ntp.local_stratum"),
        ],
    }],
};

/// The content.
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    Ok(html! {
        p .lead { (scene.texts.time.lead) }
        (known(scene))
        (form::content(scene, &FORM).await?)
    })
}

/// Notes what was sent.
pub async fn submit(scene: &Scene<'_>, sent: &Sent) -> Result<Answer, Unavailable> {
    form::submit(scene, &FORM, sent).await
}

/// The time as it is served, and what it follows.
fn known(scene: &Scene<'_>) -> Markup {
    let words = &scene.texts.time;
    let time = scene.inspector.time();
    let services = scene.inspector.services().services;
    let service = services.into_iter().find(|service| service.name == "ntp");
    let (kind, state) =
        if time.is_synchronised { ("good", &words.synchronised) } else { ("bad", &words.unsynchronised) };
    card(
        &words.now,
        &html! {
            dl {
                div { dt { (words.time) } dd { (WallTime::text_of_millis(time.unix_millis)) } }
                div { dt { (words.state) } dd { (badge(kind, state)) } }
                @if let Some(error_max) = time.error_max_millis {
                    div { dt { (words.error_max) } dd { (error_max) " ms" } }
                }
            }
            // The gateway words these itself, in its own language.
            @if let Some(service) = service {
                @for told in [service.problem, service.note].into_iter().flatten() { p lang="en" { (told) } }
            }
        },
    )
}
