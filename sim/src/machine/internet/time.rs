//! A time server, good or bad. Its packets are made and read octet by octet here.

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::time::Duration;

use gatepost_ground::Instant;

use super::server::{Server, Wire};
use crate::world::clock::time_of_day;

/// RFC 5905, section 7.2
pub const TIME_PORT: u16 = 123;
/// The octets of a header.
const PACKET_LEN: usize = 48;
/// The seconds from 1900 to 1970.
const UNIX_EPOCH_SECS: u64 = 2_208_988_800;
/// The largest number of delayed answers; further requests get none.
const ANSWERS_MAX: usize = 64;
/// The error of a forged time.
const FORGED_MILLIS: i64 = 77_000;
/// The root dispersion of the server, in units of 2^-16 s: about 1 ms.
const DISPERSION: u32 = 66;
const STRATUM: u8 = 2;

/// The behaviour of a time server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeMood {
    /// The error of its time in milliseconds, which its root dispersion does not include.
    pub wrong_millis: i64,
    /// The additional delay of answers.
    pub slow_back: Duration,
    /// Whether an off-path attacker sends a forged answer before the right one.
    pub is_forged: bool,
    /// When it stops answering.
    pub silent_from: Option<Instant>,
}

/// A time server.
pub struct TimeServer {
    mood: TimeMood,
    answers: VecDeque<(Instant, SocketAddrV4, SocketAddrV4, Vec<u8>)>,
}

impl TimeServer {
    /// A server with this behaviour until all faults end.
    pub fn new(mood: TimeMood) -> Self {
        Self { mood, answers: VecDeque::new() }
    }
}

impl Server for TimeServer {
    fn poll(&mut self, now: Instant, wire: &mut Wire<'_>) {
        let TimeMood { wrong_millis, slow_back, is_forged, silent_from } = self.mood;
        while let Some(question) = wire.receive() {
            let is_silent = silent_from.is_some_and(|from| from <= now);
            let is_question = question.payload.len() >= PACKET_LEN && question.payload[0] & 7 == 3;
            if !is_question || is_silent || self.answers.len() >= ANSWERS_MAX {
                continue;
            }
            let packet = answer(now, wrong_millis, &question.payload[40..48]);
            if is_forged {
                let forged = answer(now, FORGED_MILLIS, b"guessed!");
                wire.send(question.to, question.from, &forged);
            }
            self.answers.push_back((now + slow_back, question.to, question.from, packet));
        }
        while let Some((_, from, to, packet)) = self.answers.pop_front_if(|(due, ..)| *due <= now) {
            wire.send(from, to, &packet);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.answers.front().map(|(due, ..)| *due)
    }

    fn on_switched_off(&mut self) {
        self.answers.clear();
    }

    fn calm(&mut self) {
        self.mood.silent_from = None;
    }
}

/// An answer of a clock that is so far ahead, to the request with this transmit timestamp.
fn answer(now: Instant, ahead_millis: i64, asked: &[u8]) -> Vec<u8> {
    let micros = i128::from(now.as_micros()) + i128::from(ahead_millis) * 1_000;
    let (secs, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let began = time_of_day(Instant::ZERO).0 + UNIX_EPOCH_SECS;
    let secs = began.wrapping_add_signed(i64::try_from(secs).unwrap_or(0));
    let fraction = (u64::try_from(micros).unwrap_or(0) << 32) / 1_000_000;
    let time = (secs << 32 | fraction).to_be_bytes();
    let mut packet = vec![0; PACKET_LEN];
    // Version 4, mode 4, and a precision of 2^-20 s.
    (packet[0], packet[1], packet[2], packet[3]) = (0x24, STRATUM, 6, 0xec);
    packet[8..12].copy_from_slice(&DISPERSION.to_be_bytes());
    packet[12..16].copy_from_slice(&[127, 0, 0, 1]);
    packet[16..24].copy_from_slice(&time);
    packet[24..32].copy_from_slice(asked);
    packet[32..40].copy_from_slice(&time);
    packet[40..48].copy_from_slice(&time);
    packet
}
