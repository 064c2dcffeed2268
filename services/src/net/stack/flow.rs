//! One TCP connection: a smoltcp socket in a set of its own, who it belongs to, and the limits on how
//! long it may take.
//!
//! smoltcp keeps the connection's state, its buffers and the timers of the protocol. What it does not
//! know is kept here: that the service has gone and the rest is to be sent in the background
//! ([`Owner::Nobody`]), why a connection ended ([`Flow::error`]), and how long a silent peer is waited
//! for. smoltcp's own timeout would end idle connections and closing ones without notice, and at the
//! end of its TIME-WAIT it forgets what has not been read yet; neither is let happen.

use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

use gatepost_ground::Instant;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::wire::{IPV4_HEADER_LEN, Ipv4Packet, TcpPacket, TcpSeqNumber};

use super::StackConfig;
use super::ip::IpLayer;
use super::segment::{Segment, Syn};
use super::sequence::Sequence;

/// Waiting for the answer to a SYN. RFC 9293 section 3.8.3 (MUST-23): at least three minutes.
const CONNECT_PATIENCE: Duration = Duration::from_secs(180);
/// Waiting for the end of a handshake that the peer began, from its first SYN on.
const HALF_OPEN_PATIENCE: Duration = Duration::from_secs(60);
/// Waiting for an acknowledgement. RFC 9293 section 3.9.1: five minutes.
const USER_TIMEOUT: Duration = Duration::from_secs(300);
/// Waiting in FIN-WAIT-2 for the FIN of a peer that nobody listens to any more.
const ORPHAN_FIN_PATIENCE: Duration = Duration::from_secs(60);
/// The longest that a connection outlives its service.
const ORPHAN_LIFE_MAX: Duration = Duration::from_secs(300);
/// How long a finished connection's addresses stay taken; smoltcp's TIME-WAIT.
const TIME_WAIT: Duration = Duration::from_secs(10);
/// A socket that wants to send at once but does not is asked again after this.
const RETRY_AFTER: Duration = Duration::from_millis(1);

/// The two ends of a connection: the gateway's, and the peer's.
pub(super) type Tuple = (SocketAddrV4, SocketAddrV4);

/// Who a flow belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A listener at this address, while the handshake goes on.
    HalfOpen(SocketAddrV4),
    /// A listener at this address, which has yet to accept it.
    Backlog(SocketAddrV4),
    /// A service, by its stream.
    Stream,
    /// Nobody since then; what is left to send is sent.
    Nobody(Instant),
}

/// What [`Flow::poll`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It queued a packet and may have more.
    Sent,
    /// There is nothing to do until then, or until something happens.
    IdleUntil(Instant),
    /// The peer will hear no more of it; its addresses are free.
    Finished,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Flow {
    tuple: Tuple,
    pub(super) owner: Owner,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    sequence: Sequence,
    error: Option<io::ErrorKind>,
    /// Since when the peer has been silent, or since when it has something to answer.
    silent_since: Instant,
    /// Whether the peer has something to answer.
    is_awaiting: bool,
    time_wait_ends: Option<Instant>,
    idle_patience: Duration,
}

impl Flow {
    /// A connection about to be begun by the peer's SYN.
    pub(super) fn listen(now: Instant, tuple: Tuple, owner: Owner, config: &StackConfig) -> Self {
        let mut socket = socket(config);
        socket.listen(tuple.0).expect("a closed socket and a port");
        Self::new(now, tuple, owner, socket, config)
    }

    /// A connection whose peer has sent `syn` and acknowledged the gateway's initial sequence number `cookie`; the
    /// acknowledgement is yet to be [received](Flow::receive). There must be room in the outbox. `None` if smoltcp
    /// does not take the SYN.
    pub(super) fn from_cookie(
        now: Instant,
        tuple: Tuple,
        listener: SocketAddrV4,
        (syn, cookie): (Syn, u32),
        ip: &mut IpLayer,
        config: &StackConfig,
    ) -> Option<Self> {
        let mut flow = Self::listen(now, tuple, Owner::Backlog(listener), config);
        ip.receive(now, &syn.packet(tuple), &mut flow.sockets, |_| ());
        let answer = ip.intercept(now, &mut flow.sockets)?;
        let own = TcpPacket::new_unchecked(answer.get(IPV4_HEADER_LEN..)?).seq_number();
        flow.sequence.shift(own, TcpSeqNumber(cookie as i32));
        Some(flow)
    }

    /// A connection about to be begun by the gateway. The ports and the remote address are not zero.
    pub(super) fn connect(now: Instant, tuple: Tuple, ip: &mut IpLayer, config: &StackConfig) -> Self {
        let mut socket = socket(config);
        let (local, remote) = tuple;
        socket.connect(ip.context(), remote, local).expect("a closed socket and ends that are specified");
        Self::new(now, tuple, Owner::Stream, socket, config)
    }

    fn new(now: Instant, tuple: Tuple, owner: Owner, socket: Socket<'static>, config: &StackConfig) -> Self {
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Self {
            tuple,
            owner,
            sockets,
            handle,
            sequence: Sequence::default(),
            error: None,
            silent_since: now,
            is_awaiting: true,
            time_wait_ends: None,
            // Two keep-alives may be lost.
            idle_patience: config.keep_alive * 3,
        }
    }

    pub(super) fn tuple(&self) -> Tuple {
        self.tuple
    }

    pub(super) fn state(&self) -> State {
        self.socket().state()
    }

    /// Whether the peer has ended the handshake that it began, and not by a reset.
    pub(super) fn is_handshake_done(&self) -> bool {
        !matches!(self.state(), State::Listen | State::SynReceived | State::Closed)
    }

    pub(super) fn socket(&self) -> &Socket<'static> {
        self.sockets.get(self.handle)
    }

    pub(super) fn socket_mut(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Why the connection ended, if not by both ends closing it.
    pub(super) fn error(&self) -> Option<io::ErrorKind> {
        self.error
    }

    /// Processes a segment of this connection.
    pub(super) fn receive(&mut self, now: Instant, segment: &Segment<'_>, ip: &mut IpLayer) {
        let before = self.state();
        let unshifted = self.sequence.unshift(segment.packet);
        let packet = unshifted.as_deref().unwrap_or(segment.packet);
        self.sequence.note_received(&TcpPacket::new_unchecked(Ipv4Packet::new_unchecked(packet).payload()));
        ip.receive(now, packet, &mut self.sockets, |packet| self.sequence.correct(packet));
        // Who repeats a SYN gets no more time to end the handshake.
        if (before, self.state()) != (State::SynReceived, State::SynReceived) {
            self.silent_since = now;
        }
        match (before, self.state()) {
            (State::Closed, _) => {}
            (State::SynSent, State::Closed) => self.error = Some(io::ErrorKind::ConnectionRefused),
            (_, State::Closed) if segment.tcp.rst() => self.error = Some(io::ErrorKind::ConnectionReset),
            (_, State::TimeWait) if before != State::TimeWait => self.time_wait_ends = Some(now + TIME_WAIT),
            _ => {}
        }
        if matches!(self.owner, Owner::Nobody(_)) {
            self.discard_received();
        }
    }

    /// Lets the socket send one packet and looks after the timers.
    pub(super) fn poll(&mut self, now: Instant, ip: &mut IpLayer) -> Progress {
        // A listening socket saw no SYN that it liked, or a reset took it back there.
        if self.state() == State::Listen || self.time_wait_ends.is_some_and(|end| end <= now) {
            return Progress::Finished;
        }
        let is_awaiting = self.has_to_be_answered();
        if is_awaiting && !self.is_awaiting {
            self.silent_since = now;
        }
        self.is_awaiting = is_awaiting;
        if self.gives_up_at() <= now {
            if let Owner::HalfOpen(_) = self.owner {
                return Progress::Finished;
            }
            self.abort(io::ErrorKind::TimedOut);
        }
        if ip.send(now, &mut self.sockets, |packet| self.sequence.correct(packet)) {
            return Progress::Sent;
        }
        if self.state() == State::Closed && self.socket().remote_endpoint().is_none() {
            return Progress::Finished;
        }
        let send_at = ip.send_at(now, &self.sockets).unwrap_or(Instant::FAR_FUTURE).max(now + RETRY_AFTER);
        Progress::IdleUntil(send_at.min(self.time_wait_ends.unwrap_or_else(|| self.gives_up_at())))
    }

    /// Ends the connection for `reason`. A reset goes out at the next [`Flow::poll`].
    pub(super) fn abort(&mut self, reason: io::ErrorKind) {
        self.error.get_or_insert(reason);
        self.socket_mut().abort();
    }

    /// The service has gone: what it wrote is still sent, what comes in is discarded.
    pub(super) fn orphan(&mut self, now: Instant) {
        self.owner = Owner::Nobody(now);
        self.socket_mut().close();
        self.discard_received();
    }

    fn discard_received(&mut self) {
        let is_all_sent = self.state() == State::FinWait2;
        let socket = self.socket_mut();
        if socket.recv_queue() == 0 {
            return;
        }
        if is_all_sent {
            // RFC 1122 section 4.2.2.13: a reset tells the peer that its data is lost.
            self.abort(io::ErrorKind::ConnectionAborted);
        } else {
            while matches!(socket.recv(|octets| (octets.len(), octets.len())), Ok(1..)) {}
        }
    }

    fn has_to_be_answered(&self) -> bool {
        match self.state() {
            State::Established | State::CloseWait => self.socket().send_queue() > 0,
            State::FinWait2 => matches!(self.owner, Owner::Nobody(_)),
            State::Closed | State::Listen | State::TimeWait => false,
            State::SynSent | State::SynReceived | State::FinWait1 | State::Closing | State::LastAck => true,
        }
    }

    fn gives_up_at(&self) -> Instant {
        let patience = match self.state() {
            State::SynSent => CONNECT_PATIENCE,
            State::SynReceived => HALF_OPEN_PATIENCE,
            State::FinWait2 if self.is_awaiting => ORPHAN_FIN_PATIENCE,
            _ if self.is_awaiting => USER_TIMEOUT,
            _ => self.idle_patience,
        };
        let silent_until = self.silent_since + patience;
        match self.owner {
            Owner::Nobody(since) => silent_until.min(since + ORPHAN_LIFE_MAX),
            _ => silent_until,
        }
    }
}

fn socket(config: &StackConfig) -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; config.tcp_buffer_len]);
    let mut socket = Socket::new(buffer(), buffer());
    // RFC 9293 section 3.8.2 (MUST-19).
    socket.set_congestion_control(CongestionControl::Reno);
    // The services write whole messages: to wait for more would only delay them.
    socket.set_nagle_enabled(false);
    socket.set_keep_alive(Some(config.keep_alive.into()));
    socket
}
