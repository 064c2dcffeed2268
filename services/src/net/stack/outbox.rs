//! Packets on their way out: a bounded queue between the sockets and the dataplane's ring.
//!
//! Every packet gets its IPv4 identification here and is fragmented if it has to be. Nothing here
//! discovers the path's MTU, therefore "don't fragment" is cleared (RFC 1191 section 3 wants it set
//! only by who listens to the answers).

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smoltcp::wire::{IPV4_HEADER_LEN, Ipv4Packet};

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

    /// Whether a packet of `len` octets, with its header, fits now.
    pub(super) fn has_room_for(&self, len: usize) -> bool {
        let count = if len <= self.mtu { 1 } else { (len - IPV4_HEADER_LEN).div_ceil(self.fragment_len()) };
        self.packets.len() + count <= Self::PACKETS_MAX
    }

    /// Queues a well-formed IPv4 packet without options, for which there must be room.
    pub(super) fn push(&mut self, mut packet: Vec<u8>) {
        debug_assert!(self.has_room_for(packet.len()));
        // Not zero and not one more than the last: that would tell how much the host sends (RFC 7739).
        self.identification = self.identification.wrapping_add(self.rng.random_range(1..=64));
        let mut header = Ipv4Packet::new_unchecked(&mut packet[..]);
        header.set_dont_frag(false);
        header.set_ident(self.identification);
        header.fill_checksum();
        if packet.len() <= self.mtu {
            self.packets.push_back(packet);
        } else {
            self.push_fragments(&packet);
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

    fn push_fragments(&mut self, packet: &[u8]) {
        let (header, payload) = packet.split_at(IPV4_HEADER_LEN);
        let step = self.fragment_len();
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

    /// The payload of every fragment but the last, a multiple of 8 octets (RFC 791 section 3.2).
    fn fragment_len(&self) -> usize {
        (self.mtu - IPV4_HEADER_LEN) & !7
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{IpProtocol, Ipv4Repr};

    use super::*;

    fn packet(payload_len: usize) -> Vec<u8> {
        let repr = Ipv4Repr {
            src_addr: Ipv4Addr::new(10, 0, 0, 1),
            dst_addr: Ipv4Addr::new(10, 0, 0, 2),
            next_header: IpProtocol::Udp,
            payload_len,
            hop_limit: 64,
        };
        let mut bytes = vec![0; IPV4_HEADER_LEN + payload_len];
        repr.emit(&mut Ipv4Packet::new_unchecked(&mut bytes[..]), &ChecksumCapabilities::default());
        for (byte, value) in bytes[IPV4_HEADER_LEN..].iter_mut().zip((0..=250).cycle()) {
            *byte = value;
        }
        bytes
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

    /// RFC 791: Fragments cover the payload once.
    #[test]
    fn rfc791_fragments_cover_the_payload_once() {
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

    #[test]
    fn a_full_outbox_says_so() {
        let mut outbox = outbox(576);
        assert!(outbox.has_room_for(65_535));
        while !outbox.is_full() {
            assert!(outbox.has_room_for(100));
            outbox.push(packet(80));
        }
        assert_eq!(outbox.packets.len(), Outbox::PACKETS_MAX);
        assert!(!outbox.has_room_for(100));
        outbox.pop();
        assert!(outbox.has_room_for(576) && !outbox.has_room_for(577));
    }
}
