//! ICMP messages for IPv4. (RFC 792; RFC 1191; RFC 5508)

use core::fmt;
use core::net::SocketAddrV4;

use super::Malformed;
use super::checksum::Delta;
use super::ipv4;
use super::protocol::Protocol;
use super::transport;
use super::udp;

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Type(pub u8);

impl Type {
    /// Answers an echo request.
    pub const ECHO_REPLY: Self = Self(0);
    /// An error: the packet did not arrive.
    pub const DESTINATION_UNREACHABLE: Self = Self(3);
    /// An error of old: send slower. (deprecated by RFC 6633)
    pub const SOURCE_QUENCH: Self = Self(4);
    /// Another router is nearer.
    pub const REDIRECT: Self = Self(5);
    /// Asks for an echo reply.
    pub const ECHO_REQUEST: Self = Self(8);
    /// An error: too many hops, or fragments that did not come.
    pub const TIME_EXCEEDED: Self = Self(11);
    /// An error: a header that makes no sense.
    pub const PARAMETER_PROBLEM: Self = Self(12);
    /// Asks for a timestamp reply.
    pub const TIMESTAMP: Self = Self(13);
    /// Answers a timestamp.
    pub const TIMESTAMP_REPLY: Self = Self(14);

    /// Whether it is an error, which quotes a packet. (RFC 1122, section 3.2.2)
    #[inline]
    pub const fn is_error(self) -> bool {
        matches!(
            self,
            Self::DESTINATION_UNREACHABLE
                | Self::SOURCE_QUENCH
                | Self::REDIRECT
                | Self::TIME_EXCEEDED
                | Self::PARAMETER_PROBLEM
        )
    }

    /// Whether it is a query, whose reply has the same identifier.
    #[inline]
    pub const fn is_query(self) -> bool {
        matches!(self, Self::ECHO_REQUEST | Self::TIMESTAMP)
    }

    /// Whether it answers a query.
    #[inline]
    pub const fn is_query_reply(self) -> bool {
        matches!(self, Self::ECHO_REPLY | Self::TIMESTAMP_REPLY)
    }
}

/// The header of a message: the first eight octets, which all types used today have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The type.
    pub kind: Type,
    /// The code.
    pub code: u8,
    /// The checksum as sent.
    pub checksum: u16,
    /// The last four octets, whose meaning depends on the type.
    pub rest: [u8; 4],
}

impl Header {
    /// The size of the header, in octets.
    pub const LEN: usize = 8;
    /// The offset of the checksum, in octets.
    pub const CHECKSUM_OFFSET: usize = 2;

    /// The header at the beginning of `message`, an IP packet's payload.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`].
    #[inline]
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let [kind, code, c0, c1, rest @ ..] =
            *message.first_chunk::<{ Self::LEN }>().ok_or(Malformed::Truncated)?;
        Ok(Self { kind: Type(kind), code, checksum: u16::from_be_bytes([c0, c1]), rest })
    }

    /// Writes the header at the beginning of `message`, its checksum as it is.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`] if there is no room; `message` is then unchanged.
    pub fn write(&self, message: &mut [u8]) -> Result<(), Malformed> {
        let header = message.first_chunk_mut::<{ Self::LEN }>().ok_or(Malformed::Truncated)?;
        header[0] = self.kind.0;
        header[1] = self.code;
        header[2..4].copy_from_slice(&self.checksum.to_be_bytes());
        header[4..8].copy_from_slice(&self.rest);
        Ok(())
    }

    /// The identifier of a query or its reply: to ICMP what a port is to UDP.
    #[inline]
    pub const fn identifier(&self) -> u16 {
        u16::from_be_bytes([self.rest[0], self.rest[1]])
    }

    /// The MTU that a destination unreachable of code 4 names; zero from routers older than RFC 1191.
    #[inline]
    pub const fn next_hop_mtu(&self) -> u16 {
        u16::from_be_bytes([self.rest[2], self.rest[3]])
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            Type::ECHO_REPLY => "echo reply",
            Type::DESTINATION_UNREACHABLE => "destination unreachable",
            Type::SOURCE_QUENCH => "source quench",
            Type::REDIRECT => "redirect",
            Type::ECHO_REQUEST => "echo request",
            Type::TIME_EXCEEDED => "time exceeded",
            Type::PARAMETER_PROBLEM => "parameter problem",
            Type::TIMESTAMP => "timestamp",
            Type::TIMESTAMP_REPLY => "timestamp reply",
            Type(other) => return write!(f, "ICMP type {other} code {}", self.code),
        };
        write!(f, "ICMP {name}")?;
        if self.kind.is_error() {
            write!(f, " code {}", self.code)
        } else {
            write!(f, " id {}", self.identifier())
        }
    }
}

/// A header in place. Setters keep the checksum right. (RFC 1624)
#[derive(Debug)]
pub struct HeaderMut<'a>(&'a mut [u8; Header::LEN]);

impl<'a> HeaderMut<'a> {
    /// The header at the beginning of `message`.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`].
    #[inline]
    pub fn new(message: &'a mut [u8]) -> Result<Self, Malformed> {
        message.first_chunk_mut().map(Self).ok_or(Malformed::Truncated)
    }

    /// Sets the identifier of a query or its reply.
    #[inline]
    pub fn set_identifier(&mut self, identifier: u16) {
        let delta = Delta::NONE.replace_u16(u16::from_be_bytes([self.0[4], self.0[5]]), identifier);
        self.0[4..6].copy_from_slice(&identifier.to_be_bytes());
        self.apply(delta);
    }

    /// Sets the type, and the code to zero.
    #[inline]
    pub fn set_kind(&mut self, kind: Type) {
        let delta = Delta::NONE
            .replace_u16(u16::from_be_bytes([self.0[0], self.0[1]]), u16::from_be_bytes([kind.0, 0]));
        self.0[0..2].copy_from_slice(&[kind.0, 0]);
        self.apply(delta);
    }

    #[inline]
    fn apply(&mut self, delta: Delta) {
        let checksum = delta.apply(u16::from_be_bytes([self.0[2], self.0[3]]));
        self.0[2..4].copy_from_slice(&checksum.to_be_bytes());
        // An echo reply may consist of zeros only, whose sum is zero. Its checksum is then the other zero of ones'
        // complement, which no incremental change leads to.
        if *self.0 == [0; Header::LEN] {
            self.0[2..4].fill(0xff);
        }
    }
}

/// Makes the IPv4 `packet` with `header`, an echo request, its own reply.
///
/// The caller decides whether to answer: not to a request by broadcast or multicast (RFC 1122, section 3.2.2.6), nor
/// to one with a wrong checksum.
///
/// # Errors
///
/// [`Malformed::Truncated`]; [`Malformed::Unsupported`] if it is no whole echo request.
pub fn make_echo_reply(packet: &mut [u8], header: &ipv4::Header) -> Result<(), Malformed> {
    let message = header.payload_mut(packet);
    let is_request = Header::parse(message)?.kind == Type::ECHO_REQUEST;
    if !is_request || header.is_fragment() || header.protocol != Protocol::ICMP {
        return Err(Malformed::Unsupported);
    }
    HeaderMut::new(message)?.set_kind(Type::ECHO_REPLY);
    let mut ip = ipv4::HeaderMut::new(packet)?;
    ip.set_addresses(header.destination, header.source, Delta::NONE); // a sum has no order
    ip.set_ttl(ipv4::Header::TTL_DEFAULT);
    Ok(())
}

/// The packet that an ICMP error quotes, with the fields that NAT needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// The IP header of the quoted packet.
    pub header: ipv4::Header,
    /// The sender of the quoted packet. The port of an ICMP query is its identifier, that of a reply is 0.
    pub source: SocketAddrV4,
    /// The receiver of the quoted packet. The port of an ICMP reply is its identifier, that of a query is 0.
    pub destination: SocketAddrV4,
    /// The sequence number of the quoted segment; `None` if the quoted packet is not TCP.
    pub sequence: Option<u32>,
}

impl Embedded {
    /// The packet that `message`, an ICMP error, quotes: its IP header with any options, and at least
    /// the first eight octets of its payload. (RFC 792; RFC 5508, REQ-3b)
    ///
    /// # Errors
    ///
    /// As [`ipv4::Header::parse_embedded`], [`Malformed::Checksum`] of the quoted header included
    /// (RFC 5508, REQ-3a); [`Malformed::Unsupported`] if it is not the first fragment, an ICMP
    /// error itself (RFC 5508, REQ-3d), or of a protocol without ports.
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        Self::of_packet(message.get(Header::LEN..).ok_or(Malformed::Truncated)?)
    }

    /// As [`Embedded::parse`], for the packet itself or its beginning.
    ///
    /// # Errors
    ///
    /// As [`Embedded::parse`].
    pub fn of_packet(quoted: &[u8]) -> Result<Self, Malformed> {
        let header = ipv4::Header::parse_embedded(quoted)?;
        if !header.has_transport_header() {
            return Err(Malformed::Unsupported);
        }
        let payload = header.payload(quoted);
        let [p0, p1, p2, p3, s0, s1, s2, s3] = *payload.first_chunk::<8>().ok_or(Malformed::Truncated)?;
        let (source, destination) = match header.protocol {
            Protocol::TCP | Protocol::UDP => (u16::from_be_bytes([p0, p1]), u16::from_be_bytes([p2, p3])),
            Protocol::ICMP => {
                let query = Header::parse(payload)?;
                match query.kind {
                    kind if kind.is_query() => (query.identifier(), 0),
                    kind if kind.is_query_reply() => (0, query.identifier()),
                    _ => return Err(Malformed::Unsupported),
                }
            }
            _ => return Err(Malformed::Unsupported),
        };
        Ok(Self {
            header,
            source: SocketAddrV4::new(header.source, source),
            destination: SocketAddrV4::new(header.destination, destination),
            sequence: (header.protocol == Protocol::TCP).then(|| u32::from_be_bytes([s0, s1, s2, s3])),
        })
    }

    /// Gives the packet that `message` quotes other addresses and ports, with all checksums: that of
    /// its IP header, its transport's where it is quoted, and the error's own. (RFC 5508, REQ-4, REQ-5)
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`] if `message` is not the one that was parsed.
    pub fn rewrite(
        &self,
        message: &mut [u8],
        source: SocketAddrV4,
        destination: SocketAddrV4,
    ) -> Result<(), Malformed> {
        let (error, quoted) = message.split_at_mut_checked(Header::LEN).ok_or(Malformed::Truncated)?;
        let addresses = Delta::NONE
            .replace_addr(*self.source.ip(), *source.ip())
            .replace_addr(*self.destination.ip(), *destination.ip());
        // The quoted IP header adds nothing to the error's checksum: its own makes its sum zero.
        ipv4::HeaderMut::new(quoted)?.set_addresses(*source.ip(), *destination.ip(), addresses);
        let transport =
            self.rewrite_transport(self.header.payload_mut(quoted), source, destination, addresses)?;
        HeaderMut::new(error)?.apply(transport);
        Ok(())
    }

    /// Rewrites the quoted transport header, and returns what that does to a sum over it.
    fn rewrite_transport(
        &self,
        payload: &mut [u8],
        source: SocketAddrV4,
        destination: SocketAddrV4,
        addresses: Delta,
    ) -> Result<Delta, Malformed> {
        let ports = Delta::NONE
            .replace_u16(self.source.port(), source.port())
            .replace_u16(self.destination.port(), destination.port());
        let head = payload.first_chunk_mut::<8>().ok_or(Malformed::Truncated)?;
        let covered = if self.header.protocol == Protocol::ICMP {
            let is_query = Type(head[0]).is_query();
            let identifier = if is_query { source.port() } else { destination.port() };
            head[4..6].copy_from_slice(&identifier.to_be_bytes());
            ports
        } else {
            head[0..2].copy_from_slice(&source.port().to_be_bytes());
            head[2..4].copy_from_slice(&destination.port().to_be_bytes());
            ports.and(addresses)
        };
        let offset = transport::checksum_offset(self.header.protocol).ok_or(Malformed::Unsupported)?;
        let Some(field) = payload.get_mut(offset..).and_then(<[u8]>::first_chunk_mut) else {
            return Ok(ports);
        };
        let old = u16::from_be_bytes(*field);
        let new = if self.header.protocol == Protocol::UDP {
            udp::updated_checksum(old, covered)
        } else {
            covered.apply(old)
        };
        *field = new.to_be_bytes();
        Ok(ports.replace_u16(old, new))
    }
}

#[cfg(test)]
mod tests;
