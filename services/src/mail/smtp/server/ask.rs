//! The questions, actions and answers of a session.

use crate::mail::address::{ForwardPath, ReversePath};
use crate::mail::sasl::{Request, Verdict};
use crate::mail::smtp::{MailParameters, RcptParameters, Rejection};

/// An action for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these octets to the client.
    Reply(Vec<u8>),
    /// Find the answer, and hand it to `Session::answer`.
    Ask(Ask),
    /// Do this; there is no answer.
    Action(Action),
}

/// A question. One is open at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// May this sender send a message now? Answered by [`Answer::Begin`]; a positive answer begins a transaction.
    Begin(Sender),
    /// Is this recipient accepted? Answered by [`Answer::Route`]; a positive answer adds it to the transaction.
    Route(Recipient),
    /// Authenticate the client. Answered by [`Answer::Authenticate`].
    Authenticate(Request),
    /// Keep these next octets of the message. Answered by [`Answer::Chunk`].
    Chunk(Vec<u8>),
    /// The message is whole: deliver it, durably. Answered by [`Answer::Commit`].
    Commit,
}

/// An action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Abort the transaction, discarding its message.
    Abort,
    /// Flush, make the TLS handshake, and then call `Session::tls_started`.
    StartTls,
    /// Flush, and close the connection.
    Close,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::Begin`].
    Begin(Result<(), Rejection>),
    /// To [`Ask::Route`].
    Route(Result<(), Rejection>),
    /// To [`Ask::Authenticate`].
    Authenticate(Verdict),
    /// To [`Ask::Chunk`]. With a refusal the transaction is over.
    Chunk(Result<(), Rejection>),
    /// To [`Ask::Commit`]: the server's name of the message that is safe. For LMTP one for each recipient, in their
    /// order; otherwise one. The transaction is over.
    Commit(Vec<Result<String, Rejection>>),
}

/// The sender of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its return path.
    pub path: ReversePath,
    /// The parameters of MAIL.
    pub parameters: MailParameters,
    /// The authenticated user. It may have been removed since, so the callee checks again.
    pub user: Option<String>,
}

/// A recipient of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Its address.
    pub path: ForwardPath,
    /// The parameters of RCPT.
    pub parameters: RcptParameters,
    /// Whether the client may relay to other domains: it belongs to the office, and so does its mail.
    pub may_relay: bool,
}
