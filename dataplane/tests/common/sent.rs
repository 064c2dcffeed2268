//! The gateway's frames, read by another codec than its own.

use std::net::Ipv4Addr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use gatepost_ground::{MacAddr, PortId};

use super::frames::change_header;

/// A frame that left the gateway by a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub port: PortId,
    pub bytes: Vec<u8>,
}

impl Sent {
    /// Checks lengths and every checksum.
    #[track_caller]
    pub fn verify(&self) {
        let packet = SlicedPacket::from_ethernet(&self.bytes).expect("what the gateway sends can be parsed");
        let Some(NetSlice::Ipv4(ip)) = &packet.net else { return };
        let header = ip.header();
        assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum(), "IPv4 checksum");
        if header.is_fragmenting_payload() {
            return;
        }
        match &packet.transport {
            Some(TransportSlice::Udp(udp)) if udp.checksum() != 0 => {
                let (source, destination) = (header.source(), header.destination());
                let expected =
                    udp.to_header().calc_checksum_ipv4_raw(source, destination, udp.payload()).unwrap();
                assert_eq!(udp.checksum(), expected, "UDP checksum");
            }
            Some(TransportSlice::Tcp(tcp)) => {
                let expected = tcp.calc_checksum_ipv4(header.source(), header.destination()).unwrap();
                assert_eq!(tcp.checksum(), expected, "TCP checksum");
            }
            Some(TransportSlice::Icmpv4(_)) => self.ip().verify_icmp(),
            _ => {}
        }
    }

    pub fn is_ipv4(&self) -> bool {
        self.bytes[12..14] == [8, 0]
    }

    pub fn source_mac(&self) -> MacAddr {
        MacAddr(self.bytes[6..12].try_into().unwrap())
    }

    pub fn destination_mac(&self) -> MacAddr {
        MacAddr(self.bytes[..6].try_into().unwrap())
    }

    /// The IPv4 packet.
    #[track_caller]
    pub fn ip(&self) -> Ip<'_> {
        Ip(&self.bytes[14..])
    }
}

/// An IPv4 packet, possibly cut: what an ICMP error quotes.
#[derive(Clone, Copy, Debug)]
pub struct Ip<'a>(pub &'a [u8]);

impl<'a> Ip<'a> {
    fn u16_at(&self, offset: usize) -> u16 {
        u16::from_be_bytes([self.0[offset], self.0[offset + 1]])
    }

    pub fn header_len(&self) -> usize {
        usize::from(self.0[0] & 15) * 4
    }

    pub fn ttl(&self) -> u8 {
        self.0[8]
    }

    pub fn source(&self) -> Ipv4Addr {
        Ipv4Addr::new(self.0[12], self.0[13], self.0[14], self.0[15])
    }

    pub fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::new(self.0[16], self.0[17], self.0[18], self.0[19])
    }

    /// The octets after the header.
    pub fn payload(&self) -> &'a [u8] {
        &self.0[self.header_len()..]
    }

    pub fn source_port(&self) -> u16 {
        self.u16_at(self.header_len())
    }

    pub fn destination_port(&self) -> u16 {
        self.u16_at(self.header_len() + 2)
    }

    /// `address:port > address:port`, as people write it.
    pub fn endpoints(&self) -> String {
        let (source, destination) = (self.source(), self.destination());
        format!("{source}:{} > {destination}:{}", self.source_port(), self.destination_port())
    }

    pub fn identification(&self) -> u16 {
        self.u16_at(4)
    }

    /// The type and code of an ICMP message.
    pub fn icmp(&self) -> (u8, u8) {
        assert_eq!(self.0[9], 1, "not ICMP");
        (self.payload()[0], self.payload()[1])
    }

    /// The identifier of an ICMP query.
    pub fn icmp_id(&self) -> u16 {
        self.u16_at(self.header_len() + 4)
    }

    /// The packet that an ICMP error quotes.
    pub fn quoted(&self) -> Ip<'a> {
        Ip(&self.payload()[8..])
    }

    /// Checks the checksum of the header, as of a quoted packet.
    #[track_caller]
    pub fn verify_header(&self) {
        assert_eq!(sum(&self.0[..self.header_len()]), 0xffff, "IPv4 checksum");
    }

    /// Checks the checksum of a quoted datagram that is whole.
    #[track_caller]
    pub fn verify_udp(&self) {
        let len = self.u16_at(2);
        let segment = &self.0[self.header_len()..usize::from(len)];
        let pseudo = [&self.0[12..20], &[0, 17], &(segment.len() as u16).to_be_bytes()].concat();
        assert_eq!(sum(&[&pseudo, segment].concat()), 0xffff, "UDP checksum");
    }

    /// Checks the checksum of a quoted ICMP message that is whole.
    #[track_caller]
    pub fn verify_icmp(&self) {
        assert_eq!(self.payload_sum(), 0xffff, "ICMP checksum");
    }

    fn payload_sum(&self) -> u16 {
        let len = usize::from(self.u16_at(2));
        sum(&self.0[self.header_len()..len])
    }
}

/// The frame whose fragments these are, in any order.
#[track_caller]
pub fn reassemble(fragments: &[Sent]) -> Vec<u8> {
    let offset = |sent: &Sent| usize::from(u16::from_be_bytes([sent.bytes[20], sent.bytes[21]]) & 0x1fff) * 8;
    let id = |sent: &Sent| [sent.bytes[18], sent.bytes[19]];
    let mut fragments: Vec<_> = fragments.iter().collect();
    fragments.sort_by_key(|sent| offset(sent));
    let mut whole = fragments[0].bytes[..34].to_vec();
    for fragment in &fragments {
        assert_eq!(id(fragment), id(fragments[0]), "of one packet");
        assert_eq!(offset(fragment), whole.len() - 34, "no gap and no overlap");
        whole.extend(fragment.ip().payload());
    }
    let len = u16::try_from(whole.len() - 14).unwrap();
    change_header(&mut whole, |header| {
        header[2..4].copy_from_slice(&len.to_be_bytes());
        header[6..8].fill(0);
    });
    whole
}

/// The one's complement sum of 16-bit words. (RFC 1071)
pub fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// The segment size that a SYN offers.
pub fn mss_of(packet: Ip<'_>) -> u16 {
    let options = &packet.payload()[20..24];
    assert_eq!(options[..2], [2, 4]);
    u16::from_be_bytes([options[2], options[3]])
}
