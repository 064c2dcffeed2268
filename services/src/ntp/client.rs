//! The time client's state machine: it asks sources, finds out which of them agree, and follows these. (RFC 5905)
//!
//! | module        | what it has                                                                              |
//! |---------------|------------------------------------------------------------------------------------------|
//! | [`association`]| one source: when it is asked, which answers count                                       |
//! | [`sample`]    | what an exchange shows, and the filter of a source's samples                             |
//! | [`selection`] | which sources agree, and on what                                                         |
//! | [`course`]    | the time that is told: its rate, its error, how it goes over to what was measured        |
//!
//! It is a client with a selection of sources and a rate, without RFC 5905's phase-locked loop (section 12): nothing
//! but the time that is told is corrected, which a computation does without the delay of a loop. Steady time is never
//! corrected, so that all measurements stay comparable. The kernel's clock is not set.
//!
//! What is told has an error that holds if a majority of the sources is right within what they say of themselves, and
//! if the oscillator is within 500 ppm and changes by no more than 15 ppm: half of the time on the way to the root and
//! back, the dispersions, by how much the rate may be wrong since the latest measurement, and what is still to be
//! slewed.

pub mod association;
pub mod course;
pub mod sample;
pub mod selection;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use gatepost_ground::Instant;
use rand::Rng;

use super::codec::HEADER_LEN;
use super::stats::Stats;
use crate::clock::WallTime;
use association::{Association, Outcome, POLL_MAX, POLL_MIN};
use course::{Change, Course, Follower, Measurement};
use sample::{Nanos, SECOND, nanos};
use selection::Candidate;

/// The sources at most.
pub const SOURCES_MAX: usize = 4;

/// The poll interval grows while the error grows by no more than this in the next longer one, in nanoseconds.
const GROWTH_MAX: Nanos = 25_000_000;

/// The answers, for each source, after which it grows.
const STEADY_ANSWERS: usize = 8;

/// The machine's clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Monotonic time.
    pub now: Instant,
    /// Steady time, see [`Clock::steady_time`](crate::clock::Clock::steady_time).
    pub steady: Duration,
    /// The kernel's time of day.
    pub kernel: WallTime,
}

impl Reading {
    /// By how much the kernel's time is ahead of steady time.
    pub fn kernel_offset(&self) -> Nanos {
        Nanos::from(self.kernel.secs.0) * SECOND + Nanos::from(self.kernel.nanos) - nanos(self.steady)
    }
}

/// A request to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The source.
    pub to: IpAddr,
    /// The datagram.
    pub octets: [u8; HEADER_LEN],
}

/// How many sources there are, and how many of them agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreeing {
    /// The sources that are asked.
    pub sources: usize,
    /// Those that answer and may be right.
    pub fit: usize,
    /// Those that agree.
    pub agree: usize,
}

impl fmt::Display for Agreeing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sources, fit, agree } = self;
        match (fit, agree) {
            (0, _) => write!(f, "none of {sources} sources answers"),
            (_, 0) => write!(f, "{fit} of {sources} sources answer, and no majority agrees"),
            _ => write!(f, "{agree} of {sources} sources agree"),
        }
    }
}

/// The time client.
#[derive(Debug)]
pub struct Client {
    associations: Vec<Association>,
    /// The gateway's addresses: a source that names one of them as its own source is a loop.
    own_addresses: Vec<Ipv4Addr>,
    follower: Follower,
    /// The source that stands for all.
    peer: Option<IpAddr>,
    agreeing: Agreeing,
    /// Whether silent sources were asked once more because a minority answered first.
    has_asked_again: bool,
    /// The exponent of the poll interval.
    poll: u8,
    /// Answers since it was last changed.
    steady_answers: usize,
    stats: Stats,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            associations: Vec::new(),
            own_addresses: Vec::new(),
            follower: Follower::default(),
            peer: None,
            agreeing: Agreeing::default(),
            has_asked_again: false,
            poll: POLL_MIN,
            steady_answers: 0,
            stats: Stats::default(),
        }
    }
}

impl Client {
    /// Asks the first [`SOURCES_MAX`] of `addresses` from now on. What is known of those that stay is kept.
    pub fn set_sources(&mut self, now: Instant, addresses: &[IpAddr]) {
        let mut sources: Vec<Association> = Vec::new();
        for address in addresses {
            if sources.len() < SOURCES_MAX && !sources.iter().any(|source| source.address() == *address) {
                let known = self.associations.iter().find(|source| source.address() == *address);
                sources.push(known.cloned().unwrap_or_else(|| Association::new(*address, now)));
            }
        }
        self.agreeing.sources = sources.len();
        self.associations = sources;
    }

    /// Refuses sources that follow a server at one of `addresses`, which are this gateway's.
    pub fn set_own_addresses(&mut self, addresses: Vec<Ipv4Addr>) {
        self.own_addresses = addresses;
    }

    /// Asks all sources soon, as when the line to them is there again.
    pub fn hurry(&mut self, now: Instant) {
        self.associations.iter_mut().for_each(|source| source.hurry(now));
    }

    /// Forgets all measurements, as when somebody else has kept the clock meanwhile, and asks anew.
    pub fn restart(&mut self, now: Instant) {
        (self.follower, self.peer, self.poll) = (Follower::default(), None, POLL_MIN);
        self.agreeing = Agreeing { sources: self.associations.len(), ..Agreeing::default() };
        self.has_asked_again = false;
        self.associations.iter_mut().for_each(|source| source.restart(now));
    }

    /// When the next source is to be asked.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.associations.iter().filter_map(Association::poll_timeout).min()
    }

    /// The requests that are due.
    pub fn handle_timeout(&mut self, reading: &Reading, rng: &mut impl Rng) -> Vec<Request> {
        let is_due = |source: &&mut Association| source.poll_timeout().is_some_and(|due| due <= reading.now);
        let poll = self.poll;
        let request = |source: &mut Association| {
            let octets = source.request(reading, poll, rng);
            Request { to: source.address(), octets }
        };
        let due: Vec<_> = self.associations.iter_mut().filter(is_due).map(request).collect();
        self.stats.source_requests += due.len() as u64;
        if !due.is_empty() {
            self.agreeing = self.agreement(reading.steady).0;
        }
        due
    }

    /// Takes in a datagram that came from port 123 of `from`. Whether it is the answer to the latest request.
    pub fn handle_answer(
        &mut self,
        reading: &Reading,
        from: IpAddr,
        datagram: &[u8],
    ) -> (bool, Option<Change>) {
        let rate = self.follower.rate();
        let source = self.associations.iter_mut().find(|source| source.address() == from);
        let own = &self.own_addresses;
        let outcome = source.map_or(Outcome::Bogus, |source| source.handle(reading, rate, own, datagram));
        *match outcome {
            Outcome::Bogus => &mut self.stats.source_bogus,
            Outcome::Denied | Outcome::Slowed => &mut self.stats.source_kisses,
            Outcome::Unusable => &mut self.stats.source_unusable,
            Outcome::Sampled => &mut self.stats.source_answers,
        } += 1;
        let change = (outcome == Outcome::Sampled).then(|| self.follow(reading)).flatten();
        (outcome != Outcome::Bogus, change)
    }

    /// The time to tell; `None` until it is known.
    pub fn course(&self) -> Option<&Course> {
        self.follower.course()
    }

    /// How many sources agree.
    pub fn agreeing(&self) -> Agreeing {
        self.agreeing
    }

    /// The source that stands for all.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// The sources that answer.
    pub fn reachable(&self) -> impl Iterator<Item = IpAddr> {
        self.associations.iter().filter(|source| source.is_reachable()).map(Association::address)
    }

    /// What has happened so far; of the server, nothing.
    pub fn stats(&self) -> Stats {
        self.stats.clone()
    }

    /// What the sources say now.
    fn agreement(&self, steady: Duration) -> (Agreeing, Option<selection::Agreement>) {
        let rate = self.follower.rate();
        let sources = self.associations.iter().enumerate();
        let candidates: Vec<Candidate> =
            sources.filter_map(|(number, source)| source.candidate(number, steady, rate)).collect();
        let peer = self.associations.iter().position(|source| Some(source.address()) == self.peer);
        let agreement = selection::select(&candidates, peer);
        let agree = agreement.as_ref().map_or(0, |agreement| agreement.truechimers.len());
        (Agreeing { sources: self.associations.len(), fit: candidates.len(), agree }, agreement)
    }

    /// Whether all sources had the time to answer, before the first measurement. A source that answers first is not
    /// believed earlier: at a start before the WAN is up, the first answers come after the burst.
    fn could_all_answer(&mut self, now: Instant) -> bool {
        if self.associations.iter().any(Association::is_beginning) {
            return false;
        }
        let is_minority = 2 * self.agreeing.fit <= self.agreeing.sources;
        if is_minority && !self.has_asked_again {
            self.has_asked_again = true;
            self.hurry(now);
            return false;
        }
        true
    }

    /// Follows what the sources agree on now.
    fn follow(&mut self, reading: &Reading) -> Option<Change> {
        let steady = reading.steady;
        let (agreeing, agreement) = self.agreement(steady);
        self.agreeing = agreeing;
        if self.follower.course().is_none() && !self.could_all_answer(reading.now) {
            return None;
        }
        let Some(agreement) = agreement else {
            self.stats.source_disagreements += u64::from(agreeing.fit > 0);
            return None;
        };
        let peer = self.associations.get(agreement.peer)?;
        let origin = peer.origin(steady, self.follower.rate())?;
        self.peer = Some(peer.address());
        let known = self.follower.course().copied();
        let measurement =
            Measurement { at: steady, offset: agreement.offset, error: agreement.error, origin };
        let change = self.follower.follow(measurement, reading.kernel_offset());
        self.stats.time_steps += u64::from(matches!(change, Change::Stepped(_)));
        let is_steady = known.is_some() && change == Change::Slewed;
        self.adapt_poll(is_steady);
        Some(change)
    }

    /// Asks less often while that costs little, and often again when something has happened.
    fn adapt_poll(&mut self, is_steady: bool) {
        if !is_steady {
            (self.poll, self.steady_answers) = (POLL_MIN, 0);
            return;
        }
        self.steady_answers += 1;
        let longer = SECOND << (self.poll + 1);
        let is_cheap = self.follower.rate().doubt(longer) <= GROWTH_MAX;
        if self.steady_answers >= STEADY_ANSWERS * self.associations.len() && self.poll < POLL_MAX && is_cheap
        {
            (self.poll, self.steady_answers) = (self.poll + 1, 0);
        }
    }
}
