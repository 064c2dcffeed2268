//! A [`Storage`] that remembers its problems, for `gatepost show status`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use super::{Storage, Topic};

/// The interval at which the disk's progress is checked. A request that is pending at two checks is late.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The problem while the disk does not respond.
pub const SILENT: &str = "the disk does not answer; what has to be read or stored waits";

/// A storage with its [reported](Storage::report) problems and pending requests.
pub struct Monitored {
    disk: Arc<dyn Storage>,
    problems: Mutex<Problems>,
    asked: Mutex<Asked>,
}

/// The pending requests.
#[derive(Default)]
struct Asked {
    /// The number of the next request.
    next: u64,
    /// The numbers of those that are open.
    open: BTreeSet<u64>,
}

/// A pending request, until it is dropped.
struct Request<'a> {
    asked: &'a Mutex<Asked>,
    number: u64,
}

impl<'a> Request<'a> {
    fn begin(asked: &'a Mutex<Asked>) -> Self {
        let mut open = asked.lock().unwrap_or_else(PoisonError::into_inner);
        let number = open.next;
        open.next += 1;
        open.open.insert(number);
        Self { asked, number }
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).open.remove(&self.number);
    }
}

/// A sentence for each topic.
type Problems = BTreeMap<Topic, String>;

impl Monitored {
    /// Monitors `disk`.
    pub fn new(disk: Arc<dyn Storage>) -> Self {
        Self { disk, problems: Mutex::default(), asked: Mutex::default() }
    }

    /// Reports whenever the disk stops or resumes responding. It never returns.
    pub async fn watch(&self) {
        let mut before = None;
        loop {
            sleep(CHECK_INTERVAL).await;
            let oldest = self.oldest();
            let is_silent = oldest.is_some() && oldest == before;
            self.report(Topic::Silence, is_silent.then(|| SILENT.to_owned()));
            before = oldest;
        }
    }

    /// The number of the oldest pending request.
    fn oldest(&self) -> Option<u64> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).open.first().copied()
    }

    fn ask<T>(&self, request: impl FnOnce(&dyn Storage) -> T) -> T {
        let _open = Request::begin(&self.asked);
        request(&*self.disk)
    }

    /// The current problems, a sentence for each topic.
    pub fn problems(&self) -> Vec<String> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Problems> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for Monitored {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.ask(|disk| disk.read(name))
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        self.ask(|disk| disk.read_at(name, offset, len))
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        self.ask(|disk| disk.len(name))
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        self.ask(|disk| disk.list(name))
    }

    fn space(&self) -> io::Result<u64> {
        self.ask(|disk| disk.space())
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.ask(|disk| disk.write(name, content))
    }

    fn append(&self, name: &str, record: &[u8]) -> io::Result<()> {
        self.ask(|disk| disk.append(name, record))
    }

    fn rewrite(&self, name: &str, offset: u64, len: usize) -> io::Result<()> {
        self.ask(|disk| disk.rewrite(name, offset, len))
    }

    fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        self.ask(|disk| disk.rename(name, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.ask(|disk| disk.remove(name))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.ask(|disk| disk.sync(name))
    }

    fn replace_shared(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.ask(|disk| disk.replace_shared(name, content))
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

    fn is_silent(&self) -> bool {
        self.lock().contains_key(&Topic::Silence)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;
    use crate::store::Memory;
    use crate::wait::first_of;

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_does_not_answer_is_told_and_that_it_answers_again() {
        let (open, gate) = channel();
        let disk = Arc::new(Monitored::new(Arc::new(Memory::new())));
        let steps = async {
            let asking = {
                let disk = Arc::clone(&disk);
                thread::spawn(move || disk.ask(|_| gate.recv()))
            };
            while disk.oldest().is_none() {
                thread::yield_now();
            }
            assert!(!disk.is_silent());
            sleep(2 * CHECK_INTERVAL).await;
            sleep(Duration::from_secs(1)).await;
            // Other requests complete meanwhile, as from the page cache.
            assert!(disk.read("b").is_ok());
            assert_eq!((disk.problems(), disk.is_silent()), (vec![SILENT.to_owned()], true));
            open.send(()).unwrap();
            asking.join().unwrap().unwrap();
            sleep(CHECK_INTERVAL).await;
            assert!(disk.problems().is_empty() && !disk.is_silent());
        };
        first_of(disk.watch(), steps).await;
    }

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
