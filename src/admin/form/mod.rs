//! Forms for settings of the configuration, described by what they show.
//!
//! # How to add a page with a form
//!
//! 1. Describe the form in a file of its own: a [`Form`] with its [`Group`]s of [`Field`]s, each of which is one key of
//!    the configuration. [`Place::Tables`]: the keys are whole, such as `lan.address`. [`Place::List`]: the page is a
//!    table of the list's elements, with a form for each and for a new one; the keys are those within an element.
//! 2. Write the texts in each language: `[groups]` for a group's heading, `[labels]` for every field, `[hints]` for those
//!    that need one, `[choices]` for each option as `KEY=OPTION`. In a list a key is that of the list and the field:
//!    `firewall.forwards.wan_port`. A test compares the texts with the forms.
//! 3. Add the page to [`PAGES`](super::PAGES), with [`content`] and [`submit`], and with the form.
//!
//! Everything else follows. The values shown are those of the candidate over the file ([`Keeper::draft`]); a default is
//! told beside the field. What a browser sends becomes edits of the candidate ([`Keeper::note`]), all or none, and only
//! of what differs. The configuration's own checker is the only one: its mistake stands beside the field that it is
//! about, and what was entered is kept. A value is written as a TOML value of the field's kind, so no text of a form is
//! ever read as TOML.
//!
//! A form knows by digests which values it has shown (`shown`): what somebody else has changed meanwhile stays if the
//! visitor has not touched it, and is told beside the field if both have changed it.
//!
//! Actions that are no settings have POSTs of their own.

mod list;
mod page;
mod submit;
#[cfg(test)]
pub(super) mod tests;
mod value;

use gatepost_services::admin::Visitor;

use crate::config::edit::Key;
use crate::transaction::Editor;

pub use list::{NEW, REMOVE, is_of_all};
pub use page::content;
pub use submit::{refuse, submit, submit_in_view};

/// A form.
#[derive(Debug)]
pub struct Form {
    /// The path of its page.
    pub path: &'static str,
    /// Where the settings are.
    pub place: Place,
    /// The fields in groups, each with a heading.
    pub groups: &'static [Group],
}

/// Where the settings of a form are.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// In tables: the fields' keys are whole.
    Tables,
    /// In the elements of a list of tables.
    List {
        /// The key of the list.
        key: &'static str,
        /// The keys that name an element (`config/edit/label.rs`), the first of which a new element has. Without any,
        /// elements are called by their positions.
        names: &'static [&'static str],
        /// The keys that the table of elements shows.
        columns: &'static [&'static str],
    },
}

/// Fields with a heading.
#[derive(Debug)]
pub struct Group {
    /// The name of its heading among the texts.
    pub name: &'static str,
    /// The fields.
    pub fields: &'static [Field],
}

/// A setting in a form.
#[derive(Debug)]
pub struct Field {
    /// The key: whole, or within an element.
    pub key: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it must have a value.
    pub is_needed: bool,
    /// Whether the table that it is in goes with its value, as that table means nothing without it.
    pub is_whole: bool,
    /// The default of a key within an element, as a form shows it. The others' are in `gatepost.example.toml`.
    pub default: &'static str,
}

/// What a setting holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A text in one line.
    Text,
    /// A text in several lines.
    Paragraph,
    /// An integer.
    Number,
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of some of these words. If the texts have `KEY=`, the setting can be absent, which means that.
    Checks(&'static [&'static str]),
    /// A list of texts, one a line.
    Lines,
}

impl Field {
    const fn of(key: &'static str, kind: Kind) -> Self {
        Self { key, kind, is_needed: false, is_whole: false, default: "" }
    }

    /// A text in one line.
    pub const fn text(key: &'static str) -> Self {
        Self::of(key, Kind::Text)
    }

    /// A text in several lines.
    pub const fn paragraph(key: &'static str) -> Self {
        Self::of(key, Kind::Paragraph)
    }

    /// An integer.
    pub const fn number(key: &'static str) -> Self {
        Self::of(key, Kind::Number)
    }

    /// `true` or `false`.
    pub const fn switch(key: &'static str) -> Self {
        Self::of(key, Kind::Switch)
    }

    /// One of `words`.
    pub const fn choice(key: &'static str, words: &'static [&'static str]) -> Self {
        Self::of(key, Kind::Choice(words))
    }

    /// A list of some of `words`.
    pub const fn checks(key: &'static str, words: &'static [&'static str]) -> Self {
        Self::of(key, Kind::Checks(words))
    }

    /// A list of texts.
    pub const fn lines(key: &'static str) -> Self {
        Self::of(key, Kind::Lines)
    }

    /// The same field, which must have a value.
    pub const fn needed(self) -> Self {
        Self { is_needed: true, ..self }
    }

    /// The same field, whose table goes with its value.
    pub const fn with_table(self) -> Self {
        Self { is_whole: true, ..self }
    }

    /// The same field with this default.
    pub const fn by_default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }
}

impl Form {
    /// All fields.
    pub fn fields(&self) -> impl Iterator<Item = &'static Field> {
        self.groups.iter().flat_map(|group| group.fields)
    }

    /// The name of a field among the texts.
    pub fn text_key(&self, field: &Field) -> String {
        match self.place {
            Place::Tables => field.key.to_owned(),
            Place::List { key, .. } => format!("{key}.{}", field.key),
        }
    }

    /// Whether a field of the form shows `key` or a part of it.
    pub fn has(&self, key: &Key) -> bool {
        let starts =
            |whole: &str| Key::parse(whole).is_ok_and(|whole| key.parts().starts_with(whole.parts()));
        match self.place {
            Place::Tables => self.fields().any(|field| starts(field.key)),
            Place::List { key, .. } => starts(key),
        }
    }
}

/// The visitor as an editor of the configuration.
pub fn editor(visitor: &Visitor) -> Editor {
    Editor::new(&visitor.user.name)
}
