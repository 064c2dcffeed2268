//! Octets to replies of a server. (RFC 5321, section 4.2; RFC 2034 for the enhanced codes)

use std::fmt;
use std::mem;

use crate::mail::address::is_hidden;

/// The longest line of a reply, in octets. RFC 5321, section 4.5.3.1.5 allows 512; some servers send more.
pub const REPLY_LINE_OCTETS_MAX: usize = 4096;
/// The octets of all lines of a reply.
pub const REPLY_OCTETS_MAX: usize = 64 << 10;
/// The most characters of [`ServerReply::to_text`].
pub const REPLY_TEXT_CHARS_MAX: usize = 500;

/// An enhanced status code. (RFC 3463, section 2)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// 2: success, 4: not now, 5: not at all.
    pub class: u8,
    /// The subject.
    pub subject: u16,
    /// The detail.
    pub detail: u16,
}

impl Status {
    /// The status with these numbers.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// Reads `5.1.1`, which ends at the first character that does not belong to it.
    pub fn parse(text: &str) -> Option<Self> {
        let word = text.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?;
        let mut parts = word.split('.');
        let class = parts.next().filter(|class| matches!(*class, "2" | "4" | "5"))?;
        let mut number = || parts.next().filter(|digits| (1..=3).contains(&digits.len()))?.parse().ok();
        let status = Self { class: class.parse().ok()?, subject: number()?, detail: number()? };
        parts.next().is_none().then_some(status)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// One reply, with all of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerReply {
    /// 200 to 599.
    pub code: u16,
    /// The text of each line, without control characters.
    pub lines: Vec<String>,
}

impl ServerReply {
    /// Whether the reply is positive (2xx, 3xx).
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether the reply is negative, temporarily or permanently.
    pub fn is_negative(&self) -> bool {
        self.code >= 400
    }

    /// The enhanced code, if it is of the reply's class. (RFC 2034, section 4)
    pub fn status(&self) -> Option<Status> {
        let status = Status::parse(self.lines.first()?)?;
        (u16::from(status.class) == self.code / 100).then_some(status)
    }

    /// The reply in one line of at most [`REPLY_TEXT_CHARS_MAX`] characters. An enhanced code that is in each line is
    /// included once.
    pub fn to_text(&self) -> String {
        let status = self.status().map(|status| status.to_string()).unwrap_or_default();
        let mut text = self.code.to_string();
        for (at, line) in self.lines.iter().enumerate() {
            let line = if at == 0 { line } else { line.strip_prefix(status.as_str()).unwrap_or(line) };
            text.push(' ');
            text.push_str(line.trim());
        }
        text.chars().take(REPLY_TEXT_CHARS_MAX).collect()
    }
}

/// Why octets are no reply. The stream after it cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenReply {
    /// A line is longer than [`REPLY_LINE_OCTETS_MAX`].
    EndlessLine,
    /// All lines have more than [`REPLY_OCTETS_MAX`].
    EndlessReply,
    /// A line has no code, or another one than the line before.
    NoCode,
}

impl fmt::Display for BrokenReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndlessLine => "the server sent a line without end",
            Self::EndlessReply => "the server sent a reply without end",
            Self::NoCode => "the server sent something that is no SMTP",
        })
    }
}

/// Puts replies together from octets that arrive in any portions.
///
/// A line may end with LF alone. It holds at most one line and one reply.
#[derive(Debug, Default)]
pub struct ReplyReader {
    line: Vec<u8>,
    code: u16,
    lines: Vec<String>,
    octets: usize,
}

impl ReplyReader {
    /// Reads octets up to the end of a reply: returns how many were consumed, and the reply, if it is complete. If it
    /// is not, all are consumed.
    ///
    /// # Errors
    ///
    /// The result holds the error. The reader must not be used any more.
    pub fn read(&mut self, octets: &[u8]) -> (usize, Option<Result<ServerReply, BrokenReply>>) {
        let mut taken = 0;
        while let Some(len) = octets[taken..].iter().position(|octet| *octet == b'\n') {
            let part = &octets[taken..taken + len];
            taken += len + 1;
            if self.line.len() + part.len() > REPLY_LINE_OCTETS_MAX {
                return (taken, Some(Err(BrokenReply::EndlessLine)));
            }
            self.line.extend_from_slice(part);
            match self.end_line() {
                Ok(true) => {
                    self.octets = 0;
                    let reply = ServerReply { code: self.code, lines: mem::take(&mut self.lines) };
                    return (taken, Some(Ok(reply)));
                }
                Ok(false) => {}
                Err(broken) => return (taken, Some(Err(broken))),
            }
        }
        let rest = &octets[taken..];
        if self.line.len() + rest.len() > REPLY_LINE_OCTETS_MAX {
            return (octets.len(), Some(Err(BrokenReply::EndlessLine)));
        }
        self.line.extend_from_slice(rest);
        (octets.len(), None)
    }

    /// Handles a completed line: returns whether it is the reply's last one.
    fn end_line(&mut self) -> Result<bool, BrokenReply> {
        let mut line = mem::take(&mut self.line);
        line.pop_if(|octet| *octet == b'\r');
        self.octets += line.len() + 2;
        if self.octets > REPLY_OCTETS_MAX {
            return Err(BrokenReply::EndlessReply);
        }
        let (code, rest) = line.split_at_checked(3).ok_or(BrokenReply::NoCode)?;
        let [hundreds @ b'2'..=b'5', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = *code else {
            return Err(BrokenReply::NoCode);
        };
        let code = [hundreds, tens, ones].iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        // RFC 5321, section 4.2.1: all lines have the same code, and all but the last a hyphen.
        let (is_last, text) = match rest.split_first() {
            None => (true, &[][..]),
            Some((b' ', text)) => (true, text),
            Some((b'-', text)) => (false, text),
            Some(_) => return Err(BrokenReply::NoCode),
        };
        if !self.lines.is_empty() && code != self.code {
            return Err(BrokenReply::NoCode);
        }
        self.code = code;
        self.lines.push(printable(&String::from_utf8_lossy(text)));
        Ok(is_last)
    }
}

/// `text` without characters that end its line or hide other characters.
pub(in crate::mail) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cases;

    type Read = Vec<Result<ServerReply, BrokenReply>>;

    /// All that is read of a stream in portions of this length, up to what is no reply.
    fn read(stream: &[u8], portion: usize) -> Read {
        let (mut reader, mut replies) = (ReplyReader::default(), Vec::new());
        for mut octets in stream.chunks(portion.max(1)) {
            while !octets.is_empty() {
                let (taken, reply) = reader.read(octets);
                assert!(taken > 0 && reader.line.len() <= REPLY_LINE_OCTETS_MAX);
                let is_broken = matches!(reply, Some(Err(_)));
                replies.extend(reply);
                if is_broken {
                    return replies;
                }
                octets = &octets[taken..];
            }
        }
        replies
    }

    fn reply(code: u16, lines: &[&str]) -> Result<ServerReply, BrokenReply> {
        Ok(ServerReply { code, lines: lines.iter().map(|line| (*line).to_owned()).collect() })
    }

    /// RFC 5321, section 4.2.1: Replies of several lines are read as one.
    #[test]
    fn rfc5321_4_2_1_replies_of_several_lines_are_read_as_one() {
        for (stream, expected) in [
            (&b"250 OK\r\n"[..], vec![reply(250, &["OK"])]),
            (b"250\r\n", vec![reply(250, &[""])]),
            (b"250 \r\n354 go\r\n", vec![reply(250, &[""]), reply(354, &["go"])]),
            (b"250-a\r\n250-SIZE 1\r\n250 B\r\n", vec![reply(250, &["a", "SIZE 1", "B"])]),
            (b"250-a\n250 b\n", vec![reply(250, &["a", "b"])]),
            (b"250-a\r\n250\r\n", vec![reply(250, &["a", ""])]),
            (b"550 a\x07b\xff\r\n", vec![reply(550, &["a?b\u{fffd}"])]),
            (b"250-a\r\n", vec![]),
        ] {
            for portion in 1..=stream.len() {
                assert_eq!(read(stream, portion), expected, "{stream:?} in {portion}");
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_told() {
        let wrong: [&[u8]; 12] = [
            b"\r\n",
            b"OK\r\n",
            b"25\r\n",
            b"2500 OK\r\n",
            b"150 OK\r\n",
            b"600 OK\r\n",
            b"25x OK\r\n",
            b"250+OK\r\n",
            b"250-a\r\n550 b\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"-50 OK\r\n",
            b" 250 OK\r\n",
        ];
        for wrong in wrong {
            assert_eq!(read(wrong, 3), [Err(BrokenReply::NoCode)], "{wrong:?}");
        }
    }

    #[test]
    fn endless_lines_and_replies_are_noticed() {
        let longest = format!("250 {}\r\n", "x".repeat(REPLY_LINE_OCTETS_MAX - 5));
        assert!(read(longest.as_bytes(), 100)[0].is_ok());
        let endless = vec![b'2'; REPLY_LINE_OCTETS_MAX + 1];
        for portion in [1, 1000, endless.len()] {
            assert_eq!(read(&endless, portion), [Err(BrokenReply::EndlessLine)]);
        }
        let ended = format!("250 {}\r\n", "x".repeat(REPLY_LINE_OCTETS_MAX));
        assert_eq!(read(ended.as_bytes(), ended.len()), [Err(BrokenReply::EndlessLine)]);
        let line = b"250-hello\r\n";
        let replies = read(&line.repeat(REPLY_OCTETS_MAX / line.len() + 1), 1 << 20);
        assert_eq!(replies, [Err(BrokenReply::EndlessReply)]);
        // The limit is for each reply.
        let many = b"250 hello\r\n".repeat(2 * REPLY_OCTETS_MAX / line.len());
        assert!(read(&many, 1 << 20).iter().all(Result::is_ok));
    }

    /// RFC 2034, section 4: The class of an enhanced code is that of the code, or it is none.
    #[test]
    fn rfc2034_4_an_enhanced_code_has_the_class_of_the_code() {
        let status = |code, text: &str| reply(code, &[text]).unwrap().status();
        assert_eq!(status(550, "5.1.1 no such user"), Some(Status::new(5, 1, 1)));
        assert_eq!(status(450, "4.2.0"), Some(Status::new(4, 2, 0)));
        assert_eq!(status(250, "2.0.0 5.1.1"), Some(Status::new(2, 0, 0)));
        assert_eq!(status(550, "5.1.100: no"), Some(Status::new(5, 1, 100)));
        for wrong in ["4.1.1 no", "5.1 no", "5.1.1.1 no", "5..1 no", "5.1000.1 no", "3.1.1 no", "no", ""] {
            assert_eq!(status(550, wrong), None, "{wrong}");
        }
        assert_eq!(Status::new(5, 1, 100).to_string(), "5.1.100");
    }

    #[test]
    fn a_reply_is_one_line_of_text() {
        let several = reply(550, &["5.1.1 no", "5.1.1 such user", "here"]).unwrap();
        assert_eq!(several.to_text(), "550 5.1.1 no such user here");
        assert_eq!(reply(421, &[""]).unwrap().to_text(), "421 ");
        let long = "é".repeat(1000);
        assert_eq!(reply(550, &[&long]).unwrap().to_text().chars().count(), REPLY_TEXT_CHARS_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

        #[test]
        fn portions_make_no_difference(
            parts in prop::collection::vec(prop::sample::select(vec!["250", "-", " ", "\r\n", "\n", "x", "5.1.1", "\r"]), 0..30),
            portion in 1_usize..9,
        ) {
            let stream = parts.concat();
            prop_assert_eq!(read(stream.as_bytes(), portion), read(stream.as_bytes(), stream.len()));
        }
    }
}
