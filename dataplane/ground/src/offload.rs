//! Offloads: the checksum and the segmentation that a frame leaves to its next sender.
//!
//! An operating system hands a network device up to 64 KiB of one flow in one frame, a *super-frame* (GSO), with the
//! size of the segments to make of it. It also leaves the transport checksum to the device: the checksum field has
//! the sum of the pseudo-header, not complemented (a partial checksum). Between two ports with these offloads, a
//! super-frame passes the dataplane as one frame: its headers are rewritten once, and only the pseudo-header's part
//! of the checksum. If the next port lacks an offload, or the frame is for the host stack, [`GsoSegments`] does the
//! work in software.
//!
//! Offloads are not trusted: [`Offload::fits`] checks whether a frame can have its offloads, and a frame that cannot
//! is dropped.

use core::num::NonZero;

use crate::wire::checksum::Sum;
use crate::wire::ethernet::{self, EtherType};
use crate::wire::vlan::{self, Tag};
use crate::wire::{Protocol, ipv4, tcp, udp};

/// The longest frame of all: the largest IP packet behind an Ethernet header and VLAN tags, in octets.
pub const FRAME_LEN_MAX: usize = ethernet::Header::LEN + Tag::COUNT_MAX * Tag::LEN + u16::MAX as usize;

/// The most segments of a super-frame: the largest packet in the shortest segments that a TCP makes (36 octets, which
/// the usual options leave of an MSS of 48).
pub const SEGMENTS_MAX: usize = 2048;

/// The size of an IPv6 header, in octets. (RFC 8200)
const IPV6_HEADER_LEN: usize = 40;

/// The offloads of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offload {
    /// Nothing.
    #[default]
    None,
    /// None, and the sender of the frame has verified the transport checksum.
    Verified,
    /// A checksum.
    Checksum(PartialChecksum),
    /// A super-frame: segmentation, and a checksum for each segment.
    Segmentation(Segmentation),
}

/// A partial checksum: its field has the sum of the pseudo-header only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialChecksum {
    /// The offset in the frame from which the checksum covers the frame to its end, in octets.
    pub start: u16,
    /// The offset of the checksum's field from `start`, in octets.
    pub offset: u16,
}

/// The segmentation of a super-frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// The transport.
    pub kind: SegmentKind,
    /// The most data in each segment, in octets.
    pub size: NonZero<u16>,
    /// The segments' partial checksum; it starts at the transport header.
    pub checksum: PartialChecksum,
}

/// The transport of a super-frame, over IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// TCP: the segments have consecutive sequence numbers.
    Tcp,
    /// UDP: each segment is a datagram.
    Udp,
}

impl SegmentKind {
    fn protocol(self) -> Protocol {
        match self {
            Self::Tcp => Protocol::TCP,
            Self::Udp => Protocol::UDP,
        }
    }

    /// The size of the transport header at `start`, in octets; `None` if a super-frame cannot have this header.
    fn header_len(self, frame: &[u8], start: usize) -> Option<usize> {
        /// The flags that belong to one segment and cannot be repeated in each.
        const NEVER: u8 = tcp::Flags::SYN.0 | tcp::Flags::RST.0 | tcp::Flags::URG.0;
        let segment = frame.get(start..)?;
        match self {
            Self::Tcp => {
                let header: &[u8; tcp::Header::LEN_MIN] = segment.first_chunk()?;
                let len = usize::from(header[12] >> 4) * 4;
                (len >= tcp::Header::LEN_MIN && header[13] & NEVER == 0).then_some(len)
            }
            Self::Udp => {
                let header = udp::Header::parse_fragment(segment).ok()?;
                (usize::from(header.len) == segment.len()).then_some(udp::Header::LEN)
            }
        }
    }
}

impl Offload {
    /// The partial checksum, if there is one.
    #[inline]
    pub fn checksum(self) -> Option<PartialChecksum> {
        match self {
            Self::None | Self::Verified => None,
            Self::Checksum(partial) => Some(partial),
            Self::Segmentation(segmentation) => Some(segmentation.checksum),
        }
    }

    /// Whether `frame` can have these offloads: the checksum's field is in the frame; a super-frame is one
    /// unfragmented IP packet, its transport header is where the checksum starts and can be repeated, and it has at
    /// most [`SEGMENTS_MAX`] segments.
    pub fn fits(self, frame: &[u8]) -> bool {
        match self {
            Self::None | Self::Verified => true,
            Self::Checksum(partial) => partial.field(frame).is_some(),
            Self::Segmentation(segmentation) => Layout::of(&segmentation, frame).is_some(),
        }
    }

    /// The number of frames that `frame`, which the offloads fit, represents.
    pub fn frames(self, frame: &[u8]) -> usize {
        self.layout(frame).map_or(1, |layout| layout.segments)
    }

    /// The length of the longest frame that `frame`, which the offloads fit, represents, in octets.
    #[inline]
    pub fn frame_len_max(self, frame: &[u8]) -> usize {
        match self {
            Self::Segmentation(_) => self
                .layout(frame)
                .map_or(frame.len(), |layout| frame.len().min(layout.head_len + layout.size)),
            Self::None | Self::Verified | Self::Checksum(_) => frame.len(),
        }
    }

    /// The offloads after the first `from` octets of the frame were replaced by `to` octets; `None` if an offload
    /// begins in the replaced octets.
    pub(crate) fn behind(self, from: usize, to: usize) -> Option<Self> {
        match self {
            Self::None | Self::Verified => Some(self),
            Self::Checksum(partial) => Some(Self::Checksum(partial.behind(from, to)?)),
            Self::Segmentation(segmentation) => {
                let checksum = segmentation.checksum.behind(from, to)?;
                Some(Self::Segmentation(Segmentation { checksum, ..segmentation }))
            }
        }
    }

    fn layout(self, frame: &[u8]) -> Option<Layout> {
        match self {
            Self::Segmentation(segmentation) => Layout::of(&segmentation, frame),
            Self::None | Self::Verified | Self::Checksum(_) => None,
        }
    }
}

impl PartialChecksum {
    /// The partial checksum of a transport header of `protocol` at `start`.
    pub fn of_transport(protocol: Protocol, start: usize) -> Option<Self> {
        let offset = match protocol {
            Protocol::TCP => tcp::Header::CHECKSUM_OFFSET,
            Protocol::UDP => udp::Header::CHECKSUM_OFFSET,
            _ => return None,
        };
        Some(Self { start: u16::try_from(start).ok()?, offset: offset as u16 })
    }

    fn behind(self, from: usize, to: usize) -> Option<Self> {
        let start = usize::from(self.start).checked_sub(from)?;
        Some(Self { start: u16::try_from(start + to).ok()?, ..self })
    }

    /// The offset of the checksum's field in `frame`, if it is in the frame.
    fn field(self, frame: &[u8]) -> Option<usize> {
        let at = usize::from(self.start) + usize::from(self.offset);
        (usize::from(self.start) >= ethernet::Header::LEN && at + 2 <= frame.len()).then_some(at)
    }

    /// Completes the checksum of `frame`, if its field is in the frame.
    pub(crate) fn complete(self, frame: &mut [u8]) {
        let Some(at) = self.field(frame) else { return };
        let sum = Sum::default().add_bytes(&frame[usize::from(self.start)..]);
        self.write(frame, at, sum);
    }

    fn write(self, frame: &mut [u8], at: usize, sum: Sum) {
        let checksum = sum.checksum();
        let is_udp = usize::from(self.offset) == udp::Header::CHECKSUM_OFFSET;
        let sent = if is_udp { udp::nonzero(checksum) } else { checksum };
        frame[at..at + 2].copy_from_slice(&sent.to_be_bytes());
    }
}

/// The parts of a super-frame.
#[derive(Clone, Copy, Debug)]
struct Layout {
    kind: SegmentKind,
    is_ipv4: bool,
    /// The size of the Ethernet header and the VLAN tags.
    link_len: usize,
    /// The size of all headers together, which every segment repeats.
    head_len: usize,
    size: usize,
    checksum: PartialChecksum,
    /// The offset of the checksum's field.
    field: usize,
    segments: usize,
}

impl Layout {
    fn of(segmentation: &Segmentation, frame: &[u8]) -> Option<Self> {
        let Segmentation { kind, size, checksum } = *segmentation;
        let start = usize::from(checksum.start);
        let vlan::Payload { ether_type, start: link_len } = vlan::Payload::of(frame).ok()?;
        let is_ipv4 = match ether_type {
            EtherType::IPV4 => true,
            EtherType::IPV6 => false,
            _ => return None,
        };
        let (packet, network_len) = (&frame[link_len..], start.checked_sub(link_len)?);
        let is_whole = if is_ipv4 {
            is_whole_ipv4(packet, network_len, kind)
        } else {
            is_whole_ipv6(packet, network_len)
        };
        let is_place_right = PartialChecksum::of_transport(kind.protocol(), start) == Some(checksum);
        if !is_whole || !is_place_right {
            return None;
        }
        let head_len = start + kind.header_len(frame, start)?;
        let data_len = frame.len().checked_sub(head_len).filter(|len| *len > 0)?;
        let size = usize::from(size.get());
        let segments = data_len.div_ceil(size);
        let field = checksum.field(frame)?;
        (segments <= SEGMENTS_MAX).then_some(Self {
            kind,
            is_ipv4,
            link_len,
            head_len,
            size,
            checksum,
            field,
            segments,
        })
    }
}

/// Whether `packet` is an unfragmented IPv4 packet whose payload of `kind` begins at `start`.
fn is_whole_ipv4(packet: &[u8], start: usize, kind: SegmentKind) -> bool {
    let Some(header) = packet.first_chunk::<{ ipv4::Header::LEN_MIN }>() else { return false };
    let header_len = usize::from(header[0] & 15) * 4;
    let is_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    header[0] >> 4 == 4
        && header_len >= ipv4::Header::LEN_MIN
        && start == header_len
        && usize::from(u16::from_be_bytes([header[2], header[3]])) == packet.len()
        && !is_fragment
        && header[9] == kind.protocol().0
}

/// Whether `packet` is a whole IPv6 packet and `start` is behind its header. Segmentation does not depend on
/// extension headers in between.
fn is_whole_ipv6(packet: &[u8], start: usize) -> bool {
    if packet.len() < IPV6_HEADER_LEN {
        return false;
    }
    let payload_len = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    packet[0] >> 4 == 6 && packet.len() == IPV6_HEADER_LEN + payload_len && start >= IPV6_HEADER_LEN
}

/// The frames without offloads that a frame represents, first to last: its segments, or the frame itself with its
/// checksum. (RFC 9293, section 3.7, as network devices do it)
///
/// Each segment repeats the headers. TCP sequence numbers are consecutive, FIN and PSH are in the last segment only,
/// CWR in the first only (RFC 3168, section 6.1.2); the IPv4 identification increases by one.
#[derive(Clone, Debug)]
pub struct GsoSegments<'a> {
    frame: &'a [u8],
    offload: Offload,
    /// The layout of a super-frame.
    layout: Option<Layout>,
    next: usize,
    len: usize,
}

impl<'a> GsoSegments<'a> {
    /// The frames that `frame` represents; none if `offload` does not fit it.
    pub fn new(frame: &'a [u8], offload: Offload) -> Self {
        let layout = offload.layout(frame);
        let len = match (layout, offload) {
            (Some(layout), _) => layout.segments,
            (None, Offload::Segmentation(_)) => 0,
            (None, _) => usize::from(offload.fits(frame)),
        };
        Self { frame, offload, layout, next: 0, len }
    }
}

impl<'a> Iterator for GsoSegments<'a> {
    type Item = GsoSegment<'a>;

    fn next(&mut self) -> Option<GsoSegment<'a>> {
        let index = self.next;
        let is_last = index + 1 == self.len;
        self.next = (index < self.len).then_some(index + 1)?;
        Some(GsoSegment { frame: self.frame, offload: self.offload, layout: self.layout, index, is_last })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len - self.next, Some(self.len - self.next))
    }
}

impl ExactSizeIterator for GsoSegments<'_> {}

/// One frame that is to be made.
#[derive(Clone, Debug)]
pub struct GsoSegment<'a> {
    frame: &'a [u8],
    offload: Offload,
    layout: Option<Layout>,
    index: usize,
    is_last: bool,
}

impl GsoSegment<'_> {
    /// The frame's length, in octets.
    pub fn len(&self) -> usize {
        self.layout.map_or(self.frame.len(), |layout| layout.head_len + self.data(&layout).len())
    }

    /// Whether the frame is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the frame to the beginning of `buffer` and returns its length in octets. Returns `None`, and writes
    /// nothing, if it does not fit.
    pub fn write(&self, buffer: &mut [u8]) -> Option<usize> {
        let buffer = buffer.get_mut(..self.len())?;
        let Some(layout) = &self.layout else {
            buffer.copy_from_slice(self.frame);
            if let Offload::Checksum(partial) = self.offload {
                partial.complete(buffer);
            }
            return Some(buffer.len());
        };
        let (head, data) = buffer.split_at_mut(layout.head_len);
        head.copy_from_slice(&self.frame[..layout.head_len]);
        data.copy_from_slice(self.data(layout));
        self.adapt_head(layout, head, data);
        Some(buffer.len())
    }

    /// Writes as much of the frame as `buffer` holds, with the headers of the whole frame, and returns its length in
    /// octets. Returns `None` if `buffer` does not hold the headers.
    pub fn write_beginning(&self, buffer: &mut [u8]) -> Option<usize> {
        let Some(layout) = &self.layout else {
            let Some(partial) = self.offload.checksum() else {
                let len = buffer.len().min(self.frame.len());
                buffer[..len].copy_from_slice(&self.frame[..len]);
                return Some(len);
            };
            let at = partial.field(self.frame)?;
            let len = buffer.len().min(self.frame.len());
            let buffer = buffer.get_mut(..len).filter(|buffer| at + 2 <= buffer.len())?;
            buffer.copy_from_slice(&self.frame[..len]);
            partial.write(buffer, at, Sum::default().add_bytes(&self.frame[usize::from(partial.start)..]));
            return Some(len);
        };
        let data = self.data(layout);
        let len = buffer.len().min(self.len());
        let (head, rest) = buffer.get_mut(..len)?.split_at_mut_checked(layout.head_len)?;
        head.copy_from_slice(&self.frame[..layout.head_len]);
        rest.copy_from_slice(&data[..rest.len()]);
        self.adapt_head(layout, head, data);
        Some(len)
    }

    fn data(&self, layout: &Layout) -> &[u8] {
        let data = &self.frame[layout.head_len..];
        let begin = self.index * layout.size;
        &data[begin..data.len().min(begin + layout.size)]
    }

    /// Makes the super-frame's headers in `head` those of the segment with `data`.
    fn adapt_head(&self, layout: &Layout, head: &mut [u8], data: &[u8]) {
        let start = usize::from(layout.checksum.start);
        // The lengths fit their fields, as they are not above the frame's.
        let [old_len, new_len] = [self.frame.len(), head.len() + data.len()].map(|len| (len - start) as u16);
        let packet_len = (head.len() + data.len() - layout.link_len) as u16;
        let packet = &mut head[layout.link_len..];
        if layout.is_ipv4 {
            adapt_ipv4(&mut packet[..start - layout.link_len], packet_len, self.index);
        } else {
            let payload_len = packet_len - IPV6_HEADER_LEN as u16;
            packet[4..6].copy_from_slice(&payload_len.to_be_bytes());
        }

        let transport = &mut head[start..];
        match layout.kind {
            SegmentKind::Tcp => {
                let sequence = u32::from_be_bytes([transport[4], transport[5], transport[6], transport[7]]);
                let sequence = sequence.wrapping_add((self.index * layout.size) as u32);
                transport[4..8].copy_from_slice(&sequence.to_be_bytes());
                transport[13] &= !self.flags_of_others();
            }
            SegmentKind::Udp => transport[4..6].copy_from_slice(&new_len.to_be_bytes()),
        }
        // The sum of the pseudo-header has the length of the super-frame.
        let sum = Sum::default().add_bytes(&head[start..]).add_u16(!old_len).add_u16(new_len);
        layout.checksum.write(head, layout.field, sum.add_bytes(data));
    }

    /// The control bits that only another segment of the same super-frame has.
    fn flags_of_others(&self) -> u8 {
        let of_last = if self.is_last { 0 } else { tcp::Flags::FIN.0 | tcp::Flags::PSH.0 };
        let of_first = if self.index == 0 { 0 } else { tcp::Flags::CWR.0 };
        of_last | of_first
    }
}

/// Makes `header` that of segment `index` with `len` octets.
fn adapt_ipv4(header: &mut [u8], len: u16, index: usize) {
    let id = u16::from_be_bytes([header[4], header[5]]).wrapping_add(index as u16);
    header[2..4].copy_from_slice(&len.to_be_bytes());
    header[4..6].copy_from_slice(&id.to_be_bytes());
    header[10..12].fill(0);
    let checksum = Sum::default().add_bytes(header).checksum();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}
