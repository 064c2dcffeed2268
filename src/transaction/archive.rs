//! The stored history: a file for each version under the state directory.

use std::io;

use gatepost_services::store::Disk;
use tracing::warn;

use super::history::{Entry, HISTORY_MAX, History};

/// The directory of the history in the state directory.
pub const DIRECTORY: &str = "config-history";

/// A longer file is no version: the longest text with all its octets escaped, and the changes.
const RECORD_OCTETS_MAX: u64 = 8 << 20;

/// The most files that are looked at when the history is read.
const FILES_MAX: usize = 4 * HISTORY_MAX;

/// The history on the disk.
#[derive(Clone)]
pub struct Archive {
    disk: Disk,
}

impl Archive {
    /// The history on `disk`.
    pub fn new(disk: Disk) -> Self {
        Self { disk }
    }

    /// Reads the history. Damaged versions are left out, and told.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub async fn read(&self) -> io::Result<(History, Vec<String>)> {
        let mut numbers: Vec<u64> =
            self.disk.list(DIRECTORY).await?.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        let excess = numbers.len().saturating_sub(FILES_MAX);
        let highest = numbers.last().copied().unwrap_or(0);
        let (mut entries, mut problems) = (Vec::new(), Vec::new());
        for number in numbers.into_iter().skip(excess) {
            let name = file(number);
            match self.entry(&name).await {
                Ok(Some(entry)) if entry.version.number == number => entries.push(entry),
                Ok(Some(_)) => problems.push(format!("{name}: it is the record of another version")),
                Ok(None) => {}
                Err(problem) => problems.push(format!("{name}: {problem}")),
            }
        }
        problems.iter().for_each(|problem| warn!("the history of the configuration: {problem}"));
        Ok((History::new(entries, highest), problems))
    }

    async fn entry(&self, name: &str) -> Result<Option<Entry>, String> {
        let told = |error: io::Error| format!("it cannot be read: {error}");
        match self.disk.len(name).await.map_err(told)? {
            None => return Ok(None),
            Some(len) if len > RECORD_OCTETS_MAX => return Err("it is too long".to_owned()),
            Some(_) => {}
        }
        let record = self.disk.read(name).await.map_err(told)?;
        record.map(|record| Entry::decode(&record)).transpose()
    }

    /// Stores a version durably, and removes those that are too old.
    ///
    /// # Errors
    ///
    /// The version is not stored.
    pub async fn store(&self, entry: &Entry) -> io::Result<()> {
        self.disk.replace(&file(entry.version.number), entry.encode()).await?;
        let kept = entry.version.number.saturating_sub(HISTORY_MAX as u64);
        let names = self.disk.list(DIRECTORY).await?;
        let old = names.iter().filter_map(|name| name.parse::<u64>().ok()).filter(|number| *number <= kept);
        for number in old {
            self.disk.remove(&file(number)).await?;
        }
        Ok(())
    }
}

fn file(number: u64) -> String {
    format!("{DIRECTORY}/{number:08}")
}

/// How the record of a version is damaged; `None` if it is not.
pub fn damage(record: &[u8]) -> Option<String> {
    Entry::decode(record).err()
}
