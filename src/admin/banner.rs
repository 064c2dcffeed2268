//! What stands above every page while a change waits for its confirmation, or edits wait to be applied.

use gatepost_services::admin::Visitor;
use maud::{Markup, html};

use super::changes::{DO, KEEP, PATH, UNDO};
use super::layout::token;
use super::texts::{Texts, fill};
use super::words::span;
use crate::transaction::{Keeper, Window};

/// What waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Banner {
    /// A change for its confirmation.
    Window(Window),
    /// So many edits to be applied.
    Pending(usize),
}

impl Banner {
    /// What waits at `keeper`, if anything does.
    pub fn of(keeper: &Keeper) -> Option<Self> {
        let pending = || Some(keeper.pending()).filter(|pending| *pending > 0).map(Self::Pending);
        keeper.window().map(Self::Window).or_else(pending)
    }

    /// The banner for `visitor`. `is_changes`: the page below tells the changes itself.
    pub fn render(&self, texts: &Texts, visitor: &Visitor, is_changes: bool) -> Markup {
        let words = &texts.banner;
        match self {
            Self::Window(window) => html! {
                section .banner.open aria-label=(words.title) {
                    (told(texts, window))
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
            Self::Pending(_) if is_changes => html! {},
            Self::Pending(count) => html! {
                section .banner aria-label=(words.title) {
                    p { (fill(&words.pending, &[("n", &count.to_string())])) " " a href=(PATH) { (words.look) } }
                }
            },
        }
    }
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
