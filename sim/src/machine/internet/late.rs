//! A server that answers when it is told to: once and late, or again and again without hearing anything.
//! What it is asked is [`ask`]'s; every datagram of its carries the question's number.

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::Instant;
use smoltcp::socket::udp;
use smoltcp::wire::IpAddress;

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
    to: udp::UdpMetadata,
}

impl LateServer {
    /// Takes questions of customers from `socket`, and sends the answers that are due.
    pub fn serve(
        &mut self,
        socket: &mut udp::Socket<'_>,
        is_customer: impl Fn(Ipv4Addr) -> bool,
        now: Instant,
    ) {
        while let Ok((question, from)) = socket.recv() {
            let IpAddress::Ipv4(customer) = from.endpoint.addr;
            if is_customer(customer) && self.answers.len() < ANSWERS_MAX {
                self.answers.extend(read(question, from, now));
            }
        }
        self.answers.retain_mut(|answer| {
            if answer.due > now {
                return true;
            }
            answer.times_left -= 1;
            answer.due = now + answer.every;
            // No two answers are the same. A full queue is a lost datagram.
            let counted = [&answer.number[..], &answer.times_left.to_be_bytes()].concat();
            _ = socket.send_slice(&counted, answer.to);
            answer.times_left > 0
        });
    }

    /// When the next answer is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.answers.iter().map(|answer| answer.due).min()
    }
}

fn read(question: &[u8], to: udp::UdpMetadata, now: Instant) -> Option<Answer> {
    let question: &[u8; QUESTION_LEN] = question.try_into().ok()?;
    let word =
        |at: usize| u32::from_be_bytes([question[at], question[at + 1], question[at + 2], question[at + 3]]);
    let every = Duration::from_secs(u64::from(word(8)));
    let times_left = word(12);
    let number = *question.first_chunk()?;
    (times_left > 0).then_some(Answer { due: now + every, number, every, times_left, to })
}
