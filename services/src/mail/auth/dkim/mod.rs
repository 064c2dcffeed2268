//! DKIM: signatures of domains in the header of a message. (RFC 6376; RFC 8301; RFC 8463)
//!
//! A signature covers the digest of the body's canonical form, and chosen header fields:
//!
//! ```text
//!   octets ─► HeaderReader ─┬─► Header ─► signed_octets ─► what the signature is of
//!                           └─► body ───► BodyDigest ────► bh=
//! ```
//!
//! A [`Verifier`] reads a message as a stream. Only the message's header is in memory, at most [`HEADER_OCTETS_MAX`],
//! nothing of its body. At the end there is a [`Check`] for each signature, which looks up its key.
//!
//! | result (RFC 8601, section 2.7.1) | when |
//! | --- | --- |
//! | pass | the key that its domain publishes has signed this message |
//! | fail | it has not: body or header are others |
//! | policy | the signature is not accepted: rsa-sha1, an RSA key of less than 1024 bits, expired, of a prefix of the body only, or of fields over which one was added |
//! | neutral | the signature cannot be read |
//! | temperror | the name service does not answer |
//! | permerror | there is no key, it is revoked, or it is not for this signature |
//!
//! A signature with an `l=` shorter than the body is not accepted: an attacker can append to the body, and readers do
//! not see where (RFC 6376, section 8.2). The same holds for the header (section 8.15): mail programs display a second
//! Subject above the signed one. From, Sender, Reply-To, To, Cc, Subject, Date, Content-Type and
//! Content-Transfer-Encoding are singletons (RFC 5322, section 3.6); if a message has several of one, a signature is
//! accepted only if it covers each. The signer decides whether a singleton is signed at all: much legitimate mail
//! leaves Reply-To or Content-Type unsigned. A key in test mode (`t=y`) counts as any other, as it proves its owner.

mod canonical;
mod check;
mod header;
mod key;
mod signature;
mod tags;
#[cfg(test)]
pub(in crate::mail) mod testing;
#[cfg(test)]
mod tests;
mod verifier;

pub use canonical::{BodyDigest, Canonicalization, Digested, canonical_field};
pub use check::{Check, DkimResult, Signed};
pub use header::{Field, HEADER_OCTETS_MAX, Header, HeaderReader, signed_octets};
pub use signature::SIGNATURE_OCTETS_MAX;
pub use verifier::{SIGNATURES_MAX, Verified, Verifier};
