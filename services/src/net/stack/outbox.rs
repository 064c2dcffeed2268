//! The outbox: a bounded queue of packets between the sockets and the dataplane's ring.
//!
//! Packets are fragmented here if needed, and get their identification: every IPv4 packet, and IPv6 packets with
//! their fragments. The stack does not discover path MTUs, so "don't fragment" is cleared (RFC 1191, section 3: only
//! a host that handles the errors sets it).

use std::collections::VecDeque;
use std::net::IpAddr;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smoltcp::wire::{
    IPV4_HEADER_LEN, IPV6_HEADER_LEN, IpProtocol, Ipv4Packet, Ipv6FragmentHeader, Ipv6FragmentRepr,
    Ipv6Packet,
};

use super::packet::{destination, header_len, is_ipv6};

/// The fragment header of IPv6, in octets. (RFC 8200, section 4.5)
const FRAGMENT_HEADER_LEN: usize = 8;

/// The queue.
#[derive(Debug)]
pub(super) struct Outbox {
    packets: VecDeque<Vec<u8>>,
    mtu: usize,
    identification: u16,
    rng: StdRng,
}

impl Outbox {
    /// The most packets queued; the longest datagram in fragments of the least MTU fits.
    pub(super) const PACKETS_MAX: usize = 256;

    pub(super) fn new(mtu: usize, rng: &mut StdRng) -> Self {
        let mut rng = StdRng::from_rng(rng);
        Self { packets: VecDeque::new(), mtu, identification: rng.random(), rng }
    }

    pub(super) fn mtu(&self) -> usize {
        self.mtu
    }

    pub(super) fn is_full(&self) -> bool {
        self.packets.len() >= Self::PACKETS_MAX
    }

    /// Whether a packet to `destination` of `len` octets, with its header, fits now.
    pub(super) fn has_room_for(&self, destination: IpAddr, len: usize) -> bool {
        let header_len = header_len(destination);
        let count = if len <= self.mtu {
            1
        } else if destination.is_ipv4() {
            (len - header_len).div_ceil(self.fragment_len(header_len))
        } else {
            (len - header_len).div_ceil(self.fragment_len(header_len + FRAGMENT_HEADER_LEN))
        };
        self.packets.len() + count <= Self::PACKETS_MAX
    }

    /// Queues a well-formed packet without options or extension headers, for which there must be room.
    pub(super) fn push(&mut self, packet: Vec<u8>) {
        debug_assert!(self.has_room_for(destination(&packet), packet.len()));
        if !is_ipv6(&packet) {
            self.push_ipv4(packet);
        } else if packet.len() <= self.mtu {
            self.packets.push_back(packet);
        } else {
            self.push_ipv6_fragments(&packet);
        }
    }

    fn push_ipv4(&mut self, mut packet: Vec<u8>) {
        // The step is random and not zero: consecutive identifications would show how much the host sends (RFC 7739,
        // section 3).
        self.identification = self.identification.wrapping_add(self.rng.random_range(1..=64));
        let mut header = Ipv4Packet::new_unchecked(&mut packet[..]);
        header.set_dont_frag(false);
        header.set_ident(self.identification);
        header.fill_checksum();
        if packet.len() <= self.mtu {
            self.packets.push_back(packet);
        } else {
            self.push_ipv4_fragments(&packet);
        }
    }

    /// Takes the oldest packet.
    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        self.packets.pop_front()
    }

    /// Puts a packet back that could not be sent yet.
    pub(super) fn put_back(&mut self, packet: Vec<u8>) {
        self.packets.push_front(packet);
    }

    fn push_ipv4_fragments(&mut self, packet: &[u8]) {
        let (header, payload) = packet.split_at(IPV4_HEADER_LEN);
        let step = self.fragment_len(IPV4_HEADER_LEN);
        let last = payload.len().div_ceil(step) - 1;
        for (index, chunk) in payload.chunks(step).enumerate() {
            let mut packet = [header, chunk].concat();
            let total_len = u16::try_from(packet.len()).expect("a fragment is shorter than its packet");
            let offset = u16::try_from(index * step).expect("inside of a packet");
            let mut fragment = Ipv4Packet::new_unchecked(&mut packet[..]);
            fragment.set_total_len(total_len);
            fragment.set_more_frags(index < last);
            fragment.set_frag_offset(offset);
            fragment.fill_checksum();
            self.packets.push_back(packet);
        }
    }

    /// RFC 8200, section 4.5
    fn push_ipv6_fragments(&mut self, packet: &[u8]) {
        let (header, payload) = packet.split_at(IPV6_HEADER_LEN);
        let step = self.fragment_len(IPV6_HEADER_LEN + FRAGMENT_HEADER_LEN);
        let last = payload.len().div_ceil(step) - 1;
        let next_header = Ipv6Packet::new_unchecked(packet).next_header();
        let ident = self.rng.random();
        for (index, chunk) in payload.chunks(step).enumerate() {
            let fragment = Ipv6FragmentRepr {
                // In units of 8 octets.
                frag_offset: u16::try_from(index * step / 8).expect("inside of a packet"),
                more_frags: index < last,
                ident,
            };
            let mut fragment_header = [0; FRAGMENT_HEADER_LEN];
            fragment_header[0] = next_header.into();
            fragment.emit(&mut Ipv6FragmentHeader::new_unchecked(&mut fragment_header[2..]));
            let mut packet = [header, &fragment_header, chunk].concat();
            let payload_len = u16::try_from(packet.len() - IPV6_HEADER_LEN).expect("shorter than its packet");
            let mut header = Ipv6Packet::new_unchecked(&mut packet[..]);
            header.set_payload_len(payload_len);
            header.set_next_header(IpProtocol::Ipv6Frag);
            self.packets.push_back(packet);
        }
    }

    /// The length of the payload of every fragment but the last, behind `headers_len` octets: a multiple of 8. (RFC
    /// 791, section 3.2)
    fn fragment_len(&self, headers_len: usize) -> usize {
        (self.mtu - headers_len) & !7
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::net::stack::packet::encode;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    const LONG_PEER: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));

    fn packet_to(peer: IpAddr, payload_len: usize) -> Vec<u8> {
        let source = if peer.is_ipv4() { [10, 0, 0, 1].into() } else { Ipv6Addr::LOCALHOST.into() };
        encode(source, peer, IpProtocol::Udp, payload_len, |payload| {
            for (octet, value) in payload.iter_mut().zip((0..=250).cycle()) {
                *octet = value;
            }
        })
    }

    fn packet(payload_len: usize) -> Vec<u8> {
        packet_to(PEER, payload_len)
    }

    fn outbox(mtu: usize) -> Outbox {
        Outbox::new(mtu, &mut StdRng::seed_from_u64(1))
    }

    /// RFC 1191, section 4: Don't fragment is cleared and the identification is not repeated.
    #[test]
    fn rfc1191_dont_fragment_is_cleared_and_the_identification_is_not_repeated() {
        let mut outbox = outbox(1500);
        let mut last = None;
        for _ in 0..100 {
            outbox.push(packet(40));
            let bytes = outbox.pop().expect("a packet");
            let header = Ipv4Packet::new_checked(&bytes[..]).expect("well-formed");
            assert!(header.verify_checksum() && !header.dont_frag());
            assert_ne!(last.replace(header.ident()), Some(header.ident()));
        }
    }

    /// RFC 791, section 3.2: Fragments cover the payload once.
    #[test]
    fn rfc791_3_2_fragments_cover_the_payload_once() {
        for (mtu, payload_len, count) in [(1500, 1480, 1), (1500, 1481, 2), (576, 65_515, 119)] {
            let mut outbox = outbox(mtu);
            let whole = packet(payload_len);
            outbox.push(whole.clone());
            let mut payload = Vec::new();
            for left in (0..count).rev() {
                let bytes = outbox.pop().expect("a fragment");
                let header = Ipv4Packet::new_checked(&bytes[..]).expect("well-formed");
                assert!(header.verify_checksum() && bytes.len() <= mtu);
                assert_eq!(
                    (header.more_frags(), usize::from(header.frag_offset())),
                    (left > 0, payload.len())
                );
                payload.extend_from_slice(header.payload());
            }
            assert_eq!((payload.as_slice(), outbox.pop()), (&whole[IPV4_HEADER_LEN..], None));
        }
    }

    /// RFC 8200, section 4.5: Fragments of IPv6 cover the payload once.
    #[test]
    fn rfc8200_4_5_fragments_of_ipv6_cover_the_payload_once() {
        for (mtu, payload_len, count) in [(1500, 1460, 1), (1500, 1461, 2), (1280, 65_535, 54)] {
            let mut outbox = outbox(mtu);
            let whole = packet_to(LONG_PEER, payload_len);
            assert!(outbox.has_room_for(LONG_PEER, whole.len()));
            outbox.push(whole.clone());
            assert_eq!(outbox.packets.len(), count);
            let mut payload = Vec::new();
            for left in (0..count).rev() {
                let octets = outbox.pop().expect("a fragment");
                let header = Ipv6Packet::new_checked(&octets[..]).expect("well-formed");
                assert!(octets.len() <= mtu && octets.len() == header.total_len());
                if count == 1 {
                    assert_eq!(octets, whole);
                    break;
                }
                assert_eq!(header.next_header(), IpProtocol::Ipv6Frag);
                let (fragment_header, chunk) = header.payload().split_at(FRAGMENT_HEADER_LEN);
                assert_eq!(IpProtocol::from(fragment_header[0]), IpProtocol::Udp);
                let fragment = Ipv6FragmentHeader::new_checked(&fragment_header[2..]).expect("well-formed");
                assert_eq!(
                    (fragment.more_frags(), usize::from(fragment.frag_offset()) * 8),
                    (left > 0, payload.len())
                );
                payload.extend_from_slice(chunk);
            }
            assert!(count == 1 || payload == whole[IPV6_HEADER_LEN..]);
        }
    }

    /// RFC 7739, section 4: Fragments of one IPv6 packet share an identification; the next one cannot be predicted.
    #[test]
    fn rfc7739_4_fragments_of_one_packet_of_ipv6_share_an_identification_that_tells_nothing_of_the_next() {
        let mut outbox = outbox(1280);
        let idents = [(); 2].map(|()| {
            outbox.push(packet_to(LONG_PEER, 2000));
            let idents: Vec<u32> = std::iter::from_fn(|| outbox.pop())
                .map(|octets| Ipv6FragmentHeader::new_unchecked(&octets[IPV6_HEADER_LEN + 2..]).ident())
                .collect();
            assert!(idents.len() == 2 && idents[0] == idents[1]);
            idents[0]
        });
        assert!(idents[0].abs_diff(idents[1]) > 1000);
    }

    #[test]
    fn a_full_outbox_says_so() {
        let mut outbox = outbox(576);
        assert!(outbox.has_room_for(PEER, 65_535));
        while !outbox.is_full() {
            assert!(outbox.has_room_for(PEER, 100));
            outbox.push(packet(80));
        }
        assert_eq!(outbox.packets.len(), Outbox::PACKETS_MAX);
        assert!(!outbox.has_room_for(PEER, 100));
        outbox.pop();
        assert!(outbox.has_room_for(PEER, 576) && !outbox.has_room_for(PEER, 577));
    }

    #[test]
    fn an_outbox_has_room_for_all_fragments_of_a_packet_or_for_none() {
        for (peer, mtu, longest) in [(PEER, 576, 20 + 2 * 552), (LONG_PEER, 1280, 40 + 2 * 1232)] {
            let mut outbox = outbox(mtu);
            while outbox.packets.len() < Outbox::PACKETS_MAX - 2 {
                outbox.push(packet(80));
            }
            let header_len = header_len(peer);
            assert!(!outbox.has_room_for(peer, longest + 1));
            assert!(outbox.has_room_for(peer, longest));
            outbox.push(packet_to(peer, longest - header_len));
            assert_eq!(outbox.packets.len(), Outbox::PACKETS_MAX);
        }
    }
}
