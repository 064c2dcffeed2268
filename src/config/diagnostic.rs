//! Mistakes in a configuration file, with their positions and remedies.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::places::Decisive;
use super::value::quoted;

/// An error or a warning in a configuration file. It prints as `FILE:LINE:COLUMN: PROBLEM; REMEDY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file's name, as it was given.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// The octet of the file, from 0.
    pub offset: usize,
    /// The mistake and its remedy.
    pub problem: Problem,
    /// Whether the file can be used nevertheless.
    pub severity: Severity,
    /// For a duplicate: the line and column of the first occurrence.
    pub first: Option<(usize, usize)>,
    /// Whether it is about one key or one value alone, so that no change elsewhere can remedy it.
    pub is_local: bool,
}

/// The severity of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but a setting has no effect or not the apparent one.
    Warning,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, problem: Problem { what, remedy }, severity, first, .. } = self;
        write!(f, "{file}:{line}:{column}: ")?;
        if *severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        f.write_str(what)?;
        if let Some((line, column)) = first {
            write!(f, " (first in line {line}, column {column})")?;
        }
        write!(f, "; {remedy}")
    }
}

/// A mistake in a value, and its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The problem.
    pub what: String,
    /// The remedy, in the imperative.
    pub remedy: String,
}

impl Problem {
    /// A problem and its remedy.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

/// The octets of the file that a problem is about.
pub(super) type Span = Range<usize>;

/// Collects the problems of one file while it is read.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: RefCell<Vec<Noted>>,
    /// Whether a key or a value is read for itself.
    is_local: Cell<bool>,
    decisive: RefCell<Vec<(Decisive, Span)>>,
}

#[derive(Debug)]
struct Noted {
    span: Span,
    problem: Problem,
    severity: Severity,
    first: Option<Span>,
    is_local: bool,
}

impl Report {
    /// Notes `problem`.
    pub fn add(&self, span: Span, problem: Problem) {
        self.note(span, problem, Severity::Error, None);
    }

    /// Does `read`, which reads one key or one value for itself.
    pub fn locally<T>(&self, read: impl FnOnce() -> T) -> T {
        let before = self.is_local.replace(true);
        let read = read();
        self.is_local.set(before);
        read
    }

    /// Notes `problem` with a duplicate at `span` of what is at `first`.
    pub fn add_again(&self, span: Span, first: Option<Span>, problem: Problem) {
        self.note(span, problem, Severity::Error, first);
    }

    /// Notes `problem` as a warning.
    pub fn warn(&self, span: Span, problem: Problem) {
        self.note(span, problem, Severity::Warning, None);
    }

    /// Notes where a setting that decides about packets is written.
    pub fn note_place(&self, setting: Decisive, span: Span) {
        self.decisive.borrow_mut().push((setting, span));
    }

    /// The settings that decide about packets, with their places.
    pub fn take_places(&self) -> Vec<(Decisive, Span)> {
        self.decisive.take()
    }

    fn note(&self, span: Span, problem: Problem, severity: Severity, first: Option<Span>) {
        let noted = Noted { span, problem, severity, first, is_local: self.is_local.get() };
        self.problems.borrow_mut().push(noted);
    }

    /// The problems in the order of their positions in the file, which has the name `name` and the content `text`.
    pub fn into_diagnostics(self, name: &str, text: &str) -> Vec<Diagnostic> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|noted| noted.span.start);
        let diagnostic = |Noted { span, problem, severity, first, is_local }| {
            let (line, column) = line_and_column(text, span.start);
            let offset = span.start;
            let first = first.map(|span| line_and_column(text, span.start));
            Diagnostic { file: name.to_owned(), line, column, offset, problem, severity, first, is_local }
        };
        problems.into_iter().map(diagnostic).collect()
    }
}

/// Notes a syntax error of the TOML parser in `text`, in words that its author understands. `document` is the
/// readable part.
pub(super) fn note_syntax_error(
    report: &Report,
    error: &toml::de::Error,
    text: &str,
    document: &DeTable<'_>,
) {
    let (span, problem) = syntax_problem(error, text);
    let key = text.get(span.clone()).unwrap_or_default();
    let stood = error.message() == DUPLICATE_KEY;
    let find =
        || first_place(document, key.trim_matches(['"', '\'']), &span).or_else(|| first_header(text, &span));
    let first = stood.then(find).flatten();
    report.add_again(span, first, problem);
}

/// The first occurrence of the duplicate key at `span`: the last position before it of a key with this name.
fn first_place(entries: &DeTable<'_>, key: &str, span: &Span) -> Option<Span> {
    let places = entries.iter().flat_map(|(name, value)| {
        let own = (name.get_ref() == key && name.span().start < span.start).then(|| name.span());
        let inside = match value.get_ref() {
            DeValue::Table(table) => first_place(table, key, span),
            DeValue::Array(values) => values
                .iter()
                .filter_map(|value| {
                    value.get_ref().as_table().and_then(|table| first_place(table, key, span))
                })
                .max_by_key(|place| place.start),
            _ => None,
        };
        own.into_iter().chain(inside)
    });
    places.max_by_key(|place| place.start)
}

/// The first heading of the table that is duplicated around `span`. The parser reports only the last one.
fn first_header(text: &str, span: &Span) -> Option<Span> {
    let start = text.get(..span.start)?.rfind('\n').map_or(0, |newline| newline + 1);
    let heading = text.get(start..)?.trim_start().split_inclusive(']').next()?;
    let mut offset = 0;
    for line in text[..start].split_inclusive('\n') {
        if heading.starts_with('[') && line.trim_start().starts_with(heading) {
            let at = offset + line.len() - line.trim_start().len();
            return Some(at..at + heading.len());
        }
        offset += line.len();
    }
    None
}

const DUPLICATE_KEY: &str = "duplicate key";

/// The position and the meaning of a syntax error of the TOML parser in `text`.
fn syntax_problem(error: &toml::de::Error, text: &str) -> (Span, Problem) {
    let span = error.span().unwrap_or_default();
    let (what, expected) = match error.message().split_once(", expected ") {
        Some((what, expected)) => (what, Some(expected)),
        None => (error.message(), None),
    };
    if UNQUOTED.iter().any(|start| what.starts_with(start)) {
        // The parser classifies text without quotes by its first letters.
        let span = word_around(text, span);
        let word = &text[span.clone()];
        return (
            span,
            Problem::new(format!("{} is no value", word.escape_debug()), format!("write {}", quoted(word))),
        );
    }
    let problem = match expected {
        Some("nothing") => Problem::new(what, "remove what is too much"),
        Some(expected) => Problem::new(what, format!("write {}", expected.replace(", ", " or "))),
        None if what == DUPLICATE_KEY => {
            let key = text.get(span.clone()).unwrap_or_default();
            Problem::new(format!("{key} was set before"), "write it only once")
        }
        None => Problem::new(what, "correct it as TOML (https://toml.io)"),
    };
    (span, problem)
}

/// How the TOML parser's complaints about text without quotes begin.
const UNQUOTED: [&str; 6] = [
    "string values must be quoted",
    "invalid float",
    "invalid integer",
    "invalid boolean",
    "invalid date",
    "invalid time",
];

/// The span of the whole word around `span`.
fn word_around(text: &str, span: Span) -> Span {
    let is_boundary = |c: char| c.is_whitespace() || matches!(c, '=' | ',' | '[' | ']' | '{' | '}' | '#');
    let middle = text.floor_char_boundary(span.start);
    let start =
        text[..middle].char_indices().rfind(|(_, c)| is_boundary(*c)).map_or(0, |(at, c)| at + c.len_utf8());
    let end = text[middle..].find(is_boundary).map_or(text.len(), |length| middle + length);
    start..end
}

/// The candidate that `word` was probably meant to be.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Enough for a slip or two, too little for another word.
    const SLIPS_MAX: usize = 2;
    let distance = |candidate: &&str| strsim::damerau_levenshtein(word, candidate);
    let nearest = candidates.into_iter().min_by_key(distance)?;
    (distance(&nearest) <= SLIPS_MAX.min(nearest.len() / 2)).then_some(nearest)
}

/// The line and the column of an octet of `text`, both from 1.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_counts_characters_from_one() {
        let text = "a\nbé = 1\n";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, 2), (2, 1));
        assert_eq!(line_and_column(text, text.find('=').unwrap()), (2, 4));
        assert_eq!(line_and_column(text, text.len()), (3, 1));
        assert_eq!(line_and_column(text, usize::MAX), (3, 1));
    }

    #[test]
    fn word_reaches_to_its_boundaries() {
        let text = "a = [é192.168.1.1, 2]";
        assert_eq!(&text[word_around(text, 12..14)], "é192.168.1.1");
        assert_eq!(&text[word_around(text, 0..0)], "a");
        assert_eq!(word_around("", 5..6), 0..0);
    }

    #[test]
    fn nearest_forgives_slips_and_nothing_else() {
        let keys = ["address", "gateway", "ports"];
        assert_eq!(nearest("adress", keys), Some("address"));
        assert_eq!(nearest("gatewya", keys), Some("gateway"));
        assert_eq!(nearest("netmask", keys), None);
        assert_eq!(nearest("a", ["b"]), None);
    }

    #[test]
    fn problems_are_told_in_the_order_of_the_file() {
        let report = Report::default();
        report.add(4..5, Problem::new("second", "do b"));
        report.add(0..1, Problem::new("first", "do a"));
        let told: Vec<_> =
            report.into_diagnostics("f.toml", "x\ny\nz").iter().map(ToString::to_string).collect();
        assert_eq!(told, ["f.toml:1:1: first; do a", "f.toml:3:1: second; do b"]);
    }
}
