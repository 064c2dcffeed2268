//! Octets that change anywhere in the files.

use proptest::prelude::*;

use super::office::{ACCOUNT, Office, Op, read_all};
use crate::mail::store::checkpoint;
use crate::mail::store::layout::segment_number;
use crate::mail::store::{
    BodyOctets, Change, Done, Expunge, Mailbox, MailboxId, Place, State, Uid, Uidls, check, recover,
    recover_all,
};
use crate::store::Storage;

#[derive(Clone, Copy, Debug)]
enum KnownDamage {
    Flip(u8),
    Insert(u8, usize),
    Remove(usize),
    Cut,
}

/// A stored message: mailbox, place, the file of its body, and its octets.
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

fn known_damage() -> impl Strategy<Value = KnownDamage> {
    prop_oneof![
        4 => (1..=u8::MAX).prop_map(KnownDamage::Flip),
        2 => (any::<u8>(), 1_usize..50).prop_map(|(octet, count)| KnownDamage::Insert(octet, count)),
        2 => (1_usize..200).prop_map(KnownDamage::Remove),
        1 => Just(KnownDamage::Cut),
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

/// What the mailboxes are.
fn says(state: &State) -> Vec<(MailboxId, String, u32)> {
    let states = state.mailboxes().map(Mailbox::state);
    states.map(|state| (state.id, state.name.clone(), state.uid_validity)).collect()
}

#[test]
fn an_octet_that_flips_costs_no_mailbox_its_name() {
    let mut office = Office::new();
    office.deliver_to_all();
    office.settle();
    let before = says(recover(&office.disk).unwrap().state());
    for file in office.disk.names() {
        for at in 0..office.disk.len(&file).unwrap().unwrap() {
            let disk = office.disk.fork();
            disk.damage(&file, |octets| octets[usize::try_from(at).unwrap()] ^= 1);
            assert_eq!(says(recover(&disk).unwrap().state()), before, "octet {at} of {file}");
        }
    }
}

#[test]
fn mailboxes_of_which_the_log_has_lost_all_stay_what_they_were() {
    let office = office();
    let before = says(recover(&office.disk).unwrap().state());
    for file in segments(&office) {
        office.disk.damage(&file, Vec::clear);
    }
    assert_eq!(says(recover(&office.disk).unwrap().state()), before);
}

/// Ends all that the store holds, so that its segments can go.
fn end_all(office: &mut Office) {
    let state = office.store.state();
    let expunges = state.mailboxes().map(|mailbox| {
        let uids = mailbox.entries().iter().map(|entry| entry.uid).collect();
        Change::Expunge(Expunge { mailbox: mailbox.state().id, uids })
    });
    let queued = state.queue().map(|(entry, _)| Change::Done(Done::new(entry, String::new())));
    let uidls = state.seen(ACCOUNT).map(str::to_owned).collect();
    let forget = Change::Forget(Uidls { account: ACCOUNT.to_owned(), uidls });
    let changes: Vec<_> = expunges.chain(queued).chain([forget]).collect();
    for change in changes {
        office.store.submit(change).unwrap();
    }
    office.settle();
}

/// An office with segments behind the one in which the checkpoint ends, and their numbers.
fn with_segments_behind_the_checkpoint() -> (Office, Vec<u32>) {
    const LARGE: Op = Op::Accept { to: 3, is_remote: false, is_large: true, is_polled: false };
    let mut office = office();
    office.store.settings.checkpoint_octets = u64::MAX;
    for _ in 0..12 {
        office.act(LARGE);
        office.settle();
    }
    let (_, (position, _)) = checkpoint::load(&office.disk).unwrap();
    let numbers = segments(&office).into_iter().filter_map(|file| segment_number(&file));
    let behind: Vec<_> = numbers.filter(|number| *number > position).collect();
    assert!(behind.len() > 2, "{behind:?} behind {position}");
    (office, behind)
}

#[test]
fn a_segment_behind_the_checkpoint_is_missed_until_it_is_there_again() {
    let (mut office, behind) = with_segments_behind_the_checkpoint();
    let before = stored(&office);
    let gone = behind[0];
    let bodies = before.iter().filter(|(_, _, place, ..)| place.segment == gone);
    let bodies: Vec<_> = bodies.filter_map(|(_, _, _, file, _)| file.clone()).collect();
    assert!(!bodies.is_empty());
    let file = office.store.segment_file(gone).unwrap().0;
    let octets = office.disk.read(&file).unwrap().unwrap();
    office.disk.remove(&file).unwrap();
    let says = check(&office.disk).unwrap().damages().join("\n");
    assert!(says.contains(&format!("mail/segments/{gone:08}-*: it is missing")), "{says}");
    for start in 0..3 {
        let recovered = recover(&office.disk).unwrap();
        assert_eq!(recovered.report().segments_missing, [gone], "start {start}");
        assert!(recovered.report().is_damaged());
        office = office.reopened(recovered);
        let known: Vec<_> = before.iter().map(|(id, uid, ..)| (*id, *uid)).collect();
        let new = office.deliver_to_all();
        assert!(new.iter().all(|new| !known.contains(new)), "a number is given again: {new:?}");
        office.settle();
        let names = office.disk.names();
        assert!(bodies.iter().all(|body| names.contains(body)), "start {start}");
    }
    office.disk.append(&file, &octets).unwrap();
    office.disk.sync(&file).unwrap();
    for _ in 0..2 {
        let recovered = recover(&office.disk).unwrap();
        assert!(!recovered.report().is_damaged(), "{:?}", recovered.report());
        for (id, uid, _, _, body) in &before {
            let entry = *recovered.state().mailbox(*id).unwrap().entry(*uid).unwrap();
            let message = recovered.message(&office.disk, *id, &entry).unwrap();
            assert_eq!(&read_all(&office.disk, &message.body), body);
        }
        office = office.reopened(recovered);
        office.settle();
    }
}

#[test]
fn what_a_start_finds_damaged_the_next_ones_know() {
    let mut office = office();
    let before = stored(&office);
    let large = before.iter().find_map(|(_, _, place, file, _)| Some((*place, file.clone()?)));
    let (place, body) = large.unwrap();
    let file = office.store.segment_file(place.segment).unwrap().0;
    office.disk.damage(&file, |octets| octets[usize::try_from(place.offset).unwrap() + 40] ^= 1);
    // So all of the log is read.
    office.disk.remove("mail/checkpoint").unwrap();
    for start in 0..3 {
        let recovered = recover(&office.disk).unwrap();
        assert!(recovered.report().is_damaged(), "start {start}: {:?}", recovered.report());
        office = office.reopened(recovered);
        office.settle();
        assert!(office.disk.names().contains(&body), "start {start}");
        if start == 1 {
            end_all(&mut office);
        }
    }
    assert!(office.disk.names().contains(&file), "what it says may be read again by somebody");
    office.disk.remove(&file).unwrap();
    for _ in 0..2 {
        let recovered = recover(&office.disk).unwrap();
        assert!(!recovered.report().is_damaged(), "{:?}", recovered.report());
        office = office.reopened(recovered);
        office.settle();
        assert!(office.disk.names().contains(&body), "it may have named it");
    }
}

#[test]
fn bodies_that_a_log_with_gaps_may_have_named_are_kept_over_starts() {
    let mut office = office();
    end_all(&mut office);
    office.disk.append("mail/bodies/00000000000000aa", b"a body").unwrap();
    // What is missing of the log without a checkpoint may have been compacted, or not.
    assert!(segment_number(&segments(&office)[0]).unwrap() > 1);
    office.disk.damage("mail/checkpoint", |octets| octets[50] ^= 1);
    for start in 0..3 {
        let recovered = recover(&office.disk).unwrap();
        assert!(!recovered.report().is_damaged());
        office = office.reopened(recovered);
        office.settle();
        let names = office.disk.names();
        assert!(names.iter().any(|name| name == "mail/bodies/00000000000000aa"), "start {start}");
        // Of what comes later is known that nothing names it.
        let later = names.iter().any(|name| name == "mail/bodies/00000000000000bb");
        assert!(!later, "start {start}");
        if start == 0 {
            office.disk.append("mail/bodies/00000000000000bb", b"a body").unwrap();
        }
    }
}

/// The files of segments whose number is followed by that of another.
fn sealed(office: &Office) -> Vec<String> {
    let all = segments(office);
    let is_followed =
        |pair: &&[String]| segment_number(&pair[0]).unwrap() + 1 == segment_number(&pair[1]).unwrap();
    all.windows(2).filter(is_followed).map(|pair| pair[0].clone()).collect()
}

#[test]
fn a_segment_whose_end_was_synced_and_is_damaged_stays() {
    for is_all_read in [false, true] {
        let mut office = office();
        let file = sealed(&office)[0].clone();
        office.disk.damage(&file, |octets| *octets.last_mut().unwrap() ^= 1);
        if is_all_read {
            office.disk.remove("mail/checkpoint").unwrap();
        }
        for _ in 0..2 {
            let recovered = recover(&office.disk).unwrap();
            office = office.reopened(recovered);
            office.settle();
        }
        end_all(&mut office);
        assert!(office.disk.names().contains(&file), "{is_all_read}");
        assert!(!office.step(), "what else there was to do is done");
    }
}

#[test]
fn what_was_expunged_does_not_come_back_with_a_segment_that_can_be_read_again() {
    let mut office = office();
    let (id, uid, place, ..) = stored(&office)[0].clone();
    let file = office.store.segment_file(place.segment).unwrap().0;
    office.store.submit(Change::Expunge(Expunge { mailbox: id, uids: vec![uid] })).unwrap();
    office.settle();
    office.disk.make_unreadable(&file, 0..u64::MAX);
    office.disk.remove("mail/checkpoint").unwrap();
    let recovered = recover(&office.disk).unwrap();
    office = office.reopened(recovered);
    office.settle();
    let others: Vec<_> = segments(&office).into_iter().filter(|other| *other != file).collect();
    // All other records are repeated elsewhere by now, or obsolete.
    for _ in 0..30 {
        end_all(&mut office);
        office.deliver_to_all();
        office.settle();
    }
    let now = segments(&office);
    assert!(now.contains(&file) && others.iter().all(|other| !now.contains(other)), "{now:?} {others:?}");
    office.disk.make_readable();
    let recovered = recover_all(&office.disk).unwrap();
    assert!(recovered.state().mailbox(id).unwrap().entry(uid).is_none(), "it is back");
}

#[test]
fn a_second_file_with_a_segments_number_is_told_of() {
    let office = office();
    let number = segment_number(&segments(&office)[0]).unwrap();
    let restored = format!("mail/segments/{number:08}-0000000000000001");
    office.disk.append(&restored, b"from a backup").unwrap();
    let recovered = recover(&office.disk).unwrap();
    assert!(recovered.report().is_damaged(), "{:?}", recovered.report());
    let says = check(&office.disk).unwrap().damages().join("\n");
    assert!(says.contains(&restored), "{says}");
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
        known_damage in known_damage(),
    ) {
        let office = office();
        let before = stored(&office);
        prop_assert!(before.len() > 8);
        let names: Vec<_> =
            office.disk.names().into_iter().filter(|name| !office.disk.read(name).unwrap().unwrap().is_empty()).collect();
        let name = which.get(&names);
        let len = office.disk.read(name).unwrap().unwrap().len();
        let at = at.index(len);
        let touched = match known_damage {
            KnownDamage::Flip(_) => at..at + 1,
            KnownDamage::Insert(..) => at..at,
            KnownDamage::Remove(count) => at..len.min(at + count),
            KnownDamage::Cut => at..len,
        };
        office.disk.damage(name, |octets| match known_damage {
            KnownDamage::Flip(bits) => octets[at] ^= bits,
            KnownDamage::Insert(octet, count) => _ = octets.splice(at..at, vec![octet; count]),
            KnownDamage::Remove(_) | KnownDamage::Cut => _ = octets.drain(touched.clone()),
        });
        let all = recover_all(&office.disk).unwrap();
        let recovered = recover(&office.disk).unwrap();
        let position = checkpoint::load(&office.disk).map_or((0, 0), |loaded| loaded.1);
        let is_segment = name.starts_with("mail/segments");
        let is_cut = touched.end == len && matches!(known_damage, KnownDamage::Cut | KnownDamage::Remove(_));
        if is_segment && !is_cut {
            let (damages, missing) = (&all.report().damages, all.report().records_missing);
            // Whole records that are gone leave a gap in the numbers, and no octet that is damaged.
            let is_gap = matches!(known_damage, KnownDamage::Remove(_)) && damages.is_empty() && missing > 0;
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
        // Nothing is known of the records cut off behind the checkpoint.
        let is_known = segment_number(name).is_some_and(|number| (number, at as u64) < position);
        if is_known || !matches!(known_damage, KnownDamage::Cut | KnownDamage::Remove(_)) {
            prop_assert!(new.iter().all(|new| !uids.contains(new)), "a number is given again: {new:?}");
        }
    }
}
