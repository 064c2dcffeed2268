//! What TLS is given of cryptography: suites, key exchange, signatures, and the randomness that is injected.

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

/// Where keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysFrom {
    /// The operating system.
    System,
    /// The seed, as all else in a simulation does. Whoever knows the seed can read everything.
    Seed,
}

impl KeysFrom {
    /// The provider of TLS whose keys come from there; see [`provider`] and [`provider_that_repeats`].
    pub fn provider(self, rng: StdRng) -> Arc<CryptoProvider> {
        match self {
            Self::System => provider(rng),
            Self::Seed => provider_that_repeats(rng),
        }
    }

    /// The kind of the keys of certificates.
    pub fn kind(self) -> KeyKind {
        match self {
            Self::System => KeyKind::EcdsaP256,
            Self::Seed => KeyKind::Ed25519,
        }
    }
}

/// The provider of TLS: suites of TLS 1.3 and 1.2 with forward secrecy and authenticated encryption, no others.
///
/// All randomness of the protocol itself comes from `rng`. `rng` stays in memory as long as the process lives, as
/// rustls takes only such a source: whoever starts a gateway makes one provider for it. Ephemeral keys are drawn from
/// the operating system.
pub fn provider(rng: StdRng) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { secure_random: Drawn::from(rng), ..default_provider() })
}

/// A provider for simulations: the same with X25519 alone, whose ephemeral keys are drawn from `rng`, too. With
/// certificates of Ed25519 a handshake repeats itself to the octet. Whoever knows the seed can read everything.
pub fn provider_that_repeats(rng: StdRng) -> Arc<CryptoProvider> {
    let drawn = Drawn::from(rng);
    Arc::new(CryptoProvider { secure_random: drawn, kx_groups: vec![drawn], ..default_provider() })
}

/// Randomness, and keys, that are drawn from a generator.
struct Drawn(Mutex<StdRng>);

impl Drawn {
    fn from(rng: StdRng) -> &'static Self {
        Box::leak(Box::new(Self(Mutex::new(rng))))
    }

    fn fill_bytes(&self, buffer: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(buffer);
    }
}

impl SecureRandom for Drawn {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        self.fill_bytes(buffer);
        Ok(())
    }
}

/// X25519. // RFC 7748, section 6.1
impl SupportedKxGroup for Drawn {
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

/// Nothing of the generator's state.
impl fmt::Debug for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drawn")
    }
}

/// A key exchange that waits for the peer's key.
struct Exchange {
    private: PrivateKey,
    public: Vec<u8>,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        // A key of small order is refused. // RFC 8446, section 7.4.2
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
