//! Asynchronous access to a [`Storage`], which runs off the services' thread.
//!
//! # Theory of operation
//!
//! A request joins a queue, from which the jobs of a [`Work`] take the requests that may begin. Requests on one file
//! take effect in the order in which they were made: a request begins when no earlier one on the same file is left.
//! Requests on different files may overtake each other. A request is made when its future is first polled, and is
//! carried out even if the future is dropped.
//!
//! Syncs are shared (group commit): when a sync of a file begins, it includes the appends and syncs of the file that
//! are next in the queue: first all appends, then one sync for all. So requests that come while a sync runs share the
//! next one.
//!
//! At most [`REQUESTS_MAX`] requests wait or run at a time; the caller of a further one waits.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{Storage, Topic, checked_directory, checked_name};
use crate::wait::first_of;
use crate::work::{self, JobFailed, Work};

/// The most requests that wait or run at a time.
pub const REQUESTS_MAX: usize = 256;

/// A storage and the executor of its requests. Clones share the queue.
#[derive(Clone)]
pub struct Disk {
    shared: Arc<Shared>,
    work: Rc<dyn Work>,
    places: Arc<Semaphore>,
}

struct Shared {
    storage: Arc<dyn Storage>,
    queue: Mutex<VecDeque<Request>>,
}

struct Request {
    number: u64,
    /// The files that the request reads or changes.
    names: Vec<String>,
    /// The operation, until it begins.
    act: Option<Act>,
    _place: OwnedSemaphorePermit,
}

enum Act {
    /// An append, which reports its outcome itself.
    Append(Operation),
    Other(Operation),
    Sync(oneshot::Sender<io::Result<()>>),
}

type Operation = Box<dyn FnOnce(&dyn Storage) + Send>;

impl Disk {
    /// Has requests on `storage` run by `work`.
    pub fn new(storage: Arc<dyn Storage>, work: Rc<dyn Work>) -> Self {
        let shared = Shared { storage, queue: Mutex::default() };
        Self { shared: Arc::new(shared), work, places: Arc::new(Semaphore::new(REQUESTS_MAX)) }
    }

    /// [`Storage::read`]
    ///
    /// # Errors
    ///
    /// An error of the storage.
    pub async fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = name.to_owned();
        self.operate(&[name], Act::Other, move |storage| storage.read(&file)).await
    }

    /// [`Storage::read_at`]
    ///
    /// # Errors
    ///
    /// An error of the storage.
    pub async fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        let file = name.to_owned();
        self.operate(&[name], Act::Other, move |storage| storage.read_at(&file, offset, len)).await
    }

    /// [`Storage::len`]
    ///
    /// # Errors
    ///
    /// An error of the storage.
    pub async fn len(&self, name: &str) -> io::Result<Option<u64>> {
        let file = name.to_owned();
        self.operate(&[name], Act::Other, move |storage| storage.len(&file)).await
    }

    /// [`Storage::list`]. The effect of pending requests on files may be included or not.
    ///
    /// # Errors
    ///
    /// An error of the storage.
    pub async fn list(&self, name: &str) -> io::Result<Vec<String>> {
        let directory = checked_directory(name)?.to_owned();
        self.operate(&[], Act::Other, move |storage| storage.list(&directory)).await
    }

    /// [`Storage::space`]
    ///
    /// # Errors
    ///
    /// An error of the storage.
    pub async fn space(&self) -> io::Result<u64> {
        self.operate(&[], Act::Other, |storage| storage.space()).await
    }

    /// [`Storage::write`]
    ///
    /// # Errors
    ///
    /// An error of the storage.
    pub async fn write(&self, name: &str, content: Vec<u8>) -> io::Result<()> {
        let file = name.to_owned();
        self.operate(&[name], Act::Other, move |storage| storage.write(&file, &content)).await
    }

    /// [`Storage::append`]
    ///
    /// # Errors
    ///
    /// An error of the storage.
    pub async fn append(&self, name: &str, record: Vec<u8>) -> io::Result<()> {
        let file = name.to_owned();
        self.operate(&[name], Act::Append, move |storage| storage.append(&file, &record)).await
    }

    /// [`Storage::rewrite`]
    ///
    /// # Errors
    ///
    /// An error of the storage.
    pub async fn rewrite(&self, name: &str, offset: u64, len: usize) -> io::Result<()> {
        let file = name.to_owned();
        self.operate(&[name], Act::Other, move |storage| storage.rewrite(&file, offset, len)).await
    }

    /// [`Storage::rename`]
    ///
    /// # Errors
    ///
    /// An error of the storage.
    pub async fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        let (from, into) = (name.to_owned(), to.to_owned());
        self.operate(&[name, to], Act::Other, move |storage| storage.rename(&from, &into)).await
    }

    /// [`Storage::remove`]
    ///
    /// # Errors
    ///
    /// An error of the storage.
    pub async fn remove(&self, name: &str) -> io::Result<()> {
        let file = name.to_owned();
        self.operate(&[name], Act::Other, move |storage| storage.remove(&file)).await
    }

    /// [`Storage::sync`], of all requests made before.
    ///
    /// # Errors
    ///
    /// An error of the storage.
    pub async fn sync(&self, name: &str) -> io::Result<()> {
        let (sender, outcome) = oneshot::channel();
        self.request(&[name], Act::Sync(sender), outcome).await
    }

    /// [`Storage::replace`]
    ///
    /// # Errors
    ///
    /// An error of the storage.
    pub async fn replace(&self, name: &str, content: Vec<u8>) -> io::Result<()> {
        let (file, new) = (name.to_owned(), format!("{name}.new"));
        self.operate(&[name, &new], Act::Other, move |storage| storage.replace(&file, &content)).await
    }

    /// [`Storage::set_aside`]
    ///
    /// # Errors
    ///
    /// An error of the storage, or there are [`DAMAGED_MAX`](super::DAMAGED_MAX) such files.
    pub async fn set_aside(&self, name: &str, content: Vec<u8>) -> io::Result<String> {
        let file = name.to_owned();
        self.operate(&[name], Act::Other, move |storage| storage.set_aside(&file, &content)).await
    }

    /// [`Storage::report`]
    pub fn report(&self, topic: Topic, problem: Option<String>) {
        self.shared.storage.report(topic, problem);
    }

    /// [`Storage::is_silent`]
    pub fn is_silent(&self) -> bool {
        self.shared.storage.is_silent()
    }

    async fn operate<T: Send + 'static>(
        &self,
        names: &[&str],
        act: impl FnOnce(Operation) -> Act,
        operation: impl FnOnce(&dyn Storage) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (sender, outcome) = oneshot::channel();
        // The receiver may be gone.
        let operation: Operation = Box::new(move |storage| _ = sender.send(operation(storage)));
        self.request(names, act(operation), outcome).await
    }

    async fn request<T>(
        &self,
        names: &[&str],
        act: Act,
        outcome: oneshot::Receiver<io::Result<T>>,
    ) -> io::Result<T> {
        let names =
            names.iter().map(|name| checked_name(name).map(str::to_owned)).collect::<Result<_, _>>()?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
        self.shared.push(names, act, place);
        let shared = Arc::clone(&self.shared);
        let job = work::run(&*self.work, move || shared.carry_out());
        let told = async { outcome.await.unwrap_or_else(|_| Err(JobFailed.into())) };
        // Another caller's job may run this request, and this job those of other callers.
        let done = async {
            _ = job.await;
            pending().await
        };
        first_of(told, done).await
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Request>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, names: Vec<String>, act: Act, place: OwnedSemaphorePermit) {
        let mut queue = self.queue();
        let number = queue.back().map_or(0, |last| last.number + 1);
        queue.push_back(Request { number, names, act: Some(act), _place: place });
    }

    /// Runs requests until none may begin. A request that has to wait for another job is left to that job.
    fn carry_out(&self) {
        while let Some((numbers, acts)) = self.begin() {
            // The caller learns of a panic when its channel closes.
            _ = catch_unwind(AssertUnwindSafe(|| acts.carry_out(&*self.storage)));
            self.queue().retain(|request| !numbers.contains(&request.number));
        }
    }

    /// The first request that may begin, and those that share its sync.
    fn begin(&self) -> Option<(Vec<u64>, Acts)> {
        let mut queue = self.queue();
        let may_begin = |at: &usize| {
            let request = &queue[*at];
            let is_before = |other: &Request| other.names.iter().any(|name| request.names.contains(name));
            request.act.is_some() && !queue.iter().take(*at).any(is_before)
        };
        let first = (0..queue.len()).find(may_begin)?;
        let mut acts = Acts::default();
        let mut numbers = Vec::new();
        let name = queue[first].names.first().cloned();
        for request in queue.iter_mut().skip(first) {
            let is_first = numbers.is_empty();
            let touches = name.as_ref().is_some_and(|name| request.names.contains(name));
            if !is_first && !touches {
                continue;
            }
            match request.act.take() {
                Some(Act::Sync(sender)) => {
                    acts.name.clone_from(&name);
                    acts.syncs.push(sender);
                }
                Some(Act::Append(operation)) => acts.operations.push(operation),
                Some(Act::Other(operation)) if is_first => acts.operations.push(operation),
                other => {
                    request.act = other;
                    break;
                }
            }
            numbers.push(request.number);
            if acts.syncs.is_empty() {
                break;
            }
        }
        Some((numbers, acts))
    }
}

/// A batch: operations, then a sync of `name` if a caller waits for one.
#[derive(Default)]
struct Acts {
    operations: Vec<Operation>,
    name: Option<String>,
    syncs: Vec<oneshot::Sender<io::Result<()>>>,
}

impl Acts {
    fn carry_out(self, storage: &dyn Storage) {
        self.operations.into_iter().for_each(|operation| operation(storage));
        if let Some(name) = self.name {
            let synced = storage.sync(&name);
            for waits in self.syncs {
                let told = match &synced {
                    Ok(()) => Ok(()),
                    Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                };
                _ = waits.send(told);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::store::Memory;
    use crate::work::{AtOnce, Job};

    /// Records the operations on a storage in memory. It panics at the name `panic`, and cannot sync the name
    /// `failing`.
    #[derive(Default)]
    struct Noted {
        memory: Memory,
        done: Mutex<Vec<String>>,
        /// Jobs of other threads that run during the next operation.
        meanwhile: Mutex<Vec<Job>>,
    }

    impl Noted {
        fn note(&self, what: &str, name: &str) {
            assert_ne!(name, "panic", "as the test wants");
            self.done.lock().unwrap().push(format!("{what} {name}"));
            let meanwhile = std::mem::take(&mut *self.meanwhile.lock().unwrap());
            meanwhile.into_iter().for_each(|job| job());
        }

        fn done(&self) -> Vec<String> {
            std::mem::take(&mut self.done.lock().unwrap())
        }
    }

    impl Storage for Noted {
        fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
            self.note("read", name);
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

        fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
            self.note("write", name);
            self.memory.write(name, content)
        }

        fn append(&self, name: &str, record: &[u8]) -> io::Result<()> {
            self.note("append", name);
            self.memory.append(name, record)
        }

        fn rename(&self, name: &str, to: &str) -> io::Result<()> {
            self.note("rename", name);
            self.memory.rename(name, to)
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            self.memory.remove(name)
        }

        fn sync(&self, name: &str) -> io::Result<()> {
            self.note("sync", name);
            if name == "failing" { Err(io::ErrorKind::StorageFull.into()) } else { self.memory.sync(name) }
        }
    }

    /// Keeps jobs until the test runs them.
    #[derive(Default)]
    struct Later(RefCell<Vec<Job>>);

    impl Work for Later {
        fn start(&self, job: Job) -> Pin<Box<dyn Future<Output = ()>>> {
            self.0.borrow_mut().push(job);
            Box::pin(pending())
        }
    }

    impl Later {
        fn run_all(&self) {
            self.0.take().into_iter().for_each(|job| job());
        }
    }

    fn later() -> (Disk, Arc<Noted>, Rc<Later>) {
        let (noted, work) = (Arc::new(Noted::default()), Rc::new(Later::default()));
        (Disk::new(Arc::clone(&noted) as _, Rc::clone(&work) as _), noted, work)
    }

    fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn it_is_the_storage_and_awaited() {
        let disk = Disk::new(Arc::new(Memory::new()), Rc::new(AtOnce));
        disk.append("mail/1", b"one".to_vec()).await.unwrap();
        disk.append("mail/1", b"two".to_vec()).await.unwrap();
        disk.sync("mail/1").await.unwrap();
        disk.rename("mail/1", "mail/2").await.unwrap();
        assert_eq!(disk.read("mail/1").await.unwrap(), None);
        assert_eq!(disk.read("mail/2").await.unwrap().unwrap(), b"onetwo");
        assert_eq!(disk.read_at("mail/2", 2, 2).await.unwrap().unwrap(), b"et");
        assert_eq!(disk.len("mail/2").await.unwrap(), Some(6));
        disk.rewrite("mail/2", 2, 2).await.unwrap();
        assert!(disk.rewrite("mail/2", 2, 5).await.is_err());
        assert_eq!(disk.list("mail").await.unwrap(), ["2"]);
        disk.write("mail/2", b"x".to_vec()).await.unwrap();
        disk.replace("mail/2", b"y".to_vec()).await.unwrap();
        assert_eq!(disk.set_aside("mail/2", b"y".to_vec()).await.unwrap(), "mail/2.damaged");
        disk.remove("mail/2").await.unwrap();
        assert_eq!(disk.list("mail").await.unwrap(), ["2.damaged"]);
        assert!(disk.space().await.unwrap() > 0);
        assert_eq!(disk.read("../a").await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(disk.list("../a").await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn requests_on_one_file_keep_their_order() {
        let (disk, noted, work) = later();
        let mut write = pin!(disk.write("a", b"1".to_vec()));
        let mut rename = pin!(disk.rename("a", "b"));
        let mut other = pin!(disk.write("c", b"2".to_vec()));
        let mut read = pin!(disk.read("b"));
        assert!(poll(write.as_mut()).is_pending() && poll(rename.as_mut()).is_pending());
        assert!(poll(other.as_mut()).is_pending() && poll(read.as_mut()).is_pending());
        assert_eq!(noted.done(), [""; 0], "nothing is done on the thread of who asks");
        work.run_all();
        assert_eq!(noted.done(), ["write a", "rename a", "write c", "read b"]);
        let Poll::Ready(Ok(Some(content))) = poll(read.as_mut()) else { panic!("it was read") };
        assert_eq!(content, b"1");
    }

    /// Runs the first job, with the others in parallel. Returns the operations in their order.
    fn run_side_by_side(noted: &Noted, work: &Later) -> Vec<String> {
        let mut jobs = work.0.take().into_iter();
        let first = jobs.next().expect("a job");
        *noted.meanwhile.lock().unwrap() = jobs.collect();
        first();
        noted.done()
    }

    #[test]
    fn while_a_request_is_carried_out_others_on_its_files_wait_and_the_rest_does_not() {
        let (disk, noted, work) = later();
        let mut write = pin!(disk.write("a", b"1".to_vec()));
        let mut rename = pin!(disk.rename("a", "b"));
        let mut read = pin!(disk.read("b"));
        let mut other = pin!(disk.write("c", b"2".to_vec()));
        assert!(poll(write.as_mut()).is_pending() && poll(rename.as_mut()).is_pending());
        assert!(poll(read.as_mut()).is_pending() && poll(other.as_mut()).is_pending());
        assert_eq!(run_side_by_side(&noted, &work), ["write a", "write c", "rename a", "read b"]);
    }

    #[test]
    fn a_rename_waits_for_what_is_done_to_the_file_that_it_becomes() {
        let (disk, noted, work) = later();
        let mut write = pin!(disk.write("b", b"1".to_vec()));
        let mut rename = pin!(disk.rename("a", "b"));
        assert!(poll(write.as_mut()).is_pending() && poll(rename.as_mut()).is_pending());
        assert_eq!(run_side_by_side(&noted, &work), ["write b", "rename a"]);
        assert!(noted.meanwhile.lock().unwrap().is_empty());
    }

    #[test]
    fn a_replacement_has_its_new_file_for_itself() {
        let (disk, noted, work) = later();
        let mut replace = pin!(disk.replace("a", b"1".to_vec()));
        let mut read = pin!(disk.read("a.new"));
        assert!(poll(replace.as_mut()).is_pending() && poll(read.as_mut()).is_pending());
        let done = run_side_by_side(&noted, &work);
        assert_eq!(done.last().map(String::as_str), Some("read a.new"), "{done:?}");
    }

    #[test]
    fn a_sync_is_shared_on_one_file_only_and_so_is_its_failure() {
        let (disk, noted, work) = later();
        let mut failing: Vec<_> = (0..2).map(|_| Box::pin(disk.sync("failing"))).collect();
        let mut good = pin!(disk.sync("good"));
        assert!(failing.iter_mut().all(|sync| poll(sync.as_mut()).is_pending()));
        assert!(poll(good.as_mut()).is_pending());
        work.run_all();
        assert_eq!(noted.done(), ["sync failing", "sync good"]);
        for sync in &mut failing {
            let Poll::Ready(Err(error)) = poll(sync.as_mut()) else { panic!("it has failed") };
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
        assert!(matches!(poll(good.as_mut()), Poll::Ready(Ok(()))));
    }

    #[test]
    fn who_appends_and_syncs_behind_a_sync_shares_the_next() {
        let (disk, noted, work) = later();
        let mut appends: Vec<_> = (0..3).map(|_| Box::pin(disk.append("log", b"x".to_vec()))).collect();
        let mut syncs: Vec<_> = (0..3).map(|_| Box::pin(disk.sync("log"))).collect();
        for (append, sync) in appends.iter_mut().zip(&mut syncs) {
            assert!(poll(append.as_mut()).is_pending() && poll(sync.as_mut()).is_pending());
        }
        let mut write = pin!(disk.write("log", b"".to_vec()));
        let mut last = pin!(disk.sync("log"));
        assert!(poll(write.as_mut()).is_pending() && poll(last.as_mut()).is_pending());
        work.run_all();
        let expected = ["append log", "append log", "append log", "sync log", "write log", "sync log"];
        assert_eq!(noted.done(), expected);
        assert!(syncs.iter_mut().all(|sync| matches!(poll(sync.as_mut()), Poll::Ready(Ok(())))));
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_done_all_the_same() {
        let (disk, noted, work) = later();
        {
            let mut write = pin!(disk.write("a", b"1".to_vec()));
            assert!(poll(write.as_mut()).is_pending());
        }
        work.run_all();
        assert_eq!(noted.done(), ["write a"]);
    }

    #[tokio::test]
    async fn a_panic_is_the_error_of_who_asked_and_its_file_is_not_blocked() {
        let noted = Arc::new(Noted::default());
        let disk = Disk::new(Arc::clone(&noted) as _, Rc::new(AtOnce));
        assert_eq!(disk.read("panic").await.unwrap_err().kind(), io::ErrorKind::Other);
        assert_eq!(disk.sync("panic").await.unwrap_err().kind(), io::ErrorKind::Other);
        disk.write("other", b"".to_vec()).await.unwrap();
        assert!(disk.shared.queue().is_empty());
    }

    #[test]
    fn beyond_the_most_requests_the_caller_waits() {
        let (disk, noted, work) = later();
        let mut writes: Vec<_> =
            (0..=REQUESTS_MAX).map(|_| Box::pin(disk.write("a", b"".to_vec()))).collect();
        for write in &mut writes {
            assert!(poll(write.as_mut()).is_pending());
        }
        assert_eq!(disk.shared.queue().len(), REQUESTS_MAX);
        work.run_all();
        assert_eq!(noted.done().len(), REQUESTS_MAX);
        let mut last = writes.pop().unwrap();
        assert!(poll(last.as_mut()).is_pending());
        work.run_all();
        assert_eq!(noted.done(), ["write a"]);
    }
}
