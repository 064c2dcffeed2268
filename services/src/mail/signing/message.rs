//! The analysis of an outgoing message, and its signature fields.

use std::fmt::Write;
use std::sync::Arc;

use data_encoding::BASE64;

use super::keys::{Key, Keys};
use crate::crypto::Sha256Digest;
use crate::dns::name::is_within;
use crate::mail::address::Domain;
use crate::mail::auth::dkim::{BodyDigest, Canonicalization, Header, HeaderReader, signed_octets};
use crate::mail::header::addresses;

/// The fields that are signed, each as often as it occurs. (RFC 6376, section 5.4.1)
pub const SIGNED_FIELDS: [&str; 26] = [
    "From",
    "Sender",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "To",
    "Cc",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "In-Reply-To",
    "References",
    "Resent-Date",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "Resent-Message-ID",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Archive",
];

/// The most fields that are signed. A message with more of them is no letter, and leaves as it is.
pub const SIGNED_FIELDS_MAX: usize = 200;

/// The most characters of a line in a signature field; a longer name gets a line of its own.
const LINE_CHARS: usize = 72;

/// A message that is read once, in portions.
pub struct Reading {
    header: HeaderReader,
    body: BodyDigest,
    is_after_cr: bool,
    /// Whether a CR or an LF occurs alone: it is sent as a pair, so that the octets change in transit.
    has_odd_line_end: bool,
}

/// A message that can be signed.
pub struct Unsigned {
    header: Header,
    body_hash: Sha256Digest,
}

impl Reading {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self {
            header: HeaderReader::new(),
            body: BodyDigest::new(Canonicalization::Relaxed, None),
            is_after_cr: false,
            has_odd_line_end: false,
        }
    }

    /// Adds the next octets of the message.
    pub fn push(&mut self, octets: &[u8]) {
        for octet in octets {
            self.has_odd_line_end |= self.is_after_cr != (*octet == b'\n');
            self.is_after_cr = *octet == b'\r';
        }
        self.body.push(self.header.push(octets));
    }

    /// Ends the message. `None` if its octets will change in transit, or its header is too long.
    pub fn finish(self) -> Option<Unsigned> {
        let header = self.header.finish();
        let is_fit = !self.has_odd_line_end && !self.is_after_cr && !header.is_cut();
        is_fit.then(|| Unsigned { header, body_hash: self.body.finish().digest })
    }
}

impl Default for Reading {
    fn default() -> Self {
        Self::new()
    }
}

impl Unsigned {
    /// The domain in `domains` that signs: that of the author, or a parent of it. `None` if the author is at none of
    /// them, or unclear.
    pub fn domain<'a>(&self, domains: &'a [String]) -> Option<&'a str> {
        // RFC 5322, section 3.6: there is one.
        let mut fields = self.header.fields().filter(|field| field.is("From"));
        let (Some(from), None) = (fields.next(), fields.next()) else { return None };
        let value = String::from_utf8_lossy(from.value).replace("\r\n", "");
        let first = addresses(&value).into_iter().next()?;
        let Domain::Name(author) = first.domain else { return None };
        let author = author.to_lowercase();
        let own = domains.iter().filter(|domain| is_within(&author, domain));
        own.max_by_key(|domain| domain.len()).map(String::as_str)
    }

    /// The names of the fields that are signed. Of From it is signed, too, that there is no other one.
    /// // RFC 6376, section 8.15
    fn names(&self) -> Option<Vec<&'static str>> {
        let mut names = vec!["From"];
        for name in SIGNED_FIELDS {
            let count = self.header.fields().filter(|field| field.is(name)).count();
            names.extend(std::iter::repeat_n(name, count));
        }
        (names.len() <= SIGNED_FIELDS_MAX).then_some(names)
    }

    /// The signature fields for `domain`, one for each key, to be prepended. This takes about a millisecond, so it must
    /// not run on the services' thread. `None` if it fails.
    pub fn sign(&self, keys: &Arc<Keys>, domain: &str) -> Option<String> {
        let names = self.names()?;
        keys.iter().map(|key| self.signature(key, domain, &names)).collect()
    }

    /// One field, with its line end. (RFC 6376, section 3.5)
    fn signature(&self, key: &Key, domain: &str, names: &[&str]) -> Option<String> {
        // No t=: it would make the signature depend on the clock, and if that is fast, verifiers reject it.
        let mut field = format!(
            "DKIM-Signature: v=1; a={}; c=relaxed/relaxed;\r\n\td={domain}; s={};\r\n\th=",
            key.algorithm().name(),
            key.selector(),
        );
        let mut chars = "\th=".len();
        for (at, name) in names.iter().enumerate() {
            if at > 0 {
                field.push(':');
                chars += 1;
                if chars + name.len() >= LINE_CHARS {
                    field.push_str("\r\n\t");
                    chars = 1;
                }
            }
            field.push_str(name);
            chars += name.len();
        }
        _ = write!(field, ";\r\n\tbh={};\r\n\tb=", BASE64.encode(&self.body_hash));
        let octets = signed_octets(&self.header, names, Canonicalization::Relaxed, field.as_bytes(), None);
        let signature = BASE64.encode(&key.sign(&octets)?);
        let mut rest = signature.as_str();
        while rest.len() > LINE_CHARS {
            let (line, after) = rest.split_at(LINE_CHARS);
            field.push_str(line);
            field.push_str("\r\n\t");
            rest = after;
        }
        field.push_str(rest);
        field.push_str("\r\n");
        Some(field)
    }
}
