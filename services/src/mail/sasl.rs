//! The server's side of a login, apart from the protocol that carries it. (RFC 4422; RFC 4616 PLAIN; RFC 5802 SCRAM)
//!
//! An [`Exchange`] takes what the client says, decoded, and gives out what is to be done next: a prompt for the client,
//! or a question for whoever knows the passwords. It holds no password longer than that. SCRAM's messages are not
//! looked at here: they go to whoever knows the verifiers, which has a [`scram::Exchange`] for them, and what that says goes
//! to the client.

pub mod scram;

use std::fmt;

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    /// The password in clear, in one message. // RFC 4616
    Plain,
    /// User and password in clear, each asked for; never standardised, and in wide use.
    Login,
    /// The password never leaves the client. // RFC 7677
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

/// A question for whoever knows the passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Is this the user's password?
    Password {
        /// As whom the client wants to act, if not as the user. // RFC 4616, section 2
        authorize_as: Option<String>,
        /// Who the client says it is.
        user: String,
        /// The password.
        password: Password,
    },
    /// A message of SCRAM-SHA-256: the client's first, its final one, or the empty one that ends the exchange.
    Scram(Vec<u8>),
}

/// What is answered to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The client is this user.
    Accepted {
        /// The user's name as the configuration has it.
        user: String,
    },
    /// The client gets these octets, and its response is the next request.
    Challenge(Vec<u8>),
    /// User or password are wrong. Which of them is not told.
    Refused,
    /// It cannot be decided now.
    Unavailable,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client gets these octets, and its response goes to [`Exchange::respond`].
    Prompt(&'static [u8]),
    /// Ask. A challenge in the answer goes to the client, its response to [`Exchange::respond`].
    Ask(Request),
    /// What the client said is not of this mechanism. The exchange is over.
    Malformed,
}

/// A login under way.
#[derive(Debug)]
pub struct Exchange(State);

#[derive(Debug)]
enum State {
    Plain,
    LoginUser,
    LoginPassword { user: String },
    Scram,
}

impl Exchange {
    /// Begins a login with what the client sent along with its wish, if it did: its initial response, which can be
    /// empty.
    pub fn start(mechanism: Mechanism, initial: Option<Vec<u8>>) -> (Self, Step) {
        let (state, prompt): (_, &[u8]) = match mechanism {
            Mechanism::Plain => (State::Plain, b""),
            Mechanism::Login => (State::LoginUser, b"Username:"),
            Mechanism::ScramSha256 => (State::Scram, b""),
        };
        let mut exchange = Self(state);
        // An empty user is none.
        let initial = initial.filter(|octets| mechanism != Mechanism::Login || !octets.is_empty());
        let step = initial.map_or(Step::Prompt(prompt), |octets| exchange.respond(octets));
        (exchange, step)
    }

    /// Takes in the client's response to a prompt or to a challenge.
    pub fn respond(&mut self, octets: Vec<u8>) -> Step {
        let step = match &mut self.0 {
            State::Plain => plain(&octets).map(Step::Ask),
            State::LoginUser => text(&octets).map(|user| {
                self.0 = State::LoginPassword { user };
                Step::Prompt(b"Password:")
            }),
            State::LoginPassword { user } => {
                let user = std::mem::take(user);
                let password = text(&octets).map(Password);
                password.map(|password| Step::Ask(Request::Password { authorize_as: None, user, password }))
            }
            State::Scram => Some(Step::Ask(Request::Scram(octets))),
        };
        step.unwrap_or(Step::Malformed)
    }
}

/// `[authorize-as] NUL user NUL password`. // RFC 4616, section 2
fn plain(octets: &[u8]) -> Option<Request> {
    let mut parts = octets.split(|octet| *octet == 0);
    let (authorize_as, user, password) = (parts.next()?, text(parts.next()?)?, text(parts.next()?)?);
    let authorize_as = if authorize_as.is_empty() { None } else { Some(text(authorize_as)?) };
    parts.next().is_none().then_some(Request::Password { authorize_as, user, password: Password(password) })
}

/// A user or a password: UTF-8, not empty, without control characters.
fn text(octets: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(octets).ok()?;
    (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(authorize_as: Option<&str>, user: &str, password: &str) -> Step {
        Step::Ask(Request::Password {
            authorize_as: authorize_as.map(str::to_owned),
            user: user.to_owned(),
            password: Password(password.to_owned()),
        })
    }

    /// RFC 4616, section 2: A message has an identity, a user and a password.
    #[test]
    fn rfc4616_2_a_message_has_an_identity_a_user_and_a_password() {
        let start = |octets: &[u8]| Exchange::start(Mechanism::Plain, Some(octets.to_vec())).1;
        assert_eq!(start(b"\0anna\0secret"), ask(None, "anna", "secret"));
        assert_eq!(start(b"boss\0anna\0se cret"), ask(Some("boss"), "anna", "se cret"));
        assert_eq!(start("\0jürgen\0geheim".as_bytes()), ask(None, "jürgen", "geheim"));
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
        assert_eq!(exchange.respond(b"\0anna\0secret".to_vec()), ask(None, "anna", "secret"));
    }

    #[test]
    fn login_asks_for_both_or_for_the_password() {
        for initial in [None, Some(Vec::new())] {
            let (mut exchange, step) = Exchange::start(Mechanism::Login, initial);
            assert_eq!(step, Step::Prompt(b"Username:"));
            assert_eq!(exchange.respond(b"anna".to_vec()), Step::Prompt(b"Password:"));
            assert_eq!(exchange.respond(b"secret".to_vec()), ask(None, "anna", "secret"));
        }
        let (mut exchange, step) = Exchange::start(Mechanism::Login, Some(b"anna".to_vec()));
        assert_eq!(step, Step::Prompt(b"Password:"));
        assert_eq!(exchange.respond(Vec::new()), Step::Malformed);
        assert_eq!(Exchange::start(Mechanism::Login, Some(b"a\0b".to_vec())).1, Step::Malformed);
    }

    /// RFC 5802, section 5: All messages go to whoever knows the verifiers.
    #[test]
    fn rfc5802_5_scram_is_handed_on() {
        let (mut exchange, step) = Exchange::start(Mechanism::ScramSha256, None);
        assert_eq!(step, Step::Prompt(b""), "the client speaks first");
        for message in [&b"n,,n=anna,r=x"[..], b"c=biws,r=xy,p=z", b""] {
            assert_eq!(exchange.respond(message.to_vec()), Step::Ask(Request::Scram(message.to_vec())));
        }
    }

    #[test]
    fn names_have_any_case_and_passwords_are_not_printed() {
        assert_eq!(Mechanism::named("scram-sha-256"), Some(Mechanism::ScramSha256));
        assert_eq!(Mechanism::named("CRAM-MD5"), None);
        let step = ask(None, "anna", "secret");
        assert!(!format!("{step:?}").contains("secret"));
    }
}
