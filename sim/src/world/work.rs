//! The gateway's jobs, each of which takes effect at one instant of its duration.
//!
//! The disk's mood and random generator determine the duration, and the instant of the effect. So jobs may overtake
//! each other and the gateway's other work, reproducibly for the same seed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use gatepost_services::work::{Job, Work};
use tokio::sync::oneshot;

use super::disk::SimDisk;

/// Runs the jobs of a gateway that has booted once. They end with its host.
pub struct SimWork(Arc<SimDisk>);

impl SimWork {
    /// The executor of the gateway's jobs with `disk`.
    pub fn new(disk: Arc<SimDisk>) -> Self {
        Self(disk)
    }
}

impl Work for SimWork {
    fn start(&self, job: Job) -> Pin<Box<dyn Future<Output = ()>>> {
        let disk = Arc::clone(&self.0);
        let (number, [before, after]) = disk.take(job);
        let (sender, ended) = oneshot::channel();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(before).await;
            disk.run(number);
            tokio::time::sleep(after).await;
            _ = sender.send(());
        });
        Box::pin(async { _ = ended.await })
    }
}
