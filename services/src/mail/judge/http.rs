//! rspamd's protocol: the message is sent by HTTP, and rspamd answers with an action in JSON.
//! (<https://rspamd.com/doc/developers/protocol.html>)

use std::fmt::Write;

use serde::Deserialize;

use super::{About, JudgeVerdict};
use crate::mail::address::ForwardPath;

/// The longest answer that is read, in octets.
pub const ANSWER_OCTETS_MAX: usize = 1 << 20;

/// The most octets of an answer's header.
const HEADER_OCTETS_MAX: usize = 16 << 10;

/// The request's header for a message of so many octets.
pub(super) fn head(host: &str, about: &About, octets: u64) -> Vec<u8> {
    let mut head = format!("POST /checkv2 HTTP/1.1\r\nHost: {host}\r\n");
    let mut field = |name: &str, value: &str| {
        // The client's values must not add a header field.
        let value: String = value.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        _ = write!(head, "{name}: {value}\r\n");
    };
    if let Some(peer) = about.peer {
        field("IP", &peer.to_string());
    }
    if let Some(name) = &about.peer_name {
        field("Hostname", name);
    }
    if let Some(helo) = &about.helo {
        field("Helo", helo);
    }
    field("From", &about.sender);
    for recipient in &about.recipients {
        match recipient {
            ForwardPath::Postmaster => field("Rcpt", "postmaster"),
            ForwardPath::Mailbox(mailbox) => field("Rcpt", &mailbox.to_string()),
        }
    }
    if let Some(user) = &about.user {
        field("User", user);
    }
    field("Queue-Id", &about.id);
    _ = write!(head, "Content-Length: {octets}\r\nConnection: close\r\n\r\n");
    head.into_bytes()
}

/// The reader of an answer that comes in portions.
#[derive(Debug, Default)]
pub(super) struct AnswerReader {
    octets: Vec<u8>,
    /// The start of the body, and its length if it is known, once the header is complete.
    body: Option<(usize, Option<usize>)>,
}

impl AnswerReader {
    /// Adds the next octets. Returns whether the answer is complete.
    ///
    /// # Errors
    ///
    /// The answer is malformed.
    pub fn push(&mut self, octets: &[u8]) -> Result<bool, String> {
        self.octets.extend_from_slice(octets);
        if self.octets.len() > ANSWER_OCTETS_MAX {
            return Err("its answer is too long".to_owned());
        }
        if self.body.is_none() {
            let end = self.octets.windows(4).position(|octets| octets == b"\r\n\r\n");
            match end {
                Some(end) => self.body = Some((end + 4, length(&self.octets[..end])?)),
                None if self.octets.len() > HEADER_OCTETS_MAX => {
                    return Err("its answer is no HTTP".to_owned());
                }
                None => return Ok(false),
            }
        }
        let Some((start, Some(len))) = self.body else { return Ok(false) };
        Ok(self.octets.len() - start >= len)
    }

    /// Parses the answer.
    ///
    /// # Errors
    ///
    /// The answer is malformed.
    pub fn finish(self) -> Result<JudgeVerdict, String> {
        let Some((start, len)) = self.body else { return Err("it hung up".to_owned()) };
        let body = &self.octets[start..];
        let body = match len {
            Some(len) => body.get(..len).ok_or("it hung up in the midst of its answer")?,
            None => body,
        };
        let answer: Answer =
            serde_json::from_slice(body).map_err(|_| "its answer cannot be read".to_owned())?;
        Ok(answer.opinion())
    }
}

/// The length of the body by the header; `None` if it ends with the connection.
fn length(header: &[u8]) -> Result<Option<usize>, String> {
    let header = String::from_utf8_lossy(header);
    let mut lines = header.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let (version, code) = status.split_once(' ').unwrap_or_default();
    if !version.starts_with("HTTP/1.") {
        return Err("its answer is no HTTP".to_owned());
    }
    if code.split(' ').next() != Some("200") {
        return Err(format!("it answers: {}", super::printable(code)));
    }
    let mut len = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("Content-Length") {
            len = Some(value.trim().parse().map_err(|_| "its answer has no length")?);
        } else if name.eq_ignore_ascii_case("Transfer-Encoding") {
            return Err("its answer comes in chunks, which this server does not read".to_owned());
        }
    }
    Ok(len)
}

/// The fields of an answer that are used.
#[derive(Debug, Deserialize)]
struct Answer {
    action: String,
    score: Option<f64>,
    required_score: Option<f64>,
    messages: Option<Messages>,
}

#[derive(Debug, Deserialize)]
struct Messages {
    smtp_message: Option<String>,
}

impl Answer {
    fn opinion(&self) -> JudgeVerdict {
        let told = self.messages.as_ref().and_then(|messages| messages.smtp_message.clone());
        let refused = |is_temporary, text: &str| JudgeVerdict::Refused {
            is_temporary,
            text: told.clone().unwrap_or_else(|| text.to_owned()),
        };
        let is_spam = match self.action.as_str() {
            "reject" => return refused(false, "the message is taken for spam"),
            "soft reject" | "greylist" => return refused(true, "try again later"),
            // The subject stays: it is signed, and rules can go by the field.
            "add header" | "rewrite subject" => true,
            // "no action", and unknown actions of later versions.
            _ => false,
        };
        let mut fields = format!("X-Spam-Status: {}", if is_spam { "Yes" } else { "No" });
        for (name, value) in [("score", self.score), ("required", self.required_score)] {
            if let Some(value) = value {
                _ = write!(fields, "{} {name}={value:.2}", if fields.contains('=') { "" } else { "," });
            }
        }
        fields.push_str("\r\n");
        if is_spam {
            fields.push_str("X-Spam-Flag: YES\r\n");
        }
        JudgeVerdict::Taken { fields }
    }
}
