//! Requests to all workers of a gateway: queries and commands.

use std::fmt;
use std::sync::Arc;

use crossbeam::channel::Sender;
use tokio::sync::oneshot;

use super::capture::Tapping;
use super::command::Command;
use super::query::Query;
use super::tap::Tap;

/// The most requests that wait for a worker.
pub const REQUESTS_MAX: usize = 16;

/// A request to a worker, handled between two batches.
#[derive(Debug)]
pub(super) enum Request {
    /// A query.
    Query(Query),
    /// A command.
    Command(Command),
    /// A tap for a capture, with the channel for the answer.
    Tap(Arc<Tap>, oneshot::Sender<Tapping>),
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
    /// Too many requests wait for a worker.
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

/// An answer that is merged from the answers of several workers.
pub trait Merge: Default {
    /// Merges another worker's answer.
    fn merge(&mut self, other: Self);
}

/// The queues to every worker. Clones lead to the same workers.
#[derive(Clone)]
pub(super) struct Requests {
    /// The queue to each worker.
    pub queues: Vec<Sender<Request>>,
    /// Wakes the workers.
    pub wake_workers: Arc<dyn Fn() + Send + Sync>,
}

impl Requests {
    /// Sends a request to the worker with this number, and returns its answer.
    ///
    /// # Errors
    ///
    /// As [`Requests::put`].
    pub async fn put_to<T, R: Into<Request>>(
        &self,
        worker: usize,
        request: impl FnOnce(oneshot::Sender<T>) -> R,
    ) -> Result<T, RequestError> {
        let queue = self.queues.get(worker).ok_or(RequestError::Stopping)?;
        let answer = send(queue, request)?;
        (self.wake_workers)();
        answer.await.map_err(|_| RequestError::Stopping)
    }

    /// Sends the same request to every worker, each with its own channel for the answer, and merges the answers.
    ///
    /// # Errors
    ///
    /// A worker cannot take the request now, or does not answer any more; other workers may have carried it out.
    pub async fn put<T: Merge, R: Into<Request>>(
        &self,
        request: impl Fn(oneshot::Sender<T>) -> R,
    ) -> Result<T, RequestError> {
        self.put_each(|_, reply| request(reply)).await
    }

    /// As [`Requests::put`], with the request that `request` makes for the worker with this number.
    ///
    /// # Errors
    ///
    /// As [`Requests::put`].
    pub async fn put_each<T: Merge, R: Into<Request>>(
        &self,
        request: impl Fn(usize, oneshot::Sender<T>) -> R,
    ) -> Result<T, RequestError> {
        let mut answers = Vec::with_capacity(self.queues.len());
        for (worker, queue) in self.queues.iter().enumerate() {
            answers.push(send(queue, |reply| request(worker, reply))?);
        }
        (self.wake_workers)();
        let mut merged = T::default();
        for answer in answers {
            merged.merge(answer.await.map_err(|_| RequestError::Stopping)?);
        }
        Ok(merged)
    }
}

/// Queues a request without waking the worker. Returns the channel of its answer.
fn send<T, R: Into<Request>>(
    queue: &Sender<Request>,
    request: impl FnOnce(oneshot::Sender<T>) -> R,
) -> Result<oneshot::Receiver<T>, RequestError> {
    let (reply, answer) = oneshot::channel();
    queue.try_send(request(reply).into()).map_err(|_| RequestError::TooMany)?;
    Ok(answer)
}
