//! A form in HTML.

use std::collections::BTreeMap;

use gatepost_services::http::form::Form as Sent;
use maud::{Markup, html};

use super::list;
use super::value::{Entry, digests};
use super::{Field, Form, Group, Kind, Place};
use crate::admin::layout::token;
use crate::admin::texts::{Texts, fill};
use crate::admin::{Scene, Unavailable};
use crate::config::edit::Stored;

/// The field that has the digests of the values that a form has shown.
pub const SHOWN: &str = "shown";

/// Something wrong with a form, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The words.
    pub text: String,
    /// Whether they are the gateway's own, which are in English.
    pub is_english: bool,
}

/// What is wrong with a form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// By the field's key.
    pub of_fields: BTreeMap<&'static str, Vec<Fault>>,
    /// About no field in particular.
    pub others: Vec<Fault>,
}

impl Faults {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.of_fields.is_empty() && self.others.is_empty()
    }

    /// Adds a fault of a field.
    pub fn add(&mut self, field: &Field, text: String, is_english: bool) {
        self.of_fields.entry(field.key).or_default().push(Fault { text, is_english });
    }

    /// Adds a fault of none in particular.
    pub fn add_other(&mut self, text: String, is_english: bool) {
        self.others.push(Fault { text, is_english });
    }
}

/// A form as it is shown.
pub struct Shown<'a> {
    /// The form.
    pub form: &'static Form,
    /// Where it is sent.
    pub action: String,
    /// The label of the element; empty for a new one, and if the form is for none.
    pub element: &'a str,
    /// The settings.
    pub stored: &'a Stored,
    /// Whether nothing can be changed now.
    pub is_closed: bool,
    /// What was entered before, and refused.
    pub entered: Option<&'a Sent>,
    /// What is wrong with it.
    pub faults: &'a Faults,
}

/// The page of a form: the form, or for a list the elements or the form of one.
///
/// # Errors
///
/// The settings cannot be read now.
pub async fn content(scene: &Scene<'_>, form: &'static Form) -> Result<Markup, Unavailable> {
    let draft = scene.keeper()?.draft().await?;
    match form.place {
        Place::Tables => {
            let shown = Shown {
                form,
                action: form.path.to_owned(),
                element: "",
                stored: &draft.stored,
                is_closed: draft.is_closed,
                entered: None,
                faults: &Faults::default(),
            };
            shown.render(scene)
        }
        Place::List { .. } => list::content(scene, form, &draft),
    }
}

impl Shown<'_> {
    /// The form in HTML.
    ///
    /// # Errors
    ///
    /// The element's label is too long for a key.
    pub fn render(&self, scene: &Scene<'_>) -> Result<Markup, Unavailable> {
        let words = &scene.texts.form;
        let entries = self.form.entries(self.stored, self.element).map_err(Unavailable)?;
        let is_fixed = self.is_closed || !scene.visitor.may_change();
        Ok(html! {
            (summary(scene.texts, self.form, self.faults))
            @if self.is_closed { p .notice { (words.closed) } }
            @else if is_fixed { p .notice { (words.read_only) } }
            form method="post" action=(self.action) {
                (token(scene.visitor))
                input type="hidden" name=(SHOWN) value=(digests(&entries));
                @for group in self.form.groups {
                    fieldset .card disabled[is_fixed] {
                        legend { (scene.texts.group(group.name)) }
                        @for entry in of_group(group, &entries) { (self.row(scene.texts, entry)) }
                    }
                }
                @if !is_fixed { button type="submit" { (words.save) } }
            }
        })
    }

    fn row(&self, texts: &Texts, entry: &Entry) -> Markup {
        let Entry { field, .. } = entry;
        let text_key = self.form.text_key(field);
        let value = match self.entered {
            Some(sent) => entry.sent(sent).unwrap_or_default(),
            None => entry.value.clone(),
        };
        let faults = self.faults.of_fields.get(field.key).map_or(&[][..], Vec::as_slice);
        let default = self.form.default_of(field);
        let tells_default =
            matches!(field.kind, Kind::Text | Kind::Number | Kind::Lines) && !default.is_empty();
        let hint = texts.hints.get(&text_key);
        let (hint_id, fault_id) = (format!("{}-hint", field.key), format!("{}-fault", field.key));
        let described: Vec<_> = [
            (hint.is_some() || tells_default).then_some(hint_id.as_str()),
            (!faults.is_empty()).then_some(fault_id.as_str()),
        ]
        .into_iter()
        .flatten()
        .collect();
        let control = Control {
            form: self.form,
            field,
            text_key: &text_key,
            value,
            described: (!described.is_empty()).then(|| described.join(" ")),
            is_invalid: !faults.is_empty(),
        };
        html! {
            div .field {
                (control.render(texts))
                @if hint.is_some() || tells_default {
                    p .hint id=(hint_id) {
                        @if let Some(hint) = hint { (hint) " " }
                        @if tells_default { (fill(&texts.form.default, &[("value", &default.replace('\n', ", "))])) }
                    }
                }
                @if !faults.is_empty() {
                    div .fault id=(fault_id) { @for fault in faults { (fault.render()) } }
                }
            }
        }
    }
}

impl Fault {
    fn render(&self) -> Markup {
        html! { p lang=[self.is_english.then_some("en")] { (self.text) } }
    }
}

/// The entries of a group's fields.
fn of_group<'a>(group: &'a Group, entries: &'a [Entry]) -> impl Iterator<Item = &'a Entry> {
    entries.iter().filter(|entry| group.fields.iter().any(|field| field.key == entry.field.key))
}

/// What is wrong, with a link to each field.
fn summary(texts: &Texts, form: &Form, faults: &Faults) -> Markup {
    if faults.is_empty() {
        return html! {};
    }
    let of_fields = form.fields().filter(|field| faults.of_fields.contains_key(field.key));
    html! {
        section .card.warning role="alert" {
            h2 { (texts.form.refused) }
            ul {
                @for fault in &faults.others { li { (fault.render()) } }
                @for field in of_fields {
                    li { a href={ "#" (field.key) } { (texts.label(&form.text_key(field))) } }
                }
            }
        }
    }
}

/// The control of a field.
struct Control<'a> {
    form: &'a Form,
    field: &'a Field,
    text_key: &'a str,
    value: Option<String>,
    described: Option<String>,
    is_invalid: bool,
}

impl Control<'_> {
    fn render(&self, texts: &Texts) -> Markup {
        let Self { form, field, text_key, value, described, is_invalid } = self;
        let (name, label) = (field.key, texts.label(text_key));
        let invalid = is_invalid.then_some("true");
        let text = value.as_deref().unwrap_or_default();
        let effective = value.clone().unwrap_or_else(|| form.default_of(field));
        match field.kind {
            Kind::Switch => html! {
                label .check {
                    input type="checkbox" id=(name) name=(name) value="true" checked[effective == "true"]
                        aria-describedby=[described] aria-invalid=[invalid];
                    " " (label)
                }
            },
            Kind::Choice(words) => html! {
                label for=(name) { (label) }
                select id=(name) name=(name) aria-describedby=[described] aria-invalid=[invalid] {
                    @for word in words {
                        option value=(word) selected[effective == *word] { (texts.choice(text_key, word)) }
                    }
                    // The file may say what the form does not offer.
                    @if !words.contains(&effective.as_str()) { option value=(effective) selected { (effective) } }
                }
            },
            Kind::Checks(words) => html! {
                fieldset .checks id=(name) aria-describedby=[described] {
                    legend { (label) }
                    @if let Some(absent) = texts.choices.get(&format!("{text_key}=")) {
                        label .check {
                            input type="checkbox" name=(name) value="" checked[value.is_none()];
                            " " (absent)
                        }
                    }
                    @for word in words.iter().copied().chain(unknown(text, words)) {
                        label .check {
                            input type="checkbox" name=(name) value=(word) checked[text.lines().any(|it| it == word)];
                            " " (texts.choice(text_key, word))
                        }
                    }
                }
            },
            Kind::Paragraph | Kind::Lines => html! {
                label for=(name) { (label) }
                textarea id=(name) name=(name) rows=(text.lines().count().clamp(2, 12)) spellcheck="false"
                    aria-describedby=[described] aria-invalid=[invalid] { (text) }
            },
            Kind::Text | Kind::Number => html! {
                label for=(name) { (label) }
                input type="text" id=(name) name=(name) value=(text) autocomplete="off" autocapitalize="none"
                    spellcheck="false" inputmode=[matches!(field.kind, Kind::Number).then_some("numeric")]
                    required[field.is_needed] aria-describedby=[described] aria-invalid=[invalid];
            },
        }
    }
}

/// The lines of `text` that are none of `words`.
fn unknown<'a>(text: &'a str, words: &'a [&str]) -> impl Iterator<Item = &'a str> {
    text.lines().filter(|line| !words.contains(line))
}
