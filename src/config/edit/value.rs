//! Values: as they are written on the command line, and the inside of inline tables and lists.

use toml_edit::{Array, InlineTable, Value};

use super::EditError;
use super::label::{Naming, labels, naming, without_labels};

/// The longest value, in octets: of the longest setting, a user's vacation reply, with room for escapes.
pub const VALUE_OCTETS_MAX: usize = 32 << 10;

/// The TOML values that `text` can mean, the likeliest first: the TOML value that it is, and a string.
pub fn values(text: &str) -> Vec<String> {
    let string = written(&Value::from(text));
    // A comment behind it would take in what follows.
    let toml = text.trim().parse::<Value>().ok().map(|value| written(&value));
    toml.into_iter().chain([string]).collect()
}

/// A value as text, without spaces and comments around it.
pub(super) fn written(value: &Value) -> String {
    let mut bare = value.clone();
    bare.decor_mut().clear();
    bare.to_string()
}

/// The meaning of a value in TOML.
pub(super) fn meaning(value: &Value) -> Option<toml::Value> {
    let mut table: toml::Table = toml::from_str(&format!("value = {}", written(value))).ok()?;
    table.remove("value")
}

/// The value of the setting `parts`; if that is a whole element of a list, with the key that names it.
pub(super) fn completed(parts: &[String], mut value: Value) -> Value {
    if let ([list @ .., label], Value::InlineTable(table)) = (parts, &mut value)
        && let list = without_labels(list)
        && let Some(Naming::Key(name)) = naming(&list, label)
        && !table.contains_key(name)
    {
        table.insert(name, label.as_str().into());
    }
    value
}

/// A value that can be a label.
pub(super) fn word(value: &Value) -> Option<String> {
    let number = || value.as_integer().map(|number| number.to_string());
    value.as_str().map(str::to_owned).or_else(number)
}

/// The position of the element with this label, in a list of tables.
fn position(elements: &Array, label: &str) -> Option<usize> {
    let is_of_tables = elements.iter().all(Value::is_inline_table);
    let name = |element: &&Value, key: &str| element.as_inline_table()?.get(key).and_then(word);
    let labels = || labels(elements.iter(), name).iter().position(|own| own == label);
    is_of_tables.then(labels).flatten()
}

/// Sets `parts` in `value` to `new`. `list` is the key of `value` without the labels of elements.
pub(super) fn set<'a>(
    value: &mut Value,
    parts: &'a [String],
    list: &mut Vec<&'a str>,
    new: Value,
) -> Result<(), EditError> {
    let [part, rest @ ..] = parts else {
        let decor = value.decor().clone();
        *value = new;
        *value.decor_mut() = decor;
        return Ok(());
    };
    match value {
        Value::InlineTable(table) => {
            list.push(part);
            if let Some(inside) = table.get_mut(part) {
                return set(inside, rest, list, new);
            }
            let made = make(rest, list, new)?;
            table.insert(part, made);
            Ok(())
        }
        // A list of tables stays one.
        Value::Array(_) if rest.is_empty() && !new.is_inline_table() => Err(EditError::NoTable),
        Value::Array(elements) => {
            if let Some(position) = position(elements, part) {
                let inside = elements.get_mut(position).ok_or(EditError::Layout)?;
                return set(inside, rest, list, new);
            }
            if !elements.iter().all(Value::is_inline_table) {
                return Err(EditError::NoTable);
            }
            let made = make_element(elements.len(), parts, list, new)?;
            elements.push(made);
            Ok(())
        }
        _ => Err(EditError::NoTable),
    }
}

/// The value that has `new` under `parts`, for the key `list`.
pub(super) fn make<'a>(parts: &'a [String], list: &mut Vec<&'a str>, new: Value) -> Result<Value, EditError> {
    let [part, rest @ ..] = parts else { return Ok(new) };
    if naming(list, part).is_some() {
        let mut elements = Array::new();
        elements.push(make_element(0, parts, list, new)?);
        return Ok(Value::Array(elements));
    }
    list.push(part);
    let mut table = InlineTable::new();
    table.insert(part, make(rest, list, new)?);
    Ok(Value::InlineTable(table))
}

/// A new element of the list `list` with `count` elements; the first of `parts` is its label.
pub(super) fn make_element<'a>(
    count: usize,
    parts: &'a [String],
    list: &mut Vec<&'a str>,
    new: Value,
) -> Result<Value, EditError> {
    let [label, rest @ ..] = parts else { return Err(EditError::NoElement) };
    let mut table = InlineTable::new();
    match naming(list, label) {
        Some(Naming::Key(name)) => _ = table.insert(name, label.as_str().into()),
        Some(Naming::Position) if *label == (count + 1).to_string() => {}
        Some(Naming::Position) | None => return Err(EditError::NoElement),
    }
    let mut element = Value::InlineTable(table);
    set(&mut element, rest, list, new)?;
    Ok(element)
}

/// Removes `parts`, at least one, from `value`.
pub(super) fn remove(value: &mut Value, parts: &[String]) -> Result<(), EditError> {
    let [part, rest @ ..] = parts else { return Err(EditError::Absent) };
    match value {
        Value::InlineTable(table) if rest.is_empty() => {
            table.remove(part).map(|_| ()).ok_or(EditError::Absent)
        }
        Value::InlineTable(table) => remove(table.get_mut(part).ok_or(EditError::Absent)?, rest),
        Value::Array(elements) => {
            let position = position(elements, part).ok_or(EditError::Absent)?;
            if rest.is_empty() {
                elements.remove(position);
                return Ok(());
            }
            remove(elements.get_mut(position).ok_or(EditError::Absent)?, rest)
        }
        _ => Err(EditError::NoTable),
    }
}
