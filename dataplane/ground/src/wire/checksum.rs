//! The Internet checksum. (RFC 1071; RFC 1624)
//!
//! [`Sum`] adds up bytes. [`Delta`] is the change of a checksum when fields are rewritten, computed once and applied
//! to every packet of a flow.

use core::net::Ipv4Addr;

use super::protocol::Protocol;

/// A ones' complement sum in progress, over whole 16-bit words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds `bytes`; if their number is odd, a zero octet follows them.
    #[inline]
    pub fn add_bytes(self, bytes: &[u8]) -> Self {
        // Ones' complement addition works in any width and byte order: sum native words into 64 bits,
        // where 2^32 of them cannot overflow, and swap once at the end. (RFC 1071, section 2)
        let (blocks, rest) = bytes.as_chunks::<64>();
        let (words, _) = rest.as_chunks::<4>();
        let (pairs, odd) = rest.as_chunks::<2>();
        let mut sum = sum_blocks(blocks);
        sum += words.iter().fold(0, |sum, word| sum + u64::from(u32::from_ne_bytes(*word)));
        if let Some(pair) = pairs.get(2 * words.len()) {
            sum += u64::from(u16::from_ne_bytes(*pair));
        }
        if let [octet] = odd {
            sum += u64::from(u16::from_ne_bytes([*octet, 0]));
        }
        Self(self.0 + u64::from(fold(sum).to_be()))
    }

    /// Adds one word.
    #[inline]
    pub const fn add_u16(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// Adds an address.
    #[inline]
    pub const fn add_addr(self, addr: Ipv4Addr) -> Self {
        Self(self.0 + addr.to_bits() as u64)
    }

    /// Adds the pseudo-header of a TCP segment or UDP datagram of `len` octets. (RFC 9293, section 3.1)
    #[inline]
    pub const fn add_pseudo_header(
        self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        protocol: Protocol,
        len: u16,
    ) -> Self {
        self.add_addr(source).add_addr(destination).add_u16(protocol.0 as u16).add_u16(len)
    }

    /// The checksum to send: the complement of the sum.
    #[inline]
    pub const fn checksum(self) -> u16 {
        !fold(self.0)
    }

    /// Whether the bytes added, their checksum field included, are intact.
    #[inline]
    pub const fn is_valid(self) -> bool {
        fold(self.0) == 0xffff
    }
}

/// The checksum of `bytes`, in which the checksum field is zero.
#[inline]
pub fn of(bytes: &[u8]) -> u16 {
    Sum::default().add_bytes(bytes).checksum()
}

/// Whether `bytes`, their checksum field included, are intact.
#[inline]
pub fn is_valid(bytes: &[u8]) -> bool {
    Sum::default().add_bytes(bytes).is_valid()
}

/// The change of a checksum by a rewrite: `~m + m'` of RFC 1624, for every word m that becomes m'.
///
/// ```
/// use gatepost_ground::wire::checksum::Delta;
///
/// const PORT: Delta = Delta::NONE.replace_u16(8080, 443);
/// assert_eq!(PORT.apply(0xdd2f), 0xfb04);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta(u16);

impl Default for Delta {
    fn default() -> Self {
        Self::NONE
    }
}

impl Delta {
    /// No change.
    pub const NONE: Self = Self(0);

    /// This change plus that of one word.
    #[inline]
    pub const fn replace_u16(self, old: u16, new: u16) -> Self {
        Self(fold(self.0 as u64 + !old as u64 + new as u64))
    }

    /// This change plus that of two words.
    #[inline]
    pub const fn replace_u32(self, old: u32, new: u32) -> Self {
        Self(fold(self.0 as u64 + !old as u64 + new as u64))
    }

    /// This change plus that of an address.
    #[inline]
    pub const fn replace_addr(self, old: Ipv4Addr, new: Ipv4Addr) -> Self {
        self.replace_u32(old.to_bits(), new.to_bits())
    }

    /// The sum of both changes.
    #[inline]
    pub const fn and(self, other: Self) -> Self {
        Self(fold(self.0 as u64 + other.0 as u64))
    }

    /// The change that undoes this one.
    #[inline]
    #[must_use]
    pub const fn inverse(self) -> Self {
        Self(!self.0)
    }

    /// The checksum after the change: `~(~HC + ~m + m')`. (RFC 1624, section 3)
    #[inline]
    pub const fn apply(self, checksum: u16) -> u16 {
        !fold(!checksum as u64 + self.0 as u64)
    }

    /// The sum after the change, for a field that holds a sum and not its complement, as a partial checksum does.
    #[inline]
    pub const fn apply_to_sum(self, sum: u16) -> u16 {
        fold(sum as u64 + self.0 as u64)
    }
}

/// The sum of the native 32-bit words of `blocks`.
///
/// Adds eight words of 64 bits at a time, which any vector unit can do. The sum of the lower halves follows from the
/// other two sums: `lower = whole - (upper << 32)`, modulo 2^64. It is exact, as `lower` itself is below 2^64, so it
/// does not matter that `whole` wraps.
#[inline]
fn sum_blocks(blocks: &[[u8; 64]]) -> u64 {
    let (mut whole, mut upper) = ([0u64; 8], [0u64; 8]);
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for ((whole, upper), word) in whole.iter_mut().zip(&mut upper).zip(words) {
            let word = u64::from_ne_bytes(*word);
            *whole = whole.wrapping_add(word);
            *upper += word >> 32;
        }
    }
    let upper: u64 = upper.iter().sum();
    let lower = whole.iter().fold(0u64, |sum, word| sum.wrapping_add(*word)).wrapping_sub(upper << 32);
    lower + upper
}

/// Folds a sum to 16 bits with end-around carry.
#[inline]
const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Word by word, as the RFC words it.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    /// RFC 1071, section 3: Example.
    #[test]
    fn rfc1071_section_3_example() {
        assert_eq!(of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    /// RFC 1624, section 4: Example.
    #[test]
    fn rfc1624_section_4_example() {
        assert_eq!(Delta::NONE.replace_u16(0x5555, 0x3285).apply(0xdd2f), 0x0000);
    }

    #[test]
    fn a_delta_of_equal_values_changes_nothing() {
        for checksum in [0x0000, 0x0001, 0x1234, 0xfffe] {
            assert_eq!(Delta::NONE.apply(checksum), checksum);
            assert_eq!(Delta::NONE.replace_u16(7, 7).apply(checksum), checksum);
        }
    }

    #[test]
    fn the_largest_words_of_the_longest_packet_do_not_overflow() {
        let bytes = [0xff; u16::MAX as usize];
        for len in (0..200).chain([bytes.len() - 1, bytes.len()]) {
            assert_eq!(of(&bytes[..len]), naive(&bytes[..len]), "{len}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_sum(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(of(&bytes), naive(&bytes));
        }

        #[test]
        fn sums_of_parts_add_up(a in prop::collection::vec(any::<[u8; 2]>(), 0..40), b: Vec<u8>) {
            let whole = [a.as_flattened(), &b].concat();
            let sum = Sum::default().add_bytes(a.as_flattened()).add_bytes(&b);
            prop_assert_eq!(sum.checksum(), of(&whole));
        }

        #[test]
        fn a_delta_equals_recomputation(
            mut bytes in prop::collection::vec(any::<u8>(), 8..64),
            word: u16,
            addr: u32,
        ) {
            bytes[7] |= 1; // not all zero, as no packet ever is
            let before = of(&bytes);
            let old_word = u16::from_be_bytes([bytes[0], bytes[1]]);
            let old_addr = u32::from_be_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]);
            bytes[0..2].copy_from_slice(&word.to_be_bytes());
            bytes[2..6].copy_from_slice(&addr.to_be_bytes());
            let delta = Delta::NONE.replace_addr(old_addr.into(), addr.into());
            let both = Delta::NONE.replace_u16(old_word, word).and(delta);
            prop_assert_eq!(both.apply(before), of(&bytes));
            prop_assert_eq!(delta.replace_u16(old_word, word).apply(before), of(&bytes));
            prop_assert_eq!(!both.apply_to_sum(!before), of(&bytes));
        }

        #[test]
        fn updates_agree_with_full_computation(
            mut packet: [[u8; 2]; 12],
            changes in prop::collection::vec((0..11_usize, edge(), edge(), any::<[bool; 2]>()), 1..40),
        ) {
            packet[11] = [0x45, 0]; // not all zero, as no packet ever is
            let mut checksum = of(packet.as_flattened());
            let mut pending = Delta::NONE;
            for (at, high, low, [is_address, is_applied]) in changes {
                let word = |at: usize| u16::from_be_bytes(packet[at]);
                if is_address && at < 10 {
                    let join = |high: u16, low: u16| u32::from(high) << 16 | u32::from(low);
                    pending = pending.replace_u32(join(word(at), word(at + 1)), join(high, low));
                    packet[at + 1] = low.to_be_bytes();
                } else {
                    pending = Delta::NONE.replace_u16(word(at), high).and(pending);
                }
                packet[at] = high.to_be_bytes();
                if is_applied {
                    checksum = pending.apply(checksum);
                    pending = Delta::NONE;
                    prop_assert_eq!(checksum, of(packet.as_flattened()));
                }
            }
            prop_assert_eq!(pending.apply(checksum), of(packet.as_flattened()));
        }
    }

    /// Any word, and often those at which a ones' complement sum has its two zeros.
    fn edge() -> impl Strategy<Value = u16> {
        prop_oneof![any::<u16>(), prop::sample::select(vec![0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff])]
    }
}
