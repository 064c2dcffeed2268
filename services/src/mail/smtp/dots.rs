//! The decoder of DATA: its end, and the message without dot-stuffing. (RFC 5321, section 4.5.2)
//!
//! The end is a line that is one dot, and a line ends with CRLF. Some servers also took a bare CR or LF for a line's
//! end, so that one of two servers saw an end where the other saw none, and the text after it became a message of its
//! own with a sender of the attacker's choice (SMTP smuggling). Here a bare CR or LF ends nothing, and a CRLF directly
//! after one (`CR CR LF`, `LF CR LF`) ends no line either: the next line's dot stays.
//!
//! A client that sends `LF CR LF . CR LF` may have sent an end and wait for a reply. That is a doubtful end: all octets
//! after it are discarded.

/// Where data end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Every server sees this end.
    Clear,
    /// An end with a bare CR or LF before the first CRLF: some servers do not see it.
    Doubtful,
}

/// The decoder of data in any portions.
#[derive(Debug, Default)]
pub(super) struct DotReader(State);

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
    /// Anything within a line.
    Within,
    /// CR behind anything of a line.
    Cr,
    /// An LF without CR.
    BareLf,
    /// CR behind a bare CR or LF: an LF behind it ends no line.
    SpoiledCr,
    /// The CRLF behind a bare CR or LF.
    SpoiledCrLf,
    /// A dot behind such a CRLF: of the text, or of a doubtful end.
    SpoiledDot,
    /// CR behind such a dot.
    SpoiledDotCr,
}

impl DotReader {
    /// Reads octets up to the end of the data, and passes those of the message to `sink`: returns how many were
    /// consumed, and the end if that was it.
    pub fn read(&mut self, octets: &[u8], sink: &mut dyn FnMut(&[u8])) -> (usize, Option<End>) {
        // The message's octets from `from` on have not been passed on.
        let (mut from, mut at) = (0, 0);
        while let Some(&octet) = octets.get(at) {
            self.0 = match (self.0, octet) {
                (State::LineStart, b'.') => {
                    sink(&octets[from..at]);
                    from = at + 1;
                    State::Dot
                }
                (State::Dot, b'\r') => {
                    from = at + 1;
                    State::DotCr
                }
                (State::DotCr, b'\n') => {
                    self.0 = State::LineStart;
                    return (at + 1, Some(End::Clear));
                }
                (State::DotCr, _) => {
                    sink(b"\r");
                    from = at;
                    after_bare_cr(octet)
                }
                (State::Cr, b'\n') => State::LineStart,
                (State::SpoiledDotCr, b'\n') => {
                    self.0 = State::LineStart;
                    return (at + 1, Some(End::Doubtful));
                }
                (State::SpoiledDotCr, _) => {
                    sink(b".\r");
                    from = at;
                    after_bare_cr(octet)
                }
                (State::Cr, _) => after_bare_cr(octet),
                (State::SpoiledCr, b'\n') => State::SpoiledCrLf,
                (State::SpoiledCrLf, b'.') => {
                    sink(&octets[from..at]);
                    from = at + 1;
                    State::SpoiledDot
                }
                (State::SpoiledDot, b'\r') => {
                    from = at + 1;
                    State::SpoiledDotCr
                }
                (State::SpoiledDot, _) => {
                    sink(b".");
                    from = at;
                    if octet == b'\n' { State::BareLf } else { State::Within }
                }
                (State::BareLf | State::SpoiledCr, b'\r') => State::SpoiledCr,
                (_, b'\n') => State::BareLf,
                (_, b'\r') => State::Cr,
                (_, _) => State::Within,
            };
            at += 1;
            if self.0 == State::Within {
                let rest = &octets[at..];
                at += rest.iter().position(|octet| matches!(octet, b'\r' | b'\n')).unwrap_or(rest.len());
            }
        }
        sink(&octets[from..]);
        (octets.len(), None)
    }
}

/// The state when `octet` follows a CR and is no LF that belongs to it.
fn after_bare_cr(octet: u8) -> State {
    match octet {
        b'\r' => State::SpoiledCr,
        _ => State::Within,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cases;

    /// The message in `data`, which comes in portions of this length, and what follows its end; `None` if it has none.
    fn read(data: &[u8], portion: usize) -> Option<(End, Vec<u8>, Vec<u8>)> {
        let (mut reader, mut message, mut at) = (DotReader::default(), Vec::new(), 0);
        for portion in data.chunks(portion) {
            let (taken, end) = reader.read(portion, &mut |octets| message.extend_from_slice(octets));
            at += taken;
            if let Some(end) = end {
                return Some((end, message, data[at..].to_vec()));
            }
            assert_eq!(taken, portion.len());
        }
        None
    }

    /// RFC 5321, section 4.5.2: A dot at the start of a line is taken off, wherever the stream is cut.
    #[test]
    fn rfc5321_4_5_2_a_dot_at_the_start_of_a_line_is_taken_off() {
        for (data, message) in [
            (&b".\r\n"[..], &b""[..]),
            (b"..x\r\n.\r\n", b".x\r\n"),
            (b"..\r\n.\r\n", b".\r\n"),
            (b"...\r\n.\r\n", b"..\r\n"),
            (b".x\r\n.\r\n", b"x\r\n"),
            (b"a.\r\n.\r\n", b"a.\r\n"),
            (b"\r\n.\r\n", b"\r\n"),
            (b"a\r\n..\r\n.b\r\n\r\n.\r\n", b"a\r\n.\r\nb\r\n\r\n"),
        ] {
            let stream = [data, b"QUIT\r\n"].concat();
            for portion in 1..=stream.len() {
                let expected = Some((End::Clear, message.to_vec(), b"QUIT\r\n".to_vec()));
                assert_eq!(read(&stream, portion), expected, "{data:?} in {portion}");
            }
        }
    }

    /// RFC 5321, section 4.1.1.4: Only CRLF.CRLF ends the data.
    #[test]
    fn rfc5321_4_1_1_4_only_crlf_dot_crlf_ends_the_data() {
        for end in SMUGGLED {
            let stream = [b"a", end, b"MAIL FROM:<a@b.example>\r\n"].concat();
            for portion in 1..=stream.len() {
                assert_eq!(read(&stream, portion), None, "{end:?} in {portion}");
                let ended = [&stream[..], b".\r\n"].concat();
                assert!(
                    read(&ended, portion).is_some_and(|(end, _, rest)| end == End::Clear && rest.is_empty()),
                    "{end:?} in {portion}"
                );
            }
        }
    }

    /// RFC 5321, section 4.1.1.4: Behind a bare CR or LF an end is doubtful.
    #[test]
    fn rfc5321_4_1_1_4_behind_a_bare_cr_or_lf_an_end_is_doubtful() {
        for end in [&b"\r\r\n.\r\n"[..], b"\n\r\n.\r\n", b"\r\n\r\r\n.\r\n"] {
            let stream = [b"a", end, b"QUIT\r\n"].concat();
            for portion in 1..=stream.len() {
                let (doubtful, message, rest) = read(&stream, portion).expect("an end");
                assert_eq!(doubtful, End::Doubtful, "{end:?} in {portion}");
                let text = [b"a", end.strip_suffix(b".\r\n").unwrap()].concat();
                assert_eq!((&message[..], &rest[..]), (&text[..], &b"QUIT\r\n"[..]));
            }
        }
    }

    /// Sequences that some server has taken for the end of data.
    const SMUGGLED: [&[u8]; 10] = [
        b"\n.\n",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r",
        b"\r\n.\r",
        b"\r.\r\n",
        b"\n.\r",
        b"\r\n\0.\r\n",
        b"\r\n.\r\r\n",
        b"\r\n.\0\r\n",
    ];

    /// A second definition of the end of data: pairs are found first, then the lines between pairs that end one.
    fn model(data: &[u8]) -> Option<(End, Vec<u8>, Vec<u8>)> {
        let (mut message, mut line, mut doubtful_from) = (Vec::new(), Vec::new(), None);
        let (mut rest, mut is_after_bare) = (data, false);
        loop {
            let (token, after) = rest.split_at_checked(if rest.starts_with(b"\r\n") { 2 } else { 1 })?;
            rest = after;
            if token == b"\r\n" && !is_after_bare {
                if line == b"." {
                    return Some((End::Clear, message, rest.to_vec()));
                }
                let is_doubtful = doubtful_from.is_some_and(|from| line[from..] == *b".");
                if is_doubtful {
                    line.pop();
                }
                message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                if is_doubtful {
                    return Some((End::Doubtful, message, rest.to_vec()));
                }
                message.extend_from_slice(token);
                line.clear();
                doubtful_from = None;
            } else {
                line.extend_from_slice(token);
                doubtful_from = (token == b"\r\n").then_some(line.len()).or(doubtful_from);
            }
            is_after_bare = token == b"\r" || token == b"\n";
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(1024)))]

        #[test]
        fn agrees_with_a_reading_line_by_line(
            data in prop::collection::vec(prop::sample::select(&b"\r\n.a\0"[..]), 0..40),
            portion in 1_usize..8,
        ) {
            // CRLF is more likely than one in 25.
            let data: Vec<u8> =
                data.iter().flat_map(|octet| if *octet == b'a' { b"\r\n".to_vec() } else { vec![*octet] }).collect();
            prop_assert_eq!(read(&data, portion), model(&data));
        }
    }
}
