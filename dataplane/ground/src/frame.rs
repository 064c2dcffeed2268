//! A frame on its way: its octets, and what they leave to do.

use core::mem;

use crate::offload::{Offload, Segments};
use crate::wire::ethernet::{EtherType, Header};
use crate::wire::vlan::Tag;

/// An Ethernet frame in a buffer of fixed capacity.
#[derive(Clone, Debug)]
pub struct Frame {
    buffer: Box<[u8]>,
    len: usize,
    offload: Offload,
}

impl Frame {
    /// An empty frame that can hold `capacity` octets.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { buffer: vec![0; capacity].into_boxed_slice(), len: 0, offload: Offload::None }
    }

    /// The octets of the frame, from the destination's MAC on, without FCS.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// The octets of the frame, to rewrite.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.len]
    }

    /// The whole buffer, to fill; [`Frame::set_len`] then says how much of it counts.
    #[inline]
    pub fn buffer_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Sets the length, cut to the capacity.
    #[inline]
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(self.buffer.len());
    }

    /// What the frame leaves to do.
    #[inline]
    pub fn offload(&self) -> Offload {
        self.offload
    }

    /// Sets what the frame leaves to do.
    #[inline]
    pub fn set_offload(&mut self, offload: Offload) {
        self.offload = offload;
    }

    /// The frames to make of this one, with nothing left to do.
    pub fn segments(&self) -> Segments<'_> {
        Segments::new(self.bytes(), self.offload)
    }

    /// The size of the longest frame to make of this one, in octets.
    #[inline]
    pub fn segment_len_max(&self) -> usize {
        self.offload.frame_len_max(self.bytes())
    }

    /// Completes the checksum of a frame that is none of many.
    pub fn complete_checksum(&mut self) {
        if let Offload::Checksum(partial) = self.offload {
            partial.complete(self.bytes_mut());
            self.offload = Offload::None;
        }
    }

    /// Takes off the first VLAN tag of a frame that has one. `false`, and the frame as it was, if what the frame leaves
    /// to do begins in the tag.
    pub fn remove_tag(&mut self) -> bool {
        let Some(offload) = self.offload.without_tag() else { return false };
        // The EtherType in the tag takes the place of the one that announced the tag.
        let announced_at = Header::LEN - size_of::<EtherType>();
        self.bytes_mut().copy_within(announced_at + Tag::LEN.., announced_at);
        (self.len, self.offload) = (self.len - Tag::LEN, offload);
        true
    }

    /// How many octets the buffer holds.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// Gives the frame a buffer of `capacity` octets, unless its own holds as much.
    pub fn reserve(&mut self, capacity: usize) {
        if self.buffer.len() < capacity {
            let mut larger = Self::with_capacity(capacity);
            self.give_to(&mut larger);
            *self = larger;
        }
    }

    /// Gives the frame over to `other`, and is empty then: by copying if the buffers have different
    /// capacities and it fits, else by exchanging them.
    pub fn give_to(&mut self, other: &mut Self) {
        let capacity = other.buffer.len();
        if capacity != self.buffer.len() && capacity >= self.len {
            other.buffer[..self.len].copy_from_slice(self.bytes());
            (other.len, other.offload) = (self.len, self.offload);
        } else {
            mem::swap(self, other);
        }
        (self.len, self.offload) = (0, Offload::None);
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

    #[test]
    fn buffers_of_different_capacity_are_exchanged_only_if_they_must() {
        let (mut small, mut large) = (Frame::with_capacity(8), Frame::with_capacity(16));
        small.set_len(5);
        small.give_to(&mut large);
        assert_eq!((small.bytes().len(), large.bytes().len()), (0, 5));
        assert_eq!((large.buffer_mut().len(), small.buffer_mut().len()), (16, 8));
        large.set_len(9);
        large.give_to(&mut small);
        assert_eq!((large.buffer_mut().len(), small.buffer_mut().len()), (8, 16));
        assert_eq!((large.bytes().len(), small.bytes().len()), (0, 9));
    }
}
