//! What a session asks and is answered.

use crate::mail::address::{ForwardPath, ReversePath};
use crate::mail::sasl::{Request, Verdict};
use crate::mail::smtp::{MailParameters, RcptParameters, Refusal};

/// What a session wants done.
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
    /// May this sender send a message now? Answered by [`Answer::Begin`]; with yes a transaction begins.
    Begin(Sender),
    /// Is this recipient taken? Answered by [`Answer::Route`]; with yes it is one of the transaction's.
    Route(Recipient),
    /// Who is the client? Answered by [`Answer::Authenticate`].
    Authenticate(Request),
    /// Keep these next octets of the message. Answered by [`Answer::Chunk`].
    Chunk(Vec<u8>),
    /// The message is whole: deliver it, durably. Answered by [`Answer::Commit`].
    Commit,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Forget the transaction and what came of its message.
    Abort,
    /// Send what is to be sent, make the TLS handshake, and then call `Session::tls_started`.
    StartTls,
    /// Send what is to be sent, and close the connection.
    Close,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::Begin`].
    Begin(Result<(), Refusal>),
    /// To [`Ask::Route`].
    Route(Result<(), Refusal>),
    /// To [`Ask::Authenticate`].
    Authenticate(Verdict),
    /// To [`Ask::Chunk`]. With a refusal the transaction is over.
    Chunk(Result<(), Refusal>),
    /// To [`Ask::Commit`]: the server's name of the message that is safe. For LMTP one for each recipient, in their
    /// order; otherwise one. The transaction is over.
    Commit(Vec<Result<String, Refusal>>),
}

/// Who sends a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its return path.
    pub path: ReversePath,
    /// What MAIL said beside it.
    pub parameters: MailParameters,
    /// Who is logged in. The user may have gone since: whoever answers looks again.
    pub user: Option<String>,
}

/// To whom a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Its address.
    pub path: ForwardPath,
    /// What RCPT said beside it.
    pub parameters: RcptParameters,
    /// Whether the client may send to other domains: it is the office's, and so is what it sends.
    pub may_relay: bool,
}
