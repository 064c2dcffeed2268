//! The content of the gateway's mail store, from its disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use gatepost_services::mail::store::{
    BODIES, BodyOctets, CHECKPOINT, Checked, Damage, Message, Origin, QueueId, Sequence, Uid, Unreadable,
    check, each_body_part, read_body_part, recover,
};

use super::disk::SimDisk;
use crate::machine::post::mark_of;

/// The octets of a message that are read to find its mark.
const HEADER_OCTETS: usize = 4_096;

/// All that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The mailboxes, by their users.
    pub mailboxes: BTreeMap<String, StoredMailbox>,
    /// The messages that came by SMTP and lie in a mailbox or wait to be sent on, by their numbers.
    pub messages: BTreeSet<Sequence>,
    /// The queue: a recipient of a message each.
    pub queue: BTreeMap<QueueId, StoredEntry>,
    /// Whether a start that reads it finds it damaged, and has to say so.
    pub is_damaged: bool,
    /// Flipped octets that `gatepost mail check` does not report.
    pub untold: Vec<String>,
}

/// A mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredMailbox {
    /// How many octets it may hold; 0 for any number.
    pub quota: u64,
    /// How many its messages have.
    pub used: u64,
    /// Its messages.
    pub messages: BTreeMap<Uid, StoredMessage>,
}

/// A message in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its octets; `None` if they cannot be read.
    pub octets: Option<Vec<u8>>,
}

/// An entry of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredEntry {
    /// The mark of its message; `None` if that cannot be read, or has none.
    pub mark: Option<String>,
    /// The address that it goes to.
    pub recipient: String,
    /// How often it was tried.
    pub tries: u32,
    /// Why it is still there; empty if nothing came of any try yet.
    pub reply: String,
}

/// Reads all of it.
///
/// # Errors
///
/// None of it can be read, in a sentence.
pub fn read(disk: &SimDisk) -> Result<Stored, String> {
    let unreadable = |error| format!("the mail cannot be read: {error}");
    let recovered = recover(disk).map_err(unreadable)?;
    let mut stored = Stored { is_damaged: recovered.report().is_damaged(), ..Stored::default() };
    // Of large bodies.
    let mut files = BTreeSet::new();
    for mailbox in recovered.state().mailboxes() {
        let (state, entries) = (mailbox.state(), mailbox.entries());
        let mut messages = BTreeMap::new();
        for entry in entries {
            let message = recovered.message(disk, state.id, entry);
            if message.as_ref().map_or(true, has_come_by_smtp) {
                stored.messages.insert(entry.message);
            }
            let octets = message.and_then(|message| {
                note_file(&mut files, &message);
                let mut octets = message.prefix.clone();
                each_body_part(disk, &message.body, |part| {
                    octets.extend_from_slice(part);
                    Ok::<_, Unreadable>(())
                })?;
                Ok(octets)
            });
            messages.insert(entry.uid, StoredMessage { octets: octets.ok() });
        }
        let mailbox = StoredMailbox { quota: state.quota, used: mailbox.used(), messages };
        stored.mailboxes.insert(state.name.clone(), mailbox);
    }
    for (id, entry) in recovered.state().queue() {
        let message = recovered.queued(disk, id);
        if message.as_ref().map_or(true, has_come_by_smtp) {
            stored.messages.insert(id.message);
        }
        let mark = message.and_then(|message| {
            note_file(&mut files, &message);
            read_body_part(disk, &message.body, 0, HEADER_OCTETS)
        });
        let entry = StoredEntry {
            mark: mark.ok().and_then(|octets| mark_of(&octets)),
            recipient: entry.recipient.clone(),
            tries: entry.progress.tries,
            reply: entry.progress.reply.clone(),
        };
        stored.queue.insert(id, entry);
    }
    stored.untold = untold(disk, &files).map_err(unreadable)?;
    Ok(stored)
}

/// Notes the file of a message's body, if it has one.
fn note_file(files: &mut BTreeSet<String>, message: &Message) {
    if let BodyOctets::File { file, .. } = &message.body {
        files.insert(file.clone());
    }
}

/// Flipped octets that are not reported. `files` are those of the bodies that are still needed.
fn untold(disk: &SimDisk, files: &BTreeSet<String>) -> io::Result<Vec<String>> {
    let flipped = disk.flipped();
    if flipped.is_empty() {
        return Ok(Vec::new());
    }
    let Checked { report, bodies, .. } = check(disk)?;
    let is_told = |(file, offset): &(String, u64)| {
        let is_there = |damage: &Damage| {
            damage.file == *file && (damage.offset..damage.offset + damage.len).contains(offset)
        };
        match file.as_str() {
            CHECKPOINT => report.is_checkpoint_damaged,
            _ if file.starts_with(BODIES) => {
                !files.contains(file) || bodies.iter().any(|body| body.file == *file)
            }
            _ => report.damages.iter().any(is_there),
        }
    };
    let untold = flipped.into_iter().filter(|flipped| !is_told(flipped));
    Ok(untold.map(|(file, offset)| format!("octet {offset} of {file}")).collect())
}

/// Whether a client has sent it to the office, and it was neither polled nor made by the gateway.
fn has_come_by_smtp(message: &Message) -> bool {
    message.accept.origin == Origin::Smtp
}
