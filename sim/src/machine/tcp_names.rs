//! Queries for a machine's own name over TCP, one connection for each: they test that the gateway's services accept
//! connections. The gateway answers without an upstream query.

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::Instant;
use hickory_proto::op::Message;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smoltcp::iface::SocketHandle;

use super::fetch::{Closing, connect};
use super::internet::DNS_PORT;
use super::stack::Stack;

/// The time between the beginnings of two questions.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The octets of the length before each message. (RFC 1035, section 4.2.2)
const LENGTH_OCTETS: usize = 2;

/// A DNS client over TCP.
pub struct TcpNames {
    rng: StdRng,
    /// A message without its identifier.
    question: Vec<u8>,
    under_way: Option<UnderWay>,
    next_at: Instant,
    /// Questions that were answered.
    pub answered: u64,
    /// Questions that were not.
    pub failed: u64,
}

struct UnderWay {
    handle: SocketHandle,
    id: u16,
    is_asked: bool,
    got: Vec<u8>,
    until: Instant,
}

impl TcpNames {
    /// Sends `question`, a message with any identifier.
    pub fn new(question: Vec<u8>, seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { rng, question, under_way: None, next_at: Instant::ZERO, answered: 0, failed: 0 }
    }

    /// Sends queries that are due to `server`, and reads answers.
    pub fn work(&mut self, stack: &mut Stack, closing: &mut Closing, server: Ipv4Addr, now: Instant) {
        if let Some(under_way) = &mut self.under_way {
            let Some(is_answered) = under_way.work(stack, &self.question, now) else { return };
            if is_answered {
                self.answered += 1;
                closing.close(stack, under_way.handle, now);
            } else {
                self.failed += 1;
                closing.abort(stack, under_way.handle, now);
            }
            self.under_way = None;
        }
        if self.next_at > now {
            return;
        }
        self.next_at = now + INTERVAL;
        let Some(handle) = connect(stack, &mut self.rng, (server, DNS_PORT)) else { return };
        let (id, until) = (self.rng.random(), now + TIMEOUT);
        self.under_way = Some(UnderWay { handle, id, is_asked: false, got: Vec::new(), until });
    }

    /// Aborts its connections: their address is gone.
    pub fn hang_up(&mut self, stack: &mut Stack, closing: &mut Closing, now: Instant) {
        if let Some(under_way) = self.under_way.take() {
            closing.abort(stack, under_way.handle, now);
        }
    }

    /// When to work even if nothing comes.
    pub fn poll_timeout(&self) -> Instant {
        self.under_way.as_ref().map_or(self.next_at, |under_way| under_way.until)
    }
}

impl UnderWay {
    /// Whether the question is answered, once that is known.
    fn work(&mut self, stack: &mut Stack, question: &[u8], now: Instant) -> Option<bool> {
        let socket = stack.tcp(self.handle);
        if socket.can_send() && !self.is_asked {
            let mut message = u16::try_from(question.len()).expect("a short message").to_be_bytes().to_vec();
            message.extend_from_slice(&self.id.to_be_bytes());
            message.extend_from_slice(question.get(size_of::<u16>()..).unwrap_or_default());
            self.is_asked = socket.send_slice(&message) == Ok(message.len());
        }
        while socket.can_recv() {
            let read = socket.recv(|octets| {
                self.got.extend_from_slice(octets);
                (octets.len(), ())
            });
            if read.is_err() {
                break;
            }
        }
        let answer = self.got.get(LENGTH_OCTETS..).and_then(|message| Message::from_vec(message).ok());
        if let Some(answer) = answer {
            return Some(answer.metadata.id == self.id);
        }
        (!socket.is_open() || self.until <= now).then_some(false)
    }
}
