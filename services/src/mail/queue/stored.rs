//! The mail store from the queue's view: remote recipients, and the message to send.

use std::cell::RefCell;
use std::io;

use super::Options;
use super::connection::Source;
use crate::clock::UnixTime;
use crate::mail::address::Mailbox;
use crate::mail::smtp::{MailParameters, RcptParameters};
use crate::mail::store::{BodyOctets, MailStore, Message, Progress, QueueId, Remote, StoreError, Unreadable};
use crate::service::LocalFuture;

/// A recipient at another domain, to be tried at once. The message is forwarded by an alias or a rule, and not the
/// office's own.
pub fn remote(recipient: &Mailbox, mail: &MailParameters, rcpt: &RcptParameters, now: UnixTime) -> Remote {
    by_options(recipient, &Options::new(mail, rcpt), now)
}

/// The same of a message that the office itself sends.
pub fn remote_of_ours(
    recipient: &Mailbox,
    mail: &MailParameters,
    rcpt: &RcptParameters,
    now: UnixTime,
) -> Remote {
    by_options(recipient, &Options { is_ours: true, ..Options::new(mail, rcpt) }, now)
}

fn by_options(recipient: &Mailbox, options: &Options, now: UnixTime) -> Remote {
    Remote {
        recipient: recipient.to_string(),
        options: options.to_text(),
        progress: Progress { due: now.0, ..Progress::default() },
        ..Remote::default()
    }
}

/// `remote`, as a forward by the local address `by`.
pub fn forwarded(remote: Remote, by: &Mailbox) -> Remote {
    let options = Options { forwarded_by: Some(by.clone()), ..Options::parse(&remote.options) };
    Remote { options: options.to_text(), ..remote }
}

/// `remote`, reached by `other`, too. A request for notification in either counts.
pub fn joined(remote: Remote, other: &Remote) -> Remote {
    let (mut options, of_other) = (Options::parse(&remote.options), Options::parse(&other.options));
    let asked =
        |options: &Options| options.forwarded_by.clone().or_else(|| Mailbox::parse(&remote.recipient).ok());
    if let Some(also) = asked(&of_other)
        && asked(&options).as_ref() != Some(&also)
        && !options.also_for.contains(&also)
    {
        options.also_for.push(also);
    }
    if options.rcpt.is_silent() {
        options.rcpt = of_other.rcpt;
    }
    Remote { options: options.to_text(), ..remote }
}

/// Whether the store may accept later what it rejects now.
pub fn is_refused_for_now(refused: &StoreError) -> bool {
    match refused {
        StoreError::NoRoom
        | StoreError::MailboxFull(_)
        | StoreError::Busy
        | StoreError::Disk(_)
        | StoreError::Newer => true,
        StoreError::NoMailbox(_)
        | StoreError::NoEntry(_)
        | StoreError::NoRecipient
        | StoreError::NameTaken
        | StoreError::FolderTwice
        | StoreError::TooMuch(_)
        | StoreError::NoDraft => false,
    }
}

/// The octets that are read at a time to see whether a message is whole.
const VERIFIED_OCTETS: usize = 1 << 20;

/// The server extensions that a message needs by its octets, regardless of its sender's parameters. (RFC 6152, section
/// 3)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Whether it has octets above 127: 8BITMIME.
    pub is_8bit: bool,
    /// Whether its header has 8-bit octets: then it needs SMTPUTF8, if its sender requested that. Otherwise the header
    /// is not known to be UTF-8.
    pub has_8bit_header: bool,
}

impl Contents {
    /// The contents of a message of these parts.
    fn add(&mut self, part: &[u8], end: &mut HeaderEnd) {
        self.is_8bit |= !part.is_ascii();
        for octet in part {
            if end.is_past {
                break;
            }
            self.has_8bit_header |= !octet.is_ascii();
            end.take(*octet);
        }
    }
}

/// Finds the empty line behind a header.
#[derive(Default)]
struct HeaderEnd {
    /// How many octets of the line there were.
    len: usize,
    is_past: bool,
}

impl HeaderEnd {
    fn take(&mut self, octet: u8) {
        match octet {
            b'\n' => (self.is_past, self.len) = (self.len == 0, 0),
            b'\r' => {}
            _ => self.len += 1,
        }
    }
}

/// A stored message to be sent. A damaged one is never read to its end.
pub struct StoredMessage {
    store: MailStore,
    message: Message,
    /// The checksum and the length of what has been read.
    read: RefCell<(crc32fast::Hasher, u64)>,
}

impl StoredMessage {
    /// The message of an entry.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub async fn of(store: &MailStore, id: QueueId) -> Result<Self, Unreadable> {
        let message = store.read_queued(id).await?;
        Ok(Self { store: store.clone(), message, read: RefCell::default() })
    }

    /// The message's properties.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Reads the whole message once, so that a damaged one is not sent: returns what it needs of a server.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub async fn verify(&self) -> Result<Contents, Unreadable> {
        let (mut contents, mut header_end) = (Contents::default(), HeaderEnd::default());
        let mut offset = 0;
        loop {
            let part = self.part(offset, VERIFIED_OCTETS).await?;
            if part.is_empty() {
                return Ok(contents);
            }
            contents.add(&part, &mut header_end);
            // A length in memory fits.
            offset += part.len() as u64;
        }
    }

    /// As [`Source::read`], with why it cannot be read.
    pub(in crate::mail) async fn part(&self, offset: u64, len: usize) -> Result<Vec<u8>, Unreadable> {
        let octets = self.store.read_body_part(&self.message.body, offset, len).await?;
        let mut read = self.read.borrow_mut();
        let (hasher, end) = &mut *read;
        if offset == 0 {
            (*hasher, *end) = (crc32fast::Hasher::new(), 0);
        }
        if offset == *end {
            hasher.update(&octets);
            // A length in memory fits.
            *end += octets.len() as u64;
        }
        match self.message.body {
            // The checksum of a record covers its content.
            BodyOctets::File { len, checksum, .. } if octets.is_empty() => {
                let is_whole = *end == len && hasher.clone().finalize() == checksum;
                if is_whole { Ok(octets) } else { Err(Unreadable::Damaged) }
            }
            _ => Ok(octets),
        }
    }
}

impl Source for StoredMessage {
    fn read(&self, offset: u64, len: usize) -> LocalFuture<'_, io::Result<Vec<u8>>> {
        Box::pin(async move {
            self.part(offset, len).await.map_err(|error| match error {
                Unreadable::Io(error) => error,
                other => io::Error::other(other.to_string()),
            })
        })
    }
}

#[cfg(test)]
mod tests;
