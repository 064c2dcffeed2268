//! From the greeting to the listing: capabilities, TLS and login.

use data_encoding::BASE64;

use super::lines::Reply;
use super::{Capabilities, Command, Encryption, FailureKind, Output, Phase, Session};
use crate::crypto::Sha256Digest;
use crate::mail::sasl::Mechanism;
use crate::mail::sasl::client::{Exchange, Step};

/// The longest command, in octets. A longer first response to AUTH waits for the prompt. (RFC 2449, section 4)
const COMMAND_OCTETS_MAX: usize = 255;

impl Capabilities {
    /// Parses a line of the reply to CAPA. (RFC 2449, section 6)
    pub(super) fn take(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let mut words = line.split_ascii_whitespace();
        match words.next().map(str::to_ascii_uppercase).as_deref() {
            Some("STLS") => self.has_stls = true,
            Some("SASL") => {
                let known = words.filter_map(Mechanism::named);
                // LOGIN is no more than USER and PASS.
                let wanted = known.filter(|mechanism| *mechanism != Mechanism::Login);
                self.mechanisms = wanted.take(Mechanism::ALL.len()).collect();
            }
            _ => {}
        }
    }
}

impl Session {
    pub(super) fn ask_for_capabilities(&mut self) {
        self.offers = Capabilities::default();
        self.send(b"CAPA\r\n".to_vec(), Command::Capa);
    }

    /// Handles the first line of a reply. A positive one to a list command begins the list.
    pub(super) fn opening_answered(&mut self, command: Command, reply: &Reply) {
        match (command, reply) {
            (Command::Greeting, Reply::Ok(_)) => self.ask_for_capabilities(),
            (Command::Greeting, Reply::Error(text)) => {
                self.fail(FailureKind::Busy, &format!("the server refuses: {text}"));
            }
            // RFC 2449, section 5: a server without CAPA has no capabilities.
            (Command::Capa, _) => self.go_on(),
            (Command::Stls, Reply::Ok(_)) => {
                self.phase = Phase::Handshake;
                self.outputs.push_back(Output::StartTls);
            }
            (Command::Stls, _) => self.go_on_without_stls(),
            (Command::Auth, reply) => self.auth_answered(reply),
            (Command::AuthCancelled, _) => {
                let text = "the server does not prove that it knows the password";
                self.fail(FailureKind::Login, text);
            }
            (Command::User, Reply::Ok(_)) => {
                let line = format!("PASS {}\r\n", self.settings.login.password.0);
                self.send(line.into_bytes(), Command::Pass);
            }
            (Command::User | Command::Pass, Reply::Error(text)) => self.refused_login(text),
            (Command::Pass, _) => self.logged_in(),
            (Command::List, Reply::Error(text)) => {
                self.fail(FailureKind::Busy, &format!("the server does not list the messages: {text}"));
            }
            // RFC 1939, section 7: UIDL is optional.
            (Command::Uidl, _) => self.listed(),
            _ => self.fail(FailureKind::Protocol, "the server answered by what is no answer"),
        }
    }

    /// A list has come to its end.
    pub(super) fn lines_ended(&mut self, command: Command) {
        self.awaited = None;
        match command {
            Command::Capa => self.go_on(),
            Command::List => self.send(b"UIDL\r\n".to_vec(), Command::Uidl),
            _ => {
                self.lister.has_uidls = true;
                self.listed();
            }
        }
    }

    fn listed(&mut self) {
        self.phase = Phase::Ready;
        let listing = self.lister.finish();
        self.outputs.push_back(Output::Listing(listing));
    }

    /// Starts the next step before the login: TLS, or nothing.
    fn go_on(&mut self) {
        let wants_tls = match self.settings.encryption {
            Encryption::Never | Encryption::Active => false,
            Encryption::Opportunistic => self.offers.has_stls && !self.is_tls,
            // A server without CAPA may have it.
            Encryption::Required => !self.is_tls,
        };
        if wants_tls { self.send(b"STLS\r\n".to_vec(), Command::Stls) } else { self.log_in() }
    }

    fn go_on_without_stls(&mut self) {
        if self.settings.encryption == Encryption::Required {
            let text = "the server offers no TLS, without which a password is not sent";
            return self.fail(FailureKind::Tls, text);
        }
        self.log_in();
    }

    fn log_in(&mut self) {
        let login = &self.settings.login;
        let is_sendable = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
        if !is_sendable(&login.user) || !is_sendable(&login.password.0) {
            let text = "user or password have characters that cannot be sent, or none";
            return self.fail(FailureKind::Login, text);
        }
        let offered = |mechanism: &Mechanism| {
            self.offers.mechanisms.contains(mechanism) && !self.refused_mechanisms.contains(mechanism)
        };
        let Some(mechanism) = Mechanism::ALL.into_iter().find(offered) else {
            let line = format!("USER {}\r\n", login.user);
            return self.send(line.into_bytes(), Command::User);
        };
        let (exchange, initial) = Exchange::start(mechanism, login.clone());
        // RFC 5034, section 4: an empty response would be `=`; these mechanisms have none.
        let line = format!("AUTH {}", mechanism.name());
        let initial = initial.unwrap_or_default();
        let whole = format!("{line} {}\r\n", BASE64.encode(&initial));
        let (line, held) = match whole.len() <= COMMAND_OCTETS_MAX {
            true => (whole, None),
            false => (line + "\r\n", Some(initial)),
        };
        self.phase = Phase::Login { exchange, mechanism, held, is_fresh: true };
        self.send(line.into_bytes(), Command::Auth);
    }

    fn auth_answered(&mut self, reply: &Reply) {
        let Phase::Login { exchange, mechanism, held, is_fresh } = &mut self.phase else { return };
        let mechanism = *mechanism;
        match reply {
            Reply::Ok(_) if exchange.is_complete() => self.logged_in(),
            Reply::Ok(_) => {
                let text = "the server did not prove that it knows the password";
                self.fail(FailureKind::Login, text);
            }
            Reply::More(text) => {
                *is_fresh = false;
                let step = match (held.take(), BASE64.decode(text)) {
                    (Some(initial), _) => Step::Send(initial),
                    (None, Ok(octets)) => exchange.challenge(&octets),
                    (None, Err(_)) => Step::Failed("the server sent no base64"),
                };
                self.login_step(step, mechanism);
            }
            // Some servers offer mechanisms for which they have no verifier.
            Reply::Error(text)
                if mechanism == Mechanism::ScramSha256 && *is_fresh && code(text).is_none() =>
            {
                self.phase = Phase::Opening;
                self.refused_mechanisms.push(mechanism);
                self.log_in();
            }
            Reply::Error(text) => self.refused_login(text),
        }
    }

    fn login_step(&mut self, step: Step, mechanism: Mechanism) {
        match step {
            Step::Send(octets) => {
                let line = BASE64.encode(&octets) + "\r\n";
                self.send(line.into_bytes(), Command::Auth);
            }
            Step::Derive(derivation) => {
                if let Phase::Login { exchange, .. } = std::mem::replace(&mut self.phase, Phase::Opening) {
                    self.phase = Phase::Deriving { exchange, mechanism };
                    self.outputs.push_back(Output::Derive(derivation));
                }
            }
            // RFC 5034, section 4
            Step::Failed(_) => self.send(b"*\r\n".to_vec(), Command::AuthCancelled),
        }
    }

    pub(super) fn login_derived(&mut self, key: &Sha256Digest) {
        if !matches!(self.phase, Phase::Deriving { .. }) {
            return;
        }
        if let Phase::Deriving { mut exchange, mechanism } =
            std::mem::replace(&mut self.phase, Phase::Opening)
        {
            let step = exchange.derived(key);
            self.phase = Phase::Login { exchange, mechanism, held: None, is_fresh: false };
            self.login_step(step, mechanism);
        }
    }

    fn logged_in(&mut self) {
        self.phase = Phase::Opening;
        self.send(b"LIST\r\n".to_vec(), Command::List);
    }

    fn refused_login(&mut self, text: &str) {
        let kind = match code(text).as_deref() {
            // RFC 2449, section 8.1.1; RFC 3206, section 4
            Some("IN-USE" | "LOGIN-DELAY" | "SYS/TEMP") => FailureKind::Busy,
            _ => FailureKind::Login,
        };
        self.fail(kind, &format!("the login was refused: {text}"));
    }
}

/// The code at the start of a refusal, in upper case. (RFC 2449, section 8)
fn code(text: &str) -> Option<String> {
    Some(text.strip_prefix('[')?.split_once(']')?.0.to_ascii_uppercase())
}
