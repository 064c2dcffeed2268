//! IPv4 headers. (RFC 791)

use core::fmt;
use core::net::Ipv4Addr;

use etherparse::Ipv4HeaderSlice;
use etherparse::err::ipv4::HeaderSliceError;

use super::Malformed;
use super::checksum::{self, Delta};
use super::options::Options;
use super::protocol::Protocol;

/// The header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The source.
    pub source: Ipv4Addr,
    /// The destination.
    pub destination: Ipv4Addr,
    /// The type of the payload.
    pub protocol: Protocol,
    /// The time to live: the hops that the packet may still make.
    pub ttl: u8,
    /// The header's size with options, in octets: 20 to 60.
    pub header_len: u8,
    /// The packet's size with the header, in octets.
    pub total_len: u16,
    /// The identification, which names the packet that a fragment belongs to.
    pub id: u16,
    /// The differentiated services code point (upper six bits) and ECN (lower two). (RFC 2474; RFC 3168)
    pub ds_field: u8,
    /// The packet must not be fragmented.
    pub dont_fragment: bool,
    /// This fragment is not the last.
    pub more_fragments: bool,
    /// The offset of this fragment's payload in the whole packet's payload, in octets: a multiple of 8.
    pub fragment_offset: u16,
    /// Whether the packet has a loose or strict source route option.
    pub source_routed: bool,
}

impl Header {
    /// The size of a header without options, in octets.
    pub const LEN_MIN: usize = 20;
    /// The size of the longest header, in octets.
    pub const LEN_MAX: usize = 60;
    /// The default time to live of packets that the gateway itself sends. (IANA: IP parameters)
    pub const TTL_DEFAULT: u8 = 64;

    /// A header without options for a whole packet with `payload_len` octets.
    ///
    /// # Panics
    ///
    /// If `payload_len` is above 65515, the most that a packet can carry.
    pub const fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: Protocol, payload_len: u16) -> Self {
        Self {
            source,
            destination,
            protocol,
            ttl: Self::TTL_DEFAULT,
            header_len: Self::LEN_MIN as u8,
            total_len: payload_len.checked_add(Self::LEN_MIN as u16).expect("fits into a packet"),
            id: 0,
            ds_field: 0,
            dont_fragment: false,
            more_fragments: false,
            fragment_offset: 0,
            source_routed: false,
        }
    }

    /// The header of the packet that `bytes` begin with; an Ethernet frame's padding may follow it.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`]; [`Malformed::Unsupported`] if the version is not 4;
    /// [`Malformed::Length`] if the header is longer than the packet, or a fragment ends beyond
    /// the largest packet or not at a multiple of 8; [`Malformed::Options`]; [`Malformed::Checksum`].
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        // Unwrapping and wrapping it again would copy it.
        let parsed = Self::parse_embedded(bytes);
        match &parsed {
            Ok(header) if usize::from(header.total_len) > bytes.len() => Err(Malformed::Truncated),
            _ => parsed,
        }
    }

    /// As [`Header::parse`], for the packet that an ICMP error quotes: its end may be missing.
    ///
    /// # Errors
    ///
    /// As [`Header::parse`]; [`Malformed::Truncated`] only if the header itself is not whole.
    #[inline]
    pub fn parse_embedded(bytes: &[u8]) -> Result<Self, Malformed> {
        let slice = Ipv4HeaderSlice::from_slice(bytes).map_err(|error| match error {
            HeaderSliceError::Len(_) => Malformed::Truncated,
            HeaderSliceError::Content(_) => unsupported_or_length(bytes),
        })?;
        let header_len = slice.slice().len();
        let header = Self {
            source: slice.source_addr(),
            destination: slice.destination_addr(),
            protocol: Protocol(slice.protocol().0),
            ttl: slice.ttl(),
            header_len: header_len as u8,
            total_len: slice.total_len(),
            id: slice.identification(),
            ds_field: slice.dcp().value() << 2 | slice.ecn().value(),
            dont_fragment: slice.dont_fragment(),
            more_fragments: slice.more_fragments(),
            fragment_offset: slice.fragments_offset().value() << 3,
            source_routed: header_len > Self::LEN_MIN && is_source_routed(slice.options())?,
        };
        if usize::from(header.total_len) < header_len
            || header.is_fragment() && !header.is_fragment_possible()
        {
            return Err(Malformed::Length);
        }
        if !checksum::is_valid(slice.slice()) {
            return Err(Malformed::Checksum);
        }
        Ok(header)
    }

    /// Writes the header at the beginning of `packet`, without options and with its checksum.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`] if there is no room; `packet` is then unchanged.
    pub fn write(&self, packet: &mut [u8]) -> Result<(), Malformed> {
        let header = packet.first_chunk_mut::<{ Self::LEN_MIN }>().ok_or(Malformed::Truncated)?;
        header[0] = 0x45;
        header[1] = self.ds_field;
        header[2..4].copy_from_slice(&self.total_len.to_be_bytes());
        header[4..6].copy_from_slice(&self.id.to_be_bytes());
        header[6..8].copy_from_slice(&self.fragmentation().to_be_bytes());
        header[8] = self.ttl;
        header[9] = self.protocol.0;
        header[10..12].fill(0);
        header[12..16].copy_from_slice(&self.source.octets());
        header[16..20].copy_from_slice(&self.destination.octets());
        let checksum = checksum::of(header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        Ok(())
    }

    /// The size of the payload, in octets.
    #[inline]
    pub const fn payload_len(&self) -> u16 {
        self.total_len.saturating_sub(self.header_len as u16)
    }

    /// The payload of the `packet` that the header is of; without its end if that is missing.
    #[inline]
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        let end = packet.len().min(usize::from(self.total_len));
        packet.get(usize::from(self.header_len)..end).unwrap_or_default()
    }

    /// As [`Header::payload`], to rewrite.
    #[inline]
    pub fn payload_mut<'a>(&self, packet: &'a mut [u8]) -> &'a mut [u8] {
        let end = packet.len().min(usize::from(self.total_len));
        packet.get_mut(usize::from(self.header_len)..end).unwrap_or_default()
    }

    /// The options of the `packet` that the header is of, with padding.
    #[inline]
    pub fn options<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet.get(Self::LEN_MIN..usize::from(self.header_len)).unwrap_or_default()
    }

    /// Whether the packet is a fragment, the first one included.
    #[inline]
    pub const fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// Whether the packet has its transport header: it is unfragmented or a first fragment.
    #[inline]
    pub const fn has_transport_header(&self) -> bool {
        self.fragment_offset == 0
    }

    /// Whether the fragment carries something, ends within the largest packet, and where another
    /// can begin.
    const fn is_fragment_possible(&self) -> bool {
        let len = self.payload_len();
        let end = self.fragment_offset as u32 + len as u32;
        len > 0
            && end <= u16::MAX as u32 - Self::LEN_MIN as u32
            && (!self.more_fragments || len.is_multiple_of(8))
    }

    /// The word with the fragment's flags and offset.
    const fn fragmentation(&self) -> u16 {
        (self.dont_fragment as u16) << 14 | (self.more_fragments as u16) << 13 | self.fragment_offset >> 3
    }
}

/// Tells apart why a header's first octet was refused.
#[cold]
fn unsupported_or_length(bytes: &[u8]) -> Malformed {
    if bytes.first().is_some_and(|first| first >> 4 == 4) {
        Malformed::Length
    } else {
        Malformed::Unsupported
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} > {} {} ttl {} length {}",
            self.source, self.destination, self.protocol, self.ttl, self.total_len
        )?;
        if self.is_fragment() {
            let more = if self.more_fragments { "+" } else { "" };
            write!(f, " id {} offset {}{more}", self.id, self.fragment_offset)?;
        }
        Ok(())
    }
}

/// A header in place. Every setter keeps the checksum right without computing it anew, so that a
/// wrong one stays wrong. (RFC 1624)
#[derive(Debug)]
pub struct HeaderMut<'a>(&'a mut [u8; Header::LEN_MIN]);

impl<'a> HeaderMut<'a> {
    /// The header at the beginning of `packet`.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`].
    #[inline]
    pub fn new(packet: &'a mut [u8]) -> Result<Self, Malformed> {
        packet.first_chunk_mut().map(Self).ok_or(Malformed::Truncated)
    }

    /// Takes one hop off the time to live; a packet that has none left keeps none.
    #[inline]
    pub fn decrement_ttl(&mut self) {
        self.set_ttl(self.0[8].saturating_sub(1));
    }

    /// Sets the time to live.
    #[inline]
    pub fn set_ttl(&mut self, ttl: u8) {
        let [old, protocol] = [self.0[8], self.0[9]];
        let delta =
            Delta::NONE.replace_u16(u16::from_be_bytes([old, protocol]), u16::from_be_bytes([ttl, protocol]));
        self.0[8] = ttl;
        self.apply(delta);
    }

    /// Sets the source.
    #[inline]
    pub fn set_source(&mut self, source: Ipv4Addr) {
        let delta = Delta::NONE.replace_addr(self.source(), source);
        self.set_addresses(source, self.destination(), delta);
    }

    /// Sets the destination.
    #[inline]
    pub fn set_destination(&mut self, destination: Ipv4Addr) {
        let delta = Delta::NONE.replace_addr(self.destination(), destination);
        self.set_addresses(self.source(), destination, delta);
    }

    /// Sets both addresses, given what that does to the checksum.
    #[inline]
    pub fn set_addresses(&mut self, source: Ipv4Addr, destination: Ipv4Addr, delta: Delta) {
        self.0[12..16].copy_from_slice(&source.octets());
        self.0[16..20].copy_from_slice(&destination.octets());
        self.apply(delta);
    }

    /// Sets the identification.
    #[inline]
    pub fn set_id(&mut self, id: u16) {
        let delta = Delta::NONE.replace_u16(u16::from_be_bytes([self.0[4], self.0[5]]), id);
        self.0[4..6].copy_from_slice(&id.to_be_bytes());
        self.apply(delta);
    }

    /// The source.
    #[inline]
    pub const fn source(&self) -> Ipv4Addr {
        let [_, _, _, _, _, _, _, _, _, _, _, _, a, b, c, d, ..] = *self.0;
        Ipv4Addr::new(a, b, c, d)
    }

    /// The destination.
    #[inline]
    pub const fn destination(&self) -> Ipv4Addr {
        let [.., a, b, c, d] = *self.0;
        Ipv4Addr::new(a, b, c, d)
    }

    #[inline]
    fn apply(&mut self, delta: Delta) {
        let checksum = delta.apply(u16::from_be_bytes([self.0[10], self.0[11]]));
        self.0[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The options that name hops to be routed through: loose and strict. (RFC 791, section 3.1)
const SOURCE_ROUTES: [u8; 2] = [131, 137];

/// Whether every fragment carries an option of this type; otherwise only the first one does. (RFC 791, section 3.1)
pub const fn is_option_copied(kind: u8) -> bool {
    kind & 0x80 != 0
}

#[cold]
fn is_source_routed(options: &[u8]) -> Result<bool, Malformed> {
    Options::new(options).try_fold(false, |found, option| Ok(SOURCE_ROUTES.contains(&option?.kind) || found))
}

/// The kind of an IPv4 address. (RFC 6890; RFC 1812, section 5.3.7)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressKind {
    /// 0.0.0.0: a host that has no address yet.
    Unspecified,
    /// 0.0.0.0/8: "this network".
    ThisNetwork,
    /// 127.0.0.0/8.
    Loopback,
    /// 169.254.0.0/16: of one link only. (RFC 3927)
    LinkLocal,
    /// 224.0.0.0/4.
    Multicast,
    /// 240.0.0.0/4 without the limited broadcast.
    Reserved,
    /// 255.255.255.255.
    LimitedBroadcast,
    /// Any other address: unicast, or a directed broadcast, which depends on the network.
    Unicast,
}

impl AddressKind {
    /// The kind of `addr`.
    #[inline]
    pub const fn of(addr: Ipv4Addr) -> Self {
        match addr.octets() {
            [0, 0, 0, 0] => Self::Unspecified,
            [0, ..] => Self::ThisNetwork,
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocal,
            [255, 255, 255, 255] => Self::LimitedBroadcast,
            [240..=255, ..] => Self::Reserved,
            [224..=239, ..] => Self::Multicast,
            _ => Self::Unicast,
        }
    }

    /// Whether a packet from the wire may have it as its source; [`AddressKind::Unspecified`] may
    /// too, but only from a host that looks for a DHCP server.
    #[inline]
    pub const fn may_be_source(self) -> bool {
        matches!(self, Self::Unicast | Self::LinkLocal)
    }

    /// Whether a packet from the wire may have it as its destination.
    #[inline]
    pub const fn may_be_destination(self) -> bool {
        matches!(self, Self::Unicast | Self::LinkLocal | Self::Multicast | Self::LimitedBroadcast)
    }

    /// Whether a packet may leave the link it came from with it as its source or destination.
    /// The gateway does not route multicast, and link-local addresses stay on their link (RFC 3927, section 7).
    #[inline]
    pub const fn may_be_forwarded(self) -> bool {
        matches!(self, Self::Unicast)
    }
}

#[cfg(test)]
mod tests;
