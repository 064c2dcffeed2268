//! Macro strings. (RFC 7208, section 7)

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::mail::address::{DOMAIN_OCTETS_MAX, LABEL_OCTETS_MAX};

/// The delimiters that split a macro's value. (RFC 7208, section 7.1)
const DELIMITERS: &str = ".-+,/_=";
/// The longest name that a macro string is expanded to. (RFC 7208, section 7.3)
const NAME_OCTETS_MAX: usize = DOMAIN_OCTETS_MAX - 2;
/// The octets of an expanded macro string beyond which labels on the left are certainly removed, or the name is
/// invalid.
const EXPANDED_OCTETS_MAX: usize = 2 * DOMAIN_OCTETS_MAX;

/// The letter of a macro. Those of explanations (`c`, `r`, `t`) are missing, as explanations are not fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letter {
    /// `s`: the sender.
    Sender,
    /// `l`: the sender's local part.
    LocalPart,
    /// `o`: the sender's domain.
    SenderDomain,
    /// `d`: the domain of the record.
    Domain,
    /// `i`: the client's address.
    Address,
    /// `p`: the client's name, by its address.
    ClientName,
    /// `v`: `in-addr` or `ip6`.
    Family,
    /// `h`: the client's HELO name.
    Helo,
}

/// A part of a macro string.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Macro { letter: Letter, labels: usize, is_reversed: bool, delimiters: String, is_escaped: bool },
}

/// A macro string that is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MacroString(Vec<Part>);

impl MacroString {
    /// Parses a macro string; `None` if it is invalid.
    pub fn parse(text: &str) -> Option<Self> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(c) = rest.chars().next() {
            // RFC 7208, section 7.1: visible characters, no space.
            if !matches!(c, '\x21'..='\x7e') {
                return None;
            }
            rest = &rest[1..];
            if c != '%' {
                literal.push(c);
                continue;
            }
            let kind = rest.chars().next()?;
            rest = rest.get(1..)?;
            match kind {
                '%' => literal.push('%'),
                '_' => literal.push(' '),
                '-' => literal.push_str("%20"),
                '{' => {
                    let (body, after) = rest.split_once('}')?;
                    rest = after;
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(macro_part(body)?);
                }
                _ => return None,
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Some(Self(parts))
    }

    /// Reads a domain-spec: a macro string that ends in a macro, or in a label that can be the top one.
    // RFC 7208, section 7.1
    pub fn parse_domain(text: &str) -> Option<Self> {
        let parsed = Self::parse(text)?;
        let is_right = match parsed.0.last()? {
            Part::Macro { .. } => true,
            // The text itself distinguishes `%%`, `%_` and `%-` from literals: at the end of a name they are macros,
            // too.
            Part::Text(_) if ["%%", "%_", "%-"].iter().any(|end| text.ends_with(end)) => true,
            Part::Text(text) => {
                let text = text.strip_suffix('.').unwrap_or(text);
                text.rsplit_once('.').is_some_and(|(_, label)| is_top_label(label))
            }
        };
        is_right.then_some(parsed)
    }

    /// Whether it uses the client's validated name.
    pub fn has_client_name(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Macro { letter: Letter::ClientName, .. }))
    }

    /// Expands the string to a name, without labels on the left if it is too long.
    pub fn expand(&self, value: &dyn Fn(Letter) -> String) -> String {
        // From the right, as far as the result can keep it.
        let mut expanded = String::new();
        for part in self.0.iter().rev() {
            if expanded.len() > EXPANDED_OCTETS_MAX {
                break;
            }
            match part {
                Part::Text(text) => expanded.insert_str(0, text),
                Part::Macro { letter, labels, is_reversed, delimiters, is_escaped } => {
                    let value = value(*letter);
                    let delimiters = if delimiters.is_empty() { "." } else { delimiters };
                    let mut pieces: Vec<&str> = value.split(|c| delimiters.contains(c)).collect();
                    if *is_reversed {
                        pieces.reverse();
                    }
                    let kept = &pieces[pieces.len().saturating_sub(*labels)..];
                    let joined = kept.join(".");
                    expanded.insert_str(0, &if *is_escaped { escaped(&joined) } else { joined });
                }
            }
        }
        let mut name = expanded.strip_suffix('.').unwrap_or(&expanded);
        while name.len() > NAME_OCTETS_MAX {
            let Some((_, shorter)) = name.split_once('.') else { break };
            name = shorter;
        }
        name.to_owned()
    }
}

/// URL escapes for reserved characters. (RFC 7208, section 7.3)
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            escaped.push(char::from(octet));
        } else {
            let _ = write!(escaped, "%{octet:02X}");
        }
    }
    escaped
}

fn macro_part(body: &str) -> Option<Part> {
    let first = body.chars().next()?;
    let letter = match first.to_ascii_lowercase() {
        's' => Letter::Sender,
        'l' => Letter::LocalPart,
        'o' => Letter::SenderDomain,
        'd' => Letter::Domain,
        'i' => Letter::Address,
        'p' => Letter::ClientName,
        'v' => Letter::Family,
        'h' => Letter::Helo,
        _ => return None,
    };
    let rest = &body[1..];
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (digits, rest) = rest.split_at(digits);
    let labels = if digits.is_empty() {
        usize::MAX
    } else {
        // More labels than any name has are all of them.
        digits.parse().unwrap_or(usize::MAX)
    };
    let (is_reversed, delimiters) = match rest.strip_prefix(['r', 'R']) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let is_right = labels > 0 && delimiters.chars().all(|c| DELIMITERS.contains(c));
    let (delimiters, is_escaped) = (delimiters.to_owned(), first.is_ascii_uppercase());
    is_right.then_some(Part::Macro { letter, labels, is_reversed, delimiters, is_escaped })
}

// RFC 7208, section 7.1: toplabel
fn is_top_label(label: &str) -> bool {
    let is_right = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=LABEL_OCTETS_MAX).contains(&label.len())
        && label.chars().all(is_right)
        && !label.starts_with('-')
        && !label.ends_with('-')
        && !label.chars().all(|c| c.is_ascii_digit())
}

/// An address as `%{i}` has it. (RFC 7208, section 7.3)
pub fn dotted(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]);
            nibbles.map(|nibble| format!("{nibble:x}")).collect::<Vec<_>>().join(".")
        }
    }
}
