//! The events of mail, for those who watch it: what was accepted, refused, delivered, sent and deferred.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most recipients that an event names.
pub const RECIPIENTS_SHOWN_MAX: usize = 20;

/// An event of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailEvent {
    /// `accepted`: this server answers for the message; `refused`: it does not; `delivered`: it is in a mailbox here;
    /// `discarded`: rules of all its receivers have removed it; `sent`: another server has it; `deferred`: a later try
    /// follows; `failed`: none does, and the sender gets a notice.
    pub event: String,
    /// The message's identifier in the reply to its sender and in `Received`, or its number in the queue.
    pub id: Option<String>,
    /// Who has handed it over: an address, or the account that it was fetched from.
    pub peer: Option<String>,
    /// The return path; empty for a notice. `null` if it is not known.
    pub from: Option<String>,
    /// The recipients, or the mailboxes.
    pub to: Vec<String>,
    /// The server that it was sent to.
    pub server: Option<String>,
    /// Why it is so, in words.
    pub reason: Option<String>,
}

impl MailEvent {
    /// An event of this name, of which nothing else is known.
    pub(super) fn new(event: &str) -> Self {
        Self { event: event.to_owned(), ..Self::default() }
    }
}

impl fmt::Display for MailEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, id, peer, from, to, server, reason } = self;
        write!(f, "{event:9}  {}", id.as_deref().unwrap_or("-"))?;
        from.as_ref().map_or(Ok(()), |from| write!(f, "  <{from}>"))?;
        if !to.is_empty() {
            write!(f, " > {}", to.join(", "))?;
        }
        peer.as_ref().map_or(Ok(()), |peer| write!(f, "  from {peer}"))?;
        server.as_ref().map_or(Ok(()), |server| write!(f, "  by {server}"))?;
        reason.as_ref().map_or(Ok(()), |reason| write!(f, "  {reason}"))
    }
}
