//! The server's side of a login, apart from the protocol that carries it. (RFC 4422; RFC 4616 PLAIN; RFC 5802 SCRAM)
//!
//! An [`Exchange`] takes the client's decoded messages, and returns the next step: a prompt for the client, or a
//! question to the user database. It holds a password no longer than needed. All state of a login is in its `Exchange`:
//! the user database remembers nothing between questions, so that a cancelled login does not affect the next one on the
//! connection.

pub mod client;
pub mod scram;

use std::fmt;

use crate::users::logins::Outcome;
use crate::users::verifier::ScramVerifier;

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    /// The password in clear, in one message. (RFC 4616)
    Plain,
    /// User and password in clear, prompted for one by one; never standardised, but widely used.
    Login,
    /// The password never leaves the client. (RFC 7677)
    ScramSha256,
}

impl Mechanism {
    /// All, the strongest first.
    pub const ALL: [Self; 3] = [Self::ScramSha256, Self::Plain, Self::Login];

    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
        }
    }

    /// The mechanism with that name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }
}

/// A password as the client sent it. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A question to the user database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Is this the user's password?
    Password {
        /// The claimed user.
        user: String,
        /// The password.
        password: Password,
    },
    /// Get the verifier for this user name. Answered by [`Verdict::Verifier`], also for an unknown user.
    Verifier {
        /// The claimed user.
        user: String,
    },
    /// The client has proved that it has the password of the user with this name. May it log in? This comes only after
    /// a [`Verdict::Verifier`] that is no decoy.
    Proved {
        /// The user.
        user: String,
    },
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The client is this user.
    Accepted {
        /// The user's name as the configuration has it.
        user: String,
    },
    /// To [`Request::Verifier`].
    Verifier {
        /// The verifier of the client's proof.
        verifier: ScramVerifier,
        /// No password matches it: there is no such user, or no password.
        is_decoy: bool,
        /// The server's part of the nonce, drawn for this answer.
        nonce: [u8; scram::NONCE_OCTETS],
    },
    /// User or password are wrong, which of them is not revealed.
    Refused,
    /// It cannot be decided now.
    Unavailable,
}

impl From<Outcome> for Verdict {
    /// Too many failures are reported as temporary: a mail program drops its saved password after a permanent
    /// rejection.
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Accepted { user } => Self::Accepted { user },
            Outcome::Refused => Self::Refused,
            Outcome::TooMany(_) | Outcome::Unavailable => Self::Unavailable,
        }
    }
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these octets to the client, and pass its response to [`Exchange::respond`].
    Prompt(&'static [u8]),
    /// Send this message of SCRAM to the client, and pass its response to [`Exchange::respond`].
    Challenge(Vec<u8>),
    /// Ask, and hand the answer to [`Exchange::answer`].
    Ask(Request),
    /// The client violated the mechanism. The exchange is over.
    Malformed,
    /// The client is this user. The exchange is over.
    Accepted {
        /// The user's name as the configuration has it.
        user: String,
    },
    /// User, password or proof are wrong. The exchange is over.
    Refused,
    /// It cannot be decided now. The exchange is over.
    Unavailable,
}

/// A login in progress.
#[derive(Debug)]
pub struct Exchange(State);

#[derive(Debug)]
enum State {
    Plain,
    LoginUser,
    LoginPassword {
        user: String,
    },
    Scram(scram::Exchange),
    /// The answer to the question that is open decides.
    Asked,
    Over,
}

impl Exchange {
    /// Starts a login with the client's initial response, if there is one; it can be empty.
    pub fn start(mechanism: Mechanism, initial: Option<Vec<u8>>) -> (Self, Step) {
        let (state, prompt): (_, &[u8]) = match mechanism {
            Mechanism::Plain => (State::Plain, b""),
            Mechanism::Login => (State::LoginUser, b"Username:"),
            Mechanism::ScramSha256 => (State::Scram(scram::Exchange::default()), b""),
        };
        let mut exchange = Self(state);
        // An empty user is invalid.
        let initial = initial.filter(|octets| mechanism != Mechanism::Login || !octets.is_empty());
        let step = initial.map_or(Step::Prompt(prompt), |octets| exchange.respond(octets));
        (exchange, step)
    }

    /// Handles the client's response to a prompt or a challenge.
    pub fn respond(&mut self, octets: Vec<u8>) -> Step {
        let (state, step) = match std::mem::replace(&mut self.0, State::Over) {
            State::Plain => match plain(&octets) {
                // An authorization identity other than the user is rejected.
                Some((Some(other), user, _)) if !other.eq_ignore_ascii_case(&user) => {
                    (State::Over, Step::Refused)
                }
                parts => asked(parts.map(|(_, user, password)| Request::Password { user, password })),
            },
            State::LoginUser => match text(&octets) {
                Some(user) => (State::LoginPassword { user }, Step::Prompt(b"Password:")),
                None => (State::Over, Step::Malformed),
            },
            State::LoginPassword { user } => {
                let password = text(&octets).map(Password);
                asked(password.map(|password| Request::Password { user, password }))
            }
            State::Scram(mut exchange) => {
                let step = exchange.message(&octets);
                scram_step(exchange, step)
            }
            State::Asked | State::Over => (State::Over, Step::Malformed),
        };
        self.0 = state;
        step
    }

    /// Handles the answer to the open question. An answer to another question rejects the login.
    pub fn answer(&mut self, verdict: Verdict) -> Step {
        let (state, step) = match (std::mem::replace(&mut self.0, State::Over), verdict) {
            (State::Scram(mut exchange), Verdict::Verifier { verifier, is_decoy, nonce }) => {
                let step = exchange.verifier(&verifier, is_decoy, nonce);
                scram_step(exchange, step)
            }
            (State::Asked, Verdict::Accepted { user }) => (State::Over, Step::Accepted { user }),
            (_, Verdict::Unavailable) => (State::Over, Step::Unavailable),
            (_, _) => (State::Over, Step::Refused),
        };
        self.0 = state;
        step
    }
}

/// The step for a request whose answer decides; without one the client's message was invalid.
fn asked(request: Option<Request>) -> (State, Step) {
    request.map_or((State::Over, Step::Malformed), |request| (State::Asked, Step::Ask(request)))
}

/// The step for a step of SCRAM.
fn scram_step(exchange: scram::Exchange, step: scram::Step) -> (State, Step) {
    match step {
        scram::Step::Lookup { user } => (State::Scram(exchange), Step::Ask(Request::Verifier { user })),
        scram::Step::Challenge(octets) => (State::Scram(exchange), Step::Challenge(octets)),
        scram::Step::Proved { user } => (State::Asked, Step::Ask(Request::Proved { user })),
        scram::Step::Refused => (State::Over, Step::Refused),
    }
}

/// `[authorize-as] NUL user NUL password`. (RFC 4616, section 2)
fn plain(octets: &[u8]) -> Option<(Option<String>, String, Password)> {
    let mut parts = octets.split(|octet| *octet == 0);
    let (authorize_as, user, password) = (parts.next()?, text(parts.next()?)?, text(parts.next()?)?);
    let authorize_as = if authorize_as.is_empty() { None } else { Some(text(authorize_as)?) };
    parts.next().is_none().then_some((authorize_as, user, Password(password)))
}

/// A user or a password: UTF-8, not empty, without control characters.
fn text(octets: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(octets).ok()?;
    (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// The octets that `text` encodes, padded at its end only. (RFC 4648, section 4)
pub(in crate::mail) fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let is_padded_within = text.iter().rev().skip_while(|octet| **octet == b'=').any(|octet| *octet == b'=');
    data_encoding::BASE64.decode(text).ok().filter(|_| !is_padded_within)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(user: &str, password: &str) -> Step {
        Step::Ask(Request::Password { user: user.to_owned(), password: Password(password.to_owned()) })
    }

    /// RFC 4616, section 2: A message has an identity, a user and a password.
    #[test]
    fn rfc4616_2_a_message_has_an_identity_a_user_and_a_password() {
        let start = |octets: &[u8]| Exchange::start(Mechanism::Plain, Some(octets.to_vec())).1;
        assert_eq!(start(b"\0anna\0secret"), ask("anna", "secret"));
        assert_eq!(start(b"Anna\0anna\0se cret"), ask("anna", "se cret"));
        assert_eq!(start(b"boss\0anna\0secret"), Step::Refused, "nobody acts for another");
        assert_eq!(start("\0jürgen\0geheim".as_bytes()), ask("jürgen", "geheim"));
        for wrong in [
            &b""[..],
            b"anna",
            b"\0anna",
            b"\0anna\0",
            b"\0\0secret",
            b"\0anna\0secret\0",
            b"\0an\xffna\0secret",
            b"\0an\r\nna\0secret",
            b"b\n\0anna\0secret",
        ] {
            assert_eq!(start(wrong), Step::Malformed, "{wrong:?}");
        }
        let (mut exchange, step) = Exchange::start(Mechanism::Plain, None);
        assert_eq!(step, Step::Prompt(b""));
        assert_eq!(exchange.respond(b"\0anna\0secret".to_vec()), ask("anna", "secret"));
    }

    #[test]
    fn login_asks_for_both_or_for_the_password() {
        for initial in [None, Some(Vec::new())] {
            let (mut exchange, step) = Exchange::start(Mechanism::Login, initial);
            assert_eq!(step, Step::Prompt(b"Username:"));
            assert_eq!(exchange.respond(b"anna".to_vec()), Step::Prompt(b"Password:"));
            assert_eq!(exchange.respond(b"secret".to_vec()), ask("anna", "secret"));
        }
        let (mut exchange, step) = Exchange::start(Mechanism::Login, Some(b"anna".to_vec()));
        assert_eq!(step, Step::Prompt(b"Password:"));
        assert_eq!(exchange.respond(Vec::new()), Step::Malformed);
        assert_eq!(Exchange::start(Mechanism::Login, Some(b"a\0b".to_vec())).1, Step::Malformed);
    }

    /// An exchange of SCRAM whose proof was right, and the step that came of it.
    fn proved(is_decoy: bool) -> (Exchange, Step) {
        let (mut exchange, step) = Exchange::start(Mechanism::ScramSha256, None);
        assert_eq!(step, Step::Prompt(b""), "the client speaks first");
        let user = "anna".to_owned();
        assert_eq!(exchange.respond(b"n,,n=anna,r=x".to_vec()), Step::Ask(Request::Verifier { user }));
        let Step::Challenge(first) = exchange.answer(scram::testing::verdict("secret", is_decoy)) else {
            panic!("a challenge")
        };
        let first = String::from_utf8(first).unwrap();
        let last = scram::testing::client_final("secret", "n,,", "n=anna,r=x", &first);
        let step = exchange.respond(last.into_bytes());
        (exchange, step)
    }

    /// RFC 5802, section 5: A client that has proved its password is logged in if the user may log in.
    #[test]
    fn rfc5802_5_a_proof_is_answered_and_then_it_is_asked_whether_the_user_may_log_in() {
        for verdict in [Verdict::Accepted { user: "anna".to_owned() }, Verdict::Refused, Verdict::Unavailable]
        {
            let (mut exchange, step) = proved(false);
            assert!(matches!(step, Step::Challenge(last) if last.starts_with(b"v=")));
            let user = || "anna".to_owned();
            assert_eq!(exchange.respond(Vec::new()), Step::Ask(Request::Proved { user: user() }));
            let expected = match &verdict {
                Verdict::Accepted { .. } => Step::Accepted { user: user() },
                Verdict::Unavailable => Step::Unavailable,
                _ => Step::Refused,
            };
            assert_eq!(exchange.answer(verdict), expected);
            assert_eq!(exchange.respond(Vec::new()), Step::Malformed, "it is over");
        }
        assert_eq!(proved(true).1, Step::Refused, "nobody has the password of a decoy");
    }

    #[test]
    fn an_answer_to_another_question_lets_nobody_in() {
        let accepted = || Verdict::Accepted { user: "anna".to_owned() };
        let (mut exchange, step) = Exchange::start(Mechanism::ScramSha256, Some(b"n,,n=anna,r=x".to_vec()));
        assert!(matches!(step, Step::Ask(Request::Verifier { .. })));
        assert_eq!(exchange.answer(accepted()), Step::Refused);
        let (mut exchange, _) = Exchange::start(Mechanism::Plain, Some(b"\0anna\0secret".to_vec()));
        assert_eq!(exchange.answer(scram::testing::verdict("secret", false)), Step::Refused);
        let (mut exchange, _) = Exchange::start(Mechanism::Login, None);
        assert_eq!(exchange.answer(accepted()), Step::Refused, "nothing was asked");
    }

    #[test]
    fn too_many_failures_are_no_refusal() {
        let too_many = Outcome::TooMany(crate::users::limit::TooMany { wait: std::time::Duration::ZERO });
        assert_eq!(Verdict::from(too_many), Verdict::Unavailable);
        assert_eq!(Verdict::from(Outcome::Refused), Verdict::Refused);
    }

    #[test]
    fn names_have_any_case_and_passwords_are_not_printed() {
        assert_eq!(Mechanism::named("scram-sha-256"), Some(Mechanism::ScramSha256));
        assert_eq!(Mechanism::named("CRAM-MD5"), None);
        let step = ask("anna", "secret");
        assert!(!format!("{step:?}").contains("secret"));
    }
}
