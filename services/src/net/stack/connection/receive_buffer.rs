//! The receive buffer: data that the service has not read yet, and data that arrived out of order. An empty buffer
//! has no memory.

use std::collections::VecDeque;

/// The most blocks of out-of-order data. The buffer drops a segment that would make one more; the peer retransmits it.
pub(super) const BLOCKS_MAX: usize = 64;

/// The octets in order, and the blocks of out-of-order data.
#[derive(Debug)]
pub(super) struct ReceiveBuffer {
    ready: VecDeque<u8>,
    /// The position after the last octet in order.
    next: i64,
    /// The blocks of out-of-order data in the order of their positions, with a gap before each.
    out_of_order: Vec<Block>,
    arrivals: u64,
}

#[derive(Debug)]
struct Block {
    start: i64,
    octets: VecDeque<u8>,
    /// The number of the arrival that last changed it.
    changed: u64,
}

impl Block {
    fn end(&self) -> i64 {
        self.start + self.octets.len() as i64
    }

    fn prepend(&mut self, octets: &[u8]) {
        self.start -= octets.len() as i64;
        self.octets.reserve(octets.len());
        octets.iter().rev().for_each(|octet| self.octets.push_front(*octet));
    }

    /// Both, with `between` that joins them. The octets of the longer stay where they are, so that no octet is moved
    /// often, whatever the order in which a peer sends.
    fn followed_by(mut self, between: &[u8], mut next: Self) -> Self {
        if next.octets.len() <= self.octets.len() {
            self.octets.extend(between);
            self.octets.append(&mut next.octets);
            return self;
        }
        next.prepend(between);
        next.prepend(self.octets.make_contiguous());
        next
    }
}

/// Those of `octets`, the first of which has the position `start`, from position `from` up to `to`.
fn range_of(octets: &[u8], start: i64, from: i64, to: i64) -> &[u8] {
    let index = |position: i64| usize::try_from(position - start).unwrap_or(0).min(octets.len());
    octets.get(index(from)..index(to)).unwrap_or_default()
}

impl ReceiveBuffer {
    pub(super) fn new(next: i64) -> Self {
        Self { ready: VecDeque::new(), next, out_of_order: Vec::new(), arrivals: 0 }
    }

    /// The position of the next missing octet.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// The number of octets that can be read.
    pub(super) fn unread(&self) -> usize {
        self.ready.len()
    }

    /// Whether there is out-of-order data.
    pub(super) fn has_out_of_order(&self) -> bool {
        !self.out_of_order.is_empty()
    }

    pub(super) fn capacity(&self) -> usize {
        let beyond: usize = self.out_of_order.iter().map(|block| block.octets.capacity()).sum();
        self.ready.capacity() + beyond
    }

    /// Takes octets that begin at `start`.
    pub(super) fn insert(&mut self, start: i64, octets: &[u8]) {
        let known = usize::try_from(self.next - start).unwrap_or(0);
        let (Some(octets), start) = (octets.get(known..), start.max(self.next)) else { return };
        if octets.is_empty() {
            return;
        }
        if start > self.next {
            return self.insert_beyond(start, octets);
        }
        self.ready.extend(octets);
        self.next += octets.len() as i64;
        let reached = self.out_of_order.iter().take_while(|block| block.start <= self.next).count();
        for mut block in self.out_of_order.drain(..reached) {
            let known = usize::try_from(self.next - block.start).unwrap_or(0);
            self.next = self.next.max(block.end());
            block.octets.drain(..known.min(block.octets.len()));
            self.ready.append(&mut block.octets);
        }
        if self.out_of_order.is_empty() {
            self.out_of_order = Vec::new();
        }
    }

    fn insert_beyond(&mut self, start: i64, octets: &[u8]) {
        self.arrivals += 1;
        let (changed, end) = (self.arrivals, start + octets.len() as i64);
        let from = self.out_of_order.partition_point(|block| block.end() < start);
        let to = self.out_of_order.partition_point(|block| block.start <= end);
        if from == to {
            if self.out_of_order.len() < BLOCKS_MAX {
                let octets = octets.iter().copied().collect();
                self.out_of_order.insert(from, Block { start, octets, changed });
            }
            return;
        }
        let joined = self.out_of_order.drain(from..to).reduce(|joined, next| {
            let between = range_of(octets, start, joined.end(), next.start);
            joined.followed_by(between, next)
        });
        if let Some(mut joined) = joined {
            let (first, last) = (joined.start, joined.end());
            joined.prepend(range_of(octets, start, start, first));
            joined.octets.extend(range_of(octets, start, last, end));
            joined.changed = changed;
            self.out_of_order.insert(from, joined);
        }
    }

    /// Reads as many octets as fit into `into`, and returns their number.
    pub(super) fn read(&mut self, into: &mut [u8]) -> usize {
        let (first, second) = self.ready.as_slices();
        let head = first.len().min(into.len());
        let tail = second.len().min(into.len() - head);
        into[..head].copy_from_slice(&first[..head]);
        into[head..head + tail].copy_from_slice(&second[..tail]);
        self.discard(head + tail);
        head + tail
    }

    /// Discards the readable octets.
    pub(super) fn discard_unread(&mut self) {
        self.discard(self.ready.len());
    }

    /// Drops the out-of-order data, as no more data will come.
    pub(super) fn close(&mut self) {
        self.out_of_order = Vec::new();
    }

    fn discard(&mut self, count: usize) {
        self.ready.drain(..count);
        if self.ready.is_empty() {
            self.ready = VecDeque::new();
        }
    }

    /// The SACK blocks, the last changed one first. (RFC 2018, section 4)
    pub(super) fn sack_blocks(&self) -> [Option<(i64, i64)>; 3] {
        let mut latest: [Option<&Block>; 3] = [None; 3];
        for block in &self.out_of_order {
            let mut moved = Some(block);
            for place in &mut latest {
                let is_later =
                    |known: &Block| moved.is_some_and(|moved: &Block| moved.changed > known.changed);
                if place.is_none_or(is_later) {
                    std::mem::swap(place, &mut moved);
                }
            }
        }
        latest.map(|block| block.map(|block| (block.start, block.end())))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cases;

    #[test]
    fn what_is_missing_closes_the_gap() {
        let mut buffer = ReceiveBuffer::new(1);
        buffer.insert(4, b"def");
        buffer.insert(9, b"i");
        assert_eq!((buffer.next(), buffer.unread()), (1, 0));
        assert_eq!(buffer.sack_blocks(), [Some((9, 10)), Some((4, 7)), None]);
        buffer.insert(1, b"abcd");
        assert_eq!((buffer.next(), buffer.unread()), (7, 6));
        buffer.insert(7, b"gh");
        let mut read = [0; 20];
        assert_eq!(buffer.read(&mut read), 9);
        assert_eq!(&read[..9], b"abcdefghi");
        assert_eq!(buffer.capacity(), 0);
    }

    /// RFC 2018, section 4: The first block holds what came last.
    #[test]
    fn rfc2018_4_the_first_block_holds_what_came_last() {
        let mut buffer = ReceiveBuffer::new(0);
        for start in [10, 30, 50, 70, 20] {
            buffer.insert(start, &[0; 5]);
        }
        assert_eq!(buffer.sack_blocks(), [Some((20, 25)), Some((70, 75)), Some((50, 55))]);
        buffer.insert(15, &[0; 5]);
        assert_eq!(buffer.sack_blocks()[0], Some((10, 25)));
    }

    #[test]
    fn blocks_are_bounded_and_what_extends_one_is_taken() {
        let mut buffer = ReceiveBuffer::new(0);
        for number in 1..=BLOCKS_MAX as i64 + 10 {
            buffer.insert(number * 10, &[1; 5]);
        }
        assert_eq!(buffer.out_of_order.len(), BLOCKS_MAX);
        buffer.insert(15, &[1; 5]);
        assert_eq!(buffer.out_of_order.len(), BLOCKS_MAX - 1);
    }

    /// Octets that arrive in reverse order, one at a time, are joined without moving all of them each time.
    #[test]
    fn what_comes_backwards_is_joined_too() {
        let mut buffer = ReceiveBuffer::new(0);
        let stream: Vec<u8> = (0..60_000).map(|n| (n % 251) as u8).collect();
        buffer.insert(50_000, &stream[50_000..]);
        for start in (2..50_000).rev() {
            buffer.insert(start as i64, &stream[start..=start]);
            assert_eq!(buffer.out_of_order.len(), 1);
        }
        buffer.insert(0, &stream[..4]);
        let mut read = vec![0; 60_000];
        assert_eq!(buffer.read(&mut read), 60_000);
        assert_eq!((read, buffer.capacity()), (stream, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(300)))]

        /// In any order and with any overlaps, every octet is read once and in its place.
        #[test]
        fn every_octet_is_read_once_and_in_its_place(
            parts in prop::collection::vec((0..300_usize, 1..60_usize, any::<bool>()), 1..60),
        ) {
            let stream: Vec<u8> = (0..400_usize).map(|n| (n % 251) as u8).collect();
            let mut known = vec![false; stream.len()];
            let mut buffer = ReceiveBuffer::new(0);
            let mut read = Vec::new();
            for (start, len, reads) in parts {
                buffer.insert(start as i64, &stream[start..start + len]);
                known[start..start + len].fill(true);
                let in_order = known.iter().take_while(|known| **known).count();
                prop_assert_eq!(buffer.next(), in_order as i64);
                if reads {
                    let mut octets = [0; 70];
                    let len = buffer.read(&mut octets);
                    read.extend_from_slice(&octets[..len]);
                }
                for (start, end) in buffer.sack_blocks().into_iter().flatten() {
                    prop_assert!(start > buffer.next());
                    prop_assert!(known[start as usize..end as usize].iter().all(|known| *known));
                }
            }
            let mut rest = vec![0; buffer.unread()];
            buffer.read(&mut rest);
            read.extend_from_slice(&rest);
            prop_assert_eq!(&read[..], &stream[..read.len()]);
            prop_assert_eq!(read.len() as i64, buffer.next());
        }
    }
}
