//! Vacation answers. (RFC 3834)
//!
//! Automatic answers can loop with other responders, and reveal to strangers that an address is read. So only a
//! personal message to the user is answered, once in a week, from the null return path.

use std::fmt::Write;

use data_encoding::BASE64;

use super::decoded;
use crate::clock::UnixTime;
use crate::mail::address::{Mailbox, ReversePath};
use crate::mail::header;
use crate::mail::smtp::date;

/// How long a sender is not answered again, in days. (RFC 3834, section 2)
pub const DAYS: u64 = 7;
/// The most remembered senders of one user. Beyond it no sender is answered until the first one expires.
pub const SENDERS_MAX: usize = 10_000;
/// The longest text of an answer, in octets.
pub const TEXT_OCTETS_MAX: usize = 8 << 10;

const SECONDS_A_DAY: u64 = 24 * 60 * 60;
/// The most addresses in To and Cc that are read.
const ADDRESSEES_MAX: usize = 100;
/// The longest subject, and the longest names of messages before, in octets: a line has 998. (RFC 5322, section 2.1.1)
const SUBJECT_OCTETS_MAX: usize = 500;
const REFERENCES_OCTETS_MAX: usize = 800;
/// The octets of an encoded word, which has 75 characters. (RFC 2047, section 2)
const WORD_OCTETS: usize = 42;
/// Octets in a line of base64. (RFC 2045, section 6.8)
const BASE64_OCTETS: usize = 57;

/// The fields with recipients. (RFC 3834, section 2)
const TO: [&str; 6] = ["to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc"];
/// Prefixes and suffixes of the local parts of programs. (RFC 3834, section 2)
const PROGRAMS: [&str; 10] = [
    "owner-",
    "mailer-daemon",
    "postmaster",
    "listserv",
    "majordomo",
    "noreply",
    "no-reply",
    "donotreply",
    "do-not-reply",
    "bounce",
];
const PROGRAMS_END: [&str; 5] = ["-request", "-owner", "-bounces", "-noreply", "-relay"];

/// Why a message is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It has no sender.
    NoSender,
    /// Its sender is a program, or the person.
    NotAPerson,
    /// It was not made by hand.
    Automatic,
    /// It came by a mailing list, or was sent in bulk.
    List,
    /// The person is not among those it is addressed to.
    NotAddressed,
}

/// The sender to answer, for a message from `return_path` with the header `fields`, whose names are in lower case;
/// `is_own` tests for the user's own addresses.
///
/// # Errors
///
/// Why there is no answer.
pub fn asks<'a>(
    fields: &[(String, String)],
    return_path: &'a ReversePath,
    is_own: impl Fn(&Mailbox) -> bool,
) -> Result<&'a Mailbox, Silence> {
    let ReversePath::Mailbox(sender) = return_path else { return Err(Silence::NoSender) };
    let local = sender.local.as_str().to_lowercase();
    let is_program = PROGRAMS.iter().any(|start| local.starts_with(start))
        || PROGRAMS_END.iter().any(|end| local.ends_with(end));
    if is_program || is_own(sender) {
        return Err(Silence::NotAPerson);
    }
    for (name, value) in fields {
        let value = value.to_lowercase();
        let word = value.split([';', ' ', '\t', '(']).next().unwrap_or_default();
        match name.as_str() {
            "auto-submitted" if word != "no" => return Err(Silence::Automatic),
            "x-auto-response-suppress"
                if ["all", "oof", "autoreply"].iter().any(|kind| value.contains(kind)) =>
            {
                return Err(Silence::Automatic);
            }
            "precedence" if matches!(word, "bulk" | "junk" | "list") => return Err(Silence::List),
            name if name.starts_with("list-") => return Err(Silence::List),
            _ => {}
        }
    }
    let named = fields.iter().filter(|(name, _)| TO.contains(&name.as_str()));
    let mut addressees = named.flat_map(|(_, value)| header::addresses(value)).take(ADDRESSEES_MAX);
    if addressees.any(|address| is_own(&address)) { Ok(sender) } else { Err(Silence::NotAddressed) }
}

/// The stored record of an answer to `sender`.
pub fn remembered(sender: &Mailbox, now: UnixTime) -> String {
    format!("{} {}", now.0 / SECONDS_A_DAY, sender.to_string().to_lowercase())
}

/// The user's recent answers to a sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Whether the sender was answered a short while ago, or there is no room to remember another one.
    pub is_silent: bool,
    /// Expired records.
    pub old: Vec<String>,
}

impl Memory {
    /// Evaluates `texts`, each a [`remembered`] record, for `sender`.
    pub fn of<'a>(texts: impl Iterator<Item = &'a str>, sender: &Mailbox, now: UnixTime) -> Self {
        let sender = sender.to_string().to_lowercase();
        let today = now.0 / SECONDS_A_DAY;
        let (mut memory, mut count) = (Self::default(), 0);
        for text in texts {
            let read = text.split_once(' ').and_then(|(day, of)| Some((day.parse::<u64>().ok()?, of)));
            match read {
                // One from later than tomorrow: the clock was wrong.
                Some((day, of)) if today.saturating_sub(day) < DAYS && day <= today + 1 => {
                    memory.is_silent |= of == sender;
                    count += 1;
                }
                _ => memory.old.push(text.to_owned()),
            }
        }
        memory.is_silent |= count >= SENDERS_MAX;
        memory
    }
}

/// An answer's sender and text.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The person's address.
    pub from: &'a Mailbox,
    /// The user's full name; it can be empty.
    pub full_name: &'a str,
    /// The text.
    pub text: &'a str,
    /// The sender.
    pub to: &'a Mailbox,
    /// The answer's identifier, with its angle brackets.
    pub message_id: &'a str,
    /// The time of day.
    pub now: UnixTime,
}

impl Answer<'_> {
    /// The answer to a message with the header `fields`. Its return path is null.
    pub fn to_octets(&self, fields: &[(String, String)]) -> Vec<u8> {
        let Self { from, full_name, text, to, message_id, now } = self;
        let value =
            |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let from = match phrase(full_name) {
            Some(name) => format!("{name} <{from}>"),
            None => from.to_string(),
        };
        // RFC 3834, section 3.1.5
        let subject = match value("subject").map(decoded) {
            Some(subject) if !subject.trim().is_empty() => format!("Auto: {}", subject.trim()),
            _ => "Auto: your message".to_owned(),
        };
        let subject = encoded(&subject[..subject.floor_char_boundary(SUBJECT_OCTETS_MAX)]);
        let mut head =
            format!("From: {from}\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: {}\r\n", date(*now));
        let _ = write!(head, "Message-ID: {message_id}\r\n");
        // RFC 5322, section 3.6.4
        if let Some(original) = value("message-id").filter(|id| is_id(id)) {
            let before = value("references").or_else(|| value("in-reply-to")).unwrap_or_default();
            let before: Vec<_> = before.split_whitespace().filter(|id| is_id(id)).collect();
            let len = before.iter().map(|id| id.len() + 3).sum::<usize>();
            let before = if len <= REFERENCES_OCTETS_MAX { before } else { Vec::new() };
            let references: Vec<_> = before.into_iter().chain([original]).collect();
            let _ = write!(head, "In-Reply-To: {original}\r\nReferences: {}\r\n", references.join("\r\n\t"));
        }
        // RFC 3834, section 5
        head += "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n";
        let lines: Vec<_> = text.trim_end().lines().collect();
        let is_plain =
            |line: &&str| line.len() <= 900 && line.bytes().all(|octet| matches!(octet, b' '..=b'~' | b'\t'));
        let text = lines.join("\r\n") + "\r\n";
        if lines.iter().all(is_plain) {
            head += &format!("Content-Transfer-Encoding: 7bit\r\n\r\n{text}");
        } else {
            head += "Content-Transfer-Encoding: base64\r\n\r\n";
            for line in text.as_bytes().chunks(BASE64_OCTETS) {
                head += &format!("{}\r\n", BASE64.encode(line));
            }
        }
        head.into_bytes()
    }
}

/// Whether `text` is the identifier of a message, of a bearable length.
fn is_id(text: &str) -> bool {
    let is_inner =
        |inner: &str| inner.bytes().all(|octet| octet.is_ascii_graphic() && !b"<>".contains(&octet));
    text.len() <= 250 && text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).is_some_and(is_inner)
}

/// A display name; `None` if it is empty. (RFC 5322, section 3.2.5)
fn phrase(name: &str) -> Option<String> {
    let is_quotable = |octet: u8| matches!(octet, b' '..=b'~');
    match name.trim() {
        "" => None,
        name if name.bytes().all(is_quotable) => {
            Some(format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")))
        }
        name => Some(encoded(name)),
    }
}

/// `text` as the value of a field: in encoded words if it is not ASCII, or resembles one. (RFC 2047, section 2)
fn encoded(text: &str) -> String {
    if text.bytes().all(|octet| matches!(octet, b' '..=b'~')) && !text.contains("=?") {
        return text.to_owned();
    }
    let (mut words, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.floor_char_boundary(WORD_OCTETS));
        words.push(format!("=?utf-8?B?{}?=", BASE64.encode(word.as_bytes())));
        rest = after;
    }
    words.join("\r\n ")
}

#[cfg(test)]
mod tests;
