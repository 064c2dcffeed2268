//! DKIM: signatures of domains in the header of a message. (RFC 6376, RFC 8301, RFC 8463)
//!
//! What is signed is a canonical form of the body, by its digest, and of chosen header fields:
//!
//! ```text
//!   octets ─► HeaderReader ─┬─► Header ─► signed_octets ─► what the signature is of
//!                           └─► body ───► BodyDigest ────► bh=
//! ```
//!
//! Of a message its header is in memory, [`HEADER_OCTETS_MAX`] at most, and nothing of its body.

mod canonical;
mod header;

pub use canonical::{BodyDigest, Canonicalization, Digested, canonical_field};
pub use header::{Field, HEADER_OCTETS_MAX, Header, HeaderReader, signed_octets};
