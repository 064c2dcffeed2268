//! Any octets as a segment of the mail store, and as its checkpoint: reading them never fails, what is damaged is told, what
//! is there is served or not readable, and the store goes on: a message that it takes is there when all is read again.
//!
//! A first octet of 1 has records made of the rest, so that what is behind checksums is reached: of each a kind, flags, a
//! number, text and body, and a kind of 255 for octets that are no record. With 2 more, octets for the checkpoint come first.

#![no_main]

use std::collections::BTreeSet;

use gatepost_fuzz::Input;
use gatepost_ground::Instant;
use gatepost_services::mail::store::record::{self, Marker};
use gatepost_services::mail::store::{
    Accept, Change, Delivery, MailboxId, Recovered, Settings, Store, Uid, read_body_part, recover, recover_all,
};
use gatepost_services::store::{Memory, Storage};
use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::StdRng;

const MARKER: Marker = Marker(*b"markers!");
const SEGMENT: &str = "mail/segments/00000001-6d61726b65727321";
const NOW: Instant = Instant::from_secs(1);
/// Steps that the store needs for one message, its reserve, and bodies that nothing names.
const STEPS_MAX: usize = 10_000;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let disk = Memory::new();
    let flags = input.u8();
    if flags & 2 != 0 {
        disk.write("mail/checkpoint", input.chunk()).expect("a disk in memory");
    }
    let segment = if flags & 1 == 0 { input.rest().to_vec() } else { records(input) };
    disk.write(SEGMENT, &segment).expect("a disk in memory");
    let all = recover_all(&disk).expect("a disk in memory");
    for damage in &all.report().damages {
        assert!(damage.len > 0 && damage.file == SEGMENT, "{damage:?}");
        assert!(damage.offset <= segment.len() as u64, "{damage:?} of {}", segment.len());
    }
    let recovered = recover(&disk).expect("a disk in memory");
    let before = entries(&recovered);
    let is_newer = recovered.report().newer.is_some();
    read(&disk, &recovered);
    let mailboxes: Vec<_> = recovered.state().mailboxes().map(|mailbox| mailbox.state().id).collect();
    let settings = Settings { reserve_octets: 100, ..Settings::default() };
    let mut store = Store::new(settings, recovered, StdRng::from_seed([7; 32]));
    let deliver = |mailbox: &MailboxId| Delivery { mailbox: *mailbox, ..Delivery::default() };
    let accept = Accept { deliveries: mailboxes.iter().take(10).map(deliver).collect(), ..Accept::default() };
    let ticket = store.submit(Change::Accept(accept, b"new".to_vec()));
    assert_eq!(ticket.is_err(), is_newer);
    for step in 0.. {
        assert!(step < STEPS_MAX, "there is no end to it");
        let Some(request) = store.poll_request(NOW) else { break };
        let done = request.task.perform(&disk);
        store.handle_done(NOW, request.lane, done);
    }
    let Some((_, Ok(stored))) = store.poll_outcome() else { return };
    let after = entries(&recover(&disk).expect("a disk in memory"));
    assert!(stored.uids.iter().all(|uid| after.contains(uid) && !before.contains(uid)), "{stored:?}");
});

fn records(mut input: Input<'_>) -> Vec<u8> {
    let mut segment = Vec::new();
    while !input.is_empty() {
        let kind = input.u8();
        if kind == u8::MAX {
            segment.extend(input.chunk());
            continue;
        }
        let (flags, number) = (input.u8(), u64::from(input.u16()));
        let (text, body) = (input.chunk(), input.chunk());
        segment.extend(record::encode(MARKER, kind, flags, number, text, body));
    }
    segment
}

fn entries(recovered: &Recovered) -> BTreeSet<(MailboxId, Uid)> {
    let mailboxes = recovered.state().mailboxes();
    mailboxes
        .flat_map(|mailbox| mailbox.entries().iter().map(|entry| (mailbox.state().id, entry.uid)))
        .collect()
}

/// Reads all messages; some are not readable.
fn read(disk: &Memory, recovered: &Recovered) {
    for mailbox in recovered.state().mailboxes() {
        for entry in mailbox.entries() {
            if let Ok(message) = recovered.message(disk, mailbox.state().id, entry) {
                // A file that the octets name is not there.
                let _ = read_body_part(disk, &message.body, 0, 1 << 10);
            }
        }
    }
}
