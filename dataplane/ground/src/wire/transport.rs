//! The checksums of TCP, UDP and ICMP: their offsets and what they cover.

use core::net::Ipv4Addr;

use super::Malformed;
use super::checksum::{self, Sum};
use super::protocol::Protocol;
use super::{icmpv4, ipv4, tcp, udp};

/// The offset of the checksum in the payload of a packet of `protocol`; `None` if that is not known.
#[inline]
pub const fn checksum_offset(protocol: Protocol) -> Option<usize> {
    match protocol {
        Protocol::TCP => Some(tcp::Header::CHECKSUM_OFFSET),
        Protocol::UDP => Some(udp::Header::CHECKSUM_OFFSET),
        Protocol::ICMP => Some(icmpv4::Header::CHECKSUM_OFFSET),
        _ => None,
    }
}

/// Whether the checksum of `payload`, the whole one of the packet with `header`, is right.
///
/// It counts as right where there is none: in a UDP datagram sent without one, and in another protocol. Octets behind
/// a UDP datagram in the packet are ignored.
pub fn is_checksum_valid(header: &ipv4::Header, payload: &[u8]) -> bool {
    match header.protocol {
        Protocol::ICMP => checksum::is_valid(payload),
        Protocol::TCP => is_valid_with_pseudo_header(header, payload),
        Protocol::UDP => udp::Header::parse(payload).is_ok_and(|datagram| {
            let bytes = payload.get(..usize::from(datagram.len)).unwrap_or_default();
            datagram.checksum == 0 || is_valid_with_pseudo_header(header, bytes)
        }),
        _ => true,
    }
}

fn is_valid_with_pseudo_header(header: &ipv4::Header, bytes: &[u8]) -> bool {
    pseudo_header(header.source, header.destination, header.protocol, bytes).add_bytes(bytes).is_valid()
}

/// Computes the checksum of `payload`, a whole TCP segment, UDP datagram or ICMP message, and writes it.
///
/// # Errors
///
/// [`Malformed::Truncated`] if there is no room for the checksum; [`Malformed::Unsupported`] if the
/// position of the protocol's checksum is not known.
pub fn fill_checksum(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: Protocol,
    payload: &mut [u8],
) -> Result<(), Malformed> {
    let offset = checksum_offset(protocol).ok_or(Malformed::Unsupported)?;
    payload.get_mut(offset..offset + 2).ok_or(Malformed::Truncated)?.fill(0);
    let computed = match protocol {
        Protocol::ICMP => checksum::of(payload),
        _ => pseudo_header(source, destination, protocol, payload).add_bytes(payload).checksum(),
    };
    let sent = if protocol == Protocol::UDP { udp::nonzero(computed) } else { computed };
    payload.get_mut(offset..offset + 2).ok_or(Malformed::Truncated)?.copy_from_slice(&sent.to_be_bytes());
    Ok(())
}

/// The sum of the pseudo-header of `bytes`, which must not be longer than a packet.
fn pseudo_header(source: Ipv4Addr, destination: Ipv4Addr, protocol: Protocol, bytes: &[u8]) -> Sum {
    Sum::default().add_pseudo_header(source, destination, protocol, bytes.len() as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
    const DESTINATION: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);

    fn filled(protocol: Protocol, mut payload: Vec<u8>) -> (ipv4::Header, Vec<u8>) {
        fill_checksum(SOURCE, DESTINATION, protocol, &mut payload).expect("room");
        (ipv4::Header::new(SOURCE, DESTINATION, protocol, payload.len() as u16), payload)
    }

    #[test]
    fn a_damaged_payload_is_found() {
        for (protocol, len) in [(Protocol::TCP, 20), (Protocol::UDP, 13), (Protocol::ICMP, 8)] {
            let mut payload = vec![0x50; len];
            payload[4..6].copy_from_slice(&(len as u16).to_be_bytes());
            let (header, mut payload) = filled(protocol, payload);
            assert!(is_checksum_valid(&header, &payload), "{protocol}");
            payload[0] ^= 1;
            assert!(!is_checksum_valid(&header, &payload), "{protocol}");
        }
    }

    /// RFC 768: A datagram without a checksum is taken as it is.
    #[test]
    fn rfc768_a_datagram_without_a_checksum_is_taken_as_it_is() {
        let datagram = [0, 1, 0, 2, 0, 9, 0, 0, 0x55];
        let header = ipv4::Header::new(SOURCE, DESTINATION, Protocol::UDP, 9);
        assert!(is_checksum_valid(&header, &datagram));
        assert!(!is_checksum_valid(&header, &datagram[..8]), "shorter than it says");
    }

    #[test]
    fn what_is_too_short_or_unknown_is_refused() {
        for (protocol, len) in [(Protocol::TCP, 17), (Protocol::UDP, 7), (Protocol::ICMP, 3)] {
            let filled = fill_checksum(SOURCE, DESTINATION, protocol, &mut vec![0; len]);
            assert_eq!(filled, Err(Malformed::Truncated), "{protocol}");
        }
        let filled = fill_checksum(SOURCE, DESTINATION, Protocol(132), &mut [0; 20]);
        assert_eq!(filled, Err(Malformed::Unsupported));
    }

    proptest! {
        #[test]
        fn agrees_with_etherparse(ports: [u16; 2], data in prop::collection::vec(any::<u8>(), 0..100)) {
            let reference = etherparse::UdpHeader::without_ipv4_checksum(ports[0], ports[1], data.len())
                .expect("short");
            let sum = reference.calc_checksum_ipv4_raw(SOURCE.octets(), DESTINATION.octets(), &data);
            let (_, datagram) = filled(Protocol::UDP, [&reference.to_bytes()[..], &data].concat());
            prop_assert_eq!(udp::Header::parse(&datagram).map(|header| header.checksum), sum.map_err(|_| Malformed::Length));

            let reference = etherparse::TcpHeader::new(ports[0], ports[1], 1, 2);
            let sum = reference.calc_checksum_ipv4_raw(SOURCE.octets(), DESTINATION.octets(), &data);
            let (_, segment) = filled(Protocol::TCP, [&reference.to_bytes()[..], &data].concat());
            prop_assert_eq!(Ok(u16::from_be_bytes([segment[16], segment[17]])), sum.map_err(|_| Malformed::Length));
            let header = tcp::Header::parse(&segment).expect("valid");
            prop_assert_eq!([header.source_port, header.destination_port], ports);
            prop_assert_eq!(usize::from(header.payload_len), data.len());
        }
    }
}
