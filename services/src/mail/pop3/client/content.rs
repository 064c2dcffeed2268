//! The content of a multi-line reply: its end, and the message without dot-stuffing. (RFC 1939, section 3)

/// The reader of a message in any portions.
#[derive(Debug, Default)]
pub(super) struct ContentReader(State);

/// The last octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The CRLF of a line, or nothing.
    #[default]
    LineStart,
    /// A dot at the start of a line: a stuffed one or the end.
    Dot,
    /// CR behind such a dot.
    DotCr,
    Within,
    Cr,
}

impl ContentReader {
    /// Reads octets up to the end of the message, and appends those of the message to `out`: returns how many were
    /// consumed, and whether that was the end.
    pub fn read(&mut self, octets: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        let mut at = 0;
        while let Some(&octet) = octets.get(at) {
            at += 1;
            self.0 = match (self.0, octet) {
                (State::LineStart, b'.') => {
                    self.0 = State::Dot;
                    continue;
                }
                (State::Dot, b'\r') => {
                    self.0 = State::DotCr;
                    continue;
                }
                (State::DotCr, b'\n') => {
                    self.0 = State::LineStart;
                    return (at, true);
                }
                (State::DotCr, _) => {
                    out.push(b'\r');
                    if octet == b'\r' { State::Cr } else { State::Within }
                }
                (State::Cr, b'\n') => State::LineStart,
                (_, b'\r') => State::Cr,
                (_, _) => State::Within,
            };
            out.push(octet);
            if self.0 == State::Within {
                let rest = &octets[at..];
                let len = rest.iter().position(|octet| *octet == b'\r').unwrap_or(rest.len());
                out.extend_from_slice(&rest[..len]);
                at += len;
            }
        }
        (octets.len(), false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cases;

    /// The message in `stream`, which comes in portions of this length, and the rest after its end.
    fn read(stream: &[u8], portion: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let (mut reader, mut message, mut at) = (ContentReader::default(), Vec::new(), 0);
        for portion in stream.chunks(portion) {
            let (taken, is_end) = reader.read(portion, &mut message);
            at += taken;
            if is_end {
                return Some((message, stream[at..].to_vec()));
            }
            assert_eq!(taken, portion.len());
        }
        None
    }

    /// RFC 1939, section 3: A dot at the start of a line is taken off, and a line that is one dot is the end.
    #[test]
    fn rfc1939_3_a_dot_at_the_start_of_a_line_is_taken_off_and_a_dot_alone_is_the_end() {
        for (stream, message) in [
            ("a\r\n.\r\n", "a\r\n"),
            (".\r\n", ""),
            ("..x\r\n..\r\n...\r\n.\r\n", ".x\r\n.\r\n..\r\n"),
            ("a\r\n\r\n..\r\n.\r\n", "a\r\n\r\n.\r\n"),
            (".\rx\r\n.\r\n", "\rx\r\n"),
            (".\r\r\n.\r\n", "\r\r\n"),
            ("a\r\r\n.\r\n", "a\r\r\n"),
        ] {
            for portion in 1..=stream.len() {
                let read = read(stream.as_bytes(), portion);
                assert_eq!(read, Some((message.as_bytes().to_vec(), Vec::new())), "{stream:?}");
            }
        }
    }

    #[test]
    fn a_bare_cr_or_lf_begins_no_line_that_could_be_the_end() {
        for before in ["\n", "\r", "x\n", "x\r"] {
            for end in [".\r\n", ".\n", ".\r"] {
                let stream = format!("a{before}{end}+OK\r\n");
                assert_eq!(read(stream.as_bytes(), 1), None, "{stream:?}");
            }
        }
        assert_eq!(read(b"a\r\n.\n.\r\n", 1), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

        #[test]
        fn what_was_stuffed_comes_back_and_portions_make_no_difference(
            lines in prop::collection::vec(prop::sample::select(vec!["", ".", "..", "x", ".x", "x.", "\n", "\r", "\n."]), 0..9),
            portion in 1_usize..9,
        ) {
            let text = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>();
            let stuffed = lines.iter().map(|line| {
                format!("{}{line}\r\n", if line.starts_with('.') { "." } else { "" })
            });
            let stream = stuffed.collect::<String>() + ".\r\n+OK";
            prop_assert_eq!(read(stream.as_bytes(), portion), Some((text.into_bytes(), b"+OK".to_vec())));
        }
    }
}
