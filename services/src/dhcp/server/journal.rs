//! Leases on disk: a journal with one change a line.
//!
//! A change is a JSON array with the whole new state of each address concerned: a client that moves
//! changes two. The last state of an address counts. Lines are appended, and durable, before anybody is
//! told. Once the journal has grown past [`JOURNAL_SLACK_RECORDS`] states that no longer count, the next
//! write replaces it by what counts.
//!
//! A power cut can leave a part of the last line: that change was never promised to anybody, and the part
//! is cut off by the next write. A write that failed may leave one too, and a sync that failed may have lost
//! anything that it was for, so the next write replaces the whole file; so does the first of a process, for
//! what it has read may be what the one before could not sync. Anything else that cannot be read is an error:
//! guessing would lease an address twice.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::store::Disk;

/// The journal's file.
pub const JOURNAL_FILE: &str = "dhcp-leases.jsonl";

/// How many superseded states the journal may hold.
pub const JOURNAL_SLACK_RECORDS: usize = 4096;

/// Why the leases cannot be read back.
#[derive(Debug)]
pub enum LoadError {
    /// The disk refused.
    Disk(io::Error),
    /// A line is not a change of leases.
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
                "{JOURNAL_FILE}, line {line}, cannot be understood: {reason}; correct the line, or remove the \
                 file to forget all leases"
            ),
        }
    }
}

impl std::error::Error for LoadError {}

/// The state of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub address: Ipv4Addr,
    pub client: String,
    pub mac: String,
    /// The source of the client's frame, if that is not `mac`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
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
    /// Reads the journal: the records, each with its line, in the order in which they were written.
    pub fn open(disk: Rc<dyn Disk>) -> Result<(Self, Vec<(usize, Record)>), LoadError> {
        let content = disk.read(JOURNAL_FILE).map_err(LoadError::Disk)?.unwrap_or_default();
        let mut records = Vec::new();
        let mut is_torn = false;
        let mut lines = (1..).zip(content.split_inclusive(|byte| *byte == b'\n')).peekable();
        while let Some((line, bytes)) = lines.next() {
            let is_last = lines.peek().is_none();
            match serde_json::from_slice::<Vec<Record>>(bytes) {
                _ if !bytes.ends_with(b"\n") => is_torn = true,
                Ok(change) => records.extend(change.into_iter().map(|record| (line, record))),
                // Blocks of a torn line may reach the disk in any order: its newline proves nothing. But
                // what is JSON was not torn.
                Err(error) if is_last && !error.is_data() => is_torn = true,
                Err(error) => return Err(LoadError::Record { line, reason: error.to_string() }),
            }
        }
        if is_torn {
            tracing::warn!("cut off a change of leases that was not written completely");
        }
        let journal = Self { disk, records: records.len(), must_replace: true };
        Ok((journal, records))
    }

    /// Makes a change durable; `all` is what counts with it, as many records as `live`.
    ///
    /// After an error the change may be on disk, or a part of it, until the next write.
    pub fn write(
        &mut self,
        change: &[Record],
        live: usize,
        all: impl Iterator<Item = Record>,
    ) -> io::Result<()> {
        let replaces = self.must_replace || self.records + change.len() > live + JOURNAL_SLACK_RECORDS;
        self.must_replace = true;
        if replaces {
            let mut content = Vec::new();
            for record in all {
                write_line(&mut content, &[record])?;
            }
            self.disk.replace(JOURNAL_FILE, &content)?;
            self.records = live;
        } else {
            let mut line = Vec::new();
            write_line(&mut line, change)?;
            self.disk.append(JOURNAL_FILE, &line)?;
            self.disk.sync(JOURNAL_FILE)?;
            self.records += change.len();
        }
        self.must_replace = false;
        Ok(())
    }
}

fn write_line(content: &mut Vec<u8>, change: &[Record]) -> io::Result<()> {
    serde_json::to_writer(&mut *content, change)?;
    content.push(b'\n');
    Ok(())
}
