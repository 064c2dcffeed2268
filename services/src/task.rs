//! Tasks that end when their owner drops them.

use std::pin::Pin;

use tokio::task::JoinHandle;

/// A future on the services' thread.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A task on the services' thread, which is aborted when this is dropped.
pub struct Task(JoinHandle<()>);

impl Task {
    /// Spawns `work`. The caller must be in a context that can spawn local tasks, such as a `tokio::task::LocalSet`.
    pub fn spawn(work: impl Future<Output = ()> + 'static) -> Self {
        Self(tokio::task::spawn_local(work))
    }

    /// Whether the task has ended.
    pub fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits until the task ends by itself.
    pub async fn ended(mut self) {
        _ = (&mut self.0).await;
    }

    /// Aborts the task and waits until its resources are released.
    pub async fn end(mut self) {
        self.0.abort();
        _ = (&mut self.0).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
