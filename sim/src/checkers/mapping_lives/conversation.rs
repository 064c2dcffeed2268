//! The conversation of an inside and an outside endpoint, and its lifetime.

use std::time::Duration;

use gatepost_ground::Instant;

use crate::packet::Transport;

const UDP_LIFE: Duration = Duration::from_secs(300); // RFC 4787, REQ-5c
const ECHO_LIFE: Duration = Duration::from_secs(60); // RFC 5508, REQ-2
const TCP_ESTABLISHED_LIFE: Duration = Duration::from_secs(7_440); // RFC 5382, REQ-5
const TCP_TRANSITORY_LIFE: Duration = Duration::from_secs(240); // RFC 5382, REQ-5; RFC 7857, section 2
/// A timer counts whole seconds, and the worker handles it within another.
pub const SLACK: Duration = Duration::from_secs(3);

/// The sides of a connection in [`Tcp::ends`].
const INSIDE: usize = 0;
const OUTSIDE: usize = 1;

/// The kinds of mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Tcp,
    Udp,
    Echo,
}

/// The state of an inside endpoint and one remote endpoint.
#[derive(Clone, Copy, Default)]
pub struct Conversation {
    /// The mapping has to exist before this moment.
    pub must_until: Instant,
    /// The mapping must not exist from this moment on.
    pub may_until: Instant,
    /// When a packet from outside last reached the inside.
    pub reached_at: Instant,
    /// Whether an answer from outside has reached the inside. An answer to a recycled flow does not count.
    pub is_answered: bool,
    pub tcp: Tcp,
}

/// The observed state of a TCP connection.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "facts that are seen in any order")]
pub struct Tcp {
    is_accepted: bool,
    pub is_established: bool,
    is_closed_inside: bool,
    is_closed_outside: bool,
    pub is_reset: bool,
    /// The number after the last octet that the inside, and that the outside has sent.
    ends: [Option<u32>; 2],
}

impl Conversation {
    /// The inside sends at `now`, and the packet may get lost: the mapping may live on, unless it was reset.
    pub fn may_live_on(&mut self, kind: Kind, now: Instant) {
        self.may_until = self.may_until.max(now + self.tcp.life(kind) + SLACK);
    }

    /// A segment of a hairpinned connection comes from the other LAN host at `now`, and may not reach the inside: the
    /// mapping may end as if it had, or as if it had not.
    pub fn may_hear_outside(&mut self, transport: &Transport, now: Instant) {
        let mut heard = *self;
        heard.hear_outside(transport, now);
        self.must_until = self.must_until.min(heard.must_until);
        self.may_until = self.may_until.max(heard.may_until);
    }

    /// Whether the gateway may recycle it: it is unanswered or over.
    pub fn may_be_recycled(&self, kind: Kind) -> bool {
        let Tcp { is_established, is_reset, .. } = self.tcp;
        match kind {
            Kind::Tcp => !is_established || is_reset || self.tcp.is_closing(),
            Kind::Udp | Kind::Echo => !self.is_answered,
        }
    }

    /// Segments from outside prolong the life of an established connection only. The segment that ends the connection
    /// starts the transitory life once. An expired conversation is not revived: the port may belong to another by then.
    pub fn hear_outside(&mut self, transport: &Transport, now: Instant) {
        if now >= self.may_until {
            return;
        }
        let before = (self.tcp.is_reset, self.tcp.is_closing());
        let is_challenged = self.tcp.is_challenged(transport, OUTSIDE);
        self.tcp.hear_outside(transport);
        let after = (self.tcp.is_reset, self.tcp.is_closing());
        let is_prolonged = if after == (false, false) { self.tcp.is_established } else { after != before };
        if is_prolonged {
            let life = self.tcp.life(Kind::Tcp);
            if now < self.must_until {
                self.must_until = now + life;
            }
            let until = now + life + SLACK;
            self.may_until = if is_challenged { self.may_until.max(until) } else { until };
        }
    }
}

impl Tcp {
    /// Whether `transport` is a reset of the inside at another number than its sender's next: the receiver challenges
    /// it, and the connection may live on. // RFC 5961, section 3.2
    pub fn is_challenged_inside(&self, transport: &Transport) -> bool {
        self.is_challenged(transport, INSIDE)
    }

    fn is_challenged(&self, transport: &Transport, side: usize) -> bool {
        matches!(*transport, Transport::Tcp { is_reset: true, sequence, .. }
            if self.ends[side].is_some_and(|end| end != sequence))
    }

    pub fn hear_inside(&mut self, transport: &Transport) {
        let Transport::Tcp { is_opening, is_closing, is_reset, .. } = *transport else { return };
        self.raise_end(transport, INSIDE);
        if is_reset {
            self.is_reset = true;
        } else if is_opening {
            if self.is_reset || self.is_closing() {
                *self = Self::default();
            }
        } else {
            self.is_reset = false;
            self.is_established |= self.is_accepted;
            self.is_closed_inside |= is_closing;
        }
    }

    fn hear_outside(&mut self, transport: &Transport) {
        let Transport::Tcp { is_opening, is_accepting, is_closing, is_reset, .. } = *transport else {
            return;
        };
        self.raise_end(transport, OUTSIDE);
        if is_reset {
            self.is_reset = true;
        } else if !is_opening {
            self.is_reset = false;
            self.is_accepted |= is_accepting;
            self.is_closed_outside |= is_closing && self.is_accepted;
        }
    }

    fn raise_end(&mut self, transport: &Transport, side: usize) {
        let Transport::Tcp { is_opening, is_accepting, is_reset: false, .. } = *transport else { return };
        let Some(end) = transport.end() else { return };
        let is_new = |before: u32| is_opening || is_accepting || end.wrapping_sub(before).cast_signed() > 0;
        if self.ends[side].is_none_or(is_new) {
            self.ends[side] = Some(end);
        }
    }

    fn is_closing(&self) -> bool {
        self.is_closed_inside && self.is_closed_outside
    }

    pub fn life(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Udp => UDP_LIFE,
            Kind::Echo => ECHO_LIFE,
            Kind::Tcp if self.is_established && !self.is_closing() && !self.is_reset => TCP_ESTABLISHED_LIFE,
            Kind::Tcp => TCP_TRANSITORY_LIFE,
        }
    }
}
