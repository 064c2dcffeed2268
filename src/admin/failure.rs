//! Why there is no page.

use gatepost_services::admin::Failure;
use gatepost_services::http::StatusCode;
use maud::{Markup, html};

use super::Unavailable;
use super::texts::Texts;

/// The status, the title and the content that tell `failure`.
pub fn content(texts: &Texts, failure: Failure) -> (StatusCode, &str, Markup) {
    let words = &texts.failure;
    let (status, title, about) = match failure {
        Failure::NotFound => (StatusCode::NOT_FOUND, &words.not_found, &words.not_found_about),
        Failure::ReadOnly => (StatusCode::FORBIDDEN, &words.read_only, &words.read_only_about),
        Failure::ForeignForm => (StatusCode::FORBIDDEN, &words.foreign_form, &words.foreign_form_about),
        Failure::StaleForm => (StatusCode::FORBIDDEN, &words.stale_form, &words.stale_form_about),
        Failure::BrokenForm => (StatusCode::BAD_REQUEST, &words.broken_form, &words.broken_form_about),
    };
    let content = html! {
        p .lead { (about) }
        p { a href="/" { (words.back) } }
    };
    (status, title, content)
}

/// The content of a page whose report is unavailable.
pub fn unavailable(texts: &Texts, error: &Unavailable) -> Markup {
    html! {
        section .card.warning {
            h2 { (texts.common.unavailable) }
            p { (texts.common.unavailable_remedy) }
            p lang="en" { (error.0) }
        }
    }
}
