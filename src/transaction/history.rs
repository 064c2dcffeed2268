//! The last versions of the configuration, with the time, the editor and the reason of each.

use std::collections::VecDeque;

use gatepost_services::clock::UnixTime;
use gatepost_services::store::sealed;
use serde::{Deserialize, Serialize};

use crate::config::change::Change;

/// The most versions that are kept.
pub const HISTORY_MAX: usize = 50;

/// The longest text that is kept, in octets; a longer version has an entry without its text.
pub const TEXT_OCTETS_MAX: usize = 512 << 10;

/// How a version came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The file as the gateway found it first.
    Found,
    /// A candidate was applied.
    Applied,
    /// The file was edited by hand.
    Edited,
    /// A former version was taken again.
    RolledBack,
}

/// A version of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1 on.
    pub number: u64,
    /// The time in seconds since 1970.
    pub at: u64,
    /// The editor; empty if nobody knows.
    pub who: String,
    /// The reason that the editor gave; it may be empty.
    pub why: String,
    /// How it came about.
    pub kind: Kind,
    /// The differences to the version before.
    pub changes: Vec<Change>,
    /// The text; `None` if it is too long to be kept.
    pub text: Option<String>,
}

impl Entry {
    /// A version of this kind; the history numbers it.
    pub fn new(kind: Kind, at: UnixTime, text: &str, changes: Vec<Change>) -> Self {
        let text = (text.len() <= TEXT_OCTETS_MAX).then(|| text.to_owned());
        Self { number: 0, at: at.0, who: String::new(), why: String::new(), kind, changes, text }
    }

    /// This version with its editor and the reason.
    pub fn by(self, who: &str, why: &str) -> Self {
        Self { who: who.to_owned(), why: why.to_owned(), ..self }
    }

    /// The record of the entry in its file.
    pub fn encode(&self) -> Vec<u8> {
        let payload = serde_json::to_vec(self).unwrap_or_default();
        sealed::seal(&payload)
    }

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// How it is damaged.
    pub fn decode(record: &[u8]) -> Result<Self, String> {
        if !sealed::is_sealed(record) {
            return Err("it is no version of the configuration".to_owned());
        }
        let payload = sealed::unseal(record).map_err(|damage| damage.to_string())?;
        serde_json::from_slice(payload).map_err(|error| format!("it cannot be read: {error}"))
    }
}

/// The last versions, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    entries: VecDeque<Entry>,
}

impl History {
    /// The history of these versions, which are in order; of many the last.
    pub fn new(entries: Vec<Entry>) -> Self {
        let excess = entries.len().saturating_sub(HISTORY_MAX);
        Self { entries: entries.into_iter().skip(excess).collect() }
    }

    /// Adds a version with the next number, which is returned; the oldest of too many is dropped.
    pub fn push(&mut self, entry: Entry) -> u64 {
        let number = self.entries.back().map_or(1, |last| last.number.saturating_add(1));
        if self.entries.len() >= HISTORY_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { number, ..entry });
        number
    }

    /// The versions, the oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The version of this number.
    pub fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.number == number)
    }

    /// The last version.
    pub fn last(&self) -> Option<&Entry> {
        self.entries.back()
    }
}
