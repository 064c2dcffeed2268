//! Keys that are generated once and then read from a file.

use std::io;

use data_encoding::BASE64;
use rand::{Rng, RngExt};

use super::{Storage, sealed};

/// Octets of a key.
pub const KEY_OCTETS: usize = 32;

/// Reads the key in `file`, or else generates one from `rng` and stores it there.
///
/// # Errors
///
/// An error of the file system.
pub fn kept_key(storage: &dyn Storage, file: &str, rng: &mut impl Rng) -> io::Result<[u8; KEY_OCTETS]> {
    let content = storage.read(file)?.filter(|content| sealed::is_sealed(content));
    let kept = content.and_then(|content| BASE64.decode(sealed::unseal(&content).ok()?).ok());
    if let Some(key) = kept.and_then(|key| key.try_into().ok()) {
        return Ok(key);
    }
    let key: [u8; KEY_OCTETS] = rng.random();
    storage.replace(file, &sealed::seal(BASE64.encode(&key).as_bytes()))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::store::Memory;

    #[test]
    fn a_key_stays_and_a_damaged_one_is_drawn_again() {
        let storage = Memory::default();
        let mut rng = StdRng::seed_from_u64(1);
        let mut kept = || kept_key(&storage, "key", &mut rng).unwrap();
        let key = kept();
        assert_eq!(kept(), key);
        for damaged in [&b""[..], b"2 00000000 AAAA\n", b"AAAA", &sealed::seal(b"AAAA")] {
            storage.replace("key", damaged).unwrap();
            let other = kept();
            assert_ne!(other, key, "{damaged:?}");
            assert_eq!(kept(), other);
        }
    }
}
