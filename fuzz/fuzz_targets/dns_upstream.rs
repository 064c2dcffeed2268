//! Any response of an upstream server: it never panics, every question is answered once, and what a
//! response says of the office or of private addresses is not passed on.
//!
//! The input is a choice of question, and records of a kind, a time span and a chunk: a whole response,
//! or what follows the question in one.

#![no_main]

use std::net::SocketAddr;
use std::rc::Rc;

use gatepost_fuzz::{Input, dns};
use gatepost_services::dns::forwarder::AttemptId;
use gatepost_services::dns::message::Transport;
use gatepost_services::dns::server::{Client, Output, Server};
use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::StdRng;
use gatepost_ground::Instant;

const CLIENT: Client =
    Client { address: SocketAddr::V4(dns::LAN_CLIENT), transport: Transport::Tcp, socket: 3 };
const HEADER: usize = 12;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let rng = StdRng::from_seed([7; 32]);
    let server = Server::new(dns::office(), Rc::new(dns::Leases), rng).expect("a right configuration");
    let mut exchange = Exchange { server, attempts: Vec::new(), asked: 0, answered: 0 };
    let mut now = Instant::from_secs(1);
    let question = dns::QUESTIONS[usize::from(input.u8()) % dns::QUESTIONS.len()];
    exchange.ask(now, question);
    while !input.is_empty() {
        let kind = input.u8();
        now = Instant::from_micros(now.as_micros() + input.micros());
        exchange.respond(now, kind, input.chunk());
        if kind & 0x80 != 0 {
            exchange.ask(now, question);
        }
    }
    for _ in 0..TIMEOUTS_MAX {
        let Some(due) = exchange.server.poll_timeout() else { break };
        now = now.max(due);
        exchange.server.handle_timeout(now);
        exchange.drain();
    }
    assert_eq!(exchange.server.poll_timeout(), None, "a question is never given up");
    assert_eq!(exchange.answered, exchange.asked);
});

/// More than what one input asks can take.
const TIMEOUTS_MAX: usize = 1024;

struct Exchange {
    server: Server,
    /// The open attempts, with their queries.
    attempts: Vec<(AttemptId, Vec<u8>)>,
    asked: u16,
    answered: u16,
}

impl Exchange {
    fn ask(&mut self, now: Instant, question: &[u8]) {
        let id = self.asked.to_be_bytes();
        let query = [&id[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0], question].concat();
        self.server.handle_query(now, CLIENT, &query);
        self.asked += 1;
        self.drain();
    }

    fn respond(&mut self, now: Instant, kind: u8, chunk: &[u8]) {
        let Some((attempt, query)) = self.attempts.get(usize::from(kind >> 2 & 7)) else { return };
        let attempt = *attempt;
        match kind & 3 {
            0 => self.server.handle_failure(now, attempt),
            1 => _ = self.server.handle_response(now, attempt, chunk),
            _ => {
                let response = response_to(query, chunk);
                self.server.handle_response(now, attempt, &response);
            }
        }
        self.server.handle_timeout(now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Reply { message, .. } => {
                    self.answered += 1;
                    check_reply(&message);
                }
                Output::Attempt(query) => self.attempts.push((query.attempt, query.message)),
                Output::Close(closed) => self.attempts.retain(|(attempt, _)| *attempt != closed),
            }
        }
    }
}

/// A response with the identifier and the question of `query`; `chunk` is the flags, the numbers of
/// records and the records.
fn response_to(query: &[u8], chunk: &[u8]) -> Vec<u8> {
    let mut head = [0; 8];
    let (given, records) = chunk.split_at(chunk.len().min(head.len()));
    head[..given.len()].copy_from_slice(given);
    let [flags, code, counts @ ..] = head;
    let question_len = dns::question_len(&query[HEADER..]);
    let question = &query[HEADER..HEADER + question_len];
    [&query[..2], &[flags | 0x80, code, 0, 1], &counts[..], question, records].concat()
}

fn check_reply(reply: &[u8]) {
    for address in dns::foreign_addresses(reply) {
        // A blocklist answers with other loopback addresses than that of this host.
        let is_own = address.is_loopback() && address <= std::net::Ipv4Addr::LOCALHOST;
        assert!(!address.is_private() && !is_own, "{address} came from upstream");
    }
}
