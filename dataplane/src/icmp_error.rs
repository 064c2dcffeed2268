//! ICMP errors that the gateway sends. (RFC 792; RFC 1812, section 4.3)

use core::fmt;
use core::net::Ipv4Addr;

use gatepost_ground::wire::icmpv4::{self, Type};
use gatepost_ground::wire::ipv4::{self, AddressKind};
use gatepost_ground::wire::{Malformed, Protocol, ethernet, transport};
use gatepost_ground::{Frame, MacAddr, Offload};

/// An ICMP error about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// 3/0: there is no route.
    NetUnreachable,
    /// 3/1: the next hop does not answer ARP.
    HostUnreachable,
    /// 3/2: the gateway does not support the protocol.
    ProtocolUnreachable,
    /// 3/3: no socket listens on the port.
    PortUnreachable,
    /// 3/4: the packet is too big and must not be fragmented.
    FragmentationNeeded {
        /// The largest IP packet that would have passed, in octets. (RFC 1191, section 4)
        mtu: u16,
    },
    /// 3/13: the policy forbids the packet, or a table is full. (RFC 5508, REQ-8)
    AdministrativelyProhibited,
    /// 11/0: the packet's time to live ended at the gateway.
    TtlExceeded,
}

/// The largest error, in octets of the IP packet. (RFC 1812, section 4.3.2.3)
const PACKET_LEN_MAX: usize = 576;
const HEADERS_LEN: usize = ipv4::Header::LEN_MIN + icmpv4::Header::LEN;
/// The DS field of an error: class selector 6, which was the precedence "internetwork control". (RFC 1812, section
/// 4.3.2.5; RFC 2474, section 4.2.2.2)
const DS_FIELD: u8 = 6 << 5;

impl IcmpError {
    /// Writes an IPv4 packet with the error about the datagram `original` to the beginning of `packet`, and returns its
    /// size in octets: at most 576, with as much of the original datagram as fits.
    ///
    /// `source` is the gateway's address on the interface that the error leaves by (RFC 1812, section 4.3.2.4). The
    /// original datagram must be unchanged since it was received; an Ethernet frame's padding may follow it, and its
    /// end may be missing. Check [`may_answer`] first.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if `original` is no IPv4 packet; [`Malformed::Truncated`] if there is no room.
    pub fn write(self, packet: &mut [u8], source: Ipv4Addr, original: &[u8]) -> Result<usize, Malformed> {
        let header_of_original = ipv4::Header::parse_embedded(original)?;
        let quoted_len =
            usize::from(header_of_original.total_len).min(original.len()).min(PACKET_LEN_MAX - HEADERS_LEN);
        let len = HEADERS_LEN + quoted_len;
        let packet = packet.get_mut(..len).ok_or(Malformed::Truncated)?;
        let (head, quoted) = packet.split_at_mut(HEADERS_LEN);
        quoted.copy_from_slice(&original[..quoted_len]);

        let message_len = icmpv4::Header::LEN + quoted_len;
        let header = ipv4::Header {
            ds_field: DS_FIELD,
            dont_fragment: true,
            ..ipv4::Header::new(source, header_of_original.source, Protocol::ICMP, message_len as u16)
        };
        header.write(head)?;
        self.header().write(&mut head[ipv4::Header::LEN_MIN..])?;
        let message = &mut packet[ipv4::Header::LEN_MIN..];
        transport::fill_checksum(header.source, header.destination, Protocol::ICMP, message)?;
        Ok(len)
    }

    fn header(self) -> icmpv4::Header {
        let mut rest = [0; 4];
        if let Self::FragmentationNeeded { mtu } = self {
            rest[2..4].copy_from_slice(&mtu.to_be_bytes());
        }
        let (kind, code) = self.kind_and_code();
        icmpv4::Header { kind, code, checksum: 0, rest }
    }

    /// The type and the code.
    pub const fn kind_and_code(self) -> (Type, u8) {
        match self {
            Self::NetUnreachable => (Type::DESTINATION_UNREACHABLE, 0),
            Self::HostUnreachable => (Type::DESTINATION_UNREACHABLE, 1),
            Self::ProtocolUnreachable => (Type::DESTINATION_UNREACHABLE, 2),
            Self::PortUnreachable => (Type::DESTINATION_UNREACHABLE, 3),
            Self::FragmentationNeeded { .. } => (Type::DESTINATION_UNREACHABLE, 4),
            Self::AdministrativelyProhibited => (Type::DESTINATION_UNREACHABLE, 13),
            Self::TtlExceeded => (Type::TIME_EXCEEDED, 0),
        }
    }
}

impl fmt::Display for IcmpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, code) = self.kind_and_code();
        write!(f, "ICMP {}/{code}", kind.0)
    }
}

/// The most octets of a frame that an error needs of the original datagram, link header included.
pub(crate) const ORIGINAL_LEN_MAX: usize = ethernet::Header::LEN + PACKET_LEN_MAX;

/// The packet in `frame` as a host on the wire would see it. If the frame has offloads, `buffer` gets the beginning
/// of the first packet that a network device would make of it.
pub(crate) fn original_datagram<'a>(frame: &'a Frame, buffer: &'a mut [u8; ORIGINAL_LEN_MAX]) -> &'a [u8] {
    let whole = frame.bytes();
    let bytes = match frame.offload() {
        Offload::None | Offload::Verified => whole,
        _ => match frame.segments().next().and_then(|segment| segment.write_beginning(buffer)) {
            Some(len) => &buffer[..len],
            None => whole,
        },
    };
    bytes.get(frame.link_len()..).unwrap_or_default()
}

/// Whether an ICMP error about `packet` may be sent. (RFC 1812, section 4.3.2.7)
///
/// `packet` came in a frame to `link_destination` and has the valid `header`. `is_broadcast` is true of the directed
/// broadcast addresses of the gateway's networks.
pub fn may_answer(
    link_destination: MacAddr,
    header: &ipv4::Header,
    packet: &[u8],
    is_broadcast: impl Fn(Ipv4Addr) -> bool,
) -> bool {
    !link_destination.is_multicast()
        && header.has_transport_header()
        && AddressKind::of(header.source).may_be_source()
        && matches!(AddressKind::of(header.destination), AddressKind::Unicast | AddressKind::LinkLocal)
        && !is_broadcast(header.source)
        && !is_broadcast(header.destination)
        && (header.protocol != Protocol::ICMP || is_query(header.payload(packet)))
}

/// Whether an ICMP error may be about this ICMP message. A message of unknown type may be an error itself.
fn is_query(message: &[u8]) -> bool {
    icmpv4::Header::parse(message).is_ok_and(|header| header.kind.is_query() || header.kind.is_query_reply())
}

#[cfg(test)]
mod tests {
    use gatepost_ground::wire::checksum;
    use proptest::prelude::*;

    use super::*;

    const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
    const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
    const GATEWAY_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn packet(header: ipv4::Header) -> Vec<u8> {
        let mut packet = vec![0x08; usize::from(header.total_len)]; // an echo request, if it is ICMP
        header.write(&mut packet).expect("room");
        packet
    }

    fn udp(len: u16) -> ipv4::Header {
        ipv4::Header::new(HOST, REMOTE, Protocol::UDP, len)
    }

    fn is_broadcast(address: Ipv4Addr) -> bool {
        address == Ipv4Addr::new(192, 168, 1, 255)
    }

    fn answers(header: ipv4::Header) -> bool {
        may_answer(GATEWAY_MAC, &header, &packet(header), is_broadcast)
    }

    /// RFC 1812, section 4.3.2.3: An error quotes what fits into 576 octets.
    #[test]
    fn rfc1812_4_3_2_3_an_error_quotes_what_fits_into_576_octets() {
        for (payload_len, quoted_len) in [(8, 28), (528, 548), (529, 548), (1480, 548)] {
            let mut original = packet(udp(payload_len));
            original.extend([0; 18]); // padding of the frame
            let mut buffer = [0xee; 600];
            let len = IcmpError::TtlExceeded.write(&mut buffer, GATEWAY, &original).expect("room");
            assert_eq!(len, 28 + quoted_len);
            let header = ipv4::Header::parse(&buffer[..len]).expect("valid");
            assert_eq!((header.source, header.destination, header.ds_field), (GATEWAY, HOST, 0xc0));
            let message = header.payload(&buffer);
            assert!(checksum::is_valid(message));
            assert_eq!(message[8..], original[..quoted_len]);
            assert_eq!(buffer[len..], [0xee; 600][len..]);
        }
    }

    /// RFC 1191, section 4: An error names the MTU.
    #[test]
    fn rfc1191_4_an_error_names_the_mtu() {
        let mut buffer = [0; 576];
        let error = IcmpError::FragmentationNeeded { mtu: 1400 };
        error.write(&mut buffer, GATEWAY, &packet(udp(8))).expect("room");
        let message = icmpv4::Header::parse(&buffer[20..]).expect("whole");
        assert_eq!((message.kind, message.code), (Type::DESTINATION_UNREACHABLE, 4));
        assert_eq!(message.next_hop_mtu(), 1400);
        assert_eq!(error.to_string(), "ICMP 3/4");
    }

    #[test]
    fn no_room_and_no_packet_are_refused() {
        let original = packet(udp(8));
        let error = IcmpError::HostUnreachable;
        assert_eq!(error.write(&mut [0; 55], GATEWAY, &original), Err(Malformed::Truncated));
        assert_eq!(error.write(&mut [0; 56], GATEWAY, &original), Ok(56));
        assert_eq!(error.write(&mut [0; 576], GATEWAY, &original[..19]), Err(Malformed::Truncated));
    }

    /// RFC 1812, section 4.3.2.7: No error about an ICMP error.
    #[test]
    fn rfc1812_4_3_2_7_no_error_about_an_icmp_error() {
        let icmp = ipv4::Header::new(HOST, REMOTE, Protocol::ICMP, 8);
        assert!(answers(icmp));
        let mut original = packet(icmp);
        for kind in [3, 4, 5, 11, 12, 200] {
            original[20] = kind;
            assert!(!may_answer(GATEWAY_MAC, &icmp, &original, is_broadcast), "type {kind}");
        }
    }

    /// RFC 1812, section 4.3.2.7: No error about what was for many.
    #[test]
    fn rfc1812_4_3_2_7_no_error_about_what_was_for_many() {
        assert!(answers(udp(8)));
        for destination in ["255.255.255.255", "224.0.0.251", "192.168.1.255", "240.0.0.1"] {
            let destination = destination.parse().expect("an address");
            assert!(!answers(ipv4::Header { destination, ..udp(8) }), "{destination}");
        }
        for mac in [MacAddr::BROADCAST, MacAddr([1, 0, 0x5e, 0, 0, 1])] {
            assert!(!may_answer(mac, &udp(8), &packet(udp(8)), is_broadcast));
        }
    }

    /// RFC 1812, section 4.3.2.7: No error goes to a source address that names no single host.
    #[test]
    fn rfc1812_4_3_2_7_no_error_to_who_is_nobody() {
        for source in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "192.168.1.255"] {
            let source = source.parse().expect("an address");
            assert!(!answers(ipv4::Header { source, ..udp(8) }), "{source}");
        }
    }

    /// RFC 1812, section 4.3.2.7: No error about a later fragment.
    #[test]
    fn rfc1812_4_3_2_7_no_error_about_a_later_fragment() {
        assert!(answers(ipv4::Header { more_fragments: true, ..udp(8) }));
        assert!(!answers(ipv4::Header { fragment_offset: 8, ..udp(8) }));
    }

    proptest! {
        #[test]
        fn any_offender_is_answered_or_refused(bytes: Vec<u8>, room in 0usize..600) {
            let mut buffer = vec![0; room];
            let _ = IcmpError::NetUnreachable.write(&mut buffer, GATEWAY, &bytes);
        }
    }
}
