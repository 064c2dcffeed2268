//! The text of records: lines of words.
//!
//! A line is a key and its values with a space between them. Octets of a value that are not visible ASCII, and `%`, are
//! written as `%` and two hexadecimal digits; an empty value is `%-`.

use std::fmt::Display;
use std::str::FromStr;

/// A text that is no text of a record that this program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A text in the making.
#[derive(Debug, Default)]
pub(super) struct Lines(String);

impl Lines {
    /// Begins a line.
    pub fn line(&mut self, key: &str) -> Line<'_> {
        self.0.push_str(key);
        Line(&mut self.0)
    }

    /// How many octets there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn into_octets(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

/// A line in the making; it ends on drop.
#[derive(Debug)]
pub(super) struct Line<'a>(&'a mut String);

impl Line<'_> {
    /// Adds a number, or another value without escapes.
    pub fn number(self, value: impl Display) -> Self {
        self.0.push(' ');
        self.0.push_str(&value.to_string());
        self
    }

    /// Adds any octets.
    pub fn octets(self, octets: impl AsRef<[u8]>) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.0.push(' ');
        if octets.as_ref().is_empty() {
            self.0.push_str("%-");
        }
        for octet in octets.as_ref() {
            if octet.is_ascii_graphic() && *octet != b'%' {
                self.0.push(char::from(*octet));
            } else {
                let digit = |digit: u8| char::from(DIGITS[usize::from(digit)]);
                self.0.extend(['%', digit(octet >> 4), digit(octet & 15)]);
            }
        }
        self
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.0.push('\n');
    }
}

/// The lines of a text: the key of each, and its values.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = Result<(&str, Values<'_>), Malformed>> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let lines = (!text.is_empty()).then(|| text.split(|octet| *octet == b'\n'));
    lines.into_iter().flatten().map(|line| {
        let line = str::from_utf8(line).map_err(|_| Malformed)?;
        let (key, values) = line.split_once(' ').unwrap_or((line, ""));
        Ok((key, Values(values)))
    })
}

/// The values of a line that are left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a>(&'a str);

impl<'a> Values<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn next(&mut self) -> Result<&'a str, Malformed> {
        if self.0.is_empty() {
            return Err(Malformed);
        }
        let (value, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest;
        Ok(value)
    }

    pub fn number<T: FromStr>(&mut self) -> Result<T, Malformed> {
        self.next()?.parse().map_err(|_| Malformed)
    }

    pub fn word(&mut self) -> Result<&'a str, Malformed> {
        self.next()
    }

    pub fn octets(&mut self) -> Result<Vec<u8>, Malformed> {
        let value = self.next()?;
        if value == "%-" {
            return Ok(Vec::new());
        }
        let mut octets = Vec::with_capacity(value.len());
        let mut rest = value.as_bytes();
        while let [first, others @ ..] = rest {
            rest = others;
            if *first != b'%' {
                octets.push(*first);
                continue;
            }
            let [high, low, others @ ..] = rest else { return Err(Malformed) };
            let digit = |octet: u8| char::from(octet).to_digit(16).ok_or(Malformed);
            octets.push(u8::try_from(digit(*high)? << 4 | digit(*low)?).map_err(|_| Malformed)?);
            rest = others;
        }
        Ok(octets)
    }

    pub fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.octets()?).map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::cases(256)))]

        #[test]
        fn any_octets_are_read_as_they_were_written(
            values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 1..5),
        ) {
            let mut text = Lines::default();
            let mut line = text.line("key");
            for value in &values {
                line = line.octets(value);
            }
            drop(line.number(7));
            _ = text.line("last");
            let text = text.into_octets();
            let found: Vec<_> = lines(&text).map(|line| line.unwrap()).collect();
            prop_assert_eq!((found.len(), found[0].0, found[1].0), (2, "key", "last"));
            let mut read = found[0].1;
            for value in values {
                prop_assert_eq!(read.octets(), Ok(value));
            }
            prop_assert_eq!((read.number(), read.is_empty()), (Ok(7), true));
        }

        #[test]
        fn any_text_is_read_or_refused(text: Vec<u8>) {
            for mut values in lines(&text).filter_map(Result::ok).map(|(_, values)| values) {
                while !values.is_empty() {
                    _ = values.text();
                }
            }
        }
    }
}
