//! The client's side of a login, apart from the protocol that carries it. (RFC 4616 PLAIN; RFC 5802 and 7677 SCRAM)
//!
//! SCRAM also proves to the client that the server has the verifier: without that proof a login that the server accepts
//! has failed.

use std::fmt;
use std::num::NonZeroU32;

use data_encoding::BASE64;

use super::{Mechanism, Password};
use crate::crypto::{self, Sha256Digest};

/// Octets of randomness in the client's part of the nonce.
pub const NONCE_OCTETS: usize = 18;
/// The most iterations that a server can ask for. They are work for this side.
pub const ITERATIONS_MAX: u32 = 1_000_000;
/// The fewest. (RFC 7677, section 4)
const ITERATIONS_MIN: u32 = 4096;
/// The longest message of a server that is read, in octets.
const MESSAGE_MAX: usize = 4096;

/// The client's header: no channel binding, no authorization identity. (RFC 5802, section 7)
const GS2_HEADER: &str = "n,,";

/// The credentials of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user name at the server.
    pub user: String,
    /// The password.
    pub password: Password,
    /// Drawn for one login.
    pub nonce: [u8; NONCE_OCTETS],
}

/// The derivation of a key from a password: [`crypto::pbkdf2_sha256`]. It takes long, so it must not run on the
/// services' thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derivation {
    /// The password, prepared.
    pub password: Password,
    /// The salt.
    pub salt: Vec<u8>,
    /// The iterations, at most [`ITERATIONS_MAX`].
    pub iterations: NonZeroU32,
}

impl Derivation {
    /// Does the work.
    pub fn run(&self) -> Sha256Digest {
        crypto::pbkdf2_sha256(self.password.0.as_bytes(), &self.salt, self.iterations)
    }
}

/// The next step.
#[derive(Clone, PartialEq, Eq)]
pub enum Step {
    /// The server gets these octets.
    Send(Vec<u8>),
    /// Compute this, and pass the result to [`Exchange::derived`].
    Derive(Derivation),
    /// The server does not have the verifier, or violated the mechanism. The login is to be cancelled.
    Failed(&'static str),
}

/// Hides sent octets, which can contain a password.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(octets) => write!(f, "Send({} octets)", octets.len()),
            Self::Derive(_) => f.write_str("Derive(..)"),
            Self::Failed(why) => f.debug_tuple("Failed").field(why).finish(),
        }
    }
}

/// A login in progress.
pub struct Exchange {
    credentials: Credentials,
    state: State,
}

enum State {
    /// The server's reply decides.
    Password,
    LoginUser,
    LoginPassword,
    ServerFirst {
        bare: String,
    },
    Deriving {
        nonce: String,
        before: String,
    },
    ServerFinal {
        signature: Sha256Digest,
    },
    Proved,
    Over,
}

/// It is never printed: it holds a password.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange(..)")
    }
}

impl Exchange {
    /// Starts a login: returns the initial response, if there is one.
    pub fn start(mechanism: Mechanism, credentials: Credentials) -> (Self, Option<Vec<u8>>) {
        let Credentials { user, password, nonce } = &credentials;
        let (state, initial) = match mechanism {
            Mechanism::Plain => (State::Password, Some(format!("\0{user}\0{}", password.0))),
            Mechanism::Login => (State::LoginUser, None),
            Mechanism::ScramSha256 => {
                // RFC 5802, section 5.1: a comma and an equals sign have names.
                let user = prepared(user).replace('=', "=3D").replace(',', "=2C");
                let bare = format!("n={user},r={}", BASE64.encode(nonce));
                let initial = format!("{GS2_HEADER}{bare}");
                (State::ServerFirst { bare }, Some(initial))
            }
        };
        (Self { credentials, state }, initial.map(String::into_bytes))
    }

    /// Handles the server's challenge.
    pub fn challenge(&mut self, octets: &[u8]) -> Step {
        let (state, step) = match std::mem::replace(&mut self.state, State::Over) {
            _ if octets.len() > MESSAGE_MAX => {
                (State::Over, Step::Failed("the server's message is too long"))
            }
            // The prompt is ignored, as its wording varies.
            State::LoginUser => {
                (State::LoginPassword, Step::Send(self.credentials.user.clone().into_bytes()))
            }
            State::LoginPassword => {
                (State::Password, Step::Send(self.credentials.password.0.clone().into_bytes()))
            }
            State::ServerFirst { bare } => match self.server_first(&bare, octets) {
                Some((nonce, before, derivation)) => {
                    (State::Deriving { nonce, before }, Step::Derive(derivation))
                }
                None => (State::Over, Step::Failed("the server's message is not of SCRAM-SHA-256")),
            },
            State::ServerFinal { signature } => {
                // RFC 5802, section 7: server-final-message
                let verifier = octets.strip_prefix(b"v=").and_then(|text| BASE64.decode(text).ok());
                if verifier.is_some_and(|verifier| crypto::are_equal(&verifier, &signature)) {
                    (State::Proved, Step::Send(Vec::new()))
                } else {
                    (State::Over, Step::Failed("the server does not prove that it knows the password"))
                }
            }
            State::Password | State::Deriving { .. } | State::Proved | State::Over => {
                (State::Over, Step::Failed("the server asks for more than the mechanism has"))
            }
        };
        self.state = state;
        step
    }

    /// Handles the result of [`Step::Derive`].
    pub fn derived(&mut self, salted: &Sha256Digest) -> Step {
        let State::Deriving { nonce, before } = std::mem::replace(&mut self.state, State::Over) else {
            return Step::Failed("nothing was asked for");
        };
        // RFC 5802, section 3
        let client_key = crypto::hmac_sha256(salted, b"Client Key");
        let without_proof = format!("c={},r={nonce}", BASE64.encode(GS2_HEADER.as_bytes()));
        let auth_message = format!("{before},{without_proof}");
        let mut proof = crypto::hmac_sha256(&crypto::sha256(&client_key), auth_message.as_bytes());
        proof.iter_mut().zip(client_key).for_each(|(octet, key)| *octet ^= key);
        let server_key = crypto::hmac_sha256(salted, b"Server Key");
        let signature = crypto::hmac_sha256(&server_key, auth_message.as_bytes());
        self.state = State::ServerFinal { signature };
        Step::Send(format!("{without_proof},p={}", BASE64.encode(&proof)).into_bytes())
    }

    /// Whether the mechanism confirms a login that the server has accepted.
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Password | State::Proved)
    }

    /// Parses `r=...,s=...,i=...`: the whole nonce, the two messages so far, and the derivation. (RFC 5802, section 7)
    fn server_first(&self, bare: &str, octets: &[u8]) -> Option<(String, String, Derivation)> {
        let message = std::str::from_utf8(octets).ok()?;
        let mut attributes = message.split(',');
        let nonce = attributes.next()?.strip_prefix("r=")?;
        let added = nonce.strip_prefix(&BASE64.encode(&self.credentials.nonce))?;
        let is_nonce = !added.is_empty() && added.bytes().all(|octet| octet.is_ascii_graphic());
        let salt = BASE64.decode(attributes.next()?.strip_prefix("s=")?.as_bytes()).ok()?;
        let iterations: u32 = attributes.next()?.strip_prefix("i=")?.parse().ok()?;
        let is_bounded = (ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations);
        if !is_nonce || salt.is_empty() || !is_bounded {
            return None;
        }
        let password = Password(prepared(&self.credentials.password.0));
        let derivation = Derivation { password, salt, iterations: NonZeroU32::new(iterations)? };
        Some((nonce.to_owned(), format!("{bare},{message}"), derivation))
    }
}

/// `text` prepared by SASLprep, or unchanged if that fails. (RFC 4013)
fn prepared(text: &str) -> String {
    stringprep::saslprep(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials {
            user: user.to_owned(),
            password: Password(password.to_owned()),
            nonce: [7; NONCE_OCTETS],
        }
    }

    const NONCE: &str = "BwcHBwcHBwcHBwcHBwcHBwcH";
    const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

    /// What a server that knows `password` says last to a client's final message.
    fn server_final(password: &str, bare: &str, server_first: &str, client_final: &str) -> Option<String> {
        let salted = crypto::pbkdf2_sha256(password.as_bytes(), b"salt", ITERATIONS);
        let (without_proof, proof) = client_final.rsplit_once(",p=")?;
        let auth_message = format!("{bare},{server_first},{without_proof}");
        let stored_key = crypto::sha256(&crypto::hmac_sha256(&salted, b"Client Key"));
        let signature = crypto::hmac_sha256(&stored_key, auth_message.as_bytes());
        let key: Vec<_> =
            BASE64.decode(proof.as_bytes()).ok()?.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        if crypto::sha256(&key) != stored_key {
            return None;
        }
        let server_key = crypto::hmac_sha256(&salted, b"Server Key");
        let signature = crypto::hmac_sha256(&server_key, auth_message.as_bytes());
        Some(format!("v={}", BASE64.encode(&signature)))
    }

    /// A login up to the server's final message: what the server says of it, and the exchange.
    fn scram(user: &str, password: &str) -> (Option<String>, Exchange) {
        let (mut exchange, initial) = Exchange::start(Mechanism::ScramSha256, credentials(user, password));
        let initial = String::from_utf8(initial.unwrap()).unwrap();
        let bare = initial.strip_prefix("n,,").unwrap();
        let server_first = format!("r={NONCE}more,s={},i=4096", BASE64.encode(b"salt"));
        let Step::Derive(derivation) = exchange.challenge(server_first.as_bytes()) else { panic!() };
        assert!(!exchange.is_complete());
        let Step::Send(client_final) = exchange.derived(&derivation.run()) else { panic!() };
        let client_final = String::from_utf8(client_final).unwrap();
        assert!(client_final.starts_with(&format!("c=biws,r={NONCE}more,p=")), "{client_final}");
        (server_final("pencil", bare, &server_first, &client_final), exchange)
    }

    /// RFC 5802, section 3: Both sides prove that they know the password.
    #[test]
    fn rfc5802_3_both_sides_prove_that_they_know_the_password() {
        let (said, mut exchange) = scram("anna", "pencil");
        assert!(!exchange.is_complete(), "the server has proved nothing");
        assert_eq!(exchange.challenge(said.unwrap().as_bytes()), Step::Send(Vec::new()));
        assert!(exchange.is_complete());
        let (said, mut exchange) = scram("anna", "pen");
        assert_eq!(said, None);
        let forged = format!("v={}", BASE64.encode(&[0; 32]));
        for said in [forged.as_bytes(), b"e=other-error", b"v=", b""] {
            assert!(matches!(exchange.challenge(said), Step::Failed(_)));
            assert!(!exchange.is_complete());
        }
    }

    /// RFC 5802, section 5.1: Names and passwords are prepared, and commas and equals signs have names.
    #[test]
    fn rfc5802_5_1_names_and_passwords_are_prepared() {
        let (_, initial) = Exchange::start(Mechanism::ScramSha256, credentials("a,b=c\u{ad}", "x"));
        assert_eq!(initial.unwrap(), format!("n,,n=a=2Cb=3Dc,r={NONCE}").as_bytes());
        assert!(scram("anna", "pen\u{ad}cil").0.is_some());
    }

    /// RFC 7677, section 4: A server can ask neither for less work than is safe nor for endless work.
    #[test]
    fn rfc7677_4_a_server_asks_for_work_within_bounds() {
        let first = |text: &str| {
            let (mut exchange, _) = Exchange::start(Mechanism::ScramSha256, credentials("anna", "x"));
            exchange.challenge(text.as_bytes())
        };
        let server_first = |iterations: &str| first(&format!("r={NONCE}x,s=c2FsdA==,i={iterations}"));
        for right in ["4096", "1000000"] {
            assert!(matches!(server_first(right), Step::Derive(_)), "{right}");
        }
        for wrong in ["4095", "1000001", "0", "-1", "99999999999", ""] {
            assert!(matches!(server_first(wrong), Step::Failed(_)), "{wrong}");
        }
        for wrong in [
            String::new(),
            format!("r={NONCE},s=c2FsdA==,i=4096"),
            "r=other,s=c2FsdA==,i=4096".to_owned(),
            format!("r={NONCE}x,s=,i=4096"),
            format!("m=x,r={NONCE}x,s=c2FsdA==,i=4096"),
            format!("r={NONCE}x,s=c2FsdA==,i=4096,{}", "x".repeat(MESSAGE_MAX)),
        ] {
            assert!(matches!(first(&wrong), Step::Failed(_)), "{wrong}");
        }
    }

    /// RFC 4616, section 2: PLAIN sends user and password at once, and LOGIN when it is asked.
    #[test]
    fn rfc4616_2_plain_sends_user_and_password_at_once() {
        let (mut exchange, initial) = Exchange::start(Mechanism::Plain, credentials("anna", "se cret"));
        assert_eq!(initial.unwrap(), b"\0anna\0se cret");
        assert!(exchange.is_complete());
        assert!(matches!(exchange.challenge(b""), Step::Failed(_)));
        let (mut exchange, initial) = Exchange::start(Mechanism::Login, credentials("anna", "secret"));
        assert_eq!((initial, exchange.is_complete()), (None, false));
        assert_eq!(exchange.challenge(b"Username:"), Step::Send(b"anna".to_vec()));
        assert_eq!(exchange.challenge(b"Password:"), Step::Send(b"secret".to_vec()));
        assert!(exchange.is_complete());
        assert!(!format!("{exchange:?} {:?}", credentials("anna", "secret")).contains("secret"));
        let sent = format!("{:?}", Step::Send(b"secret".to_vec()));
        assert!(!sent.contains("115, 101, 99"), "{sent}");
    }
}
