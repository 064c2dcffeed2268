//! What stands above every page while a change waits for its confirmation, or edits wait to be applied.

use gatepost_services::admin::{MOVE, Visitor};
use maud::{Markup, html};

use super::changes::{DO, KEEP, PATH, UNDO};
use super::layout::token;
use super::texts::{Texts, fill};
use super::words::span;
use crate::transaction::{Keeper, Window};

/// What waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Banner {
    /// A change for its confirmation; where the pages will be then, if that is elsewhere.
    Window(Window, Option<String>),
    /// Nothing: a change is confirmed that has moved the pages there.
    Moved(String),
    /// So many edits to be applied.
    Pending(usize),
}

impl Banner {
    /// What waits at `keeper`, if anything does. `moves_to`: where the pages move, if the visitor is not there.
    pub fn of(keeper: &Keeper, moves_to: Option<String>) -> Option<Self> {
        let pending = || Some(keeper.pending()).filter(|pending| *pending > 0).map(Self::Pending);
        match keeper.window() {
            Some(window) => Some(Self::Window(window, moves_to)),
            None => moves_to.map(Self::Moved).or_else(pending),
        }
    }

    /// The banner for `visitor`. `is_changes`: the page below tells the changes itself.
    pub fn render(&self, texts: &Texts, visitor: &Visitor, is_changes: bool) -> Markup {
        let words = &texts.banner;
        match self {
            Self::Window(window, moves_to) => html! {
                section .banner.open aria-label=(words.title) {
                    div {
                        (told(texts, window))
                        @if let Some(place) = moves_to {
                            p { (words.moves) " " (way(texts, place)) }
                        }
                    }
                    div .actions {
                        @if visitor.may_change() {
                            form method="post" action=(PATH) {
                                (token(visitor))
                                button type="submit" name=(DO) value=(KEEP) { (words.keep) }
                                " "
                                button .quiet type="submit" name=(DO) value=(UNDO) { (words.undo) }
                            }
                        }
                        @if !is_changes { a href=(PATH) { (words.look) } }
                    }
                }
            },
            Self::Moved(place) => html! {
                section .banner.open aria-label=(words.title) { p { (words.moved) " " (way(texts, place)) } }
            },
            Self::Pending(_) if is_changes => html! {},
            Self::Pending(count) => html! {
                section .banner aria-label=(words.title) {
                    p { (fill(&words.pending, &[("n", &count.to_string())])) " " a href=(PATH) { (words.look) } }
                }
            },
        }
    }
}

/// The link to the pages' new place.
fn way(texts: &Texts, place: &str) -> Markup {
    html! { a href=(MOVE) { (fill(&texts.banner.go_to, &[("place", place)])) } }
}

fn told(texts: &Texts, window: &Window) -> Markup {
    let words = &texts.banner;
    match &window.problem {
        Some(problem) => html! { p { (words.stuck) " " span lang="en" { (problem) } } },
        None => {
            let time = span(texts, window.remaining_secs);
            html! { p { (fill(&words.window, &[("name", &window.who), ("time", &time)])) } }
        }
    }
}
