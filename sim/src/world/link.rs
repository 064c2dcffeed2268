//! A cable with its faults.
//!
//! ```
//! use gatepost_sim::scenario::office;
//! use gatepost_sim::world::link::{loss, perfect};
//!
//! // One frame in a hundred is lost on the LAN; the WAN has 8 Mbit/s, 20 ms and a queue of 50 frames.
//! let slow = office()
//!     .link("lan", loss(0.01).jitter_ms(2))
//!     .link("wan", perfect().rate(8_000, 50).delay_ms(20));
//! # let _ = slow;
//! ```
//!
use std::time::Duration;

use crate::mistake::Mistake;

/// Every link carries packets of so many octets. (RFC 791, section 3.2)
const MTU_MIN: u16 = 68;

/// The faults of a cable. Probabilities are 0 to 1, per frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    pub(super) loss: f64,
    pub(super) burst: Burst,
    pub(super) duplicate: f64,
    pub(super) reorder: f64,
    pub(super) corrupt: f64,
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
    pub(super) rates: Rates,
    pub(super) mtu: Option<u16>,
    pub(super) priority_tags: bool,
    pub(super) loses: Option<LostKind>,
    cut: Cut,
    mistake: Option<Mistake>,
}

/// Losses in a row. // Gilbert's model
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Burst {
    pub(super) begins: f64,
    pub(super) ends: f64,
}

/// The rates of the two directions of a cable; `None`: unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rates {
    outward: Option<Rate>,
    inward: Option<Rate>,
}

/// Packets that a provider's network loses, all of a kind, while it carries the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostKind {
    /// Every fragment of UDP datagrams.
    UdpFragments,
    /// ICMP, errors and echoes.
    Icmp,
    /// The openings of connections to port 25.
    SmtpOpenings,
}

impl LostKind {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::UdpFragments, Self::Icmp, Self::SmtpOpenings];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) kbits_per_sec: u32,
    pub(super) queue_frames: usize,
}

/// Which directions of a cable carry nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cut {
    outward: bool,
    inward: bool,
}

/// The two directions of a cable, as its machine sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Away from the machine.
    Outward,
    /// Towards it.
    Inward,
}

/// A cable without faults and without delay of its own.
pub fn perfect() -> Link {
    Link {
        loss: 0.0,
        burst: Burst::default(),
        duplicate: 0.0,
        reorder: 0.0,
        corrupt: 0.0,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        rates: Rates::default(),
        mtu: None,
        priority_tags: false,
        loses: None,
        cut: Cut::default(),
        mistake: None,
    }
}

/// A cable that loses frames at random.
#[track_caller]
pub fn loss(probability: f64) -> Link {
    perfect().loss(probability)
}

/// A cable that is cut through.
pub fn cut() -> Link {
    Link { cut: Cut { outward: true, inward: true }, ..perfect() }
}

impl Link {
    /// Loses each frame with this probability.
    #[track_caller]
    pub fn loss(self, probability: f64) -> Self {
        Self { loss: probability, ..self.with_probability(probability) }
    }

    /// Loses frames in a row: a row begins with probability `begins` and has `frames_mean` (at least 1).
    #[track_caller]
    pub fn loss_in_bursts(self, begins: f64, frames_mean: f64) -> Self {
        let burst = Burst { begins, ends: 1.0 / frames_mean };
        let told = || format!("a row of {frames_mean} frames is none; write 1 or more");
        Self { burst, ..self.with_probability(begins).unless(frames_mean >= 1.0, told) }
    }

    /// Delivers frames twice.
    #[track_caller]
    pub fn duplicate(self, probability: f64) -> Self {
        Self { duplicate: probability, ..self.with_probability(probability) }
    }

    /// Lets frames be overtaken by up to 20 ms of later ones.
    #[track_caller]
    pub fn reorder(self, probability: f64) -> Self {
        Self { reorder: probability, ..self.with_probability(probability) }
    }

    /// Inverts one bit of a frame, which the frame check sequence does not notice.
    #[track_caller]
    pub fn corrupt(self, probability: f64) -> Self {
        Self { corrupt: probability, ..self.with_probability(probability) }
    }

    /// Delays every frame by so many milliseconds.
    pub fn delay_ms(self, millis: u64) -> Self {
        Self { delay: Duration::from_millis(millis), ..self }
    }

    /// Delays frames by up to so many more milliseconds; their order stays.
    pub fn jitter_ms(self, millis: u64) -> Self {
        Self { jitter: Duration::from_millis(millis), ..self }
    }

    /// Carries so much in either direction, in 1,000 bits a second, and keeps so many frames waiting.
    #[track_caller]
    pub fn rate(self, kbits_per_sec: u32, queue_frames: usize) -> Self {
        self.rates(kbits_per_sec, kbits_per_sec, queue_frames)
    }

    /// Carries so much towards the machine and so much away from it, as ADSL does, in 1,000 bits a second, and keeps so
    /// many frames waiting for each.
    #[track_caller]
    pub fn rates(self, inward_kbits: u32, outward_kbits: u32, queue_frames: usize) -> Self {
        let told = || "nothing passes a cable of rate 0 or without a queue; write cut()".to_owned();
        let link = self.unless(inward_kbits > 0 && outward_kbits > 0 && queue_frames > 0, told);
        let rate = |kbits_per_sec| Some(Rate { kbits_per_sec, queue_frames });
        Self { rates: Rates { outward: rate(outward_kbits), inward: rate(inward_kbits) }, ..link }
    }

    /// Loses all packets of a kind, in both directions.
    pub fn losing(self, kind: LostKind) -> Self {
        Self { loses: Some(kind), ..self }
    }

    /// Drops frames whose packet has more octets.
    #[track_caller]
    pub fn mtu(self, octets: u16) -> Self {
        let told = || format!("no link has an MTU of {octets}; write {MTU_MIN} or more");
        Self { mtu: Some(octets), ..self.unless(octets >= MTU_MIN, told) }
    }

    /// Takes no longer packets than that, whatever else is wrong with it.
    pub fn within_mtu(self, octets: u16) -> Self {
        Self { mtu: Some(self.mtu.map_or(octets, |mtu| mtu.min(octets))), ..self }
    }

    /// Gives frames on their way to the machine a tag of VLAN 0, as switches with priorities do. (IEEE 802.1Q)
    pub fn priority_tagged(self) -> Self {
        Self { priority_tags: true, ..self }
    }

    /// Carries nothing in one direction.
    pub fn cut_one_way(mut self, direction: Direction) -> Self {
        match direction {
            Direction::Outward => self.cut.outward = true,
            Direction::Inward => self.cut.inward = true,
        }
        self
    }

    /// Whether frames can arrive with wrong bits.
    pub fn corrupts(&self) -> bool {
        self.corrupt > 0.0
    }

    /// The first thing that cannot be.
    pub fn mistake(&self) -> Option<&Mistake> {
        self.mistake.as_ref()
    }

    #[track_caller]
    fn with_probability(self, probability: f64) -> Self {
        let told = || format!("{probability} is no probability; write 0.0 to 1.0");
        self.unless((0.0..=1.0).contains(&probability), told)
    }

    /// Notes a mistake of the line that calls unless it `can_be`.
    #[track_caller]
    fn unless(mut self, can_be: bool, told: impl FnOnce() -> String) -> Self {
        if !can_be && self.mistake.is_none() {
            self.mistake = Some(Mistake::here(told()));
        }
        self
    }

    /// The rate of `direction`.
    pub(super) fn rate_of(&self, direction: Direction) -> Option<Rate> {
        match direction {
            Direction::Outward => self.rates.outward,
            Direction::Inward => self.rates.inward,
        }
    }

    /// Whether nothing passes in `direction`.
    pub(super) fn is_cut(&self, direction: Direction) -> bool {
        match direction {
            Direction::Outward => self.cut.outward,
            Direction::Inward => self.cut.inward,
        }
    }
}
