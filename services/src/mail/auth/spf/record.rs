//! SPF records. (RFC 7208, sections 4.5, 4.6, 5 and 6)

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::macros::MacroString;

/// The longest record that is read, in octets. RFC 7208, section 3.4, recommends records that fit into 512 octets of a
/// response.
pub const RECORD_OCTETS_MAX: usize = 4096;

/// The result of a matching mechanism. (RFC 7208, section 4.6.2)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qualifier {
    /// `+`
    Pass,
    /// `-`
    Fail,
    /// `~`
    SoftFail,
    /// `?`
    Neutral,
}

/// How many leading bits of addresses are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixLengths {
    /// Of IPv4 addresses, up to 32.
    pub ipv4: u8,
    /// Of IPv6 addresses, up to 128.
    pub ipv6: u8,
}

/// A mechanism. Without a domain it uses the record's domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Matches always.
    All,
    /// Matches if the domain's record passes.
    Include(MacroString),
    /// Matches the domain's addresses.
    A(Option<MacroString>, PrefixLengths),
    /// Matches the addresses of the domain's mail servers.
    Mx(Option<MacroString>, PrefixLengths),
    /// Matches a client with a validated name in the domain.
    Ptr(Option<MacroString>),
    /// Matches a network.
    Network(IpAddr, u8),
    /// Matches if the domain has an IPv4 address.
    Exists(MacroString),
}

/// A record that is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The mechanisms in their order.
    pub directives: Vec<(Qualifier, Mechanism)>,
    /// The domain whose record applies if no mechanism matches.
    pub redirect: Option<MacroString>,
}

/// Whether a TXT record is one of SPF, right or wrong. (RFC 7208, section 4.5)
pub fn is_record(text: &[u8]) -> bool {
    let Some((version, rest)) = text.split_at_checked(6) else { return false };
    version.eq_ignore_ascii_case(b"v=spf1") && (rest.is_empty() || rest[0] == b' ')
}

impl Record {
    /// Parses a record for which [`is_record`] holds; `None` if any part is invalid. (RFC 7208, section 4.6)
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > RECORD_OCTETS_MAX || !is_record(text) {
            return None;
        }
        let text = str::from_utf8(&text[6..]).ok()?;
        let mut record = Self { directives: Vec::new(), redirect: None };
        let mut has_explanation = false;
        for term in text.split(' ').filter(|term| !term.is_empty()) {
            // A modifier has a `=` after its name; a mechanism can have one only after `:` or `/`.
            let end = term.find(|c: char| !is_name_character(c)).unwrap_or(term.len());
            if let Some(value) = term[end..].strip_prefix('=') {
                let name = &term[..end];
                if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                    return None;
                }
                if name.eq_ignore_ascii_case("redirect") {
                    // RFC 7208, section 6: once at most
                    if record.redirect.replace(MacroString::parse_domain(value)?).is_some() {
                        return None;
                    }
                } else if name.eq_ignore_ascii_case("exp") {
                    MacroString::parse_domain(value)?;
                    if std::mem::replace(&mut has_explanation, true) {
                        return None;
                    }
                } else {
                    MacroString::parse(value)?;
                }
            } else {
                record.directives.push(directive(term)?);
            }
        }
        Some(record)
    }
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn directive(term: &str) -> Option<(Qualifier, Mechanism)> {
    let (qualifier, term) = match term.as_bytes().first()? {
        b'+' => (Qualifier::Pass, &term[1..]),
        b'-' => (Qualifier::Fail, &term[1..]),
        b'~' => (Qualifier::SoftFail, &term[1..]),
        b'?' => (Qualifier::Neutral, &term[1..]),
        _ => (Qualifier::Pass, term),
    };
    let end = term.find([':', '/']).unwrap_or(term.len());
    let (name, rest) = term.split_at(end);
    let argument = rest.strip_prefix(':');
    let mechanism = match &*name.to_ascii_lowercase() {
        "all" if rest.is_empty() => Mechanism::All,
        "include" => Mechanism::Include(MacroString::parse_domain(argument?)?),
        "a" => {
            let (domain, lengths) = domain_and_lengths(rest)?;
            Mechanism::A(domain, lengths)
        }
        "mx" => {
            let (domain, lengths) = domain_and_lengths(rest)?;
            Mechanism::Mx(domain, lengths)
        }
        "ptr" if rest.is_empty() => Mechanism::Ptr(None),
        "ptr" => Mechanism::Ptr(Some(MacroString::parse_domain(argument?)?)),
        "ip4" => {
            let (address, length) = network(argument?, 32)?;
            Mechanism::Network(address.parse::<Ipv4Addr>().ok()?.into(), length)
        }
        "ip6" => {
            let (address, length) = network(argument?, 128)?;
            Mechanism::Network(address.parse::<Ipv6Addr>().ok()?.into(), length)
        }
        "exists" => Mechanism::Exists(MacroString::parse_domain(argument?)?),
        _ => return None,
    };
    Some((qualifier, mechanism))
}

fn network(text: &str, longest: u8) -> Option<(&str, u8)> {
    match text.split_once('/') {
        Some((address, digits)) => Some((address, length(digits, longest)?)),
        None => Some((text, longest)),
    }
}

/// A prefix length without zeros before it. (RFC 7208, section 5.6)
fn length(digits: &str, longest: u8) -> Option<u8> {
    let is_right =
        digits == "0" || !digits.starts_with('0') && digits.bytes().all(|octet| octet.is_ascii_digit());
    let length = digits.parse().ok()?;
    (is_right && length <= longest).then_some(length)
}

/// `[":" domain-spec] ["/" length] ["//" length]`. (RFC 7208, section 5.3)
fn domain_and_lengths(text: &str) -> Option<(Option<MacroString>, PrefixLengths)> {
    let (mut text, mut lengths) = (text, PrefixLengths { ipv4: 32, ipv6: 128 });
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
    if let Some((before, digits)) = text.rsplit_once("//")
        && is_number(digits)
    {
        (text, lengths.ipv6) = (before, length(digits, 128)?);
    }
    if let Some((before, digits)) = text.rsplit_once('/')
        && is_number(digits)
    {
        (text, lengths.ipv4) = (before, length(digits, 32)?);
    }
    if text.is_empty() {
        return Some((None, lengths));
    }
    Some((Some(MacroString::parse_domain(text.strip_prefix(':')?)?), lengths))
}
