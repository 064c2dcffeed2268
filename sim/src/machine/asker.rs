//! Datagrams to the internet's late server, and pings: they test how long a mapping lives.
//!
//! Every asker uses the same ports, so that the mappings of several cannot all preserve theirs. After a datagram its
//! socket is silent until the last answer: only the datagram keeps the mapping alive.

use std::ops::Range;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smoltcp::iface::SocketHandle;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr};

use super::internet::CHAT_ADDRESS;
use super::internet::late::{LATE_PORT, ask};
use super::stack::Stack;

const FIRST_PORT: u16 = 40_000;
const SOCKETS: u16 = 4;
/// The outside ports of an asker, unless another asker has them.
pub const ASKING_PORTS: Range<u16> = FIRST_PORT..FIRST_PORT + SOCKETS;
const PING_ID: u16 = 40_000;
/// RFC 4787, REQ-5c: answers come well within, right before, right after and long after.
const LIFE_SECS: u32 = 300;
const STREAM_SECS: u32 = 400;
/// Mostly within the life of a query's mapping, sometimes beyond. (RFC 5508, REQ-2)
const PING_PAUSE_SECS_MAX: u64 = 75;
const FIRST_WITHIN_SECS: u64 = 30;

/// A client of the late server.
pub struct Asker {
    rng: StdRng,
    sockets: Vec<(SocketHandle, Instant)>,
    pinging: SocketHandle,
    ping_at: Instant,
    pings: u16,
    answers: u64,
    echoes: u64,
}

impl Asker {
    /// An asker on `stack`.
    pub fn new(stack: &mut Stack, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut first = || Instant::from_secs(rng.random_range(0..FIRST_WITHIN_SECS));
        let sockets = (0..SOCKETS).map(|n| (stack.bind_udp(FIRST_PORT + n), first())).collect();
        let pinging = stack.bind_icmp(PING_ID);
        let ping_at = first();
        Self { rng, sockets, pinging, ping_at, pings: 0, answers: 0, echoes: 0 }
    }

    /// Answers received so far.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// Pings answered so far.
    pub fn echoes(&self) -> u64 {
        self.echoes
    }

    /// Receives, and sends what is due. Without an address there is no request.
    pub fn work(&mut self, stack: &mut Stack, has_address: bool, now: Instant) {
        for (handle, next_at) in &mut self.sockets {
            let socket = stack.udp(*handle);
            while socket.recv().is_ok() {
                self.answers += 1;
            }
            if *next_at > now {
                continue;
            }
            let (every_secs, times) = schedule(&mut self.rng);
            if has_address {
                // A full queue is a lost question.
                _ = socket.send_slice(&ask(self.rng.random(), every_secs, times), (CHAT_ADDRESS, LATE_PORT));
            }
            let over = Duration::from_secs(u64::from(every_secs * times) + 5);
            *next_at = now + if has_address { over } else { Duration::from_secs(5) };
        }
        self.ping(stack, has_address, now);
    }

    /// When there is something to ask next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sockets.iter().map(|(_, next_at)| *next_at).chain([self.ping_at]).min()
    }

    fn ping(&mut self, stack: &mut Stack, has_address: bool, now: Instant) {
        while stack.icmp(self.pinging).recv().is_ok() {
            self.echoes += 1;
        }
        if self.ping_at > now {
            return;
        }
        self.ping_at = now + Duration::from_secs(self.rng.random_range(1..=PING_PAUSE_SECS_MAX));
        if !has_address {
            return;
        }
        let data: [u8; 8] = self.rng.random();
        let request = Icmpv4Repr::EchoRequest { ident: PING_ID, seq_no: self.pings, data: &data };
        self.pings = self.pings.wrapping_add(1);
        let to = CHAT_ADDRESS.into();
        let mut octets = vec![0; request.buffer_len()];
        request.emit(&mut Icmpv4Packet::new_unchecked(&mut octets), &ChecksumCapabilities::default());
        // A full queue is a lost ping.
        _ = stack.icmp(self.pinging).send_slice(&octets, to);
    }
}

/// After how many seconds there is an answer, and how many there are.
fn schedule(rng: &mut StdRng) -> (u32, u32) {
    match rng.random_range(0..6) {
        0 => (rng.random_range(1..LIFE_SECS), 1),
        1 => (rng.random_range(LIFE_SECS - 20..LIFE_SECS), 1),
        2 => (rng.random_range(LIFE_SECS + 3..LIFE_SECS + 30), 1),
        3 => (rng.random_range(1..=20), 1),
        _ => {
            let every_secs = rng.random_range(10..=60);
            (every_secs, STREAM_SECS / every_secs)
        }
    }
}
