//! DKIM: signatures of domains in the header of a message. (RFC 6376, RFC 8301, RFC 8463)
//!
//! What is signed is a canonical form of the body, by its digest, and of chosen header fields:
//!
//! ```text
//!   octets ─► HeaderReader ─┬─► Header ─► signed_octets ─► what the signature is of
//!                           └─► body ───► BodyDigest ────► bh=
//! ```
//!
//! A [`Verifier`] has a message stream through. Of a message its header is in memory, [`HEADER_OCTETS_MAX`] at most,
//! and nothing of its body. At the end there is a [`Check`] for each signature, which asks for its key.
//!
//! | result (RFC 8601, section 2.7.1) | when |
//! | --- | --- |
//! | pass | the key that its domain publishes has signed this message |
//! | fail | it has not: body or header are others |
//! | policy | the signature is none that is taken: rsa-sha1, an RSA key of less than 1024 bits, expired, of the beginning of the body only, or of fields over which one was added |
//! | neutral | the signature cannot be read |
//! | temperror | the name service does not answer |
//! | permerror | there is no key, it is revoked, or it is not for this signature |
//!
//! A body that is longer than `l=` says is not taken: anybody can add to it, and readers do not see where
//! (RFC 6376, section 8.2). So it is with the header (section 8.15): a second Subject over the signed one is shown, and
//! signed is the lower one. From, Sender, Reply-To, To, Cc, Subject, Date, Content-Type and Content-Transfer-Encoding
//! stand once in a message (RFC 5322, section 3.6); a signature of one with several of them is taken if it is of each.
//! Whether it is of a field that stands once its signer decides: much honest mail leaves Reply-To or Content-Type
//! unsigned. A key that is under test (`t=y`) counts as any other: whom it belongs to it proves.

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
