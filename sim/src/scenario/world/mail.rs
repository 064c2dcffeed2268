//! What lies in the mailboxes, as the disk has it.

use std::collections::BTreeMap;

use gatepost_services::mail::store::{Unreadable, each_body_part, recover};
use gatepost_services::store::Storage;

/// The messages of each mailbox.
///
/// # Errors
///
/// One cannot be read, in a sentence.
pub(super) fn mailboxes(disk: &dyn Storage) -> Result<BTreeMap<String, Vec<Vec<u8>>>, String> {
    let recovered = recover(disk).map_err(|error| format!("the mail cannot be read: {error}"))?;
    let mut all = BTreeMap::new();
    for mailbox in recovered.state().mailboxes() {
        let name = &mailbox.state().name;
        let unreadable = |why: Unreadable| format!("a message of {name} cannot be read: {why}");
        let mut messages = Vec::new();
        for entry in mailbox.entries() {
            let message = recovered.message(disk, mailbox.state().id, entry).map_err(unreadable)?;
            let mut octets = message.prefix.clone();
            each_body_part(disk, &message.body, |part| {
                octets.extend_from_slice(part);
                Ok(())
            })
            .map_err(unreadable)?;
            messages.push(octets);
        }
        all.insert(name.clone(), messages);
    }
    Ok(all)
}
