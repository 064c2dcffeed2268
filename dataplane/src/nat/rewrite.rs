//! Rewriting the packets of a flow.

use core::net::Ipv4Addr;

use gatepost_ground::wire::checksum::Delta;
use gatepost_ground::wire::{Protocol, icmpv4, ipv4, tcp, udp};

use crate::key::Endpoint;

/// The translation of one direction's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation<A = Ipv4Addr> {
    /// The packets' new source.
    pub source: Endpoint<A>,
    /// The packets' new destination.
    pub destination: Endpoint<A>,
    /// The change to the IP header's checksum.
    pub ip_delta: Delta,
    /// The change to the checksum of TCP, UDP or the ICMP query.
    pub transport_delta: Delta,
}

/// What the checksum of a packet's transport header covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// The pseudo-header, the header and the data.
    Whole,
    /// The pseudo-header only; a network device adds the rest.
    PseudoHeader,
}

/// Gives the IPv4 `packet` with `header` the addresses, ports and checksums of its flow. A fragment
/// other than the first has only addresses.
///
/// Of a truncated packet, as in an ICMP error, the existing part is rewritten.
#[inline]
pub fn packet(packet: &mut [u8], header: &ipv4::Header, coverage: Coverage, translation: &Translation) {
    let (source, destination) = (translation.source, translation.destination);
    if let Ok(mut ip) = ipv4::HeaderMut::new(packet) {
        ip.set_addresses(source.address, destination.address, translation.ip_delta);
    }
    if !header.has_transport_header() {
        return;
    }
    let payload = header.payload_mut(packet);
    match header.protocol {
        Protocol::TCP => {
            if let Ok(mut segment) = tcp::HeaderMut::new(payload) {
                match coverage {
                    Coverage::Whole => {
                        segment.set_ports(source.port, destination.port, translation.transport_delta);
                    }
                    Coverage::PseudoHeader => {
                        segment.set_ports_partial(source.port, destination.port, translation.ip_delta);
                    }
                }
            }
        }
        Protocol::UDP => {
            if let Ok(mut datagram) = udp::HeaderMut::new(payload) {
                match coverage {
                    Coverage::Whole => {
                        datagram.set_ports(source.port, destination.port, translation.transport_delta);
                    }
                    Coverage::PseudoHeader => {
                        datagram.set_ports_partial(source.port, destination.port, translation.ip_delta);
                    }
                }
            }
        }
        _ => {
            let is_query = icmpv4::Header::parse(payload).is_ok_and(|message| message.kind.is_query());
            if let Ok(mut message) = icmpv4::HeaderMut::new(payload) {
                message.set_identifier(if is_query { source.port } else { destination.port });
            }
        }
    }
}

/// Undoes the rewriting of a packet, given the `translation` of its flow's replies.
pub fn undo(bytes: &mut [u8], header: &ipv4::Header, translation: &Translation) {
    // The checksum does not depend on the order of addresses: the reply's destination adds the same to it as the
    // packet's source.
    let inverse =
        Translation { source: translation.destination, destination: translation.source, ..*translation };
    packet(bytes, header, Coverage::Whole, &inverse);
}

#[cfg(test)]
mod tests {
    use gatepost_ground::wire::transport::{fill_checksum, is_checksum_valid};
    use proptest::prelude::*;

    use super::*;

    fn whole_packet(protocol: Protocol, addresses: [u32; 2], mut payload: Vec<u8>) -> Vec<u8> {
        let len = payload.len() as u16;
        match protocol {
            Protocol::UDP => payload[4..6].copy_from_slice(&len.to_be_bytes()),
            Protocol::ICMP => payload[0] = icmpv4::Type::ECHO_REQUEST.0,
            _ => payload[12] = 0x50,
        }
        let [source, destination] = addresses.map(Ipv4Addr::from_bits);
        fill_checksum(source, destination, protocol, &mut payload).expect("room");
        let header = ipv4::Header::new(source, destination, protocol, len);
        let mut packet = vec![0; 20];
        header.write(&mut packet).expect("room");
        packet.extend(payload);
        packet
    }

    fn translation(header: &ipv4::Header, packet: &[u8], to: [Endpoint; 2]) -> Translation {
        let [source, destination] = to;
        let ip_delta = Delta::NONE
            .replace_addr(header.source, source.address)
            .replace_addr(header.destination, destination.address);
        let port = |at: usize| u16::from_be_bytes([packet[20 + at], packet[21 + at]]);
        let transport_delta =
            ip_delta.replace_u16(port(0), source.port).replace_u16(port(2), destination.port);
        Translation { source, destination, ip_delta, transport_delta }
    }

    proptest! {
        #[test]
        fn checksums_stay_right(
            protocol in prop::sample::select(vec![Protocol::TCP, Protocol::UDP, Protocol::ICMP]),
            addresses: [u32; 2],
            to: [(u32, u16); 2],
            payload in prop::collection::vec(any::<u8>(), 20..80),
        ) {
            let original = whole_packet(protocol, addresses, payload);
            let header = ipv4::Header::parse(&original).expect("valid");
            let to = to.map(|(address, port)| Endpoint::new(Ipv4Addr::from_bits(address), port));
            let translation = translation(&header, &original, to);
            let mut bytes = original.clone();
            packet(&mut bytes, &header, Coverage::Whole, &translation);

            let rewritten = ipv4::Header::parse(&bytes).expect("its checksum is right");
            prop_assert_eq!((rewritten.source, rewritten.destination), (to[0].address, to[1].address));
            prop_assert!(is_checksum_valid(&rewritten, rewritten.payload(&bytes)));
            let port = |at: usize| u16::from_be_bytes([bytes[20 + at], bytes[21 + at]]);
            if protocol == Protocol::ICMP {
                prop_assert_eq!(port(4), to[0].port);
            } else {
                prop_assert_eq!([port(0), port(2)], to.map(|endpoint| endpoint.port));
            }
        }

        #[test]
        fn a_later_fragment_has_no_ports(payload in prop::collection::vec(any::<u8>(), 24..=24)) {
            let original = whole_packet(Protocol::UDP, [1, 2], payload);
            let header = ipv4::Header { fragment_offset: 8, ..ipv4::Header::parse(&original).expect("valid") };
            let to = [Endpoint::new(Ipv4Addr::from_bits(3), 3), Endpoint::new(Ipv4Addr::from_bits(4), 4)];
            let mut bytes = original.clone();
            packet(&mut bytes, &header, Coverage::Whole, &translation(&header, &original, to));
            prop_assert_eq!(&bytes[20..], &original[20..]);
        }
    }
}
