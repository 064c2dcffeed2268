//! Work that does not run on the services' thread: syncs of a disk, and whatever else takes long.
//!
//! All services share one thread, so a service that waits there for a disk has DNS, DHCP and every packet to the host
//! stack wait with it. [`Work`] is the one way out: a [`Job`] is handed in, runs elsewhere, and is awaited. Whoever runs
//! the gateway says where: in production on [`Threads`], in the simulation at one instant, with a completion that comes
//! later, and [`AtOnce`] where nothing takes long.

mod threads;

use std::fmt;
use std::future::{Future, ready};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

use tokio::sync::oneshot;

pub use threads::{JOBS_MAX, THREADS, Threads};

/// What is to run.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs.
pub trait Work {
    /// Has `job` run, at the latest once the returned future is polled. That is ready when the job has ended, or will
    /// never run. While no further job is taken, the caller waits. A job that was taken runs whether or not somebody
    /// still waits for it. Jobs may overtake one another. A job must not panic: see [`run`].
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

/// Has `job` run by `work` and waits for what it returns. The job is handed in before this returns.
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
            // Nobody may wait for it any more.
            _ = sender.send(returned);
        }
    }));
    async move {
        ended.await;
        outcome.try_recv().map_err(|_| JobFailed)
    }
}

/// Runs each job at once, while the caller waits: for tests, and for disks in memory.
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
