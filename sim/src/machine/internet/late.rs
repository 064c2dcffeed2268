//! A server that answers at the requested time: once and late, or repeatedly without further packets. Its requests are
//! those of [`ask`]; every answer carries the number of its request.

use std::net::SocketAddrV4;
use std::time::Duration;

use gatepost_ground::Instant;
use ipnet::Ipv4Net;

use super::server::{Datagram, Server, Wire};

/// Questions are asked here.
pub const LATE_PORT: u16 = 9_000;
/// Answers that wait at a time; further questions get none.
const ANSWERS_MAX: usize = 4_096;
const QUESTION_LEN: usize = 16;

/// A question with a number: to be answered every `every_secs` from then on, `times` times.
pub fn ask(number: u64, every_secs: u32, times: u32) -> [u8; QUESTION_LEN] {
    let mut question = [0; QUESTION_LEN];
    question[..8].copy_from_slice(&number.to_be_bytes());
    question[8..12].copy_from_slice(&every_secs.to_be_bytes());
    question[12..].copy_from_slice(&times.to_be_bytes());
    question
}

/// Questions that are not answered yet.
#[derive(Default)]
pub struct LateServer {
    answers: Vec<Answer>,
}

struct Answer {
    due: Instant,
    number: [u8; 8],
    every: Duration,
    times_left: u32,
    /// The server's address and port.
    from: SocketAddrV4,
    to: SocketAddrV4,
}

impl Server for LateServer {
    fn poll(&mut self, now: Instant, wire: &mut Wire<'_>) {
        while let Some(question) = wire.receive() {
            if wire.is_customer(*question.from.ip()) && self.answers.len() < ANSWERS_MAX {
                self.answers.extend(read(&question, now));
            }
        }
        self.answers.retain_mut(|answer| {
            if answer.due > now {
                return true;
            }
            answer.times_left -= 1;
            answer.due = now + answer.every;
            // No two answers are the same.
            let counted = [&answer.number[..], &answer.times_left.to_be_bytes()].concat();
            wire.send(answer.from, answer.to, &counted);
            answer.times_left > 0
        });
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.answers.iter().map(|answer| answer.due).min()
    }

    fn on_switched_off(&mut self) {
        self.answers.clear();
    }

    fn on_renumber(&mut self, _network: Ipv4Net) {
        self.answers.clear();
    }
}

fn read(question: &Datagram, now: Instant) -> Option<Answer> {
    let Datagram { from, to, payload } = question;
    let question: &[u8; QUESTION_LEN] = payload.as_slice().try_into().ok()?;
    let word =
        |at: usize| u32::from_be_bytes([question[at], question[at + 1], question[at + 2], question[at + 3]]);
    let every = Duration::from_secs(u64::from(word(8)));
    let times_left = word(12);
    let number = *question.first_chunk()?;
    let answer = Answer { due: now + every, number, every, times_left, from: *to, to: *from };
    (times_left > 0).then_some(answer)
}
