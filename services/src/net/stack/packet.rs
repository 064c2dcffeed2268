//! IP packets of either family, as the rest of the stack sees them: the two addresses, the protocol and the payload.
//!
//! Not done: extension headers of IPv6. A packet with one counts as one of an unknown protocol.

use std::net::IpAddr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IPV4_HEADER_LEN, IPV6_HEADER_LEN, IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet};

use super::ip::HOP_LIMIT;

/// A received packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    /// The packet, from the first octet of its IP header on; padding may follow its end.
    pub(super) octets: &'a [u8],
    pub(super) source: IpAddr,
    /// Of the same family as the source.
    pub(super) destination: IpAddr,
    pub(super) protocol: IpProtocol,
    /// The octets after the IP header.
    pub(super) payload: &'a [u8],
    /// Whether the packet is a fragment.
    pub(super) is_fragment: bool,
}

/// Why octets cannot be parsed as a packet, a segment or a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The octets are too few, or a length is impossible.
    Malformed,
    /// A checksum is wrong.
    Checksum,
}

impl<'a> Packet<'a> {
    /// Parses the header of a packet. Octets behind the packet's end are ignored.
    pub(super) fn parse(octets: &'a [u8]) -> Result<Self, Unreadable> {
        match octets.first().map(|first| first >> 4) {
            Some(4) => Self::parse_ipv4(octets),
            Some(6) => Self::parse_ipv6(octets),
            _ => Err(Unreadable::Malformed),
        }
    }

    fn parse_ipv4(octets: &'a [u8]) -> Result<Self, Unreadable> {
        let header = Ipv4Packet::new_checked(octets).map_err(|_| Unreadable::Malformed)?;
        if !header.verify_checksum() {
            return Err(Unreadable::Checksum);
        }
        Ok(Self {
            octets,
            source: header.src_addr().into(),
            destination: header.dst_addr().into(),
            protocol: header.next_header(),
            payload: header.payload(),
            is_fragment: header.more_frags() || header.frag_offset() != 0,
        })
    }

    fn parse_ipv6(octets: &'a [u8]) -> Result<Self, Unreadable> {
        let header = Ipv6Packet::new_checked(octets).map_err(|_| Unreadable::Malformed)?;
        Ok(Self {
            octets,
            source: header.src_addr().into(),
            destination: header.dst_addr().into(),
            protocol: header.next_header(),
            payload: header.payload(),
            is_fragment: false,
        })
    }
}

/// Makes a packet; `fill` writes its payload of `payload_len` octets. Both addresses must be of the same family.
pub(super) fn encode(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    payload_len: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let header = IpRepr::new(source.into(), destination.into(), protocol, payload_len, HOP_LIMIT);
    let mut octets = vec![0; header.buffer_len()];
    header.emit(&mut octets[..], &ChecksumCapabilities::default());
    fill(&mut octets[header.header_len()..]);
    octets
}

/// The destination of a well-formed packet.
pub(super) fn destination(packet: &[u8]) -> IpAddr {
    if is_ipv6(packet) {
        Ipv6Packet::new_unchecked(packet).dst_addr().into()
    } else {
        Ipv4Packet::new_unchecked(packet).dst_addr().into()
    }
}

/// Whether `octets` have the version of an IPv6 packet.
pub(super) fn is_ipv6(octets: &[u8]) -> bool {
    octets.first().is_some_and(|first| first >> 4 == 6)
}

/// The length of the IP header of a packet to `address`, in octets, without options.
pub(super) fn header_len(address: IpAddr) -> usize {
    if address.is_ipv4() { IPV4_HEADER_LEN } else { IPV6_HEADER_LEN }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const FAMILIES: [(IpAddr, IpAddr); 2] = [
        (IpAddr::V4(Ipv4Addr::new(192, 168, 1, 1)), IpAddr::V4(Ipv4Addr::new(192, 168, 1, 2))),
        (
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)),
        ),
    ];

    #[test]
    fn what_was_encoded_is_read_again_and_padding_is_ignored() {
        for (source, other) in FAMILIES {
            let mut octets = encode(source, other, IpProtocol::Udp, 9, |payload| payload.fill(7));
            octets.extend([1; 6]);
            let packet = Packet::parse(&octets).expect("well-formed");
            assert_eq!((packet.source, packet.destination), (source, other));
            assert_eq!((packet.protocol, packet.payload), (IpProtocol::Udp, &[7; 9][..]));
            assert_eq!((destination(&octets), packet.is_fragment), (other, false));
            assert_eq!(octets.len(), header_len(other) + 9 + 6);
        }
    }

    #[test]
    fn what_is_cut_off_or_of_no_family_is_malformed() {
        for (source, other) in FAMILIES {
            let octets = encode(source, other, IpProtocol::Tcp, 20, |_| ());
            for len in 0..octets.len() {
                assert_eq!(Packet::parse(&octets[..len]).err(), Some(Unreadable::Malformed), "{len}");
            }
            let mut strange = octets;
            strange[0] = 0x55;
            assert_eq!(Packet::parse(&strange).err(), Some(Unreadable::Malformed));
        }
    }
}
