//! Packets from the checkers' view: parsed with etherparse, not with the product's codecs.
//!
//! ```
//! use gatepost_sim::packet::{Content, Packet};
//!
//! // 192.168.1.9 asks for the hardware address of 192.168.1.1.
//! let frame = [
//!     &[0xff; 6][..], &[2, 0, 0, 0, 0, 9], &[8, 6],
//!     &[0, 1, 8, 0, 6, 4, 0, 1], &[2, 0, 0, 0, 0, 9], &[192, 168, 1, 9], &[0; 6], &[192, 168, 1, 1],
//! ].concat();
//! let packet = Packet::parse(&frame).expect("a whole frame");
//! assert!(matches!(packet.content, Content::Arp { target, is_request: true, .. } if target.octets() == [192, 168, 1, 1]));
//! assert_eq!(Packet::parse(&frame[..9]), None);
//! ```

use std::hash::Hasher;
use std::net::Ipv4Addr;
use std::ops::Range;

use dhcproto::{Decodable, Decoder, v4};
use etherparse::{
    ArpOperation, ArpPacketSlice, IpNumber, Ipv4HeaderSlice, Ipv4Slice, LaxSlicedPacket, LinkSlice, NetSlice,
    SlicedPacket, TransportSlice,
};
use gatepost_ground::MacAddr;
use siphasher::sip::SipHasher13;

/// An Ethernet frame, as far as the checkers care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The source MAC.
    pub source_mac: MacAddr,
    /// The destination MAC.
    pub destination_mac: MacAddr,
    /// The payload.
    pub content: Content,
}

/// What a frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// ARP for IPv4.
    Arp {
        /// The sender's protocol address.
        sender: Ipv4Addr,
        /// The target's protocol address.
        target: Ipv4Addr,
        /// Whether it asks.
        is_request: bool,
    },
    /// An IPv4 packet.
    Ipv4(Ipv4),
    /// Anything else.
    Other,
}

/// An IPv4 packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// The source address.
    pub source: Ipv4Addr,
    /// The destination address.
    pub destination: Ipv4Addr,
    /// The time to live.
    pub ttl: u8,
    /// The transport header.
    pub transport: Transport,
    /// A hash of what NAT does not change: the datagram or message, a segment's sequence numbers, or a fragment
    /// without its ports.
    pub content: u64,
    /// Its first octets, [`BEGINNING_LEN_MAX`] at most.
    pub beginning: Vec<u8>,
}

/// How many octets [`Ipv4::beginning`] has at most.
pub const BEGINNING_LEN_MAX: usize = 128;
/// The TTL of the gateway's own packets on its segments. All hosts send with it, so that a packet that the gateway
/// forwards has a smaller one.
const OWN_TTL: u8 = 64;

impl Ipv4 {
    /// The source and destination port of the UDP datagram of which this is the first fragment.
    pub fn fragmented_udp_ports(&self) -> Option<(u16, u16)> {
        let header = Ipv4HeaderSlice::from_slice(&self.beginning).ok()?;
        let datagram = self.beginning.get(header.slice().len()..)?;
        let is_first = header.is_fragmenting_payload() && header.fragments_offset().value() == 0;
        let [s0, s1, d0, d1, ..] = *datagram else { return None };
        let is_udp = header.protocol() == IpNumber::UDP;
        (is_first && is_udp).then_some((u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])))
    }

    /// Whether it is a TCP reset of the gateway's own, where it comes from the gateway and not from a bridged host.
    pub fn is_own_reset(&self) -> bool {
        self.ttl == OWN_TTL && matches!(self.transport, Transport::Tcp { is_reset: true, .. })
    }
}

/// What an IPv4 packet carries. A fragment is [`Transport::Other`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp {
        /// The sender's port.
        source_port: u16,
        /// The receiver's port.
        destination_port: u16,
        /// The number of its first octet.
        sequence: u32,
        /// The number that its sender waits for, if it acknowledges.
        acknowledgment: Option<u32>,
        /// SYN without ACK.
        is_opening: bool,
        /// SYN with ACK.
        is_accepting: bool,
        /// FIN.
        is_closing: bool,
        /// RST.
        is_reset: bool,
        /// The octets.
        payload: Vec<u8>,
        /// Whether the checksum is right.
        checksum_ok: bool,
    },
    /// UDP.
    Udp {
        /// The sender's port.
        source_port: u16,
        /// The receiver's port.
        destination_port: u16,
        /// The datagram.
        payload: Vec<u8>,
        /// Whether the checksum is right, or absent.
        checksum_ok: bool,
    },
    /// An ICMP echo request or reply.
    Echo {
        /// Its identifier.
        id: u16,
        /// Whether it is a reply.
        is_reply: bool,
    },
    /// An ICMP error.
    IcmpError {
        /// The packet it is about, as far as it is quoted.
        about: Option<Quoted>,
    },
    /// Anything else.
    Other,
}

impl Transport {
    /// The number after the last octet of a TCP segment, SYN and FIN included. `None` for anything else.
    pub fn end(&self) -> Option<u32> {
        let Self::Tcp { sequence, is_opening, is_accepting, is_closing, payload, .. } = self else {
            return None;
        };
        let flags = u32::from(*is_opening || *is_accepting) + u32::from(*is_closing);
        let octets = u32::try_from(payload.len()).ok()?;
        Some(sequence.wrapping_add(octets).wrapping_add(flags))
    }
}

/// The packet that an ICMP error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// From where it came.
    pub source: Ipv4Addr,
    /// Where it went.
    pub destination: Ipv4Addr,
    /// All that is quoted of it, from its header on.
    pub octets: Vec<u8>,
}

const DESTINATION_UNREACHABLE: u8 = 3;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;

impl Packet {
    /// Reads a frame; `None` if it is no whole Ethernet frame with what its headers promise.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let sliced = SlicedPacket::from_ethernet(frame).ok()?;
        let Some(LinkSlice::Ethernet2(ethernet)) = &sliced.link else { return None };
        let content = match &sliced.net {
            Some(NetSlice::Arp(arp)) => read_arp(arp),
            Some(NetSlice::Ipv4(ip)) => Content::Ipv4(Ipv4 {
                source: ip.header().source_addr(),
                destination: ip.header().destination_addr(),
                ttl: ip.header().ttl(),
                transport: if ip.is_payload_fragmented() {
                    Transport::Other
                } else {
                    sliced.transport.as_ref().map_or(Transport::Other, |transport| {
                        read_transport(transport, ip.header().source(), ip.header().destination())
                    })
                },
                content: match &sliced.transport {
                    Some(transport) if !ip.is_payload_fragmented() => content_of(transport),
                    _ => content_of_other(ip),
                },
                beginning: {
                    let octets = ip.header().slice().iter().chain(ip.payload().payload);
                    octets.copied().take(BEGINNING_LEN_MAX).collect()
                },
            }),
            _ => Content::Other,
        };
        Some(Self {
            source_mac: MacAddr(ethernet.source()),
            destination_mac: MacAddr(ethernet.destination()),
            content,
        })
    }

    /// The IPv4 packet in it.
    pub fn ipv4(&self) -> Option<&Ipv4> {
        match &self.content {
            Content::Ipv4(packet) => Some(packet),
            _ => None,
        }
    }

    /// The datagram in it from one UDP port to another.
    pub fn udp(&self) -> Option<(&Ipv4, u16, u16, &[u8])> {
        let ip = self.ipv4()?;
        match &ip.transport {
            Transport::Udp { source_port, destination_port, payload, .. } => {
                Some((ip, *source_port, *destination_port, payload))
            }
            _ => None,
        }
    }
}

fn read_arp(arp: &ArpPacketSlice<'_>) -> Content {
    let address = |octets: &[u8]| <[u8; 4]>::try_from(octets).ok().map(Ipv4Addr::from);
    match (address(arp.sender_protocol_addr()), address(arp.target_protocol_addr())) {
        (Some(sender), Some(target)) => {
            Content::Arp { sender, target, is_request: arp.operation() == ArpOperation::REQUEST }
        }
        _ => Content::Other,
    }
}

fn read_transport(transport: &TransportSlice<'_>, source: [u8; 4], destination: [u8; 4]) -> Transport {
    match transport {
        TransportSlice::Tcp(tcp) => Transport::Tcp {
            source_port: tcp.source_port(),
            destination_port: tcp.destination_port(),
            sequence: tcp.sequence_number(),
            acknowledgment: tcp.ack().then(|| tcp.acknowledgment_number()),
            is_opening: tcp.syn() && !tcp.ack(),
            is_accepting: tcp.syn() && tcp.ack(),
            is_closing: tcp.fin(),
            is_reset: tcp.rst(),
            payload: tcp.payload().to_vec(),
            checksum_ok: tcp.calc_checksum_ipv4(source, destination) == Ok(tcp.checksum()),
        },
        TransportSlice::Udp(udp) => Transport::Udp {
            source_port: udp.source_port(),
            destination_port: udp.destination_port(),
            payload: udp.payload().to_vec(),
            checksum_ok: udp.checksum() == 0
                || udp.to_header().calc_checksum_ipv4_raw(source, destination, udp.payload())
                    == Ok(udp.checksum()),
        },
        TransportSlice::Icmpv4(icmp) => match icmp.type_u8() {
            ECHO_REPLY | ECHO_REQUEST => {
                let [id_high, id_low, ..] = icmp.bytes5to8();
                let is_reply = icmp.type_u8() == ECHO_REPLY;
                Transport::Echo { id: u16::from_be_bytes([id_high, id_low]), is_reply }
            }
            DESTINATION_UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM => {
                Transport::IcmpError { about: read_quoted(icmp.payload()) }
            }
            _ => Transport::Other,
        },
        _ => Transport::Other,
    }
}

fn content_of(transport: &TransportSlice<'_>) -> u64 {
    let mut hasher = SipHasher13::new();
    match transport {
        TransportSlice::Tcp(tcp) => {
            hasher.write_u32(tcp.sequence_number());
            hasher.write_u32(tcp.acknowledgment_number());
            hasher.write_usize(tcp.payload().len());
        }
        TransportSlice::Udp(udp) => hasher.write(udp.payload()),
        TransportSlice::Icmpv4(icmp) => {
            hasher.write(&[icmp.type_u8(), icmp.code_u8()]);
            let is_error =
                matches!(icmp.type_u8(), DESTINATION_UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM);
            if is_error {
                hasher.write(&icmp.bytes5to8());
                hash_quoted(&mut hasher, icmp.payload());
            } else {
                // The identifier is NAT's, the sequence number the sender's.
                hasher.write(&icmp.bytes5to8()[2..]);
                hasher.write(icmp.payload());
            }
        }
        TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_) => {}
    }
    hasher.finish()
}

/// The content of a fragment, or of a packet of no transport that is known.
fn content_of_other(ip: &Ipv4Slice<'_>) -> u64 {
    let (header, payload) = (ip.header(), ip.payload().payload);
    let mut hasher = SipHasher13::new();
    hasher.write_u8(header.protocol().0);
    hasher.write_u16(header.fragments_offset().value());
    hasher.write_u8(header.more_fragments().into());
    if header.fragments_offset().value() == 0 {
        hash_transport(&mut hasher, header.protocol(), payload);
    } else {
        hasher.write(payload);
    }
    hasher.finish()
}

/// What NAT leaves as it is of a packet that an ICMP error quotes.
fn hash_quoted(hasher: &mut SipHasher13, packet: &[u8]) {
    let Ok(header) = Ipv4HeaderSlice::from_slice(packet) else { return hasher.write(packet) };
    hasher.write_u16(header.total_len());
    hasher.write_u8(header.ttl());
    hash_transport(hasher, header.protocol(), &packet[header.slice().len()..]);
}

/// Hashes what NAT does not change of a transport header and payload: all but ports, identifiers, checksums, and a
/// segment's options.
fn hash_transport(hasher: &mut SipHasher13, protocol: IpNumber, payload: &[u8]) {
    let kept: [Range<usize>; 2] = match protocol {
        IpNumber::TCP => [4..16, 16..16],
        IpNumber::UDP => [4..6, 8..usize::MAX],
        IpNumber::ICMP => [0..2, 6..usize::MAX],
        _ => [0..usize::MAX, 0..0],
    };
    for Range { start, end } in kept {
        hasher.write(payload.get(start..payload.len().min(end)).unwrap_or_default());
    }
}

fn read_quoted(packet: &[u8]) -> Option<Quoted> {
    let sliced = LaxSlicedPacket::from_ip(packet).ok()?;
    let etherparse::LaxNetSlice::Ipv4(ip) = sliced.net? else { return None };
    Some(Quoted {
        source: ip.header().source_addr(),
        destination: ip.header().destination_addr(),
        octets: packet.to_vec(),
    })
}

/// The UDP port of DHCP servers. (RFC 2131, section 4.1)
pub const DHCP_SERVER_PORT: u16 = 67;
/// The UDP port of DHCP clients. (RFC 2131, section 4.1)
pub const DHCP_CLIENT_PORT: u16 = 68;

/// The octets of a hardware address in a DHCP message. (RFC 2131, section 2)
const CHADDR_LEN: usize = 16;

/// What a message has before its options, and where. (RFC 2131, section 3)
const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];
const MAGIC_COOKIE_AT: usize = 236;

/// The DHCP message that a datagram holds. One that claims a longer hardware address than there is room for is none:
/// dhcproto panics when asked for it. It panics over options, too, that no message has but some other datagrams seem
/// to.
pub fn dhcp_message(payload: &[u8]) -> Option<v4::Message> {
    if !payload.get(MAGIC_COOKIE_AT..)?.starts_with(&MAGIC_COOKIE) {
        return None;
    }
    let message = v4::Message::decode(&mut Decoder::new(payload)).ok()?;
    (usize::from(message.hlen()) <= CHADDR_LEN).then_some(message)
}

/// The server that a DHCP message names as its sender or its receiver (option 54).
pub fn dhcp_server_identifier(message: &v4::Message) -> Option<Ipv4Addr> {
    match message.opts().get(v4::OptionCode::ServerIdentifier) {
        Some(v4::DhcpOption::ServerIdentifier(server)) => Some(*server),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use dhcproto::Encodable;
    use etherparse::PacketBuilder;

    use super::*;

    #[test]
    fn a_datagram_is_read_and_a_wrong_bit_noticed() {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(1000, 53)
            .write(&mut frame, b"question")
            .unwrap();
        let checksum_ok = |frame: &[u8]| match Packet::parse(frame).unwrap().ipv4().unwrap().transport {
            Transport::Udp { checksum_ok, .. } => checksum_ok,
            _ => panic!("UDP"),
        };
        let packet = Packet::parse(&frame).unwrap();
        let (ip, from, to, payload) = packet.udp().unwrap();
        assert_eq!((ip.source.octets(), from, to, payload), ([10, 0, 0, 1], 1000, 53, &b"question"[..]));
        assert!(checksum_ok(&frame));
        *frame.last_mut().unwrap() ^= 1;
        assert!(!checksum_ok(&frame));
    }

    #[test]
    fn a_dhcp_message_whose_hardware_address_is_too_long_is_none() {
        let mut octets = v4::Message::default().set_chaddr(&[2; 6]).to_vec().unwrap();
        assert_eq!(dhcp_message(&octets).map(|message| message.chaddr().to_vec()), Some(vec![2; 6]));
        octets[2] = 22;
        assert!(dhcp_message(&octets).is_none());
        // The option BulkLeaseQueryBaseTime with a wrong length, in what is no message of DHCP.
        assert!(dhcp_message(&[&[0; MAGIC_COOKIE_AT + 4][..], &[152, 9]].concat()).is_none());
    }
}
