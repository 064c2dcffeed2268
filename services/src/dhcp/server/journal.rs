//! Leases on disk: a journal with one JSON object a line.
//!
//! Each line is the whole state of one address; the last line about an address counts. Lines are
//! appended, and durable, before anybody is told. Once the journal has grown past
//! [`JOURNAL_SLACK_RECORDS`] lines that no longer count, the next write replaces it by what counts.
//!
//! A power cut can leave a part of the last line: that lease was never promised to anybody, and the part
//! is cut off by the next write. A write that failed may leave one too, so the next write replaces the
//! whole file. Anything else that cannot be read is an error: guessing would lease an address twice.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::store::Disk;

/// The journal's file.
pub const JOURNAL_FILE: &str = "dhcp-leases.jsonl";

/// How many superseded lines the journal may hold.
pub const JOURNAL_SLACK_RECORDS: usize = 4096;

/// Why the leases cannot be read back.
#[derive(Debug)]
pub enum LoadError {
    /// The disk refused.
    Disk(io::Error),
    /// A line is not a lease.
    Record {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => write!(f, "{JOURNAL_FILE} cannot be read: {error}"),
            Self::Record { line, reason } => write!(
                f,
                "{JOURNAL_FILE}, line {line}, is not a lease: {reason}; correct the line, or remove the file \
                 to forget all leases"
            ),
        }
    }
}

impl std::error::Error for LoadError {}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub address: Ipv4Addr,
    pub client: String,
    pub mac: String,
    pub hostname: Option<String>,
    pub state: State,
    /// Unix seconds.
    pub since: u64,
    /// Unix seconds.
    pub until: u64,
}

/// What was last heard about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Leased to a client, until then.
    Bound,
    /// Given back by its client; kept so that the client gets it again if nobody else needs it.
    Released,
    /// Found in use by somebody else; given to nobody until then.
    Declined,
}

pub(super) struct Journal {
    disk: Rc<dyn Disk>,
    records: usize,
    must_replace: bool,
}

impl Journal {
    /// Reads the journal: the records in the order in which they were written.
    pub fn open(disk: Rc<dyn Disk>) -> Result<(Self, Vec<Record>), LoadError> {
        let content = disk.read(JOURNAL_FILE).map_err(LoadError::Disk)?.unwrap_or_default();
        let mut journal = Self { disk, records: 0, must_replace: false };
        let mut records = Vec::new();
        let mut lines = content.split_inclusive(|byte| *byte == b'\n').enumerate().peekable();
        while let Some((index, line)) = lines.next() {
            let error = match serde_json::from_slice(line) {
                Ok(record) if line.ends_with(b"\n") => {
                    records.push(record);
                    continue;
                }
                Ok(_) => None,
                Err(error) => Some(error),
            };
            // Blocks of a torn write may reach the disk in any order, so the newline proves nothing. What
            // reads as JSON was not torn.
            let is_torn = !line.ends_with(b"\n") || error.as_ref().is_some_and(|error| !error.is_data());
            if lines.peek().is_some() || !is_torn {
                let reason = error.map_or_else(String::new, |error| error.to_string());
                return Err(LoadError::Record { line: index + 1, reason });
            }
            tracing::warn!(line = index + 1, "cut off a lease that was not written completely");
            journal.must_replace = true;
        }
        journal.records = records.len();
        Ok((journal, records))
    }

    /// Makes `changes` durable; `all` is what counts with them, as many records as `live`.
    ///
    /// After an error some, all or none of the changes may be on disk.
    pub fn write<'a>(
        &mut self,
        changes: &[Record],
        live: usize,
        all: impl Iterator<Item = Record> + 'a,
    ) -> io::Result<()> {
        if self.must_replace || self.records + changes.len() > live + JOURNAL_SLACK_RECORDS {
            self.must_replace = true;
            let (content, records) = lines(all)?;
            self.disk.replace(JOURNAL_FILE, &content)?;
            self.must_replace = false;
            self.records = records;
        } else {
            let (content, records) = lines(changes.iter().cloned())?;
            self.must_replace = true;
            self.disk.append(JOURNAL_FILE, &content)?;
            self.must_replace = false;
            self.records += records;
        }
        Ok(())
    }
}

fn lines(records: impl Iterator<Item = Record>) -> io::Result<(Vec<u8>, usize)> {
    let mut content = Vec::new();
    let mut count = 0;
    for record in records {
        serde_json::to_writer(&mut content, &record)?;
        content.push(b'\n');
        count += 1;
    }
    Ok((content, count))
}
