//! Commands to the workers, which change something that the configuration does not cover.
//!
//! The end of a flow is final. Any other change by a command has a lifetime, and the caller prolongs it by repeating the
//! command. So a change that is not wanted any more ends by itself, even if its caller has gone. Every worker gets every
//! command between two batches; the worker that the command is for carries it out and answers.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use gatepost_dataplane::flow::{Opened, Pinhole};
use gatepost_dataplane::key::{Endpoint, FlowKey};
use gatepost_dataplane::{Dataplane, PinholeError};
use gatepost_ground::Instant;
use gatepost_ground::wire::Protocol;
use tokio::sync::oneshot;

use super::requests::{Merge, RequestError, Requests};

/// A command, with the channel for its answer.
#[derive(Debug)]
pub(super) enum Command {
    /// Open the pinhole for this time from now on.
    OpenPinhole(Pinhole, Duration, oneshot::Sender<OwnersAnswer<Result<Opened, PinholeError>>>),
    /// Close the pinholes of this inside endpoint.
    ClosePinholes(Protocol, Endpoint, oneshot::Sender<OwnersAnswer<bool>>),
    /// End the flow with this key.
    EndFlow(FlowKey<IpAddr>, oneshot::Sender<OwnersAnswer<bool>>),
}

/// The answer of the one worker that a command is for.
#[derive(Debug)]
pub(super) struct OwnersAnswer<T>(Option<T>);

impl<T> OwnersAnswer<T> {
    /// The answer; `None` if the command was for no worker.
    pub fn into_inner(self) -> Option<T> {
        self.0
    }
}

impl<T> Default for OwnersAnswer<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Merge for OwnersAnswer<T> {
    fn merge(&mut self, other: Self) {
        debug_assert!(self.0.is_none() || other.0.is_none(), "one worker owns it");
        self.0 = self.0.take().or(other.0);
    }
}

impl Command {
    /// Carries out the command if it is for this worker. A caller that has stopped waiting gets no answer.
    pub(super) fn carry_out(self, now: Instant, dataplane: &mut Dataplane) {
        match self {
            Self::OpenPinhole(pinhole, lifetime, reply) => {
                _ = reply.send(OwnersAnswer(dataplane.open_pinhole(now, &pinhole, lifetime)));
            }
            Self::ClosePinholes(protocol, inside, reply) => {
                _ = reply.send(OwnersAnswer(dataplane.close_pinholes(now, protocol, inside)));
            }
            Self::EndFlow(key, reply) => {
                _ = reply.send(OwnersAnswer(dataplane.end_flow(now, key).then_some(true)));
            }
        }
    }
}

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// The workers do not answer. It is not known whether the command was carried out.
    Unanswered(RequestError),
    /// The pinhole cannot be opened.
    Pinhole(PinholeError),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(error) => error.fmt(f),
            Self::Pinhole(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CommandError {}

impl From<RequestError> for CommandError {
    fn from(error: RequestError) -> Self {
        Self::Unanswered(error)
    }
}

/// Sends commands to a gateway's workers. Clones command the same gateway.
#[derive(Clone)]
pub struct Commander {
    pub(super) requests: Requests,
}

impl Commander {
    /// Opens `pinhole` for `lifetime` from now on, at most [`LIFETIME_MAX`](gatepost_dataplane::flow::LIFETIME_MAX).
    /// To keep it open, call this again before it ends.
    ///
    /// # Errors
    ///
    /// The pinhole cannot be opened, or the workers do not answer.
    pub async fn open_pinhole(&self, pinhole: Pinhole, lifetime: Duration) -> Result<Opened, CommandError> {
        let answer = self.requests.put(|reply| Command::OpenPinhole(pinhole, lifetime, reply)).await?;
        // Every port has an owner. Without an answer, the owner has failed.
        answer.0.unwrap_or(Err(PinholeError::Fault)).map_err(CommandError::Pinhole)
    }

    /// Closes the pinholes of `inside`. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// The workers do not answer.
    pub async fn close_pinholes(&self, protocol: Protocol, inside: Endpoint) -> Result<bool, CommandError> {
        let answer = self.requests.put(|reply| Command::ClosePinholes(protocol, inside, reply)).await?;
        Ok(answer.0.unwrap_or(false))
    }
}
