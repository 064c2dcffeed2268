//! Unguessable: an outsider cannot predict the identifiers and ports of DNS queries (RFC 5452, section 4.3; RFC 5452,
//! section 9.2), and the initial sequence numbers of the gateway's own TCP (RFC 6528; RFC 9293, MUST-9).
//!
//! The checker tests [`JUDGED`] values at a time. They must not be consecutive, repeat too often, or lie close
//! together. A sound gateway violates that less than once in 10^12 times.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use gatepost::config::Config;

use super::lan::Lan;
use super::recent::{Recent, WAIT_MAX};
use super::{Checker, Passage, Side, Way};
use crate::machine::internet::DNS_PORT;
use crate::packet::{Ipv4, Transport};

/// The number of values that the checker judges together.
const JUDGED: usize = 24;
/// The largest small step: 3 % of all steps of a random sequence are small.
const STEP_SMALL: u16 = 1_024;
/// The most small steps among [`JUDGED`] random values.
const STEPS_SMALL_MAX: usize = 15;
/// The least number of different values among random ones.
const DIFFERENT_MIN: usize = 12;
/// The least number of eighths of the range with random values in them.
const EIGHTHS_MIN: usize = 3;
/// The bits of a sequence number from bit 12 on, which neither a clock during a run nor a secret's number determines.
const SEQUENCE_SHIFT: u32 = 12;
/// Where the sequence number is in a TCP header.
const SEQUENCE_AT: usize = 4;
const REMEMBERED_MAX: usize = 1 << 12;

/// Judges the gateway's own packets.
pub struct Unguessable {
    /// The gateway's address on the LAN.
    lan: Lan,
    /// Packets of LAN hosts, which the gateway forwards.
    from_lan: Recent<u64, ()>,
    /// The initial sequence numbers seen, to recognise a retransmitted SYN.
    begun: Recent<(Ipv4Addr, u16, u32), ()>,
    identifiers: Values,
    ports: Values,
    sequences: Values,
}

impl Unguessable {
    /// For a gateway with `config`.
    pub fn new(config: &Config) -> Self {
        Self {
            lan: Lan::of(config),
            from_lan: Recent::new(WAIT_MAX, usize::MAX),
            begun: Recent::new(10 * WAIT_MAX, REMEMBERED_MAX),
            identifiers: Values::default(),
            ports: Values::default(),
            sequences: Values::default(),
        }
    }

    /// Whether a packet that leaves is the gateway's own.
    fn is_own(&self, side: Side, ip: &Ipv4) -> bool {
        match side {
            Side::Lan => self.lan.is_own(ip.source),
            Side::Wan => self.from_lan.alike(&ip.content).next().is_none(),
        }
    }

    fn judge(&mut self, passage: &Passage<'_>, ip: &Ipv4) -> Result<(), String> {
        match &ip.transport {
            Transport::Udp { source_port, destination_port: DNS_PORT, payload, .. }
                if passage.side == Side::Wan =>
            {
                self.ports.add(*source_port).map_err(|why| format!("the ports of DNS queries {why}"))?;
                let Some(identifier) = payload.first_chunk() else { return Ok(()) };
                let added = self.identifiers.add(u16::from_be_bytes(*identifier));
                added.map_err(|why| format!("the identifiers of DNS queries {why}"))
            }
            Transport::Tcp { destination_port, is_opening, is_accepting, .. }
                if *is_opening || *is_accepting =>
            {
                let Some(sequence) = sequence(ip) else { return Ok(()) };
                let begun = (ip.destination, *destination_port, sequence);
                if self.begun.alike(&begun).next().is_some() {
                    return Ok(());
                }
                self.begun.push(passage.now, begun, ());
                let [_, _, high, low] = (sequence >> SEQUENCE_SHIFT).to_be_bytes();
                let added = self.sequences.add(u16::from_be_bytes([high, low]));
                added.map_err(|why| format!("the initial sequence numbers, divided by 4096, {why}"))
            }
            _ => Ok(()),
        }
    }
}

/// The sequence number of a TCP segment.
fn sequence(ip: &Ipv4) -> Option<u32> {
    let header_len = usize::from(ip.beginning.first()? & 0x0f) * 4;
    let octets = ip.beginning.get(header_len + SEQUENCE_AT..)?.first_chunk()?;
    Some(u32::from_be_bytes(*octets))
}

/// Values to judge.
#[derive(Default)]
struct Values(Vec<u16>);

impl Values {
    /// Adds a value. Once there are enough, it says what is wrong with them.
    fn add(&mut self, value: u16) -> Result<(), String> {
        self.0.push(value);
        if self.0.len() < JUDGED {
            return Ok(());
        }
        let values = std::mem::take(&mut self.0);
        let step = |pair: &&[u16]| {
            let step = pair[1].wrapping_sub(pair[0]);
            step.min(step.wrapping_neg()) <= STEP_SMALL
        };
        let small = values.windows(2).filter(step).count();
        let count = |of: fn(&u16) -> u16| values.iter().map(of).collect::<BTreeSet<_>>().len();
        let (different, eighths) = (count(|value| *value), count(|value| value >> 13));
        if small > STEPS_SMALL_MAX {
            Err(format!("follow one another closely: {values:?}"))
        } else if different < DIFFERENT_MIN {
            Err(format!("are the same again and again: {values:?}"))
        } else if eighths < EIGHTHS_MIN {
            Err(format!("lie close together: {values:?}"))
        } else {
            Ok(())
        }
    }
}

impl Checker for Unguessable {
    fn name(&self) -> &'static str {
        "unguessable"
    }

    fn promise(&self) -> &'static str {
        "an outsider cannot predict the identifiers and ports of the gateway's DNS queries, and its initial sequence numbers"
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.follow(config);
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Passage { now, way, side, packet, .. } = *passage;
        let Some(ip) = packet.ipv4() else { return Ok(()) };
        if way == Way::Out {
            return if self.is_own(side, ip) { self.judge(passage, ip) } else { Ok(()) };
        }
        let is_like_own = matches!(
            ip.transport,
            Transport::Udp { destination_port: DNS_PORT, .. }
                | Transport::Tcp { is_opening: true, .. }
                | Transport::Tcp { is_accepting: true, .. }
        );
        if side == Side::Lan && is_like_own {
            self.from_lan.push(now, ip.content, ());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{config, numbered, packet, passage, segment, udp};
    use crate::packet::Content;

    /// Numbers that an outsider cannot guess.
    fn scattered(number: u32) -> u32 {
        number.wrapping_mul(0x9e37_79b9).rotate_left(15).wrapping_mul(0x85eb_ca6b)
    }

    /// Whether the checker reports DNS queries with these identifiers and ports.
    fn reported(number: impl Fn(u16) -> [u16; 2]) -> bool {
        let mut checker = Unguessable::new(&config());
        (0..100).any(|n| {
            let [identifier, port] = number(n);
            let query =
                packet("203.0.113.9", "198.18.53.1", udp(port, 53, identifier.to_be_bytes().to_vec()));
            checker.on_passage(&passage(1, Way::Out, Side::Wan, &query)).is_err()
        })
    }

    #[test]
    fn what_counts_up_stays_or_is_one_of_a_few_is_told() {
        let any = |n: u16, salt: u32| (scattered(u32::from(n) + salt) >> 16) as u16;
        assert!(!reported(|n| [any(n, 0), any(n, 1_000)]));
        assert!(reported(|n| [n, any(n, 1_000)]) && reported(|n| [any(n, 0), 5_353]));
        assert!(reported(|n| [any(n, 0), 65_000 - 7 * n]) && reported(|n| [any(n % 5, 0), any(n, 1_000)]));
        assert!(reported(|n| [any(n, 0) / 4, any(n, 1_000)]));
    }

    /// Whether the checker reports accepted connections with these initial sequence numbers.
    fn told_of_sequences(number: impl Fn(u16) -> u32) -> bool {
        let mut checker = Unguessable::new(&config());
        (0..100).any(|n| {
            let mut packet = packet("192.168.1.1", "192.168.1.9", segment(53, 4_000 + n, "SA"));
            let Content::Ipv4(ip) = &mut packet.content else { unreachable!("it is one") };
            ip.beginning = [&[0x45][..], &[0; 23], &number(n).to_be_bytes()].concat();
            let mut pass = || checker.on_passage(&passage(1, Way::Out, Side::Lan, &packet));
            // The SYN may be retransmitted.
            pass().and_then(|()| pass()).is_err()
        })
    }

    #[test]
    fn sequence_numbers_that_stay_or_go_with_a_clock_alone_are_told() {
        assert!(!told_of_sequences(|n| scattered(n.into())));
        assert!(told_of_sequences(|_| 1));
        assert!(told_of_sequences(|n| 250_000 * u32::from(n)));
    }

    #[test]
    fn what_a_lan_host_asks_is_its_own_affair() {
        let mut checker = Unguessable::new(&config());
        for n in 0..100 {
            let query = numbered(packet("192.168.1.9", "198.18.53.1", udp(7, 53, vec![0; 12])), n);
            checker.on_passage(&passage(1, Way::In, Side::Lan, &query)).unwrap();
            assert_eq!(checker.on_passage(&passage(1, Way::Out, Side::Wan, &query)), Ok(()));
        }
    }
}
