//! A client on the LAN that queries long texts: first over UDP, where the answer does not fit, and then over TCP. It
//! compares every octet.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::fetch::{Closing, connect};
use super::internet::{DNS_PORT, LONG_TEXTS, long_text};
use super::stack::{SocketHandle, Stack, turn};
use super::{Machine, Record};
use crate::machine::identity::Identity;

const OWN_PORT: u16 = 5_353;
/// The time between an answer and the next question.
const PAUSE: Duration = Duration::from_secs(2);
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The octets of the length before each message. (RFC 1035, section 4.2.2)
const LENGTH_OCTETS: usize = 2;

/// A reader's record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextRecord {
    /// Texts that came whole over TCP.
    pub whole: u64,
    /// Answers over UDP that lacked TC, and texts that were altered.
    pub wrong: u64,
    /// Questions that were not answered.
    pub failed: u64,
}

impl fmt::Display for TextRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} texts whole, {} wrong, {} failed", self.whole, self.wrong, self.failed)
    }
}

/// The reader.
pub struct TextReader {
    gateway: Ipv4Addr,
    stack: Stack,
    socket: SocketHandle,
    closing: Closing,
    rng: StdRng,
    /// The text that it asks for.
    number: usize,
    id: u16,
    doing: Doing,
    until: Instant,
    due: Option<Instant>,
    record: TextRecord,
}

/// What a reader waits for, until the time in [`TextReader`].
enum Doing {
    Pausing,
    AskingByUdp,
    AskingByTcp { handle: SocketHandle, unsent: Vec<u8>, got: Vec<u8> },
}

impl TextReader {
    /// The reader that `identity` names.
    pub fn new(identity: &Identity) -> Self {
        let mut rng = StdRng::seed_from_u64(identity.seed);
        let mut stack = Stack::of(identity, rng.random());
        let socket = stack.bind_udp(OWN_PORT);
        Self {
            gateway: identity.router,
            stack,
            socket,
            closing: Closing::default(),
            rng,
            number: 0,
            id: 0,
            doing: Doing::Pausing,
            until: Instant::ZERO + PAUSE,
            due: Some(Instant::ZERO),
            record: TextRecord::default(),
        }
    }

    fn work(&mut self, now: Instant) {
        match &mut self.doing {
            Doing::Pausing if self.until <= now => self.ask_by_udp(now),
            Doing::Pausing => {}
            Doing::AskingByUdp => {
                while let Some((_, answer)) = self.stack.receive_udp(self.socket) {
                    self.hear_by_udp(now, &answer);
                }
            }
            Doing::AskingByTcp { handle, unsent, got } => {
                let socket = self.stack.tcp(*handle);
                // The first octet goes alone, so that the length comes in two segments.
                let is_first = unsent.len() == LENGTH_OCTETS + question(self.id, self.number).len();
                if socket.can_send() && socket.send_queue() == 0 {
                    let len = if is_first { 1 } else { unsent.len() };
                    let sent = socket.send_slice(&unsent[..len]).unwrap_or(0);
                    unsent.drain(..sent);
                }
                while socket.can_recv() {
                    let read = socket.recv(|octets| {
                        got.extend_from_slice(octets);
                        (octets.len(), ())
                    });
                    if read.is_err() {
                        break;
                    }
                }
                let is_whole = got
                    .first_chunk()
                    .is_some_and(|len| got.len() >= LENGTH_OCTETS + usize::from(u16::from_be_bytes(*len)));
                if is_whole {
                    self.hear_by_tcp(now);
                } else if !socket.is_open() {
                    self.fail(now);
                }
            }
        }
        if self.until <= now {
            self.fail(now);
        }
    }

    fn ask_by_udp(&mut self, now: Instant) {
        self.number = self.rng.random_range(0..LONG_TEXTS.len());
        self.id = self.rng.random();
        let server = SocketAddrV4::new(self.gateway, DNS_PORT);
        self.stack.send_udp(self.socket, server, &question(self.id, self.number));
        (self.doing, self.until) = (Doing::AskingByUdp, now + TIMEOUT);
    }

    fn hear_by_udp(&mut self, now: Instant, octets: &[u8]) {
        let answer = Message::from_vec(octets).ok().filter(|answer| answer.metadata.id == self.id);
        let Some(answer) = answer.filter(|_| matches!(self.doing, Doing::AskingByUdp)) else { return };
        if answer.metadata.response_code != ResponseCode::NoError {
            return self.fail(now);
        }
        if !answer.metadata.truncation {
            self.record.wrong += 1;
            return self.pause(now);
        }
        let message = question(self.id, self.number);
        let mut unsent = u16::try_from(message.len()).expect("a short message").to_be_bytes().to_vec();
        unsent.extend(message);
        match connect(&mut self.stack, &mut self.rng, (self.gateway, DNS_PORT)) {
            Some(handle) => {
                self.doing = Doing::AskingByTcp { handle, unsent, got: Vec::new() };
                self.until = now + TIMEOUT;
            }
            None => self.fail(now),
        }
    }

    fn hear_by_tcp(&mut self, now: Instant) {
        let Doing::AskingByTcp { handle, got, .. } = &self.doing else { return };
        self.closing.close(&mut self.stack, *handle, now);
        let answer = Message::from_vec(&got[LENGTH_OCTETS..]);
        let told = answer.as_ref().ok().filter(|answer| answer.metadata.id == self.id);
        let is_refused = told.is_some_and(|answer| answer.metadata.response_code != ResponseCode::NoError);
        let is_right = told.is_some_and(|answer| match &answer.answers[..] {
            [record] => match &record.data {
                RData::TXT(text) => text.txt_data.concat() == long_text(self.number),
                _ => false,
            },
            _ => false,
        });
        match (is_right, is_refused) {
            (true, _) => self.record.whole += 1,
            (false, true) => self.record.failed += 1,
            (false, false) => self.record.wrong += 1,
        }
        self.pause(now);
    }

    /// There is no answer.
    fn fail(&mut self, now: Instant) {
        self.record.failed += 1;
        if let Doing::AskingByTcp { handle, .. } = self.doing {
            self.closing.abort(&mut self.stack, handle, now);
        }
        self.pause(now);
    }

    fn pause(&mut self, now: Instant) {
        (self.doing, self.until) = (Doing::Pausing, now + PAUSE);
    }
}

impl Machine for TextReader {
    fn mac(&self) -> MacAddr {
        self.stack.mac()
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        self.stack.handle_frame(frame);
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        turn(self, now, transmit, |it| &mut it.stack, |it| it.work(now));
        self.closing.forget(&mut self.stack, now);
        let due = self.stack.poll_timeout(now).into_iter().chain(self.closing.poll_timeout());
        self.due = due.chain([self.until]).min();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// A [`TextRecord`].
    fn record(&self) -> Arc<dyn Record> {
        Arc::new(self.record)
    }
}

fn question(id: u16, number: usize) -> Vec<u8> {
    let name = Name::from_ascii(format!("text-{number}.example.")).expect("a valid name");
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, RecordType::TXT));
    message.to_vec().expect("a question can be encoded")
}
