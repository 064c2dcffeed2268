//! The commands except those of a message.

use std::str;

use gatepost_ground::Instant;

use super::{Action, Ask, Client, OpenQuestion, Output, Phase, Session};
use crate::mail::address::{DOMAIN_OCTETS_MAX, Domain, Unbracketed};
use crate::mail::line::Event;
use crate::mail::sasl::{Exchange, Mechanism, Step, Verdict, decode_base64};
use crate::mail::smtp::command::{Command, Hello, Spelling};
use crate::mail::smtp::limits::COMMAND_LINE_OCTETS_MAX;
use crate::mail::smtp::policy::{Role, Tls};
use crate::mail::smtp::reply::{
    BAD_ARGUMENT, BAD_BASE64, BAD_LOGIN_MESSAGE, BAD_NAME, BARE_LF, BARE_LF_LAN, BDAT_WITHOUT_SIZE, BYE,
    CANNOT_VERIFY, ENDLESS, HELLO_OF_OTHERS, HELP, LINE_TOO_LONG, LOGGED_IN, LOGIN_CANCELLED,
    LOGIN_LINE_TOO_LONG, LOGIN_NEEDS_TLS, LOGIN_REFUSED, LOGIN_TWICE, LOGIN_UNAVAILABLE, NO_COMMAND,
    NOT_IMPLEMENTED, NOT_SMTP, OK, READY_FOR_TLS, Reply, SAY_HELLO_FIRST, SAY_LHLO_FIRST, TLS_ACTIVE,
    TOO_MANY_ERRORS, TOO_MANY_IDLE_COMMANDS, TRANSACTION_OPEN, UNKNOWN_COMMAND, UNKNOWN_MECHANISM, lines,
};

impl Session {
    pub(super) fn handle_line(&mut self, now: Instant, event: Event) {
        match event {
            Event::Line(line) if matches!(self.phase, Phase::Login(_)) => self.login_response(now, &line),
            Event::Line(line) => self.handle_command(now, &line),
            Event::TooLong { .. } if matches!(self.phase, Phase::Login(_)) => {
                self.phase = Phase::Command;
                self.reply(now, &LOGIN_LINE_TOO_LONG);
            }
            Event::TooLong { head } if begins_with(&head, b"BDAT ") => self.end(now, &BDAT_WITHOUT_SIZE),
            // RFC 4954, section 4
            Event::TooLong { head } if begins_with(&head, b"AUTH ") => self.reply(now, &LOGIN_LINE_TOO_LONG),
            Event::TooLong { .. } => self.reply(now, &LINE_TOO_LONG),
            // Devices display permanent rejections to their users, and retry temporary ones silently.
            Event::BareLf if self.policy.is_lan => self.end(now, &BARE_LF_LAN),
            Event::BareLf => self.end(now, &BARE_LF),
            Event::Endless => self.end(now, &ENDLESS),
        }
    }

    fn handle_command(&mut self, now: Instant, line: &[u8]) {
        let is_hello =
            self.policy.is_lenient() && (begins_with(line, b"EHLO ") || begins_with(line, b"HELO "));
        let text = match String::from_utf8(line.to_vec()) {
            Ok(text) => text,
            // Computers have names in older character sets.
            Err(_) if is_hello => String::from_utf8_lossy(line).into_owned(),
            Err(_) => return self.refuse_line(now, line, NO_COMMAND),
        };
        if line.len() + b"\r\n".len() > COMMAND_LINE_OCTETS_MAX && !begins_with(line, b"AUTH ") {
            return self.refuse_line(now, line, LINE_TOO_LONG);
        }
        let may_be_short = self.policy.is_lenient() || self.user.is_some();
        let unbracketed = if self.policy.is_lan { Unbracketed::Accepted } else { Unbracketed::Refused };
        let spelling = Spelling {
            domain: may_be_short.then_some(&self.policy.domain),
            unbracketed,
            smtputf8: self.transaction.as_ref().is_some_and(super::Transaction::smtputf8),
        };
        match Command::parse(&text, spelling) {
            Ok(command) => self.perform(now, command),
            Err(reply) if reply == BDAT_WITHOUT_SIZE => self.end(now, &reply),
            Err(reply) if reply == NO_COMMAND => self.refuse_line(now, line, reply),
            Err(reply) => {
                self.errors.unknown_commands += u32::from(reply == UNKNOWN_COMMAND);
                if self.errors.unknown_commands > self.policy.limits.unknown_commands_max {
                    return self.end(now, &TOO_MANY_ERRORS);
                }
                self.reply(now, &reply);
            }
        }
    }

    /// Rejects a line that is no command. After a BDAT its octets follow all the same. (RFC 3030, section 2)
    fn refuse_line(&mut self, now: Instant, line: &[u8], refusal: Reply) {
        if !begins_with(line, b"BDAT ") {
            return self.reply(now, &refusal);
        }
        let mut words = line.split(|octet| *octet == b' ').filter(|word| !word.is_empty());
        let size = words.nth(1).and_then(|word| str::from_utf8(word).ok());
        match size.filter(|size| size.bytes().all(|octet| octet.is_ascii_digit())).map(str::parse) {
            Some(Ok(size)) => self.refuse_bdat(now, size, refusal),
            _ => self.end(now, &BDAT_WITHOUT_SIZE),
        }
    }

    fn perform(&mut self, now: Instant, command: Command<'_>) {
        use Command::{Expn, Hello, Help, Noop, Rset, StartTls, Vrfy};
        if matches!(command, Hello(..) | Rset | Noop | Vrfy | Expn | Help | StartTls) {
            self.errors.idle_commands += 1;
            if self.errors.idle_commands > self.policy.limits.idle_commands_max {
                return self.end(now, &TOO_MANY_IDLE_COMMANDS);
            }
        }
        match command {
            Hello(hello, name) => self.hello(now, hello, name),
            Command::Mail(path, parameters) => self.mail(now, path, parameters),
            Command::Rcpt(path, parameters) => self.rcpt(now, path, parameters),
            Command::Data => self.data(now),
            Command::Bdat { size, is_last } => self.bdat(now, size, is_last),
            Command::BadBdat { size } => self.refuse_bdat(now, size, BAD_ARGUMENT),
            Rset => {
                self.abort(now);
                self.reply(now, &OK);
            }
            Noop => self.reply(now, &OK),
            Vrfy => self.reply(now, &CANNOT_VERIFY),
            Expn => self.reply(now, &NOT_IMPLEMENTED),
            Help => self.reply(now, &HELP),
            Command::Quit => self.end(now, &BYE),
            StartTls => self.start_tls(now),
            Command::Auth { mechanism, initial } => self.login(now, mechanism, initial),
            Command::NotSmtp => self.end(now, &NOT_SMTP),
        }
    }

    /// The reply to a client without EHLO.
    pub(super) fn hello_first(&self) -> Reply {
        if self.policy.role == Role::Lmtp { SAY_LHLO_FIRST } else { SAY_HELLO_FIRST }
    }

    fn hello(&mut self, now: Instant, hello: Hello, name: &str) {
        // RFC 2033, section 4.1
        if (hello == Hello::Lhlo) != (self.policy.role == Role::Lmtp) {
            return self.reply(now, &HELLO_OF_OTHERS);
        }
        let is_name = name.is_ascii() && Domain::parse(name).is_ok();
        if name.len() > DOMAIN_OCTETS_MAX || !(is_name || self.policy.is_lenient()) {
            return self.reply(now, &BAD_NAME);
        }
        // RFC 5321, section 4.1.4: as if it were RSET.
        self.abort(now);
        self.client = Some(Client { hello, name: name.to_owned() });
        let mut said = vec![self.policy.hostname.clone()];
        if hello != Hello::Helo {
            said.extend(self.extensions());
        }
        self.say(now, lines(250, &said));
    }

    fn extensions(&self) -> Vec<String> {
        let size = format!("SIZE {}", self.policy.limits.message_octets_max);
        let mut extensions: Vec<_> =
            ["PIPELINING", &size, "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"].map(str::to_owned).into();
        if self.policy.has_dsn {
            extensions.push("DSN".to_owned());
        }
        // With LMTP the last chunk has a reply for each recipient, also if the message is lost already.
        if self.policy.role != Role::Lmtp {
            extensions.push("CHUNKING".to_owned());
        }
        if self.policy.tls == Tls::Available {
            extensions.push("STARTTLS".to_owned());
        }
        if self.policy.login_is_open() {
            let names = self.policy.mechanisms.iter().map(|mechanism| mechanism.name());
            extensions.push(["AUTH"].into_iter().chain(names).collect::<Vec<_>>().join(" "));
        }
        extensions
    }

    fn start_tls(&mut self, now: Instant) {
        match self.policy.tls {
            Tls::Unavailable => self.reply(now, &NOT_IMPLEMENTED),
            Tls::Active => self.reply(now, &TLS_ACTIVE),
            Tls::Available => {
                self.abort(now);
                self.reply(now, &READY_FOR_TLS);
                self.phase = Phase::Handshake;
                self.push(now, Output::Action(Action::StartTls));
            }
        }
    }

    // RFC 4954, section 4
    fn login(&mut self, now: Instant, mechanism: &str, initial: Option<&str>) {
        let mechanism = Mechanism::named(mechanism).filter(|named| self.policy.mechanisms.contains(named));
        let refusal = if self.policy.mechanisms.is_empty() {
            Some(NOT_IMPLEMENTED)
        } else if self.client.is_none() {
            Some(self.hello_first())
        } else if self.user.is_some() {
            Some(LOGIN_TWICE)
        } else if self.transaction.is_some() {
            Some(TRANSACTION_OPEN)
        } else if !self.policy.login_is_open() {
            Some(LOGIN_NEEDS_TLS)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return self.reply(now, &refusal);
        }
        let Some(mechanism) = mechanism else { return self.reply(now, &UNKNOWN_MECHANISM) };
        let initial = match initial {
            None => None,
            Some("=") => Some(Vec::new()),
            Some(text) => match decode_base64(text.as_bytes()) {
                Some(octets) => Some(octets),
                None => return self.reply(now, &BAD_BASE64),
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
        self.reply(now, &refusal);
    }

    fn login_step(&mut self, now: Instant, step: Step) {
        match step {
            Step::Prompt(octets) => return self.prompt(now, octets),
            Step::Challenge(octets) => return self.prompt(now, &octets),
            Step::Ask(request) => return self.ask(now, Ask::Authenticate(request), OpenQuestion::Login),
            Step::Malformed => self.reply(now, &BAD_LOGIN_MESSAGE),
            Step::Accepted { user } => {
                self.user = Some(user);
                self.reply(now, &LOGGED_IN);
            }
            Step::Unavailable => self.login_failed(now, &LOGIN_UNAVAILABLE),
            Step::Refused => self.login_failed(now, &LOGIN_REFUSED),
        }
        // A reply that was one too many has closed the connection.
        if matches!(self.phase, Phase::Login(_)) {
            self.phase = Phase::Command;
        }
    }

    /// Replies with the reason, so that users learn that the password is wrong, and closes after too many failures.
    fn login_failed(&mut self, now: Instant, reply: &Reply) {
        self.errors.login_failures += 1;
        self.reply(now, reply);
        if self.errors.login_failures > self.policy.limits.login_failures_max {
            self.close(now);
        }
    }

    fn prompt(&mut self, now: Instant, octets: &[u8]) {
        self.say(now, lines(334, &[data_encoding::BASE64.encode(octets)]));
    }

    pub(super) fn login_answered(&mut self, now: Instant, verdict: Verdict) {
        if let Phase::Login(exchange) = &mut self.phase {
            let step = exchange.answer(verdict);
            self.login_step(now, step);
        }
    }
}

/// Whether a line begins with `verb`, in any case.
fn begins_with(line: &[u8], verb: &[u8]) -> bool {
    line.get(..verb.len()).is_some_and(|head| head.eq_ignore_ascii_case(verb))
}
