//! DKIM signatures of the office's mail. (RFC 6376; RFC 8463)
//!
//! ```text
//!   KeyKeeper ─► Keys ─┬─► texts of the name service: SELECTOR._domainkey.DOMAIN
//!                      │
//!   message ─► Reading ┴─► Unsigned::sign ─► DKIM-Signature fields, put before the message when it is sent
//! ```
//!
//! The keys are generated at the first use of mail and are for all domains of the office. Each message has a signature
//! by each of them: RSA, which all verifiers support, and Ed25519. A key's selector is derived from the key, so that a
//! new key never has the selector of a former one that is published in an external zone.
//!
//! The decision to sign is made when a message is accepted ([`is_ours`](crate::mail::queue::Options::is_ours)): mail of
//! the LAN and of users, and the server's own notices, but not mail from outside that an alias forwards. The author has
//! to be at a domain of the office, or below one.

mod keeper;
mod keys;
mod message;
#[cfg(test)]
mod tests;

pub use keeper::{FILE, Keeping, KeyKeeper, damage, keys_in};
pub use keys::{Key, Keys, Record};
pub use message::{Reading, SIGNED_FIELDS, SIGNED_FIELDS_MAX, Unsigned};

use super::service::directory::MailDomain;
use crate::dns::name::is_within;

/// The domains that sign: those of the office, without names of servers below one that means the same.
pub fn signing_domains(domains: &[MailDomain]) -> Vec<String> {
    let is_of_another = |domain: &&MailDomain| {
        domain.same_as.as_ref().is_some_and(|other| is_within(&domain.name, other) && domain.name != *other)
    };
    let own = domains.iter().filter(|domain| !is_of_another(domain));
    own.map(|domain| domain.name.to_lowercase()).collect()
}
