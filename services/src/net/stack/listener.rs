//! A listener's queues: handshakes that are under way, and connections that wait to be accepted.
//!
//! They are bounded apart, so that whoever only begins handshakes keeps nobody from being accepted. A SYN that
//! finds no place among the handshakes is answered all the same, by a cookie (module `cookie`):
//!
//! | the handshakes | a new SYN |
//! | --- | --- |
//! | have room | gets a place |
//! | have [`HALF_OPEN_PER_SOURCE_MAX`] of its source | gets a cookie |
//! | are full, and the oldest has had [`HANDSHAKE_GRACE`] | takes the place of the oldest |
//! | are full, all of them younger | gets a cookie |
//!
//! While [`BACKLOG_MAX`] connections wait to be accepted, SYNs are dropped: their service does not keep up. Of those
//! whose handshake had begun before, there can be [`HALF_OPEN_MAX`] more.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Instant;
use tokio::sync::Notify;

use super::cookie::SECRET_LIFETIME;
use super::tcp::FlowId;

/// Connections that wait for their service to accept them, beyond which a listener takes no SYN.
pub const BACKLOG_MAX: usize = 128;

/// Handshakes that a listener keeps the state of.
pub const HALF_OPEN_MAX: usize = 128;

/// Handshakes that a listener keeps the state of for one source address.
pub const HALF_OPEN_PER_SOURCE_MAX: usize = 16;

/// How long a handshake has a right to its place: longer than the way to any place on Earth and back takes, with one
/// repetition.
pub const HANDSHAKE_GRACE: Duration = Duration::from_secs(3);

/// A listener's queues.
#[derive(Default)]
pub(super) struct Listening {
    /// The oldest first.
    half_open: VecDeque<HalfOpen>,
    ready: VecDeque<FlowId>,
    /// When the last of the cookies that were sent expires.
    cookies_until: Option<Instant>,
    /// Tells the service of connections that are ready.
    pub(super) arrived: Rc<Notify>,
}

struct HalfOpen {
    id: FlowId,
    source: IpAddr,
    began: Instant,
}

/// What becomes of a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It begins a handshake, whose state is kept.
    Place,
    /// As [`Admission::Place`], and the state of this one is given up.
    PlaceOf(FlowId),
    /// It is answered by a cookie.
    Cookie,
    /// It is dropped: the service does not accept what is there.
    BacklogFull,
}

impl Listening {
    /// What becomes of a SYN from `source`.
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

    /// Whether a cookie may be about that is good; otherwise nobody may try to guess one.
    pub(super) fn has_sent_cookies(&self, now: Instant) -> bool {
        self.cookies_until.is_some_and(|until| now < until)
    }

    /// How many handshakes are under way.
    pub(super) fn half_open(&self) -> usize {
        self.half_open.len()
    }

    pub(super) fn handshake_began(&mut self, now: Instant, id: FlowId, source: IpAddr) {
        debug_assert!(self.half_open.len() < HALF_OPEN_MAX);
        self.half_open.push_back(HalfOpen { id, source, began: now });
    }

    /// A handshake has come to an end, be it good or bad.
    pub(super) fn handshake_ended(&mut self, id: FlowId) {
        self.half_open.retain(|entry| entry.id != id);
    }

    /// A connection is ready to be accepted.
    pub(super) fn push_ready(&mut self, id: FlowId) {
        self.ready.push_back(id);
        self.arrived.notify_one();
    }

    pub(super) fn pop_ready(&mut self) -> Option<FlowId> {
        self.ready.pop_front()
    }

    /// A connection ended before it was accepted.
    pub(super) fn remove_ready(&mut self, id: FlowId) {
        self.ready.retain(|ready| *ready != id);
    }
}
