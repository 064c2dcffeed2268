//! The results of a check, of damage and beside a running gateway.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::damage::{office, segments, stored};
use super::disk::FakeDisk;
use super::office::Op;
use crate::mail::store::{State, Uid, check, checkpoint, recover};
use crate::store::Storage;

/// What is in the segment.
fn in_segment(state: &State, number: u32) -> Vec<(String, Uid)> {
    let mut all = Vec::new();
    for mailbox in state.mailboxes() {
        let entries = mailbox.entries().iter();
        let there = entries.filter(|entry| entry.place.segment == number);
        all.extend(there.map(|entry| (mailbox.state().name.clone(), entry.uid)));
    }
    all
}

#[test]
fn a_segment_that_is_missing_is_told_with_what_was_in_it() {
    let office = office();
    let number = stored(&office)[0].2.segment;
    let lost = in_segment(recover(&office.disk).unwrap().state(), number);
    office.disk.remove(&office.store.segment_file(number).unwrap().0).unwrap();
    let checked = check(&office.disk).unwrap();
    assert_eq!((checked.report.segments_missing.as_slice(), &checked.lost), (&[number][..], &lost));
    assert_eq!(checked.damages().len(), 2, "{:?}", checked.damages());
}

#[test]
fn a_segment_that_ends_before_the_checkpoint_does_is_told_with_what_was_in_it() {
    let office = office();
    let (state, (number, offset)) = checkpoint::load(&office.disk).unwrap();
    let file = office.store.segment_file(number).unwrap().0;
    office.disk.damage(&file, Vec::clear);
    let checked = check(&office.disk).unwrap();
    let [cut] = &checked.report.damages[..] else { panic!("{checked:?}") };
    assert!(cut.file == file && cut.len >= offset, "{cut:?}");
    // Some may have been expunged later; nothing says so any more.
    assert_eq!(checked.lost, in_segment(&state, number));
    assert!(!checked.damages().is_empty());
}

/// A disk that a gateway works on after so many requests.
struct Changing {
    before: FakeDisk,
    after: FakeDisk,
    calls: AtomicUsize,
    changes_at: usize,
}

impl Changing {
    fn now(&self) -> &FakeDisk {
        let is_before = self.calls.fetch_add(1, Ordering::Relaxed) < self.changes_at;
        if is_before { &self.before } else { &self.after }
    }
}

impl Storage for Changing {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.now().read(name)
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        self.now().read_at(name, offset, len)
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        self.now().len(name)
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        self.now().list(name)
    }

    fn space(&self) -> io::Result<u64> {
        unreachable!("it is only read")
    }

    fn write(&self, _: &str, _: &[u8]) -> io::Result<()> {
        unreachable!("it is only read")
    }

    fn append(&self, _: &str, _: &[u8]) -> io::Result<()> {
        unreachable!("it is only read")
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        unreachable!("it is only read")
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        unreachable!("it is only read")
    }

    fn sync(&self, _: &str) -> io::Result<()> {
        unreachable!("it is only read")
    }
}

#[test]
fn what_a_gateway_moves_and_removes_meanwhile_is_not_missed() {
    let mut office = office();
    let before = office.disk.fork();
    let names = segments(&office);
    for _ in 0..8 {
        let accept = Op::Accept { to: 3, is_remote: false, is_large: false, is_polled: false };
        for op in [Op::Expunge(0), Op::Expunge(2), accept, Op::Settle] {
            office.act(op);
        }
    }
    let bodies = |disk: &FakeDisk| disk.list("mail/bodies").unwrap();
    assert!(names.iter().any(|name| !segments(&office).contains(name)), "a segment goes");
    assert!(bodies(&before).iter().any(|body| !bodies(&office.disk).contains(body)), "a body goes");
    for changes_at in 0.. {
        let (before, after) = (before.fork(), office.disk.fork());
        let disk = Changing { before, after, calls: AtomicUsize::new(0), changes_at };
        let checked = check(&disk).unwrap();
        assert_eq!(checked.damages(), [""; 0], "after {changes_at} requests");
        if disk.calls.into_inner() <= changes_at {
            return;
        }
    }
}
