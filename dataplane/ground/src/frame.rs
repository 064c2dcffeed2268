//! A frame: its octets, the position of its packet, and its offloads.
//!
//! ```text
//!           ◀──── start ────▶◀── link header ──▶◀───── packet ─────▶
//!  buffer  ┌────────────────┬───────────────────┬───────────────────┬──────┐
//!          │ headroom       │ Ethernet, tags    │ IPv4, ARP ...     │ free │
//!          └────────────────┴───────────────────┴───────────────────┴──────┘
//!                           ◀──────────── the frame's octets ──────▶
//! ```
//!
//! A frame is received behind [`Frame::HEADROOM`] free octets. A link header of another length (VLAN tags, PPPoE, the
//! outer headers of a tunnel) takes room from the headroom or gives room to it, so that the packet does not move: see
//! [`Frame::relink`]. Stages that work on the packet use [`Frame::packet`], independently of the link header.

use core::mem;

use crate::offload::{GsoSegments, Offload};
use crate::wire::ethernet::{EtherType, Header};
use crate::wire::vlan::{Tag, VlanId};

/// A frame in a buffer of fixed capacity.
#[derive(Clone, Debug)]
pub struct Frame {
    buffer: Box<[u8]>,
    /// The frame's beginning in the buffer.
    start: u32,
    /// The packet's beginning in the buffer. In a frame shorter than its link header, this is behind the frame's end.
    packet: u32,
    /// The frame's end in the buffer.
    end: u32,
    offload: Offload,
}

impl Frame {
    /// The free octets before a received frame. They hold the longest headers that the gateway puts before a packet:
    /// Ethernet, two VLAN tags, PPPoE, and a tunnel's IPv6, UDP and WireGuard headers.
    pub const HEADROOM: usize = 128;

    /// An empty frame that can hold `capacity` octets behind its headroom.
    pub fn with_capacity(capacity: usize) -> Self {
        let headroom = if capacity == 0 { 0 } else { Self::HEADROOM };
        let buffer = vec![0; headroom + capacity].into_boxed_slice();
        let (start, packet) = (headroom as u32, (headroom + Header::LEN) as u32);
        Self { buffer, start, packet, end: start, offload: Offload::None }
    }

    /// The most octets of a received frame.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.buffer.len().saturating_sub(Self::HEADROOM)
    }

    /// The octets of the frame, from the destination's MAC on, without FCS.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start as usize..self.end as usize]
    }

    /// The octets of the frame, to rewrite.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start as usize..self.end as usize]
    }

    /// The packet in the frame: the octets behind the link header, padding included.
    #[inline]
    pub fn packet(&self) -> &[u8] {
        self.buffer.get(self.packet as usize..self.end as usize).unwrap_or_default()
    }

    /// The packet in the frame, to rewrite.
    #[inline]
    pub fn packet_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.packet as usize..self.end as usize).unwrap_or_default()
    }

    /// The length of the link header, in octets.
    #[inline]
    pub fn link_len(&self) -> usize {
        (self.packet - self.start) as usize
    }

    /// Sets the length of the link header, in octets, for a frame that came in with more than an Ethernet header.
    #[inline]
    pub fn set_link_len(&mut self, len: usize) {
        debug_assert!(len <= self.bytes().len(), "the link header stands in the frame");
        self.packet = self.start + len as u32;
    }

    /// The buffer behind the headroom, to fill. The frame is empty until [`Frame::set_len`] sets its length; its
    /// packet begins behind an Ethernet header.
    #[inline]
    pub fn buffer_mut(&mut self) -> &mut [u8] {
        self.start = Self::HEADROOM.min(self.buffer.len()) as u32;
        (self.packet, self.end) = (self.start + Header::LEN as u32, self.start);
        &mut self.buffer[self.start as usize..]
    }

    /// Sets the length, cut to what the buffer holds.
    #[inline]
    pub fn set_len(&mut self, len: usize) {
        self.end = (self.start as usize).saturating_add(len).min(self.buffer.len()) as u32;
    }

    /// Sets the length of the packet in the frame, cut to what the buffer holds.
    #[inline]
    pub fn set_packet_len(&mut self, len: usize) {
        self.set_len(self.link_len() + len);
    }

    /// The frame's offloads.
    #[inline]
    pub fn offload(&self) -> Offload {
        self.offload
    }

    /// Sets the frame's offloads.
    #[inline]
    pub fn set_offload(&mut self, offload: Offload) {
        self.offload = offload;
    }

    /// The frames without offloads that this frame represents.
    pub fn segments(&self) -> GsoSegments<'_> {
        GsoSegments::new(self.bytes(), self.offload)
    }

    /// The length of the longest packet that this frame represents, in octets, to be compared with an MTU.
    #[inline]
    pub fn packet_len_max(&self) -> usize {
        self.offload.frame_len_max(self.bytes()).saturating_sub(self.link_len())
    }

    /// Completes the partial checksum of a frame that is not a super-frame.
    pub fn complete_checksum(&mut self) {
        if let Offload::Checksum(partial) = self.offload {
            partial.complete(self.bytes_mut());
            self.offload = Offload::None;
        }
    }

    /// Replaces the link header by one of `len` octets, and returns it to be written. Returns `None`, with the frame
    /// unchanged, if there is no room.
    #[inline]
    pub fn relink(&mut self, len: usize) -> Option<&mut [u8]> {
        if len != self.link_len() && !self.move_start(len) {
            return None;
        }
        self.bytes_mut().get_mut(..len)
    }

    /// Moves the frame's beginning so that its link header has `link_len` octets. Returns `false`, with the frame
    /// unchanged, if the headroom is too short or an offload begins in the link header.
    #[cold]
    fn move_start(&mut self, link_len: usize) -> bool {
        let start = (self.packet as usize).checked_sub(link_len);
        let offload = self.offload.behind(self.link_len(), link_len);
        let (Some(start), Some(offload), true) = (start, offload, self.packet <= self.end) else {
            return false;
        };
        (self.start, self.offload) = (start as u32, offload);
        true
    }

    /// Removes the first VLAN tag of a frame that has one. Returns `false`, with the frame unchanged, if an offload
    /// begins in the tag.
    pub fn remove_tag(&mut self) -> bool {
        let Some(offload) = self.offload.behind(Header::LEN + Tag::LEN, Header::LEN) else { return false };
        // The addresses move to the tag; the EtherType in the tag takes the place of the one that announced it.
        let announced_at = Header::LEN - size_of::<EtherType>();
        self.bytes_mut().copy_within(..announced_at, Tag::LEN);
        self.start += Tag::LEN as u32;
        (self.packet, self.offload) = (self.packet + Tag::LEN as u32, offload);
        true
    }

    /// Copies this frame to `other`, with a tag of the VLAN `vlan` before any other tag. Returns `false`, and changes
    /// nothing, if the frame has no whole Ethernet header or an offload begins in it.
    pub fn copy_tagged(&self, vlan: VlanId, other: &mut Self) -> bool {
        let tagged = self.offload.behind(Header::LEN, Header::LEN + Tag::LEN);
        let at = Header::LEN - size_of::<EtherType>();
        let (Some(offload), Some((addresses, rest))) = (tagged, self.bytes().split_at_checked(at)) else {
            return false;
        };
        let len = self.bytes().len() + Tag::LEN;
        other.reserve(len);
        let buffer = other.buffer_mut();
        buffer[..at].copy_from_slice(addresses);
        buffer[at..at + 2].copy_from_slice(&EtherType::VLAN.0.to_be_bytes());
        buffer[at + 2..at + 4].copy_from_slice(&vlan.get().to_be_bytes());
        buffer[at + 4..len].copy_from_slice(rest);
        other.set_len(len);
        other.packet = other.start + (self.link_len() + Tag::LEN) as u32;
        other.offload = offload;
        true
    }

    /// Gives the frame a buffer of `capacity` octets, unless its own is as large.
    pub fn reserve(&mut self, capacity: usize) {
        if self.capacity() < capacity {
            let mut larger = Self::with_capacity(capacity);
            self.give_to(&mut larger);
            *self = larger;
        }
    }

    /// Moves the frame to `other` and leaves this one empty: by copying if the buffers have different capacities and
    /// the frame fits, else by exchanging the buffers.
    pub fn give_to(&mut self, other: &mut Self) {
        if other.buffer.len() != self.buffer.len() && self.end as usize <= other.buffer.len() {
            other.buffer[self.start as usize..self.end as usize].copy_from_slice(self.bytes());
            (other.start, other.packet, other.end) = (self.start, self.packet, self.end);
            other.offload = self.offload;
        } else {
            mem::swap(self, other);
        }
        (self.end, self.offload) = (self.start, Offload::None);
    }
}

impl Default for Frame {
    /// An empty frame that can hold nothing.
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::PartialChecksum;

    #[test]
    fn buffers_of_different_capacity_are_exchanged_only_if_they_must() {
        let (mut small, mut large) = (Frame::with_capacity(8), Frame::with_capacity(16));
        small.set_len(5);
        small.give_to(&mut large);
        assert_eq!((small.bytes().len(), large.bytes().len()), (0, 5));
        assert_eq!((large.capacity(), small.capacity()), (16, 8));
        large.set_len(9);
        large.give_to(&mut small);
        assert_eq!((large.capacity(), small.capacity()), (8, 16));
        assert_eq!((large.bytes().len(), small.bytes().len()), (0, 9));
    }

    const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

    /// A frame that was received, with these octets behind its addresses.
    fn received(behind_macs: &[u8]) -> Frame {
        let mut frame = Frame::with_capacity(64);
        let bytes = [&MACS, behind_macs].concat();
        frame.buffer_mut()[..bytes.len()].copy_from_slice(&bytes);
        frame.set_len(bytes.len());
        frame
    }

    #[test]
    fn the_packet_stands_behind_the_link_header() {
        let mut frame = received(&[8, 0, 0x45, 7, 9]);
        assert_eq!((frame.packet(), frame.packet_len_max()), (&[0x45, 7, 9][..], 3));
        frame.set_packet_len(2);
        frame.packet_mut()[1] = 8;
        assert_eq!((frame.packet(), frame.bytes().len()), (&[0x45, 8][..], 16));
        frame.set_len(5);
        assert!(frame.packet().is_empty() && frame.packet_mut().is_empty(), "shorter than its link header");

        let mut tagged = received(&[0x81, 0, 0, 5, 8, 0, 0x45]);
        tagged.set_link_len(18);
        assert_eq!((tagged.packet(), tagged.link_len()), (&[0x45][..], 18));
        tagged.buffer_mut();
        assert_eq!(tagged.link_len(), Header::LEN, "of the next frame in this buffer");
    }

    #[test]
    fn another_link_header_leaves_the_packet_where_it_is() {
        let partial = |start| Offload::Checksum(PartialChecksum { start, offset: 1 });
        let mut frame = received(&[8, 0, 1, 2, 3, 4]);
        frame.set_offload(partial(15));
        let packet_at = frame.packet().as_ptr();
        for len in [14 + 8, 14, 14 + 4, 0, Frame::HEADROOM + Header::LEN, 14] {
            let header = frame.relink(len).expect("there is room");
            assert_eq!(header.len(), len);
            header.fill(0xee);
            assert_eq!((frame.packet(), frame.packet().as_ptr()), (&[1, 2, 3, 4][..], packet_at), "{len}");
            assert_eq!((frame.bytes().len(), frame.offload()), (len + 4, partial(len as u16 + 1)));
        }
        assert_eq!(frame.bytes(), [&[0xee; 14][..], &[1, 2, 3, 4]].concat());
    }

    #[test]
    fn a_link_header_without_room_changes_nothing() {
        let mut frame = received(&[8, 0, 1, 2]);
        assert!(frame.relink(Frame::HEADROOM + Header::LEN + 1).is_none());
        frame.set_offload(Offload::Checksum(PartialChecksum { start: 13, offset: 1 }));
        assert!(frame.relink(18).is_none(), "what is left to do begins in the header");
        frame.set_offload(Offload::None);
        assert_eq!((frame.bytes(), frame.link_len()), (&[&MACS[..], &[8, 0, 1, 2]].concat()[..], 14));
        frame.set_len(13);
        assert!(frame.relink(18).is_none(), "there is no packet");
        assert!(Frame::default().relink(14).is_none());
    }

    #[test]
    fn a_tag_is_taken_off_without_touching_the_packet() {
        let mut frame = received(&[0x81, 0, 0xa0, 0, 8, 0, 1, 2]);
        let end = frame.bytes().as_ptr_range().end;
        frame.set_offload(Offload::Checksum(PartialChecksum { start: 17, offset: 0 }));
        assert!(!frame.remove_tag(), "what is left to do begins in the tag");
        frame.set_offload(Offload::Checksum(PartialChecksum { start: 18, offset: 0 }));
        assert!(frame.remove_tag());
        assert_eq!(frame.bytes(), [&MACS[..], &[8, 0, 1, 2]].concat());
        assert_eq!((frame.packet(), frame.bytes().as_ptr_range().end), (&[1, 2][..], end));
        assert_eq!(frame.offload(), Offload::Checksum(PartialChecksum { start: 14, offset: 0 }));
        let mut copy = Frame::with_capacity(16);
        frame.give_to(&mut copy);
        assert_eq!((copy.packet(), copy.bytes().len()), (&[1, 2][..], 16));
    }

    #[test]
    fn a_copy_gets_a_tag_and_the_original_stays() {
        let mut frame = received(&[8, 0, 1, 2]);
        frame.set_offload(Offload::Checksum(PartialChecksum { start: 14, offset: 0 }));
        for capacity in [0, 16, 64] {
            let mut copy = Frame::with_capacity(capacity);
            assert!(frame.copy_tagged(VlanId::new(0x123).expect("a VLAN"), &mut copy));
            assert_eq!(copy.bytes(), [&MACS[..], &[0x81, 0, 0x01, 0x23, 8, 0, 1, 2]].concat());
            assert_eq!((copy.packet(), copy.link_len()), (&[1, 2][..], 18));
            assert_eq!(copy.offload(), Offload::Checksum(PartialChecksum { start: 18, offset: 0 }));
            assert!(copy.remove_tag());
            assert_eq!((copy.bytes(), copy.offload()), (frame.bytes(), frame.offload()));
        }
        let mut short = received(&[8, 0]);
        short.set_len(11);
        assert!(!short.copy_tagged(VlanId::new(1).expect("a VLAN"), &mut Frame::with_capacity(64)));
    }

    #[test]
    fn a_frame_given_over_keeps_its_link_header() {
        for capacity in [64, 65] {
            let mut frame = received(&[8, 0, 1, 2]);
            frame.relink(22).expect("there is room").fill(0xee);
            let mut other = Frame::with_capacity(capacity);
            frame.give_to(&mut other);
            assert_eq!((other.packet(), other.link_len()), (&[1, 2][..], 22), "{capacity}");
            assert!(frame.bytes().is_empty());
        }
    }
}
