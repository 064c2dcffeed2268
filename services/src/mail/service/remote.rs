//! The way out: where messages for other domains go.

use crate::clock::UnixTime;
use crate::mail::address::Mailbox;
use crate::mail::smtp::server::{Recipient, Sender};
use crate::mail::smtp::{OriginalRecipient, Refusal};
use crate::mail::store;

/// Takes messages for other domains.
pub trait Remote {
    /// What is kept of a recipient at another domain, in the record of the message that `sender` sends.
    ///
    /// # Errors
    ///
    /// Why the recipient is not taken.
    fn route(&self, sender: &Sender, recipient: &Recipient) -> Result<store::Remote, Refusal>;

    /// Whether senders are told what they ask for of a message, also of its recipients here. (RFC 3461, section 4.1)
    fn has_reports(&self) -> bool;

    /// The sender of a message that mailboxes here have is to be told so.
    fn delivered(&self, delivered: Delivered);
}

/// A message that is in mailboxes here, whose sender asked to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The sender.
    pub sender: Mailbox,
    /// The recipients who have it, each with what the sender called it.
    pub recipients: Vec<(Mailbox, Option<OriginalRecipient>)>,
    /// What the sender calls the transaction.
    pub envid: Option<String>,
    /// When the message was accepted.
    pub accepted: UnixTime,
    /// The message's header.
    pub header: Vec<u8>,
}

/// There is no way out.
#[derive(Clone, Copy, Debug)]
pub struct NoRemote;

impl Remote for NoRemote {
    fn route(&self, _: &Sender, _: &Recipient) -> Result<store::Remote, Refusal> {
        let text = "this server delivers to its own mailboxes only".to_owned();
        Err(Refusal::Policy { is_temporary: false, text })
    }

    fn has_reports(&self) -> bool {
        false
    }

    fn delivered(&self, _: Delivered) {}
}
