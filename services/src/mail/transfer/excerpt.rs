//! The presentation of a message: its header decoded, and its text. (RFC 2045; RFC 2047; RFC 2231)

use std::borrow::Cow;
use std::collections::BTreeSet;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::html::html_to_text;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{Address, HeaderName, Message, MessageParser, MessagePart, MimeHeaders, PartType};

use crate::words::folded;

/// The most characters of one field.
const FIELD_CHARS_MAX: usize = 1000;
/// The most attachments that are listed.
const ATTACHMENTS_MAX: usize = 100;

/// The header of a message, decoded, without control characters. Missing fields are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// From.
    pub from: String,
    /// To.
    pub to: String,
    /// Subject.
    pub subject: String,
    /// Date. (RFC 3339)
    pub date: String,
    /// Its name, without angle brackets.
    pub message_id: String,
}

/// The other content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The first displayed text, converted from HTML if there is no other.
    pub text: String,
    /// The files that are in it.
    pub attachments: Vec<Attachment>,
}

/// A file in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The file name; empty without one.
    pub name: String,
    /// The media type, such as `image/png`; empty without one.
    pub kind: String,
    /// Its length, decoded, in octets.
    pub octets: u64,
}

/// The header of the message `octets`.
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

/// The content of the message `octets`.
pub fn content(octets: &[u8]) -> Content {
    let look = |message: &Message<'_>| {
        let texts = message.text_body.iter().filter_map(|id| shown(octets, message.part(*id)?));
        let attachments = message.attachments().take(ATTACHMENTS_MAX).map(|part| Attachment {
            name: line(part.attachment_name().unwrap_or_default()),
            kind: part.content_type().map(kind).unwrap_or_default(),
            octets: decoded(octets, part).map_or(part.len(), |decoded| decoded.len()) as u64,
        });
        Content { text: texts.collect::<Vec<_>>().join("\n"), attachments: attachments.collect() }
    };
    with_message(octets, look).unwrap_or_default()
}

/// Whether `text`, in any case, is in the header, in the text or in the name of an attachment of the message `octets`.
pub fn contains(octets: &[u8], text: &str) -> bool {
    let text = folded(text);
    let is_in = |field: &str| folded(field).contains(&text);
    let look = |message: &Message<'_>| {
        let persons = [message.from(), message.to(), message.cc()].into_iter().flatten();
        let mut bodies = message.text_body.iter().filter_map(|id| shown(octets, message.part(*id)?));
        // A plain text part is also listed as HTML.
        let plain: BTreeSet<_> = message.text_body.iter().collect();
        let mut html = message.html_body.iter().filter_map(|id| {
            let part = message.part(*id)?;
            let is_again = matches!(part.body, PartType::Text(_)) && plain.contains(id);
            if is_again { None } else { text_of(octets, part) }
        });
        message.subject().is_some_and(is_in)
            || message.message_id().is_some_and(is_in)
            || persons
                .flat_map(Address::iter)
                .any(|person| person.name().is_some_and(is_in) || person.address().is_some_and(is_in))
            || message.attachments().any(|part| part.attachment_name().is_some_and(is_in))
            || bodies.any(|body| is_in(&body))
            || html.any(|body| is_in(&body))
    };
    with_message(octets, look).unwrap_or_default()
}

/// Passes the parsed message `octets` to `look`; `None` if they are no message.
///
/// The parser is used without decoding, and its result is taken apart here: it would otherwise recurse into nested
/// messages as deeply as their sender likes.
fn with_message<T>(octets: &[u8], look: impl FnOnce(&Message<'_>) -> T) -> Option<T> {
    let parser = MessageParser::new().with_minimal_headers().with_message_ids();
    let message = parser.ignore_header(HeaderName::ContentTransferEncoding).parse(octets)?;
    let seen = look(&message);
    let mut messages = vec![message];
    while let Some(message) = messages.pop() {
        messages.extend(message.parts.into_iter().filter_map(|part| match part.body {
            PartType::Message(within) => Some(within),
            _ => None,
        }));
    }
    Some(seen)
}

/// The octets of a part of the message `octets`, if its encoding is known.
fn decoded(octets: &[u8], part: &MessagePart<'_>) -> Option<Vec<u8>> {
    let of = |from: u32, to: u32| octets.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?);
    let mut headers = part.headers.iter();
    let encoding = headers.rfind(|header| header.name == HeaderName::ContentTransferEncoding)?;
    let encoding = of(encoding.offset_start, encoding.offset_end)?.trim_ascii();
    let encoded = of(part.offset_body, part.offset_end)?;
    match () {
        () if encoding.eq_ignore_ascii_case(b"base64") => base64_decode(encoded),
        () if encoding.eq_ignore_ascii_case(b"quoted-printable") => quoted_printable_decode(encoded),
        () => None,
    }
}

/// The text that a part is, as it was before it was encoded.
fn text_of<'x>(octets: &[u8], part: &'x MessagePart<'_>) -> Option<Cow<'x, str>> {
    let (PartType::Text(text) | PartType::Html(text)) = &part.body else { return None };
    let Some(decoded) = decoded(octets, part) else { return Some(Cow::Borrowed(text)) };
    let charset = part.content_type().and_then(|kind| kind.attribute("charset"));
    Some(Cow::Owned(match charset.and_then(|charset| charset_decoder(charset.as_bytes())) {
        Some(decode) => decode(&decoded),
        None => String::from_utf8_lossy(&decoded).into_owned(),
    }))
}

/// The readable text of a text part.
fn shown<'x>(octets: &[u8], part: &'x MessagePart<'_>) -> Option<Cow<'x, str>> {
    let text = text_of(octets, part)?;
    Some(if matches!(part.body, PartType::Html(_)) { Cow::Owned(html_to_text(&text)) } else { text })
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
    fn parts_are_decoded_in_their_character_sets() {
        let part = |kind: &str, encoding: &str, text: &str| {
            format!("--x\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{text}\r\n")
        };
        let message = [
            "Subject: x\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n".to_owned(),
            part("text/plain; charset=iso-8859-1", "Quoted-Printable", "Gr=FC=\r\n=DFe"),
            part("text/html; charset=utf-8", "BASE64", "PHA+S8O2bG48L3A+"),
            part("text/plain", "8bit", "M\u{e4}rz"),
            part("text/plain", "base64", "!"),
            part("application/octet-stream", "base64", "QUJD\r\nREVG"),
            part("message/rfc822", "7bit", "Subject: within\r\n\r\nnot shown"),
        ];
        let message = message.concat() + "--x--\r\n";
        let Content { text, attachments } = content(message.as_bytes());
        let words: Vec<_> = text.split_whitespace().collect();
        assert_eq!(words, ["Gr\u{fc}\u{df}e", "K\u{f6}ln", "M\u{e4}rz", "!"]);
        let kinds: Vec<_> = attachments.iter().map(|one| (one.kind.as_str(), one.octets)).collect();
        assert_eq!((kinds[0], kinds[1].0), (("application/octet-stream", 6), "message/rfc822"));
        assert!(contains(message.as_bytes(), "K\u{d6}LN") && !contains(message.as_bytes(), "not shown"));
    }

    #[test]
    fn what_a_stranger_writes_does_nothing_to_a_terminal() {
        let head = head(b"Subject: =?utf-8?q?=1B]0;x=07?=\r\nFrom: \"\x1b[2J\" <a@b>\r\n\r\n");
        assert!(!format!("{}{}", head.subject, head.from).contains(|c: char| c.is_control()), "{head:?}");
        let long = format!("Subject: {}\r\n\r\n", "x".repeat(5000));
        assert_eq!(super::head(long.as_bytes()).subject.len(), FIELD_CHARS_MAX);
    }

    /// Deep nesting exhausts neither the stack nor the memory.
    #[test]
    fn messages_within_messages_and_parts_within_parts_are_looked_at_however_deep_they_are() {
        let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(100_000);
        let part = |number| format!("Content-Type: multipart/mixed; boundary={number}\r\n\r\n--{number}\r\n");
        let parts: String = (0..20_000).map(part).collect();
        let encoded = data_encoding::BASE64.encode(messages.as_bytes());
        let encoded = format!("{}Content-Transfer-Encoding: base64\r\n\r\n{encoded}", &messages[..30]);
        let mixed = |number| part(number) + "Content-Type: message/rfc822\r\n\r\n";
        let both: String = (0..20_000).map(mixed).collect();
        for bomb in [messages, parts, both, encoded] {
            let bomb = format!("Subject: bomb\r\nMIME-Version: 1.0\r\n{bomb}");
            assert_eq!(head(bomb.as_bytes()).subject, "bomb");
            assert!(contains(bomb.as_bytes(), "bomb"));
            let Content { text, attachments } = content(bomb.as_bytes());
            assert!(text.len() <= bomb.len() && attachments.len() <= ATTACHMENTS_MAX);
        }
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
