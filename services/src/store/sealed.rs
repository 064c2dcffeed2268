//! Records with a checksum, by which a bit that flips on the disk is noticed.
//!
//! A sealed record is a line: the version of this format, the CRC-32C of the payload in eight hexadecimal digits, and
//! the payload in JSON:
//!
//! ```text
//! 2 5d5c9f0c [{"address":"192.168.1.2","client":"mac:02:00:00:00:00:01", ...}]
//! ```
//!
//! In version 1 a record was the payload alone. Such records are still read, and sealed when their file is written
//! anew.

use std::fmt;

/// The beginning of a sealed record.
const VERSION: &[u8] = b"2 ";
/// Octets of the checksum and the space behind it.
const CHECKSUM_LEN: usize = 9;

/// The record's checksum does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage;

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its checksum is wrong")
    }
}

impl std::error::Error for Damage {}

/// The line that holds `payload`, which must not contain a line break.
pub fn seal(payload: &[u8]) -> Vec<u8> {
    let mut line = VERSION.to_vec();
    line.extend_from_slice(format!("{:08x} ", crc32c(payload)).as_bytes());
    line.extend_from_slice(payload);
    line.push(b'\n');
    line
}

/// Whether a record has the form of a sealed one.
pub fn is_sealed(record: &[u8]) -> bool {
    record.starts_with(VERSION)
}

/// The payload of a sealed record, or an unsealed record itself.
///
/// # Errors
///
/// The record is sealed, and its checksum does not match.
pub fn unseal(record: &[u8]) -> Result<&[u8], Damage> {
    let Some(rest) = record.strip_prefix(VERSION) else { return Ok(record) };
    let (checksum, payload) = rest.split_at_checked(CHECKSUM_LEN).ok_or(Damage)?;
    let payload = payload.strip_suffix(b"\n").unwrap_or(payload);
    let is_right = checksum == format!("{:08x} ", crc32c(payload)).as_bytes();
    if is_right { Ok(payload) } else { Err(Damage) }
}

/// CRC-32C. (RFC 3720, section 12.1)
fn crc32c(octets: &[u8]) -> u32 {
    const POLYNOMIAL_REVERSED: u32 = 0x82f6_3b78;
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut octet = 0;
        while octet < table.len() {
            let (mut crc, mut bit) = (octet as u32, 0);
            while bit < 8 {
                crc = (crc >> 1) ^ (POLYNOMIAL_REVERSED & (crc & 1).wrapping_neg());
                bit += 1;
            }
            table[octet] = crc;
            octet += 1;
        }
        table
    };
    !octets.iter().fold(u32::MAX, |crc, octet| {
        let [low, ..] = crc.to_le_bytes();
        TABLE[usize::from(low ^ octet)] ^ (crc >> 8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4: The checksum is CRC32C.
    #[test]
    fn rfc3720_b_4_the_checksum_is_crc32c() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn any_octet_that_changes_is_noticed() {
        let sealed = seal(b"[{\"address\":\"192.168.1.2\"}]");
        assert_eq!(unseal(&sealed), Ok(&b"[{\"address\":\"192.168.1.2\"}]"[..]));
        for at in 0..sealed.len() - 1 {
            for bit in 0..8 {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1 << bit;
                // Without its version it is no record of the former format, either.
                let is_noticed = unseal(&damaged).map_or(true, |payload| payload[0] != b'[');
                assert!(is_noticed, "bit {bit} of octet {at}");
            }
        }
        for len in VERSION.len()..sealed.len() - 1 {
            assert_eq!(unseal(&sealed[..len]), Err(Damage), "{len}");
        }
    }

    #[test]
    fn a_record_of_the_former_format_is_read() {
        assert_eq!(unseal(b"[1]\n"), Ok(&b"[1]\n"[..]));
        assert_eq!((is_sealed(b"[1]"), is_sealed(&seal(b"[1]"))), (false, true));
    }
}
