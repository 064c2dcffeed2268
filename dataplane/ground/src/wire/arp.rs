//! ARP for IPv4 on Ethernet. (RFC 826; RFC 5227)

use core::array;
use core::fmt;
use core::net::Ipv4Addr;

use super::Malformed;
use super::ethernet::{EtherType, Header};
use crate::mac::MacAddr;

/// The operation of an ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Asks for the hardware address of the target address.
    Request,
    /// Answers: the sender has the sender address.
    Reply,
}

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Request or reply.
    pub operation: Operation,
    /// The hardware address that `sender_ip` is at.
    pub sender_mac: MacAddr,
    /// The sender's address; unspecified in a probe.
    pub sender_ip: Ipv4Addr,
    /// The receiver of a reply; without meaning in a request.
    pub target_mac: MacAddr,
    /// The requested address; in a reply, the receiver's address.
    pub target_ip: Ipv4Addr,
}

/// Hardware type Ethernet, protocol type IPv4, and the lengths of their addresses.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];

impl Packet {
    /// The size of a packet, in octets.
    pub const LEN: usize = 28;
    /// The size of an Ethernet frame with one, without padding.
    pub const FRAME_LEN: usize = Header::LEN + Self::LEN;

    /// The request for `target_ip`, from the owner of the sender's addresses.
    pub const fn request(sender_mac: MacAddr, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Self {
        Self { operation: Operation::Request, sender_mac, sender_ip, target_mac: MacAddr::ZERO, target_ip }
    }

    /// The announcement that `mac` has `ip`: a request for the sender's own address. (RFC 5227, section 3)
    pub const fn announcement(mac: MacAddr, ip: Ipv4Addr) -> Self {
        Self::request(mac, ip, ip)
    }

    /// The answer to this request: its target address is at `mac`.
    pub const fn reply(&self, mac: MacAddr) -> Self {
        Self {
            operation: Operation::Reply,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// Whether it is a probe, which asks if an address is free without claiming one. (RFC 5227, section 2.1)
    pub fn is_probe(&self) -> bool {
        self.operation == Operation::Request && self.sender_ip.is_unspecified()
    }

    /// Whether it answers a probe that `mac` sent. (RFC 5227, section 2.1.1)
    pub fn answers_probe_of(&self, mac: MacAddr) -> bool {
        self.operation == Operation::Reply && self.target_ip.is_unspecified() && self.target_mac == mac
    }

    /// The packet at the beginning of `payload`, an Ethernet frame's.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`]; [`Malformed::Unsupported`] if it is not for Ethernet and IPv4, or neither request
    /// nor reply; [`Malformed::Address`] if the sender's hardware address is a group or zero.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let packet = payload.first_chunk::<{ Self::LEN }>().ok_or(Malformed::Truncated)?;
        let operation = match [packet[6], packet[7]] {
            _ if packet[..6] != ETHERNET_IPV4 => return Err(Malformed::Unsupported),
            [0, 1] => Operation::Request,
            [0, 2] => Operation::Reply,
            _ => return Err(Malformed::Unsupported),
        };
        let (sender_mac, sender_ip) = addresses(packet, 8);
        let (target_mac, target_ip) = addresses(packet, 18);
        // RFC 1812, section 3.3.2: no station has a group address.
        if sender_mac.is_multicast() || sender_mac == MacAddr::ZERO {
            return Err(Malformed::Address);
        }
        Ok(Self { operation, sender_mac, sender_ip, target_mac, target_ip })
    }

    /// The packet's octets.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let operation: u16 = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        bytes[0..6].copy_from_slice(&ETHERNET_IPV4);
        bytes[6..8].copy_from_slice(&operation.to_be_bytes());
        bytes[8..14].copy_from_slice(&self.sender_mac.0);
        bytes[14..18].copy_from_slice(&self.sender_ip.octets());
        bytes[18..24].copy_from_slice(&self.target_mac.0);
        bytes[24..28].copy_from_slice(&self.target_ip.octets());
        bytes
    }

    /// An Ethernet frame with the packet, from the sender to `destination`.
    pub fn to_frame(&self, destination: MacAddr) -> [u8; Self::FRAME_LEN] {
        let mut frame = [0; Self::FRAME_LEN];
        frame[0..6].copy_from_slice(&destination.0);
        frame[6..12].copy_from_slice(&self.sender_mac.0);
        frame[12..14].copy_from_slice(&EtherType::ARP.0.to_be_bytes());
        frame[Header::LEN..].copy_from_slice(&self.to_bytes());
        frame
    }
}

/// The hardware and protocol address at an offset of 8 or 18.
fn addresses(packet: &[u8; Packet::LEN], at: usize) -> (MacAddr, Ipv4Addr) {
    (
        MacAddr(array::from_fn(|i| packet[at + i])),
        Ipv4Addr::from_octets(array::from_fn(|i| packet[at + 6 + i])),
    )
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operation {
            Operation::Request => write!(f, "who has {} tell {}", self.target_ip, self.sender_ip),
            Operation::Reply => write!(f, "{} is at {}", self.sender_ip, self.sender_mac),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REQUEST: [u8; 28] = [
        0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x10, 0xc0, 0xa8, 0x01,
        0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc0, 0xa8, 0x01, 0x01,
    ];
    const GATEWAY: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    #[test]
    fn parses_a_captured_request_and_answers_it() {
        let request = Packet::parse(&REQUEST).expect("valid");
        assert_eq!(request.to_string(), "who has 192.168.1.1 tell 192.168.1.20");
        assert_eq!(request, Packet::request(request.sender_mac, request.sender_ip, request.target_ip));
        let reply = request.reply(GATEWAY);
        assert_eq!(reply.to_string(), "192.168.1.1 is at 02:00:00:00:00:01");
        assert_eq!((reply.target_mac, reply.target_ip), (request.sender_mac, request.sender_ip));
    }

    #[test]
    fn other_kinds_and_lengths_are_refused() {
        assert_eq!(Packet::parse(&REQUEST[..27]), Err(Malformed::Truncated));
        for (at, value) in [(1, 6), (2, 0x86), (4, 8), (5, 16), (7, 3)] {
            let mut other = REQUEST;
            other[at] = value;
            assert_eq!(Packet::parse(&other), Err(Malformed::Unsupported), "octet {at}");
        }
    }

    /// RFC 1812, section 4.2.3.1: A group is nobodys hardware address.
    #[test]
    fn rfc1812_3_3_2_a_group_is_nobodys_hardware_address() {
        let mut packet = Packet::parse(&REQUEST).expect("valid");
        for mac in [MacAddr::BROADCAST, MacAddr([1, 0, 0x5e, 0, 0, 1]), MacAddr::ZERO] {
            packet.sender_mac = mac;
            assert_eq!(Packet::parse(&packet.to_bytes()), Err(Malformed::Address));
        }
    }

    /// RFC 5227, section 2.1.1: Probes claim nothing and announcements do.
    #[test]
    fn rfc5227_2_1_1_probes_claim_nothing_and_announcements_do() {
        let ip = Ipv4Addr::new(192, 168, 1, 1);
        let announcement = Packet::announcement(GATEWAY, ip);
        assert_eq!(announcement.sender_ip, announcement.target_ip);
        assert!(!announcement.is_probe());
        assert!(Packet::request(GATEWAY, Ipv4Addr::UNSPECIFIED, ip).is_probe());
    }

    #[test]
    fn a_frame_comes_from_the_sender() {
        let packet = Packet::parse(&REQUEST).expect("valid");
        let frame = packet.to_frame(MacAddr::BROADCAST);
        let header = Header::parse(&frame).expect("whole");
        assert_eq!(
            header,
            Header { destination: MacAddr::BROADCAST, source: packet.sender_mac, ether_type: EtherType::ARP }
        );
        assert_eq!(frame[Header::LEN..], REQUEST);
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(bytes: Vec<u8>) {
            let _ = Packet::parse(&bytes);
        }

        #[test]
        fn writing_is_the_inverse_of_parsing(addresses: [u8; 20], is_reply: bool) {
            let mut bytes = REQUEST;
            bytes[7] = 1 + u8::from(is_reply);
            bytes[8..].copy_from_slice(&addresses);
            bytes[8] &= !1;
            bytes[13] |= 1;
            prop_assert_eq!(Packet::parse(&bytes).expect("valid").to_bytes(), bytes);
        }
    }
}
