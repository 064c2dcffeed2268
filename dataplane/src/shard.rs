//! Several workers: which of a gateway's dataplanes one is.
//!
//! A gateway with `n` workers has `n` dataplanes, each with its [`Shard`]. They share nothing, and any of them may get any
//! frame; which of them a packet belongs to is told in `pipeline/steer/owners.rs`. Where something is divided among them,
//! external ports, room in a table, a limit of rate, the shard says which part is one's own.

/// One dataplane's place among those of a gateway.
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

    /// The place `index` of `count`; `None` if there is no such place, or more than
    /// [`Shard::COUNT_MAX`].
    pub const fn new(index: u8, count: u8) -> Option<Self> {
        if index < count && count <= Self::COUNT_MAX { Some(Self { index, count }) } else { None }
    }

    /// Which of the dataplanes it is, counted from 0.
    #[inline]
    pub const fn index(self) -> u8 {
        self.index
    }

    /// How many dataplanes there are.
    #[inline]
    pub const fn count(self) -> u8 {
        self.count
    }

    /// Whether there are no others.
    #[inline]
    pub const fn is_sole(self) -> bool {
        self.count == 1
    }

    /// The secret of this dataplane, of the one that all share.
    pub(crate) fn seed(self, mut shared: [u8; 32]) -> [u8; 32] {
        shared[0] ^= self.index;
        shared
    }

    /// Whose an external port is, and an inside host's port that it is preserved for, or the identifier of
    /// an ICMP query: an even port's and the next one's are the same.
    #[inline]
    pub(crate) const fn of_port(self, port: u16) -> u8 {
        ((port >> 1) % self.count as u16) as u8
    }

    /// Whether it is the one that does what is done for all: announcing the gateway's addresses, for one.
    #[inline]
    pub(crate) const fn is_first(self) -> bool {
        self.index == 0
    }

    /// The places of the others.
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
