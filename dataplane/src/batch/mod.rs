//! The unit of work: up to [`Batch::FRAMES_MAX`] frames and a verdict each.
//!
//! A batch owns its buffers for its whole life and is used again and again: the event loop fills it with
//! [`Batch::receive`], [`Dataplane::process`](crate::Dataplane::process) decides and rewrites in place, the event
//! loop carries the verdicts out and calls [`Batch::clear`]. Frames that the dataplane makes (ARP, ICMP errors,
//! fragments, frames released from a hold queue) are in the batch's [`Output`], which is bounded too. Released frames
//! for the host stack or another worker join the received frames.
//!
//! The buffers hold frames of the usual length and are contiguous. A longer frame, usually a super-frame (see
//! [`offload`](gatepost_ground::offload)), gets one of a few large buffers in exchange, so that a batch takes at most
//! about half a megabyte, and large buffers take memory only when used. [`Batch::clear`] exchanges the buffers back.

mod output;
mod slot;

use core::mem;

use gatepost_ground::offload::FRAME_LEN_MAX;
use gatepost_ground::{Frame, Offload};

pub use self::output::Output;
pub use self::slot::Slot;
pub(crate) use self::slot::SpareSlots;
use crate::ingress::Ingress;
use crate::verdict::Verdict;

/// A batch of frames on their way through the dataplane.
#[derive(Debug)]
pub struct Batch {
    slots: Vec<Slot>,
    len: usize,
    output: Output,
    frame_capacity: usize,
    /// The large buffers that no slot has.
    large: Vec<Frame>,
    /// The usual buffers of those slots that have a large one.
    replaced: Vec<Frame>,
}

impl Batch {
    /// The most frames a batch takes.
    pub const FRAMES_MAX: usize = 256;

    /// The most longer frames in a batch: as many as a core's own cache holds.
    pub const LARGE_FRAMES_MAX: usize = 8;

    /// An empty batch whose usual frames hold up to `frame_capacity` octets each.
    pub fn new(frame_capacity: usize) -> Self {
        let slot = || Slot {
            ingress: Ingress::Stack,
            frame: Frame::with_capacity(frame_capacity),
            verdict: Verdict::Pending,
            copy_to_others: false,
        };
        Self {
            slots: (0..Self::FRAMES_MAX).map(|_| slot()).collect(),
            len: 0,
            output: Output::new(frame_capacity),
            frame_capacity,
            large: (0..Self::LARGE_FRAMES_MAX).map(|_| large_buffer()).collect(),
            replaced: Vec::with_capacity(Self::LARGE_FRAMES_MAX),
        }
    }

    /// Adds a frame without offloads; `read` fills the buffer it gets, and returns the number of octets.
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
        self.receive_offloaded(ingress, |buffer, _| Ok((read(buffer)?, Offload::None)))
    }

    /// Adds a frame that may have offloads and may be long. `read` gets two buffers, fills the second with the octets
    /// for which the first has no room, and returns the number of octets in all.
    ///
    /// Returns `Ok(false)`, without calling `read`, if the batch is full.
    ///
    /// # Errors
    ///
    /// Whatever `read` fails with; the batch is then unchanged.
    pub fn receive_offloaded<E>(
        &mut self,
        ingress: Ingress,
        read: impl FnOnce(&mut [u8], &mut [u8]) -> Result<(usize, Offload), E>,
    ) -> Result<bool, E> {
        let (Some(slot), Some(large)) = (self.slots.get_mut(self.len), self.large.last_mut()) else {
            return Ok(false);
        };
        let usual = slot.frame.buffer_mut();
        let (beginning, rest) = large.buffer_mut().split_at_mut(usual.len());
        let (len, offload) = read(usual, rest)?;
        if len > usual.len() {
            beginning.copy_from_slice(usual);
            mem::swap(&mut slot.frame, large);
            self.replaced.extend(self.large.pop());
        }
        slot.frame.set_len(len);
        slot.frame.set_offload(offload);
        slot.ingress = ingress;
        slot.verdict = Verdict::Pending;
        slot.copy_to_others = false;
        self.len += 1;
        Ok(true)
    }

    /// The number of frames received.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no frame was received and none made.
    pub fn is_empty(&self) -> bool {
        self.len == 0 && self.output.is_empty()
    }

    /// Whether no further frame fits.
    pub fn is_full(&self) -> bool {
        self.len == self.slots.len() || self.large.is_empty()
    }

    /// The received frames, with their verdicts. After processing also the released frames that are for the host
    /// stack or another worker.
    pub fn slots(&self) -> &[Slot] {
        &self.slots[..self.len]
    }

    /// The frames that the dataplane made.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The received frames, the spare slots and the output, for the dataplane.
    pub(crate) fn split(&mut self) -> (&mut [Slot], SpareSlots<'_>, &mut Output) {
        let (received, spare) = self.slots.split_at_mut(self.len);
        (received, SpareSlots::new(spare, &mut self.len), &mut self.output)
    }

    /// Empties the batch for its next use.
    pub fn clear(&mut self) {
        let Self { slots, len, output, frame_capacity, large, replaced } = self;
        let received = slots[..*len].iter_mut().map(|slot| &mut slot.frame);
        let made = output.frames_mut();
        for frame in received.chain(made) {
            if frame.capacity() != *frame_capacity {
                let usual = replaced.pop().unwrap_or_else(|| Frame::with_capacity(*frame_capacity));
                let other = mem::replace(frame, usual);
                large.extend(Some(other).filter(|frame| frame.capacity() == FRAME_LEN_MAX));
            }
        }
        // Held frames have taken large buffers with them, and released frames bring them back.
        replaced.clear();
        large.resize_with(Self::LARGE_FRAMES_MAX, large_buffer);
        *len = 0;
        output.clear();
    }
}

/// A buffer for the longest frame. It takes no memory until it is written to.
fn large_buffer() -> Frame {
    Frame::with_capacity(FRAME_LEN_MAX)
}

#[cfg(test)]
mod tests {
    use core::convert::Infallible;

    use gatepost_ground::{PortId, PortSet};

    use super::*;
    use crate::verdict::LocalClass;

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
        for len in 2..=Batch::FRAMES_MAX {
            held.set_len(len.min(64));
            assert!(spare.add(Ingress::Port(PortId(3)), Verdict::Local(LocalClass::Stack), &mut held));
        }
        held.set_len(1);
        assert!(
            !spare.add(Ingress::Stack, Verdict::Local(LocalClass::Stack), &mut held)
                && held.bytes().len() == 1
        );
        let slot = &batch.slots()[1];
        assert_eq!(
            (slot.ingress, slot.verdict),
            (Ingress::Port(PortId(3)), Verdict::Local(LocalClass::Stack))
        );
        assert_eq!((slot.frame.bytes().len(), batch.slots().len()), (2, Batch::FRAMES_MAX));
    }

    /// Receives a frame of `len` octets as a port that takes long ones.
    fn receive_long(batch: &mut Batch, len: usize) -> bool {
        let read = |buffer: &mut [u8], rest: &mut [u8]| {
            let (first, second) = (len.min(buffer.len()), len.saturating_sub(buffer.len()));
            buffer[..first].fill(1);
            rest[..second].fill(2);
            Ok::<_, Infallible>((len, Offload::None))
        };
        batch.receive_offloaded(Ingress::Stack, read).expect("infallible")
    }

    #[test]
    fn a_batch_takes_few_long_frames_and_many_others() {
        let mut batch = Batch::new(64);
        for _ in 0..3 {
            assert!(receive_long(&mut batch, 64) && batch.slots()[0].frame.bytes() == [1; 64]);
            for _ in 0..Batch::LARGE_FRAMES_MAX {
                assert!(!batch.is_full() && receive_long(&mut batch, FRAME_LEN_MAX));
            }
            assert!(batch.is_full() && !receive_long(&mut batch, 1));
            let bytes = batch.slots()[1].frame.bytes();
            assert_eq!(
                (bytes.len(), &bytes[..64], &bytes[64..66]),
                (FRAME_LEN_MAX, &[1; 64][..], &[2; 2][..])
            );
            batch.clear();
        }
    }

    #[test]
    fn a_long_frame_can_wait_and_the_batch_is_as_it_was() {
        let mut batch = Batch::new(64);
        let mut held = Frame::with_capacity(64);
        for _ in 0..3 {
            assert!(receive_long(&mut batch, 65));
            let (received, _, _) = batch.split();
            received[0].frame.give_to(&mut held);
            batch.clear();
            assert!(batch.slots.iter().all(|slot| slot.frame.capacity() == 64));

            let (_, _, output) = batch.split();
            assert_eq!(held.bytes(), [&[1; 64][..], &[2]].concat());
            assert!(output.release(PortSet::only(PortId(3)), &mut held));
            assert!(receive_long(&mut batch, 65), "the batch has other buffers by now");
            let (received, ..) = batch.split();
            received[0].frame.give_to(&mut held);
            let (_, mut spare, _) = batch.split();
            assert!(spare.add(Ingress::Stack, Verdict::Local(LocalClass::Stack), &mut held));
            batch.clear();
            assert_eq!(batch.large.len(), Batch::LARGE_FRAMES_MAX);
            assert!(batch.slots.iter().all(|slot| slot.frame.capacity() == 64));
            assert!(batch.output.frames_mut().all(|frame| frame.capacity() == 64));
        }
    }
}
