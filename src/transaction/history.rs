//! The last versions of the configuration, with the time, the editor and the reason of each.

use std::collections::VecDeque;

use gatepost_services::clock::UnixTime;
use gatepost_services::crypto::sha256;
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

/// A version of the configuration, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number, from 1 on.
    pub number: u64,
    /// The time in seconds since 1970.
    pub at: u64,
    /// The editor; empty if unknown.
    pub who: String,
    /// The editor's reason; it may be empty.
    pub why: String,
    /// `found`, `applied`, `edited` or `rolled-back`.
    pub kind: Kind,
    /// The differences to the version before.
    pub changes: Vec<Change>,
}

/// A version of the configuration, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What is told of it.
    #[serde(flatten)]
    pub version: Version,
    /// The text; `None` if it is too long to be kept.
    pub text: Option<String>,
    /// The SHA-256 of a text that is too long, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl Entry {
    /// A version of this kind; the history numbers it.
    pub fn new(kind: Kind, at: UnixTime, text: &str, changes: Vec<Change>) -> Self {
        let is_long = text.len() > TEXT_OCTETS_MAX;
        let digest = is_long.then(|| digest(text));
        let text = (!is_long).then(|| text.to_owned());
        let version = Version { number: 0, at: at.0, who: String::new(), why: String::new(), kind, changes };
        Self { version, text, digest }
    }

    /// Whether this version has this text.
    pub fn is_of(&self, text: &str) -> bool {
        match &self.text {
            Some(own) => own == text,
            None => self.digest.as_ref().is_some_and(|own| *own == digest(text)),
        }
    }

    /// This version with its editor and the reason.
    pub fn by(self, who: &str, why: &str) -> Self {
        Self { version: Version { who: who.to_owned(), why: why.to_owned(), ..self.version }, ..self }
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

fn digest(text: &str) -> String {
    sha256(text.as_bytes()).iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The last versions, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    entries: VecDeque<Entry>,
    /// The highest number that a version has or had.
    highest: u64,
}

impl History {
    /// The history of these versions, which are in order; of many the last. No version of a number up to `highest` is
    /// added, as there may be one that cannot be read.
    pub fn new(entries: Vec<Entry>, highest: u64) -> Self {
        let excess = entries.len().saturating_sub(HISTORY_MAX);
        let highest = entries.last().map_or(0, |last| last.version.number).max(highest);
        Self { entries: entries.into_iter().skip(excess).collect(), highest }
    }

    /// Adds a version, and returns it with the next number; the oldest of too many is dropped.
    pub fn push(&mut self, mut entry: Entry) -> Entry {
        self.highest = self.highest.saturating_add(1);
        entry.version.number = self.highest;
        if self.entries.len() >= HISTORY_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(entry.clone());
        entry
    }

    /// The versions, the oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The version of this number.
    pub fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.version.number == number)
    }

    /// The last version.
    pub fn last(&self) -> Option<&Entry> {
        self.entries.back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_of_a_version_is_flat() {
        let changes = vec![Change { key: "ntp.enabled".to_owned(), text: "NTP is switched off".to_owned() }];
        let entry = Entry::new(Kind::RolledBack, UnixTime(1_700_000_000), "ntp.enabled = false\n", changes);
        let mut history = History::new(Vec::new(), 6);
        let entry = history.push(entry.by("anna", "to version 3"));
        let json = r#"{"number":7,"at":1700000000,"who":"anna","why":"to version 3","kind":"rolled-back","#
            .to_owned()
            + r#""changes":[{"key":"ntp.enabled","text":"NTP is switched off"}],"text":"ntp.enabled = false\n"}"#;
        assert_eq!(entry.encode(), sealed::seal(json.as_bytes()));
        assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        let long =
            r#"{"number":1,"at":1,"who":"","why":"","kind":"found","changes":[],"text":null,"digest":"e3"}"#;
        let decoded = Entry::decode(&sealed::seal(long.as_bytes())).expect("as it was written");
        assert_eq!((decoded.version.number, decoded.text, decoded.digest), (1, None, Some("e3".to_owned())));
    }
}
