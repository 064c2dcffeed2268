//! Random numbers for the choice of ports, the next of which are known in advance.
//!
//! An explanation of a packet names the port that the packet would get. The random numbers cannot be copied with
//! their generator, as a generator for secrets is not to be copied. So a few of them are drawn ahead. If nearly all
//! ports are in use, a search for a free one may take more numbers than are known, and the packet then gets another
//! port than the one named.

use core::convert::Infallible;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng, TryRng};

/// A generator of random numbers with the next ones drawn ahead.
pub(crate) struct Draws {
    ahead: [u32; AHEAD],
    /// The place of the next number in `ahead`.
    next: usize,
    rng: StdRng,
}

/// The numbers that are drawn ahead: a search for a port takes one or two in each of four classes of ports, and more
/// where a draw is rejected; a packet causes two searches at most.
const AHEAD: usize = 64;

impl Draws {
    /// The numbers of `rng`, in its order.
    pub(crate) fn new(mut rng: StdRng) -> Self {
        Self { ahead: core::array::from_fn(|_| rng.next_u32()), next: 0, rng }
    }

    /// The same next [`AHEAD`] numbers, and others after them.
    pub(crate) fn shadow(&self) -> Self {
        let Self { ahead, next, .. } = *self;
        Self { ahead, next, rng: StdRng::from_seed([0; 32]) }
    }
}

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let drawn = core::mem::replace(&mut self.ahead[self.next % AHEAD], self.rng.next_u32());
        self.next = (self.next + 1) % AHEAD;
        Ok(drawn)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from(self.next_u32()) | u64::from(self.next_u32()) << 32)
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), Infallible> {
        for chunk in octets.chunks_mut(size_of::<u32>()) {
            chunk.copy_from_slice(&self.next_u32().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shadow_draws_the_next_numbers_and_leaves_them_to_be_drawn() {
        let mut rng = StdRng::from_seed([7; 32]);
        let mut draws = Draws::new(StdRng::from_seed([7; 32]));
        for _ in 0..3 {
            let mut shadow = draws.shadow();
            for _ in 0..AHEAD {
                let expected = rng.next_u32();
                assert_eq!((shadow.next_u32(), draws.next_u32()), (expected, expected));
            }
        }
    }
}
