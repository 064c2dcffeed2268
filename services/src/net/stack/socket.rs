//! One TCP socket of the stack: a connection with its ends, its owner, and its time limits.
//!
//! The module `connection` implements the protocol. This module has the rest: whether the service has dropped
//! its stream, so that the stack sends the remaining data in the background ([`Owner::Nobody`]), why a connection ended
//! ([`Socket::error`]), and how long the stack waits for a silent peer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use gatepost_ground::Instant;
use smoltcp::wire::TcpRepr;

use super::connection::{Beginning, Connection, Reaction, Settings, State};
use super::ip::IpLayer;
use super::segment::{Fields, Tuple, packet};

/// Waiting for the answer to a SYN: at least three minutes. (RFC 9293, MUST-23)
const CONNECT_TIMEOUT: Duration = Duration::from_secs(180);
/// Waiting for the end of a handshake that the peer began, from its first SYN on.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// Waiting for an acknowledgement: five minutes. (RFC 9293, section 3.9.1)
const USER_TIMEOUT: Duration = Duration::from_secs(300);
/// The time in FIN-WAIT-2 for the peer's FIN after the service has dropped the stream. (Linux: `tcp_fin_timeout`)
const ORPHAN_FIN_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest that a connection outlives its service.
const ORPHAN_LIFE_MAX: Duration = Duration::from_secs(300);
/// How long a closed connection stays in TIME-WAIT, where its addresses and ports stay in use. RFC 9293, section 3.6.1
/// wants twice the maximum segment lifetime, four minutes. The stack departs from it, as each closed connection takes
/// room in a bounded table.
const TIME_WAIT: Duration = Duration::from_secs(10);

/// The owner of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The SYN queue of the listener at this address, while the handshake goes on.
    SynQueue(SocketAddr),
    /// The accept queue of the listener at this address.
    AcceptQueue(SocketAddr),
    /// A service, by its stream.
    Stream,
    /// No owner since this time; the remaining data is still sent.
    Nobody(Instant),
}

/// The result of [`Socket::poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The socket queued a packet and may have more.
    Sent,
    /// There is nothing to do until this time or the next event.
    IdleUntil(Instant),
    /// The connection is over, and its addresses are free.
    Finished,
}

/// A connection with its owner and its time limits.
#[derive(Debug)]
pub(super) struct Socket {
    tuple: Tuple,
    pub(super) owner: Owner,
    pub(super) connection: Connection,
    error: Option<io::ErrorKind>,
    /// Since when the peer has been silent, or since when it has something to answer.
    silent_since: Instant,
    /// Whether the peer has something to answer.
    is_awaiting: bool,
    time_wait_ends: Option<Instant>,
    idle_timeout: Duration,
}

impl Socket {
    /// A connection that the peer opens with `syn`.
    pub(super) fn accept(
        now: Instant,
        tuple: Tuple,
        owner: Owner,
        syn: &Fields<'_>,
        beginning: Beginning,
        settings: &Settings,
    ) -> Self {
        Self::new(now, tuple, owner, Connection::accept(now, syn, beginning, settings), settings)
    }

    /// A connection whose peer has sent `syn`, as far as is known, and acknowledged the answer to it; the
    /// acknowledgement is yet to be [received](Socket::receive).
    pub(super) fn from_cookie(
        now: Instant,
        tuple: Tuple,
        listener: SocketAddr,
        syn: &Fields<'_>,
        beginning: Beginning,
        settings: &Settings,
    ) -> Self {
        let connection = Connection::accepted(now, syn, beginning, settings);
        Self::new(now, tuple, Owner::AcceptQueue(listener), connection, settings)
    }

    /// A connection that the gateway opens.
    pub(super) fn connect(now: Instant, tuple: Tuple, beginning: Beginning, settings: &Settings) -> Self {
        Self::new(now, tuple, Owner::Stream, Connection::connect(now, beginning, settings), settings)
    }

    fn new(now: Instant, tuple: Tuple, owner: Owner, connection: Connection, settings: &Settings) -> Self {
        Self {
            tuple,
            owner,
            connection,
            error: None,
            silent_since: now,
            is_awaiting: true,
            time_wait_ends: None,
            // Two keep-alives may be lost.
            idle_timeout: settings.keep_alive * 3,
        }
    }

    pub(super) fn tuple(&self) -> Tuple {
        self.tuple
    }

    pub(super) fn state(&self) -> State {
        self.connection.state()
    }

    /// Whether the peer has completed the handshake that it began.
    pub(super) fn is_handshake_done(&self) -> bool {
        !matches!(self.state(), State::SynReceived | State::Closed)
    }

    /// Why the connection ended, if not by both ends closing it.
    pub(super) fn error(&self) -> Option<io::ErrorKind> {
        self.error
    }

    /// Processes a segment of this connection.
    pub(super) fn receive(&mut self, now: Instant, segment: &Fields<'_>) -> Reaction {
        let before = self.state();
        let reaction = self.connection.receive(now, segment);
        // A repeated SYN does not extend the time for the handshake.
        if (before, self.state()) != (State::SynReceived, State::SynReceived) {
            self.silent_since = now;
        }
        match (before, self.state()) {
            (State::Closed, _) => {}
            (State::SynSent, State::Closed) => self.error = Some(io::ErrorKind::ConnectionRefused),
            (_, State::Closed) if segment.is_reset => self.error = Some(io::ErrorKind::ConnectionReset),
            (before, State::TimeWait) if before != State::TimeWait || segment.is_fin => {
                self.time_wait_ends = Some(now + TIME_WAIT);
            }
            _ => {}
        }
        if matches!(self.owner, Owner::Nobody(_)) {
            self.discard_received();
        }
        reaction
    }

    /// Lets the connection send one packet, for which there is room, and handles its timers.
    pub(super) fn poll(&mut self, now: Instant, ip: &mut IpLayer) -> Progress {
        if self.time_wait_ends.is_some_and(|end| end <= now) {
            return Progress::Finished;
        }
        let is_awaiting = self.has_to_be_answered();
        if is_awaiting && !self.is_awaiting {
            self.silent_since = now;
        }
        self.is_awaiting = is_awaiting;
        if self.gives_up_at() <= now {
            if let Owner::SynQueue(_) = self.owner {
                return Progress::Finished;
            }
            self.abort(io::ErrorKind::TimedOut);
        }
        if let Some(segment) = self.connection.poll(now) {
            let (local, remote) = self.tuple;
            let ports = TcpRepr { src_port: local.port(), dst_port: remote.port(), ..segment.header };
            ip.outbox.push(packet(local, remote, &TcpRepr { payload: &segment.payload, ..ports }));
            return Progress::Sent;
        }
        if self.connection.is_over() {
            return Progress::Finished;
        }
        let ends_at = self.time_wait_ends.unwrap_or_else(|| self.gives_up_at());
        Progress::IdleUntil(self.connection.deadline().map_or(ends_at, |at| at.min(ends_at)))
    }

    /// Ends the connection for `reason`. A reset goes out at the next [`Socket::poll`].
    pub(super) fn abort(&mut self, reason: io::ErrorKind) {
        self.error.get_or_insert(reason);
        self.connection.abort();
    }

    /// Notes that the service has dropped the stream: written data is still sent, received data is discarded.
    pub(super) fn orphan(&mut self, now: Instant) {
        self.owner = Owner::Nobody(now);
        self.connection.close();
        self.discard_received();
    }

    fn discard_received(&mut self) {
        if self.connection.unread() == 0 {
            return;
        }
        self.connection.discard_unread();
        if self.state() == State::FinWait2 {
            // RFC 1122, section 4.2.2.13: a reset tells the peer that its data is lost.
            self.abort(io::ErrorKind::ConnectionAborted);
        }
    }

    fn has_to_be_answered(&self) -> bool {
        match self.state() {
            State::Established | State::CloseWait => self.connection.has_unacknowledged(),
            State::FinWait2 => matches!(self.owner, Owner::Nobody(_)),
            State::Closed | State::TimeWait => false,
            State::SynSent | State::SynReceived | State::FinWait1 | State::Closing | State::LastAck => true,
        }
    }

    fn gives_up_at(&self) -> Instant {
        let timeout = match self.state() {
            State::SynSent => CONNECT_TIMEOUT,
            State::SynReceived => HANDSHAKE_TIMEOUT,
            State::FinWait2 if self.is_awaiting => ORPHAN_FIN_TIMEOUT,
            _ if self.is_awaiting => USER_TIMEOUT,
            _ => self.idle_timeout,
        };
        let silent_until = self.silent_since + timeout;
        match self.owner {
            Owner::Nobody(since) => silent_until.min(since + ORPHAN_LIFE_MAX),
            _ => silent_until,
        }
    }
}
