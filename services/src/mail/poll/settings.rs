//! The settings of an account.

use std::time::Duration;

use crate::mail::address::Mailbox;
use crate::mail::pop3::client::Encryption;
use crate::mail::secret::Secret;

/// A remote mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The server's name in lower case, or its address.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// Whether there is to be TLS.
    pub encryption: Encryption,
    /// The account's name there.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// The receivers of its messages.
    pub receives: Receives,
    /// The interval of polls.
    pub every: Duration,
    /// For how many days messages stay there once they are fetched.
    pub leave_days: u64,
}

/// The receivers of an account's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receives {
    /// This user.
    Person(String),
    /// The addressees of each message.
    Everybody {
        /// The local address for messages without a known addressee; by default the postmaster's.
        otherwise_to: Option<Mailbox>,
        /// The field with the envelope's recipient; by default the first known kind that is present.
        envelope_field: Option<String>,
    },
}

impl Account {
    /// The user's address that is the account's login, if it is one. A common account has none.
    pub fn address(&self) -> Option<Mailbox> {
        let is_of_person = matches!(self.receives, Receives::Person(_));
        Mailbox::parse(&self.username).ok().filter(|_| is_of_person)
    }

    /// The key of the account's remembered messages. It excludes the port, so that a change to TLS causes no second
    /// delivery.
    pub fn key(&self) -> String {
        format!("{}@{}", self.username, self.server)
    }
}
