//! Writes settings that a document does not have yet.

use std::ops::Range;

use toml_edit::{Document, Value};

use super::key::{dotted, quoted};
use super::label::{naming, without_labels};
use super::place::{self, Node, Walk};
use super::splice::{Splices, line_break, mark_len};
use super::{EditError, Key, value};

/// The text of `document` with `key`, which it does not have, set to `new`.
pub(super) fn insert(document: &Document<&str>, key: &Key, new: &Value) -> Result<String, EditError> {
    let (text, parts) = (document.raw(), key.parts());
    let walk = Walk::new(document.as_table(), parts);
    let (used, node) = walk.deepest();
    let nodes = walk.nodes();
    let path = without_labels(&parts[..used]);
    match node {
        Node::Value(_) => Err(EditError::NoTable),
        Node::List(list) => {
            let element = value::make_element(list.len(), &parts[used..], &mut path.clone(), new.clone())?;
            let mut lines = Vec::new();
            list.iter().for_each(|table| place::lines_of_table(text, table, &mut lines));
            append(text, end_of(&lines), &block(&path, &element, line_break(text))?)
        }
        Node::Table(table) => {
            let rest = &parts[used..];
            let mut lines = Vec::new();
            place::own_lines(text, table, &mut lines);
            let header = place::header(text, table);
            let new_list = |at: usize| {
                let list: Vec<_> =
                    path.iter().copied().chain(rest[..at].iter().map(String::as_str)).collect();
                naming(&list, &rest[at]).map(|_| (list, at))
            };
            // A new list of tables is written below a header of its own: in an element behind all of it.
            if let Some((list, at)) = (1..rest.len()).find_map(new_list) {
                let element = value::make_element(0, &rest[at..], &mut list.clone(), new.clone())?;
                let block = block(&list, &element, line_break(text))?;
                let end = is_in_element(nodes).map_or(text.len(), |element| {
                    let mut lines = Vec::new();
                    place::lines_of_table(text, element, &mut lines);
                    end_of(&lines)
                });
                return append(text, end, &block);
            }
            let last = lines.iter().map(|range| range.end).max();
            let break_ = line_break(text);
            if table.is_dotted() {
                // The statement has the parts since the last header.
                let since = nodes.iter().take(used).rposition(|node| match node {
                    Node::Table(table) => !table.is_dotted(),
                    Node::List(_) | Node::Value(_) => false,
                });
                let own = &parts[since.unwrap_or(0)..];
                return statement(text, last.ok_or(EditError::Layout)?, own, new);
            }
            match (header, used) {
                (Some(header), _) => {
                    let indent = lines.iter().max_by_key(|range| range.end).map_or("", |range| {
                        let line = text.get(range.clone()).unwrap_or_default();
                        &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
                    });
                    let at = last.unwrap_or(header.end).max(header.end);
                    statement_indented(text, at, indent, rest, new)
                }
                // A setting of the file itself stands before all headers.
                (None, 0) if rest.len() == 1 => {
                    let at = last.unwrap_or_else(|| mark_len(text));
                    statement(text, at, rest, new)
                }
                _ if is_in_element(nodes).is_some() => Err(EditError::Layout),
                // A section without a header gets one, at the end.
                _ => {
                    let (section, own) = parts.split_at(parts.len() - 1);
                    let made = value::written(new);
                    let block = format!("[{}]{break_}{} = {made}{break_}", dotted(section), dotted(own));
                    append(text, text.len(), &block)
                }
            }
        }
    }
}

/// The element of a list in which the way ends, if it does.
fn is_in_element<'a>(nodes: &[Node<'a>]) -> Option<&'a toml_edit::Table> {
    let list = nodes.iter().rposition(|node| matches!(node, Node::List(_)))?;
    match nodes.get(list + 1) {
        Some(Node::Table(element)) => Some(element),
        _ => None,
    }
}

/// The end of the last of `lines`.
fn end_of(lines: &[Range<usize>]) -> usize {
    lines.iter().map(|range| range.end).max().unwrap_or(0)
}

/// A block `[[list]]` with `element`, an inline table.
pub(super) fn block(list: &[&str], element: &Value, break_: &str) -> Result<String, EditError> {
    let Value::InlineTable(table) = element else { return Err(EditError::NoTable) };
    let mut block = format!("[[{}]]{break_}", dotted(list));
    for (key, value) in table {
        block += &format!("{} = {}{break_}", quoted(key), value::written(value));
    }
    Ok(block)
}

/// Writes `block` at `end`, the end of a line or of the text, with an empty line before it.
fn append(text: &str, end: usize, block: &str) -> Result<String, EditError> {
    let break_ = line_break(text);
    let before = text.get(..end).unwrap_or_default();
    let ended = if before.is_empty() || before.ends_with('\n') { "" } else { break_ };
    let is_first = before.trim_start_matches('\u{feff}').is_empty();
    let is_apart = is_first || before.ends_with("\n\n") || before.ends_with("\n\r\n");
    let apart = if is_apart { "" } else { break_ };
    Splices::new(text).replace(end..end, format!("{ended}{apart}{block}")).done().ok_or(EditError::Layout)
}

fn statement(text: &str, at: usize, parts: &[String], new: &Value) -> Result<String, EditError> {
    statement_indented(text, at, "", parts, new)
}

/// Writes a statement at `at`, the end of a line or of the text.
fn statement_indented(
    text: &str,
    at: usize,
    indent: &str,
    parts: &[String],
    new: &Value,
) -> Result<String, EditError> {
    let break_ = line_break(text);
    let before = text.get(..at).unwrap_or_default();
    let is_at_start = before.trim_start_matches('\u{feff}').is_empty() || before.ends_with('\n');
    let ended = if is_at_start { "" } else { break_ };
    let line = format!("{ended}{indent}{} = {}{break_}", dotted(parts), value::written(new));
    Splices::new(text).replace(at..at, line).done().ok_or(EditError::Layout)
}
