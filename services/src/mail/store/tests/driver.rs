//! The store over a disk whose jobs are done at once.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use gatepost_ground::Instant;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::disk::FakeDisk;
use super::office::SETTINGS;
use crate::clock::{Clock, UnixTime};
use crate::mail::store::*;
use crate::store::Storage;
use crate::wait::first_of;
use crate::work::AtOnce;

struct Stopped(Cell<u64>);

impl Clock for Stopped {
    fn now(&self) -> Instant {
        Instant::from_secs(self.0.get())
    }

    fn unix_time(&self) -> UnixTime {
        UnixTime(7)
    }
}

async fn open(disk: &Arc<FakeDisk>) -> MailStore {
    let clock = Rc::new(Stopped(Cell::new(100)));
    let disk = Arc::clone(disk) as Arc<dyn Storage>;
    let opened = MailStore::open(disk, Rc::new(AtOnce), clock, SETTINGS, StdRng::seed_from_u64(1)).await;
    opened.unwrap().0
}

/// Runs the store while `work` uses it.
async fn with<T>(store: &MailStore, work: impl Future<Output = T>) -> T {
    let run = async {
        store.run().await;
        unreachable!("it runs for ever")
    };
    first_of(work, run).await
}

async fn mailbox(store: &MailStore, quota: u64) -> MailboxId {
    let change = Change::MakeMailbox { name: "anna".to_owned(), quota, time: 7 };
    store.change(change).await.unwrap().mailbox.unwrap()
}

fn to(mailbox: MailboxId) -> Accept {
    Accept { deliveries: vec![Delivery { mailbox, ..Delivery::default() }], ..Accept::default() }
}

async fn body(store: &MailStore, message: &Message) -> Vec<u8> {
    let mut octets = Vec::new();
    while (octets.len() as u64) < message.body.len() {
        octets.extend(store.read_body_part(&message.body, octets.len() as u64, 7).await.unwrap());
    }
    octets
}

#[tokio::test(start_paused = true)]
async fn a_message_of_any_size_comes_in_parts_and_is_there_after_a_crash() {
    let disk = Arc::new(FakeDisk::default());
    let store = open(&disk).await;
    let long: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let anna = with(&store, async {
        let anna = mailbox(&store, 0).await;
        for octets in [&b"short"[..], &long, b""] {
            let mut incoming = store.begin(0).unwrap();
            incoming.reserve(anna, 0).unwrap();
            for part in octets.chunks(30) {
                incoming.chunk(part).await.unwrap();
            }
            incoming.commit(to(anna)).await.unwrap();
        }
        anna
    })
    .await;
    disk.cut_power(super::disk::Loss::All);
    let store = open(&disk).await;
    with(&store, async {
        store.ready().await;
        let uids: Vec<_> = store
            .look(|state| state.mailbox(anna).unwrap().entries().iter().map(|entry| entry.uid).collect());
        assert_eq!(uids, [1, 2, 3]);
        for (uid, octets) in uids.into_iter().zip([&b"short"[..], &long, b""]) {
            let message = store.read(anna, uid).await.unwrap();
            assert_eq!(body(&store, &message).await, octets);
        }
        assert!(matches!(store.read(anna, 4).await, Err(Unreadable::Gone)));
        let gone = Expunge { mailbox: anna, uids: vec![2] };
        store.change(Change::Expunge(gone)).await.unwrap();
        assert!(matches!(store.read(anna, 2).await, Err(Unreadable::Gone)));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_given_up_leaves_no_file_and_no_reservation() {
    let disk = Arc::new(FakeDisk::default());
    let store = open(&disk).await;
    with(&store, async {
        let anna = mailbox(&store, 600).await;
        let mut incoming = store.begin(100).unwrap();
        incoming.reserve(anna, 0).unwrap();
        incoming.chunk(&[b'x'; 500]).await.unwrap();
        assert!(disk.names().iter().any(|name| name.starts_with("mail/bodies")));
        let refused = incoming.chunk(&[b'x'; 101]).await;
        assert_eq!(refused, Err(StoreError::MailboxFull(anna)), "it is longer than announced");
        let mut other = store.begin(101).unwrap();
        assert_eq!(other.reserve(anna, 0), Err(StoreError::MailboxFull(anna)));
        drop(incoming);
        other.reserve(anna, 0).unwrap();
        other.chunk(b"octets").await.unwrap();
        other.commit(to(anna)).await.unwrap();
        let mut whole = store.begin(594).unwrap();
        whole.reserve(anna, 0).unwrap();
        assert_eq!(disk.names().iter().filter(|name| name.starts_with("mail/bodies")).count(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn room_is_reserved_for_a_deliverys_own_header_lines() {
    let disk = Arc::new(FakeDisk::default());
    let store = open(&disk).await;
    with(&store, async {
        let anna = mailbox(&store, 100).await;
        let prefix = b"To: anna\r\n";
        let mut incoming = store.begin(91).unwrap();
        let refused = incoming.reserve(anna, prefix.len() as u64);
        assert_eq!(refused, Err(StoreError::MailboxFull(anna)), "and not once all of it has come");
        let mut incoming = store.begin(0).unwrap();
        incoming.reserve(anna, prefix.len() as u64).unwrap();
        assert_eq!(incoming.chunk(&[b'x'; 91]).await, Err(StoreError::MailboxFull(anna)));
        drop(incoming);
        let mut incoming = store.begin(90).unwrap();
        incoming.reserve(anna, prefix.len() as u64).unwrap();
        incoming.chunk(&[b'x'; 90]).await.unwrap();
        let mut accept = to(anna);
        accept.deliveries[0].prefix = prefix.to_vec();
        incoming.commit(accept).await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_that_the_disk_fails() {
    let disk = Arc::new(FakeDisk::default());
    let store = open(&disk).await;
    with(&store, async {
        let anna = mailbox(&store, 0).await;
        disk.set_room(Some(10));
        let refused = store.change(Change::Accept(to(anna), vec![b'x'; 30])).await;
        assert_eq!(refused, Err(StoreError::NoRoom));
        assert!(matches!(store.begin(0), Err(StoreError::NoRoom)));
        assert_eq!(store.look(|state| state.mailbox(anna).unwrap().entries().len()), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_refused_mailboxes_has_its_turn_at_once() {
    let store = open(&Arc::new(FakeDisk::default())).await;
    with(&store, async {
        let began = tokio::time::Instant::now();
        let make = || mailbox_named(&store, "anna");
        let note = store.change(Change::Note("behind".to_owned()));
        let (first, second, third, note) = tokio::join!(make(), make(), make(), note);
        let taken = || Err(StoreError::NameTaken);
        assert!(first.is_ok() && second == taken() && third == taken() && note.is_ok());
        assert_eq!(began.elapsed(), std::time::Duration::ZERO);
    })
    .await;
}

async fn mailbox_named(store: &MailStore, name: &str) -> Result<Stored, StoreError> {
    store.change(Change::MakeMailbox { name: name.to_owned(), quota: 0, time: 7 }).await
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_outcome_nobody_waits_for_keeps_its_room_until_it_is_known() {
    let store = open(&Arc::new(FakeDisk::default())).await;
    with(&store, async {
        let anna = mailbox(&store, 150).await;
        let mut incoming = store.begin(100).unwrap();
        incoming.reserve(anna, 0).unwrap();
        incoming.chunk(&[b'x'; 100]).await.unwrap();
        let commit = async {
            _ = incoming.commit(to(anna)).await;
        };
        first_of(commit, async {}).await;
        let mut other = store.begin(51).unwrap();
        assert_eq!(other.reserve(anna, 0), Err(StoreError::MailboxFull(anna)), "it may be kept yet");
        store.change(Change::Note("behind".to_owned())).await.unwrap();
        assert_eq!(store.look(|state| state.mailbox(anna).unwrap().used()), 100);
        assert_eq!(other.reserve(anna, 0), Err(StoreError::MailboxFull(anna)), "it is kept");
        store.begin(50).unwrap().reserve(anna, 0).unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_as_a_whole_takes_no_room_that_another_has_reserved() {
    let store = open(&Arc::new(FakeDisk::default())).await;
    with(&store, async {
        let anna = mailbox(&store, 150).await;
        let mut incoming = store.begin(0).unwrap();
        incoming.reserve(anna, 10).unwrap();
        incoming.chunk(&[b'x'; 90]).await.unwrap();
        let notice = |len: usize| store.change(Change::Accept(to(anna), vec![b'n'; len]));
        assert_eq!(notice(51).await, Err(StoreError::MailboxFull(anna)), "100 octets are reserved");
        let (first, second) = tokio::join!(notice(30), notice(30));
        assert!(first.is_ok());
        assert_eq!(second, Err(StoreError::MailboxFull(anna)), "the first one's room is not there twice");
        notice(20).await.unwrap();
        incoming.commit(to(anna)).await.unwrap();
        assert_eq!(store.look(|state| state.mailbox(anna).unwrap().used()), 140);
        notice(10).await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_recipient_of_a_message_of_which_nothing_has_come_costs_no_reservation() {
    let store = open(&Arc::new(FakeDisk::default())).await;
    with(&store, async {
        let anna = mailbox(&store, 0).await;
        let silent: Vec<_> = (0..DRAFTS_MAX - 1)
            .map(|_| {
                let mut incoming = store.begin(0).unwrap();
                (0..RESERVATIONS_MAX / 1000).for_each(|_| incoming.reserve(anna, 1).unwrap());
                incoming
            })
            .collect();
        assert!(silent.len() * (RESERVATIONS_MAX / 1000) > RESERVATIONS_MAX);
        let mut incoming = store.begin(0).unwrap();
        incoming.reserve(anna, 1).unwrap();
        incoming.chunk(b"octets").await.unwrap();
        incoming.commit(to(anna)).await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn several_changes_are_one_batch_and_what_came_of_each_is_told() {
    let disk = Arc::new(FakeDisk::default());
    let store = open(&disk).await;
    let anna = with(&store, mailbox(&store, 0)).await;
    let accept = |octets: &[u8]| Change::Accept(to(anna), octets.to_vec());
    let nowhere = Change::Accept(to(MailboxId(99)), Vec::new());
    let uids = vec![1];
    let changes =
        [accept(b"a"), nowhere.clone(), accept(b"b"), Change::Expunge(Expunge { mailbox: anna, uids })];
    let syncs = disk.syncs();
    let outcomes = with(&store, store.change_all(changes)).await;
    assert_eq!(disk.syncs(), syncs + 1);
    let uid = |at: usize| outcomes[at].as_ref().unwrap().uids.clone();
    assert_eq!((uid(0), uid(2), uid(3)), (vec![(anna, 1)], vec![(anna, 2)], Vec::new()));
    assert_eq!(outcomes[1], Err(StoreError::NoMailbox(MailboxId(99))));
    disk.fail_to_sync(true);
    let failing = async {
        let outcomes = store.change_all([accept(b"c"), accept(b"d")]);
        let mended = async { disk.fail_to_sync(false) };
        tokio::join!(outcomes, mended).0
    };
    assert!(with(&store, failing).await.len() == 2);
    assert!(store.change_all([]).await.is_empty());
}
