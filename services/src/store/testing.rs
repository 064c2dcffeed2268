//! Storages with injected failures.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Memory, Storage};

/// A disk with a switch for failures: then half of a record gets written, and no file is replaced.
#[derive(Default)]
pub struct Breakable {
    memory: Memory,
    /// Whether writes fail half-way.
    pub is_broken: AtomicBool,
    /// Whether reads fail.
    pub is_unreadable: AtomicBool,
}

impl Breakable {
    fn check(&self) -> io::Result<()> {
        if self.is_broken.load(Ordering::Relaxed) { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
    }
}

impl Storage for Breakable {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        if self.is_unreadable.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Other.into());
        }
        self.memory.read(name)
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        self.memory.read_at(name, offset, len)
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        self.memory.len(name)
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        self.memory.list(name)
    }

    fn space(&self) -> io::Result<u64> {
        self.memory.space()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.memory.remove(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.check()?;
        self.memory.write(name, content)
    }

    fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        self.check()?;
        self.memory.rename(name, to)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.check()?;
        self.memory.sync(name)
    }

    fn append(&self, name: &str, record: &[u8]) -> io::Result<()> {
        if !self.is_broken.load(Ordering::Relaxed) {
            return self.memory.append(name, record);
        }
        self.memory.append(name, &record[..record.len() / 2])?;
        Err(io::ErrorKind::Other.into())
    }
}
