//! Mail addresses as SMTP writes them. (RFC 5321, section 4.1.2; RFC 6531, section 3.3)
//!
//! A [`Mailbox`] has a canonical form: the local part without quotes and backslashes, the domain in lower case, an
//! address literal as an address. Two spellings of one mailbox are equal, so decisions do not depend on the spelling;
//! except that A-labels and U-labels of a domain, and composed and decomposed letters, are different spellings.
//! Formatting adds quotes where they are needed.
//!
//! A source route (`<@relay.example:a@b.example>`) is parsed and dropped (RFC 5321, appendix C). Routes within a local
//! part (`a%b@us`, `a!b@us`, `"a@b"@us`) stay in it; [`LocalPart::may_hold_route`] detects them.

mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

pub(in crate::mail) use parse::is_hidden;
pub use parse::{AddressError, MailboxParts, Unbracketed};

/// The longest local part, in octets without quotes. RFC 5321, section 4.5.3.1.1, requires at least 64; return paths
/// that encode their recipient (VERP) are longer.
pub const LOCAL_OCTETS_MAX: usize = 255;
/// The longest domain, in octets. (RFC 5321, section 4.5.3.1.2)
pub const DOMAIN_OCTETS_MAX: usize = 255;
/// The longest label of a domain, in octets. (RFC 1035, section 2.3.4)
pub const LABEL_OCTETS_MAX: usize = 63;

/// The part of an address before the last `@`, without quotes and escapes. It has neither control characters nor
/// invisible ones, so that it can be logged and put into headers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalPart(String);

impl LocalPart {
    /// The local part `text`; `None` if it is longer than [`LOCAL_OCTETS_MAX`], or has a control character or an
    /// invisible one.
    pub fn new(text: &str) -> Option<Self> {
        let is_right = text.len() <= LOCAL_OCTETS_MAX && !text.chars().any(parse::is_hidden);
        is_right.then(|| Self(text.to_owned()))
    }

    /// Its text, without quotes and escapes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a mail server might interpret it as a route: `%`, `!` and `@` once led to other hosts. Mail for such an
    /// address at a local domain must not be relayed by its local part.
    pub fn may_hold_route(&self) -> bool {
        self.0.contains(['%', '!', '@'])
    }

    /// Whether it needs no quotes: a Dot-string. (RFC 5321, section 4.1.2)
    pub fn is_dot_string(&self) -> bool {
        !self.0.is_empty()
            && self.0.split('.').all(|atom| !atom.is_empty() && atom.chars().all(parse::is_atext))
    }
}

impl fmt::Display for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_dot_string() {
            return f.write_str(&self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

/// Where a mailbox is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// A name in lower case, without a dot at its end. With SMTPUTF8 it can have labels that are not ASCII; such a
    /// label and its A-label (`xn--...`) are not equal here.
    Name(String),
    /// An address literal. An IPv4 address in IPv6's form (RFC 4291, section 2.5.5.2) is the IPv4 address.
    Literal(IpAddr),
}

impl Domain {
    /// Reads a domain or an address literal.
    ///
    /// # Errors
    ///
    /// The syntax error.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        parse::domain(text)
    }

    /// Whether all of it is ASCII.
    pub fn is_ascii(&self) -> bool {
        match self {
            Self::Name(name) => name.is_ascii(),
            Self::Literal(_) => true,
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Literal(address) => Literal(*address).fmt(f),
        }
    }
}

/// An address as an address literal. (RFC 5321, section 4.1.3)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Literal(pub IpAddr);

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "[{address}]"),
            IpAddr::V6(address) => write!(f, "[IPv6:{address}]"),
        }
    }
}

/// One mailbox: a local part at a domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mailbox {
    /// The local part.
    pub local: LocalPart,
    /// Where.
    pub domain: Domain,
}

impl Mailbox {
    /// Reads `local-part@domain`, without angle brackets.
    ///
    /// # Errors
    ///
    /// The syntax error; [`AddressError::NoDomain`] if it is a local part only.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let MailboxParts { local, domain } = MailboxParts::parse(text)?;
        Ok(Self { local, domain: domain.ok_or(AddressError::NoDomain)? })
    }

    /// Whether all of it is ASCII, so that it may go to a server without SMTPUTF8. (RFC 6531, section 3.3)
    pub fn is_ascii(&self) -> bool {
        self.local.0.is_ascii() && self.domain.is_ascii()
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// The sender of a message, who gets its delivery status notifications. (RFC 5321, section 4.1.1.2)
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`: there is no sender to notify, so the message is never bounced. (RFC 5321, section 4.5.5)
    Null,
    /// A mailbox.
    Mailbox(Mailbox),
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Mailbox(mailbox) => write!(f, "<{mailbox}>"),
        }
    }
}

/// The recipient of a message. (RFC 5321, section 4.1.1.3)
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardPath {
    /// `<postmaster>`, in any case, without a domain: this server's. (RFC 5321, section 4.5.1)
    Postmaster,
    /// A mailbox.
    Mailbox(Mailbox),
}

impl ForwardPath {
    /// Whether all of it is ASCII.
    pub fn is_ascii(&self) -> bool {
        match self {
            Self::Postmaster => true,
            Self::Mailbox(mailbox) => mailbox.is_ascii(),
        }
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("<postmaster>"),
            Self::Mailbox(mailbox) => write!(f, "<{mailbox}>"),
        }
    }
}
