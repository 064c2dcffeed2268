//! Replaces pieces of a text.

use std::ops::Range;

/// Replacements in a text, in the order of their places.
#[derive(Debug)]
pub(super) struct Splices<'a> {
    text: &'a str,
    pieces: Vec<(Range<usize>, String)>,
}

impl<'a> Splices<'a> {
    /// No replacement in `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, pieces: Vec::new() }
    }

    /// Replaces `range`.
    pub fn replace(mut self, range: Range<usize>, new: String) -> Self {
        self.pieces.push((range, new));
        self
    }

    /// The text with all replacements; `None` if they overlap or are not in it.
    pub fn done(mut self) -> Option<String> {
        self.pieces.sort_by_key(|(range, _)| (range.start, range.end));
        let mut done = String::with_capacity(self.text.len());
        let mut end = 0;
        for (range, new) in &self.pieces {
            done.push_str(self.text.get(end..range.start)?);
            done.push_str(new);
            end = range.end.max(range.start);
        }
        done.push_str(self.text.get(end..)?);
        Some(done)
    }
}

/// The start of the line at `offset`; behind a byte order mark.
pub(super) fn line_start(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or_default();
    before.rfind('\n').map_or(mark_len(text).min(offset), |newline| newline + 1)
}

/// The length of the byte order mark.
pub(super) fn mark_len(text: &str) -> usize {
    if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 }
}

/// The end of the line at `offset`, behind its line break.
pub(super) fn line_end(text: &str, offset: usize) -> usize {
    text.get(offset..).and_then(|rest| rest.find('\n')).map_or(text.len(), |newline| offset + newline + 1)
}

/// The line break of the text: that of its first line.
pub(super) fn line_break(text: &str) -> &'static str {
    let first = text.find('\n').and_then(|newline| text.get(..newline));
    if first.is_some_and(|line| line.ends_with('\r')) { "\r\n" } else { "\n" }
}
