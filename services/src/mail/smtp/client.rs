//! The client's side of one connection.
//!
//! ```text
//!            220            250               220                    250            235
//!  Greeting ────► EHLO ────────► STARTTLS ────────► Handshake ─► EHLO ────► AUTH ─────────┐
//!                  │ 5xx                                                                   ▼
//!                  └────► HELO ──────────────────────────────────────────────────────► MAIL, RCPT, DATA
//!                                                                                          │ 354
//!      Quit ◄── quit ── Ready ◄── Output::Reports ◄── the end's reply ◄── CRLF.CRLF ◄── Data (Fetch, data ...)
//!                        └── deliver ─► (RSET) MAIL, RCPT, DATA
//! ```
//!
//! How it is driven:
//!
//! 1. Take [`Client::poll_output`] until there is none. Octets of a [`Output::Send`] are to be with the system before
//!    the next output is taken; meanwhile the connection is read, as servers answer while a client still writes.
//! 2. Give [`Client::receive`] all octets that come.
//! 3. At [`Client::deadline`] call [`Client::handle_timeout`]. It holds while octets are being written, too.
//! 4. [`Output::Reports`] has the outcome for every recipient, once for each envelope. Behind it [`Client::deliver`] or
//!    [`Client::quit`] is to be called, unless [`Output::Close`] comes.
//!
//! What a server may do, and what comes of it:
//!
//! | server | client |
//! | --- | --- |
//! | answers a command that was not sent yet, such as the end of the data | the connection is closed, nothing is taken for delivered |
//! | closes, or keeps silent, in front of the reply to the end of the data | deferred; a copy can be there already, and the report says so |
//! | refuses while the data is sent | the refusal counts, and the connection is closed without an end of the data |
//! | sends anything in clear behind its 220 to STARTTLS | the connection is closed (RFC 3207, section 5) |
//! | says 354 though it took no recipient | gets the end of an empty message, and its reply counts for nobody (RFC 2920, section 3.1) |
//! | sends a line or reply without end, or what is no SMTP | the connection is closed |
//! | takes no more octets while the message is sent | what it said before is heard; no end is sent, and none is taken for answered |
//! | takes its time | each reply has its time (RFC 5321, section 4.5.3.2), all up to the data have [`ENVELOPE_TIMEOUT`], the data [`MESSAGE_TIMEOUT`] |
//!
//! A password goes out under TLS only, and only to a server that has proved its name.

mod envelope;
mod extensions;
mod outcome;
mod reply;
mod session;
mod stuffing;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod transaction;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use gatepost_ground::Instant;

use self::envelope::in_ascii;
pub use self::envelope::{Envelope, EnvelopeRecipient};
pub(in crate::mail) use self::envelope::{mail_options, rcpt_options, to_xtext};
pub use self::extensions::Extensions;
pub use self::outcome::{Outcome, Report, Scope};
pub(in crate::mail) use self::reply::printable;
pub use self::reply::*;
pub(in crate::mail) use self::stuffing::DotWriter;
use self::transaction::Transaction;
use crate::crypto::Sha256Digest;
use crate::mail::sasl::Mechanism;
use crate::mail::sasl::client::{Credentials, Derivation, Exchange};

/// How long the server may take to greet. (RFC 5321, section 4.5.3.2.1)
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// How long it may take to answer EHLO, AUTH, MAIL and RCPT. (RFC 5321, sections 4.5.3.2.2 and 4.5.3.2.3)
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// How long it may take to answer DATA. (RFC 5321, section 4.5.3.2.4)
pub const DATA_TIMEOUT: Duration = Duration::from_secs(2 * 60);
/// How long it may take to take a portion of the message. (RFC 5321, section 4.5.3.2.5)
pub const BLOCK_TIMEOUT: Duration = Duration::from_secs(3 * 60);
/// How long it may take to answer the end of the data. (RFC 5321, section 4.5.3.2.6)
pub const END_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// How long a server may take to take all of a message. One that takes a portion now and then holds a connection no
/// longer.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);
/// How long a server that takes no more octets may take to say why.
pub const DEAF_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take to answer QUIT. Nothing depends on it.
pub const QUIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long everything up to the data may take, of a server that uses up the time for each of many recipients.
pub const ENVELOPE_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// The most commands that are sent without their replies. (RFC 2920)
pub const PIPELINED_MAX: usize = 100;
/// The octets of a message that are to be handed to [`Client::data`] at a time, at most.
pub const FETCH_OCTETS: usize = 64 << 10;

/// How a server is spoken to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What this side calls itself: a domain or an address literal.
    pub hostname: String,
    /// Whether there is to be TLS.
    pub encryption: Encryption,
    /// Who logs in: under TLS, at a server that has proved its name.
    pub login: Option<Credentials>,
    /// With [`Encryption::Active`]: whether the server has proved its name.
    pub is_verified: bool,
}

/// Whether there is TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// The client never uses TLS.
    Never,
    /// It is used if the server offers it. (RFC 3207, section 4.1)
    Opportunistic,
    /// Nothing is sent without it.
    Required,
    /// The connection is under TLS from its first octet on. (RFC 8314, section 3.3)
    Active,
}

/// What is to be done next.
#[derive(Clone, PartialEq, Eq)]
pub enum Output {
    /// Send these octets.
    Send(Vec<u8>),
    /// Hand the next octets of the message to [`Client::data`], or call [`Client::data_ended`] or
    /// [`Client::data_failed`].
    Fetch,
    /// Do this, and hand what comes of it to [`Client::derived`].
    Derive(Derivation),
    /// Make the handshake, and call [`Client::tls_started`] or [`Client::tls_failed`].
    StartTls,
    /// What became of the message for each recipient, in their order.
    Reports(Vec<Report>),
    /// Close the connection. It is over.
    Close,
}

/// Octets are counted and not printed: they can hold a password.
impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(octets) => write!(f, "Send({} octets)", octets.len()),
            Self::Fetch => f.write_str("Fetch"),
            Self::Derive(_) => f.write_str("Derive(..)"),
            Self::StartTls => f.write_str("StartTls"),
            Self::Reports(reports) => f.debug_tuple("Reports").field(reports).finish(),
            Self::Close => f.write_str("Close"),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    phase: Phase,
    replies: ReplyReader,
    outputs: VecDeque<Queued>,
    /// Commands that have no reply yet, in their order.
    awaited: VecDeque<Command>,
    extensions: Extensions,
    /// Whether the server knows HELO only, so that what it offers is not known.
    is_helo: bool,
    is_tls: bool,
    /// Whether the server has proved its name.
    is_verified: bool,
    /// Whether the server takes no more octets.
    is_deaf: bool,
    /// Whether the server has said something under TLS.
    is_tls_proved: bool,
    /// Mechanisms that the server offers and does not know.
    refused_mechanisms: Vec<Mechanism>,
    /// Whether the server still has a transaction that is of no use.
    needs_reset: bool,
    transaction: Option<Transaction>,
    /// When something happened last.
    since: Instant,
    /// When the transaction has to have come to its data.
    envelope_until: Instant,
    /// When the message has to be sent whole.
    message_until: Instant,
}

#[derive(Debug)]
enum Phase {
    /// Up to the first MAIL.
    Opening,
    Login {
        exchange: Exchange,
        mechanism: Mechanism,
        /// The first response, if it is too long for the command.
        initial: Option<Vec<u8>>,
        /// Whether a key is derived on this side.
        is_deriving: bool,
    },
    Handshake,
    Envelope,
    /// The message is being sent. `is_fetching`: its next octets are awaited.
    Data {
        writer: DotWriter,
        is_fetching: bool,
    },
    /// The end of the message is sent, or to be sent; its reply is awaited.
    End,
    /// Between messages.
    Ready,
    Quit,
    Closed,
}

/// What a reply is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    /// The connection.
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Auth(Mechanism),
    /// A login that this side gave up.
    AuthCancelled,
    Reset,
    Mail,
    /// The recipient at this place.
    Rcpt(usize),
    Data,
    /// The end of the data. `is_void`: of a message to nobody.
    End {
        is_void: bool,
    },
    Quit,
}

enum Queued {
    /// Octets, and how many commands are in them.
    Send(Vec<u8>, usize),
    Output(Output),
}

/// As [`Output`].
impl fmt::Debug for Queued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(octets, commands) => write!(f, "Send({} octets, {commands} commands)", octets.len()),
            Self::Output(output) => output.fmt(f),
        }
    }
}

impl Command {
    /// How long its reply may take.
    const fn timeout(self) -> Duration {
        match self {
            Self::Greeting => GREETING_TIMEOUT,
            Self::Data => DATA_TIMEOUT,
            Self::End { .. } => END_TIMEOUT,
            Self::AuthCancelled | Self::Quit => QUIT_TIMEOUT,
            _ => REPLY_TIMEOUT,
        }
    }

    /// What a person reads of it.
    const fn name(self) -> &'static str {
        match self {
            Self::Greeting => "the connection",
            Self::Ehlo => "EHLO",
            Self::Helo => "HELO",
            Self::StartTls => "STARTTLS",
            Self::Auth(_) | Self::AuthCancelled => "AUTH",
            Self::Reset => "RSET",
            Self::Mail => "MAIL",
            Self::Rcpt(_) => "RCPT",
            Self::Data => "DATA",
            Self::End { .. } => "the end of the data",
            Self::Quit => "QUIT",
        }
    }
}

impl Client {
    /// A connection that has just come about, for this message. The greeting is awaited.
    pub fn new(now: Instant, settings: Settings, envelope: Envelope) -> Self {
        Self {
            is_tls: settings.encryption == Encryption::Active,
            is_verified: settings.encryption == Encryption::Active && settings.is_verified,
            is_deaf: false,
            is_helo: false,
            settings,
            phase: Phase::Opening,
            replies: ReplyReader::default(),
            outputs: VecDeque::new(),
            awaited: VecDeque::from([Command::Greeting]),
            extensions: Extensions::default(),
            is_tls_proved: false,
            refused_mechanisms: Vec::new(),
            needs_reset: false,
            transaction: Some(Transaction::new(envelope)),
            since: now,
            envelope_until: now + ENVELOPE_TIMEOUT,
            message_until: now,
        }
    }

    /// What is to be done next; `None` if there is nothing before octets, an answer or the deadline come.
    pub fn poll_output(&mut self, now: Instant) -> Option<Output> {
        let queued = self.outputs.pop_front()?;
        self.since = now;
        match queued {
            Queued::Send(octets, _) => Some(Output::Send(octets)),
            Queued::Output(output) => {
                if let (Output::Fetch, Phase::Data { is_fetching, .. }) = (&output, &mut self.phase) {
                    *is_fetching = true;
                }
                Some(output)
            }
        }
    }

    /// Takes in what the server sent.
    pub fn receive(&mut self, now: Instant, octets: &[u8]) {
        let mut rest = octets;
        while !rest.is_empty() {
            match self.phase {
                Phase::Closed => return,
                // RFC 3207, section 5: nothing that comes in clear behind the 220 is to be believed.
                Phase::Handshake => {
                    let text = "the server spoke in clear where TLS begins";
                    return self.close_with(&Report::deferred(LOST, text, Scope::Host));
                }
                _ => {}
            }
            let (taken, reply) = self.replies.read(rest);
            rest = &rest[taken..];
            match reply {
                None => {}
                Some(Ok(reply)) => {
                    self.since = now;
                    self.handle_reply(now, &reply);
                }
                Some(Err(broken)) => return self.break_off(&broken.to_string()),
            }
        }
    }

    /// Takes in the next octets of the message, as [`Output::Fetch`] asks. They may be none.
    pub fn data(&mut self, octets: &[u8]) {
        if let Phase::Data { writer, is_fetching: is_fetching @ true } = &mut self.phase {
            let mut out = Vec::new();
            writer.write(octets, &mut out);
            *is_fetching = false;
            self.push_send(&out, None);
            self.outputs.push_back(Queued::Output(Output::Fetch));
        }
    }

    /// There is no more of the message.
    pub fn data_ended(&mut self) {
        if matches!(self.phase, Phase::Data { is_fetching: true, .. })
            && let Phase::Data { writer, .. } = std::mem::replace(&mut self.phase, Phase::End)
        {
            let mut out = Vec::new();
            writer.end(&mut out);
            self.push_send(&out, Some(Command::End { is_void: false }));
        }
    }

    /// The rest of the message cannot be had: `text` says why. What was sent of it has no end, so it is none.
    pub fn data_failed(&mut self, text: &str) {
        if matches!(self.phase, Phase::Data { .. }) {
            // No server can help it.
            self.close_with(&Report::deferred(Status::new(4, 3, 0), text, Scope::Envelope));
        }
    }

    /// The server takes no more octets. What it has said can still be read and handed to [`Client::receive`].
    pub fn deaf(&mut self, now: Instant) {
        if self.is_closed() || self.is_deaf {
            return;
        }
        (self.is_deaf, self.since) = (true, now);
        self.outputs.retain(|queued| matches!(queued, Queued::Output(Output::Reports(_))));
        // The end of the message did not come to the server.
        if matches!(self.phase, Phase::End) {
            self.awaited.clear();
            self.phase = Phase::Data { writer: DotWriter::default(), is_fetching: false };
        }
    }

    /// Whether [`Client::deaf`] was called.
    pub fn is_deaf(&self) -> bool {
        self.is_deaf
    }

    /// Takes in what came of [`Output::Derive`].
    pub fn derived(&mut self, key: &Sha256Digest) {
        self.login_derived(key);
    }

    /// Goes on under TLS, forgetting what the server said before. `is_verified`: the server has proved its name, so
    /// that it may be sent a password. (RFC 3207, section 4.2)
    pub fn tls_started(&mut self, now: Instant, is_verified: bool) {
        if matches!(self.phase, Phase::Handshake) {
            (self.is_tls, self.is_verified) = (true, is_verified);
            self.since = now;
            self.phase = Phase::Opening;
            self.say_hello(Command::Ehlo);
        }
    }

    /// The handshake failed: `text` says why.
    pub fn tls_failed(&mut self, text: &str) {
        if matches!(self.phase, Phase::Handshake) {
            self.close_with(&Report::deferred(TLS_FAILED, text, self.scope_of_tls()));
        }
    }

    /// When [`Client::handle_timeout`] is due; `None` while an answer of this side is awaited, and when it is over.
    pub fn deadline(&self) -> Option<Instant> {
        let timeout = match self.phase {
            Phase::Closed
            | Phase::Ready
            | Phase::Login { is_deriving: true, .. }
            | Phase::Data { is_fetching: true, .. } => None,
            _ if self.is_deaf => return Some(self.since + DEAF_TIMEOUT),
            Phase::Handshake => Some(HANDSHAKE_TIMEOUT),
            Phase::Data { .. } => Some(BLOCK_TIMEOUT),
            _ => self.awaited.front().map(|command| command.timeout()),
        };
        let deadline = self.since + timeout?;
        Some(match self.phase {
            Phase::Opening | Phase::Login { .. } | Phase::Handshake | Phase::Envelope => {
                deadline.min(self.envelope_until)
            }
            Phase::Data { .. } => deadline.min(self.message_until),
            _ => deadline,
        })
    }

    /// Gives the server up if it has kept silent for too long. Before the deadline it does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.is_deaf {
            return self.lost();
        }
        let text = match (&self.phase, self.awaited.front()) {
            (Phase::Handshake, _) => "the server did not finish the TLS handshake in time".to_owned(),
            (Phase::Data { .. }, _) => "the server did not take the message in time".to_owned(),
            (_, Some(command)) => format!("the server did not answer {} in time", command.name()),
            (_, None) => "the server did not answer in time".to_owned(),
        };
        self.break_off(&text);
    }

    /// Takes note that the connection is gone.
    pub fn lost(&mut self) {
        let text = match (&self.phase, self.awaited.front()) {
            (Phase::Data { .. }, _) => "the connection was lost while the message was sent".to_owned(),
            (_, Some(command)) => format!("the connection was lost before {} was answered", command.name()),
            (_, None) => "the connection was lost".to_owned(),
        };
        self.break_off(&text);
    }

    /// Sends a further message over a connection that is [ready](Client::is_ready). It does nothing on another one.
    pub fn deliver(&mut self, now: Instant, envelope: Envelope) {
        if self.is_ready() {
            (self.since, self.envelope_until) = (now, now + ENVELOPE_TIMEOUT);
            self.transaction = Some(Transaction::new(envelope));
            self.begin_transaction();
        }
    }

    /// Ends a connection that is [ready](Client::is_ready). [`Output::Close`] comes in any case.
    pub fn quit(&mut self) {
        if self.is_ready() {
            self.phase = Phase::Quit;
            self.push_send(b"QUIT\r\n", Some(Command::Quit));
        }
    }

    /// Leaves the server, as this side stops: in order where that is possible at once. A message whose end has been
    /// sent is not left: its reply counts.
    pub fn leave(&mut self) {
        let report = Report::deferred(STOPPING, "this server is stopping", Scope::Host);
        match self.phase {
            Phase::End | Phase::Quit | Phase::Closed => {}
            Phase::Ready => self.quit(),
            // Behind DATA the server would take QUIT for the message. In front of its name it expects nothing.
            Phase::Envelope if !self.awaited.iter().any(|command| matches!(command, Command::Data)) => {
                self.leave_with(&report, false);
            }
            Phase::Login { .. } => self.leave_with(&report, true),
            Phase::Opening | Phase::Handshake | Phase::Envelope | Phase::Data { .. } => {
                self.close_with(&report);
            }
        }
    }

    /// Whether the connection waits for a further message, or for [`Client::quit`].
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether what is said goes by TLS.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    fn handle_reply(&mut self, now: Instant, reply: &ServerReply) {
        // RFC 5321, section 3.8: the server closes the connection, whatever the command was.
        if reply.code == 421 {
            return self.close_with(&Report::of_reply(reply, Scope::Host));
        }
        // A reply to what the server has not been sent is none.
        if self.is_deaf || self.awaited.len() <= self.unsent() {
            return self.handle_unasked(reply);
        }
        let Some(command) = self.awaited.pop_front() else { return };
        self.is_tls_proved = self.is_tls;
        match command {
            Command::Greeting => self.greeted(reply),
            Command::Ehlo | Command::Helo => self.hello_answered(reply, command),
            Command::StartTls => self.start_tls_answered(reply),
            Command::Auth(mechanism) => self.login_answered(reply, mechanism),
            Command::Quit => self.close(),
            Command::AuthCancelled => self.push_send(b"QUIT\r\n", Some(Command::Quit)),
            // The server's state is seen by its reply to MAIL.
            Command::Reset => self.pump(),
            Command::Mail => self.mail_answered(reply),
            Command::Rcpt(at) => self.rcpt_answered(reply, at),
            Command::Data => self.data_answered(now, reply),
            Command::End { is_void } => self.end_answered(reply, is_void),
        }
    }

    /// A reply to nothing: a refusal of the message under way, or what is not to be believed.
    fn handle_unasked(&mut self, reply: &ServerReply) {
        let is_sending = matches!(self.phase, Phase::Data { .. } | Phase::End);
        if is_sending && reply.is_negative() {
            self.close_with(&Report::of_reply(reply, Scope::Envelope));
        } else if self.is_deaf {
            self.lost();
        } else {
            self.break_off(&format!("the server answered what it was not asked: {}", reply.to_text()));
        }
    }

    /// Closes the connection for what the server did, or did not do.
    fn break_off(&mut self, text: &str) {
        // Under TLS that died before the first reply the same server may do without.
        let is_tls_dead = matches!(self.phase, Phase::Handshake)
            || self.is_tls && !self.is_tls_proved && self.settings.encryption != Encryption::Active;
        let (status, scope) =
            if is_tls_dead { (TLS_FAILED, self.scope_of_tls()) } else { (LOST, Scope::Host) };
        self.close_with(&Report::deferred(status, text, scope));
    }

    /// What a TLS that does not come about is about: only where it is not required the server may do without.
    fn scope_of_tls(&self) -> Scope {
        match self.settings.encryption {
            Encryption::Opportunistic => Scope::Tls,
            Encryption::Never | Encryption::Required | Encryption::Active => Scope::Host,
        }
    }

    /// How many of the last awaited commands are not sent yet.
    fn unsent(&self) -> usize {
        let commands = |queued: &Queued| match queued {
            Queued::Send(_, commands) => *commands,
            Queued::Output(_) => 0,
        };
        self.outputs.iter().map(commands).sum()
    }

    /// Closes the connection; `report` is for all recipients that have none yet.
    fn close_with(&mut self, report: &Report) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        let mut report = report.clone();
        if matches!(self.phase, Phase::End) && self.unsent() == 0 && !report.is_reply {
            report.may_be_delivered = true;
            report.text += "; it may have been delivered all the same";
        }
        self.give_up_message(&report);
        self.close();
    }

    /// Leaves a server that is to be left in order; `report` is for all recipients. `is_mid_login`: the server waits
    /// for the next word of a login.
    fn leave_with(&mut self, report: &Report, is_mid_login: bool) {
        self.give_up_message(report);
        self.phase = Phase::Quit;
        let (line, command): (&[u8], _) = match is_mid_login {
            true => (b"*\r\n", Command::AuthCancelled), // RFC 4954, section 4
            false => (b"QUIT\r\n", Command::Quit),
        };
        self.push_send(line, Some(command));
    }

    fn give_up_message(&mut self, report: &Report) {
        if let Some(mut transaction) = self.transaction.take() {
            transaction.decide_all(report);
            self.outputs.push_back(Queued::Output(Output::Reports(transaction.into_reports())));
        }
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.awaited.clear();
        // What is not sent yet is not sent any more.
        self.outputs.retain(|queued| matches!(queued, Queued::Output(Output::Reports(_))));
        self.outputs.push_back(Queued::Output(Output::Close));
    }

    /// Sends octets, which may end with a command.
    fn push_send(&mut self, octets: &[u8], command: Option<Command>) {
        if self.is_deaf {
            return;
        }
        if let Some(command) = command {
            self.awaited.push_back(command);
        }
        let commands = usize::from(command.is_some());
        if let Some(Queued::Send(before, count)) = self.outputs.back_mut() {
            before.extend_from_slice(octets);
            *count += commands;
        } else if !octets.is_empty() {
            self.outputs.push_back(Queued::Send(octets.to_vec(), commands));
        }
    }
}

/// The status of a TLS that does not come about.
pub(in crate::mail) const TLS_FAILED: Status = Status::new(4, 7, 5);
/// The status of what is left as this side stops. (RFC 3463, section 3.4)
const STOPPING: Status = Status::new(4, 3, 2);
/// The status of a connection that is not what it should be.
const LOST: Status = Status::new(4, 4, 2);
