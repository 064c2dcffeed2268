//! The completion of messages from the office's own programs: From, Date and Message-ID.
//!
//! Scanners, telephone systems and scripts send messages without these fields, which other servers treat as spam or
//! reject. Such a message is completed (RFC 6409, section 8). The missing fields are known only at the header's end,
//! and are added there: the order of these fields has no meaning (RFC 5322, section 3.6). So nothing of the header is
//! held back but the name of one field.
//!
//! A message whose first line is no field has no header: the missing fields become the header, and the message its
//! body. The same holds for one that begins with an empty line (RFC 5322, section 2.1).
//!
//! A line `From anna@pc Thu Feb 29 ...` before the header comes from an mbox file, which scripts send along. It becomes
//! a field, so that the header continues after it, and no text is lost.

/// The longest field name that is compared, in octets. The relevant ones are shorter.
const NAME_OCTETS_MAX: usize = 80;

/// The field for the line of an mbox file.
const MBOX_LINE: &[u8] = b"X-Mailbox-Line: ";

/// The header fields that the server adds to a message without them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// An address; `None` if the sender is unknown.
    pub from: Option<String>,
    /// A date as messages have it.
    pub date: String,
    /// With its angle brackets.
    pub message_id: String,
}

/// Completes one message while it streams through.
#[derive(Debug)]
pub struct Completion {
    missing: Vec<(&'static [u8], String)>,
    place: Place,
    is_first_line: bool,
    /// A possible field name.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart,
    Name,
    InLine,
    /// In a line of an mbox file, before the header.
    InMboxLine,
    /// Behind the CR of an empty line.
    Empty,
    Body,
}

impl Completion {
    /// For a message that may lack `fields`.
    pub fn new(fields: Fields) -> Self {
        let line = |name: &str, value: &str| format!("{name}: {value}\r\n");
        let mut missing: Vec<(&'static [u8], String)> = vec![
            (b"date", line("Date", &fields.date)),
            (b"message-id", line("Message-ID", &fields.message_id)),
        ];
        missing.extend(fields.from.map(|from| (&b"from"[..], line("From", &from))));
        Self { missing, place: Place::LineStart, is_first_line: true, held: Vec::new() }
    }

    /// Reads the next octets of the message, whose lines end with CRLF, and appends those to store to `into`.
    pub fn push(&mut self, octets: &[u8], into: &mut Vec<u8>) {
        let mut rest = octets;
        while let Some((&octet, after)) = rest.split_first() {
            match self.place {
                Place::Body => return into.extend_from_slice(rest),
                Place::LineStart => self.start_line(octet, into),
                Place::Name => self.take_name(octet, into),
                Place::InLine => {
                    into.push(octet);
                    if octet == b'\n' {
                        self.place = Place::LineStart;
                        self.is_first_line = false;
                    }
                }
                Place::InMboxLine => {
                    into.push(octet);
                    if octet == b'\n' {
                        self.place = Place::LineStart;
                    }
                }
                Place::Empty => {
                    self.complete(into);
                    into.extend([b'\r', octet]);
                    self.place = Place::Body;
                }
            }
            rest = after;
        }
    }

    /// Appends the rest at the end of the message.
    pub fn finish(mut self, into: &mut Vec<u8>) {
        match self.place {
            Place::Body => return,
            Place::Name if self.is_first_line => return self.begin_body(into),
            Place::LineStart | Place::Empty => {}
            Place::Name | Place::InLine | Place::InMboxLine => {
                into.append(&mut self.held);
                into.extend(b"\r\n");
            }
        }
        self.complete(into);
    }

    fn start_line(&mut self, octet: u8, into: &mut Vec<u8>) {
        match octet {
            b'\r' => self.place = Place::Empty,
            b' ' | b'\t' if !self.is_first_line => {
                into.push(octet);
                self.place = Place::InLine;
            }
            _ => {
                self.place = Place::Name;
                self.take_name(octet, into);
            }
        }
    }

    fn take_name(&mut self, octet: u8, into: &mut Vec<u8>) {
        let has_space = self.held.last().is_some_and(|last| matches!(last, b' ' | b'\t'));
        match octet {
            b':' if !self.held.is_empty() => {
                let name = self.held.trim_ascii_end().to_ascii_lowercase();
                self.missing.retain(|(missing, _)| *missing != name);
                into.append(&mut self.held);
                into.push(octet);
                self.place = Place::InLine;
            }
            // RFC 5322, section 4.5: once there could be spaces before the colon.
            b' ' | b'\t' if !self.held.is_empty() && self.held.len() < NAME_OCTETS_MAX => {
                self.held.push(octet);
            }
            b'!'..=b'~' if octet != b':' && !has_space && self.held.len() < NAME_OCTETS_MAX => {
                self.held.push(octet);
            }
            _ if self.is_first_line && matches!(&self.held[..], b"From " | b">From ") => {
                into.extend(MBOX_LINE);
                into.append(&mut self.held);
                into.push(octet);
                self.place = Place::InMboxLine;
            }
            _ if self.is_first_line => {
                self.begin_body(into);
                into.push(octet);
            }
            // A malformed line among others stays as it is.
            _ => {
                into.append(&mut self.held);
                into.push(octet);
                self.place = if octet == b'\n' { Place::LineStart } else { Place::InLine };
            }
        }
    }

    /// Makes the held octets the beginning of the body of a message without a header.
    fn begin_body(&mut self, into: &mut Vec<u8>) {
        self.complete(into);
        into.extend(b"\r\n");
        into.append(&mut self.held);
        self.place = Place::Body;
    }

    fn complete(&mut self, into: &mut Vec<u8>) {
        for (_, line) in self.missing.drain(..) {
            into.extend(line.into_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The completed message, for portions of every length.
    fn completed(message: &str) -> String {
        let outcomes: Vec<_> = [1, 2, 3, 7, 1000]
            .into_iter()
            .map(|portion| {
                let mut completion = Completion::new(Fields {
                    from: Some("anna@office.example".to_owned()),
                    date: "Thu, 29 Feb 2024 12:34:56 +0000".to_owned(),
                    message_id: "<1@office.example>".to_owned(),
                });
                let mut octets = Vec::new();
                for portion in message.as_bytes().chunks(portion) {
                    completion.push(portion, &mut octets);
                }
                completion.finish(&mut octets);
                String::from_utf8(octets).unwrap()
            })
            .collect();
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:#?}");
        outcomes[0].clone()
    }

    const DATE: &str = "Date: Thu, 29 Feb 2024 12:34:56 +0000\r\n";
    const ID: &str = "Message-ID: <1@office.example>\r\n";
    const FROM: &str = "From: anna@office.example\r\n";

    /// RFC 6409, section 8: What a header lacks is added at its end.
    #[test]
    fn rfc6409_8_what_a_header_lacks_is_added_at_its_end() {
        for (message, expected) in [
            ("Subject: a\r\n\r\nb\r\n", format!("Subject: a\r\n{DATE}{ID}{FROM}\r\nb\r\n")),
            ("FROM: x\r\n\tdate: y\r\n\r\nb\r\n", format!("FROM: x\r\n\tdate: y\r\n{DATE}{ID}\r\nb\r\n")),
            ("From : x\r\nDate\t: y\r\n\r\nFrom:", format!("From : x\r\nDate\t: y\r\n{ID}\r\nFrom:")),
            ("X-From: a\r\n\r\n", format!("X-From: a\r\n{DATE}{ID}{FROM}\r\n")),
            ("Subject: a\r\n", format!("Subject: a\r\n{DATE}{ID}{FROM}")),
            ("Subject: a", format!("Subject: a\r\n{DATE}{ID}{FROM}")),
            ("Date: y\r\nno field\r\nFrom: x\r\n\r\n", format!("Date: y\r\nno field\r\nFrom: x\r\n{ID}\r\n")),
            ("Date: y\r\nword\r\nFrom: x\r\n\r\n", format!("Date: y\r\nword\r\nFrom: x\r\n{ID}\r\n")),
            ("a: b\r\nFrom: x", format!("a: b\r\nFrom: x\r\n{DATE}{ID}")),
        ] {
            assert_eq!(completed(message), expected, "{message:?}");
        }
    }

    #[test]
    fn the_line_of_an_mbox_file_is_no_end_of_the_header() {
        for (message, expected) in [
            (
                "From a@pc Mon Jan  1\r\nSubject: a\r\n\r\nb\r\n",
                format!("X-Mailbox-Line: From a@pc Mon Jan  1\r\nSubject: a\r\n{DATE}{ID}{FROM}\r\nb\r\n"),
            ),
            (
                "From a b\r\n>From c d\r\nDate: y\r\nFrom: x\r\nMessage-ID: z\r\n\r\nFrom e f",
                "X-Mailbox-Line: From a b\r\nX-Mailbox-Line: >From c d\r\nDate: y\r\nFrom: x\r\n\
                 Message-ID: z\r\n\r\nFrom e f"
                    .to_owned(),
            ),
            (
                "From today we are closed.\r\nYours, Anna\r\n",
                format!("X-Mailbox-Line: From today we are closed.\r\n{DATE}{ID}{FROM}\r\nYours, Anna\r\n"),
            ),
            ("From a", format!("X-Mailbox-Line: From a\r\n{DATE}{ID}{FROM}")),
            ("From a\r\n\r\nb", format!("X-Mailbox-Line: From a\r\n{DATE}{ID}{FROM}\r\nb")),
            ("Subject: a\r\nFrom a b\r\n\r\n", format!("Subject: a\r\nFrom a b\r\n{DATE}{ID}{FROM}\r\n")),
            ("From ", format!("{DATE}{ID}{FROM}\r\nFrom ")),
        ] {
            assert_eq!(completed(message), expected, "{message:?}");
        }
    }

    #[test]
    fn a_message_that_lacks_nothing_stays_as_it_is() {
        let long = "x".repeat(100);
        for message in [
            "Date: y\r\nFrom: x\r\nMessage-Id: z\r\n\r\nb\r\n\r\nc",
            "MESSAGE-ID:z\r\nfrom:\r\n x\r\nDATE:y\r\n\r\n",
            &format!("Date: y\r\nFrom: x\r\nMessage-Id: z\r\n{long}: a\r\n\r\nFrom x"),
        ] {
            assert_eq!(completed(message), message);
        }
    }

    #[test]
    fn a_message_without_a_header_becomes_the_body_of_one() {
        let long = format!("{}: x\r\n", "y".repeat(100));
        for message in [
            "hello there\r\n\r\nAnna\r\n",
            " indented\r\n",
            ": x\r\n",
            "word",
            "word\r\n",
            "\u{fc}ber: x\r\n",
            &long,
        ] {
            assert_eq!(completed(message), format!("{DATE}{ID}{FROM}\r\n{message}"), "{message:?}");
        }
        assert_eq!(completed("\r\nbody\r\n"), format!("{DATE}{ID}{FROM}\r\nbody\r\n"));
        assert_eq!(completed(""), format!("{DATE}{ID}{FROM}"));
    }
}
