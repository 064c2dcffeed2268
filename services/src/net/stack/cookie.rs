//! SYN cookies: the state of a handshake in the sequence number of the gateway's SYN (RFC 4987, section 3.6).
//!
//! ```text
//!   bit 31   which of two secrets
//!   30..28   the peer's maximum segment size, as an index of `SEGMENT_SIZES`
//!   27..0    keyed hash of both ends, the peer's initial sequence number and the bits above
//! ```
//!
//! The secrets alternate: a cookie is valid for at least [`SECRET_LIFETIME`] and at most twice that. The other
//! options of the peer's SYN are in the last bits of the timestamp in the SYN-ACK, and the peer's segments echo that
//! timestamp:
//!
//! ```text
//!   bit 4    whether selective acknowledgements are permitted
//!   3..0     the shift of the peer's windows, 15 if they are not scaled
//! ```
//!
//! A peer that changes its echo harms only itself. With a peer without timestamps neither option is used.

use std::hash::Hasher;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::RngExt;
use rand::rngs::StdRng;
use siphasher::sip::SipHasher24;

use super::connection::SEGMENT_SIZE_DEFAULT;
use super::segment::{Options, Tuple, hash_ends};

/// How long each secret makes cookies. Afterwards it checks cookies for as long again.
pub(super) const SECRET_LIFETIME: Duration = Duration::from_secs(30);

/// The maximum segment sizes that a cookie can encode, in octets: the usual ones over Ethernet, PPPoE and tunnels,
/// the default, and a size that every host accepts.
const SEGMENT_SIZES: [u16; 8] = [64, 536, 1200, 1360, 1400, 1440, 1452, 1460];

const HASH_BITS: u32 = 28;
const SECRET_BIT: u32 = 31;

const NOTE_MASK: u32 = (1 << 5) - 1;
const NOTE_SACK: u32 = 1 << 4;
const NOTE_UNSCALED: u8 = 15;

/// The timestamp near `time` for the answer to a SYN: it carries the SYN's `options`.
pub(super) fn note_options(time: u32, options: &Options) -> u32 {
    let shift = options.window_shift.map_or(NOTE_UNSCALED, |shift| shift.min(NOTE_UNSCALED - 1));
    let sack = if options.is_sack_permitted { NOTE_SACK } else { 0 };
    time & !NOTE_MASK | sack | u32::from(shift)
}

/// The options in the echoed timestamp `echo`, without those in the cookie.
pub(super) fn noted_options(echo: u32) -> Options {
    let shift = (echo & u32::from(NOTE_UNSCALED)) as u8;
    Options {
        window_shift: Some(shift).filter(|shift| *shift != NOTE_UNSCALED),
        is_sack_permitted: echo & NOTE_SACK != 0,
        ..Options::default()
    }
}

/// Makes and checks cookies.
#[derive(Debug, Default)]
pub(super) struct Cookies {
    secrets: [[u8; 16]; 2],
    /// The number of the secrets' lifetime that began last, counted from the beginning of time; the parity
    /// is the index of the secret that makes cookies.
    period: Option<u64>,
}

impl Cookies {
    /// The initial sequence number that answers a SYN from the peer of `tuple` with the initial sequence number
    /// `peer` and the option `segment_size`.
    pub(super) fn make(
        &mut self,
        now: Instant,
        tuple: Tuple,
        peer: u32,
        segment_size: Option<u16>,
        rng: &mut StdRng,
    ) -> u32 {
        let secret = self.current(now, rng);
        let wanted = segment_size.unwrap_or(SEGMENT_SIZE_DEFAULT);
        let index = SEGMENT_SIZES.partition_point(|size| *size <= wanted).saturating_sub(1);
        self.cookie(secret, tuple, peer, index)
    }

    /// The peer's maximum segment size, if `cookie` is valid for its SYN with the initial sequence number `peer`.
    pub(super) fn check(
        &mut self,
        now: Instant,
        tuple: Tuple,
        peer: u32,
        cookie: u32,
        rng: &mut StdRng,
    ) -> Option<u16> {
        self.current(now, rng);
        let secret = (cookie >> SECRET_BIT) as usize;
        let index = (cookie >> HASH_BITS) as usize % SEGMENT_SIZES.len();
        (self.cookie(secret, tuple, peer, index) == cookie).then(|| SEGMENT_SIZES[index])
    }

    /// Replaces the secrets that are too old. Returns the index of the one that makes cookies.
    fn current(&mut self, now: Instant, rng: &mut StdRng) -> usize {
        let period = now.as_micros() / SECRET_LIFETIME.as_micros() as u64;
        let current = (period % 2) as usize;
        let age = self.period.map_or(u64::MAX, |known| period.saturating_sub(known));
        if age >= 1 {
            self.secrets[current] = rng.random();
        }
        if age >= 2 {
            self.secrets[1 - current] = rng.random();
        }
        self.period = Some(self.period.map_or(period, |known| known.max(period)));
        current
    }

    fn cookie(&self, secret: usize, tuple: Tuple, peer: u32, index: usize) -> u32 {
        let head = (secret as u32) << SECRET_BIT | (index as u32) << HASH_BITS;
        let mut hasher = SipHasher24::new_with_key(&self.secrets[secret]);
        hash_ends(&mut hasher, tuple);
        hasher.write(&peer.to_be_bytes());
        hasher.write(&head.to_be_bytes());
        head | hasher.finish() as u32 & ((1 << HASH_BITS) - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use rand::SeedableRng;

    use super::*;

    fn tuple(peer_port: u16) -> Tuple {
        let local = SocketAddr::from(([192, 168, 1, 1], 53));
        (local, SocketAddr::from(([192, 168, 1, 2], peer_port)))
    }

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1000)
    }

    fn rng() -> StdRng {
        StdRng::seed_from_u64(4987)
    }

    /// RFC 4987, section 3.6: A cookie encodes the peer's segment size, and is valid for one pair of ends only.
    #[test]
    fn rfc4987_3_6_a_cookie_tells_the_segment_size_and_is_nobody_elses() {
        let (mut cookies, mut rng) = (Cookies::default(), rng());
        for (offered, kept) in [
            (None, 536),
            (Some(0), 64),
            (Some(535), 64),
            (Some(1380), 1360),
            (Some(1460), 1460),
            (Some(u16::MAX), 1460),
        ] {
            let cookie = cookies.make(at(5), tuple(4000), 7, offered, &mut rng);
            let mut check = |port, peer, cookie| cookies.check(at(6), tuple(port), peer, cookie, &mut rng);
            assert_eq!(check(4000, 7, cookie), Some(kept), "{offered:?}");
            assert_eq!((check(4001, 7, cookie), check(4000, 8, cookie)), (None, None));
            for bit in 0..32 {
                assert_eq!(check(4000, 7, cookie ^ (1 << bit)), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_timestamp_keeps_the_other_options() {
        for time in [0, u32::MAX, 0x1234_5678] {
            for shift in [None, Some(0), Some(7), Some(14)] {
                for is_sack_permitted in [false, true] {
                    let options = Options { window_shift: shift, is_sack_permitted, ..Options::default() };
                    let noted = note_options(time, &options);
                    assert_eq!(noted_options(noted), options);
                    assert!(noted.abs_diff(time) < 32);
                }
            }
        }
    }

    #[test]
    fn a_cookie_lives_through_one_change_of_secrets_and_not_through_two() {
        for (made, good, bad) in [(0, 59, 60), (29, 59, 60), (30, 89, 90), (1000, 1049, 1050)] {
            let (mut cookies, mut rng) = (Cookies::default(), rng());
            let cookie = cookies.make(at(made), tuple(4000), 7, None, &mut rng);
            assert_eq!(cookies.check(at(good), tuple(4000), 7, cookie, &mut rng), Some(536), "{made}");
            assert_eq!(cookies.check(at(bad), tuple(4000), 7, cookie, &mut rng), None, "{made}");
        }
    }

    #[test]
    fn after_a_long_silence_both_secrets_are_new() {
        let (mut cookies, mut rng) = (Cookies::default(), rng());
        let cookie = cookies.make(at(10), tuple(4000), 7, None, &mut rng);
        for later in [600, 630] {
            assert_eq!(cookies.check(at(later), tuple(4000), 7, cookie, &mut rng), None);
        }
    }
}
