//! The requests about mail over the control socket.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::error::Error;
use crate::error::sysexits::EX_UNAVAILABLE;

/// A command of `gatepost mail`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// `mail queue hold|release|delete ID`
    Queue {
        /// The action.
        action: QueueAction,
        /// A message, `12`, or one of its recipients, `12.0`.
        id: String,
    },
    /// `mail poll`
    Poll {
        /// Whether it is a dry run.
        dry_run: bool,
    },
}

/// An action on messages in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum QueueAction {
    /// They are not tried until they are released.
    Hold,
    /// They are tried at once.
    Release,
    /// They are removed without a notice.
    Delete,
}

/// The outcome of [`Request::Queue`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueChanged {
    /// The action.
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

    /// Why it was not done to the others, a line for each.
    pub fn undone(&self) -> impl Iterator<Item = String> + '_ {
        let under_way = self.under_way.iter().map(|id| format!("{id}: being sent now; try again"));
        let unreadable = "held, as its address cannot be read; delete it";
        under_way.chain(self.unreadable.iter().map(move |id| format!("{id}: {unreadable}")))
    }
}

impl fmt::Display for QueueChanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = match self.action {
            QueueAction::Hold => "held",
            QueueAction::Release => "released, and tried now",
            QueueAction::Delete => "deleted",
        };
        self.changed.iter().try_for_each(|id| writeln!(f, "{id}: {done}"))
    }
}

/// Why a command of mail has nothing to do: there is no mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Off {
    why: String,
    remedy: String,
}

impl Off {
    /// Whether, and why, there is no mail by `config`.
    pub fn by(config: &Config) -> Option<Self> {
        config.mail_off().map(|off| Self { why: off.why.to_owned(), remedy: off.remedy.to_owned() })
    }
}

/// One sentence and one exit code, whichever command finds it out.
impl From<Off> for Error {
    fn from(Off { why, remedy }: Off) -> Self {
        Self::failed("mail is off", why, remedy).with_code(EX_UNAVAILABLE)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_done_has_a_reason_of_its_own() {
        let ids = |all: &[&str]| all.iter().copied().map(str::to_owned).collect::<Vec<_>>();
        let changed = QueueChanged {
            action: QueueAction::Hold,
            changed: ids(&["1.0"]),
            under_way: ids(&["1.1"]),
            unreadable: ids(&["1.2"]),
        };
        assert_eq!((changed.to_string().as_str(), changed.is_done()), ("1.0: held\n", false));
        let expected =
            ["1.1: being sent now; try again", "1.2: held, as its address cannot be read; delete it"];
        assert_eq!(changed.undone().collect::<Vec<_>>(), expected);
    }
}
