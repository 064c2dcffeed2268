//! Held frames: a pool of buffers, and queues that share it.
//!
//! A frame is held by exchanging its buffer for a spare one of the pool, and released by exchanging it back; nothing
//! is copied or allocated. A queue is a linked list through the pool, so that many queues share few buffers. The
//! owner of a queue must drain it before dropping it. The pool bounds the frames held in all, and the owner of a
//! queue those in the queue.

use core::mem;

use gatepost_ground::Frame;

use crate::table::memory::{Memory, Own, Shadow, ShadowCells};

/// The buffers, with a note `T` for each held frame.
pub(crate) struct FramePool<T: Copy + 'static, M: Memory = Own> {
    slots: M::Cells<Slot<T>>,
    spare: FrameQueue,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    frame: Frame,
    note: T,
    next: u16,
}

/// Held frames, in the order of arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct FrameQueue {
    len: u16,
    first: u16,
    last: u16,
}

impl FrameQueue {
    /// The number of frames.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }
}

impl<T: Copy + 'static> FramePool<T> {
    /// A pool of `frames` buffers, of `frame_capacity` octets each; spare ones have `note`.
    pub(crate) fn new(frames: u16, frame_capacity: usize, note: T) -> Self {
        let slot = |_| Slot { frame: Frame::with_capacity(frame_capacity), note, next: 0 };
        let mut pool = Self { slots: (0..frames).map(slot).collect(), spare: FrameQueue::default() };
        let mut spare = FrameQueue::default();
        (0..frames).for_each(|slot| pool.append(&mut spare, slot));
        pool.spare = spare;
        pool
    }

    /// Makes room for frames of up to `frame_capacity` octets.
    pub(crate) fn reserve_frames(&mut self, frame_capacity: usize) {
        self.slots.iter_mut().for_each(|slot| slot.frame.reserve(frame_capacity));
    }

    /// A shadow of the pool.
    pub(crate) fn shadow(&self) -> FramePool<T, Shadow<'_>> {
        FramePool { slots: ShadowCells::of(&self.slots), spare: self.spare.clone() }
    }
}

impl<T: Copy + 'static, M: Memory> FramePool<T, M> {
    /// Whether a frame can be held.
    pub(crate) fn has_spare(&self) -> bool {
        self.spare.len > 0
    }

    /// Takes `frame` into `queue` and leaves a spare buffer instead. Returns `false`, with the frame unchanged, if
    /// there is no spare buffer.
    pub(crate) fn hold(&mut self, queue: &mut FrameQueue, frame: &mut Frame, note: T) -> bool {
        if !self.has_spare() {
            return false;
        }
        let slot = self.spare.first;
        let spare = &mut self.slots[usize::from(slot)];
        frame.give_to(&mut spare.frame);
        spare.note = note;
        let mut spares = mem::take(&mut self.spare);
        self.remove_first(&mut spares);
        self.spare = spares;
        self.append(queue, slot);
        true
    }

    /// Removes the first frame of `queue`. Its buffer becomes a spare one when the borrow ends, and may be exchanged
    /// for another of the same capacity.
    pub(crate) fn release(&mut self, queue: &mut FrameQueue) -> Option<(&mut Frame, T)> {
        let slot = self.remove_first(queue)?;
        let mut spare = mem::take(&mut self.spare);
        self.append(&mut spare, slot);
        self.spare = spare;
        let slot = &mut self.slots[usize::from(slot)];
        Some((&mut slot.frame, slot.note))
    }

    fn append(&mut self, queue: &mut FrameQueue, slot: u16) {
        if queue.len == 0 {
            queue.first = slot;
        } else {
            self.slots[usize::from(queue.last)].next = slot;
        }
        queue.last = slot;
        queue.len += 1;
    }

    fn remove_first(&mut self, queue: &mut FrameQueue) -> Option<u16> {
        queue.len = queue.len.checked_sub(1)?;
        let slot = queue.first;
        queue.first = self.slots[usize::from(slot)].next;
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(octet: u8) -> Frame {
        let mut frame = Frame::with_capacity(64);
        frame.buffer_mut()[0] = octet;
        frame.set_len(1);
        frame
    }

    #[test]
    fn queues_keep_their_order_and_share_the_pool() {
        let mut pool = FramePool::new(3, 64, ' ');
        let (mut a, mut b) = (FrameQueue::default(), FrameQueue::default());
        assert!(pool.hold(&mut a, &mut frame(1), 'x'));
        assert!(pool.hold(&mut b, &mut frame(2), 'y'));
        assert!(pool.hold(&mut a, &mut frame(3), 'z'));
        let mut refused = frame(4);
        assert!(!pool.has_spare() && !pool.hold(&mut b, &mut refused, '!'));
        assert_eq!(refused.bytes(), [4], "a refused frame stays with its owner");
        assert_eq!((a.len(), b.len()), (2, 1));

        let (first, note) = pool.release(&mut a).expect("held");
        assert_eq!((first.bytes(), note), (&[1][..], 'x'));
        assert!(pool.hold(&mut b, &mut refused, '!'), "what was released makes room");
        assert!(refused.bytes().is_empty(), "whatever the spare buffer held before");
        let (second, note) = pool.release(&mut a).expect("held");
        assert_eq!((second.bytes(), note), (&[3][..], 'z'));
        assert!(pool.release(&mut a).is_none());
        assert_eq!(pool.release(&mut b).map(|(frame, _)| frame.bytes()[0]), Some(2));
        assert_eq!(pool.release(&mut b).map(|(frame, _)| frame.bytes()[0]), Some(4));
    }

    #[test]
    fn buffers_that_grow_keep_what_they_hold() {
        let mut pool = FramePool::new(2, 64, ());
        let mut queue = FrameQueue::default();
        assert!(pool.hold(&mut queue, &mut frame(1), ()));
        pool.reserve_frames(100);
        let mut long = Frame::with_capacity(100);
        long.set_len(100);
        assert!(pool.hold(&mut queue, &mut long, ()));
        let mut lengths = core::iter::from_fn(|| Some(pool.release(&mut queue)?.0.bytes().len()));
        assert_eq!([lengths.next(), lengths.next(), lengths.next()], [Some(1), Some(100), None]);
    }

    #[test]
    fn buffers_are_exchanged_and_never_lost() {
        let mut pool = FramePool::new(2, 64, ());
        let mut queue = FrameQueue::default();
        for round in 0..100 {
            let mut mine = frame(round);
            assert!(pool.hold(&mut queue, &mut mine, ()));
            assert!(mine.bytes().is_empty());
            assert_eq!(mine.buffer_mut().len(), 64);
            let (held, ()) = pool.release(&mut queue).expect("held");
            mem::swap(held, &mut mine);
            assert_eq!(mine.bytes(), [round]);
        }
    }
}
