//! The setting at a place in a text.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Key;
use super::label::labels;

/// The innermost setting that is written at the octet `offset` of `text`; `None` if there is none, or the text is no
/// TOML.
pub fn key_at(text: &str, offset: usize) -> Option<Key> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return None;
    }
    let mut path = Vec::new();
    if find_in_table(document.get_ref(), offset, &mut path) { Key::new(path).ok() } else { None }
}

/// Extends `path` to the innermost setting at `offset`; leaves it as it is if there is none in `table`.
fn find_in_table(table: &DeTable<'_>, offset: usize, path: &mut Vec<String>) -> bool {
    table.iter().any(|(key, value)| {
        path.push(key.get_ref().to_string());
        // What a header opens is not within the header's own place, so the inside comes first.
        let is_found = find_in_value(value, offset, path) || holds(&key.span(), offset);
        if !is_found {
            path.pop();
        }
        is_found
    })
}

fn find_in_value(value: &Spanned<DeValue<'_>>, offset: usize, path: &mut Vec<String>) -> bool {
    let is_inside = match value.get_ref() {
        DeValue::Table(table) => find_in_table(table, offset, path),
        DeValue::Array(elements) => {
            let tables: Vec<_> = elements.iter().filter_map(|element| element.get_ref().as_table()).collect();
            let names =
                labels(tables.iter(), |table, key| table.get(key).and_then(|value| word(value.get_ref())));
            // Only a list of tables has elements with keys.
            tables.len() == elements.len()
                && elements.iter().zip(names).any(|(element, label)| {
                    path.push(label);
                    let is_found = find_in_value(element, offset, path);
                    if !is_found {
                        path.pop();
                    }
                    is_found
                })
        }
        _ => false,
    };
    is_inside || holds(&value.span(), offset)
}

fn holds(span: &Range<usize>, offset: usize) -> bool {
    span.contains(&offset)
}

/// A value that can be a label.
fn word(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "top = 1\n[lan]\naddress = '192.168.1.1/24'\nports = [{ tap = 'a' }, { tap = 'b', driver = 'x' }]\n\
                        dns.of.all = ['one', 'two']\n\n[[firewall.forwards]]\nname = 'camera'\nto = 'there'\n\
                        [[firewall.forwards]]\nname = 'a b'\nto = 'here' # or not\n";

    #[test]
    fn the_innermost_setting_at_a_place_is_found() {
        for (at, expected) in [
            ("top", Some("top")),
            ("1\n", Some("top")),
            ("168.1.1", Some("lan.address")),
            ("'x'", Some("lan.ports.b.driver")),
            ("{ tap = 'a'", Some("lan.ports.a")),
            ("two", Some("lan.dns.of.all")),
            ("there", Some("firewall.forwards.camera.to")),
            ("here' #", Some("firewall.forwards.\"a b\".to")),
            ("or not", None),
        ] {
            let offset = TEXT.find(at).expect("it is there");
            assert_eq!(key_at(TEXT, offset).map(|key| key.to_string()).as_deref(), expected, "{at}");
        }
        assert_eq!(key_at("no = = toml", 0), None);
        assert_eq!(key_at(TEXT, usize::MAX), None);
    }
}
