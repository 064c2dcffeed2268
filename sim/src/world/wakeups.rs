//! The pending wake-ups of the gateway's workers, for their driver.

use gatepost::gateway::wakeup::Wakeup;
use tokio::sync::Notify;

/// A note for each worker.
pub struct Wakeups {
    workers: Vec<Wakeup>,
    any: Notify,
}

impl Wakeups {
    /// So many workers, none of which was woken.
    pub fn new(workers: u8) -> Self {
        Self { workers: (0..workers).map(|_| Wakeup::default()).collect(), any: Notify::new() }
    }

    /// Makes the worker with this number take a turn soon.
    pub fn wake(&self, worker: u8) {
        if self.workers.get(usize::from(worker)).is_some_and(Wakeup::raise) {
            self.any.notify_one();
        }
    }

    /// The worker with this number begins a turn. Says whether it was woken since its last one.
    pub fn take(&self, worker: usize) -> bool {
        self.workers.get(worker).is_some_and(Wakeup::take)
    }

    /// Whether the worker with this number was woken since its last turn began.
    pub fn is_woken(&self, worker: usize) -> bool {
        self.workers.get(worker).is_some_and(Wakeup::is_raised)
    }

    /// Waits until one of them may have been woken.
    pub async fn any(&self) {
        self.any.notified().await;
    }
}
