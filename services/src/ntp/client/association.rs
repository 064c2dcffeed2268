//! One source: the requests to it, the checks of its answers, and its samples (RFC 5905, section 8; RFC 5905, section
//! 13).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use gatepost_ground::Instant;
use rand::{Rng, RngExt};

use super::Reading;
use super::sample::{Filter, Nanos, Rate, SECOND, Sample, nanos};
use super::selection::Candidate;
use super::served_time::{ERROR_MAX, Origin};
use crate::clock::LeapSecond;
use crate::ntp::codec::{
    HEADER_LEN, Header, KISS_RATE, KISSES_OF_DENIAL, Leap, Mode, STRATUM_UNSYNCHRONISED, ShortSpan, Timestamp,
};

/// The shortest time between two requests, 64 s, and the longest, 1,024 s, as powers of two of seconds (MINPOLL and
/// MAXPOLL of ntpd; RFC 5905, section 7.2, allows 16 s to 36 h).
pub const POLL_MIN: u8 = 6;
/// See [`POLL_MIN`].
pub const POLL_MAX: u8 = 10;

/// The requests of a burst: at the start (iburst), and when an unreachable source answers again.
pub const BURST: u8 = 4;

/// The time between the requests of a burst. // RFC 5905, section 13
pub const BURST_SPACING: Duration = Duration::from_secs(2);

/// The least sum of root delay and delay in a root distance, in nanoseconds (MINDISP).
// RFC 5905, appendix A.5.5.2
const ROUND_TRIP_MIN: Nanos = 5_000_000;

/// The largest negative delay, in nanoseconds, that is taken for a difference of the two clocks' rates.
const ROUND_TRIP_TOLERANCE: Nanos = 1_000_000;

/// The root distance from which an answer is unusable (MAXDISP). // RFC 5905, section 7.2
const ROOT_DISTANCE_MAX: Nanos = 16 * SECOND;

/// The outcome of a received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The datagram does not answer the latest request, whose answer may still come.
    Bogus,
    /// A kiss-o'-death: the source asks for no more requests (DENY, RSTR).
    Denied,
    /// A kiss-o'-death: the source asks for fewer requests (RATE).
    Slowed,
    /// The source is unsynchronised, a timing loop or too far from the root, or its timestamps are impossible.
    Unusable,
    /// The answer has become a sample.
    Sampled,
}

/// The fields of the latest usable answer.
#[derive(Clone, Copy, Debug)]
struct Said {
    leap: Option<LeapSecond>,
    stratum: u8,
    root_delay: Nanos,
    root_dispersion: Nanos,
}

/// A request that has no answer yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    nonce: Timestamp,
    sent: Duration,
}

/// One source.
#[derive(Clone, Debug)]
pub struct Association {
    address: IpAddr,
    next_at: Option<Instant>,
    sent_at: Option<Instant>,
    /// The remaining requests of a burst.
    burst: u8,
    /// Which of the last eight requests were answered, the latest in the lowest bit.
    reach: u8,
    /// By how much the source's poll exponent exceeds that of the client: it does not answer.
    slower: u8,
    /// The least poll exponent that the source accepts, by its RATE kisses.
    poll_min: u8,
    pending: Option<Pending>,
    said: Option<Said>,
    filter: Filter,
}

impl Association {
    /// A source whose first request is due at once.
    pub fn new(address: IpAddr, now: Instant) -> Self {
        Self {
            address,
            next_at: Some(now),
            sent_at: None,
            burst: BURST,
            reach: 0,
            slower: 0,
            poll_min: POLL_MIN,
            pending: None,
            said: None,
            filter: Filter::default(),
        }
    }

    /// The source's address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// When the next request is due; `None` after a kiss-o'-death DENY or RSTR.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_at
    }

    /// Whether a burst has requests left.
    pub fn is_beginning(&self) -> bool {
        self.burst > 0 && self.next_at.is_some()
    }

    /// Whether the source has answered one of the last eight requests.
    pub fn is_reachable(&self) -> bool {
        self.reach != 0
    }

    /// Starts a burst.
    pub fn hurry(&mut self, now: Instant) {
        if self.next_at.is_some() {
            self.burst = BURST;
            self.next_at = Some(self.sent_at.map_or(now, |sent| now.max(sent + BURST_SPACING)));
        }
    }

    /// Discards all samples, and starts a burst.
    pub fn restart(&mut self, now: Instant) {
        (self.reach, self.said) = (0, None);
        self.filter.clear();
        self.hurry(now);
    }

    /// The next request, which is due. `poll` is the exponent of the poll interval of all sources.
    ///
    /// The request says nothing about this machine. Its transmit timestamp is random, and so is its source port (RFC
    /// 9109, section 4): an off-path attacker cannot forge the answer.
    pub fn request(&mut self, reading: &Reading, poll: u8, rng: &mut impl Rng) -> [u8; HEADER_LEN] {
        let Reading { now, steady, .. } = *reading;
        self.reach <<= 1;
        self.burst = self.burst.saturating_sub(1);
        if self.burst == 0 && self.reach == 0 {
            // RFC 5905, section 13: the poll interval of an unreachable source grows.
            self.slower = self.slower.saturating_add(1).min(POLL_MAX - POLL_MIN);
        }
        let exponent = poll.max(self.poll_min).saturating_add(self.slower).min(POLL_MAX.max(self.poll_min));
        let interval = Duration::from_secs(1 << exponent);
        // The jitter keeps many clients of one source from sending their requests together.
        let earlier = Duration::from_millis(rng.random_range(0..=1_000 << exponent >> 5));
        let wait = if self.burst > 0 { BURST_SPACING } else { interval - earlier };
        (self.next_at, self.sent_at) = (Some(now + wait), Some(now));
        // The timestamp 0 means that there is none.
        let nonce = Timestamp(rng.random_range(1..=u64::MAX));
        self.pending = Some(Pending { nonce, sent: steady });
        Header {
            leap: Leap::None,
            version: 4,
            mode: Mode::Client,
            stratum: 0,
            poll: 0,
            precision: 0,
            root_delay: ShortSpan::default(),
            root_dispersion: ShortSpan::default(),
            reference_id: [0; 4],
            reference: Timestamp::default(),
            origin: Timestamp::default(),
            receive: Timestamp::default(),
            transmit: nonce,
        }
        .to_octets()
    }

    /// Handles a datagram from the source's address. `own` are the gateway's addresses.
    pub fn handle(&mut self, reading: &Reading, rate: Rate, own: &[Ipv4Addr], datagram: &[u8]) -> Outcome {
        let Some(header) = Header::parse(datagram).filter(|header| header.mode == Mode::Server) else {
            return Outcome::Bogus;
        };
        // RFC 5905, section 8: an answer to another request than the latest, or a second one to it, is bogus.
        let Some(pending) = self.pending.filter(|pending| pending.nonce == header.origin) else {
            return Outcome::Bogus;
        };
        self.pending = None;
        if header.stratum == 0 {
            return self.kiss(&header, reading.now);
        }
        // RFC 5905, section 7.3: a source that follows this gateway is a loop; at stratum 1 the identifier is a code.
        if header.stratum > 1 && own.contains(&header.reference_id.into()) {
            return Outcome::Unusable;
        }
        let said = Said {
            leap: match header.leap {
                Leap::None => None,
                Leap::Inserted => Some(LeapSecond::Inserted),
                Leap::Deleted => Some(LeapSecond::Deleted),
                Leap::Unsynchronised => return Outcome::Unusable,
            },
            stratum: header.stratum,
            root_delay: header.root_delay.nanos().into(),
            root_dispersion: header.root_dispersion.nanos().into(),
        };
        // RFC 5905, appendix A.5.1.1: a client's stratum is one more than its source's.
        if said.stratum.saturating_add(1) >= STRATUM_UNSYNCHRONISED
            || said.root_delay / 2 + said.root_dispersion >= ROOT_DISTANCE_MAX
        {
            return Outcome::Unusable;
        }
        let Some(sample) = sample(&header, pending.sent, reading.steady, rate) else {
            return Outcome::Unusable;
        };
        if self.reach == 0 && self.burst == 0 && self.said.is_some() {
            // RFC 5905, section 13: a source that is reachable again gets a burst.
            self.filter.clear();
            self.hurry(reading.now);
        }
        self.reach |= 1;
        self.slower = 0;
        self.said = Some(said);
        self.filter.push(sample);
        Outcome::Sampled
    }

    /// Handles a kiss-o'-death. // RFC 5905, section 7.4
    fn kiss(&mut self, header: &Header, now: Instant) -> Outcome {
        if KISSES_OF_DENIAL.contains(&header.reference_id) {
            (self.next_at, self.reach, self.said) = (None, 0, None);
            return Outcome::Denied;
        }
        if header.reference_id != KISS_RATE {
            return Outcome::Unusable;
        }
        self.burst = 0;
        self.poll_min = (self.poll_min + 1).min(POLL_MAX);
        self.next_at = Some(now + Duration::from_secs(1 << self.poll_min));
        Outcome::Slowed
    }

    /// The source as a candidate for the selection; `None` if it is unfit, as in `fit()`. `source` is its number.
    // RFC 5905, appendix A.5.5.3
    pub fn candidate(&self, source: usize, steady: Duration, rate: Rate) -> Option<Candidate> {
        let said = self.said.filter(|_| self.reach != 0)?;
        let (best, jitter) = self.filter.best(steady, rate)?;
        let round_trip = (said.root_delay + best.delay).max(ROUND_TRIP_MIN);
        let distance = round_trip / 2 + said.root_dispersion + best.dispersion + jitter;
        let candidate = Candidate { source, stratum: said.stratum, offset: best.offset, distance, jitter };
        (distance < ERROR_MAX).then_some(candidate)
    }

    /// The fields of the served time if this source is the system peer; `None` before its first usable answer.
    pub fn origin(&self, steady: Duration, rate: Rate) -> Option<Origin> {
        let (said, (best, _)) = (self.said?, self.filter.best(steady, rate)?);
        let reference_id = match self.address {
            IpAddr::V4(address) => address.octets(),
            // RFC 5905, section 7.3: an IPv6 address is identified by its MD5 hash. There are no IPv6 sources yet.
            IpAddr::V6(_) => [0; 4],
        };
        let root_delay = said.root_delay + best.delay;
        Some(Origin { stratum: said.stratum + 1, reference_id, root_delay, leap: said.leap })
    }
}

/// The sample of an answer that arrived at `steady`, to a request `sent` before; `None` if its timestamps are
/// impossible.
// RFC 5905, section 8
fn sample(header: &Header, sent: Duration, steady: Duration, rate: Rate) -> Option<Sample> {
    if header.receive == Timestamp::default() || header.transmit == Timestamp::default() {
        return None;
    }
    let [sent_at, received_at] = [sent, steady].map(nanos);
    let [receive, transmit] = [header.receive, header.transmit].map(Timestamp::unix_nanos);
    let (elapsed, at_source) = (received_at - sent_at, transmit - receive);
    let delay = elapsed - at_source;
    if at_source < 0 || delay < -ROUND_TRIP_TOLERANCE {
        return None;
    }
    let precision = precision_nanos(header.precision);
    Some(Sample {
        at: steady,
        offset: ((receive - sent_at) + (transmit - received_at)) / 2,
        delay: delay.max(0),
        dispersion: precision + rate.uncertainty(elapsed),
    })
}

/// The precision of a header, a power of two of seconds, in nanoseconds; at most 16 s.
fn precision_nanos(exponent: i8) -> Nanos {
    match exponent.clamp(-30, 4) {
        shift @ 0.. => SECOND << shift,
        shift => (SECOND >> shift.unsigned_abs()) + 1,
    }
}
