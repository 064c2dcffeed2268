//! The server's side of one connection.
//!
//! ```text
//!             ┌──────────── 334 ◄─── AUTH ───┐                ┌── MAIL ─► Begin ──┐
//!             ▼                              │                │                   ▼
//!          Login ──── Authenticate ────► Command ─────────────┤            (a transaction)
//!                                         ▲ │ ▲               └── RCPT ─► Route ──┘
//!            tls_started ─── Handshake ◄──┘ │ │
//!                           (STARTTLS)      │ └── the replies ◄─ Commit ◄─ last Chunk ◄─┐
//!                                           ├── DATA ─► 354 ─► Data ── CRLF.CRLF ───────┤
//!                                           ├── BDAT ────────► Chunk ── LAST ───────────┘
//!                                           └── QUIT, 421, nothing for too long ─► Closed
//! ```
//!
//! How it is driven:
//!
//! 1. Pass all received octets to [`Session::receive`]. It consumes them up to the end of the next command that is
//!    answered. Pass the rest again later, and do not read the connection meanwhile.
//! 2. Take [`Session::poll_output`] until there is none: write replies, perform actions, answer questions.
//! 3. Pass the answer to [`Session::answer`]. While a question is open no octet is consumed.
//! 4. At [`Session::deadline`] call [`Session::handle_timeout`].
//!
//! Pipelined commands are handled one at a time (RFC 2920), and the output does not depend on the segmentation of the
//! stream.
//!
//! A transaction begins with [`Ask::Begin`]; the caller has it until [`Ask::Commit`] is answered, a `Begin`, `Chunk` or
//! `Commit` is rejected, or [`Action::Abort`] comes. The client gets the positive reply only when `Commit` is answered,
//! so that answer means that the message is durable. The session holds at most [`CHUNK_OCTETS`](super::CHUNK_OCTETS) of
//! a message, and of its recipients the first and their number.
//!
//! A message whose content is rejected (bare CR or LF, NUL, too long, a loop) is aborted at once; its octets are read
//! to their end, and there is one reply. A rejected BDAT aborts the whole transaction, so that no message with a hole
//! is accepted.
//!
//! The caller limits the time for writing a reply, and passes no octets until it is written.
//!
//! Rejections are delayed longer and longer if the limits say so: a reply comes out of [`Session::poll_output`] when it
//! is due, by the deadline.

mod ask;
mod commands;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod transaction;

use std::collections::VecDeque;

use gatepost_ground::Instant;

pub use self::ask::{Action, Answer, Ask, Output, Recipient, Sender};
use self::transaction::Transaction;
use super::command::Hello;
use super::dots::DotReader;
use super::limits::{COMMAND_TIMEOUT, TARPIT_MAX, TARPIT_STEP};
use super::policy::{Policy, Role, Tls};
use super::received::Received;
use super::reply::{self, Reply, SHUTTING_DOWN, TIMED_OUT, TOO_MANY_ERRORS};
use crate::clock::UnixTime;
use crate::mail::address::ForwardPath;
use crate::mail::line::LineReader;
use crate::mail::sasl::Exchange;

/// One connection.
#[derive(Debug)]
pub struct Session {
    policy: Policy,
    phase: Phase,
    lines: LineReader,
    outputs: VecDeque<Queued>,
    asked: Option<OpenQuestion>,
    /// When that was.
    asked_at: Instant,
    client: Option<Client>,
    user: Option<String>,
    transaction: Option<Transaction>,
    errors: ErrorCounts,
    /// Until when something of the client's must have come.
    waits_until: Instant,
    /// Octets of a message since that was moved.
    progress: usize,
    is_stopping: bool,
    /// Whether the connection ends behind the reply to the message.
    ends_behind_message: bool,
}

/// The content of the next octets.
#[derive(Debug)]
enum Phase {
    Command,
    /// Responses of a login.
    Login(Exchange),
    Data(DotReader),
    Chunk {
        remaining: u64,
        is_last: bool,
        /// Why the octets are passed over.
        refusal: Option<Reply>,
    },
    /// TLS, which is not this machine's.
    Handshake,
    Closed,
}

/// The open question, and what its answer decides.
#[derive(Debug)]
enum OpenQuestion {
    Begin(Transaction),
    Route(ForwardPath),
    Login,
    Chunk,
    LastChunk,
    Commit,
}

/// The client's HELO.
#[derive(Debug)]
struct Client {
    hello: Hello,
    name: String,
}

#[derive(Debug)]
struct Queued {
    not_before: Instant,
    output: Output,
}

/// Counts of a client's errors, which are limited.
#[derive(Debug, Default)]
struct ErrorCounts {
    errors: u32,
    temporary: u32,
    unknown_commands: u32,
    idle_commands: u32,
    login_failures: u32,
}

impl Session {
    /// A session of a new connection, with the greeting as its first output.
    pub fn new(now: Instant, policy: Policy) -> Self {
        let protocol = if policy.role == Role::Lmtp { "LMTP" } else { "ESMTP" };
        let greeting = format!("{} {protocol}", policy.hostname);
        let mut session = Self {
            policy,
            phase: Phase::Command,
            lines: LineReader::default(),
            outputs: VecDeque::new(),
            asked: None,
            asked_at: now,
            client: None,
            user: None,
            transaction: None,
            errors: ErrorCounts::default(),
            waits_until: now + COMMAND_TIMEOUT,
            progress: 0,
            is_stopping: false,
            ends_behind_message: false,
        };
        session.say(now, reply::lines(220, &[greeting]));
        session
    }

    /// Handles the octets that the client sent, all that are available. Returns how many were consumed; pass the rest
    /// again once outputs are taken and the question is answered. Octets after the end are discarded.
    ///
    /// Octets in clear after STARTTLS may be an attacker's: they are discarded, and the connection ends. (RFC 3207,
    /// section 5)
    pub fn receive(&mut self, now: Instant, octets: &[u8]) -> usize {
        if matches!(self.phase, Phase::Closed) {
            return octets.len();
        }
        let mut taken = 0;
        while taken < octets.len() && self.is_listening() {
            taken += match self.phase {
                Phase::Command | Phase::Login(_) => self.receive_line(now, &octets[taken..]),
                Phase::Data(_) => self.receive_data(now, &octets[taken..]),
                Phase::Chunk { .. } => self.receive_chunk(now, &octets[taken..]),
                Phase::Handshake | Phase::Closed => break,
            };
        }
        if matches!(self.phase, Phase::Handshake) && taken < octets.len() {
            self.outputs.retain(|queued| queued.output != Output::Action(Action::StartTls));
            self.close(now);
        }
        if taken > 0 {
            // A rejected message, or a part of one, is answered without a question.
            self.stop_if_asked(now);
        }
        taken
    }

    /// The next action; `None` if the session waits for octets, an answer or the deadline.
    pub fn poll_output(&mut self, now: Instant) -> Option<Output> {
        self.outputs.pop_front_if(|queued| queued.not_before <= now).map(|queued| queued.output)
    }

    /// Handles the answer to the open question.
    ///
    /// # Panics
    ///
    /// In debug builds, if no question is open or the answer is to another kind of question.
    pub fn answer(&mut self, now: Instant, answer: Answer) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.waits_until = now + COMMAND_TIMEOUT;
        self.prolong_message(now.since(self.asked_at));
        self.take_answer(now, answer);
        self.stop_if_asked(now);
    }

    /// When [`Session::handle_timeout`] is due; `None` while an answer is pending, and at the end.
    pub fn deadline(&self) -> Option<Instant> {
        match self.outputs.front() {
            Some(queued) => Some(queued.not_before),
            None if self.asked.is_some() || matches!(self.phase, Phase::Closed) => None,
            None => Some(self.must_progress_by()),
        }
    }

    fn must_progress_by(&self) -> Instant {
        self.message_until().map_or(self.waits_until, |until| until.min(self.waits_until))
    }

    /// Ends the connection if the deadline has passed. Before the deadline it does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_idle = self.outputs.is_empty() && self.asked.is_none() && !matches!(self.phase, Phase::Closed);
        if is_idle && now >= self.must_progress_by() {
            // RFC 5321, section 4.5.3.2: the client may get a reply, except within a handshake.
            if matches!(self.phase, Phase::Handshake) { self.close(now) } else { self.end(now, &TIMED_OUT) }
        }
    }

    /// Continues under TLS, discarding all earlier state. (RFC 3207, section 4.2)
    pub fn tls_started(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Handshake) {
            self.phase = Phase::Command;
            self.policy.tls = Tls::Active;
            self.client = None;
            self.user = None;
            self.waits_until = now + COMMAND_TIMEOUT;
        }
    }

    /// Handles the loss of the connection. An open question needs no answer any more; the current message is aborted,
    /// unless it is being committed: then the client does not learn the outcome.
    pub fn lost(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        // Pending replies and questions are dropped; a pending abort is not.
        if self.outputs.iter().any(|queued| matches!(queued.output, Output::Ask(_))) {
            self.asked = None;
        }
        self.outputs.retain(|queued| queued.output == Output::Action(Action::Abort));
        self.close(now);
    }

    /// Ends the connection as soon as the command at hand is answered. (RFC 5321, section 3.8)
    pub fn stop(&mut self, now: Instant) {
        self.is_stopping = true;
        self.stop_if_asked(now);
    }

    /// The Received field of the current message, with CRLF; `None` without a message. `id` is the server's identifier
    /// of the message: letters, digits, `.`, `-` and `_`. (RFC 5321, section 4.4)
    pub fn received(&self, id: &str, now: UnixTime) -> Option<String> {
        let (client, transaction) = (self.client.as_ref()?, self.transaction.as_ref()?);
        let received = Received {
            hello: client.hello,
            client_name: &client.name,
            peer: self.policy.peer,
            peer_name: self.policy.peer_name.as_deref(),
            hostname: &self.policy.hostname,
            is_encrypted: self.policy.tls == Tls::Active,
            is_logged_in: self.user.is_some(),
            smtputf8: transaction.smtputf8(),
            only_recipient: transaction.only_recipient(),
        };
        Some(received.to_text(id, now))
    }

    /// The client's HELO name.
    pub fn client_name(&self) -> Option<&str> {
        self.client.as_ref().map(|client| client.name.as_str())
    }

    /// The authenticated user.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Whether [`Session::receive`] consumes octets now: neither output nor question is pending.
    pub fn is_listening(&self) -> bool {
        self.outputs.is_empty() && self.asked.is_none()
    }

    fn receive_line(&mut self, now: Instant, octets: &[u8]) -> usize {
        let (taken, event) = self.lines.read(octets);
        if let Some(event) = event {
            self.handle_line(now, event);
        }
        taken
    }

    fn ask(&mut self, now: Instant, ask: Ask, asked: OpenQuestion) {
        self.asked = Some(asked);
        self.asked_at = now;
        self.push(now, Output::Ask(ask));
    }

    fn push(&mut self, not_before: Instant, output: Output) {
        self.outputs.push_back(Queued { not_before, output });
    }

    /// Replies, and counts refusals.
    fn reply(&mut self, now: Instant, reply: &Reply) {
        self.reply_times(now, reply, 1);
    }

    /// Sends a reply so many times, one for each recipient; a rejection counts once.
    fn reply_times(&mut self, now: Instant, reply: &Reply, times: usize) {
        let mut not_before = now;
        if reply.is_permanent() {
            self.errors.errors += 1;
            if self.errors.errors > self.policy.limits.errors_max {
                return self.end(now, &TOO_MANY_ERRORS);
            }
            let at_once = self.policy.limits.refusals_at_once.unwrap_or(u32::MAX);
            not_before = now + TARPIT_MAX.min(TARPIT_STEP * self.errors.errors.saturating_sub(at_once));
        }
        if reply.is_temporary() {
            self.errors.temporary += 1;
            if self.errors.temporary > self.policy.limits.temporary_max {
                return self.end(now, &TOO_MANY_ERRORS);
            }
        }
        self.say(not_before, reply.to_octets().repeat(times));
    }

    fn say(&mut self, not_before: Instant, octets: Vec<u8>) {
        self.waits_until = not_before + COMMAND_TIMEOUT;
        self.push(not_before, Output::Reply(octets));
    }

    /// Sends the reason, and closes.
    fn end(&mut self, now: Instant, reply: &Reply) {
        self.say(now, reply.to_octets());
        self.close(now);
    }

    /// Closes the connection, unless that is done already.
    fn close(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        if let Some(OpenQuestion::Begin(transaction)) =
            self.asked.take_if(|asked| !matches!(asked, OpenQuestion::Commit))
        {
            self.transaction = Some(transaction);
        }
        if self.asked.take().is_none() {
            self.abort(now);
        }
        self.phase = Phase::Closed;
        self.transaction = None;
        self.push(now, Output::Action(Action::Close));
    }

    fn stop_if_asked(&mut self, now: Instant) {
        let is_between = matches!(self.phase, Phase::Command | Phase::Login(_)) && self.asked.is_none();
        if self.is_stopping && is_between {
            self.end(now, &SHUTTING_DOWN);
        } else if self.is_stopping && matches!(self.phase, Phase::Handshake) {
            // No reply can be sent in clear any more.
            self.close(now);
        }
    }
}
