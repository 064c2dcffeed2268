//! The gateway's disk: it outlives crashes, and can be full.

use std::cell::Cell;
use std::io;

use gatepost_services::store::{Disk, Memory};

/// A disk in memory. While it is full, half of a record is written and the rest refused.
#[derive(Debug, Default)]
pub struct SimDisk {
    content: Memory,
    is_full: Cell<bool>,
}

impl SimDisk {
    /// Fills the disk up, or makes room again.
    pub fn set_full(&self, is_full: bool) {
        self.is_full.set(is_full);
    }

    fn refusal(&self) -> io::Result<()> {
        if self.is_full.get() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Disk for SimDisk {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.content.read(name)
    }

    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.refusal()?;
        self.content.replace(name, content)
    }

    fn append(&self, name: &str, record: &[u8]) -> io::Result<()> {
        if self.is_full.get() {
            self.content.append(name, &record[..record.len() / 2])?;
        }
        self.refusal()?;
        self.content.append(name, record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_tears_what_is_appended_and_keeps_what_is_replaced() {
        let disk = SimDisk::default();
        disk.append("journal", b"one").unwrap();
        disk.replace("file", b"old").unwrap();
        disk.set_full(true);
        assert!(disk.append("journal", b"long").is_err() && disk.replace("file", b"new").is_err());
        disk.set_full(false);
        assert_eq!(disk.read("journal").unwrap().unwrap(), b"onelo");
        assert_eq!(disk.read("file").unwrap().unwrap(), b"old");
    }
}
