//! What is around the content of every page.

use std::rc::Rc;

use gatepost_services::admin::{AUTHORITY, OWN, SIGN_OUT, TOKEN_FIELD, Visit, Visitor};
use gatepost_services::users::Role;
use maud::{DOCTYPE, Markup, html};

use super::banner::Banner;
use super::changes;
use super::menu::{Group, PAGES, Page};
use super::style::{ICON, SCRIPT, STYLE};
use super::texts::{LANGUAGE_FIELD, Texts, fill};
use super::theme::Theme;

/// The menu of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Menu {
    /// The page has none: its visitor sees no other page.
    None,
    /// The menu, in which this path is the current page.
    At(&'static str),
}

/// A page without its content.
pub struct Frame<'a> {
    /// The texts in the visitor's language.
    pub texts: &'static Texts,
    /// The gateway's full name.
    pub office: String,
    /// The page's title.
    pub title: &'a str,
    /// The request.
    pub visit: Visit<'a>,
    /// The menu.
    pub menu: Menu,
    /// What waits for somebody.
    pub banner: Option<Banner>,
    /// The office's own look, if it has one.
    pub theme: Option<Rc<Theme>>,
    /// The SHA-256 fingerprint of the certificate of the office's authority, if it has one.
    pub fingerprint: Option<String>,
}

impl Frame<'_> {
    /// The whole page around `content`.
    pub fn page(&self, content: &Markup) -> String {
        let Self { texts, office, title, visit, menu, banner, theme, fingerprint } = self;
        let own_style = theme.as_ref().and_then(|theme| theme.style());
        let common = &texts.common;
        let page = html! {
            (DOCTYPE)
            html lang=(texts.language) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) " \u{b7} " (office) }
                    link rel="icon" type="image/svg+xml" href=(ICON.path);
                    link rel="stylesheet" href=(STYLE.path);
                    @if let Some(style) = own_style { link rel="stylesheet" href=(style); }
                    @if visit.visitor.is_some() { script src=(SCRIPT.path) defer {} }
                }
                body {
                    a .skip href="#content" { (common.skip) }
                    header {
                        div .bar {
                            p .brand {
                                @match theme.as_ref().and_then(|theme| theme.logo()) {
                                    Some(logo) => img src=(logo) alt="";,
                                    None => img src=(ICON.path) alt="" width="28" height="28";,
                                }
                                span { (office) }
                            }
                            @if let Some(visitor) = visit.visitor { (account(texts, visitor)) }
                        }
                        @if let Menu::At(current) = menu { (navigation(texts, current)) }
                    }
                    main #content tabindex="-1" {
                        @if let (Some(banner), Some(visitor)) = (banner, visit.visitor) {
                            (banner.render(texts, visitor, *menu == Menu::At(changes::PATH)))
                        }
                        h1 { (title) }
                        (content)
                    }
                    footer {
                        (languages(texts))
                        @if visit.has_authority {
                            p { a href=(AUTHORITY) download="" { (common.authority) } }
                            p { (common.authority_about) }
                            @if let Some(fingerprint) = fingerprint { p { "SHA-256: " code { (fingerprint) } } }
                        }
                    }
                }
            }
        };
        page.into_string()
    }
}

/// The languages: links to the same page.
fn languages(texts: &Texts) -> Markup {
    html! {
        nav .languages aria-label=(texts.common.languages) {
            ul {
                @for other in Texts::all() {
                    @let is_current = other.language == texts.language;
                    li {
                        a href={ "?" (LANGUAGE_FIELD) "=" (other.language) } lang=(other.language)
                            hreflang=(other.language) aria-current=[is_current.then_some("true")] { (other.name) }
                    }
                }
            }
        }
    }
}

/// Who has signed in, and the button to sign out.
fn account(texts: &Texts, visitor: &Visitor) -> Markup {
    let name = if visitor.user.full_name.is_empty() { &visitor.user.name } else { &visitor.user.full_name };
    let who = fill(&texts.common.signed_in_as, &[("name", name), ("role", role(texts, visitor.user.role))]);
    html! {
        form .account method="post" action=(SIGN_OUT) {
            a href=(OWN) { (who) }
            (token(visitor))
            button .quiet type="submit" { (texts.common.sign_out) }
        }
    }
}

fn navigation(texts: &Texts, current: &str) -> Markup {
    html! {
        nav aria-label=(texts.common.menu) {
            ul {
                @for group in Group::ALL {
                    @let pages = || PAGES.iter().filter(move |page| page.group == group);
                    @if pages().next().is_some() {
                        li {
                            span { (group.name(texts)) }
                            ul { @for page in pages() { li { (link(texts, page, current)) } } }
                        }
                    }
                }
            }
        }
    }
}

fn link(texts: &Texts, page: &Page, current: &str) -> Markup {
    html! { a href=(page.path) aria-current=[(page.path == current).then_some("page")] { ((page.name)(texts)) } }
}

fn role(texts: &Texts, role: Role) -> &str {
    match role {
        Role::User => &texts.roles.user,
        Role::Viewer => &texts.roles.viewer,
        Role::Operator => &texts.roles.operator,
        Role::Owner => &texts.roles.owner,
    }
}

/// The field by which a form proves that it is of this visitor's page.
pub fn token(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name=(TOKEN_FIELD) value=(visitor.form_token); }
}

/// A box with a heading.
pub fn card(title: &str, content: &Markup) -> Markup {
    html! { section .card { h2 { (title) } (content) } }
}

/// Names and values.
pub fn facts(facts: &[(&str, String)]) -> Markup {
    html! {
        dl { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } }
    }
}

/// A table that a narrow screen shows as a list: its roles are written, as such a style takes them away.
pub fn table<const COLUMNS: usize>(
    caption: &str,
    header: [&str; COLUMNS],
    rows: &[[Markup; COLUMNS]],
) -> Markup {
    html! {
        table role="table" aria-label=(caption) {
            thead role="rowgroup" {
                tr role="row" { @for name in &header { th role="columnheader" scope="col" { (name) } } }
            }
            tbody role="rowgroup" {
                @for row in rows {
                    tr role="row" {
                        @for (name, cell) in header.iter().zip(row) {
                            td role="cell" data-label=(name) { span { (cell) } }
                        }
                    }
                }
            }
        }
    }
}

/// A word with a colour that repeats what it says.
pub fn badge(kind: &'static str, word: &str) -> Markup {
    html! { span class={ "badge " (kind) } { (word) } }
}

/// Why nothing was done: each reason, and whether it is in the gateway's own words, which are in English.
pub fn refused(texts: &Texts, reasons: &[(String, bool)]) -> Markup {
    html! {
        section .card.warning role="alert" {
            h2 { (texts.changes.refused) }
            @for (reason, is_english) in reasons { p lang=[is_english.then_some("en")] { (reason) } }
        }
    }
}

/// A cell without a value: a dash, which is read aloud as words.
pub fn nothing(texts: &Texts) -> Markup {
    html! { span aria-hidden="true" { "\u{2013}" } span .unseen { (texts.common.no_value) } }
}
