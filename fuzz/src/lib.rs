//! What the fuzz targets share: how an input is split into fields, and how frames get the checksums
//! that a fuzzer cannot guess.

pub mod dns;
pub mod http;
pub mod office;
pub mod oracle;

use etherparse::checksum::Sum16BitWords;
use etherparse::{EtherType, Ethernet2Header, SlicedPacket};
use gatepost_ground::wire::{Protocol, checksum, ipv4, transport};

/// An input, read field by field. What is missing at its end reads as zero or as empty.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// The input `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether everything is read.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One octet.
    pub fn u8(&mut self) -> u8 {
        let [octet] = self.array();
        octet
    }

    /// A number of two octets, the higher first.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    /// A time span in microseconds, from one octet: every power of two up to 12 days, or none.
    pub fn micros(&mut self) -> u64 {
        match self.u8() % 41 {
            0 => 0,
            exponent => 1 << exponent,
        }
    }

    /// Octets after their number, which has two octets.
    pub fn chunk(&mut self) -> &'a [u8] {
        let len = usize::from(self.u16()).min(self.0.len());
        let (chunk, rest) = self.0.split_at(len);
        self.0 = rest;
        chunk
    }

    /// All the rest.
    pub const fn rest(self) -> &'a [u8] {
        self.0
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_at(self.0.len().min(N));
        self.0 = rest;
        let mut array = [0; N];
        array[..head.len()].copy_from_slice(head);
        array
    }
}

/// Where an Ethernet frame's payload begins.
pub const PACKET: usize = Ethernet2Header::LEN;

/// Gives the IPv4 packet in `frame`, if it is one, the lengths that it has and right checksums.
pub fn repair(frame: &mut [u8]) {
    if frame.get(12..PACKET) == Some(&EtherType::IPV4.0.to_be_bytes()) {
        repair_packet(&mut frame[PACKET..]);
    }
}

/// As [`repair`], for an IPv4 packet.
pub fn repair_packet(packet: &mut [u8]) {
    let header_len = packet.first().map_or(0, |first| usize::from(first & 0xf) * 4);
    if header_len < ipv4::Header::LEN_MIN || packet.len() < header_len {
        return;
    }
    let total_len = packet.len().min(usize::from(u16::from_be_bytes([packet[2], packet[3]])));
    let total_len = if total_len < header_len { packet.len().min(0xffff) } else { total_len };
    packet[2..4].copy_from_slice(&(total_len as u16).to_be_bytes());
    packet[10..12].fill(0);
    let sum = checksum::of(&packet[..header_len]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    if let Ok(header) = ipv4::Header::parse(packet) {
        let payload = header.payload_mut(packet);
        if header.protocol == Protocol::UDP && payload.len() >= 6 {
            let len = payload.len() as u16;
            payload[4..6].copy_from_slice(&len.to_be_bytes());
        }
        // What has no checksum, or no room for one, needs none.
        let _ = transport::fill_checksum(header.source, header.destination, header.protocol, payload);
    }
}

/// Whether another implementation finds all checksums of the packet in `frame` right.
///
/// A packet without any, or that is cut, or whose header does not parse, has none that are wrong.
pub fn has_right_checksums(frame: &[u8]) -> bool {
    SlicedPacket::from_ethernet(frame).map_or(true, |packet| is_right(&packet))
}

/// As [`has_right_checksums`], for an IPv4 packet.
pub fn has_right_packet_checksums(packet: &[u8]) -> bool {
    SlicedPacket::from_ip(packet).map_or(true, |packet| is_right(&packet))
}

fn is_right(packet: &SlicedPacket<'_>) -> bool {
    use etherparse::{NetSlice::Ipv4, TransportSlice};
    let Some(Ipv4(ip)) = &packet.net else { return true };
    let header = ip.header().to_header();
    if !is_sum_right(ip.header().slice()) {
        return false;
    }
    match &packet.transport {
        _ if header.is_fragmenting_payload() => true,
        Some(TransportSlice::Udp(udp)) => {
            let computed =
                udp.to_header().calc_checksum_ipv4_raw(header.source, header.destination, udp.payload());
            udp.checksum() == 0 || computed == Ok(udp.checksum())
        }
        Some(TransportSlice::Tcp(tcp)) => {
            let computed = tcp.calc_checksum_ipv4(header.source, header.destination);
            computed.ok().is_none_or(|computed| is_same_sum(tcp.checksum(), computed))
        }
        Some(TransportSlice::Icmpv4(icmp)) => is_sum_right(icmp.slice()),
        _ => true,
    }
}

/// Whether another implementation finds the checksum right that stands in `bytes` and covers all of them.
pub fn is_sum_right(bytes: &[u8]) -> bool {
    Sum16BitWords::new().add_slice(bytes).ones_complement() == 0
}

/// Whether two checksums are one number: ones' complement has two zeros.
const fn is_same_sum(a: u16, b: u16) -> bool {
    a % 0xffff == b % 0xffff
}
