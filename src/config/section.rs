//! One table of the file, read key by key.
//!
//! The reader requests each key that it knows: a key that was not requested when the section is finished is unknown.
//! A value that cannot be read is reported, and the setting goes on as [`Origin::Invalid`] with its default, so that
//! the rest of the file is checked too, without errors that only follow from the first.

use toml::de::{DeTable, DeValue};

use super::diagnostic::{Problem, Report, Span, nearest};
use super::upcoming;
use super::value::{self, Expected, Node, wrong_type};

/// A setting and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Setting<T> {
    /// The value; the default unless a valid value was written.
    pub value: T,
    /// Its origin.
    pub origin: Origin,
}

/// The origin of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Not written.
    Default,
    /// Written here.
    Written(Span),
    /// Written and reported as wrong; settings that depend on it cannot be checked.
    Invalid,
}

impl<T> Setting<T> {
    /// The value; `None` if a wrong value was written.
    pub fn known(&self) -> Option<&T> {
        (self.origin != Origin::Invalid).then_some(&self.value)
    }

    /// The value and its place, if it was written and is valid.
    pub fn written(&self) -> Option<(&T, Span)> {
        match &self.origin {
            Origin::Written(span) => Some((&self.value, span.clone())),
            Origin::Default | Origin::Invalid => None,
        }
    }
}

/// One table of the file; an absent one reads as empty.
#[derive(Debug)]
pub(super) struct Section<'a> {
    heading: String,
    span: Span,
    entries: Option<&'a DeTable<'a>>,
    known: Vec<&'static str>,
    /// Keys that are accepted but not suggested.
    unoffered: Vec<&'static str>,
    report: &'a Report,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub fn file(entries: &'a DeTable<'a>, report: &'a Report) -> Self {
        Self {
            heading: "the file".to_owned(),
            span: 0..0,
            entries: Some(entries),
            known: Vec::new(),
            unoffered: Vec::new(),
            report,
        }
    }

    /// The table in an array of tables, which is called `heading` in messages.
    pub fn element(node: &'a Node<'a>, heading: &str, report: &'a Report) -> Option<Self> {
        let DeValue::Table(entries) = node.get_ref() else {
            wrong_type::<()>(node, Expected::Table, report);
            return None;
        };
        let heading = heading.to_owned();
        Some(Self {
            heading,
            span: node.span(),
            entries: Some(entries),
            known: Vec::new(),
            unoffered: Vec::new(),
            report,
        })
    }

    /// The table under `key`.
    pub fn section(&mut self, key: &'static str) -> Section<'a> {
        let node = self.node(key);
        let parent = self.heading.strip_prefix('[').and_then(|heading| heading.strip_suffix(']'));
        let heading = parent.map_or_else(|| format!("[{key}]"), |parent| format!("[{parent}.{key}]"));
        let section = node.and_then(|node| Section::element(node, &heading, self.report));
        section.unwrap_or_else(|| Section {
            heading,
            span: self.span.clone(),
            entries: None,
            known: Vec::new(),
            unoffered: Vec::new(),
            report: self.report,
        })
    }

    /// The value under `key` as `read` understands it, else `default`.
    pub fn setting<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&'a Node<'a>, &'a Report) -> Option<T>,
    ) -> Setting<T> {
        let Some(node) = self.node(key) else {
            return Setting { value: default, origin: Origin::Default };
        };
        match self.report.locally(|| read(node, self.report)) {
            Some(value) => Setting { value, origin: Origin::Written(node.span()) },
            None => Setting { value: default, origin: Origin::Invalid },
        }
    }

    /// The value under `key`; `None` if it is absent, which is reported, or wrong.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&'a Node<'a>, &'a Report) -> Option<T>,
    ) -> Option<(T, Span)> {
        let Some(node) = self.node(key) else {
            let what = format!("{} has no {key}", self.heading);
            self.report(self.span.clone(), Problem::new(what, format!("write {key} = {example}")));
            return None;
        };
        let value = self.report.locally(|| read(node, self.report));
        value.map(|value| (value, node.span()))
    }

    /// The elements of the array under `key`, at most `count_max`; none if it is absent.
    pub fn elements(&mut self, key: &'static str, count_max: usize) -> &'a [Node<'a>] {
        let Some(node) = self.node(key) else { return &[] };
        value::elements(node, count_max, self.report).unwrap_or_default()
    }

    /// The value under `key`, which is not suggested in messages.
    pub fn unoffered(&mut self, key: &'static str) -> Option<&'a Node<'a>> {
        self.unoffered.push(key);
        self.entries?.get(key)
    }

    /// The position in the file.
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// Notes a problem.
    pub fn report(&self, span: Span, problem: Problem) {
        self.report.add(span, problem);
    }

    /// Notes a warning.
    pub fn warn(&self, span: Span, problem: Problem) {
        self.report.warn(span, problem);
    }

    /// The keys that were not requested, with their positions.
    fn unknown(&self) -> impl Iterator<Item = (&'a str, Span)> {
        let keys = self.entries.into_iter().flat_map(|entries| entries.keys());
        keys.filter(|key| {
            ![&self.known, &self.unoffered].iter().any(|keys| keys.contains(&key.get_ref().as_ref()))
        })
        .map(|key| (key.get_ref().as_ref(), key.span()))
    }

    /// Reports the keys that were not requested.
    pub fn finish(self) {
        for (key, span) in self.unknown() {
            if let Some(problem) = upcoming::key_problem(&self.heading, key) {
                self.report.locally(|| self.report(span, problem));
                continue;
            }
            let remedy = match nearest(key, self.known.iter().copied()) {
                Some(meant) => format!("write {meant:?}"),
                None => format!("remove it, or write {}", value::alternatives(&self.known)),
            };
            let problem = Problem::new(format!("unknown key {key:?} in {}", self.heading), remedy);
            self.report.locally(|| self.report(span, problem));
        }
    }

    fn node(&mut self, key: &'static str) -> Option<&'a Node<'a>> {
        self.known.push(key);
        self.entries?.get(key)
    }
}
