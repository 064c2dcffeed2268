//! A mail program: it submits mail by SMTP and fetches mail by POP3, with the project's own clients.

#![expect(clippy::disallowed_types, reason = "a process draws its seeds from the system")]

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::time::Duration;

use gatepost_services::clock::Clock;
use gatepost_services::crypto::tls::provider;
use gatepost_services::mail::address::{Mailbox, ReversePath};
use gatepost_services::mail::pop3;
use gatepost_services::mail::pop3::client::{Answer, Encryption, End, Listing, Output};
use gatepost_services::mail::pop3::connection::Connection;
use gatepost_services::mail::queue::connection::{Environment, NoTls, StartTls, TlsTo, send};
use gatepost_services::mail::sasl::Password;
use gatepost_services::mail::sasl::client::Credentials;
use gatepost_services::mail::smtp::client as smtp;
use gatepost_services::net::kernel::Kernel;
use gatepost_services::net::{Net, Stream};
use gatepost_services::tls::{Authorities, Tls};
use gatepost_services::watch;
use gatepost_services::work::AtOnce;
use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use crate::port::clock::SystemClock;

/// The file of a host's mail account.
const ACCOUNT_FILE: &str = "/run/mail.json";
/// The timeout for submitting a message, and for its arrival.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time between two polls of the mailbox, as POP3 does not report new mail.
const LOOKS_EVERY: Duration = Duration::from_millis(200);
/// The longest message that is fetched, in octets; of a longer one, this is its beginning.
const MESSAGE_OCTETS_MAX: usize = 1 << 20;

/// The settings of a mail program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The person's address.
    pub address: String,
    /// The name by which the person logs in.
    pub user: String,
    /// The person's password.
    pub password: String,
    /// The name that the server's certificate must have, if it uses TLS.
    pub server: String,
    /// The server's address.
    pub server_address: Ipv4Addr,
    /// The server's port for sending without a login.
    pub smtp_port: u16,
    /// The server's port for sending with a login.
    pub submission_port: u16,
    /// Its port for fetching.
    pub pop3_port: u16,
    /// The certificate, in PEM, of the trusted authority; `None`: mail goes in clear.
    pub authority: Option<String>,
}

/// A letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The recipient.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// How it is submitted.
    pub way: Way,
}

/// How a message is submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// By submission, with a login under TLS, as mail programs do.
    Submission,
    /// On port 25 without a login, as scanners and other devices of an office do.
    Device,
}

/// Stores `account` on this host.
///
/// # Errors
///
/// The file system's error.
pub fn keep_account(account: &Account) -> io::Result<()> {
    fs::write(ACCOUNT_FILE, serde_json::to_vec(account)?)
}

/// The account of this host; `None` if there is none.
///
/// # Errors
///
/// What the file system refuses, or the file is no account.
pub fn kept_account() -> io::Result<Option<Account>> {
    match fs::read(ACCOUNT_FILE) {
        Ok(kept) => Ok(Some(serde_json::from_slice(&kept)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A mail program on the host `hostname`.
pub struct MailProgram {
    hostname: String,
    account: Account,
    address: Mailbox,
    tls: Rc<dyn StartTls>,
    clock: Rc<dyn Clock>,
    rng: StdRng,
}

impl MailProgram {
    /// A mail program that uses `account`.
    ///
    /// # Errors
    ///
    /// The account has no address, or no authority that can be read; or the system has no randomness.
    pub fn new(hostname: &str, account: Account) -> io::Result<Self> {
        let mut rng = StdRng::try_from_rng(&mut SysRng).map_err(io::Error::other)?;
        let clock: Rc<dyn Clock> = Rc::new(SystemClock::new());
        let tls: Rc<dyn StartTls> = match &account.authority {
            Some(authority) => {
                let tls = Tls::new(provider(StdRng::from_rng(&mut rng)), Rc::clone(&clock));
                tls.set_authorities(&Authorities::from_pem(authority.as_bytes()).map_err(io::Error::other)?);
                Rc::new(TlsTo { tls: Rc::new(tls), name: account.server.clone(), has_to_prove: true })
            }
            None => Rc::new(NoTls),
        };
        let address = Mailbox::parse(&account.address).map_err(|error| invalid(&error))?;
        Ok(Self { hostname: hostname.to_owned(), account, address, tls, clock, rng })
    }

    /// The address of the account's user.
    pub fn address(&self) -> &Mailbox {
        &self.address
    }

    /// Submits `letter`; `false` if the server does not answer.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or does not take it.
    pub async fn send(&mut self, letter: &Letter) -> io::Result<bool> {
        timeout(PATIENCE, self.hand_in(letter)).await.map_or(Ok(false), |sent| sent.map(|()| true))
    }

    async fn hand_in(&mut self, letter: &Letter) -> io::Result<()> {
        let to = Mailbox::parse(&letter.to).map_err(|error| invalid(&error))?;
        let text = letter.text(&self.account.address);
        let envelope = smtp::Envelope {
            sender: ReversePath::Mailbox(self.address.clone()),
            size: text.len() as u64,
            is_8bit: !text.is_ascii(),
            has_utf8_header: !letter.subject.is_ascii(),
            ret: None,
            envid: None,
            recipients: vec![smtp::EnvelopeRecipient { address: to, parameters: Default::default() }],
        };
        let (port, encryption, login) = match letter.way {
            Way::Submission => (self.account.submission_port, Encryption::Required, Some(self.credentials())),
            Way::Device => (self.account.smtp_port, Encryption::Never, None),
        };
        let settings =
            smtp::Settings { hostname: self.hostname.clone(), encryption, login, is_verified: false };
        let stream = self.connect(port).await?;
        let client = smtp::Client::new(self.clock.now(), settings, envelope);
        let stops = watch::Sender::new(false);
        let (reports, quit) = send(&self.environment(), stops.subscribe(), stream, client, &text, None).await;
        quit.send().await;
        match &reports[..] {
            [report] if report.outcome == smtp::Outcome::Delivered => Ok(()),
            [report, ..] => Err(io::Error::other(report.text.clone())),
            [] => Err(io::Error::other("the server said nothing of the letter")),
        }
    }

    /// Waits until a message with `subject` is in the mailbox, and removes it; `None` if none comes.
    ///
    /// # Errors
    ///
    /// The mailbox cannot be looked into.
    pub async fn wait_for(&mut self, subject: &str) -> io::Result<Option<String>> {
        let mut failure = None;
        let coming = async {
            loop {
                match self.take(|message| field(message, "Subject").as_deref() == Some(subject)).await {
                    Ok(messages) => {
                        failure = None;
                        if let Some(message) = messages.into_iter().next() {
                            return message;
                        }
                    }
                    // Such as another session that has the mailbox open.
                    Err(error) => failure = Some(error),
                }
                sleep(LOOKS_EVERY).await;
            }
        };
        let came = timeout(PATIENCE, coming).await;
        came.map_or_else(|_| failure.map_or(Ok(None), Err), |message| Ok(Some(message)))
    }

    /// Takes those messages out of the mailbox that `is_wanted`, in their order.
    ///
    /// # Errors
    ///
    /// The mailbox cannot be looked into, or what was taken out may still be there.
    pub async fn take(&mut self, is_wanted: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
        let encryption =
            if self.account.authority.is_some() { Encryption::Required } else { Encryption::Never };
        let settings = pop3::client::Settings { encryption, login: self.credentials() };
        let stream = self.connect(self.account.pop3_port).await?;
        let mut connection = Connection::new(self.environment(), stream, settings);
        let taken = take(&mut connection, is_wanted).await;
        connection.close().await;
        taken
    }

    async fn connect(&self, port: u16) -> io::Result<Box<dyn Stream>> {
        let server = SocketAddrV4::new(self.account.server_address, port);
        Ok(Box::new(Kernel.connect(server.into()).await?))
    }

    fn credentials(&mut self) -> Credentials {
        let Account { user, password, .. } = &self.account;
        Credentials { user: user.clone(), password: Password(password.clone()), nonce: self.rng.random() }
    }

    fn environment(&self) -> Environment {
        Environment { clock: Rc::clone(&self.clock), work: Rc::new(AtOnce), tls: Rc::clone(&self.tls) }
    }
}

async fn take(connection: &mut Connection, is_wanted: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let Listing { messages, .. } = match connection.next().await {
        Output::Listing(listing) => listing,
        output => return Err(ended(output)),
    };
    let mut taken = Vec::new();
    for listed in messages {
        connection.session.retrieve(listed.number);
        let mut octets = Vec::new();
        loop {
            match connection.next().await {
                Output::Octets(part) => {
                    let room = MESSAGE_OCTETS_MAX.saturating_sub(octets.len());
                    octets.extend(part.into_iter().take(room));
                }
                Output::Answered(Answer::Whole) => break,
                output => return Err(ended(output)),
            }
        }
        let message = String::from_utf8_lossy(&octets).into_owned();
        if is_wanted(&message) {
            connection.session.delete(listed.number);
            match connection.next().await {
                Output::Answered(Answer::Deleted) => taken.push(message),
                output => return Err(ended(output)),
            }
        }
    }
    connection.session.quit();
    match connection.next().await {
        Output::Close(End::Quit { is_confirmed: true }) => Ok(taken),
        output => Err(ended(output)),
    }
}

/// Why there is no other output than that one.
fn ended(output: Output) -> io::Error {
    io::Error::other(match output {
        Output::Close(End::Failed(failure)) => failure.text,
        Output::Answered(Answer::Refused(text)) => text,
        _ => "the server ended the connection before its time".to_owned(),
    })
}

fn invalid(why: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.to_string())
}

impl Letter {
    /// The message. Its date and its name it gets from the server. (RFC 6409, section 8)
    fn text(&self, from: &str) -> Vec<u8> {
        let Self { to, subject, .. } = self;
        format!("From: {from}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nHello.\r\n").into_bytes()
    }
}

/// The fields of `message` that are called `name`, unfolded, in their order. (RFC 5322, section 2.2.3)
pub fn fields(message: &str, name: &str) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    for line in message.lines().take_while(|line| !line.is_empty()) {
        match fields.last_mut() {
            Some(field) if line.starts_with([' ', '\t']) => *field += line,
            _ => fields.push(line.to_owned()),
        }
    }
    let named = fields.iter().filter_map(|field| field.split_once(':'));
    let named = named.filter(|(of, _)| of.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.trim().to_owned()).collect()
}

fn field(message: &str, name: &str) -> Option<String> {
    fields(message, name).into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_header_unfolded() {
        let message =
            "Received: from a\r\n\tby b\r\nSubject:  hello \r\nreceived: from c\r\n\r\nReceived: no\r\n";
        assert_eq!(fields(message, "Received"), ["from a\tby b", "from c"]);
        assert_eq!(field(message, "subject").as_deref(), Some("hello"));
        assert_eq!(field(message, "To"), None);
    }
}
