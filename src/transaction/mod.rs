//! The configuration as a transaction: a candidate, its difference in words, its application with or without a deadline
//! for the confirmation, and the history.
//!
//! ```text
//!              set, unset                apply --confirm               confirm
//!   the file ──────────────▶ candidate ──────────────────▶ window ─────────────────▶ the file, history
//!       ▲                        ▲                           │  deadline, rollback
//!       │        apply           └───────────────────────────┘  (what was in force before is again)
//!       └──── (at once) ◀──────── candidate
//! ```
//!
//! The file is the truth. The candidate is a list of edits against its text, so that a change of the file by hand in
//! the meantime is merged, or told as a conflict if it concerns the same setting. The file on disk changes only when a
//! change is final: an end of the process within a window, also by a power cut, leaves the configuration that was
//! confirmed last.
//!
//! `Transaction` is a state machine without I/O, with time as an argument. [`Keeper`] drives it: it reads and writes
//! the [`ConfigFile`], has the gateway take a configuration by [`Takes`], keeps the deadline, and stores the history in
//! an [`Archive`]. Every request names its editor: the second of two is told what the first has changed.

mod archive;
mod candidate;
mod draft;
mod gate;
mod history;
mod keeper;
mod plan;
mod report;
mod seen;
mod state;

use std::io;
use std::time::Duration;

use gatepost_services::service::LocalFuture;

use crate::config::Config;
use crate::error::Error;

pub use archive::{Archive, DIRECTORY, damage};
pub use candidate::{Candidate, EDITS_MAX};
pub use draft::{Batch, Draft, Editing, Mistake, Noted, Unnoted};
pub use gate::Gate;
pub use history::{Entry, HISTORY_MAX, Kind, TEXT_OCTETS_MAX, Version};
pub use keeper::{Keeper, STAYS_FOR};
pub use plan::Request;
pub use report::{Applied, Diff, Edited, Pending, Versions, Window};
pub use seen::{CHANGES_SEEN_MAX, EDITORS_MAX};

/// The shortest and the longest time for a confirmation.
pub const CONFIRM_WITHIN: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(86_400);

/// The longest reason for a change, in octets.
pub const WHY_OCTETS_MAX: usize = 500;

/// Who edits the configuration: what is told to others and kept in the history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Editor {
    name: String,
}

impl Editor {
    /// The longest name, in characters.
    pub const NAME_CHARS_MAX: usize = 64;

    /// The editor of this name, which is cut and printable.
    pub fn new(name: &str) -> Self {
        let printable = |c: char| if c.is_control() { '?' } else { c };
        Self { name: name.chars().take(Self::NAME_CHARS_MAX).map(printable).collect() }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The file of the configuration.
pub trait ConfigFile {
    /// Its name: relative paths in the configuration start at its folder.
    fn name(&self) -> String;

    /// Its text; `None` if it does not exist and need not.
    ///
    /// # Errors
    ///
    /// It cannot be read as text.
    fn read(&self) -> LocalFuture<'_, io::Result<Option<String>>>;

    /// Writes `text` durably beside the file, in place of what was written so before. The file is as before. If the
    /// future is dropped, nothing is staged, even if the disk answers later.
    ///
    /// # Errors
    ///
    /// An error of the file system, such as a full disk. Nothing stays beside the file.
    fn stage(&self, text: String) -> LocalFuture<'_, io::Result<()>>;

    /// Puts what is staged in the place of the file, if the file still has the text `former` and `gate` is open;
    /// atomically. Passes the gate just before. Returns why the new file may be lost at a power cut; `None` if it
    /// is durable.
    ///
    /// # Errors
    ///
    /// Why the file is as before. Nothing is staged then.
    fn put(&self, former: Option<String>, gate: Gate)
    -> LocalFuture<'_, Result<Option<io::Error>, PutError>>;

    /// Removes what is staged.
    fn forget(&self) -> LocalFuture<'_, ()>;
}

/// Why a staged text was not put in the place of the file.
#[derive(Debug)]
pub enum PutError {
    /// The file has another text now.
    Edited,
    /// The gate was closed.
    Late,
    /// An error of the file system.
    Io(io::Error),
}

impl From<io::Error> for PutError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The gateway that has a configuration in force.
pub trait Takes {
    /// Checks that `new` can follow `old` while the gateway runs.
    ///
    /// # Errors
    ///
    /// What needs a restart.
    fn check(&self, old: &Config, new: &Config) -> Result<(), Error>;

    /// Puts `config` in force.
    ///
    /// # Errors
    ///
    /// Why nothing has changed.
    fn take(&self, config: Config) -> LocalFuture<'_, Result<(), Error>>;
}

#[cfg(test)]
pub(crate) mod tests;
