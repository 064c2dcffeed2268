//! The signing keys, and their DNS records.

use data_encoding::{BASE64, HEXLOWER};
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use crate::crypto::dkim::{SigningAlgorithm, SigningKey};
use crate::crypto::sha256;
use crate::crypto::tls::KeySource;
use crate::dns::published::STRING_OCTETS_MAX;

/// Octets of the digest of a public key that its selector has.
const SELECTOR_OCTETS: usize = 4;

/// A key that signs.
pub struct Key {
    selector: String,
    key: SigningKey,
}

/// All keys of the office.
pub struct Keys(Vec<Key>);

/// A TXT record that a zone has to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The domain that signs.
    pub domain: String,
    /// The key's name below `_domainkey` of the domain.
    pub selector: String,
    /// How the key signs.
    pub algorithm: SigningAlgorithm,
    /// The record's name, without a dot at its end.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Record {
    /// The text in the strings that a TXT record has. (RFC 1035, section 3.3.14)
    pub fn strings(&self) -> Vec<&str> {
        let mut strings = Vec::new();
        let mut rest = self.text.as_str();
        // It is ASCII, so it can be cut anywhere.
        while let Some((first, after)) = rest.split_at_checked(STRING_OCTETS_MAX) {
            strings.push(first);
            rest = after;
        }
        strings.push(rest);
        strings
    }
}

/// A stored key.
#[derive(Serialize, Deserialize)]
struct Stored {
    algorithm: String,
    /// PKCS #8 in base64.
    key: String,
}

impl Key {
    fn new(key: SigningKey) -> Self {
        let digest = sha256(&key.public());
        let of_key = HEXLOWER.encode(&digest[..SELECTOR_OCTETS]);
        Self { selector: format!("{}-{of_key}", key.algorithm().key_type()), key }
    }

    /// Its name below `_domainkey`.
    pub fn selector(&self) -> &str {
        &self.selector
    }

    /// How it signs.
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.key.algorithm()
    }

    /// The signature of `octets`, if there is memory for it.
    pub(super) fn sign(&self, octets: &[u8]) -> Option<Vec<u8>> {
        self.key.sign(octets)
    }

    /// The text of its record. (RFC 6376, section 3.6.1)
    pub fn text(&self) -> String {
        format!("v=DKIM1; k={}; p={}", self.algorithm().key_type(), BASE64.encode(&self.key.public()))
    }
}

impl Keys {
    /// Generates keys. This takes long, so it must not run on the services' thread.
    pub fn make(from: KeySource, rng: &mut StdRng) -> Self {
        let algorithms: &[_] = match from {
            KeySource::System => &[SigningAlgorithm::RsaSha256, SigningAlgorithm::Ed25519Sha256],
            KeySource::Seed => &[SigningAlgorithm::Ed25519Sha256],
        };
        let keys = algorithms.iter().map(|algorithm| Key::new(SigningKey::generate(*algorithm, rng)));
        Self(keys.collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// The records that the zones of `domains` need.
    pub fn records<'a>(&'a self, domains: &'a [String]) -> impl Iterator<Item = Record> + 'a {
        domains.iter().flat_map(|domain| {
            self.0.iter().map(move |key| Record {
                domain: domain.clone(),
                selector: key.selector.clone(),
                algorithm: key.algorithm(),
                // RFC 6376, section 3.6.2.1
                name: format!("{}._domainkey.{domain}", key.selector),
                text: key.text(),
            })
        })
    }

    /// The stored form.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let stored = |key: &Key| Stored {
            algorithm: key.algorithm().name().to_owned(),
            key: BASE64.encode(key.key.pkcs8()),
        };
        let stored: Vec<_> = self.0.iter().map(stored).collect();
        serde_json::to_vec(&stored).expect("texts can be written")
    }

    /// Parses the stored form.
    ///
    /// # Errors
    ///
    /// The problem, without quoting the content.
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        // An error of serde may quote a key.
        let stored: Vec<Stored> = serde_json::from_slice(json)
            .map_err(|error| format!("it makes no sense at octet {} of its content", error.column()))?;
        let keys = stored.iter().map(|Stored { algorithm, key }| {
            let algorithms = [SigningAlgorithm::RsaSha256, SigningAlgorithm::Ed25519Sha256];
            let known = algorithms.into_iter().find(|known| known.name() == algorithm);
            let octets = BASE64.decode(key.as_bytes()).ok();
            let (algorithm, octets) = known.zip(octets).ok_or("a key in it cannot be read")?;
            SigningKey::from_pkcs8(algorithm, &octets).map(Key::new).ok_or("a key in it is none")
        });
        let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
        if keys.is_empty() { Err("there is no key in it".to_owned()) } else { Ok(Self(keys)) }
    }
}
