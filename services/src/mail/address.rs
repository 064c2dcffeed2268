//! Mail addresses as SMTP writes them. (RFC 5321, section 4.1.2; RFC 6531, section 3.3)
//!
//! A [`Mailbox`] is kept in the form that has one spelling: quotes and backslashes are taken off the local part, the
//! domain is in lower case, an address literal is an address. Two spellings of one mailbox are equal, so whoever
//! decides about a mailbox decides about what it is and not about how it was written; except that a domain outside of
//! ASCII has its A-labels, and other forms of composed letters, as other spellings. Printing adds the quotes again
//! where they are needed.
//!
//! A source route (`<@relay.example:a@b.example>`) is read and dropped (RFC 5321, appendix C). Routes that hide in a
//! local part (`a%b@us`, `a!b@us`, `"a@b"@us`) stay in it; [`LocalPart::may_hold_route`] tells of them.

mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

pub(in crate::mail) use parse::is_hidden;
pub use parse::{AddressError, MailboxParts, Unbracketed};

/// The longest local part, in octets without quotes. RFC 5321, section 4.5.3.1.1 asks for 64 at least; return paths
/// that encode their recipient are longer.
pub const LOCAL_OCTETS_MAX: usize = 255;
/// The longest domain, in octets. (RFC 5321, section 4.5.3.1.2)
pub const DOMAIN_OCTETS_MAX: usize = 255;
/// The longest label of a domain, in octets. (RFC 1035, section 2.3.4)
pub const LABEL_OCTETS_MAX: usize = 63;

/// The part of an address before the last `@`, without quotes and escapes. It has no control character, and none
/// that hides what it is: it comes into logs and headers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalPart(String);

impl LocalPart {
    /// The local part `text`; `None` if it is longer than [`LOCAL_OCTETS_MAX`], or has a control character or one that
    /// is not seen.
    pub fn new(text: &str) -> Option<Self> {
        let is_right = text.len() <= LOCAL_OCTETS_MAX && !text.chars().any(parse::is_hidden);
        is_right.then(|| Self(text.to_owned()))
    }

    /// Its text, without quotes and escapes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether some mail server might read a further route in it: `%`, `!` and `@` once led to other hosts. For a
    /// local domain such an address must not be sent on by what stands in the local part.
    pub fn may_hold_route(&self) -> bool {
        self.0.contains(['%', '!', '@'])
    }

    /// Whether it stands without quotes: a Dot-string. (RFC 5321, section 4.1.2)
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
    /// What is wrong with it.
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
    /// Who at the domain.
    pub local: LocalPart,
    /// Where.
    pub domain: Domain,
}

impl Mailbox {
    /// Reads `local-part@domain`, without angle brackets.
    ///
    /// # Errors
    ///
    /// What is wrong with it; [`AddressError::NoDomain`] if it is a local part only.
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

/// Whom a message comes from, and who is told when it cannot be delivered. (RFC 5321, section 4.1.1.2)
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`: nobody is told. What comes so is never bounced. (RFC 5321, section 4.5.5)
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

/// To whom a message goes. (RFC 5321, section 4.1.1.3)
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
