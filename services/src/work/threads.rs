//! A thread pool for jobs.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::{Job, Work};

/// The number of threads.
pub const THREADS: usize = 4;

/// The most queued jobs. A caller with a further one waits.
pub const JOBS_MAX: usize = 64;

/// The queue of jobs and its threads. The threads end when it is dropped, after all accepted jobs.
pub struct Threads {
    jobs: mpsc::Sender<Entry>,
}

/// A job, and the channel for its completion.
type Entry = (Job, oneshot::Sender<()>);

impl Threads {
    /// Starts [`THREADS`] threads.
    ///
    /// # Errors
    ///
    /// The system cannot create a thread.
    pub fn start() -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..THREADS {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name(format!("work-{number}")).spawn(move || run_jobs(&queue))?;
        }
        Ok(Self { jobs })
    }
}

fn run_jobs(queue: &Mutex<mpsc::Receiver<Entry>>) {
    // One thread waits for the queue, the others for the lock.
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
    while let Some((job, ended)) = next() {
        job();
        _ = ended.send(());
    }
}

impl Work for Threads {
    fn start(&self, job: Job) -> Pin<Box<dyn Future<Output = ()>>> {
        let (sender, ended) = oneshot::channel();
        let refused = self.jobs.try_send((job, sender)).err();
        let jobs = self.jobs.clone();
        Box::pin(async move {
            if let Some(mpsc::error::TrySendError::Full(entry)) = refused {
                _ = jobs.send(entry).await;
            }
            _ = ended.await;
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    use super::*;
    use crate::work::{JobFailed, run};

    #[tokio::test]
    async fn jobs_run_side_by_side_and_a_panic_ends_none_of_the_threads() {
        let work = Threads::start().unwrap();
        for _ in 0..THREADS + 1 {
            assert_eq!(run(&work, || -> u8 { panic!("as the test wants") }).await, Err(JobFailed));
        }
        // No job passes the barrier unless all threads run.
        let barrier = Arc::new(Barrier::new(THREADS));
        let jobs: Vec<_> = (0..THREADS)
            .map(|_| {
                let barrier = Arc::clone(&barrier);
                run(&work, move || barrier.wait().is_leader())
            })
            .collect();
        let mut leaders = 0;
        for job in jobs {
            leaders += usize::from(job.await.unwrap());
        }
        assert_eq!(leaders, 1);
    }

    #[tokio::test]
    async fn when_the_queue_is_full_the_caller_waits() {
        let work = Threads::start().unwrap();
        let begun = Arc::new(AtomicUsize::new(0));
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let job = || {
            let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
            run(&work, move || {
                begun.fetch_add(1, Ordering::SeqCst);
                gate.lock().unwrap().recv().is_ok()
            })
        };
        let mut first: Vec<_> = (0..THREADS).map(|_| job()).collect();
        while begun.load(Ordering::SeqCst) < THREADS {
            tokio::task::yield_now().await;
        }
        let queued: Vec<_> = (0..JOBS_MAX).map(|_| job()).collect();
        let mut beyond = pin!(job());
        let is_pending = poll_fn(|context| Poll::Ready(beyond.as_mut().poll(context).is_pending())).await;
        assert!(is_pending && work.jobs.capacity() == 0);
        for _ in 0..THREADS + JOBS_MAX + 1 {
            open.send(()).unwrap();
        }
        assert_eq!(beyond.await, Ok(true), "it had its turn");
        for job in first.drain(..).chain(queued) {
            assert_eq!(job.await, Ok(true));
        }
        assert_eq!(begun.load(Ordering::SeqCst), THREADS + JOBS_MAX + 1);
    }
}
