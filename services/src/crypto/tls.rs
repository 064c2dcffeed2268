//! The cryptography of TLS: cipher suites, key exchange, signatures, and injected randomness.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use rand::Rng;
use rand::rngs::StdRng;
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup,
    aws_lc_rs::default_provider,
};
use rustls::{Error, NamedGroup, PeerMisbehaved};

use super::signing::KeyKind;

/// The source of randomness for keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The operating system.
    System,
    /// A seeded generator, for simulations. Anyone with the seed can decrypt everything.
    Seed,
}

impl KeySource {
    /// The TLS provider that uses this source; see [`provider`] and [`provider_that_repeats`].
    pub fn provider(self, rng: StdRng) -> Arc<CryptoProvider> {
        match self {
            Self::System => provider(rng),
            Self::Seed => provider_that_repeats(rng),
        }
    }

    /// The kind of certificate keys that suits this source.
    pub fn kind(self) -> KeyKind {
        match self {
            Self::System => KeyKind::EcdsaP256,
            Self::Seed => KeyKind::Ed25519,
        }
    }
}

/// The TLS provider: the suites of TLS 1.3 and 1.2 with forward secrecy and authenticated encryption.
///
/// All randomness of the protocol itself comes from `rng`, ephemeral keys from the operating system. rustls requires a
/// static source, so `rng` is leaked: a gateway calls this once.
pub fn provider(rng: StdRng) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { secure_random: SeededRandom::from(rng), ..default_provider() })
}

/// A provider for simulations: X25519 only, with ephemeral keys from `rng`. With Ed25519 certificates a handshake is
/// reproducible to the octet. Anyone with the seed can decrypt everything.
pub fn provider_that_repeats(rng: StdRng) -> Arc<CryptoProvider> {
    let drawn = SeededRandom::from(rng);
    Arc::new(CryptoProvider { secure_random: drawn, kx_groups: vec![drawn], ..default_provider() })
}

/// Randomness and keys from a seeded generator.
struct SeededRandom(Mutex<StdRng>);

impl SeededRandom {
    fn from(rng: StdRng) -> &'static Self {
        Box::leak(Box::new(Self(Mutex::new(rng))))
    }

    fn fill_bytes(&self, buffer: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(buffer);
    }
}

impl SecureRandom for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        self.fill_bytes(buffer);
        Ok(())
    }
}

/// X25519. (RFC 7748, section 6.1)
impl SupportedKxGroup for SeededRandom {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut octets = [0; 32];
        self.fill_bytes(&mut octets);
        let private = PrivateKey::from_private_key(&X25519, &octets).map_err(|_| GetRandomFailed)?;
        let public = private.compute_public_key().map_err(|_| GetRandomFailed)?.as_ref().to_vec();
        Ok(Box::new(Exchange { private, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// Hides the generator's state.
impl fmt::Debug for SeededRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeededRandom")
    }
}

/// A key exchange that waits for the peer's public key.
struct Exchange {
    private: PrivateKey,
    public: Vec<u8>,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        // RFC 8446, section 7.4.2: a key of small order is rejected.
        let invalid = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);
        let peer = UnparsedPublicKey::new(&X25519, peer);
        agree(&self.private, peer, invalid, |secret| Ok(SharedSecret::from(secret)))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}
