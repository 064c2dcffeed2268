//! The way to all workers of a gateway, for those who ask them something or tell them to do something.

use std::fmt;
use std::sync::Arc;

use crossbeam::channel::Sender;
use tokio::sync::oneshot;

use super::command::Command;
use super::query::Query;

/// Requests that may wait for a worker.
pub const REQUESTS_MAX: usize = 16;

/// What a worker is asked for between two batches.
#[derive(Debug)]
pub(super) enum Request {
    /// To tell something.
    Query(Query),
    /// To do something.
    Command(Command),
}

impl From<Query> for Request {
    fn from(query: Query) -> Self {
        Self::Query(query)
    }
}

impl From<Command> for Request {
    fn from(command: Command) -> Self {
        Self::Command(command)
    }
}

/// Why the workers do not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// They have as many requests as they can keep.
    TooMany,
    /// The gateway ends.
    Stopping,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooMany => "too many ask at once; ask again",
            Self::Stopping => "the gateway is stopping",
        })
    }
}

impl std::error::Error for RequestError {}

/// What several workers answer together.
pub trait Merge: Default {
    /// Adds what another worker answered.
    fn merge(&mut self, other: Self);
}

/// Leads to every worker. Clones lead to the same ones.
#[derive(Clone)]
pub(super) struct Requests {
    /// To each worker.
    pub queues: Vec<Sender<Request>>,
    /// Makes the workers look.
    pub wake_workers: Arc<dyn Fn() + Send + Sync>,
}

impl Requests {
    /// Puts the same request, each with its place for the answer, to every worker, and waits for all of them.
    ///
    /// # Errors
    ///
    /// A worker cannot take it now, or does not answer any more; others may have carried it out.
    pub async fn put<T: Merge, R: Into<Request>>(
        &self,
        request: impl Fn(oneshot::Sender<T>) -> R,
    ) -> Result<T, RequestError> {
        let mut answers = Vec::with_capacity(self.queues.len());
        for queue in &self.queues {
            let (reply, answer) = oneshot::channel();
            queue.try_send(request(reply).into()).map_err(|_| RequestError::TooMany)?;
            answers.push(answer);
        }
        (self.wake_workers)();
        let mut merged = T::default();
        for answer in answers {
            merged.merge(answer.await.map_err(|_| RequestError::Stopping)?);
        }
        Ok(merged)
    }
}
