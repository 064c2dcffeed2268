//! DHCP messages and ARP packets in Ethernet frames. (RFC 826, 894, 768)
//!
//! DHCP has to reach hosts without an address, and to send from interfaces without one, so it builds and reads whole
//! frames.

use std::net::{Ipv4Addr, SocketAddrV4};

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, Ethernet2Header, Ethernet2Slice, IpNumber, Ipv4Header,
    Ipv4HeaderSlice, UdpHeader, UdpSlice,
};
use gatepost_ground::MacAddr;

/// UDP port of servers and relay agents. (RFC 2131, section 4.1)
pub const SERVER_PORT: u16 = dhcproto::v4::SERVER_PORT;
/// UDP port of clients.
pub const CLIENT_PORT: u16 = dhcproto::v4::CLIENT_PORT;

const TTL: u8 = 64;

/// A UDP datagram in an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The frame's source: the peer's hardware address or its router's.
    pub source_mac: MacAddr,
    /// The frame's destination.
    pub destination_mac: MacAddr,
    /// The sender of the datagram.
    pub source: SocketAddrV4,
    /// The receiver of the datagram.
    pub destination: SocketAddrV4,
    /// The UDP payload.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads a frame; `None` if it is not a whole, unfragmented UDP datagram over IPv4 with right
    /// checksums.
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        let ethernet = Ethernet2Slice::from_slice_without_fcs(frame).ok()?;
        let packet =
            Some(ethernet.payload()).filter(|payload| payload.ether_type == EtherType::IPV4)?.payload;
        let ip = Ipv4HeaderSlice::from_slice(packet).ok()?;
        let header_is_sound = ip.to_header().calc_header_checksum() == ip.header_checksum();
        if !header_is_sound || ip.protocol() != IpNumber::UDP || ip.is_fragmenting_payload() {
            return None;
        }
        let segment = packet.get(ip.slice().len()..usize::from(ip.total_len()))?;
        let udp = UdpSlice::from_slice(segment).ok()?;
        let checksum =
            udp.to_header().calc_checksum_ipv4_raw(ip.source(), ip.destination(), udp.payload()).ok()?;
        // RFC 768: zero means no checksum.
        if udp.checksum() != 0 && udp.checksum() != checksum {
            return None;
        }
        Some(Self {
            source_mac: MacAddr(ethernet.source()),
            destination_mac: MacAddr(ethernet.destination()),
            source: SocketAddrV4::new(ip.source_addr(), udp.source_port()),
            destination: SocketAddrV4::new(ip.destination_addr(), udp.destination_port()),
            payload: udp.payload(),
        })
    }

    /// The datagram as a frame; `None` if it is too long for one IP packet.
    pub fn to_frame(&self) -> Option<Vec<u8>> {
        let (source, destination) = (self.source.ip().octets(), self.destination.ip().octets());
        let udp_len = u16::try_from(UdpHeader::LEN + self.payload.len()).ok()?;
        let mut ip = Ipv4Header::new(udp_len, TTL, IpNumber::UDP, source, destination).ok()?;
        ip.header_checksum = ip.calc_header_checksum();
        let (source_port, destination_port) = (self.source.port(), self.destination.port());
        let udp = UdpHeader::with_ipv4_checksum(source_port, destination_port, &ip, self.payload).ok()?;
        let mut frame = ethernet(self.destination_mac, self.source_mac, EtherType::IPV4).to_vec();
        frame.extend_from_slice(&ip.to_bytes());
        frame.extend_from_slice(&udp.to_bytes());
        frame.extend_from_slice(self.payload);
        Some(frame)
    }
}

/// An ARP packet for Ethernet and IPv4: the fields that detect a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// The sender's hardware address.
    pub sender_mac: MacAddr,
    /// The sender's address; unspecified in a probe.
    pub sender: Ipv4Addr,
    /// The target address.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Reads a frame; `None` if it is not an ARP packet for Ethernet and IPv4.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let ethernet = Ethernet2Slice::from_slice_without_fcs(frame).ok()?;
        let packet = Some(ethernet.payload()).filter(|payload| payload.ether_type == EtherType::ARP)?.payload;
        let arp = ArpPacket::from_slice(packet).ok()?.try_eth_ipv4().ok()?;
        Some(Self {
            sender_mac: MacAddr(arp.sender_mac),
            sender: arp.sender_ipv4.into(),
            target: arp.target_ipv4.into(),
        })
    }

    /// An ARP probe by which the owner of `mac` asks whether a host uses `address`. (RFC 5227, section 2.1.1)
    pub fn probe_frame(mac: MacAddr, address: Ipv4Addr) -> Vec<u8> {
        let sender = Ipv4Addr::UNSPECIFIED.octets();
        let (unknown, target) = (MacAddr::ZERO.0, address.octets());
        let arp = ArpPacket::new(
            ArpHardwareId::ETHERNET,
            EtherType::IPV4,
            ArpOperation::REQUEST,
            &mac.0,
            &sender,
            &unknown,
            &target,
        )
        .expect("addresses of equal lengths");
        let mut frame = ethernet(MacAddr::BROADCAST, mac, EtherType::ARP).to_vec();
        frame.extend_from_slice(&arp.to_bytes());
        frame
    }
}

fn ethernet(destination: MacAddr, source: MacAddr, ether_type: EtherType) -> [u8; Ethernet2Header::LEN] {
    Ethernet2Header { source: source.0, destination: destination.0, ether_type }.to_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn datagram(payload: &[u8]) -> Datagram<'_> {
        Datagram {
            source_mac: MAC,
            destination_mac: MacAddr::BROADCAST,
            source: "192.168.1.1:67".parse().unwrap(),
            destination: "255.255.255.255:68".parse().unwrap(),
            payload,
        }
    }

    #[test]
    fn a_frame_reads_back_even_when_padded() {
        for payload in [&[][..], &[1], &[7; 1400]] {
            let mut frame = datagram(payload).to_frame().unwrap();
            frame.resize(frame.len().max(60), 0);
            assert_eq!(Datagram::parse(&frame), Some(datagram(payload)));
        }
        assert_eq!(datagram(&[0; 65_508]).to_frame(), None);
    }

    #[test]
    fn a_damaged_frame_is_refused() {
        let frame = datagram(b"payload").to_frame().unwrap();
        for index in 14..frame.len() {
            let mut damaged = frame.clone();
            damaged[index] ^= 0x10;
            assert_eq!(Datagram::parse(&damaged), None, "octet {index}");
        }
    }

    /// RFC 768: A zero checksum is none.
    #[test]
    fn rfc768_a_zero_checksum_is_none() {
        let mut frame = datagram(b"payload").to_frame().unwrap();
        frame[40..42].fill(0);
        assert_eq!(Datagram::parse(&frame), Some(datagram(b"payload")));
    }

    /// RFC 5227, section 2.1.1: A probe has no sender address.
    #[test]
    fn rfc5227_a_probe_has_no_sender_address() {
        let address = Ipv4Addr::new(192, 168, 1, 9);
        let probe = Arp::parse(&Arp::probe_frame(MAC, address));
        assert_eq!(probe, Some(Arp { sender_mac: MAC, sender: Ipv4Addr::UNSPECIFIED, target: address }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..3) {
            let mut frame = vec![0; 12];
            frame.extend_from_slice([&[8, 0][..], &[8, 6], &[0x81, 0]][usize::from(kind)]);
            frame.extend_from_slice(&bytes);
            let _ = Datagram::parse(&frame);
            let _ = Arp::parse(&frame);
        }
    }
}
