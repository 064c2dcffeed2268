//! A client of SCRAM-SHA-256, and verifiers for it, for tests.

use std::num::NonZeroU32;

use data_encoding::BASE64;

use super::NONCE_OCTETS;
use crate::crypto;
use crate::mail::sasl::Verdict;
use crate::users::verifier::ScramVerifier;

pub const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

pub fn verifier(password: &str) -> ScramVerifier {
    ScramVerifier::of(password.as_bytes(), &[7; 16], ITERATIONS)
}

/// The answer to the question for a verifier.
pub fn verdict(password: &str, is_decoy: bool) -> Verdict {
    Verdict::Verifier { verifier: verifier(password), is_decoy, nonce: [0; NONCE_OCTETS] }
}

/// What a client that knows `password` says to the server's first message.
pub fn client_final(password: &str, header: &str, bare: &str, server_first: &str) -> String {
    let attribute = |name: &str| server_first.split(',').find_map(|part| part.strip_prefix(name)).unwrap();
    let salt = BASE64.decode(attribute("s=").as_bytes()).unwrap();
    let salted = crypto::pbkdf2_sha256(password.as_bytes(), &salt, attribute("i=").parse().unwrap());
    let key = crypto::hmac_sha256(&salted, b"Client Key");
    let without_proof = format!("c={},r={}", BASE64.encode(header.as_bytes()), attribute("r="));
    let auth_message = format!("{bare},{server_first},{without_proof}");
    let signature = crypto::hmac_sha256(&crypto::sha256(&key), auth_message.as_bytes());
    let proof: Vec<_> = key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    format!("{without_proof},p={}", BASE64.encode(&proof))
}
