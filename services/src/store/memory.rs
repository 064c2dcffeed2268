//! A [`Disk`] in memory, for simulations and tests.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use super::{Disk, checked_name};

/// Files in memory. What is written is as durable as the value itself, synced or not.
#[derive(Debug, Default)]
pub struct Memory {
    files: RefCell<BTreeMap<String, Vec<u8>>>,
}

impl Memory {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Disk for Memory {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.files.borrow().get(checked_name(name)?).cloned())
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.files.borrow_mut().insert(checked_name(name)?.to_owned(), content.to_vec());
        Ok(())
    }

    fn append(&self, name: &str, record: &[u8]) -> io::Result<()> {
        let mut files = self.files.borrow_mut();
        files.entry(checked_name(name)?.to_owned()).or_default().extend_from_slice(record);
        Ok(())
    }

    fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        let (name, to) = (checked_name(name)?, checked_name(to)?);
        let mut files = self.files.borrow_mut();
        let content = files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), content);
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
