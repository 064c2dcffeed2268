//! Edits of a configuration's text: settings are set and removed by their dotted keys, and every other line stays as it
//! is, octet by octet.
//!
//! `toml_edit` tells the places of keys and values in the text, and edits the inside of inline tables and lists. The
//! text itself is spliced, not written anew, so that line endings, indentation, comments and the order of scattered
//! keys survive. Each result is read again: whatever the file's layout is, either the wanted setting alone differs, or
//! the edit is refused.
//!
//! An element of a list is called by its name: a forward by its `name`, a reservation by its `hostname`
//! (`label.rs`); one without a name, or with the name of an earlier one, by its position, from 1.

mod at;
mod flat;
mod insert;
mod key;
mod label;
mod place;
mod remove;
mod splice;
mod value;

use std::fmt;

use toml_edit::{Document, Value};

pub use at::key_at;
pub use flat::{Flat, Stored};
pub use key::{KEY_OCTETS_MAX, KEY_PARTS_MAX, Key};
pub use value::{VALUE_OCTETS_MAX, values};

use place::{Node, Walk};

/// An edit of one setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// The setting: a key, a table or an element of a list.
    pub key: Key,
    /// The value to set, as TOML; `None` removes the setting, which has its default then.
    pub value: Option<String>,
}

impl Edit {
    /// The text with this edit done.
    ///
    /// # Errors
    ///
    /// Why it cannot be done; [`EditError::Absent`] if there is nothing to remove.
    pub fn apply(&self, text: &str) -> Result<String, EditError> {
        let document = Document::parse(text).map_err(|error| EditError::Unreadable(one_line(&error)))?;
        let Some(value) = &self.value else {
            let edited = remove::remove(&document, &self.key)?;
            let expected = |stored: &mut Stored| {
                stored.remove(&self.key);
                Some(())
            };
            return self.checked(text, edited, expected);
        };
        let value: Value = value.parse().map_err(|error| EditError::NoValue(one_line(&error)))?;
        let value = value::completed(self.key.parts(), value);
        let meaning = value::meaning(&value).ok_or(EditError::Layout)?;
        let edited = set(&document, &self.key, value)?;
        self.checked(text, edited, |stored| stored.set(&self.key, meaning))
    }

    /// `after`, if it differs from `before` as `expected` says and not otherwise.
    fn checked(
        &self,
        before: &str,
        after: String,
        expected: impl FnOnce(&mut Stored) -> Option<()>,
    ) -> Result<String, EditError> {
        let read = |text| Stored::read(text).map_err(|_| EditError::Layout);
        let (mut wanted, mut is) = (read(before)?, read(&after)?);
        expected(&mut wanted).ok_or(EditError::Layout)?;
        if self.value.is_none() {
            // What has lost its last setting may stay as an empty table, or be gone.
            wanted.prune(&self.key);
            is.prune(&self.key);
        }
        if wanted == is { Ok(after) } else { Err(EditError::Layout) }
    }
}

/// `KEY = VALUE`, or `KEY is removed`.
impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value}", self.key),
            None => write!(f, "{} is removed", self.key),
        }
    }
}

fn set(document: &Document<&str>, key: &Key, value: Value) -> Result<String, EditError> {
    let parts = key.parts();
    let walk = Walk::new(document.as_table(), parts);
    let (used, node) = walk.deepest();
    match node {
        Node::Value(statement) => {
            place::edit_value(document.raw(), statement, &parts[used..], |inside, old| {
                value::set(old, inside, &mut label::without_labels(&parts[..used]), value)
            })
        }
        Node::Table(old)
            if used == parts.len() && matches!(walk.nodes().iter().rev().nth(1), Some(Node::List(_))) =>
        {
            let list = label::without_labels(&parts[..parts.len() - 1]);
            let block = insert::block(&list, &value, splice::line_break(document.raw()))?;
            remove::replace(document, old, block)
        }
        // The whole table or list is replaced.
        _ if used == parts.len() => {
            let bare = remove::remove(document, key)?;
            let document = Document::parse(bare.as_str()).map_err(|_| EditError::Layout)?;
            insert::insert(&document, key, &value)
        }
        _ => insert::insert(document, key, &value),
    }
}

/// Why an edit cannot be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EditError {
    /// The file is no TOML.
    Unreadable(String),
    /// The value is no TOML.
    NoValue(String),
    /// There is no such setting to remove.
    Absent,
    /// The key leads into a value that is no table and no list of tables.
    NoTable,
    /// The element does not exist, and a new one cannot be called so.
    NoElement,
    /// The layout of the file does not allow the edit.
    Layout,
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "the configuration cannot be read ({why}); correct the file"),
            Self::NoValue(why) => write!(f, "the value is no TOML ({why}); write a TOML value"),
            Self::Absent => f.write_str("it is not in the configuration; there is nothing to remove"),
            Self::NoTable => {
                f.write_str("a part of the key is a value without settings in it; shorten the key")
            }
            Self::NoElement => f.write_str(
                "there is no such element, and elements of this list have no names; write the next position",
            ),
            Self::Layout => f.write_str("the layout of the file does not allow it; edit the file"),
        }
    }
}

impl std::error::Error for EditError {}

/// The first line of a parser's message that is not its excerpt of the text.
fn one_line(error: &toml_edit::TomlError) -> String {
    error.message().replace('\n', " ")
}

#[cfg(test)]
mod tests;
