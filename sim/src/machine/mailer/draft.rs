//! A sender's message: marked, and with content that is hard to transmit.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use rand::RngExt;
use rand::rngs::StdRng;

use super::Address;
use crate::machine::post::{Letter, MARK};

/// The lines of most messages.
const LINES: RangeInclusive<usize> = 0..=60;
/// The octets of a line, at most.
const LINE_OCTETS_MAX: usize = 200;

/// A message that its sender has not got rid of.
pub struct Draft {
    pub mark: String,
    /// Its return path.
    pub from: String,
    /// As it goes over the wire, with the line that ends it.
    pub wire: Vec<u8>,
    /// The remaining recipients.
    pub to: Vec<&'static Address>,
    /// How often it was sent.
    pub tries: u32,
}

impl Draft {
    /// Writes a message of `sender`'s from that address to `to`, of at least so many octets.
    pub fn write(
        sender: &str,
        from: String,
        to: Vec<&'static Address>,
        octets_min: usize,
        rng: &mut StdRng,
    ) -> (Self, Letter) {
        let mark = format!("{MARK}{:016x}", rng.random::<u64>());
        let mut header = format!("From: <{from}>\r\nSubject: {mark}\r\n");
        for address in &to {
            _ = write!(header, "To: <{}>\r\n", address.address);
        }
        let mut body = String::new();
        let lines = rng.random_range(LINES);
        for _ in 0..lines {
            line(&mut body, rng);
        }
        while body.len() < octets_min {
            line(&mut body, rng);
        }
        let mut wire = format!("{header}\r\n").into_bytes();
        for line in body.split_inclusive("\r\n") {
            // RFC 5321, section 4.5.2
            wire.extend(line.starts_with('.').then_some(b'.'));
            wire.extend_from_slice(line.as_bytes());
        }
        wire.extend_from_slice(b".\r\n");
        let letter = Letter { sender: sender.to_owned(), header, body, ..Letter::default() };
        (Self { mark, from, wire, to, tries: 0 }, letter)
    }
}

/// Adds a line, many of which begin with a dot, or are one.
fn line(body: &mut String, rng: &mut StdRng) {
    match rng.random_range(0..8) {
        0 => body.push_str(".\r\n"),
        1 => body.push_str("..\r\n"),
        2 => body.push_str("\r\n"),
        kind => {
            if kind < 5 {
                body.push('.');
            }
            let len = rng.random_range(1..LINE_OCTETS_MAX);
            let letter = char::from(rng.random_range(b'!'..=b'~'));
            body.extend(std::iter::repeat_n(letter, len));
            body.push_str("\r\n");
        }
    }
}
