//! A [`Storage`] in memory, for simulations and tests.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Storage, checked_directory, checked_name, list_in, part_of};

/// Files in memory. Their content is as durable as the value itself, synced or not.
#[derive(Debug, Default)]
pub struct Memory {
    files: Mutex<Files>,
}

type Files = BTreeMap<String, Vec<u8>>;

impl Memory {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for Memory {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.files().get(checked_name(name)?).cloned())
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        Ok(self.files().get(checked_name(name)?).map(|content| part_of(content, offset, len)))
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        // A length fits into `u64`.
        Ok(self.files().get(checked_name(name)?).map(|content| content.len() as u64))
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        Ok(list_in(checked_directory(name)?, self.files().keys()))
    }

    fn space(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.files().insert(checked_name(name)?.to_owned(), content.to_vec());
        Ok(())
    }

    fn append(&self, name: &str, record: &[u8]) -> io::Result<()> {
        let mut files = self.files();
        files.entry(checked_name(name)?.to_owned()).or_default().extend_from_slice(record);
        Ok(())
    }

    fn rewrite(&self, name: &str, offset: u64, len: usize) -> io::Result<()> {
        let octets = self.read_at(name, offset, len)?.ok_or(io::ErrorKind::NotFound)?;
        if octets.len() < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        let (name, to) = (checked_name(name)?, checked_name(to)?);
        let mut files = self.files();
        let content = files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files().remove(checked_name(name)?);
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        checked_name(name).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_every_disk_must() {
        crate::store::tests::keeps_its_promises(&Memory::new());
    }
}
