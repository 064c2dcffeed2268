//! The answers to editors: their keys in JSON, and their text for people.

use std::fmt;

use gatepost_services::mail::transfer::date;
use gatepost_services::words::counted;
use serde::{Deserialize, Serialize};

use super::history::{Kind, Version};
use crate::config::change::Change;

/// The answer to `set`, `unset` and `discard`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// What was noted.
    pub done: String,
    /// The number of edits that wait to be applied.
    pub pending: usize,
    /// What others have changed since the editor looked last.
    pub others: Vec<String>,
    /// Why the candidate cannot be applied as it is.
    pub mistakes: Vec<String>,
}

impl fmt::Display for Edited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; {}", self.done, counted(self.pending, "change waits", "changes wait"))?;
        self.others.iter().try_for_each(|other| writeln!(f, "since you looked last: {other}"))?;
        self.mistakes.iter().try_for_each(|mistake| writeln!(f, "not complete yet: {mistake}"))
    }
}

/// An edit that waits to be applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The setting.
    pub key: String,
    /// Its new value in TOML; `null` removes it.
    pub value: Option<String>,
    /// The editor.
    pub who: String,
}

/// The answer to `diff`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// The differences of the candidate to the configuration in force.
    pub changes: Vec<Change>,
    /// The edits of which the candidate consists.
    pub pending: Vec<Pending>,
    /// The edits whose settings have changed in the file meanwhile.
    pub conflicts: Vec<String>,
    /// Why the candidate cannot be applied as it is.
    pub mistakes: Vec<String>,
    /// What others have changed since the editor looked last.
    pub others: Vec<String>,
    /// The change that waits for its confirmation.
    pub window: Option<Window>,
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(window) = &self.window {
            return window.fmt(f);
        }
        self.others.iter().try_for_each(|other| writeln!(f, "since you looked last: {other}"))?;
        self.changes.iter().try_for_each(|change| writeln!(f, "{change}"))?;
        self.conflicts.iter().try_for_each(|conflict| writeln!(f, "conflict: {conflict}"))?;
        self.mistakes.iter().try_for_each(|mistake| writeln!(f, "mistake: {mistake}"))?;
        match (self.pending.is_empty(), self.changes.is_empty() && self.conflicts.is_empty()) {
            (true, true) => writeln!(f, "no change waits to be applied"),
            (false, true) if self.mistakes.is_empty() => {
                writeln!(f, "nothing but comments and layout changes")
            }
            _ => Ok(()),
        }
    }
}

/// A change that is in force and waits for its confirmation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The seconds until it is rolled back.
    pub remaining_secs: u64,
    /// The editor.
    pub who: String,
    /// The editor's reason; it may be empty.
    pub why: String,
    /// The differences to the configuration that was confirmed last.
    pub changes: Vec<Change>,
    /// Why the roll back that is due has not succeeded yet; it is tried again.
    pub problem: Option<String>,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.why.is_empty() { String::new() } else { format!(" ({})", self.why) };
        write!(f, "a change of {}{why} ", self.who)?;
        match &self.problem {
            Some(problem) => writeln!(f, "cannot be rolled back yet: {problem}")?,
            None => writeln!(f, "is rolled back in {} s unless it is confirmed", self.remaining_secs)?,
        }
        self.changes.iter().try_for_each(|change| writeln!(f, "  {change}"))
    }
}

/// The answer to `apply`, `confirm` and `rollback`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The file.
    pub file: String,
    /// The number of the version in the history; `null` within a window, and when a window has ended without
    /// confirmation.
    pub version: Option<u64>,
    /// The differences to what was in force before.
    pub changes: Vec<Change>,
    /// The seconds within which it must be confirmed; `null` if it is final.
    pub confirm_within_secs: Option<u64>,
    /// The warnings of the file, and what has not succeeded beside the change.
    pub warnings: Vec<String>,
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|change| writeln!(f, "{change}"))?;
        self.warnings.iter().try_for_each(|warning| writeln!(f, "{warning}"))?;
        match (self.confirm_within_secs, self.version) {
            (Some(secs), _) => {
                writeln!(
                    f,
                    "in force for {secs} s; `gatepost confirm` keeps it, `gatepost rollback` ends it at once"
                )
            }
            (None, Some(version)) => writeln!(f, "in force as version {version}, and in {}", self.file),
            (None, None) => writeln!(f, "rolled back; {} was not changed", self.file),
        }
    }
}

/// The answer to `history`: the versions, the latest first, with times in UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The versions.
    pub versions: Vec<Version>,
    /// What is wrong with the stored history.
    pub problems: Vec<String>,
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Version { number, at, who, why, kind, changes } in &self.versions {
            let what = match kind {
                Kind::Found => "the file as it was found",
                Kind::Applied => "applied",
                Kind::Edited => "the file was edited",
                Kind::RolledBack => "rolled back",
            };
            let why = if why.is_empty() { String::new() } else { format!(": {why}") };
            let who = if who.is_empty() { "somebody" } else { who };
            writeln!(f, "{number:>4}  {}  {who}: {what}{why}", date::write(*at))?;
            changes.iter().try_for_each(|change| writeln!(f, "      {change}"))?;
        }
        self.problems.iter().try_for_each(|problem| writeln!(f, "problem: {problem}"))
    }
}
