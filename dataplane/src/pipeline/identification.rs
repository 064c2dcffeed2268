//! IPv4 identifications of packets that leave translated.

use crate::shard::Shard;

/// IPv4 identifications that no other dataplane of the gateway gives. (RFC 6864, section 4.3)
#[derive(Clone, Debug)]
pub(super) struct Identifications {
    /// The first identification of this shard, and their number.
    first: u16,
    len: u32,
    /// The number of identifications given since the first.
    given: u32,
}

impl Identifications {
    /// The identifications of `shard`, beginning at a place that `start` picks.
    pub(super) fn new(shard: Shard, start: u16) -> Self {
        let len = (1 << 16) / u32::from(shard.count());
        Self { first: (u32::from(shard.index()) * len) as u16, len, given: u32::from(start) % len }
    }

    /// Takes `count` consecutive identifications and returns the first.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> u16 {
        // A super-frame has fewer segments than a shard has identifications.
        let count = count as u32;
        if self.given + count > self.len {
            self.given = 0;
        }
        let first = self.first + self.given as u16;
        self.given += count;
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(index: u8, count: u8) -> Shard {
        Shard::new(index, count).expect("one of them")
    }

    /// RFC 6864, section 4.3: Identifications of two workers never meet.
    #[test]
    fn rfc6864_4_3_identifications_of_two_workers_never_meet() {
        for count in [1, 3, 16] {
            let mut given = vec![None; 1 << 16];
            for index in 0..count {
                let mut identifications = Identifications::new(shard(index, count), 12_345);
                for _ in 0..2_000 {
                    let first = identifications.take(45);
                    for segment in 0..45 {
                        let owner = &mut given[usize::from(first.wrapping_add(segment))];
                        assert!(owner.is_none_or(|owner| owner == index));
                        *owner = Some(index);
                    }
                }
            }
        }
    }
}
