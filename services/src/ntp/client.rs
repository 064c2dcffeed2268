//! The time client's state machine: it sends requests to time servers (sources), selects those that agree, and follows
//! them (RFC 5905).
//!
//! | module        | what it has                                                                              |
//! |---------------|------------------------------------------------------------------------------------------|
//! | [`association`]| one source: the requests to it, the checks of its answers, its samples                  |
//! | [`sample`]    | the sample of one exchange, and the clock filter                                         |
//! | [`selection`] | the intersection, cluster and combine algorithms                                         |
//! | [`served_time`]| the served time: its rate, its error, slewing and stepping                              |
//!
//! The client has no clock discipline (RFC 5905, section 12): it corrects only the served time, and computes that
//! without the delay of a feedback loop. Steady time is never corrected, so that all measurements remain comparable.
//! The client does not set the kernel's clock.
//!
//! The served time's error is the sum of half of the root delay, the dispersions, the uncertainty of the rate since the
//! latest measurement, and the offset that is still to be slewed. The bound holds if a majority of the sources is right
//! within the errors that they announce, and if the oscillator's rate is within 500 ppm and changes by at most 15 ppm.

pub mod association;
pub mod sample;
pub mod selection;
pub mod served_time;
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
use sample::{Nanos, SECOND, nanos};
use selection::Candidate;
use served_time::{Change, Follower, Measurement, ServedTime};

/// The largest number of sources.
pub const SOURCES_MAX: usize = 4;

/// The poll exponent is raised if the error grows by at most this within the longer interval, in nanoseconds.
const GROWTH_MAX: Nanos = 25_000_000;

/// The number of answers of each source after which the poll exponent is raised.
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
    /// The kernel's time minus steady time.
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

/// The numbers of sources, of those that are fit, and of those that agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreeing {
    /// All sources.
    pub sources: usize,
    /// Those that answer with a root distance that is small enough.
    pub fit: usize,
    /// The truechimers of the last selection.
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
    /// The gateway's addresses: a source with one of them as its reference id is a timing loop.
    own_addresses: Vec<Ipv4Addr>,
    follower: Follower,
    /// The system peer.
    peer: Option<IpAddr>,
    agreeing: Agreeing,
    /// Whether the client has repeated the burst because a minority of the sources answered the first one.
    has_asked_again: bool,
    /// The exponent of the poll interval.
    poll: u8,
    /// Answers since it was last changed, without a step or a held difference.
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
    /// Makes the first [`SOURCES_MAX`] of `addresses` the sources. Sources that stay keep their samples.
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

    /// Sets the gateway's addresses; the client does not use sources that follow a server at one of them.
    pub fn set_own_addresses(&mut self, addresses: Vec<Ipv4Addr>) {
        self.own_addresses = addresses;
    }

    /// Sends a burst to all sources, as when the WAN is up again.
    pub fn hurry(&mut self, now: Instant) {
        self.associations.iter_mut().for_each(|source| source.hurry(now));
    }

    /// Discards all measurements, as when a daemon has disciplined the clock meanwhile, and sends a burst to all
    /// sources.
    pub fn restart(&mut self, now: Instant) {
        (self.follower, self.peer, self.poll) = (Follower::default(), None, POLL_MIN);
        self.agreeing = Agreeing { sources: self.associations.len(), ..Agreeing::default() };
        self.has_asked_again = false;
        self.associations.iter_mut().for_each(|source| source.restart(now));
    }

    /// When the next request is due.
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

    /// Handles a datagram from port 123 of `from`. Returns whether it answers the latest request, and the change of the
    /// served time.
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

    /// The served time; `None` before the first measurement.
    pub fn served_time(&self) -> Option<&ServedTime> {
        self.follower.served_time()
    }

    /// The numbers of sources that are fit and that agree.
    pub fn agreeing(&self) -> Agreeing {
        self.agreeing
    }

    /// The system peer.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// The reachable sources.
    pub fn reachable(&self) -> impl Iterator<Item = IpAddr> {
        self.associations.iter().filter(|source| source.is_reachable()).map(Association::address)
    }

    /// The client's counters so far; the server's are 0.
    pub fn stats(&self) -> Stats {
        self.stats.clone()
    }

    /// The selection among the current samples.
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

    /// Whether all sources had the time to answer; called before the first measurement. Otherwise the gateway would
    /// follow the first source that answers: at a start before the WAN is up, the first answers come after the burst.
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

    /// Selects among the current samples, and updates the served time by the agreement.
    fn follow(&mut self, reading: &Reading) -> Option<Change> {
        let steady = reading.steady;
        let (agreeing, agreement) = self.agreement(steady);
        self.agreeing = agreeing;
        if self.follower.served_time().is_none() && !self.could_all_answer(reading.now) {
            return None;
        }
        let Some(agreement) = agreement else {
            self.stats.source_disagreements += u64::from(agreeing.fit > 0);
            return None;
        };
        let peer = self.associations.get(agreement.peer)?;
        let origin = peer.origin(steady, self.follower.rate())?;
        self.peer = Some(peer.address());
        let known = self.follower.served_time().copied();
        let measurement =
            Measurement { at: steady, offset: agreement.offset, error: agreement.error, origin };
        let change = self.follower.follow(measurement, reading.kernel_offset());
        self.stats.time_steps += u64::from(matches!(change, Change::Stepped(_)));
        let is_steady = known.is_some() && change == Change::Slewed;
        self.adapt_poll(is_steady);
        Some(change)
    }

    /// Raises the poll exponent while the error grows little, and resets it after a step or a held difference.
    fn adapt_poll(&mut self, is_steady: bool) {
        if !is_steady {
            (self.poll, self.steady_answers) = (POLL_MIN, 0);
            return;
        }
        self.steady_answers += 1;
        let longer = SECOND << (self.poll + 1);
        let is_cheap = self.follower.rate().uncertainty(longer) <= GROWTH_MAX;
        if self.steady_answers >= STEADY_ANSWERS * self.associations.len() && self.poll < POLL_MAX && is_cheap
        {
            (self.poll, self.steady_answers) = (self.poll + 1, 0);
        }
    }
}
