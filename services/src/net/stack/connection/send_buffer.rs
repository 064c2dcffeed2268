//! What the service has written and the peer has not acknowledged. An empty buffer has no memory.

use std::collections::VecDeque;

/// The octets, with the position of the first.
#[derive(Debug)]
pub(super) struct SendBuffer {
    octets: VecDeque<u8>,
    begin: i64,
}

impl SendBuffer {
    pub(super) fn new(begin: i64) -> Self {
        Self { octets: VecDeque::new(), begin }
    }

    /// The position after the last octet.
    pub(super) fn end(&self) -> i64 {
        self.begin + self.octets.len() as i64
    }

    pub(super) fn len(&self) -> usize {
        self.octets.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.octets.capacity()
    }

    /// Adds as many of `octets` as fit in `limit`; says how many.
    pub(super) fn write(&mut self, octets: &[u8], limit: usize) -> usize {
        let room = limit.saturating_sub(self.octets.len());
        let taken = &octets[..octets.len().min(room)];
        self.octets.extend(taken);
        taken.len()
    }

    /// The octets from position `start` up to `end`, as far as they are here.
    pub(super) fn copy(&self, start: i64, end: i64) -> Vec<u8> {
        let index =
            |position: i64| usize::try_from(position - self.begin).unwrap_or(0).min(self.octets.len());
        let (from, to) = (index(start), index(end));
        let (first, second) = self.octets.as_slices();
        let part = |slice: &[u8], offset: usize| {
            let bound = |at: usize| at.saturating_sub(offset).min(slice.len());
            bound(from)..bound(to)
        };
        let mut copied = Vec::with_capacity(to.saturating_sub(from));
        copied.extend_from_slice(&first[part(first, 0)]);
        copied.extend_from_slice(&second[part(second, first.len())]);
        copied
    }

    /// Forgets what comes before `position`.
    pub(super) fn acknowledge(&mut self, position: i64) {
        let count = usize::try_from(position - self.begin).unwrap_or(0).min(self.octets.len());
        self.octets.drain(..count);
        self.begin += count as i64;
        if self.octets.is_empty() {
            self.octets = VecDeque::new();
        }
    }

    /// Forgets all of it.
    pub(super) fn clear(&mut self) {
        self.acknowledge(self.end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_copied_by_position_also_around_the_end_of_the_memory() {
        let mut buffer = SendBuffer::new(1);
        assert_eq!(buffer.write(&[7; 100], 64), 64);
        for round in 0..50_u8 {
            let end = buffer.end();
            buffer.acknowledge(end - 24);
            assert_eq!(buffer.write(&[round; 40], 64), 40);
            assert_eq!(buffer.copy(end, end + 40), [round; 40]);
            assert_eq!(buffer.copy(end + 39, end + 90), [round]);
        }
        assert_eq!(buffer.copy(0, 1), [0; 0]);
    }

    #[test]
    fn an_empty_buffer_has_no_memory() {
        let mut buffer = SendBuffer::new(1);
        assert_eq!(buffer.capacity(), 0);
        buffer.write(&[1; 100], 1000);
        assert!(buffer.capacity() >= 100);
        buffer.acknowledge(101);
        assert_eq!((buffer.len(), buffer.capacity(), buffer.end()), (0, 0, 101));
    }
}
