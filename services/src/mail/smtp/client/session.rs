//! From the greeting to the first message: names, TLS and login.

use super::{
    Client, Command, Encryption, Extensions, Output, Phase, Queued, Report, Scope, ServerReply, Status,
};
use crate::crypto::Sha256Digest;
use crate::mail::sasl::Mechanism;
use crate::mail::sasl::client::{Exchange, Step};
use data_encoding::BASE64;

/// The longest command AUTH, in octets. A longer initial response waits for the server's prompt. (RFC 4954, section 4)
const AUTH_COMMAND_OCTETS_MAX: usize = 512;

impl Client {
    pub(super) fn greeted(&mut self, reply: &ServerReply) {
        if reply.code == 220 {
            self.say_hello(Command::Ehlo);
        } else {
            self.refused(reply);
        }
    }

    /// Sends EHLO or HELO.
    pub(super) fn say_hello(&mut self, command: Command) {
        self.extensions = Extensions::default();
        self.is_helo = command == Command::Helo;
        let line = format!("{} {}\r\n", command.name(), self.settings.hostname);
        self.push_send(line.as_bytes(), Some(command));
    }

    pub(super) fn hello_answered(&mut self, reply: &ServerReply, command: Command) {
        if reply.is_positive() {
            if command == Command::Ehlo {
                self.extensions = Extensions::parse(&reply.lines);
            }
            self.go_on();
        } else if command == Command::Ehlo && reply.code >= 500 {
            // RFC 5321, section 3.2: a server without EHLO supports HELO.
            self.say_hello(Command::Helo);
        } else {
            self.refused(reply);
        }
    }

    /// Starts the next step before the first message: TLS, a login, or nothing.
    fn go_on(&mut self) {
        let wants_tls = match self.settings.encryption {
            Encryption::Never | Encryption::Active => false,
            Encryption::Opportunistic | Encryption::Required => !self.is_tls,
        };
        if wants_tls && self.extensions.has_starttls {
            return self.push_send(b"STARTTLS\r\n", Some(Command::StartTls));
        }
        self.go_on_without_starttls();
    }

    fn go_on_without_starttls(&mut self) {
        if self.settings.encryption == Encryption::Required && !self.is_tls {
            return self.give_up(Status::new(4, 7, 10), "the server offers no TLS, which is required");
        }
        if self.settings.login.is_some() {
            return self.log_in();
        }
        self.begin_transaction();
    }

    pub(super) fn start_tls_answered(&mut self, reply: &ServerReply) {
        if reply.code == 220 {
            self.phase = Phase::Handshake;
            self.outputs.push_back(Queued::Output(Output::StartTls));
        } else if reply.is_negative() {
            // RFC 3207, section 4.1: the client decides whether to continue.
            self.go_on_without_starttls();
        } else {
            self.break_off("the server answered STARTTLS by what is no answer");
        }
    }

    fn log_in(&mut self) {
        if !self.is_tls {
            let text = "the server offers no TLS, without which a password is not sent";
            return self.give_up(Status::new(4, 7, 11), text);
        }
        if !self.is_verified {
            let text = "the server has not proved its name, without which a password is not sent";
            return self.give_up(Status::new(4, 7, 11), text);
        }
        let offered = |mechanism: &Mechanism| {
            self.extensions.mechanisms.contains(mechanism) && !self.refused_mechanisms.contains(mechanism)
        };
        let mechanism = Mechanism::ALL.into_iter().find(offered);
        let (Some(mechanism), Some(credentials)) = (mechanism, self.settings.login.clone()) else {
            let text = "the server offers no login by SCRAM-SHA-256, PLAIN or LOGIN";
            return self.give_up(Status::new(4, 7, 0), text);
        };
        let (exchange, initial) = Exchange::start(mechanism, credentials);
        let name = mechanism.name();
        let (line, initial) = match initial {
            None => (format!("AUTH {name}\r\n"), None),
            Some(octets) => {
                let line = format!("AUTH {name} {}\r\n", BASE64.encode(&octets));
                let is_too_long = line.len() > AUTH_COMMAND_OCTETS_MAX;
                if is_too_long { (format!("AUTH {name}\r\n"), Some(octets)) } else { (line, None) }
            }
        };
        self.phase = Phase::Login { exchange, mechanism, initial, is_deriving: false };
        self.push_send(line.as_bytes(), Some(Command::Auth(mechanism)));
    }

    pub(super) fn login_answered(&mut self, reply: &ServerReply, mechanism: Mechanism) {
        let Phase::Login { exchange, initial, .. } = &mut self.phase else { return };
        match reply.code {
            235 if exchange.is_complete() && initial.is_none() => {
                self.phase = Phase::Opening;
                self.begin_transaction();
            }
            235 => {
                let text = "the server did not prove that it knows the password";
                self.give_up(Status::new(4, 7, 0), text);
            }
            334 => {
                let text = reply.lines.first().map(|line| line.trim()).unwrap_or_default();
                let step = match (initial.take(), BASE64.decode(text.as_bytes())) {
                    (Some(initial), _) => Step::Send(initial),
                    (None, Ok(octets)) => exchange.challenge(&octets),
                    // LOGIN counts the prompts and ignores their wording.
                    (None, Err(_)) if mechanism == Mechanism::Login => exchange.challenge(b""),
                    (None, Err(_)) => Step::Failed("the server sent no base64"),
                };
                self.login_step(step);
            }
            // RFC 4954, section 6: the mechanism is rejected, regardless of the password.
            500..=504 | 534 => {
                self.phase = Phase::Opening;
                self.refused_mechanisms.push(mechanism);
                self.log_in();
            }
            400.. => self.refused_login(reply),
            _ => self.break_off("the server answered AUTH by what is no answer"),
        }
    }

    fn login_step(&mut self, step: Step) {
        let Phase::Login { mechanism, is_deriving, .. } = &mut self.phase else { return };
        match step {
            Step::Send(octets) => {
                let command = Command::Auth(*mechanism);
                let line = BASE64.encode(&octets) + "\r\n";
                self.push_send(line.as_bytes(), Some(command));
            }
            Step::Derive(derivation) => {
                *is_deriving = true;
                self.outputs.push_back(Queued::Output(Output::Derive(derivation)));
            }
            Step::Failed(text) => {
                let report = Report::deferred(Status::new(4, 7, 0), text, Scope::Host);
                self.leave_with(&report, true);
            }
        }
    }

    pub(super) fn login_derived(&mut self, key: &Sha256Digest) {
        if let Phase::Login { exchange, is_deriving: is_deriving @ true, .. } = &mut self.phase {
            *is_deriving = false;
            let step = exchange.derived(key);
            self.login_step(step);
        }
    }

    /// Handles a server that rejects this client, temporarily or permanently.
    fn refused(&mut self, reply: &ServerReply) {
        if reply.is_negative() {
            self.leave_with(&Report::of_reply(reply, Scope::Host), false);
        } else {
            self.break_off(&format!("the server began with what is no answer: {}", reply.to_text()));
        }
    }

    /// Handles a rejected login. It is the administrator's to fix, and not the message's fault. The server's text is
    /// left out: some servers quote the rejected line, and senders see the report.
    fn refused_login(&mut self, reply: &ServerReply) {
        let status = reply.status().map(|status| format!(" {status}")).unwrap_or_default();
        let text = format!("the login was refused: {}{status}", reply.code);
        self.leave_with(&Report::deferred(Status::new(4, 7, 8), text, Scope::Host), false);
    }

    /// This server cannot be used as it is, for now.
    fn give_up(&mut self, status: Status, text: &str) {
        self.leave_with(&Report::deferred(status, text, Scope::Host), false);
    }
}
