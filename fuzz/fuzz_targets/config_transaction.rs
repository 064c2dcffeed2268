//! Edits from octets against any text: nothing panics, an edit that succeeds is there and can be removed again, and the
//! lines that it does not concern stay.

#![no_main]

use gatepost::config::edit::{Edit, Key, Stored, values};
use gatepost::config::Config;
use gatepost::config::change::{CHANGES_MAX, changes};
use gatepost::transaction::{Candidate, Editor};
use gatepost_fuzz::Input;
use libfuzzer_sys::fuzz_target;

/// The most edits of one input.
const EDITS_MAX: usize = 8;

fuzz_target!(|input: &[u8]| {
    let mut input = Input::new(input);
    let Ok(file) = std::str::from_utf8(input.chunk()) else { return };
    let (mut text, mut candidate) = (file.to_owned(), Candidate::default());
    let editor = Editor::new("fuzz");
    for _ in 0..EDITS_MAX {
        if input.is_empty() {
            break;
        }
        let is_set = input.u8().is_multiple_of(2);
        let (Ok(key), Ok(value)) = (std::str::from_utf8(input.chunk()), std::str::from_utf8(input.chunk())) else {
            return;
        };
        // The candidate as its editors see it: a refused edit leaves it as it was.
        let before = candidate.clone();
        let edited = match is_set {
            true => candidate.set(&editor, ("fuzz.toml", file), key, value),
            false => candidate.unset(&editor, ("fuzz.toml", file), key),
        };
        match edited {
            Ok(_) => {
                candidate.text(file).expect("an edit that was taken can be done");
            }
            Err(_) => assert_eq!(candidate, before),
        }
        let Ok(key) = Key::parse(key) else { continue };
        assert_eq!(Key::parse(&key.to_string()).as_ref(), Ok(&key), "a key is read as it is written");
        let value = if is_set { values(value).into_iter().next() } else { None };
        let edit = Edit { key, value };
        if let Ok(edited) = edit.apply(&text) {
            check(&edit, &text, &edited);
            text = edited;
        }
    }
    if let (Ok(old), Ok(new)) = (Config::parse("fuzz.toml", file), Config::parse("fuzz.toml", &text)) {
        let told = changes((file, &old), (&text, &new));
        assert!(told.len() <= CHANGES_MAX && told.iter().all(|change| change.text.lines().count() == 1));
    }
});

/// What holds after an edit that succeeded.
fn check(edit: &Edit, before: &str, after: &str) {
    let read = |text| Stored::read(text).expect("what is edited stays TOML");
    let old = read(before);
    read(after);
    if edit.value.is_none() {
        return;
    }
    assert_eq!(edit.apply(after).err(), None, "{edit} can be done again in {after:?}");
    if old.get(&edit.key).is_some_and(|old| old.is_table() || old.is_array()) {
        return;
    }
    // A text or a list over several lines is replaced as a whole.
    if before.contains("'''") || before.contains("\"\"\"") || before.contains(['{', '[', '\u{feff}']) {
        return;
    }
    let lines = usize::from(old.get(&edit.key).is_some());
    assert!(lost(before, after).len() <= lines, "{edit} in {before:?}: {after:?}");
}

/// The lines of `old` that are not in `new`, apart from a common beginning and end.
fn lost<'a>(old: &'a str, new: &str) -> Vec<&'a str> {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let first = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    let last = old[first..].iter().rev().zip(new[first..].iter().rev()).take_while(|(one, other)| one == other).count();
    old[first..old.len() - last].to_vec()
}
