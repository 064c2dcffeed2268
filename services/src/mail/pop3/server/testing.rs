//! A client and an office for the tests of the session: a test reads like a transcript.

use std::time::Duration;

use gatepost_ground::Instant;

use super::{Action, Answer, Ask, Inbox, NotFetched, NotOpened, Output, PART_OCTETS, Policy, Session};
use crate::mail::sasl::{Request, Verdict, scram};
use crate::mail::smtp::Tls;
use crate::mail::store::Uid;

pub(super) const PASSWORD: &str = "blue harbour 47";
pub(super) const VALIDITY: u32 = 1_709_210_096;

pub(super) fn policy(tls: Tls) -> Policy {
    Policy { hostname: "mail.office.example".to_owned(), tls, plaintext_login: false }
}

/// Whoever answers: Anna with her inbox.
#[derive(Debug, Default)]
pub(super) struct Office {
    /// What is stored, in the order of the numbers.
    pub stored: Vec<(Uid, Vec<u8>)>,
    pub is_in_use: bool,
    pub is_starting: bool,
    /// Messages that cannot be read, and why.
    pub unreadable: Vec<(Uid, NotFetched)>,
    /// The octets of a message from which on the disk fails.
    pub fails_from: Option<u64>,
    pub refuses_removal: bool,
    /// What was removed, for each time.
    pub removed: Vec<Vec<Uid>>,
    pub forgotten: usize,
    pub fetched: Option<Uid>,
}

impl Office {
    pub fn with(messages: &[&str]) -> Self {
        let stored = messages.iter().zip(1..).map(|(text, number)| (number * 3, text.as_bytes().to_vec()));
        Self { stored: stored.collect(), ..Self::default() }
    }

    pub fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Authenticate(request) => Answer::Authenticate(verdict(request)),
            Ask::Open { user } => {
                assert_eq!(user, "anna");
                Answer::Open(match (self.is_in_use, self.is_starting) {
                    (true, _) => Err(NotOpened::InUse),
                    (_, true) => Err(NotOpened::TryLater),
                    _ => {
                        let messages = self.stored.iter().map(|(uid, octets)| (*uid, octets.len() as u64));
                        Ok(Inbox { uid_validity: VALIDITY, messages: messages.collect() })
                    }
                })
            }
            Ask::Fetch(uid) => {
                if let Some((_, why)) = self.unreadable.iter().find(|(of, _)| *of == uid) {
                    return Answer::Fetch(Err(*why));
                }
                assert_eq!(self.fetched.replace(uid), None, "two messages at once");
                Answer::Fetch(Ok(self.message(uid).len() as u64))
            }
            Ask::Part { offset } => {
                if self.fails_from.is_some_and(|from| offset >= from) {
                    return Answer::Part(None);
                }
                let message = self.message(self.fetched.expect("it is fetched"));
                let from = usize::try_from(offset).unwrap();
                Answer::Part(Some(message[from..message.len().min(from + PART_OCTETS)].to_vec()))
            }
            Ask::Update(uids) => {
                self.removed.push(uids);
                Answer::Update(!self.refuses_removal)
            }
        }
    }

    fn message(&self, uid: Uid) -> &[u8] {
        &self.stored.iter().find(|(of, _)| *of == uid).expect("there is such a message").1
    }
}

fn verdict(request: Request) -> Verdict {
    let accepted = Verdict::Accepted { user: "anna".to_owned() };
    match request {
        Request::Password { user, .. } if user == "later" => Verdict::Unavailable,
        Request::Password { user, password } => {
            let is_anna = user == "anna" || user == "anna@office.example";
            if is_anna && password.0 == PASSWORD { accepted } else { Verdict::Refused }
        }
        Request::Verifier { user } => scram::testing::verdict(PASSWORD, user != "anna"),
        Request::Proved { .. } => accepted,
    }
}

/// A connection, and what is said over it.
pub(super) struct Connection {
    pub session: Session,
    pub office: Office,
    pub now: Instant,
    pub is_closed: bool,
    /// Whether a handshake is awaited.
    pub has_tls: bool,
    /// Whether a question is left open.
    pub leaves_open: bool,
    rest: Vec<u8>,
}

impl Connection {
    /// A connection whose greeting has come.
    pub fn new(policy: Policy, office: Office) -> Self {
        let now = Instant::from_secs(1000);
        let session = Session::new(now, policy);
        let (is_closed, has_tls, leaves_open) = (false, false, false);
        let mut connection = Self { session, office, now, is_closed, has_tls, leaves_open, rest: Vec::new() };
        assert_eq!(connection.hears(""), "+OK mail.office.example POP3\r\n");
        connection
    }

    /// Anna, under TLS, with her inbox open.
    pub fn of_anna(office: Office) -> Self {
        let mut connection = Self::new(policy(Tls::Active), office);
        connection.dialogue(&[("USER anna", "+OK"), (&format!("PASS {PASSWORD}"), "+OK")]);
        connection
    }

    /// Sends octets, and gives back all that comes.
    pub fn hears(&mut self, octets: impl AsRef<[u8]>) -> String {
        self.rest.extend_from_slice(octets.as_ref());
        let mut said = Vec::new();
        loop {
            let taken = if self.rest.is_empty() { 0 } else { self.session.receive(self.now, &self.rest) };
            self.rest.drain(..taken);
            let mut is_idle = taken == 0;
            while let Some(output) = self.session.poll_output(self.now) {
                is_idle = false;
                match output {
                    Output::Reply(octets) => said.extend(octets),
                    Output::Ask(_) if self.leaves_open => {}
                    Output::Ask(ask) => {
                        let answer = self.office.answer(ask);
                        self.session.answer(self.now, answer);
                    }
                    Output::Action(Action::Forget) => {
                        self.office.forgotten += 1;
                        self.office.fetched.take().expect("a message was fetched");
                    }
                    Output::Action(Action::StartTls) => self.has_tls = true,
                    Output::Action(Action::Close) => self.is_closed = true,
                }
            }
            if is_idle {
                return String::from_utf8(said).unwrap();
            }
        }
    }

    pub fn says(&mut self, line: &str) -> String {
        self.hears(format!("{line}\r\n"))
    }

    /// Sends lines, each of which must be answered by a response with the given beginning.
    pub fn dialogue(&mut self, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            let said = self.says(line);
            assert!(said.starts_with(expected), "{line:?}: {said:?}, not {expected:?}");
        }
    }

    pub fn waits(&mut self, time: Duration) -> String {
        self.now = self.now + time;
        if self.session.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.session.handle_timeout(self.now);
        }
        self.hears("")
    }
}
