//! What people see of a message: its header decoded, and its text. (RFC 2045, RFC 2047, RFC 2231)

use mail_parser::{Address, MessageParser, MimeHeaders};

use crate::words::folded;

/// What of an unreasonable message is shown of one field, in characters.
const FIELD_CHARS_MAX: usize = 1000;
/// The attachments that are told of.
const ATTACHMENTS_MAX: usize = 100;

/// The header of a message, decoded, without control characters. What is not there is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Who says that it is from them.
    pub from: String,
    /// For whom it says that it is.
    pub to: String,
    /// What it is about.
    pub subject: String,
    /// When it says that it was written. (RFC 3339)
    pub date: String,
    /// Its name, without angle brackets.
    pub message_id: String,
}

/// What else there is to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Its text: what of it is shown first, text made of HTML where there is no other.
    pub text: String,
    /// The files that are in it.
    pub attachments: Vec<Attachment>,
}

/// A file in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name; empty if it has none.
    pub name: String,
    /// Its type, such as `image/png`; empty if none is said.
    pub kind: String,
    /// Its length, decoded, in octets.
    pub octets: u64,
}

/// The header of the message that `octets` begin.
pub fn head(octets: &[u8]) -> Head {
    let Some(message) = MessageParser::default().parse_headers(octets) else { return Head::default() };
    Head {
        from: addresses(message.from()),
        to: addresses(message.to()),
        subject: line(message.subject().unwrap_or_default()),
        date: message.date().map(ToString::to_string).unwrap_or_default(),
        message_id: line(message.message_id().unwrap_or_default()),
    }
}

/// What is in the message that `octets` are.
pub fn content(octets: &[u8]) -> Content {
    let Some(message) = MessageParser::default().parse(octets) else { return Content::default() };
    let texts = (0..message.text_body_count()).filter_map(|at| message.body_text(at));
    let attachments = message.attachments().take(ATTACHMENTS_MAX).map(|part| Attachment {
        name: line(part.attachment_name().unwrap_or_default()),
        kind: part.content_type().map(kind).unwrap_or_default(),
        octets: part.len() as u64,
    });
    Content { text: texts.collect::<Vec<_>>().join("\n"), attachments: attachments.collect() }
}

/// Whether `text`, in whatever case, is in the header, in the text or in a name of an attachment of the message that
/// `octets` are.
pub fn contains(octets: &[u8], text: &str) -> bool {
    let Some(message) = MessageParser::default().parse(octets) else { return false };
    let text = folded(text);
    let is_in = |field: &str| folded(field).contains(&text);
    let persons = [message.from(), message.to(), message.cc()].into_iter().flatten();
    let bodies = (0..message.text_body_count()).filter_map(|at| message.body_text(at));
    let html = (0..message.html_body_count()).filter_map(|at| message.body_html(at));
    message.subject().is_some_and(is_in)
        || message.message_id().is_some_and(is_in)
        || persons
            .flat_map(Address::iter)
            .any(|person| person.name().is_some_and(is_in) || person.address().is_some_and(is_in))
        || message.attachments().any(|part| part.attachment_name().is_some_and(is_in))
        || bodies.chain(html).any(|body| is_in(&body))
}

fn kind(of: &mail_parser::ContentType<'_>) -> String {
    let whole = match of.subtype() {
        Some(subtype) => format!("{}/{subtype}", of.ctype()),
        None => of.ctype().to_owned(),
    };
    line(&whole)
}

fn addresses(list: Option<&Address<'_>>) -> String {
    let persons =
        list.into_iter().flat_map(Address::iter).map(|person| match (person.name(), person.address()) {
            (Some(name), Some(address)) => format!("{name} <{address}>"),
            (name, address) => address.or(name).unwrap_or_default().to_owned(),
        });
    line(&persons.take(FIELD_CHARS_MAX).collect::<Vec<_>>().join(", "))
}

/// `text`, which a stranger has written, in one line that does nothing to a terminal.
fn line(text: &str) -> String {
    let plain = text.chars().take(FIELD_CHARS_MAX);
    plain.map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MESSAGE: &str = "From: =?utf-8?q?Zo=C3=AB?= <zoe@b.example>\r\nTo: anna@office.example, Bert <bert@office.example>\r\n\
        Subject: =?utf-8?b?UmVjaG51bmcgTcOkcno=?=\r\nDate: Thu, 29 Feb 2024 12:00:00 +0100\r\nMessage-ID: <1@b.example>\r\n\
        MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nR3LDvMOfZSBhdXMgS8O2bG4=\r\n--x\r\nContent-Type: application/pdf\r\n\
        Content-Disposition: attachment; filename=Rechnung.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n--x--\r\n";

    #[test]
    fn a_header_is_decoded_and_text_and_attachments_are_found() {
        let head = head(MESSAGE.as_bytes());
        assert_eq!(head.from, "Zoë <zoe@b.example>");
        assert_eq!(head.to, "anna@office.example, Bert <bert@office.example>");
        assert_eq!((head.subject.as_str(), head.message_id.as_str()), ("Rechnung März", "1@b.example"));
        assert_eq!(head.date, "2024-02-29T12:00:00+01:00");
        let content = content(MESSAGE.as_bytes());
        assert_eq!(content.text.trim_end(), "Grüße aus Köln");
        let attachment =
            Attachment { name: "Rechnung.pdf".to_owned(), kind: "application/pdf".to_owned(), octets: 3 };
        assert_eq!(content.attachments, [attachment]);
    }

    #[test]
    fn text_is_found_decoded_in_whatever_case_and_not_in_what_nobody_reads() {
        for text in
            ["märz", "KÖLN", "GRÜẞE", "grüsse", "zoe@B", "Zoë", "bert@", "rechnung.PDF", "1@b.example"]
        {
            assert!(contains(MESSAGE.as_bytes(), text), "{text}");
        }
        for text in ["R3LDvMOf", "multipart", "boundary", "nothing"] {
            assert!(!contains(MESSAGE.as_bytes(), text), "{text}");
        }
        assert!(contains(b"Content-Type: text/html\r\n\r\n<p>One <b>two</b></p>", "one two"));
    }

    #[test]
    fn what_a_stranger_writes_does_nothing_to_a_terminal() {
        let head = head(b"Subject: =?utf-8?q?=1B]0;x=07?=\r\nFrom: \"\x1b[2J\" <a@b>\r\n\r\n");
        assert!(!format!("{}{}", head.subject, head.from).contains(|c: char| c.is_control()), "{head:?}");
        let long = format!("Subject: {}\r\n\r\n", "x".repeat(5000));
        assert_eq!(super::head(long.as_bytes()).subject.len(), FIELD_CHARS_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::cases(256)))]

        #[test]
        fn any_octets_are_looked_at(cut in 0..MESSAGE.len(), octets in prop::collection::vec(any::<u8>(), 0..100)) {
            let message = [&MESSAGE.as_bytes()[..cut], &octets].concat();
            head(&message);
            content(&message);
            contains(&message, "x");
        }
    }
}
