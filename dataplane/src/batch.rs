//! The unit of work: up to [`Batch::FRAMES_MAX`] frames and a verdict each.
//!
//! A batch owns its buffers for its whole life and is used again and again: the event loop fills it
//! with [`Batch::receive`], [`Dataplane::process`](crate::Dataplane::process) decides and rewrites in
//! place, the event loop carries the verdicts out and calls [`Batch::clear`]. What the dataplane makes
//! itself (ARP, ICMP errors, fragments, frames released from a hold queue) stands in the batch's
//! [`Output`], which is bounded too. What waited and turns out to be for the host stack joins the frames
//! received.

use core::mem;

use crate::config::Segment;
use crate::drop_reason::DropReason;
use crate::port::{PortId, PortSet};

/// Where a frame came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// Read from a port.
    Port(PortId),
    /// An IPv4 packet of the gateway's own host stack. Its Ethernet header is not yet set; the
    /// dataplane routes it.
    Host,
    /// A whole Ethernet frame of the gateway's own for a segment; the dataplane only finds the port.
    HostRaw(Segment),
}

/// What becomes of a frame. Every frame of a batch has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not decided yet; never seen after [`process`](crate::Dataplane::process).
    Pending,
    /// Goes out of one port.
    Transmit(PortId),
    /// Goes out of several ports of its segment, and to the host stack if `local`.
    Flood {
        /// The ports; never the one that a bridged frame came from.
        ports: PortSet,
        /// Whether the gateway itself is addressed too.
        local: bool,
    },
    /// For the gateway's own host stack.
    Local,
    /// Has been dealt with: ARP for the gateway, or a packet whose fragments are in the [`Output`].
    Consumed,
    /// Waits in the dataplane for a neighbour or for the first fragment.
    Hold,
    /// Goes no further.
    Drop(DropReason),
}

/// An Ethernet frame in a buffer of fixed capacity.
#[derive(Clone, Debug)]
pub struct Frame {
    buffer: Box<[u8]>,
    len: usize,
}

impl Frame {
    /// An empty frame that can hold `capacity` octets.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { buffer: vec![0; capacity].into_boxed_slice(), len: 0 }
    }

    /// The octets of the frame, from the destination's MAC on, without FCS.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// The octets of the frame, to rewrite.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.len]
    }

    /// The whole buffer, to fill; [`Frame::set_len`] then says how much of it counts.
    pub fn buffer_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Sets the length, cut to the capacity.
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(self.buffer.len());
    }

    /// Gives the frame a buffer of `capacity` octets, unless its own holds as much.
    pub(crate) fn reserve(&mut self, capacity: usize) {
        if self.buffer.len() < capacity {
            let mut larger = Self::with_capacity(capacity);
            self.give_to(&mut larger);
            *self = larger;
        }
    }

    /// Gives the frame over to `other`, and is empty then: by exchanging the buffers if they have one
    /// capacity, else by copying. `false`, and nothing done, if it does not fit.
    pub(crate) fn give_to(&mut self, other: &mut Self) -> bool {
        if self.buffer.len() == other.buffer.len() {
            mem::swap(self, other);
        } else if let Some(target) = other.buffer.get_mut(..self.len) {
            target.copy_from_slice(self.bytes());
            other.len = self.len;
        } else {
            return false;
        }
        self.len = 0;
        true
    }
}

/// Frames that the dataplane made itself, each with the ports it goes out of.
#[derive(Debug)]
pub struct Output {
    frames: Vec<(PortSet, Frame)>,
    len: usize,
}

impl Output {
    /// The most frames that one [`process`](crate::Dataplane::process) or
    /// [`handle_timeout`](crate::Dataplane::handle_timeout) can make.
    pub const FRAMES_MAX: usize = 512;

    fn new(frame_capacity: usize) -> Self {
        let frames = (0..Self::FRAMES_MAX).map(|_| (PortSet::EMPTY, Frame::with_capacity(frame_capacity)));
        Self { frames: frames.collect(), len: 0 }
    }

    /// Adds a frame that will go out of `ports`: `write` is given a buffer and says how many octets it
    /// wrote. `false`, and no frame, if there is no room or `write` cannot do it.
    pub fn make(&mut self, ports: PortSet, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> bool {
        let Some((slot_ports, frame)) = self.frames.get_mut(self.len) else { return false };
        let Some(len) = write(frame.buffer_mut()) else { return false };
        *slot_ports = ports;
        frame.set_len(len);
        self.len += 1;
        true
    }

    /// Adds a frame that was held, and leaves it empty. `false`, and nothing done, if there is no room.
    pub fn release(&mut self, ports: PortSet, frame: &mut Frame) -> bool {
        let Some((slot_ports, slot)) = self.frames.get_mut(self.len) else { return false };
        if !frame.give_to(slot) {
            return false;
        }
        *slot_ports = ports;
        self.len += 1;
        true
    }

    /// How many more frames fit.
    pub fn remaining(&self) -> usize {
        self.frames.len() - self.len
    }

    /// The frames made, in order.
    pub fn iter(&self) -> impl Iterator<Item = (PortSet, &Frame)> {
        self.frames[..self.len].iter().map(|(ports, frame)| (*ports, frame))
    }
}

/// One received frame of a batch.
#[derive(Debug)]
pub struct Slot {
    /// Where it came from.
    pub ingress: Ingress,
    /// The frame itself.
    pub frame: Frame,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// The slots of a batch behind the frames received.
#[derive(Debug)]
pub(crate) struct SpareSlots<'a> {
    slots: &'a mut [Slot],
    used: usize,
    batch_len: &'a mut usize,
}

impl SpareSlots<'_> {
    /// Adds a frame that came in by `ingress`, was held and is for the host stack, and leaves it empty.
    /// `false`, and no frame, if there is no room.
    pub(crate) fn deliver(&mut self, ingress: Ingress, frame: &mut Frame) -> bool {
        let Some(slot) = self.slots.get_mut(self.used) else { return false };
        if !frame.give_to(&mut slot.frame) {
            return false;
        }
        slot.ingress = ingress;
        slot.verdict = Verdict::Local;
        self.used += 1;
        *self.batch_len += 1;
        true
    }
}

/// A batch of frames on their way through the dataplane.
#[derive(Debug)]
pub struct Batch {
    slots: Vec<Slot>,
    len: usize,
    output: Output,
}

impl Batch {
    /// The most frames a batch takes.
    pub const FRAMES_MAX: usize = 256;

    /// An empty batch whose frames hold up to `frame_capacity` octets each.
    pub fn new(frame_capacity: usize) -> Self {
        let slot = || Slot {
            ingress: Ingress::Host,
            frame: Frame::with_capacity(frame_capacity),
            verdict: Verdict::Pending,
        };
        Self {
            slots: (0..Self::FRAMES_MAX).map(|_| slot()).collect(),
            len: 0,
            output: Output::new(frame_capacity),
        }
    }

    /// Adds a frame: `read` is given a buffer and says how many octets it wrote.
    ///
    /// Returns `Ok(false)`, without calling `read`, if the batch is full.
    ///
    /// # Errors
    ///
    /// Whatever `read` fails with; the batch is then unchanged.
    pub fn receive<E>(
        &mut self,
        ingress: Ingress,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<bool, E> {
        let Some(slot) = self.slots.get_mut(self.len) else { return Ok(false) };
        let len = read(slot.frame.buffer_mut())?;
        slot.frame.set_len(len);
        slot.ingress = ingress;
        slot.verdict = Verdict::Pending;
        self.len += 1;
        Ok(true)
    }

    /// The number of frames received.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no frame was received and none made.
    pub fn is_empty(&self) -> bool {
        self.len == 0 && self.output.len == 0
    }

    /// Whether no further frame fits.
    pub fn is_full(&self) -> bool {
        self.len == self.slots.len()
    }

    /// The frames received, with their verdicts; once processed, also those received earlier that no
    /// longer wait and are for the host stack.
    pub fn slots(&self) -> &[Slot] {
        &self.slots[..self.len]
    }

    /// The frames that the dataplane made.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The frames received, and the places for others, for the dataplane.
    pub(crate) fn split(&mut self) -> (&mut [Slot], SpareSlots<'_>, &mut Output) {
        let (received, spare) = self.slots.split_at_mut(self.len);
        (received, SpareSlots { slots: spare, used: 0, batch_len: &mut self.len }, &mut self.output)
    }

    /// Empties the batch for its next use.
    pub fn clear(&mut self) {
        self.len = 0;
        self.output.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use core::convert::Infallible;

    use super::*;

    fn receive(batch: &mut Batch, bytes: &[u8]) -> bool {
        let copy = |buffer: &mut [u8]| {
            buffer[..bytes.len()].copy_from_slice(bytes);
            Ok::<_, Infallible>(bytes.len())
        };
        batch.receive(Ingress::Port(PortId(0)), copy).expect("infallible")
    }

    #[test]
    fn a_full_batch_takes_no_more() {
        let mut batch = Batch::new(64);
        for _ in 0..Batch::FRAMES_MAX {
            assert!(receive(&mut batch, &[1, 2, 3]));
        }
        assert!(batch.is_full());
        assert!(!receive(&mut batch, &[4]));
        assert_eq!(batch.slots()[255].frame.bytes(), [1, 2, 3]);
        batch.clear();
        assert!(batch.is_empty());
    }

    #[test]
    fn output_is_bounded_and_exchanges_buffers() {
        let mut batch = Batch::new(64);
        let (_, _, output) = batch.split();
        let mut held = Frame::with_capacity(64);
        held.set_len(9);
        assert!(output.release(PortSet::only(PortId(3)), &mut held));
        assert!(held.bytes().is_empty());
        assert!(!output.make(PortSet::EMPTY, |_| None));
        for _ in 1..Output::FRAMES_MAX {
            assert!(output.make(PortSet::EMPTY, |_| Some(1)));
        }
        assert!(!output.make(PortSet::EMPTY, |_| Some(1)));
        let (ports, frame) = output.iter().next().expect("one frame");
        assert!(ports.contains(PortId(3)));
        assert_eq!(frame.bytes().len(), 9);
    }

    #[test]
    fn what_was_held_for_the_host_joins_the_frames_received() {
        let mut batch = Batch::new(64);
        assert!(receive(&mut batch, &[1]));
        let (received, mut spare, _) = batch.split();
        assert_eq!(received.len(), 1);
        let mut held = Frame::with_capacity(64);
        let mut long = Frame::with_capacity(65);
        long.set_len(65);
        assert!(!spare.deliver(Ingress::Host, &mut long), "no room in the slot");
        for len in 2..=Batch::FRAMES_MAX {
            held.set_len(len.min(64));
            assert!(spare.deliver(Ingress::Port(PortId(3)), &mut held));
        }
        held.set_len(1);
        assert!(!spare.deliver(Ingress::Host, &mut held) && held.bytes().len() == 1);
        let slot = &batch.slots()[1];
        assert_eq!((slot.ingress, slot.verdict), (Ingress::Port(PortId(3)), Verdict::Local));
        assert_eq!((slot.frame.bytes().len(), batch.slots().len()), (2, Batch::FRAMES_MAX));
    }

    #[test]
    fn buffers_of_different_capacity_are_not_exchanged() {
        let (mut small, mut large) = (Frame::with_capacity(8), Frame::with_capacity(16));
        small.set_len(5);
        assert!(small.give_to(&mut large));
        assert_eq!((small.bytes().len(), large.bytes().len()), (0, 5));
        large.set_len(9);
        assert!(!large.give_to(&mut small));
        assert_eq!((large.buffer_mut().len(), small.buffer_mut().len()), (16, 8));
    }
}
