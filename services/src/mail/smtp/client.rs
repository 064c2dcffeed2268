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
//! 1. Take [`Client::poll_output`] until there is none. Write the octets of an [`Output::Send`] before taking the next
//!    output, and read the connection meanwhile, as servers reply while a client still writes.
//! 2. Pass all received octets to [`Client::receive`].
//! 3. At [`Client::deadline`] call [`Client::handle_timeout`]. It holds while octets are being written, too.
//! 4. [`Output::Reports`] has the outcome for every recipient, once for each envelope. After it call
//!    [`Client::deliver`] or [`Client::quit`], unless [`Output::Close`] comes.
//!
//! Misbehaviour of servers, and its consequences:
//!
//! | server | client |
//! | --- | --- |
//! | replies to a command that was not sent yet, such as the end of the data | the connection is closed, no recipient counts as delivered |
//! | closes, or stops responding, before the reply to the end of the data | deferred; the server may have the message, and the report says so |
//! | rejects while the data is sent | the rejection counts, and the connection is closed without an end of the data |
//! | sends anything in clear behind its 220 to STARTTLS | the connection is closed (RFC 3207, section 5) |
//! | replies 354 although it accepted no recipient | gets the end of an empty message, whose reply is ignored (RFC 2920, section 3.1) |
//! | sends an endless line or reply, or no SMTP | the connection is closed |
//! | stops reading while the message is sent | its earlier replies are read; no end is sent, and none counts as answered |
//! | is slow | each reply has its timeout (RFC 5321, section 4.5.3.2), all up to the data have [`ENVELOPE_TIMEOUT`], the data [`MESSAGE_TIMEOUT`] |
//!
//! A password is sent only under TLS, and only to an authenticated server.

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
/// The timeout of a whole message, also for a server that accepts portions slowly.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);
/// The timeout for the reply of a server that has stopped reading.
pub const DEAF_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take to answer QUIT. Nothing depends on it.
pub const QUIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long everything up to the data may take, of a server that uses up the time for each of many recipients.
pub const ENVELOPE_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// The most commands that are sent without their replies. (RFC 2920)
pub const PIPELINED_MAX: usize = 100;
/// The most octets of a message that one call of [`Client::data`] passes.
pub const FETCH_OCTETS: usize = 64 << 10;

/// How a server is spoken to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This side's HELO name: a domain or an address literal.
    pub hostname: String,
    /// Whether there is to be TLS.
    pub encryption: Encryption,
    /// The credentials, used under TLS with an authenticated server.
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

/// An action for the caller.
#[derive(Clone, PartialEq, Eq)]
pub enum Output {
    /// Send these octets.
    Send(Vec<u8>),
    /// Hand the next octets of the message to [`Client::data`], or call [`Client::data_ended`] or
    /// [`Client::data_failed`].
    Fetch,
    /// Compute this, and pass the result to [`Client::derived`].
    Derive(Derivation),
    /// Make the handshake, and call [`Client::tls_started`] or [`Client::tls_failed`].
    StartTls,
    /// The outcome of the message for each recipient, in order.
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
    /// Whether the server supports only HELO, so that its extensions are unknown.
    is_helo: bool,
    is_tls: bool,
    /// Whether the server has proved its name.
    is_verified: bool,
    /// Whether the server has stopped reading.
    is_deaf: bool,
    /// Whether the server has replied under TLS.
    is_tls_proved: bool,
    /// Mechanisms that the server offers but rejects as unknown.
    refused_mechanisms: Vec<Mechanism>,
    /// Whether the server still has a transaction that is of no use.
    needs_reset: bool,
    transaction: Option<Transaction>,
    /// The time of the last activity.
    since: Instant,
    /// When the transaction has to have come to its data.
    envelope_until: Instant,
    /// The deadline of the whole message.
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

/// The command that a reply answers.
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
    /// The recipient with this index.
    Rcpt(usize),
    Data,
    /// The end of the data. `is_void`: of a message without recipients.
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

    /// The command's name for people.
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
    /// A new connection, for this message, which waits for the greeting.
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

    /// The next action; `None` if the client waits for octets, an answer or the deadline.
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

    /// Handles octets from the server.
    pub fn receive(&mut self, now: Instant, octets: &[u8]) {
        let mut rest = octets;
        while !rest.is_empty() {
            match self.phase {
                Phase::Closed => return,
                // RFC 3207, section 5: octets in clear after the 220 are not trusted.
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

    /// Passes the next octets of the message, as requested by [`Output::Fetch`]. They may be empty.
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

    /// Reports that the rest of the message is unavailable, with the reason `text`. The message gets no end, so the
    /// server discards it.
    pub fn data_failed(&mut self, text: &str) {
        if matches!(self.phase, Phase::Data { .. }) {
            // No server can help it.
            self.close_with(&Report::deferred(Status::new(4, 3, 0), text, Scope::Envelope));
        }
    }

    /// Handles that the server has stopped reading. Its earlier replies can still be passed to [`Client::receive`].
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

    /// Handles the result of [`Output::Derive`].
    pub fn derived(&mut self, key: &Sha256Digest) {
        self.login_derived(key);
    }

    /// Continues under TLS, discarding all earlier information from the server. `is_verified`: the server is
    /// authenticated, so that it may get a password. (RFC 3207, section 4.2)
    pub fn tls_started(&mut self, now: Instant, is_verified: bool) {
        if matches!(self.phase, Phase::Handshake) {
            (self.is_tls, self.is_verified) = (true, is_verified);
            self.since = now;
            self.phase = Phase::Opening;
            self.say_hello(Command::Ehlo);
        }
    }

    /// Handles a failed handshake with the reason `text`.
    pub fn tls_failed(&mut self, text: &str) {
        if matches!(self.phase, Phase::Handshake) {
            self.close_with(&Report::deferred(TLS_FAILED, text, self.scope_of_tls()));
        }
    }

    /// When [`Client::handle_timeout`] is due; `None` while the caller has to act, and at the end.
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

    /// Ends the connection if the deadline has passed. Before the deadline it does nothing.
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

    /// Handles the loss of the connection.
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

    /// Ends a connection that [is ready](Client::is_ready). [`Output::Close`] follows in any case.
    pub fn quit(&mut self) {
        if self.is_ready() {
            self.phase = Phase::Quit;
            self.push_send(b"QUIT\r\n", Some(Command::Quit));
        }
    }

    /// Ends the connection because this side stops, with QUIT if that is possible at once. If the end of a message was
    /// sent, its reply is awaited.
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

    /// Whether the connection uses TLS.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    fn handle_reply(&mut self, now: Instant, reply: &ServerReply) {
        // RFC 5321, section 3.8: the server closes the connection, whatever the command.
        if reply.code == 421 {
            return self.close_with(&Report::of_reply(reply, Scope::Host));
        }
        // A reply to an unsent command is ignored.
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
            // The reply to MAIL will show the server's state.
            Command::Reset => self.pump(),
            Command::Mail => self.mail_answered(reply),
            Command::Rcpt(at) => self.rcpt_answered(reply, at),
            Command::Data => self.data_answered(now, reply),
            Command::End { is_void } => self.end_answered(reply, is_void),
        }
    }

    /// Handles an unsolicited reply: a rejection of the current message, or a violation of the protocol.
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

    /// Closes the connection because of the server's behaviour.
    fn break_off(&mut self, text: &str) {
        // Under TLS that died before the first reply the same server may do without.
        let is_tls_dead = matches!(self.phase, Phase::Handshake)
            || self.is_tls && !self.is_tls_proved && self.settings.encryption != Encryption::Active;
        let (status, scope) =
            if is_tls_dead { (TLS_FAILED, self.scope_of_tls()) } else { (LOST, Scope::Host) };
        self.close_with(&Report::deferred(status, text, scope));
    }

    /// The scope of a TLS failure: a server may be tried without TLS only if that is not required.
    fn scope_of_tls(&self) -> Scope {
        match self.settings.encryption {
            Encryption::Opportunistic => Scope::Tls,
            Encryption::Never | Encryption::Required | Encryption::Active => Scope::Host,
        }
    }

    /// How many of the last awaited commands are unsent.
    fn unsent(&self) -> usize {
        let commands = |queued: &Queued| match queued {
            Queued::Send(_, commands) => *commands,
            Queued::Output(_) => 0,
        };
        self.outputs.iter().map(commands).sum()
    }

    /// Closes the connection; all undecided recipients get `report`.
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

    /// Ends the connection with QUIT; all recipients get `report`. `is_mid_login`: the server waits for the next
    /// response of a login.
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
        // Unsent output is dropped.
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

/// The status of a failed TLS handshake.
pub(in crate::mail) const TLS_FAILED: Status = Status::new(4, 7, 5);
/// The status of recipients when this side stops. (RFC 3463, section 3.4)
const STOPPING: Status = Status::new(4, 3, 2);
/// The status of a failed connection.
const LOST: Status = Status::new(4, 4, 2);
