//! Failures of the services.

use std::fmt;

use gatepost_services::service::Unprepared;
use tokio::task::{JoinError, JoinSet};

use crate::error::Error;

/// Why the services do not run, or have stopped.
#[derive(Debug)]
pub enum ServicesError {
    /// A service cannot use its settings.
    Unprepared(Unprepared),
    /// A task ended that should run for as long as the gateway.
    BrokenDown(TaskEnd),
}

/// How a task ended by itself.
#[derive(Debug)]
pub enum TaskEnd {
    /// The task returned.
    Returned,
    /// The task panicked or was cancelled.
    Failed(JoinError),
}

impl fmt::Display for TaskEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returned => f.write_str("it ended"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl From<ServicesError> for Error {
    fn from(error: ServicesError) -> Self {
        match error {
            ServicesError::Unprepared(Unprepared { service, why, remedy }) => {
                Self::failed(format_args!("the service \"{service}\" cannot start"), why, remedy)
            }
            ServicesError::BrokenDown(end) => Self::failed("a service broke down", end, "see the log"),
        }
    }
}

/// Waits until one of `tasks` has ended, and returns how. Without tasks, waits for ever.
pub(super) async fn first_ended(tasks: &mut JoinSet<()>) -> TaskEnd {
    match tasks.join_next().await {
        Some(Ok(())) => TaskEnd::Returned,
        Some(Err(error)) => TaskEnd::Failed(error),
        None => std::future::pending().await,
    }
}
