//! Octets that change anywhere in the files.

use proptest::prelude::*;

use super::office::{Office, Op, read_all};
use crate::mail::store::checkpoint;
use crate::mail::store::layout::segment_number;
use crate::mail::store::{BodyOctets, Mailbox, MailboxId, Place, State, Uid, check, recover, recover_all};
use crate::store::Storage;

#[derive(Clone, Copy, Debug)]
enum Harm {
    Flip(u8),
    Insert(u8, usize),
    Remove(usize),
    Cut,
}

/// A message that is stored: whose it is, where, in which file its body is, and its octets.
pub(super) type Stored = (MailboxId, Uid, Place, Option<String>, Vec<u8>);

pub(super) fn office() -> Office {
    let mut office = Office::new();
    for (number, to) in (0..14).zip([1_u8, 2, 3].into_iter().cycle()) {
        office.act(Op::Accept {
            to,
            is_remote: number % 4 == 0,
            is_large: number % 5 == 4,
            is_polled: number % 3 == 0,
        });
        if number % 4 == 3 {
            office.settle();
            office.act(Op::Expunge(number));
            office.act(Op::Flags(number, 1));
        }
    }
    office.settle();
    office
}

pub(super) fn stored(office: &Office) -> Vec<Stored> {
    let recovered = recover(&office.disk).unwrap();
    assert!(!recovered.report().is_damaged(), "{:?}", recovered.report());
    let mut all = Vec::new();
    for mailbox in recovered.state().mailboxes() {
        for entry in mailbox.entries() {
            let id = mailbox.state().id;
            let message = recovered.message(&office.disk, id, entry).unwrap();
            let file = match &message.body {
                BodyOctets::File { file, .. } => Some(file.clone()),
                BodyOctets::Inline(_) => None,
            };
            all.push((id, entry.uid, entry.place, file, read_all(&office.disk, &message.body)));
        }
    }
    all
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        4 => (1..=u8::MAX).prop_map(Harm::Flip),
        2 => (any::<u8>(), 1_usize..50).prop_map(|(octet, count)| Harm::Insert(octet, count)),
        2 => (1_usize..200).prop_map(Harm::Remove),
        1 => Just(Harm::Cut),
    ]
}

/// The files of the segments.
pub(super) fn segments(office: &Office) -> Vec<String> {
    let names = office.disk.names().into_iter();
    names.filter(|name| name.starts_with("mail/segments")).collect()
}

#[test]
fn a_segment_that_cannot_be_read_costs_what_is_in_it() {
    let office = office();
    let before = stored(&office);
    let number = before[before.len() / 2].2.segment;
    let file = office.store.segment_file(number).unwrap().0;
    office.disk.make_unreadable(&file, 0..u64::MAX);
    let recovered = recover(&office.disk).unwrap();
    assert!(recovered.report().is_damaged(), "{:?}", recovered.report());
    let elsewhere = before.iter().filter(|(_, _, place, ..)| place.segment != number);
    for (id, uid, _, _, body) in elsewhere {
        let entry = *recovered.state().mailbox(*id).unwrap().entry(*uid).unwrap();
        let message = recovered.message(&office.disk, *id, &entry).unwrap();
        assert_eq!(&read_all(&office.disk, &message.body), body);
    }
    let uids: Vec<_> = before.iter().map(|(id, uid, ..)| (*id, *uid)).collect();
    let new = office.reopened(recovered).deliver_to_all();
    assert!(new.iter().all(|new| !uids.contains(new)), "a number is given again: {new:?}");
}

#[test]
fn without_a_checkpoint_that_can_be_read_all_of_the_log_is() {
    let office = office();
    let before = stored(&office);
    office.disk.make_unreadable("mail/checkpoint", 0..1);
    let recovered = recover(&office.disk).unwrap();
    assert!(recovered.report().is_checkpoint_damaged);
    let messages: usize = recovered.state().mailboxes().map(|mailbox| mailbox.entries().len()).sum();
    assert_eq!(messages, before.len());
}

#[test]
fn the_last_record_of_a_sealed_segment_is_not_taken_for_an_append_that_was_cut_short() {
    let office = office();
    let all = segments(&office);
    let is_followed =
        |pair: &&[String]| segment_number(&pair[0]).unwrap() + 1 == segment_number(&pair[1]).unwrap();
    let sealed = &all.windows(2).find(is_followed).unwrap()[0];
    office.disk.damage(sealed, |octets| *octets.last_mut().unwrap() ^= 1);
    let recovered = recover_all(&office.disk).unwrap();
    assert!(recovered.report().is_damaged(), "{:?}", recovered.report());
    let checked = check(&office.disk).unwrap();
    assert!(!checked.damages().is_empty() && checked.notes().is_empty(), "{checked:?}");
}

#[test]
fn an_append_behind_the_checkpoint_that_was_cut_short_costs_no_reading_of_the_whole_log() {
    let office = office();
    let (_, (number, offset)) = checkpoint::load(&office.disk).unwrap();
    let later = segments(&office).into_iter().filter(|file| segment_number(file) > Some(number));
    later.for_each(|file| office.disk.remove(&file).unwrap());
    let (file, marker) = office.store.segment_file(number).unwrap();
    let torn: [&[u8]; 4] = [&[0; 5000], &marker.0, &[&marker.0[..], &[0; 4096]].concat(), b"x"];
    for octets in torn {
        let disk = office.disk.fork();
        disk.damage(&file, |log| {
            log.truncate(offset as usize);
            log.extend_from_slice(octets);
        });
        let recovered = recover(&disk).unwrap();
        let report = recovered.report();
        assert!(!report.is_checkpoint_damaged && !report.is_damaged(), "{octets:?}: {report:?}");
        assert_eq!(report.records, 0, "the checkpoint knows all");
        disk.damage(&file, |log| log.extend_from_slice(&marker.0));
        assert!(recover(&disk).unwrap().report().is_checkpoint_damaged, "something was synced behind it");
    }
}

#[test]
fn a_segment_that_is_cut_gives_no_number_again_that_the_checkpoint_knows() {
    let office = office();
    let before = stored(&office);
    let (_, (number, offset)) = checkpoint::load(&office.disk).unwrap();
    assert!(offset > 0);
    let file = office.store.segment_file(number).unwrap().0;
    office.disk.damage(&file, Vec::clear);
    let recovered = recover(&office.disk).unwrap();
    let [damage] = &recovered.report().damages[..] else { panic!("{:?}", recovered.report()) };
    assert_eq!((&damage.file, damage.offset, damage.is_at_end), (&file, 0, false));
    assert!(damage.len >= offset, "{damage:?}");
    let uids: Vec<_> = before.iter().map(|(id, uid, ..)| (*id, *uid)).collect();
    let new = office.reopened(recovered).deliver_to_all();
    assert!(new.iter().all(|new| !uids.contains(new)), "a number is given again: {new:?}");
}

#[test]
fn mailboxes_of_which_the_log_has_lost_all_stay_what_they_were() {
    let office = office();
    let says = |mailboxes: &State| {
        let states = mailboxes.mailboxes().map(Mailbox::state);
        states.map(|state| (state.id, state.name.clone(), state.uid_validity)).collect::<Vec<_>>()
    };
    let before = says(recover(&office.disk).unwrap().state());
    for file in segments(&office) {
        office.disk.damage(&file, Vec::clear);
    }
    assert_eq!(says(recover(&office.disk).unwrap().state()), before);
}

#[test]
fn the_segment_in_which_the_checkpoint_ends_is_missed() {
    let office = office();
    let (_, (number, offset)) = checkpoint::load(&office.disk).unwrap();
    assert!(offset > 0);
    let next =
        recover(&office.disk).unwrap().state().mailboxes().map(|mailbox| mailbox.state().uid_next).max();
    let file = office.store.segment_file(number).unwrap().0;
    office.disk.remove(&file).unwrap();
    let recovered = recover(&office.disk).unwrap();
    assert_eq!(recovered.report().segments_missing, [number]);
    let now = recovered.state().mailboxes().map(|mailbox| mailbox.state().uid_next).min();
    assert!(now > next, "{now:?} {next:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::cases(256)))]

    #[test]
    fn damage_anywhere_costs_what_it_touches_and_nothing_else(
        which: prop::sample::Index,
        at: prop::sample::Index,
        harm in harm(),
    ) {
        let office = office();
        let before = stored(&office);
        prop_assert!(before.len() > 8);
        let names: Vec<_> =
            office.disk.names().into_iter().filter(|name| !office.disk.read(name).unwrap().unwrap().is_empty()).collect();
        let name = which.get(&names);
        let len = office.disk.read(name).unwrap().unwrap().len();
        let at = at.index(len);
        let touched = match harm {
            Harm::Flip(_) => at..at + 1,
            Harm::Insert(..) => at..at,
            Harm::Remove(count) => at..len.min(at + count),
            Harm::Cut => at..len,
        };
        office.disk.damage(name, |octets| match harm {
            Harm::Flip(bits) => octets[at] ^= bits,
            Harm::Insert(octet, count) => _ = octets.splice(at..at, vec![octet; count]),
            Harm::Remove(_) | Harm::Cut => _ = octets.drain(touched.clone()),
        });
        let all = recover_all(&office.disk).unwrap();
        let recovered = recover(&office.disk).unwrap();
        let position = checkpoint::load(&office.disk).map_or((0, 0), |loaded| loaded.1);
        let is_segment = name.starts_with("mail/segments");
        let is_cut = touched.end == len && matches!(harm, Harm::Cut | Harm::Remove(_));
        if is_segment && !is_cut {
            let (damages, missing) = (&all.report().damages, all.report().records_missing);
            // Whole records that are gone leave a gap in the numbers, and no octet that is damaged.
            let is_gap = matches!(harm, Harm::Remove(_)) && damages.is_empty() && missing > 0;
            prop_assert!(is_gap || damages.iter().any(|damage| damage.file == *name));
            // The next segment says that all of it was synced.
            let segments = segments(&office);
            let number = |name: &String| segment_number(name).unwrap();
            let is_known = segments.iter().any(|other| number(other) == number(name) + 1);
            prop_assert!(!is_known || all.report().is_damaged(), "{:?}", all.report());
        }
        for (id, uid, place, file, body) in &before {
            let number = name.strip_prefix("mail/segments/").and_then(|name| name.split_once('-'));
            let is_in = number.is_some_and(|(number, _)| number.parse() == Ok(place.segment));
            let from = usize::try_from(place.offset).unwrap();
            let record = from..from + place.len as usize;
            let is_touched = is_in && (touched.start < record.end && record.start < touched.end
                || touched.is_empty() && record.start < at && at < record.end)
                || file.as_ref() == Some(name);
            let entry = recovered.state().mailbox(*id).and_then(|mailbox| mailbox.entry(*uid)).copied();
            if !is_touched {
                let in_all = all.state().mailbox(*id).and_then(|mailbox| mailbox.entry(*uid));
                prop_assert!(in_all.is_some(), "it is found without a checkpoint");
                let entry = entry.expect("it is served");
                let message = recovered.message(&office.disk, *id, &entry).unwrap();
                prop_assert_eq!(&read_all(&office.disk, &message.body), body);
            }
        }
        let uids: Vec<_> = before.iter().map(|(id, uid, ..)| (*id, *uid)).collect();
        let mut after = office.reopened(recovered);
        let new = after.deliver_to_all();
        // Of what was cut off behind the checkpoint nobody knows.
        let is_known = segment_number(name).is_some_and(|number| (number, at as u64) < position);
        if is_known || !matches!(harm, Harm::Cut | Harm::Remove(_)) {
            prop_assert!(new.iter().all(|new| !uids.contains(new)), "a number is given again: {new:?}");
        }
    }
}
