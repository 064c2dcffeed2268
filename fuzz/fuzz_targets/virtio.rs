//! Any virtio-net header before any frame: it is refused, or says what the dataplane can check. What fits its frame is
//! cut into frames whose headers and checksums etherparse finds right, through VLAN tags too.

#![no_main]

use etherparse::checksum::Sum16BitWords;
use etherparse::{EtherType, Ethernet2HeaderSlice, Ipv4HeaderSlice, SingleVlanHeaderSlice};
use gatepost::port::virtio::Header;
use gatepost_fuzz::is_sum_right;
use libfuzzer_sys::fuzz_target;
use gatepost_ground::Offload;
use gatepost_ground::offload::{GsoSegments, PartialChecksum, SEGMENTS_MAX, SegmentKind, Segmentation};
use gatepost_ground::wire::vlan::{Payload, Tag};

const NEEDS_CSUM: u8 = 1;
const TCPV4: u8 = 1;
const TCPV6: u8 = 4;
const UDP: u8 = 5;
const FIN_PSH: u8 = 0x09;
const CWR: u8 = 0x80;
const IPV6_HEADER_LEN: usize = 40;

fuzz_target!(|input: &[u8]| {
    let Some((header, frame)) = input.split_first_chunk() else { return };
    check(*header, frame);
    let mut repaired = frame.to_vec();
    repair(*header, &mut repaired);
    check(*header, &repaired);
});

fn check(bytes: [u8; Header::LEN], frame: &[u8]) {
    let header = Header::parse(bytes);
    assert_eq!(header.bytes(), bytes);
    let theirs = payload(frame);
    assert_eq!(
        Payload::of(frame).ok().map(|payload| (payload.ether_type.0, payload.start)),
        theirs.map(|(ether_type, start)| (ether_type.0, start))
    );
    let offload = header.offload(frame);
    assert_eq!(offload.is_ok(), makes_sense(bytes, theirs.map(|(ether_type, _)| ether_type)));
    let Ok(offload) = offload else { return };
    let segments = GsoSegments::new(frame, offload);
    assert_eq!(segments.len() > 0, offload.fits(frame));
    if segments.len() == 0 {
        return;
    }
    // Whoever gets the frame next is told the same, but not of others' verifying.
    let told = if offload == Offload::Verified { Offload::None } else { offload };
    assert_eq!(Header::of(offload, frame).offload(frame), Ok(told));
    match offload {
        Offload::None | Offload::Verified => assert_eq!(written(segments), [frame]),
        Offload::Checksum(partial) => check_checksum(partial, frame, &written(segments)),
        Offload::Segmentation(segmentation) => check_segments(&segmentation, frame, &written(segments)),
    }
}

/// Whether a header agrees with itself and with the protocol of its frame.
fn makes_sense(bytes: [u8; Header::LEN], ether_type: Option<EtherType>) -> bool {
    let [flags, gso_type, _, _, s0, s1, ..] = bytes;
    let is_known = match (gso_type & 0x7f, ether_type) {
        _ if gso_type == 0 => return true,
        (TCPV4, Some(EtherType::IPV4)) | (TCPV6, Some(EtherType::IPV6)) => true,
        (UDP, Some(EtherType::IPV4 | EtherType::IPV6)) => true,
        _ => false,
    };
    is_known && flags & NEEDS_CSUM != 0 && [s0, s1] != [0, 0]
}

/// What etherparse finds behind at most two VLAN tags, and where.
fn payload(frame: &[u8]) -> Option<(EtherType, usize)> {
    let mut found = (Ethernet2HeaderSlice::from_slice(frame).ok()?.ether_type(), 14);
    for _ in 0..Tag::COUNT_MAX {
        if ![EtherType::VLAN_TAGGED_FRAME, EtherType::PROVIDER_BRIDGING].contains(&found.0) {
            break;
        }
        let tag = SingleVlanHeaderSlice::from_slice(&frame[found.1..]).ok()?;
        found = (tag.ether_type(), found.1 + 4);
    }
    Some(found)
}

fn written(segments: GsoSegments<'_>) -> Vec<Vec<u8>> {
    let write = |segment: gatepost_ground::offload::GsoSegment<'_>| {
        let mut bytes = vec![0; segment.len()];
        assert_eq!(segment.write(&mut bytes), Some(segment.len()));
        if let Some((_, too_short)) = bytes.split_first_mut() {
            assert_eq!(segment.write(too_short), None);
        }
        bytes
    };
    segments.map(write).collect()
}

fn check_checksum(partial: PartialChecksum, frame: &[u8], written: &[Vec<u8>]) {
    let (start, at) = (usize::from(partial.start), usize::from(partial.start) + usize::from(partial.offset));
    let [made] = written else { panic!("one frame is to be made") };
    let sum = Sum16BitWords::new().add_slice(&frame[start..]).ones_complement();
    let field = u16::from_ne_bytes([made[at], made[at + 1]]);
    assert_eq!(field % 0xffff, sum % 0xffff);
    assert_eq!((&made[..at], &made[at + 2..]), (&frame[..at], &frame[at + 2..]));
}

fn check_segments(segmentation: &Segmentation, frame: &[u8], written: &[Vec<u8>]) {
    let Segmentation { kind, size, checksum } = *segmentation;
    let (ether_type, link_len) = payload(frame).expect("it fits");
    let is_ipv4 = ether_type == EtherType::IPV4;
    let start = usize::from(checksum.start);
    let field = start + usize::from(checksum.offset);
    let head_len = start
        + match kind {
            SegmentKind::Tcp => usize::from(frame[start + 12] >> 4) * 4,
            SegmentKind::Udp => 8,
        };
    let is_primed = u16::from_ne_bytes([frame[field], frame[field + 1]]) == pseudo_header(frame, kind, start);
    let chunks = frame[head_len..].chunks(usize::from(size.get()));
    assert_eq!(chunks.len(), written.len());
    assert!(written.len() <= SEGMENTS_MAX);
    for (index, (segment, data)) in written.iter().zip(chunks).enumerate() {
        assert_eq!(&segment[head_len..], data);
        assert_eq!(segment[..link_len], frame[..link_len]);
        let (packet, original) = (&segment[link_len..], &frame[link_len..]);
        if is_ipv4 {
            let ip = Ipv4HeaderSlice::from_slice(packet).expect("a header");
            assert_eq!(usize::from(ip.total_len()), packet.len());
            let id = u16::from_be_bytes([original[4], original[5]]);
            assert_eq!(ip.identification(), id.wrapping_add(index as u16));
            assert!(is_sum_right(ip.slice()));
            assert_eq!(packet[..2], original[..2]);
            assert_eq!(packet[6..10], original[6..10]);
            assert_eq!(packet[12..start - link_len], original[12..start - link_len]);
        } else {
            let len = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
            assert_eq!(IPV6_HEADER_LEN + len, packet.len());
            assert_eq!(packet[..4], original[..4]);
            assert_eq!(packet[6..start - link_len], original[6..start - link_len]);
        }
        let (transport, original) = (&segment[start..], &frame[start..]);
        assert_eq!(transport[..4], original[..4]);
        match kind {
            SegmentKind::Tcp => {
                let sequence = |tcp: &[u8]| u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
                let passed = (index * usize::from(size.get())) as u32;
                assert_eq!(sequence(transport), sequence(original).wrapping_add(passed));
                let of_others =
                    if index + 1 == written.len() { 0 } else { FIN_PSH } | if index == 0 { 0 } else { CWR };
                assert_eq!(transport[13], original[13] & !of_others);
                assert_eq!(transport[8..13], original[8..13]);
                assert_eq!(transport[14..16], original[14..16]);
                assert_eq!(segment[start + 18..head_len], frame[start + 18..head_len]);
            }
            SegmentKind::Udp => {
                let len = u16::from_be_bytes([transport[4], transport[5]]);
                assert_eq!(usize::from(len), transport.len());
            }
        }
        if is_primed {
            let sum = Sum16BitWords::new().add_2bytes(pseudo_header(segment, kind, start).to_ne_bytes());
            assert_eq!(sum.add_slice(transport).ones_complement() % 0xffff, 0, "a checksum is wrong");
        }
    }
}

/// The sum of the pseudo-header, in the machine's byte order, of the packet in `frame` whose transport header begins at
/// `start`.
fn pseudo_header(frame: &[u8], kind: SegmentKind, start: usize) -> u16 {
    let Some((ether_type, link_len)) = payload(frame) else { return 0 };
    let addresses = if ether_type == EtherType::IPV4 { 12..20 } else { 8..40 };
    let protocol = match kind {
        SegmentKind::Tcp => 6,
        SegmentKind::Udp => 17,
    };
    let sum = Sum16BitWords::new()
        .add_slice(&frame[link_len..][addresses])
        .add_2bytes([0, protocol])
        .add_2bytes(((frame.len() - start) as u16).to_be_bytes());
    !sum.ones_complement()
}

/// Gives a super-frame the lengths that it has, and the sum of its pseudo-header where its checksum is to be made.
fn repair(header: [u8; Header::LEN], frame: &mut [u8]) {
    let Some((ether_type, link_len)) = payload(frame) else { return };
    let packet = &mut frame[link_len..];
    match ether_type {
        EtherType::IPV4 if packet.len() >= 20 => {
            let len = packet.len() as u16;
            packet[2..4].copy_from_slice(&len.to_be_bytes());
            packet[6..8].copy_from_slice(&[0x40, 0]);
        }
        EtherType::IPV6 if packet.len() >= IPV6_HEADER_LEN => {
            let len = (packet.len() - IPV6_HEADER_LEN) as u16;
            packet[4..6].copy_from_slice(&len.to_be_bytes());
        }
        _ => return,
    }
    let [_, gso_type, _, _, _, _, s0, s1, o0, o1] = header;
    let (start, offset) = (usize::from(u16::from_ne_bytes([s0, s1])), u16::from_ne_bytes([o0, o1]));
    let at = start + usize::from(offset);
    if start < link_len || at + 2 > frame.len() {
        return;
    }
    let kind = if gso_type & 0x7f == UDP { SegmentKind::Udp } else { SegmentKind::Tcp };
    if kind == SegmentKind::Udp && start + 6 <= frame.len() {
        let len = (frame.len() - start) as u16;
        frame[start + 4..start + 6].copy_from_slice(&len.to_be_bytes());
    }
    let sum = pseudo_header(frame, kind, start);
    frame[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
}
