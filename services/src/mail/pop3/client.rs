//! The client's side of one connection.
//!
//! ```text
//!            +OK           +OK           +OK                  +OK          +OK          +OK
//!  Greeting ────► CAPA ───────► STLS ─────► Handshake ─► CAPA ────► AUTH ──────► LIST ────► UIDL ──┐
//!                  │ -ERR                                           USER, PASS          │ -ERR     ▼
//!                  └────► nothing is known to be offered                                └───► Output::Listing
//!                                                                                                 │
//!      Output::Close ◄── QUIT ◄── quit ── Ready ◄── Output::Answered ◄── RETR, TOP, DELE ◄── Ready ◄┘
//! ```
//!
//! How it is driven:
//!
//! 1. Take [`Session::poll_output`] until there is none. Octets of a [`Output::Send`] are to be with the system before
//!    the next output is taken.
//! 2. Give [`Session::receive`] all octets that come. Those of a message are handed on at once, so a driver that takes
//!    all outputs before it reads on holds no more of a message than it has read.
//! 3. At [`Session::deadline`] call [`Session::handle_timeout`].
//! 4. Behind [`Output::Listing`] and each [`Output::Answered`] one of [`Session::retrieve`], [`Session::top`],
//!    [`Session::delete`] and [`Session::quit`] is to be called. [`Output::Close`] comes last, in any case.
//!
//! The server deletes when it has answered QUIT, and not before: a connection that is lost has deleted nothing, as far
//! as can be known (RFC 1939, section 6). Whoever deletes has the message safe before.
//!
//! What a server may do, and what comes of it:
//!
//! | server | client |
//! | --- | --- |
//! | speaks where nothing was asked, such as in clear behind the `+OK` to STLS | the connection is closed (RFC 2595, section 4) |
//! | offers no STLS, or its TLS does not come about | no password is sent, unless the settings allow that |
//! | sends a line or a list without end, or what is no POP3 | the connection is closed |
//! | lists more than [`LISTED_MAX`] messages | the first of them are listed, and the listing is not complete |
//! | has no UIDL, or gives two messages one name | the messages have no name |
//! | takes its time | each reply, and each portion of a message, has [`REPLY_TIMEOUT`]; all of a reply has [`COMMAND_TIMEOUT`] |
//!
//! A message ends with CRLF, a dot and CRLF. A dot behind a bare LF ends nothing: it may be a sender's, who would have
//! the rest of the message taken for what the server says.

mod content;
mod lines;
mod opening;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use gatepost_ground::Instant;

use self::content::ContentReader;
use self::lines::{LineReader, Lister, Reply};
use crate::crypto::Sha256Digest;
use crate::mail::sasl::Mechanism;
use crate::mail::sasl::client::{Credentials, Derivation, Exchange};
pub use crate::mail::smtp::client::Encryption;

/// How long a reply may take, and the next portion of a message. RFC 1939 gives none; servers that open a large mailbox
/// take minutes.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(3 * 60);
/// How long a reply may take to its end, a message or a list too.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// How long the TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the answer to QUIT may take, in which the server deletes.
pub const QUIT_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest line of a reply, in octets. RFC 2449, section 4 allows 512.
pub const LINE_OCTETS_MAX: usize = 4096;
/// The most messages that are listed.
pub const LISTED_MAX: usize = 100_000;
/// The most lines of a reply, beyond which it has no end.
pub const REPLY_LINES_MAX: usize = 1_000_000;
/// The longest name of a message, in octets. RFC 1939, section 7 allows 70.
pub const UIDL_OCTETS_MAX: usize = 255;

/// How a server is spoken to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether there is to be TLS. With [`Encryption::Never`], and with [`Encryption::Opportunistic`] if the server
    /// offers none, the password is sent in clear.
    pub encryption: Encryption,
    /// Who logs in.
    pub login: Credentials,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these octets.
    Send(Vec<u8>),
    /// Do this, and hand what comes of it to [`Session::derived`].
    Derive(Derivation),
    /// Make the handshake, and call [`Session::tls_started`] or [`Session::tls_failed`].
    StartTls,
    /// What is in the mailbox.
    Listing(Listing),
    /// The next octets of the message that was asked for.
    Octets(Vec<u8>),
    /// What came of [`Session::retrieve`], [`Session::top`] or [`Session::delete`].
    Answered(Answer),
    /// Close the connection. It is over.
    Close(End),
}

/// What is in a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Its messages, by their numbers.
    pub messages: Vec<Listed>,
    /// Whether those are all.
    pub is_complete: bool,
    /// Whether the server gives messages names that stay.
    pub has_uidls: bool,
}

/// A message in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its number in this connection.
    pub number: u32,
    /// Its octets, as the server counts.
    pub size: u64,
    /// Its name, which it keeps. `None` if it has none, or one that another message has, too, or one that is longer
    /// than [`UIDL_OCTETS_MAX`].
    pub uidl: Option<String>,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The message, or what was asked of it, has come to its end.
    Whole,
    /// The message is deleted once [`Session::quit`] is confirmed.
    Deleted,
    /// The server does not do it, and says this.
    Refused(String),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By QUIT. `is_confirmed`: the server says that it has deleted what was to be deleted.
    Quit {
        /// Whether it does.
        is_confirmed: bool,
    },
    /// By a fault.
    Failed(Failure),
}

/// Why a connection ended before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it was about.
    pub kind: FailureKind,
    /// What happened, or what the server said, in one line.
    pub text: String,
}

/// What a failure was about, so what might help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The connection.
    Connection,
    /// TLS could not be begun, or the server offers none.
    Tls,
    /// The server does not take user and password. Another try with the same is of no use.
    Login,
    /// The server cannot serve now, or another client is at the mailbox. (RFC 2449, section 8.1; RFC 3206)
    Busy,
    /// The server does not speak POP3 as it should.
    Protocol,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    phase: Phase,
    outputs: VecDeque<Output>,
    /// What has no reply yet.
    awaited: Option<Command>,
    /// Whether it is sent.
    is_sent: bool,
    lines: LineReader,
    reading: Reading,
    offers: Offers,
    is_tls: bool,
    /// Mechanisms that the server offers and does not know.
    refused_mechanisms: Vec<Mechanism>,
    lister: Lister,
    /// When something happened last.
    since: Instant,
    /// When the command that is awaited was sent.
    sent_at: Instant,
}

#[derive(Debug)]
enum Phase {
    /// Up to the listing.
    Opening,
    /// A login; `is_fresh`: the server has said nothing of it.
    Login {
        exchange: Exchange,
        mechanism: Mechanism,
        /// What the server gets at its prompt, as it was too long for the command.
        held: Option<Vec<u8>>,
        is_fresh: bool,
    },
    /// A key is derived on this side.
    Deriving {
        exchange: Exchange,
        mechanism: Mechanism,
    },
    Handshake,
    Ready,
    Quit,
    Closed,
}

/// What a reply is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    /// The connection.
    Greeting,
    Capa,
    Stls,
    Auth,
    /// A login that this side gave up.
    AuthCancelled,
    User,
    Pass,
    List,
    Uidl,
    Retr,
    Top,
    Dele,
    Quit,
}

/// What the next octets belong to.
#[derive(Debug)]
enum Reading {
    /// The first line of a reply.
    Status,
    /// Further lines of it.
    Lines { count: usize },
    /// A message.
    Content(ContentReader),
}

/// What a server offers, of what a client can use. (RFC 2449, section 5)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Offers {
    has_stls: bool,
    mechanisms: Vec<Mechanism>,
}

impl Command {
    /// What a person reads of it.
    const fn name(self) -> &'static str {
        match self {
            Self::Greeting => "the connection",
            Self::Capa => "CAPA",
            Self::Stls => "STLS",
            Self::Auth | Self::AuthCancelled => "AUTH",
            Self::User => "USER",
            Self::Pass => "PASS",
            Self::List => "LIST",
            Self::Uidl => "UIDL",
            Self::Retr => "RETR",
            Self::Top => "TOP",
            Self::Dele => "DELE",
            Self::Quit => "QUIT",
        }
    }

    const fn timeout(self) -> Duration {
        match self {
            Self::Quit | Self::AuthCancelled => QUIT_TIMEOUT,
            _ => REPLY_TIMEOUT,
        }
    }
}

impl Session {
    /// A connection that has just come about. The greeting is awaited.
    pub fn new(now: Instant, settings: Settings) -> Self {
        Self {
            is_tls: settings.encryption == Encryption::Active,
            settings,
            phase: Phase::Opening,
            outputs: VecDeque::new(),
            awaited: Some(Command::Greeting),
            is_sent: true,
            lines: LineReader::default(),
            reading: Reading::Status,
            offers: Offers::default(),
            refused_mechanisms: Vec::new(),
            lister: Lister::default(),
            since: now,
            sent_at: now,
        }
    }

    /// What is to be done next; `None` if there is nothing before octets, an answer or the deadline come.
    pub fn poll_output(&mut self, now: Instant) -> Option<Output> {
        let output = self.outputs.pop_front()?;
        self.since = now;
        if matches!(output, Output::Send(_)) {
            (self.is_sent, self.sent_at) = (true, now);
        }
        Some(output)
    }

    /// Takes in what the server sent.
    pub fn receive(&mut self, now: Instant, octets: &[u8]) {
        let mut rest = octets;
        while !rest.is_empty() {
            match self.phase {
                Phase::Closed => return,
                // RFC 2595, section 4: nothing that comes in clear behind the +OK is to be believed.
                Phase::Handshake => {
                    return self.fail(FailureKind::Protocol, "the server spoke in clear where TLS begins");
                }
                _ => {}
            }
            let Some(command) = self.awaited.filter(|_| self.is_sent) else {
                return self.fail(FailureKind::Protocol, "the server answered what it was not asked");
            };
            self.since = now;
            if let Reading::Content(reader) = &mut self.reading {
                let mut message = Vec::new();
                let (taken, is_end) = reader.read(rest, &mut message);
                rest = &rest[taken..];
                if !message.is_empty() {
                    self.outputs.push_back(Output::Octets(message));
                }
                if is_end {
                    self.answer(Answer::Whole);
                }
                continue;
            }
            let (taken, line) = self.lines.read(rest);
            rest = &rest[taken..];
            match line {
                None => {}
                Some(Ok(line)) => self.handle_line(command, &line),
                Some(Err(_)) => {
                    return self.fail(FailureKind::Protocol, "the server sent a line without end");
                }
            }
        }
    }

    /// Takes in what came of [`Output::Derive`].
    pub fn derived(&mut self, key: &Sha256Digest) {
        self.login_derived(key);
    }

    /// Goes on under TLS, forgetting what the server said before. (RFC 2595, section 4)
    pub fn tls_started(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Handshake) {
            (self.is_tls, self.since, self.phase) = (true, now, Phase::Opening);
            self.ask_for_capabilities();
        }
    }

    /// The handshake failed: `text` says why.
    pub fn tls_failed(&mut self, text: &str) {
        if matches!(self.phase, Phase::Handshake) {
            self.fail(FailureKind::Tls, text);
        }
    }

    /// When [`Session::handle_timeout`] is due; `None` while it is this side's turn, and when it is over.
    pub fn deadline(&self) -> Option<Instant> {
        match (&self.phase, self.awaited) {
            (Phase::Closed | Phase::Ready | Phase::Deriving { .. }, None) | (Phase::Closed, _) => None,
            (Phase::Handshake, _) => Some(self.since + HANDSHAKE_TIMEOUT),
            (_, Some(command)) => Some((self.since + command.timeout()).min(self.sent_at + COMMAND_TIMEOUT)),
            (_, None) => None,
        }
    }

    /// Gives the server up if it has kept silent for too long. Before the deadline it does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let text = match (&self.phase, self.awaited) {
            (Phase::Handshake, _) => "the server did not finish the TLS handshake in time".to_owned(),
            (_, Some(command)) => format!("the server did not answer {} in time", command.name()),
            (_, None) => "the server did not answer in time".to_owned(),
        };
        self.break_off(&text);
    }

    /// Takes note that the connection is gone.
    pub fn lost(&mut self) {
        let text = match self.awaited {
            Some(command) => format!("the connection was lost before {} was answered", command.name()),
            None => "the connection was lost".to_owned(),
        };
        self.break_off(&text);
    }

    /// Asks for a message, which comes as [`Output::Octets`]. It does nothing unless the connection
    /// [is ready](Session::is_ready).
    pub fn retrieve(&mut self, number: u32) {
        self.ask(format!("RETR {number}\r\n"), Command::Retr);
    }

    /// Asks for the header of a message alone, as [`Session::retrieve`] does for all of it. Not every server can.
    pub fn top(&mut self, number: u32) {
        self.ask(format!("TOP {number} 0\r\n"), Command::Top);
    }

    /// Has a message be deleted at the end of the connection.
    pub fn delete(&mut self, number: u32) {
        self.ask(format!("DELE {number}\r\n"), Command::Dele);
    }

    /// Ends a connection that [is ready](Session::is_ready).
    pub fn quit(&mut self) {
        if self.is_ready() {
            self.phase = Phase::Quit;
            self.send(b"QUIT\r\n".to_vec(), Command::Quit);
        }
    }

    /// Whether the connection waits for what is asked for next.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready) && self.awaited.is_none()
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether what is said goes by TLS.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    fn ask(&mut self, line: String, command: Command) {
        if self.is_ready() {
            self.send(line.into_bytes(), command);
        }
    }

    fn handle_line(&mut self, command: Command, line: &[u8]) {
        if let Reading::Lines { count } = &mut self.reading {
            *count += 1;
            return match line {
                b"." => {
                    self.reading = Reading::Status;
                    self.lines_ended(command);
                }
                _ if *count >= REPLY_LINES_MAX => {
                    self.fail(FailureKind::Protocol, "the server sent a reply without end");
                }
                _ => self.take_line(command, line.strip_prefix(b".").unwrap_or(line)),
            };
        }
        let Some(reply) = Reply::parse(line) else {
            return self.fail(FailureKind::Protocol, "the server sent something that is no POP3");
        };
        self.handle_reply(command, &reply);
    }

    fn handle_reply(&mut self, command: Command, reply: &Reply) {
        if let (Reply::More(_), true) = (reply, command != Command::Auth) {
            return self.fail(FailureKind::Protocol, "the server asked for more where there is no more");
        }
        match (command, reply) {
            (Command::Capa | Command::List | Command::Uidl, Reply::Ok(_)) => {
                self.reading = Reading::Lines { count: 0 };
            }
            (Command::Retr | Command::Top, Reply::Ok(_)) => {
                self.reading = Reading::Content(ContentReader::default());
            }
            (Command::Retr | Command::Top | Command::Dele, Reply::Error(text)) => {
                self.answer(Answer::Refused(text.clone()));
            }
            (Command::Dele, _) => self.answer(Answer::Deleted),
            (Command::Quit, reply) => {
                let is_confirmed = matches!(reply, Reply::Ok(_));
                self.close(End::Quit { is_confirmed });
            }
            (command, reply) => {
                self.awaited = None;
                self.opening_answered(command, reply);
            }
        }
    }

    /// The reply is whole.
    fn answer(&mut self, answer: Answer) {
        (self.reading, self.awaited) = (Reading::Status, None);
        self.outputs.push_back(Output::Answered(answer));
    }

    fn take_line(&mut self, command: Command, line: &[u8]) {
        match command {
            Command::Capa => self.offers.take(line),
            Command::List => self.lister.size(line),
            Command::Uidl => self.lister.uidl(line),
            _ => {}
        }
    }

    /// Closes the connection for what befell it.
    fn break_off(&mut self, text: &str) {
        match self.phase {
            // What is deleted is found out by the next listing.
            Phase::Quit => self.close(End::Quit { is_confirmed: false }),
            Phase::Handshake => self.fail(FailureKind::Tls, text),
            _ => self.fail(FailureKind::Connection, text),
        }
    }

    fn fail(&mut self, kind: FailureKind, text: &str) {
        self.close(End::Failed(Failure { kind, text: text.to_owned() }));
    }

    fn close(&mut self, end: End) {
        if !self.is_closed() {
            (self.phase, self.awaited) = (Phase::Closed, None);
            // What is not sent yet is not sent any more.
            self.outputs.retain(|output| !matches!(output, Output::Send(_)));
            self.outputs.push_back(Output::Close(end));
        }
    }

    fn send(&mut self, octets: Vec<u8>, command: Command) {
        (self.awaited, self.is_sent, self.reading) = (Some(command), false, Reading::Status);
        self.outputs.push_back(Output::Send(octets));
    }
}
