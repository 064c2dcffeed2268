//! What a running gateway does with mail when it is told to over its control socket.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A command of `gatepost mail`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// `mail queue hold|release|delete ID`
    Queue {
        /// What is done.
        action: QueueAction,
        /// A message, `12`, or one of its recipients, `12.0`.
        id: String,
    },
    /// `mail poll`
    Poll {
        /// Whether it is only told what would be done.
        dry_run: bool,
    },
}

/// What is done to messages in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum QueueAction {
    /// They are not tried until they are released.
    Hold,
    /// They are tried at once.
    Release,
    /// They are removed, and nobody is told.
    Delete,
}

/// What came of [`Request::Queue`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueChanged {
    /// What was to be done.
    pub action: QueueAction,
    /// The entries to which it was done.
    pub changed: Vec<String>,
    /// Those to which it was not done, as they are being sent now.
    pub under_way: Vec<String>,
    /// Those to which it was not done, as their address cannot be read; they stay held.
    pub unreadable: Vec<String>,
}

impl QueueChanged {
    /// Whether it was done to all that were meant.
    pub fn is_done(&self) -> bool {
        self.under_way.is_empty() && self.unreadable.is_empty()
    }
}

impl fmt::Display for QueueChanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = match self.action {
            QueueAction::Hold => "held",
            QueueAction::Release => "released, and tried now",
            QueueAction::Delete => "deleted",
        };
        self.changed.iter().try_for_each(|id| writeln!(f, "{id}: {done}"))?;
        self.under_way.iter().try_for_each(|id| writeln!(f, "{id}: being sent now; try again"))?;
        let unreadable = "held, as its address cannot be read; delete it";
        self.unreadable.iter().try_for_each(|id| writeln!(f, "{id}: {unreadable}"))
    }
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The reason.
    pub why: String,
    /// What to do.
    pub remedy: String,
}
