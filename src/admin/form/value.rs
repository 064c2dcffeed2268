//! The values of fields: as the file has them, as a form shows them, and as a browser sends them.

use std::sync::LazyLock;

use gatepost_services::crypto::sha256;
use gatepost_services::http::form::Form as Sent;
use toml::Value;

use super::{Field, Form, Kind, Place};
use crate::config::edit::{Key, Stored};

/// All settings with their defaults.
static DEFAULTS: LazyLock<Stored> =
    LazyLock::new(|| Stored::read(include_str!("../../../gatepost.example.toml")).unwrap_or_default());

/// The octets of a value's digest.
const DIGEST_OCTETS: usize = 6;

/// A field with its key and its value.
pub struct Entry {
    /// The field.
    pub field: &'static Field,
    /// The key in the file.
    pub key: Key,
    /// The value as the form shows it; `None` if the file has none.
    pub value: Option<String>,
}

impl Form {
    /// The fields with their values in `stored`: those of the element with the label `element`, if the form is one for
    /// elements of a list.
    ///
    /// # Errors
    ///
    /// The label is too long for a key.
    pub fn entries(&self, stored: &Stored, element: &str) -> Result<Vec<Entry>, String> {
        let entry = |field: &'static Field| {
            let key = match self.place {
                Place::Tables => Key::parse(field.key)?,
                Place::List { key, .. } => Key::parse(key)?.join(element)?.join(field.key)?,
            };
            let value = stored.get(&key).map(|value| shown(field.kind, value));
            Ok(Entry { field, key, value })
        };
        self.fields().map(entry).collect()
    }

    /// The default of a field, as the form shows it; empty if there is none.
    pub fn default_of(&self, field: &Field) -> String {
        match self.place {
            Place::List { .. } => field.default.to_owned(),
            Place::Tables => {
                let value = Key::parse(field.key).ok().and_then(|key| DEFAULTS.get(&key));
                value.map_or_else(|| field.default.to_owned(), |value| shown(field.kind, value))
            }
        }
    }
}

impl Entry {
    /// The value in force, as the form shows it: the file's, or the default.
    pub fn effective(&self, form: &Form) -> String {
        match (&self.value, self.field.kind) {
            (Some(value), _) => value.clone(),
            (None, Kind::Switch | Kind::Choice(_)) => form.default_of(self.field),
            (None, _) => String::new(),
        }
    }

    /// The value that a browser has sent; the outer `None` if it has sent none for this field, the inner one if the
    /// file is to have none.
    pub fn sent(&self, sent: &Sent) -> Option<Option<String>> {
        let name = self.field.key;
        let text = || sent.get(name).map(|text| text.replace("\r\n", "\n"));
        match self.field.kind {
            // A box that is not checked is not sent.
            Kind::Switch => Some(Some(sent.all(name).any(|value| value == "true").to_string())),
            Kind::Checks(_) => {
                let (absent, words): (Vec<_>, Vec<_>) = sent.all(name).partition(|word| word.is_empty());
                // Of two answers that contradict each other the one counts that is new.
                let is_absent = !absent.is_empty() && (self.value.is_some() || words.is_empty());
                Some((!is_absent).then(|| words.join("\n")))
            }
            Kind::Text | Kind::Number | Kind::Choice(_) => text().map(|text| Some(text.trim().to_owned())),
            Kind::Paragraph => text().map(|text| Some(text.trim_end().to_owned())),
            Kind::Lines => text().map(|text| {
                let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                Some(lines.join("\n"))
            }),
        }
    }

    /// Whether `new` and the file's value mean the same.
    pub fn is(&self, form: &Form, new: Option<&str>) -> bool {
        match self.field.kind {
            Kind::Checks(_) => self.value.as_deref() == new,
            _ => self.effective(form) == new.unwrap_or_default(),
        }
    }

    /// What is removed with the value.
    pub fn removed_key(&self) -> Key {
        let parts = self.key.parts();
        let table = parts.split_last().filter(|_| self.field.is_whole).map(|(_, table)| table.to_vec());
        table.and_then(|table| Key::new(table).ok()).unwrap_or_else(|| self.key.clone())
    }

    /// The value in TOML for what a browser has sent; `None` if the file is to have none.
    pub fn written(&self, new: Option<&str>) -> Option<String> {
        let new = new?;
        match self.field.kind {
            Kind::Checks(_) => {}
            _ if new.is_empty() => return None,
            _ => {}
        }
        let texts =
            |text: &str| Value::Array(text.lines().map(|line| Value::from(line.to_owned())).collect());
        let value = match self.field.kind {
            Kind::Text | Kind::Paragraph | Kind::Choice(_) => Value::from(new),
            // What is no number is written as it was entered, and the checker says so.
            Kind::Number => new.parse::<i64>().map_or_else(|_| Value::from(new), Value::from),
            Kind::Switch => Value::from(new == "true"),
            Kind::Checks(_) | Kind::Lines => texts(new),
        };
        Some(value.to_string())
    }
}

/// A value of the file as a form shows it.
fn shown(kind: Kind, value: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (kind, value) {
        (Kind::Checks(_) | Kind::Lines, Value::Array(elements)) => {
            elements.iter().map(text).collect::<Vec<_>>().join("\n")
        }
        _ => text(value),
    }
}

/// A value's digest, by which a form knows what it has shown.
pub fn digest(value: Option<&str>) -> String {
    let marked = value.map_or_else(String::new, |value| format!("={value}"));
    let digest = sha256(marked.as_bytes());
    digest.iter().take(DIGEST_OCTETS).map(|octet| format!("{octet:02x}")).collect()
}

/// The digest of all that `stored` has in `key`.
pub fn digest_of_all(stored: &Stored, key: &Key) -> String {
    let value = stored.get(key).map(ToString::to_string);
    digest(value.as_deref())
}

/// The digests of values, in the order of the fields.
pub fn digests(entries: &[Entry]) -> String {
    entries.iter().map(|entry| digest(entry.value.as_deref())).collect::<Vec<_>>().join("-")
}
