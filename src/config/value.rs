//! Readers of TOML values.
//!
//! A reader takes a node of the file and reports mistakes in it. Readers of text take a function that parses the
//! text.

use std::fmt;
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::DeValue;

use super::diagnostic::{Problem, Report, nearest};

/// A value and its place in the file.
pub(super) type Node<'a> = Spanned<DeValue<'a>>;

/// Reads text.
pub(super) fn text(node: &Node<'_>, report: &Report) -> Option<String> {
    match node.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => wrong_type(node, Expected::Text, report),
    }
}

/// Reads text and parses it with `meaning`.
pub(super) fn parsed<T>(
    meaning: impl Fn(&str) -> Result<T, Problem>,
) -> impl Fn(&Node<'_>, &Report) -> Option<T> {
    move |node, report| match meaning(&text(node, report)?) {
        Ok(value) => Some(value),
        Err(problem) => {
            report.add(node.span(), problem);
            None
        }
    }
}

/// Reads text and parses it with `meaning`; the empty text is `None`.
pub(super) fn unless_empty<T>(
    meaning: impl Fn(&str) -> Result<T, Problem>,
) -> impl Fn(&Node<'_>, &Report) -> Option<Option<T>> {
    parsed(move |text| if text.is_empty() { Ok(None) } else { meaning(text).map(Some) })
}

/// Reads one of the words of `choices`.
pub(super) fn choice<T: Copy>(choices: &[(&str, T)]) -> impl Fn(&Node<'_>, &Report) -> Option<T> {
    parsed(|text| {
        choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            let remedy = match nearest(text, words.iter().copied()) {
                Some(meant) => quoted(meant),
                None => alternatives(&words),
            };
            Problem::new(format!("{} is not possible here", quoted(text)), format!("write {remedy}"))
        })
    })
}

/// Reads `true` or `false`.
pub(super) fn boolean(node: &Node<'_>, report: &Report) -> Option<bool> {
    match node.get_ref() {
        DeValue::Boolean(value) => Some(*value),
        _ => wrong_type(node, Expected::Boolean, report),
    }
}

/// Reads an integer of `range`.
pub(super) fn integer(range: RangeInclusive<u32>) -> impl Fn(&Node<'_>, &Report) -> Option<u32> {
    move |node, report| {
        let DeValue::Integer(written) = node.get_ref() else {
            return wrong_type(node, Expected::Integer, report);
        };
        let value = i64::from_str_radix(written.as_str(), written.radix());
        let value = value.ok().and_then(|value| u32::try_from(value).ok());
        value.filter(|value| range.contains(value)).or_else(|| {
            let remedy = format!("write an integer from {} to {}", range.start(), range.end());
            report.add(node.span(), Problem::new(format!("{written} is out of range"), remedy));
            None
        })
    }
}

/// Reads a number of octets that is written with a unit, at least `min`, which is a whole number of MiB.
pub(super) fn size(min: u64) -> impl Fn(&Node<'_>, &Report) -> Option<u64> {
    parsed(move |text| {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = text[digits.len()..].trim_start();
        let octets = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, octets)| *octets);
        let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
        let number = digits.parse::<u64>().ok().filter(|_| is_number);
        let size = number.zip(octets).and_then(|(number, octets)| number.checked_mul(octets));
        // Greater sizes cannot be represented in JSON exactly.
        let is_size = octets.is_some() && is_number && !digits.is_empty();
        let size = size.filter(|size| *size <= SIZE_MAX).ok_or_else(|| {
            if is_size {
                let remedy = format!("write at most \"{} TiB\"", SIZE_MAX >> 40);
                return Problem::new(format!("{} is too large", quoted(text)), remedy);
            }
            let units = alternatives(&UNITS.map(|(name, _)| name));
            let remedy = format!("write a number and {units}, such as \"25 MiB\"");
            Problem::new(format!("{} is no size", quoted(text)), remedy)
        })?;
        if size < min {
            let remedy = format!("write at least \"{} MiB\"", min >> 20);
            return Err(Problem::new(format!("{} is too small", quoted(text)), remedy));
        }
        Ok(size)
    })
}

/// What a size is written with, and its octets.
const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// The largest size.
const SIZE_MAX: u64 = 1 << 50;

/// Reads an array of at most `count_max` elements, each with `read`. `None` if any of them is wrong.
pub(super) fn list<'a, T>(
    count_max: usize,
    read: impl Fn(&'a Node<'a>, &'a Report) -> Option<T>,
) -> impl Fn(&'a Node<'a>, &'a Report) -> Option<Vec<T>> {
    move |node, report| {
        let values: Vec<_> =
            elements(node, count_max, report)?.iter().map(|element| read(element, report)).collect();
        values.into_iter().collect()
    }
}

/// The elements of an array, of which there can be `count_max`.
pub(super) fn elements<'a>(node: &'a Node<'a>, count_max: usize, report: &Report) -> Option<&'a [Node<'a>]> {
    let DeValue::Array(elements) = node.get_ref() else {
        return wrong_type(node, Expected::List, report);
    };
    if let Some(excess) = elements.get(count_max) {
        let remedy = format!("write at most {count_max}");
        report.add(excess.span(), Problem::new("the list is too long", remedy));
        return None;
    }
    Some(&elements[..])
}

/// Reports that `node` does not have the type `expected`.
pub(super) fn wrong_type<T>(node: &Node<'_>, expected: Expected, report: &Report) -> Option<T> {
    let (found, literal) = match node.get_ref() {
        DeValue::String(text) => ("a text", text.to_string()),
        DeValue::Integer(written) => ("an integer", written.to_string()),
        DeValue::Float(written) => ("a decimal number", written.to_string()),
        DeValue::Boolean(value) => ("true or false", value.to_string()),
        DeValue::Datetime(written) => ("a date", written.to_string()),
        DeValue::Array(_) => ("a list", String::new()),
        DeValue::Table(_) => ("a table", String::new()),
    };
    let remedy = match expected {
        Expected::Text if !literal.is_empty() => quoted(&literal),
        Expected::Integer if literal.parse::<u32>().is_ok() => literal,
        Expected::Boolean if literal.parse::<bool>().is_ok() => literal,
        Expected::List if node.get_ref().is_str() => format!("[{}]", quoted(&literal)),
        _ => expected.to_string(),
    };
    report
        .add(node.span(), Problem::new(format!("{found} instead of {expected}"), format!("write {remedy}")));
    None
}

/// The type of a key's value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    Text,
    Integer,
    Boolean,
    List,
    Table,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a text in quotes",
            Self::Integer => "an integer",
            Self::Boolean => "true or false",
            Self::List => "a list in brackets",
            Self::Table => "a table",
        })
    }
}

/// `text` as a TOML string.
pub(super) fn quoted(text: impl fmt::Display) -> String {
    format!("{:?}", text.to_string())
}

/// `words` as `"a", "b" or "c"`.
pub(super) fn alternatives(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(quoted).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "nothing".to_owned(),
    }
}
