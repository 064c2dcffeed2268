//! Octets to command lines, of SMTP and of POP3. A line ends with CRLF and with nothing else. (RFC 5321, section 2.3.8)

use std::{fmt, mem};

use super::smtp::{AUTH_LINE_OCTETS_MAX, LINE_DISCARD_OCTETS_MAX};

/// The octets at the beginning of an overlong line that are stored.
pub const HEAD_OCTETS: usize = 8;

/// An event of the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A line without its CRLF. It can hold a CR that no LF follows.
    Line(Vec<u8>),
    /// The end of a line that was longer than [`AUTH_LINE_OCTETS_MAX`]. Its octets are dropped.
    TooLong {
        /// But for its first ones, [`HEAD_OCTETS`] at most.
        head: Vec<u8>,
    },
    /// An LF without a CR before it, so that the sender's line ends are unclear.
    BareLf,
    /// A line exceeded its maximum by more than [`LINE_DISCARD_OCTETS_MAX`].
    Endless,
}

/// Cuts octets that arrive in any portions into lines.
///
/// It holds one line at most, of at most [`AUTH_LINE_OCTETS_MAX`] octets.
#[derive(Default)]
pub struct LineReader {
    line: Vec<u8>,
    /// Octets of the line that were thrown away; zero while it fits.
    discarded: usize,
    is_after_cr: bool,
}

/// A line of a login is a password: it is never printed.
impl fmt::Debug for LineReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LineReader({} octets)", self.line.len())
    }
}

impl LineReader {
    /// Reads octets up to the end of a line: returns how many were consumed, and the event, if there is one. Without an
    /// event all are consumed.
    pub fn read(&mut self, octets: &[u8]) -> (usize, Option<Event>) {
        let Some(lf) = octets.iter().position(|octet| *octet == b'\n') else {
            self.keep(octets);
            let is_endless = self.discarded > LINE_DISCARD_OCTETS_MAX;
            return (octets.len(), is_endless.then_some(Event::Endless));
        };
        self.keep(&octets[..lf]);
        let event = match (mem::take(&mut self.is_after_cr), mem::take(&mut self.discarded)) {
            (_, beyond) if beyond > LINE_DISCARD_OCTETS_MAX => Event::Endless,
            (false, _) => Event::BareLf,
            (true, 0) => {
                let mut line = mem::take(&mut self.line);
                line.pop_if(|octet| *octet == b'\r');
                return (lf + 1, Some(Event::Line(line)));
            }
            (true, _) => Event::TooLong { head: mem::take(&mut self.line) },
        };
        self.line = Vec::new();
        (lf + 1, Some(event))
    }

    fn keep(&mut self, octets: &[u8]) {
        let Some(last) = octets.last() else { return };
        self.is_after_cr = *last == b'\r';
        let room = if self.discarded > 0 { 0 } else { AUTH_LINE_OCTETS_MAX - 1 - self.line.len() };
        let (kept, beyond) = octets.split_at(octets.len().min(room));
        self.line.extend_from_slice(kept);
        self.discarded = self.discarded.saturating_add(beyond.len());
        if self.discarded > 0 {
            self.line.truncate(HEAD_OCTETS);
            self.line.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cases;

    /// All events of a stream that comes in portions of these lengths.
    fn events(stream: &[u8], portions: impl IntoIterator<Item = usize>) -> Vec<Event> {
        let (mut reader, mut events, mut rest) = (LineReader::default(), Vec::new(), stream);
        for len in portions {
            let (mut portion, after) = rest.split_at(len.min(rest.len()));
            while !portion.is_empty() {
                let (taken, event) = reader.read(portion);
                assert!(taken > 0 && reader.line.len() < AUTH_LINE_OCTETS_MAX);
                events.extend(event);
                portion = &portion[taken..];
            }
            rest = after;
        }
        events
    }

    fn line(text: &str) -> Event {
        Event::Line(text.into())
    }

    /// RFC 5321, section 2.3.8: A line ends with CRLF and with nothing else.
    #[test]
    fn rfc5321_2_3_8_a_line_ends_with_crlf_and_with_nothing_else() {
        for (stream, expected) in [
            (&b"NOOP\r\n\r\nQUIT\r\n"[..], vec![line("NOOP"), line(""), line("QUIT")]),
            (b"a\rb\r\n", vec![line("a\rb")]),
            (b"a\r\r\n", vec![line("a\r")]),
            (b"a\nb\r\n", vec![Event::BareLf, line("b")]),
            (b"\n\r\n", vec![Event::BareLf, line("")]),
            (b"a\0b\r\nc", vec![line("a\0b")]),
            (b"a\r", vec![]),
        ] {
            assert_eq!(events(stream, [stream.len()]), expected, "{stream:?}");
            assert_eq!(events(stream, vec![1; stream.len()]), expected, "{stream:?}");
        }
    }

    #[test]
    fn a_long_line_is_passed_over_and_the_next_is_read() {
        let longest = "x".repeat(AUTH_LINE_OCTETS_MAX - 2);
        let stream = format!("{longest}\r\n{longest}xx\r\nNOOP\r\n");
        let expected = [line(&longest), Event::TooLong { head: b"xxxxxxxx".to_vec() }, line("NOOP")];
        for portion in [1, 7, AUTH_LINE_OCTETS_MAX - 1, AUTH_LINE_OCTETS_MAX, stream.len()] {
            assert_eq!(events(stream.as_bytes(), vec![portion; stream.len()]), expected, "{portion}");
        }
    }

    #[test]
    fn a_line_without_end_is_noticed() {
        let endless = vec![b'x'; AUTH_LINE_OCTETS_MAX + LINE_DISCARD_OCTETS_MAX];
        for portion in [1000, endless.len()] {
            assert_eq!(events(&endless, vec![portion; endless.len()]).first(), Some(&Event::Endless));
        }
        let ended = [&endless[..], b"\r\n"].concat();
        assert_eq!(events(&ended, [ended.len()]), [Event::Endless]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

        #[test]
        fn portions_make_no_difference(
            stream in prop::collection::vec(prop::sample::select(&b"\r\n\0ab"[..]), 0..60),
            portions in prop::collection::vec(1_usize..9, 60),
        ) {
            prop_assert_eq!(events(&stream, portions), events(&stream, [stream.len()]));
        }
    }
}
