//! The lines of a server and their parsing.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use super::{LINE_OCTETS_MAX, LISTED_MAX, Listed, Listing, UIDL_OCTETS_MAX};
use crate::mail::smtp::client::printable;

/// The characters of a reply that are stored.
const TEXT_CHARS_MAX: usize = 300;

/// A line is longer than [`LINE_OCTETS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endless;

/// Puts lines together from octets that arrive in any portions. A line may end with LF alone.
#[derive(Debug, Default)]
pub(super) struct LineReader(Vec<u8>);

impl LineReader {
    /// Reads octets up to the end of a line: returns how many were consumed, and the line without its end, if it is
    /// complete.
    pub fn read(&mut self, octets: &[u8]) -> (usize, Option<Result<Vec<u8>, Endless>>) {
        let end = octets.iter().position(|octet| *octet == b'\n');
        let part = &octets[..end.unwrap_or(octets.len())];
        let taken = end.map_or(octets.len(), |end| end + 1);
        if self.0.len() + part.len() > LINE_OCTETS_MAX {
            return (taken, Some(Err(Endless)));
        }
        self.0.extend_from_slice(part);
        if end.is_none() {
            return (taken, None);
        }
        let mut line = mem::take(&mut self.0);
        line.pop_if(|octet| *octet == b'\r');
        (taken, Some(Ok(line)))
    }
}

/// The first line of a reply, with its text in one printable line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// `+OK`
    Ok(String),
    /// `-ERR`
    Error(String),
    /// `+`: the exchange continues. (RFC 5034, section 4)
    More(Vec<u8>),
}

impl Reply {
    /// Parses a line; `None` if it is not a reply.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let (word, rest) = match line.iter().position(|octet| *octet == b' ') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &[][..]),
        };
        let text = || -> String {
            let text = printable(&String::from_utf8_lossy(rest));
            text.trim().chars().take(TEXT_CHARS_MAX).collect()
        };
        if word == b"+" {
            Some(Self::More(rest.trim_ascii().to_vec()))
        } else if word.eq_ignore_ascii_case(b"+OK") {
            Some(Self::Ok(text()))
        } else if word.eq_ignore_ascii_case(b"-ERR") {
            Some(Self::Error(text()))
        } else {
            None
        }
    }
}

/// Puts a listing together from the replies to LIST and UIDL.
#[derive(Debug, Default)]
pub(super) struct Lister {
    sizes: BTreeMap<u32, u64>,
    uidls: BTreeMap<u32, String>,
    /// Whether there are more than are listed, or some that could not be read.
    is_cut: bool,
    pub has_uidls: bool,
}

impl Lister {
    /// Parses a line of the reply to LIST. (RFC 1939, section 5)
    pub fn size(&mut self, line: &[u8]) {
        let mut words = words(line);
        match (number(words.next()), number(words.next())) {
            (Some(number), Some(size)) if self.sizes.len() < LISTED_MAX => {
                _ = u32::try_from(number).map(|number| self.sizes.insert(number, size));
            }
            _ => self.is_cut = true,
        }
    }

    /// Parses a line of the reply to UIDL. (RFC 1939, section 7)
    pub fn uidl(&mut self, line: &[u8]) {
        let mut words = words(line);
        let (number, uidl) = (number(words.next()), words.next());
        let uidl = uidl.filter(|uidl| {
            let is_name = uidl.iter().all(u8::is_ascii_graphic);
            uidl.len() <= UIDL_OCTETS_MAX && is_name && words.next().is_none()
        });
        if let (Some(number), Some(uidl)) = (number.and_then(|number| u32::try_from(number).ok()), uidl)
            && self.sizes.contains_key(&number)
        {
            self.uidls.insert(number, String::from_utf8_lossy(uidl).into_owned());
        }
    }

    pub fn finish(&mut self) -> Listing {
        let Self { sizes, mut uidls, is_cut, has_uidls } = mem::take(self);
        let mut known = BTreeSet::new();
        let twice: BTreeSet<_> = uidls.values().filter(|uidl| !known.insert(*uidl)).cloned().collect();
        uidls.retain(|_, uidl| !twice.contains(uidl));
        let messages = sizes.into_iter();
        let messages = messages.map(|(number, size)| Listed { number, size, uidl: uidls.remove(&number) });
        Listing { messages: messages.collect(), is_complete: !is_cut, has_uidls }
    }
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|octet| matches!(octet, b' ' | b'\t')).filter(|word| !word.is_empty())
}

fn number(word: Option<&[u8]>) -> Option<u64> {
    str::from_utf8(word?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1939, section 3: A reply begins with its indicator, in any case, and has any text.
    #[test]
    fn rfc1939_3_a_reply_begins_with_its_indicator() {
        let ok = |text: &str| Some(Reply::Ok(text.to_owned()));
        for (line, expected) in [
            (&b"+OK"[..], ok("")),
            (b"+ok  ready <1896.697170952@dbc.mtview.ca.us>", ok("ready <1896.697170952@dbc.mtview.ca.us>")),
            (b"-ERR [AUTH] no\x07", Some(Reply::Error("[AUTH] no?".to_owned()))),
            (b"-err", Some(Reply::Error(String::new()))),
            (b"+ ", Some(Reply::More(Vec::new()))),
            (b"+", Some(Reply::More(Vec::new()))),
            (b"+ dGVzdA==", Some(Reply::More(b"dGVzdA==".to_vec()))),
            (b"220 smtp", None),
            (b"+OKAY", None),
            (b"", None),
            (b" +OK", None),
        ] {
            assert_eq!(Reply::parse(line), expected, "{line:?}");
        }
    }

    #[test]
    fn what_is_no_line_of_a_list_makes_it_incomplete_and_the_rest_is_taken() {
        let mut lister = Lister { has_uidls: true, ..Lister::default() };
        for line in ["1 100", "x y", "2", "4294967296 7", "3 300 extra"] {
            lister.size(line.as_bytes());
        }
        for line in ["1 a", "3 \x01", "9 b", "", "3"] {
            lister.uidl(line.as_bytes());
        }
        let listed =
            |number, size, uidl: Option<&str>| Listed { number, size, uidl: uidl.map(str::to_owned) };
        let messages = vec![listed(1, 100, Some("a")), listed(3, 300, None)];
        assert_eq!(lister.finish(), Listing { messages, is_complete: false, has_uidls: true });
    }

    /// RFC 1939, section 7: Names have 1 to 70 octets and are unique; one that is not names nothing.
    #[test]
    fn rfc1939_7_a_name_that_two_messages_have_names_none() {
        let mut lister = Lister::default();
        let long = "x".repeat(UIDL_OCTETS_MAX + 1);
        for (number, uidl) in [(1, "a"), (2, "b"), (3, "a"), (4, "c d"), (5, &long), (6, &long[1..])] {
            lister.size(format!("{number} 10").as_bytes());
            lister.uidl(format!("{number} {uidl}").as_bytes());
        }
        let listing = lister.finish();
        let uidls: Vec<_> = listing.messages.iter().map(|listed| listed.uidl.as_deref()).collect();
        assert_eq!(uidls, [None, Some("b"), None, None, None, Some(&long[1..])]);
    }

    #[test]
    fn of_more_messages_than_are_listed_the_first_are() {
        let mut lister = Lister::default();
        for number in 1..=LISTED_MAX + 1 {
            lister.size(format!("{number} 1").as_bytes());
        }
        let listing = lister.finish();
        assert_eq!((listing.messages.len(), listing.is_complete), (LISTED_MAX, false));
        for number in 1..=LISTED_MAX {
            lister.size(format!("{number} 1").as_bytes());
        }
        assert!(lister.finish().is_complete);
    }
}
