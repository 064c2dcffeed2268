//! A server for the tests of the client: a test reads like a transcript.

use std::time::Duration;

use gatepost_ground::Instant;

use super::{Answer, Encryption, End, Listing, Output, Session, Settings};
use crate::mail::sasl::Password;
use crate::mail::sasl::client::{Credentials, NONCE_OCTETS};

/// With anna's login.
pub(super) fn settings(encryption: Encryption) -> Settings {
    let password = Password("secret".to_owned());
    Settings {
        encryption,
        login: Credentials { user: "anna".to_owned(), password, nonce: [7; NONCE_OCTETS] },
    }
}

/// A connection, and what came of it.
pub(super) struct Connection {
    pub session: Session,
    pub now: Instant,
    pub listing: Option<Listing>,
    pub message: Vec<u8>,
    pub answers: Vec<Answer>,
    pub end: Option<End>,
}

impl Connection {
    pub fn new(settings: Settings) -> Self {
        let now = Instant::from_secs(1);
        Self {
            session: Session::new(now, settings),
            now,
            listing: None,
            message: Vec::new(),
            answers: Vec::new(),
            end: None,
        }
    }

    /// A connection in clear or under TLS whose server offers `capabilities`, up to what follows CAPA.
    pub fn greeted(encryption: Encryption, capabilities: &str) -> (Self, String) {
        let mut connection = Self::new(settings(encryption));
        assert_eq!(connection.hears("+OK ready"), "CAPA");
        let lines = capabilities.split('|').filter(|line| !line.is_empty()).map(|line| format!("{line}|"));
        let sent = connection.hears(&format!("+OK|{}.", lines.collect::<String>()));
        (connection, sent)
    }

    /// A connection that has logged in to a mailbox of two messages.
    pub fn ready() -> Self {
        let (mut connection, sent) = Self::greeted(Encryption::Active, "USER|UIDL|TOP");
        assert_eq!(sent, "USER anna");
        assert_eq!(connection.hears("+OK"), "PASS secret");
        assert_eq!(connection.hears("+OK"), "LIST");
        assert_eq!(connection.hears("+OK 2 messages|1 120|2 200|."), "UIDL");
        assert_eq!(connection.hears("+OK|1 a|2 b|."), "");
        assert!(connection.session.is_ready());
        connection
    }

    /// The server says these lines, with `|` between them: what the client sends or does then.
    pub fn hears(&mut self, lines: &str) -> String {
        self.session.receive(self.now, (lines.replace('|', "\r\n") + "\r\n").as_bytes());
        self.drain()
    }

    /// What the client sends or does now, with `|` between lines.
    pub fn drain(&mut self) -> String {
        let mut said = String::new();
        while let Some(output) = self.session.poll_output(self.now) {
            match output {
                Output::Send(octets) => said += str::from_utf8(&octets).unwrap(),
                Output::Derive(derivation) => self.session.derived(&derivation.run()),
                Output::StartTls => said += "(tls)\r\n",
                Output::Listing(listing) => assert!(self.listing.replace(listing).is_none(), "listed twice"),
                Output::Octets(octets) => self.message.extend(octets),
                Output::Answered(answer) => self.answers.push(answer),
                Output::Close(end) => assert!(self.end.replace(end).is_none(), "closed twice"),
            }
        }
        said.strip_suffix("\r\n").unwrap_or(&said).replace("\r\n", "|")
    }

    /// Lets the deadline pass: how long it was off.
    pub fn times_out(&mut self) -> Duration {
        let deadline = self.session.deadline().unwrap();
        let waited = deadline.since(self.now);
        self.session.handle_timeout(self.now + waited.saturating_sub(Duration::from_millis(1)));
        assert_eq!((self.drain().as_str(), &self.end), ("", &None), "before its time");
        self.now = deadline;
        self.session.handle_timeout(deadline);
        self.drain();
        waited
    }

    /// What it failed by.
    pub fn failure(&self) -> String {
        match &self.end {
            Some(End::Failed(failure)) => format!("{:?}: {}", failure.kind, failure.text),
            other => panic!("no failure, but {other:?}"),
        }
    }
}
