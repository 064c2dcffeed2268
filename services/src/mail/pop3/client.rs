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
//! 1. Take [`Session::poll_output`] until there is none. Write the octets of an [`Output::Send`] before taking the next
//!    output.
//! 2. Pass all received octets to [`Session::receive`]. Those of a message are passed on at once, so a driver that
//!    takes all outputs before it reads on holds no more of a message than it has read.
//! 3. At [`Session::deadline`] call [`Session::handle_timeout`].
//! 4. After [`Output::Listing`] and each [`Output::Answered`], call one of [`Session::retrieve`], [`Session::top`],
//!    [`Session::delete`] and [`Session::quit`]. [`Output::Close`] always comes last.
//!
//! The server deletes when it has answered QUIT, and not before: a lost connection must be assumed to have deleted
//! nothing (RFC 1939, section 6). A caller stores a message safely before it deletes it.
//!
//! Misbehaviour of servers, and its consequences:
//!
//! | server | client |
//! | --- | --- |
//! | sends unsolicited octets, such as in clear after the `+OK` to STLS | the connection is closed (RFC 2595, section 4) |
//! | offers no STLS, or its TLS handshake fails | no password is sent, unless the settings allow that |
//! | sends an endless line or list, or no POP3 | the connection is closed |
//! | lists more than [`LISTED_MAX`] messages | the first of them are listed, and the listing is not complete |
//! | has no UIDL, or gives two messages one identifier | the messages have no identifier |
//! | is slow | each reply, and each portion of a message, has [`REPLY_TIMEOUT`]; a whole reply has [`COMMAND_TIMEOUT`] |
//!
//! A message ends with CRLF, a dot and CRLF. A dot after a bare LF ends nothing: otherwise a sender could have the rest
//! of a message taken for replies of the server.

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

/// The timeout of a reply, and of the next portion of a message. RFC 1939 specifies none; servers that open a large
/// mailbox take minutes.
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
    /// Whether TLS is used. With [`Encryption::Never`], and with [`Encryption::Opportunistic`] if the server does not
    /// offer it, the password is sent in clear.
    pub encryption: Encryption,
    /// The credentials.
    pub login: Credentials,
}

/// An action for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these octets.
    Send(Vec<u8>),
    /// Compute this, and pass the result to [`Session::derived`].
    Derive(Derivation),
    /// Make the handshake, and call [`Session::tls_started`] or [`Session::tls_failed`].
    StartTls,
    /// The mailbox's messages.
    Listing(Listing),
    /// The next octets of the requested message.
    Octets(Vec<u8>),
    /// The answer to [`Session::retrieve`], [`Session::top`] or [`Session::delete`].
    Answered(Answer),
    /// Close the connection. It is over.
    Close(End),
}

/// The messages of a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Its messages, by their numbers.
    pub messages: Vec<Listed>,
    /// Whether those are all.
    pub is_complete: bool,
    /// Whether the server has unique identifiers (UIDL).
    pub has_uidls: bool,
}

/// A message in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its number in this connection.
    pub number: u32,
    /// Its octets, as the server counts.
    pub size: u64,
    /// Its unique identifier. `None` if it has none, or one that another message has, too, or one that is longer than
    /// [`UIDL_OCTETS_MAX`].
    pub uidl: Option<String>,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The message, or its requested part, is complete.
    Whole,
    /// The message is deleted once [`Session::quit`] is confirmed.
    Deleted,
    /// The server rejected the command with this text.
    Refused(String),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// After QUIT. `is_confirmed`: the server has confirmed the deletions.
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
    /// Its kind.
    pub kind: FailureKind,
    /// The event, or the server's text, in one line.
    pub text: String,
}

/// The kind of a failure, which suggests a remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The connection.
    Connection,
    /// TLS failed, or the server does not offer it.
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
    /// The command whose reply is pending.
    awaited: Option<Command>,
    /// Whether it is sent.
    is_sent: bool,
    lines: LineReader,
    reading: Reading,
    offers: Capabilities,
    is_tls: bool,
    /// Mechanisms that the server offers but rejects as unknown.
    refused_mechanisms: Vec<Mechanism>,
    lister: Lister,
    /// The time of the last activity.
    since: Instant,
    /// When the command that is awaited was sent.
    sent_at: Instant,
}

#[derive(Debug)]
enum Phase {
    /// Up to the listing.
    Opening,
    /// A login; `is_fresh`: the server has not replied to it yet.
    Login {
        exchange: Exchange,
        mechanism: Mechanism,
        /// The initial response, sent at the server's prompt as it was too long for the command.
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

/// The command that a reply answers.
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

/// The expected content of the next octets.
#[derive(Debug)]
enum Reading {
    /// The first line of a reply.
    Status,
    /// Its further lines.
    Lines { count: usize },
    /// A message.
    Content(ContentReader),
}

/// The server's capabilities that a client can use. (RFC 2449, section 5)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Capabilities {
    has_stls: bool,
    mechanisms: Vec<Mechanism>,
}

impl Command {
    /// The command's name for people.
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
    /// A new connection, which waits for the greeting.
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
            offers: Capabilities::default(),
            refused_mechanisms: Vec::new(),
            lister: Lister::default(),
            since: now,
            sent_at: now,
        }
    }

    /// The next action; `None` if the session waits for octets, an answer or the deadline.
    pub fn poll_output(&mut self, now: Instant) -> Option<Output> {
        let output = self.outputs.pop_front()?;
        self.since = now;
        if matches!(output, Output::Send(_)) {
            (self.is_sent, self.sent_at) = (true, now);
        }
        Some(output)
    }

    /// Handles octets from the server.
    pub fn receive(&mut self, now: Instant, octets: &[u8]) {
        let mut rest = octets;
        while !rest.is_empty() {
            match self.phase {
                Phase::Closed => return,
                // RFC 2595, section 4: octets in clear after the +OK are not trusted.
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

    /// Handles the result of [`Output::Derive`].
    pub fn derived(&mut self, key: &Sha256Digest) {
        self.login_derived(key);
    }

    /// Continues under TLS, discarding all earlier information from the server. (RFC 2595, section 4)
    pub fn tls_started(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Handshake) {
            (self.is_tls, self.since, self.phase) = (true, now, Phase::Opening);
            self.ask_for_capabilities();
        }
    }

    /// Handles a failed handshake with the reason `text`.
    pub fn tls_failed(&mut self, text: &str) {
        if matches!(self.phase, Phase::Handshake) {
            self.fail(FailureKind::Tls, text);
        }
    }

    /// When [`Session::handle_timeout`] is due; `None` while the caller has to act, and at the end.
    pub fn deadline(&self) -> Option<Instant> {
        match (&self.phase, self.awaited) {
            (Phase::Closed | Phase::Ready | Phase::Deriving { .. }, None) | (Phase::Closed, _) => None,
            (Phase::Handshake, _) => Some(self.since + HANDSHAKE_TIMEOUT),
            (_, Some(command)) => Some((self.since + command.timeout()).min(self.sent_at + COMMAND_TIMEOUT)),
            (_, None) => None,
        }
    }

    /// Ends the session if the deadline has passed. Before the deadline it does nothing.
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

    /// Handles the loss of the connection.
    pub fn lost(&mut self) {
        let text = match self.awaited {
            Some(command) => format!("the connection was lost before {} was answered", command.name()),
            None => "the connection was lost".to_owned(),
        };
        self.break_off(&text);
    }

    /// Requests a message, which comes as [`Output::Octets`]. It does nothing unless the connection [is
    /// ready](Session::is_ready).
    pub fn retrieve(&mut self, number: u32) {
        self.ask(format!("RETR {number}\r\n"), Command::Retr);
    }

    /// Requests only the header of a message, like [`Session::retrieve`]. Not every server supports it.
    pub fn top(&mut self, number: u32) {
        self.ask(format!("TOP {number} 0\r\n"), Command::Top);
    }

    /// Marks a message for deletion at the end of the connection.
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

    /// Whether the session is ready for the next command.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready) && self.awaited.is_none()
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether the connection uses TLS.
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

    /// Closes the connection with the reason `text`.
    fn break_off(&mut self, text: &str) {
        match self.phase {
            // The next listing shows what was deleted.
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
            // Unsent output is dropped.
            self.outputs.retain(|output| !matches!(output, Output::Send(_)));
            self.outputs.push_back(Output::Close(end));
        }
    }

    fn send(&mut self, octets: Vec<u8>, command: Command) {
        (self.awaited, self.is_sent, self.reading) = (Some(command), false, Reading::Status);
        self.outputs.push_back(Output::Send(octets));
    }
}
