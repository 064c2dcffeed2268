//! Reading packets: the parsers that the stages share.

use core::net::Ipv4Addr;

use gatepost_ground::wire::ipv4::{Header, HeaderMut};
use gatepost_ground::wire::transport::is_checksum_valid;
use gatepost_ground::wire::{Malformed, Protocol, ethernet, icmpv4, tcp, udp};
use gatepost_ground::{Frame, Offload};

use crate::drop_reason::DropReason;
use crate::flow::{self, Packet, Transport};
use crate::key::{Endpoint, FlowKey};

/// The header of the packet in `frame`.
pub(super) fn parse(frame: &Frame) -> Result<Header, DropReason> {
    match Header::parse(frame.packet()) {
        Ok(header) if header.source_routed => Err(DropReason::SourceRouted),
        Ok(header) => Ok(header),
        Err(malformed) => Err(reason(malformed)),
    }
}

/// Why a packet with such a header is dropped.
pub(super) fn reason(malformed: Malformed) -> DropReason {
    if malformed == Malformed::Checksum { DropReason::Ipv4Checksum } else { DropReason::Ipv4Malformed }
}

/// A packet as NAT sees it.
pub(super) enum Content {
    /// A packet that can belong to a flow.
    Conversation(FlowKey, Packet),
    /// An ICMP error about a packet of a flow.
    Error,
}

/// Parses the packet in `frame` for NAT. The packet is unfragmented or a first fragment.
#[inline]
pub(super) fn content(header: &Header, frame: &Frame) -> Result<Content, DropReason> {
    let payload = header.payload(frame.packet());
    let malformed = |_: Malformed| DropReason::TransportMalformed;
    let (transport, source, destination) = match header.protocol {
        Protocol::UDP => {
            let parse = if header.is_fragment() { udp::Header::parse_fragment } else { udp::Header::parse };
            let datagram = parse(payload).map_err(malformed)?;
            (Transport::Udp, datagram.source_port, datagram.destination_port)
        }
        Protocol::TCP => {
            let segment = tcp::Header::parse(payload).map_err(malformed)?;
            if !segment.flags.is_possible() {
                return Err(DropReason::TcpFlagsInvalid);
            }
            if !segment.has_sound_options(payload) {
                return Err(DropReason::TcpOptionsMalformed);
            }
            let (source, destination) = (segment.source_port, segment.destination_port);
            (
                Transport::Tcp(flow::tcp::TcpSegment::of(&segment, payload, header.is_fragment())),
                source,
                destination,
            )
        }
        Protocol::ICMP => {
            let message = icmpv4::Header::parse(payload).map_err(malformed)?;
            match message.kind {
                kind if kind.is_query() => (Transport::IcmpQuery, message.identifier(), 0),
                kind if kind.is_query_reply() => (Transport::IcmpReply, 0, message.identifier()),
                // Source Quench is deprecated; a Redirect is for the hosts of its own link only.
                // RFC 6633, section 4; RFC 1812, section 5.2.7.2
                icmpv4::Type::SOURCE_QUENCH | icmpv4::Type::REDIRECT => {
                    return Err(DropReason::ProtocolUnsupported);
                }
                kind if kind.is_error() => return Ok(Content::Error),
                _ => return Err(DropReason::ProtocolUnsupported),
            }
        }
        _ => return Err(DropReason::ProtocolUnsupported),
    };
    let key = FlowKey {
        protocol: header.protocol,
        source: Endpoint::new(header.source, source),
        destination: Endpoint::new(header.destination, destination),
    };
    Ok(Content::Conversation(key, Packet { transport, octets: header.total_len }))
}

/// The flow key of a usual packet: unfragmented, without options, TCP or UDP. For any other frame, the result is
/// `None` or a key that is not used.
#[inline]
pub(super) fn likely_key(frame: &Frame) -> Option<FlowKey> {
    let bytes: &[u8; 38] = frame.bytes().first_chunk()?;
    let u16_at = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let address = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
    let protocol = Protocol(bytes[23]);
    let is_usual = u16_at(12) == ethernet::EtherType::IPV4.0
        && bytes[14] == 0x45
        && u16_at(20) & 0x3fff == 0
        && matches!(protocol, Protocol::TCP | Protocol::UDP);
    is_usual.then(|| FlowKey {
        protocol,
        source: Endpoint::new(address(26), u16_at(34)),
        destination: Endpoint::new(address(30), u16_at(36)),
    })
}

/// Verifies the transport checksum of the unfragmented packet in `frame`, unless a network device has verified it or
/// still has to compute it. (RFC 9293, section 3.1; RFC 1122, section 4.1.3.4)
#[inline]
pub(super) fn verify_checksum(header: &Header, frame: &Frame) -> Result<(), DropReason> {
    let payload = header.payload(frame.packet());
    if frame.offload() != Offload::None || is_checksum_valid(header, payload) {
        return Ok(());
    }
    Err(match header.protocol {
        Protocol::TCP => DropReason::TcpChecksum,
        Protocol::UDP => DropReason::UdpChecksum,
        _ => DropReason::IcmpChecksum,
    })
}

/// Whether a packet is an echo request, or the first fragment of one.
pub(super) fn is_echo_request(header: &Header, frame: &Frame) -> bool {
    header.protocol == Protocol::ICMP
        && header.has_transport_header()
        && icmpv4::Header::parse(header.payload(frame.packet()))
            .is_ok_and(|message| message.kind == icmpv4::Type::ECHO_REQUEST)
}

/// Decrements the packet's time to live.
#[inline]
pub(super) fn decrement_ttl(frame: &mut Frame) {
    if let Ok(mut header) = HeaderMut::new(frame.packet_mut()) {
        header.decrement_ttl();
    }
}
