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
//! 1. Give [`Session::receive`] all octets that are there. It takes them up to the end of the next command. The rest is
//!    given again later; nobody reads the connection meanwhile.
//! 2. Take [`Session::poll_output`] until there is none: write replies, do actions, ask what is asked. A long listing
//!    and a message come in portions: what was written is to be with the system before the next is taken.
//! 3. Hand the answer to [`Session::answer`]. While a question is open no octet is taken.
//! 4. At [`Session::deadline`] call [`Session::handle_timeout`].
//!
//! Commands may come together (RFC 2449, section 6.6); what comes out does not depend on how the stream is cut.
//!
//! An inbox is this session's alone from the answer to [`Ask::Open`] on, until [`Ask::Update`] is answered or
//! [`Action::Close`] is done. The session knows the messages that were there when it was opened, and no others. What
//! DELE marks is removed by QUIT alone: who loses the connection, keeps silent for too long or is sent away has removed
//! nothing.
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
/// Octets of a message that are asked for at a time.
pub const PART_OCTETS: usize = 64 << 10;
/// Commands of a client that has not logged in. With one more, the session ends.
pub const COMMANDS_BEFORE_LOGIN_MAX: u32 = 50;
/// Lines that are no command, or not one for this time. With one more, the session ends.
pub const ERRORS_MAX: u32 = 100;
/// Logins that failed or could not be checked. With one more, the session ends.
pub const LOGIN_FAILURES_MAX: u32 = 3;

/// What a session may know of the server and of its client before the first octet.
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
    asked: Option<Asked>,
    /// What USER said, if that came last.
    name: Option<String>,
    maildrop: Option<Maildrop>,
    tally: Tally,
    /// Until when something of the client's must have come.
    waits_until: Instant,
    is_stopping: bool,
}

/// What comes next.
#[derive(Debug)]
enum Phase {
    Command,
    /// Responses of a login.
    Login(Exchange),
    /// A listing goes out.
    Listing(Listing),
    /// A message goes out.
    Sending(Sending),
    /// TLS, which is not this machine's.
    Handshake,
    Closed,
}

/// Which question is open.
#[derive(Debug)]
enum Asked {
    /// Whether a password that PASS brought is right.
    Password,
    /// What belongs to AUTH.
    Login,
    Open,
    Fetch,
    Part,
    Update,
}

/// What a client is forgiven only so often.
#[derive(Debug, Default)]
struct Tally {
    before_login: u32,
    errors: u32,
    login_failures: u32,
}

impl Session {
    /// A connection that has just come about, with its greeting to be sent.
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
            tally: Tally::default(),
            waits_until: now + IDLE_TIMEOUT,
            is_stopping: false,
        };
        session.say(now, &greeting);
        session
    }

    /// Takes in what the client sent: all that is there. Returns how many octets were taken; the rest is to be given
    /// again once outputs are taken and the question is answered. What comes after the end is thrown away.
    ///
    /// What is not taken when the client asks for TLS somebody put there in clear: it is thrown away, and the
    /// connection ends. (RFC 2595, section 4)
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

    /// What is to be done next; `None` if there is nothing before octets, an answer or the deadline come.
    pub fn poll_output(&mut self, now: Instant) -> Option<Output> {
        if self.outputs.is_empty() && matches!(self.phase, Phase::Listing(_)) {
            self.list_on(now);
        }
        self.outputs.pop_front()
    }

    /// Takes in the answer to the question that is open.
    ///
    /// # Panics
    ///
    /// In debug builds, if none is open or the answer is to another kind of question.
    pub fn answer(&mut self, now: Instant, answer: Answer) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.waits_until = now + IDLE_TIMEOUT;
        match (self.asked.take(), answer) {
            (Some(Asked::Password), Answer::Authenticate(verdict)) => self.password_answered(now, verdict),
            (Some(Asked::Login), Answer::Authenticate(verdict)) => self.login_answered(now, verdict),
            (Some(Asked::Open), Answer::Open(opened)) => self.opened(now, opened),
            (Some(Asked::Fetch), Answer::Fetch(fetched)) => self.fetched(now, fetched),
            (Some(Asked::Part), Answer::Part(part)) => self.part(now, part.as_deref()),
            (Some(Asked::Update), Answer::Update(is_done)) => self.updated(now, is_done),
            (_, _) => {
                debug_assert!(false, "an answer to another question");
                self.close();
            }
        }
        self.stop_if_asked(now);
    }

    /// When [`Session::handle_timeout`] is due; `None` while an answer is awaited, and when it is over.
    pub fn deadline(&self) -> Option<Instant> {
        let is_waiting = self.is_idle();
        is_waiting.then_some(self.waits_until)
    }

    /// Ends the connection, without a word, if the client has kept silent for too long. Before the deadline it does
    /// nothing. (RFC 1939, section 3)
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.is_idle() && now >= self.waits_until {
            self.close();
        }
    }

    /// Goes on under TLS. What the client said before is forgotten: a name was so with STLS. (RFC 2595, section 4)
    pub fn tls_started(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Handshake) {
            self.phase = Phase::Command;
            self.policy.tls = Tls::Active;
            self.waits_until = now + IDLE_TIMEOUT;
        }
    }

    /// Takes note that the connection is gone. An open question needs no answer any more; messages that are being
    /// removed are.
    pub fn lost(&mut self) {
        self.outputs.clear();
        self.close();
    }

    /// Ends the connection as soon as the command at hand is answered.
    pub fn stop(&mut self, now: Instant) {
        self.is_stopping = true;
        self.stop_if_asked(now);
    }

    /// Whether [`Session::receive`] takes octets now: no output waits, nor does a question.
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

    fn ask(&mut self, ask: Ask, asked: Asked) {
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

    /// Refuses what is no command, or none for this time.
    fn refuse(&mut self, now: Instant, line: &str) {
        self.tally.errors += 1;
        if self.tally.errors > ERRORS_MAX {
            return self.end(now, TOO_MANY_ERRORS);
        }
        self.say(now, line);
    }

    /// Says why, and closes.
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
            // Nothing can be said in clear any more.
            self.close();
        }
    }

    fn quit(&mut self, now: Instant) {
        match self.maildrop.take() {
            // RFC 1939, section 6
            Some(maildrop) => self.ask(Ask::Update(maildrop.deleted()), Asked::Update),
            None => self.end(now, BYE),
        }
    }
}
