//! The real file of the configuration, read and written off the services' thread.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use gatepost_services::service::LocalFuture;
use gatepost_services::store::StagedFile;
use gatepost_services::work::{self, Work};

use crate::config::read_text;
use crate::transaction::{ConfigFile, Gate, PutError};

/// The file at a path. A file that was not named by `--config` may be missing.
///
/// A job runs on when its future is dropped. So each job of a stage knows whether its future is still there: a stage that
/// was given up removes what it has written. While a job that was given up still waits for the disk, no other one is begun, as all services share
/// the threads.
pub struct RealFile {
    path: PathBuf,
    may_be_missing: bool,
    work: Rc<dyn Work>,
    staged: RefCell<Option<StagedFile>>,
    /// Each job that reads, stages or puts has a clone of this until it ends.
    running: Arc<()>,
}

impl RealFile {
    /// The file at `path`.
    pub fn new(path: &Path, may_be_missing: bool, work: Rc<dyn Work>) -> Self {
        Self {
            path: path.to_owned(),
            may_be_missing,
            work,
            staged: RefCell::default(),
            running: Arc::default(),
        }
    }

    /// Removes what a process that has ended has left beside the file. Nothing may be staged yet.
    pub fn sweep(&self) {
        StagedFile::sweep(&self.path);
    }

    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        Ok(work::run(&*self.work, job).await?)
    }

    /// Runs `job` unless an earlier one still waits for the disk.
    async fn run_alone<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        if Arc::strong_count(&self.running) > 1 {
            let why = "its disk has not answered an earlier request yet";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
        }
        let running = Arc::clone(&self.running);
        let job = move || {
            let done = job();
            drop(running);
            done
        };
        self.run(job).await?
    }
}

impl ConfigFile for RealFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn read(&self) -> LocalFuture<'_, io::Result<Option<String>>> {
        let path = self.path.clone();
        Box::pin(async move {
            match self.run_alone(move || read_text(&path)).await {
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.may_be_missing => Ok(None),
                read => read.map(Some),
            }
        })
    }

    fn stage(&self, text: String) -> LocalFuture<'_, io::Result<()>> {
        let path = self.path.clone();
        let former = self.staged.take();
        // The future owns this, and so it is gone when the future is dropped.
        let wanted = Arc::new(());
        let still_wanted = Arc::downgrade(&wanted);
        Box::pin(async move {
            let write = move || {
                drop(former);
                let is_given_up = || still_wanted.strong_count() == 0;
                if is_given_up() {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                let staged = StagedFile::write(&path, text.as_bytes())?;
                // Dropped, it removes the file.
                if is_given_up() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(staged) }
            };
            let staged = self.run_alone(write).await?;
            *self.staged.borrow_mut() = Some(staged);
            drop(wanted);
            Ok(())
        })
    }

    fn put(
        &self,
        former: Option<String>,
        gate: Gate,
    ) -> LocalFuture<'_, Result<Option<io::Error>, PutError>> {
        let path = self.path.clone();
        let (staged, running) = (self.staged.take(), Arc::clone(&self.running));
        Box::pin(async move {
            let put = move || {
                let _running = running;
                let staged = staged.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                let is_former = match (read_text(&path), former) {
                    (Ok(text), Some(former)) => text == former,
                    (Err(error), None) => error.kind() == io::ErrorKind::NotFound,
                    _ => false,
                };
                if !is_former {
                    return Err(PutError::Edited);
                }
                if !gate.pass() {
                    return Err(PutError::Late);
                }
                Ok(staged.put()?)
            };
            self.run(put).await?
        })
    }

    fn forget(&self) -> LocalFuture<'_, ()> {
        let staged = self.staged.take();
        Box::pin(async move {
            // What cannot be removed is swept up at the next start.
            _ = self.run(move || drop(staged)).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::fs;
    use std::pin::Pin;
    use std::task::{Context, Waker};

    use gatepost_services::work::{AtOnce, Job};
    use tokio::sync::oneshot;

    use super::*;
    use crate::config::FILE_OCTETS_MAX;

    #[tokio::test]
    async fn a_file_that_was_edited_meanwhile_is_not_replaced() {
        let folder = std::env::temp_dir().join(format!("gatepost-config-file-{}", std::process::id()));
        let path = folder.join("gatepost.toml");
        let file = RealFile::new(&path, true, Rc::new(AtOnce));
        assert_eq!(file.read().await.unwrap(), None);
        file.stage("one\n".to_owned()).await.unwrap();
        assert!(file.put(None, Gate::default()).await.unwrap().is_none());
        assert_eq!(file.read().await.unwrap().as_deref(), Some("one\n"));
        for former in [None, Some("other\n".to_owned())] {
            file.stage("two\n".to_owned()).await.unwrap();
            assert!(matches!(file.put(former, Gate::default()).await, Err(PutError::Edited)));
        }
        assert!(
            matches!(file.put(Some("one\n".to_owned()), Gate::default()).await, Err(PutError::Io(_))),
            "nothing is staged"
        );
        file.stage("two\n".to_owned()).await.unwrap();
        file.forget().await;
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let named = RealFile::new(&folder.join("missing.toml"), false, Rc::new(AtOnce));
        assert_eq!(named.read().await.unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::remove_dir_all(&folder).unwrap();
    }
    /// Runs jobs when the test wants.
    #[derive(Default)]
    struct Later {
        jobs: RefCell<VecDeque<(Job, oneshot::Sender<()>)>>,
    }

    impl Later {
        fn run_next(&self) {
            let (job, ended) = self.jobs.borrow_mut().pop_front().expect("one waits");
            job();
            // The caller may be gone.
            _ = ended.send(());
        }
    }

    impl Work for Later {
        fn start(&self, job: Job) -> Pin<Box<dyn Future<Output = ()>>> {
            let (sender, ended) = oneshot::channel();
            self.jobs.borrow_mut().push_back((job, sender));
            Box::pin(async move { _ = ended.await })
        }
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gatepost-config-{test}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a free path");
            fs::write(path.join("gatepost.toml"), "one\n").expect("there is room");
            Self(path)
        }

        fn file(&self, work: &Rc<Later>) -> RealFile {
            RealFile::new(&self.0.join("gatepost.toml"), true, Rc::clone(work) as Rc<dyn Work>)
        }

        fn text(&self) -> String {
            fs::read_to_string(self.0.join("gatepost.toml")).expect("it is there")
        }

        fn count(&self) -> usize {
            fs::read_dir(&self.0).expect("it is there").count()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Polls `future` until it waits for its job.
    fn begin<T>(future: &mut LocalFuture<'_, T>) {
        let waits = future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
        assert!(waits, "the job has not run");
    }

    #[tokio::test]
    async fn a_stage_that_was_given_up_leaves_nothing_and_no_other_begins_meanwhile() {
        let (folder, work) = (Folder::new("given-up"), Rc::new(Later::default()));
        let file = folder.file(&work);
        let mut stage = file.stage("rolled back\n".to_owned());
        begin(&mut stage);
        drop(stage);
        let busy = file.read().await.expect_err("the disk does not answer");
        assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy);
        work.run_next();
        assert_eq!(folder.count(), 1, "nothing is left behind");
        let mut stage = file.stage("two\n".to_owned());
        begin(&mut stage);
        work.run_next();
        stage.await.unwrap();
        let mut put = file.put(Some("one\n".to_owned()), Gate::default());
        begin(&mut put);
        work.run_next();
        assert!(put.await.unwrap().is_none());
        assert_eq!((folder.text().as_str(), folder.count()), ("two\n", 1));
    }

    #[tokio::test]
    async fn a_job_that_comes_too_late_does_not_replace_the_file() {
        let (folder, work) = (Folder::new("late"), Rc::new(Later::default()));
        let file = folder.file(&work);
        let mut stage = file.stage("two\n".to_owned());
        begin(&mut stage);
        work.run_next();
        stage.await.unwrap();
        let gate = Gate::default();
        let mut put = file.put(Some("one\n".to_owned()), gate.clone());
        begin(&mut put);
        assert!(gate.close());
        work.run_next();
        assert!(matches!(put.await, Err(PutError::Late)));
        assert_eq!((folder.text().as_str(), folder.count()), ("one\n", 1));
    }

    #[tokio::test]
    async fn a_file_that_is_too_long_is_refused() {
        let folder = Folder::new("long");
        let file = RealFile::new(&folder.0.join("gatepost.toml"), true, Rc::new(AtOnce));
        fs::write(folder.0.join("gatepost.toml"), "#".repeat(FILE_OCTETS_MAX)).unwrap();
        assert!(file.read().await.unwrap().is_some());
        fs::write(folder.0.join("gatepost.toml"), "#".repeat(FILE_OCTETS_MAX + 1)).unwrap();
        let error = file.read().await.unwrap_err().to_string();
        assert!(error.contains("more than 1048576 octets"), "{error}");
    }
}
