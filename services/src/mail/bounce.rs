//! Delivery status notifications: a message failed, is delayed, was relayed to a server without DSN, or was delivered
//! here. (RFC 3464 in the form of RFC 6522; RFC 3461)
//!
//! A [`Notice`] has the null return path, so it is never answered by another one, and goes to a return path that is not
//! null (RFC 5321, section 6.1). A failure of a message from the null return path, such as a notice, is reported to the
//! local postmaster.
//!
//! It has three parts: a text for people, a report for programs, and the message or its header. Text from other servers
//! is on lines of its own and printable, so that it cannot become a field or a part.

use std::borrow::Cow;
use std::fmt::Write;

use super::address::{Mailbox, ReversePath};
use super::smtp::client::{Outcome, Report, printable};
use super::smtp::{OriginalRecipient, RcptParameters, Return, date};
use crate::clock::UnixTime;

/// The longest message that a notice brings back whole, in octets. Of a longer one it has the header.
pub const WHOLE_OCTETS_MAX: u64 = 50 << 10;
/// The longest header that a notice brings back, in octets. It is cut behind a line.
pub const HEADER_OCTETS_MAX: usize = 64 << 10;
/// The longest line of text from others, in characters.
const LINE_CHARS: usize = 76;

/// The status of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// The message could not be delivered; there are no more tries.
    Failed,
    /// It has not been delivered yet. It is tried on.
    Delayed,
    /// It was relayed to a server without DSN. (RFC 3461, section 5.2.2)
    Relayed,
    /// It is in a mailbox of this server. (RFC 3461, section 5.2.3)
    Delivered,
}

impl Action {
    /// Its name in the report. (RFC 3464, section 2.3.3)
    const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Relayed => "relayed",
            Self::Delivered => "delivered",
        }
    }

    /// Whether a sender with these parameters is notified. By default senders are notified of failures and delays. (RFC
    /// 3461, section 4.1)
    pub fn is_wanted(self, parameters: &RcptParameters) -> bool {
        match (self, parameters.notify) {
            (Self::Failed, notify) => notify.is_none_or(|notify| notify.failure),
            (Self::Delayed, notify) => notify.is_none_or(|notify| notify.delay),
            (Self::Relayed | Self::Delivered, notify) => notify.is_some_and(|notify| notify.success),
        }
    }
}

/// A recipient in a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientStatus {
    /// The address that the message was sent to.
    pub recipient: Mailbox,
    /// The sender's name for it (ORCPT).
    pub orcpt: Option<OriginalRecipient>,
    /// The address here that sent the message on, if it was sent to that one.
    pub forwarded_by: Option<Mailbox>,
    /// Its outcome.
    pub report: Report,
    /// The server that reported it, if one did.
    pub server: Option<String>,
}

/// The addressee of a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressee {
    /// The sender of the message.
    Sender(Mailbox),
    /// The postmaster of this server, in a mailbox here: never by the queue, as a notice that fails there makes another
    /// one.
    Postmaster,
}

/// A notice about one message, for recipients with the same status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its addressee.
    pub to: Addressee,
    /// The recipients' status.
    pub action: Action,
    /// The recipients; one at least.
    pub recipients: Vec<RecipientStatus>,
    /// The sender's name for the transaction (ENVID).
    pub envid: Option<String>,
    /// Whether the message is brought back whole, if it is not too long.
    pub is_whole: bool,
    /// When the message was accepted.
    pub accepted: UnixTime,
    /// Until when it is tried, of one that is delayed.
    pub until: Option<UnixTime>,
}

/// The server that makes the notice.
#[derive(Clone, Copy, Debug)]
pub struct ReportingMta<'a> {
    /// The server's name.
    pub hostname: &'a str,
    /// The domain of the notice's sender.
    pub domain: &'a str,
    /// The unique part of the notice's Message-ID and boundary: letters, digits, `.` and `-`.
    pub id: &'a str,
    /// The time of day.
    pub now: UnixTime,
}

impl Notice {
    /// A notice to the sender, or for a message from the null return path to the postmaster. `None` if there is no
    /// recipient, or for the postmaster no failure. (RFC 5321, section 4.5.5)
    pub fn of(
        sender: &ReversePath,
        action: Action,
        recipients: Vec<RecipientStatus>,
        ret: Option<Return>,
        envid: Option<String>,
        accepted: UnixTime,
    ) -> Option<Self> {
        let to = match sender {
            ReversePath::Mailbox(sender) => Addressee::Sender(sender.clone()),
            ReversePath::Null if action == Action::Failed => Addressee::Postmaster,
            ReversePath::Null => return None,
        };
        // RFC 3461, section 4.3: RET is about failures; other reports have the header.
        let is_whole = action == Action::Failed && ret != Some(Return::Headers);
        let notice = Self { to, action, recipients, envid, is_whole, accepted, until: None };
        (!notice.recipients.is_empty()).then_some(notice)
    }

    /// Whether [`Notice::to_octets`] needs the whole message of `size` octets; otherwise its header is enough.
    pub fn wants_whole(&self, size: u64) -> bool {
        self.is_whole && size <= WHOLE_OCTETS_MAX
    }

    /// The notice as a message. `message` is the reported message, whole if [wanted](Notice::wants_whole), or a prefix
    /// with all of its header. The notice's return path is null.
    pub fn to_octets(&self, mta: &ReportingMta<'_>, message: &[u8], is_message_whole: bool) -> Vec<u8> {
        // RFC 2045, section 2.7: long lines and NULs are neither 7bit nor 8bit.
        let is_whole = is_message_whole && self.wants_whole(message.len() as u64) && fits_in_lines(message);
        let header = header(message);
        let original = if is_whole { message } else { &header };
        let is_8bit = !original.is_ascii() || self.is_internationalized();
        let explanation = self.explanation(mta);
        let explanation = if is_8bit { explanation } else { in_ascii(&explanation) };
        let status = self.status(mta);
        let boundary = boundary(mta.id, &[explanation.as_bytes(), status.as_bytes(), original]);
        let mut text = self.head(mta, &boundary, is_8bit);
        let encoding = if is_8bit { "8bit" } else { "7bit" };
        let _ = write!(text, "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n");
        let _ = write!(text, "Content-Transfer-Encoding: {encoding}\r\n\r\n{explanation}\r\n");
        let _ = write!(text, "--{boundary}\r\nContent-Type: message/{}\r\n", self.report_type());
        if self.is_internationalized() {
            text += "Content-Transfer-Encoding: 8bit\r\n";
        }
        let _ = write!(text, "\r\n{status}");
        // RFC 6522, section 4: the header alone has a type of its own. RFC 6532, section 3.7, and RFC 6533, section 4:
        // so has one outside of ASCII.
        let is_global = !header.is_ascii() && str::from_utf8(&header).is_ok();
        let kind = match (is_whole, is_global) {
            (true, false) => "message/rfc822",
            (true, true) => "message/global",
            (false, false) => "text/rfc822-headers",
            (false, true) => "message/global-headers",
        };
        let _ = write!(text, "--{boundary}\r\nContent-Type: {kind}\r\n");
        if !original.is_ascii() {
            text += "Content-Transfer-Encoding: 8bit\r\n";
        }
        text += "\r\n";
        let mut octets = text.into_bytes();
        octets.extend_from_slice(original);
        octets.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        octets
    }

    /// The media type of the report, which is also a parameter of the whole. (RFC 6522, section 3)
    fn report_type(&self) -> &'static str {
        if self.is_internationalized() { "global-delivery-status" } else { "delivery-status" }
    }

    /// Whether it has a non-ASCII address, and therefore needs a server with SMTPUTF8. (RFC 6533, section 4)
    pub fn is_internationalized(&self) -> bool {
        let is_ascii = |told: &RecipientStatus| {
            let addresses = [&told.recipient].into_iter().chain(&told.forwarded_by);
            addresses.into_iter().all(Mailbox::is_ascii)
                && told.orcpt.as_ref().is_none_or(|orcpt| orcpt.address.is_ascii())
        };
        let is_sender_ascii = match &self.to {
            Addressee::Sender(sender) => sender.is_ascii(),
            Addressee::Postmaster => true,
        };
        !is_sender_ascii || !self.recipients.iter().all(is_ascii)
    }

    fn head(&self, mta: &ReportingMta<'_>, boundary: &str, is_8bit: bool) -> String {
        let ReportingMta { domain, id, now, hostname } = mta;
        let to = match &self.to {
            Addressee::Sender(sender) => sender.to_string(),
            Addressee::Postmaster => format!("postmaster@{domain}"),
        };
        let subject = match self.action {
            Action::Failed if self.to == Addressee::Postmaster => {
                "A message without a sender could not be delivered"
            }
            Action::Failed => "Your message could not be delivered",
            Action::Delayed => "Your message is not delivered yet",
            Action::Relayed => "Your message was sent on",
            Action::Delivered => "Your message was delivered",
        };
        let mut text = format!("From: \"Mail at {domain}\" <postmaster@{domain}>\r\n");
        let _ = write!(text, "To: <{to}>\r\nSubject: {subject}\r\nDate: {}\r\n", date(*now));
        let _ = write!(text, "Message-ID: <{id}@{hostname}>\r\n");
        // RFC 3834, section 5: no program is to answer.
        text += "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n";
        if is_8bit {
            // RFC 2045, section 6.4: a multipart with an 8bit part is 8bit itself.
            text += "Content-Transfer-Encoding: 8bit\r\n";
        }
        let _ = write!(text, "Content-Type: multipart/report; report-type={};\r\n", self.report_type());
        let _ = write!(text, "\tboundary=\"{boundary}\"\r\n\r\n");
        text
    }

    /// The text for people.
    fn explanation(&self, mta: &ReportingMta<'_>) -> String {
        let mut text = format!("This is the mail server {}.\r\n\r\n", mta.hostname);
        let accepted = date(self.accepted);
        let _ = match self.action {
            Action::Failed if self.to == Addressee::Postmaster => write!(
                text,
                "A message from the null return path, which has nobody to be told, was accepted on\r\n{accepted} \
                 and could not be delivered to:\r\n"
            ),
            Action::Failed => {
                write!(text, "The message that you sent on {accepted}\r\ncould not be delivered to:\r\n")
            }
            Action::Delayed => write!(
                text,
                "The message that you sent on {accepted}\r\nis not delivered yet. You need not send it again: \
                 this server goes on trying{}.\r\n\r\nIt waits for:\r\n",
                self.until.map(|until| format!("\r\nuntil {}", date(until))).unwrap_or_default(),
            ),
            Action::Relayed => write!(
                text,
                "The message that you sent on {accepted}\r\nwent on to a server that does not report whether it \
                 arrives. It was for:\r\n"
            ),
            Action::Delivered => {
                write!(text, "The message that you sent on {accepted}\r\nis in the mailbox of:\r\n")
            }
        };
        for told in &self.recipients {
            let _ = match &told.forwarded_by {
                Some(by) => write!(text, "\r\n    <{by}>, sent on to <{}>\r\n", told.recipient),
                None => write!(text, "\r\n    <{}>\r\n", told.recipient),
            };
            if matches!(self.action, Action::Relayed | Action::Delivered) {
                continue;
            }
            let who = match &told.server {
                Some(server) if told.report.is_reply => format!("{} said:", printable(server)),
                _ => "The reason is:".to_owned(),
            };
            let _ = write!(text, "    {who}\r\n");
            for line in wrap(&printable(&told.report.text)) {
                let _ = write!(text, "        {line}\r\n");
            }
        }
        text
    }

    /// The report for programs. (RFC 3464, section 2)
    fn status(&self, mta: &ReportingMta<'_>) -> String {
        // A server's text may have any characters. They alone do not change the report's type.
        let said = |text: &str| {
            let text = printable(text);
            if self.is_internationalized() { text } else { in_ascii(&text) }
        };
        let mut text = String::new();
        if let Some(envid) = &self.envid {
            let _ = write!(text, "Original-Envelope-Id: {}\r\n", said(envid));
        }
        let _ = write!(text, "Reporting-MTA: dns; {}\r\n", mta.hostname);
        let _ = write!(text, "Arrival-Date: {}\r\n", date(self.accepted));
        for RecipientStatus { recipient, orcpt, report, server, .. } in &self.recipients {
            text += "\r\n";
            if let Some(OriginalRecipient { address_type, address }) = orcpt {
                let _ = write!(text, "Original-Recipient: {address_type}; {}\r\n", said(address));
            }
            let kind = if recipient.is_ascii() { "rfc822" } else { "utf-8" };
            let _ =
                write!(text, "Final-Recipient: {kind}; {recipient}\r\nAction: {}\r\n", self.action.name());
            let _ = write!(text, "Status: {}\r\n", self.status_of(report));
            if let Some(server) = server {
                let _ = write!(text, "Remote-MTA: dns; {}\r\n", said(server));
            }
            if report.is_reply {
                text += "Diagnostic-Code: smtp;";
                for line in wrap(&said(&report.text)) {
                    let _ = write!(text, " {line}\r\n");
                }
            }
            if let (Action::Delayed, Some(until)) = (self.action, self.until) {
                let _ = write!(text, "Will-Retry-Until: {}\r\n", date(until));
            }
        }
        text + "\r\n"
    }

    /// The status of a recipient, of the class that the action has. (RFC 3464, section 2.3.4)
    fn status_of(&self, report: &Report) -> String {
        let class = match self.action {
            Action::Failed => 5,
            Action::Delayed => 4,
            Action::Relayed | Action::Delivered => 2,
        };
        // RFC 3463, section 3.5: a deferred message without further tries has expired.
        if self.action == Action::Failed && report.outcome == Outcome::Deferred {
            return "5.4.7".to_owned();
        }
        format!("{class}.{}.{}", report.status.subject, report.status.detail)
    }
}

/// The longest line of a message without its end, in octets. (RFC 5322, section 2.1.1)
const LINE_OCTETS_MAX: usize = 998;
/// The longest identifier in a boundary, which has 70 characters at most. (RFC 2046, section 5.1.1)
const BOUNDARY_ID_CHARS: usize = 40;

/// A boundary that occurs nowhere in `parts`, the last of which is the message. (RFC 2046, section 5.1.1)
fn boundary(id: &str, parts: &[&[u8]]) -> String {
    let id: String = id.chars().take(BOUNDARY_ID_CHARS).collect();
    let first = format!("=_{id}.{:08x}", crc32fast::hash(parts.last().copied().unwrap_or_default()));
    let mut boundary = first.clone();
    let mut number = 0_u32;
    // Each iteration needs one more occurrence in the parts.
    while parts.iter().any(|part| contains(part, boundary.as_bytes())) {
        number += 1;
        boundary = format!("{first}.{number}");
    }
    boundary
}

/// Whether no line is longer than a message can have, and no octet is NUL.
fn fits_in_lines(octets: &[u8]) -> bool {
    let is_short = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).len() <= LINE_OCTETS_MAX;
    !octets.contains(&0) && octets.split(|octet| *octet == b'\n').all(is_short)
}

/// `text` with `?` for non-ASCII characters.
fn in_ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

/// The header of a message, with the line ends that it has, cut to [`HEADER_OCTETS_MAX`], each line to
/// [`LINE_OCTETS_MAX`].
fn header(message: &[u8]) -> Cow<'_, [u8]> {
    let end = message.windows(4).position(|octets| octets == b"\r\n\r\n").map(|at| at + 2);
    let header =
        if message.starts_with(b"\r\n") { &[][..] } else { &message[..end.unwrap_or(message.len())] };
    let header = if header.len() <= HEADER_OCTETS_MAX {
        header
    } else {
        let cut = &header[..HEADER_OCTETS_MAX];
        let end = cut.windows(2).rposition(|octets| octets == b"\r\n").map_or(0, |at| at + 2);
        &cut[..end]
    };
    if fits_in_lines(header) {
        return Cow::Borrowed(header);
    }
    let mut lines = Vec::new();
    for line in header.split_inclusive(|octet| *octet == b'\n') {
        let end_octets = if line.ends_with(b"\r\n") { 2 } else { usize::from(line.ends_with(b"\n")) };
        let (text, end) = line.split_at(line.len() - end_octets);
        let text = &text[..text.len().min(LINE_OCTETS_MAX)];
        lines.extend(text.iter().map(|octet| if *octet == 0 { b'?' } else { *octet }));
        lines.extend_from_slice(end);
    }
    Cow::Owned(lines)
}

fn contains(octets: &[u8], wanted: &[u8]) -> bool {
    octets.windows(wanted.len()).any(|window| window == wanted)
}

/// Wraps the text at [`LINE_CHARS`], between words if possible; at least one line.
fn wrap(text: &str) -> Vec<String> {
    let (mut lines, mut line, mut len) = (Vec::new(), String::new(), 0);
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        if len > 0 && len + 1 + rest.len() > LINE_CHARS {
            lines.push(std::mem::take(&mut line));
            len = 0;
        }
        while rest.len() > LINE_CHARS {
            lines.push(rest.drain(..LINE_CHARS).collect());
        }
        if len > 0 {
            line.push(' ');
            len += 1;
        }
        len += rest.len();
        line.extend(rest);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests;
