//! The identity of one dataplane among those of a gateway.
//!
//! A gateway with `n` workers has `n` dataplanes, each with its [`Shard`]. The dataplanes share nothing, and any of
//! them may receive any frame; `pipeline/steer/owners.rs` defines the owner of a packet. The shard defines a
//! dataplane's part of what they divide: external ports, room in tables, rate limits.

/// One dataplane's index among those of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u8,
    count: u8,
}

impl Shard {
    /// The most dataplanes that a gateway can have.
    pub const COUNT_MAX: u8 = 16;

    /// The only dataplane of its gateway.
    pub const SOLE: Self = Self { index: 0, count: 1 };

    /// The shard `index` of `count`; `None` if `index` is out of range or `count` above [`Shard::COUNT_MAX`].
    pub const fn new(index: u8, count: u8) -> Option<Self> {
        if index < count && count <= Self::COUNT_MAX { Some(Self { index, count }) } else { None }
    }

    /// The index of the dataplane, counted from 0.
    #[inline]
    pub const fn index(self) -> u8 {
        self.index
    }

    /// The number of dataplanes.
    #[inline]
    pub const fn count(self) -> u8 {
        self.count
    }

    /// Whether this is the only dataplane.
    #[inline]
    pub const fn is_sole(self) -> bool {
        self.count == 1
    }

    /// The secret of this dataplane, derived from the shared one.
    pub(crate) fn seed(self, mut shared: [u8; 32]) -> [u8; 32] {
        shared[0] ^= self.index;
        shared
    }

    /// The shard that owns an external port, the packets from an inside host's port, or an ICMP query's identifier.
    /// An even port and the next odd one have the same owner.
    #[inline]
    pub(crate) const fn of_port(self, port: u16) -> u8 {
        ((port >> 1) % self.count as u16) as u8
    }

    /// Whether this is the shard that acts for all, such as in announcing the gateway's addresses.
    #[inline]
    pub(crate) const fn is_first(self) -> bool {
        self.index == 0
    }

    /// The indices of the other shards.
    pub fn others(self) -> impl Iterator<Item = u8> {
        (0..self.count).filter(move |index| *index != self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(index: u8, count: u8) -> Shard {
        Shard::new(index, count).expect("one of them")
    }

    #[test]
    fn there_are_so_many_places() {
        assert_eq!(Shard::new(0, 1), Some(Shard::SOLE));
        assert_eq!(Shard::new(15, 16).map(|shard| shard.others().count()), Some(15));
        for (index, count) in [(0, 0), (1, 1), (16, 16), (0, 17)] {
            assert_eq!(Shard::new(index, count), None, "{index} of {count}");
        }
    }

    /// RFC 4787, REQ-4: An even port and the next have one owner.
    #[test]
    fn rfc4787_req4_an_even_port_and_the_next_have_one_owner() {
        for count in 1..=Shard::COUNT_MAX {
            let shard = shard(0, count);
            for port in (0..=u16::MAX).step_by(2) {
                assert_eq!(shard.of_port(port), shard.of_port(port + 1));
                assert!(shard.of_port(port) < count);
            }
        }
    }
}
