//! What the store refuses, and what it does when something is full.

use gatepost_ground::Instant;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::mail::store::*;
use crate::store::{Memory, Storage};

const NOW: Instant = Instant::from_secs(100);

fn open(disk: &Memory) -> Store {
    Store::new(Settings::default(), recover(disk).unwrap(), StdRng::seed_from_u64(1))
}

pub(super) fn settle(disk: &Memory, store: &mut Store) {
    while let Some(request) = store.poll_request(NOW) {
        let done = request.task.perform(disk);
        store.handle_done(NOW, request.lane, done);
    }
}

fn make(disk: &Memory, store: &mut Store, change: Change) -> Result<Stored, StoreError> {
    let ticket = store.submit(change)?;
    settle(disk, store);
    let (told, outcome) = store.poll_outcome().unwrap();
    assert_eq!((told, store.poll_outcome()), (ticket, None));
    outcome
}

fn mailbox(disk: &Memory, store: &mut Store, name: &str, quota: u64) -> MailboxId {
    let change = Change::MakeMailbox { name: name.to_owned(), quota, time: 7 };
    make(disk, store, change).unwrap().mailbox.unwrap()
}

fn to(mailboxes: &[MailboxId]) -> Accept {
    let deliver = |mailbox: &MailboxId| Delivery { mailbox: *mailbox, ..Delivery::default() };
    Accept { deliveries: mailboxes.iter().map(deliver).collect(), ..Accept::default() }
}

#[test]
fn a_mailbox_has_a_name_a_quota_and_folders_and_none_has_its_number_again() {
    let disk = Memory::new();
    let mut store = open(&disk);
    let anna = mailbox(&disk, &mut store, "anna", 10);
    let again = Change::MakeMailbox { name: "anna".to_owned(), quota: 0, time: 7 };
    assert_eq!(make(&disk, &mut store, again), Err(StoreError::NameTaken));
    let bert = mailbox(&disk, &mut store, "bert", 0);
    assert_eq!(
        make(&disk, &mut store, Change::Accept(to(&[bert, anna]), vec![b'x'; 11])),
        Err(StoreError::MailboxFull(anna))
    );
    let stored = make(&disk, &mut store, Change::Accept(to(&[bert, anna]), vec![b'x'; 10])).unwrap();
    assert_eq!(stored.uids, [(bert, 1), (anna, 1)], "a refusal takes no numbers");
    let set = |name: &str, folders: &[&str]| Change::SetMailbox {
        id: anna,
        name: name.to_owned(),
        quota: 100,
        folders: folders.iter().map(|name| (*name).to_owned()).collect(),
    };
    assert_eq!(make(&disk, &mut store, set("bert", &["INBOX"])), Err(StoreError::NameTaken));
    assert!(matches!(make(&disk, &mut store, set("anna", &[])), Err(StoreError::TooMuch(_))));
    make(&disk, &mut store, set("anne", &["INBOX", "Junk"])).unwrap();
    let mut junk = to(&[anna]);
    junk.deliveries[0].folder = FolderId(1);
    make(&disk, &mut store, Change::Accept(junk.clone(), b"junk".to_vec())).unwrap();
    junk.deliveries[0].folder = FolderId(2);
    assert_eq!(make(&disk, &mut store, Change::Accept(junk, Vec::new())), Err(StoreError::NoMailbox(anna)));
    make(&disk, &mut store, Change::RemoveMailbox(anna)).unwrap();
    assert_eq!(make(&disk, &mut store, Change::RemoveMailbox(anna)), Err(StoreError::NoMailbox(anna)));
    for mut store in [store, open(&disk)] {
        settle(&disk, &mut store);
        assert!(store.state().mailbox_named("anna").is_none() && store.state().mailbox(anna).is_none());
        let new = store.state().next_mailbox;
        assert!(new > bert.0, "{new}");
        assert_eq!(store.state().mailbox_named("bert").unwrap().entries().len(), 1);
    }
    let mut store = open(&disk);
    let new = mailbox(&disk, &mut store, "anna", 0);
    let validity = store.state().mailbox(new).unwrap().state().uid_validity;
    assert!(new > bert && validity > 8, "{new:?} {validity}");
}

#[test]
fn a_message_has_so_many_recipients_and_so_long_a_text() {
    let disk = Memory::new();
    let mut store = open(&disk);
    let anna = mailbox(&disk, &mut store, "anna", 0);
    let remotes = |count: usize, len: usize| Accept {
        remotes: vec![Remote { recipient: "r".repeat(len), ..Remote::default() }; count],
        ..Accept::default()
    };
    make(&disk, &mut store, Change::Accept(remotes(RECIPIENTS_MAX, 9), Vec::new())).unwrap();
    for accept in [remotes(RECIPIENTS_MAX + 1, 9), remotes(500, 3000), to(&[anna, anna])] {
        let refused = make(&disk, &mut store, Change::Accept(accept, Vec::new()));
        assert!(matches!(refused, Err(StoreError::TooMuch(_))), "{refused:?}");
    }
    let long = vec![0; record::BODY_OCTETS_MAX + 1];
    let refused = make(&disk, &mut store, Change::Accept(to(&[anna]), long));
    assert!(matches!(refused, Err(StoreError::TooMuch(_))), "{refused:?}");
    let uids = vec![1; UIDS_MAX + 1];
    let refused = make(&disk, &mut store, Change::Expunge(Expunge { mailbox: anna, uids }));
    assert!(matches!(refused, Err(StoreError::TooMuch(_))), "{refused:?}");
    assert_eq!(store.state().queue().count(), RECIPIENTS_MAX);
}

#[test]
fn folders_that_two_add_at_once_are_both_there() {
    let disk = Memory::new();
    let mut store = open(&disk);
    let anna = mailbox(&disk, &mut store, "anna", 0);
    for name in ["Sent", "Trash", "Sent"] {
        store.submit(Change::AddFolder { id: anna, name: name.to_owned() }).unwrap();
    }
    settle(&disk, &mut store);
    let told = std::iter::from_fn(|| store.poll_outcome()).map(|(_, told)| told.unwrap().folder.unwrap().0);
    assert_eq!(told.collect::<Vec<_>>(), [1, 2, 1]);
    let folders = |store: &Store| store.state().mailbox(anna).unwrap().state().folders.clone();
    assert_eq!(folders(&store), ["INBOX", "Sent", "Trash"]);
    assert_eq!(folders(&open(&disk)), folders(&store));
    let twice = Change::SetMailbox {
        id: anna,
        name: "anna".to_owned(),
        quota: 0,
        folders: ["INBOX", "Sent", "Sent"].map(str::to_owned).to_vec(),
    };
    assert_eq!(make(&disk, &mut store, twice), Err(StoreError::FolderTwice));
    for number in 3..FOLDERS_MAX {
        make(&disk, &mut store, Change::AddFolder { id: anna, name: number.to_string() }).unwrap();
    }
    let more = Change::AddFolder { id: anna, name: "more".to_owned() };
    assert!(matches!(make(&disk, &mut store, more), Err(StoreError::TooMuch(_))));
}

#[test]
fn a_message_for_nobody_is_refused() {
    let disk = Memory::new();
    let mut store = open(&disk);
    let refused = make(&disk, &mut store, Change::Accept(to(&[]), b"octets".to_vec()));
    assert_eq!(refused, Err(StoreError::NoRecipient));
    let draft = store.begin().unwrap();
    store.chunk(draft, &vec![b'x'; record::BODY_OCTETS_MAX + 1]).unwrap();
    store.commit(draft, to(&[])).unwrap();
    settle(&disk, &mut store);
    assert_eq!(store.poll_outcome().map(|(_, outcome)| outcome), Some(Err(StoreError::NoRecipient)));
    assert_eq!(disk.list("mail/bodies").unwrap(), [""; 0]);
}

#[test]
fn what_waits_is_bounded() {
    let disk = Memory::new();
    let mut store = open(&disk);
    let anna = mailbox(&disk, &mut store, "anna", 0);
    let message = store.begin().unwrap();
    for _ in 0..PENDING_MAX {
        store.submit(Change::Note("a note".to_owned())).unwrap();
    }
    assert_eq!(store.submit(Change::Note(String::new())), Err(StoreError::Busy));
    assert_eq!(store.begin(), Err(StoreError::Busy));
    assert_eq!(store.commit(message, to(&[anna])), Err(StoreError::Busy));
    assert_eq!(store.commit(message, to(&[anna])), Err(StoreError::NoDraft), "it is given up");
    settle(&disk, &mut store);
    let told = std::iter::from_fn(|| store.poll_outcome()).filter(|(_, outcome)| outcome.is_ok()).count();
    assert_eq!(told, PENDING_MAX);
    let drafts: Vec<_> = (0..DRAFTS_MAX).map(|_| store.begin().unwrap()).collect();
    assert_eq!(store.begin(), Err(StoreError::Busy));
    store.give_up(drafts[0]);
    assert_eq!(store.chunk(drafts[0], b"x"), Err(StoreError::NoDraft));
    let draft = store.begin().unwrap();
    store.chunk(draft, b"one").unwrap();
    let ticket = store.commit(draft, to(&[anna])).unwrap();
    assert_eq!(store.commit(draft, to(&[anna])), Err(StoreError::NoDraft));
    settle(&disk, &mut store);
    assert_eq!(store.poll_outcome().map(|(told, _)| told), Some(ticket));
}

#[test]
fn the_memory_of_messages_on_their_way_in_is_bounded() {
    let disk = Memory::new();
    let mut store = open(&disk);
    let anna = mailbox(&disk, &mut store, "anna", 0);
    let octets = vec![b'x'; record::BODY_OCTETS_MAX];
    let in_memory: Vec<_> = (0..DRAFTS_MEMORY_MAX / octets.len()).map(|_| store.begin().unwrap()).collect();
    for draft in &in_memory {
        store.chunk(*draft, &octets).unwrap();
        assert!(!store.is_draft_full(*draft));
    }
    let late = store.begin().unwrap();
    for _ in 0..3 {
        store.chunk(late, b"late ").unwrap();
        assert!(store.is_draft_full(late), "it goes to its file at once");
        let request = store.poll_request(NOW).unwrap();
        assert_eq!(request.lane, Lane::Draft(late));
        assert!(matches!(&request.task, Task::Append { octets, .. } if octets == b"late "), "{request:?}");
        store.handle_done(NOW, request.lane, request.task.perform(&disk));
        assert!(!store.is_draft_full(late));
    }
    let ticket = store.commit(late, to(&[anna])).unwrap();
    settle(&disk, &mut store);
    assert!(matches!(store.poll_outcome(), Some((told, Ok(_))) if told == ticket));
    let entry = store.state().mailbox(anna).unwrap().entries()[0];
    let message = read_message(&disk, &store.segment_file(1).unwrap(), anna, &entry).unwrap();
    assert_eq!(read_body_part(&disk, &message.body, 0, 100).unwrap(), b"late late late ");
}

#[test]
fn the_octets_of_what_waits_are_bounded() {
    let disk = Memory::new();
    let mut store = open(&disk);
    let anna = mailbox(&disk, &mut store, "anna", 0);
    let octets = vec![b'x'; record::BODY_OCTETS_MAX];
    let mut taken = 0;
    let refused = loop {
        let committed = store.begin().and_then(|draft| {
            store.chunk(draft, &octets)?;
            store.commit(draft, to(&[anna]))
        });
        match committed {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!((refused, taken), (StoreError::Busy, PENDING_OCTETS_MAX / record::BODY_OCTETS_MAX));
    let note = Change::Note("n".repeat(record::TEXT_OCTETS_MAX));
    assert_eq!(store.submit(note), Err(StoreError::Busy));
    settle(&disk, &mut store);
    assert!(store.begin().is_ok());
}

#[test]
fn senders_that_come_together_share_a_sync() {
    let disk = Memory::new();
    let mut store = open(&disk);
    let anna = mailbox(&disk, &mut store, "anna", 0);
    for _ in 0..1000 {
        store.submit(Change::Accept(to(&[anna]), vec![b'x'; 4096])).unwrap();
    }
    let mut syncs = 0;
    while let Some(request) = store.poll_request(NOW) {
        syncs += u32::from(request.lane == Lane::Log && matches!(request.task, Task::Sync { .. }));
        let done = request.task.perform(&disk);
        store.handle_done(NOW, request.lane, done);
    }
    assert_eq!(syncs, 4, "256 records a batch");
    assert_eq!(store.state().mailbox(anna).unwrap().entries().len(), 1000);
}

#[test]
fn what_a_newer_program_wrote_is_read_and_left_alone() {
    let disk = Memory::new();
    let mut store = open(&disk);
    let anna = mailbox(&disk, &mut store, "anna", 0);
    make(&disk, &mut store, Change::Accept(to(&[anna]), b"octets".to_vec())).unwrap();
    let (file, marker) = store.segment_file(1).unwrap();
    // A kind that is unknown to this program.
    disk.append(&file, &record::encode(marker, 200, record::FIRST, 99, b"a line\n", b"")).unwrap();
    let content = disk.read(&file).unwrap();
    let recovered = recover(&disk).unwrap();
    assert_eq!(recovered.report().newer, Some(0));
    let mut store = Store::new(Settings::default(), recovered, StdRng::seed_from_u64(1));
    settle(&disk, &mut store);
    assert_eq!(store.state().mailbox(anna).unwrap().entries().len(), 1);
    assert_eq!(store.submit(Change::Note(String::new())), Err(StoreError::Newer));
    assert_eq!(store.begin(), Err(StoreError::Newer));
    assert_eq!((disk.read(&file).unwrap(), disk.list("mail/segments").unwrap().len()), (content, 1));
}

#[test]
fn a_record_that_says_what_nobody_understands_is_damage() {
    let disk = Memory::new();
    let mut store = open(&disk);
    let anna = mailbox(&disk, &mut store, "anna", 0);
    let (file, marker) = store.segment_file(1).unwrap();
    let offset = disk.len(&file).unwrap().unwrap();
    let (kind, _) = Content::Note(String::new()).encode();
    let malformed = record::encode(marker, kind, record::FIRST, 99, b"nose a\n", b"");
    disk.append(&file, &malformed).unwrap();
    let mut store = open(&disk);
    let stored = make(&disk, &mut store, Change::Accept(to(&[anna]), b"octets".to_vec())).unwrap();
    assert!(stored.uids[0].1 > 1, "it may have given a number");
    let report = recover_all(&disk).unwrap().report().clone();
    let damage = Damage { file, offset, len: malformed.len() as u64, is_at_end: false };
    assert_eq!((report.newer, report.damages), (None, vec![damage]));
}

#[test]
fn a_message_within_a_message_is_not_taken_for_a_record() {
    let disk = Memory::new();
    let mut store = open(&disk);
    let anna = mailbox(&disk, &mut store, "anna", 0);
    let (file, _) = store.segment_file(1).unwrap();
    let octets = disk.read(&file).unwrap().unwrap();
    // Without the markers a sender can copy the rest of a record at most.
    let forged = [&[0; 8], &octets[8..]].concat();
    make(&disk, &mut store, Change::Accept(to(&[anna]), forged)).unwrap();
    let at = disk.len(&file).unwrap().unwrap() - 1;
    let mut damaged = disk.read(&file).unwrap().unwrap();
    damaged[usize::try_from(at).unwrap()] ^= 1;
    disk.write(&file, &damaged).unwrap();
    let recovered = recover(&disk).unwrap();
    assert_eq!(recovered.state().mailboxes().count(), 1);
    assert_eq!(recovered.state().mailbox(anna).unwrap().entries().len(), 0);
    assert_eq!(recovered.report().damages.len(), 1);
}

#[test]
fn room_in_a_mailbox_is_promised_once() {
    let disk = Memory::new();
    let mut store = open(&disk);
    let anna = mailbox(&disk, &mut store, "anna", 100);
    let first = store.reserve(anna, 60).unwrap();
    assert_eq!(store.reserve(anna, 41), Err(StoreError::MailboxFull(anna)));
    let second = store.reserve(anna, 0).unwrap();
    assert_eq!(store.grow(second, 41), Err(StoreError::MailboxFull(anna)));
    store.grow(second, 40).unwrap();
    assert_eq!(store.reserve(anna, 0), Err(StoreError::MailboxFull(anna)), "it is full now");
    store.release(first);
    store.release(first);
    store.grow(second, 100).unwrap();
    store.release(second);
    assert_eq!(store.grow(second, 1), Err(StoreError::NoDraft));
    assert_eq!(store.reserve(MailboxId(99), 1), Err(StoreError::NoMailbox(MailboxId(99))));
    let bert = mailbox(&disk, &mut store, "bert", 0);
    let all: Vec<_> = (0..RESERVATIONS_MAX).map(|_| store.reserve(bert, u64::MAX).unwrap()).collect();
    assert_eq!(store.reserve(bert, 1), Err(StoreError::Busy));
    all.into_iter().for_each(|reservation| store.release(reservation));
    let quota = Change::SetMailbox {
        id: bert,
        name: "bert".to_owned(),
        quota: 10,
        folders: vec!["INBOX".to_owned()],
    };
    make(&disk, &mut store, quota).unwrap();
    assert!(store.reserve(bert, 10).is_ok(), "nothing is reserved any more");
}

#[test]
fn the_message_by_which_a_mailbox_is_nearly_full_says_so() {
    let disk = Memory::new();
    let mut store = open(&disk);
    let anna = mailbox(&disk, &mut store, "anna", 100);
    let mut nearly_full = |len| {
        let change = Change::Accept(to(&[anna]), vec![b'x'; len]);
        make(&disk, &mut store, change).unwrap().nearly_full
    };
    assert_eq!([89, 1, 5].map(&mut nearly_full), [vec![], vec![anna], vec![]]);
    assert!(store.state().mailbox(anna).unwrap().is_nearly_full());
    make(&disk, &mut store, Change::Expunge(Expunge { mailbox: anna, uids: vec![1] })).unwrap();
    assert!(!store.state().mailbox(anna).unwrap().is_nearly_full());
    // In one batch only one of them is.
    for len in [50, 20, 20, 3] {
        store.submit(Change::Accept(to(&[anna]), vec![b'x'; len])).unwrap();
    }
    settle(&disk, &mut store);
    let told: Vec<_> = std::iter::from_fn(|| store.poll_outcome()).map(|(_, told)| told.unwrap()).collect();
    let counts: Vec<_> = told.iter().map(|stored| stored.nearly_full.len()).collect();
    assert_eq!(counts, [0, 0, 1, 0]);
}

#[test]
fn of_long_messages_so_many_are_on_their_way_in_as_may_have_files_open() {
    let disk = Memory::new();
    let settings = Settings { inline_octets: 10, ..Settings::default() };
    let mut store = Store::new(settings, recover(&disk).unwrap(), StdRng::seed_from_u64(1));
    let anna = mailbox(&disk, &mut store, "anna", 0);
    let drafts: Vec<_> = (0..LARGE_DRAFTS_MAX).map(|_| store.begin().unwrap()).collect();
    for draft in &drafts {
        store.chunk(*draft, &[b'x'; 11]).unwrap();
    }
    let long = store.begin().unwrap();
    assert_eq!(store.chunk(long, &[b'x'; 11]), Err(StoreError::Busy));
    assert_eq!(store.chunk(long, b"x"), Err(StoreError::Busy), "a part of it is missing");
    store.give_up(long);
    let short = store.begin().unwrap();
    store.chunk(short, b"short").unwrap();
    settle(&disk, &mut store);
    store.commit(drafts[0], to(&[anna])).unwrap();
    settle(&disk, &mut store);
    assert!(store.poll_outcome().unwrap().1.is_ok());
    store.chunk(short, b" no more").unwrap();
}

#[test]
fn a_mailbox_the_queue_and_what_was_fetched_are_bounded() {
    let disk = Memory::new();
    let settings = Settings { messages_max: 3, queue_max: 3, seen_max: 3, ..Settings::default() };
    let mut store = Store::new(settings, recover(&disk).unwrap(), StdRng::seed_from_u64(1));
    let (anna, bert) = (mailbox(&disk, &mut store, "anna", 0), mailbox(&disk, &mut store, "bert", 0));
    for uid in 1..=3 {
        let stored = make(&disk, &mut store, Change::Accept(to(&[anna]), Vec::new())).unwrap();
        assert_eq!(stored.uids, [(anna, uid)]);
    }
    let both = Change::Accept(to(&[bert, anna]), Vec::new());
    assert_eq!(make(&disk, &mut store, both.clone()), Err(StoreError::MailboxFull(anna)));
    let expunge = Expunge { mailbox: anna, uids: vec![2] };
    make(&disk, &mut store, Change::Expunge(expunge)).unwrap();
    make(&disk, &mut store, both).unwrap();
    let remotes =
        |count| Change::Accept(Accept { remotes: vec![Remote::default(); count], ..to(&[bert]) }, Vec::new());
    make(&disk, &mut store, remotes(2)).unwrap();
    assert_eq!(make(&disk, &mut store, remotes(2)), Err(StoreError::Busy));
    let first = make(&disk, &mut store, remotes(1)).unwrap().sequence.unwrap();
    // A notice takes the place of the entry that it ends.
    let ends = vec![QueueId { message: first, recipient: 0 }];
    let notice = Accept { remotes: vec![Remote::default()], ends, ..Accept::default() };
    make(&disk, &mut store, Change::Accept(notice.clone(), Vec::new())).unwrap();
    assert_eq!(make(&disk, &mut store, Change::Accept(notice, Vec::new())), Err(StoreError::Busy), "once");
    let seen = |uidls: &[&str]| Uidls {
        account: "a".to_owned(),
        uidls: uidls.iter().map(|uidl| (*uidl).to_owned()).collect(),
    };
    make(&disk, &mut store, Change::Seen(seen(&["1", "2", "3"]))).unwrap();
    let polled = Origin::Polled { account: "a".to_owned(), uidl: "4".to_owned() };
    let polled = Change::Accept(Accept { origin: polled, ..to(&[anna]) }, Vec::new());
    for change in [polled, Change::Seen(seen(&["4"]))] {
        assert!(matches!(make(&disk, &mut store, change), Err(StoreError::TooMuch(_))));
    }
    make(&disk, &mut store, Change::Forget(seen(&["1"]))).unwrap();
    make(&disk, &mut store, Change::Seen(seen(&["4"]))).unwrap();
}

#[test]
fn strangers_leave_files_memory_and_room_to_the_office_and_to_each_other() {
    let disk = Memory::new();
    let mut store = open(&disk);
    let source = |number: u8| Some(std::net::IpAddr::from([8, 8, 4, number]));
    let long = vec![0; record::BODY_OCTETS_MAX + 1];
    let begin = |store: &mut Store, stranger, octets: &[u8]| {
        let draft = store.begin_from(stranger).unwrap();
        store.chunk(draft, octets)?;
        settle(&disk, store);
        Ok(draft)
    };
    for number in 0..12 {
        for _ in 0..STRANGERS_LARGE_DRAFTS_MAX {
            begin(&mut store, source(number), &long).unwrap();
        }
        if number == 0 {
            assert_eq!(begin(&mut store, source(0), &long), Err(StoreError::Busy), "its share is used");
        }
    }
    assert_eq!(begin(&mut store, source(99), &long), Err(StoreError::Busy));
    for _ in 0..LARGE_DRAFTS_MAX / 4 {
        begin(&mut store, None, &long).unwrap();
    }
    assert_eq!(begin(&mut store, None, &long), Err(StoreError::Busy));
    let short = vec![0; record::BODY_OCTETS_MAX];
    let strange = DRAFTS_MEMORY_MAX / short.len() / 4 * 3;
    let taken = (0..=strange).take_while(|_| begin(&mut store, source(99), &short).is_ok()).count();
    assert_eq!(taken, strange);
    begin(&mut store, None, &short).unwrap();

    let anna = mailbox(&disk, &mut store, "anna", 1000);
    let alone = store.reserve_for(anna, 700, true).unwrap();
    assert_eq!(store.reserve_for(anna, 1, true), Err(StoreError::MailboxFull(anna)));
    store.reserve(anna, 10).unwrap();
    store.grow(alone, 800).unwrap();
    store.release(alone);
    let first = store.reserve_for(anna, 1, true).unwrap();
    let second = store.reserve_for(anna, 501, true).unwrap();
    assert_eq!(store.grow(first, 2), Err(StoreError::MailboxFull(anna)));
    assert_eq!(store.reserve_for(anna, 1, true), Err(StoreError::MailboxFull(anna)));
    store.grow(second, 600).unwrap();
    store.reserve(anna, 300).unwrap();
    store.release(second);
    store.grow(first, 690).unwrap();
    assert_eq!(store.grow(first, 691), Err(StoreError::MailboxFull(anna)), "the mailbox is full");
}

#[test]
fn strangers_leave_reservations_to_the_office() {
    let disk = Memory::new();
    let mut store = open(&disk);
    let anna = mailbox(&disk, &mut store, "anna", 0);
    let mut strange: Vec<_> =
        (0..STRANGERS_RESERVATIONS_MAX).map(|_| store.reserve_for(anna, 1, true).unwrap()).collect();
    assert_eq!(store.reserve_for(anna, 1, true), Err(StoreError::Busy));
    for _ in STRANGERS_RESERVATIONS_MAX..RESERVATIONS_MAX {
        store.reserve(anna, 1).unwrap();
    }
    assert_eq!(store.reserve(anna, 1), Err(StoreError::Busy));
    strange.drain(..2).for_each(|reservation| store.release(reservation));
    store.reserve_for(anna, 1, true).unwrap();
    store.reserve(anna, 1).unwrap();
}

#[test]
fn a_mailbox_that_may_hold_no_further_message_has_no_room_before_one_comes() {
    let disk = Memory::new();
    let settings = Settings { messages_max: 2, ..Settings::default() };
    let mut store = Store::new(settings, recover(&disk).unwrap(), StdRng::seed_from_u64(1));
    let anna = mailbox(&disk, &mut store, "anna", 0);
    for _ in 0..2 {
        assert_eq!(store.check_room(anna, 1), Ok(()));
        make(&disk, &mut store, Change::Accept(to(&[anna]), Vec::new())).unwrap();
    }
    assert_eq!(store.check_room(anna, 0), Err(StoreError::MailboxFull(anna)));
    assert_eq!(store.reserve(anna, 0), Err(StoreError::MailboxFull(anna)));
    let bert = mailbox(&disk, &mut store, "bert", 0);
    store.state.mailboxes.get_mut(&bert).unwrap().state.uid_next = Uid::MAX;
    assert_eq!(store.check_room(bert, 1), Err(StoreError::MailboxFull(bert)));
    let refused = make(&disk, &mut store, Change::Accept(to(&[bert]), Vec::new()));
    assert_eq!(refused, Err(StoreError::MailboxFull(bert)));
}
