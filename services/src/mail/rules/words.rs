//! Encoded words: non-ASCII text in headers. (RFC 2047)

use std::borrow::Cow;

use data_encoding::BASE64;

/// The longest encoded word that is decoded. RFC 2047, section 2, allows 75; many programs exceed it.
const WORD_OCTETS_MAX: usize = 1000;

/// `value` with its encoded words decoded. Invalid ones stay.
pub(in crate::mail) fn decoded(value: &str) -> Cow<'_, str> {
    if !value.contains("=?") {
        return Cow::Borrowed(value);
    }
    let (mut text, mut rest) = (String::new(), value);
    let mut is_behind_word = false;
    while let Some(start) = rest.find("=?") {
        let (before, word) = rest.split_at(start);
        match decode(word) {
            Some((decoded, after)) => {
                // RFC 2047, section 6.2: the space between two of them is not there.
                if !is_behind_word || !before.trim().is_empty() {
                    text += before;
                }
                text += &decoded;
                (rest, is_behind_word) = (after, true);
            }
            None => {
                text += before;
                text += "=?";
                (rest, is_behind_word) = (&word[2..], false);
            }
        }
    }
    Cow::Owned(text + rest)
}

/// The decoded encoded word at the beginning of `text`, and the rest.
fn decode(text: &str) -> Option<(String, &str)> {
    // Each of many beginnings of words is searched for a bounded length only.
    let near = &text[..text.floor_char_boundary(WORD_OCTETS_MAX)];
    let (charset, rest) = near.strip_prefix("=?")?.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    let (word, after) = rest.split_once("?=")?;
    if word.contains(' ') {
        return None;
    }
    let after = &text[near.len() - after.len()..];
    let octets = match encoding {
        "B" | "b" => BASE64.decode(word.as_bytes()).ok()?,
        "Q" | "q" => unquoted(word)?,
        _ => return None,
    };
    // RFC 2231, section 5: a language may follow the character set.
    let charset = charset.split('*').next().unwrap_or_default().to_ascii_lowercase();
    let decoded = match charset.as_str() {
        "utf-8" | "utf8" | "us-ascii" => String::from_utf8_lossy(&octets).into_owned(),
        "iso-8859-1" | "iso-8859-15" | "windows-1252" | "latin1" => {
            octets.iter().copied().map(char::from).collect()
        }
        _ => return None,
    };
    Some((decoded, after))
}

/// RFC 2047, section 4.2
fn unquoted(word: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(word.len());
    let mut rest = word.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'_' => b' ',
            b'=' => {
                let digits = [rest.next()?, rest.next()?];
                *data_encoding::HEXUPPER_PERMISSIVE.decode(&digits).ok()?.first()?
            }
            octet => octet,
        });
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cases;

    #[test]
    fn a_word_that_is_too_long_stays_as_it_is() {
        let word = |len: usize| format!("=?utf-8?q?{}?= b", "a".repeat(len));
        let longest = WORD_OCTETS_MAX - "=?utf-8?q??=".len();
        assert_eq!(decoded(&word(longest)), format!("{} b", "a".repeat(longest)));
        assert_eq!(decoded(&word(longest + 1)), word(longest + 1));
    }

    /// RFC 2047, section 8: The examples.
    #[test]
    fn rfc2047_8_encoded_words_are_read_as_people_read_them() {
        for (value, expected) in [
            ("(=?ISO-8859-1?Q?a?=)", "(a)"),
            ("(=?ISO-8859-1?Q?a?= b)", "(a b)"),
            ("(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"),
            ("(=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)", "(ab)"),
            ("(=?ISO-8859-1?Q?a_b?=)", "(a b)"),
            ("(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?_b?=)", "(a b)"),
            ("=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?= <keld@dkuug.dk>", "Keld Jørn Simonsen <keld@dkuug.dk>"),
            ("=?utf-8*de?b?TcOkcno=?=", "März"),
            ("a =?utf-8?q?b?= c =?utf-8?q?d?=", "a b c d"),
            // No encoded word, or one in an unknown character set.
            ("plain", "plain"),
            ("1 =? 2 ?=", "1 =? 2 ?="),
            ("=?koi8-r?q?=C1?=", "=?koi8-r?q?=C1?="),
            ("=?utf-8?x?a?= =?utf-8?b?*?= =?utf-8?q?=4?=", "=?utf-8?x?a?= =?utf-8?b?*?= =?utf-8?q?=4?="),
            ("=?=?utf-8?q?a?=", "=?a"),
        ] {
            assert_eq!(decoded(value), expected, "{value}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(512)))]

        #[test]
        fn anything_is_read(value in "([=?bqQ a_ü]|=\\?utf-8\\?q\\?){0,40}") {
            decoded(&value);
        }
    }
}
