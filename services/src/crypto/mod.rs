//! Cryptography: the only module that names the crates which provide it.

pub mod dkim;
pub mod signing;
pub mod tls;
pub mod verifying;

use std::fmt;
use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};

/// Octets of a SHA-256 digest, and of every key and tag that is made by it.
pub const DIGEST_LEN: usize = 32;

/// A SHA-256 digest, or a key or tag derived with SHA-256.
pub type Sha256Digest = [u8; DIGEST_LEN];

/// SHA-256 of `octets`. (RFC 6234)
pub fn sha256(octets: &[u8]) -> Sha256Digest {
    fixed(digest::digest(&digest::SHA256, octets).as_ref())
}

/// SHA-256 of octets that come in parts. (RFC 6234)
pub struct Sha256(digest::Context);

impl Sha256 {
    /// A digest of no octets yet.
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Takes the next octets.
    pub fn update(&mut self, octets: &[u8]) {
        self.0.update(octets);
    }

    /// The digest of all octets.
    pub fn finish(self) -> Sha256Digest {
        fixed(self.0.finish().as_ref())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

/// HMAC-SHA-256 of `octets` under `key`, which can have any length. (RFC 2104)
pub fn hmac_sha256(key: &[u8], octets: &[u8]) -> Sha256Digest {
    fixed(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), octets).as_ref())
}

/// PBKDF2 with HMAC-SHA-256, one block long. (RFC 8018, section 5.2) It takes long, so it must not run on the services'
/// thread.
pub fn pbkdf2_sha256(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Sha256Digest {
    let mut derived = [0; DIGEST_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password, &mut derived);
    derived
}

/// Converts an output of the provider, which has no fixed length in its type.
fn fixed(octets: &[u8]) -> Sha256Digest {
    octets.try_into().expect("SHA-256 has 32 octets")
}

/// The cost of one computation of [`argon2id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Memory, in KiB; at least 8.
    pub memory_kib: u32,
    /// Passes over the memory; at least 1.
    pub passes: u32,
}

/// A password, salt or cost is out of the algorithm's range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange;

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is outside of what the algorithm takes")
    }
}

impl std::error::Error for OutOfRange {}

/// Argon2id, version 1.3, one lane. (RFC 9106) It takes long and much memory, so it must not run on the services'
/// thread.
///
/// # Errors
///
/// The cost is too small, or the salt has less than 8 octets.
pub fn argon2id(password: &[u8], salt: &[u8], cost: Argon2Cost) -> Result<Sha256Digest, OutOfRange> {
    let params = Params::new(cost.memory_kib, cost.passes, 1, Some(DIGEST_LEN)).map_err(|_| OutOfRange)?;
    let mut derived = [0; DIGEST_LEN];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(password, salt, &mut derived).map_err(|_| OutOfRange)?;
    Ok(derived)
}

/// Encrypts `content` with AES-256-GCM, and authenticates `header` with it. (NIST SP 800-38D) The key must encrypt
/// nothing else, as the nonce is always the same. `None` if `content` is longer than the algorithm takes, 64 GiB.
pub fn encrypt_once(key: &Sha256Digest, header: &[u8], mut content: Vec<u8>) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
    key.seal_in_place_append_tag(only_nonce(), Aad::from(header), &mut content).ok()?;
    Some(content)
}

/// The content that [`encrypt_once`] has encrypted; `None` if key, header or content are others.
pub fn decrypt_once(key: &Sha256Digest, header: &[u8], mut encrypted: Vec<u8>) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
    let len = key.open_in_place(only_nonce(), Aad::from(header), &mut encrypted).ok()?.len();
    encrypted.truncate(len);
    Some(encrypted)
}

/// The nonce of a key that encrypts once.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// Compares two secrets in a time that depends on their lengths alone.
pub fn are_equal(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// RFC 6234, section 8.5: SHA-256 has this digest.
    #[test]
    fn rfc6234_8_5_sha_256_has_this_digest() {
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(HEXLOWER.encode(&sha256(b"abc")), digest);
    }

    /// RFC 4231, section 4.3: HMAC-SHA-256 has this tag.
    #[test]
    fn rfc4231_4_3_hmac_sha_256_has_this_tag() {
        let tag = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(HEXLOWER.encode(&hmac_sha256(b"Jefe", b"what do ya want for nothing?")), tag);
    }

    /// RFC 7914, section 11: PBKDF2 with HMAC-SHA-256 has this key.
    #[test]
    fn rfc7914_11_pbkdf2_with_hmac_sha_256_has_this_key() {
        let key = "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc";
        assert_eq!(HEXLOWER.encode(&pbkdf2_sha256(b"passwd", b"salt", NonZeroU32::MIN)), key);
    }

    /// The vector of the reference implementation's `src/test.c`: the RFC's own has a secret and associated data.
    #[test]
    fn argon2id_has_the_reference_implementation_s_digest() {
        let cost = Argon2Cost { memory_kib: 256, passes: 2 };
        let digest = argon2id(b"password", b"somesalt", cost).unwrap();
        assert_eq!(
            HEXLOWER.encode(&digest),
            "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"
        );
        for (salt, memory_kib, passes) in [(&b"short"[..], 256, 1), (b"somesalt", 1, 1), (b"somesalt", 8, 0)]
        {
            assert_eq!(argon2id(b"password", salt, Argon2Cost { memory_kib, passes }), Err(OutOfRange));
        }
    }

    /// The vector of the GCM specification (McGrew and Viega), test case 14: a key and a nonce of zeros.
    #[test]
    fn aes_256_gcm_has_this_ciphertext_and_tag() {
        let expected = "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919";
        let encrypted = encrypt_once(&[0; 32], b"", vec![0; 16]).unwrap();
        assert_eq!(HEXLOWER.encode(&encrypted), expected);
    }

    #[test]
    fn what_is_encrypted_opens_with_the_same_key_and_header_only() {
        let encrypted = encrypt_once(&[1; 32], b"header", b"content".to_vec()).unwrap();
        let opened =
            |key: &Sha256Digest, header: &[u8], octets: &[u8]| decrypt_once(key, header, octets.to_vec());
        assert_eq!(opened(&[1; 32], b"header", &encrypted).as_deref(), Some(&b"content"[..]));
        assert_eq!(opened(&[2; 32], b"header", &encrypted), None);
        assert_eq!(opened(&[1; 32], b"Header", &encrypted), None);
        for at in 0..encrypted.len() {
            let mut damaged = encrypted.clone();
            damaged[at] ^= 1;
            assert_eq!(opened(&[1; 32], b"header", &damaged), None, "octet {at}");
            assert_eq!(opened(&[1; 32], b"header", &encrypted[..at]), None, "{at} octets");
        }
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(are_equal(b"abc", b"abc"));
        assert!(!are_equal(b"abc", b"abd") && !are_equal(b"abc", b"ab"));
    }
}
