//! Verifiers of passwords: enough to check a password, not enough to log in.
//!
//! The argon2id verifier is for passwords sent in clear (under TLS), the SCRAM-SHA-256 verifier for clients that do not
//! send theirs; neither can be derived from the other. Both are in a file of one line, [`sealed`]:
//!
//! ```text
//! {"argon2id":{"memory_kib":19456,"passes":2,"salt":"...","hash":"..."},
//!  "scram_sha_256":{"iterations":60000,"salt":"...","stored_key":"...","server_key":"..."}}
//! ```

use std::fmt;
use std::num::NonZeroU32;

use data_encoding::BASE64;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::password::Prepared;
use crate::crypto::{self, Argon2Cost, Sha256Digest};
use crate::store::sealed;

/// Octets of a salt.
pub const SALT_LEN: usize = 16;

/// The most memory of a check, in KiB. A file with a higher value is damaged.
const MEMORY_KIB_MAX: u32 = 1 << 20;
/// The most passes over the memory.
const PASSES_MAX: u32 = 64;
/// The fewest iterations of SCRAM. (RFC 7677, section 4)
const ITERATIONS_MIN: NonZeroU32 = NonZeroU32::new(4096).unwrap();
/// The most iterations of SCRAM.
const ITERATIONS_MAX: u32 = 10_000_000;

/// The cost of making and checking a verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// For a password sent in clear.
    pub argon2: Argon2Cost,
    /// Iterations of SCRAM-SHA-256, which clients compute at each login.
    pub scram_iterations: NonZeroU32,
}

impl Cost {
    /// The cost in production: 19 MiB and two passes are the second choice of OWASP's Password Storage Cheat Sheet, and
    /// Cyrus SASL's client accepts at most 65,536 iterations.
    pub const FULL: Self = Self {
        argon2: Argon2Cost { memory_kib: 19 * 1024, passes: 2 },
        scram_iterations: NonZeroU32::new(60_000).unwrap(),
    };

    /// The least valid cost, for tests and simulations.
    pub const LEAST: Self =
        Self { argon2: Argon2Cost { memory_kib: 8, passes: 1 }, scram_iterations: ITERATIONS_MIN };
}

/// The verifiers of one password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifiers {
    argon2: Argon2Verifier,
    scram: ScramVerifier,
}

#[derive(Clone, PartialEq, Eq)]
struct Argon2Verifier {
    cost: Argon2Cost,
    salt: Vec<u8>,
    hash: Sha256Digest,
}

/// A verifier of SCRAM-SHA-256. (RFC 5802, section 3)
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    /// Iterations of PBKDF2.
    pub iterations: NonZeroU32,
    /// The salt.
    pub salt: Vec<u8>,
    /// StoredKey: the digest of the client's key.
    pub stored_key: Sha256Digest,
    /// ServerKey, by which the server proves that it has the verifier.
    pub server_key: Sha256Digest,
}

/// Hides the verifiers, which allow offline guessing.
impl fmt::Debug for Verifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifiers(..)")
    }
}

/// Hides the verifier.
impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramVerifier(..)")
    }
}

impl ScramVerifier {
    /// Makes the verifier of `password`. It takes long.
    pub fn of(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Self {
        let salted = crypto::pbkdf2_sha256(password, salt, iterations);
        let client_key = crypto::hmac_sha256(&salted, b"Client Key");
        let (stored_key, server_key) =
            (crypto::sha256(&client_key), crypto::hmac_sha256(&salted, b"Server Key"));
        Self { iterations, salt: salt.to_owned(), stored_key, server_key }
    }
}

/// Why stored verifiers are damaged.
#[derive(Debug)]
pub enum Damage {
    /// The checksum does not match.
    Seal,
    /// The JSON is not that of verifiers.
    Json(serde_json::Error),
    /// This field is out of range.
    Field(&'static str),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seal => sealed::Damage.fmt(f),
            Self::Json(error) => error.fmt(f),
            Self::Field(name) => write!(f, "its {name} is out of range"),
        }
    }
}

impl std::error::Error for Damage {}

#[derive(Serialize, Deserialize)]
struct Stored {
    argon2id: StoredArgon2,
    scram_sha_256: StoredScram,
}

#[derive(Serialize, Deserialize)]
struct StoredArgon2 {
    memory_kib: u32,
    passes: u32,
    salt: String,
    hash: String,
}

#[derive(Serialize, Deserialize)]
struct StoredScram {
    iterations: NonZeroU32,
    salt: String,
    stored_key: String,
    server_key: String,
}

impl Verifiers {
    /// Makes the verifiers of `password`, with salts from `rng`. It takes long.
    ///
    /// # Errors
    ///
    /// `cost` is less than [`Cost::LEAST`].
    pub fn of(password: &Prepared, cost: Cost, rng: &mut impl Rng) -> Result<Self, crypto::OutOfRange> {
        let salts: [[u8; SALT_LEN]; 2] = rng.random();
        if cost.scram_iterations < ITERATIONS_MIN {
            return Err(crypto::OutOfRange);
        }
        let hash = crypto::argon2id(password.octets(), &salts[0], cost.argon2)?;
        let argon2 = Argon2Verifier { cost: cost.argon2, salt: salts[0].to_vec(), hash };
        let scram = ScramVerifier::of(password.octets(), &salts[1], cost.scram_iterations);
        Ok(Self { argon2, scram })
    }

    /// Decoy verifiers for `name`, which cost as much to check as real ones of `cost`. A name has the same decoy as
    /// long as `key` stays, and no two names share a salt.
    pub fn decoy(cost: Cost, key: &Sha256Digest, name: &str) -> Self {
        let part = |what: &str| crypto::hmac_sha256(key, format!("{what}:{name}").as_bytes());
        let salt = |what: &str| part(what)[..SALT_LEN].to_vec();
        let argon2 =
            Argon2Verifier { cost: cost.argon2, salt: salt("argon2 salt"), hash: part("argon2 hash") };
        let scram = ScramVerifier {
            iterations: cost.scram_iterations,
            salt: salt("salt"),
            stored_key: part("stored key"),
            server_key: part("server key"),
        };
        Self { argon2, scram }
    }

    /// Whether `password` is the verifiers' password. It takes long, whatever the result.
    pub fn check(&self, password: &Prepared) -> bool {
        let Argon2Verifier { cost, salt, hash } = &self.argon2;
        let derived = crypto::argon2id(password.octets(), salt, *cost);
        derived.is_ok_and(|derived| crypto::are_equal(&derived, hash))
    }

    /// A digest that tells these verifiers from those of any other setting of a password, even of the same one, as each
    /// has salts of its own.
    pub fn mark(&self) -> Sha256Digest {
        let scram = &self.scram;
        crypto::sha256(&[&scram.stored_key[..], &scram.server_key, &scram.salt].concat())
    }

    /// The verifier for SCRAM-SHA-256.
    pub fn scram(&self) -> &ScramVerifier {
        &self.scram
    }

    /// Serialises the verifiers for their file.
    ///
    /// # Errors
    ///
    /// None is known.
    pub fn to_file(&self) -> serde_json::Result<Vec<u8>> {
        let (argon2, scram) = (&self.argon2, &self.scram);
        let stored = Stored {
            argon2id: StoredArgon2 {
                memory_kib: argon2.cost.memory_kib,
                passes: argon2.cost.passes,
                salt: BASE64.encode(&argon2.salt),
                hash: BASE64.encode(&argon2.hash),
            },
            scram_sha_256: StoredScram {
                iterations: scram.iterations,
                salt: BASE64.encode(&scram.salt),
                stored_key: BASE64.encode(&scram.stored_key),
                server_key: BASE64.encode(&scram.server_key),
            },
        };
        serde_json::to_vec(&stored).map(|payload| sealed::seal(&payload))
    }

    /// Parses the content of a verifiers' file.
    ///
    /// # Errors
    ///
    /// The content is damaged.
    pub fn from_file(content: &[u8]) -> Result<Self, Damage> {
        if !sealed::is_sealed(content) {
            return Err(Damage::Seal);
        }
        let payload = sealed::unseal(content).map_err(|sealed::Damage| Damage::Seal)?;
        let Stored { argon2id, scram_sha_256 } = serde_json::from_slice(payload).map_err(Damage::Json)?;
        let in_range = |value: u32, min, max, name| {
            if (min..=max).contains(&value) { Ok(value) } else { Err(Damage::Field(name)) }
        };
        let least = Cost::LEAST.argon2;
        let cost = Argon2Cost {
            memory_kib: in_range(argon2id.memory_kib, least.memory_kib, MEMORY_KIB_MAX, "memory")?,
            passes: in_range(argon2id.passes, least.passes, PASSES_MAX, "number of passes")?,
        };
        let argon2 = Argon2Verifier { cost, salt: salt(&argon2id.salt)?, hash: digest(&argon2id.hash)? };
        let iterations = scram_sha_256.iterations;
        in_range(iterations.get(), ITERATIONS_MIN.get(), ITERATIONS_MAX, "number of iterations")?;
        let scram = ScramVerifier {
            iterations,
            salt: salt(&scram_sha_256.salt)?,
            stored_key: digest(&scram_sha_256.stored_key)?,
            server_key: digest(&scram_sha_256.server_key)?,
        };
        Ok(Self { argon2, scram })
    }
}

fn salt(text: &str) -> Result<Vec<u8>, Damage> {
    let salt = BASE64.decode(text.as_bytes()).ok().filter(|salt| salt.len() == SALT_LEN);
    salt.ok_or(Damage::Field("salt"))
}

fn digest(text: &str) -> Result<Sha256Digest, Damage> {
    let octets = BASE64.decode(text.as_bytes()).ok();
    octets.and_then(|octets| octets.try_into().ok()).ok_or(Damage::Field("key"))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn of(password: &str, seed: u64) -> Verifiers {
        let password = Prepared::new(password).unwrap();
        Verifiers::of(&password, Cost::LEAST, &mut StdRng::seed_from_u64(seed)).unwrap()
    }

    fn is(verifiers: &Verifiers, password: &str) -> bool {
        verifiers.check(&Prepared::new(password).unwrap())
    }

    #[test]
    fn a_password_is_checked_after_it_was_kept() {
        let verifiers = of("blue harbour 47", 1);
        let file = verifiers.to_file().unwrap();
        let text = String::from_utf8(file.clone()).unwrap();
        assert!(text.ends_with('\n') && !text.contains("blue"), "{text}");
        let read = Verifiers::from_file(&file).unwrap();
        assert!(read == verifiers);
        assert!(is(&read, "blue harbour 47") && !is(&read, "blue harbour 48"));
        assert!(of("blue harbour 47", 2) != verifiers, "salts differ");
        assert!(format!("{verifiers:?}{:?}", verifiers.scram()).ends_with("(..)"));
    }

    /// RFC 7677, section 3: The verifier of the example's password makes the example's proof and signature.
    #[test]
    fn rfc7677_3_the_verifier_of_the_example_s_password_makes_the_example_s_proof_and_signature() {
        let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = ScramVerifier::of(b"pencil", &salt, ITERATIONS_MIN);
        let auth_message = b"n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = crypto::hmac_sha256(&verifier.server_key, auth_message);
        assert_eq!(BASE64.encode(&signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let proof = BASE64.decode(b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let of_client = crypto::hmac_sha256(&verifier.stored_key, auth_message);
        let client_key: Vec<_> = proof.iter().zip(of_client).map(|(a, b)| a ^ b).collect();
        assert_eq!(crypto::sha256(&client_key), verifier.stored_key);
    }

    #[test]
    fn a_damaged_file_is_told() {
        let file = of("blue harbour 47", 1).to_file().unwrap();
        for at in 0..file.len() - 1 {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert!(Verifiers::from_file(&damaged).is_err(), "octet {at}");
        }
        let payload = sealed::unseal(&file).unwrap();
        assert!(Verifiers::from_file(payload).is_err(), "what is not sealed was not written by the gateway");
        let text = std::str::from_utf8(payload).unwrap();
        for (field, other, told) in [
            ("\"memory_kib\":8", "\"memory_kib\":4000000000", "memory"),
            ("\"passes\":1", "\"passes\":0", "passes"),
            ("\"iterations\":4096", "\"iterations\":1", "iterations"),
            ("\"salt\":\"", "\"salt\":\"AAAA", "salt"),
            ("\"hash\":\"", "\"hash\":\"-", "key"),
            ("\"argon2id\"", "\"argon2i\"", "argon2id"),
        ] {
            let changed = text.replacen(field, other, 1);
            assert_ne!(changed, text);
            let damage = Verifiers::from_file(&sealed::seal(changed.as_bytes())).unwrap_err().to_string();
            assert!(damage.contains(told), "{damage}");
        }
    }

    #[test]
    fn each_name_has_a_decoy_of_its_own_that_stays() {
        let decoy = |key: u8, name: &str| Verifiers::decoy(Cost::LEAST, &[key; crypto::DIGEST_LEN], name);
        assert!(decoy(1, "clara") == decoy(1, "clara"));
        assert_ne!(decoy(1, "clara").scram().salt, decoy(1, "dora").scram().salt);
        assert_ne!(decoy(1, "clara").scram().salt, decoy(2, "clara").scram().salt);
        assert_eq!(decoy(1, "clara").scram().salt.len(), SALT_LEN);
        assert!(!is(&decoy(1, "clara"), "blue harbour 47"));
    }

    #[test]
    fn what_costs_too_little_is_not_made() {
        let password = Prepared::new("blue harbour 47").unwrap();
        let cheap = Cost { scram_iterations: NonZeroU32::MIN, ..Cost::LEAST };
        assert!(Verifiers::of(&password, cheap, &mut StdRng::seed_from_u64(1)).is_err());
    }
}
