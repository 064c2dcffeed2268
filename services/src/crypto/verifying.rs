//! Public keys that verify signatures.

use std::fmt;

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};

/// The shortest RSA key that is accepted, in bits. (RFC 8301, section 3.2)
pub const RSA_BITS_MIN: usize = 1024;
/// The longest RSA key that is accepted, in bits.
pub const RSA_BITS_MAX: usize = 8192;

/// Why octets are not a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// They do not encode a public key of the algorithm.
    Unreadable,
    /// The key has less than [`RSA_BITS_MIN`] bits, so that others can forge its signatures.
    TooShort,
    /// The key has more than [`RSA_BITS_MAX`] bits.
    TooLong,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "the key cannot be read",
            Self::TooShort => "the key is too short",
            Self::TooLong => "the key is too long",
        })
    }
}

impl std::error::Error for KeyError {}

/// A public key.
#[derive(Clone, Debug)]
pub enum PublicKey {
    /// RSA with SHA-256. (RFC 8017, section 8.2)
    Rsa(rsa::PublicKey),
    /// Ed25519. (RFC 8032)
    Ed25519([u8; 32]),
}

impl PublicKey {
    /// The RSA key in `der`: a `SubjectPublicKeyInfo` (RFC 5280) or an `RSAPublicKey` (RFC 8017).
    ///
    /// # Errors
    ///
    /// `der` is no RSA key, or its length is out of range.
    pub fn rsa(der: &[u8]) -> Result<Self, KeyError> {
        let key = rsa::PublicKey::from_der(der).map_err(|_| KeyError::Unreadable)?;
        match modulus_bits(key.as_ref()).ok_or(KeyError::Unreadable)? {
            ..RSA_BITS_MIN => Err(KeyError::TooShort),
            RSA_BITS_MIN..=RSA_BITS_MAX => Ok(Self::Rsa(key)),
            _ => Err(KeyError::TooLong),
        }
    }

    /// The Ed25519 key with this encoding.
    ///
    /// # Errors
    ///
    /// The encoding does not have 32 octets.
    pub fn ed25519(octets: &[u8]) -> Result<Self, KeyError> {
        octets.try_into().map(Self::Ed25519).map_err(|_| KeyError::Unreadable)
    }

    /// Whether `signature` is this key's signature of `octets`.
    pub fn verifies(&self, octets: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa(key) => UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, key)
                .verify(octets, signature),
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(octets, signature),
        }
        .is_ok()
    }
}

/// The length of the modulus in an `RSAPublicKey` that the provider has encoded: a sequence of two integers.
fn modulus_bits(der: &[u8]) -> Option<usize> {
    let (sequence, _) = element(0x30, der)?;
    let (modulus, _) = element(0x02, sequence)?;
    let first = modulus.iter().position(|octet| *octet != 0)?;
    let zeros = modulus[first].leading_zeros() as usize;
    Some((modulus.len() - first) * 8 - zeros)
}

/// The contents of the element with this tag at the beginning of `der`, and the octets after it. (X.690, section 8.1)
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, rest) = der.split_first().filter(|(first, _)| **first == tag)?;
    let (&len, rest) = rest.split_first()?;
    let (len, rest) = match len {
        0..=0x7f => (usize::from(len), rest),
        0x81..=0x84 => {
            let (len, rest) = rest.split_at_checked(usize::from(len & 0x7f))?;
            (len.iter().fold(0_usize, |len, octet| len << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(len)
}

#[cfg(test)]
pub(crate) mod testing {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    /// The public key of the pair that `seed` makes, and its signature of `octets`. (RFC 8032)
    pub fn sign_ed25519(seed: &[u8], octets: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("32 octets");
        (pair.public_key().as_ref().to_vec(), pair.sign(octets).as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
    use data_encoding::BASE64;

    use super::*;

    /// RFC 8032, section 7.1: This is the signature of test 2, and no other.
    #[test]
    fn rfc8032_7_1_a_signature_is_of_its_octets_only() {
        let seed = BASE64.decode(b"TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs=").unwrap();
        let (public, signature) = testing::sign_ed25519(&seed, b"\x72");
        assert_eq!(signature[..4], [0x92, 0xa0, 0x09, 0xa9]);
        let key = PublicKey::ed25519(&public).unwrap();
        assert!(key.verifies(b"\x72", &signature));
        assert!(!key.verifies(b"\x73", &signature) && !key.verifies(b"\x72", b""));
        assert_eq!(PublicKey::ed25519(&[0; 31]).err(), Some(KeyError::Unreadable));
    }

    /// RFC 8017, section 8.2: A key of either encoding verifies what its pair has signed.
    #[test]
    fn rfc8017_8_2_a_key_of_either_encoding_verifies() {
        let pair = RsaKeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"octets", &mut signature).unwrap();
        let spki = pair.public_key().as_der().unwrap();
        for der in [pair.public_key().as_ref(), spki.as_ref()] {
            let key = PublicKey::rsa(der).unwrap();
            assert!(key.verifies(b"octets", &signature));
            assert!(!key.verifies(b"octet", &signature) && !key.verifies(b"octets", &signature[1..]));
        }
        assert_eq!(PublicKey::rsa(b"").err(), Some(KeyError::Unreadable));
        assert_eq!(PublicKey::rsa(&spki.as_ref()[1..]).err(), Some(KeyError::Unreadable));
    }

    /// RFC 8301, section 3.2: A key of less than 1024 bits verifies nothing.
    #[test]
    fn rfc8301_3_2_a_short_key_verifies_nothing() {
        // 512 bits, made by `openssl genrsa 512`.
        let short = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAOjVfIZER7mPr/s7QQ2I4KDJ3y8jvx6k4k5ttSetVS/xIts6Lyxj5zQiqj8m\
                     o/YQGAy26eYWGFQSBUL22txdV90CAwEAAQ==";
        assert_eq!(PublicKey::rsa(&BASE64.decode(short.as_bytes()).unwrap()).err(), Some(KeyError::TooShort));
    }

    #[test]
    fn bits_are_those_of_the_modulus() {
        assert_eq!(modulus_bits(b"\x30\x07\x02\x02\x00\xff\x02\x01\x03"), Some(8));
        assert_eq!(modulus_bits(b"\x30\x81\x06\x02\x01\x05\x02\x01\x03"), Some(3));
        for wrong in
            [&b""[..], b"\x30", b"\x30\x01\x02", b"\x31\x03\x02\x01\x05", b"\x30\x02\x02\x00", b"\x30\x80"]
        {
            assert_eq!(modulus_bits(wrong), None, "{wrong:?}");
        }
    }
}
