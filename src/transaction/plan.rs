//! A change that is about to be applied.

use std::time::Duration;

use super::Editor;
use super::history::Kind;
use crate::config::Config;
use crate::config::change::Change;

/// How a change is applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The time for a confirmation; `None`: the change is final.
    pub confirm: Option<Duration>,
    /// The reason, for the history.
    pub why: String,
}

/// A change that is about to be applied.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) kind: Kind,
    pub(super) by: Editor,
    pub(super) why: String,
    pub(super) confirm: Option<Duration>,
    /// The text of the file, on which the change is based.
    pub(super) base: Option<String>,
    pub(super) text: String,
    pub(super) config: Config,
    pub(super) changes: Vec<Change>,
    pub(super) warnings: Vec<String>,
}

impl Plan {
    /// The new text of the file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text that the file must have now; `None`: there is no file.
    pub fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    /// The configuration, once the change is final.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The time for a confirmation.
    pub fn confirm(&self) -> Option<Duration> {
        self.confirm
    }

    /// The differences to the configuration in force.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The warnings of the file.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
