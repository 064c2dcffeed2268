//! The initial numbers of connections. They cannot be guessed from those of other connections (RFC 6528), and those
//! of the same ends grow with time.

use std::hash::Hasher;

use gatepost_ground::Instant;
use rand::RngExt;
use rand::rngs::StdRng;
use siphasher::sip::SipHasher24;

use super::connection::Beginning;
use super::segment::{Tuple, hash_ends};

/// How long one initial sequence number lasts, in microseconds. (RFC 9293, MUST-8)
const TICK: u64 = 4;

/// Chooses initial sequence numbers and timestamps.
#[derive(Debug)]
pub(super) struct InitialNumbers {
    secret: [u8; 16],
}

impl InitialNumbers {
    pub(super) fn new(rng: &mut StdRng) -> Self {
        Self { secret: rng.random() }
    }

    /// The numbers of a connection between the ends of `tuple` that begins now. (RFC 6528, section 3)
    pub(super) fn begin(&self, now: Instant, tuple: Tuple) -> Beginning {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hash_ends(&mut hasher, tuple);
        let hash = hasher.finish();
        Beginning {
            sequence: (hash as u32).wrapping_add((now.as_micros() / TICK) as u32),
            timestamp_offset: (hash >> 32) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use rand::SeedableRng;

    use super::*;

    fn tuple(port: u16) -> Tuple {
        let end = |last, port| SocketAddr::from(([192, 168, 1, last], port));
        (end(1, 53), end(2, port))
    }

    /// RFC 9293, MUST-8: The initial sequence number of a pair of ends follows a clock of four microseconds.
    #[test]
    fn rfc9293_must8_the_initial_number_of_the_same_ends_goes_with_a_clock_of_four_microseconds() {
        let numbers = InitialNumbers::new(&mut StdRng::seed_from_u64(1));
        let at = |micros| numbers.begin(Instant::from_micros(micros), tuple(4000));
        assert_eq!(at(4000).sequence.wrapping_sub(at(0).sequence), 1000);
        assert_eq!(at(4000).timestamp_offset, at(0).timestamp_offset);
    }

    /// RFC 9293, MUST-9: The initial sequence numbers of other ends, or with another secret, cannot be predicted.
    #[test]
    fn rfc9293_must9_other_ends_and_other_secrets_have_numbers_that_tell_nothing() {
        let [one, other] = [1, 2].map(|seed| InitialNumbers::new(&mut StdRng::seed_from_u64(seed)));
        let begin = |numbers: &InitialNumbers, port| numbers.begin(Instant::ZERO, tuple(port)).sequence;
        let distance = begin(&one, 4000).abs_diff(begin(&one, 4001));
        assert!(distance > 1000 && begin(&one, 4000) != begin(&other, 4000));
    }
}
