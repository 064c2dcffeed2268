//! The page of a list: its elements in a table, and the form of one.

use std::fmt::Write as _;

use gatepost_services::http::form::Form as Sent;
use maud::{Markup, html};

use super::page::{Faults, SHOWN, Shown};
use super::value::digest_of_all;
use super::{Field, Form, Kind, Place};
use crate::admin::layout::token;
use crate::admin::texts::{Texts, fill};
use crate::admin::{Scene, Unavailable};
use crate::config::edit::Key;
use crate::transaction::Draft;

/// The query's field with the label of the element that is shown.
pub const ELEMENT: &str = "element";
/// The query's field for a new element.
pub const NEW: &str = "new";
/// The form's field with the label of the element to remove.
pub const REMOVE: &str = "remove";

/// What a request to the page of a list is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All elements.
    All,
    /// The element with this label.
    Element(String),
    /// An element that is yet to be.
    New,
}

impl Target {
    /// The target that the query names.
    pub fn of(scene: &Scene<'_>) -> Self {
        let query = Sent::of_query(scene.request);
        match (query.get(ELEMENT), query.get(NEW)) {
            (Some(label), _) => Self::Element(label.to_owned()),
            (None, Some(_)) => Self::New,
            (None, None) => Self::All,
        }
    }

    /// The path of the page that shows it.
    pub fn path(&self, form: &Form) -> String {
        match self {
            Self::All => form.path.to_owned(),
            Self::Element(label) => format!("{}?{ELEMENT}={}", form.path, encoded(label)),
            Self::New => format!("{}?{NEW}", form.path),
        }
    }
}

/// Whether the request is to the page of a list as a whole, rather than to one element.
pub fn is_of_all(scene: &Scene<'_>) -> bool {
    Target::of(scene) == Target::All
}

/// `text` in a query. (RFC 3986, section 2)
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            encoded.push(char::from(octet));
        } else {
            // Writing to a text cannot fail.
            _ = write!(encoded, "%{octet:02X}");
        }
    }
    encoded
}

/// The page, by the query: all elements, one, or a new one.
pub(super) fn content(scene: &Scene<'_>, form: &'static Form, draft: &Draft) -> Result<Markup, Unavailable> {
    let target = Target::of(scene);
    if target == Target::All {
        return all(scene, form, draft, &Faults::default());
    }
    element(scene, form, draft, &target, None, &Faults::default())
}

/// The form of one element.
pub(super) fn element(
    scene: &Scene<'_>,
    form: &'static Form,
    draft: &Draft,
    target: &Target,
    entered: Option<&Sent>,
    faults: &Faults,
) -> Result<Markup, Unavailable> {
    let words = &scene.texts.form;
    let Place::List { key, .. } = form.place else { return Ok(html! {}) };
    let labels = Key::parse(key).map(|key| draft.stored.labels(&key)).unwrap_or_default();
    if let Target::Element(label) = target
        && !labels.contains(label)
    {
        return Ok(html! {
            p .notice { (fill(&words.gone, &[("name", label)])) }
            p { a href=(form.path) { (words.back) } }
        });
    }
    // A new element has no values yet, whatever it will be called.
    let label = match target {
        Target::Element(label) => label.as_str(),
        Target::All | Target::New => "?",
    };
    let stored = if *target == Target::New { &Default::default() } else { &draft.stored };
    let shown = Shown {
        form,
        action: target.path(form),
        element: label,
        stored,
        is_closed: draft.is_closed,
        entered,
        faults,
    };
    Ok(html! {
        p { a href=(form.path) { (words.back) } }
        h2 { @if *target == Target::New { (words.new) } @else { (label) } }
        (shown.render(scene)?)
    })
}

/// The table of all elements.
pub(super) fn all(
    scene: &Scene<'_>,
    form: &'static Form,
    draft: &Draft,
    faults: &Faults,
) -> Result<Markup, Unavailable> {
    let Place::List { key, columns, .. } = form.place else { return Ok(html! {}) };
    let (texts, words) = (scene.texts, &scene.texts.form);
    let key = Key::parse(key).map_err(Unavailable)?;
    let columns: Vec<&Field> = form.fields().filter(|field| columns.contains(&field.key)).collect();
    let labels = draft.stored.labels(&key);
    let is_fixed = draft.is_closed || !scene.visitor.may_change();
    let mut rows = Vec::new();
    for label in &labels {
        let entries = form.entries(&draft.stored, label).map_err(Unavailable)?;
        let shown = |field: &&Field| {
            let entry = entries.iter().find(|entry| entry.field.key == field.key);
            let value = entry.and_then(|entry| entry.value.clone()).unwrap_or_else(|| form.default_of(field));
            spoken(texts, form, field, &value)
        };
        let cells: Vec<_> = columns.iter().map(shown).collect();
        let remove = Target::Element(label.clone());
        let element = key.join(label).map_err(Unavailable)?;
        let digest = digest_of_all(&draft.stored, &element);
        rows.push(html! {
            tr role="row" {
                @for (field, cell) in columns.iter().zip(&cells) {
                    td role="cell" data-label=(texts.label(&form.text_key(field))) { span { (cell) } }
                }
                td role="cell" data-label=(words.actions) {
                    span .actions {
                        a href=(remove.path(form)) aria-label=(fill(&words.edit_one, &[("name", label)])) {
                            @if is_fixed { (words.look) } @else { (words.edit) }
                        }
                        @if !is_fixed {
                            form method="post" action=(form.path) {
                                (token(scene.visitor))
                                input type="hidden" name=(REMOVE) value=(label);
                                input type="hidden" name=(SHOWN) value=(digest);
                                button .quiet type="submit" aria-label=(fill(&words.remove_one, &[("name", label)])) {
                                    (words.remove)
                                }
                            }
                        }
                    }
                }
            }
        });
    }
    Ok(html! {
        @if !faults.is_empty() {
            section .card.warning role="alert" {
                h2 { (words.refused) }
                @for fault in &faults.others { p lang=[fault.is_english.then_some("en")] { (fault.text) } }
            }
        }
        @if draft.is_closed { p .notice { (words.closed) } }
        @else if is_fixed { p .notice { (words.read_only) } }
        section .card {
            @if rows.is_empty() { p { (words.empty) } }
            @else {
                table role="table" aria-label=(texts.group(form.groups.first().map_or("", |group| group.name))) {
                    thead role="rowgroup" {
                        tr role="row" {
                            @for field in &columns {
                                th role="columnheader" scope="col" { (texts.label(&form.text_key(field))) }
                            }
                            th role="columnheader" scope="col" { (words.actions) }
                        }
                    }
                    tbody role="rowgroup" { @for row in rows { (row) } }
                }
            }
            @if !is_fixed { p { a .button href=(Target::New.path(form)) { (words.add) } } }
        }
    })
}

/// A value in words.
fn spoken(texts: &Texts, form: &Form, field: &Field, value: &str) -> String {
    let text_key = form.text_key(field);
    match field.kind {
        Kind::Switch if value == "true" => texts.form.yes.clone(),
        Kind::Switch => texts.form.no.clone(),
        Kind::Choice(_) => texts.choice(&text_key, value).to_owned(),
        Kind::Checks(_) | Kind::Lines => value.replace('\n', ", "),
        Kind::Text | Kind::Paragraph | Kind::Number => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn a_label_is_one_value_in_a_query() {
        assert_eq!(encoded("camera-1.a_b~"), "camera-1.a_b~");
        assert_eq!(encoded("a b&c=\"\u{e4}\n%"), "a%20b%26c%3D%22%C3%A4%0A%25");
    }
}
