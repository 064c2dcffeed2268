//! A cable in use: the frames in it, and their fates.
//!
//! # Theory of operation
//!
//! A [`Link`] defines the faults; a [`Pipe`] is one direction of one machine's cable and applies them to frames. A
//! pushed frame is lost, or waits in the pipe until it is due, once or (duplicated) twice. The pipe has a random
//! generator of its own, seeded from the run's seed and the pipe's name, so that one link's traffic does not change
//! another's faults.
//!
//! The order is preserved, with jitter or without, except for frames that reordering selects. A pipe with a rate sends
//! one frame after the other, and drops frames if its queue is full.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::ops::Range;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use siphasher::sip::SipHasher13;

use super::link::{Burst, Direction, Link, LostKind};

/// The most frames that one direction of a cable holds at a time.
pub const WAITING_MAX: usize = 8192;
/// Octets of an Ethernet header, which the MTU does not count.
const ETHERNET_HEADER_LEN: usize = 14;
/// Octets of an Ethernet header before its EtherType.
const MAC_ADDRESSES_LEN: usize = 12;
/// A VLAN tag of priority 5 and VLAN 0. (IEEE 802.1Q)
const PRIORITY_TAG: [u8; 4] = [0x81, 0, 0xa0, 0];

/// The fates of the frames pushed into a pipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PipeCounters {
    /// Pushed.
    pub pushed: u64,
    /// Lost, in whatever way.
    pub lost: u64,
    /// Delivered a second time.
    pub duplicated: u64,
    /// Delivered with a wrong bit.
    pub corrupted: u64,
}

/// One direction of a cable, with the frames in it.
#[derive(Debug)]
pub struct Pipe {
    link: Link,
    direction: Direction,
    rng: StdRng,
    in_burst: bool,
    /// When the frame before has left.
    free_at: Instant,
    /// When the latest frame that keeps its order is due.
    last_due: Instant,
    /// In the order they are due, and in which they entered.
    waiting: BTreeMap<(Instant, u64), Vec<u8>>,
    entered: u64,
    counters: PipeCounters,
}

/// How much later a frame is that reordering picks, in microseconds.
const REORDER_MICROS: Range<u64> = 1_000..20_000;

impl Pipe {
    /// An empty pipe in `direction` of the cable called `name`.
    pub fn new(link: Link, direction: Direction, seed: u64, name: &str) -> Self {
        let mut hasher = SipHasher13::new_with_keys(seed, direction as u64);
        hasher.write(name.as_bytes());
        Self {
            link,
            direction,
            rng: StdRng::seed_from_u64(hasher.finish()),
            in_burst: false,
            free_at: Instant::ZERO,
            last_due: Instant::ZERO,
            waiting: BTreeMap::new(),
            entered: 0,
            counters: PipeCounters::default(),
        }
    }

    /// Replaces the cable; frames in the pipe stay.
    pub fn set_link(&mut self, link: Link) {
        self.link = link;
        self.in_burst = false;
    }

    /// The counters.
    pub fn counters(&self) -> PipeCounters {
        self.counters
    }

    /// Puts a frame in at `now`.
    pub fn push(&mut self, now: Instant, mut frame: Vec<u8>) {
        self.counters.pushed += 1;
        if self.loses(&frame) {
            self.counters.lost += 1;
            return;
        }
        let Some(due) = self.due(now, frame.len()) else {
            self.counters.lost += 1;
            return;
        };
        if self.link.priority_tags && self.direction == Direction::Inward && frame.len() >= MAC_ADDRESSES_LEN
        {
            frame.splice(MAC_ADDRESSES_LEN..MAC_ADDRESSES_LEN, PRIORITY_TAG);
        }
        if self.rolls(self.link.corrupt) && !frame.is_empty() {
            let bit = self.rng.random_range(0..frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
            self.counters.corrupted += 1;
        }
        if self.rolls(self.link.duplicate) {
            self.counters.duplicated += 1;
            self.enter(due, frame.clone());
        }
        self.enter(due, frame);
    }

    /// Takes out the next frame that is due.
    pub fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        let entry = self.waiting.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// When the next frame is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((due, _), _)| *due)
    }

    fn loses(&mut self, frame: &[u8]) -> bool {
        let Burst { begins, ends } = self.link.burst;
        self.in_burst = if self.in_burst { !self.rolls(ends) } else { self.rolls(begins) };
        let is_too_long =
            self.link.mtu.is_some_and(|mtu| frame.len() > usize::from(mtu) + ETHERNET_HEADER_LEN);
        let is_of_lost_kind = self.link.loses.is_some_and(|kind| is_of_kind(kind, frame));
        let is_cut = self.link.is_cut(self.direction);
        self.in_burst || self.rolls(self.link.loss) || is_too_long || is_of_lost_kind || is_cut
    }

    /// When a frame that enters now comes out; `None` if the queue is full.
    fn due(&mut self, now: Instant, len: usize) -> Option<Instant> {
        let queue_frames =
            self.link.rate_of(self.direction).map_or(WAITING_MAX, |rate| rate.queue_frames.min(WAITING_MAX));
        if self.waiting.len() >= queue_frames {
            return None;
        }
        let mut sent = now;
        if let Some(rate) = self.link.rate_of(self.direction) {
            let bits = 8 * len as u64;
            let micros = bits * 1_000 / u64::from(rate.kbits_per_sec);
            self.free_at = self.free_at.max(now) + Duration::from_micros(micros);
            sent = self.free_at;
        }
        let jitter_micros = u64::try_from(self.link.jitter.as_micros()).unwrap_or(u64::MAX);
        let jitter = match jitter_micros {
            0 => 0,
            most => self.rng.random_range(0..=most),
        };
        let due = sent + self.link.delay + Duration::from_micros(jitter);
        if self.rolls(self.link.reorder) {
            return Some(due + Duration::from_micros(self.rng.random_range(REORDER_MICROS)));
        }
        self.last_due = self.last_due.max(due);
        Some(self.last_due)
    }

    fn enter(&mut self, due: Instant, frame: Vec<u8>) {
        self.entered += 1;
        self.waiting.insert((due, self.entered), frame);
    }

    /// Draws nothing where there is nothing to decide.
    fn rolls(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.random_bool(probability)
    }
}

/// Whether a frame without tags is an IPv4 packet of this kind.
fn is_of_kind(kind: LostKind, frame: &[u8]) -> bool {
    const IPV4: [u8; 2] = [8, 0];
    const FRAGMENT_OFFSET_AND_MORE: u16 = 0x3fff;
    const SYN_AND_ACK: u8 = 0x12;
    const SYN: u8 = 0x02;
    const SMTP: u16 = 25;
    let word = |at: usize| Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?));
    let ip = ETHERNET_HEADER_LEN;
    if frame.get(MAC_ADDRESSES_LEN..ip) != Some(&IPV4) {
        return false;
    }
    let (Some(first), Some(protocol)) = (frame.get(ip), frame.get(ip + 9)) else { return false };
    let transport = ip + 4 * usize::from(first & 0x0f);
    let is_fragment = word(ip + 6).is_some_and(|word| word & FRAGMENT_OFFSET_AND_MORE != 0);
    match (kind, protocol) {
        (LostKind::UdpFragments, 17) => is_fragment,
        (LostKind::Icmp, 1) => true,
        (LostKind::SmtpOpenings, 6) => {
            let is_opening = frame.get(transport + 13).is_some_and(|flags| flags & SYN_AND_ACK == SYN);
            is_opening && !is_fragment && word(transport + 2) == Some(SMTP)
        }
        _ => false,
    }
}

/// A machine's network card: both directions of its cable.
#[derive(Debug)]
pub struct Nic {
    /// From the machine to the segment.
    pub outward: Pipe,
    /// From the segment to the machine.
    pub inward: Pipe,
}

impl Nic {
    /// The card of the machine called `name`.
    pub fn new(link: &Link, seed: u64, name: &str) -> Self {
        let pipe = |direction| Pipe::new(link.clone(), direction, seed, name);
        Self { outward: pipe(Direction::Outward), inward: pipe(Direction::Inward) }
    }

    /// Goes over to another cable.
    pub fn set_link(&mut self, link: &Link) {
        self.outward.set_link(link.clone());
        self.inward.set_link(link.clone());
    }

    /// Drops the frames in both directions, as a card without power does.
    pub fn clear(&mut self) {
        self.outward.waiting.clear();
        self.inward.waiting.clear();
    }

    /// When either direction has something due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.outward.poll_timeout().into_iter().chain(self.inward.poll_timeout()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::link::{cut, loss, perfect};

    fn pipe(link: Link) -> Pipe {
        Pipe::new(link, Direction::Outward, 7, "cable")
    }

    /// Pushes `count` numbered frames at once, and returns the output with its times.
    fn pass(pipe: &mut Pipe, count: u16) -> Vec<(Instant, u16)> {
        for number in 0..count {
            pipe.push(Instant::ZERO, number.to_be_bytes().to_vec());
        }
        let mut out = Vec::new();
        while let Some(due) = pipe.poll_timeout() {
            if due > Instant::ZERO {
                assert_eq!(pipe.pop(due - Duration::from_micros(1)), None);
            }
            let frame = pipe.pop(due).expect("it is due");
            out.push((due, u16::from_be_bytes(frame.try_into().expect("two octets"))));
        }
        out
    }

    fn numbers(passed: &[(Instant, u16)]) -> Vec<u16> {
        passed.iter().map(|(_, number)| *number).collect()
    }

    #[test]
    fn a_cable_with_priorities_tags_what_the_machine_gets() {
        let frame: Vec<u8> = (0..20).collect();
        let tagged = [&frame[..12], &PRIORITY_TAG, &frame[12..]].concat();
        for (direction, expected) in [(Direction::Outward, &frame), (Direction::Inward, &tagged)] {
            let mut pipe = Pipe::new(perfect().priority_tagged(), direction, 7, "cable");
            pipe.push(Instant::ZERO, frame.clone());
            assert_eq!(pipe.pop(Instant::ZERO).as_ref(), Some(expected));
        }
    }

    #[test]
    fn a_perfect_cable_delivers_everything_at_once_in_order() {
        let passed = pass(&mut pipe(perfect()), 100);
        assert_eq!(numbers(&passed), (0..100).collect::<Vec<_>>());
        assert!(passed.iter().all(|(due, _)| *due == Instant::ZERO));
    }

    #[test]
    fn loss_is_about_what_was_asked_for_and_counted() {
        let mut pipe = pipe(loss(0.2));
        let passed = pass(&mut pipe, 5_000);
        assert!((3_800..4_200).contains(&passed.len()), "{}", passed.len());
        assert_eq!(pipe.counters().lost as usize + passed.len(), 5_000);
    }

    #[test]
    fn bursts_lose_frames_in_a_row() {
        let passed = numbers(&pass(&mut pipe(perfect().loss_in_bursts(0.01, 20.0)), 5_000));
        let gaps: Vec<_> = passed.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > 1).collect();
        assert!(gaps.iter().any(|gap| *gap > 10), "{gaps:?}");
        assert!(passed.len() > 3_500, "{}", passed.len());
    }

    #[test]
    fn a_new_cable_ends_a_burst() {
        let mut pipe = pipe(perfect().loss_in_bursts(1.0, 1e9));
        assert!(pass(&mut pipe, 3).is_empty());
        pipe.set_link(perfect());
        assert_eq!(pass(&mut pipe, 3).len(), 3);
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let passed = pass(&mut pipe(perfect().delay_ms(5).jitter_ms(10)), 1_000);
        assert_eq!(numbers(&passed), (0..1_000).collect::<Vec<_>>());
        assert!(passed.iter().all(|(due, _)| (5..=15).contains(&due.as_millis())));
        let passed = numbers(&pass(&mut pipe(perfect().reorder(0.1)), 1_000));
        assert!(!passed.is_sorted());
        assert_eq!(passed.len(), 1_000);
    }

    #[test]
    fn duplication_and_corruption_are_counted() {
        let mut pipe = pipe(perfect().duplicate(0.5).corrupt(0.5));
        let passed = pass(&mut pipe, 1_000);
        assert_eq!(passed.len() as u64, 1_000 + pipe.counters().duplicated);
        assert!((400..600).contains(&pipe.counters().corrupted));
    }

    #[test]
    fn a_rate_spaces_frames_and_its_queue_is_bounded() {
        // 2 octets at 16 kbit/s are 1 ms.
        let mut pipe = pipe(perfect().rate(16, 10));
        let passed = pass(&mut pipe, 12);
        let millis: Vec<_> = passed.iter().map(|(due, _)| due.as_millis()).collect();
        assert_eq!(millis, (1..=10).collect::<Vec<_>>());
        assert_eq!(pipe.counters().lost, 2);
    }

    #[test]
    fn the_two_directions_can_have_rates_of_their_own() {
        let last_millis = |direction| {
            let mut pipe = Pipe::new(perfect().rates(16, 4, 10), direction, 7, "cable");
            pass(&mut pipe, 3).last().map(|(due, _)| due.as_millis())
        };
        assert_eq!(last_millis(Direction::Inward), Some(3));
        assert_eq!(last_millis(Direction::Outward), Some(12));
    }

    #[test]
    fn a_provider_loses_packets_of_a_kind_and_no_others() {
        let ip = || etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([9; 4], [8; 4], 64);
        let frame = |write: &dyn Fn(&mut Vec<u8>) -> Result<(), etherparse::err::packet::BuildWriteError>| {
            let mut frame = Vec::new();
            write(&mut frame).expect("a vector takes everything");
            frame
        };
        let datagram = frame(&|to| ip().udp(1, 25).write(to, b"x"));
        let mut fragment = datagram.clone();
        fragment[20] = 0x20;
        let ping = frame(&|to| ip().icmpv4_echo_request(1, 1).write(to, b"x"));
        let opening = frame(&|to| ip().tcp(1, 25, 1, 1).syn().write(to, &[]));
        let answer = frame(&|to| ip().tcp(1, 25, 1, 1).syn().ack(2).write(to, &[]));
        let elsewhere = frame(&|to| ip().tcp(1, 80, 1, 1).syn().write(to, &[]));
        let all = [&datagram, &fragment, &ping, &opening, &answer, &elsewhere, &vec![0; 14], &vec![]];
        for (kind, lost) in
            [(LostKind::UdpFragments, &fragment), (LostKind::Icmp, &ping), (LostKind::SmtpOpenings, &opening)]
        {
            let mut pipe = pipe(perfect().losing(kind));
            all.iter().for_each(|frame| pipe.push(Instant::ZERO, (*frame).clone()));
            let passed: Vec<_> = std::iter::from_fn(|| pipe.pop(Instant::ZERO)).collect();
            let expected: Vec<_> =
                all.iter().filter(|frame| **frame != lost).map(|it| (*it).clone()).collect();
            assert_eq!(passed, expected, "{kind:?}");
        }
    }

    #[test]
    fn cables_are_cut_one_way_or_both_and_long_frames_do_not_pass() {
        assert!(pass(&mut pipe(cut()), 3).is_empty());
        assert!(pass(&mut pipe(perfect().cut_one_way(Direction::Outward)), 3).is_empty());
        assert_eq!(pass(&mut pipe(perfect().cut_one_way(Direction::Inward)), 3).len(), 3);
        let mut pipe = pipe(perfect().mtu(100));
        pipe.push(Instant::ZERO, vec![0; 114]);
        pipe.push(Instant::ZERO, vec![0; 115]);
        assert_eq!(pipe.counters().lost, 1);
    }

    #[test]
    fn one_seed_and_name_is_one_fate() {
        let fate = |name| {
            let link = loss(0.3).jitter_ms(9).duplicate(0.1);
            pass(&mut Pipe::new(link, Direction::Outward, 1, name), 200)
        };
        assert_eq!(fate("a"), fate("a"));
        assert_ne!(fate("a"), fate("b"));
    }
}
