//! The place of a setting in a document.

use std::ops::Range;

use toml_edit::{ArrayOfTables, Item, Table, Value};

use super::label::labels;
use super::splice::{Splices, line_end, line_start};
use super::{EditError, value};

/// A step on the way to a setting.
#[derive(Clone, Copy, Debug)]
pub(super) enum Node<'a> {
    /// A table: with a header, of dotted keys, or one that only headers of tables inside it make.
    Table(&'a Table),
    /// A list that is written as `[[...]]`.
    List(&'a ArrayOfTables),
    /// A value of a statement, which may be an inline table or a list with the rest of the way inside it.
    Value(&'a Value),
}

/// The way to a setting, as far as it exists.
pub(super) struct Walk<'a> {
    /// What the first so many parts of the key lead to, from the root on.
    nodes: Vec<Node<'a>>,
}

impl<'a> Walk<'a> {
    pub fn new(root: &'a Table, parts: &[String]) -> Self {
        let mut nodes = vec![Node::Table(root)];
        for part in parts {
            let next = match nodes.last() {
                Some(Node::Table(table)) => table.get(part).and_then(node),
                Some(Node::List(list)) => element(list, part).map(Node::Table),
                Some(Node::Value(_)) | None => None,
            };
            let Some(next) = next else { break };
            nodes.push(next);
        }
        Self { nodes }
    }

    /// How many parts of the key exist outside of values, and what they lead to.
    pub fn deepest(&self) -> (usize, Node<'a>) {
        let used = self.nodes.len() - 1;
        (used, self.nodes[used])
    }

    /// What the first `used` parts lead to.
    pub fn nodes(&self) -> &[Node<'a>] {
        &self.nodes
    }
}

fn node(item: &Item) -> Option<Node<'_>> {
    match item {
        Item::None => None,
        Item::Value(value) => Some(Node::Value(value)),
        Item::Table(table) => Some(Node::Table(table)),
        Item::ArrayOfTables(list) => Some(Node::List(list)),
    }
}

/// The element of `list` with this label.
pub(super) fn element<'a>(list: &'a ArrayOfTables, label: &str) -> Option<&'a Table> {
    let labels =
        labels(list.iter(), |table, key| table.get(key).and_then(Item::as_value).and_then(value::word));
    list.get(labels.iter().position(|own| own == label)?)
}

/// The lines of `item`, which is under `key` in `table`, in no order: statements and headers.
pub(super) fn lines(text: &str, table: &Table, key: &str, found: &mut Vec<Range<usize>>) {
    match table.get_key_value(key) {
        Some((key, Item::Value(value))) => {
            let start = key.span().map_or(0, |span| line_start(text, span.start));
            let end = value.span().map_or(start, |span| line_end(text, span.end));
            found.push(start..end);
        }
        Some((_, Item::Table(inside))) => lines_of_table(text, inside, found),
        Some((_, Item::ArrayOfTables(list))) => {
            list.iter().for_each(|inside| lines_of_table(text, inside, found));
        }
        Some((_, Item::None)) | None => {}
    }
}

/// The header of `table`, if it has one, and all lines in it.
pub(super) fn lines_of_table(text: &str, table: &Table, found: &mut Vec<Range<usize>>) {
    found.extend(header(text, table));
    table.iter().for_each(|(key, _)| lines(text, table, key, found));
}

/// The line of the header of `table`, if it has one.
pub(super) fn header(text: &str, table: &Table) -> Option<Range<usize>> {
    let span = table.span().filter(|_| !table.is_dotted() && !table.is_implicit())?;
    // The root's span is empty.
    (!span.is_empty()).then(|| line_start(text, span.start)..line_end(text, span.end))
}

/// The lines of the statements that `table` has itself, without those below other headers.
pub(super) fn own_lines(text: &str, table: &Table, found: &mut Vec<Range<usize>>) {
    for (key, item) in table {
        match item {
            Item::Value(_) => lines(text, table, key, found),
            Item::Table(inside) if inside.is_dotted() => own_lines(text, inside, found),
            _ => {}
        }
    }
}

/// The text with the value `statement` edited.
pub(super) fn edit_value(
    text: &str,
    statement: &Value,
    parts: &[String],
    edit: impl FnOnce(&[String], &mut Value) -> Result<(), EditError>,
) -> Result<String, EditError> {
    let span = statement.span().ok_or(EditError::Layout)?;
    let written = text.get(span.clone()).ok_or(EditError::Layout)?;
    let mut value: Value = written.parse().map_err(|_| EditError::Layout)?;
    edit(parts, &mut value)?;
    Splices::new(text).replace(span, value::written(&value)).done().ok_or(EditError::Layout)
}
