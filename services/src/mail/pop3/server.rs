//! The server's side of one connection. (RFC 1939; CAPA: RFC 2449; STLS: RFC 2595; AUTH: RFC 5034; codes: RFC 3206)
//!
//! ```text
//!                 ┌─── + ◄── AUTH ───┐                          ┌── LIST, UIDL ─► Listing ───┐
//!                 ▼                  │                          │                            ▼
//!               Login           AUTHORIZATION ── Open ─► TRANSACTION ◄───────────────────────┤
//!                 └─ Authenticate ─► │ ▲                        │ │                          │
//!                                    │ └─ tls_started           │ └─ RETR, TOP ─► Fetch ─► Part ...
//!                                    └─ STLS ─► Handshake       └─ QUIT ─► Update ─► Closed
//! ```
//!
//! How it is driven:
//!
//! 1. Pass all received octets to [`Session::receive`]. It consumes them up to the end of the next command. Pass the
//!    rest again later, and do not read the connection meanwhile.
//! 2. Take [`Session::poll_output`] until there is none: write replies, perform actions, answer questions. A long
//!    listing and a message come in portions: write one before taking the next.
//! 3. Pass the answer to [`Session::answer`]. While a question is open no octet is consumed.
//! 4. At [`Session::deadline`] call [`Session::handle_timeout`].
//!
//! Commands may be pipelined (RFC 2449, section 6.6); the output does not depend on the segmentation of the stream.
//!
//! A session has an inbox exclusively from the answer to [`Ask::Open`] on, until [`Ask::Update`] is answered or
//! [`Action::Close`] is done. It has the messages that were there when the inbox was opened. Messages marked by DELE
//! are removed only at QUIT: a session that ends by a lost connection or a timeout removes nothing.
//!
//! How long a reply may take to be written is the caller's to limit.

mod ask;
mod commands;
mod replies;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod transaction;

use std::collections::VecDeque;
use std::time::Duration;

use gatepost_ground::Instant;

pub use self::ask::{Action, Answer, Ask, Inbox, NotFetched, NotOpened, Output};
use self::replies::{BYE, SHUTTING_DOWN, TOO_MANY_ERRORS};
use self::transaction::{Listing, Maildrop, Sending};
use crate::mail::line::LineReader;
use crate::mail::sasl::Exchange;
use crate::mail::smtp::Tls;

/// How long a client may keep silent. (RFC 1939, section 3)
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// The octets of a message that are requested at a time.
pub const PART_OCTETS: usize = 64 << 10;
/// Commands of a client that has not logged in. With one more, the session ends.
pub const COMMANDS_BEFORE_LOGIN_MAX: u32 = 50;
/// Lines that are no command, or not one for this time. With one more, the session ends.
pub const ERRORS_MAX: u32 = 100;
/// Logins that failed or could not be checked. With one more, the session ends.
pub const LOGIN_FAILURES_MAX: u32 = 3;

/// What a session has to know of the server and its client at the beginning.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The server's name, in its greeting.
    pub hostname: String,
    /// Whether the session is encrypted.
    pub tls: Tls,
    /// Whether the client may log in without TLS.
    pub plaintext_login: bool,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    policy: Policy,
    phase: Phase,
    lines: LineReader,
    outputs: VecDeque<Output>,
    asked: Option<OpenQuestion>,
    /// The argument of the last USER.
    name: Option<String>,
    maildrop: Option<Maildrop>,
    errors: ErrorCounts,
    /// Until when something of the client's must have come.
    waits_until: Instant,
    is_stopping: bool,
}

/// The state of the session.
#[derive(Debug)]
enum Phase {
    Command,
    /// Responses of a login.
    Login(Exchange),
    /// Sending a listing.
    Listing(Listing),
    /// Sending a message.
    Sending(Sending),
    /// TLS, which is not this machine's.
    Handshake,
    Closed,
}

/// Which question is open.
#[derive(Debug)]
enum OpenQuestion {
    /// Whether a password that PASS brought is right.
    Password,
    /// Waiting for the client's response in AUTH.
    Login,
    Open,
    Fetch,
    Part,
    Update,
}

/// Counts of a client's errors, which are limited.
#[derive(Debug, Default)]
struct ErrorCounts {
    before_login: u32,
    errors: u32,
    login_failures: u32,
}

impl Session {
    /// A session of a new connection, with the greeting as its first output.
    pub fn new(now: Instant, policy: Policy) -> Self {
        let greeting = format!("+OK {} POP3", policy.hostname);
        let mut session = Self {
            policy,
            phase: Phase::Command,
            lines: LineReader::default(),
            outputs: VecDeque::new(),
            asked: None,
            name: None,
            maildrop: None,
            errors: ErrorCounts::default(),
            waits_until: now + IDLE_TIMEOUT,
            is_stopping: false,
        };
        session.say(now, &greeting);
        session
    }

    /// Handles the octets that the client sent, all that are available. Returns how many were consumed; pass the rest
    /// again once outputs are taken and the question is answered. Octets after the end are discarded.
    ///
    /// Octets in clear after STLS may be an attacker's: they are discarded, and the connection ends. (RFC 2595, section
    /// 4)
    pub fn receive(&mut self, now: Instant, octets: &[u8]) -> usize {
        if matches!(self.phase, Phase::Closed) {
            return octets.len();
        }
        let mut taken = 0;
        while taken < octets.len() && self.is_listening() {
            let (of_line, event) = self.lines.read(&octets[taken..]);
            taken += of_line;
            if let Some(event) = event {
                self.handle_line(now, event);
            }
        }
        if matches!(self.phase, Phase::Handshake) && taken < octets.len() {
            self.outputs.retain(|output| *output != Output::Action(Action::StartTls));
            self.close();
        }
        taken
    }

    /// The next action; `None` if the session waits for octets, an answer or the deadline.
    pub fn poll_output(&mut self, now: Instant) -> Option<Output> {
        if self.outputs.is_empty() && matches!(self.phase, Phase::Listing(_)) {
            self.list_on(now);
        }
        self.outputs.pop_front()
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
        self.waits_until = now + IDLE_TIMEOUT;
        match (self.asked.take(), answer) {
            (Some(OpenQuestion::Password), Answer::Authenticate(verdict)) => {
                self.password_answered(now, verdict);
            }
            (Some(OpenQuestion::Login), Answer::Authenticate(verdict)) => self.login_answered(now, verdict),
            (Some(OpenQuestion::Open), Answer::Open(opened)) => self.opened(now, opened),
            (Some(OpenQuestion::Fetch), Answer::Fetch(fetched)) => self.fetched(now, fetched),
            (Some(OpenQuestion::Part), Answer::Part(part)) => self.part(now, part.as_deref()),
            (Some(OpenQuestion::Update), Answer::Update(is_done)) => self.updated(now, is_done),
            (_, _) => {
                debug_assert!(false, "an answer to another question");
                self.close();
            }
        }
        self.stop_if_asked(now);
    }

    /// When [`Session::handle_timeout`] is due; `None` while an answer is pending, and at the end.
    pub fn deadline(&self) -> Option<Instant> {
        let is_waiting = self.is_idle();
        is_waiting.then_some(self.waits_until)
    }

    /// Ends the connection without a reply if the deadline has passed. Before the deadline it does nothing. (RFC 1939,
    /// section 3)
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.is_idle() && now >= self.waits_until {
            self.close();
        }
    }

    /// Continues under TLS, discarding all earlier state such as USER. (RFC 2595, section 4)
    pub fn tls_started(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Handshake) {
            self.phase = Phase::Command;
            self.policy.tls = Tls::Active;
            self.waits_until = now + IDLE_TIMEOUT;
        }
    }

    /// Handles the loss of the connection. An open question needs no answer any more; removals in progress continue.
    pub fn lost(&mut self) {
        self.outputs.clear();
        self.close();
    }

    /// Ends the connection as soon as the command at hand is answered.
    pub fn stop(&mut self, now: Instant) {
        self.is_stopping = true;
        self.stop_if_asked(now);
    }

    /// Whether [`Session::receive`] consumes octets now: neither output nor question is pending.
    pub fn is_listening(&self) -> bool {
        self.outputs.is_empty()
            && self.asked.is_none()
            && matches!(self.phase, Phase::Command | Phase::Login(_))
    }

    /// Whether an inbox is open.
    pub fn has_inbox(&self) -> bool {
        self.maildrop.is_some()
    }

    /// Whether the client's octets are awaited, or its handshake.
    fn is_idle(&self) -> bool {
        let is_waiting = matches!(self.phase, Phase::Command | Phase::Login(_) | Phase::Handshake);
        is_waiting && self.outputs.is_empty() && self.asked.is_none()
    }

    fn ask(&mut self, ask: Ask, asked: OpenQuestion) {
        self.asked = Some(asked);
        self.outputs.push_back(Output::Ask(ask));
    }

    /// Replies with a line.
    fn say(&mut self, now: Instant, line: &str) {
        self.send(now, format!("{line}\r\n").into_bytes());
    }

    fn send(&mut self, now: Instant, octets: Vec<u8>) {
        self.waits_until = now + IDLE_TIMEOUT;
        self.outputs.push_back(Output::Reply(octets));
    }

    /// Rejects an unknown command, or one that is invalid in this state.
    fn refuse(&mut self, now: Instant, line: &str) {
        self.errors.errors += 1;
        if self.errors.errors > ERRORS_MAX {
            return self.end(now, TOO_MANY_ERRORS);
        }
        self.say(now, line);
    }

    /// Sends the reason, and closes.
    fn end(&mut self, now: Instant, line: &str) {
        self.say(now, line);
        self.close();
    }

    /// Closes the connection, unless that is done already.
    fn close(&mut self) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.phase = Phase::Closed;
        self.asked = None;
        self.maildrop = None;
        self.outputs.push_back(Output::Action(Action::Close));
    }

    fn stop_if_asked(&mut self, now: Instant) {
        let is_between = matches!(self.phase, Phase::Command | Phase::Login(_)) && self.asked.is_none();
        if self.is_stopping && is_between {
            self.end(now, SHUTTING_DOWN);
        } else if self.is_stopping && matches!(self.phase, Phase::Handshake) {
            // No reply can be sent in clear any more.
            self.close();
        }
    }

    fn quit(&mut self, now: Instant) {
        match self.maildrop.take() {
            // RFC 1939, section 6
            Some(maildrop) => self.ask(Ask::Update(maildrop.deleted()), OpenQuestion::Update),
            None => self.end(now, BYE),
        }
    }
}
