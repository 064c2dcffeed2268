//! The sessions that the visitor may end.

use gatepost_services::admin::{END_SESSION, SESSION_TIME_MAX, SessionInfo};
use maud::{Markup, html};

use super::layout::{badge, table, token};
use super::texts::fill;
use super::words::{ago, span};
use super::{Scene, Unavailable};

/// The content.
#[expect(clippy::unused_async, reason = "as the other pages")]
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    let words = &scene.texts.sessions;
    let header =
        [&words.user, &words.source, &words.since, &words.used, &words.end_column].map(String::as_str);
    let rows: Vec<_> = scene.visitor.sessions.iter().map(|session| row(scene, session)).collect();
    let time = span(scene.texts, SESSION_TIME_MAX.as_secs());
    Ok(html! {
        p .lead { (words.lead) }
        section .card {
            (table(&words.title, header, &rows))
            p { (fill(&words.ends, &[("time", &time)])) }
        }
    })
}

fn row(scene: &Scene<'_>, session: &SessionInfo) -> [Markup; 5] {
    let (texts, words) = (scene.texts, &scene.texts.sessions);
    let source = session.source.to_string();
    let label = fill(&words.end, &[("user", &session.user), ("source", &source)]);
    [
        html! {
            strong { (session.user) }
            @if session.number == scene.visitor.session { " " (badge("good", &words.this)) }
        },
        html! { (source) },
        html! { (ago(texts, session.age.as_secs())) },
        html! { (ago(texts, session.unused.as_secs())) },
        html! {
            form method="post" action=(END_SESSION) {
                (token(scene.visitor))
                input type="hidden" name="session" value=(session.number);
                button .quiet type="submit" aria-label=(label) { (words.end_short) }
            }
        },
    ]
}
