//! The journal of leases on disk, with one change on a line.
//!
//! A change is a JSON array with the new state of each address concerned, [sealed](crate::store::sealed) by a checksum:
//! a client that moves changes two. The last state of an address is valid. Pending lines are appended together, and are
//! durable before clients are answered. Once the journal has more than [`JOURNAL_SLACK_RECORDS`] superseded states, the
//! next write replaces the file without these.
//!
//! A power cut can leave a part of the last line: no client was promised that change, and the next write cuts the part
//! off. A failed write may leave one too, and a failed sync may have lost any part of its data, so the next write
//! replaces the whole file; so does the first write of a process, which may have read data that its predecessor could
//! not sync.
//!
//! Any other line that cannot be read is damaged. The other lines stay valid, and before any write a copy of the file
//! is set aside; until that succeeds there is no write. A journal that cannot be read at all is not written to.
//!
//! On a full disk known clients still renew: a reserve [file](RESERVE_FILE) is removed then. It has room to set the
//! journal aside and to rewrite it, and grows with it. Until there is room for the reserve again, changes of other
//! clients are rejected; this is tried once in [`RETRY_INTERVAL`].

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use gatepost_ground::Instant;
use serde::{Deserialize, Serialize};

use super::leases::RETRY_INTERVAL;
use crate::store::{Storage, Topic, sealed};

/// The journal's file.
pub const JOURNAL_FILE: &str = "dhcp-leases.jsonl";

/// The most superseded states in the journal.
pub const JOURNAL_SLACK_RECORDS: usize = 4096;

/// The file that is removed on a full disk.
pub const RESERVE_FILE: &str = "dhcp-reserve";

/// Its least length: room for the leases of some 150 clients, twice.
pub const RESERVE_LEN_MIN: usize = 128 << 10;

/// The room in the reserve beyond twice the journal.
const RESERVE_SLACK: usize = 64 << 10;

/// The most damaged lines that are logged one by one.
const DAMAGES_LOGGED_MAX: usize = 3;

/// A damaged line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The line, from 1.
    pub line: usize,
    /// The damage.
    pub reason: String,
    /// The addresses that can be read in it, whose known state may be out of date.
    pub(super) addresses: Vec<Ipv4Addr>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// The state of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub address: Ipv4Addr,
    pub client: String,
    pub mac: String,
    /// The source of the client's frame, if it differs from `mac`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    pub hostname: Option<String>,
    pub state: State,
    /// Unix seconds.
    pub since: u64,
    /// Unix seconds.
    pub until: u64,
}

/// The last event of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Leased to a client, until then.
    Bound,
    /// Released by its client, which gets it again unless another client needs it.
    Released,
    /// Found in use by another host; quarantined until then.
    Declined,
}

/// The priority of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Priority {
    /// A renewal by a known client, which may use the reserve.
    Known,
    /// Any other change.
    Others,
}

/// The content of a journal.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// The records in the order in which they were written, each with the octets of its line.
    pub changes: Vec<(Line, Vec<Record>)>,
    /// The lines that cannot be read.
    pub damages: Vec<Damage>,
    is_torn: bool,
}

/// A line of the journal.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// From 1.
    pub number: usize,
    octets: Vec<u8>,
}

impl Line {
    /// The damage of this line with its reason.
    pub fn damage(&self, reason: String) -> Damage {
        let text = String::from_utf8_lossy(&self.octets);
        let addresses = text.split('"').filter_map(|word| word.parse().ok()).collect();
        Damage { line: self.number, reason, addresses }
    }
}

impl Content {
    /// Reads the octets of a journal.
    pub fn parse(octets: &[u8]) -> Self {
        let mut content = Self::default();
        let mut lines = (1..).zip(octets.split_inclusive(|byte| *byte == b'\n')).peekable();
        while let Some((number, bytes)) = lines.next() {
            let is_last = lines.peek().is_none();
            if !bytes.ends_with(b"\n") {
                content.is_torn = true;
                continue;
            }
            let line = Line { number, octets: bytes.to_vec() };
            match read_line(bytes) {
                Ok(change) => content.changes.push((line, change)),
                Err(LineError::Torn) if is_last => content.is_torn = true,
                Err(LineError::Torn) => content.damages.push(line.damage("it is no record".to_owned())),
                Err(LineError::Damaged(reason)) => content.damages.push(line.damage(reason)),
            }
        }
        content
    }
}

enum LineError {
    /// A last line that a power cut may have cut.
    Torn,
    Damaged(String),
}

fn read_line(line: &[u8]) -> Result<Vec<Record>, LineError> {
    // Blocks of a torn line may reach the disk in any order, so its newline proves nothing. Missing blocks are zeros. A
    // whole line without zeros can be torn only in the format without checksums.
    let has_zeros = line.contains(&0);
    let payload = match sealed::unseal(line) {
        Ok(payload) => payload,
        Err(_) if has_zeros => return Err(LineError::Torn),
        Err(damage) => return Err(LineError::Damaged(damage.to_string())),
    };
    serde_json::from_slice(payload).map_err(|error| {
        let is_torn = !sealed::is_sealed(line) && !error.is_data() && (has_zeros || line.starts_with(b"["));
        if is_torn { LineError::Torn } else { LineError::Damaged(error.to_string()) }
    })
}

/// Changes that are made durable together.
pub(super) struct Batch {
    pub now: Instant,
    pub whose: Priority,
    /// The changes, each with the addresses that change together.
    pub changes: Vec<Vec<Record>>,
    /// All valid states with the changes, if they are to replace the journal.
    pub all: Option<Vec<Record>>,
    /// Whether the reserve is released for it.
    pub from_reserve: bool,
}

/// The outcome of a batch.
pub(super) enum Written {
    /// It is on disk, or the disk has failed.
    Completion(io::Result<()>),
    /// It has to be retried with all valid states.
    OnceMore {
        /// Whether the reserve has to be released for it.
        from_reserve: bool,
    },
}

enum WriteError {
    Refused(io::Error),
    OnceMore { from_reserve: bool },
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Refused(error)
    }
}

pub(super) struct Journal {
    disk: Arc<dyn Storage>,
    records: usize,
    /// The file's length in octets.
    len: usize,
    must_replace: bool,
    /// Damaged content, until a copy of it is set aside.
    to_set_aside: Option<ToSetAside>,
    /// The octets of the reserve; zero if it was released.
    reserve_len: usize,
    /// When a change of unknown clients is tried again; `None` while the disk has room.
    others_wait: Option<Instant>,
}

struct ToSetAside {
    octets: Vec<u8>,
    /// The description of the damage.
    told: String,
}

impl Journal {
    /// Reads the journal on `disk`.
    ///
    /// # Errors
    ///
    /// An error of the disk.
    pub fn open(disk: Arc<dyn Storage>) -> io::Result<(Self, Content)> {
        let octets = disk.read(JOURNAL_FILE)?.unwrap_or_default();
        let content = Content::parse(&octets);
        if content.is_torn {
            tracing::warn!("cut off a change of leases that was not written completely");
        }
        let reserve_len = disk.read(RESERVE_FILE).ok().flatten().map_or(0, |reserve| reserve.len());
        let journal = Self {
            disk,
            records: content.changes.iter().map(|(_, change)| change.len()).sum(),
            len: octets.len(),
            must_replace: true,
            to_set_aside: Some(ToSetAside { octets, told: String::new() }),
            reserve_len,
            others_wait: None,
        };
        Ok((journal, content))
    }

    /// Logs the damage of the journal, and sets a copy of it aside.
    pub fn settle(&mut self, damages: &[Damage]) {
        if damages.is_empty() {
            self.to_set_aside = None;
            return;
        }
        let told: Vec<_> = damages.iter().take(DAMAGES_LOGGED_MAX).map(Damage::to_string).collect();
        let more = if damages.len() > told.len() { ", and more" } else { "" };
        let told = told.join("; ") + more;
        if let Some(to_set_aside) = &mut self.to_set_aside {
            to_set_aside.told.clone_from(&told);
        }
        if let Err(error) = self.set_aside() {
            self.report_damage(&told, &format!("none, and nothing is written: {error}"));
        }
    }

    /// Stores a copy of a damaged journal, if that is still to be done, and logs its name.
    fn set_aside(&mut self) -> io::Result<()> {
        let Some(ToSetAside { octets, told }) = &self.to_set_aside else { return Ok(()) };
        let copy = self.disk.set_aside(JOURNAL_FILE, octets)?;
        self.report_damage(told, &copy);
        self.to_set_aside = None;
        Ok(())
    }

    fn report_damage(&self, told: &str, copy: &str) {
        let problem = format!(
            "{JOURNAL_FILE} is damaged: {told}; leases in these lines are forgotten; the copy: {copy}"
        );
        self.disk.report(Topic::LeasesDamaged, Some(problem));
    }

    /// The number of states in the file, including superseded ones.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Whether the next write has to replace the file.
    pub fn must_replace(&self) -> bool {
        self.must_replace
    }

    /// Makes the changes of `batch` durable.
    ///
    /// After an error all, some or none of the changes may be on disk, until the next write.
    pub fn write(&mut self, batch: &Batch) -> Written {
        let written = match self.try_write(batch) {
            Ok(()) => Ok(()),
            Err(WriteError::Refused(error)) => Err(error),
            Err(WriteError::OnceMore { from_reserve }) => return Written::OnceMore { from_reserve },
        };
        let problem = written.as_ref().err().map(|error| {
            format!(
                "{JOURNAL_FILE} cannot be written: {error}; DHCP clients keep the leases that they have, and others \
                 get none; see to the disk of system.state_dir"
            )
        });
        self.disk.report(Topic::LeasesNotKept, problem);
        Written::Completion(written)
    }

    fn try_write(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let Batch { now, whose, from_reserve, .. } = *batch;
        if self.must_replace && batch.all.is_none() {
            return Err(WriteError::OnceMore { from_reserve });
        }
        let is_waiting = self.others_wait.is_some_and(|due| now < due);
        if from_reserve {
            self.give_up_reserve();
        } else if whose == Priority::Others && is_waiting {
            let error = io::Error::new(io::ErrorKind::StorageFull, "the disk was full a moment ago");
            return Err(error.into());
        } else if whose == Priority::Others && self.others_wait.is_some() {
            self.try_to_keep_reserve(now)?;
        }
        if let Err(error) = self.append_or_replace(batch) {
            if is_full(&error) {
                self.others_wait.get_or_insert(now + RETRY_INTERVAL);
                if whose == Priority::Known && self.reserve_len > 0 {
                    return Err(WriteError::OnceMore { from_reserve: true });
                }
            }
            return Err(error.into());
        }
        if self.others_wait.is_none_or(|due| due <= now)
            && let Err(error) = self.try_to_keep_reserve(now)
        {
            tracing::warn!(%error, "no room is reserved for the renewal of leases");
        }
        Ok(())
    }

    /// Grows the reserve to what the journal needs; while there is no room for it, changes of unknown clients wait.
    fn try_to_keep_reserve(&mut self, now: Instant) -> io::Result<()> {
        let kept = self.keep_reserve();
        self.others_wait = kept.is_err().then(|| now + RETRY_INTERVAL);
        kept
    }

    /// Makes the changes durable, once a damaged journal is set aside.
    fn append_or_replace(&mut self, batch: &Batch) -> io::Result<()> {
        self.set_aside()?;
        self.must_replace = true;
        let mut content = Vec::new();
        if let Some(all) = &batch.all {
            for record in all {
                content.append(&mut line(std::slice::from_ref(record))?);
            }
            self.disk.replace(JOURNAL_FILE, &content)?;
            self.records = all.len();
            self.len = content.len();
        } else {
            for change in &batch.changes {
                content.append(&mut line(change)?);
            }
            self.disk.append(JOURNAL_FILE, &content)?;
            self.disk.sync(JOURNAL_FILE)?;
            self.records += batch.changes.iter().map(Vec::len).sum::<usize>();
            self.len += content.len();
        }
        self.must_replace = false;
        Ok(())
    }

    fn keep_reserve(&mut self) -> io::Result<()> {
        let needed = (2 * self.len + RESERVE_SLACK).max(RESERVE_LEN_MIN);
        if self.reserve_len >= needed {
            return Ok(());
        }
        // Some more, so that it is rewritten rarely.
        let len = if needed > RESERVE_LEN_MIN { needed + needed / 4 } else { needed };
        let kept = self.write_reserve(len);
        if kept.is_err() && (self.reserve_len == 0 || self.write_reserve(self.reserve_len).is_err()) {
            self.give_up_reserve();
        }
        kept
    }

    fn write_reserve(&mut self, len: usize) -> io::Result<()> {
        self.disk.write(RESERVE_FILE, &vec![b'.'; len])?;
        self.disk.sync(RESERVE_FILE)?;
        self.reserve_len = len;
        Ok(())
    }

    /// Releases the reserve.
    fn give_up_reserve(&mut self) {
        if let Err(error) = self.write_reserve(0) {
            tracing::debug!(%error, "the reserve cannot be cut");
            self.reserve_len = 0;
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn line(change: &[Record]) -> io::Result<Vec<u8>> {
    Ok(sealed::seal(&serde_json::to_vec(change)?))
}
