//! The host that a request names.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use hyper::Request;
use hyper::header::HOST;

/// The longest host, in octets: the longest name of DNS and a port.
const HOST_OCTETS_MAX: usize = 260;

/// The port of https.
const HTTPS: u16 = 443;

/// The host and port of a request's target. (RFC 9110, section 7.2)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name or address, in lower case, without a final dot; an IPv6 address without brackets.
    pub name: String,
    /// The port, if one is written.
    pub port: Option<u16>,
}

impl Host {
    /// The host in `text`, as in a Host field: a name or an address, and perhaps a port.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > HOST_OCTETS_MAX {
            return None;
        }
        let (name, rest) = match text.strip_prefix('[') {
            Some(bracketed) => {
                let (address, rest) = bracketed.split_once(']')?;
                (address.parse::<Ipv6Addr>().ok()?.to_string(), rest)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                let (name, rest) = text.split_at(end);
                let name = name.strip_suffix('.').unwrap_or(name);
                let is_legal =
                    |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_');
                if name.is_empty() || !name.bytes().all(is_legal) {
                    return None;
                }
                (name.to_ascii_lowercase(), rest)
            }
        };
        let port = match rest.strip_prefix(':') {
            // More digits than a port has, or a sign, are no port.
            Some(port) if port.len() <= 5 && port.bytes().all(|octet| octet.is_ascii_digit()) => {
                Some(port.parse().ok()?)
            }
            None if rest.is_empty() => None,
            _ => return None,
        };
        Some(Self { name, port })
    }

    /// Whether `origin`, as in an Origin field, is this host under TLS. (RFC 6454, section 6.2)
    pub fn is_origin(&self, origin: &str) -> bool {
        let named = origin.strip_prefix("https://").and_then(Self::parse);
        let with_port = |host: &Self| host.port.unwrap_or(HTTPS);
        named.is_some_and(|named| named.name == self.name && with_port(&named) == with_port(self))
    }

    /// The host of `request`: that of its one Host field, which an absolute target must repeat. (RFC 9112, section 3.2)
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        let mut fields = request.headers().get_all(HOST).iter();
        let host = Self::parse(fields.next()?.to_str().ok()?)?;
        if fields.next().is_some() {
            return None;
        }
        match request.uri().authority() {
            Some(authority) => Self::parse(authority.as_str()).filter(|named| *named == host),
            None => Some(host),
        }
    }
}

/// As in a URL.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.parse() {
            Ok(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            _ => f.write_str(&self.name)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_the_host_with_or_without_a_final_dot_and_the_default_port() {
        let is_origin = |host: &str, origin: &str| Host::parse(host).expect("a host").is_origin(origin);
        for (host, origin) in [
            ("a.example:8080", "https://a.example:8080"),
            ("a.example:8080", "https://a.example.:8080"),
            ("a.example.:8080", "https://A.example.:8080"),
            ("a.example", "https://a.example"),
            ("a.example:443", "https://a.example"),
            ("[fd00::1]:8080", "https://[fd00::1]:8080"),
        ] {
            assert!(is_origin(host, origin), "{host} {origin}");
        }
        for origin in [
            "null",
            "",
            "http://a.example",
            "https://b.example",
            "https://a.example:8080",
            "https://a.example/",
        ] {
            assert!(!is_origin("a.example", origin), "{origin}");
        }
    }

    #[test]
    fn names_and_addresses_with_and_without_a_port() {
        let parsed = |text: &str| Host::parse(text).map(|host| host.to_string());
        for (text, expected) in [
            ("Admin.Office.example:8080", "admin.office.example:8080"),
            ("gatepost", "gatepost"),
            ("admin.office.example.", "admin.office.example"),
            ("192.168.1.1:8080", "192.168.1.1:8080"),
            ("[FD00::0:1]:8080", "[fd00::1]:8080"),
            ("[fd00::1]", "[fd00::1]"),
        ] {
            assert_eq!(parsed(text).as_deref(), Some(expected), "{text}");
        }
        let long = "a".repeat(HOST_OCTETS_MAX + 1);
        for text in [
            "",
            ":8080",
            ".",
            "a b",
            "a/b",
            "a@b",
            "a:b",
            "a:+1",
            "a:65536",
            "a:080800",
            "a:1:2",
            "fd00::1",
            "[fd00::1",
            "[fd00::1]8080",
            "[a]",
            "a\u{e4}",
            &long,
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
