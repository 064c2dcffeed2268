//! The gateway's services.

use maud::{Markup, html};

use super::layout::{badge, nothing, table};
use super::texts::Texts;
use super::{Scene, Unavailable};
use crate::control::report::{Service, Services};

/// The content, from the report of `gatepost show services`.
#[expect(clippy::unused_async, reason = "as the other pages")]
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    Ok(of(scene.texts, &scene.inspector.services()))
}

/// The content that tells `services`.
pub fn of(texts: &Texts, services: &Services) -> Markup {
    let words = &texts.services;
    let header = [&words.service, &words.state, &words.listens, &words.note].map(String::as_str);
    let rows: Vec<_> = services.services.iter().map(|service| row(texts, service)).collect();
    html! {
        p .lead { (words.lead) }
        section .card { (table(&words.title, header, &rows)) }
    }
}

fn row(texts: &Texts, service: &Service) -> [Markup; 4] {
    let words = &texts.services;
    let (kind, state) = match service.state.as_str() {
        "running" => ("good", &words.running),
        "impaired" => ("bad", &words.impaired),
        _ => ("off", &words.off),
    };
    let listens = service.listens.iter();
    let listens: Vec<_> =
        listens.map(|at| format!("{}:{} {}", at.address, at.port, at.protocol.to_uppercase())).collect();
    // The gateway words these itself, in its own language.
    let remark = service.problem.as_ref().or(service.note.as_ref());
    [
        html! { strong { (texts.service_names.get(&service.name).unwrap_or(&service.name)) } " " small { (service.name) } },
        badge(kind, state),
        html! {
            @if listens.is_empty() { (nothing(texts)) }
            @for at in listens { span .line { (at) } }
        },
        html! {
            @match remark {
                Some(remark) => span lang="en" { (remark) },
                None => (nothing(texts)),
            }
        },
    ]
}
