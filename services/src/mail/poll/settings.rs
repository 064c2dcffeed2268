//! What polling is told of an account.

use std::time::Duration;

use crate::mail::address::Mailbox;
use crate::mail::pop3::client::Encryption;
use crate::mail::secret::Secret;

/// A mailbox elsewhere.
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
    /// Who gets what is there.
    pub receives: Receives,
    /// How often it is looked at.
    pub every: Duration,
    /// For how many days messages stay there once they are fetched.
    pub leave_days: u64,
}

/// Who gets what is in an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receives {
    /// This user.
    Person(String),
    /// Whom each message is for.
    Everybody {
        /// Whose mail is what names nobody: an address of ours; without one the postmaster's.
        otherwise_to: Option<Mailbox>,
        /// The field that holds the envelope's recipient; without one the first kind that is there.
        envelope_field: Option<String>,
    },
}

impl Account {
    /// The address of the person whose account it is, if the account is called by it. A common one is nobody's.
    pub fn address(&self) -> Option<Mailbox> {
        let is_of_person = matches!(self.receives, Receives::Person(_));
        Mailbox::parse(&self.username).ok().filter(|_| is_of_person)
    }

    /// By what the store remembers messages of the account. The port is not of it, so that who goes over to TLS gets
    /// nothing twice.
    pub fn key(&self) -> String {
        format!("{}@{}", self.username, self.server)
    }
}
