//! The questions, actions and answers of a session.

use crate::mail::sasl::{Request, Verdict};
use crate::mail::store::Uid;

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
    /// Authenticate the client. Answered by [`Answer::Authenticate`].
    Authenticate(Request),
    /// Open and lock the inbox of this user. Answered by [`Answer::Open`].
    Open {
        /// The user's name as the configuration has it.
        user: String,
    },
    /// Can this message be read to its end? Answered by [`Answer::Fetch`]; with yes [`Ask::Part`] follows.
    Fetch(Uid),
    /// The octets of that message from `offset` on, [`PART_OCTETS`](super::PART_OCTETS) at most. Answered by
    /// [`Answer::Part`].
    Part {
        /// Octets of the message before them.
        offset: u64,
    },
    /// Remove these messages, perhaps none, and unlock the inbox. Answered by [`Answer::Update`].
    Update(Vec<Uid>),
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The rest of the message is not needed.
    Forget,
    /// Flush, make the TLS handshake, and then call `Session::tls_started`.
    StartTls,
    /// Flush, unlock the inbox, and close the connection.
    Close,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::Authenticate`].
    Authenticate(Verdict),
    /// To [`Ask::Open`].
    Open(Result<Inbox, NotOpened>),
    /// To [`Ask::Fetch`]: the octets of the message.
    Fetch(Result<u64, NotFetched>),
    /// To [`Ask::Part`]; `None` if they cannot all be read.
    Part(Option<Vec<u8>>),
    /// To [`Ask::Update`]: whether all of them were removed durably.
    Update(bool),
}

/// An inbox as it is when it is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inbox {
    /// The UIDVALIDITY, which distinguishes it from an earlier one of the same name.
    pub uid_validity: u32,
    /// Its messages, by their numbers: of each the number, and its octets.
    pub messages: Vec<(Uid, u64)>,
}

/// Why an inbox is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// Another session has it.
    InUse,
    /// It cannot be read now.
    TryLater,
}

/// Why a message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFetched {
    /// It is not there any more.
    Gone,
    /// Its checksum does not match.
    Damaged,
    /// It cannot be read now.
    TryLater,
}
