//! Keys that sign mail. (RFC 6376; RFC 8463)

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256};
use rand::Rng;
use rand::rngs::StdRng;

use super::sha256;

/// The signature algorithms of DKIM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SigningAlgorithm {
    /// RSA with SHA-256, which every verifier supports. Keys have 2048 bits; the operating system provides their
    /// randomness. (RFC 8301, section 3.2)
    RsaSha256,
    /// Ed25519 over a SHA-256 digest. Keys come from the given generator; signatures are deterministic. (RFC 8463,
    /// section 3)
    Ed25519Sha256,
}

impl SigningAlgorithm {
    /// The value of the tag `a` of signatures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }

    /// The value of the tag `k` of keys in DNS.
    pub const fn key_type(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa",
            Self::Ed25519Sha256 => "ed25519",
        }
    }
}

/// A private key.
pub struct SigningKey {
    pair: Pair,
    pkcs8: Vec<u8>,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Generates a key. This takes long for RSA, so it must not run on the services' thread.
    ///
    /// # Panics
    ///
    /// The operating system provides no randomness, or memory is exhausted.
    pub fn generate(algorithm: SigningAlgorithm, rng: &mut StdRng) -> Self {
        match algorithm {
            SigningAlgorithm::RsaSha256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key can be made");
                let der: Pkcs8V1Der<'_> = pair.as_der().expect("a key can be written");
                let pkcs8 = der.as_ref().to_vec();
                Self { pair: Pair::Rsa(pair), pkcs8 }
            }
            SigningAlgorithm::Ed25519Sha256 => {
                let mut seed = [0; 32];
                rng.fill_bytes(&mut seed);
                Self::from_seed(&seed)
            }
        }
    }

    fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 octets are a seed");
        let pkcs8 = pair.to_pkcs8v1().expect("a key can be written").as_ref().to_vec();
        Self { pair: Pair::Ed25519(pair), pkcs8 }
    }

    /// Reads a key that [`SigningKey::pkcs8`] returned; `None` if `pkcs8` is not one.
    pub fn from_pkcs8(algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Option<Self> {
        let pair = match algorithm {
            SigningAlgorithm::RsaSha256 => Pair::Rsa(RsaKeyPair::from_pkcs8(pkcs8).ok()?),
            SigningAlgorithm::Ed25519Sha256 => {
                Pair::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).ok()?)
            }
        };
        Some(Self { pair, pkcs8: pkcs8.to_vec() })
    }

    /// The algorithm of this key.
    pub fn algorithm(&self) -> SigningAlgorithm {
        match self.pair {
            Pair::Rsa(_) => SigningAlgorithm::RsaSha256,
            Pair::Ed25519(_) => SigningAlgorithm::Ed25519Sha256,
        }
    }

    /// The key in PKCS #8. (RFC 5958)
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public key as DNS has it: a SubjectPublicKeyInfo for RSA (RFC 6376, section 3.6.1, with erratum 3017), the
    /// octets of the key for Ed25519 (RFC 8463, section 4).
    ///
    /// # Panics
    ///
    /// Memory is exhausted.
    pub fn public(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a key can be written");
                der.as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// The signature of `octets`; `None` if memory is exhausted. RSA takes about a millisecond.
    pub fn sign(&self, octets: &[u8]) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), octets, &mut signature).ok()?;
                Some(signature)
            }
            // RFC 8463, section 3: the signature covers the digest.
            Pair::Ed25519(pair) => Some(pair.try_sign(&sha256(octets)).ok()?.as_ref().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use data_encoding::BASE64;
    use rand::SeedableRng;

    use super::*;

    /// RFC 8463, section A.1: A seed makes this public key.
    #[test]
    fn rfc8463_a_1_a_seed_makes_this_public_key() {
        let seed = BASE64.decode(b"nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=").unwrap();
        let key = SigningKey::from_seed(&seed.try_into().unwrap());
        assert_eq!(BASE64.encode(&key.public()), "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    }

    /// RFC 8301, section 3.2: A key of RSA has 2048 bits, and signs what others verify.
    #[test]
    fn rfc8301_3_2_a_key_of_rsa_has_2048_bits() {
        let rng = &mut StdRng::seed_from_u64(1);
        let key = SigningKey::generate(SigningAlgorithm::RsaSha256, rng);
        let read = SigningKey::from_pkcs8(SigningAlgorithm::RsaSha256, key.pkcs8()).unwrap();
        assert_eq!(read.public(), key.public());
        let signature = read.sign(b"message").unwrap();
        assert_eq!(signature.len() * 8, 2048);
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public());
        assert!(
            public.verify(b"message", &signature).is_ok() && public.verify(b"Message", &signature).is_err()
        );
    }

    #[test]
    fn a_key_of_ed25519_is_what_the_seed_says_and_is_read_back() {
        let algorithm = SigningAlgorithm::Ed25519Sha256;
        let made = |seed| SigningKey::generate(algorithm, &mut StdRng::seed_from_u64(seed));
        assert_eq!(made(1).public(), made(1).public());
        assert_ne!(made(1).public(), made(2).public());
        let read = SigningKey::from_pkcs8(algorithm, made(1).pkcs8()).unwrap();
        assert_eq!(read.sign(b"x"), made(1).sign(b"x"));
        for other in [&b""[..], b"no key", &made(1).pkcs8()[1..]] {
            assert!(SigningKey::from_pkcs8(algorithm, other).is_none());
            assert!(SigningKey::from_pkcs8(SigningAlgorithm::RsaSha256, other).is_none());
        }
    }
}
