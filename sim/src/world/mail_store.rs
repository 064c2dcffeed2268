//! What the gateway's mail store holds, as its disk has it.

use std::collections::{BTreeMap, BTreeSet};

use gatepost_services::mail::store::{Sequence, Uid, Unreadable, each_body_part, recover};
use gatepost_services::store::Storage;

/// All that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The mailboxes, by their users.
    pub mailboxes: BTreeMap<String, StoredMailbox>,
    /// The messages that lie in a mailbox or wait to be sent on, by their numbers.
    pub messages: BTreeSet<Sequence>,
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

/// Reads all of it.
///
/// # Errors
///
/// None of it can be read, in a sentence.
pub fn read(disk: &dyn Storage) -> Result<Stored, String> {
    let recovered = recover(disk).map_err(|error| format!("the mail cannot be read: {error}"))?;
    let mut stored = Stored::default();
    for mailbox in recovered.state().mailboxes() {
        let (state, entries) = (mailbox.state(), mailbox.entries());
        let mut messages = BTreeMap::new();
        for entry in entries {
            let message = recovered.message(disk, state.id, entry).and_then(|message| {
                let mut octets = message.prefix.clone();
                each_body_part(disk, &message.body, |part| {
                    octets.extend_from_slice(part);
                    Ok::<_, Unreadable>(())
                })?;
                Ok(octets)
            });
            messages.insert(entry.uid, StoredMessage { octets: message.ok() });
            stored.messages.insert(entry.message);
        }
        let mailbox = StoredMailbox { quota: state.quota, used: mailbox.used(), messages };
        stored.mailboxes.insert(state.name.clone(), mailbox);
    }
    stored.messages.extend(recovered.state().queue().map(|(id, _)| id.message));
    Ok(stored)
}
