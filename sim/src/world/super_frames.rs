//! The offloads of a network device: consecutive TCP segments are merged into one super-frame, and a sent super-frame
//! is segmented.
//!
//! It is written from the standards and with etherparse, independently of the product's own segmentation
//! ([`gatepost_ground::offload`]).

use std::net::Ipv4Addr;
use std::num::NonZero;

use etherparse::checksum::Sum16BitWords;
use etherparse::{Ethernet2Header, IpNumber, Ipv4HeaderSlice, TcpHeaderSlice, UdpHeaderSlice};
use gatepost::device::Abilities;
use gatepost_ground::Offload;
use gatepost_ground::offload::{PartialChecksum, SegmentKind, Segmentation};

/// All that such a device does.
pub const ABILITIES: Abilities = Abilities { checksum: true, tcp_segmentation: true, udp_segmentation: true };

/// As many as the kernel puts together, MAX_SKB_FRAGS, in one super-frame at most.
const SEGMENTS_MAX: usize = 17;
const ETHERNET_LEN: usize = Ethernet2Header::LEN;
const TCP_CHECKSUM: u16 = 16;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const CWR: u8 = 0x80;

/// Puts the segments together that come in.
#[derive(Default)]
pub struct SuperFrames {
    /// A frame that did not belong to those before.
    next: Option<Vec<u8>>,
}

/// A frame as a device passes it on.
pub struct HandedOn {
    /// The frames as they were on the wire.
    pub wire: Vec<Vec<u8>>,
    /// The frame.
    pub frame: Vec<u8>,
    /// Its offload.
    pub offload: Offload,
}

impl SuperFrames {
    /// The fate of the next frame, and of consecutive ones after it; `take` removes frames from the wire.
    pub fn hand_on(&mut self, mut take: impl FnMut() -> Option<Vec<u8>>) -> Option<HandedOn> {
        let first = self.next.take().or_else(&mut take)?;
        let Some(mut last) = Tcp::read(&first) else {
            let offload = if is_whole_datagram(&first) { Offload::Verified } else { Offload::None };
            return Some(HandedOn { wire: vec![first.clone()], frame: first, offload });
        };
        let (head, size) = (last.clone(), last.data.len());
        let mut frame = first.clone();
        let mut wire = vec![first];
        while size > 0 && last.goes_on(size) && wire.len() < SEGMENTS_MAX {
            let Some(candidate) = take() else { break };
            match Tcp::read(&candidate) {
                Some(more)
                    if more.follows(&last, size)
                        && frame.len() + more.data.len() <= usize::from(u16::MAX) =>
                {
                    frame.extend(&more.data);
                    wire.push(candidate);
                    last = more;
                }
                _ => {
                    self.next = Some(candidate);
                    break;
                }
            }
        }
        let checksum = PartialChecksum { start: head.start as u16, offset: TCP_CHECKSUM };
        let offload = match NonZero::new(size as u16).filter(|_| wire.len() > 1) {
            Some(size) => Offload::Segmentation(Segmentation { kind: SegmentKind::Tcp, size, checksum }),
            None => Offload::Checksum(checksum),
        };
        frame[head.start + 13] |= last.flags;
        set_packet_len(&mut frame, head.id);
        let field = head.start + usize::from(TCP_CHECKSUM);
        let pseudo_header = Sum16BitWords::new()
            .add_slice(&frame[ETHERNET_LEN + 12..ETHERNET_LEN + 20])
            .add_2bytes([0, IpNumber::TCP.0])
            .add_2bytes(((frame.len() - head.start) as u16).to_be_bytes());
        // Not complemented: the sum that the rest is to be added to.
        let sum = !pseudo_header.ones_complement();
        frame[field..field + 2].copy_from_slice(&sum.to_ne_bytes());
        Some(HandedOn { wire, frame, offload })
    }
}

/// A whole TCP segment over IPv4 with right checksums.
#[derive(Clone)]
struct Tcp {
    /// All headers, without the fields that differ between segments.
    common: Vec<u8>,
    id: u16,
    dont_fragment: bool,
    sequence: u32,
    flags: u8,
    /// Where its header begins.
    start: usize,
    data: Vec<u8>,
}

impl Tcp {
    fn read(frame: &[u8]) -> Option<Self> {
        let (ip, start) = whole_packet(frame, IpNumber::TCP)?;
        let tcp = TcpHeaderSlice::from_slice(&frame[start..]).ok()?;
        let data = &frame[start + tcp.slice().len()..];
        if tcp.calc_checksum_ipv4(&ip, data) != Ok(tcp.checksum()) {
            return None;
        }
        let mut common = frame[..frame.len() - data.len()].to_vec();
        for own in [ETHERNET_LEN + 2..ETHERNET_LEN + 6, ETHERNET_LEN + 10..ETHERNET_LEN + 12] {
            common[own].fill(0);
        }
        for own in [start + 4..start + 8, start + 13..start + 14, start + 16..start + 18] {
            common[own].fill(0);
        }
        Some(Self {
            common,
            id: ip.identification(),
            dont_fragment: ip.dont_fragment(),
            sequence: tcp.sequence_number(),
            flags: frame[start + 13],
            start,
            data: data.to_vec(),
        })
    }

    /// Whether it can have one behind it in its super-frame: it is full, and ends nothing.
    fn goes_on(&self, size: usize) -> bool {
        self.flags == ACK && self.data.len() == size
    }

    /// Whether it goes on where `last` ends.
    fn follows(&self, last: &Self, size: usize) -> bool {
        self.common == last.common
            && self.sequence == last.sequence.wrapping_add(last.data.len() as u32)
            && self.flags & !(FIN | PSH) == ACK
            && (1..=size).contains(&self.data.len())
            && (self.dont_fragment || self.id == last.id.wrapping_add(1))
    }
}

/// The frames that go out on the wire of one that leaves `offload` to do.
///
/// # Panics
///
/// The gateway describes the frame wrongly.
pub fn cut(frame: &[u8], offload: Offload) -> Vec<Vec<u8>> {
    let segmentation = match offload {
        Offload::None | Offload::Verified => return vec![frame.to_vec()],
        Offload::Checksum(partial) => {
            let mut frame = frame.to_vec();
            let (start, field) = (usize::from(partial.start), usize::from(partial.start + partial.offset));
            let checksum = Sum16BitWords::new().add_slice(&frame[start..]).ones_complement();
            frame[field..field + 2].copy_from_slice(&checksum.to_ne_bytes());
            return vec![frame];
        }
        Offload::Segmentation(segmentation) => segmentation,
    };
    let protocol = match segmentation.kind {
        SegmentKind::Tcp => IpNumber::TCP,
        SegmentKind::Udp => IpNumber::UDP,
    };
    let (ip, start) = whole_packet(frame, protocol).expect("a super-frame is a whole IPv4 packet");
    assert_eq!(
        usize::from(segmentation.checksum.start),
        start,
        "its transport header is where it is said to be"
    );
    let id = ip.identification();
    let head_len = match segmentation.kind {
        SegmentKind::Tcp => start + TcpHeaderSlice::from_slice(&frame[start..]).expect("TCP").slice().len(),
        SegmentKind::Udp => start + UdpHeaderSlice::from_slice(&frame[start..]).expect("UDP").slice().len(),
    };
    let (head, data) = frame.split_at(head_len);
    let size = usize::from(segmentation.size.get());
    let count = data.len().div_ceil(size);
    let segment = |(index, data): (usize, &[u8])| {
        let mut segment = [head, data].concat();
        set_packet_len(&mut segment, id.wrapping_add(index as u16));
        match segmentation.kind {
            SegmentKind::Tcp => {
                let sequence =
                    u32::from_be_bytes([head[start + 4], head[start + 5], head[start + 6], head[start + 7]]);
                let sequence = sequence.wrapping_add((index * size) as u32);
                segment[start + 4..start + 8].copy_from_slice(&sequence.to_be_bytes());
                let is_last = index + 1 == count;
                segment[start + 13] &=
                    !(if is_last { 0 } else { FIN | PSH } | if index == 0 { 0 } else { CWR });
                let tcp = TcpHeaderSlice::from_slice(&segment[start..]).expect("TCP");
                let checksum = tcp.calc_checksum_ipv4(&ip, data).expect("short");
                segment[start + 16..start + 18].copy_from_slice(&checksum.to_be_bytes());
            }
            SegmentKind::Udp => {
                let len = (segment.len() - start) as u16;
                segment[start + 4..start + 6].copy_from_slice(&len.to_be_bytes());
                let udp = UdpHeaderSlice::from_slice(&segment[start..]).expect("UDP").to_header();
                let checksum =
                    udp.calc_checksum_ipv4_raw(ip.source(), ip.destination(), data).expect("short");
                segment[start + 6..start + 8].copy_from_slice(&checksum.to_be_bytes());
            }
        }
        segment
    };
    data.chunks(size).enumerate().map(segment).collect()
}

/// The header of the packet of `protocol` that `frame` is, whole and no fragment, and where its payload
/// begins.
fn whole_packet(frame: &[u8], protocol: IpNumber) -> Option<(Ipv4HeaderSlice<'_>, usize)> {
    let packet = frame.get(12..)?.strip_prefix(&[8, 0])?;
    let ip = Ipv4HeaderSlice::from_slice(packet).ok()?;
    let is_whole = usize::from(ip.total_len()) == packet.len()
        && !ip.is_fragmenting_payload()
        && ip.protocol() == protocol
        && ip.to_header().calc_header_checksum() == ip.header_checksum();
    let start = ETHERNET_LEN + ip.slice().len();
    is_whole.then_some((ip, start))
}

fn is_whole_datagram(frame: &[u8]) -> bool {
    let datagram = || {
        let (ip, start) = whole_packet(frame, IpNumber::UDP)?;
        let udp = UdpHeaderSlice::from_slice(&frame[start..]).ok()?.to_header();
        let data = &frame[start + 8..];
        let (source, destination): (Ipv4Addr, Ipv4Addr) = (ip.source_addr(), ip.destination_addr());
        let computed = udp.calc_checksum_ipv4_raw(source.octets(), destination.octets(), data).ok()?;
        Some(udp.checksum == computed)
    };
    datagram() == Some(true)
}

/// Gives the IPv4 packet in `frame` the length that it has, an identification, and its header's checksum.
fn set_packet_len(frame: &mut [u8], id: u16) {
    let packet = &mut frame[ETHERNET_LEN..];
    let len = packet.len() as u16;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    let checksum =
        Ipv4HeaderSlice::from_slice(packet).expect("its header is whole").to_header().calc_header_checksum();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use etherparse::{PacketBuilder, TcpHeader};

    use super::*;

    /// A segment with `len` octets of data from `sequence` on.
    fn segment(sequence: u32, len: usize, change: impl FnOnce(&mut TcpHeader)) -> Vec<u8> {
        let mut tcp = TcpHeader::new(1000, 80, sequence, 5000);
        tcp.ack = true;
        change(&mut tcp);
        let mut frame = Vec::new();
        let data: Vec<_> = (0..len).map(|at| (sequence as usize + at) as u8).collect();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([192, 168, 1, 2], [198, 51, 100, 7], 64)
            .tcp_header(tcp)
            .write(&mut frame, &data)
            .unwrap();
        frame
    }

    fn handed_on(frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<HandedOn> {
        let mut waiting: VecDeque<_> = frames.into_iter().collect();
        let mut card = SuperFrames::default();
        std::iter::from_fn(|| card.hand_on(|| waiting.pop_front())).collect()
    }

    /// Whether segmenting restores the input; unused identification fields count up.
    fn is_cut_again(handed_on: &HandedOn) {
        for (index, (cut, mut came)) in
            cut(&handed_on.frame, handed_on.offload).into_iter().zip(handed_on.wire.clone()).enumerate()
        {
            set_packet_len(&mut came, index as u16);
            assert_eq!(cut, came);
        }
    }

    #[test]
    fn segments_that_follow_each_other_cross_in_one_piece() {
        let all = handed_on([
            segment(0, 1000, |_| ()),
            segment(1000, 1000, |_| ()),
            segment(2000, 300, |tcp| tcp.psh = true),
            segment(2300, 1000, |_| ()),
            segment(3300, 0, |_| ()),
        ]);
        assert_eq!(all.iter().map(|made| made.wire.len()).collect::<Vec<_>>(), [3, 1, 1]);
        assert!(all[0].offload.fits(&all[0].frame), "the product takes it");
        assert_eq!(all[0].offload.frames(&all[0].frame), 3);
        assert!(matches!(all[1].offload, Offload::Checksum(_)));
        all.iter().for_each(is_cut_again);
    }

    #[test]
    fn what_does_not_belong_together_stays_apart() {
        type Change = fn(&mut TcpHeader);
        let changes: [(u32, Change); 6] = [
            (999, |_| ()),
            (1000, |tcp| tcp.window_size += 1),
            (1000, |tcp| tcp.acknowledgment_number += 1),
            (1000, |tcp| tcp.destination_port += 1),
            (1000, |tcp| tcp.syn = true),
            (1000, |tcp| tcp.rst = true),
        ];
        for (sequence, change) in changes {
            let all = handed_on([segment(0, 1000, |_| ()), segment(sequence, 1000, change)]);
            assert_eq!(all.len(), 2);
            all.iter().for_each(is_cut_again);
        }
        let mut damaged = segment(1000, 1000, |_| ());
        damaged[100] ^= 1;
        let all = handed_on([segment(0, 1000, |_| ()), damaged.clone()]);
        assert_eq!((&all[1].frame, all[1].offload), (&damaged, Offload::None));
    }

    #[test]
    fn a_datagram_is_verified_and_another_frame_is_as_it_was() {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(1000, 53)
            .write(&mut frame, b"question")
            .unwrap();
        assert_eq!(handed_on([frame.clone()])[0].offload, Offload::Verified);
        *frame.last_mut().unwrap() ^= 1;
        assert_eq!(handed_on([frame.clone()])[0].offload, Offload::None);
        assert_eq!(handed_on([vec![1; 60]])[0].frame, [1; 60]);
    }
}
