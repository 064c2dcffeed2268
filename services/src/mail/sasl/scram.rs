//! The server's side of SCRAM-SHA-256, without I/O. (RFC 5802; RFC 7677)
//!
//! ```text
//!   client-first ──▶ Lookup(user) ──▶ verifier ──▶ server-first
//!   client-final ──▶ server-final, if the proof is right; Refused, if it is not
//!   (empty)      ──▶ Proved
//! ```
//!
//! The user database has decoy verifiers for unknown users, so that a client cannot distinguish them until its proof is
//! rejected. Channel binding is not offered: it belongs to SCRAM-SHA-256-PLUS.

use std::fmt;

use data_encoding::BASE64;

use crate::crypto::{self, DIGEST_LEN, Sha256Digest};
use crate::users::verifier::ScramVerifier;

/// The longest message that is accepted, in octets.
pub const MESSAGE_MAX: usize = 4096;

/// Octets of randomness in the server's part of the nonce.
pub const NONCE_OCTETS: usize = 18;

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Find the verifier of this user, and hand it to [`Exchange::verifier`].
    Lookup {
        /// As the client has written it, prepared.
        user: String,
    },
    /// Send these octets to the client, and pass its response to [`Exchange::message`].
    Challenge(Vec<u8>),
    /// The client has proved the password of this user, and the server has proved its verifier.
    Proved {
        /// The user of [`Step::Lookup`].
        user: String,
    },
    /// The client's proof is wrong, or it violated the mechanism. The exchange is over.
    Refused,
}

/// An exchange in progress. After [`Step::Proved`] and [`Step::Refused`] every message is rejected.
pub struct Exchange(State);

enum State {
    First,
    Looking(ClientFirst),
    Final(Expected),
    Last { user: String },
    Over,
}

/// The client's first message.
struct ClientFirst {
    /// As it was written: the client's final message repeats it.
    gs2_header: String,
    /// The message without it.
    bare: String,
    user: String,
    nonce: String,
}

/// The data that verify the client's final message.
struct Expected {
    user: String,
    gs2_header: String,
    nonce: String,
    /// The two messages before, joined for AuthMessage.
    before: String,
    stored_key: Sha256Digest,
    server_key: Sha256Digest,
    /// The verifier is a decoy.
    is_decoy: bool,
}

/// It is never printed: it holds a verifier.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange(..)")
    }
}

impl Default for Exchange {
    fn default() -> Self {
        Self(State::First)
    }
}

impl Exchange {
    /// Handles a message of the client.
    pub fn message(&mut self, octets: &[u8]) -> Step {
        let (state, step) = match std::mem::replace(&mut self.0, State::Over) {
            _ if octets.len() > MESSAGE_MAX => (State::Over, Step::Refused),
            State::First => match std::str::from_utf8(octets).ok().and_then(client_first) {
                Some(first) => {
                    let user = first.user.clone();
                    (State::Looking(first), Step::Lookup { user })
                }
                None => (State::Over, Step::Refused),
            },
            State::Final(expected) => match server_final(&expected, octets) {
                Some(reply) => (State::Last { user: expected.user }, Step::Challenge(reply)),
                None => (State::Over, Step::Refused),
            },
            State::Last { user } if octets.is_empty() => (State::Over, Step::Proved { user }),
            State::Looking(_) | State::Last { .. } | State::Over => (State::Over, Step::Refused),
        };
        self.0 = state;
        step
    }

    /// Handles the verifier of the user of [`Step::Lookup`]. With `is_decoy` every proof is rejected. `nonce` is the
    /// server's part of the nonce, generated for this exchange.
    pub fn verifier(&mut self, verifier: &ScramVerifier, is_decoy: bool, nonce: [u8; NONCE_OCTETS]) -> Step {
        let State::Looking(first) = std::mem::replace(&mut self.0, State::Over) else {
            return Step::Refused;
        };
        let nonce = format!("{}{}", first.nonce, BASE64.encode(&nonce));
        // RFC 5802, section 7: server-first-message
        let reply = format!("r={nonce},s={},i={}", BASE64.encode(&verifier.salt), verifier.iterations);
        self.0 = State::Final(Expected {
            user: first.user,
            gs2_header: first.gs2_header,
            nonce,
            before: format!("{},{reply}", first.bare),
            stored_key: verifier.stored_key,
            server_key: verifier.server_key,
            is_decoy,
        });
        Step::Challenge(reply.into_bytes())
    }
}

/// Reads `gs2-header client-first-message-bare`. (RFC 5802, section 7)
fn client_first(message: &str) -> Option<ClientFirst> {
    let (binding, rest) = message.split_once(',')?;
    // RFC 5802, section 6: "p" requires channel binding, which was not offered; "y" states that it was not offered,
    // which is true.
    if !matches!(binding, "n" | "y") {
        return None;
    }
    let (authorize_as, bare) = rest.split_once(',')?;
    let authorize_as = match authorize_as {
        "" => None,
        text => Some(sasl_name(text.strip_prefix("a=")?)?),
    };
    let mut attributes = bare.split(',');
    // RFC 5802, section 5.1: "m", which would come first, is a mandatory extension.
    let user = sasl_name(attributes.next()?.strip_prefix("n=")?)?;
    let nonce = attributes.next()?.strip_prefix("r=")?.to_owned();
    let is_nonce = !nonce.is_empty() && nonce.bytes().all(|octet| octet.is_ascii_graphic());
    // An authorization identity other than the user is rejected.
    let is_own = authorize_as.is_none_or(|other| other == user);
    let gs2_header = message[..message.len() - bare.len()].to_owned();
    (is_nonce && is_own && attributes.all(is_extension)).then(|| ClientFirst {
        gs2_header,
        bare: bare.to_owned(),
        user,
        nonce,
    })
}

/// A name in which commas and equals signs are written as `=2C` and `=3D`, prepared. (RFC 5802, section 5.1)
fn sasl_name(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (letter, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return None,
        };
        name.push(letter);
        name.push_str(rest);
    }
    let prepared = stringprep::saslprep(&name).ok()?;
    (!prepared.is_empty()).then(|| prepared.into_owned())
}

/// Whether an attribute is an optional extension.
fn is_extension(attribute: &str) -> bool {
    let mut chars = attribute.chars();
    let name = chars.next();
    name.is_some_and(|name| name.is_ascii_alphabetic() && name != 'm') && chars.next() == Some('=')
}

/// The server's final message, if the client's is right. (RFC 5802, section 3)
fn server_final(expected: &Expected, message: &[u8]) -> Option<Vec<u8>> {
    let message = std::str::from_utf8(message).ok()?;
    let (without_proof, proof) = message.rsplit_once(",p=")?;
    let mut attributes = without_proof.split(',');
    let binding = BASE64.decode(attributes.next()?.strip_prefix("c=")?.as_bytes()).ok()?;
    let nonce = attributes.next()?.strip_prefix("r=")?;
    if binding != expected.gs2_header.as_bytes() || nonce != expected.nonce || !attributes.all(is_extension) {
        return None;
    }
    let proof: [u8; DIGEST_LEN] = BASE64.decode(proof.as_bytes()).ok()?.try_into().ok()?;
    let auth_message = format!("{},{without_proof}", expected.before);
    let signature = crypto::hmac_sha256(&expected.stored_key, auth_message.as_bytes());
    let mut client_key = proof;
    client_key.iter_mut().zip(signature).for_each(|(octet, signed)| *octet ^= signed);
    let is_right = crypto::are_equal(&crypto::sha256(&client_key), &expected.stored_key);
    let signature = crypto::hmac_sha256(&expected.server_key, auth_message.as_bytes());
    (is_right && !expected.is_decoy).then(|| format!("v={}", BASE64.encode(&signature)).into_bytes())
}

#[cfg(test)]
pub(in crate::mail) mod testing;
#[cfg(test)]
mod tests;
