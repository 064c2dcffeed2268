//! The outcome of a message for each recipient.

use super::reply::{REPLY_TEXT_CHARS_MAX, ServerReply, Status, printable};

/// The outcome for a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server answers for the message from now on.
    Delivered,
    /// The server may take the message another time.
    Deferred,
    /// This server does not take the message at another time either.
    Failed,
}

/// The scope of a failure, which suggests a remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The connection or the server. Another server of the same domain may do.
    Host,
    /// Optional TLS failed, before or at the first reply. The same server may accept the message without it.
    Tls,
    /// An extension that the message needs and the server lacks. Another server of the domain may have it.
    Extension,
    /// The sender, the recipient or the message.
    Envelope,
}

/// The outcome for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The outcome.
    pub outcome: Outcome,
    /// Its status code, for reports to the sender. (RFC 3463)
    pub status: Status,
    /// The server's reply, or the event, in one line.
    pub text: String,
    /// Whether it is the server's reply.
    pub is_reply: bool,
    /// Its scope.
    pub scope: Scope,
    /// The server limits the recipients of a transaction; this one needs a further transaction. (RFC 5321, section
    /// 4.5.3.1.10)
    pub is_one_too_many: bool,
    /// The server answered the recipient's own command so, before it had the message. (RFC 5321, section 3.3)
    pub is_of_recipient: bool,
    /// The message was sent whole, and the reply was lost: a further try can make a second copy.
    /// // RFC 5321, section 6.1
    pub may_be_delivered: bool,
    /// Whether the server sends the requested DSNs. (RFC 3461, section 5.2.2)
    pub is_dsn_passed_on: bool,
}

impl Report {
    /// The report of a server's reply.
    pub(super) fn of_reply(reply: &ServerReply, scope: Scope) -> Self {
        let outcome = match reply.code / 100 {
            2 => Outcome::Delivered,
            5 => Outcome::Failed,
            _ => Outcome::Deferred,
        };
        let status = reply.status().unwrap_or_else(|| of_code(reply.code));
        Self { is_reply: true, ..Self::of_event(outcome, status, reply.to_text(), scope) }
    }

    /// The report of a local event.
    fn of_event(outcome: Outcome, status: Status, text: String, scope: Scope) -> Self {
        Self {
            outcome,
            status,
            text: printable(&text).chars().take(REPLY_TEXT_CHARS_MAX).collect(),
            is_reply: false,
            scope,
            is_one_too_many: false,
            is_of_recipient: false,
            may_be_delivered: false,
            is_dsn_passed_on: false,
        }
    }

    /// That it is to be tried another time.
    pub(in crate::mail) fn deferred(status: Status, text: impl Into<String>, scope: Scope) -> Self {
        Self::of_event(Outcome::Deferred, status, text.into(), scope)
    }

    /// That a mailbox of this server has the message.
    pub(in crate::mail) fn delivered() -> Self {
        let text = "it is in the mailbox".to_owned();
        Self::of_event(Outcome::Delivered, Status::new(2, 1, 5), text, Scope::Envelope)
    }

    /// That a further try is of no use, as of the message.
    pub(in crate::mail) fn failed(status: Status, text: impl Into<String>) -> Self {
        Self::of_event(Outcome::Failed, status, text.into(), Scope::Envelope)
    }
}

/// The default status code for a reply code. (RFC 3463, section 3)
fn of_code(code: u16) -> Status {
    let class = if code < 300 {
        2
    } else if code < 500 {
        4
    } else {
        5
    };
    let (subject, detail) = match code {
        450 | 550 => (2, 0),
        452 => (3, 1),
        552 => (2, 2),
        551 => (1, 6),
        553 | 501 => (1, 0),
        421 => (3, 2),
        530 | 534 | 535 | 538 => (7, 0),
        500 | 502 | 503 | 504 => (5, 0),
        _ => (0, 0),
    };
    Status::new(class, subject, detail)
}
