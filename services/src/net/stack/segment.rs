//! TCP segments as packets: what was received, and the two that belong to a SYN cookie.

use std::net::SocketAddrV4;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IPV4_HEADER_LEN, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr,
    TcpSeqNumber,
};

use super::HOP_LIMIT;
use super::flow::Tuple;
use super::sequence::segment_size;

/// A received segment, as far as it says whom it concerns.
pub(super) struct Segment<'a> {
    pub(super) packet: &'a [u8],
    pub(super) tcp: TcpPacket<&'a [u8]>,
    /// The gateway's end and the peer's.
    pub(super) tuple: Tuple,
}

/// Why a packet holds no segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSegment {
    /// It is too short, or its lengths cannot be.
    Malformed,
    /// Its checksum is wrong.
    Checksum,
}

impl<'a> Segment<'a> {
    /// What a whole IPv4 packet with TCP in it carries.
    pub(super) fn parse(packet: &Ipv4Packet<&'a [u8]>) -> Result<Self, NoSegment> {
        debug_assert_eq!(packet.next_header(), IpProtocol::Tcp);
        let tcp = TcpPacket::new_checked(packet.payload()).map_err(|_| NoSegment::Malformed)?;
        let (source, destination) = (packet.src_addr(), packet.dst_addr());
        if !tcp.verify_checksum(&IpAddress::Ipv4(source), &IpAddress::Ipv4(destination)) {
            return Err(NoSegment::Checksum);
        }
        let local = SocketAddrV4::new(destination, tcp.dst_port());
        let remote = SocketAddrV4::new(source, tcp.src_port());
        Ok(Self { packet: packet.clone().into_inner(), tcp, tuple: (local, remote) })
    }

    /// Whether it asks for a connection.
    pub(super) fn is_syn(&self) -> bool {
        self.tcp.syn() && !self.tcp.ack() && !self.tcp.rst()
    }

    /// Whether it may be the first of a connection after the SYN.
    pub(super) fn is_acknowledgement(&self) -> bool {
        self.tcp.ack() && !self.tcp.syn() && !self.tcp.rst()
    }

    /// The maximum segment size that a SYN names, in octets.
    pub(super) fn segment_size(&self) -> Option<u16> {
        segment_size(self.tcp.options())
    }
}

/// A SYN that was answered by a cookie, as far as the cookie and the peer's next segment tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Syn {
    /// The peer's initial sequence number.
    pub(super) sequence: u32,
    /// The maximum segment size that the peer may be sent, in octets.
    pub(super) segment_size: u16,
    /// The peer's window, which is not scaled.
    pub(super) window: u16,
}

impl Syn {
    /// The packet that could have brought it from the peer of `tuple`.
    pub(super) fn packet(self, (local, remote): Tuple) -> Vec<u8> {
        let repr = TcpRepr {
            control: TcpControl::Syn,
            seq_number: TcpSeqNumber(self.sequence as i32),
            ack_number: None,
            window_len: self.window,
            max_seg_size: Some(self.segment_size),
            ..empty(remote, local)
        };
        packet(remote, local, &repr)
    }
}

/// The answer to a SYN with the initial sequence number `peer`: the gateway's initial sequence number is `cookie`, its
/// window `window` and the largest segment that it takes has `segment_size` octets. It offers neither window scale nor
/// selective acknowledgement, as the cookie does not say whether the peer did.
pub(super) fn cookie_answer(
    (local, remote): Tuple,
    peer: u32,
    cookie: u32,
    window: u16,
    segment_size: u16,
) -> Vec<u8> {
    let repr = TcpRepr {
        control: TcpControl::Syn,
        seq_number: TcpSeqNumber(cookie as i32),
        ack_number: Some(TcpSeqNumber(peer as i32) + 1),
        window_len: window,
        max_seg_size: Some(segment_size),
        ..empty(local, remote)
    };
    packet(local, remote, &repr)
}

/// A segment without anything in it.
pub(super) fn empty(from: SocketAddrV4, to: SocketAddrV4) -> TcpRepr<'static> {
    TcpRepr {
        src_port: from.port(),
        dst_port: to.port(),
        control: TcpControl::None,
        seq_number: TcpSeqNumber(0),
        ack_number: None,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    }
}

/// The IPv4 packet with `tcp` in it.
pub(super) fn packet(from: SocketAddrV4, to: SocketAddrV4, tcp: &TcpRepr<'_>) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let ip = Ipv4Repr {
        src_addr: *from.ip(),
        dst_addr: *to.ip(),
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: HOP_LIMIT,
    };
    let mut bytes = vec![0; IPV4_HEADER_LEN + tcp.buffer_len()];
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut bytes[..]), &checksums);
    let mut segment = TcpPacket::new_unchecked(&mut bytes[IPV4_HEADER_LEN..]);
    tcp.emit(&mut segment, &IpAddress::Ipv4(*from.ip()), &IpAddress::Ipv4(*to.ip()), &checksums);
    bytes
}
