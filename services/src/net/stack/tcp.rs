//! The connections and the listeners.
//!
//! A socket is found by its two ends and, from the service's side, by a number that is never reused: a stream may
//! outlive its connection while the same ends are connected again. A SYN gets a connection if there is a listener and
//! room. The module `listener` has the other cases.
//!
//! ```text
//!            SYN, room                 handshake done            accept
//!  listener ───────────▶ SynQueue ───────────────▶ AcceptQueue ─────────▶ Stream
//!     │ SYN, no room                                      ▲                  │ dropped
//!     └────────────▶ cookie, no state ────────────────────┘                  ▼
//!  service ──────────────────────────────────────────────────▶ Stream ──▶ Nobody ──▶ gone
//!            connect
//! ```
//!
//! The table of connections has a limit for each peer and a reserve for connections that the gateway opens. If it is
//! full, the oldest connection without a service is given up for a peer's new one.
//!
//! The memory of all buffers is added up. While it is at its maximum ([`StackConfig::tcp_memory_max`]), no buffer
//! grows beyond the minimum that each connection has, and data beyond that is dropped and retransmitted.
//!
//! Sockets with something to send wait in `due` and take turns, one packet each; the others wait in `deadlines`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use gatepost_ground::Instant;
use rand::rngs::StdRng;
use smoltcp::wire::{TCP_HEADER_LEN, TcpControl, TcpRepr, TcpSeqNumber, TcpTimestampRepr};
use tokio::sync::Notify;

use super::addresses::{Addresses, wildcard};
use super::connection::{Beginning, Reaction, Settings, State};
use super::cookie::{Cookies, note_options, noted_options};
use super::ip::IpLayer;
use super::listener::{Admission, Listening};
use super::numbers::InitialNumbers;
use super::packet::header_len;
use super::port::{choose_port, is_taken};
use super::segment::{Fields, Options, Segment, Tuple, empty, packet};
use super::socket::{Owner, Progress, Socket};
use super::{StackConfig, StackCounters};

/// A peer's part of the table of connections.
const SOURCE_SHARE: usize = 4;
/// A peer's part, however small the table is.
const SOURCE_CONNECTIONS_MIN: usize = 8;
/// The gateway's reserve in the table of connections, for those that it opens.
const OWN_RESERVE: usize = 8;

/// The number of a socket, which is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SocketId(u64);

/// The state of all TCP.
pub(super) struct Tcp {
    config: StackConfig,
    mtu: usize,
    numbers: InitialNumbers,
    /// The memory of all connections' buffers, in octets.
    memory: usize,
    sockets: BTreeMap<SocketId, Entry>,
    ids: BTreeMap<Tuple, SocketId>,
    next_id: u64,
    listeners: BTreeMap<(u16, IpAddr), Listening>,
    cookies: Cookies,
    /// The number of connections in the table that each peer has opened.
    sources: BTreeMap<IpAddr, usize>,
    /// The connections without a service, with the time at which the service went.
    orphans: BTreeSet<(Instant, SocketId)>,
    due: VecDeque<SocketId>,
    deadlines: BTreeSet<(Instant, SocketId)>,
}

struct Entry {
    socket: Socket,
    schedule: Schedule,
    /// The socket's part of the memory.
    memory: usize,
    /// The peer's address, if the peer opened the connection.
    began_by_peer: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Schedule {
    Due,
    At(Instant),
    /// The connection is over; only its stream still has it.
    Never,
}

impl Tcp {
    pub(super) fn new(config: StackConfig, mtu: usize, rng: &mut StdRng) -> Self {
        Self {
            config,
            mtu,
            numbers: InitialNumbers::new(rng),
            memory: 0,
            sockets: BTreeMap::new(),
            ids: BTreeMap::new(),
            next_id: 0,
            listeners: BTreeMap::new(),
            cookies: Cookies::default(),
            sources: BTreeMap::new(),
            orphans: BTreeSet::new(),
            due: VecDeque::new(),
            deadlines: BTreeSet::new(),
        }
    }

    /// The settings of a connection with `peer`, whose family decides the length of headers.
    fn settings(&self, peer: IpAddr) -> Settings {
        let headers_len = header_len(peer) + TCP_HEADER_LEN;
        Settings {
            segment_size: u16::try_from(self.mtu - headers_len).unwrap_or(u16::MAX),
            buffer_len_max: self.config.tcp_buffer_len,
            keep_alive: self.config.keep_alive,
        }
    }

    /// The number of connections in any state.
    pub(super) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// The number of half-open connections that peers have begun.
    pub(super) fn half_open(&self) -> usize {
        self.listeners.values().map(Listening::half_open).sum()
    }

    pub(super) fn socket(&mut self, id: SocketId) -> &mut Socket {
        &mut self.sockets.get_mut(&id).expect("a stream's socket stays until it is released").socket
    }

    /// Runs `act` on a socket, and updates the memory of its buffers.
    pub(super) fn serve<R>(&mut self, id: SocketId, act: impl FnOnce(&mut Socket) -> R) -> R {
        let is_pressed = self.memory >= self.config.tcp_memory_max;
        let Entry { socket, memory, .. } =
            self.sockets.get_mut(&id).expect("a stream's socket stays until it is released");
        socket.connection.set_pressed(is_pressed);
        let result = act(socket);
        let now = socket.connection.memory();
        self.memory = self.memory - *memory + now;
        *memory = now;
        result
    }

    /// The memory of all connections' buffers, in octets.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// Opens a listener. Returns its address and the `Notify` that signals connections.
    pub(super) fn listen(
        &mut self,
        local: SocketAddr,
        rng: &mut StdRng,
    ) -> io::Result<(SocketAddr, Rc<Notify>)> {
        let port = match local.port() {
            0 => choose_port(rng, |port| !is_taken(&self.listeners, port, local.ip())),
            port => Some(port).filter(|port| !is_taken(&self.listeners, *port, local.ip())),
        };
        let port = port.ok_or(io::ErrorKind::AddrInUse)?;
        let listening = self.listeners.entry((port, local.ip())).or_default();
        Ok((SocketAddr::new(local.ip(), port), Rc::clone(&listening.arrived)))
    }

    /// Gives a listener, which need not exist yet, to another handle, with its queues.
    pub(super) fn take_over(&mut self, listener: SocketAddr, handle: Rc<Notify>) {
        // The notifications of the connections in the queue went to the old handle.
        handle.notify_one();
        self.listeners.entry((listener.port(), listener.ip())).or_default().arrived = handle;
    }

    /// Takes the oldest connection that `listener` has ready, if `handle` still has the listener.
    pub(super) fn accept(&mut self, listener: SocketAddr, handle: &Rc<Notify>) -> Option<SocketId> {
        let listening = self.listening(listener).filter(|listening| Rc::ptr_eq(&listening.arrived, handle));
        let id = listening?.pop_ready()?;
        self.socket(id).owner = Owner::Stream;
        Some(id)
    }

    /// Closes a listener and resets the connections that were not accepted, if `handle` still has the listener.
    pub(super) fn unlisten(&mut self, now: Instant, listener: SocketAddr, handle: &Rc<Notify>) {
        if !self.listening(listener).is_some_and(|listening| Rc::ptr_eq(&listening.arrived, handle)) {
            return;
        }
        self.listeners.remove(&(listener.port(), listener.ip()));
        let waits = |socket: &Socket| matches!(socket.owner, Owner::SynQueue(of) | Owner::AcceptQueue(of) if of == listener);
        let ids: Vec<SocketId> =
            self.sockets.iter().filter(|(_, entry)| waits(&entry.socket)).map(|(id, _)| *id).collect();
        for id in ids {
            let socket = self.socket(id);
            socket.owner = Owner::Nobody(now);
            self.serve(id, |socket| socket.abort(io::ErrorKind::ConnectionAborted));
            self.orphans.insert((now, id));
            self.make_due(id);
        }
    }

    /// Opens a connection from `source` to `remote`, on a random port.
    pub(super) fn connect(
        &mut self,
        now: Instant,
        source: IpAddr,
        remote: SocketAddr,
        rng: &mut StdRng,
    ) -> io::Result<SocketId> {
        if self.sockets.len() >= self.config.connections_max {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "too many connections"));
        }
        let port = choose_port(rng, |port| {
            let is_connected = self.ids.contains_key(&(SocketAddr::new(source, port), remote));
            !is_connected && !is_taken(&self.listeners, port, source)
        });
        let port = port.ok_or(io::ErrorKind::AddrInUse)?;
        let tuple = (SocketAddr::new(source, port), remote);
        let beginning = self.numbers.begin(now, tuple);
        Ok(self.insert(now, Socket::connect(now, tuple, beginning, &self.settings(remote.ip()))))
    }

    /// Processes a segment that is addressed to the gateway.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        segment: &Segment<'_>,
        ip: &mut IpLayer,
        rng: &mut StdRng,
        counters: &mut StackCounters,
    ) {
        let fields = segment.fields();
        let mut known = self.ids.get(&segment.tuple).copied();
        if let Some(id) = known
            && let Owner::SynQueue(listener) = self.socket(id).owner
            && let Some(begun) = self.acknowledged_cookie(now, listener, segment, &fields, rng)
        {
            // A cookie answered its first SYN, and there was room for the repeated one.
            self.finish(id);
            return self.begin_by_cookie(now, listener, segment, (&fields, begun), ip, counters);
        }
        if let Some(id) = known
            && segment.is_syn()
            && self.socket(id).connection.gives_way_to(&fields)
        {
            self.finish(id);
            known = None;
        }
        let Some(id) = known else { return self.begin(now, segment, &fields, ip, rng, counters) };
        match self.serve(id, |socket| socket.receive(now, &fields)) {
            Reaction::Done => {}
            Reaction::Refuse => ip.refuse(now, segment.packet),
            Reaction::NoRoom => counters.segments_dropped_memory_full += 1,
        }
        self.make_due(id);
    }

    /// Lets the sockets that have to send take turns until the outbox is full.
    pub(super) fn poll(&mut self, now: Instant, ip: &mut IpLayer) {
        while let Some((at, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            debug_assert_eq!(self.sockets[&id].schedule, Schedule::At(at));
            self.make_due(id);
        }
        while !ip.outbox.is_full()
            && let Some(id) = self.due.pop_front()
        {
            // The socket may have gone since it was queued.
            if self.sockets.get(&id).is_some_and(|entry| entry.schedule == Schedule::Due) {
                self.poll_socket(now, id, ip);
            }
        }
    }

    /// When [`Tcp::poll`] has to be called again without an event.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Queues a socket that its service has used.
    pub(super) fn make_due(&mut self, id: SocketId) {
        let schedule = self.sockets.get(&id).map(|entry| entry.schedule);
        if matches!(schedule, Some(Schedule::At(_))) {
            self.set_schedule(id, Schedule::Due);
            self.due.push_back(id);
        }
    }

    /// Releases a socket whose stream was dropped.
    pub(super) fn release(&mut self, now: Instant, id: SocketId) {
        let is_finished = self.sockets[&id].schedule == Schedule::Never;
        let is_unanswered = self.socket(id).state() == State::SynSent;
        self.serve(id, |socket| socket.orphan(now));
        self.orphans.insert((now, id));
        if is_finished || is_unanswered {
            self.finish(id);
        } else {
            self.make_due(id);
        }
    }

    /// Ends the connections of addresses that are not the gateway's any more. Nothing is sent, as it could not be
    /// sent from there.
    pub(super) fn retain_addresses(&mut self, is_own: impl Fn(IpAddr) -> bool) {
        let ends: Vec<(Tuple, SocketId)> = self.ids.iter().map(|(tuple, id)| (*tuple, *id)).collect();
        for ((local, _), id) in ends {
            if !is_own(local.ip()) {
                self.serve(id, |socket| socket.abort(io::ErrorKind::ConnectionAborted));
                self.finish(id);
            }
        }
    }

    fn insert(&mut self, now: Instant, socket: Socket) -> SocketId {
        let id = SocketId(self.next_id);
        self.next_id += 1;
        self.ids.insert(socket.tuple(), id);
        let peer = socket.tuple().1.ip();
        let began_by_peer = match socket.owner {
            Owner::SynQueue(listener) => {
                self.listening(listener).expect("it was asked before").handshake_began(now, id, peer);
                Some(peer)
            }
            Owner::AcceptQueue(listener) => {
                self.listening(listener).expect("it was asked before").push_ready(id);
                Some(peer)
            }
            Owner::Stream | Owner::Nobody(_) => None,
        };
        if let Some(peer) = began_by_peer {
            *self.sources.entry(peer).or_default() += 1;
        }
        self.sockets.insert(id, Entry { socket, schedule: Schedule::Due, memory: 0, began_by_peer });
        self.due.push_back(id);
        id
    }

    fn listening(&mut self, listener: SocketAddr) -> Option<&mut Listening> {
        self.listeners.get_mut(&(listener.port(), listener.ip()))
    }

    /// Handles a segment of no connection: a SYN or the acknowledgement of a cookie begins one, any other is
    /// answered.
    fn begin(
        &mut self,
        now: Instant,
        segment: &Segment<'_>,
        fields: &Fields<'_>,
        ip: &mut IpLayer,
        rng: &mut StdRng,
        counters: &mut StackCounters,
    ) {
        if let Some(listener) = self.listener_for(segment.tuple, &ip.addresses) {
            if segment.is_syn() {
                return self.begin_by_syn(now, listener, segment, fields, ip, rng, counters);
            }
            if let Some(begun) = self.acknowledged_cookie(now, listener, segment, fields, rng) {
                return self.begin_by_cookie(now, listener, segment, (fields, begun), ip, counters);
            }
            let has_sent_cookies =
                self.listening(listener).is_some_and(|listening| listening.has_sent_cookies(now));
            if segment.is_acknowledgement() && has_sent_cookies {
                // The segment may have overtaken the one that acknowledges the cookie, which must not find the peer
                // reset.
                counters.syn_cookies_refused += 1;
                return;
            }
        }
        if segment.tcp.rst() {
            counters.resets_ignored += 1;
        } else {
            counters.segments_unwanted += 1;
            ip.refuse(now, segment.packet);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all that a SYN may concern")]
    fn begin_by_syn(
        &mut self,
        now: Instant,
        listener: SocketAddr,
        segment: &Segment<'_>,
        fields: &Fields<'_>,
        ip: &mut IpLayer,
        rng: &mut StdRng,
        counters: &mut StackCounters,
    ) {
        let source = segment.tuple.1.ip();
        let Some(listening) = self.listening(listener) else { return };
        let gives_way = match listening.admit(now, source) {
            Admission::Place => None,
            Admission::PlaceOf(oldest) => Some(oldest),
            Admission::Cookie => {
                return self.answer_by_cookie(now, listener, segment, fields, ip, rng, counters);
            }
            Admission::BacklogFull => {
                counters.syns_dropped_backlog_full += 1;
                return;
            }
        };
        // The share is checked first, so that nothing is given up for a connection that is rejected anyway.
        if !self.is_within_share(source, counters) {
            return;
        }
        if let Some(oldest) = gives_way {
            counters.half_open_recycled += 1;
            self.finish(oldest);
        }
        if self.has_room(counters) {
            let beginning = self.numbers.begin(now, segment.tuple);
            let owner = Owner::SynQueue(listener);
            let settings = self.settings(source);
            self.insert(now, Socket::accept(now, segment.tuple, owner, fields, beginning, &settings));
        }
    }

    /// Answers a SYN without keeping state.
    #[expect(clippy::too_many_arguments, reason = "all that a SYN may concern")]
    fn answer_by_cookie(
        &mut self,
        now: Instant,
        listener: SocketAddr,
        segment: &Segment<'_>,
        fields: &Fields<'_>,
        ip: &mut IpLayer,
        rng: &mut StdRng,
        counters: &mut StackCounters,
    ) {
        let (local, remote) = segment.tuple;
        let Fields { sequence, options, .. } = *fields;
        let settings = self.settings(remote.ip());
        let cookie = self.cookies.make(now, segment.tuple, sequence, options.segment_size, rng);
        let offset = self.numbers.begin(now, segment.tuple).timestamp_offset;
        let has_timestamps = options.timestamps.is_some();
        let answer = TcpRepr {
            control: TcpControl::Syn,
            seq_number: TcpSeqNumber(cookie as i32),
            ack_number: Some(TcpSeqNumber(sequence as i32) + 1),
            window_len: settings.window_initial(),
            max_seg_size: Some(settings.segment_size),
            window_scale: options.window_shift.filter(|_| has_timestamps).map(|_| settings.window_shift()),
            sack_permitted: options.is_sack_permitted && has_timestamps,
            timestamp: options.timestamps.map(|(peer, _)| TcpTimestampRepr {
                tsval: note_options((now.as_millis() as u32).wrapping_add(offset), &options),
                tsecr: peer,
            }),
            ..empty(local, remote)
        };
        let answer = packet(local, remote, &answer);
        if !ip.outbox.has_room_for(remote.ip(), answer.len()) {
            ip.replies_dropped += 1;
            return;
        }
        ip.outbox.push(answer);
        counters.syn_cookies_sent += 1;
        self.listening(listener).expect("its SYN found the listener").cookie_sent(now);
    }

    /// The peer's maximum segment size and the cookie that answered its SYN, if `segment` acknowledges a valid
    /// cookie.
    fn acknowledged_cookie(
        &mut self,
        now: Instant,
        listener: SocketAddr,
        segment: &Segment<'_>,
        fields: &Fields<'_>,
        rng: &mut StdRng,
    ) -> Option<(u16, u32)> {
        if !segment.is_acknowledgement() || !self.listening(listener)?.has_sent_cookies(now) {
            return None;
        }
        let (sequence, cookie) = (fields.sequence.wrapping_sub(1), fields.acknowledgement?.wrapping_sub(1));
        let segment_size = self.cookies.check(now, segment.tuple, sequence, cookie, rng)?;
        Some((segment_size, cookie))
    }

    fn begin_by_cookie(
        &mut self,
        now: Instant,
        listener: SocketAddr,
        segment: &Segment<'_>,
        (fields, (segment_size, cookie)): (&Fields<'_>, (u16, u32)),
        ip: &mut IpLayer,
        counters: &mut StackCounters,
    ) {
        if self.listening(listener).is_none_or(|listening| listening.is_backlog_full()) {
            counters.syns_dropped_backlog_full += 1;
        } else if ip.outbox.is_full() {
            ip.replies_dropped += 1;
        } else if self.is_within_share(segment.tuple.1.ip(), counters) && self.has_room(counters) {
            // The SYN, rebuilt from the cookie, the echoed timestamp and this segment.
            let (options, timestamp_offset) = match fields.options.timestamps {
                Some((peer, echo)) => {
                    let options = Options { timestamps: Some((peer, 0)), ..noted_options(echo) };
                    (options, echo.wrapping_sub(now.as_millis() as u32))
                }
                None => (Options::default(), 0),
            };
            let syn = Fields {
                sequence: fields.sequence.wrapping_sub(1),
                is_syn: true,
                window: fields.window,
                options: Options { segment_size: Some(segment_size), ..options },
                ..Fields::default()
            };
            let beginning = Beginning { sequence: cookie, timestamp_offset };
            let settings = self.settings(segment.tuple.1.ip());
            let mut socket = Socket::from_cookie(now, segment.tuple, listener, &syn, beginning, &settings);
            if socket.receive(now, fields) == Reaction::Done && socket.is_handshake_done() {
                counters.syn_cookies_accepted += 1;
                let id = self.insert(now, socket);
                self.serve(id, |_| ()); // counts what came with it
            }
        }
    }

    /// The listener for connections with these ends: at the local address, else at the address that [stands
    /// in](Addresses::stands_in_for) for it.
    fn listener_for(&self, (local, remote): Tuple, addresses: &Addresses) -> Option<SocketAddr> {
        let stand_in = addresses.stands_in_for(local.ip(), remote.ip());
        let address = [local.ip(), wildcard(local.ip())]
            .into_iter()
            .chain(stand_in)
            .find(|ip| remote.port() != 0 && self.listeners.contains_key(&(local.port(), *ip)))?;
        Some(SocketAddr::new(address, local.port()))
    }

    /// Whether `source` has opened fewer connections than its share.
    fn is_within_share(&self, source: IpAddr, counters: &mut StackCounters) -> bool {
        let share = (self.config.connections_max / SOURCE_SHARE).max(SOURCE_CONNECTIONS_MIN);
        let is_within = self.sources.get(&source).is_none_or(|count| *count < share);
        counters.syns_dropped_source_share += u64::from(!is_within);
        is_within
    }

    /// Whether there is room for another connection of a peer. If the table is full, the oldest connection without a
    /// service is given up for it.
    fn has_room(&mut self, counters: &mut StackCounters) -> bool {
        let connections_max = self.config.connections_max;
        if self.sockets.len() < connections_max - connections_max / OWN_RESERVE {
            return true;
        }
        let Some((_, oldest)) = self.orphans.first().copied() else {
            counters.syns_dropped_connections_full += 1;
            return false;
        };
        counters.orphans_recycled += 1;
        self.finish(oldest);
        true
    }

    fn poll_socket(&mut self, now: Instant, id: SocketId, ip: &mut IpLayer) {
        match self.serve(id, |socket| socket.poll(now, ip)) {
            Progress::Sent => self.due.push_back(id),
            Progress::IdleUntil(at) => self.set_schedule(id, Schedule::At(at)),
            Progress::Finished => return self.finish(id),
        }
        self.promote(id);
    }

    /// Passes a connection whose handshake is complete to its listener.
    fn promote(&mut self, id: SocketId) {
        let socket = self.socket(id);
        let Owner::SynQueue(listener) = socket.owner else { return };
        if !socket.is_handshake_done() {
            return;
        }
        socket.owner = Owner::AcceptQueue(listener);
        let listening = self.listening(listener).expect("closing it disowns its sockets");
        listening.handshake_ended(id);
        listening.push_ready(id);
    }

    /// Frees the socket's ends, and all of it unless a stream has it.
    fn finish(&mut self, id: SocketId) {
        self.set_schedule(id, Schedule::Never);
        let socket = self.socket(id);
        let (tuple, owner) = (socket.tuple(), socket.owner);
        if self.ids.get(&tuple) == Some(&id) {
            self.ids.remove(&tuple);
        }
        match owner {
            Owner::Stream => return,
            Owner::SynQueue(listener) => {
                self.listening(listener).expect("closing it disowns its sockets").handshake_ended(id);
            }
            Owner::AcceptQueue(listener) => {
                self.listening(listener).expect("closing it disowns its sockets").remove_ready(id);
            }
            Owner::Nobody(since) => _ = self.orphans.remove(&(since, id)),
        }
        let Some(entry) = self.sockets.remove(&id) else { return };
        self.memory -= entry.memory;
        if let Some(peer) = entry.began_by_peer
            && let Some(count) = self.sources.get_mut(&peer)
        {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&peer);
            }
        }
    }

    fn set_schedule(&mut self, id: SocketId, schedule: Schedule) {
        let entry = self.sockets.get_mut(&id).expect("only what exists is scheduled");
        if let Schedule::At(at) = std::mem::replace(&mut entry.schedule, schedule) {
            self.deadlines.remove(&(at, id));
        }
        if let Schedule::At(at) = schedule {
            self.deadlines.insert((at, id));
        }
    }
}
