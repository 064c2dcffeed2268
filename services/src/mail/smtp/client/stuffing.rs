//! Dot-stuffing of an outgoing message for DATA. (RFC 5321, sections 2.3.8 and 4.5.2)
//!
//! A line that begins with a dot gets one more. CR and LF are sent as a pair only: one that occurs alone (in a fetched
//! message, say) becomes a pair, as another server may take it for the end of a line, which allows SMTP smuggling. So
//! nothing in a message can be taken for the end of the data by any server.

/// The encoder of a message in any portions.
#[derive(Debug, Default)]
pub struct DotWriter(State);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// At the start, or after CRLF.
    #[default]
    LineStart,
    Within,
    /// After a CR, for which CRLF was sent; an LF after it belongs to it.
    Cr,
}

impl DotWriter {
    /// Appends the encoding of these octets of the message to `out`.
    pub fn write(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        out.reserve(octets.len() + octets.len() / 16);
        let mut rest = octets;
        while let Some(&octet) = rest.first() {
            let after = &rest[1..];
            rest = match (self.0, octet) {
                (State::Cr, b'\n') => {
                    self.0 = State::LineStart;
                    after
                }
                (_, b'\r' | b'\n') => {
                    out.extend_from_slice(b"\r\n");
                    self.0 = if octet == b'\r' { State::Cr } else { State::LineStart };
                    after
                }
                (State::LineStart | State::Cr, b'.') => {
                    out.extend_from_slice(b"..");
                    self.0 = State::Within;
                    after
                }
                _ => {
                    self.0 = State::Within;
                    let end = rest.iter().position(|octet| matches!(octet, b'\r' | b'\n'));
                    let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
                    out.extend_from_slice(line);
                    after
                }
            };
        }
    }

    /// Appends the end of the data to `out`, after the end of the last line. (RFC 5321, section 4.1.1.4)
    pub fn end(self, out: &mut Vec<u8>) {
        let end: &[u8] = if self.0 == State::Within { b"\r\n.\r\n" } else { b".\r\n" };
        out.extend_from_slice(end);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cases;
    use crate::mail::smtp::dots::{DotReader, End};

    /// What goes out for a message that comes in portions of this length.
    fn write(message: &[u8], portion: usize) -> Vec<u8> {
        let (mut writer, mut out) = (DotWriter::default(), Vec::new());
        message.chunks(portion.max(1)).for_each(|octets| writer.write(octets, &mut out));
        writer.end(&mut out);
        out
    }

    /// RFC 5321, section 4.5.2: A line that begins with a dot gets one more, wherever the message is cut.
    #[test]
    fn rfc5321_4_5_2_a_line_that_begins_with_a_dot_gets_one_more() {
        for (message, data) in [
            (&b""[..], &b".\r\n"[..]),
            (b".\r\n", b"..\r\n.\r\n"),
            (b".", b"..\r\n.\r\n"),
            (b"..x\r\n.y\r\n", b"...x\r\n..y\r\n.\r\n"),
            (b"a.b\r\n\r\n.\r\n", b"a.b\r\n\r\n..\r\n.\r\n"),
            (b"no end", b"no end\r\n.\r\n"),
            (b"\r\n", b"\r\n.\r\n"),
        ] {
            for portion in 1..=message.len().max(1) {
                assert_eq!(write(message, portion), data, "{message:?} in {portion}");
            }
        }
    }

    /// RFC 5321, section 2.3.8: CR and LF go out as a pair only.
    #[test]
    fn rfc5321_2_3_8_cr_and_lf_go_out_as_a_pair_only() {
        for (message, data) in [
            (&b"a\n.\nb"[..], &b"a\r\n..\r\nb\r\n.\r\n"[..]),
            (b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r\r\n.\r\n", b"a\r\n\r\n..\r\n.\r\n"),
            (b"a\n\r\n.\r", b"a\r\n\r\n..\r\n.\r\n"),
            (b"a\r", b"a\r\n.\r\n"),
        ] {
            for portion in 1..=message.len() {
                assert_eq!(write(message, portion), data, "{message:?} in {portion}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(1024)))]

        #[test]
        fn a_server_reads_the_message_that_was_written(
            parts in prop::collection::vec(prop::sample::select(vec!["\r\n", ".", "a", "\r", "\n"]), 0..40),
            portion in 1_usize..8,
        ) {
            let message = parts.concat();
            let data = write(message.as_bytes(), portion);
            let mut read = Vec::new();
            let (taken, end) = DotReader::default().read(&data, &mut |octets| read.extend_from_slice(octets));
            prop_assert!(end == Some(End::Clear) && taken == data.len(), "{:?}", data);
            // The lines, whatever their line ends.
            let mut expected = message.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n");
            if !expected.is_empty() && !expected.ends_with("\r\n") {
                expected += "\r\n";
            }
            prop_assert_eq!(String::from_utf8(read).unwrap(), expected);
        }
    }
}
