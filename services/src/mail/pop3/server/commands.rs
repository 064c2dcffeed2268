//! The commands except those of an open inbox.

use gatepost_ground::Instant;

use super::replies::{
    BAD_ARGUMENT, BAD_BASE64, BAD_LOGIN_MESSAGE, BARE_LF, ENDLESS, LINE_TOO_LONG, LOGGED_IN_ALREADY,
    LOGIN_CANCELLED, LOGIN_FIRST, LOGIN_NEEDS_TLS, LOGIN_NEEDS_TLS_ALWAYS, LOGIN_REFUSED, LOGIN_UNAVAILABLE,
    NO_TEXT, NO_TLS, READY_FOR_TLS, SAY_PASSWORD, TLS_ACTIVE, TOO_MANY_COMMANDS, UNKNOWN_COMMAND,
    UNKNOWN_MECHANISM, USER_FIRST,
};
use super::{
    Action, Ask, COMMANDS_BEFORE_LOGIN_MAX, LOGIN_FAILURES_MAX, OpenQuestion, Output, Phase, Session,
};
use crate::mail::line::Event;
use crate::mail::pop3::command::{COMMAND_OCTETS_MAX, Command, Unknown};
use crate::mail::sasl::{Exchange, Mechanism, Password, Request, Step, Verdict, decode_base64};
use crate::mail::smtp::Tls;

impl Session {
    pub(super) fn handle_line(&mut self, now: Instant, event: Event) {
        match event {
            Event::Line(line) if matches!(self.phase, Phase::Login(_)) => self.login_response(now, &line),
            Event::Line(line) => self.handle_command(now, &line),
            Event::TooLong { .. } => {
                self.phase = Phase::Command;
                self.refuse(now, LINE_TOO_LONG);
            }
            Event::BareLf => {
                self.phase = Phase::Command;
                self.refuse(now, BARE_LF);
            }
            Event::Endless => self.end(now, ENDLESS),
        }
    }

    fn handle_command(&mut self, now: Instant, line: &[u8]) {
        if self.maildrop.is_none() {
            self.errors.before_login += 1;
            if self.errors.before_login > COMMANDS_BEFORE_LOGIN_MAX {
                return self.end(now, TOO_MANY_COMMANDS);
            }
        }
        let name = self.name.take();
        let text = std::str::from_utf8(line).ok().filter(|text| !text.chars().any(char::is_control));
        let Some(text) = text else { return self.refuse(now, NO_TEXT) };
        match Command::parse(text) {
            Ok(command) => {
                let is_login = matches!(command, Command::Auth { .. });
                if text.len() > COMMAND_OCTETS_MAX && !is_login {
                    return self.refuse(now, LINE_TOO_LONG);
                }
                self.perform(now, command, name);
            }
            Err(Unknown::Command) => self.refuse(now, UNKNOWN_COMMAND),
            Err(Unknown::Argument) => self.refuse(now, BAD_ARGUMENT),
        }
    }

    /// `name` is the argument of the last USER, if that was the previous command.
    fn perform(&mut self, now: Instant, command: Command<'_>, name: Option<String>) {
        match command {
            Command::Capa => return self.capabilities(now),
            Command::Quit => return self.quit(now),
            _ => {}
        }
        if self.maildrop.is_some() {
            return self.perform_in_inbox(now, command);
        }
        match command {
            Command::User(name) => match self.login_refusal() {
                Some(refusal) => self.refuse(now, refusal),
                None => {
                    self.name = Some(name.to_owned());
                    self.say(now, SAY_PASSWORD);
                }
            },
            Command::Pass(password) => match (self.login_refusal(), name) {
                (Some(refusal), _) => self.refuse(now, refusal),
                (None, None) => self.refuse(now, USER_FIRST),
                // An empty password is always wrong, and is not counted as a guess.
                (None, Some(_)) if password.is_empty() => self.login_failed(now, LOGIN_REFUSED),
                (None, Some(user)) => {
                    let request = Request::Password { user, password: Password(password.to_owned()) };
                    self.ask(Ask::Authenticate(request), OpenQuestion::Password);
                }
            },
            Command::Auth { mechanism, initial } => self.login(now, mechanism, initial),
            Command::Stls => self.start_tls(now),
            _ => self.refuse(now, LOGIN_FIRST),
        }
    }

    /// The reply to a login that is not possible now; `None` if it is.
    fn login_refusal(&self) -> Option<&'static str> {
        match self.policy.tls {
            Tls::Active => None,
            _ if self.policy.plaintext_login => None,
            Tls::Available => Some(LOGIN_NEEDS_TLS),
            Tls::Unavailable => Some(LOGIN_NEEDS_TLS_ALWAYS),
        }
    }

    // RFC 2449, section 5; USER, SASL and STLS are valid in both states: sections 6.3 and 6.4; RFC 2595, section 4
    fn capabilities(&mut self, now: Instant) {
        let mut lines = vec!["+OK this is what there is".to_owned()];
        if self.login_refusal().is_none() {
            let names = Mechanism::ALL.iter().map(|mechanism| mechanism.name());
            lines.push("USER".to_owned());
            lines.push(["SASL"].into_iter().chain(names).collect::<Vec<_>>().join(" "));
        }
        if self.policy.tls == Tls::Available {
            lines.push("STLS".to_owned());
        }
        lines.extend(["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"].map(str::to_owned));
        lines.push(".".to_owned());
        self.say(now, &lines.join("\r\n"));
    }

    fn start_tls(&mut self, now: Instant) {
        match self.policy.tls {
            Tls::Unavailable => self.refuse(now, NO_TLS),
            Tls::Active => self.refuse(now, TLS_ACTIVE),
            Tls::Available => {
                self.say(now, READY_FOR_TLS);
                self.phase = Phase::Handshake;
                self.outputs.push_back(Output::Action(Action::StartTls));
            }
        }
    }

    // RFC 5034, section 4
    fn login(&mut self, now: Instant, mechanism: &str, initial: Option<&str>) {
        if let Some(refusal) = self.login_refusal() {
            return self.refuse(now, refusal);
        }
        let Some(mechanism) = Mechanism::named(mechanism) else { return self.refuse(now, UNKNOWN_MECHANISM) };
        let initial = match initial {
            None => None,
            Some("=") => Some(Vec::new()),
            Some(text) => match decode_base64(text.as_bytes()) {
                Some(octets) => Some(octets),
                None => return self.refuse(now, BAD_BASE64),
            },
        };
        let (exchange, step) = Exchange::start(mechanism, initial);
        self.phase = Phase::Login(exchange);
        self.login_step(now, step);
    }

    fn login_response(&mut self, now: Instant, line: &[u8]) {
        let refusal = if line == b"*" {
            LOGIN_CANCELLED
        } else {
            match (decode_base64(line), &mut self.phase) {
                (Some(octets), Phase::Login(exchange)) => {
                    let step = exchange.respond(octets);
                    return self.login_step(now, step);
                }
                _ => BAD_BASE64,
            }
        };
        self.phase = Phase::Command;
        self.refuse(now, refusal);
    }

    fn login_step(&mut self, now: Instant, step: Step) {
        match step {
            Step::Prompt(octets) => return self.prompt(now, octets),
            Step::Challenge(octets) => return self.prompt(now, &octets),
            Step::Ask(request) => return self.ask(Ask::Authenticate(request), OpenQuestion::Login),
            _ => self.phase = Phase::Command,
        }
        match step {
            Step::Accepted { user } => self.ask(Ask::Open { user }, OpenQuestion::Open),
            Step::Unavailable => self.login_failed(now, LOGIN_UNAVAILABLE),
            Step::Refused => self.login_failed(now, LOGIN_REFUSED),
            _ => self.refuse(now, BAD_LOGIN_MESSAGE),
        }
    }

    fn prompt(&mut self, now: Instant, octets: &[u8]) {
        self.say(now, &format!("+ {}", data_encoding::BASE64.encode(octets)));
    }

    pub(super) fn login_answered(&mut self, now: Instant, verdict: Verdict) {
        if let Phase::Login(exchange) = &mut self.phase {
            let step = exchange.answer(verdict);
            self.login_step(now, step);
        }
    }

    pub(super) fn password_answered(&mut self, now: Instant, verdict: Verdict) {
        match verdict {
            Verdict::Accepted { user } => self.ask(Ask::Open { user }, OpenQuestion::Open),
            Verdict::Unavailable => self.login_failed(now, LOGIN_UNAVAILABLE),
            Verdict::Refused | Verdict::Verifier { .. } => self.login_failed(now, LOGIN_REFUSED),
        }
    }

    /// Replies with the reason, and closes after too many failures.
    fn login_failed(&mut self, now: Instant, line: &str) {
        self.errors.login_failures += 1;
        self.say(now, line);
        if self.errors.login_failures > LOGIN_FAILURES_MAX {
            self.close();
        }
    }

    /// The reply to a command of the AUTHORIZATION state while an inbox is open.
    pub(super) fn refuse_in_inbox(&mut self, now: Instant) {
        self.refuse(now, LOGGED_IN_ALREADY);
    }
}
