//! Histories that stop after every prefix of their requests, with each that can become of what was not synced.

use proptest::prelude::*;

use super::disk::Loss;
use super::office::{Office, Op};
use crate::mail::store::recover;

const LOSSES: [Loss; 7] = [
    Loss::Process,
    Loss::All,
    Loss::None,
    Loss::Torn(60, false),
    Loss::Torn(128, true),
    Loss::Torn(200, false),
    Loss::Torn(250, true),
];

const SMALL: Op = Op::Accept { to: 1, is_remote: false, is_large: false, is_polled: false };
const BOTH: Op = Op::Accept { to: 3, is_remote: true, is_large: false, is_polled: true };
const LARGE: Op = Op::Accept { to: 3, is_remote: false, is_large: true, is_polled: false };

/// A crash at this moment, another one as soon as the store is up again, and something new.
fn crash(office: &Office, loss: Loss, then: &[Loss]) {
    let mut again = office.crashed(loss);
    again.settle();
    again.check();
    for loss in then {
        let mut third = again.crashed(*loss);
        third.act(LARGE);
        third.act(SMALL);
        third.act(Op::Expunge(0));
        third.settle();
        third.check();
    }
}

/// Runs `history`, and crashes wherever it can.
fn run(history: &[Op], losses: &[Loss], then: &[Loss]) -> Office {
    let mut office = Office::new();
    let mut history = history.iter();
    loop {
        losses.iter().for_each(|loss| crash(&office, *loss, then));
        if !office.step() {
            let Some(op) = history.next() else { return office };
            office.act(*op);
        }
    }
}

#[test]
fn what_is_promised_holds_wherever_short_histories_stop() {
    let ops = [
        SMALL,
        BOTH,
        LARGE,
        Op::Expunge(0),
        Op::Flags(1, 5),
        Op::Attempt(0),
        Op::Done(0),
        Op::Forget(0),
        Op::FailSync(true),
        Op::Room(Some(100)),
    ];
    for first in ops {
        for second in ops {
            run(&[BOTH, first, second], &[Loss::All], &[]);
        }
    }
}

#[test]
fn what_is_promised_holds_wherever_a_history_stops() {
    let office = run(
        &[
            BOTH,
            LARGE,
            SMALL,
            Op::Settle,
            Op::FailSync(true),
            SMALL,
            BOTH,
            LARGE,
            Op::Expunge(1),
            Op::Settle,
            Op::FailSync(false),
            SMALL,
            Op::Wait,
            SMALL,
            Op::Flags(0, 3),
            Op::Attempt(0),
            Op::Settle,
            Op::Room(Some(60)),
            LARGE,
            BOTH,
            Op::Expunge(0),
            Op::Settle,
            Op::Wait,
            Op::Done(0),
            Op::Forget(0),
            Op::Settle,
            Op::Room(None),
            Op::Wait,
            Op::Settle,
            BOTH,
            Op::Expunge(2),
        ],
        &LOSSES,
        &[Loss::All, Loss::Process],
    );
    assert!(office.model.refused > 0);
}

#[test]
fn what_is_promised_holds_while_segments_are_compacted() {
    let mut history = Vec::new();
    for number in 0..4 {
        history.extend([BOTH, SMALL, Op::Flags(1, number), LARGE, Op::Attempt(0), Op::Settle]);
        history.extend([Op::Expunge(0), Op::Expunge(3), Op::Flags(0, 3), Op::Settle]);
        history.extend([Op::Done(0), Op::Forget(0), Op::Settle]);
    }
    let office = run(&history, &[Loss::All, Loss::Torn(128, true)], &[Loss::All]);
    let names = office.disk.names();
    assert!(names.iter().any(|name| name == "mail/checkpoint"), "{names:?}");
    let numbers: Vec<u32> = names.iter().filter_map(|name| name.get(14..22)?.parse().ok()).collect();
    let (count, last) = (numbers.len(), numbers.iter().max().copied().unwrap());
    assert!(count < last as usize, "{count} of {last} segments are left");
}

#[test]
fn what_a_start_writes_once_more_is_not_written_by_the_next() {
    let mut office = run(&[BOTH, LARGE, Op::Settle], &[], &[]);
    for _ in 0..3 {
        office = office.restarted();
        office.settle();
        assert_eq!(recover(&office.disk).unwrap().report().records, 0, "the checkpoint says all");
    }
}

#[test]
fn a_start_on_a_full_disk_waits_for_the_time_to_try_again() {
    let mut office = Office::new();
    for op in [BOTH, Op::Settle, Op::Room(Some(0)), SMALL, Op::Settle] {
        office.act(op);
    }
    // The reserve was given up, there is no room for what is written once more, and it cannot be written where it is.
    let mut office = office.restarted();
    for op in [Op::Room(Some(0)), Op::FailSync(true), Op::Settle] {
        office.act(op);
    }
    assert!(!office.store.is_ready());
    for op in [Op::Wait, Op::Settle, Op::Room(None), Op::FailSync(false), Op::Wait, Op::Settle] {
        office.act(op);
    }
    office.check();
}

fn op() -> impl Strategy<Value = Op> {
    let accept = (0_u8..4, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(to, is_remote, is_large, is_polled)| Op::Accept { to: to.max(1), is_remote, is_large, is_polled },
    );
    prop_oneof![
        6 => accept,
        3 => any::<u8>().prop_map(Op::Expunge),
        2 => (any::<u8>(), 0_u16..8).prop_map(|(which, flags)| Op::Flags(which, flags)),
        1 => any::<u8>().prop_map(Op::Attempt),
        1 => any::<u8>().prop_map(Op::Done),
        1 => any::<u8>().prop_map(Op::Forget),
        1 => any::<bool>().prop_map(Op::FailSync),
        1 => proptest::option::of(0_usize..3000).prop_map(Op::Room),
        1 => Just(Op::Wait),
        3 => Just(Op::Settle),
    ]
}

fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![
        Just(Loss::Process),
        Just(Loss::All),
        Just(Loss::None),
        (any::<u8>(), any::<bool>()).prop_map(|(part, is_zeroed)| Loss::Torn(part, is_zeroed)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::cases(256)))]

    #[test]
    fn what_is_promised_holds_over_many_crashes(
        lives in proptest::collection::vec((proptest::collection::vec((op(), 0_usize..6), 1..25), loss()), 1..5),
    ) {
        let mut office = Office::new();
        for (history, loss) in lives {
            for (op, steps) in history {
                office.act(op);
                for _ in 0..steps {
                    office.step();
                }
            }
            office = office.crashed(loss);
        }
        office.settle();
        if office.store.is_ready() {
            office.check();
        }
    }
}
