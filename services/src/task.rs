//! A task that ends with whoever has it.

use std::pin::Pin;

use tokio::task::JoinHandle;

/// A future of the services' one thread.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A task of the services' thread that ends when this is dropped.
pub struct Task(JoinHandle<()>);

impl Task {
    /// Begins `work`. To be called where tasks can be spawned locally, as on a `tokio::task::LocalSet`.
    pub fn spawn(work: impl Future<Output = ()> + 'static) -> Self {
        Self(tokio::task::spawn_local(work))
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits until it has ended by itself.
    pub async fn ended(mut self) {
        _ = (&mut self.0).await;
    }

    /// Ends it and waits until it has let go of what it held.
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
