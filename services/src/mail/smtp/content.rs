//! The validation of a message's content, as a stream. (RFC 5321, sections 2.3.8 and 6.3; RFC 5322)

use super::limits::HOPS_MAX;
use super::reply::{BAD_LINE_ENDS, Reply, TOO_BIG, TOO_MANY_HOPS};

/// Why a message's content is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A bare CR or LF, or a NUL, which other servers interpret differently.
    LineEnds,
    /// The message is too long.
    TooBig,
    /// More Received fields than [`HOPS_MAX`].
    Loop,
}

impl From<Fault> for Reply {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::LineEnds => BAD_LINE_ENDS,
            Fault::TooBig => TOO_BIG,
            Fault::Loop => TOO_MANY_HOPS,
        }
    }
}

/// The name of the fields that are counted, in lower case, with its colon.
const RECEIVED: &[u8] = b"received:";

/// The validator of one message. It reads each octet once and stores none.
#[derive(Debug)]
pub(super) struct Content {
    octets: u64,
    octets_max: u64,
    is_after_cr: bool,
    header: Header,
    hops: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    /// So many octets of a line agree with [`RECEIVED`].
    Matches(usize),
    /// In a line that is no such field.
    Other,
    /// The header is over.
    Over,
}

impl Content {
    /// A validator for a message of at most `octets_max` octets.
    pub fn new(octets_max: u64) -> Self {
        Self { octets: 0, octets_max, is_after_cr: false, header: Header::Matches(0), hops: 0 }
    }

    /// The octets so far.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Validates the next octets of the message. It must not be called after an error.
    pub fn push(&mut self, octets: &[u8]) -> Result<(), Fault> {
        let room = usize::try_from(self.octets_max - self.octets).unwrap_or(usize::MAX);
        let (within, beyond) = octets.split_at(octets.len().min(room));
        self.judge(within)?;
        self.octets += within.len() as u64;
        if beyond.is_empty() { Ok(()) } else { Err(Fault::TooBig) }
    }

    /// Validates the end of the message.
    pub fn finish(&self) -> Result<(), Fault> {
        if self.is_after_cr { Err(Fault::LineEnds) } else { Ok(()) }
    }

    fn judge(&mut self, mut rest: &[u8]) -> Result<(), Fault> {
        while let Some((&octet, after)) = rest.split_first() {
            if octet == 0 || self.is_after_cr != (octet == b'\n') {
                return Err(Fault::LineEnds);
            }
            self.is_after_cr = octet == b'\r';
            rest = after;
            if self.header != Header::Over {
                self.read_header(octet)?;
            } else if !self.is_after_cr {
                let special = rest.iter().position(|octet| matches!(octet, b'\r' | b'\n' | 0));
                rest = &rest[special.unwrap_or(rest.len())..];
            }
        }
        Ok(())
    }

    fn read_header(&mut self, octet: u8) -> Result<(), Fault> {
        self.header = match (self.header, octet) {
            (Header::Matches(0), b'\r') => Header::Over,
            (_, b'\n') => Header::Matches(0),
            (Header::Matches(len), octet) if octet.to_ascii_lowercase() == RECEIVED[len] => {
                if len + 1 == RECEIVED.len() {
                    self.hops += 1;
                    if self.hops > HOPS_MAX {
                        return Err(Fault::Loop);
                    }
                    Header::Other
                } else {
                    Header::Matches(len + 1)
                }
            }
            _ => Header::Other,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result for a message that comes in portions of every length.
    fn judge(message: &[u8], octets_max: u64) -> Result<(), Fault> {
        let verdicts: Vec<_> = [1, 2, 3, 1000, message.len().max(1)]
            .into_iter()
            .map(|portion| {
                let mut content = Content::new(octets_max);
                message.chunks(portion).try_for_each(|octets| content.push(octets))?;
                content.finish()
            })
            .collect();
        assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]), "{verdicts:?}");
        verdicts[0]
    }

    /// RFC 5321, section 2.3.8: CR and LF come as a pair only.
    #[test]
    fn rfc5321_2_3_8_cr_and_lf_come_as_a_pair_only() {
        for right in
            [&b""[..], b"a", b"\r\n", b"Subject: x\r\n\r\na\r\n\r\nb", "Subject: \u{fc}\r\n".as_bytes()]
        {
            assert_eq!(judge(right, 100), Ok(()), "{right:?}");
        }
        for wrong in [
            &b"\n"[..],
            b"a\nb",
            b"\r",
            b"a\rb",
            b"\r\r\n",
            b"\r\n\r\nab\n",
            b"\r\n\r\na\0b",
            b"\0",
            b"a\r\n\n",
        ] {
            assert_eq!(judge(wrong, 100), Err(Fault::LineEnds), "{wrong:?}");
        }
    }

    /// RFC 5321, section 6.3: More than a hundred Received fields are a loop.
    #[test]
    fn rfc5321_6_3_more_than_a_hundred_received_fields_are_a_loop() {
        let message = |hops: u32, rest: &str| {
            let fields = "rEceived: from a\r\n\tby b\r\nX-Received: c\r\n".repeat(hops as usize);
            judge(format!("{fields}{rest}").as_bytes(), u64::MAX)
        };
        let in_body = "\r\nReceived: in the body\r\n Received:\r\n";
        assert_eq!(message(HOPS_MAX, in_body), Ok(()));
        assert_eq!(message(HOPS_MAX, "Received\r\n Received: folded\r\n"), Ok(()));
        assert_eq!(message(HOPS_MAX, "Received:"), Err(Fault::Loop));
        assert_eq!(message(HOPS_MAX + 1, in_body), Err(Fault::Loop));
    }

    /// RFC 1870, section 6: A message over the maximum is refused.
    #[test]
    fn rfc1870_6_a_message_over_the_maximum_is_refused() {
        assert_eq!(judge(&[b'x'; 100], 100), Ok(()));
        assert_eq!(judge(&[b'x'; 101], 100), Err(Fault::TooBig));
    }
}
