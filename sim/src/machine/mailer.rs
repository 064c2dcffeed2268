//! Somebody who sends mail to a user of the office, one message after the other, and keeps in mind what was taken.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};
use ipnet::Ipv4Net;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smoltcp::iface::SocketHandle;

use super::fetch::{Closing, connect};
use super::stack::Stack;
use super::{Machine, Record};
use crate::scenario::Identity;

const SMTP_PORT: u16 = 25;
/// The longest pause between two messages.
const PAUSE_MILLIS_MAX: u64 = 2_000;
/// How long a message may take, before it is given up.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest reply that is read, in octets.
const REPLY_OCTETS_MAX: usize = 4_096;
/// The most messages of a run.
const MESSAGES_MAX: u64 = 10_000;

/// Somebody who sends mail. It speaks SMTP itself. // RFC 5321
pub struct Mailer {
    name: String,
    stack: Stack,
    rng: StdRng,
    server: Ipv4Addr,
    /// The server is the office as it is seen from the WAN.
    is_outside: bool,
    to: &'static str,
    closing: Closing,
    under_way: Option<UnderWay>,
    next_at: Instant,
    due: Option<Instant>,
    sent: u64,
    account: MailAccount,
}

/// What became of somebody's messages. Each is known by its mark, which is nowhere else.
#[derive(Clone, Debug, Default)]
pub struct MailAccount {
    /// The marks of those that were taken: the reply to their end was 250.
    pub taken: Vec<String>,
    /// Those that were refused: the reply to one of their commands was another than is hoped for.
    pub refused: Vec<String>,
    /// Those without a reply to their end: whether they were taken is not known.
    pub unknown: Vec<String>,
    /// When the latest was taken.
    pub last_taken_at: Option<Instant>,
}

impl fmt::Display for MailAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [&self.taken, &self.refused, &self.unknown].map(Vec::len);
        write!(f, "{} taken, {} refused, {} without a reply", counts[0], counts[1], counts[2])
    }
}

/// A message on its way.
struct UnderWay {
    handle: SocketHandle,
    mark: String,
    /// What is said after each reply, and the code that is hoped for.
    script: Vec<(u16, Vec<u8>)>,
    /// How many replies have come.
    replies: usize,
    /// What has not been handed to the socket.
    unsent: Vec<u8>,
    got: Vec<u8>,
    until: Instant,
}

/// How a message ends.
enum End {
    Taken,
    Refused,
    Unknown,
}

impl Mailer {
    /// Somebody who is `identity` and sends to `to`, a user's address: on the LAN, or else from outside to the office.
    pub fn new(identity: &Identity, to: &'static str, is_outside: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(identity.seed);
        let mut stack = Stack::new(identity.mac, rng.random());
        stack.set_address(Some((identity.address.addr(), identity.address.prefix_len())));
        stack.set_router(Some(identity.router));
        Self {
            name: identity.name.clone(),
            stack,
            rng,
            server: if is_outside { identity.office } else { identity.router },
            is_outside,
            to,
            closing: Closing::default(),
            under_way: None,
            next_at: Instant::ZERO,
            due: Some(Instant::ZERO),
            sent: 0,
            account: MailAccount::default(),
        }
    }

    fn work(&mut self, now: Instant) {
        if let Some(under_way) = &mut self.under_way {
            let Some(end) = under_way.work(&mut self.stack, now) else { return };
            let UnderWay { handle, mark, .. } = self.under_way.take().expect("it is under way");
            match end {
                End::Taken => {
                    self.account.taken.push(mark);
                    self.account.last_taken_at = Some(now);
                    self.closing.close(&mut self.stack, handle, now);
                }
                End::Refused => {
                    self.account.refused.push(mark);
                    self.closing.abort(&mut self.stack, handle, now);
                }
                End::Unknown => {
                    self.account.unknown.push(mark);
                    self.closing.abort(&mut self.stack, handle, now);
                }
            }
            self.next_at = now + Duration::from_millis(self.rng.random_range(0..PAUSE_MILLIS_MAX));
        }
        if self.next_at > now || self.sent >= MESSAGES_MAX {
            return;
        }
        self.next_at = now + Duration::from_millis(PAUSE_MILLIS_MAX);
        let Some(handle) = connect(&mut self.stack, &mut self.rng, (self.server, SMTP_PORT)) else { return };
        let mark = format!("mark-{:016x}", self.rng.random::<u64>());
        let lines = self.rng.random_range(0..20);
        self.sent += 1;
        self.under_way = Some(UnderWay {
            handle,
            script: script(&self.name, self.to, &mark, lines),
            mark,
            replies: 0,
            unsent: Vec::new(),
            got: Vec::new(),
            until: now + MESSAGE_TIMEOUT,
        });
    }
}

/// What a client says after each reply.
fn script(name: &str, to: &str, mark: &str, lines: usize) -> Vec<(u16, Vec<u8>)> {
    let line = "..a line that begins with a dot, of which one is taken away\r\n".repeat(lines);
    let message =
        format!("From: <{name}@elsewhere.example>\r\nTo: <{to}>\r\nSubject: {mark}\r\n\r\n{line}.\r\n");
    vec![
        (220, format!("EHLO {name}.elsewhere.example\r\n").into_bytes()),
        (250, format!("MAIL FROM:<{name}@elsewhere.example>\r\n").into_bytes()),
        (250, format!("RCPT TO:<{to}>\r\n").into_bytes()),
        (250, b"DATA\r\n".to_vec()),
        (354, message.into_bytes()),
        (250, b"QUIT\r\n".to_vec()),
    ]
}

impl UnderWay {
    /// How it ended, once it has.
    fn work(&mut self, stack: &mut Stack, now: Instant) -> Option<End> {
        let socket = stack.tcp(self.handle);
        while socket.can_recv() && self.got.len() < REPLY_OCTETS_MAX {
            let read = socket.recv(|octets| {
                self.got.extend_from_slice(octets);
                (octets.len(), ())
            });
            if read.is_err() {
                break;
            }
        }
        while let Some(code) = next_code(&mut self.got) {
            let Some((hoped, said)) = self.script.get(self.replies) else { break };
            if code != *hoped {
                return Some(End::Refused);
            }
            self.unsent.extend_from_slice(said);
            self.replies += 1;
        }
        if socket.can_send() && !self.unsent.is_empty() {
            let sent = socket.send_slice(&self.unsent).unwrap_or_default();
            self.unsent.drain(..sent);
        }
        if self.replies == self.script.len() && self.unsent.is_empty() {
            return Some(End::Taken);
        }
        // Before the message has gone out, nothing can have been taken.
        let has_ended = self.replies + 1 == self.script.len();
        let is_over = !socket.is_open()
            || self.until <= now
            || !socket.may_recv() && self.got.is_empty() && self.replies > 0;
        is_over.then_some(if has_ended { End::Unknown } else { End::Refused })
    }
}

/// The code of the first whole reply in `got`, which is taken away. // RFC 5321, section 4.2
fn next_code(got: &mut Vec<u8>) -> Option<u16> {
    let mut from = 0;
    while let Some(len) = got[from..].iter().position(|octet| *octet == b'\n') {
        let line = &got[from..from + len];
        let is_last = line.get(3) != Some(&b'-');
        let code = line.get(..3).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
        from += len + 1;
        if is_last {
            got.drain(..from);
            return Some(code.unwrap_or(0));
        }
    }
    None
}

impl Machine for Mailer {
    fn mac(&self) -> MacAddr {
        self.stack.mac()
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        self.stack.handle_frame(frame);
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        self.stack.poll(now);
        self.work(now);
        self.stack.poll(now);
        self.closing.forget(&mut self.stack, now);
        self.stack.drain(transmit);
        let until = self.under_way.as_ref().map_or(self.next_at, |under_way| under_way.until);
        self.due = [Some(until), self.closing.poll_timeout(), self.stack.poll_timeout(now)]
            .into_iter()
            .flatten()
            .min();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    fn on_renumber(&mut self, _network: Ipv4Net, office: Ipv4Addr) {
        if self.is_outside {
            self.server = office;
        }
    }

    /// A [`MailAccount`].
    fn record(&self) -> Arc<dyn Record> {
        Arc::new(self.account.clone())
    }
}
