//! The configuration of the DNS service.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

use super::published::PublishedTexts;

/// The port of name servers. (RFC 1035, section 4.2)
pub(super) const PORT: u16 = 53;

/// The name server at this address.
pub(super) fn at_port(server: IpAddr) -> SocketAddr {
    SocketAddr::new(server, PORT)
}

/// The configuration of a [`Service`](super::Service).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The office's domain, with or without a trailing dot: the authoritative zone.
    pub domain: String,
    /// The gateway's own name in it, a single label.
    pub hostname: String,
    /// The gateway's address on the LAN, with the LAN's prefix, whose reverse names are served.
    pub lan: Ipv4Net,
    /// The gateway's further addresses on the LAN, with the prefixes of their networks, whose reverse names are served,
    /// too.
    pub further_lans: Vec<Ipv4Net>,
    /// The gateway's present addresses on the WAN.
    pub wan: Vec<IpAddr>,
    /// Records of services of the office, such as those that lead mail programs to their servers: built-in names, too.
    pub services: Vec<StaticRecord>,
    /// Static names. Their records replace built-in ones of the same name and type, an alias all of the same name.
    pub records: Vec<StaticRecord>,
    /// TXT records of the gateway's other services.
    pub texts: PublishedTexts,
    /// `false`: stand-alone. No upstream server is queried, and unknown names do not exist.
    pub use_upstream: bool,
    /// The upstream servers, in order of preference; at most [`UPSTREAMS_MAX`](super::forwarder::UPSTREAMS_MAX) are
    /// used, and the gateway's own addresses are left out.
    pub upstreams: Vec<SocketAddr>,
    /// Whether the path to the upstream servers and their validation are trusted: the AD bit of their responses is
    /// passed on (RFC 4035, section 3.2.3).
    pub trust_ad: bool,
    /// Whether questions to upstream servers have letters in random case, which responses have to keep.
    /// (draft-vixie-dnsext-dns0x20)
    pub mixed_case: bool,
    /// The networks with recursion. Other clients get only the names of `domain`.
    pub recursion_for: Vec<IpNet>,
    /// Removes private addresses, and those of the LAN, from the answers for public names; see
    /// [`rebinding`](super::rebinding). It has to be off if upstream servers serve private names legitimately, as in a
    /// LAN-only network with a name server of its own.
    pub rebinding_filter: bool,
    /// The names that are exempt from the filter, with all below them.
    pub private_answers_from: Vec<String>,
    /// The zones with servers of their own, also if `use_upstream` is `false`. The filter does not apply to them.
    pub forwards: Vec<ForwardZone>,
}

impl Config {
    /// The configuration for `domain` with the gateway `hostname` at `lan`: its clients on the LAN have recursion,
    /// private addresses are removed from public names, and there are no names besides the built-in ones. Upstream
    /// servers may be queried, but none is known yet.
    pub fn new(domain: &str, hostname: &str, lan: Ipv4Net) -> Self {
        Self {
            domain: domain.to_owned(),
            hostname: hostname.to_owned(),
            lan,
            further_lans: Vec::new(),
            wan: Vec::new(),
            services: Vec::new(),
            records: Vec::new(),
            texts: PublishedTexts::default(),
            use_upstream: true,
            upstreams: Vec::new(),
            trust_ad: false,
            mixed_case: false,
            recursion_for: vec![lan.trunc().into()],
            rebinding_filter: true,
            private_answers_from: Vec::new(),
            forwards: Vec::new(),
        }
    }

    /// The gateway's addresses on the LAN with the prefixes of their networks, the preferred first.
    pub(super) fn lans(&self) -> impl Iterator<Item = Ipv4Net> {
        [self.lan].into_iter().chain(self.further_lans.iter().copied())
    }

    /// Whether `address` is one of them.
    pub(super) fn is_own_on_lan(&self, address: IpAddr) -> bool {
        self.lans().any(|lan| lan.addr() == address)
    }
}

/// A zone that is forwarded to servers of its own, and never to the upstream servers. Static names and leases in it
/// take precedence. The longest matching zone applies, among these and the local ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardZone {
    /// The zone, with or without a trailing dot; not the office's domain.
    pub zone: String,
    /// Its servers, in order of preference; at most [`UPSTREAMS_MAX`](super::forwarder::UPSTREAMS_MAX) are used, and
    /// the gateway's own addresses are left out.
    pub servers: Vec<SocketAddr>,
}

/// A static name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticRecord {
    /// The name; relative to the domain unless it ends with a dot.
    pub name: String,
    /// Its record.
    pub value: RecordValue,
}

/// The record of a static name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordValue {
    /// Type A or AAAA.
    Address(IpAddr),
    /// Type CNAME; relative to the domain unless it ends with a dot.
    Alias(String),
    /// Type MX.
    MailExchange {
        /// The server with the lowest value is preferred.
        preference: u16,
        /// Relative to the domain unless it ends with a dot.
        exchange: String,
    },
    /// Type SRV. (RFC 2782)
    Service {
        /// The servers with the lowest value are used.
        priority: u16,
        /// The share among servers of the same priority.
        weight: u16,
        /// The port.
        port: u16,
        /// Relative to the domain unless it ends with a dot.
        target: String,
    },
    /// Type PTR; relative to the domain unless it ends with a dot.
    Pointer(String),
    /// Type CAA. (RFC 8659, section 4.1)
    CertificationAuthority {
        /// Whether an authority that does not know the tag must not issue a certificate.
        is_critical: bool,
        /// The tag, such as `issue`: letters and digits.
        tag: String,
        /// Its value, such as the authority's domain.
        value: String,
    },
    /// Type NS: a server of a zone below the domain that is delegated; relative to the domain unless it ends with a
    /// dot. Queries of clients with recursion go to the servers with an address among the static names.
    NameServer(String),
    /// Type TXT; at most 65,000 octets.
    Text(String),
}

/// An invalid configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// Not a domain name.
    Name(String),
    /// A name with a CNAME has other records too (RFC 1034, section 3.6.2), or it is the domain itself.
    AliasNotAlone(String),
    /// The office's domain is forwarded.
    OwnZone(String),
    /// A delegated zone is not below the office's domain, or it is forwarded.
    NotDelegable(String),
    /// No server of a delegated zone has an address among the static names.
    NoServerAddress(String),
    /// A name in a delegated zone, other than the addresses of its servers.
    InDelegatedZone(String),
    /// A text too long for a record.
    TextTooLong(String),
    /// The tag of a CAA record is empty, longer than 255 octets, or has other characters than letters and digits.
    Tag(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "`{name}` is not a domain name"),
            Self::AliasNotAlone(name) => {
                write!(f, "`{name}` is an alias (CNAME) and has other records; an alias must be alone")
            }
            Self::OwnZone(zone) => write!(f, "`{zone}` is the office's own zone, which is not forwarded"),
            Self::NotDelegable(zone) => {
                write!(
                    f,
                    "`{zone}` is not below the office's domain, or is forwarded: it cannot be delegated"
                )
            }
            Self::NoServerAddress(zone) => write!(f, "no name server of `{zone}` has an address"),
            Self::InDelegatedZone(name) => write!(f, "`{name}` is in a delegated zone"),
            Self::Tag(tag) => write!(f, "`{tag}` is no tag of a CAA record"),
            Self::TextTooLong(name) => write!(f, "the text of `{name}` is too long"),
        }
    }
}

impl std::error::Error for ConfigError {}
