//! Bounded lock-free rings of frames between threads.
//!
//! Frames are copied into circulating buffers, so that no thread allocates or waits for another. There are buffers of
//! different sizes: many for usual frames, few for long ones. Frames arrive in the order in which they were sent,
//! whatever their buffers. A ring without a free buffer rejects a frame, and the sender counts that.

use crossbeam::queue::ArrayQueue;
use gatepost_ground::{Frame, Offload};

/// A ring of frames, each with a tag. Any number of threads may send and receive.
#[derive(Debug)]
pub struct Ring<T> {
    full: ArrayQueue<(T, Frame)>,
    /// The free buffers, smaller ones first.
    pools: Box<[Pool]>,
}

/// Buffers of one size.
#[derive(Debug)]
struct Pool {
    capacity: usize,
    empty: ArrayQueue<Frame>,
}

impl Pool {
    fn new(count: usize, capacity: usize) -> Self {
        let pool = Self { capacity, empty: ArrayQueue::new(count) };
        while pool.empty.push(Frame::with_capacity(capacity)).is_ok() {}
        pool
    }
}

impl<T> Ring<T> {
    /// A ring with `buffers`: pairs of a number and a size in octets, smaller ones first. Memory that no frame has
    /// touched is not resident.
    ///
    /// # Panics
    ///
    /// If there are no buffers, or none of one size.
    pub fn new(buffers: &[(usize, usize)]) -> Self {
        debug_assert!(buffers.is_sorted_by_key(|(_, capacity)| capacity));
        let count = buffers.iter().map(|(count, _)| count).sum();
        let pools = buffers.iter().map(|(count, capacity)| Pool::new(*count, *capacity)).collect();
        Self { full: ArrayQueue::new(count), pools }
    }

    /// Sends a copy of `frame` in the smallest kind of buffer that holds it; `false` if none of those is free, or the
    /// frame is too long.
    pub fn send(&self, tag: T, frame: &Frame) -> bool {
        let bytes = frame.bytes();
        let Some(pool) = self.pools.iter().find(|pool| pool.capacity >= bytes.len()) else { return false };
        self.send_in(pool, tag, |buffer| copy(bytes, buffer), frame.offload())
    }

    /// Sends the frame that `fill` writes to a buffer of the smallest kind, without offloads; `false` if none of
    /// those is free, or `fill` returns `None`.
    pub fn send_with(&self, tag: T, fill: impl FnOnce(&mut [u8]) -> Option<usize>) -> bool {
        self.pools.first().is_some_and(|pool| self.send_in(pool, tag, fill, Offload::None))
    }

    fn send_in(
        &self,
        pool: &Pool,
        tag: T,
        fill: impl FnOnce(&mut [u8]) -> Option<usize>,
        offload: Offload,
    ) -> bool {
        let Some(mut frame) = pool.empty.pop() else { return false };
        let Some(len) = fill(frame.buffer_mut()) else {
            put_back(pool, frame);
            return false;
        };
        frame.set_len(len);
        frame.set_offload(offload);
        self.full.push((tag, frame)).is_ok()
    }

    /// Gives the oldest frame to `read`, if there is one.
    pub fn receive<R>(&self, read: impl FnOnce(T, &Frame) -> R) -> Option<R> {
        let (tag, frame) = self.full.pop()?;
        let result = read(tag, &frame);
        let capacity = frame.capacity();
        if let Some(pool) = self.pools.iter().find(|pool| pool.capacity == capacity) {
            put_back(pool, frame);
        }
        Some(result)
    }

    /// Whether there is nothing to receive.
    pub fn is_empty(&self) -> bool {
        self.full.is_empty()
    }
}

fn put_back(pool: &Pool, frame: Frame) {
    let returned = pool.empty.push(frame);
    debug_assert!(returned.is_ok(), "there are as many buffers as places");
}

/// Copies `bytes` to the front of `buffer`; `None`, and nothing copied, if they do not fit.
pub fn copy(bytes: &[u8], buffer: &mut [u8]) -> Option<usize> {
    buffer.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(bytes.len())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use gatepost_ground::offload::PartialChecksum;

    use super::*;

    fn frame(octets: &[u8]) -> Frame {
        let mut frame = Frame::with_capacity(octets.len());
        frame.buffer_mut().copy_from_slice(octets);
        frame.set_len(octets.len());
        frame
    }

    #[test]
    fn short_and_long_frames_arrive_in_order_with_what_they_leave_to_do() {
        let ring = Ring::new(&[(4, 8), (2, 64)]);
        for round in 0..10 {
            let mut long = frame(&[round; 9]);
            long.set_offload(Offload::Checksum(PartialChecksum { start: 1, offset: 2 }));
            assert!(ring.send(1, &long) && ring.send(2, &frame(&[round; 8])) && ring.send(3, &frame(&[])));
            let received = || ring.receive(|tag, frame| (tag, frame.bytes().to_vec(), frame.offload()));
            assert_eq!(received(), Some((1, vec![round; 9], long.offload())));
            assert_eq!(received(), Some((2, vec![round; 8], Offload::None)));
            assert_eq!(received(), Some((3, Vec::new(), Offload::None)));
            assert!(ring.is_empty() && received().is_none());
        }
    }

    #[test]
    fn each_kind_of_buffer_is_bounded_by_itself() {
        let ring = Ring::new(&[(4, 8), (2, 64)]);
        let (short, long) = (frame(&[1; 8]), frame(&[2; 64]));
        assert!((0..4).all(|_| ring.send((), &short)) && !ring.send((), &short));
        assert!((0..2).all(|_| ring.send((), &long)) && !ring.send((), &long));
        assert!(!ring.send((), &frame(&[3; 65])), "longer than any buffer");
        assert_eq!(ring.receive(|(), frame| frame.bytes().len()), Some(8));
        assert!(!ring.send((), &long) && ring.send((), &short));
    }

    #[test]
    fn what_is_not_written_costs_no_buffer() {
        let ring = Ring::new(&[(1, 8)]);
        assert!(!ring.send_with((), |_| None) && ring.is_empty());
        assert!(ring.send_with((), |buffer| copy(&[7; 8], buffer)));
        assert!(!ring.send_with((), |_| unreachable!("there is no buffer")));
    }

    #[test]
    fn many_threads_send_and_each_ones_frames_stay_in_order() {
        const FRAMES: u32 = 2_000;
        let ring = Ring::new(&[(8, 4), (2, 64)]);
        thread::scope(|scope| {
            for sender in 0..3_usize {
                let ring = &ring;
                scope.spawn(move || {
                    for number in 0..FRAMES {
                        let mut octets = number.to_be_bytes().to_vec();
                        octets.resize(if number % 5 == 0 { 64 } else { 4 }, 0);
                        while !ring.send(sender, &frame(&octets)) {
                            thread::yield_now();
                        }
                    }
                });
            }
            let mut next = [0; 3];
            while next != [FRAMES; 3] {
                let read = |sender: usize, frame: &Frame| {
                    assert_eq!(frame.bytes()[..4], u32::to_be_bytes(next[sender]));
                    next[sender] += 1;
                };
                if ring.receive(read).is_none() {
                    thread::yield_now();
                }
            }
        });
    }
}
