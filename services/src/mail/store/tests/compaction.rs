//! Segments that are compacted, and checkpoints, where what they say is long.

use gatepost_ground::Instant;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::bounds::settle;
use crate::mail::store::*;
use crate::store::{Memory, Storage};

/// A checkpoint after each batch.
const SETTINGS: Settings = Settings {
    segment_octets: 2 << 20,
    batch_octets: 4 << 20,
    batch_records: 256,
    inline_octets: record::BODY_OCTETS_MAX,
    checkpoint_octets: 1,
    reserve_octets: 100,
    messages_max: 10_000,
    queue_max: 10_000,
    seen_max: 10_000,
};

fn open(disk: &Memory) -> Store {
    Store::new(SETTINGS, recover(disk).unwrap(), StdRng::seed_from_u64(1))
}

/// Accepts a message for so many recipients elsewhere, each with such options.
fn queue(disk: &Memory, store: &mut Store, count: usize, options: &str) -> Sequence {
    let remote = Remote { options: options.to_owned(), ..Remote::default() };
    let accept = Accept { remotes: vec![remote; count], ..Accept::default() };
    store.submit(Change::Accept(accept, b"a body".to_vec())).unwrap();
    settle(disk, store);
    store.poll_outcome().unwrap().1.unwrap().sequence.unwrap()
}

/// Each recipient's server answers `reply`.
fn attempt_all(disk: &Memory, store: &mut Store, message: Sequence, count: usize, reply: &str) {
    for recipient in 0..u16::try_from(count).unwrap() {
        let entry = QueueId { message, recipient };
        let progress = Progress { tries: 1, reply: reply.to_owned(), ..Progress::default() };
        store.submit(Change::Attempt(Attempt { entry, progress })).unwrap();
    }
    settle(disk, store);
    while let Some((_, outcome)) = store.poll_outcome() {
        outcome.unwrap();
    }
}

/// Fills the segment, and begins another, so that it is compacted.
fn fill(disk: &Memory, store: &mut Store) {
    for _ in 0..4 {
        store.submit(Change::Note("n".repeat(900_000))).unwrap();
        settle(disk, store);
        assert!(store.poll_outcome().unwrap().1.is_ok());
    }
}

/// Settings by which a few records fill a segment.
const SMALL: Settings =
    Settings { segment_octets: 8000, batch_octets: 2000, checkpoint_octets: 4000, ..SETTINGS };

/// Does all that there is to do, and says how many segments were removed.
fn settle_within(disk: &Memory, store: &mut Store, tasks: usize) -> usize {
    let mut removed = 0;
    for _ in 0..tasks {
        let Some(request) = store.poll_request(Instant::from_secs(100)) else { return removed };
        let is_segment = |file: &str| file.starts_with("mail/segments/");
        removed += usize::from(matches!(&request.task, Task::Remove { file } if is_segment(file)));
        let done = request.task.perform(disk);
        store.handle_done(Instant::from_secs(100), request.lane, done);
        while let Some((_, outcome)) = store.poll_outcome() {
            outcome.unwrap();
        }
    }
    panic!("there is no end to it");
}

/// A store in which messages are to stay where they are, with a mailbox of that many.
fn with_messages(disk: &Memory, count: u32) -> (Store, MailboxId) {
    let mut store = Store::new(SMALL, recover(disk).unwrap(), StdRng::seed_from_u64(1));
    store.submit(Change::MakeMailbox { name: "anna".to_owned(), quota: 0, time: 7 }).unwrap();
    settle_within(disk, &mut store, 100);
    let anna = store.state().mailbox_named("anna").unwrap().state().id;
    for _ in 0..count {
        let deliveries = vec![Delivery { mailbox: anna, ..Delivery::default() }];
        let remotes = vec![Remote { recipient: "c@office.example".to_owned(), ..Remote::default() }];
        let accept = Accept { deliveries, remotes, ..Accept::default() };
        store.submit(Change::Accept(accept, vec![b'x'; 100])).unwrap();
        settle_within(disk, &mut store, 10_000);
    }
    (store, anna)
}

#[test]
fn a_recent_note_outlives_its_segment_and_a_start() {
    let disk = Memory::new();
    let (mut store, _) = with_messages(&disk, 1);
    store.submit(Change::Note("of 1.2: something".to_owned())).unwrap();
    store.submit(Change::Probe).unwrap();
    settle_within(&disk, &mut store, 10_000);
    let notes = || {
        let note = |record: Record<'_>| match record.content {
            Content::Note(note) if note.len() <= NOTE_OCTETS_MAX => Some((record.sequence, note.clone())),
            _ => None,
        };
        history(&disk, note).unwrap().picked
    };
    let [(sequence, _), _] = notes()[..] else { panic!("{:?}", notes()) };
    let mut removed = 0;
    for _ in 0..3 {
        for _ in 0..40 {
            store.submit(Change::Note("n".repeat(NOTE_OCTETS_MAX + 1))).unwrap();
            removed += settle_within(&disk, &mut store, 20_000);
        }
        store = Store::new(SMALL, recover(&disk).unwrap(), StdRng::seed_from_u64(1));
        removed += settle_within(&disk, &mut store, 20_000);
    }
    assert!(removed > 20, "{removed}");
    assert_eq!(notes(), [(sequence, "of 1.2: something".to_owned())], "the probe is gone");
}

#[test]
fn segments_of_what_was_tried_are_not_copied_for_ever() {
    let disk = Memory::new();
    let (mut store, _) = with_messages(&disk, 40);
    for round in 1..=20 {
        let entries: Vec<_> = store.state().queue().map(|(id, _)| id).collect();
        for entry in entries {
            let progress = Progress { tries: round, reply: "r".repeat(300), ..Progress::default() };
            store.submit(Change::Attempt(Attempt { entry, progress })).unwrap();
            settle_within(&disk, &mut store, 20_000);
        }
    }
    let octets: u64 = store.segments.files.values().map(|file| file.len).sum();
    // Of 20 tries of 400 octets each the last.
    assert!(octets < 100_000, "{octets} octets");
    for recovered in [recover(&disk).unwrap(), recover_all(&disk).unwrap()] {
        let tries: Vec<_> = recovered.state().queue().map(|(_, entry)| entry.progress.tries).collect();
        assert_eq!(tries, [20; 40]);
    }
}

#[test]
fn segments_of_what_has_ended_are_not_copied_for_ever() {
    let disk = Memory::new();
    let (mut store, anna) = with_messages(&disk, 300);
    for uid in (1..=300).filter(|uid| uid % 3 == 0) {
        store.submit(Change::Expunge(Expunge { mailbox: anna, uids: vec![uid] })).unwrap();
        settle_within(&disk, &mut store, 20_000);
        store
            .submit(Change::Seen(Uidls { account: "a".to_owned(), uidls: vec![uid.to_string(); 3] }))
            .unwrap();
        settle_within(&disk, &mut store, 20_000);
    }
    for recovered in [recover(&disk).unwrap(), recover_all(&disk).unwrap()] {
        assert_eq!(recovered.state().mailbox(anna).unwrap().entries().len(), 200);
        assert_eq!(recovered.state().seen("a").count(), 100);
    }
}

#[test]
fn what_has_ended_goes_with_the_segments_that_said_it() {
    let disk = Memory::new();
    let (mut store, anna) = with_messages(&disk, 300);
    let all = |store: &Store| -> u64 { store.segments.files.values().map(|file| file.len).sum() };
    let before = all(&store);
    let entries: Vec<_> = store.state().queue().map(|(id, _)| id).collect();
    for entry in entries {
        store.submit(Change::Done(Done::new(entry, String::new()))).unwrap();
        settle_within(&disk, &mut store, 20_000);
    }
    for uid in 1..=300 {
        store.submit(Change::Expunge(Expunge { mailbox: anna, uids: vec![uid] })).unwrap();
        settle_within(&disk, &mut store, 20_000);
    }
    let after = all(&store);
    assert!(after < before / 2, "{after} of {before}");
}

#[test]
fn of_long_replies_the_begin_is_kept_and_compaction_loses_nobody() {
    let disk = Memory::new();
    let mut store = open(&disk);
    let message = queue(&disk, &mut store, 2, "");
    attempt_all(&disk, &mut store, message, 2, &"\r\n\u{e4}".repeat(100_000));
    fill(&disk, &mut store);
    let recovered = recover(&disk).unwrap();
    assert_eq!(recovered.report(), &Report { records: recovered.report().records, ..Report::default() });
    let replies: Vec<_> = recovered.state().queue().map(|(_, entry)| entry.progress.reply.len()).collect();
    assert_eq!(replies, [REPLY_OCTETS_MAX; 2]);
}

#[test]
fn a_record_whose_copy_would_be_too_long_stays_where_it_is() {
    let disk = Memory::new();
    let mut store = open(&disk);
    let message = queue(&disk, &mut store, RECIPIENTS_MAX, "");
    let place = |state: &State| state.queue().next().unwrap().1.place;
    let before = place(store.state());
    attempt_all(&disk, &mut store, message, RECIPIENTS_MAX, &"\u{e4}".repeat(REPLY_OCTETS_MAX / 2));
    fill(&disk, &mut store);
    assert_eq!(place(store.state()), before);
    for recovered in [recover(&disk).unwrap(), recover_all(&disk).unwrap()] {
        assert!(!recovered.report().is_damaged(), "{:?}", recovered.report());
        assert_eq!(recovered.state().queue().count(), RECIPIENTS_MAX);
    }
}

#[test]
fn a_checkpoint_of_long_lines_can_be_read() {
    let disk = Memory::new();
    let mut store = open(&disk);
    for _ in 0..2 {
        queue(&disk, &mut store, 300, &"o".repeat(3000));
    }
    for number in 0..2 {
        let uidls = (0..300).map(|of| format!("{number}-{of}-{}", "u".repeat(3000))).collect();
        store.submit(Change::Seen(Uidls { uidls, account: "a".to_owned() })).unwrap();
        settle(&disk, &mut store);
    }
    assert!(disk.len("mail/checkpoint").unwrap().is_some());
    let recovered = recover(&disk).unwrap();
    assert!(!recovered.report().is_checkpoint_damaged);
    assert_eq!(recovered.state().queue().count(), 600);
    assert_eq!(recovered.state().seen("a").count(), 600);
}
