//! Corrects the sequence numbers of acknowledgements, and shifts those of connections that began with a cookie.
//!
//! A segment without data has to carry the number after the last octet ever sent. smoltcp gives it the
//! next one it will send, which after a retransmission timeout is far behind. The peer finds it outside
//! of its window and ignores its acknowledgement (RFC 9293 section 3.10.7.4), so that two such ends that
//! time out at once never hear each other again.
//!
//! smoltcp also chooses the initial sequence number itself. A connection whose peer has been given another one, a
//! SYN cookie, has all its numbers shifted by the difference: smoltcp's side of this module sees its own, the peer
//! those that follow the cookie.

use smoltcp::wire::{IpAddress, Ipv4Packet, TcpOption, TcpPacket, TcpSeqNumber};

/// What a connection has sent so far, and was allowed to.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// The number after the last octet sent.
    next: Option<TcpSeqNumber>,
    /// The right edge of the peer's window. An octet beyond is no more than a question.
    limit: Option<TcpSeqNumber>,
    /// The peer's windows count in units of so many bits.
    window_shift: u8,
    /// What the peer's view of a number is ahead of smoltcp's, modulo 2^32.
    shift: i32,
}

impl Sequence {
    /// Has the peer see `wire` where smoltcp says `own`, and all other numbers as far from it.
    pub(super) fn shift(&mut self, own: TcpSeqNumber, wire: TcpSeqNumber) {
        self.shift = wire.0.wrapping_sub(own.0);
    }

    /// A received IPv4 packet of the connection with the acknowledgement as smoltcp knows it, if that differs. Its
    /// TCP checksum is not made anew.
    pub(super) fn unshift(&self, packet: &[u8]) -> Option<Vec<u8>> {
        if self.shift == 0 {
            return None;
        }
        let mut packet = packet.to_vec();
        let mut ip = Ipv4Packet::new_unchecked(&mut packet[..]);
        let mut segment = TcpPacket::new_unchecked(ip.payload_mut());
        if segment.ack() {
            segment.set_ack_number(TcpSeqNumber(segment.ack_number().0.wrapping_sub(self.shift)));
        }
        Some(packet)
    }

    /// Takes notice of a received segment's window.
    pub(super) fn note_received(&mut self, segment: &TcpPacket<&[u8]>) {
        if segment.syn() {
            self.window_shift = window_shift(segment.options());
        }
        if !segment.ack() {
            return;
        }
        // The window of a SYN is not scaled (RFC 7323 section 2.2).
        let shift = if segment.syn() { 0 } else { self.window_shift };
        let edge = segment.ack_number() + (usize::from(segment.window_len()) << shift);
        self.limit = Some(self.limit.map_or(edge, |limit| limit.max(edge)));
    }

    /// Corrects an IPv4 packet of the connection that is to be sent.
    pub(super) fn correct(&mut self, packet: &mut [u8]) {
        let mut packet = Ipv4Packet::new_unchecked(packet);
        let (source, destination) = (packet.src_addr(), packet.dst_addr());
        let mut segment = TcpPacket::new_unchecked(packet.payload_mut());
        let begin = segment.seq_number();
        let mut corrected = begin;
        if segment.segment_len() > 0 {
            let end = begin + segment.segment_len();
            let end = if segment.fin() { end } else { self.limit.map_or(end, |limit| end.min(limit)) };
            self.next = Some(self.next.map_or(end, |next| next.max(end)));
        } else if let Some(next) = self.next.filter(|next| begin < *next && !segment.rst()) {
            corrected = next;
        }
        let wire = TcpSeqNumber(corrected.0.wrapping_add(self.shift));
        if wire != begin {
            segment.set_seq_number(wire);
            segment.fill_checksum(&IpAddress::Ipv4(source), &IpAddress::Ipv4(destination));
        }
    }
}

/// The window scale among the options of a SYN; 0 without.
fn window_shift(options: &[u8]) -> u8 {
    let shift = find_option(options, |option| match option {
        TcpOption::WindowScale(shift) => Some(shift.min(14)), // RFC 7323 section 2.3
        _ => None,
    });
    shift.unwrap_or(0)
}

/// The maximum segment size among the options of a SYN, in octets. Zero counts as absent.
pub(super) fn segment_size(options: &[u8]) -> Option<u16> {
    find_option(options, |option| match option {
        TcpOption::MaxSegmentSize(size) => Some(size).filter(|size| *size != 0),
        _ => None,
    })
}

/// The first of the options for which `read` has a value; what follows one that is malformed is not looked at.
fn find_option<T>(mut options: &[u8], read: impl Fn(TcpOption<'_>) -> Option<T>) -> Option<T> {
    while let Ok((rest, option)) = TcpOption::parse(options) {
        match option {
            TcpOption::EndOfList => break,
            option => {
                if let Some(value) = read(option) {
                    return Some(value);
                }
            }
        }
        options = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use smoltcp::wire::{IPV4_HEADER_LEN, TcpControl, TcpRepr};

    use super::super::segment;
    use super::*;

    const ENDS: [SocketAddrV4; 2] =
        [SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 1), SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 2)];

    fn acknowledgement() -> TcpRepr<'static> {
        TcpRepr { ack_number: Some(TcpSeqNumber(0)), ..segment::empty(ENDS[0], ENDS[1]) }
    }

    /// The IPv4 packet with `tcp` in it.
    fn packet(tcp: &TcpRepr<'_>) -> Vec<u8> {
        segment::packet(ENDS[0], ENDS[1], tcp)
    }

    /// The sequence number that a segment leaves with.
    fn sent(sequence: &mut Sequence, seq_number: i32, payload: &[u8]) -> i32 {
        let mut bytes =
            packet(&TcpRepr { seq_number: TcpSeqNumber(seq_number), payload, ..acknowledgement() });
        sequence.correct(&mut bytes);
        let segment = TcpPacket::new_checked(&bytes[IPV4_HEADER_LEN..]).expect("well-formed");
        let [source, destination] = ENDS.map(|end| IpAddress::Ipv4(*end.ip()));
        assert!(segment.verify_checksum(&source, &destination));
        segment.seq_number().0
    }

    fn received(sequence: &mut Sequence, repr: &TcpRepr<'_>) {
        let bytes = packet(repr);
        sequence.note_received(&TcpPacket::new_unchecked(&bytes[IPV4_HEADER_LEN..]));
    }

    /// RFC 9293: An acknowledgement carries the number after the last octet sent.
    #[test]
    fn rfc9293_an_acknowledgement_carries_the_number_after_the_last_octet_sent() {
        let mut sequence = Sequence::default();
        for start in [100, i32::MAX - 50] {
            assert_eq!(sent(&mut sequence, start, &[0; 100]), start);
            let next = start.wrapping_add(100);
            assert_eq!(sent(&mut sequence, start, &[]), next); // rewound to retransmit
            assert_eq!(sent(&mut sequence, start, &[0; 10]), start);
            assert_eq!(sent(&mut sequence, start, &[]), next);
        }
    }

    #[test]
    fn numbers_are_shifted_both_ways_and_around_the_end() {
        for (own, wire) in [(100, 500), (500, 100), (i32::MAX - 10, i32::MIN + 10), (7, 7)] {
            let mut sequence = Sequence::default();
            sequence.shift(TcpSeqNumber(own), TcpSeqNumber(wire));
            assert_eq!(sent(&mut sequence, own.wrapping_add(1), &[0; 40]), wire.wrapping_add(1));
            let next = own.wrapping_add(41);
            assert_eq!(sent(&mut sequence, own.wrapping_add(1), &[]), wire.wrapping_add(41));
            let ack_number = Some(TcpSeqNumber(wire.wrapping_add(41)));
            let received = packet(&TcpRepr { ack_number, ..acknowledgement() });
            let unshifted = sequence.unshift(&received).unwrap_or(received);
            let segment = TcpPacket::new_unchecked(&unshifted[IPV4_HEADER_LEN..]);
            assert_eq!(segment.ack_number(), TcpSeqNumber(next));
        }
    }

    #[test]
    fn options_of_a_syn_are_found_or_absent() {
        let options = [1, 3, 3, 7, 2, 4, 0x05, 0xb4, 0];
        assert_eq!((window_shift(&options), segment_size(&options)), (7, Some(1460)));
        for bad in [&[][..], &[0, 2, 4, 5, 180], &[2, 4, 0, 0], &[9, 0, 2, 4, 5, 180], &[2, 4, 5]] {
            assert_eq!((window_shift(bad), segment_size(bad)), (0, None), "{bad:?}");
        }
    }

    #[test]
    fn an_octet_beyond_the_window_does_not_count() {
        let mut sequence = Sequence::default();
        let syn =
            TcpRepr { control: TcpControl::Syn, window_scale: Some(2), window_len: 5, ..acknowledgement() };
        received(&mut sequence, &syn);
        assert_eq!(sequence.limit, Some(TcpSeqNumber(5)));
        received(&mut sequence, &TcpRepr { window_len: 25, ..acknowledgement() });
        assert_eq!(sequence.limit, Some(TcpSeqNumber(100)));
        sent(&mut sequence, 0, &[0; 100]);
        sent(&mut sequence, 100, &[0]);
        assert_eq!(sent(&mut sequence, 0, &[]), 100);
    }
}
