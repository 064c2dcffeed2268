//! Reading addresses. (RFC 5321, section 4.1.2; RFC 6531, section 3.3)

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    DOMAIN_OCTETS_MAX, Domain, ForwardPath, LABEL_OCTETS_MAX, LOCAL_OCTETS_MAX, LocalPart, Mailbox,
    ReversePath,
};

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// The brackets, quotes or dots are wrong, or a character is not allowed there.
    Syntax,
    /// The domain or the address literal is invalid.
    Domain,
    /// It is a local part only.
    NoDomain,
    /// A part is longer than its maximum.
    TooLong,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "not a mail address",
            Self::Domain => "not a domain",
            Self::NoDomain => "an address needs a domain",
            Self::TooLong => "the address is too long",
        })
    }
}

impl std::error::Error for AddressError {}

/// A local part with a domain, or without one as programs on the same network write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxParts {
    /// The local part.
    pub local: LocalPart,
    /// The domain, if there is one.
    pub domain: Option<Domain>,
}

impl MailboxParts {
    /// Reads `local-part@domain` or `local-part`.
    ///
    /// # Errors
    ///
    /// The syntax error.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (local, rest) = local_part(text)?;
        let domain = match rest.strip_prefix('@') {
            Some(text) => Some(domain(text)?),
            None if rest.is_empty() => None,
            None => return Err(AddressError::Syntax),
        };
        Ok(Self { local, domain })
    }

    /// The mailbox, at `domain` if it has no domain of its own.
    ///
    /// # Errors
    ///
    /// [`AddressError::NoDomain`] if there is no domain.
    fn at(self, domain: Option<&Domain>) -> Result<Mailbox, AddressError> {
        let domain = self.domain.or_else(|| domain.cloned()).ok_or(AddressError::NoDomain)?;
        Ok(Mailbox { local: self.local, domain })
    }
}

/// Whether a path must have angle brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unbracketed {
    /// It must.
    Refused,
    /// Old devices leave them out.
    Accepted,
}

impl ReversePath {
    /// Parses the path at the beginning of `text`: `<>`, `<a@b>`, `<@relay:a@b>`. `domain` completes an address without
    /// one. Returns the path and the rest of `text`.
    ///
    /// # Errors
    ///
    /// The path's syntax error.
    pub fn parse<'a>(
        text: &'a str,
        domain: Option<&Domain>,
        unbracketed: Unbracketed,
    ) -> Result<(Self, &'a str), AddressError> {
        let (path, rest) = split(text, unbracketed)?;
        if path.is_empty() {
            return Ok((Self::Null, rest));
        }
        let mailbox = MailboxParts::parse(without_source_route(path)?)?.at(domain)?;
        Ok((Self::Mailbox(mailbox), rest))
    }
}

impl ForwardPath {
    /// As [`ReversePath::parse`]; `<>` is no forward path, and `<postmaster>` needs no domain.
    ///
    /// # Errors
    ///
    /// The path's syntax error.
    pub fn parse<'a>(
        text: &'a str,
        domain: Option<&Domain>,
        unbracketed: Unbracketed,
    ) -> Result<(Self, &'a str), AddressError> {
        let (path, rest) = split(text, unbracketed)?;
        let parts = MailboxParts::parse(without_source_route(path)?)?;
        if parts.domain.is_none() && parts.local.as_str().eq_ignore_ascii_case("postmaster") {
            return Ok((Self::Postmaster, rest));
        }
        Ok((Self::Mailbox(parts.at(domain)?), rest))
    }
}

/// Splits `<path> rest`, where quotes in the path may hold a `>`.
fn split(text: &str, unbracketed: Unbracketed) -> Result<(&str, &str), AddressError> {
    let Some(inner) = text.strip_prefix('<') else {
        if unbracketed == Unbracketed::Refused || text.is_empty() || text.starts_with(' ') {
            return Err(AddressError::Syntax);
        }
        let end = outside_quotes(text, ' ').unwrap_or(text.len());
        return Ok(text.split_at(end));
    };
    let end = outside_quotes(inner, '>').ok_or(AddressError::Syntax)?;
    Ok((&inner[..end], &inner[end + 1..]))
}

/// The position of the first `wanted` outside of quotes.
fn outside_quotes(text: &str, wanted: char) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if c == wanted && !is_quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// `a@b` of `@one,@two:a@b`. (RFC 5321, appendix C)
fn without_source_route(path: &str) -> Result<&str, AddressError> {
    if !path.starts_with('@') {
        return Ok(path);
    }
    // A literal of IPv6 in the route has colons of its own.
    let mut rest = path;
    loop {
        let hop = rest.strip_prefix('@').ok_or(AddressError::Syntax)?;
        let end = if hop.starts_with('[') {
            hop.find(']').ok_or(AddressError::Domain)? + 1
        } else {
            hop.find([',', ':']).ok_or(AddressError::Syntax)?
        };
        domain(&hop[..end])?;
        let (separator, after) = hop[end..].split_at_checked(1).ok_or(AddressError::Syntax)?;
        match separator {
            ":" => return Ok(after),
            "," => rest = after,
            _ => return Err(AddressError::Syntax),
        }
    }
}

/// Splits a local part, quoted or not, from the rest.
fn local_part(text: &str) -> Result<(LocalPart, &str), AddressError> {
    let (content, rest) = match text.strip_prefix('"') {
        Some(quoted) => unquote(quoted)?,
        None => {
            let end = text.find(|c| c != '.' && !is_atext(c)).unwrap_or(text.len());
            (text[..end].to_owned(), &text[end..])
        }
    };
    if content.len() > LOCAL_OCTETS_MAX {
        return Err(AddressError::TooLong);
    }
    let local = LocalPart::new(&content).ok_or(AddressError::Syntax)?;
    if !text.starts_with('"') && !local.is_dot_string() {
        return Err(AddressError::Syntax);
    }
    Ok((local, rest))
}

/// The content of a quoted string after its opening quote, and the rest.
fn unquote(text: &str) -> Result<(String, &str), AddressError> {
    let mut content = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((content, &text[at + 1..])),
            '\\' => match chars.next() {
                // RFC 5321, section 4.1.2: quoted-pairSMTP.
                Some((_, escaped @ ' '..='~')) => content.push(escaped),
                _ => return Err(AddressError::Syntax),
            },
            c => content.push(c),
        }
    }
    Err(AddressError::Syntax)
}

/// Whether `c` is atext: in ASCII as RFC 5322, section 3.2.3, lists, and beyond all but control characters and spaces.
/// (RFC 6531, section 3.3)
pub(super) fn is_atext(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => true,
        c if c.is_ascii() => "!#$%&'*+-/=?^_`{|}~".contains(c),
        c => !is_hidden(c) && !c.is_whitespace(),
    }
}

/// Whether `c` is a control character, or an invisible one that changes the display: a line or paragraph separator, a
/// bidirectional control, a zero-width character.
pub(in crate::mail) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2064}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}

/// Reads a domain or an address literal.
pub(super) fn domain(text: &str) -> Result<Domain, AddressError> {
    if let Some(literal) = text.strip_prefix('[') {
        let literal = literal.strip_suffix(']').ok_or(AddressError::Domain)?;
        return address(literal).map(Domain::Literal).ok_or(AddressError::Domain);
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let name = name.to_lowercase();
    if name.len() > DOMAIN_OCTETS_MAX {
        return Err(AddressError::TooLong);
    }
    // An address without brackets is no domain: no top-level domain is a number. // RFC 3696, section 2
    let is_number = |label: &str| label.bytes().all(|octet| octet.is_ascii_digit());
    let is_name = name.split('.').all(is_label) && !name.rsplit('.').next().is_some_and(is_number);
    is_name.then_some(Domain::Name(name)).ok_or(AddressError::Domain)
}

/// Letters, digits and hyphens (RFC 5321, section 4.1.2), underscores as they are in use, or not ASCII.
fn is_label(label: &str) -> bool {
    let is_right = |c: char| match c {
        c if c.is_ascii() => c.is_ascii_alphanumeric() || matches!(c, '-' | '_'),
        // Full stops of other scripts, which IDNA maps to dots, so that the name would have other labels. (RFC 3490,
        // section 3.1)
        '\u{3002}' | '\u{ff0e}' | '\u{ff61}' => false,
        c => is_atext(c),
    };
    let has_hyphen_outside = label.starts_with('-') || label.ends_with('-');
    !label.is_empty() && label.len() <= LABEL_OCTETS_MAX && !has_hyphen_outside && label.chars().all(is_right)
}

/// `192.168.1.1` or `IPv6:2001:db8::1`. (RFC 5321, section 4.1.3)
fn address(literal: &str) -> Option<IpAddr> {
    const TAG: &str = "IPv6:";
    match literal.get(..TAG.len()) {
        Some(tag) if tag.eq_ignore_ascii_case(TAG) => {
            let address: Ipv6Addr = literal[TAG.len()..].parse().ok()?;
            Some(IpAddr::V6(address).to_canonical())
        }
        _ => literal.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}
