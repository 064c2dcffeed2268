//! A disk that is full.

use super::disk::Loss;
use super::office::{Office, Op};
use crate::mail::store::{Change, Expunge, Refused};
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
    assert_eq!(office.store.takes_messages(), Err(Refused::NoRoom));
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
    assert_eq!(office.store.takes_messages(), Err(Refused::NoRoom));
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
