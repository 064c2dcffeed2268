//! The virtio-net header before each frame of a TAP device with offloads. (Virtual I/O Device 1.2, section 5.1.6;
//! Linux include/uapi/linux/virtio_net.h)
//!
//! The header's contents are not trusted. This module turns them into an [`Offload`] or rejects them; the dataplane
//! checks whether the offload fits the frame. No length in the header is used as an index.

use std::io;
use std::num::NonZero;

use gatepost_ground::Offload;
use gatepost_ground::offload::{PartialChecksum, SegmentKind, Segmentation};
use gatepost_ground::wire::ethernet::EtherType;
use gatepost_ground::wire::tcp::Flags;
use gatepost_ground::wire::vlan;

/// The checksum is partial.
const NEEDS_CSUM: u8 = 1;
/// The writer of the frame has verified its transport checksum.
const DATA_VALID: u8 = 2;
/// The types of super-frames. The older UDP type, 3, is never requested.
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// A super-frame of TCP with CWR.
const GSO_ECN: u8 = 0x80;
/// The offset of a TCP header's flags.
const TCP_FLAGS_OFFSET: usize = 13;

/// The header. Its numbers are in the machine's byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    flags: u8,
    gso_type: u8,
    /// The total length of a super-frame's headers: a hint.
    header_len: u16,
    gso_size: u16,
    checksum_start: u16,
    checksum_offset: u16,
}

/// The header contradicts itself or its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

impl From<Invalid> for io::Error {
    fn from(_: Invalid) -> Self {
        Self::new(io::ErrorKind::InvalidData, "a frame's virtio-net header makes no sense")
    }
}

impl Header {
    /// The size of the header, in octets.
    pub const LEN: usize = 10;

    /// Parses the header in `bytes`.
    pub fn parse(bytes: [u8; Self::LEN]) -> Self {
        let [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1] = bytes;
        Self {
            flags,
            gso_type,
            header_len: u16::from_ne_bytes([h0, h1]),
            gso_size: u16::from_ne_bytes([g0, g1]),
            checksum_start: u16::from_ne_bytes([s0, s1]),
            checksum_offset: u16::from_ne_bytes([o0, o1]),
        }
    }

    /// The header's octets.
    pub fn bytes(self) -> [u8; Self::LEN] {
        let [h0, h1] = self.header_len.to_ne_bytes();
        let [g0, g1] = self.gso_size.to_ne_bytes();
        let [s0, s1] = self.checksum_start.to_ne_bytes();
        let [o0, o1] = self.checksum_offset.to_ne_bytes();
        [self.flags, self.gso_type, h0, h1, g0, g1, s0, s1, o0, o1]
    }

    /// The offload of a frame with this header. `frame` has the frame's beginning.
    ///
    /// # Errors
    ///
    /// [`Invalid`] if the header contradicts itself or the frame's EtherType.
    pub fn offload(self, frame: &[u8]) -> Result<Offload, Invalid> {
        let checksum = (self.flags & NEEDS_CSUM != 0)
            .then_some(PartialChecksum { start: self.checksum_start, offset: self.checksum_offset });
        if self.gso_type == GSO_NONE {
            let is_verified = self.flags & DATA_VALID != 0;
            let complete = if is_verified { Offload::Verified } else { Offload::None };
            return Ok(checksum.map_or(complete, Offload::Checksum));
        }
        let ether_type = vlan::Payload::of(frame).map_err(|_| Invalid)?.ether_type;
        let kind = match (self.gso_type & !GSO_ECN, ether_type) {
            (GSO_TCPV4, EtherType::IPV4) | (GSO_TCPV6, EtherType::IPV6) => SegmentKind::Tcp,
            (GSO_UDP_L4, EtherType::IPV4 | EtherType::IPV6) => SegmentKind::Udp,
            _ => return Err(Invalid),
        };
        let size = NonZero::new(self.gso_size).ok_or(Invalid)?;
        // A super-frame must have a partial checksum, as each segment has its own checksum.
        let checksum = checksum.ok_or(Invalid)?;
        Ok(Offload::Segmentation(Segmentation { kind, size, checksum }))
    }

    /// The header of `frame` with `offload`.
    pub fn of(offload: Offload, frame: &[u8]) -> Self {
        let Some(checksum) = offload.checksum() else { return Self::default() };
        let header = Self {
            flags: NEEDS_CSUM,
            checksum_start: checksum.start,
            checksum_offset: checksum.offset,
            ..Self::default()
        };
        let Offload::Segmentation(segmentation) = offload else { return header };
        let transport = frame.get(usize::from(checksum.start)..).unwrap_or_default();
        let is_ipv6 = vlan::Payload::of(frame).is_ok_and(|payload| payload.ether_type == EtherType::IPV6);
        let (gso_type, transport_header_len) = match segmentation.kind {
            SegmentKind::Tcp => {
                let version = if is_ipv6 { GSO_TCPV6 } else { GSO_TCPV4 };
                let has_cwr = transport.get(TCP_FLAGS_OFFSET).is_some_and(|flags| flags & Flags::CWR.0 != 0);
                let header_len = transport.get(12).map_or(0, |offset| u16::from(offset >> 4) * 4);
                (if has_cwr { version | GSO_ECN } else { version }, header_len)
            }
            SegmentKind::Udp => (GSO_UDP_L4, 8),
        };
        Self {
            gso_type,
            gso_size: segmentation.size.get(),
            header_len: checksum.start.saturating_add(transport_header_len),
            ..header
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IPV4: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    const IPV6: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd];
    const ARP: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6];

    const TCP: Header = Header {
        flags: NEEDS_CSUM,
        gso_type: GSO_TCPV4,
        header_len: 54,
        gso_size: 1448,
        checksum_start: 34,
        checksum_offset: 16,
    };

    #[test]
    fn a_super_frame_of_the_kernels_is_understood_and_said_again() {
        // As Linux writes it before a part of a stream with timestamps.
        let mut bytes = [1, 1, 66, 0, 0xa8, 0x05, 34, 0, 16, 0];
        if cfg!(target_endian = "big") {
            bytes[2..].as_chunks_mut::<2>().0.iter_mut().for_each(|number| number.reverse());
        }
        let header = Header::parse(bytes);
        assert_eq!((header, header.bytes()), (Header { header_len: 66, ..TCP }, bytes));
        let mut frame = [&IPV4[..], &[0; 52]].concat();
        frame[34 + 12] = 0x80;
        let offload = header.offload(&frame).expect("valid");
        assert_eq!(Header::of(offload, &frame), header);
        frame[34 + TCP_FLAGS_OFFSET] = Flags::CWR.0;
        assert_eq!(Header::of(offload, &frame).gso_type, GSO_TCPV4 | GSO_ECN);
        frame[..14].copy_from_slice(&IPV6);
        assert_eq!(Header::of(offload, &frame).gso_type, GSO_TCPV6 | GSO_ECN);
    }

    #[test]
    fn super_frames_are_known_through_vlan_tags() {
        let tag = |frame: &[u8]| [&frame[..12], &[0x81, 0, 0, 10], &frame[12..]].concat();
        for tags in 1..=2_u16 {
            let behind = |frame: &[u8]| (0..tags).fold(frame.to_vec(), |frame, _| tag(&frame));
            let header = Header { checksum_start: 34 + 4 * tags, header_len: 54 + 4 * tags, ..TCP };
            for (ip, gso_type) in [(IPV4, GSO_TCPV4), (IPV6, GSO_TCPV6)] {
                let header = Header { gso_type, ..header };
                let mut frame = behind(&[&ip[..], &[0; 60]].concat());
                frame[usize::from(header.checksum_start) + 12] = 0x50;
                let offload = header.offload(&frame).expect("valid");
                assert_eq!(
                    offload.checksum(),
                    Some(PartialChecksum { start: header.checksum_start, offset: 16 })
                );
                assert_eq!(Header::of(offload, &frame), header);
            }
            assert_eq!(header.offload(&behind(&ARP)), Err(Invalid));
        }
        let triple = [0x81, 0, 0, 10].repeat(3);
        assert_eq!(TCP.offload(&[&IPV4[..12], &triple, &IPV4[12..]].concat()), Err(Invalid));
        assert_eq!(TCP.offload(&tag(&IPV4)[..17]), Err(Invalid));
    }

    #[test]
    fn what_leaves_nothing_or_a_checksum_to_do() {
        assert_eq!(Header::default().offload(&ARP), Ok(Offload::None));
        assert_eq!(Header::of(Offload::None, &ARP), Header::default());
        let verified = Header { flags: DATA_VALID, ..Header::default() };
        assert_eq!(verified.offload(&IPV4), Ok(Offload::Verified));
        // The reading side records that: the frame itself does not carry it any further.
        assert_eq!(Header::of(Offload::Verified, &IPV4), Header::default());
        let both = Header { flags: NEEDS_CSUM | DATA_VALID, gso_type: GSO_NONE, ..TCP };
        assert!(matches!(both.offload(&IPV4), Ok(Offload::Checksum(_))));
        let partial = Header { gso_type: GSO_NONE, gso_size: 0, header_len: 0, ..TCP };
        let offload = Offload::Checksum(PartialChecksum { start: 34, offset: 16 });
        assert_eq!(partial.offload(&IPV4), Ok(offload));
        assert_eq!(Header::of(offload, &IPV4), partial);
    }

    #[test]
    fn a_header_that_makes_no_sense_is_refused() {
        let udp = Header { gso_type: GSO_UDP_L4, ..TCP };
        assert!(udp.offload(&IPV4).is_ok() && udp.offload(&IPV6).is_ok());
        for (header, frame) in [
            (Header { gso_size: 0, ..TCP }, &IPV4[..]),
            (Header { flags: 0, ..TCP }, &IPV4),
            (Header { gso_type: 2, ..TCP }, &IPV4),
            (Header { gso_type: 3, ..TCP }, &IPV4),
            (Header { gso_type: 0x7f, ..TCP }, &IPV4),
            (Header { gso_type: GSO_ECN, ..TCP }, &IPV4),
            (TCP, &IPV6),
            (Header { gso_type: GSO_TCPV6, ..TCP }, &IPV4),
            (TCP, &ARP),
            (udp, &ARP),
            (TCP, &IPV4[..13]),
            (TCP, &[]),
        ] {
            assert_eq!(header.offload(frame), Err(Invalid), "{header:?}");
        }
    }

    #[test]
    fn absurd_lengths_are_carried_and_never_used() {
        let absurd =
            Header { header_len: u16::MAX, checksum_start: u16::MAX, checksum_offset: u16::MAX, ..TCP };
        let offload = absurd.offload(&IPV4).expect("it is the frame that refutes it");
        assert!(!offload.fits(&IPV4));
        assert_eq!(Header::of(offload, &IPV4).header_len, u16::MAX);
    }
}
