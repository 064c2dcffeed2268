//! The changes of the configuration: those that wait, the one that waits for its confirmation, and the former ones.

use std::time::Duration;

use gatepost_services::http::StatusCode;
use gatepost_services::http::form::Form;
use gatepost_services::mail::transfer::date;
use gatepost_services::users::Role;
use maud::{Markup, html};

use super::form::editor;
use super::layout::{card, token};
use super::menu::PAGES;
use super::texts::{Texts, fill};
use super::{Answer, Scene, Unavailable};
use crate::config::change::Change;
use crate::error::Error;
use crate::transaction::{Diff, Draft, Kind, Mistake, Request, STAYS_FOR, Version, WHY_OCTETS_MAX};

/// The path of the page.
pub const PATH: &str = "/changes";

/// The field of forms that says what is to be done, and its values.
pub const DO: &str = "do";
/// Applies the candidate, with a window for the confirmation.
pub const APPLY: &str = "apply";
/// Empties the candidate.
pub const DISCARD: &str = "discard";
/// Makes the change final that is in its window.
pub const KEEP: &str = "keep";
/// Ends the window without it.
pub const UNDO: &str = "undo";
/// Goes back to a former version, with a window for the confirmation.
const BACK: &str = "back";

/// The most differences of a former version on the page; `gatepost history` has all.
pub const FORMER_CHANGES_SHOWN_MAX: usize = 6;

/// The content.
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    page(scene, &[]).await
}

/// Does what a form of the page, or of the banner on every page, asks for.
pub async fn submit(scene: &Scene<'_>, sent: &Form) -> Result<Answer, Unavailable> {
    let keeper = scene.keeper()?;
    let by = editor(scene.visitor);
    let why = sent.get("why").unwrap_or_default().to_owned();
    let within = Duration::from_secs(scene.inspector.config().services.admin.confirm_secs);
    let request = Request { confirm: Some(within), why };
    let done = match sent.get(DO) {
        Some(APPLY) => keeper.apply(&by, request).await.map(|_| ()),
        Some(DISCARD) => keeper.discard(&by).await.map(|_| ()),
        Some(KEEP) => keeper.confirm_and_stay(&by, STAYS_FOR).await.map(|_| ()),
        // Without a window this would go back to the version before.
        Some(UNDO) if keeper.window().is_none() => Ok(()),
        Some(UNDO) => keeper.rollback(&by, None, Request::default()).await.map(|_| ()),
        // A former version may give its users other roles.
        Some(BACK) if scene.visitor.user.role != Role::Owner => {
            let words = [scene.texts.changes.owners_only.clone()];
            return Ok(Answer::Page(StatusCode::FORBIDDEN, page(scene, &words).await?));
        }
        Some(BACK) => {
            let Some(number) = sent.get("version").and_then(|number| number.parse().ok()) else {
                return Ok(Answer::Broken);
            };
            keeper.rollback(&by, Some(number), request).await.map(|_| ())
        }
        _ => return Ok(Answer::Broken),
    };
    match done {
        Ok(()) => Ok(Answer::SeeOther(PATH.to_owned())),
        Err(error) => Ok(Answer::Page(StatusCode::CONFLICT, page(scene, error.messages()).await?)),
    }
}

async fn page(scene: &Scene<'_>, problems: &[String]) -> Result<Markup, Unavailable> {
    let (keeper, words) = (scene.keeper()?, &scene.texts.changes);
    let (diff, history) = (keeper.diff(&editor(scene.visitor)).await, keeper.history());
    let draft = keeper.draft().await?;
    Ok(html! {
        @if !problems.is_empty() {
            section .card.warning role="alert" {
                h2 { (words.refused) }
                ul { @for problem in problems { li lang="en" { (problem) } } }
            }
        }
        @match diff {
            Ok(diff) => (waiting(scene, &diff, &draft)),
            Err(error) => (unreadable(scene.texts, &error)),
        }
        section .card {
            h2 { (words.history) }
            p { (words.history_about) }
            @for problem in &history.problems { p lang="en" { (problem) } }
            ol .versions {
                @for (at, version) in history.versions.iter().enumerate() {
                    li { (former(scene, version, at == 0 || draft.is_closed)) }
                }
            }
        }
    })
}

fn unreadable(texts: &Texts, error: &Error) -> Markup {
    card(&texts.common.unavailable, &html! { p lang="en" { (error) } })
}

/// The change in its window, or those that wait to be applied.
fn waiting(scene: &Scene<'_>, diff: &Diff, draft: &Draft) -> Markup {
    let (texts, words) = (scene.texts, &scene.texts.changes);
    if let Some(window) = &diff.window {
        return card(
            &words.in_window,
            &html! {
                p { (fill(&words.in_window_about, &[("name", &window.who)])) }
                @if !window.why.is_empty() { p { "\u{201c}" (window.why) "\u{201d}" } }
                (differences(&window.changes, usize::MAX, texts))
            },
        );
    }
    if diff.pending.is_empty() {
        return card(&words.nothing, &html! { p { (words.nothing_about) } });
    }
    // The gateway's own refusal, as of what needs a restart, is about no key in particular.
    let others = if draft.mistakes.is_empty() { &diff.mistakes[..] } else { &[] };
    let is_wrong = !(draft.mistakes.is_empty() && others.is_empty() && diff.conflicts.is_empty());
    html! {
        @if !diff.others.is_empty() {
            (card(&words.others, &html! { ul { @for other in &diff.others { li lang="en" { (other) } } } }))
        }
        @if is_wrong {
            section .card.warning {
                h2 { (words.mistakes) }
                p { (words.mistakes_about) }
                ul {
                    @for mistake in &draft.mistakes { li { (told(texts, mistake)) } }
                    @for text in others.iter().chain(&diff.conflicts) { li lang="en" { (text) } }
                }
            }
        }
        section .card {
            h2 { (words.waiting) }
            @if diff.changes.is_empty() && !is_wrong { p { (words.no_difference) } }
            (differences(&diff.changes, usize::MAX, texts))
            details {
                summary { (words.edits) }
                ul {
                    @for edit in &diff.pending {
                        li {
                            code { (edit.key) " = " (edit.value.as_deref().unwrap_or(&words.removed)) }
                            " (" (edit.who) ")"
                        }
                    }
                }
            }
            @if scene.visitor.may_change() {
                @if !is_wrong { (apply(scene)) }
                form method="post" action=(PATH) {
                    (token(scene.visitor))
                    button .quiet type="submit" name=(DO) value=(DISCARD) { (words.discard) }
                }
            }
        }
    }
}

fn apply(scene: &Scene<'_>) -> Markup {
    let words = &scene.texts.changes;
    let secs = scene.inspector.config().services.admin.confirm_secs.to_string();
    html! {
        form method="post" action=(PATH) {
            (token(scene.visitor))
            div .field {
                label for="why" { (words.why) }
                input #why name="why" type="text" maxlength=(WHY_OCTETS_MAX / 4) autocomplete="off";
            }
            p { (fill(&words.apply_about, &[("secs", &secs)])) }
            button type="submit" name=(DO) value=(APPLY) { (words.apply) }
        }
    }
}

/// A mistake, with a link to the page that has its setting.
fn told(texts: &Texts, mistake: &Mistake) -> Markup {
    let key = mistake.key.as_ref();
    let page = key.and_then(|key| PAGES.iter().find(|page| page.forms.iter().any(|form| form.has(key))));
    html! {
        @if let Some(key) = key { code { (key) } ": " }
        span lang="en" { (mistake.text) }
        @if let Some(page) = page { " " a href=(page.path) { ((page.name)(texts)) } }
    }
}

/// Differences in words, at most `max`.
fn differences(changes: &[Change], max: usize, texts: &Texts) -> Markup {
    let more = changes.len().saturating_sub(max);
    html! {
        @if !changes.is_empty() {
            ul .differences {
                @for change in changes.iter().take(max) { li lang="en" { (change.text) } }
                @if more > 0 { li { (fill(&texts.clients.more, &[("n", &more.to_string())])) } }
            }
        }
    }
}

/// A version of the history.
fn former(scene: &Scene<'_>, version: &Version, is_fixed: bool) -> Markup {
    let (texts, words) = (scene.texts, &scene.texts.changes);
    let what = match version.kind {
        Kind::Found => &words.found,
        Kind::Applied => &words.applied,
        Kind::Edited => &words.edited,
        Kind::RolledBack => &words.rolled_back,
    };
    let number = version.number.to_string();
    html! {
        p {
            strong { (fill(&words.version, &[("n", &number)])) }
            " \u{b7} " (date::write(version.at)) " \u{b7} "
            @if version.who.is_empty() { (words.somebody) } @else { (version.who) }
            ": " (what)
            @if !version.why.is_empty() { " (" (version.why) ")" }
        }
        (differences(&version.changes, FORMER_CHANGES_SHOWN_MAX, texts))
        @if !is_fixed && scene.visitor.user.role == Role::Owner {
            form method="post" action=(PATH) {
                (token(scene.visitor))
                input type="hidden" name="version" value=(number);
                button .quiet type="submit" name=(DO) value=(BACK)
                    aria-label=(fill(&words.back_to, &[("n", &number)])) { (words.back) }
            }
        }
    }
}
