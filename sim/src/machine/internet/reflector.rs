//! A host that echoes every datagram to its port and every ping, in fragments if they came in fragments. Frames are
//! parsed and made with etherparse: smoltcp does not reassemble packets that are longer than a frame.

use std::net::Ipv4Addr;

use etherparse::{
    IcmpEchoHeader, Icmpv4Header, Icmpv4Slice, Icmpv4Type, IpNumber, Ipv4Header, Ipv4Slice, NetSlice,
    SlicedPacket, UdpHeader, UdpSlice,
};

use super::routers;
use crate::machine::fragments::{Gatherer, Order, cut, with_payload};

/// Where it is: behind the short link.
pub const REFLECTOR_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 81, 7);
/// The port that says everything back.
pub const REFLECTOR_PORT: u16 = 7;
/// The payload of a fragment, in octets: every link has room for one.
const PIECE_LEN: usize = 552;
/// Wireshark joins fragments of UDP and ICMP whose identifications differ by 16, the difference of the two protocol
/// numbers.
const IDENTIFICATION_STEP: u16 = 32;
const TTL: u8 = 64;

/// The host.
#[derive(Default)]
pub struct Reflector {
    gatherer: Gatherer,
    /// The number of fragmented answers so far, from which the order of fragments and the identification follow.
    cut: u16,
}

impl Reflector {
    /// The frames that answer `frame`; `None` if it is not for this host.
    pub fn answer(&mut self, frame: &[u8]) -> Option<Vec<Vec<u8>>> {
        let Ok(SlicedPacket { net: Some(NetSlice::Ipv4(ip)), .. }) = SlicedPacket::from_ethernet(frame)
        else {
            return None;
        };
        if ip.header().destination_addr() != REFLECTOR_ADDRESS {
            return None;
        }
        let answers = self.say_back(&ip).unwrap_or_default();
        let link_header = [frame.get(6..12)?, frame.get(..6)?, &[8, 0]].concat();
        let framed = |packet: Vec<u8>| [&link_header, &packet[..]].concat();
        let nobody_there = routers::nobody_there(frame, &ip).filter(|_| is_for_another_port(&ip));
        Some(answers.into_iter().map(framed).chain(nobody_there).collect())
    }

    /// The packets that answer a packet, once it is whole.
    fn say_back(&mut self, ip: &Ipv4Slice<'_>) -> Option<Vec<Vec<u8>>> {
        let header = ip.header();
        let came = self.gatherer.take(ip)?;
        let back = Ipv4Header::new(0, TTL, header.protocol(), header.destination(), header.source()).ok()?;
        let payload = match header.protocol() {
            IpNumber::UDP => datagram_back(&back, &came)?,
            IpNumber::ICMP => ping_back(&came)?,
            _ => return None,
        };
        if !header.is_fragmenting_payload() {
            return Some(vec![with_payload(back, &payload)]);
        }
        self.cut = self.cut.wrapping_add(1);
        let order = Order::ALL[usize::from(self.cut) % Order::ALL.len()];
        let identification = self.cut.wrapping_mul(IDENTIFICATION_STEP);
        Some(cut(&Ipv4Header { identification, ..back }, &payload, PIECE_LEN, order))
    }
}

/// Whether a whole datagram is for a closed port.
fn is_for_another_port(ip: &Ipv4Slice<'_>) -> bool {
    let header = ip.header();
    header.protocol() == IpNumber::UDP
        && !header.is_fragmenting_payload()
        && UdpSlice::from_slice(ip.payload().payload)
            .is_ok_and(|udp| udp.destination_port() != REFLECTOR_PORT)
}

fn datagram_back(back: &Ipv4Header, came: &[u8]) -> Option<Vec<u8>> {
    let udp = UdpSlice::from_slice(came).ok()?;
    // A sum has no order: it is that of the way there.
    let is_right = udp.to_header().calc_checksum_ipv4(back, udp.payload()) == Ok(udp.checksum());
    if !is_right || udp.destination_port() != REFLECTOR_PORT {
        return None;
    }
    let (from, to) = (udp.destination_port(), udp.source_port());
    let header = UdpHeader::with_ipv4_checksum(from, to, back, udp.payload()).ok()?;
    Some([&header.to_bytes(), udp.payload()].concat())
}

fn ping_back(came: &[u8]) -> Option<Vec<u8>> {
    let ping = Icmpv4Slice::from_slice(came).ok()?;
    let Icmpv4Type::EchoRequest(IcmpEchoHeader { id, seq }) = ping.icmp_type() else { return None };
    if ping.icmp_type().calc_checksum(ping.payload()) != ping.checksum() {
        return None;
    }
    let reply = Icmpv4Type::EchoReply(IcmpEchoHeader { id, seq });
    Some([&Icmpv4Header::with_checksum(reply, ping.payload()).to_bytes(), ping.payload()].concat())
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;
    use crate::packet::{Packet, Transport};

    fn datagram(port: u16, len: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4([203, 0, 113, 9], REFLECTOR_ADDRESS.octets(), 60)
            .udp(1_000, port)
            .write(&mut frame, &vec![7; len])
            .expect("a vector takes everything");
        frame
    }

    #[test]
    fn a_datagram_comes_back_and_for_another_port_an_error() {
        let mut reflector = Reflector::default();
        let mut answers = |port| reflector.answer(&datagram(port, 9)).expect("it is for this host");
        let back = Packet::parse(&answers(REFLECTOR_PORT)[0]).expect("a frame");
        let Some((ip, 7, 1_000, payload)) = back.udp() else { panic!("{back:?}") };
        assert_eq!((ip.destination.octets(), payload), ([203, 0, 113, 9], &[7; 9][..]));
        let errors = answers(33_434);
        let error = Packet::parse(&errors[0]).expect("a frame");
        assert!(matches!(error.ipv4().expect("a packet").transport, Transport::IcmpError { .. }));
        assert_eq!(errors.len(), 1);
    }

    #[test]
    fn fragments_come_back_in_fragments() {
        let mut reflector = Reflector::default();
        let frame = datagram(REFLECTOR_PORT, 3_000);
        let header = Ipv4Header::from_slice(&frame[14..]).expect("a packet").0;
        let pieces = cut(&header, &frame[34..], 1_480, Order::Backwards);
        let answer =
            |piece: &Vec<u8>| reflector.answer(&[&frame[..14], piece].concat()).expect("for this host");
        let answers: Vec<_> = pieces.iter().map(answer).collect();
        assert_eq!(answers.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 6]);
    }
}
