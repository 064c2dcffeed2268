//! Jobs off the services' thread: syncs of a disk, and other long work.
//!
//! All services share one thread, so a service that blocks on a disk blocks DNS, DHCP and every packet to the host
//! stack. Instead it hands a [`Job`] to [`Work`], which runs it elsewhere, and awaits it. In production jobs run on
//! [`Threads`]; in the simulation they run at one instant and complete later; [`AtOnce`] runs short ones in place.

mod threads;

use std::fmt;
use std::future::{Future, ready};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

use tokio::sync::oneshot;

pub use threads::{JOBS_MAX, THREADS, Threads};

/// A job.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs.
pub trait Work {
    /// Runs `job`, at the latest once the returned future is polled. The future is ready when the job has ended, or
    /// will never run. While the executor accepts no further job, the caller waits. An accepted job runs even if the
    /// future is dropped. Jobs may overtake each other. A job must not panic: see [`run`].
    fn start(&self, job: Job) -> Pin<Box<dyn Future<Output = ()>>>;
}

/// A job has panicked, or was not run because the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobFailed;

impl fmt::Display for JobFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a job broke down")
    }
}

impl std::error::Error for JobFailed {}

impl From<JobFailed> for io::Error {
    fn from(error: JobFailed) -> Self {
        Self::other(error)
    }
}

/// Has `work` run `job`, and waits for its result. The job is submitted before this function returns.
///
/// # Errors
///
/// The job panicked.
pub fn run<T: Send + 'static, J: FnOnce() -> T + Send + 'static>(
    work: &dyn Work,
    job: J,
) -> impl Future<Output = Result<T, JobFailed>> + use<T, J> {
    let (sender, mut outcome) = oneshot::channel();
    let ended = work.start(Box::new(move || {
        if let Ok(returned) = catch_unwind(AssertUnwindSafe(job)) {
            // The receiver may be gone.
            _ = sender.send(returned);
        }
    }));
    async move {
        ended.await;
        outcome.try_recv().map_err(|_| JobFailed)
    }
}

/// Runs each job in place, while the caller waits: for tests, and for disks in memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtOnce;

impl Work for AtOnce {
    fn start(&self, job: Job) -> Pin<Box<dyn Future<Output = ()>>> {
        job();
        Box::pin(ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_is_awaited_and_its_panic_is_an_error() {
        assert_eq!(run(&AtOnce, || 7).await, Ok(7));
        assert_eq!(run(&AtOnce, || -> u8 { panic!("as the test wants") }).await, Err(JobFailed));
    }
}
