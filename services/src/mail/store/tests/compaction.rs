//! Segments that are compacted, and checkpoints, where what they say is long.

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
