//! A server for the tests of the client: a test reads like a transcript.

use std::time::Duration;

use gatepost_ground::Instant;

use super::{Client, Encryption, Envelope, EnvelopeRecipient, Outcome, Output, Report, Scope, Settings};
use crate::mail::address::{Mailbox, ReversePath};
use crate::mail::sasl::Password;
use crate::mail::sasl::client::{Credentials, NONCE_OCTETS};
use crate::mail::smtp::RcptParameters;

pub(super) const MESSAGE: &str = "Subject: x\r\n\r\n.dot\r\n";

/// Without TLS and login.
pub(super) fn settings() -> Settings {
    Settings {
        hostname: "smtp.office.example".to_owned(),
        encryption: Encryption::Never,
        login: None,
        is_verified: true,
    }
}

/// With a login of anna's.
pub(super) fn with_login(encryption: Encryption) -> Settings {
    let password = Password("secret".to_owned());
    let login = Credentials { user: "anna".to_owned(), password, nonce: [7; NONCE_OCTETS] };
    Settings { encryption, login: Some(login), ..settings() }
}

/// From anna to these.
pub(super) fn envelope(recipients: &[&str]) -> Envelope {
    let recipient = |text: &&str| EnvelopeRecipient {
        address: Mailbox::parse(text).unwrap(),
        parameters: RcptParameters::default(),
    };
    Envelope {
        sender: ReversePath::Mailbox(Mailbox::parse("anna@office.example").unwrap()),
        size: MESSAGE.len() as u64,
        is_8bit: false,
        has_utf8_header: false,
        ret: None,
        envid: None,
        recipients: recipients.iter().map(recipient).collect(),
    }
}

/// A connection, with the message that is fetched in portions of seven octets.
pub(super) struct Connection {
    pub delivery: Client,
    pub now: Instant,
    pub reports: Option<Vec<Report>>,
    /// Whether portions of the message are handed on at once.
    pub is_fetching: bool,
    fetched: usize,
}

impl Connection {
    pub fn new(settings: Settings, envelope: Envelope) -> Self {
        let now = Instant::from_secs(1);
        let delivery = Client::new(now, settings, envelope);
        Self { delivery, now, reports: None, is_fetching: true, fetched: 0 }
    }

    /// A connection to bob and carl that is greeted by a server with these extensions, up to what follows EHLO.
    pub fn greeted(settings: Settings, envelope: Envelope, extensions: &str) -> (Self, String) {
        let mut connection = Self::new(settings, envelope);
        assert_eq!(connection.hears("220 far.example"), "EHLO smtp.office.example");
        let mut reply = String::from("250-far.example");
        for extension in extensions.split(' ').filter(|extension| !extension.is_empty()) {
            reply += &format!("|250-{}", extension.replace('_', " "));
        }
        let sent = connection.hears(&(reply + "|250 HELP"));
        (connection, sent)
    }

    /// The server says these lines, with `|` between them: what the client sends or does then.
    pub fn hears(&mut self, lines: &str) -> String {
        self.delivery.receive(self.now, (lines.replace('|', "\r\n") + "\r\n").as_bytes());
        self.drain()
    }

    /// What the client sends or does now, with `|` between lines.
    pub fn drain(&mut self) -> String {
        let mut said = String::new();
        while let Some(output) = self.delivery.poll_output(self.now) {
            match output {
                Output::Send(octets) => said += str::from_utf8(&octets).unwrap(),
                Output::Fetch if self.is_fetching => self.fetch(),
                Output::Fetch => said += "(fetch)\r\n",
                Output::Derive(derivation) => self.delivery.derived(&derivation.run()),
                Output::StartTls => said += "(tls)\r\n",
                Output::Reports(reports) => {
                    assert!(self.reports.replace(reports).is_none(), "reported twice");
                }
                Output::Close => said += "(close)\r\n",
            }
        }
        said.trim_end_matches("\r\n").replace("\r\n", "|")
    }

    /// Hands on the next portion of the message, or its end.
    pub fn fetch(&mut self) {
        let portion = MESSAGE.as_bytes()[self.fetched..].chunks(7).next();
        self.fetched += portion.map_or(0, <[u8]>::len);
        match portion {
            Some(octets) => self.delivery.data(octets),
            None => {
                self.fetched = 0;
                self.delivery.data_ended();
            }
        }
    }

    /// Lets the deadline pass: how long it was off, and what the client does then.
    pub fn times_out(&mut self) -> (Duration, String) {
        let deadline = self.delivery.deadline().unwrap();
        let waited = deadline.since(self.now);
        self.delivery.handle_timeout(self.now + waited.saturating_sub(Duration::from_millis(1)));
        assert_eq!(self.drain(), "", "before its time");
        self.now = deadline;
        self.delivery.handle_timeout(deadline);
        (waited, self.drain())
    }

    /// The outcomes, each with its status code and what it was about.
    pub fn outcomes(&mut self) -> Vec<String> {
        let reports = self.reports.take().expect("reports");
        let text = |report: &Report| {
            let outcome = match report.outcome {
                Outcome::Delivered => "delivered",
                Outcome::Deferred => "deferred",
                Outcome::Failed => "failed",
            };
            let scope = match report.scope {
                Scope::Host => " (host)",
                Scope::Tls => " (tls)",
                Scope::Extension => " (extension)",
                Scope::Envelope => "",
            };
            format!("{outcome} {}{scope}", report.status)
        };
        reports.iter().map(text).collect()
    }
}
