//! Removes settings from a document.

use std::ops::Range;

use toml_edit::Document;

use super::place::{self, Node, Walk};
use super::splice::Splices;
use super::{EditError, Key, value};

/// The text of `document` without `key`. Comments in the midst of what is removed go with it; all others stay.
pub(super) fn remove(document: &Document<&str>, key: &Key) -> Result<String, EditError> {
    let (text, parts) = (document.raw(), key.parts());
    let walk = Walk::new(document.as_table(), parts);
    let (used, node) = walk.deepest();
    if used < parts.len() {
        return match node {
            Node::Value(statement) => {
                place::edit_value(text, statement, &parts[used..], |parts, old| value::remove(old, parts))
            }
            Node::Table(_) | Node::List(_) => Err(EditError::Absent),
        };
    }
    let mut lines = Vec::new();
    match (walk.nodes().iter().rev().nth(1), node, parts.last()) {
        (Some(Node::Table(parent)), _, Some(last)) => place::lines(text, parent, last, &mut lines),
        (Some(Node::List(_)), Node::Table(element), _) => place::lines_of_table(text, element, &mut lines),
        _ => return Err(EditError::Layout),
    }
    let splices = joined(text, lines)
        .into_iter()
        .fold(Splices::new(text), |splices, range| splices.replace(range, String::new()));
    splices.done().ok_or(EditError::Layout)
}

/// The text of `document` with `block` in place of the element `old` of a list.
pub(super) fn replace(
    document: &Document<&str>,
    old: &toml_edit::Table,
    block: String,
) -> Result<String, EditError> {
    let mut lines = Vec::new();
    place::lines_of_table(document.raw(), old, &mut lines);
    let (mut splices, mut block) = (Splices::new(document.raw()), Some(block));
    for range in joined(document.raw(), lines) {
        splices = splices.replace(range, block.take().unwrap_or_default());
    }
    splices.done().ok_or(EditError::Layout)
}

/// The ranges in order; those with nothing but comments between them are one.
fn joined(text: &str, mut lines: Vec<Range<usize>>) -> Vec<Range<usize>> {
    lines.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<usize>> = Vec::new();
    for range in lines {
        let between = joined.last().and_then(|last| text.get(last.end..range.start));
        let is_comment = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
        match joined.last_mut() {
            Some(last) if between.is_some_and(|between| between.lines().all(is_comment)) => {
                last.end = range.end.max(last.end);
            }
            Some(last) if range.start < last.end => last.end = range.end.max(last.end),
            _ => joined.push(range),
        }
    }
    joined
}
