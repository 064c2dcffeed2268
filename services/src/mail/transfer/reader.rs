//! One mailbox, read while a gateway may be writing to the store.

use std::io;

use super::export::ExportError;
use crate::mail::store::{
    Entry, Mailbox, MailboxId, Message, Recovered, Uid, Unreadable, each_body_part, read_body_part, recover,
};
use crate::store::Storage;

/// How often a message that has moved is looked up again.
const LOOKUPS_MAX: usize = 3;
/// Octets of a body that are read at a time.
const PART_OCTETS: usize = 64 << 10;

/// Reads messages of a mailbox, as of its opening.
pub struct Reader<'a> {
    disk: &'a dyn Storage,
    recovered: Recovered,
    mailbox: MailboxId,
}

impl<'a> Reader<'a> {
    /// Opens the mailbox that is called `name`.
    ///
    /// # Errors
    ///
    /// [`ExportError::NoMailbox`] or [`ExportError::Store`].
    pub fn open(disk: &'a dyn Storage, name: &str) -> Result<Self, ExportError> {
        let recovered = recover(disk).map_err(ExportError::Store)?;
        let mailbox = mailbox_named(&recovered, name)?.state().id;
        Ok(Self { disk, recovered, mailbox })
    }

    /// The mailbox when it was last read; `None` if it is gone.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        self.recovered.state().mailbox(self.mailbox)
    }

    /// Whether something of the store cannot be read.
    pub fn is_damaged(&self) -> bool {
        self.recovered.report().is_damaged()
    }

    /// The message of that number, which may have moved since the mailbox was opened.
    ///
    /// # Errors
    ///
    /// Why it cannot be read. [`Unreadable::Gone`] if it was removed.
    pub fn message(&mut self, uid: Uid) -> Result<(Entry, Message), Unreadable> {
        for _ in 0..LOOKUPS_MAX {
            let entry = self.mailbox().and_then(|mailbox| mailbox.entry(uid)).copied();
            let entry = entry.ok_or(Unreadable::Gone)?;
            match self.recovered.message(self.disk, self.mailbox, &entry) {
                Err(Unreadable::Gone) => self.read_again()?,
                read => return read.map(|message| (entry, message)),
            }
        }
        Err(Unreadable::Gone)
    }

    fn read_again(&mut self) -> io::Result<()> {
        self.recovered = recover(self.disk)?;
        Ok(())
    }

    /// Passes all octets of a message, the delivery's own header lines first, to `visit` in parts.
    ///
    /// # Errors
    ///
    /// As [`each_body_part`].
    pub fn each_part<E: From<Unreadable>>(
        &self,
        message: &Message,
        mut visit: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        visit(&message.prefix)?;
        each_body_part(self.disk, &message.body, visit)
    }

    /// All octets of a message.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub fn whole(&self, message: &Message) -> Result<Vec<u8>, Unreadable> {
        let mut octets = Vec::new();
        self.each_part(message, |part| {
            octets.extend_from_slice(part);
            Ok::<_, Unreadable>(())
        })?;
        Ok(octets)
    }

    /// The first octets of a message: `len` of them, or some more.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub fn beginning(&self, message: &Message, len: usize) -> Result<Vec<u8>, Unreadable> {
        let mut octets = message.prefix.clone();
        let mut offset = 0;
        while octets.len() < len {
            let part = read_body_part(self.disk, &message.body, offset, PART_OCTETS)?;
            if part.is_empty() {
                break;
            }
            offset += part.len() as u64;
            octets.extend(part);
        }
        Ok(octets)
    }
}

/// The mailbox that is called `name`.
pub(super) fn mailbox_named<'a>(recovered: &'a Recovered, name: &str) -> Result<&'a Mailbox, ExportError> {
    let state = recovered.state();
    let names = || state.mailboxes().map(|mailbox| mailbox.state().name.clone()).collect();
    state.mailbox_named(name).ok_or_else(|| ExportError::NoMailbox(names()))
}
