//! The time server's state machine: which datagrams get an answer, and the answers' fields.
//!
//! Every answer has 48 octets, and no request is shorter, so the server amplifies no forged request. Only requests
//! are answered: those of clients (mode 3), and those of symmetric active peers (mode 1), as which some
//! clients ask, Windows among them (RFC 4330, section 6). Answers, broadcasts, control and private messages are not, so
//! that no two servers send each other answers without end. The server answers the requests of one source up to
//! [`OF_SOURCE`], those of all inside sources together up to [`OF_ALL`], and those of all others up to the same limit.
//! A source over its limit gets kisses-o'-death, at most [`KISSES`] (RFC 5905, section 7.4), and no other answer.
//!
//! The server shares no keys. It ignores a message authentication code or an extension field of a request, and its
//! answer has neither and is no crypto-NAK: a client that requires authentication discards the answer.
//!
//! An answer's fields depend on the state of the kernel's clock:
//!
//! | | synchronised | unsynchronised | unsynchronised, `local_stratum` 0 |
//! | --- | --- | --- | --- |
//! | leap | as the kernel has it | no warning | unsynchronised |
//! | stratum | [`STRATUM_SYNCHRONISED`] | `local_stratum` | 16 |
//! | root delay | 0 | 0 | 0 |
//! | root dispersion | the kernel's maximum error, see below | 1 s, and 15 µs more each second; less than 2 s | the same |
//! | reference id | 127.0.0.1 | 127.127.1.1, or `LOCL` at stratum 1 | none |
//! | reference time | the last full second | the last full second | none |
//!
//! The daemon that disciplines the kernel's clock gives the kernel neither the stratum nor the address of its source.
//! The kernel's maximum error includes the root delay (chrony and ntpd: half of it, and the root dispersion), and grows
//! by 500 µs each second. So the server sends the whole maximum error, and the precision, as root dispersion: a
//! client's root distance is never too small. systemd-timesyncd sets no maximum error; then the server adds
//! [`UNESTIMATED`]. The kernel corrects its clock at each full second, which is the reference time.
//!
//! While the server sends the time of the gateway's own [client](super::client), the source is known: the stratum is
//! one more than the source's, the reference id its address, the root delay that of the client, and the root dispersion
//! the rest of the error.

use std::net::IpAddr;
use std::time::Duration;

use gatepost_ground::{Instant, RateLimit};

use super::codec::{
    HEADER_LEN, Header, KISS_RATE, Leap, Mode, STRATUM_UNSYNCHRONISED, ShortSpan, Timestamp, exponent,
};
use super::stats::Stats;
use crate::clock::{Discipline, LeapSecond, WallTime};
use crate::limits::Limits;

/// The limit of one source: a client sends up to eight requests, two seconds apart, and then one each minute or less
/// often. An address may have several clients behind it.
pub const OF_SOURCE: RateLimit = RateLimit::new(2, 32);

/// The limit of all inside sources together, and of all others together: a flood from the WAN does not use up the
/// LAN's.
pub const OF_ALL: RateLimit = RateLimit::new(1_000, 500);

/// The limit of kisses-o'-death to one source.
pub const KISSES: RateLimit = RateLimit::once_in(Duration::from_secs(8), 1);

/// The stratum of a machine whose clock is synchronised. Public time servers are at strata 1 to 3, as a rule; a client
/// with such a source prefers it.
pub const STRATUM_SYNCHRONISED: u8 = 4;

/// The error of a clock without an estimate: more than the delay to any usual server on the internet.
pub const UNESTIMATED: Duration = Duration::from_millis(100);

/// The reference id of this machine's own clock.
const THIS_MACHINE: [u8; 4] = [127, 0, 0, 1];

/// The address of the first local clock, as ntpd and chrony send it.
const LOCAL_CLOCK: [u8; 4] = [127, 127, 1, 1];

/// An uncalibrated local clock, at stratum 1. // RFC 5905, figure 12
const LOCAL_CLOCK_PRIMARY: [u8; 4] = *b"LOCL";

/// The initial root dispersion of an undisciplined clock.
const UNSYNCHRONISED_DISPERSION: Duration = Duration::from_secs(1);

/// The largest root dispersion of an undisciplined clock: less than 2 s.
const UNSYNCHRONISED_DISPERSION_MAX: ShortSpan = ShortSpan(0x0001_ffff);

/// The error of a clock grows by one second in so many seconds (PHI, 15e-6). // RFC 5905, section 7.2
const DRIFT: u32 = 66_666;

/// A datagram, and the gateway's clocks at its arrival.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Monotonic time.
    pub now: Instant,
    /// The time of day.
    pub time: WallTime,
    /// The synchronisation state and the maximum error of the time of day.
    pub discipline: Discipline,
    /// The sender.
    pub source: IpAddr,
    /// Whether the sender is on the inside.
    pub is_inside: bool,
    /// The datagram's payload.
    pub datagram: &'a [u8],
}

/// An answer without its transmit timestamp yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    header: Header,
    /// When the request arrived.
    arrived: Instant,
}

impl Reply {
    /// The answer as sent at `now`. The transmit timestamp is the receive timestamp plus the monotonic time since, so
    /// that a step of the clock in between does not show in the answer.
    pub fn octets_at(&self, now: Instant) -> [u8; HEADER_LEN] {
        let transmit = self.header.receive.after(now.since(self.arrived));
        Header { transmit, ..self.header }.to_octets()
    }
}

/// The time server. It outlives a reload.
#[derive(Debug)]
pub struct Server {
    of_source: Limits<IpAddr>,
    of_inside: RateLimit,
    of_others: RateLimit,
    kisses: Limits<IpAddr>,
    /// Since when the clock has been undisciplined, as seen at requests.
    unsynchronised_since: Option<Instant>,
    stats: Stats,
}

impl Server {
    /// A server that begins at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            of_source: Limits::new(OF_SOURCE),
            of_inside: OF_ALL,
            of_others: OF_ALL,
            kisses: Limits::new(KISSES),
            unsynchronised_since: Some(now),
            stats: Stats::default(),
        }
    }

    /// The answer to a datagram, if it gets one. `local_stratum` is the stratum while the clock is unsynchronised, up
    /// to 15; 0: the answer says that the clock is unsynchronised.
    pub fn handle(&mut self, local_stratum: u8, arrival: &Arrival<'_>) -> Option<Reply> {
        self.note_discipline(arrival.now, &arrival.discipline);
        self.stats.requests += 1;
        let Some(request) = Header::parse(arrival.datagram) else {
            self.stats.malformed += 1;
            return None;
        };
        // RFC 4330, section 6
        let mode = match request.mode {
            Mode::Client => Mode::Server,
            Mode::SymmetricActive => Mode::SymmetricPassive,
            _ => {
                self.stats.other_modes += 1;
                return None;
            }
        };
        let answer = answer(&request, mode, arrival);
        let is_unsynchronised = !arrival.discipline.is_synchronised;
        if !self.of_source.admit(arrival.now, arrival.source) {
            self.stats.rate_limited += 1;
            // An unsynchronised server without a local stratum sends no kisses.
            return (!is_unsynchronised || local_stratum > 0).then(|| self.kiss(answer, arrival)).flatten();
        }
        if !self.admits_of_all(arrival) {
            self.stats.rate_limited += 1;
            return None;
        }
        self.stats.answered += 1;
        self.stats.answered_unsynchronised += u64::from(is_unsynchronised);
        let header = match (self.unsynchronised_since, local_stratum) {
            (None, _) => synchronised(answer, &arrival.discipline),
            (Some(since), stratum) => unsynchronised(answer, stratum, arrival.now.since(since)),
        };
        Some(Reply { header, arrived: arrival.now })
    }

    /// Counts an answer that could not be sent.
    pub fn note_lost_reply(&mut self) {
        self.stats.replies_lost += 1;
    }

    /// The counters so far.
    pub fn stats(&self) -> Stats {
        self.stats.clone()
    }

    fn note_discipline(&mut self, now: Instant, discipline: &Discipline) {
        self.unsynchronised_since = match self.unsynchronised_since {
            _ if discipline.is_synchronised => None,
            None => Some(now),
            since => since,
        };
    }

    fn admits_of_all(&mut self, arrival: &Arrival<'_>) -> bool {
        let of_all = if arrival.is_inside { &mut self.of_inside } else { &mut self.of_others };
        of_all.admit(arrival.now)
    }

    /// Sends a client over its limit a kiss-o'-death, within the limit of kisses. // RFC 5905, section 7.4
    fn kiss(&mut self, answer: Header, arrival: &Arrival<'_>) -> Option<Reply> {
        if !self.kisses.admit(arrival.now, arrival.source) || !self.admits_of_all(arrival) {
            return None;
        }
        self.stats.kisses_sent += 1;
        let header = Header {
            leap: Leap::Unsynchronised,
            stratum: 0,
            reference_id: KISS_RATE,
            reference: Timestamp::default(),
            ..answer
        };
        Some(Reply { header, arrived: arrival.now })
    }
}

/// The fields that all answers to `request` have in common. // RFC 5905, section 9.2; RFC 4330, section 6
fn answer(request: &Header, mode: Mode, arrival: &Arrival<'_>) -> Header {
    let receive = Timestamp::from(arrival.time);
    Header {
        leap: Leap::None,
        version: request.version,
        mode,
        stratum: STRATUM_UNSYNCHRONISED,
        poll: request.poll,
        precision: exponent(arrival.discipline.precision),
        root_delay: ShortSpan::default(),
        root_dispersion: ShortSpan::default(),
        reference_id: [0; 4],
        reference: receive.whole_second(),
        origin: request.transmit,
        receive,
        transmit: receive,
    }
}

fn synchronised(answer: Header, discipline: &Discipline) -> Header {
    let by_kernel = synchronised_by_kernel(answer, discipline);
    let Some(source) = discipline.source else { return by_kernel };
    // The error includes half of the root delay, which clients add again.
    let dispersion = discipline.error_max.saturating_sub(source.root_delay / 2);
    Header {
        stratum: source.stratum,
        root_delay: ShortSpan::at_least(source.root_delay),
        root_dispersion: ShortSpan::at_least(dispersion.saturating_add(discipline.precision)),
        reference_id: source.reference_id,
        reference: source.measured.into(),
        ..by_kernel
    }
}

fn synchronised_by_kernel(answer: Header, discipline: &Discipline) -> Header {
    let unestimated = if discipline.error_estimate.is_zero() { UNESTIMATED } else { Duration::ZERO };
    let error = discipline.error_max.saturating_add(discipline.precision).saturating_add(unestimated);
    Header {
        leap: match discipline.leap {
            None => Leap::None,
            Some(LeapSecond::Inserted) => Leap::Inserted,
            Some(LeapSecond::Deleted) => Leap::Deleted,
        },
        stratum: STRATUM_SYNCHRONISED,
        root_dispersion: ShortSpan::at_least(error),
        reference_id: THIS_MACHINE,
        ..answer
    }
}

/// `age`: for how long the clock has been undisciplined.
fn unsynchronised(answer: Header, local_stratum: u8, age: Duration) -> Header {
    let dispersion = UNSYNCHRONISED_DISPERSION.saturating_add(age / DRIFT);
    let root_dispersion = ShortSpan::at_least(dispersion).min(UNSYNCHRONISED_DISPERSION_MAX);
    let local = Header { root_dispersion, ..answer };
    match local_stratum {
        0 => Header { leap: Leap::Unsynchronised, reference: Timestamp::default(), ..local },
        1 => Header { stratum: 1, reference_id: LOCAL_CLOCK_PRIMARY, ..local },
        stratum => Header { stratum, reference_id: LOCAL_CLOCK, ..local },
    }
}

#[cfg(test)]
mod tests;
