//! What lies in the mailboxes, as the disk has it.

use std::collections::BTreeMap;

use gatepost_services::mail::store::{Unreadable, each_body_part, recover};
use gatepost_services::store::Storage;

/// The messages of each mailbox. One that cannot be read is not there.
///
/// # Errors
///
/// None of it can be read, in a sentence.
pub(super) fn mailboxes(disk: &dyn Storage) -> Result<BTreeMap<String, Vec<Vec<u8>>>, String> {
    let recovered = recover(disk).map_err(|error| format!("the mail cannot be read: {error}"))?;
    let mut all = BTreeMap::new();
    for mailbox in recovered.state().mailboxes() {
        let mut messages = Vec::new();
        for entry in mailbox.entries() {
            let Ok(message) = recovered.message(disk, mailbox.state().id, entry) else { continue };
            let mut octets = message.prefix.clone();
            let read: Result<(), Unreadable> = each_body_part(disk, &message.body, |part| {
                octets.extend_from_slice(part);
                Ok(())
            });
            if read.is_ok() {
                messages.push(octets);
            }
        }
        all.insert(mailbox.state().name.clone(), messages);
    }
    Ok(all)
}
