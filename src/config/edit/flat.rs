//! The settings in a file: as a tree, and as a flat list of dotted keys.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::Key;
use super::key::dotted;
use super::label::{Naming, labels, naming};

/// The settings in a file, without their places.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored(Value);

/// The settings of an empty file.
impl Default for Stored {
    fn default() -> Self {
        Self(Value::Table(Table::new()))
    }
}

/// The settings in a file by their dotted keys, and their values in TOML.
pub type Flat = BTreeMap<String, String>;

impl Stored {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// The text is no TOML.
    pub fn read(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str::<Table>(text).map(|table| Self(Value::Table(table)))
    }

    /// The value of a setting; `None` if the file does not have it.
    pub fn get(&self, key: &Key) -> Option<&Value> {
        key.parts().iter().try_fold(&self.0, |value, part| child(value, part))
    }

    /// The labels of the elements of the list of tables at `key`, in their order; none if it is no such list.
    pub fn labels(&self, key: &Key) -> Vec<String> {
        match self.get(key) {
            Some(Value::Array(elements)) if elements.iter().all(Value::is_table) => labels_of(elements),
            _ => Vec::new(),
        }
    }

    /// Every value that is no table and no list of tables, by its key.
    pub fn flat(&self) -> Flat {
        let mut flat = Flat::new();
        flatten(&self.0, &mut Vec::new(), &mut flat);
        flat
    }

    /// Sets `key` to `value`; makes missing tables and elements. `None` if the key leads into a value, or a new element
    /// cannot be called so.
    pub(super) fn set(&mut self, key: &Key, value: Value) -> Option<()> {
        set(&mut self.0, key.parts(), &mut Vec::new(), value)
    }

    /// Removes `key`, and then what is empty on the way to it.
    pub(super) fn remove(&mut self, key: &Key) {
        remove(&mut self.0, key.parts());
    }

    /// Removes what is empty on the way to `key`.
    pub(super) fn prune(&mut self, key: &Key) {
        prune(&mut self.0, key.parts());
    }
}

/// The value in `value` under a key or a label.
fn child<'a>(value: &'a Value, part: &str) -> Option<&'a Value> {
    match value {
        Value::Table(table) => table.get(part),
        Value::Array(elements) => elements.get(position(elements, part)?),
        _ => None,
    }
}

fn child_mut<'a>(value: &'a mut Value, part: &str) -> Option<&'a mut Value> {
    match value {
        Value::Table(table) => table.get_mut(part),
        Value::Array(elements) => {
            let position = position(elements, part)?;
            elements.get_mut(position)
        }
        _ => None,
    }
}

/// The position of the element with this label, in a list of tables.
fn position(elements: &[Value], label: &str) -> Option<usize> {
    let is_of_tables = elements.iter().all(Value::is_table);
    let names = || labels_of(elements).iter().position(|own| own == label);
    is_of_tables.then(names).flatten()
}

fn labels_of(elements: &[Value]) -> Vec<String> {
    labels(elements.iter(), |element, key| element.get(key).and_then(word))
}

/// A value that can be a label.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

fn flatten(value: &Value, path: &mut Vec<String>, flat: &mut Flat) {
    let mut inside = |part: String, value: &Value| {
        path.push(part);
        flatten(value, path, flat);
        path.pop();
    };
    match value {
        Value::Table(table) if !table.is_empty() => {
            table.iter().for_each(|(key, value)| inside(key.clone(), value));
        }
        Value::Array(elements) if !elements.is_empty() && elements.iter().all(Value::is_table) => {
            labels_of(elements).into_iter().zip(elements).for_each(|(label, value)| inside(label, value));
        }
        _ if path.is_empty() => {}
        _ => _ = flat.insert(dotted(path), value.to_string()),
    }
}

fn set<'a>(at: &mut Value, parts: &'a [String], list: &mut Vec<&'a str>, new: Value) -> Option<()> {
    let [part, rest @ ..] = parts else {
        *at = new;
        return Some(());
    };
    if child(at, part).is_some() {
        if at.is_table() {
            list.push(part);
        }
        return set(child_mut(at, part)?, rest, list, new);
    }
    match at {
        Value::Table(table) => {
            list.push(part);
            let made = match rest {
                [label, ..] if naming(list, label).is_some() => Value::Array(Vec::new()),
                [_, ..] => Value::Table(Table::new()),
                [] => new.clone(),
            };
            set(table.entry(part).or_insert(made), rest, list, new)
        }
        Value::Array(elements) if elements.iter().all(Value::is_table) => {
            let mut table = Table::new();
            match naming(list, part)? {
                Naming::Key(name) => _ = table.insert(name.to_owned(), Value::String(part.clone())),
                Naming::Position if *part == (elements.len() + 1).to_string() => {}
                Naming::Position => return None,
            }
            elements.push(Value::Table(table));
            set(elements.last_mut()?, rest, list, new)
        }
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Table(table) => table.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        _ => false,
    }
}

fn remove(at: &mut Value, parts: &[String]) {
    let [part, rest @ ..] = parts else { return };
    if let Some(inside) = child_mut(at, part) {
        remove(inside, rest);
        if rest.is_empty() || is_empty(inside) {
            remove_child(at, part);
        }
    }
}

fn prune(at: &mut Value, parts: &[String]) {
    let [part, rest @ ..] = parts else { return };
    if let Some(inside) = child_mut(at, part) {
        prune(inside, rest);
        if is_empty(inside) {
            remove_child(at, part);
        }
    }
}

fn remove_child(at: &mut Value, part: &str) {
    match at {
        Value::Table(table) => _ = table.remove(part),
        Value::Array(elements) => {
            if let Some(position) = position(elements, part) {
                elements.remove(position);
            }
        }
        _ => {}
    }
}
