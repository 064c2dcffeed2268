//! The encryption of a backup by a passphrase.
//!
//! | octets | what |
//! | --- | --- |
//! | 18 | `gatepost backup 1\n`: the version of this format |
//! | 4, 4 | argon2id's memory in KiB and its passes, big-endian |
//! | 16 | its salt |
//! | rest | the archive in JSON, by AES-256-GCM under the derived key, with all before as associated data |
//!
//! The salt is random for each backup, so that each key encrypts once.

use std::fmt;

use gatepost_services::crypto::{Argon2Cost, argon2id, decrypt_once, encrypt_once};
use gatepost_services::users::password::Prepared;
use rand::{Rng, RngExt};

/// The longest backup, in octets.
pub const BACKUP_OCTETS_MAX: usize = 48 << 20;

/// What every backup begins with.
const MAGIC: &[u8] = b"gatepost backup ";
/// The version of the format, and the end of the first line.
const VERSION: &[u8] = b"1\n";
const SALT_OCTETS: usize = 16;
const TAG_OCTETS: usize = 16;
const HEADER_OCTETS: usize = MAGIC.len() + VERSION.len() + 4 + 4 + SALT_OCTETS;

/// The most memory, in KiB, and the most passes that are believed: a forged file must not stop the gateway.
const COST_MAX: Argon2Cost = Argon2Cost { memory_kib: 256 * 1024, passes: 16 };

/// How a backup is encrypted.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    /// The cost of a guess of the passphrase.
    pub cost: Argon2Cost,
}

/// Why a backup is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It does not begin as a backup does.
    NoBackup,
    /// It has the format of a newer version of the program.
    Newer,
    /// It is longer than any backup.
    TooLong,
    /// It was cut or changed.
    Damaged,
    /// The passphrase is another one, or the file was changed: nobody can tell these apart.
    WrongPassphrase,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBackup => f.write_str("it is no backup of Gatepost's"),
            Self::Newer => f.write_str("it was made by a newer version of this program"),
            Self::TooLong => write!(f, "it has more than {BACKUP_OCTETS_MAX} octets"),
            Self::Damaged => f.write_str("it is damaged"),
            Self::WrongPassphrase => f.write_str("the passphrase is wrong, or the file is damaged"),
        }
    }
}

impl std::error::Error for OpenError {}

impl Envelope {
    /// The cost in production: 64 MiB and three passes are the second recommendation of RFC 9106, section 4.
    pub const FULL: Self = Self { cost: Argon2Cost { memory_kib: 64 * 1024, passes: 3 } };

    /// The backup with `content`. `None` if it would have more than [`BACKUP_OCTETS_MAX`] octets, or the cost is
    /// out of range. It takes long, so it must not run on the services' thread.
    pub fn seal(&self, content: Vec<u8>, passphrase: &Prepared, rng: &mut impl Rng) -> Option<Vec<u8>> {
        if content.len() + HEADER_OCTETS + TAG_OCTETS > BACKUP_OCTETS_MAX {
            return None;
        }
        let salt: [u8; SALT_OCTETS] = rng.random();
        let mut backup = [MAGIC, VERSION].concat();
        backup.extend(self.cost.memory_kib.to_be_bytes());
        backup.extend(self.cost.passes.to_be_bytes());
        backup.extend(salt);
        let key = argon2id(passphrase.octets(), &salt, self.cost).ok()?;
        let encrypted = encrypt_once(&key, &backup, content)?;
        backup.extend(encrypted);
        Some(backup)
    }

    /// The content of `backup`. It takes long, so it must not run on the services' thread.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn open(backup: &[u8], passphrase: &Prepared) -> Result<Vec<u8>, OpenError> {
        let rest = backup.strip_prefix(MAGIC).ok_or(OpenError::NoBackup)?;
        let Some(rest) = rest.strip_prefix(VERSION) else {
            let version = rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
            let is_version = version > 0 && rest.get(version) == Some(&b'\n');
            return Err(if is_version { OpenError::Newer } else { OpenError::NoBackup });
        };
        if backup.len() > BACKUP_OCTETS_MAX {
            return Err(OpenError::TooLong);
        }
        let (memory_kib, rest) = rest.split_first_chunk().ok_or(OpenError::Damaged)?;
        let (passes, rest) = rest.split_first_chunk().ok_or(OpenError::Damaged)?;
        let (salt, encrypted) = rest.split_first_chunk::<SALT_OCTETS>().ok_or(OpenError::Damaged)?;
        let cost =
            Argon2Cost { memory_kib: u32::from_be_bytes(*memory_kib), passes: u32::from_be_bytes(*passes) };
        if cost.memory_kib > COST_MAX.memory_kib
            || cost.passes > COST_MAX.passes
            || encrypted.len() < TAG_OCTETS
        {
            return Err(OpenError::Damaged);
        }
        let key = argon2id(passphrase.octets(), salt, cost).map_err(|_| OpenError::Damaged)?;
        let header = backup.get(..HEADER_OCTETS).ok_or(OpenError::Damaged)?;
        decrypt_once(&key, header, encrypted.to_vec()).ok_or(OpenError::WrongPassphrase)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const LEAST: Envelope = Envelope { cost: Argon2Cost { memory_kib: 8, passes: 1 } };

    fn passphrase(text: &str) -> Prepared {
        Prepared::new(text).expect("a passphrase")
    }

    fn sealed(content: &[u8]) -> Vec<u8> {
        let mut rng = StdRng::seed_from_u64(1);
        LEAST.seal(content.to_vec(), &passphrase("four words"), &mut rng).expect("it is short")
    }

    #[test]
    fn it_opens_with_its_passphrase_alone() {
        let backup = sealed(b"content");
        assert_eq!(Envelope::open(&backup, &passphrase("four words")).as_deref(), Ok(&b"content"[..]));
        let wrong = Envelope::open(&backup, &passphrase("Four words"));
        assert_eq!(wrong, Err(OpenError::WrongPassphrase));
        assert!(!backup.windows(7).any(|part| part == b"content"));
        let mut rng = StdRng::seed_from_u64(2);
        let other =
            LEAST.seal(b"content".to_vec(), &passphrase("four words"), &mut rng).expect("it is short");
        assert_ne!(backup, other, "each has a salt of its own");
    }

    #[test]
    fn whatever_octet_is_changed_or_missing_it_is_refused() {
        let (backup, right) = (sealed(b"content"), passphrase("four words"));
        for at in 0..backup.len() {
            Envelope::open(&backup[..at], &right).expect_err("it is cut");
            for flip in [1, 0x80] {
                let mut damaged = backup.clone();
                damaged[at] ^= flip;
                Envelope::open(&damaged, &right).expect_err("it is damaged");
            }
        }
        assert_eq!(Envelope::open(b"gatepost backup 2\nx", &right), Err(OpenError::Newer));
        assert_eq!(Envelope::open(b"gatepost backup 12\n", &right), Err(OpenError::Newer));
        for other in [&b""[..], b"PK", b"gatepost backup ", b"gatepost backup x\n", b"gatepost backup 3"] {
            assert_eq!(Envelope::open(other, &right), Err(OpenError::NoBackup));
        }
    }

    #[test]
    fn a_file_that_asks_for_much_memory_gets_none() {
        let mut backup = sealed(b"content");
        let at = MAGIC.len() + VERSION.len();
        backup[at..at + 4].copy_from_slice(&(COST_MAX.memory_kib + 1).to_be_bytes());
        assert_eq!(Envelope::open(&backup, &passphrase("four words")), Err(OpenError::Damaged));
    }

    #[test]
    fn what_is_too_long_is_not_sealed_and_not_opened() {
        let mut rng = StdRng::seed_from_u64(1);
        let (right, room) = (passphrase("four words"), BACKUP_OCTETS_MAX - HEADER_OCTETS - TAG_OCTETS);
        assert!(LEAST.seal(vec![0; room + 1], &right, &mut rng).is_none());
        let mut backup = sealed(b"content");
        backup.resize(BACKUP_OCTETS_MAX + 1, 0);
        assert_eq!(Envelope::open(&backup, &right), Err(OpenError::TooLong));
    }
}
