//! Private keys of certificates.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use rand::Rng;
use rand::rngs::StdRng;

/// The algorithm of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256 with SHA-256, which every client supports. The operating system provides the randomness of keys
    /// and signatures.
    EcdsaP256,
    /// Ed25519, which browsers do not support. Keys come from the given generator, and signatures are deterministic, so
    /// that a simulation is reproducible. (RFC 8032)
    Ed25519,
}

/// Generates a private key in PKCS #8. (RFC 5958)
///
/// # Panics
///
/// The operating system provides no randomness, or memory is exhausted.
pub fn generate(kind: KeyKind, rng: &mut StdRng) -> Vec<u8> {
    let document = match kind {
        KeyKind::EcdsaP256 => {
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
        }
        KeyKind::Ed25519 => {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            let key = Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 octets are a seed");
            key.to_pkcs8v1()
        }
    };
    document.expect("a key can be made").as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_key_of_ed25519_is_what_the_seed_says_and_no_other_is() {
        let made = |kind, seed| generate(kind, &mut StdRng::seed_from_u64(seed));
        assert_eq!(made(KeyKind::Ed25519, 1), made(KeyKind::Ed25519, 1));
        assert_ne!(made(KeyKind::Ed25519, 1), made(KeyKind::Ed25519, 2));
        assert_ne!(made(KeyKind::EcdsaP256, 1), made(KeyKind::EcdsaP256, 1));
    }
}
