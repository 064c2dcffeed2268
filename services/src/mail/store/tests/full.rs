//! A disk that is full.

use super::disk::Loss;
use super::office::{Office, Op};
use crate::mail::store::{Change, Expunge, StoreError};
use crate::store::Storage;

#[test]
fn a_start_on_a_disk_that_is_full_is_ready() {
    const LARGE: Op = Op::Accept { to: 3, is_remote: true, is_large: true, is_polled: true };
    let mut office = Office::new();
    for op in [LARGE, Op::Settle, LARGE, Op::Settle, Op::Room(Some(0)), LARGE, Op::Settle] {
        office.act(op);
    }
    office.disk.remove("mail/reserve").unwrap();
    office.disk.set_room(Some(0));
    let mut office = office.restarted();
    office.settle();
    assert!(office.store.is_ready());
    office.check();
    assert_eq!(office.store.takes_messages(), Err(StoreError::NoRoom));
    office.crashed(Loss::All).check();
    for op in [Op::Room(None), Op::Wait, Op::Settle, LARGE, Op::Settle] {
        office.act(op);
    }
    office.check();
    assert_eq!(office.store.takes_messages(), Ok(()));
}

#[test]
fn deletions_make_room_on_a_full_disk() {
    const SMALL: Op = Op::Accept { to: 1, is_remote: false, is_large: false, is_polled: false };
    let mut office = Office::new();
    for _ in 0..40 {
        office.act(SMALL);
        office.settle();
    }
    for op in [Op::Room(Some(0)), SMALL, Op::Settle] {
        office.act(op);
    }
    assert_eq!(office.store.takes_messages(), Err(StoreError::NoRoom));
    let state = office.store.state();
    let all = state.mailboxes().map(|mailbox| Expunge {
        mailbox: mailbox.state().id,
        uids: mailbox.entries().iter().map(|entry| entry.uid).collect(),
    });
    let all: Vec<_> = all.collect();
    for expunge in all {
        office.store.submit(Change::Expunge(expunge)).unwrap();
    }
    for op in [Op::Settle, Op::Wait, Op::Settle] {
        office.act(op);
    }
    assert_eq!(office.store.takes_messages(), Ok(()));
}

#[test]
fn a_checkpoint_for_which_there_is_no_room_takes_none() {
    const SMALL: Op = Op::Accept { to: 3, is_remote: false, is_large: false, is_polled: false };
    for is_room_known in [true, false] {
        let mut office = Office::new();
        office.store.settings.checkpoint_octets = u64::MAX;
        for _ in 0..120 {
            office.act(SMALL);
            office.settle();
        }
        if !is_room_known {
            office.disk.say_room(u64::MAX);
        }
        // Half of what the checkpoint takes, which is due now.
        office.disk.set_room(Some(7000));
        office.store.settings.checkpoint_octets = 1;
        let mut began = false;
        while office.step() {
            began |= office.disk.names().iter().any(|name| name == "mail/checkpoint.new");
        }
        assert_eq!(began, !is_room_known);
        assert_eq!(office.disk.len("mail/checkpoint.new").unwrap(), None);
        for op in [SMALL, Op::Settle, Op::Wait, Op::Settle, SMALL, Op::Settle] {
            office.act(op);
        }
        assert_eq!(office.store.takes_messages(), Ok(()));
        assert_eq!(office.model.refused, 0);
        let before = office.disk.appended();
        for op in [Op::Wait, Op::Settle].repeat(300) {
            office.act(op);
        }
        let appended = office.disk.appended() - before;
        assert!(appended < 100_000, "{appended} octets in an hour");
        for op in [Op::Room(None), Op::Wait].into_iter().chain([Op::Wait, Op::Settle].repeat(400)) {
            office.act(op);
        }
        assert!(office.disk.len("mail/checkpoint").unwrap().is_some(), "there is room now");
    }
}

#[test]
fn a_full_disk_is_not_filled_again_and_again() {
    const SMALL: Op = Op::Accept { to: 1, is_remote: false, is_large: false, is_polled: false };
    for is_room_known in [true, false] {
        let mut office = Office::new();
        office.act(SMALL);
        office.settle();
        if !is_room_known {
            office.disk.say_room(u64::MAX);
        }
        for op in [Op::Room(Some(0)), SMALL, Op::Settle, Op::Room(Some(2000))] {
            office.act(op);
        }
        let before = office.disk.appended();
        for op in [Op::Wait, Op::Settle].repeat(300) {
            office.act(op);
        }
        let appended = office.disk.appended() - before;
        assert!(appended <= if is_room_known { 0 } else { 30_000 }, "{appended} octets in an hour");
        assert_eq!(office.store.takes_messages(), Err(StoreError::NoRoom));
        for op in [Op::Room(None)].into_iter().chain([Op::Wait, Op::Settle].repeat(400)) {
            office.act(op);
        }
        assert_eq!(office.store.takes_messages(), Ok(()));
    }
}
