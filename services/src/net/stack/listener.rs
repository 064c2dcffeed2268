//! A listener's queues: half-open connections, and connections that wait to be accepted.
//!
//! They have separate bounds, so that a flood of SYNs does not keep completed connections from being accepted. A SYN
//! without a slot among the handshakes is answered nevertheless, by a cookie (module `cookie`):
//!
//! | the handshakes | a new SYN |
//! | --- | --- |
//! | have room | gets a place |
//! | have [`HALF_OPEN_PER_SOURCE_MAX`] of its source | gets a cookie |
//! | are full, and the oldest is older than [`HANDSHAKE_GRACE`] | takes the place of the oldest |
//! | are full, all of them younger | gets a cookie |
//!
//! While [`BACKLOG_MAX`] connections wait for accept, the listener drops SYNs, as the service accepts more slowly than
//! peers connect. Up to [`HALF_OPEN_MAX`] handshakes that began before can still end and join the queue.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Instant;
use tokio::sync::Notify;

use super::cookie::SECRET_LIFETIME;
use super::tcp::SocketId;

/// The number of connections waiting to be accepted at which a listener takes no more SYNs.
pub const BACKLOG_MAX: usize = 128;

/// The most handshakes whose state a listener stores.
pub const HALF_OPEN_MAX: usize = 128;

/// The most handshakes of one source address whose state a listener stores.
pub const HALF_OPEN_PER_SOURCE_MAX: usize = 16;

/// How long a handshake cannot be displaced: longer than the round trip to any place on Earth with one
/// retransmission.
pub const HANDSHAKE_GRACE: Duration = Duration::from_secs(3);

/// A listener's queues.
#[derive(Default)]
pub(super) struct Listening {
    /// The oldest first.
    half_open: VecDeque<Handshake>,
    ready: VecDeque<SocketId>,
    /// When the last sent cookie expires.
    cookies_until: Option<Instant>,
    /// Signals the service that connections are ready.
    pub(super) arrived: Rc<Notify>,
}

struct Handshake {
    id: SocketId,
    source: IpAddr,
    began: Instant,
}

/// The admission of a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// The SYN begins a handshake whose state the listener stores.
    Place,
    /// As [`Admission::Place`], and this socket's handshake is given up.
    PlaceOf(SocketId),
    /// The SYN is answered by a cookie.
    Cookie,
    /// The SYN is dropped, as too many connections wait to be accepted.
    BacklogFull,
}

impl Listening {
    /// The admission of a SYN from `source`.
    pub(super) fn admit(&self, now: Instant, source: IpAddr) -> Admission {
        let of_source = self.half_open.iter().filter(|entry| entry.source == source).count();
        match self.half_open.front() {
            _ if self.is_backlog_full() => Admission::BacklogFull,
            _ if of_source >= HALF_OPEN_PER_SOURCE_MAX => Admission::Cookie,
            _ if self.half_open.len() < HALF_OPEN_MAX => Admission::Place,
            Some(oldest) if now.since(oldest.began) >= HANDSHAKE_GRACE => Admission::PlaceOf(oldest.id),
            _ => Admission::Cookie,
        }
    }

    pub(super) fn is_backlog_full(&self) -> bool {
        self.ready.len() >= BACKLOG_MAX
    }

    /// Notes that a SYN was answered by a cookie.
    pub(super) fn cookie_sent(&mut self, now: Instant) {
        self.cookies_until = Some(now + SECRET_LIFETIME * 2);
    }

    /// Whether a valid cookie may exist. Otherwise acknowledgements are not checked for cookies, so that none can be
    /// guessed.
    pub(super) fn has_sent_cookies(&self, now: Instant) -> bool {
        self.cookies_until.is_some_and(|until| now < until)
    }

    /// The number of handshakes in progress.
    pub(super) fn half_open(&self) -> usize {
        self.half_open.len()
    }

    pub(super) fn handshake_began(&mut self, now: Instant, id: SocketId, source: IpAddr) {
        debug_assert!(self.half_open.len() < HALF_OPEN_MAX);
        self.half_open.push_back(Handshake { id, source, began: now });
    }

    /// Notes the end of a handshake, successful or not.
    pub(super) fn handshake_ended(&mut self, id: SocketId) {
        self.half_open.retain(|entry| entry.id != id);
    }

    /// Adds a connection that is ready to be accepted.
    pub(super) fn push_ready(&mut self, id: SocketId) {
        self.ready.push_back(id);
        self.arrived.notify_one();
    }

    pub(super) fn pop_ready(&mut self) -> Option<SocketId> {
        self.ready.pop_front()
    }

    /// Removes a connection that ended before it was accepted.
    pub(super) fn remove_ready(&mut self, id: SocketId) {
        self.ready.retain(|ready| *ready != id);
    }
}
