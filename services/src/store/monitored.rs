//! A [`Storage`] that remembers what is wrong with what it holds, for `gatepost show status`.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Storage, Topic};

/// Another storage, and what was [reported](Storage::report) of it.
pub struct Monitored {
    disk: Arc<dyn Storage>,
    problems: Mutex<Problems>,
}

/// A sentence for each topic.
type Problems = BTreeMap<Topic, String>;

impl Monitored {
    /// Monitors `disk`.
    pub fn new(disk: Arc<dyn Storage>) -> Self {
        Self { disk, problems: Mutex::default() }
    }

    /// What is wrong now, a sentence for each topic.
    pub fn problems(&self) -> Vec<String> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Problems> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for Monitored {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.disk.read(name)
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        self.disk.read_at(name, offset, len)
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        self.disk.len(name)
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        self.disk.list(name)
    }

    fn space(&self) -> io::Result<u64> {
        self.disk.space()
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.disk.write(name, content)
    }

    fn append(&self, name: &str, record: &[u8]) -> io::Result<()> {
        self.disk.append(name, record)
    }

    fn rewrite(&self, name: &str, offset: u64, len: usize) -> io::Result<()> {
        self.disk.rewrite(name, offset, len)
    }

    fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        self.disk.rename(name, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.disk.sync(name)
    }

    fn report(&self, topic: Topic, problem: Option<String>) {
        let mut problems = self.lock();
        match problem {
            Some(problem) if problems.get(&topic) != Some(&problem) => {
                tracing::warn!("{problem}");
                problems.insert(topic, problem);
            }
            None if problems.remove(&topic).is_some() => tracing::info!("{} again", topic.when_well()),
            Some(_) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;

    #[test]
    fn it_keeps_what_every_disk_must_and_remembers_problems() {
        let disk = Monitored::new(Arc::new(Memory::new()));
        crate::store::tests::keeps_its_promises(&disk);
        disk.report(Topic::LeasesDamaged, Some("one".to_owned()));
        disk.report(Topic::LeasesNotKept, Some("two".to_owned()));
        disk.report(Topic::LeasesNotKept, Some("three".to_owned()));
        assert_eq!(disk.problems(), ["one", "three"]);
        disk.report(Topic::LeasesNotKept, None);
        assert_eq!(disk.problems(), ["one"]);
    }

    #[test]
    fn what_is_damaged_is_set_aside_once_and_under_a_name_of_its_own() {
        let disk = Memory::new();
        assert_eq!(disk.set_aside("file", b"one").unwrap(), "file.damaged");
        assert_eq!(disk.set_aside("file", b"one").unwrap(), "file.damaged");
        assert_eq!(disk.set_aside("file", b"two").unwrap(), "file.damaged-2");
        assert_eq!(disk.read("file.damaged").unwrap().unwrap(), b"one");
        for number in 3..=crate::store::DAMAGED_MAX {
            disk.set_aside("file", &[u8::try_from(number).unwrap()]).unwrap();
        }
        assert_eq!(disk.set_aside("file", b"more").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
