//! One TCP connection as a state machine (RFC 9293): segments, calls of the service and the time in, segments out.
//!
//! Call [`Connection::receive`] for each segment of the connection, [`Connection::poll`] until it has nothing more to
//! send, after every call and at [`Connection::deadline`], and [`Connection::read`], [`Connection::write`],
//! [`Connection::close`] and [`Connection::abort`] as the service does. The connection knows neither addresses and
//! ports nor how long to wait for a silent peer: the module `socket` does.
//!
//! ```text
//!   write ─▶ SendBuffer ─▶ output ─▶ segments          segments ─▶ input ─▶ ReceiveBuffer ─▶ read
//!                            ▲                                       │
//!            Congestion ─────┤◀──── Scoreboard ◀──── acknowledgements┘
//!            (how much)      (what is lost: RACK)
//! ```
//!
//! All positions are counted in 64 bits from the initial sequence number, whose SYN is position 0; they are truncated
//! to 32 bits only in sent segments and completed in received ones (`number`).
//!
//! | what | as in |
//! | --- | --- |
//! | loss detection, tail loss probe | RFC 8985; without SACK, RFC 6582 |
//! | selective acknowledgements, reports of duplicates | RFC 2018, RFC 2883 |
//! | window scale, timestamps, PAWS | RFC 7323 |
//! | congestion control, initial window | RFC 9438, RFC 5681, RFC 6928 |
//! | time-outs | RFC 6298 |
//! | forged segments | RFC 5961 |
//!
//! Both buffers begin without memory and have none when they are empty. The receive window grows with what the service
//! reads in a round-trip time, the send buffer with the congestion window. While the stack's buffers are full
//! ([`Connection::set_pressed`]) neither grows, and a connection keeps [`PRESSED_LEN`] octets in each direction.

mod acknowledge;
mod congestion;
mod input;
mod output;
mod receive_buffer;
mod rtt;
mod scoreboard;
mod send_buffer;
#[cfg(test)]
mod tests;

use std::io;
use std::task::{Context, Waker};
use std::time::Duration;

use gatepost_ground::Instant;

use super::segment::{Fields, Options};
use congestion::Congestion;
use receive_buffer::ReceiveBuffer;
use rtt::Rtt;
use scoreboard::Scoreboard;
use send_buffer::SendBuffer;

/// The window that a connection begins with, and the least limit of its send buffer, in octets.
const BUFFER_LEN_INITIAL: usize = 64 * 1024;
/// Octets that a connection keeps in each direction while the stack's buffers are full.
pub(super) const PRESSED_LEN: usize = 4 * 1024;
/// The segment size of a peer that names none. (RFC 9293, MUST-15)
pub(super) const SEGMENT_SIZE_DEFAULT: u16 = 536;
/// The least segment size that is believed.
pub(super) const SEGMENT_SIZE_MIN: u16 = 64;
/// The timestamps in each segment, with their padding, in octets.
const TIMESTAMPS_LEN: u16 = 12;
/// The largest shift of a window. (RFC 7323, section 2.3)
const SHIFT_MAX: u8 = 14;

/// The settings that do not change during a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// The largest segment that the network carries, in octets, without options.
    pub(super) segment_size: u16,
    /// The most octets buffered in each direction.
    pub(super) buffer_len_max: usize,
    /// How long both ends are silent before the stack sends a keep-alive.
    pub(super) keep_alive: Duration,
}

impl Settings {
    /// The least shift by which the largest window fits its field.
    pub(super) fn window_shift(&self) -> u8 {
        (0..SHIFT_MAX)
            .find(|shift| self.buffer_len_max >> shift <= usize::from(u16::MAX))
            .unwrap_or(SHIFT_MAX)
    }

    /// The window of a connection that begins, as its field has it in a SYN.
    pub(super) fn window_initial(&self) -> u16 {
        u16::try_from(self.buffer_len_max.min(BUFFER_LEN_INITIAL)).unwrap_or(u16::MAX)
    }
}

/// The initial numbers of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning {
    /// The initial sequence number.
    pub(super) sequence: u32,
    /// The offset of the connection's timestamps from the time in milliseconds.
    pub(super) timestamp_offset: u32,
}

/// The states of RFC 9293, section 3.3.2, without those before there is a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
    Closed,
}

/// The result of receiving a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    Done,
    /// The caller has to answer the segment by a reset.
    Refuse,
    /// The segment's octets were dropped, as the stack's buffers are full.
    NoRoom,
}

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// This number of octets.
    Octets(usize),
    /// No octets have arrived yet.
    Pending,
    /// The peer has closed, and the service has read everything.
    Finished,
    /// The connection ended in another way.
    Broken,
}

/// The state of congestion control (Linux: `tcp_ca_state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No loss is being repaired.
    Open,
    /// Fast recovery: until this position is acknowledged, losses do not reduce the congestion window again.
    Recovery(i64),
    /// As `Recovery`, after a time-out.
    Loss(i64),
}

/// A tail loss probe that is not acknowledged. (RFC 8985, section 7)
#[derive(Clone, Copy, Debug)]
struct Probe {
    end: i64,
    is_copy: bool,
}

#[derive(Clone, Copy, Debug)]
struct Timestamps {
    offset: u32,
    /// The peer's last in order, and when it came.
    peer: u32,
    heard: Instant,
}

/// How fast the service reads.
#[derive(Clone, Copy, Debug)]
struct Reading {
    since: Instant,
    octets: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Timers {
    retransmit: Option<Instant>,
    tail_probe: Option<Instant>,
    reordering: Option<Instant>,
    /// The peer's window has no room, or not enough.
    persist: Option<Instant>,
    acknowledgement: Option<Instant>,
}

impl Timers {
    fn first(&self) -> Option<Instant> {
        let Self { retransmit, tail_probe, reordering, persist, acknowledgement } = *self;
        [retransmit, tail_probe, reordering, persist, acknowledgement].into_iter().flatten().min()
    }
}

/// The segments to be sent besides those with new data.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    reset: bool,
    acknowledgement: bool,
    /// A lost segment, whatever the congestion window says.
    resend: bool,
    tail_probe: bool,
    /// A keep-alive or a window probe: a segment without new data that the peer has to acknowledge.
    keep_alive: bool,
    /// Data that fits the peer's window, however small the segment is. (RFC 9293, section 3.8.6.2.1: override timeout)
    overrides_sws: bool,
}

/// A connection.
///
/// | field | as in RFC 9293 |
/// | --- | --- |
/// | `own_initial`, `peer_initial` | ISS, IRS |
/// | `acknowledged`, `next` | SND.UNA, SND.NXT |
/// | `peer_edge`, `peer_shift` | SND.UNA + SND.WND, Snd.Wind.Shift |
/// | `peer_edge_from` | SND.WL1, SND.WL2 |
/// | `received.next()` | RCV.NXT, without the FIN |
/// | `own_edge`, `own_shift` | RCV.NXT + RCV.WND, Rcv.Wind.Shift |
/// | `segment_size` | Eff.snd.MSS |
#[derive(Debug)]
pub(super) struct Connection {
    settings: Settings,
    state: State,
    timers: Timers,
    due: Due,
    rtt: Rtt,
    timestamps: Option<Timestamps>,
    has_sack: bool,
    is_pressed: bool,
    last_challenge: Option<Instant>,
    /// When something was last sent or received.
    last_active: Instant,
    reader: Option<Waker>,
    writer: Option<Waker>,

    own_initial: u32,
    send: SendBuffer,
    /// The positions after the last acknowledged octet, and after the last sent one.
    acknowledged: i64,
    next: i64,
    is_closing: bool,
    segment_size: u64,
    peer_shift: u8,
    /// The right edge of the peer's window, and the sequence and acknowledgement of the segment that set it.
    peer_edge: i64,
    peer_edge_from: (i64, i64),
    peer_window_max: i64,
    board: Scoreboard,
    congestion: Congestion,
    phase: Phase,
    /// Whether the congestion window has delayed data since the last acknowledgement.
    is_limited: bool,
    /// The duplicate acknowledgements of a peer without SACK.
    repeated: u64,
    probe: Option<Probe>,
    persist_doublings: u32,
    /// When octets were last sent.
    last_sent: Instant,

    peer_initial: u32,
    received: ReceiveBuffer,
    /// The largest receive window, in octets.
    window_limit: usize,
    own_shift: u8,
    own_edge: i64,
    /// The acknowledgement that was sent last: Last.ACK.sent. (RFC 7323, section 4.3)
    last_ack_sent: i64,
    unacknowledged: u64,
    /// The octets that arrived twice, to be reported (DSACK). (RFC 2883, section 4)
    duplicate: Option<(i64, i64)>,
    /// The position of the peer's FIN.
    fin_position: Option<i64>,
    reading: Reading,
}

impl Connection {
    fn new(now: Instant, state: State, beginning: Beginning, settings: &Settings) -> Self {
        let segment_size = u64::from(SEGMENT_SIZE_DEFAULT.min(settings.segment_size));
        Self {
            settings: *settings,
            state,
            timers: Timers::default(),
            due: Due::default(),
            rtt: Rtt::default(),
            timestamps: Some(Timestamps { offset: beginning.timestamp_offset, peer: 0, heard: now }),
            has_sack: true,
            is_pressed: false,
            last_challenge: None,
            last_active: now,
            reader: None,
            writer: None,
            own_initial: beginning.sequence,
            send: SendBuffer::new(1),
            acknowledged: 0,
            next: 0,
            is_closing: false,
            segment_size,
            peer_shift: 0,
            peer_edge: 1,
            peer_edge_from: (0, 0),
            peer_window_max: 0,
            board: Scoreboard::default(),
            congestion: Congestion::new(segment_size),
            phase: Phase::Open,
            is_limited: false,
            repeated: 0,
            probe: None,
            persist_doublings: 0,
            last_sent: now,
            peer_initial: 0,
            received: ReceiveBuffer::new(1),
            window_limit: settings.buffer_len_max.min(BUFFER_LEN_INITIAL),
            own_shift: settings.window_shift(),
            own_edge: 1,
            last_ack_sent: 0,
            unacknowledged: 0,
            duplicate: None,
            fin_position: None,
            reading: Reading { since: now, octets: 0 },
        }
    }

    /// A connection that the gateway begins.
    pub(super) fn connect(now: Instant, beginning: Beginning, settings: &Settings) -> Self {
        Self::new(now, State::SynSent, beginning, settings)
    }

    /// A connection that the peer begins by `syn`.
    pub(super) fn accept(now: Instant, syn: &Fields<'_>, beginning: Beginning, settings: &Settings) -> Self {
        let mut connection = Self::new(now, State::SynReceived, beginning, settings);
        connection.learn_peer(now, syn);
        connection
    }

    /// As [`Connection::accept`], with the SYN answered already.
    pub(super) fn accepted(
        now: Instant,
        syn: &Fields<'_>,
        beginning: Beginning,
        settings: &Settings,
    ) -> Self {
        let mut connection = Self::accept(now, syn, beginning, settings);
        connection.next = 1;
        connection.last_ack_sent = 1;
        connection.own_edge = 1 + i64::from(settings.window_initial());
        connection
    }

    /// Takes over what the peer's SYN says.
    fn learn_peer(&mut self, now: Instant, syn: &Fields<'_>) {
        let Options { segment_size, window_shift, is_sack_permitted, timestamps, .. } = syn.options;
        self.peer_initial = syn.sequence;
        self.peer_edge_from = (0, self.acknowledged);
        self.peer_edge = self.acknowledged.max(1) + i64::from(syn.window);
        self.peer_window_max = i64::from(syn.window);
        self.has_sack &= is_sack_permitted;
        match window_shift {
            Some(shift) => self.peer_shift = shift.min(SHIFT_MAX),
            None => self.own_shift = 0,
        }
        match (&mut self.timestamps, timestamps) {
            (Some(own), Some((peer, _))) => (own.peer, own.heard) = (peer, now),
            _ => self.timestamps = None,
        }
        // RFC 9293, MUST-16; RFC 6691
        let peers = segment_size.unwrap_or(SEGMENT_SIZE_DEFAULT).max(SEGMENT_SIZE_MIN);
        let options = if self.timestamps.is_some() { TIMESTAMPS_LEN } else { 0 };
        self.segment_size = u64::from(peers.min(self.settings.segment_size) - options);
        self.congestion = Congestion::new(self.segment_size);
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Whether there is nothing more to send, ever.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Closed && !self.due.reset
    }

    /// Whether the service wrote something that the peer has not acknowledged.
    pub(super) fn has_unacknowledged(&self) -> bool {
        self.send.len() > 0
    }

    /// How many octets can be read.
    pub(super) fn unread(&self) -> usize {
        self.received.unread()
    }

    /// The memory of its buffers, in octets.
    pub(super) fn memory(&self) -> usize {
        self.send.capacity() + self.received.capacity() + self.board.memory()
    }

    /// Whether the stack's buffers are full.
    pub(super) fn set_pressed(&mut self, is_pressed: bool) {
        self.is_pressed = is_pressed;
    }

    /// Whether a SYN of the same ends begins another connection: it is newer than this one, which is over but for its
    /// TIME-WAIT. (RFC 9293, section 3.10.7.4; RFC 6191, section 2)
    pub(super) fn gives_way_to(&self, syn: &Fields<'_>) -> bool {
        let is_newer = match (self.timestamps, syn.options.timestamps) {
            (Some(own), Some((peer, _))) => is_before(own.peer, peer),
            _ => false,
        };
        self.state == State::TimeWait
            && (is_newer || is_before(number_at(self.peer_initial, self.received.next()), syn.sequence))
    }

    /// Reads what has arrived; if there is nothing yet, `context` is woken when there is.
    pub(super) fn read(&mut self, now: Instant, into: &mut [u8], context: &Context<'_>) -> Read {
        let octets = self.received.read(into);
        if octets > 0 {
            self.tune_window(now, octets);
            return Read::Octets(octets);
        }
        if self.is_finished() {
            return Read::Finished;
        }
        if self.state == State::Closed {
            return Read::Broken;
        }
        self.reader = Some(context.waker().clone());
        Read::Pending
    }

    /// Discards what has arrived.
    pub(super) fn discard_unread(&mut self) {
        self.received.discard_unread();
    }

    /// Takes as many of `octets` as there is room for; if there is none, `context` is woken when there is.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::BrokenPipe`] after the end of the stream or the connection.
    pub(super) fn write(&mut self, octets: &[u8], context: &Context<'_>) -> io::Result<usize> {
        if !matches!(self.state, State::Established | State::CloseWait) || self.is_closing {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let limit = if self.is_pressed {
            PRESSED_LEN
        } else {
            usize::try_from(self.congestion.window() * 2).unwrap_or(usize::MAX).max(BUFFER_LEN_INITIAL)
        };
        let taken = self.send.write(octets, limit.min(self.settings.buffer_len_max));
        if taken == 0 && !octets.is_empty() {
            self.writer = Some(context.waker().clone());
        }
        Ok(taken)
    }

    /// Has `context` woken when the handshake is over.
    pub(super) fn wake_when_writable(&mut self, context: &Context<'_>) {
        self.writer = Some(context.waker().clone());
    }

    /// The service has no more to write. What it wrote is sent, and then a FIN.
    pub(super) fn close(&mut self) {
        self.is_closing = true;
        match self.state {
            State::SynSent => self.end(),
            State::Established => self.state = State::FinWait1,
            State::CloseWait => self.state = State::LastAck,
            _ => {}
        }
    }

    /// Ends the connection at once, by a reset unless it is in SYN-SENT or TIME-WAIT. (RFC 9293, section 3.10.5)
    pub(super) fn abort(&mut self) {
        self.due.reset =
            !matches!(self.state, State::SynSent | State::TimeWait | State::Closed) || self.due.reset;
        self.end();
    }

    /// Nothing more is sent or received. What has arrived can be read.
    fn end(&mut self) {
        self.state = State::Closed;
        self.send.clear();
        self.received.close();
        self.board.clear();
        self.timers = Timers::default();
        self.due = Due { reset: self.due.reset, ..Due::default() };
        self.wake();
    }

    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }

    /// Whether the peer has closed, and all before has arrived.
    fn is_finished(&self) -> bool {
        self.fin_position.is_some_and(|fin| fin <= self.received.next())
    }

    /// The position that is expected next, with the peer's FIN counted.
    fn received_next(&self) -> i64 {
        self.received.next() + i64::from(self.is_finished())
    }

    /// Grows the window with what the service reads in a round-trip time, and announces room to the peer.
    fn tune_window(&mut self, now: Instant, octets: usize) {
        self.reading.octets += octets;
        let period = self.rtt.smoothed().unwrap_or(READING_PERIOD).max(READING_PERIOD_MIN);
        if now.since(self.reading.since) >= period {
            if !self.is_pressed {
                let wanted = (self.reading.octets * 2).min(self.settings.buffer_len_max);
                self.window_limit = self.window_limit.max(wanted);
            }
            self.reading = Reading { since: now, octets: 0 };
        }
        // RFC 9293, section 3.8.6.2.2, and not more often than half a window is used up
        let left = self.own_edge - self.received.next();
        let limit = self.window_limit() as i64;
        if left < limit / 2 && self.edge_to_offer() > self.own_edge && self.fin_position.is_none() {
            self.due.acknowledgement = true;
        }
    }

    fn window_limit(&self) -> usize {
        if self.is_pressed { PRESSED_LEN.min(self.window_limit) } else { self.window_limit }
    }

    /// The size of the window that the receive buffer has room for, in octets.
    fn room(&self) -> i64 {
        self.window_limit().saturating_sub(self.received.unread()) as i64
    }

    /// The right edge of the window to offer: never before the one that was offered, and beyond it only if that is
    /// worth it. (RFC 9293, SHLD-14, MUST-39)
    fn edge_to_offer(&self) -> i64 {
        let edge = self.received.next() + self.room();
        let step = (self.window_limit() as i64 / 2).min(self.segment_size as i64);
        if edge >= self.own_edge + step { edge } else { self.own_edge }
    }
}

/// What the window is tuned by while the round-trip time is not known.
const READING_PERIOD: Duration = Duration::from_millis(100);
const READING_PERIOD_MIN: Duration = Duration::from_millis(1);

/// The sequence number of a position.
fn number_at(initial: u32, position: i64) -> u32 {
    initial.wrapping_add(position as u32)
}

/// The position with a sequence number that is nearest to `near`.
fn position_of(initial: u32, number: u32, near: i64) -> i64 {
    let distance = number.wrapping_sub(number_at(initial, near)) as i32;
    near + i64::from(distance)
}

/// Whether the sequence number `one` comes before `other`, modulo 2^32. (RFC 9293, section 3.4)
fn is_before(one: u32, other: u32) -> bool {
    (other.wrapping_sub(one) as i32) > 0
}
