//! The interface to delivery: messages for other domains.

use crate::clock::UnixTime;
use crate::mail::address::Mailbox;
use crate::mail::smtp::server::{Recipient, Sender};
use crate::mail::smtp::{OriginalRecipient, Rejection};
use crate::mail::store;

/// Accepts messages for other domains.
pub trait Remote {
    /// The stored form of a recipient at another domain, for the record of the message that `sender` sends.
    ///
    /// # Errors
    ///
    /// Why the recipient is rejected.
    fn route(&self, sender: &Sender, recipient: &Recipient) -> Result<store::Remote, Rejection>;

    /// Whether requested DSNs are sent, also for local recipients. (RFC 3461, section 4.1)
    fn has_reports(&self) -> bool;

    /// Sends a requested notice of local delivery.
    fn delivered(&self, delivered: Delivered);
}

/// A message in local mailboxes whose sender requested a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The sender.
    pub sender: Mailbox,
    /// The recipients that have it, each with its ORCPT.
    pub recipients: Vec<(Mailbox, Option<OriginalRecipient>)>,
    /// ENVID.
    pub envid: Option<String>,
    /// When the message was accepted.
    pub accepted: UnixTime,
    /// The message's header.
    pub header: Vec<u8>,
}

/// No delivery to other domains.
#[derive(Clone, Copy, Debug)]
pub struct NoRemote;

impl Remote for NoRemote {
    fn route(&self, _: &Sender, _: &Recipient) -> Result<store::Remote, Rejection> {
        let text = "this server delivers to its own mailboxes only".to_owned();
        Err(Rejection::Policy { is_temporary: false, text })
    }

    fn has_reports(&self) -> bool {
        false
    }

    fn delivered(&self, _: Delivered) {}
}
