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
    /// The time for a confirmation.
    pub(super) confirm: Option<Duration>,
    /// Whether it comes from elsewhere than the candidate, which stays as it is.
    pub(super) is_beside: bool,
    /// The text that the file must have now; `None`: there is no file.
    pub(super) base: Option<String>,
    /// The new text of the file.
    pub(super) text: String,
    /// The configuration, once the change is final.
    pub(super) config: Config,
    /// The differences to the configuration in force.
    pub(super) changes: Vec<Change>,
    /// The warnings of the file.
    pub(super) warnings: Vec<String>,
}
