//! Reading a message.
//!
//! A message in a mailbox is the delivery's own header lines and the body. [`read_message`] reads the record of an
//! [`Entry`]; a body in a file of its own is read in parts.

use std::fmt;
use std::io;

use super::content::{Accept, Body, Content, MailboxId, QueueId, Sequence};
use super::layout::body_file;
use super::mailbox::Entry;
use super::record::{Marker, decode};
use crate::store::Storage;

/// A message of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its properties besides its octets.
    pub accept: Accept,
    /// The header lines that come before the body in this mailbox.
    pub prefix: Vec<u8>,
    /// The body.
    pub body: BodyOctets,
}

/// The octets of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyOctets {
    /// These.
    Inline(Vec<u8>),
    /// Those of a file.
    File {
        /// Its name in the storage.
        file: String,
        /// Its length in octets.
        len: u64,
        /// The CRC-32 of all of them.
        checksum: u32,
    },
}

impl BodyOctets {
    /// The body of the message in a record with `accept` and `body`.
    pub(in crate::mail) fn of(accept: &Accept, body: &[u8]) -> Self {
        match accept.body {
            Body::Inline => Self::Inline(body.to_vec()),
            Body::File { name, len, checksum } => Self::File { file: body_file(name), len, checksum },
        }
    }

    /// The length of the body in octets.
    pub fn len(&self) -> u64 {
        match self {
            // A length in memory fits.
            Self::Inline(octets) => octets.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    /// Whether it has no octets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many octets of `len` there are from `offset` on.
    pub(super) fn part_len(&self, offset: u64, len: usize) -> usize {
        usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX).min(len)
    }

    /// Verifies the octets read from a file, which should be `len` octets.
    pub(super) fn check_part(octets: Option<Vec<u8>>, len: usize) -> Result<Vec<u8>, Unreadable> {
        let octets = octets.ok_or(Unreadable::Gone)?;
        if octets.len() < len { Err(Unreadable::Damaged) } else { Ok(octets) }
    }
}

/// Why a message cannot be read.
#[derive(Debug)]
pub enum Unreadable {
    /// It is gone, or has moved: its entry has to be looked up again.
    Gone,
    /// Its checksum does not match.
    Damaged,
    /// An error of the storage.
    Io(io::Error),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the message is gone"),
            Self::Damaged => f.write_str("the message is damaged"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Unreadable {}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Message {
    /// The message of `entry` in `mailbox` that the record `octets` of a segment with `marker` holds.
    ///
    /// # Errors
    ///
    /// [`Unreadable::Damaged`]
    pub fn parse(
        marker: Marker,
        octets: &[u8],
        mailbox: MailboxId,
        entry: &Entry,
    ) -> Result<Self, Unreadable> {
        let (_, message) = Self::of_record(marker, octets)?;
        let is_it = |(to, uid)| to == mailbox && uid == entry.uid;
        let delivery =
            message.accept.deliveries.iter().find(|delivery| is_it((delivery.mailbox, delivery.uid)));
        let prefix = delivery.ok_or(Unreadable::Damaged)?.prefix.clone();
        Ok(Self { prefix, ..message })
    }

    /// The message of the queue entry `id` that the record `octets` of a segment with `marker` holds. It has no header
    /// lines of a delivery.
    ///
    /// # Errors
    ///
    /// [`Unreadable::Damaged`]
    pub fn parse_queued(marker: Marker, octets: &[u8], id: QueueId) -> Result<Self, Unreadable> {
        let (sequence, message) = Self::of_record(marker, octets)?;
        let is_it = sequence == id.message
            && message.accept.remotes.iter().any(|remote| remote.number == id.recipient);
        if is_it { Ok(message) } else { Err(Unreadable::Damaged) }
    }

    /// The number of a message, and the message.
    fn of_record(marker: Marker, octets: &[u8]) -> Result<(Sequence, Self), Unreadable> {
        let (frame, text, body) = decode(marker, octets).ok_or(Unreadable::Damaged)?;
        let Ok(Content::Accept(accept)) = Content::decode(frame.kind, text) else {
            return Err(Unreadable::Damaged);
        };
        let body = BodyOctets::of(&accept, body);
        Ok((frame.sequence, Self { accept, prefix: Vec::new(), body }))
    }
}

/// Reads the message of `entry` in `mailbox` from the segment with the file and marker `segment`.
///
/// # Errors
///
/// Why it cannot be read. Other messages are not concerned.
pub fn read_message(
    disk: &dyn Storage,
    segment: &(String, Marker),
    mailbox: MailboxId,
    entry: &Entry,
) -> Result<Message, Unreadable> {
    let (file, marker) = segment;
    let octets = disk.read_at(file, entry.place.offset, entry.place.len as usize)?;
    Message::parse(*marker, &octets.ok_or(Unreadable::Gone)?, mailbox, entry)
}

/// Reads at most `len` octets of a body from `offset` on; none at its end.
///
/// The octets of a file are not verified: a caller that reads all of them compares the checksum.
///
/// # Errors
///
/// Why it cannot be read: [`Unreadable::Damaged`] if the file is shorter than it was.
pub fn read_body_part(
    disk: &dyn Storage,
    body: &BodyOctets,
    offset: u64,
    len: usize,
) -> Result<Vec<u8>, Unreadable> {
    match body {
        BodyOctets::Inline(octets) => Ok(crate::store::part_of(octets, offset, len)),
        BodyOctets::File { file, .. } => {
            let len = body.part_len(offset, len);
            BodyOctets::check_part(disk.read_at(file, offset, len)?, len)
        }
    }
}
