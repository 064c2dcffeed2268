//! The attackers' frames, made by hand with etherparse.

use std::net::Ipv4Addr;

use dhcproto::Encodable;
use dhcproto::v4::{DhcpOption, Flags, Message as DhcpMessage, MessageType as DhcpKind};
use etherparse::{
    ArpEthIpv4Packet, ArpOperation, ArpPacket, EtherType, Ethernet2Header, IpHeaders, NetSlice,
    PacketBuilder, PacketBuilderStep, SlicedPacket, TransportSlice,
};
use gatepost_ground::MacAddr;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::internet::DNS_PORT;
use crate::packet::{DHCP_CLIENT_PORT, DHCP_SERVER_PORT, dhcp_message};

/// The time to live of forged packets.
const TTL: u8 = 64;
/// The window of a TCP sender that wants hardly anything.
const WINDOW: u16 = 1_024;

/// Where a packet goes and comes from: hardware addresses and addresses.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// The sender's hardware address.
    pub source_mac: MacAddr,
    /// The sender's address.
    pub source: Ipv4Addr,
    /// The next hop's hardware address.
    pub destination_mac: MacAddr,
    /// The receiver's address.
    pub destination: Ipv4Addr,
}

impl Path {
    fn ip(&self) -> PacketBuilderStep<IpHeaders> {
        let ethernet = PacketBuilder::ethernet2(self.source_mac.0, self.destination_mac.0);
        ethernet.ipv4(self.source.octets(), self.destination.octets(), TTL)
    }

    /// A datagram.
    pub fn datagram(&self, source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let udp = self.ip().udp(source_port, destination_port);
        udp.write(&mut frame, payload).expect("a vector takes everything");
        frame
    }

    /// A SYN. Its sequence number depends on the addresses and ports.
    pub fn syn(&self, source_port: u16, destination_port: u16) -> Vec<u8> {
        let sequence = self.source.to_bits() ^ (u32::from(source_port) << 16);
        let mut frame = Vec::new();
        let tcp = self.ip().tcp(source_port, destination_port, sequence, WINDOW).syn();
        tcp.write(&mut frame, &[]).expect("a vector takes everything");
        frame
    }

    /// A question for the address of `name`.
    pub fn question(&self, source_port: u16, name: &str) -> Vec<u8> {
        let name = Name::from_ascii(name).expect("a name of letters and digits");
        let mut message = Message::new(0, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name, RecordType::A));
        self.datagram(source_port, DNS_PORT, &message.to_vec().expect("a short message"))
    }
}

/// A name server's answer with `id`: a site of the internet's has `address`.
pub fn dns_answer(id: u16, address: Ipv4Addr) -> Vec<u8> {
    let name = Name::from_ascii("site-0.example").expect("a name of letters and digits");
    let mut message = Message::new(id, MessageType::Response, OpCode::Query);
    message.add_query(Query::query(name.clone(), RecordType::A));
    message.add_answer(Record::from_rdata(name, 3_600, RData::A(address.into())));
    message.to_vec().expect("a short message")
}

/// An ARP frame of the machine with `source`, which says that `sender` is its address.
pub fn arp(
    source: MacAddr,
    operation: ArpOperation,
    sender: Ipv4Addr,
    target_mac: MacAddr,
    target: Ipv4Addr,
) -> Vec<u8> {
    let destination = if operation == ArpOperation::REQUEST { MacAddr::BROADCAST } else { target_mac };
    let header = Ethernet2Header { source: source.0, destination: destination.0, ether_type: EtherType::ARP };
    let arp = ArpEthIpv4Packet {
        operation,
        sender_mac: source.0,
        sender_ipv4: sender.octets(),
        target_mac: target_mac.0,
        target_ipv4: target.octets(),
    };
    let mut frame = header.to_bytes().to_vec();
    frame.extend_from_slice(&ArpPacket::from(arp).to_bytes());
    frame
}

/// A SYN with ACK, as far as its receiver needs it to open the connection.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// The way of the answer.
    pub back: Path,
    /// The port that began the connection.
    pub own_port: u16,
    other_port: u16,
    sequence: u32,
    acknowledged: u32,
}

impl Accepted {
    /// Reads a frame; `None` if it accepts no connection.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let sliced = SlicedPacket::from_ethernet(frame).ok()?;
        let ethernet = sliced.link.as_ref()?.to_header()?.ethernet2()?;
        let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) = (&sliced.net, &sliced.transport)
        else {
            return None;
        };
        let back = Path {
            source_mac: MacAddr(ethernet.destination),
            source: ip.header().destination_addr(),
            destination_mac: MacAddr(ethernet.source),
            destination: ip.header().source_addr(),
        };
        let (own_port, other_port) = (tcp.destination_port(), tcp.source_port());
        let (sequence, acknowledged) = (tcp.sequence_number(), tcp.acknowledgment_number());
        (tcp.syn() && tcp.ack()).then_some(Self { back, own_port, other_port, sequence, acknowledged })
    }

    /// The segment that opens the connection.
    pub fn acknowledgement(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        let tcp = self.back.ip().tcp(self.own_port, self.other_port, self.acknowledged, WINDOW);
        tcp.ack(self.sequence.wrapping_add(1)).write(&mut frame, &[]).expect("a vector takes everything");
        frame
    }
}

/// A DHCP client's statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saying {
    /// It looks for servers.
    Discover,
    /// It wants the address.
    Request,
    /// Another host uses the address.
    Decline,
    /// It gives the address back.
    Release,
}

/// The content of a forged DHCP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DhcpClaim {
    /// The hardware address of the frame's sender.
    pub source_mac: MacAddr,
    /// The client's hardware address.
    pub client: MacAddr,
    /// The address that it is about, if it is about one.
    pub address: Option<Ipv4Addr>,
    /// The server's address.
    pub server: Ipv4Addr,
}

impl DhcpClaim {
    /// The message in a broadcast frame; answers are asked for by broadcast.
    pub fn frame(&self, saying: Saying) -> Vec<u8> {
        let kind = match saying {
            Saying::Discover => DhcpKind::Discover,
            Saying::Request => DhcpKind::Request,
            Saying::Decline => DhcpKind::Decline,
            Saying::Release => DhcpKind::Release,
        };
        let mut message = DhcpMessage::default();
        message.set_flags(Flags::default().set_broadcast()).set_chaddr(&self.client.0);
        let [_, _, high @ ..] = self.client.0;
        message.set_xid(u32::from_be_bytes(high));
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        if saying != Saying::Discover {
            message.opts_mut().insert(DhcpOption::ServerIdentifier(self.server));
        }
        match self.address {
            Some(address) if saying == Saying::Release => _ = message.set_ciaddr(address),
            Some(address) => _ = message.opts_mut().insert(DhcpOption::RequestedIpAddress(address)),
            None => {}
        }
        let path = Path {
            source_mac: self.source_mac,
            source: Ipv4Addr::UNSPECIFIED,
            destination_mac: MacAddr::BROADCAST,
            destination: Ipv4Addr::BROADCAST,
        };
        let message = message.to_vec().expect("a short message");
        path.datagram(DHCP_CLIENT_PORT, DHCP_SERVER_PORT, &message)
    }
}

/// DHCP messages of other hosts that a machine overhears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overheard {
    /// The client asks for an address.
    Wanted(MacAddr, Ipv4Addr),
    /// The client is offered an address.
    Offered(MacAddr, Ipv4Addr),
}

impl Overheard {
    /// Reads a datagram from `source_port`; `None` if it says neither.
    pub fn parse(source_port: u16, payload: &[u8]) -> Option<Self> {
        let message = dhcp_message(payload)?;
        let client = MacAddr(message.chaddr().try_into().ok()?);
        match (source_port, message.opts().msg_type()?) {
            (DHCP_SERVER_PORT, DhcpKind::Offer) => Some(Self::Offered(client, message.yiaddr())),
            (DHCP_CLIENT_PORT, DhcpKind::Request) => {
                let option = message.opts().get(dhcproto::v4::OptionCode::RequestedIpAddress);
                let Some(DhcpOption::RequestedIpAddress(address)) = option else { return None };
                Some(Self::Wanted(client, *address))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Content, Packet, Transport};

    const PATH: Path = Path {
        source_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        source: Ipv4Addr::new(192, 168, 1, 9),
        destination_mac: MacAddr([2, 0, 0, 0, 0, 2]),
        destination: Ipv4Addr::new(192, 168, 1, 1),
    };

    fn transport(frame: &[u8]) -> Transport {
        Packet::parse(frame).unwrap().ipv4().unwrap().transport.clone()
    }

    #[test]
    fn a_connection_that_is_accepted_is_opened_by_the_next_sequence_numbers() {
        assert!(Accepted::parse(&PATH.syn(1_000, 53)).is_none());
        let mut accepting = Vec::new();
        let tcp = PATH.ip().tcp(53, 1_000, u32::MAX, WINDOW).syn().ack(8);
        tcp.write(&mut accepting, &[]).unwrap();
        let frame = Accepted::parse(&accepting).unwrap().acknowledgement();
        let Transport::Tcp { source_port, destination_port, is_opening, checksum_ok, .. } = transport(&frame)
        else {
            panic!("TCP")
        };
        assert_eq!((source_port, destination_port, is_opening, checksum_ok), (1_000, 53, false, true));
        let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("TCP") };
        assert_eq!((tcp.sequence_number(), tcp.acknowledgment_number()), (8, 0));
        assert_eq!(Packet::parse(&frame).unwrap().destination_mac, PATH.source_mac);
    }

    #[test]
    fn what_a_client_asks_for_is_overheard() {
        let client = MacAddr([2, 0, 0, 0, 0, 7]);
        let address = Some(PATH.source);
        let claim = DhcpClaim { source_mac: PATH.source_mac, client, address, server: PATH.destination };
        let heard = |saying| {
            let frame = claim.frame(saying);
            let packet = Packet::parse(&frame).unwrap();
            let (_, source_port, _, payload) = packet.udp().unwrap();
            Overheard::parse(source_port, payload)
        };
        assert_eq!(heard(Saying::Request), Some(Overheard::Wanted(client, PATH.source)));
        assert_eq!(heard(Saying::Discover), None);
        assert_eq!(heard(Saying::Release), None);
        assert_eq!(Overheard::parse(DHCP_CLIENT_PORT, b"no message"), None);
    }

    #[test]
    fn who_asks_is_who_says_so() {
        let frame = arp(PATH.source_mac, ArpOperation::REQUEST, PATH.source, MacAddr::ZERO, PATH.source);
        let packet = Packet::parse(&frame).unwrap();
        assert_eq!(
            packet.content,
            Content::Arp { sender: PATH.source, target: PATH.source, is_request: true }
        );
        assert_eq!(packet.destination_mac, MacAddr::BROADCAST);
    }
}
