//! The names of a Maildir: of messages, with their flags, and of folders (Maildir++).
//!
//! A folder `Büro/Alt` is the subdirectory `.B&APw-ro.Alt`: dots separate levels, and characters other than printable
//! ASCII are in the modified UTF-7 of IMAP (RFC 3501, section 5.1.3), as is a dot of the name itself, and a `/` without
//! a level before it.

use data_encoding::BASE64_NOPAD;

use crate::mail::store::{Flags, Uid};

/// The longest name of a directory.
const DIRECTORY_OCTETS_MAX: usize = 200;
const INFO: &str = ":2,";
const LETTERS: [(char, Flags); 5] = [
    ('D', Flags::DRAFT),
    ('F', Flags::FLAGGED),
    ('R', Flags::ANSWERED),
    ('S', Flags::SEEN),
    ('T', Flags::DELETED),
];

/// The name of a message without its flags: another message never has it.
pub fn base_name(time: u64, uid_validity: u32, uid: Uid) -> String {
    format!("{time}.V{uid_validity}U{uid}.gatepost")
}

/// The directory in a Maildir and the name of a message with these flags. One without flags is new.
pub fn place(base_name: &str, flags: Flags) -> (&'static str, String) {
    let is_set = |flag: Flags| flags.0 & flag.0 != 0;
    let letters: String =
        LETTERS.iter().filter(|(_, flag)| is_set(*flag)).map(|(letter, _)| *letter).collect();
    if letters.is_empty() {
        ("new", base_name.to_owned())
    } else {
        ("cur", format!("{base_name}{INFO}{letters}"))
    }
}

/// The name of a message without its flags, and these.
pub fn parse(name: &str) -> (&str, Flags) {
    let (base, letters) = name.rsplit_once(INFO).unwrap_or((name, ""));
    let set = LETTERS.iter().filter(|(letter, _)| letters.contains(*letter));
    (base, set.fold(Flags::default(), |flags, (_, flag)| flags | *flag))
}

/// The subdirectory of a folder other than the inbox. `None` if its name would be too long.
pub fn directory_of(folder: &str) -> Option<String> {
    let mut name = String::from(".");
    let mut encoded = Vec::new();
    for character in folder.chars() {
        let is_nameless = character == '/' && encoded.is_empty() && name.ends_with('.');
        if (' '..='~').contains(&character) && !matches!(character, '.' | '&') && !is_nameless {
            flush(&mut encoded, &mut name);
            name.push(if character == '/' { '.' } else { character });
        } else if character == '&' {
            flush(&mut encoded, &mut name);
            name.push_str("&-");
        } else {
            encoded.extend(character.encode_utf16(&mut [0; 2]).iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    flush(&mut encoded, &mut name);
    (name.len() <= DIRECTORY_OCTETS_MAX).then_some(name)
}

fn flush(encoded: &mut Vec<u8>, name: &mut String) {
    if !encoded.is_empty() {
        let text = BASE64_NOPAD.encode(encoded).replace('/', ",");
        name.push_str(&format!("&{text}-"));
        encoded.clear();
    }
}

/// The folder of this subdirectory. Invalid encoding is taken literally.
pub fn folder_of(directory: &str) -> Option<String> {
    let name = directory.strip_prefix('.').filter(|name| !name.is_empty() && !name.starts_with('.'))?;
    Some(decode(name).unwrap_or_else(|| name.replace('.', "/")))
}

fn decode(name: &str) -> Option<String> {
    let mut folder = String::new();
    let mut rest = name;
    while let Some((before, from)) = rest.split_once('&') {
        folder.push_str(&before.replace('.', "/"));
        let (encoded, behind) = from.split_once('-')?;
        if encoded.is_empty() {
            folder.push('&');
        } else {
            let octets = BASE64_NOPAD.decode(encoded.replace(',', "/").as_bytes()).ok()?;
            let units: Vec<_> =
                octets.chunks(2).map(|unit| unit.try_into().map(u16::from_be_bytes)).collect();
            let units = units.into_iter().collect::<Result<Vec<_>, _>>().ok()?;
            folder.push_str(&String::from_utf16(&units).ok()?);
        }
        rest = behind;
    }
    folder.push_str(&rest.replace('.', "/"));
    Some(folder)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_as_other_programs_have_them() {
        let base = base_name(1_331_814_612, 7, 12);
        assert_eq!(base, "1331814612.V7U12.gatepost");
        assert_eq!(place(&base, Flags::default()), ("new", base.clone()));
        let flags = Flags::SEEN | Flags::ANSWERED;
        assert_eq!(place(&base, flags), ("cur", format!("{base}:2,RS")));
        assert_eq!(parse("12.a:b:2,RSx"), ("12.a:b", flags));
        assert_eq!(parse("12.a"), ("12.a", Flags::default()));
        assert_eq!(directory_of("Büro/Alt & Neu").as_deref(), Some(".B&APw-ro.Alt &- Neu"));
        assert_eq!(directory_of("v1.2").as_deref(), Some(".v1&AC4-2"));
        assert_eq!(folder_of(".Sent.2012").as_deref(), Some("Sent/2012"));
        assert_eq!(folder_of(".a&b").as_deref(), Some("a&b"));
        assert_eq!([folder_of("cur"), folder_of("."), folder_of("..")], [None, None, None]);
        assert_eq!(directory_of(&"ä".repeat(100)), None);
        assert_eq!(directory_of("/x//y").as_deref(), Some(".&AC8-x.&AC8-y"));
    }

    proptest! {
        #[test]
        fn folders_come_back(name in "[a-z/.&üß\u{1f4e7}\u{0}]{1,12}") {
            let directory = directory_of(&name).unwrap();
            prop_assert!(!directory.contains('/'));
            prop_assert_eq!(folder_of(&directory), Some(name));
        }
    }
}
